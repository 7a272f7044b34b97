//! The road of a row through odd circumstances: a recovered row that is lost again, thousands of
//! bad rows in a batch, connections that break, threads that panic.

use mysql::prelude::Queryable;
use ssync_tests::servers::{Server, Software, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

const RUN: [&str; 3] = ["--task", "1", "--json"];

/// A source table `src` and where it goes, `dst`, each made by the test.
struct Road {
    instance: Instance,
    source: Site,
    dest: Site,
}

impl Road {
    /// Between two files.
    fn new(source_sql: &[&str], dest_sql: &[&str], task: &str, table: &str) -> Road {
        let instance = Instance::new("");
        let source = Site::in_file(instance.scratch(), "source");
        let dest = Site::in_file(instance.scratch(), "dest");
        Road { instance, source, dest }.made(source_sql, dest_sql, task, table)
    }

    /// From a file to the shared server.
    fn to_mariadb(source_sql: &[&str], dest_sql: &[&str], task: &str, table: &str) -> Road {
        let instance = Instance::new("");
        let source = Site::in_file(instance.scratch(), "source");
        let dest = Site::on_server(mariadb(), "road");
        Road { instance, source, dest }.made(source_sql, dest_sql, task, table)
    }

    fn made(self, source_sql: &[&str], dest_sql: &[&str], task: &str, table: &str) -> Road {
        self.source.run(source_sql);
        self.dest.run(dest_sql);
        self.configure(task, table);
        self
    }

    fn configure(&self, task: &str, table: &str) {
        let (source, dest) = (self.source.link("src"), self.dest.link("dst"));
        self.instance.apply(&config(&source, &dest, task, table));
    }

    fn run(&self) -> Outcome {
        self.instance.run(&RUN)
    }

    fn in_state(&self, state: u8) -> i64 {
        self.source.number(&format!("SELECT COUNT(*) FROM src WHERE sync_status = {state}"))
    }

    fn landed(&self) -> i64 {
        self.dest.number("SELECT COUNT(*) FROM dst")
    }

    /// What `ssync errors` shows.
    fn errors(&self) -> String {
        self.instance.run(&["errors"]).expect(0).stdout
    }

    /// Breaks every connection to the destination's database, as a server's restart does.
    fn break_connections(&self) {
        let Site::MySql { database, .. } = &self.dest else { panic!("not a server") };
        let mut conn = self.dest.mysql();
        let sql = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{database}' \
             AND id <> CONNECTION_ID()"
        );
        let ids: Vec<u64> = conn.query(sql).unwrap();
        assert!(!ids.is_empty());
        for id in ids {
            // One that has just ended by itself is as good.
            let _ = conn.query_drop(format!("KILL {id}"));
        }
    }
}

fn config(source: &str, dest: &str, task: &str, table: &str) -> String {
    let resets = if table.contains("mode =") { "" } else { "app_resets_status = true\n" };
    format!(
        "{source}{dest}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n{task}\n\
         [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n{resets}{table}\n"
    )
}

/// `src (id, v, sync_status)` with rows 1 to `rows`; `v` is `good`.
fn rows(rows: i64) -> [String; 2] {
    [
        "CREATE TABLE src (id INTEGER PRIMARY KEY, v TEXT NOT NULL, \
         sync_status INTEGER NOT NULL DEFAULT 0)"
            .to_owned(),
        format!(
            "INSERT INTO src (id, v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM n WHERE i < {rows}) SELECT i, 'good' FROM n"
        ),
    ]
}

fn error_text(outcome: &Outcome) -> String {
    outcome.table("t")["error"].to_string()
}

fn result(outcome: &Outcome) -> String {
    outcome.table("t")["result"].as_str().unwrap().to_owned()
}

/// The task dies at this point with ten rows landed; the next run finds them. Then the
/// destination goes back to where it was before, which must be noticed.
fn goes_back_after_a_crash(point: &str, states: (i64, i64), home_is_lost: bool) {
    let [make, fill] = rows(10);
    let road = Road::new(
        &[&make, &fill],
        &["CREATE TABLE dst (id INTEGER PRIMARY KEY, v TEXT)"],
        "batch_rows = 10",
        "write = \"ignore\"",
    );
    let Site::Sqlite(file) = &road.dest else { panic!("not a file") };
    let backup = road.instance.scratch().join("backup");
    road.dest.sqlite().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();

    road.instance.run_with(&RUN, &format!("{point}@*=kill"));
    road.instance.wait_until_dead();
    assert_eq!((road.landed(), (road.in_state(1), road.in_state(2))), (10, states));
    let (source, dest) = (road.source.link("src"), road.dest.link("dst"));
    let other = Instance::new(&config(&source, &dest, "batch_rows = 10", "write = \"ignore\""));
    let instance = if home_is_lost { &other } else { &road.instance };
    instance.run(&RUN).expect(0);
    assert_eq!(road.in_state(2), 10);

    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    std::fs::copy(&backup, file).unwrap();
    let outcome = instance.run(&RUN).expect(1);
    assert!(error_text(&outcome).contains("no longer has what was settled last"), "{outcome}");
    let lost = instance.run(&["retry", "--task", "1", "--lost"]);
    if home_is_lost {
        // What it has settled before it died nobody knows.
        assert!(lost.expect(1).stderr.contains("1 run is not known here: 1"));
        assert_eq!((road.landed(), road.in_state(0)), (0, 10));
        let adopt = ["adopt", "--task", "1", "--tables", "t", "--as-is"];
        instance.run(&adopt).expect(0);
        instance.run(&RUN).expect(0);
    } else {
        lost.expect(0);
    }
    assert_eq!((road.landed(), road.in_state(2)), (10, 10));
}

#[test]
fn rows_that_recovery_settled_are_missed_when_the_destination_goes_back_in_time() {
    goes_back_after_a_crash("settler.before_settle", (10, 0), false);
}

/// The home directory is gone with the host that died.
#[test]
fn rows_of_a_dead_installation_are_missed_when_the_destination_goes_back_in_time() {
    goes_back_after_a_crash("settler.before_settle", (10, 0), true);
}

#[test]
fn rows_that_a_dying_task_settled_are_missed_when_the_destination_goes_back_in_time() {
    goes_back_after_a_crash("settler.after_mark", (0, 10), false);
}

/// It might lose that rows are done after the ledger has forgotten that they landed.
#[test]
fn a_source_that_may_lose_commits_is_refused_unless_that_is_allowed() {
    let server = Server::start(Software::MariaDb, &["--innodb-flush-log-at-trx-commit=2"]);
    let instance = Instance::new("");
    let source = Site::on_server(&server, "loses");
    let dest = Site::in_file(instance.scratch(), "dest");
    source.run(&[
        "CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, sync_status INT NOT NULL DEFAULT 0)",
        "INSERT INTO src (id) VALUES (1), (2)",
    ]);
    dest.run(&["CREATE TABLE dst (id INTEGER NOT NULL)"]);
    instance.apply(&config(&source.link("src"), &dest.link("dst"), "", ""));
    let outcome = instance.run(&RUN).expect(2);
    assert!(error_text(&outcome).contains("link src may lose commits"), "{outcome}");
    let checked = instance.run(&["check"]).expect(2);
    assert!(checked.stdout.contains("link src may lose commits"), "{checked}");
    assert_eq!(dest.number("SELECT COUNT(*) FROM dst"), 0);

    let allowed = source.link("src") + "allow_nondurable = true\n";
    instance.apply(&config(&allowed, &dest.link("dst"), "", ""));
    instance.run(&["check"]).expect(0);
    instance.run(&RUN).expect(0);
    assert_eq!(dest.number("SELECT COUNT(*) FROM dst"), 2);
    // Nothing is written down at the source of a full run.
    let full = "mode = \"full\"\nkey = [\"id\"]\ncolumns = [\"id\"]";
    instance.apply(&config(&source.link("src"), &dest.link("dst"), "", full));
    instance.run(&RUN).expect(0);
}

#[test]
fn thousands_of_bad_rows_in_one_batch_stay_within_their_limit() {
    // Long keys: what is said of a bad row takes room, and a verdict has room for few.
    let road = Road::new(
        &[
            "CREATE TABLE src (id TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL, \
             sync_status INTEGER NOT NULL DEFAULT 0)",
            "INSERT INTO src (id, n) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM n WHERE i < 10000) SELECT printf('%0400d', i), i FROM n",
        ],
        &["CREATE TABLE dst (id TEXT NOT NULL, n INTEGER NOT NULL CHECK (n > 3000))"],
        "batch_rows = 10000\nslot_bytes = 8388608\nerror_limit = 5000",
        "",
    );
    let outcome = road.run().expect(1);
    assert_eq!(result(&outcome), "done_with_errors", "{outcome}");
    assert_eq!((outcome.count("t", "landed"), outcome.count("t", "failed")), (7000, 3000));
    assert_eq!((road.in_state(2), road.in_state(3), road.landed()), (7000, 3000, 7000));
}

#[test]
fn a_retried_row_counts_as_resolved_only_once_it_has_landed() {
    let road = Road::new(
        &[
            "CREATE TABLE src (id INTEGER PRIMARY KEY, v TEXT NOT NULL, parent INTEGER, \
             sync_status INTEGER NOT NULL DEFAULT 0)",
            "INSERT INTO src (id, v) VALUES (1, 'good'), (17, 'too long'), (18, 'too long')",
        ],
        &[
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE dst (id INTEGER PRIMARY KEY, v TEXT CHECK (length(v) < 6), \
             parent INTEGER REFERENCES parent(id))",
        ],
        "error_limit = 10",
        "",
    );
    road.run().expect(1);
    assert!(road.errors().contains("id=17") && road.errors().contains("id=18"));
    // Mended, and then one waits for its parent, the other is not for this run.
    road.source.run(&["UPDATE src SET v = 'good', parent = CASE id WHEN 17 THEN 5 END"]);
    road.configure("error_limit = 10", "where = \"id <> 18\"");
    road.instance.run(&["retry", "--task", "1"]).expect(1);
    assert_eq!((road.in_state(0), road.in_state(3)), (1, 1));
    assert!(road.errors().contains("id=17") && road.errors().contains("id=18"));

    road.dest.run(&["INSERT INTO parent VALUES (5)"]);
    road.run().expect(0);
    assert!(!road.errors().contains("id=17") && road.errors().contains("id=18"));
    road.configure("error_limit = 10", "");
    road.instance.run(&["retry", "--task", "1"]).expect(0);
    assert!(!road.errors().contains("id="));
    assert_eq!((road.landed(), road.in_state(2)), (3, 3));
}

#[test]
fn an_upsert_brings_a_key_as_the_source_spells_it() {
    let road = Road::new(
        &[
            "CREATE TABLE src (id TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, v TEXT, \
             sync_status INTEGER NOT NULL DEFAULT 0)",
            "INSERT INTO src (id, v) VALUES ('abc', 'x')",
        ],
        &["CREATE TABLE dst (id TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, v TEXT)"],
        "",
        "write = \"upsert\"",
    );
    road.run().expect(0);
    road.source.run(&["UPDATE src SET id = 'ABC', sync_status = 0"]);
    road.run().expect(0);
    assert_eq!(road.dest.number("SELECT COUNT(*) FROM dst WHERE id = 'ABC' COLLATE BINARY"), 1);
    assert_eq!(road.landed(), 1);
}

#[test]
fn an_upsert_where_a_looser_unique_index_would_match_another_row_is_refused() {
    let road = Road::new(
        &[
            "CREATE TABLE src (id TEXT NOT NULL PRIMARY KEY, \
             sync_status INTEGER NOT NULL DEFAULT 0)",
            "INSERT INTO src (id) VALUES ('a'), ('A')",
        ],
        &[
            "CREATE TABLE dst (id TEXT NOT NULL PRIMARY KEY)",
            "CREATE UNIQUE INDEX looser ON dst (id COLLATE NOCASE)",
        ],
        "",
        "write = \"upsert\"",
    );
    let outcome = road.run().expect(2);
    assert!(error_text(&outcome).contains("further unique indexes: looser"), "{outcome}");
    assert_eq!(road.landed(), 0);
}

#[test]
fn tables_of_ssync_that_cannot_roll_back_are_refused() {
    let server = mariadb();
    let (source, dest) = (Site::on_server(server, "road"), Site::on_server(server, "road"));
    source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, \
                  sync_status INT NOT NULL DEFAULT 0)"]);
    dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL)"]);
    let road = Road { instance: Instance::new(""), source, dest };
    road.configure("", "");
    road.run().expect(0);
    road.source.run(&["INSERT INTO src (id) VALUES (1)"]);
    for (site, table) in
        [(&road.dest, "SSYNC_LEDGER"), (&road.dest, "SSYNC_FENCE"), (&road.source, "SSYNC_OWNER")]
    {
        site.run(&[format!("ALTER TABLE {table} ENGINE=Aria")]);
        let outcome = road.run().expect(2);
        assert!(error_text(&outcome).contains(&format!("table {table} is stored")), "{outcome}");
        assert_eq!(road.landed(), 0);
        site.run(&[format!("ALTER TABLE {table} ENGINE=InnoDB")]);
    }
    road.run().expect(0);
    assert_eq!(road.landed(), 1);
}

#[test]
fn a_wish_to_begin_anew_outlives_a_connection_that_breaks() {
    let [make, fill] = rows(100);
    let road = Road::to_mariadb(
        &[&make, &fill],
        &["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(100))"],
        "batch_rows = 10",
        "mode = \"full\"\ncolumns = [\"id\", \"v\"]",
    );
    road.instance.run_with(&RUN, "writer.before_commit@4=kill-group");
    road.instance.wait_until_dead();
    assert_eq!(road.landed(), 30);
    let args = ["--task", "1", "--restart", "--json"];
    let mut run = road.instance.start(&args, "run.after_fence@*=pause");
    run.reached("run.after_fence").unwrap();
    road.break_connections();
    road.instance.release("run.after_fence");
    let outcome = run.wait().expect(0);
    assert_eq!((outcome.count("t", "landed"), outcome.count("t", "resumed")), (100, 0));
    assert_eq!(road.landed(), 100);
    // Which connection it was is said.
    let notes = outcome.table("t")["notes"].to_string();
    assert!(notes.contains("tried again after: link dst: "), "{outcome}");
}

#[test]
fn a_table_is_tried_as_often_as_is_configured() {
    let [make, fill] = rows(60);
    let road = Road::to_mariadb(
        &[&make, &fill],
        &["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(100))"],
        "batch_rows = 10\nretries = 0",
        "",
    );
    let mut run = road.instance.start(&RUN, "writer.before_commit@3=pause");
    run.reached("writer.before_commit").unwrap();
    road.break_connections();
    road.instance.release("writer.before_commit");
    let outcome = run.wait().expect(1);
    assert!(!outcome.table("t")["notes"].to_string().contains("tried again"), "{outcome}");
    assert!(error_text(&outcome).contains("link dst: "), "{outcome}");
    road.run().expect(0);
    assert_eq!((road.landed(), road.in_state(2)), (60, 60));
}

#[test]
fn the_error_limit_holds_over_all_attempts_of_a_run() {
    let [make, fill] = rows(60);
    let road = Road::to_mariadb(
        &[&make, &fill, "UPDATE src SET v = 'too long' WHERE id IN (5, 55)"],
        &["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(5))"],
        "batch_rows = 10\nerror_limit = 1",
        "",
    );
    let mut run = road.instance.start(&RUN, "writer.before_commit@3=pause");
    run.reached("writer.before_commit").unwrap();
    road.break_connections();
    road.instance.release("writer.before_commit");
    let outcome = run.wait().expect(1);
    assert!(outcome.table("t")["notes"].to_string().contains("tried again"), "{outcome}");
    assert_eq!(result(&outcome), "failed", "{outcome}");
    assert!(error_text(&outcome).contains("2 bad rows, 1 allowed"), "{outcome}");
    assert!(outcome.stderr.contains("ssync: task 1, table t: 2 bad rows"), "{outcome}");
}

#[test]
fn a_bad_row_that_is_met_again_is_recorded_once() {
    let [make, fill] = rows(10);
    let road = Road::new(
        &[&make, &fill, "UPDATE src SET v = 'too long' WHERE id = 5"],
        &["CREATE TABLE dst (id INTEGER NOT NULL, v TEXT CHECK (length(v) < 6))"],
        "batch_rows = 10\nerror_limit = 1",
        "",
    );
    // It is recorded, and the task dies before the source hears of it.
    road.instance.run_with(&RUN, "settler.before_settle@*=kill");
    road.instance.wait_until_dead();
    assert_eq!((road.in_state(1), road.in_state(3)), (10, 0));
    road.run().expect(1);
    assert_eq!((road.in_state(2), road.in_state(3), road.landed()), (9, 1, 9));
    assert_eq!(road.errors().matches("id=5").count(), 1, "{}", road.errors());
}

#[test]
fn a_thread_that_panics_ends_the_run_and_not_the_rows() {
    let points = ["reader.after_claim@2", "reader.after_read@2", "settler.before_settle@1"];
    for point in points.map(|point| format!("{point}=panic")) {
        let [make, fill] = rows(50);
        let road = Road::new(
            &[&make, &fill],
            &["CREATE TABLE dst (id INTEGER NOT NULL, v TEXT)"],
            "batch_rows = 10",
            "",
        );
        let outcome = road.instance.run_with(&RUN, &point).expect(1);
        assert!(error_text(&outcome).contains("panicked"), "{outcome}");
        assert_eq!(road.instance.leftovers(), Vec::<String>::new());
        road.run().expect(0);
        assert_eq!((road.landed(), road.in_state(2)), (50, 50), "{point}");
    }
}
