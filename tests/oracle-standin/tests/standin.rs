//! The stand-in as Oracle's own clients see it.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use oracledb::{Config, Connection, ErrorKind};
use ssync_oracle_standin::faults::{Effect, Fault, Moment};
use ssync_oracle_standin::{Generation, PASSWORD, Standin, USER};

/// When a wait for a state counts as a hang.
const PATIENCE: Duration = Duration::from_secs(300);

fn config(standin: &Standin) -> Config {
    Config::default()
        .set_credentials(USER, PASSWORD)
        .set_connect_string(&standin.connect_string())
        .unwrap()
}

fn connect(standin: &Standin) -> Connection {
    oracledb::connect(config(standin)).unwrap()
}

fn run(connection: &Connection, sql: &str) {
    if let Err(error) = connection.execute(sql, &[]) {
        panic!("{sql}: {error}");
    }
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, &[]).unwrap().get::<i64>(0).unwrap()
}

/// The number behind `ORA-`, zero for an error that is none of the server's.
fn code<T>(result: Result<T, oracledb::Error>) -> usize {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => match error.kind() {
            ErrorKind::DbError(error) => error.code(),
            _ => 0,
        },
    }
}

fn is_timeout<T>(result: Result<T, oracledb::Error>) -> bool {
    result.is_err_and(|error| matches!(error.kind(), ErrorKind::CallTimeoutExceeded))
}

#[test]
fn every_generation_is_what_it_says_and_serves_rows() {
    for generation in Generation::ALL {
        let standin = Standin::start(generation);
        let connection = connect(&standin);
        let major = match generation {
            Generation::Oracle12c => 12,
            Generation::Oracle19c => 19,
            Generation::Oracle23ai => 23,
        };
        assert_eq!(connection.version().unwrap().0, major);
        run(&connection, "create table t (id number(9) primary key, v varchar2(4000), c clob)");
        for id in 0..300 {
            // Some answers of more than one packet, some rows that repeat values of the last one.
            let text = "x".repeat(if id % 3 == 0 { 0 } else { 3999 });
            connection
                .execute("insert into t values (:1, :2, :3)", &[&id, &text, &format!("lob {id}")])
                .unwrap();
        }
        connection.commit().unwrap();
        let mut seen = 0;
        let sql = "select id, v, c from t order by id";
        for row in connection.query(sql, &[]).unwrap() {
            let row = row.unwrap();
            assert_eq!(row.get::<i64>(0).unwrap(), seen);
            let text: Option<String> = row.get(1).unwrap();
            assert_eq!(text.map_or(0, |t| t.len()), if seen % 3 == 0 { 0 } else { 3999 });
            assert_eq!(row.get::<String>(2).unwrap(), format!("lob {seen}"));
            seen += 1;
        }
        assert_eq!(seen, 300);
    }
}

#[test]
fn a_connection_that_ends_undoes_what_was_not_committed() {
    let standin = Standin::start(Generation::Oracle19c);
    let first = connect(&standin);
    run(&first, "create table t (id number primary key)");
    run(&first, "insert into t values (1)");
    first.commit().unwrap();
    run(&first, "insert into t values (2)");
    assert_eq!(standin.open_connections(), 1);
    standin.drop_connections();
    assert_eq!(code(first.execute("insert into t values (3)", &[])), 0);
    let second = connect(&standin);
    // Waits for the first one's row to be undone.
    run(&second, "insert into t values (2)");
    assert_eq!(number(&second, "select count(*) from t"), 2);
    assert_eq!(standin.connections(), 2);
}

#[test]
fn what_was_committed_survives_a_killed_server_and_nothing_else_does() {
    let standin = Standin::start_apart(Generation::Oracle23ai);
    let connection = connect(&standin);
    run(&connection, "create table t (id number primary key)");
    for id in 0..100 {
        connection.execute("insert into t values (:1)", &[&id]).unwrap();
        if id % 10 == 0 {
            connection.commit().unwrap();
        }
    }
    standin.crash();
    assert_eq!(code(connection.commit()), 0);
    assert_eq!(number(&connect(&standin), "select count(*) from t"), 91);
}

#[test]
fn a_commit_may_be_lost_before_it_happens_or_after() {
    let standin = Standin::start(Generation::Oracle23ai);
    run(&connect(&standin), "create table t (id number primary key)");
    for (effect, rows) in
        [(Effect::DropBefore, 0), (Effect::DropAfter, 1), (Effect::DropAnswered, 2)]
    {
        let answered = effect == Effect::DropAnswered;
        standin.faults().add(Fault::new(Moment::Commit, effect).nth(2));
        let connection = connect(&standin);
        connection.commit().unwrap();
        connection.execute("insert into t values (:1)", &[&rows]).unwrap();
        assert_eq!(connection.commit().is_ok(), answered);
        assert_eq!(code(connection.ping()), 0);
        assert_eq!(number(&connect(&standin), "select count(*) from t"), rows);
        assert_eq!(standin.faults().waiting(), 0);
    }
}

#[test]
fn statements_that_match_get_the_error_that_was_ordered() {
    let standin = Standin::start(Generation::Oracle12c);
    let connection = connect(&standin);
    run(&connection, "create table t (id number)");
    let busy = Effect::Error { code: 54, message: "resource busy".to_owned() };
    standin.faults().add(Fault::new(Moment::Execute, busy).nth(2).times(2).matching("into t"));
    let insert = || connection.execute("insert into T values (1)", &[]);
    insert().unwrap();
    assert_eq!(number(&connection, "select count(*) from t"), 1);
    assert_eq!(code(insert()), 54);
    assert_eq!(code(insert()), 54);
    insert().unwrap();
    assert_eq!(number(&connection, "select count(*) from t"), 2);
}

#[test]
fn a_snapshot_can_be_too_old_in_the_middle_of_a_fetch() {
    let standin = Standin::start(Generation::Oracle19c);
    let connection = connect(&standin);
    let old = Effect::Error { code: 1555, message: "snapshot too old".to_owned() };
    standin.faults().add(Fault::new(Moment::Fetch, old).nth(3));
    let sql = "select level from dual connect by level <= 1000";
    let cursor = connection
        .statement(sql)
        .unwrap()
        .fetch_array_size(100)
        .build()
        .unwrap()
        .query(&[])
        .unwrap();
    let mut rows = 0;
    let mut failure = None;
    for row in cursor {
        match row {
            Ok(_) => rows += 1,
            Err(error) => {
                failure = Some(code::<()>(Err(error)));
                break;
            }
        }
    }
    assert!(rows > 100 && rows < 1000, "{rows} rows");
    assert_eq!(failure, Some(1555));
    assert_eq!(number(&connection, "select 7 from dual"), 7);
}

#[test]
fn logins_and_connections_are_refused_as_ordered() {
    let standin = Standin::start(Generation::Oracle23ai);
    let locked = Effect::Error { code: 28000, message: "the account is locked".to_owned() };
    standin.faults().add(Fault::new(Moment::Login, locked));
    assert_eq!(code(oracledb::connect(config(&standin))), 28000);
    let full = Effect::Error { code: 12516, message: String::new() };
    standin.faults().add(Fault::new(Moment::Connect, full));
    match oracledb::connect(config(&standin)) {
        Err(error) => match error.kind() {
            ErrorKind::ListenerRefusedConnection(_, _, _, number) => assert_eq!(*number, 12516),
            _ => panic!("{error}"),
        },
        Ok(_) => panic!("the connection was not refused"),
    }
    standin.faults().add(Fault::new(Moment::Connect, Effect::DropBefore));
    assert_eq!(code(oracledb::connect(config(&standin))), 0);
    let wrong = config(&standin).set_password("wrong");
    assert_eq!(code(oracledb::connect(wrong)), 1017);
    connect(&standin).ping().unwrap();
}

#[test]
fn a_call_that_takes_too_long_is_given_up_and_the_session_goes_on() {
    for generation in Generation::ALL {
        let standin = Standin::start(generation);
        let connection = connect(&standin);
        run(&connection, "create table t (id number)");
        run(&connection, "insert into t values (1)");
        connection.set_call_timeout(Some(Duration::from_millis(300))).unwrap();
        // Given up is what the client says; nobody looks at the clock.
        let slow = connection.execute("begin dbms_session.sleep(60); end;", &[]);
        assert!(is_timeout(slow));
        let late = Effect::Delay(Duration::from_secs(60));
        standin.faults().add(Fault::new(Moment::Execute, late).matching("insert"));
        let late = connection.execute("insert into t values (2)", &[]);
        assert!(is_timeout(late));
        connection.set_call_timeout(None).unwrap();
        // What was done before is still there, and still not committed.
        assert_eq!(number(&connection, "select count(*) from t"), 1);
        connection.rollback().unwrap();
        assert_eq!(number(&connection, "select count(*) from t"), 0);
    }
}

#[test]
fn a_client_that_dies_while_it_waits_for_a_lock_lets_go() {
    let standin = Standin::start(Generation::Oracle19c);
    let holder = connect(&standin);
    run(&holder, "create table t (id number primary key, v number)");
    run(&holder, "insert into t values (1, 0)");
    holder.commit().unwrap();
    run(&holder, "update t set v = 1");
    let waiting = connect(&standin);
    waiting.set_call_timeout(Some(2 * PATIENCE)).unwrap();
    let thread = std::thread::spawn(move || code(waiting.execute("update t set v = 2", &[])));
    let began = Instant::now();
    let watcher = connect(&standin);
    let active = "select count(*) from v$session where status = 'ACTIVE'";
    while number(&watcher, active) < 2 {
        assert!(began.elapsed() < PATIENCE, "nobody waits");
        std::thread::sleep(Duration::from_millis(10));
    }
    standin.drop_connections();
    assert_eq!(thread.join().unwrap(), 0);
    let last = connect(&standin);
    run(&last, "update t set v = 3");
    assert_eq!(number(&last, "select v from t"), 3);
}

/// Oracle's Python client, pinned.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        ssync_oracle_standin::python::python(Path::new(env!("CARGO_TARGET_TMPDIR")))
    })
}

fn python_agrees(generation: Generation, major: &str) {
    let standin = Standin::start(generation);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/conformance.py");
    let output = Command::new(python())
        .arg("-Wignore")
        .arg(script)
        .args([&standin.connect_string(), USER, PASSWORD, major])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    // A script that runs nothing proves nothing.
    assert!(said.matches(": ok").count() >= 14, "{said}");
}

#[test]
fn the_python_client_finds_12c() {
    python_agrees(Generation::Oracle12c, "12");
}

#[test]
fn the_python_client_finds_19c() {
    python_agrees(Generation::Oracle19c, "19");
}

#[test]
fn the_python_client_finds_23ai() {
    python_agrees(Generation::Oracle23ai, "23");
}
