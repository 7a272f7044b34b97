//! Sessions of processes that are dead, and still at work on the server.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use nix::sys::signal::Signal;
use ssync_tests::cable::Cable;
use ssync_tests::servers::{Server, Software, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;
use ssync_tests::{PATIENCE, wait_for};

use super::{RUN, Tables};

/// Waits until some session of the server shows `what` in its state or statement.
fn wait_for_session(server: &Server, what: &str) {
    let since = Instant::now();
    let mut conn = server.connect();
    loop {
        let sessions: Vec<(u64, Option<String>, Option<String>)> = conn
            .query(
                "SELECT id, state, info FROM information_schema.processlist \
                 WHERE id <> CONNECTION_ID()",
            )
            .unwrap();
        let shows = |text: &Option<String>| text.as_ref().is_some_and(|t| t.contains(what));
        if sessions.iter().any(|(_, state, info)| shows(state) || shows(info)) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "no session {what}: {sessions:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a transaction of the server waits for another one. That a statement is seen does not
/// say so.
fn wait_for_lock_wait(server: &Server) {
    let mut conn = server.connect();
    let waiting =
        "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    wait_for("a lock wait", || {
        // The server makes this view anew only when it has not been read for a tenth of a second.
        std::thread::sleep(Duration::from_millis(250));
        conn.query_first(waiting).unwrap() > Some(0)
    });
}

/// The dead writer's COMMIT is under way when the next run begins: its rows count, once.
#[test]
fn a_commit_that_is_still_under_way_when_its_writer_is_dead_counts_once() {
    let server = Server::start(Software::MariaDb, &[]);
    let source = Site::on_server(mariadb(), "ref");
    let tables = Tables::between(source, Site::on_server(&server, "ref"), 60);
    let (one, other) = (tables.instance(), tables.instance());
    let mut first = one.start(&RUN, "writer.before_commit@3=pause");
    first.reached("writer.before_commit").expect("the third batch");
    // Nobody's commit gets through for now.
    let mut lock = server.connect();
    lock.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
    one.release("writer.before_commit");
    wait_for_session(&server, "COMMIT");
    first.signal_all(Signal::SIGKILL);
    first.wait();
    one.wait_until_dead();
    // Another instance recovers; it knows of the first only through the databases.
    let mut second = other.start(&RUN, "");
    wait_for_session(&server, "SSYNC_FENCE");
    assert!(!second.has_ended());
    lock.query_drop("UNLOCK TABLES").unwrap();
    let second = second.wait().expect(0);
    assert!(second.count("t", "recovered") >= 10, "the ghost's batch had landed: {second}");
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 60)]);
}

/// The dead writer's INSERT is still waiting: it never commits, and its rows go again.
#[test]
fn a_load_that_is_still_under_way_when_its_writer_is_dead_does_not_land() {
    let server = Server::start(Software::MariaDb, &[]);
    let source = Site::on_server(mariadb(), "ref");
    let tables = Tables::between(source, Site::on_server(&server, "ref"), 60);
    tables.dest.run(&["ALTER TABLE dst ADD UNIQUE (id)"]);
    // Somebody is about to insert the same key: the load has to wait for what becomes of it.
    let mut rival = tables.dest.mysql();
    rival.query_drop("BEGIN").unwrap();
    rival.query_drop("INSERT INTO dst VALUES (25, 'rival')").unwrap();
    let (one, other) = (tables.instance(), tables.instance());
    let first = one.start(&RUN, "");
    wait_for_lock_wait(&server);
    first.signal_all(Signal::SIGKILL);
    first.wait();
    one.wait_until_dead();
    let mut second = other.start(&RUN, "");
    // It waits for the ghost, which holds the fence.
    wait_for_session(&server, "SSYNC_FENCE");
    assert!(!second.has_ended());
    rival.query_drop("ROLLBACK").unwrap();
    second.wait().expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 60)]);
}

/// An instance that reaches one side over a cable.
fn over_a_cable(tables: &Tables, server: &Server) -> (Instance, Cable) {
    let cable = Cable::to(server.port());
    let (own, cabled) = (format!(":{}/", server.port()), format!(":{}/", cable.port()));
    (Instance::new(&tables.toml("", "").replace(&own, &cabled)), cable)
}

/// The host of a run is lost in the middle of a batch: the server holds the fence for a session that
/// nobody is behind. The next run, from another home, ends that session and no other.
#[test]
fn a_lost_hosts_session_at_the_destination_is_ended_by_the_next_run() {
    for software in [Software::MariaDb, Software::MySql56] {
        let server = Server::start(software, &[]);
        let source = Site::on_server(mariadb(), "ref");
        let tables = Tables::between(source, Site::on_server(&server, "ref"), 60);
        let (one, cable) = over_a_cable(&tables, &server);
        let mut first = one.start(&RUN, "writer.before_commit@3=pause");
        first.reached("writer.before_commit").expect("the third batch");
        // Somebody else of the same account is in a transaction, too.
        let mut bystander = tables.dest.mysql();
        bystander.query_drop("BEGIN").unwrap();
        bystander.query_drop("INSERT INTO dst VALUES (1000, 'bystander')").unwrap();
        cable.cut();
        first.signal_all(Signal::SIGKILL);
        first.wait();
        one.wait_until_dead();
        let outcome = tables.instance().run(&RUN).expect(0);
        assert!(outcome.seconds < 40.0, "{outcome}");
        bystander.query_drop("ROLLBACK").expect("the bystander is left alone");
        tables.assert_same();
        assert_eq!(tables.states(), [(2, 60)]);
    }
}

/// The same in the middle of a claim: the source holds the owner row and rows of the application.
#[test]
fn a_lost_hosts_session_at_the_source_is_ended_by_the_next_run() {
    for (software, state) in [(Software::MariaDb, 1), (Software::MySql56, 2)] {
        let server = Server::start(software, &[]);
        let dest = Site::on_server(mariadb(), "ref");
        let tables = Tables::between(Site::on_server(&server, "ref"), dest, 60);
        let (one, cable) = over_a_cable(&tables, &server);
        // In a claim, and in a settlement.
        let mut first = one.start(&RUN, &format!("moving.before_commit@{state}=pause"));
        first.reached("moving.before_commit").expect("a claim or settlement");
        cable.cut();
        first.signal_all(Signal::SIGKILL);
        first.wait();
        one.wait_until_dead();
        let outcome = tables.instance().run(&RUN).expect(0);
        assert!(outcome.seconds < 40.0, "{outcome}");
        tables.assert_same();
        assert_eq!(tables.states(), [(2, 60)]);
    }
}
