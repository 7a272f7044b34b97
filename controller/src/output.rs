//! What a command prints on standard output: text for people or JSON for programs.

use std::io::{ErrorKind, Write};

use serde_json::{Map, Value};
use ssync_common::error::Result;
use unicode_width::UnicodeWidthStr;

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

/// Collects what a command prints.
pub struct Output {
    json: bool,
    bytes: Vec<u8>,
}

impl Output {
    /// For JSON or for text.
    pub fn new(json: bool) -> Self {
        Output { json, bytes: Vec::new() }
    }

    /// Whether a program reads it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Adds a line of text for people; moments in it are shown in their time.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.verbatim(localized(text.as_ref()));
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

    /// Adds a table: a heading, then rows, columns as wide as they need to be.
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
            let cells = row.iter().zip(widths).map(|(cell, width)| padded(cell, width));
            let line = cells.collect::<Vec<_>>().join("  ");
            self.verbatim(line.trim_end());
        }
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

/// A text with blanks behind it, as wide as a column: wide characters take two places.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The widest of some texts, in places on a terminal.
pub(crate) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(UnicodeWidthStr::width).max().unwrap_or(0)
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
