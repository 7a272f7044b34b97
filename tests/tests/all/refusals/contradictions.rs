//! What contradicts what earlier runs have written down stops a run: another choice of rows below a
//! mark, a ledger that is gone, a destination that was emptied, a table that another mode has emptied.

use super::{RUN, Tables, error_of};
use ssync_tests::sites::{Cell, Holds};
use ssync_tests::ssync::Instance;

const INCREMENT: &str = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }";

#[test]
fn a_mark_is_not_taken_for_rows_that_another_where_chose() {
    let tables = Tables::on_mariadb(100);
    let choosing = |rows: &str, write: &str| {
        tables.toml("", &format!("{INCREMENT}\nwhere = \"id % 2 = {rows}\"\n{write}"))
    };
    let instance = Instance::new(&choosing("0", ""));
    instance.run(&RUN).expect(0);
    assert_eq!(tables.landed(), 50);
    instance.apply(&choosing("1", ""));
    for args in [&RUN[..], &["--task", "1", "--restart", "--json"]] {
        let outcome = instance.run(args).expect(2);
        assert!(error_of(&outcome).1.contains("with another where"), "{outcome}");
    }
    tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
    tables.dest.run(&["ALTER TABLE dst MODIFY id BIGINT NOT NULL"]);
    instance.apply(&choosing("1", "write = \"upsert\""));
    instance.run(&["--task", "1", "--restart"]).expect(0);
    tables.assert_same();
    tables.add(100..110);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.landed(), 105);
}

#[test]
fn a_ledger_that_is_gone_while_rows_are_under_way_is_noticed() {
    for mode in ["", INCREMENT] {
        let tables = Tables::on_mariadb(100);
        let instance = Instance::new(&tables.toml("", mode));
        instance.run_with(&RUN, "writer.after_commit@3=kill-group");
        instance.wait_until_dead();
        let landed = tables.landed();
        tables.dest.run(&["DROP TABLE SSYNC_LEDGER"]);
        for _ in 0..2 {
            let outcome = instance.run(&RUN).expect(1);
            let (kind, text) = error_of(&outcome);
            assert!(kind == "Balance" && text.contains("SSYNC_LEDGER is gone"), "{outcome}");
        }
        assert_eq!(tables.landed(), landed);
    }
}

/// A run of `mode` that was broken off with rows landed, and the ledger emptied since.
fn with_emptied_ledger(mode: &str) -> (Tables, Instance) {
    let tables = Tables::on_mariadb(100);
    let instance = Instance::new(&tables.toml("", mode));
    instance.run_with(&RUN, "writer.after_commit@3=kill-group");
    instance.wait_until_dead();
    tables.dest.run(&["DELETE FROM SSYNC_LEDGER"]);
    (tables, instance)
}

#[track_caller]
fn lost_entries(tables: &Tables, instance: &Instance) {
    let landed = tables.landed();
    for _ in 0..2 {
        let outcome = instance.run(&RUN).expect(1);
        let (kind, text) = error_of(&outcome);
        assert!(kind == "Balance" && text.contains("has lost its entries"), "{outcome}");
        let checked = instance.run(&["check"]);
        assert!(checked.to_string().contains("has lost its entries"), "{checked}");
    }
    assert_eq!(tables.landed(), landed);
}

fn adopt(instance: &Instance, decision: &str) {
    instance.run(&["adopt", "--task", "1", "--tables", "t", decision]).expect(0);
}

#[test]
fn a_ledger_that_was_emptied_while_rows_are_under_way_is_noticed() {
    for decision in ["--as-is", "--new"] {
        let (tables, instance) = with_emptied_ledger("");
        lost_entries(&tables, &instance);
        // Looking decides nothing.
        instance.run(&["adopt", "--task", "1", "--tables", "t"]).expect(0);
        lost_entries(&tables, &instance);
        let lost = instance.run(&["retry", "--lost", "--task", "1", "--tables", "t"]);
        assert_ne!(lost.code, Some(0), "{lost}");
        let landed = tables.dest.rows("SELECT id FROM dst", &[Holds::Int]);
        let ids: Vec<_> = landed.iter().map(|row| format!("{}", int(&row[0]))).collect();
        assert!(!ids.is_empty());
        // As it is, nothing says which of the rows under way are there.
        let refused = instance.run(&["adopt", "--task", "1", "--tables", "t", "--as-is"]).expect(2);
        assert!(refused.stderr.contains("nothing says which rows of src have landed"), "{refused}");
        tables.source.run(&[
            &format!("UPDATE src SET sync_status = 2 WHERE id IN ({})", ids.join(", ")),
            "UPDATE src SET sync_status = 0 WHERE sync_status = 1",
        ]);
        adopt(&instance, decision);
        instance.run(&RUN).expect(0);
        tables.assert_same();
        // And from then on as ever.
        tables.add(100..120);
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

fn int(cell: &Cell) -> i64 {
    match cell {
        Cell::Int(n) => *n,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ledger_that_was_emptied_is_noticed_when_nothing_is_under_way() {
    let tables = Tables::on_mariadb(20);
    let instance = tables.instance();
    instance.run(&RUN).expect(0);
    tables.dest.run(&["TRUNCATE TABLE SSYNC_LEDGER"]);
    tables.add(20..30);
    lost_entries(&tables, &instance);
    adopt(&instance, "--as-is");
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn an_increment_does_not_send_again_what_an_emptied_ledger_knew() {
    let (tables, instance) = with_emptied_ledger(INCREMENT);
    lost_entries(&tables, &instance);
    tables.dest.run(&["DELETE FROM dst"]);
    adopt(&instance, "--as-is");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    // Nothing is needed of it once a run has come to its end.
    tables.dest.run(&["DELETE FROM SSYNC_LEDGER"]);
    tables.add(100..120);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_full_run_whose_ledger_was_emptied_begins_anew() {
    let (tables, instance) = with_emptied_ledger("mode = \"full\"");
    let outcome = instance.run(&RUN).expect(0);
    assert!(outcome.table("t")["notes"].to_string().contains("began anew"), "{outcome}");
    tables.assert_same();
}

#[test]
fn rows_are_not_shown_as_done_that_an_emptied_destination_lacks() {
    let tables = Tables::on_mariadb(100);
    let instance = tables.instance();
    instance.run_with(&RUN, "settler.before_settle@2=kill-group");
    instance.wait_until_dead();
    tables.dest.run(&["RENAME TABLE dst TO dst_old", "CREATE TABLE dst LIKE dst_old"]);
    for _ in 0..2 {
        let outcome = instance.run(&RUN).expect(1);
        let (kind, text) = error_of(&outcome);
        assert!(kind == "Balance" && text.contains("is empty, and rows have landed"), "{outcome}");
    }
    instance.run(&["adopt", "--task", "1", "--tables", "t", "--new"]).expect(0);
    // Those that were settled before were done.
    let unsent = tables.source.number("SELECT COUNT(*) FROM src WHERE sync_status < 2");
    instance.run(&RUN).expect(0);
    assert_eq!(tables.landed(), unsent);
}

#[test]
fn a_destination_that_was_emptied_under_an_open_run_is_noticed_when_all_is_settled() {
    for by_hand in [false, true] {
        let tables = Tables::on_mariadb(100);
        let instance = tables.instance();
        instance.run_with(&RUN, "run.before_finish@1=kill-group");
        instance.wait_until_dead();
        let done = "SELECT COUNT(*) FROM src WHERE sync_status = 2";
        assert_eq!(tables.source.number(done), 100);
        tables.dest.run(&["DELETE FROM dst"]);
        tables.add(100..103);
        for _ in 0..2 {
            let outcome = instance.run(&RUN).expect(1);
            let (kind, text) = error_of(&outcome);
            assert!(kind == "Balance" && text.contains("is empty, and rows have"), "{outcome}");
            assert_eq!(tables.landed(), 0);
        }
        // As the refusal says. Where nothing is done any more, nothing can be missing.
        tables.source.run(&["UPDATE src SET sync_status = 0 WHERE sync_status = 2"]);
        if !by_hand {
            instance.run(&["adopt", "--task", "1", "--tables", "t", "--new"]).expect(0);
        }
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

#[test]
fn a_table_that_a_full_run_has_emptied_is_not_taken_for_filled() {
    let tables = Tables::on_mariadb(100);
    let (status, full) = (tables.toml("", ""), tables.toml("", "mode = \"full\""));
    let instance = Instance::new(&status);
    instance.run(&RUN).expect(0);
    instance.apply(&full);
    instance.run_with(&RUN, "writer.after_commit@3=kill-group");
    instance.wait_until_dead();
    tables.add(200..205);
    for other in [&status, &tables.toml("", &format!("{INCREMENT}\ninitial = \"all\""))] {
        instance.apply(other);
        let outcome = instance.run(&RUN).expect(2);
        assert!(error_of(&outcome).1.contains("was broken off"), "{outcome}");
    }
    instance.apply(&full);
    instance.run(&["--task", "1", "--restart"]).expect(0);
    tables.assert_same();
}

#[test]
fn an_increment_says_when_its_source_may_be_older() {
    let tables = Tables::on_mariadb(100);
    let instance = Instance::new(&tables.toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    let older = |outcome: &ssync_tests::ssync::Outcome| {
        outcome.table("t")["notes"].to_string().contains("is older than what has been sent")
    };
    assert!(!older(&instance.run(&RUN).expect(0)));
    tables.source.run(&["DELETE FROM src WHERE id >= 90"]);
    assert!(older(&instance.run(&RUN).expect(0)));
}
