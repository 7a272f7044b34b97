//! A daemon that does not answer: commands say so soon, and what was given up is not obeyed later.

use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ssync_common::shm::TaskTable;
use ssync_controller::daemon::control::connect;
use ssync_controller::daemon::journal::Happened;

use crate::daemon::{House, task};

/// A daemon that does not answer is reported by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_frozen_daemon_is_reported_soon_and_obeys_nothing_that_was_given_up() {
    let house = House::new(2);
    house.apply(&(task(1, "") + &task(2, "")));
    house.insert(1, 0..3);
    let daemon = house.start("");
    let read = house.status().unwrap().configuration_read;
    daemon.signal(Signal::SIGSTOP);
    for command in
        [&["run", "1"][..], &["run", "1", "--wait"], &["reload"], &["stop"], &["stop", "--now"]]
    {
        let began = Instant::now();
        let told = house.instance.run(command).expect(1);
        assert!(began.elapsed() < SOON, "{command:?}: {told}");
        assert!(told.stderr.contains("the daemon does not answer"), "{command:?}: {told}");
        assert!(told.stderr.contains("nothing was done"), "{command:?}: {told}");
    }
    // Interrupted before it gave up by itself.
    for request in ["{\"run\":{\"task\":1,\"tables\":[],\"wait\":true}}", "\"reload\""] {
        let mut caller = connect(&house.home(), SOON).unwrap().unwrap();
        caller.write_all(format!("{request}\n").as_bytes()).unwrap();
    }
    daemon.signal(Signal::SIGCONT);
    // It hears the others first.
    house.instance.run(&["run", "2", "--wait"]).expect(0);
    let status = house.status().unwrap();
    assert_eq!((status.pid, status.stopping), (daemon.pid(), false));
    assert_eq!(status.configuration_read, read, "nobody waits for a reading");
    assert_eq!(house.decisions(1, Happened::Started), []);
    assert_eq!(house.arrived(1), 0);
    house.instance.run(&["run", "1", "--wait"]).expect(0);
    house.stop(daemon);
}

#[test]
fn a_run_that_is_given_up_while_it_waits_is_not_started() {
    let house = House::new(2);
    house.apply(&("[controller]\ntasks_max = 1\n".to_owned() + &task(1, "") + &task(2, "")));
    house.insert(2, 0..3);
    let mut daemon = house.start("run.after_lock@*=pause");
    house.instance.run(&["run", "1"]).expect(0);
    daemon.reached("run.after_lock").unwrap();
    let waits = house.instance.start(&["run", "2"], "");
    house.wait("task 2 to wait", || !house.decisions(2, Happened::Waiting).is_empty());
    waits.signal(Signal::SIGINT);
    waits.wait();
    house.instance.release("run.after_lock");
    house.wait("task 1", || !house.decisions(1, Happened::Done).is_empty());
    house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert_eq!(house.decisions(2, Happened::Started), []);
    assert_eq!(house.arrived(2), 0);
    house.stop(daemon);
}

/// The flag in shared memory, for a daemon whose socket is gone, cannot be taken back.
#[test]
fn a_frozen_daemon_without_its_socket_is_not_asked_to_stop() {
    let house = House::new(1);
    house.apply(&task(1, ""));
    let daemon = house.start("");
    std::fs::remove_file(house.instance.home().join("run").join("daemon.sock")).unwrap();
    daemon.signal(Signal::SIGSTOP);
    let told = house.instance.run(&["stop"]).expect(1);
    assert!(told.stderr.contains("the daemon does not answer"), "{told}");
    let table = TaskTable::open(&house.instance.home()).unwrap().unwrap();
    assert_eq!(table.requests().unwrap().stop, 0);
    daemon.signal(Signal::SIGCONT);
    house.stop(daemon);
}
