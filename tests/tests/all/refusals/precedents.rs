//! What earlier runs left is not contradicted, however tables, links and keys are called now.

use ssync_tests::servers::mariadb;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

use super::{RUN, Tables, error_of};

const INCREMENT: &str = "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"30\" }";

fn database(site: &Site) -> &str {
    let Site::MySql { database, .. } = site else { panic!("not a server") };
    database
}

#[track_caller]
fn assert_refused(outcome: Outcome, words: &str) {
    let outcome = outcome.expect(2);
    let (kind, text) = error_of(&outcome);
    assert_eq!(kind, "Refused", "{outcome}");
    assert!(text.contains(words), "{words:?} is not in {outcome}");
}

impl Tables {
    #[track_caller]
    fn assert_landed_once(&self, rows: i64) {
        let distinct = self.dest.number("SELECT COUNT(DISTINCT id) FROM dst");
        assert_eq!((self.landed(), distinct), (rows, rows));
    }
}

#[test]
fn a_run_whose_fence_was_taken_does_not_take_it_back() {
    let tables = Tables::on_mariadb(100);
    let instance = Instance::new(&tables.toml("", "mode = \"full\""));
    // A writer dies; its coordinator is about to find out what became of the batch.
    let points = "writer.before_commit@3=kill;stream.before_resolve@3=pause";
    let mut run = instance.start(&RUN, points);
    run.reached("stream.before_resolve").expect("a dead writer");
    tables.dest.run(&["UPDATE SSYNC_FENCE SET epoch = epoch + 1"]);
    let epoch = tables.dest.number("SELECT epoch FROM SSYNC_FENCE");
    let landed = tables.landed();
    instance.release("stream.before_resolve");
    let outcome = run.wait().expect(1);
    assert_eq!(error_of(&outcome).0, "Fenced", "{outcome}");
    assert_eq!(tables.dest.number("SELECT epoch FROM SSYNC_FENCE"), epoch);
    assert_eq!(tables.landed(), landed, "nothing lands any more");
}

#[test]
fn the_mark_of_an_increment_never_goes_back() {
    let tables = Tables::on_mariadb(101);
    let instance = Instance::new(&tables.toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(71);
    tables.source.run(&["DELETE FROM src WHERE id > 80"]);
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(71);
    tables.add(81..141);
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(111);
}

#[test]
fn a_mark_belongs_to_its_column() {
    let tables = Tables::on_mariadb(101);
    let instance = Instance::new(&tables.toml("", INCREMENT));
    instance.run(&RUN).expect(0);
    tables.source.run(&[
        "ALTER TABLE src ADD seq BIGINT NOT NULL DEFAULT 0",
        "UPDATE src SET seq = 1000 - id",
    ]);
    let by_seq = "columns = [\"id\", \"v\"]\nmode = \"increment\"\n\
                  watermark = { column = \"seq\", lag = \"0\" }";
    instance.apply(&tables.toml("", by_seq));
    assert_refused(instance.run(&RUN), "mark of column id");
    // write = "insert" would send the rows that are there once more.
    let restart = ["--task", "1", "--restart", "--json"];
    assert_refused(instance.run(&restart), "mark of column id");
    tables.dest.run(&["DELETE FROM dst"]);
    instance.run(&restart).expect(0);
    tables.assert_landed_once(101);
    tables.source.run(&["INSERT INTO src (id, v, seq) VALUES (500, 'new', 2000)"]);
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(102);
}

#[test]
fn a_mark_is_found_again_over_another_address_and_with_other_sql() {
    let tables = Tables::on_mariadb(101);
    let toml = tables.toml("", INCREMENT);
    let instance = Instance::new(&toml);
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(71);
    tables.add(101..120);
    let moved = toml.replace("127.0.0.1", "localhost") + "before = { source = [\"DO 0\"] }\n";
    assert_ne!(moved, toml);
    instance.apply(&moved);
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(90);
    // The name of the link makes no difference either.
    let renamed = toml.replacen("name = \"src\"", "name = \"quelle\"", 1).replacen(
        "source = \"src\"",
        "source = \"quelle\"",
        1,
    );
    instance.apply(&renamed);
    tables.add(120..130);
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(100);
}

#[test]
fn rows_under_way_to_one_destination_are_not_sent_to_another() {
    let tables = Tables::on_mariadb(100);
    let toml = tables.toml("", "");
    let instance = Instance::new(&toml);
    let crash = || instance.run_with(&RUN, "writer.after_commit@2=kill-group").signal;
    assert_eq!(crash(), Some(9));
    instance.wait_until_dead();
    tables.dest.run(&["CREATE TABLE elsewhere LIKE dst"]);
    instance.apply(&toml.replace("dest = \"dst\"\napp", "dest = \"elsewhere\"\napp"));
    assert_refused(instance.run(&RUN), "under way to another destination");
    // The same table, spelt otherwise, is the same destination.
    let spelt = format!("dest = \"{}.dst\"\napp", database(&tables.dest));
    instance.apply(&toml.replace("dest = \"dst\"\napp", &spelt));
    instance.run(&RUN).expect(0);
    tables.assert_same();
    // At rest, the destination may be changed.
    tables.add(100..110);
    instance.apply(&toml.replace("dest = \"dst\"\napp", "dest = \"elsewhere\"\napp"));
    instance.run(&RUN).expect(0);
    assert_eq!(tables.dest.number("SELECT COUNT(*) FROM elsewhere"), 10);
}

#[test]
fn a_source_has_one_owner_however_it_is_spelt() {
    let tables = Tables::on_mariadb(50);
    let toml = tables.toml("", "");
    let spelt = toml.replace(
        "source = \"src\"\ndest = \"dst\"\napp",
        &format!("source = \"{}.src\"\ndest = \"dst\"\napp", database(&tables.source)),
    );
    assert_ne!(toml, spelt);
    let (one, other) = (Instance::new(&toml), Instance::new(&spelt));
    let mut first = one.start(&RUN, "writer.before_commit@2=pause");
    first.reached("writer.before_commit").expect("the second batch");
    assert_eq!(error_of(&other.run(&RUN).expect(1)).0, "Locked");
    one.release("writer.before_commit");
    first.wait().expect(0);
    tables.assert_same();
}

#[test]
fn a_table_is_not_loaded_into_itself() {
    let server = mariadb();
    let site = Site::on_server(server, "self");
    let tables = Tables::between(site.clone(), site, 50);
    for dest in ["src".to_owned(), format!("{}.src", database(&tables.dest))] {
        let toml = tables
            .toml("", "mode = \"full\"\ncolumns = [\"id\", \"v\"]")
            .replace("dest = \"dst\"\nmode", &format!("dest = \"{dest}\"\nmode"))
            // Nothing but the server itself can tell that both links lead to one database.
            .replacen("127.0.0.1", "localhost", 1);
        let instance = Instance::new(&toml);
        assert_refused(instance.run(&RUN), "the same table");
        assert_eq!(tables.source.number("SELECT COUNT(*) FROM src"), 50);
    }
}

#[test]
fn a_swap_would_lose_foreign_keys_and_is_refused() {
    let tables = Tables::on_mariadb(20);
    tables.dest.run(&[
        "CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)",
        "INSERT INTO parent SELECT seq FROM seq_0_to_100",
        "ALTER TABLE dst ADD FOREIGN KEY (id) REFERENCES parent (id)",
    ]);
    let instance = Instance::new(&tables.toml("", "mode = \"full\"\nfull = \"swap\""));
    assert_refused(instance.run(&RUN), "foreign keys");
    instance.apply(&tables.toml("", "mode = \"full\""));
    instance.run(&RUN).expect(0);
    tables.assert_same();
}

#[test]
fn a_replaced_key_does_not_double_rows_that_it_identifies() {
    let tables = Tables::on_mariadb(20);
    tables.dest.run(&["ALTER TABLE dst ADD UNIQUE (v)"]);
    let instance = Instance::new("");
    let file = |name: &str| {
        let path = instance.scratch().join(name).display().to_string();
        instance.run(&["key", "new", "pii", "--out", &path]).expect(0);
        path
    };
    let (old, new) = (file("old.key"), file("new.key"));
    let encrypt = "encrypt = { v = { key = \"pii\", deterministic = true } }";
    let toml =
        |keys: &str| format!("[[key]]\nname = \"pii\"\n{keys}\n{}", tables.toml("", encrypt));
    instance.apply(&toml(&format!("secret = {{ file = \"{old}\" }}")));
    instance.run(&RUN).expect(0);
    tables.assert_landed_once(20);
    tables.source.run(&["UPDATE src SET sync_status = 0 WHERE id = 7"]);
    instance
        .apply(&toml(&format!("secret = {{ file = \"{new}\" }}\nold = [{{ file = \"{old}\" }}]")));
    assert_refused(instance.run(&RUN), "was replaced");
    let check = instance.run(&["check", "--task", "1"]).expect(2);
    assert!(check.stdout.contains("was replaced"), "{check}");
    tables.assert_landed_once(20);
}

#[test]
fn a_key_that_cannot_be_read_ends_the_run_and_not_silently() {
    let dir = tempfile::tempdir().unwrap();
    for mode in ["mode = \"full\"", ""] {
        let name = if mode.is_empty() { "status" } else { "full" };
        let source = Site::in_file(dir.path(), &format!("s_{name}"));
        let dest = Site::in_file(dir.path(), &format!("d_{name}"));
        source.run(&[
            "CREATE TABLE src (id TEXT NOT NULL PRIMARY KEY, v TEXT NOT NULL, \
             sync_status INT NOT NULL DEFAULT 0)",
            // The tenth row, the last of a batch, has bytes for a key; they sort behind all text.
            "INSERT INTO src (id, v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM n WHERE i < 9) SELECT 'k' || i, 'v' FROM n",
            "INSERT INTO src (id, v) VALUES (X'00FF', 'v'), (X'01FF', 'v')",
        ]);
        dest.run(&["CREATE TABLE dst (id TEXT NOT NULL, v TEXT NOT NULL)"]);
        let tables = Tables { source, dest };
        let instance = Instance::new(&tables.toml("error_limit = 5", mode));
        let outcome = instance.run(&RUN).expect(2);
        let (kind, text) = error_of(&outcome);
        assert_eq!(kind, "Refused", "{outcome}");
        assert!(text.contains("src") && text.contains("key column id"), "{outcome}");
        assert_eq!(tables.source.number("SELECT COUNT(*) FROM src WHERE sync_status = 1"), 0);
    }
}
