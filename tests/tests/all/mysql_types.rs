//! Every MySQL type through the connector and back; the server judges whether all is the same.

use ssync_common::connector::{WriteMode, open};
use ssync_tests::servers::{Database, Software};

use crate::mysql_support::*;

/// Rows that the grid's tables have: alternating values and NULLs in every column.
struct Grid {
    ddl: String,
    rows: Vec<String>,
}

/// A column's declaration with literals of its extremes.
type Case = (&'static str, &'static [&'static str]);

fn grid(cases: &[Case]) -> Grid {
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(i, (ty, _))| format!("c{i} {ty}")).collect();
    let most = cases.iter().map(|(_, v)| v.len()).max().unwrap();
    let names: Vec<String> = (0..cases.len()).map(|i| format!("c{i}")).collect();
    let mut rows = Vec::new();
    // NULL first: drivers guess a column's type from its first value.
    // And enough of them for LOAD DATA to be worth it.
    for n in 0..(2 * most + 1).max(60) {
        let values: Vec<&str> = cases
            .iter()
            .enumerate()
            .map(|(i, (_, v))| if (n + i) % 2 == 0 { "NULL" } else { v[(n / 2) % v.len()] })
            .collect();
        rows.push(format!("({n}, {})", values.join(", ")));
    }
    Grid {
        ddl: format!("(id int NOT NULL PRIMARY KEY, {}) ENGINE=InnoDB", columns.join(", ")),
        rows: rows
            .iter()
            .map(|r| format!("INSERT INTO src (id, {}) VALUES {r}", names.join(", ")))
            .collect(),
    }
}

fn check(db: &Database<'_>, cases: &[Case]) {
    let grid = grid(cases);
    db.run(&[&format!("CREATE TABLE src {}", grid.ddl), "CREATE TABLE dst LIKE src"]);
    let mut statements = vec![
        "SET sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'",
        "SET time_zone = '+00:00'",
        "SET NAMES utf8mb4",
    ];
    statements.extend(grid.rows.iter().map(String::as_str));
    db.run(&statements);
    let loaded = copy(db, "src", "dst", WriteMode::Insert).unwrap();
    assert_eq!(loaded.rows as usize, grid.rows.len());
    let mut conn = open(&db.link()).unwrap();
    assert_identical(db, "src", "dst", &described(conn.as_mut(), "src").columns);
    db.run(&["DROP TABLE src, dst"]);
}

const INTEGERS: &[Case] = &[
    ("tinyint", &["-128", "127", "0"]),
    ("tinyint(1)", &["0", "1", "-128", "127"]),
    ("tinyint unsigned", &["0", "255"]),
    ("smallint", &["-32768", "32767"]),
    ("smallint unsigned", &["65535"]),
    ("mediumint", &["-8388608", "8388607"]),
    ("mediumint unsigned", &["16777215"]),
    ("int", &["-2147483648", "2147483647"]),
    ("int(10) unsigned zerofill", &["4294967295", "7"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("bigint unsigned", &["18446744073709551615", "9223372036854775808", "0", "1"]),
    ("year", &["1901", "2155", "0", "'0000'", "1999"]),
    ("bit(1)", &["b'0'", "b'1'"]),
    ("bit(12)", &["b'101010101010'", "b'0'", "b'111111111111'"]),
    ("bit(64)", &["0xFFFFFFFFFFFFFFFF", "b'0'", "0x0123456789ABCDEF"]),
];

const FRACTIONS: &[Case] = &[
    ("float", &["3.4028234e38", "-1.17549435e-38", "0.1", "16777217", "1.4e-45", "-0e0"]),
    (
        "double",
        &[
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "0.1e0",
            "4.9e-324",
            "-0e0",
            "123456789012345680000e0",
        ],
    ),
    (
        "decimal(65,30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
            "0",
        ],
    ),
    ("decimal(10,2)", &["-12345678.90", "0.05", "-0.05"]),
    ("decimal(9,3) unsigned zerofill", &["1.5", "999999.999", "0"]),
    ("decimal(5,0)", &["99999", "-99999"]),
];

const TIMES: &[Case] = &[
    ("date", &["'0000-00-00'", "'2024-00-00'", "'2024-02-00'", "'2023-02-31'", "'9999-12-31'"]),
    ("datetime", &["'0000-00-00 00:00:00'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
    (
        "datetime(6)",
        &[
            "'9999-12-31 23:59:59.999999'",
            "'2024-02-29 00:00:00.000001'",
            "'2024-00-15 12:00:00.5'",
            "'0000-00-00 00:00:00.000000'",
        ],
    ),
    ("datetime(3)", &["'2024-01-01 01:02:03.004'"]),
    (
        "timestamp NULL",
        &["'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"],
    ),
    ("timestamp(6) NULL", &["'2038-01-19 03:14:07.999999'", "'2024-03-31 02:30:00.123456'"]),
    ("time", &["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    ("time(6)", &["'-838:59:58.999999'", "'838:59:58.000001'", "'-00:00:00.000001'", "'24:00:00'"]),
    ("time(2)", &["'12:34:56.78'"]),
];

const TEXTS: &[Case] = &[
    ("char(10) CHARACTER SET utf8mb4", &["''", "'abc'", "'  x'", "'\u{1F600}é中'"]),
    (
        "varchar(40) CHARACTER SET utf8mb4",
        &[
            "''",
            "'ends in blank '",
            "'\u{1F600}\u{10FFFF}'",
            "'tab\\tline\\nback\\\\slash\\0nul\\rcr\\Zsub quote\\''",
            "'\\\\N'",
            "'NULL'",
        ],
    ),
    ("varchar(20) CHARACTER SET utf8", &["'é中\u{FFFD}'", "'x'"]),
    ("varchar(20) CHARACTER SET ascii", &["'plain'", "CHAR(0, 127)"]),
    (
        "varchar(300) CHARACTER SET latin1",
        &[
            "CONVERT(0x808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9F USING latin1)",
            "CONVERT(0xA0BFC0FF USING latin1)",
            "'é€'",
        ],
    ),
    ("varchar(40) CHARACTER SET gbk", &["'中文'", "'abc'", "''", "CONVERT(0xB0A1F7FE USING gbk)"]),
    ("varchar(40) CHARACTER SET big5", &["'中文'", "'a'"]),
    ("varchar(40) CHARACTER SET sjis", &["'日本ｱ'", "'a'"]),
    ("varchar(40) CHARACTER SET ucs2", &["'é中'", "''"]),
    ("varchar(40) CHARACTER SET utf16", &["'\u{1F600}中'", "'a'"]),
    ("varchar(40) CHARACTER SET utf32", &["'\u{1F600}'", "'a'"]),
    ("char(5) CHARACTER SET cp1251", &["'Привт'", "'a'"]),
    ("varchar(20) CHARACTER SET koi8r", &["'Привет'", "'a'"]),
    ("tinytext CHARACTER SET utf8mb4", &["REPEAT('é', 127)", "''"]),
    ("text CHARACTER SET latin1", &["REPEAT('é', 65535)", "''"]),
    ("mediumtext CHARACTER SET utf8mb4", &["REPEAT('中', 100000)", "'x'"]),
    ("longtext CHARACTER SET gbk", &["REPEAT('中', 1000)", "'x'"]),
    ("enum('a','it''s','x,y','1','\\\\')", &["'a'", "'it''s'", "'x,y'", "'1'", "'\\\\'"]),
    ("enum('','b') CHARACTER SET latin1", &["''", "'b'"]),
    ("enum('中','é') CHARACTER SET gbk", &["'中'", "'é'"]),
    ("set('a','b','c','7') CHARACTER SET utf8mb4", &["''", "'a'", "'a,c'", "'a,b,c,7'", "'7'"]),
];

const BYTES: &[Case] = &[
    ("binary(4)", &["0x00000000", "0xFF00FF20", "0x61620000"]),
    ("varbinary(300)", &["''", "0x00", "0x5C4E", "0x090A0D5C00FF1A27", "REPEAT(0xC3, 300)"]),
    ("tinyblob", &["''", "REPEAT(0x00, 255)"]),
    ("blob", &["REPEAT(0xFF, 65535)", "0x20"]),
    ("mediumblob", &["REPEAT(0x1A, 70000)", "''"]),
    ("longblob", &["REPEAT(0xE38080, 5000)", "0x0A"]),
];

const SHAPES: &[Case] = &[
    (
        "geometry",
        &[
            "GeomFromText('POINT(1.5 -2.25)', 4326)",
            "GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')",
        ],
    ),
    ("point", &["GeomFromText('POINT(0 0)')", "GeomFromText('POINT(1e300 -1e-300)', 7)"]),
    ("linestring", &["GeomFromText('LINESTRING(0 0,1 1,2 0)')"]),
    ("polygon", &["GeomFromText('POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,2 1,2 2,1 2,1 1))')"]),
    ("multipoint", &["GeomFromText('MULTIPOINT(0 0,1 1)')"]),
    ("multilinestring", &["GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))')"]),
    ("multipolygon", &["GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"]),
    ("geometrycollection", &["GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"]),
];

#[test]
fn integers_arrive_unchanged() {
    on_every_server("integers", |db| check(db, INTEGERS));
}

#[test]
fn fractions_arrive_unchanged() {
    on_every_server("fractions", |db| check(db, FRACTIONS));
}

#[test]
fn times_arrive_unchanged() {
    on_every_server("times", |db| check(db, TIMES));
}

#[test]
fn texts_of_every_character_set_arrive_unchanged() {
    on_every_server("texts", |db| check(db, TEXTS));
}

#[test]
fn bytes_arrive_unchanged() {
    on_every_server("bytes", |db| check(db, BYTES));
}

#[test]
fn shapes_arrive_unchanged() {
    on_every_server("shapes", |db| check(db, SHAPES));
}

#[test]
fn mariadbs_own_types_arrive_unchanged() {
    on_every_server("own", |db| {
        if db.server().software() == Software::MariaDb {
            check(
                db,
                &[
                    ("uuid", &["'123e4567-e89b-12d3-a456-426655440000'"]),
                    ("inet6", &["'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:1.2.3.4'"]),
                    ("inet4", &["'1.2.3.4'", "'255.255.255.255'"]),
                    ("json", &["'{\"a\": [1, 2.50, null, \"é\"]}'", "'\"x\"'"]),
                    ("varchar(20) COMPRESSED", &["'abc'", "''"]),
                ],
            );
        }
    });
}
