//! Setting bad rows back to be sent again, on an operator's word, after they were corrected. Rows
//! whose landing the destination has lost: see [`crate::lost`].

use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::{Connection, open};
use ssync_common::error::{Error, Kind, Result};

use crate::journal::Look;
use crate::owner::{self, Ownership};
use crate::params::TaskParams;
use crate::plan::{self, Planned, TablePlan};
use crate::recovery::move_all;
use crate::source::{Bound, Range, RowState, SourceTable};
use crate::table_run::describe_sides;

/// Rows set back in one statement.
pub(crate) const CHUNK_ROWS: u64 = 10_000;

/// Both sides of a table whose rows are set back.
pub(crate) struct Sides {
    pub(crate) plan: TablePlan,
    pub(crate) source: Box<dyn Connection>,
    pub(crate) dest: Box<dyn Connection>,
    pub(crate) rows: SourceTable,
}

/// What became of bad rows that were to be set back.
pub struct Reopened {
    /// Rows that were.
    pub rows: u64,
    /// Rows that stay as they are, since `where` excludes them: no run would send them.
    pub excluded: u64,
}

/// Sets bad rows back to 0 at the source. Then `judge` may look what became of recorded ones. The caller
/// holds the sub-task's lock.
pub fn reopen(
    params: &TaskParams,
    table: &TableTask,
    judge: impl FnOnce(&mut Look<'_>) -> Result<()>,
) -> Result<Reopened> {
    owned(params, table, |sides, owner| {
        let chosen = SourceTable { filter: table.filter.clone(), ..sides.rows.clone() };
        let mut moved = 0;
        let mut after = Bound::Open;
        loop {
            let above = Range::above(after);
            let keys = chosen.keys(sides.source.as_mut(), RowState::Failed, &above, CHUNK_ROWS)?;
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else { break };
            let range = Range::closed(first, last);
            let states = (RowState::Failed, RowState::ToSend);
            moved += move_all(sides.source.as_mut(), &chosen, owner, &range, states, None)?;
            after = Bound::Excluding(last.clone());
        }
        let (rows, source) = (&sides.rows, sides.source.as_mut());
        let excluded = match table.filter {
            Some(_) => rows.count(source, RowState::Failed, &Range::above(Bound::Open))?,
            None => 0,
        };
        judge(&mut |columns, keys, sought| rows.look(source, columns, keys, &sought))?;
        Ok(Reopened { rows: moved, excluded })
    })
}

/// What is said of a table whose rows carry no state.
pub fn without_states(table: &TableTask) -> Error {
    Error::new(
        Kind::Usage,
        format!("table {} is not in mode status: its rows carry no state", table.name),
    )
    .hint(
        "Correct the rows. A full run sends them by itself, and so does an increment run after one \
         that failed; after one that was done, once their watermark moves.",
    )
}

/// Does some work while the source table is ours, and gives it back however that ends.
pub(crate) fn owned<T>(
    params: &TaskParams,
    table: &TableTask,
    work: impl FnOnce(&mut Sides, &Ownership) -> Result<T>,
) -> Result<T> {
    if table.mode != TableMode::Status {
        return Err(without_states(table));
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
    let mut sides = Sides { plan, source, dest, rows };
    let result = work(&mut sides, &owner);
    owner.released_after(result, params, sides.source.as_mut())
}
