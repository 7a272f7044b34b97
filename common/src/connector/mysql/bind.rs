//! From values to what the driver sends.

use mysql::Value as Wire;

use crate::value::{DateTime, Value};

/// A statement parameter.
pub(super) fn param(value: &Value) -> Wire {
    match value {
        Value::Null => Wire::NULL,
        Value::Int(v) => Wire::Int(*v),
        Value::UInt(v) => Wire::UInt(*v),
        Value::Float(v) => Wire::Double(*v),
        Value::Decimal(text) | Value::Text(text) => Wire::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Wire::Bytes(bytes.clone()),
        Value::Date(v) | Value::DateTime(v) => date_time(*v),
        Value::Time(micros) => time(*micros),
    }
}

/// All parameters of a statement.
pub(super) fn params(values: &[Value]) -> mysql::Params {
    if values.is_empty() {
        mysql::Params::Empty
    } else {
        mysql::Params::Positional(values.iter().map(param).collect())
    }
}

/// A date with time of day.
pub(super) fn date_time(v: DateTime) -> Wire {
    let (y, mo, d, h, mi, s, us) = v.parts();
    Wire::Date(y, mo, d, h, mi, s, us)
}

/// A signed duration in microseconds.
pub(super) fn time(micros: i64) -> Wire {
    let abs = micros.unsigned_abs();
    let seconds = abs / 1_000_000;
    let hours = seconds / 3600;
    Wire::Time(
        micros < 0,
        u32::try_from(hours / 24).unwrap_or(u32::MAX),
        (hours % 24) as u8,
        (seconds / 60 % 60) as u8,
        (seconds % 60) as u8,
        (abs % 1_000_000) as u32,
    )
}
