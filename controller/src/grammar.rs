//! The grammar that all commands share.
//!
//! ```text
//! ssync COMMAND [TASK] [--tables a,b] [OPTIONS]
//! ssync NOUN VERB [NAME …] [OPTIONS]
//! ```
//!
//! - A task is the first argument of every command that is about one, by its number or its name:
//!   `ssync show 3`, `ssync show billing`. `--task TASK` says the same, everywhere; without a
//!   command it runs the task in the foreground.
//! - Tables of a task are `--tables a,b`, everywhere; `--table` is another spelling of it. Only
//!   `pause` and `resume` also take a table as their second argument.
//! - What is configured has a noun in the singular, and verbs: `link list`, `key check`. The
//!   plurals (`links`, `keys`, `receivers`) are accepted; `links` alone is `link usage`.
//!
//! What was written before this grammar keeps its meaning; a test compares the forms.

use clap::Args;
use ssync_common::config::{TaskRef, find_task, unknown_table};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{Home, Store};

use crate::parameters::InForce;
use crate::patience::within;

/// The task of a command that is about one.
#[derive(Debug, Args)]
pub struct OneTask {
    /// The task: its number or its name
    #[arg(value_name = "TASK", required_unless_present = "task_option")]
    task: Option<TaskRef>,

    /// The same as the argument TASK
    #[arg(long = "task", id = "task_option", value_name = "TASK", conflicts_with = "task")]
    option: Option<TaskRef>,
}

impl OneTask {
    /// Which one.
    ///
    /// # Errors
    /// [`Kind::Usage`] when none was named.
    pub fn which(&self) -> Result<&TaskRef> {
        let which = self.task.as_ref().or(self.option.as_ref());
        which.ok_or_else(|| Error::new(Kind::Usage, "no task is named").hint("Name it: TASK."))
    }
}

/// The task of a command that is about one or all.
#[derive(Debug, Args)]
pub struct AnyTask {
    /// Only this task: its number or its name
    #[arg(value_name = "TASK")]
    task: Option<TaskRef>,

    /// The same as the argument TASK
    #[arg(long = "task", id = "task_option", value_name = "TASK", conflicts_with = "task")]
    option: Option<TaskRef>,
}

impl AnyTask {
    /// Which one, if one is named.
    pub fn which(&self) -> Option<&TaskRef> {
        self.task.as_ref().or(self.option.as_ref())
    }

    /// Its number, if one is named. One that is said by its number need not be configured: there may
    /// be records of it.
    ///
    /// # Errors
    /// [`Kind::Usage`] when no task has this name.
    pub fn number(&self, store: &mut Store) -> Result<Option<u32>> {
        match self.which() {
            None => Ok(None),
            Some(TaskRef::Number(number)) => Ok(Some(*number)),
            Some(which) => Ok(Some(store.load()?.task(which)?.id)),
        }
    }
}

/// Tables of a task.
#[derive(Debug, Default, Args)]
pub struct Tables {
    /// Only these tables of TASK, separated by commas; needs a TASK
    #[arg(
        long = "tables",
        visible_alias = "table",
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = table_name
    )]
    pub tables: Vec<String>,
}

fn table_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("the name of a table is missing") } else { Ok(text.to_owned()) }
}

/// A task, and tables of it.
#[derive(Debug, Args)]
pub struct TaskScope {
    /// Which task.
    #[command(flatten)]
    pub task: OneTask,

    /// Which tables.
    #[command(flatten)]
    pub tables: Tables,
}

/// A task or all, and tables of a task.
#[derive(Debug, Args)]
pub struct Scope {
    /// Which task.
    #[command(flatten)]
    pub task: AnyTask,

    /// Which tables; only with a task.
    #[command(flatten)]
    pub tables: Tables,
}

impl Scope {
    /// Refuses tables without a task: `orders` of which one?
    ///
    /// # Errors
    /// [`Kind::Usage`], with the whole command line as it should be.
    pub fn check(&self, command: &str) -> Result<()> {
        if self.tables.tables.is_empty() || self.task.which().is_some() {
            return Ok(());
        }
        let tables = self.tables.tables.join(",");
        Err(Error::new(Kind::Usage, "--tables needs a task, and none is named")
            .hint(format!("Name the task first: ssync {command} TASK --tables {tables}.")))
    }
}

impl Scope {
    /// The number of the task whose records are asked for, if one is named. It and its tables must be
    /// configured, or be in records of a time when they were.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is no such task or table.
    pub fn recorded(&self, store: &mut Store) -> Result<Option<u32>> {
        let Some(number) = self.task.number(store)? else { return Ok(None) };
        let config = store.load()?;
        let which = TaskRef::Number(number);
        let task = config.task(&which);
        let tables = task.as_ref().map_or(&[][..], |task| &task.tables);
        let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        let is_unknown = |table: &&String| !names.contains(&table.as_str());
        let mut unknown = self.tables.tables.iter().filter(is_unknown).peekable();
        if task.is_ok() && unknown.peek().is_none() {
            return Ok(Some(number));
        }
        let former = store.recorded_tables(number)?;
        if former.is_empty() {
            task.as_ref().map_err(Clone::clone)?;
        }
        let Some(unknown) = unknown.find(|table| !former.contains(*table)) else {
            return Ok(Some(number));
        };
        let label = task.as_ref().map_or_else(|_| number.to_string(), |task| task.label());
        let former = former.iter().map(String::as_str).filter(|name| !names.contains(name));
        Err(unknown_table(&label, unknown, names.iter().copied(), former))
    }
}

/// The number of a task, where the configuration database may be out of reach: then what the daemon
/// has in force knows the name.
///
/// # Errors
/// [`Kind::Usage`] when no task has this name; why the configuration database cannot be asked.
pub fn number_in_force(
    which: &TaskRef,
    home: &Home,
    open: impl FnOnce() -> Result<Store> + Send + 'static,
) -> Result<u32> {
    if let TaskRef::Number(number) = which {
        return Ok(*number);
    }
    let error = match within(home, move || open()?.load()) {
        Ok(config) => return Ok(config.task(which)?.id),
        Err(e) => e,
    };
    match InForce::read(home.path()) {
        Ok(Some(known)) => Ok(find_task(known.tasks.iter().map(|p| &p.task), which)?.id),
        _ => Err(error),
    }
}
