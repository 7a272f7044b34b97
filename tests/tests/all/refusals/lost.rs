//! Rows that a destination has lost go again only when every home that sent some has had its word:
//! until then no run begins, and nothing is reported as fine.

use ssync_common::store::HoldKind;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

use super::identity::{adopt, assert_stops, back_up, restore};
use super::{RUN, Tables};

const LOST: [&str; 4] = ["retry", "--task", "1", "--lost"];
const OLDER: &str = "no longer has what was settled last";

/// Rows in a table with a key, where a row that is sent again is not doubled.
fn with_key(rows: i64) -> Tables {
    let tables = Tables::on_mariadb(rows);
    tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
    tables
}

/// A home of such a table, which leaves rows alone that are there already.
fn home(tables: &Tables) -> Instance {
    Instance::new(&tables.toml("", "write = \"ignore\""))
}

#[track_caller]
fn assert_released(tables: &Tables) {
    let held = "SELECT COUNT(*) FROM SSYNC_OWNER WHERE token IS NOT NULL";
    assert_eq!(tables.source.number(held), 0, "the source table is given back");
}

/// Some runs are another home's: the alarm stays on.
#[track_caller]
fn assert_stays(outcome: &Outcome, runs: &str) {
    assert_eq!(outcome.code, Some(1), "{outcome}");
    for words in ["not every run is known here", runs, "every home", "--as-is"] {
        assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
    }
}

/// An operator sets the states by what is at the destination.
fn compare(tables: &Tables) {
    let Site::MySql { database, .. } = &tables.dest else { panic!("not a server") };
    tables.source.run(&[format!(
        "UPDATE src SET sync_status = IF(id IN (SELECT id FROM {database}.dst), 2, 0)"
    )]);
}

/// Two homes have sent rows since the backup, and each has had runs without any.
fn two_homes_lose_rows() -> (Tables, [Instance; 2]) {
    let tables = with_key(50);
    let homes = [home(&tables), home(&tables)];
    homes[0].run(&RUN).expect(0);
    back_up(&tables.dest);
    for (n, home) in homes.iter().enumerate() {
        let first = 100 * (n as i64 + 1);
        tables.add(first..first + 25);
        home.run(&RUN).expect(0);
        home.run(&RUN).expect(0);
    }
    restore(&tables.dest);
    assert_eq!(tables.landed(), 50);
    (tables, homes)
}

#[test]
fn rows_of_another_home_are_not_taken_for_restored() {
    for order in [[0, 1], [1, 0]] {
        let (tables, homes) = two_homes_lose_rows();
        let unknown = ["2 runs are not known here: 4 to 5", "3 runs are not known here: 1 to 3"];
        for _ in 0..2 {
            assert_stays(&homes[order[0]].run(&LOST), unknown[order[0]]);
            assert_released(&tables);
            for home in &homes {
                assert_stops(&home.run(&RUN), OLDER);
            }
        }
        assert_eq!(tables.landed(), 50, "nothing is sent before all homes have had their word");
        homes[order[1]].run(&LOST).expect(0);
        tables.assert_same();
        tables.add(1000..1010);
        homes.iter().for_each(|home| drop(home.run(&RUN).expect(0)));
        tables.assert_same();
    }
}

#[test]
fn rows_of_a_home_that_is_gone_go_again_once_both_sides_are_compared() {
    let (tables, [home, _gone]) = two_homes_lose_rows();
    assert_stays(&home.run(&LOST), "4 to 5");
    compare(&tables);
    adopt(&home, &["--as-is"]);
    home.run(&RUN).expect(0);
    tables.assert_same();
}

/// The backup is from the middle of a run of another home, which went on after it.
#[test]
fn a_run_that_went_on_after_the_backup_is_among_those_that_must_be_known() {
    let tables = with_key(50);
    let homes = [home(&tables), home(&tables)];
    homes[0].run(&RUN).expect(0);
    tables.add(100..125);
    let mut running = homes[0].start(&RUN, "run.after_begin@1=pause");
    running.reached("run.after_begin").expect("the run has begun");
    back_up(&tables.dest);
    homes[0].release("run.after_begin");
    running.wait().expect(0);
    tables.add(200..225);
    homes[1].run(&RUN).expect(0);
    restore(&tables.dest);
    assert_eq!(tables.landed(), 50);
    assert_stays(&homes[1].run(&LOST), "1 run is not known here: 2");
    homes[0].run(&LOST).expect(0);
    tables.assert_same();
    homes[1].run(&RUN).expect(0);
}

#[test]
fn a_home_that_knows_of_nothing_says_that_others_may() {
    let (tables, _homes) = two_homes_lose_rows();
    let outcome = home(&tables).run(&LOST).expect(2);
    for words in ["nothing is remembered", "every home", "--as-is"] {
        assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
    }
    assert_released(&tables);
}

#[test]
fn lost_rows_of_a_table_without_a_key_are_for_the_operator_to_compare() {
    for index in ["", "CREATE UNIQUE INDEX dst_n ON dst (n)"] {
        let tables = Tables::on_mariadb(30);
        if !index.is_empty() {
            // A key that the destination makes itself refuses no row that comes again.
            let own = "ALTER TABLE dst ADD COLUMN n BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY";
            tables.dest.run(&[own, index]);
        }
        let instance = tables.instance();
        instance.run(&RUN).expect(0);
        back_up(&tables.dest);
        tables.add(100..120);
        instance.run(&RUN).expect(0);
        restore(&tables.dest);
        let run = instance.run(&RUN).expect(1);
        assert!(run.stdout.contains("without a unique index"), "{run}");
        let outcome = instance.run(&LOST).expect(2);
        for words in ["has no unique index", "by hand", "adopt --as-is"] {
            assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
        }
        assert_released(&tables);
        tables.source.run(&["UPDATE src SET sync_status = 0 WHERE id >= 100"]);
        adopt(&instance, &["--as-is"]);
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

#[test]
fn a_destination_that_has_lost_nothing_is_left_as_it_is() {
    let tables = with_key(30);
    let instance = home(&tables);
    // Rows that have landed are still under way: they are for the next run to settle.
    instance.run_with(&RUN, "settler.before_settle@1=kill-group");
    instance.wait_until_dead();
    assert!(tables.landed() > 0);
    tables.source.run(&["UPDATE SSYNC_OWNER SET token = NULL"]);
    let outcome = instance.run(&LOST);
    assert!(!outcome.stdout.contains("rows are bad"), "{outcome}");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 30)]);
}

/// A row of a lost batch may be there all the same, and would be refused as a bad row.
#[test]
fn lost_rows_go_again_beside_rows_of_their_range_that_are_there() {
    let tables = with_key(30);
    let instance = tables.instance();
    instance.run(&RUN).expect(0);
    back_up(&tables.dest);
    tables.add(100..120);
    instance.run(&RUN).expect(0);
    restore(&tables.dest);
    tables.dest.run(&["INSERT INTO dst (id, v) VALUES (105, 'row 105')"]);
    let v = "UPDATE src SET v = 'row 105' WHERE id = 105";
    tables.source.run(&[v]);
    let states = tables.states();
    for _ in 0..2 {
        let outcome = instance.run(&LOST).expect(2);
        for words in ["would be bad rows", "write = \"ignore\"", "retry --lost again"] {
            assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
        }
        assert_eq!(tables.states(), states);
        assert_released(&tables);
        assert_stops(&instance.run(&RUN), OLDER);
    }
    // As the refusal says.
    instance.apply(&tables.toml("", "write = \"ignore\""));
    instance.run(&LOST).expect(0);
    tables.assert_same();
    instance.apply(&tables.toml("", ""));
    tables.add(200..210);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

/// What the loss itself has suspended could not be run before its rows are set back.
#[test]
fn lost_rows_of_what_is_held_are_set_back_and_sent_once_it_runs_again() {
    for (kind, table) in [
        (HoldKind::Suspended, None),
        (HoldKind::Suspended, Some("t")),
        (HoldKind::Paused, None),
        (HoldKind::Paused, Some("t")),
    ] {
        let tables = with_key(30);
        let instance = home(&tables);
        instance.run(&RUN).expect(0);
        back_up(&tables.dest);
        tables.add(100..120);
        instance.run(&RUN).expect(0);
        restore(&tables.dest);
        assert_stops(&instance.run(&RUN), OLDER);
        assert!(instance.store().hold(1, table, kind, Some("by test")).unwrap());
        let outcome = instance.run(&LOST).expect(130);
        for words in ["20 rows set back", "nothing is sent yet", "by test", "ssync resume 1"] {
            assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
        }
        assert_eq!((tables.landed(), tables.states()), (30, vec![(0, 20), (2, 30)]));
        assert_released(&tables);
        // Bad rows go again with a run, and not without one.
        instance.run(&["retry", "--task", "1"]).expect(130);
        instance.store().resume(1, table).unwrap();
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

/// States that an operator has set are known to no home: what the destination loses of them is found
/// by comparing.
#[test]
fn what_was_taken_as_it_is_is_missed_when_the_destination_loses_it() {
    let tables = with_key(50);
    let home = home(&tables);
    home.run(&RUN).expect(0);
    back_up(&tables.dest);
    tables.add(100..120);
    home.run_with(&RUN, "settler.before_settle@1=kill-group");
    home.wait_until_dead();
    assert!(tables.landed() > 50);
    compare(&tables);
    adopt(&home, &["--as-is"]);
    restore(&tables.dest);
    assert_stops(&home.run(&RUN), OLDER);
    assert_stays(&home.run(&LOST), "not known here");
    assert_eq!(tables.landed(), 50);
    compare(&tables);
    adopt(&home, &["--as-is"]);
    home.run(&RUN).expect(0);
    tables.assert_same();
    // From here on it knows all runs again.
    tables.dest.run(&["DROP TABLE bak_dst, bak_SSYNC_FENCE, bak_SSYNC_LEDGER"]);
    back_up(&tables.dest);
    tables.add(200..220);
    home.run(&RUN).expect(0);
    restore(&tables.dest);
    home.run(&LOST).expect(0);
    tables.assert_same();
}

#[test]
fn rows_between_those_that_are_missing_go_again_and_are_counted() {
    let tables = with_key(50);
    let home = Instance::new(&tables.toml("", "write = \"upsert\""));
    home.run(&RUN).expect(0);
    back_up(&tables.dest);
    tables.source.run(&["UPDATE src SET v = 'new', sync_status = 0 WHERE id IN (0, 49)"]);
    home.run(&RUN).expect(0);
    restore(&tables.dest);
    let outcome = home.run(&LOST).expect(0);
    for words in ["50 rows set back", "48 of these were not in the missing batches"] {
        assert!(outcome.stderr.contains(words), "{words:?} is not in {outcome}");
    }
    tables.assert_same();
}
