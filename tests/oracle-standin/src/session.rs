//! One client's session: its calls, one after another, and its interruptions.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::answer::Outcome;
use crate::backend::{Backend, CancelKey, Failure};
use crate::execute::Cursor;
use crate::faults::{Effect, Moment};
use crate::handshake;
use crate::lob::Lobs;
use crate::login::Login;
use crate::ora_error::{Doing, OraError, shown};
use crate::packet;
use crate::standin::World;
use crate::ttc::{Event, Reader, Stop, Writer};
use crate::types::OwnTypes;

/// What the thread that reads the socket and the one that answers share.
#[derive(Default)]
struct Control {
    /// The client has interrupted the running call.
    interrupted: AtomicBool,
    /// How PostgreSQL is cancelled, while it works for this session.
    working: Mutex<Option<CancelKey>>,
}

/// Why a call did not come to its regular answer.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The error is the answer.
    Ora(OraError),
    /// The session is over, or interrupted.
    Stop(Stop),
}

impl From<OraError> for Fail {
    fn from(error: OraError) -> Self {
        Fail::Ora(error)
    }
}

impl From<Stop> for Fail {
    fn from(stop: Stop) -> Self {
        Fail::Stop(stop)
    }
}

/// A session.
pub(crate) struct Session {
    pub(crate) world: Arc<World>,
    stream: TcpStream,
    pub(crate) reader: Reader,
    control: Arc<Control>,
    sdu: usize,
    pub(crate) field_version: u8,
    pub(crate) login: Option<Login>,
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) user: String,
    pub(crate) backend: Option<Backend>,
    pub(crate) own: OwnTypes,
    pub(crate) cursors: HashMap<u16, Cursor>,
    pub(crate) savepoints: Vec<String>,
    pub(crate) lobs: Lobs,
    pub(crate) number: u32,
    /// What happens when the current call is answered.
    after: Option<Effect>,
}

/// Serves a connection until it ends.
pub(crate) fn serve(mut stream: TcpStream, world: &Arc<World>) -> io::Result<()> {
    let Some(sdu) = handshake::accept(&mut stream, world)? else { return Ok(()) };
    let control = Arc::new(Control::default());
    let (sender, events) = channel();
    let (input, shared) = (stream.try_clone()?, Arc::clone(&control));
    let listener = std::thread::spawn(move || listen(input, sdu, &sender, &shared));
    let mut session = Session {
        world: Arc::clone(world),
        stream,
        reader: Reader::new(events),
        control,
        sdu,
        field_version: 0,
        login: None,
        key: None,
        user: String::new(),
        backend: None,
        own: OwnTypes::default(),
        cursors: HashMap::new(),
        savepoints: Vec::new(),
        lobs: Lobs::default(),
        number: world.next_session.fetch_add(1, Ordering::Relaxed),
        after: None,
    };
    loop {
        let stop = match session.call() {
            Ok(true) => continue,
            Ok(false) => break,
            Err(Stop::Interrupted) => match session.recover() {
                Ok(()) => continue,
                Err(stop) => stop,
            },
            Err(stop) => stop,
        };
        if let Stop::Unknown(what) = stop {
            eprintln!("oracle stand-in: a client said something unknown: {what}");
        }
        break;
    }
    let _ = session.stream.shutdown(Shutdown::Both);
    drop(session);
    let _ = listener.join();
    Ok(())
}

/// Reads packets for as long as the client sends them; interruptions reach PostgreSQL at once.
fn listen(mut input: TcpStream, sdu: usize, sender: &Sender<Event>, control: &Control) {
    let cancel = || {
        let working = control.working.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = working.as_ref() {
            key.cancel();
        }
    };
    while let Ok(packet) = packet::read(&mut input, true, sdu) {
        let event = match packet.kind {
            packet::DATA => match handshake::payload(packet) {
                Some(data) => Event::Data(data),
                None => break,
            },
            packet::MARKER if packet.body.get(2) == Some(&packet::MARKER_RESET) => Event::Reset,
            packet::MARKER => {
                control.interrupted.store(true, Ordering::SeqCst);
                cancel();
                Event::Interrupt
            }
            _ => break,
        };
        if sender.send(event).is_err() {
            return;
        }
    }
    // Nobody waits for an answer any more.
    control.interrupted.store(true, Ordering::SeqCst);
    cancel();
}

impl Session {
    /// Reads and answers one call; false when the client has logged off.
    fn call(&mut self) -> Result<bool, Stop> {
        match self.reader.u8()? {
            1 => {
                let mut answer = Writer::default();
                self.protocol(&mut answer)?;
                self.send_plain(answer)?;
            }
            2 => {
                let mut answer = Writer::default();
                self.data_types(&mut answer)?;
                self.send_plain(answer)?;
            }
            3 => {
                let code = self.reader.u8()?;
                self.function_header()?;
                return self.function(code);
            }
            17 => {
                let code = self.reader.u8()?;
                self.function_header()?;
                self.piggyback(code)?;
            }
            34 => self.fast_auth()?,
            other => return Err(Stop::Unknown(format!("message {other}"))),
        }
        Ok(true)
    }

    /// What follows the code of a function: a sequence number, and a token in the newest protocol.
    pub(crate) fn function_header(&mut self) -> Result<(), Stop> {
        self.reader.u8()?;
        if self.field_version >= 18 {
            self.reader.ub()?;
        }
        Ok(())
    }

    fn function(&mut self, code: u8) -> Result<bool, Stop> {
        match code {
            118 | 115 => {
                let mut answer = Writer::default();
                if self.login_continues(code, &mut answer)? {
                    self.send(answer)?;
                } else {
                    self.send(answer)?;
                    return Ok(false);
                }
            }
            9 => {
                self.rollback_quietly();
                let mut answer = Writer::default();
                self.status(&mut answer);
                self.send(answer)?;
                return Ok(true);
            }
            147 => {
                let mut answer = Writer::default();
                self.status(&mut answer);
                self.send(answer)?;
            }
            14 => self.end_transaction(Moment::Commit)?,
            15 => self.end_transaction(Moment::Rollback)?,
            94 => self.execute()?,
            4 => self.execute_again(false)?,
            78 => self.execute_again(true)?,
            5 => self.fetch()?,
            96 => self.lob_call()?,
            other => return Err(Stop::Unknown(format!("function {other}"))),
        }
        Ok(true)
    }

    fn piggyback(&mut self, code: u8) -> Result<(), Stop> {
        let reader = &mut self.reader;
        match code {
            105 => {
                reader.u8()?;
                for _ in 0..reader.ub4()? {
                    let cursor = reader.ub2()?;
                    if self.cursors.remove(&cursor).is_some()
                        && let Some(backend) = self.backend.as_mut()
                        && !backend.in_transaction()
                    {
                        backend.close(&format!("c{cursor}")).map_err(|_| Stop::Gone)?;
                    }
                }
            }
            96 => self.free_lobs()?,
            135 => self.end_to_end()?,
            152 => {
                reader.u8()?;
                let schema = reader.text_double()?;
                self.set_schema(&crate::sql::quote(&shown(&schema)))?;
            }
            176 => {
                reader.ub()?;
            }
            154 => {
                reader.u8()?;
                reader.ub4()?;
                reader.u8()?;
                let pairs = reader.ub4()?;
                reader.ub()?;
                reader.u8()?;
                reader.bytes()?;
                for _ in 0..pairs {
                    reader.bytes_double()?;
                    reader.bytes_double()?;
                    reader.ub()?;
                }
            }
            other => return Err(Stop::Unknown(format!("piggyback {other}"))),
        }
        Ok(())
    }

    /// Module, action and the like, which SYS_CONTEXT shows.
    fn end_to_end(&mut self) -> Result<(), Stop> {
        let reader = &mut self.reader;
        reader.raw(2)?;
        let flags = reader.ub4()?;
        let mut lengths = Vec::new();
        for _ in 0..3 {
            reader.u8()?;
            lengths.push(reader.ub4()?);
        }
        for _ in 0..2 {
            reader.u8()?;
            reader.ub4()?;
        }
        reader.u8()?;
        lengths.push(reader.ub4()?);
        for _ in 0..2 {
            reader.u8()?;
            reader.ub4()?;
        }
        reader.u8()?;
        lengths.push(reader.ub4()?);
        let settings = [
            ("client_identifier", 0x1),
            ("module", 0x8),
            ("action", 0x10),
            ("client_info", 0x100),
            ("dbop", 0x200),
        ];
        for ((name, flag), length) in settings.into_iter().zip(lengths) {
            if length == 0 && flags & flag != 0 {
                self.set(name, "")?;
            }
            if length > 0 {
                let text = String::from_utf8_lossy(&self.reader.bytes()?).into_owned();
                self.set(name, &text)?;
            }
        }
        Ok(())
    }

    /// Sets one of the session's settings that the dictionary shows.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Stop> {
        let sql = format!("SET ora.{name} = {}", crate::sql::literal(value));
        self.backend()?.script(&sql).map(|_| ()).map_err(|_| Stop::Gone)
    }

    pub(crate) fn set_schema(&mut self, schema: &str) -> Result<(), Stop> {
        let sql = format!("SET search_path = {schema}, ora, sys, oracle, pg_catalog");
        self.backend()?.script(&sql).map(|_| ()).map_err(|_| Stop::Gone)
    }

    pub(crate) fn backend(&mut self) -> Result<&mut Backend, Stop> {
        self.backend.as_mut().ok_or(Stop::Gone)
    }

    /// Lets PostgreSQL work; an interruption cancels it meanwhile.
    pub(crate) fn work<T>(
        &mut self,
        doing: Doing,
        work: impl FnOnce(&mut Backend) -> Result<T, Failure>,
    ) -> Result<T, Fail> {
        let backend = self.backend.as_mut().ok_or(Fail::Stop(Stop::Gone))?;
        if self.control.interrupted.load(Ordering::SeqCst) {
            return Err(Fail::Stop(Stop::Interrupted));
        }
        *self.control.working.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(backend.cancel_key());
        // The client may have interrupted between the look and the key.
        if self.control.interrupted.load(Ordering::SeqCst) {
            backend.cancel_key().cancel();
        }
        let result = work(backend);
        *self.control.working.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match result {
            Ok(value) => Ok(value),
            Err(Failure::Sql(error)) => Err(Fail::Ora(OraError::from_postgres(&error, doing))),
            Err(Failure::Gone) => Err(Fail::Stop(Stop::Gone)),
        }
    }

    /// Whether the client has interrupted the running call.
    pub(crate) fn interrupted(&self) -> bool {
        self.control.interrupted.load(Ordering::SeqCst)
    }

    /// Lets a fault strike before something is done.
    pub(crate) fn fault(&mut self, moment: Moment, sql: &str) -> Result<(), Fail> {
        match self.world.faults.strike(moment, sql) {
            None => Ok(()),
            Some(Effect::DropBefore) => Err(Fail::Stop(Stop::Gone)),
            Some(Effect::Delay(time)) => Ok(self.pause(time)?),
            Some(Effect::Error { code, message }) => Err(Fail::Ora(OraError::new(code, &message))),
            Some(later) => {
                self.after = Some(later);
                Ok(())
            }
        }
    }

    /// Waits, unless the client interrupts.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Stop> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.interrupted() {
                return Err(Stop::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(5).min(time));
        }
        Ok(())
    }

    /// Sends an answer, with the mark of its end where the protocol has one.
    pub(crate) fn send(&mut self, mut answer: Writer) -> Result<(), Stop> {
        let marked = self.world.generation.marks_ends();
        if marked {
            answer.u8(29);
        }
        self.transmit(&answer.bytes, marked)
    }

    /// Sends one of the answers before the login, which have no mark.
    fn send_plain(&mut self, answer: Writer) -> Result<(), Stop> {
        self.transmit(&answer.bytes, false)
    }

    fn transmit(&mut self, answer: &[u8], marked: bool) -> Result<(), Stop> {
        let after = self.after.take();
        match &after {
            Some(Effect::DropAfter) => return Err(Stop::Gone),
            Some(Effect::DelayAnswer(time)) => self.pause(*time)?,
            _ => {}
        }
        if self.interrupted() {
            return Err(Stop::Interrupted);
        }
        self.world.answer_bytes_max.fetch_max(answer.len(), Ordering::Relaxed);
        packet::write_answer(&mut self.stream, answer, self.sdu, marked)?;
        match after {
            Some(Effect::DropAnswered) => Err(Stop::Gone),
            _ => Ok(()),
        }
    }

    /// The dance after an interruption, at the end of which the call has failed with ORA-01013.
    fn recover(&mut self) -> Result<(), Stop> {
        self.reader.discard();
        packet::write_marker(&mut self.stream, packet::MARKER_BREAK)?;
        loop {
            match self.reader.event()? {
                Event::Reset => break,
                Event::Interrupt | Event::Data(_) => {}
            }
        }
        packet::write_marker(&mut self.stream, packet::MARKER_RESET)?;
        self.control.interrupted.store(false, Ordering::SeqCst);
        self.after = None;
        // A cancellation that came late strikes here.
        if let Some(backend) = self.backend.as_mut() {
            let in_transaction = backend.in_transaction();
            let probe = if in_transaction { "SAVEPOINT \"ora$s\"; RELEASE \"ora$s\"" } else { "" };
            if let Err(Failure::Gone) = backend.script(probe) {
                return Err(Stop::Gone);
            }
        }
        let error = OraError::new(1013, "user requested cancel of current operation");
        let mut answer = Writer::default();
        self.outcome(&mut answer, &Outcome::failed(0, error));
        self.send(answer)
    }

    /// The call status: whether a transaction is open.
    pub(crate) fn call_status(&self) -> u64 {
        let open = self.backend.as_ref().is_some_and(Backend::in_transaction);
        if open { 3 } else { 1 }
    }

    fn rollback_quietly(&mut self) {
        if let Some(backend) = self.backend.as_mut()
            && backend.in_transaction()
        {
            let _ = backend.script("ROLLBACK");
        }
    }

    /// COMMIT or ROLLBACK as a call.
    fn end_transaction(&mut self, moment: Moment) -> Result<(), Stop> {
        let mut answer = Writer::default();
        match self.finish(moment) {
            Ok(()) => self.status(&mut answer),
            Err(Fail::Ora(error)) => self.outcome(&mut answer, &Outcome::failed(0, error)),
            Err(Fail::Stop(stop)) => return Err(stop),
        }
        self.send(answer)
    }

    /// Commits or rolls back.
    pub(crate) fn finish(&mut self, moment: Moment) -> Result<(), Fail> {
        let sql = if moment == Moment::Commit { "COMMIT" } else { "ROLLBACK" };
        self.fault(moment, sql)?;
        self.savepoints.clear();
        if !self.backend()?.in_transaction() {
            return Ok(());
        }
        let doing = if moment == Moment::Commit { Doing::Commit } else { Doing::Other };
        self.work(doing, |backend| backend.script(sql).map(|_| ()))
    }
}
