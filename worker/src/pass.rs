//! The rows of a table run: which are read, in how many passes, and everything that is at work while
//! one pass streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};
use ssync_common::batch::{BatchBuilder, BatchLimits};
use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::LoadPlan;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Entry, Fence, Id, OpenRun, Pair, Seals};
use ssync_common::shm::ring::Ring;
use ssync_common::value::{Key, key_text};
use ssync_writer::protocol::{Setup, WireLink};

use crate::batch_size::BatchSize;
use crate::claiming::Claimer;
use crate::concurrency::Concurrency;
use crate::counts::Counts;
use crate::events::{Alarm, Event};
use crate::idle::Borrowed;
use crate::journal::{BadRow, Read};
use crate::moving::PIECE_ROWS;
use crate::needs;
use crate::owner::{Ownership, Session};
use crate::pace::Brake;
use crate::plan::TablePlan;
use crate::pool::Pool;
use crate::reading::{ReadCounters, Reader, Reading, read_all};
use crate::settling::Settler;
use crate::snapshot::{self, InSnapshot};
use crate::source::Window;
use crate::splitting::{Split, split};
use crate::stream::Stream;
use crate::stretches::{Stretch, open_stretches};
use crate::table_run::{Ends, TableRun};

/// Passes over a `status` table: the second sends what changed during the first.
const PASSES_MAX: u64 = 2;
/// Pauses before what is locked is tried again.
const LOCKED_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(2), Duration::from_secs(5)];
/// Parts of batches that wait to be settled.
const JOBS_MAX: usize = 512;

/// Which rows a pass reads.
enum Rows {
    /// Those that it claims.
    Status(Box<Claims>),
    /// Those of stretches.
    Scan(Vec<Stretch>),
}

/// What a pass claims.
struct Claims {
    owner: Ownership,
    /// The number in the ledger from which on batches are numbered.
    first: u64,
    /// Nothing but these rows, which were locked before.
    only: Option<Vec<Vec<Key>>>,
    /// Rows claimed together beside a locked one, where those cannot be told apart.
    piece: usize,
    /// Where rows that are locked are put.
    locked: Arc<Mutex<Vec<Vec<Key>>>>,
}

impl TableRun<'_> {
    fn load_plan(&self, plan: &TablePlan) -> LoadPlan {
        LoadPlan { table: needs::target(self.table), ..plan.load.clone() }
    }

    /// `status`: claims and sends, then once more what changed meanwhile. The second pass starts
    /// only after every batch of the first is settled and its ledger rows say so.
    pub(crate) fn passes(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &mut Fence,
        run: &OpenRun,
    ) -> Result<()> {
        let Some(owner) = owner else {
            return Err(Error::new(Kind::Internal, "status mode without an owner row"));
        };
        let landed =
            ledger::entries(ends.dest.as_mut(), &fence.pair, ledger::Which::Run(&run.run))?;
        let mut next = landed
            .iter()
            .filter_map(|e| ledger::Pos::top_number(&e.pos))
            .max()
            .map_or(0, |n| n + 1);
        let mut passes = 0;
        let mut pauses = LOCKED_PAUSES.iter();
        let mut piece = PIECE_ROWS;
        let mut only = None;
        loop {
            let before = self.counts;
            let locked = Arc::default();
            let claims = Claims { owner: owner.clone(), first: next, only, piece, locked };
            let locked = claims.locked.clone();
            let whole = claims.only.is_none();
            if whole {
                self.missed.clear();
            }
            next +=
                self.stream(ends, fence, run, Rows::Status(Box::new(claims)), None, Vec::new())?;
            let locked =
                std::mem::take(&mut *locked.lock().unwrap_or_else(PoisonError::into_inner));
            self.counts.left_locked = locked.iter().map(|piece| piece.len() as u64).sum();
            if whole {
                passes += 1;
                self.counts.waiting = self.counts.orphans - before.orphans;
            }
            // What is in state 1 now could not be told from what is claimed beside it.
            if self.counts.held + self.counts.left > 0 {
                break;
            }
            let changed = self.counts.changed > before.changed
                || self.counts.orphans > before.orphans
                || self.counts.withdrawn > before.withdrawn;
            if changed && passes < PASSES_MAX {
                only = None;
            } else if locked.is_empty() {
                break;
            } else {
                let Some(pause) = pauses.next() else { break };
                self.control.pause(self.params.task.id, &self.table.name, *pause)?;
                piece = (piece / 10).max(1);
                only = Some(locked);
            }
        }
        let (name, counts) = (&self.table.name, &self.counts);
        if counts.waiting > 0 {
            log::warn!("{name}: {} rows wait for their parents", counts.waiting);
            self.orphans = self.missed.iter().map(|row| missing(row, &ends.plan)).collect();
            let more = counts.waiting.saturating_sub(self.missed.len() as u64);
            if more > 0 {
                self.orphans.push(format!("and {more} more wait for their parents"));
            }
        }
        if counts.locked_rows() > 0 {
            log::warn!(
                "{name}: other sessions of the source hold rows locked: {} that have landed, {} to \
                 be sent",
                counts.held,
                counts.left + counts.left_locked
            );
        }
        Ok(())
    }

    /// `full` and `increment`: reads what the ledger does not have yet.
    pub(crate) fn scan(&mut self, ends: &mut Ends, fence: &mut Fence, run: &OpenRun) -> Result<()> {
        let seals = self.seals(&ends.plan)?;
        let landed = self.landed(ends, fence, run, &seals)?;
        self.counts.resumed = landed.iter().map(|e| e.rows).sum();
        self.journal.resumed(&run.run, self.counts.resumed)?;
        let window = match (self.table.mode, &run.upto) {
            (TableMode::Increment, Some(upto)) => Some(Window {
                column: ends.plan.watermark()?.clone(),
                above: match (&fence.mark, &self.table.watermark) {
                    (Some(mark), Some(w)) => {
                        let mark = seals.open_mark(mark)?;
                        crate::mark::lower(mark.value, w.lag, self.overlaps())?
                    }
                    _ => None,
                },
                overlap: self.overlaps(),
                upto: seals.open_upto(&run.run, upto)?,
            }),
            // Nothing at the source.
            (TableMode::Increment, None) => return Ok(()),
            _ => None,
        };
        let sessions = match self.table.mode {
            TableMode::Full => self.one_state(ends, !landed.is_empty())?,
            _ => Vec::new(),
        };
        let mut stretches = open_stretches(&landed);
        if self.readers > 1 {
            let table = self.source_table(&ends.plan, ends.source.as_ref(), window.clone());
            let how = Split {
                readers: self.readers.into(),
                rows_min: self.params.task.batch_rows.into(),
                may_sample: !ends.plan.source_is_view,
            };
            stretches = split(&table, ends.source.as_mut(), stretches, &how)?;
        }
        self.stream(ends, fence, run, Rows::Scan(stretches), window.clone(), sessions)?;
        self.window = window;
        self.leave_state(&ends.plan);
        let from_mark = self.table.mode == TableMode::Increment && fence.mark.is_some();
        self.journal.has_read(if from_mark { Read::AboveMark } else { Read::All })
    }

    /// What the run has landed so far, in the rows' order. Positions that have grown long, since
    /// the run was broken off in its own gaps again and again, are made short.
    fn landed(
        &self,
        ends: &mut Ends,
        fence: &Fence,
        run: &OpenRun,
        seals: &Seals,
    ) -> Result<Vec<Entry>> {
        let dest = ends.dest.as_mut();
        let kept = ledger::entries(dest, &fence.pair, ledger::Which::Run(&run.run))?;
        let landed = seals.open_all(&kept)?;
        let Some(renumbered) = ledger::renumbered(&landed) else { return Ok(landed) };
        let to = renumbered.iter().map(|e| seals.seal(e)).collect::<Result<Vec<_>>>()?;
        ledger::renumber(dest, fence, &kept, &to)?;
        log::info!("{}: {} entries of the ledger renumbered", self.table.name, to.len());
        Ok(renumbered)
    }

    /// How keys are kept in the ledger.
    pub(crate) fn seals(&self, plan: &TablePlan) -> Result<Seals> {
        let keys = self.params.keys.clone();
        ssync_writer::transform::seals(&plan.places(&plan.order), &plan.transforms, keys)
    }

    /// Sessions for the readers of a `full` table that see one state of the source; none where it is
    /// to be read, or can only be read, as it is at each moment.
    fn one_state(&mut self, ends: &mut Ends, resumed: bool) -> Result<Vec<Borrowed>> {
        if resumed {
            self.notes.push(
                "no copy of one moment: rows had landed before the run was resumed".to_owned(),
            );
            self.snapshots.resumes(&self.table.name);
        }
        let resumed_before = self.snapshots.resumed_before(&self.table.name);
        if !resumed_before.is_empty() {
            self.notes.push(format!(
                "not of the same moment as {}, whose run was resumed",
                resumed_before.join(", ")
            ));
        }
        self.reads_one_state = false;
        if !self.params.task.snapshot {
            return Ok(Vec::new());
        }
        let tables: Vec<String> = self.full_tables_to_come().map(|t| t.source.clone()).collect();
        let lent = self.snapshots.lend(
            (self.connections, &self.params.source),
            ends.source.as_mut(),
            &ends.plan,
            &tables,
            self.readers.into(),
        )?;
        self.notes.extend(lent.notes);
        if !lent.sessions.is_empty() {
            self.readers = lent.sessions.len() as u8;
            self.reads_one_state = !resumed;
        }
        failpoint::hit("run.after_snapshot", 1);
        Ok(lent.sessions)
    }

    /// This table, and the `full` tables after it in its task.
    fn full_tables_to_come(&self) -> impl Iterator<Item = &TableTask> {
        let tables = self.params.task.tables.iter();
        tables.skip_while(|t| t.name != self.table.name).filter(|t| t.mode == TableMode::Full)
    }

    /// The rows are read: the snapshot stays only where another table reads from it, and sees in it
    /// what it must.
    fn leave_state(&mut self, plan: &TablePlan) {
        let same_server = plan.source_server == plan.dest.server;
        let after = &self.table.after;
        if !after.source.is_empty() || same_server && !after.dest.is_empty() {
            self.snapshots.end("SQL that was run at the source");
        } else if !self.full_tables_to_come().any(|t| t.name != self.table.name) {
            self.snapshots.end("the last table that reads from it");
        }
    }

    /// One pass; the number of batches.
    fn stream(
        &mut self,
        ends: &mut Ends,
        fence: &mut Fence,
        run: &OpenRun,
        rows: Rows,
        window: Option<Window>,
        mut sessions: Vec<Borrowed>,
    ) -> Result<u64> {
        let (task, tables) = (&self.params.task, self.tables());
        let slots = usize::from(self.writers) + usize::from(self.readers) + 1;
        let ring = Ring::create(slots, task.slot_bytes as usize, usize::from(self.writers))?;
        let (events_in, events) = unbounded();
        let (free_in, free) = unbounded();
        for slot in 0..slots {
            let _ = free_in.send(slot);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let read = Arc::new(ReadCounters::default());
        let read_before = self.counts;
        let waited_before = self.pace.waited_micros();
        let status = matches!(rows, Rows::Status(_));

        let number = Arc::new(AtomicU64::new(self.counts.batches));
        let most = task.batch_rows as usize;
        let size = Arc::new(BatchSize::new(most, Duration::from_millis(task.batch_millis.into())));
        size.limit(self.pace.batch_rows(u64::MAX));
        let limits = BatchLimits { rows: most, slot_bytes: task.slot_bytes as usize };
        let mut readers = Vec::new();
        for _ in 0..self.readers {
            let session = sessions.pop();
            let snapshot = session
                .as_ref()
                .map(|_| InSnapshot::new(self.snapshots, self.connections, &self.params.source));
            let conn = match session {
                Some(session) => session,
                None => self.connections.take(&self.params.source)?,
            };
            let mut builder = BatchBuilder::new(&ends.plan.read, limits);
            if ends.plan.order.is_empty() {
                // One statement reads them all; others are cut by their statements.
                builder.follow(size.shared_rows());
            }
            readers.push(Reader {
                table: self.source_table(&ends.plan, conn.as_ref(), window.clone()),
                conn,
                snapshot,
                columns: ends.plan.read.clone(),
                order: ends.plan.places(&ends.plan.order),
                size: size.clone(),
                builder,
                ring: ring.clone(),
                free: free.clone(),
                events: events_in.clone(),
                stop: stop.clone(),
                pace: self.pace.clone(),
                counters: read.clone(),
                number: number.clone(),
            });
        }
        drop(free);
        let bad_rows = self.journal.bad_rows()?;
        // Bounded: where settling is slower than landing, landing waits.
        let (jobs_in, jobs) = bounded(JOBS_MAX);
        let epoch = Arc::new(AtomicI64::new(fence.epoch));
        let mut settle_source = None;
        let reading = match rows {
            Rows::Status(claims) => {
                let Claims { owner, first, only, piece, locked } = *claims;
                let mut conn = self.connections.take(&self.params.source)?;
                conn.name_session(&owner.session_name(Session::Settler))?;
                let table = self.source_table(&ends.plan, conn.as_ref(), None);
                settle_source = Some((conn, table, owner.clone()));
                let mut conn = self.connections.take(&self.params.source)?;
                conn.name_session(&owner.session_name(Session::Claimer))?;
                let claimer = Claimer {
                    table: self.source_table(&ends.plan, conn.as_ref(), None),
                    conn,
                    owner,
                    size: size.clone(),
                    stop: stop.clone(),
                    pace: self.pace.clone(),
                    counters: read.clone(),
                    only,
                    locked,
                    piece,
                    wary: false,
                    number: self.counts.batches,
                };
                Reading::Claims(Box::new(claimer), ledger::Pos::top(first))
            }
            Rows::Scan(stretches) => Reading::Stretches(stretches),
        };
        let mut settle_dest = self.connections.take(&self.params.dest)?;
        settle_dest.name_session(&ledger::settler_name(&fence.pair.id, fence.epoch))?;
        let settler = Settler {
            source: settle_source,
            dest: settle_dest,
            journal: self.journal.clone(),
            pair: fence.pair.clone(),
            epoch: epoch.clone(),
            run: run.run,
            jobs,
            events: events_in.clone(),
            wary: false,
        };
        // Nothing is read before each throttle has given its first answer.
        for _ in self.params.source_throttle.iter().chain(&self.params.dest_throttle) {
            self.pace.hold();
        }
        let (reader_events, settler_events) = (events_in.clone(), events_in.clone());
        let reader_thread = thread::Builder::new().name("readers".into()).spawn(move || {
            let _alarm = Alarm::new(&reader_events, Event::ReaderDone);
            let result = read_all(readers, reading);
            let _ = reader_events.send(Event::ReaderDone(result));
        })?;
        let settler_thread = thread::Builder::new().name("settler".into()).spawn(move || {
            let _alarm = Alarm::new(&settler_events, Event::Settled);
            settler.run();
        })?;

        let seals = self.seals(&ends.plan)?;
        let setup = Box::new(self.setup_maker(ends, fence.pair.clone(), run.run));
        let (writers, mailbox) = (self.writers, events_in);
        let mut pool =
            Pool::new(self.params, self.connections, writers, mailbox, ring.clone(), setup);
        let mut concurrency = Concurrency::new(self.writers.into());
        let (progress, pace) = (&mut *self.progress, &**self.pace);
        let mut publish = |counts: &Counts, read: &ReadCounters, ring: &Ring, busy: bool| {
            progress.publish(counts, &read_before, read, pace, busy);
            progress.writers(ring);
        };
        let (journal, run_id) = (self.journal.clone(), run.run);
        let key_names: Vec<String> = ends.plan.key.iter().map(|c| c.name.clone()).collect();
        let key_places: Vec<usize> = ends
            .plan
            .key
            .iter()
            .filter_map(|k| ends.plan.order.iter().position(|o| o.name == k.name))
            .collect();
        let mut record_bad = |bad: &[BadRow]| {
            let rows: Vec<_> = bad
                .iter()
                .map(|b| {
                    let key = key_places.iter().filter_map(|i| b.key.get(*i).cloned()).collect();
                    BadRow { key, error: b.error.clone() }
                })
                .collect();
            journal.record_bad(&run_id, &key_names, &rows)
        };
        let stream = Stream {
            seals: &seals,
            table: &self.table.name,
            dest_link: &self.params.dest,
            connections: self.connections,
            tables: &tables,
            fence,
            epoch,
            run: run.run,
            ring,
            free: Some(free_in),
            events,
            task: self.params.task.id,
            control: self.control,
            pool: &mut pool,
            concurrency: &mut concurrency,
            size: &size,
            pace,
            jobs: Some(jobs_in),
            stop: stop.clone(),
            read: read.clone(),
            counts: &mut self.counts,
            error_limit: task.error_limit,
            orphans_are_bad: !status,
            orphans: &mut self.missed,
            publish: &mut publish,
            record_bad: &mut record_bad,
            bad_rows,
        };
        let mut brakes = Vec::new();
        for (throttle, link, conn) in [
            (&self.params.source_throttle, &self.params.source, &mut ends.source),
            (&self.params.dest_throttle, &self.params.dest, &mut ends.dest),
        ] {
            let Some(throttle) = throttle else { continue };
            brakes.push(Brake { throttle, link, conn, connections: self.connections, pace });
        }
        let result = with_brakes(brakes, || stream.run());
        stop.store(true, Ordering::Relaxed);
        let ended = if result.is_ok() { pool.finish() } else { Ok(()) };
        drop(pool);
        let reader_ended = reader_thread.join();
        let settler_ended = settler_thread.join();
        self.add_read(&read, &read_before, status);
        self.counts.throttle_micros =
            read_before.throttle_micros + pace.waited_micros() - waited_before;
        self.note_fitted(&size, &concurrency);
        if read.left_snapshot.load(Ordering::Relaxed) {
            self.reads_one_state = false;
            self.notes.push(format!(
                "no copy of one moment: the snapshot was given up after {}",
                snapshot::too_long(Duration::from_secs(task.snapshot_max.secs()))
            ));
        }
        result?;
        ended?;
        if reader_ended.is_err() || settler_ended.is_err() {
            return Err(Error::new(Kind::Internal, "a thread of the run panicked"));
        }
        Ok(self.counts.batches - read_before.batches)
    }

    /// Notes for people where batches or writers had to become fewer.
    fn note_fitted(&mut self, size: &BatchSize, concurrency: &Concurrency) {
        let task = &self.params.task;
        if let Some(rows) = size.fitted() {
            self.notes.push(format!(
                "batches of {rows} rows at last: {} would take longer than {} ms",
                task.batch_rows, task.batch_millis
            ));
        }
        let (right, most) = (concurrency.proved_right(), concurrency.most());
        if right < most {
            self.notes.push(format!("{right} of {most} writers at last: more landed no more"));
        }
    }

    fn add_read(&mut self, read: &ReadCounters, before: &Counts, status: bool) {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        self.counts.read = before.read + get(&read.read);
        self.counts.withdrawn = before.withdrawn + get(&read.withdrawn);
        self.claimed_nothing += get(&read.claimed_nothing);
        self.counts.slot_micros = before.slot_micros + get(&read.slot_micros);
        self.counts.reading_micros = before.reading_micros + get(&read.reading_micros);
        if status {
            self.counts.claimed = before.claimed + get(&read.claimed);
        }
    }

    fn setup_maker(&self, ends: &Ends, pair: Pair, run: Id) -> impl Fn(usize) -> Setup + use<> {
        let link = self.params.dest.clone();
        let plan = self.load_plan(&ends.plan);
        let transforms = ends.plan.transforms.clone();
        let empties = ends.plan.empties.clone();
        let keys = self.params.keys_for(&transforms);
        let key = ends.plan.places(&ends.plan.order);
        move |n| Setup {
            n,
            link: WireLink::new(&link),
            plan: plan.clone(),
            transforms: transforms.clone(),
            empties: empties.clone(),
            keys: keys
                .iter()
                .map(|(name, ring)| (name.clone(), ring.to_wire()))
                .collect::<BTreeMap<_, _>>(),
            key: key.clone(),
            pair: pair.clone(),
            run,
        }
    }
}

/// Which row waits, and for which parent, for people.
fn missing(row: &BadRow, plan: &TablePlan) -> String {
    let (names, key): (Vec<_>, Vec<_>) = plan
        .key
        .iter()
        .filter_map(|k| {
            let place = plan.order.iter().position(|o| o.name == k.name)?;
            Some((k.name.clone(), row.key.get(place)?.clone()))
        })
        .unzip();
    let why = &row.error.message;
    let mut parents: Vec<_> = plan.dest.foreign_keys.iter().collect();
    if parents.len() > 1 {
        parents.retain(|foreign| why.contains(&foreign.name));
    }
    let parent = match parents.as_slice() {
        [only] => format!(" in {}", only.parent),
        _ => String::new(),
    };
    format!("row {} waits for its parent{parent}: {why}", key_text(&names, &key))
}

/// Runs `work`, with each brake in a thread of its own.
fn with_brakes(brakes: Vec<Brake<'_>>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let (end, ended) = bounded::<()>(0);
        for brake in brakes {
            let ended = ended.clone();
            thread::Builder::new()
                .name("throttle".into())
                .spawn_scoped(scope, move || brake.run(&ended))?;
        }
        let result = work();
        drop(end);
        result
    })
}
