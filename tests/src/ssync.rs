//! The program under test, as a real process in a home directory of its own.
//!
//! [`Instance`] is a home with a configuration; [`Instance::run`] runs `ssync` in it to its end,
//! [`Instance::start`] lets it run while the test does something else. Crash points go along as
//! text (see `common/src/failpoint.rs`). A run that does not end in [`RUN_TIME_MAX`] is killed and
//! reported: it hangs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ssync_common::config::{Change, Config};
use ssync_common::process::RunId;
use ssync_common::shm;
use ssync_common::store::{Author, Entry, Home, Store, StoreLocation};

use crate::PATIENCE;
use crate::servers::{PASSWORD, oracle};

/// Environment variable that links of test configurations take their password from.
pub const PASSWORD_ENV: &str = "SSYNC_TEST_PASSWORD";
/// The same for links to Oracle.
pub const ORACLE_PASSWORD_ENV: &str = "SSYNC_TEST_ORACLE_LINK";
/// A run that takes longer hangs: three times the longest waits for locks (a minute each) that a run
/// may meet twice.
pub const RUN_TIME_MAX: Duration = Duration::from_secs(360);
/// Lines of each log that a failure shows.
const LOG_LINES: usize = 40;

/// The program, with its crash points compiled in.
pub fn program() -> PathBuf {
    // This test is …/deps/all-<hash>.
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("ssync-with-failpoints");
    assert!(program.exists(), "{} is missing; cargo test builds it", program.display());
    program
}

/// A home directory with a configuration. Dropped, it takes its processes and its shared memory
/// along.
pub struct Instance {
    dir: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
}

/// Makes this the configuration; what that changed.
#[track_caller]
pub fn apply(store: &mut Store, config: &Config) -> Vec<Change> {
    store.apply(config, &Author::of_this_process(None), |_| Ok(())).unwrap().changes
}

/// Writes entries down, as a task process does.
#[track_caller]
pub fn write_down(store: &mut Store, entries: impl IntoIterator<Item = Entry>) {
    let entries: Vec<_> = (1..).zip(entries).collect();
    store.write_down(RunId::random().unwrap(), &entries, false).unwrap();
}

impl Instance {
    /// A fresh home with this configuration.
    pub fn new(toml: &str) -> Instance {
        let dir = tempfile::Builder::new().prefix("ssync-home-").tempdir().unwrap();
        let environment = vec![
            (PASSWORD_ENV.into(), PASSWORD.into()),
            (ORACLE_PASSWORD_ENV.into(), oracle::account_password().into()),
        ];
        let instance = Instance { dir, environment };
        fs::create_dir(instance.home()).unwrap();
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            &instance.home(),
            nix::sys::stat::Mode::S_IRWXU,
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .unwrap();
        instance.apply(toml);
        instance
    }

    /// `SSYNC_HOME`.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A directory beside the home for files of the test.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Sets a variable for every later run.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Makes this the configuration.
    pub fn apply(&self, toml: &str) {
        let config = Config::from_toml(toml)
            .unwrap_or_else(|violations| panic!("{violations:?}\nin:\n{toml}"));
        apply(&mut self.store(), &config);
    }

    /// The configuration database.
    pub fn store(&self) -> Store {
        let home = Home::locate(Some(&self.home())).unwrap();
        Store::open(&StoreLocation::embedded(home)).unwrap()
    }

    /// Runs `ssync` to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.start(args, "").wait()
    }

    /// Runs `ssync` to its end, with crash points.
    pub fn run_with(&self, args: &[&str], failpoints: &str) -> Outcome {
        self.start(args, failpoints).wait()
    }

    /// A command that runs `ssync` by way of another program, with the environment of this home.
    pub fn in_environment(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().cloned())
            .env("SSYNC_HOME", self.home());
        command
    }

    /// Starts `ssync`, at the head of a process group of its own.
    pub fn start(&self, args: &[&str], failpoints: &str) -> Running {
        let mut command = Command::new(program());
        command.args(args);
        self.start_by(command, failpoints)
    }

    /// As [`Instance::start`], by way of another program.
    pub fn start_by(&self, command: Command, failpoints: &str) -> Running {
        let mut child = self
            .in_environment(command)
            .env("SSYNC_FAILPOINTS", failpoints)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reading = |mut from: Box<dyn Read + Send>| {
            thread::spawn(move || {
                let mut text = Vec::new();
                from.read_to_end(&mut text).unwrap();
                String::from_utf8_lossy(&text).into_owned()
            })
        };
        Running {
            child,
            home: self.home(),
            since: Instant::now(),
            stdout: Some(reading(Box::new(stdout))),
            stderr: Some(reading(Box::new(stderr))),
            status: None,
        }
    }

    /// Whether this crash point has acted.
    pub fn has_fired(&self, name: &str, batch: &str) -> bool {
        self.home().join("failpoints").join(format!("{name}@{batch}.fired")).exists()
    }

    /// Lets a process that pauses at this point go on, now or when it comes there.
    pub fn release(&self, name: &str) {
        let dir = self.home().join("failpoints");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{name}.go")), "").unwrap();
    }

    /// Crash points that have acted act again.
    pub fn forget_failpoints(&self) {
        let _ = fs::remove_dir_all(self.home().join("failpoints"));
    }

    /// What the processes of this home left behind that they should not: processes, shared
    /// memory, locks. To be asked when no run is under way.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .processes()
            .iter()
            .map(|pid| format!("process {pid}: {}", cmdline(*pid).join(" ")))
            .collect();
        let may_stay = |name: &str| name.ends_with("-tasks") || name.contains("-arena-");
        found.extend(self.segments().into_iter().filter(|name| !may_stay(name)));
        let mut store = self.store();
        for task in store.load().unwrap().tasks {
            for table in &task.tables {
                if let Some(lock) = store.lock_holder(task.id, &table.name).unwrap() {
                    found.push(format!("lock on {} held by {}", table.name, lock.owner_text()));
                }
            }
        }
        found
    }

    /// Segments of shared memory of this home, as paths.
    pub fn segments(&self) -> Vec<String> {
        let prefix = shm::prefix(&self.home()).unwrap();
        let prefix = prefix.trim_start_matches('/');
        fs::read_dir("/dev/shm")
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .map(|name| format!("/dev/shm/{name}"))
            .collect()
    }

    /// Batch rings of this home's processes, as paths by which they can be read: memory without a
    /// name, open in whoever can reach it.
    pub fn rings(&self) -> Vec<String> {
        self.processes().into_iter().flat_map(open_memory).collect()
    }

    /// Processes of this home: those that have it in their environment. Zombies do not count.
    pub fn processes(&self) -> Vec<u32> {
        let wanted = [b"SSYNC_HOME=", self.home().as_os_str().as_encoded_bytes()].concat();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|b| *b == 0).any(|pair| pair == wanted)
            })
            .collect()
    }

    /// Waits until no process of this home is left, as it has to be soon after a crash.
    pub fn wait_until_dead(&self) {
        let since = Instant::now();
        while !self.processes().is_empty() {
            assert!(since.elapsed() < PATIENCE, "still there: {:?}", self.leftovers());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The ends of the logs, for a failure's message.
    pub fn logs(&self) -> String {
        let mut out = String::new();
        let Ok(dir) = fs::read_dir(self.home().join("logs")) else { return out };
        for file in dir.filter_map(Result::ok).map(|e| e.path()).filter(|p| p.is_file()) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES);
            out += &format!("--- {}\n{}\n", file.display(), lines[from..].join("\n"));
        }
        out
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        for segment in self.segments() {
            let _ = fs::remove_file(segment);
        }
        if std::env::var_os("SSYNC_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.path().display());
            self.dir.disable_cleanup(true);
        }
    }
}

/// The arguments of a process.
pub fn cmdline(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

/// Shared memory that a process has open, as paths by which it can be read.
pub fn open_memory(pid: u32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    descriptors
        .filter_map(|d| Some(d.ok()?.path()))
        .filter(|path| {
            let target = fs::read_link(path).unwrap_or_default();
            target.starts_with("/dev/shm") || target.to_string_lossy().starts_with("/memfd:ssync")
        })
        .map(|path| path.display().to_string())
        .collect()
}

/// An `ssync` that runs.
pub struct Running {
    child: Child,
    home: PathBuf,
    since: Instant,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    status: Option<ExitStatus>,
}

impl Running {
    /// Its process id, and the id of its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status.is_some()
    }

    /// Sends a signal to the task process alone.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Sends a signal to the task process and its writers.
    pub fn signal_all(&self, signal: Signal) {
        killpg(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Waits until a process pauses at this point; its id. `None` when the run ended before.
    pub fn reached(&mut self, name: &str) -> Option<u32> {
        let path = self.home.join("failpoints").join(format!("{name}.reached"));
        loop {
            // It is created first and written then.
            if let Some(pid) = fs::read_to_string(&path).ok().and_then(|t| t.parse().ok()) {
                return Some(pid);
            }
            if self.has_ended() {
                return None;
            }
            self.check_time();
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn check_time(&mut self) {
        if self.since.elapsed() > RUN_TIME_MAX {
            let stacks = stacks(self.pid());
            let _ = killpg(Pid::from_raw(self.pid() as i32), Signal::SIGKILL);
            panic!("the run hangs; its threads:\n{stacks}");
        }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        while !self.has_ended() {
            self.check_time();
            thread::sleep(Duration::from_millis(1));
        }
        let status = self.status.unwrap();
        // What a paused orphan holds open is not worth waiting for.
        let text = |reading: Option<JoinHandle<String>>| reading.unwrap().join().unwrap();
        Outcome {
            code: status.code(),
            signal: status.signal(),
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            seconds: self.since.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = killpg(Pid::from_raw(self.pid() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// What the threads of a process and of its children wait for.
fn stacks(pid: u32) -> String {
    let mut out = String::new();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    for thread in threads.filter_map(Result::ok) {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        out += &format!("{} {}\n", read("comm").trim(), read("wchan"));
    }
    out
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub seconds: f64,
}

impl Outcome {
    /// Panics unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The object of a table of a run with `--json`.
    #[track_caller]
    pub fn table(&self, name: &str) -> serde_json::Value {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .find(|v| v["kind"] == "table" && v["table"] == name)
            .unwrap_or_else(|| panic!("no table {name}\n{self}"))
    }

    /// A count of that table.
    #[track_caller]
    pub fn count(&self, table: &str, name: &str) -> u64 {
        let object = self.table(table);
        object["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name}\n{self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit code {:?}, signal {:?}, {:.2} s", self.code, self.signal, self.seconds)?;
        write!(f, "{}{}", self.stdout, self.stderr)
    }
}
