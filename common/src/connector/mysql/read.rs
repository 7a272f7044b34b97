//! Reading: rows of the binary protocol, decoded column by column into a batch.

use mysql::prelude::{Protocol, Queryable};
use mysql::{Conn, Value};

use super::cell::TIME_MAX;
use super::types::{self, TextRoute, UNREADABLE};
use super::{bind, errors};
use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};
use crate::value::{self, DateTime};

/// Why a stream of rows ended early.
pub(super) enum Cut {
    /// The database or the connection failed.
    Source(Error),
    /// The receiver did not want more; the stream is still full of rows.
    Receiver(Error),
}

/// Runs a query and moves all its rows into `builder`; their number.
pub(super) fn by_driver(
    conn: &mut Conn,
    (sql, params): (&str, &[value::Value]),
    columns: &[Column],
    builder: &mut BatchBuilder,
    emit: &mut Emit<'_>,
) -> Result<u64, Cut> {
    let mut result = conn
        .exec_iter(sql, bind::params(params))
        .map_err(|e| Cut::Source(errors::from_driver(&e)))?;
    let done = rows(&mut result, columns, builder, emit);
    if let Err(Cut::Receiver(_)) = done {
        // Dropping the result would read the rest of the table first.
        std::mem::forget(result);
    }
    done
}

/// Moves all rows of `result` into `builder`; their number.
fn rows<P: Protocol>(
    result: &mut mysql::QueryResult<'_, '_, '_, P>,
    columns: &[Column],
    builder: &mut BatchBuilder,
    emit: &mut Emit<'_>,
) -> Result<u64, Cut> {
    let mut decoders: Vec<Decoder> = columns.iter().map(Decoder::of).collect();
    let got = result.columns().as_ref().len();
    if got != columns.len() {
        let why = format!("the query has {got} columns where {} were expected", columns.len());
        return Err(Cut::Receiver(Error::new(ErrorKind::Internal, why)));
    }
    let mut count = 0;
    for row in result {
        let row = row.map_err(|e| Cut::Source(errors::from_driver(&e)))?;
        for (i, decoder) in decoders.iter_mut().enumerate() {
            decoder.push(row.as_ref(i).unwrap_or(&Value::NULL), builder, i);
        }
        builder.end_row(emit).map_err(Cut::Receiver)?;
        count += 1;
    }
    builder.flush(emit).map_err(Cut::Receiver)?;
    Ok(count)
}

const OTHER_TYPE: &str = "the server sent another type than the column was declared with";

/// How one column's values are checked and converted.
pub(super) struct Decoder {
    kind: Kind,
    route: TextRoute,
    /// '' is not a value of this enum but its error value.
    empty_is_bad: bool,
    zerofill: bool,
    charset: String,
    scratch: String,
}

impl Decoder {
    pub(super) fn of(column: &Column) -> Self {
        Decoder {
            kind: column.kind,
            route: types::text_route(column),
            empty_is_bad: column.family == "enum" && !column.members.iter().any(String::is_empty),
            zerofill: column.declared.to_ascii_lowercase().contains("zerofill"),
            charset: column.charset.clone().unwrap_or_else(|| "utf8mb4".to_owned()),
            scratch: String::new(),
        }
    }

    /// Appends the value of a field.
    pub(super) fn push(&mut self, value: &Value, into: &mut BatchBuilder, i: usize) {
        match value {
            Value::NULL => into.null(i),
            Value::Int(v) => self.push_int(*v, into, i),
            Value::UInt(v) => self.push_uint(*v, into, i),
            Value::Float(v) if self.kind == Kind::Float32 => into.float32(i, *v),
            Value::Double(v) if self.kind == Kind::Float64 => into.float64(i, *v),
            Value::Float(_) | Value::Double(_) => into.bad(i, OTHER_TYPE),
            Value::Bytes(bytes) => self.push_bytes(bytes, into, i),
            Value::Date(y, mo, d, h, mi, s, us) => {
                self.push_date(DateTime::new(*y, *mo, *d, *h, *mi, *s, *us), into, i);
            }
            Value::Time(negative, d, h, mi, s, us) => {
                self.push_time(micros_of(*negative, *d, *h, *mi, *s, *us), into, i);
            }
        }
    }

    #[inline]
    pub(super) fn push_int(&mut self, v: i64, into: &mut BatchBuilder, i: usize) {
        match self.kind {
            Kind::Int => into.int(i, v),
            Kind::UInt => match u64::try_from(v) {
                Ok(v) => into.uint(i, v),
                Err(_) => into.bad(i, "a negative number in an unsigned column"),
            },
            _ => into.bad(i, OTHER_TYPE),
        }
    }

    #[inline]
    pub(super) fn push_uint(&mut self, v: u64, into: &mut BatchBuilder, i: usize) {
        match self.kind {
            Kind::UInt => into.uint(i, v),
            _ => into.bad(i, OTHER_TYPE),
        }
    }

    #[inline]
    pub(super) fn push_date(&mut self, v: Option<DateTime>, into: &mut BatchBuilder, i: usize) {
        match (self.kind, v) {
            (Kind::Date | Kind::DateTime, Some(v)) => into.int(i, v.packed()),
            (Kind::Date | Kind::DateTime, None) => into.bad(i, "not a date"),
            _ => into.bad(i, OTHER_TYPE),
        }
    }

    #[inline]
    pub(super) fn push_time(&mut self, micros: Option<i64>, into: &mut BatchBuilder, i: usize) {
        match (self.kind, micros) {
            (Kind::Time, Some(micros)) => into.int(i, micros),
            (Kind::Time, None) => into.bad(i, "not a time"),
            _ => into.bad(i, OTHER_TYPE),
        }
    }

    /// The same of a field that comes as bytes.
    pub(super) fn push_bytes(&mut self, bytes: &[u8], into: &mut BatchBuilder, i: usize) {
        match self.kind {
            Kind::Text => self.push_text(bytes, into, i),
            Kind::Decimal if self.zerofill => match std::str::from_utf8(bytes) {
                Ok(text) => into.text(i, without_leading_zeros(text)),
                Err(_) => into.bad(i, "not a decimal number"),
            },
            Kind::Decimal => into.utf8(i, bytes),
            Kind::Bytes => into.bytes(i, bytes),
            _ => into.bad(i, OTHER_TYPE),
        }
    }

    fn push_text(&mut self, bytes: &[u8], into: &mut BatchBuilder, i: usize) {
        if bytes.is_empty() && self.empty_is_bad {
            into.bad(i, "the enum's error value");
            return;
        }
        match self.route {
            TextRoute::Checked if bytes == UNREADABLE.as_bytes() => {
                into.bad(i, format!("cannot be converted from {} without loss", self.charset));
            }
            TextRoute::Ascii if !bytes.is_ascii() => {
                into.bad(i, format!("not valid {}", self.charset));
            }
            TextRoute::Latin1 if !bytes.is_ascii() => {
                self.scratch.clear();
                types::push_latin1(&mut self.scratch, bytes);
                into.text(i, &self.scratch);
            }
            _ => into.utf8(i, bytes),
        }
    }
}

/// `0012.30` as `12.30`: zero-filling is how a column is shown, not what it holds.
fn without_leading_zeros(text: &str) -> &str {
    let stripped = text.trim_start_matches('0');
    if stripped.len() < text.len() && !stripped.starts_with(|c: char| c.is_ascii_digit()) {
        &text[text.len() - stripped.len() - 1..]
    } else {
        stripped
    }
}

/// Microseconds of a duration in its parts; `None` where no TIME has them.
pub(super) fn micros_of(
    negative: bool,
    days: u32,
    hours: u8,
    minutes: u8,
    seconds: u8,
    micros: u32,
) -> Option<i64> {
    // Whatever a server sends: four bytes of days overflow 64 bits of microseconds.
    if hours > 23 || minutes > 59 || seconds > 59 || micros > 999_999 {
        return None;
    }
    let hours = u64::from(days) * 24 + u64::from(hours);
    let seconds = (hours * 60 + u64::from(minutes)) * 60 + u64::from(seconds);
    let all = seconds.checked_mul(1_000_000)?.checked_add(u64::from(micros))?;
    let all = i64::try_from(all).ok().filter(|_| all <= TIME_MAX)?;
    Some(if negative { -all } else { all })
}

/// A value of a small result, typed by what the server says of its column. A date or time that is
/// none is an error: as NULL a walk along such a key would lose rows.
pub(super) fn small(value: Value, column: &mysql::Column) -> Result<value::Value> {
    use mysql::consts::{ColumnFlags, ColumnType};
    const BINARY: u16 = 63;
    const LATIN1: &[u16] = &[5, 8, 15, 31, 47, 48, 49, 94];
    let garbled = |what: &str| {
        let name = column.name_str();
        Error::new(ErrorKind::Data, format!("column {name}: the server sent {what}")).column(&*name)
    };
    Ok(match value {
        Value::NULL => value::Value::Null,
        Value::Int(v) if column.flags().contains(ColumnFlags::UNSIGNED_FLAG) => {
            // The driver hands small unsigned numbers out as signed ones.
            match (column.column_type(), u64::try_from(v)) {
                (ColumnType::MYSQL_TYPE_LONGLONG, Ok(v)) => value::Value::UInt(v),
                _ => value::Value::Int(v),
            }
        }
        Value::Int(v) => value::Value::Int(v),
        Value::UInt(v) => value::Value::UInt(v),
        Value::Float(v) => value::Value::Float(f64::from(v)),
        Value::Double(v) => value::Value::Float(v),
        Value::Date(y, mo, d, h, mi, s, us) => match DateTime::new(y, mo, d, h, mi, s, us) {
            Some(v) if column.column_type() == ColumnType::MYSQL_TYPE_DATE => value::Value::Date(v),
            Some(v) => value::Value::DateTime(v),
            None => return Err(garbled("what is not a date")),
        },
        Value::Time(negative, d, h, mi, s, us) => value::Value::Time(
            micros_of(negative, d, h, mi, s, us).ok_or_else(|| garbled("what is not a time"))?,
        ),
        Value::Bytes(bytes) => match column.column_type() {
            ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                value::Value::Decimal(String::from_utf8_lossy(&bytes).into_owned())
            }
            ColumnType::MYSQL_TYPE_BIT | ColumnType::MYSQL_TYPE_GEOMETRY => {
                value::Value::Bytes(bytes)
            }
            ColumnType::MYSQL_TYPE_JSON => text_or_bytes(bytes),
            _ if column.character_set() == BINARY => value::Value::Bytes(bytes),
            _ if LATIN1.contains(&column.character_set()) => {
                let mut text = String::new();
                types::push_latin1(&mut text, &bytes);
                value::Value::Text(text)
            }
            _ => text_or_bytes(bytes),
        },
    })
}

fn text_or_bytes(bytes: Vec<u8>) -> value::Value {
    match String::from_utf8(bytes) {
        Ok(text) => value::Value::Text(text),
        Err(e) => value::Value::Bytes(e.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_filled_decimals_lose_their_zeros_only() {
        for (shown, value) in
            [("0012.30", "12.30"), ("0000.05", "0.05"), ("000", "0"), ("10", "10"), ("0.0", "0.0")]
        {
            assert_eq!(without_leading_zeros(shown), value);
        }
    }

    #[test]
    fn times_of_both_signs_become_microseconds() {
        assert_eq!(micros_of(true, 34, 22, 59, 59, 999_999), Some(-3_020_399_999_999));
        assert_eq!(micros_of(false, 0, 0, 0, 1, 5), Some(1_000_005));
    }

    #[test]
    fn times_out_of_all_range_are_none() {
        for (days, hours, minutes, seconds, micros) in [
            (u32::MAX, 255, 255, 255, u32::MAX),
            (u32::MAX, 0, 0, 0, 0),
            (34, 23, 0, 0, 0),
            (0, 24, 0, 0, 0),
            (0, 0, 60, 0, 0),
            (0, 0, 0, 60, 0),
            (0, 0, 0, 0, 1_000_000),
        ] {
            for negative in [false, true] {
                assert_eq!(micros_of(negative, days, hours, minutes, seconds, micros), None);
            }
        }
    }
}
