//! MySQL's types in one table: how each travels, its limits, and how its text is encoded.

use crate::schema::{Column, Kind};

/// How values of a declared type travel; `None` for a type this connector does not know.
///
/// | family | kind | note |
/// |---|---|---|
/// | tinyint … int, year | Int | `int unsigned` fits too; a year is its number |
/// | bigint | Int, UInt | UInt when unsigned |
/// | float | Float32 | the binary protocol carries the bits |
/// | double | Float64 | |
/// | decimal | Decimal | its text, zero-fill stripped |
/// | bit | Bytes | big-endian, as the server sends them |
/// | date, datetime, timestamp | Date, DateTime | timestamps in UTC (session time zone) |
/// | time | Time | microseconds |
/// | char … longtext, enum, set, json | Text | a set is its members joined by commas |
/// | uuid, inet4, inet6 | Text | MariaDB |
/// | binary … longblob, vector | Bytes | |
/// | geometry … | Bytes | the server's own form, SRID and WKB |
pub(super) fn kind_of(family: &str, unsigned: bool) -> Option<Kind> {
    Some(match family {
        "tinyint" | "smallint" | "mediumint" | "int" | "year" => Kind::Int,
        "bigint" if unsigned => Kind::UInt,
        "bigint" => Kind::Int,
        "float" => Kind::Float32,
        "double" => Kind::Float64,
        "decimal" => Kind::Decimal,
        "date" => Kind::Date,
        "datetime" | "timestamp" => Kind::DateTime,
        "time" => Kind::Time,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
        | "json" | "uuid" | "inet4" | "inet6" => Kind::Text,
        "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
        | "vector" => Kind::Bytes,
        _ if is_geometry(family) => Kind::Bytes,
        _ => return None,
    })
}

/// Whether values of this type are geometries.
pub(super) fn is_geometry(family: &str) -> bool {
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

/// Smallest and largest value of an integer type.
pub(super) fn range_of(family: &str, unsigned: bool) -> Option<(i64, u64)> {
    let bits = match family {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        "year" => return Some((0, 2155)),
        _ => return None,
    };
    Some(if unsigned {
        (0, u64::MAX >> (64 - bits))
    } else {
        (i64::MIN >> (64 - bits), u64::MAX >> (65 - bits))
    })
}

/// How the bytes of a text column are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextRoute {
    /// They are UTF-8 (or not valid).
    Utf8,
    /// They are ASCII (or not valid).
    Ascii,
    /// Each byte is one character of Windows code page 1252, its gaps filled with C1 controls:
    /// what MySQL calls `latin1`.
    Latin1,
    /// The server converts to UTF-8 and back; where the two differ, or the value is an enum's
    /// error value, [`UNREADABLE`] stands in its place.
    Checked,
}

/// What a checked conversion yields for a value that cannot be converted without loss: a text
/// that begins with a code point that no character set but Unicode's own can produce, and
/// Unicode sets aside.
pub(super) const UNREADABLE: &str = "\u{10FFFF}ssync:unreadable";

/// The route of a text column.
pub(super) fn text_route(column: &Column) -> TextRoute {
    // An enum's error value (index 0) reads as ''. Where '' is a member, too, only the number
    // tells them apart.
    if column.family == "enum" && column.members.iter().any(String::is_empty) {
        return TextRoute::Checked;
    }
    match column.charset.as_deref() {
        None | Some("utf8" | "utf8mb3" | "utf8mb4" | "binary") => TextRoute::Utf8,
        Some("ascii") => TextRoute::Ascii,
        Some("latin1") => TextRoute::Latin1,
        Some(_) => TextRoute::Checked,
    }
}

/// The characters of code page 1252 at 0x80 to 0x9F, as MySQL's `latin1` has them.
const CP1252: [char; 32] = [
    '\u{20AC}', '\u{81}', '\u{201A}', '\u{192}', '\u{201E}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2C6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8D}', '\u{17D}', '\u{8F}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201C}', '\u{201D}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2DC}', '\u{2122}', '\u{161}', '\u{203A}', '\u{153}', '\u{9D}', '\u{17E}', '\u{178}',
];

/// Appends the characters of `latin1` bytes.
pub(super) fn push_latin1(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().map(|b| match b {
        0x80..=0x9f => CP1252[usize::from(b - 0x80)],
        b => char::from(*b),
    }));
}

/// The members of `enum('a','b')` or `set(…)`, as information_schema shows it: quotes doubled,
/// a few characters escaped.
pub(super) fn members_of(declared: &str) -> Vec<String> {
    let Some(open) = declared.find('(') else { return Vec::new() };
    let mut members = Vec::new();
    let mut chars = declared[open + 1..].chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\'' {
            if c == ')' {
                break;
            }
            continue;
        }
        let mut member = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.peek() == Some(&'\'') => {
                    chars.next();
                    member.push('\'');
                }
                '\'' => break,
                '\\' => match chars.next() {
                    Some('0') => member.push('\0'),
                    Some('n') => member.push('\n'),
                    Some('r') => member.push('\r'),
                    Some(other) => member.push(other),
                    None => break,
                },
                c => member.push(c),
            }
        }
        members.push(member);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_servers() {
        assert_eq!(range_of("tinyint", false), Some((-128, 127)));
        assert_eq!(range_of("mediumint", true), Some((0, 16_777_215)));
        assert_eq!(range_of("bigint", false), Some((i64::MIN, i64::MAX as u64)));
        assert_eq!(range_of("bigint", true), Some((0, u64::MAX)));
        assert_eq!(range_of("double", false), None);
    }

    #[test]
    fn members_survive_quoting() {
        assert_eq!(
            members_of(r"enum('a','it''s','x,y)','','\\','tab\0')"),
            ["a", "it's", "x,y)", "", "\\", "tab\0"]
        );
        assert!(members_of("int(11)").is_empty());
    }
}
