//! What a task process writes down, each entry once and in order, whatever happened on the way.
//!
//! A process numbers its entries. An entry takes effect in one transaction with the number, in
//! `T_ORIGIN`: whoever does not know whether it has, since the answer never came, or since the
//! process that wrote it is dead, writes it again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::runs::{Ended, begin, count_again, finish, known, progress, put_batch};
use super::settled::remember;
use super::{attempts, counters, errors, lock, notices};
use crate::error::{Error, Kind, Result};
use crate::event::Notice;
use crate::process::RunId;
use crate::store::sql::{Db, Filter, IntoValue, Select};
use crate::store::{
    BatchRecord, Cause, ErrorRow, Hold, HoldKind, Judgement, NewAttempt, NewRun, RunCounts, RunEnd,
    RunState, Settled, Store, UseTimes,
};

/// Number of a batch that recovery settles.
const RECOVERED: u64 = 0;

/// Something to be written down. No secrets, and no row values but keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A process goes at a sub-task.
    Launch(NewAttempt),
    /// A run begins, or is resumed.
    Begin(NewRun),
    /// An attempt is tried again, after a failure that it had not met before.
    Tried {
        /// The attempt.
        attempt: NewAttempt,
        /// The failure.
        cause: Cause,
    },
    /// How far a run has come that is not in `status` mode, and so has no batches here.
    Progress {
        /// The run.
        run: RunId,
        /// The attempt that is at it.
        attempt: RunId,
        /// Rows that attempts before it have landed.
        resumed: u64,
        /// Rows that it has landed itself.
        landed: u64,
    },
    /// A run takes a number that source and destination share.
    Counter {
        /// The source table's identity, 32 hexadecimal digits.
        source: String,
        /// The number.
        counter: i64,
        /// When.
        at: Timestamp,
    },
    /// Batches are settled.
    Settled {
        /// The batches.
        batches: Vec<BatchRecord>,
        /// Their task.
        task: u32,
        /// Their sub-task.
        table: String,
        /// The last of them.
        last: Settled,
        /// Their run, where it may be one that another installation has begun: it is recorded as
        /// abandoned if it is not known.
        adopt: Option<NewRun>,
    },
    /// Rows are bad.
    Bad {
        /// The rows.
        rows: Vec<ErrorRow>,
        /// Whether none of them is recorded yet, as far as the writer knows.
        are_new: bool,
    },
    /// Bad rows, by run and number, need nobody's attention any more: of older versions.
    Resolved(Vec<(RunId, u64)>),
    /// What became of bad rows.
    Judged(Vec<Judgement>),
    /// A run ends, for now or for good.
    End {
        /// The run.
        run: RunId,
        /// How.
        end: RunEnd,
        /// Its row of `proc_use_times`, if it is to have one.
        use_times: Option<UseTimes>,
        /// The attempt that comes to its end; `None`: an older version did not write it down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<RunId>,
        /// What people are to be told of it, and the suspension that follows from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notice: Option<Box<Notice>>,
    },
    /// An attempt ends without ever having had a run.
    EndWithoutRun {
        /// The attempt.
        attempt: NewAttempt,
        /// How.
        end: RunEnd,
        /// What people are to be told of it, and the suspension that follows from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notice: Option<Box<Notice>>,
    },
    /// A notice was told.
    Told(RunId),
    /// The lock of a sub-task is given back.
    Unlock {
        /// The task.
        task: u32,
        /// The sub-task.
        table: String,
        /// What proves that it is still the same lock.
        token: String,
    },
    /// A task does not run until it is resumed (A16), because of something that is not the end of an
    /// attempt; older versions wrote it down beside that.
    Suspend {
        /// The task.
        task: u32,
        /// Why.
        reason: String,
        /// The failure, where the task may resume by itself once the server is back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Kind>,
        /// Since when.
        at: Timestamp,
    },
}

impl Entry {
    /// How it holds a task, if it does.
    pub fn hold(&self) -> Option<Hold> {
        match self {
            Entry::End { notice, .. } | Entry::EndWithoutRun { notice, .. } => {
                notice.as_deref().and_then(notices::hold)
            }
            Entry::Suspend { task, reason, error, at } => Some(Hold {
                task: *task,
                table: None,
                kind: HoldKind::Suspended,
                since: *at,
                reason: Some(reason.clone()),
                error: *error,
            }),
            _ => None,
        }
    }
}

impl Store {
    /// Writes down entries of a process, by number, in ascending order; those that are in already
    /// are stepped over. With `is_late` they come from a file, and what happened after them may be
    /// in already: that stands.
    pub fn write_down(
        &mut self,
        origin: RunId,
        entries: &[(u64, Entry)],
        is_late: bool,
    ) -> Result<()> {
        self.transaction(|db| {
            let applied = locked(db, origin)?;
            let mut last = applied;
            for (number, entry) in entries.iter().filter(|(number, _)| *number > applied) {
                apply(db, entry, is_late)?;
                last = *number;
            }
            if last == applied { Ok(()) } else { note(db, origin, last) }
        })
    }

    /// Notes that an entry, and all before it, need not be written down any more.
    pub fn step_over(&mut self, origin: RunId, number: u64) -> Result<()> {
        self.transaction(|db| {
            let applied = locked(db, origin)?;
            if applied >= number { Ok(()) } else { note(db, origin, number) }
        })
    }

    /// The number of a process's last entry that is in; 0: none.
    pub fn last_entry(&mut self, origin: RunId) -> Result<u64> {
        self.read(|db| {
            let select = Select::new("T_ORIGIN", &["entry_no"]).filter(of(origin));
            db.select(select)?.first().map_or(Ok(0), |row| row.number("entry_no"))
        })
    }
}

fn of(origin: RunId) -> Filter {
    Filter::new().eq("origin", origin.to_string())
}

/// The number of the process's last entry that is in. The row stays locked: of two that write the
/// same entries, one of them perhaps over a connection that hung for an hour, the second sees what
/// the first did.
fn locked(db: &mut Db, origin: RunId) -> Result<u64> {
    let select = Select::new("T_ORIGIN", &["entry_no"]).filter(of(origin)).for_update();
    if let Some(row) = db.select(select)?.first() {
        return row.number("entry_no");
    }
    // Before anything else, so that a second writer has to wait here.
    let row = [
        ("origin", origin.to_string().into_value()),
        ("entry_no", 0u64.into_value()),
        ("written_at", Timestamp::now().into_value()),
    ];
    db.insert("T_ORIGIN", &row).map_err(|e| match e.kind {
        // Somebody else was first; tried again, his row is found.
        Kind::Data => Error::new(Kind::Contention, "another process writes down the same entries"),
        _ => e,
    })?;
    Ok(0)
}

fn note(db: &mut Db, origin: RunId, number: u64) -> Result<()> {
    let set = [("entry_no", number.into_value()), ("written_at", Timestamp::now().into_value())];
    db.update("T_ORIGIN", &set, of(origin)).map(drop)
}

fn apply(db: &mut Db, entry: &Entry, is_late: bool) -> Result<()> {
    match entry {
        Entry::Launch(attempt) => attempts::launch(db, attempt, None),
        Entry::Begin(run) => begin(db, run, is_late),
        Entry::Tried { attempt, cause } => attempts::tried(db, attempt, cause),
        Entry::Progress { run, attempt, resumed, landed } => {
            progress(db, *run, *attempt, (*resumed, *landed))
        }
        Entry::Counter { source, counter, at } => counters::put(db, source, *counter, *at, is_late),
        Entry::Settled { batches, task, table, last, adopt } => {
            if let Some(run) = adopt {
                self::adopt(db, run)?;
            }
            batches.iter().try_for_each(|batch| put_settled(db, batch, is_late))?;
            // Of a run that has ended, perhaps. All batches of an entry are of one run.
            let may_have_ended = |batch: &&BatchRecord| is_late || batch.number == RECOVERED;
            if let Some(batch) = batches.iter().find(may_have_ended) {
                count_again(db, batch.run)?;
            }
            remember(db, *task, table, last, is_late)
        }
        Entry::Bad { rows, are_new } if *are_new && !is_late => {
            rows.iter().try_for_each(|row| errors::add(db, row))
        }
        Entry::Bad { rows, .. } => errors::add_new(db, rows),
        Entry::Resolved(rows) => errors::resolve(db, rows),
        Entry::Judged(rows) => errors::judge(db, rows),
        Entry::End { run, end, use_times, attempt, notice } => {
            let ended = Ended { attempt: *attempt, use_times: use_times.clone() };
            finish(db, *run, end, ended, is_late)?;
            notice.as_ref().map_or(Ok(()), |notice| notices::put(db, notice, is_late))
        }
        Entry::EndWithoutRun { attempt, end, notice } => {
            attempts::end_without_run(db, attempt, end)?;
            notice.as_ref().map_or(Ok(()), |notice| notices::put(db, notice, is_late))
        }
        Entry::Told(notice) => notices::told(db, *notice),
        Entry::Unlock { task, table, token } => lock::unlock(db, *task, table, token),
        Entry::Suspend { task, reason, error, at } => {
            notices::suspend(db, *task, reason, *error, *at, is_late)
        }
    }
}

/// A settled batch. Recovery numbers what it settles 0: the process that had sent it may have
/// written it down with its number, before it died or, when that comes late, afterwards.
fn put_settled(db: &mut Db, batch: &BatchRecord, is_late: bool) -> Result<()> {
    let (run, part) = (batch.run.to_string(), batch.part.clone().unwrap_or_default());
    let same = Filter::new().eq("run_id", run).eq("part", part);
    if batch.number == RECOVERED {
        if !db.select(Select::new("T_BATCH", &["batch_no"]).filter(same))?.is_empty() {
            return Ok(());
        }
    } else if is_late {
        db.delete("T_BATCH", same.eq("batch_no", RECOVERED))?;
    }
    put_batch(db, batch)
}

/// A run that another installation began, and that died there, is settled here: what is recorded
/// of it must be found by whoever looks for what was settled.
fn adopt(db: &mut Db, run: &NewRun) -> Result<()> {
    if known(db, run.id)?.is_some() {
        return Ok(());
    }
    begin(db, run, false)?;
    let end = RunEnd {
        state: RunState::Abandoned,
        counts: RunCounts::default(),
        message: Some("begun by another installation; what it left was settled".into()),
        error: None,
        end: Timestamp::now(),
    };
    finish(db, run.id, &end, Ended::default(), false)
}
