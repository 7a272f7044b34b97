//! The notices of this process: what people are to be told of its tables is written down with their
//! ends, told, and then taken away. One that cannot be told yet waits for a later table, or the end of
//! the task; after that, whoever reads the configuration database tells it.

use std::sync::Arc;

use jiff::Timestamp;
use ssync_common::event::{Notice, RunTotals, Suspension};
use ssync_common::failpoint;

use crate::journal::Journal;
use crate::params::TaskParams;
use crate::reminder::{self, Ended};
use crate::report::TableReport;

/// The end of a table, as it is written down.
pub struct Recorded {
    /// What is to be told of it.
    pub notice: Option<Notice>,
    /// Whether a failure is recorded.
    pub has_failed: bool,
    /// Where it is written down.
    pub journal: Arc<dyn Journal>,
}

/// Notices that wait until what their runs came to is known.
#[derive(Default)]
pub struct Notices {
    waiting: Vec<(Notice, Arc<dyn Journal>)>,
}

impl Notices {
    /// Tells people how a table has ended. `recorded`: what is written down of that; a failure that came
    /// later, or kept it from being written down, is told by itself.
    pub fn tell(
        &mut self,
        params: &TaskParams,
        report: &mut TableReport,
        recorded: Option<Recorded>,
        begin: Timestamp,
    ) {
        let is_all = recorded.as_ref().is_some_and(|r| r.has_failed == report.error.is_some());
        if let Some(Recorded { notice: Some(notice), journal, .. }) = recorded {
            if let Some(suspension) = &notice.suspension {
                note_suspension(report, params.task.id, suspension);
            }
            match reminder::must_wait(&notice, report.run_totals.as_ref()) {
                true => self.waiting.push((notice, journal)),
                false => tell_recorded(params, &notice, &journal, report.run_totals, false),
            }
        }
        if !is_all {
            tell_unrecorded(params, report, begin);
        }
    }

    /// Tells what has waited, as far as it can be told by now.
    pub fn tell_waiting(&mut self, params: &TaskParams) {
        for (notice, journal) in self.waiting.drain(..) {
            let run = notice.run.map(|run| run.0);
            let totals = run.and_then(|run| journal.totals(&run).ok().flatten());
            if totals.is_some() {
                tell_recorded(params, &notice, &journal, totals, true);
            }
        }
    }
}

fn tell_recorded(
    params: &TaskParams,
    notice: &Notice,
    journal: &Arc<dyn Journal>,
    totals: Option<RunTotals>,
    is_late: bool,
) {
    reminder::tell(&params.home, notice, totals, is_late);
    failpoint::hit("run.after_telling", 1);
    // It stays, and is found to have been told.
    if let Err(e) = journal.told(notice.id) {
        log::warn!("{}: that its end was told is not recorded: {e:?}", notice.table);
    }
}

/// What could not be written down is told all the same.
fn tell_unrecorded(params: &TaskParams, report: &mut TableReport, begin: Timestamp) {
    let ended = Ended {
        table: &report.table,
        run: None,
        is_resumed: false,
        counts: &report.counts,
        error: report.error.as_ref(),
        begin,
    };
    let mut notice = match reminder::notice(params, ended) {
        Ok(Some(notice)) => notice,
        Ok(None) => return,
        Err(e) => return log::error!("{}: its end is not told: {e:?}", report.table),
    };
    notice.run = report.run.as_ref().and_then(|run| run.parse().ok());
    let suspended = notice.suspension.take();
    let suspended = suspended.map(|suspension| {
        let Suspension { reason, error, .. } = &suspension;
        let done = params.books.suspend(&params.task, reason, *error);
        done.map(|()| suspension)
    });
    match suspended {
        None => reminder::tell(&params.home, &notice, report.run_totals, false),
        Some(Ok(suspension)) => {
            note_suspension(report, params.task.id, &suspension);
            notice.suspension = Some(suspension);
            reminder::tell(&params.home, &notice, report.run_totals, false);
        }
        Some(Err(e)) => {
            let note = format!("the task could not be suspended: {e}");
            log::error!("task {}: {note}", params.task.id);
            report.notes.push(note);
            reminder::tell(&params.home, &notice, report.run_totals, false);
            reminder::not_suspended(&params.home, &notice, &e);
        }
    }
}

fn note_suspension(report: &mut TableReport, task: u32, suspension: &Suspension) {
    let way_back = &suspension.way_back;
    let note = format!("the task is suspended, its rows are left as they are; {way_back}");
    log::error!("task {task}: {note}");
    report.notes.push(note);
}
