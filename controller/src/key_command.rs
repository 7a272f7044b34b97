//! `ssync key`: making, listing and checking encryption keys. No key is ever printed.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use ssync_common::config::{Key, SecretSource};
use ssync_common::crypto::check::{check_keys, new_key_file};
use ssync_common::crypto::{KeyRing, Resolve};
use ssync_common::error::Result;

use crate::output::{padded, widest};
use crate::render::JSON_SCHEMA;

/// Make, list and check encryption keys
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeyCommand {
    /// Make a new random key in a file of its own
    New {
        /// Name that the configuration will use
        name: String,
        /// File to create; a file that exists is left alone
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// List the configured keys, where they come from and their ids
    List,
    /// Read every configured key and prove that it seals and opens
    Check,
}

/// The configured keys, and the way to their secrets.
pub struct Keys {
    /// As configured.
    pub configured: Vec<Key>,
    /// Gets a secret from its source.
    pub resolve: Box<Resolve<'static>>,
}

/// Runs the command; `keys` is asked only where the configuration is needed. False when a key has
/// a fault.
pub fn run(
    command: &KeyCommand,
    json: bool,
    keys: impl FnOnce() -> Result<Keys>,
    out: &mut dyn Write,
) -> Result<bool> {
    match command {
        KeyCommand::New { name, out: path } => {
            let path = std::path::absolute(path)?;
            let id = new_key_file(&path)?;
            writeln!(out, "wrote key {id} to {}", path.display())?;
            writeln!(out, "\n[[key]]\nname = {}", json!(name))?;
            writeln!(out, "secret = {{ file = {} }}", json!(path.to_string_lossy()))?;
            writeln!(
                out,
                "\nKeep a copy of the file away from the databases: without it nothing opens."
            )?;
            Ok(true)
        }
        KeyCommand::List => list(keys()?, json, out),
        KeyCommand::Check => check(keys()?, json, out),
    }
}

fn list(mut keys: Keys, json: bool, out: &mut dyn Write) -> Result<bool> {
    let mut rows = Vec::new();
    for key in &keys.configured {
        let ring = KeyRing::resolve(key, &mut keys.resolve);
        let ids: Vec<Option<String>> = match &ring {
            Ok(ring) => ring.ids().map(|id| Some(id.to_string())).collect(),
            Err(_) => vec![None; 1 + key.old.len()],
        };
        let sources = std::iter::once(&key.secret).chain(&key.old);
        for (n, (source, id)) in sources.zip(ids).enumerate() {
            let role = if n == 0 { "seals" } else { "opens" };
            rows.push((key.name.clone(), role, id, place(source)));
        }
    }
    if json {
        let keys: Vec<_> = rows
            .iter()
            .map(|(name, role, id, source)| {
                json!({ "name": name, "role": role, "id": id, "source": source })
            })
            .collect();
        writeln!(out, "{}", json!({ "schema": JSON_SCHEMA, "keys": keys }))?;
    } else {
        let width = widest(rows.iter().map(|r| r.0.as_str())).max(4);
        writeln!(out, "{:width$}  {:5}  {:8}  source", "name", "role", "id")?;
        for (name, role, id, source) in &rows {
            let id = id.as_deref().unwrap_or("?");
            writeln!(out, "{}  {role:5}  {id:8}  {source}", padded(name, width))?;
        }
    }
    Ok(true)
}

/// Where a secret comes from, for people.
fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::Env { env } => format!("env {env}"),
        SecretSource::File { file } => format!("file {}", file.display()),
        SecretSource::Stored { .. } => "stored".to_owned(),
    }
}

fn check(mut keys: Keys, json: bool, out: &mut dyn Write) -> Result<bool> {
    let rings: Vec<_> = keys
        .configured
        .iter()
        .map(|key| (key.name.clone(), KeyRing::resolve(key, &mut keys.resolve)))
        .collect();
    let reports = check_keys(&rings);
    let sound = reports.iter().all(|r| r.faults.is_empty());
    if json {
        writeln!(out, "{}", json!({ "schema": JSON_SCHEMA, "ok": sound, "keys": reports }))?;
        return Ok(sound);
    }
    if reports.is_empty() {
        writeln!(out, "no keys are configured")?;
    }
    for report in &reports {
        let id = report.id.as_deref().unwrap_or("?");
        let verdict = if report.faults.is_empty() { "ok" } else { "FAULT" };
        write!(out, "{verdict:5}  {}  id {id}", report.name)?;
        if !report.old_ids.is_empty() {
            write!(out, ", also opens {}", report.old_ids.join(", "))?;
        }
        writeln!(out)?;
        for fault in &report.faults {
            writeln!(out, "       {fault}")?;
        }
    }
    Ok(sound)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ssync_common::error::{Error, Kind};
    use ssync_common::secret::Secret;

    use super::*;

    fn read(_: &str, source: &SecretSource) -> Result<Secret> {
        match source {
            SecretSource::File { file } => Ok(Secret::new(std::fs::read(file)?)),
            other => Err(Error::new(Kind::Config, format!("no secret in {}", place(other)))),
        }
    }

    /// Runs a command over `configured`; whether it found all well, and what it printed.
    fn run(command: KeyCommand, json: bool, configured: &[Key]) -> (bool, String) {
        let mut out = Vec::new();
        let keys = || Ok(Keys { configured: configured.to_vec(), resolve: Box::new(read) });
        let sound = super::run(&command, json, keys, &mut out).unwrap();
        (sound, String::from_utf8(out).unwrap())
    }

    fn new_key(dir: &Path, name: &str) -> (SecretSource, String) {
        let file = dir.join(name);
        let (sound, printed) =
            run(KeyCommand::New { name: name.into(), out: file.clone() }, false, &[]);
        assert!(sound);
        let content = std::fs::read_to_string(&file).unwrap();
        assert!(!printed.contains(&content[..8]), "{printed}");
        let id = printed.split_whitespace().nth(2).unwrap().to_owned();
        assert!(printed.contains(&format!("secret = {{ file = \"{}\" }}", file.display())));
        (SecretSource::File { file }, id)
    }

    #[test]
    fn keys_are_made_listed_and_checked_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let ((new, new_id), (old, old_id)) =
            (new_key(dir.path(), "new"), new_key(dir.path(), "old"));
        let place_of = |n: &str| format!("file {}", dir.path().join(n).display());
        let pii = Key { name: "pii".into(), secret: new, old: vec![old.clone()] };
        let (sound, text) = run(KeyCommand::List, false, std::slice::from_ref(&pii));
        let lines: Vec<_> =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).collect();
        assert!(sound);
        assert_eq!(lines[1].join(" "), format!("pii seals {new_id} {}", place_of("new")));
        assert_eq!(lines[2].join(" "), format!("pii opens {old_id} {}", place_of("old")));

        let (sound, text) = run(KeyCommand::Check, false, std::slice::from_ref(&pii));
        assert_eq!(
            (sound, text),
            (true, format!("ok     pii  id {new_id}, also opens {old_id}\n"))
        );

        let missing = SecretSource::Env { env: "NO_SUCH_KEY".into() };
        let configured = [
            pii,
            Key { name: "again".into(), secret: old, old: vec![] },
            Key { name: "lost".into(), secret: missing, old: vec![] },
        ];
        let (sound, text) = run(KeyCommand::Check, true, &configured);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(!sound && report["ok"] == false && report["schema"] == 1);
        assert_eq!(
            report["keys"][1]["faults"][0],
            format!("key {old_id} is also in the ring of pii")
        );
        assert_eq!(report["keys"][2]["faults"][0], "no secret in env NO_SUCH_KEY");
        let (_, text) = run(KeyCommand::List, true, &configured);
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list["keys"].as_array().unwrap().len(), 4);
        assert_eq!(
            list["keys"][3],
            json!({"name": "lost", "role": "seals", "id": null, "source": "env NO_SUCH_KEY"})
        );
    }

    #[test]
    fn no_keys_is_no_fault() {
        assert_eq!(run(KeyCommand::Check, false, &[]), (true, "no keys are configured\n".into()));
    }
}
