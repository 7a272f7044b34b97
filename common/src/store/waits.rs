//! For how long this process has been waiting for the configuration database, for whoever tells
//! people so: a file that another process has locked, or a server that hangs, is waited for up to
//! a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is under way.
static ASKED: Mutex<Vec<(u64, Instant)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Something that the database was asked, until it is dropped.
pub(super) struct Asking(u64);

impl Asking {
    /// Begins now.
    pub(super) fn begin() -> Asking {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).push((id, Instant::now()));
        Asking(id)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != self.0);
    }
}

/// How long the configuration database has been asked for what it has not answered yet: the oldest
/// of that. Zero when it is not asked for anything.
pub fn waited() -> Duration {
    let asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    asked.iter().map(|(_, since)| since.elapsed()).max().unwrap_or_default()
}
