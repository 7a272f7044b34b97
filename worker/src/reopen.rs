//! Setting rows back to be sent again, on an operator's word: bad rows after they were corrected,
//! and rows whose landing the destination has lost.

use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::{WriteMode, open};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Id, Pair};

use crate::journal::BatchRecord;
use crate::owner;
use crate::params::TaskParams;
use crate::plan::{self, Planned};
use crate::precedents::lost_entries;
use crate::recovery::move_all;
use crate::source::{Bound, Range, RowState, SourceTable};
use crate::table_run::describe_sides;

/// Rows set back in one statement.
const CHUNK_ROWS: u64 = 10_000;

/// Which rows.
pub enum Which<'a> {
    /// Every row in state 3.
    Failed,
    /// Rows of settled parts of batches that the destination's ledger no longer has. Gives runs,
    /// newest first, with the parts that were settled in them; asked only as far back as
    /// something may be lost.
    Lost(&'a mut dyn Iterator<Item = Result<(Id, Vec<BatchRecord>)>>),
}

/// Sets rows back to 0 at the source; how many. The caller holds the sub-task's lock.
pub fn reopen(params: &TaskParams, table: &TableTask, which: Which<'_>) -> Result<u64> {
    if table.mode != TableMode::Status {
        return Err(Error::new(
            Kind::Usage,
            format!("table {} is not in mode status: its rows carry no state", table.name),
        )
        .hint(
            "Correct the rows; a full run sends them by itself, an increment run once their \
             watermark moves.",
        ));
    }
    let mut source = open(&params.source)?;
    let mut dest = open(&params.dest)?;
    let links = (&params.source, &params.dest);
    let Planned { plan, findings } =
        describe_sides(source.as_mut(), dest.as_mut(), &params.task, table, links)?;
    plan::refuse(params.task.id, &table.name, &findings)?;
    let plan = plan.ok_or_else(|| Error::new(Kind::Internal, "no plan and no finding"))?;
    let rows = SourceTable {
        dialect: source.dialect(),
        name: table.source.clone(),
        order: plan.order.clone(),
        address: None,
        touched: plan.touched.clone(),
        filter: None,
        window: None,
        triggers: plan.source_triggers.clone(),
    };
    let owner =
        owner::take(source.as_mut(), &table.source, &plan.source_name, &plan.source_server)?;
    let result = match which {
        Which::Failed => {
            let mut moved = 0;
            let mut after = Bound::Open;
            loop {
                let keys =
                    rows.keys(source.as_mut(), RowState::Failed, &Range::above(after), CHUNK_ROWS)?;
                let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
                    break Ok(moved);
                };
                let range = Range::closed(first, last);
                let states = (RowState::Failed, RowState::ToSend);
                moved += move_all(source.as_mut(), &rows, &owner, &range, states, None)?;
                after = Bound::Excluding(last.clone());
            }
        }
        Which::Lost(runs) => {
            if table.write == WriteMode::Insert && !plan.dest.indexes.iter().any(|i| i.unique) {
                return Err(Error::new(
                    Kind::Refused,
                    format!("destination {} has no unique index", table.dest),
                )
                .hint(
                    "Rows that it still has would be doubled. Compare both sides, and set \
                     sync_status to 0 for the missing rows by hand.",
                ));
            }
            let pair = Pair::new(&owner.ident, &table.dest, &plan.dest.full_name);
            ledger::make_tables(dest.as_mut(), &pair.place)?;
            let record = ledger::record(dest.as_mut(), &pair)?;
            if let Some(record) = &record
                && ledger::has_lost_entries(dest.as_mut(), &pair, record)?
            {
                return Err(lost_entries(table, &pair));
            }
            let last = record.as_ref().and_then(|r| r.run.as_ref()).map(|run| run.run);
            let mut moved = 0;
            for known in runs {
                let (run, parts) = known?;
                let landed = ledger::entries(dest.as_mut(), &pair, ledger::Which::Run(&run))?;
                for part in parts.iter().filter(|p| !landed.iter().any(|e| e.pos == p.pos)) {
                    let range = Range::closed(&part.lo, &part.hi);
                    let states = (RowState::Done, RowState::ToSend);
                    moved += move_all(source.as_mut(), &rows, &owner, &range, states, None)?;
                }
                // The destination knows of this run, so that everything before it is there.
                if last == Some(run) || !landed.is_empty() {
                    break;
                }
            }
            // Entries that came back with the destination may name rows of claims that came after
            // them, whose versions have not landed: settled by them, those would never be sent.
            let mut after = Bound::Open;
            loop {
                let all = Range::above(after);
                let keys = rows.keys(source.as_mut(), RowState::UnderWay, &all, CHUNK_ROWS)?;
                let (Some(first), Some(last)) = (keys.first(), keys.last()) else { break };
                let range = Range::closed(first, last);
                moved += owner.guarded(source.as_mut(), |conn| {
                    rows.move_state(conn, &range, RowState::UnderWay, RowState::ToSend)
                })?;
                after = Bound::Excluding(last.clone());
            }
            // From here on the destination counts as it is.
            owner.accept(source.as_mut(), record.and_then(|r| r.ident))?;
            Ok(moved)
        }
    };
    owner.release(source.as_mut())?;
    result
}
