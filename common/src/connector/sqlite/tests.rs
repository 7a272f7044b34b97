//! What is SQLite's own; what every connector must do is in the conformance suite.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::super::{TlsMode, WriteMode};
use super::*;
use crate::batch::{BatchLimits, ReadBatch};

fn link(url: String) -> LinkParams {
    LinkParams {
        name: "test".into(),
        url,
        password: None,
        tls: TlsMode::Off,
        tls_ca_file: None,
        oracle: Default::default(),
        connect_timeout: Duration::from_secs(5),
        io_timeout: Duration::from_secs(5),
    }
}

fn open_new(dir: &Path) -> Box<dyn Connection> {
    open(&link(format!("sqlite://{}/a.db?create=true", dir.display()))).unwrap()
}

fn run(c: &mut dyn Connection, sql: &str) {
    c.execute(sql, &[]).unwrap();
}

fn read_all(c: &mut dyn Connection, table: &str) -> Vec<ReadBatch> {
    let columns = c.describe(table).unwrap().unwrap().columns;
    let mut builder = BatchBuilder::new(&columns, BatchLimits { rows: 100, slot_bytes: 1 << 20 });
    let mut batches = Vec::new();
    c.read(&format!("SELECT * FROM {table}"), &[], &columns, &mut builder, &mut |b| {
        batches.push(b);
        Ok(())
    })
    .unwrap();
    batches
}

fn plan_for(c: &mut dyn Connection, table: &str) -> LoadPlan {
    let columns = c.describe(table).unwrap().unwrap().columns;
    let kinds = columns.iter().map(|c| c.kind).collect();
    LoadPlan { table: table.into(), columns, kinds, mode: WriteMode::Insert, key: Vec::new() }
}

#[test]
fn a_missing_file_is_a_typo_unless_it_is_to_be_created() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/none.db", dir.path().display());
    assert_eq!(open(&link(url.clone())).err().unwrap().kind, ErrorKind::Config);
    assert!(!dir.path().join("none.db").exists());
    open(&link(url + "?create=true")).unwrap();
    let mode = std::fs::metadata(dir.path().join("none.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let url = format!("sqlite://{}/no/dir.db?create=true", dir.path().display());
    assert!(open(&link(url)).is_err());
}

#[test]
fn what_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text.db");
    std::fs::write(
        &file,
        "not a database, and long enough to have a header of its own ".repeat(40),
    )
    .unwrap();
    let e = open(&link(format!("sqlite://{}", file.display()))).err().unwrap();
    assert_eq!(e.kind, ErrorKind::Database);
    assert!(e.details.iter().any(|d| d.contains("text.db")), "{e:?}");
    assert_eq!(
        open(&link(format!("sqlite://{}", dir.path().display()))).err().unwrap().kind,
        ErrorKind::Config
    );
}

#[test]
fn a_database_in_utf16_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wide.db");
    let db = Database::open(&file).unwrap();
    db.execute_batch("PRAGMA encoding='UTF-16le'; CREATE TABLE t (a)").unwrap();
    drop(db);
    let e = open(&link(format!("sqlite://{}", file.display()))).err().unwrap();
    assert_eq!(e.kind, ErrorKind::Refused);
}

#[test]
fn many_may_open_and_switch_a_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a.db?create=true", dir.path().display());
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || {
                let mut c = open(&link(url)).unwrap();
                run(&mut *c, "CREATE TABLE IF NOT EXISTS t (a INTEGER)");
                run(&mut *c, "INSERT INTO t VALUES (1)");
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let mut c = open(&link(url)).unwrap();
    assert_eq!(c.query("SELECT count(*) FROM t", &[]).unwrap(), [[Value::Int(12)]]);
}

/// Source and destination in one file, and whoever takes a batch waits until a writer on another
/// connection has committed it: with one batch and with many.
#[test]
fn reading_never_keeps_a_writer_of_the_same_file_waiting() {
    for rows in [50, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let mut source = open_new(dir.path());
        run(&mut *source, "CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT)");
        run(&mut *source, "CREATE TABLE b (id INTEGER PRIMARY KEY, t TEXT)");
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
            INSERT INTO a SELECT i, 'row ' || i FROM n";
        assert_eq!(source.execute(fill, &[Value::Int(rows)]).unwrap(), rows as u64);

        let mut dest = open_new(dir.path());
        dest.set_lock_wait(LockWait::Short).unwrap();
        let plan = plan_for(&mut *dest, "b");
        let (to_writer, batches) = mpsc::sync_channel::<ReadBatch>(0);
        let (landed, verdicts) = mpsc::channel();
        let writer = std::thread::spawn(move || {
            for batch in batches {
                dest.begin().unwrap();
                dest.load(&plan, &batch.rows, 0..batch.rows.num_rows()).unwrap();
                dest.commit().unwrap();
                landed.send(()).unwrap();
            }
        });
        let columns = source.describe("a").unwrap().unwrap().columns;
        let limits = BatchLimits { rows: 100, slot_bytes: 1 << 20 };
        let mut builder = BatchBuilder::new(&columns, limits);
        let sql = "SELECT id, t FROM a ORDER BY id";
        let read = source.read(sql, &[], &columns, &mut builder, &mut |b| {
            to_writer.send(b).unwrap();
            verdicts.recv().unwrap();
            Ok(())
        });
        assert_eq!(read.unwrap(), rows as u64);
        drop(to_writer);
        writer.join().unwrap();
        let differ = "SELECT count(*) FROM (SELECT * FROM a EXCEPT SELECT * FROM b)";
        assert_eq!(source.query(differ, &[]).unwrap(), [[Value::Int(0)]]);
        assert_eq!(source.query("SELECT count(*) FROM b", &[]).unwrap(), [[Value::Int(rows)]]);
    }
}

#[test]
fn a_batch_is_held_back_until_its_statement_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = open_new(dir.path());
    run(&mut *source, "CREATE TABLE a (id INTEGER PRIMARY KEY)");
    run(&mut *source, "INSERT INTO a VALUES (1), (2), (3)");
    let other = open_new(dir.path());
    drop(other);
    let columns = source.describe("a").unwrap().unwrap().columns;
    let mut builder = BatchBuilder::new(&columns, BatchLimits { rows: 3, slot_bytes: 1 << 20 });
    let file = dir.path().join("a.db");
    source
        .read("SELECT id FROM a", &[], &columns, &mut builder, &mut |_| {
            // Only with no snapshot held can the log be emptied completely.
            let db = Database::open(&file).unwrap();
            db.execute_batch("INSERT INTO a VALUES (9)").unwrap();
            let busy: i64 =
                db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0)).unwrap();
            assert_eq!(busy, 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_value_of_another_type_than_its_column_is_a_bad_value() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE t (i INTEGER, t TEXT, b BLOB, r REAL, n DECIMAL(8,2), x)");
    run(&mut *c, "INSERT INTO t VALUES ('abc', x'00', 'text', 'nan', 'any', 1.5)");
    run(&mut *c, "INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT), x'00', 1, 2, CAST(x'fe' AS TEXT))");
    let batches = read_all(&mut *c, "t");
    let bad: Vec<_> = batches[0].bad.iter().map(|b| (b.row, b.column.as_str())).collect();
    assert_eq!(bad, [(0, "i"), (0, "t"), (0, "b"), (0, "r"), (1, "t"), (1, "x")]);
    assert!(batches[0].bad.iter().all(|b| !b.message.contains("abc")));
}

#[test]
fn a_constraint_that_would_leave_rows_out_silently_is_overridden() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE s (id INTEGER PRIMARY KEY, u TEXT)");
    run(&mut *c, "INSERT INTO s VALUES (1, 'a'), (2, 'a')");
    run(&mut *c, "CREATE TABLE d (id INTEGER PRIMARY KEY, u TEXT UNIQUE ON CONFLICT IGNORE)");
    let batch = read_all(&mut *c, "s").remove(0).rows;
    let plan = plan_for(&mut *c, "d");
    c.begin().unwrap();
    let e = c.load(&plan, &batch, 0..2).unwrap_err();
    assert_eq!((e.kind, e.column.as_deref()), (ErrorKind::Data, Some("u")));
    c.rollback().unwrap();

    run(&mut *c, "DROP TABLE d");
    run(&mut *c, "CREATE TABLE d (id INTEGER PRIMARY KEY, u TEXT)");
    run(
        &mut *c,
        "CREATE TRIGGER g BEFORE INSERT ON d WHEN new.id = 2 BEGIN SELECT RAISE(IGNORE); END",
    );
    c.begin().unwrap();
    assert_eq!(c.load(&plan, &batch, 0..2).unwrap_err().kind, ErrorKind::Data);
    c.rollback().unwrap();
}

#[test]
fn null_is_never_replaced_by_a_row_number_or_a_default() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE s (id BIGINT, v INTEGER)");
    run(&mut *c, "INSERT INTO s VALUES (NULL, 1)");
    run(&mut *c, "INSERT INTO s VALUES (1, NULL)");
    run(
        &mut *c,
        "CREATE TABLE d (id INTEGER PRIMARY KEY, v INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 7)",
    );
    let batch = read_all(&mut *c, "s").remove(0).rows;
    let mut plan = plan_for(&mut *c, "d");
    plan.key = vec!["id".into()];
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Replace, WriteMode::Ignore] {
        plan.mode = mode;
        for row in [0, 1] {
            c.begin().unwrap();
            assert_eq!(c.load(&plan, &batch, row..row + 1).unwrap_err().kind, ErrorKind::Data);
            c.rollback().unwrap();
        }
    }
}

#[test]
fn a_misspelt_column_is_an_error_and_not_a_string() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE t (a INTEGER)");
    assert_eq!(c.query("SELECT \"b\" FROM t", &[]).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn a_statement_that_opens_a_transaction_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    assert_eq!(c.execute("BEGIN", &[]).unwrap_err().kind, ErrorKind::Config);
    c.begin().unwrap();
    c.commit().unwrap();
    let two = c.execute("DELETE FROM sqlite_schema WHERE 0; SELECT 1", &[]).unwrap_err();
    assert_eq!(two.kind, ErrorKind::Database);
}

#[test]
fn a_full_disk_is_told_apart_and_ends_the_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE t (b BLOB)");
    run(&mut *c, "PRAGMA max_page_count = 20");
    c.begin().unwrap();
    let e = c.execute("INSERT INTO t VALUES (randomblob(1000000))", &[]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Full);
    c.rollback().unwrap();
    assert_eq!(c.query("SELECT count(*) FROM t", &[]).unwrap(), [[Value::Int(0)]]);
}

#[test]
fn a_deferred_foreign_key_fails_the_commit_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE p (id INTEGER PRIMARY KEY)");
    run(&mut *c, "CREATE TABLE t (p INTEGER REFERENCES p DEFERRABLE INITIALLY DEFERRED)");
    c.begin().unwrap();
    run(&mut *c, "INSERT INTO t VALUES (5)");
    assert_eq!(c.commit().unwrap_err().kind, ErrorKind::Parent);
    assert_eq!(c.query("SELECT count(*) FROM t", &[]).unwrap(), [[Value::Int(0)]]);
    c.begin().unwrap();
    c.commit().unwrap();
}

#[test]
fn a_swapped_table_keeps_indexes_and_views() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(
        &mut *c,
        "CREATE TABLE \"o t\" (id INTEGER PRIMARY KEY, \"k 1\" TEXT COLLATE NOCASE, CHECK (id > 0)) STRICT",
    );
    run(&mut *c, "CREATE UNIQUE INDEX \"u 1\" ON \"o t\" (\"k 1\")");
    run(&mut *c, "CREATE INDEX i2 ON \"o t\" (\"k 1\" DESC) WHERE id > 5");
    run(&mut *c, "CREATE VIEW v AS SELECT count(*) AS n FROM \"o t\"");
    run(&mut *c, "INSERT INTO \"o t\" VALUES (1, 'old')");
    for round in 0..2 {
        let table = c.describe("o t").unwrap().unwrap();
        for statement in SqliteDialect.create_like("shadow", &table).unwrap() {
            run(&mut *c, &statement.sql);
        }
        run(&mut *c, "INSERT INTO shadow VALUES (2, 'new'), (3, 'other')");
        let double = c.execute("INSERT INTO shadow VALUES (4, 'NEW')", &[]).unwrap_err();
        assert_eq!(double.kind, ErrorKind::Data, "round {round}");
        c.begin().unwrap();
        for statement in SqliteDialect.swap("shadow", &table).unwrap() {
            run(&mut *c, &statement.sql);
        }
        c.commit().unwrap();
        let after = c.describe("o t").unwrap().unwrap();
        assert_eq!(after.columns, table.columns);
        assert_eq!(after.indexes, table.indexes);
        assert!(c.describe("shadow").unwrap().is_none());
        assert_eq!(c.query("SELECT n FROM v", &[]).unwrap(), [[Value::Int(2)]]);
    }
}

#[test]
fn a_view_or_virtual_table_cannot_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE VIEW v AS SELECT 1 AS a");
    run(&mut *c, "CREATE VIRTUAL TABLE f USING fts5(x)");
    for name in ["v", "f"] {
        let table = c.describe(name).unwrap().unwrap();
        let e = SqliteDialect.create_like("n", &table).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Refused);
    }
    assert!(!c.describe("f").unwrap().unwrap().transactional);
}

#[test]
fn keys_that_sqlite_lists_nowhere_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE rowid_key (id INTEGER PRIMARY KEY, v TEXT)");
    run(&mut *c, "CREATE TABLE text_key (id TEXT PRIMARY KEY, v TEXT UNIQUE)");
    run(&mut *c, "CREATE TABLE pair_key (b INT, a INT, PRIMARY KEY (a, b)) WITHOUT ROWID");
    run(&mut *c, "CREATE TABLE strict_key (id TEXT PRIMARY KEY, x ANY) STRICT");
    run(&mut *c, "CREATE TABLE desc_key (id INTEGER PRIMARY KEY DESC)");
    let mut key = |t: &str| {
        let table = c.describe(t).unwrap().unwrap();
        let key = table.primary_key().unwrap().to_vec();
        let nullable = key.iter().any(|k| table.column(k).unwrap().nullable);
        (key, nullable, table.columns[0].auto_increment)
    };
    assert_eq!(key("rowid_key"), (vec!["id".into()], false, true));
    assert_eq!(key("text_key"), (vec!["id".into()], true, false));
    assert_eq!(key("pair_key"), (vec!["a".into(), "b".into()], false, false));
    assert_eq!(key("strict_key"), (vec!["id".into()], false, false));
    assert_eq!(key("desc_key"), (vec!["id".into()], true, false));
    assert_eq!(c.describe("strict_key").unwrap().unwrap().columns[1].family, "any");
}

#[test]
fn a_unique_index_of_another_collation_is_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE t (a TEXT NOT NULL, b TEXT COLLATE NOCASE NOT NULL)");
    run(&mut *c, "CREATE UNIQUE INDEX ua ON t (a COLLATE NOCASE)");
    run(&mut *c, "CREATE UNIQUE INDEX ub ON t (b)");
    run(&mut *c, "CREATE UNIQUE INDEX ue ON t (a, length(b))");
    let table = c.describe("t").unwrap().unwrap();
    assert!(table.unique_index_on(&["a".into()]).is_none());
    assert_eq!(table.unique_index_on(&["b".into()]).unwrap().name, "ub");
    assert_eq!(table.columns[1].collation.as_deref(), Some("NOCASE"));
}

#[test]
fn the_column_at_fault_is_named_although_names_hold_dots() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE \"a.b\" (id INTEGER PRIMARY KEY, \"c.d\" TEXT UNIQUE)");
    run(&mut *c, "INSERT INTO \"a.b\" VALUES (1, 'x'), (2, 'y')");
    let table = c.describe("\"a.b\"").unwrap().unwrap();
    let mut plan = plan_for(&mut *c, "\"a.b\"");
    let mut builder =
        BatchBuilder::new(&table.columns, BatchLimits { rows: 9, slot_bytes: 1 << 20 });
    let mut batch = None;
    c.read("SELECT id + 5, \"c.d\" FROM \"a.b\"", &[], &table.columns, &mut builder, &mut |b| {
        batch = Some(b.rows);
        Ok(())
    })
    .unwrap();
    plan.mode = WriteMode::Insert;
    c.begin().unwrap();
    let e = c.load(&plan, &batch.unwrap(), 0..2).unwrap_err();
    assert_eq!((e.kind, e.column.as_deref()), (ErrorKind::Data, Some("c.d")), "{e:?}");
    c.rollback().unwrap();
}

#[test]
fn text_that_is_not_utf8_is_said_of_its_column() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = open_new(dir.path());
    run(&mut *c, "CREATE TABLE t (a INTEGER, b TEXT)");
    run(&mut *c, "INSERT INTO t VALUES (1, CAST(X'FF' AS TEXT))");
    let e = c.query("SELECT a, b FROM t", &[]).unwrap_err();
    assert_eq!((e.kind, e.column.as_deref()), (ErrorKind::Data, Some("b")));
    assert!(e.message.contains("column b"), "{e}");
}

#[test]
fn a_file_is_known_by_whatever_path_and_a_copy_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let identity = |name: &str| {
        let url = format!("sqlite://{}", at(name).display());
        open(&link(url)).unwrap().server_identity().unwrap()
    };
    run(&mut *open_new(dir.path()), "CREATE TABLE t (a)");
    let found = identity("a.db");
    std::os::unix::fs::symlink(at("a.db"), at("linked.db")).unwrap();
    assert_eq!(identity("linked.db"), found);
    std::fs::rename(at("a.db"), at("renamed.db")).unwrap();
    assert_eq!(identity("renamed.db"), found);
    std::fs::copy(at("renamed.db"), at("copy.db")).unwrap();
    assert_ne!(identity("copy.db"), found);
    // A copy in its place, which may get its inode.
    std::fs::remove_file(at("renamed.db")).unwrap();
    std::fs::copy(at("copy.db"), at("renamed.db")).unwrap();
    assert_ne!(identity("renamed.db"), found);
}
