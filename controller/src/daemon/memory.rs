//! What a daemon leaves for the next one should it be killed: when each schedule fires next, and
//! what is still to run of the firings under way; and for those who look at a daemon that does not
//! answer, which tasks it cannot start. Removed by a daemon that ends in good order.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ssync_common::config::Schedule;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::Home;

use super::control::Unable;
use super::timetable::Secs;

const FILE: &str = "daemon.json";

/// All schedules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The configuration database that they are of.
    pub instance: String,
    /// Each of them.
    pub schedules: Vec<Remembered>,
    /// The daemon that has left this.
    #[serde(default)]
    pub pid: u32,
    /// Tasks that it cannot start.
    #[serde(default)]
    pub unable: Vec<Unable>,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// As it was configured.
    pub schedule: Schedule,
    /// Its next firing.
    pub next: Secs,
    /// Firings to be made up for.
    pub backlog: Vec<Secs>,
    /// The firing under way.
    pub under_way: Option<UnderWay>,
}

/// A firing whose tasks run, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its moment.
    pub due: Secs,
    /// The task that was started.
    pub current: Option<u32>,
    /// Those that come after it.
    pub remaining: VecDeque<u32>,
}

fn path(home: &Home) -> PathBuf {
    home.run_dir().join(FILE)
}

impl Memory {
    /// What was left; nothing when the last daemon ended in good order.
    pub fn load(home: &Home) -> Memory {
        let Ok(text) = std::fs::read(path(home)) else { return Memory::default() };
        serde_json::from_slice(&text).unwrap_or_else(|e| {
            log::warn!("what the last daemon left cannot be read, schedules begin anew: {e}");
            Memory::default()
        })
    }

    /// Leaves it, in one piece.
    pub fn save(&self, home: &Home) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::new(Kind::Internal, format!("memory: {e}")))?;
        let new = path(home).with_extension("new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600).open(&new)?.write_all(&text)?;
        std::fs::rename(new, path(home))?;
        Ok(())
    }

    /// Leaves nothing.
    pub fn forget(home: &Home) {
        // Not there: as it should be.
        let _ = std::fs::remove_file(path(home));
    }

    /// What is remembered of a schedule, if it is still the same. (Another `kind` or `overrun`
    /// moves no firing.)
    pub fn of(&self, schedule: &Schedule) -> Option<&Remembered> {
        let same = |r: &&Remembered| {
            let old = &r.schedule;
            (old.id, old.every, &old.start, &old.zone)
                == (schedule.id, schedule.every, &schedule.start, &schedule.zone)
        };
        self.schedules.iter().find(same)
    }
}
