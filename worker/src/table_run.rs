//! One table from lock to unlock: the order of things that makes a run exact.
//!
//! ```text
//! lock → connect → plan → own the source → raise the fence → recover → open or resume the run
//!      → before → empty → rows → balance → swap → after → close the run → release
//! ```
//!
//! A failure that may pass (a lost connection, a deadlock) starts the same sequence again after a
//! pause; there is no other road back. Nothing here moves rows: see [`crate::pass`].

use std::sync::Arc;

use ssync_common::config::{FullMethod, TableMode, TableTask};
use ssync_common::connector::{Connection, LinkParams, LockWait, WriteMode};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Entry, Fence, Finish, Id, KeptKey, OpenRun, Raise, Step};
use ssync_common::logging::set_context;
use ssync_common::process::identity::RunId;
use ssync_common::value::{Value, hex_bytes};

use crate::advice;
use crate::control::Control;
use crate::counts::Counts;
use crate::idle::{Borrowed, Connections};
use crate::journal::{BadRow, Journal, Moment};
use crate::lease::Lease;
use crate::needs;
use crate::owner::{self, Ownership};
use crate::pace::Pace;
use crate::params::TaskParams;
use crate::plan::{self, Circumstances, Fingerprint, Sides, TablePlan};
use crate::progress::{Phase, Progress, Waiting};
use crate::recovery::Recovery;
use crate::snapshot::Snapshots;
use crate::source::{self, RowState, SourceTable, Window};
use crate::steps::{Steps, When};
use crate::trigger_trial::states_are_kept;

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
    /// The one state of the source that `full` tables are read from.
    pub snapshots: &'a Snapshots,
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
    /// Rows that this process has landed of it in tries before this one.
    pub landed_before: u64,
    /// Notes for people.
    pub notes: Vec<String>,
    /// Id of the run, once it has one.
    pub run: Option<Id>,
    /// Whether that run had been begun by another process, or in a try before this one.
    pub resumed: bool,
    /// Whether a new run is to begin even where one could be resumed; no more once it has begun.
    pub restart: bool,
    /// Whether both ends were reached.
    pub connected: bool,
    /// Whether all rows of the run are read from one state of the source.
    pub reads_one_state: bool,
    /// The part of the watermark that was read, once it was.
    pub window: Option<Window>,
    /// Stretches of rows to be sent of which none could be claimed, though nobody held them.
    pub claimed_nothing: u64,
    /// Of rows that wait for a parent at the end: which, and for which, for people.
    pub orphans: Vec<String>,
    /// Some of the rows of the last pass whose parents were missing.
    pub missed: Vec<BadRow>,
}

/// Both ends, open and described.
pub(crate) struct Ends {
    pub(crate) source: Borrowed,
    pub(crate) dest: Borrowed,
    pub(crate) plan: TablePlan,
    /// Nothing may be sent, since a key that identifies rows was replaced.
    pub(crate) rotated: Result<()>,
}

impl TableRun<'_> {
    /// Runs the table once.
    pub fn attempt(&mut self) -> Result<()> {
        let done = self.attempted();
        done.map_err(|e| advice::about(e, self.params.task.id, &self.table.name))
    }

    fn attempted(&mut self) -> Result<()> {
        self.progress.phase(Phase::Connecting);
        let mut ends = self.connect()?;
        self.connected = true;
        self.mind_the_snapshot(&ends.plan)?;
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
        let rotated = match &planned.plan {
            Some(plan) => plan::rotated_keys(plan, &self.params.keys),
            None => Vec::new(),
        };
        let rotated = plan::refuse(self.params.task.id, &self.table.name, &rotated);
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
        Ok(Ends { source, dest, plan, rotated })
    }

    fn own(&mut self, ends: &mut Ends) -> Result<Option<Ownership>> {
        if !needs::owns_source(self.table) {
            return Ok(None);
        }
        let owner = owner::take(
            ends.source.as_mut(),
            &self.table.source,
            &ends.plan.source_name,
            &ends.plan.source_server,
        )?;
        if let Some(dead) = &owner.taken_over_from {
            self.notes.push(format!("taken over from {dead}, which has died"));
        }
        Ok(Some(owner))
    }

    fn owned(&mut self, ends: &mut Ends, owner: Option<&Ownership>) -> Result<()> {
        self.progress.phase(Phase::Locking);
        self.progress.wait(Waiting::Fence);
        ends.dest.set_lock_wait(LockWait::Patient)?;
        let pair = self.pair(ends, owner)?;
        let mut fence = self.take_fence(ends, owner, &pair)?;
        self.progress.wait(Waiting::Nothing);
        failpoint::hit("run.after_fence", 1);
        let mut unsettled = Vec::new();
        if self.table.mode == TableMode::Status {
            let dest = ends.dest.as_mut();
            unsettled = ledger::entries(dest, &fence.pair, ledger::Which::Unsettled)?;
            // Not even tidying up may be done by another key, or to rows that are gone.
            self.same_key(ends, &fence, &unsettled)?;
            self.judge_landed(ends, &fence, &unsettled)?;
        }
        let result = self.fenced(ends, owner, &mut fence, &unsettled);
        let result = result.map_err(|e| self.with_full_run(ends, &pair, e));
        if let (Err(e), Some(owner)) = (&result, owner)
            && self.table.mode == TableMode::Status
            && self.tidies_after(e)
        {
            self.progress.phase(Phase::Recovering);
            if let Err(e) = self.tidy(ends, owner, &fence) {
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

    fn tidy(&mut self, ends: &Ends, owner: &Ownership, fence: &Fence) -> Result<()> {
        let mut source = self.connections.take(&self.params.source)?;
        let mut dest = self.connections.take(&self.params.dest)?;
        let mut again = Raise::Again(fence.epoch);
        let tables = self.tables();
        let fence = ledger::raise_past_ghosts(dest.as_mut(), &fence.pair, &tables, &mut again)?;
        // Some may have landed, or been settled, since the run began.
        let unsettled = ledger::entries(dest.as_mut(), &fence.pair, ledger::Which::Unsettled)?;
        let recovery = Recovery {
            table: &self.source_table(&ends.plan, source.as_ref(), None),
            owner,
            fence: &fence,
            seals: &self.seals(&ends.plan)?,
            journal: self.journal.as_ref(),
        };
        let found = recovery.run(source.as_mut(), dest.as_mut(), &unsettled)?;
        self.counts.settled += found.settled;
        self.counts.changed += found.changed;
        self.counts.released += found.released;
        // Whatever was locked before is free now.
        (self.counts.held, self.counts.left) = (0, 0);
        Ok(())
    }

    fn fenced(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &mut Fence,
        unsettled: &[Entry<KeptKey>],
    ) -> Result<()> {
        let status = self.table.mode == TableMode::Status;
        if let (true, Some(owner)) = (status, owner) {
            self.progress.phase(Phase::Recovering);
            let recovery = Recovery {
                table: &self.source_table(&ends.plan, ends.source.as_ref(), None),
                owner,
                fence,
                seals: &self.seals(&ends.plan)?,
                journal: self.journal.as_ref(),
            };
            let found = recovery.run(ends.source.as_mut(), ends.dest.as_mut(), unsettled)?;
            if found.anything() {
                self.counts.recovered += found.settled + found.changed;
                self.counts.reopened += found.released;
                log::info!("{}: recovered {found:?}", self.table.name);
            }
        }
        let rotated = ends.rotated.clone();
        if let Err(e) = rotated.and_then(|()| self.judge_row_keys(ends, fence)) {
            // What had landed is settled by now, or is kept by the key of now: the old one may go.
            self.keep_again(ends, fence)?;
            return Err(e);
        }
        // Hidden ones are found by the moves themselves; looking for rows to try may take a scan.
        if status && !ends.plan.source_triggers.names.is_empty() {
            self.states_are_kept(ends)?;
        }
        failpoint::hit("run.after_recover", 1);
        let before = fence.run.clone();
        let ended = before.as_ref().filter(|run| !run.open).map(|run| run.run);
        let former = fence.row_keys.replace(self.row_keys(ends)?);
        let run = self.open_run(ends, fence, former.as_deref())?;
        self.run = Some(run.run);
        self.resumed = before.is_some_and(|before| before.run == run.run);
        self.bar_others(ends, fence)?;
        set_context("run", hex_bytes::encode(&run.run));
        self.progress.run(RunId(run.run));
        self.journal.begin_run(&run.run, &run.plan, ended.as_ref())?;
        if status {
            self.judge_bad_rows(ends, Moment::Before)?;
        }
        self.steps(ends, owner, fence, run.run, |steps, table| {
            steps.run_sql(When::Before, &table.before)
        })?;
        self.progress.phase(Phase::Transferring);
        let dest = ends.plan.dest.clone();
        let full = self.table.mode == TableMode::Full;
        let swaps = full && self.table.full == FullMethod::Swap;
        // Once a `full` run's rows were there and counted, SQL may have done anything with them.
        let complete = full
            && (self.is_done(ends, fence, run.run, Step::Complete)?
                || swaps && self.steps(ends, owner, fence, run.run, |s, _| s.swapped(&dest))?);
        if status {
            self.passes(ends, owner, fence, &run)?;
            if self.counts.landed == 0 && self.counts.withdrawn + self.claimed_nothing > 0 {
                self.states_are_kept(ends)?;
            }
        } else if !complete {
            self.still_there(ends, owner, fence, run.run)?;
            // Whoever cannot read must not empty.
            source::try_filter(self.table, ends.source.as_mut())?;
            self.make_room(ends, owner, fence, run.run)?;
            self.scan(ends, fence, &run)?;
        } else {
            self.counts.resumed = self.landed_rows(ends, fence, &run.run)?;
            self.journal.resumed(&run.run, self.counts.resumed)?;
        }
        failpoint::hit("run.after_rows", 1);
        self.counts.balance(status)?;
        if full && !complete {
            self.count_landed(ends, fence, run.run)?;
            self.done(ends, owner, fence, run.run, Step::Complete)?;
        }
        self.judge_bad_rows(ends, if status { Moment::After } else { Moment::Read })?;
        if swaps {
            self.steps(ends, owner, fence, run.run, |steps, _| steps.swap(&dest))?;
        }
        if complete {
            self.stays_filled(ends)?;
        }
        self.progress.phase(Phase::After);
        self.steps(ends, owner, fence, run.run, |steps, table| {
            steps.run_sql(When::After, &table.after)
        })?;
        let keep = self.journal.last_settled()?.map(|last| last.run);
        let mark = self.next_mark(fence, &run, &self.seals(&ends.plan)?)?;
        let landed = match self.table.mode {
            TableMode::Increment => self.landed_rows(ends, fence, &run.run)? as i64,
            TableMode::Status | TableMode::Full => 0,
        } + fence.landed.unwrap_or(0);
        let finish = Finish { mark: mark.as_ref(), landed: Some(landed), keep: keep.as_ref() };
        self.journal.about_to_finish(&run.run, self.landed_before + self.counts.landed)?;
        failpoint::hit("run.before_finish", 1);
        ledger::finish_run(ends.dest.as_mut(), fence, &run.run, &finish)?;
        failpoint::hit("run.after_finish", 1);
        Ok(())
    }

    /// Refuses a source whose rows to be sent do not stay in the state that they are set to.
    fn states_are_kept(&self, ends: &mut Ends) -> Result<()> {
        let table = self.source_table(&ends.plan, ends.source.as_ref(), None);
        states_are_kept(ends.source.as_mut(), &table, &[RowState::ToSend])
    }

    /// `row_keys` are those that the record knows.
    fn open_run(
        &mut self,
        ends: &mut Ends,
        fence: &mut Fence,
        row_keys: Option<&str>,
    ) -> Result<OpenRun> {
        if self.table.mode == TableMode::Increment {
            if fence.mark.is_none() && !self.restart && !self.is_from_start(ends, fence)? {
                fence.mark = self.initial_mark(ends)?;
            }
            self.judge_emptied(ends, fence)?;
        }
        if self.table.mode != TableMode::Full && self.was_emptied(ends, false)? {
            ledger::note_emptied(ends.dest.as_mut(), &fence.pair)?;
        }
        let print = self.fingerprint(ends)?;
        let plan = print.text().to_owned();
        let open = fence.run.as_ref().filter(|run| run.open);
        let restart = self.restart || self.begins_anew(ends, fence)?;
        let changed = open.map_or_else(Vec::new, |open| print.changed_since(&open.plan));
        if let Some(open) = open
            && changed.is_empty()
            && !restart
            && (!ends.plan.key.is_empty() || self.table.mode == TableMode::Status)
        {
            self.notes.push("resumed a run that had not come to its end".to_owned());
            if open.plan == plan && row_keys == fence.row_keys.as_deref() {
                return Ok(open.clone());
            }
            // Begun by a former version, or on another server of the same cluster.
            let run = OpenRun { plan, ..open.clone() };
            ledger::begin_run(ends.dest.as_mut(), fence, &run, false)?;
            return Ok(run);
        }
        if let (Some(open), TableMode::Status, false) = (open, self.table.mode, restart) {
            // What has landed is done for good and is not sent again: the SQL that prepared its
            // place must not be repeated, the SQL that is to deal with it must still come.
            let run = OpenRun { plan, ..open.clone() };
            ledger::begin_run(ends.dest.as_mut(), fence, &run, false)?;
            self.notes.push(format!(
                "resumed a run that had been begun under another configuration ({}): SQL that had \
                 been run is not repeated",
                changed.join(", ")
            ));
            return Ok(run);
        }
        if let (Some(open), TableMode::Increment) = (open, self.table.mode)
            && let Some(run) = self.carried_on(ends, fence, open, &print, restart)?
        {
            return Ok(run);
        }
        self.judge_mark(ends, fence)?;
        let upto = match (self.table.mode, &self.table.watermark) {
            (TableMode::Increment, Some(mark)) => {
                let table = self.source_table(&ends.plan, ends.source.as_ref(), None);
                let newest = table.newest_mark(ends.source.as_mut())?;
                self.note_older(ends, fence, newest.as_ref())?;
                crate::mark::upper(newest, mark.lag, self.overlaps())?
            }
            _ => None,
        };
        let run = RunId::random()?.0;
        let seals = self.seals(&ends.plan)?;
        let upto = upto.map(|upto| seals.seal_upto(&run, &upto)).transpose()?;
        let run = OpenRun { run, open: true, plan, upto };
        let forget = self.table.mode != TableMode::Status;
        ledger::begin_run(ends.dest.as_mut(), fence, &run, forget)?;
        if !changed.is_empty() && !self.restart {
            self.notes.push(format!(
                "began anew: since the run that had not come to its end was begun, {} changed",
                changed.join(", ")
            ));
        }
        self.restart = false;
        failpoint::hit("run.after_begin", 1);
        Ok(run)
    }

    /// Whether the `increment` that is open was begun from the first row: on an operator's word it
    /// may have been, whatever `initial` says.
    fn is_from_start(&self, ends: &mut Ends, fence: &Fence) -> Result<bool> {
        let Some(open) = fence.run.as_ref().filter(|run| run.open) else { return Ok(false) };
        ledger::step_done(ends.dest.as_mut(), &fence.pair, &open.run, Step::FromStart)
    }

    /// A `full` run whose entries are lost: what is at the destination is filled anew.
    fn begins_anew(&mut self, ends: &mut Ends, fence: &Fence) -> Result<bool> {
        if self.table.mode != TableMode::Full || fence.run.as_ref().is_none_or(|run| !run.open) {
            return Ok(false);
        }
        let dest = ends.dest.as_mut();
        let lost = match ledger::record(dest, &fence.pair)? {
            Some(record) => ledger::has_lost_entries(dest, &fence.pair, &record)?,
            None => false,
        };
        if lost {
            self.notes.push("began anew: the ledger had lost what had landed".to_owned());
        }
        Ok(lost)
    }

    /// An `increment` run that was broken off under another configuration, or is to be begun
    /// anew: where a row that lands twice does harm, what has landed of its interval stays landed,
    /// and the run comes to its end under the configuration of now.
    fn carried_on(
        &mut self,
        ends: &mut Ends,
        fence: &Fence,
        open: &OpenRun,
        print: &Fingerprint,
        restart: bool,
    ) -> Result<Option<OpenRun>> {
        let changed = print.changed_since(&open.plan);
        let which = ledger::Which::Run(&open.run);
        if self.overlaps() || ledger::entries(ends.dest.as_mut(), &fence.pair, which)?.is_empty() {
            return Ok(None);
        }
        // Nothing is there that would land twice.
        if restart && self.was_emptied(ends, fence.emptied)? {
            return Ok(None);
        }
        if print.is_of_another_source(&open.plan) {
            return Err(Error::new(
                Kind::Refused,
                "an increment run that was broken off has landed rows of another source",
            )
            .detail(format!("changed since it was begun: {}", changed.join(", ")))
            .hint(
                "Let it come to its end with the source it was begun with. Where the address of \
                 the source may lead to any server of one cluster, say failover = true on its link.",
            ));
        }
        if restart || !plan::walks_alike(&open.plan, print.text()) {
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
        let run = OpenRun { plan: print.text().to_owned(), ..open.clone() };
        ledger::begin_run(ends.dest.as_mut(), fence, &run, false)?;
        self.notes.push(format!(
            "resumed a run that had been begun under another configuration ({}): rows that had \
             landed stay as they are",
            changed.join(", ")
        ));
        Ok(Some(run))
    }

    /// By what the run is known again.
    pub(crate) fn fingerprint(&self, ends: &Ends) -> Result<Fingerprint> {
        let circumstances = Circumstances {
            keys: &self.params.keys,
            source_failover: self.params.source_failover,
            dest_failover: self.params.dest_failover,
        };
        Fingerprint::new(&ends.plan, circumstances)
    }

    /// A source whose newest row lies below the mark may have been restored to an older state.
    fn note_older(&mut self, ends: &Ends, fence: &Fence, newest: Option<&Value>) -> Result<()> {
        let Some(mark) = &fence.mark else { return Ok(()) };
        let mark = self.seals(&ends.plan)?.open_mark(mark)?;
        if newest.is_some_and(|newest| crate::mark::is_later(&mark.value, newest)) {
            self.notes.push(
                "the newest row of the source is older than what has been sent: its newest rows \
                 were deleted, or it was restored to an older state; rows that come below the mark \
                 are not sent"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Whether `increment` reads the last stretch again, so that late commits are found: only
    /// where a row that comes twice does no harm.
    pub(crate) fn overlaps(&self) -> bool {
        self.table.write != WriteMode::Insert
    }

    pub(crate) fn steps<T>(
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
            control: self.control,
            sub_task: (self.params.task.id, &self.table.name),
        };
        work(&mut steps, self.table)
    }

    /// Whether a step of the run is done.
    pub(crate) fn is_done(
        &self,
        ends: &mut Ends,
        fence: &Fence,
        run: Id,
        step: Step,
    ) -> Result<bool> {
        ledger::step_done(ends.dest.as_mut(), &fence.pair, &run, step)
    }

    /// Records that a step without a statement of its own is done.
    pub(crate) fn done(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &Fence,
        run: Id,
        step: Step,
    ) -> Result<()> {
        self.steps(ends, owner, fence, run, |steps, _| steps.done(step))
    }

    /// What the source shows of the rows that were bad. Those that are neither done nor gone wait for a
    /// person, a parent or a lock, or are not for this run.
    fn judge_bad_rows(&mut self, ends: &mut Ends, moment: Moment) -> Result<()> {
        let mut rows = self.source_table(&ends.plan, ends.source.as_ref(), self.window.clone());
        rows.order.clone_from(&ends.plan.key);
        if moment != Moment::Read {
            rows.filter = None;
        }
        let source = ends.source.as_mut();
        self.journal.judge_bad_rows(moment, &mut |columns, keys, sought| {
            rows.look(source, columns, keys, &sought)
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
        self.note_left_behind(ends, fence)?;
        let table = ends.plan.dest.clone();
        self.steps(ends, owner, fence, run, |steps, task| match task.full {
            FullMethod::Truncate => steps.empty(&table),
            FullMethod::Swap => steps.make_shadow(&table),
        })
    }

    /// The pair's name for people.
    pub(crate) fn tables(&self) -> String {
        format!("{} -> {}", self.table.source, self.table.dest)
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
            triggers: plan.source_triggers.clone(),
        }
    }
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
