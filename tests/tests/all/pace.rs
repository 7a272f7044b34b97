//! Runs that go no faster than they may, and wait while a database asks to be left alone.

use std::time::Instant;

use ssync_tests::PATIENCE;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Running};

const ROWS: i64 = 600;

struct Pair {
    source: Site,
    dest: Site,
    instance: Instance,
}

impl Pair {
    fn new() -> Pair {
        let instance = Instance::new("");
        let source = Site::on_server(mariadb(), "pace");
        let dest = Site::in_file(instance.scratch(), "dest");
        source.run(&[
            "CREATE TABLE t (id BIGINT PRIMARY KEY, sync_status TINYINT NOT NULL DEFAULT 0)",
            &format!("INSERT INTO t (id) SELECT seq FROM seq_1_to_{ROWS}"),
            "CREATE TABLE brake (n INT)",
        ]);
        dest.run(&["CREATE TABLE t (id BIGINT NOT NULL)"]);
        Pair { source, dest, instance }
    }

    /// The configuration, with more keys of source link, destination link and task.
    fn apply(&self, source: &str, dest: &str, task: &str) {
        self.instance.apply(&format!(
            "{}{source}\n{}{dest}\n[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\n\
             batch_rows = 50\n{task}\n[[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\n",
            self.source.link("src"),
            self.dest.link("dst")
        ));
    }

    fn start(&self) -> Running {
        self.instance.start(&["--task", "1", "--json"], "")
    }

    fn landed(&self) -> i64 {
        self.dest.number("SELECT COUNT(DISTINCT id) FROM t")
    }

    /// Waits until the run says that it waits for its limits, and then some batches' time.
    #[track_caller]
    fn until_it_waits(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.instance.run(&["status", "--json"]).expect(0).stdout;
            if status.contains("\"throttle\"") {
                return;
            }
            assert!(Instant::now() < deadline, "never waited\n{status}\n{}", self.instance.logs());
        }
    }

    #[track_caller]
    fn assert_all_there(&self) {
        assert_eq!(self.landed(), ROWS);
        assert_eq!(self.dest.number("SELECT COUNT(*) FROM t"), ROWS);
        assert_eq!(self.source.number("SELECT COUNT(*) FROM t WHERE sync_status <> 2"), 0);
    }
}

/// At a row a second it would take ten minutes; each of the limits is lifted under way.
#[test]
fn a_limit_keeps_a_run_slow_until_it_is_lifted() {
    for (source, dest, task) in [
        ("max_rows_per_sec = 1", "", ""),
        ("", "max_bytes_per_sec = 900", ""),
        ("", "", "max_rows_per_sec = 1"),
    ] {
        let pair = Pair::new();
        pair.apply(source, dest, task);
        let running = pair.start();
        pair.until_it_waits();
        assert!(pair.landed() < ROWS / 2, "{source}{dest}{task}: {}", pair.landed());
        pair.apply("", "", "");
        let outcome = running.wait().expect(0);
        assert_eq!(outcome.table("t")["bottleneck"], "throttle", "{outcome}");
        pair.assert_all_there();
    }
}

#[test]
fn a_run_waits_for_as_long_as_the_throttle_says() {
    for (source, dest, held) in [
        ("throttle = { query = \"SELECT n FROM brake\", above = 3 }", "", "4"),
        ("throttle = { query = \"SELECT n FROM brake\", above = 3 }", "", "NULL"),
        ("", "throttle = { query = \"SELECT n FROM brake\" }", "1"),
    ] {
        let pair = Pair::new();
        let braked = if source.is_empty() { &pair.dest } else { &pair.source };
        if source.is_empty() {
            braked.run(&["CREATE TABLE brake (n INT)"]);
        }
        braked.run(&[format!("INSERT INTO brake VALUES ({held})")]);
        pair.apply(source, dest, "");
        let running = pair.start();
        pair.until_it_waits();
        assert_eq!(pair.landed(), 0);
        assert_eq!(pair.source.number("SELECT COUNT(*) FROM t WHERE sync_status <> 0"), 0);
        braked.run(&["UPDATE brake SET n = 0"]);
        running.wait().expect(0);
        pair.assert_all_there();
    }
}

#[test]
fn a_throttle_that_cannot_be_asked_ends_the_run_with_its_link() {
    for (query, told) in [
        ("SELECT n FROM nowhere", "nowhere"),
        ("SELECT n FROM brake", "does not give one number"),
        ("SELECT 'x'", "does not give one number"),
        ("SELECT 1, 2", "does not give one number"),
    ] {
        let pair = Pair::new();
        pair.apply(&format!("throttle = {{ query = \"{query}\" }}"), "", "");
        let outcome = pair.start().wait();
        assert_ne!(outcome.code, Some(0), "{outcome}");
        let text = outcome.to_string();
        assert!(text.contains(told) && text.contains("link src"), "{text}");
        assert_eq!(pair.source.number("SELECT COUNT(*) FROM t WHERE sync_status <> 0"), 0);
    }
}

#[test]
fn a_run_that_is_held_back_can_be_interrupted() {
    let pair = Pair::new();
    pair.apply("", "", "max_rows_per_sec = 1");
    let running = pair.start();
    pair.until_it_waits();
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().expect(130);
    assert_eq!(pair.source.number("SELECT COUNT(*) FROM t WHERE sync_status = 1"), 0);
    pair.apply("", "", "");
    pair.start().wait().expect(0);
    pair.assert_all_there();
}
