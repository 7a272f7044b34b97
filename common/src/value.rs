//! Single values: keys, statement parameters, small results. Rows in bulk travel as Arrow batches.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A calendar date with time of day to the microsecond, packed into an `i64` that sorts in time
/// order. Unlike a count of days it also holds MySQL's zero and partial dates (`0000-00-00`,
/// `2024-00-15`) and invalid ones that `ALLOW_INVALID_DATES` lets in (`2023-02-31`).
///
/// Bits, high to low: year (14, 0–9999), month (4), day (5), hour (5), minute (6), second (6),
/// microsecond (20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct DateTime(i64);

/// From text that a server keeps for us: only what [`DateTime::packed`] gives.
impl TryFrom<i64> for DateTime {
    type Error = &'static str;

    fn try_from(packed: i64) -> Result<Self, Self::Error> {
        let (y, mo, d, h, mi, s, us) = DateTime(packed).parts();
        let real = DateTime::new(y, mo, d, h, mi, s, us).filter(|v| v.0 == packed);
        real.ok_or("not a packed date")
    }
}

impl DateTime {
    /// Packs the parts; `None` when one is out of its field's range (month 0–12, day 0–31).
    pub fn new(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
        micros: u32,
    ) -> Option<Self> {
        let fits = year <= 9999
            && month <= 12
            && day <= 31
            && hour <= 23
            && minute <= 59
            && second <= 59
            && micros <= 999_999;
        fits.then(|| {
            let date = (i64::from(year) << 9) | (i64::from(month) << 5) | i64::from(day);
            let time = (i64::from(hour) << 12) | (i64::from(minute) << 6) | i64::from(second);
            DateTime((date << 37) | (time << 20) | i64::from(micros))
        })
    }

    /// The packed form, as it stands in a batch.
    pub fn packed(self) -> i64 {
        self.0
    }

    /// From the packed form of a batch that ssync wrote.
    pub fn from_packed(packed: i64) -> Self {
        DateTime(packed)
    }

    /// Year, month, day, hour, minute, second, microsecond.
    pub fn parts(self) -> (u16, u8, u8, u8, u8, u8, u32) {
        let v = self.0;
        (
            ((v >> 46) & 0x3fff) as u16,
            ((v >> 42) & 0xf) as u8,
            ((v >> 37) & 0x1f) as u8,
            ((v >> 32) & 0x1f) as u8,
            ((v >> 26) & 0x3f) as u8,
            ((v >> 20) & 0x3f) as u8,
            (v & 0xf_ffff) as u32,
        )
    }

    /// `YYYY-MM-DD`.
    pub fn date_text(self) -> String {
        let (y, m, d, ..) = self.parts();
        format!("{y:04}-{m:02}-{d:02}")
    }

    /// `YYYY-MM-DD hh:mm:ss[.ffffff]` with `digits` (0–6) of fraction.
    pub fn text(self, digits: u32) -> String {
        let (y, m, d, h, mi, s, us) = self.parts();
        let mut text = format!("{y:04}-{m:02}-{d:02} {h:02}:{mi:02}:{s:02}");
        push_fraction(&mut text, us, digits);
        text
    }

    /// Reads `YYYY-MM-DD` with an optional ` hh:mm[:ss[.ffffff]]` (or `T` between); `None` for
    /// anything else, more than six fraction digits included.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once([' ', 'T']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year = digits_of(parts.next()?, 4)?;
        let month = digits_of(parts.next()?, 2)?;
        let day = digits_of(parts.next()?, 2)?;
        if parts.next().is_some() {
            return None;
        }
        let (mut h, mut mi, mut s, mut us) = (0, 0, 0, 0);
        if let Some(time) = time {
            let (clock, fraction) = match time.split_once('.') {
                Some((clock, fraction)) => (clock, Some(fraction)),
                None => (time, None),
            };
            let mut parts = clock.split(':');
            h = digits_of(parts.next()?, 2)?;
            mi = digits_of(parts.next()?, 2)?;
            s = match parts.next() {
                Some(part) => digits_of(part, 2)?,
                None if fraction.is_some() => return None,
                None => 0,
            };
            if parts.next().is_some() {
                return None;
            }
            us = fraction.map_or(Some(0), parse_fraction)?;
        }
        DateTime::new(year as u16, month as u8, day as u8, h as u8, mi as u8, s as u8, us)
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(6))
    }
}

fn digits_of(text: &str, width: usize) -> Option<u32> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse_fraction(text: &str) -> Option<u32> {
    let ok = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    ok.then(|| text.parse::<u32>().ok().map(|n| n * 10u32.pow(6 - text.len() as u32)))?
}

fn push_fraction(text: &mut String, micros: u32, digits: u32) {
    if digits > 0 {
        let digits = digits.min(6) as usize;
        text.push('.');
        text.push_str(&format!("{micros:06}")[..digits]);
    }
}

/// `[-]hhh:mm:ss[.ffffff]` of a signed duration in microseconds, with `digits` (0–6) of fraction.
pub fn time_text(micros: i64, digits: u32) -> String {
    let (sign, abs) = if micros < 0 { ("-", micros.unsigned_abs()) } else { ("", micros as u64) };
    let seconds = abs / 1_000_000;
    let mut text =
        format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(&mut text, (abs % 1_000_000) as u32, digits);
    text
}

/// Reads what [`time_text`] writes; `None` for anything else.
pub fn parse_time(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (clock, fraction) = match rest.split_once('.') {
        Some((clock, fraction)) => (clock, parse_fraction(fraction)?),
        None => (rest, 0),
    };
    let mut parts = clock.split(':');
    let hours = parts.next()?;
    if !(2..=4).contains(&hours.len()) || !hours.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = hours.parse().ok()?;
    let minutes = i64::from(digits_of(parts.next()?, 2).filter(|m| *m < 60)?);
    let seconds = i64::from(digits_of(parts.next()?, 2).filter(|s| *s < 60)?);
    if parts.next().is_some() {
        return None;
    }
    let micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + i64::from(fraction);
    Some(if negative { -micros } else { micros })
}

/// One value with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// SQL NULL.
    #[serde(rename = "n")]
    Null,
    /// Signed integer.
    #[serde(rename = "i")]
    Int(i64),
    /// Unsigned integer.
    #[serde(rename = "u")]
    UInt(u64),
    /// Double precision.
    #[serde(rename = "f")]
    Float(f64),
    /// Exact decimal as text.
    #[serde(rename = "d")]
    Decimal(String),
    /// Characters.
    #[serde(rename = "t")]
    Text(String),
    /// Bytes.
    #[serde(rename = "b", with = "hex_bytes")]
    Bytes(Vec<u8>),
    /// Date alone.
    #[serde(rename = "a")]
    Date(DateTime),
    /// Date and time of day.
    #[serde(rename = "s")]
    DateTime(DateTime),
    /// Signed duration, microseconds.
    #[serde(rename = "m")]
    Time(i64),
}

impl Value {
    /// The integer inside, signed or not; `None` for other types and for what does not fit.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(v) => Some(*v),
            Value::UInt(v) => i64::try_from(*v).ok(),
            Value::Decimal(t) | Value::Text(t) => t.parse().ok(),
            Value::Bytes(b) => std::str::from_utf8(b).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The text inside; bytes count when they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(t) | Value::Decimal(t) => Some(t),
            Value::Bytes(b) => std::str::from_utf8(b).ok(),
            _ => None,
        }
    }

    /// The bytes inside, of text or of bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(t) | Value::Decimal(t) => Some(t.as_bytes()),
            Value::Bytes(b) => Some(b),
            _ => None,
        }
    }

    /// The plain text of a value (what error rows show); bytes as hexadecimal. `None` for NULL.
    pub fn plain(&self) -> Option<String> {
        Some(match self {
            Value::Null => return None,
            Value::Int(v) => v.to_string(),
            Value::UInt(v) => v.to_string(),
            Value::Float(v) => v.to_string(),
            Value::Decimal(t) | Value::Text(t) => t.clone(),
            Value::Bytes(b) => hex_bytes::encode(b),
            Value::Date(d) => d.date_text(),
            Value::DateTime(d) => d.text(6),
            Value::Time(t) => time_text(*t, 6),
        })
    }

    /// Tagged bytes of a value that carries its own type, for [`crate::schema::Kind::Any`]:
    /// `i`/`f` and eight little-endian bytes, `t`/`b` and the content. Other types as text.
    pub fn to_tagged(&self) -> Option<Vec<u8>> {
        let tagged = |tag: u8, bytes: &[u8]| [&[tag], bytes].concat();
        Some(match self {
            Value::Null => return None,
            Value::Int(v) => tagged(b'i', &v.to_le_bytes()),
            Value::Float(v) => tagged(b'f', &v.to_bits().to_le_bytes()),
            Value::Bytes(b) => tagged(b'b', b),
            other => tagged(b't', other.plain()?.as_bytes()),
        })
    }

    /// Reads [`Value::to_tagged`]; `None` when the bytes are not of that form.
    pub fn from_tagged(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        Some(match tag {
            b'i' => Value::Int(i64::from_le_bytes(rest.try_into().ok()?)),
            b'f' => Value::Float(f64::from_bits(u64::from_le_bytes(rest.try_into().ok()?))),
            b't' => Value::Text(std::str::from_utf8(rest).ok()?.to_owned()),
            b'b' => Value::Bytes(rest.to_vec()),
            _ => return None,
        })
    }
}

/// The key of one row: one value per key column, in key order.
pub type Key = Vec<Value>;

/// A key for people: `id=17` or `(region='N', id=17)`. Long values are cut.
pub fn key_text(columns: &[String], key: &[Value]) -> String {
    let part = |(name, value): (&String, &Value)| {
        let shown = match value {
            Value::Null => "NULL".to_owned(),
            Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Decimal(_) => {
                value.plain().unwrap_or_default()
            }
            Value::Bytes(b) => format!("0x{}", hex_bytes::encode(&b[..b.len().min(32)])),
            other => {
                format!(
                    "'{}'",
                    other.plain().unwrap_or_default().chars().take(64).collect::<String>()
                )
            }
        };
        format!("{name}={shown}")
    };
    let parts: Vec<_> = columns.iter().zip(key).map(part).collect();
    if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(", ")) }
}

/// Bytes as hexadecimal text in JSON.
pub mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Lower-case hexadecimal.
    pub fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The bytes of hexadecimal text.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
    }

    /// For `serde(with)`.
    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&encode(bytes))
    }

    /// For `serde(with)`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        decode(&text).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn date_times_survive_packing_and_text(
            y in 0u16..=9999, m in 0u8..=12, d in 0u8..=31,
            h in 0u8..24, mi in 0u8..60, s in 0u8..60, us in 0u32..1_000_000,
        ) {
            let v = DateTime::new(y, m, d, h, mi, s, us).unwrap();
            prop_assert_eq!(v.parts(), (y, m, d, h, mi, s, us));
            prop_assert_eq!(DateTime::parse(&v.text(6)), Some(v));
        }

        #[test]
        fn packed_order_is_time_order(a in any::<[u8; 6]>(), b in any::<[u8; 6]>()) {
            let make = |x: [u8; 6]| DateTime::new(
                u16::from(x[0]) * 39, x[1] % 13, x[2] % 32, x[3] % 24, x[4] % 60, x[5] % 60, 0,
            ).unwrap();
            let (a, b) = (make(a), make(b));
            prop_assert_eq!(a.cmp(&b), a.text(6).cmp(&b.text(6)));
        }

        #[test]
        fn durations_survive_text(us in -3_020_399_999_999i64..=3_020_399_999_999) {
            prop_assert_eq!(parse_time(&time_text(us, 6)), Some(us));
        }

        #[test]
        fn keys_survive_json(i in any::<i64>(), u in any::<u64>(), t in ".*", b in any::<Vec<u8>>()) {
            let key = vec![Value::Int(i), Value::UInt(u), Value::Text(t), Value::Bytes(b)];
            let json = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        }

        #[test]
        fn tagged_values_survive(v in prop_oneof![
            any::<i64>().prop_map(Value::Int),
            ".*".prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Bytes),
        ]) {
            prop_assert_eq!(Value::from_tagged(&v.to_tagged().unwrap()), Some(v));
        }

        #[test]
        fn parsers_never_panic(text in ".*") {
            let _ = DateTime::parse(&text);
            let _ = parse_time(&text);
            let _ = hex_bytes::decode(&text);
            let _ = Value::from_tagged(text.as_bytes());
        }
    }
}
