//! Types, each with literals that reach its limits.

use ssync_common::schema::{Column, Kind};

/// A declaration and the values to send.
#[derive(Clone, Copy)]
pub struct Case {
    pub declared: &'static str,
    pub values: &'static [&'static str],
}

const fn case(declared: &'static str, values: &'static [&'static str]) -> Case {
    Case { declared, values }
}

/// What people write into columns of text.
const WRITINGS: &[&str] = &[
    "NULL",
    "''",
    "'a'",
    "'A'",
    "'b'",
    "'B'",
    "'a '",
    "'x'",
    "'é'",
    "'😀'",
    "'中'",
    "'007'",
    "'7'",
    "'2'",
    "'-1'",
    "'1.50'",
    "'007.10'",
    "'0.1'",
    "' 1'",
    "'ends in blank '",
    "'1e3'",
    "'300'",
    "'01999'",
    "'99999999999999999999'",
    "'2024-02-29'",
    "'2024-2-9'",
    "'2024-01-01 10:00:00.5'",
    "'2024-02-29 10:00'",
    "'10:20:30'",
    "'1:2:3'",
    "'70'",
    "'{\"a\":  1}'",
    "'NULL'",
    "'0x10'",
    "'123E4567-E89B-12D3-A456-426655440000'",
    "'2001:DB8:0:0::1'",
    "'010.1.1.1'",
    "'1.2.3.4'",
    "'a,c'",
    "'::01'",
    "'한'",
    "'c,a'",
    "'some more text than thirty characters hold'",
];
const LONG_MYSQL: &[&str] = &["REPEAT('x', 300)", "REPEAT('x', 70000)", "REPEAT('中', 200)"];
const LONG_SQLITE: &[&str] =
    &["printf('%.*c', 300, 'x')", "printf('%.*c', 70000, 'x')", "printf('%.*c', 200, '中')"];
const LONG_ORACLE: &[&str] =
    &["RPAD('x', 300, 'x')", "RPAD('x', 3000, 'x')", "REPLACE(RPAD('x', 200, 'x'), 'x', '中')"];
const INTEGERS: &[&str] = &[
    "NULL",
    "0",
    "7",
    "-1",
    "70",
    "99",
    "127",
    "-128",
    "255",
    "1999",
    "2155",
    "70000",
    "16777217",
    "20240229",
    "2147483648",
    "-2147483649",
    "4294967296",
    "99999999",
    "9007199254740993",
    "999999999999999999",
    "9223372036854775807",
    "-9223372036854775808",
];
const FRACTIONS: &[&str] = &[
    "0.5",
    "1.5",
    "-1.5",
    "0.1",
    "0.01",
    "123.456",
    "-123456.789",
    "3e0",
    "1e18",
    "9.5e18",
    "1.2345678e30",
    "0.30000000000000004e0",
    "16777216e0",
    "70e0",
    "1234567.125",
    "0.125",
    "-0.001",
];
const BYTES: &[&str] = &[
    "x''",
    "x'00'",
    "x'05'",
    "x'0005'",
    "x'61'",
    "x'ff'",
    "x'3037'",
    "x'37'",
    "x'61626364'",
    "x'6162636465'",
    "x'20'",
    "x'0001020304050607'",
    "x'323032342d30312d3031'",
];
const BYTES_ORACLE: &[&str] = &[
    "HEXTORAW('00')",
    "HEXTORAW('05')",
    "HEXTORAW('0005')",
    "HEXTORAW('61')",
    "HEXTORAW('FF')",
    "HEXTORAW('3037')",
    "HEXTORAW('61626364')",
    "HEXTORAW('6162636465')",
];
const TIMES_ORACLE: &[&str] = &[
    "NULL",
    "TIMESTAMP '2024-02-29 00:00:00'",
    "TIMESTAMP '1969-12-31 00:00:00'",
    "TIMESTAMP '2024-02-29 10:20:30'",
    "TIMESTAMP '1970-01-01 00:00:00'",
    "TIMESTAMP '2038-01-19 03:14:08'",
    "TIMESTAMP '9999-12-31 23:59:59'",
    "TIMESTAMP '0001-01-01 00:00:00'",
];
const TIMES: &[&str] = &[
    "NULL",
    "'2024-02-29'",
    "'1969-12-31'",
    "'2024-02-29 10:20:30'",
    "'2024-02-29 10:20:30.123456'",
    "'1970-01-01 00:00:00'",
    "'2038-01-19 03:14:08'",
    "'9999-12-31 23:59:59.999999'",
    "'10:20:30'",
    "'-10:20:30.123456'",
    "'800:00:00'",
    "'00:00:00.5'",
];

/// Literals that columns like this one are given.
pub fn pool(dialect: &str, column: &Column) -> impl Iterator<Item = &'static str> {
    let geometry = column.charset.is_none() && column.max_bytes.is_none() && dialect == "mysql";
    let long = match dialect {
        "sqlite" => LONG_SQLITE,
        "oracle" => LONG_ORACLE,
        _ => LONG_MYSQL,
    };
    if dialect == "oracle" {
        return pool_of_oracle(column).into_iter();
    }
    let lists: &[&[&str]] = match column.kind {
        Kind::Int | Kind::UInt => &[INTEGERS],
        Kind::Float32 | Kind::Float64 | Kind::Decimal => &[INTEGERS, FRACTIONS],
        Kind::Text => &[WRITINGS, long],
        Kind::Bytes if geometry || column.family == "bit" => &[],
        Kind::Bytes if dialect == "sqlite" => &[BYTES, &["zeroblob(70000)"]],
        Kind::Bytes => &[BYTES, &["REPEAT('b', 70000)"]],
        Kind::Date | Kind::DateTime | Kind::Time => &[TIMES],
        Kind::Any => &[INTEGERS, FRACTIONS, WRITINGS, BYTES, TIMES],
    };
    lists.iter().flat_map(|list| list.iter().copied()).collect::<Vec<_>>().into_iter()
}

fn pool_of_oracle(column: &Column) -> Vec<&'static str> {
    let lists: &[&[&str]] = match column.family.as_str() {
        // Its server would round.
        "number" | "float" if column.kind == Kind::Int || column.scale == Some(0) => &[INTEGERS],
        "number" | "float" if column.precision.is_none() => &[INTEGERS, FRACTIONS],
        "binary_float" | "binary_double" => &[INTEGERS, FRACTIONS],
        "char" | "nchar" | "varchar2" | "nvarchar2" | "clob" | "nclob" | "long" => {
            &[WRITINGS, LONG_ORACLE]
        }
        "raw" | "long_raw" => &[BYTES_ORACLE],
        "date" | "timestamp" => &[TIMES_ORACLE],
        _ => &[],
    };
    lists.iter().flat_map(|list| list.iter().copied()).collect()
}

/// Of 12c and later.
pub const ORACLE: &[Case] = &[
    case("NUMBER(1)", &["NULL", "0", "1", "7", "-9"]),
    case("NUMBER(5)", &["99999", "-99999"]),
    case("NUMBER(10)", &["9999999999", "-9999999999"]),
    case("NUMBER(18)", &["999999999999999999", "-999999999999999999", "9007199254740993"]),
    case("NUMBER(19)", &["9999999999999999999", "9223372036854775807", "-9223372036854775808"]),
    case(
        "NUMBER(38)",
        &[
            "NULL",
            "99999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999",
            "18446744073709551615",
        ],
    ),
    case("NUMBER(6,2)", &["NULL", "-9999.99", "0", "0.01", "1234.5"]),
    case("NUMBER(15,4)", &["99999999999.9999", "-0.0001", "12.3"]),
    case("NUMBER(16,4)", &["999999999999.9999", "900719925474.0993", "1", "12.3456"]),
    case("NUMBER(3,5)", &["NULL", "0.00999", "-0.00001", "0"]),
    case("NUMBER(5,-2)", &["NULL", "9999900", "-100", "0"]),
    case(
        "NUMBER",
        &[
            "9999999999999999999999999999999999999999",
            "0.1234567890123456789012345678901234567891",
            "12345678901234567890.12345678901234567891",
            "1e100",
            "-1e-100",
            "1e125",
        ],
    ),
    case(
        "FLOAT(63)",
        &["NULL", "0.1", "0.12345678901234567", "123456789012345678", "1e40", "1e-40"],
    ),
    case("BINARY_FLOAT", &["NULL", "TO_BINARY_FLOAT('3.4028234e38')", "TO_BINARY_FLOAT('NaN')"]),
    case(
        "BINARY_DOUBLE",
        &[
            "NULL",
            "TO_BINARY_DOUBLE('1.7976931348623157e308')",
            "TO_BINARY_DOUBLE('NaN')",
            "TO_BINARY_DOUBLE('INF')",
            "TO_BINARY_DOUBLE('-INF')",
        ],
    ),
    case("CHAR(5 CHAR)", &["NULL", "'中中中'", "'a'", "'é中'", "'12345'", "'007'", "' '"]),
    case("CHAR(5)", &["' '", "'a'", "'12345'", "'é中'"]),
    case("NCHAR(5)", &["' '", "'中中中'", "'a'", "'é中'", "'12345'"]),
    case("VARCHAR2(30 CHAR)", &["NULL", "REPLACE(RPAD('x', 20, 'x'), 'x', '中')", "'a '"]),
    case("VARCHAR2(30)", &["'中中中中中中中中中中'", "' '"]),
    case(
        "VARCHAR2(300 CHAR)",
        &["REPLACE(RPAD('x', 300, 'x'), 'x', '中')", "'2024-02-29 10:00:00'"],
    ),
    case("NVARCHAR2(30)", &["REPLACE(RPAD('x', 20, 'x'), 'x', '中')", "'é中'", "NULL"]),
    case("CLOB", &["NULL", "EMPTY_CLOB()", "'a'", "TO_CLOB(RPAD('x', 4000, 'x'))"]),
    case("NCLOB", &["'中'"]),
    case("RAW(4)", &["NULL", "HEXTORAW('61626364')", "HEXTORAW('2020')"]),
    case("RAW(300)", &["HEXTORAW(RPAD('C3', 600, 'C3'))", "HEXTORAW('05')"]),
    case("BLOB", &["NULL", "EMPTY_BLOB()", "TO_BLOB(HEXTORAW('0005'))", "TO_BLOB(HEXTORAW('FF'))"]),
    case("DATE", &["NULL", "DATE '2024-02-29'"]),
    case("TIMESTAMP(0)", &["NULL"]),
    case("TIMESTAMP(3)", &["TIMESTAMP '2024-02-29 12:30:00.123'"]),
    case(
        "TIMESTAMP(6)",
        &["TIMESTAMP '9999-12-31 23:59:59.999999'", "TIMESTAMP '2024-02-29 12:30:00.000001'"],
    ),
    case(
        "TIMESTAMP(7)",
        &["TIMESTAMP '2024-02-29 12:30:00.1234567'", "TIMESTAMP '1960-02-29 12:30:00'"],
    ),
    case(
        "TIMESTAMP(9)",
        &[
            "NULL",
            "TIMESTAMP '2024-02-29 12:30:00.123456'",
            "TIMESTAMP '2024-02-29 12:30:00.123456789'",
            "TIMESTAMP '9999-12-31 23:59:59.999999999'",
            "TIMESTAMP '1969-12-31 23:59:59.000000001'",
        ],
    ),
    case(
        "TIMESTAMP(6) WITH LOCAL TIME ZONE",
        &["NULL", "TIMESTAMP '2024-02-29 12:30:00.123456'", "TIMESTAMP '1960-02-29 12:30:00'"],
    ),
    case(
        "TIMESTAMP(9) WITH LOCAL TIME ZONE",
        &[
            "NULL",
            "TIMESTAMP '2024-02-29 12:30:00.123456789'",
            "TIMESTAMP '1960-02-29 12:30:00.000000001'",
            "TIMESTAMP '2024-02-29 12:30:00'",
        ],
    ),
    case(
        "TIMESTAMP(6) WITH TIME ZONE",
        &[
            "NULL",
            "TIMESTAMP '2024-02-29 12:30:00.5 +08:00'",
            "TIMESTAMP '1960-02-29 12:30:00 -05:30'",
            "TIMESTAMP '2024-07-01 12:30:00 Europe/Berlin'",
        ],
    ),
    case(
        "TIMESTAMP(9) WITH TIME ZONE",
        &[
            "NULL",
            "TIMESTAMP '2024-02-29 12:30:00.123456789 +08:00'",
            "TIMESTAMP '2024-01-01 12:30:00.000000001 America/New_York'",
        ],
    ),
    case(
        "INTERVAL DAY(2) TO SECOND(6)",
        &[
            "NULL",
            "TO_DSINTERVAL('0 00:00:00')",
            "TO_DSINTERVAL('0 10:20:30')",
            "TO_DSINTERVAL('-0 00:00:00.000001')",
            "TO_DSINTERVAL('34 22:59:59.5')",
            "TO_DSINTERVAL('-99 23:59:59.999999')",
        ],
    ),
    case(
        "INTERVAL DAY(1) TO SECOND(0)",
        &["TO_DSINTERVAL('0 10:20:30')", "TO_DSINTERVAL('-9 23:59:59')"],
    ),
    case(
        "INTERVAL DAY(9) TO SECOND(9)",
        &["NULL", "TO_DSINTERVAL('0 10:20:30')", "TO_DSINTERVAL('-99999 23:59:59.999999')"],
    ),
    case(
        "INTERVAL YEAR(2) TO MONTH",
        &["NULL", "TO_YMINTERVAL('0-01')", "TO_YMINTERVAL('-99-11')", "TO_YMINTERVAL('7-00')"],
    ),
];

macro_rules! ten_thousand {
    () => {
        " || TO_CLOB(RPAD('x', 4000, 'x')) || TO_CLOB(RPAD('x', 4000, 'x')) \
         || TO_CLOB(RPAD('x', 2000, 'x'))"
    };
}
const LONG_XML: &str = concat!(
    "XMLTYPE(TO_CLOB('<a>')",
    ten_thousand!(),
    ten_thousand!(),
    ten_thousand!(),
    ten_thousand!(),
    ten_thousand!(),
    ten_thousand!(),
    ten_thousand!(),
    " || TO_CLOB('</a>'))"
);

/// What can be read, and never is written.
const ORACLE_READ_ONLY: &[Case] = &[
    case("LONG", &["NULL", "'a'", "'中 '", "RPAD('x', 4000, 'x')"]),
    case("LONG RAW", &["NULL", "HEXTORAW('00FF')", "HEXTORAW('61')"]),
    case("ROWID", &["NULL", "CHARTOROWID('AAASdqAAEAAAAInAAA')"]),
    case("UROWID", &["NULL", "CHARTOROWID('AAASdqAAEAAAAInAAB')"]),
    case("XMLTYPE", &["NULL", "XMLTYPE('<a b=\"1\">é 한 😀</a>')", LONG_XML]),
];

/// Of 23ai.
pub const ORACLE_23: &[Case] = &[
    case("BOOLEAN", &["NULL", "TRUE", "FALSE"]),
    case(
        "JSON",
        &[
            "NULL",
            "'{\"a\": [1, \"é 한 😀\", null]}'",
            "'[]'",
            "'\"x\"'",
            "'7'",
            "'70'",
            "'1.0'",
            "'1.50'",
        ],
    ),
];

/// What an Oracle of this major version can be read from.
pub fn oracle_sources(major: u32) -> Vec<Case> {
    let newest = if major >= 23 { ORACLE_23 } else { &[] };
    [ORACLE, ORACLE_READ_ONLY, newest].concat()
}

/// What can be written there.
pub fn oracle_dests(major: u32) -> Vec<Case> {
    let newest = if major >= 23 { ORACLE_23 } else { &[] };
    [ORACLE, newest].concat()
}

pub const SQLITE: &[Case] = &[
    case(
        "INTEGER",
        &[
            "NULL",
            "0",
            "7",
            "-1",
            "127",
            "128",
            "256",
            "70000",
            "2147483648",
            "-2147483649",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "20240229",
        ],
    ),
    case(
        "REAL",
        &[
            "NULL",
            "0.0",
            "1.5",
            "0.1",
            "-3.0",
            "1e300",
            "-1e300",
            "5e-324",
            "16777217.0",
            "1e18",
            "9e999",
            "-9e999",
            "123456.789",
        ],
    ),
    case(
        "DECIMAL(10,2)",
        &[
            "NULL",
            "5",
            "1.5",
            "12345678901234567890",
            "'not a number'",
            "x'00ff'",
            "9e999",
            "'2024-02-29'",
            "9223372036854775807",
            "70",
        ],
    ),
    case("TEXT", &["NULL"]),
    case(
        "VARCHAR(20)",
        &["'007'", "'a'", "printf('%.*c', 300, 'é')", "'a' || char(0) || 'b'", "'\n\t\\'"],
    ),
    case(
        "BLOB",
        &[
            "NULL",
            "x''",
            "x'00'",
            "x'ff'",
            "x'61'",
            "zeroblob(300)",
            "x'0005'",
            "x'61626364'",
            "x'00000000010100000000000000000000000000000000000000'",
        ],
    ),
    case(
        "",
        &["NULL", "7", "'7'", "'007'", "1.5", "3.0", "'abc'", "x'00ff'", "x'61'", "-0.0", "9e999"],
    ),
];

pub const MYSQL: &[Case] = &[
    case("tinyint", &["NULL", "-128", "0", "7", "70", "127"]),
    case("tinyint unsigned", &["0", "255"]),
    case("smallint", &["-32768", "0", "32767", "1999"]),
    case("mediumint unsigned", &["0", "16777215"]),
    case("int", &["NULL", "-2147483648", "0", "2147483647", "16777217", "20240229"]),
    case("int unsigned", &["0", "4294967295"]),
    case("bigint", &["-9223372036854775808", "0", "9223372036854775807", "9007199254740993"]),
    case("bigint unsigned", &["0", "18446744073709551615", "9223372036854775808"]),
    case("year(4)", &["NULL", "0", "1901", "1970", "2155"]),
    case("decimal(5,0)", &["-99999", "0", "99999"]),
    case("decimal(18,0)", &["-999999999999999999", "0", "999999999999999999", "70"]),
    case(
        "decimal(19,0)",
        &["-9999999999999999999", "0", "9999999999999999999", "9007199254740993"],
    ),
    case("decimal(6,2)", &["-9999.99", "0.00", "0.01", "1234.50"]),
    case("decimal(8,2)", &["NULL", "-999999.99", "131072.01", "5.00", "0.10"]),
    case("decimal(8,2) unsigned", &["0.00", "999999.99", "0.50"]),
    case("decimal(15,4)", &["99999999999.9999", "-0.0001", "12.3000"]),
    case(
        "decimal(16,4)",
        &[
            "999999999999.9999",
            "900719925474.0991",
            "900719925474.0992",
            "900719925474.0993",
            "900719925474.0994",
            "900719925474.0995",
            "1.0000",
        ],
    ),
    case(
        "decimal(65,30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-0.000000000000000000000000000001",
            "0.000000000000000000000000000000",
        ],
    ),
    case(
        "float",
        &["NULL", "0.1", "16777216", "3.4028234e38", "1.4e-45", "0e0 * -1e0", "3", "1.5"],
    ),
    case("float(10,2)", &["12345.67", "0.10"]),
    case(
        "double",
        &[
            "NULL",
            "0.1e0",
            "1.7976931348623157e308",
            "4.9e-324",
            "0e0 * -1e0",
            "3e0",
            "1.5e0",
            "1e18",
            "9007199254740992e0",
        ],
    ),
    case("double unsigned", &["0e0", "0.1e0", "1e300"]),
    case("char(5)", &["NULL", "''", "'中中中中'", "'a'", "'é中'", "'12345'", "'007'"]),
    case("varchar(30)", &["NULL"]),
    case("varchar(300)", &["REPEAT('中', 300)", "'a '", "'2024-02-29 10:00:00'"]),
    case("varchar(20) CHARACTER SET latin1", &["'é€'", "'x '", "REPEAT('€', 20)", "''"]),
    case("varchar(20) CHARACTER SET utf8", &["'中é'", "''", "REPEAT('中', 20)"]),
    case("varchar(20) CHARACTER SET ascii", &["'plain'", "'x '"]),
    case("varchar(20) CHARACTER SET gbk", &["'中文'", "'a'"]),
    case("varchar(20) CHARACTER SET utf16", &["'😀'", "'中 '"]),
    case("tinytext CHARACTER SET latin1", &["REPEAT('é', 255)", "'a '"]),
    case("tinytext", &["REPEAT('é', 127)", "''"]),
    case("text", &["REPEAT('中', 21845)", "'a'", "''"]),
    case("longtext", &["REPEAT('中', 30000)", "'a'", "NULL"]),
    case("enum('a','b','7')", &["NULL", "'a'", "'b'", "'7'"]),
    case("enum('7','A','a1','b','a') COLLATE utf8mb4_bin", &["'7'", "'A'", "'a1'", "'b'", "'a'"]),
    case("enum('x','a')", &["'x'", "'a'"]),
    case("set('a','b','c')", &["NULL", "''", "'a'", "'a,c'", "'a,b,c'"]),
    case("set('c','b','a','d')", &["''", "'a'", "'c,a'", "'d'", "'c,b,a,d'"]),
    case("binary(4)", &["NULL", "0x00000000", "0x61620000", "'abcd'", "0xff00ff20"]),
    case("varbinary(4)", &["''", "0x00", "0x61", "'abcd'", "0x2020", "0x0005"]),
    case("varbinary(300)", &["''", "REPEAT(0xC3, 300)", "'abc '", "0x05"]),
    case("blob", &["NULL", "''", "REPEAT(0xFF, 65535)", "'text'"]),
    case("longblob", &["REPEAT(0x00FF, 40000)", "'x'"]),
    case("bit(8)", &["NULL", "b'0'", "b'1'", "b'11111111'", "b'1100001'"]),
    case("bit(20)", &["b'0'", "b'11111111111111111111'", "b'101'"]),
    case(
        "date",
        &["NULL", "'0000-00-00'", "'2024-02-29'", "'2023-02-31'", "'1000-01-01'", "'9999-12-31'"],
    ),
    case(
        "datetime",
        &[
            "NULL",
            "'0000-00-00 00:00:00'",
            "'1969-12-31 23:59:59'",
            "'2024-02-29 00:00:00'",
            "'9999-12-31 23:59:59'",
        ],
    ),
    case("datetime(3)", &["'2024-02-29 12:30:00.123'", "'2040-01-01 00:00:00.000'"]),
    case(
        "datetime(6)",
        &["'9999-12-31 23:59:59.999999'", "'2024-02-29 12:30:00.000001'", "'0000-00-00 00:00:00'"],
    ),
    case(
        "timestamp NULL",
        &["NULL", "'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"],
    ),
    case(
        "timestamp(6) NULL",
        &["'0000-00-00 00:00:00'", "'2038-01-19 03:14:07.999999'", "'2024-02-29 00:00:00.5'"],
    ),
    case("time", &["NULL", "'-838:59:59'", "'00:00:00'", "'10:20:30'"]),
    case("time(6)", &["'-00:00:00.000001'", "'838:59:58.999999'", "'10:20:30.5'"]),
    case(
        "geometry",
        &[
            "NULL",
            "ST_GeomFromText('POINT(1.5 -2.25)', 4326)",
            "ST_GeomFromText('LINESTRING(0 0,1 1)')",
            "ST_GeomFromText(CONCAT('LINESTRING(0 0', REPEAT(',1 1', 5000), ')'))",
        ],
    ),
    case("point", &["ST_GeomFromText('POINT(0 0)')", "ST_GeomFromText('POINT(1e300 -1e-300)', 7)"]),
    case(
        "polygon",
        &[
            "ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 4,0 0))')",
            "ST_GeomFromText('POLYGON((-1.5 0,4 0,4 4,0 4,-1.5 0))')",
            "ST_GeomFromText(CONCAT('POLYGON((0 0', REPEAT(',1 1', 5000), ',0 0))'))",
        ],
    ),
];

const MARIADB: &[Case] = &[
    case("uuid", &["NULL", "'123e4567-e89b-12d3-a456-426655440000'"]),
    case(
        "inet6",
        &["'::1'", "'2001:db8::ff00:42:8329'", "'fe80:1111:2222:3333:4444:5555:6666:7777'"],
    ),
    case("inet4", &["'1.2.3.4'"]),
];

/// MySQL's types and MariaDB's own.
pub fn mariadb() -> Vec<Case> {
    MYSQL.iter().chain(MARIADB).copied().collect()
}
