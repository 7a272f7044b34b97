//! What ran: `T_RUN`, `T_BATCH`, `proc_use_times`. A record for people; what has landed is for
//! the destination's ledger to say.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::TableMode;
use crate::error::{Error, Result};
use crate::process::RunId;
use crate::store::Store;
use crate::store::sql::{Db, Filter, IntoValue, Row, Select, json, word};
use crate::value::{Key, Value};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Under way, or to be resumed by the next start.
    Open,
    /// Every row landed and the books balance.
    Done,
    /// Failed.
    Failed,
    /// Stopped by an operator.
    Interrupted,
    /// Died; another run has settled what it left.
    Abandoned,
}

/// The rows of a run, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Claimed at the source.
    pub claimed: u64,
    /// Read.
    pub read: u64,
    /// Landed.
    pub landed: u64,
    /// Set to 3.
    pub failed: u64,
    /// Edited or deleted between claim and read.
    pub withdrawn: u64,
    /// Set to 2.
    pub settled: u64,
    /// Landed, and changed before they could be settled.
    pub changed: u64,
    /// Left out because their key exists.
    pub skipped: u64,
}

/// A run that begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: u32,
    /// Its sub-task.
    pub table: String,
    /// Which rows it sends.
    pub mode: TableMode,
    /// Fingerprint of its plan, at most 128 characters.
    pub plan_hash: String,
    /// When it begins.
    pub begin: Timestamp,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Its state from now on.
    pub state: RunState,
    /// Its rows.
    pub counts: RunCounts,
    /// The outcome in a line.
    pub message: Option<String>,
    /// The failure.
    pub error: Option<Error>,
    /// When it ended.
    pub end: Timestamp,
}

/// A run as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: u32,
    /// Its sub-task.
    pub table: String,
    /// Which rows it sends.
    pub mode: TableMode,
    /// Where it stands.
    pub state: RunState,
    /// Fingerprint of its plan.
    pub plan_hash: String,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Its rows, as far as they were recorded.
    pub counts: RunCounts,
    /// The outcome in a line.
    pub message: Option<String>,
    /// The failure.
    pub error: Option<Error>,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this task.
    pub task: Option<u32>,
    /// Of this sub-task.
    pub table: Option<String>,
    /// Begun then or later.
    pub since: Option<Timestamp>,
    /// In this state.
    pub state: Option<RunState>,
    /// At most so many, the newest.
    pub limit: Option<u64>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// With a writer.
    Sent,
    /// In the destination.
    Landed,
    /// The source has been told.
    Settled,
    /// Cut into parts, which have records of their own.
    Split,
    /// Did not land.
    Failed,
}

/// What a run in `status` mode is known by at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// The source table's identity, 32 hexadecimal digits.
    pub source: String,
    /// The destination's record: its own random id, 32 hexadecimal digits.
    pub record: String,
    /// The number that source and destination had.
    pub counter: i64,
}

/// A batch, or a part of one that was split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its run.
    pub run: RunId,
    /// Number in the run, from 0.
    pub number: u64,
    /// Which part of a split batch, at most 190 characters; `None`: the whole one.
    pub part: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// Key of its first row; empty where rows have no key.
    pub low: Key,
    /// Key of its last row.
    pub high: Key,
    /// Where it stands.
    pub state: BatchState,
    /// When it went to a writer.
    pub sent: Option<Timestamp>,
    /// When its landing was known.
    pub landed: Option<Timestamp>,
    /// When the source was told.
    pub settled: Option<Timestamp>,
    /// The writer's number.
    pub writer: Option<u8>,
    /// By which record of the destination, and under which number of the run, it was settled;
    /// `None`: it was not, or an older version did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
}

/// A row of `proc_use_times`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UseTimes {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// The run.
    pub run: RunId,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Rows that landed.
    pub rows: u64,
    /// Bytes that travelled.
    pub bytes: u64,
    /// How it ended.
    pub result: RunState,
}

type CountOf = fn(&mut RunCounts) -> &mut u64;

/// Counts and their columns.
const COUNTS: [(&str, CountOf); 8] = [
    ("claimed_rows", |c| &mut c.claimed),
    ("read_rows", |c| &mut c.read),
    ("landed_rows", |c| &mut c.landed),
    ("failed_rows", |c| &mut c.failed),
    ("withdrawn_rows", |c| &mut c.withdrawn),
    ("settled_rows", |c| &mut c.settled),
    ("changed_rows", |c| &mut c.changed),
    ("skipped_rows", |c| &mut c.skipped),
];

/// A whole batch in the part column.
const WHOLE: &str = "-";

impl Store {
    /// Records that a run begins. Recording it again changes nothing but its state, which is
    /// open again: a resumed run keeps its beginning.
    pub fn begin_run(&mut self, run: &NewRun) -> Result<()> {
        self.transaction(|db| begin(db, run, false))
    }

    /// Records how far a run has come.
    pub fn record_counts(&mut self, run: RunId, counts: RunCounts) -> Result<()> {
        self.transaction(|db| db.update("T_RUN", &count_values(counts), of_run(run)).map(drop))
    }

    /// Records how a run ended. (One that will be resumed stays [`RunState::Open`].)
    pub fn finish_run(&mut self, run: RunId, end: &RunEnd) -> Result<()> {
        self.transaction(|db| finish(db, run, end, false))
    }

    /// One run.
    pub fn run(&mut self, run: RunId) -> Result<Option<RunRecord>> {
        let found = self.read(|db| select_runs(db, of_run(run), Some(1)))?;
        Ok(found.into_iter().next())
    }

    /// The newest run of a sub-task.
    pub fn last_run(&mut self, task: u32, table: &str) -> Result<Option<RunRecord>> {
        let filter = RunFilter {
            task: Some(task),
            table: Some(table.to_owned()),
            limit: Some(1),
            ..RunFilter::default()
        };
        Ok(self.runs(&filter)?.into_iter().next())
    }

    /// Runs, newest first.
    pub fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        let mut rows =
            Filter::new().maybe("task_id", filter.task).maybe("table_name", filter.table.as_ref());
        if let Some(since) = filter.since {
            rows = rows.at_least("begin_at", since);
        }
        if let Some(state) = filter.state {
            rows = rows.eq("run_state", word(&state));
        }
        self.read(|db| select_runs(db, rows.clone(), filter.limit))
    }

    /// Records batches; one that is recorded already is replaced.
    pub fn record_batches(&mut self, batches: &[BatchRecord]) -> Result<()> {
        self.transaction(|db| batches.iter().try_for_each(|batch| put_batch(db, batch)))
    }

    /// The batches of a run, in order.
    pub fn batches(&mut self, run: RunId) -> Result<Vec<BatchRecord>> {
        self.read(|db| select_batches(db, of_run(run), &["batch_no", "part"]))
    }

    /// Adds a row to `proc_use_times` (A11); the same row twice is one.
    pub fn record_use_times(&mut self, times: &UseTimes) -> Result<()> {
        self.transaction(|db| put_use_times(db, times))
    }
}

/// When a run is recorded to have begun and ended.
pub(super) struct Times {
    begin: Timestamp,
    end: Option<Timestamp>,
}

/// The times of a run that is recorded.
pub(super) fn times(db: &mut Db, run: RunId) -> Result<Option<Times>> {
    let rows = db.select(Select::new("T_RUN", &["begin_at", "end_at"]).filter(of_run(run)))?;
    let times =
        |row: &Row| Ok(Times { begin: row.time("begin_at")?, end: row.opt_time("end_at")? });
    rows.first().map(times).transpose()
}

/// A run begins, or is resumed. When this comes late, what happened after it may be recorded
/// already: then that stands.
pub(super) fn begin(db: &mut Db, run: &NewRun, is_late: bool) -> Result<()> {
    if let Some(known) = times(db, run.id)? {
        let mut row = Vec::new();
        if is_late && run.begin < known.begin {
            row.push(("plan_hash", (&run.plan_hash).into_value()));
            row.push(("begin_at", run.begin.into_value()));
        }
        if !is_late || known.end.is_none_or(|end| end < run.begin) {
            row.push(("run_state", word(&RunState::Open)));
            row.push(("end_at", Value::Null));
        }
        if !row.is_empty() {
            db.update("T_RUN", &row, of_run(run.id))?;
        }
        return Ok(());
    }
    let mut row = vec![
        ("run_id", run.id.to_string().into_value()),
        ("task_id", run.task.into_value()),
        ("table_name", (&run.table).into_value()),
        ("row_mode", word(&run.mode)),
        ("run_state", word(&RunState::Open)),
        ("plan_hash", (&run.plan_hash).into_value()),
        ("begin_at", run.begin.into_value()),
    ];
    row.extend(count_values(RunCounts::default()));
    db.insert("T_RUN", &row)
}

/// A run ends. When this comes late and a later end is recorded already, that stands.
pub(super) fn finish(db: &mut Db, run: RunId, end: &RunEnd, is_late: bool) -> Result<()> {
    if is_late && times(db, run)?.and_then(|t| t.end).is_some_and(|known| known > end.end) {
        return Ok(());
    }
    let mut row = vec![
        ("run_state", word(&end.state)),
        ("end_at", end.end.into_value()),
        ("message", end.message.clone().into_value()),
        ("error", end.error.as_ref().map(json).transpose()?.into_value()),
    ];
    row.extend(count_values(end.counts));
    db.update("T_RUN", &row, of_run(run)).map(drop)
}

pub(super) fn put_use_times(db: &mut Db, times: &UseTimes) -> Result<()> {
    let id = [
        ("task_id", times.task.into_value()),
        ("table_name", (&times.table).into_value()),
        ("begin_at", times.begin.into_value()),
        ("run_id", times.run.to_string().into_value()),
    ];
    let took = times.end.duration_since(times.begin).as_micros().max(0);
    let rest = [
        ("end_at", times.end.into_value()),
        ("use_micros", i64::try_from(took).unwrap_or(i64::MAX).into_value()),
        ("row_count", times.rows.into_value()),
        ("byte_count", times.bytes.into_value()),
        ("result", word(&times.result)),
    ];
    let filter = id.iter().fold(Filter::new(), |f, (c, v)| f.eq(c, v.clone()));
    db.delete("proc_use_times", filter)?;
    db.insert("proc_use_times", &[&id[..], &rest].concat())
}

fn of_run(run: RunId) -> Filter {
    Filter::new().eq("run_id", run.to_string())
}

fn count_values(mut counts: RunCounts) -> Vec<(&'static str, Value)> {
    COUNTS.iter().map(|(column, of)| (*column, (*of(&mut counts)).into_value())).collect()
}

fn select_runs(db: &mut Db, filter: Filter, limit: Option<u64>) -> Result<Vec<RunRecord>> {
    let columns = [
        "run_id",
        "task_id",
        "table_name",
        "row_mode",
        "run_state",
        "plan_hash",
        "begin_at",
        "end_at",
        "claimed_rows",
        "read_rows",
        "landed_rows",
        "failed_rows",
        "withdrawn_rows",
        "settled_rows",
        "changed_rows",
        "skipped_rows",
        "message",
        "error",
    ];
    let order = ["begin_at DESC", "run_id"];
    let mut select = Select::new("T_RUN", &columns).filter(filter).order(&order);
    if let Some(limit) = limit {
        select = select.limit(limit);
    }
    let run = |row: Row| {
        let mut counts = RunCounts::default();
        for (column, of) in COUNTS {
            *of(&mut counts) = row.number(column)?;
        }
        Ok(RunRecord {
            id: row.parsed("run_id")?,
            task: row.number("task_id")?,
            table: row.text("table_name")?,
            mode: row.word("row_mode")?,
            state: row.word("run_state")?,
            plan_hash: row.opt_text("plan_hash").unwrap_or_default(),
            begin: row.time("begin_at")?,
            end: row.opt_time("end_at")?,
            counts,
            message: row.opt_text("message"),
            error: row.opt_text("error").map(|_| row.json("error")).transpose()?,
        })
    };
    db.select(select)?.into_iter().map(run).collect()
}

pub(super) fn select_batches(
    db: &mut Db,
    filter: Filter,
    order: &[&'static str],
) -> Result<Vec<BatchRecord>> {
    let columns = [
        "run_id",
        "batch_no",
        "part",
        "row_count",
        "low_key",
        "high_key",
        "batch_state",
        "sent_at",
        "landed_at",
        "settled_at",
        "writer",
        "source_id",
        "record_id",
        "run_counter",
    ];
    let batch = |row: Row| {
        let ids = row.opt_text("source_id").zip(row.opt_text("record_id"));
        let counter: Option<i64> = row.opt_number("run_counter")?;
        Ok(BatchRecord {
            run: row.parsed("run_id")?,
            number: row.number("batch_no")?,
            part: Some(row.text("part")?).filter(|p| p != WHOLE),
            rows: row.number("row_count")?,
            low: row.json("low_key")?,
            high: row.json("high_key")?,
            state: row.word("batch_state")?,
            sent: row.opt_time("sent_at")?,
            landed: row.opt_time("landed_at")?,
            settled: row.opt_time("settled_at")?,
            writer: row.opt_number("writer")?,
            tenure: ids.zip(counter).map(|((source, record), counter)| Tenure {
                source,
                record,
                counter,
            }),
        })
    };
    let select = Select::new("T_BATCH", &columns).filter(filter);
    db.select(select.order(order))?.into_iter().map(batch).collect()
}

pub(super) fn put_batch(db: &mut Db, batch: &BatchRecord) -> Result<()> {
    let part = batch.part.as_deref().unwrap_or(WHOLE);
    db.delete("T_BATCH", of_run(batch.run).eq("batch_no", batch.number).eq("part", part))?;
    let row = [
        ("run_id", batch.run.to_string().into_value()),
        ("batch_no", batch.number.into_value()),
        ("part", part.into_value()),
        ("row_count", batch.rows.into_value()),
        ("low_key", json(&batch.low)?),
        ("high_key", json(&batch.high)?),
        ("batch_state", word(&batch.state)),
        ("sent_at", batch.sent.into_value()),
        ("landed_at", batch.landed.into_value()),
        ("settled_at", batch.settled.into_value()),
        ("writer", batch.writer.into_value()),
        ("source_id", batch.tenure.as_ref().map(|t| t.source.clone()).into_value()),
        ("record_id", batch.tenure.as_ref().map(|t| t.record.clone()).into_value()),
        ("run_counter", batch.tenure.as_ref().map(|t| t.counter).into_value()),
    ];
    db.insert("T_BATCH", &row)
}
