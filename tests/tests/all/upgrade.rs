//! Homes and databases that an older version left are carried on from: made by that version
//! (`tests/fixtures/schema-7`), with runs open, rows in state 1 and batches that landed and were
//! not settled, they come out right under the program of today, and no operator is needed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mysql::prelude::Queryable;
use serde_json::Value;
use ssync_tests::command::{Ran, Ssync};
use ssync_tests::servers::{PASSWORD, mariadb};
use ssync_tests::sites::{Holds, Row, Site, differences};
use ssync_tests::ssync::PASSWORD_ENV;

/// Tables by their tasks, which are numbered from 1, and rows that the source has of each.
const TABLES: [(&str, i64); 10] = [
    ("clients", 70),
    ("orders", 50),
    ("payments", 50),
    ("events", 70),
    ("moves", 50),
    ("prices", 50),
    ("rates", 50),
    ("parcels", 50),
    ("stock", 50),
    ("visits", 50),
];
/// Those whose rows have a state.
const WITH_STATE: [&str; 5] = ["clients", "orders", "parcels", "stock", "visits"];
/// Those that were under way when their process was killed.
const UNDER_WAY: [&str; 8] =
    ["orders", "payments", "moves", "prices", "rates", "parcels", "stock", "visits"];
/// The task that decrypts clients and orders into another database.
const BACK: &str = "11";
/// The row of parcels that the destination did not take.
const BAD: i64 = 13;

fn fixture(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/schema-7").join(kind)
}

/// A home and its databases, restored.
struct Restored {
    ssync: Ssync,
    source: Site,
    dest: Site,
    office: Site,
    /// Where stock lands.
    stock: Site,
}

impl Restored {
    fn sqlite() -> Restored {
        let from = fixture("sqlite");
        let ssync = Ssync::new().env(PASSWORD_ENV, PASSWORD);
        restore_home(&ssync, &from, 0);
        let site = |name: &str| {
            let site = Site::in_file(ssync.scratch(), name);
            restore_file(&site.sqlite(), &from.join(format!("{name}.sql")), ssync.scratch());
            site
        };
        let (source, dest, office) = (site("source"), site("dest"), site("office"));
        Restored { stock: dest.clone(), ssync, source, dest, office }
    }

    fn mariadb() -> Restored {
        let from = fixture("mariadb");
        let port = mariadb().port();
        let ssync = Ssync::new().env(PASSWORD_ENV, PASSWORD);
        restore_home(&ssync, &from, port);
        let site = |name: &str| {
            // The names stand in what ssync wrote down; nobody else uses them.
            let database = format!("upgrade7_{name}");
            let mut server = mariadb().connect();
            server.query_drop(format!("DROP DATABASE IF EXISTS {database}")).unwrap();
            server.query_drop(format!("CREATE DATABASE {database} CHARACTER SET utf8mb4")).unwrap();
            let site = Site::MySql { port, database };
            let sql = fs::read_to_string(from.join(format!("{name}.sql"))).unwrap();
            site.run(&sql.lines().collect::<Vec<_>>());
            site
        };
        let (source, dest, stock, office) =
            (site("source"), site("dest"), site("dw"), site("office"));
        Restored { ssync, source, dest, office, stock }
    }

    fn dest_of(&self, table: &str) -> &Site {
        if table == "stock" { &self.stock } else { &self.dest }
    }

    fn run(&self, task: &str) -> Ran {
        self.ssync.run(&["--task", task, "--json"])
    }

    fn run_all(&self) {
        for (i, (table, _)) in TABLES.iter().enumerate() {
            let ran = self.run(&(i + 1).to_string());
            // The run that is gone on with has met a bad row before.
            let code = i32::from(*table == "parcels" && ran.stdout.contains("\"run_totals\""));
            assert_eq!(ran.code, Some(code), "{table}:\n{}\n{}", ran.stdout, ran.stderr);
        }
    }

    /// Runs of the history: table and state, the newest first.
    fn history(&self) -> Vec<(String, String)> {
        let ran = self.ssync.run(&["history", "--limit", "100", "--json"]).expect(0);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let runs = ran.json()["runs"].as_array().unwrap().clone();
        runs.iter().map(|run| (text(&run["table"]), text(&run["state"]))).collect()
    }

    /// What is not as it has to be when every task has run.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (table, wanted) in TABLES {
            // Those of parcels that the destination did not take is not compared.
            let good =
                if table == "parcels" { format!(" WHERE id <> {BAD}") } else { String::new() };
            let sql = format!("SELECT id, name, amount, at FROM {table}{good}");
            let source = self.source.rows(&sql, &PLAIN);
            let dest = self.dest_of(table).rows(&sql, &PLAIN);
            let missing = wanted - i64::from(table == "parcels") - source.len() as i64;
            if missing != 0 {
                faults.push(format!("{table}: {missing} rows are missing at the source"));
            }
            faults.extend(differences(&source, &dest).iter().map(|d| format!("{table}: {d}")));
        }
        for table in WITH_STATE {
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE sync_status <> 2");
            let wanted = i64::from(table == "parcels");
            let found = self.source.number(&sql);
            if found != wanted {
                faults.push(format!("{table}: {found} rows are not in state 2, not {wanted}"));
            }
        }
        faults
    }
}

const PLAIN: [Holds; 4] = [Holds::Int, Holds::Text, Holds::Text, Holds::Text];

/// Puts the directory, and the server's port, in the place of what stands for them.
fn placed(path: &Path, dir: &Path, port: u16) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.replace("@DIR@", dir.to_str().unwrap()).replace("@PORT@", &port.to_string())
}

fn restore_file(db: &rusqlite::Connection, sql: &Path, dir: &Path) {
    db.execute_batch(&placed(sql, dir, 0).replace('\n', ";\n")).unwrap();
}

fn restore_home(ssync: &Ssync, from: &Path, port: u16) {
    let make_dir = |path: &Path| {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    };
    let write = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    let home = ssync.home();
    for dir in ["", "run", "run/books"] {
        make_dir(&home.join(dir));
    }
    write(&ssync.scratch().join("pii.key"), &fs::read(fixture("pii.key")).unwrap());
    if let Ok(key) = fs::read(from.join("home/host.key")) {
        write(&home.join("host.key"), &key);
    }
    write(&home.join("ssync.db"), b"");
    let db = rusqlite::Connection::open(home.join("ssync.db")).unwrap();
    let sql = placed(&from.join("home/ssync.db.sql"), ssync.scratch(), port);
    db.execute_batch(&sql.replace('\n', ";\n")).unwrap();
    for file in fs::read_dir(from.join("home/run/books")).unwrap() {
        let file = file.unwrap();
        let text = placed(&file.path(), ssync.scratch(), port);
        write(&home.join("run/books").join(file.file_name()), text.as_bytes());
    }
}

#[test]
fn a_sqlite_home_of_schema_7_with_open_runs_is_carried_on_without_an_operator() {
    carried_on(&Restored::sqlite());
}

#[test]
fn a_mariadb_home_of_schema_7_with_open_runs_is_carried_on_without_an_operator() {
    carried_on(&Restored::mariadb());
}

fn carried_on(restored: &Restored) {
    let Restored { ssync, source, dest, office, .. } = restored;
    assert!(!restored.faults().is_empty(), "the fixture has nothing left to do");

    // What people look at first is there, and no run is needed for it.
    let before = restored.history();
    for (table, state) in [("clients", "done"), ("events", "done")] {
        assert!(before.contains(&(table.to_owned(), state.to_owned())), "{before:?}");
    }
    // What the last one had to write down still waits in a file.
    for table in UNDER_WAY.iter().filter(|t| **t != "visits") {
        assert!(before.contains(&((*table).to_owned(), "open".to_owned())), "{before:?}");
    }
    for command in [&["status"][..], &["show", "2"], &["errors"], &["links"], &["export"]] {
        ssync.run(command).expect(0);
    }
    assert!(ssync.run(&["errors", "--json"]).expect(0).stdout.contains("parcels"));

    restored.run_all();
    assert_eq!(restored.faults(), Vec::<String>::new());
    let log = dest.rows("SELECT what FROM step_log", &[Holds::Text]);
    assert_eq!(log.len(), 2, "SQL before and after has run once: {log:?}");
    assert_eq!(kept_row(dest), "was here", "the row that was there stays");
    let bad = format!("SELECT sync_status FROM parcels WHERE id = {BAD}");
    assert_eq!(source.number(&bad), 3);

    // Once more, with nothing to do: nothing lands twice.
    restored.run_all();
    assert_eq!(restored.faults(), Vec::<String>::new());

    let after = restored.history();
    for (table, _) in TABLES {
        let last = after.iter().find(|(t, _)| t == table);
        assert_eq!(last.map(|(_, state)| state.as_str()), Some("done"), "{table}: {after:?}");
    }
    assert!(after.iter().all(|(_, state)| state != "open"), "{after:?}");
    ssync.run(&["status"]).expect(0);

    // What the older version encrypted opens again.
    restored.run(BACK).expect(0);
    for table in ["clients", "orders"] {
        let sql = format!("SELECT id, name, id_card, mobile FROM {table}");
        let (wanted, found): (Vec<Row>, Vec<Row>) =
            (source.rows(&sql, &PLAIN), office.rows(&sql, &PLAIN));
        assert_eq!(differences(&wanted, &found), Vec::<String>::new(), "{table}");
    }
}

fn kept_row(dest: &Site) -> String {
    let rows = dest.rows(&format!("SELECT name FROM parcels WHERE id = {BAD}"), &[Holds::Text]);
    match rows.as_slice() {
        [row] => match &row[0] {
            ssync_tests::sites::Cell::Text(name) => name.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
