//! The tables of keys in `docs/CONFIGURATION.md`, and tests that walk the table of options: an
//! option that is not read, exported, documented or kept to its range fails them. That each is
//! stored is tested beside the store.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use serde_json::Value as Json;
use toml::de::DeTable;

use super::option::{Limit, Opt, Options};
use super::section::Reader;
use super::*;

/// Compares a part of `docs/CONFIGURATION.md` with what it is made from; with `UPDATE_DOCS` set in
/// the environment, writes it instead.
pub(crate) fn keep_current(begin: &str, end: &str, text: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (head, rest) = document.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {path}"));
    let (there, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{head}{begin}{text}{end}{tail}")).unwrap();
        return;
    }
    assert!(
        there == text,
        "docs/CONFIGURATION.md is not current at {begin}; UPDATE_DOCS=1 writes it"
    );
}

/// An option, and a configuration in which it has a value that is not its default.
pub(crate) struct Walked {
    /// Its section.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// Where it stands in a configuration.
    pub pointer: String,
    /// A configuration in which nothing is configured but that the section is there.
    pub blank: Config,
    /// The same with the option.
    pub sample: Config,
    /// The columns of its section's row.
    pub columns: Vec<&'static str>,
    /// Its hand-written columns.
    pub elsewhere: Option<(&'static str, &'static [&'static str])>,
    /// The schema version it came with.
    pub since: i64,
    always_shown: bool,
    required: bool,
    limit: Option<Limit>,
    text: String,
}

/// Every option of every section.
pub(crate) fn walk() -> Vec<Walked> {
    let mut all = Vec::new();
    let told = |way: Way| Config {
        receivers: vec![Receiver { way, ..Receiver::blank() }],
        ..Config::default()
    };
    section(&mut all, "/controller", |controller| Config { controller, ..Config::default() });
    section(&mut all, "/link/0", |link| Config { links: vec![link], ..Config::default() });
    section(&mut all, "/key/0", |key| Config { keys: vec![key], ..Config::default() });
    section(&mut all, "/schedule/0", |s| Config { schedules: vec![s], ..Config::default() });
    section(&mut all, "/task/0", |task| Config { tasks: vec![task], ..Config::default() });
    section(&mut all, "/task/0/table/0", |table| {
        let task = Task { tables: vec![table], ..Task::default() };
        Config { tasks: vec![task], ..Config::default() }
    });
    section(&mut all, "/receiver/0", |r| Config { receivers: vec![r], ..Config::default() });
    section(&mut all, "/receiver/0", |way| told(Way::Webhook(way)));
    section(&mut all, "/receiver/0", |way| told(Way::Mail(way)));
    section(&mut all, "/receiver/0", |way| told(Way::Command(way)));
    section(&mut all, "/brief", |brief| Config { brief, ..Config::default() });
    section(&mut all, "/monitor", |monitor| Config { monitor, ..Config::default() });
    section(&mut all, "/retention", |retention| Config { retention, ..Config::default() });
    all
}

fn section<S: Options>(all: &mut Vec<Walked>, at: &str, mut put: impl FnMut(S) -> Config) {
    for option in S::OPTIONS {
        let mut sample = S::blank();
        (option.set_sample)(&mut sample);
        let default = (option.default)();
        all.push(Walked {
            section: S::SECTION,
            key: option.key,
            pointer: format!("{at}/{}", option.key),
            blank: put(S::blank()),
            sample: put(sample),
            columns: option.columns().collect(),
            elsewhere: option.facts.elsewhere,
            since: option.facts.since,
            always_shown: option.facts.is_shown(),
            required: default == "required",
            limit: option.facts.limit,
            text: option.text(),
        });
    }
}

/// The keys of a section as a table.
fn table<S: Options>() -> String {
    let row = |option: &Opt<S>| {
        let (types, default) = ((option.types)(), (option.default)());
        format!("| `{}` | {types} | {default} | {} |\n", option.key, option.text())
    };
    let rows: String = S::OPTIONS.iter().map(row).collect();
    format!("| key | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}")
}

fn keep_table_current<S: Options>() {
    keep_current(
        &format!("<!-- keys of {} -->\n", S::SECTION),
        "<!-- end of keys -->",
        &table::<S>(),
    );
}

#[test]
fn the_tables_of_keys_are_current() {
    keep_table_current::<Link>();
    keep_table_current::<Key>();
    keep_table_current::<Controller>();
    keep_table_current::<Schedule>();
    keep_table_current::<Task>();
    keep_table_current::<TableTask>();
    keep_table_current::<Receiver>();
    keep_table_current::<WebhookWay>();
    keep_table_current::<MailWay>();
    keep_table_current::<CommandWay>();
    keep_table_current::<Brief>();
    keep_table_current::<Monitor>();
    keep_table_current::<Retention>();
}

/// What a file says, whether or not it makes sense, and the mistakes.
fn read_unjudged(text: &str) -> (Config, Vec<Violation>) {
    let document = DeTable::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let reader = Reader::new(text);
    let config = read::config(reader.root(document.get_ref()));
    (config, reader.into_violations())
}

#[test]
fn every_option_is_described() {
    let mut seen = std::collections::BTreeSet::new();
    for option in walk() {
        let name = format!("{} {}", option.section, option.key);
        assert!(option.text.ends_with(['.', ')']) && !option.text.contains('|'), "{name}");
        assert!(seen.insert(name.clone()), "{name} is there twice");
        assert!(option.since <= crate::store::schema::VERSION, "{name}");
    }
}

#[test]
fn every_option_survives_its_file_and_json() {
    for option in walk() {
        let name = format!("{} {}", option.section, option.key);
        assert_ne!(option.blank, option.sample, "{name}");
        let text = option.sample.to_toml().unwrap();
        assert_eq!(read_unjudged(&text).0, option.sample, "{name}\n{text}");
        let json = serde_json::to_value(&option.sample).unwrap();
        assert!(json.pointer(&option.pointer).is_some(), "{name} is not exported: {json}");
        let again: Config = serde_json::from_value(json).unwrap();
        assert_eq!(again, option.sample, "{name}");
        assert!(!diff(&option.blank, &option.sample).is_empty(), "{name}");
    }
}

#[test]
fn a_default_is_exported_only_where_it_is_to_be_and_holds_where_nothing_is_said() {
    for option in walk() {
        let name = format!("{} {}", option.section, option.key);
        let mut json = serde_json::to_value(&option.blank).unwrap();
        let (section, key) = option.pointer.rsplit_once('/').unwrap();
        let Some(Json::Object(section)) = json.pointer_mut(section) else { continue };
        let shown = section.remove(key).is_some();
        assert_eq!(shown, option.always_shown || option.required, "{name}");
        match serde_json::from_value::<Config>(json) {
            Ok(config) => assert!(!option.required || key == "table", "{name}: {config:?}"),
            Err(_) => assert!(option.required, "{name}"),
        }
    }
}

#[test]
fn every_range_is_kept_in_files_and_elsewhere() {
    let mut ranges = 0;
    for option in walk() {
        let Some(limit) = option.limit else { continue };
        let name = format!("{} {}", option.section, option.key);
        let (low, high) = limit.ends();
        let beyond = [low.checked_sub(1), high.checked_add(1).filter(|n| *n <= i64::MAX as u64)];
        for number in beyond.into_iter().flatten() {
            let mut json = serde_json::to_value(&option.sample).unwrap();
            *json.pointer_mut(&option.pointer).unwrap() = number.into();
            let found = read_unjudged(&toml::to_string(&json).unwrap()).1;
            let wanted = format!("{number} is outside {}", limit.words());
            assert!(found.iter().any(|v| v.message == wanted), "{name} = {number}: {found:?}");
            // A number that its type cannot hold never gets further.
            if let Ok(config) = serde_json::from_value::<Config>(json) {
                let found = validate(&config);
                let ours = |v: &&Violation| v.path.ends_with(option.key) && v.message == wanted;
                assert_eq!(found.iter().filter(ours).count(), 1, "{name} = {number}: {found:?}");
            }
            ranges += 1;
        }
    }
    assert!(ranges > 20, "{ranges}");
}
