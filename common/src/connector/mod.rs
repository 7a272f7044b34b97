//! Databases behind one interface. To add one, see `README.md` beside this file.
//!
//! A connector is a [`Dialect`] (how its SQL is spelt) and a [`Connection`] (how it is spoken to).
//! The protocol of claims, fences and ledgers is written once, above, on these two.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

pub use needs::{Gap, Need, Privilege, Statement, is_about_rows};

use arrow_array::{Array, ArrayRef, RecordBatch};
use serde::{Deserialize, Serialize};

use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind, Table};
use crate::secret::Secret;
use crate::value::Value;

/// How a connection to a server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    #[default]
    Off,
    /// TLS, whatever certificate the server shows.
    Required,
    /// TLS, and the certificate must be signed by a known authority and name the host.
    Verified,
}

/// Which driver an Oracle link uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OracleDriver {
    /// Oracle's own thin driver, which needs no client: Oracle 12c and later.
    #[default]
    Thin,
    /// Oracle's client library: 11.2, native network encryption.
    Oci,
}

/// What only Oracle links have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OracleParams {
    /// Driver.
    pub driver: OracleDriver,
    /// Directory with the wallet for TLS (`ewallet.pem`; for the OCI driver `cwallet.sso`).
    pub wallet_dir: Option<PathBuf>,
}

/// Everything needed to open a connection. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct LinkParams {
    /// The link's name, for messages.
    pub name: String,
    /// URL without a password: `mysql://user@host:port/db`, `oracle://user@host:port/service`,
    /// `sqlite:///path/file.db`.
    pub url: String,
    /// Password, where the database wants one.
    pub password: Option<Secret>,
    /// Protection of the connection.
    pub tls: TlsMode,
    /// Certificate authorities (PEM) for [`TlsMode::Verified`].
    pub tls_ca_file: Option<PathBuf>,
    /// What only Oracle links have.
    pub oracle: OracleParams,
    /// How long opening may take.
    pub connect_timeout: Duration,
    /// How long one read from, or write to, the server may stay without progress.
    pub io_timeout: Duration,
}

/// How long a statement waits for another transaction's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// As short as the database can: not at all (MariaDB 10.3 and later), else some seconds at the
    /// most. A row held by the application is left for later.
    Short,
    /// About five seconds: long enough for a batch that is under way to end, not for a session
    /// that is stuck.
    Brief,
    /// About a minute: loads, fences, bookkeeping.
    Patient,
    /// As [`LockWait::Patient`] for rows, and a second for a table that others use: for statements
    /// that want it alone (TRUNCATE, RENAME), behind which every later reader waits. Where the
    /// database keeps nobody waiting behind them, as [`LockWait::Operator`].
    Definition,
    /// As [`LockWait::Patient`], for statements of an operator's. Where the database cannot tell
    /// waiting from working, they may take as long as the link's `io_timeout`.
    Operator,
}

/// What rows do when the destination has their key already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// A row whose key exists is a bad row.
    #[default]
    Insert,
    /// The existing row gets the new values of the transferred columns.
    Upsert,
    /// The existing row is deleted and the new one inserted.
    Replace,
    /// The existing row stays as it is; the skipped row is counted.
    Ignore,
}

/// Where and how a batch lands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Destination table.
    pub table: String,
    /// Destination columns, one for each of the batch's first columns, in batch order. (A batch
    /// may hold further columns, key columns that are not transferred; they are left out.)
    pub columns: Vec<Column>,
    /// How the values in the batch travel, one for each of `columns`: it may differ from the
    /// destination column's own kind.
    pub kinds: Vec<Kind>,
    /// What happens to rows whose key exists.
    pub mode: WriteMode,
    /// Destination key columns (for upsert, replace, ignore).
    pub key: Vec<String>,
}

/// A destination column, how its values travel, and the values.
pub(crate) type PlannedField<'a> = (&'a Column, Kind, &'a dyn Array);

impl LoadPlan {
    /// What of the batch goes where, in the order of the columns.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it is not such a batch as was planned for.
    pub(crate) fn fields<'a>(&'a self, batch: &'a RecordBatch) -> Result<Vec<PlannedField<'a>>> {
        let (columns, kinds) = (self.columns.len(), self.kinds.len());
        if columns == 0 || columns != kinds || columns > batch.num_columns() {
            let arrays = batch.num_columns();
            let why = format!("{columns} columns, {kinds} kinds and {arrays} arrays to load");
            return Err(Error::new(ErrorKind::Internal, why));
        }
        let field = |((column, kind), array): ((&'a Column, &Kind), &'a ArrayRef)| {
            let kind = *kind;
            if *array.data_type() != kind.arrow() {
                let why = format!("column {}: a batch of another kind than planned", column.name);
                return Err(Error::new(ErrorKind::Internal, why));
            }
            Ok((column, kind, array.as_ref()))
        };
        self.columns.iter().zip(&self.kinds).zip(batch.columns()).map(field).collect()
    }
}

/// What a load did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Rows the server took (inserted, updated or replaced).
    pub rows: u64,
    /// Rows left out because their key exists ([`WriteMode::Ignore`] only).
    pub skipped: u64,
}

/// Rows of which [`Dialect::sampled`] takes one.
pub const SAMPLED_OF: u32 = 2000;

/// A column type for ssync's own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnType {
    /// Sixteen bytes, fixed width.
    Id,
    /// Signed 64-bit integer.
    BigInt,
    /// Text of at most this many characters, byte-wise (case-sensitive) comparison, indexable up
    /// to 190.
    Text(u32),
    /// Text without a practical limit.
    LongText,
    /// Bytes without a practical limit.
    LongBytes,
}

/// How a database spells what the protocol needs. Stateless.
pub trait Dialect: Send + Sync {
    /// The URL scheme and the name people know: `mysql`, `sqlite`.
    fn name(&self) -> &'static str;

    /// One identifier, quoted.
    fn quote(&self, identifier: &str) -> String;

    /// One identifier that people write without quotes, quoted: a database that folds such names
    /// folds it.
    fn folded(&self, identifier: &str) -> String {
        self.quote(identifier)
    }

    /// A table name as configured (`table` or `schema.table`), each part quoted. Dots inside a
    /// name can be kept by quoting the part with `"` or backticks in the configuration.
    fn table(&self, name: &str) -> String {
        split_table_name(name).iter().map(|p| self.quote(p)).collect::<Vec<_>>().join(".")
    }

    /// The expression that reads a column so that its value arrives unchanged.
    fn select(&self, column: &Column) -> String;

    /// Whether a value that [`Dialect::select`] gave only stands for one that cannot be read.
    fn is_unreadable(&self, _value: &Value) -> bool {
        false
    }

    /// The `n`th placeholder (from 1), cast where a bare parameter compared with `column` would
    /// be rounded or converted.
    fn param(&self, n: usize, column: Option<&Column>) -> String;

    /// Whether a whole number that a column of whole numbers cannot hold still compares with its
    /// values as a number: only then may a range of its keys end at a number that no row has.
    fn compares_as_number(&self, _column: &Column) -> bool {
        true
    }

    /// The query, limited to its first `n` rows.
    fn limit(&self, sql: &str, n: u64) -> String;

    /// The query, only its `n`th row (from 1).
    fn nth(&self, sql: &str, n: u64) -> String;

    /// What stands behind `SELECT`, and what stands for a table in `FROM`, so that its rows are
    /// found through this index of it and in no other way. Where the index cannot be used, the query
    /// fails (Oracle: it goes another way).
    fn through_index(&self, table: &str, index: &str) -> (String, String);

    /// The statement that limits how long each further query of the session may take; `None` where
    /// the database knows no such limit.
    fn limit_query_time(&self, _secs: u64) -> Option<String> {
        None
    }

    /// What stands for a table in `FROM`, and a condition (or none), so that about one row in
    /// [`SAMPLED_OF`] comes, taken by chance.
    fn sampled(&self, table: &str) -> (String, Option<String>);

    /// The query, its rows locked shared (`exclusive` false) or exclusively until the transaction
    /// ends. A database that locks whole files returns the query unchanged.
    fn lock(&self, sql: &str, exclusive: bool) -> String;

    /// Whether [`Dialect::lock`] knows shared locks of rows. Where it does not, the fence is kept
    /// by seats (see `ledger.rs`).
    fn shares_row_locks(&self) -> bool {
        true
    }

    /// Whether an empty text stays one. Where it becomes NULL, the texts of ssync's own tables may
    /// be NULL.
    fn keeps_empty_text(&self) -> bool {
        true
    }

    /// The type for a column of one of ssync's own tables.
    fn own_type(&self, t: OwnType) -> String;

    /// The statement that widens a text column of one of ssync's own tables to `definition` (name,
    /// type, nullability); `None` where text has no width.
    fn widen(&self, table: &str, definition: &str) -> Option<String>;

    /// The statement that adds a column of `definition` to one of ssync's own tables.
    fn add_column(&self, table: &str, definition: &str) -> String {
        format!("ALTER TABLE {} ADD COLUMN {definition}", self.table(table))
    }

    /// The statement that makes a trigger on the table (as configured) by which a row that is changed
    /// without a change of its column `status` gets 0 there; for people to read and run.
    fn resend_trigger(&self, table: &str, status: &str) -> String;

    /// What stands after the closing parenthesis of `CREATE TABLE` (engine, character set).
    fn table_options(&self) -> &'static str;

    /// The database server's clock in whole seconds since 1970, as an expression.
    fn now_secs(&self) -> &'static str;

    /// The query whose one row is the expression's value.
    fn select_expression(&self, expression: &str) -> String {
        format!("SELECT {expression}")
    }

    /// The statement that empties a table, the fastest that the database takes for it, and whether
    /// it commits by itself. Never one that deletes or changes rows of other tables, unless their
    /// foreign keys say so ([`crate::schema::ForeignKey::cascades`]: callers refuse those).
    fn truncate(&self, table: &Table) -> (Statement, bool);

    /// Statements that make `new` an empty table like `table`, dropping an older `new` first.
    /// Fails with [`ErrorKind::Refused`] for a table that cannot be repeated. Indexes that check
    /// nothing may be left to [`Dialect::swap`].
    fn create_like(&self, new: &str, table: &Table) -> Result<Vec<Statement>>;

    /// Whether a statement that changes definitions commits the transaction it stands in, so that
    /// neither it nor what came before it can be rolled back.
    fn ddl_commits(&self) -> bool;

    /// Statements that put `new`, made by [`Dialect::create_like`], in the place of `table` in
    /// one step. To be run inside one transaction ([`Connection::begin`]): where DDL belongs to
    /// transactions, the step is one by that, and the old table is dropped in it; where it does
    /// not, by the statement itself, and the old table stays as [`Dialect::swapped_out`].
    fn swap(&self, new: &str, table: &Table) -> Result<Vec<Statement>>;

    /// Name of the old table after [`Dialect::swap`], where DDL commits: as long as it is there,
    /// the swap has taken place. The caller drops it once it has recorded that.
    fn swapped_out(&self, table: &str) -> Option<String>;
}

/// A session that was found by its name ([`Connection::name_session`]).
#[derive(Debug, Clone)]
pub struct NamedSession {
    /// The name.
    pub name: String,
    /// Which session it is, from where and since when, as far as the server says.
    pub about: String,
    /// Why it could not be ended; `None` where it was.
    pub stays: Option<Error>,
    /// What an administrator may run to end it.
    pub statement: String,
}

/// One open connection. Not shared between threads; opened only after `exec`, never carried
/// across `fork`.
///
/// Contract for all methods: an error leaves the connection usable unless its kind is
/// [`ErrorKind::Lost`] (then it must be dropped, and an open transaction's fate is unknown only
/// if the failing call was [`Connection::commit`]). Errors never contain row values; database
/// messages that quote values are shortened to what names the fault.
pub trait Connection: Send {
    /// How SQL is spelt here.
    fn dialect(&self) -> &'static dyn Dialect;

    /// Product and version, for people: `MariaDB 10.11.19`.
    fn server(&self) -> String;

    /// Text that identifies the server, or the file: the same for every address, account and
    /// connection that leads to it, another for another one. It says nothing of the age of its
    /// data. What each database takes for it, and what that cannot tell, is in `README.md`. Asked
    /// once for each connection; may be shown to people; holds no line break.
    fn server_identity(&mut self) -> Result<String>;

    /// Runs one statement; the rows it changed. Outside [`Connection::begin`] it is its own
    /// transaction.
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64>;

    /// Runs a query whose result is small.
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>>;

    /// Starts a READ COMMITTED transaction (SQLite: `BEGIN IMMEDIATE`).
    fn begin(&mut self) -> Result<()>;

    /// Starts a transaction that only reads, and sees the database as it is at this moment until
    /// [`Connection::rollback`], whatever others commit meanwhile. `false`, and no transaction, where
    /// there is no such thing. While it lasts, the database keeps old versions of rows, and (MySQL)
    /// definitions of tables that it has read cannot be changed. Where the database gives it up by
    /// itself, reading fails with [`ErrorKind::Contention`].
    fn begin_snapshot(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Keeps everybody from changing these tables until [`Connection::let_changes`]: waits about a
    /// second for transactions that have changed them already; whoever wants to change them meanwhile
    /// waits. Snapshots of other connections that begin under it show the same state of the tables.
    ///
    /// # Errors
    /// When that cannot be had; nothing is held then.
    fn hold_changes(&mut self, _tables: &[String]) -> Result<()> {
        Err(Error::new(ErrorKind::Refused, "this database cannot hold up changes of a table"))
    }

    /// Ends [`Connection::hold_changes`]. After an error the connection must be dropped.
    fn let_changes(&mut self) -> Result<()> {
        Ok(())
    }

    /// Commits. [`ErrorKind::Lost`] from here means: whether it committed is unknown, and must be
    /// resolved through the fence. After any other error nothing was committed, and no
    /// transaction is open; [`ErrorKind::Parent`] is a foreign key that was checked only now.
    fn commit(&mut self) -> Result<()>;

    /// Rolls back; succeeds when no transaction is open.
    fn rollback(&mut self) -> Result<()>;

    /// The query, which has an order, about its first `n` rows, without those that another
    /// transaction holds locked; the others are locked exclusively until the transaction ends.
    /// (A database that cannot limit such a query gives all of them.) `None` where the server
    /// cannot pass over locked rows.
    fn skipping_locked(&self, _sql: &str, _n: u64) -> Option<String> {
        None
    }

    /// Gives the session a name (of up to 61 letters, digits, colons), by which others find it as
    /// long as it lives; a later name takes the place of an earlier one. It is a session whose
    /// transactions are short, and keep others waiting: where the server can be told so, it ends the
    /// session when it hears nothing of it for about a minute. Outside of a transaction it is then
    /// opened anew, unnoticed. Does nothing where sessions have no names.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] only: a session without a name does its work as well.
    fn name_session(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }

    /// Ends the sessions with these names, and no other ones; says which there were.
    fn end_sessions(&mut self, _names: &[String]) -> Result<Vec<NamedSession>> {
        Ok(Vec::new())
    }

    /// What an administrator may run to find sessions whose names begin so, where only an
    /// administrator can.
    fn how_to_find_sessions(&self, _name_begin: &str) -> Option<String> {
        None
    }

    /// Sessions that use the table, or may, as far as the account can see them; for people.
    fn users_of(&mut self, _table: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// How long statements wait for locks from now on.
    fn set_lock_wait(&mut self, wait: LockWait) -> Result<()>;

    /// Whether [`Connection::refresh`] can make the connection as good as new: it is not known to
    /// be broken, no transaction is open, and all that may have changed in its session can be
    /// taken back.
    fn may_be_reused(&self) -> bool;

    /// Makes the connection as good as a new one, for other work: whatever its session has
    /// gathered is gone, and it is pinned as when it was opened. Takes no longer than opening
    /// may.
    ///
    /// # Errors
    /// When it is not as good as new; then it must be dropped.
    fn refresh(&mut self) -> Result<()>;

    /// The table of that name, or `None`.
    fn describe(&mut self, table: &str) -> Result<Option<Table>>;

    /// Other tables of which rows refer to rows of `table` at this moment, as far as the database
    /// shows that; for `ssync check`.
    fn referring(&mut self, _table: &Table) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Looks once more at `table` and at `new`, which [`Dialect::create_like`] made like it, right
    /// before [`Dialect::swap`]; nothing that is remembered counts. Statements to run before those of
    /// the swap: they carry over what the table has counted (the next number of a column that counts
    /// by itself).
    ///
    /// # Errors
    /// [`ErrorKind::Refused`], naming all that a swap would lose or bring: triggers, foreign keys
    /// either way, indexes, columns and options by which the two differ.
    fn ready_to_swap(&mut self, new: &str, table: &Table) -> Result<Vec<String>>;

    /// Runs `sql`, which selects `columns` in order by [`Dialect::select`], and streams its rows
    /// through `builder` (made for the same columns) into `emit`, the last incomplete batch
    /// included. A value that does not decode becomes a bad value of its row, not an error. The
    /// number of rows read.
    fn read(
        &mut self,
        sql: &str,
        params: &[Value],
        columns: &[Column],
        builder: &mut BatchBuilder,
        emit: &mut Emit<'_>,
    ) -> Result<u64>;

    /// Puts rows `rows` of `batch` into `plan.table`, inside the transaction the caller has
    /// begun. Either every row is there afterwards exactly as given, or an error is returned and
    /// the caller rolls back: a conversion that the server only warns about is an error.
    /// [`ErrorKind::Data`] and [`ErrorKind::Parent`] say that a row's content is at fault (any of
    /// them: the caller bisects); the column is named where the server names it. An empty range
    /// does nothing.
    fn load(&mut self, plan: &LoadPlan, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded>;

    /// `None` when a commit survives a crash of the server and its host; else the setting that
    /// stands against it.
    fn durability_gap(&mut self) -> Result<Option<String>>;

    /// `None` when a transaction takes effect as a whole or not at all; else the setting that
    /// stands against it.
    fn atomicity_gap(&mut self) -> Result<Option<String>>;

    /// What `ssync check` reports of the server: what stands against using `table` as a destination
    /// (`dest`), or as a source whose states are written (`status`), one sentence each. What the
    /// account may do is another question: [`Connection::missing`].
    fn access_gaps(&mut self, table: &str, dest: bool, status: bool) -> Result<Vec<String>>;

    /// What makes this database a worse destination than it could be, and does not stand against it;
    /// one sentence each.
    fn drawbacks(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What of this the account may not do, one sentence each. Changes nothing and locks nothing.
    /// Where a database has no accounts, nothing.
    fn missing(&mut self, needs: &[Need]) -> Result<Vec<Gap>>;

    /// Whether the database would take this statement, for which [`is_about_rows`] holds, as far as
    /// can be told without running it: its grammar, its tables and columns, the account's privileges.
    /// `None` where this database cannot be asked.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] and the like; what the database has against the statement is the answer.
    fn would_take(&mut self, sql: &str) -> Result<Option<Result<()>>>;
}

/// Opens a connection by the URL's scheme.
pub fn open(link: &LinkParams) -> Result<Box<dyn Connection>> {
    let scheme = link.url.split(':').next().unwrap_or_default();
    match scheme {
        "mysql" | "mariadb" => mysql::open(link),
        "oracle" => oracle::open(link),
        "sqlite" => sqlite::open(link),
        other => Err(unknown_scheme(&link.name, other)),
    }
}

/// The dialect of a URL, without connecting.
pub fn dialect_of(url: &str) -> Result<&'static dyn Dialect> {
    match url.split(':').next().unwrap_or_default() {
        "mysql" | "mariadb" => Ok(&mysql::MySqlDialect),
        "oracle" => Ok(&oracle::ORACLE),
        "sqlite" => Ok(&sqlite::SqliteDialect),
        other => Err(unknown_scheme("", other)),
    }
}

fn unknown_scheme(link: &str, scheme: &str) -> Error {
    Error::new(ErrorKind::Config, format!("link {link}: there is no connector for {scheme}://"))
        .hint("This build knows mysql:// (also mariadb://), oracle:// and sqlite://.")
}

/// `schema.table` in its parts; a part may be quoted with `"` or backticks to keep a dot.
pub fn split_table_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in name.chars() {
        match (quote, c) {
            (None, '"' | '`') if parts.last().is_some_and(String::is_empty) => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            (None, '.') => parts.push(String::new()),
            (_, c) => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    parts
}

/// The name of a table `own` in the schema of `table`, whose quotes stay as they are: every user
/// and default database finds the same one.
pub fn beside(table: &str, own: &str) -> String {
    let last = split_table_name(table).pop().unwrap_or_default();
    let name = table.trim_end_matches(['"', '`']);
    let schema = name.strip_suffix(last.as_str()).unwrap_or_default();
    format!("{}{own}", schema.trim_end_matches(['"', '`']))
}

/// The name of a thing beside a table, in the same schema: the table's with `suffix`, shortened to
/// `chars` characters. Quoted by `dialect`.
fn suffixed(dialect: &dyn Dialect, parts: Vec<String>, suffix: &str, chars: usize) -> String {
    let mut parts = parts;
    if let Some(last) = parts.last_mut() {
        *last = last.chars().take(chars - suffix.len()).chain(suffix.chars()).collect();
    }
    parts.iter().map(|p| dialect.quote(p)).collect::<Vec<_>>().join(".")
}

/// Text with its `%xx` decoded; `None` where that is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match (first, digits.and_then(|d| u8::from_str_radix(d, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod fuzz;
pub mod mysql;
mod needs;
pub mod oracle;
pub mod sqlite;
mod swapping;
