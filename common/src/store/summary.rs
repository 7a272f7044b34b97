//! What was transferred in a stretch of time, added up by the database.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;
use crate::store::Store;
use crate::store::sql::{Db, IntoValue, whole_number};
use crate::value::Value;

/// A sub-task's runs of some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TableSummary {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// Runs that ended, well or not: each once, however many attempts it had.
    pub runs: u64,
    /// Those that failed, or of which an attempt failed before it was resumed.
    pub failed_runs: u64,
    /// Those that were interrupted, by an operator or the end of the daemon, and have not gone on.
    pub interrupted_runs: u64,
    /// Rows that landed.
    pub rows: u64,
    /// Rows that were bad, each once: one that was bad again in a later run of this time counts there.
    pub bad_rows: u64,
    /// Bytes that travelled; 0 where finished tables are not recorded in `proc_use_times`.
    pub bytes: u64,
    /// How long the longest run took, in seconds, all of its attempts together; 0 for runs without
    /// rows where finished tables are not recorded.
    pub seconds_max: f64,
}

impl TableSummary {
    /// Takes the duration of a run, in microseconds, into account.
    fn take_seconds(&mut self, micros: u64) {
        self.seconds_max = self.seconds_max.max(micros as f64 / 1e6);
    }
}

/// By task and sub-task.
type Summaries = BTreeMap<(u32, String), TableSummary>;

impl Store {
    /// What ended at `from ≤ end < to`, by task and table. A run is counted once, however many
    /// attempts of it ended; its rows by `proc_use_times`, and by `T_RUN` for tasks that are not
    /// recorded there.
    pub fn summary(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<TableSummary>> {
        let mut all = Summaries::new();
        self.read(|db| {
            all.clear();
            let period = Period { from, to };
            count_runs(db, &period, None, &mut all, |summary| &mut summary.runs)?;
            let failed = Some("failed");
            count_runs(db, &period, failed, &mut all, |summary| &mut summary.failed_runs)?;
            interrupted(db, &period, &mut all)?;
            use_times(db, &period, &mut all)?;
            bad_rows(db, &period, &mut all)?;
            rows(db, &period, &mut all)
        })?;
        Ok(all.into_values().collect())
    }
}

struct Period {
    from: Timestamp,
    to: Timestamp,
}

impl Period {
    /// `end_at` within it, of the table that goes by `alias`; both ends become parameters.
    fn of(&self, db: &mut Db, alias: &str, params: &mut Vec<Value>) -> String {
        let d = db.conn().dialect();
        let end = format!("{alias}.{}", d.quote("end_at"));
        params.extend([self.from.into_value(), self.to.into_value()]);
        let (from, to) = (d.param(params.len() - 1, None), d.param(params.len(), None));
        format!("{end} >= {from} AND {end} < {to}")
    }
}

/// Counts the runs that ended, or of which an attempt did; those alone that ended with this word.
/// Those that had nothing to send stand in `proc_use_times` only, tasks that are not recorded there
/// in `T_RUN`, and what was resumed after a failure of such a task in `T_ATTEMPT`.
fn count_runs(
    db: &mut Db,
    period: &Period,
    ended: Option<&str>,
    all: &mut Summaries,
    counter: fn(&mut TableSummary) -> &mut u64,
) -> Result<()> {
    let mut params = Vec::new();
    let mut parts = Vec::new();
    let sides =
        [("proc_use_times", "result"), ("T_RUN", "run_state"), ("T_ATTEMPT", "attempt_state")];
    for (table, state) in sides {
        let mut within = period.of(db, "e", &mut params);
        let d = db.conn().dialect();
        let state = format!("e.{}", d.quote(state));
        match ended {
            Some(word) => within += &format!(" AND {state} = '{word}'"),
            // Of a run that goes on nothing has ended.
            None => within += &format!(" AND {state} <> 'died'"),
        }
        let of = |column: &str| format!("e.{}", d.quote(column));
        parts.push(format!(
            "SELECT {}, {}, {} FROM {} e WHERE {within}",
            of("task_id"),
            of("table_name"),
            of("run_id"),
            d.table(table)
        ));
    }
    let d = db.conn().dialect();
    let x = |column: &str| format!("x.{}", d.quote(column));
    let (task, table) = (x("task_id"), x("table_name"));
    // A union has each run once.
    let sql = format!(
        "SELECT {task}, {table}, COUNT(*) FROM ({}) x GROUP BY {task}, {table}",
        parts.join(" UNION ")
    );
    for row in db.conn().query(&sql, &params)? {
        if let Some(summary) = of(&row, all) {
            *counter(summary) += number(&row, 2);
        }
    }
    Ok(())
}

fn use_times(db: &mut Db, period: &Period, all: &mut Summaries) -> Result<()> {
    let mut params = Vec::new();
    let within = period.of(db, "u", &mut params);
    let d = db.conn().dialect();
    let q = |column: &str| format!("u.{}", d.quote(column));
    let sql = format!(
        "SELECT {task}, {table}, SUM({rows}), SUM({bytes}), MAX({micros}) \
         FROM {} u WHERE {within} GROUP BY {task}, {table}",
        d.table("proc_use_times"),
        task = q("task_id"),
        table = q("table_name"),
        rows = q("row_count"),
        bytes = q("byte_count"),
        micros = q("use_micros"),
    );
    for row in db.conn().query(&sql, &params)? {
        let Some(summary) = of(&row, all) else { continue };
        summary.rows += number(&row, 2);
        summary.bytes += number(&row, 3);
        summary.take_seconds(number(&row, 4));
    }
    Ok(())
}

fn interrupted(db: &mut Db, period: &Period, all: &mut Summaries) -> Result<()> {
    let mut params = Vec::new();
    let within = period.of(db, "r", &mut params);
    let d = db.conn().dialect();
    let r = |column: &str| format!("r.{}", d.quote(column));
    let (task, table) = (r("task_id"), r("table_name"));
    let sql = format!(
        "SELECT {task}, {table}, COUNT(*) FROM {} r WHERE {within} AND {} = 'interrupted' \
         GROUP BY {task}, {table}",
        d.table("T_RUN"),
        r("run_state"),
    );
    for row in db.conn().query(&sql, &params)? {
        let Some(summary) = of(&row, all) else { continue };
        summary.interrupted_runs += number(&row, 2);
    }
    Ok(())
}

/// Rows that were bad when their run ended. Of those that were bad again until the end of the period,
/// the last time counts.
fn bad_rows(db: &mut Db, period: &Period, all: &mut Summaries) -> Result<()> {
    let mut params = Vec::new();
    let within = period.of(db, "r", &mut params);
    params.push(period.to.into_value());
    let d = db.conn().dialect();
    let (e, r) = (
        |column: &str| format!("e.{}", d.quote(column)),
        |column: &str| format!("r.{}", d.quote(column)),
    );
    let (task, table) = (e("task_id"), e("table_name"));
    let sql = format!(
        "SELECT {task}, {table}, COUNT(*) FROM {} e WHERE EXISTS (SELECT 1 FROM {} r WHERE {} = {} AND \
         {within}) AND NOT ({} = 'repeated' AND {at} IS NOT NULL AND {at} < {}) GROUP BY {task}, {table}",
        d.table("T_ERROR_ROW"),
        d.table("T_RUN"),
        r("run_id"),
        e("run_id"),
        e("row_state"),
        d.param(params.len(), None),
        at = e("state_at"),
    );
    for row in db.conn().query(&sql, &params)? {
        let Some(summary) = of(&row, all) else { continue };
        summary.bad_rows += number(&row, 2);
    }
    Ok(())
}

/// How long runs took, and the rows of tasks that are not recorded in `proc_use_times`.
fn rows(db: &mut Db, period: &Period, all: &mut Summaries) -> Result<()> {
    // Parameters stand in the order of the text.
    let mut params = vec![period.from.into_value()];
    let within = period.of(db, "r", &mut params);
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
    // What attempts before the period had landed belongs into the period of their end.
    let a = |column: &str| format!("a.{}", d.quote(column));
    let earlier = format!(
        "SELECT SUM({}) FROM {} a WHERE {} = {} AND {} IN ('failed', 'interrupted') AND {} < {}",
        a("landed_rows"),
        d.table("T_ATTEMPT"),
        a("run_id"),
        r("run_id"),
        a("attempt_state"),
        a("end_at"),
        d.param(1, None),
    );
    let x = |column: &str| format!("x.{}", d.quote(column));
    let sql = format!(
        "SELECT {task}, {table}, SUM(CASE WHEN x.seen = 1 OR x.earlier > {landed} THEN 0 \
         ELSE {landed} - x.earlier END), \
         MAX({micros}) FROM (SELECT {}, {}, {}, {}, COALESCE(({earlier}), 0) earlier, CASE WHEN EXISTS (SELECT 1 FROM {} u WHERE {recorded}) \
         THEN 1 ELSE 0 END seen FROM {} r WHERE {within}) x GROUP BY {task}, {table}",
        r("task_id"),
        r("table_name"),
        r("landed_rows"),
        r("use_micros"),
        d.table("proc_use_times"),
        d.table("T_RUN"),
        task = x("task_id"),
        table = x("table_name"),
        landed = x("landed_rows"),
        micros = x("use_micros"),
    );
    for row in db.conn().query(&sql, &params)? {
        let Some(summary) = of(&row, all) else { continue };
        summary.rows += number(&row, 2);
        summary.take_seconds(number(&row, 3));
    }
    Ok(())
}

fn number(row: &[Value], at: usize) -> u64 {
    row.get(at).map_or(0, whole_number)
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
    use crate::error::Kind;
    use crate::process::RunId;
    use crate::store::{
        Entry, ErrorRow, Home, Judgement, NewAttempt, NewRun, RowState, RunCounts, RunEnd,
        RunState, StoreLocation, UseTimes, Verdict,
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
            kind: Kind::Data,
            text: "too long".into(),
            at,
            state: RowState::Bad,
            verdict: None,
        }
    }

    /// An attempt of a run that began then ends a minute and a half later.
    fn attempt(store: &mut Store, run: RunId, begin: Timestamp, state: RunState, recorded: bool) {
        let table = if recorded { "a" } else { "b" };
        let (table, end, mode) = (table.to_owned(), begin + 90.seconds(), TableMode::Increment);
        let attempt = RunId::random().unwrap();
        let new = NewRun {
            id: run,
            task: 7,
            table: table.clone(),
            mode,
            plan_hash: String::new(),
            begin,
            ended_before: None,
            attempt: Some(attempt),
            record_use_times: recorded,
        };
        let launched = NewAttempt {
            id: attempt,
            task: 7,
            table: table.clone(),
            mode,
            begin,
            process: String::new(),
            before: None,
        };
        let use_times =
            UseTimes { task: 7, table: table.clone(), run, begin, end, bytes: 5, result: state };
        let counts = RunCounts { landed: 10, ..RunCounts::default() };
        let entries = [
            Entry::Launch(launched),
            Entry::Begin(new),
            Entry::Bad { rows: vec![bad_row(run, &table, begin)], are_new: true },
            Entry::End {
                run,
                end: RunEnd { state, counts, message: None, error: None, end },
                use_times: recorded.then_some(use_times),
                attempt: Some(attempt),
                notice: None,
            },
        ];
        let entries: Vec<_> = (1..).zip(entries).collect();
        store.write_down(RunId::random().unwrap(), &entries, false).unwrap();
    }

    #[test]
    fn rows_of_a_resumed_run_count_in_the_period_in_which_their_attempt_ended() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let mut store = Store::open(&StoreLocation::embedded(home)).unwrap();
        let noon: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        for recorded in [true, false] {
            let run = RunId::random().unwrap();
            let mut day = |begin: Timestamp, state| {
                attempt(&mut store, run, begin, state, recorded);
                store.summary(begin - 1.hours(), begin + 1.hours()).unwrap()
            };
            for (hours, state) in [(0, RunState::Failed), (24, RunState::Done)] {
                let day = day(noon + hours.hours(), state);
                let of = day.iter().find(|of| of.table == if recorded { "a" } else { "b" });
                assert_eq!(of.unwrap().rows, 10, "recorded: {recorded}, after {hours} hours");
            }
        }
    }

    /// Bad again in a later run, the first record of a row says so.
    #[test]
    fn a_row_that_was_bad_again_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let mut store = Store::open(&StoreLocation::embedded(home)).unwrap();
        let noon: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let runs = [(); 2].map(|()| RunId::random().unwrap());
        for (n, run) in (0..).zip(runs) {
            attempt(&mut store, run, noon + (n * 24).hours(), RunState::Done, true);
        }
        let how = "bad again".to_owned();
        let verdict = Verdict { run: Some(runs[1]), at: noon + 24.hours(), how };
        let judged = Judgement { run: runs[0], number: 0, state: RowState::Repeated, verdict };
        let entries = [(1, Entry::Judged(vec![judged]))];
        store.write_down(RunId::random().unwrap(), &entries, false).unwrap();
        let mut bad = |days: i64| {
            store.summary(noon - 1.hours(), noon + (days * 24 - 1).hours()).unwrap()[0].bad_rows
        };
        assert_eq!((bad(1), bad(2)), (1, 1));
    }

    #[test]
    fn every_run_that_ended_in_the_period_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let mut store = Store::open(&StoreLocation::embedded(home)).unwrap();
        let noon: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let mut run = |recorded: bool, attempts: &[(i64, RunState)]| {
            let id = RunId::random().unwrap();
            for (hours, state) in attempts {
                attempt(&mut store, id, noon + hours.hours(), *state, recorded);
            }
        };
        for recorded in [true, false] {
            run(recorded, &[(0, RunState::Done)]);
            run(recorded, &[(-24, RunState::Done)]);
            run(recorded, &[(24, RunState::Failed)]);
            // It failed twice, was resumed, and is done.
            let resumed = [(1, RunState::Failed), (2, RunState::Failed), (3, RunState::Done)];
            run(recorded, &resumed);
        }
        let summary = store.summary(noon - 12.hours(), noon + 12.hours()).unwrap();
        // The one that was resumed took the longest.
        let of = |table: &str, bytes| TableSummary {
            task: 7,
            table: table.into(),
            runs: 2,
            failed_runs: 1,
            interrupted_runs: 0,
            rows: 40,
            bad_rows: 4,
            bytes,
            seconds_max: 270.0,
        };
        assert_eq!(summary, [of("a", 20), of("b", 0)]);
    }
}
