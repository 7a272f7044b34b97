//! Tasks and tables as tests want them.

#![allow(clippy::unwrap_used)]

use ssync_common::process::RunId;
use ssync_common::shm::waiting::{Outcome, Phase, TaskState, WaitView, Waiting, WriterState};
use ssync_common::shm::{TaskView, WriterView};

/// A task that transfers a table.
pub fn task(id: u32, table: &str) -> TaskView {
    TaskView {
        slot: id as usize,
        alive: true,
        state: TaskState::Running,
        outcome: Outcome::Open,
        task_id: id,
        run_id: Some(RunId([id as u8; 16])),
        owner: None,
        table: table.to_owned(),
        table_run: None,
        error: None,
        retry_at_ms: None,
        damage: None,
        phase: Phase::Transferring,
        wait: WaitView { waiting_for: Waiting::Nothing, since_ms: 0 },
        started_ms: 1,
        table_started_ms: 1,
        updated_ms: 1,
        ended_ms: 0,
        tables_done: 0,
        tables_total: 1,
        counters: Default::default(),
        writers: Vec::new(),
    }
}

/// A writer at work.
pub fn writer(pid: u32, rows: u64) -> WriterView {
    WriterView {
        pid,
        state: WriterState::Busy,
        wait: WaitView { waiting_for: Waiting::Destination, since_ms: 0 },
        heartbeat_ms: 0,
        restarts: 0,
        batches: rows / 10_000,
        rows,
        bytes: rows * 100,
    }
}
