//! The task processes that the daemon looks after: its own children, and those that a daemon
//! before it has left running.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use ssync_common::error::{Kind, Result};
use ssync_common::event::What;
use ssync_common::process::{Child, ProcessIdentity, Watched};
use ssync_common::shm::waiting::{Outcome, TaskState};
use ssync_common::shm::{Arena, TaskView};

use super::journal::Happened;
use super::order::{Ending, Word};
use super::peer::Peer;
use super::roles::Started;
use super::timetable::Secs;

/// A process.
enum Process {
    Child {
        child: Child,
        peer: Peer,
    },
    /// Another daemon's child.
    Stranger(Watched),
}

/// A task that runs.
pub struct Job {
    /// Its task.
    pub task: u32,
    /// The schedule that fired it.
    pub schedule: Option<u32>,
    /// For which moment.
    pub due: Option<Secs>,
    /// When it was started, or taken up.
    pub since: Timestamp,
    /// The tables it was told to run; none: what it runs is not known.
    pub tables: Vec<String>,
    /// Whether it was asked to leave because a table of it is not configured any more.
    pub is_outdated: bool,
    /// Who waits for its start.
    pub start_callers: Vec<u32>,
    /// Who waits for its end.
    pub end_callers: Vec<u32>,
    /// Keeps the parameters in shared memory until the process has read them.
    parameters: Option<Arc<Arena>>,
    process: Process,
    ending: Option<Ending>,
    /// Why it was killed.
    killed: Option<String>,
    /// Whether it was asked to leave.
    is_leaving: Cell<bool>,
}

/// How a task process has ended.
pub struct Ended {
    /// Its exit code, or what stands for it.
    pub code: u8,
    /// In words.
    pub words: String,
    /// What became of the firing.
    pub what: Happened,
    /// What nobody but the daemon can tell people.
    pub to_tell: Option<What>,
    /// Whether a table failed, which suspends a real-time task. (One that died is recovered by its next
    /// run; one that could not begin has left no scene.)
    pub suspends: bool,
}

impl Ended {
    fn of(what: Happened, code: u8, words: impl Into<String>) -> Ended {
        let suspends = what == Happened::Failed;
        Ended { code, words: words.into(), what, to_tell: None, suspends }
    }

    /// Whether it ended without a word.
    pub fn is_dead(&self) -> bool {
        matches!(self.to_tell, Some(What::TaskDied | What::TaskKilled))
    }

    /// Nothing of a failed table is known; people are to be told of this instead.
    fn without_table(what: What, code: u8, words: impl Into<String>) -> Ended {
        let ended = Ended::of(Happened::Failed, code, words);
        Ended { to_tell: Some(what), suspends: false, ..ended }
    }

    /// Ended by the daemon.
    fn killed(words: impl Into<String>) -> Ended {
        Ended::without_table(What::TaskKilled, 1, words)
    }

    /// Dead before its end.
    pub fn died(words: impl Into<String>) -> Ended {
        Ended::without_table(What::TaskDied, 1, words)
    }
}

impl Job {
    /// One that was just started.
    pub fn started(
        task: u32,
        tables: Vec<String>,
        started: Started,
        parameters: Arc<Arena>,
    ) -> Job {
        let process = Process::Child { child: started.child, peer: started.peer };
        Job { tables, parameters: Some(parameters), ..Job::new(task, process) }
    }

    /// One that was found running.
    pub fn taken_up(task: u32, process: Watched) -> Job {
        Job::new(task, Process::Stranger(process))
    }

    fn new(task: u32, process: Process) -> Job {
        Job {
            task,
            schedule: None,
            due: None,
            since: Timestamp::now(),
            tables: Vec::new(),
            is_outdated: false,
            start_callers: Vec::new(),
            end_callers: Vec::new(),
            parameters: None,
            process,
            ending: None,
            killed: None,
            is_leaving: Cell::new(false),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Child { child, .. } => child.pid(),
            Process::Stranger(process) => process.identity().pid,
        }
    }

    /// Readable at its end.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.process {
            Process::Child { child, .. } => child.pidfd(),
            Process::Stranger(process) => process.pidfd(),
        }
    }

    /// Whether it is not our own child.
    pub fn is_stranger(&self) -> bool {
        matches!(self.process, Process::Stranger(_))
    }

    /// Its channel, where it has one to us.
    pub fn peer(&mut self) -> Option<&mut Peer> {
        match &mut self.process {
            Process::Child { peer, .. } => Some(peer),
            Process::Stranger(_) => None,
        }
    }

    /// Moves messages; whether it said that it runs.
    pub fn listen(&mut self) -> bool {
        let mut runs = false;
        let (task, Some(peer)) = (self.task, self.peer()) else { return false };
        peer.pump();
        let mut ending = None;
        loop {
            match peer.take::<Word>() {
                Ok(Some(Word::Running)) => runs = true,
                Ok(Some(Word::Ended(how))) => ending = Some(*how),
                Ok(None) => break,
                Err(e) => {
                    log::error!(task = task; "the task process said something odd: {e:?}");
                    break;
                }
            }
        }
        self.ending = ending.or(self.ending.take());
        if runs {
            self.parameters = None;
        }
        runs
    }

    /// How it has ended, and reaped; `None` while it runs. `slot` is the task's place in the task
    /// table, for processes that do not talk to us.
    pub fn try_end(&mut self, slot: Option<&TaskView>) -> Result<Option<Ended>> {
        match &mut self.process {
            Process::Child { child, .. } => {
                let Some(exit) = child.try_wait()? else { return Ok(None) };
                self.listen();
                let Some(ending) = self.ending.take() else {
                    if let Some(words) = self.killed.take() {
                        return Ok(Some(Ended::killed(words)));
                    }
                    // So early that it did not listen to signals yet.
                    if self.is_leaving.get() && exit.signal() == Some(Signal::SIGTERM as i32) {
                        let words = "was asked to leave before it had begun";
                        return Ok(Some(Ended::of(Happened::Interrupted, 130, words)));
                    }
                    // Dead without a report: recovery settles what it left.
                    let words = format!("worker killed ({exit}), no error reported");
                    return Ok(Some(Ended::died(words)));
                };
                let words = ending.words();
                Ok(Some(match (&ending.error, ending.code) {
                    (None, 0) => Ended::of(Happened::Done, 0, words),
                    // A table that is held is nothing that happened to this run.
                    (None, 130) if ending.ran() => Ended::of(Happened::Done, 130, words),
                    (None, 130) => Ended::of(Happened::Interrupted, 130, words),
                    (None, code) if ending.is_done_with_errors() => {
                        Ended::of(Happened::DoneWithErrors, code, words)
                    }
                    // Of one that came to its end, rows may be bad: it goes on.
                    (None, code) => Ended {
                        suspends: ending.has_failed_table(),
                        ..Ended::of(Happened::Failed, code, words)
                    },
                    // Held, or run by somebody else.
                    (Some(e), code) if matches!(e.kind, Kind::Locked | Kind::Paused) => {
                        Ended::of(Happened::Skipped, code, words)
                    }
                    // Nothing could run; a table's own failure it has told itself.
                    (Some(_), code) => Ended::without_table(What::TaskFailed, code, words),
                }))
            }
            Process::Stranger(process) => {
                if !process.has_ended()? {
                    return Ok(None);
                }
                let own = |s: &&TaskView| s.owner.as_ref() == Some(process.identity());
                let ended = |s: &&TaskView| s.state == TaskState::Finished;
                Ok(Some(match slot.filter(own).filter(ended) {
                    Some(slot) => by_table(slot),
                    None => match self.killed.take() {
                        Some(words) => Ended::killed(words),
                        None => Ended::died("the task process died"),
                    },
                }))
            }
        }
    }

    /// Asks it to finish its batches and leave; asked again, it rolls them back.
    pub fn leave(&self) -> Result<()> {
        self.is_leaving.set(true);
        self.signal(Signal::SIGTERM)
    }

    /// Ends it at once. Its writers die with it; the ledger says what has landed.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Ends it at once, for the reason that people are told.
    pub fn end_for(&mut self, words: String) -> Result<()> {
        self.killed = Some(words);
        self.kill()
    }

    /// Whether it was ended for a reason, and is not gone yet.
    pub fn was_killed(&self) -> bool {
        self.killed.is_some()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &self.process {
            Process::Child { child, .. } => child.signal(signal),
            Process::Stranger(process) => process.signal(signal),
        }
    }
}

fn by_table(slot: &TaskView) -> Ended {
    let error = slot.error.clone().unwrap_or_default();
    match slot.outcome {
        Outcome::Succeeded => Ended::of(Happened::Done, 0, "all landed"),
        Outcome::DoneWithErrors => {
            Ended::of(Happened::DoneWithErrors, 1, "some rows could not be sent: ssync history")
        }
        Outcome::Interrupted => Ended::of(Happened::Interrupted, 130, "interrupted"),
        Outcome::Open | Outcome::Failed => Ended::of(Happened::Failed, 1, error),
    }
}

/// Whether a process is a task process that a daemon has started, not one in the foreground:
/// those are their terminal's business.
pub fn is_worker(process: &ProcessIdentity) -> bool {
    let arguments = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    arguments.split(|b| *b == 0).nth(1) == Some(b"worker")
}
