//! The daemon's end of a channel to a child: never blocks, whatever the child does.
//!
//! The same messages as [`Channel`]'s own: a length (4 bytes, little endian) and JSON. They may
//! hold secrets, so the buffers are wiped.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::process::Channel;
use ssync_common::process::channel::MESSAGE_BYTES_MAX;
use zeroize::Zeroizing;

/// One end.
#[derive(Debug)]
pub struct Peer {
    channel: Channel,
    inbox: Zeroizing<Vec<u8>>,
    outbox: Zeroizing<Vec<u8>>,
    sent: usize,
    closed: bool,
}

impl Peer {
    /// Takes the channel over.
    pub fn new(channel: Channel) -> Peer {
        Peer {
            channel,
            inbox: Zeroizing::new(Vec::new()),
            outbox: Zeroizing::new(Vec::new()),
            sent: 0,
            closed: false,
        }
    }

    /// Puts a message on its way; [`Peer::pump`] takes it there.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it is too long.
    pub fn send(&mut self, message: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(message)
            .map(Zeroizing::new)
            .map_err(|e| Error::new(Kind::Internal, format!("message cannot be encoded: {e}")))?;
        if body.len() > MESSAGE_BYTES_MAX {
            ssync_common::bail!(Kind::Internal, "a message has {} bytes", body.len());
        }
        self.outbox.extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.outbox.extend_from_slice(&body);
        Ok(())
    }

    /// Sends what can be sent now, and reads nothing: what is read here no event tells of any more.
    pub fn push(&mut self) {
        while self.sent < self.outbox.len() {
            let rest = &self.outbox[self.sent..];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.channel.as_fd().as_raw_fd(), rest, flags) {
                Ok(n) => self.sent += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // It is gone; what it said before is read below.
                Err(_) => self.sent = self.outbox.len(),
            }
        }
        if self.sent == self.outbox.len() {
            self.outbox = Zeroizing::new(Vec::new());
            self.sent = 0;
        }
    }

    /// Moves what can be moved now, in both directions. A broken channel counts as closed.
    pub fn pump(&mut self) {
        self.push();
        let mut chunk = Zeroizing::new([0u8; 16 << 10]);
        while !self.closed {
            match recv(self.channel.as_fd().as_raw_fd(), &mut *chunk, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => self.closed = true,
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => self.closed = true,
            }
        }
    }

    /// Whether something waits for room on the way out.
    pub fn wants_to_send(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// Whether the other end is gone; messages that came before may still be here.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The next whole message, if one has come.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it does not decode, or is too long.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(head) = self.inbox.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*head) as usize;
        if len > MESSAGE_BYTES_MAX {
            ssync_common::bail!(Kind::Internal, "a message announces {len} bytes");
        }
        let Some(body) = self.inbox.get(4..4 + len) else { return Ok(None) };
        let message = serde_json::from_slice(body)
            .map_err(|e| Error::new(Kind::Internal, format!("message does not decode: {e}")));
        let rest = Zeroizing::new(self.inbox[4 + len..].to_vec());
        self.inbox = rest;
        message.map(Some)
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_speaks_with_a_channel_and_never_waits_for_it() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut peer = Peer::new(ours);
        peer.pump();
        assert_eq!(peer.take::<String>().unwrap(), None);
        // Pushing leaves what has come where an event tells of it.
        theirs.send("early").unwrap();
        peer.push();
        assert_eq!(peer.take::<String>().unwrap(), None);
        peer.pump();
        assert_eq!(peer.take::<String>().unwrap().as_deref(), Some("early"));
        // More than a socket holds: nobody reads, and nothing waits.
        let long = "x".repeat(3 << 20);
        peer.send(&long).unwrap();
        peer.pump();
        assert!(peer.wants_to_send());
        let reader = std::thread::spawn(move || {
            let got = theirs.recv::<String>().unwrap();
            theirs.send("first").unwrap();
            theirs.send("second").unwrap();
            got
        });
        while peer.wants_to_send() || !peer.is_closed() {
            peer.pump();
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), Some(long));
        assert_eq!(peer.take::<String>().unwrap().as_deref(), Some("first"));
        assert_eq!(peer.take::<String>().unwrap().as_deref(), Some("second"));
        assert_eq!(peer.take::<String>().unwrap(), None);
    }
}
