//! What operators are told is as true as the rows: random scripts of runs that are killed,
//! interrupted, refused, given bad rows, begun anew. An observer counts from the databases alone
//! and from how the processes ended; everything that tells people of runs must agree with it:
//! `T_RUN`, `T_ATTEMPT`, `T_BATCH`, `proc_use_times`, `history`, `show`, `status`, `brief`,
//! `errors` and exit codes.
//!
//! - `SSYNC_TEST_TRUTH_CASES=500` runs so many cases (default [`CASES`]).
//! - `SSYNC_TEST_SEED=…` takes other ones.
//! - `SSYNC_TEST_TRUTH_CASE=17` runs one of them.

use std::collections::BTreeMap;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use ssync_tests::rng::{Rng, seed};
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Row, Site};
use ssync_tests::ssync::{Instance, Running};
use ssync_tests::{PATIENCE, wait_for};

/// Cases of a default run.
const CASES: u64 = 24;
/// What a case's chance has nothing in common with that of other tests.
const STREAM: u64 = 8_000_000;
/// Arguments of a run.
const RUN: [&str; 3] = ["--task", "1", "--json"];

/// Where a process is killed.
const POINTS: [&str; 13] = [
    "run.after_lock",
    "run.after_owner",
    "run.after_fence",
    "recover.after_settle",
    "run.after_begin",
    "run.after_rows",
    "run.before_finish",
    "run.after_finish",
    "reader.after_claim",
    "writer.before_commit",
    "writer.after_commit",
    "settler.before_settle",
    "settler.after_record",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Status,
    Full,
    Increment,
}

/// How a launch ended, as its process tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Failed,
    Interrupted,
    Died,
}

struct Case {
    mode: Mode,
    source: Site,
    dest: Site,
    instance: Instance,
    rng: Rng,
    next_id: i64,
    /// Whether the destination is called what the configuration says.
    there: bool,
    launches: Vec<End>,
    story: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Case {
    fn new(number: u64) -> Case {
        let mut rng = Rng::new(seed(), STREAM + number);
        let mode = *rng.pick(&[Mode::Status, Mode::Status, Mode::Full, Mode::Increment]);
        let dir = tempfile::tempdir().unwrap();
        let on_server = rng.chance(40);
        let site = |name: &str| match on_server {
            true => Site::on_server(mariadb(), "truth"),
            false => Site::in_file(dir.path(), name),
        };
        let (source, dest) = (site("src"), site("dst"));
        source
            .run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL, \
             sync_status INT DEFAULT 0 NOT NULL)"]);
        // No key, so that nothing hides a doubled row.
        dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(20) NOT NULL CHECK \
             (length(v) < 20))"]);
        let mode_lines = match mode {
            Mode::Status => "app_resets_status = true",
            Mode::Full => "mode = \"full\"",
            Mode::Increment => "mode = \"increment\"\nwatermark = { column = \"id\", lag = \"0\" }",
        };
        let toml = format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\nbatch_rows = 10\n\
             batch_millis = 3600000\nslot_bytes = 65536\nattempts = 1\nerror_limit = 1000\n[[task.table]]\nname = \"t\"\n\
             source = \"src\"\ndest = \"dst\"\n{mode_lines}\n",
            source.link("src"),
            dest.link("dst")
        );
        let instance = Instance::new(&toml);
        let mut case = Case {
            mode,
            source,
            dest,
            instance,
            rng,
            next_id: 0,
            there: true,
            launches: Vec::new(),
            story: vec![format!("{mode:?}, on a server: {on_server}")],
            _dir: dir,
        };
        case.add(80);
        case
    }

    fn add(&mut self, rows: i64) {
        let bad = if self.rng.chance(30) { self.rng.below(4) as i64 } else { 0 };
        let ids = self.next_id..self.next_id + rows;
        let rows: Vec<Row> = ids
            .map(|id| {
                let v = if id - self.next_id < bad { "x".repeat(30) } else { format!("row {id}") };
                vec![Cell::Int(id), Cell::Text(v)]
            })
            .collect();
        self.source.insert("src", &["id", "v"], &rows);
        self.next_id += rows.len() as i64;
        self.story.push(format!("{} rows, {bad} of them bad", rows.len()));
    }

    fn launch(&mut self, failpoints: &str, restart: bool) {
        let mut args = RUN.to_vec();
        args.extend(restart.then_some("--restart"));
        let run = self.start(&args, failpoints);
        self.ended(run, &format!("{} {failpoints}", args.join(" ")));
    }

    fn start(&self, args: &[&str], failpoints: &str) -> Running {
        let _ = std::fs::remove_dir_all(self.instance.home().join("failpoints"));
        self.instance.start(args, failpoints)
    }

    fn ended(&mut self, run: Running, what: &str) {
        let outcome = run.wait();
        self.instance.wait_until_dead();
        let end = match (outcome.signal, outcome.code) {
            (Some(_), _) => End::Died,
            (_, Some(0)) => End::Done,
            (_, Some(130)) => End::Interrupted,
            // Some rows are bad, and everything else is done.
            _ if outcome.table("t")["result"] == "done_with_errors" => End::Done,
            _ => End::Failed,
        };
        self.story.push(format!("ssync {what}: {end:?}\n{}", outcome.stdout));
        self.launches.push(end);
    }

    /// Somebody presses Ctrl-C in the middle, if there is one.
    fn interrupt(&mut self) {
        let mut run = self.start(&RUN, "writer.before_commit@2=pause");
        if run.reached("writer.before_commit").is_some() {
            run.signal(Signal::SIGINT);
            self.instance.release("writer.before_commit");
        }
        self.ended(run, "with Ctrl-C");
    }

    /// The configuration database answers nobody while the run is under way.
    fn launch_without_book(&mut self, failpoints: &str) {
        let mut run = self.start(&RUN, &format!("run.after_owner@1=pause;{failpoints}"));
        let Site::Sqlite(file) = self.book() else { return };
        let held = rusqlite::Connection::open(file).unwrap();
        if run.reached("run.after_owner").is_some() {
            held.busy_timeout(PATIENCE).unwrap();
            held.execute_batch("BEGIN EXCLUSIVE").unwrap();
            self.instance.release("run.after_owner");
        }
        self.ended(run, &format!("without its configuration database, {failpoints}"));
    }

    fn step(&mut self) {
        if self.rng.chance(60) {
            let rows = self.rng.below(40) as i64;
            self.add(rows);
        }
        if self.rng.chance(15) {
            let sql = if self.there { "dst RENAME TO away" } else { "away RENAME TO dst" };
            self.dest.run(&[format!("ALTER TABLE {sql}")]);
            self.there = !self.there;
            self.story.push(format!("the destination is there: {}", self.there));
        }
        let failpoints = match self.rng.below(10) {
            0..=5 => {
                let point = *self.rng.pick(&POINTS);
                let hit = match point.starts_with("run.") {
                    true => "*".to_owned(),
                    false => self.rng.between(1, 4).to_string(),
                };
                let whole = self.rng.chance(70) || !point.starts_with("writer.");
                format!("{point}@{hit}={}", if whole { "kill-group" } else { "kill" })
            }
            _ => String::new(),
        };
        if self.rng.chance(15) {
            return self.interrupt();
        }
        if self.rng.chance(10) && self.mode != Mode::Full {
            return self.launch_without_book(&failpoints);
        }
        let restart = self.rng.chance(10);
        self.launch(&failpoints, restart);
    }

    fn book(&self) -> Site {
        Site::Sqlite(self.instance.home().join("ssync.db"))
    }

    fn json(&self, args: &[&str]) -> Value {
        let outcome = self.instance.run(&[args, &["--json"]].concat());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {outcome}"))
    }

    /// Compares everything that tells of the runs with what is so.
    fn judge(&mut self) -> Result<(), String> {
        let brief = self.json(&["brief"])["brief"].take();
        let mut wrong = Vec::new();
        let mut same = |what: &str, told: i64, truth: i64| {
            if told != truth {
                wrong.push(format!("{what} says {told}, and {truth} is so"));
            }
        };
        let book = |sql: &str| self.book().number(&format!("SELECT COALESCE(({sql}), 0)"));
        let there = self.dest.number("SELECT COUNT(*) FROM dst");
        let history = self.json(&["history", "--limit", "1000"]);
        let runs = history["runs"].as_array().unwrap();
        let int = |v: &Value| v.as_i64().unwrap_or(-1);
        // A run is listed by its beginning, and may be resumed after another launch failed.
        let ended_last = |run: &&Value| run["end"].as_str().unwrap_or_default().to_owned();
        let last = runs.iter().max_by_key(ended_last).unwrap();
        // Those that had nothing to send are counted.
        let empty = history["empty"].as_array().unwrap();
        let none: i64 = empty.iter().map(|e| int(&e["runs"])).sum();
        let empty_last = empty.iter().map(|e| e["last_end"].as_str().unwrap()).max();
        let is_empty_last = empty_last.is_some_and(|end| end > last["end"].as_str().unwrap());
        let landed: i64 = runs.iter().map(|r| int(&r["counts"]["landed"])).sum();
        match self.mode {
            // Nothing is taken away there.
            Mode::Status | Mode::Increment => {
                same("history", landed, there);
                same("proc_use_times", book("SELECT SUM(row_count) FROM proc_use_times"), there);
                same("brief", int(&brief["rows"]), there);
            }
            Mode::Full => {
                same("history", int(&last["counts"]["landed"]), there);
                let told = book("SELECT SUM(row_count) FROM proc_use_times");
                same("proc_use_times", told, landed);
            }
        }
        if self.mode == Mode::Status {
            same("T_BATCH", book("SELECT SUM(row_count) FROM T_BATCH"), there);
            let failed = self.source.number("SELECT COUNT(*) FROM src WHERE sync_status = 3");
            same(
                "errors",
                self.json(&["errors", "--limit", "1000"])["errors"].as_array().unwrap().len()
                    as i64,
                failed,
            );
            // A row that was bad in a run that was given up may be so in another one.
            let bad: i64 = runs.iter().map(|r| int(&r["counts"]["failed"])).sum();
            if !runs.iter().any(|run| run["state"] == "abandoned") {
                same("bad rows of history", bad, failed);
            }
        }
        let mut ends: BTreeMap<&str, i64> = BTreeMap::from([("done", none)]);
        for run in runs {
            let attempts = run["attempts"].as_array().unwrap();
            same("attempt_count", int(&run["attempt_count"]), attempts.len() as i64);
            let of_attempts: i64 = attempts.iter().map(|a| int(&a["landed"])).sum();
            same("rows of attempts", of_attempts, int(&run["counts"]["landed"]));
            for attempt in attempts {
                *ends.entry(attempt["state"].as_str().unwrap()).or_default() += 1;
            }
        }
        for (word, end) in [
            ("done", End::Done),
            ("failed", End::Failed),
            ("interrupted", End::Interrupted),
            ("died", End::Died),
        ] {
            let truth = self.launches.iter().filter(|e| **e == end).count() as i64;
            same(&format!("attempts that are {word}"), *ends.get(word).unwrap_or(&0), truth);
        }
        let failures = self.launches.iter().filter(|e| **e == End::Failed).count() as i64;
        same("failed runs of the brief", int(&brief["failed_runs"]), failures);
        let newest = if is_empty_last { 0 } else { int(&last["counts"]["landed"]) };
        let show = self.json(&["show", "1"]);
        same("show", int(&show["tables"][0]["last_run"]["counts"]["landed"]), newest);
        let status = self.json(&["status"]);
        let status = &status["tables"][0];
        same("status", int(&status["last_run"]["counts"]["landed"]), newest);
        if self.mode == Mode::Status {
            let failed = self.source.number("SELECT COUNT(*) FROM src WHERE sync_status = 3");
            same("bad rows of status", int(&status["bad_rows"]), failed);
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{}\n{history:#}", wrong.join("\n"))),
        }
    }
}

/// Two files with tables `src` (so many rows) and `dst`, and a configuration with more entries, and
/// more lines for the task and the table.
fn house(dir: &Path, rows: i64, entries: &str, task: &str, table: &str) -> (Site, Instance) {
    let (source, dest) = (Site::in_file(dir, "src"), Site::in_file(dir, "dst"));
    source.run(&["CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(300) NOT NULL, \
         sync_status INT DEFAULT 0 NOT NULL)"]);
    dest.run(&["CREATE TABLE dst (id BIGINT NOT NULL, v VARCHAR(20) NOT NULL CHECK \
         (length(v) < 20))"]);
    let all: Vec<Row> = (0..rows).map(|id| vec![Cell::Int(id), Cell::Text("v".into())]).collect();
    source.insert("src", &["id", "v"], &all);
    let instance = Instance::new(&format!(
        "{entries}{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 2\n\
         batch_rows = 10\nbatch_millis = 3600000\nslot_bytes = 65536\n{task}\n[[task.table]]\n\
         name = \"t\"\nsource = \"src\"\ndest = \"dst\"\napp_resets_status = true\n{table}\n",
        source.link("src"),
        dest.link("dst"),
    ));
    (dest, instance)
}

fn json_of(instance: &Instance, args: &[&str]) -> Value {
    serde_json::from_str(&instance.run(&[args, &["--json"]].concat()).stdout).unwrap()
}

#[test]
fn a_launch_that_fails_before_its_run_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (dest, instance) = house(dir.path(), 30, "", "attempts = 1", "");
    instance.run(&RUN).expect(0);
    dest.run(&["ALTER TABLE dst RENAME TO away"]);
    instance.run(&RUN).expect(2);
    let reason = "destination table dst does not exist";
    let told = |what: &str, text: &str| assert!(text.contains(reason), "{what}: {text}");
    let history = json_of(&instance, &["history", "--failed"]);
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history}");
    told("history", &history["runs"][0]["error"]["message"].to_string());
    assert_eq!(history["runs"][0]["attempts"][0]["state"], "failed");
    assert!(history["runs"][0]["seconds"].as_f64().unwrap() > 0.0, "{history}");
    for command in [&["history"][..], &["show", "1"], &["status"], &["health"]] {
        told(command[0], &instance.run(command).stdout);
    }
    assert_eq!(instance.run(&["health"]).code, Some(2));
    let brief = json_of(&instance, &["brief"]);
    assert_eq!((&brief["brief"]["runs"], &brief["brief"]["failed_runs"]), (&2.into(), &1.into()));
    // It is there again.
    dest.run(&["ALTER TABLE away RENAME TO dst"]);
    instance.run(&RUN).expect(0);
    assert_eq!(instance.run(&["health"]).code, Some(0), "{}", instance.run(&["health"]));
}

#[test]
fn a_task_that_cannot_be_launched_at_all_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let key = "[[key]]\nname = \"pii\"\nsecret = { env = \"SSYNC_TEST_NOBODY\" }\n";
    let (_, instance) = house(dir.path(), 30, key, "", "encrypt = { v = \"pii\" }");
    assert_ne!(instance.run(&RUN).code, Some(0));
    let history = json_of(&instance, &["history", "--failed"]);
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history}");
    assert!(history["runs"][0]["error"].to_string().contains("SSYNC_TEST_NOBODY"), "{history}");
}

#[test]
fn a_run_that_was_killed_and_resumed_is_one_run_with_all_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 200, "", "", "");
    instance.run_with(&RUN, "writer.after_commit@5=kill-group");
    instance.wait_until_dead();
    // While it is open, what has landed is told.
    let open = json_of(&instance, &["show", "1"])["tables"][0]["last_run"].take();
    assert_eq!(open["state"], "open", "{open}");
    let health = instance.run(&["health"]).expect(1);
    assert!(health.stdout.contains("died: the next run settles what it left"), "{health}");
    instance.run(&RUN).expect(0);
    let history = json_of(&instance, &["history"]);
    let run = &history["runs"][0];
    assert_eq!(
        (history["runs"].as_array().unwrap().len(), &run["counts"]["landed"]),
        (1, &200.into())
    );
    let attempts = run["attempts"].as_array().unwrap();
    let states: Vec<_> = attempts.iter().map(|a| a["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["died", "done"]);
    assert!(attempts.iter().all(|a| a["landed"].as_u64().unwrap() > 0), "{history}");
    // What lies between the attempts is no part of how long it took.
    let took = |a: &Value| {
        let at = |key: &str| a[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at("end").duration_since(at("begin")).as_secs_f64()
    };
    let all: f64 = attempts.iter().map(took).sum();
    assert!((run["seconds"].as_f64().unwrap() - all).abs() < 0.001, "{history}");
    let listed = instance.run(&["history", "--attempts"]).expect(0).stdout;
    assert!(listed.contains("2 attempts") && listed.contains("attempt 1  died"), "{listed}");
}

#[test]
fn a_row_that_is_bad_again_in_another_run_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "error_limit = 5", "");
    let source = Site::in_file(dir.path(), "src");
    for _ in 0..2 {
        source.run(&[
            "UPDATE src SET v = 'much longer than the twenty characters', sync_status = 0 \
             WHERE id IN (3, 4)",
        ]);
        instance.run(&RUN).expect(1);
        let errors = json_of(&instance, &["errors"]);
        let keys: Vec<_> =
            errors["errors"].as_array().unwrap().iter().map(|e| e["row"].clone()).collect();
        assert_eq!(keys, ["id=3", "id=4"], "{errors}");
        assert_eq!(json_of(&instance, &["status"])["tables"][0]["bad_rows"], 2);
    }
}

#[test]
fn looking_and_setting_back_are_no_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (_, instance) = house(dir.path(), 10, "", "", "");
    instance.run(&RUN).expect(0);
    instance.run(&["adopt", "--task", "1"]).expect(0);
    instance.run(&["retry", "--task", "1"]);
    let second = instance.run(&["--task", "1", "--json"]).expect(0);
    assert!(!second.stdout.contains("lock taken over"), "{second}");
    let history = json_of(&instance, &["history"]);
    let states: Vec<_> =
        history["runs"].as_array().unwrap().iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["done"], "{history}");
}

#[test]
fn a_home_that_is_not_there_is_not_well() {
    let instance = Instance::new("");
    let nowhere = instance.home().join("typo");
    let asked = instance.run(&["health", "--home", nowhere.to_str().unwrap()]).expect(2);
    assert!(asked.stderr.contains("no such home directory") && !nowhere.exists(), "{asked}");
    let nothing = instance.run(&["health"]).expect(1);
    assert!(nothing.stdout.starts_with("WARNING: nothing is configured"), "{nothing}");
}

#[test]
fn runs_without_rows_are_counted_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let schedule = "[[schedule]]\nid = 1\nevery = \"1s\"\n";
    let (_, instance) = house(dir.path(), 10, schedule, "schedule = 1", "");
    let book = Site::Sqlite(instance.home().join("ssync.db"));
    let number = |sql: &str| book.number(&format!("SELECT COALESCE(({sql}), 0)"));
    let daemon = instance.start(&["daemon"], "");
    wait_for("some runs", || number("SELECT COUNT(*) FROM proc_use_times") >= 5);
    instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    assert_eq!(number("SELECT COUNT(*) FROM T_RUN"), 1);
    assert_eq!(number("SELECT COUNT(*) FROM T_ATTEMPT"), 1);
    let all = number("SELECT COUNT(*) FROM proc_use_times");
    assert_eq!(number("SELECT SUM(run_count) FROM T_EMPTY_RUN"), all - 1);
    let history = json_of(&instance, &["history"]);
    let empty: i64 =
        history["empty"].as_array().unwrap().iter().map(|e| e["runs"].as_i64().unwrap()).sum();
    assert_eq!((history["runs"].as_array().unwrap().len(), empty), (1, all - 1), "{history}");
    let listed = instance.run(&["history"]).expect(0).stdout;
    assert!(listed.contains(" runs without rows since "), "{listed}");
    let status = json_of(&instance, &["status"]);
    assert_eq!(status["tables"][0]["last_run"]["state"], "done");
    assert_eq!(status["tables"][0]["last_run"]["counts"]["landed"], 0);
    // One line for the run that had rows, none for the others.
    let files = std::fs::read_dir(instance.home().join("events")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let is_reminder = |p: &std::path::PathBuf| p.to_string_lossy().contains("/reminder-");
    let lines: usize = files
        .filter(is_reminder)
        .map(|path| std::fs::read_to_string(path).unwrap().lines().count())
        .sum();
    assert_eq!(lines, 1);
    assert_eq!(instance.logs().matches("ended: Done").count(), 1, "{}", instance.logs());
}

fn play(number: u64) -> Result<(), String> {
    let mut case = Case::new(number);
    for _ in 0..case.rng.between(3, 7) {
        case.step();
    }
    if !case.there {
        case.dest.run(&["ALTER TABLE away RENAME TO dst"]);
        case.there = true;
    }
    // What the last one left open comes to its end.
    case.launch("", false);
    case.judge().map_err(|why| format!("case {number}: {why}\n{}", case.story.join("\n")))
}

#[test]
fn whatever_happens_to_runs_all_that_is_told_of_them_is_so() {
    let only = std::env::var("SSYNC_TEST_TRUTH_CASE").ok().map(|n| n.parse::<u64>().unwrap());
    let cases = std::env::var("SSYNC_TEST_TRUTH_CASES").map_or(CASES, |n| n.parse().unwrap());
    let (first, end) = only.map_or((0, cases), |n| (n, n + 1));
    let failures: Vec<_> = (first..end).filter_map(|n| play(n).err()).collect();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}
