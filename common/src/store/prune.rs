//! Old records go, in pieces that hold up nobody.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;
use crate::process::RunId;
use crate::store::config_tables::of_table;
use crate::store::counters;
use crate::store::sql::{Db, Filter, Select, word};
use crate::store::{RowState, RunState, Store};
use crate::value::Value;

/// Rows in one transaction.
const PIECE: u64 = 500;

/// How many records went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Of `T_RUN`, each with its batches and its rows that were put right.
    pub runs: u64,
    /// Of `proc_use_times`.
    pub use_times: u64,
    /// Of `T_ERROR_ROW`, of runs that stay.
    pub errors: u64,
}

impl Store {
    /// Removes what ended before `before`. Kept all the same: runs that are open, the last run of
    /// every table, runs with rows that nobody has put right, and those of `keep`.
    pub fn prune(&mut self, before: Timestamp, keep: &BTreeSet<RunId>) -> Result<Pruned> {
        let mut kept: BTreeSet<String> = keep.iter().map(ToString::to_string).collect();
        kept.extend(self.read(runs_with_bad_rows)?);
        let mut pruned = Pruned::default();
        for (task, table) in self.read(|db| pairs(db, "T_RUN"))? {
            let newest = newest_run(self, task, &table)?;
            let mut after = None;
            // Asked again after every piece: others write in between.
            while let Some(last) = self.transaction(|db| {
                let piece = old_rows(db, "T_RUN", task, &table, before, after.clone())?;
                let Some((last, _)) = piece.last().cloned() else { return Ok(None) };
                let goes = |run: &String| !kept.contains(run) && Some(run) != newest.as_ref();
                let runs: Vec<_> =
                    piece.into_iter().map(|(_, run)| run).filter(goes).map(Value::Text).collect();
                Ok(Some((last, remove_runs(db, runs)?)))
            })? {
                pruned.runs += last.1;
                after = Some(last.0);
            }
        }
        for (task, table) in self.read(|db| pairs(db, "proc_use_times"))? {
            loop {
                let removed = self.transaction(|db| {
                    let piece = old_rows(db, "proc_use_times", task, &table, before, None)?;
                    let Some((last, _)) = piece.last().cloned() else { return Ok(0) };
                    let old = of_table(task, &table).below("end_at", before);
                    db.delete("proc_use_times", old.up_to("begin_at", last))
                })?;
                pruned.use_times += removed;
                if removed == 0 {
                    break;
                }
            }
        }
        self.transaction(|db| {
            db.delete("T_EMPTY_RUN", Filter::new().below("last_end_at", before)).map(drop)
        })?;
        while self.transaction(|db| counters::prune(db, before, PIECE))? > 0 {}
        // Far older than anything that may still be written twice.
        self.transaction(|db| {
            db.delete("T_ORIGIN", Filter::new().below("written_at", before)).map(drop)
        })?;
        pruned.errors = self.transaction(|db| {
            let closed = RowState::ALL.iter().filter(|state| !state.is_open()).map(word);
            let closed = Filter::new().any_of("row_state", closed.collect());
            db.delete("T_ERROR_ROW", closed.below("error_at", before))
        })?;
        Ok(pruned)
    }
}

/// Sub-tasks that a table has rows of.
fn pairs(db: &mut Db, table: &'static str) -> Result<BTreeSet<(u32, String)>> {
    let d = db.conn().dialect();
    let sql = format!(
        "SELECT DISTINCT {}, {} FROM {}",
        d.quote("task_id"),
        d.quote("table_name"),
        d.table(table)
    );
    let rows = db.conn().query(&sql, &[])?;
    let pair = |row: Vec<Value>| {
        let task = row.first()?.as_i64().and_then(|n| u32::try_from(n).ok())?;
        Some((task, row.get(1)?.as_str()?.to_owned()))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

fn newest_run(store: &mut Store, task: u32, table: &str) -> Result<Option<String>> {
    Ok(store.last_run(task, table)?.map(|run| run.id.to_string()))
}

fn runs_with_bad_rows(db: &mut Db) -> Result<BTreeSet<String>> {
    let bad = Filter::new().any_of("row_state", RowState::open().iter().map(word).collect());
    let rows = db.select(Select::new("T_ERROR_ROW", &["run_id"]).filter(bad))?;
    rows.iter().map(|row| row.text("run_id")).collect()
}

/// Beginning (as text) and run of the next old rows of a sub-task; runs that are open do not count.
fn old_rows(
    db: &mut Db,
    table: &'static str,
    task: u32,
    name: &str,
    before: Timestamp,
    after: Option<String>,
) -> Result<Vec<(String, String)>> {
    let mut old = of_table(task, name).below("end_at", before);
    if table == "T_RUN" {
        let ended = [RunState::Done, RunState::Failed, RunState::Interrupted, RunState::Abandoned];
        old = old.any_of("run_state", ended.map(|s| word(&s)).to_vec());
    }
    if let Some(after) = after {
        old = old.above("begin_at", after);
    }
    let select = Select::new(table, &["begin_at", "run_id"]).filter(old);
    let rows = db.select(select.order(&["begin_at", "run_id"]).limit(PIECE))?;
    rows.iter().map(|row| Ok((row.text("begin_at")?, row.text("run_id")?))).collect()
}

/// Runs with their batches, and with their bad rows, which have all been put right.
fn remove_runs(db: &mut Db, runs: Vec<Value>) -> Result<u64> {
    if runs.is_empty() {
        return Ok(0);
    }
    for table in ["T_BATCH", "T_ERROR_ROW", "T_ATTEMPT"] {
        db.delete(table, Filter::new().any_of("run_id", runs.clone()))?;
    }
    db.delete("T_RUN", Filter::new().any_of("run_id", runs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::ToSpan;

    use super::*;
    use crate::config::TableMode;
    use crate::error::Kind;
    use crate::store::{
        BatchRecord, BatchState, Entry, ErrorFilter, ErrorRow, Home, NewRun, RunCounts, RunEnd,
        RunFilter, Settled, StoreLocation, UseTimes,
    };

    struct Fixture {
        store: Store,
        now: Timestamp,
        _dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
            let store = Store::open(&StoreLocation::embedded(home)).unwrap();
            Fixture { store, now: "2026-12-01T00:00:00Z".parse().unwrap(), _dir: dir }
        }

        /// A run that began so many days ago, with a batch.
        fn run(&mut self, table: &str, days_ago: i64, state: RunState) -> RunId {
            let begin = self.now - (24 * days_ago).hours();
            let (id, end) = (RunId::random().unwrap(), begin + 1.minute());
            let plan_hash = String::new();
            let table = table.to_owned();
            let new = NewRun {
                id,
                task: 7,
                table: table.clone(),
                mode: TableMode::Status,
                plan_hash,
                begin,
                ended_before: None,
                attempt: None,
                record_use_times: true,
            };
            let batch = BatchRecord {
                run: id,
                number: 0,
                part: None,
                rows: 1,
                low: vec![Value::Int(1)],
                high: vec![Value::Int(1)],
                state: BatchState::Settled,
                sent: None,
                landed: None,
                settled: None,
                writer: None,
                tenure: None,
            };
            let last = Settled {
                dest_url: String::new(),
                fence: String::new(),
                epoch: 1,
                run: id,
                pos: String::new(),
                at: None,
            };
            let (counts, batches) = (RunCounts::default(), vec![batch]);
            let entries = [
                Entry::Begin(new),
                Entry::Settled { batches, task: 7, table: table.clone(), last, adopt: None },
                Entry::End {
                    run: id,
                    end: RunEnd { state, counts, message: None, error: None, end },
                    use_times: Some(UseTimes {
                        task: 7,
                        table,
                        run: id,
                        begin,
                        end,
                        bytes: 1,
                        result: state,
                    }),
                    attempt: None,
                    notice: None,
                },
            ];
            let entries: Vec<_> = (1..).zip(entries).collect();
            self.store.write_down(RunId::random().unwrap(), &entries, false).unwrap();
            id
        }

        fn bad_row(&mut self, run: RunId, state: RowState) {
            let row = ErrorRow {
                run,
                number: 0,
                task: 7,
                table: "a".into(),
                key_columns: vec!["id".into()],
                key: vec![Value::Int(1)],
                column: None,
                kind: Kind::Data,
                text: "too long".into(),
                at: self.now - (24 * 100).hours(),
                state,
                verdict: None,
            };
            self.store.record_errors(&[row]).unwrap();
        }

        fn runs(&mut self) -> BTreeSet<RunId> {
            let all = self.store.runs(&RunFilter::default()).unwrap();
            all.into_iter().map(|r| r.id).collect()
        }

        fn prune(&mut self, keep: &[RunId]) -> Pruned {
            let before = self.now - (24 * 90).hours();
            self.store.prune(before, &keep.iter().copied().collect()).unwrap()
        }
    }

    #[test]
    fn what_is_old_goes_and_what_is_needed_stays() {
        let mut f = Fixture::new();
        let old = f.run("a", 100, RunState::Done);
        let resolved = f.run("a", 101, RunState::Failed);
        f.bad_row(resolved, RowState::Resolved);
        let bad = f.run("a", 102, RunState::Failed);
        f.bad_row(bad, RowState::Bad);
        let retried = f.run("a", 103, RunState::Failed);
        f.bad_row(retried, RowState::Retried);
        let open = f.run("a", 104, RunState::Open);
        let remembered = f.run("a", 105, RunState::Done);
        let young = f.run("a", 10, RunState::Done);
        let last_of_b = f.run("b", 200, RunState::Done);
        let pruned = f.prune(&[remembered]);
        assert_eq!(pruned, Pruned { runs: 2, use_times: 7, errors: 0 });
        let kept: BTreeSet<_> = [bad, retried, open, remembered, young, last_of_b].into();
        assert_eq!(f.runs(), kept);
        assert!(kept.iter().all(|run| f.store.batches(*run).unwrap().len() == 1));
        for gone in [old, resolved] {
            assert_eq!(f.store.batches(gone).unwrap(), []);
            let of = ErrorFilter { run: Some(gone), ..ErrorFilter::default() };
            assert_eq!(f.store.errors(&of).unwrap(), []);
        }
        assert_eq!(f.prune(&[remembered]), Pruned::default());
        // Once nobody remembers it, and a later run has ended.
        f.run("b", 1, RunState::Done);
        assert_eq!(f.prune(&[]).runs, 2);
    }

    #[test]
    fn many_are_removed_in_pieces() {
        let mut f = Fixture::new();
        for n in 0..(PIECE as i64 + 20) {
            f.run("a", 100 + n, RunState::Done);
        }
        let pruned = f.prune(&[]);
        assert_eq!((pruned.runs, pruned.use_times), (PIECE + 19, PIECE + 20));
        assert_eq!(f.runs().len(), 1);
    }
}
