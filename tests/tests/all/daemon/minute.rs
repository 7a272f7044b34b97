//! A real daemon over a real minute.

use super::*;

/// How long it is watched.
const MINUTE: Duration = Duration::from_secs(60);
/// Periods in seconds, one a schedule. The journal keeps the decisions of all their firings.
const PERIODS: [i64; 3] = [4, 7, 10];

#[test]
fn over_a_real_minute_every_moment_of_the_grid_is_fired_once() {
    let house = House::new(PERIODS.len());
    let schedules = PERIODS.iter().enumerate().map(|(i, every)| {
        let n = i + 1;
        format!("[[schedule]]\nid = {n}\nevery = \"{every}s\"\n")
            + &task(n, &format!("schedule = {n}"))
    });
    house.apply(&schedules.collect::<String>());
    let daemon = house.start("");
    let began = Instant::now();
    let mut rows = 0;
    while began.elapsed() < MINUTE {
        // The application works on, whatever fires.
        for n in 1..=PERIODS.len() {
            house.insert(n, rows..rows + 1);
        }
        rows += 1;
        std::thread::sleep(Duration::from_millis(250));
    }
    house.wait("the last rows", || (1..=PERIODS.len()).all(|n| house.arrived(n) == rows));
    house.stop(daemon);

    for (i, every) in PERIODS.into_iter().enumerate() {
        let task = i as u32 + 1;
        // A firing that found the one before it still running was left out, which is said, too.
        let all = Journal::read(&house.home()).of(task, Some(task));
        let due = |d: &&Decision| matches!(d.what, Happened::Started | Happened::Missed);
        let mut moments = Vec::new();
        for decision in all.iter().filter(due) {
            let first = decision.due.unwrap().as_second();
            let count = if decision.what == Happened::Missed { decision.count as i64 } else { 1 };
            moments.extend((0..count).map(|k| first + k * every));
            assert!(decision.at >= decision.due.unwrap(), "fired before its moment: {decision:?}");
        }
        moments.sort_unstable();
        assert!(moments.len() as i64 >= MINUTE.as_secs() as i64 / every - 1, "{all:#?}");
        for pair in moments.windows(2) {
            assert_eq!(pair[1] - pair[0], every, "schedule {task}: {moments:?}");
        }
        assert_eq!(house.decisions(task, Happened::Failed), []);
    }
}
