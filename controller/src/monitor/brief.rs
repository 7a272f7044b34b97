//! The brief (A12, A27): what was transferred, what failed, what waits for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use ssync_common::config::{Language, TaskNames};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{What, events_between};
use ssync_common::process::identity::host_name;
use ssync_common::shm::TaskTable;
use ssync_common::shm::waiting::TaskState;
use ssync_common::store::{Hold, HoldKind, Store, TableSummary};

use super::chinese;
use super::state::{self, Settings};
use crate::clock::localized_to;
use crate::terminal::{counted, grouped};

/// Lines of a list.
const LINES_MAX: usize = 20;
/// Tables that are named as the slowest.
const SLOWEST: usize = 5;
/// Characters of a line about a failure.
const LINE_CHARS_MAX: usize = 200;

/// Everything a brief says.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Brief {
    /// The host.
    pub host: String,
    /// From when, included.
    pub from: Timestamp,
    /// Until when, not included.
    pub to: Timestamp,
    /// Runs that ended.
    pub runs: u64,
    /// Rows that landed.
    pub rows: u64,
    /// Rows that were bad when their run ended.
    pub bad_rows: u64,
    /// Rows that wait to be corrected now, whenever they became bad.
    pub bad_rows_waiting: u64,
    /// Bytes that travelled.
    pub bytes: u64,
    /// Runs that failed.
    pub failed_runs: u64,
    /// Runs that were interrupted, and have not gone on.
    pub interrupted_runs: u64,
    /// By task and table.
    pub tables: Vec<TableSummary>,
    /// What went wrong, oldest first.
    pub failures: Vec<Failure>,
    /// What does not run until an operator resumes it.
    pub held: Vec<Hold>,
    /// What runs now.
    pub running: Vec<Running>,
    /// Runs whose process died, and that wait for the next start. What they have landed counts once
    /// they go on.
    pub interrupted: Vec<Interrupted>,
    /// Receivers that could not be told.
    pub silent: Vec<Silent>,
    /// The names of its tasks.
    #[serde(skip)]
    pub names: TaskNames,
    /// Why the history is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_error: Option<Error>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// What happened.
    pub text: String,
}

/// A running task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Running {
    /// The task.
    pub task: u32,
    /// Its table at this moment.
    pub table: String,
    /// For how long, in seconds.
    pub seconds: i64,
    /// Rows of that table that have landed so far.
    pub rows: u64,
}

/// A run whose process died.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interrupted {
    /// The task.
    pub task: u32,
    /// Its table.
    pub table: String,
    /// When it was begun.
    pub begin: Timestamp,
    /// Rows that have landed so far; `None`: not known before the run goes on (`full`, `increment`).
    pub rows: Option<u64>,
}

/// A receiver that could not be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Silent {
    /// Its name.
    pub receiver: String,
    /// Events that wait.
    pub waiting: u64,
    /// Events that were given up, ever.
    pub given_up: u64,
    /// Why.
    pub error: Option<String>,
}

/// Collects what a brief of `from ≤ … < to` says. Without the configuration database it says so,
/// and the rest all the same. What is so now (what runs, waits, or is held) belongs into one of a
/// period that `reaches_now`.
pub fn gather(
    home: &Path,
    store: Result<&mut Store>,
    settings: &Settings,
    (from, to): (Timestamp, Timestamp),
    reaches_now: bool,
) -> Brief {
    let mut brief = Brief { host: host_name(), from, to, ..Brief::default() };
    match store.and_then(|store| recorded(store, from, to)) {
        Ok(Recorded { tables, held, names, bad_rows_waiting, interrupted }) => {
            let sum = |of: fn(&TableSummary) -> u64| tables.iter().map(of).sum::<u64>();
            brief.runs = sum(|t| t.runs);
            brief.rows = sum(|t| t.rows);
            brief.bad_rows = sum(|t| t.bad_rows);
            brief.bytes = sum(|t| t.bytes);
            brief.failed_runs = sum(|t| t.failed_runs);
            brief.interrupted_runs = sum(|t| t.interrupted_runs);
            (brief.tables, brief.held, brief.names) = (tables, held, names);
            (brief.bad_rows_waiting, brief.interrupted) = (bad_rows_waiting, interrupted);
        }
        Err(e) => brief.history_error = Some(e),
    }
    match events_between(home, from, to) {
        Ok(events) => {
            let wrong = events.into_iter().filter(|e| is_failure(e.what));
            let failure =
                |e: ssync_common::event::Event| Failure { at: e.at, what: e.what, text: e.text };
            brief.failures = wrong.map(failure).collect();
        }
        Err(e) => log::error!("could not read the events: {e}"),
    }
    if !reaches_now {
        (brief.held, brief.interrupted, brief.bad_rows_waiting) = (vec![], vec![], 0);
        return brief;
    }
    brief.running = running(home).unwrap_or_default();
    for receiver in &settings.receivers {
        let Ok(standing) = state::standing(home, receiver) else { continue };
        if standing.state.failing_since.is_some() || standing.state.given_up > 0 {
            brief.silent.push(Silent {
                receiver: receiver.name.clone(),
                waiting: standing.waiting,
                given_up: standing.state.given_up,
                error: standing.state.error,
            });
        }
    }
    brief
}

/// What the configuration database knows.
struct Recorded {
    tables: Vec<TableSummary>,
    held: Vec<Hold>,
    names: TaskNames,
    bad_rows_waiting: u64,
    interrupted: Vec<Interrupted>,
}

fn recorded(store: &mut Store, from: Timestamp, to: Timestamp) -> Result<Recorded> {
    let tables: BTreeSet<_> = store
        .load()?
        .tasks
        .into_iter()
        .flat_map(|task| task.tables.into_iter().map(move |table| (task.id, table.name)))
        .collect();
    let bad_rows = store.bad_rows()?.into_iter().filter(|(place, _)| tables.contains(place));
    let interrupted = store.interrupted_runs()?.into_iter().map(|run| Interrupted {
        // Where the rows carry no state it is known once the next attempt has looked at the destination.
        rows: run.landed(),
        task: run.task,
        table: run.table,
        begin: run.begin,
    });
    Ok(Recorded {
        tables: store.summary(from, to)?,
        held: store.holds(None)?,
        names: store.task_names()?,
        bad_rows_waiting: bad_rows.map(|(_, rows)| rows).sum(),
        interrupted: interrupted.collect(),
    })
}

/// Whether it belongs among what went wrong. (A suspension stands among what is held.)
fn is_failure(what: What) -> bool {
    match what {
        What::TaskFailed
        | What::TaskStuck
        | What::TaskDied
        | What::TaskKilled
        | What::FiringsMissed
        | What::TasksFull
        | What::ConfigurationLost
        | What::RecordsRefused
        | What::ControllerDown
        | What::WatchdogRestart
        | What::WatchdogGaveUp => true,
        What::TaskSuspended
        | What::TaskResumed
        | What::TaskMoves
        | What::RowsBad
        | What::ServerChanged
        | What::ConfigurationBack
        | What::ControllerStarted
        | What::ControllerStopped
        | What::DailyBrief
        | What::TableDone
        | What::Test => false,
    }
}

fn running(home: &Path) -> Result<Vec<Running>> {
    let Some(table) = TaskTable::open(home)? else { return Ok(Vec::new()) };
    let now = Timestamp::now().as_millisecond();
    let running =
        table.snapshot()?.into_iter().filter(|t| t.alive && t.state == TaskState::Running);
    let line = |task: ssync_common::shm::TaskView| Running {
        task: task.task_id,
        table: task.table,
        seconds: (now - i64::try_from(task.started_ms).unwrap_or(now)).max(0) / 1000,
        rows: task.counters.rows_landed,
    };
    Ok(running.map(line).collect())
}

/// The period of a calendar day of the host.
///
/// # Errors
/// [`Kind::Usage`] when `date` is no day (`2026-12-01`).
pub fn day(date: &str, zone: &TimeZone) -> Result<(Timestamp, Timestamp)> {
    let wrong = || {
        Error::new(Kind::Usage, format!("{date:?} is not a day")).hint("Write it as 2026-12-01.")
    };
    let day: jiff::civil::Date = date.parse().map_err(|_| wrong())?;
    let start = |day: jiff::civil::Date| day.to_zoned(zone.clone()).map(|z| z.timestamp());
    let next = day.tomorrow().map_err(|_| wrong())?;
    Ok((start(day).map_err(|_| wrong())?, start(next).map_err(|_| wrong())?))
}

/// The words of one language.
struct Words {
    title: &'static str,
    until: &'static str,
    no_history: &'static str,
    nothing: &'static str,
    none_ended: &'static str,
    waiting: fn(u64) -> String,
    totals: fn(&Brief, usize, usize) -> String,
    failures: &'static str,
    held: &'static str,
    paused: &'static str,
    suspended: &'static str,
    held_line: fn(&str, &str, &str) -> String,
    colon: &'static str,
    running: &'static str,
    interrupted: &'static str,
    slowest: &'static str,
    tables: &'static str,
    silent: &'static str,
    more: fn(usize) -> String,
    place: fn(&str, &str) -> String,
    line: fn(&TableSummary) -> String,
    run: fn(&Running) -> String,
    begun: fn(&str) -> String,
    so_far: fn(&Interrupted) -> String,
    mute: fn(&Silent) -> String,
    seconds: fn(f64) -> String,
}

const EN: Words = Words {
    title: "ssync brief of",
    until: "to",
    no_history: "The history is missing, the configuration database could not be read",
    nothing: "Nothing was transferred.",
    none_ended: "No run has ended.",
    waiting: |n| match n {
        1 => "1 bad row waits to be corrected: ssync errors.".to_owned(),
        n => format!("{} bad rows wait to be corrected: ssync errors.", grouped(n)),
    },
    totals: |b, tasks, tables| {
        format!(
            "{} of {} ({}): {}, {}; {} failed,{} {} bad.",
            counted(b.runs, "run"),
            counted(tables as u64, "table"),
            counted(tasks as u64, "task"),
            counted(b.rows, "row"),
            bytes(b.bytes),
            counted(b.failed_runs, "run"),
            match b.interrupted_runs {
                0 => String::new(),
                1 => " 1 was interrupted,".to_owned(),
                n => format!(" {} were interrupted,", grouped(n)),
            },
            match b.bad_rows {
                1 => "1 row was".to_owned(),
                n => format!("{} rows were", grouped(n)),
            }
        )
    },
    failures: "What went wrong:",
    held: "Waiting for an operator:",
    paused: "paused",
    suspended: "suspended",
    held_line: |place, kind, since| format!("{place}: {kind}, since {since}"),
    colon: ": ",
    running: "Running now:",
    interrupted: "Interrupted, to be resumed by the next start:",
    slowest: "Slowest:",
    tables: "Tables:",
    silent: "Receivers that could not be told:",
    more: |n| format!("and {n} more"),
    place: |task, table| match table {
        "" => format!("task {task}"),
        table => format!("task {task}, {table}"),
    },
    line: |t| {
        let failed = match t.failed_runs {
            0 => String::new(),
            n => format!(", {} failed", grouped(n)),
        };
        let interrupted = match t.interrupted_runs {
            0 => String::new(),
            n => format!(", {} interrupted", grouped(n)),
        };
        format!(
            "{}{failed}{interrupted}, {}, {}",
            counted(t.runs, "run"),
            counted(t.rows, "row"),
            bytes(t.bytes)
        )
    },
    run: |r| format!("for {}, {} so far", duration(r.seconds), counted(r.rows, "row")),
    begun: |at| format!("since {at}, "),
    so_far: |i| match i.rows {
        Some(rows) => format!("{} so far", counted(rows, "row")),
        None => "how many rows have landed is known once it goes on".to_owned(),
    },
    mute: |s| format!("{} waiting, {} given up", grouped(s.waiting), grouped(s.given_up)),
    seconds: |seconds| format!("{seconds:.1} s"),
};

const ZH: Words = Words {
    title: "ssync 日报，主机",
    until: "至",
    no_history: "缺少历史记录：无法读取配置库",
    nothing: "没有传输任何数据。",
    none_ended: "没有已结束的运行。",
    waiting: |n| format!("目前有 {} 行错误数据待更正：ssync errors。", grouped(n)),
    totals: |b, tasks, tables| {
        format!(
            "{tasks} 个任务、{tables} 张表共运行 {} 次：{} 行，{}；失败 {} 次，{}错误行 {}。",
            grouped(b.runs),
            grouped(b.rows),
            bytes(b.bytes),
            grouped(b.failed_runs),
            match b.interrupted_runs {
                0 => String::new(),
                n => format!("中断 {} 次，", grouped(n)),
            },
            grouped(b.bad_rows)
        )
    },
    failures: "异常：",
    held: "等待人工处理：",
    paused: "暂停",
    suspended: "挂起",
    held_line: |place, kind, since| format!("{place}：自 {since} 起{kind}"),
    colon: "：",
    running: "正在运行：",
    interrupted: "已中断，下次启动时续传：",
    slowest: "最慢：",
    tables: "各表：",
    silent: "未能通知的接收者：",
    more: |n| format!("另有 {n} 条"),
    place: |task, table| match table {
        "" => format!("任务 {task}"),
        table => format!("任务 {task}，{table}"),
    },
    line: |t| {
        let failed = match t.failed_runs {
            0 => String::new(),
            n => format!("（失败 {} 次）", grouped(n)),
        };
        let interrupted = match t.interrupted_runs {
            0 => String::new(),
            n => format!("（中断 {} 次）", grouped(n)),
        };
        format!(
            "{} 次{failed}{interrupted}，{} 行，{}",
            grouped(t.runs),
            grouped(t.rows),
            bytes(t.bytes)
        )
    },
    run: |r| format!("已运行 {}，目前 {} 行", duration(r.seconds), grouped(r.rows)),
    begun: |at| format!("{at} 开始，"),
    so_far: |i| match i.rows {
        Some(rows) => format!("目前 {} 行", grouped(rows)),
        None => "已到达行数须待续传后才可知".to_owned(),
    },
    mute: |s| format!("待发 {} 条，放弃 {} 条", grouped(s.waiting), grouped(s.given_up)),
    seconds: |seconds| format!("{seconds:.1} 秒"),
};

/// The brief as plain text, for mail, chat and SMS.
pub fn render(brief: &Brief, language: Language, zone: &TimeZone) -> String {
    let words = match language {
        Language::En => &EN,
        Language::Zh => &ZH,
    };
    let time = |at: Timestamp, form: &str| at.to_zoned(zone.clone()).strftime(form).to_string();
    let (full, short) = ("%Y-%m-%d %H:%M%:z", "%m-%d %H:%M%:z");
    // As it is recorded, for people of this language and zone.
    let told = |text: &str| {
        let named = brief.names.named(text);
        let ours = match language {
            Language::En => named.into_owned(),
            Language::Zh => chinese::translated(&named),
        };
        localized_to(&ours, zone).into_owned()
    };
    let mut text = format!(
        "{} {}\n{} {} {}\n\n",
        words.title,
        brief.host,
        time(brief.from, full),
        words.until,
        time(brief.to, full)
    );
    let mut tasks: Vec<_> = brief.tables.iter().map(|t| t.task).collect();
    tasks.dedup();
    let _ = match &brief.history_error {
        Some(e) => writeln!(text, "{}{}{e}", words.no_history, words.colon),
        None if !brief.tables.is_empty() => {
            writeln!(text, "{}", (words.totals)(brief, tasks.len(), brief.tables.len()))
        }
        None if brief.running.is_empty() && brief.interrupted.is_empty() => {
            writeln!(text, "{}", words.nothing)
        }
        None => writeln!(text, "{}", words.none_ended),
    };
    if brief.bad_rows_waiting > 0 {
        let _ = writeln!(text, "{}", (words.waiting)(brief.bad_rows_waiting));
    }
    let mut list = |heading: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{heading}");
        for line in lines.iter().take(LINES_MAX) {
            let _ = writeln!(text, "  {line}");
        }
        if lines.len() > LINES_MAX {
            let _ = writeln!(text, "  {}", (words.more)(lines.len() - LINES_MAX));
        }
    };
    let failure = |f: &Failure| {
        let what: String = told(&f.text).chars().take(LINE_CHARS_MAX).collect();
        format!("{}  {what}", time(f.at, short))
    };
    list(words.failures, brief.failures.iter().map(failure).collect());
    let label = |task: u32| brief.names.label(task);
    let of = |whose: &str, what: String| format!("{whose}{}{what}", words.colon);
    let hold = |h: &Hold| {
        let kind = match h.kind {
            HoldKind::Paused => words.paused,
            HoldKind::Suspended => words.suspended,
        };
        let place = (words.place)(&label(h.task), h.table.as_deref().unwrap_or_default());
        let why = h.reason.as_ref().map(|r| format!("{}{}", words.colon, told(r)));
        (words.held_line)(&place, kind, &time(h.since, short)) + &why.unwrap_or_default()
    };
    list(words.held, brief.held.iter().map(hold).collect());
    let run = |r: &Running| of(&(words.place)(&label(r.task), &r.table), (words.run)(r));
    list(words.running, brief.running.iter().map(run).collect());
    let interrupted = |i: &Interrupted| {
        let place = (words.place)(&label(i.task), &i.table);
        of(&place, (words.begun)(&time(i.begin, short)) + &(words.so_far)(i))
    };
    list(words.interrupted, brief.interrupted.iter().map(interrupted).collect());
    let mute = |s: &Silent| {
        let why = s.error.as_ref().map(|e| format!("{}{e}", words.colon)).unwrap_or_default();
        of(&s.receiver, (words.mute)(s)) + &why
    };
    list(words.silent, brief.silent.iter().map(mute).collect());
    let mut slowest: Vec<_> = brief.tables.iter().filter(|t| t.seconds_max > 0.0).collect();
    slowest.sort_by(|a, b| b.seconds_max.total_cmp(&a.seconds_max));
    let slow = |t: &&TableSummary| {
        of(&(words.place)(&label(t.task), &t.table), (words.seconds)(t.seconds_max))
    };
    list(words.slowest, slowest.iter().take(SLOWEST).map(slow).collect());
    let line = |t: &TableSummary| of(&(words.place)(&label(t.task), &t.table), (words.line)(t));
    list(words.tables, brief.tables.iter().map(line).collect());
    text
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn duration(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    ssync_common::config::duration_text(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn table(task: u32, table: &str, seconds_max: f64, failed_runs: u64) -> TableSummary {
        TableSummary {
            task,
            table: table.into(),
            runs: 1440,
            failed_runs,
            interrupted_runs: 0,
            rows: 1_234_567,
            bad_rows: 0,
            bytes: 98_765_432,
            seconds_max,
        }
    }

    fn brief() -> Brief {
        Brief {
            host: "db1".into(),
            from: at("2026-12-01T00:30:00Z"),
            to: at("2026-12-02T00:30:00Z"),
            runs: 2880,
            rows: 2_469_134,
            bad_rows: 3,
            bad_rows_waiting: 1,
            bytes: 197_530_864,
            failed_runs: 1,
            interrupted_runs: 0,
            tables: vec![table(7, "orders", 1.5, 1), table(8, "items", 61.25, 0)],
            failures: vec![Failure {
                at: at("2026-12-01T06:00:00Z"),
                what: What::TaskFailed,
                text: "task 7, table orders failed: could not connect to warehouse".into(),
            }],
            held: vec![Hold {
                task: 7,
                table: None,
                kind: HoldKind::Suspended,
                since: at("2026-12-01T06:00:01Z"),
                reason: Some("table orders: could not connect to warehouse".into()),
                error: Some(Kind::Connect),
            }],
            running: vec![Running { task: 8, table: "items".into(), seconds: 3700, rows: 1000 }],
            interrupted: vec![Interrupted {
                task: 9,
                table: "bills".into(),
                begin: at("2026-12-01T05:00:00Z"),
                rows: Some(1),
            }],
            silent: vec![Silent {
                receiver: "mail".into(),
                waiting: 2,
                given_up: 0,
                error: Some("connection refused".into()),
            }],
            names: TaskNames::from_iter([(8, "对账".to_owned())]),
            history_error: None,
        }
    }

    #[test]
    fn the_brief_in_english() {
        let text = render(&brief(), Language::En, &TimeZone::fixed(jiff::tz::offset(8)));
        let wanted = "\
ssync brief of db1
2026-12-01 08:30+08:00 to 2026-12-02 08:30+08:00

2,880 runs of 2 tables (2 tasks): 2,469,134 rows, 188.4 MiB; 1 run failed, 3 rows were bad.
1 bad row waits to be corrected: ssync errors.

What went wrong:
  12-01 14:00+08:00  task 7, table orders failed: could not connect to warehouse

Waiting for an operator:
  task 7: suspended, since 12-01 14:00+08:00: table orders: could not connect to warehouse

Running now:
  task 8 (对账), items: for 1h 1m 40s, 1,000 rows so far

Interrupted, to be resumed by the next start:
  task 9, bills: since 12-01 13:00+08:00, 1 row so far

Receivers that could not be told:
  mail: 2 waiting, 0 given up: connection refused

Slowest:
  task 8 (对账), items: 61.2 s
  task 7, orders: 1.5 s

Tables:
  task 7, orders: 1,440 runs, 1 failed, 1,234,567 rows, 94.2 MiB
  task 8 (对账), items: 1,440 runs, 1,234,567 rows, 94.2 MiB
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn the_brief_in_chinese() {
        let text = render(&brief(), Language::Zh, &TimeZone::fixed(jiff::tz::offset(8)));
        let wanted = "\
ssync 日报，主机 db1
2026-12-01 08:30+08:00 至 2026-12-02 08:30+08:00

2 个任务、2 张表共运行 2,880 次：2,469,134 行，188.4 MiB；失败 1 次，错误行 3。
目前有 1 行错误数据待更正：ssync errors。

异常：
  12-01 14:00+08:00  任务 7，表 orders 失败：could not connect to warehouse

等待人工处理：
  任务 7：自 12-01 14:00+08:00 起挂起：表 orders：could not connect to warehouse

正在运行：
  任务 8 (对账)，items：已运行 1h 1m 40s，目前 1,000 行

已中断，下次启动时续传：
  任务 9，bills：12-01 13:00+08:00 开始，目前 1 行

未能通知的接收者：
  mail：待发 2 条，放弃 0 条：connection refused

最慢：
  任务 8 (对账)，items：61.2 秒
  任务 7，orders：1.5 秒

各表：
  任务 7，orders：1,440 次（失败 1 次），1,234,567 行，94.2 MiB
  任务 8 (对账)，items：1,440 次，1,234,567 行，94.2 MiB
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn an_empty_brief_and_one_without_history_say_so() {
        let empty = Brief { host: "db1".into(), ..Brief::default() };
        assert!(render(&empty, Language::En, &TimeZone::UTC).contains("Nothing was transferred."));
        let running = Running { task: 1, table: "t".into(), seconds: 9, rows: 5 };
        let under_way = Brief { running: vec![running], ..empty.clone() };
        let told = render(&under_way, Language::En, &TimeZone::UTC);
        assert!(told.contains("No run has ended."), "{told}");
        let error = Some(Error::new(Kind::Connect, "connection refused"));
        let broken = Brief { history_error: error, ..empty };
        let text = render(&broken, Language::En, &TimeZone::UTC);
        assert!(text.contains("could not be read: connection refused"), "{text}");
    }

    #[test]
    fn moments_within_a_text_are_the_hosts() {
        let failure = Failure {
            at: at("2026-12-01T06:00:00Z"),
            what: What::TaskFailed,
            text: "task 7 was suspended since 2026-12-01T05:00:00Z".into(),
        };
        let brief = Brief { failures: vec![failure], ..Brief::default() };
        let text = render(&brief, Language::En, &TimeZone::fixed(jiff::tz::offset(8)));
        assert!(text.contains("suspended since 2026-12-01 13:00:00+08:00"), "{text}");
    }

    #[test]
    fn a_day_is_the_hosts() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let wanted = (at("2026-11-30T16:00:00Z"), at("2026-12-01T16:00:00Z"));
        assert_eq!(day("2026-12-01", &zone).unwrap(), wanted);
        assert_eq!(day("yesterday", &zone).unwrap_err().kind, Kind::Usage);
    }
}
