//! The writer processes of a table run: started when there is work for them, replaced when they
//! die, put to rest at its end for the table after it.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use crossbeam_channel::Sender;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::channel::Channel;
use ssync_common::process::spawn::{Child, Exit, SpawnOptions, spawn_role};
use ssync_common::shm::ring::Ring;
use ssync_writer::protocol::{FromWriter, Setup, ToWriter, Work};

use crate::events::Event;
use crate::idle::Connections;
use crate::params::TaskParams;

/// Deaths of writers that a table run survives.
const DEATHS_MAX: u32 = 20;

/// A writer process. Dropped, it leaves, and is waited for: drop only one that is at rest, or
/// killed.
pub struct WriterProcess {
    n: usize,
    child: Child,
    channel: Channel,
}

impl WriterProcess {
    /// Its number, from 0.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Tells it to leave.
    pub fn send_off(&self) {
        // One that is gone already cannot hear it, and need not.
        let _ = self.channel.send(&ToWriter::Finish);
    }
}

impl Drop for WriterProcess {
    fn drop(&mut self) {
        self.send_off();
        match self.child.wait() {
            Ok(status) => log::info!("writer {} (pid {}) left: {status}", self.n, self.child.pid()),
            Err(e) => log::warn!("writer {} (pid {}): {e}", self.n, self.child.pid()),
        }
    }
}

struct Writer {
    process: WriterProcess,
    /// Passes on what it says, up to its rest, or its end; whether it rests.
    listener: JoinHandle<bool>,
    life: u64,
    ready: bool,
    busy: Option<usize>,
}

/// The writers of a table run.
pub struct Pool {
    connections: Connections,
    task: u32,
    home: PathBuf,
    writers: Vec<Option<Writer>>,
    lives: u64,
    deaths: u32,
    /// What a writer died of last, as far as one could say it.
    last_error: Option<Error>,
    events: Sender<Event>,
    ring: Ring,
    make_setup: Box<dyn Fn(usize) -> Setup>,
}

impl Pool {
    /// So many writers at the most, which get batches through `ring`; none is started yet.
    /// `make_setup` makes the first message for the writer of a number.
    pub fn new(
        params: &TaskParams,
        connections: &Connections,
        writers: u8,
        events: Sender<Event>,
        ring: Ring,
        make_setup: Box<dyn Fn(usize) -> Setup>,
    ) -> Self {
        let writers = (0..writers).map(|_| None).collect();
        let (task, home) = (params.task.id, params.home.clone());
        let connections = connections.clone();
        let (lives, deaths, last_error) = (0, 0, None);
        Pool {
            connections,
            task,
            home,
            writers,
            lives,
            deaths,
            last_error,
            events,
            ring,
            make_setup,
        }
    }

    /// Hands a batch to an idle writer, starting one if there is room; `false` when all are busy,
    /// or as many as may be at a time. `side` is the ring of its own that a wide batch is in.
    pub fn dispatch(
        &mut self,
        work: &Work,
        side: Option<&Ring>,
        concurrency: usize,
    ) -> Result<bool> {
        if self.busy() >= concurrency {
            return Ok(false);
        }
        let idle = self
            .writers
            .iter()
            .position(|w| w.as_ref().is_some_and(|w| w.ready && w.busy.is_none()));
        let Some(n) = idle else {
            // One more writer, unless one is starting up already: a small table needs only one.
            let starting = self.writers.iter().flatten().any(|w| !w.ready);
            let free = self.writers.iter().take(concurrency).position(Option::is_none);
            if let (false, Some(n)) = (starting, free) {
                self.start(n)?;
            }
            return Ok(false);
        };
        let side = side.map(Ring::descriptor).transpose()?;
        if let Some(writer) = &mut self.writers[n] {
            writer.busy = Some(work.slot);
            // A writer that is gone says so through its receiving thread; the batch is found
            // through `busy` then.
            if let Err(e) = writer.process.channel.send_with(&ToWriter::Work(work.clone()), side) {
                log::warn!("writer {n} could not be reached: {e}");
            }
        }
        Ok(true)
    }

    fn start(&mut self, n: usize) -> Result<()> {
        let process = match self.connections.take_writer(n) {
            Some(rested) => rested,
            None => self.spawn(n)?,
        };
        self.lives += 1;
        let life = self.lives;
        let setup = ToWriter::Setup(Box::new((self.make_setup)(n)));
        // One that has died at rest says so through its listener.
        if let Err(e) = process.channel.send_with(&setup, Some(self.ring.descriptor()?)) {
            log::warn!("writer {n} could not be reached: {e}");
        }
        let receiving = process.channel.try_clone()?;
        let events = self.events.clone();
        let listen = move || {
            loop {
                let message = receiving.recv::<FromWriter>().unwrap_or(None);
                let (rests, gone) =
                    (matches!(message, Some(FromWriter::Resting)), message.is_none());
                if rests || events.send(Event::Writer { n, life, message }).is_err() || gone {
                    return rests;
                }
            }
        };
        let listener = thread::Builder::new().name(format!("writer-{n}")).spawn(listen)?;
        self.writers[n] = Some(Writer { process, listener, life, ready: false, busy: None });
        Ok(())
    }

    fn spawn(&self, n: usize) -> Result<WriterProcess> {
        let (ours, theirs) = Channel::pair()?;
        let args = ["writer".to_owned(), format!("task={}", self.task), format!("n={n}")];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // It may have come from the command line.
        let environment = vec![("SSYNC_HOME".into(), self.home.clone().into_os_string())];
        let options = SpawnOptions { environment, ..SpawnOptions::default() };
        let child = spawn_role(&args, theirs, options)?;
        log::info!("writer {n} started, pid {}", child.pid());
        Ok(WriterProcess { n, child, channel: ours })
    }

    /// Whether this word comes from the process that has the number now.
    pub fn is_current(&self, n: usize, life: u64) -> bool {
        self.writers.get(n).and_then(Option::as_ref).is_some_and(|w| w.life == life)
    }

    /// The writer is set up.
    pub fn set_ready(&mut self, n: usize) {
        if let Some(Some(writer)) = self.writers.get_mut(n) {
            writer.ready = true;
        }
    }

    /// The writer has given its verdict.
    pub fn set_idle(&mut self, n: usize) {
        if let Some(Some(writer)) = self.writers.get_mut(n) {
            writer.busy = None;
        }
    }

    /// A writer says what it dies of.
    pub fn set_last_error(&mut self, e: Error) {
        self.last_error = Some(e);
    }

    /// The writer is gone: reaps it, and says which slot it held, with the proof of its death.
    /// After too many deaths an error.
    pub fn bury(&mut self, n: usize) -> Result<Option<(usize, Exit)>> {
        let Some(mut writer) = self.writers.get_mut(n).and_then(Option::take) else {
            return Ok(None);
        };
        let child = &mut writer.process.child;
        let status = child.wait()?;
        self.deaths += 1;
        log::warn!("writer {n} (pid {}) ended: {status}", child.pid());
        if self.deaths > DEATHS_MAX {
            return Err(died_too_often(self.deaths, &status.to_string(), self.last_error.take()));
        }
        Ok(writer.busy.map(|slot| (slot, status)))
    }

    /// Writers that have a batch.
    pub fn busy(&self) -> usize {
        self.writers.iter().flatten().filter(|w| w.busy.is_some()).count()
    }

    /// Kills every writer at once; what they had in hand is rolled back by the destination.
    pub fn kill(&mut self) {
        for Writer { process, .. } in self.writers.iter_mut().flatten() {
            if let Err(e) = process.child.kill() {
                log::warn!("writer {} could not be killed: {e}", process.child.pid());
            }
        }
    }

    /// Puts every writer to rest, for the table after this one.
    pub fn finish(&mut self) -> Result<()> {
        for Writer { process, .. } in self.writers.iter().flatten() {
            // One that is gone already cannot hear it, and need not.
            let _ = process.channel.send(&ToWriter::Rest);
        }
        for writer in self.writers.iter_mut().filter_map(Option::take) {
            match writer.listener.join() {
                Ok(true) => self.connections.keep_writer(writer.process),
                Ok(false) => drop(writer.process),
                Err(_) => {
                    return Err(Error::new(Kind::Internal, "a writer's listener panicked"));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Names the reason that a writer gave; one that was killed gave none.
fn died_too_often(deaths: u32, status: &str, reason: Option<Error>) -> Error {
    let message = format!("writers died {deaths} times");
    let last = format!("the last one: {status}");
    let Some(reason) = reason else {
        return Error::new(Kind::System, message)
            .detail(last)
            .hint("See the writer log for the reason.");
    };
    let mut e = Error::new(Kind::System, format!("{message}: {reason}")).detail(last);
    e.details.extend(reason.details);
    e.hint(reason.hint.unwrap_or_else(|| "See the writer log for the rest.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_that_died_too_often_name_their_reason_where_it_is_known() {
        let reason = Error::new(Kind::Full, "no room").detail("in the ring");
        let e = died_too_often(21, "exit code 1", Some(reason));
        assert_eq!(e.message, "writers died 21 times: no room");
        assert_eq!(e.details, ["the last one: exit code 1", "in the ring"]);
        let e = died_too_often(21, "signal 9", None);
        assert_eq!(e.message, "writers died 21 times");
        assert!(e.hint.unwrap().contains("writer log"));
    }
}
