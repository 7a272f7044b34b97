//! Arithmetic on watermarks: stepping back by a lag.

use jiff::civil::{self, date};
use jiff::{SignedDuration, ToSpan};
use ssync_common::config::Lag;
use ssync_common::error::{Error, Kind as ErrorKind, Result};
use ssync_common::schema::Kind;
use ssync_common::value::{DateTime, Value};

/// How far a run reads. With an overlap up to the newest value, since the last stretch is read
/// again next time; without one the newest value less the lag, since what commits late below the
/// mark would never be seen.
pub fn upper(newest: Option<Value>, lag: Lag, overlap: bool) -> Result<Option<Value>> {
    match newest {
        Some(newest) if !overlap => back(newest, lag).map(Some),
        other => Ok(other),
    }
}

/// Where a run begins: at the mark, or with an overlap a lag before it.
pub fn lower(mark: Value, lag: Lag, overlap: bool) -> Result<Option<Value>> {
    if overlap { back(mark, lag).map(Some) } else { Ok(Some(mark)) }
}

/// Whether `a` is a later mark than `b`. Marks of different kinds have no order.
pub fn is_later(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a > b,
        (Value::UInt(a), Value::UInt(b)) => a > b,
        (Value::DateTime(a), Value::DateTime(b)) | (Value::Date(a), Value::Date(b)) => {
            a.parts() > b.parts()
        }
        _ => false,
    }
}

/// A mark as people write it, for a watermark of this kind.
pub fn parse(text: &str, kind: Kind) -> Option<Value> {
    let text = text.trim();
    match kind {
        Kind::Int => text.parse().ok().map(Value::Int),
        Kind::UInt => text.parse().ok().map(Value::UInt),
        // SQLite: the value has a type, the column has none.
        Kind::Any => text.parse().ok().map(Value::Int),
        Kind::Date => DateTime::parse(text).map(Value::Date),
        Kind::DateTime => DateTime::parse(text).map(Value::DateTime),
        Kind::Float32 | Kind::Float64 | Kind::Decimal | Kind::Text | Kind::Bytes | Kind::Time => {
            None
        }
    }
}

/// What is wrong with a lag for a watermark of this kind. No lag is none in any unit.
pub fn lag_fault(kind: Kind, lag: Lag) -> Option<Error> {
    let (text, hint) = match (kind, lag) {
        (_, lag) if lag.is_zero() => return None,
        (Kind::Int | Kind::UInt, Lag::Secs(_)) => (
            "the watermark is a number, its lag a time",
            "Give the lag as a plain number, such as lag = \"1000\".",
        ),
        (Kind::Date | Kind::DateTime, Lag::Count(_)) => (
            "the watermark is a time, its lag a number",
            "Give the lag with a unit, such as lag = \"10s\".",
        ),
        _ => return None,
    };
    Some(Error::new(ErrorKind::Config, text).hint(hint))
}

fn back(value: Value, lag: Lag) -> Result<Value> {
    let kind = match value {
        Value::Int(_) => Kind::Int,
        Value::UInt(_) => Kind::UInt,
        Value::DateTime(_) => Kind::DateTime,
        Value::Date(_) => Kind::Date,
        other => {
            return Err(Error::new(ErrorKind::Internal, format!("a mark cannot be {other:?}")));
        }
    };
    if let Some(fault) = lag_fault(kind, lag) {
        return Err(fault);
    }
    let (Lag::Count(lag) | Lag::Secs(lag)) = lag;
    let seconds = i64::try_from(lag).unwrap_or(i64::MAX);
    Ok(match value {
        Value::Int(v) => Value::Int(v.saturating_sub_unsigned(lag)),
        Value::UInt(v) => Value::UInt(v.saturating_sub(lag)),
        Value::DateTime(v) => Value::DateTime(earlier(v, seconds)),
        // A date steps back by whole days, and by one at least for any lag at all.
        Value::Date(v) => {
            let days = seconds / 86_400 + i64::from(seconds % 86_400 > 0);
            Value::Date(earlier(v, days.saturating_mul(86_400)))
        }
        other => other,
    })
}

/// A zero, partial or impossible date has no earlier one on the calendar; it stays.
fn earlier(at: DateTime, seconds: i64) -> DateTime {
    let (y, m, d, h, mi, s, us) = at.parts();
    let civil = civil::Date::new(y as i16, m as i8, d as i8)
        .map(|day| day.at(h as i8, mi as i8, s as i8, us as i32 * 1000));
    let Ok(civil) = civil else { return at };
    let first = date(1, 1, 1).at(0, 0, 0, 0);
    let back = civil.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(first);
    let back = if back < first { first + 0.seconds() } else { back };
    let packed = DateTime::new(
        back.year() as u16,
        back.month() as u8,
        back.day() as u8,
        back.hour() as u8,
        back.minute() as u8,
        back.second() as u8,
        (back.subsec_nanosecond() / 1000) as u32,
    );
    packed.unwrap_or(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Value {
        Value::DateTime(DateTime::parse(text).unwrap())
    }

    #[test]
    fn without_overlap_the_run_stops_a_lag_before_the_newest() {
        let upto = |v, lag| upper(Some(v), lag, false).unwrap().unwrap();
        let secs = Lag::Secs(10);
        assert_eq!(upto(Value::Int(100), Lag::Count(30)), Value::Int(70));
        assert_eq!(upto(Value::UInt(10), Lag::Count(30)), Value::UInt(0));
        assert_eq!(upto(at("2024-03-01 00:00:05.25"), secs), at("2024-02-29 23:59:55.25"));
        assert_eq!(upto(at("0000-00-00 00:00:00"), secs), at("0000-00-00 00:00:00"));
        let day = |t| Value::Date(DateTime::parse(t).unwrap());
        assert_eq!(upto(day("2025-01-01"), Lag::Secs(1)), day("2024-12-31"));
    }

    #[test]
    fn with_overlap_the_next_run_starts_a_lag_before_the_mark() {
        let lag = Lag::Count(30);
        assert_eq!(upper(Some(Value::Int(100)), lag, true).unwrap(), Some(Value::Int(100)));
        assert_eq!(lower(Value::Int(100), lag, true).unwrap(), Some(Value::Int(70)));
        assert_eq!(lower(Value::Int(100), lag, false).unwrap(), Some(Value::Int(100)));
    }

    #[test]
    fn a_lag_of_the_wrong_kind_is_refused() {
        let wrong = upper(Some(Value::Int(1)), Lag::Secs(10), false).unwrap_err();
        assert_eq!(wrong.kind, ErrorKind::Config);
        let wrong = upper(Some(at("2024-01-01")), Lag::Count(5), false).unwrap_err();
        assert_eq!(wrong.kind, ErrorKind::Config);
        for kind in [Kind::Int, Kind::UInt] {
            assert!(lag_fault(kind, Lag::Secs(10)).is_some());
            assert!(lag_fault(kind, Lag::Count(10)).is_none());
        }
        for kind in [Kind::Date, Kind::DateTime] {
            assert!(lag_fault(kind, Lag::Count(10)).is_some());
            assert!(lag_fault(kind, Lag::Secs(10)).is_none());
        }
        // No lag is none in any unit.
        assert_eq!(upper(Some(Value::Int(1)), Lag::Secs(0), false).unwrap(), Some(Value::Int(1)));
        assert_eq!(
            upper(Some(at("2024-01-01")), Lag::Count(0), false).unwrap(),
            Some(at("2024-01-01"))
        );
    }
}
