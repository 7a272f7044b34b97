//! A task process's side of the configuration database: locks in `task_detail`, holds, runs,
//! batches, bad rows, `proc_use_times`.
//!
//! A run begins, runs and ends without the database where that is out of reach: [`desk`] says how.
//! What then stands in for the lock in `task_detail`: on this host the task has one slot in the
//! task table; everybody else is kept out by the owner row at the source and by the fence, which
//! make a run exact with or without the lock. For a pause or a suspension, what the daemon knew
//! when it started the task; a pause that comes later is noticed when the database is back.
//!
//! - [`desk`]: the way to the database, online or not.
//! - [`spool`], [`drain`]: what waits for it, in files, and how it gets there.
//! - [`journal`]: one run, written down.
//! - [`bad_rows`]: what became of rows that were bad.
//! - [`mirror`]: what was settled last, once more on this host.

pub mod bad_rows;
mod dealt_with;
pub mod desk;
pub mod drain;
pub mod journal;
pub mod mirror;
pub mod settled;
pub mod spool;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use ssync_common::config::{Rates, TableMode, TableTask, Task};
use ssync_common::connector::split_table_name;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::{ProcessIdentity, RunId};
use ssync_common::shm::TaskTable;
use ssync_common::store::{
    Entry, Hold, LastSign, NewAttempt, Owner, RunCounts, RunEnd, RunState, Store, StoreLocation,
};
use ssync_worker::control;
use ssync_worker::journal::Journal;
use ssync_worker::lock::TableLock;
use ssync_worker::params::Books;

use crate::live::has_died;

use desk::{Desk, PATIENCE};
use journal::RunJournal;

/// Seconds that a lock is believed without a sign of life.
const LEASE_SECS: u32 = 60;
/// How often a lock is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// One configuration database, shared by the threads of a task process.
#[derive(Clone)]
pub struct TaskBooks {
    desk: Desk,
    dest_url: String,
    /// What was held as far as anybody knew when the task was started.
    holds: Arc<[Hold]>,
    /// The attempts that this process has begun, by table.
    attempts: Arc<Mutex<BTreeMap<String, NewAttempt>>>,
    /// What the task table says of the task's process before this one, if that died.
    before: Option<LastSign>,
}

impl TaskBooks {
    /// Takes an open database over. `dest_url` is the destination link's address, which is
    /// written down for people: what proves anything is the record's own id.
    pub fn online(store: Store, task: u32, dest_url: &str) -> Result<TaskBooks> {
        let before = last_sign(store.home().path(), task);
        let desk = Desk::online(store, task)?;
        Ok(TaskBooks::new(desk, dest_url, Arc::new([])).after(before))
    }

    /// Opens the database `instance`, or goes on without it. `holds` is what is held as far as the
    /// daemon knows, and `is_away` whether it knows the database to be out of reach.
    ///
    /// # Errors
    /// When the database is there, and is another one or does not let us in.
    pub fn open(
        location: &StoreLocation,
        instance: &str,
        task: u32,
        dest_url: &str,
        holds: &[Hold],
        is_away: bool,
    ) -> Result<TaskBooks> {
        let desk = Desk::open(location, instance, task, is_away)?;
        Ok(TaskBooks::new(desk, dest_url, holds.into()))
    }

    fn new(desk: Desk, dest_url: &str, holds: Arc<[Hold]>) -> TaskBooks {
        let (dest_url, attempts) = (dest_url.to_owned(), Arc::default());
        TaskBooks { desk, dest_url, holds, attempts, before: None }
    }

    /// The same, after a process that died; see [`last_sign`].
    #[must_use]
    pub fn after(self, before: Option<LastSign>) -> TaskBooks {
        TaskBooks { before, ..self }
    }

    /// Takes a lock in the database; `None` where that is out of reach.
    fn locked(
        &self,
        lock: impl FnOnce(&mut Store) -> Result<StoreLock> + Send + 'static,
    ) -> Result<Option<Box<dyn TableLock>>> {
        let is_late = Arc::new(AtomicBool::new(false));
        let theirs = is_late.clone();
        let lock = self.desk.ask(PATIENCE, move |store| {
            let lock = lock(store)?;
            if theirs.load(Ordering::Relaxed) {
                // The run has begun without it.
                return store.unlock_table(lock).map(|()| None);
            }
            Ok(Some(lock))
        })?;
        let Some(lock) = lock.flatten() else {
            is_late.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        Ok(Some(Box::new(HeldLock::new(self.desk.clone(), lock)?)))
    }

    /// Records that none of a task's tables could be launched.
    pub fn record_failed_launch(&self, task: &Task, error: &Error) -> Result<()> {
        failed_launch(task, error)?.into_iter().try_for_each(|entry| self.desk.write(entry))
    }

    /// What of a task is held.
    pub fn holds(&self, task: u32) -> Result<Vec<Hold>> {
        if let Some(holds) = self.desk.ask(PATIENCE, move |store| store.holds(Some(task)))? {
            return Ok(holds);
        }
        let known = self.holds.iter().filter(|h| h.task == task).cloned();
        // The process that failed may have died before its daemon heard of it.
        let left = spool::holds(&self.desk.home(), self.desk.instance(), task);
        Ok(known.chain(left).collect())
    }
}

impl Books for TaskBooks {
    fn lock(&self, task: &Task, table: &TableTask) -> Result<Box<dyn TableLock>> {
        let (id, name) = (task.id, table.name.clone());
        let owner = Owner::own(RunId::random()?)?;
        let lock = move |store: &mut Store| store.lock_table(id, &name, &owner, LEASE_SECS);
        Ok(self.locked(lock)?.unwrap_or_else(|| Box::new(NoLock)))
    }

    fn launch(&self, task: &Task, table: &TableTask) -> Result<Box<dyn TableLock>> {
        let attempt = NewAttempt { before: self.before.clone(), ..new_attempt(task.id, table)? };
        self.attempts.lock().map_err(|_| panicked())?.insert(table.name.clone(), attempt.clone());
        let owner = Owner::own(attempt.id)?;
        let launched = attempt.clone();
        let lock = move |store: &mut Store| store.launch(&launched, &owner, LEASE_SECS);
        if let Some(lock) = self.locked(lock)? {
            return Ok(lock);
        }
        self.desk.write(Entry::Launch(attempt))?;
        Ok(Box::new(NoLock))
    }

    fn held(&self, task: u32, table: &str) -> Result<Option<control::Hold>> {
        let holds = self.holds(task)?;
        let applies = holds.iter().find(|h| h.table.as_deref().is_none_or(|t| t == table));
        Ok(applies
            .map(|hold| control::Hold { whole_task: hold.table.is_none(), why: hold.describe() }))
    }

    fn rates(&self, task: u32) -> Result<Option<Rates>> {
        Ok(self.desk.ask(PATIENCE, move |store| store.rates(task))?.flatten())
    }

    fn still_fills(&self, task: u32, table: &str, dest: &str) -> Result<Option<bool>> {
        let (table, dest) = (table.to_owned(), dest.to_owned());
        // Schemas may be spelt or left out.
        let last = |name: &str| split_table_name(name).pop().map(|part| part.to_lowercase());
        self.desk.ask(PATIENCE, move |store| {
            let config = store.load()?;
            let tables = config.tasks.iter().filter(|t| t.id == task).flat_map(|t| &t.tables);
            let mut fills = tables.filter(|t| t.name == table && t.mode == TableMode::Full);
            Ok(fills.any(|t| last(&t.dest) == last(&dest)))
        })
    }

    fn suspend(&self, task: &Task, reason: &str, error: Option<Kind>) -> Result<()> {
        let (reason, at) = (reason.to_owned(), Timestamp::now());
        self.desk.write(Entry::Suspend { task: task.id, reason, error, at })
    }

    fn journal(&self, task: &Task, table: &TableTask) -> Result<Arc<dyn Journal>> {
        let mut attempts = self.attempts.lock().map_err(|_| panicked())?;
        let attempt = match attempts.remove(&table.name) {
            Some(attempt) => attempt,
            None => new_attempt(task.id, table)?,
        };
        Ok(Arc::new(RunJournal::new(self.desk.clone(), &self.dest_url, task, attempt)))
    }
}

/// The same, by a database that is open.
pub fn record_failed_launch(store: &mut Store, task: &Task, error: &Error) -> Result<()> {
    let entries: Vec<_> = (1..).zip(failed_launch(task, error)?).collect();
    store.write_down(RunId::random()?, &entries, false)
}

/// What stands against the whole task stands against each of its tables.
fn failed_launch(task: &Task, error: &Error) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for table in &task.tables {
        let attempt = new_attempt(task.id, table)?;
        let end = RunEnd {
            state: RunState::Failed,
            counts: RunCounts::default(),
            message: None,
            error: Some(error.clone()),
            end: Timestamp::now(),
        };
        entries.push(Entry::Launch(attempt.clone()));
        entries.push(Entry::EndWithoutRun { attempt, end, notice: None });
    }
    Ok(entries)
}

fn new_attempt(task: u32, table: &TableTask) -> Result<NewAttempt> {
    Ok(NewAttempt {
        id: RunId::random()?,
        task,
        table: table.name.clone(),
        mode: table.mode,
        begin: Timestamp::now(),
        process: process_words(&ProcessIdentity::own()?),
        before: None,
    })
}

fn process_words(process: &ProcessIdentity) -> String {
    format!("pid {} on host {}", process.pid, process.host)
}

/// What the task table says of the process of a task that died. To be asked before its place is
/// taken.
pub fn last_sign(home: &Path, task: u32) -> Option<LastSign> {
    let seen = TaskTable::open(home).and_then(|table| table.map_or(Ok(vec![]), |t| t.snapshot()));
    let seen = seen.unwrap_or_else(|e| {
        log::warn!(task = task; "what an earlier process came to is not known: {e:?}");
        Vec::new()
    });
    let dead = seen.into_iter().find(|slot| slot.task_id == task && has_died(slot))?;
    Some(LastSign {
        process: process_words(dead.owner.as_ref()?),
        at: Timestamp::from_millisecond(i64::try_from(dead.updated_ms).ok()?).ok()?,
        bytes: dead.counters.bytes_landed,
    })
}

/// In place of a lock that could not be asked for.
struct NoLock;

impl TableLock for NoLock {
    fn taken_over_from(&self) -> Option<&str> {
        None
    }

    fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

type StoreLock = ssync_common::store::TableLock;

/// A held lock, renewed by a thread of its own until it is given back.
struct HeldLock {
    desk: Desk,
    lock: Arc<Mutex<Option<StoreLock>>>,
    /// What gives it back.
    giving_back: Entry,
    previous: Option<String>,
    /// Dropped, it ends the thread.
    _renewing: Sender<()>,
}

impl HeldLock {
    fn new(desk: Desk, lock: StoreLock) -> Result<Self> {
        let previous = lock.taken_over.as_ref().map(|l| l.owner_text());
        let giving_back = lock.giving_back();
        let lock = Arc::new(Mutex::new(Some(lock)));
        let (renewing, ended) = bounded::<()>(0);
        let (shared, theirs) = (lock.clone(), desk.clone());
        std::thread::Builder::new().name("lock".into()).spawn(move || {
            while ended.recv_timeout(RENEW_EVERY) == Err(RecvTimeoutError::Timeout) {
                let shared = shared.clone();
                let renewed = theirs.ask(PATIENCE, move |store| {
                    let held = shared.lock().map_err(|_| panicked())?;
                    held.as_ref().map_or(Ok(()), |lock| store.renew_lock(lock, LEASE_SECS))
                });
                // Whoever takes the lock over raises the fence: nothing of ours lands after that.
                if let Err(e) = renewed {
                    log::warn!("could not renew the lock in task_detail: {e}");
                }
            }
        })?;
        Ok(HeldLock { desk, lock, giving_back, previous, _renewing: renewing })
    }
}

impl TableLock for HeldLock {
    fn taken_over_from(&self) -> Option<&str> {
        self.previous.as_deref()
    }

    fn release(self: Box<Self>) -> Result<()> {
        // The renewing thread lives a little longer; what it holds open would keep the next one
        // from locking. A renewal that hangs keeps it until this process ends.
        let begin = Instant::now();
        let mut lock = None;
        while lock.is_none() && begin.elapsed() < PATIENCE {
            match self.lock.try_lock() {
                Ok(mut held) => match held.take() {
                    Some(held) => lock = Some(held),
                    None => break,
                },
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        let written = self.desk.write(self.giving_back.clone());
        drop(lock);
        written
    }
}

fn panicked() -> Error {
    Error::new(Kind::Internal, "a thread of the run panicked")
}
