//! The bytes that are sealed: one tag that names the type, then the value in the one form it has.
//!
//! | tag | value | form |
//! |---|---|---|
//! | `i` | integer | decimal digits, `-` in front of negative ones, no leading zero |
//! | `e` | single precision | four bytes, IEEE 754, big-endian |
//! | `f` | double precision | eight bytes, IEEE 754, big-endian |
//! | `d` | exact decimal | as the database writes it (`-123.4500`), scale kept |
//! | `t` | text | UTF-8 |
//! | `b` | bytes | as they are |
//! | `a` | date | `YYYY-MM-DD` |
//! | `s` | date and time | `YYYY-MM-DD hh:mm:ss`, `.ffffff` unless zero |
//! | `m` | duration | `[-]hh:mm:ss`, `.ffffff` unless zero; hours up to four digits |
//!
//! A value comes back as the type it was sealed as, or as another type that holds exactly the
//! same: [`unpack`] has the table. Nothing is rounded, cut or guessed.

use std::fmt;
use std::io::Write as _;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, Float32Builder, Float64Builder, Int64Builder, StringBuilder, UInt64Builder,
};
use std::sync::Arc;

use crate::schema::{Column, Kind};
use crate::value::{DateTime, Value, parse_time, time_text};

/// Why a sealed value does not fit the column it is opened into. Tells types, never content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misfit {
    tag: u8,
    into: Kind,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = match self.tag {
            b'i' => "an integer",
            b'e' => "a single-precision number",
            b'f' => "a double-precision number",
            b'd' => "a decimal",
            b't' => "text",
            b'b' => "bytes",
            b'a' => "a date",
            b's' => "a date with time",
            b'm' => "a duration",
            _ => "an unknown type",
        };
        let into = match self.into {
            Kind::Int => "a signed integer",
            Kind::UInt => "an unsigned integer",
            Kind::Float32 => "a single-precision number",
            Kind::Float64 => "a double-precision number",
            Kind::Decimal => "a decimal",
            Kind::Text => "text",
            Kind::Bytes => "bytes",
            Kind::Date => "a date",
            Kind::DateTime => "a date with time",
            Kind::Time => "a duration",
            Kind::Any => "a value of any type",
        };
        write!(f, "sealed as {was}, which is not exactly {into}")
    }
}

/// Bytes that the plain form of this column's values has at the most; `None` without a limit.
pub fn plain_len_max(column: &Column) -> Option<u64> {
    let fraction = |whole: u64| whole + if column.scale == Some(0) { 0 } else { 7 };
    Some(match column.kind {
        Kind::Int | Kind::UInt => {
            let digits = |n: Option<u64>, or: u64| n.unwrap_or(or).max(1).ilog10() as u64 + 1;
            let positive = digits(column.max, u64::MAX);
            match column.min {
                Some(min) if min >= 0 => positive,
                None if column.kind == Kind::UInt => positive,
                min => {
                    let min = min.unwrap_or(i64::MIN).unsigned_abs();
                    positive.max(1 + digits(Some(min), min))
                }
            }
        }
        Kind::Float32 => 4,
        Kind::Float64 => 8,
        // Sign, point, and the zero before it.
        Kind::Decimal => u64::from(column.precision?.max(column.scale.unwrap_or(0))) + 3,
        Kind::Text => text_len_max(column)?,
        Kind::Bytes => column.max_bytes?,
        Kind::Date => 10,
        Kind::DateTime => fraction(19),
        // Oracle's have days of so many digits, hours of two more.
        Kind::Time => fraction(u64::from(column.precision.unwrap_or(2)) + 9),
        Kind::Any => return None,
    })
}

/// Sealed text is UTF-8, whatever bytes the column's own character set takes.
fn text_len_max(column: &Column) -> Option<u64> {
    if !column.members.is_empty() {
        let members = column.members.iter().map(|m| m.len() as u64 + 1);
        return Some(if column.family == "set" { members.sum() } else { members.max()? });
    }
    let four_each = |n: u64| n.saturating_mul(4);
    match column.charset.as_deref() {
        None | Some("utf8mb4" | "utf8mb3" | "utf8" | "ascii" | "AL32UTF8" | "UTF8") => {
            column.max_bytes.or(column.max_chars.map(four_each))
        }
        Some(_) => column.max_chars.or(column.max_bytes).map(four_each),
    }
}

pub(super) fn pack_int(v: impl fmt::Display, out: &mut Vec<u8>) {
    out.push(b'i');
    push(out, format_args!("{v}"));
}

pub(super) fn pack_float32(v: f32, out: &mut Vec<u8>) {
    out.push(b'e');
    out.extend_from_slice(&v.to_bits().to_be_bytes());
}

pub(super) fn pack_float64(v: f64, out: &mut Vec<u8>) {
    out.push(b'f');
    out.extend_from_slice(&v.to_bits().to_be_bytes());
}

pub(super) fn pack_bytes(tag: u8, v: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(v);
}

pub(super) fn pack_date(v: DateTime, out: &mut Vec<u8>) {
    out.push(b'a');
    let (y, m, d, ..) = v.parts();
    push(out, format_args!("{y:04}-{m:02}-{d:02}"));
}

pub(super) fn pack_date_time(v: DateTime, out: &mut Vec<u8>) {
    out.push(b's');
    let (y, m, d, h, mi, s, us) = v.parts();
    push(out, format_args!("{y:04}-{m:02}-{d:02} {h:02}:{mi:02}:{s:02}"));
    push_fraction(us, out);
}

pub(super) fn pack_time(v: i64, out: &mut Vec<u8>) {
    out.push(b'm');
    let (sign, abs) = (if v < 0 { "-" } else { "" }, v.unsigned_abs());
    let seconds = abs / 1_000_000;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    push(out, format_args!("{sign}{h:02}:{m:02}:{s:02}"));
    push_fraction((abs % 1_000_000) as u32, out);
}

/// A value of [`Kind::Any`], from its tagged bytes; false when they are malformed.
pub(super) fn pack_any(tagged: &[u8], out: &mut Vec<u8>) -> bool {
    match tagged.split_first() {
        Some((b't', text)) if std::str::from_utf8(text).is_ok() => pack_bytes(b't', text, out),
        Some((b'b', bytes)) => pack_bytes(b'b', bytes, out),
        _ => match Value::from_tagged(tagged) {
            Some(Value::Int(v)) => pack_int(v, out),
            Some(Value::Float(v)) => pack_float64(v, out),
            _ => return false,
        },
    }
    true
}

fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing into a vector has no way to fail.
    let _ = out.write_fmt(text);
}

fn push_fraction(micros: u32, out: &mut Vec<u8>) {
    if micros != 0 {
        push(out, format_args!(".{micros:06}"));
    }
}

/// A column of opened values under construction.
pub(super) enum Unpacked {
    Int(Int64Builder),
    UInt(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

impl Unpacked {
    /// An empty column for values of `kind`.
    pub(super) fn new(kind: Kind, rows: usize) -> Self {
        match kind {
            Kind::Int | Kind::Date | Kind::DateTime | Kind::Time => {
                Unpacked::Int(Int64Builder::with_capacity(rows))
            }
            Kind::UInt => Unpacked::UInt(UInt64Builder::with_capacity(rows)),
            Kind::Float32 => Unpacked::Float32(Float32Builder::with_capacity(rows)),
            Kind::Float64 => Unpacked::Float64(Float64Builder::with_capacity(rows)),
            Kind::Decimal | Kind::Text => Unpacked::Text(StringBuilder::with_capacity(rows, 0)),
            Kind::Bytes | Kind::Any => Unpacked::Bytes(BinaryBuilder::with_capacity(rows, 0)),
        }
    }

    /// NULL, or nothing where a value did not open.
    pub(super) fn null(&mut self) {
        match self {
            Unpacked::Int(b) => b.append_null(),
            Unpacked::UInt(b) => b.append_null(),
            Unpacked::Float32(b) => b.append_null(),
            Unpacked::Float64(b) => b.append_null(),
            Unpacked::Text(b) => b.append_null(),
            Unpacked::Bytes(b) => b.append_null(),
        }
    }

    /// The array.
    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Unpacked::Int(mut b) => Arc::new(b.finish()),
            Unpacked::UInt(mut b) => Arc::new(b.finish()),
            Unpacked::Float32(mut b) => Arc::new(b.finish()),
            Unpacked::Float64(mut b) => Arc::new(b.finish()),
            Unpacked::Text(mut b) => Arc::new(b.finish()),
            Unpacked::Bytes(mut b) => Arc::new(b.finish()),
        }
    }
}

/// Appends one opened value to a column of `kind`, for which `out` was made. What goes where:
///
/// | sealed as | opens as |
/// |---|---|
/// | integer | `Int`, `UInt` (in range), `Decimal`, `Text`, `Any` (signed range) |
/// | single precision | `Float32`, `Float64`, `Any` |
/// | double precision | `Float64`, `Any`, `Float32` if nothing is lost |
/// | decimal | `Decimal`, `Text`, `Any` (as text); `Int`, `UInt` if written without a point |
/// | text | `Text`, `Any`; any of `Int`, `UInt`, `Decimal`, `Date`, `DateTime`, `Time` whose canonical form it is |
/// | bytes | `Bytes`, `Any` |
/// | date | `Date`, `DateTime` (midnight), `Text`, `Any` (as text) |
/// | date and time | `DateTime`, `Date` if midnight, `Text`, `Any` (as text) |
/// | duration | `Time`, `Text`, `Any` (as text) |
pub(super) fn unpack(plain: &[u8], kind: Kind, out: &mut Unpacked) -> Result<(), Misfit> {
    let tag = plain.first().copied().unwrap_or_default();
    let content = plain.get(1..).unwrap_or_default();
    append(tag, content, kind, out).ok_or(Misfit { tag, into: kind })
}

fn append(tag: u8, content: &[u8], kind: Kind, out: &mut Unpacked) -> Option<()> {
    match (kind, out) {
        (Kind::Int, Unpacked::Int(b)) => b.append_value(integer(tag, content)?.parse().ok()?),
        (Kind::UInt, Unpacked::UInt(b)) => b.append_value(integer(tag, content)?.parse().ok()?),
        (Kind::Float32, Unpacked::Float32(b)) => b.append_value(match tag {
            b'e' => f32::from_bits(u32::from_be_bytes(content.try_into().ok()?)),
            _ => narrow(float(tag, content)?)?,
        }),
        (Kind::Float64, Unpacked::Float64(b)) => b.append_value(float(tag, content)?),
        (Kind::Decimal, Unpacked::Text(b)) => {
            let text = textual(tag, content)?;
            (tag == b'd' || is_decimal(text)).then(|| b.append_value(text))?
        }
        (Kind::Text, Unpacked::Text(b)) => b.append_value(textual(tag, content)?),
        (Kind::Bytes, Unpacked::Bytes(b)) => (tag == b'b').then(|| b.append_value(content))?,
        (Kind::Date, Unpacked::Int(b)) => {
            let at = date_time(tag, content)?;
            (at.packed() & 0x1f_ffff_ffff == 0).then(|| b.append_value(at.packed()))?
        }
        (Kind::DateTime, Unpacked::Int(b)) => b.append_value(date_time(tag, content)?.packed()),
        (Kind::Time, Unpacked::Int(b)) => b.append_value(match tag {
            b'm' | b't' => duration(std::str::from_utf8(content).ok()?)?,
            _ => return None,
        }),
        (Kind::Any, Unpacked::Bytes(b)) => match tag {
            b'i' => b.append_value(Value::Int(integer(tag, content)?.parse().ok()?).to_tagged()?),
            b'e' | b'f' => b.append_value(Value::Float(float(tag, content)?).to_tagged()?),
            b'b' => b.append_value([b"b", content].concat()),
            _ => b.append_value([b"t", textual(tag, content)?.as_bytes()].concat()),
        },
        _ => return None,
    }
    Some(())
}

/// The text of a value whose form is text.
fn textual(tag: u8, content: &[u8]) -> Option<&str> {
    matches!(tag, b'i' | b'd' | b't' | b'a' | b's' | b'm')
        .then(|| std::str::from_utf8(content).ok())?
}

/// Digits with an optional minus, in the one spelling an integer has.
fn integer(tag: u8, content: &[u8]) -> Option<&str> {
    let text = matches!(tag, b'i' | b'd' | b't').then(|| std::str::from_utf8(content).ok())??;
    is_whole(text.strip_prefix('-').unwrap_or(text)).then_some(())?;
    (text != "-0").then_some(text)
}

fn is_whole(digits: &str) -> bool {
    !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'))
}

/// A decimal in a spelling that survives: no exponent, no leading zeros, no negative zero.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let negative_zero = text.len() > unsigned.len() && !unsigned.bytes().any(|b| b > b'0');
    is_whole(whole)
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
        && !negative_zero
}

fn float(tag: u8, content: &[u8]) -> Option<f64> {
    match tag {
        b'e' => Some(f64::from(f32::from_bits(u32::from_be_bytes(content.try_into().ok()?)))),
        b'f' => Some(f64::from_bits(u64::from_be_bytes(content.try_into().ok()?))),
        _ => None,
    }
}

fn narrow(v: f64) -> Option<f32> {
    let narrow = v as f32;
    (f64::from(narrow).to_bits() == v.to_bits()).then_some(narrow)
}

fn date_time(tag: u8, content: &[u8]) -> Option<DateTime> {
    let text = std::str::from_utf8(content).ok()?;
    matches!(tag, b'a' | b's' | b't').then(|| DateTime::parse(text))?
}

/// A duration, unless its text says more than its value (`007:…`, `-00:00:00`).
fn duration(text: &str) -> Option<i64> {
    let micros = parse_time(text)?;
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32);
    (time_text(micros, digits) == text).then_some(micros)
}
