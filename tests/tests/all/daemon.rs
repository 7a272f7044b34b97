//! The daemon, as a real process with real task processes.

#[path = "daemon/minute.rs"]
mod minute;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ssync_common::store::{Home, RunFilter};
use ssync_controller::daemon::command::status;
use ssync_controller::daemon::control::DaemonStatus;
use ssync_controller::daemon::journal::{Decision, Happened, Journal};
use ssync_tests::PATIENCE;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Running, cmdline};

/// A home with pairs of SQLite files, and a daemon in it.
pub struct House {
    pub instance: Instance,
    pub sites: Vec<(Site, Site)>,
}

/// A task with one table, `t<n>`, on its own pair of files.
pub fn task(n: usize, rest: &str) -> String {
    format!(
        "[[task]]\nid = {n}\nsource = \"s{n}\"\ndest = \"d{n}\"\nwriters = 1\n{rest}\n\
         [[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\nwrite = \"upsert\"\n\
         app_resets_status = true\n"
    )
}

impl House {
    /// Files for so many tasks, nothing configured yet.
    pub fn new(tasks: usize) -> House {
        let instance = Instance::new("");
        let site = |name: String| Site::in_file(instance.scratch(), &name);
        let sites: Vec<_> =
            (1..=tasks).map(|n| (site(format!("source{n}")), site(format!("dest{n}")))).collect();
        for (source, dest) in &sites {
            let of = |status: &str| {
                format!("CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, v TEXT{status})")
            };
            source.run(&["PRAGMA journal_mode = WAL"]);
            dest.run(&["PRAGMA journal_mode = WAL"]);
            source.run(&[of(", sync_status INTEGER NOT NULL DEFAULT 0")]);
            dest.run(&[of("")]);
        }
        House { instance, sites }
    }

    pub fn apply(&self, toml: &str) {
        self.instance.apply(&self.with_links(toml));
    }

    pub fn with_links(&self, toml: &str) -> String {
        let mut text = String::new();
        for (n, (source, dest)) in self.sites.iter().enumerate() {
            text += &source.link(&format!("s{}", n + 1));
            text += &dest.link(&format!("d{}", n + 1));
        }
        text + toml
    }

    pub fn insert(&self, n: usize, ids: std::ops::Range<i64>) {
        for id in ids {
            self.sites[n - 1].0.run(&[format!("INSERT INTO t (id, v) VALUES ({id}, 'v{id}')")]);
        }
    }

    pub fn arrived(&self, n: usize) -> i64 {
        self.sites[n - 1].1.number("SELECT COUNT(*) FROM t")
    }

    pub fn home(&self) -> Home {
        Home::locate(Some(&self.instance.home())).unwrap()
    }

    pub fn start(&self, failpoints: &str) -> Running {
        let mut daemon = self.instance.start(&["daemon"], failpoints);
        self.wait("the daemon to have read its configuration", || {
            assert!(!daemon.has_ended(), "{}", self.instance.logs());
            self.status().is_some_and(|s| s.pid == daemon.pid() && s.configuration_read.is_some())
        });
        daemon
    }

    pub fn status(&self) -> Option<DaemonStatus> {
        status(&self.home()).unwrap()
    }

    pub fn decisions(&self, task: u32, what: Happened) -> Vec<Decision> {
        let all = Journal::read(&self.home()).of(task, Some(task));
        all.into_iter().filter(|d| d.what == what).collect()
    }

    #[track_caller]
    pub fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "in vain for {what}\n{}", self.instance.logs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the daemon by command, and looks that nothing stays.
    #[track_caller]
    pub fn stop(&self, daemon: Running) {
        self.instance.run(&["stop"]).expect(0);
        daemon.wait().expect(0);
        self.is_clean();
    }

    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!(self.instance.leftovers(), Vec::<String>::new());
        assert_eq!(self.instance.segments(), Vec::<String>::new());
        let run = self.instance.home().join("run");
        assert!(!run.join("daemon.sock").exists() && !run.join("daemon.json").exists());
    }
}

pub fn every_second(id: usize, rest: &str) -> String {
    format!("[[schedule]]\nid = {id}\nevery = \"1s\"\n{rest}\n")
}

#[test]
fn a_configuration_is_in_force_when_apply_says_so() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..3);
    let daemon = house.start("");
    let file = house.instance.scratch().join("scheduled.toml");
    std::fs::write(&file, house.with_links(&(every_second(1, "") + &task(1, "schedule = 1"))))
        .unwrap();
    let in_force = |word: &str| {
        let told = house.instance.run(&["apply", file.to_str().unwrap(), "--json"]).expect(0);
        assert!(told.stdout.contains(&format!("\"in_force\":\"{word}\"")), "{told}");
    };
    in_force("now");
    // Without another word to the daemon.
    house.wait("the rows of the new schedule", || house.arrived(1) == 3);
    in_force("unchanged");
    house.stop(daemon);
    house.apply(&task(1, ""));
    in_force("next run");
}

#[test]
fn what_is_applied_while_the_daemon_begins_is_in_force_when_apply_says_so() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..3);
    let mut daemon = house.instance.start(&["daemon"], "configuration.read@0=pause");
    daemon.reached("configuration.read").unwrap();
    // It has read what was configured before, and does not know it yet.
    let file = house.instance.scratch().join("scheduled.toml");
    let scheduled = every_second(1, "") + &task(1, "schedule = 1");
    std::fs::write(&file, house.with_links(&scheduled)).unwrap();
    let applied = house.instance.start(&["apply", file.to_str().unwrap(), "--json"], "");
    house.wait("the configuration to be written", || {
        house.instance.store().load().unwrap().schedules.len() == 1
    });
    house.instance.release("configuration.read");
    let told = applied.wait().expect(0);
    assert!(told.stdout.contains("\"in_force\":\"now\""), "{told}");
    house.wait("the rows of the new schedule", || house.arrived(1) == 3);
    house.stop(daemon);
}

/// Held for long enough, the daemon has read that it is held; resumed, it has read that too.
#[test]
fn what_was_resumed_runs_when_asked_for() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let daemon = house.start("");
    for round in 1..=3 {
        house.insert(1, round * 10..round * 10 + 3);
        house.instance.run(&["pause", "1"]).expect(0);
        house.wait("the daemon to know of the pause", || {
            house.instance.run(&["explain", "1"]).expect(0).stdout.contains("now: paused")
        });
        house.instance.run(&["resume", "1"]).expect(0);
        house.instance.run(&["run", "1", "--wait"]).expect(0);
        assert_eq!(house.arrived(1), round * 3);
    }
    house.stop(daemon);
}

#[test]
fn schedules_fire_side_by_side_and_stop_leaves_nothing_behind() {
    let house = House::new(2);
    let tasks = [1, 2].map(|n| every_second(n, "") + &task(n, &format!("schedule = {n}")));
    house.apply(&tasks.concat());
    house.insert(1, 0..3);
    let daemon = house.start("");
    house.wait("the first rows", || house.arrived(1) == 3);
    // Changes go with the next firings.
    house.insert(1, 3..5);
    house.insert(2, 0..4);
    house.wait("later rows", || house.arrived(1) == 5 && house.arrived(2) == 4);
    house.wait("three runs", || house.decisions(1, Happened::Done).len() >= 3);
    let explained = house.instance.run(&["explain", "1"]).expect(0).stdout;
    for part in ["schedule 1, every 1s", "next firings:", "rows landed"] {
        assert!(explained.contains(part), "{explained}");
    }
    house.stop(daemon);

    // Firings were a second apart, whatever the runs took; and were never late by a period.
    let started = house.decisions(1, Happened::Started);
    for pair in started.windows(2) {
        let apart = pair[1].due.unwrap().duration_since(pair[0].due.unwrap()).as_secs();
        assert!(apart >= 1, "{pair:?}");
    }
    assert!(started.iter().all(|d| d.at >= d.due.unwrap()), "{started:?}");
    // Without a daemon the answer is what it left and when it would fire.
    let explained = house.instance.run(&["explain", "1", "--json"]).expect(0);
    let explained: serde_json::Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!(explained["next"].as_array().unwrap().len(), 10);
    assert!(explained["decisions"].as_array().unwrap().len() > 5);
}

#[test]
fn a_killed_daemons_task_ends_well_and_the_next_daemon_takes_it_up() {
    let house = House::new(2);
    // Task 2 comes after task 1 in the same firing.
    let tasks = [1, 2].map(|n| task(n, "schedule = 1"));
    house.apply(&(every_second(1, "overrun = \"catch_up\"") + &tasks.concat()));
    house.insert(1, 0..10);
    house.insert(2, 0..7);
    let mut daemon = house.start("run.after_lock@*=pause");
    let worker = daemon.reached("run.after_lock").unwrap();
    assert_eq!(cmdline(worker), ["ssync", "worker", "task=1", ""]);
    let next = || house.status().unwrap().schedules[0].next;
    let before = next();
    house.wait("the daemon to have noted what it began", || {
        let noted = std::fs::read_to_string(house.instance.home().join("run/daemon.json"));
        noted.is_ok_and(|text| text.contains("\"current\":1"))
    });
    daemon.signal(Signal::SIGKILL);
    daemon.wait();

    let daemon = house.start("");
    house.wait("the task to be taken up", || {
        house.status().unwrap().running.iter().any(|r| r.task == 1 && r.pid == worker)
    });
    // On the same grid, and not once more beside the one that runs.
    assert_eq!(next().duration_since(before).as_millis() % 1000, 0);
    house.wait("a second firing to come due", || house.status().unwrap().schedules[0].backlog > 0);
    assert_eq!(house.status().unwrap().running.len(), 1);
    assert_eq!(house.decisions(1, Happened::Started).len(), 1);
    house.instance.release("run.after_lock");
    house.wait("both tasks", || house.arrived(1) == 10 && house.arrived(2) == 7);
    house.wait("a further firing", || house.decisions(1, Happened::Done).len() > 1);
    // For the same firing, not by hand.
    let what_for = |what| {
        let decisions = house.decisions(1, what);
        decisions.iter().map(|d| (d.schedule, d.due)).collect::<Vec<_>>()
    };
    let taken_up = what_for(Happened::TakenUp);
    assert_eq!((taken_up.len(), taken_up[0]), (1, what_for(Happened::Started)[0]));
    house.stop(daemon);
}

#[test]
fn what_is_asked_for_before_the_configuration_was_read_runs_once_it_is() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..5);
    let daemon = house.instance.start(&["daemon"], "");
    house.wait("the daemon to listen", || house.status().is_some());
    let ran = house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert_eq!(house.arrived(1), 5, "{ran}");
    house.stop(daemon);
}

#[test]
fn a_second_daemon_is_refused_with_the_pid_of_the_first() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let daemon = house.start("");
    let second = house.instance.run(&["daemon"]).expect(1);
    assert!(second.stderr.contains("a daemon is running already"), "{second}");
    assert!(second.stderr.contains(&format!("process {}", daemon.pid())), "{second}");
    assert!(house.status().is_some(), "the first one does not mind");
    house.stop(daemon);
    for command in ["stop", "reload"] {
        let nobody = house.instance.run(&[command]).expect(2);
        assert!(nobody.stderr.contains("no daemon runs here"), "{nobody}");
    }
}

#[test]
fn reload_adds_changes_and_removes_without_a_restart() {
    let house = House::new(2);
    house.apply(&(every_second(1, "") + &task(1, "schedule = 1")));
    house.insert(1, 0..2);
    house.insert(2, 0..2);
    let daemon = house.start("");
    house.wait("task 1", || house.arrived(1) == 2);
    let one = every_second(1, "") + &task(1, "schedule = 1");
    house.apply(&(one.clone() + &every_second(2, "") + &task(2, "schedule = 2")));
    assert_eq!(house.instance.store().task_changes().unwrap().len(), 1);
    let reloaded = house.instance.run(&["reload"]).expect(0);
    for part in ["+ schedule[2]", "+ task[2]"] {
        assert!(reloaded.stdout.contains(part), "{reloaded}");
    }
    assert_eq!(house.instance.store().task_changes().unwrap(), []);
    house.wait("task 2", || house.arrived(2) == 2);

    house.apply(&one);
    daemon.signal(Signal::SIGHUP);
    house.wait("schedule 2 to be gone", || house.status().unwrap().schedules.len() == 1);
    house.wait("task 2 to have ended", || {
        !house.status().unwrap().running.iter().any(|r| r.task == 2)
    });
    house.insert(1, 2..3);
    house.insert(2, 2..3);
    house.wait("task 1 again", || house.arrived(1) == 3);
    assert_eq!(house.arrived(2), 2);
    assert_eq!(house.instance.store().task_changes().unwrap(), []);
    let unknown = house.instance.run(&["run", "2"]).expect(2);
    assert!(unknown.stderr.contains("there is no task 2"), "{unknown}");
    house.stop(daemon);
}

#[test]
fn a_firing_during_a_run_is_left_out_merged_or_made_up_for_as_configured() {
    let house = House::new(3);
    let policies = ["skip", "run_once", "catch_up"];
    let toml: String = (1..=3)
        .map(|n| {
            every_second(n, &format!("overrun = \"{}\"", policies[n - 1]))
                + &task(n, &format!("schedule = {n}"))
        })
        .collect();
    house.apply(&toml);
    let daemon = house.start("worker.start@1=pause;worker.start@2=pause;worker.start@3=pause");
    let backlogs = || {
        let schedules = house.status().unwrap().schedules;
        schedules.iter().map(|s| s.backlog).collect::<Vec<_>>()
    };
    house.wait("three more firings", || backlogs()[2] >= 3);
    assert_eq!(backlogs()[..2], [0, 1]);
    // Never two at once.
    for n in 1..=3 {
        assert_eq!(house.decisions(n, Happened::Started).len(), 1);
    }
    let explained = |n: &str| house.instance.run(&["explain", n]).expect(0).stdout;
    let skipped = explained("1");
    assert!(
        skipped.contains("the run before was still under way: task 1 was running"),
        "{skipped}"
    );
    assert!(explained("2").contains("the next run makes up for it"));
    house.instance.release("worker.start");
    house.wait("what was missed to be made up for", || {
        backlogs() == [0, 0, 0] && (1..=3).all(|n| house.decisions(n, Happened::Started).len() >= 2)
    });
    let due = |n| {
        let started = house.decisions(n, Happened::Started);
        started.iter().map(|d| d.due.unwrap().as_second()).collect::<Vec<_>>()
    };
    assert!(due(1)[1] - due(1)[0] >= 3, "left out: {:?}", due(1));
    assert!(due(2)[1] - due(2)[0] >= 3, "merged: {:?}", due(2));
    let all = due(3);
    assert!(all.windows(2).all(|pair| pair[1] - pair[0] == 1), "each: {all:?}");
    house.stop(daemon);
}

#[test]
fn a_failed_real_time_task_is_not_fired_until_it_is_resumed() {
    let house = House::new(1);
    house.apply(&(every_second(1, "kind = \"realtime\"") + &task(1, "schedule = 1")));
    house.sites[0].1.run(&["ALTER TABLE t RENAME TO elsewhere"]);
    house.insert(1, 0..2);
    let daemon = house.start("");
    house.wait("firings that are left out", || {
        house.decisions(1, Happened::Skipped).iter().any(|d| d.reason.contains("ssync resume 1"))
    });
    let started = house.decisions(1, Happened::Started).len();
    assert_eq!(started, 1, "{:?}", house.decisions(1, Happened::Started));
    let refused = house.instance.run(&["run", "1"]).expect(130);
    assert!(refused.stderr.contains("suspended after a failure"), "{refused}");
    let explained = house.instance.run(&["explain", "1"]).expect(0).stdout;
    assert!(explained.contains("now: suspended after a failure"), "{explained}");
    house.sites[0].1.run(&["ALTER TABLE elsewhere RENAME TO t"]);
    house.instance.run(&["resume", "1"]).expect(0);
    house.wait("the rows", || house.arrived(1) == 2);
    house.stop(daemon);
}

#[test]
fn a_task_runs_when_asked_for_and_the_end_is_told() {
    let house = House::new(2);
    house.apply(&format!("[controller]\ntasks_max = 1\n{}{}", task(1, ""), task(2, "")));
    house.insert(1, 0..5);
    let mut daemon = house.start("run.after_lock@*=pause");
    let started = house.instance.run(&["run", "1"]).expect(0);
    let worker = daemon.reached("run.after_lock").unwrap();
    assert!(started.stdout.contains(&format!("(process {worker})")), "{started}");
    let again = house.instance.run(&["run", "1"]).expect(1);
    assert!(again.stderr.contains("it runs already"), "{again}");
    // One at a time, says the configuration; the second one waits, and says so.
    let waiting = house.instance.start(&["run", "2", "--wait"], "");
    house.wait("task 2 to wait", || !house.decisions(2, Happened::Waiting).is_empty());
    house.instance.release("run.after_lock");
    let second = waiting.wait().expect(0);
    assert!(second.stderr.contains("task 2 waits: 1 task processes run"), "{second}");
    assert!(second.stdout.contains("0 rows landed"), "{second}");
    assert_eq!(house.arrived(1), 5);
    house.stop(daemon);
}

#[test]
fn stop_finishes_what_runs_and_stop_now_ends_what_hangs() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..5);
    let mut daemon = house.start("run.after_lock@*=pause");
    house.instance.run(&["run", "1"]).expect(0);
    daemon.reached("run.after_lock").unwrap();
    let late = house.instance.run(&["stop", "--timeout", "1"]).expect(1);
    assert!(late.stderr.contains("waiting for the tasks that run: 1"), "{late}");
    assert!(house.status().unwrap().stopping);
    let refused = house.instance.run(&["run", "1"]).expect(1);
    assert!(refused.stderr.contains("the daemon is stopping"), "{refused}");
    house.instance.run(&["stop", "--now"]).expect(0);
    daemon.wait().expect(0);
    assert!(house.instance.processes().is_empty());
    // What was left is settled by the next run.
    let daemon = house.start("");
    house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert_eq!(house.arrived(1), 5);
    house.stop(daemon);
}

#[test]
fn a_configuration_database_that_is_gone_delays_nothing_and_is_said() {
    let house = House::new(1);
    house.apply(&(every_second(1, "") + &task(1, "schedule = 1")));
    let daemon = house.start("");
    house.wait("a run", || !house.decisions(1, Happened::Done).is_empty());
    let database: PathBuf = house.instance.home().join("ssync.db");
    let away = house.instance.home().join("away.db");
    std::fs::rename(&database, &away).unwrap();
    let reload = house.instance.run(&["reload"]).expect(1);
    assert!(reload.stderr.contains("the configuration database is gone"), "{reload}");
    let gone = house.status().unwrap();
    assert!(gone.configuration_error.is_some());
    assert_eq!(gone.schedules.len(), 1);
    // A known task starts when it is due, and runs; its records wait, and it says so.
    house.insert(1, 0..3);
    house.wait("the rows", || house.arrived(1) == 3);
    let kept = "are kept in run/books and wait to be written";
    house.wait("its records to be kept", || {
        house.instance.run(&["explain", "1"]).expect(0).stdout.contains(kept)
    });
    let said = house.instance.run(&["status"]).expect(1);
    assert!(said.stdout.contains("its configuration could not be read since"), "{said}");
    assert!(said.stdout.contains(kept), "{said}");
    assert!(!database.exists(), "no empty one took its place");
    std::fs::rename(&away, &database).unwrap();
    house.instance.run(&["reload"]).expect(0);
    house.wait("the records to be written down", || {
        let runs = house.instance.store().runs(&RunFilter::default()).unwrap();
        runs.iter().map(|run| run.counts.landed).sum::<u64>() == 3
    });
    assert!(house.status().unwrap().configuration_error.is_none());
    house.stop(daemon);
}

#[test]
fn passwords_reach_a_daemons_tasks_and_nobody_else() {
    let server = mariadb();
    let (source, dest) = (Site::on_server(server, "daemon_s"), Site::on_server(server, "daemon_d"));
    source.run(&[
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, sync_status INT NOT NULL DEFAULT 0)",
        "INSERT INTO t (id, v) VALUES (1, 'x'), (2, 'y')",
    ]);
    dest.run(&["CREATE TABLE t (id INT PRIMARY KEY, v TEXT)"]);
    let instance = Instance::new(&(source.link("s1") + &dest.link("d1") + &task(1, "")));
    let house = House { instance, sites: vec![(source, dest)] };
    let mut daemon = house.start("run.after_lock@*=pause");
    house.instance.run(&["run", "1"]).expect(0);
    let worker = daemon.reached("run.after_lock").unwrap();
    let secret = ssync_tests::servers::PASSWORD.as_bytes();
    let has_it = |path: String| {
        std::fs::read(path).unwrap().windows(secret.len()).any(|part| part == secret)
    };
    // The daemon has it from its own environment; its children's is clean.
    assert!(has_it(format!("/proc/{}/environ", daemon.pid())));
    for file in ["environ", "cmdline"] {
        assert!(!has_it(format!("/proc/{worker}/{file}")));
    }
    for segment in house.instance.segments() {
        assert!(!has_it(segment));
    }
    house.instance.release("run.after_lock");
    house.wait("the rows", || house.arrived(1) == 2);
    for file in ["firings.jsonl", "daemon.json"] {
        let path = house.instance.home().join("run").join(file);
        house.wait("what the daemon writes down", || path.exists());
        assert!(!has_it(path.display().to_string()));
    }
    house.stop(daemon);
}

#[test]
fn a_daemon_in_the_background_answers_when_it_listens() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let started = house.instance.run(&["daemon", "--detach"]).expect(0);
    let pid = house.status().unwrap().pid;
    assert!(started.stdout.contains(&format!("(process {pid})")), "{started}");
    let second = house.instance.run(&["daemon", "--detach"]).expect(1);
    assert!(second.stderr.contains(&format!("process {pid}")), "{second}");
    house.instance.run(&["stop"]).expect(0);
    house.is_clean();
}

#[test]
fn a_task_without_any_progress_is_ended_and_its_rows_go_with_the_next_run() {
    let house = House::new(1);
    house.apply(&("[controller]\nkill_after = \"2s\"\n".to_owned() + &task(1, "")));
    house.insert(1, 0..10);
    // In the middle of a batch, for ever.
    let mut daemon = house.start("writer.before_commit@1=pause");
    house.instance.run(&["run", "1"]).expect(0);
    daemon.reached("writer.before_commit").unwrap();
    house.wait("its end", || !house.decisions(1, Happened::Failed).is_empty());
    let ended = house.decisions(1, Happened::Failed).remove(0);
    assert!(ended.reason.contains("without progress (phase: transferring"), "{ended:?}");
    house.wait("its processes to be gone", || house.instance.processes() == [daemon.pid()]);
    assert_eq!(house.arrived(1), 0);
    let said = house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert_eq!(house.arrived(1), 10, "{said}");
    house.stop(daemon);
}

/// A task process that is asked to leave before it listens dies of that; nobody is alarmed.
#[test]
fn stopping_at_any_moment_is_no_failure() {
    let house = House::new(2);
    let tasks = [1, 2].map(|n| every_second(n, "") + &task(n, &format!("schedule = {n}")));
    house.apply(&tasks.concat());
    for _ in 0..8 {
        let daemon = house.start("");
        let started = || house.decisions(1, Happened::Started).len();
        let before = started();
        house.wait("a firing", || started() > before);
        house.stop(daemon);
    }
    for n in [1, 2] {
        assert!(
            house.decisions(n, Happened::Failed).is_empty(),
            "{:?}",
            house.decisions(n, Happened::Failed)
        );
    }
}
