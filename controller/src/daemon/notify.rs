//! Telling a service manager how the daemon is (`sd_notify`): a datagram to the socket that
//! `NOTIFY_SOCKET` names. Without one nothing happens.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where to, if anybody listens.
#[derive(Debug)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// As the environment says.
    pub fn from_env() -> Notify {
        Notify(std::env::var("NOTIFY_SOCKET").ok().and_then(|name| Notify::open(&name)))
    }

    fn open(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let socket = UnixDatagram::unbound().ok()?;
        // A service manager that does not read must not hold the daemon up.
        socket.set_nonblocking(true).ok()?;
        Some((socket, address.ok()?))
    }

    /// Says something: `READY=1`, `WATCHDOG=1`, `STOPPING=1`.
    pub fn say(&self, state: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(e) = socket.send_to_addr(state.as_bytes(), address)
        {
            log::debug!("the service manager was not told {state}: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_service_manager_hears_it_and_none_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify(Notify::open(path.to_str().unwrap()));
        notify.say("READY=1");
        let mut heard = [0; 64];
        let n = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..n], b"READY=1");
        drop(manager);
        notify.say("WATCHDOG=1");
        Notify(None).say("READY=1");
    }
}
