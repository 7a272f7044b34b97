//! Whether a row keeps the state that it is set to. A trigger of the source may set `sync_status`
//! back at every update, and not only where the application has changed the row: then nothing is
//! ever claimed, or nothing is ever settled, while no statement fails.
//!
//! What a trigger does cannot be read from its text. It is tried on one row, in transactions that
//! are rolled back.

use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::value::{Key, key_text};

use crate::source::{Range, RowState, STATUS_COLUMN, SourceTable};

/// Tries every change of state that a run makes, on the first row that is in one of these states;
/// does nothing where there is none, or another session holds it locked. `triggers` are those that run at
/// updates, as far as they are known.
///
/// # Errors
/// [`Kind::Refused`] when the row was in another state afterwards.
pub fn states_are_kept(
    conn: &mut dyn Connection,
    table: &SourceTable,
    among: &[RowState],
    triggers: &[String],
) -> Result<()> {
    for state in among {
        let keys = table.keys(conn, *state, &Range::all(), 1)?;
        let Some(key) = keys.into_iter().next() else { continue };
        conn.set_lock_wait(LockWait::Short)?;
        // The condition of the configuration has been met, or does not matter.
        let table = SourceTable { filter: None, ..table.clone() };
        for end in [RowState::Done, RowState::Failed, RowState::ToSend] {
            conn.begin()?;
            let undone =
                undone(conn, &table, &key, &[*state, RowState::ToSend, RowState::UnderWay, end]);
            match &undone {
                Err(e) if e.kind == Kind::Lost => return Err(e.clone()),
                _ => conn.rollback()?,
            }
            match undone {
                Ok(None) => {}
                Ok(Some((from, to))) => return Err(refusal(&table, &key, (from, to), triggers)),
                // A busy row; the next run meets another.
                Err(e) if e.kind == Kind::Contention => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        return Ok(());
    }
    Ok(())
}

/// The first change of state that did not last.
fn undone(
    conn: &mut dyn Connection,
    table: &SourceTable,
    key: &Key,
    states: &[RowState],
) -> Result<Option<(RowState, RowState)>> {
    let row = Range::closed(key, key);
    for change in states.windows(2) {
        let [from, to] = [change[0], change[1]];
        if from == to {
            continue;
        }
        let moved = table.move_state(conn, &row, from, to)?;
        if table.is_in_state(conn, key, to)? {
            continue;
        }
        // A row that was changed or deleted a moment ago tells nothing.
        let stays = table.is_in_state(conn, key, from)?;
        return Ok((moved > 0 || stays).then_some((from, to)));
    }
    Ok(None)
}

fn refusal(
    table: &SourceTable,
    key: &Key,
    (from, to): (RowState, RowState),
    triggers: &[String],
) -> Error {
    let names: Vec<_> = table.order.iter().map(|c| c.name.clone()).collect();
    let who = match triggers {
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
