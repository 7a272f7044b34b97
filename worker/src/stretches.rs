//! Which rows a resumed `full` or `increment` run has still to read.

use ssync_common::ledger::{Entry, Pos};

use crate::source::{Bound, Range};

/// A stretch of rows to read without claims, and the positions its batches get.
pub struct Stretch {
    /// The rows.
    pub range: Range,
    /// The positions.
    pub pos: Pos,
}

/// The stretches of rows between and behind what has landed. `landed` is in position order, which
/// is the rows' order.
pub fn open_stretches(landed: &[Entry]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut left = (String::new(), Bound::Open);
    for entry in landed {
        let range = Range { lower: left.1.clone(), upper: Bound::Excluding(entry.lo.clone()) };
        stretches.push(Stretch { range, pos: Pos::between(&left.0, &entry.pos) });
        left = (entry.pos.clone(), Bound::Excluding(entry.hi.clone()));
    }
    let next = landed
        .iter()
        .filter_map(|e| Pos::top_number(&e.pos))
        .max()
        .map_or(0, |n| n.saturating_add(1));
    let rest = Range { lower: left.1, upper: Bound::Open };
    stretches.push(Stretch { range: rest, pos: Pos::top(next) });
    stretches
}

#[cfg(test)]
mod tests {
    use ssync_common::ledger::part_pos;
    use ssync_common::value::Value;

    use super::*;

    fn entry(pos: &str, lo: i64, hi: i64) -> Entry {
        Entry {
            run: [0; 16],
            pos: pos.to_owned(),
            rows: (hi - lo + 1) as u64,
            lo: vec![Value::Int(lo)],
            hi: vec![Value::Int(hi)],
            settled: false,
        }
    }

    #[test]
    fn a_fresh_run_reads_everything() {
        let stretches = open_stretches(&[]);
        assert_eq!(stretches.len(), 1);
        assert_eq!(stretches[0].range, Range::all());
    }

    #[test]
    fn a_resumed_run_reads_the_gaps_and_the_rest() {
        let landed =
            [entry(&part_pos("00000000", 0), 1, 10), entry(&part_pos("00000002", 0), 21, 30)];
        let mut stretches = open_stretches(&landed);
        let key = |k: i64| Bound::Excluding(vec![Value::Int(k)]);
        assert_eq!(stretches[0].range, Range { lower: Bound::Open, upper: key(1) });
        assert_eq!(stretches[1].range, Range { lower: key(10), upper: key(21) });
        assert_eq!(stretches[2].range, Range { lower: key(30), upper: Bound::Open });
        let gap = stretches[1].pos.take().unwrap_or_default();
        assert!(landed[0].pos < gap && gap < landed[1].pos);
        let rest = stretches[2].pos.take().unwrap_or_default();
        assert!(rest > landed[1].pos);
    }
}
