//! `ssync pause` and `ssync resume`.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use ssync_common::error::Result;
use ssync_common::shm::TaskTable;
use ssync_common::store::{Hold, HoldKind, Store};

use crate::cli::{HoldArgs, PauseArgs};
use crate::daemon;
use crate::output::Output;
use crate::render::note;

/// How often a pause looks whether it has taken effect.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Whoever waits longer is told what for.
const SILENT_MAX: Duration = Duration::from_secs(1);

fn name(what: &HoldArgs) -> String {
    match &what.table {
        Some(table) => format!("table {table} of task {}", what.task),
        None => format!("task {}", what.task),
    }
}

/// Holds a task or a table for an operator, and tells its process; false when it was held already.
pub fn hold(store: &mut Store, what: &HoldArgs, reason: Option<&str>) -> Result<bool> {
    let changed = store.hold(what.task, what.table.as_deref(), HoldKind::Paused, reason)?;
    poke(store, what.task)?;
    daemon::command::poke(store.home());
    Ok(changed)
}

/// Tells the task's process that there is something new to look at. On another host it looks by
/// itself.
fn poke(store: &Store, task: u32) -> Result<()> {
    if let Some(table) = TaskTable::open(store.home().path())? {
        table.poke(task)?;
    }
    Ok(())
}

/// Holds a task or a table, and waits until nothing of it is being transferred any more.
pub fn pause(store: &mut Store, args: &PauseArgs, out: &mut Output) -> Result<bool> {
    let what = &args.what;
    let changed = hold(store, what, args.reason.as_deref())?;
    let under_way = await_effect(store, what, Duration::from_secs(args.wait))?;
    if out.is_json() {
        out.object(json!({
            "task": what.task, "table": what.table, "held": true, "changed": changed,
            "under_way": under_way,
        }));
        return Ok(under_way.is_empty());
    }
    out.line(match changed {
        true => format!("{} is paused", name(what)),
        false => format!("{} was held already", name(what)),
    });
    for Transfer { table, owner } in &under_way {
        out.line(format!(
            "table {table} has not come to a halt yet: {owner} has batches to finish"
        ));
    }
    Ok(under_way.is_empty())
}

/// A table that is being transferred, and by whom.
#[derive(Serialize)]
struct Transfer {
    table: String,
    owner: String,
}

/// Tells the task's process to look, and waits for it; what is still under way after `patience`.
fn await_effect(store: &mut Store, what: &HoldArgs, patience: Duration) -> Result<Vec<Transfer>> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        // Each time: a task process may have begun since.
        poke(store, what.task)?;
        let under_way = transfers(store, what)?;
        if under_way.is_empty() || began.elapsed() >= patience {
            return Ok(under_way);
        }
        if !is_told && began.elapsed() >= SILENT_MAX {
            is_told = true;
            for Transfer { table, owner } in &under_way {
                note(&format!(
                    "table {table}: no further batch begins; waiting for {owner}, which settles \
                     what is under way"
                ));
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn transfers(store: &mut Store, what: &HoldArgs) -> Result<Vec<Transfer>> {
    let config = store.load()?;
    let tables = config.tasks.into_iter().filter(|t| t.id == what.task).flat_map(|t| t.tables);
    let mut under_way = Vec::new();
    for table in tables.filter(|t| what.table.as_ref().is_none_or(|name| t.name == *name)) {
        if let Some(holder) = store.lock_holder(what.task, &table.name)?
            && !holder.process.is_known_dead()?
        {
            under_way.push(Transfer { table: table.name, owner: holder.owner_text() });
        }
    }
    Ok(under_way)
}

/// Lets a task or a table run again, and tells the daemon; what held it.
pub fn release(store: &mut Store, what: &HoldArgs) -> Result<Option<Hold>> {
    let held = store.resume(what.task, what.table.as_deref())?;
    daemon::command::poke(store.home());
    Ok(held)
}

/// Lets a task or a table run again, and says so once the daemon of this host goes by it.
pub fn resume(store: &mut Store, what: &HoldArgs, out: &mut Output) -> Result<bool> {
    let held = store.resume(what.task, what.table.as_deref())?;
    if let Err(e) = daemon::command::reload_if_it_is_ours(store.home(), store.instance_id()) {
        note(&format!("the daemon will see it later: {}", e.message));
    }
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
