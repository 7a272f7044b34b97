//! `ssync pause` and `ssync resume`.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use ssync_common::config::Task;
use ssync_common::error::Result;
use ssync_common::shm::TaskTable;
use ssync_common::store::{Hold, HoldKind, Store};

use crate::cli::{HoldArgs, PauseArgs};
use crate::daemon;
use crate::output::Output;
use crate::render::note;
use crate::transfer;

/// How often a pause looks whether it has taken effect.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Whoever waits longer is told what for.
const SILENT_MAX: Duration = Duration::from_secs(1);

/// A task, or tables of it, that are paused or resumed.
struct Target {
    task: Task,
    /// None: the whole task.
    tables: Vec<String>,
}

impl Target {
    /// What a command names.
    ///
    /// # Errors
    /// When there is no such task or table; nothing is changed then.
    fn of(args: &HoldArgs, store: &mut Store) -> Result<Target> {
        let named = args.table.iter().chain(&args.tables.tables).cloned();
        let mut tables: Vec<_> = named.collect();
        tables.sort_unstable();
        tables.dedup();
        let task = transfer::choose(&store.load()?, args.task.which()?, &tables)?;
        if !tables.is_empty() {
            // In the configured order.
            tables = task.tables.iter().map(|table| table.name.clone()).collect();
        }
        Ok(Target { task, tables })
    }

    /// What the holds of it are about.
    fn parts(&self) -> Vec<Option<&str>> {
        match self.tables.as_slice() {
            [] => vec![None],
            tables => tables.iter().map(|table| Some(table.as_str())).collect(),
        }
    }

    fn words(&self, table: Option<&str>) -> String {
        match table {
            Some(table) => format!("table {table} of task {}", self.task.label()),
            None => format!("task {}", self.task.label()),
        }
    }

    /// The fields that are the same for both commands. `table`: what it has always been, one table or
    /// the whole task.
    fn object(&self, held: bool, changed: &[bool]) -> Value {
        let table = match self.tables.as_slice() {
            [one] => Some(one),
            _ => None,
        };
        let tables = self.tables.iter().zip(changed);
        let tables: Vec<_> = tables.map(|(t, c)| json!({ "table": t, "changed": c })).collect();
        json!({
            "task": self.task.id, "name": self.task.name, "table": table, "tables": tables,
            "held": held, "changed": changed.contains(&true),
        })
    }
}

/// Holds a task or a table for an operator, and tells its process; false when it was held already.
pub fn hold(
    store: &mut Store,
    task: u32,
    table: Option<&str>,
    reason: Option<&str>,
) -> Result<bool> {
    let changed = store.hold(task, table, HoldKind::Paused, reason)?;
    poke(store, task)?;
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

/// Holds a task or tables of it, and waits until nothing of it is being transferred any more.
pub fn pause(store: &mut Store, args: &PauseArgs, out: &mut Output) -> Result<bool> {
    let what = Target::of(&args.what, store)?;
    let parts = what.parts();
    let mut changed = Vec::new();
    for table in &parts {
        changed.push(hold(store, what.task.id, *table, args.reason.as_deref())?);
    }
    let under_way = await_effect(store, &what, Duration::from_secs(args.wait))?;
    if out.is_json() {
        let mut object = what.object(true, &changed);
        object["under_way"] = json!(under_way);
        out.object(object);
        return Ok(under_way.is_empty());
    }
    for (table, changed) in parts.into_iter().zip(changed) {
        let name = what.words(table);
        out.line(match changed {
            true => format!("{name} is paused"),
            false => format!("{name} was held already"),
        });
    }
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
fn await_effect(store: &mut Store, what: &Target, patience: Duration) -> Result<Vec<Transfer>> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        // Each time: a task process may have begun since.
        poke(store, what.task.id)?;
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

fn transfers(store: &mut Store, what: &Target) -> Result<Vec<Transfer>> {
    let (config, task) = (store.load()?, what.task.id);
    let tables = config.tasks.into_iter().filter(|t| t.id == task).flat_map(|t| t.tables);
    let mut under_way = Vec::new();
    for table in tables.filter(|t| what.tables.is_empty() || what.tables.contains(&t.name)) {
        if let Some(holder) = store.lock_holder(task, &table.name)?
            && !holder.process.is_known_dead()?
        {
            under_way.push(Transfer { table: table.name, owner: holder.owner_text() });
        }
    }
    Ok(under_way)
}

/// Lets a task run again, and tells the daemon; what held it.
pub fn release(store: &mut Store, task: u32) -> Result<Option<Hold>> {
    let held = store.resume(task, None)?;
    daemon::command::poke(store.home());
    Ok(held)
}

/// Lets a task or tables of it run again, and says so once the daemon of this host goes by it.
pub fn resume(store: &mut Store, args: &HoldArgs, out: &mut Output) -> Result<bool> {
    let what = Target::of(args, store)?;
    let parts = what.parts();
    let mut changed = Vec::new();
    for table in &parts {
        changed.push(store.resume(what.task.id, *table)?.is_some());
    }
    if let Err(e) = daemon::command::reload_if_it_is_ours(store.home(), store.instance_id()) {
        note(&format!("the daemon will see it later: {}", e.message));
    }
    if out.is_json() {
        out.object(what.object(false, &changed));
        return Ok(true);
    }
    for (table, changed) in parts.into_iter().zip(changed) {
        let name = what.words(table);
        out.line(match changed {
            true => format!("{name} may run again"),
            false => format!("{name} was not held"),
        });
    }
    let task = what.task.id;
    for hold in store.holds(Some(task))? {
        match hold.table {
            // Perhaps by somebody else, meanwhile.
            None => out.line(format!("the whole task is held: ssync resume {task}")),
            Some(table) if what.tables.is_empty() => {
                out.line(format!("table {table} is still held: ssync resume {task} {table}"));
            }
            Some(_) => {}
        }
    }
    Ok(true)
}
