//! Random cases, several at a time: each has a number, and with the seed of the test run its own
//! chance. For a test `NAME`:
//!
//! - `SSYNC_TEST_NAME_CASES=500` runs 500 cases instead of the default number.
//! - `SSYNC_TEST_NAME_FIRST=200` begins with that one: a long run that was ended goes on.
//! - `SSYNC_TEST_NAME_CASE=17` runs only that one.
//! - `SSYNC_TEST_SEED=…` takes other ones.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::rng::seed;

/// A long run says how far it is after so many cases.
const TOLD_EVERY: u64 = 100;

/// The cases of a test.
#[derive(Debug, Clone, Copy)]
pub struct Cases {
    /// What the variables call it: `SSYNC_TEST_<NAME>_CASES`.
    pub name: &'static str,
    /// How many a default run has.
    pub default: u64,
    /// How many are played at a time.
    pub threads: usize,
}

/// What became of them.
#[derive(Debug)]
pub struct Played {
    failures: Vec<String>,
    /// Whether at least the cases of a default run were played: chance has met everything.
    pub is_whole: bool,
}

impl Cases {
    /// Plays them. A failure is printed when it is met; a panic is one.
    pub fn play(&self, play: impl Fn(u64) -> Result<(), String> + Sync) -> Played {
        let variable = |what: &str| std::env::var(format!("SSYNC_TEST_{}_{what}", self.name)).ok();
        let number = |text: String| text.parse::<u64>().expect("the variable is a number");
        let only = variable("CASE").map(number);
        let cases = variable("CASES").map_or(self.default, number);
        let first = variable("FIRST").map_or(0, number);
        let (first, end) = only.map_or((first, cases), |n| (n, n + 1));
        let (next, ended) = (AtomicU64::new(first), AtomicU64::new(first));
        let failures = Mutex::new(Vec::new());
        let work = || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= end {
                    return;
                }
                let played = catch_unwind(AssertUnwindSafe(|| play(n)));
                let played = played.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())));
                if let Err(why) = played {
                    let why = format!("case {n} of seed {}: {why}", seed());
                    eprintln!("{why}");
                    failures.lock().unwrap().push(why);
                }
                let ended = ended.fetch_add(1, Ordering::Relaxed) + 1;
                if ended.is_multiple_of(TOLD_EVERY) {
                    let failed = failures.lock().unwrap().len();
                    eprintln!("{ended} of {end} cases, {failed} failed");
                }
            }
        };
        thread::scope(|scope| (0..self.threads).for_each(|_| drop(scope.spawn(work))));
        let is_whole = only.is_none() && first == 0 && cases >= self.default;
        Played { failures: failures.into_inner().unwrap(), is_whole }
    }
}

impl Played {
    /// Panics with what failed.
    #[track_caller]
    pub fn expect_none_failed(&self) {
        let failures = &self.failures;
        assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic".to_owned())
}
