//! One error type for every process, able to cross process borders.
//!
//! An error has a stable [`Kind`], one primary line (what failed and why), facts as details, and
//! advice as a hint. Rendering and exit codes are decided in one place, from the kind.
//! Row values and secrets never go into an error, row *keys* do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What comes after a failure, for every task and whatever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// The same work may succeed later: the table is tried again, as often as the task's `retries`.
    Retry,
    /// The same, and the server was out of reach: a task that was suspended for it may go on by
    /// itself once the server is back (`resume_when_back`).
    RetryAndResume,
    /// Only a change of something can help.
    Nothing,
}

/// Declares the kinds of failure, each with what comes after it: the one table of them.
macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $kind:ident: $remedy:ident;)+) => {
        /// What sort of failure this is. Policy (retry, exit code, "is it the row's fault?") hangs on
        /// the kind alone, never on message text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Kind { $($(#[doc = $about])+ $kind,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),+];

            /// The word in JSON and in the configuration database.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind)),+ }
            }

            /// What comes after a failure of this kind.
            pub fn remedy(self) -> Remedy {
                match self { $(Kind::$kind => Remedy::$remedy),+ }
            }

            /// What it means, for people.
            pub fn about(self) -> &'static str {
                match self { $(Kind::$kind => concat!($($about),+).trim_ascii()),+ }
            }
        }
    };
}

kinds! {
    /// The command line or a request was wrong.
    Usage: Nothing;
    /// The configuration is incomplete, contradictory or names something that does not exist.
    Config: Nothing;
    /// A database could not be reached: refused, timed out, starting, shutting down, no room for
    /// another connection.
    Connect: RetryAndResume;
    /// A database refused the login. Never tried again: more attempts could lock the account.
    Login: Nothing;
    /// An established connection broke; whether the last statement took effect is unknown until the
    /// ledger is read.
    Lost: RetryAndResume;
    /// The account may not do this.
    Privilege: Nothing;
    /// One row's data is at fault: the database named it so (too long, out of range, duplicate
    /// key, NULL where none may be …), or a value does not decode or decrypt.
    Data: Nothing;
    /// A parent row is missing at the destination; may heal when the parent arrives.
    Parent: Nothing;
    /// Deadlock or lock wait timeout; the transaction was rolled back.
    Contention: Retry;
    /// The batch belongs to an epoch that is over: nothing was written.
    Fenced: Nothing;
    /// No room: disk, table space or shared memory.
    Full: Nothing;
    /// A lossy or impossible column pair, a missing guarantee: refused before any harm.
    Refused: Nothing;
    /// Another process holds the lock on this table.
    Locked: Nothing;
    /// The operator asked to stop.
    Interrupted: Nothing;
    /// The operator paused this table, or its task.
    Paused: Nothing;
    /// Rows claimed, landed and settled do not add up.
    Balance: Nothing;
    /// Another failure of a database statement.
    Database: Nothing;
    /// Another failure of the operating system.
    System: Nothing;
    /// A bug in ssync.
    Internal: Nothing;
}

impl Kind {
    /// Whether the same work may succeed when simply tried again on a new connection.
    pub fn is_retried(self) -> bool {
        match self.remedy() {
            Remedy::Retry | Remedy::RetryAndResume => true,
            Remedy::Nothing => false,
        }
    }

    /// Whether it says that a server is out of reach.
    pub fn is_unreachable(self) -> bool {
        self.remedy() == Remedy::RetryAndResume
    }

    /// Whether the row itself is at fault, so that splitting the batch isolates it.
    pub fn is_row_fault(self) -> bool {
        matches!(self, Kind::Data | Kind::Parent)
    }

    /// Whether an operator wanted it so: nothing is wrong.
    pub fn is_wanted(self) -> bool {
        matches!(self, Kind::Interrupted | Kind::Paused)
    }

    /// The documented exit code of a command that ends with this error.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage | Kind::Config | Kind::Refused => 2,
            Kind::Interrupted | Kind::Paused => 130,
            _ => 1,
        }
    }
}

/// A failure: one primary line, then facts, then advice.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Stable kind.
    pub kind: Kind,
    /// Primary line: what failed and why; lower case, no full stop.
    pub message: String,
    /// Facts, one a line: link, table, column, row key, the database's own words.
    pub details: Vec<String>,
    /// Advice in full sentences.
    pub hint: Option<String>,
    /// The column at fault, where the database named one.
    pub column: Option<String>,
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with its primary line.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), details: Vec::new(), hint: None, column: None }
    }

    /// Adds a fact.
    #[must_use]
    pub fn detail(mut self, fact: impl Into<String>) -> Self {
        self.details.push(fact.into());
        self
    }

    /// Sets the advice, unless an earlier, more specific one is there.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| advice.into());
        self
    }

    /// Names the column at fault.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>) -> Self {
        self.column = Some(name.into());
        self
    }

    /// Puts what was being done in front: `could not read orders: <cause>`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        for fact in &self.details {
            write!(f, " | {fact}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " | hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let full = match e.kind() {
            std::io::ErrorKind::StorageFull => "the disk is full",
            std::io::ErrorKind::QuotaExceeded => "the disk quota is used up",
            _ => return Error::new(Kind::System, e.to_string()),
        };
        Error::new(Kind::Full, full).detail(e.to_string())
    }
}

impl From<nix::errno::Errno> for Error {
    fn from(e: nix::errno::Errno) -> Self {
        std::io::Error::from(e).into()
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(e: arrow_schema::ArrowError) -> Self {
        Error::new(Kind::Internal, format!("record batch: {e}"))
    }
}

/// Shorthand: `bail!(Kind::Config, "no task {id}")`.
#[macro_export]
macro_rules! bail {
    ($kind:expr, $($arg:tt)+) => {
        return Err($crate::error::Error::new($kind, format!($($arg)+)))
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_documented_kinds_are_the_ones_there_are() {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let row = |k: &Kind| {
            let (again, back) = (yes(k.is_retried()), yes(k.is_unreachable()));
            format!("| `{}` | {} | {again} | {back} |\n", k.name(), k.about())
        };
        let rows: String = Kind::ALL.iter().map(row).collect();
        let head = "| kind | meaning | tried again | `resume_when_back` |\n\
                    | --- | --- | --- | --- |\n";
        crate::config::reference::keep_current(head, "\n<!-- end of kinds -->", &rows);
    }

    #[test]
    fn serde_knows_the_names_of_kinds() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert!(kind.about().ends_with('.') && !kind.about().contains('|'), "{kind:?}");
        }
    }

    #[test]
    fn a_full_disk_is_called_that() {
        let full = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let told = full.context("could not write /var/lib/ssync/run/backlog.new");
        assert_eq!(
            (told.kind, told.message.as_str()),
            (Kind::Full, "could not write /var/lib/ssync/run/backlog.new: the disk is full")
        );
    }

    #[test]
    fn a_refused_login_is_never_tried_again() {
        assert!(!Kind::Login.is_retried() && !Kind::Login.is_unreachable());
        assert!(Kind::Connect.is_retried() && Kind::Connect.is_unreachable());
        assert_eq!(Kind::Login.exit_code(), Kind::Connect.exit_code());
    }
}
