//! Into MySQL and MariaDB, in strict mode. What the server would change without a word although
//! strict (rounded fractions, cut blanks, padded bytes) the connector refuses row by row; what
//! neither notices is lossy here.

use super::Fidelity::{self, Checked, Exact, Lossy, Refused};
use super::{Origin, charset, range};
use crate::crypto;
use crate::schema::{Column, Kind};

/// Integers up to this size are single precision exactly.
const FLOAT_INTEGER_MAX: i128 = 1 << 24;
/// Integers up to this size are double precision exactly.
const DOUBLE_INTEGER_MAX: i128 = 1 << 53;
/// Decimals of so many digits survive as single precision.
const FLOAT_DIGITS: u32 = 6;
/// Decimals of so many digits survive as double precision.
const DOUBLE_DIGITS: u32 = 15;

pub fn judge(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    match dest.family.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => integer(source, dest),
        "year" => year(source, dest),
        "decimal" => decimal(source, dest),
        "float" | "double" => float(source, origin, dest),
        "bit" => bit(source, dest),
        "date" => date(source),
        "datetime" | "timestamp" => date_time(source, origin, dest),
        "time" => time(source, dest),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            text(source, origin, dest)
        }
        "enum" | "set" => list(source, dest),
        "json" => json(source, origin),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            bytes(source, dest)
        }
        "uuid" | "inet4" | "inet6" => same_family(source, dest, "has a spelling of its own"),
        "vector" => same_declaration(source, dest),
        _ if is_geometry(&dest.family) => geometry(source, dest),
        _ => refused("this type is not known"),
    }
}

/// Characters of an envelope that fit; `None` where no envelope can stand.
pub fn envelope_width(dest: &Column) -> Option<u64> {
    match dest.family.as_str() {
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            let (ascii, _) = charset::bytes_per_char(dest.charset.as_deref());
            dest.max_chars.or(dest.max_bytes.map(|b| b / ascii))
        }
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => dest.max_bytes,
        _ => None,
    }
}

fn integer(source: &Column, dest: &Column) -> Fidelity {
    let Some((min, max)) = range::integers(dest) else {
        return refused("the range of the destination is not known");
    };
    match source.kind {
        Kind::Int | Kind::UInt => match range::integers(source) {
            Some((least, most)) if least >= min && most <= max => Exact,
            _ => Checked(format!("numbers below {min} or above {max} do not fit")),
        },
        Kind::Decimal => {
            let (whole, scale) = range::digits(source);
            let most = 10i128.checked_pow(whole).map(|n| n - 1);
            let least = most.map(|n| if range::is_unsigned(source) { 0 } else { -n });
            match (least, most) {
                _ if scale > 0 => checked("numbers with a fraction do not fit"),
                (Some(least), Some(most)) if least >= min && most <= max => Exact,
                _ => Checked(format!("numbers below {min} or above {max} do not fit")),
            }
        }
        Kind::Float32 | Kind::Float64 => {
            Checked(format!("numbers with a fraction, below {min} or above {max} do not fit"))
        }
        Kind::Text if !range::is_free_text(source) => refused("no numbers"),
        Kind::Text => lossy("text such as 007 would become the number 7"),
        Kind::Any => Checked(format!("only whole numbers from {min} to {max} fit")),
        Kind::Bytes => refused("bytes are no numbers"),
        Kind::Date | Kind::DateTime | Kind::Time => refused("times are no numbers"),
    }
}

fn year(source: &Column, dest: &Column) -> Fidelity {
    let two_digits = |c: &Column| c.declared.to_ascii_lowercase().starts_with("year(2)");
    match source.kind {
        _ if two_digits(source) || two_digits(dest) => {
            refused("a year of two digits has no century")
        }
        Kind::Int if source.family == "year" => Exact,
        Kind::Int | Kind::UInt | Kind::Any => checked("only 0 and the years from 1901 to 2155 fit"),
        Kind::Text if !range::is_free_text(source) => refused("no years"),
        Kind::Text => lossy("text is read as the server reads years"),
        Kind::Decimal
        | Kind::Float32
        | Kind::Float64
        | Kind::Bytes
        | Kind::Date
        | Kind::DateTime
        | Kind::Time => refused("only integers are years"),
    }
}

fn decimal(source: &Column, dest: &Column) -> Fidelity {
    let (whole, scale) = range::digits(dest);
    let sign = signs(source, dest);
    let large =
        || Checked(format!("numbers of more than {whole} digits before the point do not fit"));
    match source.kind {
        Kind::Int | Kind::UInt => {
            let (min, max) = range::integers(source).unwrap_or((i128::MIN, i128::MAX));
            let limit = 10i128.checked_pow(whole).unwrap_or(i128::MAX);
            let size = if -limit < min && max < limit { Exact } else { large() };
            size.and(sign)
        }
        Kind::Decimal => {
            let (source_whole, source_scale) = range::digits(source);
            let size = if source_whole <= whole { Exact } else { large() };
            let fraction = match source_scale.checked_sub(scale) {
                None | Some(0) => Exact,
                Some(_) => Checked(format!(
                    "numbers that need more than {scale} digits after the point do not fit"
                )),
            };
            size.and(fraction).and(sign)
        }
        Kind::Float32 | Kind::Float64 if rounded_within(source, whole, scale) => {
            signs(source, dest)
        }
        Kind::Float32 | Kind::Float64 | Kind::Any => Checked(format!(
            "only numbers of {whole} digits before and {scale} after the point fit"
        )),
        Kind::Text if !range::is_free_text(source) => refused("no numbers"),
        Kind::Text => lossy("text such as 007.10 would become a number, and be spelt otherwise"),
        Kind::Bytes => refused("bytes are no numbers"),
        Kind::Date | Kind::DateTime | Kind::Time => refused("times are no numbers"),
    }
}

/// Whether the column is rounded to digits that a decimal of this size has. (Rounding up can need
/// one more.)
fn rounded_within(source: &Column, whole: u32, scale: u32) -> bool {
    range::rounding(source).is_some_and(|(all, after)| {
        all.saturating_sub(after) < u64::from(whole) && after <= u64::from(scale)
    })
}

fn float(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    let single = dest.family == "float";
    let (digits, integers) = match single {
        true => (FLOAT_DIGITS, FLOAT_INTEGER_MAX),
        false => (DOUBLE_DIGITS, DOUBLE_INTEGER_MAX),
    };
    let precision = if single { "single" } else { "double" };
    let rounding = match range::rounding(dest) {
        Some((all, _)) if source.declared == dest.declared => match all <= u64::from(digits) {
            true => Exact,
            false => checked("numbers that came out above the declared digits do not fit"),
        },
        Some((all, scale)) => match source.kind {
            Kind::Int | Kind::UInt | Kind::Decimal => {
                let (whole, source_scale) = range::digits(source);
                let fits = u64::from(whole) + scale <= all;
                match (u64::from(source_scale) <= scale, fits) {
                    (true, true) => Exact,
                    (true, false) => checked("numbers of more digits than declared do not fit"),
                    (false, _) => lossy("the destination rounds to the declared digits"),
                }
            }
            _ => lossy("the destination rounds to the declared digits"),
        },
        None => Exact,
    };
    let values = match source.kind {
        Kind::Int | Kind::UInt => match range::integers(source) {
            Some((min, max)) if min >= -integers && max <= integers => Exact,
            _ => Checked(format!("integers that {precision} precision would round do not fit")),
        },
        Kind::Float32 => not_finite(origin),
        Kind::Float64 if single => checked("numbers that single precision would round do not fit"),
        Kind::Float64 => not_finite(origin),
        Kind::Decimal => match range::digits(source) {
            (whole, scale) if whole + scale <= digits => Exact,
            _ => Lossy(format!("{precision} precision keeps about {digits} digits")),
        },
        Kind::Text if !range::is_free_text(source) => refused("no numbers"),
        Kind::Text => lossy("text such as 1.50 would become a number, and be spelt otherwise"),
        Kind::Any => Checked(format!("only numbers that {precision} precision holds exactly fit")),
        Kind::Bytes => refused("bytes are no numbers"),
        Kind::Date | Kind::DateTime | Kind::Time => refused("times are no numbers"),
    };
    values.and(rounding).and(signs(source, dest))
}

/// Numbers that MySQL does not have.
fn not_finite(origin: Origin) -> Fidelity {
    match origin {
        Origin::MySql => Exact,
        Origin::Sqlite => checked("infinite numbers do not fit"),
        Origin::Oracle => checked("NaN and infinite numbers do not fit"),
    }
}

fn signs(source: &Column, dest: &Column) -> Fidelity {
    match range::is_unsigned(dest) && range::may_be_negative(source) {
        true => checked("negative numbers do not fit"),
        false => Exact,
    }
}

fn bit(source: &Column, dest: &Column) -> Fidelity {
    match (source.family.as_str(), source.precision, dest.precision) {
        ("bit", Some(bits), Some(room)) if bits <= room => Exact,
        ("bit", ..) => checked("values with more bits do not fit"),
        _ if is_geometry(&source.family) => refused("geometries are no numbers"),
        _ if matches!(source.kind, Kind::Bytes | Kind::Any) => {
            lossy("bytes become a number: how many zero bytes stand in front of it is lost")
        }
        _ => refused("neither bit fields nor bytes"),
    }
}

fn date(source: &Column) -> Fidelity {
    match source.kind {
        Kind::Date => Exact,
        Kind::DateTime => zone(source).and(checked("values with a time of day do not fit")),
        Kind::Text if !spells_moment(source) => refused("no dates"),
        Kind::Text | Kind::Any => checked("only text of the form YYYY-MM-DD fits"),
        _ => refused("no dates"),
    }
}

/// Whether a column of text may spell dates that are taken.
fn spells_moment(source: &Column) -> bool {
    matches!(source.family.as_str(), "timestamp" | "timestamp_ltz") || !range::is_spelt(source)
}

/// A time with zone that travels as a moment.
fn zone(source: &Column) -> Fidelity {
    match source.family.as_str() {
        "timestamp_tz" => lossy("the zone is lost; the moment arrives in UTC"),
        _ => Exact,
    }
}

fn date_time(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    let is_timestamp = |c: &Column| c.family == "timestamp";
    let same = origin == Origin::MySql && is_timestamp(source);
    let range = match is_timestamp(dest) && !same {
        true => checked("only times from 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC fit"),
        false => Exact,
    };
    match source.kind {
        Kind::Date => range,
        Kind::DateTime => zone(source).and(range).and(fractions(source, dest)),
        Kind::Text if !spells_moment(source) => refused("no dates"),
        Kind::Text if range::is_spelt(source) => range.and(fractions(source, dest)),
        Kind::Text | Kind::Any => {
            checked("only text of the form YYYY-MM-DD hh:mm:ss fits").and(range)
        }
        _ => refused("no dates"),
    }
}

fn time(source: &Column, dest: &Column) -> Fidelity {
    match source.kind {
        // Ten days and more.
        Kind::Time if source.family == "interval_ds" && source.precision > Some(1) => {
            checked("durations beyond 838:59:59 do not fit").and(fractions(source, dest))
        }
        Kind::Time => fractions(source, dest),
        Kind::Text if range::is_spelt(source) => refused("no times of this form"),
        Kind::Text | Kind::Any => checked("only text of the form hh:mm:ss fits"),
        _ => refused("no durations"),
    }
}

fn fractions(source: &Column, dest: &Column) -> Fidelity {
    match range::fraction(dest) {
        room if range::fraction(source) <= room => Exact,
        0 => checked("values with a fraction of a second do not fit"),
        room => Checked(format!(
            "values with more than {room} digits of a second's fraction do not fit"
        )),
    }
}

fn text(source: &Column, origin: Origin, dest: &Column) -> Fidelity {
    let blanks = match dest.family == "char" && range::may_end_blank(source) {
        true => checked("text that ends in blanks does not fit a CHAR column, which drops them"),
        false => Exact,
    };
    match source.kind {
        Kind::Text => {
            let characters = match charset::covers(dest.charset.as_deref(), range::charset(source))
            {
                true => Exact,
                false => Checked(format!(
                    "characters that {} does not have do not fit",
                    dest.charset.as_deref().unwrap_or("the destination")
                )),
            };
            zone_name(source).and(room(source, dest)).and(characters).and(blanks)
        }
        Kind::Int | Kind::UInt | Kind::Decimal | Kind::Date | Kind::DateTime | Kind::Time => {
            room(source, dest)
        }
        Kind::Float32 | Kind::Float64 => not_finite(origin).and(room(source, dest)),
        Kind::Any => checked("only values stored as TEXT fit").and(room(source, dest)).and(blanks),
        Kind::Bytes => refused("bytes have no character set"),
    }
}

/// A time with zone travels as text with the zone's offset.
fn zone_name(source: &Column) -> Fidelity {
    match source.family.as_str() {
        "timestamp_tz" => lossy("a zone that has a name becomes its offset at that time"),
        _ => Exact,
    }
}

/// Whether the widest value finds room in a column of text.
fn room(source: &Column, dest: &Column) -> Fidelity {
    let chars = range::chars_max(source);
    if let Some(fit) = dest.max_chars {
        return match chars <= fit {
            true => Exact,
            false => Checked(format!("text of more than {fit} characters does not fit")),
        };
    }
    let fit = dest.max_bytes.unwrap_or(0);
    let (ascii, most) = charset::bytes_per_char(dest.charset.as_deref());
    let bytes = match source.kind {
        Kind::Text if charset::repertoire(range::charset(source)) == charset::Repertoire::Ascii => {
            chars.saturating_mul(ascii)
        }
        Kind::Text
            if !range::is_list(source)
                && charset::same_bytes(source.charset.as_deref(), dest.charset.as_deref()) =>
        {
            range::bytes_max(source)
        }
        Kind::Text | Kind::Any => chars.saturating_mul(most),
        // Numbers and times are spelt in ASCII.
        _ => chars.saturating_mul(ascii),
    };
    match bytes <= fit {
        true => Exact,
        false => Checked(format!("text of more than {fit} bytes does not fit")),
    }
}

fn list(source: &Column, dest: &Column) -> Fidelity {
    if !matches!(source.kind, Kind::Text | Kind::Any) {
        return refused("only text names members");
    }
    if !range::is_list(source) || (source.family == "set" && dest.family == "enum") {
        let bytewise = dest.collation.as_deref().is_some_and(|c| c.ends_with("_bin"));
        return match (range::is_free_text(source), bytewise && !range::may_end_blank(source)) {
            (false, _) => refused("no members of this list"),
            (true, true) => checked("only members of the list fit"),
            (true, false) => {
                lossy("text that the collation takes for a member would become that member")
            }
        };
    }
    let place = |m: &String| dest.members.iter().position(|d| d == m);
    let places: Vec<_> = source.members.iter().map(place).collect();
    let ordered = source.family != "set" || places.iter().flatten().is_sorted();
    let order = match ordered {
        true => Exact,
        false => lossy("the members stand in another order, and so does every value's text"),
    };
    if places.iter().any(Option::is_none) {
        let missing: Vec<_> = source
            .members
            .iter()
            .filter(|m| place(m).is_none())
            .map(|m| format!("'{m}'"))
            .collect();
        let alike = |m: &String| {
            let lower = m.to_lowercase();
            !m.is_ascii() || dest.members.iter().any(|d| !d.is_ascii() || d.to_lowercase() == lower)
        };
        let missing = missing.join(", ");
        let members = match source.members.iter().filter(|m| place(m).is_none()).any(alike) {
            true => Lossy(format!("{missing} might be taken for another member")),
            false => Checked(format!("the destination has no member {missing}")),
        };
        return members.and(order);
    }
    order
}

fn json(source: &Column, origin: Origin) -> Fidelity {
    match source.kind {
        Kind::Text if source.family == "json" && origin == Origin::MySql => Exact,
        Kind::Text if range::is_spelt(source) => refused("no JSON"),
        Kind::Text | Kind::Any => lossy(
            "the server keeps JSON in a form of its own: blanks, order and doubled keys change",
        ),
        _ => refused("only text is JSON"),
    }
}

fn bytes(source: &Column, dest: &Column) -> Fidelity {
    let fit = dest.max_bytes.unwrap_or(0);
    let fixed = dest.family == "binary";
    // Text goes as its UTF-8.
    let (least, most) = match source.kind {
        // Four bytes name the reference system, then one, four, and two times eight.
        Kind::Bytes if source.family == "point" => (25, 25),
        Kind::Bytes if matches!(source.family.as_str(), "binary" | "bit") => {
            (range::bytes_max(source), range::bytes_max(source))
        }
        Kind::Bytes => (0, range::bytes_max(source)),
        Kind::Text => {
            (0, crypto::plain_len_max(source).unwrap_or_else(|| range::bytes_max(source)))
        }
        Kind::Any => (0, range::bytes_max(source)),
        _ => return refused("numbers and times are no bytes"),
    };
    let wide = match most <= fit {
        true => Exact,
        false => Checked(format!("values of more than {fit} bytes do not fit")),
    };
    let own = match source.kind {
        Kind::Any => checked("only values stored as BLOB fit"),
        _ => Exact,
    };
    let wide = own.and(wide);
    match fixed && least < fit {
        true => wide.and(Checked(format!(
            "values of less than {fit} bytes do not fit, because the column would fill them up with zeros"
        ))),
        false => wide,
    }
}

fn geometry(source: &Column, dest: &Column) -> Fidelity {
    match source.kind {
        Kind::Bytes if source.family == dest.family => Exact,
        Kind::Bytes if is_geometry(&source.family) && dest.family == "geometry" => Exact,
        Kind::Bytes if source.family == "geometry" => {
            checked("only geometries of the destination's type fit")
        }
        Kind::Bytes if is_geometry(&source.family) => refused("other geometries"),
        Kind::Bytes | Kind::Any => checked("only geometries in the server's own form fit"),
        _ => refused("no geometries"),
    }
}

/// Whether values of this type are geometries.
fn is_geometry(family: &str) -> bool {
    matches!(
        family,
        "geometry"
            | "point"
            | "linestring"
            | "polygon"
            | "multipoint"
            | "multilinestring"
            | "multipolygon"
            | "geometrycollection"
            | "geomcollection"
    )
}

fn same_family(source: &Column, dest: &Column, why: &str) -> Fidelity {
    match source.kind {
        Kind::Text if source.family == dest.family => Exact,
        // The shortest spellings: thirty-two digits, 1.2.3.4, ::
        Kind::Text
            if !range::is_free_text(source)
                || range::chars_max(source)
                    < match dest.family.as_str() {
                        "uuid" => 32,
                        "inet4" => 7,
                        _ => 2,
                    } =>
        {
            Refused(format!("no value is one of type {}", dest.family))
        }
        Kind::Text | Kind::Any => Lossy(format!("{} {why}", dest.family)),
        _ => Refused(format!("{} is given as text", dest.family)),
    }
}

fn same_declaration(source: &Column, dest: &Column) -> Fidelity {
    match source.declared == dest.declared {
        true => Exact,
        false => refused("other dimensions"),
    }
}

fn checked(why: &str) -> Fidelity {
    Checked(why.to_owned())
}

fn lossy(why: &str) -> Fidelity {
    Lossy(why.to_owned())
}

fn refused(why: &str) -> Fidelity {
    Refused(why.to_owned())
}
