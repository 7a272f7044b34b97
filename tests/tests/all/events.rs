//! What people are told: events, the reminder log, receivers, the monitor, the brief.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use ssync_common::error::Kind;
use ssync_common::event::{
    Event, Severity, TableEnd, TableOutcome, What, events_between, tables_between,
};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

/// A value that must never be seen outside the databases.
const VALUE: &str = "secret-row-value";

/// Two tables of a task: `good`, of whose rows all can go, and `bad`, whose second row the
/// destination refuses.
struct Shop {
    instance: Instance,
}

impl Shop {
    /// With more settings, of the task and of the whole.
    fn new(task: &str, more: &str) -> Shop {
        let instance = Instance::new("");
        let (from, to) =
            (Site::in_file(instance.scratch(), "from"), Site::in_file(instance.scratch(), "to"));
        for table in ["good", "bad"] {
            from.run(&[
                format!(
                    "CREATE TABLE {table} (id INTEGER PRIMARY KEY, v TEXT, \
                     sync_status INTEGER NOT NULL DEFAULT 0)"
                ),
                format!("INSERT INTO {table} (id, v) VALUES (1, 'a'), (2, '{VALUE}'), (3, 'c')"),
            ]);
        }
        to.run(&[
            "CREATE TABLE good (id INTEGER PRIMARY KEY, v TEXT)",
            "CREATE TABLE bad (id INTEGER PRIMARY KEY, v TEXT CHECK (length(v) < 5))",
        ]);
        let table = |name: &str| {
            format!(
                "[[task.table]]\nname = \"{name}\"\nsource = \"{name}\"\ndest = \"{name}\"\n\
                 app_resets_status = true\n"
            )
        };
        let config = format!(
            "{}{}{more}\n[[schedule]]\nid = 1\nevery = \"1h\"\nkind = \"realtime\"\n\
             [[task]]\nid = 7\nsource = \"from\"\ndest = \"to\"\nwriters = 1\n{task}\n{}{}",
            from.link("from"),
            to.link("to"),
            table("good"),
            table("bad"),
        );
        instance.apply(&config);
        Shop { instance }
    }

    fn events(&self) -> Vec<Event> {
        let all = (Timestamp::UNIX_EPOCH, Timestamp::now() + jiff::Span::new().hours(1));
        events_between(&self.instance.home(), all.0, all.1).unwrap()
    }

    fn tables(&self) -> Vec<TableEnd> {
        let all = (Timestamp::UNIX_EPOCH, Timestamp::now() + jiff::Span::new().hours(1));
        tables_between(&self.instance.home(), all.0, all.1).unwrap()
    }

    /// Panics when the value of a row stands in any file of the events or logs.
    fn assert_no_value(&self) {
        for dir in ["events", "logs"] {
            assert_absent(&self.instance.home().join(dir), VALUE);
        }
    }
}

/// Panics when `text` stands in a file under `dir`.
fn assert_absent(dir: &Path, text: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_absent(&path, text);
        } else {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains(text), "{}:\n{content}", path.display());
        }
    }
}

#[test]
fn a_finished_table_leaves_a_reminder_and_a_failed_one_an_event() {
    let shop = Shop::new("stop_on_error = false", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let tables = shop.tables();
    let brief: Vec<_> =
        tables.iter().map(|t| (t.table.as_str(), t.result, t.rows, t.bad_rows, t.error)).collect();
    let (done, failed) = (TableOutcome::Done, TableOutcome::Failed);
    assert_eq!(
        brief,
        [("good", done, 3, 0, None), ("bad", failed, tables[1].rows, 1, Some(Kind::Data))]
    );
    assert!(tables.iter().all(|t| t.task == 7 && t.run.is_some() && t.begin < t.end));
    assert!(tables[0].bytes > 0);
    let events = shop.events();
    let brief: Vec<_> =
        events.iter().map(|e| (e.what, e.severity, e.task, e.table.as_deref())).collect();
    assert_eq!(brief, [(What::TaskFailed, Severity::Error, Some(7), Some("bad"))]);
    assert_eq!(events[0].run, tables[1].run);
    assert!(events[0].text.starts_with("task 7, table bad failed: "), "{}", events[0].text);
    shop.assert_no_value();
}

#[test]
fn a_failed_task_of_a_realtime_schedule_is_suspended_and_said_to_be() {
    let shop = Shop::new("schedule = 1", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let whats: Vec<_> = shop.events().iter().map(|e| e.what).collect();
    assert_eq!(whats, [What::TaskFailed, What::TaskSuspended]);
    assert!(shop.events()[1].text.contains("ssync resume 7"));
    // Held: it does not even begin, so nothing is recorded anew.
    shop.instance.run(&["--task", "7"]).expect(1);
    assert_eq!((shop.events().len(), shop.tables().len()), (2, 2));
}

#[test]
fn bad_rows_within_the_limit_are_a_warning() {
    let shop = Shop::new("error_limit = 5", "");
    shop.instance.run(&["--task", "7"]).expect(1);
    let events = shop.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].what, events[0].severity), (What::RowsBad, Severity::Warning));
    assert!(events[0].text.contains("1 rows are bad"), "{}", events[0].text);
    assert_eq!(shop.tables()[1].result, TableOutcome::DoneWithErrors);
    shop.assert_no_value();
}

#[test]
fn a_spool_that_cannot_be_written_fails_no_run() {
    let shop = Shop::new("stop_on_error = false", "");
    // A file where the directory should be.
    fs::write(shop.instance.home().join("events"), "").unwrap();
    let ran = shop.instance.run(&["--task", "7", "--json"]).expect(1);
    assert_eq!(ran.count("good", "landed"), 3);
    assert!(shop.instance.logs().contains("could not record"), "{}", shop.instance.logs());
}
