//! A short-lived child of the daemon that does one thing, answers once, and ends.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use ssync_common::error::{Error, Kind};
use ssync_common::process::Child;

use super::core::{Daemon, From};
use super::peer::Peer;
use super::roles::Started;

/// What such a child sends.
pub type Sent<T> = std::result::Result<T, Error>;

/// One that is under way, and will answer with a `T`.
pub(super) struct Inquiry<T> {
    child: Child,
    peer: Peer,
    since: Instant,
    answer: Option<Sent<T>>,
}

impl<T: DeserializeOwned> Inquiry<T> {
    /// Begins to listen to a child. Its channel and its death are told as these events.
    pub fn begin(daemon: &Daemon, started: Started, channel: From, death: From) -> Inquiry<T> {
        let Started { child, peer } = started;
        if let Some(fd) = child.pidfd() {
            daemon.watch(fd, death);
        }
        // Of a request longer than a socket holds, each look sends a further part.
        daemon.watch(peer.as_fd(), channel);
        Inquiry { child, peer, since: Instant::now(), answer: None }
    }

    /// When it began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has been under way for longer than that.
    pub fn hangs(&self, time_max: Duration) -> bool {
        self.since.elapsed() >= time_max
    }

    /// Takes what it has sent; its answer, or why there is none, once it has ended.
    pub fn look(&mut self, daemon: &Daemon) -> Option<Sent<T>> {
        self.listen();
        match self.child.try_wait() {
            Ok(None) => {
                if self.peer.is_closed() {
                    // About to end; its channel has nothing more to say.
                    let _ = daemon.epoll.delete(&self.peer);
                }
                None
            }
            Ok(Some(exit)) => {
                self.listen();
                Some(self.answer.take().unwrap_or_else(|| {
                    Err(Error::new(Kind::System, "the child ended without an answer")
                        .detail(exit.to_string()))
                }))
            }
            Err(e) => Some(Err(e)),
        }
    }

    fn listen(&mut self) {
        self.peer.pump();
        let sent = self.peer.take::<Sent<T>>().unwrap_or_else(|e| Some(Err(e)));
        self.answer = self.answer.take().or(sent);
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        if let Err(e) = self.child.kill().and_then(|()| self.child.wait()) {
            log::error!("a child could not be ended: {e:?}");
        }
    }
}
