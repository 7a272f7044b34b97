//! `ssync config`: every version of the configuration.

use serde_json::json;
use ssync_common::config::diff;
use ssync_common::error::Result;
use ssync_common::store::{ConfigVersion, Store};

use super::config::{Origin, put_in_force};
use crate::cli::Consent;
use crate::clock::shown;
use crate::output::Output;

/// Lists versions, newest first.
pub fn log(store: &mut Store, limit: u64, out: &mut Output) -> Result<bool> {
    let versions = store.config_versions(limit)?;
    if out.is_json() {
        out.object(json!({ "versions": versions }));
        return Ok(true);
    }
    if versions.is_empty() {
        out.line("no configuration has been applied yet");
        return Ok(true);
    }
    let rows: Vec<_> = versions.iter().map(row).collect();
    out.table(["VERSION", "APPLIED", "BY", "CHANGES", "REASON"], &rows);
    Ok(true)
}

fn row(version: &ConfigVersion) -> [String; 5] {
    let by = match version.applied_by.as_str() {
        "" => "before versions were kept",
        by => by,
    };
    [
        version.number.to_string(),
        shown(version.applied_at),
        by.to_owned(),
        version.changes.to_string(),
        version.reason.clone().unwrap_or_default(),
    ]
}

/// Prints a version as TOML.
pub fn show(store: &mut Store, version: i64, out: &mut Output) -> Result<bool> {
    let config = store.config_version(version)?;
    if out.is_json() {
        out.object(json!({ "version": version, "config": config }));
    } else {
        out.verbatim(config.to_toml()?.trim_end());
    }
    Ok(true)
}

/// Shows what changed between two versions, or since one.
pub fn compare(store: &mut Store, from: i64, to: Option<i64>, out: &mut Output) -> Result<bool> {
    let old = store.config_version(from)?;
    let new = match to {
        Some(to) => store.config_version(to)?,
        None => store.load()?,
    };
    let changes = diff(&old, &new);
    if out.is_json() {
        out.object(json!({ "from": from, "to": to, "changes": changes }));
    } else if changes.is_empty() {
        out.line("no difference");
    } else {
        changes.iter().for_each(|change| out.line(change.to_string()));
    }
    Ok(true)
}

/// Makes a former version the configuration again.
pub fn rollback(
    store: &mut Store,
    version: i64,
    consent: &Consent,
    out: &mut Output,
) -> Result<bool> {
    let config = store.config_version(version)?;
    let reason = consent.reason.clone().unwrap_or_else(|| format!("rollback to version {version}"));
    let consent = Consent { yes: consent.yes, reason: Some(reason) };
    put_in_force(store, &config, Origin::Version, &consent, out)
}
