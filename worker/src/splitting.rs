//! Shares a stretch of rows out over several reading threads.
//!
//! The pieces are ranges that lie side by side: whatever the ends between them are, each row is in
//! just one. Good ends only make the pieces of about the same size, so they may be guessed: even
//! steps between the ends of a key that is one whole number, keys of rows taken by chance for any
//! other, and for rows without a key the places where the database keeps them.
//!
//! Positions of a piece's batches sort between those of its neighbours', so that a run that was
//! broken off finds what it still has to read as if one thread had read everything.

use ssync_common::connector::Connection;
use ssync_common::error::Result;
use ssync_common::schema::Kind;
use ssync_common::value::{Key, Value};

use crate::source::{Bound, Range, SourceTable, whole};
use crate::stretches::Stretch;

/// Pieces for each reader: one whose piece was small takes another.
const PIECES_PER_READER: usize = 4;

/// How many pieces are made, and of what.
pub struct Split {
    /// Threads that will read them.
    pub readers: usize,
    /// Rows that a piece should have at least, as far as that can be told.
    pub rows_min: u64,
    /// Whether a sample of the rows can be had: not of every view.
    pub may_sample: bool,
}

/// The stretches, the last of them (what was never begun) in pieces.
pub fn split(
    table: &SourceTable,
    conn: &mut dyn Connection,
    mut stretches: Vec<Stretch>,
    how: &Split,
) -> Result<Vec<Stretch>> {
    let Some(last) = stretches.pop() else { return Ok(stretches) };
    let pieces_max = how.readers * PIECES_PER_READER;
    let ends = match table.order.as_slice() {
        [column] if matches!(column.kind, Kind::Int | Kind::UInt) && table.walks_by_number() => {
            even_steps(table, conn, &last.range, pieces_max, how.rows_min)?
        }
        _ if !how.may_sample => Vec::new(),
        _ => evenly_taken(table.sample(conn, &last.range)?, pieces_max),
    };
    stretches.extend(cut(last, ends));
    Ok(stretches)
}

/// A stretch, cut before each of the keys, which are in order.
fn cut(stretch: Stretch, ends: Vec<Key>) -> Vec<Stretch> {
    if ends.is_empty() {
        return vec![stretch];
    }
    let mut ranges = Vec::new();
    let mut lower = stretch.range.lower;
    for end in ends {
        ranges.push(Range { lower, upper: Bound::Excluding(end.clone()) });
        lower = Bound::Including(end);
    }
    ranges.push(Range { lower, upper: stretch.range.upper });
    let positions = stretch.pos.shared_out(ranges.len());
    ranges.into_iter().zip(positions).map(|(range, pos)| Stretch { range, pos }).collect()
}

/// Whole numbers between the smallest and the largest key.
fn even_steps(
    table: &SourceTable,
    conn: &mut dyn Connection,
    range: &Range,
    pieces_max: usize,
    rows_min: u64,
) -> Result<Vec<Key>> {
    let Some((first, last)) = table.ends(conn, range)? else { return Ok(Vec::new()) };
    let (Some(low), Some(high)) = (whole(&first), whole(&last)) else { return Ok(Vec::new()) };
    let span = high - low + 1;
    let pieces = (span / i128::from(rows_min.max(1))).clamp(1, pieces_max as i128);
    let ends = (1..pieces).map(|n| low + span * n / pieces);
    // Like the largest key, the ends are what the column can hold.
    let value = |end: i128| match last {
        Value::UInt(_) => u64::try_from(end).map(Value::UInt).ok(),
        _ => i64::try_from(end).map(Value::Int).ok(),
    };
    Ok(ends.filter_map(value).map(|end| vec![end]).collect())
}

/// Of keys in order, those that end all pieces but the last.
fn evenly_taken(keys: Vec<Key>, pieces_max: usize) -> Vec<Key> {
    let pieces = pieces_max.min(keys.len() + 1);
    let mut taken: Vec<Key> = Vec::new();
    for n in 1..pieces {
        let key = &keys[keys.len() * n / pieces];
        if taken.last() != Some(key) {
            taken.push(key.clone());
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use ssync_common::ledger::{Entry, Pos, part_pos};

    use super::*;
    use crate::source::tests::{database, table};
    use crate::stretches::open_stretches;

    fn key(numbers: &[i64]) -> Key {
        numbers.iter().map(|n| Value::Int(*n)).collect()
    }

    #[test]
    fn pieces_end_at_sampled_keys_and_at_none_twice() {
        let keys: Vec<_> = (0..100).map(|n| key(&[n])).collect();
        assert_eq!(evenly_taken(keys, 4), [key(&[25]), key(&[50]), key(&[75])]);
        let twice = vec![key(&[1]), key(&[1]), key(&[9])];
        assert_eq!(evenly_taken(twice, 8), [key(&[1]), key(&[9])]);
        assert_eq!(evenly_taken(Vec::new(), 8), Vec::<Key>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Wherever a table is cut, its pieces give every row once and in order, and positions that
        /// sort as the rows do. So they do where some batches had landed when the run was broken
        /// off, and what is left is cut again.
        #[test]
        fn pieces_give_every_row_once(
            raw in proptest::collection::btree_map(
                proptest::collection::vec(-3i64..4, 2), any::<[bool; 2]>(), 0..40),
            again in proptest::collection::btree_set(proptest::collection::vec(-3i64..4, 2), 0..4),
            batch in 1u64..4,
        ) {
            let rows: Vec<Vec<i64>> = raw.keys().cloned().collect();
            let ends = |keys: Vec<&Vec<i64>>| keys.into_iter().map(|k| key(k)).collect::<Vec<_>>();
            let (_dir, mut conn) = database(2, &rows);
            let t = table(2);
            let mut read = |stretches: Vec<Stretch>| {
                let mut batches = Vec::new();
                for Stretch { mut range, mut pos } in stretches {
                    loop {
                        let (sql, params) = t.select_rows(&t.order, &range, batch);
                        let rows = conn.query(&sql, &params).unwrap();
                        let Some(last) = rows.last().cloned() else { break };
                        batches.push((part_pos(&pos.take().unwrap(), 0), rows));
                        range.lower = Bound::Excluding(last);
                    }
                }
                batches
            };
            let cut_at = ends(raw.iter().filter(|(_, [end, _])| *end).map(|(k, _)| k).collect());
            let whole = Stretch { range: Range::all(), pos: Pos::top(0) };
            let first = read(cut(whole, cut_at));
            // What had landed: the batches whose first row was chosen.
            let chosen: Vec<Key> =
                raw.iter().filter(|(_, [_, landed])| *landed).map(|(k, _)| key(k)).collect();
            let rank = |k: &Key| k.iter().map(|v| v.as_i64().unwrap()).collect::<Vec<_>>();
            let (landed, _): (Vec<_>, Vec<_>) =
                first.clone().into_iter().partition(|(_, rows)| chosen.contains(&rows[0]));
            let entries: Vec<_> = landed
                .iter()
                .map(|(pos, rows)| Entry {
                    run: [0; 16],
                    pos: pos.clone(),
                    rows: rows.len() as u64,
                    lo: rows[0].clone(),
                    hi: rows[rows.len() - 1].clone(),
                    settled: false,
                })
                .collect();
            let mut open = open_stretches(&entries);
            let rest = open.pop().unwrap();
            let in_rest = |k: &&Vec<i64>| match &rest.range.lower {
                Bound::Excluding(low) => **k > rank(low),
                _ => true,
            };
            let cut_again = ends(again.iter().filter(in_rest).collect());
            open.extend(cut(rest, cut_again));
            let second = read(open);
            for mut batches in [first, [landed, second].concat()] {
                batches.sort_by(|(a, _), (b, _)| a.cmp(b));
                let found: Vec<_> = batches.iter().flat_map(|(_, rows)| rows).map(rank).collect();
                prop_assert_eq!(&found, &rows);
            }
        }
    }
}
