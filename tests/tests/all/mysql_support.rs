//! Moving tables through the MySQL connector, and comparing them on the server.

use arrow_array::RecordBatch;
use ssync_common::batch::{BadValue, BatchBuilder, BatchLimits, ReadBatch};
use ssync_common::connector::{Connection, LinkParams, LoadPlan, Loaded, WriteMode, open};
use ssync_common::error::Result;
use ssync_common::schema::{Column, Table};
use ssync_tests::servers::{Database, Server, mariadb, mysql56};

/// Runs a test on a fresh database of every server.
pub fn on_every_server(name: &str, test: impl Fn(&Database<'_>)) {
    for server in every_server() {
        let db = server.database(name);
        eprintln!("on {:?}", server.software());
        test(&db);
    }
}

pub fn every_server() -> [&'static Server; 2] {
    [mariadb(), mysql56()]
}

pub fn described(conn: &mut dyn Connection, table: &str) -> Table {
    conn.describe(table).unwrap().unwrap_or_else(|| panic!("no table {table}"))
}

/// Columns that can be written.
pub fn writable(table: &Table) -> Vec<Column> {
    table.columns.iter().filter(|c| !c.generated).cloned().collect()
}

pub const LIMITS: BatchLimits = BatchLimits { rows: 5000, slot_bytes: 64 << 20 };

pub fn select_sql(conn: &dyn Connection, table: &str, columns: &[Column]) -> String {
    let dialect = conn.dialect();
    let list: Vec<String> = columns.iter().map(|c| dialect.select(c)).collect();
    format!("SELECT {} FROM {}", list.join(", "), dialect.table(table))
}

/// All rows of a table in key order (`id`).
pub fn read_columns(
    conn: &mut dyn Connection,
    table: &str,
    columns: &[Column],
) -> (Vec<RecordBatch>, Vec<BadValue>) {
    let sql = format!("{} ORDER BY id", select_sql(conn, table, columns));
    let (mut batches, mut bad) = (Vec::new(), Vec::new());
    let mut emit = |b: ReadBatch| {
        batches.push(b.rows);
        bad.extend(b.bad);
        Ok(())
    };
    let mut builder = BatchBuilder::new(columns, LIMITS);
    let rows = conn.read(&sql, &[], columns, &mut builder, &mut emit).unwrap();
    assert_eq!(rows as usize, batches.iter().map(RecordBatch::num_rows).sum::<usize>());
    (batches, bad)
}

pub fn plan(dest: &Table, source: &[Column], mode: WriteMode) -> LoadPlan {
    let columns: Vec<Column> =
        source.iter().map(|c| dest.column(&c.name).expect("the column").clone()).collect();
    LoadPlan {
        table: dest.name.clone(),
        columns,
        kinds: source.iter().map(|c| c.kind).collect(),
        mode,
        key: vec!["id".to_owned()],
    }
}

/// Loads a batch in a transaction of its own; rolled back when it fails.
pub fn load(conn: &mut dyn Connection, plan: &LoadPlan, batch: &RecordBatch) -> Result<Loaded> {
    conn.begin()?;
    let done = conn.load(plan, batch, 0..batch.num_rows());
    match done {
        Ok(_) => conn.commit()?,
        Err(_) => conn.rollback()?,
    }
    done
}

/// Moves all rows of one table into another of the same database.
pub fn copy(db: &Database<'_>, from: &str, to: &str, mode: WriteMode) -> Result<Loaded> {
    copy_over(&db.link(), from, to, mode)
}

/// The same over connections of that link.
pub fn copy_over(link: &LinkParams, from: &str, to: &str, mode: WriteMode) -> Result<Loaded> {
    let mut source = open(link).unwrap();
    let columns = writable(&described(source.as_mut(), from));
    let (batches, bad) = read_columns(source.as_mut(), from, &columns);
    assert_eq!(bad, [], "every value of {from} can be read");
    let mut dest = open(link).unwrap();
    let plan = plan(&described(dest.as_mut(), to), &columns, mode);
    let mut sum = Loaded::default();
    for batch in &batches {
        let loaded = load(dest.as_mut(), &plan, batch)?;
        sum.rows += loaded.rows;
        sum.skipped += loaded.skipped;
    }
    Ok(sum)
}

/// Asserts on the server that two tables hold the same, value by value and byte by byte.
pub fn assert_identical(db: &Database<'_>, a: &str, b: &str, columns: &[Column]) {
    let rows = db.value(&format!("SELECT COUNT(*) FROM `{a}`"));
    assert_eq!(rows, db.value(&format!("SELECT COUNT(*) FROM `{b}`")), "rows of {a} and {b}");
    for column in columns {
        let name = format!("`{}`", column.name.replace('`', "``"));
        let differing = db.rows(&format!(
            "SELECT a.id, HEX(a.{name}), HEX(b.{name}), a.{name}, b.{name} \
             FROM `{a}` a LEFT JOIN `{b}` b ON a.id = b.id \
             WHERE NOT (a.{name} <=> b.{name}) \
             OR NOT (CAST(a.{name} AS BINARY) <=> CAST(b.{name} AS BINARY)) LIMIT 5"
        ));
        assert!(differing.is_empty(), "{} {}: {differing:?}", column.name, column.declared);
    }
}
