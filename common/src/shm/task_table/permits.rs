//! Connection permits (A29): how many connections the processes of this instance hold on each
//! link, so that a database never gets more than its configured number.
//!
//! A process takes all permits that a piece of work needs on a link at once, and on several links
//! in the order of their names; so nobody waits for a permit that is held by somebody who waits.
//! Whoever asked first is served first. Each claim is an entry of the table and a lock on a byte
//! that the kernel lets go of when its process dies: the permits of the dead come back by
//! themselves.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ByteLock, LAYOUT_WAIT, LOCK_LAYOUT, LOCK_PERMITS, TaskTable};
use crate::error::{Error, Kind, Result};
use crate::shm::lock;
use crate::shm::now_ms;
use crate::shm::segment::shared_struct;

/// Claims that can stand at once.
pub const CLAIMS: usize = 256;

const FREE: u32 = 0;
const WAITING: u32 = 1;
const HOLDING: u32 = 2;

shared_struct! {
    pub(super) struct ClaimEntry (64) {
        state: AtomicU32,
        pid: AtomicU32,
        task_id: AtomicU32,
        /// Permits held; while waiting the least that is of use.
        permits: AtomicU32,
        /// A hash of the link's name.
        link: AtomicU64,
        /// Its place in the queue.
        ticket: AtomicU64,
        since_ms: AtomicU64,
        reserved: [AtomicU64; 2],
    }
}
const _: () = assert!(size_of::<ClaimEntry>() == 64);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of the link.
    pub link: String,
    /// Connections that the link allows to all processes together.
    pub limit: u32,
    /// Connections without which the work cannot be done.
    pub least: u32,
    /// Connections that it can use.
    pub most: u32,
    /// The task, for people; 0 when it is none.
    pub task: u32,
}

/// A place in the queue for permits, then the permits. Dropped, it gives them back.
#[derive(Debug)]
pub struct Claim {
    table: TaskTable,
    index: usize,
    request: Request,
    _lock: ByteLock,
}

/// A claim, as read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimView {
    /// The link, as [`link_hash`] makes it of its name.
    #[serde(skip)]
    pub link: u64,
    /// The process.
    pub pid: u32,
    /// Its task; 0 when it runs none.
    pub task: u32,
    /// Whether it holds the permits, rather than waits for them.
    pub held: bool,
    /// Permits held; while waiting the least that is of use.
    pub permits: u32,
    /// Since when it holds them or waits for them, milliseconds since 1970.
    pub since_ms: u64,
    /// Its place in the queue: who came earlier has a smaller one.
    #[serde(skip)]
    pub ticket: u64,
}

/// What stands for a link's name in a claim.
pub fn link_hash(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

impl TaskTable {
    /// Enters the queue for permits; [`Claim::try_grant`] says when they are there.
    ///
    /// # Errors
    /// [`Kind::Config`] when the link never allows as many as are needed; [`Kind::Full`] when
    /// [`CLAIMS`] claims stand.
    pub fn claim(&self, request: Request) -> Result<Claim> {
        if request.least > request.limit {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "link {} allows {} connections; {} are needed at the least",
                    request.link, request.limit, request.least
                ),
            )
            .hint("Raise max_connections of the link."));
        }
        let _layout = ByteLock::acquire(&self.0.lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let table = self.current()?;
        let ticket = table.claims()?.iter().map(|(_, c)| c.ticket).max().map_or(1, |t| t + 1);
        for index in 0..CLAIMS {
            let byte = LOCK_PERMITS + index as u64;
            let Some(lock) = ByteLock::try_acquire(&self.0.lock_path, byte)? else { continue };
            let entry = table.claim_entry(index)?;
            entry.pid.store(std::process::id(), Ordering::Relaxed);
            entry.task_id.store(request.task, Ordering::Relaxed);
            entry.permits.store(request.least, Ordering::Relaxed);
            entry.link.store(link_hash(&request.link), Ordering::Relaxed);
            entry.ticket.store(ticket, Ordering::Relaxed);
            entry.since_ms.store(now_ms(), Ordering::Relaxed);
            entry.state.store(WAITING, Ordering::Release);
            return Ok(Claim { table, index, request, _lock: lock });
        }
        Err(Error::new(Kind::Full, format!("{CLAIMS} processes hold or await connections")))
    }

    /// Every claim of a living process.
    pub fn permit_claims(&self) -> Result<Vec<ClaimView>> {
        Ok(self.claims()?.into_iter().map(|(_, claim)| claim).collect())
    }

    fn claims(&self) -> Result<Vec<(usize, ClaimView)>> {
        let mut claims = Vec::new();
        for index in 0..CLAIMS {
            let entry = self.claim_entry(index)?;
            let state = entry.state.load(Ordering::Acquire);
            let alive =
                state != FREE && lock::is_held(&self.0.lock_file, LOCK_PERMITS + index as u64)?;
            if alive {
                let claim = ClaimView {
                    link: entry.link.load(Ordering::Relaxed),
                    pid: entry.pid.load(Ordering::Relaxed),
                    task: entry.task_id.load(Ordering::Relaxed),
                    held: state == HOLDING,
                    permits: entry.permits.load(Ordering::Relaxed),
                    since_ms: entry.since_ms.load(Ordering::Relaxed),
                    ticket: entry.ticket.load(Ordering::Relaxed),
                };
                claims.push((index, claim));
            }
        }
        Ok(claims)
    }
}

impl Claim {
    /// The permits granted, once nobody who came earlier waits and enough are free: between
    /// `least` and `most`. `None` until then; ask again.
    pub fn try_grant(&self) -> Result<Option<u32>> {
        let _layout = ByteLock::acquire(&self.table.0.lock_path, LOCK_LAYOUT, LAYOUT_WAIT)?;
        let entry = self.table.claim_entry(self.index)?;
        if entry.state.load(Ordering::Relaxed) == HOLDING {
            return Ok(Some(entry.permits.load(Ordering::Relaxed)));
        }
        let ticket = entry.ticket.load(Ordering::Relaxed);
        let hash = link_hash(&self.request.link);
        let mut used = 0;
        for (_, other) in self.table.claims()?.iter().filter(|(_, c)| c.link == hash) {
            if other.held {
                used += other.permits;
            } else if other.ticket < ticket {
                return Ok(None);
            }
        }
        let free = self.request.limit.saturating_sub(used);
        if free < self.request.least {
            return Ok(None);
        }
        let granted = free.min(self.request.most);
        entry.permits.store(granted, Ordering::Relaxed);
        entry.since_ms.store(now_ms(), Ordering::Relaxed);
        entry.state.store(HOLDING, Ordering::Release);
        Ok(Some(granted))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Ok(entry) = self.table.claim_entry(self.index) {
            entry.state.store(FREE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Home {
            Home(tempfile::tempdir().unwrap())
        }

        fn table(&self) -> TaskTable {
            TaskTable::open_or_create(self.0.path()).unwrap()
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            TaskTable::remove(self.0.path()).unwrap();
        }
    }

    fn request(link: &str, least: u32, most: u32) -> Request {
        Request { link: link.into(), limit: 10, least, most, task: 7 }
    }

    #[test]
    fn a_link_never_gets_more_than_its_number_and_who_came_first_is_first() {
        let home = Home::new();
        let table = home.table();
        let first = table.claim(request("core", 4, 8)).unwrap();
        assert_eq!(first.try_grant().unwrap(), Some(8));
        assert_eq!(first.try_grant().unwrap(), Some(8), "asking twice takes nothing more");
        let second = table.claim(request("core", 4, 8)).unwrap();
        let third = table.claim(request("core", 1, 1)).unwrap();
        assert_eq!(second.try_grant().unwrap(), None, "only two are free");
        assert_eq!(third.try_grant().unwrap(), None, "it would overtake");
        let elsewhere = table.claim(request("other", 10, 10)).unwrap();
        assert_eq!(elsewhere.try_grant().unwrap(), Some(10));

        let claims = home.table().permit_claims().unwrap();
        let of_core = || claims.iter().filter(|c| c.link == link_hash("core"));
        assert_eq!(of_core().filter(|c| c.held).map(|c| c.permits).sum::<u32>(), 8);
        assert_eq!(of_core().filter(|c| !c.held).count(), 2);

        drop(first);
        assert_eq!(third.try_grant().unwrap(), None);
        assert_eq!(second.try_grant().unwrap(), Some(8));
        assert_eq!(third.try_grant().unwrap(), Some(1));
        drop((second, third, elsewhere));
        assert_eq!(home.table().permit_claims().unwrap(), []);
    }

    #[test]
    fn a_waiter_that_gives_up_holds_nobody_up() {
        let home = Home::new();
        let table = home.table();
        let all = table.claim(request("core", 10, 10)).unwrap();
        assert_eq!(all.try_grant().unwrap(), Some(10));
        let impatient = table.claim(request("core", 1, 1)).unwrap();
        let patient = table.claim(request("core", 1, 1)).unwrap();
        drop(all);
        assert_eq!(patient.try_grant().unwrap(), None);
        drop(impatient);
        assert_eq!(patient.try_grant().unwrap(), Some(1));
    }

    #[test]
    fn permits_that_a_link_can_never_give_are_refused_at_once() {
        let home = Home::new();
        let e = home.table().claim(request("core", 11, 12)).unwrap_err();
        assert_eq!(e.kind, Kind::Config);
        assert!(e.message.contains("core") && e.message.contains("11"), "{e:?}");
    }
}
