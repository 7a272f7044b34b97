//! How a run ends, and what is told because of it: once, whatever dies in between.

use ssync_common::event::{TableOutcome, What};
use ssync_tests::ssync::Outcome;
use ssync_tests::wait_for;

use crate::events::Shop;

/// Everything that was told of table `bad`, and how its end was recorded in the reminder log.
fn told(shop: &Shop) -> (Vec<What>, Vec<TableOutcome>) {
    let whats = shop.events().iter().map(|event| event.what).collect();
    (whats, shop.tables().iter().map(|table| table.result).collect())
}

const RUN: [&str; 4] = ["--task", "7", "--tables", "bad"];

/// Runs table `bad` until it is killed there.
fn killed(shop: &Shop, failpoint: &str) -> Outcome {
    let outcome = shop.instance.run_with(&RUN, failpoint);
    assert!(outcome.signal.is_some(), "{outcome}");
    shop.instance.wait_until_dead();
    outcome
}

/// Between the record of the end and the first thing that is told, between two of these, and before
/// it is recorded that all was told.
const POINTS: [&str; 4] =
    ["run.before_unlock", "telling.after_reminder", "telling.after_event", "run.after_telling"];

#[test]
fn the_failure_of_a_real_time_task_is_told_and_suspends_it_whatever_kills_it_then() {
    let all = (vec![What::TaskFailed, What::TaskSuspended], vec![TableOutcome::Failed]);
    for point in POINTS {
        let shop = Shop::new("schedule = 1", "");
        killed(&shop, &format!("{point}@*=kill"));
        // Whoever comes next, and whoever comes then.
        for _ in 0..2 {
            shop.instance.run(&["history"]).expect(0);
            assert_eq!(told(&shop), all, "{point}");
        }
        shop.instance.run(&RUN).expect(130);
        assert_eq!(told(&shop), all, "{point}");
    }
}

#[test]
fn bad_rows_are_told_once_whatever_kills_the_run_then() {
    let all = (vec![What::RowsBad], vec![TableOutcome::DoneWithErrors]);
    for point in POINTS {
        let shop = Shop::new("error_limit = 5", "");
        killed(&shop, &format!("{point}@*=kill"));
        for _ in 0..2 {
            shop.instance.run(&["history"]).expect(0);
            assert_eq!(told(&shop), all, "{point}");
        }
        // Nothing is left of it for the next run to tell.
        shop.instance.run(&RUN).expect(0);
        assert_eq!(told(&shop).0, all.0, "{point}");
    }
}

#[test]
fn a_daemon_tells_and_holds_what_its_task_could_not() {
    let shop = Shop::new("schedule = 1", "");
    let daemon = shop.instance.start(&["daemon"], "run.before_unlock@*=kill");
    wait_for("the daemon", || shop.instance.run(&["reload"]).code == Some(0));
    shop.instance.run(&["run", "7", "bad", "--wait"]);
    let events = || told(&shop).0;
    let is_told = |what| move |told: Vec<What>| told.iter().filter(|w| **w == what).count() == 1;
    wait_for("the failure to be told", || is_told(What::TaskFailed)(events()));
    wait_for("the suspension", || is_told(What::TaskSuspended)(events()));
    shop.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    let whats = events();
    for what in [What::TaskDied, What::TaskFailed, What::TaskSuspended] {
        assert_eq!(whats.iter().filter(|w| **w == what).count(), 1, "{what:?}: {whats:?}");
    }
    shop.instance.run(&RUN).expect(130);
}
