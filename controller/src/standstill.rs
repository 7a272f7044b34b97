//! How long a running task has made no progress, seen in the task table. A sign of life is none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ssync_common::shm::TaskView;
use ssync_common::shm::waiting::Waiting;

/// What has been seen of running tasks.
#[derive(Debug, Default)]
pub struct Standstill {
    /// By run: what moves, and when it was first seen so.
    seen: BTreeMap<String, (Moving, Instant)>,
}

/// Everything of a task that changes when it gets on.
#[derive(Debug, Clone, PartialEq)]
struct Moving {
    table: String,
    phase: u32,
    tables_done: u32,
    rows: Vec<u64>,
}

impl Moving {
    fn of(task: &TaskView) -> Moving {
        let c = &task.counters;
        let own = [
            c.rows_claimed,
            c.rows_read,
            c.rows_landed,
            c.rows_settled,
            c.rows_failed,
            c.rows_withdrawn,
            c.rows_skipped,
            c.rows_changed,
            c.batches_landed,
            c.bytes_read,
            c.bytes_landed,
        ];
        Moving {
            table: task.table.clone(),
            phase: task.phase.code(),
            tables_done: task.tables_done,
            rows: own.into_iter().chain(task.writers.iter().map(|w| w.rows)).collect(),
        }
    }
}

impl Standstill {
    /// Looks at a task as it is `now`: how long nothing of it has moved; zero when it gets on, is
    /// seen for the first time, or waits for what is no standstill to who asks.
    pub fn look(
        &mut self,
        task: &TaskView,
        run: &str,
        now: Instant,
        excused: &[Waiting],
    ) -> Duration {
        let moving = Moving::of(task);
        let waits = excused.contains(&task.wait.waiting_for);
        match self.seen.get(run) {
            Some((before, since)) if *before == moving && !waits => now.duration_since(*since),
            _ => {
                self.seen.insert(run.to_owned(), (moving, now));
                Duration::ZERO
            }
        }
    }

    /// Whether the run has been looked at before.
    pub fn knows(&self, run: &str) -> bool {
        self.seen.contains_key(run)
    }

    /// Forgets every other run.
    pub fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.seen.retain(|run, _| is_kept(run));
    }
}

#[cfg(test)]
mod tests {
    use ssync_common::process::RunId;
    use ssync_common::shm::TaskTable;

    use super::*;

    #[test]
    fn what_is_excused_is_no_standstill_and_the_time_begins_anew_after_it() {
        let home = tempfile::tempdir().unwrap();
        let table = TaskTable::open_or_create(home.path()).unwrap();
        let slot = table.acquire(7, RunId::random().unwrap(), 1).unwrap();
        let (mut standstill, start) = (Standstill::default(), Instant::now());
        let mut look = |secs: u64, excused: &[Waiting]| {
            let task = &table.snapshot().unwrap()[0];
            standstill.look(task, "run", start + Duration::from_secs(secs), excused).as_secs()
        };
        slot.wait(Waiting::Permit);
        assert_eq!(look(0, &[]), 0);
        assert_eq!(look(10, &[]), 10);
        assert_eq!(look(20, &[Waiting::Configuration]), 20);
        assert_eq!(look(30, &[Waiting::Permit]), 0);
        slot.wait(Waiting::Nothing);
        assert_eq!(look(40, &[Waiting::Permit]), 10);
        drop(slot);
        drop(table);
        TaskTable::remove(home.path()).unwrap();
    }
}
