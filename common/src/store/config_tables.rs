//! The configuration in its eight tables: reading all of it, writing what changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::option::Stored as _;
use crate::config::*;
use crate::error::{Error, Kind, Result};
use crate::store::option_rows;
use crate::store::schema::{parameter, set_parameter};
use crate::store::sql::{Db, Filter, IntoValue, Row, Select, json_text, word};
use crate::value::Value;

/// `IS_ADD_DEL`: the controller has taken note.
pub const NOTED: i64 = 0;
/// `IS_ADD_DEL`: added or changed.
pub const ADDED: i64 = 1;
/// `IS_ADD_DEL`: removed.
pub const REMOVED: i64 = 2;

type Columns = Vec<(&'static str, Value)>;

/// Names of a task's table, as a filter.
pub fn of_table(task: u32, table: &str) -> Filter {
    Filter::new().eq("task_id", task).eq("table_name", table)
}

/// Some tables of a task, or of all; none: any.
pub fn of_tables(task: Option<u32>, tables: &[String]) -> Filter {
    let filter = Filter::new().maybe("task_id", task);
    match tables {
        [] => filter,
        tables => filter.any_of("table_name", tables.iter().map(IntoValue::into_value).collect()),
    }
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

/// The whole configuration, without tasks that were removed.
pub fn load(db: &mut Db) -> Result<Config> {
    Ok(Config {
        controller: setting(db, CONTROLLER)?,
        links: links(db)?,
        keys: keys(db)?,
        schedules: schedules(db)?,
        tasks: tasks(db)?,
        receivers: setting(db, RECEIVERS)?,
        brief: setting(db, BRIEF)?,
        monitor: setting(db, MONITOR)?,
        retention: setting(db, RETENTION)?,
    })
}

/// Parameters that hold what concerns the installation as a whole, as JSON.
const CONTROLLER: &str = "controller";
const RECEIVERS: &str = "receivers";
const BRIEF: &str = "brief";
const MONITOR: &str = "monitor";
const RETENTION: &str = "retention";

/// A setting of the installation; its default where there is none.
fn setting<T: DeserializeOwned + Default>(db: &mut Db, name: &str) -> Result<T> {
    let Some(text) = parameter(db, name)? else { return Ok(T::default()) };
    serde_json::from_str(&text).map_err(|_| {
        Error::new(
            Kind::Config,
            format!("parameter {name} of the configuration database is damaged"),
        )
        .hint("Something else than ssync has changed it; undo that, or apply the configuration.")
    })
}

/// Writes what differs from `old`; a default needs no parameter.
fn write_setting<T: Serialize + Default + PartialEq>(
    db: &mut Db,
    name: &str,
    old: &T,
    new: &T,
) -> Result<()> {
    if old == new {
        return Ok(());
    }
    if *new == T::default() {
        return db.delete("T_PARAMETER", Filter::new().eq("param_name", name)).map(drop);
    }
    set_parameter(db, name, &json_text(new)?)
}

/// The limits of a task and of its links, as they are configured now; `None` where there is no
/// such task any more.
pub(super) fn rates(db: &mut Db, task: u32) -> Result<Option<Rates>> {
    const RATE: [&str; 2] = ["max_rows_per_sec", "max_bytes_per_sec"];
    let rate = |row: &Row| -> Result<Rate> {
        Ok(Rate { rows: row.opt_number(RATE[0])?, bytes: row.opt_number(RATE[1])? })
    };
    let columns = ["source_link", "dest_link", RATE[0], RATE[1]];
    let filter = Filter::new().eq("task_id", task);
    let rows = db.select(Select::new("T_EXTRACTION_TASK", &columns).filter(filter))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut of_link = |column: &str| {
        let filter = Filter::new().eq("link_name", row.text(column)?);
        let rows = db.select(Select::new("T_LINK", &RATE).filter(filter))?;
        rows.first().map_or(Ok(Rate::default()), rate)
    };
    Ok(Some(Rates {
        task: rate(row)?,
        source: of_link("source_link")?,
        dest: of_link("dest_link")?,
    }))
}

fn links(db: &mut Db) -> Result<Vec<Link>> {
    let columns = option_rows::names::<Link>();
    let select = Select::new("T_LINK", &columns).order(&["position", "link_name"]);
    db.select(select)?.iter().map(option_rows::section).collect()
}

fn keys(db: &mut Db) -> Result<Vec<Key>> {
    let columns = ["key_name", "secret_no", "secret_kind", "secret_ref"];
    let order = ["position", "key_name", "secret_no"];
    let mut keys: Vec<Key> = Vec::new();
    for row in db.select(Select::new("T_KEY", &columns).order(&order))? {
        let name = row.text("key_name")?;
        let columns = ["secret_kind", "secret_ref"];
        let secret = SecretSource::load(&columns.map(|column| row.value(column).clone()));
        let secret = secret.map_err(|place| row.damaged(columns[place]))?;
        match keys.last_mut().filter(|k| k.name == name) {
            Some(key) => key.old.push(secret),
            None => keys.push(Key { name, secret, old: Vec::new() }),
        }
    }
    Ok(keys)
}

fn schedules(db: &mut Db) -> Result<Vec<Schedule>> {
    let columns = option_rows::names::<Schedule>();
    let select = Select::new("T_SCHEDULE", &columns).order(&["position", "schedule_id"]);
    db.select(select)?.iter().map(option_rows::section).collect()
}

fn tasks(db: &mut Db) -> Result<Vec<Task>> {
    let columns = option_rows::names::<Task>();
    let present = Filter::new().any_of("IS_ADD_DEL", vec![Value::Int(NOTED), Value::Int(ADDED)]);
    let select = Select::new("T_EXTRACTION_TASK", &columns).filter(present);
    let rows = db.select(select.order(&["position", "task_id"]))?;
    let mut tables = tables(db)?;
    let task = |row: Row| {
        let task: Task = option_rows::section(&row)?;
        let tables = tables.remove(&task.id).unwrap_or_default();
        Ok(Task { tables, ..task })
    };
    rows.into_iter().map(task).collect()
}

/// The names of configured tasks.
pub fn task_names(db: &mut Db) -> Result<TaskNames> {
    let present = Filter::new().any_of("IS_ADD_DEL", vec![Value::Int(NOTED), Value::Int(ADDED)]);
    let select = Select::new("T_EXTRACTION_TASK", &["task_id", "task_name"]).filter(present);
    let rows = db.select(select)?;
    let named = rows.iter().filter_map(|row| Some((row, row.opt_text("task_name")?)));
    named.map(|(row, name)| Ok((row.number("task_id")?, name))).collect()
}

/// Every configured sub-task, by task, in order.
fn tables(db: &mut Db) -> Result<BTreeMap<u32, Vec<TableTask>>> {
    let columns = [vec!["task_id"], option_rows::names::<TableTask>()].concat();
    let present = Filter::new().eq("is_removed", false);
    let select = Select::new("task_detail", &columns).filter(present);
    let rows = db.select(select.order(&["task_id", "position", "table_name"]))?;
    let mut columns_of = table_columns(db)?;
    let mut sql_of = table_sql(db)?;
    let mut tables: BTreeMap<u32, Vec<TableTask>> = BTreeMap::new();
    for row in rows {
        let table: TableTask = option_rows::section(&row)?;
        let task: u32 = row.number("task_id")?;
        let of = (task, table.name.clone());
        let chosen = columns_of.remove(&of).unwrap_or_default();
        let (before, after) = sql_of.remove(&of).unwrap_or_default();
        tables.entry(task).or_default().push(TableTask {
            columns: in_order(chosen.columns),
            encrypt: chosen.encrypt,
            decrypt: chosen.decrypt,
            before,
            after,
            allow_lossy: in_order(chosen.allow_lossy),
            empty_as: chosen.empty_as,
            ..table
        });
    }
    Ok(tables)
}

/// What `T_TASK_COLUMN` says of one sub-task.
#[derive(Default)]
struct ChosenColumns {
    columns: Vec<(i64, ColumnChoice)>,
    encrypt: BTreeMap<String, CryptoChoice>,
    decrypt: BTreeMap<String, CryptoChoice>,
    allow_lossy: Vec<(i64, String)>,
    empty_as: BTreeMap<String, EmptyAs>,
}

fn in_order<T>(mut placed: Vec<(i64, T)>) -> Vec<T> {
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, item)| item).collect()
}

fn table_columns(db: &mut Db) -> Result<BTreeMap<(u32, String), ChosenColumns>> {
    let columns = [
        "task_id",
        "table_name",
        "source_column",
        "position",
        "dest_column",
        "encrypt_key",
        "encrypt_mode",
        "decrypt_key",
        "decrypt_mode",
        "lossy_position",
        "empty_as",
    ];
    let mut found: BTreeMap<_, ChosenColumns> = BTreeMap::new();
    for row in db.select(Select::new("T_TASK_COLUMN", &columns))? {
        let of = found.entry((row.number("task_id")?, row.text("table_name")?)).or_default();
        let source = row.text("source_column")?;
        if let Some(place) = row.opt_number("position")? {
            let choice = ColumnChoice::new(source.clone(), row.text("dest_column")?);
            of.columns.push((place, choice));
        }
        if let Some(place) = row.opt_number("lossy_position")? {
            of.allow_lossy.push((place, source.clone()));
        }
        if let Some(choice) = row.opt_word("empty_as")? {
            of.empty_as.insert(source.clone(), choice);
        }
        if let Some(choice) = crypto_choice(&row, "encrypt_key", "encrypt_mode")? {
            of.encrypt.insert(source.clone(), choice);
        }
        if let Some(choice) = crypto_choice(&row, "decrypt_key", "decrypt_mode")? {
            of.decrypt.insert(source, choice);
        }
    }
    Ok(found)
}

fn crypto_choice(row: &Row, key: &str, mode: &str) -> Result<Option<CryptoChoice>> {
    let Some(key) = row.opt_text(key) else { return Ok(None) };
    match row.text(mode)?.as_str() {
        "random" => Ok(Some(CryptoChoice::new(key, false))),
        "deterministic" => Ok(Some(CryptoChoice::new(key, true))),
        _ => Err(row.damaged(mode)),
    }
}

type BeforeAfter = (SideSql, SideSql);

fn table_sql(db: &mut Db) -> Result<BTreeMap<(u32, String), BeforeAfter>> {
    let columns = ["task_id", "table_name", "phase", "side", "statement_text"];
    let mut found: BTreeMap<_, BeforeAfter> = BTreeMap::new();
    for row in db.select(Select::new("T_TASK_SQL", &columns).order(&["statement_no"]))? {
        let of = found.entry((row.number("task_id")?, row.text("table_name")?)).or_default();
        let sql = match row.text("phase")?.as_str() {
            "before" => &mut of.0,
            "after" => &mut of.1,
            _ => return Err(row.damaged("phase")),
        };
        let statement = row.text("statement_text")?;
        match row.text("side")?.as_str() {
            "source" => sql.source.push(statement),
            "dest" => sql.dest.push(statement),
            _ => return Err(row.damaged("side")),
        }
    }
    Ok(found)
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

/// Makes `new` the configuration, inside the caller's transaction; `old` is what is there.
/// State beside the configuration (stored secrets, holds, locks) stays where it still belongs.
pub fn write(db: &mut Db, old: &Config, new: &Config) -> Result<()> {
    write_setting(db, CONTROLLER, &old.controller, &new.controller)?;
    write_links(db, old, new)?;
    write_keys(db, old, new)?;
    write_schedules(db, old, new)?;
    write_tasks(db, old, new)?;
    write_setting(db, RECEIVERS, &old.receivers, &new.receivers)?;
    write_setting(db, BRIEF, &old.brief, &new.brief)?;
    write_setting(db, MONITOR, &old.monitor, &new.monitor)?;
    write_setting(db, RETENTION, &old.retention, &new.retention)
}

/// What to do with one list of sections.
struct Plan<'c, T> {
    /// (place, entry), new or changed or moved.
    put: Vec<(usize, &'c T)>,
    gone: Vec<&'c T>,
}

fn plan<'c, T: PartialEq, K: Ord>(
    old: &'c [T],
    new: &'c [T],
    key: impl Fn(&T) -> K,
) -> Plan<'c, T> {
    let before: BTreeMap<_, _> = old.iter().enumerate().map(|e| (key(e.1), e)).collect();
    let after: BTreeSet<_> = new.iter().map(&key).collect();
    let same = |e: &(usize, &T)| before.get(&key(e.1)).is_some_and(|b| b.0 == e.0 && b.1 == e.1);
    Plan {
        put: new.iter().enumerate().filter(|e| !same(e)).collect(),
        gone: old.iter().filter(|e| !after.contains(&key(e))).collect(),
    }
}

/// Updates the row that `key` names, or adds it; what `rest` says of the key's columns does not
/// matter.
fn put(db: &mut Db, table: &str, key: &[(&'static str, Value)], mut rest: Columns) -> Result<()> {
    rest.retain(|(column, _)| key.iter().all(|(name, _)| name != column));
    let filter = key.iter().fold(Filter::new(), |f, (c, v)| f.eq(c, v.clone()));
    let names: Vec<_> = key.iter().map(|(c, _)| *c).collect();
    // Asked for first: an update's count leaves out rows that are so already.
    if db.select(Select::new(table, &names).filter(filter.clone()))?.is_empty() {
        db.insert(table, &[key, &rest].concat())
    } else {
        db.update(table, &rest, filter).map(drop)
    }
}

fn write_links(db: &mut Db, old: &Config, new: &Config) -> Result<()> {
    let plan = plan(&old.links, &new.links, |l| l.name.clone());
    for link in plan.gone {
        db.delete("T_LINK", Filter::new().eq("link_name", &link.name))?;
    }
    for (place, link) in plan.put {
        let mut row = option_rows::values(link)?;
        row.push(("position", place.into_value()));
        if !matches!(link.password, Some(SecretSource::Stored { .. })) {
            // A password that is no longer used is not kept.
            row.push(("secret_sealed", Value::Null));
        }
        put(db, "T_LINK", &[("link_name", (&link.name).into_value())], row)?;
    }
    Ok(())
}

fn write_keys(db: &mut Db, old: &Config, new: &Config) -> Result<()> {
    let plan = plan(&old.keys, &new.keys, |k| k.name.clone());
    for key in plan.gone {
        db.delete("T_KEY", Filter::new().eq("key_name", &key.name))?;
    }
    for (place, key) in plan.put {
        let before = old.keys.iter().find(|k| k.name == key.name).map_or(0, |k| k.old.len() + 1);
        for no in key.old.len() + 1..before {
            let filter = Filter::new().eq("key_name", &key.name).eq("secret_no", no);
            db.delete("T_KEY", filter)?;
        }
        for (no, secret) in std::iter::once(&key.secret).chain(&key.old).enumerate() {
            let mut row: Columns =
                ["secret_kind", "secret_ref"].into_iter().zip(secret.store()?).collect();
            row.push(("position", place.into_value()));
            let id = [("key_name", (&key.name).into_value()), ("secret_no", no.into_value())];
            put(db, "T_KEY", &id, row)?;
        }
    }
    Ok(())
}

fn write_schedules(db: &mut Db, old: &Config, new: &Config) -> Result<()> {
    let plan = plan(&old.schedules, &new.schedules, |s| s.id);
    for schedule in plan.gone {
        db.delete("T_SCHEDULE", Filter::new().eq("schedule_id", schedule.id))?;
    }
    for (place, schedule) in plan.put {
        let mut row = option_rows::values(schedule)?;
        row.push(("position", place.into_value()));
        put(db, "T_SCHEDULE", &[("schedule_id", schedule.id.into_value())], row)?;
    }
    Ok(())
}

fn write_tasks(db: &mut Db, old: &Config, new: &Config) -> Result<()> {
    let tasks = plan(&old.tasks, &new.tasks, |t| t.id);
    for task in tasks.gone {
        let id = Filter::new().eq("task_id", task.id);
        db.update("T_EXTRACTION_TASK", &[("IS_ADD_DEL", REMOVED.into_value())], id)?;
        for table in &task.tables {
            remove_table(db, task.id, &table.name)?;
        }
    }
    for (place, task) in tasks.put {
        let before = old.tasks.iter().find(|t| t.id == task.id);
        let mut row = option_rows::values(task)?;
        row.extend([
            ("position", place.into_value()),
            ("task_type", task_type(new, task).into_value()),
            ("IS_ADD_DEL", ADDED.into_value()),
        ]);
        if before.is_none() {
            // A row may be left of a task that was removed; the new one is not held.
            row.push(("hold", Value::Null));
        }
        put(db, "T_EXTRACTION_TASK", &[("task_id", task.id.into_value())], row)?;
        let tables =
            plan(before.map_or(&[][..], |t| t.tables.as_slice()), &task.tables, |t| t.name.clone());
        for table in tables.gone {
            remove_table(db, task.id, &table.name)?;
        }
        for (place, table) in tables.put {
            write_table(db, task.id, place, table)?;
        }
    }
    // A task changes with what it uses: its links, schedule and keys.
    for task in &new.tasks {
        if uses(old, task) != uses(new, task) {
            let id = Filter::new().eq("task_id", task.id);
            let set = [
                ("IS_ADD_DEL", ADDED.into_value()),
                ("task_type", task_type(new, task).into_value()),
            ];
            db.update("T_EXTRACTION_TASK", &set, id)?;
        }
    }
    Ok(())
}

fn uses<'c>(
    config: &'c Config,
    task: &Task,
) -> (Vec<&'c Link>, Option<&'c Schedule>, Vec<&'c Key>) {
    let choices = |t: &TableTask| {
        let both = t.encrypt.values().chain(t.decrypt.values());
        both.map(|c| c.key().to_owned()).collect::<Vec<_>>()
    };
    let names: BTreeSet<_> = task.tables.iter().flat_map(choices).collect();
    (
        config.links.iter().filter(|l| l.name == task.source || l.name == task.dest).collect(),
        config.schedules.iter().find(|s| Some(s.id) == task.schedule),
        config.keys.iter().filter(|k| names.contains(&k.name)).collect(),
    )
}

/// A24: 1 into Oracle, 2 into MySQL; 3 for others.
fn task_type(config: &Config, task: &Task) -> i64 {
    let dest = config.links.iter().find(|l| l.name == task.dest);
    match dest.and_then(|l| l.url.split(':').next()) {
        Some("oracle") => 1,
        Some("mysql" | "mariadb") => 2,
        _ => 3,
    }
}

/// Takes a sub-task out. While its lock is held the row stays, marked, so that the lock is not
/// forgotten should the same sub-task be added again.
fn remove_table(db: &mut Db, task: u32, table: &str) -> Result<()> {
    delete_parts(db, task, table)?;
    db.update("task_detail", &[("is_removed", true.into_value())], of_table(task, table))?;
    db.delete("task_detail", of_table(task, table).null("lock_token"))?;
    Ok(())
}

fn delete_parts(db: &mut Db, task: u32, table: &str) -> Result<()> {
    db.delete("T_TASK_COLUMN", of_table(task, table))?;
    db.delete("T_TASK_SQL", of_table(task, table))?;
    Ok(())
}

fn write_table(db: &mut Db, task: u32, place: usize, table: &TableTask) -> Result<()> {
    let mut row = option_rows::values(table)?;
    row.extend([("position", place.into_value()), ("is_removed", false.into_value())]);
    let id = [("task_id", task.into_value()), ("table_name", (&table.name).into_value())];
    put(db, "task_detail", &id, row)?;
    delete_parts(db, task, &table.name)?;
    write_columns(db, &id, table)?;
    for (phase, sql) in [("before", &table.before), ("after", &table.after)] {
        for (side, statements) in [("source", &sql.source), ("dest", &sql.dest)] {
            for (no, statement) in statements.iter().enumerate() {
                let row = [
                    ("phase", phase.into_value()),
                    ("side", side.into_value()),
                    ("statement_no", no.into_value()),
                    ("statement_text", statement.into_value()),
                ];
                db.insert("T_TASK_SQL", &[&id[..], &row].concat())?;
            }
        }
    }
    Ok(())
}

fn write_columns(db: &mut Db, id: &[(&'static str, Value)], table: &TableTask) -> Result<()> {
    let mut names: Vec<&str> = table.columns.iter().map(ColumnChoice::from).collect();
    let others = table.encrypt.keys().chain(table.decrypt.keys()).chain(&table.allow_lossy);
    let others = others.chain(table.empty_as.keys());
    for name in others {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mode = |c: &CryptoChoice| if c.deterministic() { "deterministic" } else { "random" };
    for (no, name) in names.into_iter().enumerate() {
        let place = table.columns.iter().position(|c| c.from() == name);
        let (encrypt, decrypt) = (table.encrypt.get(name), table.decrypt.get(name));
        let row = [
            ("column_no", no.into_value()),
            ("source_column", name.into_value()),
            ("position", place.into_value()),
            ("dest_column", place.map(|p| table.columns[p].to().to_owned()).into_value()),
            ("encrypt_key", encrypt.map(|c| c.key().to_owned()).into_value()),
            ("encrypt_mode", encrypt.map(|c| mode(c).to_owned()).into_value()),
            ("decrypt_key", decrypt.map(|c| c.key().to_owned()).into_value()),
            ("decrypt_mode", decrypt.map(|c| mode(c).to_owned()).into_value()),
            ("lossy_position", table.allow_lossy.iter().position(|c| c == name).into_value()),
            ("empty_as", table.empty_as.get(name).map_or(Value::Null, word)),
        ];
        db.insert("T_TASK_COLUMN", &[id, &row].concat())?;
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// What the controller has yet to take note of
// ---------------------------------------------------------------------------------------------

/// What became of a task since the controller last took note (A22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskChange {
    /// Added or changed.
    Added,
    /// Removed.
    Removed,
}

/// Tasks that the controller has yet to take note of, by number.
pub fn task_changes(db: &mut Db) -> Result<Vec<(u32, TaskChange)>> {
    let news = Filter::new().any_of("IS_ADD_DEL", vec![Value::Int(ADDED), Value::Int(REMOVED)]);
    let select = Select::new("T_EXTRACTION_TASK", &["task_id", "IS_ADD_DEL"]).filter(news);
    let change = |row: Row| {
        let change = match row.number::<i64>("IS_ADD_DEL")? {
            REMOVED => TaskChange::Removed,
            _ => TaskChange::Added,
        };
        Ok((row.number("task_id")?, change))
    };
    db.select(select.order(&["task_id"]))?.into_iter().map(change).collect()
}

/// Notes that the controller has seen `change` of `task`. To be called before the configuration
/// is loaded: a change that comes between the two is then loaded and, needlessly, seen again.
pub fn note_task_change(db: &mut Db, task: u32, change: TaskChange) -> Result<()> {
    let id = Filter::new().eq("task_id", task);
    match change {
        TaskChange::Added => {
            let filter = id.eq("IS_ADD_DEL", ADDED);
            db.update("T_EXTRACTION_TASK", &[("IS_ADD_DEL", NOTED.into_value())], filter)?;
        }
        TaskChange::Removed => {
            db.delete("T_EXTRACTION_TASK", id.eq("IS_ADD_DEL", REMOVED))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tasks_type_is_that_of_its_destination() {
        for (url, number) in [
            ("oracle://app@h/s", 1),
            ("oracle://app@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=h)))", 1),
            ("mysql://app@h/d", 2),
            ("mariadb://app@h/d", 2),
            ("sqlite:///d.db", 3),
        ] {
            let text = format!(
                "[[link]]\nname = \"a\"\nurl = \"sqlite:///a.db\"\n[[link]]\nname = \"b\"\nurl = \
                 \"{url}\"\n[[task]]\nid = 1\nsource = \"a\"\ndest = \"b\"\n[[task.table]]\nname = \
                 \"t\"\nsource = \"t\"\ndest = \"u\"\n"
            );
            let config = Config::from_toml(&text).unwrap_or_else(|v| panic!("{v:?}"));
            assert_eq!(task_type(&config, &config.tasks[0]), number, "{url}");
        }
    }
}
