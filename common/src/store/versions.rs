//! Every configuration that was applied, so that it can be shown, compared and returned to.

use jiff::Timestamp;
use nix::unistd::{Uid, User};
use serde::Serialize;

use crate::config::{Change, Config, diff, refusal};
use crate::error::{Error, Kind, Result};
use crate::process::identity::host_name;
use crate::store::Store;
use crate::store::sql::{Db, Filter, IntoValue, Row, Select};

const TABLE: &str = "T_CONFIG_VERSION";
const ABOUT: [&str; 5] = ["version_no", "applied_at", "applied_by", "reason", "change_count"];

/// Who applies a configuration, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The account and the host: `ops@db1`; with sudo also who called it: `root@db1 (ops)`.
    pub name: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

impl Author {
    /// The account that this process runs under.
    pub fn of_this_process(reason: Option<&str>) -> Author {
        let uid = Uid::current();
        let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name);
        let caller = std::env::var("SUDO_USER").ok().filter(|caller| *caller != user);
        let caller = caller.map_or_else(String::new, |caller| format!(" ({caller})"));
        let name = format!("{user}@{}{caller}", host_name());
        Author { name, reason: reason.map(str::to_owned) }
    }
}

/// A configuration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigVersion {
    /// Its number, from 1; one more for every configuration that changed something.
    pub number: i64,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// By whom, as [`Author::name`] has it.
    pub applied_by: String,
    /// Why.
    pub reason: Option<String>,
    /// Differences from the version before it.
    pub changes: u64,
}

impl Store {
    /// The newest `limit` versions of the configuration, newest first.
    pub fn config_versions(&mut self, limit: u64) -> Result<Vec<ConfigVersion>> {
        self.read(|db| {
            let newest = Select::new(TABLE, &ABOUT).order(&["version_no DESC"]).limit(limit);
            db.select(newest)?.iter().map(version).collect()
        })
    }

    /// One version of the configuration.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is no such version; [`Kind::Config`] when this build can no
    /// longer read it.
    pub fn config_version(&mut self, number: i64) -> Result<Config> {
        let found = self.read(|db| {
            let filter = Filter::new().eq("version_no", number);
            db.select(Select::new(TABLE, &["content"]).filter(filter))
        })?;
        let row = found.first().ok_or_else(|| {
            Error::new(Kind::Usage, format!("there is no version {number} of the configuration"))
                .hint("ssync config log lists the versions.")
        })?;
        Config::from_toml(&row.opt_text("content").unwrap_or_default()).map_err(|violations| {
            refusal(&violations).context(format!("version {number} of the configuration"))
        })
    }
}

/// Keeps the configuration that replaces `old`; its number. What was configured before versions
/// were kept becomes the first one.
pub(super) fn keep(db: &mut Db, old: &Config, new: &Config, author: &Author) -> Result<i64> {
    let last = Select::new(TABLE, &["version_no"]).order(&["version_no DESC"]).limit(1);
    let mut number = match db.select(last)?.first() {
        Some(row) => row.number("version_no")?,
        None => 0,
    };
    if number == 0 && *old != Config::default() {
        let before = Author { name: String::new(), reason: None };
        number += 1;
        add(db, number, old, &diff(&Config::default(), old), &before)?;
    }
    add(db, number + 1, new, &diff(old, new), author)?;
    Ok(number + 1)
}

fn add(db: &mut Db, number: i64, config: &Config, changes: &[Change], by: &Author) -> Result<()> {
    let row = [
        ("version_no", number.into_value()),
        ("applied_at", Timestamp::now().into_value()),
        ("applied_by", by.name.as_str().into_value()),
        ("reason", by.reason.clone().into_value()),
        ("change_count", changes.len().into_value()),
        ("content", config.to_toml()?.into_value()),
    ];
    db.insert(TABLE, &row)
}

fn version(row: &Row) -> Result<ConfigVersion> {
    Ok(ConfigVersion {
        number: row.number("version_no")?,
        applied_at: row.time("applied_at")?,
        applied_by: row.opt_text("applied_by").unwrap_or_default(),
        reason: row.opt_text("reason"),
        changes: row.number("change_count")?,
    })
}
