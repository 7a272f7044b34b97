//! Tasks and tables that do not run until an operator says so (A4, A16).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Rates;
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use crate::store::config_tables::{REMOVED, of_table};
use crate::store::sql::{Db, Filter, IntoValue, Select, word};
use crate::value::Value;

/// Why something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldKind {
    /// An operator paused it.
    Paused,
    /// A task of a real-time schedule failed (A16).
    Suspended,
}

/// A task or a table that is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The task.
    pub task: u32,
    /// The table; `None`: the whole task.
    pub table: Option<String>,
    /// Why.
    pub kind: HoldKind,
    /// Since when.
    pub since: Timestamp,
    /// Why, for people.
    pub reason: Option<String>,
}

impl Hold {
    /// `paused since 2026-12-01T00:00:00Z: moving house`.
    pub fn describe(&self) -> String {
        let word = match self.kind {
            HoldKind::Paused => "paused",
            HoldKind::Suspended => "suspended",
        };
        let why = self.reason.as_ref().map_or(String::new(), |r| format!(": {r}"));
        format!("{word} since {:.0}{why}", self.since)
    }
}

impl Store {
    /// Holds a task, or one table of it. One that is held already stays as it is; whether this
    /// call held it.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task or table.
    pub fn hold(
        &mut self,
        task: u32,
        table: Option<&str>,
        kind: HoldKind,
        reason: Option<&str>,
    ) -> Result<bool> {
        self.transaction(|db| put(db, task, table, kind, reason, Timestamp::now()))
    }

    /// Lets a task, or one table of it, run again; what held it, if anything did. Resuming a task
    /// leaves its tables' own holds.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task or table.
    pub fn resume(&mut self, task: u32, table: Option<&str>) -> Result<Option<Hold>> {
        self.transaction(|db| {
            let (place, filter) = place(db, task, table)?;
            let held = hold_of(db, place, task, table, filter.clone())?;
            let free = HOLD_COLUMNS.map(|column| (column, Value::Null));
            db.update(place, &free, filter)?;
            Ok(held)
        })
    }

    /// The limits of a task and of its links, as they are configured now; `None` where there is no
    /// such task any more.
    pub fn rates(&mut self, task: u32) -> Result<Option<Rates>> {
        self.read(|db| super::config_tables::rates(db, task))
    }

    /// Everything that is held, or what of one task is.
    pub fn holds(&mut self, task: Option<u32>) -> Result<Vec<Hold>> {
        self.read(|db| {
            let mut holds = Vec::new();
            let columns = ["task_id", "hold", "hold_at", "hold_reason"];
            let present = Filter::new().maybe("task_id", task).any_of("hold", held());
            let select = Select::new("T_EXTRACTION_TASK", &columns).filter(present);
            for row in db.select(select.order(&["task_id"]))? {
                holds.push(hold(&row, row.number("task_id")?, None)?);
            }
            let columns = ["task_id", "table_name", "hold", "hold_at", "hold_reason"];
            let present = Filter::new().maybe("task_id", task).any_of("hold", held());
            let select =
                Select::new("task_detail", &columns).filter(present.eq("is_removed", false));
            for row in db.select(select.order(&["task_id", "position"]))? {
                holds.push(hold(&row, row.number("task_id")?, Some(row.text("table_name")?))?);
            }
            Ok(holds)
        })
    }
}

/// Holds a task or a table since then; whether this did.
pub(super) fn put(
    db: &mut Db,
    task: u32,
    table: Option<&str>,
    kind: HoldKind,
    reason: Option<&str>,
    since: Timestamp,
) -> Result<bool> {
    let (place, filter) = place(db, task, table)?;
    if hold_of(db, place, task, table, filter.clone())?.is_some() {
        return Ok(false);
    }
    let set = [
        ("hold", word(&kind)),
        ("hold_at", since.into_value()),
        ("hold_reason", reason.map(str::to_owned).into_value()),
    ];
    db.update(place, &set, filter)?;
    Ok(true)
}

const HOLD_COLUMNS: [&str; 3] = ["hold", "hold_at", "hold_reason"];

fn held() -> Vec<Value> {
    vec![word(&HoldKind::Paused), word(&HoldKind::Suspended)]
}

/// The table and row of a task or sub-task that is configured.
fn place(db: &mut Db, task: u32, table: Option<&str>) -> Result<(&'static str, Filter)> {
    let (place, filter) = match table {
        Some(table) => ("task_detail", of_table(task, table)),
        None => ("T_EXTRACTION_TASK", Filter::new().eq("task_id", task)),
    };
    let state = if table.is_some() { "is_removed" } else { "IS_ADD_DEL" };
    let rows = db.select(Select::new(place, &[state]).filter(filter.clone()))?;
    let gone = if table.is_some() { 1 } else { REMOVED };
    match rows.first() {
        Some(row) if row.number::<i64>(state)? != gone => Ok((place, filter)),
        _ => {
            let what = match table {
                Some(table) => format!("task {task} has no table {table}"),
                None => format!("there is no task {task}"),
            };
            Err(Error::new(Kind::Config, what).hint("See what is configured: ssync export."))
        }
    }
}

fn hold_of(
    db: &mut Db,
    place: &str,
    task: u32,
    table: Option<&str>,
    filter: Filter,
) -> Result<Option<Hold>> {
    let rows = db.select(Select::new(place, &HOLD_COLUMNS).filter(filter).for_update())?;
    let row = rows.first().filter(|row| row.opt_text("hold").is_some());
    row.map(|row| hold(row, task, table.map(str::to_owned))).transpose()
}

fn hold(row: &crate::store::sql::Row, task: u32, table: Option<String>) -> Result<Hold> {
    Ok(Hold {
        task,
        table,
        kind: row.word("hold")?,
        since: row.time("hold_at")?,
        reason: row.opt_text("hold_reason"),
    })
}
