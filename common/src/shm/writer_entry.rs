//! What a writer process reports about itself while it works.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::now_ms;
use super::segment::shared_struct;
use super::waiting::{WaitView, Waiting, WriterState};

shared_struct! {
    /// One writer's line in shared memory. Written by that writer alone (in the ring) or by the
    /// task process alone (in the task table, a copy); read by anybody. Each number is whole by
    /// itself; they are not promised to belong to the same moment.
    pub struct WriterEntry (64) {
        pid: AtomicU32,
        state: AtomicU32,
        waiting: AtomicU32,
        restarts: AtomicU32,
        waiting_since_ms: AtomicU64,
        heartbeat_ms: AtomicU64,
        batches: AtomicU64,
        rows: AtomicU64,
        bytes: AtomicU64,
    }
}
const _: () = assert!(size_of::<WriterEntry>() == 64 && align_of::<WriterEntry>() == 64);

/// A writer's entry, as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterView {
    /// Process id; 0 before the first start.
    pub pid: u32,
    /// What it does.
    pub state: WriterState,
    /// What it waits for.
    #[serde(flatten)]
    pub wait: WaitView,
    /// When it last reported, milliseconds since 1970.
    pub heartbeat_ms: u64,
    /// Times that it was started again.
    pub restarts: u32,
    /// Batches landed.
    pub batches: u64,
    /// Rows landed.
    pub rows: u64,
    /// Bytes of landed batches, as they lay in the ring.
    pub bytes: u64,
}

impl WriterEntry {
    /// The writer `pid` has started.
    pub fn start(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
        self.state(WriterState::Starting);
        self.wait(Waiting::Nothing);
    }

    /// Sets the state.
    pub fn state(&self, state: WriterState) {
        self.state.store(state.code(), Ordering::Relaxed);
        self.beat();
    }

    /// Says what is waited for from now on.
    pub fn wait(&self, waiting: Waiting) {
        set_wait(&self.waiting, &self.waiting_since_ms, waiting);
        self.beat();
    }

    /// A batch of `rows` rows and `bytes` bytes has landed.
    pub fn landed(&self, rows: u64, bytes: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.beat();
    }

    /// The writer was started again in the place of a dead one.
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Still here.
    pub fn beat(&self) {
        self.heartbeat_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// What stands here.
    pub fn view(&self) -> WriterView {
        WriterView {
            pid: self.pid.load(Ordering::Relaxed),
            state: WriterState::from_code(self.state.load(Ordering::Relaxed)),
            wait: get_wait(&self.waiting, &self.waiting_since_ms),
            heartbeat_ms: self.heartbeat_ms.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Takes over what was read elsewhere.
    pub fn set(&self, view: &WriterView) {
        self.pid.store(view.pid, Ordering::Relaxed);
        self.state.store(view.state.code(), Ordering::Relaxed);
        self.waiting.store(view.wait.waiting_for.code(), Ordering::Relaxed);
        self.waiting_since_ms.store(view.wait.since_ms, Ordering::Relaxed);
        self.heartbeat_ms.store(view.heartbeat_ms, Ordering::Relaxed);
        self.restarts.store(view.restarts, Ordering::Relaxed);
        self.batches.store(view.batches, Ordering::Relaxed);
        self.rows.store(view.rows, Ordering::Relaxed);
        self.bytes.store(view.bytes, Ordering::Relaxed);
    }

    /// Back to "no such writer".
    pub fn clear(&self) {
        self.set(&WriterView {
            pid: 0,
            state: WriterState::Absent,
            wait: WaitView { waiting_for: Waiting::Nothing, since_ms: 0 },
            heartbeat_ms: 0,
            restarts: 0,
            batches: 0,
            rows: 0,
            bytes: 0,
        });
    }
}

/// Stores what is waited for; "since" moves only when that changes.
pub(super) fn set_wait(waiting: &AtomicU32, since_ms: &AtomicU64, new: Waiting) {
    if waiting.swap(new.code(), Ordering::Relaxed) != new.code() {
        let since = if new == Waiting::Nothing { 0 } else { now_ms() };
        since_ms.store(since, Ordering::Relaxed);
    }
}

pub(super) fn get_wait(waiting: &AtomicU32, since_ms: &AtomicU64) -> WaitView {
    WaitView {
        waiting_for: Waiting::from_code(waiting.load(Ordering::Relaxed)),
        since_ms: since_ms.load(Ordering::Relaxed),
    }
}
