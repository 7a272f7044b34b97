//! Control messages between two processes over a socket pair: small, ordered, and the end of the
//! stream is the news of the other's death.
//!
//! A message is a length (4 bytes, little endian) and that many bytes of JSON. A descriptor may go with it
//! (`SCM_RIGHTS`, with its first byte): memory that has no name is handed over so.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};

/// Bytes that one message may have.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One end of a channel. One thread may receive while others send: use [`Channel::try_clone`].
/// Sends of clones never mix; nor do receives.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    sending: Arc<Mutex<()>>,
    receiving: Arc<Mutex<()>>,
}

impl Channel {
    /// Two connected ends. Neither passes to a child by itself.
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|e| Error::from(e).context("could not make a socket pair"))?;
        Ok((Channel::from_fd(a), Channel::from_fd(b)))
    }

    /// The end that this process was started with; see [`super::spawn::CHANNEL_FD`]. From here on
    /// it does not pass to children any more.
    ///
    /// # Errors
    /// [`Kind::Usage`] when `fd` is no socket: the process was started by hand.
    pub fn from_inherited_fd(fd: RawFd) -> Result<Channel> {
        // Looked at through /proc, so that a number that is not open is only a missing file.
        let is_socket = std::fs::metadata(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|file| file.file_type().is_socket());
        if !is_socket {
            return Err(Error::new(Kind::Usage, "this role is started by ssync itself")
                .detail(format!("descriptor {fd} is not the channel it should be")));
        }
        // SAFETY: open, as was just seen, and nobody else in this process knows it: the role's
        // `main` calls this once, first of all, for the number it was started with.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Channel::from_fd(owned))
    }

    fn from_fd(fd: OwnedFd) -> Channel {
        Channel { socket: UnixStream::from(fd), sending: Arc::default(), receiving: Arc::default() }
    }

    /// Another handle on the same end.
    pub fn try_clone(&self) -> Result<Channel> {
        Ok(Channel {
            socket: self.socket.try_clone()?,
            sending: self.sending.clone(),
            receiving: self.receiving.clone(),
        })
    }

    /// Sends one message whole; blocks while the other end is busy and the socket full.
    ///
    /// # Errors
    /// [`Kind::Lost`] when the other process is gone; whether it saw the message is unknown.
    /// [`Kind::Internal`] when the message is longer than [`MESSAGE_BYTES_MAX`].
    pub fn send<T: Serialize + ?Sized>(&self, message: &T) -> Result<()> {
        self.send_with(message, None)
    }

    /// As [`Channel::send`]; the other end gets a copy of `descriptor` along with the message.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_with<T: Serialize + ?Sized>(
        &self,
        message: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let body = serde_json::to_vec(message)
            .map_err(|e| Error::new(Kind::Internal, format!("message cannot be encoded: {e}")))?;
        if body.len() > MESSAGE_BYTES_MAX {
            crate::bail!(
                Kind::Internal,
                "a message of {} bytes is longer than {MESSAGE_BYTES_MAX}",
                body.len()
            );
        }
        let head = (body.len() as u32).to_le_bytes();
        let descriptors: Vec<RawFd> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        // It goes with the first byte, once.
        let mut rights = if descriptors.is_empty() { &rights[..0] } else { &rights[..] };
        let _turn = hold(&self.sending);
        let (mut head, mut body) = (&head[..], &body[..]);
        while !head.is_empty() || !body.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            let sent = sendmsg::<UnixAddr>(
                self.socket.as_raw_fd(),
                &parts,
                rights,
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match sent {
                Ok(n) => {
                    rights = &[];
                    let of_head = n.min(head.len());
                    head = &head[of_head..];
                    body = &body[n - of_head..];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    return Err(Error::new(Kind::Lost, "the other process is gone"));
                }
                Err(e) => return Err(Error::from(e).context("could not send a message")),
            }
        }
        Ok(())
    }

    /// Waits for the next message; `None` when the other process has closed its end or died, also
    /// in the midst of a message.
    ///
    /// # Errors
    /// [`Kind::Internal`] for a message that is too long or does not decode.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        // A descriptor that nobody waits for is closed.
        Ok(self.recv_with()?.map(|(message, _)| message))
    }

    /// As [`Channel::recv`], with the descriptor that came along, if one did. It does not pass to children.
    ///
    /// # Errors
    /// As [`Channel::recv`].
    pub fn recv_with<T: DeserializeOwned>(&self) -> Result<Option<(T, Option<OwnedFd>)>> {
        let _turn = hold(&self.receiving);
        let mut descriptor = None;
        let mut head = [0; 4];
        if !self.read_whole(&mut head, &mut descriptor)? {
            return Ok(None);
        }
        let len = u32::from_le_bytes(head) as usize;
        if len > MESSAGE_BYTES_MAX {
            crate::bail!(
                Kind::Internal,
                "a message announces {len} bytes, {MESSAGE_BYTES_MAX} are allowed"
            );
        }
        let mut body = vec![0; len];
        if !self.read_whole(&mut body, &mut descriptor)? {
            return Ok(None);
        }
        serde_json::from_slice(&body)
            .map(|message| Some((message, descriptor)))
            .map_err(|e| Error::new(Kind::Internal, format!("message does not decode: {e}")))
    }

    /// Sends nothing more; the other end reads its end of stream after what was sent.
    pub fn close_sending(&self) {
        // Fails only when the other end is gone, which is as closed.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// False at the end of the stream. A descriptor that comes along is put into `descriptor`.
    fn read_whole(&self, mut into: &mut [u8], descriptor: &mut Option<OwnedFd>) -> Result<bool> {
        while !into.is_empty() {
            match self.read_some(into, descriptor) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(false),
                Ok(n) => into = &mut into[n..],
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::from(e).context("could not receive a message")),
            }
        }
        Ok(true)
    }

    fn read_some(&self, into: &mut [u8], descriptor: &mut Option<OwnedFd>) -> nix::Result<usize> {
        let mut space = nix::cmsg_space!(RawFd);
        let mut parts = [IoSliceMut::new(into)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let socket = self.socket.as_raw_fd();
        let received = recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut space), flags)?;
        for control in received.cmsgs()? {
            let ControlMessageOwned::ScmRights(raw) = control else { continue };
            for raw in raw {
                // SAFETY: just made by the kernel for this process, owned by nobody yet.
                *descriptor = Some(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
        Ok(received.bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The lock guards an order, not data: a panic elsewhere does not spoil it.
fn hold(turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn messages_arrive_whole_and_in_order_whatever_their_size() {
        let (a, b) = Channel::pair().unwrap();
        let large = "x".repeat(5 << 20);
        let sent = [String::new(), "ä".into(), large.clone(), "last".into()];
        std::thread::scope(|s| {
            s.spawn(|| sent.iter().for_each(|m| a.send(m).unwrap()));
            for expected in &sent {
                assert_eq!(b.recv::<String>().unwrap().as_ref(), Some(expected));
            }
        });
        drop(a);
        assert_eq!(b.recv::<String>().unwrap(), None);
        assert_eq!(b.send(&large).unwrap_err().kind, Kind::Lost);
    }

    #[test]
    fn clones_that_send_at_once_never_mix_their_messages() {
        let (a, b) = Channel::pair().unwrap();
        std::thread::scope(|s| {
            for n in 0..4u8 {
                let a = a.try_clone().unwrap();
                s.spawn(move || (0..50).for_each(|_| a.send(&vec![n; 30_000]).unwrap()));
            }
            drop(a);
            let mut seen = [0; 4];
            while let Some(message) = b.recv::<Vec<u8>>().unwrap() {
                assert_eq!(message.len(), 30_000);
                assert!(message.iter().all(|n| *n == message[0]));
                seen[usize::from(message[0])] += 1;
            }
            assert_eq!(seen, [50; 4]);
        });
    }

    #[test]
    fn a_message_cut_short_by_death_is_the_end_and_a_wrong_one_an_error() {
        let (a, b) = Channel::pair().unwrap();
        (&a.socket).write_all(&[9, 0, 0, 0, b'"']).unwrap();
        drop(a);
        assert_eq!(b.recv::<String>().unwrap(), None);

        let (a, b) = Channel::pair().unwrap();
        (&a.socket).write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(b.recv::<String>().unwrap_err().kind, Kind::Internal);

        let (a, b) = Channel::pair().unwrap();
        a.send(&1).unwrap();
        assert_eq!(b.recv::<String>().unwrap_err().kind, Kind::Internal);
    }

    #[test]
    fn a_descriptor_comes_with_its_message_and_with_no_other() {
        let (a, b) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"content").unwrap();
        let large = "x".repeat(5 << 20);
        std::thread::scope(|s| {
            s.spawn(|| {
                a.send("none").unwrap();
                a.send_with(&large, Some(file.as_fd())).unwrap();
                a.send("none").unwrap();
                a.send_with("unwanted", Some(file.as_fd())).unwrap();
                a.send("none").unwrap();
            });
            for with in [false, true, false] {
                let (message, descriptor) = b.recv_with::<String>().unwrap().unwrap();
                assert_eq!((message.len() > 10, descriptor.is_some()), (with, with));
                let Some(descriptor) = descriptor else { continue };
                let flags = fcntl(&descriptor, FcntlArg::F_GETFD).unwrap();
                assert_eq!(flags & FdFlag::FD_CLOEXEC.bits(), FdFlag::FD_CLOEXEC.bits());
                let mut text = [0; 7];
                std::os::unix::fs::FileExt::read_exact_at(
                    &std::fs::File::from(descriptor),
                    &mut text,
                    0,
                )
                .unwrap();
                assert_eq!(&text, b"content");
            }
            assert_eq!(b.recv::<String>().unwrap().unwrap(), "unwanted");
            let (message, descriptor) = b.recv_with::<String>().unwrap().unwrap();
            assert_eq!((message.as_str(), descriptor.is_some()), ("none", false));
        });
    }

    #[test]
    fn a_descriptor_that_is_no_channel_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let e = Channel::from_inherited_fd(file.as_raw_fd()).unwrap_err();
        assert_eq!(e.kind, Kind::Usage);
        // Still open: the refusal did not take it over.
        file.metadata().unwrap();
    }
}
