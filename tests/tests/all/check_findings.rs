//! `ssync check` says beforehand what a run would refuse, and `--trial` tries it and leaves nothing
//! behind; `ssync errors` and `ssync retry` for rows that were refused.

use mysql::prelude::Queryable;
use serde_json::Value;
use ssync_tests::servers::{PASSWORD, USER, free_port, mariadb};
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};

/// A table on each side that can run as it is.
struct Scene {
    source: Site,
    dest: Site,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene {
            source: Site::on_server(mariadb(), "chk"),
            dest: Site::on_server(mariadb(), "chk"),
        };
        scene.source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40) NOT \
             NULL, n INT, amount DECIMAL(30,10), sync_status INT NOT NULL DEFAULT 0)"]);
        scene.dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(400) NOT \
             NULL, n INT, amount DECIMAL(30,10))"]);
        let rows: Vec<Row> =
            (0..30).map(|id| vec![Cell::Int(id), Cell::Text(format!("row {id}"))]).collect();
        scene.source.insert("src", &["id", "v"], &rows);
        scene
    }

    fn toml(&self, table: &str) -> String {
        format!(
            "{}{}{}",
            self.source.link("src"),
            self.dest.link("dst"),
            Scene::task("src", "dst", table)
        )
    }

    fn task(source: &str, dest: &str, table: &str) -> String {
        format!(
            "[[task]]\nid = 1\nsource = \"{source}\"\ndest = \"{dest}\"\nbatch_rows = 10\n\
             slot_bytes = 65536\n[[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n\
             {table}\n"
        )
    }

    /// Everything in both databases that a check could have changed.
    fn picture(&self) -> Vec<Row> {
        let mut all = Vec::new();
        for site in [&self.source, &self.dest] {
            let mut tables = site.tables();
            tables.sort();
            for table in tables {
                let mut session = site.mysql();
                let sql = format!("CHECKSUM TABLE `{table}`");
                let sum: Option<(String, Option<u64>)> = session.query_first(sql).unwrap();
                all.push(vec![Cell::Text(format!("{sum:?}"))]);
            }
        }
        all
    }
}

/// The findings of one level.
#[track_caller]
fn findings(checked: &Outcome, level: &str) -> Vec<Value> {
    let line: Value = serde_json::from_str(checked.stdout.trim()).unwrap();
    assert_eq!((&line["schema"], &line["kind"]), (&1.into(), &"check".into()), "{checked}");
    assert_eq!((&line["task"], &line["table"]), (&1.into(), &"t".into()), "{checked}");
    let all = line["findings"].as_array().unwrap();
    all.iter().filter(|f| f["level"] == level).cloned().collect()
}

fn says(finding: &Value, column: Option<&str>, text: &str) -> bool {
    finding["column"].as_str() == column && finding["text"].as_str().unwrap().contains(text)
}

/// Something wrong: what is done at the source, at the destination, how the table is configured;
/// the column and the words of the finding.
struct Fault(
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
    Option<&'static str>,
    &'static str,
);

const FAULTS: &[Fault] = &[
    Fault(&["DROP TABLE src"], &[], "", None, "src"),
    Fault(&[], &["DROP TABLE dst"], "", None, "dst"),
    Fault(&[], &["ALTER TABLE dst DROP n"], "", Some("n"), "destination dst has no column n"),
    Fault(&[], &[], "columns = [\"id\", \"v\", \"w\"]", Some("w"), "source src has no column w"),
    Fault(
        &[],
        &[],
        "columns = [\"id\", { from = \"v\", to = \"w\" }]",
        Some("v"),
        "has no column w",
    ),
    Fault(&["ALTER TABLE src DROP PRIMARY KEY"], &[], "", None, "no primary key"),
    Fault(&[], &[], "key = [\"v\"]", None, "no unique index on (v)"),
    Fault(&["ALTER TABLE src ADD UNIQUE (n)"], &[], "key = [\"n\"]", Some("n"), "may be NULL"),
    Fault(
        &[],
        &["ALTER TABLE dst MODIFY amount DOUBLE"],
        "",
        Some("amount"),
        "double precision keeps about 15 digits",
    ),
    Fault(&["ALTER TABLE src DROP sync_status"], &[], "", None, "no column sync_status"),
    Fault(&["ALTER TABLE src MODIFY sync_status INT"], &[], "", Some("sync_status"), "may be NULL"),
    Fault(&[], &["ALTER TABLE dst ADD x INT NOT NULL"], "", Some("x"), "gets no value"),
    Fault(&[], &["ALTER TABLE dst ENGINE = Aria"], "", None, "cannot roll back"),
    Fault(
        &[],
        &["CREATE TRIGGER noisy AFTER INSERT ON dst FOR EACH ROW SET @x = 1"],
        "",
        None,
        "has triggers: noisy",
    ),
    Fault(
        &[],
        &["ALTER TABLE dst DROP PRIMARY KEY"],
        "write = \"upsert\"",
        None,
        "unique index on (id)",
    ),
    Fault(
        &[],
        &[],
        "mode = \"increment\"\nwrite = \"upsert\"\n\
         watermark = { column = \"id\", lag = \"10s\" }",
        Some("id"),
        "the watermark is a number, its lag a time",
    ),
    Fault(
        &["ALTER TABLE src ADD at DATETIME NOT NULL"],
        &["ALTER TABLE dst ADD at DATETIME NOT NULL"],
        "mode = \"increment\"\nwrite = \"upsert\"\n\
         watermark = { column = \"at\", lag = \"10\" }",
        Some("at"),
        "the watermark is a time, its lag a number",
    ),
    Fault(
        &[],
        &["ALTER TABLE dst ADD UNIQUE other (v)"],
        "write = \"upsert\"",
        None,
        "further unique indexes: other",
    ),
];

/// A missing state column is no missing privilege.
#[test]
fn a_source_without_a_state_column_is_told_how_to_add_it() {
    let scene = Scene::new();
    scene.source.run(&["ALTER TABLE src DROP sync_status"]);
    let instance = Instance::new(&scene.toml(""));
    let checked = instance.run(&["check", "--task", "1", "--json"]);
    let found = findings(&checked, "error");
    let [finding] = found.as_slice() else { panic!("{checked}") };
    assert!(says(finding, None, "no column sync_status"), "{checked}");
    let hint = finding["hint"].as_str().unwrap();
    let sql = hint.split_once("ALTER TABLE ").unwrap().1.split_once('.').unwrap().0;
    scene.source.run(&[format!("ALTER TABLE {sql}")]);
    let checked = instance.run(&["check", "--task", "1", "--json"]).expect(0);
    assert_eq!(findings(&checked, "error"), Vec::<Value>::new());
}

#[test]
fn every_fault_is_found_and_no_run_begins_with_it() {
    for Fault(source, dest, table, column, text) in FAULTS {
        let fault = format!("{source:?} {dest:?} {table:?}");
        let scene = Scene::new();
        let instance = Instance::new(&scene.toml(table));
        if table.is_empty() {
            let checked = instance.run(&["check", "--json"]).expect(0);
            assert!(findings(&checked, "error").is_empty(), "{checked}");
        }
        scene.source.run(source);
        scene.dest.run(dest);
        let before = scene.picture();
        let checked = instance.run(&["check", "--json"]);
        assert_eq!(checked.code, Some(2), "{fault}: {checked}");
        let errors = findings(&checked, "error");
        assert!(errors.iter().any(|f| says(f, *column, text)), "{fault}: {errors:?}");
        let shown = instance.run(&["check", "--task", "1", "--trial"]);
        assert_eq!(shown.code, Some(2), "{fault}: {shown}");
        assert!(shown.stdout.contains("table t: CANNOT RUN"), "{fault}: {shown}");
        assert!(shown.stdout.contains("error: ") && shown.stdout.contains(text), "{shown}");
        assert_eq!(scene.picture(), before, "{fault}");
        let refused = instance.run(&["--task", "1"]);
        assert!(matches!(refused.code, Some(1 | 2)), "{fault}: {refused}");
        assert_eq!(scene.picture(), before, "{fault}: {refused}");
    }
}

#[test]
fn a_lossy_column_passes_only_by_name() {
    let scene = Scene::new();
    scene.dest.run(&["ALTER TABLE dst MODIFY amount DOUBLE"]);
    let instance = Instance::new(&scene.toml(""));
    let checked = instance.run(&["check", "--json"]).expect(2);
    let errors = findings(&checked, "error");
    assert_eq!(errors.len(), 1, "{checked}");
    assert!(errors[0]["hint"].as_str().unwrap().contains("allow_lossy"), "{checked}");
    instance.apply(&scene.toml("allow_lossy = [\"amount\"]"));
    let checked = instance.run(&["check", "--json"]).expect(0);
    assert!(findings(&checked, "warning").iter().any(|f| says(f, Some("amount"), "(allowed)")));
    let line: Value = serde_json::from_str(checked.stdout.trim()).unwrap();
    let columns = line["columns"].as_array().unwrap();
    let of = |name: &str| {
        columns.iter().find(|c| c["source"].as_str().unwrap().starts_with(name)).unwrap()
    };
    assert_eq!(of("amount ")["fidelity"], "lossy", "{checked}");
    assert_eq!(of("id ")["fidelity"], "exact", "{checked}");
    instance.run(&["--task", "1"]).expect(0);
}

#[test]
fn a_column_too_narrow_for_ciphertext_is_found_by_a_single_character() {
    let scene = Scene::new();
    let key = scene_key();
    let toml = |scene: &Scene| {
        format!(
            "[[key]]\nname = \"pii\"\nsecret = {{ file = {:?} }}\n{}",
            key.path().display().to_string(),
            scene.toml("encrypt = { v = \"pii\" }\napp_resets_status = true")
        )
    };
    let instance = Instance::new(&toml(&scene));
    let check = |width: i64| {
        scene.dest.run(&[format!("ALTER TABLE dst MODIFY v VARCHAR({width}) NOT NULL")]);
        instance.run(&["check", "--json"])
    };
    let fidelity = |width: i64| -> String {
        let checked = check(width);
        let line: Value = serde_json::from_str(checked.stdout.trim()).unwrap();
        let columns = line["columns"].as_array().unwrap();
        let Some(column) = columns.iter().find(|c| c["crypto"] == "encrypt") else {
            let errors = findings(&checked.expect(2), "error");
            assert!(errors.iter().any(|f| says(
                f,
                Some("v"),
                &format!("characters, it has {width}")
            )));
            return "refused".to_owned();
        };
        let fidelity = column["fidelity"].as_str().unwrap().to_owned();
        if fidelity == "checked" {
            let notes = findings(&checked, "info");
            let said = |f: &Value| says(f, Some("v"), "the widest encrypted value needs");
            assert!(notes.iter().any(said), "{checked}");
        }
        fidelity
    };
    // Not even an empty value fits; some values fit; the width that just does is found by asking.
    assert_eq!(fidelity(20), "refused");
    assert_eq!(fidelity(100), "checked");
    let (mut low, mut high) = (100, 1000);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if fidelity(middle) == "exact" { high = middle } else { low = middle }
    }
    // Forty characters of four bytes each prove it.
    scene.source.run(&["UPDATE src SET v = REPEAT(CONVERT(X'F09F9880' USING utf8mb4), 40)"]);
    assert_eq!(fidelity(high), "exact");
    instance.run(&["--task", "1"]).expect(0);
    let widest = "SELECT MAX(CHAR_LENGTH(v)) FROM dst";
    assert_eq!(scene.dest.number(widest), high, "a narrower column would do");
    // The first answer says it already.
    scene.dest.run(&["DELETE FROM dst"]);
    let errors = findings(&check(20).expect(2), "error");
    let needs = format!("encrypted values need {high} characters, it has 20");
    assert!(errors.iter().any(|f| says(f, Some("v"), &needs)), "{errors:?}");
}

fn scene_key() -> tempfile::NamedTempFile {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let key: String = (0..32u8).map(|i| format!("{:02x}", i.wrapping_mul(73) ^ 0x5a)).collect();
    file.write_all(key.as_bytes()).unwrap();
    file
}

#[test]
fn a_key_that_is_not_there_is_found() {
    let scene = Scene::new();
    let missing = format!(
        "[[key]]\nname = \"pii\"\nsecret = {{ file = \"/nonexistent/pii.key\" }}\n{}",
        scene.toml("encrypt = { v = \"pii\" }")
    );
    let checked = Instance::new(&missing).run(&["check", "--json"]).expect(2);
    let errors = findings(&checked, "error");
    assert!(errors.iter().any(|f| f["text"].as_str().unwrap().contains("pii")), "{checked}");
}

#[test]
fn a_database_that_cannot_be_reached_is_named_by_its_link() {
    let scene = Scene::new();
    let Site::MySql { port, database } = &scene.dest else { unreachable!() };
    let link = |user: &str, port: u16, database: &str| {
        format!(
            "[[link]]\nname = \"dst\"\nurl = \"mysql://{user}@127.0.0.1:{port}/{database}\"\n\
             password = {{ env = \"OTHER_PASSWORD\" }}\n"
        )
    };
    let faults = [
        (link(USER, *port, database), "wrong", "denied", 1),
        (link(USER, free_port(), database), PASSWORD, "127.0.0.1", 1),
        (link("nobody", *port, database), PASSWORD, "denied", 1),
        // A name in the configuration.
        (link(USER, *port, "no_such_database"), PASSWORD, "no_such_database", 2),
    ];
    for (dest, password, text, code) in faults {
        let toml = format!("{}{dest}{}", scene.source.link("src"), Scene::task("src", "dst", ""));
        let mut instance = Instance::new(&toml);
        instance.set_env("OTHER_PASSWORD", password);
        let checked = instance.run(&["check", "--json"]).expect(code);
        let errors = findings(&checked, "error");
        let said = |f: &Value| says(f, None, "link dst") && says(f, None, text);
        assert!(errors.iter().any(said), "{text}: {checked}");
        assert!(!checked.to_string().contains(password), "{text}");
        instance.run(&["--task", "1"]).expect(code);
    }
    let before = scene.picture();
    assert!(before.iter().all(|r| !format!("{r:?}").contains("SSYNC")), "{before:?}");
}

fn database(site: &Site) -> &str {
    let Site::MySql { database, .. } = site else { unreachable!() };
    database
}

/// The scene's task, run by an account to which just this was granted.
fn as_account(scene: &Scene, grants: &[String], table: &str) -> Instance {
    let account = format!("chk_{}", database(&scene.dest));
    let mut admin = mariadb().connect();
    let mut statements = vec![
        format!("DROP USER IF EXISTS {account}"),
        format!("CREATE USER {account} IDENTIFIED BY 'chk-secret'"),
    ];
    statements.extend(grants.iter().map(|grant| format!("GRANT {grant} TO {account}")));
    for statement in statements {
        admin.query_drop(statement).unwrap();
    }
    let link = |name: &str, site: &Site| {
        format!(
            "[[link]]\nname = \"{name}\"\n\
             url = \"mysql://{account}@127.0.0.1:{}/{}\"\n\
             password = {{ env = \"CHK_PASSWORD\" }}\n",
            mariadb().port(),
            database(site)
        )
    };
    let toml = format!(
        "{}{}{}",
        link("s", &scene.source),
        link("d", &scene.dest),
        Scene::task("s", "d", table)
    );
    let mut instance = Instance::new(&toml);
    instance.set_env("CHK_PASSWORD", "chk-secret");
    instance
}

/// MariaDB gives everybody everything on `test\_%`; that is nothing anywhere else.
#[test]
fn a_privilege_on_other_databases_is_none_on_the_destination() {
    let scene = Scene::new();
    let (source, dest) = (database(&scene.source), database(&scene.dest));
    let everybody = format!("ALL ON `{dest}\\_elsewhere%`.*");
    let mut admin = mariadb().connect();
    admin.query_drop(format!("GRANT {everybody} TO PUBLIC")).unwrap();
    for full in ["truncate", "swap"] {
        let table = format!("mode = \"full\"\nfull = \"{full}\"");
        let grants = [
            format!("SELECT ON `{source}`.*"),
            format!("SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON `{dest}`.*"),
            format!("ALL ON `{dest}\\_other%`.*"),
        ];
        let instance = as_account(&scene, &grants, &table);
        let checked = instance.run(&["check", "--json"]).expect(2);
        let errors = findings(&checked, "error");
        let drop = errors.iter().find(|f| says(f, None, "may not DROP on")).unwrap();
        let hint = drop["hint"].as_str().unwrap();
        assert!(hint.contains("GRANT DROP ON `"), "{full}: {checked}");
        let refused = instance.run(&["--task", "1"]).expect(1);
        assert!(refused.to_string().contains("ssync check"), "{full}: {refused}");
        // To everybody here.
        let here = format!("ALL ON `{}`.*", dest.replace('_', "\\_"));
        admin.query_drop(format!("GRANT {here} TO PUBLIC")).unwrap();
        let instance = as_account(&scene, &grants, &table);
        instance.run(&["check", "--json"]).expect(0);
        instance.run(&["--task", "1"]).expect(0);
        assert_eq!(scene.dest.number("SELECT COUNT(*) FROM dst"), 30, "{full}");
        admin.query_drop(format!("REVOKE {here} FROM PUBLIC")).unwrap();
    }
    admin.query_drop(format!("REVOKE {everybody} FROM PUBLIC")).unwrap();
}

#[test]
fn every_missing_privilege_is_found() {
    let scene = Scene::new();
    let (source, dest) = (database(&scene.source), database(&scene.dest));
    // What each side needs; each taken away in turn.
    let source_needs = ["SELECT", "UPDATE", "TRIGGER"];
    let dest_needs = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "TRIGGER"];
    let check = |source_rights: &[&str], dest_rights: &[&str]| {
        let mut grants = Vec::new();
        for (database, table, rights) in
            [(source, "`src`", source_rights), (dest, "*", dest_rights)]
        {
            if !rights.is_empty() {
                grants.push(format!("{} ON `{database}`.{table}", rights.join(", ")));
            }
        }
        // ssync's own table at the source.
        grants.push(format!("ALL ON `{source}`.`SSYNC_OWNER`"));
        let instance = as_account(&scene, &grants, "app_resets_status = true");
        (instance.run(&["check", "--json"]), instance)
    };
    let without = |all: &[&'static str], one: &str| -> Vec<&'static str> {
        all.iter().copied().filter(|r| *r != one).collect()
    };
    for (side, needs) in [("s", &source_needs[..]), ("d", &dest_needs[..])] {
        for missing in needs {
            let (s, d) = match side {
                "s" => (without(&source_needs, missing), dest_needs.to_vec()),
                _ => (source_needs.to_vec(), without(&dest_needs, missing)),
            };
            let (checked, _) = check(&s, &d);
            assert_eq!(checked.code, Some(2), "without {missing} at {side}: {checked}");
            let errors = findings(&checked, "error");
            let named = |f: &Value| {
                let text = f["text"].as_str().unwrap();
                text.contains(missing) || *missing == "SELECT" && text.contains("may not")
            };
            assert!(errors.iter().any(named), "without {missing} at {side}: {checked}");
            // Whoever owns the schema is given what to run.
            let given = |f: &Value| {
                let hint = f["hint"].as_str().unwrap_or_default();
                hint.contains("CREATE TABLE IF NOT EXISTS `SSYNC_FENCE`")
            };
            let offered = findings(&checked, "warning").iter().any(given);
            assert_eq!(offered, side == "d", "without {missing} at {side}: {checked}");
        }
    }
    let (checked, instance) = check(&source_needs, &dest_needs);
    assert_eq!(checked.code, Some(0), "with all of them: {checked}");
    instance.run(&["--task", "1"]).expect(0);
    assert_eq!(scene.dest.number("SELECT COUNT(*) FROM dst"), 30);
}

#[test]
fn a_trial_moves_rows_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    let file = Site::in_file(dir.path(), "dst");
    file.run(&["CREATE TABLE dst (id INTEGER NOT NULL PRIMARY KEY, v TEXT NOT NULL, n INTEGER, \
                amount TEXT)"]);
    let key = scene_key();
    let keys = format!(
        "[[key]]\nname = \"pii\"\nsecret = {{ file = {:?} }}\n",
        key.path().display().to_string()
    );
    let table = "encrypt = { v = \"pii\" }\nwrite = \"upsert\"\napp_resets_status = true";
    for dest in [&scene.dest, &file] {
        let toml = format!(
            "{keys}{}{}{}",
            scene.source.link("src"),
            dest.link("dst"),
            Scene::task("src", "dst", table)
        );
        dest.run(&["INSERT INTO dst (id, v) VALUES (3, 'was there')"]);
        let instance = Instance::new(&toml);
        let holds = [Holds::Int, Holds::Text];
        let look = || (scene.picture(), dest.rows("SELECT id, v FROM dst", &holds), dest.tables());
        let before = look();
        let trial = instance.run(&["check", "--trial", "--json"]).expect(0);
        let line: Value = serde_json::from_str(trial.stdout.trim()).unwrap();
        assert_eq!(line["trial_rows"], 20, "{trial}");
        assert_eq!(look(), before, "{trial}");
        let plain = instance.run(&["check", "--trial"]).expect(0);
        assert!(plain.stdout.contains("20 rows landed and were taken back"), "{plain}");
        assert!(plain.stdout.contains("everything can run"), "{plain}");
        assert_eq!(look(), before, "{plain}");
    }
}

#[test]
fn a_trial_finds_the_row_that_a_check_of_the_tables_cannot_know_of() {
    let scene = Scene::new();
    scene.dest.run(&["ALTER TABLE dst ADD CHECK (id <> 5)"]);
    let instance = Instance::new(&scene.toml(""));
    instance.run(&["check"]).expect(0);
    let before = scene.picture();
    let trial = instance.run(&["check", "--trial", "--json"]).expect(1);
    let errors = findings(&trial, "error");
    assert!(errors[0]["text"].as_str().unwrap().contains("trial"), "{trial}");
    assert_eq!(scene.picture(), before, "{trial}");
}

/// Parents that an earlier table of the task brings are not there yet.
#[test]
fn a_trial_of_rows_whose_parents_are_still_to_land_warns() {
    let scene = Scene::new();
    scene.source.run(&[
        "CREATE TABLE parents (id INT NOT NULL PRIMARY KEY)",
        "INSERT INTO parents VALUES (1)",
        "UPDATE src SET n = 1 WHERE id > 2",
    ]);
    scene.dest.run(&[
        "CREATE TABLE parents (id INT NOT NULL PRIMARY KEY)",
        "ALTER TABLE dst ADD CONSTRAINT of_parent FOREIGN KEY (n) REFERENCES parents (id)",
    ]);
    let instance = Instance::new(&scene.toml("app_resets_status = true"));
    let before = scene.picture();
    let trial = instance.run(&["check", "--trial", "--json"]).expect(0);
    assert!(findings(&trial, "error").is_empty(), "{trial}");
    let warnings = findings(&trial, "warning");
    let about = |f: &&Value| f["text"].as_str().unwrap().starts_with("trial: ");
    let found = warnings.iter().find(about).unwrap_or_else(|| panic!("{trial}"));
    assert!(found["text"].as_str().unwrap().contains("the row's parent is missing"), "{trial}");
    let hint = found["hint"].as_str().unwrap();
    assert!(hint.contains("parents.") && hint.contains("must land first"), "{trial}");
    let line: Value = serde_json::from_str(trial.stdout.trim()).unwrap();
    assert_eq!(line["trial_rows"], 3, "the rows without a parent: {trial}");
    assert_eq!(line["trial_waiting"], 17, "{trial}");
    let plain = instance.run(&["check", "--trial"]).expect(0);
    assert!(plain.stdout.contains("17 rows wait for their parents"), "{plain}");
    assert!(plain.stdout.contains("everything can run, as far as it was tried"), "{plain}");
    assert_eq!(scene.picture(), before, "{trial}");
    // Another fault beside it is one.
    scene.dest.run(&["ALTER TABLE dst ADD CHECK (id <> 5)"]);
    scene.source.run(&["UPDATE src SET n = NULL WHERE id = 5"]);
    let trial = instance.run(&["check", "--trial", "--json"]).expect(1);
    let errors = findings(&trial, "error");
    assert!(says(&errors[0], None, "a check constraint refused the row"), "{trial}");
    scene.source.run(&["UPDATE src SET n = 1 WHERE id = 5"]);
    scene
        .dest
        .run(&["ALTER TABLE dst DROP CONSTRAINT CONSTRAINT_1", "INSERT INTO parents VALUES (1)"]);
    let trial = instance.run(&["check", "--trial", "--json"]).expect(0);
    assert!(!findings(&trial, "warning").iter().any(|f| about(&f)), "{trial}");
    instance.run(&["--task", "1"]).expect(0);
    assert_eq!(scene.dest.number("SELECT COUNT(*) FROM dst"), 30);
}

#[test]
fn what_there_is_nothing_to_check_of_is_a_mistake() {
    let scene = Scene::new();
    let instance = Instance::new(&scene.toml(""));
    instance.run(&["check", "--task", "9"]).expect(2);
    let unknown = instance.run(&["check", "--task", "1", "--tables", "x", "--json"]).expect(2);
    assert!(unknown.stderr.contains("no table x"), "{unknown}");
    let nothing = Instance::new("").run(&["check"]).expect(2);
    assert!(nothing.stderr.contains("no tasks"), "{nothing}");
}

#[test]
fn bad_rows_are_listed_and_sent_again_when_they_are_mended() {
    let scene = Scene::new();
    scene.dest.run(&["ALTER TABLE dst MODIFY v VARCHAR(20) NOT NULL"]);
    scene.source.run(&["UPDATE src SET v = REPEAT('secret row', 4) WHERE id IN (7, 23)"]);
    let toml = scene.toml("app_resets_status = true");
    let instance =
        Instance::new(&toml.replace("batch_rows = 10", "batch_rows = 10\nerror_limit = 9"));
    let outcome = instance.run(&["--task", "1", "--json"]).expect(1);
    assert_eq!(outcome.count("t", "failed"), 2, "{outcome}");
    let listed = instance.run(&["errors", "--task", "1", "--json"]).expect(0);
    let list: Value = serde_json::from_str(&listed.stdout).unwrap();
    let rows = list["errors"].as_array().unwrap();
    let mut seen: Vec<_> =
        rows.iter().map(|r| (r["row"].as_str().unwrap(), r["column"].as_str().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("id=23", "v"), ("id=7", "v")], "{listed}");
    let shown = instance.run(&["errors"]).expect(0);
    assert!(shown.stdout.contains("id=7") && shown.stdout.contains("too long"), "{shown}");
    for text in [&listed, &shown, &outcome] {
        assert!(!text.to_string().contains("secret row"), "{text}");
    }
    // Mended in part: the other one is bad again.
    scene.source.run(&["UPDATE src SET v = 'fine' WHERE id = 7"]);
    let retried = instance.run(&["retry", "--task", "1"]).expect(1);
    assert!(retried.stderr.contains("2 rows set back"), "{retried}");
    let shown = instance.run(&["errors"]).expect(0);
    assert!(!shown.stdout.contains("id=7") && shown.stdout.contains("id=23"), "{shown}");
    scene.source.run(&["UPDATE src SET v = 'fine, too' WHERE id = 23"]);
    instance.run(&["retry", "--task", "1", "--tables", "t"]).expect(0);
    let shown = instance.run(&["errors"]).expect(0);
    assert!(!shown.stdout.contains("id="), "{shown}");
    let holds = [Holds::Int, Holds::Text];
    let found = differences(
        &scene.source.rows("SELECT id, v FROM src", &holds),
        &scene.dest.rows("SELECT id, v FROM dst", &holds),
    );
    assert_eq!(found, Vec::<String>::new());
    let none = instance.run(&["retry", "--task", "1"]).expect(0);
    assert!(none.stderr.contains("0 rows set back"), "{none}");
}
