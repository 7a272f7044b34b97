//! Recovery: before every claim, and after a run that failed in good order.
//!
//! It sends nothing. It settles what the ledger says has landed, and puts every other row left in
//! state 1 back to 0. The claims that follow find whatever is then to be sent: one path for all.

use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::Result;
use ssync_common::failpoint;
use ssync_common::ledger::{self, Fence, Seals};

use crate::journal::{BatchRecord, Journal};
use crate::owner::Ownership;
use crate::settling::{Fate, Job, move_part};
use crate::source::{Bound, Range, RowState, SourceTable};

/// Rows put back in one statement.
const CHUNK_ROWS: u64 = 10_000;

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

/// Settles what landed, releases the rest. The fence must have been raised: nothing lands any
/// more under an older epoch. What is settled is remembered like every other settlement, so that
/// it is missed should the destination go back in time.
pub fn recover(
    source: &mut dyn Connection,
    table: &SourceTable,
    owner: &Ownership,
    dest: &mut dyn Connection,
    fence: &Fence,
    seals: &Seals,
    journal: &dyn Journal,
) -> Result<Recovered> {
    let mut found = Recovered::default();
    source.set_lock_wait(LockWait::Patient)?;
    // All are opened before any is settled: a home without the key does nothing at all.
    let unsettled = ledger::entries(dest, &fence.pair, ledger::Which::Unsettled)?;
    for entry in seals.open_all(&unsettled)? {
        let job = Job {
            number: 0,
            rows: entry.rows,
            lo: entry.lo.clone(),
            hi: entry.hi.clone(),
            fate: Fate::Landed(entry.pos.clone()),
        };
        let moved = move_part(source, table, owner, &job, RowState::Done)?;
        found.settled += moved;
        found.changed += entry.rows - moved;
        failpoint::hit("recover.after_settle", 1);
        let pos = entry.pos.clone();
        let part = BatchRecord { number: 0, pos, rows: entry.rows, lo: entry.lo, hi: entry.hi };
        journal.record_settled(&fence.pair.id, fence.epoch, &entry.run, &[part])?;
        ledger::mark_settled(dest, &fence.pair, &entry.run, &[entry.pos])?;
    }
    let mut after = Bound::Open;
    loop {
        let keys = table.keys(source, RowState::UnderWay, &Range::above(after), CHUNK_ROWS)?;
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { break };
        let range = Range::closed(first, last);
        found.released += owner.guarded(source, |conn| {
            table.move_state(conn, &range, RowState::UnderWay, RowState::ToSend)
        })?;
        failpoint::hit("recover.after_release", 1);
        after = Bound::Excluding(last.clone());
    }
    Ok(found)
}
