//! Keys: a value read from a key column finds its own row again, in the server's own order, and
//! by the index.

use ssync_common::connector::{Connection, open};
use ssync_common::value::Value;
use ssync_tests::servers::{Database, Software};

use crate::mysql_support::*;

type Case = (&'static str, &'static [&'static str]);

const KEYS: &[Case] = &[
    ("tinyint", &["-128", "0", "127"]),
    (
        "bigint",
        &["-9223372036854775808", "9007199254740993", "9007199254740992", "9223372036854775807"],
    ),
    (
        "bigint unsigned",
        &["0", "9223372036854775807", "9223372036854775808", "18446744073709551615"],
    ),
    ("int(8) unsigned zerofill", &["0", "7", "4294967295"]),
    ("year", &["'0000'", "1901", "1970", "2000", "2069", "2155"]),
    (
        "decimal(65,30)",
        &[
            "0.000000000000000000000000000001",
            "0.000000000000000000000000000002",
            "12345678901234567890123456789012345.1",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
        ],
    ),
    (
        "decimal(20,0) unsigned zerofill",
        &["18446744073709551616", "9007199254740993", "9007199254740992"],
    ),
    ("bit(9)", &["b'0'", "b'1'", "b'110000'", "b'111111111'"]),
    ("bit(64)", &["0", "0x8000000000000000", "0xFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFE"]),
    ("date", &["'0000-00-00'", "'2024-00-00'", "'2024-02-00'", "'2023-02-31'", "'9999-12-31'"]),
    (
        "datetime(6)",
        &[
            "'0000-00-00 00:00:00'",
            "'2024-00-15 12:00:00.5'",
            "'2024-01-01 00:00:00.000001'",
            "'2024-01-01 00:00:00.000002'",
            "'9999-12-31 23:59:59.999999'",
        ],
    ),
    (
        "timestamp NULL",
        &["'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"],
    ),
    ("timestamp(6) NULL", &["'2024-03-31 02:30:00.123456'", "'2024-03-31 02:30:00.123457'"]),
    ("time(6)", &["'-838:59:59'", "'-00:00:00.000001'", "'00:00:00'", "'24:00:00'", "'838:59:59'"]),
    ("char(5) CHARACTER SET latin1", &["''", "'a'", "'é'", "'z'", "'€'"]),
    (
        "varchar(20) CHARACTER SET utf8mb4",
        &["''", "'a'", "'é'", "'z\u{1F600}'", "'\\\\'", "'a''b'"],
    ),
    ("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", &["'a'", "'A'", "'a b'", "'é'"]),
    ("varchar(20) CHARACTER SET utf8", &["'a'", "'b'", "'中'"]),
    ("varchar(20) CHARACTER SET ascii COLLATE ascii_bin", &["'a'", "'A'", "'~'"]),
    ("varchar(20) CHARACTER SET gbk", &["'a'", "'中'", "'文'"]),
    ("varchar(20) CHARACTER SET big5", &["'a'", "'中'"]),
    ("varchar(20) CHARACTER SET cp1251 COLLATE cp1251_bin", &["'Ж'", "'ж'"]),
    ("varchar(20) CHARACTER SET ucs2", &["'a'", "'é'", "'中'"]),
    ("varchar(20) CHARACTER SET utf16", &["'a'", "'\u{1F600}'"]),
    ("varbinary(20)", &["''", "0x00", "0xFF", "0x6100", "0x61", "0x41"]),
    ("binary(3)", &["0x000000", "0x610000", "0xFFFFFF"]),
];

const MARIADB_KEYS: &[Case] = &[
    ("uuid", &["'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000001'"]),
    ("inet6", &["'::1'", "'ffff::'", "'2001:db8::ff00:42:8329'"]),
    ("inet4", &["'1.2.3.4'", "'255.255.255.255'"]),
];

/// The ids of the rows where column `a` compares so with the key, in the order of `a`.
fn found(conn: &mut dyn Connection, comparison: &str, key: &Value) -> Vec<i64> {
    let sql = format!("SELECT id FROM t WHERE a {comparison} ORDER BY a");
    let rows = conn.query(&sql, std::slice::from_ref(key)).unwrap();
    rows.iter().map(|r| r[0].as_i64().unwrap()).collect()
}

fn check(db: &Database<'_>, (declared, literals): &Case) {
    let values: Vec<String> =
        literals.iter().enumerate().map(|(i, v)| format!("({i}, {v})")).collect();
    db.run(&[
        "SET NAMES utf8mb4",
        "SET sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES', time_zone = '+00:00'",
        "DROP TABLE IF EXISTS t",
        &format!("CREATE TABLE t (id int, a {declared}, KEY (a)) ENGINE=InnoDB"),
        &format!("INSERT INTO t VALUES {}", values.join(", ")),
        // Without some weight the server would rather scan.
        "INSERT INTO t (id) SELECT 1000 FROM information_schema.COLLATIONS LIMIT 150",
        "ANALYZE TABLE t",
    ]);
    let mut conn = open(&db.link()).unwrap();
    let conn = conn.as_mut();
    let table = described(conn, "t");
    let column = table.column("a").unwrap();
    let d = conn.dialect();
    let rows = keys(conn, &d.select(column));
    assert_eq!(rows.len(), literals.len());
    let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
    let param = d.param(1, Some(column));
    for (i, (_, key)) in rows.iter().enumerate() {
        for (operator, expected) in [
            ("=", &ids[i..=i]),
            ("<", &ids[..i]),
            ("<=", &ids[..=i]),
            (">", &ids[i + 1..]),
            (">=", &ids[i..]),
        ] {
            let comparison = format!("{operator} {param}");
            assert_eq!(found(conn, &comparison, key), expected, "{declared} {operator} {key:?}");
            if operator != "<" && operator != "<=" {
                let tail = format!("a {comparison} ORDER BY a LIMIT 1");
                assert_eq!(scanned(conn, &tail, key), 0, "{tail} scans: {declared} {key:?}");
            }
        }
    }
}

/// Ids and keys in the server's order.
fn keys(conn: &mut dyn Connection, select: &str) -> Vec<(i64, Value)> {
    let sql = format!("SELECT id, {select} FROM t WHERE a IS NOT NULL ORDER BY a");
    let rows = conn.query(&sql, &[]).unwrap();
    rows.into_iter().map(|mut r| (r[0].as_i64().unwrap(), r.remove(1))).collect()
}

/// Rows that a query walks over without an index.
fn scanned(conn: &mut dyn Connection, tail: &str, key: &Value) -> i64 {
    let sql = format!("SELECT id FROM t WHERE {tail}");
    let rnd = |conn: &mut dyn Connection| {
        let status = "SHOW SESSION STATUS LIKE 'Handler_read_rnd_next'";
        conn.query(status, &[]).unwrap()[0][1].as_i64().unwrap()
    };
    // Reading the counter costs rows of its own, always the same number.
    let idle = rnd(conn) - rnd(conn);
    let before = rnd(conn);
    conn.query(&sql, std::slice::from_ref(key)).unwrap();
    rnd(conn) - before + idle
}

#[test]
fn a_key_finds_its_row_in_the_servers_order_and_by_the_index() {
    on_every_server("keys", |db| {
        for case in KEYS {
            check(db, case);
        }
        if db.server().software() == Software::MariaDb {
            for case in MARIADB_KEYS {
                check(db, case);
            }
        }
    });
}

#[test]
fn without_its_cast_a_parameter_would_miss_or_scan() {
    on_every_server("bare", |db| {
        for (declared, literals) in KEYS {
            // (For decimals it depends on the plan whether the server compares them as doubles.)
            if !declared.starts_with("bit") {
                continue;
            }
            check(db, &(*declared, *literals));
            let mut conn = open(&db.link()).unwrap();
            let missed = keys(conn.as_mut(), "a")
                .iter()
                .any(|(id, k)| found(conn.as_mut(), "= ?", k) != [*id]);
            assert!(missed, "{declared} needs no cast after all");
        }
        let mut conn = open(&db.link()).unwrap();
        assert!(scanned(conn.as_mut(), "id = ?", &Value::Int(1)) > 100, "the counter counts");
    });
}

#[test]
fn text_that_is_no_text_comes_as_bytes() {
    on_every_server("no_text", |db| {
        let mut conn = open(&db.link()).unwrap();
        let rows = conn.query("SELECT CAST(X'C3' AS BINARY), _latin1 X'E9'", &[]).unwrap();
        assert_eq!(rows, [[Value::Bytes(vec![0xC3]), Value::Text("é".to_owned())]]);
    });
}
