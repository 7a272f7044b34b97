//! The configuration as data. One set of structs serves the TOML file, the configuration
//! database and the parameters a task process takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::receivers::{Brief, Monitor, Receiver, Retention};
use super::time::{Lag, Moment, Period};
use crate::connector::{OracleDriver, TlsMode, WriteMode};

/// Column that carries a row's transfer state at the source (A18): 0 not transferred, 1 in
/// transfer, 2 done, 3 failed. The destination has no such column.
pub const SYNC_STATUS: &str = "sync_status";

/// Default of [`Task::writers`].
pub const WRITERS: u8 = 2;
/// Most writer processes a task may have (A19).
pub const WRITERS_MAX: u8 = 10;
/// Default of [`Task::readers`].
pub const READERS: u8 = 1;
/// Most reading threads a table may have.
pub const READERS_MAX: u8 = 10;
/// Default of [`Task::batch_rows`].
pub const BATCH_ROWS: u32 = 10_000;
/// Default of [`Task::batch_millis`].
pub const BATCH_MILLIS: u32 = 1000;
/// Default of [`Task::slot_bytes`].
pub const SLOT_BYTES: u64 = 4 << 20;
/// Default of [`Link::max_connections`].
pub const MAX_CONNECTIONS: u32 = 16;
/// Default of [`Link::connect_timeout_secs`].
pub const CONNECT_TIMEOUT_SECS: u64 = 10;
/// Default of [`Link::io_timeout_secs`].
pub const IO_TIMEOUT_SECS: u64 = 600;

/// In [`TableTask::initial`]: from the first row on.
pub const INITIAL_ALL: &str = "all";
/// Default of [`Task::snapshot_max`].
pub const SNAPSHOT_MAX: Period = Period::TEN_MINUTES;

/// Default of [`Controller::tasks_max`].
pub const TASKS_MAX: u32 = 8;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Settings of the daemon.
    #[serde(default, skip_serializing_if = "is_default")]
    pub controller: Controller,
    /// Database links.
    #[serde(default, rename = "link", skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Encryption keys.
    #[serde(default, rename = "key", skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Schedules.
    #[serde(default, rename = "schedule", skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// Tasks.
    #[serde(default, rename = "task", skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// Who is told what.
    #[serde(default, rename = "receiver", skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<Receiver>,
    /// The daily brief.
    #[serde(default, skip_serializing_if = "is_default")]
    pub brief: Brief,
    /// What the monitor looks for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub monitor: Monitor,
    /// How long records are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retention: Retention,
}

/// How the daemon works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// Task processes at once, 1 to 64; further ones wait for their turn.
    #[serde(default = "tasks_max")]
    pub tasks_max: u32,
    /// How often the configuration is read again without being asked to (A22).
    #[serde(default = "reread")]
    pub reread: Period,
    /// How long a task may make no progress at all before its process is ended; what has landed
    /// stays, and the next run sends the rest.
    #[serde(default = "kill_after")]
    pub kill_after: Period,
}

impl Default for Controller {
    fn default() -> Self {
        Controller { tasks_max: tasks_max(), reread: reread(), kill_after: kill_after() }
    }
}

/// Where a secret comes from. Exactly one of `env`, `file`, `stored`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecretSource {
    /// An environment variable of the process that starts ssync.
    Env {
        /// Its name.
        env: String,
    },
    /// A file; a trailing line break does not count.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// Kept in the configuration database, sealed with the host key; for passwords of links only.
    Stored {
        /// Always true.
        stored: bool,
    },
}

/// When runs leave a database alone for a while: for as long as a query on it gives more than a
/// limit, or NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// A query of one number, such as a replica's lag in seconds. Asked about once a second.
    pub query: String,
    /// The largest number at which runs go on.
    #[serde(default)]
    pub above: u64,
}

/// How fast rows may move; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Rows a second.
    pub rows: Option<u64>,
    /// Bytes a second.
    pub bytes: Option<u64>,
}

/// The limits that a run of a task keeps to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// The task's own.
    pub task: Rate,
    /// Of its source, for all runs that use it.
    pub source: Rate,
    /// Of its destination, likewise.
    pub dest: Rate,
}

/// A configured database connection. Everything names databases by link only (A9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name, unique.
    pub name: String,
    /// `mysql://user@host:port/database`, `oracle://user@host:port/service`,
    /// `oracle://user@(DESCRIPTION=…)` or `sqlite:///path/to/file.db`; without a password.
    pub url: String,
    /// Where the password comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// Connections that all of ssync's processes may hold together.
    #[serde(default = "max_connections")]
    pub max_connections: u32,
    /// `off`, `required` or `verified`.
    #[serde(default)]
    pub tls: TlsMode,
    /// Certificate authorities (PEM) for `verified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// Oracle: `thin` or `oci`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub driver: OracleDriver,
    /// Oracle: directory with the wallet for `verified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet_dir: Option<PathBuf>,
    /// Rows a second that all runs together may move over the link; absent: as many as they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows_per_sec: Option<u64>,
    /// The same in bytes of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_sec: Option<u64>,
    /// When runs wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Seconds that opening a connection may take.
    #[serde(default = "connect_timeout_secs")]
    pub connect_timeout_secs: u64,
    /// Seconds that one read or write may stay without progress.
    #[serde(default = "io_timeout_secs")]
    pub io_timeout_secs: u64,
    /// Accept a destination, or the source of a `status` table, that may lose commits when its
    /// server crashes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_nondurable: bool,
    /// The address may lead to any replica of one cluster: another server behind it, while rows
    /// are under way, does not stop a run. A server whose rows are older still does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failover: bool,
}

/// An encryption key (AES-256). The key that encrypts, and older ones that still decrypt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Name, unique; what `encrypt` and `decrypt` refer to.
    pub name: String,
    /// The key that encrypts.
    pub secret: SecretSource,
    /// Keys it replaced; values sealed with them still open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old: Vec<SecretSource>,
}

/// What a failure does (A14, A16).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Part of the business flow: a failed task is suspended until an operator resumes it.
    Realtime,
    /// Backup and statistics: the next firing tries again.
    #[default]
    Timed,
}

/// What becomes of firings that come while the schedule's last run is still under way. Never do
/// two run at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overrun {
    /// They are left out.
    #[default]
    Skip,
    /// One run makes up for all of them, as soon as the last one has ended.
    RunOnce,
    /// Each is made up for, one after the other.
    CatchUp,
}

/// When tasks fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Number, unique.
    pub id: u32,
    /// Frequency: `5s`, `10m`, `1h`, `1d`, or a sum such as `1h 30m`.
    pub every: Period,
    /// First firing, RFC 3339 with offset; absent: one period after the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// Time zone (`Europe/Berlin`) whose clock firings follow through daylight saving; only with
    /// `start` and an `every` of whole days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Real-time or timed.
    #[serde(default)]
    pub kind: ScheduleKind,
    /// What becomes of firings during a run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overrun: Overrun,
}

impl Link {
    /// Its limit.
    pub fn rate(&self) -> Rate {
        Rate { rows: self.max_rows_per_sec, bytes: self.max_bytes_per_sec }
    }
}

/// A task: an ordered list of tables from one link to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Number, unique.
    pub id: u32,
    /// The schedule that fires it; absent: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<u32>,
    /// Link of the source.
    pub source: String,
    /// Link of the destination.
    pub dest: String,
    /// Writer processes, 1 to 10; not all of them work where fewer land as much.
    #[serde(default = "writers")]
    pub writers: u8,
    /// Threads that read a table side by side, 1 to 10, each with a connection to the source.
    #[serde(default = "readers", skip_serializing_if = "is_readers")]
    pub readers: u8,
    /// Rows in one destination transaction at the most, 1 to 1,000,000.
    #[serde(default = "batch_rows")]
    pub batch_rows: u32,
    /// Milliseconds that a destination transaction, or a claim at the source, should take, 1 to
    /// 3,600,000: where they take longer, they get fewer rows.
    #[serde(default = "batch_millis", skip_serializing_if = "is_batch_millis")]
    pub batch_millis: u32,
    /// Bytes of one slot of the batch ring, 64 KiB to 1 GiB; `writers + readers + 1` slots are
    /// made.
    #[serde(default = "slot_bytes")]
    pub slot_bytes: u64,
    /// Rows a second that a run may move; absent: as many as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows_per_sec: Option<u64>,
    /// The same in bytes of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_sec: Option<u64>,
    /// Bad rows that a table may have before its run fails.
    #[serde(default)]
    pub error_limit: u64,
    /// Whether a failed table keeps the tables after it from starting.
    #[serde(default = "yes")]
    pub stop_on_error: bool,
    /// Whether finished tables are recorded in `proc_use_times` (A11).
    #[serde(default = "yes")]
    pub record_use_times: bool,
    /// Whether the `full` tables of a run are read from one consistent snapshot of the source,
    /// where it has one.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub snapshot: bool,
    /// How long a pause may hold the snapshot open; a longer one gives it up.
    #[serde(default = "snapshot_max", skip_serializing_if = "is_snapshot_max")]
    pub snapshot_max: Period,
    /// The tables, in the order they run.
    #[serde(default, rename = "table")]
    pub tables: Vec<TableTask>,
}

impl Task {
    /// Its limit.
    pub fn rate(&self) -> Rate {
        Rate { rows: self.max_rows_per_sec, bytes: self.max_bytes_per_sec }
    }
}

/// Which rows of the source are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableMode {
    /// Rows whose `sync_status` is 0 (A18).
    #[default]
    Status,
    /// All rows.
    Full,
    /// Rows past a watermark.
    Increment,
}

/// How `full` makes room for the new rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FullMethod {
    /// Empty the destination first.
    #[default]
    Truncate,
    /// Load a table beside it and swap the two at the end.
    Swap,
}

/// The mark of `increment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// Source column that only grows: a number, date or time.
    pub column: String,
    /// How far behind the newest value reading stops, so that transactions that commit late are
    /// not skipped: `10s` for times, a plain number for numbers.
    pub lag: Lag,
}

/// A column to transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnChoice {
    /// Same name on both sides.
    Same(String),
    /// Renamed.
    Renamed {
        /// Name at the source.
        from: String,
        /// Name at the destination.
        to: String,
    },
}

impl ColumnChoice {
    /// A choice in its one canonical form.
    pub fn new(from: String, to: String) -> Self {
        if from == to { ColumnChoice::Same(from) } else { ColumnChoice::Renamed { from, to } }
    }

    /// Name at the source.
    pub fn from(&self) -> &str {
        match self {
            ColumnChoice::Same(name) | ColumnChoice::Renamed { from: name, .. } => name,
        }
    }

    /// Name at the destination.
    pub fn to(&self) -> &str {
        match self {
            ColumnChoice::Same(name) | ColumnChoice::Renamed { to: name, .. } => name,
        }
    }
}

/// How a column is encrypted or decrypted: a key's name, or the name with a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CryptoChoice {
    /// Random nonces (AES-256-GCM).
    Key(String),
    /// With a mode.
    Full {
        /// The key's name.
        key: String,
        /// Equal values give equal ciphertexts (AES-SIV), so that the column can be joined on.
        #[serde(default, skip_serializing_if = "is_false")]
        deterministic: bool,
    },
}

impl CryptoChoice {
    /// A choice in its one canonical form.
    pub fn new(key: String, deterministic: bool) -> Self {
        match deterministic {
            false => CryptoChoice::Key(key),
            true => CryptoChoice::Full { key, deterministic },
        }
    }

    /// The key's name.
    pub fn key(&self) -> &str {
        match self {
            CryptoChoice::Key(key) | CryptoChoice::Full { key, .. } => key,
        }
    }

    /// Whether equal values give equal ciphertexts.
    pub fn deterministic(&self) -> bool {
        matches!(self, CryptoChoice::Full { deterministic: true, .. })
    }
}

/// How empty text is held in Oracle, which takes it for NULL. Into Oracle it says what becomes of
/// empty text; out of Oracle, which values are empty text again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyAs {
    /// As NULL.
    Null,
    /// As one blank.
    Space,
    /// Not at all: the row is bad. What holds where nothing is configured.
    Refuse,
}

/// In [`TableTask::empty_as`]: every column that is not named.
pub const OTHER_COLUMNS: &str = "*";

/// SQL on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideSql {
    /// Statements for the source, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Statements for the destination, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dest: Vec<String>,
}

impl SideSql {
    /// Nothing to run on either side.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() && self.dest.is_empty()
    }
}

/// A sub-task: one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableTask {
    /// What `--tables` names; unique in its task.
    pub name: String,
    /// Source table, `table` or `schema.table`.
    pub source: String,
    /// Destination table.
    pub dest: String,
    /// Which rows are sent.
    #[serde(default)]
    pub mode: TableMode,
    /// How `full` makes room.
    #[serde(default, skip_serializing_if = "is_default")]
    pub full: FullMethod,
    /// The mark of `increment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// Source columns that identify a row; absent: the source's primary key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// What happens to rows whose key the destination has.
    #[serde(default)]
    pub write: WriteMode,
    /// Columns to transfer; absent: all that are not generated, but `sync_status`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnChoice>,
    /// Columns (source names) to encrypt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encrypt: BTreeMap<String, CryptoChoice>,
    /// Columns (source names) to decrypt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decrypt: BTreeMap<String, CryptoChoice>,
    /// Condition in the source's SQL; rows that do not meet it stay as they are.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// SQL before the table's rows.
    #[serde(default, skip_serializing_if = "SideSql::is_empty")]
    pub before: SideSql,
    /// SQL after the table's rows have landed.
    #[serde(default, skip_serializing_if = "SideSql::is_empty")]
    pub after: SideSql,
    /// Source columns whose values may lose something on the way; `ssync check` names what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_lossy: Vec<String>,
    /// How Oracle holds the empty text of columns (source names; [`OTHER_COLUMNS`]: all others).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub empty_as: BTreeMap<String, EmptyAs>,
    /// The application sets `sync_status` back to 0 whenever it changes a row.
    #[serde(default, skip_serializing_if = "is_false")]
    pub app_resets_status: bool,
    /// The destination's triggers may run for every row that lands.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_triggers: bool,
    /// Whether a `full` run compares the destination's number of rows with what landed before it
    /// is done, and an `increment` run stops where rows have landed and none is left.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub count: bool,
    /// Where the first run of an `increment` begins: [`INITIAL_ALL`], or a value of the watermark
    /// below which rows are there already. Wanted only where the destination has rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
}

fn kill_after() -> Period {
    Period::HOUR
}
fn tasks_max() -> u32 {
    TASKS_MAX
}
fn reread() -> Period {
    Period::HOUR
}
fn max_connections() -> u32 {
    MAX_CONNECTIONS
}
fn connect_timeout_secs() -> u64 {
    CONNECT_TIMEOUT_SECS
}
fn io_timeout_secs() -> u64 {
    IO_TIMEOUT_SECS
}
fn writers() -> u8 {
    WRITERS
}
fn readers() -> u8 {
    READERS
}
fn is_readers(n: &u8) -> bool {
    *n == READERS
}
fn batch_rows() -> u32 {
    BATCH_ROWS
}
fn batch_millis() -> u32 {
    BATCH_MILLIS
}
fn is_batch_millis(n: &u32) -> bool {
    *n == BATCH_MILLIS
}
fn slot_bytes() -> u64 {
    SLOT_BYTES
}
fn yes() -> bool {
    true
}
fn snapshot_max() -> Period {
    SNAPSHOT_MAX
}
fn is_snapshot_max(period: &Period) -> bool {
    *period == SNAPSHOT_MAX
}
fn is_true(b: &bool) -> bool {
    *b
}
fn is_false(b: &bool) -> bool {
    !b
}
fn is_default<T: Default + PartialEq>(v: &T) -> bool {
    *v == T::default()
}
