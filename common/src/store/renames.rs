//! Records and pauses of a sub-task that is called otherwise from now on go along with it: whoever
//! looks for what became of its rows asks for the name of today.

use std::collections::BTreeSet;

use super::{empties, holds, lock, settled};
use crate::config::{Config, Renames, SubTask};
use crate::error::{Error, Kind, Result};
use crate::store::Hold;
use crate::store::config_tables::of_table;
use crate::store::sql::{Db, IntoValue};

/// Tables whose rows belong to a sub-task, and have keys of their own.
const RECORDS: [&str; 4] = ["T_RUN", "T_ATTEMPT", "T_ERROR_ROW", "proc_use_times"];

/// Nobody works at what is to be called otherwise: its process goes by the name that it was started
/// with, and would not hear of a pause, nor write down under the new one.
///
/// # Errors
/// [`Kind::Contention`] where somebody does.
pub(super) fn are_at_rest(db: &mut Db, renames: &Renames, old: &Config) -> Result<()> {
    for ((task, table), (number, name)) in renames.sub_tasks(old) {
        if lock::is_under_way(db, task, &table)? {
            let to = if task == number { name } else { format!("{name} of task {number}") };
            return Err(Error::new(
                Kind::Contention,
                format!("table {table} of task {task} is under way, and is to be called {to}"),
            )
            .hint(
                "Nothing was changed. Apply once its run has ended; ssync pause ends it at the next \
                 batch.",
            ));
        }
    }
    Ok(())
}

/// What of the old configuration was held, under the names of the new one. To be asked before that
/// is written.
pub(super) fn holds(db: &mut Db, renames: &Renames, old: &Config) -> Result<Vec<Hold>> {
    let tables = renames.sub_tasks(old);
    let mut renamed = Vec::new();
    for hold in holds::all(db)? {
        let task = renames.number(hold.task);
        let moved = match &hold.table {
            None => (task != hold.task).then_some((task, None)),
            Some(name) => {
                let from = (hold.task, name.clone());
                let to = tables.iter().find(|(old, _)| *old == from).map(|(_, new)| new.clone());
                to.map(|(task, name)| (task, Some(name)))
            }
        };
        renamed.extend(moved.map(|(task, table)| Hold { task, table, ..hold }));
    }
    Ok(renamed)
}

/// Gives the records of the old names to the new ones, and holds what was held. To be done once the
/// new configuration is written.
pub(super) fn carry(db: &mut Db, renames: &Renames, old: &Config, held: &[Hold]) -> Result<()> {
    let tables = renames.sub_tasks(old);
    // Two may have changed places: a name is free once its records have left it.
    let away = |n: usize, (task, _): &SubTask| (*task, format!("~{n}"));
    for (n, (from, _)) in tables.iter().enumerate() {
        give(db, from, &away(n, from))?;
    }
    for (n, (from, to)) in tables.iter().enumerate() {
        give(db, &away(n, from), to)?;
    }
    // What is held now, by the names of before, is what goes over; no more.
    let names: BTreeSet<_> = tables.into_iter().flat_map(|(from, to)| [from, to]).collect();
    names.into_iter().try_for_each(|(task, table)| holds::let_go(db, task, &table))?;
    held.iter().try_for_each(|hold| holds::hold_again(db, hold))
}

fn give(db: &mut Db, from: &SubTask, to: &SubTask) -> Result<()> {
    let name = [("task_id", to.0.into_value()), ("table_name", (&to.1).into_value())];
    for table in RECORDS {
        db.update(table, &name, of_table(from.0, &from.1))?;
    }
    empties::give(db, from, to)?;
    settled::give(db, from, to)
}
