//! What a process is waiting for, as a number in shared memory and a word for people.

use serde::{Deserialize, Serialize};

/// Declares an enum that travels through shared memory as a `u32` and to people as a word. A
/// number that no variant has (another version, damage) reads as the first variant.
macro_rules! code_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $code:literal => $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[repr(u32)]
        $vis enum $name { $($(#[$variant_meta])* #[serde(rename = $word)] $variant = $code,)+ }

        impl $name {
            /// All variants.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The number in shared memory.
            pub fn code(self) -> u32 {
                self as u32
            }

            /// From the number in shared memory.
            pub fn from_code(code: u32) -> Self {
                Self::ALL.iter().copied().find(|v| v.code() == code).unwrap_or(Self::ALL[0])
            }

            /// The word for people.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

code_enum! {
    /// What a process waits for at this moment.
    pub enum Waiting {
        /// It works, or has nothing to do.
        Nothing = 0 => "nothing",
        /// Rows from the source database.
        SourceRead = 1 => "source",
        /// A claim at the source.
        Claim = 2 => "claim",
        /// A settlement at the source.
        Settle = 3 => "settle",
        /// Encryption or decryption.
        Crypto = 4 => "crypto",
        /// A free slot of the batch ring: the writers are the bottleneck.
        Slot = 5 => "slot",
        /// A batch to write: the reader is the bottleneck.
        Batch = 6 => "batch",
        /// The destination database.
        Destination = 7 => "destination",
        /// A writer's verdict.
        Verdict = 8 => "verdict",
        /// A connection permit.
        Permit = 9 => "permit",
        /// A row or table lock in a database.
        Lock = 10 => "lock",
        /// The destination's fence.
        Fence = 11 => "fence",
        /// The time window.
        Window = 12 => "window",
        /// An operator: the table is paused.
        Paused = 13 => "paused",
        /// A connection being opened.
        Connect = 14 => "connect",
        /// The configuration database.
        Configuration = 15 => "configuration",
        /// A rate limit.
        Throttle = 16 => "throttle",
        /// The next attempt, after a failure that may pass by itself.
        Retry = 17 => "retry",
    }
}

code_enum! {
    /// Where a task stands in its current table.
    pub enum Phase {
        /// Reading its parameters, starting its writers.
        Starting = 0 => "starting",
        /// Opening connections.
        Connecting = 1 => "connecting",
        /// Taking the table's locks.
        Locking = 2 => "locking",
        /// Settling what an earlier run left behind.
        Recovering = 3 => "recovering",
        /// SQL before.
        Before = 4 => "before",
        /// Claiming, reading, landing and settling.
        Transferring = 5 => "transferring",
        /// Everything is read; the last batches land and settle.
        Draining = 6 => "draining",
        /// Adding up.
        Balancing = 7 => "balancing",
        /// SQL after.
        After = 8 => "after",
        /// Releasing locks, ending writers.
        Closing = 9 => "closing",
    }
}

code_enum! {
    /// State of a task (A24).
    pub enum TaskState {
        /// Not run.
        NotRun = 0 => "not run",
        /// Running.
        Running = 1 => "running",
        /// Finished, well or not: see [`Outcome`].
        Finished = 2 => "finished",
    }
}

code_enum! {
    /// How a finished task ended.
    pub enum Outcome {
        /// Not finished.
        Open = 0 => "open",
        /// Everything landed.
        Succeeded = 1 => "succeeded",
        /// Something failed.
        Failed = 2 => "failed",
        /// Stopped by an operator.
        Interrupted = 3 => "interrupted",
        /// It came to its end, and some rows could not be sent.
        DoneWithErrors = 4 => "done with errors",
    }
}

code_enum! {
    /// State of a writer process.
    pub enum WriterState {
        /// No writer has this number.
        Absent = 0 => "absent",
        /// Started, not ready.
        Starting = 1 => "starting",
        /// Ready for a batch.
        Idle = 2 => "idle",
        /// Working on a batch.
        Busy = 3 => "busy",
        /// Ended in good order.
        Ended = 4 => "ended",
        /// Died; its batch is being settled by the ledger.
        Died = 5 => "died",
    }
}

/// What is waited for, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// For what.
    pub waiting_for: Waiting,
    /// Since when, milliseconds since 1970; 0 when nothing is waited for.
    pub since_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_are_unique_and_unknown_codes_are_harmless() {
        for (i, a) in Waiting::ALL.iter().enumerate() {
            assert_eq!(Waiting::from_code(a.code()), *a);
            for b in &Waiting::ALL[i + 1..] {
                assert_ne!(a.code(), b.code());
                assert_ne!(a.name(), b.name());
            }
        }
        assert_eq!(Waiting::from_code(u32::MAX), Waiting::Nothing);
        assert_eq!(TaskState::from_code(1).code(), 1);
    }
}
