//! A database as one side of a transfer, whichever software it is, seen by plain drivers that
//! share nothing with ssync: tables are made, filled, changed and compared through them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use crate::servers::oracle::OracleAccount;
use crate::servers::{PASSWORD, Server, USER};
use crate::ssync::{ORACLE_PASSWORD_ENV, PASSWORD_ENV};

/// One side of a transfer.
#[derive(Debug, Clone)]
pub enum Site {
    /// A database on a MySQL or MariaDB server.
    MySql {
        /// Port of the server.
        port: u16,
        /// The database.
        database: String,
    },
    /// A file.
    Sqlite(PathBuf),
    /// The schema of an account in Oracle, or its stand-in.
    Oracle {
        /// `oracle://user@host:port/service`.
        url: String,
        /// The account's name.
        user: String,
        /// Its password.
        password: &'static str,
    },
}

/// What a column holds, as far as a comparison needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Integers.
    Int,
    /// Reals.
    Real,
    /// Text, also decimals and times.
    Text,
    /// Decimals, which are compared without the zeros that a spelling may have or not.
    Decimal,
    /// Times, to the microsecond.
    Time,
    /// Bytes.
    Bytes,
}

/// A value, as a test makes it and reads it back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A real, by its bits.
    Real(u64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Something that should not be in this column.
    Odd(String),
}

/// A row.
pub type Row = Vec<Cell>;

impl Site {
    /// A fresh database on that server. It stays until it is [`removed`](Site::remove) or the server
    /// ends.
    pub fn on_server(server: &Server, name: &str) -> Site {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let database = format!("{name}_s{n}");
        let sql = format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4");
        server.connect().query_drop(sql).unwrap();
        Site::MySql { port: server.port(), database }
    }

    /// Drops a database that nobody needs any more: what a server says of all its tables gets slow with
    /// thousands of them. Files and accounts have owners that remove them.
    pub fn remove(&self) {
        if let Site::MySql { database, .. } = self {
            self.run(&[format!("DROP DATABASE IF EXISTS `{database}`")]);
        }
    }

    /// A fresh file in that directory.
    pub fn in_file(dir: &Path, name: &str) -> Site {
        let path = dir.join(format!("{name}.db"));
        let db = rusqlite::Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        Site::Sqlite(path)
    }

    /// The schema of that account. It stays until the account is dropped.
    pub fn of_account(account: &OracleAccount<'_>) -> Site {
        let (url, user) = (account.url(), account.name().to_owned());
        Site::Oracle { url, user, password: account.password() }
    }

    /// Whether it is in Oracle.
    pub fn is_oracle(&self) -> bool {
        matches!(self, Site::Oracle { .. })
    }

    /// Whether it is a file.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Site::Sqlite(_))
    }

    /// The `[[link]]` of a configuration.
    pub fn link(&self, name: &str) -> String {
        match self {
            Site::MySql { port, database } => format!(
                "[[link]]\nname = \"{name}\"\nurl = \"mysql://{USER}@127.0.0.1:{port}/{database}\"\n\
                 password = {{ env = \"{PASSWORD_ENV}\" }}\n"
            ),
            Site::Sqlite(path) => {
                format!("[[link]]\nname = \"{name}\"\nurl = \"sqlite://{}\"\n", path.display())
            }
            Site::Oracle { url, .. } => format!(
                "[[link]]\nname = \"{name}\"\nurl = \"{url}\"\n\
                 password = {{ env = \"{ORACLE_PASSWORD_ENV}\" }}\nio_timeout_secs = 20\n"
            ),
        }
    }

    /// A connection to the server. Panics for a file.
    pub fn mysql(&self) -> Conn {
        let Site::MySql { port, database } = self else { panic!("not a server") };
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(*port)
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(Some(database))
            .prefer_socket(false);
        let mut conn = Conn::new(opts).unwrap();
        conn.query_drop("SET time_zone = '+00:00', NAMES utf8mb4").unwrap();
        conn
    }

    /// A connection to the file. Panics for a server.
    pub fn sqlite(&self) -> rusqlite::Connection {
        let Site::Sqlite(path) = self else { panic!("not a file") };
        let db = rusqlite::Connection::open(path).unwrap();
        db.busy_timeout(Duration::from_secs(60)).unwrap();
        db
    }

    /// A connection to Oracle, by its own driver. Panics for others.
    pub fn oracle(&self) -> oracledb::Connection {
        let Site::Oracle { url, user, password } = self else { panic!("not Oracle") };
        let (_, place) = url.split_once('@').unwrap();
        let config = oracledb::Config::default()
            .set_credentials(user, password)
            .set_connect_string(place)
            .unwrap();
        let conn = oracledb::connect(config).unwrap();
        conn.execute(
            "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,' \
             NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF6'",
            &[],
        )
        .unwrap();
        conn
    }

    /// A name of ssync's own columns, as SQL of this database.
    pub fn quoted(&self, name: &str) -> String {
        if self.is_oracle() { format!("\"{name}\"") } else { name.to_owned() }
    }

    /// What to select so that a column comes as [`Site::rows`] expects it.
    pub fn shown(&self, column: &str, holds: Holds) -> String {
        match (self, holds) {
            (Site::Oracle { .. }, Holds::Decimal | Holds::Time) => format!("TO_CHAR({column})"),
            _ => column.to_owned(),
        }
    }

    /// Runs statements, each on its own, over one connection.
    pub fn run<S: AsRef<str>>(&self, statements: &[S]) {
        let mut session = Session::open(self);
        for sql in statements {
            session.run(sql.as_ref());
        }
    }

    /// Rows of a query whose columns hold what `holds` says.
    pub fn rows(&self, sql: &str, holds: &[Holds]) -> Vec<Row> {
        Session::open(self).rows(sql, holds)
    }

    /// The one integer that a query gives.
    pub fn number(&self, sql: &str) -> i64 {
        match self.rows(sql, &[Holds::Int]).as_slice() {
            [row] => match row.as_slice() {
                [Cell::Int(n)] => *n,
                other => panic!("{other:?} from {sql}"),
            },
            other => panic!("{other:?} from {sql}"),
        }
    }

    /// Whether there is a table of that name.
    pub fn has_table(&self, name: &str) -> bool {
        let sql = match self {
            Site::MySql { database, .. } => format!(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{database}' \
                 AND table_name = '{name}'"
            ),
            Site::Sqlite(_) => {
                format!(
                    "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '{name}'"
                )
            }
            Site::Oracle { .. } => format!(
                "SELECT COUNT(*) FROM user_tables WHERE table_name = '{}'",
                name.to_ascii_uppercase()
            ),
        };
        self.number(&sql) > 0
    }

    /// Names of all tables.
    pub fn tables(&self) -> Vec<String> {
        let sql = match self {
            Site::MySql { database, .. } => format!(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'"
            ),
            Site::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table'".to_owned(),
            Site::Oracle { .. } => "SELECT table_name FROM user_tables".to_owned(),
        };
        self.rows(&sql, &[Holds::Text])
            .into_iter()
            .map(|row| match row.into_iter().next() {
                Some(Cell::Text(name)) => name,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// A value as SQL of this database.
    pub fn literal(&self, cell: &Cell) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
        match (cell, self) {
            (Cell::Null, _) => "NULL".to_owned(),
            (Cell::Int(v), _) => v.to_string(),
            (Cell::Real(bits), Site::Oracle { .. }) => {
                format!("TO_BINARY_DOUBLE('{:e}')", f64::from_bits(*bits))
            }
            (Cell::Real(bits), _) => format!("{:e}", f64::from_bits(*bits)),
            (Cell::Text(t), Site::MySql { .. }) => format!("_utf8mb4 X'{}'", hex(t.as_bytes())),
            (Cell::Text(t), Site::Sqlite(_)) => format!("CAST(X'{}' AS TEXT)", hex(t.as_bytes())),
            (Cell::Text(t), Site::Oracle { .. }) => format!("'{}'", t.replace('\'', "''")),
            (Cell::Bytes(b), Site::Oracle { .. }) if b.is_empty() => "EMPTY_BLOB()".to_owned(),
            (Cell::Bytes(b), Site::Oracle { .. }) => format!("HEXTORAW('{}')", hex(b)),
            (Cell::Bytes(b), _) => format!("X'{}'", hex(b)),
            (Cell::Odd(what), _) => panic!("{what} is no value to write"),
        }
    }

    /// Inserts rows.
    pub fn insert(&self, table: &str, columns: &[&str], rows: &[Row]) {
        Session::open(self).insert(self, table, columns, rows);
    }
}

/// An open connection for many statements.
pub enum Session {
    /// To a server.
    MySql(Conn),
    /// To a file.
    Sqlite(rusqlite::Connection),
    /// To Oracle.
    Oracle {
        /// The connection.
        conn: oracledb::Connection,
        /// A BEGIN was said: Oracle itself has no such word.
        begun: bool,
    },
}

impl Session {
    /// Opens one.
    pub fn open(site: &Site) -> Session {
        match site {
            Site::MySql { .. } => Session::MySql(site.mysql()),
            Site::Sqlite(_) => Session::Sqlite(site.sqlite()),
            Site::Oracle { .. } => Session::Oracle { conn: site.oracle(), begun: false },
        }
    }

    /// Runs one statement; the rows it changed.
    #[track_caller]
    pub fn run(&mut self, sql: &str) -> u64 {
        self.try_run(sql).unwrap_or_else(|e| panic!("{e}\nin: {sql}"))
    }

    /// Runs one statement; the database's error as text.
    pub fn try_run(&mut self, sql: &str) -> Result<u64, String> {
        match self {
            Session::MySql(conn) => match conn.query_drop(sql) {
                Ok(()) => Ok(conn.affected_rows()),
                Err(e) => Err(e.to_string()),
            },
            Session::Sqlite(db) => {
                db.execute_batch(sql).map_err(|e| e.to_string())?;
                Ok(db.changes())
            }
            Session::Oracle { conn, begun } => {
                if matches!(sql, "BEGIN" | "COMMIT" | "ROLLBACK") {
                    *begun = sql == "BEGIN";
                    let done = if sql == "COMMIT" { conn.commit() } else { conn.rollback() };
                    return done.map(|()| 0).map_err(|e| e.to_string());
                }
                let done = conn.execute(sql, &[]).map_err(|e| e.to_string())?;
                if !*begun {
                    conn.commit().map_err(|e| e.to_string())?;
                }
                Ok(done.rows_affected())
            }
        }
    }

    /// Rows of a query whose columns hold what `holds` says.
    #[track_caller]
    pub fn rows(&mut self, sql: &str, holds: &[Holds]) -> Vec<Row> {
        match self {
            Session::MySql(conn) => {
                let rows: Vec<mysql::Row> =
                    conn.query(sql).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
                rows.into_iter()
                    .map(|row| {
                        assert_eq!(row.len(), holds.len(), "{sql}");
                        row.unwrap().into_iter().zip(holds).map(|(v, h)| of_mysql(v, *h)).collect()
                    })
                    .collect()
            }
            Session::Sqlite(db) => {
                let mut statement = db.prepare(sql).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
                assert_eq!(statement.column_count(), holds.len(), "{sql}");
                let mut rows = statement.query([]).unwrap();
                let mut found = Vec::new();
                while let Some(row) = rows.next().unwrap() {
                    let cells = holds.iter().enumerate();
                    found
                        .push(cells.map(|(i, h)| of_sqlite(row.get_ref(i).unwrap(), *h)).collect());
                }
                found
            }
            Session::Oracle { conn, .. } => {
                let rows = conn.query(sql, &[]).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
                rows.map(|row| {
                    let row = row.unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
                    holds.iter().enumerate().map(|(i, h)| of_oracle(&row, i, *h)).collect()
                })
                .collect()
            }
        }
    }

    /// Inserts rows, in one transaction.
    pub fn insert(&mut self, site: &Site, table: &str, columns: &[&str], rows: &[Row]) {
        if let Session::Oracle { conn, .. } = self {
            // A statement of Oracle's has the values of one row.
            for row in rows {
                let cells: Vec<_> = row.iter().map(|c| site.literal(c)).collect();
                let sql = format!(
                    "INSERT INTO {table} ({}) VALUES ({})",
                    columns.join(","),
                    cells.join(",")
                );
                conn.execute(&sql, &[]).unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
            }
            conn.commit().unwrap();
            return;
        }
        self.run("BEGIN");
        for chunk in rows.chunks(200) {
            let values: Vec<String> = chunk
                .iter()
                .map(|row| {
                    let cells: Vec<_> = row.iter().map(|c| site.literal(c)).collect();
                    format!("({})", cells.join(","))
                })
                .collect();
            let sql =
                format!("INSERT INTO {table} ({}) VALUES {}", columns.join(","), values.join(","));
            self.run(&sql);
        }
        self.run("COMMIT");
    }
}

/// The text protocol gives everything as bytes.
fn of_mysql(value: mysql::Value, holds: Holds) -> Cell {
    let bytes = match value {
        mysql::Value::NULL => return Cell::Null,
        mysql::Value::Bytes(bytes) => bytes,
        other => return Cell::Odd(format!("{other:?}")),
    };
    if holds == Holds::Bytes {
        return Cell::Bytes(bytes);
    }
    let Ok(text) = String::from_utf8(bytes.clone()) else {
        return Cell::Odd(format!("not UTF-8: {bytes:02x?}"));
    };
    match holds {
        Holds::Int => text.parse().map_or(Cell::Odd(text), Cell::Int),
        Holds::Real => text.parse().map_or(Cell::Odd(text), |v: f64| Cell::Real(v.to_bits())),
        Holds::Decimal => Cell::Text(plain_decimal(&text)),
        _ => Cell::Text(text),
    }
}

/// By the driver's own conversions; a value that has none into what is expected is odd.
fn of_oracle(row: &oracledb::Row, at: usize, holds: Holds) -> Cell {
    let cell = match holds {
        Holds::Int => row.get::<Option<i64>>(at).map(|v| v.map(Cell::Int)),
        Holds::Real => row.get::<Option<f64>>(at).map(|v| v.map(|v| Cell::Real(v.to_bits()))),
        Holds::Bytes => row.get::<Option<Vec<u8>>>(at).map(|v| v.map(Cell::Bytes)),
        Holds::Decimal => {
            row.get::<Option<String>>(at).map(|v| v.map(|text| Cell::Text(plain_decimal(&text))))
        }
        Holds::Text | Holds::Time => row.get::<Option<String>>(at).map(|v| v.map(Cell::Text)),
    };
    match cell {
        Ok(cell) => cell.unwrap_or(Cell::Null),
        Err(error) => Cell::Odd(error.to_string()),
    }
}

/// A decimal without what its spelling may have or not: zeros at the end, none before the point.
fn plain_decimal(text: &str) -> String {
    let (sign, digits) = match text.trim().strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.trim()),
    };
    let zero = if digits.starts_with('.') { "0" } else { "" };
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    format!("{sign}{zero}{digits}")
}

fn of_sqlite(value: rusqlite::types::ValueRef<'_>, holds: Holds) -> Cell {
    use rusqlite::types::ValueRef;
    match (value, holds) {
        (ValueRef::Null, _) => Cell::Null,
        (ValueRef::Integer(v), Holds::Int) => Cell::Int(v),
        (ValueRef::Real(v), Holds::Real) => Cell::Real(v.to_bits()),
        (ValueRef::Text(t), Holds::Text | Holds::Decimal | Holds::Time) => {
            match std::str::from_utf8(t) {
                Ok(text) => Cell::Text(text.to_owned()),
                Err(_) => Cell::Odd(format!("not UTF-8: {t:02x?}")),
            }
        }
        (ValueRef::Blob(b), Holds::Bytes) => Cell::Bytes(b.to_vec()),
        (other, _) => Cell::Odd(format!("{other:?}")),
    }
}

/// What differs between two sets of rows in which rows may repeat; empty when they are the same.
/// At most a few rows are shown.
pub fn differences(wanted: &[Row], found: &[Row]) -> Vec<String> {
    let count = |rows: &[Row]| {
        let mut counts = std::collections::BTreeMap::new();
        for row in rows {
            *counts.entry(row.clone()).or_insert(0i64) += 1;
        }
        counts
    };
    let (mut balance, found) = (count(wanted), count(found));
    for (row, n) in found {
        *balance.entry(row).or_insert(0) -= n;
    }
    let mut differing: Vec<String> = balance
        .into_iter()
        .filter(|(_, n)| *n != 0)
        .map(|(row, n)| {
            let what = if n > 0 { "missing" } else { "too many" };
            format!("{what} ({}): {row:?}", n.abs())
        })
        .collect();
    let all = differing.len();
    differing.truncate(8);
    if all > differing.len() {
        differing.push(format!("and {} more", all - differing.len()));
    }
    differing
}
