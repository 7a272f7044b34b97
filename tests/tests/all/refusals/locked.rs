//! Rows that an application holds locked: nobody waits for them while holding others, the
//! application least of all, and what they are left in is said and put right later.

use std::time::{Duration, Instant};

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Row, Session, Site};
use ssync_tests::ssync::{Instance, Running};

use super::{RUN, Tables};

/// Where the source is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Passes over locked rows, and need not wait.
    MariaDb,
    /// Waits for a second at least.
    MySql56,
    /// Passes over locked rows, and waits otherwise.
    Oracle,
}

impl Source {
    fn tables(self, rows: i64) -> Tables {
        let dest = Site::on_server(mariadb(), "lck");
        match self {
            Source::MariaDb => Tables::between(Site::on_server(mariadb(), "lck"), dest, rows),
            Source::MySql56 => Tables::between(Site::on_server(mysql56(), "lck"), dest, rows),
            Source::Oracle => {
                let account = oracle(Generation::Oracle19c).account("lck");
                let source = Site::of_account(&account);
                source.run(&["CREATE TABLE src (id NUMBER(18) PRIMARY KEY, \
                     v VARCHAR2(300) NOT NULL, sync_status NUMBER(1) DEFAULT 0 NOT NULL)"]);
                dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(300) NOT NULL)"]);
                let tables = Tables { source, dest };
                tables.add(0..rows);
                tables
            }
        }
    }
}

/// A session of the application that holds nothing but the rows it has touched.
fn application(site: &Site) -> Session {
    let mut session = Session::open(site);
    if let Site::MySql { .. } = site {
        session.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
        session.run("SET SESSION innodb_lock_wait_timeout = 1");
    }
    session
}

fn hold(session: &mut Session, ids: &[i64]) {
    session.run("BEGIN");
    for id in ids {
        session.run(&format!("UPDATE src SET v = v WHERE id = {id}"));
    }
}

/// Waits until so many rows are in this state.
fn wait_for_state(tables: &Tables, state: i64, rows: i64, running: &mut Running) {
    let since = Instant::now();
    while !tables.states().contains(&(state, rows)) {
        assert!(!running.has_ended(), "it ended with {:?}", tables.states());
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", tables.states());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn scattered_locked_rows_are_left(source: Source, rows: i64, held: usize, seconds: f64) {
    let tables = source.tables(rows);
    let ids: Vec<i64> = (0..held as i64).map(|n| n * (rows / held as i64) + 7).collect();
    let mut session = application(&tables.source);
    hold(&mut session, &ids);
    let toml = tables.toml("", "").replace("batch_rows = 10", "batch_rows = 200");
    let instance = Instance::new(&toml);
    let outcome = instance.run(&RUN).expect(1);
    assert!(outcome.seconds < seconds, "it waited: {outcome}");
    assert_eq!(outcome.table("t")["result"], "done_with_errors", "{outcome}");
    assert_eq!(outcome.count("t", "left_locked"), held as u64, "rows, each once: {outcome}");
    assert_eq!(tables.states(), [(0, held as i64), (2, rows - held as i64)]);
    session.run("COMMIT");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    assert_eq!(tables.states(), [(2, rows)]);
}

#[test]
fn forty_scattered_locked_rows_are_left_for_the_next_run_mariadb() {
    scattered_locked_rows_are_left(Source::MariaDb, 4000, 40, 30.0);
}

#[test]
fn scattered_locked_rows_are_left_for_the_next_run_mysql_5_6() {
    scattered_locked_rows_are_left(Source::MySql56, 1000, 4, 60.0);
}

#[test]
fn scattered_locked_rows_are_left_for_the_next_run_oracle() {
    scattered_locked_rows_are_left(Source::Oracle, 1000, 4, 90.0);
}

#[test]
fn one_locked_row_is_one_row() {
    let tables = Source::MariaDb.tables(60);
    let mut session = application(&tables.source);
    hold(&mut session, &[31]);
    let instance = tables.instance();
    let outcome = instance.run(&["--task", "1"]).expect(1);
    let text = outcome.to_string();
    assert!(text.contains("1 row was locked by another session and is left for the next run"));
    assert!(text.contains("done, some rows were locked"), "{text}");
    assert!(!text.contains("are bad"), "{text}");
    let outcome = instance.run(&["--task", "1", "--json", "--quiet"]).expect(1);
    let notes = outcome.table("t")["notes"].to_string();
    assert!(notes.contains("1 row was locked by another session"), "{outcome}");
    session.run("COMMIT");
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_row_that_is_locked_for_a_while_is_sent_by_the_same_run() {
    let tables = Source::MariaDb.tables(60);
    let mut session = application(&tables.source);
    hold(&mut session, &[20, 21]);
    let instance = tables.instance();
    let mut running = instance.start(&RUN, "");
    wait_for_state(&tables, 2, 58, &mut running);
    session.run("COMMIT");
    let outcome = running.wait().expect(0);
    assert_eq!(outcome.count("t", "left_locked"), 0, "{outcome}");
    tables.assert_same();
    assert_eq!(tables.states(), [(2, 60)]);
}

/// While a row of a batch is locked, no other row of it is held: the application changes them all
/// without waiting, and its changes are sent.
fn settling_holds_nothing_back(source: Source) {
    let tables = source.tables(60);
    let instance = tables.instance();
    let mut running = instance.start(&RUN, "settler.before_settle@2=pause");
    running.reached("settler.before_settle").expect("the second batch");
    let mut session = application(&tables.source);
    hold(&mut session, &[13]);
    instance.release("settler.before_settle");
    // All but the one that is held.
    wait_for_state(&tables, 2, 59, &mut running);
    let mut other = application(&tables.source);
    let began = Instant::now();
    for id in (10..20).filter(|id| *id != 13) {
        other.run("BEGIN");
        other.run(&format!("UPDATE src SET v = 'changed', sync_status = 0 WHERE id = {id}"));
        other.run("COMMIT");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "the application waited");
    let outcome = running.wait().expect(1);
    assert_eq!(outcome.count("t", "held"), 1, "{outcome}");
    assert_eq!(outcome.count("t", "landed"), 60, "{outcome}");
    assert_eq!(outcome.count("t", "settled"), 59, "{outcome}");
    assert_eq!(tables.states(), [(0, 9), (1, 1), (2, 50)]);
    session.run("COMMIT");
    let outcome = instance.run(&RUN).expect(0);
    assert_eq!(outcome.count("t", "landed"), 9, "the one that was held is not sent: {outcome}");
    assert_eq!(tables.states(), [(2, 60)]);
    assert_eq!(tables.landed(), 69);
}

#[test]
fn settling_holds_no_row_while_it_waits_for_another_mariadb() {
    settling_holds_nothing_back(Source::MariaDb);
}

#[test]
fn settling_holds_no_row_while_it_waits_for_another_mysql_5_6() {
    settling_holds_nothing_back(Source::MySql56);
}

#[test]
fn settling_holds_no_row_while_it_waits_for_another_oracle() {
    settling_holds_nothing_back(Source::Oracle);
}

/// A row that is changed under its lock was not settled: it goes again, the others do not.
#[test]
fn a_change_that_is_committed_after_the_run_is_sent_by_the_next() {
    let tables = Source::MariaDb.tables(30);
    let instance = tables.instance();
    let mut running = instance.start(&RUN, "settler.before_settle@1=pause");
    running.reached("settler.before_settle").expect("the first batch");
    let mut session = application(&tables.source);
    session.run("BEGIN");
    session.run("UPDATE src SET v = 'changed', sync_status = 0 WHERE id = 4");
    instance.release("settler.before_settle");
    let outcome = running.wait().expect(1);
    assert_eq!(outcome.count("t", "held"), 1, "{outcome}");
    session.run("COMMIT");
    assert_eq!(tables.states(), [(0, 1), (2, 29)]);
    let outcome = instance.run(&RUN).expect(0);
    assert_eq!(outcome.count("t", "landed"), 1, "{outcome}");
    assert_eq!(tables.states(), [(2, 30)]);
    let versions: Vec<Row> =
        tables.dest.rows("SELECT v FROM dst WHERE id = 4 ORDER BY v", &[Holds::Text]);
    let text = |t: &str| vec![Cell::Text(t.to_owned())];
    assert_eq!(versions, [text("changed"), text("row 4")]);
}

/// What a killed run left in state 1 is locked: nothing is claimed before that is settled, and the
/// application's other rows are free all the while.
fn recovery_waits_without_holding_anything(failpoint: &str) {
    let tables = Source::MariaDb.tables(60);
    let (one, other) = (tables.instance(), tables.instance());
    one.run_with(&RUN, failpoint);
    one.wait_until_dead();
    let mut session = application(&tables.source);
    hold(&mut session, &[13]);
    assert_eq!(
        tables.source.number("SELECT COUNT(*) FROM src WHERE id = 13 AND sync_status = 1"),
        1
    );
    let mut running = other.start(&RUN, "");
    // Its neighbours are in no one's hands soon.
    let since = Instant::now();
    let under_way = "SELECT COUNT(*) FROM src WHERE sync_status = 1 AND id BETWEEN 10 AND 19";
    while tables.source.number(under_way) != 1 {
        assert!(!running.has_ended() && since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut app = application(&tables.source);
    app.run("UPDATE src SET v = 'free' WHERE id = 14");
    session.run("COMMIT");
    let outcome = running.wait().expect(0);
    assert_eq!(tables.states(), [(2, 60)], "{outcome}");
    assert_eq!(tables.landed(), 60, "{outcome}");
}

#[test]
fn recovery_of_landed_rows_waits_for_one_without_holding_others() {
    recovery_waits_without_holding_anything("settler.before_settle@2=kill-group");
}

#[test]
fn recovery_of_unsent_rows_waits_for_one_without_holding_others() {
    recovery_waits_without_holding_anything("reader.after_claim@2=kill-group");
}
