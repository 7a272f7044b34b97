//! `full` copies one state of its source, over all tables of a run, whatever is changed meanwhile; a
//! run that cannot says so.

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Row, Session, Site, differences};
use ssync_tests::ssync::{Instance, Outcome, Running};

const RUN: [&str; 3] = ["--task", "1", "--json"];
const ROWS: i64 = 400;

/// Parents and children, numbered from 1, and where they go.
struct Family {
    source: Site,
    dest: Site,
}

impl Family {
    fn new(source: Site, dest: Site) -> Family {
        let number = if source.is_oracle() { "NUMBER(18)" } else { "BIGINT" };
        source.run(&[
            format!("CREATE TABLE parent (id {number} NOT NULL PRIMARY KEY, v VARCHAR(40))"),
            format!(
                "CREATE TABLE child (id {number} NOT NULL PRIMARY KEY, parent {number} NOT NULL)"
            ),
        ]);
        dest.run(&[
            "CREATE TABLE parent (id BIGINT NOT NULL, v VARCHAR(40))",
            "CREATE TABLE child (id BIGINT NOT NULL, parent BIGINT NOT NULL)",
        ]);
        let family = Family { source, dest };
        family.add(1..ROWS + 1);
        family
    }

    fn add(&self, ids: std::ops::Range<i64>) {
        use ssync_tests::sites::Cell::Int;
        let rows: Vec<Row> = ids.clone().map(|id| vec![Int(id), Int(id)]).collect();
        self.source.insert("parent", &["id", "v"], &rows);
        self.source.insert("child", &["id", "parent"], &rows);
    }

    fn toml(&self, task: &str, tables: &[(&str, &str)]) -> String {
        let mut toml = format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n\
             batch_rows = 10\nslot_bytes = 65536\n{task}\n",
            self.source.link("src"),
            self.dest.link("dst")
        );
        for (name, lines) in tables {
            toml += &format!(
                "[[task.table]]\nname = \"{name}\"\nsource = \"{name}\"\ndest = \"{name}\"\n\
                 mode = \"full\"\n{lines}\n"
            );
        }
        toml
    }

    fn rows(&self, site: &Site, table: &str, column: &str) -> Vec<Row> {
        site.rows(&format!("SELECT id, {column} FROM {table}"), &[Holds::Int, Holds::Text])
    }
}

fn databases(name: &str, of: impl Fn(&str) -> (Site, Site)) -> Family {
    let (source, dest) = of(name);
    Family::new(source, dest)
}

fn on_mariadb(name: &str) -> (Site, Site) {
    (Site::on_server(mariadb(), name), Site::on_server(mariadb(), name))
}

fn on_mysql56(name: &str) -> (Site, Site) {
    (Site::on_server(mysql56(), name), Site::on_server(mysql56(), name))
}

/// In the midst of the first table.
const MIDST: &str = "reader.after_read@5=pause";

#[track_caller]
fn held_in_midst(instance: &Instance) -> Running {
    let mut running = instance.start(&RUN, MIDST);
    running.reached("reader.after_read").unwrap_or_else(|| panic!("{}", instance.logs()));
    running
}

fn notes(outcome: &Outcome, table: &str) -> String {
    outcome.table(table)["notes"].to_string()
}

/// Keys move across what has been read, parents come with children, others go.
fn change(family: &Family, session: &mut Session) {
    session.run("UPDATE parent SET id = -id WHERE id > 300");
    session.run("UPDATE parent SET id = id + 100000 WHERE id BETWEEN 1 AND 20");
    session.run("DELETE FROM child WHERE id BETWEEN 100 AND 140");
    session.run("UPDATE child SET parent = 0 WHERE id > 350");
    family.add(1000..1040);
}

fn copies_one_state(family: &Family, task: &str) {
    let instance = Instance::new(&family.toml(task, &[("parent", ""), ("child", "")]));
    let before = (
        family.rows(&family.source, "parent", "v"),
        family.rows(&family.source, "child", "parent"),
    );
    let running = held_in_midst(&instance);
    change(family, &mut Session::open(&family.source));
    instance.release("reader.after_read");
    let outcome = running.wait().expect(0);
    let after =
        (family.rows(&family.dest, "parent", "v"), family.rows(&family.dest, "child", "parent"));
    assert_eq!(differences(&before.0, &after.0), Vec::<String>::new(), "{outcome}");
    assert_eq!(differences(&before.1, &after.1), Vec::<String>::new(), "{outcome}");
    // The next run copies the state of then.
    let outcome = instance.run(&RUN).expect(0);
    let now = family.rows(&family.source, "parent", "v");
    assert_eq!(differences(&now, &family.rows(&family.dest, "parent", "v")), Vec::<String>::new());
    assert!(!notes(&outcome, "child").contains("later state"), "{outcome}");
    assert_eq!(instance.leftovers(), Vec::<String>::new());
}

#[test]
fn rows_whose_key_moves_are_not_missed_mariadb() {
    copies_one_state(&databases("state", on_mariadb), "");
}

#[test]
fn rows_whose_key_moves_are_not_missed_mysql56() {
    copies_one_state(&databases("state", on_mysql56), "");
}

#[test]
fn rows_whose_key_moves_are_not_missed_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let files = |_: &str| (Site::in_file(dir.path(), "s"), Site::in_file(dir.path(), "d"));
    copies_one_state(&databases("state", files), "");
}

#[test]
fn rows_whose_key_moves_are_not_missed_oracle() {
    for generation in [Generation::Oracle19c, Generation::Oracle23ai] {
        let account = oracle(generation).account("state");
        let family = Family::new(Site::of_account(&account), Site::on_server(mariadb(), "state"));
        copies_one_state(&family, "");
    }
}

#[test]
fn several_readers_see_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    for (source, dest) in [on_mariadb("state"), on_mysql56("state"), (file("s"), file("d"))] {
        copies_one_state(&Family::new(source, dest), "readers = 3");
    }
}

#[test]
fn several_readers_see_the_same_state_of_oracle() {
    let account = oracle(Generation::Oracle19c).account("state");
    let sites = (Site::of_account(&account), Site::on_server(mariadb(), "state"));
    copies_one_state(&Family::new(sites.0, sites.1), "readers = 3");
}

/// A row that is being changed keeps the read lock away; one session reads, and the copy is one.
#[test]
fn where_changes_cannot_be_held_up_one_session_reads() {
    for sites in [on_mariadb, on_mysql56] {
        let family = databases("state", sites);
        let instance = Instance::new(&family.toml("readers = 3", &[("parent", ""), ("child", "")]));
        let mut writer = Session::open(&family.source);
        writer.run("BEGIN");
        writer.run("UPDATE child SET parent = 7 WHERE id = 1");
        let running = held_in_midst(&instance);
        writer.run("UPDATE child SET parent = 7 WHERE id = 2");
        writer.run("COMMIT");
        instance.release("reader.after_read");
        let outcome = running.wait().expect(0);
        assert!(notes(&outcome, "parent").contains("1 session instead of 3"), "{outcome}");
        let sevens = "SELECT COUNT(*) FROM child WHERE parent = 7";
        assert_eq!(family.dest.number(sevens), 1, "{outcome}");
    }
}

/// Without a snapshot rows are read as they are at each moment: the workload of above shows itself.
/// What another mode reads in between ends no snapshot that a later table still reads from.
#[test]
fn an_increment_between_two_full_tables_leaves_their_snapshot() {
    let family = databases("between", on_mariadb);
    let log = "CREATE TABLE log (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40))";
    for site in [&family.source, &family.dest] {
        site.run(&[log]);
    }
    family.source.run(&["INSERT INTO log VALUES (1, 'a'), (2, 'b')"]);
    let toml = family.toml("", &[("parent", ""), ("log", "MARK"), ("child", "")]).replace(
        "mode = \"full\"\nMARK",
        "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }",
    );
    let outcome = Instance::new(&toml).run(&RUN).expect(0);
    let notes = outcome.table("child")["notes"].to_string();
    assert!(!notes.contains("later state"), "{outcome}");
}

#[test]
fn without_a_snapshot_tables_are_read_as_they_are() {
    let family = databases("state", on_mariadb);
    let toml = family.toml("snapshot = false", &[("parent", ""), ("child", "")]);
    let instance = Instance::new(&toml);
    let running = held_in_midst(&instance);
    change(&family, &mut Session::open(&family.source));
    instance.release("reader.after_read");
    running.wait().expect(0);
    let (source, dest) = (
        family.rows(&family.source, "child", "parent"),
        family.rows(&family.dest, "child", "parent"),
    );
    assert_eq!(differences(&source, &dest), Vec::<String>::new());
    let there = family.dest.number("SELECT COUNT(*) FROM parent WHERE ABS(id) > 300");
    assert_ne!(there, 100, "the changes were not seen");
}

/// A throttle holds the run up for longer than a snapshot may be held.
#[test]
fn a_long_pause_gives_the_snapshot_up_and_a_note_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for (source, dest) in
        [on_mariadb("state"), (Site::in_file(dir.path(), "s"), Site::in_file(dir.path(), "d"))]
    {
        let family = Family::new(source, dest);
        family.dest.run(&["CREATE TABLE busy (n INT)", "INSERT INTO busy VALUES (0)"]);
        let link = family.dest.link("dst");
        let throttled =
            format!("{link}throttle = {{ query = \"SELECT n FROM busy\", above = 0 }}\n");
        let toml = family
            .toml("snapshot_max = \"1s\"", &[("parent", ""), ("child", "")])
            .replace(&link, &throttled);
        let instance = Instance::new(&toml);
        let running = held_in_midst(&instance);
        family.dest.run(&["UPDATE busy SET n = 1"]);
        wait_for(&instance, "the throttle's query says: the run waits");
        family.source.run(&["UPDATE parent SET v = 'late' WHERE id = 400"]);
        instance.release("reader.after_read");
        wait_for(&instance, "the snapshot of the source ends");
        family.dest.run(&["UPDATE busy SET n = 0"]);
        let outcome = running.wait().expect(0);
        assert!(notes(&outcome, "parent").contains("given up after a pause"), "{outcome}");
        assert!(notes(&outcome, "child").contains("later state of the source"), "{outcome}");
        let late = "SELECT COUNT(*) FROM parent WHERE v = 'late'";
        assert_eq!(family.dest.number(late), 1, "{outcome}");
        assert_eq!(family.dest.number("SELECT COUNT(*) FROM parent"), ROWS, "{outcome}");
    }
}

#[track_caller]
fn wait_for(instance: &Instance, words: &str) {
    let deadline = std::time::Instant::now() + ssync_tests::ssync::RUN_TIME_MAX;
    while !instance.logs().contains(words) {
        assert!(std::time::Instant::now() < deadline, "not seen\n{}", instance.logs());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_resumed_run_says_that_it_is_no_copy_of_one_moment() {
    let family = databases("state", on_mariadb);
    let instance = Instance::new(&family.toml("", &[("parent", ""), ("child", "")]));
    instance.run_with(&RUN, "writer.after_commit@9=kill-group");
    instance.wait_until_dead();
    let outcome = instance.run(&RUN).expect(0);
    assert!(notes(&outcome, "parent").contains("no copy of one moment"), "{outcome}");
    assert!(!notes(&outcome, "child").contains("no copy of one moment"), "{outcome}");
    assert!(notes(&outcome, "child").contains("not of the same moment as parent"), "{outcome}");
    // The next one is whole.
    let whole = instance.run(&RUN).expect(0);
    assert!(!notes(&whole, "child").contains("moment"), "{whole}");
    assert_eq!(family.dest.number("SELECT COUNT(*) FROM parent"), ROWS);
}

/// A server that ends the sessions in the midst: the run goes on by itself, and says what it is.
#[test]
fn a_second_attempt_says_that_it_is_no_copy_of_one_moment() {
    use mysql::prelude::Queryable;
    let family = databases("state", on_mariadb);
    let instance = Instance::new(&family.toml("", &[("parent", ""), ("child", "")]));
    let running = held_in_midst(&instance);
    let Site::MySql { database, .. } = &family.source else { unreachable!() };
    let mut admin = family.source.mysql();
    let sql = format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{database}' \
         AND id <> CONNECTION_ID()"
    );
    let ids: Vec<u64> = admin.query(sql).unwrap();
    for id in ids {
        let _ = admin.query_drop(format!("KILL {id}"));
    }
    instance.release("reader.after_read");
    let outcome = running.wait().expect(0);
    assert!(notes(&outcome, "parent").contains("no copy of one moment"), "{outcome}");
    assert_eq!(family.dest.number("SELECT COUNT(*) FROM parent"), ROWS);
    assert_eq!(family.dest.number("SELECT COUNT(*) FROM child"), ROWS);
}

/// What an operator's SQL makes at the source is seen by the table it is made for, and what one table
/// lands by the next that reads it.
#[test]
fn a_snapshot_hides_nothing_that_the_task_itself_has_made() {
    let family = databases("state", on_mariadb);
    let before = "before = { source = [\"DELETE FROM child WHERE id > 10\"] }";
    let instance = Instance::new(&family.toml("", &[("parent", ""), ("child", before)]));
    let outcome = instance.run(&RUN).expect(0);
    assert_eq!(family.dest.number("SELECT COUNT(*) FROM child"), 10, "{outcome}");
    assert!(notes(&outcome, "child").contains("later state of the source"), "{outcome}");

    // A chain within one database, and back into what was read first.
    let site = Site::on_server(mariadb(), "chain");
    site.run(&[
        "CREATE TABLE a (id INT PRIMARY KEY)",
        "CREATE TABLE b (id INT PRIMARY KEY)",
        "CREATE TABLE c (id INT PRIMARY KEY)",
        "INSERT INTO a SELECT seq FROM seq_1_to_100",
        "INSERT INTO b VALUES (-1)",
    ]);
    let mut toml = format!("{}[[task]]\nid = 1\nsource = \"l\"\ndest = \"l\"\n", site.link("l"));
    for (from, into) in [("a", "b"), ("b", "c"), ("c", "a")] {
        toml += &format!(
            "[[task.table]]\nname = \"{into}\"\nsource = \"{from}\"\ndest = \"{into}\"\n\
             mode = \"full\"\n"
        );
    }
    let outcome = Instance::new(&toml).run(&RUN).expect(0);
    for table in ["a", "b", "c"] {
        assert_eq!(site.number(&format!("SELECT COUNT(*) FROM {table}")), 100, "{outcome}");
    }
    // Nobody waited for a lock of our own: nobody else would have let go of it.
    assert!(!outcome.stdout.contains("tried again"), "{outcome}");
}

#[test]
fn a_source_without_old_versions_of_rows_is_named() {
    let family = databases("state", on_mariadb);
    family.source.run(&["ALTER TABLE parent ENGINE = MyISAM"]);
    let instance = Instance::new(&family.toml("", &[("parent", ""), ("child", "")]));
    let checked = instance.run(&["check"]).expect(0);
    assert!(checked.stdout.contains("keeps no old versions of rows"), "{checked}");
    let outcome = instance.run(&RUN).expect(0);
    assert!(notes(&outcome, "parent").contains("stored in MyISAM"), "{outcome}");
}

/// Where no other table was read before, there is none that it could fit worse.
#[test]
fn a_single_table_that_is_read_again_is_compared_with_no_other() {
    let family = databases("alone", on_mariadb);
    let instance = Instance::new(&family.toml("", &[("parent", "")]));
    let running = held_in_midst(&instance);
    let Site::MySql { database, .. } = &family.source else { unreachable!() };
    let mut server = Session::open(&family.source);
    let sessions = format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> \
         CONNECTION_ID()"
    );
    for row in server.rows(&sessions, &[Holds::Int]) {
        let [Cell::Int(id)] = row[..] else { unreachable!() };
        let _ = server.try_run(&format!("KILL {id}"));
    }
    instance.release("reader.after_read");
    let outcome = running.wait().expect(0);
    let notes = notes(&outcome, "parent");
    assert!(notes.contains("tried again after"), "{outcome}");
    assert!(!notes.contains("the tables before it"), "{outcome}");
}
