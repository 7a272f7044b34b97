//! What Oracle would round, cut, pad or take for NULL without a word, worked out before a value is
//! sent; and how values are spelt that travel as text. Every refusal is a reason for a bad row.

use std::fmt;

use super::types::{NumberShape, float_digits};
use crate::fidelity;
use crate::schema::Column;
use crate::value::DateTime;

/// Why a value does not fit.
pub(super) type Unfit = &'static str;

const DAY_MICROS: i64 = 86_400_000_000;

/// Base-100 digits that a `NUMBER` keeps.
const NUMBER_PAIRS: i32 = 20;
/// The power of ten of the first digit of the smallest, and the largest, `NUMBER`.
const NUMBER_POWERS: std::ops::RangeInclusive<i32> = -130..=125;

/// Whether a decimal in plain digits (`-123.4500`) is kept by a `number`, `float` or `boolean`
/// column as it is.
pub(super) fn number(text: &str, column: &Column) -> Result<(), Unfit> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return Err("is not a plain number");
    }
    let powers = (0..whole.len() as i32).rev().chain((1..=fraction.len() as i32).map(|n| -n));
    let mut used = whole
        .bytes()
        .chain(fraction.bytes())
        .zip(powers)
        .filter(|(b, _)| *b != b'0')
        .map(|(_, p)| p);
    let Some(high) = used.next() else { return Ok(()) };
    let low = used.last().unwrap_or(high);
    if column.family == "boolean" {
        return if digits == "1" && text == digits { Ok(()) } else { Err("is neither 0 nor 1") };
    }
    if let Some(NumberShape { precision, scale }) = NumberShape::of(column) {
        if low < -scale {
            return Err(match scale < 0 {
                true => "the column would round it to tens or larger units",
                false => "the column would round off digits after the point",
            });
        }
        if high >= precision as i32 - scale {
            return Err("has more digits before the point than the column");
        }
        return Ok(());
    }
    if float_digits(column).is_some_and(|fit| high - low >= fit as i32) {
        return Err("has more digits than the column keeps");
    }
    if !NUMBER_POWERS.contains(&high) {
        return Err("is out of the range of NUMBER");
    }
    if high.div_euclid(2) - low.div_euclid(2) >= NUMBER_PAIRS {
        return Err("has more digits than NUMBER keeps");
    }
    Ok(())
}

/// Whole numbers up to this size are spelt with all their digits: beyond, `NUMBER` does not keep
/// them.
const WHOLE_MAX: f64 = 1e38;

/// The plain digits of a finite double: of a whole number all, else the fewest that are read back
/// as the same. Oracle's numbers have no negative zero.
pub(super) fn double_text(value: f64) -> Result<String, Unfit> {
    finite(value)?;
    Ok(match is_whole(value) {
        true => format!("{value:.0}"),
        false => value.to_string(),
    })
}

fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() < WHOLE_MAX
}

/// [`double_text`] of single precision.
pub(super) fn single_text(value: f32) -> Result<String, Unfit> {
    finite(f64::from(value))?;
    Ok(match is_whole(f64::from(value)) {
        // The fewest digits would be those of another number: 2147483600 for 2147483648.
        true => format!("{value:.0}"),
        false => value.to_string(),
    })
}

fn finite(value: f64) -> Result<(), Unfit> {
    match value.is_finite() {
        true => positive_zero(value),
        false => Err("is not a finite number"),
    }
}

/// Whether a `BINARY_FLOAT` or `BINARY_DOUBLE` keeps the value: their zero has no sign.
pub(super) fn positive_zero(value: f64) -> Result<(), Unfit> {
    match value == 0.0 && value.is_sign_negative() {
        true => Err("is a negative zero, which Oracle does not have"),
        false => Ok(()),
    }
}

/// The text to send to a column of characters: an empty text would become NULL, except in a
/// `char`, where all blanks are padding; blanks at the end would be lost among that padding.
pub(super) fn text<'a>(text: &'a str, column: &Column) -> Result<&'a str, Unfit> {
    let padded = matches!(column.family.as_str(), "char" | "nchar");
    match text {
        "" if padded => Ok(" "),
        "" => Err("empty text is NULL to Oracle"),
        _ if padded && text.ends_with(' ') => Err("ends in blanks, which a CHAR column pads with"),
        _ if fidelity::lacks(column.charset.as_deref(), text) => {
            Err("has characters that the column's character set lacks")
        }
        _ => Ok(text),
    }
}

/// The value of a `char` or `nchar` column: without its padding.
pub(super) fn unpadded(text: &str) -> &str {
    text.trim_end_matches(' ')
}

/// Bytes to send: none would become NULL.
pub(super) fn bytes(bytes: &[u8]) -> Result<&[u8], Unfit> {
    if bytes.is_empty() { Err("empty bytes are NULL to Oracle") } else { Ok(bytes) }
}

/// Whether a column of family `interval_ds` keeps a duration in microseconds.
pub(super) fn duration(micros: i64, column: &Column) -> Result<(), Unfit> {
    let days = micros.unsigned_abs() / DAY_MICROS as u64;
    let room = 10u64.saturating_pow(column.precision.unwrap_or(2));
    if days >= room {
        return Err("has more days than the column");
    }
    fraction_fits((micros.unsigned_abs() % 1_000_000) as u32 * 1000, column)
}

fn fraction_fits(nanos: u32, column: &Column) -> Result<(), Unfit> {
    let unit = 10u32.pow(9 - column.scale.unwrap_or(0).min(9));
    match nanos.is_multiple_of(unit) {
        true => Ok(()),
        false => Err("has more digits of a second's fraction than the column"),
    }
}

/// A date with time of day, to the nanosecond, perhaps with a zone's offset: what columns of the
/// families `date`, `timestamp`, `timestamp_ltz` and `timestamp_tz` hold.
///
/// Spelt `YYYY-MM-DD hh:mm:ss`, then `.ffffff` or `.fffffffff` where the fraction needs it, then
/// ` +hh:mm` where there is an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// 1 to 9999.
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub nanos: u32,
    /// Minutes east of UTC.
    pub offset: Option<i16>,
}

impl Stamp {
    /// Without offset.
    pub fn of(v: DateTime) -> Stamp {
        let (year, month, day, hour, minute, second, micros) = v.parts();
        Stamp { year, month, day, hour, minute, second, nanos: micros * 1000, offset: None }
    }

    /// Reads `YYYY-MM-DD[ hh:mm[:ss[.f]]][ ±hh:mm]`, `f` one to nine digits; `None` for anything
    /// else.
    pub fn parse(text: &str) -> Option<Stamp> {
        let (text, offset) = match text.rsplit_once(' ') {
            Some((rest, zone)) if zone.starts_with(['+', '-']) => (rest, Some(parse_offset(zone)?)),
            _ => (text, None),
        };
        let (clock, fraction) = match text.split_once('.') {
            Some((clock, fraction)) => (clock, fraction),
            None => (text, ""),
        };
        let digits = fraction.len();
        if digits > 9
            || !fraction.bytes().all(|b| b.is_ascii_digit())
            || (text.contains('.') && (digits == 0 || clock.matches(':').count() != 2))
        {
            return None;
        }
        let nanos = match digits {
            0 => 0,
            _ => fraction.parse::<u32>().ok()? * 10u32.pow(9 - digits as u32),
        };
        Some(Stamp { nanos, offset, ..Stamp::of(DateTime::parse(clock)?) })
    }

    /// Whether the column keeps it as it is: a day of Oracle's calendar, no more fraction than
    /// declared, an offset exactly where the column has one.
    pub fn fits(self, column: &Column) -> Result<(), Unfit> {
        if !is_day(self.year, self.month, self.day) {
            return Err("is no day of Oracle's calendar");
        }
        match (self.offset, column.family == "timestamp_tz") {
            (Some(_), true) | (None, false) => fraction_fits(self.nanos, column),
            (None, true) => Err("has no time zone"),
            (Some(_), false) => Err("has a time zone, and the column has none"),
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { year, month, day, hour, minute, second, nanos, offset } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        push_fraction(f, *nanos)?;
        let Some(offset) = offset else { return Ok(()) };
        let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
        write!(f, " {sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

fn push_fraction(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    match nanos {
        0 => Ok(()),
        n if n.is_multiple_of(1000) => write!(f, ".{:06}", n / 1000),
        n => write!(f, ".{n:09}"),
    }
}

fn parse_offset(zone: &str) -> Option<i16> {
    let (sign, clock) = (zone.get(..1)?, zone.get(1..)?);
    let (hours, minutes) = clock.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| digits_of(text))?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let all = i16::try_from(hours * 60 + minutes).ok().filter(|_| minutes < 60 && hours < 16)?;
    Some(if sign == "-" { -all } else { all })
}

fn digits_of(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// The last year in which Oracle's calendar is the Julian one, to 4 October.
const JULIAN_END: u16 = 1582;

/// Whether Oracle's calendar has the day: a real one, and none of those that were left out when
/// the Gregorian calendar began (it moves them on without a word). Before that its calendar is the
/// Julian one, in which every fourth year is a leap year: it has a 29 February 1500.
pub(super) fn is_day(year: u16, month: u8, day: u8) -> bool {
    let leap = year.is_multiple_of(4)
        && (year <= JULIAN_END || !year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    let skipped = (year, month) == (JULIAN_END, 10) && (5..=14).contains(&day);
    (1..=9999).contains(&year) && (1..=days).contains(&day) && !skipped
}

/// A duration of days to nanoseconds: what columns of the family `interval_ds` hold that travel
/// as text. Spelt `[-]d hh:mm:ss`, the fraction as in a [`Stamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub negative: bool,
    pub days: u32,
    pub hours: u8,
    pub minutes: u8,
    pub seconds: u8,
    pub nanos: u32,
}

impl Interval {
    /// Of a signed duration in microseconds that [`duration`] let pass.
    pub fn of(micros: i64) -> Interval {
        let (all, negative) = (micros.unsigned_abs(), micros < 0);
        let seconds = all / 1_000_000;
        Interval {
            negative,
            days: u32::try_from(seconds / 86_400).unwrap_or(u32::MAX),
            hours: (seconds / 3600 % 24) as u8,
            minutes: (seconds / 60 % 60) as u8,
            seconds: (seconds % 60) as u8,
            nanos: (all % 1_000_000) as u32 * 1000,
        }
    }

    /// Reads what is written; `None` for anything else.
    pub fn parse(text: &str) -> Option<Interval> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (days, clock) = rest.split_once(' ')?;
        let stamp = Stamp::parse(&format!("2000-01-01 {clock}"))?;
        (clock.matches(':').count() == 2 && stamp.offset.is_none()).then_some(Interval {
            negative,
            days: digits_of(days)?,
            hours: stamp.hour,
            minutes: stamp.minute,
            seconds: stamp.second,
            nanos: stamp.nanos,
        })
    }

    /// Whether the column keeps it as it is.
    pub fn fits(self, column: &Column) -> Result<(), Unfit> {
        match u64::from(self.days) < 10u64.saturating_pow(column.precision.unwrap_or(2)) {
            true => fraction_fits(self.nanos, column),
            false => Err("has more days than the column"),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { negative, days, hours, minutes, seconds, nanos } = self;
        let sign = if *negative { "-" } else { "" };
        write!(f, "{sign}{days} {hours:02}:{minutes:02}:{seconds:02}")?;
        push_fraction(f, *nanos)
    }
}

/// `[-]y-mm` of an interval in months.
pub(super) fn months_text(months: i64) -> String {
    let (sign, all) = (if months < 0 { "-" } else { "" }, months.unsigned_abs());
    format!("{sign}{}-{:02}", all / 12, all % 12)
}

/// Reads what [`months_text`] writes, if a column of family `interval_ym` has room for it; the
/// months.
pub(super) fn months(text: &str, column: &Column) -> Result<i64, Unfit> {
    const FORM: Unfit = "is not of the form years-months";
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (years, months) = rest.split_once('-').ok_or(FORM)?;
    let two = Some(months).filter(|m| m.len() == 2).and_then(digits_of).filter(|m| *m < 12);
    let (years, months) = (digits_of(years).ok_or(FORM)?, two.ok_or(FORM)?);
    if u64::from(years) >= 10u64.saturating_pow(column.precision.unwrap_or(2)) {
        return Err("has more years than the column");
    }
    Ok(sign * (i64::from(years) * 12 + i64::from(months)))
}

#[cfg(test)]
mod tests;
