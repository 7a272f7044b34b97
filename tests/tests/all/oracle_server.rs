//! What is peculiar to Oracle, on the stand-in or on a server of the user's: fences by seats, time
//! limits instead of lock waits, names, sessions, LOBs.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ssync_common::connector::{Connection, LinkParams, LockWait, WriteMode, open};
use ssync_common::error::Kind as ErrorKind;
use ssync_common::ledger::{self, Pair, Place, Raise, Seat, id_of};
use ssync_common::schema::Kind;
use ssync_common::secret::Secret;
use ssync_common::value::Value;
use ssync_tests::PATIENCE;
use ssync_tests::servers::oracle::{Generation, OracleAccount, oracle};

use super::conformance::place::{batch, load, plan, rows, text};

fn account(name: &str) -> OracleAccount<'static> {
    oracle(Generation::Oracle19c).account(name)
}

fn number(c: &mut dyn Connection, sql: &str) -> i64 {
    c.query(sql, &[]).unwrap()[0][0].as_i64().unwrap()
}

fn raise_first(dest: &mut dyn Connection, pair: &Pair) -> ledger::Fence {
    let mut begin = Raise::Begin {
        server: "s",
        stamp: None,
        filled: None,
        filler: None,
        judge: &mut |_| Ok(()),
    };
    ledger::raise(dest, pair, "a -> b", &mut begin).unwrap()
}

#[test]
fn raising_the_fence_waits_for_every_seat() {
    let account = account("fence");
    let pair = Pair { place: Place::beside("t"), id: id_of("fence"), dest: id_of("t") };
    let mut dest = account.open();
    ledger::ensure_tables(&mut *dest, &pair.place).unwrap();
    let fence = raise_first(&mut *dest, &pair);
    assert_eq!(fence.epoch, 1);
    for seat in [Seat::Writer(0), Seat::Writer(9), Seat::Step, Seat::Guard] {
        let epoch = ledger::epoch(&mut *dest, &pair).unwrap();
        let mut writer = account.open();
        writer.begin().unwrap();
        ledger::check_epoch(&mut *writer, &pair, epoch, seat).unwrap();
        let (send, raised) = mpsc::channel();
        let (link, theirs) = (account.link(), pair.clone());
        let raiser = thread::spawn(move || {
            let mut conn = open(&link).unwrap();
            let mut again = Raise::Again(epoch);
            let fence = ledger::raise(&mut *conn, &theirs, "a -> b", &mut again).unwrap();
            send.send(fence.epoch).unwrap();
        });
        // As long as the transaction is open the fence does not rise.
        assert!(raised.recv_timeout(Duration::from_millis(500)).is_err(), "{seat:?}");
        assert_eq!(ledger::epoch(&mut *dest, &pair).unwrap(), epoch);
        writer.commit().unwrap();
        assert_eq!(raised.recv_timeout(PATIENCE).unwrap(), epoch + 1);
        raiser.join().unwrap();
        // Whoever comes later with the old epoch is told, whatever seat it takes.
        for late in [Seat::Writer(0), Seat::Writer(3), seat] {
            writer.begin().unwrap();
            let e = ledger::check_epoch(&mut *writer, &pair, epoch, late).unwrap_err();
            assert_eq!(e.kind, ErrorKind::Fenced);
            writer.rollback().unwrap();
        }
    }
}

#[test]
fn batches_of_several_writers_do_not_wait_for_each_other() {
    let account = account("seats");
    let pair = Pair { place: Place::beside("t"), id: id_of("seats"), dest: id_of("t") };
    let mut dest = account.open();
    ledger::ensure_tables(&mut *dest, &pair.place).unwrap();
    raise_first(&mut *dest, &pair);
    // One that waited would never get there: those before it go on only at the end.
    let mut writers: Vec<_> = (0..10).map(|_| account.open()).collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.begin().unwrap();
        ledger::check_epoch(&mut **writer, &pair, 1, Seat::Writer(n)).unwrap();
    }
    // A step that commits by itself: its guard holds the fence, and it checks it, too.
    for seat in [Seat::Guard, Seat::Step] {
        let mut other = account.open();
        other.begin().unwrap();
        ledger::check_epoch(&mut *other, &pair, 1, seat).unwrap();
        other.rollback().unwrap();
    }
    for mut writer in writers {
        writer.commit().unwrap();
    }
}

#[test]
fn a_statement_that_waits_for_a_lock_is_cancelled_and_its_transaction_goes_on() {
    let account = account("wait");
    account.run(&["CREATE TABLE t (id NUMBER(9) PRIMARY KEY, v NUMBER(9))"]);
    account.run(&["INSERT INTO t VALUES (1, 1)", "INSERT INTO t VALUES (2, 2)"]);
    let (mut holder, mut other) = (account.open(), account.open());
    other.set_lock_wait(LockWait::Short).unwrap();
    holder.begin().unwrap();
    holder.execute("UPDATE t SET v = 10 WHERE id = 1", &[]).unwrap();
    other.begin().unwrap();
    other.execute("UPDATE t SET v = 20 WHERE id = 2", &[]).unwrap();
    let e = other.execute("UPDATE t SET v = 11 WHERE id = 1", &[]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Contention, "{e:?}");
    // What it had done before is still there, and can be committed.
    assert_eq!(number(&mut *other, "SELECT v FROM t WHERE id = 2"), 20);
    other.commit().unwrap();
    holder.rollback().unwrap();
    assert_eq!(number(&mut *holder, "SELECT SUM(v) FROM t"), 21);
}

/// Not for as long as the link lets a call take, which is ten minutes.
#[test]
fn a_wait_for_a_lock_is_shorter_than_the_links_own_limit() {
    let account = account("bounded");
    account.run(&["CREATE TABLE t (id NUMBER(9) PRIMARY KEY, v NUMBER(9))"]);
    account.run(&["INSERT INTO t VALUES (1, 1)"]);
    let mut holder = account.open();
    let link = LinkParams { io_timeout: Duration::from_secs(600), ..account.link() };
    let mut other = open(&link).unwrap();
    holder.begin().unwrap();
    holder.execute("UPDATE t SET v = 10 WHERE id = 1", &[]).unwrap();
    other.set_lock_wait(LockWait::Brief).unwrap();
    let began = Instant::now();
    let lock = other.dialect().lock("SELECT v FROM t", true);
    for sql in ["UPDATE t SET v = 11", &lock] {
        let done = match sql.starts_with("UPDATE") {
            true => other.execute(sql, &[]).map(drop),
            false => other.query(sql, &[]).map(drop),
        };
        assert_eq!(done.unwrap_err().kind, ErrorKind::Contention, "{sql}");
    }
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

/// An administrator finds the sessions of a run by what they call themselves.
#[test]
fn a_session_is_named_and_the_way_to_find_it_is_told() {
    let account = account("named");
    let mut c = account.open();
    c.name_session("ssync:00ff:7:2").unwrap();
    let sql = "SELECT SYS_CONTEXT('USERENV', 'CLIENT_IDENTIFIER'), SYS_CONTEXT('USERENV', \
               'MODULE') FROM DUAL";
    let row = c.query(sql, &[]).unwrap().remove(0);
    assert_eq!(
        row.iter().map(Value::as_str).collect::<Vec<_>>(),
        [Some("ssync:00ff:7:2"), Some("ssync")]
    );
    let how = c.how_to_find_sessions("ssync:00ff:").unwrap();
    assert!(how.contains("v$session") && how.contains("'ssync:00ff:%'"), "{how}");
}

#[test]
fn names_fold_to_capitals_unless_they_are_quoted() {
    let account = account("names");
    account.run(&[
        "CREATE TABLE orders (id NUMBER(9) PRIMARY KEY)",
        "CREATE TABLE \"Orders\" (\"Id\" NUMBER(9) PRIMARY KEY)",
    ]);
    let mut c = account.open();
    for (configured, full, column) in [
        ("orders", "ORDERS", "ID"),
        ("ORDERS", "ORDERS", "ID"),
        ("\"Orders\"", "Orders", "Id"),
        (&format!("{}.orders", account.name().to_lowercase()), "ORDERS", "ID"),
    ] {
        let table = c.describe(configured).unwrap().unwrap_or_else(|| panic!("{configured}"));
        assert_eq!(table.full_name, format!("{}.{full}", account.name()));
        assert_eq!(table.columns[0].name, column);
    }
    assert_eq!(c.describe("\"orders\"").unwrap(), None);
}

#[test]
fn the_session_is_pinned() {
    let account = account("session");
    let mut c = account.open();
    let said =
        |c: &mut dyn Connection, sql: &str| c.query(sql, &[]).unwrap()[0][0].plain().unwrap();
    assert_eq!(said(&mut *c, "SELECT SESSIONTIMEZONE FROM DUAL"), "+00:00");
    let value = "SELECT VALUE FROM NLS_SESSION_PARAMETERS WHERE PARAMETER = 'NLS_COMP'";
    assert_eq!(said(&mut *c, value), "BINARY");
    assert!(c.server().starts_with("Oracle "), "{}", c.server());
    assert_eq!(c.durability_gap().unwrap(), None);
    assert_eq!(c.atomicity_gap().unwrap(), None);
}

#[test]
fn a_wrong_password_and_a_wrong_service_are_told_apart_and_not_told() {
    let account = account("login");
    let wrong =
        LinkParams { password: Some(Secret::from("S3CRET-wrong".to_owned())), ..account.link() };
    let e = open(&wrong).err().unwrap();
    assert_eq!(e.kind, ErrorKind::Login);
    assert!(e.message.contains("user name and password"), "{e:?}");
    assert!(!format!("{e:?}").contains("S3CRET"), "{e:?}");
    let elsewhere = LinkParams { url: format!("{}_NONE", account.url()), ..account.link() };
    let e = open(&elsewhere).err().unwrap();
    assert_eq!(e.kind, ErrorKind::Connect, "{e:?}");
}

#[test]
fn lobs_of_every_size_land_in_every_mode() {
    let account = account("lobs");
    let mut c = account.open();
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Replace, WriteMode::Ignore] {
        c.execute("DROP TABLE IF EXISTS l", &[]).unwrap();
        c.execute("CREATE TABLE l (id NUMBER(9) PRIMARY KEY, c CLOB, b BLOB)", &[]).unwrap();
        let plan = plan(&mut *c, "l", mode, &["ID"]);
        let sizes = [0, 1, 1999, 2001, 3999, 4001, 32_767, 32_769, 300_000];
        let mut data: Vec<Vec<Value>> = sizes
            .iter()
            .enumerate()
            .map(|(i, n)| {
                vec![
                    Value::Int(i as i64),
                    text(&"é".repeat(n / 2)),
                    Value::Bytes((0..*n).map(|b| (b % 251) as u8).collect()),
                ]
            })
            .collect();
        data.push(vec![Value::Int(100), Value::Null, Value::Null]);
        let done = load(&mut *c, &plan, &data).unwrap_or_else(|e| panic!("{mode:?}: {e:?}"));
        assert_eq!(done.rows as usize, data.len(), "{mode:?}");
        assert_eq!(rows(&mut *c, "l"), data, "{mode:?}");
        if mode == WriteMode::Insert {
            continue;
        }
        // Over what is there: each gets another's value.
        let n = data.len();
        let moved: Vec<Vec<Value>> = (0..n)
            .map(|i| {
                let other = &data[(i + 1) % n];
                vec![data[i][0].clone(), other[1].clone(), other[2].clone()]
            })
            .collect();
        let done = load(&mut *c, &plan, &moved).unwrap_or_else(|e| panic!("{mode:?}: {e:?}"));
        if mode == WriteMode::Ignore {
            assert_eq!(done.skipped as usize, n);
            assert_eq!(rows(&mut *c, "l"), data);
        } else {
            assert_eq!(done.rows as usize, n);
            assert_eq!(rows(&mut *c, "l"), moved, "{mode:?}");
        }
    }
}

#[test]
fn numbers_come_and_go_to_the_last_digit() {
    let account = account("digits");
    account.run(&[
        "CREATE TABLE n (id NUMBER(9) PRIMARY KEY, a NUMBER, b NUMBER(38,10), f BINARY_DOUBLE)",
    ]);
    let mut c = account.open();
    let plan = plan(&mut *c, "n", WriteMode::Insert, &[]);
    assert_eq!(plan.columns[1].kind, Kind::Decimal);
    let data: Vec<Vec<Value>> = [
        ("0", "0", 0.0),
        (
            "123456789012345678901234567890.12345678",
            "-1234567890123456789012345678.0123456789",
            0.1,
        ),
        ("0.0000000000000000000000000000000000001", "0.0000000001", f64::MAX),
        (
            "-99999999999999999999999999999999999999",
            "9999999999999999999999999999.9999999999",
            5e-324,
        ),
        ("1000000000000000000000000000000000000", "10", -1.5),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (a, b, f))| {
        vec![
            Value::Int(i as i64),
            Value::Decimal(a.into()),
            Value::Decimal(b.into()),
            Value::Float(f),
        ]
    })
    .collect();
    load(&mut *c, &plan, &data).unwrap();
    assert_eq!(rows(&mut *c, "n"), data);
}

#[test]
fn rows_are_loaded_in_a_transaction_only() {
    let account = account("misuse");
    account.run(&["CREATE TABLE m (id NUMBER(9) PRIMARY KEY)"]);
    let mut c = account.open();
    let plan = plan(&mut *c, "m", WriteMode::Insert, &[]);
    let rows = batch(&plan.columns, &[vec![Value::Int(1)]]);
    assert_eq!(c.load(&plan, &rows, 0..1).unwrap_err().kind, ErrorKind::Internal);
}

#[test]
fn a_zone_with_a_name_becomes_its_offset_at_that_time() {
    let account = account("zones");
    account.run(&["CREATE TABLE z (id NUMBER(9) PRIMARY KEY, t TIMESTAMP(9) WITH TIME ZONE)"]);
    let times = [
        ("2024-07-01 12:00:00 Europe/Berlin", "2024-07-01 12:00:00 +02:00"),
        ("2024-01-01 12:00:00 Europe/Berlin", "2024-01-01 12:00:00 +01:00"),
        ("2024-07-01 00:30:00.123456789 America/New_York", "2024-07-01 00:30:00.123456789 -04:00"),
        ("2024-07-01 00:30:00 Asia/Kolkata", "2024-07-01 00:30:00 +05:30"),
        ("2024-07-01 00:30:00.5 UTC", "2024-07-01 00:30:00.500000 +00:00"),
    ];
    let mut c = account.open();
    for (i, (literal, _)) in times.iter().enumerate() {
        c.execute(&format!("INSERT INTO z VALUES ({i}, TIMESTAMP '{literal}')"), &[]).unwrap();
    }
    let read: Vec<Value> = rows(&mut *c, "z").into_iter().map(|mut row| row.remove(1)).collect();
    assert_eq!(read, times.map(|(_, arrives)| text(arrives)));
}

/// What only a stand-in can be told to do.
mod standin {
    use ssync_common::batch::{BatchBuilder, BatchLimits, value_at};
    use ssync_common::error::Kind as ErrorKind;
    use ssync_common::value::Value;
    use ssync_tests::servers::oracle::faults::Fault;
    use ssync_tests::servers::oracle::{Generation, OracleServer, oracle};

    use super::super::conformance::place::{LIMITS, read, select};

    #[test]
    fn a_snapshot_that_is_too_old_may_be_read_again() {
        let server = oracle(Generation::Oracle23ai);
        let account = server.account("snapshot");
        account.run(&["CREATE TABLE s (id NUMBER(9) PRIMARY KEY)", "INSERT INTO s VALUES (1)"]);
        let mut c = account.open();
        let columns = c.describe("s").unwrap().unwrap().columns;
        let fault = Fault::parse("execute error=1555 sql=SNAPSHOT_TEST");
        server.standin().faults().add(fault.unwrap());
        let mut read = || {
            let limits = BatchLimits { rows: 10, slot_bytes: 1 << 20 };
            let mut builder = BatchBuilder::new(&columns, limits);
            let mut ids = Vec::new();
            let sql = "SELECT id FROM s /* SNAPSHOT_TEST */";
            c.read(sql, &[], &columns, &mut builder, &mut |b| {
                ids.push(value_at(&b.rows, 0, columns[0].kind, 0));
                Ok(())
            })
            .map(|_| ids)
        };
        let e = read().unwrap_err();
        assert!(e.kind.is_retried() && e.kind != ErrorKind::Lost, "{e:?}");
        assert_eq!(read().unwrap(), [Value::Int(1)]);
    }

    #[test]
    fn a_session_that_no_longer_waits_for_its_commits_is_told() {
        let server = OracleServer::start(Generation::Oracle19c);
        let account = server.account("durable");
        let mut c = account.open();
        assert_eq!(c.durability_gap().unwrap(), None);
        c.execute("ALTER SESSION SET COMMIT_WAIT = 'NOWAIT'", &[]).unwrap();
        let gap = c.durability_gap().unwrap().unwrap();
        assert!(gap.contains("COMMIT_WAIT is NOWAIT"), "{gap}");
        // Most accounts may not look, and then the server's word is all there is.
        let unseen = Fault::parse("execute error=942 sql=V$PARAMETER").unwrap();
        server.standin().faults().add(unseen);
        assert_eq!(c.durability_gap().unwrap(), None);
        assert!(c.durability_gap().unwrap().is_some());
    }

    /// Bytes that are no character of the database's set come as U+FFFD: silently another value.
    #[test]
    fn a_replaced_character_is_a_bad_value_unless_the_database_is_in_unicode() {
        let server = OracleServer::start(Generation::Oracle19c);
        let account = server.account("replaced");
        account.run(&[
            "CREATE TABLE r (id NUMBER(9) PRIMARY KEY, v VARCHAR2(20), h CHAR(9), n NVARCHAR2(20), c CLOB)",
            "INSERT INTO r VALUES (0, 'a', 'b', '中', '\u{fffc}')",
            "INSERT INTO r VALUES (1, 'a\u{fffd}', 'b', 'c', 'd')",
            "INSERT INTO r VALUES (2, 'a', '\u{fffd}', 'c', 'd')",
            "INSERT INTO r VALUES (3, 'a', 'b', 'c\u{fffd}', 'd')",
            "INSERT INTO r VALUES (4, 'a', 'b', 'c', '\u{fffd}\u{fffd}')",
        ]);
        let bad = || {
            let mut c = account.open();
            let columns = c.describe("r").unwrap().unwrap().columns;
            let sql = format!("{} ORDER BY id", select(&*c, "r", &columns));
            let batches = read(&mut *c, &sql, &[], &columns, LIMITS);
            let [batch] = batches.as_slice() else { panic!("one batch") };
            batch.bad.iter().map(|b| (b.row, b.column.clone())).collect::<Vec<_>>()
        };
        // A character as any other.
        assert_eq!(bad(), []);
        server.standin().pretend_charset("ZHS16GBK");
        assert_eq!(bad(), [(1, "V".to_owned()), (2, "H".to_owned()), (4, "C".to_owned())]);
    }
}
