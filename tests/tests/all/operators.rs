//! Exact against operators too: a random matrix. Between runs, most of which are killed, operators
//! change addresses, rename, copy, back up and restore either side, empty, rotate keys, change
//! filters and columns, add triggers and indexes, open second links and second homes, and drop
//! ssync's own tables. After every run a model of the rows says what may be at the destination, and
//! after one that reports done, what must be. A run that refuses must have a reason in what was
//! done, and a way out; the script takes it, and in the end both sides are equal.
//!
//! - `SSYNC_TEST_OPERATOR_CASES=5000` runs so many cases (default [`CASES`]).
//! - `SSYNC_TEST_SEED=…` takes other ones.
//! - `SSYNC_TEST_OPERATOR_CASE=17` runs one of them.
//!
//! What is left out, since no tool can see it:
//!
//! - In `status` mode, a destination table that alone is emptied, restored or made anew. The source
//!   says which rows have landed, and rows may be taken out of a destination as a matter of course.
//! - In `increment` mode with edits, a source that was restored: nothing may be written there, and
//!   that a row of the destination is newer than the source's is nothing to tell by.
//! - Filters of `increment` change what is below the mark, which is not looked at again.
//! - A SQLite source exchanged for a copy of itself from before its first run: a file is known by what
//!   it is, and nothing in this one says that rows of it were ever sent.
//! - ssync's own table at the source dropped while the destination, or the table's name, is another
//!   one than it remembers: what would tell was just taken away.
//! - A destination restored between `adopt --new` and the run that begins anew: what was known of it was
//!   just given up.
//!
//! What is allowed, since no tool can tell: `retry --lost` sets rows back by ranges of keys. What a
//! copy got as done lies between, and may go again.

#[path = "operators/case.rs"]
mod case;
#[path = "operators/play.rs"]
mod play;
#[path = "operators/sides.rs"]
mod sides;
#[path = "operators/stream.rs"]
mod stream;
#[path = "operators/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use ssync_tests::cases::{Cases, panic_text};
use ssync_tests::rng::{Rng, seed};
use ssync_tests::servers::oracle::oracle;

use case::{Case, Software};
use world::World;

/// Much of each case is waiting.
const CASES: Cases = Cases { name: "OPERATOR", default: 36, threads: 4 };
/// What a case's chance has nothing in common with that of other tests.
const STREAM: u64 = 7_000_000;

#[test]
fn no_row_is_lost_doubled_or_mixed_whatever_operators_do() {
    let tally = Mutex::new(BTreeMap::new());
    let began = Instant::now();
    let played = CASES.play(|number| run_case(seed(), number, &tally).map_or(Ok(()), Err));
    eprintln!("{:.0} s", began.elapsed().as_secs_f64());
    let tally = tally.into_inner().unwrap();
    for (what, times) in &tally {
        eprintln!("{times:>6}  {what}");
    }
    played.expect_none_failed();
    if played.is_whole {
        let missed: Vec<_> = play::act_names().filter(|act| !tally.contains_key(act)).collect();
        assert!(missed.is_empty(), "nobody ever did {missed:?}");
    }
}

/// Plays a case; what is wrong.
fn run_case(seed: u64, number: u64, tally: &Mutex<BTreeMap<String, u64>>) -> Option<String> {
    let began = Instant::now();
    let mut rng = Rng::new(seed, STREAM + number);
    let case = Case::new(&mut rng);
    let has_oracle = [case.road.0, case.road.1].contains(&Software::Oracle);
    let server = has_oracle.then(|| oracle(case.generation));
    let account = server.map(|server| server.account("ops"));
    let mut story = Vec::new();
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(&case, rng, account.as_ref());
        let played = catch_unwind(AssertUnwindSafe(|| world.play()));
        story = std::mem::take(&mut world.story);
        let mut all = tally.lock().unwrap();
        for (what, times) in &world.tally {
            *all.entry(what.clone()).or_default() += times;
        }
        drop(all);
        let ends = world.streams.iter().enumerate().map(|(n, stream)| {
            format!("stream {n} has {:?}\nwhat has landed: {:?}", stream.now, world.landed(n))
        });
        let verdict = match played {
            Ok(played) => played.map_err(|why| format!("{why}\n{}", ends.collect::<String>())),
            Err(panic) => Err(panic_text(panic.as_ref())),
        };
        world.remove_databases();
        verdict
    }));
    if std::env::var_os("SSYNC_TEST_VERBOSE").is_some() {
        eprintln!("case {number}: {:.1} s, {case:?}", began.elapsed().as_secs_f64());
    }
    let why = match played {
        Ok(Ok(())) => return None,
        Ok(Err(why)) => why,
        Err(panic) => panic_text(panic.as_ref()),
    };
    Some(format!(
        "case {number} failed: {why}\n{case:?}\n  {}\nrepeat it with\n    SSYNC_TEST_SEED={seed} \
         SSYNC_TEST_OPERATOR_CASE={number} cargo test -p ssync-tests --test all \
         no_row_is_lost_doubled_or_mixed_whatever_operators_do\n",
        story.join("\n  ")
    ))
}
