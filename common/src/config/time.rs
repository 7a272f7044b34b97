//! Times in a configuration: how often, from when, how far behind.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest period and lag that can be configured: 100 years.
pub const PERIOD_SECS_MAX: u64 = 100 * 366 * 86_400;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// Reads `5s`, `10m`, `1h`, `1d`, or a sum of different units, largest first, such as `1h 30m`
/// (blanks are optional). Whole seconds; `0s` is allowed here.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "is not a length of time; write 5s, 10m, 1h, 1d or a sum such as 1h 30m";
    let mut rest = text.trim();
    let mut units = UNITS.iter();
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(FORM.to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let mut chars = after.chars();
        let unit = chars.next().ok_or(FORM)?;
        // `units` only moves forward, which is what makes the order and the "once each" rule.
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or(FORM)?;
        let seconds = number.parse::<u64>().map_err(|_| FORM)?;
        total = seconds
            .checked_mul(*factor)
            .and_then(|s| total.checked_add(s))
            .filter(|s| *s <= PERIOD_SECS_MAX)
            .ok_or("is longer than 100 years")?;
        rest = chars.as_str().trim_start();
    }
    Ok(Duration::from_secs(total))
}

/// The shortest form that [`parse_duration`] reads back: `1h 30m`.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut parts = Vec::new();
    for (name, factor) in UNITS {
        if rest >= factor {
            parts.push(format!("{}{name}", rest / factor));
            rest %= factor;
        }
    }
    parts.join(" ")
}

/// A frequency in whole seconds, at least one; written `5s`, `10m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
    /// The shortest.
    pub const SECOND: Period = Period(1);
    /// Ten minutes.
    pub const TEN_MINUTES: Period = Period(600);
    /// An hour.
    pub const HOUR: Period = Period(3600);
    /// A day of 24 hours.
    pub const DAY: Period = Period(86_400);

    /// A period of this many seconds; `None` for 0 and above [`PERIOD_SECS_MAX`].
    pub fn from_secs(secs: u64) -> Option<Self> {
        (1..=PERIOD_SECS_MAX).contains(&secs).then_some(Period(secs))
    }

    /// Its length in seconds.
    pub fn secs(self) -> u64 {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let secs = parse_duration(text)?.as_secs();
        Period::from_secs(secs).ok_or_else(|| "must be at least one second".to_owned())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration_text(Duration::from_secs(self.0)))
    }
}

/// A moment to the second, kept as written so that its offset survives: RFC 3339,
/// `2026-12-01T00:00:00+08:00`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    text: String,
    unix_secs: i64,
}

impl Moment {
    /// The beginning of 1970.
    pub(super) fn epoch() -> Self {
        Moment { text: "1970-01-01T00:00:00Z".to_owned(), unix_secs: 0 }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_secs(&self) -> i64 {
        self.unix_secs
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // A date and a time must be there: jiff alone also reads `2026-12-01T00Z`.
        let shaped = text.len() >= 20 && text.is_char_boundary(19) && {
            let head = text.as_bytes();
            head[4] == b'-' && head[13] == b':' && head[16] == b':' && !text.contains('[')
        };
        let parsed: Option<jiff::Timestamp> = shaped.then(|| text.parse().ok()).flatten();
        let Some(stamp) = parsed else {
            return Err("is not a moment of RFC 3339 with its offset, such as \
                        2026-12-01T00:00:00+08:00"
                .to_owned());
        };
        if text.contains(['.', ',']) || stamp.subsec_nanosecond() != 0 {
            return Err("has a fraction of a second; moments are whole seconds".to_owned());
        }
        Ok(Moment { text: text.to_owned(), unix_secs: stamp.as_second() })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A time of day to the minute, written `08:30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock {
    hour: i8,
    minute: i8,
}

impl Clock {
    /// The beginning of a day.
    pub(super) const MIDNIGHT: Clock = Clock { hour: 0, minute: 0 };

    /// As a time of day.
    pub fn time(self) -> jiff::civil::Time {
        // In range, as `from_str` has made sure.
        jiff::civil::Time::new(self.hour, self.minute, 0, 0).unwrap_or_default()
    }
}

impl FromStr for Clock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "is not a time of day; write 08:30";
        let (hour, minute) = text.trim().split_once(':').ok_or(FORM)?;
        let part = |text: &str, below: i8| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<i8>().ok().filter(|n| digits && *n < below).ok_or(FORM)
        };
        Ok(Clock { hour: part(hour, 24)?, minute: part(minute, 60)? })
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// How far behind the newest watermark reading stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// For dates and times, in seconds; written `10s`.
    Secs(u64),
    /// For numbers; written `100`.
    Count(u64),
}

impl Lag {
    /// Whether it is no lag at all.
    pub fn is_zero(self) -> bool {
        matches!(self, Lag::Secs(0) | Lag::Count(0))
    }
}

impl FromStr for Lag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .filter(|n| *n <= i64::MAX as u64)
                .map(Lag::Count)
                .ok_or_else(|| "is too large a number".to_owned());
        }
        parse_duration(text)
            .map(|d| Lag::Secs(d.as_secs()))
            .map_err(|e| format!("{e}, or a plain number for a numeric watermark"))
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lag::Secs(secs) => f.write_str(&duration_text(Duration::from_secs(*secs))),
            Lag::Count(n) => write!(f, "{n}"),
        }
    }
}

macro_rules! serde_as_text {
    ($($t:ty),+) => {$(
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_as_text!(Period, Moment, Clock, Lag);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_documented() {
        let secs = |t: &str| parse_duration(t).map(|d| d.as_secs());
        assert_eq!(secs("5s"), Ok(5));
        assert_eq!(secs("1h 30m"), Ok(5400));
        assert_eq!(secs("1d1h1m1s"), Ok(90_061));
        assert_eq!(secs(" 10m "), Ok(600));
        for wrong in ["", "5", "s", "5x", "1m 1h", "1m 1m", "-5s", "1.5s", "5 s", "99999999999d"] {
            assert!(secs(wrong).is_err(), "{wrong}");
        }
        assert!("0s".parse::<Period>().is_err());
    }

    #[test]
    fn moments_keep_their_offset_and_need_one() {
        let m: Moment = "2026-12-01T00:00:00+08:00".parse().unwrap();
        assert_eq!(m.unix_secs(), 1_796_054_400);
        assert_eq!(m.to_string(), "2026-12-01T00:00:00+08:00");
        for wrong in [
            "2026-12-01",
            "2026-12-01T00:00:00",
            "2026-12-01T00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-12-01T00:00:00.5Z",
            "2026-12-01T00:00:00.000Z",
            "2026-12-01T00:00:00Z[Asia/Shanghai]",
            "2026-12-01T00:00:0é0Z",
            "",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        let clock: Clock = "08:30".parse().unwrap();
        assert_eq!((clock.to_string().as_str(), clock.time().hour()), ("08:30", 8));
        for wrong in ["8:30", "24:00", "08:60", "08", "08:30:00", "-1:30", "+1:30", "", "aa:bb"] {
            assert!(wrong.parse::<Clock>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lag_is_a_time_or_a_number() {
        assert_eq!("10s".parse(), Ok(Lag::Secs(10)));
        assert_eq!("10".parse(), Ok(Lag::Count(10)));
        assert_eq!("0s".parse(), Ok(Lag::Secs(0)));
        assert!("ten".parse::<Lag>().is_err());
    }

    proptest! {
        #[test]
        fn durations_survive_their_text(secs in 0..=PERIOD_SECS_MAX) {
            let d = Duration::from_secs(secs);
            prop_assert_eq!(parse_duration(&duration_text(d)), Ok(d));
        }

        #[test]
        fn parsers_never_panic(text in ".*") {
            let _ = parse_duration(&text);
            let _ = text.parse::<Moment>();
            let _ = text.parse::<Lag>();
        }
    }
}
