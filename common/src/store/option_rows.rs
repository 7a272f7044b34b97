//! Sections as rows of their tables: what each option's columns hold.

use crate::config::option::{Opt, Options};
use crate::error::Result;
use crate::store::sql::Row;
use crate::value::Value;

/// The columns of a section's row.
pub fn names<S: Options>() -> Vec<&'static str> {
    S::OPTIONS.iter().flat_map(Opt::columns).collect()
}

/// What a section's row holds.
///
/// # Errors
/// A value that no column can hold.
pub fn values<S: Options>(section: &S) -> Result<Vec<(&'static str, Value)>> {
    let mut row = Vec::new();
    for option in S::OPTIONS {
        row.extend(option.columns().zip((option.store)(section)?));
    }
    Ok(row)
}

/// The section that a row holds; options without columns in it keep their defaults.
///
/// # Errors
/// A value that ssync did not write so.
pub fn section<S: Options>(row: &Row) -> Result<S> {
    let mut section = S::blank();
    for option in S::OPTIONS {
        let columns: Vec<_> = option.columns().collect();
        let values: Vec<_> = columns.iter().map(|column| row.value(column).clone()).collect();
        (option.load)(&mut section, &values)
            .map_err(|place| row.damaged(columns.get(place).unwrap_or(&option.key)))?;
    }
    Ok(section)
}
