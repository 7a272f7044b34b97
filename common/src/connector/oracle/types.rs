//! Oracle's types in one table: how each travels, and its limits.

use crate::schema::{Column, Kind};

/// Digits that an integer type may have to travel as a 64-bit integer.
const INT_DIGITS: u32 = 18;
/// Digits of `NUMBER(*, s)`, `INTEGER` and their like.
const NUMBER_DIGITS: u32 = 38;
/// Binary digits of a `FLOAT` at the most.
const FLOAT_BITS_MAX: u32 = 126;
/// Bytes of a `ROWID` as text.
const ROWID_CHARS: u64 = 18;
/// What a `UROWID` of 3,800 bytes may need as text.
const UROWID_CHARS: u64 = 5072;
/// Days that a signed 64-bit count of microseconds reaches: intervals of up to eight digits of days.
const TIME_DAY_DIGITS: u32 = 8;
/// Fraction digits that [`crate::value::DateTime`] and [`Kind::Time`] carry.
const MICROS: u32 = 6;

/// A column as `ALL_TAB_COLUMNS` declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Declared<'a> {
    /// `DATA_TYPE`: `NUMBER`, `VARCHAR2`, `TIMESTAMP(6) WITH TIME ZONE`.
    pub data_type: &'a str,
    /// `DATA_LENGTH`, in bytes.
    pub bytes: u64,
    /// `CHAR_LENGTH`, in characters.
    pub chars: u64,
    /// `CHAR_USED` is `C`: the length was declared in characters.
    pub in_chars: bool,
    /// `DATA_PRECISION`.
    pub precision: Option<i64>,
    /// `DATA_SCALE`.
    pub scale: Option<i64>,
    /// `NLS_CHARACTERSET` of the database.
    pub charset: &'a str,
    /// `NLS_NCHAR_CHARACTERSET` of the database.
    pub ncharset: &'a str,
    /// `COLLATION` (12.2 and later), else empty.
    pub collation: &'a str,
}

/// The column with its family, kind and limits; `None` for a type this connector does not know
/// (object types, nested tables, `BFILE`, `SDO_GEOMETRY`, `VECTOR`, `ANYDATA`). Nullability,
/// defaults and the rest are the caller's.
///
/// | type | family | kind | note |
/// |---|---|---|---|
/// | NUMBER(p), NUMBER(p,0), p ≤ 18 | number | Int | its range in `min`, `max` |
/// | NUMBER(p,-s), p+s ≤ 18 | number | Int | multiples of 10^s |
/// | other NUMBER, INTEGER | number | Decimal | plain digits, no exponent, no zeros at the end of a fraction |
/// | FLOAT(b) | float | Decimal | decimal digits as Oracle keeps them |
/// | BINARY_FLOAT, BINARY_DOUBLE | binary_float, binary_double | Float32, Float64 | NaN and infinities; no negative zero |
/// | CHAR, NCHAR | char, nchar | Text | blanks at the end are padding: read without, written by the server |
/// | VARCHAR2, NVARCHAR2 | varchar2, nvarchar2 | Text | never empty |
/// | CLOB, NCLOB, LONG | clob, nclob, long | Text | LONG at the source only |
/// | RAW, BLOB, LONG RAW | raw, blob, long_raw | Bytes | LONG RAW at the source only |
/// | DATE | date | DateTime | has a time of day, `scale` 0 |
/// | TIMESTAMP(0–6) | timestamp | DateTime | |
/// | TIMESTAMP(7–9) | timestamp | Text | spelt by [`super::exact::Stamp`] |
/// | TIMESTAMP(0–6) WITH LOCAL TIME ZONE | timestamp_ltz | DateTime | in UTC |
/// | TIMESTAMP(7–9) WITH LOCAL TIME ZONE | timestamp_ltz | Text | in UTC, without offset |
/// | TIMESTAMP WITH TIME ZONE | timestamp_tz | Text | its local time and offset; DateTime, in UTC, where a plan asks for it ([`crate::fidelity::travels_as`]) |
/// | INTERVAL DAY(0–8) TO SECOND(0–6) | interval_ds | Time | microseconds; `precision` is the days' digits |
/// | other INTERVAL DAY TO SECOND | interval_ds | Text | `[-]d hh:mm:ss[.fffffffff]` |
/// | INTERVAL YEAR TO MONTH | interval_ym | Text | `[-]y-mm` |
/// | ROWID, UROWID | rowid, urowid | Text | |
/// | JSON, XMLTYPE | json, xmltype | Text | as the server serialises them |
/// | BOOLEAN | boolean | Int | 0, 1 |
pub(crate) fn column(name: &str, d: &Declared<'_>) -> Option<Column> {
    let (word, numbers) = words_and_numbers(d.data_type);
    let number = |n: usize, default: u32| numbers.get(n).copied().unwrap_or(default);
    let new = |family: &str, kind: Kind, declared: String| Column {
        family: family.to_owned(),
        ..Column::new(name, kind, declared)
    };
    let plain = |family: &str, kind: Kind| new(family, kind, d.data_type.to_owned());
    let column = match word.as_str() {
        "NUMBER" => number_column(name, d),
        "FLOAT" => {
            let bits = d.precision.unwrap_or(FLOAT_BITS_MAX.into());
            new("float", Kind::Decimal, format!("FLOAT({bits})"))
        }
        "BINARY_FLOAT" => plain("binary_float", Kind::Float32),
        "BINARY_DOUBLE" => plain("binary_double", Kind::Float64),
        "CHAR" | "VARCHAR2" => {
            let family = word.to_ascii_lowercase();
            let (length, unit) = if d.in_chars { (d.chars, "CHAR") } else { (d.bytes, "BYTE") };
            Column {
                max_chars: d.in_chars.then_some(d.chars),
                max_bytes: Some(d.bytes),
                ..new(&family, Kind::Text, format!("{word}({length} {unit})"))
            }
        }
        "NCHAR" | "NVARCHAR2" => Column {
            max_chars: Some(d.chars),
            max_bytes: Some(d.bytes),
            ..new(&word.to_ascii_lowercase(), Kind::Text, format!("{word}({})", d.chars))
        },
        "CLOB" | "NCLOB" | "LONG" => plain(&word.to_ascii_lowercase(), Kind::Text),
        "BLOB" => plain("blob", Kind::Bytes),
        "LONG RAW" => plain("long_raw", Kind::Bytes),
        "RAW" => Column {
            max_bytes: Some(d.bytes),
            ..new("raw", Kind::Bytes, format!("RAW({})", d.bytes))
        },
        "DATE" => Column { scale: Some(0), ..plain("date", Kind::DateTime) },
        "TIMESTAMP" | "TIMESTAMP WITH LOCAL TIME ZONE" => {
            let scale = number(0, 6);
            let family = if word == "TIMESTAMP" { "timestamp" } else { "timestamp_ltz" };
            let kind = if scale <= MICROS { Kind::DateTime } else { Kind::Text };
            let plain = plain(family, kind);
            let column = if kind == Kind::Text { spelt(29, plain) } else { plain };
            Column { scale: Some(scale), ..column }
        }
        "TIMESTAMP WITH TIME ZONE" => {
            Column { scale: Some(number(0, 6)), ..spelt(36, plain("timestamp_tz", Kind::Text)) }
        }
        "INTERVAL YEAR TO MONTH" => {
            let years = number(0, 2);
            let column = spelt(u64::from(years) + 4, plain("interval_ym", Kind::Text));
            Column { precision: Some(years), ..column }
        }
        "INTERVAL DAY TO SECOND" => {
            let (days, scale) = (number(0, 2), number(1, 6));
            let fits = days <= TIME_DAY_DIGITS && scale <= MICROS;
            let kind = if fits { Kind::Time } else { Kind::Text };
            let plain = plain("interval_ds", kind);
            let column = if fits { plain } else { spelt(u64::from(days) + 20, plain) };
            Column { precision: Some(days), scale: Some(scale), ..column }
        }
        "ROWID" => spelt(ROWID_CHARS, plain("rowid", Kind::Text)),
        "UROWID" => spelt(UROWID_CHARS, plain("urowid", Kind::Text)),
        "JSON" => plain("json", Kind::Text),
        "XMLTYPE" => plain("xmltype", Kind::Text),
        "BOOLEAN" => Column { min: Some(0), max: Some(1), ..plain("boolean", Kind::Int) },
        _ => return None,
    };
    Some(with_charset(column, d))
}

/// Whether a character set of Oracle's has every character.
pub(super) fn is_unicode(charset: &str) -> bool {
    matches!(charset, "AL32UTF8" | "UTF8" | "AL16UTF16" | "ZHS32GB18030")
}

/// A column whose values travel as ASCII text of at most so many characters.
fn spelt(chars: u64, column: Column) -> Column {
    Column { max_chars: Some(chars), max_bytes: Some(chars), ..column }
}

/// Character set and collation of a column of characters.
fn with_charset(column: Column, d: &Declared<'_>) -> Column {
    let charset = match column.family.as_str() {
        "char" | "varchar2" | "clob" | "long" => d.charset,
        "nchar" | "nvarchar2" | "nclob" => d.ncharset,
        _ => return column,
    };
    // With the session's NLS_COMP at BINARY the pseudo-collation is the binary one.
    let collation = match d.collation {
        "" | "USING_NLS_COMP" => "BINARY",
        named => named,
    };
    Column { charset: Some(charset.to_owned()), collation: Some(collation.to_owned()), ..column }
}

fn number_column(name: &str, d: &Declared<'_>) -> Column {
    let declared = match (d.precision, d.scale) {
        (None, None) => "NUMBER".to_owned(),
        (None, Some(scale)) => format!("NUMBER(*,{scale})"),
        (Some(precision), None | Some(0)) => format!("NUMBER({precision})"),
        (Some(precision), Some(scale)) => format!("NUMBER({precision},{scale})"),
    };
    let mut column =
        Column { family: "number".into(), ..Column::new(name, Kind::Decimal, declared) };
    let Some(shape) = NumberShape::of(&column) else { return column };
    let scale = u32::try_from(shape.scale).unwrap_or(0);
    let zeros = u32::try_from(-shape.scale).unwrap_or(0);
    let precision = shape.precision + zeros;
    (column.precision, column.scale) = (Some(precision), Some(scale));
    if scale == 0 && precision <= INT_DIGITS {
        let unit = 10i64.pow(zeros);
        let largest = (10i64.pow(shape.precision) - 1) * unit;
        column.kind = Kind::Int;
        (column.min, column.max) = (Some(-largest), Some(largest.unsigned_abs()));
    }
    column
}

/// What fits a `NUMBER` with digits: so many of them, so many after the point (before it, where
/// negative: these are zeros).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberShape {
    /// Significant digits, 1 to 38.
    pub precision: u32,
    /// −84 to 127.
    pub scale: i32,
}

impl NumberShape {
    /// That of a column made by [`column()`]; `None` for `NUMBER` without digits, and for other
    /// families.
    pub fn of(column: &Column) -> Option<NumberShape> {
        let inside = column.declared.strip_prefix("NUMBER(")?.strip_suffix(')')?;
        let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
        let precision = match precision {
            "*" => NUMBER_DIGITS,
            digits => digits.parse().ok()?,
        };
        let scale: i32 = scale.parse().ok()?;
        // No other has been declared, whatever a catalog says.
        let real = (1..=NUMBER_DIGITS).contains(&precision) && (-84..=127).contains(&scale);
        real.then_some(NumberShape { precision, scale })
    }
}

/// Decimal digits that surely fit a `FLOAT(b)` column made by [`column()`], which rounds to `b`
/// binary digits; `None` for other families.
pub(crate) fn float_digits(column: &Column) -> Option<u32> {
    let bits: u32 = column.declared.strip_prefix("FLOAT(")?.strip_suffix(')')?.parse().ok()?;
    Some((bits.min(FLOAT_BITS_MAX) * 30_103 / 100_000).max(1))
}

/// `TIMESTAMP(6) WITH TIME ZONE` as `TIMESTAMP WITH TIME ZONE` and 6.
fn words_and_numbers(data_type: &str) -> (String, Vec<u32>) {
    let mut words = String::new();
    let mut numbers = Vec::new();
    let mut rest = data_type;
    while let Some((before, after)) = rest.split_once('(') {
        words.push_str(before);
        let (inside, after) = after.split_once(')').unwrap_or((after, ""));
        numbers.extend(inside.split(',').filter_map(|n| n.trim().parse::<u32>().ok()));
        rest = after;
    }
    words.push_str(rest);
    (words.split_whitespace().collect::<Vec<_>>().join(" "), numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(data_type: &str) -> Declared<'_> {
        Declared { data_type, charset: "AL32UTF8", ncharset: "AL16UTF16", ..Declared::default() }
    }

    fn number(precision: Option<i64>, scale: Option<i64>) -> Column {
        column("c", &Declared { precision, scale, ..declared("NUMBER") }).unwrap()
    }

    #[test]
    fn numbers_travel_as_integers_where_64_bits_hold_them() {
        for (precision, scale, spelt, kind, digits) in [
            (Some(1), Some(0), "NUMBER(1)", Kind::Int, Some((1, 0))),
            (Some(18), Some(0), "NUMBER(18)", Kind::Int, Some((18, 0))),
            (Some(19), Some(0), "NUMBER(19)", Kind::Decimal, Some((19, 0))),
            (Some(38), Some(0), "NUMBER(38)", Kind::Decimal, Some((38, 0))),
            (Some(10), Some(2), "NUMBER(10,2)", Kind::Decimal, Some((10, 2))),
            (Some(3), Some(5), "NUMBER(3,5)", Kind::Decimal, Some((3, 5))),
            (Some(5), Some(-2), "NUMBER(5,-2)", Kind::Int, Some((7, 0))),
            (Some(17), Some(-2), "NUMBER(17,-2)", Kind::Decimal, Some((19, 0))),
            (None, Some(0), "NUMBER(*,0)", Kind::Decimal, Some((38, 0))),
            (None, None, "NUMBER", Kind::Decimal, None),
        ] {
            let c = number(precision, scale);
            assert_eq!((c.declared.as_str(), c.kind), (spelt, kind));
            assert_eq!(c.precision.zip(c.scale), digits, "{spelt}");
            assert_eq!(c.family, "number");
        }
        let c = number(Some(18), Some(0));
        assert_eq!((c.min, c.max), (Some(-999_999_999_999_999_999), Some(999_999_999_999_999_999)));
        let c = number(Some(5), Some(-2));
        assert_eq!((c.min, c.max), (Some(-9_999_900), Some(9_999_900)));
    }

    #[test]
    fn shapes_are_read_back_from_declarations() {
        let shape = |p, s| NumberShape::of(&number(p, s)).map(|n| (n.precision, n.scale));
        assert_eq!(shape(Some(5), Some(-2)), Some((5, -2)));
        assert_eq!(shape(Some(3), Some(5)), Some((3, 5)));
        assert_eq!(shape(Some(9), None), Some((9, 0)));
        assert_eq!(shape(None, Some(0)), Some((38, 0)));
        assert_eq!(shape(None, None), None);
        let float = |bits| {
            let c = column("c", &Declared { precision: Some(bits), ..declared("FLOAT") }).unwrap();
            float_digits(&c)
        };
        assert_eq!((float(126), float(63), float(1)), (Some(37), Some(18), Some(1)));
        assert_eq!(float_digits(&number(None, None)), None);
    }

    #[test]
    fn every_known_type_has_its_kind() {
        use Kind::*;
        for (data_type, family, kind, precision, scale) in [
            ("BINARY_FLOAT", "binary_float", Float32, None, None),
            ("BINARY_DOUBLE", "binary_double", Float64, None, None),
            ("FLOAT", "float", Decimal, None, None),
            ("CHAR", "char", Text, None, None),
            ("NCHAR", "nchar", Text, None, None),
            ("VARCHAR2", "varchar2", Text, None, None),
            ("NVARCHAR2", "nvarchar2", Text, None, None),
            ("CLOB", "clob", Text, None, None),
            ("NCLOB", "nclob", Text, None, None),
            ("LONG", "long", Text, None, None),
            ("BLOB", "blob", Bytes, None, None),
            ("RAW", "raw", Bytes, None, None),
            ("LONG RAW", "long_raw", Bytes, None, None),
            ("DATE", "date", DateTime, None, Some(0)),
            ("TIMESTAMP(0)", "timestamp", DateTime, None, Some(0)),
            ("TIMESTAMP(6)", "timestamp", DateTime, None, Some(6)),
            ("TIMESTAMP(9)", "timestamp", Text, None, Some(9)),
            ("TIMESTAMP(6) WITH TIME ZONE", "timestamp_tz", Text, None, Some(6)),
            ("TIMESTAMP(3) WITH LOCAL TIME ZONE", "timestamp_ltz", DateTime, None, Some(3)),
            ("TIMESTAMP(7) WITH LOCAL TIME ZONE", "timestamp_ltz", Text, None, Some(7)),
            ("INTERVAL YEAR(4) TO MONTH", "interval_ym", Text, Some(4), None),
            ("INTERVAL DAY(2) TO SECOND(6)", "interval_ds", Time, Some(2), Some(6)),
            ("INTERVAL DAY(8) TO SECOND(6)", "interval_ds", Time, Some(8), Some(6)),
            ("INTERVAL DAY(9) TO SECOND(6)", "interval_ds", Text, Some(9), Some(6)),
            ("INTERVAL DAY(2) TO SECOND(9)", "interval_ds", Text, Some(2), Some(9)),
            ("ROWID", "rowid", Text, None, None),
            ("UROWID", "urowid", Text, None, None),
            ("JSON", "json", Text, None, None),
            ("XMLTYPE", "xmltype", Text, None, None),
            ("BOOLEAN", "boolean", Int, None, None),
        ] {
            let c = column("c", &declared(data_type)).unwrap();
            assert_eq!((c.family.as_str(), c.kind), (family, kind), "{data_type}");
            assert_eq!((c.precision, c.scale), (precision, scale), "{data_type}");
        }
        for unknown in ["BFILE", "SDO_GEOMETRY", "VECTOR", "ANYDATA", "MY_TYPE", ""] {
            assert_eq!(column("c", &declared(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn lengths_say_their_unit() {
        let d = Declared { bytes: 80, chars: 20, in_chars: true, ..declared("VARCHAR2") };
        let c = column("c", &d).unwrap();
        assert_eq!(c.declared, "VARCHAR2(20 CHAR)");
        assert_eq!((c.max_chars, c.max_bytes), (Some(20), Some(80)));
        assert_eq!(c.charset.as_deref(), Some("AL32UTF8"));
        assert_eq!(c.collation.as_deref(), Some("BINARY"));
        let c = column("c", &Declared { in_chars: false, bytes: 20, ..d.clone() }).unwrap();
        assert_eq!(c.declared, "VARCHAR2(20 BYTE)");
        assert_eq!((c.max_chars, c.max_bytes), (None, Some(20)));
        let d = Declared { bytes: 40, chars: 20, collation: "BINARY_CI", ..declared("NCHAR") };
        let c = column("c", &d).unwrap();
        assert_eq!(
            (c.declared.as_str(), c.max_chars, c.max_bytes),
            ("NCHAR(20)", Some(20), Some(40))
        );
        assert_eq!(c.charset.as_deref(), Some("AL16UTF16"));
        assert_eq!(c.collation.as_deref(), Some("BINARY_CI"));
        let c = column("c", &Declared { bytes: 16, ..declared("RAW") }).unwrap();
        assert_eq!((c.declared.as_str(), c.max_bytes, c.charset), ("RAW(16)", Some(16), None));
    }
}
