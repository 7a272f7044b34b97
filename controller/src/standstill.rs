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
    /// seen for the first time, or waits for people or for its turn.
    pub fn look(&mut self, task: &TaskView, run: &str, now: Instant) -> Duration {
        let moving = Moving::of(task);
        let waits =
            matches!(task.wait.waiting_for, Waiting::Paused | Waiting::Window | Waiting::Permit);
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
