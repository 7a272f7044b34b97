//! What a source column can hold.

use super::charset;
use crate::schema::{Column, Kind};

/// Bytes of one value at the most: SQLite's own limit, and that of a batch.
const VALUE_BYTES_MAX: u64 = i32::MAX as u64;

/// The integers that the column can hold: smallest, largest. `None` for other kinds.
pub fn integers(column: &Column) -> Option<(i128, i128)> {
    let (min, max) = match column.kind {
        Kind::Int => (i64::MIN, i64::MAX as u64),
        Kind::UInt => (0, u64::MAX),
        _ => return None,
    };
    Some((i128::from(column.min.unwrap_or(min)), i128::from(column.max.unwrap_or(max))))
}

/// A decimal's or integer's digits before and after the point.
pub fn digits(column: &Column) -> (u32, u32) {
    if let Some((min, max)) = integers(column) {
        let digits = |n: i128| n.unsigned_abs().max(1).ilog10() + 1;
        return (digits(min).max(digits(max)), 0);
    }
    if is_boundless(column) {
        return NUMBER_DIGITS;
    }
    let scale = column.scale.unwrap_or(30);
    (column.precision.unwrap_or(65).saturating_sub(scale), scale)
}

/// Digits that some `NUMBER` of Oracle has before and after the point.
const NUMBER_DIGITS: (u32, u32) = (126, 168);
/// The longest spelling of such a number: sign, zero, point, digits.
const NUMBER_CHARS: u64 = 172;

/// A `NUMBER` without digits, or a `FLOAT`, of Oracle: 38 and more digits with the point anywhere.
pub fn is_boundless(column: &Column) -> bool {
    column.kind == Kind::Decimal
        && column.precision.is_none()
        && matches!(column.family.as_str(), "number" | "float")
}

/// Declared without negative numbers.
pub fn is_unsigned(column: &Column) -> bool {
    column.declared.to_ascii_lowercase().contains("unsigned")
}

/// Whether the column can hold numbers below zero.
pub fn may_be_negative(column: &Column) -> bool {
    match integers(column) {
        Some((min, _)) => min < 0,
        None => !is_unsigned(column),
    }
}

/// A float or double that the server rounds to so many digits, so many of them after the point
/// (`float(7,2)`).
pub fn rounding(column: &Column) -> Option<(u64, u64)> {
    let inside = column.declared.split_once('(')?.1.split_once(')')?.0;
    let (digits, scale) = inside.split_once(',')?;
    Some((digits.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// The character set that a text column's values need.
pub fn charset(column: &Column) -> Option<&str> {
    let plain = match column.family.as_str() {
        "uuid" | "inet4" | "inet6" => true,
        "enum" | "set" => column.members.iter().all(|m| m.is_ascii()),
        _ => is_spelt(column),
    };
    if plain { Some("ascii") } else { column.charset.as_deref() }
}

/// Digits of a second's fraction, 0 to 9.
pub fn fraction(column: &Column) -> u32 {
    column.scale.unwrap_or(6).min(9)
}

/// Characters that a value of the column has as text at the most.
pub fn chars_max(column: &Column) -> u64 {
    match column.kind {
        Kind::Int | Kind::UInt => {
            let (min, max) = integers(column).unwrap_or((0, 0));
            min.to_string().len().max(max.to_string().len()) as u64
        }
        Kind::Float32 | Kind::Float64 if rounding(column).is_some() => {
            rounding(column).map_or(0, |(digits, _)| digits + 3)
        }
        // The longest without exponent, and a sign.
        Kind::Float32 => 64,
        Kind::Float64 => 400,
        Kind::Decimal if is_boundless(column) => NUMBER_CHARS,
        Kind::Decimal => {
            let (whole, scale) = digits(column);
            let point = if scale > 0 { 1 + scale } else { 0 };
            u64::from(1 + whole.max(1) + point)
        }
        Kind::Text if is_list(column) => {
            let members = column.members.iter().map(|m| m.chars().count() as u64);
            match column.family.as_str() {
                "enum" => members.max().unwrap_or(0),
                // Each but the last is followed by a comma.
                _ => members.map(|n| n + 1).sum::<u64>().saturating_sub(1),
            }
        }
        Kind::Text if is_spelt(column) => column.max_chars.unwrap_or(VALUE_BYTES_MAX),
        Kind::Text => column.max_chars.unwrap_or_else(|| {
            let (least, _) = charset::bytes_per_char(column.charset.as_deref());
            column.max_bytes.unwrap_or(VALUE_BYTES_MAX) / least
        }),
        Kind::Date => 10,
        Kind::DateTime => 26,
        // Days have up to so many digits, hours two more.
        Kind::Time if column.family == "interval_ds" => {
            1 + u64::from(column.precision.unwrap_or(2)) + 2 + 13
        }
        Kind::Time => 17,
        Kind::Bytes | Kind::Any => bytes_max(column),
    }
}

/// Bytes that a value of the column has at the most, as they stand in the column.
pub fn bytes_max(column: &Column) -> u64 {
    column.max_bytes.unwrap_or(VALUE_BYTES_MAX)
}

/// An enum or set.
pub fn is_list(column: &Column) -> bool {
    matches!(column.family.as_str(), "enum" | "set")
}

/// Whether any text can stand in the column.
pub fn is_free_text(column: &Column) -> bool {
    // XML begins with an angle bracket, and is nothing else.
    !matches!(column.family.as_str(), "enum" | "set" | "uuid" | "inet4" | "inet6" | "xmltype")
        && !is_spelt(column)
}

/// Whether the column's values are times, intervals or addresses of Oracle that travel as text:
/// plain ASCII of a fixed form.
pub fn is_spelt(column: &Column) -> bool {
    column.kind == Kind::Text
        && matches!(
            column.family.as_str(),
            "timestamp"
                | "timestamp_ltz"
                | "timestamp_tz"
                | "interval_ds"
                | "interval_ym"
                | "rowid"
                | "urowid"
        )
}

/// Whether a value of the column can be empty text or no bytes.
pub fn may_be_empty(column: &Column, dialect: &str) -> bool {
    let lobs_alone = dialect == "oracle";
    match (column.kind, column.family.as_str()) {
        (Kind::Text, "enum") => column.members.iter().any(String::is_empty),
        (Kind::Text, "json" | "uuid" | "inet4" | "inet6") => false,
        (Kind::Text, _) if is_spelt(column) => false,
        // A CHAR that is blank all over.
        (Kind::Text, "char" | "nchar" | "clob" | "nclob") if lobs_alone => true,
        (Kind::Bytes, "blob") if lobs_alone => true,
        (Kind::Text | Kind::Bytes, _) if lobs_alone => false,
        (Kind::Bytes, "bit" | "binary" | "vector") => false,
        (Kind::Bytes, _) => column.max_bytes.is_some() || dialect == "sqlite",
        (Kind::Text | Kind::Any, _) => true,
        _ => false,
    }
}

/// Whether a text value of the column can end in a blank.
pub fn may_end_blank(column: &Column) -> bool {
    // MySQL strips CHAR's when it reads (ssync Oracle's), and a member's when it is declared.
    !matches!(
        column.family.as_str(),
        "char" | "nchar" | "enum" | "set" | "uuid" | "inet4" | "inet6"
    ) && !is_spelt(column)
}

/// A column of the destination's own database that holds whatever may have been sealed for it.
pub fn widest(dest: &Column) -> Column {
    let declared = match dest.kind {
        Kind::Int => "bigint",
        Kind::UInt => "bigint unsigned",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Decimal => "decimal",
        Kind::Text => "text",
        Kind::Bytes => "blob",
        Kind::Date => "date",
        Kind::DateTime => "datetime",
        Kind::Time => "time",
        Kind::Any => "any",
    };
    Column::new(dest.name.clone(), dest.kind, declared)
}
