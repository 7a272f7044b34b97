//! The rules value by value.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::types::{self, Declared};
use super::*;

fn column(data_type: &str, precision: Option<i64>, scale: Option<i64>) -> Column {
    let declared = Declared {
        data_type,
        precision,
        scale,
        charset: "AL32UTF8",
        ncharset: "AL16UTF16",
        ..Declared::default()
    };
    types::column("c", &declared).unwrap()
}

#[test]
fn numbers_that_would_be_rounded_are_refused() {
    let zeros = |n| "0".repeat(n);
    let nines = |n| "9".repeat(n);
    for (precision, scale, fits, unfit) in [
        (
            Some(5),
            Some(2),
            vec!["0", "-0", "0.00", "999.99", "-999.99", "1.2000", "007", "0.01"],
            vec!["1000", "0.001", "-1000.00", "999.995", "", "-", "1e3", "+1", ".5", "1 "],
        ),
        (Some(5), Some(-2), vec!["0", "100", "9999900"], vec!["1", "150", "10000000", "0.5"]),
        (Some(3), Some(5), vec!["0.00999", "-0.00001"], vec!["0.01", "0.000001", "1"]),
        (None, Some(0), vec!["1", "-7.0"], vec!["0.5"]),
    ] {
        let c = column("NUMBER", precision, scale);
        for text in fits {
            assert_eq!(number(text, &c), Ok(()), "{text} into {}", c.declared);
        }
        for text in unfit {
            assert!(number(text, &c).is_err(), "{text} into {}", c.declared);
        }
    }
    let bare = column("NUMBER", None, None);
    let fits = [
        nines(40),
        format!("1{}", zeros(125)),
        format!("0.{}1", zeros(129)),
        format!("{}.{}", nines(20), nines(20)),
        // An odd number of digits before the point: half a pair is lost, on either side.
        format!("{}.{}", nines(19), nines(20)),
        format!("0.{}", nines(40)),
    ];
    for text in fits {
        assert_eq!(number(&text, &bare), Ok(()), "{text}");
    }
    let unfit = [
        nines(41),
        format!("1{}", zeros(126)),
        format!("0.{}1", zeros(130)),
        format!("{}.{}", nines(19), nines(21)),
        format!("0.0{}", nines(40)),
    ];
    for text in unfit {
        assert!(number(&text, &bare).is_err(), "{text}");
    }
    let float = column("FLOAT", Some(63), None);
    assert_eq!(number(&nines(18), &float), Ok(()));
    assert_eq!(number(&format!("{}000", nines(18)), &float), Ok(()));
    assert!(number(&nines(19), &float).is_err());
    let boolean = column("BOOLEAN", None, None);
    assert_eq!((number("0", &boolean), number("1", &boolean)), (Ok(()), Ok(())));
    assert!(["2", "-1", "10", "0.1"].iter().all(|n| number(n, &boolean).is_err()));
}

#[test]
fn floats_lose_no_sign_and_are_spelt_plainly() {
    assert_eq!(double_text(0.1).unwrap(), "0.1");
    assert_eq!(double_text(-1e21).unwrap(), "-1000000000000000000000");
    assert_eq!(single_text(0.1).unwrap(), "0.1");
    assert_eq!(single_text(2_147_483_648.0).unwrap(), "2147483648");
    assert_eq!(double_text(2f64.powi(70)).unwrap(), "1180591620717411303424");
    assert_eq!(double_text(1e100).unwrap(), format!("1{}", "0".repeat(100)));
    for bad in [-0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(double_text(bad).is_err(), "{bad}");
    }
    assert!(single_text(f32::NAN).is_err());
    assert!(positive_zero(-0.0).is_err());
    assert!([0.0, -1.0, f64::NAN, f64::INFINITY].iter().all(|v| positive_zero(*v).is_ok()));
}

#[test]
fn empty_text_and_padding_never_change_silently() {
    let (fixed, free) = (column("CHAR", None, None), column("VARCHAR2", None, None));
    assert_eq!(text("", &fixed), Ok(" "));
    assert_eq!(text("a", &fixed), Ok("a"));
    assert_eq!(text(" a", &fixed), Ok(" a"));
    assert!(text("a ", &fixed).is_err() && text(" ", &fixed).is_err());
    assert!(text("", &free).is_err() && text("", &column("CLOB", None, None)).is_err());
    assert_eq!(text("a ", &free), Ok("a "));
    assert_eq!(unpadded(" a  "), " a");
    assert_eq!(unpadded("   "), "");
    assert_eq!(unpadded("a\u{3000}\t"), "a\u{3000}\t");
    assert!(bytes(b"").is_err());
    assert_eq!(bytes(b"\0"), Ok(&b"\0"[..]));
    let ascii = Column { charset: Some("US7ASCII".into()), ..free.clone() };
    assert_eq!(text("plain", &ascii), Ok("plain"));
    assert!(text("é", &ascii).is_err());
    let latin = Column { charset: Some("WE8ISO8859P1".into()), ..free };
    assert_eq!(text("é", &latin), Ok("é"));
    assert!(text("€", &latin).is_err());
}

#[test]
fn days_that_oracle_does_not_have_are_refused() {
    for (year, month, day) in
        [(0, 1, 1), (2024, 0, 1), (2024, 1, 0), (2023, 2, 29), (2023, 2, 31), (2024, 4, 31)]
            .into_iter()
            .chain((5..=14).map(|d| (1582, 10, d)))
            .chain([(1900, 2, 29), (1700, 2, 29), (1501, 2, 29), (0, 0, 0)])
    {
        assert!(!is_day(year, month, day), "{year}-{month}-{day}");
    }
    for (year, month, day) in
        [(1, 1, 1), (2024, 2, 29), (2000, 2, 29), (9999, 12, 31), (1582, 10, 4), (1582, 10, 15)]
            .into_iter()
            // Of the Julian calendar alone.
            .chain([(4, 2, 29), (100, 2, 29), (1500, 2, 29)])
    {
        assert!(is_day(year, month, day), "{year}-{month}-{day}");
    }
}

#[test]
fn moments_fit_by_fraction_and_zone() {
    let fits =
        |text: &str, data_type| Stamp::parse(text).unwrap().fits(&column(data_type, None, None));
    for (text, data_type, good) in [
        ("2024-02-29", "DATE", true),
        ("2024-02-29 10:20:30", "DATE", true),
        ("2024-02-29 10:20:30.000000", "DATE", true),
        ("2024-02-29 10:20:30.5", "DATE", false),
        ("0000-00-00", "DATE", false),
        ("2024-02-29 10:20:30.123", "TIMESTAMP(3)", true),
        ("2024-02-29 10:20:30.1234", "TIMESTAMP(3)", false),
        ("2024-02-29 10:20:30.123456789", "TIMESTAMP(9)", true),
        ("2024-02-29 10:20:30.123456789", "TIMESTAMP(8)", false),
        ("2024-02-29 10:20:30 +08:00", "TIMESTAMP(6)", false),
        ("2024-02-29 10:20:30", "TIMESTAMP(6) WITH TIME ZONE", false),
        ("2024-02-29 10:20:30 +08:00", "TIMESTAMP(6) WITH TIME ZONE", true),
        ("2024-02-29 10:20:30", "TIMESTAMP(6) WITH LOCAL TIME ZONE", true),
    ] {
        assert_eq!(fits(text, data_type).is_ok(), good, "{text} into {data_type}");
    }
    for bad in [
        "",
        "2024-02-29 10:20:30.",
        "2024-02-29 10:20:30.1234567890",
        "2024-02-29 10:20.5",
        "2024-02-29.5",
        "2024-02-29 10:20:30 +8:00",
        "2024-02-29 10:20:30 +08:60",
        "2024-02-29 10:20:30 Europe/Berlin",
        "2024-2-9",
        "2024-02-29 10:20:30 +é0:00",
    ] {
        assert_eq!(Stamp::parse(bad), None, "{bad}");
    }
}

#[test]
fn durations_fit_by_days_and_fraction() {
    let interval = |p, s| column(&format!("INTERVAL DAY({p}) TO SECOND({s})"), None, None);
    // MySQL's longest.
    let longest = ((838 * 60 + 59) * 60 + 59) * 1_000_000 + 999_999;
    assert_eq!(duration(longest, &interval(2, 6)), Ok(()));
    assert!(duration(longest, &interval(2, 5)).is_err());
    assert!(duration(-longest, &interval(1, 6)).is_err());
    assert!(duration(DAY_MICROS, &interval(0, 6)).is_err());
    assert_eq!(duration(1 - DAY_MICROS, &interval(0, 6)), Ok(()));
    let year = column("INTERVAL YEAR(2) TO MONTH", None, None);
    assert_eq!(months("99-11", &year), Ok(1199));
    assert_eq!(months("-0-01", &year), Ok(-1));
    for bad in ["100-00", "1-12", "1-1", "1", "", "--1-01", "a-01"] {
        assert!(months(bad, &year).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn moments_survive_their_spelling(
        (year, month, day) in (1u16..=9999, 1u8..=12, 1u8..=28),
        (hour, minute, second) in (0u8..24, 0u8..60, 0u8..60),
        nanos in prop_oneof![Just(0), (0u32..1_000_000).prop_map(|n| n * 1000), 0u32..1_000_000_000],
        offset in proptest::option::of(-959i16..=959),
    ) {
        let stamp = Stamp { year, month, day, hour, minute, second, nanos, offset };
        prop_assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        let micros = nanos / 1000;
        let packed = DateTime::new(year, month, day, hour, minute, second, micros).unwrap();
        let same = Stamp { offset: None, nanos: micros * 1000, ..stamp };
        prop_assert_eq!(Stamp::of(packed), same);
    }

    #[test]
    fn durations_survive_their_spelling(
        micros in -8_639_999_999_999_999_999i64..=8_639_999_999_999_999_999,
        nanos in 0u32..1000,
    ) {
        let interval = Interval::of(micros);
        let seconds = i128::from(interval.days) * 86_400
            + i128::from(interval.hours) * 3600
            + i128::from(interval.minutes) * 60
            + i128::from(interval.seconds);
        let sign = if interval.negative { -1 } else { 1 };
        let all = sign * (seconds * 1_000_000 + i128::from(interval.nanos / 1000));
        prop_assert_eq!(all, i128::from(micros));
        let finer = Interval { nanos: interval.nanos + nanos, ..interval };
        prop_assert_eq!(Interval::parse(&finer.to_string()), Some(finer));
    }

    #[test]
    fn months_survive_their_spelling(n in -119_999i64..=119_999) {
        let column = column("INTERVAL YEAR(4) TO MONTH", None, None);
        prop_assert_eq!(months(&months_text(n), &column), Ok(n));
    }

    #[test]
    fn parsers_never_panic(text in ".*") {
        let _ = (Stamp::parse(&text), Interval::parse(&text));
        let c = column("NUMBER", None, None);
        let _ = (number(&text, &c), months(&text, &c), super::text(&text, &c));
    }
}
