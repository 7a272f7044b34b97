//! What readers of the task table get: plain values, ready to be shown or serialised.

use serde::{Deserialize, Serialize};

use crate::process::identity::{ProcessIdentity, RunId};
use crate::shm::waiting::{Outcome, Phase, TaskState, WaitView};
use crate::shm::writer_entry::WriterView;

/// The counters, as read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // As in `Counters`.
pub struct CountersView {
    pub rows_claimed: u64,
    pub rows_read: u64,
    pub rows_landed: u64,
    pub rows_settled: u64,
    pub rows_failed: u64,
    pub rows_withdrawn: u64,
    pub rows_skipped: u64,
    pub rows_changed: u64,
    pub batches_landed: u64,
    pub bytes_read: u64,
    pub bytes_landed: u64,
}

/// One task, as read. Times are milliseconds since 1970, 0 when they have not come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Slot number.
    pub slot: usize,
    /// Whether a living process owns the slot. A task that is `running` without is dead, and its
    /// rows wait for the next run's recovery.
    pub alive: bool,
    /// State (A24).
    pub state: TaskState,
    /// How it ended.
    pub outcome: Outcome,
    /// Task number.
    pub task_id: u32,
    /// A random id of the process.
    pub run_id: Option<RunId>,
    /// The process.
    pub owner: Option<ProcessIdentity>,
    /// The current or last table.
    pub table: String,
    /// Its run, as history names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_run: Option<RunId>,
    /// The last error.
    pub error: Option<String>,
    /// When the table that failed is tried again, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<u64>,
    /// Why names and error are missing: their writer died or is stopped in the midst of a write.
    pub damage: Option<String>,
    /// Where it stands.
    pub phase: Phase,
    /// What it waits for.
    #[serde(flatten)]
    pub wait: WaitView,
    /// Start of the run.
    pub started_ms: u64,
    /// Start of the current table.
    pub table_started_ms: u64,
    /// Last sign of life.
    pub updated_ms: u64,
    /// End of the run.
    pub ended_ms: u64,
    /// Tables finished.
    pub tables_done: u32,
    /// Tables in this run.
    pub tables_total: u32,
    /// Progress of the current table.
    pub counters: CountersView,
    /// Writers that were started.
    pub writers: Vec<WriterView>,
}

/// The controller, as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerView {
    /// Whether it runs.
    pub alive: bool,
    /// Its process id; of the last one, when none runs.
    pub pid: u32,
    /// Start, milliseconds since 1970.
    pub started_ms: u64,
    /// Last sign of life, milliseconds since 1970.
    pub heartbeat_ms: u64,
}

/// Requests to the controller so far. It acts when a number differs from the one it saw last, so
/// that none is lost and none is served twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Times that somebody asked it to finish and leave (A28).
    pub stop: u64,
    /// Times that somebody asked it to read its configuration again.
    pub reload: u64,
}
