//! Speaking: the dialect's words mean here what the protocol takes them to mean.

use std::time::{SystemTime, UNIX_EPOCH};

use ssync_common::connector::{Need, OwnType, Privilege, Statement};
use ssync_common::error::Kind as ErrorKind;
use ssync_common::value::Value;

use super::on_every_database;
use super::place::*;

on_every_database! {
    tables_of_our_own_hold_what_they_are_given,
    the_clock_is_the_time,
    a_locked_query_is_still_a_query,
    truncating_empties_the_table,
    a_table_like_another_takes_its_place,
    nothing_stands_against_a_fresh_database,
    a_statement_is_judged_without_being_run,
}

fn tables_of_our_own_hold_what_they_are_given(place: &Place) {
    let mut c = place.open();
    let d = c.dialect();
    let t = |t| d.own_type(t);
    run(
        &mut *c,
        &[&format!(
            "CREATE TABLE own (a {} NOT NULL, b {} NOT NULL, c {} NOT NULL, d {}, e {}, \
         PRIMARY KEY (a, b), UNIQUE (c)) {}",
            t(OwnType::Id),
            t(OwnType::BigInt),
            t(OwnType::Text(190)),
            t(OwnType::LongText),
            t(OwnType::LongBytes),
            d.table_options()
        )],
    );
    let long = "中".repeat(100_000);
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let rows = [
        vec![
            Value::Bytes(vec![0; 16]),
            Value::Int(i64::MIN),
            text("Name"),
            text(&long),
            Value::Null,
        ],
        vec![
            Value::Bytes(vec![255; 16]),
            Value::Int(i64::MAX),
            text("name"),
            Value::Null,
            Value::Bytes(bytes),
        ],
        vec![
            Value::Bytes(vec![32; 16]),
            Value::Int(0),
            text("näme"),
            text(""),
            Value::Bytes(vec![]),
        ],
        vec![
            Value::Bytes(b"0123456789abcde\0".to_vec()),
            Value::Int(0),
            text(&"é".repeat(190)),
            text("x"),
            Value::Bytes(vec![0]),
        ],
    ];
    for row in &rows {
        c.execute("INSERT INTO own VALUES (?, ?, ?, ?, ?)", row).unwrap();
    }
    for row in &rows {
        let found =
            c.query("SELECT a, b, c, d, e FROM own WHERE a = ? AND b = ?", &row[..2]).unwrap();
        let kept: Vec<Value> = row.iter().map(|v| place.kept(v.clone())).collect();
        assert_eq!(found, [kept]);
        let found = c.query("SELECT count(*) FROM own WHERE c = ?", &row[2..3]).unwrap();
        assert_eq!(found[0][0].as_i64(), Some(1), "names tell case and accents apart");
    }
    for twice in [
        [rows[0][0].clone(), rows[0][1].clone(), text("another")],
        [Value::Bytes(vec![7; 16]), Value::Int(7), rows[1][2].clone()],
    ] {
        let e = c.execute("INSERT INTO own (a, b, c) VALUES (?, ?, ?)", &twice).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Data);
    }
}

fn the_clock_is_the_time(place: &Place) {
    let mut c = place.open();
    let sql = c.dialect().select_expression(c.dialect().now_secs());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let before = now();
    let said = c.query(&sql, &[]).unwrap()[0][0].as_i64().unwrap();
    assert!((before - 1..=now() + 1).contains(&said));
}

fn a_locked_query_is_still_a_query(place: &Place) {
    let mut c =
        place.with(&["CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES (1)"]);
    for exclusive in [false, true] {
        let sql = c.dialect().lock("SELECT id FROM t WHERE id = 1", exclusive);
        c.begin().unwrap();
        assert_eq!(c.query(&sql, &[]).unwrap(), [[Value::Int(1)]]);
        c.commit().unwrap();
    }
}

fn truncating_empties_the_table(place: &Place) {
    let mut c = place
        .with(&["CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"]);
    let table = c.describe("t").unwrap().unwrap();
    let (Statement { sql, .. }, commits) = c.dialect().truncate(&table);
    if !commits {
        c.begin().unwrap();
        run(&mut *c, &[&sql]);
        c.rollback().unwrap();
        assert_eq!(count(&mut *c, "t"), 2);
    }
    run(&mut *c, &[&sql]);
    assert_eq!(count(&mut *c, "t"), 0);
}

fn a_table_like_another_takes_its_place(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, u VARCHAR(20), n INT NOT NULL DEFAULT 3)",
        "CREATE UNIQUE INDEX tu ON t (u)",
        "CREATE INDEX tn ON t (n, u)",
        "INSERT INTO t VALUES (1, 'old', 1)",
    ]);
    let before = described(&mut *c, "t");
    if place.is_oracle() {
        // Nothing puts one table in the place of another in one step there.
        let refused = c.dialect().swap("t_new", &before).unwrap_err();
        assert_eq!((refused.kind, refused.hint.is_some()), (ErrorKind::Refused, true));
        assert_eq!(c.dialect().create_like("t_new", &before).unwrap_err().kind, ErrorKind::Refused);
        return;
    }
    for round in 0..2 {
        // The second time an older one is in the way.
        for _ in 0..=round {
            for statement in c.dialect().create_like("t_new", &before).unwrap() {
                run(&mut *c, &[&statement.sql]);
            }
        }
        let shadow = described(&mut *c, "t_new");
        assert_eq!(shadow.columns, before.columns);
        run(
            &mut *c,
            &["INSERT INTO t_new VALUES (2, 'new', 2)", "INSERT INTO t_new (id) VALUES (3)"],
        );
        let twice = c.execute("INSERT INTO t_new VALUES (4, 'new', 2)", &[]).unwrap_err();
        assert_eq!(twice.kind, ErrorKind::Data, "unique indexes come along");
        assert_eq!(c.ready_to_swap("t_new", &before).unwrap(), Vec::<String>::new());
        c.begin().unwrap();
        for statement in c.dialect().swap("t_new", &before).unwrap() {
            run(&mut *c, &[&statement.sql]);
        }
        c.commit().unwrap();
        let old = c.dialect().swapped_out("t");
        assert_eq!(old.is_some(), c.dialect().ddl_commits());
        if let Some(old) = old {
            assert!(c.describe(&old).unwrap().is_some(), "the old table proves the swap");
        }
        let after = described(&mut *c, "t");
        assert_eq!((&after.columns, &after.indexes), (&before.columns, &before.indexes));
        assert_eq!(c.describe("t_new").unwrap(), None);
        let expected = [
            vec![Value::Int(2), text("new"), Value::Int(2)],
            vec![Value::Int(3), Value::Null, Value::Int(3)],
        ];
        assert_eq!(rows(&mut *c, "t"), expected);
    }
}

fn nothing_stands_against_a_fresh_database(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, sync_status INT NOT NULL DEFAULT 0)",
    ]);
    assert_eq!(c.durability_gap().unwrap(), None);
    assert_eq!(c.access_gaps("t", true, false).unwrap(), Vec::<String>::new());
    assert_eq!(c.access_gaps("t", false, true).unwrap(), Vec::<String>::new());
    use Privilege::{Alter, Create, Delete, Drop, Insert, Select, Update};
    let all = [Select, Insert, Update, Delete, Create, Drop, Alter];
    for table in ["t", "not_there_yet"] {
        assert_eq!(c.missing(&Need::all(&all, table)).unwrap(), []);
    }
    assert!(!c.server().is_empty());
}

fn a_statement_is_judged_without_being_run(place: &Place) {
    let mut c =
        place.with(&["CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES (1)"]);
    for (sql, is_taken) in [
        ("DELETE FROM t", true),
        ("UPDATE t SET id = id + 1 WHERE id > 0", true),
        ("INSERT INTO t SELECT id + 10 FROM t", true),
        ("DELETE FROM t WERE id = 1", false),
        ("DELETE FROM t WHERE no_column = 1", false),
        ("DELETE FROM no_table", false),
    ] {
        // Oracle cannot be asked.
        let Some(taken) = c.would_take(sql).unwrap() else { continue };
        assert_eq!(taken.is_ok(), is_taken, "{sql}: {taken:?}");
    }
    assert_eq!(c.query("SELECT id FROM t", &[]).unwrap(), [[Value::Int(1)]]);
}
