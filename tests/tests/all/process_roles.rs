//! Starting, talking to and losing processes, with real ones.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use ssync_tests::PATIENCE;

/// A running `ssync-probe`; killed when dropped.
pub struct Probe {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    _stdin: ChildStdin,
}

impl Probe {
    pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Probe {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ssync-probe"))
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stdin = child.stdin.take().unwrap();
        Probe { child, lines, _stdin: stdin }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line; `None` at the end.
    pub fn try_line(&mut self) -> Option<Value> {
        self.lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    pub fn line(&mut self) -> Value {
        self.try_line().unwrap_or_else(|| panic!("the probe ended: {}", self.errors()))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// What it wrote to standard error, once it has ended.
    pub fn errors(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signalled(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Whether the process still runs; a zombie does not.
fn is_running(pid: u64) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']),
        Err(_) => false,
    }
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn report(options: &str) -> Value {
    let environment = [
        ("CORE_PASSWORD", "hunter2"),
        ("SSYNC_HOME", "/home/of/ssync"),
        ("LC_MESSAGES", "C"),
        ("LD_PRELOAD_NOT", "x"),
    ];
    Probe::start(&["report", options], &environment).line()
}

#[test]
fn a_child_sees_only_the_allowed_environment_and_a_readable_command_line() {
    let report = report("writer");
    let environment: BTreeMap<&str, &str> = report["environment"]
        .as_str()
        .unwrap()
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .collect();
    assert_eq!(environment["SSYNC_HOME"], "/home/of/ssync");
    assert_eq!(environment["LC_MESSAGES"], "C");
    let allowed = [
        "PATH",
        "HOME",
        "LANG",
        "TZ",
        "TMPDIR",
        "RUST_BACKTRACE",
        "SSYNC_HOME",
        "SSYNC_FAILPOINTS",
        "LD_LIBRARY_PATH",
        "ORACLE_HOME",
        "TNS_ADMIN",
        "NLS_LANG",
    ];
    for name in environment.keys() {
        assert!(allowed.contains(name) || name.starts_with("LC_"), "{name} has passed");
    }
    assert_eq!(report["command"], "ssync\nchild-report\n");
}

#[test]
fn a_child_has_three_streams_and_its_channel_and_nothing_else_open() {
    let report = report("writer");
    let fds: BTreeMap<i64, &str> = report["fds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_i64().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    assert_eq!(fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3], "{fds:?}");
    assert_eq!((fds[&0], fds[&1]), ("/dev/null", "/dev/null"));
    assert!(fds[&3].starts_with("socket:"), "{fds:?}");
    assert_eq!(report["channel_passes_on"], false);
}

#[test]
fn a_writer_stays_in_the_group_and_leaves_ctrl_c_to_its_parent() {
    let bit = |signal: Signal| 1u64 << (signal as i32 - 1);
    let writer = report("writer");
    assert_eq!(writer["parent_seen"], writer["parent"]);
    assert_eq!(writer["group"], writer["parent_group"]);
    assert_eq!(writer["blocked"], 0, "the parent blocks signals, the child must not");
    let ignored = writer["ignored"].as_u64().unwrap();
    assert_ne!(ignored & bit(Signal::SIGINT), 0);
    assert_ne!(ignored & bit(Signal::SIGHUP), 0);
    assert_eq!(ignored & bit(Signal::SIGTERM), 0);

    let worker = report("worker");
    assert_eq!(worker["session"], worker["pid"]);
    assert_eq!(worker["blocked"], 0);
    assert_eq!(worker["ignored"].as_u64().unwrap() & bit(Signal::SIGINT), 0);
    let environment = worker["environment"].as_str().unwrap();
    assert!(environment.lines().any(|l| l == "SSYNC_HOME=/elsewhere"), "{environment}");
    assert_eq!(environment.matches("SSYNC_HOME").count(), 1);

    let own_group = report("group");
    assert_eq!(own_group["group"], own_group["pid"]);
    assert_ne!(own_group["session"], own_group["pid"]);
}

#[test]
fn a_child_dies_with_its_parent_when_it_is_meant_to() {
    let mut parent = Probe::start(&["keep-deaf-child", "dies-with-parent"], &[]);
    let child = parent.line().as_u64().unwrap();
    assert!(is_running(child));
    parent.signal(Signal::SIGKILL);
    parent.wait();
    wait_for("the child's death", || !is_running(child));

    let mut parent = Probe::start(&["keep-deaf-child", "outlives-parent"], &[]);
    let child = parent.line().as_u64().unwrap();
    parent.signal(Signal::SIGKILL);
    parent.wait();
    assert!(is_running(child));
    kill(Pid::from_raw(child as i32), Signal::SIGKILL).unwrap();
    wait_for("the end of what this test started", || !is_running(child));
}

#[test]
fn death_is_noticed_by_the_channel_s_end_and_by_the_pidfd_after_the_last_words() {
    let notice = Probe::start(&["death-notice"], &[]).line();
    assert_eq!(notice["last"], "last words");
    assert_eq!(notice["exit"]["signal"], 9);
    assert_eq!(notice["exit"]["text"], "signal SIGKILL");
    assert_eq!(notice["late"], "Lost");
}

#[test]
fn a_long_setup_message_reaches_the_child() {
    assert_eq!(Probe::start(&["big-message"], &[]).line(), true);
}

#[test]
fn a_child_that_cannot_be_made_is_an_error_and_leaves_no_zombie() {
    let failure = Probe::start(&["exec-failure"], &[]).line();
    let error = failure["error"].as_str().unwrap();
    assert!(error.starts_with("could not start ssync again:"), "{error}");
    assert_eq!(failure["gone"], true);
    assert_eq!(failure["children"], "");
}

#[test]
fn spawning_does_not_hang_on_locks_of_other_threads() {
    assert_eq!(Probe::start(&["spawn-among-threads", "100"], &[]).line(), 100);
}

#[test]
fn a_role_started_by_hand_says_so() {
    let mut probe = Probe::start(&["child-echo"], &[]);
    assert_eq!(probe.wait().code(), Some(2));
    let errors = probe.errors();
    assert!(errors.contains("this role is started by ssync itself"), "{errors}");
}

#[test]
fn a_hardened_process_leaves_no_core_dump() {
    let end = Probe::start(&["core-dump"], &[]).line();
    assert_eq!(end["limits"], serde_json::json!([1, 1]));
    assert_eq!(end["exit"]["signal"], Signal::SIGABRT as i32);
    assert_eq!(end["exit"]["core"], false);
}

#[test]
fn signals_arrive_as_events_and_are_counted() {
    let mut probe = Probe::start(&["signals"], &[]);
    assert_eq!(probe.line(), "ready");
    for (signal, expected) in [
        (Signal::SIGINT, serde_json::json!(["Interrupt", 1])),
        (Signal::SIGINT, serde_json::json!(["Interrupt", 2])),
        (Signal::SIGTERM, serde_json::json!(["Terminate", 3])),
    ] {
        probe.signal(signal);
        assert_eq!(probe.line(), expected);
    }
    assert!(probe.wait().success());
}

#[test]
fn watching_signals_too_late_is_refused() {
    let message = Probe::start(&["signals-late"], &[]).line();
    assert!(message.as_str().unwrap().contains("before threads start; there are 2"), "{message}");
}

fn failpoint_home() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap().to_owned();
    (dir, home)
}

#[test]
fn a_failpoint_kills_at_its_batch_once_over_all_restarts() {
    let (dir, home) = failpoint_home();
    let environment =
        [("SSYNC_HOME", home.as_str()), ("SSYNC_FAILPOINTS", "other@*=kill;here@2=kill")];
    let mut first = Probe::start(&["hit", "here", "1", "2", "3"], &environment);
    assert_eq!(first.line(), "1");
    assert_eq!(first.try_line(), None);
    assert_eq!(signalled(first.wait()), Some(9));
    assert!(dir.path().join("failpoints/here@2.fired").exists());
    let mut second = Probe::start(&["hit", "here", "1", "2", "3"], &environment);
    assert_eq!([second.line(), second.line(), second.line()], ["1", "2", "3"]);
    assert!(second.wait().success());
}

#[test]
fn a_failpoint_pauses_until_it_is_told_to_go_on() {
    let (dir, home) = failpoint_home();
    let environment = [("SSYNC_HOME", home.as_str()), ("SSYNC_FAILPOINTS", "here@*=pause")];
    let mut probe = Probe::start(&["hit", "here", "1", "2"], &environment);
    let at = dir.path().join("failpoints");
    wait_for("the pause", || at.join("here.reached").exists());
    // Nothing comes while it waits: the pipe stays empty until the sign is there.
    std::fs::write(at.join("here.go"), "").unwrap();
    assert_eq!([probe.line(), probe.line()], ["1", "2"]);
}

#[test]
fn failpoints_that_cannot_be_understood_end_the_process_loudly() {
    let (_dir, home) = failpoint_home();
    for spec in ["here@1=explode", "here=kill", "nonsense"] {
        let environment = [("SSYNC_HOME", home.as_str()), ("SSYNC_FAILPOINTS", spec)];
        let mut probe = Probe::start(&["hit", "somewhere", "1"], &environment);
        assert_eq!(probe.wait().code(), Some(99));
        let errors = probe.errors();
        assert!(errors.contains("SSYNC_FAILPOINTS") && errors.contains(spec), "{errors}");
    }
}

#[test]
fn a_failpoint_takes_the_parent_or_the_whole_group_along_but_never_the_test() {
    for action in ["kill-parent", "kill-group"] {
        let (_dir, home) = failpoint_home();
        let spec = format!("here@1={action}");
        let environment = [("SSYNC_HOME", home.as_str()), ("SSYNC_FAILPOINTS", spec.as_str())];
        let mut command = Command::new(env!("CARGO_BIN_EXE_ssync-probe"));
        command.args(["hit-in-child", "here"]).envs(environment).stdout(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut parent = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let child: u64 = line.trim().parse().unwrap();
        assert_eq!(signalled(parent.wait().unwrap()), Some(9), "{action}");
        wait_for("the child's death", || !is_running(child));
    }
    // The group of this probe is the test's own.
    let (_dir, home) = failpoint_home();
    let environment = [("SSYNC_HOME", home.as_str()), ("SSYNC_FAILPOINTS", "here@1=kill-group")];
    let mut probe = Probe::start(&["hit", "here", "1"], &environment);
    assert_eq!(probe.wait().code(), Some(99));
    let errors = probe.errors();
    assert!(errors.contains("is not ssync"), "{errors}");
}

fn log_files(home: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(home.join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn log_from_four_processes(home: &Path, lines: &str) {
    let mut probes: Vec<_> = (0..4)
        .map(|_| Probe::start(&["log", "writer", home.to_str().unwrap(), lines], &[]))
        .collect();
    for probe in &mut probes {
        let status = probe.wait();
        assert!(status.success(), "{}", probe.errors());
    }
}

/// Checks that every line is whole, and that all of `lines` are there once per thread.
fn check_lines(text: &str, lines: usize) {
    let (mut events, mut panics) = (BTreeMap::new(), 0);
    for line in text.lines() {
        assert!(!line.contains("secret"), "{line}");
        let rest = line.split_once(" task=7 ").unwrap_or_else(|| panic!("torn: {line:?}")).1;
        if rest.ends_with("a bug in ssync stopped this thread") {
            panics += 1;
            continue;
        }
        let batch: usize =
            rest.strip_prefix("batch=").unwrap().split(' ').next().unwrap().parse().unwrap();
        let expected = format!(" note=\"two words\" <{}>", "x\\n".repeat(batch % 997));
        assert!(line.ends_with(&expected), "torn: {line:?}");
        assert!(line.contains(" INFO  writer["), "{line}");
        *events.entry(batch).or_insert(0) += 1;
    }
    assert_eq!(events.len(), lines);
    assert!(events.values().all(|n| *n == 8), "four processes with two threads each");
    assert_eq!(panics, 4);
}

#[test]
fn lines_of_many_processes_are_whole_and_all_there() {
    let (dir, _) = failpoint_home();
    log_from_four_processes(dir.path(), "1000");
    let files = log_files(dir.path());
    assert_eq!(files.len(), 1, "{:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>());
    let name = &files[0].0;
    assert!(name.starts_with("writer-20") && name.ends_with(".log"), "{name}");
    check_lines(&files[0].1, 1000);
}

#[test]
fn logs_go_on_in_a_new_part_when_one_is_large_and_lose_nothing() {
    let (dir, _) = failpoint_home();
    let yaml = ssync_common::logging::DEFAULT_YAML.replace("268435456", "1000000");
    std::fs::write(dir.path().join("log4rs.yaml"), yaml).unwrap();
    log_from_four_processes(dir.path(), "500");
    let files = log_files(dir.path());
    assert!(files.len() > 2, "{:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>());
    // Writers that were past the check may add one line each.
    assert!(files.iter().all(|(_, text)| text.len() < 1_000_000 + 8 * 4096));
    check_lines(&files.into_iter().map(|f| f.1).collect::<String>(), 500);
}

#[test]
fn logging_settings_that_cannot_be_used_are_refused() {
    for yaml in [
        "root: [",
        "root:\n  level: info\n  appenders: [nowhere]\n",
        "appenders:\n  file:\n    kind: ssync_file\n    max_byte: 5\nroot:\n  level: info\n  appenders: [file]\n",
    ] {
        let (dir, home) = failpoint_home();
        std::fs::write(dir.path().join("log4rs.yaml"), yaml).unwrap();
        let mut probe = Probe::start(&["log", "writer", &home, "1"], &[]);
        assert_eq!(probe.wait().code(), Some(2), "{yaml}");
        let errors = probe.errors();
        assert!(errors.contains("could not use the logging settings"), "{errors}");
        assert!(errors.contains("log4rs.yaml"), "{errors}");
    }
}
