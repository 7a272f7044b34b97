//! `ssync show`: the scene of a task as its last run left it (A16): what holds it, what the run
//! did, its error, the batch it settled last, its bad rows, and the states of the source's rows
//! now; and by which parameters the daemon would start it. It changes nothing.

use super::history::{RESUMED, UNKNOWN, attempt_state};
use serde::Serialize;
use serde_json::json;
use ssync_common::config::{Config, ScheduleKind, SideSql, TableMode, TableTask, Task, TaskRef};
use ssync_common::connector::open;
use ssync_common::error::{Error, Result};
use ssync_common::store::{
    AttemptRecord, BatchRecord, ErrorFilter, ErrorRow, Hold, RowState, RunRecord, Store,
};
use ssync_common::value::{Key, key_text};
use ssync_worker::source::STATUS_COLUMN;

use crate::live::{Live, doing, is_running};
use crate::output::Output;
use crate::parameters::{InForce, Parameters};
use crate::terminal::grouped;
use crate::transfer::choose;

/// Bad rows that are shown.
const BAD_ROWS_MAX: u64 = 10;

/// One table's part of the scene.
#[derive(Serialize)]
struct Scene {
    table: String,
    #[serde(skip)]
    key: Vec<String>,
    hold: Option<Hold>,
    last_run: Option<RunRecord>,
    attempts: Vec<AttemptRecord>,
    last_settled_batch: Option<BatchRecord>,
    bad_rows: Vec<ErrorRow>,
    /// Rows of the source by state, now; or why that could not be found out.
    source_rows: Result<Option<States>, Error>,
}

/// Rows of a source by state.
#[derive(Serialize, Default)]
struct States {
    to_send: u64,
    under_way: u64,
    done: u64,
    failed: u64,
    other: u64,
}

/// Shows the scene of a task, or of these tables of it.
pub fn show(
    store: &mut Store,
    which: &TaskRef,
    tables: &[String],
    out: &mut Output,
) -> Result<bool> {
    let config = store.load()?;
    let (whole_task, task) = (config.task(which)?, &choose(&config, which, tables)?);
    let holds = store.holds(Some(task.id))?;
    let whole = holds.iter().find(|h| h.table.is_none());
    let mut scenes = Vec::new();
    for table in &task.tables {
        scenes.push(scene(store, &config, task, table, &holds)?);
    }
    let live = Live::read(store.home().path())?;
    let live = live.task(task.id).filter(|seen| is_running(seen));
    let in_force = InForce::read(store.home().path()).unwrap_or_else(|e| {
        log::warn!("{e:?}");
        None
    });
    if out.is_json() {
        let parameters = in_force.as_ref().and_then(|f| f.task(task.id));
        out.object(json!({
            "task": task.id,
            "name": task.name,
            "hold": whole,
            "live": live,
            "in_force": parameters,
            "generation": in_force.as_ref().map(|f| f.generation),
            "tables": scenes,
        }));
        return Ok(true);
    }
    out.line(format!("task {}: {} → {}", task.label(), task.source, task.dest));
    if let Some(seen) = live {
        let pid = seen.owner.as_ref().map_or(0, |owner| owner.pid);
        out.line(format!("  runs now (process {pid}), {}", doing(seen)));
    }
    if let Some(hold) = whole {
        out.line(format!("  {}", hold.describe()));
        out.line(format!("  ssync resume {} lets it run again", task.id));
    }
    if let Some(in_force) = &in_force {
        let configured = Parameters::of(&config, whole_task)?;
        print_in_force(in_force.task(task.id), &configured, task, out);
    }
    for scene in &scenes {
        print(scene, task.id, live.is_some_and(|seen| seen.table == scene.table), out);
    }
    Ok(true)
}

/// By what the daemon would start the task now, from shared memory.
fn print_in_force(
    in_force: Option<&Parameters>,
    configured: &Parameters,
    shown: &Task,
    out: &mut Output,
) {
    let Some(parameters) = in_force else {
        out.line("  the daemon does not know it yet: ssync reload");
        return;
    };
    for (word, link) in [("source", &parameters.source), ("destination", &parameters.dest)] {
        let limit = link.max_connections;
        out.line(format!("  {word} {}: {}, at most {limit} connections", link.name, link.url));
    }
    if let Some(schedule) = &parameters.schedule {
        let kind = match schedule.kind {
            ScheduleKind::Realtime => "real-time",
            ScheduleKind::Timed => "timed",
        };
        out.line(format!("  schedule {}: every {}, {kind}", schedule.id, schedule.every));
    }
    let is_shown = |table: &&TableTask| shown.tables.iter().any(|t| t.name == table.name);
    for table in parameters.task.tables.iter().filter(is_shown) {
        let statements = |sql: &SideSql| sql.source.len() + sql.dest.len();
        out.line(format!(
            "  {}: {} → {}, {} SQL statements before, {} after",
            table.name,
            table.source,
            table.dest,
            statements(&table.before),
            statements(&table.after)
        ));
    }
    if parameters != configured {
        out.line("  this is in force; it is configured otherwise meanwhile: ssync reload");
    }
}

fn scene(
    store: &mut Store,
    config: &Config,
    task: &Task,
    table: &TableTask,
    holds: &[Hold],
) -> Result<Scene> {
    let last_run = store.last_run(task.id, &table.name)?;
    let (batches, attempts) = match &last_run {
        Some(run) => (store.batches(run.id)?, store.attempts(run.id)?),
        None => (Vec::new(), Vec::new()),
    };
    let bad_rows = store.errors(&ErrorFilter {
        task: Some(task.id),
        tables: vec![table.name.clone()],
        states: vec![RowState::Bad, RowState::Retried],
        limit: Some(BAD_ROWS_MAX),
        ..ErrorFilter::default()
    })?;
    let mut key = table.key.clone();
    Ok(Scene {
        table: table.name.clone(),
        hold: holds.iter().find(|h| h.table.as_ref() == Some(&table.name)).cloned(),
        last_run,
        attempts,
        last_settled_batch: batches.into_iter().max_by_key(|b| b.settled),
        bad_rows,
        source_rows: states(store, config, task, table, &mut key),
        key,
    })
}

/// Counts the source's rows by state, for a table that has states. Where the configuration does not
/// name the key, the primary key does.
fn states(
    store: &mut Store,
    config: &Config,
    task: &Task,
    table: &TableTask,
    key: &mut Vec<String>,
) -> Result<Option<States>> {
    if table.mode != TableMode::Status {
        return Ok(None);
    }
    let mut source = open(&store.resolve_link(config, &task.source)?)?;
    let d = source.dialect();
    let column = d.folded(STATUS_COLUMN);
    let from = d.table(&table.source);
    let sql = format!("SELECT {column}, COUNT(*) FROM {from} GROUP BY {column}");
    let described = if key.is_empty() { source.describe(&table.source)? } else { None };
    let primary = described.into_iter().flat_map(|t| t.indexes).find(|index| index.primary);
    key.extend(primary.into_iter().flat_map(|index| index.columns));
    let mut states = States::default();
    for row in source.query(&sql, &[])? {
        let number = |i: usize| row.get(i).and_then(|v| v.as_i64());
        let rows = number(1).unwrap_or(0) as u64;
        match number(0) {
            Some(0) => states.to_send += rows,
            Some(1) => states.under_way += rows,
            Some(2) => states.done += rows,
            Some(3) => states.failed += rows,
            _ => states.other += rows,
        }
    }
    Ok(Some(states))
}

fn print(scene: &Scene, task: u32, runs_now: bool, out: &mut Output) {
    out.line("");
    out.line(format!("table {}", scene.table));
    if let Some(hold) = &scene.hold {
        out.line(format!("  {}", hold.describe()));
    }
    match &scene.last_run {
        None if runs_now => out.line("  runs for the first time"),
        None => out.line("  has never run"),
        Some(run) => print_run(run, &scene.attempts, out),
    }
    if let Some(batch) = &scene.last_settled_batch {
        out.line(format!(
            "  settled last: batch {} of {} rows, {} to {}",
            batch.number,
            grouped(batch.rows),
            scene.key_text(&batch.low),
            scene.key_text(&batch.high)
        ));
    }
    match &scene.source_rows {
        Ok(None) => {}
        Ok(Some(states)) => {
            let mut line = format!(
                "  the source now: {} to send, {} under way, {} done, {} failed",
                grouped(states.to_send),
                grouped(states.under_way),
                grouped(states.done),
                grouped(states.failed)
            );
            if states.other > 0 {
                line += &format!(", {} in no state that ssync knows", grouped(states.other));
            }
            out.line(line);
        }
        Err(e) => out.line(format!("  the source could not be asked: {e}")),
    }
    for row in &scene.bad_rows {
        // Most texts begin with the column.
        let column = match &row.column {
            Some(c) if !row.text.starts_with(&format!("column {c}: ")) => format!("column {c}: "),
            _ => String::new(),
        };
        out.line(format!("  bad row {}: {column}{}", row.key_text(), row.text));
    }
    if scene.bad_rows.len() as u64 == BAD_ROWS_MAX {
        out.line(format!("  perhaps more: ssync errors {task} --tables {}", scene.table));
    }
}

fn print_run(run: &RunRecord, attempts: &[AttemptRecord], out: &mut Output) {
    let c = &run.counts;
    let resumed = if run.interrupted { format!(", {RESUMED}") } else { String::new() };
    out.line(format!(
        "  last run: {}{resumed}, began {:.0}{}",
        super::run_state(run),
        run.begin,
        run.end.map_or(String::new(), |end| format!(", ended {end:.0}"))
    ));
    out.line(match run.landed() {
        Some(landed) => format!(
            "  its rows: {} claimed, {} read, {} landed, {} settled, {} failed",
            grouped(c.claimed),
            grouped(c.read),
            grouped(landed),
            grouped(c.settled),
            grouped(c.failed)
        ),
        None => format!(
            "  its rows: how many have landed is {UNKNOWN} until the run goes on or ends, {} failed",
            grouped(c.failed)
        ),
    });
    let is_told = attempts.len() > 1 || attempts.iter().any(|a| !a.causes.is_empty());
    for (n, attempt) in (1..).zip(attempts).filter(|_| is_told) {
        let rows = attempt.landed.map_or(String::new(), |rows| format!(", {} rows", grouped(rows)));
        let why = attempt.error.as_ref().map_or(String::new(), |e| format!(": {}", e.message));
        for cause in &attempt.causes {
            let (at, why) = (cause.at, &cause.error.message);
            out.line(format!("  attempt {n}: tried again after {at:.0}: {why}"));
        }
        out.line(format!(
            "  attempt {n}: {}, began {:.0}{}{rows}{why}",
            attempt_state(attempt.state, run),
            attempt.begin,
            attempt.end.map_or(String::new(), |end| format!(", ended {end:.0}")),
        ));
    }
    let Some(error) = &run.error else { return };
    out.line(format!("  error: {}", error.message));
    error.details.iter().for_each(|detail| out.line(format!("    {detail}")));
    if let Some(hint) = &error.hint {
        out.line(format!("    hint: {hint}"));
    }
}

impl Scene {
    fn key_text(&self, key: &Key) -> String {
        // Where the primary key is taken, the configuration does not name its columns.
        let numbered = (1..=key.len()).map(|n| format!("key {n}"));
        match self.key.len() == key.len() {
            true => key_text(&self.key, key),
            false => key_text(&numbered.collect::<Vec<_>>(), key),
        }
    }
}
