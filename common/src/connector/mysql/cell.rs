//! The values of a batch as a destination column may take them.
//!
//! The server in strict mode refuses most of what it cannot store, warns about some of the rest,
//! and changes a few things without a word: a second's fraction is cut, a year 70 becomes 1970,
//! '2' becomes an enum's second member, trailing blanks are dropped, bytes are padded with zeros.
//! Those few are caught here, before anything is sent.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, BinaryArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    UInt64Array, types,
};
use arrow_buffer::NullBuffer;
use mysql::Value as Wire;

use super::super::LoadPlan;
use super::bind;
use super::connect::Server;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};
use crate::value::{self, DateTime, Value};

/// 838:59:59.999999 in microseconds.
pub(super) const TIME_MAX: u64 = 3_020_399_999_999;
/// 838:59:59: MySQL knows no fraction beyond its last second.
const TIME_MAX_MYSQL: u64 = 3_020_399_000_000;

/// One value on its way to the server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Date(DateTime),
    DateTime(DateTime),
    Time(i64),
}

impl Cell<'_> {
    /// As a parameter of a prepared statement.
    pub(super) fn into_wire(self) -> Wire {
        match self {
            Cell::Null => Wire::NULL,
            Cell::Int(v) => Wire::Int(v),
            Cell::UInt(v) => Wire::UInt(v),
            Cell::Float(v) => Wire::Float(v),
            Cell::Double(v) => Wire::Double(v),
            Cell::Text(v) => Wire::Bytes(v.into_owned().into_bytes()),
            Cell::Bytes(v) => Wire::Bytes(v.into_owned()),
            Cell::Date(v) | Cell::DateTime(v) => bind::date_time(v),
            Cell::Time(v) => bind::time(v),
        }
    }
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Cell<'a> {
        match value {
            Value::Null => Cell::Null,
            Value::Int(v) => Cell::Int(*v),
            Value::UInt(v) => Cell::UInt(*v),
            Value::Float(v) => Cell::Double(*v),
            Value::Decimal(text) | Value::Text(text) => Cell::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Cell::Bytes(Cow::Borrowed(bytes)),
            Value::Date(v) => Cell::Date(*v),
            Value::DateTime(v) => Cell::DateTime(*v),
            Value::Time(micros) => Cell::Time(*micros),
        }
    }
}

/// One value that needs no check.
pub(super) enum Plain<'a> {
    Int(i64),
    UInt(u64),
    Double(f64),
    /// Text as UTF-8, or bytes.
    Bytes(&'a [u8]),
    DateTime(DateTime),
}

enum Source<'a> {
    Int(&'a Int64Array),
    UInt(&'a UInt64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Text(&'a StringArray),
    Decimal(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Int64Array),
    DateTime(&'a Int64Array),
    Time(&'a Int64Array),
    Any(&'a BinaryArray),
}

/// What a destination column does to values without a word.
enum Habit<'a> {
    None,
    /// An integer: rounds fractions.
    Integer,
    /// A year: takes 1 to 99 for years of two centuries.
    Year,
    /// A decimal: reads floating numbers as their shortest text, singles as doubles'.
    Decimal,
    /// Single precision: rounds doubles.
    Single,
    /// Double precision: rounds large integers.
    Double,
    /// Bits: takes text for the bits it is stored as.
    Bits,
    /// Drops the time of day.
    Date,
    /// Cuts what does not divide by this many microseconds.
    Fraction(i64),
    /// Drops trailing blanks.
    Padded,
    /// Fills up with zero bytes to this length.
    Filled(u64),
    /// Takes a number in digits for the member at that place.
    Members(&'a [String]),
    /// Takes anything as text, so temporal and floating values go as their canonical text.
    Textual,
}

/// One column of a batch, feeding one column of the destination.
pub(super) struct Feed<'a> {
    column: &'a Column,
    nulls: Option<&'a NullBuffer>,
    source: Source<'a>,
    habit: Habit<'a>,
    /// Whether the column holds durations.
    is_time: bool,
    /// Largest duration of a TIME column, in microseconds.
    time_max: u64,
}

/// The feeds of a load, in the order of the plan's columns.
pub(super) fn feeds<'a>(
    plan: &'a LoadPlan,
    batch: &'a RecordBatch,
    server: &Server,
) -> Result<Vec<Feed<'a>>> {
    let time_max = if server.mariadb { TIME_MAX } else { TIME_MAX_MYSQL };
    plan.fields(batch)?
        .into_iter()
        .map(|(column, kind, array)| Feed::new(column, kind, array, time_max))
        .collect()
}

impl<'a> Feed<'a> {
    fn new(column: &'a Column, kind: Kind, array: &'a dyn Array, time_max: u64) -> Result<Self> {
        let source = match kind {
            Kind::Int => Source::Int(array.as_primitive::<types::Int64Type>()),
            Kind::UInt => Source::UInt(array.as_primitive::<types::UInt64Type>()),
            Kind::Float32 => Source::Float(array.as_primitive::<types::Float32Type>()),
            Kind::Float64 => Source::Double(array.as_primitive::<types::Float64Type>()),
            Kind::Decimal => Source::Decimal(array.as_string::<i32>()),
            Kind::Text => Source::Text(array.as_string::<i32>()),
            Kind::Bytes => Source::Bytes(array.as_binary::<i32>()),
            Kind::Date => Source::Date(array.as_primitive::<types::Int64Type>()),
            Kind::DateTime => Source::DateTime(array.as_primitive::<types::Int64Type>()),
            Kind::Time => Source::Time(array.as_primitive::<types::Int64Type>()),
            Kind::Any => Source::Any(array.as_binary::<i32>()),
        };
        let habit = Habit::of(column);
        let is_time = column.family == "time";
        Ok(Feed { column, nulls: array.nulls(), source, habit, is_time, time_max })
    }

    /// Whether the column stores text as the UTF-8 that it is given.
    pub(super) fn stores_utf8(&self) -> bool {
        matches!(self.habit, Habit::Textual | Habit::Padded)
            && matches!(self.column.charset.as_deref(), Some("utf8mb4" | "utf8mb3" | "utf8"))
    }

    /// Whether values reach the destination as raw bytes rather than as text.
    pub(super) fn is_binary(&self) -> bool {
        matches!(self.source, Source::Bytes(_))
    }

    /// Whether each value carries its own type.
    pub(super) fn is_untyped(&self) -> bool {
        matches!(self.source, Source::Any(_))
    }

    /// The destination column.
    pub(super) fn column(&self) -> &Column {
        self.column
    }

    /// The value of `row` where there is one, and the column keeps it as it is without a further
    /// look. Made for the loop that writes bulk commands: it never lies in memory.
    #[inline(always)]
    pub(super) fn plain(&self, row: usize) -> Option<Plain<'a>> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        Some(match (&self.source, &self.habit) {
            (Source::Int(a), Habit::Integer) => Plain::Int(a.value(row)),
            (Source::UInt(a), Habit::Integer) => Plain::UInt(a.value(row)),
            (Source::Double(a), Habit::Double) => {
                Plain::Double(Some(a.value(row)).filter(|v| v.is_finite())?)
            }
            (Source::Text(a), Habit::Textual) | (Source::Decimal(a), Habit::Decimal) => {
                Plain::Bytes(a.value(row).as_bytes())
            }
            (Source::Text(a), Habit::Padded) => {
                Plain::Bytes(Some(a.value(row).as_bytes()).filter(|v| !v.ends_with(b" "))?)
            }
            (Source::Bytes(a), Habit::Textual) => Plain::Bytes(a.value(row)),
            (Source::DateTime(a), Habit::Fraction(unit)) if !self.is_time => {
                let v = DateTime::from_packed(a.value(row));
                Plain::DateTime(Some(v).filter(|v| i64::from(v.parts().6) % unit == 0)?)
            }
            _ => return None,
        })
    }

    /// The value of `row`, or why this column would not keep it as it is.
    pub(super) fn cell(&self, row: usize) -> Result<Cell<'a>> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            // NULL makes a NOT NULL column of some types invent a value: the next number, now.
            if !self.column.nullable {
                return Err(self.fault("may not be NULL"));
            }
            return Ok(Cell::Null);
        }
        let cell = match self.source {
            Source::Int(a) => Cell::Int(a.value(row)),
            Source::UInt(a) => Cell::UInt(a.value(row)),
            Source::Float(a) => Cell::Float(a.value(row)),
            Source::Double(a) => Cell::Double(a.value(row)),
            Source::Text(a) | Source::Decimal(a) => Cell::Text(Cow::Borrowed(a.value(row))),
            Source::Bytes(a) => Cell::Bytes(Cow::Borrowed(a.value(row))),
            Source::Date(a) => Cell::Date(DateTime::from_packed(a.value(row))),
            Source::DateTime(a) => Cell::DateTime(DateTime::from_packed(a.value(row))),
            Source::Time(a) => Cell::Time(a.value(row)),
            Source::Any(a) => self.untyped(a.value(row))?,
        };
        self.kept(cell)
    }

    /// A value that carries its own type must have the column's: text that spells a number is no
    /// number. Numbers go as text, so that all of a column are of one type for the server.
    fn untyped(&self, tagged: &[u8]) -> Result<Cell<'a>> {
        use Kind::{Bytes, Date, DateTime, Decimal, Float32, Float64, Int, Text, Time, UInt};
        let number = |cell: Cell<'a>, text: String| {
            self.kept(cell)?;
            Ok(Cell::Text(Cow::Owned(text)))
        };
        match (Value::from_tagged(tagged), self.column.kind) {
            (Some(Value::Bytes(bytes)), Bytes) => Ok(Cell::Bytes(Cow::Owned(bytes))),
            (Some(Value::Text(text)), Text | Date | DateTime | Time) => {
                Ok(Cell::Text(Cow::Owned(text)))
            }
            (Some(Value::Int(v)), Int | UInt | Decimal | Float32 | Float64) => {
                number(Cell::Int(v), v.to_string())
            }
            (Some(Value::Float(v)), Int | UInt | Decimal | Float32 | Float64) => {
                number(Cell::Double(v), v.to_string())
            }
            (Some(_), _) => Err(self.fault("a value of another type than the column's")),
            (None, _) => Err(self.fault("a value without its type")),
        }
    }

    fn kept(&self, cell: Cell<'a>) -> Result<Cell<'a>> {
        match cell {
            Cell::Null => Ok(cell),
            Cell::Int(_) | Cell::UInt(_) | Cell::Float(_) | Cell::Double(_) => self.number(cell),
            Cell::Text(text) => self.text(text),
            Cell::Bytes(bytes) => self.bytes(bytes),
            Cell::Date(_) | Cell::DateTime(_) | Cell::Time(_) => self.moment(cell),
        }
    }

    fn number(&self, cell: Cell<'a>) -> Result<Cell<'a>> {
        let as_double = match cell {
            Cell::Float(v) => f64::from(v),
            Cell::Double(v) => v,
            _ => 0.0,
        };
        let whole = match cell {
            Cell::Int(v) => i128::from(v),
            Cell::UInt(v) => i128::from(v),
            _ => 0,
        };
        if !as_double.is_finite() {
            return Err(self.fault("not a finite number"));
        }
        let why = match self.habit {
            Habit::Integer | Habit::Year | Habit::Bits if as_double.fract() != 0.0 => {
                "not an integer"
            }
            Habit::Year if (1..=99).contains(&whole) => "the value is out of the column's range",
            Habit::Single
                if f64::from(as_double as f32) != as_double || whole as f32 as i128 != whole =>
            {
                "more digits than single precision holds"
            }
            Habit::Double if whole as f64 as i128 != whole => {
                "more digits than double precision holds"
            }
            Habit::Date | Habit::Fraction(_) => "not a date or time",
            Habit::Members(_) => "not a member of the column's list",
            Habit::Integer if matches!(cell, Cell::Float(_) | Cell::Double(_)) => {
                return self.whole_number(as_double);
            }
            Habit::Padded | Habit::Textual | Habit::Decimal => return Ok(self.canonical(cell)),
            _ => return Ok(cell),
        };
        Err(self.fault(why))
    }

    /// The integer that a floating number is: the server would store 2^63 as 2^63 - 1. One
    /// column's numbers are all of one type.
    fn whole_number(&self, v: f64) -> Result<Cell<'a>> {
        const TWO_63: f64 = 9_223_372_036_854_775_808.0;
        if v == 0.0 && v.is_sign_negative() {
            return Err(self.fault("a negative zero"));
        }
        match self.column.kind {
            Kind::UInt if (0.0..2.0 * TWO_63).contains(&v) => Ok(Cell::UInt(v as u64)),
            Kind::Int if (-TWO_63..TWO_63).contains(&v) => Ok(Cell::Int(v as i64)),
            _ => Err(self.fault("the value is out of the column's range")),
        }
    }

    fn text(&self, text: Cow<'a, str>) -> Result<Cell<'a>> {
        let why = match self.habit {
            Habit::Integer | Habit::Year if !is_integer(&text) => "not an integer",
            // The text '0' would become the year 2000, the number 0 stays what it is.
            Habit::Year => {
                let whole = text.split('.').next().unwrap_or_default();
                let year = whole.parse().map_err(|_| self.fault("not an integer"))?;
                return self.number(Cell::Int(year));
            }
            Habit::Bits => "text where the column holds bits",
            Habit::Date | Habit::Fraction(_) => return self.temporal(&text),
            Habit::Padded if text.ends_with(' ') => "trailing blanks would be lost",
            Habit::Filled(width) if (text.len() as u64) < width => {
                "shorter than the column, which would fill it up"
            }
            Habit::Members(members)
                if !text.is_empty()
                    && text.bytes().all(|b| b.is_ascii_digit() || b == b' ')
                    && !members.iter().any(|m| *m == text) =>
            {
                "not a member of the column's list"
            }
            _ => return Ok(Cell::Text(text)),
        };
        Err(self.fault(why))
    }

    fn bytes(&self, bytes: Cow<'a, [u8]>) -> Result<Cell<'a>> {
        let why = match self.habit {
            Habit::Filled(width) if (bytes.len() as u64) < width => {
                "shorter than the column, which would fill it up"
            }
            Habit::Padded if bytes.ends_with(b" ") => "trailing blanks would be lost",
            Habit::Integer
            | Habit::Year
            | Habit::Single
            | Habit::Double
            | Habit::Date
            | Habit::Fraction(_)
            | Habit::Members(_) => "bytes where the column holds something else",
            _ => return Ok(Cell::Bytes(bytes)),
        };
        Err(self.fault(why))
    }

    fn moment(&self, cell: Cell<'a>) -> Result<Cell<'a>> {
        let lost = "a fraction of a second would be lost";
        match (&self.habit, &cell) {
            (Habit::Padded | Habit::Textual, _) => Ok(self.canonical(cell)),
            (Habit::Date, Cell::Date(_)) => Ok(cell),
            (Habit::Date, Cell::DateTime(v)) => {
                let (_, _, _, h, mi, s, us) = v.parts();
                if (h, mi, s, us) != (0, 0, 0, 0) {
                    return Err(self.fault("the time of day would be lost"));
                }
                Ok(Cell::Date(*v))
            }
            (Habit::Fraction(unit), Cell::Time(v)) if self.is_time => {
                // Beyond, the server stores its largest time without a word.
                if v.unsigned_abs() > self.time_max {
                    return Err(self.fault("the value is out of the column's range"));
                }
                if v % unit != 0 { Err(self.fault(lost)) } else { Ok(cell) }
            }
            (Habit::Fraction(unit), Cell::Date(v) | Cell::DateTime(v)) if !self.is_time => {
                let micros = i64::from(v.parts().6);
                if micros % unit != 0 { Err(self.fault(lost)) } else { Ok(cell) }
            }
            _ => Err(self.fault("a date or time where the column holds something else")),
        }
    }

    /// Text for a temporal column goes as the value it spells, so that nothing is cut off it.
    fn temporal(&self, text: &str) -> Result<Cell<'a>> {
        let cell = match (value::parse_time(text), DateTime::parse(text)) {
            (Some(micros), _) if self.is_time => Cell::Time(micros),
            (_, Some(v)) if !self.is_time => Cell::DateTime(v),
            _ => return Err(self.fault("not a date or time")),
        };
        self.moment(cell)
    }

    /// What a text column is given: the plain text of a value that is not text itself.
    fn canonical(&self, cell: Cell<'a>) -> Cell<'a> {
        let text = match cell {
            Cell::Float(v) => v.to_string(),
            Cell::Double(v) => v.to_string(),
            Cell::Date(v) => v.date_text(),
            Cell::DateTime(v) => v.text(6),
            Cell::Time(v) => value::time_text(v, 6),
            other => return other,
        };
        Cell::Text(Cow::Owned(text))
    }

    fn fault(&self, why: &str) -> Error {
        let name = &self.column.name;
        Error::new(ErrorKind::Data, format!("column {name}: {why}")).column(name)
    }
}

impl<'a> Habit<'a> {
    fn of(column: &'a Column) -> Self {
        match column.family.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Habit::Integer,
            "year" => Habit::Year,
            "decimal" => Habit::Decimal,
            "float" => Habit::Single,
            "double" => Habit::Double,
            "bit" => Habit::Bits,
            "date" => Habit::Date,
            "datetime" | "timestamp" | "time" => {
                let digits = column.scale.unwrap_or(0).min(6);
                Habit::Fraction(10i64.pow(6 - digits))
            }
            "char" => Habit::Padded,
            "binary" => Habit::Filled(column.max_bytes.unwrap_or(0)),
            "enum" | "set" => Habit::Members(&column.members),
            "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "varbinary"
            | "tinyblob" | "blob" | "mediumblob" | "longblob" | "json" => Habit::Textual,
            _ => Habit::None,
        }
    }
}

/// Digits with an optional sign; a fraction of zeros is no fraction.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    !whole.is_empty()
        && whole.bytes().all(|b| b.is_ascii_digit())
        && fraction.bytes().all(|b| b == b'0')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::ArrayRef;

    use super::*;

    fn column(declared: &str, scale: Option<u32>) -> Column {
        Column { scale, ..Column::new("c", Kind::Text, declared) }
    }

    fn fed(column: &Column, kind: Kind, array: ArrayRef) -> Result<Wire> {
        Feed::new(column, kind, &array, TIME_MAX).unwrap().cell(0).map(Cell::into_wire)
    }

    fn text(s: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![s]))
    }

    fn int(v: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![v]))
    }

    #[test]
    fn what_the_server_would_change_silently_is_refused() {
        let members = Column {
            members: vec!["x".to_owned(), "7".to_owned()],
            ..column("enum('x','7')", None)
        };
        let wide = Column { max_bytes: Some(4), ..column("binary(4)", None) };
        let us = DateTime::new(2024, 1, 2, 3, 4, 5, 1000).unwrap().packed();
        for (column, kind, array) in [
            (column("int(11)", None), Kind::Text, text("1.5")),
            (column("int(11)", None), Kind::Decimal, text("12.40")),
            (column("year(4)", None), Kind::Int, int(70)),
            (column("year(4)", None), Kind::Text, text("0070")),
            (column("datetime(2)", Some(2)), Kind::DateTime, int(us)),
            (column("date", None), Kind::DateTime, int(us)),
            (column("time", Some(0)), Kind::Time, int(1)),
            (column("time", Some(6)), Kind::Time, int(TIME_MAX as i64 + 1)),
            (column("time", Some(0)), Kind::DateTime, int(us)),
            (column("datetime(6)", Some(6)), Kind::Time, int(1)),
            (column("datetime(6)", Some(6)), Kind::Int, int(20240101)),
            (column("int", None), Kind::DateTime, int(us)),
            (column("bit(8)", None), Kind::Text, text("5")),
            (column("datetime", Some(0)), Kind::Text, text("2024-01-01 00:00:00.5")),
            (column("char(5)", None), Kind::Text, text("a ")),
            (members.clone(), Kind::Text, text("1")),
            (wide, Kind::Bytes, Arc::new(BinaryArray::from_vec(vec![b"abc"])) as ArrayRef),
            (column("float", None), Kind::Float64, Arc::new(Float64Array::from(vec![0.1]))),
            (column("double", None), Kind::Int, int(i64::MAX)),
            (column("double", None), Kind::Float64, Arc::new(Float64Array::from(vec![f64::NAN]))),
            (
                Column { nullable: false, ..column("int", None) },
                Kind::Int,
                Arc::new(Int64Array::from(vec![None])),
            ),
        ] {
            let e = fed(&column, kind, array).unwrap_err();
            assert_eq!((e.kind, e.column.as_deref()), (ErrorKind::Data, Some("c")), "{column:?}");
        }
        assert_eq!(fed(&members, Kind::Text, text("7")).unwrap(), Wire::from("7"));
    }

    #[test]
    fn what_the_server_keeps_is_passed_on() {
        let us = DateTime::new(2024, 1, 2, 3, 4, 5, 120_000).unwrap();
        for (column, kind, array, wire) in [
            (column("int(11)", None), Kind::Decimal, text("-12.00"), Wire::from("-12.00")),
            (column("year(4)", None), Kind::Int, int(0), Wire::Int(0)),
            (column("datetime(2)", Some(2)), Kind::DateTime, int(us.packed()), bind::date_time(us)),
            (column("varchar(9)", None), Kind::Text, text("a "), Wire::from("a ")),
            (column("varchar(30)", None), Kind::Time, int(-1), Wire::from("-00:00:00.000001")),
            (
                column("float", None),
                Kind::Float64,
                Arc::new(Float64Array::from(vec![0.5])),
                Wire::Double(0.5),
            ),
        ] {
            assert_eq!(fed(&column, kind, array).unwrap(), wire, "{column:?}");
        }
    }
}
