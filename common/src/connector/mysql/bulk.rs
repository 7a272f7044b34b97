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
use std::os::fd::RawFd;

use mysql::MySqlError;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::cell::{Cell, Feed};
use super::errors;
use super::load::CommandLimits;
use crate::error::{Error, Kind, Result};
use crate::value::DateTime;

/// Bytes that one packet can carry; a command of so many or more goes on in the next.
const PAYLOAD_MAX: usize = 0xFF_FFFF;
/// A packet's header: three bytes of length, its number.
const HEADER: usize = 4;
const BULK_EXECUTE: u8 = 0xFA;
/// The types of the parameters come with the command.
const SEND_TYPES: u16 = 128;
const MORE_RESULTS: u16 = 0x0008;

/// A parameter's type and flags, as the protocol numbers them.
type Tag = [u8; 2];
const LONGLONG: Tag = [8, 0];
const LONGLONG_UNSIGNED: Tag = [8, 0x80];
const FLOAT: Tag = [4, 0];
const DOUBLE: Tag = [5, 0];
const DATETIME: Tag = [12, 0];
const TIME: Tag = [11, 0];
/// Text and bytes, and columns of nothing but NULL.
const VAR_STRING: Tag = [253, 0];

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

    /// Writes a row; whether its values have the types of those before.
    fn add(&mut self, feeds: &[Feed<'_>], row: usize) -> Result<bool> {
        let mut alike = true;
        for (feed, known) in feeds.iter().zip(&mut self.tags) {
            let Some(tag) = put(&mut self.bytes, &feed.cell(row)?) else { continue };
            match known {
                None => *known = Some(tag),
                Some(known) => alike &= *known == tag,
            }
        }
        Ok(alike)
    }
}

/// Writes an indicator, and the value if there is one; its type.
fn put(bytes: &mut Vec<u8>, cell: &Cell<'_>) -> Option<Tag> {
    const VALUE: u8 = 0;
    const NULL: u8 = 1;
    if *cell == Cell::Null {
        bytes.push(NULL);
        return None;
    }
    bytes.push(VALUE);
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
    let length = value.len() as u64;
    let little = length.to_le_bytes();
    match length {
        0..=250 => bytes.push(little[0]),
        251..=0xFFFF => bytes.extend_from_slice(&[0xFC, little[0], little[1]]),
        0x1_0000..=0xFF_FFFF => {
            bytes.extend_from_slice(&[0xFD, little[0], little[1], little[2]]);
        }
        _ => {
            bytes.push(0xFE);
            bytes.extend_from_slice(&little);
        }
    }
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

/// The connection's socket, between two commands of the driver.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket(pub(super) RawFd);

impl Socket {
    /// Sends a command, in as many packets as it takes.
    pub(super) fn send(self, command: &mut Command) -> Result<()> {
        let bytes = command.bytes.as_mut_slice();
        let mut at = HEADER;
        for number in 0u8.. {
            let length = (bytes.len() - at).min(PAYLOAD_MAX);
            let little = (length as u32).to_le_bytes();
            // The header takes the place of what has been sent already.
            bytes[at - HEADER..at].copy_from_slice(&[little[0], little[1], little[2], number]);
            self.send_all(&bytes[at - HEADER..at + length])?;
            at += length;
            if length < PAYLOAD_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the server's answer.
    pub(super) fn receive(self) -> Result<Answer> {
        let mut header = [0; HEADER];
        self.receive_all(&mut header)?;
        let mut payload =
            vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        self.receive_all(&mut payload)?;
        parse(&payload).ok_or_else(|| {
            Error::new(Kind::Lost, "the server gave an answer that is none to a bulk command")
        })
    }

    fn send_all(self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match send(self.0, bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::EINTR) => {}
                Err(e) => return Err(broken(e.into())),
            }
        }
        Ok(())
    }

    fn receive_all(self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            match recv(self.0, bytes, MsgFlags::empty()) {
                Ok(0) => return Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => bytes = &mut bytes[got..],
                Err(Errno::EINTR) => {}
                Err(e) => return Err(broken(e.into())),
            }
        }
        Ok(())
    }
}

fn broken(e: std::io::Error) -> Error {
    errors::from_driver(&mysql::Error::IoError(e))
}

/// An OK or ERR packet; `None` for anything else.
fn parse(payload: &[u8]) -> Option<Answer> {
    let (&first, rest) = payload.split_first()?;
    match first {
        0x00 => {
            let (affected, rest) = length_encoded(rest)?;
            let (_, rest) = length_encoded(rest)?;
            let (status, rest) = u16_of(rest)?;
            let (warnings, _) = u16_of(rest)?;
            (status & MORE_RESULTS == 0).then_some(Answer::Done { affected, warnings })
        }
        0xFF => {
            let (code, rest) = u16_of(rest)?;
            let (state, message) = match rest.split_first() {
                Some((b'#', rest)) => rest.split_at_checked(5)?,
                _ => (&b"HY000"[..], rest),
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Some(Answer::Failed(MySqlError { state: text(state), message: text(message), code }))
        }
        _ => None,
    }
}

fn u16_of(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (value, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_le_bytes(*value), rest))
}

fn length_encoded(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let length = match first {
        0..=250 => return Some((first.into(), rest)),
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    let mut little = [0; 8];
    little[..length].copy_from_slice(value);
    Some((u64::from_le_bytes(little), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a server may send, it is understood or refused.
        #[test]
        fn any_answer_is_understood_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&payload);
        }

        #[test]
        fn numbers_of_any_size_are_read(n in any::<u64>(), rest in any::<u8>()) {
            let mut bytes = Vec::new();
            let little = n.to_le_bytes();
            match n {
                0..=250 => bytes.push(little[0]),
                251..=0xFFFF => bytes.extend([0xFC, little[0], little[1]]),
                0x1_0000..=0xFF_FFFF => bytes.extend([0xFD, little[0], little[1], little[2]]),
                _ => { bytes.push(0xFE); bytes.extend(little); }
            }
            bytes.push(rest);
            prop_assert_eq!(length_encoded(&bytes), Some((n, &[rest][..])));
            // Cut short, nothing.
            bytes.truncate(bytes.len() - 2);
            prop_assert!(bytes.is_empty() || length_encoded(&bytes).is_none());
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

    #[test]
    fn a_command_of_any_length_goes_in_whole_packets() {
        for length in [1, PAYLOAD_MAX - 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, 2 * PAYLOAD_MAX + 5] {
            let content: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let (here, there) = UnixStream::pair().unwrap();
            let sent = content.clone();
            let sender = thread::spawn(move || {
                let bytes = [&[0; HEADER], sent.as_slice()].concat();
                let mut command = Command { bytes, tags: Vec::new() };
                Socket(here.as_raw_fd()).send(&mut command).unwrap();
            });
            let socket = Socket(there.as_raw_fd());
            let mut received = Vec::new();
            for number in 0.. {
                let mut header = [0; HEADER];
                socket.receive_all(&mut header).unwrap();
                assert_eq!(header[3], number);
                let size = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
                let mut payload = vec![0; size];
                socket.receive_all(&mut payload).unwrap();
                received.extend(payload);
                if size < PAYLOAD_MAX {
                    break;
                }
            }
            sender.join().unwrap();
            assert!(received == content, "{length} bytes");
        }
    }

    #[test]
    fn a_connection_that_ends_is_lost() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let e = Socket(here.as_raw_fd()).receive().unwrap_err();
        assert_eq!(e.kind, Kind::Lost);
    }
}
