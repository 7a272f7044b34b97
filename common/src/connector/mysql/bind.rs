//! From values to what the driver sends.

use mysql::Value as Wire;

use super::cell::Cell;
use crate::value::{DateTime, Value};

/// All parameters of a statement.
pub(super) fn params(values: &[Value]) -> mysql::Params {
    if values.is_empty() {
        mysql::Params::Empty
    } else {
        mysql::Params::Positional(values.iter().map(|v| Cell::from(v).into_wire()).collect())
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
