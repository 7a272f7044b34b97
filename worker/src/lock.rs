//! The lock on a sub-task, as a run sees it.

use ssync_common::error::Result;

/// A held lock; it keeps itself alive. Dropping it without [`TableLock::release`] leaves it to be taken over.
pub trait TableLock: Send {
    /// Who held it before and had died, for a message.
    fn taken_over_from(&self) -> Option<&str>;

    /// Gives it back.
    fn release(self: Box<Self>) -> Result<()>;
}
