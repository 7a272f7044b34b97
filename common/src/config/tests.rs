#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::connector::{OracleDriver, TlsMode, WriteMode};

/// The example of the documentation, complete.
const GOOD: &str = r#"
[[link]]
name = "core"
url = "mysql://app@10.0.0.5:3306/core"
password = { env = "CORE_PASSWORD" }
max_connections = 12

[[link]]
name = "warehouse"
url = "sqlite:///srv/warehouse.db"

[[key]]
name = "pii"
secret = { file = "/etc/ssync/pii.key" }
old = [{ env = "OLD_PII" }]

[[schedule]]
id = 1
every = "5s"
start = 2026-12-01T00:00:00+08:00
kind = "realtime"

[[task]]
id = 7
schedule = 1
source = "core"
dest = "warehouse"
writers = 4
batch_rows = 10000

[[task.table]]
name = "orders"
source = "orders"
dest = "dw_orders"
mode = "status"
key = ["id"]
write = "upsert"
columns = ["id", "account_no", { from = "cust", to = "customer" }, "id_card", "mobile"]
encrypt = { id_card = "pii", mobile = { key = "pii", deterministic = true } }
where = "region = 'N'"
before = { source = [], dest = ["DELETE FROM stage"] }

[[task.table]]
name = "log"
source = "app.log"
dest = "log"
mode = "increment"
watermark = { column = "at", lag = "10s" }
"#;

fn mistakes(text: &str) -> Vec<String> {
    match Config::from_toml(text) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.iter().map(ToString::to_string).collect(),
    }
}

/// GOOD with one line replaced: its only mistakes.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    mistakes(&GOOD.replacen(from, to, 1))
}

fn assert_one(found: &[String], wanted: &str) {
    assert!(found.len() == 1 && found[0].contains(wanted), "{found:#?}\nwanted: {wanted}");
}

#[test]
fn attempts_of_former_versions_are_read_as_retries() {
    let with = |line: &str| GOOD.replacen("[[task]]\n", &format!("[[task]]\n{line}\n"), 1);
    let retries = |line: &str| Config::from_toml(&with(line)).unwrap().tasks[0].retries;
    assert_eq!(retries("attempts = 1"), 0);
    assert_eq!(retries("attempts = 12"), 11);
    assert_eq!(retries("retries = 3"), 3);
    assert_eq!(Config::from_toml(GOOD).unwrap().tasks[0].retries, 5);
    let none = mistakes(&with("attempts = 0"));
    assert_eq!(none.len(), 1, "{none:?}");
    let both = mistakes(&with("attempts = 2\nretries = 1"));
    assert!(both[0].contains("former name of retries; set only retries"), "{both:?}");
    let exported = Config::from_toml(&with("attempts = 1")).unwrap().to_toml().unwrap();
    assert!(exported.contains("retries = 0") && !exported.contains("attempts"), "{exported}");
}

#[test]
fn the_daemons_settings_have_defaults_and_zones_need_days() {
    let config = Config::from_toml(GOOD).unwrap();
    assert_eq!(config.controller, Controller::default());
    assert_eq!(config.schedules[0].overrun, Overrun::Skip);
    let text =
        format!("[controller]\ntasks_max = 3\nreread = \"5m\"\nkill_after = \"20m\"\n{GOOD}");
    let set = Config::from_toml(&text).unwrap().controller;
    assert_eq!((set.tasks_max, set.reread.secs(), set.kill_after.secs()), (3, 300, 1200));
    let none = mistakes(&format!("[controller]\ntasks_max = 0\n{GOOD}"));
    assert_one(&none, "controller.tasks_max: 0 is outside 1 to 64");
    let zoned = |every: &str, rest: &str| {
        format!("{GOOD}\n[[schedule]]\nid = 9\nevery = \"{every}\"\n{rest}")
    };
    let start = "start = \"2026-12-01T02:00:00+01:00\"\n";
    let berlin = "zone = \"Europe/Berlin\"\n";
    assert!(Config::from_toml(&zoned("2d", &format!("{start}{berlin}"))).is_ok());
    assert_one(&mistakes(&zoned("1h", &format!("{start}{berlin}"))), "schedule[9].zone: needs an");
    assert_one(&mistakes(&zoned("1d", berlin)), "schedule[9].zone: needs a start");
    let nowhere = "zone = \"Europe/Nowhere\"\n";
    assert_one(&mistakes(&zoned("1d", &format!("{start}{nowhere}"))), "schedule[9].zone: is no");
}

#[test]
fn the_documented_example_is_read() {
    let config = Config::from_toml(GOOD).unwrap();
    assert_eq!(config.links[0].max_connections, 12);
    assert_eq!(config.links[1].max_connections, MAX_CONNECTIONS);
    assert_eq!(config.schedules[0].start.as_ref().unwrap().as_str(), "2026-12-01T00:00:00+08:00");
    let orders = &config.tasks[0].tables[0];
    assert_eq!(
        orders.columns[2],
        ColumnChoice::Renamed { from: "cust".into(), to: "customer".into() }
    );
    assert!(orders.encrypt["mobile"].deterministic());
    assert_eq!(orders.before.dest, ["DELETE FROM stage"]);
    assert_eq!(config.tasks[0].tables[1].watermark.as_ref().unwrap().lag, Lag::Secs(10));
}

#[test]
fn every_mistake_is_reported_at_once_with_path_and_line() {
    let text = r#"
[[link]]
name = "core"
url = "mysql://app:hunter2@db/core"
password = "hunter2"

[[schedule]]
id = 1
every = "soon"

[[task]]
id = 7
schedule = 2
source = "cor"
dest = "core"
writers = 11
btach_rows = 5

[[task.table]]
name = "orders"
source = "orders"
mode = "incremental"
writers = "four"

[[tsak]]
"#;
    let found = mistakes(text);
    let wanted = [
        "line 4: link[core].url: a password in the URL is refused",
        "line 5: link[core].password: a secret does not stand in the configuration",
        "line 9: schedule[1].every: \"soon\" is not a length of time",
        "line 13: task[7].schedule: there is no schedule 2",
        "line 14: task[7].source: there is no link \"cor\"",
        "line 16: task[7].writers: 11 is outside 1 to 10",
        "line 17: task[7]: unknown key btach_rows (did you mean batch_rows?)",
        "line 19: task[7].table[orders].dest: is missing",
        "line 22: task[7].table[orders].mode: \"incremental\" is unknown (did you mean increment? known: status, full, increment)",
        "line 23: task[7].table[orders]: unknown key writers (it belongs in [[task]])",
        "line 25: unknown key tsak (did you mean task?)",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\nwanted: {wanted}");
    }
    assert!(!found.concat().contains("hunter2"));
}

#[test]
fn broken_text_names_its_line_and_shows_none_of_it() {
    let found = mistakes("[[link]]\nname = \"core\"\nurl = \"mysql://app:hunter2@db/core\n");
    assert!(!found.is_empty());
    assert!(found[0].starts_with("line 3: this is not TOML"), "{found:?}");
    assert!(!found.concat().contains("hunter2"));
}

#[test]
fn passwords_in_urls_are_refused_in_every_spelling() {
    for url in [
        "mysql://app:hunter2@db/core",
        "mysql://app:@db/core",
        "mysql://:hunter2@db/core",
        "mysql://app:hun@ter2@db/core",
        "app:hunter2@db",
        "nosuch://app:hunter2@db/x",
        "mysql://app:hunter2@[bad/core",
    ] {
        let found = changed("mysql://app@10.0.0.5:3306/core", url);
        assert_one(&found, "a password in the URL is refused");
        assert!(!found[0].contains("hunter2"));
    }
    let found = changed("mysql://app@10.0.0.5:3306/core", "mysql://app@db/core?password=hunter2");
    assert_one(&found, "takes no options");
    assert!(!found[0].contains("hunter2"));
}

#[test]
fn urls_must_name_a_database_that_a_connector_reaches() {
    let url = |u: &str| changed("mysql://app@10.0.0.5:3306/core", u);
    assert_one(&url("db2://app@db/core"), "there is no connector for db2://");
    assert_one(&url("mysql://db/core"), "names no user");
    assert_one(&url("core"), "is not a URL");
    let found = changed("sqlite:///srv/warehouse.db", "sqlite://warehouse.db");
    assert_one(&found, "absolute path");
    let created = "sqlite:///srv/warehouse.db?create=true";
    assert!(changed("sqlite:///srv/warehouse.db", created).is_empty());
    assert!(url("mysql://app@localhost/core?socket=/run/mysqld/mysqld.sock").is_empty());
    for wrong in ["socket=x", "socket=/x&password=y", "ssl=1", "create=true"] {
        assert_one(&url(&format!("mysql://app@db/core?{wrong}")), "takes no options but");
    }
}

#[test]
fn names_and_ids_are_unique() {
    let found = changed("name = \"warehouse\"", "name = \"core\"");
    assert!(found.iter().any(|f| f.starts_with("line 9: link[core].name: core is used twice")));
    assert_one(&changed("name = \"log\"", "name = \"orders\""), "orders is used twice");
    let twice = format!("{GOOD}\n[[schedule]]\nid = 1\nevery = \"1h\"\n");
    assert_one(&mistakes(&twice), "schedule[1].id: 1 is used twice");
}

#[test]
fn ranges_are_kept() {
    assert_one(&changed("writers = 4", "writers = 0"), "task[7].writers: 0 is outside 1 to 10");
    assert_one(&changed("writers = 4", "writers = 9999999999999999999999"), "task[7].writers");
    assert_one(&changed("batch_rows = 10000", "batch_rows = 0"), "task[7].batch_rows");
    assert_one(&changed("batch_rows = 10000", "batch_millis = 0"), "task[7].batch_millis");
    assert_one(&changed("batch_rows = 10000", "slot_bytes = 1024"), "task[7].slot_bytes");
    assert_one(&changed("max_connections = 12", "max_connections = 0"), "max_connections");
    assert_one(&changed("every = \"5s\"", "every = \"0s\""), "at least one second");
    assert_one(&changed("every = \"5s\"", "every = 5"), "schedule[1].every");
    assert_one(&changed("id = 7", "id = -7"), "-7 is outside");
}

#[test]
fn modes_and_their_options_fit_together() {
    let log = "mode = \"increment\"\nwatermark = { column = \"at\", lag = \"10s\" }";
    assert_one(&changed(log, "mode = \"increment\""), "table[log].watermark: is missing");
    assert_one(&changed("mode = \"increment\"", "mode = \"full\""), "only used with mode");
    assert_one(
        &changed(log, "mode = \"status\"\nfull = \"swap\""),
        "table[log].full: is only used",
    );
    assert_one(&changed("lag = \"10s\"", "lag = \"ten\""), "watermark.lag");
    assert_one(&changed(log, "app_resets_status = true\nmode = \"full\""), "app_resets_status");
    assert!(changed("lag = \"10s\"", "lag = 5").is_empty());
}

#[test]
fn columns_are_named_once_on_each_side() {
    let columns = "columns = [\"id\", \"account_no\", { from = \"cust\", to = \"customer\" }, \"id_card\", \"mobile\"]";
    let with =
        |c: &str| changed(columns, &format!("columns = [\"id\", \"id_card\", \"mobile\", {c}]"));
    assert_one(&with("\"id\""), "columns[#4]: source column id is there twice");
    assert_one(&with("{ from = \"x\", to = \"id\" }"), "destination column id gets two columns");
    assert_one(&with("\"sync_status\""), "control column");
    assert_one(&with("{ from = \"x\", too = \"id\" }, \"y\"")[..1], "columns[#4]");
    assert_one(&with("7"), "must be a column's name");
    assert_one(&with("\"\""), "must not be empty");
    assert_one(
        &changed(columns, "columns = [\"account_no\", \"id_card\", \"mobile\"]"),
        "finds rows by it",
    );
    assert_one(&changed("key = [\"id\"]", "key = [\"id\", \"id\"]"), "column id is there twice");
}

#[test]
fn encryption_names_keys_and_columns_that_exist() {
    assert_one(
        &changed("id_card = \"pii\"", "id_card = \"piii\""),
        "encrypt[id_card]: there is no key \"piii\"",
    );
    assert_one(
        &changed("id_card = \"pii\"", "nosuch = \"pii\""),
        "column nosuch is not among columns",
    );
    assert_one(
        &changed("where =", "decrypt = { id_card = \"pii\" }\nwhere ="),
        "under encrypt too",
    );
    assert_one(&changed("key = [\"id\"]", "key = [\"id_card\"]"), "random nonces");
    assert!(changed("key = [\"id\"]", "key = [\"mobile\"]").is_empty());
    let stored = changed("{ env = \"OLD_PII\" }", "{ stored = true }");
    assert_one(&stored, "key[pii].old[#1]: keys are not stored");
    let never = changed("{ env = \"CORE_PASSWORD\" }", "{ stored = false }");
    assert_one(&never, "link[core].password.stored: can only be true");
    assert_one(
        &changed("{ file = \"/etc/ssync/pii.key\" }", "{ file = \"/a\", env = \"B\" }"),
        "exactly one of",
    );
    assert_one(&changed("{ file = \"/etc/ssync/pii.key\" }", "{}"), "exactly one of");
    assert_one(&changed("{ file = \"/etc/ssync/pii.key\" }", "{ file = \"pii.key\" }"), "absolute");
}

#[test]
fn links_take_only_what_their_database_knows() {
    let warehouse = "url = \"sqlite:///srv/warehouse.db\"";
    let with = |extra: &str| changed(warehouse, &format!("{warehouse}\n{extra}"));
    assert_one(&with("password = { env = \"X\" }"), "a SQLite file has no password");
    assert_one(&with("tls = \"required\""), "not reached over a network");
    assert_one(&changed("max_connections = 12", "tls_ca_file = \"/ca.pem\""), "only used with tls");
    assert!(
        changed("max_connections = 12", "tls = \"verified\"\ntls_ca_file = \"/ca.pem\"").is_empty()
    );
}

#[test]
fn a_status_table_has_one_owner() {
    let log = "source = \"app.log\"\ndest = \"log\"\nmode = \"increment\"\nwatermark = { column = \"at\", lag = \"10s\" }";
    let found = changed(log, "source = \"orders\"\ndest = \"log\"");
    assert_one(
        &found,
        "task[7].table[log].source: orders is the source of task[7].table[orders] too",
    );
}

#[test]
fn a_table_is_not_copied_onto_itself() {
    let found = changed("dest = \"warehouse\"", "dest = \"core\"");
    assert!(found.is_empty(), "{found:?}");
    let found = mistakes(
        &GOOD
            .replace("dest = \"warehouse\"", "dest = \"core\"")
            .replace("\"dw_orders\"", "\"orders\""),
    );
    assert_one(&found, "source and destination are the same table");
}

/// Made by `ssync export` before options were defined by a table.
const EXPORTED: &str = include_str!("tests_export.toml");

#[test]
fn what_was_exported_once_is_read_and_exported_the_same() {
    let config = Config::from_toml(EXPORTED).unwrap_or_else(|v| panic!("{v:?}"));
    assert_eq!(config.to_toml().unwrap(), EXPORTED);
}

#[test]
fn a_key_in_the_wrong_section_is_sent_where_it_belongs() {
    for (near, key, advice) in [
        ("writers = 4", "io_timeout_secs = 5", "(it belongs in [[link]])"),
        ("writers = 4", "overrun = \"skip\"", "(it belongs in [[schedule]])"),
        ("writers = 4", "key = [\"id\"]", "(it belongs in [[task.table]])"),
        ("max_connections = 12", "reread = \"1h\"", "(it belongs in [controller])"),
        ("max_connections = 12", "wirters = 4", "(known here: name, url, password"),
    ] {
        assert_one(&changed(near, key), advice);
    }
}

const DOCUMENT: &str = include_str!("../../../docs/CONFIGURATION.md");

#[test]
fn the_documented_files_are_valid() {
    let examples: Vec<_> = DOCUMENT.split("```toml\n").skip(1).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let text = example.split("```").next().unwrap();
        assert_eq!(mistakes(text), Vec::<String>::new(), "{text}");
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.\u{4e00}-\u{4e2f}-]{1,12}"
}

fn sql() -> impl Strategy<Value = String> {
    "\\PC{0,20}[a-z\"'\\\\\n\t]".prop_map(|s| format!("{s};"))
}

fn password() -> impl Strategy<Value = SecretSource> {
    prop_oneof![key_secret(), Just(SecretSource::Stored { stored: true })]
}

fn key_secret() -> impl Strategy<Value = SecretSource> {
    prop_oneof![
        "[A-Z_][A-Z0-9_]{0,9}".prop_map(|env| SecretSource::Env { env }),
        "/\\PC{0,10}".prop_map(|f| SecretSource::File { file: PathBuf::from(f) }),
    ]
}

fn tls() -> impl Strategy<Value = (TlsMode, Option<PathBuf>)> {
    prop_oneof![
        Just((TlsMode::Off, None)),
        Just((TlsMode::Required, None)),
        option::of("/[a-z]{1,5}".prop_map(PathBuf::from)).prop_map(|ca| (TlsMode::Verified, ca)),
    ]
}

fn link() -> impl Strategy<Value = Link> {
    (
        name(),
        option::of(password()),
        tls(),
        1..=10_000u32,
        1..=3600u64,
        1..=86_400u64,
        any::<bool>(),
        option::of(any::<[bool; 2]>()),
        option::of((1..=i64::MAX as u64, 1..=i64::MAX as u64, sql())),
    )
        .prop_map(
            |(name, password, (tls, tls_ca_file), most, connect, io, nondurable, oracle, pace)| {
                let mut link = Link {
                    url: format!("mysql://u@db/{}", name.len()),
                    name,
                    password,
                    max_connections: most,
                    tls,
                    tls_ca_file,
                    driver: OracleDriver::Thin,
                    wallet_dir: None,
                    max_rows_per_sec: pace.as_ref().map(|p| p.0),
                    max_bytes_per_sec: pace.as_ref().map(|p| p.1),
                    throttle: pace.map(|(_, above, query)| Throttle {
                        query: format!("SELECT {query}"),
                        above,
                    }),
                    connect_timeout_secs: connect,
                    io_timeout_secs: io,
                    allow_nondurable: nondurable,
                    ..Link::default()
                };
                link.failover = !nondurable;
                match oracle {
                    Some(choices) => oracle_link(link, choices),
                    None => link,
                }
            },
        )
}

/// The link as one of Oracle's.
fn oracle_link(link: Link, [by_wallet, by_descriptor]: [bool; 2]) -> Link {
    let verified = link.tls == TlsMode::Verified;
    let protocol = if verified { "TCPS" } else { "tcp" };
    let place = match by_descriptor {
        true => format!("(DESCRIPTION=(ADDRESS=(PROTOCOL={protocol})(HOST=h)))"),
        false => format!("h:1521/{}", link.name.len()),
    };
    let by_wallet = by_wallet && verified;
    Link {
        url: format!("oracle://u@{place}"),
        tls: if verified { TlsMode::Verified } else { TlsMode::Off },
        tls_ca_file: link.tls_ca_file.clone().filter(|_| !by_wallet),
        driver: if by_wallet { OracleDriver::Oci } else { OracleDriver::Thin },
        wallet_dir: by_wallet.then(|| "/etc/wallet".into()),
        ..link
    }
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let start = option::of((0i64..4_000_000_000).prop_map(|s| {
        jiff::Timestamp::from_second(s).unwrap().to_string().parse::<Moment>().unwrap()
    }));
    let kind = prop_oneof![Just(ScheduleKind::Realtime), Just(ScheduleKind::Timed)];
    let overrun = prop_oneof![Just(Overrun::Skip), Just(Overrun::RunOnce), Just(Overrun::CatchUp)];
    let zone = any::<bool>();
    (1..=u32::MAX, 1..=PERIOD_SECS_MAX, start, zone, kind, overrun).prop_map(
        |(id, every, start, zone, kind, overrun)| {
            let zoned = zone && start.is_some() && every >= 86_400;
            let mut schedule = Schedule {
                id,
                every: Period::from_secs(if zoned { every / 86_400 * 86_400 } else { every })
                    .unwrap(),
                start,
                zone: zoned.then(|| "Europe/Berlin".to_owned()),
                kind,
                ..Schedule::default()
            };
            schedule.overrun = overrun;
            schedule
        },
    )
}

fn side_sql() -> impl Strategy<Value = SideSql> {
    (vec(sql(), 0..3), vec(sql(), 0..3)).prop_map(|(source, dest)| SideSql { source, dest })
}

/// Every combination of mode and its options that is valid, whatever columns there are.
fn mode() -> impl Strategy<Value = (TableMode, FullMethod, Option<Watermark>, bool)> {
    let lag = prop_oneof![
        (0..=PERIOD_SECS_MAX).prop_map(Lag::Secs),
        (0..=i64::MAX as u64).prop_map(Lag::Count)
    ];
    prop_oneof![
        any::<bool>().prop_map(|b| (TableMode::Status, FullMethod::Truncate, None, b)),
        any::<bool>().prop_map(|swap| {
            let full = if swap { FullMethod::Swap } else { FullMethod::Truncate };
            (TableMode::Full, full, None, false)
        }),
        (name(), lag).prop_map(|(column, lag)| {
            (TableMode::Increment, FullMethod::Truncate, Some(Watermark { column, lag }), false)
        }),
    ]
}

fn table(n: usize, keys: Vec<String>) -> impl Strategy<Value = TableTask> {
    let columns = vec((0..3u8, any::<bool>()), 0..6);
    let write = prop_oneof![
        Just(WriteMode::Insert),
        Just(WriteMode::Upsert),
        Just(WriteMode::Replace),
        Just(WriteMode::Ignore)
    ];
    (name(), mode(), write, columns, option::of(sql()), side_sql(), side_sql(), any::<bool>())
        .prop_map(move |(name, mode, write, columns, filter, before, after, allow_triggers)| {
            let mut encrypt = BTreeMap::new();
            let mut decrypt = BTreeMap::new();
            let mut choices = vec![];
            for (i, (what, renamed)) in columns.iter().enumerate() {
                let from = format!("c {i}.\"{}", "é".repeat(i));
                let to = if *renamed { format!("d{i}") } else { from.clone() };
                if let Some(key) = keys.get(i % keys.len().max(1)) {
                    let choice = CryptoChoice::new(key.clone(), *renamed);
                    match what {
                        1 => drop(encrypt.insert(from.clone(), choice)),
                        2 => drop(decrypt.insert(from.clone(), choice)),
                        _ => {}
                    }
                }
                choices.push(ColumnChoice::new(from, to));
            }
            // A key column that stays in the clear, where there is one.
            let clear = choices.iter().map(|c| c.from().to_owned());
            let key: Vec<String> = clear.filter(|c| !encrypt.contains_key(c)).take(2).collect();
            let allow_lossy = choices.iter().take(1).map(|c| c.from().to_owned()).collect();
            let ways = [EmptyAs::Null, EmptyAs::Space, EmptyAs::Refuse].into_iter().cycle();
            let empty = choices.iter().map(|c| c.from().to_owned()).skip(2).take(3);
            let mut empty_as: BTreeMap<_, _> =
                empty.filter(|c| !encrypt.contains_key(c) && !key.contains(c)).zip(ways).collect();
            if allow_triggers {
                empty_as.insert(OTHER_COLUMNS.to_owned(), EmptyAs::Space);
            }
            let mut table = TableTask {
                source: format!("s{n}.\"{name}\""),
                dest: format!("d{n}"),
                name: format!("{name}{n}"),
                mode: mode.0,
                full: mode.1,
                watermark: mode.2,
                key,
                write,
                columns: choices,
                encrypt,
                decrypt,
                filter: filter.map(|f| format!("a{}", f.replace(['(', ')', '\'', '"', '`'], ""))),
                before,
                after,
                allow_lossy,
                empty_as,
                app_resets_status: mode.3,
                allow_triggers,
                count: mode.0 != TableMode::Full || !allow_triggers,
                ..TableTask::default()
            };
            if mode.0 == TableMode::Increment && allow_triggers {
                table.initial = Some(INITIAL_ALL.to_owned());
            }
            table
        })
}

fn unique_by<T, K: Ord>(mut items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    items.retain(|item| seen.insert(key(item)));
    items
}

/// Valid configurations of any shape.
pub(crate) fn configs() -> impl Strategy<Value = Config> {
    let keys = vec((name(), key_secret(), vec(key_secret(), 0..3)), 0..3).prop_map(|keys| {
        let key = |(name, secret, old)| Key { name, secret, old };
        unique_by(keys.into_iter().map(key).collect(), |k: &Key| k.name.clone())
    });
    let periods = (1..=PERIOD_SECS_MAX, 1..=PERIOD_SECS_MAX);
    let controller = (1..=64u32, periods).prop_map(|(tasks_max, (reread, kill))| {
        let reread = Period::from_secs(reread).unwrap();
        let mut controller = Controller { tasks_max, reread, ..Controller::default() };
        controller.kill_after = Period::from_secs(kill).unwrap();
        controller
    });
    let parts = (controller, vec(link(), 1..4), keys, vec(schedule(), 0..4));
    parts.prop_flat_map(|(controller, links, keys, schedules)| {
        let links = unique_by(links, |l| l.name.clone());
        let schedules = unique_by(schedules, |s| s.id);
        let key_names: Vec<_> = keys.iter().map(|k| k.name.clone()).collect();
        let link_names: Vec<_> = links.iter().map(|l| l.name.clone()).collect();
        let ids: Vec<_> = schedules.iter().map(|s| s.id).collect();
        let task = move |n: usize| {
            let tables =
                (0..3usize).map(|i| table(n * 10 + i, key_names.clone())).collect::<Vec<_>>();
            let link = || proptest::sample::select(link_names.clone());
            let schedule = if ids.is_empty() {
                Just(None).boxed()
            } else {
                option::of(proptest::sample::select(ids.clone())).boxed()
            };
            let numbers = (
                1..=10u8,
                1..=10u8,
                1..=1_000_000u32,
                1..=3_600_000u32,
                65_536..=1_073_741_824u64,
                0..=i64::MAX as u64,
            );
            (link(), link(), schedule, numbers, any::<[bool; 2]>(), tables).prop_map(
                move |(
                    source,
                    dest,
                    schedule,
                    (writers, readers, batch_rows, batch_millis, slot_bytes, limit),
                    b,
                    tables,
                )| {
                    let mut task = Task {
                        id: n as u32 + 1,
                        name: b[0].then(|| format!("{n}.对账-_")),
                        schedule,
                        source,
                        dest,
                        writers,
                        readers,
                        batch_rows,
                        batch_millis,
                        slot_bytes,
                        max_rows_per_sec: b[0].then_some(limit.max(1)),
                        max_bytes_per_sec: b[1].then_some(slot_bytes),
                        error_limit: limit,
                        stop_on_error: b[0],
                        record_use_times: b[1],
                        snapshot: b[0],
                        tables,
                        ..Task::default()
                    };
                    task.snapshot_max = Period::from_secs(batch_millis.into()).unwrap();
                    task
                },
            )
        };
        let tasks = (0..3usize).map(task).collect::<Vec<_>>();
        let told = super::tests_receivers::told();
        (Just(controller), Just(links), Just(keys), Just(schedules), tasks, 0..4usize, told)
            .prop_map(
                |(
                    controller,
                    links,
                    keys,
                    schedules,
                    mut tasks,
                    n,
                    (receivers, brief, monitor, retention),
                )| {
                    tasks.truncate(n);
                    for task in &mut tasks {
                        let mut ends = links
                            .iter()
                            .filter(|l: &&Link| [&task.source, &task.dest].contains(&&l.name));
                        if !ends.any(|l| l.url.starts_with("oracle:")) {
                            task.tables.iter_mut().for_each(|t| t.empty_as.clear());
                        }
                    }
                    Config {
                        controller,
                        links,
                        keys,
                        schedules,
                        tasks,
                        receivers,
                        brief,
                        monitor,
                        retention,
                    }
                },
            )
    })
}

/// A valid file with a piece of it overwritten: nearer to real mistakes than random text.
fn damaged() -> impl Strategy<Value = String> {
    (0..GOOD.len(), 0..20usize, "[\\PC\n]{0,12}").prop_map(|(at, cut, put)| {
        let tail = GOOD.get(at + cut..).unwrap_or_default();
        format!("{}{put}{tail}", GOOD.get(..at).unwrap_or_default())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_configuration_survives_its_file(config in configs()) {
        prop_assert_eq!(validate(&config), vec![]);
        let text = config.to_toml().unwrap();
        match Config::from_toml(&text) {
            Ok(again) => prop_assert_eq!(again, config),
            Err(violations) => prop_assert!(false, "{violations:?}\n{text}"),
        }
    }

    #[test]
    fn a_configuration_survives_json(config in configs()) {
        let text = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_reader_never_panics(text in prop_oneof!["(?s).*", damaged()]) {
        if let Err(violations) = Config::from_toml(&text) {
            prop_assert!(!violations.is_empty());
        }
    }
}
