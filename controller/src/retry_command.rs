//! `ssync retry`: sends bad rows, or rows that the destination has lost, again.

use std::collections::BTreeSet;
use std::mem::take;

use crate::output::errln;
use ssync_common::config::{Config, TableMode, TableTask, Task, TaskRef};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::Id;
use ssync_common::process::RunId;
use ssync_common::store::{self, ErrorFilter, RowState, RunFilter, Store};
use ssync_common::value::hex_bytes;
use ssync_worker::journal::{BatchRecord, LastSettled};
use ssync_worker::lost::{Memory, Restored, Settled, restore};
use ssync_worker::params::TaskParams;
use ssync_worker::reopen::{Reopened, reopen, without_states};

use crate::books::bad_rows;
use crate::books::mirror::Mirror;
use crate::books::settled::last_settled;
use crate::terminal::grouped;
use crate::transfer;

/// Sets the rows back to be sent; the parameters to send them with, or nothing where all that they are
/// to go by is held. Rows that a destination has lost are set back all the same: what the loss has
/// suspended runs again only after that.
///
/// # Errors
/// [`Kind::Balance`] where rows that a destination has lost may be known in other homes only: the
/// rows that are known here are set back, and nothing is sent.
pub fn prepare(
    store: &mut Store,
    config: &Config,
    which: &TaskRef,
    tables: &[String],
    lost: bool,
) -> Result<Option<TaskParams>> {
    let mut chosen = transfer::choose(config, which, tables)?;
    let task = chosen.id;
    leave_out_stateless(&mut chosen, !tables.is_empty())?;
    let holds = store.holds(Some(task))?;
    if !lost {
        transfer::leave_out_held(&holds, &mut chosen)?;
    }
    let mut params = transfer::params(store, config, chosen.clone())?;
    let mut total = 0;
    let mut alarm: Option<Error> = None;
    for table in &chosen.tables {
        let lock = params.books.lock(&chosen, table)?;
        let set_back = match lost {
            true => send_lost(store, &params, table),
            false => send_bad(store, &params, table),
        };
        lock.release()?;
        let Restored { rows, between, unknown, .. } = set_back?;
        errln!("{}: {} rows set back to be sent", table.name, grouped(rows));
        if between > 0 {
            errln!(
                "{}: {} of these were not in the missing batches, but lie between their keys in \
                 state 2",
                table.name,
                grouped(between)
            );
        }
        total += rows;
        if let Some(unknown) = unknown {
            let error = unknown.error(&table.name, rows);
            alarm = Some(match alarm {
                None => error,
                Some(first) => error
                    .details
                    .into_iter()
                    .fold(first.detail(error.message), |all, d| all.detail(d)),
            });
        }
    }
    log::info!("retry of task {task}: {total} rows");
    if let Some(alarm) = alarm {
        return Err(alarm);
    }
    transfer::leave_waiting(&holds, &mut params.task);
    Ok((!params.task.tables.is_empty()).then_some(params))
}

/// Leaves out tables whose rows carry no state, before anything is set back. Fails where they were
/// asked for by name, or nothing else is there.
fn leave_out_stateless(task: &mut Task, are_named: bool) -> Result<()> {
    let (with, without): (Vec<_>, Vec<_>) =
        take(&mut task.tables).into_iter().partition(|t| t.mode == TableMode::Status);
    if let Some(first) = without.first()
        && (are_named || with.is_empty())
    {
        return Err(without_states(first));
    }
    for table in without {
        errln!("{} is left out: it is not in mode status, its rows carry no state", table.name);
    }
    task.tables = with;
    Ok(())
}

fn send_bad(store: &mut Store, params: &TaskParams, table: &TableTask) -> Result<Restored> {
    let (task, name) = (params.task.id, &table.name);
    let mut withdrawn = 0;
    let Reopened { rows, excluded } = reopen(params, table, |look| {
        let open = ErrorFilter {
            task: Some(task),
            tables: vec![name.clone()],
            states: RowState::open(),
            ..ErrorFilter::default()
        };
        let rows = store.errors(&open)?;
        let judged =
            bad_rows::judge(rows, look, &mut |at| store.sent_since(task, name, at).map(Some))?;
        withdrawn = judged.iter().filter(|row| row.state == RowState::Withdrawn).count();
        store.judge(&judged)
    })?;
    if excluded > 0 {
        errln!(
            "{name}: {} bad {} left as {}, since where excludes {}: no run would send {}",
            grouped(excluded),
            if excluded == 1 { "row is" } else { "rows are" },
            if excluded == 1 { "it is" } else { "they are" },
            if excluded == 1 { "it" } else { "them" },
            if excluded == 1 { "it" } else { "them" }
        );
    }
    if withdrawn > 0 {
        errln!(
            "{name}: {withdrawn} bad {} not sent again, gone from the source or set to another \
             state: see ssync errors --all",
            if withdrawn == 1 { "row is" } else { "rows are" }
        );
    }
    Ok(Restored { rows, ..Restored::default() })
}

fn send_lost(store: &mut Store, params: &TaskParams, table: &TableTask) -> Result<Restored> {
    let (task, name) = (params.task.id, &table.name);
    let restored = restore(params, table, &mut Remembered { store, task, table: name })?;
    if restored.may_forget {
        store.forget_settled(task, name)?;
        Mirror::of(&params.home, store.instance_id(), task, name).write(None);
    }
    Ok(restored)
}

/// What the configuration database remembers of a sub-task.
struct Remembered<'a> {
    store: &'a mut Store,
    task: u32,
    table: &'a str,
}

impl Memory for Remembered<'_> {
    fn last_settled(&mut self) -> Result<Option<LastSettled>> {
        self.store.last_settled(self.task, self.table)?.map(last_settled).transpose()
    }

    fn counters(&mut self, source: &Id, first: i64, last: i64) -> Result<BTreeSet<i64>> {
        self.store.counters(&hex_bytes::encode(source), first, last)
    }

    fn settled_since(&mut self, source: &Id, counter: i64) -> Result<Vec<Settled>> {
        let batches = self.store.settled_since(&hex_bytes::encode(source), counter)?;
        batches.into_iter().filter_map(|batch| settled(batch).transpose()).collect()
    }

    fn began_before(&mut self, run: &Id, other: &Id) -> Result<bool> {
        let mut began = |id: &Id| Ok::<_, Error>(self.store.run(RunId(*id))?.map(|run| run.begin));
        Ok(began(run)?.zip(began(other)?).is_some_and(|(run, other)| run < other))
    }

    fn runs(&mut self) -> Result<Vec<Id>> {
        let filter = RunFilter {
            task: Some(self.task),
            tables: vec![self.table.to_owned()],
            ..RunFilter::default()
        };
        Ok(self.store.runs(&filter)?.into_iter().map(|run| run.id.0).collect())
    }

    fn uncounted(&mut self, run: &Id) -> Result<Vec<BatchRecord>> {
        let batches = self.store.batches(RunId(*run))?.into_iter();
        Ok(batches.filter(|batch| batch.tenure.is_none()).filter_map(part).collect())
    }
}

/// A batch as it was settled; those of former versions say less.
fn settled(batch: store::BatchRecord) -> Result<Option<Settled>> {
    let (run, tenure) = (batch.run.0, batch.tenure.clone());
    let (Some(tenure), Some(part)) = (tenure, part(batch)) else { return Ok(None) };
    let record = hex_bytes::decode(&tenure.record).and_then(|b| Id::try_from(b).ok());
    let record =
        record.ok_or_else(|| Error::new(Kind::Config, "T_BATCH: a record_id is damaged"))?;
    Ok(Some(Settled { run, record, counter: tenure.counter, part }))
}

/// The settled part of a batch.
fn part(batch: store::BatchRecord) -> Option<BatchRecord> {
    Some(BatchRecord {
        number: batch.number,
        pos: batch.part?,
        rows: batch.rows,
        lo: batch.low,
        hi: batch.high,
    })
}
