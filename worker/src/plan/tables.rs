//! What the tables themselves allow: their modes, their triggers and constraints.

use ssync_common::config::{FullMethod, TableMode};
use ssync_common::connector::WriteMode;
use ssync_common::fidelity::Sealed;
use ssync_common::schema::{self, Column};

use super::{ColumnPair, Level, Planner};
use crate::steps::shadow_name;

impl Planner<'_> {
    pub(super) fn judge_tables(&mut self) {
        let (source, dest) = (self.sides.source, self.sides.dest);
        if dest.is_view {
            self.error(
                format!("destination {} is a view", dest.name),
                "Name the table behind the view.",
            );
        } else if !dest.transactional {
            self.error(
                format!(
                    "destination {} is stored in {}, which cannot roll back",
                    dest.name, dest.engine
                ),
                "Convert it to a transactional engine (ALTER TABLE … ENGINE=InnoDB).",
            );
        }
        if dest.is_same(source) {
            self.error(
                format!("source and destination are the same table, {}", dest.full_name),
                "Correct the links or the names of the tables.",
            );
        }
        if source.is_view && self.table.mode == TableMode::Status {
            self.error(
                format!("source {} is a view, its rows carry no state", source.name),
                "Name the table behind it, or use mode full or increment.",
            );
        }
        if !dest.triggers.is_empty() && !self.table.allow_triggers {
            let names: Vec<_> = dest.triggers.iter().map(|t| t.name.as_str()).collect();
            self.error(
                format!("destination {} has triggers: {}", dest.name, names.join(", ")),
                "They would run for every row that lands. Set allow_triggers = true if they should.",
            );
        }
        if self.table.mode == TableMode::Full {
            self.judge_full();
        }
    }

    fn judge_full(&mut self) {
        let dest = self.sides.dest;
        let referenced: Vec<_> = match self.table.full {
            FullMethod::Swap => dest.referenced_by.iter().map(|f| f.child.as_str()).collect(),
            FullMethod::Truncate => dest.referenced_by_others().map(|f| f.child.as_str()).collect(),
        };
        let deleted: Vec<_> =
            dest.referenced_by_others().filter(|f| f.deletes).map(|f| f.child.as_str()).collect();
        match self.table.full {
            FullMethod::Swap if !dest.triggers.is_empty() => self.error(
                format!("destination {} has triggers, which a swap would leave behind", dest.name),
                "Use full = \"truncate\".",
            ),
            FullMethod::Swap if !dest.foreign_keys.is_empty() => self.error(
                format!("destination {} has foreign keys, which a swap would lose", dest.name),
                "A table made like it has none. Use full = \"truncate\".",
            ),
            FullMethod::Swap if !referenced.is_empty() => self.error(
                format!("destination {} is referenced by {}", dest.name, referenced.join(", ")),
                "A swap would leave those foreign keys on the old table. Use full = \"truncate\".",
            ),
            FullMethod::Swap if !dest.is_view => {
                let dialect = self.sides.dest_dialect;
                let new = shadow_name(&dest.name);
                let made = dialect.create_like(&new, dest).and_then(|_| dialect.swap(&new, dest));
                if let Err(e) = made {
                    self.error(e.message, e.hint.as_deref().unwrap_or("Use full = \"truncate\"."));
                }
            }
            FullMethod::Truncate if !deleted.is_empty() => self.error(
                format!(
                    "emptying destination {} would delete or change rows of {}",
                    dest.name,
                    deleted.join(", ")
                ),
                "Their foreign keys cascade. Declare them ON DELETE RESTRICT, and empty those tables \
                 by before = { dest = [\"DELETE FROM …\"] }, or use another mode.",
            ),
            FullMethod::Truncate if !referenced.is_empty() => self.find(
                Level::Warning,
                None,
                format!("destination {} is referenced by {}", dest.name, referenced.join(", ")),
                Some("It is emptied row by row, and cannot be while rows refer to it."),
            ),
            _ => {}
        }
        if !matches!(self.table.write, WriteMode::Insert) {
            self.find(
                Level::Info,
                None,
                "write has no effect on an emptied table beyond rows that share a key".into(),
                None,
            );
        }
    }

    pub(super) fn judge_write_mode(&mut self, pairs: &[ColumnPair], dest_key: &[String]) {
        let dest = self.sides.dest;
        let mode = self.table.write;
        if mode == WriteMode::Insert {
            return;
        }
        let word = format!("{mode:?}").to_lowercase();
        if let Some(index) = dest.indexes.iter().find(|i| i.without_overlaps) {
            self.error(
                format!(
                    "{word} is not possible into destination {}: index {} is WITHOUT OVERLAPS",
                    dest.name, index.name
                ),
                "The server refuses it for such a table. Use write = \"insert\".",
            );
            return;
        }
        if dest_key.is_empty() || dest.unique_index_on(dest_key).is_none() {
            self.error(
                format!(
                    "{word} needs a unique index on ({}) at destination {}",
                    dest_key.join(", "),
                    dest.name
                ),
                "Create it; without it existing rows cannot be found.",
            );
            return;
        }
        let others: Vec<_> = dest
            .indexes
            .iter()
            .filter(|i| i.unique)
            .filter(|i| {
                i.partial
                    || i.columns.len() != dest_key.len()
                    || !i.columns.iter().all(|c| dest_key.iter().any(|k| k.eq_ignore_ascii_case(c)))
            })
            .map(|i| i.name.as_str())
            .collect();
        if !others.is_empty() {
            self.error(
                format!("destination {} has further unique indexes: {}", dest.name, others.join(", ")),
                "A row could overwrite another one that shares a value there. Drop them, or use write = \"insert\".",
            );
        }
        for name in dest_key {
            let Some(pair) = pairs.iter().find(|p| p.dest.name == *name) else { continue };
            if pair.dest.nullable {
                self.find(Level::Error, Some(&pair.source.name), format!("key column {name} may be NULL at the destination"),
                    Some("NULL equals nothing, so the row would be inserted again and again; declare it NOT NULL."));
            }
            // Envelopes end in no blank. Two that differ in case only have two vectors of 128 bits
            // that meet so by chance: less than 2^-100 for any two keys.
            if matches!(self.sealed(&pair.source.name), Some(Sealed::Encrypt { .. })) {
                continue;
            }
            if coarser(&pair.dest, &pair.source) {
                self.find(
                    Level::Error,
                    Some(&pair.source.name),
                    format!(
                        "key column {name} compares by {} at the destination, but by {} at the source",
                        pair.dest.collation.as_deref().unwrap_or("its default"),
                        pair.source.collation.as_deref().unwrap_or("its default")
                    ),
                    Some("Keys that differ at the source would meet at the destination and overwrite each other. Use the same collation, or a binary one."),
                );
            } else if ignores_end_blanks(&pair.dest)
                && !ignores_end_blanks(&pair.source)
                && !matches!(pair.source.family.as_str(), "char" | "nchar")
            {
                let allowed = self.table.allow_lossy.contains(&pair.source.name);
                self.find(
                    if allowed { Level::Warning } else { Level::Error },
                    Some(&pair.source.name),
                    format!("key column {name} ignores blanks at the end at the destination, but not at the source"),
                    Some("Keys that differ only in them would overwrite each other. Use a collation such as MariaDB's utf8mb4_nopad_bin, or name the column in allow_lossy if no key ends in a blank."),
                );
            }
        }
        let cascades = dest.referenced_by.iter().any(|f| f.cascades);
        if mode == WriteMode::Replace && cascades {
            self.error(
                format!("rows of other tables are deleted with rows of {}", dest.name),
                "replace deletes a row before it inserts it anew. Use upsert.",
            );
        }
    }
}

/// Whether keys that differ under `source`'s collation could be equal under `dest`'s.
fn coarser(dest: &Column, source: &Column) -> bool {
    let exact = |c: &Column| {
        c.kind != schema::Kind::Text
            || c.collation.as_deref().is_none_or(|n| {
                n.ends_with("_bin") || n == "binary" || n.eq_ignore_ascii_case("BINARY")
            })
    };
    !exact(dest) && (exact(source) || dest.collation != source.collation)
}

/// Whether the column takes 'a' and 'a ' for equal, as most collations of MySQL do, binary ones of
/// character sets included.
fn ignores_end_blanks(column: &Column) -> bool {
    let Some(collation) = column.collation.as_deref() else { return false };
    let name = collation.to_ascii_lowercase();
    let keeps =
        name == "binary" || name == "nocase" || name.contains("nopad") || name.contains("_0900_");
    column.kind == schema::Kind::Text && !keeps
}
