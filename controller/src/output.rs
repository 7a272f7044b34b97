//! What a command prints on standard output: text for people or JSON for programs.

use std::io::{ErrorKind, IsTerminal, Write};

use ratatui::crossterm::terminal::size;
use serde_json::{Map, Value};
use ssync_common::error::Result;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::clock::localized;
use crate::render::JSON_SCHEMA;

/// As `print!`, `println!`, `eprint!` and `eprintln!`, but a terminal or a pipe that is gone is no
/// reason to panic: what is to be done is done all the same, and its outcome is in the exit code,
/// the log and the configuration database.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::to(&mut std::io::stdout(), &format!($($text)*)) };
}
macro_rules! outln {
    ($($text:tt)*) => { $crate::output::to(&mut std::io::stdout(), &(format!($($text)*) + "\n")) };
}
macro_rules! err {
    ($($text:tt)*) => { $crate::output::to(&mut std::io::stderr(), &format!($($text)*)) };
}
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::to(&mut std::io::stderr(), &(format!($($text)*) + "\n")) };
}
pub(crate) use {err, errln, out, outln};

/// What the macros do.
pub(crate) fn to(stream: &mut dyn Write, text: &str) {
    if let Err(e) = stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        log::debug!("nobody reads what is printed: {e}");
    }
}

/// Blanks between two columns.
const GAP: usize = 2;
/// Blanks before what has no room in a line.
const INSIDE: usize = 4;
/// Places that the last column needs to be folded in its place, and not to go to a line of its own.
const FOLDED_MIN: usize = 24;
/// Folded text gets so many places, however narrow the terminal is.
const ROOM_MIN: usize = 16;

/// Collects what a command prints.
pub struct Output {
    json: bool,
    bytes: Vec<u8>,
    /// Columns of the terminal; `None` where programs read lines, which are not folded.
    columns: Option<usize>,
}

impl Output {
    /// For JSON or for text.
    pub fn new(json: bool) -> Self {
        let is_folded = !json && std::io::stdout().is_terminal();
        let columns = if is_folded { size().ok().map(|(columns, _)| columns.into()) } else { None };
        Output { json, bytes: Vec::new(), columns }
    }

    /// Whether a program reads it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Adds a line of text for people; moments in it are shown in their time.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.verbatim(localized(text.as_ref()));
    }

    /// Adds a line that begins with `head`; what does not fit into the terminal stands below the
    /// text, a little further in.
    pub fn hanging(&mut self, head: &str, text: &str) {
        let text = localized(text);
        match self.columns {
            Some(columns) if head.width() + text.width() > columns => {
                let inside = " ".repeat(head.width() + 2);
                let room = columns.saturating_sub(inside.len()).max(ROOM_MIN);
                for (n, line) in fold(&text, room).iter().enumerate() {
                    self.verbatim(format!("{}{line}", if n == 0 { head } else { &inside }));
                }
            }
            _ => self.verbatim(format!("{head}{text}").trim_end()),
        }
    }

    /// Whether this fits into a line.
    pub fn fits(&self, text: &str) -> bool {
        self.columns.is_none_or(|columns| localized(text).width() <= columns)
    }

    /// Adds text as it is, and a line break.
    pub fn verbatim(&mut self, text: impl AsRef<str>) {
        self.bytes.extend_from_slice(text.as_ref().as_bytes());
        self.bytes.push(b'\n');
    }

    /// Adds a JSON object, on a line of its own, with the schema version first.
    pub fn object(&mut self, fields: Value) {
        let mut object = Map::from_iter([("schema".to_owned(), JSON_SCHEMA.into())]);
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        self.verbatim(Value::Object(object).to_string());
    }

    /// Adds a table: a heading, then rows, columns as wide as they need to be. Where the terminal is
    /// narrower, the last column is folded, and what has no room at all goes to further lines.
    pub fn table<const N: usize>(&mut self, heading: [&str; N], rows: &[[String; N]]) {
        let shown = |row: &[String; N]| row.each_ref().map(|cell| localized(cell).into_owned());
        let rows: Vec<_> =
            std::iter::once(heading.map(str::to_owned)).chain(rows.iter().map(shown)).collect();
        let mut widths = [0; N];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        for row in &rows {
            for line in lines_of(row, &widths, self.columns) {
                self.verbatim(line.trim_end());
            }
        }
    }

    /// Adds everything that another one has collected.
    pub fn append(&mut self, other: Output) {
        self.bytes.extend(other.bytes);
    }

    /// Writes everything out.
    ///
    /// # Errors
    /// When standard output cannot be written, unless its reader has seen enough.
    pub fn print(&mut self) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.bytes).and_then(|()| stdout.flush());
        self.bytes.clear();
        match written {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// A row of a table in lines of so many places.
fn lines_of(cells: &[String], widths: &[usize], columns: Option<usize>) -> Vec<String> {
    let columns = columns.unwrap_or(usize::MAX);
    let mut lines = vec![String::new()];
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let is_last = column + 1 == cells.len();
        let gap = if column == 0 { 0 } else { GAP };
        let mut begin = lines.last().map_or(0, |line| line.width()) + gap;
        let needed = if is_last { cell.width() } else { *width };
        let room = columns.saturating_sub(begin);
        if column > 0 && needed > room && !(is_last && room >= FOLDED_MIN) {
            lines.push(" ".repeat(INSIDE));
            begin = INSIDE;
        }
        let before = begin - lines.last().map_or(0, |line| line.width());
        let room = columns.saturating_sub(begin).max(ROOM_MIN);
        let pieces =
            if is_last && needed > room { fold(cell, room) } else { vec![padded(cell, *width)] };
        for (n, piece) in pieces.into_iter().enumerate() {
            match lines.last_mut().filter(|_| n == 0) {
                Some(line) => *line += &format!("{}{piece}", " ".repeat(before)),
                None => lines.push(format!("{}{piece}", " ".repeat(begin))),
            }
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// A text with blanks behind it, as wide as a column: wide characters take two places.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The widest of some texts, in places on a terminal.
pub(crate) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// Text in lines of at most `width` places (a wide character takes two), broken between words
/// where that is possible.
pub(crate) fn fold(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word = word;
        while !word.is_empty() {
            let Some(line) = lines.last_mut() else { return lines };
            let used = line.width();
            let blank = usize::from(used > 0);
            if used + blank + word.width() <= width {
                line.push_str(if used > 0 { " " } else { "" });
                line.push_str(word);
                word = "";
            } else if used > 0 {
                lines.push(String::new());
            } else {
                let (head, rest) = word.split_at(fitting(word, width));
                line.push_str(head);
                word = rest;
            }
        }
    }
    lines
}

/// How many bytes of a word fit into so many places; at least its first character.
fn fitting(word: &str, width: usize) -> usize {
    let mut used = 0;
    let too_wide = word.char_indices().find(|(at, c)| {
        used += c.width().unwrap_or(0);
        *at > 0 && used > width
    });
    too_wide.map_or(word.len(), |(at, _)| at)
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_folded_between_words_and_within_long_ones() {
        assert_eq!(fold("the table is full", 9), ["the table", "is full"]);
        assert_eq!(fold("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(fold("", 3), [""]);
    }

    #[test]
    fn a_table_in_a_narrow_terminal_stays_one() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let lines = |cells: &[String], columns| lines_of(cells, &[8, 10, 40], Some(columns));
        let cells = row(["first", "second", "what went wrong, in many words, with reasons"]);
        assert_eq!(
            lines(&cells, 48),
            [
                "first     second      what went wrong, in many",
                "                      words, with reasons",
            ]
        );
        // No room beside the others.
        let told: Vec<_> =
            lines(&cells, 40).iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(
            told,
            ["first     second", "    what went wrong, in many words, with", "    reasons"]
        );
        // Nor for these.
        let told: Vec<_> =
            lines(&cells, 18).iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(told[..3], ["first", "    second", "    what went wrong,"], "{told:?}");
        assert_eq!(lines_of(&cells, &[8, 10, 40], None).len(), 1);
    }

    #[test]
    fn what_does_not_fit_stands_below_a_little_further_in() {
        let mut out = Output { json: false, bytes: Vec::new(), columns: Some(30) };
        assert!(out.fits("paused") && !out.fits("paused since 2026-12-01T00:00:00Z"));
        out.hanging("  订单  ", "paused, until the warehouse has moved");
        out.hanging("  b  ", "done");
        let told = String::from_utf8_lossy(&out.bytes).into_owned();
        assert_eq!(told, "  订单  paused, until the\n          warehouse has moved\n  b  done\n");
    }
}
