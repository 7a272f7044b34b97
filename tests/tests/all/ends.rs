//! How a run ends, and what is told because of it: once, whatever dies in between.

use jiff::Timestamp;
use serde_json::{Value, json};
use ssync_common::event::{Event, TableOutcome, What, events_between};
use ssync_tests::listeners::closed_port;
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::{Instance, Outcome};
use ssync_tests::wait_for;

use crate::events::Shop;
use crate::truth::{house, json_of};

/// Everything that was told of table `bad`, and how its end was recorded in the reminder log.
fn told(shop: &Shop) -> (Vec<What>, Vec<TableOutcome>) {
    let whats = shop.events().iter().map(|event| event.what).collect();
    (whats, shop.tables().iter().map(|table| table.result).collect())
}

/// Of [`Shop`].
const RUN: [&str; 4] = ["--task", "7", "--tables", "bad"];
/// Of [`house`].
const RUN_HOUSE: [&str; 3] = ["--task", "1", "--json"];
const INCREMENT: &str = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
const TOO_LONG: &str = "much longer than the twenty characters";

/// Runs table `bad` until it is killed there.
fn killed(shop: &Shop, failpoint: &str) -> Outcome {
    let outcome = shop.instance.run_with(&RUN, failpoint);
    assert!(outcome.signal.is_some(), "{outcome}");
    shop.instance.wait_until_dead();
    outcome
}

/// Between the record of the end and the first thing that is told, between two of these, and before
/// it is recorded that all was told.
const POINTS: [&str; 4] =
    ["run.before_unlock", "telling.after_reminder", "telling.after_event", "run.after_telling"];

#[test]
fn the_failure_of_a_real_time_task_is_told_and_suspends_it_whatever_kills_it_then() {
    let all = (vec![What::TaskFailed, What::TaskSuspended], vec![TableOutcome::Failed]);
    for point in POINTS {
        let shop = Shop::new("schedule = 1", "");
        killed(&shop, &format!("{point}@*=kill"));
        // Whoever comes next, and whoever comes then.
        for _ in 0..2 {
            shop.instance.run(&["history"]).expect(0);
            assert_eq!(told(&shop), all, "{point}");
        }
        shop.instance.run(&RUN).expect(130);
        assert_eq!(told(&shop), all, "{point}");
    }
}

#[test]
fn bad_rows_are_told_once_whatever_kills_the_run_then() {
    let all = (vec![What::RowsBad], vec![TableOutcome::DoneWithErrors]);
    for point in POINTS {
        let shop = Shop::new("error_limit = 5", "");
        killed(&shop, &format!("{point}@*=kill"));
        for _ in 0..2 {
            shop.instance.run(&["history"]).expect(0);
            assert_eq!(told(&shop), all, "{point}");
        }
        // Nothing is left of it for the next run to tell.
        shop.instance.run(&RUN).expect(0);
        assert_eq!(told(&shop).0, all.0, "{point}");
    }
}

#[test]
fn a_daemon_tells_and_holds_what_its_task_could_not() {
    let shop = Shop::new("schedule = 1", "");
    let daemon = shop.instance.start(&["daemon"], "run.before_unlock@*=kill");
    wait_for("the daemon", || shop.instance.run(&["reload"]).code == Some(0));
    shop.instance.run(&["run", "7", "--tables", "bad", "--wait"]).expect(1);
    let events = || told(&shop).0;
    let is_told = |what| move |told: Vec<What>| told.iter().filter(|w| **w == what).count() == 1;
    wait_for("the failure to be told", || is_told(What::TaskFailed)(events()));
    wait_for("the suspension", || is_told(What::TaskSuspended)(events()));
    shop.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    let whats = events();
    for what in [What::TaskDied, What::TaskFailed, What::TaskSuspended] {
        assert_eq!(whats.iter().filter(|w| **w == what).count(), 1, "{what:?}: {whats:?}");
    }
    shop.instance.run(&RUN).expect(130);
}

/// Rows of these ids, as they are to be.
fn set(source: &Site, ids: &str, v: &str) {
    source.run(&[format!("UPDATE src SET v = '{v}' WHERE id IN ({ids})")]);
}

#[test]
fn rows_of_a_run_without_states_are_unknown_until_it_goes_on_or_ends() {
    for mode in ["mode = \"full\"", INCREMENT] {
        let dir = tempfile::tempdir().unwrap();
        let (_, instance) = house(dir.path(), 200, "", "", mode);
        instance.run_with(&RUN_HOUSE, "writer.after_commit@5=kill-group");
        instance.wait_until_dead();
        let told = || {
            let show = json_of(&instance, &["show", "1"]);
            [
                json_of(&instance, &["history"])["runs"][0]["counts"].take(),
                show["tables"][0]["last_run"]["counts"].clone(),
                json_of(&instance, &["status"])["tables"][0]["last_run"]["counts"].take(),
            ]
        };
        for counts in told() {
            for count in ["claimed", "read", "landed", "settled"] {
                assert_eq!(counts[count], Value::Null, "{mode}, {count}: {counts}");
            }
            assert_eq!(counts["failed"], 0, "{mode}");
        }
        let history = instance.run(&["history"]).expect(0).stdout;
        assert!(history.contains("interrupted  unknown"), "{history}");
        let chart = instance.run(&["history", "--chart"]).expect(0).stdout;
        assert!(chart.contains("unknown"), "{chart}");
        let show = instance.run(&["show", "1"]).expect(0).stdout;
        assert!(show.contains("how many have landed is unknown"), "{show}");
        instance.run(&RUN_HOUSE).expect(0);
        for counts in told() {
            assert_eq!(counts["landed"], 200, "{mode}: {counts}");
        }
    }
}

fn events_of(instance: &Instance) -> Vec<Event> {
    events_between(&instance.home(), Timestamp::UNIX_EPOCH, Timestamp::MAX).unwrap()
}

#[test]
fn a_death_is_told_with_the_run_that_history_names() {
    for (point, state) in
        [("writer.after_commit@5=kill-group", "done"), ("run.after_lock@*=kill", "abandoned")]
    {
        let dir = tempfile::tempdir().unwrap();
        let (_, instance) = house(dir.path(), 200, "", "", "");
        let daemon = instance.start(&["daemon"], point);
        wait_for("the daemon", || instance.run(&["reload"]).code == Some(0));
        instance.run(&["run", "1", "--wait"]).expect(1);
        let died = events_of(&instance).into_iter().find(|e| e.what == What::TaskDied).unwrap();
        instance.run(&["run", "1", "--wait"]).expect(0);
        let history = json_of(&instance, &["history"]);
        let runs = history["runs"].as_array().unwrap();
        let named = runs.iter().find(|run| run["id"] == json!(died.run)).expect(point);
        assert_eq!(named["state"], state, "{point}");
        instance.run(&["stop"]).expect(0);
        daemon.wait().expect(0);
    }
}

#[test]
fn a_row_that_waits_for_its_parent_is_named_with_the_parent() {
    let dir = tempfile::tempdir().unwrap();
    let (dest, instance) = house(dir.path(), 10, "", "", "");
    dest.run(&[
        "CREATE TABLE par (v VARCHAR(20) NOT NULL PRIMARY KEY)",
        "INSERT INTO par VALUES ('v')",
        "DROP TABLE dst",
        "CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(20) NOT NULL REFERENCES par (v))",
    ]);
    let source = Site::in_file(dir.path(), "src");
    set(&source, "3", "nobody");
    let run = instance.run(&["--task", "1"]).expect(1);
    for part in ["1 row waits for its parent", "row id=3 waits for its parent in par: "] {
        assert!(run.stdout.contains(part), "{part}: {run}");
    }
    // Of many, some, and how many more.
    set(&source, "2, 4, 5, 6", "nobody");
    source.run(&["UPDATE src SET sync_status = 0"]);
    dest.run(&["DELETE FROM dst"]);
    let run = instance.run(&RUN_HOUSE).expect(1);
    let notes = run.table("t")["notes"].to_string();
    for part in ["row id=2 waits", "row id=4 waits", "and 2 more wait for their parents"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    dest.run(&["INSERT INTO par VALUES ('nobody')"]);
    instance.run(&RUN_HOUSE).expect(0);
}

#[test]
fn error_limit_counts_the_bad_rows_of_one_attempt_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 100, "", "error_limit = 2", "");
    let source = Site::in_file(dir.path(), "src");
    set(&source, "1, 2", TOO_LONG);
    instance.run_with(&RUN_HOUSE, "run.after_rows@1=kill-group");
    instance.wait_until_dead();
    let add = |ids: std::ops::Range<i64>| {
        let rows: Vec<Row> =
            ids.map(|id| vec![Cell::Int(id), Cell::Text(TOO_LONG.into())]).collect();
        source.insert("src", &["id", "v"], &rows);
    };
    add(200..202);
    let second = instance.run(&RUN_HOUSE).expect(1);
    assert_eq!(second.table("t")["result"], "done_with_errors", "{second}");
    assert_eq!(second.table("t")["run_totals"]["failed"], 4, "{second}");
    add(300..303);
    let third = instance.run(&RUN_HOUSE).expect(1);
    assert_eq!(third.table("t")["result"], "failed", "{third}");
    let error = third.table("t")["error"].to_string();
    assert!(error.contains("3 bad rows, 2 allowed"), "{error}");
    assert!(error.contains("error_limit counts the bad rows of one attempt"), "{error}");
}

#[test]
fn a_bad_row_that_where_excludes_is_not_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "error_limit = 5", "where = \"v <> 'not this'\"");
    let source = Site::in_file(dir.path(), "src");
    set(&source, "3, 4", TOO_LONG);
    instance.run(&RUN_HOUSE).expect(1);
    set(&source, "3", "corrected");
    set(&source, "4", "not this");
    let retried = instance.run(&["retry", "1"]).expect(0);
    let left = "1 bad row is left as it is, since where excludes it: no run would send it";
    assert!(
        retried.stderr.contains("1 rows set back") && retried.stderr.contains(left),
        "{retried}"
    );
    assert_eq!(source.number("SELECT sync_status FROM src WHERE id = 4"), 3);
    let errors = json_of(&instance, &["errors", "--all"]);
    let told = errors["errors"].as_array().unwrap().iter();
    let told: Vec<_> =
        told.map(|e| (e["row"].as_str().unwrap(), e["state"].as_str().unwrap())).collect();
    assert_eq!(told, [("id=3", "landed"), ("id=4", "bad")]);
}

#[test]
fn every_cause_of_a_retry_is_recorded_with_its_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let source = Site::in_file(dir.path(), "src");
    source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, sync_status INT DEFAULT 0 \
                  NOT NULL)"]);
    let instance = Instance::new(&format!(
        "{}[[link]]\nname = \"dst\"\nurl = \"mysql://nobody@127.0.0.1:{}/nowhere\"\n\
         [[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nretries = 2\nretry_wait = \"1s\"\n\
         [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n\
         app_resets_status = true\n",
        source.link("src"),
        closed_port(),
    ));
    instance.run(&RUN_HOUSE).expect(1);
    let history = json_of(&instance, &["history"]);
    let attempt = &history["runs"][0]["attempts"][0];
    // The same one twice is one.
    let causes = attempt["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 1, "{history:#}");
    assert_eq!(causes[0]["error"]["message"], attempt["error"]["message"], "{history:#}");
    let message = causes[0]["error"]["message"].as_str().unwrap();
    for command in [&["history", "--attempts"][..], &["show", "1"]] {
        let shown = instance.run(command).expect(0).stdout;
        let line = shown.lines().find(|line| line.contains("tried again"));
        assert!(line.is_some_and(|line| line.contains(message)), "{shown}");
    }
}

/// The run stands open at the destination, and its records begin with the process that goes on with it.
#[test]
fn a_run_without_rows_that_is_resumed_is_done() {
    for mode in ["", INCREMENT] {
        let dir = tempfile::tempdir().unwrap();
        let (_, instance) = house(dir.path(), 10, "", "", mode);
        instance.run(&RUN_HOUSE).expect(0);
        instance.run_with(&RUN_HOUSE, "run.after_begin@1=kill-group");
        instance.wait_until_dead();
        let resumed = instance.run(&RUN_HOUSE).expect(0);
        assert_eq!(resumed.table("t")["result"], "done", "{resumed}");
    }
}

/// Killed once the destination has ended the run, and before anything of that was written down; and
/// where another run is begun in its place.
#[test]
fn bad_rows_of_a_run_that_could_not_say_so_are_told_once_the_next_one_has_begun() {
    for (point, next) in [
        ("run.after_finish@1=kill-group", &[][..]),
        ("run.before_finish@1=kill-group", &["--restart"][..]),
    ] {
        let shop = Shop::new("error_limit = 5", "");
        killed(&shop, point);
        assert_eq!(told(&shop).0, [], "{point}");
        let next = shop.instance.run(&[&RUN[..], next].concat());
        assert!(matches!(next.code, Some(0 | 1)), "{next}");
        for _ in 0..2 {
            shop.instance.run(&["history"]).expect(0);
            let bad: Vec<_> =
                shop.events().into_iter().filter(|e| e.what == What::RowsBad).collect();
            assert_eq!(bad.len(), 1, "{point}: {bad:?}");
            assert!(bad[0].text.contains("is bad") || bad[0].text.contains("are bad"), "{bad:?}");
        }
    }
}
