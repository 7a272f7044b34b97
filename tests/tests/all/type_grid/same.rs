//! Whether a value is still the same in a column of perhaps another type.

use ssync_common::schema::{Column, Kind};
use ssync_common::value::{DateTime, Value, parse_time, time_text};

/// Whether `value`, read from the column `dest`, is what `source` held as `given`.
pub fn same(source: &Column, given: &Value, dest: &Column, value: &Value) -> bool {
    use Value::{Bytes, Date, DateTime as Moment, Decimal, Float, Int, Null, Text, Time, UInt};
    if source.kind == Kind::Any {
        return same_any(given, dest, value);
    }
    let single = |c: &Column| c.kind == Kind::Float32;
    match (given, value) {
        (Null, Null) => true,
        (Text(a), Text(b)) if matches!(&*dest.family, "timestamp" | "timestamp_ltz") => {
            a == b || (DateTime::parse(a).is_some() && DateTime::parse(a) == DateTime::parse(b))
        }
        (Text(a), Time(b)) if source.family == "interval_ds" => days(a) == Some(*b),
        (Text(a), Text(b)) if dest.family == "interval_ds" => {
            days(a).is_some() && days(a) == days(b)
        }
        (Text(a), Text(b)) => a == b,
        (Date(a) | Moment(a), Text(t)) if dest.family == "timestamp_tz" => {
            t.strip_suffix(" +00:00").and_then(DateTime::parse) == Some(*a)
        }
        (Time(a), Text(t)) if dest.family == "interval_ds" => days(t) == Some(*a),
        (Text(a), Bytes(b)) | (Bytes(b), Text(a)) => a.as_bytes() == b,
        (Bytes(a), Bytes(b)) if source.family == "bit" && dest.family == "bit" => {
            number_of_bits(a) == number_of_bits(b)
        }
        (Bytes(a), Bytes(b)) => a == b,
        (Float(a), Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Float(a), Text(t)) if single(source) => {
            t.parse::<f32>().is_ok_and(|t| t.to_bits() == (*a as f32).to_bits())
        }
        (Float(a), Text(t)) => t.parse::<f64>().is_ok_and(|t| t.to_bits() == a.to_bits()),
        (Float(a), Int(_) | UInt(_)) => {
            !(*a == 0.0 && a.is_sign_negative())
                && digits(&format!("{a:.0}")) == number(value)
                && a.fract() == 0.0
        }
        // The number itself, or its shortest spelling.
        (Float(a), Decimal(d)) => {
            let short = if single(source) { format!("{:?}", *a as f32) } else { format!("{a:?}") };
            digits(&short) == digits(d) || digits(&format!("{a:.400}")) == digits(d)
        }
        (Int(_) | UInt(_), Float(b)) => number(given) == digits(&format!("{b:.0}")),
        // What a double gives back of a decimal is its shortest spelling.
        (Decimal(a), Float(b)) if single(dest) => {
            digits(a) == digits(&format!("{:?}", *b as f32))
                || digits(a) == digits(&format!("{b:.400}"))
        }
        (Decimal(a), Float(b)) => {
            digits(a) == digits(&format!("{b:?}")) || digits(a) == digits(&format!("{b:.400}"))
        }
        (Int(_) | UInt(_) | Decimal(_), Int(_) | UInt(_) | Decimal(_)) => {
            number(given) == number(value)
        }
        (Int(_) | UInt(_) | Decimal(_), Text(t)) => given.plain().as_ref() == Some(t),
        (Text(t), Int(_) | UInt(_) | Decimal(_)) => value.plain().as_ref() == Some(t),
        (Text(t), Float(b)) => *t == format!("{b:?}") || *t == b.to_string(),
        (Date(a) | Moment(a), Date(b) | Moment(b)) => a == b,
        (Date(a) | Moment(a), Text(t)) => DateTime::parse(t) == Some(*a),
        (Text(t), Date(b) | Moment(b)) => DateTime::parse(t) == Some(*b),
        (Time(a), Time(b)) => a == b,
        (Time(a), Text(t)) => parse_time(t) == Some(*a),
        (Text(t), Time(b)) => (0..=6).any(|n| time_text(*b, n) == *t && parse_time(t) == Some(*b)),
        _ => false,
    }
}

/// A value with its own type keeps the type, or is the same number in a column of numbers.
fn same_any(given: &Value, dest: &Column, value: &Value) -> bool {
    match (given, value) {
        (Value::Float(a), Value::Int(_)) if dest.kind == Kind::Int => {
            a.fract() == 0.0 && digits(&format!("{a:.0}")) == number(value)
        }
        (Value::Int(_), Value::Float(b)) if matches!(dest.kind, Kind::Float32 | Kind::Float64) => {
            number(given) == digits(&format!("{b:.0}"))
        }
        (Value::Int(_), Value::UInt(_) | Value::Decimal(_)) => number(given) == number(value),
        (Value::Float(a), Value::UInt(_) | Value::Decimal(_)) => {
            let exact = digits(&format!("{a:.400}"));
            [digits(&format!("{a:?}")), exact].contains(&number(value))
        }
        (Value::Text(_), Value::Text(_))
            if matches!(&*dest.family, "timestamp" | "timestamp_ltz" | "interval_ds") =>
        {
            let text = Column::new("v", Kind::Text, "text");
            same(&text, given, dest, value)
        }
        (Value::Text(t), Value::Date(b) | Value::DateTime(b)) => DateTime::parse(t) == Some(*b),
        (Value::Text(t), Value::Time(b)) => parse_time(t) == Some(*b),
        _ => given == value,
    }
}

/// A duration spelt `[-][d ]hh:mm:ss[.f]`, in microseconds.
fn days(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (days, clock) = text.split_once(' ').unwrap_or(("0", text));
    Some(sign * (days.parse::<i64>().ok()? * 86_400_000_000 + parse_time(clock)?))
}

fn number_of_bits(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn number(value: &Value) -> Option<String> {
    match value {
        Value::Int(v) => digits(&v.to_string()),
        Value::UInt(v) => digits(&v.to_string()),
        Value::Decimal(d) => digits(d),
        _ => None,
    }
}

/// A number in one spelling: sign, digits, exponent of ten.
fn digits(text: &str) -> Option<String> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let point = whole.len() as i64 + exponent - (all.len() - significant.len()) as i64;
    Some(format!("{sign}{}e{point}", significant.trim_end_matches('0')))
}
