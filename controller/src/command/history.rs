//! `ssync history`: past runs, as a list or as a chart.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned, civil};
use serde::Serialize;
use serde_json::{Value, json};
use ssync_common::config::{TaskNames, parse_duration};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::{
    AttemptRecord, AttemptState, Cause, EmptyRuns, RunFilter, RunRecord, RunState, Store,
};

use crate::books::spool::Waiting;
use crate::cli::HistoryArgs;
use crate::clock::zoned;
use crate::output::Output;
use crate::terminal::grouped;

/// Width of a bar of the chart: two of them, with figures, fit into 80 columns.
const BAR: usize = 18;

/// Lists runs, or draws them. `waiting` is what of them is still kept in files.
pub fn history(
    store: &mut Store,
    args: &HistoryArgs,
    waiting: &[Waiting],
    out: &mut Output,
) -> Result<bool> {
    let since =
        args.since.as_deref().map(|text| since(text, &zoned(Timestamp::now()))).transpose()?;
    let filter = RunFilter {
        task: args.scope.recorded(store)?,
        tables: args.scope.tables.tables.clone(),
        since,
        has_failed: args.failed,
        // With a beginning all since then is meant.
        limit: args.limit.or(since.is_none().then_some(LIMIT)),
    };
    let mut runs = store.runs(&filter)?;
    let names = store.task_names()?;
    if args.chart {
        chart(&runs, &names, out);
        return Ok(true);
    }
    let mut empty = store.empty_runs(&filter)?;
    empty.sort_by_key(|empty| Reverse(empty.last_begin));
    if let Some(limit) = filter.limit.and_then(|limit| usize::try_from(limit).ok()) {
        fit(&mut runs, &mut empty, limit);
    }
    if out.is_json() {
        let runs = runs.iter().map(|run| object(store, run, &names)).collect::<Result<Vec<_>>>()?;
        let empty: Vec<_> = empty.iter().map(|empty| named(json!(empty), &names)).collect();
        out.object(json!({ "runs": runs, "empty": empty, "waiting": waiting }));
        return Ok(true);
    }
    let mut rows = Vec::new();
    let mut empty = empty.iter().peekable();
    for run in &runs {
        while let Some(empty) = empty.next_if(|empty| empty.last_begin > run.begin) {
            rows.push(empty_row(empty, &names));
        }
        rows.push(row(run, &names));
        // What failed may have been an attempt before the one that is done.
        if args.attempts || args.failed && run.attempts > 1 {
            let attempts = store.attempts(run.id)?;
            // An only attempt says no more than its run, unless it was tried several times.
            if attempts.len() > 1 || attempts.iter().any(|attempt| !attempt.causes.is_empty()) {
                let numbered = (1..).zip(&attempts);
                rows.extend(numbered.flat_map(|(n, attempt)| attempt_rows(n, attempt, run)));
            }
        }
    }
    rows.extend(empty.map(|empty| empty_row(empty, &names)));
    let heading = ["BEGIN", "TASK", "TABLE", "STATE", "LANDED", "FAILED", "SECONDS", "OUTCOME"];
    out.table(heading, &rows);
    Ok(true)
}

/// Of two lists, both the newest first, keeps the newest entries of both together.
fn fit(runs: &mut Vec<RunRecord>, empty: &mut Vec<EmptyRuns>, limit: usize) {
    while runs.len() + empty.len() > limit {
        let older = match (runs.last(), empty.last()) {
            (Some(run), Some(empty)) => run.begin < empty.last_begin,
            (run, _) => run.is_some(),
        };
        if older {
            runs.pop();
        } else {
            empty.pop();
        }
    }
}

/// The runs of an hour that had nothing to send.
fn empty_row(empty: &EmptyRuns, names: &TaskNames) -> [String; 8] {
    let hour = zoned(empty.hour);
    [
        format!("{:.0}", empty.last_begin),
        names.label(empty.task),
        empty.table.clone(),
        "empty".to_owned(),
        "0".to_owned(),
        "0".to_owned(),
        format!("{:.1}", empty.seconds),
        match empty.runs {
            1 => "1 run without rows".to_owned(),
            n => format!("{n} runs without rows since {}", hour.strftime("%H:%M")),
        },
    ]
}

/// A run with its attempts.
pub fn object(store: &mut Store, run: &RunRecord, names: &TaskNames) -> Result<Value> {
    let attempts = store.attempts(run.id)?;
    let mut object = named(json!(run), names);
    object["attempts"] = json!(attempts);
    Ok(object)
}

/// An object of a task, with the name of the task.
pub(super) fn named(mut object: Value, names: &TaskNames) -> Value {
    let task = object["task"].as_u64().and_then(|task| task.try_into().ok());
    object["name"] = json!(task.and_then(|task| names.get(task)));
    object
}

/// Runs shown when neither a number nor a beginning is said.
const LIMIT: u64 = 20;

/// The moment that `--since` means, seen from `now`.
fn since(text: &str, now: &Zoned) -> Result<Timestamp> {
    if let Ok(ago) = parse_duration(text) {
        let ago = jiff::SignedDuration::try_from(ago);
        let then = ago.ok().and_then(|ago| now.timestamp().checked_sub(ago).ok());
        return Ok(then.unwrap_or(Timestamp::MIN));
    }
    let local = |at: civil::DateTime| at.to_zoned(now.time_zone().clone()).ok();
    let moment = text.parse::<Timestamp>().ok();
    let moment = moment.or_else(|| {
        let at = text.parse::<civil::DateTime>().ok();
        let at = at.or_else(|| text.parse::<civil::Date>().ok().map(|d| d.at(0, 0, 0, 0)));
        Some(local(at?)?.timestamp())
    });
    moment.ok_or_else(|| {
        Error::new(
            Kind::Usage,
            format!("--since {text:?} is neither a moment nor a length of time"),
        )
        .hint("Write 2h, 3d, 2026-12-01, 2026-12-01T08:00 or 2026-12-01T00:00:00Z.")
    })
}

fn row(run: &RunRecord, names: &TaskNames) -> [String; 8] {
    let error = run.error.as_ref().map(|e| e.message.clone());
    let resumed = run.interrupted.then(|| RESUMED.to_owned());
    let outcome = [attempts_words(run), run.message.clone().or(error).or(resumed)];
    [
        format!("{:.0}", run.begin),
        names.label(run.task),
        run.table.clone(),
        run_state(run),
        run.landed().map_or_else(|| UNKNOWN.to_owned(), |rows| rows.to_string()),
        run.counts.failed.to_string(),
        seconds(run).map(|s| format!("{s:.1}")).unwrap_or_default(),
        outcome.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}

/// An attempt, after what kept it from its end before it was tried again.
fn attempt_rows(number: u64, attempt: &AttemptRecord, run: &RunRecord) -> Vec<[String; 8]> {
    let cause = |cause: &Cause| {
        let empty = String::new;
        let what = format!("attempt {number}");
        let at = format!("{:.0}", cause.at);
        let why = cause.error.message.clone();
        [at, empty(), what, "tried again".to_owned(), empty(), empty(), empty(), why]
    };
    let mut rows: Vec<_> = attempt.causes.iter().map(cause).collect();
    rows.push(attempt_row(number, attempt, run));
    rows
}

fn attempt_row(number: u64, attempt: &AttemptRecord, run: &RunRecord) -> [String; 8] {
    let error = attempt.error.as_ref().map(|e| e.message.clone());
    [
        format!("{:.0}", attempt.begin),
        String::new(),
        format!("attempt {number}"),
        attempt_state(attempt.state, run),
        attempt.landed.map(|rows| rows.to_string()).unwrap_or_default(),
        String::new(),
        // When one died is not always known.
        match attempt.micros() {
            0 => String::new(),
            micros => format!("{:.1}", micros as f64 / 1e6),
        },
        error.unwrap_or_else(|| attempt.process.clone()),
    ]
}

/// The word for a state of a run or an attempt: the one that programs get.
pub fn word(state: &impl Serialize) -> String {
    json!(state).as_str().unwrap_or_default().to_owned()
}

/// The state of an attempt of a run, for people. The next attempt finds out that one has died; nobody
/// needs to wait for that.
pub fn attempt_state(state: AttemptState, run: &RunRecord) -> String {
    match state {
        AttemptState::Open if run.interrupted => word(&AttemptState::Died),
        state => word(&state),
    }
}

/// `3 attempts`, of a run that had more than one.
pub fn attempts_words(run: &RunRecord) -> Option<String> {
    (run.attempts > 1).then(|| format!("{} attempts", run.attempts))
}

/// How long a run took that has ended: its attempts, not the time between them.
fn seconds(run: &RunRecord) -> Option<f64> {
    run.end.map(|_| run.seconds)
}

/// Duration and rows of each run as bars, oldest first, tables one after the other.
fn chart(runs: &[RunRecord], names: &TaskNames, out: &mut Output) {
    let mut tables: BTreeMap<(u32, &str), Vec<&RunRecord>> = BTreeMap::new();
    for run in runs.iter().rev() {
        tables.entry((run.task, &run.table)).or_default().push(run);
    }
    if tables.is_empty() {
        out.line("no run is recorded");
    }
    for (n, ((task, table), runs)) in tables.iter().enumerate() {
        if n > 0 {
            out.line("");
        }
        out.line(format!("task {}, {table}", names.label(*task)));
        out.line(format!("  {:<20}  {:>9} {:BAR$}  {:>11}", "begin", "seconds", "", "rows"));
        let longest = runs.iter().filter_map(|r| seconds(r)).fold(0.0, f64::max);
        let most = runs.iter().filter_map(|r| r.landed()).max().unwrap_or(0) as f64;
        for run in runs {
            let begin = zoned(run.begin);
            let took = seconds(run);
            let mut line = format!(
                "  {}  {:>9} {:BAR$}  {:>11} {:BAR$}",
                begin.strftime("%m-%d %H:%M:%S%:z"),
                took.map(|s| format!("{s:.1}")).unwrap_or_default(),
                bar(took.unwrap_or(0.0), longest),
                run.landed().map_or_else(|| UNKNOWN.to_owned(), grouped),
                bar(run.landed().unwrap_or(0) as f64, most),
            );
            if run.state != RunState::Done {
                line = format!("{}  {}", line.trim_end(), word(&run.state));
            }
            out.line(line.trim_end());
        }
    }
}

/// A bar of eighths; what is more than nothing shows.
fn bar(value: f64, of: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if value <= 0.0 || of <= 0.0 {
        return String::new();
    }
    let eighths = ((value / of).min(1.0) * (BAR * 8) as f64).round().max(1.0) as usize;
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

/// Rows of a run of which only the destination knows by now.
pub const UNKNOWN: &str = "unknown";

/// What becomes of an open run whose process has died.
pub const RESUMED: &str = "resumed at the next start";

/// A run's state, for people: one that is open and has no process was interrupted.
pub fn run_state(run: &RunRecord) -> String {
    if run.interrupted { word(&RunState::Interrupted) } else { word(&run.state) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn since_is_a_length_of_time_or_a_moment_of_this_host() {
        let now: Zoned = "2026-12-03T09:00:00+08:00[Asia/Shanghai]".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-12-02T23:00:00Z"),
            ("1d 12h", "2026-12-01T13:00:00Z"),
            ("2026-12-01", "2026-11-30T16:00:00Z"),
            ("2026-12-01T08:00", "2026-12-01T00:00:00Z"),
            ("2026-12-01 08:00:30", "2026-12-01T00:00:30Z"),
            ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00Z"),
            ("2026-12-01T08:00:00+08:00", "2026-12-01T00:00:00Z"),
        ] {
            assert_eq!(since(text, &now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "5", "-2h"] {
            assert_eq!(since(text, &now).unwrap_err().kind, Kind::Usage, "{text}");
        }
        assert!(since("36600d", &now).unwrap() < now.timestamp());
    }

    #[test]
    fn bars_are_in_proportion_and_something_is_never_nothing() {
        assert_eq!(bar(5.0, 5.0), "█".repeat(BAR));
        assert_eq!(bar(2.5, 5.0), "█".repeat(BAR / 2));
        assert_eq!((bar(0.0, 5.0).as_str(), bar(0.001, 5.0).as_str()), ("", "▏"));
        assert_eq!(bar(0.0, 0.0), "");
    }
}
