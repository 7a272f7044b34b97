//! What survives the monitor: how far each receiver is, and what has been noticed.
//!
//! Small JSON files under `events/`, replaced whole. One that cannot be read is as good as none:
//! the receiver begins an hour ago, what has been noticed is noticed again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ssync_common::config::{Brief, Config, Monitor, Receiver, Retention, TaskNames};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{self, Event, Follower, Position, What};

use super::telling::Wording;

/// What is older is not told any more, in hours.
const TOLD_HOURS_MAX: i64 = 72;
/// How far back a new receiver begins, in hours.
const NEW_HOURS: i64 = 1;

/// One receiver's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceiverState {
    /// Everything before is dealt with.
    pub position: Position,
    /// What happened before is not told.
    pub since: Option<Timestamp>,
    /// Events that were told.
    pub told: u64,
    /// Events that were refused too often, or became too old.
    pub given_up: u64,
    /// Events that were left out because the same had been told shortly before.
    pub repeated: u64,
    /// When somebody was last told.
    pub told_at: Option<Timestamp>,
    /// Attempts at the event that is to be told now.
    pub attempts: u32,
    /// Since when nothing could be told; `None`: all is well.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
    /// What was told lately of what recurs, by event, task and table.
    pub recent: BTreeMap<String, Recent>,
}

/// What was told lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// When.
    pub at: Timestamp,
    /// How many more there have been since.
    pub more: u64,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is to be told.
    Tell,
    /// It is nothing for this receiver.
    Unwanted,
    /// It is too old.
    TooOld,
    /// The same was told shortly before.
    Repeated,
}

impl ReceiverState {
    /// The state of a receiver; a new one if there is none yet.
    pub fn load(home: &Path, receiver: &str) -> ReceiverState {
        read(&receiver_path(home, receiver)).unwrap_or_else(|| ReceiverState {
            since: Timestamp::now().checked_sub(NEW_HOURS.hours()).ok(),
            ..ReceiverState::default()
        })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Path, receiver: &str) -> Result<()> {
        write(&receiver_path(home, receiver), self)
    }

    /// What becomes of `event` now.
    pub fn fate(&self, receiver: &Receiver, event: &Event, now: Timestamp) -> Fate {
        if !receiver.wants(event.what, event.severity) {
            return Fate::Unwanted;
        }
        if self.since.is_some_and(|since| event.at < since) {
            return Fate::Unwanted;
        }
        if now.duration_since(event.at).as_hours() >= TOLD_HOURS_MAX {
            return Fate::TooOld;
        }
        let recent = self.recent.get(&key(event)).filter(|_| recurs(event.what));
        let repeat = i64::try_from(receiver.repeat.secs()).unwrap_or(i64::MAX);
        // By when it happened: what waited for a receiver that was down is no repetition.
        match recent.is_some_and(|r| event.at.duration_since(r.at).as_secs() < repeat) {
            true => Fate::Repeated,
            false => Fate::Tell,
        }
    }

    /// The event was told at `now`.
    pub fn told(&mut self, event: &Event, repeat_secs: u64, now: Timestamp) {
        self.told += 1;
        self.told_at = Some(now);
        (self.attempts, self.failing_since, self.error) = (0, None, None);
        let repeat = i64::try_from(repeat_secs).unwrap_or(i64::MAX);
        self.recent.retain(|_, r| event.at.duration_since(r.at).as_secs() < repeat);
        if recurs(event.what) {
            self.recent.insert(key(event), Recent { at: event.at, more: 0 });
        }
    }

    /// The event is left out.
    pub fn repeated(&mut self, event: &Event) {
        self.repeated += 1;
        if let Some(recent) = self.recent.get_mut(&key(event)) {
            recent.more += 1;
        }
    }

    /// The event with a word about those that were left out since the last one like it.
    pub fn with_more(&self, event: &Event) -> Event {
        let more = self.recent.get(&key(event)).map_or(0, |r| r.more);
        let mut event = event.clone();
        if more > 0 && recurs(event.what) {
            event.text += &format!(" (and {more} more like it since the last message)");
        }
        event
    }

    /// An attempt has failed.
    pub fn failed(&mut self, error: &Error, now: Timestamp) {
        self.attempts = self.attempts.saturating_add(1);
        self.failing_since.get_or_insert(now);
        self.error = Some(error.message.clone());
    }
}

/// Reads on where `state` is, leaving out what is too old anyway.
///
/// # Errors
/// When the files of the events cannot be read.
pub fn follower(home: &Path, receiver: &Receiver, state: &ReceiverState) -> Result<Follower> {
    let mut follower = Follower::new(home, state.position.clone(), receiver.wants_tables());
    let oldest = Timestamp::now().checked_sub(TOLD_HOURS_MAX.hours()).unwrap_or(Timestamp::MIN);
    follower.skip_days_before(state.since.map_or(oldest, |since| since.max(oldest)))?;
    Ok(follower)
}

/// How a receiver stands, for people.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Its state.
    #[serde(flatten)]
    pub state: ReceiverState,
    /// Events that wait to be told, as far as they were counted.
    pub waiting: u64,
}

/// Events that are counted as waiting, at most.
const WAITING_MAX: u64 = 10_000;

/// How a receiver stands, whether or not a monitor runs.
///
/// # Errors
/// When the files of the events cannot be read.
pub fn standing(home: &Path, receiver: &Receiver) -> Result<Standing> {
    let state = ReceiverState::load(home, &receiver.name);
    let mut follower = follower(home, receiver, &state)?;
    let (mut waiting, now) = (0, Timestamp::now());
    while waiting < WAITING_MAX {
        let Some((event, behind)) = follower.peek()? else { break };
        waiting += u64::from(state.fate(receiver, &event, now) == Fate::Tell);
        follower.advance(behind);
    }
    Ok(Standing { state, waiting })
}

fn key(event: &Event) -> String {
    let task = event.task.map(|t| t.to_string()).unwrap_or_default();
    let cause = event.cause.as_ref().map_or(String::new(), |cause| format!(" {cause}"));
    let table = event.table.as_deref().unwrap_or_default();
    format!("{} {task} {table}{cause}", event.what.name())
}

/// Whether a schedule can make it happen again and again without anybody doing anything.
fn recurs(what: What) -> bool {
    match what {
        What::TaskFailed
        | What::TaskStuck
        | What::TaskMoves
        | What::TaskDied
        | What::TaskKilled
        | What::RowsBad
        | What::ServerChanged
        | What::FiringsMissed
        | What::TasksFull
        | What::ConfigurationLost
        | What::ConfigurationBack
        | What::RecordsRefused
        | What::WatchdogRestart => true,
        // Told in pairs.
        What::TaskSuspended
        | What::TaskResumed
        | What::ControllerStarted
        | What::ControllerStopped
        | What::ControllerDown
        | What::WatchdogGaveUp
        | What::DailyBrief
        | What::TableDone
        | What::Test => false,
    }
}

/// The monitor's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MonitorState {
    /// Up to when briefs have covered everything.
    pub briefed_until: Option<Timestamp>,
    /// When old records were last removed.
    pub pruned_at: Option<Timestamp>,
    /// Runs whose death was told.
    pub dead: BTreeSet<String>,
    /// Runs that were told to be stuck, and do not move yet.
    pub stuck: BTreeSet<String>,
    /// Whether it was told that the controller is down, and it is so still.
    pub controller_down: bool,
    /// What the configuration said last, for when its database is out of reach.
    pub settings: Option<Settings>,
}

/// What of the configuration concerns the monitor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// The brief.
    pub brief: Brief,
    /// What is looked for.
    pub monitor: Monitor,
    /// How long records are kept.
    pub retention: Retention,
    /// Names of tasks.
    #[serde(default)]
    pub names: TaskNames,
}

impl From<Config> for Settings {
    fn from(config: Config) -> Settings {
        Settings {
            names: TaskNames::of(&config.tasks),
            receivers: config.receivers,
            brief: config.brief,
            monitor: config.monitor,
            retention: config.retention,
        }
    }
}

impl Settings {
    /// How events are worded.
    pub fn wording(&self) -> Wording {
        Wording { language: self.brief.language, names: self.names.clone() }
    }
}

impl MonitorState {
    /// The state; a new one if there is none yet.
    pub fn load(home: &Path) -> MonitorState {
        read(&monitor_path(home)).unwrap_or_default()
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Path) -> Result<()> {
        write(&monitor_path(home), self)
    }
}

fn monitor_path(home: &Path) -> PathBuf {
    event::dir(home).join("monitor.json")
}

fn receiver_path(home: &Path, receiver: &str) -> PathBuf {
    event::dir(home).join("receivers").join(format!("{receiver}.json"))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| log::error!("{} is damaged: {e}", path.display()))
            .ok(),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => {
            log::error!("could not read {}: {e}", path.display());
            None
        }
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let told =
        |e: std::io::Error| Error::from(e).context(format!("could not write {}", path.display()));
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(Kind::Internal, format!("a state is no JSON: {e}")))?;
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told)?;
    }
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        // Else a power failure could leave an empty file under the name.
        file.sync_data()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(told)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ssync_common::config::Config;

    use super::*;

    fn receiver() -> Receiver {
        let toml = "[[receiver]]\nname = \"a\"\nkind = \"command\"\ncommand = [\"/bin/true\"]\n\
                    severity = \"warning\"\n";
        Config::from_toml(toml).unwrap().receivers.remove(0)
    }

    fn event(what: What, at: &str) -> Event {
        Event { at: at.parse().unwrap(), ..Event::new(what, "text").of_table(7, "orders") }
    }

    #[test]
    fn what_recurs_is_told_once_in_a_while_with_a_count() {
        let (receiver, mut state) = (receiver(), ReceiverState::default());
        let now: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let first = event(What::TaskFailed, "2026-12-01T11:00:00Z");
        assert_eq!(state.fate(&receiver, &first, now), Fate::Tell);
        state.told(&first, receiver.repeat.secs(), now);
        let again = event(What::TaskFailed, "2026-12-01T11:09:59Z");
        assert_eq!(state.fate(&receiver, &again, now), Fate::Repeated);
        state.repeated(&again);
        let other = event(What::TaskFailed, "2026-12-01T11:05:00Z").of_table(7, "items");
        assert_eq!(state.fate(&receiver, &other, now), Fate::Tell);
        let later = event(What::TaskFailed, "2026-12-01T11:10:00Z");
        assert_eq!(state.fate(&receiver, &later, now), Fate::Tell);
        assert_eq!(
            state.with_more(&later).text,
            "text (and 1 more like it since the last message)"
        );
        state.told(&later, receiver.repeat.secs(), now);
        assert_eq!(state.with_more(&later).text, "text");
        // What an operator has to act upon each time is told each time.
        for _ in 0..2 {
            let held = event(What::TaskSuspended, "2026-12-01T11:10:00Z");
            assert_eq!(state.fate(&receiver, &held, now), Fate::Tell);
            state.told(&held, receiver.repeat.secs(), now);
        }
    }

    #[test]
    fn a_new_cause_of_the_same_failure_is_told_at_once_and_the_same_one_is_not() {
        use ssync_common::error::{Error, Kind};
        let (receiver, mut state) = (receiver(), ReceiverState::default());
        let now: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let failed = |kind: Kind, words: &str| {
            event(What::TaskFailed, "2026-12-01T11:59:00Z").because(&Error::new(kind, words))
        };
        for (kind, words, fate) in [
            (Kind::Connect, "link a: connection refused after 3 s", Fate::Tell),
            (Kind::Connect, "link a: connection refused after 17 s", Fate::Repeated),
            (Kind::Login, "link a: access denied", Fate::Tell),
            (Kind::Login, "link a: access denied", Fate::Repeated),
            (Kind::Connect, "link a: connection refused after 4 s", Fate::Repeated),
            // Each row of its own would never end.
            (Kind::Data, "2 bad rows, 1 allowed: too long", Fate::Tell),
            (Kind::Data, "9 bad rows, 1 allowed: out of range", Fate::Repeated),
        ] {
            let event = failed(kind, words);
            assert_eq!(state.fate(&receiver, &event, now), fate, "{words}");
            if fate == Fate::Tell {
                state.told(&event, receiver.repeat.secs(), now);
            }
        }
    }

    #[test]
    fn what_is_too_old_or_before_a_receivers_time_is_not_told() {
        let receiver = receiver();
        let mut state = ReceiverState::default();
        let now: Timestamp = "2026-12-04T12:00:00Z".parse().unwrap();
        let fate = |state: &ReceiverState, at: &str| {
            state.fate(&receiver, &event(What::TaskFailed, at), now)
        };
        assert_eq!(fate(&state, "2026-12-01T12:00:01Z"), Fate::Tell);
        assert_eq!(fate(&state, "2026-12-01T12:00:00Z"), Fate::TooOld);
        state.since = Some("2026-12-04T11:00:00Z".parse().unwrap());
        assert_eq!(fate(&state, "2026-12-04T10:59:59Z"), Fate::Unwanted);
        assert_eq!(fate(&state, "2026-12-04T11:00:00Z"), Fate::Tell);
    }

    #[test]
    fn a_state_survives_and_a_damaged_one_begins_anew() {
        let home = tempfile::tempdir().unwrap();
        let mut state = ReceiverState::load(home.path(), "a");
        state.told(&event(What::TaskFailed, "2026-12-01T11:00:00Z"), 600, Timestamp::now());
        state.position.insert("events-2026-12-01.jsonl".into(), 17);
        state.save(home.path(), "a").unwrap();
        assert_eq!(ReceiverState::load(home.path(), "a"), state);
        std::fs::write(receiver_path(home.path(), "a"), "{").unwrap();
        assert_eq!(ReceiverState::load(home.path(), "a").told, 0);
    }
}
