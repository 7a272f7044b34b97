//! A `full` run counts its destination before it says that it is done.

use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};

const RUN: [&str; 3] = ["--task", "1", "--json"];
const ROWS: i64 = 400;

struct Tables {
    source: Site,
    dest: Site,
}

impl Tables {
    fn new(source: Site, dest: Site) -> Tables {
        let columns = "id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40)";
        source.run(&[format!("CREATE TABLE src ({columns})")]);
        dest.run(&[format!("CREATE TABLE dst ({columns})")]);
        let rows: Vec<Row> = (0..ROWS).map(|id| vec![Cell::Int(id), Cell::Int(id)]).collect();
        source.insert("src", &["id", "v"], &rows);
        Tables { source, dest }
    }

    fn everywhere(dir: &std::path::Path) -> [Tables; 3] {
        let on = |server, name| Site::on_server(server, name);
        [
            Tables::new(on(mariadb(), "cnt"), on(mariadb(), "cnt")),
            Tables::new(on(mysql56(), "cnt"), on(mysql56(), "cnt")),
            Tables::new(Site::in_file(dir, "s"), Site::in_file(dir, "d")),
        ]
    }

    fn toml(&self, table: &str) -> String {
        format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n\
             batch_rows = 10\nslot_bytes = 65536\n[[task.table]]\nname = \"t\"\n\
             source = \"src\"\ndest = \"dst\"\nmode = \"full\"\n{table}\n",
            self.source.link("src"),
            self.dest.link("dst")
        )
    }

    #[track_caller]
    fn assert_same(&self, when: &dyn std::fmt::Display) {
        let holds = [Holds::Int, Holds::Text];
        let source = self.source.rows("SELECT id, v FROM src", &holds);
        let dest = self.dest.rows("SELECT id, v FROM dst", &holds);
        assert_eq!(differences(&source, &dest), Vec::<String>::new(), "{when}");
    }
}

#[track_caller]
fn missed(outcome: Outcome, there: i64, landed: i64) {
    let outcome = outcome.expect(1);
    let error = &outcome.table("t")["error"];
    assert_eq!(error["kind"], "Balance", "{outcome}");
    let said = format!("{there} rows, and {landed} had landed");
    assert!(error["message"].as_str().unwrap().contains(&said), "{said}: {outcome}");
    assert!(error["hint"].as_str().unwrap().contains("--restart"), "{outcome}");
}

#[test]
fn a_destination_that_was_emptied_while_a_run_was_broken_off_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for tables in Tables::everywhere(dir.path()) {
        for table in ["", "full = \"swap\"", "write = \"upsert\""] {
            let instance = Instance::new(&tables.toml(table));
            instance.run_with(&RUN, "writer.after_commit@20=kill-group");
            instance.wait_until_dead();
            let loaded = if table.contains("swap") { "dst__ssync_new" } else { "dst" };
            let landed = tables.dest.number(&format!("SELECT COUNT(*) FROM {loaded}"));
            assert!((200..ROWS).contains(&landed), "{landed}");
            tables.dest.run(&[format!("DELETE FROM {loaded} WHERE id < 50")]);
            for _ in 0..2 {
                missed(instance.run(&RUN), landed - 50, landed);
            }
            let outcome = instance.run(&["--task", "1", "--json", "--restart"]).expect(0);
            tables.assert_same(&outcome);
        }
    }
}

/// All rows were there and counted, and in their place.
#[test]
fn a_destination_that_was_emptied_before_a_run_comes_to_its_end_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for tables in Tables::everywhere(dir.path()) {
        for table in ["", "full = \"swap\""] {
            let instance = Instance::new(&tables.toml(table));
            instance.run_with(&RUN, "run.before_finish@1=kill-group");
            instance.wait_until_dead();
            assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), ROWS);
            tables.dest.run(&["DELETE FROM dst"]);
            for _ in 0..2 {
                missed(instance.run(&RUN), 0, ROWS);
            }
            let outcome = instance.run(&["--task", "1", "--json", "--restart"]).expect(0);
            tables.assert_same(&outcome);
        }
    }
}

/// While it runs, and after its last row: before SQL that runs after it, and before a swap.
/// As after the ledger was restored to an older state, and the table that is loaded was not.
#[test]
fn rows_that_the_ledger_does_not_know_keep_a_table_from_being_swapped() {
    let dir = tempfile::tempdir().unwrap();
    for tables in Tables::everywhere(dir.path()) {
        let instance = Instance::new(&tables.toml("full = \"swap\""));
        instance.run_with(&RUN, "writer.after_commit@20=kill-group");
        instance.wait_until_dead();
        tables.dest.run(&["INSERT INTO dst__ssync_new SELECT id + 5000, v FROM dst__ssync_new"]);
        let refused = instance.run(&RUN).expect(1);
        let error = &refused.table("t")["error"];
        assert_eq!(error["kind"], "Balance", "{refused}");
        assert!(error["hint"].as_str().unwrap().contains("--restart"), "{refused}");
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), 0);
        instance.run(&["--task", "1", "--json", "--restart"]).expect(0);
        tables.assert_same(&"loaded anew");
    }
}

#[test]
fn rows_that_are_removed_while_a_run_is_at_work_are_missed_before_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    for tables in Tables::everywhere(dir.path()) {
        tables.dest.run(&["CREATE TABLE final (id BIGINT, v VARCHAR(40))"]);
        for table in ["", "full = \"swap\"", "write = \"upsert\"", "write = \"ignore\""] {
            let after = "after = { dest = [\"INSERT INTO final SELECT * FROM dst\"] }";
            let instance = Instance::new(&tables.toml(&format!("{table}\n{after}")));
            let mut running = instance.start(&RUN, "run.after_rows@1=pause");
            running.reached("run.after_rows").unwrap_or_else(|| panic!("{}", instance.logs()));
            let loaded = if table.contains("swap") { "dst__ssync_new" } else { "dst" };
            tables.dest.run(&[format!("DELETE FROM {loaded} WHERE id = 7")]);
            instance.release("run.after_rows");
            missed(running.wait(), ROWS - 1, ROWS);
            assert_eq!(tables.dest.number("SELECT COUNT(*) FROM final"), 0, "{table}");
        }
    }
}

#[test]
fn further_rows_are_a_note_and_counting_can_be_turned_off() {
    let tables = Tables::new(Site::on_server(mariadb(), "cnt"), Site::on_server(mariadb(), "cnt"));
    let changed_by = |table: &str, sql: &str| {
        let instance = Instance::new(&tables.toml(table));
        let mut running = instance.start(&RUN, "run.after_rows@1=pause");
        running.reached("run.after_rows").unwrap();
        tables.dest.run(&[sql]);
        instance.release("run.after_rows");
        running.wait().expect(0)
    };
    let outcome = changed_by("", "INSERT INTO dst VALUES (-1, 'another')");
    let notes = outcome.table("t")["notes"].to_string();
    assert!(notes.contains("401 rows, and 400 had landed"), "{outcome}");
    changed_by("count = false", "DELETE FROM dst WHERE id < 100");
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), 300);
}

/// Rows that are skipped, or meet the key of another, are none that are missing.
#[test]
fn rows_that_share_a_key_are_not_missed() {
    let tables = Tables::new(Site::on_server(mariadb(), "cnt"), Site::on_server(mariadb(), "cnt"));
    tables.source.run(&[
        "ALTER TABLE src ADD k VARCHAR(10) COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT ''",
        "UPDATE src SET k = IF(id % 2, CONCAT('k', id - 1, ' '), CONCAT('k', id))",
        "ALTER TABLE src DROP PRIMARY KEY, ADD PRIMARY KEY (k)",
    ]);
    tables.dest.run(&[
        "ALTER TABLE dst ADD k VARCHAR(10) COLLATE utf8mb4_bin NOT NULL, DROP PRIMARY KEY, \
         ADD PRIMARY KEY (k)",
    ]);
    for (write, note) in [("ignore", false), ("upsert", true)] {
        let table = format!("write = \"{write}\"\nallow_lossy = [\"k\"]");
        let outcome = Instance::new(&tables.toml(&table)).run(&RUN).expect(0);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), ROWS / 2, "{outcome}");
        let notes = outcome.table("t")["notes"].to_string();
        assert_eq!(notes.contains("rows that shared a key"), note, "{outcome}");
    }
}

/// SQL that follows may do anything with the rows: what it takes away is not missed when the run is
/// resumed behind it, nor loaded again.
#[test]
fn what_sql_after_a_run_takes_away_is_not_missed() {
    for point in ["steps.statement@1", "steps.after@1", "steps.after@2", "run.before_finish@1"] {
        let tables =
            Tables::new(Site::on_server(mariadb(), "cnt"), Site::on_server(mariadb(), "cnt"));
        tables.dest.run(&["CREATE TABLE final (id BIGINT PRIMARY KEY, v VARCHAR(40))"]);
        let after = "after = { dest = [\"REPLACE INTO final SELECT * FROM dst\", \
                     \"TRUNCATE TABLE dst\"] }";
        let instance = Instance::new(&tables.toml(after));
        // The first statement of all empties the destination.
        let outcome = instance.run_with(&RUN, &format!("{point}=kill-group"));
        assert_eq!(outcome.signal, Some(9), "{point}: {outcome}");
        instance.wait_until_dead();
        let outcome = instance.run(&RUN).expect(0);
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM final"), ROWS, "{point}: {outcome}");
        assert_eq!(tables.dest.number("SELECT COUNT(*) FROM dst"), 0, "{point}: {outcome}");
    }
}

/// Two sub-tasks that empty one table: by its name, and by what only the catalog knows.
#[test]
fn two_full_sub_tasks_never_fill_one_destination() {
    use ssync_common::config::Config;
    let tables = Tables::new(Site::on_server(mariadb(), "cnt"), Site::on_server(mariadb(), "cnt"));
    let Site::MySql { database, .. } = &tables.dest else { unreachable!() };
    let second = |dest: &str| {
        format!(
            "[[task.table]]\nname = \"u\"\nsource = \"src\"\ndest = \"{dest}\"\nmode = \"full\"\n"
        )
    };
    let elsewhere = |dest: &str| {
        let link = tables.dest.link("other");
        format!("{link}[[task]]\nid = 2\nsource = \"src\"\ndest = \"other\"\n{}", second(dest))
    };
    for more in [second("dst"), elsewhere("dst")] {
        let violations = Config::from_toml(&(tables.toml("") + &more)).unwrap_err();
        let said = format!("{violations:?}");
        assert!(said.contains("each full run empties it first"), "{said}");
    }
    // Qualified, it is the same table all the same.
    let qualified = format!("{database}.dst");
    for more in [second(&qualified), elsewhere(&qualified)] {
        let instance = Instance::new(&(tables.toml("") + &more));
        let checked = instance.run(&["check"]).expect(2);
        assert!(checked.stdout.contains("empties the same destination"), "{checked}");
    }
    let instance = Instance::new(&(tables.toml("") + &second(&qualified)));
    let outcome = instance.run(&RUN);
    assert_ne!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.table("u")["error"]["kind"], "Refused", "{outcome}");
    tables.assert_same(&outcome);
}
