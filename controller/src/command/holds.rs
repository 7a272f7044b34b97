//! `ssync pause` and `ssync resume`.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use ssync_common::config::Task;
use ssync_common::error::Result;
use ssync_common::failpoint;
use ssync_common::shm::TaskTable;
use ssync_common::store::{Hold, Store};

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
        let (which, mut tables) = args.named()?;
        tables.sort_unstable();
        tables.dedup();
        let task = transfer::choose(&store.load()?, &which, &tables)?;
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

/// What a pause has made, or found: whether it held the part, and what holds it.
type Paused = (bool, Option<Hold>);

/// Holds parts of a task for an operator, `None` the whole of it, and tells its process. The daemon is
/// told by the caller.
pub fn hold(
    store: &mut Store,
    task: u32,
    parts: &[Option<&str>],
    reason: Option<&str>,
) -> Result<Vec<Paused>> {
    let paused = store.pause_all(task, parts, reason)?;
    poke(store, task)?;
    Ok(paused)
}

/// Tells the task's process that there is something new to look at. On another host it looks by
/// itself.
fn poke(store: &Store, task: u32) -> Result<()> {
    if let Some(table) = TaskTable::open(store.home().path())? {
        table.poke(task)?;
    }
    Ok(())
}

/// Holds a task or tables of it, and waits until nothing of it is being transferred any more. False
/// where that takes too long, or somebody resumes it meanwhile.
pub fn pause(store: &mut Store, args: &PauseArgs, out: &mut Output) -> Result<bool> {
    let what = Target::of(&args.what, store)?;
    let parts = what.parts();
    let made = hold(store, what.task.id, &parts, args.reason.as_deref())?;
    failpoint::hit("pause.held", 1);
    have_daemon_see(store);
    let (under_way, resumed) = await_effect(store, &what, &made, Duration::from_secs(args.wait))?;
    let is_resumed = |table: &Option<&str>| resumed.iter().any(|r| r.as_deref() == *table);
    let has_effect = under_way.is_empty() && resumed.is_empty();
    if out.is_json() {
        let changed: Vec<_> = made.iter().map(|(changed, _)| *changed).collect();
        let mut object = what.object(resumed.is_empty(), &changed);
        object["under_way"] = json!(under_way);
        object["resumed"] = json!(resumed);
        out.object(object);
        return Ok(has_effect);
    }
    for (table, (changed, held)) in parts.into_iter().zip(made) {
        let name = what.words(table);
        let since = held.map_or_else(String::new, |held| format!(": {}", held.describe()));
        out.line(match (is_resumed(&table), changed) {
            (true, _) => format!("{name} was paused, and has been resumed meanwhile"),
            (false, true) => format!("{name} is paused"),
            (false, false) => format!("{name} was held already{since}"),
        });
    }
    for Transfer { table, owner } in &under_way {
        out.line(format!(
            "table {table} has not come to a halt yet: {owner} has batches to finish"
        ));
    }
    Ok(has_effect)
}

/// A table that is being transferred, and by whom.
#[derive(Serialize)]
struct Transfer {
    table: String,
    owner: String,
}

/// Tells the task's process to look, and waits for it; what is still under way after `patience`, and
/// the parts that somebody has resumed by then.
fn await_effect(
    store: &mut Store,
    what: &Target,
    made: &[Paused],
    patience: Duration,
) -> Result<(Vec<Transfer>, Vec<Option<String>>)> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        // Each time: a task process may have begun since.
        poke(store, what.task.id)?;
        let under_way = transfers(store, what)?;
        // After the transfers: what is found held now was held while they ended.
        let holds = store.holds(Some(what.task.id))?;
        let is_there = |held: &&Hold| holds.iter().any(|hold| hold.is_same(held));
        let held = made.iter().filter_map(|(_, held)| held.as_ref());
        let resumed: Vec<_> =
            held.filter(|held| !is_there(held)).map(|held| held.table.clone()).collect();
        if under_way.is_empty() || !resumed.is_empty() || began.elapsed() >= patience {
            return Ok((under_way, resumed));
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

/// Returns once the daemon of this host goes by what is held now: whoever asks it to run a task next
/// gets the right answer.
fn have_daemon_see(store: &Store) {
    if let Err(e) = daemon::command::reload_if_it_is_ours(store.home(), store.instance_id()) {
        note(&format!("the daemon will see it later: {}", e.message));
    }
}

/// Lets a task or tables of it run again, and says so once the daemon of this host goes by it.
pub fn resume(store: &mut Store, args: &HoldArgs, out: &mut Output) -> Result<bool> {
    let what = Target::of(args, store)?;
    let (parts, task) = (what.parts(), what.task.id);
    let (were, still) = store.resume_all(task, &parts)?;
    failpoint::hit("resume.released", 1);
    have_daemon_see(store);
    // What this command has made may have been undone by now.
    let holds = store.holds(Some(task))?;
    let is_held = |table: Option<&str>| holds.iter().any(|hold| hold.table.as_deref() == table);
    let is_paused_again = parts.iter().any(|table| is_held(*table));
    if out.is_json() {
        let changed: Vec<_> = were.iter().map(Option::is_some).collect();
        out.object(what.object(is_paused_again, &changed));
        return Ok(!is_paused_again);
    }
    for (table, held) in parts.iter().zip(were) {
        let name = what.words(*table);
        out.line(match (held.is_some(), is_held(*table)) {
            (true, false) => format!("{name} may run again"),
            (true, true) => format!("{name} was resumed, and has been held again meanwhile"),
            (false, false) => format!("{name} was not held"),
            (false, true) => format!("{name} was not held, and has been held meanwhile"),
        });
    }
    for hold in still {
        match hold.table {
            None => out.line(format!("the whole task is held: ssync resume {task}")),
            Some(table) if what.tables.is_empty() => {
                out.line(format!("table {table} is still held: ssync resume {task} {table}"));
            }
            Some(_) => {}
        }
    }
    Ok(!is_paused_again)
}
