//! The parameters of a daemon's tasks in shared memory: what task processes run by, and what
//! becomes of them when something is in the way.

use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use ssync_controller::daemon::journal::Happened;
use ssync_controller::parameters::InForce;
use ssync_tests::ssync::{Running, program};

use crate::daemon::{House, every_second, task};

/// Bytes of a long statement.
const LONG: usize = 20_000;

impl House {
    /// The arenas that there are, as paths, the oldest first.
    fn arenas(&self) -> Vec<String> {
        let mut arenas = self.instance.segments();
        arenas.retain(|name| name.contains("-arena-"));
        arenas.sort();
        arenas
    }

    fn in_force(&self) -> InForce {
        InForce::read(&self.instance.home()).unwrap().unwrap()
    }

    /// A daemon whose task 1 was started and has not read its parameters yet; and its process.
    fn beginning(&self) -> (Running, u32) {
        let mut daemon = self.start("worker.start@1=pause");
        let is_by_hand = self.status().unwrap().schedules.is_empty();
        let asked = is_by_hand.then(|| self.instance.start(&["run", "1"], ""));
        let worker = daemon.reached("worker.start").unwrap();
        drop(asked);
        (daemon, worker)
    }
}

/// Task 1 with its rows, and so many others with a long statement each, which never run.
fn many(tasks: usize) -> String {
    let statement = format!("SELECT 1 /* {} */", "x".repeat(LONG));
    let others = (2..=tasks).map(|n| {
        format!(
            "[[task]]\nid = {n}\nsource = \"s1\"\ndest = \"d1\"\n[[task.table]]\nname = \"t{n}\"\n\
             source = \"u\"\ndest = \"u{n}\"\nmode = \"full\"\n\
             before = {{ dest = [\"{statement}\"] }}\n"
        )
    });
    task(1, "") + &others.collect::<String>()
}

/// Task 1, whose SQL notes at the destination that it ran.
fn noting(mark: &str, rest: &str) -> String {
    task(1, rest) + &format!("before = {{ dest = [\"INSERT INTO notes VALUES ('{mark}')\"] }}\n")
}

#[test]
fn every_task_is_in_shared_memory_and_a_task_process_runs_by_it() {
    let house = House::new(1);
    house.apply(&many(300));
    house.insert(1, 0..5);
    let daemon = house.start("");
    let arenas = house.arenas();
    assert_eq!(arenas.len(), 1, "{arenas:?}");
    let bytes = std::fs::metadata(&arenas[0]).unwrap().len() as usize;
    assert!((299 * LONG..299 * (LONG + 2000)).contains(&bytes), "{bytes}");
    let in_force = house.in_force();
    assert_eq!(in_force.tasks.len(), 300);
    let config = house.instance.store().load().unwrap();
    for (parameters, task) in in_force.tasks.iter().zip(&config.tasks) {
        assert_eq!(parameters.task, *task);
        let link = config.links.iter().find(|l| l.name == task.source).unwrap();
        assert_eq!(parameters.source, *link);
    }
    let ran = house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert!(ran.stdout.contains("5 rows landed"), "{ran}");
    assert_eq!(house.arrived(1), 5);
    // Nothing has changed: nothing is published anew.
    house.instance.run(&["reload"]).expect(0);
    assert_eq!(house.arenas(), arenas);
    house.stop(daemon);
}

#[test]
fn commands_show_what_is_in_force_also_without_the_configuration_database() {
    let house = House::new(1);
    house.apply(&(many(2) + &every_second(3, "kind = \"realtime\"")));
    let none = house.instance.run(&["show", "2", "--json"]).expect(0);
    let none: serde_json::Value = serde_json::from_str(&none.stdout).unwrap();
    assert!(none["in_force"].is_null() && none["generation"].is_null(), "{none}");
    let daemon = house.start("");
    let shown = || house.instance.run(&["show", "2"]).expect(0).stdout;
    for part in ["source s1: sqlite://", "at most 16 connections", "t2: u → u2, 1 SQL statements"]
    {
        assert!(shown().contains(part), "{}", shown());
    }
    assert!(!shown().contains("ssync reload"), "{}", shown());
    house.apply(&many(3));
    assert!(!shown().contains("ssync reload"), "{}", shown());
    house.apply(&many(2).replace("u2", "elsewhere"));
    assert!(shown().contains("configured otherwise meanwhile: ssync reload"), "{}", shown());
    house.instance.run(&["reload"]).expect(0);
    assert!(shown().contains("t2: u → elsewhere"), "{}", shown());
    assert!(!shown().contains("ssync reload"), "{}", shown());

    let database = house.instance.home().join("ssync.db");
    let away = house.instance.home().join("away.db");
    std::fs::rename(&database, &away).unwrap();
    let status = house.instance.run(&["status"]);
    assert!(!database.exists() || std::fs::remove_file(&database).is_ok());
    std::fs::rename(&away, &database).unwrap();
    for part in ["task 1, s1 → d1", "task 2, s1 → d1", "u → elsewhere"] {
        assert!(status.stdout.contains(part), "{status}");
    }
    house.stop(daemon);
}

#[test]
fn a_task_that_is_beginning_keeps_its_parameters_through_a_reload() {
    let house = House::new(1);
    house.sites[0].1.run(&["CREATE TABLE notes (mark TEXT)"]);
    house.apply(&noting("old", ""));
    house.insert(1, 0..3);
    let (daemon, _) = house.beginning();
    let before = house.arenas();
    house.apply(&noting("new", ""));
    house.instance.run(&["reload"]).expect(0);
    let both = house.arenas();
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[0], before[0]);
    assert_eq!(house.in_force().tasks[0].task.tables[0].before.dest.len(), 1);
    house.instance.release("worker.start");
    house.wait("the rows", || house.arrived(1) == 3);
    house.wait("its end", || !house.decisions(1, Happened::Done).is_empty());
    let notes = |mark: &str| {
        house.sites[0].1.number(&format!("SELECT COUNT(*) FROM notes WHERE mark = '{mark}'"))
    };
    assert_eq!((notes("old"), notes("new")), (1, 0));
    assert_eq!(house.arenas(), both[1..]);
    house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert_eq!((notes("old"), notes("new")), (1, 1));
    house.stop(daemon);
}

/// What a dead daemon left goes with the next start of anything of this user, perhaps just now.
#[test]
fn a_killed_daemons_beginning_task_runs_by_what_it_left_or_is_started_again() {
    let house = House::new(1);
    house.apply(&(every_second(1, "") + &task(1, "schedule = 1")));
    house.insert(1, 0..4);
    let (daemon, worker) = house.beginning();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    house.instance.release("worker.start");
    house.wait("its end", || !house.instance.processes().contains(&worker));
    let has_missed_it = house.instance.logs().contains("parameters are gone from shared memory");
    assert_eq!(house.arrived(1), if has_missed_it { 0 } else { 4 }, "{}", house.instance.logs());
    let daemon = house.start("");
    assert_eq!(house.arenas().len(), 1, "the dead daemon's went with the start of the next");
    house.wait("the rows", || house.arrived(1) == 4);
    house.stop(daemon);
}

#[test]
fn a_beginning_task_whose_daemon_was_replaced_ends_and_is_started_again() {
    let house = House::new(1);
    house.apply(&(every_second(1, "overrun = \"catch_up\"") + &task(1, "schedule = 1")));
    house.insert(1, 0..4);
    let (daemon, worker) = house.beginning();
    let old = house.arenas();
    // What a daemon leaves behind may be older than the truth by a moment.
    let note = house.instance.home().join("run").join("daemon.json");
    house.wait("the daemon's note of it", || {
        std::fs::read_to_string(&note).is_ok_and(|text| text.contains("\"current\":1"))
    });
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let daemon = house.start("");
    let new = house.arenas();
    assert!(new.len() == 1 && new != old, "{old:?} {new:?}");
    house.instance.release("worker.start");
    house.wait("the first one's end", || !house.instance.processes().contains(&worker));
    assert!(house.instance.logs().contains("parameters are gone from shared memory"));
    house.wait("the rows", || house.arrived(1) == 4);
    let again = house.decisions(1, Happened::Failed);
    assert!(again.iter().any(|d| d.reason.contains("is started again")), "{again:?}");
    house.stop(daemon);
}

/// Does something to the file of an arena.
type Harm = fn(&str);

#[test]
fn parameters_that_are_gone_or_damaged_fail_the_task_that_is_beginning_and_no_later_one() {
    let house = House::new(1);
    house.apply(&(every_second(1, "") + &task(1, "schedule = 1")));
    house.insert(1, 0..4);
    let harms: [(&str, Harm); 3] = [
        ("are gone from shared memory", |path| std::fs::remove_file(path).unwrap()),
        ("in shared memory are damaged", |path| {
            let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
            let at = file.metadata().unwrap().len() - 20;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }),
        ("layout version 9", |path| {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&9u32.to_le_bytes(), 8).unwrap();
        }),
    ];
    for (words, harm) in harms {
        let _ = std::fs::remove_dir_all(house.instance.home().join("failpoints"));
        let (daemon, _) = house.beginning();
        harm(&house.arenas()[0]);
        let arrived = house.arrived(1);
        house.instance.release("worker.start");
        let failed = || house.decisions(1, Happened::Failed);
        house.wait(words, || failed().iter().any(|d| d.reason.contains(words)));
        // Nothing was guessed, and the next firing runs by parameters that are there again.
        let done = || house.decisions(1, Happened::Done).len();
        let before = done();
        house.wait("a later run", || done() > before);
        assert!(arrived == 0 || arrived == 4, "{arrived}");
        assert_eq!(house.arrived(1), 4);
        assert_eq!(house.in_force().tasks.len(), 1);
        house.stop(daemon);
    }
}

/// In a mount namespace of its own, where shared memory has room for little more than the task
/// table.
#[test]
fn without_room_for_new_parameters_the_daemon_goes_on_with_those_it_has() {
    let house = House::new(1);
    house.apply(&task(1, "slot_bytes = 65536"));
    house.insert(1, 0..4);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c"]);
    command.args(["mount -t tmpfs -o size=8m tmpfs /dev/shm && exec \"$@\"", "sh"]);
    command.arg(program()).arg("daemon").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = house.instance.in_environment(command).spawn().unwrap();
    house.wait("the daemon", || house.status().is_some_and(|s| s.configuration_read.is_some()));
    let small = "slot_bytes = 65536";
    house.apply(&many(300).replacen("writers = 1\n", &format!("writers = 1\n{small}\n"), 1));
    let refused = house.instance.run(&["reload"]).expect(1);
    for part in ["the parameters of the tasks: shared memory has no room", "/dev/shm more room"] {
        assert!(refused.stderr.contains(part), "{refused}");
    }
    assert!(house.status().unwrap().configuration_error.is_some());
    let ran = house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert!(ran.stdout.contains("4 rows landed"), "{ran}");
    let unknown = house.instance.run(&["run", "2"]).expect(2);
    assert!(unknown.stderr.contains("there is no task 2"), "{unknown}");
    house.apply(&task(1, small));
    house.instance.run(&["reload"]).expect(0);
    assert!(house.status().unwrap().configuration_error.is_none());
    // Commands that look into shared memory do not see that of the daemon.
    let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}
