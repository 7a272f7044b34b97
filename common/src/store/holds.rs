//! Tasks and tables that do not run until an operator says so (A4, A16).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Rates;
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use crate::store::config_tables::{ADDED, NOTED, REMOVED, of_table};
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
    /// The kind of failure that suspended it, as long as the task may resume by itself once the
    /// server is back; `None`: only a person resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Kind>,
}

impl Hold {
    /// Whether it is the same one, not a later one of the same part.
    pub fn is_same(&self, other: &Hold) -> bool {
        (self.task, &self.table, self.since) == (other.task, &other.table, other.since)
    }

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
    /// Holds a task, or one table of it; whether this call held it. One that is held already stays
    /// as it is, except that a suspended task that a person pauses does not resume by itself.
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
        let now = Timestamp::now();
        self.transaction(|db| match kind {
            HoldKind::Paused => pause(db, task, table, reason, now),
            HoldKind::Suspended => put(db, task, table, kind, reason, None, now),
        })
    }

    /// Lets a task run again that was suspended because a server was out of reach, where that
    /// suspension, of `since`, is still the one that holds it, and no person has paused the task
    /// meanwhile; whether it was.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task.
    pub fn resume_when_back(&mut self, task: u32, since: Timestamp) -> Result<bool> {
        self.transaction(|db| {
            let (place, filter) = place(db, task, None)?;
            let held = hold_of(db, place, task, None, filter.clone())?;
            let is_it = held.is_some_and(|held| held.since == since && held.error.is_some());
            if is_it {
                let free = TASK_HOLD_COLUMNS.map(|column| (column, Value::Null));
                db.update(place, &free, filter)?;
            }
            Ok(is_it)
        })
    }

    /// Leaves it to a person to resume a task that might have resumed by itself, and notes why, as
    /// long as its suspension is the one of `since`; whether it was.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task.
    pub fn stay_suspended(&mut self, task: u32, since: Timestamp, note: &str) -> Result<bool> {
        self.transaction(|db| pin(db, task, Some(since), note))
    }

    /// Lets a task, or one table of it, run again; what held it, if anything did. Resuming a task
    /// leaves its tables' own holds.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task or table.
    pub fn resume(&mut self, task: u32, table: Option<&str>) -> Result<Option<Hold>> {
        Ok(self.resume_all(task, &[table])?.0.into_iter().next().flatten())
    }

    /// Pauses several parts of a task, `None` the whole of it, all of them or none; for each, whether
    /// this call held it, and what holds it now.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task or table.
    pub fn pause_all(
        &mut self,
        task: u32,
        parts: &[Option<&str>],
        reason: Option<&str>,
    ) -> Result<Vec<(bool, Option<Hold>)>> {
        let now = Timestamp::now();
        self.transaction(|db| {
            let pause = |table: &Option<&str>| {
                let changed = pause(db, task, *table, reason, now)?;
                let (place, filter) = place(db, task, *table)?;
                Ok((changed, hold_of(db, place, task, *table, filter)?))
            };
            parts.iter().map(pause).collect()
        })
    }

    /// Lets several parts of a task run again, `None` the whole of it; for each, what held it, and
    /// what of the task is still held. Resuming a task leaves its tables' own holds.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is no such task or table.
    pub fn resume_all(
        &mut self,
        task: u32,
        parts: &[Option<&str>],
    ) -> Result<(Vec<Option<Hold>>, Vec<Hold>)> {
        self.transaction(|db| {
            let mut were = Vec::new();
            for table in parts {
                let (place, filter) = place(db, task, *table)?;
                let held = hold_of(db, place, task, *table, filter.clone())?;
                let free: Vec<_> = hold_columns(*table).iter().map(|c| (*c, Value::Null)).collect();
                db.update(place, &free, filter)?;
                were.push(held);
            }
            Ok((were, holds_of(db, Some(task))?))
        })
    }

    /// The limits of a task and of its links, as they are configured now; `None` where there is no
    /// such task any more.
    pub fn rates(&mut self, task: u32) -> Result<Option<Rates>> {
        self.read(|db| super::config_tables::rates(db, task))
    }

    /// Everything that is held, or what of one task is.
    pub fn holds(&mut self, task: Option<u32>) -> Result<Vec<Hold>> {
        self.read(|db| holds_of(db, task))
    }
}

/// Everything that is held.
pub(super) fn all(db: &mut Db) -> Result<Vec<Hold>> {
    holds_of(db, None)
}

/// A sub-task, configured or not, is not held.
pub(super) fn let_go(db: &mut Db, task: u32, table: &str) -> Result<()> {
    let free = HOLD_COLUMNS.map(|column| (column, Value::Null));
    db.update("task_detail", &free, of_table(task, table)).map(drop)
}

/// Holds something as it was held before, under another name.
pub(super) fn hold_again(db: &mut Db, hold: &Hold) -> Result<()> {
    let (place, filter) = place(db, hold.task, hold.table.as_deref())?;
    let mut set = vec![
        ("hold", word(&hold.kind)),
        ("hold_at", hold.since.into_value()),
        ("hold_reason", hold.reason.clone().into_value()),
    ];
    if hold.table.is_none() {
        set.push(("hold_error", hold.error.as_ref().map(word).into_value()));
    }
    db.update(place, &set, filter).map(drop)
}

fn holds_of(db: &mut Db, task: Option<u32>) -> Result<Vec<Hold>> {
    let mut holds = Vec::new();
    let columns = ["task_id", "hold", "hold_at", "hold_reason", "hold_error"];
    let present = Filter::new().maybe("task_id", task).any_of("hold", held());
    let present = present.any_of("IS_ADD_DEL", vec![Value::Int(NOTED), Value::Int(ADDED)]);
    let select = Select::new("T_EXTRACTION_TASK", &columns).filter(present);
    for row in db.select(select.order(&["task_id"]))? {
        holds.push(hold(&row, row.number("task_id")?, None)?);
    }
    let columns = ["task_id", "table_name", "hold", "hold_at", "hold_reason"];
    let present = Filter::new().maybe("task_id", task).any_of("hold", held());
    let select = Select::new("task_detail", &columns).filter(present.eq("is_removed", false));
    for row in db.select(select.order(&["task_id", "position"]))? {
        holds.push(hold(&row, row.number("task_id")?, Some(row.text("table_name")?))?);
    }
    Ok(holds)
}

/// Pauses a task or a table since then; whether this did. A suspended task that a person pauses does
/// not resume by itself.
fn pause(
    db: &mut Db,
    task: u32,
    table: Option<&str>,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let was_suspended = match table {
        None => {
            let why = reason.map_or(String::new(), |why| format!(": {why}"));
            pin(db, task, None, &format!("paused since {now:.0}{why}"))?
        }
        Some(_) => false,
    };
    Ok(was_suspended || put(db, task, table, HoldKind::Paused, reason, None, now)?)
}

/// Holds a task or a table since then; whether this did. `error`: the failure, where the task may
/// resume by itself once the server is back.
pub(super) fn put(
    db: &mut Db,
    task: u32,
    table: Option<&str>,
    kind: HoldKind,
    reason: Option<&str>,
    error: Option<Kind>,
    since: Timestamp,
) -> Result<bool> {
    let (place, filter) = place(db, task, table)?;
    if hold_of(db, place, task, table, filter.clone())?.is_some() {
        return Ok(false);
    }
    let mut set = vec![
        ("hold", word(&kind)),
        ("hold_at", since.into_value()),
        ("hold_reason", reason.map(str::to_owned).into_value()),
    ];
    if table.is_none() {
        set.push(("hold_error", error.map_or(Value::Null, |error| word(&error))));
    }
    db.update(place, &set, filter)?;
    Ok(true)
}

/// From now on only a person resumes the task, where it might have resumed by itself; whether it
/// might. With `since`, only where that is its suspension.
fn pin(db: &mut Db, task: u32, since: Option<Timestamp>, note: &str) -> Result<bool> {
    let (place, filter) = place(db, task, None)?;
    let held = hold_of(db, place, task, None, filter.clone())?;
    let Some(held) = held.filter(|held| held.error.is_some()) else { return Ok(false) };
    if since.is_some_and(|since| since != held.since) {
        return Ok(false);
    }
    let reason = match held.reason {
        Some(reason) => format!("{reason}; {note}"),
        None => note.to_owned(),
    };
    let set = [("hold_reason", Some(reason).into_value()), ("hold_error", Value::Null)];
    db.update(place, &set, filter)?;
    Ok(true)
}

const HOLD_COLUMNS: [&str; 3] = ["hold", "hold_at", "hold_reason"];
const TASK_HOLD_COLUMNS: [&str; 4] = ["hold", "hold_at", "hold_reason", "hold_error"];

fn hold_columns(table: Option<&str>) -> &'static [&'static str] {
    if table.is_some() { &HOLD_COLUMNS } else { &TASK_HOLD_COLUMNS }
}

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
    let rows = db.select(Select::new(place, hold_columns(table)).filter(filter).for_update())?;
    let row = rows.first().filter(|row| row.opt_text("hold").is_some());
    row.map(|row| hold(row, task, table.map(str::to_owned))).transpose()
}

fn hold(row: &crate::store::sql::Row, task: u32, table: Option<String>) -> Result<Hold> {
    let error = if table.is_none() { row.opt_word("hold_error")? } else { None };
    Ok(Hold {
        task,
        table,
        error,
        kind: row.word("hold")?,
        since: row.time("hold_at")?,
        reason: row.opt_text("hold_reason"),
    })
}
