//! How many rows wait to be sent, as `ssync status` and `ssync health` show it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mysql::prelude::Queryable;
use serde_json::Value;
use ssync_tests::servers::{Server, Software, mysql56};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

use crate::daemon::{House, task};

/// What is known of the table of task `n`.
fn backlog(house: &House, n: usize) -> Value {
    let status = house.instance.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let tables = status["tables"].as_array().unwrap().iter();
    tables.into_iter().find(|table| table["task"] == n).unwrap()["backlog"].clone()
}

#[test]
fn rows_that_wait_are_counted_once_a_minute_also_while_their_task_is_paused() {
    let house = House::new(3);
    let full = task(3, "").replace("app_resets_status = true\n", "mode = \"full\"\n");
    house.apply(&(task(1, "") + &task(2, "") + &full));
    house.sites[0].0.run(&["CREATE INDEX by_status ON t (sync_status)"]);
    for n in 1..=2 {
        house.insert(n, 0..5);
    }
    // Looking never counts.
    let asked = house.instance.run(&["status"]).expect(0);
    assert!(asked.stdout.contains("backlog unknown (not counted yet)"), "{asked}");
    assert_eq!(backlog(&house, 1)["rows"], Value::Null);
    assert!(!house.instance.run(&["health"]).stdout.contains("backlog"));

    let daemon = house.start("");
    house.wait("a first count", || backlog(&house, 1)["rows"] == 5);
    let shown = house.instance.run(&["status"]).expect(0).stdout;
    assert!(shown.contains("5 rows wait to be sent (counted "), "{shown}");
    // A whole table would have to be read.
    house.wait("the reason why it is not known", || {
        let known = backlog(&house, 2);
        known["rows"].is_null() && known["reason"] == "no index begins with sync_status"
    });
    // Rows without states do not wait.
    assert_eq!(backlog(&house, 3), Value::Null);
    let health = house.instance.run(&["health"]).expect(0).stdout;
    assert!(health.ends_with(" | 'backlog task 1 t'=5;;;0\n"), "{health}");
    let health = house.instance.run(&["health", "--json"]).expect(0).stdout;
    let health: Value = serde_json::from_str(&health).unwrap();
    let all = health["backlog"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["rows"], &all[1]["rows"]), (2, &5.into(), &Value::Null));

    // A run has sent them: the figure is older than that, and then it is a new one.
    let mut counted = BTreeSet::new();
    let mut look = || {
        let known = backlog(&house, 1);
        counted.insert(known["counted_at"].as_str().unwrap().parse::<Timestamp>().unwrap());
        known["rows"].as_u64().unwrap()
    };
    look();
    house.instance.run(&["run", "1", "--wait"]).expect(0);
    assert_eq!(house.arrived(1), 5);
    let shown = house.instance.run(&["status"]).expect(0).stdout;
    assert!(shown.contains("5 rows wait to be sent (counted "), "{shown}");
    assert!(shown.contains("before its last run ended)"), "{shown}");
    let health = house.instance.run(&["health"]).expect(0).stdout;
    assert!(health.contains("; backlog from before the last run: task 1, table t | "), "{health}");
    for command in ["health", "status"] {
        let told = house.instance.run(&[command, "--json"]).expect(0).stdout;
        let told: Value = serde_json::from_str(&told).unwrap();
        let backlog = [&told["backlog"][0], &told["tables"][0]["backlog"]];
        assert!(backlog.iter().any(|b| b["before_last_run"] == true), "{command}: {told}");
    }
    house.wait("a count after the run", || look() == 0);
    house.instance.run(&["pause", "1"]).expect(0);
    house.insert(1, 5..8);
    house.wait("a count of what piles up", || look() == 3);
    house.stop(daemon);
    // What was counted last is shown with its age, whoever is there.
    assert_eq!(look(), 3);
    let counted: Vec<_> = counted.into_iter().collect();
    let gaps = counted.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_millis());
    // A count begins a minute after the one before has begun, and says when it has ended.
    assert!(gaps.into_iter().all(|ms| ms > 55_000), "{counted:?}");
}

#[test]
fn rows_that_wait_are_counted_on_an_old_server_too() {
    let instance = Instance::new("");
    let (source, dest) =
        (Site::on_server(mysql56(), "src"), Site::in_file(instance.scratch(), "d"));
    source.run(&["CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(20), \
                  sync_status TINYINT NOT NULL DEFAULT 0, KEY by_status (sync_status))"]);
    source.run(&["INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')"]);
    let house = House { instance, sites: vec![(source, dest)] };
    house.apply(&task(1, ""));
    let daemon = house.start("");
    house.wait("a count", || backlog(&house, 1)["rows"] == 3);
    house.stop(daemon);
}

#[test]
fn a_server_finds_rows_that_wait_by_its_index() {
    let server = Server::start(Software::MariaDb, &["--userstat=1"]);
    let instance = Instance::new("");
    let pair = |n: usize| {
        (Site::on_server(&server, "src"), Site::in_file(instance.scratch(), &format!("d{n}")))
    };
    let sites: Vec<_> = (0..2).map(pair).collect();
    for (n, (source, _)) in sites.iter().enumerate() {
        let key = if n == 0 {
            ", KEY by_status (sync_status, v)"
        } else {
            ", KEY other (v, sync_status)"
        };
        source.run(&[format!(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(20), \
             sync_status INT NOT NULL DEFAULT 0{key})"
        )]);
        source.run(&["INSERT INTO t (id, v, sync_status) \
                      SELECT seq, IF(seq % 2, 'a', 'b'), IF(seq <= 40, 0, 2) FROM seq_1_to_20000"]);
    }
    let house = House { instance, sites };
    let of = |n| task(n, "").replace("write = ", "where = \"v = 'a'\"\nwrite = ");
    house.apply(&(of(1) + &of(2)));
    let daemon = house.start("");
    house.wait("counts", || {
        backlog(&house, 1)["rows"] == 20 && backlog(&house, 2)["reason"].is_string()
    });
    let mut conn = server.connect();
    let read: Option<u64> = conn
        .query_first(
            "SELECT MAX(s.ROWS_READ) FROM information_schema.INDEX_STATISTICS s \
             WHERE s.TABLE_NAME = 't' AND s.INDEX_NAME = 'by_status'",
        )
        .unwrap();
    assert!(read.is_some_and(|rows| (20..=100).contains(&rows)), "{read:?}");
    // Nor has anything read the other one, which has no such index.
    let whole: Option<u64> = conn
        .query_first(
            "SELECT MAX(ROWS_READ) FROM information_schema.TABLE_STATISTICS \
             WHERE TABLE_NAME = 't'",
        )
        .unwrap();
    assert_eq!(whole, read);
    house.stop(daemon);
}
