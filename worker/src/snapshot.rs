//! The one state of the source that the `full` tables of a task's run are read from.
//!
//! The first `full` table begins a snapshot ([`Connection::begin_snapshot`]) on the connections of
//! its readers, and the tables after it read on the same connections, so that children fit their
//! parents. Where there are several readers, changes of all those tables are held up while their
//! snapshots begin ([`Connection::hold_changes`]); where that cannot be had, one session reads.
//!
//! A snapshot costs the source: it keeps old versions of rows, and a database may keep its tables
//! from being redefined. So it ends with the last table that needs it, with a pause that is too long
//! ([`Task::snapshot_max`](ssync_common::config::Task::snapshot_max)), and before anything that it
//! would stand in the way of, or that later tables must see: an operator's SQL at the source, and
//! rows that this task itself has landed there. What comes after is read from a later snapshot, and
//! a note says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use ssync_common::connector::{Connection, LinkParams};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::schema::Table;

use crate::idle::{Borrowed, Connections};
use crate::plan::TablePlan;

/// Failed attempts at a table after which it is read without a snapshot: the database may be unable
/// to keep one for as long as reading takes (Oracle: ORA-01555).
const FAILURES_MAX: u32 = 2;

/// A table: its server, and its name in full.
type Place = (String, String);

/// The snapshot of a task's run. Clones are the same.
#[derive(Clone)]
pub struct Snapshots(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// How long it may be idle.
    idle_max: Duration,
}

#[derive(Default)]
struct State {
    /// Sessions that are in it, and not at work.
    sessions: Vec<Borrowed>,
    /// How many are at work.
    lent: usize,
    /// Since when none is.
    idle_since: Option<Instant>,
    /// What it is told apart by from an earlier one, whose sessions may still come back.
    generation: u64,
    /// Tables that were read from it; whether a view was among them, which may read any.
    read: Vec<Place>,
    view_read: bool,
    /// Tables that this task's run has written to, by sub-task.
    landed: Vec<(Place, String)>,
    /// Why an earlier snapshot ended, and which tables were read from it, until that is told.
    ended: Option<(String, Vec<Place>)>,
    /// Attempts at the table that have failed.
    failures: u32,
    /// Sub-tasks that were read from two states: their runs were resumed.
    resumed: Vec<String>,
}

/// What a table is read by.
pub struct Lent {
    /// Sessions in the snapshot; none where there is none.
    pub sessions: Vec<Borrowed>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Snapshots {
    /// None yet. It may be idle for so long.
    pub fn new(idle_max: Duration) -> (Snapshots, SnapshotWatch) {
        let snapshots = Snapshots(Arc::new(Shared { state: Mutex::default(), idle_max }));
        let watch = SnapshotWatch { snapshots: snapshots.clone(), watching: None };
        (snapshots, watch)
    }

    /// Connections that it holds open.
    pub fn sessions(&self) -> usize {
        let state = self.lock();
        state.sessions.len() + state.lent
    }

    /// Another table begins.
    pub fn table_begins(&self) {
        self.lock().failures = 0;
    }

    /// The run of a sub-task is resumed: part of its rows are of an earlier state.
    pub fn resumes(&self, sub_task: &str) {
        let mut state = self.lock();
        if !state.resumed.iter().any(|name| name == sub_task) {
            state.resumed.push(sub_task.to_owned());
        }
    }

    /// Sub-tasks before this one that no snapshot shows as they were landed.
    pub fn resumed_before(&self, sub_task: &str) -> Vec<String> {
        self.lock().resumed.iter().filter(|name| *name != sub_task).cloned().collect()
    }

    /// An attempt at a table has failed: what comes after it is read anew. Where it had not even
    /// `connected`, the snapshot was not to blame.
    pub fn attempt_failed(&self, e: &Error, connected: bool) {
        self.lock().failures += u32::from(connected);
        self.end(&format!("a failure ({e})"));
    }

    /// Gives the snapshot up. `why` is told with the next table that is read from another one.
    pub fn end(&self, why: &str) {
        let mut state = self.lock();
        if state.sessions.is_empty() && state.lent == 0 {
            return;
        }
        log::info!("the snapshot of the source ends: {why}");
        let read = std::mem::take(&mut state.read);
        state.ended = Some((why.to_owned(), read));
        state.generation += 1;
        state.lent = 0;
        state.idle_since = None;
        state.view_read = false;
        let sessions = std::mem::take(&mut state.sessions);
        drop(state);
        sessions.into_iter().for_each(leave);
    }

    /// Sessions to read a table from, `readers` of them at the most. A snapshot is begun where there
    /// is none: `run` is a connection that is free for a moment, `tables` are all that will be read.
    pub fn lend(
        &self,
        (connections, link): (&Connections, &LinkParams),
        run: &mut dyn Connection,
        plan: &TablePlan,
        tables: &[String],
        readers: usize,
    ) -> Result<Lent> {
        let mut notes = Vec::new();
        if self.lock().failures >= FAILURES_MAX {
            notes.push(
                "read without a snapshot of the source, after two attempts with one failed".into(),
            );
            return Ok(Lent { sessions: Vec::new(), notes });
        }
        if self.lock().sessions.is_empty() {
            let ended = self.lock().ended.take();
            let others = |(_, read): &(String, Vec<Place>)| read.iter().any(|p| *p != place(plan));
            if let Some((why, _)) = ended.filter(others) {
                notes.push(format!(
                    "read from a later state of the source than the tables before it: their \
                     snapshot ended with {why}"
                ));
            }
            let begun = begin((connections, link), run, tables, readers)?;
            if begun.is_empty() {
                notes.push(
                    "the source has no consistent snapshot: rows whose key changes while \
                            they are read may be missed"
                        .into(),
                );
                return Ok(Lent { sessions: begun, notes });
            }
            log::info!("a snapshot of the source, read by {} sessions", begun.len());
            self.lock().sessions = begun;
        }
        let mut state = self.lock();
        let n = state.sessions.len().min(readers);
        let rest = state.sessions.len() - n;
        let sessions = state.sessions.split_off(rest);
        if n < readers {
            notes.push(format!(
                "read by {n} session{} instead of {readers}: changes of the tables could not be \
                 held up for the moment in which more would join its snapshot",
                if n == 1 { "" } else { "s" }
            ));
        }
        state.lent += n;
        state.idle_since = None;
        state.read.push(place(plan));
        state.view_read |= plan.source_is_view;
        Ok(Lent { sessions, notes })
    }

    fn give_back(&self, session: Borrowed, generation: u64) {
        let mut state = self.lock();
        if state.generation != generation {
            drop(state);
            return leave(session);
        }
        state.lent = state.lent.saturating_sub(1);
        state.sessions.push(session);
        if state.lent == 0 {
            state.idle_since = Some(Instant::now());
        }
    }

    /// Before a table touches anything: gives the snapshot up where it would not show what the table
    /// must see, or would stand in its way. `sql` says whether an operator's SQL will run at the
    /// source, and at the destination.
    pub fn make_way(&self, plan: &TablePlan, sql: (bool, bool)) {
        let same_server = plan.source_server == plan.dest.server;
        let state = self.lock();
        let into_read = state.read.iter().any(|p| *p == place_of(&plan.dest));
        let from_landed = state.landed.iter().any(|(p, _)| *p == place(plan));
        drop(state);
        if sql.0 || sql.1 && same_server {
            self.end("SQL that was run at the source");
        } else if into_read || same_server && self.lock().view_read {
            self.end("rows for a table that had been read from it");
        } else if from_landed || same_server && plan.source_is_view {
            self.end("rows that this task landed there");
        }
    }

    /// A table's rows are about to land.
    ///
    /// # Errors
    /// When it is emptied first, and another sub-task of this run has filled it.
    pub fn lands(&self, dest: &Table, sub_task: &str, empties: bool) -> Result<()> {
        let mut state = self.lock();
        let place = place_of(dest);
        let other = state.landed.iter().find(|(p, name)| *p == place && name != sub_task);
        if let (true, Some((_, other))) = (empties, other) {
            return Err(Error::new(
                Kind::Refused,
                format!("table {other} of this task has just landed rows in {}", dest.full_name),
            )
            .detail("a full run would empty it first")
            .hint("Give each full sub-task a destination of its own."));
        }
        state.landed.push((place, sub_task.to_owned()));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it up when it has been idle for too long; when to look again.
    fn watch(&self) -> Duration {
        let idle = self.lock().idle_since.map(|since| since.elapsed());
        match idle {
            Some(idle) if idle >= self.0.idle_max => {
                self.end(&too_long(self.0.idle_max));
                self.0.idle_max
            }
            Some(idle) => self.0.idle_max - idle,
            None => self.0.idle_max,
        }
    }
}

/// What a reader whose session is in the snapshot has to know to give it back, or to leave it.
pub struct InSnapshot {
    snapshots: Snapshots,
    generation: u64,
    connections: Connections,
    link: LinkParams,
}

impl InSnapshot {
    /// Of the snapshot as it is now.
    pub fn new(snapshots: &Snapshots, connections: &Connections, link: &LinkParams) -> InSnapshot {
        InSnapshot {
            snapshots: snapshots.clone(),
            generation: snapshots.lock().generation,
            connections: connections.clone(),
            link: link.clone(),
        }
    }

    /// How long a pause may be.
    pub fn idle_max(&self) -> Duration {
        self.snapshots.0.idle_max
    }

    /// The session has read what it had to.
    pub fn give_back(self, session: Borrowed) {
        self.snapshots.give_back(session, self.generation);
    }

    /// The snapshot ends since a pause was too long; the session, or another in its place, reads on.
    pub fn leave(self, session: &mut Borrowed) -> Result<()> {
        self.snapshots.end(&too_long(self.idle_max()));
        match session.rollback() {
            // Gone with what was being read.
            Err(e) if e.kind == Kind::Lost => {
                *session = self.connections.take(&self.link)?;
                Ok(())
            }
            done => done,
        }
    }
}

/// Why a snapshot ended that was held up for too long.
pub fn too_long(max: Duration) -> String {
    format!("a pause of more than {} s (snapshot_max)", max.as_secs())
}

/// Ends what is left of the snapshot, and the watch over it, when dropped.
pub struct SnapshotWatch {
    snapshots: Snapshots,
    watching: Option<(Sender<()>, thread::JoinHandle<()>)>,
}

impl SnapshotWatch {
    /// Watches, from a thread, that the snapshot is not idle for too long.
    pub fn start(&mut self) -> Result<()> {
        let (end, ended) = bounded::<()>(0);
        let snapshots = self.snapshots.clone();
        let watching = move || {
            while ended.recv_timeout(snapshots.watch())
                == Err(crossbeam_channel::RecvTimeoutError::Timeout)
            {}
        };
        let thread = thread::Builder::new().name("snapshot".into()).spawn(watching)?;
        self.watching = Some((end, thread));
        Ok(())
    }
}

impl Drop for SnapshotWatch {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.watching.take() {
            drop(end);
            let _ = thread.join();
        }
        self.snapshots.end("the end of the task");
    }
}

fn place(plan: &TablePlan) -> Place {
    (plan.source_server.clone(), plan.source_name.clone())
}

fn place_of(table: &Table) -> Place {
    (table.server.clone(), table.full_name.clone())
}

/// Ends the snapshot of one session. One that cannot even do that is of no use to anybody.
pub fn leave(mut session: Borrowed) {
    if let Err(e) = session.rollback() {
        log::info!("a session of the snapshot: {e}");
        session.keep_from_reuse();
    }
}

/// As many sessions as possible in one snapshot, at most `readers`.
fn begin(
    (connections, link): (&Connections, &LinkParams),
    run: &mut dyn Connection,
    tables: &[String],
    readers: usize,
) -> Result<Vec<Borrowed>> {
    let mut sessions = Vec::new();
    for _ in 0..readers {
        sessions.push(connections.take(link)?);
    }
    let mut held = false;
    if readers > 1 {
        match run.hold_changes(tables) {
            Ok(()) => held = true,
            Err(e) if e.kind == Kind::Lost => return Err(e),
            Err(e) => {
                log::info!("changes could not be held up for a snapshot of several readers: {e}");
                sessions.truncate(1);
            }
        }
    }
    let begun: Result<Vec<bool>> = sessions.iter_mut().map(|s| s.begin_snapshot()).collect();
    if held {
        run.let_changes()?;
    }
    if begun?.iter().any(|begun| !begun) {
        sessions.clear();
    }
    Ok(sessions)
}
