//! The test vectors of `docs/ENCRYPTION.md`: the document itself is read, so that it cannot drift
//! from the code. They were made by the Python program in that document, a third implementation.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray};

use super::seal::tests::seal_with_salt;
use super::*;
use crate::schema::Kind;
use crate::secret::Secret;
use crate::value::{DateTime, hex_bytes, parse_time};

const DOCUMENT: &str = include_str!("../../../docs/ENCRYPTION.md");

struct Vector {
    key: Secret,
    key_id: String,
    table: String,
    column: String,
    mode: Mode,
    salt: [u8; 12],
    counter: u16,
    kind: Kind,
    value: ArrayRef,
    envelope: String,
}

/// The rows of the document's vector table.
fn vectors() -> Vec<Vector> {
    let section = DOCUMENT.split("## Test vectors").nth(1).unwrap();
    let field = |name: &str| {
        let line = section.lines().find(|l| l.starts_with(&format!("- {name}: "))).unwrap();
        line.split('`').nth(1).unwrap().to_owned()
    };
    let (key, key_id, salt) = (field("master key"), field("key id"), field("salt"));
    let rows = section.lines().filter(|l| l.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(|c| c.trim().trim_matches('`')).collect();
        let [_, place, mode, counter, tag, value, envelope, _] = cells[..] else { panic!("{row}") };
        let (table, column) = place.split_once(' ').unwrap();
        let (kind, value): (Kind, ArrayRef) = match tag {
            "t" => (Kind::Text, Arc::new(StringArray::from(vec![value]))),
            "d" => (Kind::Decimal, Arc::new(StringArray::from(vec![value]))),
            "i" => (Kind::Int, Arc::new(Int64Array::from(vec![value.parse::<i64>().unwrap()]))),
            "f" => {
                (Kind::Float64, Arc::new(Float64Array::from(vec![value.parse::<f64>().unwrap()])))
            }
            "b" => {
                let bytes = hex_bytes::decode(value).unwrap();
                (Kind::Bytes, Arc::new(BinaryArray::from(vec![bytes.as_slice()])))
            }
            "a" | "s" => {
                let at = DateTime::parse(value).unwrap().packed();
                let kind = if tag == "a" { Kind::Date } else { Kind::DateTime };
                (kind, Arc::new(Int64Array::from(vec![at])))
            }
            "m" => (Kind::Time, Arc::new(Int64Array::from(vec![parse_time(value).unwrap()]))),
            other => panic!("tag {other}"),
        };
        Vector {
            key: Secret::from(key.clone()),
            key_id: key_id.clone(),
            table: table.to_owned(),
            column: column.to_owned(),
            mode: Mode::new(mode == "deterministic"),
            salt: hex_bytes::decode(&salt).unwrap().try_into().unwrap(),
            counter: counter.parse().unwrap_or_default(),
            kind,
            value,
            envelope: envelope.to_owned(),
        }
    })
    .collect()
}

#[test]
fn the_documents_vectors_are_what_both_engines_write_and_open() {
    let vectors = vectors();
    assert!(vectors.len() >= 12, "{} vectors", vectors.len());
    for v in vectors {
        let ring = KeyRing::new("k", &v.key, &[]).unwrap();
        assert_eq!(ring.ids().next().unwrap().to_string(), v.key_id);
        let (table, column) = (&v.table, &v.column);
        for engine in Engine::ALL {
            let mut sealer = Sealer::with_engine(&ring, table, column, v.mode, engine).unwrap();
            let sealed = seal_with_salt(&mut sealer, v.salt, v.counter, &v.value, v.kind);
            assert_eq!(sealed.as_string::<i32>().value(0), v.envelope, "{:?}", v.kind);
            let mut opener = Opener::with_engine(&ring, table, column, v.mode, engine).unwrap();
            let given = StringArray::from(vec![v.envelope.as_str()]);
            let (opened, bad) = opener.open_column(&given, Kind::Text, v.kind).unwrap();
            assert_eq!(bad, []);
            assert_eq!(&opened.to_data(), &v.value.to_data());
        }
    }
}
