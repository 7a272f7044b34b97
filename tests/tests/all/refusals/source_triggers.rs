//! Triggers of the source that undo what ssync sets: nothing would ever be sent, or everything
//! again and again, while every run says that all is well.

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

use super::{RUN, Tables, error_of};

/// Check and run both name the trigger, and leave every row as it is.
#[track_caller]
fn refused(tables: &Tables, trigger: &str, states: &[(i64, i64)]) {
    let instance = tables.instance();
    let checked = instance.run(&["check"]);
    assert_ne!(checked.code, Some(0), "{checked}");
    assert!(checked.to_string().contains(trigger), "{checked}");
    let outcome = instance.run(&RUN).expect(2);
    let (kind, text) = error_of(&outcome);
    assert_eq!(kind, "Refused", "{outcome}");
    assert!(text.contains(trigger) && text.contains("sync_status"), "{outcome}");
    assert_eq!(tables.states(), states);
    assert_eq!(tables.landed(), 0);
}

fn on_servers(trigger: &str, states: &[(i64, i64)]) {
    for server in [mariadb(), mysql56()] {
        let source = Site::on_server(server, "trg");
        let tables = Tables::between(source, Site::on_server(mariadb(), "trg"), 30);
        tables
            .source
            .run(&[format!("CREATE TRIGGER undoes BEFORE UPDATE ON src FOR EACH ROW {trigger}")]);
        refused(&tables, "undoes", states);
    }
}

#[test]
fn a_trigger_that_undoes_every_claim_is_refused() {
    on_servers("SET NEW.sync_status = 0", &[(0, 30)]);
}

#[test]
fn a_trigger_that_undoes_every_settlement_is_refused() {
    on_servers("SET NEW.sync_status = IF(NEW.sync_status = 2, 0, NEW.sync_status)", &[(0, 30)]);
}

#[test]
fn a_trigger_of_sqlite_that_undoes_every_claim_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Site::in_file(dir.path(), "src");
    let tables = Tables::between(source, Site::on_server(mariadb(), "trg"), 30);
    tables
        .source
        .run(&["CREATE TRIGGER undoes AFTER UPDATE ON src WHEN NEW.sync_status <> 0 BEGIN \
         UPDATE src SET sync_status = 0 WHERE id = NEW.id; END"]);
    refused(&tables, "undoes", &[(0, 30)]);
}

/// More rows than are tried beforehand.
const MANY: i64 = 240;
/// Which of them are undone: none of those that are tried.
const SOME: &str = "NEW.id > 150 AND NEW.id % 7 = 0";

fn many(source: Site) -> Tables {
    Tables::between(source, Site::on_server(mariadb(), "trg"), MANY)
}

/// Creates a trigger that sets some rows back where they are set to `state`.
fn undo(tables: &Tables, state: i64) {
    // A row that is settled may be found at 0, one that is put back somewhere else.
    let to = if state == 0 { 2 } else { 0 };
    let when = format!("OLD.sync_status <> {state} AND NEW.sync_status = {state} AND {SOME}");
    tables.source.run(&[match &tables.source {
        Site::Oracle { .. } => format!(
            "CREATE TRIGGER undoes BEFORE UPDATE ON src FOR EACH ROW WHEN ({}) \
             BEGIN :NEW.sync_status := {to}; END;",
            when.replace("NEW.id % 7", "MOD(NEW.id, 7)")
        ),
        Site::Sqlite(_) => format!(
            "CREATE TRIGGER undoes AFTER UPDATE ON src WHEN {when} BEGIN \
             UPDATE src SET sync_status = {to} WHERE id = NEW.id; END"
        ),
        Site::MySql { .. } => format!(
            "CREATE TRIGGER undoes BEFORE UPDATE ON src FOR EACH ROW \
             SET NEW.sync_status = IF({when}, {to}, NEW.sync_status)"
        ),
    }]);
}

/// Each run is refused, naming the trigger, and sends nothing twice; without the trigger the next one
/// comes to its end.
#[track_caller]
fn refused_until_it_is_gone(tables: &Tables, instance: &Instance) {
    for _ in 0..3 {
        let outcome = instance.run(&RUN);
        assert_ne!(outcome.code, Some(0), "{outcome}");
        let (kind, text) = error_of(&outcome);
        assert_eq!(kind, "Refused", "{outcome}");
        let names = text.to_lowercase();
        assert!(names.contains("trigger undoes") && names.contains("sync_status"), "{outcome}");
        assert_eq!(tables.landed(), tables.dest.number("SELECT COUNT(DISTINCT id) FROM dst"));
    }
    tables.source.run(&["DROP TRIGGER undoes"]);
    instance.run(&RUN).expect(0);
    assert_eq!(tables.states(), [(2, MANY)]);
    tables.assert_same();
}

fn sources(dir: &std::path::Path) -> [Site; 3] {
    [
        Site::on_server(mariadb(), "trg"),
        Site::on_server(mysql56(), "trg"),
        Site::in_file(dir, "src"),
    ]
}

#[test]
fn a_trigger_that_undoes_the_claims_of_some_rows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for source in sources(dir.path()) {
        let tables = many(source);
        undo(&tables, 1);
        refused_until_it_is_gone(&tables, &tables.instance());
    }
}

/// The destination has no key: a row that is sent again would be doubled.
#[test]
fn a_trigger_that_undoes_the_settlements_of_some_rows_is_refused_and_none_lands_twice() {
    let dir = tempfile::tempdir().unwrap();
    for source in sources(dir.path()) {
        let tables = many(source);
        undo(&tables, 2);
        refused_until_it_is_gone(&tables, &tables.instance());
    }
}

#[test]
fn a_trigger_of_oracle_that_undoes_the_states_of_some_rows_is_refused() {
    for state in [1, 2] {
        let account = oracle(Generation::Oracle19c).account("trg");
        let tables = many(Site::of_account(&account));
        undo(&tables, state);
        refused_until_it_is_gone(&tables, &tables.instance());
    }
}

/// Rows that are free beside a locked one are moved by their keys.
#[test]
fn a_trigger_that_undoes_some_rows_is_refused_beside_locked_rows() {
    use mysql::prelude::Queryable;
    for state in [1, 2] {
        let tables = many(Site::on_server(mariadb(), "trg"));
        undo(&tables, state);
        let instance = tables.instance();
        let mut other = tables.source.mysql();
        if state == 2 {
            // The batch of rows 150 to 159 has landed.
            instance.run_with(&RUN, "settler.before_settle@16=kill-group");
            instance.wait_until_dead();
        }
        other.query_drop("BEGIN").unwrap();
        // One at a time: a query for both may be planned as a scan, which locks every row.
        for id in [151, 159] {
            other.query_drop(format!("SELECT id FROM src WHERE id = {id} FOR UPDATE")).unwrap();
        }
        let outcome = instance.run(&RUN);
        assert_eq!(error_of(&outcome).0, "Refused", "{outcome}");
        other.query_drop("ROLLBACK").unwrap();
        refused_until_it_is_gone(&tables, &instance);
    }
}

/// Unsent rows that a broken run left would be shown as done.
#[test]
fn a_trigger_that_undoes_the_putting_back_of_some_rows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for source in sources(dir.path()) {
        let tables = many(source);
        let instance = tables.instance();
        instance.run_with(&RUN, "reader.after_claim@17=kill");
        assert!(
            tables.source.number("SELECT COUNT(*) FROM src WHERE id > 150 AND sync_status = 1") > 0
        );
        undo(&tables, 0);
        refused_until_it_is_gone(&tables, &instance);
    }
}

/// The configuration, with an account at the source that is shown no triggers.
fn blind(tables: &Tables) -> Instance {
    use mysql::prelude::Queryable;
    let Site::MySql { database, port } = &tables.source else { unreachable!() };
    let mut admin = mariadb().connect();
    let password = ssync_tests::servers::PASSWORD.replace('\'', "''");
    for host in ["127.0.0.1", "localhost", "%"] {
        for sql in [
            format!("CREATE USER IF NOT EXISTS blind@'{host}' IDENTIFIED BY '{password}'"),
            format!(
                "GRANT SELECT, INSERT, UPDATE, CREATE, ALTER ON `{database}`.* TO blind@'{host}'"
            ),
        ] {
            admin.query_drop(sql).unwrap();
        }
    }
    let own = format!("mysql://app@127.0.0.1:{port}/{database}");
    let toml = tables.toml("", "");
    assert!(toml.contains(&own));
    Instance::new(&toml.replace(&own, &own.replace("app@", "blind@")))
}

/// One that the account may not see is found by what it does.
#[test]
fn a_trigger_that_the_account_cannot_see_is_found_by_its_effect() {
    let tables = Tables::on_mariadb(30);
    tables.source.run(&["CREATE TRIGGER undoes BEFORE UPDATE ON src FOR EACH ROW \
         SET NEW.sync_status = 0"]);
    let outcome = blind(&tables).run(&RUN).expect(2);
    let (kind, text) = error_of(&outcome);
    assert_eq!(kind, "Refused", "{outcome}");
    assert!(text.contains("does not stay"), "{outcome}");
    assert_eq!(tables.states(), [(0, 30)]);
}

#[test]
fn a_trigger_of_some_rows_that_the_account_cannot_see_is_found_by_its_effect() {
    for state in [1, 2] {
        let tables = many(Site::on_server(mariadb(), "trg"));
        undo(&tables, state);
        let instance = blind(&tables);
        for _ in 0..2 {
            let outcome = instance.run(&RUN);
            let (kind, text) = error_of(&outcome);
            assert_eq!(kind, "Refused", "{outcome}");
            assert!(text.contains("does not stay"), "{outcome}");
        }
        tables.source.run(&["DROP TRIGGER undoes"]);
        instance.run(&RUN).expect(0);
        tables.assert_same();
    }
}

/// The trigger that ssync itself offers is none of these, nor is one that only looks on.
#[test]
fn triggers_that_leave_the_state_alone_are_no_hindrance() {
    let tables = Tables::on_mariadb(30);
    tables.source.run(&[
        "CREATE TABLE seen (id BIGINT)",
        "CREATE TRIGGER resend BEFORE UPDATE ON src FOR EACH ROW SET NEW.sync_status = \
         IF(NEW.sync_status = OLD.sync_status, 0, NEW.sync_status)",
        "CREATE TRIGGER looks AFTER UPDATE ON src FOR EACH ROW INSERT INTO seen VALUES (NEW.id)",
    ]);
    let instance = tables.instance();
    instance.run(&["check"]).expect(0);
    assert_eq!(tables.source.number("SELECT COUNT(*) FROM seen"), 0, "a check changes nothing");
    instance.run(&RUN).expect(0);
    tables.assert_same();
    // Claimed and settled, nothing else.
    assert_eq!(tables.source.number("SELECT COUNT(*) FROM seen"), 60);
}
