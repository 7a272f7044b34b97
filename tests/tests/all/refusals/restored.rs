//! A destination that was restored, or failed over, to an older state.

use std::path::Path;

use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

use super::{RUN, Tables, error_of};

/// A copy of the file as a backup makes it.
fn back_up(site: &Site, to: &Path) {
    let _ = std::fs::remove_file(to);
    site.sqlite().execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
}

fn restore(site: &Site, from: &Path) {
    let Site::Sqlite(path) = site else { panic!("not a file") };
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    std::fs::copy(from, path).unwrap();
}

/// So many runs are lost; the run after that refuses, and goes on refusing, until the operator
/// says that the lost rows shall go again.
fn lost_runs(lost: i64) {
    let dir = tempfile::tempdir().unwrap();
    let dest = Site::in_file(dir.path(), "dst");
    let tables = Tables::between(Site::on_server(mariadb(), "ref"), dest, 50);
    // Lost rows that are still there must not be doubled: that takes a key.
    tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
    let instance = Instance::new(&tables.toml("", "write = \"ignore\""));
    instance.run(&RUN).expect(0);
    let copy = dir.path().join("backup");
    back_up(&tables.dest, &copy);
    for n in 1..=lost {
        tables.add(n * 100..n * 100 + 30);
        instance.run(&RUN).expect(0);
    }
    tables.assert_same();
    restore(&tables.dest, &copy);
    assert_eq!(tables.landed(), 50);
    tables.add(5000..5010);
    for _ in 0..3 {
        let outcome = instance.run(&RUN).expect(1);
        let (kind, text) = error_of(&outcome);
        assert_eq!(kind, "Balance", "{outcome}");
        assert!(text.contains("no longer has what was settled last"), "{outcome}");
        assert_eq!(tables.landed(), 50, "nothing is sent before somebody has looked");
    }
    instance.run(&["retry", "--task", "1", "--lost"]).expect(0);
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_destination_that_lost_the_last_run_is_noticed_and_made_whole() {
    lost_runs(1);
}

#[test]
fn a_destination_that_lost_several_runs_is_noticed_and_made_whole() {
    lost_runs(4);
}

/// Before the rows that it has lost have been sent again.
#[test]
fn a_destination_that_is_restored_once_more_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let dest = Site::in_file(dir.path(), "dst");
    let tables = Tables::between(Site::on_server(mariadb(), "ref"), dest, 50);
    tables.dest.run(&["CREATE UNIQUE INDEX dst_id ON dst (id)"]);
    let instance = Instance::new(&tables.toml("", "write = \"ignore\""));
    let copies = [0, 1].map(|n| dir.path().join(format!("backup{n}")));
    for copy in &copies {
        instance.run(&RUN).expect(0);
        back_up(&tables.dest, copy);
        let first = if *copy == copies[0] { 100 } else { 200 };
        tables.add(first..first + 20);
    }
    instance.run(&RUN).expect(0);
    restore(&tables.dest, &copies[1]);
    let lost = ["retry", "--task", "1", "--lost"];
    instance.run_with(&lost, "run.after_lock@*=kill-group");
    instance.wait_until_dead();
    restore(&tables.dest, &copies[0]);
    assert_eq!(tables.landed(), 50);
    let (kind, text) = error_of(&instance.run(&RUN).expect(1));
    assert!(kind == "Balance" && text.contains("no longer has what was settled last"), "{text}");
    instance.run(&lost).expect(0);
    tables.assert_same();
}

#[test]
fn a_destination_without_any_memory_is_noticed() {
    let tables = Tables::on_mariadb(30);
    let instance = tables.instance();
    instance.run(&RUN).expect(0);
    tables.dest.run(&["DROP TABLE SSYNC_LEDGER", "DROP TABLE SSYNC_FENCE", "DELETE FROM dst"]);
    tables.add(100..110);
    let (kind, _) = error_of(&instance.run(&RUN).expect(1));
    assert_eq!(kind, "Balance");
    assert_eq!(tables.landed(), 0);
}

/// What another instance has done since is no reason to refuse.
#[test]
fn instances_that_take_turns_do_not_take_each_other_for_a_restore() {
    let tables = Tables::on_mariadb(30);
    let instances = [tables.instance(), tables.instance()];
    for n in 1..7 {
        instances[(n % 2) as usize].run(&RUN).expect(0);
        if n % 3 == 0 {
            instances[(n % 2) as usize].run(&RUN).expect(0);
        }
        tables.add(n * 100..n * 100 + 15);
    }
    instances[0].run(&RUN).expect(0);
    tables.assert_same();
}
