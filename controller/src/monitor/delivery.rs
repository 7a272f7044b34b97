//! One receiver's thread: events in their order, each until it is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use ssync_common::config::Receiver;
use ssync_common::error::Result;
use ssync_common::event::{Event, Follower, Position};

use super::state::{Fate, ReceiverState, follower};
use super::telling::{Stop, Wording, tell};

/// How often it is looked for new events.
const GLANCE: Duration = Duration::from_millis(250);
/// Pause after the first failed attempt; doubled for each further one.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Attempts at a message that is refused for itself.
const REFUSED_ATTEMPTS_MAX: u32 = 5;

/// A receiver that is being served.
pub struct Delivery {
    receiver: Receiver,
    wording: Wording,
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Delivery {
    /// Begins to serve a receiver, from where it was left.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(home: &Path, receiver: Receiver, wording: Wording) -> Result<Delivery> {
        let stop = Arc::new(AtomicBool::new(false));
        let state = ReceiverState::load(home, &receiver.name);
        let follower = follower(home, &receiver, &state)?;
        let served = Served {
            home: home.to_path_buf(),
            receiver: receiver.clone(),
            wording: wording.clone(),
            state,
            follower,
            is_saved: true,
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("to {}", receiver.name).chars().take(15).collect())
            .spawn(move || served.run())?;
        Ok(Delivery { receiver, wording, stop, thread })
    }

    /// Whether it serves just this receiver in this way.
    pub fn serves(&self, receiver: &Receiver, wording: &Wording) -> bool {
        self.receiver == *receiver && self.wording == *wording && !self.thread.is_finished()
    }

    /// Asks it to end; an attempt that is under way is first brought to its end.
    pub fn ask_to_end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// The receiver's name.
    pub fn name(&self) -> &str {
        &self.receiver.name
    }
}

struct Served {
    home: PathBuf,
    receiver: Receiver,
    wording: Wording,
    state: ReceiverState,
    follower: Follower,
    is_saved: bool,
    stop: Arc<Stop>,
}

impl Served {
    fn run(mut self) {
        while !self.is_stopped() {
            match self.follower.peek() {
                Ok(Some((event, behind))) => self.deal_with(&event, behind),
                Ok(None) => {
                    self.save();
                    self.pause(GLANCE);
                }
                Err(e) => {
                    log::error!(receiver = self.receiver.name; "could not read events: {e}");
                    self.pause(PAUSE_FIRST);
                }
            }
        }
        self.save();
    }

    fn deal_with(&mut self, event: &Event, behind: Position) {
        match self.state.fate(&self.receiver, event, Timestamp::now()) {
            Fate::Tell => return self.attempt(event, behind),
            Fate::Unwanted => {}
            Fate::Repeated => self.state.repeated(event),
            Fate::TooOld => self.give_up(event, "it is too old"),
        }
        self.advance(behind);
    }

    fn attempt(&mut self, event: &Event, behind: Position) {
        let message = self.state.with_more(event);
        match tell(&self.receiver, &message, &self.wording, &self.stop) {
            Ok(()) => {
                self.state.told(event, self.receiver.repeat.secs(), Timestamp::now());
                self.advance(behind);
                // At once: whatever is told before it is saved, is told again after a crash.
                self.save();
            }
            // Not its fault.
            Err(_) if self.is_stopped() => {}
            Err(failure) => {
                self.state.failed(&failure.error, Timestamp::now());
                let (attempts, name) = (self.state.attempts, &self.receiver.name);
                log::warn!(receiver = name, attempts = attempts; "not told: {:?}", failure.error);
                if failure.refused && attempts >= REFUSED_ATTEMPTS_MAX {
                    self.give_up(event, "it is refused");
                    self.advance(behind);
                }
                self.is_saved = false;
                self.save();
                self.pause(backoff(attempts));
            }
        }
    }

    fn give_up(&mut self, event: &Event, why: &str) {
        let (name, id, what) = (&self.receiver.name, &event.id, event.what.name());
        log::error!(receiver = name, id = id, event = what; "given up without telling: {why}");
        self.state.given_up += 1;
        self.state.attempts = 0;
    }

    fn advance(&mut self, behind: Position) {
        self.follower.advance(behind);
        self.is_saved = false;
    }

    fn save(&mut self) {
        if self.is_saved {
            return;
        }
        self.state.position = self.follower.position().clone();
        match self.state.save(&self.home, &self.receiver.name) {
            Ok(()) => self.is_saved = true,
            Err(e) => log::error!(receiver = self.receiver.name; "{e}"),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits, but not longer than until it is to end.
    fn pause(&self, how_long: Duration) {
        let until = std::time::Instant::now() + how_long;
        while !self.is_stopped() {
            let Some(left) = until.checked_duration_since(std::time::Instant::now()) else {
                return;
            };
            std::thread::park_timeout(left);
        }
    }
}

/// The pause after so many failed attempts.
fn backoff(attempts: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_an_end() {
        let secs = |attempts| backoff(attempts).as_secs();
        assert_eq!([1, 2, 3, 9, 10, u32::MAX].map(secs), [1, 2, 4, 256, 300, 300]);
        assert_eq!(secs(0), 1);
    }
}
