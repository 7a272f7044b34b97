//! The configuration database, on SQLite, MariaDB and MySQL: every test runs on each.

#[path = "config_store/locks.rs"]
mod locks;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::locks::{configured, owner};
use jiff::Timestamp;
use mysql::prelude::Queryable;
use ssync_common::config::{Config, TableMode};
use ssync_common::connector;
use ssync_common::error::{Error, Kind};
use ssync_common::process::{ProcessIdentity, RunId};
use ssync_common::secret::Secret;
use ssync_common::store::*;
use ssync_common::value::Value;
use ssync_tests::command::Ssync;
use ssync_tests::servers::oracle::{Generation, OracleAccount, oracle};
use ssync_tests::servers::{Database, PASSWORD, Server, Software, mariadb, mysql56};
use ssync_tests::ssync::{apply, write_down};

const CONFIG: &str = r#"
[[link]]
name = "a"
url = "sqlite:///a.db"
[[link]]
name = "b"
url = "mysql://u@db/b"
password = { stored = true }
tls = "verified"
tls_ca_file = "/ca.pem"
allow_nondurable = true
[[key]]
name = "pii"
secret = { file = "/pii.key" }
old = [{ env = "OLD_PII" }, { file = "/older.key" }]
[[schedule]]
id = 3
every = "90s"
start = "2026-12-01T00:00:00+08:00"
kind = "realtime"
[[task]]
id = 9
source = "b"
dest = "a"
[[task.table]]
name = "客户"
source = "app.客户"
dest = "kunden"
mode = "full"
full = "swap"
allow_lossy = ["x", "y"]
encrypt = { x = "pii", y = { key = "pii", deterministic = true } }
[[task]]
id = 7
schedule = 3
source = "a"
dest = "b"
error_limit = 9223372036854775807
stop_on_error = false
record_use_times = false
[[task.table]]
name = "orders"
source = "orders"
dest = "dw_orders"
key = ["id", "部门"]
write = "upsert"
columns = ["部门", "id", { from = "cust", to = "customer" }]
decrypt = { cust = "pii" }
where = "a = 'it''s 😀'"
app_resets_status = true
allow_triggers = true
before = { source = ["SELECT 1", "SELECT 2"], dest = ["DELETE FROM stage"] }
after = { dest = ["ANALYZE"] }
[[task.table]]
name = "log"
source = "log"
dest = "log"
mode = "increment"
watermark = { column = "at", lag = "1m 10s" }
"#;

/// Makes each named function a test on every kind of configuration database.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[test] fn $test() { super::$test(&super::Place::embedded()) })+
        }
        mod mariadb {
            $(#[test] fn $test() { super::$test(&super::Place::mariadb(stringify!($test))) })+
        }
        mod mysql56 {
            $(#[test] fn $test() { super::$test(&super::Place::mysql56(stringify!($test))) })+
        }
        mod oracle {
            $(#[test] fn $test() { super::$test(&super::Place::oracle(stringify!($test))) })+
        }
    };
}
use on_every_store;

on_every_store!(
    a_configuration_is_kept_whole_and_told_apart,
    the_controller_is_told_of_tasks_that_came_changed_or_went,
    two_who_apply_at_once_leave_one_of_the_two_configurations,
    many_who_open_an_empty_database_at_once_find_the_same_installation,
    a_schema_of_the_future_is_refused,
    a_schema_of_version_1_is_widened,
    parameters_are_written_and_read,
    runs_are_recorded_from_begin_to_end,
    batches_are_recorded_once_each,
    use_times_go_to_the_table_of_that_name,
    bad_rows_are_numbered_found_and_marked,
    a_failed_real_time_task_is_held_until_it_is_resumed,
    a_task_suspended_for_a_server_may_resume_by_itself_unless_a_person_has_a_say,
    what_was_written_beside_the_store_is_named_when_it_is_wrong,
);

/// A configuration database to test on.
enum Place {
    Embedded(tempfile::TempDir),
    Server(tempfile::TempDir, Database<'static>),
    Oracle(tempfile::TempDir, OracleAccount<'static>),
}

impl Place {
    fn embedded() -> Place {
        Place::Embedded(tempfile::tempdir().unwrap())
    }

    fn mariadb(test: &str) -> Place {
        Place::Server(tempfile::tempdir().unwrap(), mariadb().database(test))
    }

    fn mysql56(test: &str) -> Place {
        Place::Server(tempfile::tempdir().unwrap(), mysql56().database(test))
    }

    fn oracle(test: &str) -> Place {
        let account = oracle(Generation::Oracle19c).account(test);
        Place::Oracle(tempfile::tempdir().unwrap(), account)
    }

    fn home(&self) -> PathBuf {
        match self {
            Place::Embedded(dir) | Place::Server(dir, _) | Place::Oracle(dir, _) => {
                dir.path().join("home")
            }
        }
    }

    fn location(&self) -> StoreLocation {
        self.location_at(&self.home())
    }

    /// The same database from another home (for a server: as another host would).
    fn location_at(&self, home: &Path) -> StoreLocation {
        let home = Home::locate(Some(home)).unwrap();
        match self {
            Place::Embedded(_) => StoreLocation::embedded(home),
            Place::Server(_, database) => {
                let password = Some(Secret::from(PASSWORD.to_owned()));
                StoreLocation::server(home, &database.url(), password).unwrap()
            }
            Place::Oracle(_, account) => {
                let password = Some(Secret::from(account.password().to_owned()));
                StoreLocation::server(home, &account.url(), password).unwrap()
            }
        }
    }

    fn open(&self) -> Store {
        Store::open(&self.location()).unwrap()
    }

    /// Runs a statement beside the store.
    fn sql(&self, sql: &str) -> Vec<Vec<Value>> {
        let spelt = match self {
            Place::Oracle(..) => small_letters_kept(sql),
            _ => sql.to_owned(),
        };
        let sql = spelt.as_str();
        let mut conn = connector::open(&self.location().link).unwrap();
        if sql.starts_with("SELECT") {
            return conn.query(sql, &[]).unwrap();
        }
        conn.execute(sql, &[]).unwrap();
        Vec::new()
    }
}

/// The statement for Oracle: columns of small letters, which it would fold, in quotes. (The store lets
/// it fold the names of tables.)
fn small_letters_kept(sql: &str) -> String {
    let mut spelt = String::new();
    for (i, part) in sql.split('\'').enumerate() {
        let is_literal = i % 2 == 1;
        if is_literal {
            spelt += &format!("'{part}'");
            continue;
        }
        for word in part.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_')) {
            let name = word.trim_end_matches(|c: char| !(c.is_alphanumeric() || c == '_'));
            let after = &word[name.len()..];
            let is_table = matches!(name, "task_detail" | "proc_use_times");
            match !is_table && name.starts_with(|c: char| c.is_ascii_lowercase()) {
                true => spelt += &format!("\"{name}\"{after}"),
                false => spelt += word,
            }
        }
    }
    spelt
}

fn config(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|v| panic!("{v:?}"))
}

fn table_texts(rows: Vec<Vec<Value>>) -> Vec<String> {
    rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

fn a_configuration_is_kept_whole_and_told_apart(place: &Place) {
    let first = config(CONFIG);
    let second = config(
        &CONFIG
            .replace(
                "[\"部门\", \"id\", { from = \"cust\", to = \"customer\" }]",
                "[\"cust\", \"id\", \"部门\"]",
            )
            .replace("old = [{ env = \"OLD_PII\" }, { file = \"/older.key\" }]", "")
            .replace("name = \"log\"", &format!("name = \"{}\"", "长".repeat(64)))
            .replace("lag = \"1m 10s\"", "lag = 9223372036854775807")
            .replace("every = \"90s\"", "every = \"36599d 23h 59m 59s\"")
            .replace("id = 9", "id = 8"),
    );
    let mut store = place.open();
    for config in [&first, &second, &Config::default(), &second, &first] {
        let changes = store.changes_to(config).unwrap();
        assert!(!changes.is_empty());
        assert_eq!(apply(&mut store, config), changes);
        assert_eq!(store.load().unwrap(), *config);
        assert_eq!(place.open().load().unwrap(), *config);
        assert_eq!(apply(&mut store, config), vec![]);
    }
    // Nothing of the others is left behind.
    for (table, rows) in [("T_KEY", 3), ("task_detail", 3), ("T_TASK_COLUMN", 5), ("T_TASK_SQL", 4)]
    {
        let count = place.sql(&format!("SELECT COUNT(*) FROM {table}"));
        assert_eq!(count[0][0].as_i64(), Some(rows), "{table}");
    }
}

fn the_controller_is_told_of_tasks_that_came_changed_or_went(place: &Place) {
    let mut store = place.open();
    apply(&mut store, &config(CONFIG));
    let (came, went) = (TaskChange::Added, TaskChange::Removed);
    assert_eq!(store.task_changes().unwrap(), [(7, came), (9, came)]);
    let note_all = |store: &mut Store| {
        for (task, change) in store.task_changes().unwrap() {
            store.note_task_change(task, change).unwrap();
        }
    };
    note_all(&mut store);
    assert_eq!(store.task_changes().unwrap(), []);
    // By a table, by its schedule, by a key it uses, by its link.
    for (from, to, tasks) in [
        ("dest = \"log\"", "dest = \"log_2\"", &[7][..]),
        ("every = \"90s\"", "every = \"91s\"", &[7]),
        ("/pii.key", "/pii2.key", &[7, 9]),
        ("sqlite:///a.db", "sqlite:///a2.db", &[7, 9]),
    ] {
        apply(&mut store, &config(&CONFIG.replace(from, to)));
        let changed: Vec<_> = tasks.iter().map(|t| (*t, came)).collect();
        assert_eq!(store.task_changes().unwrap(), changed, "{from}");
        apply(&mut store, &config(CONFIG));
        note_all(&mut store);
    }
    // Gone at once for whoever loads, and noted in its own time.
    apply(&mut store, &config(CONFIG.split("[[task]]\nid = 7").next().unwrap()));
    assert_eq!(store.task_changes().unwrap(), [(7, went)]);
    assert_eq!(store.load().unwrap().tasks.len(), 1);
    assert_eq!(
        place.sql("SELECT IS_ADD_DEL FROM T_EXTRACTION_TASK WHERE task_id = 7")[0][0].as_i64(),
        Some(2)
    );
    note_all(&mut store);
    assert_eq!(place.sql("SELECT task_id FROM T_EXTRACTION_TASK WHERE task_id = 7").len(), 0);
    // Back before it was noted.
    apply(&mut store, &Config::default());
    apply(&mut store, &config(CONFIG));
    assert_eq!(store.task_changes().unwrap(), [(7, came), (9, came)]);
}

fn two_who_apply_at_once_leave_one_of_the_two_configurations(place: &Place) {
    let one = config(CONFIG);
    let two = config(
        &CONFIG
            .replace("id = 7", "id = 6")
            .replace("app_resets_status", "allow_triggers = false\n#")
            .replace("allow_triggers = true\n", ""),
    );
    place.open();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for config in [&one, &two, &one, &two] {
                scope.spawn(|| apply(&mut place.open(), config));
            }
        });
        let left = place.open().load().unwrap();
        assert!(left == one || left == two, "{left:?}");
    }
}

fn many_who_open_an_empty_database_at_once_find_the_same_installation(place: &Place) {
    let ids: Vec<String> = std::thread::scope(|scope| {
        let open = |_| scope.spawn(|| place.open().instance_id().to_owned());
        let opening: Vec<_> = (0..6).map(open).collect();
        opening.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(ids[0].len(), 32);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

fn a_schema_of_the_future_is_refused(place: &Place) {
    place.open();
    place.sql("UPDATE T_PARAMETER SET param_value = '99' WHERE param_name = 'schema_version'");
    let error = Store::open(&place.location()).err().unwrap();
    assert_eq!(error.kind, Kind::Config);
    assert!(error.message.contains("schema 99"), "{error}");
}

/// Schema 1 had room for 64 characters of a plan's fingerprint, which has 65.
fn a_schema_of_version_1_is_widened(place: &Place) {
    drop(place.open());
    match place {
        Place::Embedded(_) => {}
        Place::Server(..) => {
            place.sql("ALTER TABLE T_RUN MODIFY COLUMN plan_hash VARCHAR(64) NOT NULL");
        }
        Place::Oracle(..) => {
            place.sql("ALTER TABLE T_RUN MODIFY (plan_hash VARCHAR2(64 CHAR))");
        }
    }
    place.sql("UPDATE T_PARAMETER SET param_value = '1' WHERE param_name = 'schema_version'");
    let mut store = place.open();
    let run = NewRun { plan_hash: "x".repeat(65), ..new_run(1, "orders") };
    write_down(&mut store, [Entry::Begin(run.clone())]);
    assert_eq!(store.run(run.id).unwrap().unwrap().plan_hash, run.plan_hash);
    assert_eq!(
        store.parameter("schema_version").unwrap().as_deref(),
        Some(schema::VERSION.to_string().as_str())
    );
}

fn parameters_are_written_and_read(place: &Place) {
    let mut store = place.open();
    let name = format!("last_settled.4294967295.{}", "客".repeat(64));
    for value in ["one", "two", ""] {
        store.set_parameter(&name, value).unwrap();
        assert_eq!(store.parameter(&name).unwrap().unwrap_or_default(), value);
    }
    assert_eq!(store.parameter("nosuch").unwrap(), None);
}

fn at(secs: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + secs, 123_456_000).unwrap()
}

fn new_run(n: u8, table: &str) -> NewRun {
    NewRun {
        id: RunId([n; 16]),
        task: 7,
        table: table.into(),
        mode: TableMode::Increment,
        plan_hash: "f".repeat(64),
        begin: at(i64::from(n)),
        ended_before: None,
        attempt: None,
        record_use_times: true,
    }
}

fn ends(run: u8, end: RunEnd, use_times: Option<UseTimes>) -> Entry {
    Entry::End { run: RunId([run; 16]), end, use_times, attempt: None, notice: None }
}

fn runs_are_recorded_from_begin_to_end(place: &Place) {
    let mut store = place.open();
    assert_eq!(store.last_run(7, "orders").unwrap(), None);
    for n in 1..=3 {
        let table = if n == 2 { "log" } else { "orders" };
        write_down(&mut store, [Entry::Begin(new_run(n, table))]);
    }
    let counts = RunCounts {
        claimed: 1,
        read: 2,
        landed: 3,
        failed: 4,
        withdrawn: 5,
        settled: 6,
        changed: 7,
        skipped: u64::MAX >> 1,
    };
    let error = Error::new(Kind::Balance, "it does not add up").detail("数").hint("Look.");
    let end = RunEnd {
        state: RunState::Failed,
        counts,
        message: Some("failed 😀".into()),
        error: Some(error.clone()),
        end: at(100),
    };
    write_down(&mut store, [ends(3, end.clone(), None)]);
    let run = store.last_run(7, "orders").unwrap().unwrap();
    let expected = RunRecord {
        id: RunId([3; 16]),
        task: 7,
        table: "orders".into(),
        mode: TableMode::Increment,
        state: RunState::Failed,
        plan_hash: "f".repeat(64),
        begin: at(3),
        end: Some(at(100)),
        // Rows that are bad are counted where they are written down.
        counts: RunCounts { failed: 0, ..counts },
        attempts: 1,
        seconds: 97.0,
        interrupted: false,
        message: end.message.clone(),
        error: Some(error),
    };
    assert_eq!(run, expected);
    // Resumed: open again, from its own beginning.
    let resumed = NewRun { begin: at(50), ..new_run(3, "orders") };
    write_down(&mut store, [Entry::Begin(resumed)]);
    let run = store.run(RunId([3; 16])).unwrap().unwrap();
    assert_eq!((run.state, run.begin, run.end), (RunState::Open, at(3), None));
    // What its second attempt does comes to what the first has done.
    let more = RunCounts { landed: 9, skipped: 0, ..counts };
    write_down(&mut store, [ends(3, RunEnd { counts: more, ..end }, None)]);
    let all = store.run(RunId([3; 16])).unwrap().unwrap().counts;
    assert_eq!((all.landed, all.claimed, all.skipped), (12, 2, counts.skipped));

    let ids = |filter: RunFilter| {
        let runs = place.open().runs(&filter).unwrap();
        runs.iter().map(|r| r.id.0[0]).collect::<Vec<_>>()
    };
    assert_eq!(ids(RunFilter::default()), [3, 2, 1]);
    assert_eq!(ids(RunFilter { limit: Some(2), ..Default::default() }), [3, 2]);
    let tables = vec!["orders".to_owned()];
    assert_eq!(ids(RunFilter { task: Some(7), tables, ..Default::default() }), [3, 1]);
    assert!(ids(RunFilter { task: Some(8), ..Default::default() }).is_empty());
    assert_eq!(ids(RunFilter { since: Some(at(2)), ..Default::default() }), [3, 2]);
    assert!(ids(RunFilter { since: Some(at(4)), ..Default::default() }).is_empty());
}

fn batches_are_recorded_once_each(place: &Place) {
    let mut store = place.open();
    let whole = BatchRecord {
        run: RunId([1; 16]),
        number: 0,
        part: None,
        rows: 10,
        low: vec![Value::Int(1), Value::Text("a".into())],
        high: vec![Value::UInt(u64::MAX), Value::Bytes(vec![0, 255])],
        state: BatchState::Sent,
        sent: Some(at(1)),
        landed: None,
        settled: None,
        writer: Some(2),
        tenure: Some(Tenure { source: "a".repeat(32), record: "b".repeat(32), counter: 7 }),
    };
    let part = BatchRecord {
        part: Some("0.1".into()),
        rows: 5,
        low: vec![],
        high: vec![],
        ..whole.clone()
    };
    let next = BatchRecord { number: 10, ..whole.clone() };
    let record = |batches: &[BatchRecord]| {
        let last = Settled {
            dest_url: String::new(),
            fence: String::new(),
            epoch: 1,
            run: RunId([1; 16]),
            pos: String::new(),
            at: None,
        };
        let (batches, table) = (batches.to_vec(), "orders".to_owned());
        let settled = Entry::Settled { batches, task: 7, table, last, adopt: None };
        write_down(&mut place.open(), [settled]);
    };
    record(&[next.clone(), whole.clone(), part.clone()]);
    assert_eq!(store.batches(RunId([1; 16])).unwrap(), [whole.clone(), part.clone(), next.clone()]);
    let landed = BatchRecord { state: BatchState::Landed, landed: Some(at(2)), ..whole };
    record(std::slice::from_ref(&landed));
    assert_eq!(store.batches(RunId([1; 16])).unwrap(), [landed, part, next]);
    assert_eq!(store.batches(RunId([2; 16])).unwrap(), []);
}

fn use_times_go_to_the_table_of_that_name(place: &Place) {
    let mut store = place.open();
    let times = UseTimes {
        task: 7,
        table: "orders".into(),
        run: RunId([1; 16]),
        begin: at(0),
        end: at(90),
        bytes: 1 << 40,
        result: RunState::Done,
    };
    let end = RunEnd {
        state: RunState::Done,
        counts: RunCounts { landed: 1_000_000, ..RunCounts::default() },
        message: None,
        error: None,
        end: at(90),
    };
    let begins = NewRun { begin: at(0), ..new_run(1, "orders") };
    let entries = [(1, Entry::Begin(begins)), (2, ends(1, end, Some(times)))];
    // Whoever does not know whether they are in writes them again.
    for _ in 0..2 {
        store.write_down(RunId([9; 16]), &entries, false).unwrap();
    }
    let rows = place.sql(
            "SELECT task_id, table_name, begin_at, end_at, use_micros, row_count, byte_count, result FROM proc_use_times",
        );
    assert_eq!(rows.len(), 1);
    let text: Vec<_> = rows[0].iter().map(|v| v.plain().unwrap()).collect();
    assert_eq!(
        text,
        [
            "7",
            "orders",
            "2027-01-15T08:00:00.123456Z",
            "2027-01-15T08:01:30.123456Z",
            "90000000",
            "1000000",
            "1099511627776",
            "done",
        ]
    );
}

fn bad_row(run: u8, id: i64) -> ErrorRow {
    ErrorRow {
        run: RunId([run; 16]),
        number: 0,
        task: 7,
        table: if run == 2 { "log".into() } else { "orders".into() },
        key_columns: vec!["id".into()],
        key: vec![Value::Int(id)],
        column: (id == 1).then(|| "mobile".into()),
        kind: Kind::Data,
        text: "data too long 😀".into(),
        at: at(id),
        state: RowState::Bad,
        verdict: None,
    }
}

fn bad_rows_are_numbered_found_and_marked(place: &Place) {
    let mut store = place.open();
    store.record_errors(&[bad_row(1, 1), bad_row(1, 2)]).unwrap();
    store.record_errors(&[bad_row(1, 3), bad_row(2, 1), bad_row(3, 1)]).unwrap();
    let all = store.errors(&ErrorFilter::default()).unwrap();
    let places: Vec<_> = all.iter().map(|e| (e.table.as_str(), e.run.0[0], e.number)).collect();
    assert_eq!(
        places,
        [("log", 2, 0), ("orders", 1, 0), ("orders", 1, 1), ("orders", 1, 2), ("orders", 3, 0)]
    );
    assert_eq!(all[1], bad_row(1, 1));
    assert_eq!(all[2], ErrorRow { number: 1, ..bad_row(1, 2) });

    let orders = ErrorFilter { task: Some(7), tables: vec!["orders".into()], ..Default::default() };
    let run = ErrorFilter { run: Some(RunId([1; 16])), ..orders.clone() };
    let in_state = |state| ErrorFilter { states: vec![state], ..orders.clone() };
    let judged = |rows: &[ErrorRow], state| {
        let verdict = Verdict { run: Some(RunId([9; 16])), at: at(9), how: "known 😀".into() };
        let judged = |r: &ErrorRow| Judgement {
            run: r.run,
            number: r.number,
            state,
            verdict: verdict.clone(),
        };
        (verdict.clone(), rows.iter().map(judged).collect::<Vec<_>>())
    };
    let ones = store.errors(&run).unwrap();
    let (verdict, retried) = judged(&ones, RowState::Retried);
    store.judge(&retried).unwrap();
    assert_eq!(store.errors(&in_state(RowState::Bad)).unwrap().len(), 1);
    let found = store.errors(&in_state(RowState::Retried)).unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|row| row.verdict.as_ref() == Some(&verdict)));
    for state in RowState::ALL.into_iter().filter(|state| !state.is_open()) {
        store.judge(&judged(&ones[..2], state).1).unwrap();
        assert_eq!(store.errors(&in_state(state)).unwrap().len(), 2, "{state:?}");
        let open = ErrorFilter { states: RowState::open(), ..orders.clone() };
        assert_eq!(store.errors(&open).unwrap().len(), 2);
    }
    // Another table's are not touched.
    let log = ErrorFilter { tables: vec!["log".into()], ..Default::default() };
    assert_eq!(store.errors(&log).unwrap()[0].state, RowState::Bad);
    assert_eq!(
        store.errors(&ErrorFilter { limit: Some(2), ..Default::default() }).unwrap().len(),
        2
    );
}

fn a_task_suspended_for_a_server_may_resume_by_itself_unless_a_person_has_a_say(place: &Place) {
    let mut store = configured(place);
    let origin = RunId::random().unwrap();
    let suspend = |store: &mut Store, n: u64, error: Option<Kind>| {
        let (reason, at) = ("refused".to_owned(), Timestamp::now());
        let entry = Entry::Suspend { task: 7, reason, error, at };
        store.write_down(origin, &[(n, entry)], false).unwrap();
        store.holds(Some(7)).unwrap().remove(0)
    };
    let hold = suspend(&mut store, 1, Some(Kind::Connect));
    assert_eq!((hold.kind, hold.error), (HoldKind::Suspended, Some(Kind::Connect)));
    // Only that very suspension.
    let earlier = hold.since - Duration::from_micros(1);
    assert!(!store.resume_when_back(7, earlier).unwrap());
    assert!(!store.stay_suspended(7, earlier, "no").unwrap());
    assert_eq!(place.open().holds(Some(7)).unwrap(), std::slice::from_ref(&hold));
    assert!(store.resume_when_back(7, hold.since).unwrap());
    assert_eq!(store.holds(Some(7)).unwrap(), []);
    assert!(!store.resume_when_back(7, hold.since).unwrap());
    // A person pauses it: it is suspended still, and stays so.
    let hold = suspend(&mut store, 2, Some(Kind::Lost));
    assert!(store.hold(7, None, HoldKind::Paused, Some("the server moves")).unwrap());
    assert!(!store.hold(7, None, HoldKind::Paused, None).unwrap());
    let held = store.holds(Some(7)).unwrap().remove(0);
    assert_eq!((held.kind, held.error, held.since), (hold.kind, None, hold.since));
    let reason = held.reason.unwrap();
    assert!(reason.starts_with("refused; paused since 2"), "{reason}");
    assert!(reason.ends_with(": the server moves"), "{reason}");
    assert!(!store.resume_when_back(7, hold.since).unwrap());
    assert!(store.resume(7, None).unwrap().is_some());
    // The server is back and refuses the login.
    let hold = suspend(&mut store, 3, Some(Kind::Connect));
    assert!(store.stay_suspended(7, hold.since, "refused the login").unwrap());
    assert!(!store.resume_when_back(7, hold.since).unwrap());
    assert!(store.resume(7, None).unwrap().is_some());
    // Suspended for another reason.
    let hold = suspend(&mut store, 4, None);
    assert!(!store.resume_when_back(7, hold.since).unwrap());
}

fn a_failed_real_time_task_is_held_until_it_is_resumed(place: &Place) {
    let mut store = configured(place);
    assert!(store.hold(7, None, HoldKind::Suspended, Some("run 1 failed")).unwrap());
    // An operator's pause does not hide it, nor the other way round.
    assert!(!store.hold(7, None, HoldKind::Paused, None).unwrap());
    assert!(store.hold(7, Some("log"), HoldKind::Paused, None).unwrap());
    let holds = place.open().holds(Some(7)).unwrap();
    assert_eq!(holds.len(), 2);
    assert_eq!(
        (holds[0].kind, holds[0].reason.as_deref()),
        (HoldKind::Suspended, Some("run 1 failed"))
    );
    assert_eq!(holds[1].table.as_deref(), Some("log"));
    assert_eq!(store.holds(Some(9)).unwrap(), []);
    assert_eq!(store.resume(7, None).unwrap().unwrap().kind, HoldKind::Suspended);
    assert_eq!(store.resume(7, None).unwrap(), None);
    assert_eq!(store.holds(None).unwrap().len(), 1);
}

// --- Reaching the database -----------------------------------------------------------------------

#[test]
fn a_server_that_was_restarted_is_reached_again() {
    let mut server = Server::start(Software::MariaDb, &[]);
    let home = tempfile::tempdir().unwrap();
    let url = {
        // Not dropped with the value: the server is gone with the test anyway.
        let database = std::mem::ManuallyDrop::new(server.database("restarted"));
        database.url()
    };
    let at = Home::locate(Some(&home.path().join("home"))).unwrap();
    let password = Some(Secret::from(PASSWORD.to_owned()));
    let location = StoreLocation::server(at, &url, password).unwrap();
    let mut store = Store::open(&location).unwrap();
    apply(&mut store, &config(CONFIG));
    let lock = store.lock_table(7, "orders", &owner(), 60).unwrap();
    for crash in [false, true] {
        if crash {
            server.kill9()
        } else {
            server.stop()
        }
        server.restart();
        assert_eq!(store.load().unwrap(), config(CONFIG), "crash: {crash}");
        store.renew_lock(&lock, 60).unwrap();
        if crash {
            server.kill9()
        } else {
            server.stop()
        }
        server.restart();
        assert_eq!(
            store.parameter("schema_version").unwrap().as_deref(),
            Some(schema::VERSION.to_string().as_str())
        );
    }
    server.kill9();
    let error = store.load().unwrap_err();
    assert!(matches!(error.kind, Kind::Connect | Kind::Lost), "{error:?}");
}

#[test]
fn the_environment_names_another_database_and_its_password() {
    let database = mariadb().database("named");
    let here = Ssync::new().env("SSYNC_CONFIG_DB", database.url());
    let refused = here.run(&["export"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");

    let by_value = Ssync::new()
        .env("SSYNC_CONFIG_DB", database.url())
        .env("SSYNC_CONFIG_DB_PASSWORD", PASSWORD);
    by_value.apply(CONFIG);
    assert!(!by_value.home().join("ssync.db").exists());

    let file = by_value.scratch().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let by_file = Ssync::new()
        .env("SSYNC_CONFIG_DB", database.url())
        .env("SSYNC_CONFIG_DB_PASSWORD_FILE", &file);
    let exported = by_file.run(&["export"]).expect(0).stdout;
    assert_eq!(Config::from_toml(&exported).unwrap(), config(CONFIG));
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    by_file
        .run(&["export"])
        .expect(2)
        .says(&["SSYNC_CONFIG_DB_PASSWORD_FILE", "is open to others"]);

    // Protection is asked for, and wrong words are refused.
    let server = |name: &str, value: &str| {
        let ssync = Ssync::new().env("SSYNC_CONFIG_DB", database.url());
        ssync.env("SSYNC_CONFIG_DB_PASSWORD", PASSWORD).env(name, value).run(&["export"])
    };
    server("SSYNC_CONFIG_DB_TLS", "off").expect(0);
    // This server has no certificate: what matters is that nothing went there in the clear.
    server("SSYNC_CONFIG_DB_TLS", "required").expect(1);
    server("SSYNC_CONFIG_DB_TLS", "always").expect(2).says(&["off, required or verified"]);
    server("SSYNC_CONFIG_DB_TLS_CA_FILE", "/ca.pem").expect(2).says(&["only used with"]);
    let file = Ssync::new().env("SSYNC_CONFIG_DB", "sqlite:///tmp/x.db").run(&["export"]);
    file.expect(2).says(&["names a SQLite file", "SSYNC_HOME"]);

    // The eight tables and those of the runs, by their very names.
    let mut conn = database.server().connect();
    let query = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}' ORDER BY BINARY table_name",
        database.name()
    );
    let tables: Vec<String> = conn.query(query).unwrap();
    let wanted = [
        "T_ATTEMPT",
        "T_BATCH",
        "T_CONFIG_VERSION",
        "T_EMPTY_RUN",
        "T_ERROR_ROW",
        "T_EXTRACTION_TASK",
        "T_KEY",
        "T_LINK",
        "T_NOTICE",
        "T_ORIGIN",
        "T_PARAMETER",
        "T_RUN",
        "T_RUN_COUNTER",
        "T_SCHEDULE",
        "T_TASK_COLUMN",
        "T_TASK_SQL",
        "proc_use_times",
        "task_detail",
    ];
    assert_eq!(tables, wanted);
}

fn what_was_written_beside_the_store_is_named_when_it_is_wrong(place: &Place) {
    let mut store = configured(place);
    assert_eq!(
        table_texts(place.sql("SELECT link_name FROM T_LINK ORDER BY position")),
        ["a", "b"]
    );
    for (damage, named) in [
        ("UPDATE T_SCHEDULE SET every_secs = 0", "T_SCHEDULE.every_secs"),
        ("UPDATE T_LINK SET secret_kind = 'guess' WHERE link_name = 'b'", "T_LINK.secret_kind"),
        (
            "UPDATE task_detail SET key_columns = 'id' WHERE table_name = 'orders'",
            "task_detail.key_columns",
        ),
        (
            "UPDATE T_EXTRACTION_TASK SET writers = 4000 WHERE task_id = 7",
            "T_EXTRACTION_TASK.writers",
        ),
    ] {
        place.sql(damage);
        let error = store.load().unwrap_err();
        assert_eq!(error.kind, Kind::Config);
        assert!(error.message.contains(named), "{error}");
        // Configured afresh, everything is well again.
        for table in [
            "T_LINK",
            "T_SCHEDULE",
            "T_KEY",
            "T_EXTRACTION_TASK",
            "task_detail",
            "T_TASK_COLUMN",
            "T_TASK_SQL",
        ] {
            place.sql(&format!("DELETE FROM {table}"));
        }
        apply(&mut store, &config(CONFIG));
    }
}
