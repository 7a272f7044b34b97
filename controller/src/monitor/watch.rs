//! Tasks that are stuck or dead, seen in the task table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ssync_common::event::{Event, What};
use ssync_common::shm::TaskView;
use ssync_common::shm::waiting::{TaskState, Waiting};

use crate::live::{Pulse, span};
use crate::standstill::Standstill;
use crate::terminal::counted;

/// A task that waits for people, because people want it slow, or for its next attempt, is not stuck. One that waits for
/// connections, or for the configuration database, somebody should know of.
const EXCUSED: [Waiting; 4] = [Waiting::Paused, Waiting::Window, Waiting::Throttle, Waiting::Retry];

/// A living controller notices the death of a task of its own at once, and records it. So long a
/// monitor waits for that, before it takes the death to be nobody else's business: of a run in the
/// foreground, or of one whose controller is dead as well.
const OTHERS_TIME: Duration = Duration::from_secs(3);

/// A watchdog or service manager that brings the controller back has so long before people are
/// told that it is down.
const DOWN_TIME: Duration = Duration::from_secs(10);

/// What has been seen of the running tasks, and of the controller.
#[derive(Default)]
pub struct Watch {
    standstill: Standstill,
    /// Runs seen dead, since when, and what is to be told unless others do.
    dying: BTreeMap<String, (Instant, Event, u64)>,
    /// Runs that were told to be stuck, and do not move yet.
    pub stuck: BTreeSet<String>,
    /// Runs whose death was told.
    pub dead: BTreeSet<String>,
    /// Whether it was told that the controller is down.
    pub controller_down: bool,
    down_since: Option<Instant>,
}

impl Watch {
    /// Goes on where a monitor before this one ended.
    pub fn new(stuck: BTreeSet<String>, dead: BTreeSet<String>, controller_down: bool) -> Watch {
        Watch { stuck, dead, controller_down, ..Watch::default() }
    }

    /// Looks at the controller; what is to be told.
    pub fn look_at_controller(&mut self, pulse: Pulse, now: Instant) -> Option<Event> {
        let words = match pulse {
            Pulse::Alive { .. } | Pulse::Stopped => {
                (self.controller_down, self.down_since) = (false, None);
                return None;
            }
            Pulse::Dead => "the daemon has died".to_owned(),
            Pulse::Hangs { pid, age_ms } => {
                format!("the daemon does not respond (process {pid}, for {})", span(age_ms))
            }
        };
        let since = *self.down_since.get_or_insert(now);
        if self.controller_down || now.duration_since(since) < DOWN_TIME {
            return None;
        }
        self.controller_down = true;
        let text = format!("{words}: schedules do not fire until it is started again");
        Some(Event::new(What::ControllerDown, text))
    }

    /// Looks at all tasks of the table as they are `now`; what is to be told. `is_told` says
    /// whether the death of a run, last seen at that time (milliseconds since 1970), is told
    /// already.
    pub fn look(
        &mut self,
        tasks: &[TaskView],
        now: Instant,
        deadline: Duration,
        is_told: impl Fn(&str, u64) -> bool,
    ) -> Vec<Event> {
        let mut news = Vec::new();
        let mut running = BTreeSet::new();
        for task in tasks.iter().filter(|t| t.state == TaskState::Running) {
            let Some(run) = task.run_id.map(|run| run.to_string()) else { continue };
            running.insert(run.clone());
            if !task.alive {
                if !self.dead.contains(&run) {
                    let event = died(task).of_run(task.table_run).of_death(&run);
                    self.dying.entry(run).or_insert((now, event, task.updated_ms));
                }
                continue;
            }
            news.extend(self.movement(task, &run, now, deadline).map(|e| e.of_run(task.table_run)));
        }
        // Also of those whose place in the table another run has taken meanwhile.
        let (due, dying) = std::mem::take(&mut self.dying)
            .into_iter()
            .partition(|(_, (since, ..))| now.duration_since(*since) >= OTHERS_TIME);
        self.dying = dying;
        let due: BTreeMap<String, (Instant, Event, u64)> = due;
        for (run, (_, event, seen_ms)) in due {
            if !is_told(&run, seen_ms) {
                news.push(event);
            }
            self.dead.insert(run);
        }
        // What is not in the table any more cannot be told again either.
        self.standstill.keep(|run| running.contains(run));
        self.stuck.retain(|run| running.contains(run));
        self.dead.retain(|run| running.contains(run));
        news
    }

    fn movement(
        &mut self,
        task: &TaskView,
        run: &str,
        now: Instant,
        deadline: Duration,
    ) -> Option<Event> {
        let known = self.standstill.knows(run);
        let stood = self.standstill.look(task, run, now, &EXCUSED);
        if stood.is_zero() {
            // The first look after a start says nothing about what was before.
            let told = known && self.stuck.remove(run);
            return told.then(|| moves(task));
        }
        if stood < deadline || !self.stuck.insert(run.to_owned()) {
            return None;
        }
        Some(stuck(task, stood))
    }
}

fn about(task: &TaskView) -> String {
    match task.table.as_str() {
        "" => format!("task {}", task.task_id),
        table => format!("task {}, table {table}", task.task_id),
    }
}

fn event(what: What, task: &TaskView, text: String) -> Event {
    match task.table.as_str() {
        "" => Event::new(what, text).of_task(task.task_id),
        table => Event::new(what, text).of_table(task.task_id, table),
    }
}

fn stuck(task: &TaskView, how_long: Duration) -> Event {
    let waiting = match task.wait.waiting_for {
        Waiting::Nothing => String::new(),
        what => format!(", waiting for: {what}"),
    };
    let text = format!(
        "{} has made no progress for {} s (phase: {}{waiting}); {} landed so far",
        about(task),
        how_long.as_secs(),
        task.phase,
        counted(task.counters.rows_landed, "row"),
    );
    event(What::TaskStuck, task, text)
}

fn moves(task: &TaskView) -> Event {
    event(What::TaskMoves, task, format!("{} gets on again", about(task)))
}

fn died(task: &TaskView) -> Event {
    let pid = task.owner.as_ref().map(|o| format!(" (process {})", o.pid)).unwrap_or_default();
    let text = format!(
        "the task process{pid} of {} has died without ending its run; the next run settles what \
         has landed and sends the rest",
        about(task)
    );
    event(What::TaskDied, task, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ssync_common::process::RunId;
    use ssync_common::shm::TaskTable;
    use std::sync::atomic::Ordering;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(600);

    fn whats(news: Vec<Event>) -> Vec<What> {
        news.iter().map(|e| e.what).collect()
    }

    #[test]
    fn a_task_is_stuck_when_nothing_moves_and_is_told_once() {
        let home = tempfile::tempdir().unwrap();
        let table = TaskTable::open_or_create(home.path()).unwrap();
        let slot = table.acquire(7, RunId::random().unwrap(), 1).unwrap();
        slot.begin_table("orders");
        let (mut watch, start) = (Watch::default(), Instant::now());
        let look = |watch: &mut Watch, secs: u64| {
            let now = start + Duration::from_secs(secs);
            whats(watch.look(&table.snapshot().unwrap(), now, DEADLINE, |_, _| false))
        };
        assert_eq!(look(&mut watch, 0), []);
        assert_eq!(look(&mut watch, 599), []);
        // A sign of life is no progress.
        slot.beat();
        assert_eq!(look(&mut watch, 600), [What::TaskStuck]);
        assert_eq!(look(&mut watch, 5000), []);
        // Another monitor takes over.
        let mut watch = Watch::new(watch.stuck, watch.dead, false);
        assert_eq!(look(&mut watch, 5001), []);
        assert_eq!(look(&mut watch, 6001), []);
        slot.counters().rows_read.store(1, Ordering::Relaxed);
        assert_eq!(look(&mut watch, 6002), [What::TaskMoves]);
        // A pause is no standstill.
        slot.wait(Waiting::Paused);
        assert_eq!(look(&mut watch, 9000), []);
        slot.wait(Waiting::Nothing);
        assert_eq!(look(&mut watch, 9599), []);
        assert_eq!(look(&mut watch, 9600), [What::TaskStuck]);
        drop(slot);
        assert_eq!(look(&mut watch, 20_000), []);
        assert!(watch.stuck.is_empty());
        drop(table);
        TaskTable::remove(home.path()).unwrap();
    }
}
