//! Everything the coordinating thread of a table run reacts to.

use ssync_common::error::Result;
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
