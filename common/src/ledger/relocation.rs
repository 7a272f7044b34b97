//! Moving a record to where it belongs: beside its table, or under another key.

use super::place::{Pair, Place, ensure_tables};
use super::{id_value, in_transaction};
use crate::connector::Connection;
use crate::error::{Error, Kind, Result};
use crate::value::Value;

/// Columns of the ledger, without the key of the record.
const ENTRY: [&str; 7] = ["run_id", "pos", "row_count", "lo", "hi", "settled", "landed_at"];
/// Columns of the fence that go along: not its key, the epoch, and which destination it is about.
const FENCE: [&str; 15] = [
    "tables", "run_id", "run_open", "plan", "upto", "mark", "ident", "counter", "server", "landed",
    "begun", "full_run", "filler", "row_keys", "stamp",
];

/// Moves the record `from` with all its entries to `to`, in one transaction; whether there was
/// one. Waits for transactions that are under way at `from`, and bars every later one: the row
/// they look for is gone.
///
/// # Errors
/// [`Kind::Refused`] where `to` has a record of its own: which of the two is right, only an
/// operator can tell.
pub fn relocate(dest: &mut dyn Connection, from: &Pair, to: &Pair) -> Result<bool> {
    if dest.describe(from.place.fence())?.is_none() {
        return Ok(false);
    }
    let apart = from.place != to.place && stands_apart(dest, &from.place, &to.place)?;
    if from.id == to.id && !apart {
        return Ok(false);
    }
    ensure_tables(dest, &from.place)?;
    ensure_tables(dest, &to.place)?;
    let moved = in_transaction(dest, |dest| {
        let d = dest.dialect();
        let columns: Vec<_> = ["epoch"].iter().chain(&FENCE).map(|c| d.quote(c)).collect();
        let select = |place: &str| {
            d.lock(
                &format!(
                    "SELECT {} FROM {} WHERE {} = {}",
                    columns.join(", "),
                    d.table(place),
                    d.quote("id"),
                    d.param(1, None)
                ),
                true,
            )
        };
        let (old, new) = (select(from.place.fence()), select(to.place.fence()));
        let Some(row) = dest.query(&old, &[id_value(&from.id)])?.into_iter().next() else {
            return Ok(false);
        };
        if !dest.query(&new, &[id_value(&to.id)])?.is_empty() {
            return Err(Error::new(
                Kind::Refused,
                "there are two records of what landed in this table",
            )
            .detail(format!("one in {}, another in {}", from.place.fence(), to.place.fence()))
            .hint(
                "Two links with different default databases have loaded it. Compare source and \
                 destination, then say with ssync adopt which state counts.",
            ));
        }
        let mut fence = vec![id_value(&to.id)];
        fence.extend(row);
        if let Some(Value::Int(epoch)) = fence.get_mut(1) {
            *epoch += 1;
        }
        fence.push(id_value(&to.dest));
        let names: Vec<_> = ["id", "epoch"].into_iter().chain(FENCE).chain(["dest"]).collect();
        insert(dest, to.place.fence(), &names, &fence)?;
        let d = dest.dialect();
        let entry: Vec<_> = ENTRY.iter().map(|c| d.quote(c)).collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {} = {}",
            entry.join(", "),
            d.table(from.place.ledger()),
            d.quote("fence_id"),
            d.param(1, None)
        );
        let names: Vec<_> = ["fence_id"].into_iter().chain(ENTRY).collect();
        for row in dest.query(&sql, &[id_value(&from.id)])? {
            let entry: Vec<_> = std::iter::once(id_value(&to.id)).chain(row).collect();
            insert(dest, to.place.ledger(), &names, &entry)?;
        }
        delete(dest, from)?;
        Ok(true)
    })?;
    if moved {
        log::info!("the record was moved from {} to {}", from.place.fence(), to.place.fence());
    }
    Ok(moved)
}

/// Forgets a record with all its entries.
pub fn delete(dest: &mut dyn Connection, pair: &Pair) -> Result<()> {
    let d = dest.dialect();
    let mut parts = vec![(pair.place.ledger(), "fence_id")];
    if !d.shares_row_locks() {
        parts.push((pair.place.seat(), "fence_id"));
    }
    parts.push((pair.place.fence(), "id"));
    for (table, column) in parts {
        let d = dest.dialect();
        let sql = format!(
            "DELETE FROM {} WHERE {} = {}",
            d.table(table),
            d.quote(column),
            d.param(1, None)
        );
        dest.execute(&sql, &[id_value(&pair.id)])?;
    }
    Ok(())
}

/// Whether there are records at `place` that are not those at `other`, spelt otherwise.
pub fn stands_apart(dest: &mut dyn Connection, place: &Place, other: &Place) -> Result<bool> {
    let Some(fence) = dest.describe(place.fence())? else { return Ok(false) };
    let other = dest.describe(other.fence())?;
    Ok(other.is_none_or(|other| !other.is_same(&fence)))
}

fn insert(
    dest: &mut dyn Connection,
    table: &str,
    columns: &[&str],
    values: &[Value],
) -> Result<()> {
    let d = dest.dialect();
    let names: Vec<_> = columns.iter().map(|c| d.quote(c)).collect();
    let params: Vec<_> = (1..=columns.len()).map(|n| d.param(n, None)).collect();
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        d.table(table),
        names.join(", "),
        params.join(", ")
    );
    dest.execute(&sql, values).map(drop)
}
