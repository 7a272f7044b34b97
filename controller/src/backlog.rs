//! How many rows of each source wait to be sent, as the daemon counted them last: a file,
//! `run/backlog.json`, that the daemon alone writes and everybody may read. Looking never counts.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ssync_common::config::{TableMode, TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_worker::backlog::COUNTED_MAX;

use crate::live::span;
use crate::terminal::grouped;

const FILE: &str = "backlog.json";

/// What is known of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Rows that wait; `None`: unknown.
    pub rows: Option<u64>,
    /// Whether there may be more: so many were counted, and no further.
    pub at_least: bool,
    /// When they were counted, or could not be; `None`: not yet.
    pub counted_at: Option<Timestamp>,
    /// Why it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Backlog {
    /// By what was counted at this moment; `None`: no index leads to the rows.
    pub fn counted(rows: Result<Option<u64>>, at: Timestamp) -> Backlog {
        let (rows, reason) = match rows {
            Ok(Some(rows)) => (Some(rows), None),
            Ok(None) => (None, Some("no index begins with sync_status".to_owned())),
            Err(e) => (None, Some(e.message)),
        };
        let at_least = rows.is_some_and(|rows| rows >= COUNTED_MAX);
        Backlog { rows, at_least, counted_at: Some(at), reason }
    }

    /// Whether it was counted before the last run of the table ended, and says nothing of what that run
    /// has sent.
    pub fn is_before(&self, ended: Option<Timestamp>) -> bool {
        self.rows.is_some() && self.counted_at.is_some_and(|at| ended.is_some_and(|end| end > at))
    }

    fn unknown() -> Backlog {
        let reason = Some("not counted yet".to_owned());
        Backlog { rows: None, at_least: false, counted_at: None, reason }
    }

    /// For people, as of now; `ended` is when the last run of the table ended.
    pub fn words(&self, now_ms: u64, ended: Option<Timestamp>) -> String {
        let age = |at: Timestamp| {
            span(now_ms.saturating_sub(u64::try_from(at.as_millisecond()).unwrap_or(0)))
        };
        let (Some(rows), Some(at)) = (self.rows, self.counted_at) else {
            let tried = self.counted_at.map(|at| format!("tried {} ago", age(at)));
            let why: Vec<_> = self.reason.clone().into_iter().chain(tried).collect();
            return format!("backlog unknown ({})", why.join("; "));
        };
        let least = if self.at_least { "≥ " } else { "" };
        let noun = if rows == 1 { "row waits" } else { "rows wait" };
        let age = age(at);
        let before = match self.is_before(ended) {
            true => ", before its last run ended",
            false => "",
        };
        format!("{least}{} {noun} to be sent (counted {age} ago{before})", grouped(rows))
    }
}

/// What is known of one table, for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// What was counted.
    #[serde(flatten)]
    pub backlog: Backlog,
    /// Whether that was before the last run of the table ended.
    pub before_last_run: bool,
}

impl Shown {
    /// With when the last run of the table ended, where that is known.
    pub fn new(backlog: Backlog, ended: Option<Timestamp>) -> Shown {
        Shown { before_last_run: backlog.is_before(ended), backlog }
    }
}

/// One table in the file. A table that has another source by now was not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// Link, table and condition.
    pub source: Source,
    /// What was counted.
    #[serde(flatten)]
    pub backlog: Backlog,
    /// Whether the source has refused the login: more attempts could lock the account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    link: String,
    table: String,
    filter: Option<String>,
}

impl Source {
    /// Of a configured table.
    pub fn of(task: &Task, table: &TableTask) -> Source {
        Source {
            link: task.source.clone(),
            table: table.source.clone(),
            filter: table.filter.clone(),
        }
    }
}

/// What is known of all tables.
#[derive(Debug, Clone, Default)]
pub struct Backlogs(BTreeMap<(u32, String), Counted>);

impl Backlogs {
    /// What the daemon wrote last; nothing where there is nothing that can be read.
    pub fn read(home: &Path) -> Backlogs {
        let counted = match std::fs::read(path(home)) {
            Ok(text) => serde_json::from_slice::<Vec<Counted>>(&text).unwrap_or_else(|e| {
                log::warn!("the counted rows cannot be read: {e}");
                Vec::new()
            }),
            Err(e) => {
                if e.kind() != ErrorKind::NotFound {
                    log::warn!("the counted rows cannot be read: {e}");
                }
                Vec::new()
            }
        };
        Backlogs(counted.into_iter().map(|c| ((c.task, c.table.clone()), c)).collect())
    }

    /// Of a configured table; `None` where its rows have no states.
    pub fn of(&self, task: &Task, table: &TableTask) -> Option<Backlog> {
        if table.mode != TableMode::Status {
            return None;
        }
        let known = self.0.get(&(task.id, table.name.clone()));
        let known = known.filter(|counted| counted.source == Source::of(task, table));
        Some(known.map_or_else(Backlog::unknown, |counted| counted.backlog.clone()))
    }

    /// Puts what was counted in its place.
    pub fn put(&mut self, counted: Counted) {
        self.0.insert((counted.task, counted.table.clone()), counted);
    }

    /// Forgets tables that are not configured any more.
    pub fn retain(&mut self, is_kept: impl Fn(u32, &str) -> bool) {
        self.0.retain(|(task, table), _| is_kept(*task, table));
    }

    /// Leaves it for readers, in one piece.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, home: &Path) -> Result<()> {
        let all: Vec<_> = self.0.values().collect();
        let text = serde_json::to_vec(&all)
            .map_err(|e| Error::new(Kind::Internal, format!("counted rows: {e}")))?;
        let new = path(home).with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            options
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&new)?
                .write_all(&text)?;
            std::fs::rename(&new, path(home))
        };
        write().map_err(|e| Error::from(e).context(format!("could not write {}", new.display())))
    }
}

fn path(home: &Path) -> PathBuf {
    home.join("run").join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_when_it_was_counted_and_whether_it_is_one() {
        let at = Timestamp::UNIX_EPOCH;
        let words = |rows: Result<Option<u64>>, ended: Option<Timestamp>| {
            Backlog::counted(rows, at).words(12_000, ended)
        };
        assert_eq!(words(Ok(Some(1)), None), "1 row waits to be sent (counted 12 s ago)");
        assert_eq!(words(Ok(Some(0)), Some(at)), "0 rows wait to be sent (counted 12 s ago)");
        assert_eq!(
            words(Ok(Some(100_000)), Timestamp::from_second(3).ok()),
            "≥ 100,000 rows wait to be sent (counted 12 s ago, before its last run ended)"
        );
        assert_eq!(
            words(Ok(None), None),
            "backlog unknown (no index begins with sync_status; tried 12 s ago)"
        );
        let lost = Error::new(Kind::Lost, "server gone");
        assert_eq!(words(Err(lost), None), "backlog unknown (server gone; tried 12 s ago)");
    }
}
