//! Notices (`T_NOTICE`): what people are still to be told because a table has ended. One is written
//! down in one transaction with the end of its run, and with the suspension that follows from it, and
//! is taken away once it was told: whatever dies in between, somebody tells it, and it is told once.
//!
//! The process whose notice it is tells it. One that has died leaves it to whoever opens the
//! configuration database next ([`Notice::is_left`]).

use jiff::Timestamp;

use super::holds::{self, HoldKind};
use crate::error::{Kind, Result};
use crate::event::{Notice, Suspension};
use crate::process::RunId;
use crate::store::sql::{Db, Filter, IntoValue, Row, Select, json};
use crate::store::{Hold, Store};

/// How a task is held because of it.
pub(super) fn hold(notice: &Notice) -> Option<Hold> {
    notice.suspension.as_ref().map(|suspension| Hold {
        task: notice.task,
        table: None,
        kind: HoldKind::Suspended,
        since: notice.end,
        reason: Some(suspension.reason.clone()),
        error: suspension.error,
    })
}

impl Store {
    /// Those that were not told yet, oldest first. One that this version cannot read is for the one
    /// that wrote it.
    pub fn notices(&mut self) -> Result<Vec<Notice>> {
        let columns = ["notice_id", "ended_at", "notice"];
        let select = Select::new("T_NOTICE", &columns).order(&["ended_at", "notice_id"]);
        let rows = self.read(|db| db.select(select.clone()))?;
        let notice = |row: &Row| {
            let read = row.json("notice");
            read.inspect_err(|e| log::warn!("a notice is not told: {e:?}")).ok()
        };
        Ok(rows.iter().filter_map(notice).collect())
    }

    /// One was told.
    pub fn notice_told(&mut self, id: RunId) -> Result<()> {
        self.transaction(|db| told(db, id))
    }
}

/// Writes one down that comes with the end of a run, and suspends its task where it says so. With
/// `is_late` the task may not be configured any more, and then does not run anyway.
pub(super) fn put(db: &mut Db, notice: &Notice, is_late: bool) -> Result<()> {
    let row = [
        ("notice_id", notice.id.to_string().into_value()),
        ("task_id", notice.task.into_value()),
        ("table_name", (&notice.table).into_value()),
        ("ended_at", notice.end.into_value()),
        ("notice", json(notice)?),
    ];
    db.insert("T_NOTICE", &row)?;
    let Some(Suspension { reason, error, .. }) = &notice.suspension else { return Ok(()) };
    suspend(db, notice.task, reason, *error, notice.end, is_late)
}

/// Suspends a task.
pub(super) fn suspend(
    db: &mut Db,
    task: u32,
    reason: &str,
    error: Option<Kind>,
    at: Timestamp,
    is_late: bool,
) -> Result<()> {
    match holds::put(db, task, None, HoldKind::Suspended, Some(reason), error, at) {
        // What is no longer configured does not run.
        Err(e) if is_late && e.kind == Kind::Config => Ok(()),
        done => done.map(drop),
    }
}

/// One was told.
pub(super) fn told(db: &mut Db, id: RunId) -> Result<()> {
    db.delete("T_NOTICE", Filter::new().eq("notice_id", id.to_string())).map(drop)
}
