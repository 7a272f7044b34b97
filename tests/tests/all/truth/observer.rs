//! What is so, by the databases alone and by how the processes ended; and everything that tells of
//! it, beside it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use ssync_common::event::{TableEnd, TableOutcome, What, events_between};

use super::case::{Case, End, Mode, Way};

/// Contradictions.
struct Wrong(Vec<String>);

impl Wrong {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, told: T, truth: T) {
        if told != truth {
            self.0.push(format!("{what} says {told:?}, and {truth:?} is so"));
        }
    }
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(-1)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl Case {
    fn json(&self, args: &[&str]) -> Value {
        let outcome = self.instance.run(&[args, &["--json"]].concat());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {outcome}"))
    }

    fn booked(&self, sql: &str) -> i64 {
        self.book.number(&format!("SELECT COALESCE(({sql}), 0)"))
    }

    fn ends_like(&self, end: End) -> i64 {
        self.launches.iter().filter(|e| **e == end).count() as i64
    }

    /// Rows that wait to be corrected.
    fn bad(&self) -> i64 {
        match self.mode {
            Mode::Status => self.source.number("SELECT COUNT(*) FROM src WHERE sync_status = 3"),
            // All were read, and those below the mark of `increment` stay bad.
            Mode::Full | Mode::Increment => self.bad_at_source(),
        }
    }

    /// Compares everything that tells of the runs with what is so.
    pub fn judge(&self) -> Result<(), String> {
        let mut wrong = Wrong(self.wrong.clone());
        let history = self.json(&["history", "--limit", "1000"]);
        self.judge_rows(&history, &mut wrong);
        self.judge_attempts(&history, &mut wrong);
        self.judge_brief(&history, &mut wrong);
        self.judge_standing(&history, &mut wrong);
        self.judge_events(&mut wrong);
        match wrong.0.is_empty() {
            true => Ok(()),
            false => Err(format!("{}\n{history:#}", wrong.0.join("\n"))),
        }
    }

    fn judge_rows(&self, history: &Value, wrong: &mut Wrong) {
        let there = self.dest.number("SELECT COUNT(*) FROM dst");
        let runs = list(&history["runs"]);
        let landed: i64 = runs.iter().map(|run| int(&run["counts"]["landed"])).sum();
        let use_times = self.booked("SELECT SUM(row_count) FROM proc_use_times");
        match self.mode {
            // Nothing is taken away there.
            Mode::Status | Mode::Increment => {
                wrong.same("history", landed, there);
                wrong.same("proc_use_times", use_times, there);
            }
            Mode::Full => {
                wrong.same("history", self.newest(history).0, there);
                wrong.same("proc_use_times", use_times, landed);
            }
        }
        if self.mode == Mode::Status {
            let batches = self.booked("SELECT SUM(row_count) FROM T_BATCH");
            wrong.same("T_BATCH", batches, there);
        }
        let errors = self.json(&["errors", "--limit", "1000"]);
        wrong.same("errors", list(&errors["errors"]).len() as i64, self.bad());
        // A row that was bad in a run that was given up may be so in another one.
        let is_simple = !self.corrected && !runs.iter().any(|run| run["state"] == "abandoned");
        if self.mode == Mode::Status && is_simple {
            let bad: i64 = runs.iter().map(|r| int(&r["counts"]["failed"])).sum();
            wrong.same("bad rows of history", bad, self.bad());
        }
    }

    fn judge_attempts(&self, history: &Value, wrong: &mut Wrong) {
        // Those that had nothing to send are counted.
        let none: i64 = list(&history["empty"]).iter().map(|e| int(&e["runs"])).sum();
        let mut ends: BTreeMap<&str, i64> = BTreeMap::from([("done", none)]);
        for run in list(&history["runs"]) {
            let attempts = list(&run["attempts"]);
            if self.mode == Mode::Status && run["state"] == "done" {
                let count = |what: &str| int(&run["counts"][what]);
                let dealt_with = count("landed") + count("failed") + count("withdrawn");
                wrong.same("claimed rows", count("claimed"), dealt_with);
            }
            wrong.same("attempt_count", int(&run["attempt_count"]), attempts.len() as i64);
            let of_attempts: i64 = attempts.iter().map(|a| int(&a["landed"])).sum();
            wrong.same("rows of attempts", of_attempts, int(&run["counts"]["landed"]));
            for attempt in attempts {
                // The owner of before has died, and its server does not know yet.
                if self.way == Way::Schedule && attempt["error"]["kind"] == "Locked" {
                    continue;
                }
                *ends.entry(attempt["state"].as_str().unwrap()).or_default() += 1;
                let at =
                    |key: &str| attempt[key].as_str().map(|at| at.parse::<Timestamp>().unwrap());
                // One that died at once was last heard of when it began.
                let is_known = |end: Timestamp| match int(&attempt["landed"]) {
                    0 => end >= at("begin").unwrap(),
                    _ => end > at("begin").unwrap(),
                };
                if !at("end").is_some_and(is_known) {
                    wrong.0.push(format!("an attempt without an end: {attempt}"));
                }
            }
        }
        let of = |word: &str| ends.get(word).copied().unwrap_or(0);
        wrong.same("attempts that died", of("died"), self.ends_like(End::Died));
        wrong.same("attempts that failed", of("failed"), self.ends_like(End::Failed));
        if self.way != Way::Schedule {
            let done = self.ends_like(End::Done) + self.ends_like(End::DoneWithErrors);
            wrong.same("attempts that are done", of("done"), done);
            wrong.same("interrupted attempts", of("interrupted"), self.ends_like(End::Interrupted));
        }
    }

    fn judge_brief(&self, history: &Value, wrong: &mut Wrong) {
        let brief = self.json(&["brief"])["brief"].take();
        let runs = list(&history["runs"]);
        let none: i64 = list(&history["empty"]).iter().map(|e| int(&e["runs"])).sum();
        wrong.same("runs of the brief", int(&brief["runs"]), runs.len() as i64 + none);
        let has_failed =
            |run: &&Value| list(&run["attempts"]).iter().any(|a| a["state"] == "failed");
        let failed: Vec<_> = runs.iter().filter(has_failed).map(|run| run["id"].clone()).collect();
        wrong.same("failed runs of the brief", int(&brief["failed_runs"]), failed.len() as i64);
        let listed = self.json(&["history", "--failed", "--limit", "1000"]);
        let listed: Vec<_> = list(&listed["runs"]).iter().map(|run| run["id"].clone()).collect();
        wrong.same("history --failed", listed, failed);
        let use_times =
            |column: &str| self.booked(&format!("SELECT SUM({column}) FROM proc_use_times"));
        wrong.same("rows of the brief", int(&brief["rows"]), use_times("row_count"));
        wrong.same("bytes of the brief", int(&brief["bytes"]), use_times("byte_count"));
        // Every row has its key at least.
        if use_times("byte_count") < use_times("row_count") * 8 {
            wrong.0.push(format!("{} bytes", use_times("byte_count")));
        }
    }

    /// Rows of the run that ended last, and its state.
    fn newest(&self, history: &Value) -> (i64, String) {
        // A run is listed by its beginning, and may be resumed after another launch failed.
        let end = |run: &&Value| run["end"].as_str().unwrap_or_default().to_owned();
        let last = list(&history["runs"]).iter().max_by_key(end);
        let empty = list(&history["empty"]).iter().filter_map(|e| e["last_end"].as_str()).max();
        match last {
            Some(run) if empty.is_none_or(|empty| *empty < *end(&run)) => {
                (int(&run["counts"]["landed"]), run["state"].as_str().unwrap().to_owned())
            }
            _ => (0, "done".to_owned()),
        }
    }

    fn judge_standing(&self, history: &Value, wrong: &mut Wrong) {
        let (landed, state) = self.newest(history);
        let show = self.json(&["show", "1"]);
        let status = self.json(&["status"]);
        for (what, run) in
            [("show", &show["tables"][0]["last_run"]), ("status", &status["tables"][0]["last_run"])]
        {
            wrong.same(what, int(&run["counts"]["landed"]), landed);
            wrong.same(what, run["state"].as_str().unwrap_or_default(), &state);
        }
        wrong.same("bad rows of status", int(&status["tables"][0]["bad_rows"]), self.bad());
        // The last run came to its end; schedules want a daemon.
        let lacks_daemon = i32::from(self.is_daemon_dead || self.way == Way::Schedule);
        wrong.same("code of status", self.instance.run(&["status"]).code, Some(lacks_daemon));
        let health = self.instance.run(&["health"]);
        let code = match () {
            () if self.is_daemon_dead => 2,
            () if self.bad() > 0 || self.way == Way::Schedule => 1,
            () => 0,
        };
        wrong.same("code of health", health.code, Some(code));
        let word = ["OK: ", "WARNING: ", "CRITICAL: "][code as usize];
        if !health.stdout.starts_with(word) || health.stdout.lines().count() != 1 {
            wrong.0.push(format!("health with {code}: {}", health.stdout));
        }
        let names_bad = health.stdout.contains("bad row");
        wrong.same("bad rows of health", names_bad, self.bad() > 0);
    }

    /// Runs with bad rows that came to their end without their process.
    fn left_behind(&self) -> BTreeSet<String> {
        let history = self.json(&["history"]);
        let runs = history["runs"].as_array().cloned().unwrap_or_default();
        let is_left = |run: &&Value| {
            let message = run["message"].as_str().unwrap_or_default();
            let words =
                ["its process died before it could say", "another run was begun in its place"];
            int(&run["counts"]["failed"]) > 0
                && words.iter().any(|words| message.starts_with(words))
        };
        let id = |run: &Value| run["id"].as_str().unwrap_or_default().to_owned();
        runs.iter().filter(is_left).map(id).collect()
    }

    fn judge_events(&self, wrong: &mut Wrong) {
        let home = self.instance.home();
        let events = events_between(&home, Timestamp::UNIX_EPOCH, Timestamp::MAX).unwrap();
        let told = |what: What| events.iter().filter(|e| e.what == what).count() as i64;
        wrong.same("task_failed", told(What::TaskFailed), self.ends_like(End::Failed));
        wrong.same("task_suspended", told(What::TaskSuspended), 0);
        wrong.same("controller_started", told(What::ControllerStarted), self.daemons as i64);
        wrong.same("controller_stopped", told(What::ControllerStopped), self.stopped as i64);
        let reminders = self.reminders();
        if self.way == Way::Schedule {
            // How many there were, nobody has counted.
            let bad = reminders.iter().filter(|end| end.result == TableOutcome::DoneWithErrors);
            wrong.same("rows_bad", told(What::RowsBad), bad.count() as i64);
            return;
        }
        // What a process that died had met, the run that came in its place has had told.
        let left = self.left_behind();
        let bad = self.ends_like(End::DoneWithErrors) + left.len() as i64;
        wrong.same("rows_bad", told(What::RowsBad), bad);
        wrong.same("task_died", told(What::TaskDied), self.deaths_told as i64);
        let truth = self.launches.iter().filter_map(|end| match end {
            End::Done => Some(TableOutcome::Done),
            End::DoneWithErrors => Some(TableOutcome::DoneWithErrors),
            End::Failed => Some(TableOutcome::Failed),
            End::Interrupted => Some(TableOutcome::Interrupted),
            End::Died => None,
        });
        let is_left = |end: &TableEnd| {
            end.result == TableOutcome::DoneWithErrors
                && end.run.as_ref().is_some_and(|run| left.contains(run))
        };
        let own = reminders.iter().filter(|end| !is_left(end));
        let results: Vec<_> = own.map(|end| end.result).collect();
        wrong.same("the reminder log", results, truth.collect());
    }
}
