//! What people are to be told: events, and the reminder log of finished tables.
//!
//! Whoever meets something worth telling calls [`record`]; whoever finishes a table calls
//! [`record_table`]. Both append one line of JSON to a file of the day in `SSYNC_HOME/events`, and
//! neither ever fails: a line that cannot be written is said in the log.
//!
//! **Power failures.** [`record`] returns when the event is on the disk. Events are few: a run in
//! which all goes well records none. Lines of the reminder log come with every run of every table,
//! once a second and more, so they are left to the kernel, which writes them within half a minute;
//! what they say stands in the configuration database as well.
//!
//! `ssync monitor` follows the files and tells people; it need not run for anything to be recorded.
//!
//! ```text
//! events/events-2026-12-01.jsonl      what went wrong, and other news ([`Event`])
//! events/reminder-2026-12-01.jsonl    every finished table ([`TableEnd`])
//! ```
//!
//! Days are those of UTC. Neither a row value nor a secret stands in any line.

mod follow;
mod notice;
mod spool;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::process::RunId;

pub use follow::{
    Follower, Position, death_is_recorded, event_is_recorded, events_between, table_is_recorded,
    tables_between,
};
pub use notice::{Notice, Suspension};
pub use spool::Written;

/// Directory of the files, in `SSYNC_HOME`.
pub const DIR: &str = "events";
/// Characters kept of an event's text.
const TEXT_CHARS_MAX: usize = 16 << 10;
/// Length of a cause in characters; causes that differ only after that count as the same.
const CAUSE_CHARS_MAX: usize = 200;

/// How much an event matters; in rising order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    #[default]
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody has to act.
    Error,
}

impl Severity {
    /// The word in files and configurations.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Declares what can happen, each with its word and how much it matters.
macro_rules! whats {
    ($($(#[doc = $about:literal])+ $variant:ident = $word:literal, $severity:ident;)+) => {
        /// What has happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum What { $($(#[doc = $about])+ #[serde(rename = $word)] $variant,)+ }

        impl What {
            /// Everything that can happen.
            pub const ALL: &'static [What] = &[$(What::$variant),+];

            /// The word in files, configurations and templates.
            pub fn name(self) -> &'static str {
                match self { $(What::$variant => $word),+ }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(What::$variant => Severity::$severity),+ }
            }

            /// When it is told, for people.
            pub fn about(self) -> &'static str {
                match self { $(What::$variant => concat!($($about),+).trim_ascii()),+ }
            }
        }
    };
}

whats! {
    /// A table of a task failed.
    TaskFailed = "task_failed", Error;
    /// A task of a real-time schedule does not run again until it is resumed.
    TaskSuspended = "task_suspended", Error;
    /// A task that was suspended because a server was out of reach goes on by itself: its links
    /// answer again (`resume_when_back`).
    TaskResumed = "task_resumed", Info;
    /// A running task has made no progress for the configured time.
    TaskStuck = "task_stuck", Error;
    /// A task that was told to be stuck moves again.
    TaskMoves = "task_moves", Info;
    /// A task process has died without ending its run.
    TaskDied = "task_died", Error;
    /// A task process was ended by the daemon because it made no progress.
    TaskKilled = "task_killed", Error;
    /// A table came to its end, but some rows are bad (within the configured limit).
    RowsBad = "rows_bad", Warning;
    /// The source or the destination of a table is on another server than before.
    ServerChanged = "server_changed", Warning;
    /// Firings of a schedule were left out because a run outlasted its frequency, or because the
    /// daemon was not there.
    FiringsMissed = "firings_missed", Warning;
    /// A task that is due waits, because as many tasks run on this host as there can be.
    TasksFull = "tasks_full", Warning;
    /// The configuration database is out of reach.
    ConfigurationLost = "configuration_lost", Warning;
    /// It is back.
    ConfigurationBack = "configuration_back", Info;
    /// The configuration database did not take a record of a run; the record is kept in a file.
    RecordsRefused = "records_refused", Error;
    /// The daemon has started.
    ControllerStarted = "controller_started", Info;
    /// The daemon has stopped in good order.
    ControllerStopped = "controller_stopped", Info;
    /// The daemon has died, or hangs, and nobody has started it again.
    ControllerDown = "controller_down", Error;
    /// The watchdog found the daemon dead or hanging, and started it again.
    WatchdogRestart = "watchdog_restart", Error;
    /// The watchdog could not bring the daemon back, and has given up.
    WatchdogGaveUp = "watchdog_gave_up", Error;
    /// The daily brief.
    DailyBrief = "daily_brief", Info;
    /// A table has finished, well or not. Only receivers that name it are told.
    TableDone = "table_done", Info;
    /// Somebody tries a receiver out.
    Test = "test", Info;
}

/// Something that people may want to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Tells one event from all others; the same one delivered twice has the same id.
    pub id: String,
    /// When, UTC.
    pub at: Timestamp,
    /// The host.
    pub host: String,
    /// What.
    pub what: What,
    /// How much it matters.
    pub severity: Severity,
    /// The task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<u32>,
    /// The sub-task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The run it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The cause, in a form that is the same whenever the cause is: receivers hold a repeated event
    /// back only while its cause is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What happened, for people: complete by itself, since it may be all that somebody reads on
    /// a telephone. Never a row value, never a secret.
    pub text: String,
}

impl Event {
    /// Something that has happened now, of its usual severity.
    pub fn new(what: What, text: impl Into<String>) -> Event {
        let at = Timestamp::now();
        Event {
            // Without randomness the time still tells events apart.
            id: RunId::random().map_or_else(|_| at.to_string(), |id| id.to_string()),
            at,
            host: crate::process::identity::host_name(),
            what,
            severity: what.severity(),
            task: None,
            table: None,
            run: None,
            cause: None,
            text: text.into().chars().take(TEXT_CHARS_MAX).collect(),
        }
    }

    /// About this task.
    #[must_use]
    pub fn of_task(self, task: u32) -> Event {
        Event { task: Some(task), ..self }
    }

    /// About this sub-task.
    #[must_use]
    pub fn of_table(self, task: u32, table: &str) -> Event {
        Event { task: Some(task), table: Some(table.to_owned()), ..self }
    }

    /// Because of this failure. Bad rows are one cause, whichever they are.
    #[must_use]
    pub fn because(self, failure: &Error) -> Event {
        let kind = failure.kind.name();
        match failure.kind.is_row_fault() {
            true => self.because_of(kind),
            false => self.because_of(&format!("{kind} {failure}")),
        }
    }

    /// Because of something, in words; numbers in them do not make it another cause.
    #[must_use]
    pub fn because_of(self, words: &str) -> Event {
        let words = words.chars().filter(|c| !c.is_ascii_digit());
        Event { cause: Some(words.take(CAUSE_CHARS_MAX).collect()), ..self }
    }

    /// Makes this the event that reports the death of a process, which is given by its random id. All
    /// reports of one death share an id, so that it is reported once.
    #[must_use]
    pub fn of_death(self, process: impl Display) -> Event {
        Event { id: death_id(process), ..self }
    }

    /// About this run, where there is one.
    #[must_use]
    pub fn of_run(self, run: Option<impl ToString>) -> Event {
        Event { run: run.map(|run| run.to_string()), ..self }
    }
}

/// The id of the event that tells of the death of a process.
fn death_id(process: impl Display) -> String {
    format!("{process}-died")
}

/// How a finished table ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableOutcome {
    /// Everything landed that was to land.
    Done,
    /// It came to its end, but some rows are bad or wait for a parent.
    DoneWithErrors,
    /// It failed.
    Failed,
    /// An operator ended it.
    Interrupted,
    /// An operator paused it under way; it goes on when it is resumed.
    Paused,
}

/// A line of the reminder log (A12): a table has finished, well or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEnd {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// The run; `None` when it failed before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When it began, UTC.
    pub begin: Timestamp,
    /// When it ended, UTC.
    pub end: Timestamp,
    /// How it ended.
    pub result: TableOutcome,
    /// Rows that landed in this attempt.
    pub rows: u64,
    /// Rows that were bad in this attempt, or wait for a parent.
    pub bad_rows: u64,
    /// Bytes that travelled in this attempt.
    pub bytes: u64,
    /// The run in all of its attempts, where this one has resumed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_totals: Option<RunTotals>,
    /// What sort of failure ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Kind>,
    /// Tells this end from all others; older versions have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// What a run that was resumed has come to in all of its attempts, as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTotals {
    /// How many attempts.
    pub attempts: u64,
    /// Rows that landed.
    pub landed: u64,
    /// Rows that are bad by now: without those that were put right meanwhile.
    pub failed: u64,
}

/// Records an event, and returns when it is on the disk. Never fails: what cannot be recorded is
/// logged.
pub fn record(home: &Path, event: &Event) {
    if let Some(written) = record_for_now(home, event) {
        written.reach_disk();
    }
}

/// Records an event for all to see, for a caller that may not wait for a disk; another thread is to
/// see to it that it gets there.
#[must_use]
pub fn record_for_now(home: &Path, event: &Event) -> Option<Written> {
    spool::append(home, spool::EVENTS, event.at, event)
}

/// Records that a table has finished, without waiting for the disk. Never fails.
pub fn record_table(home: &Path, end: &TableEnd) {
    drop(spool::append(home, spool::REMINDER, end.end, end));
}

/// Directory of the files of this home.
pub fn dir(home: &Path) -> PathBuf {
    home.join(DIR)
}

/// Removes files of days before `before`, and the oldest files as long as all of them together
/// have more than `bytes_max` bytes (today's stay); how many went.
///
/// # Errors
/// When the directory cannot be read or a file cannot be removed.
pub fn prune(home: &Path, before: Timestamp, bytes_max: u64) -> Result<usize> {
    spool::prune(home, before, bytes_max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_documented_events_are_the_ones_there_are() {
        let row =
            |w: &What| format!("| `{}` | {} | {} |\n", w.name(), w.severity().name(), w.about());
        let rows: String = What::ALL.iter().map(row).collect();
        let head = "| event | severity | when |\n| --- | --- | --- |\n";
        crate::config::reference::keep_current(head, "\n## `[brief]`", &rows);
    }

    #[test]
    fn words_are_unique_and_serde_knows_them() {
        for (i, what) in What::ALL.iter().enumerate() {
            assert!(What::ALL[i + 1..].iter().all(|w| w.name() != what.name()));
            assert_eq!(serde_json::to_value(what).unwrap(), what.name());
            assert!(what.about().ends_with('.') && !what.about().contains('|'));
        }
    }
}
