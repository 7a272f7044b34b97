//! Many small tables in one task: what each costs beside its SQL.
//!
//! The servers' slow logs, with everything counted as slow, give the time of the statements; their
//! round trips are counted by the servers and timed by an empty statement. What is left of a run is
//! ssync's own.

use std::fs;
use std::path::Path;
use std::time::Instant;

use mysql::prelude::Queryable;
use serde_json::{Value, json};

use super::arena::{DATABASE, SERVER_OPTIONS, connect};
use super::ssync::{End, Home};
use super::stats::Series;
use super::watch;
use crate::servers::{Server, Software};

/// Rows of each table.
pub const ROWS: u64 = 100;
/// Tables made in one go: a command has its limits.
const MADE_AT_ONCE: u64 = 100;
/// Empty statements that a round trip is timed by.
const TRIPS: u32 = 5_000;

/// Two servers with the same tables, those of the destination empty.
pub struct SmallTables {
    servers: [Server; 2],
    tables: u64,
    home: Home,
    _dir: tempfile::TempDir,
}

/// What one run took, in milliseconds for each table.
#[derive(Debug, Clone, Copy)]
pub struct SmallRun {
    /// From the start of the process to its end.
    pub wall: f64,
    /// Processor time of all processes of ssync.
    pub client_cpu: f64,
    /// Processor time of both servers.
    pub server_cpu: f64,
}

/// What the SQL of one table takes.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    /// Commands to both servers.
    pub commands: f64,
    /// Time that the servers took for them, milliseconds.
    pub executing: f64,
    /// Time of as many empty round trips, milliseconds.
    pub trips: f64,
}

impl SmallTables {
    /// Starts the servers, makes the tables and the configuration.
    pub fn new(program: &Path, tables: u64) -> SmallTables {
        let servers = [(); 2].map(|()| Server::start(Software::MariaDb, &SERVER_OPTIONS));
        for server in &servers {
            let sql = format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4");
            server.connect().query_drop(sql).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let mut task = "[[task]]\nid = 7\nsource = \"source\"\ndest = \"dest\"\n".to_owned();
        for name in (0..tables).map(name) {
            task += &format!(
                "[[task.table]]\nname = \"{name}\"\nsource = \"{name}\"\ndest = \"{name}\"\n\
                 mode = \"full\"\nkey = [\"id\"]\n"
            );
        }
        let home = Home::new(
            dir.path(),
            program,
            [End::Server(&servers[0]), End::Server(&servers[1])],
            &task,
        );
        let small = SmallTables { servers, tables, home, _dir: dir };
        small.make_tables();
        small
    }

    fn make_tables(&self) {
        let [source, dest] = &self.servers;
        let names: Vec<String> = (0..self.tables).map(name).collect();
        for names in names.chunks(MADE_AT_ONCE as usize) {
            let create = |name: &String| {
                format!(
                    "CREATE TABLE {name} (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL, \
                     mobile VARCHAR(20), amount DECIMAL(12,2), updated DATETIME);"
                )
            };
            let fill = |name: &String| {
                format!(
                    "INSERT INTO {name} SELECT seq, CONCAT('name ', seq), CONCAT('138', seq), \
                     seq / 7, '2024-01-01 01:01:01' FROM seq_1_to_{ROWS};"
                )
            };
            let creates: String = names.iter().map(create).collect();
            let fills: String = names.iter().map(fill).collect();
            connect(source).query_drop(creates.clone() + &fills).unwrap();
            connect(dest).query_drop(creates).unwrap();
        }
    }

    /// Runs the task once, and proves that every table arrived.
    pub fn run(&self) -> SmallRun {
        let used = || -> f64 {
            self.servers.iter().map(|s| watch::cpu_secs(s.pid()).expect("it runs")).sum()
        };
        let (servers, children) = (used(), watch::children_cpu_secs());
        let began = Instant::now();
        self.run_unchecked();
        let wall = began.elapsed().as_secs_f64();
        let per_table = |secs: f64| secs * 1e3 / self.tables as f64;
        let run = SmallRun {
            wall: per_table(wall),
            client_cpu: per_table(watch::children_cpu_secs() - children),
            server_cpu: per_table(used() - servers),
        };
        self.check();
        run
    }

    fn check(&self) {
        let names: Vec<String> = (0..self.tables).map(name).collect();
        let sums = |server: &Server| -> Vec<u64> {
            let sql = format!("CHECKSUM TABLE {}", names.join(", "));
            let rows: Vec<(String, u64)> = connect(server).query(sql).unwrap();
            rows.into_iter().map(|(_, sum)| sum).collect()
        };
        assert_eq!(sums(&self.servers[0]), sums(&self.servers[1]), "checksums of the tables");
    }

    /// What the SQL of a run takes.
    pub fn sql(&self) -> Sql {
        let logs = [0, 1].map(|i| self.servers[i].dir().join("slow.log"));
        let commands = || -> f64 {
            let counted = |server: &Server| {
                let sql = "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS \
                           WHERE VARIABLE_NAME IN ('QUESTIONS', 'COM_STMT_PREPARE', \
                           'COM_STMT_CLOSE', 'COM_RESET', 'CONNECTIONS')";
                connect(server).query_first::<f64, _>(sql).unwrap().unwrap()
            };
            self.servers.iter().map(counted).sum()
        };
        for (server, log) in self.servers.iter().zip(&logs) {
            let sql = format!(
                "SET GLOBAL slow_query_log_file = '{}', GLOBAL long_query_time = 0, \
                 GLOBAL log_slow_admin_statements = 1, GLOBAL slow_query_log = 1",
                log.display()
            );
            server.connect().query_drop(sql).unwrap();
        }
        let before = commands();
        self.run_unchecked();
        let count = commands() - before;
        for server in &self.servers {
            server.connect().query_drop("SET GLOBAL slow_query_log = 0").unwrap();
        }
        let executing: f64 = logs.iter().map(|log| logged_secs(log)).sum();
        let tables = self.tables as f64;
        Sql {
            commands: count / tables,
            executing: executing * 1e3 / tables,
            trips: count * self.trip_secs() * 1e3 / tables,
        }
    }

    fn run_unchecked(&self) {
        let output = self.home.command().args(["--task", "7", "--quiet"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn trip_secs(&self) -> f64 {
        let mut conn = connect(&self.servers[1]);
        let began = Instant::now();
        for _ in 0..TRIPS {
            conn.query_drop("DO 0").unwrap();
        }
        began.elapsed().as_secs_f64() / f64::from(TRIPS)
    }
}

fn name(i: u64) -> String {
    format!("small_{i:04}")
}

/// The time that a slow log accounts for, seconds.
fn logged_secs(log: &Path) -> f64 {
    let bytes = fs::read(log).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let times = text.lines().filter_map(|line| {
        line.strip_prefix("# Query_time: ")?.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.sum()
}

/// The figures as Markdown, and for a machine to read.
pub fn report(tables: u64, sql: Sql, runs: &[SmallRun]) -> (String, Value) {
    let series = |figure: fn(&SmallRun) -> f64| runs.iter().map(figure).collect::<Series>();
    let (wall, client, server) =
        (series(|r| r.wall), series(|r| r.client_cpu), series(|r| r.server_cpu));
    let in_sql = sql.executing + sql.trips;
    let beyond: Series = runs.iter().map(|r| r.wall - in_sql).collect();
    let rows = [
        ("wall time", &wall),
        ("beyond its SQL", &beyond),
        ("processor time of ssync", &client),
        ("processor time of both servers", &server),
    ];
    let mut body = "| a table takes | ms, median (min–max) |\n|---|---|\n".to_owned();
    for (what, series) in rows {
        body += &format!(
            "| {what} | **{:.1}** ({:.1}–{:.1}) |\n",
            series.median(),
            series.min(),
            series.max()
        );
    }
    body += &format!(
        "\nIts SQL: {:.0} commands to both servers, which execute them in {:.1} ms (by their slow \
         logs, in a run of its own); as many empty round trips take {:.1} ms.\n",
        sql.commands, sql.executing, sql.trips
    );
    let json = json!({
        "tables": tables,
        "rows_each": ROWS,
        "wall_ms": wall.json(),
        "beyond_sql_ms": beyond.json(),
        "client_cpu_ms": client.json(),
        "server_cpu_ms": server.json(),
        "commands": sql.commands,
        "executing_ms": sql.executing,
        "trips_ms": sql.trips,
    });
    (body, json)
}
