//! What a task process leaves behind for people: the line of the reminder log for every table that
//! has ended (A12), and events for what went wrong (A16).
//!
//! What is to be told because a table has ended is a [`Notice`], which is written down with the end of
//! the run. Whoever tells it, its own process or another one after its death, tells it by [`tell`].
//!
//! Of an error only its primary line is passed on: details may quote a database's own words.

use std::path::Path;

use jiff::Timestamp;
use ssync_common::config::{TableTask, Task};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{
    Event, Notice, RunTotals, Suspension, TableEnd, TableOutcome, What, event_is_recorded, record,
    record_table, table_is_recorded,
};
use ssync_common::failpoint;
use ssync_common::ledger::Id;
use ssync_common::logging::set_context;
use ssync_common::process::RunId;

use crate::counts::Counts;
use crate::params::TaskParams;
use crate::report::{TableReport, TableResult};

/// A table begins now: from here on every line of the log names it.
pub fn table_begins(params: &TaskParams, table: &TableTask) -> Timestamp {
    set_context("task", params.task.id);
    set_context("table", &table.name);
    set_context("run", "");
    // Many schedules look every second, and find nothing.
    let level = if params.fires_often { log::Level::Debug } else { log::Level::Info };
    log::log!(level, "begins");
    Timestamp::now()
}

/// A table has ended, well or not.
pub fn table_ended(params: &TaskParams, report: &TableReport) {
    let counts = &report.counts;
    let is_nothing = params.fires_often && report.is_empty();
    let level = if is_nothing { log::Level::Debug } else { log::Level::Info };
    log::log!(
        level,
        rows = counts.landed, bad = counts.failed, seconds = format!("{:.1}", report.seconds);
        "ended: {:?}", report.result
    );
}

/// A table that has ended.
#[derive(Clone, Copy)]
pub struct Ended<'a> {
    /// The table.
    pub table: &'a str,
    /// Its run, if it got that far.
    pub run: Option<&'a Id>,
    /// Whether an attempt before this one had begun the run.
    pub is_resumed: bool,
    /// The books of the attempt.
    pub counts: &'a Counts,
    /// The failure.
    pub error: Option<&'a Error>,
    /// When the attempt began.
    pub begin: Timestamp,
}

/// What is to be told of it; `None`: nothing.
///
/// # Errors
/// Those of [`Notice::new`].
pub fn notice(params: &TaskParams, ended: Ended<'_>) -> Result<Option<Notice>> {
    let Ended { counts, error, .. } = ended;
    let result = TableResult::of(counts, counts.failed, error);
    let outcome = match result {
        // Many schedules look every second, and find nothing.
        TableResult::Done if params.fires_often && !ended.is_resumed && counts.is_nothing() => {
            return Ok(None);
        }
        TableResult::Done | TableResult::DoneUnconfirmed => TableOutcome::Done,
        TableResult::DoneWithErrors => TableOutcome::DoneWithErrors,
        TableResult::Failed => TableOutcome::Failed,
        TableResult::Interrupted => TableOutcome::Interrupted,
        TableResult::Paused if ended.run.is_some() => TableOutcome::Paused,
        // Somebody else runs it and will say how it ended; or it has not begun.
        TableResult::Locked | TableResult::Paused | TableResult::NotStarted => return Ok(None),
    };
    let of = (params.task.id, ended.table);
    let suspension = (params.realtime && outcome == TableOutcome::Failed)
        .then(|| suspension(&params.task, ended.table, error));
    Ok(Some(Notice {
        run: ended.run.map(|run| RunId(*run)),
        is_resumed: ended.is_resumed,
        landed: counts.landed,
        bad: counts.failed,
        waiting: counts.waiting,
        bytes: counts.bytes,
        error: error.cloned(),
        suspension,
        ..Notice::new(&params.home, of, ended.begin, outcome)?
    }))
}

/// The scene of a failed real-time task is left as it is, and the task does not run again until
/// an operator says so (A16), or a server that was out of reach is back.
fn suspension(task: &Task, table: &str, cause: Option<&Error>) -> Suspension {
    let reason = format!("table {table}: {}", cause.map_or(String::new(), ToString::to_string));
    let error = cause.map(|cause| cause.kind).filter(|kind| kind.is_unreachable());
    Suspension { reason, error, way_back: way_back(task, error) }
}

/// Whether it cannot be told yet: what earlier attempts of the run came to decides whether there is
/// anything to be told, and is not known.
pub fn must_wait(notice: &Notice, totals: Option<&RunTotals>) -> bool {
    notice.is_resumed && totals.is_none() && notice.outcome == TableOutcome::Done
}

/// Tells people of a table that has ended. `totals`: the run in all of its attempts, where this one has
/// resumed it and they are known. With `is_late` some of it, or all, may have been told before.
pub fn tell(home: &Path, notice: &Notice, totals: Option<RunTotals>, is_late: bool) {
    let id = notice.id.to_string();
    let result = match notice.outcome {
        TableOutcome::Done if totals.is_some_and(|run| run.failed > 0) => {
            TableOutcome::DoneWithErrors
        }
        outcome => outcome,
    };
    let is_there = || known(table_is_recorded(home, &id, notice.end));
    if !is_late || !is_there() {
        record_table(
            home,
            &TableEnd {
                task: notice.task,
                table: notice.table.clone(),
                run: notice.run.map(|run| run.to_string()),
                begin: notice.begin,
                end: notice.end,
                result,
                rows: notice.landed,
                bad_rows: notice.bad + notice.waiting,
                bytes: notice.bytes,
                run_totals: totals,
                error: notice.error.as_ref().map(|e| e.kind),
                id: id.clone(),
            },
        );
    }
    failpoint::hit("telling.after_reminder", 1);
    let event = |event: Event, id: String| {
        if is_late && known(event_is_recorded(home, &id, notice.end)) {
            return;
        }
        let mut text = event.text.clone();
        if is_late {
            text += &format!("; it ended at {:.0}", notice.end);
        }
        let event = Event { id, text, ..event };
        record(home, &event.of_table(notice.task, &notice.table).of_run(notice.run));
    };
    if let Some(news) = news(notice, result, totals.as_ref()) {
        event(news, id.clone());
    }
    failpoint::hit("telling.after_event", 1);
    if let Some(suspension) = &notice.suspension {
        let text = format!(
            "task {} is suspended because table {} failed; its rows are left as they are; {}",
            notice.task, notice.table, suspension.way_back
        );
        event(Event::new(What::TaskSuspended, text), format!("{id}-suspended"));
    }
}

/// Whether something is known to have been told. What cannot be read is told again rather than not at
/// all.
fn known(is_recorded: Result<bool>) -> bool {
    is_recorded.unwrap_or_else(|e| {
        log::warn!("what was told cannot be read: {e}");
        false
    })
}

/// What went wrong with the table, if anything did.
fn news(notice: &Notice, result: TableOutcome, totals: Option<&RunTotals>) -> Option<Event> {
    let (task, table) = (notice.task, &notice.table);
    match (result, &notice.error) {
        (TableOutcome::Failed, error) => {
            let why = error.as_ref().map_or_else(String::new, ToString::to_string);
            let event =
                Event::new(What::TaskFailed, format!("task {task}, table {table} failed: {why}"));
            Some(error.as_ref().map_or(event.clone(), |error| event.because(error)))
        }
        (TableOutcome::DoneWithErrors, _) => {
            let bad = notice.bad.max(totals.map_or(0, |run| run.failed));
            let landed = notice.landed.max(totals.map_or(0, |run| run.landed));
            // Rows that others hold locked go with the next run: nobody has to do anything.
            if bad + notice.waiting == 0 {
                return None;
            }
            let mut text = format!(
                "task {task}, table {table}: {}, {}, {} landed",
                rows(bad, "is bad", "are bad"),
                rows(notice.waiting, "waits for its parent", "wait for their parents"),
                rows(landed, "has", "have")
            );
            text += match (totals, notice.is_resumed) {
                (Some(_), _) => " in all attempts of the run",
                (None, true) => {
                    " in this attempt; what earlier attempts of the run came to is not known"
                }
                (None, false) => "",
            };
            if bad > 0 {
                text += &format!("; ssync errors {task} names the bad ones");
            }
            Some(Event::new(What::RowsBad, text))
        }
        (TableOutcome::Done | TableOutcome::Interrupted | TableOutcome::Paused, _) => None,
    }
}

/// A table stands on another server than before; nothing was under way.
pub fn server_changed(params: &TaskParams, table: &str, note: &str) {
    let task = params.task.id;
    log::warn!("{note}");
    let event = Event::new(What::ServerChanged, format!("task {task}, table {table}: {note}"));
    record(&params.home, &event.of_table(task, table));
}

/// So many rows, and what they do.
fn rows(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 row {one}"),
        n => format!("{n} rows {many}"),
    }
}

/// What lets a suspended task run again.
fn way_back(task: &Task, error: Option<Kind>) -> String {
    let id = task.id;
    match error.is_some_and(Kind::is_unreachable) && task.resume_when_back {
        true => format!(
            "the daemon resumes it when both of its links answer again, ssync resume {id} does so now"
        ),
        false => format!("ssync resume {id} lets it run again"),
    }
}

/// A task of a real-time schedule has failed, and could not be suspended.
pub fn not_suspended(home: &Path, notice: &Notice, why: &Error) {
    let (task, table) = (notice.task, &notice.table);
    let text = format!(
        "task {task} should be suspended because table {table} failed, but could not be, and will run \
         again: {why}; ssync pause {task} keeps it from that"
    );
    let event = Event::new(What::TaskSuspended, text);
    record(home, &event.of_table(task, table).of_run(notice.run));
}
