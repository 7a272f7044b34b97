//! The task table: what every task of one instance is doing, for whoever looks.
//!
//! A task process takes a slot and is its only writer until it ends; readers need nothing but the
//! name. That a slot has an owner is said by a lock which the kernel releases when the owner dies,
//! never by anything written in the slot.

mod permits;
mod slot;
mod view;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use self::permits::ClaimEntry;
pub use self::permits::{CLAIMS, Claim, ClaimView, Request, link_hash};
use self::slot::SlotHeader;
pub use self::slot::{Counters, PARAMS_BYTES, TaskSlot};
pub use self::view::{ControllerView, CountersView, Requests, TaskView};
use super::lock::{self, ByteLock};
use super::segment::{HEADER_BYTES, Layout, Segment, shared_struct};
use super::waiting::TaskState;
use super::{now_ms, prefix};
use crate::error::{Error, Kind, Result};
use crate::process::identity::{ProcessIdentity, RunId};

/// Layout of the table's segment.
pub const LAYOUT: Layout = Layout { kind: 1, version: 3, name: "task table", persistent: true };
/// Tasks that can run at once.
pub const SLOTS: usize = 64;

/// Bytes of a home directory's path; longer ones are not remembered.
const HOME_BYTES: usize = 1024;
/// What every task table's name ends with.
pub(super) const NAME_SUFFIX: &str = "-tasks";

/// Bytes of the lock file: who may lay the table out or choose a slot; the controller; the slots;
/// the claims on connections.
const LOCK_LAYOUT: u64 = 0;
const LOCK_CONTROLLER: u64 = 1;
const LOCK_SLOTS: u64 = 16;
const LOCK_PERMITS: u64 = 128;
const _: () = assert!(LOCK_SLOTS + SLOTS as u64 <= LOCK_PERMITS);
/// The layout lock is held for microseconds; only a stopped process holds it longer.
const LAYOUT_WAIT: Duration = Duration::from_secs(10);

shared_struct! {
    struct TableHeader (64) {
        controller_pid: AtomicU32,
        /// Bytes of `home`; 0 when the path was too long.
        home_len: AtomicU32,
        controller_heartbeat_ms: AtomicU64,
        controller_started_ms: AtomicU64,
        stop_requests: AtomicU64,
        reload_requests: AtomicU64,
        /// Inode of the mount namespace in which `home` is to be understood.
        mount_namespace: AtomicU64,
        home: [AtomicU8; HOME_BYTES],
    }
}

impl TableHeader {
    /// This process is the controller.
    fn is_controlled_since(&self, started_ms: u64) {
        self.controller_started_ms.store(started_ms, Ordering::Relaxed);
        self.controller_heartbeat_ms.store(now_ms(), Ordering::Relaxed);
        self.controller_pid.store(std::process::id(), Ordering::Relaxed);
    }
}

const SLOTS_AT: usize = HEADER_BYTES + size_of::<TableHeader>();
const CLAIMS_AT: usize = SLOTS_AT + SLOTS * size_of::<SlotHeader>();
const TABLE_BYTES: usize = CLAIMS_AT + CLAIMS * size_of::<ClaimEntry>();
const _: () = assert!(size_of::<TableHeader>() == 1088);
const _: () = assert!(size_of::<SlotHeader>().is_multiple_of(64) && SLOTS_AT.is_multiple_of(64));
// The default /dev/shm of a container is 64 MiB; the table stays a small part of that.
const _: () = assert!(TABLE_BYTES < 6 << 20);

/// The task table of one `SSYNC_HOME`. Clones share one mapping.
#[derive(Clone)]
pub struct TaskTable(Arc<Inner>);

struct Inner {
    segment: Segment,
    home: PathBuf,
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
        // Litter is a nuisance, not a reason to stop.
        match super::clean_up() {
            Ok(removed) => removed.iter().for_each(|name| {
                log::warn!(name = name; "removed shared memory that a dead process had left");
            }),
            Err(e) => log::warn!("could not clean up shared memory: {e:?}"),
        }
        let _layout = ByteLock::acquire(&lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        TaskTable::attach(home)
    }

    /// As [`TaskTable::open_or_create`]; the caller holds the layout lock.
    fn attach(home: &Path) -> Result<TaskTable> {
        let lock_path = lock_path(home)?;
        let lock_file = lock::open(&lock_path)?;
        let name = name(home)?;
        let segment = match Segment::open(&name, LAYOUT) {
            Ok(Some(segment)) if segment.bytes() == TABLE_BYTES => segment,
            Ok(None) => create(&name, home)?,
            unusable => {
                if in_use(&lock_file)? {
                    return Err(unusable.err().unwrap_or_else(|| {
                        Error::new(Kind::System, "the task table has another size than expected")
                    }));
                }
                log::warn!("replacing the task table {name}: it has another layout and no user");
                Segment::unlink(&name)?;
                create(&name, home)?
            }
        };
        Ok(TaskTable(Arc::new(Inner { segment, home: home.into(), lock_path, lock_file })))
    }

    /// The table of `home`, for looking at; `None` when nothing has run since the host started.
    ///
    /// # Errors
    /// When it has another layout.
    pub fn open(home: &Path) -> Result<Option<TaskTable>> {
        let name = name(home)?;
        let opened = Segment::open(&name, LAYOUT).or_else(|_| {
            // Somebody may be making it just now.
            let _layout = ByteLock::acquire(&lock_path(home)?, LOCK_LAYOUT, LAYOUT_WAIT)?;
            Segment::open(&name, LAYOUT)
        });
        let Some(segment) = opened? else { return Ok(None) };
        if segment.bytes() != TABLE_BYTES {
            crate::bail!(
                Kind::System,
                "the task table has {} bytes instead of {TABLE_BYTES}",
                segment.bytes()
            );
        }
        let lock_path = lock_path(home)?;
        let lock_file = lock::open(&lock_path)?;
        Ok(Some(TaskTable(Arc::new(Inner { segment, home: home.into(), lock_path, lock_file }))))
    }

    /// Takes a slot for a run: the task's last one, else one never used, else the one whose run
    /// ended longest ago. A dead owner's slot counts as ended.
    ///
    /// # Errors
    /// [`Kind::Full`] when [`SLOTS`] tasks run.
    pub fn acquire(&self, task_id: u32, run_id: RunId, tables_total: u32) -> Result<TaskSlot> {
        let owner = ProcessIdentity::own()?;
        let _layout = ByteLock::acquire(&self.0.lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let table = self.current()?;
        let mut candidates = Vec::with_capacity(SLOTS);
        for index in 0..SLOTS {
            let slot = table.slot(index)?;
            candidates.push((!slot.belongs_to(task_id), slot.updated_ms(), index));
        }
        candidates.sort_unstable();
        for (_, _, index) in candidates {
            let byte = LOCK_SLOTS + index as u64;
            let Some(lock) = ByteLock::try_acquire(&self.0.lock_path, byte)? else { continue };
            let slot = TaskSlot::new(table, index, lock, task_id, run_id, owner);
            slot.begin(tables_total);
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
            if slot.was_used() {
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

    /// Makes this process the controller of the instance, until the guard is dropped. From then on
    /// the table cannot be removed; [`ControllerGuard::table`] is the one to use.
    ///
    /// # Errors
    /// [`Kind::Locked`] when one runs.
    pub fn become_controller(&self) -> Result<ControllerGuard> {
        let _layout = ByteLock::acquire(&self.0.lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let Some(lock) = ByteLock::try_acquire(&self.0.lock_path, LOCK_CONTROLLER)? else {
            let pid = self.controller()?.pid;
            return Err(Error::new(Kind::Locked, "a daemon is running already")
                .detail(format!("process {pid}")));
        };
        let table = self.current()?;
        table.header()?.is_controlled_since(now_ms());
        let wanted = wanted_path(&self.0.home);
        std::fs::write(&wanted, format!("{}\n", std::process::id()))
            .map_err(|e| Error::from(e).context(format!("could not write {}", wanted.display())))?;
        Ok(ControllerGuard { table, _lock: lock })
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

    /// Tells the running processes of a task that there is something new for them: a hold. Whether
    /// there is one.
    pub fn poke(&self, task_id: u32) -> Result<bool> {
        let mut found = false;
        for view in self.snapshot()? {
            if view.task_id == task_id && view.alive {
                self.slot(view.slot)?.poke();
                found = true;
            }
        }
        Ok(found)
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
        Segment::unlink(&name(home)?)
    }

    /// Removes it unless it is still needed: it stays while a process uses it, and where it holds the
    /// state of a process that died, which operators and the task's next run have to know.
    ///
    /// # Errors
    /// When it cannot be read or removed.
    pub fn remove_unless_needed(home: &Path) -> Result<()> {
        let Some(table) = TaskTable::open(home)? else { return Ok(()) };
        let has_died = |slot: &TaskView| !slot.alive && slot.state == TaskState::Running;
        if table.snapshot()?.iter().any(has_died) {
            return Ok(());
        }
        drop(table);
        match TaskTable::remove(home) {
            Err(e) if e.kind == Kind::Locked => Ok(()),
            done => done,
        }
    }

    /// This table, or the one that stands in its place since somebody who thought nobody was using
    /// it removed it. The caller holds the layout lock.
    fn current(&self) -> Result<TaskTable> {
        if self.is_linked() { Ok(self.clone()) } else { TaskTable::attach(&self.0.home) }
    }

    /// Removes the table `name` if its home directory is gone: nobody will find it again. One that
    /// was made in another mount namespace, or has another layout, is not judged.
    pub(super) fn unlink_if_homeless(name: &str) -> Result<bool> {
        let Ok(Some(segment)) = Segment::open(name, LAYOUT) else { return Ok(false) };
        let header: &TableHeader = segment.at(HEADER_BYTES)?;
        let len = header.home_len.load(Ordering::Relaxed) as usize;
        let judged = header.mount_namespace.load(Ordering::Relaxed) == mount_namespace()?
            && (1..=HOME_BYTES).contains(&len);
        if !judged {
            return Ok(false);
        }
        let path: Vec<u8> =
            header.home.iter().take(len).map(|c| c.load(Ordering::Relaxed)).collect();
        let home = Path::new(OsStr::from_bytes(&path));
        // Only "there is none" counts, not "may not look".
        let gone = std::fs::symlink_metadata(home)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        if gone {
            Segment::unlink(name)?;
        }
        Ok(gone)
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

    fn claim_entry(&self, index: usize) -> Result<&ClaimEntry> {
        if index >= CLAIMS {
            crate::bail!(Kind::Usage, "the task table has no claim {index}");
        }
        self.0.segment.at(CLAIMS_AT + index * size_of::<ClaimEntry>())
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
    /// The table that it controls.
    pub fn table(&self) -> &TaskTable {
        &self.table
    }

    /// Where the table was removed from shared memory: creates it again, or uses the one that has
    /// taken its place. Returns the former table, to which running tasks go on writing.
    pub fn relink(&mut self) -> Result<Option<TaskTable>> {
        if self.table.is_linked() {
            return Ok(None);
        }
        let _layout = ByteLock::acquire(&self.table.0.lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let table = self.table.current()?;
        let started_ms = self.table.header()?.controller_started_ms.load(Ordering::Relaxed);
        table.header()?.is_controlled_since(started_ms);
        Ok(Some(std::mem::replace(&mut self.table, table)))
    }

    /// Still here.
    pub fn beat(&self) -> Result<()> {
        self.table.header()?.controller_heartbeat_ms.store(now_ms(), Ordering::Relaxed);
        Ok(())
    }

    /// Leaves in good order, because somebody wanted it so. Without this call, however the process
    /// ends, the instance counts as one that should have a controller ([`is_controller_wanted`]).
    pub fn leave(self) -> Result<()> {
        match std::fs::remove_file(wanted_path(&self.table.0.home)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// Whether a controller of the instance lives, whatever shared memory says of it.
///
/// # Errors
/// When its lock cannot be looked at.
pub fn is_controller_alive(home: &Path) -> Result<bool> {
    lock::is_held(&lock::open(&lock_path(home)?)?, LOCK_CONTROLLER)
}

/// Whether the instance should have a controller: one has begun, and it has not left in good order
/// since ([`ControllerGuard::leave`]). A file says so, since this has to outlive a restart of the
/// host.
pub fn is_controller_wanted(home: &Path) -> bool {
    wanted_path(home).exists()
}

fn wanted_path(home: &Path) -> PathBuf {
    home.join("run").join("controller.wanted")
}

fn create(name: &str, home: &Path) -> Result<Segment> {
    let home = std::fs::canonicalize(home)?;
    let path = home.as_os_str().as_encoded_bytes();
    let namespace = mount_namespace()?;
    // All zeros is an empty table.
    Segment::create(name, LAYOUT, TABLE_BYTES, |segment| {
        let header: &TableHeader = segment.at(HEADER_BYTES)?;
        if path.len() <= HOME_BYTES {
            header.mount_namespace.store(namespace, Ordering::Relaxed);
            header.home_len.store(path.len() as u32, Ordering::Relaxed);
            for (cell, byte) in header.home.iter().zip(path) {
                cell.store(*byte, Ordering::Relaxed);
            }
        }
        Ok(())
    })
}

fn mount_namespace() -> Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/mnt")?.ino())
}

fn name(home: &Path) -> Result<String> {
    // The prefix ends with the dash that the suffix begins with.
    Ok(format!("{}{NAME_SUFFIX}", prefix(home)?.trim_end_matches('-')))
}

fn lock_path(home: &Path) -> Result<PathBuf> {
    let dir = home.join("run");
    std::fs::create_dir_all(&dir)
        .map_err(|e| Error::from(e).context(format!("could not make {}", dir.display())))?;
    Ok(dir.join("tasks.lock"))
}

/// Whether a controller, a task process or a holder of permits has the table.
fn in_use(lock_file: &File) -> Result<bool> {
    let bytes = std::iter::once(LOCK_CONTROLLER)
        .chain(LOCK_SLOTS..LOCK_SLOTS + SLOTS as u64)
        .chain(LOCK_PERMITS..LOCK_PERMITS + CLAIMS as u64);
    for byte in bytes {
        if lock::is_held(lock_file, byte)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
