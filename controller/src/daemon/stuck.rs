//! Task processes that make no progress any more are ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ssync_common::shm::waiting::Waiting;

use super::core::Daemon;

/// Who waits for these has not begun, and would wait again: nothing is won by ending it.
const PATIENT: [Waiting; 6] = [
    Waiting::Paused,
    Waiting::Window,
    Waiting::Permit,
    Waiting::Configuration,
    // An operator wants it so, and it lasts no longer for being begun anew.
    Waiting::Throttle,
    // `retries` bounds it.
    Waiting::Retry,
];

impl Daemon {
    /// Once a second: ends what has stood still for longer than the configuration allows. Its
    /// writers die with it, its batches are settled by the ledger, its rows released by recovery.
    pub fn end_what_stands_still(&mut self) {
        let Some(known) = &self.known else { return };
        let limit = Duration::from_secs(known.config.controller.kill_after.secs());
        let (now, mut runs) = (Instant::now(), BTreeSet::new());
        for slot in self.slots() {
            let Some(job) = self.jobs.get_mut(&slot.task_id) else { continue };
            let is_its = slot.alive && slot.owner.as_ref().is_some_and(|o| o.pid == job.pid());
            let Some(run) = slot.run_id.filter(|_| is_its).map(|run| run.to_string()) else {
                continue;
            };
            let stood = self.standstill.look(&slot, &run, now, &PATIENT);
            runs.insert(run);
            if stood < limit || job.was_killed() {
                continue;
            }
            let words = format!(
                "ended after {} s without progress (phase: {}, waiting for: {}, table {})",
                stood.as_secs(),
                slot.phase,
                slot.wait.waiting_for,
                slot.table
            );
            log::error!(task = slot.task_id; "{words}");
            if let Err(e) = job.end_for(words) {
                log::error!(task = slot.task_id; "could not be ended: {e:?}");
            }
        }
        self.standstill.keep(|run| runs.contains(run));
    }
}
