//! Whatever an Oracle server sends is decoded or refused.

#![allow(clippy::unwrap_used)]

use super::super::fuzz::{Chance, inputs};
use super::driver::{Failure, Field, Moment, Rows, State};
use super::exact::{self, Interval, Stamp};
use super::read::Reader;
use super::types::{self, Declared, NumberShape, float_digits};
use super::{bind, errors, lob, number};
use crate::batch::{BatchBuilder, BatchLimits, ReadBatch};
use crate::schema::{Column, Kind};

/// Pieces of numbers, dates, intervals.
const PIECES: &[&str] = &[
    "1",
    "12",
    "99",
    "2024",
    "-02-29",
    " 23:59:59",
    ".123456789",
    " +14:00",
    "-",
    "+",
    "E",
    "e-130",
    "1e126",
    "000000001",
    "-11",
    "9223372036854775807-11",
];

fn column(chance: &mut Chance) -> Column {
    let (family, kind, declared) = *chance.pick(&[
        ("number", Kind::Int, "NUMBER(18)"),
        ("number", Kind::Decimal, "NUMBER(*,-84)"),
        ("float", Kind::Decimal, "FLOAT(126)"),
        ("binary_float", Kind::Float32, "BINARY_FLOAT"),
        ("binary_double", Kind::Float64, "BINARY_DOUBLE"),
        ("char", Kind::Text, "CHAR(3)"),
        ("clob", Kind::Text, "CLOB"),
        ("blob", Kind::Bytes, "BLOB"),
        ("timestamp", Kind::DateTime, "TIMESTAMP(6)"),
        ("timestamp", Kind::Text, "TIMESTAMP(9)"),
        ("timestamp_tz", Kind::Text, "TIMESTAMP(9) WITH TIME ZONE"),
        ("interval_ds", Kind::Time, "INTERVAL DAY(2) TO SECOND(6)"),
        ("interval_ds", Kind::Text, "INTERVAL DAY(9) TO SECOND(9)"),
        ("interval_ym", Kind::Text, "INTERVAL YEAR(9) TO MONTH"),
        ("raw", Kind::Bytes, "RAW(10)"),
    ]);
    Column { family: family.to_owned(), ..Column::new("C", kind, declared) }
}

#[test]
fn rows_of_any_fields_are_decoded_or_bad() {
    inputs(|chance| {
        let columns: Vec<_> = (0..1 + chance.below(6)).map(|_| column(chance)).collect();
        let limits = BatchLimits { rows: 2, slot_bytes: 1 << 16 };
        let mut builder = BatchBuilder::new(&columns, limits);
        let mut emit = |_: ReadBatch| Ok(());
        let parted = chance.below(2) == 0;
        let mut reader = Reader::new(&columns, parted, &mut builder, &mut emit);
        let parts = |c| if parted { lob::parts(c) } else { 1 };
        let fields: usize = columns.iter().map(parts).sum();
        for _ in 0..3 {
            let texts: Vec<_> = (0..fields).map(|_| chance.text(PIECES)).collect();
            let bytes = chance.bytes(8);
            let fields: Vec<_> = texts
                .iter()
                .map(|text| match chance.below(9) {
                    0 => Field::Null,
                    1 => Field::Float(f32::from_bits(chance.next() as u32)),
                    2 => Field::Double(f64::from_bits(chance.next())),
                    3 => Field::Bytes(&bytes),
                    4 => Field::Moment(moment(chance)),
                    5 => Field::Interval(interval(chance)),
                    6 => Field::Number(text),
                    _ => Field::Text(text),
                })
                .collect();
            reader.row(&fields).unwrap();
        }
        reader.finish().unwrap();
    });
}

fn moment(chance: &mut Chance) -> Moment {
    Moment {
        year: chance.next() as i16,
        month: chance.byte(),
        day: chance.byte(),
        hour: chance.byte(),
        minute: chance.byte(),
        second: chance.byte(),
        nanos: *chance.pick(&[0, 1000, 999_999_999, 1_000_000_000, u32::MAX]),
    }
}

fn interval(chance: &mut Chance) -> i128 {
    let wide = i128::from(chance.next().cast_signed()) << chance.below(64);
    *chance.pick(&[wide, i128::MIN, i128::MAX, 0, -1_000, i128::from(i64::MAX) * 1000])
}

#[test]
fn small_values_of_any_form_are_read_or_refused() {
    inputs(|chance| {
        let text = chance.text(PIECES);
        let column = column(chance);
        if let Some(stamp) = Stamp::parse(&text) {
            assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp), "{text:?}");
            let _ = stamp.fits(&column);
        }
        if let Some(interval) = Interval::parse(&text) {
            assert_eq!(Interval::parse(&interval.to_string()), Some(interval), "{text:?}");
            let _ = interval.fits(&column);
        }
        if let Ok(months) = exact::months(&text, &column) {
            assert_eq!(exact::months(&exact::months_text(months), &column), Ok(months));
        }
        let _ = (number::number(&text), exact::number(&text, &column));
        let _ = (bind::spelt(moment(chance)), bind::date_time(moment(chance)));
        let nanos = interval(chance);
        let _ = (bind::micros(nanos), bind::interval(nanos));
    });
}

#[test]
fn types_and_messages_of_any_words_are_read_or_left() {
    const WORDS: &[&str] = &[
        "NUMBER",
        "FLOAT",
        "CHAR",
        "RAW",
        "TIMESTAMP",
        "INTERVAL YEAR",
        " TO MONTH",
        "INTERVAL DAY",
        " TO SECOND",
        "(",
        ")",
        "9",
        "4294967295",
        "-2147483648",
        "*",
        "ORA-",
        "00001",
        ": ",
        "\"APP\".\"T\".\"C\"",
        "(APP.FK)",
        "constraint ",
        "\n",
    ];
    inputs(|chance| {
        let text = chance.text(WORDS);
        let digits = |chance: &mut Chance| {
            *chance.pick(&[None, Some(0), Some(38), Some(-84), Some(i64::MIN), Some(i64::MAX)])
        };
        let declared = Declared {
            data_type: if chance.below(2) == 0 { "NUMBER" } else { &text },
            bytes: chance.next(),
            precision: digits(chance),
            scale: digits(chance),
            ..Declared::default()
        };
        if let Some(column) = types::column("C", &declared) {
            let _ = (NumberShape::of(&column), float_digits(&column));
            let _ = exact::number("12.5", &column);
        }
        let code = chance.next() as u32 % 30_000;
        let state =
            *chance.pick(&[State::Answered, State::Broken, State::TimedOut, State::Misused]);
        let failure = Failure { code, message: text, state };
        let _ = (errors::from_call(&failure), errors::from_open(&failure, chance.below(2) == 0));
        let _ = errors::from_dml(&failure);
    });
}
