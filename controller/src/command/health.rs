//! `ssync health`: whether somebody has to act, in one line and an exit code as monitoring systems
//! take them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use ssync_common::config::{Config, TableTask, Task, TaskNames, task_label};
use ssync_common::error::Result;
use ssync_common::store::{Hold, HoldKind, RunRecord, RunState, Store};

use super::late::late;
use super::sight::{NO_DAEMON, Sight};
use super::{RESUMED, receivers};
use crate::backlog;
use crate::daemon::control::Unable;
use crate::live::{Live, Pulse, has_died, span};
use crate::output::Output;
use crate::patience::{NO_ANSWER, within};
use crate::terminal::{counted, grouped};

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
    backlog: backlog::Shown,
}

/// What was found with the configuration at hand.
struct Looked {
    health: Health,
    config: Config,
    /// When the last run of each table ended.
    ended: Ended,
}

type Ended = BTreeMap<(u32, String), Timestamp>;

/// Prints the line; the exit code. It comes soon, whatever does not answer.
pub fn health(sight: &Sight, out: &mut Output) -> Result<u8> {
    let (seeing, open) = (sight.clone(), sight.open());
    let looked = within(&sight.home, move || {
        let mut store = open()?;
        let config = store.load()?;
        let mut health = Health::default();
        let ended = health.look(&mut store, &config, &seeing)?;
        Ok(Looked { health, config, ended })
    });
    let mut health = Health::default();
    health.look_at_daemon(sight);
    // Of tasks that are known to be configured, where that is known.
    let (names, tasks) = match looked {
        Ok(Looked { health: found, config, ended }) => {
            let mut findings = std::mem::take(&mut health.findings);
            findings.extend(found.findings);
            health = Health { findings, ..found };
            if config.tasks.is_empty() {
                health.add(Severity::Warning, "nothing is configured".to_owned());
            } else if sight.lacks_daemon(&config) {
                health.add(Severity::Warning, NO_DAEMON.to_owned());
            }
            health.look_at_backlogs(sight, &config.tasks, &ended);
            (TaskNames::of(&config.tasks), Some(config.tasks))
        }
        Err(e) => {
            let text = match e.message.starts_with(NO_ANSWER) {
                true => e.message,
                false => format!("{NO_ANSWER}: {}", e.message),
            };
            health.add(Severity::Critical, text);
            let in_force = sight.in_force().map(|f| f.tasks).unwrap_or_default();
            let tasks: Vec<_> = in_force.into_iter().map(|p| p.task).collect();
            health.look_at_backlogs(sight, &tasks, &Ended::new());
            (TaskNames::of(&tasks), None)
        }
    };
    health.look_at_processes(sight, tasks.as_deref());
    health.name_tasks(&names);
    health.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let worst = health.findings.first().map_or(Severity::Ok, |finding| finding.severity);
    if out.is_json() {
        out.object(json!({
            "health": worst, "findings": health.findings, "backlog": health.backlogs,
        }));
    } else {
        let (words, older) = (health.words(&sight.live), health.older_figures());
        out.line(format!("{}: {words}{older}{}", worst.word(), health.figures()));
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

    fn look_at_daemon(&mut self, sight: &Sight) {
        match sight.pulse {
            // It may hang; once that is certain it is worse.
            Pulse::Alive { .. } if sight.is_silent => {
                self.add(Severity::Warning, "the daemon does not answer".to_owned());
            }
            Pulse::Alive { .. } | Pulse::Stopped => {}
            Pulse::Hangs { age_ms, .. } => {
                let text = format!("the daemon does not respond for {}", span(age_ms));
                self.add(Severity::Critical, text);
            }
            Pulse::Dead => self.add(Severity::Critical, "the daemon has died".to_owned()),
        }
    }

    fn look(&mut self, store: &mut Store, config: &Config, sight: &Sight) -> Result<Ended> {
        let mut ended = Ended::new();
        let mut last = Vec::new();
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
                let seen = sight.live.task(task.id).filter(|seen| seen.table == table.name);
                let Some(run) = store.last_run(task.id, &table.name)? else { continue };
                last.push(run.id);
                let end = run.end.map(|end| ((task.id, table.name.clone()), end));
                ended.extend(end);
                self.look_at_run(run, task, table, &holds, seen.is_some_and(has_died));
            }
        }
        // A launch that came to nothing since hides none of them.
        for run in store.interrupted_runs()? {
            let task = config.tasks.iter().find(|task| task.id == run.task);
            let table = task.and_then(|task| task.tables.iter().find(|t| t.name == run.table));
            let is_last = last.contains(&run.id);
            if let (Some(task), Some(table), false) = (task, table, is_last) {
                self.look_at_run(run, task, table, &holds, false);
            }
        }
        // Why nothing fires without a daemon is said already.
        if matches!(sight.pulse, Pulse::Alive { .. }) {
            self.look_at_schedules(sight, config);
        }
        self.look_at_bad_rows(store, config)?;
        for trouble in receivers::troubles(sight.home.path(), config) {
            self.add(Severity::Warning, trouble);
        }
        Ok(ended)
    }

    /// Processes that have died, and what they have left.
    fn look_at_processes(&mut self, sight: &Sight, tasks: Option<&[Task]>) {
        // What a task that was removed has left, no run of it settles.
        let is_configured = |id: u32| tasks.is_none_or(|all| all.iter().any(|task| task.id == id));
        let died = sight.live.tasks.iter().filter(|task| has_died(task));
        for task in died.filter(|task| is_configured(task.task_id)) {
            let text = format!("process of {} died: the next run settles what it left", task.table);
            self.add_of(Severity::Warning, task.task_id, None, text);
        }
        for waiting in &sight.waiting {
            self.add_of(Severity::Warning, waiting.task, None, waiting.about_task());
        }
    }

    fn look_at_schedules(&mut self, sight: &Sight, config: &Config) {
        // What no schedule starts, people start, and are told then.
        let is_scheduled = |unable: &Unable| {
            config.tasks.iter().any(|t| t.id == unable.task && t.schedule.is_some())
        };
        for unable in sight.unable().iter().filter(|unable| is_scheduled(unable)) {
            self.add_of(Severity::Critical, unable.task, None, unable.words());
        }
        for late in late(&sight.home, config, Timestamp::now()) {
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

    fn look_at_backlogs(&mut self, sight: &Sight, tasks: &[Task], ended: &Ended) {
        for task in tasks {
            let known = task.tables.iter().filter_map(|table| {
                let backlog = sight.backlogs.of(task, table)?;
                let (name, table) = (task.name.clone(), table.name.clone());
                let end = ended.get(&(task.id, table.clone())).copied();
                let backlog = backlog::Shown::new(backlog, end);
                Some(TableBacklog { task: task.id, name, table, backlog })
            });
            self.backlogs.extend(known);
        }
    }

    /// Which of the figures say nothing of what the last run has sent.
    fn older_figures(&self) -> String {
        let older = self.backlogs.iter().filter(|known| known.backlog.before_last_run);
        let older: Vec<_> = older
            .map(|known| {
                format!(
                    "task {}, table {}",
                    task_label(known.task, known.name.as_deref()),
                    known.table
                )
            })
            .collect();
        if older.is_empty() {
            return String::new();
        }
        let more = match older.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!("; {more} more"),
        };
        let named = older.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join("; ");
        format!("; backlog from before the last run: {named}{more}")
    }

    /// The known backlogs, as monitoring systems take figures: `label=value;warn;crit;min`.
    fn figures(&self) -> String {
        let figure = |known: &TableBacklog| {
            // What ends a label, or a line.
            let table = known.table.replace(['\'', '=', '|', '\n'], "_");
            let rows = known.backlog.backlog.rows?;
            Some(format!("'backlog task {} {table}'={rows};;;0", known.task))
        };
        let figures: Vec<_> = self.backlogs.iter().filter_map(figure).collect();
        if figures.is_empty() { String::new() } else { format!(" | {}", figures.join(" ")) }
    }

    fn look_at_run(
        &mut self,
        run: RunRecord,
        task: &Task,
        table: &TableTask,
        suspended: &[Hold],
        is_dead: bool,
    ) {
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
                counted(self.tasks as u64, "task"),
                counted(self.tables as u64, "table")
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
