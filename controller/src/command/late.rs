//! Schedules whose firing is due and has not started, and tasks that cannot be started, by what the
//! daemon leaves in `run`.

use jiff::Timestamp;
use ssync_common::config::{Config, TaskNames};
use ssync_common::store::Home;

use crate::daemon::control::Unable;
use crate::daemon::journal::{Decision, Happened, Journal};
use crate::daemon::memory::{Memory, Remembered};
use crate::daemon::timetable::Secs;

/// A firing that has not started by then is late.
const TOLERATED_SECS: i64 = 60;

/// A schedule that is late.
pub struct Late {
    pub schedule: u32,
    /// The moment of its firing.
    pub due: Timestamp,
    /// For how long it has been late, in seconds.
    pub secs: i64,
    /// The task that is to start, and why it does not, where that is known.
    pub reason: Option<String>,
}

/// What is late now, by what the daemon leaves for the next one.
pub fn late(home: &Home, config: &Config, now: Timestamp) -> Vec<Late> {
    let journal = Journal::read(home);
    let configured = |left: &&Remembered| {
        config.schedules.iter().any(|schedule| schedule.id == left.schedule.id)
    };
    let left = Memory::load(home).schedules;
    let names = TaskNames::of(&config.tasks);
    left.iter().filter(configured).filter_map(|left| look(left, &journal, &names, now)).collect()
}

/// Tasks that the daemon `pid` could not start when it was heard of last, for when it does not answer.
pub fn unable(home: &Home, pid: u32) -> Vec<Unable> {
    let left = Memory::load(home);
    // What a daemon before it has left may be mended by now.
    if left.pid == pid { left.unable } else { Vec::new() }
}

fn look(left: &Remembered, journal: &Journal, names: &TaskNames, now: Timestamp) -> Option<Late> {
    let (due, task): (Secs, Option<u32>) = match &left.under_way {
        Some(firing) if firing.current.is_none() => (firing.due, firing.remaining.front().copied()),
        // Tasks of the firing before still run, and further firings are to be made up for.
        Some(firing) => (left.backlog.first().copied()?, firing.current),
        None => (left.next, None),
    };
    let due = Timestamp::from_second(due).ok()?;
    let secs = now.duration_since(due).as_secs();
    if secs < TOLERATED_SECS {
        return None;
    }
    let schedule = left.schedule.id;
    let running = left.under_way.as_ref().is_some_and(|firing| firing.current.is_some());
    let reason = match task {
        Some(task) if running => {
            Some(format!("task {} of the firing before still runs", names.label(task)))
        }
        Some(task) => {
            let why = journal.of(task, Some(schedule)).into_iter().rev();
            let mut why =
                why.filter(|d| d.what == Happened::Waiting && d.schedule == Some(schedule));
            let words = |d: Decision| format!("task {} waits: {}", names.label(task), d.reason);
            why.find(|d| d.due == Some(due)).map(words)
        }
        None => None,
    };
    Some(Late { schedule, due, secs, reason })
}
