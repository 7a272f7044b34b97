//! Into SQLite. The connector stores a value as it is, or as another storage class that is
//! exactly the same, or refuses its row (see the connector's own table of rules).

use super::Fidelity::{self, Checked, Exact, Lossy, Refused};
use super::{Origin, range};
use crate::schema::{Column, Kind};

/// Integers up to this size are doubles exactly.
const DOUBLE_INTEGER_MAX: i128 = 1 << 53;
/// Decimals of so many digits survive as doubles.
const DOUBLE_DIGITS: u32 = 15;

pub fn judge(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    match dest.family.as_str() {
        "integer" => integer(source),
        "real" => real(source, origin),
        "numeric" => numeric(source, origin),
        "text" => text(source, origin),
        "blob" => match source.kind {
            // Text goes as its UTF-8.
            Kind::Bytes => Exact,
            Kind::Text => zone_name(source),
            Kind::Any => checked("only values stored as BLOB fit a column of bytes"),
            Kind::Int
            | Kind::UInt
            | Kind::Float32
            | Kind::Float64
            | Kind::Decimal
            | Kind::Date
            | Kind::DateTime
            | Kind::Time => refused("numbers and times are no bytes"),
        },
        _ => any(source, origin),
    }
}

/// A time with zone travels as text with the zone's offset.
fn zone_name(source: &Column) -> Fidelity {
    match source.family.as_str() {
        "timestamp_tz" => {
            Lossy("a zone that has a name becomes its offset at that time".to_owned())
        }
        _ => Exact,
    }
}

/// Numbers that SQLite does not have, and the source may.
fn odd_numbers(origin: Origin) -> Fidelity {
    match origin {
        Origin::Sqlite => Exact,
        Origin::MySql => checked("a negative zero does not fit"),
        Origin::Oracle => checked("NaN does not fit"),
    }
}

fn integer(source: &Column) -> Fidelity {
    match source.kind {
        Kind::Int | Kind::UInt => integers_within(source, i128::from(i64::MAX)),
        Kind::Decimal => match range::digits(source) {
            (whole, 0) if whole <= 18 => Exact,
            (_, 0) => checked("numbers beyond 64 bits do not fit"),
            _ => checked("only whole numbers within 64 bits fit"),
        },
        Kind::Float32 | Kind::Float64 => checked("only whole numbers within 64 bits fit"),
        Kind::Text => checked("only the plain spelling of an integer fits"),
        Kind::Any => checked("only whole numbers within 64 bits fit"),
        Kind::Bytes => refused("bytes are no integers"),
        Kind::Date | Kind::DateTime | Kind::Time => refused("times are no integers"),
    }
}

fn real(source: &Column, origin: Origin) -> Fidelity {
    match source.kind {
        Kind::Int | Kind::UInt => match range::integers(source) {
            Some((min, max)) if min >= -DOUBLE_INTEGER_MAX && max <= DOUBLE_INTEGER_MAX => Exact,
            _ => checked("large integers that double precision would round do not fit"),
        },
        Kind::Decimal => match decimal_is_double(source) {
            true => Exact,
            false => checked("only decimals that double precision gives back fit"),
        },
        // MySQL's unsigned ones have a negative zero, too.
        Kind::Float32 | Kind::Float64 => odd_numbers(origin),
        Kind::Text => checked("only the shortest spelling of a real number fits"),
        Kind::Any => checked("only numbers that double precision holds exactly fit"),
        Kind::Bytes => refused("bytes are no numbers"),
        Kind::Date | Kind::DateTime | Kind::Time => refused("times are no numbers"),
    }
}

fn numeric(source: &Column, origin: Origin) -> Fidelity {
    match source.kind {
        Kind::Int | Kind::UInt => integers_within(source, i128::from(i64::MAX)),
        Kind::Decimal => match (range::digits(source), decimal_is_double(source)) {
            (_, true) => Exact,
            ((whole, 0), _) if whole <= 18 => Exact,
            _ => checked("only decimals that 64 bits or double precision give back fit"),
        },
        Kind::Float32 | Kind::Float64 => odd_numbers(origin),
        Kind::Text if source.family == "timestamp_tz" => zone_name(source),
        Kind::Text if !range::is_free_text(source) && !may_respell(source) => Exact,
        Kind::Text => checked("text that spells a number otherwise than SQLite would does not fit"),
        Kind::Any if source.family == "numeric" => Exact,
        Kind::Any => checked("values to which the column would give another type do not fit"),
        Kind::Bytes | Kind::Date | Kind::DateTime | Kind::Time => Exact,
    }
}

fn text(source: &Column, origin: Origin) -> Fidelity {
    match source.kind {
        Kind::Float32 | Kind::Float64 => match origin {
            Origin::MySql => Exact,
            Origin::Sqlite => checked("an infinite number has no spelling"),
            Origin::Oracle => checked("NaN and infinite numbers have no spelling"),
        },
        Kind::Text => zone_name(source),
        Kind::Int | Kind::UInt | Kind::Decimal | Kind::Date | Kind::DateTime | Kind::Time => Exact,
        Kind::Bytes => checked("only bytes that are UTF-8 fit a column of text"),
        Kind::Any => checked("only values stored as TEXT fit a column of text"),
    }
}

fn any(source: &Column, origin: Origin) -> Fidelity {
    match source.kind {
        Kind::Int | Kind::UInt => integers_within(source, i128::from(i64::MAX)),
        Kind::Float32 | Kind::Float64 if origin == Origin::Oracle => checked("NaN does not fit"),
        Kind::Text => zone_name(source),
        Kind::Float32
        | Kind::Float64
        | Kind::Decimal
        | Kind::Bytes
        | Kind::Date
        | Kind::DateTime
        | Kind::Time
        | Kind::Any => Exact,
    }
}

/// Whether SQLite might take one of the members for a number that it spells otherwise. Addresses
/// and the like are no numbers, nor are several members of a set with commas between.
fn may_respell(source: &Column) -> bool {
    let plain = |m: &String| m.parse::<i64>().is_ok_and(|n| n.to_string() == *m);
    let number = |m: &String| {
        m.trim_start().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
    };
    source.members.iter().any(|m| number(m) && !plain(m))
}

fn integers_within(source: &Column, limit: i128) -> Fidelity {
    match range::integers(source) {
        Some((_, max)) if max <= limit => Exact,
        _ => checked("numbers above 9223372036854775807 do not fit"),
    }
}

fn decimal_is_double(source: &Column) -> bool {
    let (whole, scale) = range::digits(source);
    whole + scale <= DOUBLE_DIGITS
}

fn checked(why: &str) -> Fidelity {
    Checked(why.to_owned())
}

fn refused(why: &str) -> Fidelity {
    Refused(why.to_owned())
}
