//! Dates, timestamps and intervals: Oracle's bytes and PostgreSQL's text.

const HOUR_OFFSET: u8 = 20;
const MINUTE_OFFSET: u8 = 60;
const DURATION_MID: i64 = 0x8000_0000;
const DURATION_OFFSET: i64 = 60;
const DAY_NANOS: i128 = 86_400_000_000_000;

/// Which of the three shapes a point in time has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Seven bytes.
    Date,
    /// Seven bytes, or eleven with a fraction of a second.
    Timestamp,
    /// Thirteen bytes: in UTC, with the offset.
    Zoned,
}

/// `2024-02-29 23:59:58.123456 +01:00` as Oracle stores it. The time is what stands there: for a
/// zoned value that is UTC, and the offset comes behind it.
pub(crate) fn encode(text: &str, shape: Shape) -> Option<Vec<u8>> {
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let mut parts = date.split('-');
    let year: i32 = parts.next()?.parse().ok()?;
    let year = if before_christ { -year } else { year };
    let month: u8 = parts.next()?.parse().ok()?;
    let day: u8 = parts.next()?.parse().ok()?;
    let (time, offset) = match time.find(['+', '-']) {
        Some(at) => (time[..at].trim_end(), Some(&time[at..])),
        None => (time, None),
    };
    let mut parts = time.split(':');
    let hour: u8 = parts.next()?.parse().ok()?;
    let minute: u8 = parts.next()?.parse().ok()?;
    let seconds = parts.next()?;
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let second: u8 = second.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let mut bytes = vec![
        u8::try_from(year / 100 + 100).ok()?,
        u8::try_from(year % 100 + 100).ok()?,
        month,
        day,
        hour + 1,
        minute + 1,
        second + 1,
    ];
    match shape {
        Shape::Date => {}
        Shape::Timestamp if nanos == 0 => {}
        Shape::Timestamp => bytes.extend(nanos.to_be_bytes()),
        Shape::Zoned => {
            bytes.extend(nanos.to_be_bytes());
            bytes.extend(offset_bytes(offset.unwrap_or("+00:00"))?);
        }
    }
    Some(bytes)
}

/// An offset such as `-03:30` or `+01`, as two bytes.
fn offset_bytes(text: &str) -> Option<[u8; 2]> {
    let (hours, minutes) = text.get(1..)?.split_once(':').unwrap_or((text.get(1..)?, "0"));
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    if text.starts_with('-') {
        Some([HOUR_OFFSET.checked_sub(hours)?, MINUTE_OFFSET.checked_sub(minutes)?])
    } else {
        Some([HOUR_OFFSET + hours, MINUTE_OFFSET + minutes])
    }
}

/// A zoned value's bytes as text of the form `YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM`, in UTC.
pub(crate) fn decode_zoned(bytes: &[u8]) -> Option<String> {
    let text = decode_fine(bytes.get(..11)?)?;
    let (hours, minutes) = match bytes.get(11..13) {
        Some(&[hours, minutes]) => (
            i16::from(hours) - i16::from(HOUR_OFFSET),
            i16::from(minutes) - i16::from(MINUTE_OFFSET),
        ),
        _ => (0, 0),
    };
    let sign = if hours < 0 || minutes < 0 { '-' } else { '+' };
    Some(format!("{text} {sign}{:02}:{:02}", hours.abs(), minutes.abs()))
}

/// Oracle's bytes as text that PostgreSQL reads: with an offset where the bytes have one.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    if bytes.len() < 7 {
        return None;
    }
    let year = (i32::from(bytes[0]) - 100) * 100 + i32::from(bytes[1]) - 100;
    let mut text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        year.abs(),
        bytes[2],
        bytes[3],
        bytes[4].checked_sub(1)?,
        bytes[5].checked_sub(1)?,
        bytes[6].checked_sub(1)?,
    );
    if bytes.len() >= 11 {
        let nanos = u32::from_be_bytes([bytes[7], bytes[8], bytes[9], bytes[10]]);
        if nanos != 0 {
            text.push_str(&format!(".{nanos:09}"));
        }
    }
    if bytes.len() >= 13 {
        text.push_str("+00");
    }
    if year < 0 {
        text.push_str(" BC");
    }
    Some(text)
}

/// The same with all nine digits of a second's fraction, zeros too.
pub(crate) fn decode_fine(bytes: &[u8]) -> Option<String> {
    let text = decode(bytes)?;
    if text.contains('.') {
        return Some(text);
    }
    let (time, era) = text.split_at(text.find(" BC").unwrap_or(text.len()));
    Some(format!("{time}.000000000{era}"))
}

/// The numbers of an ISO 8601 duration such as `P1Y-2M3DT4H5M6.7S`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Duration {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    nanos: i64,
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut result = Duration::default();
    let mut in_time = false;
    let mut number = String::new();
    for letter in text.strip_prefix('P')?.chars() {
        match letter {
            '0'..='9' | '-' | '.' => number.push(letter),
            'T' => in_time = true,
            _ => {
                let whole = || number.parse::<i64>().ok();
                match (letter, in_time) {
                    ('Y', _) => result.years = whole()?,
                    ('M', false) => result.months = whole()?,
                    ('D', _) => result.days = whole()?,
                    ('H', _) => result.hours = whole()?,
                    ('M', true) => result.minutes = whole()?,
                    ('S', _) => {
                        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
                        let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
                        let seconds: i64 = whole.parse().ok()?;
                        let sign = if whole.starts_with('-') { -1 } else { 1 };
                        result.nanos = seconds * 1_000_000_000 + sign * nanos;
                    }
                    _ => return None,
                }
                number.clear();
            }
        }
    }
    Some(result)
}

/// PostgreSQL's interval in ISO 8601 as INTERVAL YEAR TO MONTH.
pub(crate) fn encode_months(text: &str) -> Option<Vec<u8>> {
    let duration = parse_duration(text)?;
    let months = duration.years * 12 + duration.months;
    let mut bytes = u32::try_from(months / 12 + DURATION_MID).ok()?.to_be_bytes().to_vec();
    bytes.push(u8::try_from(months % 12 + DURATION_OFFSET).ok()?);
    Some(bytes)
}

/// PostgreSQL's interval in ISO 8601 as INTERVAL DAY TO SECOND.
pub(crate) fn encode_days(text: &str) -> Option<Vec<u8>> {
    let d = parse_duration(text)?;
    encode_span(
        i128::from(d.days * 24 + d.hours) * 3_600_000_000_000
            + i128::from(d.minutes) * 60_000_000_000
            + i128::from(d.nanos),
    )
}

/// Nanoseconds as INTERVAL DAY TO SECOND.
pub(crate) fn encode_span(nanos: i128) -> Option<Vec<u8>> {
    let part = |size: i128, of: i128| i64::try_from(nanos / size % of).ok();
    let days = i64::try_from(nanos / DAY_NANOS).ok()?;
    let mut bytes = u32::try_from(days + DURATION_MID).ok()?.to_be_bytes().to_vec();
    for (size, of) in [(3_600_000_000_000, 24), (60_000_000_000, 60), (1_000_000_000, 60)] {
        bytes.push(u8::try_from(part(size, of)? + DURATION_OFFSET).ok()?);
    }
    let rest = part(1, 1_000_000_000)?;
    bytes.extend(u32::try_from(rest + DURATION_MID).ok()?.to_be_bytes());
    Some(bytes)
}

/// INTERVAL YEAR TO MONTH as text that PostgreSQL reads.
pub(crate) fn decode_months(bytes: &[u8]) -> Option<String> {
    let (years, months) = bytes.split_at_checked(4)?;
    let years = i64::from(u32::from_be_bytes(years.try_into().ok()?)) - DURATION_MID;
    let months = i64::from(*months.first()?) - DURATION_OFFSET;
    Some(format!("{years} years {months} mons"))
}

/// INTERVAL DAY TO SECOND as nanoseconds.
pub(crate) fn decode_span(bytes: &[u8]) -> Option<i128> {
    if bytes.len() < 11 {
        return None;
    }
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let part = |at: usize| i128::from(bytes[at]) - i128::from(DURATION_OFFSET);
    let wide = |at: usize| i128::from(word(at)) - i128::from(DURATION_MID);
    let seconds = (part(4) * 60 + part(5)) * 60 + part(6);
    Some(wide(0) * DAY_NANOS + seconds * 1_000_000_000 + wide(7))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_dates_have_the_bytes_oracle_documents() {
        let bytes = encode("1998-12-25 15:30:45", Shape::Date).unwrap();
        assert_eq!(bytes, [119, 198, 12, 25, 16, 31, 46]);
        let bytes = encode("4712-01-01 00:00:00 BC", Shape::Date).unwrap();
        assert_eq!(bytes, [53, 88, 1, 1, 1, 1, 1]);
        assert_eq!(decode(&bytes).unwrap(), "4712-01-01 00:00:00 BC");
        for (offset, last) in [("+00:00", [20, 60]), ("-03:30", [17, 30]), ("+14:00", [34, 60])] {
            let text = format!("2024-01-02 03:04:05.000001000 {offset}");
            let bytes = encode(&text, Shape::Zoned).unwrap();
            assert_eq!(bytes[..11], [120, 124, 1, 2, 4, 5, 6, 0, 0, 3, 232]);
            assert_eq!(bytes[11..], last);
            assert_eq!(decode_zoned(&bytes).unwrap(), text);
        }
    }

    #[test]
    fn intervals_keep_their_signs() {
        for (iso, text) in [
            ("P1Y2M", "1 years 2 mons"),
            ("P-1Y-2M", "-1 years -2 mons"),
            ("PT0S", "0 years 0 mons"),
        ] {
            assert_eq!(decode_months(&encode_months(iso).unwrap()).unwrap(), text);
        }
        for (iso, nanos) in [
            ("P3DT4H5M6.7S", 273_906_700_000_000),
            ("P-3DT-4H-5M-6.7S", -273_906_700_000_000),
            ("PT-0.5S", -500_000_000),
            ("PT50H", 180_000_000_000_000),
        ] {
            assert_eq!(decode_span(&encode_days(iso).unwrap()).unwrap(), nanos);
        }
        // What Oracle's documentation of OCI says of the bytes: each part beside its middle.
        let bytes = encode_span(-1).unwrap();
        assert_eq!(bytes, [0x80, 0, 0, 0, 60, 60, 60, 0x7f, 0xff, 0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn every_timestamp_returns_as_it_was(
            year in 1i32..10000, month in 1u8..13, day in 1u8..29, hour in 0u8..24,
            minute in 0u8..60, second in 0u8..60, nanos in 1u32..1_000_000_000
        ) {
            let text = format!(
                "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{nanos:09}"
            );
            let bytes = encode(&text, Shape::Timestamp).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), text);
        }

        #[test]
        fn every_span_returns_as_it_was(nanos in -86_399_999_999_999_999_999_999i128..86_400_000_000_000_000_000_000) {
            prop_assert_eq!(decode_span(&encode_span(nanos).unwrap()).unwrap(), nanos);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = (decode_fine(&bytes), decode_zoned(&bytes), decode_months(&bytes), decode_span(&bytes));
        }
    }
}
