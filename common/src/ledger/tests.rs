use proptest::prelude::*;

use super::*;

#[test]
fn pairs_differ_by_source_and_by_destination() {
    let (a, b) = (id_of("a"), id_of("b"));
    assert_ne!(pair_id(&a, "t"), pair_id(&b, "t"));
    assert_ne!(pair_id(&a, "t"), pair_id(&a, "u"));
    assert_eq!(pair_id(&a, "t"), pair_id(&a, "t"));
}

proptest! {
    /// Fill a sequence, lose some, fill the gaps, lose some of those, fill again: positions
    /// must always sort as the rows do.
    #[test]
    fn positions_sort_as_the_rows_do(
        lost in proptest::collection::vec(any::<bool>(), 40),
        lost_again in proptest::collection::vec(any::<bool>(), 200),
    ) {
        // Entries are (row key, position).
        let mut top = Pos::top(0);
        let mut landed: Vec<(f64, String)> = (0..40)
            .map(|i| (f64::from(i), part_pos(&top.take().unwrap(), 0)))
            .collect();
        let mut i = 0;
        landed.retain(|_| { i += 1; !lost[i - 1] });
        for keep in [true, false] {
            let mut filled = Vec::new();
            let mut left = (-1.0, String::new());
            let mut n = 0;
            for right in landed.iter().cloned().chain([(40.0, String::new())]) {
                if right.0 < 40.0 {
                    let mut pos = Pos::between(&left.1, &right.1);
                    for k in 1..=3 {
                        let key = left.0 + (right.0 - left.0) * f64::from(k) / 4.0;
                        let p = part_pos(&pos.take().unwrap(), 0);
                        n += 1;
                        if !keep || !lost_again[n % lost_again.len()] {
                            filled.push((key, p));
                        }
                    }
                }
                left = right;
            }
            landed.extend(filled);
            let mut by_key = landed.clone();
            by_key.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut by_pos = landed.clone();
            by_pos.sort_by(|a, b| a.1.cmp(&b.1));
            prop_assert_eq!(&by_key, &by_pos);
            landed = by_key;
        }
    }
}

fn entry(pos: &str, key: i64) -> Entry {
    let key = vec![Value::Int(key), Value::Text(format!("k{key}"))];
    Entry { run: [7; 16], pos: pos.to_owned(), rows: 1, lo: key.clone(), hi: key, settled: false }
}

#[test]
fn short_positions_stay_and_long_ones_become_numbers_in_the_same_order() {
    let mut pos = part_pos("00000003", 0);
    let mut landed = vec![entry(&pos, 0)];
    for key in 1..4 {
        pos = part_pos(&Pos::between(&pos, &part_pos("00000004", 0)).take().unwrap(), 0);
        landed.push(entry(&pos, key));
    }
    landed.push(entry(&part_pos("00000004", 0), 9));
    assert_eq!(renumbered(&landed), None);
    let mut rounds = 0;
    let mut numbers = 0;
    for round in 0..200 {
        // A gap is filled with one batch, in front of the last entry; then the run breaks off.
        let (left, right) = (&landed[landed.len() - 2], &landed[landed.len() - 1]);
        let pos = part_pos(&Pos::between(&left.pos, &right.pos).take().unwrap(), 0);
        landed.insert(landed.len() - 1, entry(&pos, 10 + round));
        if let Some(short) = renumbered(&landed) {
            rounds += 1;
            assert!(short.iter().all(|e| e.pos.len() == 17), "{short:?}");
            assert!(!short.iter().any(|e| landed.iter().any(|old| old.pos == e.pos)));
            numbers = short.iter().filter_map(|e| Pos::top_number(&e.pos)).max().unwrap();
            assert_eq!(short.len(), landed.len());
            for (old, new) in landed.iter().zip(&short) {
                assert_eq!(Entry { pos: old.pos.clone(), ..new.clone() }, *old);
            }
            landed = short;
        }
        assert!(landed.is_sorted_by(|a, b| a.pos < b.pos));
    }
    assert!((10..100).contains(&rounds), "{rounds}");
    assert!(numbers < 3 * landed.len() as u64, "{numbers}: numbers do not grow");
}

#[test]
fn values_are_sealed_for_their_run_position_and_end_and_plain_ones_are_read() {
    let ring = |seed: u8| {
        let secret = crate::secret::Secret::new((seed..seed + 32).collect());
        ("pii".to_owned(), crate::crypto::KeyRing::new("pii", &secret, &[]).unwrap())
    };
    let named = vec![None, Some("pii".to_owned())];
    let seals = Seals::new(named.clone(), [ring(1)].into()).unwrap();
    let open = Seals::default();
    let plain = entry("00000000/00000000", 5);
    let kept = seals.seal(&plain).unwrap();
    let text = serde_json::to_string(&kept.lo).unwrap();
    assert!(text.contains("{\"i\":5}") && !text.contains("k5"), "{text}");
    assert_ne!(kept.lo[1], kept.hi[1], "equal values do not show");
    assert_eq!(seals.open(&kept).unwrap(), plain);
    let read: KeptKey = serde_json::from_str(&text).unwrap();
    assert_eq!(read, kept.lo);
    // As older versions, and tables without encryption, keep them.
    let old = open.seal(&plain).unwrap();
    assert_eq!(serde_json::to_string(&old.lo).unwrap(), "[{\"i\":5},{\"t\":\"k5\"}]");
    assert_eq!(seals.open(&old).unwrap(), plain);
    // Put elsewhere it does not open.
    let (lo, hi) = (kept.hi.clone(), kept.lo.clone());
    for moved in [
        Entry { pos: "00000001/00000000".into(), ..kept.clone() },
        Entry { run: [8; 16], ..kept.clone() },
        Entry { lo, hi, ..kept.clone() },
    ] {
        assert_eq!(seals.open(&moved).unwrap_err().kind, Kind::Database);
    }
    // Without the key nothing is opened, and the key is named.
    let id = ring(1).1.ids().next().unwrap().to_string();
    for without in [open, Seals::new(named.clone(), [ring(9)].into()).unwrap()] {
        let e = without.open(&kept).unwrap_err();
        assert_eq!(e.kind, Kind::Refused);
        assert!(e.message.contains(&id), "{e:?}");
    }
    assert_eq!(Seals::new(named, Default::default()).unwrap_err().kind, Kind::Config);

    let seals = Seals::new(vec![Some("pii".to_owned())], [ring(1)].into()).unwrap();
    let mark = Mark { column: "at".into(), value: Value::Int(77), rows: None };
    let kept = seals.seal_mark(&mark).unwrap();
    assert!(!serde_json::to_string(&kept).unwrap().contains("77"));
    assert_eq!(seals.open_mark(&kept).unwrap(), mark);
    let upto = seals.seal_upto(&[1; 16], &mark.value).unwrap();
    assert_eq!(seals.open_upto(&[1; 16], &upto).unwrap(), mark.value);
    assert!(seals.open_upto(&[2; 16], &upto).is_err());
}
