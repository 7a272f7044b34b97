//! The connection's socket, used by hand between two commands of the driver: packets out of one
//! buffer and into another. Only where the socket carries packets as they are (no TLS, no
//! compression).
//!
//! The packets are those of MariaDB's and MySQL's protocol documentation.

use std::os::fd::RawFd;

use mysql::MySqlError;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::errors;
use crate::error::{Error, Kind, Result};

/// Bytes that one packet can carry; a command or answer of so many or more goes on in the next.
const PAYLOAD_MAX: usize = 0xFF_FFFF;
/// A packet's header: three bytes of length, its number.
pub(super) const HEADER: usize = 4;
/// Bytes asked for at once.
const READ_BYTES: usize = 64 << 10;

/// The socket of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket(pub(super) RawFd);

impl Socket {
    /// Sends a command, in as many packets as it takes. The first [`HEADER`] bytes are room for a
    /// packet's header; the command is not to be used any more.
    pub(super) fn send(self, command: &mut [u8]) -> Result<()> {
        let mut at = HEADER;
        for number in 0u8.. {
            let length = (command.len() - at).min(PAYLOAD_MAX);
            // The header takes the place of what has been sent already.
            let header = &mut command[at - HEADER..at];
            header.copy_from_slice(&(length as u32).to_le_bytes());
            header[3] = number;
            self.send_all(&command[at - HEADER..at + length])?;
            at += length;
            if length < PAYLOAD_MAX {
                break;
            }
        }
        Ok(())
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

    fn receive(self, bytes: &mut [u8]) -> Result<usize> {
        loop {
            match recv(self.0, bytes, MsgFlags::empty()) {
                Ok(0) => return Err(broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => return Ok(got),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(broken(e.into())),
            }
        }
    }
}

fn broken(e: std::io::Error) -> Error {
    errors::from_driver(&mysql::Error::IoError(e))
}

/// The error for bytes that cannot be what was asked for: the connection is of no more use.
pub(super) fn garbled() -> Error {
    Error::new(Kind::Lost, "the server gave an answer that cannot be understood")
}

/// What a server sends, packet by packet. When the last packet of an answer has been taken, nothing
/// is left in it.
#[derive(Debug, Default)]
pub(super) struct Packets {
    buffer: Vec<u8>,
    /// What has been received and not been taken.
    begin: usize,
    end: usize,
}

impl Packets {
    /// The next packet, those that it goes on in included.
    pub(super) fn next(&mut self, socket: Socket) -> Result<&[u8]> {
        let mut length = self.header(socket, 0)?;
        let mut whole = length;
        while length == PAYLOAD_MAX {
            self.fill(socket, HEADER + whole)?;
            length = self.header(socket, HEADER + whole)?;
            // Without the header in between, the payload is one piece.
            let next = self.begin + HEADER + whole;
            self.fill(socket, HEADER + whole + HEADER + length)?;
            self.buffer.copy_within(next + HEADER..self.end, next);
            self.end -= HEADER;
            whole += length;
        }
        self.fill(socket, HEADER + whole)?;
        let begin = self.begin + HEADER;
        self.begin = begin + whole;
        Ok(&self.buffer[begin..begin + whole])
    }

    /// Whether everything received has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Length of the packet whose header is so many bytes ahead.
    fn header(&mut self, socket: Socket, ahead: usize) -> Result<usize> {
        self.fill(socket, ahead + HEADER)?;
        let at = self.begin + ahead;
        let [a, b, c] = [self.buffer[at], self.buffer[at + 1], self.buffer[at + 2]];
        Ok(u32::from_le_bytes([a, b, c, 0]) as usize)
    }

    /// Has so many bytes from `begin` on.
    fn fill(&mut self, socket: Socket, bytes: usize) -> Result<()> {
        if self.end - self.begin >= bytes {
            return Ok(());
        }
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        if self.buffer.len() < self.begin + bytes.max(READ_BYTES / 2) {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            let size = bytes.max(READ_BYTES);
            if self.buffer.len() < size {
                self.buffer.resize(size, 0);
            }
        }
        while self.end - self.begin < bytes {
            self.end += socket.receive(&mut self.buffer[self.end..])?;
        }
        Ok(())
    }
}

/// An ERR packet, where it is one.
pub(super) fn server_error(payload: &[u8]) -> Option<MySqlError> {
    let (code, rest) = u16_of(payload.strip_prefix(&[0xFF])?)?;
    let (state, message) = match rest.split_first() {
        Some((b'#', rest)) => rest.split_at_checked(5)?,
        _ => (&b"HY000"[..], rest),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(MySqlError { state: text(state), message: text(message), code })
}

/// The next two bytes as a number, and what follows.
pub(super) fn u16_of(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (value, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_le_bytes(*value), rest))
}

/// A number of one to nine bytes, and what follows.
pub(super) fn length_encoded(bytes: &[u8]) -> Option<(u64, &[u8])> {
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

/// Bytes with their length before them, and what follows.
pub(super) fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = length_encoded(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// Writes a number of one to nine bytes.
pub(super) fn put_length(bytes: &mut Vec<u8>, length: u64) {
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
        #[test]
        fn lengths_are_read_as_they_are_written(n in any::<u64>(), shift in 0u32..64, rest in any::<u8>()) {
            let n = n >> shift;
            let mut bytes = Vec::new();
            put_length(&mut bytes, n);
            bytes.push(rest);
            prop_assert_eq!(length_encoded(&bytes), Some((n, &[rest][..])));
            // Cut short, nothing.
            bytes.truncate(bytes.len() - 2);
            prop_assert!(length_encoded(&bytes).is_none());
        }

        #[test]
        fn any_bytes_are_an_error_or_none(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (server_error(&payload), counted(&payload));
        }
    }

    #[test]
    fn errors_are_read_with_and_without_a_state() {
        for (payload, code, state, message) in [
            (&b"\xff\x26\x04#23000Duplicate entry"[..], 1062, "23000", "Duplicate entry"),
            (b"\xff\x15\x04Too early", 1045, "HY000", "Too early"),
        ] {
            let e = server_error(payload).unwrap();
            assert_eq!((e.code, e.state.as_str(), e.message.as_str()), (code, state, message));
        }
        assert!(server_error(b"\x00\x00\x00").is_none());
    }

    /// Sent by one end and taken by the other, several one after the other.
    #[test]
    fn packets_of_any_length_arrive_whole() {
        let lengths = [
            1,
            3,
            70_000,
            PAYLOAD_MAX - 1,
            0,
            PAYLOAD_MAX,
            5,
            PAYLOAD_MAX + 1,
            2 * PAYLOAD_MAX + 5,
        ];
        let content = |length: usize| (0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>();
        let (here, there) = UnixStream::pair().unwrap();
        let sender = thread::spawn(move || {
            for length in lengths {
                let mut command = [vec![0; HEADER], content(length)].concat();
                Socket(here.as_raw_fd()).send(&mut command).unwrap();
            }
            here
        });
        let mut packets = Packets::default();
        for length in lengths {
            let packet = packets.next(Socket(there.as_raw_fd())).unwrap();
            assert!(*packet == content(length), "{length} bytes, {} came", packet.len());
        }
        assert!(packets.is_empty());
        drop(sender.join().unwrap());
        assert_eq!(packets.next(Socket(there.as_raw_fd())).unwrap_err().kind, Kind::Lost);
    }
}
