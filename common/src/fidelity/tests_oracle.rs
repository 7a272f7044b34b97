//! The rules for Oracle, pair by pair. What a real server says of them has not been seen; the type
//! grid shows them on a stand-in.
#![allow(clippy::unwrap_used)]

use super::tests::{check, letter, lite, my, my_in};
use super::*;
use crate::connector::oracle::types::{self, Declared};

/// A column as the Oracle connector describes it, in a database of AL32UTF8.
fn ora(declared: &str) -> Column {
    ora_in(declared, "AL32UTF8")
}

fn ora_in(declared: &str, charset: &str) -> Column {
    let (word, rest) = declared.split_once('(').unwrap_or((declared, ""));
    let inside = rest.split(')').next().unwrap();
    let mut parts = inside.split([',', ' ']);
    let length: u64 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let numbers: Vec<i64> = inside.split(',').filter_map(|n| n.parse().ok()).collect();
    let in_chars = inside.ends_with("CHAR");
    let national = word.starts_with('N') && word != "NUMBER";
    let (bytes, chars) = match (in_chars, national) {
        (_, true) => (length * 2, length),
        (true, _) => (length * 4, length),
        (false, _) => (length, length),
    };
    let data_type = match word {
        "CHAR" | "NCHAR" | "VARCHAR2" | "NVARCHAR2" | "RAW" | "NUMBER" | "FLOAT" => word,
        _ => declared,
    };
    let d = Declared {
        data_type,
        bytes,
        chars,
        in_chars,
        precision: numbers.first().copied(),
        scale: numbers.get(1).copied().or((word == "NUMBER" && !rest.is_empty()).then_some(0)),
        charset,
        ncharset: "AL16UTF16",
        collation: "",
    };
    types::column("c", &d).unwrap()
}

const NANOS: &str = "TIMESTAMP(9)";
const ZONED: &str = "TIMESTAMP(6) WITH TIME ZONE";
const LOCAL: &str = "TIMESTAMP(6) WITH LOCAL TIME ZONE";
const DAYS: &str = "INTERVAL DAY(2) TO SECOND(6)";
const MONTHS: &str = "INTERVAL YEAR(2) TO MONTH";

#[test]
fn mysql_into_oracle() {
    for (source, dest, expected) in [
        ("tinyint", "NUMBER(3)", 'E'),
        ("tinyint", "NUMBER(2)", 'C'),
        ("int", "NUMBER(10)", 'E'),
        ("int", "NUMBER(9)", 'C'),
        ("bigint unsigned", "NUMBER(20)", 'E'),
        ("bigint unsigned", "NUMBER(19)", 'C'),
        ("bigint unsigned", "NUMBER(38)", 'E'),
        ("bigint unsigned", "NUMBER", 'E'),
        ("int", "NUMBER(10,2)", 'C'),
        ("int", "NUMBER(12,2)", 'E'),
        ("int", "NUMBER(12,-2)", 'C'),
        ("int", "BOOLEAN", 'C'),
        ("year(4)", "NUMBER(4)", 'E'),
        ("decimal(10,2)", "NUMBER(10,2)", 'E'),
        ("decimal(10,2)", "NUMBER(10,3)", 'C'),
        ("decimal(10,2)", "NUMBER(10,1)", 'C'),
        ("decimal(10,2)", "NUMBER", 'E'),
        ("decimal(38,10)", "NUMBER", 'E'),
        ("decimal(40,20)", "NUMBER", 'E'),
        ("decimal(65,30)", "NUMBER", 'C'),
        ("decimal(65,0)", "NUMBER(38)", 'C'),
        ("decimal(15,2)", "FLOAT(126)", 'E'),
        ("decimal(38,2)", "FLOAT(126)", 'C'),
        ("decimal(15,4)", "BINARY_DOUBLE", 'E'),
        ("decimal(16,4)", "BINARY_DOUBLE", 'C'),
        ("decimal(6,0)", "BINARY_FLOAT", 'E'),
        ("decimal(6,2)", "BINARY_FLOAT", 'C'),
        ("int", "BINARY_DOUBLE", 'E'),
        ("bigint", "BINARY_DOUBLE", 'C'),
        ("double", "BINARY_DOUBLE", 'C'),
        ("double", "BINARY_FLOAT", 'C'),
        ("float", "BINARY_FLOAT", 'C'),
        ("double", "NUMBER", 'C'),
        ("int", "VARCHAR2(11 CHAR)", 'E'),
        ("int", "VARCHAR2(10 CHAR)", 'C'),
        ("double", "CLOB", 'C'),
        // '' is NULL there, but for LOBs and for CHAR, whose padding it is.
        ("varchar(20)", "VARCHAR2(20 CHAR)", 'C'),
        ("varchar(20)", "CLOB", 'E'),
        ("longtext", "CLOB", 'E'),
        ("char(20)", "CHAR(20 CHAR)", 'E'),
        ("char(20)", "CHAR(20)", 'C'),
        ("varchar(20)", "CHAR(20 CHAR)", 'C'),
        ("char(20)", "NCHAR(40)", 'E'),
        ("char(20)", "NCHAR(20)", 'C'),
        ("enum('a','b')", "VARCHAR2(1)", 'E'),
        ("enum('a','')", "VARCHAR2(1)", 'C'),
        ("set('a','b')", "VARCHAR2(3)", 'C'),
        ("uuid", "VARCHAR2(36)", 'C'),
        ("json", "CLOB", 'E'),
        ("json", "JSON", 'L'),
        ("varchar(20)", "JSON", 'L'),
        ("varchar(20)", "NUMBER", 'C'),
        ("varchar(20)", "BINARY_DOUBLE", 'C'),
        ("enum('7','8')", "NUMBER", 'R'),
        ("binary(16)", "RAW(16)", 'E'),
        ("binary(16)", "RAW(15)", 'C'),
        ("varbinary(16)", "RAW(16)", 'C'),
        ("blob", "BLOB", 'E'),
        ("bit(20)", "RAW(3)", 'E'),
        ("bit(20)", "NUMBER", 'R'),
        ("point", "BLOB", 'E'),
        ("point", "RAW(25)", 'E'),
        ("geometry", "RAW(25)", 'C'),
        ("varchar(20)", "BLOB", 'E'),
        ("blob", "CLOB", 'R'),
        ("blob", "NUMBER", 'R'),
        // 0000-00-00 is no day of Oracle's.
        ("date", "DATE", 'C'),
        ("datetime", "DATE", 'C'),
        ("datetime(6)", "DATE", 'C'),
        ("datetime(6)", "TIMESTAMP(6)", 'C'),
        ("datetime(6)", NANOS, 'C'),
        ("timestamp(6)", LOCAL, 'C'),
        ("timestamp(6)", ZONED, 'C'),
        ("date", "CLOB", 'E'),
        ("datetime(6)", "VARCHAR2(26)", 'E'),
        ("date", DAYS, 'R'),
        ("date", "NUMBER", 'R'),
        ("varchar(20)", "DATE", 'C'),
        ("time(6)", DAYS, 'E'),
        ("time(6)", "INTERVAL DAY(1) TO SECOND(6)", 'C'),
        ("time(6)", "INTERVAL DAY(2) TO SECOND(3)", 'C'),
        ("time", "INTERVAL DAY(9) TO SECOND(9)", 'E'),
        ("time", "DATE", 'R'),
        ("int", MONTHS, 'R'),
        ("varchar(20)", MONTHS, 'C'),
        ("varchar(20)", "LONG", 'R'),
        ("blob", "LONG RAW", 'R'),
        ("varchar(20)", "ROWID", 'R'),
        ("longtext", "XMLTYPE", 'R'),
    ] {
        check((&my(source), "mysql"), (&ora(dest), "oracle"), expected);
    }
}

#[test]
fn oracle_into_mysql() {
    for (source, dest, expected) in [
        ("NUMBER(1)", "tinyint", 'E'),
        ("NUMBER(3)", "tinyint", 'C'),
        ("NUMBER(9)", "int", 'E'),
        ("NUMBER(18)", "bigint", 'E'),
        ("NUMBER(19)", "bigint", 'C'),
        ("NUMBER(38)", "decimal(38,0)", 'E'),
        ("NUMBER(10,2)", "decimal(10,2)", 'E'),
        ("NUMBER(10,2)", "decimal(10,1)", 'C'),
        ("NUMBER(5,-2)", "int", 'E'),
        ("NUMBER(3,5)", "decimal(5,5)", 'E'),
        ("NUMBER(3,5)", "decimal(5,4)", 'C'),
        ("NUMBER", "decimal(65,30)", 'C'),
        ("FLOAT(126)", "decimal(65,30)", 'C'),
        ("NUMBER", "double", 'L'),
        ("NUMBER(15)", "double", 'E'),
        ("NUMBER", "varchar(172)", 'E'),
        ("NUMBER", "varchar(100)", 'C'),
        ("BINARY_DOUBLE", "double", 'C'),
        ("BINARY_FLOAT", "float", 'C'),
        ("BINARY_FLOAT", "double", 'C'),
        ("BINARY_DOUBLE", "longtext", 'C'),
        ("BOOLEAN", "tinyint", 'E'),
        ("VARCHAR2(20 CHAR)", "varchar(20)", 'E'),
        ("VARCHAR2(20)", "varchar(20)", 'E'),
        ("VARCHAR2(20 CHAR)", "varchar(19)", 'C'),
        ("VARCHAR2(20 CHAR)", "char(20)", 'C'),
        ("CHAR(20 CHAR)", "char(20)", 'E'),
        ("NCHAR(20)", "char(20)", 'E'),
        ("NVARCHAR2(20)", "varchar(20)", 'E'),
        ("CLOB", "longtext", 'E'),
        ("CLOB", "text", 'C'),
        ("LONG", "longtext", 'E'),
        ("JSON", "longtext", 'E'),
        ("JSON", "json", 'L'),
        ("VARCHAR2(20)", "int", 'L'),
        ("RAW(16)", "varbinary(16)", 'E'),
        ("RAW(16)", "binary(16)", 'C'),
        ("BLOB", "longblob", 'E'),
        ("LONG RAW", "longblob", 'E'),
        ("DATE", "datetime", 'E'),
        ("DATE", "date", 'C'),
        ("DATE", "timestamp", 'C'),
        ("TIMESTAMP(6)", "datetime(6)", 'E'),
        ("TIMESTAMP(6)", "datetime", 'C'),
        // Not MySQL's type of that name, whose years end in 2038.
        ("TIMESTAMP(6)", "timestamp(6)", 'C'),
        (NANOS, "datetime(6)", 'C'),
        (NANOS, "varchar(29)", 'E'),
        (NANOS, "varchar(28)", 'C'),
        (NANOS, "int", 'R'),
        (LOCAL, "datetime(6)", 'E'),
        (ZONED, "datetime(6)", 'R'),
        (ZONED, "varchar(40)", 'L'),
        (DAYS, "time(6)", 'C'),
        (DAYS, "varchar(18)", 'E'),
        (MONTHS, "varchar(6)", 'E'),
        (MONTHS, "varchar(5)", 'C'),
        (MONTHS, "time", 'R'),
        ("ROWID", "char(18)", 'E'),
        ("ROWID", "int", 'R'),
    ] {
        check((&ora(source), "oracle"), (&my(dest), "mysql"), expected);
    }
}

#[test]
fn oracle_into_oracle() {
    for (source, dest, expected) in [
        ("NUMBER", "NUMBER", 'E'),
        ("FLOAT(63)", "NUMBER", 'E'),
        ("NUMBER", "FLOAT(126)", 'C'),
        ("NUMBER", "NUMBER(38)", 'C'),
        ("NUMBER(5,-2)", "NUMBER(5,-2)", 'E'),
        ("NUMBER(5,-2)", "NUMBER(7)", 'E'),
        ("NUMBER(5,-2)", "NUMBER(5,-3)", 'C'),
        ("NUMBER(3,5)", "NUMBER(3,5)", 'E'),
        ("BINARY_DOUBLE", "BINARY_DOUBLE", 'E'),
        ("BINARY_FLOAT", "BINARY_DOUBLE", 'E'),
        ("BINARY_DOUBLE", "NUMBER", 'C'),
        ("VARCHAR2(20 CHAR)", "VARCHAR2(20 CHAR)", 'E'),
        ("VARCHAR2(20)", "VARCHAR2(20)", 'E'),
        ("VARCHAR2(20 CHAR)", "VARCHAR2(20)", 'C'),
        ("NVARCHAR2(20)", "NVARCHAR2(20)", 'E'),
        ("VARCHAR2(20 CHAR)", "NVARCHAR2(20)", 'C'),
        ("CHAR(20)", "CHAR(20)", 'E'),
        ("CHAR(20)", "VARCHAR2(20)", 'C'),
        ("CLOB", "CLOB", 'E'),
        ("CLOB", "VARCHAR2(4000)", 'C'),
        ("LONG", "CLOB", 'E'),
        ("RAW(16)", "RAW(16)", 'E'),
        ("BLOB", "RAW(2000)", 'C'),
        ("LONG RAW", "BLOB", 'E'),
        ("DATE", "DATE", 'E'),
        ("TIMESTAMP(3)", "TIMESTAMP(3)", 'E'),
        (NANOS, NANOS, 'E'),
        (NANOS, "TIMESTAMP(6)", 'C'),
        (NANOS, "DATE", 'C'),
        (LOCAL, LOCAL, 'E'),
        (ZONED, ZONED, 'L'),
        ("INTERVAL DAY(9) TO SECOND(9)", "INTERVAL DAY(9) TO SECOND(9)", 'E'),
        ("INTERVAL DAY(9) TO SECOND(9)", DAYS, 'C'),
        (DAYS, DAYS, 'E'),
        (MONTHS, MONTHS, 'E'),
        ("INTERVAL YEAR(4) TO MONTH", MONTHS, 'C'),
        ("JSON", "JSON", 'L'),
        ("JSON", "CLOB", 'E'),
        ("BOOLEAN", "BOOLEAN", 'E'),
        ("ROWID", "VARCHAR2(18)", 'E'),
    ] {
        check((&ora(source), "oracle"), (&ora(dest), "oracle"), expected);
    }
}

#[test]
fn oracle_and_sqlite() {
    for (source, dests) in [
        //                     integer real numeric text blob any
        ("NUMBER(9)", "EEEERE"),
        ("NUMBER(18)", "ECEERE"),
        ("NUMBER(38)", "CCCERE"),
        ("NUMBER", "CCCERE"),
        ("BINARY_DOUBLE", "CCCCRC"),
        ("VARCHAR2(20)", "CCCEEE"),
        ("RAW(16)", "RRECEE"),
        ("DATE", "RREERE"),
        (NANOS, "CCEEEE"),
        (ZONED, "CCLLLL"),
        (DAYS, "RREERE"),
    ] {
        for (dest, expected) in
            ["integer", "real", "numeric", "text", "blob", "any"].iter().zip(dests.chars())
        {
            check((&ora(source), "oracle"), (&lite(dest), "sqlite"), expected);
        }
    }
    for (source, dest, expected) in [
        ("integer", "NUMBER(19)", 'E'),
        ("integer", "NUMBER(18)", 'C'),
        ("real", "BINARY_DOUBLE", 'E'),
        ("real", "NUMBER", 'C'),
        ("text", "CLOB", 'E'),
        ("text", "VARCHAR2(4000)", 'C'),
        ("blob", "BLOB", 'E'),
        ("numeric", "NUMBER", 'C'),
        ("any", "CLOB", 'C'),
        ("any", "DATE", 'C'),
    ] {
        check((&lite(source), "sqlite"), (&ora(dest), "oracle"), expected);
    }
}

#[test]
fn widths_are_counted_in_the_destinations_character_set() {
    let names = [
        // Characters of the source, bytes and characters of the destination.
        ("varchar(20)", "utf8mb4", "CHAR(20 CHAR)", "AL32UTF8", 'C'),
        ("char(20)", "utf8mb4", "CHAR(80)", "AL32UTF8", 'E'),
        ("char(20)", "utf8mb4", "CHAR(79)", "AL32UTF8", 'C'),
        ("char(20)", "utf8mb3", "CHAR(60)", "AL32UTF8", 'E'),
        ("char(20)", "latin1", "CHAR(60)", "AL32UTF8", 'E'),
        ("char(20)", "latin1", "CHAR(59)", "AL32UTF8", 'C'),
        ("char(20)", "ascii", "CHAR(20)", "AL32UTF8", 'E'),
        ("char(20)", "ascii", "CHAR(20)", "WE8MSWIN1252", 'E'),
        ("char(20)", "latin1", "CHAR(20)", "WE8MSWIN1252", 'C'),
        ("char(20)", "gbk", "CHAR(40)", "ZHS16GBK", 'C'),
        ("char(20)", "ascii", "CHAR(20)", "US7ASCII", 'E'),
        ("char(20)", "utf8mb4", "CLOB", "US7ASCII", 'C'),
    ];
    for (source, from, dest, to, expected) in names {
        check((&my_in(source, from), "mysql"), (&ora_in(dest, to), "oracle"), expected);
    }
    let f = judge(&my("char(20)"), "mysql", &ora("CHAR(20)"), "oracle", None, None);
    assert!(
        f.reason().unwrap().ends_with("text of more than 20 bytes in AL32UTF8 does not fit"),
        "{f}"
    );
}

#[test]
fn empty_text_needs_a_choice() {
    let (source, dest) = (my("varchar(20)"), ora("VARCHAR2(80)"));
    let with = |rule, dest: &Column| judge(&source, "mysql", dest, "oracle", None, rule);
    assert!(with(None, &dest).reason().unwrap().contains("takes them for NULL"));
    assert_eq!(with(Some(EmptyAs::Refuse), &dest), with(None, &dest));
    assert_eq!(with(Some(EmptyAs::Null), &dest), Fidelity::Exact);
    assert_eq!(with(Some(EmptyAs::Space), &dest), Fidelity::Exact);
    let never_null = Column { nullable: false, ..dest.clone() };
    let f = judge(
        &Column { nullable: false, ..source.clone() },
        "mysql",
        &never_null,
        "oracle",
        None,
        Some(EmptyAs::Null),
    );
    assert!(f.reason().unwrap().contains("which does not fit a NOT NULL column"), "{f}");
    let raw = ora("RAW(80)");
    let f = judge(&my("varbinary(80)"), "mysql", &raw, "oracle", None, Some(EmptyAs::Space));
    assert_eq!(letter(&f), 'R');

    let step = |source: &Column, from, dest: &Column, to, sealed, rule| {
        empty_step(source, from, dest, to, sealed, rule)
    };
    let into =
        |source: &Column, dest: &Column, rule| step(source, "mysql", dest, "oracle", None, rule);
    assert_eq!(into(&source, &dest, None), Some(EmptyStep::Refuse));
    assert_eq!(into(&source, &dest, Some(EmptyAs::Null)), Some(EmptyStep::ToNull));
    assert_eq!(into(&source, &dest, Some(EmptyAs::Space)), Some(EmptyStep::ToBlank));
    assert_eq!(into(&source, &ora("CLOB"), Some(EmptyAs::Null)), None);
    assert_eq!(into(&source, &ora("CHAR(20)"), Some(EmptyAs::Null)), None);
    assert_eq!(into(&my("int"), &dest, Some(EmptyAs::Null)), None);
    let sealed = Some(Sealed::Encrypt { deterministic: false });
    assert_eq!(step(&source, "mysql", &dest, "oracle", sealed, None), None);
    let opened = Some(Sealed::Decrypt);
    assert_eq!(step(&source, "mysql", &dest, "oracle", opened, None), Some(EmptyStep::Refuse));
    assert_eq!(step(&dest, "oracle", &dest, "oracle", None, None), None);
    assert_eq!(step(&ora("CLOB"), "oracle", &dest, "oracle", None, None), Some(EmptyStep::Refuse));

    // On the way back the same setting says what is empty again.
    let back = |rule| step(&dest, "oracle", &source, "mysql", None, rule);
    assert_eq!(back(None), None);
    assert_eq!(back(Some(EmptyAs::Refuse)), None);
    assert_eq!(back(Some(EmptyAs::Null)), Some(EmptyStep::FromNull));
    assert_eq!(back(Some(EmptyAs::Space)), Some(EmptyStep::FromBlank));
    assert_eq!(step(&dest, "oracle", &my("int"), "mysql", None, Some(EmptyAs::Null)), None);
    let not_null = Column { nullable: false, ..my("varchar(80)") };
    let f = |rule| judge(&dest, "oracle", &not_null, "mysql", None, rule);
    assert_eq!(letter(&f(None)), 'C');
    assert_eq!(f(Some(EmptyAs::Null)), Fidelity::Exact);
}

#[test]
fn times_with_a_zone_arrive_as_moments_where_there_are_only_such() {
    let zoned = ora(ZONED);
    for dest in [my("datetime(6)"), ora("TIMESTAMP(6)"), ora(LOCAL), ora("DATE")] {
        assert_eq!(travels_as(&zoned, &dest), Kind::DateTime);
        let dialect = if dest.family == "datetime" { "mysql" } else { "oracle" };
        let sent = Column { kind: Kind::DateTime, ..zoned.clone() };
        let f = judge(&sent, "oracle", &dest, dialect, None, None);
        assert_eq!(letter(&f), 'L', "{f}");
        assert!(f.reason().unwrap().contains("the moment arrives in UTC"), "{f}");
    }
    assert_eq!(travels_as(&zoned, &ora(ZONED)), Kind::Text);
    assert_eq!(travels_as(&zoned, &my("varchar(40)")), Kind::Text);
    assert_eq!(travels_as(&ora("DATE"), &my("varchar(40)")), Kind::DateTime);
}

#[test]
fn encrypted_columns_in_oracle() {
    for deterministic in [false, true] {
        let seal = Some(Sealed::Encrypt { deterministic });
        let widest = |plain| crypto::sealed_len(plain, deterministic);
        for (source, dest, expected) in [
            ("varchar(20)", format!("VARCHAR2({})", widest(80)), 'E'),
            ("varchar(20)", format!("VARCHAR2({} CHAR)", widest(80)), 'E'),
            ("varchar(20)", format!("VARCHAR2({})", widest(80) - 1), 'C'),
            ("varchar(20)", format!("VARCHAR2({})", widest(0) - 1), 'R'),
            ("varchar(20)", format!("NVARCHAR2({})", widest(80)), 'E'),
            ("varchar(20)", format!("NVARCHAR2({})", widest(80) - 1), 'C'),
            ("varchar(20)", format!("RAW({})", widest(80)), 'E'),
            ("varchar(20)", format!("RAW({})", widest(80) - 1), 'C'),
            ("longtext", "CLOB".to_owned(), 'E'),
            ("longblob", "BLOB".to_owned(), 'E'),
            ("int", "NUMBER".to_owned(), 'R'),
            ("int", "DATE".to_owned(), 'R'),
            ("int", "LONG".to_owned(), 'R'),
        ] {
            let f = judge(&my(source), "mysql", &ora(&dest), "oracle", seal, None);
            assert_eq!(letter(&f), expected, "{f}");
        }
        for (source, plain) in [
            ("NUMBER(3,5)", 8),
            ("NUMBER(10,2)", 13),
            ("VARCHAR2(20 CHAR)", 80),
            ("VARCHAR2(20)", 20),
            ("DATE", 19),
            ("TIMESTAMP(6)", 26),
            ("INTERVAL DAY(8) TO SECOND(6)", 24),
        ] {
            let dest = my(&format!("varchar({})", widest(plain)));
            let f = judge(&ora(source), "oracle", &dest, "mysql", seal, None);
            assert_eq!(letter(&f), 'E', "{f}");
            let dest = my(&format!("varchar({})", widest(plain / 4)));
            let f = judge(&ora(source), "oracle", &dest, "mysql", seal, None);
            assert_eq!(letter(&f), 'C', "{f}");
        }
        let f = judge(&ora("NUMBER"), "oracle", &my("varchar(500)"), "mysql", seal, None);
        assert_eq!(letter(&f), 'C', "{f}");
    }
    for (source, dest, expected) in [
        ("VARCHAR2(200)", "VARCHAR2(20)", 'C'),
        ("VARCHAR2(200)", "NUMBER(10,2)", 'C'),
        ("CLOB", "TIMESTAMP(6)", 'C'),
        ("RAW(200)", "BLOB", 'C'),
        ("NUMBER", "NUMBER", 'R'),
        ("VARCHAR2(200)", "XMLTYPE", 'R'),
    ] {
        let sealed = Some(Sealed::Decrypt);
        let f = judge(&ora(source), "oracle", &ora(dest), "oracle", sealed, None);
        assert_eq!(letter(&f), expected, "{f}");
    }
}
