//! The daemon's commands: `daemon`, `stop`, `reload`, `run`, `explain`.

use crate::output::outln;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use ssync_common::config::{TableTask, task_label};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::shm::TaskTable;
use ssync_common::store::{Hold, Home, StoreLocation};

use super::asking::{by_hand_only, timestamp};
use super::control::{
    Answer, DaemonStatus, Explained, Reply, Request, RunningTask, TableStanding, Unable, connect,
    give_up, silent,
};
use super::journal::{Decision, Journal};
use super::timetable::Timetable;
use crate::books::spool;
use crate::command::run_state;
use crate::existing;
use crate::grammar::{OneTask, Tables, TaskScope, number_in_force};
use crate::live::{Live, doing};
use crate::output::Output;
use crate::parameters::{InForce, Parameters};
use crate::patience::within;
use crate::render::note;
use crate::transfer::choose;

/// How long a daemon that was just started may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(15);
/// A pause between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// A daemon that does not answer by then hangs. Longer than a reading of the configuration may
/// take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);
/// The daemon hears every request at once, and answers at once where something is only shown. Nobody
/// waits longer for that.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);
/// The daemon's name in `ps`.
pub const DAEMON: &str = "ssync-daemon";
/// Decisions that `explain` shows.
const SHOWN: usize = 15;

/// Commands about the daemon.
#[derive(Debug, Subcommand)]
pub enum DaemonCommand {
    /// Fire schedules and run their tasks, until told to stop
    ///
    /// In the foreground, for a service manager: SIGTERM finishes what runs and leaves, a second
    /// one rolls it back; SIGHUP reads the configuration again. Task processes outlive a daemon
    /// that is killed, and the next one takes them up.
    Daemon(RunDaemon),

    /// Stop the daemon after in-flight batches
    Stop(StopArgs),

    /// Have the daemon read its configuration now
    Reload,

    /// Have the daemon run a task now
    Run(RunArgs),

    /// Say when a task ran, or why it did not, and when it fires next
    Explain(TaskScope),

    /// A task process (started by the daemon)
    #[command(hide = true)]
    Worker {
        /// What `ps` is to show: `task=N`
        labels: Vec<String>,
    },

    /// The child that reads the configuration (started by the daemon)
    #[command(hide = true)]
    Configuration,

    /// The child that tests links of suspended tasks (started by the daemon)
    #[command(hide = true)]
    Resumption,

    /// The child that counts rows to be sent (started by the daemon)
    #[command(hide = true)]
    Backlog,
}

/// `ssync daemon`.
#[derive(Debug, Args)]
pub struct RunDaemon {
    /// Go into the background, for hosts without a service manager
    #[arg(long)]
    pub detach: bool,

    /// In the background already
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub detached: bool,
}

/// `ssync stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Roll back what is in flight, instead of finishing it
    #[arg(long)]
    pub now: bool,

    /// Wait at most so many seconds for it to have left
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub timeout: u64,
}

/// `ssync run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which task.
    #[command(flatten)]
    pub task: OneTask,

    /// Which tables.
    #[command(flatten)]
    pub tables: Tables,

    /// Wait for its end, and say how it ended
    #[arg(long)]
    pub wait: bool,
}

/// Does what is asked; the exit code.
pub fn run(command: DaemonCommand, home: Option<&Path>, json: bool) -> Result<u8> {
    let located = || Home::locate(home);
    let mut out = Output::new(json);
    let code = match command {
        DaemonCommand::Worker { .. } => return super::roles::worker(),
        DaemonCommand::Configuration => return super::roles::reader(),
        DaemonCommand::Resumption => return super::resumption::child(),
        DaemonCommand::Backlog => return super::counting::child(),
        DaemonCommand::Daemon(args) => return daemon(&args, located()?),
        DaemonCommand::Stop(args) => stop(&located()?, &args, &mut out)?,
        DaemonCommand::Reload => {
            let (Reloaded { changes, ending, unable }, _) = reload(&located()?)?;
            let unable = unable
                .iter()
                .map(|u| format!("task {} {}", task_label(u.task, u.name.as_deref()), u.words()));
            let unchanged = changes.is_empty().then(|| "nothing has changed".to_owned());
            let lines = unchanged.into_iter().chain(changes).chain(ending).chain(unable);
            say(&mut out, &lines.collect::<Vec<_>>());
            0
        }
        DaemonCommand::Run(args) => run_task(&located()?, args, &mut out)?,
        DaemonCommand::Explain(scope) => {
            let home = located()?;
            existing::check(&home)?;
            let task = number(&home, &scope.task)?;
            let mut explained = explain(&home, task)?;
            if !scope.tables.tables.is_empty() {
                explained.tables = tables(&home, task, scope.tables.tables)?;
            }
            show(&explained, &mut out);
            0
        }
    };
    out.print()?;
    Ok(code)
}

/// The number of a task. The daemon knows no names.
fn number(home: &Home, task: &OneTask) -> Result<u32> {
    let located = home.clone();
    number_in_force(task.which()?, home, move || existing::open(&located, None))
}

/// The name by which the daemon runs a task.
fn name_in_force(home: &Home, task: u32) -> Option<String> {
    let known = InForce::read(home.path()).unwrap_or_else(|e| {
        log::warn!("{e:?}");
        None
    });
    known?.task(task)?.task.name.clone()
}

fn say(out: &mut Output, lines: &[String]) {
    if out.is_json() {
        out.object(json!({ "done": lines }));
    } else {
        lines.iter().for_each(|line| out.line(line));
    }
}

fn daemon(args: &RunDaemon, home: Home) -> Result<u8> {
    if args.detach {
        return detach(&home);
    }
    if args.detached {
        nix::unistd::setsid()?;
    }
    let location = StoreLocation::from_env(home)?;
    let ready = || {
        // Whoever started it has heard all there was to hear.
        if args.detached
            && let Ok(null) = std::fs::File::options().write(true).open("/dev/null")
            && let Err(e) = nix::unistd::dup2_stderr(&null)
        {
            log::warn!("standard error stays open: {e}");
        }
    };
    super::run(location, ready)?;
    Ok(0)
}

/// Starts the daemon in the background, and answers when it listens.
fn detach(home: &Home) -> Result<u8> {
    let mut child = Command::new("/proc/self/exe")
        .args(["daemon", "--detached", "--home"])
        .arg(home.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| Error::from(e).context("could not start the daemon"))?;
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            // It has said why.
            return Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1));
        }
        if status(home)?.is_some_and(|s| s.pid == child.id()) {
            outln!("the daemon runs (process {})", child.id());
            return Ok(0);
        }
        if since.elapsed() > START_TIME_MAX {
            return Err(Error::new(Kind::System, "the daemon does not listen")
                .detail(format!("process {}", child.id()))
                .hint("Its log says what it is doing."));
        }
        std::thread::sleep(LOOK);
    }
}

fn no_daemon(home: &Home) -> Error {
    Error::new(Kind::Usage, "no daemon runs here")
        .detail(format!("home directory {}", home.path().display()))
}

/// The same, where the command needs one.
fn daemon_needed(home: &Home) -> Error {
    no_daemon(home).hint("Start one: ssync daemon.")
}

fn controller_pid(home: &Home) -> Result<Option<u32>> {
    if !home.path().exists() {
        return Ok(None);
    }
    let Some(table) = TaskTable::open(home.path())? else { return Ok(None) };
    let controller = table.controller()?;
    Ok(controller.alive.then_some(controller.pid))
}

/// How the daemon of this home is; `None` when none runs.
pub fn status(home: &Home) -> Result<Option<DaemonStatus>> {
    let Some(stream) = connect(home, LOOK_TIME_MAX)? else { return Ok(None) };
    match converse(stream, &Request::Status, LOOK_TIME_MAX) {
        Ok(Answer::Status(status)) => Ok(Some(*status)),
        Ok(_) => Err(something_else()),
        Err(e) if e.kind == Kind::Lost => Ok(None),
        Err(e) => Err(e),
    }
}

/// What the daemon has read.
pub struct Reloaded {
    /// What has changed, for people.
    pub changes: Vec<String>,
    /// Tasks that it ends, for people.
    pub ending: Vec<String>,
    /// Tasks that it cannot start.
    pub unable: Vec<Unable>,
}

/// Also from which configuration database.
fn reload(home: &Home) -> Result<(Reloaded, String)> {
    match ask(home, &Request::Reload, ANSWER_TIME_MAX)? {
        Answer::Read { instance, changes, ending, unable } => {
            Ok((Reloaded { changes, ending, unable }, instance))
        }
        _ => Err(something_else()),
    }
}

fn something_else() -> Error {
    Error::new(Kind::Internal, "the daemon answered something else")
}

/// Has the daemon of this home read the configuration, if one runs by the database of this
/// instance. `None`: there is no such daemon.
///
/// # Errors
/// What the daemon says when it cannot.
pub fn reload_if_it_is_ours(home: &Home, instance: &str) -> Result<Option<Reloaded>> {
    let Some(daemon) = status(home)? else { return Ok(None) };
    // One that has just begun may still be reading what was configured before.
    if daemon.instance.is_some_and(|known| known != instance) {
        return Ok(None);
    }
    let (read, of) = reload(home)?;
    Ok((of == instance).then_some(read))
}

/// Tells the daemon, if there is one, that the configuration has changed. Does not wait for it.
pub fn poke(home: &Home) {
    let told = connect(home, LOOK_TIME_MAX).and_then(|stream| match stream {
        Some(mut stream) => send(&mut stream, &Request::Changed),
        None => Ok(()),
    });
    if let Err(e) = told {
        log::debug!("the daemon was not told: {e}");
    }
}

fn ask(home: &Home, request: &Request, patience: Duration) -> Result<Answer> {
    let stream = connect(home, LOOK_TIME_MAX)?.ok_or_else(|| daemon_needed(home))?;
    converse(stream, request, patience)
}

fn send(stream: &mut UnixStream, request: &Request) -> Result<()> {
    let mut line = serde_json::to_vec(request)
        .map_err(|e| Error::new(Kind::Internal, format!("request: {e}")))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(|_| gone())
}

fn gone() -> Error {
    Error::new(Kind::Lost, "the daemon has ended without an answer")
}

/// Sends a request and waits for the last answer to it; that it is heard, no longer than a moment.
fn converse(mut stream: UnixStream, request: &Request, patience: Duration) -> Result<Answer> {
    send(&mut stream, request)?;
    stream.set_read_timeout(Some(LOOK_TIME_MAX))?;
    let mut is_heard = false;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line.map_err(|e| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut if is_heard => silent(patience),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => give_up(&stream, LOOK_TIME_MAX),
            _ => gone(),
        })?;
        let reply = serde_json::from_str(&line).map_err(|e| {
            Error::new(Kind::Internal, format!("the daemon's answer cannot be read: {e}"))
                .hint("Use the same version of ssync as the daemon's.")
        })?;
        if !is_heard {
            is_heard = true;
            stream.set_read_timeout(Some(patience))?;
        }
        match reply {
            Reply::Heard => {}
            Reply::Note(text) => note(&text),
            Reply::Done(answer) => return Ok(answer),
            Reply::Failed(error) => return Err(error),
        }
    }
    Err(gone())
}

fn stop(home: &Home, args: &StopArgs, out: &mut Output) -> Result<u8> {
    let pid = controller_pid(home)?.ok_or_else(|| no_daemon(home))?;
    let patience = Duration::from_secs(args.timeout.max(1));
    let deadline = Instant::now() + patience;
    match connect(home, LOOK_TIME_MAX)? {
        Some(stream) => match converse(stream, &Request::Stop { now: args.now }, patience) {
            Ok(_) => {}
            // It has ended while it was being asked.
            Err(e) if e.kind == Kind::Lost => {}
            Err(e) => {
                return Err(e.context("the daemon has not ended").detail(format!("process {pid}")));
            }
        },
        // Its socket is gone.
        None => stop_by_flag(home, pid)?,
    }
    let proc = format!("/proc/{pid}");
    while controller_pid(home)?.is_some_and(|now| now == pid) || Path::new(&proc).exists() {
        // Reaped or not, a process without a command line has ended; and one of another name is
        // not the daemon, whose pid may be that of another namespace.
        let line = std::fs::read(format!("{proc}/cmdline")).unwrap_or_default();
        let name = std::fs::read_to_string(format!("{proc}/comm")).unwrap_or_default();
        let is_it = !line.is_empty() && name.trim_end() == DAEMON;
        if !is_it && controller_pid(home)?.is_none() {
            break;
        }
        if Instant::now() >= deadline {
            return Err(Error::new(Kind::System, "the daemon has not ended")
                .detail(format!("process {pid}"))
                .hint("It finishes its batches first; ssync stop --now rolls them back."));
        }
        std::thread::sleep(LOOK);
    }
    say(out, &[format!("the daemon has ended (process {pid})")]);
    Ok(0)
}

/// Asks through shared memory (A28), where a request cannot be taken back: only a daemon whose heart
/// beats.
fn stop_by_flag(home: &Home, pid: u32) -> Result<()> {
    let Some(table) = TaskTable::open(home.path())? else { return Ok(()) };
    let before = table.controller()?.heartbeat_ms;
    let began = Instant::now();
    while table.controller()?.heartbeat_ms == before && controller_pid(home)? == Some(pid) {
        if began.elapsed() >= LOOK_TIME_MAX {
            return Err(silent(LOOK_TIME_MAX)
                .detail("nothing was done")
                .detail(format!("process {pid}")));
        }
        std::thread::sleep(LOOK);
    }
    table.request_stop()
}

fn run_task(home: &Home, args: RunArgs, out: &mut Output) -> Result<u8> {
    let task = number(home, &args.task)?;
    let request = Request::Run { task, tables: args.tables.tables, wait: args.wait };
    // However long the task takes, or those before it.
    let patience = Duration::from_secs(365 * 86_400);
    let Answer::Ran { pid, code, words } = ask(home, &request, patience)? else {
        return Err(something_else());
    };
    let name = name_in_force(home, task);
    if out.is_json() {
        out.object(json!({
            "task": task, "name": name, "pid": pid, "exit_code": code, "outcome": words,
        }));
    } else {
        let label = task_label(task, name.as_deref());
        match words {
            None => out.line(format!("task {label} runs (process {pid})")),
            Some(words) => out.line(format!("task {label} has ended: {words}")),
        }
    }
    Ok(code.unwrap_or(0))
}

/// Why a task ran or did not: what the daemon says, or where it does not answer, what is on record.
fn explain(home: &Home, task: u32) -> Result<Explained> {
    let asked = connect(home, LOOK_TIME_MAX).and_then(|stream| match stream {
        Some(stream) => converse(stream, &Request::Explain { task }, LOOK_TIME_MAX).map(Some),
        None => Ok(None),
    });
    let explained = match asked {
        Ok(Some(Answer::Explained(explained))) => *explained,
        Ok(Some(_)) => return Err(something_else()),
        Ok(None) => on_record(home, task, "no daemon runs")?,
        Err(e) if e.kind == Kind::Lost => on_record(home, task, "no daemon runs")?,
        Err(e) if e.kind == Kind::System => {
            note(&e.message);
            on_record(home, task, &e.message)?
        }
        Err(e) => return Err(e),
    };
    Ok(Explained { waiting: spool::waiting(home.path(), Some(task)), ..explained })
}

/// What is configured and what was left behind, where no daemon answers, for this reason.
fn on_record(home: &Home, task: u32, why: &str) -> Result<Explained> {
    let located = home.clone();
    let configured = within(home, move || {
        let mut store = existing::open(&located, None)?;
        let held = store.holds(Some(task))?.into_iter().find(|h| h.table.is_none());
        let config = store.load()?;
        let chosen = config.task(&task.into())?.clone();
        let schedule = config.schedules.into_iter().find(|s| Some(s.id) == chosen.schedule);
        Ok((chosen, schedule, held))
    });
    let (chosen, schedule, held) = match configured {
        Ok(configured) => configured,
        // What the daemon had in force is in shared memory.
        Err(e) if e.kind == Kind::Connect => {
            let in_force = InForce::read(home.path())?;
            let known = in_force.as_ref().and_then(|known| known.task(task)).cloned();
            let Parameters { task, schedule, .. } = known.ok_or_else(|| e.clone())?;
            note(&e.message);
            (task, schedule, None)
        }
        Err(e) => return Err(e),
    };
    let mut next = Vec::new();
    if let Some(schedule) = &schedule {
        let timetable = Timetable::of(schedule)?;
        let first = timetable.first(Timestamp::now().as_second());
        next = timetable.from(first).take(10).filter_map(timestamp).collect();
    }
    let live = Live::read(home.path())?;
    let entry = live.task(task);
    let process = entry.and_then(RunningTask::seen);
    let state = match (&process, held) {
        (Some(RunningTask { pid, since, .. }), _) => {
            let doing = entry.map_or(String::new(), |entry| format!(", {}", doing(entry)));
            format!("running since {since:.0} (process {pid}){doing}")
        }
        (None, Some(hold)) => super::decide::hold_words(task, &hold),
        (None, None) if chosen.schedule.is_none() => {
            format!("{why}; {}", by_hand_only(&format!("ssync --task {task}")))
        }
        (None, None) => format!("{why}; what follows is when it would fire"),
    };
    Ok(Explained {
        task,
        name: chosen.name,
        schedule: chosen.schedule,
        every: schedule.as_ref().map(|s| s.every.to_string()),
        state,
        next,
        process,
        decisions: Journal::read(home).of(task, chosen.schedule),
        waiting: Vec::new(),
        tables: Vec::new(),
    })
}

/// How these tables of a task stand, in their configured order.
fn tables(home: &Home, task: u32, names: Vec<String>) -> Result<Vec<TableStanding>> {
    let located = home.clone();
    within(home, move || {
        let mut store = existing::open(&located, None)?;
        let chosen = choose(&store.load()?, &task.into(), &names)?;
        let holds = store.holds(Some(task))?;
        let standing = |table: &TableTask| {
            let of_table = |hold: &&Hold| hold.table.as_ref() == Some(&table.name);
            Ok(TableStanding {
                table: table.name.clone(),
                hold: holds.iter().find(of_table).cloned(),
                last_run: store.last_run(task, &table.name)?,
            })
        };
        chosen.tables.iter().map(standing).collect()
    })
}

fn table_words(standing: &TableStanding) -> String {
    let last = match &standing.last_run {
        Some(run) => format!("last run {}, begun {:.0}", run_state(run), run.begin),
        None => "never ran".to_owned(),
    };
    let held = standing.hold.as_ref().map_or(String::new(), |hold| hold.describe() + "; ");
    format!("table {}: {held}{last}", standing.table)
}

fn show(explained: &Explained, out: &mut Output) {
    if out.is_json() {
        return out.object(serde_json::to_value(explained).unwrap_or_default());
    }
    let fires = match (explained.schedule, &explained.every) {
        (Some(id), Some(every)) => format!("schedule {id}, every {every}"),
        (Some(id), None) => format!("schedule {id}"),
        (None, _) => "no schedule".to_owned(),
    };
    let task = task_label(explained.task, explained.name.as_deref());
    out.line(format!("task {task}: {fires}"));
    out.line(format!("now: {}", explained.state));
    explained.tables.iter().for_each(|table| out.line(table_words(table)));
    explained.waiting.iter().for_each(|waiting| out.line(waiting.about_task()));
    let local = crate::clock::shown;
    if !explained.next.is_empty() {
        out.line("next firings:");
        explained.next.iter().for_each(|at| out.line(format!("  {}", local(*at))));
    }
    let from = explained.decisions.len().saturating_sub(SHOWN);
    let row = |d: &Decision| {
        let reason = match d.count {
            0 | 1 => d.reason.clone(),
            n => format!("{} ({n} times, the last at {})", d.reason, local(d.last)),
        };
        [
            local(d.at),
            d.due.map(local).unwrap_or_else(|| "by hand".to_owned()),
            d.what.word().to_owned(),
            reason,
        ]
    };
    let rows: Vec<_> = explained.decisions[from..].iter().map(row).collect();
    if rows.is_empty() {
        out.line(match explained.schedule {
            Some(_) => "no firings recorded",
            None => "the daemon has not run it; runs in the foreground: ssync history",
        });
    } else {
        out.table(["WHEN", "DUE", "WHAT", "WHY"], &rows);
    }
}
