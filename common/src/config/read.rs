//! From TOML text to the model: types, unknown keys, missing keys, all reported together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::limits;
use super::model::*;
use super::read_receivers::{brief, monitor, receiver, retention};
use super::section::{Node, Reader, Section};
use super::time::{Lag, Period};
use super::validate;
use super::violation::Violation;
use crate::connector::{OracleDriver, TlsMode, WriteMode};

impl Config {
    /// Reads and validates a TOML file.
    ///
    /// # Errors
    /// Every mistake in the text, in the order of its lines.
    pub fn from_toml(text: &str) -> Result<Config, Vec<Violation>> {
        let (document, syntax) = DeTable::parse_recoverable(text);
        let reader = Reader::new(text);
        if !syntax.is_empty() {
            // What the parser made of broken text would only add misleading complaints.
            for error in syntax {
                let line = error.span().map(|span| reader.line_at(span.start));
                reader.report("", line, format!("this is not TOML: {}", error.message()));
            }
            return Err(reader.into_violations());
        }
        let config = config(reader.root(document.get_ref()));
        for finding in validate::findings(&config) {
            if !reader.is_broken(&finding.path) {
                let line = reader.line_of(&finding.path, finding.nth);
                reader.report(&finding.path, line, finding.message);
            }
        }
        let violations = reader.into_violations();
        if violations.is_empty() { Ok(config) } else { Err(violations) }
    }

    /// The configuration as TOML text that [`Config::from_toml`] reads back to the same.
    ///
    /// # Errors
    /// A number that TOML cannot hold, which a validated configuration has not.
    pub fn to_toml(&self) -> crate::Result<String> {
        toml::to_string_pretty(self).map_err(|e| {
            crate::Error::new(crate::error::Kind::Internal, "the configuration cannot be written")
                .detail(e.to_string())
        })
    }
}

const CONTROLLER: &str = "[controller]";
const LINK: &str = "[[link]]";
const KEY: &str = "[[key]]";
const SCHEDULE: &str = "[[schedule]]";
const TASK: &str = "[[task]]";
const TABLE: &str = "[[task.table]]";

/// Keys that belong to one section alone, to help who put them into another.
const HOMES: [(&str, &[&str]); 5] = [
    (CONTROLLER, &["tasks_max", "reread", "kill_after"]),
    (
        LINK,
        &[
            "url",
            "password",
            "max_connections",
            "tls",
            "tls_ca_file",
            "driver",
            "wallet_dir",
            "failover",
        ],
    ),
    (SCHEDULE, &["every", "start", "zone", "kind", "overrun"]),
    (
        TASK,
        &[
            "schedule",
            "writers",
            "readers",
            "batch_rows",
            "batch_millis",
            "slot_bytes",
            "error_limit",
            "stop_on_error",
            "snapshot",
            "snapshot_max",
        ],
    ),
    (
        TABLE,
        &[
            "mode",
            "write",
            "columns",
            "encrypt",
            "decrypt",
            "where",
            "before",
            "after",
            "watermark",
            "empty_as",
            "count",
            "initial",
        ],
    ),
];

pub(super) fn finish(section: Section<'_>, here: &'static str) {
    section.finish(|key| {
        let home = HOMES.iter().find(|(home, keys)| *home != here && keys.contains(&key));
        home.map(|(home, _)| *home)
    });
}

/// Names an element by its `key`, or by its place where that is missing.
fn label(key: &'static str) -> impl Fn(&DeValue<'_>, usize) -> String {
    move |value, n| match value.get(key).map(|v| v.get_ref()) {
        Some(DeValue::String(name)) => name.chars().take(limits::NAME_CHARS).collect(),
        Some(DeValue::Integer(id)) => id.to_string(),
        _ => format!("#{n}"),
    }
}

fn each<T>(
    section: &Section<'_>,
    list: &'static str,
    name: &'static str,
    read: impl Fn(Section<'_>) -> T,
) -> Vec<T> {
    let Some(node) = section.optional(list) else { return Vec::new() };
    node.elements(label(name)).iter().filter_map(Node::section).map(read).collect()
}

fn one<T: Default>(section: &Section<'_>, key: &'static str, read: impl Fn(Section<'_>) -> T) -> T {
    section.optional(key).and_then(|n| n.section()).map(read).unwrap_or_default()
}

pub(super) fn text(section: &Section<'_>, key: &'static str) -> String {
    section.required(key).and_then(|n| n.string()).unwrap_or_default()
}

pub(super) fn number(
    section: &Section<'_>,
    key: &'static str,
    limit: &limits::Limit,
    default: u64,
) -> u64 {
    section.optional(key).and_then(|n| n.integer(limit)).unwrap_or(default)
}

fn flag(section: &Section<'_>, key: &'static str, default: bool) -> bool {
    section.optional(key).and_then(|n| n.boolean()).unwrap_or(default)
}

pub(super) fn strings(section: &Section<'_>, key: &'static str) -> Vec<String> {
    section.optional(key).map(|n| n.strings()).unwrap_or_default()
}

/// The id that names a list entry; 0 when it is no good.
fn id(section: &Section<'_>) -> u32 {
    let id = section.required("id").and_then(|n| n.integer(&limits::ID));
    id.and_then(|id| u32::try_from(id).ok()).unwrap_or_else(|| {
        section.is_named_by_placeholder("id", "0");
        0
    })
}

/// The name that names a list entry; empty when it is no good.
pub(super) fn name(section: &Section<'_>) -> String {
    section.required("name").and_then(|n| n.string()).unwrap_or_else(|| {
        section.is_named_by_placeholder("name", "");
        String::new()
    })
}

fn config(root: Section<'_>) -> Config {
    let config = Config {
        controller: root
            .optional("controller")
            .and_then(|n| n.section())
            .map(controller)
            .unwrap_or_default(),
        links: each(&root, "link", "name", link),
        keys: each(&root, "key", "name", key),
        schedules: each(&root, "schedule", "id", schedule),
        tasks: each(&root, "task", "id", task),
        receivers: each(&root, "receiver", "name", receiver),
        brief: one(&root, "brief", brief),
        monitor: one(&root, "monitor", monitor),
        retention: one(&root, "retention", retention),
    };
    finish(root, "");
    config
}

pub(super) fn secret_source(node: &Node<'_>) -> Option<SecretSource> {
    const FORM: &str =
        "exactly one of { env = \"NAME\" }, { file = \"/path\" } or { stored = true }";
    if node.value().is_str() {
        node.broken(format!("a secret does not stand in the configuration; give {FORM}"));
        return None;
    }
    let section = node.section()?;
    let env = section.optional("env").map(|n| n.string());
    let file = section.optional("file").map(|n| n.string());
    let stored = section.optional("stored").map(|n| n.boolean());
    let source = match (env, file, stored) {
        (Some(env), None, None) => env.map(|env| SecretSource::Env { env }),
        (None, Some(file), None) => file.map(|f| SecretSource::File { file: PathBuf::from(f) }),
        (None, None, Some(stored)) => stored.map(|stored| SecretSource::Stored { stored }),
        _ => {
            section.broken(format!("needs {FORM}"));
            None
        }
    };
    section.finish(|_| None);
    source
}

fn link(section: Section<'_>) -> Link {
    use limits::{CONNECT_TIMEOUT_SECS as CONNECT, IO_TIMEOUT_SECS as IO, MAX_CONNECTIONS as MOST};
    let narrow = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
    let tls =
        [("off", TlsMode::Off), ("required", TlsMode::Required), ("verified", TlsMode::Verified)];
    let drivers = [("thin", OracleDriver::Thin), ("oci", OracleDriver::Oci)];
    let throttle = section.optional("throttle").and_then(|n| n.section());
    let link = Link {
        name: name(&section),
        url: text(&section, "url"),
        password: section.optional("password").and_then(|n| secret_source(&n)),
        max_connections: narrow(number(&section, "max_connections", &MOST, MAX_CONNECTIONS.into())),
        tls: section.optional("tls").and_then(|n| n.choice(&tls)).unwrap_or_default(),
        tls_ca_file: section.optional("tls_ca_file").and_then(|n| n.string()).map(PathBuf::from),
        driver: section.optional("driver").and_then(|n| n.choice(&drivers)).unwrap_or_default(),
        wallet_dir: section.optional("wallet_dir").and_then(|n| n.string()).map(PathBuf::from),
        max_rows_per_sec: rate(&section, "max_rows_per_sec"),
        max_bytes_per_sec: rate(&section, "max_bytes_per_sec"),
        throttle: throttle.map(self::throttle),
        connect_timeout_secs: number(
            &section,
            "connect_timeout_secs",
            &CONNECT,
            CONNECT_TIMEOUT_SECS,
        ),
        io_timeout_secs: number(&section, "io_timeout_secs", &IO, IO_TIMEOUT_SECS),
        allow_nondurable: flag(&section, "allow_nondurable", false),
        failover: flag(&section, "failover", false),
    };
    finish(section, LINK);
    link
}

fn rate(section: &Section<'_>, key: &'static str) -> Option<u64> {
    section.optional(key).and_then(|n| n.integer(&limits::RATE))
}

fn throttle(section: Section<'_>) -> Throttle {
    let throttle = Throttle {
        query: text(&section, "query"),
        above: number(&section, "above", &limits::ERROR_LIMIT, 0),
    };
    finish(section, LINK);
    throttle
}

fn key(section: Section<'_>) -> Key {
    let old = section.optional("old").map(|n| n.elements(|_, n| format!("#{n}")));
    let key = Key {
        name: name(&section),
        secret: section
            .required("secret")
            .and_then(|n| secret_source(&n))
            .unwrap_or(SecretSource::Env { env: "UNKNOWN".to_owned() }),
        old: old.unwrap_or_default().iter().filter_map(secret_source).collect(),
    };
    finish(section, KEY);
    key
}

fn controller(section: Section<'_>) -> Controller {
    let tasks_max = number(&section, "tasks_max", &limits::TASKS_MAX, TASKS_MAX.into());
    let controller = Controller {
        tasks_max: u32::try_from(tasks_max).unwrap_or(TASKS_MAX),
        reread: section.optional("reread").and_then(|n| n.parsed()).unwrap_or(Period::HOUR),
        kill_after: section.optional("kill_after").and_then(|n| n.parsed()).unwrap_or(Period::HOUR),
    };
    finish(section, CONTROLLER);
    controller
}

fn schedule(section: Section<'_>) -> Schedule {
    let overruns =
        [("skip", Overrun::Skip), ("run_once", Overrun::RunOnce), ("catch_up", Overrun::CatchUp)];
    let kinds = [("realtime", ScheduleKind::Realtime), ("timed", ScheduleKind::Timed)];
    let schedule = Schedule {
        id: id(&section),
        every: section.required("every").and_then(|n| n.parsed()).unwrap_or(Period::SECOND),
        start: section.optional("start").and_then(|n| n.parsed()),
        zone: section.optional("zone").and_then(|n| n.string()),
        kind: section.optional("kind").and_then(|n| n.choice(&kinds)).unwrap_or_default(),
        overrun: section.optional("overrun").and_then(|n| n.choice(&overruns)).unwrap_or_default(),
    };
    finish(section, SCHEDULE);
    schedule
}

fn task(section: Section<'_>) -> Task {
    let schedule = section.optional("schedule").and_then(|n| n.integer(&limits::ID));
    let writers = number(&section, "writers", &limits::WRITERS, WRITERS.into());
    let readers = number(&section, "readers", &limits::READERS, READERS.into());
    let batch_rows = number(&section, "batch_rows", &limits::BATCH_ROWS, BATCH_ROWS.into());
    let batch_millis = number(&section, "batch_millis", &limits::BATCH_MILLIS, BATCH_MILLIS.into());
    let task = Task {
        id: id(&section),
        schedule: schedule.and_then(|id| u32::try_from(id).ok()),
        source: text(&section, "source"),
        dest: text(&section, "dest"),
        writers: u8::try_from(writers).unwrap_or(WRITERS),
        readers: u8::try_from(readers).unwrap_or(READERS),
        batch_rows: u32::try_from(batch_rows).unwrap_or(BATCH_ROWS),
        batch_millis: u32::try_from(batch_millis).unwrap_or(BATCH_MILLIS),
        slot_bytes: number(&section, "slot_bytes", &limits::SLOT_BYTES, SLOT_BYTES),
        max_rows_per_sec: rate(&section, "max_rows_per_sec"),
        max_bytes_per_sec: rate(&section, "max_bytes_per_sec"),
        error_limit: number(&section, "error_limit", &limits::ERROR_LIMIT, 0),
        stop_on_error: flag(&section, "stop_on_error", true),
        record_use_times: flag(&section, "record_use_times", true),
        snapshot: flag(&section, "snapshot", true),
        snapshot_max: section
            .optional("snapshot_max")
            .and_then(|n| n.parsed())
            .unwrap_or(SNAPSHOT_MAX),
        tables: each(&section, "table", "name", table),
    };
    finish(section, TASK);
    task
}

fn table(section: Section<'_>) -> TableTask {
    let modes = [
        ("status", TableMode::Status),
        ("full", TableMode::Full),
        ("increment", TableMode::Increment),
    ];
    let fulls = [("truncate", FullMethod::Truncate), ("swap", FullMethod::Swap)];
    let writes = [
        ("insert", WriteMode::Insert),
        ("upsert", WriteMode::Upsert),
        ("replace", WriteMode::Replace),
        ("ignore", WriteMode::Ignore),
    ];
    let columns = section.optional("columns").map(|n| n.elements(|_, n| format!("#{n}")));
    let table = TableTask {
        name: name(&section),
        source: text(&section, "source"),
        dest: text(&section, "dest"),
        mode: section.optional("mode").and_then(|n| n.choice(&modes)).unwrap_or_default(),
        full: section.optional("full").and_then(|n| n.choice(&fulls)).unwrap_or_default(),
        watermark: section.optional("watermark").and_then(|n| n.section()).map(watermark),
        key: strings(&section, "key"),
        write: section.optional("write").and_then(|n| n.choice(&writes)).unwrap_or_default(),
        columns: columns.unwrap_or_default().iter().filter_map(column).collect(),
        encrypt: crypto(&section, "encrypt"),
        decrypt: crypto(&section, "decrypt"),
        filter: section.optional("where").and_then(|n| n.string()),
        before: side_sql(&section, "before"),
        after: side_sql(&section, "after"),
        allow_lossy: strings(&section, "allow_lossy"),
        empty_as: empty_as(&section),
        app_resets_status: flag(&section, "app_resets_status", false),
        allow_triggers: flag(&section, "allow_triggers", false),
        count: flag(&section, "count", true),
        initial: section.optional("initial").and_then(|n| n.string()),
    };
    finish(section, TABLE);
    table
}

fn watermark(section: Section<'_>) -> Watermark {
    let lag = section.required("lag").and_then(|n| n.parsed());
    let mark = Watermark { column: text(&section, "column"), lag: lag.unwrap_or(Lag::Secs(0)) };
    section.finish(|_| None);
    mark
}

fn column(node: &Node<'_>) -> Option<ColumnChoice> {
    if let Some(name) = node.value().as_str() {
        return Some(ColumnChoice::Same(name.to_owned()));
    }
    if !node.value().is_table() {
        node.broken("must be a column's name or { from = \"…\", to = \"…\" }");
        return None;
    }
    let section = node.section()?;
    let choice = ColumnChoice::new(text(&section, "from"), text(&section, "to"));
    section.finish(|_| None);
    Some(choice)
}

fn crypto(section: &Section<'_>, key: &'static str) -> BTreeMap<String, CryptoChoice> {
    let Some(map) = section.optional(key).and_then(|n| n.section()) else {
        return BTreeMap::new();
    };
    let read = |(column, node): (String, Node<'_>)| {
        let choice = if node.value().is_table() {
            let section = node.section()?;
            let deterministic = flag(&section, "deterministic", false);
            let choice = CryptoChoice::new(text(&section, "key"), deterministic);
            section.finish(|_| None);
            choice
        } else if let Some(key) = node.value().as_str() {
            CryptoChoice::new(key.to_owned(), false)
        } else {
            node.broken("must be a key's name or { key = \"…\", deterministic = true }");
            return None;
        };
        Some((column, choice))
    };
    map.entries().into_iter().filter_map(read).collect()
}

/// A map of columns, or one word for all.
fn empty_as(section: &Section<'_>) -> BTreeMap<String, EmptyAs> {
    let choices = [("null", EmptyAs::Null), ("space", EmptyAs::Space), ("refuse", EmptyAs::Refuse)];
    let Some(node) = section.optional("empty_as") else { return BTreeMap::new() };
    if node.value().is_str() {
        return node.choice(&choices).map(|c| (OTHER_COLUMNS.to_owned(), c)).into_iter().collect();
    }
    let Some(map) = node.section() else { return BTreeMap::new() };
    let read = |(column, node): (String, Node<'_>)| Some((column, node.choice(&choices)?));
    map.entries().into_iter().filter_map(read).collect()
}

fn side_sql(section: &Section<'_>, key: &'static str) -> SideSql {
    let Some(section) = section.optional(key).and_then(|n| n.section()) else {
        return SideSql::default();
    };
    let sql = SideSql { source: strings(&section, "source"), dest: strings(&section, "dest") };
    section.finish(|_| None);
    sql
}
