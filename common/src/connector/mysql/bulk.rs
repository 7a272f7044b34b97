//! Bulk execution by hand: `COM_STMT_BULK_EXECUTE` packets made from a batch's columns straight into
//! one buffer, and written to the connection's socket.
//!
//! The driver can send them too, but wants every value as one of its own first: a writer then spends
//! two thirds of its time on making values and freeing them. By hand it is only done on a connection
//! where the driver has proved that the server takes such commands ([`super::load`]), and where the
//! socket carries them as they are (no TLS, no compression).
//!
//! The packets are those of MariaDB's protocol documentation ("`COM_STMT_BULK_EXECUTE`", "OK packet",
//! "ERR packet", "Binary protocol: values").

use std::ops::Range;

use mysql::MySqlError;

use super::cell::{Cell, Feed, Plain};
use super::load::CommandLimits;
use super::wire::{
    HEADER, Packets, Socket, garbled, length_encoded, put_length, server_error, u16_of,
};
use crate::error::Result;
use crate::value::DateTime;

const BULK_EXECUTE: u8 = 0xFA;
/// The types of the parameters come with the command.
const SEND_TYPES: u16 = 128;
const MORE_RESULTS: u16 = 0x0008;

/// A parameter's type and flags, as the protocol numbers them.
pub(super) type Tag = [u8; 2];
const LONGLONG: Tag = [8, 0];
const LONGLONG_UNSIGNED: Tag = [8, 0x80];
const FLOAT: Tag = [4, 0];
const DOUBLE: Tag = [5, 0];
const DATETIME: Tag = [12, 0];
const TIME: Tag = [11, 0];
/// Text and bytes, and columns of nothing but NULL.
const VAR_STRING: Tag = [253, 0];
/// Bytes that the server does not take for text. (It looks at text once more to know its characters,
/// before the column that it goes to does.)
const BLOB: Tag = [252, 0];

/// A command under construction. Kept, so that its memory is.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// Room for a packet's header, then the command.
    bytes: Vec<u8>,
    tags: Vec<Option<Tag>>,
}

impl Command {
    /// Makes a command of the first of `rows`, as many as the limits let it have; how many.
    pub(super) fn fill(
        &mut self,
        statement: u32,
        feeds: &[Feed<'_>],
        rows: Range<usize>,
        limits: &CommandLimits,
    ) -> Result<usize> {
        self.bytes.clear();
        self.bytes.extend([0; HEADER]);
        self.bytes.push(BULK_EXECUTE);
        self.bytes.extend(statement.to_le_bytes());
        self.bytes.extend(SEND_TYPES.to_le_bytes());
        let types = self.bytes.len();
        self.bytes.resize(types + feeds.len() * size_of::<Tag>(), 0);
        let values = self.bytes.len();
        self.tags.clear();
        self.tags.resize(feeds.len(), None);
        let mut count = 0;
        for row in rows.take(limits.rows_max) {
            let begin = self.bytes.len();
            let alike = self.add(feeds, row)?;
            let size = self.bytes.len() - begin;
            limits.check_row(size)?;
            // A row that does not go with those before begins the next command.
            if count > 0 && (!alike || self.bytes.len() - values > limits.bytes_soft) {
                self.bytes.truncate(begin);
                break;
            }
            count += 1;
        }
        for (tag, place) in self.tags.iter().zip(self.bytes[types..].chunks_exact_mut(2)) {
            place.copy_from_slice(&tag.unwrap_or(VAR_STRING));
        }
        Ok(count)
    }

    /// The command, behind room for a packet's header.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Writes a row; whether its values have the types of those before.
    fn add(&mut self, feeds: &[Feed<'_>], row: usize) -> Result<bool> {
        const VALUE: u8 = 0;
        const NULL: u8 = 1;
        let mut alike = true;
        for (feed, known) in feeds.iter().zip(&mut self.tags) {
            let indicator = self.bytes.len();
            self.bytes.push(VALUE);
            let tag = match feed.plain(row) {
                Some(plain) => Some(put_plain(&mut self.bytes, &plain)),
                None => put(&mut self.bytes, &feed.cell(row)?),
            };
            let Some(tag) = tag else {
                self.bytes[indicator] = NULL;
                continue;
            };
            let tag = match tag {
                VAR_STRING if feed.stores_utf8() => BLOB,
                tag => tag,
            };
            match known {
                None => *known = Some(tag),
                Some(known) => alike &= *known == tag,
            }
        }
        Ok(alike)
    }
}

#[inline(always)]
fn put_plain(bytes: &mut Vec<u8>, plain: &Plain<'_>) -> Tag {
    match plain {
        Plain::Int(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            LONGLONG
        }
        Plain::UInt(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            LONGLONG_UNSIGNED
        }
        Plain::Double(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            DOUBLE
        }
        Plain::Bytes(v) => put_bytes(bytes, v),
        Plain::DateTime(v) => put_date_time(bytes, *v),
    }
}

/// Writes a value; its type. `None` for NULL, of which there is nothing to write.
pub(super) fn put(bytes: &mut Vec<u8>, cell: &Cell<'_>) -> Option<Tag> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Int(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            LONGLONG
        }
        Cell::UInt(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            LONGLONG_UNSIGNED
        }
        Cell::Float(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            FLOAT
        }
        Cell::Double(v) => {
            bytes.extend_from_slice(&v.to_le_bytes());
            DOUBLE
        }
        Cell::Text(text) => put_bytes(bytes, text.as_bytes()),
        Cell::Bytes(value) => put_bytes(bytes, value),
        Cell::Date(v) | Cell::DateTime(v) => put_date_time(bytes, *v),
        Cell::Time(micros) => put_time(bytes, *micros),
    })
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) -> Tag {
    put_length(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
    VAR_STRING
}

/// As short as it can be said: nothing, the date, up to the second, all.
fn put_date_time(bytes: &mut Vec<u8>, v: DateTime) -> Tag {
    let (year, month, day, hour, minute, second, micros) = v.parts();
    let [low, high] = year.to_le_bytes();
    let length: u8 = match () {
        () if micros > 0 => 11,
        () if (hour, minute, second) != (0, 0, 0) => 7,
        () if (year, month, day) != (0, 0, 0) => 4,
        () => 0,
    };
    bytes.push(length);
    if length >= 4 {
        bytes.extend_from_slice(&[low, high, month, day]);
    }
    if length >= 7 {
        bytes.extend_from_slice(&[hour, minute, second]);
    }
    if length == 11 {
        bytes.extend_from_slice(&micros.to_le_bytes());
    }
    DATETIME
}

fn put_time(bytes: &mut Vec<u8>, micros: i64) -> Tag {
    let size = micros.unsigned_abs();
    let (seconds, fraction) = (size / 1_000_000, (size % 1_000_000) as u32);
    let hours = seconds / 3600;
    let length: u8 = match () {
        () if fraction > 0 => 12,
        () if seconds > 0 => 8,
        () => 0,
    };
    bytes.push(length);
    if length >= 8 {
        bytes.push(u8::from(micros < 0));
        // What a column can hold has been checked: a few days.
        bytes.extend_from_slice(&((hours / 24) as u32).to_le_bytes());
        bytes.extend_from_slice(&[
            (hours % 24) as u8,
            (seconds / 60 % 60) as u8,
            (seconds % 60) as u8,
        ]);
    }
    if length == 12 {
        bytes.extend_from_slice(&fraction.to_le_bytes());
    }
    TIME
}

/// What the server said to a command.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was carried out.
    Done {
        /// Rows changed.
        affected: u64,
        /// Things the server warns of.
        warnings: u16,
    },
    /// It was not, and nothing of it remains.
    Failed(MySqlError),
}

/// Waits for the server's answer to a command.
pub(super) fn answer(socket: Socket, packets: &mut Packets) -> Result<Answer> {
    let answer = parse(packets.next(socket)?);
    answer.filter(|_| packets.is_empty()).ok_or_else(garbled)
}

/// An OK or ERR packet; `None` for anything else.
pub(super) fn parse(payload: &[u8]) -> Option<Answer> {
    let (&first, rest) = payload.split_first()?;
    match first {
        0x00 => {
            let (affected, rest) = length_encoded(rest)?;
            let (_, rest) = length_encoded(rest)?;
            let (status, rest) = u16_of(rest)?;
            let (warnings, _) = u16_of(rest)?;
            (status & MORE_RESULTS == 0).then_some(Answer::Done { affected, warnings })
        }
        _ => server_error(payload).map(Answer::Failed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a server may send, it is understood or refused.
        #[test]
        fn any_answer_is_understood_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&payload);
        }
    }

    #[test]
    fn answers_say_what_was_done_or_why_not() {
        match parse(b"\x00\xfc\xf4\x01\x00\x01\x00\x02\x00info").unwrap() {
            Answer::Done { affected, warnings } => assert_eq!((affected, warnings), (500, 2)),
            other => panic!("{other:?}"),
        }
        match parse(b"\xff\x26\x04#23000Duplicate entry").unwrap() {
            Answer::Failed(e) => assert_eq!(
                (e.code, e.state.as_str(), e.message.as_str()),
                (1062, "23000", "Duplicate entry")
            ),
            other => panic!("{other:?}"),
        }
        // A result set, and an OK that is not the last answer.
        assert!(parse(b"\x01\x00").is_none());
        assert!(parse(b"\x00\x01\x00\x08\x00\x00\x00").is_none());
    }
}
