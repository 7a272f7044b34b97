//! Locks that the kernel lets go of when their holder dies: byte ranges of a small file, bound to
//! an open file description. Whether one is held can be asked without taking it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::error::{Error, Kind, Result};

/// Pause between two tries of [`ByteLock::acquire`].
const RETRY: Duration = Duration::from_millis(5);

/// One byte of a lock file, held exclusively until dropped, or until the process ends.
#[derive(Debug)]
pub struct ByteLock {
    _file: File,
}

impl ByteLock {
    /// Takes byte `byte` of `path`; `None` when somebody else has it, in this process or another.
    pub fn try_acquire(path: &Path, byte: u64) -> Result<Option<ByteLock>> {
        let file = open(path)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&range(byte, libc::F_WRLCK))) {
            Ok(_) => Ok(Some(ByteLock { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(e) => Err(Error::from(e).context(format!("could not lock {}", path.display()))),
        }
    }

    /// Takes byte `byte` of `path`, waiting for at most `wait`.
    ///
    /// # Errors
    /// [`Kind::Locked`] when somebody else still has it then.
    pub fn acquire(path: &Path, byte: u64, wait: Duration) -> Result<ByteLock> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(lock) = ByteLock::try_acquire(path, byte)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    Kind::Locked,
                    format!("could not lock {} within {wait:?}", path.display()),
                )
                .detail(format!("byte {byte} is held by another process")));
            }
            std::thread::sleep(RETRY);
        }
    }
}

#[cfg(test)]
impl ByteLock {
    /// Holds nothing.
    pub(crate) fn for_test() -> ByteLock {
        ByteLock { _file: tempfile::tempfile().unwrap() }
    }
}

/// Whether byte `byte` of `file` is held by anybody else; takes nothing.
pub fn is_held(file: &File, byte: u64) -> Result<bool> {
    let mut found = range(byte, libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

/// Opens a lock file, made readable by its owner alone.
pub fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::from(e).context(format!("could not open {}", path.display())))
}

fn range(byte: u64, kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_byte_is_seen_and_refused_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = open(&path).unwrap();
        assert!(!is_held(&file, 3).unwrap());
        let lock = ByteLock::try_acquire(&path, 3).unwrap().unwrap();
        assert!(is_held(&file, 3).unwrap());
        assert!(!is_held(&file, 4).unwrap());
        assert!(ByteLock::try_acquire(&path, 3).unwrap().is_none());
        assert!(ByteLock::try_acquire(&path, 4).unwrap().is_some());
        let e = ByteLock::acquire(&path, 3, Duration::from_millis(20)).unwrap_err();
        assert_eq!(e.kind, Kind::Locked);
        drop(lock);
        assert!(!is_held(&file, 3).unwrap());
        ByteLock::acquire(&path, 3, Duration::ZERO).unwrap();
    }
}
