//! What goes back: descriptions, rows, and the outcome of a call.

use crate::backend::Row;
use crate::lob::Lobs;
use crate::ora_error::OraError;
use crate::session::Session;
use crate::ttc::Writer;
use crate::types::{self, OraType};

/// How a call ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) cursor: u16,
    pub(crate) rows: u64,
    pub(crate) error: Option<OraError>,
    /// Rows of an array that failed, with what each said.
    pub(crate) batch: Vec<(u32, OraError)>,
    /// The last row that was changed.
    pub(crate) row_id: Option<String>,
}

impl Outcome {
    pub(crate) fn failed(cursor: u16, error: OraError) -> Self {
        Outcome { cursor, error: Some(error), ..Outcome::default() }
    }
}

impl Session {
    /// STATUS: the end of calls that cannot fail.
    pub(crate) fn status(&self, answer: &mut Writer) {
        answer.u8(9).ub(self.call_status()).ub(0);
    }

    /// The outcome of a call.
    pub(crate) fn outcome(&self, answer: &mut Writer, outcome: &Outcome) {
        let arrays_failed = OraError::new(24381, "error(s) in array DML");
        let error = match &outcome.error {
            None if !outcome.batch.is_empty() => Some(&arrays_failed),
            other => other.as_ref(),
        };
        let code = u64::from(error.map_or(0, |e| e.code));
        answer.u8(4).ub(self.call_status()).ub(0).ub(outcome.rows & 0xffff_ffff);
        answer.ub(code.min(u16::MAX.into())).ub(0).ub(0);
        answer.ub(outcome.cursor.into());
        answer.ub(error.map_or(0, |e| e.offset).into());
        answer.raw(&[0, 0, 0, 0, 0, 0]);
        match &outcome.row_id {
            Some(text) => row_id(answer, text),
            None => {
                answer.raw(&[0, 0, 0, 0, 0]);
            }
        }
        answer.ub(0).raw(&[0, 0]).ub(0).ub(0).ub(0);
        batch_errors(answer, &outcome.batch);
        answer.ub(code).ub(outcome.rows);
        if self.field_version >= 14 {
            answer.ub(0).ub(0);
        }
        if let Some(error) = error {
            answer.bytes(format!("{}\n", error.message).as_bytes());
        }
    }

    /// The description of a query's columns.
    pub(crate) fn description(&self, answer: &mut Writer, columns: &[(String, OraType)]) {
        answer.u8(16).u8(0);
        answer.ub(columns.iter().map(|(_, c)| u64::from(c.bytes)).sum::<u64>() & 0x7fff_ffff);
        answer.ub(columns.len() as u64);
        if !columns.is_empty() {
            answer.u8(0);
        }
        for (position, (name, kind)) in columns.iter().enumerate() {
            self.column(answer, name, kind, position);
        }
        answer.ub(0).ub(0).ub(0).ub(0).ub(0).ub(0);
    }

    fn column(&self, answer: &mut Writer, name: &str, kind: &OraType, position: usize) {
        let charset = match kind.form {
            0 => 0u64,
            types::NATIONAL => 2000,
            _ => 873,
        };
        answer.u8(kind.number).u8(0x80).u8(kind.precision as u8).u8(kind.scale as u8);
        answer.ub(kind.bytes.into()).ub(0).ub(0).ub(0).ub(0).ub(charset).u8(kind.form);
        answer.ub(kind.characters.into());
        if self.field_version >= 8 {
            answer.ub(0);
        }
        answer.u8(u8::from(kind.nullable)).u8(name.len().min(255) as u8);
        answer.bytes_double(name.as_bytes()).ub(0).ub(0).ub(position as u64 + 1).ub(0);
        if self.field_version >= 17 {
            answer.ub(0).ub(0);
        }
        if self.field_version >= 20 {
            answer.ub(0);
        }
        if self.field_version >= 24 {
            answer.ub(0).u8(0).u8(0);
        }
    }

    /// Says which binds receive.
    pub(crate) fn directions(&self, answer: &mut Writer, directions: &[u8]) {
        answer.u8(11).u8(0).ub(directions.len() as u64).ub(0).ub(0).ub(0).ub(0).ub(0);
        answer.raw(directions);
    }
}

/// What introduces the rows of an answer.
pub(crate) fn row_header(answer: &mut Writer, rows: u64) {
    answer.u8(6).u8(0).ub(0).ub(rows & 0xffff).ub(1).ub(0).ub(0).ub(0);
}

/// One row of a query. `before` is the row in front of it in the same answer: equal values are not
/// repeated.
pub(crate) fn row(
    answer: &mut Writer,
    columns: &[OraType],
    row: &Row,
    before: Option<&Row>,
    lobs: &mut Lobs,
) -> Result<(), OraError> {
    let same = |i: usize| before.is_some_and(|b| !columns[i].is_lob() && b[i] == row[i]);
    if before.is_some() {
        let mut bits = vec![0u8; columns.len().div_ceil(8)];
        let mut sent = 0u64;
        for i in (0..columns.len()).filter(|i| !same(*i)) {
            bits[i / 8] |= 1 << (i % 8);
            sent += 1;
        }
        answer.u8(21).ub(sent).raw(&bits);
    }
    answer.u8(7);
    for (i, (kind, value)) in columns.iter().zip(row).enumerate() {
        if !same(i) {
            self::value(answer, kind, value.as_deref(), lobs)?;
        }
    }
    Ok(())
}

/// One value of a query's row.
fn value(
    answer: &mut Writer,
    kind: &OraType,
    value: Option<&[u8]>,
    lobs: &mut Lobs,
) -> Result<(), OraError> {
    match (kind.number, value) {
        (types::CLOB | types::BLOB, None) => {
            answer.ub(0);
        }
        (types::CLOB | types::BLOB, Some(value)) => {
            let content = kind.write(value)?;
            lobs.column(answer, kind, content);
        }
        (types::LONG | types::LONG_RAW, _) => {
            match value {
                Some(value) => answer.bytes(&kind.write(value)?),
                None => answer.u8(0),
            };
            answer.ub(0).ub(0);
        }
        (types::ROWID, Some(text)) if text.len() == 18 => {
            answer.u8(13);
            row_id(answer, &String::from_utf8_lossy(text));
        }
        (types::ROWID, _) | (_, None) => {
            answer.u8(0);
        }
        (_, Some(value)) => {
            answer.bytes(&kind.write(value)?);
        }
    }
    Ok(())
}

/// A value for a bind that receives.
pub(crate) fn output(
    answer: &mut Writer,
    kind: &OraType,
    value: Option<&[u8]>,
) -> Result<(), OraError> {
    match value {
        Some(value) if kind.number == types::BOOLEAN || !kind.is_lob() => {
            answer.bytes(&kind.write(value)?)
        }
        Some(_) => return Err(OraError::new(3001, "unimplemented feature")),
        None => answer.u8(0),
    };
    answer.ub(0);
    Ok(())
}

/// The five numbers that a ROWID is.
fn row_id(answer: &mut Writer, text: &str) {
    let number = |range: std::ops::Range<usize>| {
        text.bytes().skip(range.start).take(range.len()).fold(0u64, |all, letter| {
            let digit = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                _ => 63,
            };
            all << 6 | u64::from(digit)
        })
    };
    answer.ub(number(0..6) & 0xffff_ffff).ub(number(6..9) & 0xffff).u8(0);
    answer.ub(number(9..15) & 0xffff_ffff).ub(number(15..18) & 0xffff);
}

fn batch_errors(answer: &mut Writer, batch: &[(u32, OraError)]) {
    if batch.is_empty() {
        answer.ub(0).ub(0).ub(0);
        return;
    }
    let count = batch.len() as u64;
    answer.ub(count).u8(0);
    for (_, error) in batch {
        answer.ub(error.code.into());
    }
    answer.ub(count).u8(0);
    for (row, _) in batch {
        answer.ub((*row).into());
    }
    answer.ub(count).u8(0);
    for (_, error) in batch {
        answer.ub(error.message.len() as u64).bytes(error.message.as_bytes()).raw(&[0, 0]);
    }
}
