//! Rows that the destination refuses: found one by one, recorded, never in the way of the others.

use std::path::Path;

use serde_json::Value;
use ssync_common::store::ErrorFilter;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::Instance;

use super::{RUN, Tables, error_of};

/// A kind of badness: what the destination wants, how a row becomes bad and good again, the
/// column that is named.
struct Badness {
    name: &'static str,
    dest: &'static str,
    spoil: &'static str,
    mend: &'static str,
    column: Option<&'static str>,
}

const BADNESS: &[Badness] = &[
    Badness {
        name: "too long",
        dest: "ALTER TABLE dst MODIFY v VARCHAR(20) NOT NULL",
        spoil: "v = REPEAT('x', 21)",
        mend: "v = 'short'",
        column: Some("v"),
    },
    Badness {
        name: "out of range",
        dest: "ALTER TABLE dst MODIFY n TINYINT",
        spoil: "n = 200",
        mend: "n = 2",
        column: Some("n"),
    },
    Badness {
        name: "NULL",
        dest: "ALTER TABLE dst MODIFY n INT NOT NULL",
        spoil: "n = NULL",
        mend: "n = 2",
        column: Some("n"),
    },
    Badness {
        name: "duplicate",
        dest: "ALTER TABLE dst ADD UNIQUE one_v (v)",
        spoil: "v = 'row 1'",
        mend: "v = CONCAT('row ', id)",
        column: None,
    },
    Badness {
        name: "check constraint",
        dest: "ALTER TABLE dst ADD CHECK (n < 100)",
        spoil: "n = 100",
        mend: "n = 3",
        column: None,
    },
];

fn tables_for(badness: &Badness) -> Tables {
    let tables = Tables::on_mariadb(95);
    tables.source.run(&["ALTER TABLE src ADD n INT DEFAULT 1"]);
    tables.dest.run(&["ALTER TABLE dst ADD n INT", badness.dest]);
    tables.source.run(&[&format!("UPDATE src SET {} WHERE id IN (37, 52, 53)", badness.spoil)]);
    tables
}

fn recorded(instance: &Instance) -> Vec<(String, Option<String>)> {
    let mut rows: Vec<_> = instance
        .store()
        .errors(&ErrorFilter::default())
        .unwrap()
        .into_iter()
        .map(|row| (row.key_text(), row.column))
        .collect();
    rows.sort();
    rows
}

#[test]
fn bad_rows_within_the_limit_stand_alone_and_go_once_they_are_mended() {
    for badness in BADNESS {
        let tables = tables_for(badness);
        let instance = Instance::new(&tables.toml("error_limit = 5", ""));
        let outcome = instance.run(&RUN).expect(1);
        assert_eq!(outcome.table("t")["result"], "done_with_errors", "{}", badness.name);
        assert_eq!(tables.states(), [(2, 92), (3, 3)], "{}: {outcome}", badness.name);
        assert_eq!(tables.landed(), 92, "{}", badness.name);
        let column = badness.column.map(str::to_owned);
        let wanted: Vec<_> =
            ["id=37", "id=52", "id=53"].map(|key| (key.to_owned(), column.clone())).into();
        assert_eq!(recorded(&instance), wanted, "{}", badness.name);
        tables.source.run(&[&format!("UPDATE src SET {} WHERE id IN (37, 52, 53)", badness.mend)]);
        instance.run(&["retry", "--task", "1"]).expect(0);
        assert_eq!(tables.states(), [(2, 95)], "{}", badness.name);
        tables.assert_same();
    }
}

#[test]
fn without_a_limit_the_first_bad_row_fails_the_run_and_only_it_is_marked() {
    for badness in BADNESS {
        let tables = tables_for(badness);
        let instance = Instance::new(&tables.toml("", ""));
        let outcome = instance.run(&RUN).expect(1);
        let (kind, _) = error_of(&outcome);
        assert_eq!(kind, "Data", "{}: {outcome}", badness.name);
        let states = tables.states();
        let of = |state: i64| states.iter().find(|s| s.0 == state).map_or(0, |s| s.1);
        assert_eq!(of(1), 0, "{}: {states:?}", badness.name);
        assert!((1..=3).contains(&of(3)), "{}: {states:?}", badness.name);
        assert_eq!(of(2), tables.landed(), "{}: {states:?}", badness.name);
        assert_eq!(recorded(&instance).len() as i64, of(3), "{}", badness.name);
        tables.source.run(&[&format!("UPDATE src SET {} WHERE id IN (37, 52, 53)", badness.mend)]);
        instance.run(&["retry", "--task", "1"]).expect(0);
        tables.assert_same();
    }
}

#[test]
fn a_batch_of_nothing_but_bad_rows_is_gone_through_to_its_end() {
    let tables = Tables::on_mariadb(0);
    tables.add(0..3000);
    tables.source.run(&["UPDATE src SET v = REPEAT('x', 200)"]);
    tables.dest.run(&["ALTER TABLE dst MODIFY v VARCHAR(20) NOT NULL"]);
    let toml =
        tables.toml("error_limit = 100000", "").replace("batch_rows = 10", "batch_rows = 3000");
    let instance = Instance::new(&toml);
    let outcome = instance.run(&RUN).expect(1);
    assert_eq!(outcome.table("t")["result"], "done_with_errors", "{outcome}");
    assert_eq!(tables.states(), [(3, 3000)]);
    assert_eq!(recorded(&instance).len(), 3000);
    assert_eq!(tables.landed(), 0);
}

#[test]
fn a_value_that_does_not_decode_is_a_bad_row() {
    let dir = tempfile::tempdir().unwrap();
    let source = Site::in_file(dir.path(), "src");
    let tables = Tables::between(source, Site::on_server(mariadb(), "ref"), 40);
    tables.source.run(&["UPDATE src SET v = CAST(X'6162ff' AS TEXT) WHERE id = 17"]);
    let instance = Instance::new(&tables.toml("error_limit = 1", ""));
    instance.run(&RUN).expect(1);
    assert_eq!(tables.states(), [(2, 39), (3, 1)]);
    assert_eq!(recorded(&instance), [("id=17".to_owned(), Some("v".to_owned()))]);
    assert_eq!(tables.landed(), 39);
}

#[test]
fn a_row_without_its_parent_waits_and_lands_when_the_parent_has_come() {
    let tables = Tables::on_mariadb(60);
    tables.dest.run(&[
        "CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)",
        "INSERT INTO parent SELECT seq FROM seq_0_to_59 WHERE seq NOT IN (7, 33)",
        "ALTER TABLE dst ADD FOREIGN KEY (id) REFERENCES parent (id)",
    ]);
    let instance = tables.instance();
    let outcome = instance.run(&RUN).expect(1);
    assert_eq!(outcome.table("t")["result"], "done_with_errors", "{outcome}");
    assert_eq!(tables.states(), [(0, 2), (2, 58)], "orphans are nobody's fault: {outcome}");
    tables.dest.run(&["INSERT INTO parent VALUES (7), (33)"]);
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 60)]);
}

/// Both passes of a run meet it, and so does every run: it stays one row.
#[test]
fn one_row_without_its_parent_is_one_row_wherever_it_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let on_server = || Site::on_server(mariadb(), "ref");
    let in_file = |name: &str| Site::in_file(dir.path(), name);
    for (source, dest) in [(on_server(), on_server()), (in_file("src"), in_file("dst"))] {
        let tables = Tables::between(source, dest, 12);
        tables.dest.run(&[
            "CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)",
            "DROP TABLE dst",
            "CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(300) NOT NULL, \
             FOREIGN KEY (id) REFERENCES parent (id))",
        ]);
        for id in (0..12).filter(|id| *id != 7) {
            tables.dest.run(&[format!("INSERT INTO parent VALUES ({id})")]);
        }
        let instance = tables.instance();
        let people = instance.run(&["--task", "1"]).expect(1);
        let said = &people.stdout;
        assert!(said.contains("done, some rows wait for their parents"), "{people}");
        assert!(said.contains("1 row waits for its parent"), "{people}");
        assert!(said.contains("11 rows have landed and are kept, 1 was put back"), "{people}");
        assert!(!said.contains("bad\n") && !said.contains(" 2 "), "{people}");
        assert_eq!(tables.states(), [(0, 1), (2, 11)]);
        let again = instance.run(&RUN).expect(1);
        assert_eq!((again.count("t", "waiting"), again.count("t", "failed")), (1, 0), "{again}");
        let told: String = std::fs::read_dir(instance.home().join("events"))
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        assert_eq!(told.matches("\"bad_rows\":1,").count(), 2, "{told}");
        assert_eq!(
            told.matches("0 rows are bad, 1 row waits for its parent, ").count(),
            2,
            "{told}"
        );
        tables.dest.run(&["INSERT INTO parent VALUES (7)"]);
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

/// Two keys that the source tells apart and the destination does not would overwrite each other.
#[test]
fn an_upsert_into_a_key_that_ignores_blanks_at_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Site::in_file(dir.path(), "src");
    source.run(&[
        "CREATE TABLE src (id TEXT NOT NULL PRIMARY KEY, v TEXT, sync_status INT NOT NULL DEFAULT 0)",
        "INSERT INTO src (id, v) VALUES ('a', 'one'), ('a ', 'two')",
    ]);
    let dest = Site::on_server(mariadb(), "ref");
    dest.run(&["CREATE TABLE dst (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin \
                NOT NULL PRIMARY KEY, v TEXT)"]);
    let tables = Tables { source, dest };
    let instance = Instance::new(&tables.toml("", "write = \"upsert\""));
    let outcome = instance.run(&RUN);
    assert_ne!(outcome.code, Some(0), "{outcome}");
    assert!(tables.landed() != 1, "one row overwrote the other: {outcome}");
    // Whoever knows that there are no such keys may say so.
    let allowed = "write = \"upsert\"\nallow_lossy = [\"id\"]";
    Instance::new(&tables.toml("", allowed)).run(&["check"]).expect(0);
    // A key that keeps them apart is fine.
    tables.dest.run(&[
        "DELETE FROM dst",
        "ALTER TABLE dst MODIFY id VARCHAR(20) \
                       CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL",
    ]);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.landed(), 2);
}

/// Rows without a state of their own cannot be sent one by one: `retry` is for `status` alone.
#[test]
fn a_full_run_with_bad_rows_does_not_advise_what_is_refused() {
    for (mode, retries) in [("mode = \"full\"", false), ("", true)] {
        let tables = tables_for(&BADNESS[1]);
        let outcome = Instance::new(&tables.toml("", mode)).run(&RUN).expect(1);
        let hint = error_of(&outcome).1;
        assert_eq!(hint.contains("ssync retry"), retries, "{outcome}");
    }
}

/// Forty rows, each of which needs its parent at the destination; 15, 16 and 27 have none.
fn orphans(dir: &Path) -> Tables {
    let tables = Tables::between(Site::in_file(dir, "src"), Site::in_file(dir, "dst"), 40);
    tables.dest.run(&[
        "DROP TABLE dst",
        "CREATE TABLE par (id BIGINT NOT NULL PRIMARY KEY)",
        "CREATE TABLE dst (id BIGINT NOT NULL REFERENCES par (id), v VARCHAR(300) NOT NULL)",
    ]);
    let parents: Vec<Row> =
        (0..40).filter(|id| ![15, 16, 27].contains(id)).map(|id| vec![Cell::Int(id)]).collect();
    tables.dest.insert("par", &["id"], &parents);
    tables
}

const PARENTS: &str = "INSERT INTO par VALUES (15), (16), (27)";
const WITHOUT_STATES: [&str; 2] =
    ["mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }", "mode = \"full\""];

/// Keys of the rows that are listed as bad; what else counts them agrees.
#[track_caller]
fn listed(instance: &Instance) -> Vec<String> {
    let json = |command: &str| -> Value {
        serde_json::from_str(&instance.run(&[command, "--json"]).stdout).unwrap()
    };
    let errors = json("errors");
    let keys = errors["errors"].as_array().unwrap().iter();
    let mut keys: Vec<_> = keys.map(|e| e["row"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    assert_eq!(json("status")["tables"][0]["bad_rows"], keys.len());
    keys
}

#[test]
fn bad_rows_of_a_failed_run_without_states_go_once_they_have_landed() {
    for mode in WITHOUT_STATES {
        // Two are too many in the end, for all that landed beside the first.
        for limit in ["error_limit = 0", "error_limit = 2"] {
            let dir = tempfile::tempdir().unwrap();
            let tables = orphans(dir.path());
            let instance = Instance::new(&tables.toml(limit, mode));
            for _ in 0..2 {
                instance.run(&RUN).expect(1);
                assert!(!listed(&instance).is_empty(), "{mode} {limit}");
            }
            tables.dest.run(&[PARENTS]);
            instance.run(&RUN).expect(0);
            tables.assert_same();
            assert_eq!(listed(&instance), [""; 0], "{mode} {limit}");
            assert_eq!(instance.run(&["health"]).code, Some(0), "{}", instance.run(&["health"]));
        }
    }
}

/// A run that is done although rows are bad leaves them behind, whatever comes after it: until all
/// rows are read again.
#[test]
fn bad_rows_that_a_run_without_states_left_behind_stay_listed_until_they_land() {
    let wanted = ["id=15", "id=16", "id=27"];
    for mode in WITHOUT_STATES {
        let dir = tempfile::tempdir().unwrap();
        let tables = orphans(dir.path());
        let instance = Instance::new(&tables.toml("error_limit = 5", mode));
        // Resumed twice: in its midst, and when nothing is left to be read.
        for kill in ["writer.after_commit@3=kill-group", "run.before_finish@1=kill-group"] {
            instance.run_with(&RUN, kill);
            instance.wait_until_dead();
        }
        instance.run(&RUN);
        assert_eq!((tables.landed(), listed(&instance)), (37, wanted.map(str::to_owned).into()));
        tables.dest.run(&[PARENTS]);
        if mode != WITHOUT_STATES[1] {
            tables.add(40..41);
            tables.dest.run(&["INSERT INTO par VALUES (40)"]);
            instance.run(&RUN).expect(0);
            assert_eq!(listed(&instance), wanted);
            tables.dest.run(&["DELETE FROM dst"]);
        }
        instance.run(&["--task", "1", "--restart"]).expect(0);
        tables.assert_same();
        assert_eq!(listed(&instance), [""; 0], "{mode}");
    }
}

#[test]
fn a_retry_leaves_tables_without_states_out() {
    let dir = tempfile::tempdir().unwrap();
    let tables = orphans(dir.path());
    tables.dest.run(&["CREATE TABLE other (id BIGINT NOT NULL, v VARCHAR(300) NOT NULL)"]);
    let other = |mode: &str| {
        format!("[[task.table]]\nname = \"lines\"\nsource = \"src\"\ndest = \"other\"\n{mode}\n")
    };
    let [increment, _] = WITHOUT_STATES;
    let instance = Instance::new(&(tables.toml("", "") + &other(increment)));
    instance.run(&RUN);
    // As an operator may have it.
    tables.dest.run(&[PARENTS]);
    tables.source.run(&["UPDATE src SET sync_status = 3 WHERE id IN (15, 16)"]);
    let states = tables.states();
    for names in ["t,lines", "lines"] {
        let refused = instance.run(&["retry", "--task", "1", "--tables", names]).expect(2);
        assert!(refused.stderr.contains("lines is not in mode status"), "{refused}");
        assert_eq!(tables.states(), states);
    }
    for lost in [None, Some("--lost")] {
        let args: Vec<_> = ["retry", "--task", "1"].into_iter().chain(lost).collect();
        let sent = instance.run(&args).expect(0);
        assert!(sent.stderr.contains("lines is left out"), "{sent}");
        assert_eq!(tables.states(), [(2, 40)]);
        tables.assert_same();
    }
    instance.apply(&tables.toml("", increment));
    let refused = instance.run(&["retry", "--task", "1"]).expect(2);
    assert!(refused.stderr.contains("t is not in mode status"), "{refused}");
}

/// Twelve rows between two files, of which the destination refuses those with keys 1 to 6; one run
/// has met them.
fn six_bad(dir: &Path, table: &str) -> (Tables, Instance) {
    let tables = Tables::between(Site::in_file(dir, "src"), Site::in_file(dir, "dst"), 12);
    tables.dest.run(&[
        "DROP TABLE dst",
        "CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) CHECK (v <> 'bad'))",
    ]);
    tables.source.run(&["UPDATE src SET v = 'bad' WHERE id BETWEEN 1 AND 6"]);
    let instance = Instance::new(&tables.toml("error_limit = 10", table));
    instance.run(&RUN).expect(1);
    assert_eq!(listed(&instance).len(), 6);
    (tables, instance)
}

/// What became of each bad row, records of one row in order: its state, and whether that names a run.
fn fates(instance: &Instance) -> Vec<(String, String, bool)> {
    let all: Value =
        serde_json::from_str(&instance.run(&["errors", "--all", "--json"]).stdout).unwrap();
    let fate = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("row"), text("state"), row["verdict"]["run"].is_string())
    };
    let mut fates: Vec<_> = all["errors"].as_array().unwrap().iter().map(fate).collect();
    fates.sort();
    fates
}

#[track_caller]
fn assert_fates(instance: &Instance, wanted: &[(&str, &str, bool)]) {
    let wanted =
        wanted.iter().map(|(row, state, run)| (format!("id={row}"), (*state).to_owned(), *run));
    let text = instance.run(&["errors", "--all"]).stdout;
    assert_eq!(fates(instance), wanted.collect::<Vec<_>>(), "{text}");
}

#[test]
fn a_bad_row_that_is_gone_or_that_a_person_called_done_is_not_listed_as_landed() {
    for command in [&RUN[..], &["retry", "1"]] {
        let dir = tempfile::tempdir().unwrap();
        let (tables, instance) = six_bad(dir.path(), "");
        tables.source.run(&[
            "DELETE FROM src WHERE id = 1",
            "UPDATE src SET sync_status = 2 WHERE id = 2",
            "UPDATE src SET sync_status = 0, v = 'good' WHERE id = 3",
            "UPDATE src SET sync_status = 9 WHERE id = 4",
            "UPDATE src SET sync_status = 0 WHERE id = 6",
        ]);
        instance.run(command).expect(1);
        let mut wanted = vec![
            ("1", "withdrawn", false),
            ("2", "withdrawn", false),
            ("3", "landed", true),
            ("4", "withdrawn", false),
            ("5", "bad", false),
            ("6", "bad", false),
            ("6", "repeated", true),
        ];
        if command[0] == "retry" {
            wanted.insert(5, ("5", "repeated", true));
        }
        assert_fates(&instance, &wanted);
        assert_eq!(listed(&instance), ["id=5", "id=6"]);
        // Now, what one run has met twice.
        tables.source.run(&["UPDATE src SET sync_status = 0, v = 'good' WHERE id IN (5, 6)"]);
        instance.run(&RUN).expect(0);
        assert_eq!(listed(&instance), [""; 0]);
        assert_eq!(tables.landed(), 12 - 3);
        let text = instance.run(&["errors", "--all"]).expect(0).stdout;
        assert!(text.contains("the source no longer has it"), "{text}");
        assert!(text.contains("no run of this home has sent it"), "{text}");
    }
}

#[test]
fn a_row_that_landed_in_a_run_that_died_is_known_to_have_landed_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (tables, instance) = six_bad(dir.path(), "");
    tables.source.run(&["UPDATE src SET v = 'good' WHERE id <> 4", "DELETE FROM src WHERE id = 4"]);
    instance.run_with(&["retry", "1"], "run.after_rows@1=kill-group");
    instance.wait_until_dead();
    // Nobody has looked since.
    let [a, b, c, e, f] = ["1", "2", "3", "5", "6"].map(|row| (row, "retried", false));
    assert_fates(&instance, &[a, b, c, ("4", "withdrawn", false), e, f]);
    instance.run(&RUN).expect(0);
    let landed = |row| (row, "landed", true);
    let wanted = [
        landed("1"),
        landed("2"),
        landed("3"),
        ("4", "withdrawn", false),
        landed("5"),
        landed("6"),
    ];
    assert_fates(&instance, &wanted);
}

#[test]
fn a_bad_row_without_a_state_that_is_gone_is_withdrawn_once_all_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (tables, instance) = six_bad(dir.path(), WITHOUT_STATES[1]);
    tables.source.run(&[
        "DELETE FROM src WHERE id IN (1, 2)",
        "UPDATE src SET v = 'good' WHERE id IN (3, 4)",
    ]);
    instance.run(&RUN).expect(1);
    let wanted = [
        ("1", "withdrawn", false),
        ("2", "withdrawn", false),
        ("3", "landed", true),
        ("4", "landed", true),
        ("5", "bad", false),
        ("5", "repeated", true),
        ("6", "bad", false),
        ("6", "repeated", true),
    ];
    assert_fates(&instance, &wanted);
}

/// A row that is mended gets a newer watermark, and the next run reads it.
#[test]
fn a_bad_row_of_an_increment_that_is_done_is_dealt_with_once_it_was_read_again_or_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let tables = orphans(dir.path());
    tables.source.run(&["ALTER TABLE src ADD ver INT DEFAULT 1", "UPDATE src SET ver = id + 1"]);
    let increment = "mode = \"increment\"\nwatermark = { column = \"ver\", lag = \"0\" }\n\
                     write = \"insert\"\ncolumns = [\"id\", \"v\"]\n";
    let instance = Instance::new(&tables.toml("error_limit = 5", increment));
    instance.run(&RUN).expect(1);
    assert_eq!(listed(&instance), ["id=15", "id=16", "id=27"]);
    tables.dest.run(&["INSERT INTO par VALUES (15)"]);
    tables
        .source
        .run(&["UPDATE src SET ver = 100 WHERE id IN (15, 27)", "DELETE FROM src WHERE id = 16"]);
    instance.run(&RUN).expect(1);
    let wanted = [
        ("15", "landed", true),
        ("16", "withdrawn", false),
        ("27", "repeated", true),
        ("27", "bad", false),
    ];
    let mut found = fates(&instance);
    found.sort();
    let mut wanted: Vec<_> =
        wanted.map(|(row, state, run)| (format!("id={row}"), state.to_owned(), run)).into();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(listed(&instance), ["id=27"]);
}
