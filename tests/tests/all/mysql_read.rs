//! Reading: values that are not what their column says, streams that end early.

use mysql::prelude::Queryable;
use ssync_common::batch::{BatchBuilder, BatchLimits, value_at};
use ssync_common::connector::open;
use ssync_common::error::{Error, Kind};
use ssync_common::schema;
use ssync_common::value::Value;
use ssync_tests::servers::{Database, mariadb};

use crate::mysql_support::*;

/// Makes table `t (id, a <declared>)` that holds these bytes, valid or not: they are written into
/// a twin table of bytes, whose data file then takes the place of `t`'s. (No statement lets
/// invalid text in; old servers, character set migrations and such files do.)
fn with_raw_bytes(db: &Database<'_>, declared: &str, width: usize, rows: &[&[u8]]) {
    db.run(&[
        "DROP TABLE IF EXISTS t, raw",
        &format!("CREATE TABLE t (id int NOT NULL, a varchar({width}) {declared}) ENGINE=MyISAM"),
    ]);
    let bytes = db.value(
        "SELECT CHARACTER_OCTET_LENGTH FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't' AND COLUMN_NAME = 'a'",
    );
    db.run(&[&format!("CREATE TABLE raw (id int NOT NULL, a varbinary({bytes})) ENGINE=MyISAM")]);
    let mut conn = db.connect();
    for (i, bytes) in rows.iter().enumerate() {
        conn.exec_drop("INSERT INTO raw VALUES (?, ?)", (i, bytes)).unwrap();
    }
    conn.query_drop("FLUSH TABLES t, raw").unwrap();
    let dir = db.server().dir().join("data").join(db.name());
    for extension in ["MYD", "MYI"] {
        std::fs::copy(dir.join(format!("raw.{extension}")), dir.join(format!("t.{extension}")))
            .unwrap();
    }
    conn.query_drop("FLUSH TABLES t").unwrap();
}

/// The values of column `a`: text, or what is wrong with it.
fn read_a(db: &Database<'_>) -> Vec<Result<Option<String>, String>> {
    let mut conn = open(&db.link()).unwrap();
    let columns = described(conn.as_mut(), "t").columns;
    let (batches, bad) = read_columns(conn.as_mut(), "t", &columns);
    let batch = &batches[0];
    (0..batch.num_rows())
        .map(|row| match bad.iter().find(|b| b.row == row) {
            Some(b) => {
                assert_eq!(b.column, "a");
                Err(b.message.clone())
            }
            None => Ok(match value_at(batch, 1, schema::Kind::Text, row) {
                Value::Null => None,
                v => Some(v.as_str().unwrap().to_owned()),
            }),
        })
        .collect()
}

#[test]
fn invalid_text_is_a_bad_value_of_its_row_alone() {
    on_every_server("invalid", |db| {
        for (charset, bad) in [
            ("utf8mb4", &b"ab\xC3"[..]),
            ("utf8mb4", b"\xED\xA0\x80"),
            ("utf8mb4", b"\xF4\x90\x80\x80"),
            ("utf8", b"\xFF"),
            ("ascii", b"\xC3\xA9"),
            ("ascii", b"x\x80"),
            ("gbk", b"\xFF\xFF"),
            ("gbk", b"a\x81"),
            ("sjis", b"\x81\x20"),
            ("ucs2", b"\xD8\x00\xD8\x00"),
        ] {
            let good: &[u8] = if charset == "ucs2" { b"\0g" } else { b"g" };
            with_raw_bytes(db, &format!("CHARACTER SET {charset}"), 20, &[good, bad, b"", good]);
            let read = read_a(db);
            assert_eq!(read[0], Ok(Some("g".to_owned())), "{charset}");
            let message = read[1].as_ref().expect_err(&format!("{charset} {bad:?}"));
            assert!(message.contains(charset), "{message}");
            assert_eq!(read[2], Ok(Some(String::new())), "{charset}");
            assert_eq!(read[3], Ok(Some("g".to_owned())), "{charset}");
        }
    });
}

#[test]
fn every_byte_of_latin1_is_a_character_that_comes_back() {
    on_every_server("latin1", |db| {
        let all: Vec<u8> = (0..=255).collect();
        with_raw_bytes(db, "CHARACTER SET latin1", 300, &[&all]);
        let text = read_a(db)[0].clone().unwrap().unwrap();
        assert_eq!(text.chars().count(), 256);
        db.run(&["CREATE TABLE back LIKE t", "ALTER TABLE back ENGINE=InnoDB"]);
        copy(db, "t", "back", ssync_common::connector::WriteMode::Insert).unwrap();
        assert_eq!(db.value("SELECT HEX(a) FROM back"), db.value("SELECT HEX(a) FROM t"));
    });
}

#[test]
fn an_enums_error_value_is_bad_and_its_empty_member_is_not() {
    on_every_server("enum_zero", |db| {
        for members in ["'x','y'", "'','y'"] {
            for charset in ["utf8mb4", "latin1", "gbk"] {
                db.run(&[
                    "DROP TABLE IF EXISTS t",
                    &format!("CREATE TABLE t (id int, a enum({members}) CHARACTER SET {charset})"),
                    "SET sql_mode = ''",
                    "INSERT IGNORE INTO t VALUES (1, 'y'), (2, 'none of these'), (3, NULL), (4, 1)",
                ]);
                let first = members.split(',').next().unwrap().trim_matches('\'');
                let read = read_a(db);
                assert_eq!(read[0], Ok(Some("y".to_owned())));
                assert!(read[1].is_err(), "{members} {charset}");
                assert_eq!(read[2], Ok(None));
                assert_eq!(read[3], Ok(Some(first.to_owned())));
            }
        }
    });
}

#[test]
fn a_stream_that_nobody_wants_any_more_does_not_block_the_connection() {
    let db = mariadb().database("cut");
    db.run(&[
        "CREATE TABLE t (id int PRIMARY KEY, a char(200))",
        "INSERT INTO t SELECT seq, REPEAT('x', 200) FROM seq_1_to_200000",
    ]);
    let mut conn = open(&db.link()).unwrap();
    let columns = described(conn.as_mut(), "t").columns;
    let sql = select_sql(conn.as_ref(), "t", &columns);
    let before = conn.query("SELECT CONNECTION_ID()", &[]).unwrap();
    let limits = BatchLimits { rows: 10, slot_bytes: 1 << 20 };
    let mut builder = BatchBuilder::new(&columns, limits);
    let stop = |_| Err(Error::new(Kind::Interrupted, "enough"));
    let e = conn.read(&sql, &[], &columns, &mut builder, &mut { stop }).unwrap_err();
    assert_eq!(e.kind, Kind::Interrupted);
    // Another session took its place, pinned like the first.
    let after = conn.query("SELECT CONNECTION_ID()", &[]).unwrap();
    assert_ne!(before, after);
    assert_eq!(conn.query("SELECT @@time_zone", &[]).unwrap()[0][0].as_str(), Some("+00:00"));

    // Inside a transaction there is no going on.
    conn.begin().unwrap();
    let mut builder = BatchBuilder::new(&columns, limits);
    conn.read(&sql, &[], &columns, &mut builder, &mut { stop }).unwrap_err();
    assert_eq!(conn.commit().unwrap_err().kind, Kind::Lost);
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_an_error() {
    on_every_server("midway", |db| {
        db.run(&[
            "CREATE TABLE t (id int PRIMARY KEY, a int)",
            "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
        ]);
        let mut conn = open(&db.link()).unwrap();
        let columns = described(conn.as_mut(), "t").columns;
        // The third row's subquery has two rows.
        let sql = "SELECT id, (SELECT x.a FROM t x WHERE x.id <= GREATEST(t.id - 1, 1)) FROM t";
        let mut rows = 0;
        let mut emit = |b: ssync_common::batch::ReadBatch| {
            rows += b.rows.num_rows();
            Ok(())
        };
        let limits = BatchLimits { rows: 1, slot_bytes: 1 << 20 };
        let mut builder = BatchBuilder::new(&columns, limits);
        let e = conn.read(sql, &[], &columns, &mut builder, &mut emit).unwrap_err();
        assert_eq!(e.kind, Kind::Database, "{e:?}");
        assert!(rows < 3);
        assert!(conn.query("SELECT 1", &[]).is_ok());
    });
}

#[test]
fn small_results_carry_their_types() {
    on_every_server("small", |db| {
        let mut conn = open(&db.link()).unwrap();
        db.run(&[
            "CREATE TABLE t (u bigint unsigned, d decimal(6,2), l varchar(9) CHARACTER SET latin1, \
             y date, s datetime(6), m time, f float, g varbinary(4), e enum('é'), n int)",
            "INSERT INTO t VALUES (18446744073709551615, 1.50, 'é€', '2024-00-01', \
             '2024-01-02 03:04:05.000006', '-01:00:00', 0.1, 0xFF, 'é', NULL)",
        ]);
        let row = conn.query("SELECT * FROM t WHERE u > ?", &[Value::Int(5)]).unwrap().remove(0);
        let date = |t: &str| ssync_common::value::DateTime::parse(t).unwrap();
        assert_eq!(
            row,
            [
                Value::UInt(u64::MAX),
                Value::Decimal("1.50".to_owned()),
                Value::Text("é€".to_owned()),
                Value::Date(date("2024-00-01")),
                Value::DateTime(date("2024-01-02 03:04:05.000006")),
                Value::Time(-3_600_000_000),
                Value::Float(f64::from(0.1f32)),
                Value::Bytes(vec![0xFF]),
                Value::Text("é".to_owned()),
                Value::Null,
            ]
        );
    });
}
