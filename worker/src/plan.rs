//! From configuration and table descriptions to a plan: which columns, which key, how rows land,
//! and everything that stands against it. `ssync check` prints the findings; a run refuses to
//! start on any that is an error.

mod columns;
mod fingerprint;
mod keys;
mod status;
mod tables;

use serde::{Deserialize, Serialize};
use ssync_common::config::{TableMode, TableTask, Task};
use ssync_common::connector::{Dialect, LoadPlan};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::fidelity::Fidelity;
use ssync_common::schema::{self, Column, Table};
use ssync_writer::empties::EmptyColumn;
use ssync_writer::transform::ColumnTransform;

use crate::source::UpdateTriggers;
use columns::spelt_as_found;
pub use fingerprint::{Circumstances, Fingerprint, walks_alike};
pub use keys::{RowKeys, foreign_row_keys, rotated_keys};

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

/// Everything a run of one table needs to know. Data only: it travels as JSON.
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
    /// What the source table stands on: the same for every address that leads there.
    #[serde(skip)]
    pub source_server: String,
    /// What the source's rows are shared out by where they have no key.
    #[serde(skip)]
    pub address: Option<Column>,
    /// The source is a view: no sample of its rows can be taken.
    #[serde(skip)]
    pub source_is_view: bool,
    /// Triggers that run at updates of the source.
    #[serde(skip)]
    pub source_triggers: UpdateTriggers,
}

impl TablePlan {
    /// The watermark of an `increment`.
    ///
    /// # Errors
    /// [`Kind::Internal`] where nothing is walked.
    pub fn watermark(&self) -> Result<&Column> {
        self.order
            .first()
            .ok_or_else(|| Error::new(Kind::Internal, "increment without a watermark"))
    }

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
        let source = self.sides.source;
        if self.table.mode == TableMode::Full
            && task.snapshot
            && !source.is_view
            && !source.transactional
        {
            self.find(
                Level::Warning,
                None,
                format!(
                    "source {} is stored in {}, which keeps no old versions of rows: what changes \
                     while it is read may be missed",
                    source.name, source.engine
                ),
                Some("Convert it to a transactional engine, or let nobody write to it meanwhile."),
            );
        }
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
            source_server: self.sides.source.server.clone(),
            address: self.sides.source.address.clone(),
            source_is_view: self.sides.source.is_view,
            source_triggers: UpdateTriggers::of(self.sides.source),
        })
    }
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
