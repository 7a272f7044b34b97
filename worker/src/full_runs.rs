//! What `full` runs, which empty their destination, and runs of other modes into the same table owe
//! each other.
//!
//! - Never at the same time. A `full` run opens in its record, and then bars what runs of other modes
//!   have under way, before it empties anything. A run of another mode takes its fence, and then looks
//!   whether a `full` run is open. Whichever comes later sees the other.
//! - One after the other. A record remembers the `full` run that its runs have seen last. Where another
//!   one has filled the table since, rows that it sent may be in state 0 still, or above the mark:
//!   where a row that comes twice does no harm they are sent again, elsewhere the run is refused. What
//!   had landed and was not settled has been emptied away, and is sent again as well.

use serde::{Deserialize, Serialize};
use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::{Connection, split_table_name};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Fence, Filled, Id, OpenRun, Pair, Raise, Record};

use crate::identity::ADOPT;
use crate::params::TaskParams;
use crate::plan::Fingerprint;
use crate::source::{Range, RowState};
use crate::steps::shadow_name;
use crate::table_run::{Ends, TableRun};

/// The sub-task that fills a table anew, as the table's record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Filler {
    /// The random id of its installation.
    instance: String,
    task: u32,
    table: String,
}

/// A `full` run that is open, and bars runs of other modes into its destination.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    /// Its sub-task, task and table, where that was written down.
    pub sub_task: Option<(u32, String)>,
    /// Whether that is one of this installation.
    pub is_ours: bool,
    /// Whether that sub-task still fills the destination; `None`: not known here.
    pub is_configured: Option<bool>,
    /// The run.
    #[serde(skip)]
    run: Id,
}

impl Bar {
    /// What bars runs of other modes into a table, if anything does; `pair` is a record beside it.
    pub(crate) fn of(
        params: &TaskParams,
        dest: &mut dyn Connection,
        pair: &Pair,
        (name, full_name): (&str, &str),
    ) -> Result<Option<Bar>> {
        let Some(record) = ledger::record(dest, &pair.of_full(full_name))? else { return Ok(None) };
        let Some(run) = record.run.filter(|run| run.open).map(|run| run.run) else {
            return Ok(None);
        };
        let filler = record.filler.and_then(|f| serde_json::from_str::<Filler>(&f).ok());
        let Some(Filler { instance, task, table }) = filler else {
            return Ok(Some(Bar { sub_task: None, is_ours: false, is_configured: None, run }));
        };
        let is_ours = instance == params.instance;
        let is_configured =
            if is_ours { params.books.still_fills(task, &table, name)? } else { None };
        Ok(Some(Bar { sub_task: Some((task, table)), is_ours, is_configured, run }))
    }

    /// Whether an operator's word may end it: its sub-task is gone, and nobody resumes it.
    pub fn may_be_ended(&self) -> bool {
        self.is_ours && self.is_configured == Some(false)
    }

    /// Whose run it is, for people.
    pub fn whose(&self) -> String {
        let whose = if self.is_ours { "this" } else { "another" };
        match &self.sub_task {
            Some((task, table)) => format!("task {task}, table {table} of {whose} installation"),
            None => "a sub-task that is not known".to_owned(),
        }
    }

    /// What a run, or a decision, about a sub-task of another mode is refused with.
    pub(crate) fn error(&self, task: u32, table: &TableTask) -> Error {
        let (name, dest) = (&table.name, &table.dest);
        let error = Error::new(
            Kind::Refused,
            format!("a full run into {dest} is open: it is at work, or was broken off"),
        )
        .detail(format!("it is of {}", self.whose()))
        .detail("it has emptied the destination, or is about to exchange it");
        match &self.sub_task {
            _ if self.may_be_ended() => error
                .detail("that sub-task does not fill the table any more: nothing resumes the run")
                .hint(format!(
                    "See what it has left in {dest}, and then decide: ssync adopt {task} --tables \
                     {name} --as-is or --new ends it."
                )),
            Some((filler, filled)) if self.is_ours => error.hint(format!(
                "Let it come to its end: ssync --task {filler} --tables {filled}. A table that one \
                 sub-task fills anew cannot be filled by another one meanwhile."
            )),
            _ => error.hint(format!(
                "Let it come to its end there. Where that installation or sub-task is gone, fill the \
                 table once from here: with mode = \"full\", ssync --task {task} --tables {name} \
                 --restart takes it over; then go back to the former mode, and ssync adopt {task} \
                 --tables {name} --new."
            )),
        }
    }

    /// Ends it: whatever of it may still be under way lands nothing more, and it is no longer open.
    pub(crate) fn end(&self, dest: &mut dyn Connection, full: &Pair, tables: &str) -> Result<()> {
        ledger::raise_past_ghosts(dest, full, tables, &mut Raise::Bar)?;
        ledger::give_up_run(dest, full, &self.run)
    }
}

impl TableRun<'_> {
    /// What the record says of this sub-task, where it fills its destination anew.
    pub(crate) fn filler(&self) -> Result<Option<String>> {
        if self.table.mode != TableMode::Full {
            return Ok(None);
        }
        let filler = Filler {
            instance: self.params.instance.clone(),
            task: self.params.task.id,
            table: self.table.name.clone(),
        };
        serde_json::to_string(&filler)
            .map(Some)
            .map_err(|e| Error::new(Kind::Internal, format!("filler: {e}")))
    }

    /// Of two `full` sub-tasks into one table, each would empty the rows of the other. A sub-task
    /// whose source was corrected is the same; so is one of another home that fills in the same rows.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the record is another sub-task's that is not known to be gone.
    pub(crate) fn judge_filler(&self, print: &Fingerprint, record: Option<&Record>) -> Result<()> {
        let Some(record) = record.filter(|_| !self.restart) else { return Ok(()) };
        let (Some(known), Some(run), Some(mine)) = (&record.filler, &record.run, self.filler()?)
        else {
            return Ok(());
        };
        let differs = print.fills_otherwise(&run.plan);
        if *known == mine || differs.is_empty() {
            return Ok(());
        }
        let other: Filler = serde_json::from_str(known).map_err(|_| {
            Error::new(Kind::Refused, format!("an unknown sub-task fills {}", self.table.dest))
                .hint("A later version has written that down. --restart takes the table over.")
        })?;
        let ours = other.instance == self.params.instance;
        let dest = &self.table.dest;
        if ours && self.params.books.still_fills(other.task, &other.table, dest)? == Some(false) {
            return Ok(());
        }
        let whose = if ours { "this" } else { "another" };
        Err(Error::new(Kind::Refused, format!("another full sub-task fills {dest}"))
            .detail(format!("task {}, table {} of {whose} installation", other.task, other.table))
            .detail(format!("its rows, last from {}, would be deleted", record.tables))
            .detail(format!("its last run differs in {}", differs.join(", ")))
            .hint(
                "Give each full sub-task a destination of its own. Where the other one does not fill \
                 this table any more, --restart takes it over. So it does where the other one is this \
                 sub-task in another home, whose last run was before the source or the configuration \
                 was changed: apply the same configuration there.",
            ))
    }

    /// The `full` run that was begun last into this run's destination.
    fn full_run(&self, ends: &mut Ends, pair: &Pair) -> Result<Option<OpenRun>> {
        Ok(self.full_record(ends, pair)?.and_then(|record| record.run))
    }

    /// The record of the runs that fill this run's destination anew.
    fn full_record(&self, ends: &mut Ends, pair: &Pair) -> Result<Option<Record>> {
        ledger::record(ends.dest.as_mut(), &pair.of_full(&ends.plan.dest.full_name))
    }

    /// Before a run of another mode takes its fence: what it has to learn of the `full` run that has
    /// filled its destination since.
    ///
    /// # Errors
    /// [`Kind::Refused`] where a `full` run is open, or rows might land twice.
    pub(crate) fn judge_full(
        &mut self,
        ends: &mut Ends,
        pair: &Pair,
        record: Option<&Record>,
    ) -> Result<Option<Filled>> {
        if self.table.mode == TableMode::Full {
            return Ok(None);
        }
        let full = self.full_record(ends, pair)?;
        let Some((full, row_keys)) = full.and_then(|r| Some((r.run?, r.row_keys))) else {
            return Ok(None);
        };
        if full.open {
            return Err(self.is_being_filled(ends, pair));
        }
        if record.and_then(|record| record.full_run) == Some(full.run) {
            return Ok(None);
        }
        let known = Filled { run: full.run, forget: false, row_keys };
        if self.came_later(ends, pair, record)? {
            return Ok(Some(known));
        }
        let has_sent = |r: &Record| r.run.is_some() || r.mark.is_some();
        let first = !record.is_some_and(has_sent);
        if first && self.table.mode == TableMode::Increment {
            // Where it begins, it has been asked already.
            return Ok(Some(known));
        }
        if self.overlaps() {
            if !first {
                self.notes.push(format!(
                    "a full run has filled {} since: rows that had not been settled are sent again",
                    self.table.dest
                ));
            }
            return Ok(Some(Filled { forget: true, ..known }));
        }
        match self.sends_none_twice(ends, record)? {
            true => Ok(Some(known)),
            false => Err(self.was_filled()),
        }
    }

    /// Versions that did not write down which `full` run they saw: theirs came later than it where
    /// they have landed something since.
    fn came_later(&self, ends: &mut Ends, pair: &Pair, record: Option<&Record>) -> Result<bool> {
        if record.is_none_or(|record| record.dest.is_some()) {
            return Ok(false);
        }
        let full = pair.of_full(&ends.plan.dest.full_name);
        let mine = ledger::last_landed(ends.dest.as_mut(), pair)?;
        Ok(mine.is_some() && mine > ledger::last_landed(ends.dest.as_mut(), &full)?)
    }

    /// Whether nothing that the `full` run sent is there to land twice.
    fn sends_none_twice(&self, ends: &mut Ends, record: Option<&Record>) -> Result<bool> {
        if self.is_empty(ends)? {
            // An increment goes on by its mark, below which nothing would be left.
            return Ok(self.table.mode == TableMode::Status
                || self.restart
                || record.is_none_or(|r| r.mark.is_none()));
        }
        if self.table.mode != TableMode::Status {
            return Ok(false);
        }
        let rows = self.source_table(&ends.plan, ends.source.as_ref(), None);
        for state in [RowState::ToSend, RowState::UnderWay] {
            if !rows.keys(ends.source.as_mut(), state, &Range::all(), 1)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_being_filled(&self, ends: &mut Ends, pair: &Pair) -> Error {
        let names = (self.table.dest.as_str(), ends.plan.dest.full_name.as_str());
        match Bar::of(self.params, ends.dest.as_mut(), pair, names) {
            Ok(Some(bar)) => bar.error(self.params.task.id, self.table),
            Ok(None) => Error::new(
                Kind::Contention,
                format!("a full run has filled {} meanwhile", self.table.dest),
            ),
            Err(e) => e,
        }
    }

    fn was_filled(&self) -> Error {
        let status = self.table.mode == TableMode::Status;
        Error::new(
            Kind::Refused,
            format!("a full run has filled {} since this table was sent last", self.table.dest),
        )
        .detail(match status {
            true => "rows that it sent may be in state 0 or 1, and would land twice",
            false => "rows that it sent may be above the mark, and would land twice",
        })
        .hint(match status {
            true => format!(
                "Set sync_status = 2 for the rows that are there, and then ssync adopt --new. Or \
                 empty the destination, and set sync_status = 0 for all rows that are to be there. \
                 With write = \"upsert\", rows that come twice do no harm; {ADOPT}."
            ),
            false => format!(
                "Set initial to the value of the watermark up to which rows are there, and then \
                 ssync adopt --new. Or empty the destination, and run with --restart. With write = \
                 \"upsert\", rows that come twice do no harm; {ADOPT}."
            ),
        })
    }

    /// Once the fence is taken: no `full` run has begun meanwhile. One that begins from now on bars
    /// this run.
    ///
    /// # Errors
    /// [`Kind::Refused`] where one is open, [`Kind::Contention`] where one has come to its end.
    pub(crate) fn full_stands(
        &self,
        ends: &mut Ends,
        fence: &Fence,
        seen: Option<Id>,
    ) -> Result<()> {
        if self.table.mode == TableMode::Full {
            return Ok(());
        }
        failpoint::hit("run.before_full_looked_for", 1);
        match self.full_run(ends, &fence.pair)? {
            Some(full) if full.open => Err(self.is_being_filled(ends, &fence.pair)),
            full if full.as_ref().map(|full| full.run) == seen => Ok(()),
            _ => Err(Error::new(
                Kind::Contention,
                format!("a full run has filled {} meanwhile", self.table.dest),
            )),
        }
    }

    /// A table that was being loaded beside the destination when that had another name serves no
    /// run any more; only people can know that nobody else wants it.
    pub(crate) fn note_left_behind(&mut self, ends: &mut Ends, fence: &Fence) -> Result<()> {
        let Some(mine) = self.filler()? else { return Ok(()) };
        let loaded = shadow_name(&self.table.dest);
        let records = ledger::records(ends.dest.as_mut(), &fence.pair.place)?;
        for record in records.iter().filter(|r| r.filler.as_ref() == Some(&mine)) {
            let Some((_, dest)) = record.tables.rsplit_once(" -> ") else { continue };
            let shadow = shadow_name(dest);
            let is_another = !shadow.eq_ignore_ascii_case(&loaded)
                && split_table_name(&shadow).last() != split_table_name(&loaded).last();
            if is_another && ends.dest.describe(&shadow)?.is_some() {
                self.notes.push(format!(
                    "{shadow} is left behind: an earlier run was loading it when the destination was \
                     {dest}; nothing of ssync's needs it any more"
                ));
            }
        }
        Ok(())
    }

    /// The error of a run of another mode that was barred by a `full` run says so.
    pub(crate) fn with_full_run(&self, ends: &mut Ends, pair: &Pair, e: Error) -> Error {
        if e.kind != Kind::Fenced || self.table.mode == TableMode::Full {
            return e;
        }
        // For people: where it cannot be found out, the error is the same without.
        let seen = ledger::record(ends.dest.as_mut(), pair).map(|r| r.and_then(|r| r.full_run));
        match (self.full_run(ends, pair), seen) {
            (Ok(Some(full)), Ok(seen)) if full.open || seen != Some(full.run) => e
                .detail(format!("a full run into {} has begun meanwhile", self.table.dest))
                .hint("Rows that were under way have not landed. Run it again after the full run."),
            _ => e,
        }
    }

    /// Before a `full` run empties anything: nothing of other modes lands any more, and what they have
    /// landed is in the state of the source that is read.
    pub(crate) fn bar_others(&mut self, ends: &mut Ends, fence: &Fence) -> Result<()> {
        if self.table.mode != TableMode::Full {
            return Ok(());
        }
        failpoint::hit("run.before_bar", 1);
        if ledger::bar_others(ends.dest.as_mut(), fence)? {
            self.snapshots.end("rows that others may have sent to a destination that is emptied");
        }
        Ok(())
    }
}
