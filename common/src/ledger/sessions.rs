//! Ghosts: sessions of runs that are over, which their server does not know to be dead. Where a host
//! or a network is lost in the middle of a batch, the session goes on holding the fence. So each
//! session that takes the fence shared has a name, made of the pair of tables, the epoch and its
//! seat. A new run that has to wait for the fence ends the sessions that bear an
//! epoch that is over by that; whatever they were about to commit would have been barred anyway.

use super::{Fence, Id, Pair, Raise, Seat, epoch, raise};
use crate::connector::{Connection, LockWait};
use crate::error::{Error, Kind, Result};
use crate::value::hex_bytes;

/// Epochs that are looked back: a session of an older one holds the fence for a moment at most.
const EPOCHS_BACK: i64 = 4;

/// The name of a session that takes the fence shared: of at most 61 characters.
pub fn session_name(id: &Id, epoch: i64, seat: Seat) -> String {
    name(id, epoch, seat.number())
}

/// The name of the session that marks ledger rows as settled.
pub fn settler_name(id: &Id, epoch: i64) -> String {
    name(id, epoch, Seat::all().end)
}

fn name(id: &Id, epoch: i64, seat: i64) -> String {
    format!("ssync:{}:{epoch}:{seat}", hex_bytes::encode(id))
}

/// [`raise`] for a new run, or for one that goes on: waits for batches that are under way, and not
/// for ghosts. A run that goes on has living writers, and ends nobody.
///
/// # Errors
/// As [`raise`]; where another session holds the fence for about a minute, the error names the
/// sessions that are known to stand in the way.
pub fn raise_past_ghosts(
    dest: &mut dyn Connection,
    pair: &Pair,
    tables: &str,
    how: &mut Raise<'_>,
) -> Result<Fence> {
    let (id, begins) = (&pair.id, !matches!(how, Raise::Again(_)));
    dest.set_lock_wait(LockWait::Brief)?;
    let raised = raise(dest, pair, tables, how);
    dest.set_lock_wait(LockWait::Patient)?;
    match raised {
        Err(e) if e.kind == Kind::Contention => {}
        raised => return raised,
    }
    let mut facts = Vec::new();
    let mut hint = None;
    if begins {
        let now = epoch(dest, pair)?;
        let epochs = (now - EPOCHS_BACK).max(1)..=now;
        let names: Vec<_> = epochs
            .flat_map(|epoch| (0..=Seat::all().end).map(move |seat| name(id, epoch, seat)))
            .collect();
        for session in dest.end_sessions(&names)? {
            let about = &session.about;
            match &session.stays {
                None => {
                    log::warn!("{tables}: ended a session of a run that is over: {about}");
                    facts.push(format!("a session of a run that is over was ended: {about}"));
                }
                Some(e) => {
                    facts.push(format!("a session of a run that is over blocks this one: {about}"));
                    facts.push(format!("it could not be ended: {e}"));
                    hint = Some(format!("An administrator may end it: {}.", session.statement));
                }
            }
        }
        hint = hint.or_else(|| {
            let how = dest.how_to_find_sessions(&format!("ssync:{}:", hex_bytes::encode(id)))?;
            Some(format!("An administrator finds and ends it: {how}."))
        });
    }
    raise(dest, pair, tables, how).map_err(|e| match e.kind {
        Kind::Contention => {
            // A run that goes on begins again, and ends ghosts then; a new one has done that.
            let kind = if begins { Kind::Database } else { Kind::Contention };
            let mut error =
                Error::new(kind, format!("another session holds the fence of {tables}"))
                    .detail(format!(
                        "row {} of {} at the destination",
                        hex_bytes::encode(id),
                        pair.place.fence()
                    ))
                    .detail(e.message);
            error.details.extend(facts);
            error.hint(hint.unwrap_or_else(|| {
                "Look for a session of ssync's account at the destination that is in a \
                 transaction, and end it."
                    .to_owned()
            }))
        }
        _ => e,
    })
}
