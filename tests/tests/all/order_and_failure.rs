//! The tables of a task: their order, what one's failure does to the others, and what a failure
//! of a real-time task leaves behind.

use nix::sys::signal::Signal;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Holds, Row, Site};
use ssync_tests::ssync::{Instance, Outcome};
use ssync_tests::wait_for;

const RUN: [&str; 3] = ["--task", "1", "--json"];
/// Rows of each table; in batches of ten.
const ROWS: i64 = 40;

/// Three tables on each side.
struct Scene {
    source: Site,
    dest: Site,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene {
            source: Site::on_server(mariadb(), "order"),
            dest: Site::on_server(mariadb(), "order"),
        };
        for table in ["a", "b", "c"] {
            scene.source.run(&[format!(
                "CREATE TABLE {table} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40) NOT NULL, \
                 sync_status INT NOT NULL DEFAULT 0)"
            )]);
            scene.dest.run(&[format!(
                "CREATE TABLE {table} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20) NOT NULL)"
            )]);
            let rows: Vec<Row> =
                (0..ROWS).map(|id| vec![Cell::Int(id), Cell::Text(format!("row {id}"))]).collect();
            scene.source.insert(table, &["id", "v"], &rows);
        }
        scene
    }

    /// One whole batch of `b` is bad.
    fn spoil(&self) {
        self.source.run(&["UPDATE b SET v = REPEAT('x', 21) WHERE id BETWEEN 10 AND 19"]);
    }

    fn mend(&self) {
        self.source.run(&["UPDATE b SET v = CONCAT('row ', id)"]);
    }

    /// `head` stands before the task, `task` in it; the tables in this order.
    fn toml(&self, head: &str, task: &str, tables: &[&str]) -> String {
        let tables: String = tables
            .iter()
            .map(|t| {
                format!(
                    "[[task.table]]\nname = \"{t}\"\nsource = \"{t}\"\ndest = \"{t}\"\n\
                     app_resets_status = true\n"
                )
            })
            .collect();
        format!(
            "{}{}{head}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\n\
             batch_rows = 10\nslot_bytes = 65536\n{task}\n{tables}",
            self.source.link("src"),
            self.dest.link("dst")
        )
    }

    fn scheduled(&self, kind: &str, task: &str) -> Instance {
        let head = format!("[[schedule]]\nid = 3\nevery = \"1h\"\nkind = \"{kind}\"\n");
        Instance::new(&self.toml(&head, &format!("schedule = 3\n{task}"), &["a", "b", "c"]))
    }

    /// Rows of a source table by state.
    fn states(&self, table: &str) -> Vec<(i64, i64)> {
        let sql = format!(
            "SELECT sync_status, COUNT(*) FROM {table} GROUP BY sync_status ORDER BY sync_status"
        );
        let pair = |row: Row| match row.as_slice() {
            [Cell::Int(state), Cell::Int(rows)] => (*state, *rows),
            other => panic!("{other:?}"),
        };
        self.source.rows(&sql, &[Holds::Int, Holds::Int]).into_iter().map(pair).collect()
    }

    fn in_state(&self, table: &str, state: i64) -> i64 {
        self.states(table).iter().find(|s| s.0 == state).map_or(0, |s| s.1)
    }

    fn landed(&self, table: &str) -> i64 {
        self.dest.number(&format!("SELECT COUNT(*) FROM {table}"))
    }
}

#[track_caller]
fn result(outcome: &Outcome, table: &str) -> String {
    outcome.table(table)["result"].as_str().unwrap().to_owned()
}

#[test]
fn a_refused_table_is_exit_code_2_only_where_no_other_has_run() {
    let scene = Scene::new();
    scene.dest.run(&["DROP TABLE b"]);
    let instance = Instance::new(&scene.toml("", "stop_on_error = false", &["a", "b", "c"]));
    let alone = instance.run(&["--task", "1", "--tables", "b", "--json"]).expect(2);
    assert_eq!(result(&alone, "b"), "failed");
    assert_eq!(scene.landed("a") + scene.landed("c"), 0);
    // Not started because of it: still nothing was moved.
    instance.apply(&scene.toml("", "", &["b", "a"]));
    let first = instance.run(&RUN).expect(2);
    assert_eq!(result(&first, "a"), "not_started");
    // Others of the task have landed.
    instance.apply(&scene.toml("", "stop_on_error = false", &["a", "b", "c"]));
    let some = instance.run(&RUN).expect(1);
    assert_eq!(some.count("a", "landed") + some.count("c", "landed"), 2 * ROWS as u64);
    assert_eq!(result(&some, "b"), "failed");
    // And where they have nothing more to send, they have run all the same.
    instance.run(&RUN).expect(1);
}

#[test]
fn tables_run_in_their_order_so_that_children_find_their_parents() {
    for (order, orphans) in [(["c", "a"], 0), (["a", "c"], ROWS as u64)] {
        let scene = Scene::new();
        // `a` is the child, `c` its parent: the alphabet does not help.
        scene.dest.run(&["ALTER TABLE a ADD FOREIGN KEY (id) REFERENCES c (id)"]);
        let instance = Instance::new(&scene.toml("", "", &order));
        // Named in another order, they still run in theirs.
        let args = ["--task", "1", "--tables", "a,c", "--json"];
        let mut run = instance.start(&args, "writer.before_fence@1=pause");
        run.reached("writer.before_fence").expect("a batch of the first");
        assert!(scene.in_state(order[0], 1) > 0);
        assert_eq!(scene.states(order[1]), [(0, ROWS)], "the second has to wait");
        instance.release("writer.before_fence");
        let outcome = run.wait();
        assert_eq!(outcome.count("a", "orphans") > 0, orphans > 0, "{outcome}");
        assert_eq!(outcome.code, Some(i32::from(orphans > 0)), "{outcome}");
        // Whoever came too early comes with the next run.
        instance.run(&args).expect(0);
        assert_eq!((scene.landed("a"), scene.landed("c")), (ROWS, ROWS));
    }
}

#[test]
fn only_the_tables_asked_for_run() {
    let scene = Scene::new();
    let instance = Instance::new(&scene.toml("", "", &["a", "b", "c"]));
    let outcome = instance.run(&["--task", "1", "--tables", "b", "--json"]).expect(0);
    assert_eq!(outcome.stdout.matches("\"kind\":\"table\"").count(), 1, "{outcome}");
    assert_eq!(["a", "b", "c"].map(|t| scene.landed(t)), [0, ROWS, 0]);
    assert_eq!(scene.states("a"), [(0, ROWS)]);
    let unknown = instance.run(&["--task", "1", "--tables", "b,x"]).expect(2);
    assert!(unknown.stderr.contains("has no table x"), "{unknown}");
    assert_eq!(["a", "b", "c"].map(|t| scene.landed(t)), [0, ROWS, 0]);
}

#[test]
fn a_failed_table_stops_those_after_it_unless_told_otherwise() {
    for (line, stops) in
        [("", true), ("stop_on_error = true", true), ("stop_on_error = false", false)]
    {
        let scene = Scene::new();
        scene.spoil();
        let instance = Instance::new(&scene.toml("", line, &["a", "b", "c"]));
        let outcome = instance.run(&RUN).expect(1);
        assert_eq!(result(&outcome, "a"), "done", "{outcome}");
        assert_eq!(result(&outcome, "b"), "failed", "{outcome}");
        assert_eq!(scene.states("a"), [(2, ROWS)]);
        if stops {
            assert_eq!(result(&outcome, "c"), "not_started", "{outcome}");
            let notes = outcome.table("c")["notes"].to_string();
            assert!(notes.contains("because of table b"), "{outcome}");
            assert_eq!(scene.states("c"), [(0, ROWS)], "{outcome}");
        } else {
            assert_eq!(result(&outcome, "c"), "done", "{outcome}");
            assert_eq!(scene.states("c"), [(2, ROWS)], "{outcome}");
        }
        // Nobody suspends it, and nothing is left half done.
        assert_eq!(scene.in_state("b", 1), 0, "{outcome}");
        scene.mend();
        instance.run(&["retry", "--task", "1", "--json"]).expect(0);
        assert_eq!(["a", "b", "c"].map(|t| scene.landed(t)), [ROWS; 3]);
    }
}

/// What can be seen of `b`: each row with its state, and what has landed.
fn picture(scene: &Scene) -> (Vec<Row>, Vec<Row>) {
    let holds = [Holds::Int, Holds::Int];
    (
        scene.source.rows("SELECT id, sync_status FROM b ORDER BY id", &holds),
        scene.dest.rows("SELECT id, 0 FROM b ORDER BY id", &holds),
    )
}

#[test]
fn a_failed_real_time_task_keeps_its_scene_and_waits_for_an_operator() {
    // Tables after it do not start, whatever is configured.
    for line in ["", "stop_on_error = false"] {
        let scene = Scene::new();
        scene.spoil();
        let instance = scene.scheduled("realtime", line);
        let outcome = instance.run(&RUN).expect(1);
        assert_eq!(result(&outcome, "b"), "failed", "{outcome}");
        assert_eq!(result(&outcome, "c"), "not_started", "{outcome}");
        let notes = outcome.table("b")["notes"].to_string();
        assert!(notes.contains("suspended") && notes.contains("ssync resume 1"), "{outcome}");
        // The bad row is marked; what was under way is still marked so.
        assert_eq!(scene.in_state("b", 3), 1, "{outcome}");
        assert!(scene.in_state("b", 1) >= 9, "{:?}: {outcome}", scene.states("b"));
        assert_eq!(scene.states("c"), [(0, ROWS)]);
        let before = picture(&scene);

        // It does not run again, by whatever road, and nothing moves.
        for args in [
            &["--task", "1"][..],
            &["--task", "1", "--json"],
            &["--task", "1", "--tables", "a,c"],
            &["--task", "1", "--restart"],
            &["retry", "--task", "1"],
        ] {
            let refused = instance.run(args).expect(130);
            assert!(refused.stderr.contains("task 1 is suspended since"), "{args:?}: {refused}");
            assert!(refused.stderr.contains("ssync resume 1"), "{args:?}: {refused}");
            assert_eq!(picture(&scene), before, "{args:?}: {refused}");
            assert_eq!(scene.states("c"), [(0, ROWS)], "{args:?}: {refused}");
        }
        let status = instance.run(&["status"]).expect(1);
        assert!(status.stdout.contains("suspended"), "{status}");
        let errors = instance.run(&["errors", "--task", "1"]).expect(0);
        assert!(errors.stdout.contains("id=1"), "{errors}");
        let shown = instance.run(&["show", "1"]).expect(0);
        let under_way = format!("{} under way", scene.in_state("b", 1));
        for part in ["suspended since", "1 bad row, 0 allowed", &under_way, "bad row id=1"] {
            assert!(shown.stdout.contains(part), "{part:?} is not in {shown}");
        }

        scene.mend();
        instance.run(&["resume", "1"]).expect(0);
        // Resumed, it does what it did before: what was left under way goes, what is bad stays.
        let outcome = instance.run(&RUN).expect(1);
        assert_eq!(result(&outcome, "b"), "done_with_errors", "{outcome}");
        assert_eq!(scene.states("b"), [(2, ROWS - 1), (3, 1)], "{outcome}");
        instance.run(&["retry", "--task", "1"]).expect(0);
        assert_eq!(["a", "b", "c"].map(|t| scene.landed(t)), [ROWS; 3]);
        assert_eq!(scene.states("b"), [(2, ROWS)]);
    }
}

#[test]
fn a_failed_timed_task_tidies_up_and_tries_again() {
    let scene = Scene::new();
    scene.spoil();
    let instance = scene.scheduled("timed", "");
    for _ in 0..2 {
        let outcome = instance.run(&RUN).expect(1);
        assert_eq!(result(&outcome, "b"), "failed", "{outcome}");
        assert_eq!(scene.in_state("b", 1), 0, "{outcome}");
    }
    scene.mend();
    instance.run(&["retry", "--task", "1"]).expect(0);
    assert_eq!(["a", "b", "c"].map(|t| scene.landed(t)), [ROWS; 3]);
}

#[test]
fn neither_ctrl_c_nor_a_table_in_other_hands_suspends_a_real_time_task() {
    let scene = Scene::new();
    let instance = scene.scheduled("realtime", "");
    let mut run = instance.start(&RUN, "writer.before_commit@2=pause");
    run.reached("writer.before_commit").expect("the second batch");
    let second = instance.run(&RUN).expect(1);
    assert_eq!(result(&second, "a"), "locked", "{second}");
    run.signal(Signal::SIGINT);
    wait_for("the signal", || instance.logs().contains(" received"));
    instance.release("writer.before_commit");
    run.wait().expect(130);
    assert_eq!(scene.in_state("a", 1), 0);
    instance.run(&RUN).expect(0);
    assert_eq!(["a", "b", "c"].map(|t| scene.landed(t)), [ROWS; 3]);
}

#[test]
fn every_table_that_ran_leaves_its_times_unless_that_is_turned_off() {
    let times = |instance: &Instance| -> Vec<(String, i64, String)> {
        let store = rusqlite::Connection::open(instance.home().join("ssync.db")).unwrap();
        let sql = "SELECT table_name, row_count, result FROM proc_use_times ORDER BY table_name";
        let mut statement = store.prepare(sql).unwrap();
        let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap();
        rows.map(|r| r.unwrap()).collect()
    };
    let scene = Scene::new();
    scene.spoil();
    let instance = Instance::new(&scene.toml("", "", &["a", "b", "c"]));
    instance.run(&RUN).expect(1);
    let row = |table: &str, rows: i64, result: &str| (table.to_owned(), rows, result.to_owned());
    assert_eq!(times(&instance), [row("a", ROWS, "done"), row("b", scene.landed("b"), "failed")]);
    let silent = Instance::new(&scene.toml("", "record_use_times = false", &["c"]));
    silent.run(&RUN).expect(0);
    assert_eq!(scene.landed("c"), ROWS);
    assert_eq!(times(&silent), []);
}
