//! Tasks that have another number in a new configuration, and sub-tasks that have another name: what
//! they read and where they write says that they are the same.

use std::collections::BTreeMap;
use std::mem::replace;

use super::model::Config;
use super::table::TableTask;
use super::task::Task;

/// A sub-task, by its task's number and its name.
pub type SubTask = (u32, String);

/// What is called otherwise in a new configuration than in the old one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renames {
    /// Numbers of tasks: old and new.
    pub tasks: Vec<(u32, u32)>,
    /// Names of sub-tasks, by the new number of their task: task, old and new name.
    pub tables: Vec<(u32, String, String)>,
}

impl Renames {
    /// Compares two configurations. A task is the same by its own name, else by its links and tables;
    /// a sub-task by its tables and its mode. Where two fit, neither is taken.
    pub fn between(old: &Config, new: &Config) -> Renames {
        let mut renames = Renames { tasks: tasks(&old.tasks, &new.tasks), tables: Vec::new() };
        for old in &old.tasks {
            let number = renames.number(old.id);
            let Some(new) = new.tasks.iter().find(|new| new.id == number) else { continue };
            if (&old.source, &old.dest) != (&new.source, &new.dest) {
                continue;
            }
            let of = |tables: &[TableTask]| -> Vec<_> {
                let known = |t: &TableTask| (t.source.clone(), t.dest.clone(), t.mode);
                tables.iter().map(|t| (t.name.clone(), known(t))).collect()
            };
            let pairs = pairs(&of(&old.tables), &of(&new.tables));
            renames.tables.extend(pairs.into_iter().map(|(from, to)| (number, from, to)));
        }
        renames
    }

    /// The number that a task of the old configuration has in the new one.
    pub fn number(&self, old: u32) -> u32 {
        self.tasks.iter().find(|(from, _)| *from == old).map_or(old, |(_, to)| *to)
    }

    /// The name that a sub-task has in the new configuration; the task by its new number.
    fn name<'a>(&'a self, task: u32, old: &'a str) -> &'a str {
        let renamed = self.tables.iter().find(|(of, from, _)| (*of, from.as_str()) == (task, old));
        renamed.map_or(old, |(_, _, to)| to)
    }

    /// The old configuration with the names of the new one.
    pub fn applied_to(&self, old: &Config) -> Config {
        let mut config = old.clone();
        for task in &mut config.tasks {
            task.id = self.number(task.id);
            for table in &mut task.tables {
                let name = self.name(task.id, &table.name).to_owned();
                table.name = name;
            }
        }
        config
    }

    /// Every sub-task of the old configuration that has another number or name now: old and new.
    pub fn sub_tasks(&self, old: &Config) -> Vec<(SubTask, SubTask)> {
        let tables =
            old.tasks.iter().flat_map(|task| task.tables.iter().map(|t| (task.id, &t.name)));
        let renamed = tables.map(|(task, name)| {
            let number = self.number(task);
            ((task, name.clone()), (number, self.name(number, name).to_owned()))
        });
        renamed.filter(|(from, to)| from != to).collect()
    }
}

fn tasks(old: &[Task], new: &[Task]) -> Vec<(u32, u32)> {
    // A task that keeps its number stays what it is, however it is named.
    let is_in = |id: u32, tasks: &[Task]| tasks.iter().any(|task| task.id == id);
    let gone: Vec<_> = old.iter().filter(|task| !is_in(task.id, new)).collect();
    let come: Vec<_> = new.iter().filter(|task| !is_in(task.id, old)).collect();
    let named = |tasks: &[&Task]| -> Vec<_> {
        tasks.iter().filter_map(|t| Some((t.id, t.name.clone()?))).collect()
    };
    let mut found = pairs(&named(&gone), &named(&come));
    let known = |tasks: &[&Task], taken: Vec<u32>| -> Vec<_> {
        let left = tasks.iter().filter(|t| !t.tables.is_empty() && !taken.contains(&t.id));
        let known = left.map(|task| {
            let tables = task.tables.iter().map(|t| (t.source.clone(), t.dest.clone(), t.mode));
            (task.id, (task.source.clone(), task.dest.clone(), tables.collect::<Vec<_>>()))
        });
        known.collect()
    };
    let gone = known(&gone, found.iter().map(|pair| pair.0).collect());
    let come = known(&come, found.iter().map(|pair| pair.1).collect());
    found.extend(pairs(&gone, &come));
    found
}

/// Old and new name of what is the same thing by what is known of it, and is no longer called so.
fn pairs<N: Ord + Clone, K: PartialEq>(old: &[(N, K)], new: &[(N, K)]) -> Vec<(N, N)> {
    let is_in = |list: &[(N, K)], item: &(N, K)| list.iter().any(|other| other == item);
    let moved = |list: &[(N, K)], others: &[(N, K)]| -> Vec<usize> {
        (0..list.len()).filter(|n| !is_in(others, &list[*n])).collect()
    };
    let (gone, come) = (moved(old, new), moved(new, old));
    let mut pairs = Vec::new();
    for from in &gone {
        let alike = |list: &[(N, K)], of: &[usize]| {
            let alike = of.iter().filter(|n| list[**n].1 == old[*from].1);
            alike.copied().collect::<Vec<_>>()
        };
        if let ([_], [to]) = (alike(old, &gone).as_slice(), alike(new, &come).as_slice())
            && old[*from].0 != new[*to].0
        {
            pairs.push((old[*from].0.clone(), new[*to].0.clone()));
        }
    }
    // A name that something else has had, which is not renamed itself, is no new name.
    loop {
        let left: BTreeMap<N, N> = pairs.iter().cloned().collect();
        let is_free = |name: &N| left.contains_key(name) || old.iter().all(|(n, _)| n != name);
        let free = pairs.iter().filter(|(_, to)| is_free(to)).cloned().collect::<Vec<_>>();
        if replace(&mut pairs, free).len() == left.len() && pairs.len() == left.len() {
            return pairs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(list: &[(&str, u8)]) -> Vec<(String, u8)> {
        list.iter().map(|(name, known)| ((*name).to_owned(), *known)).collect()
    }

    fn renamed(old: &[(&str, u8)], new: &[(&str, u8)]) -> Vec<String> {
        let pairs = pairs(&known(old), &known(new));
        pairs.into_iter().map(|(from, to)| format!("{from}{to}")).collect()
    }

    #[test]
    fn what_is_the_same_is_found_under_its_new_name() {
        assert_eq!(renamed(&[("a", 1), ("b", 2)], &[("c", 1), ("b", 2)]), ["ac"]);
        assert_eq!(renamed(&[("a", 1), ("b", 2)], &[("b", 1), ("a", 2)]), ["ab", "ba"]);
        assert_eq!(renamed(&[("a", 1)], &[("a", 2), ("b", 1)]), ["ab"]);
        assert_eq!(renamed(&[("a", 1), ("b", 2)], &[("b", 1), ("c", 2)]), ["ab", "bc"]);
    }

    #[test]
    fn what_may_be_another_is_not() {
        assert_eq!(renamed(&[("a", 1)], &[("a", 1), ("b", 1)]), [""; 0]);
        assert_eq!(renamed(&[("a", 1)], &[("b", 2)]), [""; 0]);
        assert_eq!(renamed(&[("a", 1), ("b", 1)], &[("c", 1), ("d", 1)]), [""; 0]);
        assert_eq!(renamed(&[("a", 1), ("b", 2)], &[("b", 1)]), [""; 0]);
        assert_eq!(renamed(&[("a", 1), ("b", 2), ("c", 3)], &[("b", 1), ("c", 2)]), [""; 0]);
    }
}
