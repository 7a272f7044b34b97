//! Whatever a MySQL server sends is decoded or refused.

#![allow(clippy::unwrap_used)]

use mysql::MySqlError;
use mysql::consts::ColumnType::{self, *};

use super::super::fuzz::{Chance, inputs};
use super::read::Decoder;
use super::rows::{Form, row};
use super::{bulk, errors, load_infile, types, wire};
use crate::batch::{BatchBuilder, BatchLimits, ReadBatch, value_at};
use crate::schema::{Column, Kind};

/// Types a server may announce, each with the kind of a column that it agrees with.
const FORMS: [(ColumnType, Kind); 14] = [
    (MYSQL_TYPE_TINY, Kind::Int),
    (MYSQL_TYPE_SHORT, Kind::Int),
    (MYSQL_TYPE_YEAR, Kind::Int),
    (MYSQL_TYPE_LONG, Kind::UInt),
    (MYSQL_TYPE_LONGLONG, Kind::UInt),
    (MYSQL_TYPE_FLOAT, Kind::Float32),
    (MYSQL_TYPE_DOUBLE, Kind::Float64),
    (MYSQL_TYPE_DATE, Kind::Date),
    (MYSQL_TYPE_DATETIME, Kind::DateTime),
    (MYSQL_TYPE_TIME, Kind::Time),
    (MYSQL_TYPE_NEWDECIMAL, Kind::Decimal),
    (MYSQL_TYPE_VAR_STRING, Kind::Text),
    (MYSQL_TYPE_BLOB, Kind::Bytes),
    (MYSQL_TYPE_NULL, Kind::Text),
];

/// A field as a server sends it, with values from all of its range and beyond.
fn field(kind: ColumnType, chance: &mut Chance) -> Vec<u8> {
    let length = match kind {
        MYSQL_TYPE_NULL => return Vec::new(),
        MYSQL_TYPE_TINY => 1,
        MYSQL_TYPE_SHORT | MYSQL_TYPE_YEAR => 2,
        MYSQL_TYPE_LONG | MYSQL_TYPE_FLOAT => 4,
        MYSQL_TYPE_LONGLONG | MYSQL_TYPE_DOUBLE => 8,
        _ => {
            let length = match kind {
                MYSQL_TYPE_DATE | MYSQL_TYPE_DATETIME => *chance.pick(&[0, 4, 7, 11, 5]),
                MYSQL_TYPE_TIME => *chance.pick(&[0, 8, 12, 9]),
                _ => chance.below(20),
            };
            let mut bytes = vec![length as u8];
            bytes.extend((0..length).map(|_| chance.byte()));
            return bytes;
        }
    };
    (0..length).map(|_| chance.byte()).collect()
}

#[test]
fn rows_of_any_bytes_are_decoded_or_refused() {
    inputs(|chance| {
        let columns_of = |chance: &mut Chance| {
            (0..1 + chance.below(12))
                .map(|_| {
                    let (form, mut kind) = *chance.pick(&FORMS);
                    if chance.below(20) == 0 {
                        kind = chance.pick(&FORMS).1;
                    }
                    (Form { kind: form, unsigned: chance.below(2) == 0 }, kind)
                })
                .collect::<Vec<_>>()
        };
        let (forms, kinds): (Vec<_>, Vec<_>) = columns_of(chance).into_iter().unzip();
        let columns: Vec<_> = kinds.iter().map(|kind| Column::new("c", *kind, "x")).collect();
        let mut decoders: Vec<_> = columns.iter().map(Decoder::of).collect();
        let limits = BatchLimits { rows: 2, slot_bytes: 1 << 16 };
        let mut builder = BatchBuilder::new(&columns, limits);
        let mut batches = Vec::new();
        let mut emit = |batch: ReadBatch| {
            batches.push(batch);
            Ok(())
        };
        for _ in 0..3 {
            let mut bytes = vec![0; (forms.len() + 9) / 8];
            if chance.below(4) == 0 {
                bytes.iter_mut().for_each(|b| *b = chance.byte());
            }
            bytes.extend(forms.iter().flat_map(|form| field(form.kind, chance)));
            if chance.below(2) == 0 {
                chance.bend(&mut bytes);
            }
            // What has begun and is refused ends the read.
            let Some(()) = row(&bytes, &forms, &mut decoders, &mut builder) else { return };
            builder.end_row(&mut emit).unwrap();
        }
        builder.flush(&mut emit).unwrap();
        for batch in batches {
            for (i, kind) in kinds.iter().enumerate() {
                for at in 0..batch.rows.num_rows() {
                    let _ = value_at(&batch.rows, i, *kind, at).plain();
                }
            }
        }
    });
}

#[test]
fn packets_of_any_bytes_are_understood_or_refused() {
    inputs(|chance| {
        let mut packet = match chance.below(4) {
            0 => b"\xff\x26\x04#23000Duplicate entry '1' for key 'k'".to_vec(),
            1 => b"\x00\xfc\xf4\x01\x00\x01\x00\x02\x00info".to_vec(),
            2 => b"\x03def\x02id\x0c\x3f\x00\x14\x00\x00\x00\x08\x20\x10\x00\x00\x00".to_vec(),
            _ => chance.bytes(60),
        };
        chance.bend(&mut packet);
        let _ = Form::parse(&packet);
        let _ = bulk::parse(&packet);
        let _ = (wire::server_error(&packet), wire::counted(&packet));
    });
}

#[test]
fn messages_of_any_words_are_read_or_left() {
    const PIECES: &[&str] = &[
        "Column '",
        "for column ",
        " at row ",
        "CONSTRAINT `",
        "heck constraint `",
        "FOREIGN KEY (`",
        "`.`",
        "``",
        "' cannot be null",
        "Duplicate entry '",
        "' for key '",
        "Records: ",
        "Deleted: ",
        "Skipped: ",
        "Warnings: ",
        "enum('",
        "''",
        "\\",
    ];
    const CODES: &[u16] = &[1048, 1062, 1265, 1366, 1406, 1452, 3140, 3819, 4025, 1114];
    inputs(|chance| {
        let message = chance.text(PIECES);
        let code = *chance.pick(CODES);
        let state = "HY000".to_owned();
        let _ = errors::from_server(&MySqlError { state, message: message.clone(), code });
        let _ = errors::from_warning(code, &message);
        let _ = load_infile::Told::from_info(&message);
        let _ = types::members_of(&message);
    });
}
