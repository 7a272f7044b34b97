//! What is recorded of a bad row names the constraint that refused it.

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

/// Three rows: one whose `code` another row has, one whose `amount` a CHECK refuses (not on MySQL
/// 5.6, which has none), one whose parent is missing. `names` is what `ssync errors` says of each.
fn recorded(dest: &Site, number: &str, names: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let source = Site::in_file(dir.path(), "src");
    source.run(&[
        "CREATE TABLE src (id INTEGER PRIMARY KEY, code INTEGER NOT NULL, amount INTEGER NOT NULL, \
         parent INTEGER)",
        "INSERT INTO src VALUES (1, 7, 5, NULL), (2, 7, 5, NULL), (3, 8, -5, NULL), (4, 9, 5, 99)",
    ]);
    let engine = if dest.is_sqlite() || dest.is_oracle() { "" } else { " ENGINE = InnoDB" };
    dest.run(&[
        format!("CREATE TABLE par (id {number} NOT NULL PRIMARY KEY){engine}"),
        format!(
            "CREATE TABLE dst (id {number} NOT NULL PRIMARY KEY, code {number} NOT NULL, \
             amount {number} NOT NULL, parent {number}, CONSTRAINT dst_code UNIQUE (code), \
             CONSTRAINT dst_amount CHECK (amount > 0), \
             CONSTRAINT dst_parent FOREIGN KEY (parent) REFERENCES par (id)){engine}"
        ),
    ]);
    let instance = Instance::new(&format!(
        "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nerror_limit = 10\n[[task.table]]\n\
         name = \"t\"\nsource = \"src\"\ndest = \"dst\"\nmode = \"full\"\nkey = [\"id\"]\n",
        source.link("src"),
        dest.link("dst")
    ));
    instance.run(&["--task", "1"]);
    let shown = instance.run(&["errors"]);
    for (id, text) in names {
        let line = shown.stdout.lines().find(|l| l.contains(&format!("id={id}")));
        let line = line.unwrap_or_else(|| panic!("no row {id}:\n{shown}"));
        assert!(line.to_lowercase().contains(text), "{text}:\n{shown}");
    }
}

const CONSTRAINTS: [(&str, &str); 3] = [
    ("2", "constraint dst_code: another row has the same values of a unique key"),
    ("3", "constraint dst_amount: a check constraint refused the row"),
    ("4", "constraint dst_parent: the row's parent is missing"),
];

#[test]
fn bad_rows_name_the_constraint_oracle() {
    for generation in Generation::ALL {
        let account = oracle(generation).account("texts");
        recorded(&Site::of_account(&account), "NUMBER(9)", &CONSTRAINTS);
    }
}

#[test]
fn bad_rows_name_the_constraint_mariadb() {
    let names = [("2", "key dst_code: another row has"), CONSTRAINTS[1], CONSTRAINTS[2]];
    recorded(&Site::on_server(mariadb(), "texts"), "BIGINT", &names);
}

#[test]
fn bad_rows_name_the_constraint_mysql_5_6() {
    let names = [("2", "key dst_code: another row has"), CONSTRAINTS[2]];
    recorded(&Site::on_server(mysql56(), "texts"), "BIGINT", &names);
}

#[test]
fn bad_rows_name_the_constraint_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let names = [("2", "dst.code: another row has the same values"), ("3", "dst_amount: a check")];
    recorded(&Site::in_file(dir.path(), "dst"), "INTEGER", &names);
}
