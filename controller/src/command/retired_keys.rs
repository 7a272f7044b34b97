//! `ssync apply` keeps an operator from retiring a key that ssync itself still needs: what it has
//! written down at a destination is sealed with the keys of the columns.

use ssync_common::config::{Config, SecretSource, TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::Store;
use ssync_worker::check::needs_another_key;

use crate::render::note;
use crate::transfer;

/// Looks at the destinations of those tables whose keys `next` drops. One that cannot be looked at is
/// noted: a run and a check refuse as well.
///
/// # Errors
/// [`Kind::Refused`], naming the key, where one is still needed.
pub(super) fn are_not_needed(store: &mut Store, next: &Config) -> Result<()> {
    // Where there is no configuration that can be read, nothing is known to be dropped.
    let Ok(now) = store.load() else { return Ok(()) };
    for task in &now.tasks {
        let Some(then) = next.tasks.iter().find(|t| t.id == task.id) else { continue };
        let kept = sources(next, then.tables.iter());
        let goes_on = |table: &TableTask| then.tables.iter().any(|t| t.name == table.name);
        let drops = |table: &TableTask| {
            let used = sources(&now, std::iter::once(table));
            used.iter().any(|source| !kept.contains(source))
        };
        for table in task.tables.iter().filter(|table| goes_on(table) && drops(table)) {
            judge(store, (&now, task), (next, then), table)?;
        }
    }
    Ok(())
}

/// Where the keys that these tables name come from.
fn sources<'a>(config: &Config, tables: impl Iterator<Item = &'a TableTask>) -> Vec<SecretSource> {
    let named: Vec<_> = tables
        .flat_map(|table| table.encrypt.values().chain(table.decrypt.values()))
        .map(|choice| choice.key())
        .collect();
    let keys = config.keys.iter().filter(|key| named.contains(&key.name.as_str()));
    keys.flat_map(|key| std::iter::once(&key.secret).chain(&key.old)).cloned().collect()
}

fn judge(
    store: &mut Store,
    (now, task): (&Config, &Task),
    next: (&Config, &Task),
    table: &TableTask,
) -> Result<()> {
    let mut look = || {
        let links = (store.resolve_link(now, &task.source)?, store.resolve_link(now, &task.dest)?);
        let needs = |keys| needs_another_key((&links.0, &links.1), task, table, &keys);
        let needed = needs(transfer::keys(next.0, next.1)?)?;
        // A key that is gone already keeps nobody from changing others.
        match needed.is_some() && needs(transfer::keys(now, task)?)?.is_some() {
            true => Ok(None),
            false => Ok::<_, Error>(needed),
        }
    };
    let place = format!("task {}, table {}", task.id, table.name);
    match look() {
        Ok(None) => Ok(()),
        Ok(Some(needed)) => Err(Error::new(
            Kind::Refused,
            format!("{place} still needs a key that this configuration does not have"),
        )
        .detail(needed.message)
        .detail("the configuration stays as it was")
        .hint(
            "Keep the key in `old` of the key that replaces it until a run of the table has come \
             to its end.",
        )),
        Err(e) => {
            note(&format!("{place}: whether it still needs a key that goes is not known: {e}"));
            Ok(())
        }
    }
}
