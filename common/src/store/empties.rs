//! Runs that had nothing to send (`T_EMPTY_RUN`): counted by the hour. A schedule of a second would
//! fill the database with them, and nobody would find the others.

use jiff::{Timestamp, Unit};
use serde::Serialize;

use super::runs::{self, KnownRun};
use crate::config::{SubTask, TableMode};
use crate::error::Result;
use crate::process::RunId;
use crate::store::config_tables::{of_table, of_tables};
use crate::store::sql::{Db, IntoValue, Row, Select, word};
use crate::store::{
    AttemptRecord, AttemptState, RunCounts, RunEnd, RunFilter, RunRecord, RunState, Store,
};

/// The runs of a sub-task that had nothing to send and began within an hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmptyRuns {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// The hour: its beginning, UTC.
    pub hour: Timestamp,
    /// How many.
    pub runs: u64,
    /// How long they took together, in seconds.
    pub seconds: f64,
    /// When the last of them began.
    pub last_begin: Timestamp,
    /// When it ended.
    pub last_end: Timestamp,
    /// Its id.
    #[serde(skip)]
    last: RunId,
    #[serde(skip)]
    mode: TableMode,
}

impl EmptyRuns {
    /// The last of them.
    pub fn last_run(self) -> RunRecord {
        let took = self.last_end.duration_since(self.last_begin);
        RunRecord {
            id: self.last,
            task: self.task,
            table: self.table,
            mode: self.mode,
            state: RunState::Done,
            plan_hash: String::new(),
            begin: self.last_begin,
            end: Some(self.last_end),
            counts: RunCounts::default(),
            attempts: 1,
            seconds: took.as_secs_f64().max(0.0),
            interrupted: false,
            message: None,
            error: None,
        }
    }
}

const COLUMNS: [&str; 9] = [
    "task_id",
    "table_name",
    "hour_at",
    "run_count",
    "use_micros",
    "last_begin_at",
    "last_end_at",
    "last_run_id",
    "row_mode",
];

fn record(row: &Row) -> Result<EmptyRuns> {
    Ok(EmptyRuns {
        task: row.number("task_id")?,
        table: row.text("table_name")?,
        hour: row.time("hour_at")?,
        runs: row.number("run_count")?,
        seconds: row.number::<i64>("use_micros")? as f64 / 1e6,
        last_begin: row.time("last_begin_at")?,
        last_end: row.time("last_end_at")?,
        last: row.parsed("last_run_id")?,
        mode: row.word("row_mode")?,
    })
}

impl Store {
    /// Runs that had nothing to send, by the hour, the newest first.
    pub fn empty_runs(&mut self, filter: &RunFilter) -> Result<Vec<EmptyRuns>> {
        if filter.has_failed {
            return Ok(Vec::new());
        }
        let mut rows = of_tables(filter.task, &filter.tables);
        if let Some(since) = filter.since {
            rows = rows.at_least("last_begin_at", since);
        }
        let order = ["hour_at DESC", "task_id", "table_name"];
        self.read(|db| {
            let mut select =
                Select::new("T_EMPTY_RUN", &COLUMNS).filter(rows.clone()).order(&order);
            if let Some(limit) = filter.limit {
                select = select.limit(limit);
            }
            db.select(select)?.iter().map(record).collect()
        })
    }
}

/// Those of a sub-task in the newest hour that has any.
pub(super) fn newest(db: &mut Db, task: u32, table: &str) -> Result<Option<EmptyRuns>> {
    let select = Select::new("T_EMPTY_RUN", &COLUMNS).filter(of_table(task, table));
    let rows = db.select(select.order(&["hour_at DESC"]).limit(1))?;
    rows.first().map(record).transpose()
}

/// Whether a run that ends like this had nothing to do, in its only attempt, which went well at once. (One that fills a table
/// has emptied it, at least.)
pub(super) fn is_empty(
    run: &KnownRun,
    all: &RunCounts,
    end: &RunEnd,
    attempts: &[AttemptRecord],
) -> bool {
    run.mode != TableMode::Full
        && end.state == RunState::Done
        && matches!(attempts, [only] if only.state == AttemptState::Done && only.causes.is_empty())
        && *all == RunCounts::default()
}

/// Gives those of a sub-task to another, which may have some of the same hours: they are added.
pub(super) fn give(db: &mut Db, from: &SubTask, to: &SubTask) -> Result<()> {
    let select = Select::new("T_EMPTY_RUN", &COLUMNS).filter(of_table(from.0, &from.1));
    for row in db.select(select)? {
        let empty = record(&row)?;
        let of_hour = |table: &SubTask| of_table(table.0, &table.1).eq("hour_at", empty.hour);
        let select = Select::new("T_EMPTY_RUN", &COLUMNS).filter(of_hour(to));
        let Some(other) = db.select(select)?.first().map(record).transpose()? else {
            let name = [("task_id", to.0.into_value()), ("table_name", (&to.1).into_value())];
            db.update("T_EMPTY_RUN", &name, of_hour(from))?;
            continue;
        };
        let last = if other.last_begin < empty.last_begin { &empty } else { &other };
        let micros = ((empty.seconds + other.seconds) * 1e6).round() as i64;
        let sum = [
            ("run_count", (empty.runs + other.runs).into_value()),
            ("use_micros", micros.into_value()),
            ("last_begin_at", last.last_begin.into_value()),
            ("last_end_at", last.last_end.into_value()),
            ("last_run_id", last.last.to_string().into_value()),
            ("row_mode", word(&last.mode)),
        ];
        db.update("T_EMPTY_RUN", &sum, of_hour(to))?;
        db.delete("T_EMPTY_RUN", of_hour(from))?;
    }
    Ok(())
}

/// Counts a run instead of keeping it.
pub(super) fn count(db: &mut Db, run: &KnownRun, end: &RunEnd) -> Result<()> {
    for table in ["T_ATTEMPT", "T_RUN"] {
        db.delete(table, runs::of_run(run.id))?;
    }
    let hour = run
        .begin
        .round(jiff::TimestampRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Floor));
    let hour = hour.unwrap_or(run.begin);
    let of_hour = || of_table(run.task, &run.table).eq("hour_at", hour);
    let select = Select::new("T_EMPTY_RUN", &COLUMNS).filter(of_hour());
    let before = db.select(select)?.first().map(record).transpose()?;
    let micros = end.end.duration_since(run.begin).as_micros().max(0) as i64;
    let (mut runs, mut all) = (1, micros);
    if let Some(before) = &before {
        runs += before.runs;
        all += (before.seconds * 1e6).round() as i64;
    }
    let mut row = vec![("run_count", runs.into_value()), ("use_micros", all.into_value())];
    if before.as_ref().is_none_or(|before| before.last_begin <= run.begin) {
        row.push(("last_begin_at", run.begin.into_value()));
        row.push(("last_end_at", end.end.into_value()));
        row.push(("last_run_id", run.id.to_string().into_value()));
        row.push(("row_mode", word(&run.mode)));
    }
    if before.is_some() {
        return db.update("T_EMPTY_RUN", &row, of_hour()).map(drop);
    }
    row.push(("task_id", run.task.into_value()));
    row.push(("table_name", (&run.table).into_value()));
    row.push(("hour_at", hour.into_value()));
    db.insert("T_EMPTY_RUN", &row)
}
