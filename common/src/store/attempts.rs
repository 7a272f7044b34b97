//! Attempts (`T_ATTEMPT`): every time that a process goes at a sub-task. A run has one, or several
//! where it was broken off and resumed. One that fails before it has a run is a run of its own, so
//! that whatever was launched stands among the runs, with its result and the reason.
//!
//! Rows of attempts add up to those of their run: what a process that died had brought to its end
//! is known once the next one has looked at both sides, and is counted for the dead one then.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::notices;
use super::runs::{self, Ended};
use crate::config::TableMode;
use crate::error::{Error, Kind, Result};
use crate::event::Notice;
use crate::process::RunId;
use crate::store::config_tables::of_table;
use crate::store::sql::{Db, Filter, IntoValue, Row, Select, json, word};
use crate::store::{NewRun, RunCounts, RunEnd, RunState, Store, UseTimes};
use crate::value::Value;

/// How far back attempts without an end are looked for.
const LOOK_BACK: u64 = 8;
/// Failures of an attempt that are kept.
const CAUSES_MAX: usize = 20;

/// An attempt that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAttempt {
    /// Its random id.
    pub id: RunId,
    /// Its task.
    pub task: u32,
    /// Its sub-task.
    pub table: String,
    /// Which rows it is to send.
    pub mode: TableMode,
    /// When it begins.
    pub begin: Timestamp,
    /// The process, for people: `pid 4711 on host db1`.
    pub process: String,
    /// What shared memory says of a process that died before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<LastSign>,
}

/// The last that was seen of a process that died, in the task table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSign {
    /// The process, as its attempt names it.
    pub process: String,
    /// When.
    pub at: Timestamp,
    /// Bytes that had travelled by then.
    pub bytes: u64,
}

/// A failure after which an attempt was tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// When it came for the first time.
    pub at: Timestamp,
    /// What failed.
    pub error: Error,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptState {
    /// Under way, or its process has died and nobody has found that out.
    Open,
    /// The run came to its end.
    Done,
    /// It failed.
    Failed,
    /// An operator stopped or paused it.
    Interrupted,
    /// Its process died.
    Died,
}

/// An attempt as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// Its id.
    pub id: RunId,
    /// Its run; the same id where it failed before it had one.
    #[serde(skip)]
    pub run: RunId,
    /// How it ended.
    pub state: AttemptState,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended; of one whose process died, when that was last seen to do something.
    pub end: Option<Timestamp>,
    /// Rows that landed in it; `None`: not known yet.
    pub landed: Option<u64>,
    /// Bytes that travelled in it, as far as that is known.
    pub bytes: Option<u64>,
    /// The process, for people.
    pub process: String,
    /// The failure.
    pub error: Option<Error>,
    /// Failures after which it was tried again, each once.
    pub causes: Vec<Cause>,
}

impl AttemptRecord {
    /// How long it took, in microseconds.
    pub fn micros(&self) -> u64 {
        let end = self.end.unwrap_or(self.begin);
        u64::try_from(end.duration_since(self.begin).as_micros()).unwrap_or(0)
    }
}

/// The same state of a run's end.
impl From<RunState> for AttemptState {
    fn from(state: RunState) -> AttemptState {
        match state {
            RunState::Open => AttemptState::Open,
            RunState::Done => AttemptState::Done,
            RunState::Failed => AttemptState::Failed,
            RunState::Interrupted => AttemptState::Interrupted,
            RunState::Abandoned => AttemptState::Died,
        }
    }
}

impl Store {
    /// The attempts of a run, oldest first.
    pub fn attempts(&mut self, run: RunId) -> Result<Vec<AttemptRecord>> {
        self.read(|db| Ok(Attempts::of(db, run)?.list))
    }
}

const COLUMNS: [&str; 10] = [
    "attempt_id",
    "run_id",
    "attempt_state",
    "begin_at",
    "end_at",
    "landed_rows",
    "byte_count",
    "process",
    "error",
    "causes",
];

fn record(row: &Row) -> Result<AttemptRecord> {
    Ok(AttemptRecord {
        id: row.parsed("attempt_id")?,
        run: row.parsed("run_id")?,
        state: row.word("attempt_state")?,
        begin: row.time("begin_at")?,
        end: row.opt_time("end_at")?,
        landed: row.opt_number("landed_rows")?,
        bytes: row.opt_number("byte_count")?,
        process: row.opt_text("process").unwrap_or_default(),
        error: row.opt_text("error").map(|_| row.json("error")).transpose()?,
        causes: row.opt_text("causes").map_or(Ok(Vec::new()), |_| row.json("causes"))?,
    })
}

fn one(run: RunId, attempt: RunId) -> Filter {
    runs::of_run(run).eq("attempt_id", attempt.to_string())
}

/// The newest attempts of a sub-task, newest first.
pub(super) fn newest(db: &mut Db, task: u32, table: &str) -> Result<Vec<AttemptRecord>> {
    let select = Select::new("T_ATTEMPT", &COLUMNS).filter(of_table(task, table));
    let rows = db.select(select.order(&["begin_at DESC"]).limit(LOOK_BACK))?;
    rows.iter().map(record).collect()
}

/// An attempt begins. Others of its sub-task that have no end by now never had one: their
/// processes are dead, `alive_at` is when the last of them was heard of.
pub(super) fn launch(db: &mut Db, new: &NewAttempt, alive_at: Option<Timestamp>) -> Result<()> {
    let known = newest(db, new.task, &new.table)?;
    if known.iter().any(|attempt| attempt.id == new.id) {
        return Ok(());
    }
    for dead in known.iter().filter(|a| a.state == AttemptState::Open && a.begin < new.begin) {
        let seen = new.before.as_ref().filter(|sign| sign.process == dead.process);
        let last = runs::settled_last(db, dead.run)?.max(alive_at).max(seen.map(|sign| sign.at));
        let end = last.unwrap_or(dead.begin).clamp(dead.begin, new.begin);
        died(db, new, dead, (end, seen.map(|sign| sign.bytes)))?;
    }
    let id = new.id.to_string();
    db.insert(
        "T_ATTEMPT",
        &[
            ("run_id", (&id).into_value()),
            ("attempt_id", id.into_value()),
            ("task_id", new.task.into_value()),
            ("table_name", (&new.table).into_value()),
            ("attempt_state", word(&AttemptState::Open)),
            ("begin_at", new.begin.into_value()),
            ("process", (&new.process).into_value()),
        ],
    )
}

/// An attempt of the sub-task of `next` turns out to have died.
fn died(
    db: &mut Db,
    next: &NewAttempt,
    dead: &AttemptRecord,
    (end, bytes): (Timestamp, Option<u64>),
) -> Result<()> {
    let mut set = vec![
        ("attempt_state", word(&AttemptState::Died)),
        ("end_at", end.into_value()),
        ("byte_count", bytes.into_value()),
    ];
    let has_run = dead.run != dead.id;
    if !has_run {
        set.push(("landed_rows", Value::Int(0)));
    }
    db.update("T_ATTEMPT", &set, one(dead.run, dead.id))?;
    if has_run {
        return Ok(());
    }
    let new = NewAttempt { id: dead.id, begin: dead.begin, ..next.clone() };
    let error = Error::new(Kind::System, "its process died before the run had begun")
        .detail(dead.process.clone());
    let end = RunEnd {
        state: RunState::Abandoned,
        counts: RunCounts::default(),
        message: None,
        error: Some(error),
        end,
    };
    run_of_its_own(db, &new, &end)
}

/// The run of an attempt that never got one.
fn run_of_its_own(db: &mut Db, attempt: &NewAttempt, end: &RunEnd) -> Result<()> {
    let run = NewRun {
        id: attempt.id,
        task: attempt.task,
        table: attempt.table.clone(),
        mode: attempt.mode,
        plan_hash: String::new(),
        begin: attempt.begin,
        ended_before: None,
        attempt: None,
        record_use_times: false,
    };
    runs::begin(db, &run, false)?;
    runs::finish(db, attempt.id, end, Ended::default(), false)
}

/// An attempt has begun or resumed a run. What the run had come to is what its dead attempts had
/// done; a run that was open before, and is another one, is given up.
pub(super) fn joins(db: &mut Db, run: &NewRun, attempt: RunId) -> Result<()> {
    let newest = newest(db, run.task, &run.table)?;
    let Some(own) = newest.iter().find(|a| a.id == attempt) else { return Ok(()) };
    if own.run != run.id {
        let set = [("run_id", run.id.to_string().into_value())];
        db.update("T_ATTEMPT", &set, one(own.run, attempt))?;
    }
    // Of another mode, the run itself finds out what is there (`Entry::Progress`).
    if run.mode == TableMode::Status
        && let Some(known) = runs::known(db, run.id)?
    {
        let total = runs::total(db, &known)?;
        Attempts::of(db, run.id)?.attribute(db, Some(attempt), total)?;
    }
    let mut others: Vec<_> =
        newest.iter().filter(|a| a.run != run.id && a.run != a.id && a.begin < own.begin).collect();
    others.dedup_by_key(|a| a.run);
    for other in others {
        give_up(db, run, other)?;
    }
    Ok(())
}

/// An open run in whose place `next` was begun; `last` is its last attempt.
fn give_up(db: &mut Db, next: &NewRun, last: &AttemptRecord) -> Result<()> {
    let Some(known) = runs::known(db, last.run)?.filter(|run| run.state == RunState::Open) else {
        return Ok(());
    };
    let total = runs::total(db, &known)?;
    Attempts::of(db, known.id)?.attribute(db, None, total)?;
    let (state, message) = match next.ended_before == Some(known.id) {
        true => (RunState::Done, "its process died before it could say that it was done"),
        false => (RunState::Abandoned, "another run was begun in its place"),
    };
    let end = RunEnd {
        state,
        counts: RunCounts::default(),
        message: Some(message.into()),
        error: None,
        end: last.end.unwrap_or(last.begin),
    };
    let use_times = next.record_use_times.then(|| UseTimes {
        task: known.task,
        table: known.table.clone(),
        run: known.id,
        begin: last.begin,
        end: end.end,
        bytes: 0,
        result: state,
    });
    runs::finish(db, known.id, &end, Ended { attempt: None, use_times }, false)?;
    // Its process has told nobody.
    let bad = runs::bad_rows(db, known.id)?;
    if bad == 0 {
        return Ok(());
    }
    let notice = Notice::left_behind(known.id, (known.task, &known.table), known.begin, end.end)?;
    notices::put(db, &Notice { landed: total, bad, ..notice }, false)
}

/// The attempts of a run, oldest first, read once: what is changed is changed here and in the
/// database.
pub(super) struct Attempts {
    run: RunId,
    list: Vec<AttemptRecord>,
}

impl Attempts {
    /// Those of a run.
    pub(super) fn of(db: &mut Db, run: RunId) -> Result<Attempts> {
        let select = Select::new("T_ATTEMPT", &COLUMNS).filter(runs::of_run(run));
        let rows = db.select(select.order(&["begin_at", "attempt_id"]))?;
        Ok(Attempts { run, list: rows.iter().map(record).collect::<Result<_>>()? })
    }

    pub(super) fn list(&self) -> &[AttemptRecord] {
        &self.list
    }

    /// How long they took together, in microseconds.
    pub(super) fn micros(&self) -> u64 {
        self.list.iter().map(AttemptRecord::micros).sum()
    }

    /// Bytes that travelled in them, as far as that is known.
    pub(super) fn bytes(&self) -> u64 {
        self.list.iter().filter_map(|a| a.bytes).sum()
    }

    /// Rows that they have landed, as far as that is known, without those of one.
    pub(super) fn credited(&self, without: RunId) -> u64 {
        let others = self.list.iter().filter(|a| a.id != without);
        others.filter_map(|a| a.landed).sum()
    }

    /// Rows of the run that no attempt has been credited with are those of the last one that died,
    /// else of the last one.
    pub(super) fn attribute(
        &mut self,
        db: &mut Db,
        current: Option<RunId>,
        total: u64,
    ) -> Result<()> {
        let others = self.list.iter_mut().filter(|a| Some(a.id) != current);
        let (mut known, unknown): (Vec<_>, Vec<_>) = others.partition(|a| a.landed.is_some());
        let credited: u64 = known.iter().filter_map(|a| a.landed).sum();
        let mut left = total.saturating_sub(credited);
        for dead in unknown.into_iter().rev() {
            credit(db, self.run, dead.id, left)?;
            dead.landed = Some(left);
            left = 0;
        }
        // One that failed may not have known of its last batches: its server was gone.
        if left > 0
            && let Some(last) = known.last_mut()
        {
            let rows = last.landed.unwrap_or(0) + left;
            credit(db, self.run, last.id, rows)?;
            last.landed = Some(rows);
        }
        Ok(())
    }

    /// One ends; `total` are the rows of the run by now, `bytes` those of the attempt.
    pub(super) fn end(
        &mut self,
        db: &mut Db,
        attempt: RunId,
        end: &RunEnd,
        (total, bytes): (u64, Option<u64>),
    ) -> Result<()> {
        let credited = self.credited(attempt);
        // Whatever died without being credited with anything had landed nothing.
        self.attribute(db, Some(attempt), credited)?;
        let (state, landed) = (AttemptState::from(end.state), total.saturating_sub(credited));
        let set = [
            ("attempt_state", word(&state)),
            ("end_at", end.end.into_value()),
            ("landed_rows", landed.into_value()),
            ("byte_count", bytes.into_value()),
            ("error", end.error.as_ref().map(json).transpose()?.into_value()),
        ];
        db.update("T_ATTEMPT", &set, one(self.run, attempt))?;
        for own in self.list.iter_mut().filter(|a| a.id == attempt) {
            (own.state, own.end) = (state, Some(end.end));
            (own.landed, own.bytes, own.error) = (Some(landed), bytes, end.error.clone());
        }
        Ok(())
    }
}

/// An attempt has landed so many rows by now.
pub(super) fn credit(db: &mut Db, run: RunId, attempt: RunId, rows: u64) -> Result<()> {
    let set = [("landed_rows", rows.into_value())];
    db.update("T_ATTEMPT", &set, one(run, attempt)).map(drop)
}

/// An attempt is tried again after a failure that it had not met before.
pub(super) fn tried(db: &mut Db, attempt: &NewAttempt, cause: &Cause) -> Result<()> {
    let newest = newest(db, attempt.task, &attempt.table)?;
    let Some(own) = newest.into_iter().find(|known| known.id == attempt.id) else { return Ok(()) };
    let mut causes = own.causes;
    if causes.len() >= CAUSES_MAX {
        return Ok(());
    }
    causes.push(cause.clone());
    db.update("T_ATTEMPT", &[("causes", json(&causes)?)], one(own.run, own.id)).map(drop)
}

/// An attempt ends that never had a run: a failure is recorded as one, what an operator wanted is
/// none.
pub(super) fn end_without_run(db: &mut Db, attempt: &NewAttempt, end: &RunEnd) -> Result<()> {
    // One that only waited for its next attempt has failed before, and says so.
    if end.state == RunState::Interrupted && end.message.is_none() {
        return db.delete("T_ATTEMPT", one(attempt.id, attempt.id)).map(drop);
    }
    let set = [
        ("attempt_state", word(&AttemptState::from(end.state))),
        ("end_at", end.end.into_value()),
        ("landed_rows", Value::Int(0)),
        ("error", end.error.as_ref().map(json).transpose()?.into_value()),
    ];
    db.update("T_ATTEMPT", &set, one(attempt.id, attempt.id))?;
    run_of_its_own(db, attempt, end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::ToSpan;

    use super::*;
    use crate::config::TableMode;
    use crate::store::{Entry, Home, StoreLocation};

    /// Its server was gone before it knew that its last batch had landed.
    #[test]
    fn rows_that_a_failed_attempt_did_not_know_of_are_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let mut store = Store::open(&StoreLocation::embedded(home)).unwrap();
        let (run, mode) = (RunId([1; 16]), TableMode::Increment);
        let noon: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let mut attempt = |n: u8, state: RunState, (resumed, landed): (u64, u64)| {
            let (id, begin, table) = (RunId([n; 16]), noon + i64::from(n).hours(), "t".to_owned());
            let (end, process) = (begin + 1.minute(), String::new());
            let launched = NewAttempt {
                id,
                task: 7,
                table: table.clone(),
                mode,
                begin,
                process,
                before: None,
            };
            let begins = NewRun {
                id: run,
                task: 7,
                table: table.clone(),
                mode,
                plan_hash: String::new(),
                begin,
                ended_before: None,
                attempt: Some(id),
                record_use_times: true,
            };
            let counts = RunCounts { landed, ..RunCounts::default() };
            let entries = [
                Entry::Launch(launched),
                Entry::Begin(begins),
                Entry::Progress { run, attempt: id, resumed, landed: 0 },
                Entry::End {
                    run,
                    end: RunEnd { state, counts, message: None, error: None, end },
                    use_times: Some(UseTimes {
                        task: 7,
                        table,
                        run,
                        begin,
                        end,
                        bytes: 0,
                        result: state,
                    }),
                    attempt: Some(id),
                    notice: None,
                },
            ];
            let entries: Vec<_> = (1..).zip(entries).collect();
            store.write_down(RunId([100 + n; 16]), &entries, false).unwrap();
        };
        attempt(2, RunState::Failed, (0, 10));
        attempt(3, RunState::Done, (13, 75));
        assert_eq!(store.run(run).unwrap().unwrap().counts.landed, 88);
        let landed: Vec<_> = store.attempts(run).unwrap().iter().map(|a| a.landed).collect();
        assert_eq!(landed, [Some(13), Some(75)]);
        let day = store.summary(noon, noon + 24.hours()).unwrap();
        assert_eq!((day[0].runs, day[0].failed_runs, day[0].rows), (1, 1, 88));
    }

    /// Records of two processes come by different ways: the later one may be written down first, and
    /// then takes the earlier one for dead.
    #[test]
    fn a_run_that_counted_as_dead_has_its_rows_once_it_says_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let mut store = Store::open(&StoreLocation::embedded(home)).unwrap();
        let noon: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let (mode, table) = (TableMode::Increment, "t".to_owned());
        let begin = |n: u8| noon + i64::from(n).hours();
        let begins = |n: u8| {
            let (table, process) = (table.clone(), String::new());
            let id = RunId([n; 16]);
            let attempt = NewAttempt {
                id,
                task: 7,
                table: table.clone(),
                mode,
                begin: begin(n),
                process,
                before: None,
            };
            let run = NewRun {
                id: RunId([n + 10; 16]),
                task: 7,
                table,
                mode,
                plan_hash: String::new(),
                begin: begin(n),
                ended_before: Some(RunId([n + 9; 16])),
                attempt: Some(id),
                record_use_times: true,
            };
            [Entry::Launch(attempt), Entry::Begin(run)]
        };
        let (run, attempt, end) = (RunId([11; 16]), RunId([1; 16]), begin(1) + 1.minute());
        let counts = RunCounts { landed: 100, ..RunCounts::default() };
        let use_times = UseTimes {
            task: 7,
            table: table.clone(),
            run,
            begin: begin(1),
            end,
            bytes: 5,
            result: RunState::Done,
        };
        let ended = Entry::End {
            run,
            end: RunEnd { state: RunState::Done, counts, message: None, error: None, end },
            use_times: Some(use_times),
            attempt: Some(attempt),
            notice: None,
        };
        let mut write = |origin: u8, first: u64, entries: Vec<Entry>| {
            let entries: Vec<_> = (first..).zip(entries).collect();
            store.write_down(RunId([origin; 16]), &entries, true).unwrap();
        };
        let progress = Entry::Progress { run, attempt, resumed: 0, landed: 100 };
        write(101, 1, [begins(1).to_vec(), vec![progress]].concat());
        write(102, 1, begins(2).to_vec());
        write(101, 4, vec![ended]);
        let day = store.summary(noon, noon + 24.hours()).unwrap();
        assert_eq!((day[0].runs, day[0].rows), (1, 100));
    }
}
