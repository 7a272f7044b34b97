//! How many writers work at a time: as many as configured, unless fewer land as much.
//!
//! What a destination can take is found by trying: fewer writers, or one more, work for a while, and
//! the speed before decides. A writer that brings less than a tenth of what one writer more should
//! bring is a load on the destination and no help. A trial begins only while batches wait for
//! writers; where the source or a limit sets the pace, nothing can be learned about the
//! destination.

use std::time::{Duration, Instant};

/// Speed is taken over at least this time, and over so many batches of each writer. It is told by
/// how long a writer has a batch, not by how many were done by the end: writers in step would make
/// that a matter of chance.
const WINDOW: Duration = Duration::from_millis(500);
const WINDOW_BATCHES: usize = 4;
/// How long a number that proved right is kept.
const KEPT: Duration = Duration::from_secs(30);
/// Part of its ideal gain that a writer must bring.
const WORTH: f64 = 0.1;
/// One writer less than this leaves a destination idle between two batches; it is tried only where
/// writers are in each other's way.
const FEWEST: usize = 2;

/// A batch that has landed.
#[derive(Debug, Clone, Copy)]
pub struct Landed {
    /// Its bytes.
    pub bytes: u64,
    /// How long its writer was at it.
    pub took: Duration,
    /// Writers that were at work by then, this one included: some may not have started yet.
    pub at_work: usize,
    /// Whether another batch waited for a writer by then.
    pub others_wait: bool,
    /// Whether it ran into locks.
    pub contended: bool,
}

/// The number of writers that work at a time.
pub struct Concurrency {
    most: usize,
    now: usize,
    /// Batches to come that were begun under another number.
    stale: usize,
    window: Option<Window>,
    trial: Option<Trial>,
    /// What is tried next: a step that was right again, after one that was wrong another.
    step: Step,
    /// No trial begins before.
    kept_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Half,
    OneMore,
    OneLess,
}

/// What the number on trial is compared with.
struct Trial {
    from: usize,
    rate: f64,
}

struct Window {
    began: Instant,
    batches: usize,
    bytes: u64,
    took: Duration,
    at_work: usize,
    others_waited: usize,
    contended: usize,
}

impl Concurrency {
    /// All of `most` writers to begin with.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Concurrency {
            most,
            now: most,
            stale: 0,
            window: None,
            trial: None,
            step: Step::Half,
            kept_until: None,
        }
    }

    /// Writers that may work at a time.
    pub fn now(&self) -> usize {
        self.now
    }

    /// Writers that may work at a time at the most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Writers that work at a time, but for a number that is only on trial.
    pub fn proved_right(&self) -> usize {
        self.trial.as_ref().map_or(self.now, |trial| trial.from)
    }

    /// Takes note of a batch that landed at a time; whether the number has changed.
    pub fn landed(&mut self, at: Instant, batch: Landed) -> bool {
        if self.stale > 0 {
            self.stale -= 1;
            return false;
        }
        let Some(window) = &mut self.window else {
            self.window = Some(Window::new(at));
            return false;
        };
        window.add(batch);
        let time = at.saturating_duration_since(window.began);
        if time < WINDOW || window.batches < WINDOW_BATCHES * self.now {
            return false;
        }
        let (rate, before) = (window.rate(), self.now);
        let (saturated, contended) = (window.saturated(), window.contended());
        match self.trial.take() {
            Some(trial) => self.judge(&trial, rate, at),
            None if saturated && self.kept_until.is_none_or(|until| until <= at) => {
                self.try_another(rate, contended, at);
            }
            None => {}
        }
        let changed = self.now != before;
        // Batches under way, and writers that are yet to start, would blur the next speed.
        self.stale = if changed { self.now.max(before) } else { 0 };
        self.window = (!changed).then(|| Window::new(at));
        changed
    }

    /// Keeps the number on trial, or goes back.
    fn judge(&mut self, trial: &Trial, rate: f64, at: Instant) {
        let ((fewer, slow), (more, fast)) = match self.now < trial.from {
            true => ((self.now, rate), (trial.from, trial.rate)),
            false => ((trial.from, trial.rate), (self.now, rate)),
        };
        let worth = 1.0 + WORTH * (more as f64 / fewer as f64 - 1.0);
        let right = if fast >= slow * worth { more } else { fewer };
        if right == trial.from {
            self.keep(at);
        }
        self.now = right;
    }

    /// Nothing is tried for a while, and then something else.
    fn keep(&mut self, at: Instant) {
        self.kept_until = Some(at + KEPT);
        self.step = if self.step == Step::OneMore { Step::OneLess } else { Step::OneMore };
    }

    fn try_another(&mut self, rate: f64, contended: bool, at: Instant) {
        if contended {
            self.step = Step::Half;
        }
        let fewest = if contended { 1 } else { FEWEST.min(self.now) };
        let other = match self.step {
            Step::Half => self.now / 2,
            Step::OneMore => self.now + 1,
            Step::OneLess => self.now - 1,
        };
        let other = other.clamp(fewest, self.most);
        if other == self.now {
            self.keep(at);
        } else {
            self.trial = Some(Trial { from: self.now, rate });
            self.now = other;
        }
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Window {
            began,
            batches: 0,
            bytes: 0,
            took: Duration::ZERO,
            at_work: 0,
            others_waited: 0,
            contended: 0,
        }
    }

    fn add(&mut self, batch: Landed) {
        self.batches += 1;
        self.bytes += batch.bytes;
        self.took += batch.took;
        self.at_work += batch.at_work;
        self.others_waited += usize::from(batch.others_wait);
        self.contended += usize::from(batch.contended);
    }

    /// Bytes a second: of one writer, times those at work.
    fn rate(&self) -> f64 {
        let each = self.bytes as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE);
        each * self.at_work as f64 / self.batches as f64
    }

    /// Whether batches waited for writers, but for some.
    fn saturated(&self) -> bool {
        self.others_waited * 4 >= self.batches * 3
    }

    /// Whether many batches ran into locks: perhaps into those of other writers.
    fn contended(&self) -> bool {
        self.contended * 4 >= self.batches
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a destination for some seconds that lands `speed(writers)` batches a second.
    fn after(c: &mut Concurrency, seconds: u64, batch: Landed, speed: impl Fn(usize) -> f64) {
        let mut at = Instant::now();
        let end = at + Duration::from_secs(seconds);
        while at < end {
            let (at_work, speed) = (c.now(), speed(c.now()));
            at += Duration::from_secs_f64(1.0 / speed);
            c.landed(
                at,
                Landed { took: Duration::from_secs_f64(at_work as f64 / speed), at_work, ..batch },
            );
            assert!((1..=c.most).contains(&c.now()));
        }
    }

    const BATCH: Landed = Landed {
        bytes: 1 << 20,
        took: Duration::ZERO,
        at_work: 0,
        others_wait: true,
        contended: false,
    };

    #[test]
    fn writers_that_bring_nothing_do_not_work() {
        for (most, takes, found) in [(10, 2, 2), (10, 3, 3), (4, 2, 2), (2, 1, 2), (1, 1, 1)] {
            let mut c = Concurrency::new(most);
            let speed = |n: usize| 40.0 * n.min(takes) as f64;
            // 3 is not found by halving, but by one more, and one more.
            after(&mut c, 180, BATCH, speed);
            assert!((found..=found + 1).contains(&c.now()), "{most} {takes}: {}", c.now());
        }
    }

    #[test]
    fn writers_that_bring_something_all_work() {
        for most in 1..=10 {
            let mut c = Concurrency::new(most);
            after(&mut c, 300, BATCH, |n| 20.0 * n as f64);
            assert!(c.now() + 1 >= most, "{most}: {}", c.now());
        }
    }

    #[test]
    fn it_comes_back_when_the_destination_takes_more_again() {
        let mut c = Concurrency::new(8);
        after(&mut c, 10, BATCH, |n| 40.0 * n.min(2) as f64);
        assert_eq!(c.now(), 2);
        after(&mut c, 600, BATCH, |n| 10.0 * n as f64);
        assert!(c.now() >= 7, "{}", c.now());
    }

    #[test]
    fn writers_in_each_others_way_become_fewer() {
        let mut c = Concurrency::new(2);
        let jostle = Landed { contended: true, ..BATCH };
        after(&mut c, 60, jostle, |n| 40.0 / n as f64);
        assert_eq!(c.now(), 1);
    }

    #[test]
    fn where_nothing_waits_for_writers_nothing_is_tried() {
        let mut c = Concurrency::new(10);
        after(&mut c, 60, Landed { others_wait: false, ..BATCH }, |_| 50.0);
        assert_eq!(c.now(), 10);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds(
            most in 0usize..12,
            told in proptest::collection::vec((0u64..3_000, any::<[bool; 2]>()), 0..400),
        ) {
            let mut c = Concurrency::new(most);
            let mut at = Instant::now();
            for (millis, [others_wait, contended]) in told {
                at += Duration::from_millis(millis);
                let took = Duration::from_millis(millis / 2);
                c.landed(at, Landed { bytes: millis * millis, took, at_work: 1, others_wait, contended });
                prop_assert!((1..=most.max(1)).contains(&c.now()), "{}", c.now());
            }
        }
    }
}
