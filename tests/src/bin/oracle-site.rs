//! What `scripts/test-oracle` needs beside the tests: what the server says of itself, a small
//! benchmark, and what is left of the run's accounts. The server is the one that
//! `SSYNC_TEST_ORACLE_URL` names.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::{Parser, Subcommand};
use mysql::prelude::Queryable;
use oracledb::ToDbValue;
use ssync_tests::servers::mariadb;
use ssync_tests::servers::oracle::{
    Generation, ORACLE_URL_ENV, OracleAccount, OracleServer, oracle,
};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

/// What is asked for in one round trip, both by ssync and by the driver.
const BATCH_ROWS: usize = 1000;
const LINK_PASSWORD_ENV: &str = "SSYNC_TEST_ORACLE_LINK";

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Says which server it is, and whether accounts can be made and dropped there
    Server,
    /// Times ssync in full mode between a private MariaDB and the server, beside Oracle's driver
    Bench {
        /// Rows of the table
        #[arg(long, default_value_t = 100_000)]
        rows: u64,
        /// How often each is timed
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        /// The binary to measure
        #[arg(long, value_name = "FILE")]
        ssync: PathBuf,
    },
    /// Drops what accounts of this run are left; fails where one stays
    Leftovers,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if std::env::var_os(ORACLE_URL_ENV).is_none() {
        eprintln!("oracle-site: {ORACLE_URL_ENV} names no server; see scripts/test-oracle");
        return ExitCode::from(2);
    }
    let server = oracle(Generation::Oracle19c);
    match args.what {
        What::Server => introduce(server),
        What::Bench { rows, rounds, ssync } => {
            bench(server, rows, rounds.max(1), &ssync);
            ExitCode::SUCCESS
        }
        What::Leftovers => clear(server),
    }
}

/// Whether the tests can run there at all, before all of them say that they cannot.
fn introduce(server: &OracleServer) -> ExitCode {
    let mut admin = match server.try_administrator() {
        Ok(admin) => admin,
        Err(why) => {
            eprintln!("no connection: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("server: {}", admin.server());
    if let Some(banner) = server.banner() {
        println!("it calls itself {banner}");
    }
    let sql = "SELECT PARAMETER, VALUE FROM NLS_DATABASE_PARAMETERS \
               WHERE PARAMETER IN ('NLS_CHARACTERSET', 'NLS_NCHAR_CHARACTERSET') ORDER BY 1";
    for row in admin.query(sql, &[]).unwrap() {
        println!("{}: {}", text(&row[0]), text(&row[1]));
    }
    let account = server.account("hello");
    account.run(&[
        "CREATE TABLE hello (id NUMBER(9) PRIMARY KEY)",
        "INSERT INTO hello VALUES (1)",
        "DROP TABLE hello",
    ]);
    println!("an account with a schema of its own can be made there");
    ExitCode::SUCCESS
}

fn text(value: &ssync_common::value::Value) -> String {
    value.plain().unwrap_or_default()
}

fn clear(server: &OracleServer) -> ExitCode {
    let left = match server.leftovers() {
        Ok(left) => left,
        Err(why) => {
            println!("whether a user SS… is left cannot be seen: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut stays = false;
    for user in &left {
        match server.drop_account(user) {
            Ok(()) => println!("{user} was left over, and is dropped now"),
            Err(why) => {
                println!("{user} IS LEFT: {why}; drop it with DROP USER {user} CASCADE");
                stays = true;
            }
        }
    }
    if left.is_empty() {
        println!("nothing was left over");
    }
    if stays { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

const MARIADB: &str = "id BIGINT NOT NULL PRIMARY KEY, grp INT NOT NULL, amount BIGINT NOT NULL, \
                       name VARCHAR(60) NOT NULL, note VARCHAR(200) NOT NULL, raw VARBINARY(40) NOT NULL";
const ORACLE: &str = "id NUMBER(18) PRIMARY KEY, grp NUMBER(9) NOT NULL, amount NUMBER(18) NOT NULL, \
                      name VARCHAR2(60 CHAR) NOT NULL, note VARCHAR2(200 CHAR) NOT NULL, raw RAW(40) NOT NULL";
const COLUMNS: &str = "id, grp, amount, name, note, raw";
/// A row is read and loaded as these.
type Row = (i64, i64, i64, String, String, Vec<u8>);

struct Bench<'s> {
    rows: u64,
    program: &'s Path,
    instance: Instance,
    account: OracleAccount<'s>,
    mariadb: Site,
}

fn bench(server: &OracleServer, rows: u64, rounds: usize, program: &Path) {
    let program = program.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let mariadb = Site::on_server(mariadb(), "bench");
    let account = server.account("bench");
    mariadb.run(&[
        format!("SET max_recursive_iterations = {rows}"),
        format!("CREATE TABLE src ({MARIADB})"),
        format!("CREATE TABLE back ({MARIADB})"),
        format!(
            "INSERT INTO src WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT i, i MOD 1000, i * 7919, CONCAT('customer ', i), RPAD(CONCAT('note ', i), 120, '.'), \
             UNHEX(MD5(i)) FROM n"
        ),
    ]);
    account
        .run(&[&format!("CREATE TABLE dst ({ORACLE})"), &format!("CREATE TABLE plain ({ORACLE})")]);
    let instance = instance(&mariadb, &account);
    let bench = Bench { rows, program: &program, instance, account, mariadb };
    println!("{rows} rows of 6 columns, some 200 bytes each; {rounds} rounds, rows per second:");
    let ways: [(&str, &dyn Fn() -> f64); 4] = [
        ("MariaDB to Oracle, ssync full", &|| bench.task(1)),
        ("array inserts alone, driver", &|| bench.array_inserts()),
        ("Oracle to MariaDB, ssync full", &|| bench.task(2)),
        ("reads alone, driver", &|| bench.plain_reads()),
    ];
    let mut rates = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for ((_, way), rates) in ways.iter().zip(&mut rates) {
            rates.push(rows as f64 / way());
        }
    }
    for ((name, _), rates) in ways.iter().zip(&rates) {
        let all: Vec<String> = rates.iter().map(|rate| format!("{rate:>10.0}")).collect();
        println!("  {name:<30} {}", all.join(" "));
    }
    let best = |i: usize| rates[i].iter().copied().fold(0.0, f64::max);
    println!(
        "  best of ssync to best of the driver: in {:.2}, out {:.2}",
        best(0) / best(1),
        best(2) / best(3)
    );
    println!("  (ssync: the whole process, from start to end, with both databases at work; the");
    println!(
        "  driver: one connection, {BATCH_ROWS} rows a round trip, nothing on the other side)"
    );
}

fn instance(mariadb: &Site, account: &OracleAccount<'_>) -> Instance {
    let task = |id: u32, from: &str, to: &str, source: &str, dest: &str| {
        format!(
            "[[task]]\nid = {id}\nsource = \"{from}\"\ndest = \"{to}\"\nwriters = 2\n\
             [[task.table]]\nname = \"t{id}\"\nsource = \"{source}\"\ndest = \"{dest}\"\n\
             mode = \"full\"\nfull = \"truncate\"\n"
        )
    };
    let mut instance = Instance::new(&format!(
        "{}[[link]]\nname = \"ora\"\nurl = \"{}\"\npassword = {{ env = \"{LINK_PASSWORD_ENV}\" }}\n{}{}",
        mariadb.link("my"),
        account.url(),
        task(1, "my", "ora", "src", "dst"),
        task(2, "ora", "my", "dst", "back"),
    ));
    instance.set_env(LINK_PASSWORD_ENV, account.password());
    instance
}

impl Bench<'_> {
    /// Seconds of a run of ssync. What it moved is counted and summed up on both sides.
    fn task(&self, id: u32) -> f64 {
        let mut command = Command::new(self.program);
        command.args(["--task", &id.to_string()]).stdin(Stdio::null());
        let since = Instant::now();
        let output = self.instance.in_environment(command).output().unwrap();
        let seconds = since.elapsed().as_secs_f64();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{}", self.instance.logs());
        let sums =
            |table: &str| format!("SELECT COUNT(*), SUM(amount), SUM(LENGTH(note)) FROM {table}");
        let mut conn = self.mariadb.mysql();
        let mut in_mariadb =
            |table: &str| conn.query_first::<(i64, i64, i64), _>(sums(table)).unwrap().unwrap();
        let wanted = in_mariadb("src");
        assert_eq!(wanted.0 as u64, self.rows);
        let found = if id == 1 {
            let row = self.account.plain().query_row(&sums("dst"), &[]).unwrap();
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap())
        } else {
            in_mariadb("back")
        };
        assert_eq!(found, wanted, "count and sums after task {id}");
        seconds
    }

    /// Seconds in which the driver inserts the rows, read beforehand, into an empty table.
    fn array_inserts(&self) -> f64 {
        let rows: Vec<Row> =
            self.mariadb.mysql().query(format!("SELECT {COLUMNS} FROM src")).unwrap();
        let connection = self.account.plain();
        connection.execute("TRUNCATE TABLE plain", &[]).unwrap();
        let since = Instant::now();
        for rows in rows.chunks(BATCH_ROWS) {
            let bound: Vec<[&dyn ToDbValue; 6]> = rows
                .iter()
                .map(|r| -> [&dyn ToDbValue; 6] { [&r.0, &r.1, &r.2, &r.3, &r.4, &r.5] })
                .collect();
            let slices: Vec<&[&dyn ToDbValue]> = bound.iter().map(|row| &row[..]).collect();
            let sql = format!("INSERT INTO plain ({COLUMNS}) VALUES (:1, :2, :3, :4, :5, :6)");
            connection.execute_batch(&sql, slices.as_slice()).unwrap();
            connection.commit().unwrap();
        }
        since.elapsed().as_secs_f64()
    }

    /// Seconds in which the driver reads the table that ssync filled.
    fn plain_reads(&self) -> f64 {
        let connection = self.account.plain();
        let since = Instant::now();
        let statement = connection
            .statement(&format!("SELECT {COLUMNS} FROM dst"))
            .and_then(|s| s.fetch_array_size(BATCH_ROWS as u32).build())
            .unwrap();
        let mut rows = 0;
        for row in statement.query(&[]).unwrap() {
            let row = row.unwrap();
            let read: Row = (
                row.get(0).unwrap(),
                row.get(1).unwrap(),
                row.get(2).unwrap(),
                row.get(3).unwrap(),
                row.get(4).unwrap(),
                row.get(5).unwrap(),
            );
            rows += u64::from(read.0 > 0);
        }
        let seconds = since.elapsed().as_secs_f64();
        assert_eq!(rows, self.rows);
        seconds
    }
}
