//! Encrypted values that are bound to their row (`bind`), from one kind of database into another and
//! back.

use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Holds, Site};
use ssync_tests::ssync::{Instance, Outcome};

const PEOPLE: [(i64, &str); 3] = [(1, "A-1"), (2, "B-22"), (9007, "C-333")];

/// People in one database, with their numbers sealed in another, and read back into the first.
struct Scene {
    clear: Site,
    sealed: Site,
    instance: Instance,
}

impl Scene {
    /// `encrypt` and `decrypt`: what stands beside the key.
    fn new(clear: Site, sealed: Site, encrypt: &str, decrypt: &str) -> Scene {
        let instance = Instance::new("");
        let key = instance.scratch().join("pii.key").display().to_string();
        instance.run(&["key", "new", "pii", "--out", &key]).expect(0);
        let number = if clear.is_oracle() { "NUMBER(18)" } else { "BIGINT" };
        let text = |site: &Site| if site.is_oracle() { "VARCHAR2(300)" } else { "VARCHAR(300)" };
        let create = |site: &Site, table: &str, id: &str, more: &str| {
            site.run(&[format!(
                "CREATE TABLE {table} (id {id} NOT NULL PRIMARY KEY, born {}, card {}{more})",
                if site.is_oracle() { "DATE" } else { "DATETIME" },
                text(site)
            )]);
        };
        create(&clear, "people", number, ", sync_status INT DEFAULT 0 NOT NULL");
        create(&clear, "back", number, "");
        let decimal = if sealed.is_oracle() { "NUMBER" } else { "DECIMAL(20,2)" };
        create(&sealed, "people", decimal, "");
        for (id, card) in PEOPLE {
            let born = if clear.is_oracle() { "DATE '1990-02-03'" } else { "'1990-02-03'" };
            clear.run(&[format!(
                "INSERT INTO people (id, born, card) VALUES ({id}, {born}, '{card}')"
            )]);
        }
        let toml = format!(
            "[[key]]\nname = \"pii\"\nsecret = {{ file = \"{key}\" }}\n{}{}\
             [[task]]\nid = 1\nsource = \"clear\"\ndest = \"sealed\"\nerror_limit = 10\n\
             [[task.table]]\nname = \"people\"\nsource = \"people\"\ndest = \"people\"\n\
             write = \"upsert\"\nencrypt = {{ card = {{ key = \"pii\"{encrypt} }} }}\n\
             app_resets_status = true\n\
             [[task]]\nid = 2\nsource = \"sealed\"\ndest = \"clear\"\nerror_limit = 10\n\
             [[task.table]]\nname = \"back\"\nsource = \"people\"\ndest = \"back\"\nmode = \"full\"\n\
             decrypt = {{ card = {{ key = \"pii\"{decrypt} }} }}\n",
            clear.link("clear"),
            sealed.link("sealed"),
        );
        instance.apply(&toml);
        Scene { clear, sealed, instance }
    }

    fn in_files(dir: &std::path::Path, encrypt: &str, decrypt: &str) -> Scene {
        let (clear, sealed) = (Site::in_file(dir, "clear"), Site::in_file(dir, "sealed"));
        Scene::new(clear, sealed, encrypt, decrypt)
    }

    fn run(&self, task: &str) -> Outcome {
        self.instance.run(&["run", task, "--json"])
    }

    fn back(&self) -> Vec<(i64, String)> {
        let rows = self.clear.rows("SELECT id, card FROM back", &[Holds::Int, Holds::Text]);
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|row| match row.as_slice() {
                [Cell::Int(id), Cell::Text(card)] => (*id, card.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        rows.sort();
        rows
    }

    /// Whoever may write to the destination puts one person's card into another's row.
    fn swap(&self) {
        self.sealed.run(&[
            "UPDATE people SET card = (SELECT c FROM (SELECT card c FROM people WHERE id = 1) one) \
             WHERE id = 2",
        ]);
    }
}

fn everybody() -> Vec<(i64, String)> {
    PEOPLE.map(|(id, card)| (id, card.to_owned())).into()
}

const BIND: &str = ", bind = [\"id\", \"born\"]";

#[test]
fn a_bound_value_that_is_put_into_another_row_is_a_bad_row() {
    let scenes = [
        |dir: &std::path::Path| (Site::in_file(dir, "clear"), Site::on_server(mariadb(), "bind")),
        |dir: &std::path::Path| (Site::on_server(mariadb(), "bind"), Site::in_file(dir, "sealed")),
        |_: &std::path::Path| (Site::on_server(mariadb(), "bind"), Site::on_server(mariadb(), "bind")),
    ];
    for scene in scenes {
        let dir = tempfile::tempdir().unwrap();
        let (clear, sealed) = scene(dir.path());
        let scene = Scene::new(clear, sealed, &format!("{BIND}, pad = 32"), BIND);
        scene.run("1").expect(0);
        scene.run("2").expect(0);
        assert_eq!(scene.back(), everybody());
        scene.swap();
        scene.run("2").expect(1);
        assert_eq!(scene.back(), [(1, "A-1".to_owned()), (9007, "C-333".to_owned())]);
        let errors = scene.instance.run(&["errors", "2"]).stdout;
        assert!(errors.contains("sealed for another table, column or row (bind)"), "{errors}");
    }
}

/// What was there before stays readable, if somebody wants that.
#[test]
fn values_from_before_bind_was_configured_open_only_where_that_is_asked_for() {
    for (decrypt, code) in [(BIND.to_owned(), 1), (format!("{BIND}, unbound = true"), 0)] {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::in_files(dir.path(), "", &decrypt);
        scene.run("1").expect(0);
        scene.run("2").expect(code);
        assert_eq!(scene.back().len(), if code == 0 { 3 } else { 0 });
    }
}

/// Nothing stands between a row without the value that it is bound to and another such row.
#[test]
fn a_row_whose_bound_column_is_null_is_a_bad_row() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::in_files(dir.path(), BIND, BIND);
    scene.clear.run(&["UPDATE people SET born = NULL WHERE id = 2"]);
    scene.run("1").expect(1);
    assert_eq!(scene.sealed.number("SELECT COUNT(*) FROM people"), 2);
    let errors = scene.instance.run(&["errors", "1"]).stdout;
    assert!(errors.contains("a column that it is bound to (bind) is NULL"), "{errors}");
}

/// Before anything is sent.
#[test]
fn what_cannot_be_bound_to_is_refused() {
    for (bind, words) in [
        ("bind = [\"card\"]", "column card of bind is encrypted itself"),
        ("bind = [\"id\", \"id\"]", "column id stands in bind twice"),
        ("bind = [\"id\"], deterministic = true", "need random nonces"),
        ("bind = [\"id\"], unbound = true", "unbound = true belongs to decrypt"),
        ("pad = 0", "pad"),
        ("pad = 5000", "pad"),
        ("bnid = [\"id\"]", "bnid"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::in_files(dir.path(), "", "");
        let toml = scene.instance.run(&["export"]).stdout;
        let file = dir.path().join("new.toml");
        let changed = toml.replace("card = \"pii\"", &format!("card = {{ key = \"pii\", {bind} }}"));
        assert_ne!(changed, toml, "{toml}");
        std::fs::write(&file, changed).unwrap();
        let outcome = scene.instance.run(&["apply", &file.display().to_string()]).expect(2);
        assert!(outcome.stderr.contains(words), "{words}: {outcome}");
    }
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::in_files(dir.path(), ", bind = [\"nosuch\"]", "");
    let outcome = scene.instance.run(&["check", "1"]);
    assert_ne!(outcome.code, Some(0), "{outcome}");
    let told = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(told.contains("column card is bound to nosuch, which is not transferred"), "{told}");
}
