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
