//! The reading thread: claims and reads source rows, and fills slots of the batch ring with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use ssync_common::batch::{BadValue, BatchBuilder, ReadBatch, encode, encoded_bytes_max, value_at};
use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::Pos;
use ssync_common::schema::Column;
use ssync_common::shm::ring::Ring;
use ssync_common::value::Key;

use crate::events::Event;
use crate::owner::Ownership;
use crate::source::{Bound, Range, RowState, SourceTable};

/// What the reading thread counts, for progress and for the balance.
#[derive(Debug, Default)]
pub struct ReadCounters {
    /// Rows claimed (`status`).
    pub claimed: AtomicU64,
    /// Rows read.
    pub read: AtomicU64,
    /// Rows that were edited or deleted between claim and read.
    pub withdrawn: AtomicU64,
    /// Rows that somebody held locked; left for later.
    pub left_locked: AtomicU64,
    /// Bytes put into slots.
    pub bytes: AtomicU64,
    /// Set while the thread waits for a free slot: the destination is the bottleneck.
    pub waits_for_slot: AtomicBool,
}

/// A batch in its slot, ready for a writer.
pub struct Filled {
    /// The slot; a batch in a side segment still holds one, so that the bound on memory holds.
    pub slot: usize,
    /// Generation of the slot.
    pub generation: u64,
    /// Where a batch wider than a slot is: a ring of one slot, and its generation.
    pub side: Option<(Ring, u64)>,
    /// Position in the ledger.
    pub pos: String,
    /// Number, from 1, for people.
    pub number: u64,
    /// Rows.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
    /// Values that could not be read.
    pub bad: Vec<BadValue>,
}

/// A stretch of rows to read without claims, and the positions its batches get.
pub struct Stretch {
    /// The rows.
    pub range: Range,
    /// The positions.
    pub pos: Pos,
}

/// Everything the thread works with.
pub struct Reader {
    /// Its own connection to the source.
    pub conn: Box<dyn Connection>,
    /// The table.
    pub table: SourceTable,
    /// Columns to read, key columns included.
    pub columns: Vec<Column>,
    /// Place of the order columns in a batch.
    pub order: Vec<(usize, ssync_common::schema::Kind)>,
    /// Rows in a batch.
    pub batch_rows: u64,
    /// Collects rows; empty between two reads, and of a good size already.
    pub builder: BatchBuilder,
    /// The ring.
    pub ring: Ring,
    /// Slots that may be filled.
    pub free: Receiver<usize>,
    /// Where filled slots are announced.
    pub events: Sender<Event>,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
    /// Counters.
    pub counters: Arc<ReadCounters>,
    /// Number of the last batch.
    pub number: u64,
}

impl Reader {
    /// Claims and reads the rows in state 0, one chunk at a time, in key order. `pos` gives the
    /// batches their positions.
    pub fn read_status(&mut self, owner: &Ownership, mut pos: Pos) -> Result<()> {
        let mut after = Bound::Open;
        while !self.stopped() {
            let conn = self.conn.as_mut();
            let keys = self.table.next_keys(conn, RowState::ToSend, &after, self.batch_rows)?;
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else { break };
            failpoint::hit("reader.before_claim", self.number + 1);
            let claimed = self.claim(owner, &keys)?;
            failpoint::hit("reader.after_claim", self.number + 1);
            after = Bound::Excluding(last.clone());
            if claimed > 0 {
                let range = Range::closed(first, last);
                let (sql, params) = self.table.select_claimed(&self.columns, &range);
                let read = self.read(&sql, &params, &mut pos)?.rows;
                if read > claimed {
                    return Err(Error::new(
                        Kind::Balance,
                        format!("{claimed} rows of {} were claimed, {read} read", self.table.name),
                    )
                    .hint("Somebody besides ssync sets sync_status to 1; only 0 may be set."));
                }
                self.counters.withdrawn.fetch_add(claimed - read, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Claims the rows of `keys` (a contiguous chunk in key order); the rows claimed. A row that
    /// somebody holds locked is left out, by halving the chunk until it stands alone.
    fn claim(&mut self, owner: &Ownership, keys: &[Key]) -> Result<u64> {
        let locks_rows = self.table.dialect.lock("x", true) != "x";
        let mut todo = vec![keys];
        let mut total = 0;
        self.conn.set_lock_wait(if locks_rows { LockWait::Short } else { LockWait::Patient })?;
        while let Some(keys) = todo.pop() {
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else { continue };
            let range = Range::closed(first, last);
            let table = &self.table;
            let moved = owner.guarded(self.conn.as_mut(), |conn| {
                table.move_state(conn, &range, RowState::ToSend, RowState::UnderWay)
            });
            match moved {
                Ok(rows) => {
                    total += rows;
                    self.counters.claimed.fetch_add(rows, Ordering::Relaxed);
                }
                Err(e) if e.kind == Kind::Contention && locks_rows => {
                    if keys.len() == 1 {
                        self.counters.left_locked.fetch_add(1, Ordering::Relaxed);
                    } else {
                        let (low, high) = keys.split_at(keys.len() / 2);
                        todo.extend([high, low]);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(total)
    }

    /// Reads stretches of rows that carry no state, in order.
    pub fn read_stretches(&mut self, stretches: Vec<Stretch>) -> Result<()> {
        for Stretch { mut range, mut pos } in stretches {
            while !self.stopped() {
                let (sql, params) = self.table.select_rows(&self.columns, &range, self.batch_rows);
                let chunk = self.read(&sql, &params, &mut pos)?;
                match chunk.last {
                    Some(last) if !self.order.is_empty() && chunk.rows >= self.batch_rows => {
                        range.lower = Bound::Excluding(last);
                    }
                    _ => break,
                }
            }
        }
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn read(
        &mut self,
        sql: &str,
        params: &[ssync_common::value::Value],
        pos: &mut Pos,
    ) -> Result<Chunk> {
        let mut out = Output {
            ring: &self.ring,
            free: &self.free,
            events: &self.events,
            counters: &self.counters,
            order: &self.order,
            table: &self.table.name,
            number: &mut self.number,
            pos,
            last: None,
        };
        let mut emit = |batch| out.put(batch);
        let rows = self.conn.read(sql, params, &self.columns, &mut self.builder, &mut emit)?;
        Ok(Chunk { rows, last: out.last })
    }
}

struct Chunk {
    rows: u64,
    last: Option<Key>,
}

/// Puts batches into slots.
struct Output<'a> {
    ring: &'a Ring,
    free: &'a Receiver<usize>,
    events: &'a Sender<Event>,
    counters: &'a ReadCounters,
    order: &'a [(usize, ssync_common::schema::Kind)],
    table: &'a str,
    number: &'a mut u64,
    pos: &'a mut Pos,
    last: Option<Key>,
}

impl Output<'_> {
    fn put(&mut self, batch: ReadBatch) -> Result<()> {
        let rows = batch.rows.num_rows();
        if rows == 0 {
            return Ok(());
        }
        self.keys_readable(&batch)?;
        failpoint::hit("reader.after_read", *self.number + 1);
        self.counters.waits_for_slot.store(true, Ordering::Relaxed);
        let slot = self.free.recv().map_err(|_| stopping())?;
        self.counters.waits_for_slot.store(false, Ordering::Relaxed);
        let mut bytes = 0;
        let filled = self.ring.fill(slot, |buffer| {
            bytes = encode(&batch.rows, buffer)?;
            Ok(bytes)
        });
        let (generation, side) = match filled {
            Ok(generation) => (generation, None),
            Err(e) if e.kind == Kind::Full => {
                let side = self.ring.side(encoded_bytes_max(&batch.rows))?;
                let generation = side.fill(0, |buffer| {
                    bytes = encode(&batch.rows, buffer)?;
                    Ok(bytes)
                })?;
                (self.ring.fill(slot, |_| Ok(0))?, Some((side, generation)))
            }
            Err(e) => return Err(e),
        };
        *self.number += 1;
        failpoint::hit("reader.after_fill", *self.number);
        self.counters.read.fetch_add(rows as u64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last =
            Some(self.order.iter().map(|&(c, k)| value_at(&batch.rows, c, k, rows - 1)).collect());
        let filled = Filled {
            slot,
            generation,
            side,
            pos: self.pos.take()?,
            number: *self.number,
            rows,
            bytes,
            bad: batch.bad,
        };
        self.events.send(Event::Filled(filled)).map_err(|_| stopping())
    }
}

impl Output<'_> {
    /// A row whose key cannot be read can be named to nobody: not to the ledger, not to the
    /// source. Left out, it would be missed; walked past, so would those behind it.
    fn keys_readable(&self, batch: &ReadBatch) -> Result<()> {
        let schema = batch.rows.schema();
        let is_key = |bad: &&BadValue| {
            self.order.iter().any(|(place, _)| *schema.field(*place).name() == bad.column)
        };
        let Some(bad) = batch.bad.iter().find(is_key) else { return Ok(()) };
        let column = &bad.column;
        Err(Error::new(
            Kind::Refused,
            format!("{}: a value of key column {column} cannot be read", self.table),
        )
        .detail(bad.message.clone())
        .column(column)
        .hint("Correct the value at the source, or exclude the row by where."))
    }
}

/// The run is ending: not a failure of its own.
fn stopping() -> Error {
    Error::new(Kind::Interrupted, "the run is ending")
}
