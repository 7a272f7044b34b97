//! The values of a batch as a destination column takes them, or why it would not keep them: worked
//! out here, because Oracle rounds, pads and takes empty text for NULL without a word.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, BinaryArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    UInt64Array,
};

use super::super::LoadPlan;
use super::driver::{BindType, Cell, Moment};
use super::exact::{self, Interval, Stamp};
use super::number::Digits;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};
use crate::value::{DateTime, Value, parse_time, time_text};

/// A value for one row and column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fed<'a> {
    /// To be bound.
    Cell(Cell<'a>),
    /// A LOB that is empty, and not NULL: no placeholder can say that.
    Empty,
}

type Unfit = &'static str;

enum Source<'a> {
    Int(&'a Int64Array),
    UInt(&'a UInt64Array),
    Single(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a StringArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Int64Array),
    DateTime(&'a Int64Array),
    Time(&'a Int64Array),
    Any(&'a BinaryArray),
}

/// What a destination column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Number,
    Single,
    Double,
    Text,
    LargeText,
    Json,
    Bytes,
    LargeBytes,
    Moment,
    Zoned,
    Interval,
    Months,
    Unwritable,
}

/// One column of a batch, feeding one column of the destination.
pub(super) struct Feed<'a> {
    column: &'a Column,
    array: &'a dyn Array,
    source: Source<'a>,
    target: Target,
    /// Whether text is converted to a poorer character set before it reaches the column.
    by_way_of_less: bool,
}

/// The feeds of a load, in the order of the plan's columns. `unicode`: the database's character
/// set has every character. (All text goes by way of it, that for national columns too.)
pub(super) fn feeds<'a>(
    plan: &'a LoadPlan,
    batch: &'a RecordBatch,
    unicode: bool,
) -> Result<Vec<Feed<'a>>> {
    plan.fields(batch)?
        .into_iter()
        .map(|(column, kind, array)| Feed::new(column, kind, array, unicode))
        .collect()
}

impl<'a> Feed<'a> {
    fn new(column: &'a Column, kind: Kind, array: &'a dyn Array, unicode: bool) -> Result<Self> {
        let source = match kind {
            Kind::Int => Source::Int(array.as_primitive::<Int64Type>()),
            Kind::UInt => Source::UInt(array.as_primitive::<UInt64Type>()),
            Kind::Float32 => Source::Single(array.as_primitive::<Float32Type>()),
            Kind::Float64 => Source::Double(array.as_primitive::<Float64Type>()),
            Kind::Decimal => Source::Decimal(array.as_string::<i32>()),
            Kind::Text => Source::Text(array.as_string::<i32>()),
            Kind::Bytes => Source::Bytes(array.as_binary::<i32>()),
            Kind::Date => Source::Date(array.as_primitive::<Int64Type>()),
            Kind::DateTime => Source::DateTime(array.as_primitive::<Int64Type>()),
            Kind::Time => Source::Time(array.as_primitive::<Int64Type>()),
            Kind::Any => Source::Any(array.as_binary::<i32>()),
        };
        let target = match column.family.as_str() {
            "number" | "float" | "boolean" => Target::Number,
            "binary_float" => Target::Single,
            "binary_double" => Target::Double,
            "char" | "nchar" | "varchar2" | "nvarchar2" => Target::Text,
            "clob" | "nclob" => Target::LargeText,
            "json" => Target::Json,
            "raw" => Target::Bytes,
            "blob" => Target::LargeBytes,
            "date" | "timestamp" | "timestamp_ltz" => Target::Moment,
            "timestamp_tz" => Target::Zoned,
            "interval_ds" => Target::Interval,
            "interval_ym" => Target::Months,
            _ => Target::Unwritable,
        };
        let national = matches!(column.family.as_str(), "nchar" | "nvarchar2" | "nclob");
        Ok(Feed { column, array, source, target, by_way_of_less: national && !unicode })
    }

    /// What the column's placeholders are bound as.
    pub(super) fn bind_type(&self) -> BindType {
        match self.target {
            Target::Number => BindType::Number,
            Target::Single => BindType::Float,
            Target::Double => BindType::Double,
            Target::Bytes | Target::LargeBytes => BindType::Bytes,
            // Beyond the microsecond they travel as text, which names its own form.
            Target::Moment if self.column.kind == Kind::DateTime => BindType::Moment,
            Target::Moment
            | Target::Text
            | Target::LargeText
            | Target::Json
            | Target::Zoned
            | Target::Interval
            | Target::Months
            | Target::Unwritable => BindType::Text,
        }
    }

    /// The value of `row`, or why this column would not keep it as it is.
    pub(super) fn fed(&self, row: usize) -> Result<Fed<'a>> {
        if self.array.is_null(row) {
            return match self.column.nullable {
                true => Ok(Fed::Cell(Cell::Null)),
                false => Err(self.fault("NULL where the column may not be NULL")),
            };
        }
        let fed = match self.source {
            Source::Int(a) => self.number(a.value(row).to_string().into()),
            Source::UInt(a) => self.number(a.value(row).to_string().into()),
            Source::Single(a) => self.single(a.value(row)),
            Source::Double(a) => self.double(a.value(row)),
            Source::Decimal(a) => self.number(a.value(row).into()),
            Source::Text(a) => self.text(a.value(row).into()),
            Source::Bytes(a) => self.bytes(a.value(row).into()),
            Source::Date(a) => self.day(DateTime::from_packed(a.value(row))),
            Source::DateTime(a) => self.date_time(DateTime::from_packed(a.value(row))),
            Source::Time(a) => self.duration(a.value(row)),
            Source::Any(a) => self.untyped(a.value(row)),
        };
        fed.map_err(|why| self.fault(why))
    }

    /// A value that carries its own type must have the column's.
    fn untyped(&self, tagged: &[u8]) -> Result<Fed<'a>, Unfit> {
        const OTHER: Unfit = "a value of another type than the column's";
        let numbers = matches!(self.target, Target::Number | Target::Single | Target::Double);
        match Value::from_tagged(tagged) {
            Some(Value::Int(v)) if numbers => self.number(v.to_string().into()),
            Some(Value::Float(v)) if numbers => self.double(v),
            Some(Value::Text(text)) if !numbers && self.bind_type() != BindType::Bytes => {
                self.text(text.into())
            }
            Some(Value::Bytes(bytes)) if self.bind_type() == BindType::Bytes => {
                self.bytes(bytes.into())
            }
            Some(_) => Err(OTHER),
            None => Err("a value without its type"),
        }
    }

    fn number(&self, text: Cow<'a, str>) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::Number => {
                exact::number(&text, self.column)?;
                Ok(Fed::Cell(Cell::Number(text)))
            }
            Target::Double => match Digits::parse(&text).and_then(|d| d.as_double()) {
                Some(v) => Ok(Fed::Cell(Cell::Double(v))),
                None => Err("more digits than double precision holds"),
            },
            Target::Single => match Digits::parse(&text).and_then(|d| d.as_double()) {
                Some(v) if f64::from(v as f32) == v => Ok(Fed::Cell(Cell::Float(v as f32))),
                _ => Err("more digits than single precision holds"),
            },
            Target::Text | Target::LargeText => self.spelt(text),
            _ => Err("a number where the column holds something else"),
        }
    }

    fn double(&self, v: f64) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::Double => {
                exact::positive_zero(v)?;
                Ok(Fed::Cell(Cell::Double(v)))
            }
            Target::Single => {
                exact::positive_zero(v)?;
                let single = v as f32;
                match v.is_nan() || f64::from(single) == v {
                    true => Ok(Fed::Cell(Cell::Float(single))),
                    false => Err("more digits than single precision holds"),
                }
            }
            Target::Number | Target::Text | Target::LargeText => {
                self.number(exact::double_text(v)?.into())
            }
            _ => Err("a number where the column holds something else"),
        }
    }

    fn single(&self, v: f32) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::Number | Target::Text | Target::LargeText => {
                self.number(exact::single_text(v)?.into())
            }
            _ => self.double(f64::from(v)),
        }
    }

    fn text(&self, text: Cow<'a, str>) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::Text | Target::LargeText | Target::Json => self.spelt(text),
            Target::Bytes | Target::LargeBytes => match text {
                Cow::Borrowed(text) => self.bytes(text.as_bytes().into()),
                Cow::Owned(text) => self.bytes(text.into_bytes().into()),
            },
            // Only as a number is spelt: 007 would come back as 7.
            Target::Number | Target::Single | Target::Double => match Digits::parse(&text) {
                Some(digits) if digits.plain() == *text => self.number(text),
                _ => Err("text that is not spelt as the column's numbers are"),
            },
            Target::Moment | Target::Zoned => {
                self.stamp(Stamp::parse(&text).ok_or("not a date or time")?)
            }
            Target::Interval => match (Interval::parse(&text), parse_time(&text)) {
                (Some(interval), _) => {
                    interval.fits(self.column)?;
                    Ok(owned(interval.to_string()))
                }
                (None, Some(micros)) => self.duration(micros),
                (None, None) => Err("not an interval"),
            },
            Target::Months => {
                let months = exact::months(&text, self.column)?;
                Ok(owned(exact::months_text(months)))
            }
            Target::Unwritable => Err(UNWRITABLE),
        }
    }

    /// Text for a column of characters.
    fn spelt(&self, text: Cow<'a, str>) -> Result<Fed<'a>, Unfit> {
        if text.is_empty() && self.target == Target::LargeText {
            return Ok(Fed::Empty);
        }
        if self.by_way_of_less && !text.is_ascii() {
            return Err("the database's own character set may lack its characters");
        }
        match exact::text(&text, self.column)? {
            same if same.len() == text.len() => Ok(Fed::Cell(Cell::Text(text))),
            other => Ok(owned(other.to_owned())),
        }
    }

    fn bytes(&self, bytes: Cow<'a, [u8]>) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::LargeBytes if bytes.is_empty() => Ok(Fed::Empty),
            Target::Bytes | Target::LargeBytes => {
                exact::bytes(&bytes)?;
                Ok(Fed::Cell(Cell::Bytes(bytes)))
            }
            _ => Err("bytes where the column holds something else"),
        }
    }

    fn day(&self, v: DateTime) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::Text | Target::LargeText => self.spelt(v.date_text().into()),
            _ => self.date_time(v),
        }
    }

    fn date_time(&self, v: DateTime) -> Result<Fed<'a>, Unfit> {
        let micros = v.parts().6;
        match self.target {
            Target::Text | Target::LargeText => {
                self.spelt(v.text(if micros == 0 { 0 } else { 6 }).into())
            }
            // In UTC: what is read without a zone was so, too.
            Target::Zoned => self.stamp(Stamp { offset: Some(0), ..Stamp::of(v) }),
            _ => self.stamp(Stamp::of(v)),
        }
    }

    fn stamp(&self, stamp: Stamp) -> Result<Fed<'a>, Unfit> {
        if !matches!(self.target, Target::Moment | Target::Zoned) {
            return Err("a date or time where the column holds something else");
        }
        stamp.fits(self.column)?;
        if self.bind_type() == BindType::Text {
            return Ok(owned(stamp.to_string()));
        }
        let Stamp { year, month, day, hour, minute, second, nanos, .. } = stamp;
        let year = i16::try_from(year).map_err(|_| "not a date")?;
        Ok(Fed::Cell(Cell::Moment(Moment { year, month, day, hour, minute, second, nanos })))
    }

    fn duration(&self, micros: i64) -> Result<Fed<'a>, Unfit> {
        match self.target {
            Target::Interval => {
                exact::duration(micros, self.column)?;
                Ok(owned(Interval::of(micros).to_string()))
            }
            Target::Text | Target::LargeText => {
                self.spelt(time_text(micros, if micros % 1_000_000 == 0 { 0 } else { 6 }).into())
            }
            _ => Err("a duration where the column holds something else"),
        }
    }

    fn fault(&self, why: &str) -> Error {
        let name = &self.column.name;
        Error::new(ErrorKind::Data, format!("column {name}: {why}")).column(name)
    }
}

const UNWRITABLE: Unfit = "a type that cannot be written";

fn owned<'a>(text: String) -> Fed<'a> {
    Fed::Cell(Cell::Text(text.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::ArrayRef;

    use super::*;

    fn column(family: &str, kind: Kind, declared: &str) -> Column {
        Column { family: family.to_owned(), ..Column::new("C", kind, declared) }
    }

    fn fed(column: &Column, kind: Kind, array: &ArrayRef) -> Result<Fed<'static>> {
        let feed = Feed::new(column, kind, array, true).unwrap();
        feed.fed(0).map(|fed| match fed {
            Fed::Empty => Fed::Empty,
            Fed::Cell(Cell::Text(t)) => Fed::Cell(Cell::Text(t.into_owned().into())),
            Fed::Cell(Cell::Number(t)) => Fed::Cell(Cell::Number(t.into_owned().into())),
            Fed::Cell(Cell::Bytes(b)) => Fed::Cell(Cell::Bytes(b.into_owned().into())),
            Fed::Cell(Cell::Null) => Fed::Cell(Cell::Null),
            Fed::Cell(Cell::Float(v)) => Fed::Cell(Cell::Float(v)),
            Fed::Cell(Cell::Double(v)) => Fed::Cell(Cell::Double(v)),
            Fed::Cell(Cell::Moment(m)) => Fed::Cell(Cell::Moment(m)),
        })
    }

    fn text(t: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![t]))
    }

    fn int(v: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![v]))
    }

    fn double(v: f64) -> ArrayRef {
        Arc::new(Float64Array::from(vec![v]))
    }

    #[test]
    fn what_the_server_would_change_silently_is_refused() {
        let number = column("number", Kind::Decimal, "NUMBER(5,2)");
        let date = Column { scale: Some(0), ..column("date", Kind::DateTime, "DATE") };
        let varchar = column("varchar2", Kind::Text, "VARCHAR2(9 BYTE)");
        let at = |micros| DateTime::new(2024, 2, 29, 1, 2, 3, micros).unwrap().packed();
        for (column, kind, array) in [
            (number.clone(), Kind::Decimal, text("1.005")),
            (number.clone(), Kind::Decimal, text("1000")),
            (number.clone(), Kind::Text, text("007")),
            (number.clone(), Kind::Float64, double(0.001)),
            (number, Kind::Float64, double(f64::NAN)),
            (date.clone(), Kind::DateTime, int(at(1))),
            (date, Kind::Date, int(DateTime::new(0, 0, 0, 0, 0, 0, 0).unwrap().packed())),
            (varchar.clone(), Kind::Text, text("")),
            (column("char", Kind::Text, "CHAR(9 BYTE)"), Kind::Text, text("a ")),
            (column("raw", Kind::Bytes, "RAW(9)"), Kind::Text, text("")),
            (column("binary_double", Kind::Float64, "BINARY_DOUBLE"), Kind::Float64, double(-0.0)),
            (column("binary_double", Kind::Float64, "BINARY_DOUBLE"), Kind::Int, int(i64::MAX)),
            (column("binary_float", Kind::Float32, "BINARY_FLOAT"), Kind::Float64, double(0.1)),
            (
                Column { nullable: false, ..varchar },
                Kind::Text,
                Arc::new(StringArray::from(vec![None::<&str>])),
            ),
        ] {
            let e = fed(&column, kind, &array).unwrap_err();
            assert_eq!((e.kind, e.column.as_deref()), (ErrorKind::Data, Some("C")), "{column:?}");
        }
    }

    #[test]
    fn what_the_server_keeps_is_passed_on() {
        let stamp =
            |scale, kind| Column { scale: Some(scale), ..column("timestamp", kind, "TIMESTAMP") };
        let when = DateTime::new(2024, 2, 29, 1, 2, 3, 120_000).unwrap();
        let moment = Moment {
            year: 2024,
            month: 2,
            day: 29,
            hour: 1,
            minute: 2,
            second: 3,
            nanos: 120_000_000,
        };
        for (column, kind, array, expected) in [
            (
                column("number", Kind::Decimal, "NUMBER"),
                Kind::Decimal,
                text("1.50"),
                Fed::Cell(Cell::Number("1.50".into())),
            ),
            (
                column("number", Kind::Int, "NUMBER(9)"),
                Kind::Text,
                text("-12"),
                Fed::Cell(Cell::Number("-12".into())),
            ),
            (column("clob", Kind::Text, "CLOB"), Kind::Text, text(""), Fed::Empty),
            (
                column("varchar2", Kind::Text, "VARCHAR2(9 CHAR)"),
                Kind::Int,
                int(7),
                owned("7".into()),
            ),
            (
                column("binary_double", Kind::Float64, "x"),
                Kind::Float64,
                double(0.1),
                Fed::Cell(Cell::Double(0.1)),
            ),
            (
                stamp(2, Kind::DateTime),
                Kind::DateTime,
                int(when.packed()),
                Fed::Cell(Cell::Moment(moment)),
            ),
            (
                stamp(9, Kind::Text),
                Kind::DateTime,
                int(when.packed()),
                owned("2024-02-29 01:02:03.120000".into()),
            ),
        ] {
            assert_eq!(fed(&column, kind, &array).unwrap(), expected, "{column:?}");
        }
    }
}
