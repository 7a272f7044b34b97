//! Whether a destination table holds what the source holds, row by row.
//!
//! Rows are read in key order through the plain driver, apart from everything under test, and
//! hashed in groups. Sealed columns are opened first.

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, StringArray};
use mysql::prelude::Queryable;
use mysql::{Conn, Value};
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
    pub fn new(keys: &KeyRing, table: &str, columns: &[&str], encrypted: &[&str]) -> Seals {
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
    mut seals: Option<&mut Seals>,
) -> Content {
    let sql = format!("SELECT {} FROM `{table}` ORDER BY id", workload.columns().join(", "));
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
    for row in conn.exec_iter(sql, ()).unwrap() {
        group.push(row.unwrap().unwrap());
        if group.len() == group_rows {
            close(&mut group);
        }
    }
    if !group.is_empty() {
        close(&mut group);
    }
    content
}

fn hash(rows: &[Vec<Value>]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(rows.len() * 256);
    for value in rows.iter().flatten() {
        match value {
            Value::NULL => bytes.push(0),
            Value::Bytes(text) => {
                bytes.push(1);
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text);
            }
            Value::Int(v) => {
                bytes.push(2);
                bytes.extend(v.to_le_bytes());
            }
            Value::Double(v) => {
                bytes.push(3);
                bytes.extend(v.to_bits().to_le_bytes());
            }
            Value::Date(y, mo, d, h, mi, s, us) => {
                bytes.push(4);
                bytes.extend(y.to_le_bytes());
                bytes.extend([*mo, *d, *h, *mi, *s]);
                bytes.extend(us.to_le_bytes());
            }
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
