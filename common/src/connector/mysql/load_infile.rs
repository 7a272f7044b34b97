//! `LOAD DATA LOCAL INFILE` from memory: the content, the statement, and what the server says.
//!
//! One line per row, tabs between, backslash escapes, `\N` for NULL, all in UTF-8. Bytes travel
//! as hexadecimal digits through a variable and `UNHEX`, because the server reads a file in one
//! character set and would take parts of them for characters.

use std::io::Write;
use std::ops::Range;

use mysql::LocalInfileHandler;

use super::super::Dialect;
use super::cell::{Cell, Feed};
use super::connect::Server;
use super::dialect::MySqlDialect;
use crate::error::Result;
use crate::value;

/// Whether LOAD DATA stores this column's values just as INSERT does.
pub(super) fn suits(feed: &Feed<'_>) -> bool {
    // Values with a type of their own may turn out to be bytes among texts; bytes for a text
    // column are validated by INSERT only.
    !feed.is_untyped() && (!feed.is_binary() || feed.column().charset.is_none())
}

/// The statement.
pub(super) fn statement(table: &str, feeds: &[Feed<'_>], replace: bool) -> String {
    let dialect = MySqlDialect;
    let mut targets = Vec::new();
    let mut sets = Vec::new();
    for (i, feed) in feeds.iter().enumerate() {
        let name = dialect.quote(&feed.column().name);
        if feed.is_binary() {
            targets.push(format!("@ssync_{i}"));
            sets.push(format!("{name}=UNHEX(@ssync_{i})"));
        } else {
            targets.push(name);
        }
    }
    let set = if sets.is_empty() { String::new() } else { format!(" SET {}", sets.join(",")) };
    format!(
        "LOAD DATA LOCAL INFILE 'ssync' {} INTO TABLE {} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        if replace { "REPLACE" } else { "" },
        dialect.table(table),
        targets.join(",")
    )
}

/// The file. `None` when a value is too large for the variable it would pass through.
pub(super) fn content(
    feeds: &[Feed<'_>],
    rows: Range<usize>,
    server: &Server,
) -> Result<Option<Vec<u8>>> {
    let bytes_max = server.packet_bytes_max / 4;
    let mut file = Vec::with_capacity(rows.len() * feeds.len() * 12);
    for row in rows {
        for (i, feed) in feeds.iter().enumerate() {
            if i > 0 {
                file.push(b'\t');
            }
            let cell = feed.cell(row)?;
            if matches!(&cell, Cell::Bytes(bytes) if bytes.len() > bytes_max) {
                return Ok(None);
            }
            match cell {
                // The text '0' would become the year 2000.
                Cell::Int(year) if feed.column().family == "year" => {
                    file.extend_from_slice(format!("{year:04}").as_bytes());
                }
                Cell::UInt(year) if feed.column().family == "year" => {
                    file.extend_from_slice(format!("{year:04}").as_bytes());
                }
                cell => push(&mut file, &cell),
            }
        }
        file.push(b'\n');
    }
    Ok(Some(file))
}

fn push(file: &mut Vec<u8>, cell: &Cell<'_>) {
    // Writing to memory does not fail.
    let _ = match cell {
        Cell::Null => {
            file.extend_from_slice(b"\\N");
            Ok(())
        }
        Cell::Int(v) => write!(file, "{v}"),
        Cell::UInt(v) => write!(file, "{v}"),
        // A single as a double: its shortest text might be read back through double rounding.
        Cell::Float(v) => write!(file, "{:e}", f64::from(*v)),
        Cell::Double(v) => write!(file, "{v:e}"),
        Cell::Text(text) => {
            push_escaped(file, text.as_bytes());
            Ok(())
        }
        Cell::Bytes(bytes) => {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            file.extend(
                bytes
                    .iter()
                    .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]),
            );
            Ok(())
        }
        Cell::Date(v) => write!(file, "{}", v.date_text()),
        Cell::DateTime(v) => write!(file, "{}", v.text(6)),
        Cell::Time(v) => write!(file, "{}", value::time_text(*v, 6)),
    };
}

fn push_escaped(file: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\\' | b'\t' | b'\n' | 0)) {
        file.extend_from_slice(&rest[..at]);
        let escape = match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            0 => b'0',
            _ => b'\\',
        };
        file.extend_from_slice(&[b'\\', escape]);
        rest = &rest[at + 1..];
    }
    file.extend_from_slice(rest);
}

/// Serves the content to the one LOAD DATA that follows.
pub(super) fn handler(content: Vec<u8>) -> LocalInfileHandler {
    let mut content = Some(content);
    LocalInfileHandler::new(move |_, file| match content.take() {
        Some(content) => file.write_all(&content),
        None => Err(std::io::Error::other("the server asked for the file twice")),
    })
}

/// What the server says it did: `Records: 3  Deleted: 0  Skipped: 0  Warnings: 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) records: u64,
    pub(super) deleted: u64,
    pub(super) skipped: u64,
    pub(super) warnings: u64,
}

impl Told {
    /// `None` when one of the numbers is missing.
    pub(super) fn from_info(info: &str) -> Option<Self> {
        let number = |name: &str| {
            let (_, tail) = info.split_once(name)?;
            tail.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        Some(Told {
            records: number("Records:")?,
            deleted: number("Deleted:")?,
            skipped: number("Skipped:")?,
            warnings: number("Warnings:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_escapes_are_escaped() {
        let mut file = Vec::new();
        push_escaped(&mut file, "a\tb\nc\\N\0é\r".as_bytes());
        assert_eq!(file, "a\\tb\\nc\\\\N\\0é\r".as_bytes());
    }

    #[test]
    fn counts_are_read_or_missed_as_a_whole() {
        let told = Told::from_info("Records: 12  Deleted: 1  Skipped: 2  Warnings: 3");
        let all = Told { records: 12, deleted: 1, skipped: 2, warnings: 3 };
        assert_eq!(told, Some(all));
        assert_eq!(Told::from_info("Records: 12  Deleted: 1"), None);
    }
}
