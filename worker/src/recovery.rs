//! Recovery: before every claim, and after a run that failed in good order.
//!
//! It sends nothing. It settles what the ledger says has landed, and puts every other row left in
//! state 1 back to 0. The claims that follow find whatever is then to be sent: one path for all.

use std::thread;
use std::time::{Duration, Instant};

use ssync_common::connector::Connection;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Entry, Fence, KeptKey, Seals};
use ssync_common::value::{Key, key_text};

use crate::journal::{BatchRecord, Journal};
use crate::moving::{Move, PIECE_ROWS};
use crate::owner::Ownership;
use crate::settling::HELD_MAX;
use crate::source::{Bound, Range, RowState, SourceTable};

/// Rows put back in one statement.
const CHUNK_ROWS: u64 = 10_000;
/// Pause before rows that another session holds locked are tried again.
const PAUSE: Duration = Duration::from_millis(300);

/// What recovery found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Rows that had landed and are now settled.
    pub settled: u64,
    /// Rows that had landed, but were changed at the source meanwhile.
    pub changed: u64,
    /// Rows put back to 0.
    pub released: u64,
}

impl Recovered {
    /// Whether there was anything to do.
    pub fn anything(&self) -> bool {
        *self != Recovered::default()
    }
}

/// Moves the rows of a range that are in a state, and waits for some time for those that another session
/// holds locked, holding none itself.
///
/// # Errors
/// [`Kind::Contention`] when some are locked all that time. Nothing may be claimed then: what
/// would be in state 1 beside them could not be told from them after the next crash.
pub(crate) fn move_all(
    conn: &mut dyn Connection,
    table: &SourceTable,
    owner: &Ownership,
    range: &Range,
    (from, to): (RowState, RowState),
    most: Option<u64>,
) -> Result<u64> {
    let began = Instant::now();
    let mut total = 0;
    let (mut piece, mut wary) = (PIECE_ROWS, false);
    loop {
        let rows = Move { table, owner, from, to, piece };
        let allowed = most.map(|most| most.saturating_sub(total));
        let moved = rows.free_rows(conn, range, allowed, &mut wary)?;
        total += moved.rows;
        let Some(key) = moved.locked.first().and_then(|piece| piece.first()) else {
            return Ok(total);
        };
        if began.elapsed() > HELD_MAX {
            return Err(locked(table, key, (from, to)));
        }
        piece = (piece / 10).max(1);
        thread::sleep(PAUSE);
    }
}

fn locked(table: &SourceTable, key: &Key, (from, to): (RowState, RowState)) -> Error {
    let names: Vec<_> = table.order.iter().map(|c| c.name.clone()).collect();
    Error::new(
        Kind::Contention,
        format!("another session of the source holds rows of {} locked", table.name),
    )
    .detail(format!("row {}", key_text(&names, key)))
    .detail(match (from, to) {
        (RowState::UnderWay, RowState::Done) => "it has landed, and stays in state 1",
        (RowState::UnderWay, _) => "an earlier run left it in state 1, unsent",
        _ => "its state stays as it is",
    })
    .hint(
        "Nothing new is sent until such rows are free. Look for a session of the application that \
         is idle in a transaction.",
    )
}

/// Settles what landed, releases the rest. The fence must have been raised: nothing lands any
/// more under an older epoch.
pub struct Recovery<'a> {
    /// The source table.
    pub table: &'a SourceTable,
    /// Checked in every transaction.
    pub owner: &'a Ownership,
    /// The fence, raised.
    pub fence: &'a Fence,
    /// How keys are kept in the ledger.
    pub seals: &'a Seals,
    /// Where settlements are written down.
    pub journal: &'a dyn Journal,
}

impl Recovery<'_> {
    /// `unsettled` are the ledger's entries whose source has not been told, read after the fence
    /// was raised.
    pub fn run(
        &self,
        source: &mut dyn Connection,
        dest: &mut dyn Connection,
        unsettled: &[Entry<KeptKey>],
    ) -> Result<Recovered> {
        let mut found = Recovered::default();
        // All are opened before any is settled: a home without the key does nothing at all.
        let landed = self.seals.open_all(unsettled)?;
        self.remember(&landed)?;
        self.settle(source, dest, landed, &mut found)?;
        self.release(source, &mut found)?;
        Ok(found)
    }

    /// Written down before the source shows it as done: else it would not be missed should the
    /// destination lose it.
    fn remember(&self, landed: &[Entry]) -> Result<()> {
        for entry in landed {
            let (pos, lo, hi) = (entry.pos.clone(), entry.lo.clone(), entry.hi.clone());
            let part = BatchRecord { number: 0, pos, rows: entry.rows, lo, hi };
            self.journal.record_settled(
                &self.fence.pair.id,
                self.fence.epoch,
                &entry.run,
                &[part],
            )?;
        }
        Ok(())
    }

    /// All of them are tried before any is waited for.
    fn settle(
        &self,
        source: &mut dyn Connection,
        dest: &mut dyn Connection,
        landed: Vec<Entry>,
        found: &mut Recovered,
    ) -> Result<()> {
        let (table, owner) = (self.table, self.owner);
        let (from, to) = (RowState::UnderWay, RowState::Done);
        let mut open: Vec<(Entry, u64)> = landed.into_iter().map(|entry| (entry, 0)).collect();
        let began = Instant::now();
        let (mut piece, mut wary) = (PIECE_ROWS, false);
        loop {
            let (mut held, mut key) = (Vec::new(), None);
            for (entry, before) in open {
                let rows = Move { table, owner, from, to, piece };
                let range = Range::closed(&entry.lo, &entry.hi);
                let allowed = Some(entry.rows.saturating_sub(before));
                let moved = rows.free_rows(source, &range, allowed, &mut wary)?;
                found.settled += moved.rows;
                if let Some(locked) = moved.locked.into_iter().flatten().next() {
                    key.get_or_insert(locked);
                    held.push((entry, before + moved.rows));
                    continue;
                }
                found.changed += entry.rows.saturating_sub(before + moved.rows);
                failpoint::hit("recover.after_settle", 1);
                ledger::mark_settled(dest, &self.fence.pair, &entry.run, &[entry.pos])?;
            }
            let Some(key) = key else { return Ok(()) };
            if began.elapsed() > HELD_MAX {
                return Err(locked(table, &key, (from, to)));
            }
            open = held;
            piece = (piece / 10).max(1);
            thread::sleep(PAUSE);
        }
    }

    fn release(&self, source: &mut dyn Connection, found: &mut Recovered) -> Result<()> {
        let (table, owner) = (self.table, self.owner);
        let states = (RowState::UnderWay, RowState::ToSend);
        let mut after = Bound::Open;
        loop {
            let keys = table.keys(source, RowState::UnderWay, &Range::above(after), CHUNK_ROWS)?;
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
            let range = Range::closed(first, last);
            found.released += move_all(source, table, owner, &range, states, None)?;
            failpoint::hit("recover.after_release", 1);
            after = Bound::Excluding(last.clone());
        }
    }
}
