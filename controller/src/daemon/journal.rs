//! What was decided about firings, and why: for `ssync explain`.
//!
//! A file, `run/firings.jsonl`, since the database may be the very thing that is down: one JSON
//! object a line, appended as things happen. For every task and schedule the last
//! [`KEPT`] decisions are kept; when the file has grown past [`FILE_BYTES_MAX`], it is written
//! anew with those.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ssync_common::error::{Error, Result};
use ssync_common::store::Home;

/// Decisions kept for a task or schedule.
pub const KEPT: usize = 40;
/// The file is written anew beyond this.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// An old file longer than this is not read; it was not written by this.
const READ_BYTES_MAX: u64 = 64 << 20;
const FILE: &str = "firings.jsonl";

/// What happened to a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// A task process was started.
    Started,
    /// A task process of a daemon before was found and taken up.
    TakenUp,
    /// It ended, and everything landed, but for tables that are held.
    Done,
    /// It came to its end, and some rows could not be sent.
    DoneWithErrors,
    /// It was told to leave, or paused under way.
    Interrupted,
    /// It ended otherwise.
    Failed,
    /// The task was not started.
    Skipped,
    /// The task cannot be started: something that it is configured with is missing.
    Unable,
    /// The task waits for its turn.
    Waiting,
    /// Firings of the schedule were left out.
    Missed,
}

impl Happened {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Happened::Started => "started",
            Happened::TakenUp => "taken up",
            Happened::Done => "done",
            Happened::DoneWithErrors => "done with errors",
            Happened::Interrupted => "interrupted",
            Happened::Failed => "failed",
            Happened::Skipped => "skipped",
            Happened::Unable => "cannot start",
            Happened::Waiting => "waiting",
            Happened::Missed => "missed",
        }
    }

    /// Whether many of the same in a row say no more than one.
    fn repeats(self) -> bool {
        match self {
            Happened::Skipped | Happened::Unable | Happened::Waiting | Happened::Missed => true,
            Happened::Started
            | Happened::TakenUp
            | Happened::Done
            | Happened::DoneWithErrors
            | Happened::Interrupted
            | Happened::Failed => false,
        }
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// The task; `None`: the whole schedule.
    pub task: Option<u32>,
    /// The schedule; `None`: by hand.
    pub schedule: Option<u32>,
    /// The firing's moment; of several, the last one's, and of missed ones the first of those.
    pub due: Option<Timestamp>,
    /// What.
    pub what: Happened,
    /// Why, for people.
    pub reason: String,
    /// How many firings it stands for.
    pub count: u64,
    /// The last time it was made.
    pub last: Timestamp,
}

impl Decision {
    /// One made now.
    pub fn new(what: Happened, reason: impl Into<String>) -> Decision {
        let now = Timestamp::now();
        Decision {
            at: now,
            task: None,
            schedule: None,
            due: None,
            what,
            reason: reason.into(),
            count: 1,
            last: now,
        }
    }

    fn is_again(&self, other: &Decision) -> bool {
        self.what.repeats()
            && (self.what, self.task, self.schedule) == (other.what, other.task, other.schedule)
            && self.reason == other.reason
    }

    fn place(&self) -> Place {
        match (self.task, self.schedule) {
            (Some(task), _) => Place::Task(task),
            (None, schedule) => Place::Schedule(schedule.unwrap_or_default()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Task(u32),
    Schedule(u32),
}

/// The decisions, in memory and on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    kept: BTreeMap<Place, VecDeque<Decision>>,
}

impl Journal {
    /// What earlier daemons have left, to be continued.
    pub fn open(home: &Home) -> Journal {
        let mut journal = Journal::read(home);
        if let Err(e) = journal.rewrite() {
            log::warn!("decisions are not recorded: {e}");
        }
        journal
    }

    /// What is recorded, for looking at.
    pub fn read(home: &Home) -> Journal {
        let path = home.run_dir().join(FILE);
        let mut journal = Journal { file: None, bytes: 0, kept: BTreeMap::new(), path };
        let is_sound = |path: &Path| path.metadata().is_ok_and(|m| m.len() <= READ_BYTES_MAX);
        if is_sound(&journal.path) {
            let text = std::fs::read(&journal.path).unwrap_or_default();
            // A line that was cut off by a crash does not parse, and is left out.
            for decision in
                text.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok())
            {
                journal.keep(decision);
            }
        }
        journal
    }

    /// Records a decision. Never fails: what cannot be written is still known here.
    pub fn note(&mut self, decision: Decision) {
        if !self.keep(decision.clone()) {
            return;
        }
        if let Err(e) = self.append(&decision) {
            log::warn!("a decision was not recorded: {e}");
            self.file = None;
        }
    }

    /// Decisions about a task and its schedule, oldest first.
    pub fn of(&self, task: u32, schedule: Option<u32>) -> Vec<Decision> {
        let places = [Some(Place::Task(task)), schedule.map(Place::Schedule)];
        let mut found: Vec<_> = places
            .into_iter()
            .flatten()
            .filter_map(|place| self.kept.get(&place))
            .flatten()
            .cloned()
            .collect();
        found.sort_by_key(|d| d.last);
        found
    }

    /// Forgets tasks and schedules that are gone, and writes the file with all counts.
    pub fn close(&mut self) {
        if let Err(e) = self.rewrite() {
            log::warn!("decisions were not recorded: {e}");
        }
    }

    /// Forgets what is about a task or a schedule that is not configured any more.
    pub fn retain(&mut self, task: impl Fn(u32) -> bool, schedule: impl Fn(u32) -> bool) {
        self.kept.retain(|place, _| match place {
            Place::Task(id) => task(*id),
            Place::Schedule(id) => schedule(*id),
        });
    }

    /// False when it only repeats the last one.
    fn keep(&mut self, decision: Decision) -> bool {
        let list = self.kept.entry(decision.place()).or_default();
        if let Some(last) = list.back_mut()
            && last.is_again(&decision)
        {
            // Asked again about the same firing, it is the same decision.
            if decision.due.is_none() || last.due != decision.due {
                last.count += decision.count;
            }
            last.due = decision.due;
            last.last = decision.last;
            return false;
        }
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(decision);
        true
    }

    fn append(&mut self, decision: &Decision) -> Result<()> {
        if self.file.is_none() || self.bytes > FILE_BYTES_MAX {
            return self.rewrite();
        }
        let mut line = line(decision)?;
        line.push(b'\n');
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
            self.bytes += line.len() as u64;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<()> {
        let mut text = Vec::new();
        for decision in self.kept.values().flatten() {
            text.extend(line(decision)?);
            text.push(b'\n');
        }
        let new = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        std::fs::rename(&new, &self.path)?;
        self.file = Some(file);
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn line(decision: &Decision) -> Result<Vec<u8>> {
    serde_json::to_vec(decision)
        .map_err(|e| Error::new(ssync_common::error::Kind::Internal, format!("decision: {e}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn about(task: u32, what: Happened, reason: &str) -> Decision {
        Decision { task: Some(task), schedule: Some(1), ..Decision::new(what, reason) }
    }

    #[test]
    fn decisions_outlive_the_daemon_bounded_and_without_repetition() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path())).unwrap();
        std::fs::create_dir(home.run_dir()).unwrap();
        let mut journal = Journal::open(&home);
        for n in 0..3 * KEPT {
            journal.note(about(1, Happened::Started, &n.to_string()));
        }
        for _ in 0..500 {
            journal.note(about(2, Happened::Skipped, "suspended"));
        }
        journal.note(Decision {
            schedule: Some(1),
            ..Decision::new(Happened::Missed, "still under way")
        });
        assert_eq!(journal.of(2, None)[0].count, 500);
        // Killed: what was appended is there, and a torn last line harms nothing.
        let path = home.run_dir().join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\":\"20").unwrap();
        let read = Journal::read(&home);
        let reasons: Vec<_> = read.of(1, None).into_iter().map(|d| d.reason).collect();
        assert_eq!((reasons.len(), reasons[KEPT - 1].as_str()), (KEPT, "119"));
        assert_eq!(read.of(2, Some(1)).len(), 2);
        // Ended in good order: the counts too.
        journal.close();
        assert_eq!(Journal::read(&home).of(2, None)[0].count, 500);
        for n in 0..40_000 {
            journal.note(about(1, Happened::Started, &n.to_string()));
        }
        assert!(path.metadata().unwrap().len() < FILE_BYTES_MAX + 10_000);
        assert_eq!(Journal::open(&home).of(1, None).len(), KEPT);
    }
}
