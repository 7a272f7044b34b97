//! What people and programs are told about a run.

use serde::Serialize;
use ssync_common::config::TableTask;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::RunTotals;
use ssync_common::ledger::Id;
use ssync_common::value::hex_bytes;

use crate::counts::{Bottleneck, Counts};
use crate::params::HeldTable;

/// How a table's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableResult {
    /// Everything landed that was to land.
    Done,
    /// It came to its end, but some rows are bad (within the limit), wait for a parent, or are
    /// held locked by others at the source.
    DoneWithErrors,
    /// It came to its end, and nothing was wrong in this attempt. Whether rows were bad in an earlier
    /// attempt of the run is not known: the configuration database is out of reach.
    DoneUnconfirmed,
    /// It failed.
    Failed,
    /// Somebody else runs it.
    Locked,
    /// The operator ended it.
    Interrupted,
    /// The operator paused it, before it began or under way; it goes on once it is resumed.
    Paused,
    /// A table before it failed.
    NotStarted,
}

impl TableResult {
    /// Of an attempt with these books, and so many bad rows in all.
    pub(crate) fn of(counts: &Counts, bad: u64, error: Option<&Error>) -> TableResult {
        match error {
            None if bad + counts.waiting + counts.locked_rows() > 0 => TableResult::DoneWithErrors,
            None => TableResult::Done,
            Some(e) if e.kind == Kind::Interrupted => TableResult::Interrupted,
            Some(e) if e.kind == Kind::Paused => TableResult::Paused,
            Some(e) if e.kind == Kind::Locked => TableResult::Locked,
            Some(_) => TableResult::Failed,
        }
    }
}

/// The run of a table, as far as its process knows it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunSoFar {
    /// Its id, once it has one.
    pub run: Option<Id>,
    /// Whether an attempt before this one had begun it.
    pub is_resumed: bool,
    /// What all attempts of it came to, where it was resumed and that is known.
    pub totals: Option<RunTotals>,
}

/// One table.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// The sub-task's name.
    pub table: String,
    /// Source table.
    pub source: String,
    /// Destination table.
    pub dest: String,
    /// How it ended.
    pub result: TableResult,
    /// Id of the run, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The books of this process.
    pub counts: Counts,
    /// The run in all of its attempts, where this process has resumed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_totals: Option<RunTotals>,
    /// Seconds.
    pub seconds: f64,
    /// What kept it from going faster, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<Bottleneck>,
    /// Things worth knowing.
    pub notes: Vec<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskReport {
    /// Its number.
    pub task: u32,
    /// Its tables, in order.
    pub tables: Vec<TableReport>,
    /// Seconds.
    pub seconds: f64,
}

impl TableReport {
    pub(crate) fn new(
        table: &TableTask,
        so_far: RunSoFar,
        counts: Counts,
        mut notes: Vec<String>,
        result: Result<()>,
        seconds: f64,
    ) -> Self {
        notes.extend(counts.for_the_next_run());
        let error = result.err();
        let RunSoFar { run, is_resumed, totals: run_totals } = so_far;
        let bad = bad_of(&counts, run_totals.as_ref());
        let is_known = !is_resumed || run_totals.is_some();
        let result = match TableResult::of(&counts, bad, error.as_ref()) {
            TableResult::Done if !is_known => TableResult::DoneUnconfirmed,
            result => result,
        };
        TableReport {
            table: table.name.clone(),
            source: table.source.clone(),
            dest: table.dest.clone(),
            result,
            run: run.map(|run| hex_bytes::encode(&run)),
            counts,
            run_totals,
            seconds,
            bottleneck: counts.bottleneck().map(|(what, _)| what),
            notes,
            error,
        }
    }

    pub(crate) fn held(held: &HeldTable) -> Self {
        let (counts, hold) = (Counts::default(), Err(held.hold.clone()));
        TableReport::new(&held.table, RunSoFar::default(), counts, Vec::new(), hold, 0.0)
    }

    pub(crate) fn not_started(table: &TableTask, culprit: &str) -> Self {
        let note = format!("not started because of table {culprit}");
        let (so_far, counts) = (RunSoFar::default(), Counts::default());
        let mut report = TableReport::new(table, so_far, counts, vec![note], Ok(()), 0.0);
        report.result = TableResult::NotStarted;
        report
    }
}

/// Bad rows of a run: what an earlier attempt has met is bad all the same.
fn bad_of(counts: &Counts, run: Option<&RunTotals>) -> u64 {
    counts.failed.max(run.map_or(0, |run| run.failed))
}

impl TableReport {
    /// Bad rows of the run, in all of its attempts.
    pub fn bad_rows(&self) -> u64 {
        bad_of(&self.counts, self.run_totals.as_ref())
    }

    /// Rows that the run has landed, in all of its attempts.
    pub fn landed_rows(&self) -> u64 {
        self.counts.landed.max(self.run_totals.map_or(0, |run| run.landed))
    }

    /// Whether it is done, and there was nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.result == TableResult::Done && self.counts.is_nothing()
    }

    /// Whether anything was done to its rows, or by its SQL.
    fn has_run(&self) -> bool {
        let Counts { landed, settled, recovered, reopened, .. } = self.counts;
        matches!(
            self.result,
            TableResult::Done | TableResult::DoneWithErrors | TableResult::DoneUnconfirmed
        ) || landed + settled + recovered + reopened > 0
    }
}

impl TaskReport {
    /// Whether it came to its end, and some rows could not be sent, or nobody can say that all were.
    /// What is held may be left out.
    pub fn is_done_with_errors(&self) -> bool {
        let is_over = |table: &TableReport| match table.result {
            TableResult::Done | TableResult::DoneWithErrors | TableResult::DoneUnconfirmed => true,
            TableResult::Paused => !table.has_run(),
            TableResult::Failed
            | TableResult::Locked
            | TableResult::Interrupted
            | TableResult::NotStarted => false,
        };
        let has_errors = |table: &TableReport| {
            matches!(table.result, TableResult::DoneWithErrors | TableResult::DoneUnconfirmed)
        };
        self.tables.iter().all(is_over) && self.tables.iter().any(has_errors)
    }

    /// The exit code: 0 all landed, 1 something failed or some rows were not sent, 2 refused by
    /// configuration and nothing was moved, 130 interrupted, or a table is held and all else landed.
    pub fn exit_code(&self) -> u8 {
        let mut code = 0;
        for table in &self.tables {
            let this = match table.result {
                TableResult::Done => 0,
                TableResult::Interrupted => return 130,
                // The failure that kept it from starting is what counts.
                TableResult::NotStarted if code != 0 => continue,
                // Nothing is wrong, but not everything landed.
                TableResult::Paused if code == 0 => 130,
                TableResult::Paused => continue,
                _ => table.error.as_ref().map_or(1, |e| e.kind.exit_code()),
            };
            // A failure outweighs a refusal: it is what an operator must look at first.
            if code == 0 || code == 130 && this != 0 || this == 1 {
                code = this;
            }
        }
        // A refusal promises that nothing was moved.
        if code == 2 && self.tables.iter().any(TableReport::has_run) { 1 } else { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TableResult::{Done, Failed, NotStarted, Paused};

    fn table(result: TableResult, kind: Option<Kind>, counts: Counts) -> TableReport {
        TableReport {
            table: "t".into(),
            source: "s".into(),
            dest: "d".into(),
            result,
            run: None,
            counts,
            run_totals: None,
            seconds: 0.0,
            bottleneck: None,
            notes: Vec::new(),
            error: kind.map(|kind| Error::new(kind, "no")),
        }
    }

    fn code(tables: &[(TableResult, Option<Kind>)]) -> u8 {
        let tables = tables.iter().map(|(r, k)| table(*r, *k, Counts::default())).collect();
        TaskReport { task: 1, tables, seconds: 0.0 }.exit_code()
    }

    #[test]
    fn a_refusal_is_one_only_where_nothing_was_moved() {
        let refused = (Failed, Some(Kind::Refused));
        assert_eq!(code(&[refused]), 2);
        assert_eq!(code(&[refused, (NotStarted, None)]), 2);
        assert_eq!(code(&[refused, (Failed, Some(Kind::Config))]), 2);
        assert_eq!(code(&[refused, (Done, None)]), 1);
        assert_eq!(code(&[(Done, None), refused]), 1);
        assert_eq!(code(&[refused, (Failed, Some(Kind::Data))]), 1);
        assert_eq!(code(&[(Paused, Some(Kind::Paused)), refused]), 2);
        assert_eq!(code(&[(Done, None), (Paused, Some(Kind::Paused))]), 130);
        // Refused only after rows had landed.
        let landed = Counts { landed: 3, ..Counts::default() };
        let tables = vec![table(Failed, Some(Kind::Refused), landed)];
        assert_eq!(TaskReport { task: 1, tables, seconds: 0.0 }.exit_code(), 1);
    }
}
