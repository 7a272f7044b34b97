//! A notice: what has to be reported to people because a table's run has ended. It is stored until it
//! has been sent, see [`crate::store::Store::notices`].

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::TableOutcome;
use crate::error::{Error, Kind, Result};
use crate::process::{ProcessIdentity, RunId};

/// A process that lives tells its notices within moments. After so long anybody does: its host may
/// be gone.
const OWN_TIME: SignedDuration = SignedDuration::from_mins(10);

/// A table has ended, and people are to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id. The events and log lines that report it carry this id, so that nothing is reported twice.
    pub id: RunId,
    /// The process that is to tell it.
    pub process: ProcessIdentity,
    /// The home directory of that process, where events are recorded. Empty: any process may send it.
    pub home: String,
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// The run, if it got that far.
    pub run: Option<RunId>,
    /// Whether the run had been begun by an attempt before this one: what it came to in all, the
    /// database knows.
    pub is_resumed: bool,
    /// When the attempt began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How it ended, as far as this attempt knows.
    pub outcome: TableOutcome,
    /// Rows that landed in it.
    pub landed: u64,
    /// Rows that were bad in it.
    pub bad: u64,
    /// Rows that wait for a parent.
    pub waiting: u64,
    /// Bytes that travelled in it.
    pub bytes: u64,
    /// The failure.
    pub error: Option<Error>,
    /// The task is suspended because of it (A16).
    pub suspension: Option<Suspension>,
}

/// A task does not run until it is resumed, since a table of it has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Why.
    pub reason: String,
    /// The failure, where the task may resume by itself once the server is back.
    pub error: Option<Kind>,
    /// What lets it run again, for people.
    pub way_back: String,
}

/// Whether these are one directory, whatever it is called.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || one.canonicalize().ok().zip(other.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

impl Notice {
    /// One that this process is to tell, of a table that ends now.
    ///
    /// # Errors
    /// When the system has no randomness, or does not say who this process is.
    pub fn new(
        home: &Path,
        (task, table): (u32, &str),
        begin: Timestamp,
        outcome: TableOutcome,
    ) -> Result<Notice> {
        Ok(Notice {
            id: RunId::random()?,
            process: ProcessIdentity::own()?,
            home: home.to_string_lossy().into_owned(),
            task,
            table: table.to_owned(),
            run: None,
            is_resumed: false,
            begin,
            end: Timestamp::now(),
            outcome,
            landed: 0,
            bad: 0,
            waiting: 0,
            bytes: 0,
            error: None,
            suspension: None,
        })
    }

    /// One of a run with bad rows whose process died before it could write anything down; another run
    /// has come in its place. Whoever opens the configuration database next tells it.
    ///
    /// # Errors
    /// When the system does not say who this process is.
    pub fn left_behind(
        run: RunId,
        (task, table): (u32, &str),
        begin: Timestamp,
        end: Timestamp,
    ) -> Result<Notice> {
        let (id, home) = (run, Path::new(""));
        let notice = Notice::new(home, (task, table), begin, TableOutcome::DoneWithErrors)?;
        Ok(Notice { id, run: Some(run), is_resumed: true, end, ..notice })
    }

    /// Whether this process is to tell it, whose home directory this is, since the process whose
    /// notice it is will not.
    pub fn is_left(&self, home: &Path, now: Timestamp) -> bool {
        if self.home.is_empty() || now.duration_since(self.end) > OWN_TIME {
            return true;
        }
        // One that cannot be looked at is taken for alive.
        is_same(Path::new(&self.home), home) && self.process.is_known_dead().unwrap_or(false)
    }
}
