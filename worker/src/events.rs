//! Everything the coordinating thread of a table run reacts to.

use crossbeam_channel::Sender;
use ssync_common::error::{Error, Kind, Result};
use ssync_writer::protocol::FromWriter;

use crate::reading::Filled;
use crate::settling::Settlement;

/// An event for the coordinator.
pub enum Event {
    /// A slot holds a batch.
    Filled(Filled),
    /// The reading thread has ended.
    ReaderDone(Result<()>),
    /// A writer said something, or (`None`) is gone.
    Writer {
        /// Its number.
        n: usize,
        /// Which of the processes that have had this number: a late word from a dead one is
        /// recognised.
        life: u64,
        /// What it said.
        message: Option<FromWriter>,
    },
    /// Source and ledger have been told of parts that landed or failed.
    Settled(Result<Settlement>),
}

/// Tells the coordinator when a thread of the run panics: else it would wait for ever.
pub struct Alarm<T> {
    events: Sender<Event>,
    event: fn(Result<T>) -> Event,
}

impl<T> Alarm<T> {
    /// Held by a thread for as long as it runs.
    pub fn new(events: &Sender<Event>, event: fn(Result<T>) -> Event) -> Alarm<T> {
        Alarm { events: events.clone(), event }
    }
}

impl<T> Drop for Alarm<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or("a thread").to_owned();
            let error = Error::new(Kind::Internal, format!("a thread of the run panicked: {name}"));
            // When nobody listens any more the run has ended by itself.
            let _ = self.events.send((self.event)(Err(error)));
        }
    }
}
