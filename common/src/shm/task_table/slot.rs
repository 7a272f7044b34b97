//! One slot of the task table: its layout, its owner's side of it, and how it is read.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TaskTable;
use super::view::{CountersView, TaskView};
use crate::config::WRITERS_MAX;
use crate::error::{Error, Kind, Result};
use crate::process::identity::{ProcessIdentity, RunId};
use crate::shm::lock::ByteLock;
use crate::shm::now_ms;
use crate::shm::segment::shared_struct;
use crate::shm::seqlock::{SeqBytes, SeqHeader, Torn};
use crate::shm::waiting::{Outcome, Phase, TaskState, Waiting, WriterState};
use crate::shm::writer_entry::{WriterEntry, get_wait, set_wait};

/// Bytes of detailed parameters per task, as JSON.
pub const PARAMS_BYTES: usize = 64 << 10;
/// Bytes for the names and the last error of a task, as JSON.
const HEAD_BYTES: usize = 8 << 10;
/// Characters kept of a last error. JSON makes six bytes of one at the worst, names go beside it.
const ERROR_CHARS_MAX: usize = 600;
/// Characters kept of a table name.
const NAME_CHARS_MAX: usize = 256;
const WRITERS: usize = WRITERS_MAX as usize;

shared_struct! {
    /// Progress of the current table. The owner of the slot adds; each number is whole by itself.
    pub struct Counters (64) {
        /// Rows set from 0 to 1 at the source.
        pub rows_claimed: AtomicU64,
        /// Rows read.
        pub rows_read: AtomicU64,
        /// Rows landed.
        pub rows_landed: AtomicU64,
        /// Rows settled at the source.
        pub rows_settled: AtomicU64,
        /// Rows set to 3.
        pub rows_failed: AtomicU64,
        /// Rows edited or deleted by the application between claim and read.
        pub rows_withdrawn: AtomicU64,
        /// Rows that the destination had already, in write mode `ignore`.
        pub rows_skipped: AtomicU64,
        /// Rows changed by the application between read and settlement; they go again.
        pub rows_changed: AtomicU64,
        /// Batches landed.
        pub batches_landed: AtomicU64,
        /// Bytes read, as they lie in the ring.
        pub bytes_read: AtomicU64,
        /// Bytes landed, as they lay in the ring.
        pub bytes_landed: AtomicU64,
    }
}

shared_struct! {
    pub(super) struct SlotHeader (64) {
        state: AtomicU32,
        outcome: AtomicU32,
        phase: AtomicU32,
        waiting: AtomicU32,
        waiting_since_ms: AtomicU64,
        started_ms: AtomicU64,
        updated_ms: AtomicU64,
        ended_ms: AtomicU64,
        table_started_ms: AtomicU64,
        tables_done: AtomicU32,
        tables_total: AtomicU32,
        /// Times that somebody said there is something new for the task to look at.
        pokes: AtomicU64,
        head: SeqHeader,
        params: SeqHeader,
        counters: Counters,
        writers: [WriterEntry; WRITERS],
        head_bytes: [AtomicU8; HEAD_BYTES],
        params_bytes: [AtomicU8; PARAMS_BYTES],
    }
}
const _: () = assert!(size_of::<Counters>() == 128);
const _: () = assert!(size_of::<SlotHeader>().is_multiple_of(64));

/// What must be read whole: names and error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    task_id: u32,
    run_id: RunId,
    owner: ProcessIdentity,
    table: String,
    /// The table's run, as history names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table_run: Option<RunId>,
    error: Option<String>,
    /// When what has failed is tried again, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at_ms: Option<u64>,
}

fn shorten(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A task's slot, owned until dropped. May be shared between threads.
///
/// Every setter is also a sign of life. Nothing here fails a task: what does not fit is cut.
#[derive(Debug)]
pub struct TaskSlot {
    table: TaskTable,
    index: usize,
    /// What stands, or is about to stand, in shared memory; the mutex also makes this process's
    /// threads one writer of the sequence locks.
    head: Mutex<Head>,
    _lock: ByteLock,
}

impl TaskSlot {
    pub(super) fn new(
        table: TaskTable,
        index: usize,
        lock: ByteLock,
        task_id: u32,
        run_id: RunId,
        owner: ProcessIdentity,
    ) -> TaskSlot {
        let (table_name, table_run, error, retry_at_ms) = (String::new(), None, None, None);
        let head =
            Head { task_id, run_id, owner, table: table_name, table_run, error, retry_at_ms };
        TaskSlot { table, index, head: Mutex::new(head), _lock: lock }
    }

    /// Slot number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The table it is in.
    pub fn table(&self) -> &TaskTable {
        &self.table
    }

    /// Progress of the current table.
    pub fn counters(&self) -> &Counters {
        &self.slot().counters
    }

    /// Starts with table `name`: counters and phase begin anew.
    pub fn begin_table(&self, name: &str) {
        let slot = self.slot();
        slot.counters.clear();
        slot.table_started_ms.store(now_ms(), Ordering::Relaxed);
        self.set_phase(Phase::Starting);
        self.wait(Waiting::Nothing);
        self.change_head(|head| {
            (head.table, head.table_run) = (shorten(name, NAME_CHARS_MAX), None);
        });
    }

    /// The current table's run, as history names it.
    pub fn set_table_run(&self, run: RunId) {
        self.change_head(|head| head.table_run = Some(run));
    }

    /// One more table is done, well or not.
    pub fn end_table(&self) {
        self.slot().tables_done.fetch_add(1, Ordering::Relaxed);
        self.beat();
    }

    /// Where the task stands. A new phase waits for nothing yet; saying the same one again leaves
    /// what it waits for, and since when.
    pub fn set_phase(&self, phase: Phase) {
        if self.slot().phase.swap(phase.code(), Ordering::Relaxed) != phase.code() {
            self.wait(Waiting::Nothing);
        }
        self.beat();
    }

    /// What it waits for from now on.
    pub fn wait(&self, waiting: Waiting) {
        let slot = self.slot();
        set_wait(&slot.waiting, &slot.waiting_since_ms, waiting);
        self.beat();
    }

    /// Remembers an error: its primary line, and nothing that could be a value.
    pub fn set_error(&self, error: &Error) {
        let text = shorten(&error.message, ERROR_CHARS_MAX);
        self.change_head(|head| (head.error, head.retry_at_ms) = (Some(text), None));
    }

    /// The same of an error after which the table is tried again, so long from now.
    pub fn set_retry(&self, error: &Error, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.change_head(|head| {
            head.error = Some(shorten(&error.message, ERROR_CHARS_MAX));
            head.retry_at_ms = Some(now_ms().saturating_add(wait_ms));
        });
    }

    /// Forgets the error: what failed is tried again.
    pub fn clear_error(&self) {
        self.change_head(|head| (head.error, head.retry_at_ms) = (None, None));
    }

    /// Publishes the detailed parameters of the current table (A20): links, source and destination
    /// table with structure, SQL before and after. Never secrets. False when they are longer than
    /// [`PARAMS_BYTES`]; then a note stands in their place.
    pub fn set_params(&self, params: &impl Serialize) -> bool {
        let _one_writer = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let json = serde_json::to_vec(params).unwrap_or_default();
        let cell = self.slot().params();
        self.beat();
        if !json.is_empty() && cell.write(&json) {
            return true;
        }
        let note = serde_json::json!({ "omitted": "too long", "bytes": json.len() }).to_string();
        let _ = cell.write(note.as_bytes());
        false
    }

    /// The entry of writer `n` (0 to 9), which the task process keeps up to date from the ring.
    ///
    /// # Errors
    /// [`Kind::Internal`] when `n` is too large.
    pub fn writer(&self, n: usize) -> Result<&WriterEntry> {
        self.slot()
            .writers
            .get(n)
            .ok_or_else(|| Error::new(Kind::Internal, format!("a task has no writer {n}")))
    }

    /// Times that somebody said there is something new for the task to look at: a hold.
    pub fn pokes(&self) -> u64 {
        self.slot().pokes.load(Ordering::Relaxed)
    }

    /// Still here.
    pub fn beat(&self) {
        self.slot().updated_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// The task has ended. Dropping a slot without says that it was interrupted.
    pub fn finish(&self, outcome: Outcome) {
        let slot = self.slot();
        self.set_phase(Phase::Closing);
        slot.ended_ms.store(now_ms(), Ordering::Relaxed);
        slot.outcome.store(outcome.code(), Ordering::Relaxed);
        // Release: who sees "finished" sees how.
        slot.state.store(TaskState::Finished.code(), Ordering::Release);
    }

    pub(super) fn begin(&self, tables_total: u32) {
        // Of an earlier owner nothing is trusted, and nothing stays.
        let slot = self.slot();
        slot.state.store(TaskState::NotRun.code(), Ordering::Release);
        slot.outcome.store(Outcome::Open.code(), Ordering::Relaxed);
        slot.phase.store(Phase::Starting.code(), Ordering::Relaxed);
        slot.waiting.store(Waiting::Nothing.code(), Ordering::Relaxed);
        slot.waiting_since_ms.store(0, Ordering::Relaxed);
        slot.ended_ms.store(0, Ordering::Relaxed);
        slot.table_started_ms.store(0, Ordering::Relaxed);
        slot.tables_done.store(0, Ordering::Relaxed);
        slot.tables_total.store(tables_total, Ordering::Relaxed);
        slot.counters.clear();
        slot.writers.iter().for_each(WriterEntry::clear);
        let _ = slot.params().write(b"");
        self.change_head(|_| ());
        slot.started_ms.store(now_ms(), Ordering::Relaxed);
        slot.state.store(TaskState::Running.code(), Ordering::Release);
    }

    fn change_head(&self, change: impl FnOnce(&mut Head)) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut head);
        let json = serde_json::to_vec(&*head).unwrap_or_default();
        if !self.slot().head().write(&json) {
            // Names of nothing but control characters could do this; the rest is still good.
            let bare = Head { table: String::new(), error: None, ..head.clone() };
            let _ = self.slot().head().write(&serde_json::to_vec(&bare).unwrap_or_default());
        }
        drop(head);
        self.beat();
    }

    fn slot(&self) -> &SlotHeader {
        match self.table.slot(self.index) {
            Ok(slot) => slot,
            // `acquire` has reached the same slot by the same way.
            Err(e) => unreachable!("{e}"),
        }
    }
}

#[cfg(test)]
impl TaskSlot {
    /// Lets go as the kernel does for a killed owner: of the lock, and of nothing else.
    pub(super) fn leave_as_killed(self) {
        let mut slot = std::mem::ManuallyDrop::new(self);
        slot.release_lock();
    }

    fn release_lock(&mut self) {
        let lock = std::mem::replace(&mut self._lock, ByteLock::for_test());
        drop(lock);
    }
}

impl Drop for TaskSlot {
    fn drop(&mut self) {
        if self.slot().state.load(Ordering::Relaxed) != TaskState::Finished.code() {
            self.finish(Outcome::Interrupted);
        }
    }
}

impl Counters {
    fn all(&self) -> [&AtomicU64; 11] {
        [
            &self.rows_claimed,
            &self.rows_read,
            &self.rows_landed,
            &self.rows_settled,
            &self.rows_failed,
            &self.rows_withdrawn,
            &self.rows_skipped,
            &self.rows_changed,
            &self.batches_landed,
            &self.bytes_read,
            &self.bytes_landed,
        ]
    }

    fn clear(&self) {
        self.all().into_iter().for_each(|c| c.store(0, Ordering::Relaxed));
    }

    /// What stands here.
    pub fn view(&self) -> CountersView {
        let [
            claimed,
            read,
            landed,
            settled,
            failed,
            withdrawn,
            skipped,
            changed,
            batches,
            bytes,
            out,
        ] = self.all().map(|c| c.load(Ordering::Relaxed));
        CountersView {
            rows_claimed: claimed,
            rows_read: read,
            rows_landed: landed,
            rows_settled: settled,
            rows_failed: failed,
            rows_withdrawn: withdrawn,
            rows_skipped: skipped,
            rows_changed: changed,
            batches_landed: batches,
            bytes_read: bytes,
            bytes_landed: out,
        }
    }
}

impl SlotHeader {
    fn head(&self) -> SeqBytes<'_> {
        SeqBytes::new(&self.head, &self.head_bytes)
    }

    pub(super) fn params(&self) -> SeqBytes<'_> {
        SeqBytes::new(&self.params, &self.params_bytes)
    }

    /// Whether a run has ever had this slot.
    pub(super) fn was_used(&self) -> bool {
        self.started_ms.load(Ordering::Relaxed) != 0
    }

    /// There is something new for the task to look at.
    pub(super) fn poke(&self) {
        self.pokes.fetch_add(1, Ordering::Relaxed);
    }

    /// Last sign of life.
    pub(super) fn updated_ms(&self) -> u64 {
        self.updated_ms.load(Ordering::Relaxed)
    }

    /// Whether the last run here was one of `task_id`.
    pub(super) fn belongs_to(&self, task_id: u32) -> bool {
        self.read_head().is_ok_and(|head| head.is_some_and(|h| h.task_id == task_id))
    }

    /// Leaves the names as an owner does who is killed while it writes them.
    #[cfg(test)]
    pub(super) fn abandon_head(&self) {
        self.head().begin_and_abandon();
    }

    fn read_head(&self) -> Result<Option<Head>, Torn> {
        let bytes = self.head().read()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|_| Torn::Damaged)
    }

    pub(super) fn view(&self, slot: usize, alive: bool) -> TaskView {
        // Acquire: pairs with the releases in `begin` and `finish`.
        let state = TaskState::from_code(self.state.load(Ordering::Acquire));
        let (head, damage) = match self.read_head() {
            Ok(head) => (head, None),
            Err(Torn::Unfinished) => (None, Some("a write was begun and never ended")),
            Err(Torn::Damaged) => (None, Some("the memory is damaged")),
        };
        let retry_at_ms = head.as_ref().and_then(|h| h.retry_at_ms);
        let table_run = head.as_ref().and_then(|h| h.table_run);
        let (task_id, run_id, owner, table, error) = match head {
            Some(h) => (h.task_id, Some(h.run_id), Some(h.owner), h.table, h.error),
            None => (0, None, None, String::new(), None),
        };
        TaskView {
            slot,
            alive,
            state,
            outcome: Outcome::from_code(self.outcome.load(Ordering::Relaxed)),
            task_id,
            run_id,
            owner,
            table,
            table_run,
            error,
            retry_at_ms,
            damage: damage.map(str::to_owned),
            phase: Phase::from_code(self.phase.load(Ordering::Relaxed)),
            wait: get_wait(&self.waiting, &self.waiting_since_ms),
            started_ms: self.started_ms.load(Ordering::Relaxed),
            table_started_ms: self.table_started_ms.load(Ordering::Relaxed),
            updated_ms: self.updated_ms.load(Ordering::Relaxed),
            ended_ms: self.ended_ms.load(Ordering::Relaxed),
            tables_done: self.tables_done.load(Ordering::Relaxed),
            tables_total: self.tables_total.load(Ordering::Relaxed),
            counters: self.counters.view(),
            writers: self
                .writers
                .iter()
                .map(WriterEntry::view)
                .filter(|w| w.state != WriterState::Absent)
                .collect(),
        }
    }
}
