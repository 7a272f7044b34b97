//! The task process: runs the tables of one task, in order.
//!
//! A table run claims source rows, reads them into the batch ring, has writer processes land
//! them, and settles the source by what the destination's ledger says. The modules, from the
//! outside in:
//!
//! - [`params`], [`journal`], [`lock`]: what a task process is given; [`control`]: what operators
//!   want of it; [`permits`]: how many connections it may have;
//!   [`pace`]: how fast it may go; [`idle`]: those that are used again.
//! - [`plan`]: from configuration and table descriptions to a plan, and everything against it.
//! - [`table_run`]: the order of things in one table's run.
//! - [`adopt`], [`as_is`]: what operators decide about that; [`lost`], [`reopen`]: rows that they have sent
//!   again.
//! - [`identity`]: which tables these are, and whether one end is older than the other;
//!   [`precedents`]: what earlier runs left that this one must not contradict.
//! - [`snapshot`]: the one state of the source that `full` tables are read from;
//!   [`complete`]: counting what they landed; [`full_runs`]: they and runs of other modes into one table.
//! - [`stream`]: the coordinator of reading thread, [`pool`] of writers and settling thread.
//! - [`splitting`]: sharing a table out over reading threads.
//! - [`moving`]: from one state to another, past rows that others hold.
//! - [`claiming`], [`reading`], [`settling`], [`recovery`], [`steps`]: what they do.
//! - [`trigger_trial`]: whether a row keeps the state that it is set to.
//! - [`source`], [`owner`]: the source table in SQL, and its one owner.
//! - [`backlog`]: how many rows wait to be sent.
//! - [`retries`]: which failures are tried again, and when.
//! - [`counts`], [`report`]: the books; [`notices`], [`reminder`]: what people are told.

pub mod adopt;
mod advice;
mod as_is;
pub mod backlog;
mod batch_size;
pub mod check;
mod claiming;
mod complete;
mod concurrency;
pub mod control;
pub mod counts;
mod events;
mod full_runs;
mod identity;
mod idle;
pub mod journal;
mod lease;
pub mod lock;
pub mod lost;
mod mark;
mod moving;
mod needs;
mod notices;
mod own_sql;
pub mod owner;
mod pace;
pub mod params;
mod pass;
pub mod permits;
pub mod plan;
mod pool;
mod precedents;
pub mod progress;
mod reading;
pub mod recovery;
pub mod reminder;
pub mod reopen;
pub mod report;
pub mod retries;
mod settling;
mod snapshot;
pub mod source;
mod splitting;
mod steps;
mod stream;
mod stretches;
mod table_run;
mod trigger_trial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use jiff::Timestamp;
use ssync_common::config::{Rates, TableTask, duration_text};
use ssync_common::error::Result;
use ssync_common::failpoint;
use ssync_common::process::signals::SignalEvent;
use ssync_common::shm::task_table::link_hash;

use control::{Control, HoldWatch};
use counts::Counts;
use idle::Connections;
use notices::{Notices, Recorded};
use pace::Pace;
use params::TaskParams;
use permits::Permits;
use progress::Progress;
use reminder::Ended;
use report::{RunSoFar, TableReport, TableResult, TaskReport};
use retries::Retries;
use snapshot::Snapshots;
use table_run::TableRun;

pub use table_run::describe_sides;

/// Runs the task's tables one after the other. Never fails as a whole: what happened to each
/// table is in the report.
pub fn run_task(
    params: &TaskParams,
    signals: &Receiver<SignalEvent>,
    progress: &mut Progress,
) -> TaskReport {
    let began = Instant::now();
    let mut tables = Vec::new();
    let mut stopped_by: Option<String> = None;
    let mut notices = Notices::default();
    let connections = Connections::default();
    let mut permits = None;
    let idle_max = Duration::from_secs(params.task.snapshot_max.secs());
    let (snapshots, mut watch) = Snapshots::new(idle_max);
    if let Err(e) = watch.start() {
        log::warn!("nobody watches how long a snapshot is held: {e}");
    }
    for table in &params.task.tables {
        if let Some(culprit) = &stopped_by {
            tables.push(TableReport::not_started(table, culprit));
            continue;
        }
        let began_at = reminder::table_begins(params, table);
        let sides = (&connections, &snapshots);
        let (mut report, recorded) =
            run_table(params, table, signals, progress, sides, &mut permits, began_at);
        if matches!(report.result, TableResult::Failed | TableResult::Paused) {
            snapshots.end("the failure of a table");
        }
        reminder::table_ended(params, &report);
        notices.tell(params, &mut report, recorded, began_at);
        // A paused table touches no other (A4), unless the whole task is paused: then the next
        // one finds that out. On a failure of a real-time task none starts any more (A16).
        let stops = match report.result {
            TableResult::Done
            | TableResult::DoneWithErrors
            | TableResult::DoneUnconfirmed
            | TableResult::Paused => false,
            TableResult::Interrupted => true,
            _ => params.task.stop_on_error || params.realtime,
        };
        if stops {
            stopped_by = Some(table.name.clone());
        }
        tables.push(report);
    }
    notices.tell_waiting(params);
    tables.extend(params.held.iter().map(TableReport::held));
    TaskReport { task: params.task.id, tables, seconds: began.elapsed().as_secs_f64() }
}

/// Sets the pace by limits, the last known or new ones, and by the runs that share those of links.
fn pacing(
    params: &TaskParams,
    progress: &Progress,
    pace: Arc<Pace>,
) -> impl Fn(Option<&Rates>) + Send + 'static + use<> {
    let task_table = progress.task_table();
    let links = [link_hash(&params.source.name), link_hash(&params.dest.name)];
    let last = Mutex::new(params.rates);
    let set = move |new: Option<&Rates>| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = new.copied().unwrap_or(*last);
        let claims = task_table.as_ref().and_then(|table| table.permit_claims().ok());
        let runs =
            |link: u64| claims.iter().flatten().filter(|c| c.link == link && c.held).count() as u64;
        pace.set(&last, (runs(links[0]), runs(links[1])));
    };
    set(None);
    set
}

/// Runs one table under its lock, again where a failure may pass.
fn run_table(
    params: &TaskParams,
    table: &TableTask,
    signals: &Receiver<SignalEvent>,
    progress: &mut Progress,
    (connections, snapshots): (&Connections, &Snapshots),
    kept: &mut Option<Permits>,
    begin: Timestamp,
) -> (TableReport, Option<Recorded>) {
    let began = Instant::now();
    snapshots.table_begins();
    progress.begin(&table.name);
    let mut so_far = RunSoFar::default();
    let mut recorded = None;
    let mut counts = Counts::default();
    let mut orphans = Vec::new();
    let mut notes = Vec::new();
    let result = (|| -> Result<()> {
        if let Some(hold) = params.books.held(params.task.id, &table.name)? {
            return Err(hold.error(params.task.id, &table.name));
        }
        let lock = params.books.launch(&params.task, table)?;
        if let Some(dead) = lock.taken_over_from() {
            notes.push(format!("lock taken over from {dead}"));
        }
        let journal = params.books.journal(&params.task, table)?;
        progress.run(journal.attempt());
        failpoint::hit("run.after_lock", 1);
        let result = (|| -> Result<Permits> {
            let pace = Arc::new(Pace::default());
            let holds = HoldWatch::start(
                params.books.clone(),
                &params.task,
                table,
                progress.pokes(),
                pacing(params, progress, pace.clone()),
            )?;
            let control = Control { signals, holds };
            let sides = (connections, snapshots);
            let mut permits =
                permits::acquire(params, table, progress, &control, sides, kept.take())?;
            let mut retries = Retries::of(&params.task);
            let mut restart = params.restart;
            loop {
                let mut table_run = TableRun {
                    params,
                    table,
                    journal: journal.clone(),
                    control: &control,
                    connections,
                    snapshots,
                    writers: permits.writers,
                    readers: permits.readers,
                    pace: &pace,
                    progress,
                    counts: Counts::default(),
                    landed_before: counts.landed,
                    notes: Vec::new(),
                    run: None,
                    resumed: false,
                    restart,
                    connected: false,
                    reads_one_state: false,
                    window: None,
                    claimed_nothing: 0,
                    orphans: Vec::new(),
                    missed: Vec::new(),
                };
                let result = table_run.attempt();
                let connected = table_run.connected;
                restart = table_run.restart;
                so_far.run = table_run.run.or(so_far.run);
                so_far.is_resumed |= table_run.resumed;
                counts.add(&table_run.counts);
                orphans = table_run.orphans;
                for note in table_run.notes {
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
                let Err(e) = result else { break Ok(permits) };
                let Some(wait) = retries.next(&e) else { break Err(e) };
                let tried = format!("{} failed", retries.attempt());
                log::warn!("{}: {tried}, the next one in {wait:?}: {e:?}", table.name);
                let note = format!("tried again after: {e}");
                if !notes.contains(&note) {
                    notes.push(note);
                    if let Err(e) = journal.tried(&e) {
                        log::warn!("{}: why it was tried again is not recorded: {e:?}", table.name);
                    }
                }
                // A name may stand for another server after a failure.
                snapshots.attempt_failed(&e, connected);
                // Others may use the connections meanwhile.
                drop(permits);
                let next = duration_text(wait);
                let why = e.clone().context(format_args!("{tried}, the next one in {next}"));
                progress.wait_to_retry(&why, wait);
                control
                    .pause(params.task.id, &table.name, wait)
                    .map_err(|wish| retries.stopped(wish, &e))?;
                progress.retry();
                permits = permits::acquire(params, table, progress, &control, sides, None)?;
            }
        })();
        notes.append(&mut orphans);
        let ended = Ended {
            table: &table.name,
            run: so_far.run.as_ref(),
            is_resumed: so_far.is_resumed,
            counts: &counts,
            error: result.as_ref().err(),
            begin,
        };
        let notice = reminder::notice(params, ended)?;
        journal.end(ended.run, &counts, ended.error, notice.as_ref())?;
        let has_failed = result.is_err();
        if has_failed {
            failpoint::hit("run.after_failure", 1);
        }
        recorded = Some(Recorded { notice, has_failed, journal: journal.clone() });
        if let Some(run) = so_far.run.filter(|_| so_far.is_resumed) {
            so_far.totals = journal.totals(&run).unwrap_or_else(|e| {
                log::warn!("{}: what the run has come to in all is not known: {e}", table.name);
                None
            });
            if so_far.totals.is_none() {
                notes.push(
                    "what earlier attempts of this run came to, and whether rows were bad in them, \
                     is not known: see ssync history once the configuration database is back"
                        .to_owned(),
                );
            }
        }
        failpoint::hit("run.before_unlock", 1);
        let released = lock.release();
        for note in journal.notes()? {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        released?;
        // For the next table, with the connections that are idle now.
        *kept = Some(result?);
        Ok(())
    })();
    progress.end(result.as_ref().err());
    let seconds = began.elapsed().as_secs_f64();
    (TableReport::new(table, so_far, counts, notes, result, seconds), recorded)
}
