//! Which columns identify and order the rows, at the source and at the destination.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ssync_common::config::TableMode;
use ssync_common::connector::WriteMode;
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::schema::{self, Column};

use crate::mark::lag_fault;

use super::{ColumnPair, Finding, Level, Planner, TablePlan};

impl Planner<'_> {
    pub(super) fn key(&mut self) -> Vec<Column> {
        let source = self.sides.source;
        let names: Vec<String> = match self.table.key.as_slice() {
            [] => source.primary_key().map(<[String]>::to_vec).unwrap_or_default(),
            given => given.to_vec(),
        };
        if names.is_empty() {
            if self.table.mode != TableMode::Full {
                self.error(
                    format!("source {} has no primary key, and no key is configured", source.name),
                    "Give the sub-task a key: columns that are unique and NOT NULL.",
                );
            } else {
                self.find(
                    Level::Warning,
                    None,
                    format!(
                        "source {} has no key: a broken run starts from its beginning",
                        source.name
                    ),
                    None,
                );
            }
            return Vec::new();
        }
        let mut key = Vec::new();
        for name in &names {
            let Some(column) = source.column(name) else {
                self.error(
                    format!("key column {name} is not in source {}", source.name),
                    "Correct key in the configuration.",
                );
                continue;
            };
            if column.nullable {
                self.find(
                    Level::Error,
                    Some(name),
                    format!("key column {name} may be NULL"),
                    Some("Choose columns declared NOT NULL."),
                );
            }
            let ordered = column.kind.can_be_key() && !matches!(&*column.family, "enum" | "set");
            if !ordered {
                self.find(
                    Level::Error,
                    Some(name),
                    format!("key column {name} is {}, which does not order exactly", column.declared),
                    Some("Choose another unique key: FLOAT and DOUBLE round in comparisons, ENUM and SET order by number but compare by text."),
                );
            }
            key.push(column.clone());
        }
        if source.unique_index_on(&names).is_none() {
            self.error(
                format!("source {} has no unique index on ({})", source.name, names.join(", ")),
                "The key must identify one row; create a unique index on exactly these columns.",
            );
        }
        key
    }

    pub(super) fn order(&mut self, key: &[Column]) -> Vec<Column> {
        let mut order = Vec::new();
        if let (TableMode::Increment, Some(mark)) = (self.table.mode, &self.table.watermark) {
            match self.sides.source.column(&mark.column) {
                None => self.error(
                    format!(
                        "watermark column {} is not in source {}",
                        mark.column, self.sides.source.name
                    ),
                    "Correct watermark.column in the configuration.",
                ),
                Some(column) => {
                    use schema::Kind::{Date, DateTime, Int, UInt};
                    if !matches!(column.kind, Int | UInt | Date | DateTime) {
                        self.find(
                            Level::Error,
                            Some(&column.name),
                            format!("watermark column {} is {}", column.name, column.declared),
                            Some("A watermark is a column of whole numbers, dates or dates with times that only grows. Decimals and floating-point numbers are none: choose another column, or add one."),
                        );
                    }
                    if let Some(fault) = lag_fault(column.kind, mark.lag) {
                        let hint = fault.hint.as_deref();
                        self.find(Level::Error, Some(&column.name), fault.message, hint);
                    }
                    order.push(column.clone());
                }
            }
            if self.table.write == WriteMode::Insert && mark.lag.is_zero() {
                self.find(
                    Level::Warning,
                    Some(&mark.column),
                    "with lag 0 and write = \"insert\" rows that commit late are never sent".into(),
                    Some("Give a lag longer than any transaction, or use upsert, unless nothing is written to the source while it is read."),
                );
            }
        }
        for column in key {
            if !order.iter().any(|c: &Column| c.name == column.name) {
                order.push(column.clone());
            }
        }
        order
    }

    /// The destination's names of the key columns, for write modes that look for existing rows.
    pub(super) fn dest_key(&mut self, key: &[Column], pairs: &[ColumnPair]) -> Vec<String> {
        if self.table.write == WriteMode::Insert {
            return Vec::new();
        }
        let mut names = Vec::new();
        for column in key {
            match pairs.iter().find(|p| p.source.name == column.name) {
                Some(pair) => {
                    let random = self
                        .table
                        .encrypt
                        .get(&pair.source.name)
                        .is_some_and(|c| !c.deterministic());
                    if random {
                        self.find(
                            Level::Error,
                            Some(&column.name),
                            format!("key column {} is encrypted with random nonces", column.name),
                            Some("Equal keys would give different ciphertexts. Encrypt it deterministically, or not at all."),
                        );
                    }
                    names.push(pair.dest.name.clone());
                }
                None => self.find(
                    Level::Error,
                    Some(&column.name),
                    format!("key column {} is not transferred", column.name),
                    Some("upsert, replace and ignore find existing rows by their key."),
                ),
            }
        }
        names
    }
}

/// Key columns of the destination whose equal values no longer give equal ciphertexts, since the
/// encryption key was replaced: a row that comes again would not find itself. A full load replaces
/// every ciphertext.
pub fn rotated_keys(plan: &TablePlan, rings: &BTreeMap<String, KeyRing>) -> Vec<Finding> {
    if plan.task.mode == TableMode::Full {
        return Vec::new();
    }
    let rotated = |pair: &&ColumnPair| {
        let choice = plan.task.encrypt.get(&pair.source.name);
        let ring = choice.filter(|c| c.deterministic()).and_then(|c| rings.get(c.key()));
        ring.is_some_and(KeyRing::was_rotated) && identifies(plan, &pair.dest)
    };
    let finding = |pair: &ColumnPair| Finding {
        level: Level::Error,
        column: Some(pair.source.name.clone()),
        text: format!(
            "column {} identifies rows at the destination, and its encryption key was replaced",
            pair.dest.name
        ),
        hint: Some(
            "Rows sealed with the old key would not be found, and come a second time. Load the \
             table once with mode = \"full\", then take the old key out of the configuration."
                .to_owned(),
        ),
    };
    plan.pairs.iter().filter(rotated).map(finding).collect()
}

/// Whether a column of the destination is among those by which its rows are recognised.
fn identifies(plan: &TablePlan, column: &Column) -> bool {
    plan.dest.indexes.iter().any(|index| index.unique && index.columns.contains(&column.name))
}

/// The keys that seal equal values alike, by the destination's columns; none for a column that rows
/// are recognised by and that is sealed otherwise, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowKeys(BTreeMap<String, Option<String>>);

impl RowKeys {
    /// Of what this plan sends.
    pub fn new(plan: &TablePlan, rings: &BTreeMap<String, KeyRing>) -> RowKeys {
        let key = |pair: &ColumnPair| {
            let choice = plan.task.encrypt.get(&pair.source.name);
            let ring = choice.filter(|c| c.deterministic()).and_then(|c| rings.get(c.key()));
            ring.and_then(|ring| ring.ids().next()).map(|id| id.to_string())
        };
        let keys = plan.pairs.iter().map(|pair| (pair, key(pair)));
        let kept = keys.filter(|(pair, key)| key.is_some() || identifies(plan, &pair.dest));
        RowKeys(kept.map(|(pair, key)| (pair.dest.name.clone(), key)).collect())
    }

    /// As they are written down at the destination.
    ///
    /// # Errors
    /// [`Kind::Internal`] where they cannot be written as text.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|e| Error::new(Kind::Internal, format!("row keys: {e}")))
    }

    /// As they were written down.
    ///
    /// # Errors
    /// [`Kind::Refused`] where a later version has written something else.
    pub fn read(text: &str) -> Result<RowKeys> {
        serde_json::from_str(text).map_err(|_| {
            Error::new(Kind::Refused, "SSYNC_FENCE: row_keys are not readable")
                .hint("A later version has written them, or they were changed outside ssync.")
        })
    }

    /// The keys that `rings` do not have.
    pub fn missing<'a>(
        &'a self,
        rings: &'a BTreeMap<String, KeyRing>,
    ) -> impl Iterator<Item = &'a str> {
        let is_there =
            |id: &str| rings.values().any(|ring| ring.ids().any(|known| known.to_string() == id));
        self.0.values().flatten().map(String::as_str).filter(move |id| !is_there(id))
    }
}

/// Columns by which rows at the destination are recognised, and that were sealed with another key, or
/// with none, when those rows landed: a row that comes again would not find itself.
pub fn foreign_row_keys(
    plan: &TablePlan,
    rings: &BTreeMap<String, KeyRing>,
    known: &RowKeys,
) -> Vec<Finding> {
    if plan.task.mode == TableMode::Full {
        return Vec::new();
    }
    let now = RowKeys::new(plan, rings);
    let words = |key: &Option<String>| match key {
        Some(id) => format!("sealed with key {id}"),
        None => "not sealed with a key that seals equal values alike".to_owned(),
    };
    let finding = |pair: &ColumnPair| {
        let (then, now) = (known.0.get(&pair.dest.name)?, now.0.get(&pair.dest.name)?);
        (then != now && identifies(plan, &pair.dest)).then(|| Finding {
            level: Level::Error,
            column: Some(pair.source.name.clone()),
            text: format!(
                "column {} identifies rows at the destination, and its encryption key was replaced: \
                 rows there are {}, and would now be {}",
                pair.dest.name,
                words(then),
                words(now)
            ),
            hint: Some(
                "Rows that are there would not be found, and come a second time. Configure the \
                 former key again, or load the table once with mode = \"full\", the former key in \
                 `old` where rows are under way; then take it out of the configuration."
                    .to_owned(),
            ),
        })
    };
    plan.pairs.iter().filter_map(finding).collect()
}
