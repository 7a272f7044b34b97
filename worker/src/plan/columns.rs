//! Which column goes where, what a value may lose on the way, and what is done with it.

use std::collections::BTreeMap;

use ssync_common::config::{EmptyAs, OTHER_COLUMNS, TableTask};
use ssync_common::crypto;
use ssync_common::fidelity::{self, EmptyStep, Fidelity, Sealed};
use ssync_common::schema::{Column, Table};
use ssync_writer::empties::EmptyColumn;
use ssync_writer::transform::{Action, ColumnTransform};

use super::{ColumnPair, Level, Planner};
use crate::source::STATUS_COLUMN;

/// The sub-task with its columns' settings under the names that the source itself spells: databases
/// take names of another case for the same, and a setting must not be lost by that.
pub(super) fn spelt_as_found(table: &TableTask, source: &Table) -> TableTask {
    let found = |name: &String| source.column(name).map_or(name, |c| &c.name).clone();
    fn respelt<T: Clone>(
        map: &BTreeMap<String, T>,
        found: impl Fn(&String) -> String,
    ) -> BTreeMap<String, T> {
        let (exact, others): (Vec<_>, Vec<_>) = map.iter().partition(|(n, _)| found(n) == **n);
        // What is spelt exactly counts, should both be there.
        others.into_iter().chain(exact).map(|(n, v)| (found(n), v.clone())).collect()
    }
    TableTask {
        encrypt: respelt(&table.encrypt, found),
        decrypt: respelt(&table.decrypt, found),
        empty_as: respelt(&table.empty_as, found),
        allow_lossy: table.allow_lossy.iter().map(found).collect(),
        ..table.clone()
    }
}

impl Planner<'_> {
    pub(super) fn pairs(&mut self, key: &[Column]) -> Vec<ColumnPair> {
        let (source, dest) = (self.sides.source, self.sides.dest);
        let chosen: Vec<(String, String)> = if self.table.columns.is_empty() {
            let state = |c: &Column| c.name.eq_ignore_ascii_case(STATUS_COLUMN);
            let computed =
                |c: &Column| c.generated || dest.column(&c.name).is_some_and(|d| d.generated);
            source
                .columns
                .iter()
                .filter(|c| !state(c) && !computed(c))
                .map(|c| (c.name.clone(), c.name.clone()))
                .collect()
        } else {
            let found = |name: &str| source.column(name).map_or(name, |c| &c.name).to_owned();
            self.table.columns.iter().map(|c| (found(c.from()), c.to().to_owned())).collect()
        };
        let configured = self
            .table
            .encrypt
            .keys()
            .chain(self.table.decrypt.keys())
            .chain(&self.table.allow_lossy)
            .chain(self.table.empty_as.keys().filter(|c| *c != OTHER_COLUMNS));
        for name in configured.cloned().collect::<Vec<_>>() {
            if !chosen.iter().any(|(from, _)| *from == name) {
                self.find(
                    Level::Error,
                    Some(&name),
                    format!("column {name} is configured but not transferred"),
                    Some("Names in encrypt, decrypt, allow_lossy and empty_as are those of the source."),
                );
            }
        }
        let mut pairs = Vec::new();
        for (from, to) in chosen {
            match (source.column(&from), dest.column(&to)) {
                (None, _) => self.find(
                    Level::Error,
                    Some(&from),
                    format!("source {} has no column {from}", source.name),
                    Some("Correct columns in the configuration."),
                ),
                (_, None) => self.find(
                    Level::Error,
                    Some(&from),
                    format!("destination {} has no column {to}", dest.name),
                    Some("Add the column at the destination, rename it with { from, to }, or leave it out of columns."),
                ),
                (Some(s), Some(d)) => {
                    let is_key = key.iter().any(|k| k.name == s.name);
                    let kind = if is_key { s.kind } else { fidelity::travels_as(s, d) };
                    pairs.push(self.pair(&Column { kind, ..s.clone() }, d));
                }
            }
        }
        if pairs.is_empty() {
            self.error(
                format!("no columns to transfer from {}", source.name),
                "Choose at least one column.",
            );
        }
        pairs
    }

    fn pair(&mut self, source: &Column, dest: &Column) -> ColumnPair {
        let sealed = self.sealed(&source.name);
        let crypto = sealed.map(|s| match s {
            Sealed::Encrypt { .. } => "encrypt",
            Sealed::Decrypt => "decrypt",
        });
        let judged = self.judge(source, dest, sealed);
        let name = source.name.clone();
        match &judged {
            Fidelity::Exact => {}
            Fidelity::Checked(why) => self.find(Level::Info, Some(&name), why.clone(), None),
            Fidelity::Lossy(why) if self.table.allow_lossy.contains(&name) => {
                self.find(Level::Warning, Some(&name), format!("{why} (allowed)"), None);
            }
            Fidelity::Lossy(why) => self.find(
                Level::Error,
                Some(&name),
                why.clone(),
                Some("Change the destination column, or name the column in allow_lossy."),
            ),
            Fidelity::Refused(why) => self.find(
                Level::Error,
                Some(&name),
                why.clone(),
                Some("Change the destination column, or leave the column out."),
            ),
        }
        ColumnPair {
            source: source.clone(),
            dest: dest.clone(),
            crypto: crypto.map(str::to_owned),
            fidelity: judged,
        }
    }

    fn judge(&self, source: &Column, dest: &Column, sealed: Option<Sealed>) -> Fidelity {
        fidelity::judge(
            source,
            self.sides.source_dialect.name(),
            dest,
            self.sides.dest_dialect.name(),
            sealed,
            self.empty_as(&source.name),
        )
    }

    /// Whether the column is encrypted or decrypted on its way.
    pub(super) fn sealed(&self, source: &str) -> Option<Sealed> {
        match (self.table.encrypt.get(source), self.table.decrypt.contains_key(source)) {
            (Some(choice), _) => Some(Sealed::Encrypt { deterministic: choice.deterministic() }),
            (None, true) => Some(Sealed::Decrypt),
            (None, false) => None,
        }
    }

    /// What is configured for the column's empty text.
    fn empty_as(&self, source: &str) -> Option<EmptyAs> {
        let all = || self.table.empty_as.get(OTHER_COLUMNS);
        self.table.empty_as.get(source).or_else(all).copied()
    }

    /// What happens to empty values, and what of it somebody should know.
    pub(super) fn empties(&mut self, pairs: &[ColumnPair]) -> Vec<EmptyColumn> {
        let mut empties = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            let name = &pair.source.name;
            let step = fidelity::empty_step(
                &pair.source,
                self.sides.source_dialect.name(),
                &pair.dest,
                self.sides.dest_dialect.name(),
                self.sealed(name),
                self.empty_as(name),
            );
            let means = match step {
                None if self.table.empty_as.contains_key(name) => "empty_as has no effect",
                None | Some(EmptyStep::Refuse) => "",
                Some(EmptyStep::ToNull) => "empty values become NULL (empty_as)",
                Some(EmptyStep::ToBlank) => "empty text becomes one blank (empty_as)",
                Some(EmptyStep::FromNull) => "NULL becomes empty (empty_as)",
                Some(EmptyStep::FromBlank) => "one blank becomes empty text (empty_as)",
            };
            if !means.is_empty() {
                self.find(Level::Warning, Some(name), format!("column {name}: {means}"), None);
            }
            empties.extend(step.map(|step| EmptyColumn { index, kind: pair.kind_out(), step }));
        }
        empties
    }

    pub(super) fn transforms(&self, pairs: &[ColumnPair]) -> Vec<ColumnTransform> {
        let transform = |(index, pair): (usize, &ColumnPair)| {
            let (choice, action) = match (
                self.table.encrypt.get(&pair.source.name),
                self.table.decrypt.get(&pair.source.name),
            ) {
                (Some(choice), _) => {
                    let (table, column) = (self.table.dest.clone(), pair.dest.name.clone());
                    (choice, Action::Seal { table, column })
                }
                (None, Some(choice)) => {
                    let (table, column) = (self.table.source.clone(), pair.source.name.clone());
                    (choice, Action::Open { table, column, kind_out: pair.dest.kind })
                }
                (None, None) => return None,
            };
            Some(ColumnTransform {
                index,
                kind_in: pair.source.kind,
                key: choice.key().to_owned(),
                mode: crypto::Mode::new(choice.deterministic()),
                action,
            })
        };
        pairs.iter().enumerate().filter_map(transform).collect()
    }

    pub(super) fn judge_left_out(&mut self, pairs: &[ColumnPair]) {
        let dest = self.sides.dest;
        for column in &dest.columns {
            let filled = pairs.iter().any(|p| p.dest.name == column.name)
                || column.nullable
                || column.has_default
                || column.auto_increment
                || column.generated;
            if !filled {
                self.find(
                    Level::Error,
                    Some(&column.name),
                    format!(
                        "destination column {} is NOT NULL without default and gets no value",
                        column.name
                    ),
                    Some("Transfer a column into it, or give it a default."),
                );
            }
        }
    }
}
