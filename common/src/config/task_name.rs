//! Names of tasks. A task is its number, everywhere: in runs, ledger, fence and logs. Its name is
//! another way to say the number, and may change at any time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::model::{Config, NAME_CHARS, Task};
use crate::error::{Error, Kind, Result};

/// What stands before a task's number in a text.
const TASK: &str = "task ";
/// Tasks that an error lists.
const LISTED_MAX: usize = 20;

/// How people and programs say which task: by its number or by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskRef {
    /// By its number.
    Number(u32),
    /// By its name.
    Name(String),
}

impl From<u32> for TaskRef {
    fn from(number: u32) -> Self {
        TaskRef::Number(number)
    }
}

impl FromStr for TaskRef {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            Ok(number) => Ok(TaskRef::Number(number)),
            Err(_) if text.is_empty() => Err("a task's number or name is missing".to_owned()),
            Err(_) if is_number(text) => Err("is too large for a task's number".to_owned()),
            Err(_) => Ok(TaskRef::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskRef::Number(number) => write!(f, "{number}"),
            TaskRef::Name(name) => f.write_str(name),
        }
    }
}

/// Whether a text is read as a number, and is no name.
fn is_number(text: &str) -> bool {
    text.chars().all(char::is_numeric)
}

/// What is wrong with a task's name.
pub(super) fn check(name: &str) -> Option<&'static str> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let chars = name.chars().count();
    match () {
        () if chars == 0 || chars > NAME_CHARS || !name.chars().all(good) => {
            Some("must be 1 to 64 letters, digits, '_', '-' or '.'")
        }
        () if is_number(name) => Some("must not be a number: numbers are those of tasks"),
        () if name.starts_with('-') => Some("must not begin with '-', as options do"),
        () => None,
    }
}

/// A task's number and name, for people: `3 (billing)`.
pub fn label(number: u32, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}

impl Task {
    /// Its number and name, for people: `3 (billing)`.
    pub fn label(&self) -> String {
        label(self.id, self.name.as_deref())
    }

    /// Whether it is the one meant.
    pub fn is(&self, which: &TaskRef) -> bool {
        match which {
            TaskRef::Number(number) => self.id == *number,
            TaskRef::Name(name) => self.name.as_ref() == Some(name),
        }
    }
}

impl Config {
    /// The task of this number or name.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is none; the hint lists near names, and the tasks there are.
    pub fn task(&self, which: &TaskRef) -> Result<&Task> {
        find(self.tasks.iter(), which)
    }
}

/// The one of some tasks that has this number or name.
///
/// # Errors
/// [`Kind::Usage`] when there is none; the hint lists near names, and the tasks there are.
pub fn find<'t>(
    tasks: impl Iterator<Item = &'t Task> + Clone,
    which: &TaskRef,
) -> Result<&'t Task> {
    tasks.clone().find(|task| task.is(which)).ok_or_else(|| unknown(tasks, which))
}

fn unknown<'t>(tasks: impl Iterator<Item = &'t Task> + Clone, which: &TaskRef) -> Error {
    let error = Error::new(Kind::Usage, format!("there is no task {which}"));
    let mut labels: Vec<_> = tasks.clone().map(Task::label).collect();
    if labels.is_empty() {
        return error.hint("Nothing is configured yet; ssync apply FILE does that.");
    }
    let further = labels.len().saturating_sub(LISTED_MAX);
    labels.truncate(LISTED_MAX);
    let more = if further > 0 { format!(" and {further} more") } else { String::new() };
    let list = format!("Configured tasks: {}{more}.", labels.join(", "));
    error.hint(match nearest(tasks, which) {
        Some(near) => format!("Did you mean {near}? {list}"),
        None => list,
    })
}

/// The name that looks most like the one that was given.
fn nearest<'t>(tasks: impl Iterator<Item = &'t Task>, which: &TaskRef) -> Option<String> {
    let TaskRef::Name(given) = which else { return None };
    let close = |task: &'t Task| Some((distance(given, task.name.as_deref()?)?, task.label()));
    tasks.filter_map(close).min().map(|(_, label)| label)
}

/// How far a name is from the one that was given; `None`: too far to be meant.
fn distance(given: &str, name: &str) -> Option<usize> {
    // Any longer one is a mistake of another kind, and costs time to compare.
    let given: String = given.chars().take(NAME_CHARS).flat_map(char::to_lowercase).collect();
    let distance = strsim::damerau_levenshtein(&given, &name.to_lowercase());
    (distance <= 1 + name.chars().count() / 4).then_some(distance)
}

/// A table that a task does not have.
///
/// `names` are those that it has, `former` those that only records know.
pub fn unknown_table<'n>(
    task: &str,
    given: &str,
    names: impl IntoIterator<Item = &'n str>,
    former: impl IntoIterator<Item = &'n str>,
) -> Error {
    let names: Vec<_> = names.into_iter().collect();
    let former: Vec<_> = former.into_iter().collect();
    let all = names.iter().chain(&former);
    let near = all.filter_map(|name| Some((distance(given, name)?, *name))).min();
    let listed = |names: &[&str]| {
        let more = names.len().saturating_sub(LISTED_MAX);
        let list = names.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{list} and {more} more") } else { list }
    };
    let mut hint = near.map_or(String::new(), |(_, near)| format!("Did you mean {near}? "));
    if !names.is_empty() {
        hint += &format!("Its tables: {}.", listed(&names));
    }
    if !former.is_empty() {
        hint += &format!(" Only in records: {}.", listed(&former));
    }
    let hint = hint.trim_start();
    Error::new(Kind::Usage, format!("task {task} has no table {given}")).hint(hint)
}

/// Which task has which name, for what is listed by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNames(BTreeMap<u32, String>);

impl TaskNames {
    /// Of some tasks.
    pub fn of<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> TaskNames {
        let named = |task: &Task| Some((task.id, task.name.clone()?));
        TaskNames(tasks.into_iter().filter_map(named).collect())
    }

    /// The name of a task, if it has one.
    pub fn get(&self, number: u32) -> Option<&str> {
        self.0.get(&number).map(String::as_str)
    }

    /// The number and name of a task, for people: `3 (billing)`.
    pub fn label(&self, number: u32) -> String {
        label(number, self.get(number))
    }

    /// A text for people with the names of the tasks in it: `task 3` becomes `task 3 (billing)`. Names
    /// may change at any time, so that what is recorded has numbers only.
    pub fn named<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut out = String::new();
        let mut done = 0;
        for (at, _) in text.match_indices(TASK) {
            let digits = at + TASK.len();
            let end = digits + text[digits..].bytes().take_while(u8::is_ascii_digit).count();
            // `--task 3` is a command's, and `task 3 (billing)` has its name.
            let is_word = !text[..at].ends_with(|c: char| c.is_alphanumeric() || "-_".contains(c));
            let is_whole = !text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let is_bare = is_word && is_whole && !text[end..].starts_with(" (");
            let name = text[digits..end].parse().ok().and_then(|number| self.get(number));
            if let Some(name) = name.filter(|_| is_bare) {
                out += &format!("{} ({name})", &text[done..end]);
                done = end;
            }
        }
        match done {
            0 => Cow::Borrowed(text),
            _ => Cow::Owned(out + &text[done..]),
        }
    }
}

impl FromIterator<(u32, String)> for TaskNames {
    fn from_iter<I: IntoIterator<Item = (u32, String)>>(names: I) -> Self {
        TaskNames(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u32, name: &str) -> Task {
        let name = (!name.is_empty()).then(|| name.to_owned());
        Task { id, name, ..Task::default() }
    }

    #[test]
    fn names_are_put_into_texts_where_numbers_stand_alone() {
        let names = TaskNames::of(&[task(3, "billing"), task(9, "对账"), task(4, "")]);
        for (text, wanted) in [
            ("task 3 failed", "task 3 (billing) failed"),
            ("task 9: task 3, task 4", "task 9 (对账): task 3 (billing), task 4"),
            ("waits for task 9", "waits for task 9 (对账)"),
            ("task 9。", "task 9 (对账)。"),
        ] {
            assert_eq!(names.named(text), wanted);
        }
        for text in [
            "",
            "task ",
            "task 33",
            "task 3rd",
            "task 3 (billing)",
            "ssync --task 3",
            "multitask 3",
            "task 99999999999",
            "任务 3",
        ] {
            assert_eq!(names.named(text), text);
        }
    }

    #[test]
    fn digits_are_a_number_and_everything_else_a_name() {
        for (text, wanted) in [
            ("7", TaskRef::Number(7)),
            ("007", TaskRef::Number(7)),
            ("4294967295", TaskRef::Number(u32::MAX)),
            ("7a", TaskRef::Name("7a".into())),
            ("对账", TaskRef::Name("对账".into())),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        for text in ["", "4294967296", "７７"] {
            assert!(text.parse::<TaskRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_letters_and_no_number() {
        for good in ["billing", "对账", "a", "2026-q1", "x.y_z", "_-", &"名".repeat(64)] {
            assert_eq!(check(good), None, "{good}");
            assert_eq!(good.parse(), Ok(TaskRef::Name(good.into())), "it names the task");
        }
        for bad in ["", "7", "007", "７", "-a", "a b", "a,b", "a/b", "a'b", &"名".repeat(65)] {
            assert!(check(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn two_tasks_of_one_name_and_a_number_for_a_name_are_refused() {
        let task = |id: u32, name: &str| {
            format!(
                "[[task]]\nid = {id}\nname = \"{name}\"\nsource = \"a\"\ndest = \"b\"\n\
                 [[task.table]]\nname = \"t\"\nsource = \"t{id}\"\ndest = \"t{id}\"\n"
            )
        };
        let links =
            ["a", "b"].map(|n| format!("[[link]]\nname = \"{n}\"\nurl = \"sqlite:///{n}\"\n"));
        let with = |tasks: &[String]| Config::from_toml(&(links.concat() + &tasks.concat()));
        assert_eq!(with(&[task(1, "a"), task(2, "A"), task(3, "三")]).unwrap().tasks.len(), 3);
        let wrong = with(&[task(1, "a"), task(2, "a"), task(3, "1")]).unwrap_err();
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[0].contains("task[2].name") && wrong[0].contains("a is the name of task 1 too")
        );
        assert!(wrong[1].contains("task[3].name") && wrong[1].contains("must not be a number"));
    }

    #[test]
    fn an_unknown_task_lists_what_there_is_and_what_is_near() {
        let tasks = [task(3, "billing"), task(7, ""), task(9, "对账")];
        let hint = |which: &str| {
            let which = which.parse().unwrap();
            let error = find(tasks.iter(), &which).unwrap_err();
            assert_eq!(
                (error.kind, error.message),
                (Kind::Usage, format!("there is no task {which}"))
            );
            error.hint.unwrap()
        };
        let list = "Configured tasks: 3 (billing), 7, 9 (对账).";
        assert_eq!(hint("Biling"), format!("Did you mean 3 (billing)? {list}"));
        assert_eq!(hint("orders"), list);
        assert_eq!(hint("4"), list);
        assert_eq!(find(tasks.iter(), &TaskRef::Name("对账".into())).unwrap().id, 9);
        let many: Vec<_> = (1..=30).map(|n| task(n, "")).collect();
        let hint = find(many.iter(), &TaskRef::Number(31)).unwrap_err().hint.unwrap();
        assert!(hint.ends_with("19, 20 and 10 more."), "{hint}");
        assert!(find([].iter(), &TaskRef::Number(1)).unwrap_err().hint.unwrap().contains("apply"));
    }
}
