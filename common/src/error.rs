//! One error type for every process, able to cross process borders.
//!
//! An error has a stable [`Kind`], one primary line (what failed and why), facts as details, and
//! advice as a hint. Rendering and exit codes are decided in one place, from the kind.
//! Row values and secrets never go into an error, row *keys* do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What sort of failure this is. Policy (retry, exit code, "is it the row's fault?") hangs on the
/// kind alone, never on message text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The command line or a request was wrong.
    Usage,
    /// The configuration is incomplete, contradictory or names something that does not exist.
    Config,
    /// A database could not be reached, or refused the login.
    Connect,
    /// An established connection broke; whether the last statement took effect is unknown.
    Lost,
    /// The account may not do this.
    Privilege,
    /// One row's data is at fault: the database named it so (too long, out of range, duplicate
    /// key, NULL where none may be …), or a value does not decode or decrypt.
    Data,
    /// A parent row is missing at the destination; may heal when the parent arrives.
    Parent,
    /// Deadlock or lock wait timeout; the transaction was rolled back and may be tried again.
    Contention,
    /// The batch belongs to an epoch that is over: nothing was written.
    Fenced,
    /// No room: disk, table space or shared memory.
    Full,
    /// A lossy or impossible column pair, a missing guarantee: refused before any harm.
    Refused,
    /// Somebody else holds the lock on this table.
    Locked,
    /// The operator asked to stop.
    Interrupted,
    /// The operator paused this table, or its task.
    Paused,
    /// The books do not balance: rows claimed, landed and settled do not add up.
    Balance,
    /// Another failure of a database statement.
    Database,
    /// Another failure of the operating system.
    System,
    /// A bug in ssync.
    Internal,
}

impl Kind {
    /// Whether the same work may succeed when simply tried again on a healthy connection.
    pub fn is_transient(self) -> bool {
        match self {
            Kind::Connect | Kind::Lost | Kind::Contention | Kind::Fenced => true,
            Kind::Usage
            | Kind::Config
            | Kind::Privilege
            | Kind::Data
            | Kind::Parent
            | Kind::Full
            | Kind::Refused
            | Kind::Locked
            | Kind::Interrupted
            | Kind::Paused
            | Kind::Balance
            | Kind::Database
            | Kind::System
            | Kind::Internal => false,
        }
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
        let kind = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Full,
            _ => Kind::System,
        };
        Error::new(kind, e.to_string())
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
