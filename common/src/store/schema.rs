//! The tables of the configuration database, and how an older schema becomes the current one.
//!
//! [`TABLES`] is the whole truth: creation, migration and the reference in
//! `docs/CONFIGURATION.md` come from it. Columns that hold options come from their definitions
//! ([`crate::config::option`]), and with them the [`VERSION`]. To change the rest of the schema,
//! raise [`VERSION_OF_THE_REST`] and add tables or nullable columns with `since` that version, or
//! widen a text column and name it in [`WIDENED`], or add an index to [`INDEXED`]; nothing is ever
//! renamed or removed, so that an older ssync is the only thing that can stand in the way (it
//! refuses a newer schema).

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::config::option::{columns, newest};
use crate::config::{Key, Link, Schedule, TableTask, Task};
use crate::connector::OwnType::{self, BigInt, LongText};
use crate::error::{Error, Kind, Result};
use crate::store::sql::{Db, Filter, IntoValue, Select};

/// The newest version with which anything else than a column of an option came.
const VERSION_OF_THE_REST: i64 = 15;

/// The schema this build writes.
pub const VERSION: i64 = newest_of([
    VERSION_OF_THE_REST,
    newest::<Link>(),
    newest::<Key>(),
    newest::<Schedule>(),
    newest::<Task>(),
    newest::<TableTask>(),
]);

const fn newest_of(versions: [i64; 6]) -> i64 {
    let (mut newest, mut i) = (1, 0);
    while i < versions.len() {
        if versions[i] > newest {
            newest = versions[i];
        }
        i += 1;
    }
    newest
}

/// Text columns that were narrower before a version: version, table, column.
///
/// - 2: the fingerprint of a plan has 65 characters.
const WIDENED: &[(i64, &str, &str)] = &[(2, "T_RUN", "plan_hash")];

/// Indexes that came later: version, table, name, columns. They end in a key of the table, so
/// that they are unique by nature and [`Connection::describe`](crate::connector::Connection::describe) names them wherever they are there.
///
/// - 4: runs are listed by when they began, of all tables.
const INDEXED: &[(i64, &str, &str, &[&str])] =
    &[(4, "T_RUN", "T_RUN_BEGIN", &["begin_at", "run_id"])];

/// A table.
pub struct TableDef {
    /// Its name; MySQL on Linux tells case apart.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// The schema version it came with.
    pub since: i64,
    /// Its columns.
    pub columns: Vec<ColumnDef>,
    /// Primary key.
    pub key: &'static [&'static str],
    /// A further unique key, where rows are also looked up by it.
    pub unique: &'static [&'static str],
}

/// A column.
#[derive(Clone)]
pub struct ColumnDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: OwnType,
    /// Whether NULL may stand there.
    pub nullable: bool,
    /// The schema version it came with.
    pub since: i64,
    /// What it means.
    pub about: Cow<'static, str>,
}

impl ColumnDef {
    /// Whether it holds text, which may be empty.
    pub(super) fn is_text(&self) -> bool {
        match self.kind {
            OwnType::Text(_) | OwnType::LongText => true,
            OwnType::Id | OwnType::BigInt | OwnType::LongBytes => false,
        }
    }
}

fn col(name: &'static str, kind: OwnType, about: &'static str) -> ColumnDef {
    ColumnDef { name, kind, nullable: false, since: 1, about: about.into() }
}

fn opt(name: &'static str, kind: OwnType, about: &'static str) -> ColumnDef {
    ColumnDef { nullable: true, ..col(name, kind, about) }
}

/// A column that came later.
fn since(version: i64, column: ColumnDef) -> ColumnDef {
    ColumnDef { since: version, ..column }
}

/// Names of people's making: links, keys, tables of a task.
const NAME: OwnType = OwnType::Text(64);
/// Words of an enumeration.
const WORD: OwnType = OwnType::Text(16);
/// Moments: RFC 3339 in UTC with six digits of fraction, 27 characters.
const TIME: OwnType = OwnType::Text(32);
/// Hexadecimal ids of 128 bits.
const HEX: OwnType = OwnType::Text(32);
/// Names in other databases.
const OBJECT: OwnType = OwnType::Text(190);

fn position() -> ColumnDef {
    col("position", BigInt, "Place in the configuration file, from 0.")
}

fn task_id() -> ColumnDef {
    col("task_id", BigInt, "The task's number.")
}

fn table_name() -> ColumnDef {
    col("table_name", NAME, "The sub-task's name, as `--tables` names it.")
}

fn run_id() -> ColumnDef {
    col("run_id", HEX, "The run: 32 hexadecimal digits.")
}

/// Every table, the eight of the configuration first.
pub static TABLES: LazyLock<Vec<TableDef>> = LazyLock::new(|| {
    vec![
    TableDef {
        name: "T_LINK",
        about: "A database connection (`[[link]]`).",
        since: 1,
        columns: [
            columns::<Link>(),
            vec![
                position(),
                opt(
                    "secret_sealed",
                    LongText,
                    "For `stored`: the password sealed with the host key (AES-256-GCM).",
                ),
            ],
        ]
        .concat(),
        key: &["link_name"],
        unique: &[],
    },
    TableDef {
        name: "T_KEY",
        about: "A secret of an encryption key (`[[key]]`): one row for the key that encrypts, one for each older one.",
        since: 1,
        columns: vec![
            col("key_name", NAME, "The key's name."),
            col(
                "secret_no",
                BigInt,
                "0: the key that encrypts; from 1: those it replaced, newest first.",
            ),
            position(),
            col("secret_kind", WORD, "Where it comes from: `env`, `file`."),
            opt("secret_ref", LongText, "Name of the environment variable, or path of the file."),
        ],
        key: &["key_name", "secret_no"],
        unique: &[],
    },
    TableDef {
        name: "T_SCHEDULE",
        about: "When tasks fire (`[[schedule]]`).",
        since: 1,
        columns: [columns::<Schedule>(), vec![position()]].concat(),
        key: &["schedule_id"],
        unique: &[],
    },
    TableDef {
        name: "T_EXTRACTION_TASK",
        about: "A task (`[[task]]`).",
        since: 1,
        columns: [
            columns::<Task>(),
            vec![
            position(),
            col("task_type", BigInt, "The destination: 1 Oracle, 2 MySQL or MariaDB, 3 another."),
            col(
                "IS_ADD_DEL",
                BigInt,
                "What the daemon has yet to take note of: 0 nothing, 1 added or changed, 2 removed (the row goes once noted).",
            ),
            opt(
                "hold",
                WORD,
                "`paused` by an operator, `suspended` after a failure of a real-time task; NULL: may run.",
            ),
            opt("hold_at", TIME, "Since when."),
            opt("hold_reason", LongText, "Why, for people."),
            since(
                12,
                opt(
                    "hold_error",
                    OwnType::Text(32),
                    "The kind of failure that suspended it, as long as it may resume by itself once the server is back; NULL: only a person resumes it.",
                ),
            ),
            ],
        ]
        .concat(),
        key: &["task_id"],
        unique: &[],
    },
    TableDef {
        name: "task_detail",
        about: "A sub-task (`[[task.table]]`) and its lock.",
        since: 1,
        columns: [
            vec![task_id()],
            columns::<TableTask>(),
            vec![
            position(),
            col(
                "is_removed",
                BigInt,
                "1: no longer configured; the row stays only as long as its lock is held.",
            ),
            opt("hold", WORD, "`paused` by an operator; NULL: may run."),
            opt("hold_at", TIME, "Since when."),
            opt("hold_reason", LongText, "Why, for people."),
            opt("lock_token", HEX, "Random, new for every holder; NULL: not locked."),
            opt(
                "lock_owner",
                LongText,
                "The holder as JSON: host, boot id, pid namespace, pid, start in ticks since boot.",
            ),
            opt(
                "lock_file_id",
                HEX,
                "What stands in the holder's lock file: who holds that file's flock knows whether the holder lives.",
            ),
            opt("lock_run_id", HEX, "The holder's run."),
            opt("lock_taken_at", TIME, "When it was taken."),
            opt(
                "lock_lease_until",
                BigInt,
                "Until when it holds without a sign of life, by this database's clock, in seconds since 1970.",
            ),
            ],
        ]
        .concat(),
        key: &["task_id", "table_name"],
        unique: &[],
    },
    TableDef {
        name: "T_TASK_COLUMN",
        about: "A column of a sub-task that is chosen, renamed, encrypted, decrypted, allowed to be lossy or told how it is empty (`*`: all others).",
        since: 1,
        columns: vec![
            task_id(),
            table_name(),
            col("column_no", BigInt, "Number in the sub-task, from 0."),
            col("source_column", LongText, "Name at the source."),
            opt("position", BigInt, "Place among `columns`, from 0; NULL: not listed there."),
            opt("dest_column", LongText, "Name at the destination, where it is listed."),
            opt("encrypt_key", NAME, "Key that encrypts it."),
            opt("encrypt_mode", WORD, "`random` or `deterministic`."),
            opt("decrypt_key", NAME, "Key that decrypts it."),
            opt("decrypt_mode", WORD, "`random` or `deterministic`."),
            opt(
                "lossy_position",
                BigInt,
                "Place in `allow_lossy`, from 0; NULL: not listed there.",
            ),
            since(
                5,
                opt(
                    "empty_as",
                    WORD,
                    "How Oracle holds its empty text: `null`, `space`, `refuse`; NULL: not configured.",
                ),
            ),
        ],
        key: &["task_id", "table_name", "column_no"],
        unique: &[],
    },
    TableDef {
        name: "T_TASK_SQL",
        about: "A statement before or after a sub-task's rows.",
        since: 1,
        columns: vec![
            task_id(),
            table_name(),
            col("phase", WORD, "`before` or `after`."),
            col("side", WORD, "`source` or `dest`."),
            col("statement_no", BigInt, "Order, from 0."),
            col("statement_text", LongText, "The statement."),
        ],
        key: &["task_id", "table_name", "phase", "side", "statement_no"],
        unique: &[],
    },
    TableDef {
        name: "T_PARAMETER",
        about: "A setting of the installation: `schema_version`, `instance_id` and others; `controller`, `receivers`, `brief`, `monitor` and `retention` hold the sections of those names as JSON.",
        since: 1,
        columns: vec![col("param_name", OBJECT, "Name."), col("param_value", LongText, "Value.")],
        key: &["param_name"],
        unique: &[],
    },
    TableDef {
        name: "T_CONFIG_VERSION",
        about: "A configuration that was applied. Passwords and keys are no part of it, only where they come from.",
        since: 10,
        columns: vec![
            since(10, col("version_no", BigInt, "Its number, from 1.")),
            since(10, col("applied_at", TIME, "When, UTC.")),
            since(10, opt("applied_by", LongText, "By which account on which host; empty: before versions were kept.")),
            since(10, opt("reason", LongText, "Why, in the operator's words.")),
            since(10, col("change_count", BigInt, "Differences from the version before it.")),
            since(10, col("content", LongText, "The configuration as TOML.")),
        ],
        key: &["version_no"],
        unique: &[],
    },
    TableDef {
        name: "T_ORIGIN",
        about: "A process that writes down its runs, and how far that is in: what it writes twice, since an answer never came, counts once.",
        since: 4,
        columns: vec![
            since(4, col("origin", HEX, "The process: 32 hexadecimal digits.")),
            since(4, col("entry_no", BigInt, "Number of its last entry that is in, from 1.")),
            since(4, col("written_at", TIME, "When that was, UTC.")),
        ],
        key: &["origin"],
        unique: &[],
    },
    TableDef {
        name: "proc_use_times",
        about: "A finished table of a run, for whoever goes on from there (A11). One that failed before its run began (a server that is down, a table that is refused) has no row; of a run that was resumed there is one for each attempt that came to an end, and their rows add up to those of the run.",
        since: 1,
        columns: vec![
            task_id(),
            table_name(),
            col("begin_at", TIME, "When it began, UTC."),
            run_id(),
            col("end_at", TIME, "When it ended, UTC."),
            col("use_micros", BigInt, "How long it took, in microseconds."),
            col("row_count", BigInt, "Rows that landed, those of attempts before it included whose process died."),
            col("byte_count", BigInt, "Bytes that travelled, those of attempts before it included whose process died, as far as that was known."),
            col("result", WORD, "`done`, `failed`, `interrupted`; `abandoned`: another run was begun in its place."),
        ],
        key: &["task_id", "table_name", "begin_at", "run_id"],
        unique: &[],
    },
    TableDef {
        name: "T_RUN",
        about: "A run of one table, and every launch that failed before it had one.",
        since: 1,
        columns: vec![
            run_id(),
            task_id(),
            table_name(),
            col("row_mode", WORD, "Which rows were sent: `status`, `full`, `increment`."),
            col("run_state", WORD, "`open`, `done`, `failed`, `interrupted`, `abandoned`."),
            col("plan_hash", OwnType::Text(128), "Fingerprint of the plan it was begun with."),
            col("begin_at", TIME, "When it began, UTC."),
            opt("end_at", TIME, "When it ended, UTC; NULL: it has not."),
            col("claimed_rows", BigInt, "Rows claimed at the source, without those that were put back to 0."),
            col("read_rows", BigInt, "Rows read."),
            col("landed_rows", BigInt, "Rows that landed, in all attempts together."),
            col("failed_rows", BigInt, "Rows that were bad at its end."),
            col("withdrawn_rows", BigInt, "Rows edited or deleted between claim and read."),
            col("settled_rows", BigInt, "Rows set to 2."),
            col(
                "changed_rows",
                BigInt,
                "Rows that landed and were changed before they could be settled; they go again.",
            ),
            col("skipped_rows", BigInt, "Rows left out because their key exists (`ignore`)."),
            opt("message", LongText, "The outcome in a line."),
            opt("error", LongText, "The failure as JSON: kind, message, details, hint."),
            since(12, opt("attempt_count", BigInt, "How often a process went at it; see `T_ATTEMPT`.")),
            since(12, opt("use_micros", BigInt, "How long its attempts took together, in microseconds.")),
        ],
        key: &["run_id"],
        unique: &["task_id", "table_name", "begin_at", "run_id"],
    },
    TableDef {
        name: "T_ATTEMPT",
        about: "An attempt: a process goes at a table. A run has several where it was broken off and resumed.",
        since: 12,
        columns: vec![
            since(12, col("run_id", HEX, "The run; the attempt's own id until it has one, and where it failed before.")),
            since(12, col("attempt_id", HEX, "The attempt: 32 hexadecimal digits.")),
            since(12, task_id()),
            since(12, table_name()),
            since(12, col("attempt_state", WORD, "`open`, `done`, `failed`, `interrupted`; `died`: its process ended without a word.")),
            since(12, col("begin_at", TIME, "When it began, UTC.")),
            since(12, opt("end_at", TIME, "When it ended, UTC; of one that died, when it was last seen to do something.")),
            since(12, opt("landed_rows", BigInt, "Rows that landed in it; NULL: not known yet.")),
            since(13, opt("byte_count", BigInt, "Bytes that travelled in it; of one that died, as far as that was known; NULL: not known, or not recorded (`record_use_times`).")),
            since(12, opt("process", LongText, "The process, for people.")),
            since(12, opt("error", LongText, "The failure as JSON.")),
            since(15, opt("causes", LongText, "Failures after which it was tried again, each once, as JSON: when, and what.")),
        ],
        key: &["run_id", "attempt_id"],
        unique: &["task_id", "table_name", "begin_at", "attempt_id"],
    },
    TableDef {
        name: "T_NOTICE",
        about: "What people are still to be told because a table has ended. It comes with the end of the run, and goes once it was told.",
        since: 15,
        columns: vec![
            since(15, col("notice_id", HEX, "Its own id: 32 hexadecimal digits.")),
            since(15, task_id()),
            since(15, table_name()),
            since(15, col("ended_at", TIME, "When the table ended, UTC.")),
            since(15, col("notice", LongText, "What is to be told, and by which process, as JSON.")),
        ],
        key: &["notice_id"],
        unique: &[],
    },
    TableDef {
        name: "T_EMPTY_RUN",
        about: "Runs of an hour that had nothing to send. They are counted and have no row in `T_RUN`; in `proc_use_times` each has its own.",
        since: 12,
        columns: vec![
            since(12, task_id()),
            since(12, table_name()),
            since(12, col("hour_at", TIME, "Beginning of the hour in which they began, UTC.")),
            since(12, col("run_count", BigInt, "How many.")),
            since(12, col("use_micros", BigInt, "How long they took together, in microseconds.")),
            since(12, col("last_begin_at", TIME, "When the last of them began, UTC.")),
            since(12, col("last_end_at", TIME, "When it ended, UTC.")),
            since(12, col("last_run_id", HEX, "Its id.")),
            since(12, col("row_mode", WORD, "Which rows it was to send: `status`, `increment`.")),
        ],
        key: &["task_id", "table_name", "hour_at"],
        unique: &[],
    },
    TableDef {
        name: "T_BATCH",
        about: "A batch of a run, or a part of one that was split.",
        since: 1,
        columns: vec![
            run_id(),
            col("batch_no", BigInt, "Number in the run, from 0."),
            col("part", OBJECT, "Which part of a batch that was split; `-`: a whole one."),
            col("row_count", BigInt, "Its rows."),
            col("low_key", LongText, "Key of its first row, as JSON."),
            col("high_key", LongText, "Key of its last row, as JSON."),
            col("batch_state", WORD, "`sent`, `landed`, `settled`, `split`, `failed`."),
            opt("sent_at", TIME, "When it went to a writer, UTC."),
            opt("landed_at", TIME, "When its landing was known, UTC."),
            opt("settled_at", TIME, "When the source was told, UTC."),
            opt("writer", BigInt, "Number of the writer."),
            since(11, opt("source_id", HEX, "The source table's identity: 32 hexadecimal digits.")),
            since(11, opt("record_id", HEX, "The destination's record that it was settled by: 32 hexadecimal digits.")),
            since(11, opt("run_counter", BigInt, "Number that source and destination had then; see `T_RUN_COUNTER`.")),
        ],
        key: &["run_id", "batch_no", "part"],
        unique: &[],
    },
    TableDef {
        name: "T_RUN_COUNTER",
        about: "The numbers of this home's runs in `status` mode, those without rows included. Source and \
            destination count the runs of all homes together: a number that is not here is another home's.",
        since: 11,
        columns: vec![
            since(11, col("source_id", HEX, "The source table's identity: 32 hexadecimal digits.")),
            since(11, col("run_counter", BigInt, "The number.")),
            since(11, col("begin_at", TIME, "When the run took it, UTC.")),
        ],
        key: &["source_id", "run_counter"],
        unique: &[],
    },
    TableDef {
        name: "T_ERROR_ROW",
        about: "A row that could not be transferred.",
        since: 1,
        columns: vec![
            run_id(),
            col("error_no", BigInt, "Number in the run, from 0."),
            task_id(),
            table_name(),
            col("key_columns", LongText, "Names of the key columns, as a JSON list."),
            col("key_values", LongText, "The row's key, as JSON."),
            opt("column_name", OBJECT, "The column at fault, where it is known."),
            col("error_kind", OwnType::Text(32), "Sort of failure."),
            col("error_text", LongText, "What was wrong; never the value."),
            col("error_at", TIME, "When, UTC."),
            col(
                "row_state",
                WORD,
                "`bad`; `retried`: to be sent again; `landed`: since, in `state_run`; `withdrawn`: no longer to be sent; \
                 `repeated`: bad again, in `state_run`; `resolved`: whether it has landed is not known.",
            ),
            since(14, opt("state_at", TIME, "When it was found to be in this state, UTC; empty: it was always in it, or an older version noted it.")),
            since(14, opt("state_run", HEX, "The run that landed it, or met it again.")),
            since(14, opt("state_reason", LongText, "How that is known.")),
        ],
        key: &["run_id", "error_no"],
        unique: &["task_id", "table_name", "run_id", "error_no"],
    },
]
});

/// The parameter that holds the schema version.
const SCHEMA_VERSION: &str = "schema_version";

/// Brings the database to `latest`; `None` where it was there already, else the version found
/// (0: an empty database).
///
/// # Errors
/// [`Kind::Config`] when the schema is newer than `latest`.
pub(super) fn migrate(db: &mut Db, tables: &[TableDef], latest: i64) -> Result<Option<i64>> {
    let found = version(db)?;
    if found == latest {
        return Ok(None);
    }
    if found > latest {
        return Err(Error::new(
            Kind::Config,
            format!("the configuration database has schema {found}, newer than {latest}"),
        )
        .detail(format!("this ssync is version {}", env!("CARGO_PKG_VERSION")))
        .hint("A newer ssync has been used with it. Use that one, or another SSYNC_HOME."));
    }
    for version in found + 1..=latest {
        for table in tables.iter().filter(|t| t.since <= version) {
            bring_to(db, table, version)?;
        }
        // Set last: a migration that was cut off runs again, and finds parts of itself done.
        db.transaction(|db| set_parameter(db, SCHEMA_VERSION, &version.to_string()))?;
    }
    Ok(Some(found))
}

/// The schema version, 0 in a database without ssync's tables.
pub(super) fn version(db: &mut Db) -> Result<i64> {
    if db.conn().describe("T_PARAMETER")?.is_none() {
        return Ok(0);
    }
    match parameter(db, SCHEMA_VERSION)? {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_| {
            Error::new(Kind::Config, "the configuration database has no readable schema version")
        }),
    }
}

fn bring_to(db: &mut Db, table: &TableDef, version: i64) -> Result<()> {
    let d = db.conn().dialect();
    let spelt = |c: &ColumnDef| {
        let may_be_empty = c.is_text() && !table.key.contains(&c.name);
        let null =
            if c.nullable || may_be_empty && !d.keeps_empty_text() { "" } else { " NOT NULL" };
        format!("{} {}{null}", d.quote(c.name), d.own_type(c.kind))
    };
    let list = |names: &[&str]| names.iter().map(|n| d.quote(n)).collect::<Vec<_>>().join(", ");
    if table.since == version {
        let columns = table.columns.iter().filter(|c| c.since <= version);
        let mut parts: Vec<_> = columns.map(spelt).collect();
        parts.push(format!("PRIMARY KEY ({})", list(table.key)));
        if !table.unique.is_empty() {
            parts.push(format!("UNIQUE ({})", list(table.unique)));
        }
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} ({}) {}",
            d.table(table.name),
            parts.join(", "),
            d.table_options()
        );
        db.conn().execute(&sql, &[])?;
        return Ok(());
    }
    let widened = |c: &&ColumnDef| WIDENED.contains(&(version, table.name, c.name));
    for column in table.columns.iter().filter(widened) {
        if let Some(sql) = d.widen(table.name, &spelt(column)) {
            db.conn().execute(&sql, &[])?;
        }
    }
    let added: Vec<_> = table.columns.iter().filter(|c| c.since == version).collect();
    let indexed = |i: &&(i64, &str, &str, &[&str])| (i.0, i.1) == (version, table.name);
    let indexes: Vec<_> = INDEXED.iter().filter(indexed).collect();
    if added.is_empty() && indexes.is_empty() {
        return Ok(());
    }
    let there = db.conn().describe(table.name)?;
    for (_, _, name, columns) in indexes {
        let names: Vec<_> = columns.iter().map(ToString::to_string).collect();
        if there.as_ref().is_some_and(|t| t.unique_index_on(&names).is_some()) {
            continue;
        }
        let sql = format!(
            "CREATE UNIQUE INDEX {} ON {} ({})",
            d.quote(name),
            d.quote(table.name),
            list(columns)
        );
        db.conn().execute(&sql, &[])?;
    }
    for column in added {
        if there.as_ref().is_some_and(|t| t.column(column.name).is_some()) {
            continue;
        }
        let sql = d.add_column(table.name, &spelt(column));
        db.conn().execute(&sql, &[])?;
    }
    Ok(())
}

/// A setting of the installation.
pub(super) fn parameter(db: &mut Db, name: &str) -> Result<Option<String>> {
    let filter = Filter::new().eq("param_name", name);
    let rows = db.select(Select::new("T_PARAMETER", &["param_value"]).filter(filter))?;
    Ok(rows.first().and_then(|row| row.opt_text("param_value")))
}

/// Adds a setting that is not there yet.
pub(super) fn add_parameter(db: &mut Db, name: &str, value: &str) -> Result<()> {
    let row = [("param_name", name.into_value()), ("param_value", value.into_value())];
    db.transaction(|db| db.insert("T_PARAMETER", &row))
}

/// Writes a setting, inside the caller's transaction.
pub(super) fn set_parameter(db: &mut Db, name: &str, value: &str) -> Result<()> {
    db.delete("T_PARAMETER", Filter::new().eq("param_name", name))?;
    let row = [("param_name", name.into_value()), ("param_value", value.into_value())];
    db.insert("T_PARAMETER", &row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::keep_current;
    use crate::store::{Home, Store, StoreLocation};

    const LONG: OwnType = OwnType::LongText;

    fn table(name: &'static str, since: i64, columns: Vec<ColumnDef>) -> TableDef {
        TableDef { name, about: "", since, columns, key: &["id"], unique: &[] }
    }

    /// A database of version 1 with a row, then one of version 3: a column and a table more.
    fn versions() -> [Vec<TableDef>; 2] {
        let id = || col("id", BigInt, "");
        let later = since(2, opt("later", LONG, ""));
        let parameters = || TableDef {
            name: "T_PARAMETER",
            about: "",
            since: 1,
            columns: vec![col("param_name", NAME, ""), col("param_value", LONG, "")],
            key: &["param_name"],
            unique: &[],
        };
        [
            vec![parameters(), table("t", 1, vec![id()])],
            vec![parameters(), table("t", 1, vec![id(), later]), table("u", 3, vec![id()])],
        ]
    }

    fn database() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let location = StoreLocation::embedded(home);
        location.prepare().unwrap();
        let db = Db::open(location.link).unwrap();
        (dir, db)
    }

    #[test]
    fn an_older_schema_is_brought_forward_and_its_rows_stay() {
        let (_dir, mut db) = database();
        let [old, new] = versions();
        assert_eq!(migrate(&mut db, &old, 1).unwrap(), Some(0));
        db.insert("t", &[("id", 7i64.into_value())]).unwrap();
        assert_eq!(migrate(&mut db, &new, 3).unwrap(), Some(1));
        let rows = db.select(Select::new("t", &["id", "later"])).unwrap();
        assert_eq!((rows.len(), rows[0].opt_text("later")), (1, None));
        assert!(db.conn().describe("u").unwrap().is_some());
        assert_eq!(migrate(&mut db, &new, 3).unwrap(), None);
    }

    #[test]
    fn a_migration_that_was_cut_off_is_finished() {
        let (_dir, mut db) = database();
        let [old, new] = versions();
        migrate(&mut db, &old, 1).unwrap();
        // The column is there, the version still the old one.
        bring_to(&mut db, &new[1], 2).unwrap();
        assert_eq!(migrate(&mut db, &new, 3).unwrap(), Some(1));
        assert_eq!(version(&mut db).unwrap(), 3);
    }

    #[test]
    fn runs_of_an_older_schema_get_their_index_and_stay() {
        let (_dir, mut db) = database();
        migrate(&mut db, &TABLES, 3).unwrap();
        let indexed = |db: &mut Db| {
            let table = db.conn().describe("T_RUN").unwrap().unwrap();
            let names = ["begin_at", "run_id"].map(str::to_owned);
            table.unique_index_on(&names).is_some()
        };
        assert!(!indexed(&mut db));
        assert!(db.conn().describe("T_ORIGIN").unwrap().is_none());
        assert_eq!(migrate(&mut db, &TABLES, VERSION).unwrap(), Some(3));
        assert!(indexed(&mut db));
        // Cut off before the version was set, it is done once more.
        db.transaction(|db| set_parameter(db, SCHEMA_VERSION, "3")).unwrap();
        assert_eq!(migrate(&mut db, &TABLES, VERSION).unwrap(), Some(3));
        assert!(indexed(&mut db) && db.conn().describe("T_ORIGIN").unwrap().is_some());
        let plan = "EXPLAIN QUERY PLAN SELECT * FROM T_RUN WHERE begin_at >= 'x' ORDER BY begin_at";
        let plan = format!("{:?}", db.conn().query(plan, &[]).unwrap());
        assert!(plan.contains("T_RUN_BEGIN"), "{plan}");
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let (dir, mut db) = database();
        migrate(&mut db, &TABLES, VERSION).unwrap();
        let newer = (VERSION + 1).to_string();
        db.transaction(|db| set_parameter(db, SCHEMA_VERSION, &newer)).unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let error = Store::open(&StoreLocation::embedded(home)).err().unwrap();
        assert_eq!(error.kind, Kind::Config);
        assert!(error.message.contains("newer"), "{error}");
        assert!(error.hint.is_some());
    }

    /// The tables as they stand in `docs/CONFIGURATION.md`.
    fn reference() -> String {
        let mut text = String::new();
        for table in TABLES.iter() {
            text += &format!("\n### `{}`\n\n{}\n\n", table.name, table.about);
            text += "| column | type | meaning |\n| --- | --- | --- |\n";
            for column in &table.columns {
                let kind = match column.kind {
                    OwnType::BigInt => "integer".to_owned(),
                    OwnType::Text(chars) => format!("text ({chars})"),
                    OwnType::LongText => "text".to_owned(),
                    OwnType::Id | OwnType::LongBytes => "bytes".to_owned(),
                };
                let key = if table.key.contains(&column.name) { ", key" } else { "" };
                let null = if column.nullable { ", or NULL" } else { "" };
                text += &format!("| `{}` | {kind}{null}{key} | {} |\n", column.name, column.about);
            }
        }
        text + "\n"
    }

    #[test]
    fn the_reference_is_current() {
        keep_current("<!-- tables -->\n", "<!-- end of tables -->", &reference());
    }

    #[test]
    fn tables_are_defined_without_contradiction() {
        for (version, table, column) in WIDENED {
            let table = TABLES.iter().find(|t| t.name == *table).unwrap();
            let column = table.columns.iter().find(|c| c.name == *column).unwrap();
            assert!(column.since < *version && *version <= VERSION, "{}", column.name);
        }
        for (version, table, _, columns) in INDEXED {
            let table = TABLES.iter().find(|t| t.name == *table).unwrap();
            assert!(table.since < *version && *version <= VERSION, "{}", table.name);
            assert!(columns.iter().all(|c| table.columns.iter().any(|k| k.name == *c)));
            assert!(table.key.iter().all(|k| columns.contains(k)), "{}", table.name);
        }
        for table in TABLES.iter() {
            let mut names: Vec<_> = table.columns.iter().map(|c| c.name).collect();
            assert!(
                table.key.iter().chain(table.unique).all(|k| names.contains(k)),
                "{}",
                table.name
            );
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
            assert!((1..=VERSION).contains(&table.since));
            for column in &table.columns {
                let added = column.since > table.since;
                assert!(!added || column.nullable, "{}.{}", table.name, column.name);
                assert!((table.since..=VERSION).contains(&column.since));
            }
        }
    }
}
