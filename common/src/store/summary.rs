//! What was transferred in a stretch of time, added up by the database.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;
use crate::store::Store;
use crate::store::runs::sum;
use crate::store::sql::{Db, IntoValue};
use crate::value::Value;

/// A sub-task's runs of some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TableSummary {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// Runs that ended, well or not.
    pub runs: u64,
    /// Those that failed.
    pub failed_runs: u64,
    /// Rows that landed.
    pub rows: u64,
    /// Rows that were bad.
    pub bad_rows: u64,
    /// Bytes that travelled; 0 where finished tables are not recorded in `proc_use_times`.
    pub bytes: u64,
    /// How long the longest run took, in seconds; 0 as above.
    pub seconds_max: f64,
}

/// By task and sub-task.
type Summaries = BTreeMap<(u32, String), TableSummary>;

impl Store {
    /// What ended at `from ≤ end < to`, by task and table: `proc_use_times`, and `T_RUN` for
    /// tasks that are not recorded there.
    pub fn summary(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<TableSummary>> {
        let mut all = Summaries::new();
        self.read(|db| {
            all.clear();
            use_times(db, from, to, &mut all)?;
            runs(db, from, to, &mut all)
        })?;
        Ok(all.into_values().collect())
    }
}

/// `end_at` within the period, of the table that goes by `alias`; both ends as parameters.
fn period(db: &mut Db, alias: &str) -> String {
    let d = db.conn().dialect();
    let end = format!("{alias}.{}", d.quote("end_at"));
    format!("{end} >= {} AND {end} < {}", d.param(1, None), d.param(2, None))
}

fn use_times(db: &mut Db, from: Timestamp, to: Timestamp, all: &mut Summaries) -> Result<()> {
    let period = period(db, "u");
    let d = db.conn().dialect();
    let q = |column: &str| format!("u.{}", d.quote(column));
    let sql = format!(
        "SELECT {task}, {table}, COUNT(*), SUM({rows}), SUM({bytes}), MAX({micros}), \
         SUM(CASE WHEN {result} = 'failed' THEN 1 ELSE 0 END) \
         FROM {} u WHERE {period} GROUP BY {task}, {table}",
        d.table("proc_use_times"),
        task = q("task_id"),
        table = q("table_name"),
        rows = q("row_count"),
        bytes = q("byte_count"),
        micros = q("use_micros"),
        result = q("result"),
    );
    for row in db.conn().query(&sql, &[from.into_value(), to.into_value()])? {
        let Some(summary) = of(&row, all) else { continue };
        summary.runs += sum(&row, 2);
        summary.rows += sum(&row, 3);
        summary.bytes += sum(&row, 4);
        summary.seconds_max = sum(&row, 5) as f64 / 1e6;
        summary.failed_runs += sum(&row, 6);
    }
    Ok(())
}

fn runs(db: &mut Db, from: Timestamp, to: Timestamp, all: &mut Summaries) -> Result<()> {
    let period = period(db, "r");
    let d = db.conn().dialect();
    let (r, u) = (
        |column: &str| format!("r.{}", d.quote(column)),
        |column: &str| format!("u.{}", d.quote(column)),
    );
    // A resumed run keeps its beginning here, and has one for each of its parts there.
    let recorded = format!(
        "{} = {} AND {} = {} AND {begin} >= {} AND {begin} <= {} AND {} = {}",
        u("task_id"),
        r("task_id"),
        u("table_name"),
        r("table_name"),
        r("begin_at"),
        r("end_at"),
        u("run_id"),
        r("run_id"),
        begin = u("begin_at"),
    );
    let x = |column: &str| format!("x.{}", d.quote(column));
    let fresh = |what: &str| format!("SUM(CASE WHEN x.seen = 1 THEN 0 ELSE {what} END)");
    let failed_run = format!("CASE WHEN {} = 'failed' THEN 1 ELSE 0 END", x("run_state"));
    let sql = format!(
        "SELECT {task}, {table}, SUM({bad}), {}, {}, {} FROM (SELECT {}, {}, {}, {}, {}, \
         CASE WHEN EXISTS (SELECT 1 FROM {} u WHERE {recorded}) THEN 1 ELSE 0 END seen \
         FROM {} r WHERE {period}) x GROUP BY {task}, {table}",
        fresh("1"),
        fresh(&x("landed_rows")),
        fresh(&failed_run),
        r("task_id"),
        r("table_name"),
        r("run_state"),
        r("landed_rows"),
        r("failed_rows"),
        d.table("proc_use_times"),
        d.table("T_RUN"),
        task = x("task_id"),
        table = x("table_name"),
        bad = x("failed_rows"),
    );
    for row in db.conn().query(&sql, &[from.into_value(), to.into_value()])? {
        let Some(summary) = of(&row, all) else { continue };
        summary.bad_rows += sum(&row, 2);
        summary.runs += sum(&row, 3);
        summary.rows += sum(&row, 4);
        summary.failed_runs += sum(&row, 5);
    }
    Ok(())
}

fn of<'a>(row: &[Value], all: &'a mut Summaries) -> Option<&'a mut TableSummary> {
    let task = u32::try_from(row.first()?.as_i64()?).ok()?;
    let table = row.get(1)?.as_str()?.to_owned();
    let new = TableSummary { task, table: table.clone(), ..TableSummary::default() };
    Some(all.entry((task, table)).or_insert(new))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::ToSpan;

    use super::*;
    use crate::config::TableMode;
    use crate::process::RunId;
    use crate::store::{
        ErrorRow, Home, NewRun, RowState, RunCounts, RunEnd, RunState, StoreLocation, UseTimes,
    };

    fn bad_row(run: RunId, table: &str, at: Timestamp) -> ErrorRow {
        ErrorRow {
            run,
            number: 0,
            task: 7,
            table: table.into(),
            key_columns: vec![],
            key: vec![],
            column: None,
            kind: crate::error::Kind::Data,
            text: "too long".into(),
            at,
            state: RowState::Bad,
        }
    }

    #[test]
    fn every_run_that_ended_in_the_period_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let mut store = Store::open(&StoreLocation::embedded(home)).unwrap();
        let noon: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let mut run = |table: &str, hours: i64, state: RunState, recorded: bool| {
            let (id, begin) = (RunId::random().unwrap(), noon + hours.hours());
            let (table, end) = (table.to_owned(), begin + 90.seconds());
            let plan_hash = String::new();
            let mode = TableMode::Increment;
            let run = NewRun {
                id,
                task: 7,
                table: table.clone(),
                mode,
                plan_hash,
                begin,
                ended_before: None,
                attempt: None,
                record_use_times: recorded,
            };
            store.begin_run(&run).unwrap();
            store.record_errors(&[bad_row(id, &table, begin)]).unwrap();
            let counts = RunCounts { landed: 10, ..RunCounts::default() };
            let ended = RunEnd { state, counts, message: None, error: None, end };
            store.finish_run(id, &ended).unwrap();
            if recorded {
                let times = UseTimes {
                    task: 7,
                    table,
                    run: id,
                    begin,
                    end,
                    rows: 10,
                    bytes: 5,
                    result: state,
                };
                store.record_use_times(&times).unwrap();
            }
        };
        run("a", 0, RunState::Done, true);
        run("a", 1, RunState::Failed, true);
        run("a", -24, RunState::Done, true);
        run("a", 24, RunState::Done, true);
        run("b", 2, RunState::Failed, false);
        run("b", 3, RunState::Done, false);
        let summary = store.summary(noon - 12.hours(), noon + 12.hours()).unwrap();
        let of = |table: &str, bytes, seconds_max| TableSummary {
            task: 7,
            table: table.into(),
            runs: 2,
            failed_runs: 1,
            rows: 20,
            bad_rows: 2,
            bytes,
            seconds_max,
        };
        assert_eq!(summary, [of("a", 10, 90.0), of("b", 0, 0.0)]);
    }
}
