//! Opening, losing and sharing connections.

use std::time::{Duration, Instant};

use ssync_common::connector::{LinkParams, LockWait, TlsMode, WriteMode, open};
use ssync_common::error::Kind;
use ssync_common::secret::Secret;
use ssync_common::value::Value;
use ssync_tests::PATIENCE;
use ssync_tests::listeners::certificates;
use ssync_tests::servers::{Server, Software, USER, free_port, mariadb};

use crate::mysql_support::*;

#[test]
fn the_session_is_pinned_whatever_the_servers_defaults() {
    let odd = [
        "--sql-mode=ANSI,PAD_CHAR_TO_FULL_LENGTH,NO_ZERO_DATE,NO_BACKSLASH_ESCAPES",
        "--default-time-zone=+08:00",
        "--character-set-server=latin1",
        "--transaction-isolation=SERIALIZABLE",
        "--autocommit=0",
        "--init-connect=SET foreign_key_checks=0",
    ];
    for software in [Software::MariaDb, Software::MySql56] {
        let server = Server::start(software, &odd);
        let db = server.database("pinned");
        let mut conn = open(&db.link()).unwrap();
        let mut value = |sql: &str| {
            conn.query(&format!("SELECT {sql}"), &[]).unwrap()[0][0].plain().unwrap_or_default()
        };
        assert_eq!(
            value("@@sql_mode"),
            "NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ALLOW_INVALID_DATES"
        );
        assert_eq!(value("@@time_zone"), "+00:00");
        assert_eq!(value("@@character_set_client"), "utf8mb4");
        assert_eq!(value("IFNULL(@@character_set_results, 'null')"), "null");
        assert_eq!(value("@@tx_isolation"), "READ-COMMITTED");
        assert_eq!(value("@@autocommit"), "1");
        assert_eq!(value("@@foreign_key_checks"), "1");
        assert_eq!(value("@@sql_notes"), "1");
        assert_eq!(value("@@innodb_lock_wait_timeout"), "60");
        assert!(conn.server().contains(if software == Software::MariaDb {
            "MariaDB 1"
        } else {
            "MySQL 5.6.24"
        }));
    }
}

#[test]
fn a_refused_login_says_so_without_the_password() {
    on_every_server("login", |db| {
        let wrong = "Wr0ng-sentinel";
        let link = LinkParams { password: Some(Secret::from(wrong.to_owned())), ..db.link() };
        let e = open(&link).err().unwrap();
        assert_eq!(e.kind, Kind::Login, "{e:?}");
        assert!(!format!("{e:?} {e} {link:?}").contains(wrong), "{e:?}");
        assert!(e.message.contains(&link.name));

        let link = LinkParams { password: None, ..db.link() };
        assert_eq!(open(&link).err().unwrap().kind, Kind::Login);
        let link = LinkParams { url: format!("{}_none", db.url()), ..db.link() };
        assert_eq!(open(&link).err().unwrap().kind, Kind::Config);
    });
}

#[test]
fn nobody_there_is_a_connection_error_in_time() {
    let db = mariadb().database("nobody");
    let link =
        LinkParams { url: format!("mysql://{USER}@127.0.0.1:{}/x", free_port()), ..db.link() };
    assert_eq!(open(&link).err().unwrap().kind, Kind::Connect);

    // Somebody who takes the call and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let link = LinkParams {
        url: format!("mysql://{USER}@127.0.0.1:{}/x", silent.local_addr().unwrap().port()),
        connect_timeout: Duration::from_millis(300),
        io_timeout: Duration::from_secs(600),
        ..db.link()
    };
    let start = Instant::now();
    assert_eq!(open(&link).err().unwrap().kind, Kind::Connect);
    // By the limit on opening, not that on answers.
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn the_unix_socket_works_too() {
    on_every_server("socket", |db| {
        let socket = db.server().socket();
        let url = format!("mysql://{USER}@localhost/{}?socket={}", db.name(), socket.display());
        let mut conn = open(&LinkParams { url, ..db.link() }).unwrap();
        assert_eq!(conn.query("SELECT 1", &[]).unwrap(), [[Value::Int(1)]]);
    });
}

#[test]
fn a_killed_connection_is_lost_and_stays_so() {
    on_every_server("killed", |db| {
        let mut conn = open(&db.link()).unwrap();
        conn.begin().unwrap();
        let id = conn.query("SELECT CONNECTION_ID()", &[]).unwrap()[0][0].as_i64().unwrap();
        db.run(&[&format!("KILL {id}")]);
        let e = conn.commit().unwrap_err();
        assert_eq!(e.kind, Kind::Lost, "{e:?}");
        for _ in 0..2 {
            assert_eq!(conn.query("SELECT 1", &[]).unwrap_err().kind, Kind::Lost);
            assert_eq!(conn.rollback().unwrap_err().kind, Kind::Lost);
        }
    });
}

#[test]
fn a_statement_killed_in_its_middle_is_lost() {
    on_every_server("killed_midway", |db| {
        let mut conn = open(&db.link()).unwrap();
        let id = conn.query("SELECT CONNECTION_ID()", &[]).unwrap()[0][0].as_i64().unwrap();
        let sleeper = std::thread::spawn(move || conn.query("SELECT SLEEP(100)", &[]));
        let running = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
             WHERE ID = {id} AND STATE = 'User sleep'"
        );
        while db.value(&running) == "0" {
            assert!(!sleeper.is_finished(), "the statement ended by itself");
        }
        db.run(&[&format!("KILL {id}")]);
        assert_eq!(sleeper.join().unwrap().unwrap_err().kind, Kind::Lost);
    });
}

#[test]
fn a_server_that_dies_is_a_lost_connection_and_then_a_refused_one() {
    let mut server = Server::start(Software::MariaDb, &[]);
    let db = server.database("dies");
    db.run(&["CREATE TABLE t (id int PRIMARY KEY)"]);
    let link = db.link();
    std::mem::forget(db);
    let mut conn = open(&link).unwrap();
    conn.begin().unwrap();
    conn.execute("INSERT INTO t VALUES (?)", &[Value::Int(1)]).unwrap();
    server.kill9();
    assert_eq!(conn.commit().unwrap_err().kind, Kind::Lost);
    assert_eq!(open(&link).err().unwrap().kind, Kind::Connect);
    server.restart();
    let mut conn = open(&link).unwrap();
    assert_eq!(conn.query("SELECT COUNT(*) FROM t", &[]).unwrap(), [[Value::Int(0)]]);
}

#[test]
fn a_server_that_stops_answering_is_lost_after_the_io_timeout() {
    let server = Server::start(Software::MariaDb, &[]);
    let db = server.database("frozen");
    let link = LinkParams { io_timeout: Duration::from_secs(5), ..db.link() };
    let mut conn = open(&link).unwrap();
    let pid = nix::unistd::Pid::from_raw(server.pid() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    // A signal takes its time to reach every thread.
    let stands = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'))
    };
    while !std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(stands) {
        std::thread::yield_now();
    }
    let e = conn.query("SELECT 1", &[]).unwrap_err();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert_eq!(e.kind, Kind::Lost, "{e:?}");
}

#[test]
fn locks_are_waited_for_as_long_as_told() {
    on_every_server("locks", |db| {
        db.run(&[
            "CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=InnoDB",
            "INSERT INTO t VALUES (1, 1), (2, 2)",
        ]);
        let mut holder = open(&db.link()).unwrap();
        holder.begin().unwrap();
        let lock = holder.dialect().lock("SELECT a FROM t WHERE id = 1", true);
        holder.query(&lock, &[]).unwrap();
        let mut waiter = open(&db.link()).unwrap();
        waiter.set_lock_wait(LockWait::Short).unwrap();
        let secs = waiter.query("SELECT @@innodb_lock_wait_timeout", &[]).unwrap();
        // MariaDB need not wait at all.
        assert!(matches!(secs[0][0].as_i64(), Some(0 | 1)), "{secs:?}");
        waiter.begin().unwrap();
        // A plain read does not wait, a locking one does.
        waiter.query("SELECT a FROM t WHERE id = 1", &[]).unwrap();
        for exclusive in [false, true] {
            let lock = waiter.dialect().lock("SELECT a FROM t WHERE id = 1", exclusive);
            let e = waiter.query(&lock, &[]).unwrap_err();
            assert_eq!(e.kind, Kind::Contention, "{e:?}");
        }
        waiter.rollback().unwrap();
        // Shared locks share.
        holder.rollback().unwrap();
        for conn in [&mut holder, &mut waiter] {
            conn.begin().unwrap();
            let lock = conn.dialect().lock("SELECT a FROM t WHERE id = 1", false);
            conn.query(&lock, &[]).unwrap();
        }
    });
}

/// MariaDB need not wait at all: nothing of the application's is held meanwhile.
#[test]
fn a_short_wait_is_none_where_the_server_can_do_without() {
    let db = mariadb().database("nowait");
    db.run(&["CREATE TABLE t (id int PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO t VALUES (1), (2)"]);
    let mut holder = open(&db.link()).unwrap();
    holder.begin().unwrap();
    holder.execute("UPDATE t SET id = 3 WHERE id = 1", &[]).unwrap();
    let mut other = open(&db.link()).unwrap();
    other.set_lock_wait(LockWait::Short).unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        let e = other.execute("DELETE FROM t WHERE id <= 2", &[]).unwrap_err();
        assert_eq!(e.kind, Kind::Contention, "{e:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_named_session_is_found_and_ended_and_no_other_one() {
    on_every_server("named", |db| {
        let name = |n: u32| format!("ssync:{}:{n}", db.name());
        let (mut one, mut two) = (open(&db.link()).unwrap(), open(&db.link()).unwrap());
        one.name_session(&name(1)).unwrap();
        one.name_session(&name(2)).unwrap();
        two.name_session(&name(3)).unwrap();
        // The server lets a named session be silent for a minute.
        let timeouts = "SELECT @@wait_timeout, @@net_read_timeout, @@net_write_timeout";
        assert_eq!(one.query(timeouts, &[]).unwrap(), [vec![Value::UInt(60); 3]]);
        let mut other = open(&db.link()).unwrap();
        let names: Vec<String> = (0..40).map(name).filter(|n| *n != name(3)).collect();
        let ended = other.end_sessions(&names).unwrap();
        assert_eq!(ended.len(), 1, "a later name takes an earlier one's place: {ended:?}");
        assert_eq!((&ended[0].name, &ended[0].stays), (&name(2), &None));
        assert!(ended[0].about.contains("session ") && ended[0].statement.starts_with("KILL "));
        assert_eq!(one.query("SELECT 1", &[]).unwrap_err().kind, Kind::Lost);
        two.query("SELECT 1", &[]).unwrap();
        // As good as new, a session has no name any more, and time.
        if two.may_be_reused() {
            two.refresh().unwrap();
            assert!(other.end_sessions(&[name(3)]).unwrap().is_empty());
            assert_ne!(two.query(timeouts, &[]).unwrap()[0][0], Value::UInt(60));
        }
    });
}

#[test]
fn a_deadlock_is_contention() {
    on_every_server("deadlock", |db| {
        db.run(&[
            "CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=InnoDB",
            "INSERT INTO t VALUES (1, 1), (2, 2)",
        ]);
        let mut one = open(&db.link()).unwrap();
        let mut two = open(&db.link()).unwrap();
        one.begin().unwrap();
        two.begin().unwrap();
        one.execute("UPDATE t SET a = 5 WHERE id = 1", &[]).unwrap();
        two.execute("UPDATE t SET a = 5 WHERE id = 2", &[]).unwrap();
        let first = std::thread::spawn(move || one.execute("UPDATE t SET a = 6 WHERE id = 2", &[]));
        let second = two.execute("UPDATE t SET a = 6 WHERE id = 1", &[]);
        // Whoever lost let the other go on.
        if second.is_err() {
            two.rollback().unwrap();
        } else {
            two.commit().unwrap();
        }
        let errors: Vec<Kind> = [first.join().unwrap(), second]
            .into_iter()
            .filter_map(|r| r.err())
            .map(|e| e.kind)
            .collect();
        assert_eq!(errors, [Kind::Contention]);
    });
}

#[test]
fn transactions_roll_back_and_do_not_nest() {
    on_every_server("transactions", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY) ENGINE=InnoDB"]);
        let mut conn = open(&db.link()).unwrap();
        conn.rollback().unwrap();
        conn.begin().unwrap();
        assert_eq!(conn.begin().unwrap_err().kind, Kind::Internal);
        assert_eq!(conn.execute("INSERT INTO t VALUES (1), (2)", &[]).unwrap(), 2);
        conn.rollback().unwrap();
        assert_eq!(conn.query("SELECT id FROM t", &[]).unwrap(), Vec::<Vec<Value>>::new());
        conn.begin().unwrap();
        conn.execute("INSERT INTO t VALUES (?)", &[Value::Int(3)]).unwrap();
        conn.commit().unwrap();
        assert_eq!(db.value("SELECT id FROM t"), "3");
        // Outside a transaction each statement is its own.
        conn.execute("INSERT INTO t VALUES (?)", &[Value::Int(4)]).unwrap();
        assert_eq!(db.value("SELECT COUNT(*) FROM t"), "2");
    });
}

#[test]
fn an_error_in_a_later_statement_of_several_is_seen() {
    on_every_server("several", |db| {
        let mut conn = open(&db.link()).unwrap();
        let e = conn.execute("DO 1; SELECT 1; INSERT INTO nowhere VALUES (1)", &[]).unwrap_err();
        assert_eq!(e.kind, Kind::Config, "{e:?}");
        assert_eq!(conn.query("SELECT 7", &[]).unwrap(), [[Value::Int(7)]]);
    });
}

#[test]
fn tls_is_spoken_when_wanted_and_verified_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let right = certificates(dir.path(), "right");
    let options = [
        format!("--ssl-ca={}", right.ca.display()),
        format!("--ssl-cert={}", right.certificate.display()),
        format!("--ssl-key={}", right.key.display()),
    ];
    let (ca, wrong_ca) = (right.ca, certificates(dir.path(), "wrong").ca);
    let server = Server::start(Software::MariaDb, &options.each_ref().map(String::as_str));
    let db = server.database("tls");
    let cipher = |link: &LinkParams| {
        let mut conn = open(link)?;
        let row = conn.query("SHOW STATUS LIKE 'Ssl_cipher'", &[])?.remove(0);
        Ok::<_, ssync_common::error::Error>(row[1].as_str().unwrap_or_default().to_owned())
    };
    let with = |tls, ca: Option<&std::path::Path>| LinkParams {
        tls,
        tls_ca_file: ca.map(Into::into),
        ..db.link()
    };
    assert_eq!(cipher(&with(TlsMode::Off, None)).unwrap(), "");
    assert_ne!(cipher(&with(TlsMode::Required, None)).unwrap(), "");
    assert_ne!(cipher(&with(TlsMode::Verified, Some(&ca))).unwrap(), "");
    for refused in [Some(wrong_ca.as_path()), None] {
        let e = cipher(&with(TlsMode::Verified, refused)).unwrap_err();
        assert_eq!(e.kind, Kind::Connect, "{e:?}");
    }
    // The right authority, another name.
    let mut elsewhere = with(TlsMode::Verified, Some(&ca));
    elsewhere.url = elsewhere.url.replace("127.0.0.1", "localhost");
    assert_eq!(cipher(&elsewhere).unwrap_err().kind, Kind::Connect);
    let missing = with(TlsMode::Verified, Some(&dir.path().join("nothing.pem")));
    assert_eq!(cipher(&missing).unwrap_err().kind, Kind::Config);

    // Within TLS the driver reads and loads, by commands of many rows as well.
    db.run(&[
        "CREATE TABLE a (id BIGINT PRIMARY KEY, i TINYINT UNSIGNED, u BIGINT UNSIGNED, f FLOAT, d DOUBLE, \
         n DECIMAL(20,5), t VARCHAR(50), b VARBINARY(50), y YEAR, at DATETIME(6), day DATE, during TIME(3))",
        "INSERT INTO a SELECT seq, seq % 256, 18446744073709551615 - seq, seq / 8, seq / 3, seq / 7, \
         CONCAT('ä中', seq), UNHEX(SHA1(seq)), 2000 + seq % 100, '2024-01-02' + INTERVAL seq * 7 MICROSECOND, \
         '2024-01-02' + INTERVAL seq DAY, SEC_TO_TIME(seq * -1.125) FROM seq_1_to_1700",
        "UPDATE a SET i = NULL, t = NULL, at = NULL, during = NULL WHERE id % 5 = 0",
        "CREATE TABLE b LIKE a",
    ]);
    let within = with(TlsMode::Verified, Some(&ca));
    let copied = copy_over(&within, "a", "b", WriteMode::Insert).unwrap();
    assert_eq!(copied.rows, 1700);
    let columns = writable(&described(open(&within).unwrap().as_mut(), "a"));
    assert_identical(&db, "a", "b", &columns);

    // A server without TLS is refused, not spoken to in the clear.
    let plain = mariadb().database("no_tls");
    let link = LinkParams { tls: TlsMode::Required, ..plain.link() };
    let e = cipher(&link).unwrap_err();
    assert_eq!(e.kind, Kind::Connect, "{e:?}");
    assert!(e.hint.is_some(), "{e:?}");
}

#[test]
fn a_server_is_known_by_whatever_address_and_after_a_restart_and_another_is_another() {
    let identity = |link: &LinkParams| open(link).unwrap().server_identity().unwrap();
    for software in [Software::MariaDb, Software::MySql56] {
        let mut server = Server::start(software, &[]);
        let other = Server::start(software, &[]);
        let found = {
            let (db, away) = (server.database("known"), other.database("known"));
            let found = identity(&db.link());
            let localhost = db.url().replace("127.0.0.1", "localhost");
            assert_eq!(identity(&LinkParams { url: localhost, ..db.link() }), found);
            assert_ne!(identity(&away.link()), found);
            found
        };
        server.stop();
        server.restart();
        assert_eq!(identity(&server.database("again").link()), found);
    }
}
