//! The configuration database: what is configured, who holds which lock, what ran.
//!
//! By default a SQLite file in the home directory; a MySQL database when `SSYNC_CONFIG_DB` names
//! one. All of it is written on [`crate::connector::Connection`] and its dialect, so that any
//! database with a connector can hold it. Tables and columns: [`schema`], and
//! `docs/CONFIGURATION.md`, which is made from it.
//!
//! | module | tables |
//! | --- | --- |
//! | `config_tables` | the configuration itself, [`Store::load`] and [`Store::apply`] |
//! | `versions` | every configuration that was applied (`T_CONFIG_VERSION`) |
//! | `secrets`, `seal`, `secret_source` | passwords and keys, sealed under the host key |
//! | `lock` | the lock in `task_detail` |
//! | `holds` | pause, suspension |
//! | `runs`, `errors` | `T_RUN`, `T_BATCH`, `proc_use_times`, `T_ERROR_ROW` |
//! | `attempts` | every time that a process goes at a sub-task (`T_ATTEMPT`) |
//! | `notices` | what people are still to be told of runs that have ended (`T_NOTICE`) |
//! | `empties` | runs that had nothing to send, counted (`T_EMPTY_RUN`) |
//! | `entries` | `T_ORIGIN`: the same and locks, holds, each once, whatever happened on the way |
//! | `counters` | `T_RUN_COUNTER`: which runs were this home's |
//! | `renames` | records and pauses of sub-tasks that are called otherwise from now on |
//! | `settled` | what was settled last (`T_PARAMETER`) |
//! | `summary`, `prune` | runs: added up, and taken away when they are old |

mod attempts;
mod config_tables;
mod counters;
mod empties;
mod entries;
mod errors;
mod holds;
mod location;
mod lock;
mod notices;
mod option_rows;
mod prune;
mod renames;
mod runs;
pub mod schema;
mod seal;
mod secret_source;
mod secrets;
mod settled;
mod sql;
mod summary;
mod versions;
mod waits;

use nix::fcntl::{Flock, FlockArg};

use crate::config::{Change, Config, Renames, TaskNames, diff, refusal, validate};
use crate::error::{Error, Result};
use sql::{Db, Filter, Select};

pub use attempts::{AttemptRecord, AttemptState, Cause, LastSign, NewAttempt};
pub use config_tables::TaskChange;
pub use empties::EmptyRuns;
pub use entries::Entry;
pub use errors::{ErrorFilter, ErrorRow, Judgement, RowState, Sent, Verdict};
pub use holds::{Hold, HoldKind};
pub use location::{DB_ENV, DB_PASSWORD_ENV, DB_PASSWORD_FILE_ENV, HOME_ENV, Home, StoreLocation};
pub use lock::{LockInfo, Owner, TableLock};
pub use prune::Pruned;
pub use runs::{
    BatchRecord, BatchState, NewRun, RunCounts, RunEnd, RunFilter, RunRecord, RunState, Tenure,
    UseTimes,
};
pub use secret_source::from_env as env_secret;
pub use secrets::{key_secret, link_params, receiver_secret};
pub use settled::Settled;
pub use summary::TableSummary;
pub use versions::{Author, ConfigVersion};
pub use waits::waited;

/// The parameter with the installation's random id.
const INSTANCE_ID: &str = "instance_id";

/// A configuration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it changed.
    pub changes: Vec<Change>,
    /// The number of its version; `None`: it changed nothing.
    pub version: Option<i64>,
}

/// An open configuration database. Every method is one transaction of its own: durable and whole
/// when it returns, or without effect.
pub struct Store {
    db: Db,
    location: StoreLocation,
    instance_id: String,
}

impl Store {
    /// Opens the database, makes the home directory and the tables that are missing, and brings
    /// an older schema forward.
    ///
    /// # Errors
    /// [`Config`](crate::error::Kind::Config) when the home directory or the file is open to others, or the schema is
    /// newer than this build's; [`Connect`](crate::error::Kind::Connect) and others when the database is not reached.
    pub fn open(location: &StoreLocation) -> Result<Store> {
        location.prepare()?;
        let opened = |e: Error| e.context("could not open the configuration database");
        let mut db = Db::open(location.link.clone()).map_err(opened)?;
        let instance_id = match current(&mut db)? {
            Some(id) => id,
            None => migrate(&mut db, location)?,
        };
        Ok(Store { db, location: location.clone(), instance_id })
    }

    /// The random id of this installation: 32 hexadecimal digits, made with the database.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// The home directory.
    pub fn home(&self) -> &Home {
        &self.location.home
    }

    /// Where it was opened.
    pub fn location(&self) -> &StoreLocation {
        &self.location
    }

    /// The configuration.
    pub fn load(&mut self) -> Result<Config> {
        // A transaction, so that a configuration that is being applied is seen whole or not.
        self.transaction(config_tables::load)
    }

    /// The names of tasks, for what is listed by number.
    pub fn task_names(&mut self) -> Result<TaskNames> {
        self.read(config_tables::task_names)
    }

    /// What applying `config` would change. Nothing is written.
    ///
    /// # Errors
    /// [`Config`](crate::error::Kind::Config) with every violation when the configuration is not valid.
    pub fn changes_to(&mut self, config: &Config) -> Result<Vec<Change>> {
        let violations = validate(config);
        if !violations.is_empty() {
            return Err(refusal(&violations));
        }
        Ok(diff(&self.load()?, config))
    }

    /// Makes `config` the configuration. What that changes is shown to `judge` first, while nobody
    /// else can apply another one; its error leaves everything as it is.
    ///
    /// # Errors
    /// [`Config`](crate::error::Kind::Config) with every violation when the configuration is not
    /// valid; whatever `judge` says.
    pub fn apply(
        &mut self,
        config: &Config,
        author: &Author,
        mut judge: impl FnMut(&[Change]) -> Result<()>,
    ) -> Result<Applied> {
        let violations = validate(config);
        if !violations.is_empty() {
            return Err(refusal(&violations));
        }
        self.transaction(|db| {
            // One at a time: what is compared with must be what is replaced.
            let filter = Filter::new().eq("param_name", INSTANCE_ID);
            db.select(Select::new("T_PARAMETER", &["param_value"]).filter(filter).for_update())?;
            let old = config_tables::load(db)?;
            let changes = diff(&old, config);
            judge(&changes)?;
            let mut version = None;
            if !changes.is_empty() {
                let renames = Renames::between(&old, config);
                renames::are_at_rest(db, &renames, &old)?;
                let held = renames::holds(db, &renames, &old)?;
                config_tables::write(db, &old, config)?;
                renames::carry(db, &renames, &old, &held)?;
                version = Some(versions::keep(db, &old, config, author)?);
            }
            Ok(Applied { changes, version })
        })
    }

    /// Tasks that the controller has yet to take note of (A22).
    pub fn task_changes(&mut self) -> Result<Vec<(u32, TaskChange)>> {
        self.read(config_tables::task_changes)
    }

    /// Notes that the controller has seen a change. Call it before [`Store::load`]: a change that
    /// comes between the two is then loaded and, needlessly, seen again.
    pub fn note_task_change(&mut self, task: u32, change: TaskChange) -> Result<()> {
        self.transaction(|db| config_tables::note_task_change(db, task, change))
    }

    /// A setting of the installation.
    pub fn parameter(&mut self, name: &str) -> Result<Option<String>> {
        self.read(|db| schema::parameter(db, name))
    }

    /// Writes a setting of the installation.
    pub fn set_parameter(&mut self, name: &str, value: &str) -> Result<()> {
        schema::set_parameter(&mut self.db, name, value)
    }

    /// Settings of the installation whose names begin so, by name.
    pub fn parameters(&mut self, prefix: &str) -> Result<Vec<(String, String)>> {
        let all = Select::new("T_PARAMETER", &["param_name", "param_value"]);
        let rows = self.read(|db| db.select(all.clone().order(&["param_name"])))?;
        let named = rows.into_iter().filter_map(|row| {
            let name = row.opt_text("param_name").filter(|name| name.starts_with(prefix))?;
            Some((name, row.opt_text("param_value").unwrap_or_default()))
        });
        Ok(named.collect())
    }

    fn is_embedded(&self) -> bool {
        self.location.is_embedded
    }

    fn transaction<T>(&mut self, work: impl FnMut(&mut Db) -> Result<T>) -> Result<T> {
        self.db.transaction(work)
    }

    fn read<T>(&mut self, work: impl FnMut(&mut Db) -> Result<T>) -> Result<T> {
        self.db.read(work)
    }
}

/// The instance id of a database that is up to date; `None` where something is to be done.
fn current(db: &mut Db) -> Result<Option<String>> {
    match schema::version(db)? {
        schema::VERSION => schema::parameter(db, INSTANCE_ID),
        _ => Ok(None),
    }
}

fn migrate(db: &mut Db, location: &StoreLocation) -> Result<String> {
    // One process of this host at a time; every step is harmless when another host does it too.
    let path = location.home.run_dir().join("migrate.lock");
    let file = lock::open_lock_file(&path)?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, e)| Error::from(e).context(format!("could not lock {}", path.display())))?;
    let tell = |e: Error| e.context("could not prepare the configuration database");
    schema::migrate(db, &schema::TABLES, schema::VERSION).map_err(tell)?;
    if let Some(id) = schema::parameter(db, INSTANCE_ID)? {
        return Ok(id);
    }
    let id = lock::random_hex()?;
    // Of two hosts that do this at once one wins; the other reads the winner's.
    match schema::add_parameter(db, INSTANCE_ID, &id) {
        Ok(()) => Ok(id),
        Err(e) => schema::parameter(db, INSTANCE_ID)?.ok_or(e),
    }
}

#[cfg(test)]
mod tests;
