//! Short positions for the entries of a run that was resumed so often that theirs grew long.

use super::{
    Entry, KeptKey, POS_CHARS_MAX, Pos, Seat, check_epoch, id_value, in_transaction, part_pos,
};
use crate::connector::Connection;
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::ledger::{Fence, key_json};
use crate::value::Value;

/// Longest position from which a run still goes on as it is. What one pass over the rows adds is
/// less than half of [`POS_CHARS_MAX`].
const CHARS_MAX: usize = POS_CHARS_MAX / 2;
/// Largest number at the top level from which a run still goes on. Numbers have eight hexadecimal
/// digits.
const NUMBER_MAX: u64 = u32::MAX as u64 / 2;

/// New positions for the entries of a run of `full` or `increment`, where theirs have grown long:
/// numbers at the top level, in the same order. `None` where they may stay. `entries` are all of
/// the run, in position order.
pub fn renumbered(entries: &[Entry]) -> Option<Vec<Entry>> {
    let numbers = || entries.iter().filter_map(|e| Pos::top_number(&e.pos));
    let (least, most) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
    // A position in front of all numbers has none.
    let least = if entries.iter().all(|e| Pos::top_number(&e.pos).is_some()) { least } else { 0 };
    let long = entries.iter().any(|e| e.pos.len() > CHARS_MAX);
    if !long && most <= NUMBER_MAX {
        return None;
    }
    // Below or above all that are there, so that none is taken twice on the way.
    let first = if entries.len() as u64 <= least { 0 } else { most + 1 };
    let moved = (first..)
        .zip(entries)
        .map(|(n, entry)| Entry { pos: part_pos(&format!("{n:08x}"), 0), ..entry.clone() });
    Some(moved.collect())
}

/// Puts `to` in the place of the entries `from` of the open run, one by one the same but for
/// their positions, in one transaction.
///
/// # Errors
/// [`Kind::Fenced`] when another run has taken the fence.
pub fn renumber(
    dest: &mut dyn Connection,
    fence: &Fence,
    from: &[Entry<KeptKey>],
    to: &[Entry<KeptKey>],
) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {}, {} = {}, {} = {} WHERE {} = {} AND {} = {} AND {} = {}",
        d.table(fence.pair.place.ledger()),
        d.quote("pos"),
        d.param(1, None),
        d.quote("lo"),
        d.param(2, None),
        d.quote("hi"),
        d.param(3, None),
        d.quote("fence_id"),
        d.param(4, None),
        d.quote("run_id"),
        d.param(5, None),
        d.quote("pos"),
        d.param(6, None)
    );
    in_transaction(dest, |dest| {
        check_epoch(dest, &fence.pair, fence.epoch, Seat::Step)?;
        for (n, (from, to)) in (1..).zip(from.iter().zip(to)) {
            let params = [
                Value::Text(to.pos.clone()),
                key_json(&to.lo)?,
                key_json(&to.hi)?,
                id_value(&fence.pair.id),
                id_value(&from.run),
                Value::Text(from.pos.clone()),
            ];
            if dest.execute(&sql, &params)? != 1 {
                return Err(Error::new(
                    Kind::Internal,
                    format!("ledger entry {} is gone while it was renumbered", from.pos),
                ));
            }
            failpoint::hit("ledger.renumber", n);
        }
        Ok(())
    })
}
