//! The task table: what every task of one instance is doing, for whoever looks.
//!
//! A task process takes a slot and is its only writer until it ends; readers need nothing but the
//! name. That a slot has an owner is said by a lock which the kernel releases when the owner dies,
//! never by anything written in the slot.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lock::{self, ByteLock};
use super::segment::{HEADER_BYTES, Layout, Segment, shared_struct};
use super::seqlock::{SeqBytes, SeqHeader, Torn};
use super::waiting::{Outcome, Phase, TaskState, WaitView, Waiting, WriterState};
use super::writer_entry::{WriterEntry, WriterView, get_wait, set_wait};
use super::{now_ms, prefix};
use crate::config::WRITERS_MAX;
use crate::error::{Error, Kind, Result};
use crate::process::identity::{ProcessIdentity, RunId};

/// Layout of the table's segment.
pub const LAYOUT: Layout = Layout { kind: 1, version: 1, name: "task table", persistent: true };
/// Tasks that can run at once.
pub const SLOTS: usize = 64;
/// Bytes of detailed parameters per task, as JSON.
pub const PARAMS_BYTES: usize = 64 << 10;
/// Bytes for the names and the last error of a task, as JSON.
const HEAD_BYTES: usize = 8 << 10;
/// Characters kept of a last error. JSON makes six bytes of one at the worst, names go beside it.
const ERROR_CHARS_MAX: usize = 600;
/// Characters kept of a table name.
const NAME_CHARS_MAX: usize = 256;
const WRITERS: usize = WRITERS_MAX as usize;

/// Bytes of the lock file: who may lay the table out or choose a slot; the controller; the slots.
const LOCK_LAYOUT: u64 = 0;
const LOCK_CONTROLLER: u64 = 1;
const LOCK_SLOTS: u64 = 16;
/// The layout lock is held for microseconds; only a stopped process holds it longer.
const LAYOUT_WAIT: Duration = Duration::from_secs(10);

shared_struct! {
    struct TableHeader (64) {
        controller_pid: AtomicU32,
        reserved: AtomicU32,
        controller_heartbeat_ms: AtomicU64,
        controller_started_ms: AtomicU64,
        stop_requests: AtomicU64,
        reload_requests: AtomicU64,
    }
}

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
    struct SlotHeader (64) {
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
        head: SeqHeader,
        params: SeqHeader,
        counters: Counters,
        writers: [WriterEntry; WRITERS],
        head_bytes: [AtomicU8; HEAD_BYTES],
        params_bytes: [AtomicU8; PARAMS_BYTES],
    }
}

const SLOTS_AT: usize = HEADER_BYTES + size_of::<TableHeader>();
const TABLE_BYTES: usize = SLOTS_AT + SLOTS * size_of::<SlotHeader>();
const _: () = assert!(size_of::<TableHeader>() == 64);
const _: () = assert!(size_of::<Counters>() == 128);
const _: () = assert!(size_of::<SlotHeader>().is_multiple_of(64) && SLOTS_AT.is_multiple_of(64));
// The default /dev/shm of a container is 64 MiB; the table stays a small part of that.
const _: () = assert!(TABLE_BYTES < 6 << 20);

/// What must be read whole: names and error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    task_id: u32,
    run_id: RunId,
    owner: ProcessIdentity,
    table: String,
    error: Option<String>,
}

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
    /// Run.
    pub run_id: Option<RunId>,
    /// The process.
    pub owner: Option<ProcessIdentity>,
    /// The current or last table.
    pub table: String,
    /// The last error.
    pub error: Option<String>,
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

/// The task table of one `SSYNC_HOME`. Clones share one mapping.
#[derive(Clone)]
pub struct TaskTable(Arc<Inner>);

struct Inner {
    segment: Segment,
    lock_path: PathBuf,
    lock_file: File,
}

impl TaskTable {
    /// The table of `home`, made when there is none. A table of another layout is replaced, if
    /// nobody uses it.
    ///
    /// # Errors
    /// [`Kind::Full`] when shared memory has no room; [`Kind::System`] when tasks of another
    /// version of ssync still use it.
    pub fn open_or_create(home: &Path) -> Result<TaskTable> {
        let lock_path = lock_path(home)?;
        let lock_file = lock::open(&lock_path)?;
        let _layout = ByteLock::acquire(&lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let name = name(home);
        let segment = match Segment::open(&name, LAYOUT) {
            Ok(Some(segment)) if segment.bytes() == TABLE_BYTES => segment,
            Ok(None) => create(&name)?,
            unusable => {
                if in_use(&lock_file)? {
                    return Err(unusable.err().unwrap_or_else(|| {
                        Error::new(Kind::System, "the task table has another size than expected")
                    }));
                }
                log::warn!("replacing the task table {name}: it has another layout and no user");
                Segment::unlink(&name)?;
                create(&name)?
            }
        };
        Ok(TaskTable(Arc::new(Inner { segment, lock_path, lock_file })))
    }

    /// The table of `home`, for looking at; `None` when nothing has run since the host started.
    ///
    /// # Errors
    /// When it has another layout.
    pub fn open(home: &Path) -> Result<Option<TaskTable>> {
        let lock_path = lock_path(home)?;
        let Some(segment) = Segment::open(&name(home), LAYOUT)? else { return Ok(None) };
        if segment.bytes() != TABLE_BYTES {
            crate::bail!(
                Kind::System,
                "the task table has {} bytes instead of {TABLE_BYTES}",
                segment.bytes()
            );
        }
        let lock_file = lock::open(&lock_path)?;
        Ok(Some(TaskTable(Arc::new(Inner { segment, lock_path, lock_file }))))
    }

    /// Takes a slot for a run: the task's last one, else one never used, else the one whose run
    /// ended longest ago. A dead owner's slot counts as ended.
    ///
    /// # Errors
    /// [`Kind::Full`] when [`SLOTS`] tasks run.
    pub fn acquire(&self, task_id: u32, run_id: RunId, tables_total: u32) -> Result<TaskSlot> {
        let owner = ProcessIdentity::own()?;
        let _layout = ByteLock::acquire(&self.0.lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let mut candidates = Vec::with_capacity(SLOTS);
        for index in 0..SLOTS {
            let slot = self.slot(index)?;
            let own = slot.read_head().is_ok_and(|h| h.is_some_and(|h| h.task_id == task_id));
            candidates.push((!own, slot.updated_ms.load(Ordering::Relaxed), index));
        }
        candidates.sort_unstable();
        for (_, _, index) in candidates {
            let byte = LOCK_SLOTS + index as u64;
            let Some(lock) = ByteLock::try_acquire(&self.0.lock_path, byte)? else { continue };
            let head = Head { task_id, run_id, owner, table: String::new(), error: None };
            let slot = TaskSlot { table: self.clone(), index, head: Mutex::new(head), _lock: lock };
            slot.begin(tables_total)?;
            return Ok(slot);
        }
        Err(Error::new(Kind::Full, format!("the task table is full: {SLOTS} tasks are running"))
            .hint("Wait for one of them to end; `ssync status` lists them."))
    }

    /// All slots that were ever used since the table was made.
    pub fn snapshot(&self) -> Result<Vec<TaskView>> {
        let mut views = Vec::new();
        for index in 0..SLOTS {
            let slot = self.slot(index)?;
            if slot.started_ms.load(Ordering::Relaxed) != 0 {
                let alive = lock::is_held(&self.0.lock_file, LOCK_SLOTS + index as u64)?;
                views.push(slot.view(index, alive));
            }
        }
        Ok(views)
    }

    /// The detailed parameters (A20) of the task in `slot`, as its task process has set them;
    /// `None` when it has not, or they cannot be read whole.
    pub fn params(&self, slot: usize) -> Result<Option<serde_json::Value>> {
        let bytes = self.slot(slot)?.params().read().unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// The controller.
    pub fn controller(&self) -> Result<ControllerView> {
        let header = self.header()?;
        Ok(ControllerView {
            alive: lock::is_held(&self.0.lock_file, LOCK_CONTROLLER)?,
            pid: header.controller_pid.load(Ordering::Relaxed),
            started_ms: header.controller_started_ms.load(Ordering::Relaxed),
            heartbeat_ms: header.controller_heartbeat_ms.load(Ordering::Relaxed),
        })
    }

    /// Makes this process the controller of the instance, until the guard is dropped.
    ///
    /// # Errors
    /// [`Kind::Locked`] when one runs.
    pub fn become_controller(&self) -> Result<ControllerGuard> {
        let Some(lock) = ByteLock::try_acquire(&self.0.lock_path, LOCK_CONTROLLER)? else {
            let pid = self.controller()?.pid;
            return Err(Error::new(Kind::Locked, "a controller is running already")
                .detail(format!("process {pid}")));
        };
        let header = self.header()?;
        header.controller_pid.store(std::process::id(), Ordering::Relaxed);
        header.controller_started_ms.store(now_ms(), Ordering::Relaxed);
        header.controller_heartbeat_ms.store(now_ms(), Ordering::Relaxed);
        Ok(ControllerGuard { table: self.clone(), _lock: lock })
    }

    /// Asks the controller to finish and leave (A28).
    pub fn request_stop(&self) -> Result<()> {
        self.header()?.stop_requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the controller to read its configuration again.
    pub fn request_reload(&self) -> Result<()> {
        self.header()?.reload_requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The requests so far.
    pub fn requests(&self) -> Result<Requests> {
        let header = self.header()?;
        Ok(Requests {
            stop: header.stop_requests.load(Ordering::Relaxed),
            reload: header.reload_requests.load(Ordering::Relaxed),
        })
    }

    /// Whether newcomers find this table. False after somebody removed it from shared memory.
    pub fn is_linked(&self) -> bool {
        self.0.segment.is_linked()
    }

    /// Removes the table of `home` from shared memory; who has it mapped keeps it. For tests, and
    /// for taking an instance down.
    ///
    /// # Errors
    /// [`Kind::Locked`] while a task or the controller uses it.
    pub fn remove(home: &Path) -> Result<()> {
        let lock_path = lock_path(home)?;
        let _layout = ByteLock::acquire(&lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        if in_use(&lock::open(&lock_path)?)? {
            crate::bail!(Kind::Locked, "the task table is in use");
        }
        Segment::unlink(&name(home))
    }

    fn header(&self) -> Result<&TableHeader> {
        self.0.segment.at(HEADER_BYTES)
    }

    fn slot(&self, index: usize) -> Result<&SlotHeader> {
        if index >= SLOTS {
            crate::bail!(Kind::Usage, "the task table has no slot {index}");
        }
        self.0.segment.at(SLOTS_AT + index * size_of::<SlotHeader>())
    }
}

impl std::fmt::Debug for TaskTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskTable({})", self.0.segment.name())
    }
}

/// Being the controller.
#[derive(Debug)]
pub struct ControllerGuard {
    table: TaskTable,
    _lock: ByteLock,
}

impl ControllerGuard {
    /// Still here.
    pub fn beat(&self) -> Result<()> {
        self.table.header()?.controller_heartbeat_ms.store(now_ms(), Ordering::Relaxed);
        Ok(())
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
    /// Slot number.
    pub fn index(&self) -> usize {
        self.index
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
        self.change_head(|head| head.table = shorten(name, NAME_CHARS_MAX));
    }

    /// One more table is done, well or not.
    pub fn end_table(&self) {
        self.slot().tables_done.fetch_add(1, Ordering::Relaxed);
        self.beat();
    }

    /// Where the task stands.
    pub fn set_phase(&self, phase: Phase) {
        self.slot().phase.store(phase.code(), Ordering::Relaxed);
        self.wait(Waiting::Nothing);
    }

    /// What it waits for from now on.
    pub fn wait(&self, waiting: Waiting) {
        let slot = self.slot();
        set_wait(&slot.waiting, &slot.waiting_since_ms, waiting);
        self.beat();
    }

    /// Remembers an error: its primary line, and nothing that could be a value.
    pub fn set_error(&self, error: &Error) {
        self.change_head(|head| head.error = Some(shorten(&error.message, ERROR_CHARS_MAX)));
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

    fn begin(&self, tables_total: u32) -> Result<()> {
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
        Ok(())
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

    fn params(&self) -> SeqBytes<'_> {
        SeqBytes::new(&self.params, &self.params_bytes)
    }

    fn read_head(&self) -> Result<Option<Head>, Torn> {
        let bytes = self.head().read()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|_| Torn::Damaged)
    }

    fn view(&self, slot: usize, alive: bool) -> TaskView {
        // Acquire: pairs with the releases in `begin` and `finish`.
        let state = TaskState::from_code(self.state.load(Ordering::Acquire));
        let (head, damage) = match self.read_head() {
            Ok(head) => (head, None),
            Err(Torn::Unfinished) => (None, Some("a write was begun and never ended")),
            Err(Torn::Damaged) => (None, Some("the memory is damaged")),
        };
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
            error,
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

fn create(name: &str) -> Result<Segment> {
    // All zeros is an empty table.
    Segment::create(name, LAYOUT, TABLE_BYTES, |_| Ok(()))
}

fn name(home: &Path) -> String {
    format!("{}tasks", prefix(home))
}

fn lock_path(home: &Path) -> Result<PathBuf> {
    let dir = home.join("run");
    std::fs::create_dir_all(&dir)
        .map_err(|e| Error::from(e).context(format!("could not make {}", dir.display())))?;
    Ok(dir.join("tasks.lock"))
}

/// Whether a controller or a task process has the table.
fn in_use(lock_file: &File) -> Result<bool> {
    let bytes = std::iter::once(LOCK_CONTROLLER).chain(LOCK_SLOTS..LOCK_SLOTS + SLOTS as u64);
    for byte in bytes {
        if lock::is_held(lock_file, byte)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn shorten(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
