//! What operators are told is as true as the rows: random scripts of runs that are killed,
//! interrupted, refused, given bad rows, begun anew; started by hand, by a daemon that may die, or
//! by a schedule; while the servers of source, destination and configuration restart. An observer
//! counts from the databases alone and from how the processes ended; everything that tells people of
//! runs must agree with it: `T_RUN`, `T_ATTEMPT`, `T_BATCH`, `proc_use_times`, `history`, `show`,
//! `status`, `health`, `brief`, `errors`, events, the reminder log and exit codes.
//!
//! - `SSYNC_TEST_TRUTH_CASES=500` runs so many cases (default [`CASES`]).
//! - `SSYNC_TEST_SEED=…` takes other ones.
//! - `SSYNC_TEST_TRUTH_CASE=17` runs one of them.

#[path = "truth/case.rs"]
mod case;
#[path = "truth/observer.rs"]
mod observer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;
use ssync_tests::cases::{Cases, panic_text};
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::Instance;
use ssync_tests::wait_for;

use case::{Case, RUN};

/// Cases of a default run, and how many at a time.
const CASES: Cases = Cases { name: "TRUTH", default: 24, threads: 3 };

/// Two files with tables `src` (so many rows) and `dst`, and a configuration with more entries, and
/// more lines for the task and the table.
pub fn house(dir: &Path, rows: i64, entries: &str, task: &str, table: &str) -> (Site, Instance) {
    let (source, dest) = (Site::in_file(dir, "src"), Site::in_file(dir, "dst"));
    source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL, \
         sync_status INT DEFAULT 0 NOT NULL)"]);
    dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(20) NOT NULL CHECK \
         (length(v) < 20))"]);
    let all: Vec<Row> = (0..rows).map(|id| vec![Cell::Int(id), Cell::Text("v".into())]).collect();
    source.insert("src", &["id", "v"], &all);
    let states = if table.contains("mode = ") { "" } else { "app_resets_status = true" };
    let instance = Instance::new(&format!(
        "{entries}{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\n\
         batch_rows = 10\nbatch_millis = 3600000\nslot_bytes = 65536\n{task}\n[[task.table]]\n\
         name = \"t\"\nsource = \"src\"\ndest = \"dst\"\n{states}\n{table}\n",
        source.link("src"),
        dest.link("dst"),
    ));
    (dest, instance)
}

pub fn json_of(instance: &Instance, args: &[&str]) -> Value {
    serde_json::from_str(&instance.run(&[args, &["--json"]].concat()).stdout).unwrap()
}

#[test]
fn a_launch_that_fails_before_its_run_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (dest, instance) = house(dir.path(), 30, "", "attempts = 1", "");
    instance.run(&RUN).expect(0);
    dest.run(&["ALTER TABLE dst RENAME TO away"]);
    instance.run(&RUN).expect(2);
    let reason = "destination table dst does not exist";
    let told = |what: &str, text: &str| assert!(text.contains(reason), "{what}: {text}");
    let history = json_of(&instance, &["history", "--failed"]);
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history}");
    told("history", &history["runs"][0]["error"]["message"].to_string());
    assert_eq!(history["runs"][0]["attempts"][0]["state"], "failed");
    assert!(history["runs"][0]["seconds"].as_f64().unwrap() > 0.0, "{history}");
    for command in [&["history"][..], &["show", "1"], &["status"], &["health"]] {
        told(command[0], &instance.run(command).stdout);
    }
    assert_eq!(instance.run(&["health"]).code, Some(2));
    let brief = json_of(&instance, &["brief"]);
    assert_eq!((&brief["brief"]["runs"], &brief["brief"]["failed_runs"]), (&2.into(), &1.into()));
    // It is there again.
    dest.run(&["ALTER TABLE away RENAME TO dst"]);
    instance.run(&RUN).expect(0);
    assert_eq!(instance.run(&["health"]).code, Some(0), "{}", instance.run(&["health"]));
}

#[test]
fn a_task_that_cannot_be_launched_at_all_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let key = "[[key]]\nname = \"pii\"\nsecret = { env = \"SSYNC_TEST_NOBODY\" }\n";
    let (_, instance) = house(dir.path(), 30, key, "", "encrypt = { v = \"pii\" }");
    assert_ne!(instance.run(&RUN).code, Some(0));
    let history = json_of(&instance, &["history", "--failed"]);
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history}");
    assert!(history["runs"][0]["error"].to_string().contains("SSYNC_TEST_NOBODY"), "{history}");
}

#[test]
fn a_run_that_was_killed_and_resumed_is_one_run_with_all_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 200, "", "", "");
    instance.run_with(&RUN, "writer.after_commit@5=kill-group");
    instance.wait_until_dead();
    // While it is open, what has landed is told.
    let open = json_of(&instance, &["show", "1"])["tables"][0]["last_run"].take();
    assert_eq!(open["state"], "open", "{open}");
    assert_eq!(open["counts"]["claimed"], open["counts"]["landed"], "{open}");
    let health = instance.run(&["health"]).expect(1);
    assert!(health.stdout.contains("died: the next run settles what it left"), "{health}");
    instance.run(&RUN).expect(0);
    let history = json_of(&instance, &["history"]);
    let run = &history["runs"][0];
    assert_eq!(
        (history["runs"].as_array().unwrap().len(), &run["counts"]["landed"]),
        (1, &200.into())
    );
    let attempts = run["attempts"].as_array().unwrap();
    let states: Vec<_> = attempts.iter().map(|a| a["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["died", "done"]);
    assert!(attempts.iter().all(|a| a["landed"].as_u64().unwrap() > 0), "{history}");
    // What lies between the attempts is no part of how long it took.
    let took = |a: &Value| {
        let at = |key: &str| a[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at("end").duration_since(at("begin")).as_secs_f64()
    };
    let all: f64 = attempts.iter().map(took).sum();
    assert!((run["seconds"].as_f64().unwrap() - all).abs() < 0.001, "{history}");
    let listed = instance.run(&["history", "--attempts"]).expect(0).stdout;
    assert!(listed.contains("2 attempts") && listed.contains("attempt 1  died"), "{listed}");
}

#[test]
fn a_run_that_was_killed_is_not_missing_in_the_brief() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut instance) = house(dir.path(), 200, "", "", "");
    instance.set_env("TZ", "UTC");
    instance.run_with(&RUN, "writer.after_commit@5=kill-group");
    instance.wait_until_dead();
    let brief = json_of(&instance, &["brief"]);
    let landed = json_of(&instance, &["show", "1"])["tables"][0]["last_run"]["counts"].take();
    assert_eq!(brief["brief"]["interrupted"][0]["rows"], landed["landed"], "{brief:#}");
    let text = instance.run(&["brief"]).expect(0).stdout;
    assert!(text.contains("No run has ended."), "{text}");
    assert!(
        text.contains("Interrupted, to be resumed by the next start:\n  task 1, t: "),
        "{text}"
    );
    // Of a day that is over, what is so now is no part.
    let day_before = instance.run(&["brief", "--date", "2001-01-01"]).expect(0).stdout;
    assert!(!day_before.contains("Interrupted"), "{day_before}");
    instance.run(&RUN).expect(0);
    let brief = json_of(&instance, &["brief"]);
    assert_eq!(
        (&brief["brief"]["rows"], &brief["brief"]["interrupted"]),
        (&200.into(), &Value::Array(vec![]))
    );
}

#[test]
fn a_database_that_is_gone_is_not_made_anew_by_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "", "");
    let (database, away) = (instance.home().join("ssync.db"), instance.home().join("away.db"));
    std::fs::rename(&database, &away).unwrap();
    for args in [&RUN[..], &["retry", "1"], &["adopt", "1"]] {
        let refused = instance.run(args).expect(1);
        assert!(refused.stderr.contains("is gone") && !database.exists(), "{args:?}: {refused}");
    }
    std::fs::rename(&away, &database).unwrap();
    instance.run(&RUN).expect(0);
}

#[test]
fn the_brief_tells_how_long_a_resumed_run_took_in_all() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 200, "", "", "");
    instance.run_with(&RUN, "writer.after_commit@5=kill-group");
    instance.wait_until_dead();
    instance.run(&RUN).expect(0);
    let took = json_of(&instance, &["history"])["runs"][0]["seconds"].take();
    let brief = json_of(&instance, &["brief"]);
    assert_eq!(brief["brief"]["tables"][0]["seconds_max"], took, "{brief:#}");
}

#[test]
fn bad_rows_of_an_attempt_that_died_are_told_by_the_one_that_ends_the_run() {
    let increment = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
    for mode in ["", "mode = \"full\"", increment] {
        let dir = tempfile::tempdir().unwrap();
        let (_, instance) = house(dir.path(), 200, "", "error_limit = 5", mode);
        let source = Site::in_file(dir.path(), "src");
        source.run(&["UPDATE src SET v = 'much longer than the twenty characters' WHERE id < 2"]);
        instance.run_with(&RUN, "run.after_rows@1=kill-group");
        instance.wait_until_dead();
        // It does not meet them again.
        let second = instance.run(&RUN).expect(1);
        let table = second.table("t");
        assert_eq!(table["result"], "done_with_errors", "{second}");
        let totals = serde_json::json!({ "attempts": 2, "landed": 198, "failed": 2 });
        assert_eq!(table["run_totals"], totals, "{second}");
        let all = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
        let events = ssync_common::event::events_between(&instance.home(), all.0, all.1).unwrap();
        let told = events.iter().find(|e| e.what == ssync_common::event::What::RowsBad).unwrap();
        let wanted = "task 1, table t: 2 rows are bad, 0 rows wait for their parents, 198 rows have \
                      landed in all attempts of the run; ssync errors 1 names the bad ones";
        assert_eq!(told.text, wanted, "{mode}");
        let reminders =
            ssync_common::event::tables_between(&instance.home(), all.0, all.1).unwrap();
        assert_eq!(serde_json::to_value(reminders.last().unwrap().run_totals).unwrap(), totals);
        // Whoever corrects them finds the brief without them.
        assert_eq!(json_of(&instance, &["brief"])["brief"]["bad_rows_waiting"], 2);
        if mode.is_empty() {
            source.run(&["UPDATE src SET v = 'corrected', sync_status = 0 WHERE id < 2"]);
            instance.run(&RUN).expect(0);
            assert_eq!(json_of(&instance, &["brief"])["brief"]["bad_rows_waiting"], 0);
        }
    }
}

#[test]
fn claimed_rows_of_a_run_are_those_that_landed_are_bad_or_were_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 200, "", "", "");
    let claimed = || {
        let history = json_of(&instance, &["history"]);
        let run = &history["runs"][0];
        let count = |what: &str| run["counts"][what].as_i64().unwrap();
        (
            run["state"].as_str().unwrap().to_owned(),
            count("claimed"),
            count("landed"),
            count("read"),
        )
    };
    // Rows that it had claimed are put back.
    let mut run = instance.start(&RUN, "writer.before_commit@2=pause");
    run.reached("writer.before_commit").unwrap();
    run.signal(nix::sys::signal::Signal::SIGINT);
    instance.release("writer.before_commit");
    run.wait().expect(130);
    instance.wait_until_dead();
    let (state, at_first, landed, _) = claimed();
    assert_eq!((state.as_str(), at_first), ("interrupted", landed));
    instance.run(&RUN).expect(0);
    assert_eq!(claimed(), ("done".to_owned(), 200, 200, 200));
}

#[test]
fn a_run_whose_process_died_at_its_very_end_has_all_its_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 30, "", "", "");
    instance.run_with(&RUN, "run.after_finish@1=kill-group");
    instance.wait_until_dead();
    instance.run(&RUN).expect(0);
    let run = json_of(&instance, &["history"])["runs"][0].take();
    assert_eq!(run["state"], "done", "{run}");
    for count in ["claimed", "read", "landed", "settled"] {
        assert_eq!(run["counts"][count], 30, "{count}: {run}");
    }
}

#[test]
fn a_run_that_failed_and_was_resumed_is_one_run_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let before = "before = { dest = [\"DELETE FROM gate\"] }";
    let (dest, instance) = house(dir.path(), 100, "", "retries = 0", before);
    for _ in 0..2 {
        instance.run(&RUN).expect(1);
    }
    dest.run(&["CREATE TABLE gate (id BIGINT)"]);
    instance.run(&RUN).expect(0);
    let brief = json_of(&instance, &["brief"]);
    assert_eq!((&brief["brief"]["runs"], &brief["brief"]["failed_runs"]), (&1.into(), &1.into()));
    let failed = json_of(&instance, &["history", "--failed"]);
    let runs = failed["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["state"]), (1, &"done".into()), "{failed}");
    // Which attempt it was, and why.
    let listed = instance.run(&["history", "--failed"]).expect(0).stdout;
    assert!(listed.contains("attempt 2  failed") && listed.contains("gate"), "{listed}");
}

#[test]
fn an_attempt_that_died_ends_with_its_last_sign_and_its_bytes_count() {
    let increment = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";
    for mode in ["", "mode = \"full\"", increment] {
        let bytes = |failpoints: &str| {
            let dir = tempfile::tempdir().unwrap();
            let (_, instance) = house(dir.path(), 200, "", "", mode);
            if !failpoints.is_empty() {
                instance.run_with(&RUN, failpoints);
                instance.wait_until_dead();
            }
            instance.run(&RUN).expect(0);
            let history = json_of(&instance, &["history"]);
            for attempt in history["runs"][0]["attempts"].as_array().unwrap() {
                let at = |key: &str| attempt[key].as_str().unwrap().parse::<jiff::Timestamp>();
                assert!(at("begin").unwrap() < at("end").unwrap(), "{mode}: {history:#}");
            }
            Site::Sqlite(instance.home().join("ssync.db"))
                .number("SELECT SUM(byte_count) FROM proc_use_times")
        };
        // All of its batches had landed, and it knew.
        assert_eq!(bytes("run.after_rows@1=kill-group"), bytes(""), "{mode}");
    }
}

#[test]
fn that_a_task_died_is_not_forgotten_when_its_daemon_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 100, "", "", "mode = \"full\"");
    let daemon = instance.start(&["daemon"], "writer.after_commit@5=kill-group");
    wait_for("the daemon", || instance.run(&["reload"]).code == Some(0));
    let ran = instance.run(&["run", "1", "--wait"]).expect(1);
    assert!(ran.stdout.contains("worker killed (signal SIGKILL)"), "{ran}");
    instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    let health = instance.run(&["health"]).expect(1);
    assert!(health.stdout.contains("died: the next run settles what it left"), "{health}");
    instance.run(&RUN).expect(0);
    let history = json_of(&instance, &["history"]);
    let died = &history["runs"][0]["attempts"][0];
    assert_eq!(died["state"], "died", "{history}");
    assert!(died["begin"].as_str() < died["end"].as_str() && died["bytes"].as_u64() > Some(0));
    instance.run(&["health"]).expect(0);
}

#[test]
fn a_bad_row_that_a_person_sets_back_is_settled_when_it_lands() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "error_limit = 5", "");
    let source = Site::in_file(dir.path(), "src");
    source.run(&[
        "UPDATE src SET v = 'much longer than the twenty characters' WHERE id IN (3, 4, 5)",
    ]);
    instance.run(&RUN).expect(1);
    source.run(&["UPDATE src SET v = 'corrected', sync_status = 0 WHERE id = 4"]);
    instance.run(&RUN).expect(0);
    let errors = json_of(&instance, &["errors", "--all"]);
    let told = errors["errors"].as_array().unwrap().iter();
    let told: Vec<_> =
        told.map(|e| (e["row"].as_str().unwrap(), e["state"].as_str().unwrap())).collect();
    assert_eq!(told, [("id=3", "bad"), ("id=4", "landed"), ("id=5", "bad")]);
    assert_eq!(json_of(&instance, &["status"])["tables"][0]["bad_rows"], 2);
}

#[test]
fn a_task_without_a_schedule_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 1, "", "", "");
    let explained = instance.run(&["explain", "1"]).expect(0).stdout;
    let wanted = "task 1: no schedule\nnow: no daemon runs; no schedule fires it: it runs when asked \
                  for, by ssync --task 1\nthe daemon has not run it; runs in the \
                  foreground: ssync history\n";
    assert_eq!(explained, wanted);
}

#[test]
fn the_report_of_a_run_tells_people_local_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut instance) = house(dir.path(), 100, "", "", "");
    instance.set_env("TZ", "Asia/Shanghai");
    instance.run_with(&RUN, "writer.after_commit@2=kill-group");
    instance.wait_until_dead();
    let run = instance.run(&["--task", "1"]).expect(0);
    let (_, since) = run.stdout.split_once("lock taken over from ").expect("a note");
    let since = since.lines().next().unwrap();
    assert!(since.ends_with("+08:00"), "{since}");
}

#[test]
fn a_row_that_is_bad_again_in_another_run_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "error_limit = 5", "");
    let source = Site::in_file(dir.path(), "src");
    for _ in 0..2 {
        source.run(&[
            "UPDATE src SET v = 'much longer than the twenty characters', sync_status = 0 \
             WHERE id IN (3, 4)",
        ]);
        instance.run(&RUN).expect(1);
        let errors = json_of(&instance, &["errors"]);
        let keys: Vec<_> =
            errors["errors"].as_array().unwrap().iter().map(|e| e["row"].clone()).collect();
        assert_eq!(keys, ["id=3", "id=4"], "{errors}");
        assert_eq!(json_of(&instance, &["status"])["tables"][0]["bad_rows"], 2);
    }
}

#[test]
fn looking_and_setting_back_are_no_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "", "");
    instance.run(&RUN).expect(0);
    instance.run(&["adopt", "--task", "1"]).expect(0);
    instance.run(&["retry", "--task", "1"]);
    let second = instance.run(&["--task", "1", "--json"]).expect(0);
    assert!(!second.stdout.contains("lock taken over"), "{second}");
    let history = json_of(&instance, &["history"]);
    let states: Vec<_> =
        history["runs"].as_array().unwrap().iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["done"], "{history}");
}

#[test]
fn a_home_that_is_not_there_is_not_well() {
    let instance = Instance::new("");
    let nowhere = instance.home().join("typo");
    let asked = instance.run(&["health", "--home", nowhere.to_str().unwrap()]).expect(2);
    assert!(asked.stderr.contains("no such home directory") && !nowhere.exists(), "{asked}");
    let nothing = instance.run(&["health"]).expect(1);
    assert!(nothing.stdout.starts_with("WARNING: nothing is configured"), "{nothing}");
}

#[test]
fn runs_without_rows_are_counted_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let schedule = "[[schedule]]\nid = 1\nevery = \"1s\"\n";
    let (_, instance) = house(dir.path(), 10, schedule, "schedule = 1", "");
    let book = Site::Sqlite(instance.home().join("ssync.db"));
    let number = |sql: &str| book.number(&format!("SELECT COALESCE(({sql}), 0)"));
    let daemon = instance.start(&["daemon"], "");
    wait_for("some runs", || number("SELECT COUNT(*) FROM proc_use_times") >= 5);
    instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    assert_eq!(number("SELECT COUNT(*) FROM T_RUN"), 1);
    assert_eq!(number("SELECT COUNT(*) FROM T_ATTEMPT"), 1);
    let all = number("SELECT COUNT(*) FROM proc_use_times");
    assert_eq!(number("SELECT SUM(run_count) FROM T_EMPTY_RUN"), all - 1);
    let history = json_of(&instance, &["history"]);
    let empty: i64 =
        history["empty"].as_array().unwrap().iter().map(|e| e["runs"].as_i64().unwrap()).sum();
    assert_eq!((history["runs"].as_array().unwrap().len(), empty), (1, all - 1), "{history}");
    let listed = instance.run(&["history"]).expect(0).stdout;
    assert!(listed.contains(" runs without rows since "), "{listed}");
    let status = json_of(&instance, &["status"]);
    assert_eq!(status["tables"][0]["last_run"]["state"], "done");
    assert_eq!(status["tables"][0]["last_run"]["counts"]["landed"], 0);
    // One line for the run that had rows, none for the others.
    let files = std::fs::read_dir(instance.home().join("events")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let is_reminder = |p: &std::path::PathBuf| p.to_string_lossy().contains("/reminder-");
    let lines: usize = files
        .filter(is_reminder)
        .map(|path| std::fs::read_to_string(path).unwrap().lines().count())
        .sum();
    assert_eq!(lines, 1);
    assert_eq!(instance.logs().matches("ended: Done").count(), 1, "{}", instance.logs());
}

fn play(number: u64) -> Result<(), String> {
    let mut case = Case::new(number);
    let judged = catch_unwind(AssertUnwindSafe(|| {
        case.play();
        case.judge()
    }));
    let judged = judged.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())));
    judged.map_err(|why| format!("{why}\n{}", case.story.join("\n")))
}

#[test]
fn whatever_happens_to_runs_all_that_is_told_of_them_is_so() {
    CASES.play(play).expect_none_failed();
}
