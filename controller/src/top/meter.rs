//! How fast a task is, from counters read now and then.

use std::collections::VecDeque;

use ssync_common::process::RunId;
use ssync_common::shm::TaskView;

use crate::live::is_running;

/// Seconds of history that a sparkline can show.
pub const SECONDS_KEPT: usize = 300;
/// A speed is taken over this many milliseconds: batches land one by one, a shorter time jumps.
const SPEED_OVER_MS: u64 = 5_000;

/// Rows and bytes of one task, per second.
#[derive(Debug, Default)]
pub struct Meter {
    /// Which counters these were: run and start of the table.
    counted: Option<(Option<RunId>, u64)>,
    rows_seen: u64,
    bytes_seen: u64,
    /// Sums over all tables since the first look: when, rows, bytes.
    sums: VecDeque<(u64, u64, u64)>,
    /// Rows that landed in each second since the first look, oldest first.
    seconds: VecDeque<u64>,
    /// The last of those seconds.
    second: u64,
    /// Speed of the table before the first look.
    before: Option<(f64, f64)>,
}

impl Meter {
    /// Looks at the counters of `task` at `at_ms`; `None`: it is in shared memory no more.
    pub fn look(&mut self, task: Option<&TaskView>, at_ms: u64) {
        let (mut rows, mut bytes) = (0, 0);
        if let Some(task) = task {
            let now = (task.run_id, task.table_started_ms);
            let counters = &task.counters;
            match self.counted {
                Some(counted) if counted == now => {
                    rows = counters.rows_landed.saturating_sub(self.rows_seen);
                    bytes = counters.bytes_landed.saturating_sub(self.bytes_seen);
                }
                // Another table: its counters began at nothing.
                Some(_) => (rows, bytes) = (counters.rows_landed, counters.bytes_landed),
                None => {
                    let secs = at_ms.saturating_sub(task.table_started_ms).max(1) as f64 / 1000.0;
                    self.before = is_running(task).then_some((
                        counters.rows_landed as f64 / secs,
                        counters.bytes_landed as f64 / secs,
                    ));
                }
            }
            self.counted = Some(now);
            (self.rows_seen, self.bytes_seen) = (counters.rows_landed, counters.bytes_landed);
        }
        self.add(rows, bytes, at_ms);
    }

    fn add(&mut self, rows: u64, bytes: u64, at_ms: u64) {
        let (_, all_rows, all_bytes) = self.sums.back().copied().unwrap_or_default();
        self.sums.push_back((at_ms, all_rows + rows, all_bytes + bytes));
        while self.sums.get(1).is_some_and(|(at, ..)| at + SPEED_OVER_MS <= at_ms) {
            self.sums.pop_front();
        }
        let second = at_ms / 1000;
        if self.seconds.is_empty() {
            self.second = second;
            self.seconds.push_back(0);
        }
        // A clock that was set back stays in the second it was in.
        let gone = second.saturating_sub(self.second).min(SECONDS_KEPT as u64);
        for _ in 0..gone {
            self.seconds.push_back(0);
        }
        self.second = self.second.max(second);
        if let Some(last) = self.seconds.back_mut() {
            *last += rows;
        }
        while self.seconds.len() > SECONDS_KEPT {
            self.seconds.pop_front();
        }
    }

    /// Rows and bytes per second at present.
    pub fn speed(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.sums.front(), self.sums.back()) else {
            return (0.0, 0.0);
        };
        if last.0 <= first.0 {
            return self.before.unwrap_or_default();
        }
        let secs = (last.0 - first.0) as f64 / 1000.0;
        ((last.1 - first.1) as f64 / secs, (last.2 - first.2) as f64 / secs)
    }

    /// Rows of each whole second, oldest first, at most `n`. The second under way is left out: it
    /// always looks slow.
    pub fn last(&self, n: usize) -> Vec<u64> {
        let whole = self.seconds.len().saturating_sub(1);
        self.seconds.iter().take(whole).skip(whole.saturating_sub(n)).copied().collect()
    }
}

/// Values as one line of blocks, `width` wide, the newest at the right; the highest fills its cell.
pub fn sparkline(values: &[u64], width: usize) -> String {
    chart(values, width, 1).pop().unwrap_or_default()
}

/// Values as blocks, `height` lines from top to bottom.
pub fn chart(values: &[u64], width: usize, height: usize) -> Vec<String> {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(width)..];
    let top = shown.iter().copied().max().unwrap_or(0).max(1) as f64;
    let eighths = |value: u64| match value {
        // Something is never drawn as nothing, and nothing shows where time passed.
        0 => 1,
        n => ((n as f64 / top * (height * 8) as f64).round() as usize).max(2),
    };
    let line = |row: usize| {
        let blank = " ".repeat(width - shown.len());
        let cells = shown.iter().map(|v| BLOCKS[eighths(*v).saturating_sub(row * 8).min(8)]);
        blank + &cells.collect::<String>()
    };
    (0..height).rev().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::testing::task;

    #[test]
    fn speed_is_what_landed_over_the_last_seconds_across_tables() {
        let mut meter = Meter::default();
        let mut seen = task(7, "orders");
        seen.table_started_ms = 90_000;
        seen.counters.rows_landed = 1000;
        meter.look(Some(&seen), 100_000);
        // The first look knows the table's average.
        assert_eq!(meter.speed().0, 100.0);
        for n in 1..=20 {
            seen.counters.rows_landed += 250;
            seen.counters.bytes_landed += 1000;
            meter.look(Some(&seen), 100_000 + n * 500);
        }
        assert_eq!(meter.speed(), (500.0, 2000.0));
        assert_eq!(meter.last(4), [500, 500, 500, 500]);
        // The next table's counters begin anew; nothing goes backwards.
        seen.table_started_ms = 110_100;
        seen.counters.rows_landed = 250;
        meter.look(Some(&seen), 110_500);
        assert_eq!(meter.speed().0, 500.0);
        for n in 2..=13 {
            meter.look(None, 110_000 + n * 500);
        }
        assert_eq!(meter.speed().0, 0.0);
        assert_eq!(meter.last(3), [0, 0, 0]);
    }

    #[test]
    fn a_clock_that_jumps_leaves_a_bounded_history() {
        let mut meter = Meter::default();
        for at in [5_000_000, 1000, 5_000_500, u64::MAX / 2] {
            meter.look(Some(&task(7, "orders")), at);
            assert!(meter.last(usize::MAX).len() <= SECONDS_KEPT);
            assert!(meter.speed().0 >= 0.0);
        }
    }

    #[test]
    fn blocks_fill_from_below_and_the_newest_stands_at_the_right() {
        assert_eq!(sparkline(&[], 4), "    ");
        assert_eq!(sparkline(&[0, 1, 50, 100], 6), "  ▁▂▄█");
        assert_eq!(sparkline(&[9, 9, 0, 100], 2), "▁█");
        assert_eq!(chart(&[50, 100, 75], 3, 2), [" █▄", "███"]);
    }
}
