//! What ssync has written down at the destination, as far as the next run will need it: it must be
//! there, and none of the keys that open it may be retired.

use std::collections::BTreeMap;

use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::Connection;
use ssync_common::crypto::KeyRing;
use ssync_common::error::Result;
use ssync_common::ledger::{self, Pair, Which};
use ssync_writer::transform::seals;

use crate::owner;
use crate::plan::TablePlan;
use crate::precedents;

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
    let ident = match table.mode {
        // Another key begins it anew.
        TableMode::Full => return Ok(()),
        TableMode::Increment => owner::increment_ident(&plan.source_server, &plan.source_name),
        TableMode::Status => match owner::ident(source, &table.source, &plan.source_name)? {
            Some(ident) => ident,
            None => return Ok(()),
        },
    };
    let pair = Pair::new(&ident, &table.dest, &plan.dest.full_name);
    // Former versions' tables lack columns, and have nothing sealed.
    let fence = dest.describe(pair.place.fence())?;
    if fence.is_none_or(|fence| fence.column("begun").is_none()) {
        return Ok(());
    }
    let Some(record) = ledger::record(dest, &pair)? else { return Ok(()) };
    if precedents::entries_count(table, &record) && ledger::has_lost_entries(dest, &pair, &record)?
    {
        return Err(precedents::lost_entries(table, &pair));
    }
    let seals = seals(&plan.places(&plan.order), &plan.transforms, keys.clone())?;
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
