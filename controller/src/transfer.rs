//! `ssync --task TASK [--tables a,b]`: the task process in the foreground.

use crate::clock::localized;
use crate::output::errln;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::Receiver;
use ssync_common::config::{
    Config, Schedule, ScheduleKind, TableMode, Task, TaskRef, unknown_table,
};
use ssync_common::connector::{LinkParams, open};
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::RunId;
use ssync_common::process::signals::SignalEvent;
use ssync_common::shm::TaskTable;
use ssync_common::store::{Hold, Store, StoreLocation, key_secret};
use ssync_worker::control;
use ssync_worker::params::{HeldTable, TaskParams};
use ssync_worker::progress::Progress;
use ssync_worker::report::TaskReport;
use ssync_worker::source::STATUS_COLUMN;

use crate::books::TaskBooks;
use crate::terminal::{Totals, shower};

/// The task of that number or name, with only the tables asked for, in their configured order.
pub fn choose(config: &Config, which: &TaskRef, tables: &[String]) -> Result<Task> {
    let mut task = config.task(which)?.clone();
    if tables.is_empty() {
        return Ok(task);
    }
    let wanted: BTreeSet<_> = tables.iter().map(String::as_str).collect();
    if let Some(unknown) = wanted.iter().find(|w| !task.tables.iter().any(|t| t.name == **w)) {
        let names = task.tables.iter().map(|t| t.name.as_str());
        return Err(unknown_table(&task.label(), unknown, names, []));
    }
    task.tables.retain(|t| wanted.contains(t.name.as_str()));
    Ok(task)
}

/// Leaves out what an operator, or a failure, holds: these tables. Fails when nothing is left to run.
pub fn leave_out_held(holds: &[Hold], task: &mut Task) -> Result<Vec<HeldTable>> {
    let mut held = Vec::new();
    for hold in holds {
        let since = hold.describe();
        match &hold.table {
            None => {
                return Err(Error::new(Kind::Paused, format!("task {} is {since}", task.label()))
                    .hint(format!("ssync resume {} lets it run again.", task.id)));
            }
            Some(table) if task.tables.iter().any(|t| t.name == *table) => {
                errln!("{table} is left out: {}", localized(&since));
                let (id, why) = (task.id, control::Hold { whole_task: false, why: since });
                let left_out = task.tables.extract_if(.., |t| t.name == *table);
                held.extend(left_out.map(|t| HeldTable { hold: why.error(id, &t.name), table: t }));
            }
            Some(_) => {}
        }
    }
    if task.tables.is_empty() {
        return Err(all_held(task, &held));
    }
    Ok(held)
}

/// All that was asked for is held.
fn all_held(task: &Task, held: &[HeldTable]) -> Error {
    let names: Vec<_> = held.iter().map(|held| held.table.name.as_str()).collect();
    let what = match names.as_slice() {
        [one] => format!("table {one} of task {} is held", task.label()),
        _ => format!("tables {} of task {} are held", names.join(", "), task.label()),
    };
    let error = Error::new(Kind::Paused, what).hint(format!(
        "ssync resume {} --tables {} lets them run again.",
        task.id,
        names.join(",")
    ));
    held.iter().fold(error, |error, held| error.detail(held.hold.message.clone()))
}

/// Leaves out what is held once its rows were set back: they wait until it runs again.
pub fn leave_waiting(holds: &[Hold], task: &mut Task) {
    let (id, label) = (task.id, task.label());
    for hold in holds {
        let since = hold.describe();
        let since = localized(&since);
        match &hold.table {
            None => {
                errln!(
                    "nothing is sent yet: task {label} is {since}; ssync resume {id} lets it run"
                );
                task.tables.clear();
            }
            Some(table) if task.tables.iter().any(|t| t.name == *table) => {
                errln!(
                    "nothing is sent yet: {table} is {since}; ssync resume {id} {table} lets it run"
                );
                task.tables.retain(|t| t.name != *table);
            }
            Some(_) => {}
        }
    }
}

/// Everything a run of the task needs; secrets are looked up here and nowhere else.
pub fn params(store: &mut Store, config: &Config, task: Task) -> Result<TaskParams> {
    let source = store.resolve_link(config, &task.source)?;
    let dest = store.resolve_link(config, &task.dest)?;
    let source_allows_nondurable = may_lose_commits(config, &task.source);
    let dest_allows_nondurable = may_lose_commits(config, &task.dest);
    let source_failover = may_fail_over(config, &task.source);
    let dest_failover = may_fail_over(config, &task.dest);
    let schedule = config.schedules.iter().find(|s| Some(s.id) == task.schedule);
    let realtime = schedule.is_some_and(|s| s.kind == ScheduleKind::Realtime);
    let fires_often = schedule.is_some_and(Schedule::fires_often);
    let keys = keys(config, &task)?;
    let location: StoreLocation = store.location().clone();
    let home = store.home().path().to_path_buf();
    let books = TaskBooks::online(Store::open(&location)?, task.id, &dest.url)?;
    let throttle =
        |name: &str| config.links.iter().find(|l| l.name == name).and_then(|l| l.throttle.clone());
    Ok(TaskParams {
        rates: store.rates(task.id)?.unwrap_or_default(),
        source_throttle: throttle(&task.source),
        dest_throttle: throttle(&task.dest),
        task,
        held: Vec::new(),
        source,
        dest,
        source_allows_nondurable,
        dest_allows_nondurable,
        source_failover,
        dest_failover,
        limits: limits(config),
        keys,
        realtime,
        fires_often,
        restart: false,
        home,
        instance: store.instance_id().to_owned(),
        books: Arc::new(books),
    })
}

/// Whether the operator accepts that a link's database may lose commits in a crash.
pub fn may_lose_commits(config: &Config, link: &str) -> bool {
    config.links.iter().any(|l| l.name == link && l.allow_nondurable)
}

/// Whether a link's address may lead to any replica of one cluster.
pub fn may_fail_over(config: &Config, link: &str) -> bool {
    config.links.iter().any(|l| l.name == link && l.failover)
}

/// Connections that each link allows.
pub fn limits(config: &Config) -> BTreeMap<String, u32> {
    config.links.iter().map(|l| (l.name.clone(), l.max_connections)).collect()
}

/// The keys that a task's tables name.
pub fn keys(config: &Config, task: &Task) -> Result<BTreeMap<String, KeyRing>> {
    let named: BTreeSet<_> = task
        .tables
        .iter()
        .flat_map(|t| t.encrypt.values().chain(t.decrypt.values()))
        .map(|choice| choice.key().to_owned())
        .collect();
    let mut rings = BTreeMap::new();
    for key in config.keys.iter().filter(|k| named.contains(&k.name)) {
        rings.insert(key.name.clone(), key_ring(key)?);
    }
    Ok(rings)
}

/// One configured key with those it replaced.
pub fn key_ring(key: &ssync_common::config::Key) -> Result<KeyRing> {
    KeyRing::resolve(key, &mut key_secret)
}

/// Runs the task in this process, showing progress on standard error.
pub fn run(
    params: &TaskParams,
    signals: &Receiver<SignalEvent>,
    quiet: bool,
) -> Result<TaskReport> {
    // Opening it also removes what killed task processes left in shared memory.
    let table = TaskTable::open_or_create(&params.home)?;
    let total = params.task.tables.len() as u32;
    let slot = table.acquire(params.task.id, RunId::random()?, total)?;
    // Links by name and address, tables, SQL (A20). The model holds no secrets.
    slot.set_params(&params.task);
    let totals = Totals::default();
    if !quiet {
        count_rows(params, &totals);
    }
    let mut progress = Progress::new(Some(slot), shower(totals, quiet));
    let report = ssync_worker::run_task(params, signals, &mut progress);
    progress.finish(&report);
    drop(progress);
    drop(table);
    // Without a daemon nobody keeps the table; whoever still uses it does.
    if let Err(e) = TaskTable::remove_unless_needed(&params.home) {
        log::debug!("the task table stays: {e}");
    }
    Ok(report)
}

/// Finds out from beside how many rows are to come, for the progress bar. Costs the run nothing;
/// what fails here fails there with a better message.
fn count_rows(params: &TaskParams, totals: &Totals) {
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        return;
    }
    let (task, link, totals) = (params.task.clone(), params.source.clone(), totals.clone());
    let counting = move || {
        for table in &task.tables {
            match expected_rows(&link, table) {
                Ok(Some(rows)) => {
                    if let Ok(mut totals) = totals.lock() {
                        totals.insert(table.name.clone(), rows);
                    }
                }
                Ok(None) => {}
                Err(e) => log::info!("{}: rows not counted: {e}", table.name),
            }
        }
    };
    if let Err(e) = thread::Builder::new().name("counter".into()).spawn(counting) {
        log::info!("rows not counted: {e}");
    }
}

fn expected_rows(
    link: &LinkParams,
    table: &ssync_common::config::TableTask,
) -> Result<Option<u64>> {
    let mut conn = open(link)?;
    let d = conn.dialect();
    let mut conditions = Vec::new();
    match table.mode {
        TableMode::Status => conditions.push(format!("{} = 0", d.quote(STATUS_COLUMN))),
        TableMode::Full => {}
        TableMode::Increment => return Ok(None),
    }
    conditions.extend(table.filter.as_ref().map(|f| format!("({f})")));
    let mut sql = format!("SELECT COUNT(*) FROM {}", d.table(&table.source));
    if !conditions.is_empty() {
        sql += &format!(" WHERE {}", conditions.join(" AND "));
    }
    let rows = conn.query(&sql, &[])?;
    Ok(rows.first().and_then(|r| r.first()).and_then(|v| v.as_i64()).map(|n| n as u64))
}
