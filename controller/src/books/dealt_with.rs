//! Bad rows of a table without states that a run has dealt with: it has read them once more.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ssync_common::config::TableMode;
use ssync_common::error::Result;
use ssync_common::process::RunId;
use ssync_common::store::{ErrorFilter, ErrorRow, RowState, RunState, Store};
use ssync_worker::journal::Read;

/// What a run has read.
pub struct Reading {
    /// Its task.
    pub task: u32,
    /// Its sub-task.
    pub table: String,
    /// The run.
    pub run: RunId,
    /// Its rows.
    pub read: Read,
}

impl Reading {
    /// Bad rows of the sub-task that wait for somebody.
    pub fn bad(&self) -> ErrorFilter {
        ErrorFilter {
            task: Some(self.task),
            tables: vec![self.table.clone()],
            states: vec![RowState::Bad],
            ..ErrorFilter::default()
        }
    }
}

/// The records of bad rows, and of which it is known that the run has read their rows.
pub fn rows(store: &mut Store, reading: &Reading) -> Result<Vec<(bool, ErrorRow)>> {
    let rows = store.errors(&reading.bad())?;
    let mut read: BTreeMap<RunId, bool> = [(reading.run, true)].into();
    for row in &rows {
        if let Entry::Vacant(unknown) = read.entry(row.run) {
            unknown.insert(reading.read == Read::All || is_read_again(store, row.run)?);
        }
    }
    let is_read = |row: &ErrorRow| read.get(&row.run) == Some(&true);
    Ok(rows.into_iter().map(|row| (is_read(&row), row)).collect())
}

/// Whether the rows of an earlier run lie above the mark: it has not moved the mark behind them.
fn is_read_again(store: &mut Store, run: RunId) -> Result<bool> {
    let run = store.run(run)?;
    Ok(run.is_some_and(|run| run.mode == TableMode::Increment && run.state != RunState::Done))
}
