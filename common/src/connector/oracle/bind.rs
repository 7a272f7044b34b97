//! From statement parameters and small results to what drivers carry, and back.

use super::dialect::ROW_NUMBER;
use super::driver::{BindType, Cell, Field, Moment, Rows};
use super::exact::Interval;
use super::number;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::value::{DateTime, Value};

/// Statement parameters: what they are bound as, and their values.
pub(super) fn params(values: &[Value]) -> Result<(Vec<BindType>, Vec<Cell<'_>>)> {
    let mut types = Vec::with_capacity(values.len());
    let mut cells = Vec::with_capacity(values.len());
    for value in values {
        let (bound, cell) = param(value)?;
        types.push(bound);
        cells.push(cell);
    }
    Ok((types, cells))
}

fn param(value: &Value) -> Result<(BindType, Cell<'_>)> {
    Ok(match value {
        Value::Null => (BindType::Text, Cell::Null),
        Value::Int(v) => (BindType::Number, Cell::Number(v.to_string().into())),
        Value::UInt(v) => (BindType::Number, Cell::Number(v.to_string().into())),
        Value::Float(v) => (BindType::Double, Cell::Double(*v)),
        Value::Decimal(text) => {
            let number = number::number(text).ok_or_else(|| unfit("a number out of range"))?;
            (BindType::Number, Cell::Number(number))
        }
        Value::Text(text) => (BindType::Text, Cell::Text(text.into())),
        Value::Bytes(bytes) => (BindType::Bytes, Cell::Bytes(bytes.into())),
        Value::Date(v) | Value::DateTime(v) => {
            let moment = moment(*v).ok_or_else(|| unfit("a date that Oracle does not have"))?;
            (BindType::Moment, Cell::Moment(moment))
        }
        Value::Time(micros) => {
            (BindType::Text, Cell::Text(Interval::of(*micros).to_string().into()))
        }
    })
}

fn unfit(what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("a parameter is {what}"))
}

/// A date as the driver takes it; `None` for one that Oracle's calendar does not have.
pub(super) fn moment(v: DateTime) -> Option<Moment> {
    let (year, month, day, hour, minute, second, micros) = v.parts();
    super::exact::is_day(year, month, day).then_some(Moment {
        year: year as i16,
        month,
        day,
        hour,
        minute,
        second,
        nanos: micros * 1000,
    })
}

/// A fetched moment, where years and microseconds hold it.
pub(super) fn date_time(m: Moment) -> Option<DateTime> {
    let year = u16::try_from(m.year).ok().filter(|y| *y > 0)?;
    let micros = m.nanos.is_multiple_of(1000).then_some(m.nanos / 1000)?;
    DateTime::new(year, m.month, m.day, m.hour, m.minute, m.second, micros)
}

/// Collects a small result.
#[derive(Default)]
pub(super) struct Small {
    /// The rows.
    pub(super) rows: Vec<Vec<Value>>,
    /// Columns that are handed on.
    width: usize,
    names: Vec<String>,
}

impl Rows for Small {
    fn columns(&mut self, names: &[String]) -> Result<()> {
        self.names = names.to_vec();
        self.width = match names.split_last() {
            Some((last, rest)) if last == ROW_NUMBER => rest.len(),
            _ => names.len(),
        };
        Ok(())
    }

    fn row(&mut self, fields: &[Field<'_>]) -> Result<()> {
        let row = fields.iter().take(self.width).enumerate().map(|(i, field)| {
            small(field).map_err(|why| {
                let name = self.names.get(i).map(String::as_str).unwrap_or_default();
                Error::new(ErrorKind::Database, format!("column {name}: {why}")).column(name)
            })
        });
        let row = row.collect::<Result<Vec<_>>>()?;
        self.rows.push(row);
        Ok(())
    }
}

fn small(field: &Field<'_>) -> Result<Value, &'static str> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Number(text) => match text.parse() {
            Ok(v) => Value::Int(v),
            Err(_) => Value::Decimal((*text).to_owned()),
        },
        Field::Float(v) => Value::Float(f64::from(*v)),
        Field::Double(v) => Value::Float(*v),
        Field::Text(text) => Value::Text((*text).to_owned()),
        Field::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Field::Moment(m) => match date_time(*m) {
            Some(v) => Value::DateTime(v),
            None => Value::Text(spelt(*m).ok_or("a date before our era")?),
        },
        Field::Interval(nanos) => match micros(*nanos) {
            Some(micros) => Value::Time(micros),
            None => Value::Text(interval(*nanos).ok_or("an interval out of range")?.to_string()),
        },
        Field::Bool(v) => Value::Int(i64::from(*v)),
        Field::Unreadable(why) => return Err(why),
    })
}

/// Nanoseconds as microseconds, where nothing is lost.
pub(super) fn micros(nanos: i128) -> Option<i64> {
    (nanos % 1000 == 0).then(|| i64::try_from(nanos / 1000).ok())?
}

/// An interval in its parts.
pub(super) fn interval(nanos: i128) -> Option<Interval> {
    let all = nanos.unsigned_abs();
    let seconds = all / 1_000_000_000;
    Some(Interval {
        negative: nanos < 0,
        days: u32::try_from(seconds / 86_400).ok()?,
        hours: (seconds / 3600 % 24) as u8,
        minutes: (seconds / 60 % 60) as u8,
        seconds: (seconds % 60) as u8,
        nanos: (all % 1_000_000_000) as u32,
    })
}

/// A moment as text, as [`super::exact::Stamp`] spells it.
pub(super) fn spelt(m: Moment) -> Option<String> {
    let year = u16::try_from(m.year).ok().filter(|y| (1..=9999).contains(y))?;
    let Moment { month, day, hour, minute, second, nanos, .. } = m;
    let is_moment = super::exact::is_day(year, month, day)
        && hour < 24
        && minute < 60
        && second < 60
        && nanos < 1_000_000_000;
    if !is_moment {
        return None;
    }
    let stamp = super::exact::Stamp { year, month, day, hour, minute, second, nanos, offset: None };
    Some(stamp.to_string())
}
