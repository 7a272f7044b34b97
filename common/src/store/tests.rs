//! The store on SQLite, from inside. Over real processes and on MariaDB: `tests/`.

use proptest::prelude::*;

use super::*;
use crate::config::reference::walk;
use crate::config::tests::configs;
use crate::store::sql::IntoValue;
use crate::value::Value;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    (dir, store)
}

fn open(dir: &tempfile::TempDir) -> Store {
    let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
    Store::open(&StoreLocation::embedded(home)).unwrap()
}

fn apply(store: &mut Store, config: &Config) -> Result<Vec<Change>> {
    let author = Author { name: "ops@here".into(), reason: None };
    store.apply(config, &author, |_| Ok(())).map(|applied| applied.changes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_applied_is_what_is_loaded_whatever_was_there_before(
        first in configs(), second in configs(),
    ) {
        let (dir, mut store) = store();
        for config in [&first, &second, &first] {
            let expected = diff(&store.load().unwrap(), config);
            prop_assert_eq!(store.changes_to(config).unwrap(), expected.clone());
            prop_assert_eq!(apply(&mut store, config).unwrap(), expected);
            prop_assert_eq!(&store.load().unwrap(), config);
            prop_assert_eq!(apply(&mut store, config).unwrap(), vec![]);
        }
        prop_assert_eq!(open(&dir).load().unwrap(), first);
    }

    #[test]
    fn differences_are_empty_exactly_for_equal_configurations(a in configs(), b in configs()) {
        prop_assert_eq!(diff(&a, &a), vec![]);
        prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
    }
}

#[test]
fn what_would_change_changes_nothing() {
    let (_dir, mut store) = store();
    let config = Config::from_toml(
        "[[link]]\nname = \"core\"\nurl = \"sqlite:///a.db\"\n[[schedule]]\nid = 1\nevery = \"5s\"",
    )
    .unwrap();
    assert_eq!(store.changes_to(&config).unwrap().len(), 2);
    assert_eq!(store.load().unwrap(), Config::default());
}

#[test]
fn an_invalid_configuration_is_not_written() {
    let (_dir, mut store) = store();
    let mut config = Config::from_toml("[[schedule]]\nid = 1\nevery = \"5s\"").unwrap();
    config.schedules.push(config.schedules[0].clone());
    let error = apply(&mut store, &config).unwrap_err();
    assert_eq!(error.kind, crate::error::Kind::Config);
    assert!(error.details[0].contains("schedule[1].id"), "{error:?}");
    assert_eq!(store.load().unwrap(), Config::default());
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let (_dir, mut store) = store();
    let row = [("param_name", "a".into_value()), ("param_value", "1".into_value())];
    let failed: Result<()> = store.transaction(|db| {
        db.insert("T_PARAMETER", &row)?;
        db.insert("T_PARAMETER", &row)
    });
    assert!(failed.is_err());
    assert_eq!(store.parameter("a").unwrap(), None);
    // And the connection is as good as before.
    store.transaction(|db| db.insert("T_PARAMETER", &row)).unwrap();
    assert_eq!(store.parameter("a").unwrap().as_deref(), Some("1"));
}

#[test]
fn values_changed_by_hand_are_named() {
    let (_dir, mut store) = store();
    let config = Config::from_toml("[[schedule]]\nid = 1\nevery = \"5s\"").unwrap();
    apply(&mut store, &config).unwrap();
    store
        .transaction(|db| {
            let set = [("schedule_kind", "sometimes".into_value())];
            db.update("T_SCHEDULE", &set, Filter::new())
        })
        .unwrap();
    let error = store.load().unwrap_err();
    assert!(error.message.contains("T_SCHEDULE.schedule_kind"), "{error}");
}

/// The table in whose rows a section is kept; `None` for sections that are a setting.
fn table_of(section: &str) -> Option<&'static str> {
    match section {
        "[[link]]" => Some("T_LINK"),
        "[[key]]" => Some("T_KEY"),
        "[[schedule]]" => Some("T_SCHEDULE"),
        "[[task]]" => Some("T_EXTRACTION_TASK"),
        "[[task.table]]" => Some("task_detail"),
        _ => None,
    }
}

#[test]
fn every_option_is_stored_in_the_columns_that_its_definition_names() {
    let (_dir, mut store) = store();
    for option in walk() {
        let name = format!("{} {}", option.section, option.key);
        let there = config_tables::load(&mut store.db).unwrap();
        let put = |db: &mut Db| config_tables::write(db, &there, &option.sample);
        store.db.transaction(put).unwrap();
        assert_eq!(config_tables::load(&mut store.db).unwrap(), option.sample, "{name}");

        let Some(table) = table_of(option.section) else { continue };
        let (elsewhere, columns) = option.elsewhere.unwrap_or((table, &[]));
        assert!(option.columns.is_empty() != columns.is_empty(), "{name} has no columns");
        let named = [(table, option.columns.as_slice()), (elsewhere, columns)];
        for (table, columns) in named {
            let table = schema::TABLES.iter().find(|t| t.name == table).unwrap();
            for column in columns {
                let column = table.columns.iter().find(|c| c.name == *column);
                assert!(column.is_some_and(|c| !c.about.is_empty()), "{name}");
            }
        }
        if option.since == 1 || option.columns.is_empty() {
            continue;
        }
        // As an upgrade leaves rows that are there already.
        let none: Vec<_> = option.columns.iter().map(|c| (*c, Value::Null)).collect();
        store.db.transaction(|db| db.update(table, &none, Filter::new())).unwrap();
        assert_eq!(config_tables::load(&mut store.db).unwrap(), option.blank, "{name}");
        // What is loaded is what is written next, whatever stands in the columns.
        let there = config_tables::load(&mut store.db).unwrap();
        let put = |db: &mut Db| config_tables::write(db, &there, &option.sample);
        store.db.transaction(put).unwrap();
        assert_eq!(config_tables::load(&mut store.db).unwrap(), option.sample, "{name}");
    }
}

#[test]
fn every_configuration_that_changed_something_is_kept_and_can_be_returned_to() {
    let (_dir, mut store) = store();
    let schedule = |every: &str| {
        Config::from_toml(&format!("[[schedule]]\nid = 1\nevery = \"{every}\"")).unwrap()
    };
    let (first, second) = (schedule("5s"), schedule("9s"));
    for config in [&first, &first, &second] {
        apply(&mut store, config).unwrap();
    }
    let numbers: Vec<_> =
        store.config_versions(9).unwrap().iter().map(|v| (v.number, v.changes)).collect();
    assert_eq!(numbers, [(2, 1), (1, 1)]);
    assert_eq!(store.config_version(1).unwrap(), first);
    assert_eq!(store.config_version(2).unwrap(), second);
    assert_eq!(store.config_version(3).unwrap_err().kind, crate::error::Kind::Usage);
}

#[test]
fn what_was_configured_before_versions_were_kept_is_the_first_of_them() {
    let (_dir, mut store) = store();
    let config = Config::from_toml("[[schedule]]\nid = 1\nevery = \"5s\"").unwrap();
    apply(&mut store, &config).unwrap();
    store.transaction(|db| db.delete("T_CONFIG_VERSION", Filter::new())).unwrap();
    apply(&mut store, &Config::default()).unwrap();
    assert_eq!(store.config_version(1).unwrap(), config);
    assert_eq!(store.config_version(2).unwrap(), Config::default());
}

#[test]
fn what_a_judge_refuses_is_not_applied() {
    let (_dir, mut store) = store();
    let config = Config::from_toml("[[schedule]]\nid = 1\nevery = \"5s\"").unwrap();
    let author = Author::of_this_process(None);
    let refuse = |_: &[Change]| Err(Error::new(crate::error::Kind::Usage, "no"));
    store.apply(&config, &author, refuse).unwrap_err();
    assert_eq!(store.load().unwrap(), Config::default());
    assert_eq!(store.config_versions(1).unwrap(), []);
}
