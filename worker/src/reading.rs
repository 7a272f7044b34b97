//! The reading thread: reads source rows, and fills slots of the batch ring with them. In `status`
//! mode it reads what [`crate::claiming`] has claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use ssync_common::batch::{BadValue, BatchBuilder, ReadBatch, encode, encoded_bytes_max, value_at};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::Pos;
use ssync_common::schema::Column;
use ssync_common::shm::ring::Ring;
use ssync_common::value::Key;

use crate::claiming::{Claim, Claimer};
use crate::events::Event;
use crate::idle::Borrowed;
use crate::source::{Bound, Range, SourceTable};

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
    pub conn: Borrowed,
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
    /// Reads the rows in state 0 as they are claimed, in key order. `pos` gives the batches their
    /// positions. While a stretch is read, the next one is claimed on another connection.
    pub fn read_status(&mut self, claimer: Claimer, pos: Pos) -> Result<()> {
        // Without room: just one stretch is claimed ahead.
        let (claims_in, claims) = bounded(0);
        thread::scope(|scope| {
            let claiming = thread::Builder::new()
                .name("claimer".into())
                .spawn_scoped(scope, move || claimer.run(&claims_in))?;
            let read = self.read_claims(claims, pos);
            let claimed = claiming
                .join()
                .map_err(|_| Error::new(Kind::Internal, "the thread that claims rows panicked"))?;
            claimed.and(read)
        })
    }

    /// Reads until nothing more is claimed. However it ends, the claiming thread then finds nobody
    /// to take its claims.
    fn read_claims(&mut self, claims: Receiver<Claim>, mut pos: Pos) -> Result<()> {
        for Claim { range, rows: claimed } in claims {
            if self.stopped() {
                break;
            }
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
        Ok(())
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
