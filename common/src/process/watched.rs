//! A process that is not our child: hearing of its end, and signalling it and nobody else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::identity::ProcessIdentity;
use super::spawn::pidfd_open;
use crate::error::{Error, Result};

/// A living process, held on to across the reuse of its pid.
#[derive(Debug)]
pub struct Watched {
    identity: ProcessIdentity,
    /// `None` on kernels before 5.3.
    pidfd: Option<OwnedFd>,
}

impl Watched {
    /// Holds on to the process; `None` when it has ended, or cannot be told from here (another
    /// host or pid namespace).
    pub fn open(identity: &ProcessIdentity) -> Result<Option<Watched>> {
        let me = ProcessIdentity::own()?;
        let is_near = identity.host == me.host
            && identity.boot_id == me.boot_id
            && identity.pid_namespace == me.pid_namespace;
        if !is_near {
            return Ok(None);
        }
        let pidfd = match pidfd_open(pid(identity)) {
            Ok(pidfd) => pidfd,
            Err(_) if identity.is_known_dead()? => return Ok(None),
            Err(e) => return Err(e),
        };
        // Asked after opening: from here on the descriptor means this process, so that a pid
        // that had passed to another one is seen now or never.
        if identity.is_known_dead()? {
            return Ok(None);
        }
        Ok(Some(Watched { identity: identity.clone(), pidfd }))
    }

    /// Who it is.
    pub fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// Becomes readable when the process ends. `None` on kernels before 5.3: ask
    /// [`Watched::has_ended`] now and then.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has ended; a zombie has.
    pub fn has_ended(&self) -> Result<bool> {
        let Some(pidfd) = &self.pidfd else { return self.identity.is_known_dead() };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends `signal`; fine when it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let sent = match &self.pidfd {
            Some(pidfd) => {
                // SAFETY: no pointers but a null one, which the call takes for "as kill does".
                let done = unsafe {
                    libc::syscall(
                        libc::SYS_pidfd_send_signal,
                        pidfd.as_raw_fd(),
                        signal as libc::c_int,
                        std::ptr::null::<libc::siginfo_t>(),
                        0,
                    )
                };
                Errno::result(done).map(drop)
            }
            None if self.identity.is_known_dead()? => Ok(()),
            None => kill(pid(&self.identity), signal),
        };
        match sent {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => {
                Err(Error::from(e)
                    .context(format!("could not signal process {}", self.identity.pid)))
            }
        }
    }
}

fn pid(identity: &ProcessIdentity) -> Pid {
    Pid::from_raw(i32::try_from(identity.pid).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::identity::start_ticks;

    #[test]
    fn a_stranger_is_watched_to_its_end_and_a_reused_pid_refused() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let me = ProcessIdentity::own().unwrap();
        let ticks = start_ticks(pid).unwrap().unwrap();
        let it = ProcessIdentity { pid, start_ticks: ticks, ..me };
        let reused = ProcessIdentity { start_ticks: ticks - 1, ..it.clone() };
        assert!(Watched::open(&reused).unwrap().is_none());
        let watched = Watched::open(&it).unwrap().unwrap();
        assert!(!watched.has_ended().unwrap());
        watched.signal(Signal::SIGTERM).unwrap();
        child.wait().unwrap();
        assert!(watched.has_ended().unwrap());
        watched.signal(Signal::SIGTERM).unwrap();
        assert!(Watched::open(&it).unwrap().is_none());
    }
}
