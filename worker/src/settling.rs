//! The settling thread: tells the source what became of its rows, then the configuration database
//! and the ledger that the source knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Id, Pair};
use ssync_common::value::{Key, key_text};

use crate::events::Event;
use crate::idle::Borrowed;
use crate::journal::{BatchRecord, Journal};
use crate::owner::Ownership;
use crate::source::{Range, RowState, SourceTable};

/// How many jobs are settled before the ledger is told.
const GROUP_MAX: usize = 16;

/// What became of a part of a batch.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Landed under this ledger position.
    Landed(String),
    /// A bad row.
    Failed,
    /// Not sent: back to 0.
    Released,
}

/// A part of a batch to settle.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number of the batch, for people and crash points.
    pub number: u64,
    /// Rows.
    pub rows: u64,
    /// Key of the first row.
    pub lo: Key,
    /// Key of the last row.
    pub hi: Key,
    /// What became of it.
    pub fate: Fate,
}

/// What a group of jobs came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Jobs done.
    pub jobs: usize,
    /// Landed rows that the source now shows as done.
    pub settled: u64,
    /// Landed rows that were changed, or deleted, at the source meanwhile.
    pub changed: u64,
    /// Bad rows that the source now shows as failed.
    pub failed: u64,
    /// Rows put back to 0.
    pub released: u64,
}

/// Everything the thread works with.
pub struct Settler {
    /// Its own connection to the source; `None` where the source carries no state.
    pub source: Option<(Borrowed, SourceTable, Ownership)>,
    /// Its own connection to the destination, for the ledger.
    pub dest: Borrowed,
    /// Where settlements are written down.
    pub journal: Arc<dyn Journal>,
    /// The record of the pair of tables.
    pub pair: Pair,
    /// Its epoch, which moves when a writer's fate is found out.
    pub epoch: Arc<AtomicI64>,
    /// The run.
    pub run: Id,
    /// Jobs; the thread ends when the sender is dropped.
    pub jobs: Receiver<Job>,
    /// Where it reports.
    pub events: Sender<Event>,
}

impl Settler {
    /// Settles until there are no more jobs, or one fails.
    pub fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX {
                let Ok(next) = self.jobs.try_recv() else { break };
                group.push(next);
            }
            let result = self.settle(&group);
            let failed = result.is_err();
            if self.events.send(Event::Settled(result)).is_err() || failed {
                return;
            }
        }
    }

    fn settle(&mut self, group: &[Job]) -> Result<Settlement> {
        let mut done = Settlement { jobs: group.len(), ..Settlement::default() };
        let mut landed = Vec::new();
        let mut records = Vec::new();
        for job in group {
            failpoint::hit("settler.before_settle", job.number);
            self.settle_one(job, &mut done)?;
            failpoint::hit("settler.after_settle", job.number);
            if let Fate::Landed(pos) = &job.fate {
                landed.push(pos.clone());
                records.push(BatchRecord {
                    number: job.number,
                    pos: pos.clone(),
                    rows: job.rows,
                    lo: job.lo.clone(),
                    hi: job.hi.clone(),
                });
            }
        }
        if self.source.is_some() {
            let number = group.last().map_or(0, |job| job.number);
            // Written down first: what the ledger has marked is nobody's to find any more, and
            // would not be missed.
            let epoch = self.epoch.load(Ordering::Relaxed);
            self.journal.record_settled(&self.pair.id, epoch, &self.run, &records)?;
            failpoint::hit("settler.after_record", number);
            failpoint::hit("settler.before_mark", number);
            ledger::mark_settled(self.dest.as_mut(), &self.pair, &self.run, &landed)?;
            failpoint::hit("settler.after_mark", number);
        }
        Ok(done)
    }

    fn settle_one(&mut self, job: &Job, done: &mut Settlement) -> Result<()> {
        let Some((conn, table, owner)) = &mut self.source else {
            match job.fate {
                Fate::Landed(_) => done.settled += job.rows,
                Fate::Failed => done.failed += job.rows,
                Fate::Released => done.released += job.rows,
            }
            return Ok(());
        };
        let to = match job.fate {
            Fate::Landed(_) => RowState::Done,
            Fate::Failed => RowState::Failed,
            Fate::Released => RowState::ToSend,
        };
        let moved = move_part(conn.as_mut(), table, owner, job, to)?;
        match job.fate {
            Fate::Landed(_) => {
                done.settled += moved;
                done.changed += job.rows - moved;
            }
            Fate::Failed => done.failed += job.rows,
            Fate::Released => done.released += job.rows,
        }
        Ok(())
    }
}

/// Moves a part's rows from 1 to another state, never more of them than the part had.
pub fn move_part(
    conn: &mut dyn Connection,
    table: &SourceTable,
    owner: &Ownership,
    job: &Job,
    to: RowState,
) -> Result<u64> {
    conn.set_lock_wait(LockWait::Patient)?;
    let range = Range::closed(&job.lo, &job.hi);
    let mut tries = 0;
    loop {
        let moved = owner.guarded(conn, |conn| {
            let moved = table.move_state(conn, &range, RowState::UnderWay, to)?;
            if moved > job.rows {
                let names: Vec<_> = table.order.iter().map(|c| c.name.clone()).collect();
                return Err(Error::new(
                    Kind::Balance,
                    format!(
                        "{}: {} rows of a batch, but {moved} rows in state 1 between {} and {}",
                        table.name,
                        job.rows,
                        key_text(&names, &job.lo),
                        key_text(&names, &job.hi)
                    ),
                )
                .hint("Somebody besides ssync sets sync_status to 1. Nothing was settled."));
            }
            Ok(moved)
        });
        match moved {
            // A row of the part is held by the application; it will be let go.
            Err(e) if e.kind == Kind::Contention && tries < 10 => tries += 1,
            other => return other,
        }
    }
}
