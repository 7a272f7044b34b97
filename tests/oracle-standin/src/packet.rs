//! TNS packets: the frame around everything either side says.

use std::io::{self, Read, Write};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const ACCEPT: u8 = 2;
pub(crate) const REFUSE: u8 = 4;
pub(crate) const DATA: u8 = 6;
pub(crate) const MARKER: u8 = 12;

/// Data flag: the client leaves.
pub(crate) const FLAG_EOF: u16 = 0x0040;
/// Data flag: the last packet of an answer.
const FLAG_END_OF_RESPONSE: u16 = 0x2000;

pub(crate) const MARKER_BREAK: u8 = 1;
pub(crate) const MARKER_RESET: u8 = 2;

/// The first packet of a client, which comes before sizes are agreed on, is not larger than this.
pub(crate) const CONNECT_BYTES_MAX: usize = 8192;

/// One packet without its eight bytes of header.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

/// Reads one packet of at most `most` bytes; a larger one is an error, as it is to Oracle (ORA-12592).
/// `wide` says that lengths have four bytes, as they do once a connection is accepted.
pub(crate) fn read(stream: &mut impl Read, wide: bool, most: usize) -> io::Result<Packet> {
    let mut header = [0u8; 8];
    stream.read_exact(&mut header)?;
    let length = if wide {
        u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize
    } else {
        u16::from_be_bytes([header[0], header[1]]) as usize
    };
    if !(8..=most).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("packet length {length}")));
    }
    let mut body = vec![0u8; length - 8];
    stream.read_exact(&mut body)?;
    Ok(Packet { kind: header[4], body })
}

fn frame(kind: u8, body: &[u8], wide: bool) -> Vec<u8> {
    let length = body.len() + 8;
    let mut bytes = Vec::with_capacity(length);
    if wide {
        bytes.extend((length as u32).to_be_bytes());
    } else {
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

/// Writes one packet.
pub(crate) fn write(stream: &mut impl Write, kind: u8, body: &[u8], wide: bool) -> io::Result<()> {
    stream.write_all(&frame(kind, body, wide))
}

/// Writes an answer as DATA packets of at most `sdu` bytes each.
pub(crate) fn write_answer(
    stream: &mut impl Write,
    answer: &[u8],
    sdu: usize,
    end_of_response: bool,
) -> io::Result<()> {
    let chunk = sdu - 10;
    let mut bytes = Vec::with_capacity(answer.len() + 64);
    let mut rest = answer;
    loop {
        let (part, after) = rest.split_at(rest.len().min(chunk));
        rest = after;
        let last = rest.is_empty();
        let flags = if last && end_of_response { FLAG_END_OF_RESPONSE } else { 0 };
        let mut body = Vec::with_capacity(part.len() + 2);
        body.extend(flags.to_be_bytes());
        body.extend(part);
        bytes.extend(frame(DATA, &body, true));
        if last {
            break;
        }
    }
    stream.write_all(&bytes)
}

/// Writes a marker.
pub(crate) fn write_marker(stream: &mut impl Write, kind: u8) -> io::Result<()> {
    write(stream, MARKER, &[1, 0, kind], true)
}
