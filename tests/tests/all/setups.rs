//! What `ssync check` passes, runs: setups that are broken in every way that a check can see, by chance
//! and two at a time, in every mode. Each is checked with a trial and without, and then run.
//!
//! - Where the check with a trial passes, the run ends well and both sides are equal.
//! - Where it refuses, the run does not end well, unless [`cautious`] says why the check is stricter.
//! - Without a trial it passes no less, and what it passes beyond that is what only rows can show.
//!
//! `SSYNC_TEST_SETUP_CASES=2000` runs so many (default [`CASES`]), `SSYNC_TEST_SETUP_CASE=17` one of
//! them, `SSYNC_TEST_SEED=…` takes other ones.

#[path = "setups/case.rs"]
mod case;
#[path = "setups/fault.rs"]
mod fault;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use ssync_tests::cases::{Cases, panic_text};
use ssync_tests::rng::{Rng, seed};

use case::Case;
use fault::FAULTS;

/// The first ones of a default run go through all faults.
const CASES: Cases = Cases { name: "SETUP", default: FAULTS.len() as u64 + 1, threads: 6 };
/// What a case's chance has nothing in common with that of other tests.
const STREAM: u64 = 9_000_000;

/// What a check refuses though a run may do without it, and why it does.
fn cautious(finding: &str) -> bool {
    [
        // What triggers do at each row is to be known before.
        "has no TRIGGER privilege",
        // Old entries of the ledger are deleted by a later run, when there are some.
        "The account may not DELETE on SSYNC_",
        // The rows of a first run need no change of what others have landed.
        "The account may not UPDATE on dst",
        "The account may not DELETE on dst",
        // A shadow that an earlier run has left behind is dropped first, and may have a number to set.
        "__ssync_new",
    ]
    .iter()
    .any(|text| finding.contains(text))
}

#[test]
fn what_a_check_passes_runs() {
    let tally = Mutex::new(BTreeMap::<&str, u64>::new());
    let played = CASES.play(|number| {
        let case = Case::new(&mut Rng::new(seed(), STREAM + number), number);
        let played = catch_unwind(AssertUnwindSafe(|| case.play()));
        let played = played.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())));
        let verdict = played.map_err(|why| format!("{case:?}\n{why}"))?;
        *tally.lock().unwrap().entry(verdict).or_default() += 1;
        Ok(())
    });
    let tally = tally.into_inner().unwrap();
    eprintln!("{tally:?}");
    played.expect_none_failed();
    if played.is_whole {
        assert!(
            tally["passed"] >= 5 && tally["refused"] >= 20,
            "it was not broken well: {tally:?}"
        );
    }
}
