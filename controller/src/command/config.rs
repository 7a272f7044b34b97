//! `ssync apply` and `ssync export`.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;

use serde_json::json;
use ssync_common::config::{Change, ChangeKind, Config, SecretSource, diff, refusal, task_label};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::TaskTable;
use ssync_common::store::{Author, Store};

use super::retired_keys;
use crate::cli::{ApplyArgs, Consent};
use crate::daemon;
use crate::daemon::command::Reloaded;
use crate::daemon::control::Unable;
use crate::output::{Output, err, errln};
use crate::render::note;

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Applies a file. It is judged before the store is touched; where the home is new, a dry run makes
/// none.
pub fn apply(
    args: &ApplyArgs,
    is_new: bool,
    open: impl FnOnce() -> Result<Store>,
    out: &mut Output,
) -> Result<bool> {
    let text = read(&args.file)?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        let would = match args.prune {
            true => "It would remove the whole configuration. Write what is to stay.",
            false => "It adds nothing.",
        };
        return Err(Error::new(Kind::Config, format!("{} is empty", args.file.display()))
            .hint(format!("Nothing was changed. {would}")));
    }
    // Without anything to look up: a mistake is told even where there is no database to change.
    let whole = args
        .prune
        .then(|| Config::from_toml(&text).map_err(|violations| refusal(&violations)))
        .transpose()?;
    if args.dry_run && is_new {
        let nothing = Config::default();
        let whole = whole.map_or_else(|| nothing.clone().with(&text), Ok);
        let config = whole.map_err(|violations| refusal(&violations))?;
        would_change(&diff(&nothing, &config), out);
        return Ok(true);
    }
    let mut store = open()?;
    let config = match whole {
        Some(config) => config,
        None => store.load()?.with(&text).map_err(|violations| refusal(&violations))?,
    };
    if args.dry_run {
        retired_keys::are_not_needed(&mut store, &config)?;
        would_change(&store.changes_to(&config)?, out);
        return Ok(true);
    }
    let from = if args.prune { Origin::File } else { Origin::Additions };
    put_in_force(&mut store, &config, from, &args.consent, out)
}

/// Where a configuration comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file that is all of it.
    File,
    /// A file that adds to it.
    Additions,
    /// A version of before.
    Version,
}

/// Makes it the configuration, tells runs and daemon of this host, and says what is in force.
pub(super) fn put_in_force(
    store: &mut Store,
    config: &Config,
    origin: Origin,
    consent: &Consent,
    out: &mut Output,
) -> Result<bool> {
    retired_keys::are_not_needed(store, config)?;
    let agreed = agree(&store.changes_to(config)?, origin, consent, out.is_json())?;
    let author = Author::of_this_process(consent.reason.as_deref());
    let applied = store.apply(config, &author, |changes| {
        match removed(changes).all(|change| consent.yes || agreed.contains(&change.path)) {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Contention,
                "somebody else has changed the configuration meanwhile",
            )
            .hint("Nothing was changed. Look at it with ssync export, and apply again.")),
        }
    })?;
    tell_runs(store, config)?;
    let force = Force::of(store, applied.version.is_some());
    if out.is_json() {
        out.object(json!({
            "dry_run": false,
            "changes": applied.changes,
            "version": applied.version,
            "in_force": force.word(),
            "cannot_start": force.unable(),
        }));
    } else {
        show_changes(&applied.changes, out);
        out.line(match applied.version {
            Some(version) => format!("{}: version {version}", count(&applied.changes)),
            None => count(&applied.changes),
        });
        force.words().into_iter().for_each(|line| out.line(line));
        passwords_to_set(store, config)?;
    }
    Ok(!matches!(force, Force::Failed(_)))
}

/// What a dry run has found.
fn would_change(changes: &[Change], out: &mut Output) {
    if out.is_json() {
        return out.object(json!({ "dry_run": true, "changes": changes }));
    }
    show_changes(changes, out);
    out.line(format!("{}; dry run, nothing written", count(changes)));
}

fn show_changes(changes: &[Change], out: &mut Output) {
    changes.iter().for_each(|change| out.line(change.to_string()));
}

fn count(changes: &[Change]) -> String {
    match changes.len() {
        0 => "nothing to change".to_owned(),
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    }
}

/// Sections that go: links, keys, schedules, tasks, tables, receivers. A key of a section that
/// goes back to its default is a change like others.
fn removed(changes: &[Change]) -> impl Iterator<Item = &Change> {
    changes.iter().filter(|change| change.kind == ChangeKind::Removed && change.old.is_none())
}

/// The paths whose removal the operator has agreed to.
fn agree(changes: &[Change], origin: Origin, consent: &Consent, json: bool) -> Result<Vec<String>> {
    let paths: Vec<_> = removed(changes).map(|change| change.path.clone()).collect();
    if paths.is_empty() || consent.yes {
        return Ok(paths);
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if terminal && !json && confirm(&paths)? {
        return Ok(paths);
    }
    let mut error =
        Error::new(Kind::Usage, format!("{} of the configuration would go", parts(paths.len())));
    for path in paths {
        error = error.detail(path);
    }
    let keep = match origin {
        Origin::File => "; --prune=false keeps what the file does not name",
        Origin::Additions | Origin::Version => "",
    };
    Err(error.hint(format!(
        "Nothing was changed. --yes removes them, with stored passwords and pauses{keep}."
    )))
}

fn parts(n: usize) -> String {
    if n == 1 { "1 part".to_owned() } else { format!("{n} parts") }
}

/// Asks on the terminal. Whatever is not a clear yes is a no.
fn confirm(paths: &[String]) -> Result<bool> {
    for path in paths {
        errln!("- {path}");
    }
    err!(
        "Remove {} of the configuration, with stored passwords and pauses? [y/N] ",
        parts(paths.len())
    );
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// From when on a configuration counts.
enum Force {
    /// Nothing changed.
    Unchanged,
    /// The daemon of this host has read it; what that brings about.
    Now(Reloaded),
    /// No daemon of this host goes by it.
    NextRun,
    /// The daemon could not read it.
    Failed(Error),
}

impl Force {
    /// Has the daemon of this host read it, if one runs by this configuration database.
    fn of(store: &Store, changed: bool) -> Force {
        if !changed {
            return Force::Unchanged;
        }
        match daemon::command::reload_if_it_is_ours(store.home(), store.instance_id()) {
            Ok(Some(read)) => Force::Now(read),
            Ok(None) => Force::NextRun,
            Err(e) => Force::Failed(e),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Force::Unchanged => "unchanged",
            Force::Now(_) => "now",
            Force::NextRun => "next run",
            Force::Failed(_) => "not yet",
        }
    }

    /// Tasks that cannot be started. Without a daemon that is found out by the run.
    fn unable(&self) -> &[Unable] {
        match self {
            Force::Now(read) => &read.unable,
            Force::Unchanged | Force::NextRun | Force::Failed(_) => &[],
        }
    }

    fn words(&self) -> Vec<String> {
        match self {
            Force::Unchanged => Vec::new(),
            Force::Now(Reloaded { ending, unable, .. }) => {
                let read = "in force: the daemon has read it".to_owned();
                let unable = unable.iter().map(|unable| {
                    let label = task_label(unable.task, unable.name.as_deref());
                    format!("task {label} {}", unable.words())
                });
                std::iter::once(read).chain(ending.iter().cloned()).chain(unable).collect()
            }
            Force::NextRun => vec![
                "in force from the next run on (no daemon of this host uses this configuration)"
                    .to_owned(),
            ],
            Force::Failed(e) => vec![format!(
                "not in force yet: the daemon has not read it ({}). Once it answers, ssync reload has \
                 it read the configuration; by itself it does after `reread` at the latest.",
                e.message
            )],
        }
    }
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
        out.verbatim(config.to_toml()?.trim_end());
    }
    Ok(true)
}
