//! What a table run shows of itself while it runs: to the task table in shared memory, and to
//! whoever runs it in the foreground.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ssync_common::error::Error;
use ssync_common::process::RunId;
use ssync_common::shm::ring::Ring;
use ssync_common::shm::waiting::Outcome;
pub use ssync_common::shm::waiting::{Phase, Waiting};
use ssync_common::shm::{TaskSlot, TaskTable};

use crate::counts::Counts;
use crate::pace::Pace;
use crate::reading::ReadCounters;
use crate::report::TaskReport;

/// A moment of a run.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Table.
    pub table: String,
    /// What the run is doing.
    pub phase: Phase,
    /// What it waits for.
    pub waiting: Waiting,
    /// Why the attempt before failed, while it waits for the next one.
    pub failure: Option<String>,
    /// The books so far.
    pub counts: Counts,
    /// Seconds since the table began.
    pub seconds: f64,
}

/// Where moments go.
pub struct Progress {
    slot: Option<Arc<TaskSlot>>,
    show: Box<dyn FnMut(&Moment)>,
    moment: Moment,
    began: Instant,
}

impl Progress {
    /// Shows in the task table (where there is one) and through `show`.
    pub fn new(slot: Option<TaskSlot>, show: Box<dyn FnMut(&Moment)>) -> Self {
        let moment = Moment {
            table: String::new(),
            phase: Phase::Starting,
            waiting: Waiting::Nothing,
            failure: None,
            counts: Counts::default(),
            seconds: 0.0,
        };
        Progress { slot: slot.map(Arc::new), show, moment, began: Instant::now() }
    }

    /// The task table it shows in.
    pub fn task_table(&self) -> Option<TaskTable> {
        self.slot.as_ref().map(|slot| slot.table().clone())
    }

    /// The run waits for something, or no longer does.
    pub fn wait(&mut self, waiting: Waiting) {
        if self.moment.waiting != waiting {
            self.moment.waiting = waiting;
            self.out();
        }
    }

    /// The run waits for its next attempt, why, and for how long.
    pub fn wait_to_retry(&mut self, why: &Error, wait: Duration) {
        if let Some(slot) = &self.slot {
            slot.set_retry(why, wait);
        }
        self.moment.failure = Some(why.to_string());
        self.wait(Waiting::Retry);
    }

    /// The next attempt begins.
    pub fn retry(&mut self) {
        if let Some(slot) = &self.slot {
            slot.clear_error();
        }
        self.moment.failure = None;
        self.wait(Waiting::Nothing);
    }

    /// How often somebody has said that there is something new to look at.
    pub fn pokes(&self) -> impl Fn() -> u64 + Send + 'static {
        let slot = self.slot.clone();
        move || slot.as_ref().map_or(0, |slot| slot.pokes())
    }

    /// A table begins.
    pub fn begin(&mut self, table: &str) {
        self.began = Instant::now();
        self.moment.table = table.to_owned();
        self.moment.counts = Counts::default();
        self.moment.failure = None;
        if let Some(slot) = &self.slot {
            slot.begin_table(table);
        }
        self.phase(Phase::Starting);
    }

    /// The table's run, as history names it.
    pub fn run(&mut self, run: RunId) {
        if let Some(slot) = &self.slot {
            slot.set_table_run(run);
        }
    }

    /// A table has ended.
    pub fn end(&mut self, error: Option<&Error>) {
        self.phase(Phase::Closing);
        if let Some(slot) = &self.slot {
            match error {
                Some(error) => slot.set_error(error),
                None => slot.end_table(),
            }
        }
    }

    /// The run does something else now.
    pub fn phase(&mut self, phase: Phase) {
        self.moment.phase = phase;
        self.moment.waiting = Waiting::Nothing;
        self.out();
    }

    /// Rows have moved, or have not.
    pub fn publish(
        &mut self,
        counts: &Counts,
        before: &Counts,
        read: &ReadCounters,
        pace: &Pace,
        busy: bool,
    ) {
        self.moment.counts = *counts;
        self.moment.counts.read = before.read + read.read.load(Ordering::Relaxed);
        self.moment.waiting = match (busy, read.waits_for_slot.load(Ordering::Relaxed)) {
            (true, true) => Waiting::Destination,
            (true, false) => Waiting::Nothing,
            (false, true) => Waiting::Batch,
            (false, false) => Waiting::SourceRead,
        };
        if pace.waits() {
            self.moment.waiting = Waiting::Throttle;
        }
        self.out();
    }

    fn out(&mut self) {
        self.moment.seconds = self.began.elapsed().as_secs_f64();
        if let Some(slot) = &self.slot {
            show_in(slot, &self.moment);
        }
        (self.show)(&self.moment);
    }

    /// The task has ended.
    pub fn finish(&mut self, report: &TaskReport) {
        if let Some(slot) = &self.slot {
            slot.finish(match report.exit_code() {
                0 => Outcome::Succeeded,
                130 => Outcome::Interrupted,
                _ if report.is_done_with_errors() => Outcome::DoneWithErrors,
                _ => Outcome::Failed,
            });
        }
    }

    /// Shows what each writer does, as it says in the ring.
    pub fn writers(&self, ring: &Ring) {
        let Some(slot) = &self.slot else { return };
        for n in 0..ring.writers() {
            if let (Ok(here), Ok(there)) = (ring.writer(n), slot.writer(n)) {
                there.set(&here.view());
            }
        }
    }
}

fn show_in(slot: &TaskSlot, moment: &Moment) {
    let (to, from) = (slot.counters(), &moment.counts);
    for (cell, value) in [
        (&to.rows_claimed, from.claimed),
        (&to.rows_read, from.read),
        (&to.rows_landed, from.landed),
        (&to.rows_settled, from.settled),
        (&to.rows_failed, from.failed),
        (&to.rows_withdrawn, from.withdrawn),
        (&to.rows_skipped, from.skipped),
        (&to.rows_changed, from.changed),
        (&to.batches_landed, from.batches),
        (&to.bytes_landed, from.bytes),
    ] {
        cell.store(value, Ordering::Relaxed);
    }
    slot.set_phase(moment.phase);
    slot.wait(moment.waiting);
    slot.beat();
}
