//! Into Oracle. What the server would round, pad, take for NULL or for another day without a word
//! the connector refuses row by row (see its `exact` module); what neither notices is lossy here.

use super::Fidelity::{self, Checked, Exact, Lossy, Refused};
use super::{Origin, charset, range};
use crate::connector::oracle::types::{NumberShape, float_digits};
use crate::crypto;
use crate::schema::{Column, Kind};

/// Integers up to this size are single precision exactly.
const FLOAT_INTEGER_MAX: i128 = 1 << 24;
/// Integers up to this size are double precision exactly.
const DOUBLE_INTEGER_MAX: i128 = 1 << 53;
/// Whole numbers of so many digits are single precision exactly.
const FLOAT_DIGITS: u32 = 6;
/// Decimals of so many digits survive as double precision.
const DOUBLE_DIGITS: u32 = 15;
/// Base-100 digits of a `NUMBER`.
const NUMBER_PAIRS: i64 = 20;
/// Days that MySQL's longest `TIME` has need so many digits.
const MYSQL_TIME_DAY_DIGITS: u32 = 2;

pub fn judge(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    match dest.family.as_str() {
        "number" | "float" => number(source, dest),
        "boolean" => boolean(source),
        "binary_float" | "binary_double" => float(source, origin, dest),
        "char" | "nchar" | "varchar2" | "nvarchar2" | "clob" | "nclob" => {
            text(source, origin, dest)
        }
        "raw" | "blob" => bytes(source, dest),
        "date" | "timestamp" | "timestamp_ltz" => moment(source, origin, dest),
        "timestamp_tz" => zoned(source, origin, dest),
        "interval_ds" => interval(source, dest),
        "interval_ym" => months(source, dest),
        "json" => json(source),
        "long" | "long_raw" => refused("a LONG column is read, never written"),
        "rowid" | "urowid" => refused("a ROWID names a place in its own database alone"),
        "xmltype" => refused("XMLTYPE is read, never written"),
        _ => refused("this type is not known"),
    }
}

/// Characters of an envelope that fit; `None` where no envelope can stand, `u64::MAX` for no limit.
pub fn envelope_width(dest: &Column) -> Option<u64> {
    match dest.family.as_str() {
        "char" | "nchar" | "varchar2" | "nvarchar2" => {
            let (ascii, _) = charset::bytes_per_char(dest.charset.as_deref());
            let bytes = dest.max_bytes.map_or(u64::MAX, |b| b / ascii);
            Some(dest.max_chars.unwrap_or(u64::MAX).min(bytes))
        }
        "raw" => dest.max_bytes,
        "clob" | "nclob" | "blob" => Some(u64::MAX),
        _ => None,
    }
}

fn number(source: &Column, dest: &Column) -> Fidelity {
    match source.kind {
        Kind::Int | Kind::UInt | Kind::Decimal => {}
        Kind::Float32 | Kind::Float64 => {
            return checked("only numbers that the column keeps to the last digit fit");
        }
        Kind::Text if !range::is_free_text(source) => return refused("no numbers"),
        Kind::Text => return checked("only text that spells a number as the column does fits"),
        Kind::Any => return checked("only numbers that the column keeps to the last digit fit"),
        Kind::Bytes => return refused("bytes are no numbers"),
        Kind::Date | Kind::DateTime | Kind::Time => return refused("times are no numbers"),
    }
    let (whole, lowest) = extent(source);
    if let Some(NumberShape { precision, scale }) = NumberShape::of(dest) {
        let room = i64::from(precision) - i64::from(scale);
        let large = match whole <= room {
            true => Exact,
            false => {
                Checked(format!("numbers of more than {room} digits before the point do not fit"))
            }
        };
        let fine = match lowest >= -i64::from(scale) {
            true => Exact,
            false if scale >= 0 => Checked(format!(
                "numbers that need more than {scale} digits after the point do not fit"
            )),
            false => Checked(format!("numbers that are no multiples of 10^{} do not fit", -scale)),
        };
        return large.and(fine);
    }
    // NUMBER without digits, and FLOAT, hold every number of another such column.
    let boundless = range::is_boundless(source);
    match float_digits(dest) {
        Some(digits) if boundless || whole - lowest > i64::from(digits) => {
            Checked(format!("numbers of more than {digits} digits do not fit"))
        }
        Some(_) => Exact,
        None if boundless || pairs(whole, lowest) <= NUMBER_PAIRS => Exact,
        None => checked("numbers of more digits than NUMBER keeps (38 to 40) do not fit"),
    }
}

/// Digits before the point that a number of the column may have, and the lowest power of ten that
/// it may use.
fn extent(source: &Column) -> (i64, i64) {
    if let Some(NumberShape { precision, scale }) = NumberShape::of(source) {
        return (i64::from(precision) - i64::from(scale), -i64::from(scale));
    }
    let (whole, scale) = range::digits(source);
    (i64::from(whole), -i64::from(scale))
}

fn pairs(whole: i64, lowest: i64) -> i64 {
    (whole - 1).div_euclid(2) - lowest.div_euclid(2) + 1
}

fn boolean(source: &Column) -> Fidelity {
    match source.kind {
        Kind::Int | Kind::UInt => match range::integers(source) {
            Some((0.., ..=1)) => Exact,
            _ => checked("only 0 and 1 fit"),
        },
        Kind::Decimal | Kind::Float32 | Kind::Float64 | Kind::Any => checked("only 0 and 1 fit"),
        Kind::Text if !range::is_free_text(source) => refused("neither 0 nor 1"),
        Kind::Text => checked("only the texts 0 and 1 fit"),
        Kind::Bytes | Kind::Date | Kind::DateTime | Kind::Time => refused("neither 0 nor 1"),
    }
}

fn float(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    let single = dest.family == "binary_float";
    let (integers, word) = match single {
        true => (FLOAT_INTEGER_MAX, "single"),
        false => (DOUBLE_INTEGER_MAX, "double"),
    };
    // Oracle's have none, and SQLite's neither.
    let zero = match origin {
        Origin::MySql => checked("a negative zero does not fit"),
        Origin::Sqlite | Origin::Oracle => Exact,
    };
    let rounded = || Checked(format!("numbers that {word} precision would round do not fit"));
    match source.kind {
        Kind::Int | Kind::UInt => match range::integers(source) {
            Some((min, max)) if min >= -integers && max <= integers => Exact,
            _ => rounded(),
        },
        Kind::Decimal => match range::digits(source) {
            (whole, 0) if single && whole <= FLOAT_DIGITS => Exact,
            (whole, scale) if !single && whole + scale <= DOUBLE_DIGITS => Exact,
            _ => rounded(),
        },
        Kind::Float32 => zero,
        Kind::Float64 if single => rounded().and(zero),
        Kind::Float64 => zero,
        Kind::Text if !range::is_free_text(source) => refused("no numbers"),
        Kind::Text => checked("only text that spells a number as the column does fits"),
        Kind::Any => Checked(format!("only numbers that {word} precision holds exactly fit")),
        Kind::Bytes => refused("bytes are no numbers"),
        Kind::Date | Kind::DateTime | Kind::Time => refused("times are no numbers"),
    }
}

fn text(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    let padded = matches!(dest.family.as_str(), "char" | "nchar");
    let blanks = match padded && range::may_end_blank(source) {
        true => {
            checked("text that ends in blanks does not fit a CHAR column, which pads with them")
        }
        false => Exact,
    };
    match source.kind {
        Kind::Text => {
            zone_name(source).and(room(source, dest)).and(characters(source, dest)).and(blanks)
        }
        Kind::Int | Kind::UInt | Kind::Decimal | Kind::Date | Kind::DateTime | Kind::Time => {
            room(source, dest)
        }
        Kind::Float32 | Kind::Float64 => match origin {
            Origin::MySql => checked("a negative zero has no spelling here"),
            Origin::Sqlite => checked("infinite numbers have no spelling"),
            Origin::Oracle => checked("NaN and infinite numbers have no spelling"),
        }
        .and(room(source, dest)),
        Kind::Any => checked("only values stored as TEXT fit")
            .and(room(source, dest))
            .and(characters(source, dest))
            .and(blanks),
        Kind::Bytes => refused("bytes have no character set"),
    }
}

/// Characters that the destination lacks would become others without a word; only ASCII is sent
/// to a database whose character set is not Unicode's.
fn characters(source: &Column, dest: &Column) -> Fidelity {
    let ascii = charset::repertoire(range::charset(source)) == charset::Repertoire::Ascii;
    match dest.charset.as_deref() {
        Some(name) if !ascii && charset::repertoire(Some(name)) != charset::Repertoire::Unicode => {
            Checked(format!("characters beyond ASCII do not fit {name}"))
        }
        _ => Exact,
    }
}

/// Whether the widest value finds room in a column of characters.
fn room(source: &Column, dest: &Column) -> Fidelity {
    let chars = range::chars_max(source);
    let (ascii, most) = charset::bytes_per_char(dest.charset.as_deref());
    let plain =
        !matches!(source.kind, Kind::Text | Kind::Any) || range::charset(source) == Some("ascii");
    // In the national character set one beyond the Basic Multilingual Plane counts as two: that is
    // found in the bytes.
    let by_chars = match dest.max_chars {
        Some(fit) if chars > fit => {
            Checked(format!("text of more than {fit} characters does not fit"))
        }
        _ => Exact,
    };
    let bytes = match source.kind {
        Kind::Text if plain => chars.saturating_mul(ascii),
        Kind::Text
            if !range::is_list(source)
                && charset::same_bytes(source.charset.as_deref(), dest.charset.as_deref()) =>
        {
            range::bytes_max(source)
        }
        Kind::Text | Kind::Any => chars.saturating_mul(most_of(source, dest, most)),
        _ => chars.saturating_mul(ascii),
    };
    let by_bytes = match dest.max_bytes {
        Some(fit) if bytes > fit => Checked(format!(
            "text of more than {fit} bytes in {} does not fit",
            dest.charset.as_deref().unwrap_or("the database's character set")
        )),
        _ => Exact,
    };
    by_chars.and(by_bytes)
}

/// Bytes of the widest character that the source can have, in the destination.
fn most_of(source: &Column, dest: &Column, most: u64) -> u64 {
    match (charset::repertoire(range::charset(source)), dest.charset.as_deref()) {
        (charset::Repertoire::Bmp | charset::Repertoire::Some, Some("AL32UTF8" | "UTF8")) => 3,
        (charset::Repertoire::Bmp | charset::Repertoire::Some, Some("AL16UTF16")) => 2,
        _ => most,
    }
}

fn bytes(source: &Column, dest: &Column) -> Fidelity {
    let most = match source.kind {
        // Four bytes name the reference system, then one, four, and two times eight.
        Kind::Bytes if source.family == "point" => 25,
        Kind::Bytes | Kind::Any => range::bytes_max(source),
        // Text goes as its UTF-8.
        Kind::Text => crypto::plain_len_max(source).unwrap_or_else(|| range::bytes_max(source)),
        _ => return refused("numbers and times are no bytes"),
    };
    let own = match source.kind {
        Kind::Any => checked("only values stored as BLOB fit"),
        Kind::Text => zone_name(source),
        _ => Exact,
    };
    own.and(match dest.max_bytes {
        Some(fit) if most > fit => Checked(format!("values of more than {fit} bytes do not fit")),
        _ => Exact,
    })
}

/// Every day that another database can hold is one of Oracle's, or not.
fn calendar(origin: Origin) -> Fidelity {
    match origin {
        Origin::Oracle => Exact,
        Origin::MySql | Origin::Sqlite => {
            checked("dates that are no days of the calendar, such as 0000-00-00, do not fit")
        }
    }
}

fn moment(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    match (source.kind, source.family.as_str()) {
        (Kind::Date, _) => calendar(origin),
        (Kind::DateTime, "timestamp_tz") => {
            lossy("the zone is lost; the moment arrives in UTC").and(fractions(source, dest))
        }
        (Kind::DateTime, _) => calendar(origin).and(fractions(source, dest)),
        (Kind::Text, "timestamp" | "timestamp_ltz") => fractions(source, dest),
        (Kind::Text, _) if !range::is_free_text(source) => refused("no dates"),
        (Kind::Text | Kind::Any, _) => {
            checked("only text of the form YYYY-MM-DD hh:mm:ss fits").and(fractions_of_text(dest))
        }
        _ => refused("no dates"),
    }
}

/// Times without zone are in UTC, here as everywhere.
fn zoned(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    match (source.kind, source.family.as_str()) {
        (Kind::Date, _) => calendar(origin),
        (Kind::DateTime, "timestamp_tz") => refused("the zone is lost on the way"),
        (Kind::DateTime, _) => calendar(origin).and(fractions(source, dest)),
        (Kind::Text, "timestamp_tz") => zone_name(source).and(fractions(source, dest)),
        (Kind::Text, _) if !range::is_free_text(source) => refused("no times with a zone"),
        (Kind::Text | Kind::Any, _) => {
            checked("only text of the form YYYY-MM-DD hh:mm:ss +hh:mm fits")
                .and(fractions_of_text(dest))
        }
        _ => refused("no dates"),
    }
}

/// A time with zone travels with the zone's offset.
fn zone_name(source: &Column) -> Fidelity {
    match source.family.as_str() {
        "timestamp_tz" => lossy("a zone that has a name becomes its offset at that time"),
        _ => Exact,
    }
}

fn fractions(source: &Column, dest: &Column) -> Fidelity {
    match range::fraction(dest) {
        room if range::fraction(source) <= room => Exact,
        0 => checked("values with a fraction of a second do not fit"),
        room => Checked(format!(
            "values with more than {room} digits of a second's fraction do not fit"
        )),
    }
}

fn fractions_of_text(dest: &Column) -> Fidelity {
    match range::fraction(dest) {
        0 => checked("values with a fraction of a second do not fit"),
        _ => Exact,
    }
}

fn interval(source: &Column, dest: &Column) -> Fidelity {
    let room = dest.precision.unwrap_or(MYSQL_TIME_DAY_DIGITS);
    let days = |digits: u32| match digits <= room {
        true => Exact,
        false => Checked(format!("durations whose days have more than {room} digits do not fit")),
    };
    match (source.kind, source.family.as_str()) {
        (Kind::Time | Kind::Text, "interval_ds") => {
            days(source.precision.unwrap_or(9)).and(fractions(source, dest))
        }
        (Kind::Time, _) => days(MYSQL_TIME_DAY_DIGITS).and(fractions(source, dest)),
        (Kind::Text, _) if !range::is_free_text(source) => refused("no durations"),
        (Kind::Text | Kind::Any, _) => checked("only text of the form hh:mm:ss or d hh:mm:ss fits"),
        _ => refused("no durations"),
    }
}

fn months(source: &Column, dest: &Column) -> Fidelity {
    match (source.kind, source.family.as_str()) {
        (Kind::Text, "interval_ym") => match source.precision <= dest.precision {
            true => Exact,
            false => checked("intervals of more years than the column has digits for do not fit"),
        },
        (Kind::Text, _) if !range::is_free_text(source) => refused("no years and months"),
        (Kind::Text | Kind::Any, _) => checked("only text of the form years-months fits"),
        _ => refused("no years and months"),
    }
}

fn json(source: &Column) -> Fidelity {
    match source.kind {
        Kind::Text if !range::is_free_text(source) => refused("no JSON"),
        Kind::Text | Kind::Any => lossy(
            "the server keeps JSON in a form of its own: blanks, order, spelling of numbers and \
             doubled keys change",
        ),
        _ => refused("only text is JSON"),
    }
}

fn checked(why: &str) -> Fidelity {
    Checked(why.to_owned())
}

fn lossy(why: &str) -> Fidelity {
    Lossy(why.to_owned())
}

fn refused(why: &str) -> Fidelity {
    Refused(why.to_owned())
}
