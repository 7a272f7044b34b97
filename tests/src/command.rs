//! The program `ssync` as people and scripts call it: a home of its own, a clean environment,
//! something on standard input. (`ssync.rs` beside this runs tasks and crashes them.)

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use ssync_common::store::{Home, Store, StoreLocation};

/// The program as it is delivered, next to this test's own directory.
///
/// # Panics
/// When it is missing or older than the sources: `cargo test --workspace` builds it (with the
/// controller's own tests), `cargo test -p ssync-tests` does not.
pub fn program() -> PathBuf {
    // This test is …/deps/all-<hash>.
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("ssync");
    let hint = "run `cargo build` first, or test with `cargo test --workspace`";
    let built = std::fs::metadata(&program)
        .unwrap_or_else(|e| panic!("there is no program {}: {e}; {hint}", program.display()))
        .modified()
        .unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for part in ["common", "controller", "worker", "writer"] {
        let (changed, file) = newest(&root.join(part).join("src"));
        assert!(changed <= built, "{} is newer than the program; {hint}", file.display());
    }
    program
}

/// The file under `dir` that was changed last.
fn newest(dir: &Path) -> (SystemTime, PathBuf) {
    let mut newest = (SystemTime::UNIX_EPOCH, dir.to_owned());
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let found = match path.is_dir() {
            true => self::newest(&path),
            false => (path.metadata().unwrap().modified().unwrap(), path),
        };
        newest = newest.max(found);
    }
    newest
}

/// A home directory and the environment that `ssync` is called in.
pub struct Ssync {
    dir: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Default for Ssync {
    fn default() -> Self {
        Ssync::new()
    }
}

impl Ssync {
    /// A home that does not exist yet; an environment of nothing but that.
    pub fn new() -> Ssync {
        let dir = tempfile::Builder::new().prefix("ssync-command-").tempdir().unwrap();
        Ssync { dir, environment: Vec::new() }
    }

    /// Sets a variable for every later call.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Ssync {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// `SSYNC_HOME`.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A directory beside the home for files of the test.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Where the embedded configuration database is.
    pub fn location(&self) -> StoreLocation {
        StoreLocation::embedded(Home::locate(Some(&self.home())).unwrap())
    }

    /// The embedded configuration database.
    pub fn store(&self) -> Store {
        Store::open(&self.location()).unwrap()
    }

    /// The call, to be changed before it is made.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SSYNC_HOME", self.home())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Calls `ssync` and waits for its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Calls `ssync` with this on standard input.
    pub fn run_with_input(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A call that fails early does not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        Ran::from(child.wait_with_output().unwrap())
    }

    /// Makes this the configuration.
    #[track_caller]
    pub fn apply(&self, toml: &str) -> Ran {
        self.run_with_input(&["apply", "--yes", "-"], toml).expect(0)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<std::process::Output> for Ran {
    fn from(output: std::process::Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Panics unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Panics unless standard error contains all of this.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Ran {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in:\n{}", self.stderr);
        }
        self
    }
}
