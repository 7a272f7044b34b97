//! Batches and writers fit what the databases can take: smaller batches where rows are slow, fewer
//! writers where more land no more. Triggers make the rows slow.

use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Holds, Site, differences};
use ssync_tests::ssync::{Instance, Outcome};

/// Every row takes so long by itself.
const SLOW: &str = "DO SLEEP(0.002)";
/// Longer, and one row at a time over all sessions.
const ONE_AT_A_TIME: &str =
    "BEGIN DO GET_LOCK(DATABASE(), 60); DO SLEEP(0.04); DO RELEASE_LOCK(DATABASE()); END";
const STATUS: &str = "app_resets_status = true";
const FULL: &str = "mode = \"full\"";

struct Pair {
    source: Site,
    dest: Site,
    instance: Instance,
}

impl Pair {
    fn new(rows: u32, task: &str, table: &str) -> Pair {
        let (source, dest) = (Site::on_server(mariadb(), "fit"), Site::on_server(mariadb(), "fit"));
        source.run(&[
            "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40), \
             sync_status TINYINT NOT NULL DEFAULT 0)",
            &format!("INSERT INTO t (id, v) SELECT seq, MD5(seq) FROM seq_1_to_{rows}"),
        ]);
        // Without a key: nothing hides a row that comes twice.
        dest.run(&["CREATE TABLE t (id BIGINT NOT NULL, v VARCHAR(40))"]);
        let toml = format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\n{task}\n[[task.table]]\n\
             name = \"t\"\nsource = \"t\"\ndest = \"t\"\nallow_triggers = true\n{table}\n",
            source.link("src"),
            dest.link("dst")
        );
        Pair { source, dest, instance: Instance::new(&toml) }
    }

    fn slow_inserts(&self, how: &str) {
        self.dest.run(&[format!("CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW {how}")]);
    }

    /// Sends what is to be sent.
    #[track_caller]
    fn send(&self) -> Outcome {
        let outcome = self.instance.run(&["--task", "1", "--json"]).expect(0);
        self.assert_same();
        outcome
    }

    #[track_caller]
    fn assert_same(&self) {
        let sql = "SELECT id, v FROM t";
        let holds = [Holds::Text; 2];
        let differing = differences(&self.source.rows(sql, &holds), &self.dest.rows(sql, &holds));
        assert!(differing.is_empty(), "{}", differing.join("\n"));
    }

    /// Rows of the last run's batches, in order.
    fn batches(&self) -> Vec<i64> {
        let sql = "SELECT row_count FROM SSYNC_LEDGER WHERE row_count > 0 ORDER BY pos";
        self.dest
            .rows(sql, &[Holds::Int])
            .into_iter()
            .map(|row| match row[0] {
                Cell::Int(n) => n,
                ref other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[track_caller]
fn notes(outcome: &Outcome) -> String {
    outcome.table("t")["notes"].to_string()
}

#[test]
fn batches_get_smaller_where_the_destination_is_slow() {
    // At 2 ms a row, some 50 make 100 ms; the first batches take 800.
    let pair = Pair::new(5000, "batch_rows = 400\nbatch_millis = 100", FULL);
    pair.slow_inserts(SLOW);
    let outcome = pair.send();
    let batches = pair.batches();
    assert_eq!(batches[0], 400, "{batches:?}");
    let smallest = *batches[..batches.len() - 1].iter().min().unwrap();
    // On a busy machine a row takes longer; a hundredth of what is configured would be 4.
    assert!((5..=60).contains(&smallest), "{batches:?}");
    assert!(notes(&outcome).contains("rows at last: 400 would take longer than 100 ms"));
}

/// One statement reads them all, and batches are cut from what it gives.
#[test]
fn batches_of_rows_without_a_key_get_smaller_too() {
    let pair = Pair::new(5000, "batch_rows = 400\nbatch_millis = 100", FULL);
    pair.source.run(&["ALTER TABLE t DROP PRIMARY KEY"]);
    pair.slow_inserts(SLOW);
    pair.send();
    let batches = pair.batches();
    assert!(*batches[..batches.len() - 1].iter().min().unwrap() <= 60, "{batches:?}");
}

#[test]
fn claims_get_smaller_where_the_source_is_slow() {
    let pair = Pair::new(1500, "batch_rows = 400\nbatch_millis = 100", STATUS);
    pair.source.run(&[format!("CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW {SLOW}")]);
    let outcome = pair.send();
    assert_eq!(pair.source.number("SELECT COUNT(*) FROM t WHERE sync_status <> 2"), 0);
    assert!(notes(&outcome).contains("400 would take longer"), "{outcome}");
}

#[test]
fn quick_databases_get_what_is_configured() {
    let pair = Pair::new(2000, "batch_rows = 400\nwriters = 3", FULL);
    let outcome = pair.send();
    assert_eq!(pair.batches(), [400; 5]);
    assert_eq!(notes(&outcome), "[]");
}

#[test]
fn writers_that_bring_nothing_get_no_work() {
    let pair = Pair::new(100, "batch_rows = 1\nwriters = 6", FULL);
    pair.slow_inserts(ONE_AT_A_TIME);
    // Speeds are compared: when something else takes the machine just then, three writers look slow.
    let finds_out = |notes: &String| notes.contains("of 6 writers at last: more landed no more");
    let mut told = Vec::new();
    while !told.last().is_some_and(finds_out) {
        assert!(told.len() < 20, "{told:?}\n{}", pair.instance.logs());
        told.push(notes(&pair.send()));
    }
}

#[test]
fn writers_that_bring_something_all_work() {
    let pair = Pair::new(1200, "batch_rows = 2\nwriters = 6", FULL);
    pair.slow_inserts("DO SLEEP(0.01)");
    let outcome = pair.send();
    assert_eq!(notes(&outcome), "[]", "{outcome}\n{}", pair.instance.logs());
    // It did try fewer.
    assert!(pair.instance.logs().contains("3 of 6 writers work"), "{}", pair.instance.logs());
}

/// Killed again and again while sizes change: every row lands once, whatever batch it was in.
#[test]
fn sizes_that_change_are_no_matter_to_a_crash() {
    for (table, slow_at_source) in [(STATUS, true), (FULL, false), (STATUS, false)] {
        let task = "batch_rows = 200\nbatch_millis = 40\nwriters = 3\nreaders = 2";
        let pair = Pair::new(3000, task, table);
        match slow_at_source {
            true => pair
                .source
                .run(&[format!("CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW {SLOW}")]),
            false => pair.slow_inserts(SLOW),
        }
        for failpoints in [
            "writer.after_commit@3=kill;settler.after_settle@5=kill-group",
            "writer.before_commit@2=kill-group",
            "reader.after_fill@4=kill-group",
            "writer.after_commit@4=kill-group",
        ] {
            let outcome = pair.instance.run_with(&["--task", "1", "--json"], failpoints);
            assert_ne!(outcome.code, Some(0), "{table} {failpoints}: {outcome}");
        }
        let outcome = pair.send();
        assert!(notes(&outcome).contains("resumed"), "{table}: {outcome}");
        if table == STATUS {
            assert_eq!(pair.source.number("SELECT COUNT(*) FROM t WHERE sync_status <> 2"), 0);
        }
    }
}
