//! What SQLite is given for a value on its way into a column, so that the column holds this very
//! value afterwards: judged here beforehand, because SQLite's own conversions say nothing.
//!
//! The rules, by the column's affinity:
//!
//! | | integers | reals | decimals | text | bytes | dates and times |
//! |---|---|---|---|---|---|---|
//! | integer | as they are | integral ones | integral ones | the plain spelling of an integer | – | – |
//! | real | up to 2^53, and larger ones that a real holds | as they are | those a real holds | the spelling of a real | – | – |
//! | numeric | as they are | as they are | integers, and those a real holds | not numeric, or spelt as SQLite would | as they are | as text |
//! | text | as text | as text | as text | as it is | if UTF-8 | as text |
//! | blob | – | – | – | its bytes | as they are | – |
//! | any | as they are | as they are | as text | as it is | as they are | as text |
//!
//! NaN (SQLite would store NULL) fits no number column, an infinity no text, a negative zero no
//! number column but an `any` one (SQLite would drop its sign). A value that carries its own type ([`Kind::Any`]) keeps
//! it, or does not fit; only a number may become the same number of the other type, in a column
//! declared with that type.
//!
//! [`Kind::Any`]: crate::schema::Kind::Any

use std::borrow::Cow;

use super::affinity::Affinity;
use crate::value::{DateTime, time_text};

/// A value on its way in, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// Signed integer.
    Int(i64),
    /// Unsigned integer.
    UInt(u64),
    /// Single precision.
    Float32(f32),
    /// Double precision.
    Float64(f64),
    /// Decimal as plain text.
    Decimal(&'a str),
    /// Characters.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Date.
    Date(DateTime),
    /// Date and time of day.
    DateTime(DateTime),
    /// Duration in microseconds.
    Time(i64),
    /// A tagged value.
    Any(&'a [u8]),
}

/// What is bound.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Int(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(Cow<'a, str>),
    /// BLOB.
    Blob(&'a [u8]),
}

/// Why a value does not fit its column, without the value.
pub type Misfit = &'static str;

const NAN: Misfit = "not a number (NaN), which SQLite would store as NULL";
const INFINITY: Misfit = "an infinite number, which has no spelling as text";
const NEGATIVE_ZERO: Misfit = "a negative zero, which SQLite would store without its sign";
const NOT_INTEGER: Misfit = "not a 64-bit integer";
const NOT_REAL: Misfit = "a number that double precision does not hold exactly";
const NOT_NUMBER: Misfit = "a number that neither an integer nor double precision holds exactly";
const SPELLING: Misfit = "text that SQLite would store as a number and give back spelt otherwise";
const RETYPED: Misfit = "a value whose own type the column would change";
const NOT_TEXT: Misfit = "bytes that are not UTF-8, for a column of text";
const NOT_BYTES: Misfit = "neither bytes nor text, for a column of bytes";
const NO_NUMBER: Misfit = "no number, for a column of numbers";
const GARBLED: Misfit = "a tagged value that cannot be read";

/// What to bind, or why the value does not fit.
pub fn store(cell: Cell<'_>, affinity: Affinity) -> Result<Stored<'_>, Misfit> {
    let cell = match cell {
        Cell::Null => return Ok(Stored::Null),
        Cell::Any(tagged) => {
            return own_type(untag(tagged).ok_or(GARBLED)?, affinity);
        }
        other => other,
    };
    match affinity {
        Affinity::Integer => integer(cell),
        Affinity::Real => real(cell),
        Affinity::Numeric => numeric(cell),
        Affinity::Text => text(cell),
        Affinity::Blob => match cell {
            Cell::Bytes(b) => Ok(Stored::Blob(b)),
            Cell::Text(t) => Ok(Stored::Blob(t.as_bytes())),
            _ => Err(NOT_BYTES),
        },
        Affinity::Any => as_it_is(cell),
    }
}

/// The number that a decimal is, where an integer or a real is exactly that number.
fn number_of(decimal: &str) -> Option<Stored<'static>> {
    let wanted = Digits::of(decimal)?;
    if let Some(v) = wanted.integer() {
        return Some(Stored::Int(v));
    }
    let v: f64 = decimal.parse().ok()?;
    (v.is_finite() && Digits::of(&format!("{v:?}")) == Some(wanted)).then_some(Stored::Real(v))
}

fn integer(cell: Cell<'_>) -> Result<Stored<'_>, Misfit> {
    let whole = |v: f64| {
        let fits = v.trunc() == v && (-TWO_63..TWO_63).contains(&v);
        match fits {
            true if is_negative_zero(v) => Err(NEGATIVE_ZERO),
            true => Ok(Stored::Int(v as i64)),
            false => Err(NOT_INTEGER),
        }
    };
    match cell {
        Cell::Int(v) => Ok(Stored::Int(v)),
        Cell::UInt(v) => i64::try_from(v).map(Stored::Int).map_err(|_| NOT_INTEGER),
        Cell::Float32(v) => whole(f64::from(v)),
        Cell::Float64(v) => whole(v),
        Cell::Decimal(d) => match Digits::of(d).and_then(|d| d.integer()) {
            Some(v) => Ok(Stored::Int(v)),
            None => Err(NOT_INTEGER),
        },
        Cell::Text(t) => plain_integer(t).map(Stored::Int).ok_or(match looks_numeric(t) {
            true => SPELLING,
            false => NO_NUMBER,
        }),
        _ => Err(NO_NUMBER),
    }
}

fn real(cell: Cell<'_>) -> Result<Stored<'_>, Misfit> {
    match cell {
        Cell::Int(v) if (v as f64) as i128 == i128::from(v) => Ok(Stored::Real(v as f64)),
        Cell::UInt(v) if (v as f64) as u128 == u128::from(v) => Ok(Stored::Real(v as f64)),
        Cell::Int(_) | Cell::UInt(_) => Err(NOT_REAL),
        Cell::Float32(v) => real(Cell::Float64(f64::from(v))),
        Cell::Float64(v) if v.is_nan() => Err(NAN),
        Cell::Float64(v) if is_negative_zero(v) => Err(NEGATIVE_ZERO),
        Cell::Float64(v) => Ok(Stored::Real(v)),
        Cell::Decimal(d) => match number_of(d) {
            Some(Stored::Int(v)) => real(Cell::Int(v)),
            Some(stored) => Ok(stored),
            None => Err(NOT_REAL),
        },
        Cell::Text(t) => match t.parse::<f64>() {
            Ok(v) if looks_numeric(t) && !is_negative_zero(v) && format!("{v:?}") == t => {
                Ok(Stored::Real(v))
            }
            _ if looks_numeric(t) => Err(SPELLING),
            _ => Err(NO_NUMBER),
        },
        _ => Err(NO_NUMBER),
    }
}

fn numeric(cell: Cell<'_>) -> Result<Stored<'_>, Misfit> {
    match cell {
        Cell::Float32(v) => numeric(Cell::Float64(f64::from(v))),
        Cell::Float64(v) if is_negative_zero(v) => Err(NEGATIVE_ZERO),
        Cell::Decimal(d) => number_of(d).ok_or(NOT_NUMBER),
        Cell::Text(t) if looks_numeric(t) => match (plain_integer(t), t.parse::<f64>()) {
            (Some(v), _) => Ok(Stored::Int(v)),
            (None, Ok(v)) if !becomes_integer(v) && format!("{v:?}") == t => Ok(Stored::Real(v)),
            _ => Err(SPELLING),
        },
        other => as_it_is(other),
    }
}

/// A value with its own type: only where that type stays, or a number stays the same number.
fn own_type(own: Cell<'_>, affinity: Affinity) -> Result<Stored<'_>, Misfit> {
    match (affinity, own) {
        (Affinity::Numeric, Cell::Float64(v)) if becomes_integer(v) => Err(RETYPED),
        (Affinity::Numeric, Cell::Text(t)) if looks_numeric(t) => Err(RETYPED),
        (Affinity::Numeric | Affinity::Any, _)
        | (Affinity::Text, Cell::Text(_))
        | (Affinity::Blob, Cell::Bytes(_)) => as_it_is(own),
        (Affinity::Integer | Affinity::Real, Cell::Int(_) | Cell::Float64(_)) => {
            store(own, affinity)
        }
        _ => Err(RETYPED),
    }
}

fn text(cell: Cell<'_>) -> Result<Stored<'_>, Misfit> {
    let spelt = |text: String, finite: bool| match finite {
        true => Ok(Stored::Text(text.into())),
        false => Err(INFINITY),
    };
    match cell {
        Cell::Int(v) => Ok(Stored::Text(v.to_string().into())),
        Cell::UInt(v) => Ok(Stored::Text(v.to_string().into())),
        Cell::Float32(v) if v.is_nan() => Err(NAN),
        Cell::Float64(v) if v.is_nan() => Err(NAN),
        Cell::Float32(v) => spelt(format!("{v:?}"), v.is_finite()),
        Cell::Float64(v) => spelt(format!("{v:?}"), v.is_finite()),
        Cell::Bytes(b) => {
            std::str::from_utf8(b).map(|t| Stored::Text(t.into())).map_err(|_| NOT_TEXT)
        }
        other => as_it_is(other),
    }
}

fn as_it_is(cell: Cell<'_>) -> Result<Stored<'_>, Misfit> {
    Ok(match cell {
        Cell::Null => Stored::Null,
        Cell::Int(v) => Stored::Int(v),
        Cell::UInt(v) => Stored::Int(i64::try_from(v).map_err(|_| NOT_INTEGER)?),
        Cell::Float32(v) if v.is_nan() => return Err(NAN),
        Cell::Float32(v) => Stored::Real(f64::from(v)),
        Cell::Float64(v) if v.is_nan() => return Err(NAN),
        Cell::Float64(v) => Stored::Real(v),
        Cell::Decimal(t) | Cell::Text(t) => Stored::Text(t.into()),
        Cell::Bytes(b) => Stored::Blob(b),
        Cell::Date(d) => Stored::Text(d.date_text().into()),
        Cell::DateTime(d) => Stored::Text(d.text(if d.parts().6 == 0 { 0 } else { 6 }).into()),
        Cell::Time(t) => Stored::Text(time_text(t, if t % 1_000_000 == 0 { 0 } else { 6 }).into()),
        Cell::Any(tagged) => as_it_is(untag(tagged).ok_or(GARBLED)?)?,
    })
}

/// Reads a tagged value (see [`crate::value::Value::to_tagged`]) in place.
fn untag(bytes: &[u8]) -> Option<Cell<'_>> {
    let (tag, rest) = bytes.split_first()?;
    Some(match tag {
        b'i' => Cell::Int(i64::from_le_bytes(rest.try_into().ok()?)),
        b'f' => Cell::Float64(f64::from_bits(u64::from_le_bytes(rest.try_into().ok()?))),
        b't' => Cell::Text(std::str::from_utf8(rest).ok()?),
        b'b' => Cell::Bytes(rest),
        _ => return None,
    })
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;

/// Whether an INTEGER or NUMERIC column makes an integer of this real; it leaves the two outermost
/// ones alone.
fn becomes_integer(v: f64) -> bool {
    v.trunc() == v && v.abs() < TWO_63
}

fn is_negative_zero(v: f64) -> bool {
    v == 0.0 && v.is_sign_negative()
}

fn plain_integer(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|v| v.to_string() == text)
}

/// Whether SQLite takes the whole text for a number when an affinity asks it to:
/// blanks, sign, digits with at most one point, exponent, blanks. It looks no further than a zero
/// byte: `6` and a zero byte becomes the number 6, whatever follows.
fn looks_numeric(text: &str) -> bool {
    let text = text.split('\0').next().unwrap_or_default();
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let text = text.trim_matches(blank);
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n = digits(exponent);
        return n > 0 && n == exponent.len();
    }
    rest.is_empty()
}

/// A decimal's value, independent of how it is spelt.
#[derive(PartialEq, Eq)]
struct Digits {
    negative: bool,
    /// Without leading or trailing zeros; empty for zero.
    significant: String,
    /// The value is 0.significant × 10^exponent.
    exponent: i64,
}

impl Digits {
    fn of(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: String = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0');
        let leading = all.len() - significant.len();
        let exponent = whole.len() as i64 - leading as i64 + i64::from(power);
        let significant = significant.trim_end_matches('0').to_owned();
        if significant.is_empty() {
            return Some(Digits { negative: false, significant, exponent: 0 });
        }
        Some(Digits { negative, significant, exponent })
    }

    /// The value, if it is a 64-bit integer.
    fn integer(&self) -> Option<i64> {
        if self.significant.is_empty() {
            return Some(0);
        }
        let zeros = usize::try_from(self.exponent - self.significant.len() as i64).ok()?;
        if zeros > 19 {
            return None;
        }
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}{}", self.significant, "0".repeat(zeros)).parse().ok()
    }
}

#[cfg(test)]
mod tests;
