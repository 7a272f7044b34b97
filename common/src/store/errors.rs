//! Rows that could not be transferred: `T_ERROR_ROW`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::SubTask;
use crate::error::{Kind, Result};
use crate::process::RunId;
use crate::store::Store;
use crate::store::config_tables::{of_table, of_tables};
use crate::store::runs::select_batches;
use crate::store::sql::{Db, Filter, IntoValue, Row, Select, json, json_text, whole_number, word};
use crate::value::{Key, Value, key_text};

/// Where a bad row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    /// Waits for somebody to look at it.
    Bad,
    /// Is to be sent again.
    Retried,
    /// Has landed since.
    Landed,
    /// Will not be sent: it is gone from the source, or somebody has changed its state.
    Withdrawn,
    /// Was bad again: a later record has it.
    Repeated,
    /// Needs nobody's attention any more; whether it has landed is not known. Versions before 14 of
    /// the schema wrote nothing else.
    Resolved,
}

impl RowState {
    /// Every state.
    pub const ALL: [RowState; 6] = [
        RowState::Bad,
        RowState::Retried,
        RowState::Landed,
        RowState::Withdrawn,
        RowState::Repeated,
        RowState::Resolved,
    ];

    /// Whether the row still needs attention.
    pub fn is_open(self) -> bool {
        matches!(self, RowState::Bad | RowState::Retried)
    }

    /// The states in which a row still needs attention.
    pub fn open() -> Vec<RowState> {
        RowState::ALL.into_iter().filter(|state| state.is_open()).collect()
    }
}

/// What became of a bad row, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The run that landed it, or met it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When it was found out.
    pub at: Timestamp,
    /// How it is known, for people.
    pub how: String,
}

/// A bad row, by run and number, is in another state from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The run that met it.
    pub run: RunId,
    /// Its number in the run.
    pub number: u64,
    /// Its state.
    pub state: RowState,
    /// Why.
    pub verdict: Verdict,
}

/// Key ranges that runs of a sub-task have settled since a moment, newest run first.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Run, first key and last key.
    pub ranges: Vec<(RunId, Key, Key)>,
    /// Whether that is all of them.
    pub is_all: bool,
}

/// Runs that are looked through for what they settled.
const RUNS_MAX: u64 = 100;
/// Ranges that are looked through.
const RANGES_MAX: usize = 2000;

/// A row that could not be transferred. Never its values, beside the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorRow {
    /// The run that met it.
    pub run: RunId,
    /// Number in the run, from 0; given by the store.
    pub number: u64,
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// Names of the key columns.
    pub key_columns: Vec<String>,
    /// Its key.
    pub key: Key,
    /// The column at fault.
    pub column: Option<String>,
    /// Sort of failure.
    pub kind: Kind,
    /// What was wrong.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Where it stands.
    pub state: RowState,
    /// Why it is no longer `bad`, where that was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

impl ErrorRow {
    /// The key for people: `id=17`.
    pub fn key_text(&self) -> String {
        key_text(&self.key_columns, &self.key)
    }
}

/// Which bad rows.
#[derive(Debug, Clone, Default)]
pub struct ErrorFilter {
    /// Of this task.
    pub task: Option<u32>,
    /// Of one of these sub-tasks; empty: of any.
    pub tables: Vec<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// In one of these states; empty: in any.
    pub states: Vec<RowState>,
    /// At most so many.
    pub limit: Option<u64>,
}

impl ErrorFilter {
    fn rows(&self) -> Filter {
        let filter =
            of_tables(self.task, &self.tables).maybe("run_id", self.run.map(|r| r.to_string()));
        match self.states.as_slice() {
            [] => filter,
            states => filter.any_of("row_state", states.iter().map(word).collect()),
        }
    }
}

impl Store {
    /// Records bad rows; their numbers go on from the run's last, whatever they say.
    pub fn record_errors(&mut self, rows: &[ErrorRow]) -> Result<()> {
        self.transaction(|db| rows.iter().try_for_each(|row| add(db, row)))
    }

    /// Bad rows, by task, table, run and number.
    pub fn errors(&mut self, filter: &ErrorFilter) -> Result<Vec<ErrorRow>> {
        let columns = [
            "run_id",
            "error_no",
            "task_id",
            "table_name",
            "key_columns",
            "key_values",
            "column_name",
            "error_kind",
            "error_text",
            "error_at",
            "row_state",
            "state_at",
            "state_run",
            "state_reason",
        ];
        let order = ["task_id", "table_name", "run_id", "error_no"];
        self.read(|db| {
            let select = Select::new("T_ERROR_ROW", &columns).filter(filter.rows()).order(&order);
            let select = match filter.limit {
                Some(limit) => select.limit(limit),
                None => select,
            };
            db.select(select)?.into_iter().map(error_row).collect()
        })
    }

    /// How many rows wait to be corrected, by task and table.
    pub fn bad_rows(&mut self) -> Result<BTreeMap<(u32, String), u64>> {
        self.read(|db| {
            let d = db.conn().dialect();
            let (task, table) = (d.quote("task_id"), d.quote("table_name"));
            let sql = format!(
                "SELECT {task}, {table}, COUNT(*) FROM {} WHERE {} = 'bad' GROUP BY {task}, {table}",
                d.table("T_ERROR_ROW"),
                d.quote("row_state"),
            );
            let count = |row: Vec<Value>| {
                let task = u32::try_from(row.first()?.as_i64()?).ok()?;
                Some(((task, row.get(1)?.as_str()?.to_owned()), whole_number(row.get(2)?)))
            };
            Ok(db.conn().query(&sql, &[])?.into_iter().filter_map(count).collect())
        })
    }

    /// Writes down what became of bad rows.
    pub fn judge(&mut self, judgements: &[Judgement]) -> Result<()> {
        self.transaction(|db| judge(db, judgements))
    }

    /// What runs of a sub-task have settled since a moment.
    pub fn sent_since(&mut self, task: u32, table: &str, since: Timestamp) -> Result<Sent> {
        self.read(|db| {
            let runs = Select::new("T_RUN", &["run_id"]).filter(of_table(task, table));
            let runs = db.select(runs.order(&["begin_at DESC"]).limit(RUNS_MAX))?;
            let mut sent = Sent { ranges: Vec::new(), is_all: (runs.len() as u64) < RUNS_MAX };
            for run in runs {
                let settled = Filter::new().eq("run_id", run.text("run_id")?);
                let settled = settled.at_least("settled_at", since);
                for batch in select_batches(db, settled, &["batch_no", "part"])? {
                    sent.ranges.push((batch.run, batch.low, batch.high));
                }
                if sent.ranges.len() > RANGES_MAX {
                    sent.is_all = false;
                    break;
                }
            }
            Ok(sent)
        })
    }

    /// The sub-tasks of a task that runs, empty runs or bad rows are recorded of.
    pub fn recorded_tables(&mut self, task: u32) -> Result<BTreeSet<String>> {
        self.read(|db| {
            let mut tables = BTreeSet::new();
            for place in ["T_RUN", "T_EMPTY_RUN", "T_ATTEMPT", "T_ERROR_ROW"] {
                let d = db.conn().dialect();
                let sql = format!(
                    "SELECT DISTINCT {} FROM {} WHERE {} = {task}",
                    d.quote("table_name"),
                    d.table(place),
                    d.quote("task_id"),
                );
                let rows = db.conn().query(&sql, &[])?;
                tables
                    .extend(rows.iter().filter_map(|row| Some(row.first()?.as_str()?.to_owned())));
            }
            Ok(tables)
        })
    }
}

/// Writes down what became of bad rows.
pub(super) fn judge(db: &mut Db, judgements: &[Judgement]) -> Result<()> {
    for Judgement { run, number, state, verdict } in judgements {
        let row = Filter::new().eq("run_id", run.to_string()).eq("error_no", *number);
        let set = [
            ("row_state", word(state)),
            ("state_at", verdict.at.into_value()),
            ("state_run", verdict.run.map(|run| run.to_string()).into_value()),
            ("state_reason", (&verdict.how).into_value()),
        ];
        db.update("T_ERROR_ROW", &set, row)?;
    }
    Ok(())
}

/// Notes that these rows, by run and number, need nobody's attention any more: entries of older
/// versions, which do not say what became of them.
pub(super) fn resolve(db: &mut Db, rows: &[(RunId, u64)]) -> Result<()> {
    let state = [("row_state", word(&RowState::Resolved))];
    for (run, number) in rows {
        let row = Filter::new().eq("run_id", run.to_string()).eq("error_no", *number);
        db.update("T_ERROR_ROW", &state, row)?;
    }
    Ok(())
}

/// Adds the rows of a run that are not recorded as bad yet. Rows without a key are all new. They
/// belong to the sub-task that their run does, which may have been renamed since it began.
pub(super) fn add_new(db: &mut Db, rows: &[ErrorRow]) -> Result<()> {
    type Known = (BTreeSet<String>, Option<SubTask>);
    let mut known: BTreeMap<RunId, Known> = BTreeMap::new();
    for row in rows {
        let (keys, of) = match known.entry(row.run) {
            Entry::Occupied(keys) => keys.into_mut(),
            Entry::Vacant(place) => place.insert((bad_keys(db, row.run)?, sub_task(db, row.run)?)),
        };
        if keys.insert(json_text(&row.key)?) || row.key.is_empty() {
            let (task, table) = of.clone().unwrap_or_else(|| (row.task, row.table.clone()));
            add(db, &ErrorRow { task, table, ..row.clone() })?;
        }
    }
    Ok(())
}

/// The sub-task that a run is recorded of.
fn sub_task(db: &mut Db, run: RunId) -> Result<Option<SubTask>> {
    let of_run = Filter::new().eq("run_id", run.to_string());
    let rows = db.select(Select::new("T_RUN", &["task_id", "table_name"]).filter(of_run))?;
    rows.first().map(|row| Ok((row.number("task_id")?, row.text("table_name")?))).transpose()
}

/// Keys, as JSON, of the rows of a run that are recorded as bad.
fn bad_keys(db: &mut Db, run: RunId) -> Result<BTreeSet<String>> {
    let bad = ErrorFilter { run: Some(run), states: vec![RowState::Bad], ..ErrorFilter::default() };
    let select = Select::new("T_ERROR_ROW", &["key_values"]).filter(bad.rows());
    db.select(select)?.iter().map(|row| row.text("key_values")).collect()
}

/// Adds a row; its number goes on from the run's last.
pub(super) fn add(db: &mut Db, row: &ErrorRow) -> Result<()> {
    let run = row.run.to_string();
    let of_run = Filter::new().eq("run_id", &run);
    let last = Select::new("T_ERROR_ROW", &["error_no"]).filter(of_run);
    let last = db.select(last.order(&["error_no DESC"]).limit(1))?;
    let number = match last.first() {
        Some(last) => last.number::<i64>("error_no")? + 1,
        None => 0,
    };
    let values = [
        ("run_id", run.into_value()),
        ("error_no", number.into_value()),
        ("task_id", row.task.into_value()),
        ("table_name", (&row.table).into_value()),
        ("key_columns", json(&row.key_columns)?),
        ("key_values", json(&row.key)?),
        ("column_name", row.column.clone().into_value()),
        ("error_kind", word(&row.kind)),
        ("error_text", (&row.text).into_value()),
        ("error_at", row.at.into_value()),
        ("row_state", word(&row.state)),
        ("state_at", row.verdict.as_ref().map(|v| v.at).into_value()),
        ("state_run", row.verdict.as_ref().and_then(|v| v.run).map(|r| r.to_string()).into_value()),
        ("state_reason", row.verdict.as_ref().map(|v| v.how.clone()).into_value()),
    ];
    db.insert("T_ERROR_ROW", &values)
}

fn error_row(row: Row) -> Result<ErrorRow> {
    Ok(ErrorRow {
        run: row.parsed("run_id")?,
        number: row.number("error_no")?,
        task: row.number("task_id")?,
        table: row.text("table_name")?,
        key_columns: row.json("key_columns")?,
        key: row.json("key_values")?,
        column: row.opt_text("column_name"),
        kind: row.word("error_kind")?,
        text: row.opt_text("error_text").unwrap_or_default(),
        at: row.time("error_at")?,
        state: row.word("row_state")?,
        verdict: match (row.opt_time("state_at")?, row.opt_text("state_reason")) {
            (Some(at), Some(how)) => {
                let run = row.opt_text("state_run").map(|_| row.parsed("state_run")).transpose()?;
                Some(Verdict { run, at, how })
            }
            _ => None,
        },
    })
}
