//! `ssync retry`: sends bad rows, or rows that the destination has lost, again.

use crate::output::errln;
use ssync_common::config::Config;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::Id;
use ssync_common::process::RunId;
use ssync_common::store::{ErrorFilter, RowState, RunFilter, Store};
use ssync_worker::journal::BatchRecord;
use ssync_worker::params::TaskParams;
use ssync_worker::reopen::{Which, reopen};

use crate::books::mirror::Mirror;
use crate::terminal::grouped;
use crate::transfer;

/// Sets the rows back to be sent; the parameters to send them with.
pub fn prepare(
    store: &mut Store,
    config: &Config,
    task: u32,
    tables: &[String],
    lost: bool,
) -> Result<TaskParams> {
    let mut chosen = transfer::choose(config, task, tables)?;
    transfer::leave_out_held(&store.holds(Some(task))?, &mut chosen)?;
    let params = transfer::params(store, config, chosen.clone())?;
    let mut total = 0;
    for table in &chosen.tables {
        let lock = params.books.lock(&chosen, table)?;
        let rows = if lost {
            if store.last_settled(chosen.id, &table.name)?.is_none() {
                return Err(Error::new(
                    Kind::Usage,
                    format!("nothing is remembered of earlier runs of table {}", table.name),
                ));
            }
            let filter = RunFilter {
                task: Some(chosen.id),
                table: Some(table.name.clone()),
                ..RunFilter::default()
            };
            let mut runs = store.runs(&filter)?.into_iter().map(|run| settled_parts(store, run.id));
            let rows = reopen(&params, table, Which::Lost(&mut runs))?;
            drop(runs);
            store.forget_settled(chosen.id, &table.name)?;
            Mirror::of(&params.home, store.instance_id(), chosen.id, &table.name).write(None);
            rows
        } else {
            let rows = reopen(&params, table, Which::Failed)?;
            store.mark_retried(&ErrorFilter {
                task: Some(chosen.id),
                table: Some(table.name.clone()),
                states: vec![RowState::Bad],
                ..ErrorFilter::default()
            })?;
            rows
        };
        lock.release()?;
        errln!("{}: {} rows set back to be sent", table.name, grouped(rows));
        total += rows;
    }
    log::info!("retry of task {task}: {total} rows");
    Ok(params)
}

/// The settled parts of a run's batches.
fn settled_parts(store: &mut Store, run: RunId) -> Result<(Id, Vec<BatchRecord>)> {
    let parts = store
        .batches(run)?
        .into_iter()
        .filter_map(|b| {
            Some(BatchRecord {
                number: b.number,
                pos: b.part?,
                rows: b.rows,
                lo: b.low,
                hi: b.high,
            })
        })
        .collect();
    Ok((run.0, parts))
}
