//! A fresh database for one test, and the few words in which databases differ.

use std::time::Duration;

use arrow_array::RecordBatch;
use ssync_common::batch::{BatchBuilder, BatchLimits, ReadBatch, value_at};
use ssync_common::connector::{Connection, LinkParams, LoadPlan, Loaded, TlsMode, WriteMode, open};
use ssync_common::error::Result;
use ssync_common::schema::{Column, Kind, Table};
use ssync_common::value::{DateTime, Value};
use ssync_tests::servers::oracle::{Generation, OracleAccount, oracle};
use ssync_tests::servers::{Database, Software, mariadb, mysql56};

use super::spelling::Spelt;

/// A database of the test's own.
pub struct Place {
    link: LinkParams,
    mysql: Option<Database<'static>>,
    oracle: Option<OracleAccount<'static>>,
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let link = LinkParams {
            name: "place".into(),
            url: format!("sqlite://{}/place.db?create=true", dir.path().display()),
            password: None,
            tls: TlsMode::Off,
            tls_ca_file: None,
            oracle: Default::default(),
            connect_timeout: Duration::from_secs(10),
            io_timeout: Duration::from_secs(60),
        };
        Place { link, mysql: None, oracle: None, _dir: Some(dir) }
    }

    pub fn mariadb(test: &str) -> Self {
        Self::mysql(mariadb().database(test))
    }

    pub fn mysql56(test: &str) -> Self {
        Self::mysql(mysql56().database(test))
    }

    fn mysql(db: Database<'static>) -> Self {
        Place { link: db.link(), mysql: Some(db), oracle: None, _dir: None }
    }

    pub fn oracle12(test: &str) -> Self {
        Self::oracle(Generation::Oracle12c, test)
    }

    pub fn oracle19(test: &str) -> Self {
        Self::oracle(Generation::Oracle19c, test)
    }

    pub fn oracle23(test: &str) -> Self {
        Self::oracle(Generation::Oracle23ai, test)
    }

    fn oracle(generation: Generation, test: &str) -> Self {
        let account = oracle(generation).account(test);
        Place { link: account.link(), mysql: None, oracle: Some(account), _dir: None }
    }

    /// Another connection.
    pub fn open(&self) -> Box<dyn Connection> {
        let opened = open(&self.link).unwrap();
        if self.is_oracle() { Box::new(Spelt(opened)) } else { opened }
    }

    /// A connection that has run these statements.
    pub fn with(&self, statements: &[&str]) -> Box<dyn Connection> {
        let mut c = self.open();
        run(&mut *c, statements);
        c
    }

    pub fn is_sqlite(&self) -> bool {
        self.mysql.is_none() && self.oracle.is_none()
    }

    pub fn is_oracle(&self) -> bool {
        self.oracle.is_some()
    }

    pub fn is_mysql56(&self) -> bool {
        self.mysql.as_ref().is_some_and(|db| db.server().software() == Software::MySql56)
    }

    /// A name that stands unquoted in the suite's SQL, as the database keeps it.
    pub fn name(&self, name: &str) -> String {
        if self.is_oracle() { name.to_ascii_uppercase() } else { name.to_owned() }
    }

    /// A value as the database keeps it: to Oracle, empty text and bytes are NULL.
    pub fn kept(&self, value: Value) -> Value {
        match value {
            Value::Text(t) if self.is_oracle() && t.is_empty() => Value::Null,
            Value::Bytes(b) if self.is_oracle() && b.is_empty() => Value::Null,
            other => other,
        }
    }

    /// One of three spellings.
    pub fn say3<'a>(&self, sqlite: &'a str, mysql: &'a str, oracle: &'a str) -> &'a str {
        if self.is_oracle() { oracle } else { self.say(sqlite, mysql) }
    }

    /// One of two spellings; Oracle's is made of MySQL's.
    pub fn say<'a>(&self, sqlite: &'a str, mysql: &'a str) -> &'a str {
        if self.is_sqlite() { sqlite } else { mysql }
    }

    /// The schema that an unqualified table name means.
    pub fn schema(&self) -> String {
        match (&self.mysql, &self.oracle) {
            (Some(db), _) => db.name().to_owned(),
            (_, Some(account)) => account.name().to_owned(),
            _ => "main".to_owned(),
        }
    }

    /// Declarations of columns that may be a key, each with values in no particular order.
    pub fn keys(&self) -> Vec<(&'static str, Vec<Value>)> {
        let integers: Vec<Value> =
            [0, -1, 1, i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1, (1 << 53) + 2, 42]
                .map(Value::Int)
                .into();
        let texts: Vec<Value> = [
            "", "a", "B", "c", "10", "9", "a b", "a\u{0}b", "é", "中文", "😀", "zz", "0x10", "1e5",
            "%", "_", "'", "\"", "\\", "\\n", "~",
        ]
        .map(|t| Value::Text(t.to_owned()))
        .into();
        let bytes: Vec<Value> =
            [&b""[..], b"\0", b"\0\0", b"\x01", b"a", b"A", b"\xff", b"\xff\0", b"\x7f\x80"]
                .map(|b| Value::Bytes(b.to_vec()))
                .into();
        if self.is_sqlite() {
            return vec![
                ("INTEGER", integers.clone()),
                ("BIGINT", integers),
                ("TEXT", texts.clone()),
                ("VARCHAR(20) COLLATE NOCASE", texts),
                ("BLOB", bytes),
            ];
        }
        if self.is_oracle() {
            // The stand-in's PostgreSQL holds no text with a zero byte in it.
            let standin = self.oracle.as_ref().is_some_and(|account| account.server().is_standin());
            let keeps = |v: &Value| !standin || v.as_str().is_some_and(|t| !t.contains('\0'));
            let texts = texts.into_iter().filter(keeps).collect();
            return oracle_keys(integers, texts, bytes);
        }
        let decimals: Vec<Value> = [
            "0",
            "-0.000000000000000000000000000001",
            "0.1",
            "0.3",
            "9007199254740992.1",
            "9007199254740992.2",
            "9007199254740993",
            "-99999999999999999999.9",
            "123456789.5",
            "99999999999999999999.999999999999999999999999999999",
        ]
        .map(|d| Value::Decimal(d.to_owned()))
        .into();
        let when = |y, m, d, h, us| DateTime::new(y, m, d, h, 0, 0, us).unwrap();
        let days = [(0, 0, 0), (2024, 0, 0), (2024, 2, 29), (1970, 1, 1), (9999, 12, 31)];
        let dates = days.map(|(y, m, d)| Value::Date(when(y, m, d, 0, 0))).into();
        let times = [
            (2024, 2, 29, 12, 0),
            (2024, 2, 29, 12, 1),
            (2024, 2, 29, 12, 999_999),
            (0, 0, 0, 0, 0),
            (1999, 12, 31, 23, 500_000),
            (2038, 1, 19, 3, 0),
        ]
        .map(|(y, m, d, h, us)| Value::DateTime(when(y, m, d, h, us)));
        let durations: Vec<Value> =
            [0, -1, 1, 3_020_399_000_000, -3_020_399_000_000, 86_400_000_000]
                .map(Value::Time)
                .into();
        let unsigned = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1, (1 << 53) + 1];
        let fixed: Vec<Value> =
            [0u8, 1, 32, 127, 128, 255].map(|b| Value::Bytes(vec![b; 16])).into();
        let bits = [0u64, 1, 255, 256, (1 << 39) + 1, (1 << 40) - 1]
            .map(|v| Value::Bytes(v.to_be_bytes()[3..].to_vec()));
        // A character set that the server converts, and a collation that is not bytewise.
        let latin: Vec<Value> =
            ["a", "B", "é", "z", "€", "10", "9", ""].map(|t| Value::Text(t.to_owned())).into();
        vec![
            ("bigint", integers),
            ("bigint unsigned", unsigned.map(Value::UInt).into()),
            ("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", texts.clone()),
            ("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", latin.clone()),
            ("varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", latin),
            (
                "char(20) CHARACTER SET utf8 COLLATE utf8_general_ci",
                vec![
                    Value::Text("a".into()),
                    Value::Text("B".into()),
                    Value::Text("中".into()),
                    Value::Text(String::new()),
                ],
            ),
            ("decimal(50,30)", decimals),
            ("date", dates),
            ("datetime(6)", times.clone().into()),
            ("timestamp(6)", times[..5].to_vec()),
            ("time(6)", durations),
            ("varbinary(20)", bytes),
            ("binary(16)", fixed),
            ("bit(40)", bits.into()),
        ]
    }
}

/// Declarations of columns that may be a key in Oracle, with values that it keeps.
fn oracle_keys(
    integers: Vec<Value>,
    texts: Vec<Value>,
    bytes: Vec<Value>,
) -> Vec<(&'static str, Vec<Value>)> {
    let short = [0i64, -1, 1, 42, 999_999_999_999_999_999, -999_999_999_999_999_999, 1 << 53]
        .map(Value::Int);
    let numbers = |list: &[&str]| list.iter().map(|d| Value::Decimal((*d).to_owned())).collect();
    let all_digits = integers.iter().filter_map(Value::plain).map(Value::Decimal).collect();
    let some = |values: Vec<Value>| -> Vec<Value> {
        values.into_iter().filter(|v| v.plain().is_some_and(|p| !p.is_empty())).collect()
    };
    let when = |y, m, d, h, us| DateTime::new(y, m, d, h, 0, 0, us).unwrap();
    let moments = [
        (2024, 2, 29, 12, 0),
        (2024, 2, 29, 12, 1),
        (2024, 2, 29, 12, 999_999),
        (1, 1, 1, 0, 0),
        (1999, 12, 31, 23, 500_000),
        (9999, 12, 31, 23, 999_999),
    ]
    .map(|(y, m, d, h, us)| Value::DateTime(when(y, m, d, h, us)));
    let days =
        [(2024, 2, 29, 0), (2024, 2, 29, 13), (1970, 1, 1, 0), (9999, 12, 31, 23), (1, 1, 1, 0)]
            .map(|(y, m, d, h)| Value::DateTime(when(y, m, d, h, 0)));
    let durations: Vec<Value> =
        [0, -1, 1, 3_020_399_000_000, -3_020_399_000_000, 86_400_000_000].map(Value::Time).into();
    let padded = ["a", "B", "a b", "é", "zz", "10", "9", "~"].map(|t| Value::Text(t.to_owned()));
    vec![
        ("NUMBER(18)", short.into()),
        ("NUMBER(19)", all_digits),
        (
            "NUMBER",
            numbers(&[
                "0",
                "0.1",
                "0.3",
                "-0.000000000000000000000000000001",
                "9007199254740992.1",
                "9007199254740992.2",
                "9007199254740993",
                "99999999999999999999999999999999999999",
                "-123456789.5",
            ]),
        ),
        ("NUMBER(20,3)", numbers(&["0", "-0.001", "0.5", "12345678901234567.125", "-17"])),
        ("VARCHAR2(20 CHAR)", some(texts)),
        ("CHAR(20 CHAR)", padded.into()),
        ("RAW(20)", some(bytes)),
        ("DATE", days.into()),
        ("TIMESTAMP(6)", moments.clone().into()),
        ("TIMESTAMP(6) WITH LOCAL TIME ZONE", moments.into()),
        ("INTERVAL DAY(3) TO SECOND(6)", durations),
    ]
}

/// Runs statements, each a transaction of its own.
pub fn run(c: &mut dyn Connection, statements: &[&str]) {
    for sql in statements {
        c.execute(sql, &[]).unwrap_or_else(|e| panic!("{e:?}\nin: {sql}"));
    }
}

pub fn described(c: &mut dyn Connection, table: &str) -> Table {
    c.describe(table).unwrap().unwrap_or_else(|| panic!("there is no table {table}"))
}

/// The number of rows of a table.
pub fn count(c: &mut dyn Connection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {}", c.dialect().table(table));
    c.query(&sql, &[]).unwrap()[0][0].as_i64().unwrap()
}

pub const LIMITS: BatchLimits = BatchLimits { rows: 1000, slot_bytes: 8 << 20 };

/// `SELECT` of these columns as a reader does it.
pub fn select(c: &dyn Connection, table: &str, columns: &[Column]) -> String {
    let list: Vec<String> = columns.iter().map(|k| c.dialect().select(k)).collect();
    format!("SELECT {} FROM {}", list.join(", "), c.dialect().table(table))
}

/// All batches of a query.
pub fn read(
    c: &mut dyn Connection,
    sql: &str,
    params: &[Value],
    columns: &[Column],
    limits: BatchLimits,
) -> Vec<ReadBatch> {
    let mut builder = BatchBuilder::new(columns, limits);
    let mut batches = Vec::new();
    let rows = c
        .read(sql, params, columns, &mut builder, &mut |b| {
            batches.push(b);
            Ok(())
        })
        .unwrap();
    assert_eq!(rows, batches.iter().map(|b| b.rows.num_rows() as u64).sum::<u64>());
    batches
}

/// The values of batches, row by row.
pub fn values(batches: &[ReadBatch], columns: &[Column]) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for batch in batches {
        assert_eq!(batch.bad, []);
        for row in 0..batch.rows.num_rows() {
            let one = |(i, c): (usize, &Column)| value_at(&batch.rows, i, c.kind, row);
            all.push(columns.iter().enumerate().map(one).collect());
        }
    }
    all
}

/// All rows of a table by its first column.
pub fn rows(c: &mut dyn Connection, table: &str) -> Vec<Vec<Value>> {
    let columns = described(c, table).columns;
    let order = c.dialect().quote(&columns[0].name);
    let sql = format!("{} ORDER BY {order}", select(c, table, &columns));
    let batches = read(c, &sql, &[], &columns, LIMITS);
    values(&batches, &columns)
}

/// A batch of these rows.
pub fn batch(columns: &[Column], rows: &[Vec<Value>]) -> RecordBatch {
    let limits = BatchLimits { rows: rows.len() + 1, slot_bytes: 1 << 30 };
    let mut builder = BatchBuilder::new(columns, limits);
    let mut made = None;
    let mut emit = |b: ReadBatch| {
        made = Some(b.rows);
        Ok(())
    };
    for row in rows {
        for (i, value) in row.iter().enumerate() {
            match (columns[i].kind, value) {
                (_, Value::Null) => builder.null(i),
                (Kind::Any, v) => builder.bytes(i, &v.to_tagged().unwrap()),
                (Kind::Float32, Value::Float(v)) => builder.float32(i, *v as f32),
                (_, Value::Int(v) | Value::Time(v)) => builder.int(i, *v),
                (_, Value::UInt(v)) => builder.uint(i, *v),
                (_, Value::Float(v)) => builder.float64(i, *v),
                (_, Value::Text(t) | Value::Decimal(t)) => builder.text(i, t),
                (_, Value::Bytes(b)) => builder.bytes(i, b),
                (_, Value::Date(d) | Value::DateTime(d)) => builder.int(i, d.packed()),
            }
        }
        builder.end_row(&mut emit).unwrap();
    }
    builder.flush(&mut emit).unwrap();
    made.unwrap()
}

/// A plan to load all columns of a table that came as they are.
pub fn plan(c: &mut dyn Connection, table: &str, mode: WriteMode, key: &[&str]) -> LoadPlan {
    let columns = described(c, table).columns;
    LoadPlan {
        table: table.into(),
        kinds: columns.iter().map(|c| c.kind).collect(),
        columns,
        mode,
        key: key.iter().map(|k| (*k).to_owned()).collect(),
    }
}

/// Loads rows in a transaction of their own, rolled back when they fail.
pub fn load(c: &mut dyn Connection, plan: &LoadPlan, rows: &[Vec<Value>]) -> Result<Loaded> {
    let source: Vec<Column> = plan
        .columns
        .iter()
        .zip(&plan.kinds)
        .map(|(c, kind)| Column { kind: *kind, ..c.clone() })
        .collect();
    let batch = batch(&source, rows);
    c.begin()?;
    let done = c.load(plan, &batch, 0..rows.len());
    match done {
        Ok(_) => c.commit()?,
        Err(_) => c.rollback()?,
    }
    done
}

pub fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}
