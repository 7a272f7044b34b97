//! Values that do not open, more of them in one batch than a verdict has room for: every row is
//! recorded, none is sent, and no writer dies of it.

use ssync_common::store::ErrorFilter;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::Instance;

use super::{RUN, error_of};

/// Far more rows than one verdict can name.
const ROWS: i64 = 3000;

struct Scene {
    source: Site,
    dest: Site,
    instance: Instance,
    /// Rows that do not open.
    bad: i64,
}

impl Scene {
    /// Every row does not open, or every second one; the others hold NULL, which opens.
    fn new(source: Site, dest: Site, every_second: bool, mode: &str, limit: &str) -> Scene {
        source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, a VARCHAR(200), \
             sync_status INT DEFAULT 0 NOT NULL)"]);
        dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL, a VARCHAR(200))"]);
        let value = |id: i64| match every_second && id % 2 == 1 {
            true => Cell::Null,
            false => Cell::Text("not an envelope".to_owned()),
        };
        let rows: Vec<Row> = (0..ROWS).map(|id| vec![Cell::Int(id), value(id)]).collect();
        source.insert("src", &["id", "a"], &rows);
        let instance = Instance::new("");
        let file = instance.scratch().join("pii.key");
        instance.run(&["key", "new", "pii", "--out", file.to_str().unwrap()]).expect(0);
        instance.apply(&format!(
            "[[key]]\nname = \"pii\"\nsecret = {{ file = \"{}\" }}\n{}{}[[task]]\nid = 1\n\
             source = \"src\"\ndest = \"dst\"\nbatch_millis = 3600000\nerror_limit = {limit}\n\
             [[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\nkey = [\"id\"]\n\
             decrypt = {{ a = \"pii\" }}\n{mode}\n",
            file.display(),
            source.link("src"),
            dest.link("dst")
        ));
        let bad = if every_second { ROWS / 2 } else { ROWS };
        Scene { source, dest, instance, bad }
    }

    fn in_state(&self, state: i64) -> i64 {
        self.source.number(&format!("SELECT COUNT(*) FROM src WHERE sync_status = {state}"))
    }

    fn landed(&self) -> i64 {
        self.dest.number("SELECT COUNT(*) FROM dst")
    }

    /// Keys of the recorded rows, each once.
    fn recorded(&self) -> i64 {
        let rows = self.instance.store().errors(&ErrorFilter::default()).unwrap();
        let keys: std::collections::BTreeSet<_> = rows.iter().map(|row| row.key_text()).collect();
        assert_eq!(keys.len(), rows.len());
        assert!(rows.iter().all(|row| row.column.as_deref() == Some("a")), "{:?}", rows.first());
        keys.len() as i64
    }

    #[track_caller]
    fn all_are_recorded(&self, status: bool) {
        assert_eq!(self.recorded(), self.bad);
        assert_eq!(self.landed(), ROWS - self.bad);
        if status {
            assert_eq!(self.in_state(3), self.bad);
            assert_eq!(self.in_state(2), ROWS - self.bad);
        }
    }
}

const STATUS: &str = "app_resets_status = true";
const FULL: &str = "mode = \"full\"";

fn on_mariadb(every_second: bool, mode: &str, limit: &str) -> Scene {
    let site = || Site::on_server(mariadb(), "unopened");
    Scene::new(site(), site(), every_second, mode, limit)
}

fn all_bad(make: impl Fn(&str, &str) -> Scene) {
    for mode in [STATUS, FULL] {
        let scene = make(mode, "5000");
        let outcome = scene.instance.run(&RUN).expect(1);
        assert_eq!(outcome.table("t")["result"], "done_with_errors", "{mode}: {outcome}");
        scene.all_are_recorded(mode == STATUS);
        assert!(!scene.instance.logs().contains("ended: exit"), "a writer died");

        let scene = make(mode, "0");
        let outcome = scene.instance.run(&RUN).expect(1);
        let (kind, text) = error_of(&outcome);
        assert!(kind == "Data" && text.contains("1 bad row, 0 allowed"), "{outcome}");
        let shown = scene.instance.run(&["errors"]);
        assert!(shown.stdout.contains("id=0") && shown.stdout.contains("column a"), "{shown}");
        let shown = scene.instance.run(&["show", "1"]).expect(0);
        let line = shown.stdout.lines().find(|l| l.contains("bad row id=0")).unwrap_or_default();
        assert_eq!(line.matches("column a").count(), 1, "{shown}");
        assert_eq!((scene.recorded(), scene.landed()), (1, 0));
        if mode == STATUS {
            assert_eq!((scene.in_state(3), scene.in_state(1)), (1, 0));
        }
    }
}

#[test]
fn thousands_of_values_that_do_not_open_are_all_recorded_mariadb() {
    all_bad(|mode, limit| on_mariadb(false, mode, limit));
}

#[test]
fn thousands_of_values_that_do_not_open_are_all_recorded_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let next = std::cell::Cell::new(0);
    all_bad(|mode, limit| {
        next.set(next.get() + 1);
        let file = |side: &str| Site::in_file(dir.path(), &format!("{side}{}", next.get()));
        Scene::new(file("src"), file("dst"), false, mode, limit)
    });
}

/// A writer dies when every part has landed, before it can say which: the bad rows that are left
/// lie apart from each other, between rows that are done.
#[test]
fn bad_rows_between_landed_ones_are_recorded_after_a_writer_died() {
    let scene = on_mariadb(true, STATUS, "5000");
    let outcome = scene.instance.run_with(&RUN, "writer.before_answer@1=kill").expect(1);
    assert!(scene.instance.has_fired("writer.before_answer", "1"));
    assert_eq!(outcome.table("t")["result"], "done_with_errors", "{outcome}");
    scene.all_are_recorded(true);
}
