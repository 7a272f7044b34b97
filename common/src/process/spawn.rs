//! Starting this very program in another role: fork, a few system calls, exec.
//!
//! **Threads.** With [`SpawnOptions::die_with_parent`] the kernel kills the child when the
//! *thread* that forked it ends, not the process. So call [`spawn_role`] from a thread that lives
//! as long as the child should: the main thread.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::channel::Channel;
use super::identity::{ProcessToken, start_ticks};
use crate::error::{Error, Kind, Result};

/// Where a role finds its channel.
pub const CHANNEL_FD: RawFd = 3;
/// What `ps` shows first.
const PROGRAM: &str = "ssync";
/// The program itself, also when its file was replaced meanwhile: a child is always of its
/// parent's version.
const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// Environment variables that children see. Everything else stays behind: passwords may be in it.
const ENVIRONMENT: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSYNC_HOME",
    "RUST_BACKTRACE",
    "SSYNC_FAILPOINTS",
    // Oracle's client finds its files and messages by these.
    "LD_LIBRARY_PATH",
    "ORACLE_HOME",
    "TNS_ADMIN",
    "NLS_LANG",
];
/// Prefix of locale variables, allowed too.
const LOCALE_PREFIX: &str = "LC_";
/// Descriptors that the child still needs are moved to this number or above, out of the way of
/// those it is to have.
const FD_ASIDE_MIN: RawFd = 10;
/// A child that could not become ssync ends with this.
const EXIT_CANNOT_EXEC: i32 = 127;
/// A child whose parent was gone before it could ask to die with it.
const EXIT_ORPHANED: i32 = 126;

/// Which process group a child belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Group {
    /// Its parent's: one terminal, one `kill` for all.
    #[default]
    Same,
    /// One of its own.
    New,
    /// A session of its own, away from any terminal.
    NewSession,
}

/// Where a child's standard error goes. Standard input and output are always `/dev/null`.
#[derive(Debug, Default)]
pub enum Stderr {
    /// Where the parent's goes.
    #[default]
    Same,
    /// Nowhere.
    Null,
    /// Into this file.
    File(File),
}

/// How to start a child. The default is right for a writer.
#[derive(Debug)]
pub struct SpawnOptions {
    /// The child is killed when the thread that spawned it ends.
    pub die_with_parent: bool,
    /// Process group.
    pub group: Group,
    /// The child takes no notice of Ctrl-C and of a terminal that goes away: its parent decides.
    pub ignore_terminal_signals: bool,
    /// Standard error.
    pub stderr: Stderr,
    /// Variables to set in the child's environment beside the allowed ones. Never secrets.
    pub environment: Vec<(OsString, OsString)>,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        SpawnOptions {
            die_with_parent: true,
            group: Group::Same,
            ignore_terminal_signals: true,
            stderr: Stderr::Same,
            environment: Vec::new(),
        }
    }
}

/// How a child ended. Having one proves that the process is dead and reaped: it holds no lock,
/// writes no memory, and its pid may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    token: ProcessToken,
    pid: u32,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Code(i32),
    Signal { signal: i32, core_dumped: bool },
}

impl Exit {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Who it was.
    pub fn token(&self) -> ProcessToken {
        self.token
    }

    /// Exit code, unless a signal ended it.
    pub fn code(&self) -> Option<i32> {
        match self.how {
            How::Code(code) => Some(code),
            How::Signal { .. } => None,
        }
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        match self.how {
            How::Code(_) => None,
            How::Signal { signal, .. } => Some(signal),
        }
    }

    /// Whether it left a core dump.
    pub fn core_dumped(&self) -> bool {
        matches!(self.how, How::Signal { core_dumped: true, .. })
    }

    /// Whether it ended with code 0.
    pub fn success(&self) -> bool {
        self.how == How::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Code(code) => write!(f, "exit code {code}"),
            How::Signal { signal, .. } => match Signal::try_from(signal) {
                Ok(name) => write!(f, "signal {name}"),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}

/// A child process. Dropping it neither ends nor reaps it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    token: ProcessToken,
    pidfd: Option<OwnedFd>,
    exit: Option<Exit>,
}

impl Child {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Becomes readable when the child ends. `None` on kernels before 5.3: use the channel's end.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Waits for its end and reaps it.
    pub fn wait(&mut self) -> Result<Exit> {
        loop {
            match self.reap(None)? {
                Some(exit) => return Ok(exit),
                None => continue,
            }
        }
    }

    /// Reaps it if it has ended; `None` while it runs.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        self.reap(Some(WaitPidFlag::WNOHANG))
    }

    /// Sends SIGKILL; fine when it has ended already.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Sends `signal`; fine when it has ended already. The pid cannot have passed to another
    /// process: the child is not reaped while `self.exit` is empty.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.exit.is_some() {
            return Ok(());
        }
        match nix::sys::signal::kill(self.pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => Err(Error::from(e).context(format!("could not signal process {}", self.pid))),
        }
    }

    fn reap(&mut self, flags: Option<WaitPidFlag>) -> Result<Option<Exit>> {
        if self.exit.is_some() {
            return Ok(self.exit);
        }
        let how = match waitpid(self.pid, flags) {
            Ok(WaitStatus::Exited(_, code)) => How::Code(code),
            Ok(WaitStatus::Signaled(_, signal, core_dumped)) => {
                How::Signal { signal: signal as i32, core_dumped }
            }
            Ok(_) | Err(Errno::EINTR) => return Ok(None),
            Err(e) => {
                return Err(
                    Error::from(e).context(format!("could not wait for process {}", self.pid))
                );
            }
        };
        self.exit = Some(Exit { token: self.token, pid: self.pid(), how });
        Ok(self.exit)
    }
}

/// Starts this program again as `ssync <args>`, with `channel` as descriptor [`CHANNEL_FD`] and a
/// clean environment. No secret belongs into `args`: everybody on the host can read them.
/// Where `SSYNC_HOME` comes from a default and not from the environment, put it into
/// [`SpawnOptions::environment`], so that all processes agree.
///
/// # Errors
/// When the process cannot be made, or cannot be turned into ssync.
pub fn spawn_role(args: &[&str], channel: Channel, options: SpawnOptions) -> Result<Child> {
    let plan = Plan::new(args, &channel, options)?;
    // SAFETY: between `fork` and `exec` the child is alone with copies of locks that other
    // threads may have held. `Plan::become_role` makes only async-signal-safe system calls on
    // what was prepared before: no allocation, no lock, no formatting, no unwinding.
    let pid = match unsafe { fork() } {
        Ok(ForkResult::Child) => plan.become_role(),
        Ok(ForkResult::Parent { child }) => child,
        Err(e) => return Err(Error::from(e).context("could not make a process")),
    };
    drop(channel);
    let report = plan.into_report();
    watch(pid, report).inspect_err(|_| {
        // Nobody would ever hear of it again.
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, None);
    })
}

/// In the parent: the child as something to hold on to, once it has become the role.
fn watch(pid: Pid, report: OwnedFd) -> Result<Child> {
    let raw = pid.as_raw().unsigned_abs();
    let token = ProcessToken::new(raw, start_ticks(raw)?.unwrap_or_default());
    let pidfd = pidfd_open(pid)?;
    match read_report(report)? {
        None => Ok(Child { pid, token, pidfd, exit: None }),
        Some(errno) => Err(Error::from(errno).context("could not start ssync again")),
    }
}

/// All that the child needs between fork and exec, made before.
struct Plan {
    program: CString,
    /// What `argv` and `envp` point into.
    _texts: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    channel: OwnedFd,
    null: OwnedFd,
    stderr: Option<OwnedFd>,
    report_read: OwnedFd,
    report_write: OwnedFd,
    parent: Pid,
    die_with_parent: bool,
    group: Group,
    ignore_terminal_signals: bool,
}

impl Plan {
    fn new(args: &[&str], channel: &Channel, options: SpawnOptions) -> Result<Plan> {
        let mut texts = vec![c_string(OsStr::new(PROGRAM))?];
        for arg in args {
            texts.push(c_string(OsStr::new(arg))?);
        }
        let arguments = texts.len();
        for (name, value) in environment(options.environment) {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            texts.push(c_string(&pair)?);
        }
        let pointers = |part: &[CString]| {
            part.iter().map(|t| t.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let stderr = match options.stderr {
            Stderr::Same => None,
            Stderr::Null => Some(aside(&null)?),
            Stderr::File(file) => Some(aside(&file)?),
        };
        let (report_read, report_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        Ok(Plan {
            program: c_string(OsStr::new(OWN_EXECUTABLE))?,
            argv: pointers(&texts[..arguments]),
            envp: pointers(&texts[arguments..]),
            _texts: texts,
            channel: aside(channel)?,
            null: aside(&null)?,
            stderr,
            report_read,
            report_write: aside(&report_write)?,
            parent: Pid::this(),
            die_with_parent: options.die_with_parent,
            group: options.group,
            ignore_terminal_signals: options.ignore_terminal_signals,
        })
    }

    /// In the parent: everything but the end to read the child's report from is closed, so that
    /// the child alone holds the other ends.
    fn into_report(self) -> OwnedFd {
        self.report_read
    }

    /// In the child: becomes the role, or reports why not and ends.
    fn become_role(&self) -> ! {
        let errno = match self.try_become_role() {
            Ok(never) => match never {},
            Err(errno) => errno,
        };
        let report = (errno as i32).to_ne_bytes();
        // SAFETY: writes four initialised bytes to an open descriptor, and leaves without running
        // anything of the parent's (exit handlers, destructors).
        unsafe {
            libc::write(self.report_write.as_raw_fd(), report.as_ptr().cast(), report.len());
            libc::_exit(EXIT_CANNOT_EXEC)
        }
    }

    fn try_become_role(&self) -> nix::Result<std::convert::Infallible> {
        match self.group {
            Group::Same => {}
            Group::New => nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?,
            Group::NewSession => {
                nix::unistd::setsid()?;
            }
        }
        if self.die_with_parent {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the call above: then the signal never comes.
            if nix::unistd::getppid() != self.parent {
                // SAFETY: ends this process, as in `become_role`.
                unsafe { libc::_exit(EXIT_ORPHANED) }
            }
        }
        if self.ignore_terminal_signals {
            for signal in [Signal::SIGINT, Signal::SIGHUP] {
                // SAFETY: "ignore" is no handler, so nothing of ours ever runs for it.
                unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }?;
            }
        }
        // The parent may block signals to take them from a descriptor; a mask outlives exec.
        SigSet::empty().thread_set_mask()?;
        put(&self.null, libc::STDIN_FILENO)?;
        put(&self.null, libc::STDOUT_FILENO)?;
        if let Some(stderr) = &self.stderr {
            put(stderr, libc::STDERR_FILENO)?;
        }
        put(&self.channel, CHANNEL_FD)?;
        let first = (CHANNEL_FD + 1) as libc::c_uint;
        // SAFETY: marks every other descriptor close-on-exec, should a library have forgotten to.
        // Kernels before 5.11 do not know the call, and then our own care has to do.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                first,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
            )
        };
        // SAFETY: all three are C strings or null-ended arrays of such, kept by `self`.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Err(Errno::last())
    }
}

/// Makes `fd` available as number `target` across exec. `fd` is never `target`: see [`aside`].
fn put(fd: &OwnedFd, target: RawFd) -> nix::Result<()> {
    // SAFETY: a plain dup2. Whatever `target` was in the parent, this process has no further
    // use for it.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), target) }).map(drop)
}

/// A copy of `fd` out of the way of the numbers that the child is to have, closed by exec.
fn aside(fd: &impl AsFd) -> Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(FD_ASIDE_MIN))?;
    // SAFETY: just made by the kernel, owned by nobody yet.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The parent's variables that may pass, then the extra ones in their place or beside them.
fn environment(extra: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let allowed = |name: &OsStr| {
        name.to_str().is_some_and(|n| ENVIRONMENT.contains(&n) || n.starts_with(LOCALE_PREFIX))
    };
    std::env::vars_os()
        .filter(|(name, _)| allowed(name) && !extra.iter().any(|(e, _)| e == name))
        .chain(extra.iter().cloned())
        .collect()
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| Error::new(Kind::Usage, "an argument or variable contains a NUL byte"))
}

/// What kept the child from becoming the role; `None` when it did.
fn read_report(report: OwnedFd) -> Result<Option<Errno>> {
    let mut bytes = Vec::new();
    File::from(report).read_to_end(&mut bytes)?;
    Ok(<[u8; 4]>::try_from(bytes).ok().map(|b| Errno::from_raw(i32::from_ne_bytes(b))))
}

/// A descriptor that becomes readable when process `pid` ends; `None` on kernels before 5.3.
pub(super) fn pidfd_open(pid: Pid) -> Result<Option<OwnedFd>> {
    // SAFETY: no pointers; the result is checked. That the pid means the process it should is the
    // caller's business: a child that is not reaped, or one whose start time is looked at again.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match Errno::result(fd) {
        // SAFETY: just made by the kernel (close-on-exec by itself), owned by nobody yet.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })),
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(None),
        Err(e) => Err(Error::from(e).context("could not watch a child process")),
    }
}

#[cfg(test)]
impl Exit {
    /// Proof of a death that a test has seen to otherwise.
    pub(crate) fn for_test(token: ProcessToken) -> Exit {
        Exit { token, pid: 0, how: How::Signal { signal: libc::SIGKILL, core_dumped: false } }
    }
}
