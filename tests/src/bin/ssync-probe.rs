//! A program made of ssync's process and shared-memory parts alone, for tests that need real
//! processes: `ssync-probe <scenario> …`. Scenarios print one JSON value a line. The `child-…`
//! ones are started by others, through [`spawn_role`].

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use serde_json::{Value, json};
use ssync_common::failpoint;
use ssync_common::process::spawn::{CHANNEL_FD, Group, Stderr};
use ssync_common::process::{self, Channel, Child, Exit, RunId, SpawnOptions, spawn_role};
use ssync_common::shm::waiting::Phase;
use ssync_common::shm::{self, Ring, Segment, TaskTable, Waiting, ring};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["report", options] => report(options),
        ["keep-deaf-child", ending] => keep_deaf_child(ending == "dies-with-parent"),
        ["death-notice"] => death_notice(),
        ["big-message"] => big_message(),
        ["exec-failure"] => exec_failure(),
        ["spawn-among-threads", count] => spawn_among_threads(count.parse().unwrap()),
        ["core-dump"] => core_dump(),
        ["ring"] => ring(),
        ["hold-segments", home] => hold_segments(Path::new(home)),
        ["signals"] => signals(),
        ["signals-late"] => signals_late(),
        ["hit", name, ref batches @ ..] => hit(name, batches),
        ["hit-in-child", name] => hit_in_child(name),
        ["log", role, home, lines] => log_lines(role, Path::new(home), lines.parse().unwrap()),
        ["controller", home] => controller(Path::new(home)),
        ["task", home, id] => task(Path::new(home), id.parse().unwrap()),
        ["child-report"] => child_report(),
        ["child-deaf"] => child_deaf(),
        ["child-killed"] => child_killed(),
        ["child-echo"] => child_echo(),
        ["child-abort"] => child_abort(),
        ["child-ring", manner] => child_ring(manner),
        ["child-hit", name] => child_hit(name),
        _ => panic!("no scenario {args:?}"),
    }
}

fn print(value: Value) {
    println!("{value}");
    std::io::stdout().flush().unwrap();
}

fn spawn(args: &[&str], options: SpawnOptions) -> (Child, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    (spawn_role(args, theirs, options).unwrap(), ours)
}

fn inherited() -> Channel {
    Channel::from_inherited_fd(CHANNEL_FD).unwrap_or_else(|e| {
        eprintln!("{e:?}");
        std::process::exit(2)
    })
}

/// Until whoever started this process closes its standard input.
fn wait_for_stdin() {
    std::io::stdin().lock().lines().for_each(drop);
}

fn describe(exit: &Exit) -> Value {
    json!({ "pid": exit.pid(), "code": exit.code(), "signal": exit.signal(), "text": exit.to_string(),
            "core": exit.core_dumped() })
}

/// What a child finds around itself.
fn report(options: &str) {
    let _events = process::signals::watch().unwrap();
    // A library that forgets close-on-exec.
    let leak = std::fs::File::open("/etc/hostname").unwrap();
    let _leak = fcntl(&leak, FcntlArg::F_DUPFD(40)).unwrap();
    let options = match options {
        "writer" => SpawnOptions::default(),
        "worker" => SpawnOptions {
            die_with_parent: false,
            group: Group::NewSession,
            ignore_terminal_signals: false,
            stderr: Stderr::Null,
            environment: vec![("SSYNC_HOME".into(), "/elsewhere".into())],
        },
        _ => SpawnOptions { group: Group::New, ..SpawnOptions::default() },
    };
    let (mut child, channel) = spawn(&["child-report"], options);
    let mut report: Value = channel.recv().unwrap().unwrap();
    report["parent"] = std::process::id().into();
    report["parent_group"] = nix::unistd::getpgrp().as_raw().into();
    print(report);
    drop(channel);
    assert!(child.wait().unwrap().success());
}

fn child_report() {
    let channel = inherited();
    let fds: Vec<Value> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let target = std::fs::read_link(&path).unwrap();
            let listing = target.ends_with(format!("{}/fd", std::process::id()));
            let fd: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (!listing).then(|| json!([fd, target]))
        })
        .collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let text =
        |path: &str| String::from_utf8(std::fs::read(path).unwrap()).unwrap().replace('\0', "\n");
    channel
        .send(&json!({
            "pid": std::process::id(),
            "parent_seen": nix::unistd::getppid().as_raw(),
            "group": nix::unistd::getpgrp().as_raw(),
            "session": nix::unistd::getsid(None).unwrap().as_raw(),
            "environment": text("/proc/self/environ"),
            "command": text("/proc/self/cmdline"),
            "fds": fds,
            "channel_passes_on": fcntl(&channel, FcntlArg::F_GETFD).unwrap() == 0,
            "blocked": field("SigBlk:"),
            "ignored": field("SigIgn:"),
        }))
        .unwrap();
    assert_eq!(channel.recv::<Value>().unwrap(), None);
}

fn keep_deaf_child(die_with_parent: bool) {
    let options = SpawnOptions { die_with_parent, ..SpawnOptions::default() };
    let (child, channel) = spawn(&["child-deaf"], options);
    let _: Value = channel.recv().unwrap().unwrap();
    print(json!(child.pid()));
    wait_for_stdin();
}

/// Never looks at its channel again.
fn child_deaf() {
    inherited().send(&"ready").unwrap();
    loop {
        std::thread::park();
    }
}

fn death_notice() {
    let (mut child, channel) = spawn(&["child-killed"], SpawnOptions::default());
    assert_eq!(child.try_wait().unwrap(), None);
    channel.send(&"die").unwrap();
    let mut last = None;
    while let Some(message) = channel.recv::<Value>().unwrap() {
        last = Some(message);
    }
    let pidfd = child.pidfd().expect("a kernel with pidfds");
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)).unwrap(), 1);
    let exit = child.wait().unwrap();
    assert_eq!(child.wait().unwrap(), exit, "the answer stays");
    child.kill().unwrap();
    let late = channel.send(&"too late").unwrap_err();
    print(json!({ "last": last, "exit": describe(&exit), "late": format!("{:?}", late.kind) }));
}

/// Says something, and dies with half a message on its way.
fn child_killed() {
    let channel = inherited();
    let _: Value = channel.recv().unwrap().unwrap();
    channel.send(&"last words").unwrap();
    let half = [20u8, 0, 0, 0, b'"'];
    nix::sys::socket::send(
        std::os::fd::AsFd::as_fd(&channel).as_raw_fd(),
        &half,
        nix::sys::socket::MsgFlags::empty(),
    )
    .unwrap();
    nix::sys::signal::kill(Pid::this(), nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn big_message() {
    let (mut child, channel) = spawn(&["child-echo"], SpawnOptions::default());
    let setup = "x".repeat(3 << 20);
    channel.send(&setup).unwrap();
    let echo: String = channel.recv().unwrap().unwrap();
    print(json!(echo == setup));
    drop(channel);
    assert!(child.wait().unwrap().success());
}

fn child_echo() {
    let channel = inherited();
    while let Some(message) = channel.recv::<Value>().unwrap() {
        channel.send(&message).unwrap();
    }
}

fn exec_failure() {
    let (ours, theirs) = Channel::pair().unwrap();
    // Longer than Linux allows one argument to be.
    let long = "x".repeat(200_000);
    let e = spawn_role(&["child-echo", &long], theirs, SpawnOptions::default()).unwrap_err();
    let gone = ours.recv::<Value>().unwrap().is_none();
    let children = std::fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this()));
    print(json!({ "error": e.message, "gone": gone, "children": children.unwrap_or_default() }));
}

/// Other threads allocate and read the environment all the while, so that their locks are held
/// at the moment of a fork.
fn spawn_among_threads(count: usize) {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let texts: Vec<String> = std::env::vars().map(|(k, v)| k + &v).collect();
                    std::hint::black_box(texts);
                }
            });
        }
        for n in 0..count {
            let (mut child, channel) = spawn(&["child-echo"], SpawnOptions::default());
            channel.send(&n).unwrap();
            assert_eq!(channel.recv::<usize>().unwrap(), Some(n));
            drop(channel);
            assert!(child.wait().unwrap().success());
        }
        done.store(true, Ordering::Relaxed);
    });
    print(json!(count));
}

fn core_dump() {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, hard, hard).unwrap();
    let options = SpawnOptions { stderr: Stderr::Null, ..SpawnOptions::default() };
    let (mut child, channel) = spawn(&["child-abort"], options);
    let limits: Value = channel.recv().unwrap().unwrap();
    print(json!({ "limits": limits, "exit": describe(&child.wait().unwrap()) }));
}

fn child_abort() {
    let channel = inherited();
    process::harden().unwrap();
    channel.send(&getrlimit(Resource::RLIMIT_CORE).unwrap()).unwrap();
    std::process::abort();
}

fn ring() {
    let ring = Ring::create(2, 1 << 20, 1).unwrap();
    let batch: Vec<u8> = (0..900_000u32).map(|i| i as u8).collect();
    let fill = |slot| {
        ring.fill(slot, |b| {
            b[..batch.len()].copy_from_slice(&batch);
            Ok(batch.len())
        })
        .unwrap()
    };
    let start_writer = |manner: &str| {
        let (child, channel) = spawn(&["child-ring", manner], SpawnOptions::default());
        channel.send_with("a ring", Some(ring.descriptor().unwrap())).unwrap();
        (child, channel)
    };
    // One writer dies with the batch in its hands; a second one lands it.
    let generation = fill(1);
    let (mut first, channel) = start_writer("hold");
    channel.send(&(1, generation)).unwrap();
    let _: Value = channel.recv().unwrap().unwrap();
    let refused = ring.fill(1, |_| Ok(0)).is_err() && ring.requeue(1, generation).is_err();
    first.kill().unwrap();
    let (mut second, channel) = start_writer("land");
    let death = first.wait().unwrap();
    let reclaimed = ring.reclaim(1, generation, &death).unwrap();
    let generation = ring.requeue(1, generation).unwrap();
    channel.send(&(1, generation)).unwrap();
    let sum: u64 = channel.recv().unwrap().unwrap();
    let verdict = String::from_utf8(ring.verdict(1, generation).unwrap()).unwrap();
    let entry = ring.writer(0).unwrap().view();
    let next = fill(1);
    drop(channel);
    let untaken = ring.reclaim(1, next, &second.wait().unwrap()).unwrap();
    print(json!({
        "refused": refused, "reclaimed": reclaimed, "verdict": verdict, "landed": entry.rows,
        "same": sum == batch.iter().map(|b| u64::from(*b)).sum::<u64>(), "untaken": untaken,
    }));
}

fn child_ring(manner: &str) {
    let channel = inherited();
    let (_, descriptor) = channel.recv_with::<String>().unwrap().unwrap();
    let ring = Ring::receive(descriptor).unwrap();
    while let Some((slot, generation)) = channel.recv::<(usize, u64)>().unwrap() {
        let buffer = ring.buffer(slot, generation).unwrap();
        let sum: u64 = buffer.iter().map(|b| u64::from(*b)).sum();
        if manner == "hold" {
            channel.send(&"held").unwrap();
            loop {
                std::thread::park();
            }
        }
        drop(buffer);
        ring.writer(0).unwrap().landed(10, 900_000);
        ring.put_verdict(slot, generation, b"landed").unwrap();
        channel.send(&sum).unwrap();
    }
}

/// Rings as version 0.1 had them: under names.
fn hold_segments(home: &Path) {
    let name = format!("{}ring-{}-0", shm::prefix(home).unwrap(), std::process::id());
    let names = [name.clone(), format!("{name}-side-1")];
    let hold = |name: &String| Segment::create(name, ring::LAYOUT, 4096, |_| Ok(())).unwrap();
    let _held = names.each_ref().map(hold);
    print(json!(names));
    wait_for_stdin();
}

fn signals() {
    let events = process::signals::watch().unwrap();
    print(json!("ready"));
    for _ in 0..3 {
        let event = events.recv().unwrap();
        print(json!([format!("{:?}", event.signal), event.count]));
    }
}

fn signals_late() {
    std::thread::spawn(std::thread::park);
    print(json!(process::signals::watch().unwrap_err().message));
}

fn hit(name: &str, batches: &[&str]) {
    for batch in batches {
        failpoint::hit(name, batch.parse().unwrap());
        print(json!(batch));
    }
}

fn hit_in_child(name: &str) {
    let (mut child, channel) = spawn(&["child-hit", name], SpawnOptions::default());
    print(json!(child.pid()));
    channel.send(&"go").unwrap();
    let _ = channel.recv::<Value>();
    print(describe(&child.wait().unwrap()));
}

fn child_hit(name: &str) {
    let channel = inherited();
    let _: Value = channel.recv().unwrap().unwrap();
    failpoint::hit(name, 1);
    channel.send(&"survived").unwrap();
}

fn log_lines(role: &str, home: &Path, lines: usize) {
    ssync_common::logging::init(role, home).unwrap_or_else(|e| {
        eprintln!("{e:?}");
        std::process::exit(2)
    });
    ssync_common::logging::set_context("task", 7);
    std::thread::scope(|s| {
        for thread in 0..2 {
            s.spawn(move || {
                for n in 0..lines {
                    let filler = "x\n".repeat(n % 997);
                    log::info!(batch = n, thread = thread, note = "two words"; "<{filler}>");
                }
            });
        }
    });
    let _ = std::thread::spawn(|| panic!("a secret value")).join();
}

/// A controller that does nothing but live, until SIGTERM: then it leaves in good order.
fn controller(home: &Path) {
    let signals = process::signals::watch().unwrap();
    let guard = TaskTable::open_or_create(home).unwrap().become_controller().unwrap();
    print(json!(std::process::id()));
    let beat = std::time::Duration::from_millis(50);
    while signals.recv_timeout(beat).is_err() {
        guard.beat().unwrap();
    }
    guard.leave().unwrap();
}

fn task(home: &Path, id: u32) {
    let table = TaskTable::open_or_create(home).unwrap();
    let slot = table.acquire(id, RunId::random().unwrap(), 1).unwrap();
    print(json!(slot.index()));
    for n in 0u64.. {
        slot.begin_table(&format!("{n}-").repeat(20));
        slot.set_phase(Phase::Transferring);
        slot.wait(Waiting::Slot);
        slot.set_params(&vec![n; 500]);
        slot.counters().rows_read.store(n, Ordering::Relaxed);
    }
}
