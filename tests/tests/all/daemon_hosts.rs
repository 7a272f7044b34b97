//! The daemon on hosts that are not like this one: old kernels, containers, a full task table.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ssync_common::process::RunId;
use ssync_common::shm::TaskTable;
use ssync_common::shm::task_table::SLOTS;
use ssync_tests::ssync::{Running, cmdline, program};

use crate::daemon::{House, every_second, task};
use ssync_common::event::{What, events_between};
use ssync_controller::daemon::journal::Happened;

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The state letter of a process; `None` when nothing is left of it, not even a zombie.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

impl House {
    /// Starts a daemon by way of another program, and waits until it knows its configuration.
    fn start_by(&self, command: Command, failpoints: &str) -> Running {
        let mut daemon = self.instance.start_by(command, failpoints);
        self.wait("the daemon to have read its configuration", || {
            if daemon.has_ended() {
                panic!("it has ended\n{}", self.instance.logs());
            }
            self.status().is_some_and(|s| s.configuration_read.is_some())
        });
        daemon
    }

    /// The process of a task.
    fn worker(&self, task: u32) -> u32 {
        let running = self.status().unwrap().running;
        running.iter().find(|r| r.task == task).unwrap().pid
    }
}

/// `ssync daemon` on a kernel before 5.3; what was refused goes into `trace`.
fn without_pidfds(trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf", "-e", "trace=pidfd_open"])
        .args(["-e", "inject=pidfd_open:error=ENOSYS", "-o"])
        .arg(trace)
        .arg(program())
        .arg("daemon");
    command
}

#[test]
fn without_pidfds_deaths_are_noticed_and_tasks_taken_up() {
    let house = House::new(1);
    house.apply(&(every_second(1, "") + &task(1, "schedule = 1")));
    house.insert(1, 0..5);
    let traces = ["first", "second"].map(|name| house.instance.scratch().join(name));

    // Each once: the first run pauses at one, the second at the other.
    let points = "worker.start@1=pause;run.after_lock@*=pause";

    // A task that is killed, under the eyes of its daemon.
    let mut first = house.start_by(without_pidfds(&traces[0]), points);
    let worker = first.reached("worker.start").unwrap();
    signal(worker, Signal::SIGKILL);
    house.wait("its death to be noticed", || {
        let failed = house.decisions(1, Happened::Failed);
        failed.iter().any(|d| d.reason.contains("no error reported"))
    });
    house.wait("it to be buried", || state(worker).is_none());

    // The next one goes on without its daemon, and the next daemon takes it up.
    let worker = first.reached("run.after_lock").unwrap();
    signal(house.status().unwrap().pid, Signal::SIGKILL);
    house.wait("the daemon to be dead", || house.status().is_none());
    assert_eq!(cmdline(worker)[1], "worker");
    let second = house.start_by(without_pidfds(&traces[1]), "");
    house.wait("the task to be taken up", || house.worker(1) == worker);
    house.instance.release("run.after_lock");
    house.wait("the rows", || house.arrived(1) == 5);
    house.wait("its end and another run", || house.decisions(1, Happened::Done).len() >= 2);
    assert_eq!(house.decisions(1, Happened::TakenUp).len(), 1);
    first.wait();
    house.stop(second);
    for trace in traces {
        let refused = fs::read_to_string(trace).unwrap();
        assert!(refused.contains("ENOSYS") && refused.contains("(INJECTED)"), "{refused}");
        assert!(
            refused.lines().filter(|l| l.contains("pidfd_open(")).all(|l| l.contains("ENOSYS"))
        );
    }
}

/// `ssync daemon` as the first process of a pid namespace, as in a container; beside it a process
/// that its parent has left behind, and that waits for somebody to open `fifo`.
fn as_process_1(fifo: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"])
        .arg("(cat \"$1\" >/dev/null 2>&1 &); exec \"$0\" daemon")
        .arg(program())
        .arg(fifo);
    command
}

#[test]
fn as_process_1_it_buries_orphans_and_stops_in_good_order() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    house.insert(1, 0..50);
    let fifo = house.instance.scratch().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut container = house.start_by(as_process_1(&fifo), "writer.before_commit@1=pause");
    assert_eq!(house.status().unwrap().pid, 1);
    let daemon = children(container.pid())[0];

    // An orphan it never knew.
    let orphan = || children(daemon).into_iter().find(|pid| cmdline(*pid)[0] == "cat");
    house.wait("the orphan", || orphan().is_some());
    let cat = orphan().unwrap();
    drop(fs::File::options().write(true).open(&fifo).unwrap());
    house.wait("the orphan to be buried", || state(cat).is_none());

    // A task that is killed leaves its writer to the daemon.
    house.instance.run(&["run", "1"]).expect(0);
    container.reached("writer.before_commit").unwrap();
    let by_role = |role: &str| {
        let is_it = |pid: &u32| cmdline(*pid).get(1).is_some_and(|word| word == role);
        house.instance.processes().into_iter().find(is_it)
    };
    let (worker, writer) = (by_role("worker").unwrap(), by_role("writer").unwrap());
    signal(worker, Signal::SIGKILL);
    house.wait("both to be buried", || state(worker).is_none() && state(writer).is_none());
    house.wait("the death to be noticed", || !house.decisions(1, Happened::Failed).is_empty());

    // SIGTERM, as `docker stop` sends it, while a task is under way.
    let go = house.instance.home().join("failpoints/writer.before_commit.reached");
    fs::remove_file(&go).unwrap();
    house.instance.run(&["run", "1"]).expect(0);
    signal(daemon, Signal::SIGTERM);
    house.wait("it to leave", || house.status().is_none_or(|s| s.stopping));
    container.wait().expect(0);
    let last =
        house.decisions(1, Happened::Interrupted).len() + house.decisions(1, Happened::Done).len();
    assert_eq!(last, 1, "{}", house.instance.logs());
    house.is_clean();
    let under_way = house.sites[0].0.number("SELECT COUNT(*) FROM t WHERE sync_status = 1");
    assert_eq!(under_way, 0);
    let sent = house.sites[0].0.number("SELECT COUNT(*) FROM t WHERE sync_status = 2");
    assert_eq!(sent, house.arrived(1));
}

/// The command, said outside, does not take the host's process 1 for the daemon.
#[test]
fn a_daemon_in_another_pid_namespace_is_stopped_from_outside() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let fifo = house.instance.scratch().join("none");
    let container = house.start_by(as_process_1(&fifo), "");
    house.instance.run(&["stop", "--timeout", "60"]).expect(0);
    container.wait().expect(0);
    house.is_clean();
}

#[test]
fn a_firing_waits_for_a_place_in_a_full_task_table_and_says_so() {
    let house = House::new(3);
    let tasks = [task(1, "schedule = 1"), task(2, ""), task(3, "")].concat();
    house.apply(&("[controller]\ntasks_max = 64\n".to_owned() + &every_second(1, "") + &tasks));
    house.insert(1, 0..3);
    let mut foreground = house.instance.start(&["--task", "2"], "run.after_lock@*=pause");
    foreground.reached("run.after_lock").unwrap();
    let table = TaskTable::open_or_create(&house.instance.home()).unwrap();
    let others: Vec<_> = (1..SLOTS as u32)
        .map(|n| table.acquire(1000 + n, RunId::random().unwrap(), 1).unwrap())
        .collect();

    let daemon = house.start("");
    let waiting = || house.decisions(1, Happened::Waiting);
    house.wait("a firing to wait", || !waiting().is_empty());
    let waits = waiting().remove(0);
    assert!(waits.reason.contains("64 runs are under way"), "{waits:?}");
    let explained = house.instance.run(&["explain", "1"]).expect(0).stdout;
    assert!(explained.contains("64 runs are under way"), "{explained}");
    // Firings that come due meanwhile are left out; the one that waits is not.
    house.wait("two further firings", || {
        let explained = house.instance.run(&["explain", "1", "--json"]).expect(0);
        let explained: serde_json::Value = serde_json::from_str(&explained.stdout).unwrap();
        let decisions = explained["decisions"].as_array().unwrap().iter();
        let missed = decisions.filter(|d| d["what"] == "missed");
        missed.map(|d| d["count"].as_u64().unwrap()).sum::<u64>() >= 2
    });
    let full = || {
        let (from, to) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
        let events = events_between(&house.instance.home(), from, to).unwrap();
        events.into_iter().filter(|e| e.what == What::TasksFull).collect::<Vec<_>>()
    };
    assert_eq!(full().len(), 1, "{:?}", full());
    assert!(full()[0].text.starts_with("task 1 is due and waits: 64 runs"), "{:?}", full());
    let refused = house.instance.run(&["--task", "3"]).expect(1);
    assert!(refused.stderr.contains("the task table is full"), "{refused}");
    assert!(house.decisions(1, Happened::Started).is_empty());

    house.instance.release("run.after_lock");
    foreground.wait().expect(0);
    house.wait("the rows", || house.arrived(1) == 3);
    let started = house.decisions(1, Happened::Started);
    assert_eq!(started[0].due, waits.due, "the firing that waited");
    drop(others);
    house.stop(daemon);
}
