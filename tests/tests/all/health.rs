//! What operators see of daemon, tasks and configuration database when something is not well.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, program};

use crate::books;
use crate::daemon::{House, task};

fn json_of(instance: &Instance, args: &[&str]) -> Value {
    serde_json::from_str(&instance.run(&[args, &["--json"]].concat()).stdout).unwrap()
}

#[test]
fn a_run_whose_process_died_is_shown_as_interrupted() {
    let house = House::new(1);
    house.apply(&task(1, "batch_rows = 10\n"));
    house.insert(1, 0..100);
    house.instance.run_with(&["--task", "1"], "writer.after_commit@3=kill-group");
    house.instance.wait_until_dead();
    let is_told = |when: &str| {
        for command in [&["status"][..], &["show", "1"], &["history"]] {
            let told = house.instance.run(command).expect(0).stdout;
            assert!(told.contains("interrupted"), "{when}: {told}");
            assert!(told.contains("resumed at the next start"), "{when}: {told}");
            assert!(!told.contains("open"), "{when}: {told}");
        }
        let run = json_of(&house.instance, &["history"])["runs"][0].clone();
        assert_eq!((&run["state"], &run["interrupted"]), (&"open".into(), &true.into()), "{run}");
        let health = json_of(&house.instance, &["health"]);
        assert_eq!(health["findings"].as_array().unwrap().len(), 1, "{when}: {health}");
        assert!(health["findings"][0]["text"].to_string().contains("died"), "{when}: {health}");
    };
    is_told("with shared memory");
    for segment in house.instance.segments() {
        std::fs::remove_file(segment).unwrap();
    }
    is_told("after a restart of the host");
    // Its second attempt dies, too.
    house.instance.run_with(&["--task", "1"], "writer.after_commit@6=kill-group");
    house.instance.wait_until_dead();
    for command in [&["show", "1"][..], &["history", "--attempts"]] {
        let told = house.instance.run(command).expect(0).stdout;
        assert!(told.contains("attempt 2") && !told.contains("open"), "{told}");
    }
    // One that is under way is none.
    let mut run = house.instance.start(&["--task", "1"], "run.after_lock@*=pause");
    run.reached("run.after_lock").unwrap();
    let history = json_of(&house.instance, &["history"]);
    assert_eq!(history["runs"][0]["interrupted"], false, "{history}");
    house.instance.release("run.after_lock");
    run.wait().expect(0);
    let history = house.instance.run(&["history"]).expect(0).stdout;
    assert!(!history.contains("interrupted"), "{history}");
}

#[test]
fn a_pause_that_is_over_is_no_reason_beside_a_later_attempt() {
    let house = House::new(1);
    house.apply(&task(1, "batch_rows = 10\n"));
    house.insert(1, 0..1000);
    let mut run = house.instance.start(&["--task", "1"], "writer.after_commit@3=pause");
    run.reached("writer.after_commit").unwrap();
    let pause = ["pause", "1", "--reason", "moving house", "--wait", "0"];
    house.instance.run(&pause).expect(1);
    house.instance.release("writer.after_commit");
    run.wait().expect(130);
    let told = house.instance.run(&["history"]).expect(0).stdout;
    assert!(told.contains("moving house"), "{told}");
    house.instance.run(&["resume", "1"]).expect(0);
    house.instance.run_with(&["--task", "1"], "reader.after_claim@*=kill-group");
    house.instance.wait_until_dead();
    // (`show` lists the attempts, each with its own.)
    for command in ["status", "history"] {
        let told = house.instance.run(&[command]).expect(0).stdout;
        assert!(told.contains("interrupted") && !told.contains("moving house"), "{told}");
    }
}

#[test]
fn a_suspension_is_found_once_with_its_reason() {
    let house = House::new(1);
    let schedule = "[[schedule]]\nid = 1\nevery = \"1h\"\nkind = \"realtime\"\n";
    house.apply(&(schedule.to_owned() + &task(1, "schedule = 1\nretries = 0\n")));
    house.insert(1, 0..1);
    house.sites[0].1.run(&["ALTER TABLE t RENAME TO away"]);
    assert_ne!(house.instance.run(&["--task", "1"]).code, Some(0));
    let health = json_of(&house.instance, &["health"]);
    let findings = health["findings"].as_array().unwrap();
    let failed: Vec<_> = findings.iter().filter(|f| f["severity"] == "critical").collect();
    assert_eq!(failed.len(), 1, "{health}");
    let text = failed[0]["text"].as_str().unwrap();
    assert!(text.contains("suspended since") && text.contains("t does not exist"), "{text}");
}

#[test]
fn a_schedule_that_is_late_is_found_with_what_it_waits_for() {
    let house = House::new(2);
    let schedule = |n: u32, every: &str| format!("[[schedule]]\nid = {n}\nevery = \"{every}\"\n");
    house.apply(
        &("[controller]\ntasks_max = 1\n".to_owned()
            + &schedule(1, "1s")
            + &schedule(2, "2s")
            + &task(1, "schedule = 1\n")
            + &task(2, "schedule = 2\n")),
    );
    let mut daemon = house.start("run.after_lock@*=pause");
    daemon.reached("run.after_lock").unwrap();
    let mut late = Value::Null;
    house.wait("a schedule that is late", || {
        late = json_of(&house.instance, &["health"])["findings"][0].clone();
        late["text"].as_str().is_some_and(|text| text.contains("is late"))
    });
    let text = late["text"].as_str().unwrap();
    assert_eq!(late["severity"], "warning", "{late}");
    assert!(text.starts_with("schedule ") && text.contains("has not started for "), "{text}");
    assert!(text.contains("waits: ") && text.contains("task process"), "{text}");
    house.instance.release("run.after_lock");
    house.wait("nothing to be late", || {
        !json_of(&house.instance, &["health"]).to_string().contains("is late")
    });
    house.stop(daemon);
}

#[test]
fn a_task_that_cannot_be_started_is_found_until_its_password_is_stored() {
    let house = House::new(1);
    // Nobody is there: what it fails for once it starts.
    let link = "[[link]]\nname = \"shop\"\nurl = \"mysql://u@127.0.0.1:1/shop\"\n\
                password = { stored = true }\n";
    let schedule = "[[schedule]]\nid = 1\nevery = \"1s\"\n";
    let task = task(1, "schedule = 1\nretries = 0\n").replace("\"s1\"", "\"shop\"");
    house.apply(&(link.to_owned() + schedule + &task));
    let daemon = house.start("");
    let found = || json_of(&house.instance, &["health"])["findings"][0].clone();
    let is_unable = |found: &Value| found["text"].to_string().contains("cannot be started");
    let mut first = Value::Null;
    house.wait("a task that cannot be started", || {
        first = found();
        is_unable(&first)
    });
    assert_eq!(first["severity"], "critical", "{first}");
    assert!(first["text"].to_string().contains("no password is stored"), "{first}");
    let mut command = house.instance.in_environment(Command::new(program()));
    let stored = command.args(["link", "set-password", "shop"]).stdin(Stdio::piped()).spawn();
    let mut stored = stored.unwrap();
    stored.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    assert!(stored.wait().unwrap().success());
    house.wait("the task to start", || {
        let found = found();
        !is_unable(&found) && found["text"].to_string().contains("failed")
    });
    house.stop(daemon);
}

#[test]
fn a_task_table_that_was_removed_is_made_anew() {
    let house = House::new(2);
    house.apply(&(task(1, "") + &task(2, "")));
    house.insert(1, 0..10);
    house.insert(2, 0..10);
    let mut daemon = house.start("run.after_lock@*=pause");
    house.instance.run(&["run", "1"]).expect(0);
    daemon.reached("run.after_lock").unwrap();
    for segment in house.instance.segments() {
        std::fs::remove_file(segment).unwrap();
    }
    // At every moment since.
    let pid = daemon.pid();
    for _ in 0..20 {
        let pulse = house.instance.run(&["heartbeat"]).expect(0).stdout;
        assert!(pulse.starts_with(&format!("alive pid={pid} ")), "{pulse}");
    }
    let status = house.instance.run(&["status"]).expect(0).stdout;
    assert!(status.starts_with(&format!("daemon: running, process {pid},")), "{status}");
    assert!(status.contains("locked by pid "), "{status}");
    house.wait("the parameters to be there again", || {
        house.instance.segments().iter().any(|name| name.contains("-arena-"))
    });
    // What ran goes on, and what comes is seen.
    house.instance.release("run.after_lock");
    house.wait("the rows of the run", || house.arrived(1) == 10);
    house.instance.run(&["run", "2", "--wait"]).expect(0);
    assert_eq!(house.arrived(2), 10);
    let status = json_of(&house.instance, &["status"]);
    assert_eq!(status["controller"]["pid"], pid, "{status}");
    house.stop(daemon);
}

#[test]
fn commands_say_what_they_wait_for_when_the_configuration_is_locked() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let lock = Site::Sqlite(house.instance.home().join("ssync.db")).sqlite();
    let us = format!("is locked by process {}", std::process::id());
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let began = Instant::now();
    let health = house.instance.run(&["health"]).expect(2);
    assert!(began.elapsed() < Duration::from_secs(30), "{health}");
    assert!(health.stdout.starts_with("CRITICAL: the configuration database does not answer"));
    assert!(health.stdout.contains(&us) && health.stdout.lines().count() == 1, "{health}");
    let status = house.instance.run(&["status"]).expect(1);
    assert!(status.stdout.starts_with("daemon: ") && status.stderr.contains(&us), "{status}");
    // What is to be done waits, and says for what.
    for (n, args) in [&["pause", "1"][..], &["check"], &["resume", "1"]].into_iter().enumerate() {
        let told = house.instance.scratch().join(format!("stderr{n}"));
        let mut command = house.instance.in_environment(Command::new(program()));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(File::create(&told).unwrap()).spawn().unwrap();
        let began = Instant::now();
        house.wait("what it waits for", || {
            let told = std::fs::read_to_string(&told).unwrap();
            told.contains("waiting for the configuration database") && told.contains(&us)
        });
        assert!(child.try_wait().unwrap().is_none(), "{args:?} has not waited");
        assert!(began.elapsed() < Duration::from_secs(20), "{args:?}");
        lock.execute_batch("COMMIT").unwrap();
        assert!(child.wait().unwrap().success(), "{args:?}");
        lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    }
}

#[test]
fn health_answers_when_the_server_of_the_configuration_hangs() {
    let scene = books::Scene::new("[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\n");
    scene.hang();
    let began = Instant::now();
    let health = scene.instance.run(&["health"]).expect(2);
    let status = scene.instance.run(&["status"]);
    scene.wake();
    assert!(began.elapsed() < Duration::from_secs(40), "{health}");
    assert!(health.stdout.contains("does not answer"), "{health}");
    assert!(status.stdout.starts_with("daemon: not running"), "{status}");
    assert!(status.stderr.contains("waiting for the configuration database"), "{status}");
}
