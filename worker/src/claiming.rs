//! The claiming thread: in `status` mode, sets the next stretch of rows from 0 to 1 while the one
//! before it is read.
//!
//! A claim is handed over after its commit, and read by a statement that begins after that; the
//! reading thread takes claims in the order they were made. What was claimed and not read, because
//! the run ended early, is put back by recovery, as after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;
use ssync_common::connector::LockWait;
use ssync_common::error::{Kind, Result};
use ssync_common::failpoint;
use ssync_common::value::Key;

use crate::batch_size::{BatchSize, Side};
use crate::idle::Borrowed;
use crate::owner::Ownership;
use crate::pace::Pace;
use crate::reading::ReadCounters;
use crate::source::{Bound, Range, RowState, SourceTable};

/// A stretch of rows that is ours to read: those of them in state 1.
pub struct Claim {
    /// Up to the last key that was found to be sent.
    pub range: Range,
    /// Rows claimed in it, at least one.
    pub rows: u64,
}

/// Everything the thread works with.
pub struct Claimer {
    /// Its own connection to the source.
    pub conn: Borrowed,
    /// The table.
    pub table: SourceTable,
    /// Checked in the transaction of every claim.
    pub owner: Ownership,
    /// Rows in a stretch.
    pub size: Arc<BatchSize>,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
    /// How fast it may go.
    pub pace: Arc<Pace>,
    /// Counters.
    pub counters: Arc<ReadCounters>,
    /// Number of the last stretch, for crash points: that of its batch, where each is one batch.
    pub number: u64,
}

/// How close to each other the rows to be sent are, by the last stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Density {
    /// There were not many.
    Unknown,
    /// There were as many as wanted.
    Full,
    /// There was one at no less than every other whole number.
    WholeNumbers,
}

impl Density {
    fn of(range: &Range, rows: u64, most: u64) -> Density {
        match range.whole_numbers() {
            Some(numbers) if rows >= numbers.max(most).div_ceil(2) => Density::WholeNumbers,
            _ if rows >= most => Density::Full,
            _ => Density::Unknown,
        }
    }
}

impl Claimer {
    /// Claims the rows in state 0, one stretch at a time, in key order, until there are no more or
    /// nobody takes the claims.
    pub fn run(mut self, claims: &Sender<Claim>) -> Result<()> {
        let wait = if self.locks_rows() { LockWait::Short } else { LockWait::Patient };
        self.conn.set_lock_wait(wait)?;
        let (mut rest, mut density) = (Range::all(), Density::Unknown);
        while !self.stopped() {
            self.pace.wait(&self.stop, None)?;
            let most = self.size.rows() as u64;
            let Some((range, end)) = self.find(&rest, most, density)? else { break };
            failpoint::hit("reader.before_claim", self.number + 1);
            let rows = self.claim(&range, most)?;
            failpoint::hit("reader.after_claim", self.number + 1);
            density = Density::of(&range, rows, most);
            rest = Range::above(Bound::Excluding(end));
            if rows > 0 {
                self.number += 1;
                if claims.send(Claim { range, rows }).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next stretch of up to `most` rows to claim, and its end. Where rows to be sent follow
    /// each other closely, it begins where the one before it ended, and only its last key is asked
    /// for, if that; where they are few, all their keys are, so that neither this nor the claim
    /// walks over more of the table than it must.
    fn find(&mut self, rest: &Range, most: u64, density: Density) -> Result<Option<(Range, Key)>> {
        let conn = self.conn.as_mut();
        if density == Density::WholeNumbers
            && let Some(step) = Range::whole_step(&rest.lower, most)
            && let Bound::Including(end) = &step.upper
        {
            let end = end.clone();
            return Ok(Some((step, end)));
        }
        if density != Density::Unknown
            && let Some(last) = self.table.nth_key(conn, RowState::ToSend, rest, most)?
        {
            let upper = Bound::Including(last.clone());
            return Ok(Some((Range { lower: rest.lower.clone(), upper }, last)));
        }
        let mut keys = self.table.keys(conn, RowState::ToSend, rest, most)?;
        let (Some(last), first) = (keys.pop(), keys.first()) else { return Ok(None) };
        Ok(Some((Range::closed(first.unwrap_or(&last), &last), last)))
    }

    /// Claims the rows of a range; the rows claimed. A row that somebody holds locked is left out,
    /// by halving the range until it stands alone.
    fn claim(&mut self, range: &Range, most: u64) -> Result<u64> {
        let began = Instant::now();
        if let Some(rows) = self.claim_unless_locked(range)? {
            self.size.took(Side::Source, rows as usize, began.elapsed());
            return Ok(rows);
        }
        let conn = self.conn.as_mut();
        let keys = self.table.keys(conn, RowState::ToSend, range, most)?;
        let mut locked = vec![keys.as_slice()];
        let mut total = 0;
        while let Some(keys) = locked.pop()
            && !self.stopped()
        {
            if keys.len() < 2 {
                self.counters.left_locked.fetch_add(keys.len() as u64, Ordering::Relaxed);
                continue;
            }
            let (low, high) = keys.split_at(keys.len() / 2);
            for half in [low, high] {
                let (Some(first), Some(last)) = (half.first(), half.last()) else { continue };
                match self.claim_unless_locked(&Range::closed(first, last))? {
                    Some(rows) => total += rows,
                    None => locked.push(half),
                }
            }
        }
        Ok(total)
    }

    fn claim_unless_locked(&mut self, range: &Range) -> Result<Option<u64>> {
        let table = &self.table;
        let moved = self.owner.guarded(self.conn.as_mut(), |conn| {
            table.move_state(conn, range, RowState::ToSend, RowState::UnderWay)
        });
        match moved {
            Ok(rows) => {
                self.counters.claimed.fetch_add(rows, Ordering::Relaxed);
                Ok(Some(rows))
            }
            Err(e) if e.kind == Kind::Contention && self.locks_rows() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether the source locks rows, not whole files.
    fn locks_rows(&self) -> bool {
        self.table.dialect.lock("x", true) != "x"
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
