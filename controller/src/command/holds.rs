//! `ssync pause` and `ssync resume`.

use serde_json::json;
use ssync_common::error::Result;
use ssync_common::store::{HoldKind, Store};

use crate::cli::{HoldArgs, PauseArgs};
use crate::output::Output;

fn name(what: &HoldArgs) -> String {
    match &what.table {
        Some(table) => format!("table {table} of task {}", what.task),
        None => format!("task {}", what.task),
    }
}

/// Holds a task or a table.
pub fn pause(store: &mut Store, args: &PauseArgs, out: &mut Output) -> Result<bool> {
    let what = &args.what;
    let reason = args.reason.as_deref();
    let changed = store.hold(what.task, what.table.as_deref(), HoldKind::Paused, reason)?;
    if out.is_json() {
        out.object(json!({
            "task": what.task, "table": what.table, "held": true, "changed": changed,
        }));
    } else if changed {
        out.line(format!("{} is paused", name(what)));
    } else {
        out.line(format!("{} was held already", name(what)));
    }
    Ok(true)
}

/// Lets a task or a table run again.
pub fn resume(store: &mut Store, what: &HoldArgs, out: &mut Output) -> Result<bool> {
    let held = store.resume(what.task, what.table.as_deref())?;
    if out.is_json() {
        out.object(json!({
            "task": what.task, "table": what.table, "held": false, "changed": held.is_some(),
        }));
        return Ok(true);
    }
    out.line(match held {
        Some(_) => format!("{} may run again", name(what)),
        None => format!("{} was not held", name(what)),
    });
    if what.table.is_none() {
        for hold in store.holds(Some(what.task))? {
            let table = hold.table.unwrap_or_default();
            out.line(format!("table {table} is still held: ssync resume {} {table}", what.task));
        }
    }
    Ok(true)
}
