//! The numbers of this home's runs, by which it knows what of a gap between source and destination
//! it has sent itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::runs::select_batches;
use crate::error::Result;
use crate::store::sql::{Db, Filter, IntoValue, Select};
use crate::store::{BatchRecord, Store};
use crate::value::Value;

const TABLE: &str = "T_RUN_COUNTER";

impl Store {
    /// Which of the numbers from `first` to `last` this home's runs of a source had. `source` is
    /// its identity, 32 hexadecimal digits.
    pub fn counters(&mut self, source: &str, first: i64, last: i64) -> Result<BTreeSet<i64>> {
        self.read(|db| {
            let within = Filter::new()
                .eq("source_id", source)
                .at_least("run_counter", first)
                .up_to("run_counter", last);
            let rows = db.select(Select::new(TABLE, &["run_counter"]).filter(within))?;
            rows.iter().map(|row| row.number("run_counter")).collect()
        })
    }

    /// What was settled of a source under this number of the run and later ones.
    pub fn settled_since(&mut self, source: &str, counter: i64) -> Result<Vec<BatchRecord>> {
        self.read(|db| {
            let since = Filter::new().eq("source_id", source).at_least("run_counter", counter);
            select_batches(db, since, &["run_counter", "run_id", "batch_no", "part"])
        })
    }
}

/// Writes a number down; the same one twice is one. Greater ones are of a past that the source was
/// restored to a moment before: they will be others' numbers. (When
/// this comes late, they came after it.)
pub(super) fn put(
    db: &mut Db,
    source: &str,
    counter: i64,
    at: Timestamp,
    is_late: bool,
) -> Result<()> {
    let of_source = Filter::new().eq("source_id", source);
    if !is_late {
        db.delete(TABLE, of_source.clone().above("run_counter", counter))?;
    }
    let same = of_source.eq("run_counter", counter);
    if !db.select(Select::new(TABLE, &["begin_at"]).filter(same))?.is_empty() {
        return Ok(());
    }
    let row = [
        ("source_id", source.into_value()),
        ("run_counter", counter.into_value()),
        ("begin_at", at.into_value()),
    ];
    db.insert(TABLE, &row)
}

/// Removes numbers that were taken before a moment, at most `most` of them, and returns how many it
/// removed. The batches of those runs are no longer recorded either.
pub(super) fn prune(db: &mut Db, before: Timestamp, most: u64) -> Result<u64> {
    let old = Filter::new().below("begin_at", before);
    let select = Select::new(TABLE, &["source_id", "run_counter"]).filter(old);
    let mut by_source: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in db.select(select.order(&["source_id", "run_counter"]).limit(most))? {
        let counter: i64 = row.number("run_counter")?;
        by_source.entry(row.text("source_id")?).or_default().push(counter.into_value());
    }
    let mut removed = 0;
    for (source, counters) in by_source {
        let these = Filter::new().eq("source_id", source).any_of("run_counter", counters);
        removed += db.delete(TABLE, these)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::ToSpan;

    use super::*;
    use crate::process::RunId;
    use crate::store::{BatchState, Entry, Home, Settled, StoreLocation, Tenure};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        let store = Store::open(&StoreLocation::embedded(home)).unwrap();
        (dir, store)
    }

    fn take(store: &mut Store, no: u64, source: &str, counter: i64, at: Timestamp) {
        let entry = Entry::Counter { source: source.to_owned(), counter, at };
        store.write_down(RunId([7; 16]), &[(no, entry)], false).unwrap();
    }

    #[test]
    fn numbers_are_known_by_their_source_and_greater_ones_end_with_a_smaller_one() {
        let (_dir, mut store) = store();
        let now = Timestamp::now();
        let (a, b) = ("a".repeat(32), "b".repeat(32));
        for (no, counter) in (1..).zip([1, 2, 4, 4, 5]) {
            take(&mut store, no, &a, counter, now);
        }
        take(&mut store, 6, &b, 3, now);
        assert_eq!(store.counters(&a, 2, 9).unwrap(), BTreeSet::from([2, 4, 5]));
        assert_eq!(store.counters(&a, 3, 4).unwrap(), BTreeSet::from([4]));
        // Both ends were restored to a moment before 4.
        take(&mut store, 7, &a, 3, now);
        assert_eq!(store.counters(&a, 0, 9).unwrap(), BTreeSet::from([1, 2, 3]));
        assert_eq!(store.counters(&b, 0, 9).unwrap(), BTreeSet::from([3]));
    }

    #[test]
    fn old_numbers_are_removed_and_count_as_not_known() {
        let (_dir, mut store) = store();
        let now: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        for counter in 1..=5 {
            let at = now - (100 - counter).hours();
            take(&mut store, counter as u64, &"a".repeat(32), counter, at);
        }
        store.prune(now - 97.hours(), &BTreeSet::new()).unwrap();
        let known = store.counters(&"a".repeat(32), 0, 9).unwrap();
        assert_eq!(known, BTreeSet::from([3, 4, 5]));
    }

    #[test]
    fn batches_are_found_by_the_number_they_were_settled_under() {
        let (_dir, mut store) = store();
        let batch = |number, tenure| BatchRecord {
            run: RunId([1; 16]),
            number,
            part: Some(format!("{number:08}")),
            rows: 1,
            low: vec![Value::Int(1)],
            high: vec![Value::Int(2)],
            state: BatchState::Settled,
            sent: None,
            landed: None,
            settled: None,
            writer: None,
            tenure,
        };
        let (source, record) = ("a".repeat(32), "c".repeat(32));
        let under =
            |counter| Some(Tenure { source: source.clone(), record: record.clone(), counter });
        let batches = [batch(1, None), batch(2, under(4)), batch(3, under(5)), batch(4, under(6))];
        let last = Settled {
            dest_url: String::new(),
            fence: String::new(),
            epoch: 1,
            run: RunId([1; 16]),
            pos: String::new(),
            at: None,
        };
        let (written, table) = (batches.to_vec(), "orders".to_owned());
        let entry = Entry::Settled { batches: written, task: 7, table, last, adopt: None };
        store.write_down(RunId([7; 16]), &[(1, entry)], false).unwrap();
        assert_eq!(store.settled_since(&source, 5).unwrap(), batches[2..]);
        assert_eq!(store.settled_since(&record, 5).unwrap(), []);
    }
}
