//! What a task process leaves behind for people: the line of the reminder log for every table that
//! has ended (A12), and events for what went wrong (A16).
//!
//! Of an error only its primary line is passed on: details may quote a database's own words.

use jiff::Timestamp;
use ssync_common::config::{TableTask, Task};
use ssync_common::error::{Kind, Result};
use ssync_common::event::{Event, TableEnd, TableOutcome, What, record, record_table};
use ssync_common::logging::set_context;

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
pub fn table_ended(params: &TaskParams, report: &TableReport, begin: Timestamp) {
    let (task, counts) = (params.task.id, &report.counts);
    let is_nothing = params.fires_often && report.is_empty();
    let level = if is_nothing { log::Level::Debug } else { log::Level::Info };
    log::log!(
        level,
        rows = counts.landed, bad = counts.failed, seconds = format!("{:.1}", report.seconds);
        "ended: {:?}", report.result
    );
    let result = match report.result {
        TableResult::Done => TableOutcome::Done,
        TableResult::DoneWithErrors => TableOutcome::DoneWithErrors,
        TableResult::Failed => TableOutcome::Failed,
        TableResult::Interrupted => TableOutcome::Interrupted,
        TableResult::Paused if report.run.is_some() => TableOutcome::Paused,
        // Somebody else runs it and will say how it ended; or it has not begun.
        TableResult::Locked | TableResult::Paused | TableResult::NotStarted => return,
    };
    if is_nothing {
        return;
    }
    record_table(
        &params.home,
        &TableEnd {
            task,
            table: report.table.clone(),
            run: report.run.clone(),
            begin,
            end: Timestamp::now(),
            result,
            rows: counts.landed,
            bad_rows: counts.failed + counts.waiting,
            bytes: counts.bytes,
            run_totals: report.run_totals,
            error: report.error.as_ref().map(|e| e.kind),
        },
    );
    let table = &report.table;
    let event = match (result, &report.error) {
        (TableOutcome::Failed, error) => {
            let why = error.as_ref().map_or_else(String::new, ToString::to_string);
            let text = format!("task {task}, table {table} failed: {why}");
            let event = Event::new(What::TaskFailed, text);
            error.as_ref().map_or(event.clone(), |error| event.because(error))
        }
        (TableOutcome::DoneWithErrors, _) if report.bad_rows() + counts.waiting > 0 => {
            let mut text = format!(
                "task {task}, table {table}: {}, {}, {} landed",
                rows(report.bad_rows(), "is bad", "are bad"),
                rows(counts.waiting, "waits for its parent", "wait for their parents"),
                rows(report.landed_rows(), "has", "have")
            );
            if report.run_totals.is_some() {
                text += " in all attempts of the run";
            }
            if report.bad_rows() > 0 {
                text += &format!("; ssync errors {task} names the bad ones");
            }
            Event::new(What::RowsBad, text)
        }
        // Rows that others hold locked go with the next run: nobody has to do anything.
        (TableOutcome::DoneWithErrors, _) => return,
        (TableOutcome::Done | TableOutcome::Interrupted | TableOutcome::Paused, _) => return,
    };
    record(&params.home, &event.of_table(task, table).of_run(report.run.as_ref()));
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
pub fn way_back(task: &Task, error: Option<Kind>) -> String {
    let id = task.id;
    match error.is_some_and(Kind::is_unreachable) && task.resume_when_back {
        true => format!(
            "the daemon resumes it when both of its links answer again, ssync resume {id} does so now"
        ),
        false => format!("ssync resume {id} lets it run again"),
    }
}

/// A task of a real-time schedule has failed, and was to be suspended.
pub fn suspended(params: &TaskParams, report: &TableReport, done: Result<()>) {
    let (task, table) = (params.task.id, &report.table);
    let text = match done {
        Ok(()) => format!(
            "task {task} is suspended because table {table} failed; its rows are left as they are; {}",
            way_back(&params.task, report.error.as_ref().map(|e| e.kind))
        ),
        Err(e) => format!(
            "task {task} should be suspended because table {table} failed, but could not be, and \
             will run again: {e}; ssync pause {task} keeps it from that"
        ),
    };
    let event = Event::new(What::TaskSuspended, text);
    record(&params.home, &event.of_table(task, table).of_run(report.run.as_ref()));
}
