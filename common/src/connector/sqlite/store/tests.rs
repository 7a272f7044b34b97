//! SQLite itself is the oracle: what [`store`] lets through is bound to a column of each affinity
//! and read back.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rusqlite::types::{ToSqlOutput, Value as Held, ValueRef};

use super::*;
use crate::value::Value;

const COLUMNS: [(&str, Affinity); 6] = [
    ("INTEGER", Affinity::Integer),
    ("REAL", Affinity::Real),
    ("DECIMAL(10,2)", Affinity::Numeric),
    ("TEXT", Affinity::Text),
    ("BLOB", Affinity::Blob),
    ("", Affinity::Any),
];

thread_local! {
    static DB: rusqlite::Connection = {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        for (i, (declared, _)) in COLUMNS.iter().enumerate() {
            db.execute_batch(&format!("CREATE TABLE t{i} (v {declared})")).unwrap();
        }
        db
    };
}

/// What a column of this affinity holds after it was given `stored`.
fn held(affinity: Affinity, stored: &Stored<'_>) -> Held {
    let n = COLUMNS.iter().position(|c| c.1 == affinity).unwrap();
    let value = match stored {
        Stored::Null => ValueRef::Null,
        Stored::Int(v) => ValueRef::Integer(*v),
        Stored::Real(v) => ValueRef::Real(*v),
        Stored::Text(t) => ValueRef::Text(t.as_bytes()),
        Stored::Blob(b) => ValueRef::Blob(b),
    };
    DB.with(|db| {
        let insert = format!("INSERT INTO t{n} VALUES (?1)");
        db.execute(&insert, [ToSqlOutput::Borrowed(value)]).unwrap();
        let select = format!("SELECT v FROM t{n}");
        let held = db.query_row(&select, [], |r| r.get::<_, Held>(0)).unwrap();
        db.execute(&format!("DELETE FROM t{n}"), []).unwrap();
        held
    })
}

/// The number that text written by this module, or by Rust, spells.
fn same_number(a: f64, b: f64) -> bool {
    a == b && (a != 0.0 || a.is_sign_negative() == b.is_sign_negative())
}

fn check(cell: Cell<'_>) {
    for (_, affinity) in COLUMNS {
        let Ok(stored) = store(cell, affinity) else { continue };
        let held = held(affinity, &stored);
        let what = || format!("{cell:?} in {affinity:?} held as {held:?}");
        match (cell, &held) {
            (Cell::Null, Held::Null) => {}
            (Cell::Int(v), Held::Integer(h)) => assert_eq!(v, *h, "{}", what()),
            (Cell::Int(v), Held::Real(h)) => assert_eq!(i128::from(v), *h as i128, "{}", what()),
            (Cell::Int(v), Held::Text(h)) => assert_eq!(v.to_string(), *h, "{}", what()),
            (Cell::UInt(v), Held::Integer(h)) => assert_eq!(i128::from(v), i128::from(*h)),
            (Cell::UInt(v), Held::Real(h)) => assert_eq!(i128::from(v), *h as i128, "{}", what()),
            (Cell::UInt(v), Held::Text(h)) => assert_eq!(v.to_string(), *h, "{}", what()),
            (Cell::Float64(v), Held::Real(h)) => assert!(same_number(v, *h), "{}", what()),
            (Cell::Float64(v), Held::Integer(h)) => {
                assert!(v as i128 == i128::from(*h) && same_number(v, *h as f64), "{}", what());
            }
            (Cell::Float64(v), Held::Text(h)) => {
                assert!(same_number(v, h.parse().unwrap()), "{}", what());
            }
            (Cell::Float32(v), Held::Real(h)) => assert!(same_number(f64::from(v), *h)),
            (Cell::Float32(v), Held::Integer(h)) => {
                assert!(v as i128 == i128::from(*h) && same_number(f64::from(v), *h as f64));
            }
            (Cell::Float32(v), Held::Text(h)) => {
                assert!(same_number(f64::from(v), f64::from(h.parse::<f32>().unwrap())));
            }
            (Cell::Decimal(d), Held::Text(h)) => assert_eq!(d, h, "{}", what()),
            (Cell::Decimal(d), Held::Integer(h)) => {
                assert!(Digits::of(d) == Digits::of(&h.to_string()), "{}", what());
            }
            (Cell::Decimal(d), Held::Real(h)) => {
                let integer = Digits::of(d).unwrap().integer();
                let exact = integer.is_some_and(|i| i128::from(i) == *h as i128);
                assert!(exact || Digits::of(d) == Digits::of(&format!("{h:?}")), "{}", what());
            }
            (Cell::Text(t), Held::Text(h)) => assert_eq!(t, h, "{}", what()),
            (Cell::Text(t), Held::Integer(h)) => assert_eq!(t, h.to_string(), "{}", what()),
            (Cell::Text(t), Held::Real(h)) => assert_eq!(t, format!("{h:?}"), "{}", what()),
            (Cell::Text(t), Held::Blob(h)) => assert_eq!(t.as_bytes(), h, "{}", what()),
            (Cell::Bytes(b), Held::Blob(h)) => assert_eq!(b, h, "{}", what()),
            (Cell::Bytes(b), Held::Text(h)) => assert_eq!(b, h.as_bytes(), "{}", what()),
            (Cell::Date(d), Held::Text(h)) => assert_eq!(DateTime::parse(h), Some(d)),
            (Cell::DateTime(d), Held::Text(h)) => assert_eq!(DateTime::parse(h), Some(d)),
            (Cell::Time(t), Held::Text(h)) => assert_eq!(crate::value::parse_time(h), Some(t)),
            (Cell::Date(_) | Cell::DateTime(_) | Cell::Time(_), Held::Blob(_)) => {}
            _ => panic!("{}", what()),
        }
        // What a column that announces one storage class holds must be of that class: else the
        // reader would refuse it.
        match affinity {
            Affinity::Integer => assert!(matches!(held, Held::Integer(_)), "{}", what()),
            Affinity::Real => assert!(matches!(held, Held::Real(_)), "{}", what()),
            Affinity::Text => assert!(matches!(held, Held::Text(_)), "{}", what()),
            Affinity::Blob => assert!(matches!(held, Held::Blob(_)), "{}", what()),
            Affinity::Numeric | Affinity::Any => {}
        }
    }
}

/// A tagged value keeps its very type, or is the same number in a column of numbers.
fn check_any(value: &Value) {
    let tagged = value.to_tagged().unwrap();
    for (_, affinity) in COLUMNS {
        let Ok(stored) = store(Cell::Any(&tagged), affinity) else { continue };
        let back = match (held(affinity, &stored), affinity, value) {
            (Held::Integer(v), Affinity::Integer, Value::Float(was)) => {
                assert_eq!(v as i128, *was as i128);
                continue;
            }
            (Held::Real(v), Affinity::Real, Value::Int(was)) => {
                assert_eq!(v as i128, i128::from(*was));
                continue;
            }
            (Held::Null, ..) => Value::Null,
            (Held::Integer(v), ..) => Value::Int(v),
            (Held::Real(v), ..) => Value::Float(v),
            (Held::Text(t), ..) => Value::Text(t),
            (Held::Blob(b), ..) => Value::Bytes(b),
        };
        assert_eq!(back.to_tagged(), Some(tagged.clone()), "{value:?} in {affinity:?}");
    }
}

fn number_like() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ \t]?[+-]?[0-9]{0,20}\\.?[0-9]{0,20}([eE][+-]?[0-9]{0,3})?[ \n]?",
        "0x[0-9a-f]{1,4}",
        "(inf|Infinity|NaN|-inf|1_000|1e|\\.|-|\\+|e5|1e5x)",
        any::<i64>().prop_map(|v| v.to_string()),
        any::<f64>().prop_map(|v| format!("{v:?}")),
        "[0-9. ]{0,3}\0.*",
        ".*",
    ]
}

fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        (0u32..63, -2i64..=2).prop_map(|(bit, off)| (1i64 << bit).wrapping_add(off)),
        Just(i64::MIN),
        Just(i64::MAX),
    ]
}

fn reals() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        integers().prop_map(|v| v as f64),
        (-1000i32..1000).prop_map(|v| f64::from(v) / 8.0),
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::NAN),
        Just(9_223_372_036_854_775_807.0),
        Just(-9_223_372_036_854_775_808.0),
        Just(f64::MIN_POSITIVE / 2.0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn integers_are_held_as_the_same_number(v in integers()) {
        check(Cell::Int(v));
        check(Cell::UInt(v as u64));
        check_any(&Value::Int(v));
    }

    #[test]
    fn reals_are_held_as_the_same_number(v in reals(), w in any::<f32>()) {
        check(Cell::Float64(v));
        check(Cell::Float32(w));
        check(Cell::Float32(v as f32));
        if !v.is_nan() {
            check_any(&Value::Float(v));
        }
    }

    #[test]
    fn decimals_are_held_as_the_same_number(
        d in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?", i in integers(),
    ) {
        check(Cell::Decimal(&d));
        check(Cell::Decimal(&format!("{i}.00")));
        check(Cell::Decimal(&format!("{i}.5")));
    }

    #[test]
    fn text_is_held_as_the_same_text(t in number_like()) {
        check(Cell::Text(&t));
        check(Cell::Bytes(t.as_bytes()));
        check_any(&Value::Text(t));
    }

    #[test]
    fn bytes_are_held_as_the_same_bytes(b in any::<Vec<u8>>()) {
        check(Cell::Bytes(&b));
        check_any(&Value::Bytes(b));
    }

    #[test]
    fn times_are_held_as_the_same_time(
        p in (0u16..=9999, 0u8..=12, 0u8..=31, 0u8..24, 0u8..60, 0u8..60),
        us in prop_oneof![Just(0), 0u32..1_000_000],
        t in -3_020_399_999_999i64..=3_020_399_999_999,
    ) {
        check(Cell::Date(DateTime::new(p.0, p.1, p.2, 0, 0, 0, 0).unwrap()));
        check(Cell::DateTime(DateTime::new(p.0, p.1, p.2, p.3, p.4, p.5, us).unwrap()));
        check(Cell::Time(t));
        check(Cell::Time(t / 1_000_000 * 1_000_000));
    }
}

#[test]
fn what_sqlite_would_change_is_refused_and_what_it_keeps_is_not() {
    use Affinity::*;
    let fits = |cell, affinity| store(cell, affinity).is_ok();
    for (cell, affinity, expected) in [
        (Cell::Text("007"), Integer, false),
        (Cell::Text("007"), Numeric, false),
        (Cell::Text("007"), Real, false),
        (Cell::Text("007"), Text, true),
        (Cell::Text("007"), Any, true),
        (Cell::Text("7"), Integer, true),
        (Cell::Text("7"), Numeric, true),
        (Cell::Text("1.50"), Numeric, false),
        (Cell::Text("1.5"), Numeric, true),
        (Cell::Text("12 Elm St"), Numeric, true),
        (Cell::Text("2024-01-15"), Numeric, true),
        (Cell::Text("6\0 and more"), Numeric, false),
        (Cell::Text("6\0 and more"), Text, true),
        (Cell::Text("abc"), Integer, false),
        (Cell::UInt(u64::MAX), Integer, false),
        (Cell::UInt(u64::MAX), Numeric, false),
        (Cell::UInt(u64::MAX), Real, false),
        (Cell::UInt(u64::MAX), Text, true),
        (Cell::Int(i64::MAX), Real, false),
        (Cell::Int((1 << 53) + 1), Real, false),
        (Cell::Int(1 << 62), Real, true),
        (Cell::Float64(f64::NAN), Real, false),
        (Cell::Float64(f64::NAN), Any, false),
        (Cell::Float64(f64::INFINITY), Real, true),
        (Cell::Float64(f64::INFINITY), Text, false),
        (Cell::Float64(-0.0), Numeric, false),
        (Cell::Float64(1.5), Integer, false),
        (Cell::Float64(3.0), Integer, true),
        (Cell::Decimal("123.4500"), Numeric, true),
        (Cell::Decimal("9007199254740993.5"), Numeric, false),
        (Cell::Decimal("0.1000000000000000055"), Numeric, false),
        (Cell::Decimal("99999999999999999999"), Text, true),
        (Cell::Bytes(&[0xff]), Text, false),
        (Cell::Bytes(b"abc"), Text, true),
        (Cell::Int(1), Blob, false),
        (Cell::Any(b"t7"), Numeric, false),
        (Cell::Any(b"t7x"), Numeric, true),
        (Cell::Any(b"t7"), Any, true),
        (Cell::Any(b"t7"), Integer, false),
        (Cell::Any(b"i\0\0\0\0\0\0\0\0"), Text, false),
        (Cell::Any(b"i\0\0\0\0\0\0\0\0"), Real, true),
        (Cell::Any(b"bx"), Text, false),
        (Cell::Float64(TWO_63), Numeric, true),
        (Cell::Any(b"q"), Any, false),
        (Cell::Any(b"i123"), Any, false),
    ] {
        assert_eq!(fits(cell, affinity), expected, "{cell:?} in {affinity:?}");
    }
}
