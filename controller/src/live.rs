//! What runs at this moment, read from shared memory; how the controller is; words for both.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use ssync_common::error::Result;
use ssync_common::shm::task_table::ControllerView;
use ssync_common::shm::waiting::{Outcome, TaskState, WaitView};
use ssync_common::shm::{
    TaskTable, TaskView, Waiting, is_controller_alive, is_controller_wanted, now_ms,
};

/// A daemon that has not been heard of for so long hangs, milliseconds.
pub const HEARTBEAT_AGE_MS_MAX: u64 = 60_000;

/// How long a controller that lives may take to make its task table anew.
const RELINK_TIME_MAX: Duration = Duration::from_secs(3);
/// A pause between two looks at that.
const RELINK_LOOK: Duration = Duration::from_millis(20);

/// The task table at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Live {
    /// When it was read, milliseconds since 1970.
    pub at_ms: u64,
    /// The controller, alive or not; `None` when nothing has run since the host started.
    pub controller: Option<ControllerView>,
    /// Tasks that run, or have run; those without a readable name are left out.
    pub tasks: Vec<TaskView>,
}

impl Live {
    /// Reads the task table of `home`.
    ///
    /// # Errors
    /// When the table was laid out by another version.
    pub fn read(home: &Path) -> Result<Live> {
        // A home that does not exist yet has no memory either.
        if !home.exists() {
            return Live::of(None);
        }
        let began = Instant::now();
        loop {
            let live = Live::of(TaskTable::open(home)?.as_ref())?;
            // Somebody has removed the table: a controller that lives makes it anew.
            let is_missing = live.controller.is_none_or(|c| c.alive && c.pid == 0);
            if !is_missing || began.elapsed() >= RELINK_TIME_MAX || !is_controller_alive(home)? {
                return Ok(live);
            }
            std::thread::sleep(RELINK_LOOK);
        }
    }

    /// Reads this task table.
    pub fn of(table: Option<&TaskTable>) -> Result<Live> {
        let Some(table) = table else {
            return Ok(Live { at_ms: now_ms(), controller: None, tasks: Vec::new() });
        };
        let mut tasks = table.snapshot()?;
        tasks.retain(|t| t.run_id.is_some());
        // One a task: the one that lives, else the newest.
        tasks.sort_by_key(|t| (t.task_id, !t.alive, u64::MAX - t.started_ms));
        tasks.dedup_by_key(|t| t.task_id);
        Ok(Live { at_ms: now_ms(), controller: Some(table.controller()?), tasks })
    }

    /// What shared memory knows of a task.
    pub fn task(&self, id: u32) -> Option<&TaskView> {
        self.tasks.iter().find(|t| t.task_id == id)
    }

    /// Tasks under way.
    pub fn running(&self) -> impl Iterator<Item = &TaskView> {
        self.tasks.iter().filter(|t| is_running(t))
    }

    /// Whether a controller that lives has not been heard of for too long.
    pub fn is_silent(&self, controller: &ControllerView) -> bool {
        self.at_ms.saturating_sub(controller.heartbeat_ms) > HEARTBEAT_AGE_MS_MAX
    }

    /// The controller in a line.
    pub fn controller_words(&self) -> String {
        match self.controller {
            Some(c) if c.alive => {
                let age = self.at_ms.saturating_sub(c.heartbeat_ms);
                let heard = format!("process {}, last heartbeat {} ago", c.pid, span(age));
                match self.is_silent(&c) {
                    true => format!("daemon: not responding, {heard}"),
                    false => format!("daemon: running, {heard}"),
                }
            }
            _ => "daemon: not running".to_owned(),
        }
    }
}

/// Whether a task is under way.
pub fn is_running(task: &TaskView) -> bool {
    task.alive && task.state == TaskState::Running
}

/// Whether a task's process died in the midst of a run. Its rows wait for the next run's recovery.
pub fn has_died(task: &TaskView) -> bool {
    !task.alive && task.state == TaskState::Running
}

/// What a task process says of itself in the task table.
pub fn doing(entry: &TaskView) -> String {
    let table = if entry.table.is_empty() { "no table yet" } else { &entry.table };
    match entry.wait.waiting_for {
        Waiting::Nothing => format!("{table}: {}", entry.phase),
        Waiting::Retry => {
            let why = entry.error.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            format!("{table}: waits for {}{why}", Waiting::Retry)
        }
        waiting => format!("{table}: waits for {}", waited_for(waiting)),
    }
}

/// What is waited for, in words that need no explanation.
fn waited_for(waiting: Waiting) -> &'static str {
    match waiting {
        Waiting::Fence => "fence (a lock at the destination)",
        waiting => waiting.name(),
    }
}

/// What a task waits for, and how long it has, where there is room: see [`wait_words`].
pub fn long_wait_words(wait: &WaitView, now_ms: u64) -> String {
    let (name, words) = (wait.waiting_for.name(), wait_words(wait, now_ms));
    words
        .strip_prefix(name)
        .map_or(String::new(), |long| waited_for(wait.waiting_for).to_owned() + long)
}

/// What a running task does, in a word or two.
pub fn phase_words(task: &TaskView) -> String {
    if has_died(task) {
        return "died".to_owned();
    }
    match (task.state, task.outcome) {
        (TaskState::Running, _) if task.wait.waiting_for == Waiting::Paused => "paused".to_owned(),
        (TaskState::Running, _) => task.phase.name().to_owned(),
        (_, Outcome::Open) => task.state.name().to_owned(),
        (_, outcome) => outcome.name().to_owned(),
    }
}

/// What a task or writer waits for, and how long it has: `destination 3 s`. Empty when it works.
pub fn wait_words(wait: &WaitView, now_ms: u64) -> String {
    if wait.waiting_for == Waiting::Nothing {
        return String::new();
    }
    let name = wait.waiting_for.name();
    match now_ms.saturating_sub(wait.since_ms) {
        // Waits of a moment come and go; their length says nothing.
        ..1000 => name.to_owned(),
        long => format!("{name} {}", span(long)),
    }
}

/// A length of time in a unit that fits: `3 s`, `12 min`, `5 h`, `4 d`.
pub fn span(ms: u64) -> String {
    match ms / 1000 {
        secs @ ..100 => format!("{secs} s"),
        secs @ ..6000 => format!("{} min", secs / 60),
        secs @ ..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} d", secs / 86_400),
    }
}

/// How the controller is, for a watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// It runs, and was heard of lately.
    Alive {
        /// Its process.
        pid: u32,
        /// Milliseconds since it was heard of.
        age_ms: u64,
    },
    /// It runs, and has not been heard of for too long.
    Hangs {
        /// Its process.
        pid: u32,
        /// Milliseconds since it was heard of.
        age_ms: u64,
    },
    /// It does not run, and should: nobody has stopped it.
    Dead,
    /// It does not run, and need not.
    Stopped,
}

impl Pulse {
    /// Feels it.
    ///
    /// # Errors
    /// When the task table cannot be read.
    pub fn feel(home: &Path, age_ms_max: u64) -> Result<Pulse> {
        Ok(Pulse::of(&Live::read(home)?, home, age_ms_max))
    }

    /// By what was read of shared memory.
    pub fn of(live: &Live, home: &Path, age_ms_max: u64) -> Pulse {
        match live.controller {
            Some(c) if c.alive => {
                let (pid, age_ms) = (c.pid, live.at_ms.saturating_sub(c.heartbeat_ms));
                match age_ms > age_ms_max {
                    true => Pulse::Hangs { pid, age_ms },
                    false => Pulse::Alive { pid, age_ms },
                }
            }
            _ if is_controller_wanted(home) => Pulse::Dead,
            _ => Pulse::Stopped,
        }
    }

    /// For scripts: a word, then facts.
    pub fn line(&self) -> String {
        match self {
            Pulse::Alive { pid, age_ms } => format!("alive pid={pid} age_ms={age_ms}"),
            Pulse::Hangs { pid, age_ms } => format!("hangs pid={pid} age_ms={age_ms}"),
            Pulse::Dead => "dead".to_owned(),
            Pulse::Stopped => "stopped".to_owned(),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        matches!(self, Pulse::Alive { .. } | Pulse::Stopped)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn spans_are_short_and_never_zero_of_a_large_unit() {
        for (ms, text) in [
            (0, "0 s"),
            (99_999, "99 s"),
            (100_000, "1 min"),
            (5_999_000, "99 min"),
            (6_000_000, "1 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn a_controller_is_wanted_until_it_leaves_in_good_order() {
        let home = tempfile::tempdir().unwrap();
        let pulse = |age_ms_max| Pulse::feel(home.path(), age_ms_max).unwrap();
        assert_eq!(pulse(60_000), Pulse::Stopped);
        let table = TaskTable::open_or_create(home.path()).unwrap();
        let guard = table.become_controller().unwrap();
        let pid = std::process::id();
        assert!(matches!(pulse(60_000), Pulse::Alive { pid: p, .. } if p == pid));
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(matches!(pulse(1), Pulse::Hangs { pid: p, age_ms: 2.. } if p == pid));
        drop(guard);
        assert_eq!(pulse(60_000), Pulse::Dead);
        // Also when the host was restarted, and shared memory is empty.
        TaskTable::remove(home.path()).unwrap();
        assert_eq!(pulse(60_000), Pulse::Dead);
        let table = TaskTable::open_or_create(home.path()).unwrap();
        table.become_controller().unwrap().leave().unwrap();
        assert_eq!(pulse(60_000), Pulse::Stopped);
        TaskTable::remove(home.path()).unwrap();
    }
}
