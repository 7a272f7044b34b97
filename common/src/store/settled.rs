//! What was settled last: remembered outside the destination, so that a destination that went
//! back in time is noticed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::SubTask;
use crate::error::{Error, Kind, Result};
use crate::process::RunId;
use crate::store::sql::{Db, Filter};
use crate::store::{Store, schema};

/// First part of the names of the parameters.
const PREFIX: &str = "last_settled.";

/// The entry of a sub-task that was settled last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Address of the destination at that time, for people.
    pub dest_url: String,
    /// The pair of tables, 32 hexadecimal digits.
    pub fence: String,
    /// Epoch of the fence at that time.
    pub epoch: i64,
    /// The run.
    pub run: RunId,
    /// Position in the destination's ledger.
    pub pos: String,
    /// When; records of older versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Settled {
    /// Whether this came before `other`.
    fn is_before(&self, other: &Settled) -> bool {
        if self.fence == other.fence {
            return self.epoch < other.epoch;
        }
        match (self.at, other.at) {
            (Some(mine), Some(theirs)) => mine < theirs,
            _ => false,
        }
    }
}

impl Store {
    /// What of a sub-task was settled last.
    pub fn last_settled(&mut self, task: u32, table: &str) -> Result<Option<Settled>> {
        self.read(|db| read(db, &name(task, table)))
    }

    /// Forgets what of a sub-task was settled last.
    pub fn forget_settled(&mut self, task: u32, table: &str) -> Result<()> {
        self.set_parameter(&name(task, table), "")
    }

    /// What is remembered of every sub-task, of those that are no longer configured too: a
    /// restored destination is compared with them.
    pub fn all_settled(&mut self) -> Result<Vec<Settled>> {
        let known = self.parameters(PREFIX)?;
        let settled = |(name, text): (String, String)| parse(&name, &text);
        known.into_iter().filter(|(_, text)| !text.is_empty()).map(settled).collect()
    }
}

/// Gives what of a sub-task was settled last to another.
pub(super) fn give(db: &mut Db, from: &SubTask, to: &SubTask) -> Result<()> {
    let (from, to) = (name(from.0, &from.1), name(to.0, &to.1));
    let Some(text) = schema::parameter(db, &from)? else { return Ok(()) };
    schema::set_parameter(db, &to, &text)?;
    db.delete("T_PARAMETER", Filter::new().eq("param_name", from)).map(drop)
}

fn name(task: u32, table: &str) -> String {
    format!("{PREFIX}{task}.{table}")
}

fn parse(name: &str, text: &str) -> Result<Settled> {
    serde_json::from_str(text)
        .map_err(|_| Error::new(Kind::Config, format!("parameter {name} is damaged")))
}

fn read(db: &mut Db, name: &str) -> Result<Option<Settled>> {
    let text = schema::parameter(db, name)?.filter(|t| !t.is_empty());
    text.map(|text| parse(name, &text)).transpose()
}

/// Remembers a settlement; one that comes late does not replace a later one.
pub(super) fn remember(
    db: &mut Db,
    task: u32,
    table: &str,
    settled: &Settled,
    is_late: bool,
) -> Result<()> {
    let name = name(task, table);
    if is_late && read(db, &name)?.is_some_and(|known| settled.is_before(&known)) {
        return Ok(());
    }
    schema::set_parameter(db, &name, &crate::store::sql::json_text(settled)?)
}
