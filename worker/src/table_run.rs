//! One table from lock to unlock: the order of things that makes a run exact.
//!
//! ```text
//! lock → connect → plan → own the source → raise the fence → recover → open or resume the run
//!      → before → empty → rows → balance → swap → after → close the run → release
//! ```
//!
//! A failure that may pass (a lost connection, a deadlock) starts the same sequence again after a
//! pause; there is no other road back. Nothing here moves rows: see [`crate::stream`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use ssync_common::batch::{BatchBuilder, BatchLimits};
use ssync_common::config::{FullMethod, TableMode, TableTask};
use ssync_common::connector::{Connection, LinkParams, LockWait, WriteMode, open};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Fence, Id, OpenRun};
use ssync_common::logging::set_context;
use ssync_common::process::identity::RunId;
use ssync_common::shm::ring::Ring;
use ssync_common::value::hex_bytes;
use ssync_writer::protocol::{Setup, WireLink};

use crate::batch_size::BatchSize;
use crate::claiming::Claimer;
use crate::concurrency::Concurrency;
use crate::control::Control;
use crate::counts::Counts;
use crate::events::{Alarm, Event};
use crate::idle::{Borrowed, Connections};
use crate::journal::{BadRow, Journal};
use crate::owner::{self, Ownership};
use crate::pace::{Brake, Pace};
use crate::params::TaskParams;
use crate::plan::{self, Sides, TablePlan};
use crate::pool::Pool;
use crate::progress::{Phase, Progress};
use crate::reading::{ReadCounters, Reader, Reading, read_all};
use crate::recovery::recover;
use crate::settling::Settler;
use crate::source::{RowState, SourceTable, Window};
use crate::splitting::{Split, split};
use crate::steps::{Steps, When, shadow_name};
use crate::stream::Stream;
use crate::stretches::{Stretch, open_stretches};

/// Passes over a `status` table: the second sends what changed, or was locked, during the first.
const PASSES_MAX: u64 = 2;
/// Parts of batches that wait to be settled.
const JOBS_MAX: usize = 512;
/// How often the owner row is renewed; well below its lease.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// One attempt at one table.
pub struct TableRun<'a> {
    /// The task.
    pub params: &'a TaskParams,
    /// The sub-task.
    pub table: &'a TableTask,
    /// Where the run is written down.
    pub journal: Arc<dyn Journal>,
    /// What the operator wants.
    pub control: &'a Control<'a>,
    /// Connections that are idle.
    pub connections: &'a Connections,
    /// Writer processes that may run.
    pub writers: u8,
    /// Threads that may read side by side.
    pub readers: u8,
    /// How fast they may.
    pub pace: &'a Arc<Pace>,
    /// Where progress is shown.
    pub progress: &'a mut Progress,
    /// The books.
    pub counts: Counts,
    /// Notes for people.
    pub notes: Vec<String>,
    /// Id of the run, once it has one.
    pub run: Option<Id>,
    /// Whether a new run is to begin even where one could be resumed; no more once it has begun.
    pub restart: bool,
    /// Whether both ends were reached.
    pub connected: bool,
}

/// Both ends, open and described.
pub(crate) struct Ends {
    pub(crate) source: Borrowed,
    pub(crate) dest: Borrowed,
    pub(crate) plan: TablePlan,
}

impl TableRun<'_> {
    /// Runs the table once.
    pub fn attempt(&mut self) -> Result<()> {
        self.progress.phase(Phase::Connecting);
        let mut ends = self.connect()?;
        self.connected = true;
        let owner = self.own(&mut ends)?;
        failpoint::hit("run.after_owner", 1);
        let _lease = match &owner {
            Some(owner) => Some(Lease::start(&self.params.source, owner.clone())?),
            None => None,
        };
        let result = self.owned(&mut ends, owner.as_ref());
        failpoint::hit("run.before_release", 1);
        if let Some(owner) = &owner {
            // A connection that broke is opened anew for this; failing that, the lease ends by
            // itself, and on this host our death is seen at once.
            let released = owner
                .release(ends.source.as_mut())
                .or_else(|_| owner.release(self.connections.take(&self.params.source)?.as_mut()));
            if let Err(e) = released {
                log::warn!("{}: could not give the source table back: {e}", self.table.name);
            }
        }
        result
    }

    fn connect(&mut self) -> Result<Ends> {
        let (source_link, dest_link) = (&self.params.source, &self.params.dest);
        let mut source = self.connections.take(source_link)?;
        let mut dest = self.connections.take(dest_link)?;
        // These run the operators' SQL.
        if !(self.table.before.source.is_empty() && self.table.after.source.is_empty()) {
            source.keep_from_reuse();
        }
        if !(self.table.before.dest.is_empty() && self.table.after.dest.is_empty()) {
            dest.keep_from_reuse();
        }
        let described = describe_sides(
            source.as_mut(),
            dest.as_mut(),
            &self.params.task,
            self.table,
            (source_link, dest_link),
        )?;
        let planned = described;
        plan::refuse(self.params.task.id, &self.table.name, &planned.findings)?;
        if let Some(plan) = &planned.plan {
            let rotated = plan::rotated_keys(plan, &self.params.keys);
            plan::refuse(self.params.task.id, &self.table.name, &rotated)?;
        }
        for finding in planned.findings.iter().filter(|f| f.level == plan::Level::Warning) {
            self.notes.push(finding.text.clone());
        }
        let plan =
            planned.plan.ok_or_else(|| Error::new(Kind::Internal, "no plan and no finding"))?;
        if !self.params.dest_allows_nondurable {
            durable(dest.as_mut(), dest_link)?;
        }
        // The ledger forgets what the source is known to show as done.
        if self.table.mode == TableMode::Status && !self.params.source_allows_nondurable {
            durable(source.as_mut(), source_link)?;
        }
        if let Some(gap) = dest.atomicity_gap()? {
            return Err(Error::new(
                Kind::Refused,
                format!("link {} does not keep transactions whole: {gap}", dest_link.name),
            ));
        }
        Ok(Ends { source, dest, plan })
    }

    fn own(&mut self, ends: &mut Ends) -> Result<Option<Ownership>> {
        let writes_source = self.table.mode == TableMode::Status
            || !self.table.before.source.is_empty()
            || !self.table.after.source.is_empty();
        if !writes_source {
            return Ok(None);
        }
        let owner = owner::take(ends.source.as_mut(), &self.table.source, &ends.plan.source_name)?;
        if let Some(dead) = &owner.taken_over_from {
            self.notes.push(format!("taken over from {dead}, which has died"));
        }
        Ok(Some(owner))
    }

    fn owned(&mut self, ends: &mut Ends, owner: Option<&Ownership>) -> Result<()> {
        let ident = match (self.table.mode, owner) {
            // Whoever fills this table anew, from wherever, excludes everybody else who does.
            (TableMode::Full, _) => Id::default(),
            (TableMode::Increment, _) => {
                owner::increment_ident(&self.params.source.name, &ends.plan.source_name)
            }
            (TableMode::Status, Some(owner)) => owner.ident,
            (TableMode::Status, None) => {
                return Err(Error::new(Kind::Internal, "status mode without an owner row"));
            }
        };
        let tables = format!("{} -> {}", self.table.source, self.table.dest);
        self.progress.phase(Phase::Locking);
        self.connections.ensure_ledger(&self.params.dest.name, ends.dest.as_mut())?;
        ends.dest.set_lock_wait(LockWait::Patient)?;
        let id = ledger::pair_id(&ident, &ends.plan.dest.full_name);
        if self.table.mode == TableMode::Status {
            // Before the epoch moves, so that a run that refuses leaves everything as it is and
            // the next one refuses too.
            self.remembered(ends, &id)?;
            if let Some(owner) = owner {
                self.claim_for(ends, owner, &id)?;
            }
        }
        if self.table.mode == TableMode::Increment {
            self.refuse_namesakes(ends, &id, &tables)?;
        }
        let mut fence = ledger::raise(ends.dest.as_mut(), &id, &tables, None)?;
        failpoint::hit("run.after_fence", 1);
        if self.table.mode == TableMode::Status {
            // Not even tidying up may be done by another key.
            self.same_key(ends, &fence)?;
        }
        let result = self.fenced(ends, owner, &mut fence, &tables);
        if let (Err(e), Some(owner)) = (&result, owner)
            && self.table.mode == TableMode::Status
            && self.tidies_after(e)
        {
            self.progress.phase(Phase::Recovering);
            if let Err(e) = self.tidy(ends, owner, &fence, &tables) {
                log::warn!(
                    "{}: could not put unsent rows back to 0, the next run does it: {e}",
                    self.table.name
                );
            }
        }
        result
    }

    /// Whether unsent rows are put back to 0 after this failure. The scene of a real-time task is
    /// left as it is (A16), unless the operator asked for the end.
    fn tidies_after(&self, e: &Error) -> bool {
        let ours = !matches!(e.kind, Kind::Fenced | Kind::Locked);
        ours && (!self.params.realtime || e.kind.is_wanted())
    }

    fn tidy(&mut self, ends: &Ends, owner: &Ownership, fence: &Fence, tables: &str) -> Result<()> {
        let mut source = self.connections.take(&self.params.source)?;
        let mut dest = self.connections.take(&self.params.dest)?;
        let fence = ledger::raise(dest.as_mut(), &fence.id, tables, Some(fence.epoch))?;
        let table = self.source_table(&ends.plan, source.as_ref(), None);
        let journal = self.journal.as_ref();
        let found = recover(source.as_mut(), &table, owner, dest.as_mut(), &fence, journal)?;
        self.counts.settled += found.settled;
        self.counts.changed += found.changed;
        self.counts.released += found.released;
        Ok(())
    }

    fn fenced(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &mut Fence,
        tables: &str,
    ) -> Result<()> {
        let status = self.table.mode == TableMode::Status;
        if let (true, Some(owner)) = (status, owner) {
            self.progress.phase(Phase::Recovering);
            let table = self.source_table(&ends.plan, ends.source.as_ref(), None);
            let (source, dest) = (ends.source.as_mut(), ends.dest.as_mut());
            let found = recover(source, &table, owner, dest, fence, self.journal.as_ref())?;
            if found.anything() {
                self.counts.recovered += found.settled + found.changed;
                self.counts.reopened += found.released;
                log::info!("{}: recovered {found:?}", self.table.name);
            }
        }
        failpoint::hit("run.after_recover", 1);
        let run = self.open_run(ends, fence)?;
        self.run = Some(run.run);
        set_context("run", hex_bytes::encode(&run.run));
        self.journal.begin_run(&run.run, &run.plan)?;
        self.steps(ends, owner, fence, run.run, |steps, table| {
            steps.run_sql(When::Before, &table.before)
        })?;
        self.progress.phase(Phase::Transferring);
        let load = self.load_plan(&ends.plan);
        let dest = ends.plan.dest.clone();
        let swaps = self.table.mode == TableMode::Full && self.table.full == FullMethod::Swap;
        if status {
            self.passes(ends, owner, fence, &run, &load, tables)?;
        } else if !swaps
            || !self.steps(ends, owner, fence, run.run, |steps, _| steps.swapped(&dest))?
        {
            self.make_room(ends, owner, fence, run.run)?;
            self.scan(ends, fence, &run, &load, tables)?;
        }
        failpoint::hit("run.after_rows", 1);
        self.counts.balance(status)?;
        if status {
            self.resolve_retried(ends)?;
        }
        if swaps {
            self.steps(ends, owner, fence, run.run, |steps, _| steps.swap(&dest))?;
        }
        self.progress.phase(Phase::After);
        self.steps(ends, owner, fence, run.run, |steps, table| {
            steps.run_sql(When::After, &table.after)
        })?;
        let keep = self.journal.last_settled()?.map(|last| last.run);
        let mark = self.next_mark(fence, &run);
        failpoint::hit("run.before_finish", 1);
        ledger::finish_run(ends.dest.as_mut(), fence, &run.run, mark.as_ref(), keep.as_ref())?;
        failpoint::hit("run.after_finish", 1);
        Ok(())
    }

    fn open_run(&mut self, ends: &mut Ends, fence: &mut Fence) -> Result<OpenRun> {
        let plan = ends.plan.fingerprint()?;
        let open = fence.run.as_ref().filter(|run| run.open);
        let restart = self.restart;
        if let Some(open) = open
            && open.plan == plan
            && !restart
            && (!ends.plan.key.is_empty() || self.table.mode == TableMode::Status)
        {
            self.notes.push("resumed a run that had not come to its end".to_owned());
            return Ok(open.clone());
        }
        if let (Some(open), TableMode::Status, false) = (open, self.table.mode, restart) {
            // What has landed is done for good and is not sent again: the SQL that prepared its
            // place must not be repeated, the SQL that is to deal with it must still come.
            let run = OpenRun { plan, ..open.clone() };
            ledger::begin_run(ends.dest.as_mut(), fence, &run, false)?;
            self.notes.push(
                "resumed a run that had been begun under another configuration: SQL that had \
                 been run is not repeated"
                    .to_owned(),
            );
            return Ok(run);
        }
        if let (Some(open), TableMode::Increment) = (open, self.table.mode)
            && let Some(run) = self.carried_on(ends, fence, open, &plan, restart)?
        {
            return Ok(run);
        }
        self.judge_mark(ends, fence)?;
        let upto = match (self.table.mode, &self.table.watermark) {
            (TableMode::Increment, Some(mark)) => {
                let table = self.source_table(&ends.plan, ends.source.as_ref(), None);
                let newest = table.newest_mark(ends.source.as_mut())?;
                crate::mark::upper(newest, mark.lag, self.overlaps())?
            }
            _ => None,
        };
        let run = OpenRun { run: RunId::random()?.0, open: true, plan, upto };
        let forget = self.table.mode != TableMode::Status;
        ledger::begin_run(ends.dest.as_mut(), fence, &run, forget)?;
        self.restart = false;
        failpoint::hit("run.after_begin", 1);
        Ok(run)
    }

    /// An `increment` run that was broken off under another configuration, or is to be begun
    /// anew: where a row that lands twice does harm, what has landed of its interval stays landed,
    /// and the run comes to its end under the configuration of now.
    fn carried_on(
        &mut self,
        ends: &mut Ends,
        fence: &Fence,
        open: &OpenRun,
        plan: &str,
        restart: bool,
    ) -> Result<Option<OpenRun>> {
        let which = ledger::Which::Run(&open.run);
        if self.overlaps() || ledger::entries(ends.dest.as_mut(), &fence.id, which)?.is_empty() {
            return Ok(None);
        }
        if restart || !plan::walks_alike(&open.plan, plan) {
            return Err(Error::new(
                Kind::Refused,
                "an increment run that was broken off has landed rows, which would land twice",
            )
            .detail(if restart {
                "it was asked to begin anew, and write = \"insert\""
            } else {
                "its watermark or key is configured otherwise now, and write = \"insert\""
            })
            .hint(
                "Let it come to its end first, without --restart and with the watermark and key \
                 it was begun with.",
            ));
        }
        let run = OpenRun { plan: plan.to_owned(), ..open.clone() };
        ledger::begin_run(ends.dest.as_mut(), fence, &run, false)?;
        self.notes.push(
            "resumed a run that had been begun under another configuration: rows that had landed \
             stay as they are"
                .to_owned(),
        );
        Ok(Some(run))
    }

    /// Whether `increment` reads the last stretch again, so that late commits are found: only
    /// where a row that comes twice does no harm.
    pub(crate) fn overlaps(&self) -> bool {
        self.table.write != WriteMode::Insert
    }

    fn steps<T>(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &Fence,
        run: Id,
        work: impl FnOnce(&mut Steps<'_>, &TableTask) -> Result<T>,
    ) -> Result<T> {
        let mut steps = Steps {
            source: ends.source.as_mut(),
            owner,
            dest: ends.dest.as_mut(),
            dest_link: &self.params.dest,
            connections: self.connections,
            fence,
            run,
        };
        work(&mut steps, self.table)
    }

    /// Which of the rows that an operator had sent again have landed: those that the source shows
    /// as done. Others wait for a parent or a lock, or are not for this run.
    fn resolve_retried(&mut self, ends: &mut Ends) -> Result<()> {
        let mut rows = self.source_table(&ends.plan, ends.source.as_ref(), None);
        rows.filter = None;
        let names: Vec<_> = ends.plan.key.iter().map(|c| c.name.clone()).collect();
        let source = ends.source.as_mut();
        self.journal.resolve_retried(&mut |columns, key| {
            Ok(*columns == *names && rows.is_in_state(source, key, RowState::Done)?)
        })
    }

    fn make_room(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &Fence,
        run: Id,
    ) -> Result<()> {
        if self.table.mode != TableMode::Full {
            return Ok(());
        }
        let table = ends.plan.dest.clone();
        self.steps(ends, owner, fence, run, |steps, task| match task.full {
            FullMethod::Truncate => steps.empty(&table),
            FullMethod::Swap => steps.make_shadow(&table),
        })
    }

    fn load_plan(&self, plan: &TablePlan) -> ssync_common::connector::LoadPlan {
        let mut load = plan.load.clone();
        if self.table.mode == TableMode::Full && self.table.full == FullMethod::Swap {
            load.table = shadow_name(&load.table);
        }
        load
    }

    pub(crate) fn source_table(
        &self,
        plan: &TablePlan,
        conn: &dyn Connection,
        window: Option<Window>,
    ) -> SourceTable {
        SourceTable {
            dialect: conn.dialect(),
            name: self.table.source.clone(),
            order: plan.order.clone(),
            address: plan.address.clone(),
            touched: plan.touched.clone(),
            filter: self.table.filter.clone(),
            window,
        }
    }

    /// `status`: claims and sends, then once more what changed meanwhile. The second pass starts
    /// only after every batch of the first is settled and its ledger rows say so.
    fn passes(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &mut Fence,
        run: &OpenRun,
        load: &ssync_common::connector::LoadPlan,
        tables: &str,
    ) -> Result<()> {
        let Some(owner) = owner else {
            return Err(Error::new(Kind::Internal, "status mode without an owner row"));
        };
        let landed = ledger::entries(ends.dest.as_mut(), &fence.id, ledger::Which::Run(&run.run))?;
        let mut next = landed
            .iter()
            .filter_map(|e| ledger::Pos::top_number(&e.pos))
            .max()
            .map_or(0, |n| n + 1);
        for pass in 0..PASSES_MAX {
            let before = self.counts;
            let last = pass + 1 == PASSES_MAX;
            let source = Rows::Status { owner: owner.clone(), first: next };
            let batches = self.stream(ends, fence, run, load, tables, source, None, last)?;
            next += batches;
            let again = self.counts.changed > before.changed
                || self.counts.orphans > before.orphans
                || self.counts.withdrawn > before.withdrawn
                || self.counts.left_locked > before.left_locked;
            if !again {
                break;
            }
        }
        Ok(())
    }

    /// `full` and `increment`: reads what the ledger does not have yet.
    fn scan(
        &mut self,
        ends: &mut Ends,
        fence: &mut Fence,
        run: &OpenRun,
        load: &ssync_common::connector::LoadPlan,
        tables: &str,
    ) -> Result<()> {
        let landed = ledger::entries(ends.dest.as_mut(), &fence.id, ledger::Which::Run(&run.run))?;
        self.counts.resumed = landed.iter().map(|e| e.rows).sum();
        let window = match (self.table.mode, &run.upto) {
            (TableMode::Increment, Some(upto)) => Some(Window {
                above: match (&fence.mark, &self.table.watermark) {
                    (Some(mark), Some(w)) => {
                        crate::mark::lower(mark.value.clone(), w.lag, self.overlaps())?
                    }
                    _ => None,
                },
                overlap: self.overlaps(),
                upto: upto.clone(),
            }),
            // Nothing at the source.
            (TableMode::Increment, None) => return Ok(()),
            _ => None,
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
        self.stream(ends, fence, run, load, tables, Rows::Scan(stretches), window, true)?;
        Ok(())
    }

    /// One pass; the number of batches.
    #[allow(clippy::too_many_arguments)]
    fn stream(
        &mut self,
        ends: &mut Ends,
        fence: &mut Fence,
        run: &OpenRun,
        load: &ssync_common::connector::LoadPlan,
        tables: &str,
        rows: Rows,
        window: Option<Window>,
        last_pass: bool,
    ) -> Result<u64> {
        let task = &self.params.task;
        let slots = usize::from(self.writers) + usize::from(self.readers) + 1;
        let ring = Ring::create(
            &self.params.ring_name()?,
            slots,
            task.slot_bytes as usize,
            usize::from(self.writers),
        )?;
        let (events_in, events) = unbounded();
        let (free_in, free) = unbounded();
        for slot in 0..slots {
            let _ = free_in.send(slot);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let read = Arc::new(ReadCounters::default());
        let read_before = self.counts;
        let waited_before = self.pace.waited_micros();
        let status = matches!(rows, Rows::Status { .. });

        let number = Arc::new(AtomicU64::new(self.counts.batches));
        let most = task.batch_rows as usize;
        let size = Arc::new(BatchSize::new(most, Duration::from_millis(task.batch_millis.into())));
        size.limit(self.pace.batch_rows(u64::MAX));
        let limits = BatchLimits { rows: most, slot_bytes: task.slot_bytes as usize };
        let mut readers = Vec::new();
        for _ in 0..self.readers {
            let conn = self.connections.take(&self.params.source)?;
            let mut builder = BatchBuilder::new(&ends.plan.read, limits);
            if ends.plan.order.is_empty() {
                // One statement reads them all; others are cut by their statements.
                builder.follow(size.shared_rows());
            }
            readers.push(Reader {
                table: self.source_table(&ends.plan, conn.as_ref(), window.clone()),
                conn,
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
            Rows::Status { owner, first } => {
                let conn = self.connections.take(&self.params.source)?;
                let table = self.source_table(&ends.plan, conn.as_ref(), None);
                settle_source = Some((conn, table, owner.clone()));
                let conn = self.connections.take(&self.params.source)?;
                let claimer = Claimer {
                    table: self.source_table(&ends.plan, conn.as_ref(), None),
                    conn,
                    owner,
                    size: size.clone(),
                    stop: stop.clone(),
                    pace: self.pace.clone(),
                    counters: read.clone(),
                    number: self.counts.batches,
                };
                Reading::Claims(Box::new(claimer), ledger::Pos::top(first))
            }
            Rows::Scan(stretches) => Reading::Stretches(stretches),
        };
        let settler = Settler {
            source: settle_source,
            dest: self.connections.take(&self.params.dest)?,
            journal: self.journal.clone(),
            fence: fence.id,
            epoch: epoch.clone(),
            run: run.run,
            jobs,
            events: events_in.clone(),
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

        let setup = self.setup_maker(&ring, ends, fence.id, run.run, load);
        let mut pool =
            Pool::new(self.params, self.connections, self.writers, events_in, Box::new(setup));
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
            table: &self.table.name,
            dest_link: &self.params.dest,
            connections: self.connections,
            tables,
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
        result?;
        ended?;
        if reader_ended.is_err() || settler_ended.is_err() {
            return Err(Error::new(Kind::Internal, "a thread of the run panicked"));
        }
        if last_pass && self.counts.orphans > 0 {
            log::warn!("{}: {} rows wait for their parents", self.table.name, self.counts.orphans);
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
        let (now, most) = (concurrency.now(), concurrency.most());
        if now < most {
            self.notes.push(format!("{now} of {most} writers at last: more landed no more"));
        }
    }

    fn add_read(&mut self, read: &ReadCounters, before: &Counts, status: bool) {
        let get = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        self.counts.read = before.read + get(&read.read);
        self.counts.withdrawn = before.withdrawn + get(&read.withdrawn);
        self.counts.left_locked = before.left_locked + get(&read.left_locked);
        self.counts.slot_micros = before.slot_micros + get(&read.slot_micros);
        self.counts.reading_micros = before.reading_micros + get(&read.reading_micros);
        if status {
            self.counts.claimed = before.claimed + get(&read.claimed);
        }
    }

    fn setup_maker(
        &self,
        ring: &Ring,
        ends: &Ends,
        fence: Id,
        run: Id,
        load: &ssync_common::connector::LoadPlan,
    ) -> impl Fn(usize) -> Setup + use<> {
        let ring = ring.name().to_owned();
        let link = self.params.dest.clone();
        let plan = load.clone();
        let transforms = ends.plan.transforms.clone();
        let empties = ends.plan.empties.clone();
        let keys = self.params.keys_for(&transforms);
        let key = ends.plan.places(&ends.plan.order);
        move |n| Setup {
            ring: ring.clone(),
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
            fence,
            run,
        }
    }
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

/// Which rows a pass reads.
enum Rows {
    /// Those that it claims; batches are numbered in the ledger from `first` on.
    Status { owner: Ownership, first: u64 },
    /// Those of stretches.
    Scan(Vec<Stretch>),
}

fn durable(conn: &mut dyn Connection, link: &LinkParams) -> Result<()> {
    let Some(gap) = conn.durability_gap()? else { return Ok(()) };
    Err(Error::new(
        Kind::Refused,
        format!("link {} may lose commits when its server crashes: {gap}", link.name),
    )
    .hint("Make it durable, or set allow_nondurable = true on the link."))
}

/// Describes both sides of a table and plans it.
pub fn describe_sides(
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
    task: &ssync_common::config::Task,
    table: &TableTask,
    links: (&LinkParams, &LinkParams),
) -> Result<plan::Planned> {
    let missing = |link: &str, name: &str, side: &str| {
        Error::new(Kind::Config, format!("{side} table {name} does not exist"))
            .detail(format!("link {link}"))
            .hint("Correct the name (case counts on some servers), or create the table.")
    };
    let s = source
        .describe(&table.source)?
        .ok_or_else(|| missing(&links.0.name, &table.source, "source"))?;
    let d = dest
        .describe(&table.dest)?
        .ok_or_else(|| missing(&links.1.name, &table.dest, "destination"))?;
    let sides = Sides {
        source: &s,
        source_dialect: source.dialect(),
        dest: &d,
        dest_dialect: dest.dialect(),
    };
    Ok(plan::plan(task, table, &sides))
}

/// Keeps the owner row alive from a thread and a connection of its own.
struct Lease {
    stop: Option<crossbeam_channel::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lease {
    fn start(link: &LinkParams, owner: Ownership) -> Result<Lease> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let link = link.clone();
        let thread = thread::Builder::new().name("lease".into()).spawn(move || {
            let mut conn: Option<Box<dyn Connection>> = None;
            let mut last = Instant::now();
            loop {
                let wait = RENEW_EVERY.saturating_sub(last.elapsed());
                match stopped.recv_timeout(wait) {
                    Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
                last = Instant::now();
                let renewed = match conn.take() {
                    Some(conn) => Ok(conn),
                    None => open(&link),
                }
                .and_then(|mut c| owner.renew(c.as_mut()).map(|()| c));
                match renewed {
                    Ok(c) => conn = Some(c),
                    Err(e) => log::warn!("could not renew the lease on {}: {e}", owner.table),
                }
            }
        })?;
        Ok(Lease { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
