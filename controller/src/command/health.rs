//! `ssync health`: whether somebody has to act, in one line and an exit code as monitoring systems
//! take them.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use ssync_common::config::{Config, TableTask, Task, TaskNames, task_label};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{HoldKind, Home, RunState, Store};

use super::receivers;
use crate::books::spool;
use crate::live::{HEARTBEAT_AGE_MS_MAX, Live, Pulse, has_died, span};
use crate::output::Output;
use crate::terminal::grouped;

/// Findings that the line names; the others are counted.
const NAMED_MAX: usize = 3;

/// How bad it is; as a number, the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Nobody has to act.
    Ok = 0,
    /// Somebody should look.
    Warning = 1,
    /// Something does not work.
    Critical = 2,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Ok => "OK",
            Severity::Warning => "WARNING",
            Severity::Critical => "CRITICAL",
        }
    }
}

/// Something that somebody has to know of.
#[derive(Debug, Serialize)]
struct Finding {
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<u32>,
    /// The task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    text: String,
}

#[derive(Default)]
struct Health {
    findings: Vec<Finding>,
    tasks: usize,
    tables: usize,
}

/// Prints the line; the exit code.
pub fn health(home: &Home, open: impl FnOnce() -> Result<Store>, out: &mut Output) -> Result<u8> {
    let mut health = Health::default();
    // Nothing is made by looking.
    if !home.path().is_dir() {
        return Err(Error::new(Kind::Config, "there is no such home directory")
            .detail(home.path().display().to_string())
            .hint("Name the one that ssync works with by SSYNC_HOME or --home."));
    }
    let live = Live::read(home.path())?;
    let pulse = Pulse::of(&live, home.path(), HEARTBEAT_AGE_MS_MAX);
    health.look_at_daemon(pulse);
    let looked = open().and_then(|mut store| {
        let config = store.load()?;
        health.look(&mut store, &config, &live, home.path())?;
        Ok(config)
    });
    match &looked {
        Ok(config) if config.tasks.is_empty() => {
            health.add(Severity::Warning, "nothing is configured".to_owned());
        }
        Ok(config) if pulse == Pulse::Stopped && !config.schedules.is_empty() => {
            let text = "no daemon runs, and schedules are configured";
            health.add(Severity::Warning, text.to_owned());
        }
        Ok(_) => {}
        Err(e) => {
            let text = format!("the configuration database does not answer: {}", e.message);
            health.add(Severity::Critical, text);
        }
    }
    if let Ok(config) = &looked {
        health.name_tasks(&TaskNames::of(&config.tasks));
    }
    health.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let worst = health.findings.first().map_or(Severity::Ok, |finding| finding.severity);
    if out.is_json() {
        out.object(json!({ "health": worst, "findings": health.findings }));
    } else {
        out.line(format!("{}: {}", worst.word(), health.words(&live)));
    }
    Ok(worst as u8)
}

impl Health {
    fn add(&mut self, severity: Severity, text: String) {
        self.findings.push(Finding { severity, task: None, name: None, table: None, text });
    }

    fn add_of(&mut self, severity: Severity, task: u32, table: Option<&str>, text: String) {
        let table = table.map(str::to_owned);
        self.findings.push(Finding { severity, task: Some(task), name: None, table, text });
    }

    fn name_tasks(&mut self, names: &TaskNames) {
        for finding in &mut self.findings {
            finding.name = finding.task.and_then(|task| names.get(task)).map(str::to_owned);
        }
    }

    fn look_at_daemon(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Alive { .. } | Pulse::Stopped => {}
            Pulse::Hangs { age_ms, .. } => {
                let text = format!("the daemon does not respond for {}", span(age_ms));
                self.add(Severity::Critical, text);
            }
            Pulse::Dead => self.add(Severity::Critical, "the daemon has died".to_owned()),
        }
    }

    fn look(&mut self, store: &mut Store, config: &Config, live: &Live, home: &Path) -> Result<()> {
        self.tasks = config.tasks.len();
        for hold in store.holds(None)?.iter().filter(|hold| hold.kind == HoldKind::Suspended) {
            let why = hold.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
            let text = format!("suspended since {:.0}{why}", hold.since);
            self.add_of(Severity::Critical, hold.task, hold.table.as_deref(), text);
        }
        for task in &config.tasks {
            for table in &task.tables {
                self.tables += 1;
                self.look_at_table(store, task, table)?;
            }
        }
        for task in live.tasks.iter().filter(|task| has_died(task)) {
            let text = format!("process of {} died: the next run settles what it left", task.table);
            self.add_of(Severity::Warning, task.task_id, None, text);
        }
        self.look_at_bad_rows(store)?;
        for trouble in receivers::troubles(home, config) {
            self.add(Severity::Warning, trouble);
        }
        for waiting in spool::waiting(home, None) {
            self.add_of(Severity::Warning, waiting.task, None, waiting.words());
        }
        Ok(())
    }

    fn look_at_table(&mut self, store: &mut Store, task: &Task, table: &TableTask) -> Result<()> {
        let last = store.last_run(task.id, &table.name)?;
        let Some(run) = last else { return Ok(()) };
        let why = run.error.as_ref().map_or("see the log", |error| &error.message);
        match run.state {
            RunState::Failed => {
                let text = format!("failed: {why}");
                self.add_of(Severity::Critical, task.id, Some(&table.name), text);
            }
            RunState::Abandoned => {
                let text = "its last run did not come to its end".to_owned();
                self.add_of(Severity::Warning, task.id, Some(&table.name), text);
            }
            RunState::Open | RunState::Done | RunState::Interrupted => {}
        }
        Ok(())
    }

    fn look_at_bad_rows(&mut self, store: &mut Store) -> Result<()> {
        for ((task, table), n) in store.bad_rows()? {
            let text = match n {
                1 => "1 bad row waits to be corrected".to_owned(),
                n => format!("{} bad rows wait to be corrected", grouped(n)),
            };
            self.add_of(Severity::Warning, task, Some(&table), text);
        }
        Ok(())
    }

    fn words(&self, live: &Live) -> String {
        if self.findings.is_empty() {
            let running = live.running().count();
            return format!(
                "{}; {}, {}, {running} running",
                live.controller_words(),
                counted(self.tasks, "task"),
                counted(self.tables, "table")
            );
        }
        let named: Vec<_> = self.findings.iter().take(NAMED_MAX).map(Finding::words).collect();
        let mut words = named.join("; ");
        if self.findings.len() > NAMED_MAX {
            words += &format!("; {} more", self.findings.len() - NAMED_MAX);
        }
        words
    }
}

/// "1 task", "2 tasks".
pub(super) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

impl Finding {
    fn words(&self) -> String {
        let task = self.task.map(|task| task_label(task, self.name.as_deref()));
        match (task, &self.table) {
            (Some(task), Some(table)) => format!("task {task}, table {table} {}", self.text),
            (Some(task), None) => format!("task {task} {}", self.text),
            _ => self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_thing_has_no_plural() {
        let words = [0, 1, 2].map(|n| counted(n, "writer"));
        assert_eq!(words, ["0 writers", "1 writer", "2 writers"]);
    }
}
