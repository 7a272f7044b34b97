//! A task that dies is told once, whoever notices it; and what is to be told outlives a power
//! failure.

use std::process::Command;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use ssync_common::event::{Event, What, events_between};
use ssync_controller::daemon::journal::Happened;
use ssync_tests::PATIENCE;
use ssync_tests::listeners::{self, HttpRequest, Listener, plain};
use ssync_tests::ssync::{Running, program};

use crate::daemon::{House, every_second, task};

/// A house with a monitor that tells deaths to `chat`.
struct Watched {
    house: House,
    chat: Listener<HttpRequest>,
    monitor: Running,
}

impl Watched {
    fn new(toml: &str) -> Watched {
        let house = House::new(1);
        let chat = listeners::http(0, plain());
        house.apply(&format!(
            "{toml}[[receiver]]\nname = \"chat\"\nkind = \"webhook\"\n\
             url = \"http://127.0.0.1:{}/send\"\n\
             events = [\"task_died\", \"task_killed\"]\n",
            chat.port()
        ));
        house.insert(1, 0..3);
        let monitor = house.instance.start(&["monitor"], "");
        Watched { house, chat, monitor }
    }

    /// Waits until the monitor has made up its mind about a death.
    fn wait_for_monitor(&self) {
        let state = self.house.instance.home().join("events/monitor.json");
        let begin = std::time::Instant::now();
        loop {
            let text = std::fs::read_to_string(&state).unwrap_or_default();
            let known: Value = serde_json::from_str(&text).unwrap_or_default();
            if known["dead"].as_array().is_some_and(|runs| !runs.is_empty()) {
                return;
            }
            if begin.elapsed() > PATIENCE {
                let table = self.house.instance.run(&["status", "--json"]).stdout;
                panic!("not noticed: {known}\n{table}\n{}", self.house.instance.logs());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// The only thing that the receiver is told.
    #[track_caller]
    fn only_message(&self) -> Event {
        let told = self.chat.wait_for(1);
        let waiting = || {
            let list = self.house.instance.run(&["receiver", "list", "--json"]).expect(0);
            let list: Value = serde_json::from_str(&list.stdout).unwrap();
            list["receivers"][0]["waiting"] != 0
        };
        self.house.wait("everything to be told", || !waiting());
        assert_eq!(self.chat.got().len(), 1, "{:?}", self.chat.got());
        let told: Value = serde_json::from_str(&told[0].body).unwrap();
        let events = self.house.events();
        events.into_iter().find(|e| told["id"] == e.id.as_str()).unwrap()
    }

    /// The next run settles what the dead one left; then everything ends.
    fn end(self, daemon: Running) {
        self.monitor.signal(Signal::SIGTERM);
        self.monitor.wait().expect(0);
        self.house.instance.run(&["run", "1", "--wait"]).expect(0);
        assert_eq!(self.house.arrived(1), 3);
        self.house.stop(daemon);
    }
}

impl House {
    fn events(&self) -> Vec<Event> {
        events_between(&self.instance.home(), Timestamp::UNIX_EPOCH, Timestamp::MAX).unwrap()
    }
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
}

const PAUSE: &str = "run.after_lock@*=pause";

#[test]
fn a_living_daemon_tells_its_tasks_death_and_the_monitor_keeps_quiet() {
    let watched = Watched::new(&task(1, ""));
    let mut daemon = watched.house.start(PAUSE);
    watched.house.instance.run(&["run", "1"]).expect(0);
    kill_9(daemon.reached("run.after_lock").unwrap());
    watched.wait_for_monitor();
    let event = watched.only_message();
    assert!(event.text.contains("no error reported"), "the daemon's words: {event:?}");
    assert!(event.run.is_some(), "{event:?}");
    watched.end(daemon);
}

#[test]
fn the_monitor_tells_the_death_of_a_task_whose_daemon_is_dead_too() {
    let watched = Watched::new(&task(1, ""));
    let mut daemon = watched.house.start(PAUSE);
    watched.house.instance.run(&["run", "1"]).expect(0);
    let worker = daemon.reached("run.after_lock").unwrap();
    kill_9(daemon.pid());
    daemon.wait();
    kill_9(worker);
    watched.wait_for_monitor();
    let event = watched.only_message();
    assert!(event.text.contains("has died without ending its run"), "{event:?}");
    let daemon = watched.house.start("");
    watched.end(daemon);
}

#[test]
fn the_monitor_tells_the_death_of_a_run_in_the_foreground_beside_a_daemon() {
    let watched = Watched::new(&task(1, ""));
    let daemon = watched.house.start("");
    let mut run = watched.house.instance.start(&["--task", "1"], PAUSE);
    run.reached("run.after_lock").unwrap();
    run.signal(Signal::SIGKILL);
    run.wait();
    watched.wait_for_monitor();
    let event = watched.only_message();
    assert!(event.text.contains("has died without ending its run"), "{event:?}");
    watched.end(daemon);
}

/// The next daemon starts the task again, and its run takes the dead one's place before anybody
/// has looked.
#[test]
fn a_daemon_tells_what_has_died_with_the_one_before() {
    let watched = Watched::new(&(every_second(1, "") + &task(1, "schedule = 1")));
    let mut daemon = watched.house.start(PAUSE);
    let worker = daemon.reached("run.after_lock").unwrap();
    let known = || {
        let noted = std::fs::read_to_string(watched.house.instance.home().join("run/daemon.json"));
        let noted: Value = serde_json::from_str(&noted.unwrap_or_default()).unwrap_or_default();
        noted["schedules"][0]["under_way"]["current"] == 1
    };
    watched.house.wait("the daemon's note", known);
    kill_9(daemon.pid());
    daemon.wait();
    kill_9(worker);
    let daemon = watched.house.start("");
    watched.house.wait("the rows", || watched.house.arrived(1) == 3);
    let done = watched.house.decisions(1, Happened::Done).len();
    // Longer than the monitor waits for others.
    watched
        .house
        .wait("five further runs", || watched.house.decisions(1, Happened::Done).len() >= done + 5);
    let event = watched.only_message();
    // Taken up while it was dying, or found dead.
    assert!(event.text.contains("died"), "{event:?}");
    watched.monitor.signal(Signal::SIGTERM);
    watched.monitor.wait().expect(0);
    watched.house.stop(daemon);
}

/// What `strace` saw being written through to the disk, with the thread that waited for it.
fn syncs(trace: &std::path::Path) -> Vec<(u32, String)> {
    let text = std::fs::read_to_string(trace).unwrap();
    let parse = |line: &str| {
        let (thread, call) = line.split_once(' ')?;
        let path = call.split(['<', '>']).nth(1)?;
        Some((thread.parse().ok()?, path.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

fn traced(trace: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(trace)
        .arg(program())
        .args(args);
    command
}

#[test]
fn events_are_on_the_disk_and_reminders_are_left_to_the_kernel() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..2);
    let run = |name: &str, code: i32| {
        let trace = house.instance.scratch().join(name);
        house.instance.start_by(traced(&trace, &["--task", "1"]), "").wait().expect(code);
        let of_events = |(_, path): &(u32, String)| path.contains("/home/events");
        syncs(&trace).into_iter().filter(of_events).map(|(_, path)| path).collect::<Vec<_>>()
    };
    // A run in which all goes well waits for no disk because of what it records.
    assert_eq!(run("well", 0), Vec::<String>::new());
    house.sites[0].1.run(&["ALTER TABLE t RENAME TO elsewhere"]);
    house.insert(1, 2..3);
    let failed = run("badly", 2);
    assert_eq!(house.events().len(), 1);
    assert_eq!(failed.len(), 2, "the file, and its name: {failed:?}");
    assert!(failed[0].contains("/events/events-") && failed[1].ends_with("/events"), "{failed:?}");
    assert_eq!(run("again", 2).len(), 1);
}

#[test]
fn the_daemons_events_are_on_the_disk_and_its_loop_does_not_wait_for_it() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let trace = house.instance.scratch().join("daemon");
    let daemon = house.instance.start_by(traced(&trace, &["daemon"]), "");
    house.wait("it to listen", || house.status().is_some());
    let pid = house.status().unwrap().pid;
    house.stop(daemon);
    let of_events: Vec<_> =
        syncs(&trace).into_iter().filter(|(_, path)| path.contains("/events/events-")).collect();
    let whats: Vec<_> = house.events().iter().map(|e| e.what).collect();
    assert_eq!(whats, [What::ControllerStarted, What::ControllerStopped]);
    assert_eq!(of_events.len(), 2, "{of_events:?}");
    assert!(of_events.iter().all(|(thread, _)| *thread != pid), "{of_events:?}");
}

/// Nobody has stopped it, and nobody starts it again.
#[test]
fn a_dead_daemon_is_told_by_the_monitor_once_and_shown_by_status() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let daemon = house.start("");
    let monitor = house.instance.start(&["monitor"], "");
    house.instance.run(&["status"]).expect(0);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let shown = house.instance.run(&["status"]).expect(1);
    assert!(shown.stdout.contains("daemon: not running\nit was not stopped"), "{shown}");
    let down = || house.events().iter().filter(|e| e.what == What::ControllerDown).count();
    house.wait("the monitor to tell", || down() == 1);
    let kept = house.instance.home().join("events/monitor.json");
    let is_down = || {
        let text = std::fs::read_to_string(&kept).unwrap_or_default();
        serde_json::from_str::<Value>(&text).ok().and_then(|v| v["controller_down"].as_bool())
    };
    house.wait("the monitor to keep it", || is_down() == Some(true));
    // Another monitor does not tell it again.
    monitor.signal(Signal::SIGTERM);
    monitor.wait().expect(0);
    let monitor = house.instance.start(&["monitor"], "");
    let daemon = house.start("");
    house.wait("the monitor to see it is back", || is_down() == Some(false));
    house.instance.run(&["status"]).expect(0);
    assert_eq!(down(), 1);
    monitor.signal(Signal::SIGTERM);
    monitor.wait().expect(0);
    house.stop(daemon);
}
