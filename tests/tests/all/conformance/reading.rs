//! Reading: every row once, in order, in batches that keep their limits.

use ssync_common::batch::{BatchBuilder, BatchLimits, encode};
use ssync_common::error::{Error, Kind as ErrorKind};
use ssync_common::value::Value;

use super::on_every_database;
use super::place::*;

on_every_database! {
    no_row_one_row_and_many_are_read_in_order,
    batches_keep_their_limits_of_rows_and_bytes,
    a_row_wider_than_a_slot_comes_alone,
    null_is_null_and_empty_is_empty,
    a_receiver_that_fails_stops_the_reading_and_leaves_the_connection_usable,
    a_query_takes_parameters_and_a_limit,
}

const TABLE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(200))";

fn fill(place: &Place, rows: i64) -> Box<dyn ssync_common::connector::Connection> {
    let mut c = place.with(&[TABLE]);
    let plan = plan(&mut *c, "t", Default::default(), &[]);
    let data: Vec<_> = (0..rows).map(|i| vec![Value::Int(i), text(&format!("row {i}"))]).collect();
    if rows > 0 {
        load(&mut *c, &plan, &data).unwrap();
    }
    c
}

fn no_row_one_row_and_many_are_read_in_order(place: &Place) {
    let mut c = place.with(&[TABLE]);
    for n in [0, 1, 2, 999, 1000, 1001, 3500] {
        run(&mut *c, &["DROP TABLE t"]);
        c = fill(place, n);
        let all = rows(&mut *c, "t");
        assert_eq!(all.len() as i64, n);
        for (i, row) in all.iter().enumerate() {
            assert_eq!(row, &[Value::Int(i as i64), text(&format!("row {i}"))]);
        }
    }
}

fn batches_keep_their_limits_of_rows_and_bytes(place: &Place) {
    let mut c = fill(place, 500);
    let columns = described(&mut *c, "t").columns;
    let sql = format!("{} ORDER BY id", select(&*c, "t", &columns));
    let by_rows = BatchLimits { rows: 70, slot_bytes: 1 << 20 };
    let sizes: Vec<usize> =
        read(&mut *c, &sql, &[], &columns, by_rows).iter().map(|b| b.rows.num_rows()).collect();
    assert_eq!(sizes, [70, 70, 70, 70, 70, 70, 70, 10]);
    let by_bytes = BatchLimits { rows: 10_000, slot_bytes: 8 << 10 };
    let batches = read(&mut *c, &sql, &[], &columns, by_bytes);
    assert!(batches.len() > 1);
    let mut slot = vec![0; by_bytes.slot_bytes];
    for batch in &batches {
        encode(&batch.rows, &mut slot).unwrap();
    }
    assert_eq!(values(&batches, &columns).len(), 500);
}

fn a_row_wider_than_a_slot_comes_alone(place: &Place) {
    let mut c = place.with(&[&format!(
        "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v {}, w {})",
        place.say("TEXT", "LONGTEXT"),
        place.say("BLOB", "LONGBLOB"),
    )]);
    let wide = "é".repeat(1 << 20);
    let bytes: Vec<u8> = (0..3 << 20).map(|i| (i % 251) as u8).collect();
    let data: Vec<_> = [1, 2, 3, 4]
        .map(|i| match i % 2 {
            0 => vec![Value::Int(i), text(&wide), Value::Bytes(bytes.clone())],
            _ => vec![Value::Int(i), text("narrow"), Value::Bytes(vec![0])],
        })
        .into();
    let plan = plan(&mut *c, "t", Default::default(), &[]);
    load(&mut *c, &plan, &data).unwrap();
    let columns = described(&mut *c, "t").columns;
    let sql = format!("{} ORDER BY id", select(&*c, "t", &columns));
    let limits = BatchLimits { rows: 100, slot_bytes: 64 << 10 };
    let batches = read(&mut *c, &sql, &[], &columns, limits);
    assert_eq!(batches.iter().map(|b| b.rows.num_rows()).collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert_eq!(values(&batches, &columns), data);
}

fn null_is_null_and_empty_is_empty(place: &Place) {
    let mut c = place.with(&[&format!(
        "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, i INT, s VARCHAR(9), b {}, r {})",
        place.say("BLOB", "VARBINARY(9)"),
        place.say("REAL", "DOUBLE"),
    )]);
    let data = vec![
        vec![Value::Int(1), Value::Null, Value::Null, Value::Null, Value::Null],
        vec![
            Value::Int(2),
            Value::Int(0),
            place.kept(text("")),
            place.kept(Value::Bytes(vec![])),
            Value::Float(0.0),
        ],
        vec![Value::Int(3), Value::Null, text("NULL"), Value::Bytes(b"\\N".to_vec()), Value::Null],
    ];
    let plan = plan(&mut *c, "t", Default::default(), &[]);
    load(&mut *c, &plan, &data).unwrap();
    assert_eq!(rows(&mut *c, "t"), data);
}

fn a_receiver_that_fails_stops_the_reading_and_leaves_the_connection_usable(place: &Place) {
    let mut c = fill(place, 3000);
    let columns = described(&mut *c, "t").columns;
    let sql = select(&*c, "t", &columns);
    let mut builder = BatchBuilder::new(&columns, BatchLimits { rows: 100, slot_bytes: 1 << 20 });
    let mut taken = 0;
    let stopped = c.read(&sql, &[], &columns, &mut builder, &mut |_| {
        taken += 1;
        if taken < 3 { Ok(()) } else { Err(Error::new(ErrorKind::Interrupted, "enough")) }
    });
    assert_eq!(stopped.unwrap_err().kind, ErrorKind::Interrupted);
    assert_eq!(taken, 3);
    assert_eq!(count(&mut *c, "t"), 3000);
    run(&mut *c, &["DELETE FROM t"]);
}

fn a_query_takes_parameters_and_a_limit(place: &Place) {
    let mut c = fill(place, 50);
    let columns = described(&mut *c, "t").columns;
    let d = c.dialect();
    let sql = format!(
        "{} WHERE id > {} AND id < {} ORDER BY id",
        select(&*c, "t", &columns),
        d.param(1, Some(&columns[0])),
        d.param(2, Some(&columns[0]))
    );
    let params = [Value::Int(10), Value::Int(40)];
    let batches = read(&mut *c, &d.limit(&sql, 7), &params, &columns, LIMITS);
    let ids: Vec<i64> = values(&batches, &columns).iter().map(|r| r[0].as_i64().unwrap()).collect();
    assert_eq!(ids, [11, 12, 13, 14, 15, 16, 17]);
    for (n, id) in [(1, Some(11)), (7, Some(17)), (29, Some(39)), (30, None)] {
        let found = c.query(&d.nth(&sql, n), &params).unwrap();
        assert_eq!(found.first().and_then(|row| row[0].as_i64()), id, "row {n}");
        assert!(found.len() <= 1);
    }
    let found = c.query(&d.limit("SELECT v FROM t WHERE id = ?", 5), &[Value::Int(3)]).unwrap();
    assert_eq!(found, [[text("row 3")]]);
}
