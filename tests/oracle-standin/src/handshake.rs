//! CONNECT and what follows until both sides know each other's abilities.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::faults::{Effect, Moment};
use crate::packet::{self, Packet};
use crate::session::Session;
use crate::standin::World;
use crate::ttc::{Stop, Writer};

const CHARSET_UTF8: u16 = 873;
const CHARSET_UTF16: u16 = 2000;

/// How long a client may take over its first packet.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);

/// The fewest bytes that a client may ask for per packet.
const SDU_MIN: usize = 512;

/// Answers CONNECT; the largest packet that either side may send from then on, the smaller one of what
/// the client asks for and the server offers, or nothing when it was refused.
pub(crate) fn accept(stream: &mut TcpStream, world: &World) -> std::io::Result<Option<usize>> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT_TIME_MAX))?;
    let connect = packet::read(stream, false, packet::CONNECT_BYTES_MAX)?;
    let body = &connect.body;
    if connect.kind != packet::CONNECT || body.len() < 66 {
        return Ok(None);
    }
    let u16_at = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let version = u16_at(0).min(world.generation.tns_version());
    let length = usize::from(u16_at(16));
    let offset = usize::from(u16_at(18));
    let sdu = u32::from_be_bytes([body[50], body[51], body[52], body[53]]) as usize;
    let data = match body.get(offset.saturating_sub(8)..) {
        Some(data) if data.len() >= length && length > 0 => data.to_vec(),
        // Long connect data has a packet of its own.
        _ => packet::read(stream, false, packet::CONNECT_BYTES_MAX)?.body.split_off(2),
    };
    let text = String::from_utf8_lossy(&data).into_owned();
    stream.set_read_timeout(None)?;

    let named = |key: &str| {
        let upper = text.to_uppercase();
        let at = upper.find(&format!("({key}="))? + key.len() + 2;
        Some(upper[at..].split(')').next()?.to_owned())
    };
    let refusal = match world.faults.strike(Moment::Connect, &text) {
        Some(Effect::Error { code, .. }) => Some(code),
        Some(Effect::Delay(time) | Effect::DelayAnswer(time)) => {
            std::thread::sleep(time);
            None
        }
        Some(Effect::DropBefore | Effect::DropAfter | Effect::DropAnswered) => return Ok(None),
        None if named("SERVICE_NAME").is_some_and(|s| s != world.service.to_uppercase()) => {
            Some(12514)
        }
        None if named("SID").is_some() && named("SERVICE_NAME").is_none() => Some(12505),
        None => None,
    };
    if let Some(code) = refusal {
        let reason = format!("(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={code}))");
        let mut body = vec![4, 0];
        body.extend((reason.len() as u16).to_be_bytes());
        body.extend(reason.as_bytes());
        packet::write(stream, packet::REFUSE, &body, false)?;
        return Ok(None);
    }

    let sdu = sdu.min(world.sdu.load(Ordering::Relaxed)).max(SDU_MIN);
    let data_offset: u16 = if version >= 318 { 45 } else { 41 };
    let short = sdu.min(usize::from(u16::MAX)) as u16;
    let mut body = Vec::new();
    body.extend(version.to_be_bytes());
    body.extend([0, 0]);
    body.extend(short.to_be_bytes());
    body.extend(short.to_be_bytes());
    body.extend([0, 1, 0, 0]);
    body.extend(data_offset.to_be_bytes());
    body.extend([4, 4]);
    body.extend([0; 8]);
    body.extend((sdu as u32).to_be_bytes());
    body.extend((sdu as u32).to_be_bytes());
    body.push(0);
    if version >= 318 {
        body.extend(world.generation.accept_flags().to_be_bytes());
    }
    body.resize(usize::from(data_offset) - 8, 0);
    packet::write(stream, packet::ACCEPT, &body, false)?;
    Ok(Some(sdu))
}

/// The payload of a DATA packet, or nothing when it says that the client leaves.
pub(crate) fn payload(packet: Packet) -> Option<Vec<u8>> {
    let (flags, data) = packet.body.split_at_checked(2)?;
    let flags = u16::from_be_bytes([flags[0], flags[1]]);
    if flags & packet::FLAG_EOF != 0 && data.is_empty() { None } else { Some(data.to_vec()) }
}

impl Session {
    /// Reads the PROTOCOL message behind its first byte, and answers it.
    pub(crate) fn protocol(&mut self, answer: &mut Writer) -> Result<(), Stop> {
        self.reader.terminated()?;
        self.reader.terminated()?;
        let generation = self.world.generation;
        let mut compile = [0u8; 56];
        compile[7] = generation.field_version();
        // Strings of 32,767 bytes.
        let runtime = [2u8, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        let mut fdo = [0u8; 11];
        fdo[9..].copy_from_slice(&CHARSET_UTF16.to_be_bytes());
        answer.raw(&[1, 6, 0]).raw(b"IBMPC/WIN_NT-8.1.0").u8(0);
        answer.raw(&CHARSET_UTF8.to_le_bytes()).u8(1).raw(&[0, 0]);
        answer.raw(&11u16.to_be_bytes()).raw(&fdo);
        answer.bytes(&compile).bytes(&runtime);
        Ok(())
    }

    /// Reads the DATA TYPES message behind its first byte, and answers it.
    pub(crate) fn data_types(&mut self, answer: &mut Writer) -> Result<(), Stop> {
        self.reader.raw(5)?;
        let compile = self.reader.bytes()?;
        let runtime = self.reader.bytes()?;
        if runtime.get(1).is_some_and(|bits| bits & 1 != 0) {
            self.reader.raw(11)?;
        }
        while self.reader.u16_be()? != 0 {
            if self.reader.u16_be()? != 0 {
                self.reader.raw(4)?;
            }
        }
        let most = compile.get(7).copied().unwrap_or(0);
        self.field_version = most.min(self.world.generation.field_version());
        answer.raw(&[2, 0, 0]);
        Ok(())
    }

    /// Reads all of the three messages that FAST AUTH puts into one, and answers them.
    pub(crate) fn fast_auth(&mut self) -> Result<(), Stop> {
        let mut answer = Writer::default();
        self.reader.raw(3)?;
        self.expect(1)?;
        self.protocol(&mut answer)?;
        self.reader.raw(6)?;
        self.expect(2)?;
        self.data_types(&mut answer)?;
        self.expect(3)?;
        // The part inside always has the layout of 19c.
        let generation = std::mem::replace(&mut self.field_version, 13);
        let code = self.reader.u8()?;
        self.function_header()?;
        let result = self.login_begins(code, &mut answer);
        self.field_version = self.world.generation.field_version().max(generation.min(13));
        result?;
        self.send(answer)
    }

    fn expect(&mut self, kind: u8) -> Result<(), Stop> {
        match self.reader.u8()? {
            found if found == kind => Ok(()),
            found => Err(Stop::Unknown(format!("message {found} in place of {kind}"))),
        }
    }
}
