//! A process that ends with the test process, and whose directory goes with it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The supervisor: a shell that starts the server on request and outlives the test process just
/// long enough to clean up. The end of its input is the death notice, so that it works after
/// SIGKILL too; a group of its own keeps the terminal's Ctrl-C away from it.
const SUPERVISOR: &str = r#"
dir=$1; shift
pid=
while read -r order; do
    case $order in
    start) "$@" </dev/null >>"$dir/log" 2>&1 & pid=$!; echo "$pid" ;;
    kill) kill -KILL "$pid"; wait "$pid"; pid=; echo gone ;;
    stop) kill -TERM "$pid"; wait "$pid"; pid=; echo gone ;;
    esac
done
if [ -n "$pid" ]; then kill -KILL "$pid"; wait "$pid"; fi
rm -rf "$dir"
"#;

/// What to run.
pub(super) struct ServerCommand {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) library_path: Option<PathBuf>,
}

/// A server under its supervisor.
pub(super) struct Supervised {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: Option<u32>,
}

impl Supervised {
    /// The supervisor alone; it removes `dir` at the end.
    pub(super) fn new(dir: &Path, server: ServerCommand) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(dir)
            .arg(server.program)
            .args(server.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some(path) = server.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        let mut shell = command.spawn().unwrap();
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        Supervised { shell, orders, answers, pid: None }
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    pub(super) fn start(&mut self) {
        assert!(self.pid.is_none(), "the server is running already");
        self.pid = Some(self.order("start").parse().unwrap());
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.expect("the server is not running")
    }

    pub(super) fn is_running(&self) -> bool {
        // A server that has ended stays a zombie until the supervisor waits for it.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        stat.is_ok_and(|s| !s.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
    }

    pub(super) fn kill9(&mut self) {
        self.order("kill");
        self.pid = None;
    }

    pub(super) fn stop(&mut self) {
        self.order("stop");
        self.pid = None;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}
