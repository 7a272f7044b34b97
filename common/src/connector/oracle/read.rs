//! Reading: rows as the driver fetches them, column by column into a batch.

use super::bind;
use super::dialect::EMPTY_LOB;
use super::driver::{Field, Rows};
use super::exact::{self, Stamp};
use super::lob;
use super::types;
use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};

/// Rows in one round trip. Before 23ai the driver reads an answer again from its start with each
/// packet of it, so that many rows at once cost more than they spare.
const FETCH_ROWS: u32 = 200;
const FETCH_ROWS_23AI: u32 = 1000;
/// The same where short LOBs come with their rows (see [`lob`]).
const FETCH_ROWS_LOBS: u32 = 50;
/// The same where a row may be large: LONG has no locator, and is all in the answer.
const FETCH_ROWS_LONG: u32 = 1;

/// What the server sends for bytes that are no character of its character set. Sets other than
/// Unicode's do not have it: from there it never is what the column holds.
const REPLACEMENT: char = '\u{fffd}';

/// Rows to fetch in one round trip.
pub(super) fn fetch_rows(columns: &[Column], version: u32) -> u32 {
    let any = |families: &[&str]| columns.iter().any(|c| families.contains(&c.family.as_str()));
    match version {
        _ if any(&["long", "long_raw"]) => FETCH_ROWS_LONG,
        _ if any(&["clob", "nclob", "blob", "json", "xmltype"]) => FETCH_ROWS_LOBS,
        23.. => FETCH_ROWS_23AI,
        _ => FETCH_ROWS,
    }
}

/// Takes rows into batches.
pub(super) struct Reader<'a, 'e> {
    columns: &'a [Column],
    /// Of each column, whether its characters are converted on their way here.
    converted: Vec<bool>,
    /// The query was [`lob::parted`].
    parted: bool,
    builder: &'a mut BatchBuilder,
    emit: &'a mut Emit<'e>,
    count: u64,
}

impl<'a, 'e> Reader<'a, 'e> {
    pub(super) fn new(
        columns: &'a [Column],
        parted: bool,
        builder: &'a mut BatchBuilder,
        emit: &'a mut Emit<'e>,
    ) -> Self {
        let converted = |c: &Column| c.charset.as_deref().is_some_and(|s| !types::is_unicode(s));
        let converted = columns.iter().map(converted).collect();
        Reader { columns, converted, parted, builder, emit, count: 0 }
    }

    /// Hands on what is left; the rows that came.
    pub(super) fn finish(self) -> Result<u64> {
        self.builder.flush(self.emit)?;
        Ok(self.count)
    }
}

impl Rows for Reader<'_, '_> {
    fn columns(&mut self, names: &[String]) -> Result<()> {
        let parts = |c| if self.parted { lob::parts(c) } else { 1 };
        let expected: usize = self.columns.iter().map(parts).sum();
        if names.len() != expected {
            let why =
                format!("the query has {} columns where {expected} were expected", names.len());
            return Err(Error::new(ErrorKind::Internal, why));
        }
        Ok(())
    }

    fn row(&mut self, fields: &[Field<'_>]) -> Result<()> {
        let mut rest = fields;
        for (i, column) in self.columns.iter().enumerate() {
            let parts = if self.parted { lob::parts(column) } else { 1 };
            // There are as many as `columns` saw.
            let Some((these, after)) = rest.split_at_checked(parts) else { break };
            rest = after;
            let field = match these {
                [field] => *field,
                parts => lob::joined(column, parts),
            };
            match &field {
                Field::Text(text) if self.converted[i] && text.contains(REPLACEMENT) => {
                    self.builder.bad(i, "has bytes that are no character of its character set");
                }
                field => append(self.builder, i, column, field),
            }
        }
        self.count += 1;
        self.builder.end_row(self.emit)
    }
}

fn append(into: &mut BatchBuilder, i: usize, column: &Column, field: &Field<'_>) {
    match (column.kind, field) {
        (_, Field::Null) => into.null(i),
        (_, Field::Unreadable(why)) => into.bad(i, *why),
        (Kind::Int, Field::Number(text)) => match text.parse() {
            Ok(v) => into.int(i, v),
            Err(_) => into.bad(i, "not a 64-bit integer"),
        },
        (Kind::Int, Field::Bool(v)) => into.int(i, i64::from(*v)),
        (Kind::Decimal, Field::Number(text)) => into.text(i, text),
        (Kind::Float32, Field::Float(v)) => into.float32(i, *v),
        (Kind::Float64, Field::Double(v)) => into.float64(i, *v),
        (Kind::Text, Field::Text(text)) => append_text(into, i, column, text),
        (Kind::Bytes, Field::Bytes(bytes)) if *bytes == EMPTY_LOB.as_bytes() => into.bytes(i, b""),
        (Kind::Bytes, Field::Bytes(bytes)) => into.bytes(i, bytes),
        (Kind::DateTime, Field::Moment(m)) => match bind::date_time(*m) {
            Some(v) => into.int(i, v.packed()),
            None => into.bad(i, "a date before our era, or digits beyond the microsecond"),
        },
        (Kind::Text, Field::Moment(m)) => match bind::spelt(*m) {
            Some(text) => into.text(i, &text),
            None => into.bad(i, "a date before our era"),
        },
        (Kind::Time, Field::Interval(nanos)) => match bind::micros(*nanos) {
            Some(micros) => into.int(i, micros),
            None => into.bad(i, "an interval beyond what microseconds hold"),
        },
        (Kind::Text, Field::Interval(nanos)) => match bind::interval(*nanos) {
            Some(interval) => into.text(i, &interval.to_string()),
            None => into.bad(i, "an interval out of range"),
        },
        _ => into.bad(i, "the server sent another type than the column was declared with"),
    }
}

fn append_text(into: &mut BatchBuilder, i: usize, column: &Column, text: &str) {
    match column.family.as_str() {
        "char" | "nchar" => into.text(i, exact::unpadded(text)),
        "timestamp_tz" => match Stamp::parse(text) {
            Some(stamp) => into.text(i, &stamp.to_string()),
            None => into.bad(i, "a date before our era"),
        },
        "interval_ym" => match months(text) {
            Some(months) => into.text(i, &exact::months_text(months)),
            None => into.bad(i, "not an interval of years and months"),
        },
        "clob" | "nclob" if text == EMPTY_LOB => into.text(i, ""),
        _ => into.text(i, text),
    }
}

/// Months of what `TO_CHAR` makes of an interval: `+02-03`.
fn months(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (years, months) = rest.split_once('-')?;
    let number = |t: &str| t.trim().parse::<i64>().ok().filter(|n| *n >= 0);
    let months = number(months).filter(|m| *m < 12)?;
    number(years)?.checked_mul(12)?.checked_add(months).map(|all| sign * all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_years_and_months_are_read() {
        for (text, value) in [
            ("+02-03", Some(27)),
            ("-000000001-11", Some(-23)),
            ("+00-00", Some(0)),
            ("x", None),
            ("+9223372036854775807-11", None),
            ("+768614336404564650-08", None),
        ] {
            assert_eq!(months(text), value);
        }
    }

    #[test]
    fn old_servers_and_large_rows_come_in_smaller_pieces() {
        let column = |family: &str| Column {
            family: family.to_owned(),
            ..Column::new(family, Kind::Text, family)
        };
        let rows = |families: &[&str], version| {
            fetch_rows(&families.iter().map(|f| column(f)).collect::<Vec<_>>(), version)
        };
        assert!(rows(&["number"], 19) <= 500);
        assert!(rows(&["number"], 23) > 500);
        assert!(rows(&["number", "clob"], 23) <= 50);
        assert_eq!(rows(&["clob", "long"], 23), 1);
    }
}
