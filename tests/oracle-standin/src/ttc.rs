//! TTC primitives: how numbers and byte strings stand inside DATA packets.

use std::io;
use std::sync::mpsc::Receiver;

/// What arrives on a connection once it is accepted.
#[derive(Debug)]
pub(crate) enum Event {
    /// The payload of a DATA packet.
    Data(Vec<u8>),
    /// The client wants its running call to end.
    Interrupt,
    /// The client is ready to go on after an interruption.
    Reset,
}

/// Why reading a request ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The connection is no more.
    Gone,
    /// The client interrupted.
    Interrupted,
    /// The client said something that this server does not understand.
    Unknown(String),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Stop::Gone
    }
}

/// The longest byte string with a length of one byte.
const SHORT_LENGTH_MAX: usize = 252;
const LONG_LENGTH: u8 = 254;
const NULL_LENGTH: u8 = 255;
const CHUNK_BYTES: usize = 32767;

/// Reads requests, taking further packets as it needs them: requests have no end mark.
pub(crate) struct Reader {
    events: Receiver<Event>,
    buffer: Vec<u8>,
    position: usize,
}

impl Reader {
    pub(crate) fn new(events: Receiver<Event>) -> Self {
        Reader { events, buffer: Vec::new(), position: 0 }
    }

    /// Forgets what was read of the current request.
    pub(crate) fn discard(&mut self) {
        self.buffer.clear();
        self.position = 0;
    }

    /// The next event, while no request is being read.
    pub(crate) fn event(&mut self) -> Result<Event, Stop> {
        self.events.recv().map_err(|_| Stop::Gone)
    }

    fn need(&mut self, count: usize) -> Result<(), Stop> {
        if self.position == self.buffer.len() {
            self.discard();
        }
        while self.buffer.len() - self.position < count {
            match self.events.recv().map_err(|_| Stop::Gone)? {
                Event::Data(bytes) => self.buffer.extend(bytes),
                Event::Interrupt | Event::Reset => return Err(Stop::Interrupted),
            }
        }
        Ok(())
    }

    pub(crate) fn raw(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        self.need(count)?;
        let bytes = self.buffer[self.position..self.position + count].to_vec();
        self.position += count;
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Stop> {
        self.need(1)?;
        self.position += 1;
        Ok(self.buffer[self.position - 1])
    }

    pub(crate) fn u16_be(&mut self) -> Result<u16, Stop> {
        Ok(u16::from(self.u8()?) << 8 | u16::from(self.u8()?))
    }

    /// An unsigned number of any declared width.
    pub(crate) fn ub(&mut self) -> Result<u64, Stop> {
        let length = self.u8()?;
        if length > 8 {
            return Err(Stop::Unknown(format!("a number of {length} bytes")));
        }
        let mut value = 0u64;
        for _ in 0..length {
            value = value << 8 | u64::from(self.u8()?);
        }
        Ok(value)
    }

    pub(crate) fn ub4(&mut self) -> Result<u32, Stop> {
        u32::try_from(self.ub()?).map_err(|_| Stop::Unknown("a number too large".into()))
    }

    pub(crate) fn ub2(&mut self) -> Result<u16, Stop> {
        u16::try_from(self.ub()?).map_err(|_| Stop::Unknown("a number too large".into()))
    }

    /// A byte string after its length.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, Stop> {
        match self.u8()? {
            NULL_LENGTH => Ok(Vec::new()),
            LONG_LENGTH => {
                let mut all = Vec::new();
                loop {
                    let length = self.ub4()? as usize;
                    if length == 0 {
                        return Ok(all);
                    }
                    all.extend(self.raw(length)?);
                }
            }
            length => self.raw(length.into()),
        }
    }

    /// A byte string after its length twice.
    pub(crate) fn bytes_double(&mut self) -> Result<Vec<u8>, Stop> {
        if self.ub4()? == 0 { Ok(Vec::new()) } else { self.bytes() }
    }

    pub(crate) fn text_double(&mut self) -> Result<String, Stop> {
        Ok(String::from_utf8_lossy(&self.bytes_double()?).into_owned())
    }

    /// Bytes up to a zero, which is read too.
    pub(crate) fn terminated(&mut self) -> Result<Vec<u8>, Stop> {
        let mut all = Vec::new();
        loop {
            match self.u8()? {
                0 => return Ok(all),
                byte => all.push(byte),
            }
        }
    }
}

/// Builds an answer.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// An unsigned number in as few bytes as it takes.
    pub(crate) fn ub(&mut self, value: u64) -> &mut Self {
        let bytes = value.to_be_bytes();
        let skip = value.leading_zeros() as usize / 8;
        self.u8((8 - skip) as u8);
        self.raw(&bytes[skip..])
    }

    /// A byte string after its length.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        if value.len() <= SHORT_LENGTH_MAX {
            return self.u8(value.len() as u8).raw(value);
        }
        self.u8(LONG_LENGTH);
        for chunk in value.chunks(CHUNK_BYTES) {
            self.ub(chunk.len() as u64).raw(chunk);
        }
        self.u8(0)
    }

    /// A byte string after its length twice.
    pub(crate) fn bytes_double(&mut self, value: &[u8]) -> &mut Self {
        self.ub(value.len() as u64);
        if value.is_empty() { self } else { self.bytes(value) }
    }
}
