//! The numbers of this home's runs, by which it knows what of a gap between source and destination
//! it has sent itself.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::runs::select_batches;
use crate::error::Result;
use crate::store::sql::{Db, Filter, IntoValue, Select};
use crate::store::{BatchRecord, Store};

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
/// restored to a moment before: they will be others' numbers.
pub(super) fn put(db: &mut Db, source: &str, counter: i64, at: Timestamp) -> Result<()> {
    let of_source = Filter::new().eq("source_id", source);
    db.delete(TABLE, of_source.clone().above("run_counter", counter))?;
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

/// Removes those of before a moment: the batches of their runs are no longer recorded either.
pub(super) fn prune(db: &mut Db, before: Timestamp) -> Result<()> {
    db.delete(TABLE, Filter::new().below("begin_at", before)).map(drop)
}
