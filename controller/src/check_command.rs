//! `ssync check`: prints what the worker's check finds.

use crate::output::{outln, padded, widest};
use serde::Serialize;
use ssync_common::config::{Config, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::Store;
use ssync_worker::check::{CheckParams, TableCheck, check_task};
use ssync_worker::plan::Level;

use crate::grammar::Scope;
use crate::terminal::{counted, grouped};
use crate::transfer;

/// Version of the JSON that checks print.
const JSON_SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    kind: &'static str,
    /// The task's.
    name: Option<&'a str>,
    passed: bool,
    #[serde(flatten)]
    check: &'a TableCheck,
}

/// Checks one task, or all; the exit code: 0 where everything can run, 1 where something failed, 2 where
/// tables are refused.
pub fn run(store: &mut Store, scope: &Scope, trial: bool, json: bool) -> Result<u8> {
    let config = store.load()?;
    let tasks = match scope.task.which() {
        Some(which) => vec![transfer::choose(&config, which, &scope.tables.tables)?],
        None => config.tasks.clone(),
    };
    if tasks.is_empty() {
        return Err(Error::new(Kind::Config, "there are no tasks to check")
            .hint("ssync apply FILE configures some."));
    }
    let mut code = 0;
    let mut checks: Vec<TableCheck> = Vec::new();
    for task in tasks {
        for mut check in check_one(store, &config, &task, trial)? {
            check.compare(&checks);
            // As in a run, a failure outweighs a refusal.
            code = match (code, check.exit_code()) {
                (1, _) | (_, 1) => 1,
                (code, this) => code.max(this),
            };
            print(&check, &task, json)?;
            checks.push(check);
        }
    }
    if !json {
        let is_whole = checks.iter().all(TableCheck::is_whole);
        outln!(
            "{}",
            match (code, is_whole) {
                (0, true) => "everything can run",
                (0, false) => "everything can run, as far as it was tried",
                _ => "not everything can run",
            }
        );
    }
    Ok(code)
}

fn check_one(
    store: &mut Store,
    config: &Config,
    task: &Task,
    trial: bool,
) -> Result<Vec<TableCheck>> {
    let keys = transfer::keys(config, task);
    let params = CheckParams {
        source: store.resolve_link(config, &task.source),
        dest: store.resolve_link(config, &task.dest),
        limits: transfer::limits(config),
        source_failover: transfer::may_fail_over(config, &task.source),
        instance: store.instance_id(),
        source_allows_nondurable: transfer::may_lose_commits(config, &task.source),
        dest_allows_nondurable: transfer::may_lose_commits(config, &task.dest),
        keys,
        trial,
        task,
    };
    Ok(check_task(&params))
}

fn print(check: &TableCheck, task: &Task, json: bool) -> Result<()> {
    if json {
        let name = task.name.as_deref();
        let line = Line { schema: JSON_SCHEMA, kind: "check", name, passed: check.passed(), check };
        let text = serde_json::to_string(&line)
            .map_err(|e| Error::new(Kind::Internal, format!("check: {e}")))?;
        outln!("{text}");
        return Ok(());
    }
    let verdict = if check.passed() { "ok" } else { "CANNOT RUN" };
    outln!("task {}, table {}: {verdict}", task.label(), check.table);
    let width = widest(check.columns.iter().map(|c| c.source.as_str()));
    for column in &check.columns {
        let crypto = column.crypto.as_deref().map_or(String::new(), |c| format!(", {c}ed"));
        let source = padded(&column.source, width);
        outln!("  {source} -> {}: {}{crypto}", column.dest, column.fidelity);
    }
    for finding in &check.findings {
        let word = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "note",
        };
        let column = finding.column.as_ref().map_or(String::new(), |c| format!("{c}: "));
        outln!("  {word}: {column}{}", finding.text);
        if let Some(hint) = finding.hint.as_ref().filter(|_| finding.level != Level::Info) {
            outln!("    hint: {hint}");
        }
    }
    if let Some(rows) = check.trial_rows {
        let were = if rows == 1 { "was" } else { "were" };
        outln!("  trial: {} landed and {were} taken back", counted(rows, "row"));
    }
    if let Some(rows) = check.trial_waiting.filter(|rows| *rows > 0) {
        match rows {
            1 => outln!("  trial: 1 row waits for its parent"),
            n => outln!("  trial: {} rows wait for their parents", grouped(n)),
        }
    }
    Ok(())
}
