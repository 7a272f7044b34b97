//! The reading threads: they read source rows, and fill slots of the batch ring with them. In
//! `status` mode they read what [`crate::claiming`] has claimed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ssync_common::batch::{BadValue, BatchBuilder, ReadBatch, encode, encoded_bytes_max, value_at};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::Pos;
use ssync_common::schema::Column;
use ssync_common::shm::ring::Ring;
use ssync_common::value::Key;

use crate::batch_size::BatchSize;
use crate::claiming::{Claim, Claimer};
use crate::events::Event;
use crate::idle::Borrowed;
use crate::pace::Pace;
use crate::snapshot::InSnapshot;
use crate::source::{Bound, SourceTable};
use crate::stretches::Stretch;

/// What the reading threads count, for progress and for the balance.
#[derive(Debug, Default)]
pub struct ReadCounters {
    /// Rows claimed (`status`).
    pub claimed: AtomicU64,
    /// Stretches of which nothing was claimed, though nobody held a row.
    pub claimed_nothing: AtomicU64,
    /// Rows read.
    pub read: AtomicU64,
    /// Rows that were edited or deleted between claim and read.
    pub withdrawn: AtomicU64,
    /// Bytes put into slots.
    pub bytes: AtomicU64,
    /// Set when one of them has left the snapshot before its end.
    pub left_snapshot: AtomicBool,
    /// Set while one of them waits for a free slot: the destination is the bottleneck.
    pub waits_for_slot: AtomicBool,
    /// Time waited for slots, all of them together, in microseconds.
    pub slot_micros: AtomicU64,
    /// Time from begin to end, all of them together, in microseconds.
    pub reading_micros: AtomicU64,
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

/// Everything a reading thread works with.
pub struct Reader {
    /// Its own connection to the source.
    pub conn: Borrowed,
    /// What is needed to leave the snapshot that the connection is in; `None` where it is in none.
    pub snapshot: Option<InSnapshot>,
    /// The table.
    pub table: SourceTable,
    /// Columns to read, key columns included.
    pub columns: Vec<Column>,
    /// Place of the order columns in a batch.
    pub order: Vec<(usize, ssync_common::schema::Kind)>,
    /// Rows in a batch.
    pub size: Arc<BatchSize>,
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
    /// How fast it may go.
    pub pace: Arc<Pace>,
    /// Counters.
    pub counters: Arc<ReadCounters>,
    /// Number of the last batch of all readers.
    pub number: Arc<AtomicU64>,
}

/// What the reading threads share out among themselves.
pub enum Reading {
    /// The rows in state 0, as they are claimed, and the positions of their batches.
    Claims(Box<Claimer>, Pos),
    /// Stretches of rows that carry no state.
    Stretches(Vec<Stretch>),
}

/// Reads everything, each reader in a thread of its own. When one fails, the others end.
pub fn read_all(readers: Vec<Reader>, reading: Reading) -> Result<()> {
    match reading {
        Reading::Claims(claimer, pos) => {
            let pos = Mutex::new(pos);
            thread::scope(|scope| {
                // Without room: just one stretch is claimed ahead.
                let (claims_in, claims) = bounded(0);
                let claiming = thread::Builder::new()
                    .name("claimer".into())
                    .spawn_scoped(scope, move || claimer.run(&claims_in))?;
                let read = side_by_side(readers, |reader| reader.read_claims(claims.clone(), &pos));
                // A claimer finds nobody left to take its claims.
                drop(claims);
                joined(claiming).and(read)
            })
        }
        Reading::Stretches(stretches) => {
            let (stretches_in, shared) = unbounded();
            for stretch in stretches {
                let _ = stretches_in.send(stretch);
            }
            drop(stretches_in);
            side_by_side(readers, |reader| reader.read_stretches(&shared))
        }
    }
}

/// The work of all readers; of several failures, the first that is not only the end of the run.
fn side_by_side(
    readers: Vec<Reader>,
    work: impl Fn(&mut Reader) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let mut threads = Vec::new();
        for (n, mut reader) in readers.into_iter().enumerate() {
            let stop = reader.stop.clone();
            let started =
                thread::Builder::new().name(format!("reader {n}")).spawn_scoped(scope, move || {
                    let began = Instant::now();
                    let read = work(&mut reader);
                    reader
                        .counters
                        .reading_micros
                        .fetch_add(micros_since(began), Ordering::Relaxed);
                    if read.is_err() {
                        reader.stop.store(true, Ordering::Relaxed);
                    } else if let Some(snapshot) = reader.snapshot {
                        snapshot.give_back(reader.conn);
                    }
                    read
                });
            if started.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            threads.push(started?);
        }
        let ends: Vec<_> = threads.into_iter().map(joined).collect();
        let (ending, failed): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .filter_map(Result::err)
            .partition(|e: &Error| e.kind == Kind::Interrupted);
        failed.into_iter().chain(ending).next().map_or(Ok(()), Err)
    })
}

fn joined(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    let panicked = |_| Error::new(Kind::Internal, "a thread that reads the source panicked");
    thread.join().map_err(panicked)?
}

impl Reader {
    /// Reads until nothing more is claimed.
    fn read_claims(&mut self, claims: Receiver<Claim>, pos: &Mutex<Pos>) -> Result<()> {
        for Claim { range, rows: claimed } in claims {
            if self.stopped() {
                break;
            }
            let (sql, params) = self.table.select_claimed(&self.columns, &range);
            let read = self.read(&sql, &params, pos)?.rows;
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

    /// Reads stretches, one after the other, until none is left; each in the rows' order.
    fn read_stretches(&mut self, stretches: &Receiver<Stretch>) -> Result<()> {
        while let Ok(Stretch { mut range, pos }) = stretches.try_recv() {
            let pos = Mutex::new(pos);
            while !self.stopped() {
                let rows = self.size.rows() as u64;
                let (sql, params) = self.table.select_rows(&self.columns, &range, rows);
                let chunk = self.read(&sql, &params, &pos)?;
                if chunk.is_cut_off {
                    self.leave_snapshot()?;
                    if let Some(last) = chunk.last {
                        range.lower = Bound::Excluding(last);
                    }
                    continue;
                }
                match chunk.last {
                    Some(last) if !self.order.is_empty() && chunk.rows >= rows => {
                        range.lower = Bound::Excluding(last);
                    }
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// From here on what is read is of the moment.
    fn leave_snapshot(&mut self) -> Result<()> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        self.counters.left_snapshot.store(true, Ordering::Relaxed);
        snapshot.leave(&mut self.conn)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn read(
        &mut self,
        sql: &str,
        params: &[ssync_common::value::Value],
        pos: &Mutex<Pos>,
    ) -> Result<Chunk> {
        let keyed = !self.order.is_empty();
        let mut out = Output {
            // Without a key nobody could go on where reading was cut off.
            patience: self.snapshot.as_ref().filter(|_| keyed).map(InSnapshot::idle_max),
            is_cut_off: false,
            ring: &self.ring,
            free: &self.free,
            events: &self.events,
            counters: &self.counters,
            order: &self.order,
            table: &self.table.name,
            stop: &self.stop,
            pace: &self.pace,
            number: &self.number,
            pos,
            last: None,
        };
        let mut emit = |batch| out.put(batch);
        let rows = match self.conn.read(sql, params, &self.columns, &mut self.builder, &mut emit) {
            Err(_) if out.is_cut_off => 0,
            rows => rows?,
        };
        Ok(Chunk { rows, last: out.last, is_cut_off: out.is_cut_off })
    }
}

struct Chunk {
    rows: u64,
    last: Option<Key>,
    /// Reading was left in its middle, behind `last`, after too long a pause.
    is_cut_off: bool,
}

/// Puts batches into slots.
struct Output<'a> {
    ring: &'a Ring,
    free: &'a Receiver<usize>,
    events: &'a Sender<Event>,
    counters: &'a ReadCounters,
    order: &'a [(usize, ssync_common::schema::Kind)],
    table: &'a str,
    stop: &'a AtomicBool,
    pace: &'a Pace,
    number: &'a AtomicU64,
    pos: &'a Mutex<Pos>,
    last: Option<Key>,
    /// How long a pause may hold up what is read; a longer one cuts it off.
    patience: Option<Duration>,
    is_cut_off: bool,
}

impl Output<'_> {
    fn put(&mut self, batch: ReadBatch) -> Result<()> {
        let rows = batch.rows.num_rows();
        if rows == 0 {
            return Ok(());
        }
        self.keys_readable(&batch)?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(stopping());
        }
        if !self.pace.wait(self.stop, self.patience)? {
            self.is_cut_off = true;
            return Err(stopping());
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        failpoint::hit("reader.after_read", number);
        let slot = self.free_slot()?;
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
        failpoint::hit("reader.after_fill", number);
        self.counters.read.fetch_add(rows as u64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last =
            Some(self.order.iter().map(|&(c, k)| value_at(&batch.rows, c, k, rows - 1)).collect());
        let filled = Filled {
            slot,
            generation,
            side,
            pos: self.pos.lock().unwrap_or_else(PoisonError::into_inner).take()?,
            number,
            rows,
            bytes,
            bad: batch.bad,
        };
        self.events.send(Event::Filled(filled)).map_err(|_| stopping())?;
        self.pace.spend(rows as u64, bytes as u64);
        Ok(())
    }

    fn free_slot(&self) -> Result<usize> {
        if let Ok(slot) = self.free.try_recv() {
            return Ok(slot);
        }
        let began = Instant::now();
        self.counters.waits_for_slot.store(true, Ordering::Relaxed);
        let slot = self.free.recv().map_err(|_| stopping());
        self.counters.waits_for_slot.store(false, Ordering::Relaxed);
        self.counters.slot_micros.fetch_add(micros_since(began), Ordering::Relaxed);
        slot
    }
}

fn micros_since(began: Instant) -> u64 {
    began.elapsed().as_micros() as u64
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
