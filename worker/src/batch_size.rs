//! How many rows make a batch: as many as configured, unless they take too long.
//!
//! A batch is one transaction at the destination and, in `status` mode, one claim at the source.
//! While it lasts it holds locks, replicas fall behind it, and an operator's pause waits for its
//! end. Its time is taken to be `fixed + rows × each`, both told from the batches before. It gets
//! the rows that fill the time wanted, but never so few that `fixed` is more than a fifth of the
//! whole: over a long line, smaller batches would only be slower.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Batches that tell what the next one may take.
const SAMPLES: usize = 8;
/// Fewer tell nothing: one alone may have waited for somebody's lock.
const SAMPLES_MIN: usize = 3;
/// Batches are not made smaller than this part of what is configured.
const PART_MIN: usize = 100;
/// Part of a batch's rows by which two must differ to tell `fixed` from `each`.
const TELLING_PART: f64 = 0.05;
/// How many times `fixed` a batch's rows must take together: that leaves it a fifth of the whole.
const ROWS_PER_FIXED: f64 = 4.0;

/// Whose time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A claim.
    Source,
    /// A transaction.
    Dest,
}

/// The size of one table run's batches, shared by its threads.
pub struct BatchSize {
    most: usize,
    wanted: Duration,
    state: Mutex<State>,
    /// What all of that comes to.
    rows: Arc<AtomicUsize>,
}

struct State {
    source: Fit,
    dest: Fit,
    /// A second's rows, where that is limited.
    limit: usize,
}

impl BatchSize {
    /// At most `most` rows, fewer where they take longer than `wanted`.
    pub fn new(most: usize, wanted: Duration) -> Self {
        let most = most.max(1);
        let state = State { source: Fit::new(most), dest: Fit::new(most), limit: most };
        BatchSize { most, wanted, state: Mutex::new(state), rows: Arc::new(AtomicUsize::new(most)) }
    }

    /// Rows in a batch from now on; at least 1.
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// The same, for whoever looks often.
    pub fn shared_rows(&self) -> Arc<AtomicUsize> {
        self.rows.clone()
    }

    /// No more than `rows`, whatever they take.
    pub fn limit(&self, rows: u64) {
        self.change(|state| state.limit = usize::try_from(rows).unwrap_or(usize::MAX));
    }

    /// The rows that suit both sides, where they are fewer than configured.
    pub fn fitted(&self) -> Option<usize> {
        let state = self.lock();
        Some(state.source.rows.min(state.dest.rows)).filter(|rows| *rows < self.most)
    }

    /// One side has taken `time` for a batch of so many rows.
    pub fn took(&self, side: Side, rows: usize, time: Duration) {
        let (most, wanted) = (self.most, self.wanted.as_secs_f64());
        self.change(|state| {
            let fit = if side == Side::Source { &mut state.source } else { &mut state.dest };
            fit.add(Sample { rows: rows as f64, seconds: time.as_secs_f64() }, wanted, most);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let rows = state.source.rows.min(state.dest.rows).min(state.limit).max(1);
        self.rows.store(rows, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    rows: f64,
    seconds: f64,
}

/// One side's times, and the rows that suit them.
struct Fit {
    samples: VecDeque<Sample>,
    /// Seconds of a batch beside its rows, as far as batches of several sizes have told.
    fixed: f64,
    rows: usize,
}

impl Fit {
    fn new(rows: usize) -> Self {
        Fit { samples: VecDeque::new(), fixed: 0.0, rows }
    }

    fn add(&mut self, sample: Sample, wanted: f64, most: usize) {
        if sample.rows < 1.0 {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        if self.samples.len() < SAMPLES_MIN {
            return;
        }
        let each = self.find_fixed_and_each();
        let suits = ((wanted - self.fixed) / each).max(ROWS_PER_FIXED * self.fixed / each);
        // One step at a time: the first guess does not know what is fixed. What suits may be
        // infinite.
        let (low, high) = (self.rows.div_ceil(2), self.rows.saturating_mul(2));
        let least = most.div_ceil(PART_MIN);
        self.rows = (suits as usize).clamp(low, high).clamp(least, most);
    }

    /// Finds what is fixed, and the seconds of each row. By medians, for a batch that waited for
    /// somebody is no measure (Theil and Sen's line through the samples).
    fn find_fixed_and_each(&mut self) -> f64 {
        let mut slopes = Vec::new();
        for (i, a) in self.samples.iter().enumerate() {
            for b in self.samples.range(i + 1..) {
                let rows = b.rows - a.rows;
                if rows.abs() > TELLING_PART * a.rows.max(b.rows) {
                    slopes.push((b.seconds - a.seconds) / rows);
                }
            }
        }
        let of_all = |f: &dyn Fn(&Sample) -> f64| median(self.samples.iter().map(f).collect());
        let (fixed, each) = if slopes.is_empty() {
            // Batches of one size: what was fixed before is still, at the most.
            let fixed = self.fixed.min(of_all(&|s| s.seconds));
            (fixed, of_all(&|s| (s.seconds - fixed) / s.rows))
        } else {
            let each = median(slopes).max(0.0);
            (of_all(&|s| s.seconds - each * s.rows), each)
        };
        self.fixed = fixed.max(0.0);
        each.max(f64::MIN_POSITIVE)
    }
}

/// Of at least one number.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends batches of the size that is wanted to a destination that takes `fixed` and `each`
    /// seconds for them; the size after that.
    fn after(size: &BatchSize, batches: usize, fixed: f64, each: f64) -> usize {
        for _ in 0..batches {
            let rows = size.rows();
            let seconds = fixed + each * rows as f64;
            size.took(Side::Dest, rows, Duration::from_secs_f64(seconds));
        }
        size.rows()
    }

    #[test]
    fn quick_batches_stay_as_large_as_configured() {
        let size = BatchSize::new(10_000, SECOND);
        assert_eq!(after(&size, 50, 0.005, 0.000_02), 10_000);
    }

    #[test]
    fn slow_rows_make_small_batches_until_they_are_quick_again() {
        let size = BatchSize::new(10_000, SECOND);
        let rows = after(&size, 30, 0.005, 0.001);
        assert!((900..1100).contains(&rows), "{rows}");
        assert_eq!(after(&size, 30, 0.005, 0.000_02), 10_000);
    }

    #[test]
    fn over_a_long_line_batches_stay_large() {
        // Two seconds of round trips: no batch is done in one.
        let size = BatchSize::new(10_000, SECOND);
        let rows = after(&size, 30, 2.0, 0.001);
        assert!((7_500..8_500).contains(&rows), "{rows}");
        // Where rows cost next to nothing beside, smaller ones would bring nothing.
        assert_eq!(after(&BatchSize::new(10_000, SECOND), 30, 2.0, 0.000_01), 10_000);
    }

    #[test]
    fn a_batch_that_waited_for_a_lock_tells_nothing() {
        let size = BatchSize::new(1_000, SECOND);
        for n in 0..100 {
            let waited = if n % 5 == 0 { 50.0 } else { 0.05 };
            size.took(Side::Dest, 1_000, Duration::from_secs_f64(waited));
            assert_eq!(size.rows(), 1_000, "{n}");
        }
    }

    #[test]
    fn the_slower_side_and_the_limit_count() {
        let size = BatchSize::new(1_000, SECOND);
        for _ in 0..30 {
            size.took(Side::Source, size.rows(), SECOND.mul_f64(size.rows() as f64 / 100.0));
            size.took(Side::Dest, size.rows(), SECOND.mul_f64(size.rows() as f64 / 500.0));
        }
        assert_eq!(size.rows(), 100);
        size.limit(7);
        assert_eq!(size.rows(), 7);
        size.limit(0);
        assert_eq!((size.rows(), size.shared_rows().load(Ordering::Relaxed)), (1, 1));
        size.limit(u64::MAX);
        assert_eq!(size.rows(), 100);
    }

    proptest! {
        /// Whatever it is told, it stays between its bounds.
        #[test]
        fn it_never_leaves_its_bounds(
            most in 0usize..2_000_000,
            wanted in 0u64..5_000,
            told in proptest::collection::vec((0usize..2_000_000, any::<u32>(), any::<bool>()), 0..40),
        ) {
            let size = BatchSize::new(most, Duration::from_millis(wanted));
            let bounds = most.max(1).div_ceil(PART_MIN)..=most.max(1);
            for (rows, micros, at_source) in told {
                let side = if at_source { Side::Source } else { Side::Dest };
                size.took(side, rows, Duration::from_micros(micros.into()));
                prop_assert!(bounds.contains(&size.rows()), "{}", size.rows());
            }
        }
    }
}
