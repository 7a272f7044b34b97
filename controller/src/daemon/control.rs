//! How commands talk to the daemon: a socket in the home's `run` directory, which only its owner
//! can enter. A request is a line of JSON, answers are lines of JSON; the last one is
//! [`Reply::Done`] or [`Reply::Failed`].
//!
//! The first one is [`Reply::Heard`], and the daemon does what it was asked only if it could send that.
//! A command that gives up, or is interrupted, closes its end first. So either it has received this
//! answer, or its request is dropped when a daemon that was frozen goes on.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::TaskView;
use ssync_common::store::{Hold, Home, RunRecord};

use super::journal::Decision;
use crate::books::spool::Waiting;
use crate::live::is_running;

const SOCKET: &str = "daemon.sock";
/// Longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// A caller that has not said what it wants by then is gone.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Callers at once; further ones are sent away.
const CALLERS_MAX: usize = 64;

/// What a command wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How it is.
    Status,
    /// That it finishes and leaves.
    Stop {
        /// Roll back what is in flight.
        now: bool,
    },
    /// That it reads its configuration again.
    Reload,
    /// The configuration has changed: the daemon reads it again. A notice: nobody waits for an answer.
    Changed,
    /// That it runs a task.
    Run {
        /// Which.
        task: u32,
        /// Only these tables of it; none: all.
        tables: Vec<String>,
        /// Answer at its end, not at its start.
        wait: bool,
    },
    /// Why a task ran or did not.
    Explain {
        /// Which.
        task: u32,
    },
}

/// What the daemon says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The request has arrived, and is dealt with from now on.
    Heard,
    /// It is under way, and what it waits for.
    Note(String),
    /// It has taken effect.
    Done(Answer),
    /// It has not, and why.
    Failed(Error),
}

/// What there is to say when it is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing more than that; lines for people.
    Text(Vec<String>),
    /// To [`Request::Reload`].
    Read {
        /// The configuration database that was read.
        instance: String,
        /// What has changed, for people.
        changes: Vec<String>,
        /// Tasks that end because they, or tables of them, are removed; for people.
        ending: Vec<String>,
        /// Tasks that cannot be started.
        unable: Vec<Unable>,
    },
    /// To [`Request::Status`].
    Status(Box<DaemonStatus>),
    /// To [`Request::Explain`].
    Explained(Box<Explained>),
    /// To [`Request::Run`]: the process, and how it ended where that was waited for.
    Ran {
        /// Its process.
        pid: u32,
        /// Its exit code.
        code: Option<u8>,
        /// How it ended, in words.
        words: Option<String>,
    },
}

/// How the daemon is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// The configuration database it knows.
    pub instance: Option<String>,
    /// When the configuration was read last.
    pub configuration_read: Option<Timestamp>,
    /// Why it could not be read since, and since when.
    pub configuration_error: Option<(Timestamp, Error)>,
    /// Whether it is leaving.
    pub stopping: bool,
    /// Task processes there may be at once.
    pub tasks_max: u32,
    /// Task processes there are.
    pub running: Vec<RunningTask>,
    /// Schedules.
    pub schedules: Vec<ScheduleStatus>,
    /// Tasks that cannot be started.
    #[serde(default)]
    pub unable: Vec<Unable>,
}

/// A task that the daemon cannot start, for what it is configured with is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unable {
    /// The task.
    pub task: u32,
    /// Its name.
    pub name: Option<String>,
    /// What is missing.
    pub reason: String,
}

impl Unable {
    /// In a line, about the task.
    pub fn words(&self) -> String {
        format!("cannot be started: {}", self.reason)
    }
}

/// A task process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunningTask {
    /// Its task.
    pub task: u32,
    /// Its process.
    pub pid: u32,
    /// The schedule that fired it; none: by hand, or in the foreground.
    pub schedule: Option<u32>,
    /// When it was started, or taken up.
    pub since: Timestamp,
}

impl RunningTask {
    /// A task process, by its entry in the task table; `None` when it does not run.
    pub fn seen(entry: &TaskView) -> Option<RunningTask> {
        let since = i64::try_from(entry.started_ms).ok();
        Some(RunningTask {
            task: entry.task_id,
            pid: entry.owner.as_ref().filter(|_| is_running(entry))?.pid,
            schedule: None,
            since: since.and_then(|ms| Timestamp::from_millisecond(ms).ok())?,
        })
    }
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleStatus {
    /// Its number.
    pub id: u32,
    /// Its next firing.
    pub next: Timestamp,
    /// Whether a firing is under way.
    pub busy: bool,
    /// Firings to be made up for.
    pub backlog: usize,
}

/// Why a task ran or did not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explained {
    /// The task.
    pub task: u32,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its schedule.
    pub schedule: Option<u32>,
    /// How often, in words.
    pub every: Option<String>,
    /// How it stands now.
    pub state: String,
    /// Its next firings.
    pub next: Vec<Timestamp>,
    /// Its process, where it runs.
    #[serde(default)]
    pub process: Option<RunningTask>,
    /// What was decided, oldest first.
    pub decisions: Vec<Decision>,
    /// Records of its runs that wait for the configuration database.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// The tables that were asked about.
    #[serde(skip_deserializing)]
    pub tables: Vec<TableStanding>,
}

/// How a table of a task stands.
#[derive(Debug, Clone, Serialize)]
pub struct TableStanding {
    /// The table.
    pub table: String,
    /// What holds it.
    pub hold: Option<Hold>,
    /// Its last run.
    pub last_run: Option<RunRecord>,
}

/// The socket's path, however long the home directory's is: a socket's may have 107 bytes.
fn address(home: &Home) -> Result<(File, PathBuf)> {
    let dir = File::open(home.run_dir())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()).into();
    Ok((dir, path))
}

/// The daemon's side.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    home: Home,
}

impl Listener {
    /// Listens. The caller is the controller, so that a socket that is there is a dead one's.
    pub fn bind(home: &Home) -> Result<Listener> {
        let (_dir, path) = address(home)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        let socket = UnixListener::bind(&path)
            .map_err(|e| Error::from(e).context("could not listen for commands"))?;
        socket.set_nonblocking(true)?;
        Ok(Listener { socket, home: home.clone() })
    }

    /// The next caller, if there is one.
    pub fn accept(&self) -> Option<Caller> {
        let (stream, _) = self.socket.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Caller { stream, inbox: Vec::new(), since: Instant::now(), has_asked: false })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.home.run_dir().join(SOCKET));
    }
}

/// Whether a further caller is accepted.
pub fn has_room(callers: usize) -> bool {
    callers < CALLERS_MAX
}

/// Somebody at the socket.
#[derive(Debug)]
pub struct Caller {
    stream: UnixStream,
    inbox: Vec<u8>,
    since: Instant,
    has_asked: bool,
}

/// What a look at a caller brings.
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// What it wants.
    Request(Request),
    /// It said something that is no request.
    Nonsense(Error),
    /// It is gone.
    Gone,
}

impl Caller {
    /// Reads what has come.
    pub fn hear(&mut self) -> Heard {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                // It may have said what it wants and left.
                Ok(0) if self.has_asked || self.inbox.is_empty() => return Heard::Gone,
                Ok(0) => break,
                // After its request nobody says anything.
                Ok(_) if self.has_asked => return Heard::Gone,
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Heard::Gone,
            }
            if self.inbox.len() > REQUEST_BYTES_MAX {
                return Heard::Gone;
            }
        }
        if self.has_asked {
            return Heard::Nothing;
        }
        let Some(end) = self.inbox.iter().position(|b| *b == b'\n') else { return Heard::Nothing };
        self.has_asked = true;
        match serde_json::from_slice(&self.inbox[..end]) {
            Ok(request) => Heard::Request(request),
            Err(e) => Heard::Nonsense(
                Error::new(Kind::Usage, format!("the daemon does not know this request: {e}"))
                    .hint("Use the same version of ssync as the daemon's."),
            ),
        }
    }

    /// Says something; false when the caller is gone, or does not listen.
    pub fn say(&mut self, reply: &Reply) -> bool {
        let Ok(mut line) = serde_json::to_vec(reply) else { return false };
        line.push(b'\n');
        self.stream.write_all(&line).is_ok()
    }

    /// Whether it has been silent for too long.
    pub fn is_late(&self) -> bool {
        !self.has_asked && self.since.elapsed() > REQUEST_TIME_MAX
    }
}

impl AsFd for Caller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A command's side: connected to the daemon; `None` when none listens. One that is frozen has a queue
/// that may be full: it is waited for no longer than `patience`.
pub fn connect(home: &Home, patience: Duration) -> Result<Option<UnixStream>> {
    if !home.run_dir().exists() {
        return Ok(None);
    }
    let (_dir, path) = address(home)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let micros = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::microseconds(micros))?;
    let address = UnixAddr::new(&path)?;
    loop {
        return match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
            Ok(()) => Ok(Some(UnixStream::from(socket))),
            Err(Errno::EINTR) => continue,
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(Errno::EAGAIN) => Err(silent(patience)),
            Err(e) => Err(Error::from(e).context("could not reach the daemon")),
        };
    }
}

/// A daemon that has not answered for so long.
pub fn silent(patience: Duration) -> Error {
    Error::new(Kind::System, "the daemon does not answer")
        .detail(format!("waited {} seconds", patience.as_secs()))
}

/// Takes a request back that the daemon has not answered for so long.
pub fn give_up(stream: &UnixStream, patience: Duration) -> Error {
    // From here on the daemon cannot answer any more. What it sent before can still be read.
    let closed = stream.shutdown(Shutdown::Read).is_ok();
    let was_heard = !closed || (&*stream).read(&mut [0]).is_ok_and(|n| n > 0);
    let (fact, hint) = match was_heard {
        false => {
            ("nothing was done", "The daemon may be stopped (SIGSTOP), or its host overloaded.")
        }
        true => (
            "the request arrived at the last moment",
            "It is carried out: ssync status and ssync explain show what comes of it.",
        ),
    };
    silent(patience).detail(fact).hint(hint)
}
