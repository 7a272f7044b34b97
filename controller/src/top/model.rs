//! What `ssync top` knows and how it is looked at: no terminal, no files, nothing that waits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use ssync_common::config::Task;
use ssync_common::shm::waiting::Outcome;
use ssync_common::store::{Hold, HoldKind, RunRecord, RunState};

use super::meter::Meter;
use crate::backlog::Backlogs;
use crate::live::{Live, has_died, is_running, phase_words};

/// What the configuration database said last.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Configured tasks.
    pub tasks: Vec<Task>,
    /// What is held.
    pub holds: Vec<Hold>,
    /// Runs, newest first.
    pub runs: Vec<RunRecord>,
    /// The last ones that had nothing to send, of each table and hour: they are not among the others.
    pub empty: Vec<RunRecord>,
    /// Rows that wait to be sent, as the daemon has counted them.
    pub backlogs: Backlogs,
}

/// What is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All tasks.
    List,
    /// Everything about the selected one; the number of lines scrolled past.
    Details(usize),
}

/// How a task stands, in order of urgency for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its process died; the next run settles what it left.
    Died,
    /// A failure holds it.
    Suspended,
    /// The last run failed.
    Failed,
    /// An operator holds it.
    Paused,
    /// Under way.
    Running,
    /// Nothing to tell.
    Ready,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Task number.
    pub task: u32,
    /// The task's name; empty where it has none.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// That in a word.
    pub state: String,
    /// The current or last table.
    pub table: String,
    /// `source → dest`; empty for a task that is configured no more.
    pub links: String,
}

/// Everything.
#[derive(Debug)]
pub struct Model {
    /// Home directory, for the title.
    pub home: String,
    /// Shared memory, or why it cannot be read.
    pub live: Result<Live, String>,
    /// Parameters of the selected task, as its process has published them.
    pub params: Option<Value>,
    /// The configuration database.
    pub books: Books,
    /// Why that is old or missing.
    pub books_error: Option<String>,
    /// What is on the screen.
    pub view: View,
    /// Whether tasks at rest are left out.
    pub only_active: bool,
    /// An answer to the last key, and since when it has stood there, milliseconds.
    pub message: Option<(String, u64)>,
    selected: Option<u32>,
    meters: BTreeMap<u32, Meter>,
}

/// How long an answer stays.
const MESSAGE_MS: u64 = 8_000;

impl Model {
    /// Knows nothing yet.
    pub fn new(home: String) -> Model {
        Model {
            home,
            live: Ok(Live { at_ms: 0, controller: None, tasks: Vec::new() }),
            params: None,
            books: Books::default(),
            books_error: None,
            view: View::List,
            only_active: false,
            message: None,
            selected: None,
            meters: BTreeMap::new(),
        }
    }

    /// Takes in a look at shared memory.
    pub fn look(&mut self, live: Result<Live, String>) {
        if let Ok(live) = &live {
            for task in &live.tasks {
                self.meters.entry(task.task_id).or_default().look(Some(task), live.at_ms);
            }
            for (id, meter) in &mut self.meters {
                if live.task(*id).is_none() {
                    meter.look(None, live.at_ms);
                }
            }
            if self.message.as_ref().is_some_and(|(_, since)| since + MESSAGE_MS < live.at_ms) {
                self.message = None;
            }
        }
        self.live = live;
        self.keep_selection();
    }

    /// Takes in what the configuration database says.
    pub fn read(&mut self, books: Result<Books, String>) {
        match books {
            Ok(books) => {
                self.books = books;
                self.books_error = None;
            }
            Err(why) => self.books_error = Some(why),
        }
        self.keep_selection();
    }

    /// Answers a key.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some((text.into(), self.now_ms()));
    }

    /// The moment shown, milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.at_ms)
    }

    /// The selected task.
    pub fn selected(&self) -> Option<u32> {
        self.selected
    }

    /// Moves the selection in the list, or scrolls the details.
    pub fn step(&mut self, by: isize) {
        if let View::Details(line) = &mut self.view {
            *line = line.saturating_add_signed(by);
            return;
        }
        let rows = self.rows();
        let at = rows.iter().position(|r| Some(r.task) == self.selected).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.selected = rows.get(to).map(|r| r.task);
    }

    fn keep_selection(&mut self) {
        let rows = self.rows();
        if !rows.iter().any(|r| Some(r.task) == self.selected) {
            self.selected = rows.first().map(|r| r.task);
        }
    }

    /// Shows or leaves out tasks at rest.
    pub fn toggle_active(&mut self) {
        self.only_active = !self.only_active;
        self.keep_selection();
    }

    /// The list, by number: configured tasks, and others that run.
    pub fn rows(&self) -> Vec<Row> {
        let live = self.live.as_ref().ok();
        let mut ids: Vec<u32> = self.books.tasks.iter().map(|t| t.id).collect();
        ids.extend(live.iter().flat_map(|l| l.tasks.iter().map(|t| t.task_id)));
        ids.sort_unstable();
        ids.dedup();
        let rows = ids.into_iter().map(|id| self.row(id));
        rows.filter(|r| !self.only_active || r.standing != Standing::Ready).collect()
    }

    fn row(&self, id: u32) -> Row {
        let seen = self.live.as_ref().ok().and_then(|live| live.task(id));
        let configured = self.configured(id);
        let hold = self.hold(id);
        let last = self.last_run(id);
        let (standing, state) = match (seen, hold) {
            (Some(task), _) if is_running(task) => (Standing::Running, phase_words(task)),
            (_, Some(hold)) => match hold.kind {
                HoldKind::Suspended => (Standing::Suspended, "suspended".to_owned()),
                HoldKind::Paused => (Standing::Paused, "paused".to_owned()),
            },
            (Some(task), _) if has_died(task) => (Standing::Died, "died".to_owned()),
            // A run that fails before it has begun is recorded nowhere else.
            (Some(task), _) if task.outcome == Outcome::Failed => {
                (Standing::Failed, "failed".to_owned())
            }
            // Runs without rows are not among those that are listed.
            (Some(task), _)
                if task.ended_ms > 0
                    && matches!(task.outcome, Outcome::Succeeded | Outcome::DoneWithErrors) =>
            {
                (Standing::Ready, "ready".to_owned())
            }
            _ => match last.map(|r| r.state) {
                Some(RunState::Failed) => (Standing::Failed, "failed".to_owned()),
                _ => (Standing::Ready, "ready".to_owned()),
            },
        };
        let table = match seen.filter(|t| is_running(t) || has_died(t)) {
            Some(task) => task.table.clone(),
            None => tables_words(configured),
        };
        let links = configured.map(|t| format!("{} → {}", t.source, t.dest)).unwrap_or_default();
        let name = configured.and_then(|t| t.name.clone()).unwrap_or_default();
        Row { task: id, name, standing, state, table, links }
    }

    /// A task as it is configured.
    pub fn configured(&self, id: u32) -> Option<&Task> {
        self.books.tasks.iter().find(|t| t.id == id)
    }

    /// A task's number and name.
    pub fn label(&self, id: u32) -> String {
        self.configured(id).map_or_else(|| id.to_string(), Task::label)
    }

    /// What holds a whole task.
    pub fn hold(&self, id: u32) -> Option<&Hold> {
        self.books.holds.iter().find(|h| h.task == id && h.table.is_none())
    }

    /// Runs of a task, newest first.
    pub fn runs(&self, id: u32) -> impl Iterator<Item = &RunRecord> {
        self.books.runs.iter().filter(move |r| r.task == id)
    }

    fn last_run(&self, id: u32) -> Option<&RunRecord> {
        self.ended(id).max_by_key(|r| r.end)
    }

    /// Runs of a task that are over, those that had nothing to send among them.
    fn ended(&self, id: u32) -> impl Iterator<Item = &RunRecord> {
        let empty = self.books.empty.iter().filter(move |r| r.task == id);
        self.runs(id).filter(|r| r.state != RunState::Open).chain(empty)
    }

    /// When the last run of a table ended.
    pub fn last_end(&self, id: u32, table: &str) -> Option<Timestamp> {
        self.ended(id).filter(|run| run.table == table).filter_map(|run| run.end).max()
    }

    /// How the newest run that is over ended, and how long ago: `done 3 min ago`.
    pub fn last_words(&self, id: u32) -> String {
        let seen = self.live.as_ref().ok().and_then(|live| live.task(id));
        if let Some(task) = seen.filter(|t| t.ended_ms > 0) {
            let word = match task.outcome {
                Outcome::Succeeded => "done",
                Outcome::DoneWithErrors => "done with errors",
                Outcome::Interrupted => "stopped",
                Outcome::Failed | Outcome::Open => "failed",
            };
            let ago = crate::live::span(self.now_ms().saturating_sub(task.ended_ms));
            return format!("{word} {ago} ago");
        }
        let Some(run) = self.last_run(id) else { return "never ran".to_owned() };
        let end = run.end.unwrap_or(run.begin);
        let word = match run.state {
            RunState::Interrupted => "stopped".to_owned(),
            _ => crate::command::run_state(run),
        };
        format!("{word} {} ago", crate::live::span(self.since_ms(end)))
    }

    /// Milliseconds from `then` to the moment shown.
    pub fn since_ms(&self, then: Timestamp) -> u64 {
        self.now_ms().saturating_sub(then.as_millisecond().max(0) as u64)
    }

    /// A task's speed.
    pub fn meter(&self, id: u32) -> Option<&Meter> {
        self.meters.get(&id)
    }

    /// Rows and bytes per second of all tasks.
    pub fn speed(&self) -> (f64, f64) {
        self.meters.values().map(Meter::speed).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Rows of all tasks in each of the last `n` seconds.
    pub fn speed_history(&self, n: usize) -> Vec<u64> {
        let mut sums = Vec::new();
        for meter in self.meters.values() {
            let rows = meter.last(n);
            if rows.len() > sums.len() {
                sums.splice(0..0, std::iter::repeat_n(0, rows.len() - sums.len()));
            }
            let at = sums.len() - rows.len();
            sums[at..].iter_mut().zip(rows).for_each(|(sum, rows)| *sum += rows);
        }
        sums
    }
}

fn tables_words(task: Option<&Task>) -> String {
    match task.map(|t| t.tables.as_slice()) {
        None | Some([]) => String::new(),
        Some([one]) => one.name.clone(),
        Some(many) => format!("{} tables", many.len()),
    }
}
