//! Pausing one table, or a task, while it is being transferred (A4).

use serde_json::Value;
use ssync_common::store::HoldKind;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};
use ssync_tests::wait_for;

pub const ROWS: i64 = 200;
/// Somewhere in the midst of the first table, a batch about to be committed.
const MID_RUN: &str = "writer.before_commit@4=pause";
const POINT: &str = "writer.before_commit";

/// Two tables of one task, between two SQLite files.
pub struct Pair {
    pub source: Site,
    pub dest: Site,
    pub instance: Instance,
}

impl Pair {
    pub fn new() -> Pair {
        let instance = Instance::new("");
        let source = Site::in_file(instance.scratch(), "source");
        let dest = Site::in_file(instance.scratch(), "dest");
        let mut toml = format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n\
             batch_rows = 10\nslot_bytes = 65536\n",
            source.link("src"),
            dest.link("dst")
        );
        for name in ["first", "second"] {
            source.run(&[
                format!(
                    "CREATE TABLE {name} (id BIGINT NOT NULL PRIMARY KEY, \
                     sync_status INT NOT NULL DEFAULT 0)"
                ),
                format!(
                    "INSERT INTO {name} (id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL \
                     SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i FROM n"
                ),
            ]);
            dest.run(&[format!("CREATE TABLE {name} (id BIGINT NOT NULL)")]);
            toml += &format!(
                "[[task.table]]\nname = \"{name}\"\nsource = \"{name}\"\ndest = \"{name}\"\n\
                 app_resets_status = true\n"
            );
        }
        instance.apply(&toml);
        Pair { source, dest, instance }
    }

    pub fn landed(&self, table: &str) -> i64 {
        let rows = self.dest.number(&format!("SELECT COUNT(*) FROM {table}"));
        let distinct = self.dest.number(&format!("SELECT COUNT(DISTINCT id) FROM {table}"));
        assert_eq!(rows, distinct, "{table} has doubled rows");
        rows
    }

    fn in_state(&self, table: &str, state: u8) -> i64 {
        self.source.number(&format!("SELECT COUNT(*) FROM {table} WHERE sync_status = {state}"))
    }

    /// Waits until the run has seen the pause, while its writer stands still; then lets it go on.
    #[track_caller]
    fn release_when_seen(&self, words: &str) {
        wait_for(words, || self.instance.logs().contains(words));
        self.instance.release(POINT);
    }

    /// Paused in mid-run: what landed is settled, nothing is left under way, nothing is held.
    #[track_caller]
    fn assert_at_rest_within(&self, table: &str) {
        let landed = self.landed(table);
        assert!((10..ROWS).contains(&landed), "{landed} rows of {table} landed");
        assert_eq!(self.in_state(table, 2), landed);
        assert_eq!(self.in_state(table, 0), ROWS - landed);
        assert_eq!(self.instance.leftovers(), Vec::<String>::new());
    }
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(outcome.stdout.trim()).unwrap_or_else(|e| panic!("{e}\n{outcome}"))
}

fn result(outcome: &Outcome, table: &str) -> String {
    outcome.table(table)["result"].as_str().unwrap().to_owned()
}

#[test]
fn one_table_pauses_between_batches_and_no_other_is_touched() {
    let pair = Pair::new();
    let mut run = pair.instance.start(&["--task", "1", "--json"], MID_RUN);
    run.reached(POINT).expect("the fourth batch");
    // The batch is not through: the answer says so, and by whom it is held up.
    let early = pair.instance.run(&["pause", "1", "first", "--wait", "0", "--json"]).expect(1);
    let early = json(&early);
    assert_eq!((&early["held"], &early["changed"]), (&true.into(), &true.into()));
    assert_eq!(early["under_way"][0]["table"], "first");
    assert!(early["under_way"][0]["owner"].as_str().unwrap().contains(&run.pid().to_string()));
    pair.release_when_seen("table first is paused since");
    let again = json(&pair.instance.run(&["pause", "1", "first", "--json"]).expect(0));
    assert_eq!((&again["changed"], &again["under_way"]), (&false.into(), &Value::Array(vec![])));

    let outcome = run.wait().expect(130);
    assert_eq!(result(&outcome, "first"), "paused", "{outcome}");
    assert_eq!(result(&outcome, "second"), "done", "{outcome}");
    assert_eq!(pair.landed("second"), ROWS);
    pair.assert_at_rest_within("first");

    // Held, it is left out; resumed, the rest goes.
    let before = pair.landed("first");
    let outcome = pair.instance.run(&["--task", "1", "--json"]).expect(130);
    assert!(outcome.stderr.contains("first is left out: paused since"), "{outcome}");
    assert_eq!(result(&outcome, "first"), "paused", "{outcome}");
    assert_eq!(result(&outcome, "second"), "done", "{outcome}");
    assert_eq!(pair.landed("first"), before);
    pair.instance.run(&["resume", "1", "first"]).expect(0);
    pair.instance.run(&["--task", "1"]).expect(0);
    assert_eq!((pair.landed("first"), pair.in_state("first", 2)), (ROWS, ROWS));
}

#[test]
fn the_daemon_runs_the_other_tables_and_says_which_one_is_paused() {
    let pair = Pair::new();
    pair.instance.run(&["pause", "1", "first", "--reason", "moving house"]).expect(0);
    let daemon = pair.instance.start(&["daemon"], "");
    wait_for("the daemon", || pair.instance.run(&["reload"]).code == Some(0));
    let outcome = json(&pair.instance.run(&["run", "1", "--wait", "--json"]).expect(130));
    let words = outcome["outcome"].as_str().unwrap();
    let said = format!("{ROWS} rows landed; table first is paused since ");
    assert!(words.starts_with(&said) && words.contains("moving house"), "{outcome}");
    assert_eq!((pair.landed("first"), pair.landed("second")), (0, ROWS));
    let explained = json(&pair.instance.run(&["explain", "1", "--json"]).expect(0));
    let last = explained["decisions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["what"], "done", "{explained}");
    pair.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
}

#[test]
fn a_paused_task_begins_no_further_table() {
    let pair = Pair::new();
    let mut run = pair.instance.start(&["--task", "1", "--json"], MID_RUN);
    run.reached(POINT).expect("the fourth batch");
    pair.instance.run(&["pause", "1", "--wait", "0", "--reason", "moving house"]).expect(1);
    pair.release_when_seen("task 1 is paused since");
    let outcome = run.wait().expect(130);
    for table in ["first", "second"] {
        assert_eq!(result(&outcome, table), "paused", "{outcome}");
        let error = outcome.table(table)["error"].to_string();
        assert!(error.contains("moving house") && error.contains("ssync resume 1"), "{error}");
    }
    assert_eq!(pair.landed("second"), 0);
    pair.assert_at_rest_within("first");
    pair.instance.run(&["resume", "1"]).expect(0);
    pair.instance.run(&["--task", "1"]).expect(0);
    assert_eq!((pair.landed("first"), pair.landed("second")), (ROWS, ROWS));
}

/// As when somebody pauses it from another host: nobody can poke the process.
#[test]
fn a_pause_is_found_in_the_configuration_database_without_being_told() {
    let pair = Pair::new();
    let mut run = pair.instance.start(&["--task", "1", "--json"], MID_RUN);
    run.reached(POINT).expect("the fourth batch");
    pair.instance.store().hold(1, Some("first"), HoldKind::Paused, None).unwrap();
    pair.release_when_seen("table first is paused since");
    let outcome = run.wait().expect(130);
    assert_eq!(result(&outcome, "first"), "paused", "{outcome}");
    pair.assert_at_rest_within("first");
}

/// Another command comes between what a command does and what it answers.
fn answered(pair: &Pair, command: &[&str], point: &str, between: &[&str]) -> Outcome {
    pair.instance.forget_failpoints();
    let mut asked = pair.instance.start(command, &format!("{point}@1=pause"));
    asked.reached(point).unwrap_or_else(|| panic!("{}", pair.instance.logs()));
    pair.instance.run(between).expect(0);
    pair.instance.release(point);
    asked.wait()
}

#[test]
fn a_pause_and_a_resumption_do_not_claim_what_another_command_has_undone() {
    let pair = Pair::new();
    for part in [&["1"][..], &["1", "first"]] {
        let of = |verb: &'static str| [&[verb], part].concat();
        let paused = answered(&pair, &of("pause"), "pause.held", &of("resume")).expect(1);
        assert!(paused.stdout.contains("has been resumed meanwhile"), "{paused}");
        assert!(!paused.stdout.contains(" is paused"), "{paused}");
        assert_eq!(pair.instance.store().holds(None).unwrap(), []);
        pair.instance.run(&of("pause")).expect(0);
        let resumed = answered(&pair, &of("resume"), "resume.released", &of("pause")).expect(1);
        assert!(resumed.stdout.contains("has been held again meanwhile"), "{resumed}");
        assert!(!resumed.stdout.contains("may run again"), "{resumed}");
        // Whoever finds it held is told since when and why.
        let again = pair.instance.run(&of("pause")).expect(0);
        assert!(again.stdout.contains("was held already: paused since "), "{again}");
        pair.instance.run(&of("resume")).expect(0);
    }
    let json_of = |command: &[&str], point, between: &[&str]| {
        json(&answered(&pair, &[command, &["--json"]].concat(), point, between).expect(1))
    };
    let paused = json_of(&["pause", "1"], "pause.held", &["resume", "1"]);
    assert_eq!((&paused["held"], &paused["changed"]), (&false.into(), &true.into()));
    pair.instance.run(&["pause", "1"]).expect(0);
    let resumed = json_of(&["resume", "1"], "resume.released", &["pause", "1"]);
    assert_eq!((&resumed["held"], &resumed["changed"]), (&true.into(), &true.into()));
}

/// Not one of them has failed; and not all that was asked for has been done.
#[test]
fn whatever_is_held_of_what_is_asked_for_is_the_same_exit_code() {
    let pair = Pair::new();
    let run = |args: &[&str]| pair.instance.run(args);
    run(&["pause", "1", "first"]).expect(0);
    let one = run(&["--task", "1", "--tables", "first", "--json"]).expect(130);
    assert_eq!(json(&one)["error"]["kind"], "Paused", "{one}");
    assert!(one.stderr.contains("ssync resume 1 --tables first"), "{one}");
    run(&["--task", "1"]).expect(130);
    run(&["retry", "1", "--tables", "first"]).expect(130);
    run(&["pause", "1", "second"]).expect(0);
    let both = run(&["--task", "1"]).expect(130);
    run(&["resume", "1", "--tables", "first,second"]).expect(0);
    assert!(both.stderr.contains("ssync resume 1 --tables first,second"), "{both}");
    run(&["pause", "1"]).expect(0);
    let whole = run(&["--task", "1", "--json"]).expect(130);
    assert_eq!(json(&whole)["error"]["kind"], "Paused", "{whole}");
    let daemon = pair.instance.start(&["daemon"], "");
    wait_for("the daemon", || run(&["reload"]).code == Some(0));
    run(&["run", "1", "--wait"]).expect(130);
    run(&["resume", "1"]).expect(0);
    run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    run(&["--task", "1"]).expect(0);
}
