//! Landing: every write mode, exact counts, and a transaction that fails leaves nothing.

use ssync_common::connector::{Loaded, WriteMode};
use ssync_common::error::Kind as ErrorKind;
use ssync_common::value::Value;

use super::on_every_database;
use super::place::*;

on_every_database! {
    insert_refuses_rows_that_are_there,
    upsert_changes_the_transferred_columns_alone,
    replace_makes_new_rows_of_old_ones,
    ignore_leaves_old_rows_alone_and_counts_them,
    modes_hold_within_one_batch_and_for_keys_of_several_columns,
    a_table_of_keys_alone_is_written_in_every_mode,
    only_the_range_asked_for_lands_and_further_columns_are_left_out,
    a_batch_of_thousands_lands_whole,
    a_row_that_does_not_fit_names_its_column_and_lands_nothing,
}

const TABLE: &str =
    "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, a VARCHAR(40), b BIGINT DEFAULT 7)";

fn row(id: i64, a: &str, b: i64) -> Vec<Value> {
    vec![Value::Int(id), text(a), Value::Int(b)]
}

fn insert_refuses_rows_that_are_there(place: &Place) {
    let mut c = place.with(&[TABLE]);
    let plan = plan(&mut *c, "t", WriteMode::Insert, &[]);
    let first = [row(1, "one", 1), row(2, "two", 2)];
    assert_eq!(load(&mut *c, &plan, &first).unwrap(), Loaded { rows: 2, skipped: 0 });
    let again = [row(3, "three", 3), row(2, "TWO", 0)];
    let e = load(&mut *c, &plan, &again).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Data);
    assert!(!format!("{e:?}").contains("TWO"));
    assert_eq!(rows(&mut *c, "t"), first);
}

fn upsert_changes_the_transferred_columns_alone(place: &Place) {
    let mut c = place.with(&[TABLE, "INSERT INTO t VALUES (1, 'old', 100), (2, 'same', 200)"]);
    let mut plan = plan(&mut *c, "t", WriteMode::Upsert, &["id"]);
    plan.columns.truncate(2);
    plan.kinds.truncate(2);
    let data = [
        vec![Value::Int(1), text("new")],
        vec![Value::Int(2), text("same")],
        vec![Value::Int(3), Value::Null],
    ];
    assert_eq!(load(&mut *c, &plan, &data).unwrap(), Loaded { rows: 3, skipped: 0 });
    let expected =
        [row(1, "new", 100), row(2, "same", 200), vec![Value::Int(3), Value::Null, Value::Int(7)]];
    assert_eq!(rows(&mut *c, "t"), expected);
}

fn replace_makes_new_rows_of_old_ones(place: &Place) {
    let mut c = place.with(&[TABLE, "INSERT INTO t VALUES (1, 'old', 100), (2, 'kept', 200)"]);
    let mut plan = plan(&mut *c, "t", WriteMode::Replace, &["id"]);
    plan.columns.truncate(2);
    plan.kinds.truncate(2);
    let data = [vec![Value::Int(1), text("new")], vec![Value::Int(3), text("three")]];
    assert_eq!(load(&mut *c, &plan, &data).unwrap(), Loaded { rows: 2, skipped: 0 });
    assert_eq!(rows(&mut *c, "t"), [row(1, "new", 7), row(2, "kept", 200), row(3, "three", 7)]);
}

fn ignore_leaves_old_rows_alone_and_counts_them(place: &Place) {
    let mut c = place.with(&[TABLE, "INSERT INTO t VALUES (1, 'old', 100)"]);
    let plan = plan(&mut *c, "t", WriteMode::Ignore, &["id"]);
    let data = [row(1, "new", 1), row(2, "two", 2), row(3, "three", 3)];
    assert_eq!(load(&mut *c, &plan, &data).unwrap(), Loaded { rows: 2, skipped: 1 });
    assert_eq!(load(&mut *c, &plan, &data).unwrap(), Loaded { rows: 0, skipped: 3 });
    assert_eq!(rows(&mut *c, "t"), [row(1, "old", 100), row(2, "two", 2), row(3, "three", 3)]);
}

fn modes_hold_within_one_batch_and_for_keys_of_several_columns(place: &Place) {
    for (mode, last, counts) in [
        (WriteMode::Upsert, "second", Loaded { rows: 3, skipped: 0 }),
        (WriteMode::Replace, "second", Loaded { rows: 3, skipped: 0 }),
        (WriteMode::Ignore, "first", Loaded { rows: 2, skipped: 1 }),
    ] {
        let mut c = place.with(&[
            "CREATE TABLE k (region VARCHAR(9) NOT NULL, id BIGINT NOT NULL, v VARCHAR(9), \
             PRIMARY KEY (region, id))",
        ]);
        let plan = plan(&mut *c, "k", mode, &["region", "id"]);
        let row = |r: &str, id, v: &str| vec![text(r), Value::Int(id), text(v)];
        let data = [row("n", 1, "first"), row("s", 1, "other"), row("n", 1, "second")];
        assert_eq!(load(&mut *c, &plan, &data).unwrap(), counts, "{mode:?}");
        assert_eq!(rows(&mut *c, "k"), [row("n", 1, last), row("s", 1, "other")], "{mode:?}");
        run(&mut *c, &["DROP TABLE k"]);
    }
}

fn a_table_of_keys_alone_is_written_in_every_mode(place: &Place) {
    let mut c = place.with(&["CREATE TABLE k (id BIGINT NOT NULL PRIMARY KEY)"]);
    for mode in [WriteMode::Upsert, WriteMode::Replace, WriteMode::Ignore] {
        run(&mut *c, &["DELETE FROM k", "INSERT INTO k VALUES (1)"]);
        let plan = plan(&mut *c, "k", mode, &["id"]);
        let data = [vec![Value::Int(1)], vec![Value::Int(2)]];
        let skipped = u64::from(mode == WriteMode::Ignore);
        let loaded = load(&mut *c, &plan, &data).unwrap();
        assert_eq!(loaded, Loaded { rows: 2 - skipped, skipped }, "{mode:?}");
        assert_eq!(rows(&mut *c, "k"), data);
    }
}

fn only_the_range_asked_for_lands_and_further_columns_are_left_out(place: &Place) {
    let mut c = place.with(&[TABLE]);
    let mut plan = plan(&mut *c, "t", WriteMode::Insert, &[]);
    let data: Vec<_> = (0..10).map(|i| row(i, "x", i)).collect();
    let whole = batch(&plan.columns, &data);
    plan.columns.truncate(2);
    plan.kinds.truncate(2);
    c.begin().unwrap();
    assert_eq!(c.load(&plan, &whole, 4..4).unwrap(), Loaded::default());
    assert_eq!(c.load(&plan, &whole, 3..5).unwrap(), Loaded { rows: 2, skipped: 0 });
    assert_eq!(c.load(&plan, &whole.slice(8, 2), 1..2).unwrap(), Loaded { rows: 1, skipped: 0 });
    c.commit().unwrap();
    assert_eq!(rows(&mut *c, "t"), [row(3, "x", 7), row(4, "x", 7), row(9, "x", 7)]);
}

fn a_batch_of_thousands_lands_whole(place: &Place) {
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Replace, WriteMode::Ignore] {
        let mut c = place.with(&[TABLE]);
        let plan = plan(&mut *c, "t", mode, &["id"]);
        let odd =
            ["plain", "tab\there", "line\nbreak", "back\\slash", "quote'\"", "é中😀", "\\N", ""];
        // Empty text is a bad row to Oracle.
        let odd = if place.is_oracle() { &odd[..odd.len() - 1] } else { &odd[..] };
        let data: Vec<_> = (0..12_345)
            .map(|i| match i % 7 {
                0 => vec![Value::Int(i), Value::Null, Value::Null],
                _ => row(i, odd[i as usize % odd.len()], -i),
            })
            .collect();
        assert_eq!(load(&mut *c, &plan, &data).unwrap().rows, 12_345, "{mode:?}");
        assert_eq!(rows(&mut *c, "t"), data, "{mode:?}");
        run(&mut *c, &["DROP TABLE t"]);
    }
}

fn a_row_that_does_not_fit_names_its_column_and_lands_nothing(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY)",
        "INSERT INTO p VALUES (1)",
        &format!(
            "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, nn VARCHAR(20) NOT NULL, n {}, p BIGINT, \
             FOREIGN KEY (p) REFERENCES p (id))",
            place.say("INTEGER", "TINYINT")
        ),
    ]);
    let mut plan = plan(&mut *c, "t", WriteMode::Insert, &["id"]);
    // Text for the number, so that both databases have something to refuse.
    plan.kinds[2] = ssync_common::schema::Kind::Text;
    let fits = vec![Value::Int(1), text("x"), text("5"), Value::Int(1)];
    for (bad, kind, column) in [
        (vec![Value::Int(2), Value::Null, text("5"), Value::Int(1)], ErrorKind::Data, Some("nn")),
        (vec![Value::Int(2), text("x"), text("S3CRET"), Value::Int(1)], ErrorKind::Data, Some("n")),
        (vec![Value::Int(2), text("x"), text("5"), Value::Int(99)], ErrorKind::Parent, None),
        (fits.clone(), ErrorKind::Data, None),
    ] {
        for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Ignore] {
            if bad == fits && mode != WriteMode::Insert {
                continue;
            }
            plan.mode = mode;
            let e = load(&mut *c, &plan, &[fits.clone(), bad.clone()]).unwrap_err();
            assert_eq!(e.kind, kind, "{mode:?} {e:?}");
            if let Some(column) = column {
                assert_eq!(e.column, Some(place.name(column)), "{mode:?} {e:?}");
            }
            assert!(!format!("{e:?}").contains("S3CRET"), "{e:?}");
            assert_eq!(count(&mut *c, "t"), 0, "{mode:?}");
        }
    }
    plan.mode = WriteMode::Insert;
    assert_eq!(load(&mut *c, &plan, &[fits]).unwrap().rows, 1);
}
