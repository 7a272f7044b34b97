//! The claiming thread: in `status` mode, sets the next stretch of rows from 0 to 1 while the one
//! before it is read.
//!
//! A claim is handed over after its commit, and read by a statement that begins after that; the
//! reading thread takes claims in the order they were made. What was claimed and not read, because
//! the run ended early, is put back by recovery, as after a crash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use ssync_common::error::Result;
use ssync_common::failpoint;
use ssync_common::value::Key;

use crate::batch_size::{BatchSize, Side};
use crate::idle::Borrowed;
use crate::moving::Move;
use crate::owner::Ownership;
use crate::pace::Pace;
use crate::reading::ReadCounters;
use crate::source::{Bound, Range, RowState, SourceTable};

/// How long one pass tries rows that were locked before.
const LEFT_MAX: Duration = Duration::from_secs(10);

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
    /// What alone is to be claimed: what was locked in an earlier pass.
    pub only: Option<Vec<Vec<Key>>>,
    /// Rows that were locked, as [`crate::moving::Moved::locked`] has them.
    pub locked: Arc<Mutex<Vec<Vec<Key>>>>,
    /// Rows that are claimed together next to a locked one, where those cannot be told apart.
    pub piece: usize,
    /// Whether others hold rows of the source; `false` at first.
    pub wary: bool,
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
        if let Some(left) = self.only.take() {
            return self.claim_left(&left, claims);
        }
        let (mut rest, mut density) = (Range::all(), Density::Unknown);
        while !self.stopped() {
            self.pace.wait(&self.stop, None)?;
            let most = self.size.rows() as u64;
            let Some((range, end)) = self.find(&rest, most, density)? else { break };
            failpoint::hit("reader.before_claim", self.number + 1);
            let rows = self.claim(&range)?;
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

    /// Claims what was locked before, each piece on its own.
    fn claim_left(&mut self, left: &[Vec<Key>], claims: &Sender<Claim>) -> Result<()> {
        let began = Instant::now();
        for (n, piece) in left.iter().enumerate() {
            let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
            if self.stopped() {
                break;
            }
            if began.elapsed() > LEFT_MAX {
                let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
                locked.extend_from_slice(&left[n..]);
                break;
            }
            self.pace.wait(&self.stop, None)?;
            let range = Range::closed(first, last);
            failpoint::hit("reader.before_claim", self.number + 1);
            let rows = self.claim(&range)?;
            failpoint::hit("reader.after_claim", self.number + 1);
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
            && self.table.walks_by_number()
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

    /// Claims the rows of a range; the rows claimed. Rows that another session holds locked are left out,
    /// and kept for a later pass.
    fn claim(&mut self, range: &Range) -> Result<u64> {
        let began = Instant::now();
        let claim = Move {
            table: &self.table,
            owner: &self.owner,
            from: RowState::ToSend,
            to: RowState::UnderWay,
            piece: self.piece,
        };
        let moved = claim.free_rows(self.conn.as_mut(), range, None, &mut self.wary)?;
        if moved.at_once {
            self.size.took(Side::Source, moved.rows as usize, began.elapsed());
        }
        self.counters.claimed.fetch_add(moved.rows, Ordering::Relaxed);
        if moved.rows == 0 && moved.locked.is_empty() {
            self.counters.claimed_nothing.fetch_add(1, Ordering::Relaxed);
        }
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.extend(moved.locked);
        Ok(moved.rows)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
