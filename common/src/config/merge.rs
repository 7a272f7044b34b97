//! A file that adds to a configuration and changes it, but removes nothing.

use toml::{Table, Value};

use super::model::Config;
use super::violation::Violation;

impl Config {
    /// This configuration with what a TOML file says: sections that it does not name stay, and so
    /// do keys that it does not name in sections that it does.
    ///
    /// # Errors
    /// Every mistake. Lines are those of the file as long as its own text is at fault; what does
    /// not fit the rest has none.
    pub fn with(&self, text: &str) -> Result<Config, Vec<Violation>> {
        let Ok(added) = text.parse::<Table>() else { return Config::from_toml(text) };
        let internal =
            |message: String| vec![Violation { path: String::new(), line: None, message }];
        let before = self.to_toml().map_err(|e| internal(e.to_string()))?;
        let mut merged: Table = before.parse().map_err(|e| internal(format!("{e}")))?;
        for (key, value) in added {
            match (merged.get_mut(&key), value) {
                (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
                (Some(old), new) => put(old, new),
                (None, new) => drop(merged.insert(key, new)),
            }
        }
        let merged = toml::to_string(&merged).map_err(|e| internal(format!("{e}")))?;
        Config::from_toml(&merged).map_err(|violations| {
            violations.into_iter().map(|v| Violation { line: None, ..v }).collect()
        })
    }
}

fn merge(old: &mut Table, new: Table) {
    for (key, value) in new {
        match old.get_mut(&key) {
            Some(old) => put(old, value),
            None => drop(old.insert(key, value)),
        }
    }
}

/// Lists of sections are merged by name or id; every other value is replaced.
fn put(old: &mut Value, new: Value) {
    let are_sections = |list: &[Value]| list.iter().all(|value| label(value).is_some());
    match (old, new) {
        (Value::Array(old), Value::Array(new)) if are_sections(old) && are_sections(&new) => {
            for section in new {
                let same = old.iter_mut().find(|known| label(known) == label(&section));
                match (same, section) {
                    (Some(Value::Table(known)), Value::Table(section)) => merge(known, section),
                    (_, section) => old.push(section),
                }
            }
        }
        (old, new) => *old = new,
    }
}

/// The id or name of a section.
fn label(value: &Value) -> Option<String> {
    let section = value.as_table()?;
    let id = section.get("id").and_then(Value::as_integer).map(|id| id.to_string());
    id.or_else(|| section.get("name").and_then(Value::as_str).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
[controller]
tasks_max = 4
[[link]]
name = "a"
url = "sqlite:///a.db"
[[link]]
name = "b"
url = "sqlite:///b.db"
[[task]]
id = 1
source = "a"
dest = "b"
writers = 3
[[task.table]]
name = "t"
source = "t"
dest = "t"
columns = ["id", "v"]
[[task.table]]
name = "u"
source = "u"
dest = "u"
"#;

    const ADDED: &str = r#"
[[link]]
name = "c"
url = "sqlite:///c.db"
[[task]]
id = 1
writers = 5
[[task.table]]
name = "t"
columns = ["id"]
[[task]]
id = 2
source = "b"
dest = "c"
[[task.table]]
name = "w"
source = "w"
dest = "w"
"#;

    #[test]
    fn what_a_file_does_not_name_stays() {
        let before = Config::from_toml(BEFORE).unwrap();
        assert_eq!(before.with("").unwrap(), before);
        assert_eq!(before.with(BEFORE).unwrap(), before);
        let after = before.with(ADDED).unwrap();
        assert_eq!(after.controller, before.controller);
        let names: Vec<_> = after.links.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let [one, two] = after.tasks.as_slice() else { panic!("{:?}", after.tasks) };
        assert_eq!((one.writers, one.tables.len(), two.id), (5, 2, 2));
        assert_eq!(one.tables[0].columns.len(), 1);
        assert_eq!(one.tables[1], before.tasks[0].tables[1]);
    }

    #[test]
    fn mistakes_are_reported() {
        let before = Config::from_toml(BEFORE).unwrap();
        let syntax = before.with("a = ").unwrap_err();
        assert_eq!(syntax[0].line, Some(1));
        let reference = before.with("[[task]]\nid = 1\nsource = \"nowhere\"").unwrap_err();
        assert!(reference[0].to_string().contains("nowhere"), "{reference:?}");
        assert_eq!(reference[0].line, None);
        before.with("[[link]]\nname = \"a\"\ncolour = 1").unwrap_err();
    }
}
