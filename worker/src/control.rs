//! What operators want of a run that is under way: that it ends, that one table pauses (A4), or that
//! it goes slower or faster.
//!
//! A pause is written to the configuration database, where it outlives every process; see
//! [`crate::params::Books::held`]. A run looks there every few seconds, so that a pause reaches it
//! from any host, and at once when its slot in the task table is poked.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ssync_common::config::{Rates, TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::signals::SignalEvent;

use crate::params::Books;

/// How often the slot is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How often the configuration database is asked without being poked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How often a run looks with how many others it shares a link's limits.
const SHARE_EVERY: Duration = Duration::from_secs(1);

/// Something that must not run until an operator resumes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Whether the whole task is held, not just the table.
    pub whole_task: bool,
    /// Since when and why, for people.
    pub why: String,
}

impl Hold {
    /// What a run ends with because of it.
    pub fn error(&self, task: u32, table: &str) -> Error {
        let (what, resume) = match self.whole_task {
            true => (format!("task {task}"), format!("ssync resume {task}")),
            false => (format!("table {table}"), format!("ssync resume {task} {table}")),
        };
        Error::new(Kind::Paused, format!("{what} is {}", self.why))
            .hint(format!("{resume} lets it run again; what has landed stays."))
    }
}

/// Both sources of demands on a table's run.
pub struct Control<'a> {
    /// Signals of the process.
    pub signals: &'a Receiver<SignalEvent>,
    /// A hold, once there is one.
    pub holds: HoldWatch,
}

impl Control<'_> {
    /// Waits, unless an operator wants something.
    ///
    /// # Errors
    /// What the operator wants.
    pub fn pause(&self, task: u32, table: &str, how_long: Duration) -> Result<()> {
        crossbeam_channel::select! {
            // Without a signal watcher nobody will ever signal; the pause is still a pause.
            recv(self.signals) -> signal => match signal {
                Ok(_) => Err(interrupted()),
                Err(_) => {
                    thread::sleep(how_long);
                    Ok(())
                }
            },
            recv(self.holds.held) -> hold => match hold {
                Ok(hold) => Err(hold.error(task, table)),
                Err(_) => Ok(()),
            },
            default(how_long) => Ok(()),
        }
    }
}

/// What a run ends with after a signal.
pub fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted by the operator")
}

/// Watches for a hold on one table, from a thread of its own, until dropped.
pub struct HoldWatch {
    /// Gives the hold; never disconnected.
    pub held: Receiver<Hold>,
    _keep_open: Sender<Hold>,
    end: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl HoldWatch {
    /// Starts watching. `pokes` counts how often somebody said that there is something new. `rates`
    /// is told the limits when they may have changed, and called without when only the runs that
    /// share them may have.
    pub fn start(
        books: Arc<dyn Books>,
        task: &Task,
        table: &TableTask,
        pokes: impl Fn() -> u64 + Send + 'static,
        rates: impl Fn(Option<&Rates>) + Send + 'static,
    ) -> Result<HoldWatch> {
        let (send, held) = bounded(1);
        let (end, ended) = bounded::<()>(0);
        let (keep_open, task, name) = (send.clone(), task.id, table.name.clone());
        let watching = move || {
            let (mut seen, mut asked) = (pokes(), Instant::now());
            let mut shared = Instant::now();
            while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                if shared.elapsed() >= SHARE_EVERY {
                    rates(None);
                    shared = Instant::now();
                }
                let poked = pokes();
                if poked == seen && asked.elapsed() < ASK_EVERY {
                    continue;
                }
                (seen, asked) = (poked, Instant::now());
                match books.rates(task) {
                    Ok(Some(now)) => rates(Some(&now)),
                    Ok(None) => {}
                    Err(e) => log::warn!("{name}: could not ask how fast it may go: {e}"),
                }
                match books.held(task, &name) {
                    Ok(None) => {}
                    Ok(Some(hold)) => {
                        let _ = send.send(hold);
                        return;
                    }
                    Err(e) => log::warn!("{name}: could not ask whether it is paused: {e}"),
                }
            }
        };
        let thread = thread::Builder::new().name("holds".into()).spawn(watching)?;
        Ok(HoldWatch { held, _keep_open: keep_open, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for HoldWatch {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
