//! What the accounts of a run must be allowed to do. Each answer is taken from what the run itself goes
//! by: the dialect's own statements, the mode in which rows are written, where ssync's own tables stand.

use ssync_common::config::{FullMethod, TableMode, TableTask};
use ssync_common::connector::{Connection, Dialect, Need, Privilege, beside};
use ssync_common::error::Result;
use ssync_common::ledger::{self, Place};
use ssync_common::schema::Table;

use crate::owner::OWNER_TABLE;
use crate::source::STATUS_COLUMN;
use crate::steps::shadow_name;

/// What is done with rows of ssync's own tables.
const OWN: [Privilege; 4] =
    [Privilege::Select, Privilege::Insert, Privilege::Update, Privilege::Delete];

/// Whether a run writes at the source, and therefore owns its table.
pub fn owns_source(table: &TableTask) -> bool {
    table.mode == TableMode::Status
        || !table.before.source.is_empty()
        || !table.after.source.is_empty()
}

/// Where the rows of a run land.
pub fn target(table: &TableTask) -> String {
    match (table.mode, table.full) {
        (TableMode::Full, FullMethod::Swap) => shadow_name(&table.dest),
        _ => table.dest.clone(),
    }
}

/// At the source.
pub(crate) fn at_source(table: &TableTask, source: &mut dyn Connection) -> Result<Vec<Need>> {
    let mut needs = vec![Need::new(Privilege::Select, &table.source)];
    if table.mode == TableMode::Status {
        needs.push(Need {
            privilege: Privilege::Update,
            table: table.source.clone(),
            column: Some(STATUS_COLUMN.to_owned()),
        });
    }
    if owns_source(table) {
        let owners = beside(&table.source, OWNER_TABLE);
        needs.extend(own_table(&owners, source, &OWN[..3])?);
    }
    Ok(needs)
}

/// At the destination, which is `found` there.
pub(crate) fn at_dest(
    table: &TableTask,
    found: &Table,
    dest: &mut dyn Connection,
) -> Result<Vec<Need>> {
    let dialect = dest.dialect();
    let mut needs = vec![Need::new(Privilege::Select, &table.dest)];
    needs.extend(Need::all(table.write.privileges(), &target(table)));
    if table.mode == TableMode::Full {
        needs.extend(making_room(table, found, dialect)?);
    }
    for own in Place::beside(&table.dest).tables(dialect) {
        needs.extend(own_table(own, dest, &OWN)?);
    }
    needs.sort();
    needs.dedup();
    Ok(needs)
}

fn making_room(table: &TableTask, found: &Table, dialect: &dyn Dialect) -> Result<Vec<Need>> {
    let statements = match table.full {
        FullMethod::Truncate => vec![dialect.truncate(found).0],
        FullMethod::Swap => {
            let new = shadow_name(&found.name);
            let made = dialect.create_like(&new, found)?;
            made.into_iter().chain(dialect.swap(&new, found)?).collect()
        }
    };
    Ok(statements.into_iter().flat_map(|statement| statement.needs).collect())
}

/// A table of ssync's own: it is made where it is missing.
fn own_table(name: &str, conn: &mut dyn Connection, rows: &[Privilege]) -> Result<Vec<Need>> {
    let mut needs = Need::all(rows, name);
    // One that could not prove anything is refused.
    if ledger::kept_whole(conn, name)?.is_none() {
        needs.push(Need::new(Privilege::Create, name));
    }
    Ok(needs)
}
