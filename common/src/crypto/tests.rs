use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, Float32Array, Float64Array, Int64Array, StringArray, UInt64Array,
};
use proptest::prelude::*;

use super::envelope::SALT_VALUES_MAX;
use super::*;
use crate::batch::BadValue;
use crate::config::SecretSource;
use crate::schema::{Column, Kind};
use crate::secret::Secret;
use crate::value::{DateTime, Value, hex_bytes, parse_time};

fn secret(seed: u8) -> Secret {
    Secret::new((0..32u8).map(|i| i.wrapping_mul(7).wrapping_add(seed)).collect())
}

fn ring(seed: u8) -> KeyRing {
    KeyRing::new("k", &secret(seed), &[]).unwrap()
}

const MODES: [Mode; 2] = [Mode::Random, Mode::Deterministic];

fn seal(ring: &KeyRing, mode: Mode, array: &dyn Array, kind: Kind) -> StringArray {
    let mut sealer = Sealer::new(ring, "orders", "mobile", mode).unwrap();
    sealer.seal_column(array, kind).unwrap().as_string::<i32>().clone()
}

fn open(ring: &KeyRing, mode: Mode, array: &dyn Array, kind: Kind) -> (ArrayRef, Vec<BadValue>) {
    let mut opener = Opener::new(ring, "orders", "mobile", mode).unwrap();
    opener.open_column(array, Kind::Text, kind).unwrap()
}

/// Why one envelope stays closed; `None` when it opens.
fn closed(ring: &KeyRing, mode: Mode, text: &str) -> Option<String> {
    let (values, mut bad) = open(ring, mode, &StringArray::from(vec![text]), Kind::Text);
    assert_eq!(values.is_null(0), !bad.is_empty());
    bad.pop().map(|b| {
        assert_eq!((b.row, b.column.as_str()), (0, "mobile"));
        b.message
    })
}

fn texts(values: &[&str]) -> StringArray {
    StringArray::from(values.to_vec())
}

fn date_time(text: &str) -> i64 {
    DateTime::parse(text).unwrap().packed()
}

/// Every kind with its extremes and a NULL.
fn every_kind() -> Vec<(Kind, ArrayRef)> {
    let dates = ["0000-00-00", "2024-00-15", "2023-02-31", "9999-12-31"];
    let moments = ["0000-00-00 00:00:00", "9999-12-31 23:59:59.999999", "2024-02-29 00:00:00.5"];
    let times = ["00:00:00", "-838:59:59.999999", "838:59:59", "-00:00:00.000001"];
    let int = |v: Vec<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(v.into_iter().map(Some).chain([None])))
    };
    let decimals = ["0", "-0.01", &"9".repeat(65), "-123.4500"];
    let words = ["", " padded ", "张三", "\u{10ffff}\0", &"x".repeat(70_000)];
    let tagged = [
        Value::Int(i64::MIN),
        Value::Float(-0.0),
        Value::Text(String::new()),
        Value::Bytes(vec![0, 255]),
    ];
    vec![
        (Kind::Int, int(vec![0, -1, i64::MIN, i64::MAX])),
        (Kind::UInt, Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None]))),
        (
            Kind::Float32,
            Arc::new(Float32Array::from(vec![Some(f32::MIN_POSITIVE), Some(-0.0), None])),
        ),
        (
            Kind::Float64,
            Arc::new(Float64Array::from(vec![Some(f64::MAX), Some(5e-324), Some(-0.0), None])),
        ),
        (
            Kind::Decimal,
            Arc::new(StringArray::from_iter(decimals.map(Some).into_iter().chain([None]))),
        ),
        (Kind::Text, Arc::new(StringArray::from_iter(words.map(Some).into_iter().chain([None])))),
        (
            Kind::Bytes,
            Arc::new(BinaryArray::from(vec![
                Some(b"".as_slice()),
                Some(&(0..=255).collect::<Vec<u8>>()),
                None,
            ])),
        ),
        (Kind::Date, int(dates.map(date_time).to_vec())),
        (Kind::DateTime, int(moments.map(date_time).to_vec())),
        (Kind::Time, int(times.map(|t| parse_time(t).unwrap()).to_vec())),
        (
            Kind::Any,
            Arc::new(BinaryArray::from_iter(tagged.iter().map(|v| v.to_tagged()).chain([None]))),
        ),
    ]
}

/// Arrays are equal in every bit: floats by their bits, so that a negative zero counts.
fn bits(array: &dyn Array) -> Vec<Option<Vec<u8>>> {
    let data = array.to_data();
    (0..array.len())
        .map(|row| {
            (!array.is_null(row)).then(|| match array.data_type() {
                arrow_schema::DataType::Utf8 => {
                    array.as_string::<i32>().value(row).as_bytes().to_vec()
                }
                arrow_schema::DataType::Binary => array.as_binary::<i32>().value(row).to_vec(),
                other => {
                    let width = other.primitive_width().unwrap();
                    let at = (data.offset() + row) * width;
                    data.buffers()[0].as_slice()[at..at + width].to_vec()
                }
            })
        })
        .collect()
}

#[test]
fn every_value_of_every_kind_comes_back_with_every_engine() {
    let ring = ring(1);
    for mode in MODES {
        for (kind, array) in every_kind() {
            for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let (from, to) = (Engine::ALL[from], Engine::ALL[to]);
                let mut sealer = Sealer::with_engine(&ring, "t", "c", mode, from).unwrap();
                let sealed = sealer.seal_column(&array, kind).unwrap();
                assert!(sealed.as_string::<i32>().iter().flatten().all(|t| t.starts_with('S')
                    && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')));
                let mut opener = Opener::with_engine(&ring, "t", "c", mode, to).unwrap();
                let (opened, bad) = opener.open_column(&sealed, Kind::Text, kind).unwrap();
                assert_eq!(bad, [], "{kind:?}");
                assert_eq!(opened.data_type(), &kind.arrow());
                assert_eq!(bits(&opened), bits(&array), "{kind:?} {mode:?}");
            }
        }
    }
}

#[test]
fn a_slice_of_a_batch_is_sealed_as_that_slice() {
    let ring = ring(1);
    for (kind, array) in every_kind() {
        let slice = array.slice(1, array.len() - 1);
        let sealed = seal(&ring, Mode::Random, &slice, kind);
        let (opened, bad) = open(&ring, Mode::Random, &sealed.slice(1, 1), kind);
        assert_eq!(bad, []);
        assert_eq!(bits(&opened), bits(&array.slice(2, 1)));
    }
}

#[test]
fn envelopes_in_byte_columns_and_in_untyped_columns_open() {
    let ring = ring(1);
    let sealed = seal(&ring, Mode::Random, &texts(&["a"]), Kind::Text);
    let envelope = sealed.value(0);
    let bytes = BinaryArray::from(vec![envelope.as_bytes()]);
    let tagged = |tag: &str| format!("{tag}{envelope}").into_bytes();
    let any = BinaryArray::from_iter_values([tagged("t"), tagged("b"), tagged("i"), vec![]]);
    let mut opener = Opener::new(&ring, "orders", "mobile", Mode::Random).unwrap();
    let (opened, bad) = opener.open_column(&bytes, Kind::Bytes, Kind::Text).unwrap();
    assert_eq!((opened.as_string::<i32>().value(0), bad), ("a", vec![]));
    let (opened, bad) = opener.open_column(&any, Kind::Any, Kind::Text).unwrap();
    assert_eq!(opened.as_string::<i32>().value(1), "a");
    assert_eq!(bad.iter().map(|b| b.row).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn columns_of_the_wrong_type_are_refused() {
    let ring = ring(1);
    let ints = Int64Array::from(vec![1]);
    let mut sealer = Sealer::new(&ring, "t", "c", Mode::Random).unwrap();
    for kind in [Kind::UInt, Kind::Float32, Kind::Float64, Kind::Text, Kind::Bytes, Kind::Any] {
        sealer.seal_column(&ints, kind).unwrap_err();
    }
    sealer.seal_column(&texts(&["x"]), Kind::Int).unwrap_err();
    sealer.seal_column(&BinaryArray::from(vec![b"?".as_slice()]), Kind::Any).unwrap_err();
    let mut opener = Opener::new(&ring, "t", "c", Mode::Random).unwrap();
    for kind in [Kind::Text, Kind::Bytes, Kind::Any, Kind::Int] {
        opener.open_column(&ints, kind, Kind::Text).unwrap_err();
    }
}

#[test]
fn any_changed_bit_keeps_a_value_closed() {
    let ring = ring(1);
    for mode in MODES {
        let sealed = seal(&ring, mode, &texts(&["13800138000"]), Kind::Text);
        let text = sealed.value(0);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bent = text.as_bytes().to_vec();
                bent[at] ^= 1 << bit;
                let array = BinaryArray::from(vec![bent.as_slice()]);
                let mut opener = Opener::new(&ring, "orders", "mobile", mode).unwrap();
                let (values, bad) = opener.open_column(&array, Kind::Bytes, Kind::Text).unwrap();
                assert!(values.is_null(0) && bad.len() == 1, "byte {at} bit {bit}");
            }
        }
        for cut in 0..text.len() {
            assert!(closed(&ring, mode, &text[..cut]).is_some());
            assert!(closed(&ring, mode, &text[cut + 1..]).is_some());
        }
        for odd in [
            format!("{text}="),
            format!(" {text}"),
            format!("{text}A"),
            format!("{text}\n"),
            text.repeat(2),
        ] {
            assert!(closed(&ring, mode, &odd).is_some(), "{odd}");
        }
        assert_eq!(closed(&ring, mode, &format!("{text}   ")), None, "a blank-padded CHAR");
    }
}

#[test]
fn the_other_spellings_of_the_last_character_stay_closed() {
    let ring = ring(1);
    for len in 0..3 {
        let sealed = seal(&ring, Mode::Random, &texts(&[&"x".repeat(len)]), Kind::Text);
        let text = sealed.value(0);
        let spellings = (b'!'..=b'~').filter(|last| {
            let other = format!("{}{}", &text[..text.len() - 1], char::from(*last));
            closed(&ring, Mode::Random, &other).is_none()
        });
        assert_eq!(spellings.count(), 1);
    }
}

#[test]
fn a_value_that_was_moved_does_not_open() {
    let ring = ring(1);
    let sealed = seal(&ring, Mode::Random, &texts(&["secret"]), Kind::Text);
    let opens = |table: &str, column: &str| {
        let mut opener = Opener::new(&ring, table, column, Mode::Random).unwrap();
        opener.open_column(&sealed, Kind::Text, Kind::Text).unwrap().1.is_empty()
    };
    assert!(opens("orders", "mobile"));
    assert!(opens("dw.orders", "mobile"), "the schema does not count");
    assert!(opens("`a.b`.`orders`", "mobile"));
    assert!(opens("orders", "MOBILE"), "columns are not told apart by case");
    for (table, column) in [
        ("orders2", "mobile"),
        ("Orders", "mobile"),
        ("orders", "mobile2"),
        ("mobile", "orders"),
        ("ordersm", "obile"),
        ("`dw.orders`", "mobile"),
        ("", "mobile"),
    ] {
        assert!(!opens(table, column), "{table}.{column}");
    }
}

#[test]
fn the_modes_do_not_stand_in_for_each_other() {
    let ring = ring(1);
    let random = seal(&ring, Mode::Random, &texts(&["x"]), Kind::Text);
    let fixed = seal(&ring, Mode::Deterministic, &texts(&["x"]), Kind::Text);
    let message = closed(&ring, Mode::Deterministic, random.value(0)).unwrap();
    assert_eq!(message, "sealed with random nonces, not deterministically as configured");
    let message = closed(&ring, Mode::Random, fixed.value(0)).unwrap();
    assert_eq!(message, "sealed deterministically, not with random nonces as configured");
}

#[test]
fn deterministic_values_are_equal_where_and_only_where_their_plain_values_are() {
    let ring = ring(1);
    let place = |table: &str, array: &dyn Array, kind: Kind| {
        let mut sealer = Sealer::new(&ring, table, table, Mode::Deterministic).unwrap();
        let sealed = sealer.seal_column(array, kind).unwrap();
        sealed.as_string::<i32>().iter().map(|t| t.unwrap().to_owned()).collect::<Vec<_>>()
    };
    let words = place("a", &texts(&["7", "7", "7 ", "8"]), Kind::Text);
    assert_eq!(words[0], words[1]);
    assert_eq!(words.iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(
        words,
        place("b", &texts(&["7", "7", "7 ", "8"]), Kind::Text),
        "joins across tables"
    );
    let signed = place("a", &Int64Array::from(vec![7]), Kind::Int);
    assert_eq!(signed, place("b", &UInt64Array::from(vec![7]), Kind::UInt));
    assert!(!words.contains(&signed[0]), "a number is not a text");
    let elsewhere = seal(&self::ring(2), Mode::Deterministic, &texts(&["7"]), Kind::Text);
    assert_ne!(elsewhere.value(0), words[0], "another key");
}

#[test]
fn a_value_in_the_wrong_form_for_its_column_is_a_bad_value() {
    let ring = ring(1);
    let check = |mode: Mode, array: &dyn Array, from: Kind, into: Kind| {
        let sealed = seal(&ring, mode, array, from);
        open(&ring, mode, &sealed, into).1.into_iter().map(|b| b.row).collect::<Vec<_>>()
    };
    let numbers =
        texts(&["12", "-1", "007", "+7", "-0", "1.5", "", "1e3", " 1", "18446744073709551616"]);
    let all: Vec<usize> = (0..numbers.len()).collect();
    for mode in MODES {
        let check = |array: &dyn Array, from, into| check(mode, array, from, into);
        assert_eq!(check(&numbers, Kind::Text, Kind::Int), all[2..]);
        assert_eq!(check(&numbers, Kind::Text, Kind::UInt), all[1..]);
        assert_eq!(check(&numbers, Kind::Text, Kind::Decimal), [2, 3, 4, 6, 7, 8]);
        assert_eq!(check(&numbers, Kind::Text, Kind::Float64), all);
        assert_eq!(check(&numbers, Kind::Text, Kind::Bytes), all);
        assert_eq!(check(&numbers, Kind::Text, Kind::Any), [] as [usize; 0]);
        let zeros = texts(&["-0.00", "0.00", "00.5", ".5", "5.", "-", "5"]);
        assert_eq!(check(&zeros, Kind::Text, Kind::Decimal), [0, 2, 3, 4, 5]);
        assert_eq!(check(&texts(&["5", "5.00"]), Kind::Decimal, Kind::Int), [1]);
        let big = UInt64Array::from(vec![u64::MAX]);
        assert_eq!(check(&big, Kind::UInt, Kind::Int), [0]);
        assert_eq!(check(&big, Kind::UInt, Kind::Any), [0]);
        assert_eq!(check(&big, Kind::UInt, Kind::Decimal), [] as [usize; 0]);
        assert_eq!(check(&Float64Array::from(vec![0.1, 0.5]), Kind::Float64, Kind::Float32), [0]);
        assert_eq!(check(&Float64Array::from(vec![0.5]), Kind::Float64, Kind::Text), [0]);
        let moments =
            Int64Array::from(vec![date_time("2024-01-02"), date_time("2024-01-02 03:04")]);
        assert_eq!(check(&moments, Kind::DateTime, Kind::Date), [1]);
        assert_eq!(check(&moments, Kind::Date, Kind::DateTime), [] as [usize; 0]);
        assert_eq!(check(&moments, Kind::Date, Kind::Time), [0, 1]);
        let times = texts(&["01:02:03", "1:02:03", "-00:00:00", "-01:00:00.5", "001:00:00"]);
        assert_eq!(check(&times, Kind::Text, Kind::Time), [1, 2, 4]);
        let bytes = BinaryArray::from(vec![b"plain".as_slice()]);
        assert_eq!(check(&bytes, Kind::Bytes, Kind::Text), [0]);
        assert_eq!(check(&bytes, Kind::Bytes, Kind::Any), [] as [usize; 0]);
    }
    let sealed = seal(&ring, Mode::Random, &texts(&["hidden"]), Kind::Text);
    let message = open(&ring, Mode::Random, &sealed, Kind::Int).1.remove(0).message;
    assert_eq!(message, "sealed as text, which is not exactly a signed integer");
}

#[test]
fn old_keys_still_open_and_unknown_ones_do_not() {
    let old = ring(1);
    let rotated = KeyRing::new("k", &secret(2), &[secret(1)]).unwrap();
    assert_eq!(rotated.ids().nth(1), old.ids().next());
    for mode in MODES {
        let before = seal(&old, mode, &texts(&["x"]), Kind::Text);
        let after = seal(&rotated, mode, &texts(&["x"]), Kind::Text);
        assert_eq!(closed(&rotated, mode, before.value(0)), None);
        assert_eq!(closed(&rotated, mode, after.value(0)), None);
        assert_eq!(closed(&ring(2), mode, after.value(0)), None, "the new key seals");
        let id = rotated.ids().next().unwrap();
        assert_eq!(
            closed(&old, mode, after.value(0)).unwrap(),
            format!("sealed with key {id}, which is not at hand")
        );
    }
}

#[test]
fn a_foreign_key_under_a_known_id_does_not_open() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    for mode in MODES {
        let own = seal(&ring(2), mode, &texts(&["x"]), Kind::Text);
        let foreign = seal(&ring(1), mode, &texts(&["x"]), Kind::Text);
        let decode = |sealed: &StringArray| URL_SAFE_NO_PAD.decode(sealed.value(0)).unwrap();
        let relabelled = [&decode(&own)[..5], &decode(&foreign)[5..]].concat();
        let message = closed(&ring(2), mode, &URL_SAFE_NO_PAD.encode(relabelled)).unwrap();
        assert!(message.starts_with("does not open: altered"), "{message}");
    }
}

#[test]
fn plain_text_is_never_passed_through() {
    let ring = ring(1);
    for mode in MODES {
        for text in ["", "13800138000", "张三", "SGVsbG8", "S", "=", "SAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            let message = closed(&ring, mode, text).unwrap();
            assert_eq!(message, "not an envelope of ssync", "{text}");
        }
    }
}

#[test]
fn no_salt_seals_more_values_than_its_counter_tells_apart() {
    let ring = ring(1);
    let mut sealer = Sealer::new(&ring, "t", "c", Mode::Random).unwrap();
    let per_batch = 50_000;
    let array = Int64Array::from_iter_values(0..per_batch);
    let mut seen = HashSet::new();
    let mut salts = HashSet::new();
    for _ in 0..3 {
        let sealed = sealer.seal_column(&array, Kind::Int).unwrap();
        for text in sealed.as_string::<i32>().iter().flatten() {
            // Bytes 5 to 18: salt and counter.
            let mut frame = Vec::new();
            assert!(envelope::parse(text.as_bytes(), &mut frame).is_some());
            assert!(seen.insert(<[u8; 14]>::try_from(&frame[5..19]).unwrap()));
            salts.insert(<[u8; 12]>::try_from(&frame[5..17]).unwrap());
        }
        let mut opener = Opener::new(&ring, "t", "c", Mode::Random).unwrap();
        let (opened, bad) = opener.open_column(&sealed, Kind::Text, Kind::Int).unwrap();
        assert_eq!(bad, []);
        assert_eq!(opened.as_ref(), &array);
    }
    assert_eq!(salts.len() as u32, (3 * per_batch as u32).div_ceil(SALT_VALUES_MAX));
}

#[test]
fn sealers_never_share_a_salt() {
    let ring = ring(1);
    let salts: HashSet<String> = (0..200)
        .map(|_| {
            let sealed = seal(&ring, Mode::Random, &texts(&["x"]), Kind::Text);
            sealed.value(0)[6..22].to_owned()
        })
        .collect();
    assert_eq!(salts.len(), 200);
}

/// Also run by the test below, as a process of its own.
#[test]
fn an_envelope_on_standard_output_opens() {
    let sealed = seal(&ring(1), Mode::Random, &texts(&["x"]), Kind::Text);
    assert_eq!(closed(&ring(1), Mode::Random, sealed.value(0)), None);
    println!("envelope={}", sealed.value(0));
}

#[test]
fn processes_never_share_a_salt() {
    let envelope = |_| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["crypto::tests::an_envelope_on_standard_output_opens", "--exact", "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let envelope = text.split("envelope=").nth(1).unwrap().split_whitespace().next().unwrap();
        assert_eq!(closed(&ring(1), Mode::Random, envelope), None);
        envelope[6..22].to_owned()
    };
    let salts: HashSet<String> = (0..10).map(envelope).collect();
    assert_eq!(salts.len(), 10);
}

#[test]
fn more_salts_than_data_keys_at_hand_still_open() {
    let ring = ring(1);
    let envelopes: Vec<String> = (0..2500)
        .map(|n| seal(&ring, Mode::Random, &texts(&[&n.to_string()]), Kind::Text).value(0).into())
        .collect();
    // Forwards, backwards, and the same one in between all others.
    let order: Vec<usize> = (0..2500).chain((0..2500).rev()).flat_map(|n| [n, 7]).collect();
    let array = StringArray::from_iter_values(order.iter().map(|n| &envelopes[*n]));
    let (opened, bad) = open(&ring, Mode::Random, &array, Kind::Int);
    assert_eq!(bad, []);
    let expected = Int64Array::from_iter_values(order.iter().map(|n| *n as i64));
    assert_eq!(opened.as_ref(), &expected);
}

#[test]
fn keys_are_read_in_every_form_and_weak_ones_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let raw: Vec<u8> = (0..32).map(|i| 250u8.wrapping_mul(i) ^ 0xfb).collect();
    let id = |bytes: Vec<u8>| key::MasterKey::parse(&Secret::new(bytes)).map(|k| k.id());
    let expected = id(raw.clone()).unwrap();
    let hex = hex_bytes::encode(&raw);
    for form in [
        hex.clone(),
        hex.to_uppercase(),
        format!("  {hex}\r\n"),
        STANDARD.encode(&raw),
        format!("{}\n", STANDARD.encode(&raw)),
        URL_SAFE_NO_PAD.encode(&raw),
    ] {
        assert_eq!(id(form.clone().into_bytes()).unwrap(), expected, "{form}");
    }
    for bad in [
        vec![],
        vec![0; 32],
        b"0".repeat(64),
        b"correct horse battery staple 123".to_vec(),
        hex.as_bytes()[..63].to_vec(),
        raw[..31].to_vec(),
        [raw.as_slice(), &[7]].concat(),
        format!("{hex}{hex}").into_bytes(),
    ] {
        let error = id(bad).unwrap_err();
        assert_eq!(error.kind, crate::error::Kind::Config);
        assert!(error.hint.is_some());
    }
    KeyRing::new("k", &secret(1), &[secret(2), secret(1)]).unwrap_err();
}

#[test]
fn a_configured_key_is_read_from_its_sources_in_order() {
    let file = |n: u8| SecretSource::File { file: n.to_string().into() };
    let key =
        crate::config::Key { name: "pii".into(), secret: file(3), old: vec![file(2), file(1)] };
    let mut asked = Vec::new();
    let ring = KeyRing::resolve(&key, &mut |whose, source| {
        asked.push(whose.to_owned());
        match source {
            SecretSource::File { file } => Ok(secret(file.to_str().unwrap().parse().unwrap())),
            _ => panic!("{source:?}"),
        }
    })
    .unwrap();
    assert_eq!(asked, ["key pii", "key pii: old[0]", "key pii: old[1]"]);
    let ids: Vec<_> = ring.ids().collect();
    assert_eq!(ids, [3, 2, 1].map(|n| self::ring(n).ids().next().unwrap()));
}

#[test]
fn nothing_that_prints_shows_a_key() {
    let ring = ring(1);
    let hex = hex_bytes::encode(secret(1).expose());
    let shown = format!("{ring:?} {:?} {:?}", ring.to_wire(), secret(1));
    assert!(!shown.contains(&hex[..8]), "{shown}");
    assert!(!shown.contains("[1, 8"), "{shown}");
    let error = KeyRing::new("pii", &Secret::from(hex[..60].to_owned()), &[]).unwrap_err();
    assert!(!format!("{error:?}").contains(&hex[..8]));
    assert_eq!(error.message, "key pii: secret: the key has 60 bytes in no known form");
}

#[test]
fn a_ring_survives_the_way_to_a_writer() {
    let ring = KeyRing::new("pii", &secret(2), &[secret(1)]).unwrap();
    let wire = serde_json::to_string(&ring.to_wire()).unwrap();
    let there = KeyRing::from_wire(serde_json::from_str(&wire).unwrap()).unwrap();
    assert_eq!(there.name(), "pii");
    assert_eq!(there.ids().collect::<Vec<_>>(), ring.ids().collect::<Vec<_>>());
    let sealed = seal(&ring, Mode::Random, &texts(&["x"]), Kind::Text);
    assert_eq!(closed(&there, Mode::Random, sealed.value(0)), None);
    for bent in
        [wire.replace("09", "0g"), wire.replacen("02", "", 1), r#"{"name":"x","keys":[]}"#.into()]
    {
        let read = serde_json::from_str(&bent).map(KeyRing::from_wire);
        assert!(!matches!(read, Ok(Ok(_))), "{bent}");
    }
}

#[test]
fn widths_are_known_beforehand() {
    let ring = ring(1);
    for mode in MODES {
        for len in (0..200).chain([1000, 65_535]) {
            let sealed = seal(&ring, mode, &texts(&[&"x".repeat(len)]), Kind::Text);
            let expected = sealed_len(len, mode == Mode::Deterministic);
            assert_eq!(sealed.value(0).len(), expected, "{len} {mode:?}");
        }
    }
    assert_eq!((sealed_len(11, false), sealed_len(18, false)), (63, 72));
    assert_eq!((sealed_len(11, true), sealed_len(18, true)), (44, 54));
    assert!(sealed_len(usize::MAX, false) > usize::MAX / 2);
}

#[test]
fn the_plain_form_is_never_longer_than_announced() {
    let column =
        |kind: Kind| Column { precision: Some(65), scale: Some(6), ..Column::new("c", kind, "?") };
    for (kind, array) in every_kind() {
        let Some(limit) = plain_len_max(&column(kind)) else {
            assert!(matches!(kind, Kind::Text | Kind::Bytes | Kind::Any));
            continue;
        };
        let sealed = seal(&ring(1), Mode::Random, &array, kind);
        let widest = sealed.iter().flatten().map(str::len).max().unwrap();
        assert!(widest <= sealed_len(limit as usize, false), "{kind:?}");
    }
    let limited = |kind, change: fn(&mut Column)| {
        let mut column = Column::new("c", kind, "?");
        change(&mut column);
        plain_len_max(&column)
    };
    assert_eq!(limited(Kind::Int, |_| ()), Some(20));
    assert_eq!(limited(Kind::UInt, |_| ()), Some(20));
    assert_eq!(limited(Kind::Int, |c| (c.min, c.max) = (Some(-128), Some(127))), Some(4));
    assert_eq!(limited(Kind::Int, |c| (c.min, c.max) = (Some(0), Some(255))), Some(3));
    assert_eq!(limited(Kind::Text, |c| c.max_chars = Some(18)), Some(72));
    assert_eq!(limited(Kind::Text, |c| c.max_bytes = Some(18)), Some(18));
    assert_eq!(limited(Kind::DateTime, |c| c.scale = Some(0)), Some(19));
    assert_eq!(limited(Kind::DateTime, |_| ()), Some(26));
}

#[test]
fn a_new_key_file_is_private_usable_and_never_overwrites() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pii.key");
    let id = check::new_key_file(&path).unwrap();
    let content = std::fs::read(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(
        KeyRing::new("k", &Secret::new(content.clone()), &[]).unwrap().ids().next(),
        Some(id)
    );
    let error = check::new_key_file(&path).unwrap_err();
    assert_eq!(error.kind, crate::error::Kind::Usage);
    assert_eq!(std::fs::read(&path).unwrap(), content);
    let other = dir.path().join("other.key");
    assert_ne!(check::new_key_file(&other).unwrap(), id);
    assert!(check::new_key_file(&dir.path().join("no/such/place")).is_err());
}

#[test]
fn the_check_passes_good_keys_and_names_what_is_wrong() {
    let shared = KeyRing::new("b", &secret(2), &[secret(1)]).unwrap();
    let broken = KeyRing::new("c", &Secret::new(vec![0; 32]), &[]);
    let keys = [
        ("a".to_owned(), Ok(ring(1))),
        ("b".to_owned(), Ok(shared)),
        ("c".to_owned(), broken),
        ("d".to_owned(), Ok(ring(3))),
    ];
    let reports = check::check_keys(&keys);
    assert_eq!(reports[3].faults, [] as [&str; 0]);
    assert_eq!(reports[3].id, ring(3).ids().next().map(|id| id.to_string()));
    let id = ring(1).ids().next().unwrap().to_string();
    assert_eq!(reports[0].faults, [format!("key {id} is also in the ring of b")]);
    assert_eq!((&reports[1].old_ids, reports[1].faults.len()), (&vec![id], 1));
    assert_eq!(reports[2].faults, ["key c: secret: the key is not random: its bytes repeat"]);
}

proptest! {
    #[test]
    fn both_engines_write_the_same_envelope_and_open_each_others(
        key in any::<[u8; 32]>(), words in prop::collection::vec(".*", 1..20), table in ".*", column in ".*",
    ) {
        let Ok(ring) = KeyRing::new("k", &Secret::new(key.to_vec()), &[]) else { return Ok(()) };
        let array = StringArray::from(words);
        for mode in MODES {
            let both = Engine::ALL.map(|engine| {
                Sealer::with_engine(&ring, &table, &column, mode, engine)
                    .unwrap().seal_column(&array, Kind::Text).unwrap()
            });
            if mode == Mode::Deterministic {
                prop_assert_eq!(&both[0], &both[1]);
            }
            for (n, engine) in Engine::ALL.into_iter().enumerate() {
                let mut opener = Opener::with_engine(&ring, &table, &column, mode, engine).unwrap();
                let (opened, bad) = opener.open_column(&both[1 - n], Kind::Text, Kind::Text).unwrap();
                prop_assert_eq!(bad, []);
                prop_assert_eq!(opened.as_string::<i32>(), &array);
            }
        }
    }

    #[test]
    fn both_engines_derive_and_encrypt_alike(
        key in any::<[u8; 32]>(), salt in any::<[u8; 12]>(), nonce in any::<[u8; 12]>(),
        aad in any::<Vec<u8>>(), plain in any::<Vec<u8>>(),
    ) {
        let sealed = Engine::ALL.map(|engine| {
            let mut derived = [0; 32];
            engine.hkdf(&salt, &key, &aad, &mut derived).unwrap();
            let mut text = plain.clone();
            let tag = engine.gcm(&derived).unwrap().seal(nonce, &aad, &mut text).unwrap();
            (derived, text, tag)
        });
        prop_assert_eq!(&sealed[0], &sealed[1]);
    }

    #[test]
    fn arbitrary_text_neither_opens_nor_panics(text in ".*", b64 in "S[ABQf][A-Za-z0-9_-]{20,90} ?") {
        let ring = ring(1);
        for mode in MODES {
            prop_assert!(closed(&ring, mode, &text).is_some());
            prop_assert!(closed(&ring, mode, &b64).is_some());
        }
    }

    #[test]
    fn arbitrary_plain_bytes_never_panic_and_only_their_own_kind_takes_them(
        tag in prop_oneof![Just(b'i'), Just(b'd'), Just(b't'), Just(b'a'), Just(b's'), Just(b'm'),
            Just(b'e'), Just(b'f'), Just(b'b'), any::<u8>()],
        content in prop_oneof![any::<Vec<u8>>(), "-?[0-9]{0,4}[-:. ]?[0-9]{0,2}[-:.]?[0-9]{0,9}".prop_map(String::into_bytes)],
    ) {
        for (kind, _) in every_kind() {
            let mut out = plain::Unpacked::new(kind, 1);
            let _ = plain::unpack(&[&[tag], content.as_slice()].concat(), kind, &mut out);
            let _ = out.finish();
        }
    }

    #[test]
    fn doubles_keep_their_bits(bits_in in any::<u64>()) {
        let ring = ring(1);
        let array = Float64Array::from(vec![f64::from_bits(bits_in)]);
        let sealed = seal(&ring, Mode::Deterministic, &array, Kind::Float64);
        let (opened, bad) = open(&ring, Mode::Deterministic, &sealed, Kind::Float64);
        prop_assert_eq!(bad, []);
        prop_assert_eq!(bits(&opened), bits(&array));
    }
}
