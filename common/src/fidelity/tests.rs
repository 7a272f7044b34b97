//! The rules, pair by pair. That they are true is shown on real servers (`tests`, type grid).
#![allow(clippy::unwrap_used)]

use super::*;

/// A column as the MySQL connector describes it.
pub(super) fn my(declared: &str) -> Column {
    my_in(declared, "utf8mb4")
}

pub(super) fn my_in(declared: &str, charset: &str) -> Column {
    let (family, rest) = declared.split_once('(').unwrap_or((declared, ""));
    let family = family.split(' ').next().unwrap();
    let unsigned = declared.contains("unsigned");
    let inside = rest.split(')').next().unwrap();
    let numbers: Vec<u32> = inside.split(',').filter_map(|n| n.parse().ok()).collect();
    let kind = match family {
        "bigint" if unsigned => Kind::UInt,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Kind::Int,
        "float" => Kind::Float32,
        "double" => Kind::Float64,
        "decimal" => Kind::Decimal,
        "date" => Kind::Date,
        "datetime" | "timestamp" => Kind::DateTime,
        "time" => Kind::Time,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
        | "json" | "uuid" => Kind::Text,
        _ => Kind::Bytes,
    };
    let mut c = Column::new("c", kind, declared);
    let bits = match family {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        _ => 64,
    };
    match (kind, family) {
        (_, "year") => (c.min, c.max) = (Some(0), Some(2155)),
        (Kind::UInt, _) => (c.min, c.max) = (Some(0), Some(u64::MAX)),
        (Kind::Int, _) if unsigned => (c.min, c.max) = (Some(0), Some(u64::MAX >> (64 - bits))),
        (Kind::Int, _) => {
            (c.min, c.max) = (Some(i64::MIN >> (64 - bits)), Some(u64::MAX >> (65 - bits)));
        }
        (Kind::Decimal, _) => (c.precision, c.scale) = (Some(numbers[0]), Some(numbers[1])),
        (Kind::DateTime | Kind::Time, _) => c.scale = Some(numbers.first().copied().unwrap_or(0)),
        (_, "bit") => {
            c.precision = Some(numbers[0]);
            c.max_bytes = Some(u64::from(numbers[0]).div_ceil(8));
        }
        (_, "enum" | "set") => {
            c.members = inside.split(',').map(|m| m.trim_matches('\'').to_owned()).collect();
        }
        (_, "char" | "varchar") => {
            c.max_chars = Some(numbers[0].into());
            c.max_bytes = Some(u64::from(numbers[0]) * charset::bytes_per_char(Some(charset)).1);
        }
        (_, "binary" | "varbinary") => c.max_bytes = Some(numbers[0].into()),
        (_, "tinytext" | "tinyblob") => c.max_bytes = Some(255),
        (_, "text" | "blob") => c.max_bytes = Some(65_535),
        (_, "mediumtext" | "mediumblob") => c.max_bytes = Some((1 << 24) - 1),
        (_, "longtext" | "longblob") => c.max_bytes = Some((1 << 32) - 1),
        _ => {}
    }
    if kind == Kind::Text {
        c.charset = Some(charset.to_owned());
    }
    c
}

/// A column as the SQLite connector describes it.
pub(super) fn lite(family: &str) -> Column {
    let kind = match family {
        "integer" => Kind::Int,
        "text" => Kind::Text,
        "blob" => Kind::Bytes,
        "real" => Kind::Float64,
        _ => Kind::Any,
    };
    let mut c = Column::new("c", kind, family);
    if kind == Kind::Int {
        (c.min, c.max) = (Some(i64::MIN), Some(i64::MAX as u64));
    }
    c
}

/// One letter for the verdict.
pub(super) fn letter(f: &Fidelity) -> char {
    match f {
        Fidelity::Exact => 'E',
        Fidelity::Checked(_) => 'C',
        Fidelity::Lossy(_) => 'L',
        Fidelity::Refused(_) => 'R',
    }
}

pub(super) fn check(source: (&Column, &str), dest: (&Column, &str), expected: char) {
    let f = judge(source.0, source.1, dest.0, dest.1, None, None);
    let pair = format!("{} into {}", source.0.declared, dest.0.declared);
    assert_eq!(letter(&f), expected, "{pair}: {f}");
    if let Some(reason) = f.reason() {
        assert!(reason.starts_with(&pair), "{reason}");
        assert!(!reason.ends_with('.'), "{reason}");
    }
}

#[test]
fn mysql_into_mysql() {
    for (source, dest, expected) in [
        ("int", "int", 'E'),
        ("int", "bigint", 'E'),
        ("int", "smallint", 'C'),
        ("int unsigned", "int", 'C'),
        ("int unsigned", "bigint", 'E'),
        ("tinyint", "tinyint unsigned", 'C'),
        ("bigint unsigned", "bigint", 'C'),
        ("bigint unsigned", "decimal(20,0)", 'E'),
        ("bigint", "decimal(18,0)", 'C'),
        ("int", "float", 'C'),
        ("smallint", "float", 'E'),
        ("int", "double", 'E'),
        ("bigint", "double", 'C'),
        ("bigint", "varchar(20)", 'E'),
        ("bigint", "varchar(19)", 'C'),
        ("bigint", "varbinary(20)", 'R'),
        ("int", "datetime(6)", 'R'),
        ("int", "bit(32)", 'R'),
        ("int", "enum('a','b')", 'R'),
        ("int", "year(4)", 'C'),
        ("year(4)", "year(4)", 'E'),
        ("year(2)", "year(4)", 'R'),
        ("year(4)", "smallint", 'E'),
        ("decimal(10,2)", "decimal(10,2)", 'E'),
        ("decimal(10,2)", "decimal(12,2)", 'E'),
        ("decimal(10,2)", "decimal(12,4)", 'E'),
        ("decimal(10,2)", "decimal(10,4)", 'C'),
        ("decimal(12,4)", "decimal(10,2)", 'C'),
        ("decimal(10,2)", "decimal(10,2) unsigned", 'C'),
        ("decimal(65,30)", "decimal(65,30)", 'E'),
        ("decimal(9,0)", "int", 'E'),
        ("decimal(10,0)", "int", 'C'),
        ("decimal(9,0) unsigned", "int unsigned", 'E'),
        ("decimal(10,2)", "bigint", 'C'),
        ("decimal(15,4)", "double", 'E'),
        ("decimal(16,4)", "double", 'L'),
        ("decimal(6,2)", "float", 'E'),
        ("decimal(7,2)", "float", 'L'),
        ("decimal(10,2)", "varchar(12)", 'E'),
        ("decimal(10,2)", "varchar(11)", 'C'),
        ("decimal(2,2)", "varchar(5)", 'E'),
        ("decimal(2,2)", "varchar(4)", 'C'),
        ("float", "float", 'E'),
        ("float", "double", 'E'),
        ("double", "float", 'C'),
        ("double", "double", 'E'),
        ("double", "double unsigned", 'C'),
        ("float", "float(7,2)", 'L'),
        ("float(6,2)", "float(6,2)", 'E'),
        ("float(7,2)", "float(7,2)", 'C'),
        ("tinyint", "float(7,2)", 'E'),
        ("decimal(6,2)", "float(8,2)", 'E'),
        ("decimal(6,3)", "float(8,2)", 'L'),
        ("int", "float(8,2)", 'C'),
        ("double", "decimal(65,30)", 'C'),
        ("float(7,2)", "decimal(8,2)", 'E'),
        ("double", "int", 'C'),
        ("double", "varchar(20)", 'C'),
        ("double", "text", 'E'),
        ("varchar(20)", "varchar(20)", 'E'),
        ("varchar(20)", "varchar(10)", 'C'),
        ("varchar(20)", "char(20)", 'C'),
        ("char(20)", "char(20)", 'E'),
        ("char(20)", "varchar(20)", 'E'),
        ("varchar(20)", "tinytext", 'E'),
        ("varchar(64)", "tinytext", 'C'),
        ("text", "text", 'E'),
        ("text", "varchar(1000)", 'C'),
        ("longtext", "text", 'C'),
        ("tinytext", "varchar(255)", 'E'),
        ("varchar(20)", "int", 'L'),
        ("varchar(20)", "decimal(10,2)", 'L'),
        ("varchar(20)", "double", 'L'),
        ("varchar(20)", "datetime(6)", 'C'),
        ("varchar(20)", "date", 'C'),
        ("varchar(20)", "enum('a','b')", 'L'),
        ("varchar(20)", "varbinary(80)", 'E'),
        ("varchar(20)", "varbinary(79)", 'C'),
        ("varchar(20)", "json", 'L'),
        ("json", "json", 'E'),
        ("json", "longtext", 'E'),
        ("varchar(20)", "uuid", 'R'),
        ("varchar(36)", "uuid", 'L'),
        ("uuid", "uuid", 'E'),
        ("varchar(20)", "geometry", 'R'),
        ("enum('a','b')", "enum('b','a','c')", 'E'),
        ("enum('a','b')", "enum('a','x')", 'C'),
        ("enum('a','b')", "enum('A','b')", 'L'),
        ("enum('a','b')", "varchar(1)", 'E'),
        ("enum('a','bb')", "varchar(1)", 'C'),
        ("set('a','b')", "set('a','b','c')", 'E'),
        ("set('a','b')", "set('b','a')", 'L'),
        ("set('a','b')", "varchar(3)", 'E'),
        ("set('a','b')", "varchar(2)", 'C'),
        ("enum('1','2')", "int", 'R'),
        ("binary(4)", "binary(4)", 'E'),
        ("binary(4)", "binary(5)", 'C'),
        ("binary(4)", "varbinary(4)", 'E'),
        ("varbinary(4)", "binary(4)", 'C'),
        ("varbinary(4)", "varbinary(3)", 'C'),
        ("blob", "blob", 'E'),
        ("longblob", "blob", 'C'),
        ("blob", "text", 'R'),
        ("blob", "int", 'R'),
        ("blob", "bit(8)", 'L'),
        ("bit(8)", "bit(8)", 'E'),
        ("bit(8)", "bit(9)", 'E'),
        ("bit(9)", "bit(8)", 'C'),
        ("bit(9)", "binary(2)", 'E'),
        ("bit(9)", "int", 'R'),
        ("point", "point", 'E'),
        ("point", "geometry", 'E'),
        ("geometry", "point", 'C'),
        ("polygon", "point", 'R'),
        ("geometry", "longblob", 'E'),
        ("longblob", "geometry", 'C'),
        ("date", "date", 'E'),
        ("date", "datetime", 'E'),
        ("date", "timestamp", 'C'),
        ("date", "time", 'R'),
        ("date", "varchar(10)", 'E'),
        ("datetime", "date", 'C'),
        ("datetime(3)", "datetime(6)", 'E'),
        ("datetime(3)", "datetime", 'C'),
        ("datetime(3)", "timestamp(3)", 'C'),
        ("timestamp(3)", "datetime(3)", 'E'),
        ("timestamp", "timestamp", 'E'),
        ("timestamp(6)", "timestamp(5)", 'C'),
        ("datetime", "time", 'R'),
        ("datetime", "bigint", 'R'),
        ("datetime", "varchar(26)", 'E'),
        ("time(6)", "time(6)", 'E'),
        ("time(6)", "time", 'C'),
        ("time", "datetime", 'R'),
        ("time", "varchar(17)", 'E'),
    ] {
        check((&my(source), "mysql"), (&my(dest), "mysql"), expected);
    }
}

#[test]
fn character_sets() {
    for (source, from, dest, to, expected) in [
        ("varchar(20)", "latin1", "varchar(20)", "utf8mb4", 'E'),
        ("varchar(20)", "utf8mb4", "varchar(20)", "latin1", 'C'),
        ("varchar(20)", "utf8mb4", "varchar(20)", "utf8mb3", 'C'),
        ("varchar(20)", "utf8mb3", "varchar(20)", "utf8mb4", 'E'),
        ("varchar(20)", "utf8", "varchar(20)", "utf8mb3", 'E'),
        ("varchar(20)", "ascii", "varchar(20)", "latin1", 'E'),
        ("varchar(20)", "latin1", "varchar(20)", "latin2", 'C'),
        ("varchar(20)", "gbk", "varchar(20)", "utf8mb3", 'E'),
        ("varchar(20)", "gbk", "varchar(20)", "gbk", 'E'),
        ("varchar(255)", "latin1", "tinytext", "latin1", 'E'),
        ("varchar(255)", "latin1", "tinytext", "utf8mb4", 'C'),
        ("tinytext", "latin1", "tinytext", "utf8mb4", 'C'),
        ("tinytext", "utf8mb4", "tinytext", "utf8mb4", 'E'),
        ("tinytext", "latin1", "text", "utf8mb4", 'E'),
        ("varchar(20)", "latin1", "varbinary(80)", "", 'E'),
        ("varchar(20)", "latin1", "varbinary(20)", "", 'C'),
    ] {
        check((&my_in(source, from), "mysql"), (&my_in(dest, to), "mysql"), expected);
    }
}

#[test]
fn mysql_into_sqlite() {
    for (source, dests) in [
        //                     integer real numeric text blob any
        ("int", "EEEERE"),
        ("bigint", "ECEERE"),
        ("bigint unsigned", "CCCERC"),
        ("year(4)", "EEEERE"),
        ("decimal(10,0)", "EEEERE"),
        ("decimal(18,0)", "ECEERE"),
        ("decimal(19,0)", "CCCERE"),
        ("decimal(10,2)", "CEEERE"),
        ("decimal(16,2)", "CCCERE"),
        ("float", "CCCERE"),
        ("double", "CCCERE"),
        ("varchar(20)", "CCCEEE"),
        ("enum('a','b')", "CCEEEE"),
        ("enum('7','07')", "CCCEEE"),
        ("json", "CCCEEE"),
        ("blob", "RRECEE"),
        ("bit(8)", "RRECEE"),
        ("point", "RRECEE"),
        ("date", "RREERE"),
        ("datetime(6)", "RREERE"),
        ("time(6)", "RREERE"),
    ] {
        for (dest, expected) in
            ["integer", "real", "numeric", "text", "blob", "any"].iter().zip(dests.chars())
        {
            check((&my(source), "mysql"), (&lite(dest), "sqlite"), expected);
        }
    }
}

#[test]
fn sqlite_into_sqlite() {
    for (source, dests) in [
        //         integer real numeric text blob any
        ("integer", "ECEERE"),
        ("real", "CEECRE"),
        ("numeric", "CCECCE"),
        ("text", "CCCEEE"),
        ("blob", "RRECEE"),
        ("any", "CCCCCE"),
    ] {
        for (dest, expected) in
            ["integer", "real", "numeric", "text", "blob", "any"].iter().zip(dests.chars())
        {
            check((&lite(source), "sqlite"), (&lite(dest), "sqlite"), expected);
        }
    }
}

#[test]
fn sqlite_into_mysql() {
    for (source, dest, expected) in [
        ("integer", "bigint", 'E'),
        ("integer", "int", 'C'),
        ("integer", "bigint unsigned", 'C'),
        ("integer", "varchar(20)", 'E'),
        ("real", "double", 'C'),
        ("real", "float", 'C'),
        ("real", "decimal(20,4)", 'C'),
        ("text", "longtext", 'E'),
        ("text", "text", 'C'),
        ("text", "varchar(20)", 'C'),
        ("text", "datetime", 'C'),
        ("text", "int", 'L'),
        ("blob", "longblob", 'E'),
        ("blob", "varbinary(20)", 'C'),
        ("blob", "point", 'C'),
        ("numeric", "decimal(20,4)", 'C'),
        ("numeric", "datetime", 'C'),
        ("any", "varchar(20)", 'C'),
        ("any", "enum('a')", 'L'),
        ("any", "longtext", 'C'),
        ("any", "longblob", 'C'),
    ] {
        check((&lite(source), "sqlite"), (&my(dest), "mysql"), expected);
    }
    let latin1 = my_in("longtext", "latin1");
    check((&lite("text"), "sqlite"), (&latin1, "mysql"), 'C');
}

#[test]
fn a_shorter_fraction_is_told_by_the_digits_that_fit() {
    let f = judge(&my("decimal(30,28)"), "mysql", &my("decimal(6,4)"), "mysql", None, None);
    let text = "numbers that need more than 4 digits after the point do not fit";
    assert!(f.reason().unwrap().ends_with(text), "{f}");
}

#[test]
fn null_and_generated_columns() {
    let not_null = Column { nullable: false, ..my("int") };
    let f = judge(&my("int"), "mysql", &not_null, "mysql", None, None);
    assert_eq!(f, Fidelity::Checked("int into int: NULL does not fit a NOT NULL column".into()));
    assert_eq!(judge(&not_null, "mysql", &my("int"), "mysql", None, None), Fidelity::Exact);
    // The worse of two judgements counts, and equal ones are told together.
    let small = Column { nullable: false, ..my("tinyint") };
    let f = judge(&my("int"), "mysql", &small, "mysql", None, None);
    assert!(f.reason().unwrap().contains("-128") && f.reason().unwrap().contains("NULL"), "{f}");
    let f = judge(&my("varchar(9)"), "mysql", &not_null, "mysql", None, None);
    assert_eq!(letter(&f), 'L');
    let generated = Column { generated: true, ..my("int") };
    assert_eq!(letter(&judge(&my("int"), "mysql", &generated, "mysql", None, None)), 'R');
    assert_eq!(judge(&generated, "mysql", &my("int"), "mysql", None, None), Fidelity::Exact);
}

#[test]
fn encrypted_columns() {
    let seal = |deterministic| Some(Sealed::Encrypt { deterministic });
    let widest = |plain, deterministic| crypto::sealed_len(plain, deterministic);
    for deterministic in [false, true] {
        let fits = format!("varchar({})", widest(80, deterministic));
        let short = format!("varchar({})", widest(80, deterministic) - 1);
        let tiny = format!("varchar({})", widest(0, deterministic) - 1);
        for (source, dest, expected) in [
            ("varchar(20)", fits.as_str(), 'E'),
            ("varchar(20)", &short, 'C'),
            ("varchar(20)", &tiny, 'R'),
            ("varchar(20)", "varbinary(2000)", 'E'),
            ("varchar(20)", "binary(255)", 'R'),
            ("varchar(20)", "int", 'R'),
            ("varchar(20)", "json", 'R'),
            ("bigint", "char(255)", 'E'),
            ("blob", "mediumtext", 'E'),
            ("blob", "text", 'C'),
            ("set('a','b')", "varchar(255)", 'E'),
        ] {
            let f = judge(&my(source), "mysql", &my(dest), "mysql", seal(deterministic), None);
            assert_eq!(letter(&f), expected, "{f}");
        }
        // 20 characters of latin1 may be 60 bytes of UTF-8.
        let latin1 = my_in("varchar(20)", "latin1");
        let f = judge(
            &latin1,
            "mysql",
            &my(&format!("varchar({})", widest(20, deterministic))),
            "mysql",
            seal(deterministic),
            None,
        );
        assert_eq!(letter(&f), 'C');
        for (family, expected) in
            [("text", 'E'), ("blob", 'E'), ("any", 'E'), ("numeric", 'E'), ("integer", 'R')]
        {
            let f = judge(&my("blob"), "mysql", &lite(family), "sqlite", seal(deterministic), None);
            assert_eq!(letter(&f), expected, "{f}");
        }
        let f =
            judge(&lite("text"), "sqlite", &my("varchar(255)"), "mysql", seal(deterministic), None);
        assert_eq!(letter(&f), 'C');
    }
}

#[test]
fn decrypted_columns() {
    for (source, dest, expected) in [
        ("varchar(200)", "varchar(20)", 'C'),
        ("varchar(200)", "bigint", 'C'),
        ("varchar(200)", "decimal(10,2)", 'C'),
        ("varchar(200)", "datetime", 'C'),
        ("varchar(200)", "enum('a','b')", 'L'),
        ("varbinary(200)", "longblob", 'C'),
        ("int", "int", 'R'),
        ("date", "date", 'R'),
    ] {
        let f = judge(&my(source), "mysql", &my(dest), "mysql", Some(Sealed::Decrypt), None);
        assert_eq!(letter(&f), expected, "{f}");
    }
}
