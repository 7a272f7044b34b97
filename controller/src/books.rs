//! The configuration database's side of a run: locks in `task_detail`, runs, batches, bad rows,
//! `proc_use_times`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ssync_common::config::{TableMode, TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::Id;
use ssync_common::process::RunId;
use ssync_common::store::{
    BatchState, ErrorFilter, ErrorRow, HoldKind, NewRun, Owner, RowState, RunCounts, RunEnd,
    RunState, Store, UseTimes,
};
use ssync_common::value::{Key, hex_bytes};
use ssync_worker::control;
use ssync_worker::counts::Counts;
use ssync_worker::journal::{BadRow, BatchRecord, Journal, LastSettled};
use ssync_worker::lock::TableLock;
use ssync_worker::params::Books;

/// Seconds that a lock is believed without a sign of life.
const LEASE_SECS: u32 = 60;
/// How often a lock is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// One configuration database, shared by the threads of a task process.
#[derive(Clone)]
pub struct StoreBooks {
    store: Arc<Mutex<Store>>,
    dest_url: String,
}

impl StoreBooks {
    /// Takes a store over. `dest_url` is the destination link's address: what was settled there
    /// is not looked for elsewhere.
    pub fn new(store: Store, dest_url: &str) -> Self {
        StoreBooks { store: Arc::new(Mutex::new(store)), dest_url: dest_url.to_owned() }
    }

    fn store(&self) -> Result<MutexGuard<'_, Store>> {
        self.store.lock().map_err(|_| panicked())
    }
}

fn panicked() -> Error {
    Error::new(Kind::Internal, "a thread of the run panicked")
}

impl Books for StoreBooks {
    fn lock(&self, task: &Task, table: &TableTask) -> Result<Box<dyn TableLock>> {
        let owner = Owner::own(RunId::random()?)?;
        let lock = self.store()?.lock_table(task.id, &table.name, &owner, LEASE_SECS)?;
        Ok(Box::new(HeldLock::new(self.clone(), lock)?))
    }

    fn held(&self, task: u32, table: &str) -> Result<Option<control::Hold>> {
        let holds = self.store()?.holds(Some(task))?;
        let applies = holds.iter().find(|h| h.table.as_deref().is_none_or(|t| t == table));
        Ok(applies
            .map(|hold| control::Hold { whole_task: hold.table.is_none(), why: hold.describe() }))
    }

    fn suspend(&self, task: &Task, reason: &str) -> Result<()> {
        self.store()?.hold(task.id, None, HoldKind::Suspended, Some(reason)).map(drop)
    }

    fn journal(&self, task: &Task, table: &TableTask) -> Result<Arc<dyn Journal>> {
        Ok(Arc::new(StoreJournal {
            books: self.clone(),
            task: task.id,
            table: table.name.clone(),
            mode: table.mode,
            record_use_times: task.record_use_times,
            begin: Timestamp::now(),
            bad: Mutex::default(),
            known_run: Mutex::default(),
        }))
    }
}

/// A held lock, renewed by a thread of its own until it is given back.
struct HeldLock {
    books: StoreBooks,
    lock: Arc<Mutex<Option<ssync_common::store::TableLock>>>,
    previous: Option<String>,
    /// Dropped, it ends the thread.
    _renewing: Sender<()>,
}

impl HeldLock {
    fn new(books: StoreBooks, lock: ssync_common::store::TableLock) -> Result<Self> {
        let previous = lock.taken_over.as_ref().map(|l| l.owner_text());
        let lock = Arc::new(Mutex::new(Some(lock)));
        let (renewing, ended) = bounded::<()>(0);
        let (shared, theirs) = (lock.clone(), books.clone());
        std::thread::Builder::new().name("lock".into()).spawn(move || {
            while ended.recv_timeout(RENEW_EVERY) == Err(RecvTimeoutError::Timeout) {
                let renewed = theirs.store().and_then(|mut store| {
                    let held = shared.lock().map_err(|_| panicked())?;
                    held.as_ref().map_or(Ok(()), |lock| store.renew_lock(lock, LEASE_SECS))
                });
                // Whoever takes the lock over raises the fence: nothing of ours lands after that.
                if let Err(e) = renewed {
                    log::warn!("could not renew the lock in task_detail: {e}");
                }
            }
        })?;
        Ok(HeldLock { books, lock, previous, _renewing: renewing })
    }
}

impl TableLock for HeldLock {
    fn taken_over_from(&self) -> Option<&str> {
        self.previous.as_deref()
    }

    fn release(self: Box<Self>) -> Result<()> {
        let mut store = self.books.store()?;
        let lock = self.lock.lock().map_err(|_| panicked())?.take();
        lock.map_or(Ok(()), |lock| store.unlock_table(lock))
    }
}

struct StoreJournal {
    books: StoreBooks,
    task: u32,
    table: String,
    mode: TableMode,
    record_use_times: bool,
    begin: Timestamp,
    bad: Mutex<BadRows>,
    /// The run that was last seen to be recorded.
    known_run: Mutex<Option<Id>>,
}

/// Bad rows of the run.
#[derive(Default)]
struct BadRows {
    /// The run, once there was one.
    run: Option<Id>,
    /// Keys of those that are recorded, as JSON.
    recorded: BTreeSet<String>,
    /// Keys of those that this process has met.
    met: BTreeSet<String>,
    /// Those without a key that this process has met.
    keyless: u64,
}

impl BadRows {
    fn count(&self) -> u64 {
        self.met.len() as u64 + self.keyless
    }
}

fn key_json(key: &Key) -> Result<String> {
    serde_json::to_string(key).map_err(|e| Error::new(Kind::Internal, format!("key: {e}")))
}

/// What is remembered of the entry that was settled last.
#[derive(Serialize, Deserialize)]
struct Remembered {
    dest_url: String,
    fence: String,
    epoch: i64,
    run: RunId,
    pos: String,
}

/// Name of the parameter that remembers what was settled last; empty: nothing.
pub fn last_settled_parameter(task: u32, table: &str) -> String {
    format!("last_settled.{task}.{table}")
}

/// The run whose settlement is remembered.
pub fn last_settled_run(store: &mut Store, task: u32, table: &str) -> Result<Option<RunId>> {
    Ok(remembered(store, &last_settled_parameter(task, table))?.map(|r| r.run))
}

/// Every run whose settlement is remembered, of tables that are no longer configured too: a
/// restored destination is compared with them.
pub fn remembered_runs(store: &mut Store) -> Result<Vec<RunId>> {
    let known = store.parameters("last_settled.")?;
    let run = |(name, text): (String, String)| {
        serde_json::from_str::<Remembered>(&text)
            .map(|r| r.run)
            .map_err(|_| Error::new(Kind::Config, format!("parameter {name} is damaged")))
    };
    known.into_iter().filter(|(_, text)| !text.is_empty()).map(run).collect()
}

fn remembered(store: &mut Store, parameter: &str) -> Result<Option<Remembered>> {
    let Some(text) = store.parameter(parameter)?.filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| Error::new(Kind::Config, format!("parameter {parameter} is damaged")))
}

impl StoreJournal {
    /// A run that another installation began, and that died there, is settled here: what is
    /// recorded of it must be found by whoever looks for what was settled.
    fn adopt(&self, store: &mut Store, run: &Id) -> Result<()> {
        let mut known = self.known_run.lock().map_err(|_| panicked())?;
        if *known == Some(*run) {
            return Ok(());
        }
        if store.run(RunId(*run))?.is_none() {
            store.begin_run(&NewRun {
                id: RunId(*run),
                task: self.task,
                table: self.table.clone(),
                mode: self.mode,
                plan_hash: String::new(),
                // When is not known here; before the run that found it.
                begin: self.begin.checked_sub(SignedDuration::from_secs(1)).unwrap_or(self.begin),
            })?;
            let end = RunEnd {
                state: RunState::Abandoned,
                counts: RunCounts::default(),
                message: Some("begun by another installation; what it left was settled".into()),
                error: None,
                end: Timestamp::now(),
            };
            store.finish_run(RunId(*run), &end)?;
        }
        *known = Some(*run);
        Ok(())
    }
}

impl Journal for StoreJournal {
    fn begin_run(&self, run: &Id, fingerprint: &str) -> Result<()> {
        self.books.store()?.begin_run(&NewRun {
            id: RunId(*run),
            task: self.task,
            table: self.table.clone(),
            mode: self.mode,
            plan_hash: fingerprint.to_owned(),
            begin: self.begin,
        })
    }

    fn record_settled(
        &self,
        fence: &Id,
        epoch: i64,
        run: &Id,
        parts: &[BatchRecord],
    ) -> Result<()> {
        let now = Timestamp::now();
        let Some(last) = parts.last() else { return Ok(()) };
        let records: Vec<_> = parts
            .iter()
            .map(|part| ssync_common::store::BatchRecord {
                run: RunId(*run),
                number: part.number,
                part: Some(part.pos.clone()),
                rows: part.rows,
                low: part.lo.clone(),
                high: part.hi.clone(),
                state: BatchState::Settled,
                sent: None,
                landed: Some(now),
                settled: Some(now),
                writer: None,
            })
            .collect();
        let remembered = Remembered {
            dest_url: self.books.dest_url.clone(),
            fence: hex_bytes::encode(fence),
            epoch,
            run: RunId(*run),
            pos: last.pos.clone(),
        };
        let text = serde_json::to_string(&remembered)
            .map_err(|e| Error::new(Kind::Internal, format!("journal: {e}")))?;
        let mut store = self.books.store()?;
        self.adopt(&mut store, run)?;
        store.record_batches(&records)?;
        store.set_parameter(&last_settled_parameter(self.task, &self.table), &text)
    }

    fn record_bad(&self, run: &Id, columns: &[String], rows: &[BadRow]) -> Result<u64> {
        let mut bad = self.bad.lock().map_err(|_| panicked())?;
        if bad.run != Some(*run) {
            let filter = ErrorFilter {
                run: Some(RunId(*run)),
                states: vec![RowState::Bad],
                ..ErrorFilter::default()
            };
            let recorded = self.books.store()?.errors(&filter)?;
            bad.recorded = recorded.iter().map(|r| key_json(&r.key)).collect::<Result<_>>()?;
            bad.run = Some(*run);
        }
        let mut new = Vec::new();
        for row in rows {
            if row.key.is_empty() {
                bad.keyless += 1;
                new.push(row);
                continue;
            }
            let key = key_json(&row.key)?;
            if bad.recorded.insert(key.clone()) {
                new.push(row);
            }
            bad.met.insert(key);
        }
        let rows: Vec<_> = new
            .into_iter()
            .map(|row| ErrorRow {
                run: RunId(*run),
                number: 0,
                task: self.task,
                table: self.table.clone(),
                key_columns: columns.to_vec(),
                key: row.key.clone(),
                column: row.error.column.clone(),
                kind: row.error.kind,
                text: row.error.message.clone(),
                at: Timestamp::now(),
                state: RowState::Bad,
            })
            .collect();
        if let Err(e) = self.books.store()?.record_errors(&rows) {
            // What is recorded must be looked up again.
            bad.run = None;
            return Err(e);
        }
        Ok(bad.count())
    }

    fn bad_rows(&self) -> Result<u64> {
        Ok(self.bad.lock().map_err(|_| panicked())?.count())
    }

    fn resolve_retried(
        &self,
        landed: &mut dyn FnMut(&[String], &Key) -> Result<bool>,
    ) -> Result<()> {
        let filter = ErrorFilter {
            task: Some(self.task),
            table: Some(self.table.clone()),
            states: vec![RowState::Retried],
            ..ErrorFilter::default()
        };
        let retried = self.books.store()?.errors(&filter)?;
        let mut resolved = Vec::new();
        for row in retried {
            let bad_again = {
                let bad = self.bad.lock().map_err(|_| panicked())?;
                bad.met.contains(&key_json(&row.key)?)
            };
            if bad_again || landed(&row.key_columns, &row.key)? {
                resolved.push((row.run, row.number));
            }
        }
        self.books.store()?.mark_rows_resolved(&resolved)
    }

    fn last_settled(&self) -> Result<Option<LastSettled>> {
        let parameter = last_settled_parameter(self.task, &self.table);
        let Some(remembered) = remembered(&mut *self.books.store()?, &parameter)? else {
            return Ok(None);
        };
        if remembered.dest_url != self.books.dest_url {
            return Ok(None);
        }
        let fence = hex_bytes::decode(&remembered.fence).and_then(|b| Id::try_from(b).ok());
        Ok(Some(LastSettled {
            fence: fence.ok_or_else(|| {
                Error::new(Kind::Config, format!("parameter {parameter} is damaged"))
            })?,
            epoch: remembered.epoch,
            run: remembered.run.0,
            pos: remembered.pos,
        }))
    }

    fn end_run(&self, run: &Id, counts: &Counts, error: Option<&Error>) -> Result<()> {
        let state = match error {
            None => RunState::Done,
            Some(e) if e.kind.is_wanted() => RunState::Interrupted,
            Some(_) => RunState::Failed,
        };
        let end = Timestamp::now();
        let mut store = self.books.store()?;
        store.finish_run(
            RunId(*run),
            &RunEnd {
                state,
                counts: RunCounts {
                    claimed: counts.claimed,
                    read: counts.read,
                    landed: counts.landed,
                    failed: counts.failed,
                    withdrawn: counts.withdrawn,
                    settled: counts.settled,
                    changed: counts.changed,
                    skipped: counts.skipped,
                },
                message: None,
                error: error.cloned(),
                end,
            },
        )?;
        if self.record_use_times {
            store.record_use_times(&UseTimes {
                task: self.task,
                table: self.table.clone(),
                run: RunId(*run),
                begin: self.begin,
                end,
                rows: counts.landed,
                bytes: counts.bytes,
                result: state,
            })?;
        }
        Ok(())
    }
}
