//! A swap looks at both tables in the moment before it, and is refused where something would be left
//! behind or come along; what cannot be emptied or swapped is known to `ssync check`.

use nix::sys::signal::Signal;
use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Row, Session, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};
use ssync_tests::wait_for;

const RUN: [&str; 3] = ["--task", "1", "--json"];
const ROWS: i64 = 60;
const SWAP: &str = "full = \"swap\"";

struct Tables {
    source: Site,
    dest: Site,
}

impl Tables {
    fn new(source: Site, dest: Site, columns: &str) -> Tables {
        source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v BIGINT NOT NULL)"]);
        dest.run(&[columns]);
        let rows: Vec<Row> = (1..=ROWS).map(|id| vec![Cell::Int(id), Cell::Int(id)]).collect();
        source.insert("src", &["id", "v"], &rows);
        Tables { source, dest }
    }

    fn on_mariadb(columns: &str) -> Tables {
        Tables::new(Site::on_server(mariadb(), "sw"), Site::on_server(mariadb(), "sw"), columns)
    }

    fn toml(&self, table: &str) -> String {
        let mode = if table.contains("mode =") { "" } else { "mode = \"full\"" };
        format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n\
             batch_rows = 10\nslot_bytes = 65536\n[[task.table]]\nname = \"t\"\n\
             source = \"src\"\ndest = \"dst\"\n{mode}\n{table}\n",
            self.source.link("src"),
            self.dest.link("dst")
        )
    }

    #[track_caller]
    fn assert_same(&self, when: &dyn std::fmt::Display) {
        let holds = [Holds::Int, Holds::Int];
        let source = self.source.rows("SELECT id, v FROM src", &holds);
        let dest = self.dest.rows("SELECT id, v FROM dst", &holds);
        assert_eq!(differences(&source, &dest), Vec::<String>::new(), "{when}");
    }
}

#[track_caller]
fn refused(outcome: &Outcome, what: &str) {
    // Exit code 2 says that nothing was moved, not even into a table beside.
    let landed = outcome.table("t")["counts"]["landed"].as_u64().unwrap();
    assert_eq!(outcome.code, Some(if landed == 0 { 2 } else { 1 }), "{outcome}");
    let error = &outcome.table("t")["error"];
    assert_eq!(error["kind"], "Refused", "{outcome}");
    assert!(error.to_string().contains(what), "{what}: {outcome}");
    assert!(error["hint"].is_string(), "{outcome}");
}

/// What somebody does meanwhile, what names it, and how it is taken back.
type Meanwhile = (&'static str, &'static str, &'static str);

const ANYWHERE: [Meanwhile; 4] = [
    ("CREATE INDEX extra ON dst (v)", "extra", "DROP INDEX extra ON dst"),
    ("CREATE UNIQUE INDEX extra ON dst (v)", "extra", "DROP INDEX extra ON dst"),
    ("CREATE INDEX extra ON dst__ssync_new (v)", "extra", "DROP INDEX extra ON dst__ssync_new"),
    ("CREATE TABLE kid (id BIGINT REFERENCES dst (id))", "kid", "DROP TABLE kid"),
];

const ON_MYSQL: [Meanwhile; 9] = [
    (
        "CREATE TRIGGER noisy AFTER INSERT ON dst FOR EACH ROW SET @x = 1",
        "noisy",
        "DROP TRIGGER noisy",
    ),
    (
        "CREATE TRIGGER noisy AFTER INSERT ON dst__ssync_new FOR EACH ROW SET @x = 1",
        "noisy",
        "DROP TRIGGER noisy",
    ),
    ("ALTER TABLE dst ADD extra INT", "extra", "ALTER TABLE dst DROP extra"),
    ("ALTER TABLE dst__ssync_new ADD extra INT", "extra", "ALTER TABLE dst__ssync_new DROP extra"),
    (
        "ALTER TABLE dst ADD CONSTRAINT fk_up FOREIGN KEY (v) REFERENCES other (id)",
        "fk_up",
        "ALTER TABLE dst DROP FOREIGN KEY fk_up, DROP KEY fk_up",
    ),
    (
        "ALTER TABLE other ADD CONSTRAINT fk_down FOREIGN KEY (id) REFERENCES dst (id)",
        "fk_down",
        "ALTER TABLE other DROP FOREIGN KEY fk_down",
    ),
    (
        "ALTER TABLE other ADD CONSTRAINT fk_new FOREIGN KEY (id) REFERENCES dst__ssync_new (id)",
        "fk_new",
        "ALTER TABLE other DROP FOREIGN KEY fk_new",
    ),
    ("ALTER TABLE dst COMMENT = 'mine'", "mine", "ALTER TABLE dst COMMENT = ''"),
    ("ALTER TABLE dst ALTER v SET DEFAULT 7", "v", "ALTER TABLE dst ALTER v DROP DEFAULT"),
];

const ON_SQLITE: [Meanwhile; 3] = [
    ("CREATE TRIGGER noisy AFTER INSERT ON dst BEGIN SELECT 1; END", "noisy", "DROP TRIGGER noisy"),
    (
        "CREATE TRIGGER noisy AFTER INSERT ON dst__ssync_new BEGIN SELECT 1; END",
        "noisy",
        "DROP TRIGGER noisy",
    ),
    ("ALTER TABLE dst ADD extra INT", "extra", "ALTER TABLE dst DROP extra"),
];

fn nothing_is_left_behind(tables: &Tables, cases: &[Meanwhile]) {
    tables.dest.run(&["CREATE TABLE other (id BIGINT NOT NULL PRIMARY KEY)"]);
    let others: Vec<Row> = (1..=ROWS).map(|id| vec![Cell::Int(id)]).collect();
    tables.dest.insert("other", &["id"], &others);
    for (sql, what, undone) in cases {
        // What refers to the table finds its rows there.
        tables.dest.run(&["DELETE FROM dst", "INSERT INTO dst SELECT id, id FROM other"]);
        let before = tables.dest.number("SELECT COUNT(*) FROM dst");
        let instance = Instance::new(&tables.toml(SWAP));
        let mut running = instance.start(&RUN, "steps.before_swap@1=pause");
        running.reached("steps.before_swap").unwrap_or_else(|| panic!("{}", instance.logs()));
        tables.dest.run(&[sql]);
        instance.release("steps.before_swap");
        refused(&running.wait(), what);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), before, "{sql}");
        let undone = match tables.dest.is_sqlite() {
            true => undone.split(" ON ").next().unwrap(),
            false => undone,
        };
        tables.dest.run(&[undone]);
        let outcome = instance.run(&RUN).expect(0);
        tables.assert_same(&format!("{sql}: {outcome}"));
    }
}

const PLAIN: &str = "CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, v BIGINT NOT NULL)";

#[test]
fn what_appears_before_a_swap_is_named_mariadb() {
    let tables = Tables::on_mariadb(PLAIN);
    // MariaDB takes a reference that a column makes; MySQL leaves it out.
    nothing_is_left_behind(&tables, &ANYWHERE);
    nothing_is_left_behind_again(&tables, &ON_MYSQL);
}

#[test]
fn what_appears_before_a_swap_is_named_mysql56() {
    let on = |name| Site::on_server(mysql56(), name);
    let tables = Tables::new(on("sw"), on("sw"), PLAIN);
    nothing_is_left_behind(&tables, &ANYWHERE[..3]);
    nothing_is_left_behind_again(&tables, &ON_MYSQL);
}

#[test]
fn what_appears_before_a_swap_is_named_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    let tables = Tables::new(file("s"), file("d"), PLAIN);
    nothing_is_left_behind(&tables, &ANYWHERE);
    nothing_is_left_behind_again(&tables, &ON_SQLITE);
}

fn nothing_is_left_behind_again(tables: &Tables, cases: &[Meanwhile]) {
    tables.dest.run(&["DROP TABLE other"]);
    nothing_is_left_behind(tables, cases);
}

#[test]
fn the_next_number_of_a_table_is_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    let counting = "CREATE TABLE dst (id BIGINT AUTO_INCREMENT PRIMARY KEY, v BIGINT NOT NULL)";
    let file = |side: &str| Site::in_file(dir.path(), side);
    let on = |name| Site::on_server(mysql56(), name);
    for tables in [
        Tables::on_mariadb(counting),
        Tables::new(on("sw"), on("sw"), counting),
        Tables::new(
            file("s"),
            file("d"),
            "CREATE TABLE dst (id INTEGER PRIMARY KEY AUTOINCREMENT, v BIGINT NOT NULL)",
        ),
    ] {
        tables.dest.run(&["INSERT INTO dst VALUES (4999, 1)", "DELETE FROM dst"]);
        let instance = Instance::new(&tables.toml(SWAP));
        for _ in 0..2 {
            let outcome = instance.run(&RUN).expect(0);
            tables.assert_same(&outcome);
        }
        tables.dest.run(&["INSERT INTO dst (v) VALUES (-1)"]);
        let next = "SELECT id FROM dst WHERE v = -1";
        assert_eq!(tables.dest.number(next), 5000, "{:?}", tables.dest);
    }
}

#[test]
fn a_table_with_a_history_is_emptied_with_its_history_kept_and_never_swapped() {
    let tables = Tables::on_mariadb(&format!("{PLAIN} WITH SYSTEM VERSIONING"));
    tables.dest.run(&["INSERT INTO dst VALUES (-5, 1)"]);
    let instance = Instance::new(&tables.toml(SWAP));
    let checked = instance.run(&["check"]).expect(2);
    assert!(checked.stdout.contains("keeps a history"), "{checked}");
    refused(&instance.run(&RUN), "keeps a history");
    instance.apply(&tables.toml(""));
    instance.run(&["check"]).expect(0);
    let outcome = instance.run(&RUN).expect(0);
    tables.assert_same(&outcome);
    let ever = "SELECT COUNT(*) FROM dst FOR SYSTEM_TIME ALL WHERE id = -5";
    assert_eq!(tables.dest.number(ever), 1);
}

/// Parents of foreign keys: emptied where nothing refers to them; refused, by `check` as well, where
/// rows do, or where rows of others would go along.
#[test]
fn a_parent_is_emptied_only_where_no_row_refers_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    let on = |name| Site::on_server(mysql56(), name);
    for tables in [
        Tables::on_mariadb(PLAIN),
        Tables::new(on("sw"), on("sw"), PLAIN),
        Tables::new(file("s"), file("d"), PLAIN),
    ] {
        let kid = |rule: &str| {
            format!(
                "CREATE TABLE kid (id BIGINT NOT NULL PRIMARY KEY, parent BIGINT, \
                 FOREIGN KEY (parent) REFERENCES dst (id) {rule})"
            )
        };
        tables.dest.run(&[kid(""), "INSERT INTO dst VALUES (-5, 1)".into()]);
        let instance = Instance::new(&tables.toml(""));
        let checked = instance.run(&["check"]).expect(0);
        assert!(checked.stdout.contains("referenced by kid"), "{checked}");
        let outcome = instance.run(&RUN).expect(0);
        tables.assert_same(&outcome);
        tables.dest.run(&["INSERT INTO kid VALUES (1, 7), (2, NULL)"]);
        let checked = instance.run(&["check"]).expect(2);
        assert!(checked.stdout.contains("rows of kid refer to it"), "{checked}");
        let outcome = instance.run(&RUN);
        refused(&outcome, "cannot be emptied");
        tables.assert_same(&outcome);
        // SQL before the rows may see to it; so may the kid.
        let before = "before = { dest = [\"DELETE FROM kid WHERE id = 1\"] }";
        instance.apply(&tables.toml(before));
        instance.run(&["check"]).expect(0);
        let outcome = instance.run(&["--task", "1", "--json", "--restart"]).expect(0);
        tables.assert_same(&outcome);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM kid"), 1);
        // Rows of others never go along.
        tables.dest.run(&["DROP TABLE kid".to_owned(), kid("ON DELETE CASCADE")]);
        tables.dest.run(&["INSERT INTO kid VALUES (1, 7)"]);
        instance.apply(&tables.toml(""));
        let checked = instance.run(&["check"]).expect(2);
        assert!(checked.stdout.contains("would delete or change rows of kid"), "{checked}");
        refused(&instance.run(&RUN), "would delete or change rows of kid");
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM kid"), 1);
    }
}

#[test]
fn periods_without_overlaps_take_no_upsert() {
    let tables = Tables::on_mariadb(
        "CREATE TABLE dst (id BIGINT NOT NULL, v BIGINT NOT NULL, \
         s DATE NOT NULL DEFAULT '2024-01-01', e DATE NOT NULL DEFAULT '2025-01-01', \
         PERIOD FOR p (s, e), UNIQUE KEY whole (id, v, p WITHOUT OVERLAPS))",
    );
    tables.source.run(&[
        "ALTER TABLE src ADD s DATE NOT NULL DEFAULT '2024-01-01', \
         ADD e DATE NOT NULL DEFAULT '2025-01-01', DROP PRIMARY KEY, ADD PRIMARY KEY (id, v, s, e)",
    ]);
    let instance = Instance::new(&tables.toml("write = \"upsert\""));
    let checked = instance.run(&["check"]).expect(2);
    assert!(checked.stdout.contains("index whole is WITHOUT OVERLAPS"), "{checked}");
    refused(&instance.run(&RUN), "index whole is WITHOUT OVERLAPS");
    instance.apply(&tables.toml(""));
    instance.run(&["check"]).expect(0);
    let outcome = instance.run(&RUN).expect(0);
    tables.assert_same(&outcome);
}

/// SQLite repeats a table by its own statement, which may name the table in conditions.
#[test]
fn a_file_s_table_that_names_itself_is_swapped() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    let tables = Tables::new(
        file("s"),
        file("d"),
        "CREATE TABLE dst (id INTEGER PRIMARY KEY, v INTEGER NOT NULL CHECK (dst.v > 0), \
         w AS (v + 1), CHECK ([dst].id < 1000 AND 'dst.v' <> ''))",
    );
    tables.dest.run(&["CREATE UNIQUE INDEX some ON dst (v) WHERE dst.v > 5"]);
    let instance = Instance::new(&tables.toml(SWAP));
    instance.run(&["check"]).expect(0);
    for _ in 0..2 {
        let outcome = instance.run(&RUN).expect(0);
        tables.assert_same(&outcome);
    }
    let mut session = Session::open(&tables.dest);
    for sql in [
        "INSERT INTO dst (id, v) VALUES (100, 0)",
        "INSERT INTO dst (id, v) VALUES (1000, 1000)",
        "INSERT INTO dst (id, v) VALUES (100, 6)",
    ] {
        assert!(session.try_run(sql).is_err(), "{sql}");
    }
    assert_eq!(session.run("INSERT INTO dst (id, v) VALUES (100, 3)"), 1);
}

#[test]
fn a_swap_into_oracle_is_refused_by_check_with_a_key_that_exists() {
    let account = oracle(Generation::Oracle19c).account("swap");
    let source = Site::on_server(mariadb(), "sw");
    let columns = "CREATE TABLE dst (id NUMBER(18) NOT NULL PRIMARY KEY, v NUMBER(18) NOT NULL)";
    let tables = Tables::new(source, Site::of_account(&account), columns);
    let instance = Instance::new(&tables.toml(SWAP));
    let checked = instance.run(&["check"]).expect(2);
    assert!(checked.stdout.contains("cannot be swapped"), "{checked}");
    assert!(checked.stdout.contains("Use full = \"truncate\""), "{checked}");
    refused(&instance.run(&RUN), "cannot be swapped");
    instance.apply(&tables.toml(""));
    let outcome = instance.run(&RUN).expect(0);
    tables.assert_same(&outcome);
}

/// Rows that are there already stand in no trial's way, and are there afterwards.
#[test]
fn a_trial_into_a_table_that_is_loaded_tells_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    trials_tell_the_truth(vec![
        Tables::on_mariadb(PLAIN),
        Tables::new(file("s"), file("d"), PLAIN),
    ]);
}

#[test]
fn a_trial_into_a_loaded_table_of_oracle_tells_the_truth() {
    let account = oracle(Generation::Oracle19c).account("trial");
    let dest = "CREATE TABLE dst (id NUMBER(18) NOT NULL PRIMARY KEY, v NUMBER(18) NOT NULL)";
    let (source, site) = (Site::on_server(mariadb(), "sw"), Site::of_account(&account));
    trials_tell_the_truth(vec![Tables::new(source, site, dest)]);
}

fn trials_tell_the_truth(sides: Vec<Tables>) {
    for tables in sides {
        tables.source.run(&["ALTER TABLE src ADD sync_status INT DEFAULT 0 NOT NULL"]);
        tables.dest.run(&["CREATE UNIQUE INDEX also ON dst (v)"]);
        for table in [
            "mode = \"status\"\napp_resets_status = true",
            "mode = \"full\"",
            "mode = \"full\"\nfull = \"swap\"",
            "mode = \"increment\"\nwatermark = { column = \"v\", lag = \"1\" }\ninitial = \"all\"",
        ] {
            if tables.dest.is_oracle() && table.contains("swap") {
                continue;
            }
            let instance = Instance::new(&tables.toml(table));
            if table.contains("increment") {
                tables.dest.run(&["DELETE FROM dst"]);
            }
            instance.run(&RUN).expect(0);
            let holds = [Holds::Int, Holds::Int];
            let before = tables.dest.rows("SELECT id, v FROM dst ORDER BY id", &holds);
            assert!(before.len() >= ROWS as usize - 1, "{table}");
            let trial = instance.run(&["check", "--trial"]).expect(0);
            assert!(trial.stdout.contains("20 rows landed and were taken back"), "{trial}");
            let after = tables.dest.rows("SELECT id, v FROM dst ORDER BY id", &holds);
            assert_eq!(before, after, "{table}");
            instance.run(&RUN).expect(0);
        }
    }
}

/// A row that is to be sent, and whose key is there: that is what a trial is for.
#[test]
fn a_trial_of_rows_that_are_to_be_sent_finds_that_their_key_is_taken() {
    let tables = Tables::on_mariadb(PLAIN);
    tables.source.run(&["ALTER TABLE src ADD sync_status INT NOT NULL DEFAULT 0"]);
    let instance = Instance::new(&tables.toml("mode = \"status\"\napp_resets_status = true"));
    instance.run(&RUN).expect(0);
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE id = 33"]);
    let trial = instance.run(&["check", "--trial"]).expect(1);
    assert!(trial.stdout.contains("another row has the same values of a unique key"), "{trial}");
}

/// Emptying and swapping want the table alone: whoever reads it keeps them waiting, and nobody else.
#[test]
fn what_waits_for_a_reader_keeps_no_other_one_waiting_and_hears_the_operator() {
    let on = |name| Site::on_server(mysql56(), name);
    for tables in [Tables::on_mariadb(PLAIN), Tables::new(on("sw"), on("sw"), PLAIN)] {
        for (table, waits) in [("", "waits for dst, which is in use"), (SWAP, "waits for dst,")] {
            tables.dest.run(&["DELETE FROM dst", "INSERT INTO dst VALUES (-5, 1)"]);
            let mut reader = Session::open(&tables.dest);
            for sql in ["SET autocommit = 0", "DO (SELECT COUNT(*) FROM dst)"] {
                reader.run(sql);
            }
            let mut other = Session::open(&tables.dest);
            other.run("SET lock_wait_timeout = 10");
            let instance = Instance::new(&tables.toml(table));
            let running = instance.start(&RUN, "");
            wait_for("the wait for the table", || instance.logs().contains(waits));
            assert!(instance.logs().contains("hold it"), "{}", instance.logs());
            for _ in 0..3 {
                other.try_run("DO (SELECT COUNT(*) FROM dst)").unwrap();
            }
            running.signal(Signal::SIGINT);
            running.wait().expect(130);
            reader.run("COMMIT");
            // A statement that was left behind would be at work now.
            other.run("LOCK TABLES dst WRITE");
            other.run("UNLOCK TABLES");
            assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst WHERE id = -5"), 1, "{table}");
            // It goes on by itself once the table is free.
            reader.run("DO (SELECT COUNT(*) FROM dst)");
            let before = instance.logs().matches(waits).count();
            let running = instance.start(&RUN, "");
            wait_for("the wait", || instance.logs().matches(waits).count() > before);
            reader.run("COMMIT");
            let outcome = running.wait().expect(0);
            tables.assert_same(&outcome);
        }
    }
}

#[test]
fn a_table_that_stays_in_use_is_named_and_so_is_who_uses_it() {
    let tables = Tables::on_mariadb(PLAIN);
    tables.dest.run(&["INSERT INTO dst VALUES (-5, 1)"]);
    let mut reader = Session::open(&tables.dest);
    for sql in ["SET autocommit = 0", "DO (SELECT COUNT(*) FROM dst)"] {
        reader.run(sql);
    }
    let session = reader.rows("SELECT CONNECTION_ID()", &[Holds::Int]);
    let [Cell::Int(session)] = session[0][..] else { unreachable!() };
    let once = tables.toml("").replace("writers = 1", "writers = 1\nretries = 0");
    let outcome = Instance::new(&once).run(&RUN).expect(1);
    let error = outcome.table("t")["error"].to_string();
    for words in ["table dst was in use", "TRUNCATE TABLE", &format!("session {session} of ")] {
        assert!(error.contains(words), "{words}: {outcome}");
    }
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), 1);
}

#[test]
fn a_swap_whose_destination_was_renamed_goes_on_once_it_has_its_name_back() {
    let tables = Tables::on_mariadb(PLAIN);
    let instance = Instance::new(&tables.toml(SWAP));
    let mut running = instance.start(&RUN, "steps.before_swap@1=pause");
    running.reached("steps.before_swap").unwrap_or_else(|| panic!("{}", instance.logs()));
    tables.dest.run(&["RENAME TABLE dst TO away"]);
    instance.release("steps.before_swap");
    let outcome = running.wait();
    refused(&outcome, "Give it its name back");
    assert!(!outcome.stdout.contains("--restart"), "{outcome}");
    tables.dest.run(&["RENAME TABLE away TO dst"]);
    let outcome = instance.run(&RUN).expect(0);
    tables.assert_same(&outcome);
}

#[test]
fn a_table_that_was_loaded_for_a_destination_of_another_name_is_said_to_be_left_behind() {
    let tables = Tables::on_mariadb(PLAIN);
    let instance = Instance::new(&tables.toml(SWAP));
    instance.run_with(&RUN, "writer.after_commit@3=kill-group");
    instance.wait_until_dead();
    tables.dest.run(&["RENAME TABLE dst TO renamed"]);
    instance.apply(&tables.toml(SWAP).replace("dest = \"dst\"\nmode", "dest = \"renamed\"\nmode"));
    let left = "`dst__ssync_new` is left behind";
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.table("t")["notes"].to_string().contains(left), "{outcome}");
    tables.dest.run(&["DROP TABLE dst__ssync_new"]);
    let outcome = instance.run(&RUN).expect(0);
    assert!(!outcome.table("t")["notes"].to_string().contains("left behind"), "{outcome}");
    tables.dest.run(&["RENAME TABLE renamed TO dst"]);
    tables.assert_same(&outcome);
}
