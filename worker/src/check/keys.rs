//! What ssync has written down at the destination, as far as the next run will need it: it must be
//! there, and none of the keys that open it may be retired.

use std::collections::BTreeMap;

use ssync_common::config::Task;
use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::Connection;
use ssync_common::connector::{LinkParams, open};
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Pair, Place, Seals, Which};

use super::{CheckParams, finding_of};
use crate::identity::{self, is_first};
use crate::owner;
use crate::params::source_identities;
use crate::plan::{Finding, Level, RowKeys, TablePlan, foreign_row_keys};
use crate::precedents;
use crate::table_run::describe_sides;

/// Opens what the next run will have to open. Changes nothing, and locks nothing.
///
/// # Errors
/// [`ssync_common::error::Kind::Refused`], naming the key, where it is not at hand.
pub(super) fn are_there(
    table: &TableTask,
    plan: &TablePlan,
    keys: &BTreeMap<String, KeyRing>,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
) -> Result<()> {
    let Some(pair) = pair(table, plan, source, dest)? else { return Ok(()) };
    let Some(record) = ledger::record(dest, &pair)? else { return Ok(()) };
    if precedents::entries_count(table, &record) && ledger::has_lost_entries(dest, &pair, &record)?
    {
        return Err(precedents::lost_entries(table, &pair));
    }
    let seals = Seals::new(Vec::new(), keys.clone())?;
    record.mark.as_ref().map(|mark| seals.open_mark(mark)).transpose()?;
    let open = record.run.filter(|run| run.open);
    let which = match (table.mode, &open) {
        (TableMode::Status, _) => Which::Unsettled,
        (_, Some(open)) => Which::Run(&open.run),
        (_, None) => return Ok(()),
    };
    seals.open_all(&ledger::entries(dest, &pair, which)?)?;
    if let Some((run, upto)) = open.as_ref().and_then(|run| Some((run.run, run.upto.as_ref()?))) {
        seals.open_upto(&run, upto)?;
    }
    Ok(())
}

/// Whether the next run begins an `increment` into rows of which nothing is known. Changes nothing.
pub(super) fn unknown_rows(
    params: &CheckParams<'_>,
    table: &TableTask,
    plan: &TablePlan,
    dest: &mut dyn Connection,
) -> Result<Option<Finding>> {
    if table.mode != TableMode::Increment || is_empty(dest, &table.dest)? {
        return Ok(None);
    }
    let place = Place::beside(&table.dest);
    let records = match dest.describe(place.fence())? {
        Some(fence) if ledger::is_of_now(&fence) => ledger::records(dest, &place)?,
        // A run brings records of former versions up to date, and may find its own among them.
        Some(_) => return Ok(None),
        None => Vec::new(),
    };
    let link = &params.task.source;
    let [now, other] =
        source_identities(params.source_failover, link, params.instance, &plan.source_server);
    let former = owner::former_increment_idents(link, &other, &plan.source_name);
    let now = owner::increment_ident(&now, &plan.source_name);
    let mut ids =
        [now].into_iter().chain(former).map(|ident| ledger::pair_id(&ident, &plan.dest.full_name));
    let known = ids.find_map(|id| records.iter().find(|record| record.id == id));
    if !is_first(table, known) {
        return Ok(None);
    }
    let finding = finding_of(&identity::unknown_rows(plan, link, &records));
    // A run moves a record that an older version kept elsewhere to its place, and finds it there.
    let default = Place::beside("");
    let elsewhere = default != place && ledger::stands_apart(dest, &default, &place)?;
    let level = if elsewhere { Level::Warning } else { Level::Error };
    Ok(Some(Finding { level, ..finding }))
}

/// The record of a table, where one can be read.
fn pair(
    table: &TableTask,
    plan: &TablePlan,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
) -> Result<Option<Pair>> {
    let ident = match table.mode {
        // Another key begins it anew.
        TableMode::Full => return Ok(None),
        TableMode::Increment => owner::increment_ident(&plan.source_server, &plan.source_name),
        TableMode::Status => match owner::ident(source, &table.source, &plan.source_name)? {
            Some(ident) => ident,
            None => return Ok(None),
        },
    };
    let pair = Pair::new(&ident, &table.dest, &plan.dest.full_name);
    // A run adds the columns that former versions' tables lack; until then nothing is read there.
    let fence = dest.describe(pair.place.fence())?;
    Ok(fence.is_some_and(|fence| ledger::is_of_now(&fence)).then_some(pair))
}

/// The keys by which rows that are at the destination are recognised, as far as that is known.
fn row_keys(dest: &mut dyn Connection, plan: &TablePlan, pair: &Pair) -> Result<Option<RowKeys>> {
    let record = ledger::record(dest, pair)?;
    let full = ledger::record(dest, &pair.of_full(&plan.dest.full_name))?;
    let seen = record.as_ref().and_then(|record| record.full_run);
    let text = match full.and_then(|full| Some((full.run?.run, full.row_keys))) {
        // The run sees it first.
        Some((run, row_keys)) if Some(run) != seen => row_keys,
        _ => record.and_then(|record| record.row_keys),
    };
    text.as_deref().map(RowKeys::read).transpose()
}

/// What the next run will refuse, since rows that are at the destination were sealed with other keys.
pub(super) fn foreign(
    table: &TableTask,
    plan: &TablePlan,
    keys: &BTreeMap<String, KeyRing>,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
) -> Result<Vec<Finding>> {
    let Some(pair) = pair(table, plan, source, dest)? else { return Ok(Vec::new()) };
    let Some(known) = row_keys(dest, plan, &pair)? else { return Ok(Vec::new()) };
    let found = foreign_row_keys(plan, keys, &known);
    match found.is_empty() || is_empty(dest, &table.dest)? {
        true => Ok(Vec::new()),
        false => Ok(found),
    }
}

/// Whether a key is not among `keys` that rows at the destination are recognised by.
fn retired(
    task: u32,
    plan: &TablePlan,
    keys: &BTreeMap<String, KeyRing>,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
) -> Result<Option<Error>> {
    let Some(pair) = pair(&plan.task, plan, source, dest)? else { return Ok(None) };
    let Some(known) = row_keys(dest, plan, &pair)? else { return Ok(None) };
    let found = foreign_row_keys(plan, keys, &known);
    let is_missing = known.missing(keys).next().is_some();
    if !is_missing || found.is_empty() || is_empty(dest, &plan.task.dest)? {
        return Ok(None);
    }
    Ok(crate::plan::refuse(task, &plan.task.name, &found).err())
}

fn is_empty(dest: &mut dyn Connection, table: &str) -> Result<bool> {
    let d = dest.dialect();
    let sql = d.limit(&format!("SELECT 1 FROM {}", d.table(table)), 1);
    Ok(dest.query(&sql, &[])?.is_empty())
}

/// Looks whether what is written down of a table, as it is configured, needs a key that is not among
/// `keys`; says which one.
///
/// # Errors
/// Where that cannot be told.
pub fn needs_another_key(
    links: (&LinkParams, &LinkParams),
    task: &Task,
    table: &TableTask,
    keys: &BTreeMap<String, KeyRing>,
) -> Result<Option<Error>> {
    if table.mode == TableMode::Full {
        return Ok(None);
    }
    let (mut source, mut dest) = (open(links.0)?, open(links.1)?);
    let planned = describe_sides(source.as_mut(), dest.as_mut(), task, table, links)?;
    crate::plan::refuse(task.id, &table.name, &planned.findings)?;
    let plan = planned.plan.ok_or_else(|| Error::new(Kind::Internal, "no plan and no finding"))?;
    match are_there(table, &plan, keys, source.as_mut(), dest.as_mut()) {
        Err(e) if e.kind == Kind::Refused => Ok(Some(e)),
        Err(e) => Err(e),
        Ok(()) => retired(task.id, &plan, keys, source.as_mut(), dest.as_mut()),
    }
}
