//! One owner of a table at a time.

use nix::sys::signal::Signal;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Session, Site};
use ssync_tests::ssync::Instance;

use super::{RUN, Tables, error_of};

#[test]
fn a_second_run_from_the_same_home_is_refused_and_told_by_whom() {
    for table in ["", "mode = \"full\""] {
        let tables = Tables::on_mariadb(50);
        let instance = Instance::new(&tables.toml("", table));
        let mut first = instance.start(&RUN, "writer.before_commit@2=pause");
        first.reached("writer.before_commit").expect("the second batch");
        let second = instance.run(&RUN).expect(1);
        let (kind, text) = error_of(&second);
        assert_eq!(kind, "Locked", "{second}");
        assert!(text.contains(&format!("pid {}", first.pid())), "{second}");
        assert_eq!(second.table("t")["result"], "locked");
        instance.release("writer.before_commit");
        first.wait().expect(0);
        tables.assert_same();
        assert_eq!(instance.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_second_run_from_another_home_is_refused_by_the_source_itself() {
    let tables = Tables::on_mariadb(50);
    let (one, other) = (tables.instance(), tables.instance());
    let mut first = one.start(&RUN, "writer.before_commit@2=pause");
    first.reached("writer.before_commit").expect("the second batch");
    let second = other.run(&RUN).expect(1);
    let (kind, text) = error_of(&second);
    assert_eq!(kind, "Locked", "{second}");
    assert!(text.contains(&format!("process {}", first.pid())), "{second}");
    one.release("writer.before_commit");
    first.wait().expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 50)]);
    other.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn an_owner_that_is_stopped_is_still_the_owner() {
    let tables = Tables::on_mariadb(50);
    let (one, other) = (tables.instance(), tables.instance());
    let mut first = one.start(&RUN, "run.after_owner@1=pause");
    first.reached("run.after_owner").expect("the owner row");
    first.signal_all(Signal::SIGSTOP);
    let (kind, _) = error_of(&other.run(&RUN).expect(1));
    assert_eq!(kind, "Locked");
    // Nor does it help to wait for the row's own lock, which it may hold as it stands still.
    let mut held = Session::open(&tables.source);
    held.run("BEGIN");
    held.run("SELECT * FROM SSYNC_OWNER FOR UPDATE");
    let (kind, _) = error_of(&other.run(&RUN).expect(1));
    assert_eq!(kind, "Locked");
    held.run("ROLLBACK");
    one.release("run.after_owner");
    first.signal_all(Signal::SIGCONT);
    first.wait().expect(0);
    tables.assert_same();
}

/// Nobody owns the source of a `full` run: the later one has the table, the earlier one loses.
#[test]
fn of_two_full_runs_the_earlier_one_gives_up_and_harms_nothing() {
    // Paused where it has yet to empty the destination, to load it, to finish.
    for point in [
        "run.after_fence",
        "run.after_recover",
        "run.after_begin",
        "reader.after_read",
        "writer.before_fence",
        "run.after_rows",
        "steps.before_swap",
    ] {
        for method in ["truncate", "swap"] {
            if point == "steps.before_swap" && method == "truncate" {
                continue;
            }
            let tables = Tables::on_mariadb(50);
            let toml = tables.toml("", &format!("mode = \"full\"\nfull = \"{method}\""));
            let (one, other) = (Instance::new(&toml), Instance::new(&toml));
            let mut first = one.start(&RUN, &format!("{point}@1=pause"));
            first.reached(point).unwrap_or_else(|| panic!("{point} was not reached"));
            other.run(&RUN).expect(0);
            tables.assert_same();
            one.release(point);
            let first = first.wait().expect(1);
            let (kind, _) = error_of(&first);
            assert_eq!(kind, "Fenced", "{point}, {method}: {first}");
            tables.assert_same();
            // And whoever comes next finds a table that can be loaded.
            tables.add(50..60);
            one.run(&RUN).expect(0);
            tables.assert_same();
            assert_eq!(tables.dest.tables().len(), 3, "{:?}", tables.dest.tables());
        }
    }
}

/// A run on a host that cannot be looked at, given up when its lease is over, comes back.
#[test]
fn an_owner_that_was_given_up_lands_and_settles_nothing_any_more() {
    for point in [
        "reader.before_claim",
        "reader.after_claim",
        "writer.before_fence",
        "writer.after_commit",
        "settler.before_settle",
        "run.after_rows",
    ] {
        let tables = Tables::on_mariadb(60);
        let (one, other) = (tables.instance(), tables.instance());
        let mut first = one.start(&RUN, &format!("{point}@*=pause"));
        let paused = first.reached(point).unwrap_or_else(|| panic!("{point} was not reached"));
        assert!(paused > 0);
        // Whatever else it has in hand comes to its end; its owner row is then unlocked.
        let host =
            format!("\"host\":\"{}\"", nix::unistd::gethostname().unwrap().to_string_lossy());
        tables.source.run(&[&format!(
            "UPDATE SSYNC_OWNER SET owner = REPLACE(owner, '{host}', '\"host\":\"elsewhere\"'), \
             lease_until = 0"
        )]);
        let second = other.run(&RUN).expect(0);
        assert!(second.stdout.contains("elsewhere"), "{second}");
        tables.assert_same();
        assert_eq!(tables.states(), [(2, 60)], "{point}");
        // New work, claimed by nobody yet: the ghost must leave it alone.
        tables.add(100..130);
        one.release(point);
        let first = first.wait().expect(1);
        let (kind, _) = error_of(&first);
        assert!(["Locked", "Fenced"].contains(&kind.as_str()), "{point}: {first}");
        assert_eq!(tables.landed(), 60, "{point}");
        assert_eq!(tables.states(), [(0, 30), (2, 60)], "{point}: {first}");
        other.run(&RUN).expect(0);
        tables.assert_same();
    }
}

#[test]
fn sqlite_sources_have_one_owner_too() {
    let dir = tempfile::tempdir().unwrap();
    let source = Site::in_file(dir.path(), "src");
    let tables = Tables::between(source, Site::on_server(mariadb(), "ref"), 50);
    let (one, other) = (tables.instance(), tables.instance());
    let mut first = one.start(&RUN, "writer.before_commit@2=pause");
    first.reached("writer.before_commit").expect("the second batch");
    let (kind, _) = error_of(&other.run(&RUN).expect(1));
    assert_eq!(kind, "Locked");
    one.release("writer.before_commit");
    first.wait().expect(0);
    tables.assert_same();
}
