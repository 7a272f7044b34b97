//! `ssync apply`, `export`, `pause`, `history` and their like, as people call them.

use std::process::{Command, Stdio};

use jiff::Timestamp;
use ssync_common::error::{Error, Kind};
use ssync_common::process::RunId;
use ssync_common::store::{
    Entry, ErrorRow, Judgement, NewRun, RowState, RunCounts, RunEnd, RunState, Verdict,
};
use ssync_common::value::Value;
use ssync_tests::command::Ssync;
use ssync_tests::ssync::write_down;

const GOOD: &str = r#"
[[link]]
name = "core"
url = "sqlite:///srv/core.db"

[[link]]
name = "warehouse"
url = "mysql://app@10.0.0.5:3306/warehouse"
password = { env = "WAREHOUSE_PASSWORD" }

[[key]]
name = "pii"
secret = { file = "/etc/ssync/pii.key" }

[[schedule]]
id = 1
every = "1m 30s"
start = "2026-12-01T00:00:00+08:00"
kind = "realtime"

[[task]]
id = 7
schedule = 1
source = "core"
dest = "warehouse"

[[task.table]]
name = "customers"
source = "customers"
dest = "dw_customers"
encrypt = { mobile = { key = "pii", deterministic = true }, id_card = "pii" }

[[task.table]]
name = "orders"
source = "orders"
dest = "dw_orders"
mode = "increment"
watermark = { column = "at", lag = "10s" }
write = "upsert"
key = ["id"]
columns = ["id", { from = "cust", to = "customer" }, "at"]
where = "region = 'N'"
before = { dest = ["DELETE FROM stage", "ANALYZE"] }
after = { source = ["ANALYZE"] }
"#;

/// One table less, and another one more.
fn with_clients() -> String {
    GOOD.replace(
        "name = \"customers\"\nsource = \"customers\"",
        "name = \"clients\"\nsource = \"clients\"",
    )
}

#[test]
fn what_is_applied_is_exported_and_applying_the_export_changes_nothing() {
    let ssync = Ssync::new();
    let applied = ssync.apply(GOOD);
    for line in ["+ link[core]", "+ key[pii]", "+ schedule[1]", "+ task[7]", "5 changes: version 1"]
    {
        assert!(applied.stdout.lines().any(|l| l == line), "{line}\n{}", applied.stdout);
    }
    assert_eq!(ssync.apply(GOOD).stdout, "nothing to change\n");

    let exported = ssync.run(&["export"]).expect(0).stdout;
    assert!(exported.contains("every = \"1m 30s\"") && exported.contains("deterministic = true"));
    assert_eq!(ssync.apply(&exported).stdout, "nothing to change\n");
    assert_eq!(ssync.run(&["export"]).stdout, exported);

    // Another installation becomes the same.
    let other = Ssync::new();
    other.apply(&exported);
    assert_eq!(other.run(&["export"]).stdout, exported);
    let config = other.run(&["export", "--json"]).expect(0).json();
    assert_eq!((&config["schema"], &config["config"]["task"][0]["id"]), (&1.into(), &7.into()));
}

#[test]
fn changes_are_told_with_their_paths_and_old_and_new_values() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let changed = GOOD
        .replace("every = \"1m 30s\"", "every = \"5s\"")
        .replace("write = \"upsert\"\n", "")
        .replace(
            "columns = [\"id\", { from = \"cust\", to = \"customer\" }, \"at\"]",
            "columns = [\"id\", \"at\"]",
        )
        .replace(
            "name = \"customers\"\nsource = \"customers\"",
            "name = \"clients\"\nsource = \"clients\"",
        );
    let file = ssync.scratch().join("ssync.toml");
    std::fs::write(&file, changed).unwrap();
    let file = file.to_str().unwrap();
    let wanted = [
        "~ schedule[1].every: \"1m 30s\" → \"5s\"",
        "+ task[7].table[clients]",
        "~ task[7].table[orders].columns: [\"id\", { from = \"cust\", to = \"customer\" }, \"at\"] → [\"id\", \"at\"]",
        "~ task[7].table[orders].write: \"upsert\" → \"insert\"",
        "- task[7].table[customers]",
    ];

    let before = ssync.run(&["export"]).stdout;
    let told = ssync.run(&["apply", file, "--dry-run"]).expect(0).stdout;
    for line in wanted {
        assert!(told.lines().any(|l| l == line), "{line}\nin:\n{told}");
    }
    assert!(told.ends_with("5 changes; dry run, nothing written\n"), "{told}");
    assert_eq!(ssync.run(&["export"]).stdout, before);

    let told = ssync.run(&["apply", file, "--yes", "--json"]).expect(0).json();
    assert_eq!((&told["dry_run"], told["changes"].as_array().unwrap().len()), (&false.into(), 5));
    let every = &told["changes"][0];
    assert_eq!(every["path"], "schedule[1].every");
    assert_eq!((&every["kind"], &every["new"]), (&"changed".into(), &"\"5s\"".into()));
    assert_ne!(ssync.run(&["export"]).stdout, before);
    // What is not in the file is gone.
    ssync.apply("[controller]\n");
    assert_eq!(ssync.run(&["export"]).stdout, "\n");
}

#[test]
fn what_a_file_does_not_name_goes_only_with_consent() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let before = ssync.run(&["export"]).stdout;
    let less = with_clients();
    let refused = ssync.run_with_input(&["apply", "-"], &less).expect(2);
    refused.says(&[
        "1 part of the configuration would go",
        "task[7].table[customers]",
        "--yes removes them",
        "--prune=false keeps",
    ]);
    ssync.run_with_input(&["apply", "--json", "-"], &less).expect(2);
    // Nothing at all is no configuration, whatever is said with it.
    for empty in ["", "\n \n", "# nothing\n"] {
        let refused = ssync.run_with_input(&["apply", "--yes", "-"], empty).expect(2);
        refused.says(&["- is empty", "Nothing was changed"]);
    }
    assert_eq!(ssync.run(&["export"]).stdout, before);

    let added = "[[schedule]]\nid = 2\nevery = \"9s\"\n";
    let told = ssync.run_with_input(&["apply", "--prune=false", "-"], added).expect(0);
    assert_eq!(told.stdout.lines().next(), Some("+ schedule[2]"), "{}", told.stdout);
    let after = ssync.run(&["export"]).stdout;
    assert!(after.contains("id = 2") && after.contains("name = \"customers\""), "{after}");
    let refused = ssync
        .run_with_input(&["apply", "--prune=false", "-"], "[[task]]\nid = 7\nschedule = 3")
        .expect(2);
    refused.says(&["task[7].schedule: there is no schedule 3"]);
    ssync.run_with_input(&["apply", "--yes", "-"], &less).expect(0);
    assert!(!ssync.run(&["export"]).stdout.contains("name = \"customers\""));
}

/// On a terminal it is asked for; whatever is no clear yes is a no.
#[test]
fn on_a_terminal_consent_is_asked_for() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let file = ssync.scratch().join("less.toml");
    std::fs::write(&file, with_clients()).unwrap();
    for (answer, code) in [("n\n", 2), ("\n", 2), ("yes\n", 0)] {
        let apply = ssync.command(&["apply", file.to_str().unwrap()]);
        let line = std::iter::once(apply.get_program())
            .chain(apply.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect::<Vec<_>>()
            .join(" ");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        script.envs(apply.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = script.spawn().expect("script, of util-linux");
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{answer:?}: {told}");
        assert!(told.contains("- task[7].table[customers]"), "{told}");
        assert!(told.contains("with stored passwords and pauses? [y/N]"), "{told}");
        let there = ssync.run(&["export"]).stdout.contains("name = \"customers\"");
        assert_eq!(there, code != 0, "{answer:?}");
    }
}

#[test]
fn every_version_is_kept_and_can_be_returned_to() {
    let ssync = Ssync::new();
    drop(ssync.store());
    assert!(ssync.run(&["config", "log"]).expect(0).stdout.contains("no configuration"));
    ssync.apply(GOOD);
    let faster = GOOD.replace("every = \"1m 30s\"", "every = \"5s\"");
    let why = ["apply", "--yes", "--reason", "faster\u{20}for May", "-"];
    ssync.run_with_input(&why, &faster).expect(0);
    // What changes nothing is no version.
    ssync.apply(&faster);

    let log = ssync.run(&["config", "log", "--json"]).expect(0).json();
    let versions = log["versions"].as_array().unwrap();
    let numbers: Vec<_> = versions.iter().map(|v| v["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(
        (&versions[0]["reason"], &versions[0]["changes"]),
        (&"faster for May".into(), &1.into())
    );
    let by = versions[0]["applied_by"].as_str().unwrap();
    assert!(by.contains('@'), "{by}");
    let shown = ssync.run(&["config", "log", "--utc"]).expect(0).stdout;
    let line = shown.lines().nth(1).unwrap();
    assert!(
        line.starts_with("2  ") && line.contains("+00:00  ") && line.contains("for May"),
        "{shown}"
    );

    for diff in [&["config", "diff", "1", "2"][..], &["config", "diff", "1"]] {
        let told = ssync.run(diff).expect(0).stdout;
        assert_eq!(told, "~ schedule[1].every: \"1m 30s\" → \"5s\"\n");
    }
    assert!(ssync.run(&["config", "show", "1"]).expect(0).stdout.contains("1m 30s"));
    ssync.run(&["config", "show", "9"]).expect(2).says(&["there is no version 9"]);

    ssync.run(&["config", "rollback", "1"]).expect(0);
    assert_eq!(ssync.run(&["export"]).stdout, ssync.run(&["config", "show", "1"]).stdout);
    let log = ssync.run(&["config", "log", "--json", "--limit", "1"]).expect(0).json();
    assert_eq!(log["versions"][0]["reason"], "rollback to version 1");
    // To return may remove, too.
    ssync.apply(&format!("{GOOD}[[schedule]]\nid = 2\nevery = \"9s\"\n"));
    let refused = ssync.run(&["config", "rollback", "1"]).expect(2).says(&["schedule[2]"]);
    assert!(!refused.stderr.contains("--prune"), "{refused:?}");
    ssync.run(&["config", "rollback", "1", "--yes"]).expect(0);
}

#[test]
fn every_mistake_is_shown_and_nothing_is_written() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let before = ssync.run(&["export"]).stdout;
    let bad = GOOD
        .replace("dest = \"warehouse\"", "dest = \"warehoose\"\nbtach_rows = 5")
        .replace("kind = \"realtime\"", "kind = \"real-time\"")
        .replace("lag = \"10s\"", "lag = \"soon\"");
    let refused = ssync.run_with_input(&["apply", "-"], &bad).expect(2).says(&[
        "ssync: there are 4 mistakes in the configuration",
        "line 19: schedule[1].kind: \"real-time\" is unknown (did you mean realtime?",
        "line 25: task[7].dest: there is no link \"warehoose\"",
        "line 26: task[7]: unknown key btach_rows (did you mean batch_rows?)",
        "line 39: task[7].table[orders].watermark.lag: \"soon\" is not a length of time",
        "hint: Nothing was changed.",
    ]);
    assert_eq!(refused.stdout, "");
    assert_eq!(ssync.run(&["export"]).stdout, before);

    let refused = ssync.run_with_input(&["apply", "-", "--json"], &bad).expect(2).json();
    assert_eq!((&refused["schema"], &refused["error"]["kind"]), (&1.into(), &"Config".into()));
    assert_eq!(refused["error"]["details"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_no_configuration_file_is_refused() {
    let ssync = Ssync::new();
    ssync.run(&["apply", "/no/such/file"]).expect(2).says(&["/no/such/file: could not read it"]);
    ssync.run(&["apply", "/"]).expect(2).says(&["could not read it"]);
    ssync.run_with_input(&["apply", "-"], b"# \xff").expect(2).says(&["line 1 is not UTF-8"]);
    ssync.run_with_input(&["apply", "-"], "a = ").expect(2).says(&["line 1: this is not TOML"]);
    // A home is only made for what can be applied.
    assert!(!ssync.home().exists());
}

#[test]
fn an_output_that_nobody_reads_is_no_failure() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = ssync.command(&["export"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{:?}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.stderr.is_empty());
}

#[test]
fn tables_and_tasks_are_held_until_they_are_resumed() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let status = || ssync.run(&["status"]).expect(1).stdout;
    let paused = |s: &str| {
        let tables = s.lines().filter(|line| line.starts_with("  "));
        tables.map(|line| line.contains("paused since")).collect::<Vec<_>>()
    };
    assert_eq!(paused(&status()), [false, false]);

    let said = ssync.run(&["pause", "7", "orders", "--reason", "month end"]).expect(0).stdout;
    assert_eq!(said, "table orders of task 7 is paused\n");
    assert_eq!(paused(&status()), [false, true]);
    let said = ssync.run(&["pause", "7", "orders"]).expect(0).stdout;
    assert!(said.starts_with("table orders of task 7 was held already: paused since "), "{said}");
    assert!(said.ends_with(": month end\n"), "{said}");
    ssync.run(&["pause", "7"]).expect(0);
    assert_eq!(paused(&status()), [true, true]);
    let told = ssync.run(&["status", "--task", "7", "--json"]).expect(1).json();
    assert_eq!(told["tables"][1]["hold"]["kind"], "paused");

    // Holds outlive a new configuration, and the task's does not lift the table's.
    ssync.apply(
        &GOOD.replace("every = \"1m 30s\"", "every = \"5s\"").replace("\"dw_orders\"", "\"o\""),
    );
    let said = ssync.run(&["resume", "7"]).expect(0).stdout;
    assert_eq!(said, "task 7 may run again\ntable orders is still held: ssync resume 7 orders\n");
    assert_eq!(paused(&status()), [false, true]);
    let told = ssync.run(&["resume", "7", "orders", "--json"]).expect(0).json();
    assert_eq!((&told["held"], &told["changed"]), (&false.into(), &true.into()));
    let said = ssync.run(&["resume", "7", "orders"]).expect(0).stdout;
    assert_eq!(said, "table orders of task 7 was not held\n");

    for args in [&["pause", "8"][..], &["status", "--task", "8"]] {
        ssync.run(args).expect(2).says(&["there is no task 8", "hint: Configured tasks: 7."]);
    }
    let nosuch = ssync.run(&["resume", "7", "nosuch"]).expect(2);
    nosuch.says(&["task 7 has no table nosuch", "hint: Its tables: customers, orders."]);
    // A task that was removed and comes back is a new one.
    ssync.run(&["pause", "7"]).expect(0);
    ssync.apply("[controller]\n");
    ssync.run(&["resume", "7"]).expect(2).says(&["there is no task 7"]);
    ssync.apply(GOOD);
    assert_eq!(paused(&status()), [false, false]);
}

#[test]
fn past_runs_and_bad_rows_are_listed() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let mut store = ssync.store();
    let at = |s: i64| Timestamp::from_second(1_800_000_000 + s).unwrap();
    for n in 0..3u8 {
        let table = ["orders", "customers", "orders"][usize::from(n)];
        let id = RunId([n; 16]);
        let new = NewRun {
            id,
            task: 7,
            table: table.into(),
            mode: ssync_common::config::TableMode::Increment,
            plan_hash: "x".into(),
            begin: at(i64::from(n) * 60),
            ended_before: None,
            attempt: None,
            record_use_times: true,
        };
        write_down(&mut store, [Entry::Begin(new)]);
        let counts = RunCounts { landed: 5, failed: 1, ..RunCounts::default() };
        let end = RunEnd {
            state: RunState::Failed,
            counts,
            message: Some("1 bad row".into()),
            error: Some(Error::new(Kind::Data, "too long")),
            end: at(i64::from(n) * 60 + 2),
        };
        let row = ErrorRow {
            run: id,
            number: 0,
            task: 7,
            table: table.into(),
            key_columns: vec!["region".into(), "id".into()],
            key: vec![Value::Text("N".into()), Value::Int(i64::from(n))],
            column: Some("mobile".into()),
            kind: Kind::Data,
            text: "data too long".into(),
            at: at(1),
            state: RowState::Bad,
            verdict: None,
        };
        store.record_errors(&[row]).unwrap();
        write_down(
            &mut store,
            [Entry::End { run: id, end, use_times: None, attempt: None, notice: None }],
        );
        if n == 0 {
            let how = "a run sent it and settled it".to_owned();
            let verdict = Verdict { run: Some(id), at: at(60), how };
            let (number, state) = (0, RowState::Landed);
            store.judge(&[Judgement { run: id, number, state, verdict }]).unwrap();
        }
    }

    let history = ssync.run(&["history", "--utc"]).expect(0).stdout;
    let lines: Vec<_> = history.lines().collect();
    assert_eq!(lines.len(), 4, "{history}");
    let first = "2027-01-15 08:02:00+00:00  7     orders     failed  5       1       2.0";
    assert!(lines[1].starts_with(first), "{history}");
    // Local time, where nothing else is said; programs get UTC.
    let shanghai = Command::new(ssync_tests::command::program())
        .args(["history", "--limit", "1"])
        .env("SSYNC_HOME", ssync.home())
        .env("TZ", "Asia/Shanghai")
        .output()
        .unwrap();
    let shanghai = String::from_utf8(shanghai.stdout).unwrap();
    assert!(shanghai.contains("2027-01-15 16:02:00+08:00  7  "), "{shanghai}");
    assert!(lines[2].contains("customers") && lines[3].contains("orders"));
    let one = ssync.run(&["history", "--task", "7", "--table", "orders", "--limit", "1", "--json"]);
    let one = one.expect(0).json();
    assert_eq!(
        (one["runs"].as_array().unwrap().len(), &one["runs"][0]["counts"]["landed"]),
        (1, &5.into())
    );
    assert_eq!(one["runs"][0]["error"]["message"], "too long");
    assert_eq!(one["runs"][0]["begin"], "2027-01-15T08:02:00Z");
    ssync.run(&["history", "--task", "8"]).expect(2).says(&["there is no task 8"]);

    let errors = ssync.run(&["errors"]).expect(0).stdout;
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(errors.contains("(region='N', id=2)  mobile  bad"), "{errors}");
    assert_eq!(ssync.run(&["errors", "--all"]).expect(0).stdout.lines().count(), 4);
    let errors = ssync.run(&["errors", "--task", "7", "--limit", "1", "--json"]).expect(0).json();
    assert_eq!((errors["errors"].as_array().unwrap().len(), &errors["more"]), (1, &true.into()));
    assert_eq!(errors["errors"][0]["row"], "(region='N', id=1)");
    let status = ssync.run(&["status", "--json"]).expect(1).json();
    assert_eq!(status["tables"][1]["last_run"]["state"], "failed");
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let other = Ssync::new();
    let home = ssync.home();
    let home = home.to_str().unwrap();
    let exported = ssync.run(&["export"]).stdout;
    assert_eq!(other.run(&["--home", home, "export"]).expect(0).stdout, exported);
    assert_eq!(other.run(&["export", "--home", home]).expect(0).stdout, exported);
    assert_eq!(ssync.run(&["--json", "export"]).expect(0).json()["schema"], 1);
    assert!(!other.home().exists());
}

#[test]
fn health_is_one_line_and_an_exit_code() {
    let ssync = Ssync::new();
    ssync.apply(GOOD);
    let schedules = ssync.run(&["health"]).expect(1).stdout;
    assert_eq!(schedules, "WARNING: no daemon runs, and schedules are configured\n");
    let tasks = GOOD.replace("schedule = 1\n", "");
    let (links, rest) = tasks.split_once("[[schedule]]").unwrap();
    let tasks = format!("{links}[[task]]{}", rest.split_once("[[task]]").unwrap().1);
    ssync.apply(&tasks);
    let well = ssync.run(&["health"]).expect(0).stdout;
    assert_eq!(well, "OK: daemon: not running; 1 task, 2 tables, 0 running\n");

    let mut store = ssync.store();
    let now = Timestamp::now();
    let run = |n: u8, state: RunState, store: &mut ssync_common::store::Store| {
        let id = RunId([n; 16]);
        let table = "orders".to_owned();
        let new = NewRun {
            id,
            task: 7,
            table,
            mode: ssync_common::config::TableMode::Status,
            plan_hash: "x".into(),
            begin: now + jiff::SignedDuration::from_secs(n.into()),
            ended_before: None,
            attempt: None,
            record_use_times: true,
        };
        let error = (state == RunState::Failed).then(|| Error::new(Kind::Lost, "server gone"));
        let end = new.begin;
        let counts = RunCounts::default();
        let end = RunEnd { state, counts, message: None, error, end };
        let ended = Entry::End { run: id, end, use_times: None, attempt: None, notice: None };
        write_down(store, [Entry::Begin(new), ended]);
        id
    };
    run(1, RunState::Failed, &mut store);
    let failed = ssync.run(&["health"]).expect(2).stdout;
    assert_eq!(failed, "CRITICAL: task 7, table orders failed: server gone\n");
    assert_eq!(ssync.run(&["history", "--failed"]).expect(0).stdout.lines().count(), 2);

    // What failed is well again; bad rows wait.
    let id = run(2, RunState::Done, &mut store);
    let row = ErrorRow {
        run: id,
        number: 0,
        task: 7,
        table: "orders".into(),
        key_columns: vec!["id".into()],
        key: vec![Value::Int(1)],
        column: None,
        kind: Kind::Data,
        text: "too long".into(),
        at: now,
        state: RowState::Bad,
        verdict: None,
    };
    store.record_errors(&[row]).unwrap();
    let bad = ssync.run(&["health", "--json"]).expect(1).json();
    assert_eq!(bad["health"], "warning");
    assert_eq!(bad["findings"][0]["text"], "1 bad row waits to be corrected");
    store.hold(7, None, ssync_common::store::HoldKind::Suspended, Some("by test")).unwrap();
    let worst = ssync.run(&["health", "--utc"]).expect(2).stdout;
    assert!(
        worst.starts_with("CRITICAL: task 7 suspended since ")
            && worst.contains("; task 7, table orders 1 bad"),
        "{worst}"
    );
    // A database that does not answer is no reason for silence.
    std::fs::write(ssync.home().join("ssync.db"), "nonsense").unwrap();
    let gone = ssync.run(&["health"]).expect(2).stdout;
    assert!(gone.starts_with("CRITICAL: the configuration database does not answer"), "{gone}");
}
