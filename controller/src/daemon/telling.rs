//! What the daemon has people told: events for the monitor, never the same one over and over.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use ssync_common::error::Result;
use ssync_common::event::{Event, What, Written, record_for_now};
use ssync_common::store::Home;

/// The same about the same is told again after this.
const AGAIN: Duration = Duration::from_secs(3600);
/// Things remembered as told.
const REMEMBERED_MAX: usize = 1000;
/// Events that wait for the disk. What comes beyond that the kernel writes some time.
const UNSYNCED_MAX: usize = 1000;
/// How long a daemon that ends waits for the disk.
const DISK_TIME_MAX: Duration = Duration::from_secs(2);

/// Who has been told what.
#[derive(Debug)]
pub struct Telling {
    home: Home,
    told: BTreeMap<(What, u32), (String, Instant)>,
    disk: Option<Disk>,
}

/// The thread that waits for the disk, which the loop may not.
#[derive(Debug)]
struct Disk {
    written: Sender<Written>,
    ended: Receiver<()>,
}

impl Disk {
    fn start() -> Result<Disk> {
        let (written, arriving) = bounded::<Written>(UNSYNCED_MAX);
        let (end, ended) = bounded(0);
        thread::Builder::new().name("events".into()).spawn(move || {
            arriving.into_iter().for_each(Written::reach_disk);
            drop::<Sender<()>>(end);
        })?;
        Ok(Disk { written, ended })
    }
}

impl Telling {
    /// Nobody has been told anything. Signals must be blocked by then: there is a thread from here
    /// on.
    pub fn new(home: &Home) -> Result<Telling> {
        Ok(Telling { home: home.clone(), told: BTreeMap::new(), disk: Some(Disk::start()?) })
    }

    /// Something that is told each time it happens.
    pub fn tell(&self, event: &Event) {
        let written = record_for_now(self.home.path(), event);
        if let (Some(disk), Some(written)) = (&self.disk, written)
            && disk.written.try_send(written).is_err()
        {
            log::warn!("the disk is slow: an event may not outlive a power failure");
        }
    }

    /// Waits until all of it is on the disk, or that takes too long.
    pub fn close(&mut self) {
        if let Some(Disk { written, ended }) = self.disk.take() {
            drop(written);
            if ended.recv_timeout(DISK_TIME_MAX)
                == Err(crossbeam_channel::RecvTimeoutError::Timeout)
            {
                log::warn!("the disk is slow: events may not outlive a power failure");
            }
        }
    }

    /// Something about task or schedule `id` that is not told again for an hour, unless `text`
    /// differs.
    pub fn tell_once(
        &mut self,
        what: What,
        id: u32,
        text: &str,
        event: impl FnOnce(Event) -> Event,
    ) {
        let told = self.told.get(&(what, id));
        if told.is_some_and(|(old, at)| old == text && at.elapsed() < AGAIN) {
            return;
        }
        if self.told.len() >= REMEMBERED_MAX {
            self.told.retain(|_, (_, at)| at.elapsed() < AGAIN);
        }
        if self.told.len() < REMEMBERED_MAX {
            self.told.insert((what, id), (text.to_owned(), Instant::now()));
        }
        self.tell(&event(Event::new(what, text)));
    }
}
