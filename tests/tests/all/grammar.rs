//! One grammar for all commands: a task by its number or name, its tables, nouns with verbs; and
//! what was written before it means what it meant.

use serde_json::Value;
use ssync_common::store::RunFilter;
use ssync_tests::command::Ssync;
use ssync_tests::ssync::{Instance, Outcome};

use crate::daemon::{House, task};
use crate::pausing::{Pair, ROWS};

const NAME: &str = "对账-daily";

/// Gives a task a name.
fn rename(instance: &Instance, id: u32, name: &str) {
    let mut config = instance.store().load().unwrap();
    config.tasks.iter_mut().find(|t| t.id == id).unwrap().name = Some(name.to_owned());
    instance.apply(&config.to_toml().unwrap());
}

/// Both tables have landed once, and task 1 has a name.
fn named_pair() -> Pair {
    let pair = Pair::new();
    rename(&pair.instance, 1, NAME);
    pair.instance.run(&["--task", "1"]).expect(0);
    pair
}

/// What a call said, without what no two calls have in common: lengths of time, processes, ids.
fn said(outcome: &Outcome) -> (Option<i32>, String, String) {
    let json = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            forget(&mut value);
            value.to_string()
        }
        Err(_) => line.to_owned(),
    };
    let stdout = outcome.stdout.lines().map(json).collect::<Vec<_>>().join("\n");
    (outcome.code, stdout, outcome.stderr.clone())
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["seconds", "run", "bottleneck", "counts", "bytes", "at_ms"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// The words of a command line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn older_forms_and_names_mean_the_same_as_numbers_in_the_new_form() {
    let pair = named_pair();
    let run = |form: &str| said(&pair.instance.run(&words(&format!("{form} --json"))));
    // The new form with a number, and what is to be the same.
    let same: [(&str, &[&str]); 14] = [
        ("--task 1 --tables first", &["--task 对账-daily --table first"]),
        (
            "check 1 --tables first",
            &["check --task 1 --tables first", "check 对账-daily --table first"],
        ),
        ("check 1", &["check --task 1", "check --task 对账-daily", "check"]),
        (
            "retry 1 --tables first",
            &["retry --task 1 --tables first", "retry 对账-daily --table first"],
        ),
        (
            "adopt 1 --tables second",
            &["adopt --task 1 --tables second", "adopt 对账-daily --table second"],
        ),
        ("status 1", &["status --task 1", "status 对账-daily", "status --task 对账-daily"]),
        ("show 1", &["show --task 1", "show 对账-daily"]),
        ("explain 1", &["explain --task 1", "explain 对账-daily"]),
        (
            "history 1 --tables first",
            &["history --task 1 --table first", "history 对账-daily --tables first"],
        ),
        ("history 1", &["history --task 1", "history 1 --tables first,second"]),
        (
            "errors 1 --tables first --all",
            &["errors --task 1 --table first --all", "errors 对账-daily --table first --all"],
        ),
        ("run 1", &["run --task 1", "run 对账-daily"]),
        ("link usage", &["links", "links usage"]),
        ("link list", &["links list"]),
    ];
    for (form, others) in same {
        let wanted = run(form);
        assert!(wanted.0 == Some(0) || form == "run 1", "{form}: {wanted:?}");
        for other in others {
            assert_eq!(run(other), wanted, "{other} and {form}");
        }
    }
    assert!(run("run 1").2.contains("no daemon runs here"));

    // What changes something is undone in between.
    let hold = |pause: &str, resume: &str| (run(pause), run("status"), run(resume), run("status"));
    let (paused, status, resumed, after) =
        hold("pause 1 --tables first", "resume 1 --tables first");
    assert!(paused.1.contains("\"changed\":true") && resumed.1.contains("\"changed\":true"));
    let since = |status: &str| {
        let mut status: Value = serde_json::from_str(status).unwrap();
        status["tables"][0]["hold"]["since"] = Value::Null;
        status
    };
    for (pause, resume) in [
        ("pause 1 first", "resume 1 first"),
        ("pause 对账-daily first", "resume 对账-daily first"),
        ("pause --task 1 --table first", "resume --task 对账-daily --table first"),
        ("pause --task 1 first", "resume first --task 对账-daily"),
    ] {
        let held = hold(pause, resume);
        assert_eq!((&held.0, &held.2, &held.3), (&paused, &resumed, &after), "{pause}");
        assert_eq!(since(&held.1.1), since(&status.1), "{pause}");
    }
    let whole = hold("pause 1", "resume 1");
    assert_eq!(hold("pause 对账-daily", "resume --task 1").0, whole.0);
}

#[test]
fn plurals_of_nouns_are_accepted() {
    let ssync = Ssync::new();
    ssync.apply("[controller]\n");
    for (noun, plural) in [("key list", "keys list"), ("receiver list", "receivers list")] {
        assert_eq!(ssync.run(&words(plural)), ssync.run(&words(noun)).expect(0), "{plural}");
    }
    let help = ssync.run(&["--help"]).expect(0).stdout;
    assert!(help.contains("\n  link ") && !help.contains("\n  links "), "{help}");
}

#[test]
fn several_tables_are_paused_and_looked_at_together() {
    let pair = named_pair();
    let run = |form: &str| pair.instance.run(&words(form));
    let said = run("pause 1 --tables second,first").expect(0).stdout;
    let wanted = "table first of task 1 (对账-daily) is paused\n\
                  table second of task 1 (对账-daily) is paused\n";
    assert_eq!(said, wanted);
    run("--task 1").expect(130);
    let told: Value = serde_json::from_str(&run("resume 1 --table first --json").stdout).unwrap();
    assert_eq!((&told["table"], &told["name"]), (&"first".into(), &NAME.into()));
    let told: Value =
        serde_json::from_str(&run("resume 1 --tables first,second --json").stdout).unwrap();
    let tables = serde_json::json!([
        { "table": "first", "changed": false }, { "table": "second", "changed": true }
    ]);
    assert_eq!((&told["table"], &told["tables"]), (&Value::Null, &tables));
    // Of several of which one is unknown, none is paused.
    let unknown = run("pause 1 --tables first,nosuch").expect(2);
    assert!(unknown.stderr.contains("task 1 (对账-daily) has no table nosuch"), "{unknown}");
    assert_eq!(pair.instance.store().holds(None).unwrap(), []);
    run("pause 1 first --tables second").expect(2);

    let tables = |form: &str| run(form).expect(0).stdout.lines().count() - 1;
    let all = ["history 1", "history 1 --tables first", "history 1 --tables first,second"];
    assert_eq!(all.map(tables), [2, 1, 2]);
}

/// An empty list would say that nothing was ever wrong with it.
#[test]
fn records_of_a_table_that_nobody_knows_are_refused_and_those_of_a_former_one_are_shown() {
    let pair = named_pair();
    let run = |form: &str| pair.instance.run(&words(form));
    for command in ["errors", "history"] {
        for (form, hint) in [
            ("1 --tables frist", "Did you mean first? Its tables: first, second."),
            ("1 --tables second,NOPE", "hint: Its tables: first, second."),
            ("9 --tables first", "Configured tasks: 1"),
        ] {
            let refused = run(&format!("{command} {form}")).expect(2);
            assert!(refused.stdout.is_empty() && refused.stderr.contains(hint), "{refused}");
        }
        // As an unknown task.
        let unknown = run(&format!("{command} nosuch --json")).expect(2);
        let table = run(&format!("{command} 1 --tables NOPE --json")).expect(2);
        let kind = |outcome: &Outcome| {
            let error: Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
            error["error"]["kind"].as_str().unwrap().to_owned()
        };
        assert_eq!((kind(&table), kind(&unknown)), ("Usage".to_owned(), "Usage".to_owned()));
    }
    // Its records stay when it goes.
    let mut config = pair.instance.store().load().unwrap();
    config.tasks[0].tables.retain(|table| table.name == "second");
    pair.instance.apply(&config.to_toml().unwrap());
    assert!(run("history 1 --tables first").expect(0).stdout.contains("first"));
    run("errors 1 --tables first").expect(0);
    let refused = run("history 1 --tables firts").expect(2);
    let hint = "Did you mean first? Its tables: second. Only in records: first.";
    assert!(refused.stderr.contains(hint), "{refused}");
    config.tasks.clear();
    pair.instance.apply(&config.to_toml().unwrap());
    assert!(run("history 1 --tables first").expect(0).stdout.contains("first"));
    assert!(run("history 1 --tables NOPE").expect(2).stderr.contains("first, second"));
}

#[test]
fn tables_without_a_task_are_refused_with_the_line_that_is_meant() {
    let ssync = Ssync::new();
    ssync.apply("[controller]\n");
    for command in ["check", "history", "errors"] {
        for form in ["--table a", "--tables a,b"] {
            let ran = ssync.run(&words(&format!("{command} {form}"))).expect(2);
            let line = format!("Name the task first: ssync {command} TASK --tables a");
            ran.says(&["--tables needs a task, and none is named", &line]);
        }
        let ran = ssync.run(&[command, "--tables", "a", "--json"]).expect(2);
        assert_eq!(ran.json()["error"]["kind"], "Usage");
        let help = ssync.run(&[command, "--help"]).expect(0).stdout;
        assert!(help.contains("needs a TASK"), "{help}");
    }
    ssync.run(&["--tables", "a"]).expect(2).says(&["--task <TASK>"]);
    for command in ["show", "explain", "run", "pause", "resume", "retry", "adopt"] {
        let ran = ssync.run(&[command]).expect(2);
        ran.says(&["required", "<TASK>", &format!("ssync {command}")]);
        ssync.run(&[command, "1", "--task", "1"]).expect(2).says(&["cannot be used with"]);
    }
}

#[test]
fn a_name_is_shown_with_the_number_and_taken_for_it_and_a_rename_changes_no_record() {
    let house = House::new(2);
    house.apply(&(task(1, "name = \"billing\"") + &task(2, "")));
    house.insert(1, 0..3);
    let run = |form: &str| house.instance.run(&words(form));
    let daemon = house.start("");
    let ran = run("run billing --wait").expect(0);
    assert!(ran.stdout.contains("task 1 (billing) has ended"), "{ran}");
    assert_eq!(house.arrived(1), 3);
    house.insert(1, 3..4);
    house.sites[0]
        .1
        .run(&["CREATE TRIGGER no BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END"]);
    let failed = run("--task billing");
    for text in [&failed.stdout, &failed.stderr] {
        assert!(text.contains("task 1 (billing), table t cannot be run: "), "{failed}");
    }
    for (form, part) in [
        ("status", "task 1 (billing), s1 → d1"),
        ("status billing", "task 1 (billing), s1 → d1"),
        ("show billing", "task 1 (billing): s1 → d1"),
        ("explain billing", "task 1 (billing): no schedule"),
        ("check billing", "task 1 (billing), table t:"),
        ("history", "  1 (billing)  t "),
        ("history billing --chart", "task 1 (billing), t"),
        ("brief", "task 1 (billing), t: "),
        ("health", "task 1 (billing), table t failed"),
    ] {
        let ran = run(form);
        assert!(ran.stdout.contains(part), "{form}: no {part:?} in\n{ran}");
    }
    let json = |form: &str| -> Value {
        let ran = run(&format!("{form} --json"));
        serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap()
    };
    assert_eq!(json("status 1")["tables"][0]["name"], "billing");
    assert_eq!(json("show 1")["name"], "billing");
    assert_eq!(json("explain 1")["name"], "billing");
    assert_eq!(json("check 1")["name"], "billing");
    assert_eq!(json("history")["runs"][0]["name"], "billing");
    assert_eq!(json("brief")["brief"]["tables"][0]["name"], "billing");
    let findings = json("health")["findings"].clone();
    let failed = findings.as_array().unwrap().iter().find(|f| f["task"] == 1).unwrap();
    assert_eq!(failed["name"], "billing");
    assert!(json("status 2")["tables"][0]["name"].is_null());

    let before = house.instance.store().runs(&RunFilter::default()).unwrap();
    assert_eq!(before.len(), 2, "{before:?}");
    rename(&house.instance, 1, "invoices");
    run("reload").expect(0);
    assert_eq!(house.instance.store().runs(&RunFilter::default()).unwrap(), before);
    assert_eq!(json("history invoices")["runs"].as_array().unwrap().len(), 2);
    assert_eq!(json("history")["runs"][0]["name"], "invoices");
    for form in
        ["show billing", "status billing", "--task billing", "run billing", "explain billing"]
    {
        let ran = run(form).expect(2);
        for part in ["there is no task billing", "Configured tasks: 1 (invoices), 2."] {
            assert!(ran.stderr.contains(part), "{form}: {ran}");
        }
    }
    let near = run("history invoice").expect(2);
    assert!(near.stderr.contains("Did you mean 1 (invoices)?"), "{near}");
    house.sites[0].1.run(&["DROP TRIGGER no"]);
    run("run invoices --wait").expect(0);
    assert_eq!(house.arrived(1), 4);
    house.stop(daemon);
}

#[test]
fn without_the_configuration_database_names_are_those_in_force() {
    let house = House::new(1);
    house.apply(&task(1, "name = \"billing\""));
    let daemon = house.start("");
    let database = house.instance.home().join("ssync.db");
    let away = house.instance.home().join("away.db");
    std::fs::rename(&database, &away).unwrap();
    let status = house.instance.run(&["status", "billing"]);
    assert!(!database.exists() || std::fs::remove_file(&database).is_ok());
    std::fs::rename(&away, &database).unwrap();
    assert!(status.stdout.contains("task 1 (billing), s1 → d1"), "{status}");
    house.stop(daemon);
}

#[test]
fn a_broken_off_run_is_resumed_under_another_name() {
    let pair = named_pair();
    pair.source.run(&["UPDATE first SET sync_status = 0"]);
    pair.dest.run(&["DELETE FROM first"]);
    let killed = pair.instance.run_with(&["--task", NAME], "writer.before_commit@4=kill-group");
    assert_ne!(killed.code, Some(0), "{killed}");
    let begun = pair.instance.store().runs(&RunFilter::default()).unwrap();
    rename(&pair.instance, 1, "weekly");
    pair.instance.run(&["--task", "weekly"]).expect(0);
    assert_eq!(pair.landed("first"), ROWS);
    assert_eq!(pair.landed("second"), ROWS);
    let runs = pair.instance.store().runs(&RunFilter::default()).unwrap();
    let resumed = runs.iter().find(|run| run.id == begun[0].id).unwrap();
    assert_eq!((resumed.attempts, resumed.counts.landed), (2, ROWS as u64), "{runs:?}");
}
