//! Signals as events in a queue, read by an ordinary thread: no handlers, nothing async.

use crossbeam_channel::Receiver;
use nix::sys::signal::{SigSet, Signal as UnixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Error, Kind, Result};

/// A request from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`, systemd.
    Terminate,
    /// The terminal has gone away.
    Hangup,
}

/// One arrival of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalEvent {
    /// Which.
    pub signal: Signal,
    /// The how-manieth of any kind, from 1: people who press Ctrl-C twice mean it.
    pub count: u32,
}

const WATCHED: [(UnixSignal, Signal); 3] = [
    (UnixSignal::SIGINT, Signal::Interrupt),
    (UnixSignal::SIGTERM, Signal::Terminate),
    (UnixSignal::SIGHUP, Signal::Hangup),
];

/// From now on SIGINT, SIGTERM and SIGHUP end nothing, but arrive at the returned receiver.
/// Signals that whoever started this process had set to be ignored (`nohup`, a background job)
/// stay ignored. Children started by [`super::spawn_role`] do not inherit this.
///
/// # Errors
/// [`Kind::Internal`] when the process has other threads already: signals are blocked thread by
/// thread, a thread that does not block them would still die of them. Call it first in `main`.
pub fn watch() -> Result<Receiver<SignalEvent>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        crate::bail!(
            Kind::Internal,
            "signals must be watched before threads start; there are {threads}"
        );
    }
    let ignored = ignored_signals()?;
    let mut set = SigSet::empty();
    for (signal, _) in WATCHED {
        if ignored & 1 << (signal as i32 - 1) == 0 {
            set.add(signal);
        }
    }
    set.thread_block().map_err(|e| Error::from(e).context("could not block signals"))?;
    let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)
        .map_err(|e| Error::from(e).context("could not watch signals"))?;
    let (events, receiver) = crossbeam_channel::unbounded();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut count = 0;
        // Ends with an unexpected error of the descriptor, or when nobody listens any more.
        while let Ok(Some(info)) = fd.read_signal() {
            let known = WATCHED.iter().find(|(unix, _)| *unix as u32 == info.ssi_signo);
            if let Some((_, signal)) = known {
                count += 1;
                if events.send(SignalEvent { signal: *signal, count }).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(receiver)
}

/// Bit `n - 1` stands for signal `n`.
fn ignored_signals() -> Result<u64> {
    std::fs::read_to_string("/proc/self/status")?
        .lines()
        .find_map(|l| l.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| Error::new(Kind::System, "/proc/self/status names no ignored signals"))
}
