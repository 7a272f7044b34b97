//! `ssync apply` and `ssync export`.

use std::io::Read;
use std::path::Path;

use serde_json::json;
use ssync_common::config::{Config, SecretSource, refusal};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::TaskTable;
use ssync_common::store::Store;

use crate::cli::ApplyArgs;
use crate::output::Output;
use crate::render::note;

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Applies a file. It is judged before the store is touched.
pub fn apply(
    args: &ApplyArgs,
    open: impl FnOnce() -> Result<Store>,
    out: &mut Output,
) -> Result<bool> {
    let text = read(&args.file)?;
    let config = Config::from_toml(&text).map_err(|violations| refusal(&violations))?;
    let mut store = open()?;
    let changes = store.apply(&config, args.dry_run)?;
    if !args.dry_run {
        tell_runs(&store, &config)?;
    }
    if out.is_json() {
        out.object(json!({ "dry_run": args.dry_run, "changes": changes }));
        return Ok(true);
    }
    for change in &changes {
        out.line(change.to_string());
    }
    let count = match changes.len() {
        0 => "nothing to change".to_owned(),
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    };
    out.line(if args.dry_run { format!("{count}; dry run, nothing written") } else { count });
    if !args.dry_run {
        passwords_to_set(&mut store, &config)?;
    }
    Ok(true)
}

/// Limits count for runs under way, too: those of this host look at once.
fn tell_runs(store: &Store, config: &Config) -> Result<()> {
    if let Some(table) = TaskTable::open(store.home().path())? {
        for task in &config.tasks {
            table.poke(task.id)?;
        }
    }
    Ok(())
}

/// Says which links still need a password.
fn passwords_to_set(store: &mut Store, config: &Config) -> Result<()> {
    let stored = |s: &SecretSource| matches!(s, SecretSource::Stored { .. });
    for link in config.links.iter().filter(|l| l.password.as_ref().is_some_and(stored)) {
        if !store.has_stored_password(&link.name)? {
            let name = &link.name;
            note(&format!("no password is stored for link {name}: ssync link set-password {name}"));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    let wrong = |what: String| Error::new(Kind::Config, format!("{}: {what}", path.display()));
    done.map_err(|e| wrong(format!("could not read it: {e}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong("it is larger than 16 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        wrong(format!("line {line} is not UTF-8"))
    })
}

/// Prints the configuration.
pub fn export(store: &mut Store, out: &mut Output) -> Result<bool> {
    let config = store.load()?;
    if out.is_json() {
        out.object(json!({ "config": config }));
    } else {
        out.line(config.to_toml()?.trim_end());
    }
    Ok(true)
}
