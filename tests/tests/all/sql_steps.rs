//! SQL before and after a table's rows, on both sides: each statement takes effect once in a run,
//! in its order, whatever dies and whenever; a statement that fails is named, and the next run
//! goes on there.

use serde_json::Value;
use ssync_tests::servers::mariadb;
use ssync_tests::servers::oracle::{Generation, oracle};
use ssync_tests::sites::{Cell, Holds, Row, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};

const RUN: [&str; 3] = ["--task", "1", "--json"];

/// A table on each side, with a log that the statements write to.
struct Scene {
    source: Site,
    dest: Site,
}

/// The statements of a table, before and after at source and destination.
#[derive(Default, Clone)]
struct Sql {
    before_source: Vec<String>,
    before_dest: Vec<String>,
    after_source: Vec<String>,
    after_dest: Vec<String>,
}

impl Sql {
    /// Two statements everywhere, each of which leaves its name.
    fn logged() -> Sql {
        let note = |what: &str| {
            (1..3).map(|n| format!("INSERT INTO step_log (what) VALUES ('{what} {n}')")).collect()
        };
        Sql {
            before_source: note("before"),
            before_dest: note("before"),
            after_source: note("after"),
            after_dest: note("after"),
        }
    }

    fn toml(&self) -> String {
        format!(
            "before = {{ source = {:?}, dest = {:?} }}\nafter = {{ source = {:?}, dest = {:?} }}\n",
            self.before_source, self.before_dest, self.after_source, self.after_dest
        )
    }
}

const LOGGED: [&str; 4] = ["before 1", "before 2", "after 1", "after 2"];

impl Scene {
    fn new(source: Site, dest: Site) -> Scene {
        for site in [&source, &dest] {
            let number = match site {
                Site::MySql { .. } => "BIGINT AUTO_INCREMENT PRIMARY KEY",
                Site::Sqlite(_) => "INTEGER PRIMARY KEY AUTOINCREMENT",
                Site::Oracle { .. } => "NUMBER(18) GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            };
            site.run(&[format!("CREATE TABLE step_log (seq {number}, what VARCHAR(40))")]);
        }
        // A number of each software that has the range of another's BIGINT.
        let id = |site: &Site| if site.is_oracle() { "NUMBER(18)" } else { "BIGINT" };
        source.run(&[format!(
            "CREATE TABLE src (id {} NOT NULL PRIMARY KEY, v VARCHAR(40) NOT NULL, \
             sync_status {} DEFAULT 0 NOT NULL)",
            id(&source),
            if source.is_oracle() { "NUMBER(3)" } else { "INT" }
        )]);
        dest.run(&[format!(
            "CREATE TABLE dst (id {} NOT NULL, v VARCHAR(40) NOT NULL)",
            id(&dest)
        )]);
        let scene = Scene { source, dest };
        scene.add(0..45);
        scene
    }

    fn on_mariadb() -> Scene {
        Scene::new(Site::on_server(mariadb(), "steps"), Site::on_server(mariadb(), "steps"))
    }

    fn add(&self, ids: std::ops::Range<i64>) {
        let rows: Vec<Row> =
            ids.map(|id| vec![Cell::Int(id), Cell::Text(format!("row {id}"))]).collect();
        self.source.insert("src", &["id", "v"], &rows);
    }

    fn toml(&self, mode: &str, sql: &Sql) -> String {
        let resets = if mode.is_empty() { "app_resets_status = true\n" } else { "" };
        format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\nbatch_rows = 10\n\
             slot_bytes = 65536\n[[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n\
             {resets}{mode}{}",
            self.source.link("src"),
            self.dest.link("dst"),
            sql.toml()
        )
    }

    fn log(&self, site: &Site) -> Vec<String> {
        let text = |row: Row| match row.into_iter().next() {
            Some(Cell::Text(text)) => text,
            other => panic!("{other:?}"),
        };
        let rows = site.rows("SELECT what FROM step_log ORDER BY seq", &[Holds::Text]);
        rows.into_iter().map(text).collect()
    }

    #[track_caller]
    fn assert_logged_once(&self, when: &str) {
        for (name, site) in [("source", &self.source), ("destination", &self.dest)] {
            assert_eq!(self.log(site), LOGGED, "{when}: at the {name}");
        }
    }

    #[track_caller]
    fn assert_same(&self, table: &str, when: &str) {
        let holds = [Holds::Int, Holds::Text];
        let source = self.source.rows("SELECT id, v FROM src", &holds);
        let dest = self.dest.rows(&format!("SELECT id, v FROM {table}"), &holds);
        assert_eq!(differences(&source, &dest), Vec::<String>::new(), "{when}");
    }

    fn waiting(&self) -> i64 {
        self.source.number("SELECT COUNT(*) FROM src WHERE sync_status <> 2")
    }
}

/// Where a run is killed: failpoint and number.
const KILLS: [&str; 15] = [
    "run.after_begin@1",
    "steps.source_statement@1",
    "steps.source@1",
    "steps.source_statement@2",
    "steps.source@2",
    "steps.statement@1",
    "steps.before@1",
    "steps.before@2",
    "run.after_rows@1",
    // The first after the rows.
    "steps.source_statement@1000001",
    "steps.source_after@1",
    "steps.source_after@2",
    "steps.after@1",
    "steps.after@2",
    "run.before_finish@1",
];

#[track_caller]
fn killed_at(instance: &Instance, point: &str) {
    let outcome = instance.run_with(&RUN, &format!("{point}=kill-group"));
    assert_eq!(outcome.signal, Some(9), "{point} was not reached: {outcome}");
    instance.wait_until_dead();
}

fn once_whatever_dies(scene: impl Fn() -> Scene, mode: &str) {
    for point in KILLS {
        let scene = scene();
        let instance = Instance::new(&scene.toml(mode, &Sql::logged()));
        killed_at(&instance, point);
        instance.run(&RUN).expect(0);
        scene.assert_logged_once(point);
        scene.assert_same("dst", point);
    }
}

#[test]
fn statements_take_effect_once_whatever_dies_mariadb_to_mariadb() {
    once_whatever_dies(Scene::on_mariadb, "");
}

#[test]
fn statements_take_effect_once_whatever_dies_with_a_full_copy() {
    once_whatever_dies(Scene::on_mariadb, "mode = \"full\"\n");
}

#[test]
fn statements_take_effect_once_whatever_dies_within_one_sqlite_file() {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    // One log cannot tell the sides apart: two files.
    let scene = || {
        number.set(number.get() + 1);
        let file = |side: &str| Site::in_file(dir.path(), &format!("{side}{}", number.get()));
        Scene::new(file("src"), file("dst"))
    };
    once_whatever_dies(scene, "");
}

#[test]
fn one_run_may_die_at_every_step() {
    let scene = Scene::on_mariadb();
    let instance = Instance::new(&scene.toml("", &Sql::logged()));
    for point in KILLS {
        // The rows of the first attempt have landed long since; those steps are still ahead.
        killed_at(&instance, point);
    }
    instance.run(&RUN).expect(0);
    scene.assert_logged_once("after all of them");
    scene.assert_same("dst", "after all of them");
    // A run that came to its end is over: the next one has steps of its own.
    instance.run(&RUN).expect(0);
    assert_eq!(scene.log(&scene.dest), [LOGGED, LOGGED].concat());
}

/// Oracle runs a definition while it parses it, and parses the rest without running it.
#[test]
fn oracle_is_asked_about_statements_without_running_them() {
    let server = oracle(Generation::Oracle19c);
    let (source, dest) = (server.account("steps"), server.account("steps"));
    let scene = Scene::new(Site::of_account(&source), Site::of_account(&dest));
    let fault = "INSERT INTO step_log (nothing) VALUES (1)";
    let sql = Sql {
        before_source: vec!["INSERT INTO step_log (what) VALUES ('it''s only parsed')".to_owned()],
        before_dest: vec![fault.to_owned()],
        after_dest: vec!["DELETE FROM not_there".to_owned(), "DROP TABLE step_log".to_owned()],
        ..Sql::default()
    };
    let instance = Instance::new(&scene.toml("", &sql));
    let check = instance.run(&["check", "--task", "1", "--trial", "--json"]).expect(2);
    let line: Value = serde_json::from_str(check.stdout.trim()).unwrap();
    let found = line["findings"].as_array().unwrap();
    let texts: Vec<_> = found.iter().map(|f| f["text"].as_str().unwrap()).collect();
    let says = |text: &str| texts.iter().filter(|t| t.starts_with(text)).count();
    assert_eq!(says("SQL before at the source"), 0, "{texts:?}");
    let fault = "SQL before at the destination, statement 1: \"NOTHING\": invalid identifier";
    assert_eq!(says(fault), 1, "{texts:?}");
    let fault = "SQL after at the destination, statement 1: table or view does not exist";
    assert_eq!(says(fault), 1, "{texts:?}");
    assert_eq!(says("SQL after at the destination, statement 2, was not tried"), 1, "{texts:?}");
    for site in [&scene.source, &scene.dest] {
        assert_eq!(scene.log(site), Vec::<String>::new(), "a statement was run");
    }
}

/// The staging table must not be emptied again while rows that count as done are in it.
#[test]
fn a_stage_is_emptied_once_and_emptied_into_its_target_once() {
    for point in
        ["reader.after_claim@3", "run.after_rows@1", "steps.after@1", "run.before_finish@1"]
    {
        let scene = Scene::on_mariadb();
        scene.dest.run(&[
            "CREATE TABLE final (id BIGINT NOT NULL, v VARCHAR(40) NOT NULL)",
            "INSERT INTO dst VALUES (-1, 'left from before')",
        ]);
        let sql = Sql {
            before_dest: vec!["TRUNCATE TABLE dst".into()],
            after_dest: vec!["INSERT INTO final SELECT * FROM dst".into()],
            ..Sql::default()
        };
        let instance = Instance::new(&scene.toml("", &sql));
        killed_at(&instance, point);
        instance.run(&RUN).expect(0);
        scene.assert_same("final", point);
        // And once more, with new rows.
        scene.add(100..120);
        instance.run(&RUN).expect(0);
        scene.assert_same("final", point);
    }
}

#[track_caller]
fn fails_naming(instance: &Instance, what: &str) -> Outcome {
    let outcome = instance.run(&RUN).expect(1);
    let error = &outcome.table("t")["error"];
    assert_eq!(error["kind"], "Database", "{outcome}");
    assert!(error["message"].as_str().unwrap().contains(what), "no {what:?}: {outcome}");
    outcome
}

/// Every place of a statement; each fails until something is mended in the database, or in the
/// configuration.
#[test]
fn a_statement_that_fails_is_named_and_the_next_run_goes_on_there() {
    for corrected in [false, true] {
        for (side, when) in
            [("source", "before"), ("dest", "before"), ("source", "after"), ("dest", "after")]
        {
            let case = format!("{when} at {side}, corrected: {corrected}");
            let scene = Scene::on_mariadb();
            let good = Sql::logged();
            let mut bad = good.clone();
            let (site, statements) = match (side, when) {
                ("source", "before") => (&scene.source, &mut bad.before_source),
                ("dest", "before") => (&scene.dest, &mut bad.before_dest),
                ("source", _) => (&scene.source, &mut bad.after_source),
                _ => (&scene.dest, &mut bad.after_dest),
            };
            statements[1] = statements[1].replace("step_log", "step_lock");
            let instance = Instance::new(&scene.toml("", &bad));
            let word = if side == "dest" { "destination" } else { side };
            let named = format!("SQL {when} at the {word}, statement 2");
            for _ in 0..2 {
                fails_naming(&instance, &named);
                // Before: no row has moved. After: all of them have, and stay.
                let waiting = if when == "before" { 45 } else { 0 };
                assert_eq!(scene.waiting(), waiting, "{case}");
            }
            match corrected {
                true => instance.apply(&scene.toml("", &good)),
                false => site.run(&["CREATE VIEW step_lock AS SELECT * FROM step_log"]),
            }
            // What came meanwhile goes along.
            scene.add(100..110);
            instance.run(&RUN).expect(0);
            scene.assert_logged_once(&case);
            scene.assert_same("dst", &case);
        }
    }
}

/// Rows are in the stage and count as done; the correction of `after` must not have it emptied.
#[test]
fn correcting_the_statement_that_failed_does_not_repeat_those_before_it() {
    let scene = Scene::on_mariadb();
    scene.dest.run(&["CREATE TABLE final (id BIGINT NOT NULL, v VARCHAR(40) NOT NULL)"]);
    let sql = |into: &str| Sql {
        before_dest: vec!["TRUNCATE TABLE dst".into()],
        after_dest: vec![format!("INSERT INTO {into} SELECT * FROM dst")],
        ..Sql::default()
    };
    let instance = Instance::new(&scene.toml("", &sql("finale")));
    fails_naming(&instance, "SQL after at the destination, statement 1");
    instance.apply(&scene.toml("", &sql("final")));
    instance.run(&RUN).expect(0);
    scene.assert_same("final", "after the correction");
}
