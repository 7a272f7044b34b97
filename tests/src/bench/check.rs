//! Whether a destination table holds what the source holds, row by row.
//!
//! Rows are read in key order through the plain driver, apart from everything under test, and
//! hashed in groups. Sealed columns are opened first.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, StringArray};
use mysql::prelude::Queryable;
use mysql::{Conn, Value};
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};
use ssync_common::crypto::{KeyRing, Mode, Opener};
use ssync_common::schema::Kind;

use super::workload::Workload;

/// What a table holds: a hash for each group of rows in key order.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    rows: usize,
    groups: Vec<[u8; 32]>,
}

/// Opens what ssync sealed into a table.
pub struct Seals {
    openers: Vec<(usize, Opener)>,
}

impl Seals {
    /// For the encrypted ones of these columns, sealed under `keys` into `table`.
    pub fn new(keys: &KeyRing, table: &str, columns: &[String], encrypted: &[&str]) -> Seals {
        let opener = |name: &&str| {
            let place = columns.iter().position(|c| c == name).unwrap();
            (place, Opener::new(keys, table, name, Mode::Random).unwrap())
        };
        Seals { openers: encrypted.iter().map(opener).collect() }
    }

    fn open(&mut self, rows: &mut [Vec<Value>]) {
        for (place, opener) in &mut self.openers {
            let sealed: StringArray = rows
                .iter()
                .map(|row| match &row[*place] {
                    Value::NULL => None,
                    Value::Bytes(bytes) => Some(std::str::from_utf8(bytes).unwrap()),
                    other => panic!("{other:?} in a text column"),
                })
                .collect();
            let sealed: ArrayRef = std::sync::Arc::new(sealed);
            let (plain, bad) = opener.open_column(&sealed, Kind::Text, Kind::Text).unwrap();
            assert!(bad.is_empty(), "{} values do not open: {}", bad.len(), bad[0].message);
            for (row, value) in rows.iter_mut().zip(plain.as_string::<i32>()) {
                row[*place] = value.map_or(Value::NULL, |text| Value::Bytes(text.into()));
            }
        }
    }
}

/// Reads a table's content.
pub fn content(
    conn: &mut Conn,
    workload: &Workload,
    table: &str,
    seals: Option<&mut Seals>,
) -> Content {
    let sql = format!("SELECT {} FROM `{table}` ORDER BY id", workload.columns().join(", "));
    let rows = conn.exec_iter(sql, ()).unwrap();
    gather(rows.map(|row| row.unwrap().unwrap()), workload, seals)
}

/// Reads the content of a table in a SQLite file.
pub fn file_content(
    path: &Path,
    workload: &Workload,
    table: &str,
    seals: Option<&mut Seals>,
) -> Content {
    let conn = rusqlite::Connection::open(path).unwrap();
    // A decimal is a number there, to be spelt as MariaDB spells it.
    let columns = workload.columns().join(", ").replace("amount", "printf('%.2f', amount)");
    let mut read = conn.prepare(&format!("SELECT {columns} FROM `{table}` ORDER BY id")).unwrap();
    let count = read.column_count();
    let mut rows = read.query(()).unwrap();
    let next = || {
        let row = rows.next().unwrap()?;
        let value = |i| match row.get_ref_unwrap(i) {
            ValueRef::Null => Value::NULL,
            ValueRef::Integer(v) => Value::Int(v),
            ValueRef::Real(v) => Value::Double(v),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::Bytes(bytes.into()),
        };
        Some((0..count).map(value).collect())
    };
    gather(std::iter::from_fn(next), workload, seals)
}

fn gather(
    rows: impl Iterator<Item = Vec<Value>>,
    workload: &Workload,
    mut seals: Option<&mut Seals>,
) -> Content {
    let group_rows = workload.group_rows();
    let mut content = Content { rows: 0, groups: Vec::new() };
    let mut group: Vec<Vec<Value>> = Vec::with_capacity(group_rows);
    let mut close = |group: &mut Vec<Vec<Value>>| {
        if let Some(seals) = &mut seals {
            seals.open(group);
        }
        content.rows += group.len();
        content.groups.push(hash(group));
        group.clear();
    };
    for row in rows {
        group.push(row);
        if group.len() == group_rows {
            close(&mut group);
        }
    }
    if !group.is_empty() {
        close(&mut group);
    }
    content
}

/// A date as SQLite holds it: text, with a fraction only where there is one.
pub fn date_text(value: &Value) -> Option<String> {
    let Value::Date(y, mo, d, h, mi, s, us) = value else { return None };
    let fraction = if *us == 0 { String::new() } else { format!(".{us:06}") };
    Some(format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}{fraction}"))
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.push(1);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text);
}

fn hash(rows: &[Vec<Value>]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(rows.len() * 256);
    for value in rows.iter().flatten() {
        match value {
            Value::NULL => bytes.push(0),
            Value::Bytes(text) => put_text(&mut bytes, text),
            Value::Int(v) => {
                bytes.push(2);
                bytes.extend(v.to_le_bytes());
            }
            Value::UInt(v) => {
                bytes.push(4);
                bytes.extend(v.to_le_bytes());
            }
            Value::Double(v) => {
                bytes.push(3);
                bytes.extend(v.to_bits().to_le_bytes());
            }
            Value::Date(..) => put_text(&mut bytes, date_text(value).unwrap().as_bytes()),
            other => panic!("the workload has no {other:?}"),
        }
    }
    Sha256::digest(bytes).into()
}

/// Panics unless `found` is what the source holds.
pub fn assert_same(source: &Content, found: &Content, what: &str) {
    assert_eq!(source.rows, found.rows, "{what}: rows at the source and at the destination");
    let differs = source.groups.iter().zip(&found.groups).position(|(a, b)| a != b);
    if let Some(group) = differs {
        panic!("{what}: a row differs in group {group} of {}", source.groups.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_doubled_and_a_missing_row_are_noticed() {
        const FILL: &str = "DELETE FROM t; INSERT INTO t WITH RECURSIVE s(n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT n, n, NULL, -n FROM s";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch("CREATE TABLE t (id INT, a INT, b INT, c INT)").unwrap();
        let read = || file_content(&path, &Workload::Narrow { rows: 20_000 }, "t", None);
        file.execute_batch(FILL).unwrap();
        let whole = read();
        for damage in [
            "UPDATE t SET b = 0 WHERE id = 12345",
            "INSERT INTO t SELECT * FROM t WHERE id = 777",
            "DELETE FROM t WHERE id = 20000",
        ] {
            file.execute_batch(damage).unwrap();
            assert_ne!(whole, read(), "{damage}");
            file.execute_batch(FILL).unwrap();
            assert_eq!(whole, read());
        }
    }
}
