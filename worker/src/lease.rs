//! Keeps a source table ours while a run is at work.

use std::thread;
use std::time::{Duration, Instant};

use ssync_common::connector::{Connection, LinkParams, open};
use ssync_common::error::Result;

use crate::owner::Ownership;

/// How often the owner row is renewed; well below its lease.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// Keeps the owner row alive from a thread and a connection of its own.
pub struct Lease {
    stop: Option<crossbeam_channel::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lease {
    /// Renews until dropped.
    pub fn start(link: &LinkParams, owner: Ownership) -> Result<Lease> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let link = link.clone();
        let thread = thread::Builder::new().name("lease".into()).spawn(move || {
            let mut conn: Option<Box<dyn Connection>> = None;
            let mut last = Instant::now();
            loop {
                let wait = RENEW_EVERY.saturating_sub(last.elapsed());
                match stopped.recv_timeout(wait) {
                    Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
                last = Instant::now();
                let renewed = match conn.take() {
                    Some(conn) => Ok(conn),
                    None => open(&link),
                }
                .and_then(|mut c| owner.renew(c.as_mut()).map(|()| c));
                match renewed {
                    Ok(c) => conn = Some(c),
                    Err(e) => log::warn!("could not renew the lease on {}: {e}", owner.table),
                }
            }
        })?;
        Ok(Lease { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
