//! Connections, and writer processes with theirs, that outlive the piece of work they were opened
//! for: a task of many small tables would else open eight of them for each (A29).
//!
//! What may be reused is decided narrowly, since a session that is not what it seems to be is
//! worse than a new one:
//!
//! - Only connections whose driver can take everything back that a session may have gathered
//!   ([`Connection::refresh`]), and only when nothing is open on them. Each is taken back and
//!   pinned anew before it is handed out, which also shows whether the server still answers.
//! - None that ran an operator's SQL: `USE`, `SET ROLE` and whatever else that does would survive.
//! - None longer than [`IDLE_MAX`]: a name may stand for another server by then.
//! - None beyond the permits that its table was given: [`crate::permits::Permits`] that are given
//!   back close what is idle first.
//!
//! A writer does the same with its connection when it is set up for another table. The owner's
//! lease opens a connection only for tables that take long enough not to need this.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ssync_common::connector::{Connection, LinkParams, open};
use ssync_common::error::Result;
use ssync_common::ledger::{self, Place};

use crate::pool::WriterProcess;

/// How long a connection waits for further work.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The idle connections and writers of a task process. Clones are the same.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    connections: Vec<IdleConnection>,
    writers: Vec<(WriterProcess, Instant)>,
    /// Links and places that are known to have ssync's own tables.
    ledgers: BTreeSet<(String, Place)>,
    /// By link and place: where an older version may have kept its records, if anywhere else.
    former: BTreeMap<(String, Place), Option<Place>>,
}

struct IdleConnection {
    link: String,
    conn: Box<dyn Connection>,
    since: Instant,
}

impl Connections {
    /// A connection to `link`: an idle one that is as good as new, else a new one.
    pub fn take(&self, link: &LinkParams) -> Result<Borrowed> {
        while let Some(mut idle) = self.pop(&link.name) {
            match idle.conn.refresh() {
                Ok(()) => return Ok(self.lend(&link.name, idle.conn)),
                // Its server was restarted, or something between let it go: nothing is lost, for
                // nothing was open on it.
                Err(e) => log::info!("link {}: an idle connection is of no use: {e}", link.name),
            }
        }
        Ok(self.lend(&link.name, open(link)?))
    }

    /// The resting writer of this number, if there is one.
    pub fn take_writer(&self, n: usize) -> Option<WriterProcess> {
        self.close_old();
        let mut idle = self.lock();
        let at = idle.writers.iter().position(|(writer, _)| writer.n() == n)?;
        Some(idle.writers.swap_remove(at).0)
    }

    /// Keeps a writer that rests.
    pub fn keep_writer(&self, writer: WriterProcess) {
        self.lock().writers.push((writer, Instant::now()));
    }

    /// Makes ssync's own tables beside a destination where they are missing; once for each link
    /// and place.
    pub fn ensure_ledger(
        &self,
        link: &str,
        place: &Place,
        dest: &mut dyn Connection,
    ) -> Result<()> {
        let known = (link.to_owned(), place.clone());
        if !self.lock().ledgers.contains(&known) {
            ledger::ensure_tables(dest, place)?;
            self.lock().ledgers.insert(known);
        }
        Ok(())
    }

    /// Where an older version may have kept the records that belong to `place`: in the link's
    /// default database, if that is another one. Looked for once for each link and place.
    pub fn former_place(
        &self,
        link: &str,
        place: &Place,
        dest: &mut dyn Connection,
    ) -> Result<Option<Place>> {
        let known = (link.to_owned(), place.clone());
        if let Some(former) = self.lock().former.get(&known) {
            return Ok(former.clone());
        }
        let default = Place::beside("");
        let former = match default == *place {
            true => None,
            false => ledger::stands_apart(dest, &default, place)?.then_some(default),
        };
        self.lock().former.insert(known, former.clone());
        Ok(former)
    }

    /// Closes those that have been idle for too long.
    pub fn close_old(&self) {
        let is_old = |since: &Instant| since.elapsed() > IDLE_MAX;
        // Closed outside of the lock: a server that is gone may take its time.
        let mut idle = self.lock();
        let connections: Vec<_> =
            idle.connections.extract_if(.., |idle| is_old(&idle.since)).collect();
        let writers: Vec<_> = idle.writers.extract_if(.., |(_, since)| is_old(since)).collect();
        drop(idle);
        drop((connections, writers));
    }

    /// Closes all that are idle, and forgets what is known of their servers.
    pub fn close(&self) {
        let idle = std::mem::take(&mut *self.lock());
        for (writer, _) in &idle.writers {
            // All at once; each is waited for when it is dropped.
            writer.send_off();
        }
        drop(idle);
    }

    fn lend(&self, link: &str, conn: Box<dyn Connection>) -> Borrowed {
        Borrowed { conn: Some(conn), link: link.to_owned(), home: Some(self.clone()) }
    }

    fn pop(&self, link: &str) -> Option<IdleConnection> {
        self.close_old();
        let mut idle = self.lock();
        let at = idle.connections.iter().rposition(|i| i.link == link)?;
        Some(idle.connections.swap_remove(at))
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection for a piece of work. Dropped, it becomes idle, where it may be used again.
pub struct Borrowed {
    /// Always there until it is dropped.
    conn: Option<Box<dyn Connection>>,
    link: String,
    /// Where it goes back to; `None` once it must not.
    home: Option<Connections>,
}

impl Borrowed {
    /// Whatever becomes of the session, it is nobody else's: the connection is closed when it is
    /// dropped.
    pub fn keep_from_reuse(&mut self) {
        self.home = None;
    }
}

impl Deref for Borrowed {
    type Target = dyn Connection;

    fn deref(&self) -> &Self::Target {
        match &self.conn {
            Some(conn) => conn.as_ref(),
            None => unreachable!("taken by `drop` alone"),
        }
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.conn {
            Some(conn) => conn.as_mut(),
            None => unreachable!("taken by `drop` alone"),
        }
    }
}

impl AsRef<dyn Connection> for Borrowed {
    fn as_ref(&self) -> &(dyn Connection + 'static) {
        &**self
    }
}

impl AsMut<dyn Connection> for Borrowed {
    fn as_mut(&mut self) -> &mut (dyn Connection + 'static) {
        &mut **self
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let (Some(conn), Some(home)) = (self.conn.take(), self.home.take()) else { return };
        // Whoever panicked may have left anything in the middle.
        if conn.may_be_reused() && !std::thread::panicking() {
            let link = std::mem::take(&mut self.link);
            home.lock().connections.push(IdleConnection { link, conn, since: Instant::now() });
        }
    }
}
