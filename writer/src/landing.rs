//! Landing one batch: transform, then one destination transaction of fence check, ledger row and
//! rows; splitting it when rows are at fault.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use serde::Serialize;
use ssync_common::batch::{BadValue, value_at};
use ssync_common::connector::{Connection, LoadPlan, Loaded};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Entry, Id, Pair, Seals, Seat};
use ssync_common::schema;
use ssync_common::shm::ring::VERDICT_BYTES;
use ssync_common::value::Key;

use crate::protocol::{Outcome, Part, Verdict, Work};

/// How often a transaction that lost a deadlock, or waited too long for a lock, is tried again.
const CONTENTION_RETRIES_MAX: u32 = 10;
/// How long it is tried again: about as long as one patient wait.
const CONTENTION_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest text of an error that a verdict carries.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Longest error that a verdict carries, as it is written there.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// What a part takes in a verdict beside its keys and its error.
const PART_BYTES: usize = 512;
/// Room for parts: what would not fit is left for another round. The error that ends a batch, and
/// the verdict's numbers, have their room beside it.
const PARTS_BYTES_MAX: usize = VERDICT_BYTES - ERROR_BYTES_MAX - 1024;

/// What stays the same from batch to batch.
pub struct Target<'a> {
    /// Where and how rows land.
    pub plan: &'a LoadPlan,
    /// Key columns in the batch.
    pub key: &'a [(usize, schema::Kind)],
    /// The record of the pair of tables.
    pub pair: &'a Pair,
    /// The run.
    pub run: Id,
    /// How keys are kept in the ledger.
    pub seals: &'a Seals,
    /// The writer's number, from 0.
    pub seat: usize,
}

impl Target<'_> {
    /// The key of a row; taken from the batch as it was read.
    fn key_of(&self, read: &RecordBatch, row: usize) -> Key {
        self.key.iter().map(|&(column, kind)| value_at(read, column, kind, row)).collect()
    }
}

/// A batch on its way: as read (keys come from it) and as it lands.
pub struct Batch<'a> {
    /// As the source gave it.
    pub read: &'a RecordBatch,
    /// After encryption and decryption.
    pub landing: &'a RecordBatch,
}

/// Lands what it can of a batch. Never returns early: whatever happens is in the verdict.
pub fn land(
    conn: &mut dyn Connection,
    target: &Target<'_>,
    work: &Work,
    batch: &Batch<'_>,
    bad: &[BadValue],
) -> Verdict {
    let started = Instant::now();
    let mut lander = Lander {
        conn,
        target,
        work,
        batch,
        parts: Vec::new(),
        bytes: 0,
        unsent: 0,
        bad_rows: 0,
        contentions: 0,
    };
    let error = lander.run(bad).err();
    let (mut parts, unsent, contentions) = (lander.parts, lander.unsent, lander.contentions);
    parts.sort_by_key(|p| p.from);
    Verdict {
        parts,
        unsent,
        error: error.map(shortened),
        contentions,
        transform_micros: 0,
        landing_micros: started.elapsed().as_micros() as u64,
    }
}

struct Lander<'a, 'b> {
    conn: &'a mut dyn Connection,
    target: &'a Target<'b>,
    work: &'a Work,
    batch: &'a Batch<'b>,
    parts: Vec<Part>,
    /// What `parts` take in the verdict.
    bytes: usize,
    unsent: usize,
    bad_rows: u64,
    contentions: u32,
}

impl Lander<'_, '_> {
    fn run(&mut self, bad: &[BadValue]) -> Result<()> {
        let mut known: BTreeMap<usize, Error> = BTreeMap::new();
        for b in bad {
            known.entry(b.row).or_insert_with(|| {
                Error::new(Kind::Data, format!("column {}: {}", b.column, b.message))
                    .column(b.column.clone())
            });
        }
        let mut todo: VecDeque<(usize, usize)> =
            open_segments(self.batch.read.num_rows(), &self.work.done, known.keys().copied());
        let result = self.go_through(&mut todo, &mut known);
        self.unsent += todo.iter().map(|(_, rows)| rows).sum::<usize>();
        result
    }

    /// Takes from `todo` what it deals with: everything, unless something ends the batch, too many
    /// rows are bad, or the verdict is full.
    fn go_through(
        &mut self,
        todo: &mut VecDeque<(usize, usize)>,
        known: &mut BTreeMap<usize, Error>,
    ) -> Result<()> {
        while let Some(&(from, rows)) = todo.front() {
            // Before anything lands: what has landed must be in the verdict.
            if self.bad_rows > self.work.errors_left || !self.has_room(from, rows)? {
                return Ok(());
            }
            let landed = match known.remove(&from) {
                Some(error) => Err(error),
                None => self.land_segment(from, rows),
            };
            match landed {
                Ok(loaded) => self.part(from, rows, Outcome::Landed(loaded.skipped)),
                Err(e) if e.kind.is_row_fault() && rows > 1 => {
                    let half = rows / 2;
                    todo.pop_front();
                    todo.push_front((from + half, rows - half));
                    todo.push_front((from, half));
                    continue;
                }
                Err(e) if e.kind == Kind::Parent => {
                    self.part(from, rows, Outcome::Orphan(shortened(e)));
                }
                Err(e) if e.kind == Kind::Data => {
                    self.bad_rows += 1;
                    self.part(from, rows, Outcome::Bad(shortened(e)));
                }
                Err(e) => return Err(e),
            }
            todo.pop_front();
        }
        Ok(())
    }

    /// Whether the verdict takes these rows as one more part, whatever becomes of them.
    ///
    /// # Errors
    /// When not even an empty verdict does: no round would ever get further.
    fn has_room(&self, from: usize, rows: usize) -> Result<bool> {
        let bytes = written_bytes(&self.keys(from, rows));
        let needed = bytes + ERROR_BYTES_MAX + PART_BYTES;
        if self.parts.is_empty() && needed > PARTS_BYTES_MAX {
            let table = &self.target.plan.table;
            return Err(Error::new(
                Kind::Full,
                format!("keys of rows for {table} are too long: {bytes} bytes for two"),
            )
            .hint("Choose another key: short columns that are unique and NOT NULL."));
        }
        Ok(self.bytes + needed <= PARTS_BYTES_MAX)
    }

    /// Keys of the first and the last of these rows.
    fn keys(&self, from: usize, rows: usize) -> (Key, Key) {
        let key = |row| self.target.key_of(self.batch.read, row);
        (key(from), key(from + rows - 1))
    }

    fn part(&mut self, from: usize, rows: usize, outcome: Outcome) {
        let (lo, hi) = self.keys(from, rows);
        let part = Part { from, rows, lo, hi, outcome };
        // And the comma.
        self.bytes += written_bytes(&part) + 1;
        self.parts.push(part);
    }

    fn land_segment(&mut self, from: usize, rows: usize) -> Result<Loaded> {
        let mut tries = 0;
        let began = Instant::now();
        loop {
            let may_retry =
                |tries| tries < CONTENTION_RETRIES_MAX && began.elapsed() < CONTENTION_TIME_MAX;
            match self.try_segment(from, rows) {
                Err(e) if e.kind == Kind::Contention && !may_retry(tries) => {
                    let (table, secs) = (&self.target.plan.table, began.elapsed().as_secs());
                    return Err(e.context(format_args!(
                        "other sessions held locks that {rows} rows of {table} need, for {secs} s"
                    )));
                }
                Err(e) if e.kind == Kind::Contention => {
                    tries += 1;
                    self.contentions += 1;
                    log::info!("batch {} tried again ({tries}): {e}", self.work.number);
                    std::thread::sleep(Duration::from_millis(20 << tries.min(6)));
                }
                other => return other,
            }
        }
    }

    fn try_segment(&mut self, from: usize, rows: usize) -> Result<Loaded> {
        let number = self.work.number;
        failpoint::hit("writer.before_fence", number);
        self.conn.begin()?;
        match self.fill_transaction(from, rows) {
            Ok(loaded) => {
                failpoint::hit("writer.before_commit", number);
                self.conn.commit()?;
                failpoint::hit("writer.after_commit", number);
                Ok(loaded)
            }
            Err(e) => {
                if e.kind != Kind::Lost {
                    self.conn.rollback()?;
                }
                Err(e)
            }
        }
    }

    fn fill_transaction(&mut self, from: usize, rows: usize) -> Result<Loaded> {
        let Target { plan, pair, run, seals, .. } = self.target;
        ledger::check_epoch(self.conn, pair, self.work.epoch, Seat::Writer(self.target.seat))?;
        let entry = Entry {
            run: *run,
            pos: ledger::part_pos(&self.work.pos, from),
            rows: rows as u64,
            lo: self.target.key_of(self.batch.read, from),
            hi: self.target.key_of(self.batch.read, from + rows - 1),
            settled: false,
        };
        ledger::insert_entry(self.conn, pair, &seals.seal(&entry)?)?;
        failpoint::hit("writer.after_ledger", self.work.number);
        let loaded = if failpoint::armed("writer.mid_load") && rows > 1 {
            let half = from + rows / 2;
            let first = self.conn.load(plan, self.batch.landing, from..half)?;
            failpoint::hit("writer.mid_load", self.work.number);
            let second = self.conn.load(plan, self.batch.landing, half..from + rows)?;
            Loaded { rows: first.rows + second.rows, skipped: first.skipped + second.skipped }
        } else {
            self.conn.load(plan, self.batch.landing, from..from + rows)?
        };
        if loaded.rows + loaded.skipped != rows as u64 {
            return Err(Error::new(
                Kind::Balance,
                format!(
                    "{rows} rows were sent to {}, the server took {} and skipped {}",
                    plan.table, loaded.rows, loaded.skipped
                ),
            ));
        }
        Ok(loaded)
    }
}

/// The rows that are still to be dealt with, in row order, as (first row, rows): without the parts
/// that are done, and every known bad row alone.
fn open_segments(
    rows: usize,
    done: &[(usize, usize)],
    bad: impl Iterator<Item = usize>,
) -> VecDeque<(usize, usize)> {
    let mut is_done = vec![false; rows];
    for &(from, n) in done {
        is_done.iter_mut().skip(from).take(n).for_each(|d| *d = true);
    }
    let mut alone = vec![false; rows];
    for row in bad.filter(|row| *row < rows) {
        alone[row] = true;
    }
    let mut segments: VecDeque<(usize, usize)> = VecDeque::new();
    for row in 0..rows {
        if is_done[row] {
            continue;
        }
        match segments.back_mut() {
            Some((from, n)) if *from + *n == row && !alone[row] && !alone[*from] => *n += 1,
            _ => segments.push_back((row, 1)),
        }
    }
    segments
}

/// Bytes that a value takes in a verdict.
fn written_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX / 4, |bytes| bytes.len())
}

/// The error as a verdict carries it: no longer than `ERROR_BYTES_MAX`.
pub fn shortened(mut e: Error) -> Error {
    let cut = |t: &mut String, chars_max: usize| {
        if t.chars().count() > chars_max {
            *t = t.chars().take(chars_max).chain(['…']).collect();
        }
    };
    cut(&mut e.message, MESSAGE_CHARS_MAX);
    e.details.iter_mut().chain(&mut e.hint).for_each(|t| cut(t, MESSAGE_CHARS_MAX));
    // Its place is known by the message; cut, it would name another column.
    e.column.take_if(|name| name.chars().count() > MESSAGE_CHARS_MAX / 4);
    // Control characters take six bytes each.
    while written_bytes(&e) > ERROR_BYTES_MAX {
        if e.details.pop().is_none() && e.hint.take().is_none() {
            cut(&mut e.message, MESSAGE_CHARS_MAX / 4);
            break;
        }
    }
    e
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_is_shortened_to_its_room_whatever_is_in_it() {
        let long = "\u{1}".repeat(5000);
        let mut e = Error::new(Kind::Data, long.clone()).hint(long.clone()).column(long.clone());
        for _ in 0..20 {
            e = e.detail(long.clone());
        }
        let e = shortened(e);
        assert!(written_bytes(&e) <= ERROR_BYTES_MAX);
        assert!(e.message.starts_with('\u{1}'));
        let short = Error::new(Kind::Data, "column v: too long").detail("d").hint("h").column("v");
        assert_eq!(shortened(short.clone()), short);
    }

    #[test]
    fn segments_leave_out_what_is_done_and_isolate_bad_rows() {
        let of = |done: &[(usize, usize)], bad: &[usize]| -> Vec<_> {
            open_segments(10, done, bad.iter().copied()).into()
        };
        assert_eq!(of(&[], &[]), [(0, 10)]);
        assert_eq!(of(&[(2, 3)], &[]), [(0, 2), (5, 5)]);
        assert_eq!(of(&[], &[0, 4, 5, 9]), [(0, 1), (1, 3), (4, 1), (5, 1), (6, 3), (9, 1)]);
        assert_eq!(of(&[(0, 10)], &[3]), []);
    }

    proptest! {
        #[test]
        fn segments_cover_every_open_row_once(
            rows in 0usize..60,
            done in proptest::collection::vec((0usize..60, 0usize..10), 0..5),
            bad in proptest::collection::vec(0usize..70, 0..5),
        ) {
            let mut seen = vec![0; rows];
            for (from, n) in open_segments(rows, &done, bad.iter().copied()) {
                seen[from..from + n].iter_mut().for_each(|times| *times += 1);
                let alone = (from..from + n).any(|row| bad.contains(&row));
                prop_assert!(n == 1 || !alone);
            }
            for (row, times) in seen.into_iter().enumerate() {
                let is_done = done.iter().any(|&(f, n)| (f..f + n).contains(&row));
                prop_assert_eq!(times, usize::from(!is_done));
            }
        }
    }
}
