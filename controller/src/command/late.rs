//! Schedules whose firing is due and has not started, and tasks that cannot be started.

use jiff::Timestamp;
use ssync_common::config::Config;
use ssync_common::store::Home;

use crate::daemon::decide::CANNOT_START;
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
    left.iter().filter(configured).filter_map(|left| look(left, &journal, now)).collect()
}

/// Tasks that the daemon would have started and could not, with the reason: a password that is not
/// set, a variable that its environment lacks.
pub fn unable(home: &Home, config: &Config) -> Vec<(u32, String)> {
    let journal = Journal::read(home);
    let last = |task: u32| journal.of(task, None).into_iter().next_back();
    let ids = config.tasks.iter().map(|task| task.id);
    ids.filter_map(|id| Some((id, last(id)?)))
        .filter(|(_, d)| d.what == Happened::Skipped && d.reason.starts_with(CANNOT_START))
        .map(|(id, decision)| (id, decision.reason))
        .collect()
}

fn look(left: &Remembered, journal: &Journal, now: Timestamp) -> Option<Late> {
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
        Some(task) if running => Some(format!("task {task} of the firing before still runs")),
        Some(task) => {
            let why = journal.of(task, Some(schedule)).into_iter().rev();
            let mut why =
                why.filter(|d| d.what == Happened::Waiting && d.schedule == Some(schedule));
            let words = |d: Decision| format!("task {task} waits: {}", d.reason);
            why.find(|d| d.due == Some(due)).map(words)
        }
        None => None,
    };
    Some(Late { schedule, due, secs, reason })
}
