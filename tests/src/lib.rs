//! What the end-to-end tests share: real servers, real processes. And the benchmark.

use std::time::{Duration, Instant};

pub mod bench;
pub mod cable;
pub mod cases;
pub mod command;
pub mod listeners;
pub mod rng;
pub mod servers;
pub mod sites;
pub mod ssync;
pub mod tls_front;

/// How long a test waits for a state before that counts as a hang. Many times what anything here
/// takes on a busy machine; only a failing test waits so long. Nothing is proved by a shorter one:
/// a test waits for a state, never for a time.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until `done`.
///
/// # Panics
/// When it is in vain.
#[track_caller]
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < PATIENCE, "in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
