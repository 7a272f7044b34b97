//! `ssync status`: what is configured, how it stands, and what runs at this moment.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use ssync_common::config::{TableMode, TableTask, Task};
use ssync_common::error::{Kind, Result};
use ssync_common::shm::TaskView;
use ssync_common::store::{Hold, HoldKind, LockInfo, RunRecord, Store};
use unicode_width::UnicodeWidthStr;

use super::sight::{NO_DAEMON, Sight};
use super::{RESUMED, receivers, run_state};
use crate::backlog;
use crate::books::spool::Waiting;
use crate::daemon::control::Unable;
use crate::live::{Pulse, has_died, is_running, long_wait_words, phase_words, span};
use crate::output::{Output, padded, widest};
use crate::parameters::{InForce, Parameters};
use crate::patience::within;
use crate::render;
use crate::terminal::{counted, grouped};
use crate::transfer::choose;

const DIED: &str = "its process died: the next run settles what it left";

/// How one sub-task stands.
struct Standing {
    hold: Option<Hold>,
    lock: Option<LockInfo>,
    /// Whether its owner is known to be dead.
    is_owner_dead: bool,
    last: Option<RunRecord>,
    /// A run before that one whose process died, and that the next start resumes.
    open: Option<RunRecord>,
    /// Rows that wait to be corrected.
    bad_rows: u64,
}

/// Shows every task, or one, or tables of one; the exit code. Shared memory comes first: what runs is
/// shown even when the configuration database does not answer.
pub fn status(sight: &Sight, only: Option<u32>, tables: &[String], out: &mut Output) -> Result<u8> {
    let code = u8::from(!sight.pulse.is_well() || sight.is_silent);
    let is_meant = |waiting: &&Waiting| only.is_none_or(|task| waiting.task == task);
    let waiting: Vec<_> = sight.waiting.iter().filter(is_meant).cloned().collect();
    if !out.is_json() {
        out.line(sight.live.controller_words());
        if sight.pulse == Pulse::Dead {
            out.line("it was not stopped: it has died, or the host was started anew");
        }
        let daemon = sight.daemon.as_ref();
        if let Some((since, error)) = daemon.and_then(|d| d.configuration_error.as_ref()) {
            out.line(format!("its configuration could not be read since {since:.0}: {error}"));
        }
        for waiting in &waiting {
            out.line(sight.names.named(&waiting.words()));
        }
    }
    let shown = Shown {
        sight: sight.clone(),
        waiting,
        only,
        only_tables: tables.to_vec(),
        json: out.is_json(),
    };
    let shown = Arc::new(shown);
    let (showing, mut tasks, open) = (shown.clone(), Output::new(shown.json), sight.open());
    let told = within(&sight.home, move || {
        let told = open().and_then(|mut store| showing.tasks(&mut store, &mut tasks));
        told.map(|lacks_daemon| (tasks, lacks_daemon))
    });
    match told {
        Ok((tasks, lacks_daemon)) => {
            out.append(tasks);
            Ok(code | u8::from(lacks_daemon))
        }
        // Of a task or table that is not there, there is nothing to show.
        Err(e) if e.kind == Kind::Usage => Err(e),
        Err(e) => {
            // What the daemon has in force stands in shared memory.
            let in_force = sight.in_force();
            if !shown.json {
                shown.without_database(in_force.as_ref(), out);
                return Err(e);
            }
            let mut object = shown.facts(shown.objects_without_database(in_force.as_ref()));
            object["error"] = json!(e);
            out.object(object);
            Ok(render::fail(&e, false))
        }
    }
}

struct Shown {
    sight: Sight,
    waiting: Vec<Waiting>,
    only: Option<u32>,
    only_tables: Vec<String>,
    json: bool,
}

impl Shown {
    /// Shows tasks; whether their schedules lack a daemon.
    fn tasks(&self, store: &mut Store, out: &mut Output) -> Result<bool> {
        let config = store.load()?;
        let lacks_daemon = self.sight.lacks_daemon(&config);
        if lacks_daemon && !self.json {
            out.line(format!("{NO_DAEMON}: nothing fires until one is started (ssync daemon)"));
        }
        let tasks = match self.only {
            Some(id) => vec![choose(&config, &id.into(), &self.only_tables)?],
            None => config.tasks.clone(),
        };
        let (holds, bad_rows) = (store.holds(self.only)?, store.bad_rows()?);
        let mut open = store.interrupted_runs()?;
        let unable = self.sight.unable();
        let mut objects = Vec::new();
        for task in &tasks {
            let unable = unable.iter().find(|u| u.task == task.id);
            if !self.json {
                out.line("");
                out.line(self.heading(task));
                unable.iter().for_each(|unable| out.line(format!("  {}", unable.words())));
            }
            let indent = widest(task.tables.iter().map(|t| t.name.as_str()));
            for table in &task.tables {
                let mut standing = standing(store, &holds, task, table)?;
                let place = (task.id, table.name.clone());
                standing.bad_rows = bad_rows.get(&place).copied().unwrap_or(0);
                let last = standing.last.as_ref().map(|run| run.id);
                let is_open = |run: &mut RunRecord| {
                    run.task == task.id && run.table == table.name && Some(run.id) != last
                };
                standing.open = open.extract_if(.., is_open).next();
                if self.json {
                    objects.push(self.object(task, table, &standing, unable));
                } else {
                    let name = padded(&table.name, indent);
                    self.table(&name, &self.words(task, table, &standing), out);
                }
            }
        }
        let troubles = receivers::troubles(store.home().path(), &config);
        if self.json {
            let mut object = self.facts(objects);
            object["troubles"] = json!(troubles);
            out.object(object);
            return Ok(lacks_daemon);
        }
        if config.tasks.is_empty() {
            out.line("nothing is configured yet: ssync apply FILE");
        }
        if !troubles.is_empty() {
            out.line("");
            troubles.into_iter().for_each(|trouble| out.line(trouble));
        }
        Ok(lacks_daemon)
    }

    /// What is known whether or not the configuration database answers, with these tables.
    fn facts(&self, tables: Vec<Value>) -> Value {
        json!({
            "controller": self.sight.live.controller,
            "daemon": self.sight.daemon,
            "running": self.sight.live.running().collect::<Vec<_>>(),
            "tables": tables,
            "waiting": self.waiting,
        })
    }

    fn is_meant(&self, task: u32, table: &str) -> bool {
        self.only.is_none_or(|only| only == task)
            && (self.only_tables.is_empty() || self.only_tables.iter().any(|name| name == table))
    }

    /// Tables as the daemon has them in force. What only the database knows is not in them.
    fn objects_without_database(&self, in_force: Option<&InForce>) -> Vec<Value> {
        let known = in_force.map(|f| f.tasks.as_slice()).unwrap_or_default();
        let tables = known.iter().flat_map(|p| p.task.tables.iter().map(|table| (&p.task, table)));
        tables
            .filter(|(task, table)| self.is_meant(task.id, &table.name))
            .map(|(task, table)| self.outline(task, table, None))
            .collect()
    }

    fn without_database(&self, in_force: Option<&InForce>, out: &mut Output) {
        let known = in_force.map(|f| f.tasks.as_slice()).unwrap_or_default();
        let is_asked = |id: u32| self.only.is_none_or(|only| only == id);
        for Parameters { task, .. } in known.iter().filter(|p| is_asked(p.task.id)) {
            out.line("");
            out.line(self.heading(task));
            for table in task.tables.iter().filter(|t| self.is_meant(task.id, &t.name)) {
                let mut words = match self.seen(task.id, &table.name) {
                    Some(task) if is_running(task) => self.running_words(task),
                    Some(_) => vec![DIED.to_owned()],
                    None => vec![format!("{} → {}", table.source, table.dest)],
                };
                let backlog = self.sight.backlogs.of(task, table);
                words.extend(backlog.map(|backlog| backlog.words(self.sight.live.at_ms, None)));
                self.table(&table.name, &words, out);
            }
        }
        // Those in the foreground may be of another configuration.
        let others = self.sight.live.running().filter(|t| self.is_meant(t.task_id, &t.table));
        for task in others.filter(|t| !known.iter().any(|p| p.task.id == t.task_id)) {
            out.line(format!("task {} {}", task.task_id, task.table));
            self.table("", &self.running_words(task), out);
        }
    }

    fn heading(&self, task: &Task) -> String {
        let schedule = task.schedule.map_or(String::new(), |id| format!(", schedule {id}"));
        format!("task {}, {} → {}{schedule}", task.label(), task.source, task.dest)
    }

    fn seen(&self, task: u32, table: &str) -> Option<&TaskView> {
        let seen = self.sight.live.task(task);
        seen.filter(|t| t.table == table && (is_running(t) || has_died(t)))
    }

    /// What is known of a table without the configuration database.
    fn outline(&self, task: &Task, table: &TableTask, ended: Option<Timestamp>) -> Value {
        let backlog = self.sight.backlogs.of(task, table);
        json!({
            "task": task.id,
            "name": task.name,
            "schedule": task.schedule,
            "table": table.name,
            "source": task.source,
            "dest": task.dest,
            "live": self.seen(task.id, &table.name),
            "backlog": backlog.map(|backlog| backlog::Shown::new(backlog, ended)),
        })
    }

    fn object(
        &self,
        task: &Task,
        table: &TableTask,
        standing: &Standing,
        unable: Option<&Unable>,
    ) -> Value {
        let ended = standing.last.as_ref().and_then(|run| run.end);
        let mut object = self.outline(task, table, ended);
        object["cannot_start"] = json!(unable.map(|unable| &unable.reason));
        object["hold"] = json!(standing.hold);
        object["running"] = json!(standing.lock);
        object["lock_owner_dead"] = json!(standing.is_owner_dead);
        object["open_run"] = json!(standing.open);
        object["last_run"] = json!(standing.last);
        object["bad_rows"] = json!(standing.bad_rows);
        object
    }

    /// What there is to say of a table, most important first.
    fn words(&self, task: &Task, table: &TableTask, standing: &Standing) -> Vec<String> {
        let mut words = Vec::new();
        let seen = self.seen(task.id, &table.name);
        match seen {
            Some(task) if is_running(task) => words.extend(self.running_words(task)),
            Some(_) => words.push(DIED.to_owned()),
            None => {
                // An owner elsewhere may have died, too: who takes the lock next finds out.
                let owner = standing.lock.as_ref().map(|l| l.owner_text());
                words.extend(owner.map(|owner| match standing.is_owner_dead {
                    true => {
                        format!("lock left by {owner}, which has died: the next run takes it over")
                    }
                    false => format!("locked by {owner}"),
                }));
            }
        }
        if let Some(hold) = &standing.hold {
            let word = match hold.kind {
                HoldKind::Paused => "paused",
                HoldKind::Suspended => "suspended",
            };
            let why = hold.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"));
            words.push(format!("{word} since {:.0}{why}", hold.since));
        }
        if !seen.is_some_and(is_running) {
            words.push(self.last_words(standing));
            words.extend(standing.open.as_ref().map(|run| {
                let since = span(self.since_ms(run.begin));
                // Of other modes it is known once the next attempt has looked at the destination.
                let rows = match (table.mode, run.counts.landed) {
                    (TableMode::Status, 1) => "1 row has landed, ".to_owned(),
                    (TableMode::Status, n) => format!("{} rows have landed, ", grouped(n)),
                    _ => String::new(),
                };
                format!("a run begun {since} ago was interrupted: {rows}{RESUMED}")
            }));
        }
        if standing.bad_rows > 0 {
            let wait = match standing.bad_rows {
                1 => "1 bad row waits".to_owned(),
                n => format!("{} bad rows wait", grouped(n)),
            };
            words.push(format!("{wait} to be corrected: ssync errors {}", task.id));
        }
        let ended = standing.last.as_ref().and_then(|run| run.end);
        let backlog = self.sight.backlogs.of(task, table);
        words.extend(backlog.map(|backlog| backlog.words(self.sight.live.at_ms, ended)));
        words
    }

    fn running_words(&self, task: &TaskView) -> Vec<String> {
        let rows = task.counters.rows_landed;
        let ms = self.sight.live.at_ms.saturating_sub(task.table_started_ms).max(1);
        let mut words = format!(
            "{} for {}, {}, {} rows/s, {}",
            phase_words(task),
            span(ms),
            counted(rows, "row"),
            grouped(rows.saturating_mul(1000) / ms),
            counted(task.writers.len() as u64, "writer")
        );
        let waits = long_wait_words(&task.wait, self.sight.live.at_ms);
        if !waits.is_empty() {
            words += &format!(", waits for {waits}");
        }
        let mut all = vec![words];
        // Why it waits, and until when.
        if task.wait.waiting_for == ssync_common::shm::Waiting::Retry
            && let Some(error) = &task.error
        {
            let at = task.retry_at_ms.and_then(|ms| i64::try_from(ms).ok());
            let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let next = at.map_or(String::new(), |at| format!("next attempt at {at:.0}: "));
            all.push(next + error);
        }
        all
    }

    fn since_ms(&self, then: Timestamp) -> u64 {
        self.sight.live.at_ms.saturating_sub(then.as_millisecond().max(0) as u64)
    }

    fn last_words(&self, standing: &Standing) -> String {
        let Some(run) = &standing.last else { return "never ran".to_owned() };
        let since = |then: Timestamp| span(self.since_ms(then));
        let state = match run.interrupted {
            true => format!("{}, {RESUMED}", run_state(run)),
            false => run_state(run),
        };
        let mut words = match run.end {
            Some(end) => {
                let rows = counted(run.counts.landed, "row");
                format!("{state} {} ago, {rows} in {:.1} s", since(end), run.seconds)
            }
            None => format!("{state}, begun {} ago", since(run.begin)),
        };
        if run.counts.failed > 0 {
            words += &format!(", {} bad", grouped(run.counts.failed));
        }
        if let Some(error) = &run.error {
            words += &format!(": {}", error.message);
        }
        words
    }

    /// A table's line; where it does not fit, each thing to say begins a line.
    fn table(&self, name: &str, words: &[String], out: &mut Output) {
        let line = format!("  {name}  {}", words.join("; "));
        if out.fits(&line) {
            out.line(line.trim_end());
            return;
        }
        for (n, word) in words.iter().enumerate() {
            let before = if n == 0 { name.to_owned() } else { " ".repeat(name.width()) };
            out.hanging(&format!("  {before}  "), word);
        }
    }
}

fn standing(store: &mut Store, holds: &[Hold], task: &Task, table: &TableTask) -> Result<Standing> {
    let of = |h: &&Hold| h.task == task.id && h.table.as_ref().is_none_or(|t| *t == table.name);
    let lock = store.lock_holder(task.id, &table.name)?;
    let is_dead = |lock: &LockInfo| lock.process.is_known_dead();
    Ok(Standing {
        hold: holds.iter().find(of).cloned(),
        is_owner_dead: lock.as_ref().map(is_dead).transpose()?.unwrap_or(false),
        lock,
        last: store.last_run(task.id, &table.name)?,
        open: None,
        bad_rows: 0,
    })
}
