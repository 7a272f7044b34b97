//! Two private servers, a source and a destination, with the workload on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use super::workload::{self, Workload};
use crate::servers::{PASSWORD, Server, Software, USER};

/// Database on both servers.
pub const DATABASE: &str = "bench";
/// Options of both servers, beside those of every test server: durable, with room for the table.
pub const SERVER_OPTIONS: [&str; 3] = [
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
    /// For homes and keys; gone with the arena.
    pub dir: tempfile::TempDir,
}

impl Arena {
    /// Starts both servers and fills the source table. `files`: how many the rows stand ready in.
    pub fn new(cache: &Path, workload: Workload, files: u64) -> Arena {
        let files = match workload {
            Workload::Orders { rows } => workload::files(cache, rows, rows.div_ceil(files)),
            Workload::Wide { .. } => Vec::new(),
        };
        let bytes = match workload {
            Workload::Orders { .. } => {
                files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum()
            }
            Workload::Wide { rows, row_bytes } => rows * row_bytes,
        };
        let start = || Server::start(Software::MariaDb, &SERVER_OPTIONS);
        let dir = tempfile::tempdir().unwrap();
        let arena = Arena { source: start(), dest: start(), workload, files, bytes, dir };
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
        match self.workload.fill_sql(table) {
            Some(sql) => conn.query_drop(sql).unwrap(),
            None => {
                let status = load_command(self, server, table, &self.files).status().unwrap();
                assert!(status.success(), "could not load {table}");
            }
        }
    }

    /// Makes the copy of the source at the destination.
    pub fn make_copy(&self) {
        self.make(&self.dest, COPY);
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

    /// Every row is to be sent again.
    pub fn reset_status(&self) {
        const STEP: u64 = 50_000;
        let mut conn = connect(&self.source);
        for from in (1..=self.workload.rows()).step_by(STEP as usize) {
            conn.query_drop(format!(
                "UPDATE {SOURCE_STATUS} SET sync_status = 0 WHERE id BETWEEN {from} AND {} AND \
                 sync_status <> 0",
                from + STEP - 1
            ))
            .unwrap();
        }
    }

    /// An empty destination table; everything that ssync keeps there is gone too.
    pub fn empty_dest(&self, sealed: bool) {
        let mut conn = connect(&self.dest);
        for table in [DEST, "SSYNC_FENCE", "SSYNC_LEDGER"] {
            conn.query_drop(format!("DROP TABLE IF EXISTS `{table}`")).unwrap();
        }
        conn.query_drop(self.workload.create_sql(DEST, sealed, false)).unwrap();
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

fn status(conn: &mut Conn, name: &str) -> u64 {
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
    let load = |path: &PathBuf| {
        let path = path.to_str().unwrap();
        format!(
            "LOAD DATA LOCAL INFILE '{path}' INTO TABLE `{table}` CHARACTER SET utf8mb4 ({columns})"
        )
    };
    client(server, &files.iter().map(load).collect::<Vec<_>>().join(";"))
}
