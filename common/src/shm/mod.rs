//! Shared memory: the batch ring between a task process and its writers, and the task table that
//! monitors read. `README.md` beside this file says who writes each field and why it is sound.

pub mod lock;
pub mod ring;
pub mod segment;
pub mod seqlock;
pub mod task_table;
pub mod waiting;
pub mod writer_entry;

use std::path::Path;

pub use ring::Ring;
pub use segment::Segment;
pub use task_table::{TaskSlot, TaskTable, TaskView};
pub use waiting::Waiting;
pub use writer_entry::{WriterEntry, WriterView};

use sha2::{Digest, Sha256};

/// What every segment of one instance is called by first: `/ssync-<uid>-<hash of SSYNC_HOME>-`.
/// Two users, or two homes, never meet.
pub fn prefix(home: &Path) -> String {
    let home = std::fs::canonicalize(home).unwrap_or_else(|_| home.to_path_buf());
    let digest = Sha256::digest(home.as_os_str().as_encoded_bytes());
    let hash: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("/ssync-{}-{hash}-", nix::unistd::geteuid())
}

/// Milliseconds since 1970 by this host's clock.
pub(crate) fn now_ms() -> u64 {
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
