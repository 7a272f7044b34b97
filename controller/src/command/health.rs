//! `ssync health`: whether somebody has to act, in one line and an exit code as monitoring systems
//! take them.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use ssync_common::config::{Config, TableTask, Task, TaskNames, task_label};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Hold, HoldKind, Home, RunState, Store};

use super::late::{late, unable};
use super::{RESUMED, receivers};
use crate::backlog::{Backlog, Backlogs};
use crate::books::spool;
use crate::live::{HEARTBEAT_AGE_MS_MAX, Live, Pulse, has_died, span};
use crate::output::Output;
use crate::patience::{NO_ANSWER, within};
use crate::terminal::grouped;

/// Findings that the line names; the others are counted.
const NAMED_MAX: usize = 3;
/// A schedule that is late for so long does not work any more.
const LATE_CRITICAL_SECS: i64 = 600;

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
    backlogs: Vec<TableBacklog>,
}

/// Rows that wait to be sent, of one table.
#[derive(Serialize)]
struct TableBacklog {
    task: u32,
    name: Option<String>,
    table: String,
    #[serde(flatten)]
    backlog: Backlog,
}

/// What was found with the configuration at hand.
struct Looked {
    health: Health,
    config: Config,
}

/// Prints the line; the exit code. It comes soon, whatever does not answer.
pub fn health(
    home: &Home,
    open: impl FnOnce() -> Result<Store> + Send + 'static,
    out: &mut Output,
) -> Result<u8> {
    // Nothing is made by looking.
    if !home.path().is_dir() {
        return Err(Error::new(Kind::Config, "there is no such home directory")
            .detail(home.path().display().to_string())
            .hint("Name the one that ssync works with by SSYNC_HOME or --home."));
    }
    let live = Live::read(home.path())?;
    let pulse = Pulse::of(&live, home.path(), HEARTBEAT_AGE_MS_MAX);
    let mut health = Health::default();
    health.look_at_daemon(pulse);
    let (of, seen) = (home.clone(), live.clone());
    let looked = within(home, move || {
        let mut store = open()?;
        let config = store.load()?;
        let mut health = Health::default();
        health.look(&mut store, &config, &seen, &of, pulse)?;
        Ok(Looked { health, config })
    });
    match looked {
        Ok(Looked { health: found, config }) => {
            let mut findings = std::mem::take(&mut health.findings);
            findings.extend(found.findings);
            health = Health { findings, ..found };
            if config.tasks.is_empty() {
                health.add(Severity::Warning, "nothing is configured".to_owned());
            } else if pulse == Pulse::Stopped && !config.schedules.is_empty() {
                let text = "no daemon runs, and schedules are configured";
                health.add(Severity::Warning, text.to_owned());
            }
            health.name_tasks(&TaskNames::of(&config.tasks));
        }
        Err(e) => {
            let text = match e.message.starts_with(NO_ANSWER) {
                true => e.message,
                false => format!("{NO_ANSWER}: {}", e.message),
            };
            health.add(Severity::Critical, text);
        }
    }
    health.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let worst = health.findings.first().map_or(Severity::Ok, |finding| finding.severity);
    if out.is_json() {
        out.object(json!({
            "health": worst, "findings": health.findings, "backlog": health.backlogs,
        }));
    } else {
        out.line(format!("{}: {}{}", worst.word(), health.words(&live), health.figures()));
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

    fn look(
        &mut self,
        store: &mut Store,
        config: &Config,
        live: &Live,
        home: &Home,
        pulse: Pulse,
    ) -> Result<()> {
        self.tasks = config.tasks.len();
        let mut holds = store.holds(None)?;
        holds.retain(|hold| hold.kind == HoldKind::Suspended);
        for hold in &holds {
            let why = hold.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
            let text = format!("suspended since {:.0}{why}", hold.since);
            self.add_of(Severity::Critical, hold.task, hold.table.as_deref(), text);
        }
        for task in &config.tasks {
            for table in &task.tables {
                self.tables += 1;
                let seen = live.task(task.id).filter(|seen| seen.table == table.name);
                self.look_at_table(store, task, table, &holds, seen.is_some_and(has_died))?;
            }
        }
        // Why nothing fires without a daemon is said already.
        if matches!(pulse, Pulse::Alive { .. }) {
            self.look_at_schedules(home, config);
        }
        self.look_at_backlogs(home.path(), config);
        for task in live.tasks.iter().filter(|task| has_died(task)) {
            let text = format!("process of {} died: the next run settles what it left", task.table);
            self.add_of(Severity::Warning, task.task_id, None, text);
        }
        self.look_at_bad_rows(store, config)?;
        for trouble in receivers::troubles(home.path(), config) {
            self.add(Severity::Warning, trouble);
        }
        for waiting in spool::waiting(home.path(), None) {
            self.add_of(Severity::Warning, waiting.task, None, waiting.words());
        }
        Ok(())
    }

    fn look_at_schedules(&mut self, home: &Home, config: &Config) {
        for (task, why) in unable(home, config) {
            self.add_of(Severity::Critical, task, None, why);
        }
        for late in late(home, config, Timestamp::now()) {
            let severity = match late.secs >= LATE_CRITICAL_SECS {
                true => Severity::Critical,
                false => Severity::Warning,
            };
            let why = late.reason.map_or(String::new(), |why| format!(": {why}"));
            let text = format!(
                "schedule {} is late: its firing of {:.0} has not started for {}{why}",
                late.schedule,
                late.due,
                span(u64::try_from(late.secs).unwrap_or(0).saturating_mul(1000))
            );
            self.add(severity, text);
        }
    }

    fn look_at_backlogs(&mut self, home: &Path, config: &Config) {
        let backlogs = Backlogs::read(home);
        for task in &config.tasks {
            let known = task.tables.iter().filter_map(|table| {
                let backlog = backlogs.of(task, table)?;
                let (name, table) = (task.name.clone(), table.name.clone());
                Some(TableBacklog { task: task.id, name, table, backlog })
            });
            self.backlogs.extend(known);
        }
    }

    /// The known backlogs, as monitoring systems take figures: `label=value;warn;crit;min`.
    fn figures(&self) -> String {
        let figure = |known: &TableBacklog| {
            // What ends a label, or a line.
            let table = known.table.replace(['\'', '=', '|', '\n'], "_");
            let rows = known.backlog.rows?;
            Some(format!("'backlog task {} {table}'={rows};;;0", known.task))
        };
        let figures: Vec<_> = self.backlogs.iter().filter_map(figure).collect();
        if figures.is_empty() { String::new() } else { format!(" | {}", figures.join(" ")) }
    }

    fn look_at_table(
        &mut self,
        store: &mut Store,
        task: &Task,
        table: &TableTask,
        suspended: &[Hold],
        is_dead: bool,
    ) -> Result<()> {
        let last = store.last_run(task.id, &table.name)?;
        let Some(run) = last else { return Ok(()) };
        let why = run.error.map_or_else(|| "see the log".to_owned(), |error| error.message);
        let is_said = suspended.iter().any(|hold| {
            hold.task == task.id
                && hold.table.as_ref().is_none_or(|name| *name == table.name)
                && hold.reason.as_ref().is_some_and(|reason| reason.contains(why.as_str()))
        });
        match run.state {
            // A failure that has suspended the task is the reason of that.
            RunState::Failed if is_said => {}
            RunState::Failed => {
                let text = format!("failed: {why}");
                self.add_of(Severity::Critical, task.id, Some(&table.name), text);
            }
            // Shared memory says it, too, as long as the host is not started anew.
            RunState::Open if run.interrupted && !is_dead => {
                let text = format!("interrupted: its process has died; {RESUMED}");
                self.add_of(Severity::Warning, task.id, Some(&table.name), text);
            }
            RunState::Abandoned => {
                let text = "its last run did not come to its end".to_owned();
                self.add_of(Severity::Warning, task.id, Some(&table.name), text);
            }
            RunState::Open | RunState::Done | RunState::Interrupted => {}
        }
        Ok(())
    }

    /// Only of configured tables. Bad rows of a table that was removed or renamed cannot be sent again
    /// under its former name, so that an alarm would never end; `ssync errors` lists them.
    fn look_at_bad_rows(&mut self, store: &mut Store, config: &Config) -> Result<()> {
        let is_configured = |task: u32, table: &str| {
            let task = config.tasks.iter().find(|t| t.id == task);
            task.is_some_and(|task| task.tables.iter().any(|t| t.name == table))
        };
        let bad = store.bad_rows()?;
        for ((task, table), n) in bad.into_iter().filter(|((t, name), _)| is_configured(*t, name)) {
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
