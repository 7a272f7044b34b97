//! Years of firings in milliseconds, with clocks that jump.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ssync_common::config::{Period, Schedule};

use super::*;

fn plan(every: u64, start: Option<i64>, overrun: Overrun, now: Secs) -> Plan {
    let start =
        start.map(|s| jiff::Timestamp::from_second(s).unwrap().to_string().parse().unwrap());
    let schedule = Schedule {
        id: 1,
        every: Period::from_secs(every).unwrap(),
        start,
        overrun,
        ..Schedule::default()
    };
    Plan::new(Timetable::of(&schedule).unwrap(), overrun, now)
}

fn at(wall: Secs) -> Now {
    Now { wall, jumped_from: None }
}

fn jumped(wall: Secs, from: Secs) -> Now {
    Now { wall, jumped_from: Some(from) }
}

fn look(plan: &mut Plan, now: Now) -> (Option<Secs>, Vec<(u64, Why)>) {
    let mut missed = Vec::new();
    let due = plan.look(now, &mut missed);
    (due, missed.into_iter().map(|m| (m.count, m.why)).collect())
}

#[test]
fn a_run_that_outlasts_its_frequency_is_never_doubled() {
    let mut skip = plan(10, None, Overrun::Skip, 0);
    assert_eq!(look(&mut skip, at(9)), (None, vec![]));
    assert_eq!(look(&mut skip, at(10)), (Some(10), vec![]));
    assert_eq!(look(&mut skip, at(25)), (None, vec![(1, Why::Overrun)]));
    assert_eq!(skip.ended(), None);
    assert_eq!(look(&mut skip, at(30)), (Some(30), vec![]));

    let mut once = plan(10, None, Overrun::RunOnce, 0);
    assert_eq!(look(&mut once, at(10)), (Some(10), vec![]));
    assert_eq!(look(&mut once, at(21)), (None, vec![]));
    assert_eq!(look(&mut once, at(45)), (None, vec![(1, Why::Merged), (1, Why::Merged)]));
    assert_eq!(once.ended(), Some(40));
    assert_eq!(once.ended(), None);

    let mut all = plan(10, None, Overrun::CatchUp, 0);
    assert_eq!(look(&mut all, at(10)), (Some(10), vec![]));
    assert_eq!(look(&mut all, at(40)), (None, vec![]));
    assert_eq!(
        [all.ended(), all.ended(), all.ended(), all.ended()],
        [Some(20), Some(30), Some(40), None]
    );
    assert_eq!(look(&mut all, at(50)), (Some(50), vec![]));
    let (_, missed) = look(&mut all, at(60 + 10 * 1999));
    assert_eq!(missed, [(1000, Why::BacklogFull)]);
}

#[test]
fn a_daemon_that_comes_late_fires_once_and_says_what_it_missed() {
    let mut late = plan(10, None, Overrun::Skip, 0);
    assert_eq!(look(&mut late, at(47)), (Some(40), vec![(3, Why::Late)]));
    let mut all = plan(10, None, Overrun::CatchUp, 0);
    assert_eq!(look(&mut all, at(47)), (Some(10), vec![]));
    assert_eq!(all.backlog().collect::<Vec<_>>(), [20, 30, 40]);
    let timetable = all.timetable().clone();
    let mut resumed = Plan::resumed(timetable, Overrun::CatchUp, 50, [30, 40]);
    assert_eq!(look(&mut resumed, at(48)), (Some(30), vec![]));
}

#[test]
fn a_clock_set_forward_makes_one_firing_of_all_it_jumps_over() {
    for overrun in [Overrun::Skip, Overrun::RunOnce] {
        let mut plan = plan(10, None, overrun, 0);
        assert_eq!(look(&mut plan, jumped(3605, 5)), (Some(3600), vec![(359, Why::ClockSet)]));
        assert_eq!(plan.next(), 3610);
    }
    // What was due before the jump is due still.
    let mut all = plan(10, None, Overrun::CatchUp, 0);
    assert_eq!(look(&mut all, jumped(3605, 25)), (Some(10), vec![(357, Why::ClockSet)]));
    assert_eq!([all.ended(), all.ended(), all.ended()], [Some(20), Some(3600), None]);
}

#[test]
fn a_clock_set_back_neither_repeats_nor_stops_a_schedule() {
    let day = 86_400;
    let mut daily = plan(day as u64, Some(0), Overrun::Skip, 1);
    assert_eq!(look(&mut daily, at(day)), (Some(day), vec![]));
    assert_eq!(daily.ended(), None);
    // Half a second, an hour: today's has been.
    assert_eq!(look(&mut daily, at(day - 1)), (None, vec![]));
    assert_eq!(look(&mut daily, at(day - 3600)), (None, vec![]));
    assert_eq!(look(&mut daily, at(day)), (None, vec![]));
    assert_eq!(daily.next(), 2 * day);
    // An hour back for one of five seconds: it goes on from there.
    let mut often = plan(5, None, Overrun::Skip, 10_000);
    assert_eq!(look(&mut often, at(10_005)), (Some(10_005), vec![]));
    assert_eq!(often.ended(), None);
    assert_eq!(look(&mut often, at(6_407)), (None, vec![]));
    assert_eq!(look(&mut often, at(6_410)), (Some(6_410), vec![]));
    // A start ahead is waited for, whatever the clock does.
    let mut future = plan(5, Some(1_000_000), Overrun::Skip, 500_000);
    assert_eq!(look(&mut future, at(10)), (None, vec![]));
    assert_eq!(future.next(), 1_000_000);
}

fn overruns() -> impl Strategy<Value = Overrun> {
    prop_oneof![Just(Overrun::Skip), Just(Overrun::RunOnce), Just(Overrun::CatchUp)]
}

/// How a schedule's world goes on: real seconds pass, the clock is set, the run ends.
#[derive(Debug, Clone)]
struct Step {
    pass: i64,
    set: i64,
    ends: bool,
}

fn steps(set: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<Step>> {
    let step = (0i64..40_000, set, any::<bool>());
    let step = step.prop_map(|(pass, set, ends)| Step { pass, set, ends });
    proptest::collection::vec(step, 1..3000)
}

fn forward() -> impl Strategy<Value = i64> {
    prop_oneof![9 => Just(0i64), 1 => 2i64..200_000]
}

fn any_way() -> impl Strategy<Value = i64> {
    prop_oneof![9 => Just(0i64), 1 => -200_000i64..200_000]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Up to four years each: every moment is fired, missed with a reason, or waits.
    #[test]
    fn every_moment_is_accounted_for(
        every in 1u64..100_000, overrun in overruns(), steps in steps(forward())
    ) {
        let mut plan = plan(every, None, overrun, 0);
        let (mut wall, mut fired, mut missed, mut running) = (0, 0u64, 0u64, None);
        let mut last_due = 0;
        for step in steps {
            if step.ends && running.take().is_some() {
                running = plan.ended();
                if let Some(due) = running {
                    prop_assert!(due > last_due);
                    (fired, last_due) = (fired + 1, due);
                }
            }
            let from = wall + step.pass;
            wall = from + step.set;
            let now = Now { wall, jumped_from: (step.set > 0).then_some(from) };
            let mut list = Vec::new();
            if let Some(due) = plan.look(now, &mut list) {
                prop_assert!(running.is_none(), "two at once");
                prop_assert!(due > last_due && due <= wall, "{} after {}", due, last_due);
                prop_assert_eq!(due % every as i64, 0);
                (fired, last_due) = (fired + 1, due);
                running = Some(due);
            }
            // What is due fires at once, unless a run is in the way.
            prop_assert!(plan.next() > wall && plan.next() - wall <= every as i64);
            prop_assert!(running.is_some() || plan.backlog().count() == 0);
            for m in &list {
                prop_assert!(m.first <= m.last && m.last <= wall);
                missed += m.count;
            }
            let all = (wall / every as i64) as u64;
            prop_assert_eq!(fired + missed + plan.backlog().count() as u64, all);
        }
    }

    /// Two periods after the clock was last set back, at the latest, a schedule fires.
    #[test]
    fn no_clock_stops_a_schedule(
        every in 60u64..100_000, start in proptest::option::of(0i64..400_000),
        steps in steps(any_way())
    ) {
        let every_secs = every as i64;
        let mut wall = 500_000_000;
        let mut plan = plan(every, start, Overrun::Skip, wall);
        let mut since = 0;
        for step in steps {
            let pass = step.pass.min(every_secs / 4);
            since = if step.set < 0 { 0 } else { since + pass };
            let from = wall + pass;
            wall = from + step.set;
            let now = Now { wall, jumped_from: (step.set > 0).then_some(from) };
            if plan.look(now, &mut Vec::new()).is_some() {
                prop_assert!(plan.ended().is_none());
                since = 0;
            }
            prop_assert!(since <= 2 * every_secs + every_secs / 4, "{} s without a firing", since);
        }
    }
}
