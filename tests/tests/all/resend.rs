//! The trigger that `ssync check` offers for a source in `status` mode: run as it is printed, it sends
//! changed rows again, and never what ssync itself changes.

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Holds, Site};
use ssync_tests::ssync::Instance;

/// `numbers` is the type of a key, `states` that of the state.
fn offered(source: &Site, table: &str, numbers: &str, states: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dest = Site::in_file(dir.path(), "dst");
    source.run(&[
        format!(
            "CREATE TABLE {table} (id {numbers} NOT NULL PRIMARY KEY, v {numbers} NOT NULL, \
             sync_status {states} DEFAULT 0 NOT NULL)"
        ),
        format!("INSERT INTO {table} (id, v) VALUES (1, 10)"),
        format!("INSERT INTO {table} (id, v) VALUES (2, 20)"),
    ]);
    dest.run(&["CREATE TABLE dst (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)"]);
    let instance = Instance::new(&format!(
        "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\n[[task.table]]\nname = \"t\"\n\
         source = \"{table}\"\ndest = \"dst\"\nwrite = \"upsert\"\n",
        source.link("src"),
        dest.link("dst")
    ));
    let check = instance.run(&["check", "--task", "1"]).expect(0);
    let printed = check.stdout;
    assert!(printed.contains("nothing sets sync_status back to 0"), "{printed}");
    // The hint's last lines are the statement.
    let from = printed.find("CREATE TRIGGER").unwrap_or_else(|| panic!("no trigger:\n{printed}"));
    let statement: Vec<&str> = printed[from..]
        .lines()
        .take_while(|l| ["CREATE", "  WHEN", "  SET", "  BEGIN"].iter().any(|w| l.starts_with(w)))
        .collect();
    let statement = statement.join("\n");
    // Drivers take one statement; PL/SQL keeps its semicolon.
    let statement = match source.is_oracle() {
        true => statement.as_str(),
        false => statement.trim_end_matches(';'),
    };
    let statement = if source.is_sqlite() { format!("{statement};") } else { statement.to_owned() };
    source.run(&[statement]);
    let printed = instance.run(&["check", "--task", "1"]).expect(0).stdout;
    assert!(!printed.contains("nothing sets"), "{printed}");
    let all = |state: i64| {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE sync_status = {state}");
        assert_eq!(source.number(&sql), 2, "rows in state {state}");
    };
    instance.run(&["--task", "1"]).expect(0);
    all(2);
    source.run(&[format!("UPDATE {table} SET v = v + 1")]);
    all(0);
    instance.run(&["--task", "1"]).expect(0);
    all(2);
    let rows = dest.rows("SELECT SUM(v) FROM dst", &[Holds::Int]);
    assert_eq!(format!("{rows:?}"), "[[Int(32)]]");
}

#[test]
fn the_offered_trigger_sends_changed_rows_again_mariadb() {
    offered(&Site::on_server(mariadb(), "resend"), "src", "BIGINT", "TINYINT");
}

#[test]
fn the_offered_trigger_sends_changed_rows_again_mysql_5_6() {
    offered(&Site::on_server(mysql56(), "resend"), "src", "BIGINT", "TINYINT");
}

#[test]
fn the_offered_trigger_sends_changed_rows_again_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    offered(&Site::in_file(dir.path(), "src"), "src", "INTEGER", "INTEGER");
}

#[test]
fn the_offered_trigger_sends_changed_rows_again_oracle() {
    for generation in Generation::ALL {
        let account = oracle(generation).account("resend");
        let source = Site::of_account(&account);
        offered(&source, "src", "NUMBER(9)", "NUMBER(1)");
        offered(&source, "a_name_of_30_bytes_as_old_have", "NUMBER(9)", "NUMBER(1)");
    }
}
