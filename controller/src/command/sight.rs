//! What `ssync status` and `ssync health` go by where the configuration database need not answer: shared
//! memory, the daemon, and the files in `run`.

use ssync_common::config::{Config, TaskNames};
use ssync_common::error::Result;
use ssync_common::store::{Home, Store};

use super::late;
use crate::backlog::Backlogs;
use crate::books::spool::{self, Waiting};
use crate::daemon;
use crate::daemon::control::{DaemonStatus, Unable};
use crate::existing;
use crate::live::{HEARTBEAT_AGE_MS_MAX, Live, Pulse};
use crate::parameters::InForce;
use crate::render::note;

/// What is said where a [daemon is lacking](Sight::lacks_daemon).
pub const NO_DAEMON: &str = "no daemon runs, and schedules are configured";

/// One look.
#[derive(Clone)]
pub struct Sight {
    /// Where.
    pub home: Home,
    /// Shared memory.
    pub live: Live,
    /// How the daemon is, by shared memory.
    pub pulse: Pulse,
    /// What the daemon says, where one runs and answers.
    pub daemon: Option<DaemonStatus>,
    /// Whether one was asked, and has not answered.
    pub is_silent: bool,
    /// Rows that wait to be sent, as they were counted last.
    pub backlogs: Backlogs,
    /// Records that wait for the configuration database.
    pub waiting: Vec<Waiting>,
    /// Names of tasks, as the daemon knows them.
    pub names: TaskNames,
}

impl Sight {
    /// Looks. Nothing is made, and nothing waited for longer than a moment.
    ///
    /// # Errors
    /// When there is no such home, or shared memory cannot be read.
    pub fn of(home: Home) -> Result<Sight> {
        existing::check(&home)?;
        let asked = daemon::command::status(&home);
        let is_silent = asked.is_err();
        let daemon = asked.unwrap_or_else(|e| {
            note(&e.message);
            None
        });
        let live = Live::read(home.path())?;
        let known = in_force(&home).map(|f| f.tasks).unwrap_or_default();
        Ok(Sight {
            names: TaskNames::of(known.iter().map(|p| &p.task)),
            pulse: Pulse::of(&live, home.path(), HEARTBEAT_AGE_MS_MAX),
            backlogs: Backlogs::read(home.path()),
            waiting: spool::waiting(home.path(), None),
            home,
            live,
            daemon,
            is_silent,
        })
    }

    /// Opens the configuration database that the daemon knows. With a daemon at work, one that is gone
    /// is no reason to make an empty one. Records that wait are left where they are: to write them down
    /// could take long.
    pub fn open(&self) -> impl FnOnce() -> Result<Store> + Send + Clone + use<> {
        let instance = self.daemon.as_ref().and_then(|d| d.instance.clone());
        let home = self.home.clone();
        move || existing::open(&home, instance.as_deref())
    }

    /// What the daemon has in force, for when the configuration database does not answer.
    pub fn in_force(&self) -> Option<InForce> {
        in_force(&self.home)
    }

    /// Whether tasks have schedules that nobody fires: there is no daemon, and nothing has gone wrong.
    pub fn lacks_daemon(&self, config: &Config) -> bool {
        self.pulse == Pulse::Stopped && config.tasks.iter().any(|task| task.schedule.is_some())
    }

    /// Tasks that the daemon cannot start. Without one, there is nothing to say.
    pub fn unable(&self) -> Vec<Unable> {
        match (&self.daemon, self.pulse) {
            (Some(daemon), _) => daemon.unable.clone(),
            (None, Pulse::Alive { pid, .. } | Pulse::Hangs { pid, .. }) => {
                late::unable(&self.home, pid)
            }
            (None, Pulse::Dead | Pulse::Stopped) => Vec::new(),
        }
    }
}

fn in_force(home: &Home) -> Option<InForce> {
    InForce::read(home.path()).unwrap_or_else(|e| {
        log::warn!("{e:?}");
        None
    })
}
