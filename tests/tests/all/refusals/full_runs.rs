//! A table that one sub-task empties and fills anew, and another one sends rows to: never at the same
//! time, and one after the other only where no row lands twice.

use super::{RUN, Tables, error_of};
use ssync_tests::servers::mariadb;
use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

const FULL: &str = "mode = \"full\"";
const INCREMENT: &str = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
const UPSERT: &str = "write = \"upsert\"";

/// The sub-task's mode, with what `status` needs beside it.
fn sends(mode: &str, write: &str) -> String {
    format!(
        "{}\n{write}",
        if mode.is_empty() { "mode = \"status\"\napp_resets_status = true" } else { mode }
    )
}

fn with_key(tables: &Tables) {
    tables.dest.run(&["ALTER TABLE dst ADD PRIMARY KEY (id)"]);
}

#[track_caller]
fn refused(outcome: &Outcome, words: &str) {
    let (kind, text) = error_of(outcome);
    assert!(kind == "Refused" && text.contains(words), "{words}: {outcome}");
}

/// A run of another mode that is in the middle of its rows; a `full` run from another home goes first.
/// How the other run ends.
fn overtaken(tables: &Tables, other: &Instance) -> Outcome {
    let mut running = other.start(&RUN, "writer.after_commit@3=pause");
    running.reached("writer.after_commit").unwrap_or_else(|| panic!("{}", other.logs()));
    Instance::new(&tables.toml("", FULL)).run(&RUN).expect(0);
    tables.assert_same();
    other.release("writer.after_commit");
    running.wait()
}

#[test]
fn a_condition_that_the_source_refuses_empties_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    for tables in [Tables::on_mariadb(100), Tables::between(file("s"), file("d"), 100)] {
        let instance = Instance::new(&tables.toml("", FULL));
        instance.run(&RUN).expect(0);
        instance.apply(&tables.toml("", &format!("{FULL}\nwhere = \"idd > 0\"")));
        let (kind, text) = error_of(&instance.run(&RUN).expect(2));
        assert!(kind == "Config" && text.contains("where") && text.contains("idd"), "{text}");
        tables.assert_same();
    }
}

#[test]
fn rows_that_are_under_way_do_not_land_in_a_table_that_a_full_run_fills() {
    for mode in ["", INCREMENT] {
        never_at_the_same_time(&Tables::on_mariadb(100), mode);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    never_at_the_same_time(&Tables::between(file("s"), file("d"), 100), "");
}

/// Where rows have no shared locks, the seats of the others are raised.
#[test]
fn rows_that_are_under_way_do_not_land_in_a_table_of_oracle_that_a_full_run_fills() {
    let account = oracle(Generation::Oracle19c).account("fullrun");
    let source = Site::on_server(mariadb(), "ref");
    never_at_the_same_time(&Tables::between(source, Site::of_account(&account), 100), "");
}

fn never_at_the_same_time(tables: &Tables, mode: &str) {
    let one_writer = |mode: &str, more: &str| {
        tables.toml("", &sends(mode, more)).replace("writers = 2", "writers = 1")
    };
    let other = Instance::new(&one_writer(mode, ""));
    let outcome = overtaken(tables, &other).expect(1);
    let (kind, text) = error_of(&outcome);
    assert!(kind == "Fenced" && text.contains("a full run into dst has begun"), "{outcome}");
    tables.assert_same();
    // Without a key at the destination nothing would hide rows that come twice.
    for _ in 0..2 {
        refused(&other.run(&RUN).expect(2), "a full run has filled dst");
        tables.assert_same();
    }
    let adopt = ["adopt", "--task", "1", "--tables", "t", "--new"];
    match mode {
        "" => tables.source.run(&["UPDATE src SET sync_status = 2"]),
        _ => other.apply(&tables.toml("", &sends(mode, "initial = \"99\""))),
    }
    other.run(&adopt).expect(0);
    tables.add(100..120);
    other.run(&RUN).expect(0);
    tables.assert_same();
    other.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn rows_that_may_come_twice_are_sent_again_after_a_full_run() {
    for mode in ["", INCREMENT] {
        let tables = Tables::on_mariadb(100);
        with_key(&tables);
        let other = Instance::new(&tables.toml("", &sends(mode, UPSERT)));
        overtaken(&tables, &other).expect(1);
        tables.add(100..120);
        let outcome = other.run(&RUN).expect(0);
        let notes = outcome.table("t")["notes"].to_string();
        assert!(notes.contains("a full run has filled dst since"), "{outcome}");
        tables.assert_same();
        let outcome = other.run(&RUN).expect(0);
        assert!(!outcome.table("t")["notes"].to_string().contains("full run"), "{outcome}");
        if mode.is_empty() {
            assert_eq!(tables.states(), [(2, 120)]);
        }
    }
}

/// What had landed and was not settled is released, not settled: the table was emptied.
#[test]
fn what_a_full_run_has_emptied_away_is_not_settled() {
    let tables = Tables::on_mariadb(100);
    with_key(&tables);
    let status = Instance::new(&tables.toml("", &sends("", UPSERT)));
    status.run_with(&RUN, "settler.before_settle@2=kill-group");
    status.wait_until_dead();
    // The full run leaves out what had landed.
    let full = tables.toml("", &format!("{FULL}\nwhere = \"id >= 50\""));
    Instance::new(&full).run(&RUN).expect(0);
    let done = tables.source.number("SELECT COUNT(*) FROM src WHERE sync_status = 2 AND id < 50");
    assert!(done < 50);
    status.run(&RUN).expect(0);
    assert_eq!(tables.landed(), 100 - done);
}

#[test]
fn a_first_run_does_not_send_what_a_full_run_has_sent() {
    let tables = Tables::on_mariadb(100);
    Instance::new(&tables.toml("", FULL)).run(&RUN).expect(0);
    let status = Instance::new(&tables.toml("", &sends("", "")));
    refused(&status.run(&RUN).expect(2), "a full run has filled dst");
    tables.assert_same();
    // Where all of them are shown as done, nothing has to be decided.
    tables.source.run(&["UPDATE src SET sync_status = 2"]);
    status.run(&RUN).expect(0);
    tables.add(100..110);
    status.run(&RUN).expect(0);
    tables.assert_same();
    // Emptied, it takes everything.
    Instance::new(&tables.toml("", FULL)).run(&RUN).expect(0);
    tables.dest.run(&["DELETE FROM dst"]);
    tables.source.run(&["UPDATE src SET sync_status = 0"]);
    status.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn an_increment_into_an_emptied_table_begins_anew_and_stays_so_when_it_is_resumed() {
    for initial in ["", "initial = \"50\""] {
        begins_anew_and_stays_so(&sends(INCREMENT, initial));
    }
}

fn begins_anew_and_stays_so(mode: &str) {
    let tables = Tables::on_mariadb(100);
    let increment = Instance::new(&tables.toml("", mode));
    increment.run(&RUN).expect(0);
    Instance::new(&tables.toml("", FULL)).run(&RUN).expect(0);
    tables.dest.run(&["DELETE FROM dst"]);
    let outcome = increment.run(&RUN);
    assert_ne!(outcome.code, Some(0), "{outcome}");
    tables.add(100..120);
    let restart = ["--task", "1", "--json", "--restart"];
    increment.run_with(&restart, "writer.after_commit@3=kill-group");
    increment.wait_until_dead();
    increment.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn of_two_that_begin_at_once_the_later_one_sees_the_other() {
    let tables = Tables::on_mariadb(100);
    let status = Instance::new(&tables.toml("", &sends("", "")));
    let full = Instance::new(&tables.toml("", FULL));
    // The fence is taken, and a full run is at work before that has been looked for.
    let mut first = status.start(&RUN, "run.before_full_looked_for@1=pause");
    first.reached("run.before_full_looked_for").unwrap_or_else(|| panic!("{}", status.logs()));
    let mut filling = full.start(&RUN, "run.after_rows@1=pause");
    filling.reached("run.after_rows").unwrap_or_else(|| panic!("{}", full.logs()));
    status.release("run.before_full_looked_for");
    refused(&first.wait(), "is open");
    full.release("run.after_rows");
    filling.wait().expect(0);
    tables.assert_same();
    // The full run is open, and has barred nobody yet.
    let full = Instance::new(&tables.toml("", FULL));
    let mut filling = full.start(&RUN, "run.before_bar@1=pause");
    filling.reached("run.before_bar").unwrap_or_else(|| panic!("{}", full.logs()));
    refused(&status.run(&RUN), "is open");
    full.release("run.before_bar");
    filling.wait().expect(0);
    tables.assert_same();
}

/// A `full` table is not read from a state of the source that is older than rows it empties away.
#[test]
fn what_is_emptied_away_is_in_the_state_that_is_read() {
    let tables = Tables::on_mariadb(100);
    tables.source.run(&["CREATE TABLE usrc (id BIGINT NOT NULL PRIMARY KEY)"]);
    tables.dest.run(&["CREATE TABLE udst (id BIGINT NOT NULL PRIMARY KEY)"]);
    let status = Instance::new(&tables.toml("", &sends("", "")));
    status.run(&RUN).expect(0);
    let first = "[[task.table]]\nname = \"u\"\nsource = \"usrc\"\ndest = \"udst\"\nmode = \"full\"\n\
                 [[task.table]]\nname = \"t\"";
    let both = tables.toml("", FULL).replace("[[task.table]]\nname = \"t\"", first);
    let full = Instance::new(&both);
    let mut filling = full.start(&RUN, "run.before_finish@1=pause");
    filling.reached("run.before_finish").unwrap_or_else(|| panic!("{}", full.logs()));
    tables.add(100..120);
    status.run(&RUN).expect(0);
    full.release("run.before_finish");
    let outcome = filling.wait().expect(0);
    tables.assert_same();
    let notes = outcome.table("t")["notes"].to_string();
    assert!(notes.contains("a later state of the source"), "{outcome}");
}

/// By the configuration alone, and by what only the catalog knows.
#[test]
fn a_full_sub_task_and_one_that_inserts_are_refused_into_one_table() {
    use ssync_common::config::Config;
    let tables = Tables::on_mariadb(10);
    with_key(&tables);
    let Site::MySql { database, .. } = &tables.dest else { unreachable!() };
    let both = |dest: &str, write: &str| {
        let second = format!(
            "[[task.table]]\nname = \"u\"\nsource = \"src\"\ndest = \"{dest}\"\n{}\n",
            sends("", write)
        );
        tables.toml("", FULL) + &second
    };
    let violations = Config::from_toml(&both("dst", "")).unwrap_err();
    assert!(format!("{violations:?}").contains("one is full and one inserts"), "{violations:?}");
    Config::from_toml(&both("dst", UPSERT)).unwrap();
    let qualified = format!("{database}.dst");
    let instance = Instance::new(&both(&qualified, ""));
    let checked = instance.run(&["check"]).expect(2);
    assert!(checked.stdout.contains("table t empties the same destination"), "{checked}");
    instance.apply(&both(&qualified, UPSERT));
    instance.run(&["check"]).expect(0);
}

/// Two `full` sub-tasks of one destination that neither a link's name nor a spelling shows to be one.
#[test]
fn a_full_run_does_not_empty_what_another_sub_task_fills() {
    let tables = Tables::on_mariadb(100);
    let other = Tables::on_mariadb(50);
    tables.dest.run(&["CREATE TABLE other_dst LIKE dst"]);
    let link = |text: &str| text.replace("127.0.0.1", "localhost");
    let two = |task: &str, dest: &str| {
        format!(
            "{}{}[[task]]\nid = 2\nsource = \"src2\"\ndest = \"dst2\"\n{task}\n[[task.table]]\n\
             name = \"t\"\nsource = \"src\"\ndest = \"{dest}\"\n{FULL}\n",
            other.source.link("src2"),
            link(&tables.dest.link("dst2"))
        )
    };
    let one = tables.toml("", FULL);
    let instance = Instance::new(&(one.clone() + &two("", "dst")));
    let run_2 = ["--task", "2", "--json"];
    instance.run(&RUN).expect(0);
    for _ in 0..2 {
        refused(&instance.run(&run_2).expect(2), "another full sub-task fills dst");
        tables.assert_same();
    }
    instance.run(&RUN).expect(0);
    // On the operator's word the other one takes it over; the first one is refused then.
    instance.run(&["--task", "2", "--json", "--restart"]).expect(0);
    assert_eq!(tables.landed(), 50);
    refused(&instance.run(&RUN).expect(2), "task 2, table t of this installation");
    assert_eq!(tables.landed(), 50);
    // Once the configuration shows that it fills another table, or none, nobody has to be asked.
    instance.apply(&(one.clone() + &two("", "other_dst")));
    instance.run(&RUN).expect(0);
    tables.assert_same();
    instance.apply(&one);
    instance.run(&RUN).expect(0);
    // A corrected source is one of the same sub-task.
    let corrected = one.replace(&tables.source.link("src"), &other.source.link("src"));
    assert_ne!(corrected, one);
    instance.apply(&corrected);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.landed(), 50);
    // Another home with the same rows is no other sub-task, with other rows it is.
    Instance::new(&corrected).run(&RUN).expect(0);
    let elsewhere = Instance::new(&one);
    refused(&elsewhere.run(&RUN).expect(2), "of another installation");
    elsewhere.run(&["adopt", "--task", "1", "--tables", "t", "--new"]).expect(0);
    elsewhere.run(&RUN).expect(0);
    tables.assert_same();
}

/// Nobody but an operator knows that it is the same table, and no other one that is sent there.
#[test]
fn a_full_run_from_another_home_after_the_source_was_renamed_is_told_what_differs() {
    let tables = Tables::on_mariadb(30);
    let toml = tables.toml("", FULL);
    let homes = [Instance::new(&toml), Instance::new(&toml)];
    homes[0].run(&RUN).expect(0);
    tables.source.run(&["ALTER TABLE src RENAME TO orders"]);
    let renamed = toml.replace(
        "source = \"src\"\ndest = \"dst\"\nmode",
        "source = \"orders\"\ndest = \"dst\"\nmode",
    );
    assert_ne!(renamed, toml);
    homes.iter().for_each(|home| home.apply(&renamed));
    let outcome = homes[1].run(&RUN).expect(2);
    for words in ["of another installation", "differs in the source's table", "another home"] {
        refused(&outcome, words);
    }
    assert_eq!(tables.landed(), 30);
    homes[1].run(&["--task", "1", "--json", "--restart"]).expect(0);
    // The other home is the same sub-task again.
    homes[0].run(&RUN).expect(0);
    assert_eq!(tables.landed(), 30);
}

/// Records of former versions do not say which `full` run they have seen: what has landed later than
/// it tells.
#[test]
fn records_of_former_versions_go_on_where_they_came_after_the_full_run() {
    let tables = Tables::on_mariadb(100);
    let status = Instance::new(&tables.toml("", &sends("", "")));
    Instance::new(&tables.toml("", FULL)).run(&RUN).expect(0);
    tables.source.run(&["UPDATE src SET sync_status = 2"]);
    status.run(&RUN).expect(0);
    tables.add(100..110);
    status.run(&RUN).expect(0);
    let as_before = |sql: &str| {
        tables.dest.run(&[
            "ALTER TABLE SSYNC_FENCE DROP COLUMN dest, DROP COLUMN full_run, DROP COLUMN filler",
            sql,
        ]);
    };
    // Runs of status are counted, others are not.
    let later = |sign: &str, secs: u32| {
        format!(
            "UPDATE SSYNC_LEDGER l JOIN SSYNC_FENCE f ON f.id = l.fence_id \
             SET landed_at = landed_at + {secs} WHERE f.counter {sign} 0"
        )
    };
    tables.add(110..120);
    as_before(&later(">", 100));
    status.run(&RUN).expect(0);
    tables.assert_same();
    tables.add(120..130);
    as_before(&later("=", 1000));
    refused(&status.run(&RUN).expect(2), "a full run has filled dst");
}

/// A `full` run that was broken off, of a sub-task that is gone since: nothing resumes it.
#[test]
fn a_full_run_that_nothing_resumes_is_ended_by_the_decision_that_its_hint_names() {
    for (mode, decision) in [("", "--as-is"), ("", "--new"), (INCREMENT, "--as-is")] {
        let dir = tempfile::tempdir().unwrap();
        let file = |side: &str| Site::in_file(dir.path(), side);
        let tables = Tables::between(file("s"), file("d"), 60);
        let full = tables.toml("", FULL).replace("id = 1", "id = 2");
        let instance = Instance::new(&full.replace("name = \"t\"", "name = \"x\""));
        instance.run_with(&["--task", "2"], "writer.after_commit@2=kill-group");
        instance.wait_until_dead();
        instance.apply(&tables.toml("", &sends(mode, "")));
        let barred = instance.run(&RUN).expect(2);
        refused(&barred, "is open");
        refused(&barred, "task 2, table x of this installation");
        refused(&barred, "ssync adopt 1 --tables t --as-is or --new ends it");
        let looked = instance.run(&["adopt", "1"]).expect(0);
        assert!(looked.stdout.contains("barred by        an open full run of task 2"), "{looked}");
        // What it has left is for a person to judge.
        tables.dest.run(&["DELETE FROM dst"]);
        let decided = instance.run(&["adopt", "1", "--tables", "t", decision]).expect(0);
        assert!(decided.stdout.contains("which nothing resumes, is over"), "{decided}");
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

#[test]
fn a_decision_about_a_table_that_a_full_run_may_still_fill_waits_for_that_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = |side: &str| Site::in_file(dir.path(), side);
    let tables = Tables::between(file("s"), file("d"), 60);
    tables.dest.run(&[
        "DROP TABLE dst",
        "CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300))",
    ]);
    let filling = format!(
        "[[task]]\nid = 2\nsource = \"src\"\ndest = \"dst\"\nbatch_rows = 10\nwriters = 1\n\
         [[task.table]]\nname = \"x\"\nsource = \"src\"\ndest = \"dst\"\n{FULL}\n"
    );
    let instance = Instance::new(&(tables.toml("", &sends("", UPSERT)) + &filling));
    instance.run_with(&["--task", "2"], "writer.after_commit@2=kill-group");
    instance.wait_until_dead();
    for decision in ["--as-is", "--new"] {
        let waits = instance.run(&["adopt", "1", "--tables", "t", decision]).expect(2);
        let hint = "Let it come to its end: ssync --task 2 --tables x.";
        assert!(waits.stderr.contains(hint), "{waits}");
    }
    instance.run(&["--task", "2", "--tables", "x"]).expect(0);
    instance.run(&["adopt", "1", "--tables", "t", "--as-is"]).expect(0);
    instance.run(&RUN).expect(0);
    tables.assert_same();
    // Of another installation nobody here knows whether it is gone: the table is filled once from here.
    let other = Instance::new(&tables.toml("", FULL));
    other.run_with(&["--task", "1"], "writer.after_commit@2=kill-group");
    other.wait_until_dead();
    let barred = instance.run(&["adopt", "1", "--tables", "t", "--as-is"]).expect(2);
    assert!(barred.stderr.contains("of another installation"), "{barred}");
    assert!(barred.stderr.contains("ssync --task 1 --tables t --restart"), "{barred}");
    instance.apply(&tables.toml("", FULL));
    instance.run(&["--task", "1", "--tables", "t", "--restart"]).expect(0);
    instance.apply(&tables.toml("", &sends("", UPSERT)));
    instance.run(&["adopt", "1", "--tables", "t", "--new"]).expect(0);
    tables.add(60..70);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}
