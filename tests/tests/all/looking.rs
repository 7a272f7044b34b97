//! Commands that only look: what they report, and how soon, while the daemon, the home or the
//! configuration database is not as it should be.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;
use ssync_common::process::RunId;
use ssync_common::store::Entry;
use ssync_controller::books::spool::{Header, Spool};
use ssync_controller::daemon::memory::Memory;
use ssync_tests::command::Ssync;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Running, program};

use crate::daemon::{House, task};
use crate::pausing::Pair;

/// A command that looks must have answered by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

fn json_of(instance: &Instance, args: &[&str]) -> Value {
    let ran = instance.run(&[args, &["--json"]].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

/// An exclusive lock on the configuration database: nobody reads it until this is dropped.
fn locked(instance: &Instance) -> rusqlite::Connection {
    let lock = Site::Sqlite(instance.home().join("ssync.db")).sqlite();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    lock
}

/// Stores the password of a link.
fn store_password(instance: &Instance, link: &str) {
    let mut command = instance.in_environment(Command::new(program()));
    command.args(["link", "set-password", link]).stdin(Stdio::piped());
    let mut stored = command.spawn().unwrap();
    stored.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    assert!(stored.wait().unwrap().success());
}

/// A house with a daemon that has counted the five rows of task 1.
fn counted() -> (House, Running) {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.sites[0].0.run(&["CREATE INDEX by_status ON t (sync_status)"]);
    house.insert(1, 0..5);
    let daemon = house.start("");
    house.wait("a first count", || {
        json_of(&house.instance, &["status"])["tables"][0]["backlog"]["rows"] == 5
    });
    (house, daemon)
}

#[test]
fn a_task_that_cannot_be_started_is_named_at_once_by_apply_status_and_health() {
    let house = House::new(1);
    let link = "[[link]]\nname = \"shop\"\nurl = \"mysql://u@127.0.0.1:1/shop\"\n\
                password = { stored = true }\n";
    let schedule = "[[schedule]]\nid = 1\nevery = \"1d\"\n";
    let bills = |more: &str| {
        let bills = task(1, &format!("name = \"bills\"\nschedule = 1\n{more}"));
        house.with_links(&(link.to_owned() + schedule + &bills.replace("\"s1\"", "\"shop\"")))
    };
    let file = house.instance.scratch().join("config.toml");
    let apply = |more: &str, how: &[&str]| {
        std::fs::write(&file, bills(more)).unwrap();
        let args = [&["apply", "--yes", file.to_str().unwrap()], how].concat();
        house.instance.run(&args).expect(0).stdout
    };
    let daemon = house.start("");
    let why = "cannot be started: link shop: no password is stored";
    let told = apply("", &[]);
    assert!(told.contains(&format!("task 1 (bills) {why}")), "{told}");
    let told: Value = serde_json::from_str(&apply("retries = 1\n", &["--json"])).unwrap();
    let unable = &told["cannot_start"][0];
    assert_eq!((&unable["task"], &unable["name"]), (&1.into(), &"bills".into()), "{told}");
    assert!(unable["reason"].as_str().unwrap().ends_with("no password is stored"), "{told}");

    // No firing was due yet.
    let status = house.instance.run(&["status"]).expect(0).stdout;
    assert!(status.contains(why), "{status}");
    let table = json_of(&house.instance, &["status"])["tables"][0].clone();
    assert!(table["cannot_start"].as_str().unwrap().contains("no password"), "{table}");
    let finding = json_of(&house.instance, &["health"])["findings"][0].clone();
    assert_eq!(finding["severity"], "critical", "{finding}");
    assert!(finding["text"].as_str().unwrap().starts_with(why), "{finding}");
    let explained = house.instance.run(&["explain", "bills"]).expect(0).stdout;
    assert!(explained.contains(&format!("now: {why}")), "{explained}");

    store_password(&house.instance, "shop");
    house.wait("the daemon to know the password", || {
        !house.instance.run(&["status"]).stdout.contains("cannot be started")
    });
    house.instance.run(&["health"]).expect(0);
    house.stop(daemon);
}

/// With daemons one after the other: what the journal keeps of the first is of no importance later.
#[test]
fn a_task_that_could_not_be_started_once_is_not_reported_after_its_configuration_was_mended() {
    let house = House::new(1);
    let link = "[[link]]\nname = \"shop\"\nurl = \"mysql://u@127.0.0.1:1/shop\"\n\
                password = { stored = true }\n";
    let schedule = "[[schedule]]\nid = 1\nevery = \"1d\"\n";
    let bills = task(1, "schedule = 1\n").replace("\"s1\"", "\"shop\"");
    house.apply(&(link.to_owned() + schedule + &bills));
    let why = "cannot be started";
    let looks = || [&["status"][..], &["health"], &["explain", "1"]].map(|c| house.instance.run(c));
    let daemon = house.start("");
    house.instance.run(&["run", "1"]).expect(2);
    for told in looks() {
        assert!(told.stdout.contains(why), "{told}");
    }
    // Also where the daemon is silent: it was so when it was heard of last.
    house.wait("what the daemon leaves", || !Memory::load(&house.home()).schedules.is_empty());
    daemon.signal(Signal::SIGSTOP);
    for told in &looks()[..2] {
        assert!(told.stdout.contains(why), "{told}");
    }
    daemon.signal(Signal::SIGCONT);
    house.stop(daemon);
    store_password(&house.instance, "shop");
    let daemon = house.start("");
    let is_mended = |when: &str| {
        for told in looks() {
            let now = told.stdout.lines().filter(|line| !line.contains("by hand"));
            assert!(!now.collect::<String>().contains(why), "{when}: {told}");
        }
    };
    is_mended("with a daemon that answers");
    daemon.signal(Signal::SIGSTOP);
    is_mended("with one that is silent");
    daemon.signal(Signal::SIGCONT);
    house.stop(daemon);
    is_mended("without one");
}

#[test]
fn explain_sees_a_run_in_the_foreground_also_beside_a_frozen_daemon() {
    let house = House::new(1);
    house.apply(&task(1, "name = \"bills\"\n"));
    house.insert(1, 0..3);
    let daemon = house.start("");
    let mut run = house.instance.start(&["--task", "1"], "writer.before_commit@1=pause");
    run.reached("writer.before_commit").unwrap();
    let is_told = |when: &str| {
        let began = Instant::now();
        let explained = house.instance.run(&["explain", "1"]).expect(0);
        assert!(began.elapsed() < SOON, "{when}: {explained}");
        let now = explained.stdout.lines().find(|line| line.starts_with("now: ")).unwrap();
        assert!(now.starts_with("now: running since 20"), "{when}: {explained}");
        assert!(now.contains(&format!("(process {}", run.pid())), "{when}: {explained}");
        let process = json_of(&house.instance, &["explain", "1"])["process"].clone();
        assert_eq!(process["pid"], run.pid(), "{when}: {process}");
        process["since"].as_str().unwrap().parse::<Timestamp>().unwrap();
        explained
    };
    let explained = is_told("with a daemon");
    assert!(explained.stdout.contains("in the foreground"), "{explained}");
    daemon.signal(Signal::SIGSTOP);
    let explained = is_told("beside a frozen one");
    assert!(explained.stderr.contains("the daemon does not answer"), "{explained}");
    assert!(explained.stdout.contains("task 1 (bills)"), "{explained}");
    let began = Instant::now();
    let health = house.instance.run(&["health"]).expect(1);
    assert!(health.stdout.contains("the daemon does not answer"), "{health}");
    let status = house.instance.run(&["status"]).expect(1);
    assert!(
        began.elapsed() < SOON * 2 && status.stderr.contains("the daemon does not answer"),
        "{status}"
    );
    let lock = locked(&house.instance);
    let explained = is_told("and the configuration database locked");
    assert!(explained.stderr.contains("the configuration database does not answer"), "{explained}");
    drop(lock);
    daemon.signal(Signal::SIGCONT);
    house.instance.release("writer.before_commit");
    run.wait().expect(0);
    house.stop(daemon);
    let explained = house.instance.run(&["explain", "1"]).expect(0).stdout;
    assert!(explained.contains("now: no daemon runs"), "{explained}");
}

#[test]
fn health_reports_backlog_and_records_that_wait_whoever_holds_the_configuration_database() {
    let (house, daemon) = counted();
    let figure = " | 'backlog task 1 t'=5;;;0\n";
    // A process that has ended has left a record. Another one brings it in (it has the file locked, as
    // this test has), and takes long.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let header = Header {
        origin: RunId::random().unwrap(),
        instance: house.instance.store().instance_id().to_owned(),
        task: 1,
        pid: ended.id(),
        since: Timestamp::now(),
    };
    let mut spool = Spool::create(&house.instance.home(), &header).unwrap();
    let (reason, at) = ("a record".to_owned(), Timestamp::now());
    spool.append(1, &Entry::Suspend { task: 1, reason, error: None, at }).unwrap();
    let began = Instant::now();
    let health = house.instance.run(&["health"]).expect(1);
    assert!(began.elapsed() < Duration::from_secs(4), "{health}");
    assert!(health.stdout.starts_with("WARNING: "), "{health}");
    assert!(health.stdout.contains("record is kept in run/books"), "{health}");
    assert!(health.stdout.ends_with(figure), "{health}");
    let lock = locked(&house.instance);
    let began = Instant::now();
    let health = house.instance.run(&["health"]).expect(2);
    assert!(began.elapsed() < Duration::from_secs(9), "{health}");
    assert!(health.stdout.starts_with("CRITICAL: the configuration database does not answer"));
    assert!(health.stdout.contains("record is kept in run/books"), "{health}");
    assert!(health.stdout.ends_with(figure), "{health}");
    drop(lock);
    spool.remove().unwrap();
    house.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
}

#[test]
fn status_as_json_has_what_is_known_and_the_error_while_the_configuration_is_locked() {
    let (house, daemon) = counted();
    let lock = locked(&house.instance);
    let status = house.instance.run(&["status", "--json"]).expect(1);
    assert_eq!(status.stdout.lines().count(), 1, "{status}");
    let told: Value = serde_json::from_str(&status.stdout).unwrap();
    assert!(told["error"]["message"].as_str().unwrap().contains("does not answer"), "{told}");
    assert_eq!(told["controller"]["pid"], daemon.pid(), "{told}");
    assert_eq!(told["daemon"]["pid"], daemon.pid(), "{told}");
    let table = &told["tables"][0];
    assert_eq!((&table["task"], &table["table"]), (&1.into(), &"t".into()), "{told}");
    assert_eq!(table["backlog"]["rows"], 5, "{told}");
    assert!(table.get("last_run").is_none(), "what is not known is not said to be nothing: {told}");
    assert!(status.stderr.contains("does not answer"), "{status}");
    drop(lock);
    house.stop(daemon);
}

#[test]
fn looking_makes_no_home() {
    let looks = [
        "status",
        "status --json",
        "health",
        "show 1",
        "explain 1",
        "history",
        "errors",
        "export",
        "check",
        "link list",
        "link usage",
        "link test",
        "key check",
        "receiver list",
        "receiver test",
        "brief",
        "config log",
        "config show 1",
        "config diff 1",
        "top",
        "run 1",
        "reload",
        "stop",
    ];
    let ssync = Ssync::new();
    let run = |line: &str| ssync.run(&line.split_whitespace().collect::<Vec<_>>());
    for line in looks {
        let ran = run(line).expect(2);
        assert!(!ssync.home().exists(), "{line} has made {}", ssync.home().display());
        if !["top", "adopt 1", "retry 1", "--task 1", "run 1", "reload", "stop"].contains(&line) {
            ran.says(&["there is no such home directory", "home", "--home"]);
        }
    }
    assert_eq!(run("status --json").json()["error"]["kind"], "Config");
    // A directory of something else.
    std::fs::DirBuilder::new().mode(0o700).create(ssync.home()).unwrap();
    for line in looks {
        let ran = run(line).expect(2);
        let made = std::fs::read_dir(ssync.home()).unwrap().count();
        assert_eq!(made, 0, "{line} has made something");
        if !["top", "run 1", "reload", "stop"].contains(&line) {
            ran.says(&["is no home of ssync", "ssync apply"]);
        }
    }
    ssync.apply("[controller]\n");
    run("status").expect(0);
}

#[test]
fn tables_narrow_what_is_looked_at() {
    let pair = Pair::new();
    pair.instance.run(&["--task", "1"]).expect(0);
    pair.instance.run(&["pause", "1", "first"]).expect(0);
    for command in ["status", "show", "explain"] {
        for (names, wanted) in [("first", &["first"][..]), ("second,first", &["first", "second"])] {
            let told = json_of(&pair.instance, &[command, "1", "--tables", names]);
            let tables: Vec<_> =
                told["tables"].as_array().unwrap().iter().map(|t| t["table"].clone()).collect();
            assert_eq!(tables, wanted, "{command}: {told}");
        }
        let shown = pair.instance.run(&[command, "1", "--table", "first"]).expect(0).stdout;
        assert!(shown.contains("first") && !shown.contains("second"), "{command}: {shown}");
        assert!(shown.contains("paused since"), "{command}: {shown}");
        let unknown = pair.instance.run(&[command, "1", "--tables", "nosuch"]).expect(2);
        assert!(unknown.stderr.contains("task 1 has no table nosuch"), "{unknown}");
    }
}

#[test]
fn a_task_that_is_not_started_is_named_as_everywhere_else() {
    let house = House::new(1);
    house.apply(&task(1, "name = \"bills\"\n"));
    let daemon = house.start("");
    house.instance.run(&["pause", "bills"]).expect(0);
    let refused = house.instance.run(&["run", "bills"]).expect(130);
    assert!(refused.stderr.contains("task 1 (bills) was not started"), "{refused}");
    house.stop(daemon);
}

#[test]
fn a_run_that_waits_says_so_once() {
    let house = House::new(2);
    house.apply(
        &("[controller]\ntasks_max = 1\n".to_owned()
            + &task(1, "")
            + &task(2, "name = \"bills\"\n")),
    );
    let mut daemon = house.start("run.after_lock@*=pause");
    house.instance.run(&["run", "1"]).expect(0);
    daemon.reached("run.after_lock").unwrap();
    let waits = house.instance.start(&["run", "bills", "--wait"], "");
    house.wait("the daemon to have it wait", || {
        house.instance.run(&["explain", "2"]).expect(0).stdout.contains("waiting")
    });
    // It is asked again each second; each look is a chance to repeat itself.
    let since = Instant::now();
    house.wait("some more looks", || since.elapsed() > Duration::from_secs(3));
    house.instance.release("run.after_lock");
    let waits = waits.wait().expect(0);
    assert_eq!(waits.stderr.matches("task 2 (bills) waits: ").count(), 1, "{waits}");
    assert!(waits.stdout.contains("task 2 (bills) has ended"), "{waits}");
    house.stop(daemon);
}

#[test]
fn a_schedule_that_is_late_for_ten_minutes_is_critical() {
    let house = House::new(1);
    house
        .apply(&("[[schedule]]\nid = 1\nevery = \"1d\"\n".to_owned() + &task(1, "schedule = 1\n")));
    let daemon = house.start("");
    let file = house.instance.home().join("run").join("daemon.json");
    let mut left = Memory::default();
    house.wait("what it leaves for the next daemon", || {
        left = Memory::load(&house.home());
        !left.schedules.is_empty()
    });
    // What a daemon leaves that is busy with something for ever.
    daemon.signal(Signal::SIGSTOP);
    for (secs, code, severity) in [(300, 1, "warning"), (700, 2, "critical")] {
        left.schedules[0].next = Timestamp::now().as_second() - secs;
        std::fs::write(&file, serde_json::to_vec(&left).unwrap()).unwrap();
        house.instance.run(&["health"]).expect(code);
        let health = json_of(&house.instance, &["health"]);
        let is_late = |f: &&Value| f["text"].as_str().unwrap().contains("is late");
        let finding = health["findings"].as_array().unwrap().iter().find(is_late).unwrap();
        assert_eq!(finding["severity"], severity, "{finding}");
    }
    daemon.signal(Signal::SIGCONT);
    house.stop(daemon);
}
