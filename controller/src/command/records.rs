//! `ssync history` and `ssync errors`: what the store has recorded.

use serde_json::{Value, json};
use ssync_common::error::Result;
use ssync_common::store::{ErrorFilter, ErrorRow, RowState, RunFilter, RunRecord, RunState, Store};

use crate::cli::{ErrorsArgs, HistoryArgs};
use crate::output::Output;

/// Lists runs.
pub fn history(store: &mut Store, args: &HistoryArgs, out: &mut Output) -> Result<bool> {
    let filter =
        RunFilter { task: args.of.task, table: args.table.clone(), limit: Some(args.limit) };
    let runs = store.runs(&filter)?;
    if out.is_json() {
        out.object(json!({ "runs": runs }));
        return Ok(true);
    }
    let row = |run: &RunRecord| {
        [
            format!("{:.0}", run.begin),
            run.task.to_string(),
            run.table.clone(),
            state(run.state).to_owned(),
            run.counts.landed.to_string(),
            run.counts.failed.to_string(),
            run.end.map(|end| seconds(run, end)).unwrap_or_default(),
            run.message.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    let heading = ["BEGIN", "TASK", "TABLE", "STATE", "LANDED", "FAILED", "SECONDS", "OUTCOME"];
    out.table(heading, &rows);
    Ok(true)
}

fn seconds(run: &RunRecord, end: jiff::Timestamp) -> String {
    format!("{:.1}", end.duration_since(run.begin).as_secs_f64())
}

/// A run's state, for people.
pub fn state(state: RunState) -> &'static str {
    match state {
        RunState::Open => "open",
        RunState::Done => "done",
        RunState::Failed => "failed",
        RunState::Interrupted => "interrupted",
        RunState::Abandoned => "abandoned",
    }
}

/// Lists bad rows.
pub fn errors(store: &mut Store, args: &ErrorsArgs, out: &mut Output) -> Result<bool> {
    let states = if args.all { vec![] } else { vec![RowState::Bad, RowState::Retried] };
    let filter = ErrorFilter {
        task: args.of.task,
        table: args.table.clone(),
        run: None,
        states,
        limit: Some(args.limit.saturating_add(1)),
    };
    let mut found = store.errors(&filter)?;
    let more = found.len() as u64 > args.limit;
    found.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    if out.is_json() {
        let errors: Vec<_> = found.iter().map(error_object).collect();
        out.object(json!({ "errors": errors, "more": more }));
        return Ok(true);
    }
    let row = |e: &ErrorRow| {
        [
            e.task.to_string(),
            e.table.clone(),
            e.key_text(),
            e.column.clone().unwrap_or_default(),
            row_state(e.state).to_owned(),
            format!("{:.0}", e.at),
            e.text.clone(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    out.table(["TASK", "TABLE", "ROW", "COLUMN", "STATE", "SINCE", "ERROR"], &rows);
    if more {
        out.line(format!("and more: these are the first {}; see --limit", args.limit));
    }
    Ok(true)
}

fn row_state(state: RowState) -> &'static str {
    match state {
        RowState::Bad => "bad",
        RowState::Retried => "retried",
        RowState::Resolved => "resolved",
    }
}

fn error_object(row: &ErrorRow) -> Value {
    json!({
        "run": row.run,
        "number": row.number,
        "task": row.task,
        "table": row.table,
        "row": row.key_text(),
        "key_columns": row.key_columns,
        "key": row.key,
        "column": row.column,
        "kind": row.kind,
        "error": row.text,
        "at": row.at,
        "state": row.state,
    })
}
