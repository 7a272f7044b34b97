//! Commands that wait for the configuration database: they soon print what they wait for, and those
//! that only show something soon give up.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Home, StoreLocation, waited};

use crate::render::note;

/// What fails because the database is silent begins with this.
pub const NO_ANSWER: &str = "the configuration database does not answer";
/// After a longer wait a command prints what it waits for.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// A command that only shows something waits no longer for one answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// A pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Prints what the process waits for, until it is dropped.
pub struct Telling {
    /// Dropped, it ends the thread.
    _telling: Option<Sender<()>>,
}

/// Begins to watch how long the configuration database takes, to print it once. Signals that the
/// caller watches must be blocked by now, for this starts a thread.
pub fn tell_of_waits(home: &Home) -> Telling {
    let (telling, ended) = bounded::<()>(0);
    let home = home.clone();
    let started = std::thread::Builder::new().name("waits".into()).spawn(move || {
        while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if waited() >= SILENT_MAX {
                return note(&format!("waiting for the configuration database: {}", cause(&home)));
            }
        }
    });
    Telling { _telling: started.ok().map(|_| telling) }
}

/// Does `work`, which asks the configuration database, unless one answer of it takes too long. Then
/// the work is left to its thread, which ends with the process.
///
/// # Errors
/// What the work fails with; [`Kind::Connect`] when it was given up.
pub fn within<T: Send + 'static>(
    home: &Home,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, done) = bounded(1);
    std::thread::Builder::new().name("store".into()).spawn(move || {
        // The command may have given up.
        let _ = sender.send(work());
    })?;
    loop {
        match done.recv_timeout(LOOK_EVERY) {
            Ok(done) => return done,
            Err(RecvTimeoutError::Timeout) if waited() < ANSWER_TIME_MAX => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(Error::new(Kind::Connect, format!("{NO_ANSWER}: {}", cause(home)))
                    .detail(format!("within {} seconds", ANSWER_TIME_MAX.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(Kind::Internal, "a thread panicked"));
            }
        }
    }
}

/// Why the configuration database is silent, as far as that can be found out.
fn cause(home: &Home) -> String {
    let location = StoreLocation::from_env(home.clone());
    match location.as_ref().map(|location| (location.is_embedded, &location.link.url)) {
        Ok((false, url)) => format!("{url} is silent"),
        _ => {
            let (file, by) = (home.database(), holders(home).join(", "));
            match by.is_empty() {
                true => format!("{} is locked, or its disk is slow", file.display()),
                false => format!("{} is locked by {by}", file.display()),
            }
        }
    }
}

/// Processes that hold write locks on the database file or its log.
fn holders(home: &Home) -> Vec<String> {
    let database = home.database();
    let beside = |suffix: &str| {
        let mut path = database.clone().into_os_string();
        path.push(suffix);
        std::fs::metadata(path).ok().map(|meta| meta.ino().to_string())
    };
    let inodes: Vec<_> = ["", "-shm", "-wal"].into_iter().filter_map(beside).collect();
    let mut pids: Vec<u32> = Vec::new();
    for line in std::fs::read_to_string("/proc/locks").unwrap_or_default().lines() {
        // `1: POSIX  ADVISORY  WRITE 4711 fe:00:123456 120 120`; who waits has `->` in front.
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, _, _, "WRITE", pid, file, ..] = words.as_slice() else { continue };
        let inode = file.rsplit(':').next().unwrap_or_default();
        if let Ok(pid) = pid.parse()
            && inodes.iter().any(|own| own == inode)
            && pid != std::process::id()
            && !pids.contains(&pid)
        {
            pids.push(pid);
        }
    }
    let named = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("process {pid} ({})", name.trim())
    };
    pids.iter().map(named).collect()
}
