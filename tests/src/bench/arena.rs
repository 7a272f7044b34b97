//! Two private servers, a source and a destination, with the workload on them.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use super::check::{self, Content, Seals};
use super::ssync::End;
use super::workload::{self, FAT_BYTES, Workload};
use crate::servers::{PASSWORD, Server, Software, USER};

/// Database on both servers.
pub const DATABASE: &str = "bench";
/// Options of both servers, beside those of every test server: durable, with room for the table,
/// and in UTC for clients that do not set a time zone of their own.
pub const SERVER_OPTIONS: [&str; 4] = [
    "--default-time-zone=+00:00",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
];
/// The source table.
pub const SOURCE: &str = "orders";
/// The source table that carries states.
pub const SOURCE_STATUS: &str = "orders_status";
/// A copy of the source at the destination, for `INSERT … SELECT`.
pub const COPY: &str = "orders_copy";
/// The destination table.
pub const DEST: &str = "dw_orders";

/// Dirty pages that count as none: a server at rest writes a few by itself.
const DIRTY_PAGES_MAX: u64 = 200;
/// Unpurged transactions that count as none.
const HISTORY_MAX: u64 = 100;
/// A server comes to rest by then.
const REST_TIME_MAX: Duration = Duration::from_secs(60);

/// What the destination table holds before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Empty,
    /// The same keys, each with the other values of another row.
    SameKeys,
    /// As many rows with other keys.
    OtherKeys,
}

/// The servers, the ready-made files, and a directory for everything else.
pub struct Arena {
    /// Where rows come from.
    pub source: Server,
    /// Where they go.
    pub dest: Server,
    /// What is moved.
    pub workload: Workload,
    /// The rows as files, where there are any.
    pub files: Vec<PathBuf>,
    /// Bytes of the rows as text.
    pub bytes: u64,
    /// What the destination table holds before a run; needs [`Arena::make_copy`].
    pub before: Before,
    /// Whether the tables have no key; see [`Arena::drop_keys`].
    pub keyless: bool,
    /// A SQLite file in the place of the source server.
    pub source_file: Option<PathBuf>,
    /// A SQLite file in the place of the destination server.
    pub dest_file: Option<PathBuf>,
    /// For homes and keys; gone with the arena.
    pub dir: tempfile::TempDir,
}

impl Arena {
    /// Starts both servers and fills the source table. `files`: how many the rows stand ready in.
    pub fn new(cache: &Path, workload: Workload, files: u64) -> Arena {
        let files = match workload {
            Workload::Orders { rows } => workload::files(cache, rows, rows.div_ceil(files)),
            _ => Vec::new(),
        };
        let bytes = match workload {
            Workload::Long { rows, row_bytes } => rows * row_bytes,
            Workload::Fat { rows } => rows * 2 * FAT_BYTES,
            _ => files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum(),
        };
        let start = || Server::start(Software::MariaDb, &SERVER_OPTIONS);
        let dir = tempfile::tempdir().unwrap();
        let arena = Arena {
            source: start(),
            dest: start(),
            workload,
            files,
            bytes,
            before: Before::Empty,
            keyless: false,
            source_file: None,
            dest_file: None,
            dir,
        };
        for server in [&arena.source, &arena.dest] {
            let sql = format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4");
            server.connect().query_drop(sql).unwrap();
        }
        arena.make(&arena.source, SOURCE);
        arena
    }

    /// Makes a table of the workload and fills it, outside of any measurement.
    fn make(&self, server: &Server, table: &str) {
        let mut conn = connect(server);
        conn.query_drop(self.workload.create_sql(table, false, false)).unwrap();
        for sql in self.workload.fill_sql(table) {
            conn.query_drop(sql).unwrap();
        }
        if let Workload::Orders { .. } = self.workload {
            let status = load_command(self, server, table, &self.files).status().unwrap();
            assert!(status.success(), "could not load {table}");
        }
    }

    /// Makes the copy of the source at the destination.
    pub fn make_copy(&self) {
        self.make(&self.dest, COPY);
    }

    /// Makes the orders table grow to so many rows: the first ones again under further keys, and
    /// dearer, so that no two rows are alike.
    pub fn grow(&mut self, rows: u64) {
        let from = self.workload.rows();
        let block = from.min(1_000_000);
        let mut conn = connect(&self.source);
        for shift in (from..rows).step_by(block as usize) {
            let values =
                self.workload.columns().join(", ").replacen("id", &format!("id + {shift}"), 1);
            let values = values.replace("amount", &format!("amount + {shift} DIV 1000"));
            conn.query_drop(format!(
                "INSERT INTO {SOURCE} SELECT {values} FROM {SOURCE} WHERE id <= {}",
                block.min(rows - shift)
            ))
            .unwrap();
        }
        self.workload = Workload::Orders { rows };
        self.bytes = self.bytes / from * rows;
    }

    /// Makes the source table that carries states, all rows to be sent.
    pub fn make_status_source(&self) {
        let mut conn = connect(&self.source);
        conn.query_drop(self.workload.create_sql(SOURCE_STATUS, false, true)).unwrap();
        let columns = self.workload.columns().join(", ");
        conn.query_drop(format!(
            "INSERT INTO {SOURCE_STATUS} ({columns}) SELECT {columns} FROM {SOURCE}"
        ))
        .unwrap();
    }

    /// Every row is to be sent again, into whichever destination: what the source remembers of the
    /// last one goes.
    pub fn reset_status(&self) {
        const STEP: u64 = 50_000;
        let mut conn = connect(&self.source);
        conn.query_drop("DROP TABLE IF EXISTS SSYNC_OWNER").unwrap();
        for from in (1..=self.workload.rows()).step_by(STEP as usize) {
            conn.query_drop(format!(
                "UPDATE {SOURCE_STATUS} SET sync_status = 0 WHERE id BETWEEN {from} AND {} AND \
                 sync_status <> 0",
                from + STEP - 1
            ))
            .unwrap();
        }
    }

    /// An empty destination table; everything that ssync keeps there is gone too, and the table
    /// that tools leave there under the source's name.
    pub fn empty_dest(&self, sealed: bool) {
        let mut conn = connect(&self.dest);
        for table in [DEST, SOURCE, "SSYNC_FENCE", "SSYNC_LEDGER"] {
            conn.query_drop(format!("DROP TABLE IF EXISTS `{table}`")).unwrap();
        }
        conn.query_drop(self.workload.create_sql(DEST, sealed, false)).unwrap();
    }

    /// Where rows come from and go to.
    pub fn ends(&self) -> [End<'_>; 2] {
        [(&self.source, &self.source_file), (&self.dest, &self.dest_file)].map(|end| match end {
            (_, Some(path)) => End::File(path),
            (server, None) => End::Server(server),
        })
    }

    /// Takes the keys away from the tables at both ends.
    pub fn drop_keys(&mut self) {
        connect(&self.source).query_drop(format!("ALTER TABLE {SOURCE} DROP PRIMARY KEY")).unwrap();
        self.keyless = true;
    }

    /// Has the source server write its rows into so many files.
    pub fn write_files(&mut self, count: u64) {
        let (columns, rows) = (self.workload.columns().join(", "), self.workload.rows());
        let share = rows.div_ceil(count);
        let mut conn = connect(&self.source);
        self.files.clear();
        for from in (1..=rows).step_by(share as usize) {
            let path = self.dir.path().join(format!("{from}.tsv"));
            conn.query_drop(format!(
                "SELECT {columns} INTO OUTFILE '{}' CHARACTER SET {} FROM {SOURCE} \
                 WHERE id BETWEEN {from} AND {} ORDER BY id",
                path.display(),
                self.workload.file_charset(),
                from + share - 1
            ))
            .unwrap();
            self.files.push(path);
        }
        self.bytes = self.files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    }

    /// Copies the source table into a SQLite file.
    pub fn make_source_file(&self) -> PathBuf {
        let path = self.dir.path().join("source.db");
        let mut file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(&self.workload.create_sqlite(SOURCE, false)).unwrap();
        let columns = self.workload.columns();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("SELECT {} FROM {SOURCE} ORDER BY id", columns.join(", "));
        let transaction = file.transaction().unwrap();
        {
            let insert = format!("INSERT INTO {SOURCE} VALUES ({marks})");
            let mut insert = transaction.prepare(&insert).unwrap();
            for row in connect(&self.source).exec_iter(sql, ()).unwrap() {
                let values = row.unwrap().unwrap().into_iter().map(sqlite_value);
                insert.execute(rusqlite::params_from_iter(values)).unwrap();
            }
        }
        transaction.commit().unwrap();
        path
    }

    /// The destination table as a run is to find it.
    pub fn prepare_dest(&self, sealed: bool) {
        if let Some(path) = &self.dest_file {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", path.display()));
            }
            let file = rusqlite::Connection::open(path).unwrap();
            return file.execute_batch(&self.workload.create_sqlite(DEST, sealed)).unwrap();
        }
        self.empty_dest(sealed);
        let mut conn = connect(&self.dest);
        if self.keyless {
            conn.query_drop(format!("ALTER TABLE {DEST} DROP PRIMARY KEY")).unwrap();
        }
        let (columns, rows) = (self.workload.columns(), self.workload.rows());
        let others = columns[1..].iter().map(|c| format!("b.{c}")).collect::<Vec<_>>().join(", ");
        let (key, on) = match self.before {
            Before::Empty => return,
            Before::SameKeys => ("a.id".to_owned(), format!("{rows} + 1 - a.id")),
            Before::OtherKeys => (format!("a.id + {rows}"), "a.id".to_owned()),
        };
        conn.query_drop(format!(
            "INSERT INTO {DEST} SELECT {key}, {others} FROM {COPY} a JOIN {COPY} b ON b.id = {on}"
        ))
        .unwrap();
    }

    /// What the destination holds of the source's rows, encrypted columns opened. What was there
    /// before under other keys must be there still, and goes.
    pub fn dest_content(&self, seals: Option<&mut Seals>) -> Content {
        if let Some(path) = &self.dest_file {
            return check::file_content(path, &self.workload, DEST, seals);
        }
        let mut conn = connect(&self.dest);
        if self.before == Before::OtherKeys {
            let rows = self.workload.rows();
            conn.query_drop(format!("DELETE FROM {DEST} WHERE id > {rows}")).unwrap();
            assert_eq!(conn.affected_rows(), rows, "rows that were there before");
        }
        check::content(&mut conn, &self.workload, DEST, seals)
    }

    /// Waits until both servers have written and purged what earlier runs left them to do, so
    /// that no run pays for another's work.
    pub fn rest(&self) {
        for server in [&self.source, &self.dest] {
            let mut conn = connect(server);
            let usual: (f64, u64) = conn
                .query_first("SELECT @@innodb_max_dirty_pages_pct, @@innodb_io_capacity")
                .unwrap()
                .unwrap();
            conn.query_drop(
                "SET GLOBAL innodb_max_dirty_pages_pct = 0, GLOBAL innodb_io_capacity = 100000",
            )
            .unwrap();
            let began = Instant::now();
            while began.elapsed() < REST_TIME_MAX
                && (status(&mut conn, "Innodb_buffer_pool_pages_dirty") > DIRTY_PAGES_MAX
                    || status(&mut conn, "Innodb_history_list_length") > HISTORY_MAX)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            conn.query_drop(format!(
                "SET GLOBAL innodb_max_dirty_pages_pct = {}, GLOBAL innodb_io_capacity = {}",
                usual.0, usual.1
            ))
            .unwrap();
            assert!(began.elapsed() < REST_TIME_MAX, "the server does not come to rest");
        }
    }
}

fn sqlite_value(value: mysql::Value) -> rusqlite::types::Value {
    use rusqlite::types::Value;
    match value {
        mysql::Value::NULL => Value::Null,
        mysql::Value::Int(v) => Value::Integer(v),
        mysql::Value::Double(v) => Value::Real(v),
        mysql::Value::Bytes(text) => Value::Text(String::from_utf8(text).unwrap()),
        date => Value::Text(check::date_text(&date).expect("a date")),
    }
}

/// Writes a new file that nobody but its owner can read.
pub fn write_secret(path: &Path, content: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

/// A counter of a server.
pub fn status(conn: &mut Conn, name: &str) -> u64 {
    let row: Option<(String, u64)> =
        conn.query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'")).unwrap();
    row.unwrap_or_else(|| panic!("the server does not know {name}")).1
}

/// A plain connection to the benchmark's database.
pub fn connect(server: &Server) -> Conn {
    let opts = OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(server.port())
        .user(Some(USER))
        .pass(Some(PASSWORD))
        .db_name(Some(DATABASE))
        .init(vec!["SET time_zone = '+00:00'"])
        .prefer_socket(false);
    Conn::new(opts).unwrap()
}

/// The database's own client, about to run these statements over TCP as ssync does.
pub fn client(server: &Server, sql: &str) -> Command {
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--local-infile=1"])
        .args(["--default-character-set=utf8mb4", "--init-command=SET time_zone='+00:00'"])
        .args(["--user", USER, "--port", &server.port().to_string(), "--database", DATABASE])
        .args(["--execute", sql])
        .env("MYSQL_PWD", PASSWORD)
        .stdin(Stdio::null());
    command
}

/// `LOAD DATA LOCAL` of these files on one connection, one transaction each.
pub fn load_command(arena: &Arena, server: &Server, table: &str, files: &[PathBuf]) -> Command {
    let columns = arena.workload.columns().join(", ");
    let charset = arena.workload.file_charset();
    let replace = if arena.before == Before::SameKeys { "REPLACE" } else { "" };
    let load = |path: &PathBuf| {
        let path = path.to_str().unwrap();
        format!(
            "LOAD DATA LOCAL INFILE '{path}' {replace} INTO TABLE `{table}` CHARACTER SET {charset} ({columns})"
        )
    };
    client(server, &files.iter().map(load).collect::<Vec<_>>().join(";"))
}
