//! Transactions: all or nothing, and nobody sees the middle.

use ssync_common::connector::LockWait;
use ssync_common::error::Kind as ErrorKind;
use ssync_common::value::Value;

use super::on_every_database;
use super::place::{Place, count, run};

on_every_database! {
    what_is_rolled_back_was_never_there,
    what_is_not_committed_is_seen_by_nobody_else,
    a_statement_outside_is_a_transaction_of_its_own,
    a_transaction_dropped_with_its_connection_leaves_nothing,
    whoever_waits_too_long_is_told_so_and_may_try_again,
    locked_rows_are_passed_over_where_that_can_be,
    rolling_back_nothing_is_no_error,
    execute_counts_the_rows_it_changed,
    an_error_leaves_the_transaction_to_the_caller,
    a_snapshot_sees_one_moment_until_it_ends,
    snapshots_begun_while_changes_are_held_up_are_one,
}

const TABLE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v BIGINT)";

fn what_is_rolled_back_was_never_there(place: &Place) {
    let mut c = place.with(&[TABLE]);
    c.begin().unwrap();
    run(&mut *c, &["INSERT INTO t VALUES (1, 1)"]);
    assert_eq!(count(&mut *c, "t"), 1);
    c.rollback().unwrap();
    assert_eq!(count(&mut *c, "t"), 0);
    c.begin().unwrap();
    run(&mut *c, &["INSERT INTO t VALUES (2, 2)"]);
    c.commit().unwrap();
    c.rollback().unwrap();
    assert_eq!(count(&mut *c, "t"), 1);
}

fn what_is_not_committed_is_seen_by_nobody_else(place: &Place) {
    let mut c = place.with(&[TABLE]);
    let mut other = place.open();
    c.begin().unwrap();
    run(&mut *c, &["INSERT INTO t VALUES (1, 1)"]);
    assert_eq!(count(&mut *other, "t"), 0);
    c.commit().unwrap();
    assert_eq!(count(&mut *other, "t"), 1);
    // Each statement inside a transaction sees what was committed before it.
    if !place.is_sqlite() {
        other.begin().unwrap();
        assert_eq!(count(&mut *other, "t"), 1);
        run(&mut *c, &["INSERT INTO t VALUES (2, 2)"]);
        assert_eq!(count(&mut *other, "t"), 2);
        other.rollback().unwrap();
    }
}

fn a_statement_outside_is_a_transaction_of_its_own(place: &Place) {
    let mut c = place.with(&[TABLE]);
    run(&mut *c, &["INSERT INTO t VALUES (1, 1)"]);
    assert_eq!(count(&mut *place.open(), "t"), 1);
    c.rollback().unwrap();
    assert_eq!(count(&mut *c, "t"), 1);
}

fn a_transaction_dropped_with_its_connection_leaves_nothing(place: &Place) {
    let mut c = place.with(&[TABLE]);
    c.begin().unwrap();
    run(&mut *c, &["INSERT INTO t VALUES (1, 1)"]);
    drop(c);
    let mut c = place.open();
    // The server may still be busy with the end of the old session: its lock tells.
    c.set_lock_wait(LockWait::Patient).unwrap();
    run(&mut *c, &["INSERT INTO t VALUES (1, 2)"]);
    assert_eq!(c.query("SELECT v FROM t", &[]).unwrap(), [[Value::Int(2)]]);
}

fn whoever_waits_too_long_is_told_so_and_may_try_again(place: &Place) {
    let mut c = place.with(&[TABLE, "INSERT INTO t VALUES (1, 1)"]);
    let mut other = place.open();
    other.set_lock_wait(LockWait::Short).unwrap();
    let lock = c.dialect().lock("SELECT v FROM t WHERE id = 1", true);
    c.begin().unwrap();
    c.query(&lock, &[]).unwrap();
    // The other goes on only afterwards: whoever has an answer has not waited for it.
    let blocked = other
        .begin()
        .and_then(|()| other.execute("UPDATE t SET v = 2 WHERE id = 1", &[]).map(|_| ()));
    assert_eq!(blocked.unwrap_err().kind, ErrorKind::Contention);
    other.rollback().unwrap();
    c.rollback().unwrap();
    other.begin().unwrap();
    assert_eq!(other.execute("UPDATE t SET v = 3 WHERE id = 1", &[]).unwrap(), 1);
    other.commit().unwrap();
}

/// Those that are free come, and are locked; none is waited for.
fn locked_rows_are_passed_over_where_that_can_be(place: &Place) {
    let rows =
        ["(1, 1)", "(2, 1)", "(3, 0)", "(4, 1)"].map(|r| format!("INSERT INTO t VALUES {r}"));
    let mut c = place.with(&[TABLE]);
    run(&mut *c, &rows.each_ref().map(String::as_str));
    let mut other = place.open();
    other.set_lock_wait(LockWait::Short).unwrap();
    let Some(sql) = other.skipping_locked("SELECT id FROM t WHERE v = 1 ORDER BY id", 10) else {
        return;
    };
    c.begin().unwrap();
    run(&mut *c, &["UPDATE t SET v = 1 WHERE id = 2"]);
    other.begin().unwrap();
    let free = other.query(&sql, &[]).unwrap();
    assert_eq!(free.iter().map(|r| r[0].as_i64()).collect::<Vec<_>>(), [Some(1), Some(4)]);
    // They are ours now.
    c.set_lock_wait(LockWait::Short).unwrap();
    let taken = c.execute("UPDATE t SET v = 2 WHERE id = 4", &[]);
    assert_eq!(taken.unwrap_err().kind, ErrorKind::Contention);
    other.rollback().unwrap();
    c.rollback().unwrap();
}

fn rolling_back_nothing_is_no_error(place: &Place) {
    let mut c = place.open();
    c.rollback().unwrap();
    c.rollback().unwrap();
    c.begin().unwrap();
    assert_eq!(c.begin().unwrap_err().kind, ErrorKind::Internal);
    c.commit().unwrap();
}

fn execute_counts_the_rows_it_changed(place: &Place) {
    let mut c = place.with(&[TABLE]);
    assert_eq!(c.execute("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)", &[]).unwrap(), 3);
    let update = "UPDATE t SET v = v + ? WHERE id >= ?";
    assert_eq!(c.execute(update, &[Value::Int(5), Value::Int(2)]).unwrap(), 2);
    assert_eq!(c.execute("DELETE FROM t WHERE id = 99", &[]).unwrap(), 0);
    assert_eq!(c.execute("DELETE FROM t", &[]).unwrap(), 3);
    assert_eq!(c.execute("CREATE TABLE u (a INT)", &[]).unwrap(), 0);
    let long = "INSERT INTO t VALUES (?, NULL)";
    for id in 0..100 {
        assert_eq!(c.execute(long, &[Value::Int(id)]).unwrap(), 1);
    }
}

fn an_error_leaves_the_transaction_to_the_caller(place: &Place) {
    let mut c = place.with(&[TABLE]);
    c.begin().unwrap();
    run(&mut *c, &["INSERT INTO t VALUES (1, 1)"]);
    assert_eq!(c.execute("INSERT INTO t VALUES (1, 2)", &[]).unwrap_err().kind, ErrorKind::Data);
    run(&mut *c, &["INSERT INTO t VALUES (2, 2)"]);
    c.rollback().unwrap();
    assert_eq!(count(&mut *c, "t"), 0);
}

fn a_snapshot_sees_one_moment_until_it_ends(place: &Place) {
    let mut c = place.with(&[TABLE, "CREATE TABLE u (id BIGINT)", "INSERT INTO t VALUES (1, 1)"]);
    let mut reader = place.open();
    assert!(reader.begin_snapshot().unwrap());
    run(&mut *c, &["INSERT INTO t VALUES (2, 2)", "INSERT INTO u VALUES (2)"]);
    // Also of what is read for the first time.
    assert_eq!((count(&mut *reader, "t"), count(&mut *reader, "u")), (1, 0));
    assert!(!reader.may_be_reused());
    assert_eq!(reader.begin_snapshot().unwrap_err().kind, ErrorKind::Internal);
    reader.rollback().unwrap();
    assert_eq!((count(&mut *reader, "t"), count(&mut *reader, "u")), (2, 1));
    // What follows is as ever.
    reader.begin().unwrap();
    run(&mut *reader, &["INSERT INTO u VALUES (3)"]);
    reader.commit().unwrap();
    assert_eq!(count(&mut *c, "u"), 2);
}

fn snapshots_begun_while_changes_are_held_up_are_one(place: &Place) {
    let mut c = place.with(&[TABLE, "CREATE TABLE u (id BIGINT)", "INSERT INTO t VALUES (1, 1)"]);
    let mut holder = place.open();
    let tables = ["t".to_owned(), "u".to_owned()];
    // Changes that are under way are waited for, and not for long.
    c.begin().unwrap();
    run(&mut *c, &["UPDATE t SET v = 2 WHERE id = 1"]);
    let error = holder.hold_changes(&tables).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Contention, "{error:?}");
    // It has its answer while they are still under way.
    c.commit().unwrap();
    holder.hold_changes(&tables).unwrap();
    let mut readers = [place.open(), place.open()];
    assert!(readers[0].begin_snapshot().unwrap());
    c.set_lock_wait(LockWait::Short).unwrap();
    let held = c.execute("UPDATE t SET v = 3 WHERE id = 1", &[]).unwrap_err();
    assert_eq!(held.kind, ErrorKind::Contention);
    assert!(readers[1].begin_snapshot().unwrap());
    holder.let_changes().unwrap();
    run(&mut *c, &["UPDATE t SET v = 3 WHERE id = 1"]);
    for reader in &mut readers {
        let seen = reader.query("SELECT v FROM t", &[]).unwrap();
        assert_eq!(seen[0][0].as_i64(), Some(2));
    }
    // The holder is as it was: each statement is its own transaction.
    run(&mut *holder, &["INSERT INTO u VALUES (1)"]);
    assert_eq!(count(&mut *c, "u"), 1);
}
