//! The settling thread: tells the source what became of its rows, then the configuration database
//! and the ledger that the source knows.
//!
//! A row that another session holds locked is not waited for. Its part of a batch counts as settled only
//! when all of its rows are: until then its rows in state 1 are those that are locked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use ssync_common::error::Result;
use ssync_common::failpoint;
use ssync_common::ledger::{self, Id, Pair};
use ssync_common::value::Key;

use crate::events::Event;
use crate::idle::Borrowed;
use crate::journal::{BatchRecord, Journal};
use crate::moving::{Move, PIECE_ROWS};
use crate::owner::Ownership;
use crate::source::{Range, RowState, SourceTable};

/// How many jobs are settled before the ledger is told.
const GROUP_MAX: usize = 16;
/// How often rows that another session holds locked are tried again.
const RETRY_EVERY: Duration = Duration::from_millis(300);
/// How long they are tried after the last job, at least.
pub const HELD_MAX: Duration = Duration::from_secs(10);

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

/// What jobs came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Jobs done with.
    pub jobs: usize,
    /// Landed rows that the source now shows as done.
    pub settled: u64,
    /// Landed rows that were changed, or deleted, at the source meanwhile.
    pub changed: u64,
    /// Landed rows that another session holds locked at the source: they stay in state 1, and their part
    /// of a batch stays unsettled in the ledger.
    pub held: u64,
    /// Rows put back to 0.
    pub released: u64,
    /// Bad rows and rows to be put back that another session holds locked: they stay in state 1.
    pub left: u64,
}

/// A job that was begun.
struct Begun {
    job: Job,
    /// Rows that are in their new state.
    moved: u64,
    /// Rows still in state 1, which another session holds locked.
    locked: u64,
    /// Size of pieces in the next try.
    piece: usize,
    since: Instant,
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
    /// Whether others hold rows of the source; `false` at first.
    pub wary: bool,
}

impl Settler {
    /// Settles until there are no more jobs, or one fails. Rows that another session holds locked keep
    /// nobody waiting: they are tried again while others are settled, and for some time after.
    pub fn run(mut self) {
        let mut held = VecDeque::new();
        let (mut last_job, mut retry_at) = (Instant::now(), Instant::now());
        loop {
            let first = match held.is_empty() {
                true => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.jobs.recv_deadline(retry_at),
            };
            let mut group = match first {
                Ok(job) => vec![job],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                // Nobody waits any more, neither for what is held: recovery deals with that.
                Err(RecvTimeoutError::Disconnected) => return,
            };
            while !group.is_empty() && group.len() < GROUP_MAX {
                let Ok(next) = self.jobs.try_recv() else { break };
                group.push(next);
            }
            if !group.is_empty() {
                last_job = Instant::now();
            }
            let mut done = Settlement::default();
            let mut result = self.settle(group, &mut held, &mut done);
            if result.is_ok() && Instant::now() >= retry_at {
                let may_give_up = last_job.elapsed() > HELD_MAX;
                result = self.retry(&mut held, may_give_up, &mut done);
                retry_at = Instant::now() + RETRY_EVERY;
            }
            let failed = result.is_err();
            let news = failed || done.jobs > 0;
            if news && self.events.send(Event::Settled(result.map(|()| done))).is_err() || failed {
                return;
            }
        }
    }

    fn settle(
        &mut self,
        group: Vec<Job>,
        held: &mut VecDeque<Begun>,
        done: &mut Settlement,
    ) -> Result<()> {
        self.remember(&group)?;
        let mut ended = Vec::new();
        for job in group {
            let number = job.number;
            let (piece, since) = (PIECE_ROWS, Instant::now());
            let mut begun = Begun { job, moved: 0, locked: 0, piece, since };
            failpoint::hit("settler.before_settle", number);
            self.go_on(&mut begun)?;
            failpoint::hit("settler.after_settle", number);
            match begun.locked {
                0 => ended.push(begun),
                _ => held.push_back(begun),
            }
        }
        self.book(ended, done)
    }

    /// Writes down what is about to be shown as done at the source, before it is: rows that are
    /// done, and of which nobody knows that they were sent, would not be missed should the
    /// destination lose them.
    fn remember(&mut self, group: &[Job]) -> Result<()> {
        let Some(last) = group.last().filter(|_| self.source.is_some()) else { return Ok(()) };
        let number = last.number;
        let record = |job: &Job| match &job.fate {
            Fate::Landed(pos) => Some(BatchRecord {
                number: job.number,
                pos: pos.clone(),
                rows: job.rows,
                lo: job.lo.clone(),
                hi: job.hi.clone(),
            }),
            _ => None,
        };
        let records: Vec<_> = group.iter().filter_map(record).collect();
        let epoch = self.epoch.load(Ordering::Relaxed);
        self.journal.record_settled(&self.pair.id, epoch, &self.run, &records)?;
        failpoint::hit("settler.after_record", number);
        Ok(())
    }

    /// Tries what is held once more, for a while; what is held for too long is given up, where
    /// that may be.
    fn retry(
        &mut self,
        held: &mut VecDeque<Begun>,
        may_give_up: bool,
        done: &mut Settlement,
    ) -> Result<()> {
        let began = Instant::now();
        let mut ended = Vec::new();
        for _ in 0..held.len() {
            let Some(mut begun) = held.pop_front() else { break };
            self.go_on(&mut begun)?;
            match begun.locked {
                0 => ended.push(begun),
                _ if may_give_up && begun.since.elapsed() > HELD_MAX => ended.push(begun),
                _ => held.push_back(begun),
            }
            if began.elapsed() > RETRY_EVERY {
                break;
            }
        }
        self.book(ended, done)
    }

    fn go_on(&mut self, begun: &mut Begun) -> Result<()> {
        let job = &begun.job;
        let Some((conn, table, owner)) = &mut self.source else {
            begun.moved = job.rows;
            return Ok(());
        };
        let to = match job.fate {
            Fate::Landed(_) => RowState::Done,
            Fate::Failed => RowState::Failed,
            Fate::Released => RowState::ToSend,
        };
        let settling = Move { table, owner, from: RowState::UnderWay, to, piece: begun.piece };
        let range = Range::closed(&job.lo, &job.hi);
        let most = Some(job.rows.saturating_sub(begun.moved));
        let moved = settling.free_rows(conn.as_mut(), &range, most, &mut self.wary)?;
        begun.moved += moved.rows;
        begun.locked = moved.locked_rows();
        begun.piece = (begun.piece / 10).max(1);
        Ok(())
    }

    /// Tells the books of jobs that are done with.
    fn book(&mut self, ended: Vec<Begun>, done: &mut Settlement) -> Result<()> {
        let mut landed = Vec::new();
        for Begun { job, moved, locked, .. } in &ended {
            done.jobs += 1;
            match &job.fate {
                Fate::Landed(pos) => {
                    done.settled += moved;
                    done.held += locked;
                    done.changed += job.rows.saturating_sub(moved + locked);
                    // The rest is for recovery: until then the ledger has it as it is.
                    if *locked == 0 {
                        landed.push(pos.clone());
                    }
                }
                Fate::Failed => done.left += locked,
                Fate::Released => {
                    done.released += job.rows.saturating_sub(*locked);
                    done.left += locked;
                }
            }
        }
        let Some(last) = ended.last().filter(|_| self.source.is_some()) else { return Ok(()) };
        let number = last.job.number;
        failpoint::hit("settler.before_mark", number);
        ledger::mark_settled(self.dest.as_mut(), &self.pair, &self.run, &landed)?;
        failpoint::hit("settler.after_mark", number);
        Ok(())
    }
}
