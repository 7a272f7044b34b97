//! From configuration and table descriptions to a plan: which columns, which key, how rows land,
//! and everything that stands against it. `ssync check` prints the findings; a run refuses to
//! start on any that is an error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ssync_common::config::{EmptyAs, FullMethod, OTHER_COLUMNS, TableMode, TableTask, Task};
use ssync_common::connector::{Dialect, LoadPlan, WriteMode};
use ssync_common::crypto::{self, KeyRing};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::fidelity::{self, EmptyStep, Fidelity, Sealed};
use ssync_common::schema::{self, Column, Table};
use ssync_writer::empties::EmptyColumn;
use ssync_writer::transform::{Action, ColumnTransform};

use crate::source::STATUS_COLUMN;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Works, but somebody should look.
    Warning,
    /// The table cannot be run like this.
    Error,
}

/// One thing found while planning or checking a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The column, where it is about one (source name).
    pub column: Option<String>,
    /// What was found.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A transferred column: from, to, and how faithfully.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnPair {
    /// At the source.
    pub source: Column,
    /// At the destination.
    pub dest: Column,
    /// `encrypt`, `decrypt` or nothing.
    pub crypto: Option<String>,
    /// What happens to values.
    pub fidelity: Fidelity,
}

impl ColumnPair {
    /// How the values travel into the destination.
    fn kind_out(&self) -> schema::Kind {
        match self.crypto.as_deref() {
            Some("encrypt") => schema::Kind::Text,
            Some("decrypt") => self.dest.kind,
            _ => self.source.kind,
        }
    }
}

/// Everything a run of one table needs to know. Data only: it travels as JSON, and its text is
/// the fingerprint by which a resumed run recognises its plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TablePlan {
    /// The sub-task as configured.
    pub task: TableTask,
    /// Columns to read: the transferred ones in order, then key columns that are not transferred.
    pub read: Vec<Column>,
    /// Transferred columns.
    pub pairs: Vec<ColumnPair>,
    /// Key columns at the source, in order; empty for a keyless `full`.
    pub key: Vec<Column>,
    /// Watermark column first, then the key: what `increment` walks by. The key otherwise.
    pub order: Vec<Column>,
    /// Columns the source database would touch on every update.
    pub touched: Vec<String>,
    /// Encryption and decryption of columns of the batch.
    pub transforms: Vec<ColumnTransform>,
    /// Columns whose empty values change on the way into Oracle, or out of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empties: Vec<EmptyColumn>,
    /// How rows land.
    pub load: LoadPlan,
    /// The destination table.
    pub dest: Table,
    /// The source table's name in full.
    #[serde(skip)]
    pub source_name: String,
    /// What the source's rows are shared out by where they have no key.
    #[serde(skip)]
    pub address: Option<Column>,
    /// The source is a view: no sample of its rows can be taken.
    #[serde(skip)]
    pub source_is_view: bool,
}

impl TablePlan {
    /// Place in the batch and kind of these columns.
    pub fn places(&self, columns: &[Column]) -> Vec<(usize, schema::Kind)> {
        columns
            .iter()
            .filter_map(|k| {
                let place = self.read.iter().position(|c| c.name == k.name)?;
                Some((place, k.kind))
            })
            .collect()
    }

    /// Fingerprint: a resumed run must have been begun with the same plan. Its end says by which
    /// columns the source is walked: see [`walks_alike`].
    pub fn fingerprint(&self) -> Result<String> {
        let mut plan = self.clone();
        // A swap changes how a database spells its own statements.
        plan.dest.definition.clear();
        let hash = |text: serde_json::Result<String>| {
            text.map(|t| ssync_common::value::hex_bytes::encode(&ssync_common::ledger::id_of(&t)))
                .map_err(|e| Error::new(Kind::Internal, format!("plan: {e}")))
        };
        let walk: Vec<_> = self.order.iter().map(|c| (&c.name, c.kind, &c.collation)).collect();
        Ok(format!(
            "{}.{}",
            hash(serde_json::to_string(&plan))?,
            hash(serde_json::to_string(&walk))?
        ))
    }
}

/// Whether two plans, by their fingerprints, walk the source in the same order, so that positions
/// and keys in the ledger mean the same to both.
pub fn walks_alike(a: &str, b: &str) -> bool {
    let walk = |fingerprint: &str| fingerprint.rsplit_once('.').map(|(_, walk)| walk.to_owned());
    walk(a).is_some() && walk(a) == walk(b)
}

/// A plan together with what was found while making it.
#[derive(Debug)]
pub struct Planned {
    /// The plan, unless an error finding makes one impossible.
    pub plan: Option<TablePlan>,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
}

/// Both sides of a table as found.
pub struct Sides<'a> {
    /// Source table.
    pub source: &'a Table,
    /// Its dialect.
    pub source_dialect: &'a dyn Dialect,
    /// Destination table.
    pub dest: &'a Table,
    /// Its dialect.
    pub dest_dialect: &'a dyn Dialect,
}

/// Plans a table, collecting every finding.
pub fn plan(task: &Task, table: &TableTask, sides: &Sides<'_>) -> Planned {
    let table = &spelt_as_found(table, sides.source);
    let mut planner = Planner { table, sides, findings: Vec::new() };
    let plan = planner.plan(task);
    let mut findings = planner.findings;
    findings.sort_by_key(|f| std::cmp::Reverse(f.level));
    let failed = findings.iter().any(|f| f.level == Level::Error);
    Planned { plan: plan.filter(|_| !failed), findings }
}

/// The sub-task with its columns' settings under the names that the source itself spells: databases
/// take names of another case for the same, and a setting must not be lost by that.
fn spelt_as_found(table: &TableTask, source: &Table) -> TableTask {
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

struct Planner<'a> {
    table: &'a TableTask,
    sides: &'a Sides<'a>,
    findings: Vec<Finding>,
}

impl Planner<'_> {
    fn find(&mut self, level: Level, column: Option<&str>, text: String, hint: Option<&str>) {
        self.findings.push(Finding {
            level,
            column: column.map(str::to_owned),
            text,
            hint: hint.map(str::to_owned),
        });
    }

    fn error(&mut self, text: String, hint: &str) {
        self.find(Level::Error, None, text, Some(hint));
    }

    fn plan(&mut self, task: &Task) -> Option<TablePlan> {
        self.judge_tables();
        let key = self.key();
        let pairs = self.pairs(&key);
        let order = self.order(&key);
        if self.table.mode == TableMode::Status {
            self.judge_status();
        }
        let dest_key = self.dest_key(&key, &pairs);
        self.judge_write_mode(&pairs, &dest_key);
        self.judge_left_out(&pairs);
        let mut read: Vec<Column> = pairs.iter().map(|p| p.source.clone()).collect();
        for column in &order {
            if !read.iter().any(|c| c.name == column.name) {
                read.push(column.clone());
            }
        }
        let transforms = self.transforms(&pairs);
        let empties = self.empties(&pairs);
        let kinds = pairs.iter().map(ColumnPair::kind_out).collect();
        let load = LoadPlan {
            table: self.table.dest.clone(),
            columns: pairs.iter().map(|p| p.dest.clone()).collect(),
            kinds,
            mode: self.table.write,
            key: dest_key,
        };
        let touched = self
            .sides
            .source
            .columns
            .iter()
            .filter(|c| c.on_update_now)
            .map(|c| c.name.clone())
            .collect();
        if task.batch_rows < 1000 && self.sides.dest_dialect.name() != "sqlite" {
            self.find(
                Level::Info,
                None,
                format!("batches of {} rows are slow", task.batch_rows),
                Some("10,000 to 20,000 rows a transaction are fastest; see docs/BENCHMARKS.md."),
            );
        }
        Some(TablePlan {
            task: self.table.clone(),
            read,
            pairs,
            key,
            order,
            touched,
            transforms,
            empties,
            load,
            dest: self.sides.dest.clone(),
            source_name: self.sides.source.full_name.clone(),
            address: self.sides.source.address.clone(),
            source_is_view: self.sides.source.is_view,
        })
    }

    fn judge_tables(&mut self) {
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
        let referenced: Vec<_> = dest.referenced_by.iter().map(|f| f.child.as_str()).collect();
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
            FullMethod::Truncate if !referenced.is_empty() => self.find(
                Level::Warning,
                None,
                format!("destination {} is referenced by {}", dest.name, referenced.join(", ")),
                Some("It cannot be emptied while rows refer to it."),
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

    fn key(&mut self) -> Vec<Column> {
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

    fn order(&mut self, key: &[Column]) -> Vec<Column> {
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
                            Some("A watermark is a number, a date or a time that only grows."),
                        );
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

    fn pairs(&mut self, key: &[Column]) -> Vec<ColumnPair> {
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

    fn sealed(&self, source: &str) -> Option<Sealed> {
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
    fn empties(&mut self, pairs: &[ColumnPair]) -> Vec<EmptyColumn> {
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

    fn transforms(&self, pairs: &[ColumnPair]) -> Vec<ColumnTransform> {
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

    /// The destination's names of the key columns, for write modes that look for existing rows.
    fn dest_key(&mut self, key: &[Column], pairs: &[ColumnPair]) -> Vec<String> {
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

    fn judge_write_mode(&mut self, pairs: &[ColumnPair], dest_key: &[String]) {
        let dest = self.sides.dest;
        let mode = self.table.write;
        if mode == WriteMode::Insert {
            return;
        }
        let word = format!("{mode:?}").to_lowercase();
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

    fn judge_left_out(&mut self, pairs: &[ColumnPair]) {
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

    fn judge_status(&mut self) {
        let source = self.sides.source;
        let Some(status) = source.column(STATUS_COLUMN) else {
            self.error(
                format!("source {} has no column {STATUS_COLUMN}", source.name),
                "Add it: sync_status, a whole number, DEFAULT 0 NOT NULL. Or use mode full or increment.",
            );
            return;
        };
        if status.nullable {
            self.find(
                Level::Error,
                Some(STATUS_COLUMN),
                format!("{STATUS_COLUMN} may be NULL: such rows would never be sent"),
                Some("Declare it NOT NULL DEFAULT 0."),
            );
        }
        if !matches!(status.kind, schema::Kind::Int | schema::Kind::UInt) {
            self.find(
                Level::Error,
                Some(STATUS_COLUMN),
                format!("{STATUS_COLUMN} is {}, not a whole number", status.declared),
                None,
            );
        }
        let resets = source.triggers.iter().any(|t| {
            t.event.eq_ignore_ascii_case("update")
                && t.body.to_ascii_lowercase().contains(STATUS_COLUMN)
        });
        if !resets && !self.table.app_resets_status {
            let hint = match reset_trigger(self.sides.source_dialect.name(), &source.name) {
                Some(trigger) => format!(
                    "Such changes are never sent. Set app_resets_status = true if the application \
                     does it, or create a trigger:\n{trigger}"
                ),
                None => "Such changes are never sent. Let the application do it.".to_owned(),
            };
            self.find(
                Level::Warning,
                None,
                format!(
                    "nothing sets {STATUS_COLUMN} back to 0 when a row of {} changes",
                    source.name
                ),
                Some(&hint),
            );
        }
        let cascading: Vec<_> =
            source.foreign_keys.iter().filter(|f| f.cascades).map(|f| f.name.as_str()).collect();
        if !cascading.is_empty() {
            self.find(
                Level::Warning,
                None,
                format!("rows of {} change with their parents: {}", source.name, cascading.join(", ")),
                Some("Cascading changes run no triggers and do not reset sync_status; such changes are never sent."),
            );
        }
        let triggers: Vec<_> = source
            .triggers
            .iter()
            .filter(|t| t.event.eq_ignore_ascii_case("update"))
            .map(|t| t.name.as_str())
            .collect();
        if !triggers.is_empty() {
            self.find(
                Level::Info,
                None,
                format!(
                    "UPDATE triggers of {} run at every claim and settlement: {}",
                    source.name,
                    triggers.join(", ")
                ),
                None,
            );
        }
        let indexed = source
            .indexes
            .iter()
            .any(|i| i.columns.first().is_some_and(|c| c.eq_ignore_ascii_case(STATUS_COLUMN)));
        self.find(
            Level::Info,
            None,
            match indexed {
                true => format!("{STATUS_COLUMN} is indexed: finding new rows is fast, settling many rows is several times dearer"),
                false => format!("{STATUS_COLUMN} is not indexed: settling is cheap, finding new rows reads the whole table"),
            },
            None,
        );
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

/// Key columns of the destination whose equal values no longer give equal ciphertexts, since the
/// encryption key was replaced: a row that comes again would not find itself. A full load replaces
/// every ciphertext.
pub fn rotated_keys(plan: &TablePlan, rings: &BTreeMap<String, KeyRing>) -> Vec<Finding> {
    if plan.task.mode == TableMode::Full {
        return Vec::new();
    }
    let identifies = |column: &Column| {
        let unique = |i: &schema::Index| i.unique && i.columns.contains(&column.name);
        plan.dest.indexes.iter().any(unique)
    };
    let rotated = |pair: &&ColumnPair| {
        let choice = plan.task.encrypt.get(&pair.source.name);
        let ring = choice.filter(|c| c.deterministic()).and_then(|c| rings.get(c.key()));
        ring.is_some_and(KeyRing::was_rotated) && identifies(&pair.dest)
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

/// The findings that keep a table from running, as one error.
pub fn refuse(task: u32, table: &str, findings: &[Finding]) -> Result<()> {
    let errors: Vec<_> = findings.iter().filter(|f| f.level == Level::Error).collect();
    let Some(first) = errors.first() else { return Ok(()) };
    let mut error = Error::new(
        Kind::Refused,
        format!("task {task}, table {table} cannot be run: {}", first.text),
    );
    for finding in &errors[1..] {
        error = error.detail(finding.text.clone());
    }
    match &first.hint {
        Some(hint) => Err(error.hint(hint.clone())),
        None => Err(error.hint("ssync check shows all findings.")),
    }
}

/// The trigger that sets `sync_status` back to 0 when the application changes a row, for a source
/// that has none; for people to read and run.
fn reset_trigger(dialect: &str, table: &str) -> Option<String> {
    match dialect {
        "mysql" => Some(format!(
            "CREATE TRIGGER {table}_resend BEFORE UPDATE ON {table} FOR EACH ROW\n  SET \
             NEW.sync_status = IF(NEW.sync_status = OLD.sync_status, 0, NEW.sync_status);"
        )),
        "sqlite" => Some(format!(
            "CREATE TRIGGER {table}_resend AFTER UPDATE ON {table}\n  WHEN NEW.sync_status = \
             OLD.sync_status AND OLD.sync_status <> 0\n  BEGIN UPDATE {table} SET sync_status = 0 \
             WHERE rowid = NEW.rowid; END;"
        )),
        _ => None,
    }
}
