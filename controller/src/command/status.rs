//! `ssync status`: what is configured, and how it stands.

use serde_json::json;
use ssync_common::config::{TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Hold, HoldKind, LockInfo, RunRecord, Store};

use super::records;
use crate::output::Output;

/// How one sub-task stands.
struct Standing {
    hold: Option<Hold>,
    lock: Option<LockInfo>,
    last: Option<RunRecord>,
}

/// Shows every task, or one.
pub fn status(store: &mut Store, only: Option<u32>, out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    if let Some(id) = only
        && !config.tasks.iter().any(|t| t.id == id)
    {
        return Err(Error::new(Kind::Config, format!("there is no task {id}"))
            .hint("See what is configured: ssync export."));
    }
    let holds = store.holds(only)?;
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for task in config.tasks.iter().filter(|t| only.is_none_or(|id| t.id == id)) {
        for table in &task.tables {
            let standing = standing(store, &holds, task, table)?;
            objects.push(json!({
                "task": task.id,
                "schedule": task.schedule,
                "table": table.name,
                "source": task.source,
                "dest": task.dest,
                "hold": standing.hold,
                "running": standing.lock,
                "last_run": standing.last,
            }));
            rows.push([
                task.id.to_string(),
                table.name.clone(),
                format!("{} → {}", task.source, task.dest),
                standing.words(),
                standing.last_words(),
            ]);
        }
    }
    if out.is_json() {
        out.object(json!({ "tables": objects }));
    } else {
        out.table(["TASK", "TABLE", "LINKS", "NOW", "LAST RUN"], &rows);
    }
    Ok(true)
}

fn standing(store: &mut Store, holds: &[Hold], task: &Task, table: &TableTask) -> Result<Standing> {
    let of = |h: &&Hold| h.task == task.id && h.table.as_ref().is_none_or(|t| *t == table.name);
    Ok(Standing {
        hold: holds.iter().find(of).cloned(),
        lock: store.lock_holder(task.id, &table.name)?,
        last: store.last_run(task.id, &table.name)?,
    })
}

impl Standing {
    fn words(&self) -> String {
        let hold = self.hold.as_ref().map(|hold| match hold.kind {
            HoldKind::Paused => format!("paused since {:.0}", hold.since),
            HoldKind::Suspended => format!("suspended since {:.0}", hold.since),
        });
        // The owner may have died: only the next one who takes the lock finds out.
        let lock = self.lock.as_ref().map(|lock| format!("locked by {}", lock.owner_text()));
        let parts: Vec<_> = lock.into_iter().chain(hold).collect();
        if parts.is_empty() { "ready".to_owned() } else { parts.join(", ") }
    }

    fn last_words(&self) -> String {
        let Some(run) = &self.last else { return "never".to_owned() };
        let state = records::state(run.state);
        let (landed, failed) = (run.counts.landed, run.counts.failed);
        format!("{state}, {landed} landed, {failed} failed, began {:.0}", run.begin)
    }
}
