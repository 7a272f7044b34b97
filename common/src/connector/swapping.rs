//! What a swap of two tables would lose or bring, as far as it is the same for every database.

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Index, Table};

/// How `new` differs from `table`, in the place of which it is to be put: one fact each. Both as
/// they are now. Indexes are compared where `indexes` says so.
pub(super) fn obstacles(table: &Table, new: &Table, indexes: bool) -> Vec<String> {
    let mut found = Vec::new();
    for side in [table, new] {
        let name = &side.name;
        found.extend(side.triggers.iter().map(|t| format!("trigger {} on {name}", t.name)));
        let keys = side.foreign_keys.iter();
        found.extend(keys.map(|f| format!("foreign key {} of {name} to {}", f.name, f.parent)));
        let keys = side.referenced_by_others();
        found.extend(keys.map(|f| format!("foreign key {} of {} to {name}", f.name, f.child)));
    }
    if table.is_versioned || new.is_versioned {
        found.push(format!("{} keeps a history", table.name));
    }
    let names = |t: &Table| t.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    for column in &table.columns {
        match new.columns.iter().find(|c| c.name == column.name) {
            None => found.push(format!("column {} is in {} alone", column.name, table.name)),
            Some(other) if other != column => found.push(format!(
                "column {} is {} in {}, and {} or otherwise different in {}",
                column.name, column.declared, table.name, other.declared, new.name
            )),
            Some(_) => {}
        }
    }
    for column in new.columns.iter().filter(|c| !table.columns.iter().any(|t| t.name == c.name)) {
        found.push(format!("column {} is in {} alone", column.name, new.name));
    }
    if found.is_empty() && names(table) != names(new) {
        found.push("the columns stand in another order".to_owned());
    }
    if indexes {
        found.extend(index_differences(table, new));
        found.extend(index_differences(new, table).into_iter().filter(|f| f.ends_with("alone")));
    }
    found
}

fn index_differences(one: &Table, other: &Table) -> Vec<String> {
    let difference = |index: &Index| match other.indexes.iter().find(|i| i.name == index.name) {
        None => Some(format!("index {} is on {} alone", index.name, one.name)),
        Some(same) if same != index => {
            Some(format!("index {} of {} is different on {}", index.name, one.name, other.name))
        }
        Some(_) => None,
    };
    one.indexes.iter().filter_map(difference).collect()
}

/// An error that names all of them, if there are any.
pub(super) fn refuse(table: &Table, new: &str, mut obstacles: Vec<String>) -> Result<()> {
    if obstacles.is_empty() {
        return Ok(());
    }
    let first = obstacles.remove(0);
    let error = Error::new(
        ErrorKind::Refused,
        format!("{} cannot be swapped with what was loaded: {first}", table.name),
    );
    let error = obstacles.into_iter().fold(error, Error::detail);
    Err(error.detail(format!("{} is as it was; loaded rows stay in {new}", table.name)).hint(
        "A swap would lose it, or bring it along. Take the change back and run the task again, or \
         use full = \"truncate\". With --restart the table is loaded anew, into one like it is now.",
    ))
}

/// The error where one of the two is not there any more.
pub(super) fn gone(table: &Table, which: &str) -> Error {
    let error = Error::new(
        ErrorKind::Refused,
        format!("{} cannot be swapped: {which} is gone", table.name),
    );
    match which == table.name {
        true => error.hint(
            "It was dropped or renamed outside ssync. Give it its name back, or create it anew with \
             the same definition, and run the task again: what was loaded is kept.",
        ),
        false => error.hint(
            "It was dropped or renamed outside ssync. Run the task with --restart to load it anew.",
        ),
    }
}
