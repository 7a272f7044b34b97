//! Random values through the connector: whatever goes in comes out of the server the same.

use std::cell::RefCell;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use mysql::prelude::Queryable;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ssync_common::batch::value_at;
use ssync_common::connector::{WriteMode, open};
use ssync_common::schema::{self, Kind};
use ssync_common::value::{DateTime, Value};
use ssync_tests::servers::Software;

use crate::mysql_support::*;

#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    single: f32,
    double: f64,
    moment: (u16, u8, u8, u8, u8, u8, u32),
    time: i64,
}

/// Characters that matter to LOAD DATA, and any others.
fn text() -> impl Strategy<Value = String> {
    let special = prop_oneof![
        Just("\\"),
        Just("\\N"),
        Just("\t"),
        Just("\n"),
        Just("\r\n"),
        Just("\0"),
        Just("'"),
        Just("\""),
        Just("N"),
        Just("NULL"),
        Just(" "),
        Just("\u{1a}"),
        Just("é"),
        Just("\u{1F600}"),
    ];
    let part = prop_oneof![special.prop_map(str::to_owned), ".{0,4}"];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn row() -> impl Strategy<Value = Row> {
    let finite32 = any::<f32>().prop_filter("finite", |v| v.is_finite());
    let finite64 = any::<f64>().prop_filter("finite", |v| v.is_finite());
    let moment = (0u16..=9999, 0u8..=12, 0u8..=31, 0u8..24, 0u8..60, 0u8..60, 0u32..1_000_000);
    (
        proptest::option::of(text()),
        proptest::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        finite32,
        finite64,
        moment,
        -3_020_399_000_000i64..=3_020_399_000_000,
    )
        .prop_map(|(text, bytes, single, double, moment, time)| Row {
            text,
            bytes,
            single,
            double,
            moment,
            time,
        })
}

#[test]
fn random_rows_are_stored_as_given() {
    on_every_server("random", |db| {
        db.run(&["CREATE TABLE t (id int PRIMARY KEY, s longtext, b longblob, f float, \
                  d double, m datetime(6), h time(6)) CHARACTER SET utf8mb4 ENGINE=InnoDB"]);
        let mut conn = open(&db.link()).unwrap();
        let columns = described(conn.as_mut(), "t").columns;
        let kinds = [
            Kind::Int,
            Kind::Text,
            Kind::Bytes,
            Kind::Float32,
            Kind::Float64,
            Kind::DateTime,
            Kind::Time,
        ];
        assert!(columns.iter().map(|c| c.kind).eq(kinds));
        let plan = plan(&described(conn.as_mut(), "t"), &columns, WriteMode::Insert);
        let mut plain = db.connect();
        plain.query_drop("SET NAMES utf8mb4").unwrap();
        let software = db.server().software();
        let (conn, plain) = (RefCell::new(conn), RefCell::new(plain));
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        // Few rows go by INSERT, many by LOAD DATA, where the server has it.
        let few_or_many = prop_oneof![
            prop::collection::vec(row(), 1..40),
            prop::collection::vec(row(), 50..120),
        ];
        let done = runner.run(&few_or_many, |rows| {
            let batch = batch_of(&columns, &rows);
            let (mut conn, mut plain) = (conn.borrow_mut(), plain.borrow_mut());
            // A case that failed before may have left something.
            conn.rollback().unwrap();
            conn.execute("DELETE FROM t", &[]).unwrap();
            conn.begin().unwrap();
            conn.load(&plan, &batch, 0..batch.num_rows())
                .map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            conn.commit().unwrap();
            // Read through the connector: what it read is what was given.
            let (read, bad) = read_columns(conn.as_mut(), "t", &columns);
            prop_assert!(bad.is_empty());
            for (i, kind) in kinds.iter().enumerate() {
                for row in 0..batch.num_rows() {
                    let given = kept(software, value_at(&batch, i, *kind, row));
                    let got = value_at(&read[0], i, *kind, row);
                    // Bits, not numbers: -0 is not 0.
                    prop_assert_eq!(format!("{given:?}"), format!("{got:?}"));
                }
            }
            // And as the server itself shows it.
            let shown: Vec<Shown> = plain
                .query("SELECT s, b, CAST(m AS CHAR), CAST(h AS CHAR) FROM t ORDER BY id")
                .unwrap();
            for (row, (s, b, m, h)) in rows.iter().zip(shown) {
                prop_assert_eq!(row.text.as_deref().map(str::as_bytes), s.as_deref());
                prop_assert_eq!(&row.bytes, &b);
                prop_assert_eq!(moment(row).text(6), m);
                prop_assert_eq!(ssync_common::value::time_text(row.time, 6), h);
            }
            Ok(())
        });
        if let Err(e) = done {
            panic!("{:?}: {e}", db.server().software());
        }
    });
}

type Shown = (Option<Vec<u8>>, Option<Vec<u8>>, String, String);

/// MariaDB has no negative zero.
fn kept(software: Software, given: Value) -> Value {
    match given {
        Value::Float(v) if v == 0.0 && software == Software::MariaDb => Value::Float(0.0),
        other => other,
    }
}

fn moment(row: &Row) -> DateTime {
    let (y, mo, d, h, mi, s, us) = row.moment;
    DateTime::new(y, mo, d, h, mi, s, us).unwrap()
}

fn batch_of(columns: &[schema::Column], rows: &[Row]) -> RecordBatch {
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.text.as_deref()))),
        Arc::new(BinaryArray::from_iter(rows.iter().map(|r| r.bytes.as_deref()))),
        Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.single))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.double))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| moment(r).packed()))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.time))),
    ];
    RecordBatch::try_new(Arc::new(schema::arrow_schema(columns)), arrays).unwrap()
}
