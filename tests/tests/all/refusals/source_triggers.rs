//! Triggers of the source that undo what ssync sets: nothing would ever be sent, or everything
//! again and again, while every run says that all is well.

use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::Site;

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

/// One that the account may not see is found by what it does.
#[test]
fn a_trigger_that_the_account_cannot_see_is_found_by_its_effect() {
    let tables = Tables::on_mariadb(30);
    tables.source.run(&["CREATE TRIGGER undoes BEFORE UPDATE ON src FOR EACH ROW \
         SET NEW.sync_status = 0"]);
    let Site::MySql { database, port } = &tables.source else { unreachable!() };
    let mut admin = mariadb().connect();
    use mysql::prelude::Queryable;
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
    let instance =
        ssync_tests::ssync::Instance::new(&toml.replace(&own, &own.replace("app@", "blind@")));
    let outcome = instance.run(&RUN).expect(2);
    let (kind, text) = error_of(&outcome);
    assert_eq!(kind, "Refused", "{outcome}");
    assert!(text.contains("does not stay"), "{outcome}");
    assert_eq!(tables.states(), [(0, 30)]);
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
