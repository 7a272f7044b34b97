//! What is encrypted at the destination stands in no other table there either: keys and marks in
//! ssync's own tables are sealed, open for whoever has the key, and for nobody else.

use std::path::Path;

use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};

use super::{RUN, error_of};

/// Begins every key of a row.
const PLANT: &str = "PLANTED";
/// Below every watermark.
const SEQ: i64 = 77_700_000;

/// A source with a text key and a number that grows, and a destination for both, encrypted.
struct Scene {
    source: Site,
    dest: Site,
    instance: Instance,
    old: String,
    new: String,
}

impl Scene {
    fn new(source: Site, dest: Site) -> Scene {
        let text = if source.is_oracle() { "VARCHAR2" } else { "VARCHAR" };
        let number = if source.is_oracle() { "NUMBER(18)" } else { "BIGINT" };
        source.run(&[format!(
            "CREATE TABLE src (id {text}(60) NOT NULL PRIMARY KEY, seq {number} NOT NULL, \
             v {text}(60) NOT NULL, sync_status INT DEFAULT 0 NOT NULL)"
        )]);
        let text = if dest.is_oracle() { "VARCHAR2" } else { "VARCHAR" };
        dest.run(&[format!(
            "CREATE TABLE dst (id {text}(300) NOT NULL, seq {text}(300) NOT NULL, \
             v {text}(60) NOT NULL)"
        )]);
        let instance = Instance::new("");
        let (old, new) = (new_key(&instance, "old.key"), new_key(&instance, "new.key"));
        let scene = Scene { source, dest, instance, old, new };
        scene.add(0..100);
        scene
    }

    fn new_key(&self, name: &str) -> String {
        new_key(&self.instance, name)
    }

    fn add(&self, ids: std::ops::Range<i64>) {
        let row = |n| -> Row {
            let id = Cell::Text(format!("{PLANT}-{n:05}"));
            vec![id, Cell::Int(SEQ + n), Cell::Text(format!("row {n}"))]
        };
        self.source.insert("src", &["id", "seq", "v"], &ids.map(row).collect::<Vec<_>>());
    }

    fn toml(&self, keys: &str, table: &str) -> String {
        format!(
            "{keys}{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\n\
             batch_rows = 10\nslot_bytes = 65536\n[[task.table]]\nname = \"t\"\n\
             source = \"src\"\ndest = \"dst\"\n{table}\n",
            self.source.link("src"),
            self.dest.link("dst")
        )
    }

    /// The configuration with these keys, the current one first.
    fn keyed(&self, keys: &[&str], table: &str) -> String {
        let file = |path: &&str| format!("{{ file = \"{path}\" }}");
        let old: Vec<_> = keys[1..].iter().map(file).collect();
        let key = format!(
            "[[key]]\nname = \"pii\"\nsecret = {}\nold = [{}]\n",
            file(&keys[0]),
            old.join(", ")
        );
        self.toml(&key, table)
    }

    #[track_caller]
    fn broken_off(&self, points: &str) {
        let _ = std::fs::remove_dir_all(self.instance.home().join("failpoints"));
        let outcome = self.instance.run_with(&RUN, points);
        assert_eq!(outcome.signal, Some(9), "{outcome}");
        self.instance.wait_until_dead();
    }

    /// No key of a row, and no watermark, stands in any table of the destination.
    #[track_caller]
    fn nothing_is_plain(&self) {
        let column = |name: &str| self.dest.quoted(name);
        let mut found = String::new();
        for (table, columns) in [("SSYNC_LEDGER", ["lo", "hi"]), ("SSYNC_FENCE", ["upto", "mark"])]
        {
            let [a, b] = columns.map(column);
            let sql = format!("SELECT {a}, {b} FROM {}", self.dest.quoted(table));
            found += &format!("{:?}", self.dest.rows(&sql, &[Holds::Text, Holds::Text]));
        }
        assert!(found.contains("sealed"), "{found}");
        let words = [PLANT.to_owned(), (SEQ / 1000).to_string()];
        let seen: Vec<_> = words.iter().filter(|word| found.contains(*word)).collect();
        assert!(seen.is_empty(), "{seen:?} in {found}");
        let rows = self.dest.rows("SELECT id, seq FROM dst", &[Holds::Text, Holds::Text]);
        assert!(!format!("{rows:?}").contains(PLANT));
        if let Site::Sqlite(path) = &self.dest {
            for file in [path.clone(), wal(path)] {
                let bytes = std::fs::read(&file).unwrap_or_default();
                for word in &words {
                    let is_in = bytes.windows(word.len()).any(|w| w == word.as_bytes());
                    assert!(!is_in, "{word} is in {}", file.display());
                }
            }
        }
    }

    /// Every row of the source is at the destination, once.
    #[track_caller]
    fn landed_once(&self) {
        let count = |site: &Site, what: &str, table: &str| {
            site.number(&format!("SELECT COUNT({what}) FROM {table}"))
        };
        let rows = count(&self.source, "*", "src");
        assert_eq!(count(&self.dest, "*", "dst"), rows);
        assert_eq!(count(&self.dest, "DISTINCT v", "dst"), rows);
    }

    /// The id of a key, which may be shown.
    fn id_of(&self, file: &str) -> String {
        let key = format!("[[key]]\nname = \"pii\"\nsecret = {{ file = \"{file}\" }}\n");
        let other = Instance::new(&key);
        let listed = other.run(&["key", "list", "--json"]).expect(0);
        let listed: serde_json::Value = serde_json::from_str(listed.stdout.trim()).unwrap();
        let key = &listed["keys"][0];
        key["ids"][0].as_str().or(key["id"].as_str()).unwrap_or_else(|| panic!("{key}")).to_owned()
    }

    /// By the command, which looks at the destination where keys go.
    fn apply(&self, toml: &str) -> Outcome {
        let file = self.instance.scratch().join("next.toml");
        std::fs::write(&file, toml).unwrap();
        self.instance.run(&["apply", &file.display().to_string()])
    }

    /// The configuration is not taken, and the key named.
    #[track_caller]
    fn not_applied(&self, toml: &str, key: &str) {
        let outcome = self.apply(toml).expect(2);
        assert!(outcome.stderr.contains("still needs a key"), "{outcome}");
        assert!(outcome.stderr.contains(&self.id_of(key)), "{outcome}");
    }

    #[track_caller]
    fn refused_naming(&self, key: &str) {
        let outcome = self.instance.run(&RUN).expect(2);
        let (kind, text) = error_of(&outcome);
        assert_eq!(kind, "Refused", "{outcome}");
        assert!(text.contains(&self.id_of(key)), "{outcome}");
        // A check says so beforehand.
        let check = self.instance.run(&["check", "--task", "1"]).expect(2);
        assert!(check.stdout.contains(&self.id_of(key)), "{check}");
    }
}

/// A number as a key, sealed into text whose collation ignores blanks, and case: envelopes end in
/// none and differ in more than case.
#[test]
fn a_sealed_number_is_a_key_in_every_character_set_and_collation() {
    for text in ["ascii COLLATE ascii_bin", "ascii", "utf8mb4 COLLATE utf8mb4_general_ci"] {
        let site = || Site::on_server(mariadb(), "seal");
        let (source, dest) = (site(), site());
        source.run(&["CREATE TABLE src (id INT NOT NULL PRIMARY KEY, v VARCHAR(60) NOT NULL, \
             sync_status INT DEFAULT 0 NOT NULL)"]);
        dest.run(&[format!(
            "CREATE TABLE dst (id VARCHAR(80) CHARACTER SET {text} NOT NULL PRIMARY KEY, \
             v VARCHAR(60) NOT NULL)"
        )]);
        let rows: Vec<Row> =
            (0..300).map(|id| vec![Cell::Int(id), Cell::Text(format!("row {id}"))]).collect();
        source.insert("src", &["id", "v"], &rows);
        let instance = Instance::new("");
        let key = new_key(&instance, "pii.key");
        instance.apply(&format!(
            "[[key]]\nname = \"pii\"\nsecret = {{ file = \"{key}\" }}\n{}{}[[task]]\nid = 1\n\
             source = \"src\"\ndest = \"dst\"\n[[task.table]]\nname = \"t\"\nsource = \"src\"\n\
             dest = \"dst\"\nwrite = \"upsert\"\napp_resets_status = true\n\
             encrypt = {{ id = {{ key = \"pii\", deterministic = true }} }}\n",
            source.link("src"),
            dest.link("dst")
        ));
        instance.run(&["check", "--task", "1"]).expect(0);
        for v in ["v", "CONCAT('new ', v)"] {
            source.run(&[format!("UPDATE src SET v = {v}, sync_status = 0")]);
            instance.run(&RUN).expect(0);
            let texts = |site: &Site, table: &str| {
                site.rows(&format!("SELECT v FROM {table}"), &[Holds::Text])
            };
            let found = differences(&texts(&source, "src"), &texts(&dest, "dst"));
            assert_eq!(found, Vec::<String>::new(), "{text}");
        }
    }
}

/// A new key in a file of its own.
fn new_key(instance: &Instance, name: &str) -> String {
    let path = instance.scratch().join(name).display().to_string();
    instance.run(&["key", "new", "pii", "--out", &path]).expect(0);
    path
}

fn wal(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

const STATUS: &str = "app_resets_status = true\n\
     encrypt = { id = { key = \"pii\", deterministic = true }, seq = \"pii\" }";
const INCREMENT: &str = "mode = \"increment\"\ncolumns = [\"id\", \"seq\", \"v\"]\n\
     watermark = { column = \"seq\", lag = \"0\" }\n\
     encrypt = { id = { key = \"pii\", deterministic = true }, seq = \"pii\" }";
const FULL: &str = "mode = \"full\"\ncolumns = [\"id\", \"seq\", \"v\"]\n\
     encrypt = { id = \"pii\", seq = \"pii\" }";

const FULL_BY_KEY: &str = "mode = \"full\"\ncolumns = [\"id\", \"seq\", \"v\"]\n\
     encrypt = { id = { key = \"pii\", deterministic = true }, seq = \"pii\" }";

/// Rows under way are settled from sealed entries, and by nobody who lacks the key.
fn states(source: Site, dest: Site) {
    let scene = Scene::new(source, dest);
    let (old, new) = (scene.old.clone(), scene.new.clone());
    let spare = scene.new_key("spare.key");
    scene.instance.apply(&scene.keyed(&[&old], STATUS));
    scene.broken_off("settler.before_settle@3=kill-group");
    scene.nothing_is_plain();
    // Retired before its time: nothing is settled, nothing sent, and the key is named.
    let counts = || {
        let under_way = "SELECT COUNT(*) FROM src WHERE sync_status = 1";
        (scene.source.number(under_way), scene.dest.number("SELECT COUNT(*) FROM dst"))
    };
    let before = counts();
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
    scene.not_applied(&scene.keyed(&[&new], STATUS), &old);
    scene.apply(&scene.keyed(&[&new, &old], STATUS)).expect(0);
    scene.instance.apply(&scene.keyed(&[&new], STATUS));
    scene.refused_naming(&old);
    // Other keys may be changed all the same: this one is gone already.
    scene.apply(&scene.keyed(&[&spare], STATUS)).expect(0);
    assert_eq!(counts(), before);
    scene.instance.apply(&scene.keyed(&[&old], STATUS));
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
    scene.nothing_is_plain();
    assert_eq!(scene.source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2"), 0);
    // With nothing under way, and nothing identified by it, the key may go.
    scene.apply(&scene.keyed(&[&new], STATUS)).expect(0);
    scene.add(100..120);
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
}

/// A mark, and the gaps of an increment, are found again by the key alone.
fn marks(source: Site, dest: Site) {
    let scene = Scene::new(source, dest);
    let (old, new) = (scene.old.clone(), scene.new.clone());
    scene.instance.apply(&scene.keyed(&[&old], INCREMENT));
    scene.broken_off("writer.after_commit@4=kill-group");
    scene.nothing_is_plain();
    let outcome = scene.instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    scene.landed_once();
    scene.nothing_is_plain();
    scene.add(100..120);
    // The mark still needs the key.
    scene.not_applied(&scene.keyed(&[&new], INCREMENT), &old);
    scene.instance.apply(&scene.keyed(&[&new], INCREMENT));
    scene.refused_naming(&old);
    // One run with both, and it is needed no more.
    scene.instance.apply(&scene.keyed(&[&new, &old], INCREMENT));
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
    scene.apply(&scene.keyed(&[&new], INCREMENT)).expect(0);
    // A run that finds nothing moves no mark, and needs it all the same.
    scene.instance.run(&RUN).expect(0);
    scene.add(120..140);
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
    scene.nothing_is_plain();
}

#[test]
fn keys_of_rows_under_way_are_sealed_at_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let on = |server| Site::on_server(server, "seal");
    states(on(mariadb()), on(mariadb()));
    states(Site::in_file(dir.path(), "s"), Site::in_file(dir.path(), "d"));
    states(on(mysql56()), on(mysql56()));
}

#[test]
fn keys_of_rows_under_way_are_sealed_in_oracle() {
    let account = oracle(Generation::Oracle19c).account("seal");
    states(Site::on_server(mariadb(), "seal"), Site::of_account(&account));
}

#[test]
fn the_mark_of_an_encrypted_watermark_is_sealed_at_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let on = |server| Site::on_server(server, "seal");
    marks(on(mariadb()), on(mariadb()));
    marks(Site::in_file(dir.path(), "s"), Site::in_file(dir.path(), "d"));
}

#[test]
fn a_full_run_finds_its_gaps_in_sealed_entries() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(Site::in_file(dir.path(), "s"), Site::in_file(dir.path(), "d"));
    scene.instance.apply(&scene.keyed(&[&scene.old], FULL));
    for _ in 0..7 {
        scene.broken_off("writer.after_commit@1=kill-group");
        scene.nothing_is_plain();
    }
    let outcome = scene.instance.run(&RUN).expect(0);
    assert!(outcome.count("t", "resumed") > 0, "{outcome}");
    scene.landed_once();
    scene.nothing_is_plain();
}

/// As a former version left them, and as a table without encryption has them.
#[test]
fn entries_in_plain_text_are_read_after_the_column_is_encrypted() {
    let scene = Scene::new(Site::on_server(mariadb(), "seal"), Site::on_server(mariadb(), "seal"));
    scene.instance.apply(&scene.toml("", "app_resets_status = true"));
    scene.broken_off("settler.before_settle@3=kill-group");
    scene.instance.apply(&scene.keyed(&[&scene.old], STATUS));
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
    assert_eq!(scene.source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2"), 0);
}

/// A key that identifies rows at the destination is replaced while rows are under way: nothing is
/// sent by both, and what is written down does not keep the old one in the configuration for good.
fn replaced(source: Site, dest: Site, table: &str) {
    let scene = Scene::new(source, dest);
    let (old, new) = (scene.old.clone(), scene.new.clone());
    let text = if scene.dest.is_oracle() { "VARCHAR2" } else { "VARCHAR" };
    scene.dest.run(&[
        "DROP TABLE dst".to_owned(),
        format!(
            "CREATE TABLE dst (id {text}(180) NOT NULL PRIMARY KEY, seq {text}(180) NOT NULL, \
             v {text}(60) NOT NULL)"
        ),
    ]);
    scene.instance.apply(&scene.keyed(&[&old], table));
    scene.broken_off("settler.before_settle@3=kill-group");
    let landed = || scene.dest.number("SELECT COUNT(*) FROM dst");
    let before = landed();
    assert!(before > 0);
    scene.not_applied(&scene.keyed(&[&new], table), &old);
    scene.apply(&scene.keyed(&[&new, &old], table)).expect(0);
    for _ in 0..2 {
        let outcome = scene.instance.run(&RUN);
        let (kind, text) = error_of(&outcome);
        assert!(kind == "Refused" && text.contains("was replaced"), "{outcome}");
    }
    assert_eq!(landed(), before);
    // As the refusal says: loaded once, the old key goes, and the rows go on.
    scene.apply(&scene.keyed(&[&new, &old], FULL_BY_KEY)).expect(0);
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
    scene.apply(&scene.keyed(&[&new], table)).expect(0);
    scene.instance.run(&["check", "--task", "1"]).expect(0);
    scene.add(100..120);
    scene.instance.run(&RUN).expect(0);
    scene.landed_once();
}

#[test]
fn a_key_that_identifies_rows_may_be_replaced_while_rows_are_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let on = |server| Site::on_server(server, "seal");
    let (status, increment) =
        (format!("{STATUS}\nwrite = \"upsert\""), format!("{INCREMENT}\nwrite = \"upsert\""));
    replaced(on(mariadb()), on(mariadb()), &status);
    replaced(on(mariadb()), on(mariadb()), &increment);
    for (n, table) in [status, increment].iter().enumerate() {
        let file = |name: &str| Site::in_file(dir.path(), &format!("{name}{n}"));
        replaced(file("s"), file("d"), table);
    }
}

/// A destination that is out of reach keeps nobody from changing the configuration: the next run
/// refuses.
#[test]
fn a_key_may_be_retired_while_the_destination_cannot_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("d.db");
    let scene = Scene::new(Site::in_file(dir.path(), "s"), Site::Sqlite(dest.clone()));
    let (old, new) = (scene.old.clone(), scene.new.clone());
    scene.instance.apply(&scene.keyed(&[&old], STATUS));
    scene.broken_off("settler.before_settle@3=kill-group");
    let away = dir.path().join("away.db");
    std::fs::rename(&dest, &away).unwrap();
    let outcome = scene.apply(&scene.keyed(&[&new], STATUS)).expect(0);
    assert!(outcome.stderr.contains("is not known"), "{outcome}");
    std::fs::rename(&away, &dest).unwrap();
    scene.refused_naming(&old);
}

const STATUS_BY_ID: &str = "app_resets_status = true\nwrite = \"upsert\"\n\
     encrypt = { id = { key = \"pii\", deterministic = true } }";
const INCREMENT_BY_ID: &str = "mode = \"increment\"\ncolumns = [\"id\", \"seq\", \"v\"]\n\
     watermark = { column = \"seq\", lag = \"0\" }\nwrite = \"upsert\"\n\
     encrypt = { id = { key = \"pii\", deterministic = true } }";
const FULL_BY_ID: &str = "mode = \"full\"\ncolumns = [\"id\", \"seq\", \"v\"]\n\
     encrypt = { id = { key = \"pii\", deterministic = true } }";

/// Rows that the destination recognises by a sealed column, landed with the first key.
struct Recognised {
    scene: Scene,
    table: &'static str,
}

impl Recognised {
    fn new(source: Site, dest: Site, table: &'static str) -> Recognised {
        let scene = Scene::new(source, dest);
        scene.dest.run(&[
            "DROP TABLE dst",
            "CREATE TABLE dst (id VARCHAR(180) NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, \
             v VARCHAR(60) NOT NULL)",
        ]);
        scene.instance.apply(&scene.keyed(&[&scene.old], table));
        Recognised { scene, table }
    }

    fn landed(self) -> Recognised {
        self.scene.instance.run(&RUN).expect(0);
        self.scene.landed_once();
        self
    }

    /// A row that has landed is sent once more, and a new one.
    fn change(&self) {
        let rows = self.scene.source.number("SELECT COUNT(*) FROM src");
        self.scene.add(rows..rows + 1);
        self.scene.source.run(&[format!(
            "UPDATE src SET seq = {}, sync_status = 0 WHERE v = 'row 3'",
            SEQ + rows
        )]);
    }

    /// A run and a check refuse, and name the key that rows at the destination are sealed with.
    #[track_caller]
    fn refused(&self, former: &str) {
        let count = || self.scene.dest.number("SELECT COUNT(*) FROM dst");
        let before = count();
        for _ in 0..2 {
            let outcome = self.scene.instance.run(&RUN).expect(2);
            let (kind, text) = error_of(&outcome);
            let words = ["was replaced", "is sealed with key"];
            let is_named = words.iter().any(|words| text.contains(words));
            assert!(kind == "Refused" && is_named, "{outcome}");
            assert!(text.contains(&self.scene.id_of(former)), "{outcome}");
        }
        let check = self.scene.instance.run(&["check", "--task", "1"]).expect(2);
        assert!(check.stdout.contains(&self.scene.id_of(former)), "{check}");
        assert_eq!(count(), before);
    }

    fn keys(&self, keys: &[&str]) {
        self.scene.instance.apply(&self.scene.keyed(keys, self.table));
    }

    #[track_caller]
    fn goes_on(&self) {
        self.change();
        self.scene.instance.run(&["check", "--task", "1"]).expect(0);
        self.scene.instance.run(&RUN).expect(0);
        self.scene.landed_once();
    }
}

fn recognised() -> Vec<Recognised> {
    let dir = tempfile::tempdir().unwrap().keep();
    let on = |server| Site::on_server(server, "seal");
    let file = |name: &str| Site::in_file(&dir, name);
    vec![
        Recognised::new(on(mariadb()), on(mariadb()), STATUS_BY_ID),
        Recognised::new(on(mariadb()), on(mariadb()), INCREMENT_BY_ID),
        Recognised::new(file("s"), file("d"), STATUS_BY_ID),
    ]
}

#[test]
fn a_key_that_was_replaced_without_the_old_one_doubles_no_rows() {
    for rows in recognised() {
        let rows = rows.landed();
        let (old, new) = (rows.scene.old.clone(), rows.scene.new.clone());
        rows.change();
        rows.scene.not_applied(&rows.scene.keyed(&[&new], rows.table), &old);
        rows.keys(&[&new]);
        rows.refused(&old);
        // With the former key the rows find themselves again.
        rows.keys(&[&old]);
        rows.goes_on();
        rows.change();
        rows.keys(&[&new]);
        rows.refused(&old);
        // As the refusal says.
        rows.scene.instance.apply(&rows.scene.keyed(&[&new], FULL_BY_ID));
        rows.scene.instance.run(&RUN).expect(0);
        rows.scene.landed_once();
        rows.keys(&[&new]);
        rows.goes_on();
        // And the former one is foreign now.
        rows.keys(&[&old]);
        rows.refused(&new);
    }
}

#[test]
fn an_old_key_that_is_taken_out_too_early_doubles_no_rows() {
    for rows in recognised() {
        let rows = rows.landed();
        let (old, new) = (rows.scene.old.clone(), rows.scene.new.clone());
        rows.change();
        rows.scene.apply(&rows.scene.keyed(&[&new, &old], rows.table)).expect(0);
        let outcome = rows.scene.instance.run(&RUN).expect(2);
        assert!(error_of(&outcome).1.contains("was replaced"), "{outcome}");
        rows.scene.not_applied(&rows.scene.keyed(&[&new], rows.table), &old);
        rows.keys(&[&new]);
        rows.refused(&old);
        // A full load that has still used the former key changes nothing.
        rows.scene.instance.apply(&rows.scene.keyed(&[&old], FULL_BY_ID));
        rows.scene.instance.run(&RUN).expect(0);
        rows.change();
        rows.keys(&[&new]);
        rows.refused(&old);
        rows.scene.instance.apply(&rows.scene.keyed(&[&new, &old], FULL_BY_ID));
        rows.scene.instance.run(&RUN).expect(0);
        rows.scene.apply(&rows.scene.keyed(&[&new], rows.table)).expect(0);
        rows.goes_on();
    }
}

#[test]
fn a_run_that_was_broken_off_does_not_go_on_by_another_key() {
    for rows in recognised() {
        rows.scene.broken_off("run.before_finish@1=kill-group");
        let (old, new) = (rows.scene.old.clone(), rows.scene.new.clone());
        rows.change();
        rows.keys(&[&new]);
        rows.refused(&old);
        // As a former version has left it: its run writes down by which keys it goes on.
        let row_keys = rows.scene.dest.quoted("row_keys");
        let fence = rows.scene.dest.quoted("SSYNC_FENCE");
        rows.scene.dest.run(&[format!("UPDATE {fence} SET {row_keys} = NULL")]);
        rows.keys(&[&old]);
        rows.scene.broken_off("run.before_finish@1=kill-group");
        rows.keys(&[&new]);
        rows.refused(&old);
    }
}

#[test]
fn a_destination_without_rows_takes_any_key() {
    for rows in recognised().into_iter().filter(|rows| rows.table == STATUS_BY_ID) {
        let rows = rows.landed();
        rows.scene.dest.run(&["DELETE FROM dst"]);
        rows.scene.source.run(&["UPDATE src SET sync_status = 0"]);
        let (old, new) = (rows.scene.old.clone(), rows.scene.new.clone());
        rows.scene.apply(&rows.scene.keyed(&[&new], rows.table)).expect(0);
        rows.goes_on();
        rows.keys(&[&old]);
        rows.refused(&new);
    }
}
