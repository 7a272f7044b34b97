//! The daemon's children: the one that reads the configuration, and the task process.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use ssync_common::config::duration_text;
use ssync_common::error::Result;
use ssync_common::process::channel::Channel;
use ssync_common::process::signals::SignalEvent;
use ssync_common::process::spawn::{CHANNEL_FD, Group, Stderr};
use ssync_common::process::{Child, RunId, SpawnOptions, set_title, signals, spawn_role};
use ssync_common::shm::waiting::{Outcome, Waiting};
use ssync_common::shm::{TaskSlot, TaskTable};
use ssync_common::store::{Home, LastSign, StoreLocation, TaskChange};
use ssync_common::{failpoint, logging};
use ssync_worker::params::TaskParams;
use ssync_worker::progress::Progress;
use ssync_worker::report::TaskReport;

pub use crate::books::desk::is_out_of_reach;

use super::inquiry::Sent;
use super::order::{Assignment, Ending, Known, Order, TableEnding, WireLocation, Word};
use super::peer::Peer;
use crate::books::drain::drain_left;
use crate::books::{TaskBooks, last_sign};
use crate::existing;
use crate::transfer;

/// What the child that reads the configuration is told.
#[derive(Serialize, Deserialize)]
pub struct ReadRequest {
    location: WireLocation,
    /// The database it must be; `None`: the first read.
    instance: Option<String>,
}

/// A child with the daemon's end of its channel.
pub struct Started {
    /// The process.
    pub child: Child,
    /// The channel.
    pub peer: Peer,
}

/// Starts a child in a role, and sends it its first message.
pub(super) fn start(args: &[&str], home: &Home, message: &impl Serialize) -> Result<Started> {
    let (ours, theirs) = Channel::pair()?;
    let options = SpawnOptions {
        // A task outlives a daemon that crashes; a reader notices a closed channel.
        die_with_parent: false,
        group: Group::NewSession,
        ignore_terminal_signals: false,
        // The daemon's may be a pipe that closes before they end. What they have to say goes to
        // the log and over the channel.
        stderr: Stderr::Null,
        environment: vec![("SSYNC_HOME".into(), home.path().into())],
    };
    let child = spawn_role(args, theirs, options)?;
    let mut peer = Peer::new(ours);
    peer.send(message)?;
    // Not `pump`: nobody watches the channel yet, and a child on a busy host may have answered.
    peer.push();
    Ok(Started { child, peer })
}

/// Starts the child that reads the configuration.
pub fn start_reader(location: &StoreLocation, instance: Option<&str>) -> Result<Started> {
    let request = ReadRequest {
        location: WireLocation::new(location),
        instance: instance.map(str::to_owned),
    };
    start(&["configuration"], &location.home, &request)
}

/// Starts the process of a task.
pub fn start_worker(order: &Order, home: &Home) -> Result<Started> {
    start(&["worker", &format!("task={}", order.parameters.task)], home, order)
}

/// The child that reads the configuration; the exit code.
pub fn reader() -> Result<u8> {
    set_title("ssync-configuration");
    let channel = Channel::from_inherited_fd(CHANNEL_FD)?;
    let Some(request) = channel.recv::<ReadRequest>()? else { return Ok(1) };
    let home = Home::locate(None)?;
    logging::init("daemon", home.path())?;
    let again = u64::from(request.instance.is_some());
    let answer: Sent<Box<Known>> = read(request).map(Box::new);
    failpoint::hit("configuration.read", again);
    channel.send(&answer)?;
    Ok(u8::from(answer.is_err()))
}

fn read(request: ReadRequest) -> Result<Known> {
    let location = request.location.into_location()?;
    let mut store = existing::open_or_make(&location, request.instance.as_deref())?;
    // A task that was suspended while the database was out of reach is held from now on.
    drain_left(&mut store)?;
    // Before loading: see `Store::note_task_change`.
    for (task, change) in store.task_changes()? {
        store.note_task_change(task, change)?;
        let what = match change {
            TaskChange::Added => "added or changed",
            TaskChange::Removed => "removed",
        };
        log::info!(task = task; "task {what}: noted");
    }
    Known::read(&mut store)
}

/// The task process; the exit code.
pub fn worker() -> Result<u8> {
    // Before any thread starts.
    let signals = signals::watch()?;
    let channel = Channel::from_inherited_fd(CHANNEL_FD)?;
    // A daemon that died meanwhile has not started anything.
    let Some(order) = channel.recv::<Order>()? else { return Ok(1) };
    let home = Home::locate(None)?;
    let task = order.parameters.task;
    set_title(&format!("ssync-worker-{task}"));
    logging::init("worker", home.path())?;
    failpoint::hit("worker.start", u64::from(task));
    // Before anything else: a dead daemon's parameters go with the next start of anything. And
    // before there is a slot: a run that could not begin has not been one, and a next daemon,
    // which would find no slot, starts it again.
    let ending = order.complete().and_then(|order| run(order, &home, &channel, &signals));
    let ending = ending.unwrap_or_else(|error| {
        log::error!("{error:?}");
        Ending { code: error.kind.exit_code(), error: Some(error), tables: Vec::new() }
    });
    let code = ending.code;
    // The daemon may have died meanwhile; the task table says it too.
    if let Err(e) = channel.send(&Word::Ended(Box::new(ending))) {
        log::info!("nobody heard how the task ended: {e}");
    }
    Ok(code)
}

fn run(
    order: Assignment,
    home: &Home,
    channel: &Channel,
    signals: &Receiver<SignalEvent>,
) -> Result<Ending> {
    let task = order.task.id;
    let table = TaskTable::open_or_create(home.path())?;
    // The place in the table is the dead one's.
    let before = last_sign(home.path(), task);
    let slot = table.acquire(task, RunId::random()?, order.task.tables.len() as u32)?;
    // What this run goes by (A20), while a next generation may be in force already. No secrets are
    // in there.
    slot.set_params(&order.task);
    if let Err(e) = channel.send(&Word::Running) {
        log::info!("the daemon is gone already: {e}");
    }
    let prepared = prepare(order, &slot, before);
    let params = prepared.inspect_err(|error| {
        slot.set_error(error);
        slot.finish(Outcome::Failed);
    })?;
    let mut progress = Progress::new(Some(slot), Box::new(|_| ()));
    let report = ssync_worker::run_task(&params, signals, &mut progress);
    progress.finish(&report);
    log::debug!(task = task; "ended after {}", words(&report));
    Ok(ending(&report))
}

fn prepare(mut order: Assignment, slot: &TaskSlot, before: Option<LastSign>) -> Result<TaskParams> {
    slot.wait(Waiting::Configuration);
    let location = order.location.clone().into_location()?;
    let books = TaskBooks::open(
        &location,
        &order.instance,
        order.task.id,
        order.dest_url(),
        &order.holds,
        order.is_away,
    )?
    .after(before);
    let held = transfer::leave_out_held(&books.holds(order.task.id)?, &mut order.task)?;
    let task = order.task.clone();
    let params = order.into_params(Arc::new(books.clone())).inspect_err(|error| {
        if let Err(e) = books.record_failed_launch(&task, error) {
            log::error!("that the task could not be launched is not recorded: {e}");
        }
    })?;
    Ok(TaskParams { held, ..params })
}

fn words(report: &TaskReport) -> String {
    let seconds = Duration::from_secs_f64(report.seconds.max(0.0));
    format!("{} with exit code {}", duration_text(seconds), report.exit_code())
}

fn ending(report: &TaskReport) -> Ending {
    let table = |t: &ssync_worker::report::TableReport| TableEnding {
        table: t.table.clone(),
        result: serde_json::to_value(t.result)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default(),
        landed: t.counts.landed,
        failed: t.bad_rows(),
        error: t.error.clone(),
    };
    Ending {
        code: report.exit_code(),
        error: None,
        tables: report.tables.iter().map(table).collect(),
    }
}
