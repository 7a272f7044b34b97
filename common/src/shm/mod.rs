//! Shared memory: the batch ring between a task process and its writers, the task table that
//! monitors read, and the arena with the parameters of every task. `README.md` beside this file says who writes each field and why it is sound.

pub mod arena;
pub mod lock;
mod nameless;
pub mod ring;
mod room;
pub mod segment;
pub mod seqlock;
pub mod task_table;
pub mod waiting;
pub mod writer_entry;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub use arena::Arena;
pub use ring::Ring;
pub use segment::Segment;
pub use task_table::{TaskSlot, TaskTable, TaskView, is_controller_alive, is_controller_wanted};
pub use waiting::Waiting;
pub use writer_entry::{WriterEntry, WriterView};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// What every segment of one instance is called by first: `/ssync-<uid>-<hash of SSYNC_HOME>-`.
///
/// Two users, or two homes, never meet: the hash covers the directory itself (device and inode),
/// not its path alone, since containers that share `/dev/shm` may well have the same path. So
/// `home` has to exist.
pub fn prefix(home: &Path) -> Result<String> {
    let missing = |e| Error::from(e).context(format!("could not find {}", home.display()));
    let path = std::fs::canonicalize(home).map_err(missing)?;
    let directory = std::fs::metadata(&path).map_err(missing)?;
    let digest = Sha256::new()
        .chain_update(directory.dev().to_le_bytes())
        .chain_update(directory.ino().to_le_bytes())
        .chain_update(path.as_os_str().as_encoded_bytes())
        .finalize();
    let hash: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    Ok(format!("{}{hash}-", user_prefix()))
}

fn user_prefix() -> String {
    format!("/ssync-{}-", nix::unistd::geteuid())
}

/// Removes what nobody can use any more of this user's shared memory: arenas whose controller is dead, task
/// tables whose home directory is gone, and batch rings, which had names before version 0.2, of dead task processes. The
/// names. [`TaskTable::open_or_create`] does it, so that whatever was killed, the next start takes its remains away.
pub fn clean_up() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in Segment::names(&user_prefix())? {
        let gone = if name.ends_with(task_table::NAME_SUFFIX) {
            TaskTable::unlink_if_homeless(&name)?
        } else {
            Segment::unlink_if_ownerless(&name)?
        };
        if gone {
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Milliseconds since 1970 by this host's clock.
pub fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Names that no other test uses, and that this test's end removes.
#[cfg(test)]
pub(crate) fn test_name(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("/ssync-test-{}-{n}-{what}", std::process::id())
}
