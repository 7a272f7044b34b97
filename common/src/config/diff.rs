//! What differs between two configurations, in words.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::model::Config;
use super::renames::Renames;

/// What happened to a part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It has another value.
    Changed,
    /// It is gone.
    Removed,
    /// It is called otherwise, and keeps its records and its pauses.
    Renamed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Dotted path, as in violations: `task[7].table[orders].write`.
    pub path: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The old value as TOML would show it, or the old name; absent for whole sections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The new value, or the new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            ChangeKind::Added => '+',
            ChangeKind::Changed | ChangeKind::Renamed => '~',
            ChangeKind::Removed => '-',
        };
        write!(f, "{sign} {}", self.path)?;
        if self.kind == ChangeKind::Renamed {
            f.write_str(", which keeps its records and pauses")?;
        }
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, ": {old} → {new}"),
            (Some(value), None) | (None, Some(value)) => write!(f, ": {value}"),
            (None, None) => Ok(()),
        }
    }
}

/// Every difference, what is called otherwise first, then in the order of the new configuration,
/// removals last in their list. What was renamed is compared under its new name.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let renames = Renames::between(old, new);
    let mut changes = renamed(&renames);
    let old = &renames.applied_to(old);
    // Config serialises to plain JSON; a failure is impossible, and would show everything as new.
    let tree = |c: &Config| serde_json::to_value(c).unwrap_or(Value::Null);
    values("", Some(&tree(old)), Some(&tree(new)), &mut changes);
    changes
}

fn renamed(renames: &Renames) -> Vec<Change> {
    let change = |path: String, old: &dyn fmt::Display, new: &dyn fmt::Display| Change {
        path,
        kind: ChangeKind::Renamed,
        old: Some(old.to_string()),
        new: Some(new.to_string()),
    };
    let tasks = renames.tasks.iter().map(|(old, new)| change(format!("task[{new}]"), old, new));
    let tables = renames
        .tables
        .iter()
        .map(|(task, old, new)| change(format!("task[{task}].table[{new}]"), old, new));
    tasks.chain(tables).collect()
}

fn values(path: &str, old: Option<&Value>, new: Option<&Value>, out: &mut Vec<Change>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let child =
                |key: &str| if path.is_empty() { key.into() } else { format!("{path}.{key}") };
            for (key, value) in new {
                values(&child(key), old.get(key), Some(value), out);
            }
            for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                values(&child(key), Some(value), None, out);
            }
        }
        _ => {
            let empty = Vec::new();
            let list = |v: Option<&Value>| match v {
                Some(Value::Array(list)) => list.clone(),
                _ => empty.clone(),
            };
            let (old_list, new_list) = (list(old), list(new));
            let both = old_list.iter().chain(&new_list);
            if both.clone().next().is_some() && both.clone().all(|v| entry_name(v).is_some()) {
                entries(path, &old_list, &new_list, out);
            } else {
                leaf(path, old, new, out);
            }
        }
    }
}

fn leaf(path: &str, old: Option<&Value>, new: Option<&Value>, out: &mut Vec<Change>) {
    let kind = match (old, new) {
        (None, _) => ChangeKind::Added,
        (_, None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    let (old, new) = (old.map(shown), new.map(shown));
    out.push(Change { path: path.to_owned(), kind, old, new });
}

/// Lists of sections: their entries are told apart by id or name, not by place.
fn entries(path: &str, old: &[Value], new: &[Value], out: &mut Vec<Change>) {
    let find = |list: &[Value], name: &str| {
        list.iter().find(|v| entry_name(v).as_deref() == Some(name)).cloned()
    };
    let names = |list: &[Value]| list.iter().filter_map(entry_name).collect::<Vec<_>>();
    let (old_names, new_names) = (names(old), names(new));
    for name in &new_names {
        let path = format!("{path}[{name}]");
        match find(old, name) {
            Some(before) => values(&path, Some(&before), find(new, name).as_ref(), out),
            None => out.push(Change { path, kind: ChangeKind::Added, old: None, new: None }),
        }
    }
    for name in old_names.iter().filter(|n| !new_names.contains(n)) {
        let path = format!("{path}[{name}]");
        out.push(Change { path, kind: ChangeKind::Removed, old: None, new: None });
    }
    let stayed = |names: &[String], others: &[String]| {
        names.iter().filter(|n| others.contains(n)).cloned().collect::<Vec<_>>().join(", ")
    };
    let (before, after) = (stayed(&old_names, &new_names), stayed(&new_names, &old_names));
    if before != after {
        out.push(Change {
            path: format!("{path} (order)"),
            kind: ChangeKind::Changed,
            old: Some(before),
            new: Some(after),
        });
    }
}

/// The id or name of a section in a list; `None` for other values.
fn entry_name(value: &Value) -> Option<String> {
    let section = value.as_object()?;
    match (section.get("id"), section.get("name")) {
        (Some(Value::Number(id)), _) => Some(id.to_string()),
        (_, Some(Value::String(name))) => Some(name.clone()),
        _ => None,
    }
}

/// A value as people write it.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{key} = {}", shown(value));
            format!("{{ {} }}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
