//! What commands report of runs, tasks and missing secrets: the same everywhere, and as it is now.

use nix::sys::signal::Signal;
use serde_json::Value;
use ssync_common::event::{What, events_between};
use ssync_controller::daemon::journal::Happened;
use ssync_controller::daemon::memory::Memory;
use ssync_tests::command::Ssync;
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

use crate::daemon::{House, every_second, task};

fn json_of(instance: &Instance, args: &[&str]) -> Value {
    let ran = instance.run(&[args, &["--json"]].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

/// A task of a real-time schedule that may have bad rows, and has one among three.
fn with_a_bad_row() -> House {
    let house = House::new(1);
    let schedule = "[[schedule]]\nid = 1\nevery = \"1d\"\nkind = \"realtime\"\n".to_owned();
    house.apply(&(schedule + &task(1, "schedule = 1\nerror_limit = 5\n")));
    house.sites[0].1.run(&[
        "DROP TABLE t",
        "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, v TEXT CHECK (v <> 'v1'))",
    ]);
    house.insert(1, 0..3);
    house
}

#[test]
fn a_run_with_bad_rows_is_done_with_errors_also_for_explain_and_suspends_nothing() {
    let house = with_a_bad_row();
    // Whatever the daemon presumes after the run stays until it has read what is so.
    let daemon = house.start("configuration.read@1=pause");
    let ran = house.instance.run(&["run", "1", "--wait"]).expect(1);
    assert!(ran.stdout.contains("2 rows landed, 1 is bad"), "{ran}");
    let explained = house.instance.run(&["explain", "1"]).expect(0).stdout;
    assert!(explained.contains("now: waits for its next firing"), "{explained}");
    assert!(explained.contains("done with errors"), "{explained}");
    assert!(!explained.contains("failed"), "{explained}");
    let explained = json_of(&house.instance, &["explain", "1"]);
    let last = explained["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["what"], "done_with_errors", "{explained}");
    house.instance.release("configuration.read");
    house.stop(daemon);
}

#[test]
fn a_run_taken_up_by_the_next_daemon_is_done_with_errors_too() {
    let house = with_a_bad_row();
    let mut daemon = house.start("run.after_lock@*=pause");
    house.instance.run(&["run", "1"]).expect(0);
    daemon.reached("run.after_lock").unwrap();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = house.start("");
    house.wait("the run to be taken up", || !house.decisions(1, Happened::TakenUp).is_empty());
    house.instance.release("run.after_lock");
    house.wait("its end", || house.status().unwrap().running.is_empty());
    let explained = house.instance.run(&["explain", "1"]).expect(0).stdout;
    assert!(explained.contains("done with errors"), "{explained}");
    assert!(!explained.contains("failed"), "{explained}");
    house.stop(daemon);
}

#[test]
fn a_run_that_waits_for_a_lock_of_the_destination_says_so_everywhere() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..3);
    // Another session of the destination is in the middle of something.
    let other = house.sites[0].1.sqlite();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let daemon = house.start("");
    house.instance.run(&["run", "1"]).expect(0);
    house.wait("the run to wait", || {
        let running = json_of(&house.instance, &["status"])["running"].clone();
        running[0]["waiting_for"] == "fence"
    });
    for command in [&["status"][..], &["explain", "1"], &["show", "1"]] {
        let told = house.instance.run(command).expect(0).stdout;
        assert!(told.contains("waits for fence (a lock at the destination)"), "{told}");
        assert!(!told.contains("has never run"), "{told}");
    }
    assert_eq!(json_of(&house.instance, &["show", "1"])["live"]["task_id"], 1);
    other.execute_batch("ROLLBACK").unwrap();
    house.wait("its end", || house.arrived(1) == 3);
    house.stop(daemon);
}

fn patient_task() -> String {
    task(1, "batch_rows = 10\nretry_wait = \"1h\"\n")
}

/// A killed run, and what is left of it after a restart of the host: the lock of a dead process.
fn killed() -> House {
    let house = House::new(1);
    house.apply(&patient_task());
    house.insert(1, 0..100);
    house.instance.run_with(&["--task", "1"], "writer.after_commit@3=kill-group");
    house.instance.wait_until_dead();
    for segment in house.instance.segments() {
        std::fs::remove_file(segment).unwrap();
    }
    house
}

#[test]
fn a_lock_whose_owner_has_died_is_reported_as_that() {
    let house = killed();
    let status = house.instance.run(&["status"]).expect(0).stdout;
    assert!(!status.contains("locked by"), "{status}");
    assert!(status.contains("which has died: the next run takes it over"), "{status}");
    let table = json_of(&house.instance, &["status"])["tables"][0].clone();
    assert_eq!(table["lock_owner_dead"], true, "{table}");
}

#[test]
fn a_launch_that_was_stopped_while_it_waited_hides_no_open_run() {
    let house = killed();
    // From now on the destination is out of reach.
    let away = "[[link]]\nname = \"d1\"\nurl = \"mysql://u@127.0.0.1:1/shop\"\n";
    let configured = house.with_links(&patient_task());
    house.instance.apply(&configured.replace(&house.sites[0].1.link("d1"), away));
    let launch = house.instance.start(&["--task", "1"], "");
    house.wait("the launch to wait", || {
        let running = json_of(&house.instance, &["status"])["running"].clone();
        running[0]["waiting_for"] == "retry"
    });
    launch.signal(Signal::SIGINT);
    launch.wait().expect(130);
    let status = house.instance.run(&["status"]).stdout;
    assert!(status.contains(" rows have landed, resumed at the next start"), "{status}");
    let table = json_of(&house.instance, &["status"])["tables"][0].clone();
    assert_eq!(table["open_run"]["interrupted"], true, "{table}");
}

#[test]
fn status_and_health_agree_about_schedules_without_a_daemon() {
    let house = House::new(1);
    house.apply(&(every_second(1, "") + &task(1, "schedule = 1")));
    for command in ["status", "health"] {
        let told = house.instance.run(&[command]).expect(1);
        assert!(told.stdout.contains("no daemon runs, and schedules are configured"), "{told}");
    }
    let daemon = house.start("");
    let are_well = || {
        for command in ["status", "health"] {
            house.instance.run(&[command]).expect(0);
        }
    };
    are_well();
    house.stop(daemon);
    house.apply(&task(1, ""));
    are_well();
}

#[test]
fn missed_firings_of_a_schedule_without_a_task_are_nobodys_business() {
    let house = House::new(1);
    let schedules = every_second(1, "") + &every_second(2, "") + &task(1, "schedule = 1");
    house.apply(&schedules);
    let daemon = house.start("");
    let mut left = Memory::default();
    house.wait("what it leaves for the next daemon", || {
        left = Memory::load(&house.home());
        left.schedules.len() == 2
    });
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let file = house.instance.home().join("run").join("daemon.json");
    left.schedules.iter_mut().for_each(|schedule| schedule.next -= 3600);
    std::fs::write(&file, serde_json::to_vec(&left).unwrap()).unwrap();
    let daemon = house.start("");
    let missed = || {
        let always = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let mut events = events_between(&house.instance.home(), always.0, always.1).unwrap();
        events.retain(|event| event.what == What::FiringsMissed);
        events.into_iter().map(|event| event.text).collect::<Vec<_>>()
    };
    house.wait("the missed firings", || !missed().is_empty());
    house.wait("a run", || !house.decisions(1, Happened::Done).is_empty());
    let missed = missed();
    assert!(missed.iter().all(|text| text.starts_with("schedule 1: ")), "{missed:?}");
    house.stop(daemon);
}

#[test]
fn a_dry_run_makes_no_home() {
    let ssync = Ssync::new();
    let file = ssync.home().with_file_name("config.toml");
    std::fs::write(&file, "[[schedule]]\nid = 1\nevery = \"1h\"\n").unwrap();
    for prune in ["--prune=true", "--prune=false"] {
        let shown = ssync.run(&["apply", "--dry-run", prune, file.to_str().unwrap()]).expect(0);
        for part in ["+ schedule[1]", "dry run, nothing written"] {
            assert!(shown.stdout.contains(part), "{}", shown.stdout);
        }
        assert!(!ssync.home().exists(), "{prune} has made {}", ssync.home().display());
    }
}

#[test]
fn a_missing_secret_is_exit_code_2_for_every_command_that_needs_it() {
    let house = House::new(1);
    let key = "[[key]]\nname = \"k1\"\nsecret = { env = \"NO_SUCH_KEY\" }\n";
    let link = "[[link]]\nname = \"shop\"\nurl = \"mysql://u@127.0.0.1:1/shop\"\n\
                password = { env = \"NO_SUCH_PASSWORD\" }\n";
    let sealed = "[task.table.encrypt]\nv = \"k1\"\n";
    let cases = [
        (link, task(1, "").replace("\"s1\"", "\"shop\""), "NO_SUCH_PASSWORD"),
        (key, task(1, "") + sealed, "NO_SUCH_KEY"),
    ];
    for (section, task, variable) in cases {
        house.apply(&(section.to_owned() + &task));
        let daemon = house.start("");
        for command in
            [&["--task", "1"][..], &["retry", "1"], &["run", "1"], &["run", "1", "--wait"]]
        {
            let told = house.instance.run(command).expect(2);
            let text = format!("the environment variable {variable} is not set");
            assert!(told.stderr.contains(&text), "{command:?}: {told}");
            assert!(!told.stderr.contains("key key"), "{command:?}: {told}");
        }
        // Those that look report it as one finding among others.
        house.instance.run(&["check", "1"]).expect(2);
        for command in [&["link", "test"][..], &["key", "check"]] {
            let told = house.instance.run(command);
            assert!([0, 1].contains(&told.code.unwrap()), "{command:?}: {told}");
            assert!(!told.stdout.contains("key key"), "{command:?}: {told}");
        }
        house.stop(daemon);
    }
}

#[test]
fn tables_and_tasks_that_are_none_are_refused() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    for command in ["status", "history", "errors", "show", "check", "run", "explain"] {
        let told = house.instance.run(&[command, "1", "--tables", ""]).expect(2);
        assert!(told.stderr.contains("the name of a table is missing"), "{command}: {told}");
    }
    for command in ["status", "history", "errors", "show", "check", "explain"] {
        let told = house.instance.run(&[command, "99"]).expect(2);
        assert!(told.stderr.contains("there is no task 99"), "{command}: {told}");
    }
    // Records of a task that was removed are still there.
    house.insert(1, 0..3);
    house.instance.run(&["--task", "1"]).expect(0);
    let other = Site::in_file(house.instance.scratch(), "other");
    other.run(&["CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL)"]);
    house.apply("");
    let told = house.instance.run(&["history", "1"]).expect(0);
    assert!(told.stdout.contains(" 3 "), "{told}");
    house.instance.run(&["errors", "1"]).expect(0);
}

#[test]
fn one_of_something_has_no_plural() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..1);
    let daemon = house.start("");
    let ran = house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert!(ran.stdout.contains("1 row landed"), "{ran}");
    house.stop(daemon);
    house.insert(1, 1..2);
    house.instance.run(&["--task", "1"]).expect(0);
    let status = house.instance.run(&["status"]).expect(0);
    assert!(status.stdout.contains(" 1 row in "), "{status}");
}

#[test]
fn the_brief_names_what_was_interrupted_and_counts_a_bad_row_once() {
    let house = House::new(2);
    house.apply(&(task(1, "error_limit = 5\n") + &task(2, "batch_rows = 10\n")));
    house.sites[0].1.run(&[
        "DROP TABLE t",
        "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, v TEXT CHECK (v <> 'v1'))",
    ]);
    house.insert(1, 0..3);
    for _ in 0..2 {
        house.instance.run(&["--task", "1"]).expect(1);
        house.sites[0].0.run(&["UPDATE t SET sync_status = 0 WHERE id = 1"]);
    }
    house.insert(2, 0..100);
    let mut daemon = house.start("writer.before_commit@1=pause");
    house.instance.run(&["run", "2"]).expect(0);
    daemon.reached("writer.before_commit").unwrap();
    let stop = house.instance.start(&["stop"], "");
    house.wait("the daemon to stop", || house.status().is_some_and(|s| s.stopping));
    house.instance.release("writer.before_commit");
    stop.wait().expect(0);
    daemon.wait().expect(0);
    let brief = house.instance.run(&["brief"]).expect(0).stdout;
    assert!(brief.contains("0 runs failed, 1 was interrupted, 1 row was bad."), "{brief}");
    assert!(brief.contains("task 2, t: 1 run, 1 interrupted, "), "{brief}");
    let brief = json_of(&house.instance, &["brief"])["brief"].clone();
    assert_eq!((&brief["interrupted_runs"], &brief["bad_rows"]), (&1.into(), &1.into()), "{brief}");
}
