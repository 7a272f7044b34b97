//! Whether rows keep the state that they are set to. A trigger of the source may set `sync_status`
//! back at every update, or at those of some rows, and not only where the application has changed
//! the row: then rows are never claimed, or never settled, while no statement fails.
//!
//! What a trigger does cannot be read from its text. It is tried on the first rows, in transactions
//! that are rolled back. Every move on a table that may have triggers is looked at as well, before
//! its commit: see [`crate::moving`].

use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::value::{Key, key_text};

use crate::source::{Range, RowState, STATUS_COLUMN, SourceTable};

/// Rows to be sent that are tried.
const TRIAL_ROWS: u64 = 100;
/// Keys in one statement.
const KEYS_MAX: usize = 100;

/// Tries every change of state that a run makes, on the first rows that are in one of these states;
/// does nothing where there are none, or another session holds one of them locked.
///
/// # Errors
/// [`Kind::Refused`] when a row was in another state afterwards.
pub fn states_are_kept(
    conn: &mut dyn Connection,
    table: &SourceTable,
    among: &[RowState],
) -> Result<()> {
    for state in among {
        let to_send = *state == RowState::ToSend;
        let keys = table.keys(conn, *state, &Range::all(), if to_send { TRIAL_ROWS } else { 1 })?;
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { continue };
        let rows = Range::closed(first, last);
        conn.set_lock_wait(LockWait::Short)?;
        // A single row is tried whether or not the condition of the configuration is met.
        let filter = table.filter.clone().filter(|_| to_send);
        let table = SourceTable { filter, ..table.clone() };
        for end in [RowState::Done, RowState::Failed, RowState::ToSend] {
            conn.begin()?;
            let undone =
                undone(conn, &table, &rows, &[*state, RowState::ToSend, RowState::UnderWay, end]);
            match &undone {
                Err(e) if e.kind == Kind::Lost => return Err(e.clone()),
                _ => conn.rollback()?,
            }
            match undone {
                Ok(None) => {}
                Ok(Some((key, change))) => return Err(refusal(&table, &key, change)),
                // Busy rows; the next run meets others.
                Err(e) if e.kind == Kind::Contention => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        return Ok(());
    }
    Ok(())
}

/// The first change of state that did not last, and its row.
fn undone(
    conn: &mut dyn Connection,
    table: &SourceTable,
    rows: &Range,
    states: &[RowState],
) -> Result<Option<(Key, (RowState, RowState))>> {
    let mut keys = table.lock_keys(conn, states[0], rows)?;
    for change in states.windows(2) {
        let [from, to] = [change[0], change[1]];
        if from == to {
            continue;
        }
        table.move_state(conn, rows, from, to)?;
        if let Some(key) = first_undone(conn, table, &mut keys, (from, to))? {
            return Ok(Some((key, (from, to))));
        }
    }
    Ok(None)
}

/// The first of these rows, which were locked and moved, that is not in the state that it was set
/// to. Rows that the condition of the configuration left out meanwhile were not moved; they are
/// taken from `keys`.
pub(crate) fn first_undone(
    conn: &mut dyn Connection,
    table: &SourceTable,
    keys: &mut Vec<Key>,
    (from, to): (RowState, RowState),
) -> Result<Option<Key>> {
    let mut left_out = Vec::new();
    for some in keys.chunks(KEYS_MAX) {
        if table.count_of(conn, to, some)? == some.len() as u64 {
            continue;
        }
        for key in some {
            if table.is_in_state(conn, key, to)? {
                continue;
            }
            let wanted = table.count(conn, from, &Range::closed(key, key))? > 0;
            if wanted || !table.is_in_state(conn, key, from)? {
                return Ok(Some(key.clone()));
            }
            left_out.push(key.clone());
        }
    }
    keys.retain(|key| !left_out.contains(key));
    Ok(None)
}

/// What is said of a row that did not keep the state that it was set to.
pub(crate) fn refusal(table: &SourceTable, key: &Key, (from, to): (RowState, RowState)) -> Error {
    let names: Vec<_> = table.order.iter().map(|c| c.name.clone()).collect();
    let who = match table.triggers.names.as_slice() {
        [] => "no trigger is shown to this account; it may lack the privilege".to_owned(),
        [one] => format!("trigger {one}"),
        more => format!("one of the triggers {}", more.join(", ")),
    };
    Error::new(
        Kind::Refused,
        format!(
            "{}: {STATUS_COLUMN} does not stay at {} where it is set to that",
            table.name, to as i32
        ),
    )
    .detail(format!(
        "tried with the row {}, from {}, and rolled back",
        key_text(&names, key),
        from as i32
    ))
    .detail(who)
    .column(STATUS_COLUMN)
    .hint(
        "A trigger may set sync_status to 0 where an update leaves it as it was, not where ssync \
         changes it: compare NEW.sync_status with OLD.sync_status first.",
    )
}
