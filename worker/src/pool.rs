//! The writer processes of a table run: started when there is work for them, replaced when they
//! die, ended with the table.

use std::path::PathBuf;
use std::thread;

use crossbeam_channel::Sender;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::channel::Channel;
use ssync_common::process::spawn::{Child, Exit, SpawnOptions, spawn_role};
use ssync_writer::protocol::{FromWriter, Setup, ToWriter, Work};

use crate::events::Event;
use crate::params::TaskParams;

/// Deaths of writers that a table run survives.
const DEATHS_MAX: u32 = 20;

struct Writer {
    child: Child,
    channel: Channel,
    life: u64,
    ready: bool,
    busy: Option<usize>,
}

/// The writers of a table run.
pub struct Pool {
    task: u32,
    home: PathBuf,
    writers: Vec<Option<Writer>>,
    lives: u64,
    deaths: u32,
    events: Sender<Event>,
    make_setup: Box<dyn Fn(usize) -> Setup>,
}

impl Pool {
    /// So many writers at the most; none is started yet. `make_setup` makes the first message for
    /// the writer of a number.
    pub fn new(
        params: &TaskParams,
        writers: u8,
        events: Sender<Event>,
        make_setup: Box<dyn Fn(usize) -> Setup>,
    ) -> Self {
        let writers = (0..writers).map(|_| None).collect();
        let (task, home) = (params.task.id, params.home.clone());
        Pool { task, home, writers, lives: 0, deaths: 0, events, make_setup }
    }

    /// Hands a batch to an idle writer, starting one if there is room; `false` when all are busy.
    pub fn dispatch(&mut self, work: &Work) -> Result<bool> {
        let idle = self
            .writers
            .iter()
            .position(|w| w.as_ref().is_some_and(|w| w.ready && w.busy.is_none()));
        let Some(n) = idle else {
            // One more writer, unless one is starting up already: a small table needs only one.
            let starting = self.writers.iter().flatten().any(|w| !w.ready);
            if let (false, Some(n)) = (starting, self.writers.iter().position(Option::is_none)) {
                self.start(n)?;
            }
            return Ok(false);
        };
        if let Some(writer) = &mut self.writers[n] {
            writer.busy = Some(work.slot);
            // A writer that is gone says so through its receiving thread; the batch is found
            // through `busy` then.
            if let Err(e) = writer.channel.send(&ToWriter::Work(work.clone())) {
                log::warn!("writer {n} could not be reached: {e}");
            }
        }
        Ok(true)
    }

    fn start(&mut self, n: usize) -> Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let args = ["writer".to_owned(), format!("task={}", self.task), format!("n={n}")];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // It may have come from the command line.
        let environment = vec![("SSYNC_HOME".into(), self.home.clone().into_os_string())];
        let options = SpawnOptions { environment, ..SpawnOptions::default() };
        let child = spawn_role(&args, theirs, options)?;
        self.lives += 1;
        let life = self.lives;
        log::info!("writer {n} started, pid {}", child.pid());
        ours.send(&ToWriter::Setup(Box::new((self.make_setup)(n))))?;
        let receiving = ours.try_clone()?;
        let events = self.events.clone();
        thread::Builder::new().name(format!("writer-{n}")).spawn(move || {
            loop {
                let message = receiving.recv::<FromWriter>().unwrap_or(None);
                let gone = message.is_none();
                if events.send(Event::Writer { n, life, message }).is_err() || gone {
                    return;
                }
            }
        })?;
        self.writers[n] = Some(Writer { child, channel: ours, life, ready: false, busy: None });
        Ok(())
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

    /// The writer is gone: reaps it, and says which slot it held, with the proof of its death.
    /// After too many deaths an error.
    pub fn bury(&mut self, n: usize) -> Result<Option<(usize, Exit)>> {
        let Some(mut writer) = self.writers.get_mut(n).and_then(Option::take) else {
            return Ok(None);
        };
        let status = writer.child.wait()?;
        self.deaths += 1;
        log::warn!("writer {n} (pid {}) ended: {status}", writer.child.pid());
        if self.deaths > DEATHS_MAX {
            return Err(Error::new(Kind::System, format!("writers died {} times", self.deaths))
                .detail(format!("the last one: {status}"))
                .hint("See the writer log for the reason."));
        }
        Ok(writer.busy.map(|slot| (slot, status)))
    }

    /// Whether any writer has a batch.
    pub fn any_busy(&self) -> bool {
        self.writers.iter().flatten().any(|w| w.busy.is_some())
    }

    /// Kills every writer at once; what they had in hand is rolled back by the destination.
    pub fn kill(&mut self) {
        for writer in self.writers.iter_mut().flatten() {
            if let Err(e) = writer.child.kill() {
                log::warn!("writer {} could not be killed: {e}", writer.child.pid());
            }
        }
    }

    /// Lets every writer leave, and waits for it.
    pub fn finish(&mut self) -> Result<()> {
        for writer in self.writers.iter_mut().flatten() {
            // One that is gone already cannot hear it, and need not.
            let _ = writer.channel.send(&ToWriter::Finish);
        }
        for slot in &mut self.writers {
            if let Some(mut writer) = slot.take() {
                let status = writer.child.wait()?;
                log::info!("writer (pid {}) left: {status}", writer.child.pid());
            }
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.kill();
        for writer in self.writers.iter_mut().flatten() {
            let _ = writer.child.wait();
        }
    }
}
