//! Streaming one pass over a table: a reading thread fills slots, writers land them, a settling
//! thread tells the source. This module is the coordinator in the middle; it owns no rows, only
//! the knowledge of what is where.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, tick};
use ssync_common::connector::{Connection, LinkParams};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Fence, Id, Raise, Seals};
use ssync_common::process::signals::SignalEvent;
use ssync_common::process::spawn::Exit;
use ssync_common::shm::ring::Ring;
use ssync_writer::protocol::{FromWriter, Outcome, Part, Verdict, Work};

use crate::batch_size::{BatchSize, Side};
use crate::concurrency::{Concurrency, Landed};
use crate::control::{Control, interrupted};
use crate::counts::Counts;
use crate::events::Event;
use crate::idle::Connections;
use crate::journal::BadRow;
use crate::pace::Pace;
use crate::pool::Pool;
use crate::reading::{Filled, ReadCounters};
use crate::settling::{Fate, Job, Settlement};

/// Rows whose parents are missing that people are told by name.
const ORPHANS_MAX: usize = 3;
/// How often progress is published.
const TICK: Duration = Duration::from_millis(200);
/// Rounds in which nothing of a batch was dealt with that it may take (each after a writer's death
/// or a fence that moved).
const ROUNDS_MAX: u32 = 50;

/// A batch that is not yet dealt with.
struct Pending {
    filled: Filled,
    work: Work,
    rounds: u32,
}

/// What the coordinator works with.
pub struct Stream<'a> {
    /// Task number.
    pub task: u32,
    /// The sub-task's name, for messages.
    pub table: &'a str,
    /// Destination link, to open a connection for resolving unknown outcomes.
    pub dest_link: &'a LinkParams,
    /// Connections that are idle.
    pub connections: &'a Connections,
    /// The pair's name for people.
    pub tables: &'a str,
    /// The fence; its epoch moves when a writer's fate has to be found out.
    pub fence: &'a mut Fence,
    /// Its epoch, for the settling thread.
    pub epoch: Arc<AtomicI64>,
    /// The run.
    pub run: Id,
    /// How keys are kept in the ledger.
    pub seals: &'a Seals,
    /// The ring.
    pub ring: Ring,
    /// Slots that may be filled again.
    pub free: Option<Sender<usize>>,
    /// Events of the threads.
    pub events: Receiver<Event>,
    /// What the operator wants.
    pub control: &'a Control<'a>,
    /// The writers.
    pub pool: &'a mut Pool,
    /// How many of them work at a time.
    pub concurrency: &'a mut Concurrency,
    /// Rows in a batch.
    pub size: &'a BatchSize,
    /// How fast the run may go.
    pub pace: &'a Pace,
    /// Jobs for the settling thread; dropped at the end.
    pub jobs: Option<Sender<Job>>,
    /// Tells the reading thread to stop.
    pub stop: Arc<AtomicBool>,
    /// What the reading thread counts.
    pub read: Arc<ReadCounters>,
    /// Counts of the whole table run so far.
    pub counts: &'a mut Counts,
    /// Bad rows a table may have.
    pub error_limit: u64,
    /// Whether orphans are bad rows at once (they cannot be tried again later).
    pub orphans_are_bad: bool,
    /// Some of the rows whose parents are missing.
    pub orphans: &'a mut Vec<BadRow>,
    /// Publishes progress.
    pub publish: &'a mut dyn FnMut(&Counts, &ReadCounters, &Ring, bool),
    /// Takes bad rows.
    pub record_bad: &'a mut dyn FnMut(&[BadRow]) -> Result<u64>,
    /// How many there are by now, those of earlier attempts included.
    pub bad_rows: u64,
}

/// State that lives for one pass.
#[derive(Default)]
struct State {
    pending: BTreeMap<usize, Pending>,
    queue: VecDeque<usize>,
    settling: usize,
    reader_done: bool,
    failure: Option<Error>,
}

impl Stream<'_> {
    /// Coordinates until every row that was read is dealt with, or the run has failed and nothing
    /// is in flight any more.
    pub fn run(mut self) -> Result<()> {
        let mut s = State::default();
        let ticks = tick(TICK);
        let mut counted = Instant::now();
        let events = self.events.clone();
        loop {
            self.feed_writers(&mut s);
            if self.finished(&s) {
                break;
            }
            let handled = select! {
                recv(events) -> event => match event {
                    Ok(event) => self.handle(&mut s, event),
                    Err(_) => Err(Error::new(Kind::Internal, "every thread of the run has ended")),
                },
                recv(self.control.signals) -> signal => match signal {
                    Ok(signal) => { self.signal(&mut s, signal); Ok(()) }
                    Err(_) => Ok(()),
                },
                recv(self.control.holds.held) -> hold => match hold {
                    Ok(hold) => Err(hold.error(self.task, self.table)),
                    Err(_) => Ok(()),
                },
                recv(ticks) -> _ => {
                    self.size.limit(self.pace.batch_rows(u64::MAX));
                    self.connections.close_old();
                    Ok(())
                }
            };
            if let Err(e) = handled {
                self.fail(&mut s, e);
            }
            self.counts.claimed = self.read.claimed.load(Ordering::Relaxed);
            let passed = counted.elapsed();
            counted += passed;
            self.counts.writing_micros += self.concurrency.now() as u64 * passed.as_micros() as u64;
            let busy = self.pool.busy() > 0;
            (self.publish)(self.counts, &self.read, &self.ring, busy);
        }
        match s.failure {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    fn finished(&self, s: &State) -> bool {
        s.reader_done && s.pending.is_empty() && s.settling == 0
            // After a failure the settling thread may be the one that failed.
            || s.failure.is_some() && s.reader_done && self.pool.busy() == 0
                && (s.settling == 0 || self.jobs.is_none())
    }

    fn fail(&mut self, s: &mut State, e: Error) {
        self.stop.store(true, Ordering::Relaxed);
        // A reading thread that waits for a slot wakes up.
        self.free = None;
        match &s.failure {
            None if e.kind.is_wanted() => log::info!("{}: {e}", self.table),
            None => log::error!("{}: {e:?}", self.table),
            // Who pauses a table and then interrupts the task wants the task to end.
            Some(first) if first.kind == Kind::Paused => log::warn!("{}: then: {e}", self.table),
            Some(first) => {
                if e.kind.is_wanted() {
                    return;
                }
                log::warn!("{}: also: {e}", self.table);
                if !first.kind.is_wanted() {
                    return;
                }
            }
        }
        s.failure = Some(e);
    }

    fn signal(&mut self, s: &mut State, signal: SignalEvent) {
        let again = s.failure.as_ref().is_some_and(|f| f.kind == Kind::Interrupted);
        log::info!("{}: {signal:?} received", self.table);
        if again {
            // Asked twice: what is in flight is rolled back.
            self.pool.kill();
        }
        self.fail(s, interrupted());
    }

    fn feed_writers(&mut self, s: &mut State) {
        if s.failure.is_some() {
            self.abandon_queue(s);
            return;
        }
        while let Some(slot) = s.queue.front() {
            let Some(pending) = s.pending.get_mut(slot) else {
                s.queue.pop_front();
                continue;
            };
            pending.work.epoch = self.fence.epoch;
            pending.work.errors_left = self.error_limit.saturating_sub(self.bad_rows);
            let side = pending.filled.side.as_ref().map(|(ring, _)| ring);
            match self.pool.dispatch(&pending.work, side, self.concurrency.now()) {
                Ok(true) => {
                    s.queue.pop_front();
                }
                Ok(false) => return,
                Err(e) => return self.fail(s, e),
            }
        }
    }

    /// After a failure: batches that no writer has are not sent any more.
    fn abandon_queue(&mut self, s: &mut State) {
        while let Some(slot) = s.queue.pop_front() {
            s.pending.remove(&slot);
        }
    }

    fn handle(&mut self, s: &mut State, event: Event) -> Result<()> {
        match event {
            Event::Filled(filled) => {
                let work = Work {
                    slot: filled.slot,
                    generation: filled.generation,
                    side: filled.side.as_ref().map(|(_, generation)| *generation),
                    pos: filled.pos.clone(),
                    epoch: self.fence.epoch,
                    number: filled.number,
                    bad: filled.bad.clone(),
                    done: Vec::new(),
                    errors_left: 0,
                };
                s.queue.push_back(filled.slot);
                s.pending.insert(filled.slot, Pending { filled, work, rounds: 0 });
                Ok(())
            }
            Event::ReaderDone(result) => {
                s.reader_done = true;
                match result {
                    Err(e) if e.kind == Kind::Interrupted && s.failure.is_some() => Ok(()),
                    other => other,
                }
            }
            Event::Writer { n, life, .. } if !self.pool.is_current(n, life) => Ok(()),
            Event::Writer { n, message, .. } => match message {
                Some(FromWriter::Ready) => {
                    self.pool.set_ready(n);
                    Ok(())
                }
                Some(FromWriter::Failed(e)) => Err(e),
                Some(FromWriter::Done { slot, generation }) => {
                    self.pool.set_idle(n);
                    self.verdict(s, slot, generation)
                }
                Some(FromWriter::Dying(e)) => {
                    self.pool.set_last_error(e);
                    Ok(())
                }
                Some(FromWriter::Resting) => {
                    Err(Error::new(Kind::Internal, format!("writer {n} rests amid a table")))
                }
                None => match self.pool.bury(n)? {
                    Some((slot, exit)) => self.bereaved(s, slot, &exit),
                    None => Ok(()),
                },
            },
            Event::Settled(result) => {
                match result {
                    Ok(settlement) => self.settled(s, settlement),
                    Err(e) => {
                        // The settling thread has ended; what it had not done is for recovery.
                        s.settling = 0;
                        self.jobs = None;
                        return Err(e);
                    }
                }
                Ok(())
            }
        }
    }

    fn settled(&mut self, s: &mut State, done: Settlement) {
        s.settling = s.settling.saturating_sub(done.jobs);
        self.counts.settled += done.settled;
        self.counts.changed += done.changed;
        self.counts.held += done.held;
        self.counts.released += done.released;
        self.counts.left += done.left;
    }

    fn verdict(&mut self, s: &mut State, slot: usize, generation: u64) -> Result<()> {
        let bytes = self.ring.verdict(slot, generation)?;
        let verdict: Verdict = serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(Kind::Internal, format!("verdict: {e}")))?;
        self.counts.transform_micros += verdict.transform_micros;
        self.counts.landing_micros += verdict.landing_micros;
        self.learn(s, slot, &verdict);
        let unsent = verdict.unsent > 0;
        self.account(s, slot, verdict.parts)?;
        let over = self.bad_rows > self.error_limit;
        match verdict.error {
            _ if over => {
                self.forget(s, slot);
                Err(self.too_many_errors())
            }
            None if unsent => self.again(s, slot),
            None => {
                self.forget(s, slot);
                Ok(())
            }
            // The fence moved while we were finding out another writer's fate.
            Some(e) if e.kind == Kind::Fenced => {
                let epoch = s.pending.get(&slot).map_or(0, |p| p.work.epoch);
                if epoch < self.fence.epoch {
                    self.again(s, slot)
                } else {
                    self.forget(s, slot);
                    Err(e.hint("Another run loads the same table. This one stops."))
                }
            }
            // The connection broke, perhaps in COMMIT: only the fence can tell.
            Some(e) if e.kind == Kind::Lost => {
                log::warn!("{}: {e}", self.table);
                self.resolve(s, slot)
            }
            Some(e) => {
                self.forget(s, slot);
                Err(e)
            }
        }
    }

    /// What a batch that landed whole tells of the destination.
    fn learn(&mut self, s: &State, slot: usize, verdict: &Verdict) {
        let (Some(pending), [part]) = (s.pending.get(&slot), verdict.parts.as_slice()) else {
            return;
        };
        if !matches!(part.outcome, Outcome::Landed(_)) {
            return;
        }
        let landing = Duration::from_micros(verdict.landing_micros);
        self.size.took(Side::Dest, part.rows, landing);
        let landed = Landed {
            bytes: pending.filled.bytes as u64,
            took: landing + Duration::from_micros(verdict.transform_micros),
            // This one's has been set idle by now.
            at_work: self.pool.busy() + 1,
            others_wait: !s.queue.is_empty(),
            contended: verdict.contentions > 0,
        };
        if self.concurrency.landed(Instant::now(), landed) {
            let (now, most) = (self.concurrency.now(), self.concurrency.most());
            log::info!("{}: {now} of {most} writers work", self.table);
        }
    }

    fn too_many_errors(&self) -> Error {
        Error::new(
            Kind::Data,
            format!(
                "{} bad row{}, {} allowed",
                self.bad_rows,
                if self.bad_rows == 1 { "" } else { "s" },
                self.error_limit
            ),
        )
        .detail("error_limit counts the bad rows of one attempt; those of earlier attempts are not among them")
        .hint(match self.orphans_are_bad {
            // Only rows that have a state can be sent one by one.
            true => {
                "ssync errors shows them. Correct them at the source and run the task again, or \
                 raise error_limit."
            }
            false => {
                "ssync errors shows them. Correct them and run ssync retry, or raise error_limit."
            }
        })
    }

    /// Books the parts of a verdict and hands them to the settling thread.
    fn account(&mut self, s: &mut State, slot: usize, parts: Vec<Part>) -> Result<()> {
        let Some(pending) = s.pending.get_mut(&slot) else {
            return Err(Error::new(
                Kind::Internal,
                format!("a verdict on slot {slot}, which is free"),
            ));
        };
        let (number, pos) = (pending.work.number, pending.work.pos.clone());
        let done_before = pending.work.done.len();
        let mut bad = Vec::new();
        let mut jobs = Vec::new();
        for part in parts {
            let rows = part.rows as u64;
            let fate = match part.outcome {
                Outcome::Landed(skipped) => {
                    self.counts.landed += rows;
                    self.counts.skipped += skipped;
                    Fate::Landed(ledger::part_pos(&pos, part.from))
                }
                Outcome::Orphan(error) if !self.orphans_are_bad => {
                    if self.orphans.len() < ORPHANS_MAX {
                        self.orphans.push(BadRow { key: part.lo.clone(), error });
                    }
                    self.counts.orphans += rows;
                    self.counts.waiting += rows;
                    Fate::Released
                }
                Outcome::Orphan(error) | Outcome::Bad(error) => {
                    self.counts.failed += rows;
                    bad.push(BadRow { key: part.lo.clone(), error });
                    Fate::Failed
                }
            };
            pending.work.done.push((part.from, part.rows));
            jobs.push(Job { number, rows, lo: part.lo, hi: part.hi, fate });
        }
        // A verdict has room for so many parts: a batch with thousands of bad rows takes many.
        if pending.work.done.len() > done_before {
            pending.rounds = 0;
        }
        if !bad.is_empty() {
            self.bad_rows = (self.record_bad)(&bad)?;
        }
        for job in jobs {
            let Some(sender) = &self.jobs else { continue };
            if sender.send(job).is_ok() {
                s.settling += 1;
            }
        }
        Ok(())
    }

    /// A writer died with a batch in hand. If it had answered, its verdict stands.
    fn bereaved(&mut self, s: &mut State, slot: usize, exit: &Exit) -> Result<()> {
        let Some(pending) = s.pending.get(&slot) else { return Ok(()) };
        let generation = pending.work.generation;
        if !self.ring.reclaim(slot, generation, exit)? {
            return self.verdict(s, slot, generation);
        }
        if let Some((side, generation)) = &pending.filled.side {
            side.reclaim(0, *generation, exit)?;
        }
        self.resolve(s, slot)
    }

    /// The batch goes once more, without the parts that are done.
    fn again(&mut self, s: &mut State, slot: usize) -> Result<()> {
        let Some(pending) = s.pending.get_mut(&slot) else { return Ok(()) };
        pending.rounds += 1;
        if pending.rounds > ROUNDS_MAX {
            return Err(Error::new(
                Kind::System,
                format!("batch {} did not land in {ROUNDS_MAX} rounds", pending.work.number),
            ));
        }
        pending.work.generation = self.ring.requeue(slot, pending.work.generation)?;
        if let Some((side, generation)) = &mut pending.filled.side {
            *generation = side.requeue(0, *generation)?;
            pending.work.side = Some(*generation);
        }
        s.queue.push_front(slot);
        Ok(())
    }

    /// Everything in the slot is dealt with: it may be filled again.
    fn forget(&mut self, s: &mut State, slot: usize) {
        if let Some(pending) = s.pending.remove(&slot) {
            self.counts.bytes += pending.filled.bytes as u64;
            self.counts.batches += 1;
            // The side segment, if there is one, goes with `pending`.
            if let Some(free) = &self.free {
                // A reading thread that has ended needs no slots.
                let _ = free.send(slot);
            }
        }
    }

    /// A writer is gone, or its COMMIT was not answered. The fence is raised, which waits for a
    /// commit under way and bars a later one; then the ledger tells what landed, and the rest of
    /// the batch goes again.
    fn resolve(&mut self, s: &mut State, slot: usize) -> Result<()> {
        let Some(pending) = s.pending.get(&slot) else { return Ok(()) };
        let pos = pending.work.pos.clone();
        failpoint::hit("stream.before_resolve", pending.work.number);
        let mut dest = self.connections.take(self.dest_link)?;
        let mut again = Raise::Again(self.fence.epoch);
        let (pair, tables) = (&self.fence.pair, self.tables);
        *self.fence = ledger::raise_past_ghosts(dest.as_mut(), pair, tables, &mut again)?;
        self.epoch.store(self.fence.epoch, Ordering::Relaxed);
        failpoint::hit("stream.after_raise", pending.work.number);
        let parts = self.landed_parts(dest.as_mut(), &pos, &pending.work.done)?;
        let landed: usize = parts.iter().map(|p| p.rows).sum();
        log::info!("{}: batch {}: {landed} rows had landed", self.table, pending.work.number);
        let rows = pending.filled.rows;
        self.account(s, slot, parts)?;
        let done: usize = s.pending.get(&slot).map_or(0, |p| p.work.done.iter().map(|d| d.1).sum());
        if done >= rows {
            self.forget(s, slot);
            return Ok(());
        }
        self.again(s, slot)
    }

    fn landed_parts(
        &self,
        dest: &mut dyn Connection,
        pos: &str,
        done: &[(usize, usize)],
    ) -> Result<Vec<Part>> {
        let prefix = format!("{pos}/");
        let mut parts = Vec::new();
        for entry in ledger::entries(dest, &self.fence.pair, ledger::Which::Batch(&self.run, pos))?
        {
            let entry = self.seals.open(&entry)?;
            let Some(from) = entry.pos.strip_prefix(&prefix) else { continue };
            // Longer positions belong to batches that fill a gap behind this one.
            let Ok(from) = usize::from_str_radix(from, 16) else { continue };
            if done.iter().any(|&(f, _)| f == from) {
                continue;
            }
            parts.push(Part {
                from,
                rows: entry.rows as usize,
                lo: entry.lo,
                hi: entry.hi,
                outcome: Outcome::Landed(0),
            });
        }
        Ok(parts)
    }
}
