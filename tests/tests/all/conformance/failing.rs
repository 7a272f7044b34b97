//! Failing: each failure has its kind, tells no value, and leaves a usable connection.

use ssync_common::error::Kind as ErrorKind;
use ssync_common::value::Value;

use super::on_every_database;
use super::place::{Place, count, run};

on_every_database! {
    every_failure_has_its_kind,
    no_error_tells_a_value,
    wrong_use_is_an_internal_error,
}

fn every_failure_has_its_kind(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY)",
        "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL, p BIGINT, \
         FOREIGN KEY (p) REFERENCES p (id))",
        "INSERT INTO p VALUES (1)",
        "INSERT INTO t VALUES (1, 1, 1)",
    ]);
    for (sql, kind) in [
        ("INSERT INTO t VALUES (1, 2, 1)", ErrorKind::Data),
        ("INSERT INTO t VALUES (2, NULL, 1)", ErrorKind::Data),
        ("INSERT INTO t VALUES (3, 3, 99)", ErrorKind::Parent),
        ("INSERT INTO missing VALUES (1)", ErrorKind::Config),
        ("INSERT INTO t (missing) VALUES (1)", ErrorKind::Config),
        ("SELECT missing FROM t", ErrorKind::Config),
        ("SELEKT 1", ErrorKind::Database),
    ] {
        let e = c.execute(sql, &[]).unwrap_err();
        assert_eq!(e.kind, kind, "{sql}: {e:?}");
        assert!(!e.message.ends_with('.'), "{e:?}");
        assert!(
            e.message.starts_with(|c: char| !c.is_ascii_uppercase())
                || e.message.starts_with("NULL"),
            "{e:?}"
        );
    }
    assert_eq!(c.query("SELECT missing FROM t", &[]).unwrap_err().kind, ErrorKind::Config);
    assert_eq!(count(&mut *c, "t"), 1);
}

fn no_error_tells_a_value(place: &Place) {
    let mut c = place.with(&[
        "CREATE TABLE t (id VARCHAR(40) NOT NULL PRIMARY KEY, n INT NOT NULL, CHECK (n < 1000))",
    ]);
    let insert = "INSERT INTO t VALUES (?, ?)";
    let secret = || Value::Text("S3CRET-VALUE".to_owned());
    c.execute(insert, &[secret(), Value::Int(1)]).unwrap();
    for params in [[secret(), Value::Int(2)], [secret(), Value::Null]] {
        let e = c.execute(insert, &params).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Data);
        assert!(!format!("{e:?}").contains("S3CRET"), "{e:?}");
    }
    run(&mut *c, &["DELETE FROM t"]);
}

fn wrong_use_is_an_internal_error(place: &Place) {
    let mut c = place.with(&["CREATE TABLE t (id INT NOT NULL PRIMARY KEY)"]);
    let e = c.query("SELECT id FROM t WHERE id = ?", &[]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Internal, "{e:?}");
    let two = [Value::Int(1), Value::Int(2)];
    let e = c.query("SELECT id FROM t WHERE id = ?", &two).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Internal, "{e:?}");
}
