//! `ssync errors`: rows that could not be transferred.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use ssync_common::config::TaskNames;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::RunId;
use ssync_common::store::{Author, ErrorFilter, ErrorRow, RowState, RunState, Store, Verdict};

use crate::books::bad_rows::judgement;
use crate::cli::ErrorsArgs;
use crate::output::Output;
use crate::terminal::counted;

/// Lists bad rows.
pub fn errors(store: &mut Store, args: &ErrorsArgs, out: &mut Output) -> Result<bool> {
    let task = args.scope.recorded(store)?;
    let states = if args.all { vec![] } else { RowState::open() };
    let filter = ErrorFilter {
        task,
        tables: args.scope.tables.tables.clone(),
        states,
        ..ErrorFilter::default()
    };
    if let Some(reason) = &args.close {
        return close(store, &filter, reason, out);
    }
    let filter = ErrorFilter { limit: Some(args.limit.saturating_add(1)), ..filter };
    let mut found = store.errors(&filter)?;
    let more = found.len() as u64 > args.limit;
    found.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let names = store.task_names()?;
    if out.is_json() {
        let errors: Vec<_> = found.iter().map(|row| error_object(row, &names)).collect();
        out.object(json!({ "errors": errors, "more": more }));
        return Ok(true);
    }
    let mut begins = BTreeMap::new();
    for run in found.iter().filter_map(|row| row.verdict.as_ref()?.run) {
        if let Entry::Vacant(unknown) = begins.entry(run) {
            unknown.insert(store.run(run)?.map(|run| run.begin));
        }
    }
    let row = |e: &ErrorRow| {
        [
            names.label(e.task),
            e.table.clone(),
            e.key_text(),
            e.column.clone().unwrap_or_default(),
            row_state(e.state).to_owned(),
            format!("{:.0}", e.at),
            e.text.clone(),
            outcome(e, &begins),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    out.table(["TASK", "TABLE", "ROW", "COLUMN", "STATE", "SINCE", "ERROR", "OUTCOME"], &rows);
    if more {
        out.line(format!("and more: these are the first {}; see --limit", args.limit));
    }
    Ok(true)
}

/// Takes rows off the list: no run is going to deal with them.
fn close(store: &mut Store, open: &ErrorFilter, reason: &str, out: &mut Output) -> Result<bool> {
    if open.task.is_none() {
        return Err(Error::new(Kind::Usage, "--close needs a task")
            .hint("ssync errors TASK --close REASON; --tables a,b closes rows of these only."));
    }
    if reason.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "--close needs a reason"));
    }
    let how = format!("closed by {}: {}", Author::of_this_process(None).name, reason.trim());
    let rows = store.errors(open)?;
    let runs: BTreeSet<_> = rows.iter().map(|row| row.run).collect();
    for run in runs {
        let Some(run) = store.run(run)?.filter(|run| run.state == RunState::Open) else { continue };
        return Err(Error::new(
            Kind::Contention,
            format!(
                "a run of task {}, table {} that met some of them has not come to its end",
                run.task, run.table
            ),
        )
        .hint("Nothing was closed. Close them once it has: its books count them until then."));
    }
    let judged: Vec<_> =
        rows.iter().map(|row| judgement(row, RowState::Resolved, None, how.as_str())).collect();
    store.judge(&judged)?;
    if out.is_json() {
        out.object(json!({ "closed": rows.len() }));
    } else {
        out.line(format!("{} closed", counted(rows.len() as u64, "row")));
    }
    Ok(true)
}

/// How the state of a row is known.
fn outcome(row: &ErrorRow, begins: &BTreeMap<RunId, Option<Timestamp>>) -> String {
    let Some(Verdict { run, at, how }) = &row.verdict else { return String::new() };
    match run.and_then(|run| begins.get(&run).copied().flatten()) {
        Some(begin) => format!("{at:.0}: {how} (run of {begin:.0})"),
        None => format!("{at:.0}: {how}"),
    }
}

fn row_state(state: RowState) -> &'static str {
    match state {
        RowState::Bad => "bad",
        RowState::Retried => "retried",
        RowState::Landed => "landed",
        RowState::Withdrawn => "withdrawn",
        RowState::Repeated => "bad again",
        RowState::Resolved => "resolved",
    }
}

fn error_object(row: &ErrorRow, names: &TaskNames) -> Value {
    json!({
        "run": row.run,
        "number": row.number,
        "task": row.task,
        "name": names.get(row.task),
        "table": row.table,
        "row": row.key_text(),
        "key_columns": row.key_columns,
        "key": row.key,
        "column": row.column,
        "kind": row.kind,
        "error": row.text,
        "at": row.at,
        "state": row.state,
        "verdict": row.verdict,
    })
}
