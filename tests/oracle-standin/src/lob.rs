//! LOBs: what locators stand for, and the calls on them.
//!
//! A LOB of a row is its value at the time of the query; it can be read, not written. Temporary
//! LOBs can be written too, and bound.

use std::collections::HashMap;

use crate::answer::Outcome;
use crate::faults::Moment;
use crate::ora_error::OraError;
use crate::session::{Fail, Session};
use crate::ttc::{Stop, Writer};
use crate::types::{self, OraType};

const LOCATOR_BYTES: usize = 40;
const CHUNK_BYTES: u32 = 8060;

const READ: u32 = 0x0002;
const GET_LENGTH: u32 = 0x0001;
const TRIM: u32 = 0x0020;
const WRITE: u32 = 0x0040;
const GET_CHUNK_SIZE: u32 = 0x4000;
const CREATE_TEMP: u32 = 0x0110;
const FREE_TEMP: u32 = 0x0111;
const OPEN: u32 = 0x8000;
const CLOSE: u32 = 0x1_0000;
const IS_OPEN: u32 = 0x1_1000;

/// A LOB: characters are two bytes each, as on the wire.
#[derive(Debug)]
struct Lob {
    content: Vec<u8>,
    characters: bool,
    temporary: bool,
    open: bool,
}

impl Lob {
    fn unit(&self) -> usize {
        if self.characters { 2 } else { 1 }
    }
}

/// The LOBs of a session.
#[derive(Debug, Default)]
pub(crate) struct Lobs {
    known: HashMap<u64, Lob>,
    last: u64,
}

impl Lobs {
    fn add(&mut self, content: Vec<u8>, characters: bool, temporary: bool) -> [u8; LOCATOR_BYTES] {
        self.last += 1;
        self.known.insert(self.last, Lob { content, characters, temporary, open: false });
        let mut locator = [0u8; LOCATOR_BYTES];
        locator[1] = (LOCATOR_BYTES - 2) as u8;
        locator[3] = 1;
        locator[4] = if characters { 2 } else { 1 };
        locator[5] = 8;
        if characters {
            // Characters of two bytes, the first the more significant one.
            locator[6] = 0x80;
        }
        if temporary {
            locator[7] = 1;
        }
        locator[10..18].copy_from_slice(&self.last.to_be_bytes());
        locator
    }

    /// Writes a LOB of a query's row.
    pub(crate) fn column(&mut self, answer: &mut Writer, kind: &OraType, content: Vec<u8>) {
        let characters = kind.number == types::CLOB;
        let size = content.len() / if characters { 2 } else { 1 };
        let locator = self.add(content, characters, false);
        answer.ub(LOCATOR_BYTES as u64).ub(size as u64).ub(CHUNK_BYTES.into()).bytes(&locator);
    }

    fn id(locator: &[u8]) -> u64 {
        locator.get(10..18).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
    }

    /// What a bound locator stands for, as text for PostgreSQL. Empty LOBs are no NULLs.
    pub(crate) fn bound(&self, locator: &[u8]) -> Result<Option<Vec<u8>>, OraError> {
        if locator.is_empty() {
            return Ok(None);
        }
        let lob = self.known.get(&Self::id(locator)).ok_or_else(invalid)?;
        if !lob.characters {
            return Ok(Some(types::hex_text(&lob.content).into_bytes()));
        }
        let units: Vec<u16> =
            lob.content.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
        Ok(Some(String::from_utf16_lossy(&units).into_bytes()))
    }
}

fn invalid() -> OraError {
    OraError::new(22275, "invalid LOB locator specified")
}

/// A call on a LOB.
struct Call {
    operation: u32,
    locator: Vec<u8>,
    /// Counted from one, in the LOB's units.
    offset: u64,
    second_offset: u64,
    amount: Option<u64>,
    data: Vec<u8>,
}

impl Session {
    fn read_lob_call(&mut self) -> Result<Call, Stop> {
        let reader = &mut self.reader;
        reader.u8()?;
        let locator_bytes = reader.ub4()? as usize;
        reader.u8()?;
        reader.ub4()?;
        reader.ub4()?;
        reader.ub4()?;
        reader.raw(3)?;
        let operation = reader.ub4()?;
        reader.raw(2)?;
        let offset = reader.ub()?;
        let second_offset = reader.ub()?;
        let sends_amount = reader.u8()? != 0;
        reader.raw(6)?;
        let locator = reader.raw(locator_bytes)?;
        let mut data = Vec::new();
        if operation == CREATE_TEMP {
            reader.ub4()?;
        }
        if operation == WRITE {
            reader.u8()?;
            data = reader.bytes()?;
        }
        let amount = if sends_amount { Some(reader.ub()?) } else { None };
        Ok(Call { operation, locator, offset, second_offset, amount, data })
    }

    /// Reads and answers a call on a LOB.
    pub(crate) fn lob_call(&mut self) -> Result<(), Stop> {
        let call = self.read_lob_call()?;
        let mut answer = Writer::default();
        let result = match self.fault(Moment::Lob, "") {
            Ok(()) => self.lob_result(&call, &mut answer).map_err(Fail::Ora),
            Err(fail) => Err(fail),
        };
        match result {
            Ok(()) => {
                if matches!(call.operation, CREATE_TEMP | FREE_TEMP) {
                    self.count_temporary_lobs()?;
                }
                self.outcome(&mut answer, &Outcome::default());
            }
            Err(Fail::Ora(error)) => {
                answer = Writer::default();
                self.outcome(&mut answer, &Outcome::failed(0, error));
            }
            Err(Fail::Stop(stop)) => return Err(stop),
        }
        self.send(answer)
    }

    fn lob_result(&mut self, call: &Call, answer: &mut Writer) -> Result<(), OraError> {
        if call.operation == CREATE_TEMP {
            let characters = call.second_offset == u64::from(types::CLOB);
            let locator = self.lobs.add(Vec::new(), characters, true);
            answer.u8(8).raw(&locator).ub(873).u8(0);
            return Ok(());
        }
        if call.operation == FREE_TEMP {
            self.lobs.known.remove(&Lobs::id(&call.locator));
            answer.u8(8).raw(&call.locator);
            return Ok(());
        }
        let lob = self.lobs.known.get_mut(&Lobs::id(&call.locator)).ok_or_else(invalid)?;
        let unit = lob.unit();
        let start = (call.offset.saturating_sub(1) as usize).saturating_mul(unit);
        let mut amount = call.amount.unwrap_or(0);
        let mut flag = None;
        let locked = |lob: &Lob| {
            let error = "row containing the LOB value is not locked";
            if lob.temporary { Ok(()) } else { Err(OraError::new(22920, error)) }
        };
        match call.operation {
            READ => {
                let wanted = usize::try_from(amount).unwrap_or(usize::MAX).saturating_mul(unit);
                let start = start.min(lob.content.len());
                let end = start.saturating_add(wanted).min(lob.content.len());
                let part = &lob.content[start..end];
                answer.u8(14).bytes(part);
                amount = (part.len() / unit) as u64;
            }
            GET_LENGTH => amount = (lob.content.len() / unit) as u64,
            GET_CHUNK_SIZE => amount = CHUNK_BYTES.into(),
            WRITE => {
                locked(lob)?;
                let end = start + call.data.len();
                if lob.content.len() < end {
                    let blank: &[u8] = if lob.characters { &[0, b' '] } else { &[0] };
                    let missing = end - lob.content.len();
                    lob.content.extend(blank.iter().cycle().take(missing));
                }
                lob.content[start..end].copy_from_slice(&call.data);
            }
            TRIM => {
                locked(lob)?;
                lob.content.truncate(usize::try_from(amount).unwrap_or(usize::MAX) * unit);
            }
            OPEN if lob.open => {
                return Err(OraError::new(22293, "LOB already opened in the same transaction"));
            }
            OPEN => lob.open = true,
            CLOSE if !lob.open => {
                return Err(OraError::new(
                    22289,
                    "cannot perform operation on an unopened file or LOB",
                ));
            }
            CLOSE => lob.open = false,
            IS_OPEN => flag = Some(lob.open),
            _ => return Err(OraError::new(3001, "unimplemented feature")),
        }
        answer.u8(8).raw(&call.locator);
        if call.amount.is_some() {
            answer.ub(amount);
        }
        if let Some(flag) = flag {
            answer.u8(flag.into());
        }
        Ok(())
    }

    /// The piggyback that frees temporary LOBs.
    pub(crate) fn free_lobs(&mut self) -> Result<(), Stop> {
        let reader = &mut self.reader;
        reader.u8()?;
        let total = reader.ub4()? as usize;
        reader.u8()?;
        for _ in 0..3 {
            reader.ub4()?;
        }
        reader.raw(3)?;
        reader.ub4()?;
        reader.u8()?;
        reader.ub4()?;
        reader.ub()?;
        reader.ub()?;
        reader.u8()?;
        for _ in 0..3 {
            reader.u8()?;
            reader.ub4()?;
        }
        let locators = reader.raw(total)?;
        for locator in locators.chunks(LOCATOR_BYTES) {
            self.lobs.known.remove(&Lobs::id(locator));
        }
        self.count_temporary_lobs()
    }

    /// Tells the dictionary how many temporary LOBs there are.
    fn count_temporary_lobs(&mut self) -> Result<(), Stop> {
        let count = self.lobs.known.values().filter(|lob| lob.temporary).count();
        self.set("temporary_lobs", &count.to_string())
    }
}
