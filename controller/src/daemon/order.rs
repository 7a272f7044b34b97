//! What the daemon knows of the configuration, and what it hands to a task process. The only
//! place where secrets pass between them: over private socket pairs, never through arguments,
//! environment, shared memory or files. Everything else a task process finds in shared memory
//! ([`crate::parameters`]); with the secrets goes only where that is, and what it must be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use ssync_common::config::{Config, Key, Link, Rates, ScheduleKind, SecretSource, Task};
use ssync_common::connector::{OracleParams, TlsMode};
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::secret::{Secret, WireSecret};
use ssync_common::shm::Arena;
use ssync_common::store::{Hold, Home, Store, StoreLocation, env_secret, key_secret, link_params};
use ssync_worker::params::{Books, TaskParams};
use ssync_worker::retries::is_after_failure;

use crate::parameters::{Parameters, Reference};
use crate::terminal::{counted, grouped};

/// A configuration database on the wire.
#[derive(Clone, Serialize, Deserialize)]
pub struct WireLocation {
    home: PathBuf,
    /// `None`: the file in the home directory.
    server: Option<WireServer>,
}

#[derive(Clone, Serialize, Deserialize)]
struct WireServer {
    url: String,
    password: Option<WireSecret>,
    tls: TlsMode,
    tls_ca_file: Option<PathBuf>,
    oracle: OracleParams,
}

impl WireLocation {
    /// Packs it.
    pub fn new(location: &StoreLocation) -> WireLocation {
        let link = &location.link;
        let server = (!location.is_embedded).then(|| WireServer {
            url: link.url.clone(),
            password: link.password.clone().map(WireSecret::new),
            tls: link.tls,
            tls_ca_file: link.tls_ca_file.clone(),
            oracle: link.oracle.clone(),
        });
        WireLocation { home: location.home.path().to_path_buf(), server }
    }

    /// Unpacks it.
    pub fn into_location(self) -> Result<StoreLocation> {
        let home = Home::locate(Some(&self.home))?;
        Ok(match self.server {
            None => StoreLocation::embedded(home),
            Some(server) => {
                let password = server.password.map(WireSecret::into_secret);
                StoreLocation::server(home, &server.url, password)?
                    .with_tls(server.tls, server.tls_ca_file)
                    .with_oracle(server.oracle)
            }
        })
    }
}

/// A secret, as far as the child that read the configuration could get at it.
#[derive(Clone, Serialize, Deserialize)]
pub enum WireSource {
    /// There is none.
    None,
    /// In an environment variable of the daemon; children have a clean environment.
    Env(String),
    /// Here.
    Secret(WireSecret),
    /// Not to be had.
    Failed(Error),
}

impl WireSource {
    fn of(found: Result<Option<Secret>>) -> WireSource {
        match found {
            Ok(None) => WireSource::None,
            Ok(Some(secret)) => WireSource::Secret(WireSecret::new(secret)),
            Err(e) => WireSource::Failed(e),
        }
    }

    /// In the daemon: the same without [`WireSource::Env`].
    fn resolved(&self, whose: &str) -> Result<WireSource> {
        match self {
            WireSource::Env(name) => env_secret(name).map(WireSecret::new).map_or_else(
                || {
                    Err(Error::new(
                        Kind::Config,
                        format!("{whose}: the environment variable {name} is not set"),
                    )
                    .hint("Set it for the daemon, or let the configuration name a file."))
                },
                |secret| Ok(WireSource::Secret(secret)),
            ),
            WireSource::Failed(e) => Err(e.clone()),
            here => Ok(here.clone()),
        }
    }

    /// The secret, where there is one.
    pub fn into_secret(self) -> Option<Secret> {
        match self {
            WireSource::Secret(secret) => Some(secret.into_secret()),
            _ => None,
        }
    }
}

/// An encryption key with those it replaced.
#[derive(Clone, Serialize, Deserialize)]
pub struct WireKey {
    name: String,
    secrets: Vec<WireSource>,
}

impl WireKey {
    fn read(key: &Key) -> WireKey {
        let whose = format!("key {}", key.name);
        let secret = |source: &SecretSource| match source {
            SecretSource::Env { env } => WireSource::Env(env.clone()),
            source => WireSource::of(key_secret(&whose, source).map(Some)),
        };
        let sources = std::iter::once(&key.secret).chain(&key.old);
        WireKey { name: key.name.clone(), secrets: sources.map(secret).collect() }
    }

    fn resolved(&self) -> Result<WireKey> {
        let whose = format!("key {}", self.name);
        let secrets = self.secrets.iter().map(|s| s.resolved(&whose)).collect::<Result<_>>()?;
        Ok(WireKey { name: self.name.clone(), secrets })
    }

    fn into_ring(self) -> Result<KeyRing> {
        let secrets: Vec<_> =
            self.secrets.into_iter().filter_map(WireSource::into_secret).collect();
        match secrets.split_first() {
            Some((current, old)) => KeyRing::new(self.name, current, old),
            None => Err(Error::new(Kind::Internal, "a key came without its secret")),
        }
    }
}

/// The configuration, as a child has read it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Known {
    /// Which database it came from.
    pub instance: String,
    /// What is configured.
    pub config: Config,
    /// What is held.
    pub holds: Vec<Hold>,
    /// Passwords, by link.
    passwords: BTreeMap<String, WireSource>,
    keys: BTreeMap<String, WireKey>,
}

impl Known {
    /// Reads all of it.
    pub fn read(store: &mut Store) -> Result<Known> {
        let config = store.load()?;
        let passwords = config.links.iter().map(|l| (l.name.clone(), password(store, l))).collect();
        let keys = config.keys.iter().map(|k| (k.name.clone(), WireKey::read(k))).collect();
        Ok(Known {
            instance: store.instance_id().to_owned(),
            holds: store.holds(None)?,
            passwords,
            keys,
            config,
        })
    }

    /// A task that is configured.
    pub fn task(&self, id: u32) -> Option<&Task> {
        self.config.tasks.iter().find(|t| t.id == id)
    }

    /// Whether a failure of the task suspends it (A16).
    pub fn is_realtime(&self, task: &Task) -> bool {
        task.schedule.is_some_and(|id| {
            let realtime = |s: &ssync_common::config::Schedule| s.kind == ScheduleKind::Realtime;
            self.config.schedules.iter().any(|s| s.id == id && realtime(s))
        })
    }

    /// A link that is configured, and its password.
    ///
    /// # Errors
    /// [`Kind::Config`] when it, or its password, is missing.
    pub fn link(&self, name: &str) -> Result<(Link, WireSource)> {
        let missing = || Error::new(Kind::Config, format!("there is no link {name}"));
        let link = self.config.links.iter().find(|l| l.name == name).ok_or_else(missing)?;
        let password = self.passwords.get(name).ok_or_else(missing)?;
        Ok((link.clone(), password.resolved(&format!("link {name}"))?))
    }

    /// A task's number and name, for people.
    pub fn label(&self, id: u32) -> String {
        self.task(id).map_or_else(|| id.to_string(), Task::label)
    }

    /// Why a task cannot be started, as far as its configuration tells: a password that is not stored,
    /// a variable that this process lacks.
    pub fn missing(&self, task: &Task) -> Option<Error> {
        let links = [&task.source, &task.dest].into_iter().find_map(|name| self.link(name).err());
        links.or_else(|| self.keys_of(task).err())
    }

    /// The keys of the task's tables.
    fn keys_of(&self, task: &Task) -> Result<BTreeMap<String, WireKey>> {
        let named = task
            .tables
            .iter()
            .flat_map(|t| t.encrypt.values().chain(t.decrypt.values()))
            .map(|choice| choice.key());
        let mut keys = BTreeMap::new();
        for name in named {
            let missing = || Error::new(Kind::Config, format!("there is no key {name}"));
            let key = self.keys.get(name).ok_or_else(missing)?.resolved()?;
            keys.insert(name.to_owned(), key);
        }
        Ok(keys)
    }

    /// What a task process needs to run the tables of `task`, whose parameters are in `arena`;
    /// `is_away`: the configuration database is known to be out of reach.
    ///
    /// # Errors
    /// [`Kind::Config`] when a link, a key or a secret is missing; [`Kind::System`] when the
    /// parameters are not in the arena as they should be.
    pub fn order(
        &self,
        task: &Task,
        location: &StoreLocation,
        arena: &Arena,
        is_away: bool,
    ) -> Result<Order> {
        let password = |name: &str| self.link(name).map(|(_, password)| password);
        let keys = self.keys_of(task)?;
        Ok(Order {
            source: password(&task.source)?,
            dest: password(&task.dest)?,
            parameters: Reference::to(location.home.path(), arena, task.id)?,
            tables: task.tables.iter().map(|t| t.name.clone()).collect(),
            keys,
            location: WireLocation::new(location),
            instance: self.instance.clone(),
            holds: self.holds.iter().filter(|h| h.task == task.id).cloned().collect(),
            is_away,
        })
    }
}

fn password(store: &mut Store, link: &Link) -> WireSource {
    match &link.password {
        Some(SecretSource::Env { env }) => WireSource::Env(env.clone()),
        _ => WireSource::of(store.link_password(link)),
    }
}

/// The one message to a task process: secrets, and where in shared memory it finds everything
/// else.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Where its parameters are.
    pub parameters: Reference,
    /// The tables that are to run.
    tables: Vec<String>,
    location: WireLocation,
    /// Which configuration database it must be.
    instance: String,
    /// What of the task is held.
    holds: Vec<Hold>,
    /// Whether the configuration database is known to be out of reach.
    is_away: bool,
    source: WireSource,
    dest: WireSource,
    keys: BTreeMap<String, WireKey>,
}

impl Order {
    /// The tables that are to run.
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// In the task process: the order with the parameters it is about.
    ///
    /// # Errors
    /// [`Kind::System`] when they are not in shared memory as they were when the order was given.
    pub fn complete(self) -> Result<Assignment> {
        let parameters = self.parameters.read(&self.location.home)?;
        let (realtime, fires_often) = (parameters.is_realtime(), parameters.fires_often());
        let Parameters { mut task, source, dest, .. } = parameters;
        task.tables.retain(|t| self.tables.contains(&t.name));
        if task.tables.len() != self.tables.len() {
            return Err(Error::new(Kind::Internal, "the order names tables that the task has not"));
        }
        Ok(Assignment {
            task,
            location: self.location,
            instance: self.instance,
            holds: self.holds,
            is_away: self.is_away,
            realtime,
            fires_often,
            source: (source, self.source),
            dest: (dest, self.dest),
            keys: self.keys,
        })
    }
}

/// What a task process is to do.
pub struct Assignment {
    /// The task, with the tables that are to run.
    pub task: Task,
    /// Where the configuration database is.
    pub location: WireLocation,
    /// Which one it must be.
    pub instance: String,
    /// What of the task is held, as far as the daemon knows.
    pub holds: Vec<Hold>,
    /// Whether that database is known to be out of reach.
    pub is_away: bool,
    realtime: bool,
    fires_often: bool,
    source: (Link, WireSource),
    dest: (Link, WireSource),
    keys: BTreeMap<String, WireKey>,
}

impl Assignment {
    /// What its run needs.
    pub fn into_params(self, books: Arc<dyn Books>) -> Result<TaskParams> {
        let ring = |(name, key): (String, WireKey)| Ok((name, key.into_ring()?));
        let limit = |(link, _): &(Link, WireSource)| (link.name.clone(), link.max_connections);
        let open =
            |(link, password): (Link, WireSource)| link_params(&link, password.into_secret());
        Ok(TaskParams {
            source_allows_nondurable: self.source.0.allow_nondurable,
            dest_allows_nondurable: self.dest.0.allow_nondurable,
            source_failover: self.source.0.failover,
            dest_failover: self.dest.0.failover,
            limits: [limit(&self.source), limit(&self.dest)].into(),
            rates: Rates {
                task: self.task.rate(),
                source: self.source.0.rate(),
                dest: self.dest.0.rate(),
            },
            source_throttle: self.source.0.throttle.clone(),
            dest_throttle: self.dest.0.throttle.clone(),
            task: self.task,
            held: Vec::new(),
            source: open(self.source),
            dest: open(self.dest),
            keys: self.keys.into_iter().map(ring).collect::<Result<_>>()?,
            realtime: self.realtime,
            fires_often: self.fires_often,
            restart: false,
            home: self.location.home,
            instance: self.instance,
            books,
        })
    }

    /// Address of the destination.
    pub fn dest_url(&self) -> &str {
        &self.dest.0.url
    }
}

/// What a task process says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Word {
    /// It has its place in the task table.
    Running,
    /// It is about to end.
    Ended(Box<Ending>),
}

/// How a task process ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ending {
    /// Its exit code.
    pub code: u8,
    /// Why nothing could run.
    pub error: Option<Error>,
    /// Its tables.
    pub tables: Vec<TableEnding>,
}

/// How one table ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableEnding {
    /// Its name.
    pub table: String,
    /// In a word: `done`, `done_with_errors`, `done_unconfirmed`, `failed`, `locked`, `interrupted`, `paused`,
    /// `not_started`.
    pub result: String,
    /// Rows that landed.
    pub landed: u64,
    /// Rows set to 3.
    pub failed: u64,
    /// What went wrong.
    pub error: Option<Error>,
}

impl TableEnding {
    /// Whether it was left out, and not paused under way.
    fn is_held(&self) -> bool {
        let left_out = |e: &Error| e.kind == Kind::Paused && !is_after_failure(e);
        self.landed == 0 && self.error.as_ref().is_some_and(left_out)
    }
}

impl Ending {
    /// The first thing that went wrong.
    pub fn first_error(&self) -> Option<&Error> {
        self.error.as_ref().or_else(|| self.tables.iter().find_map(|t| t.error.as_ref()))
    }

    /// Whether it ran to its end, but for tables that are held.
    pub fn ran(&self) -> bool {
        self.error.is_none() && self.tables.iter().all(|t| t.error.is_none() || t.is_held())
    }

    /// Whether it ran to its end, and some rows could not be sent, or nobody can say that all were.
    pub fn is_done_with_errors(&self) -> bool {
        self.ran() && (self.has("done_with_errors") || self.has("done_unconfirmed"))
    }

    fn has(&self, result: &str) -> bool {
        self.tables.iter().any(|table| table.result == result)
    }

    /// Whether a table failed.
    pub fn has_failed_table(&self) -> bool {
        self.has("failed")
    }

    /// In a line.
    pub fn words(&self) -> String {
        if let Some(error) = self.first_error().filter(|_| !self.ran()) {
            let table = self.tables.iter().find(|t| t.error.is_some());
            return match table.filter(|_| self.error.is_none()) {
                Some(table) => format!("table {}: {error}", table.table),
                None => error.to_string(),
            };
        }
        let landed: u64 = self.tables.iter().map(|t| t.landed).sum();
        let bad: u64 = self.tables.iter().map(|t| t.failed).sum();
        let mut words = format!("{} landed", counted(landed, "row"));
        words += &match bad {
            0 if self.has("done_with_errors") => ", others are left for the next run".to_owned(),
            0 => String::new(),
            1 => ", 1 is bad".to_owned(),
            bad => format!(", {} are bad", grouped(bad)),
        };
        if self.has("done_unconfirmed") {
            words += "; whether rows of earlier attempts are bad is not known";
        }
        for hold in self.tables.iter().filter_map(|t| t.error.as_ref()) {
            words += &format!("; {hold}");
        }
        words
    }
}
