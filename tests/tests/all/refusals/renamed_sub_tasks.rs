//! A sub-task that is called otherwise, or a task that has another number, keeps its records, its
//! pauses and what it remembers: it is known by its tables, not by what it is called.

use serde_json::Value;
use ssync_tests::ssync::{Instance, Outcome};

use super::Tables;

/// Two rows that the destination refuses, among ten.
fn with_bad_rows() -> (Tables, Instance, String) {
    let tables = Tables::on_mariadb(10);
    tables.dest.run(&["ALTER TABLE dst ADD CHECK (v <> 'bad')"]);
    tables.source.run(&["UPDATE src SET v = 'bad' WHERE id IN (3, 4)"]);
    let toml = tables.toml("error_limit = 5", "");
    let instance = Instance::new(&toml);
    run(&instance, 1, "t").expect(1);
    (tables, instance, toml)
}

fn run(instance: &Instance, task: u32, table: &str) -> Outcome {
    instance.run(&["--task", &task.to_string(), "--tables", table, "--json"])
}

fn named(toml: &str, name: &str) -> String {
    toml.replace("name = \"t\"", &format!("name = \"{name}\""))
}

/// Applied as operators do, without `--yes`: nothing goes.
#[track_caller]
fn apply(instance: &Instance, toml: &str) -> Outcome {
    let file = instance.scratch().join("renamed.toml");
    std::fs::write(&file, toml).unwrap();
    instance.run(&["apply", &file.display().to_string()]).expect(0)
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {outcome}"))
}

fn bad_rows(instance: &Instance, args: &[&str]) -> Vec<(String, String)> {
    let outcome = instance.run(&[&["errors", "--json"], args].concat()).expect(0);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = json(&outcome);
    let rows = rows["errors"].as_array().unwrap_or_else(|| panic!("{outcome}"));
    rows.iter().map(|row| (text(row, "table"), text(row, "state"))).collect()
}

fn pair(table: &str, state: &str) -> (String, String) {
    (table.to_owned(), state.to_owned())
}

#[test]
fn bad_rows_of_a_renamed_sub_task_are_found_and_retried_under_its_new_name() {
    let (tables, instance, toml) = with_bad_rows();
    let told = apply(&instance, &named(&toml, "bills"));
    assert!(
        told.stdout
            .contains("~ task[1].table[bills], which keeps its records and pauses: t → bills"),
        "{told}"
    );
    assert_eq!(bad_rows(&instance, &[]), [pair("bills", "bad"), pair("bills", "bad")]);
    tables.source.run(&["UPDATE src SET v = 'good' WHERE v = 'bad'"]);
    instance.run(&["retry", "1", "--tables", "bills"]).expect(0);
    assert_eq!(bad_rows(&instance, &[]), []);
    apply(&instance, &toml);
    assert_eq!(bad_rows(&instance, &["--all"]), [pair("t", "landed"), pair("t", "landed")]);
    tables.assert_same();
}

#[test]
fn a_run_that_is_resumed_under_another_name_is_one_run() {
    let tables = Tables::on_mariadb(100);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    instance.run_with(&["--task", "1"], "writer.after_commit@4=kill-group");
    instance.wait_until_dead();
    apply(&instance, &named(&toml, "bills"));
    run(&instance, 1, "bills").expect(0);
    let history = json(&instance.run(&["history", "--json"]).expect(0));
    let runs = history["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{history:#}");
    assert_eq!(runs[0]["table"], "bills");
    assert_eq!(runs[0]["counts"]["landed"], 100, "{history:#}");
    tables.assert_same();
}

/// What is held stays held, and nothing has to be removed for it.
#[test]
fn a_task_with_another_number_keeps_its_pauses_and_its_records() {
    let (tables, instance, toml) = with_bad_rows();
    instance.run(&["pause", "1", "t", "--reason", "audit"]).expect(0);
    let other = toml.replace("[[task]]\nid = 1", "[[task]]\nid = 12");
    let told = apply(&instance, &named(&other, "bills"));
    assert!(
        told.stdout.contains("~ task[12], which keeps its records and pauses: 1 → 12"),
        "{told}"
    );
    let outcome = run(&instance, 12, "bills").expect(130);
    assert!(outcome.stderr.contains("audit"), "{outcome}");
    assert_eq!(bad_rows(&instance, &["12"]), [pair("bills", "bad"), pair("bills", "bad")]);
    instance.run(&["pause", "12", "--reason", "all of it"]).expect(0);
    apply(&instance, &toml);
    assert_eq!(instance.store().holds(Some(1)).unwrap().len(), 2);
    instance.run(&["resume", "1"]).expect(0);
    instance.run(&["resume", "1", "t"]).expect(0);
    tables.source.run(&["UPDATE src SET v = 'good' WHERE v = 'bad'"]);
    instance.run(&["retry", "1"]).expect(0);
    tables.assert_same();
}

/// Each name goes to the other's tables, and the records go with them.
#[test]
fn sub_tasks_that_change_names_do_not_change_their_records() {
    let (tables, instance, toml) = with_bad_rows();
    tables.source.run(&["CREATE TABLE more LIKE src"]);
    tables.dest.run(&["CREATE TABLE more LIKE dst"]);
    let both = |one: &str, two: &str| {
        let two = format!(
            "[[task.table]]\nname = \"{two}\"\nsource = \"more\"\ndest = \"more\"\n\
             app_resets_status = true\n"
        );
        named(&toml, one) + &two
    };
    apply(&instance, &both("t", "u"));
    apply(&instance, &both("u", "t"));
    assert_eq!(bad_rows(&instance, &[]), [pair("u", "bad"), pair("u", "bad")]);
    // Whoever gets the name only does not get the records.
    apply(&instance, &both("w", "u"));
    assert_eq!(bad_rows(&instance, &[]), [pair("w", "bad"), pair("w", "bad")]);
}

/// No run will ever deal with them.
#[test]
fn bad_rows_of_a_task_that_was_removed_can_be_closed() {
    let (_tables, instance, toml) = with_bad_rows();
    let kept = toml
        .replace("[[task]]\nid = 1", "[[task]]\nid = 2")
        .replace("src\"\ndest = \"dst\"\napp", "more\"\ndest = \"dst\"\napp");
    instance.apply(&kept);
    let closed = |args: &[&str], code| instance.run(&[&["errors"], args].concat()).expect(code);
    closed(&["--close", "gone"], 2);
    closed(&["1", "--close", " "], 2);
    assert_eq!(bad_rows(&instance, &["1"]), [pair("t", "bad"), pair("t", "bad")]);
    let told = closed(&["1", "--tables", "t", "--close", "T-411: not needed"], 0);
    assert_eq!(told.stdout, "2 rows closed\n");
    assert_eq!(bad_rows(&instance, &["1"]), []);
    let told = closed(&["1", "--all"], 0);
    assert!(
        told.stdout.contains("closed by ") && told.stdout.contains(": T-411: not needed"),
        "{told}"
    );
    assert_eq!(closed(&["1", "--close", "again"], 0).stdout, "0 rows closed\n");
}

/// Where two change names, what was not held is not held afterwards, and what was stays so.
#[test]
fn a_pause_goes_with_its_sub_task_and_stays_one() {
    let (tables, instance, toml) = with_bad_rows();
    tables.source.run(&["CREATE TABLE more LIKE src"]);
    tables.dest.run(&["CREATE TABLE more LIKE dst"]);
    let second = |name: &str, table: &str| {
        format!(
            "[[task.table]]\nname = \"{name}\"\nsource = \"{table}\"\ndest = \"{table}\"\n\
             app_resets_status = true\n"
        )
    };
    let both = |one: &str, two: &str| named(&toml, one) + &second(two, "more");
    let held = || -> Vec<_> {
        let holds = instance.store().holds(None).unwrap();
        holds.into_iter().map(|hold| hold.table.unwrap_or_default()).collect()
    };
    apply(&instance, &both("t", "u"));
    instance.run(&["pause", "1", "t", "--reason", "audit"]).expect(0);
    apply(&instance, &both("u", "t"));
    assert_eq!(held(), ["u"]);
    apply(&instance, &both("t", "u"));
    assert_eq!(held(), ["t"]);
    // The name that is free again is another sub-task's, which nobody has paused.
    tables.source.run(&["CREATE TABLE third LIKE src"]);
    tables.dest.run(&["CREATE TABLE third LIKE dst"]);
    apply(&instance, &(both("w", "u") + &second("t", "third")));
    assert_eq!(held(), ["w"]);
    instance.run(&["pause", "1", "--reason", "all"]).expect(0);
    instance.apply("");
    assert_eq!(held(), [""; 0], "what is not configured is not held");
    assert!(!instance.run(&["brief"]).stdout.contains("audit"));
}

/// Its process goes by the name that it was started with.
#[test]
fn a_sub_task_that_is_under_way_is_not_renamed() {
    let tables = Tables::on_mariadb(100);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    let mut run = instance.start(&["--task", "1"], "writer.before_commit@3=pause");
    run.reached("writer.before_commit").expect("the third batch");
    let file = instance.scratch().join("renamed.toml");
    for renamed in [named(&toml, "bills"), toml.replace("[[task]]\nid = 1", "[[task]]\nid = 4")] {
        std::fs::write(&file, renamed).unwrap();
        let told = instance.run(&["apply", "--yes", &file.display().to_string()]);
        assert_ne!(told.code, Some(0), "{told}");
        assert!(told.stderr.contains("table t of task 1 is under way"), "{told}");
        assert!(told.stderr.contains("Nothing was changed"), "{told}");
    }
    instance.release("writer.before_commit");
    run.wait().expect(0);
    apply(&instance, &named(&toml, "bills"));
    tables.assert_same();
}

/// Its books count the rows until it has come to its end.
#[test]
fn bad_rows_of_a_run_that_goes_on_are_not_closed() {
    let tables = Tables::on_mariadb(60);
    tables.dest.run(&["ALTER TABLE dst ADD CHECK (v <> 'bad')"]);
    tables.source.run(&["UPDATE src SET v = 'bad' WHERE id IN (3, 4)"]);
    let instance = Instance::new(&tables.toml("error_limit = 5", ""));
    instance.run_with(&["--task", "1"], "writer.after_commit@4=kill-group");
    instance.wait_until_dead();
    assert_eq!(bad_rows(&instance, &["1"]).len(), 2);
    let told = instance.run(&["errors", "1", "--close", "gone"]).expect(1);
    assert!(told.stderr.contains("has not come to its end"), "{told}");
    assert_eq!(bad_rows(&instance, &["1"]).len(), 2);
    run(&instance, 1, "t").expect(1);
    instance.run(&["errors", "1", "--close", "gone"]).expect(0);
    assert_eq!(bad_rows(&instance, &["1"]), []);
}

/// No run of it settles anything any more.
#[test]
fn the_process_of_a_task_that_was_removed_worries_nobody() {
    let tables = Tables::on_mariadb(60);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    instance.run_with(&["--task", "1"], "writer.after_commit@2=kill-group");
    instance.wait_until_dead();
    let before = instance.run(&["health"]).stdout;
    assert!(before.contains("died"), "{before}");
    apply(&instance, &toml.replace("[[task]]\nid = 1", "[[task]]\nid = 9"));
    run(&instance, 9, "t").expect(0);
    let health = instance.run(&["health"]);
    assert_eq!(health.code, Some(0), "{health}");
}
