//! The lock of a sub-task, in `task_detail`: at most one run of a table at a time.
//!
//! Two things together say whether an owner lives. On the owner's own host it holds a `flock` on
//! a file in the home directory, which the kernel releases however the process ends. Elsewhere
//! its lease counts, by the database's clock. The row names the file by what stands in it (a
//! random id, written under the `flock`), so that two homes, two containers with the same path,
//! or two hosts of the same name are never taken for one:
//!
//! | who asks | finds an owner | and takes it for dead when |
//! | --- | --- | --- |
//! | any | whose lock file it cannot lock | never |
//! | with the embedded database | | it has locked the file: the database is in the same home |
//! | with a server | with the same lock file and boot | it has locked that file |
//! | with a server | of the same boot and pid namespace | no process has that pid and start |
//! | with a server | of another host, boot or namespace | the lease has run out |

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::process::{ProcessIdentity, RunId};
use crate::store::config_tables::of_table;
use crate::store::sql::{Db, IntoValue, Row, Select, json};
use crate::store::{Entry, NewAttempt, Store, attempts};
use crate::value::{Value, hex_bytes};

/// Who takes a lock.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The process.
    pub process: ProcessIdentity,
    /// The run it takes the lock for.
    pub run: RunId,
}

impl Owner {
    /// This process.
    pub fn own(run: RunId) -> Result<Owner> {
        Ok(Owner { process: ProcessIdentity::own()?, run })
    }
}

/// A lock as its row describes it.
#[derive(Debug, Clone, Serialize)]
pub struct LockInfo {
    /// The process that took it.
    pub process: ProcessIdentity,
    /// Its run.
    pub run: RunId,
    /// Since when.
    pub taken_at: Timestamp,
    /// Until when it holds without renewal, in seconds since 1970 by the database's clock.
    pub lease_until_secs: i64,
    #[serde(skip)]
    token: String,
    #[serde(skip)]
    file_id: String,
}

impl LockInfo {
    /// `pid 4711 on host db1 since 2026-12-01T00:00:00Z`.
    pub fn owner_text(&self) -> String {
        format!("pid {} on host {} since {:.0}", self.process.pid, self.process.host, self.taken_at)
    }
}

/// A lock that is held. Dropping it releases the `flock` but leaves the row, as a crash would:
/// the next owner then says that it takes over. [`Store::unlock_table`] releases both.
#[derive(Debug)]
pub struct TableLock {
    task: u32,
    table: String,
    token: String,
    /// The owner it was taken over from, in words, when that had died.
    pub taken_over: Option<LockInfo>,
    /// Held as long as the lock; close-on-exec, so that no child keeps it alive.
    _file: Flock<File>,
}

impl TableLock {
    /// The task.
    pub fn task(&self) -> u32 {
        self.task
    }

    /// The sub-task's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// What gives it back, when it is written down: [`Entry::Unlock`]. The `flock` goes with
    /// this value.
    pub fn giving_back(&self) -> Entry {
        Entry::Unlock { task: self.task, table: self.table.clone(), token: self.token.clone() }
    }
}

const LOCK_COLUMNS: [&str; 6] = [
    "lock_token",
    "lock_owner",
    "lock_file_id",
    "lock_run_id",
    "lock_taken_at",
    "lock_lease_until",
];

impl Store {
    /// Takes the lock of a sub-task for `lease_secs` seconds, to be renewed well before they are
    /// over. Does not wait.
    ///
    /// # Errors
    /// [`Kind::Locked`] while another owner lives, naming it; [`Kind::Config`] when there is no
    /// such sub-task.
    pub fn lock_table(
        &mut self,
        task: u32,
        table: &str,
        owner: &Owner,
        lease_secs: u32,
    ) -> Result<TableLock> {
        self.lock_and(task, table, owner, lease_secs, |_, _| Ok(()))
    }

    /// The same, and an attempt begins with it.
    pub fn launch(
        &mut self,
        attempt: &NewAttempt,
        owner: &Owner,
        lease_secs: u32,
    ) -> Result<TableLock> {
        let (task, table) = (attempt.task, attempt.table.as_str());
        self.lock_and(task, table, owner, lease_secs, |db, previous| {
            let renewed = |lock: &LockInfo| lock.lease_until_secs - i64::from(lease_secs);
            let alive_at = previous.and_then(|lock| Timestamp::from_second(renewed(lock)).ok());
            attempts::launch(db, attempt, alive_at)
        })
    }

    fn lock_and(
        &mut self,
        task: u32,
        table: &str,
        owner: &Owner,
        lease_secs: u32,
        then: impl Fn(&mut Db, Option<&LockInfo>) -> Result<()>,
    ) -> Result<TableLock> {
        let path = self.lock_file(task, table);
        let Some(mut file) = try_flock(&path)? else {
            let holder = self.read(|db| holder(db, task, table, false))?;
            return Err(locked(task, table, holder.as_ref()));
        };
        let file_id = file_id(&mut file)
            .map_err(|e| e.context(format!("could not use the lock file {}", path.display())))?;
        let embedded = self.is_embedded();
        let token = random_hex()?;
        let taken_over = self.transaction(|db| {
            let previous = holder(db, task, table, true)?;
            if let Some(previous) = &previous
                && !embedded
                && !is_dead(previous, &file_id, owner)?
                && db.now_secs()? <= previous.lease_until_secs
            {
                return Err(locked(task, table, Some(previous)));
            }
            let until = db.now_secs()? + i64::from(lease_secs);
            let set = [
                ("lock_token", (&token).into_value()),
                ("lock_owner", json(&owner.process)?),
                ("lock_file_id", (&file_id).into_value()),
                ("lock_run_id", owner.run.to_string().into_value()),
                ("lock_taken_at", Timestamp::now().into_value()),
                ("lock_lease_until", until.into_value()),
            ];
            db.update("task_detail", &set, of_table(task, table))?;
            then(db, previous.as_ref())?;
            Ok(previous)
        })?;
        Ok(TableLock { task, table: table.to_owned(), token, taken_over, _file: file })
    }

    /// Makes the lease last `lease_secs` seconds from now.
    ///
    /// # Errors
    /// [`Kind::Fenced`] when somebody else has the lock: the run must stop at once.
    pub fn renew_lock(&mut self, lock: &TableLock, lease_secs: u32) -> Result<()> {
        self.transaction(|db| {
            let Some(holder) = holder(db, lock.task, &lock.table, true)?
                .filter(|holder| holder.token == lock.token)
            else {
                return Err(taken_away(lock));
            };
            let until = db.now_secs()? + i64::from(lease_secs);
            let set = [("lock_lease_until", until.into_value())];
            let mine = of_table(lock.task, &lock.table).eq("lock_token", &holder.token);
            db.update("task_detail", &set, mine).map(drop)
        })
    }

    /// Gives the lock back; one that somebody else has taken over stays theirs.
    pub fn unlock_table(&mut self, lock: TableLock) -> Result<()> {
        self.transaction(|db| unlock(db, lock.task, &lock.table, &lock.token))
    }

    /// Who holds the lock of a sub-task, as far as its row says; whether it lives is another
    /// matter.
    pub fn lock_holder(&mut self, task: u32, table: &str) -> Result<Option<LockInfo>> {
        self.read(|db| holder(db, task, table, false))
    }

    /// The lock file: named by instance too, so that two configuration databases can share a
    /// home directory, and by a hash, since a table's name may be too long for a file's.
    fn lock_file(&self, task: u32, table: &str) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(self.instance_id().as_bytes());
        hash.update(table.as_bytes());
        let hash = hex_bytes::encode(&hash.finalize()[..8]);
        self.home().run_dir().join(format!("{task}.{hash}.lock"))
    }
}

/// Gives a lock back by its token; one that somebody else has taken over stays theirs.
pub(super) fn unlock(db: &mut Db, task: u32, table: &str, token: &str) -> Result<()> {
    let mine = || of_table(task, table).eq("lock_token", token);
    // A sub-task that was removed while it ran has waited for this.
    db.delete("task_detail", mine().eq("is_removed", true))?;
    let free = LOCK_COLUMNS.map(|column| (column, Value::Null));
    db.update("task_detail", &free, mine()).map(drop)
}

/// Whether somebody works at a sub-task, as far as can be told: its lock is held, its lease is not
/// over, and its owner is not known to be dead.
pub(super) fn is_under_way(db: &mut Db, task: u32, table: &str) -> Result<bool> {
    let held = match holder(db, task, table, false) {
        // Not configured any more.
        Err(e) if e.kind == Kind::Config => None,
        held => held?,
    };
    let Some(held) = held else { return Ok(false) };
    Ok(!held.process.is_known_dead()? && db.now_secs()? <= held.lease_until_secs)
}

fn holder(db: &mut Db, task: u32, table: &str, for_update: bool) -> Result<Option<LockInfo>> {
    let mut select = Select::new("task_detail", &LOCK_COLUMNS).filter(of_table(task, table));
    if for_update {
        select = select.for_update();
    }
    let rows = db.select(select)?;
    let Some(row) = rows.first() else {
        return Err(Error::new(Kind::Config, format!("task {task} has no table {table}"))
            .hint("See what is configured: ssync export."));
    };
    let Some(token) = row.opt_text("lock_token") else { return Ok(None) };
    lock_info(row, token).map(Some)
}

fn lock_info(row: &Row, token: String) -> Result<LockInfo> {
    Ok(LockInfo {
        process: row.json("lock_owner")?,
        run: row.parsed("lock_run_id")?,
        taken_at: row.time("lock_taken_at")?,
        lease_until_secs: row.number("lock_lease_until")?,
        token,
        file_id: row.text("lock_file_id")?,
    })
}

/// Whether an owner is known to have died, by one who holds the `flock` of the file `file_id`.
/// Another boot says nothing: hosts can share a name, and a copied home its lock files.
fn is_dead(previous: &LockInfo, file_id: &str, me: &Owner) -> Result<bool> {
    if previous.process.boot_id != me.process.boot_id {
        return Ok(false);
    }
    Ok(previous.file_id == file_id || previous.process.is_known_dead()?)
}

fn locked(task: u32, table: &str, holder: Option<&LockInfo>) -> Error {
    let error =
        Error::new(Kind::Locked, format!("table {table} of task {task} is being transferred"));
    match holder {
        Some(holder) => error
            .detail(format!("by {}", holder.owner_text()))
            .detail(format!("run {}", holder.run))
            .hint("Wait until that run has ended, or end it."),
        // Between the flock and the row, or after the row and before the flock is gone.
        None => error
            .detail("by a process of this host that is just starting or ending")
            .hint("Try again."),
    }
}

fn taken_away(lock: &TableLock) -> Error {
    Error::new(
        Kind::Fenced,
        format!("the lock of table {} of task {} was taken over", lock.table, lock.task),
    )
    .hint("Its lease ran out: this process or the configuration database was not reached in time.")
}

/// Opens a lock file, mode 0600, making it when it is not there.
pub(super) fn open_lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::from(e).context(format!("could not open {}", path.display())))
}

/// Locks the file without waiting; `None` when somebody else has.
fn try_flock(path: &Path) -> Result<Option<Flock<File>>> {
    match Flock::lock(open_lock_file(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, e)) => Err(Error::from(e).context(format!("could not lock {}", path.display()))),
    }
}

/// What stands in the lock file; written by whoever locks it first.
fn file_id(file: &mut Flock<File>) -> Result<String> {
    let mut id = String::new();
    file.read_to_string(&mut id)?;
    if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id);
    }
    let id = random_hex()?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    Ok(id)
}

/// 128 random bits as 32 hexadecimal digits.
pub(super) fn random_hex() -> Result<String> {
    Ok(RunId::random()?.to_string())
}
