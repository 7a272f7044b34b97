//! The command line and, built on it, the daemon.
//!
//! - [`cli`]: what can be said; [`grammar`]: how tasks and tables are said in all of it; [`run`] does
//!   it; [`render`] shows what went wrong, [`suggestions`] what a mistyped command may have meant.
//! - [`clock`]: how moments are shown; [`patience`]: how long commands wait for the configuration
//!   database; [`existing`]: the home that they find.
//! - [`transfer`]: a task process in the foreground; [`books`]: its side of the configuration
//!   database; [`terminal`]: what it shows.
//! - [`top`]: what runs, as it runs; [`live`]: what shared memory says of it; [`parameters`]: by
//!   what it runs; [`backlog`]: what waits to be sent.
//! - [`adopt_command`], [`check_command`], [`key_command`], [`retry_command`]: further commands.
//! - [`generate`]: man pages and shell completions.
//! - [`daemon`]: schedules, task processes, and the commands about them.
//! - [`monitor`]: tells people.
//! - [`demo`]: all of it at once, on made-up rows, with proof.

pub mod adopt_command;
pub mod backlog;
pub mod bench;
pub mod books;
pub mod check_command;
pub mod cli;
pub mod clock;
pub mod command;
pub mod daemon;
pub mod demo;
pub mod existing;
pub mod generate;
pub mod grammar;
pub mod key_command;
pub mod live;
pub mod manual;
pub mod monitor;
pub mod output;
pub mod parameters;
pub mod patience;
pub mod render;
pub mod retry_command;
pub mod standstill;
pub mod suggestions;
pub mod terminal;
pub mod top;
pub mod transfer;

use crate::books::drain::drain_left;
use crate::books::spool;
use crate::output::{err, errln, out, outln};
use std::path::Path;

use ssync_common::config::{Config, TaskNames};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{self, Event};
use ssync_common::logging;
use ssync_common::process::channel::Channel;
use ssync_common::process::spawn::CHANNEL_FD;
use ssync_common::process::{harden, set_title, signals};
use ssync_common::store::{Home, Store, StoreLocation};

use ssync_worker::params::TaskParams;

use cli::{Cli, Command};
use live::Pulse;
use output::Output;

/// Does what the command line says; the exit code.
pub fn run(cli: Cli) -> u8 {
    let json = cli.json;
    if cli.utc {
        clock::use_utc();
    }
    match dispatch(cli) {
        Ok(code) => code,
        Err(e) => render::fail(&e, json),
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    harden()?;
    match (cli.command, cli.task) {
        // Not left to the parser: it would then refuse `--home` and `--json` there too.
        (Some(_), Some(task)) => Err(Error::new(
            Kind::Usage,
            format!("--task {task} in front of a command does not go with it"),
        )
        .hint("Say it after the command; alone, ssync --task TASK runs the task.")),
        (Some(Command::Writer { labels }), _) => writer(&labels),
        (Some(Command::Check { scope, trial }), _) => {
            scope.check("check")?;
            let home = Home::locate(cli.home.as_deref())?;
            let _telling = patience::tell_of_waits(&home);
            let mut store = existing::open(&home, None)?;
            check_command::run(&mut store, &scope, trial, cli.json)
        }
        (Some(Command::Retry { task, tables, lost }), _) => {
            foreground(cli.home.as_deref(), cli.json, cli.quiet, |store, config| {
                retry_command::prepare(store, config, task.which()?, &tables.tables, lost)
            })
        }
        (None, Some(task)) => {
            foreground(cli.home.as_deref(), cli.json, cli.quiet, |store, config| {
                let mut chosen = transfer::choose(config, &task, &cli.tables)?;
                let held = transfer::leave_out_held(&store.holds(Some(chosen.id))?, &mut chosen)?;
                let params = transfer::params(store, config, chosen.clone());
                if let Err(error) = &params
                    && let Err(e) = books::record_failed_launch(store, &chosen, error)
                {
                    log::error!("that the task could not be launched is not recorded: {e}");
                }
                Ok(Some(TaskParams { restart: cli.restart, held, ..params? }))
            })
        }
        (Some(Command::Adopt(args)), _) => {
            let mut out = Output::new(cli.json);
            let done = adopt_command::run(&args, cli.home.as_deref(), &mut out);
            out.print()?;
            done.map(|()| 0)
        }
        (Some(Command::Monitor), _) => {
            let signals = signals::watch()?;
            let home = Home::locate(cli.home.as_deref())?;
            home.create()?;
            logging::init("monitor", home.path())?;
            monitor::run(StoreLocation::from_env(home)?, &signals)?;
            Ok(0)
        }
        (Some(Command::Bench(args)), _) => {
            bench::run(&args, cli.json)?;
            Ok(0)
        }
        (Some(Command::Top), _) => {
            let signals = signals::watch()?;
            let home = Home::locate(cli.home.as_deref())?;
            existing::check(&home)?;
            top::run(StoreLocation::from_env(home)?, &signals)?;
            Ok(0)
        }
        (Some(Command::Heartbeat(args)), _) => {
            let home = Home::locate(cli.home.as_deref())?;
            let pulse = Pulse::feel(home.path(), args.older_than_secs.saturating_mul(1000))?;
            outln!("{}", pulse.line());
            Ok(if pulse.is_well() { 0 } else { 1 })
        }
        (Some(Command::Event { what, text }), _) => {
            let home = Home::locate(cli.home.as_deref())?;
            event::record(home.path(), &Event::new(what, text));
            Ok(0)
        }
        (Some(Command::Generate { what, dir }), _) => {
            generate::run(what, &dir)?;
            Ok(0)
        }
        (Some(Command::Daemon(command)), _) => {
            daemon::command::run(command, cli.home.as_deref(), cli.json)
        }
        (Some(Command::Demo(args)), _) => {
            let signals = signals::watch()?;
            Ok(if demo::run(&args, cli.json, &signals)? { 0 } else { 1 })
        }
        (Some(Command::Store(command)), _) => {
            let mut out = Output::new(cli.json);
            let done = command::run(command, cli.home.as_deref(), &mut out);
            // What was found out before a failure is printed too.
            out.print()?;
            done
        }
        (None, None) => Err(Error::new(Kind::Usage, "nothing to do").hint("See ssync --help.")),
    }
}

/// Runs a task in this process; the exit code.
fn foreground(
    home: Option<&Path>,
    json: bool,
    quiet: bool,
    prepare: impl FnOnce(&mut Store, &Config) -> Result<Option<TaskParams>>,
) -> Result<u8> {
    // Before any thread starts: a signal goes to whichever thread does not block it.
    let signals = signals::watch()?;
    let home = Home::locate(home)?;
    let telling = patience::tell_of_waits(&home);
    let mut store = existing::open(&home, None)?;
    logging::init("worker", store.home().path())?;
    let instance_home = store.home().path().to_path_buf();
    drain_left(&mut store)?;
    let config = store.load()?;
    let params = prepare(&mut store, &config)?;
    drop(store);
    // The run itself goes on without that database, and says so.
    drop(telling);
    // Rows were set back, and wait until what is held runs again.
    let Some(params) = params else { return Ok(Kind::Paused.exit_code()) };
    let report = transfer::run(&params, &signals, quiet || json)?;
    // It may have suspended the task.
    if params.realtime && report.exit_code() != 0 {
        daemon::command::poke(&home);
    }
    let names = TaskNames::of([&params.task]);
    for waiting in spool::waiting(&instance_home, Some(report.task)) {
        errln!("{}", clock::localized(&names.named(&waiting.words())));
    }
    let text = if json {
        terminal::json(&report, &params.task)
            .map_err(|e| Error::new(Kind::Internal, format!("report: {e}")))?
    } else {
        let summary = terminal::summary(&report, &params.task);
        clock::localized(&names.named(&summary)).into_owned()
    };
    out!("{text}");
    for table in &report.tables {
        if let Some(error) = &table.error {
            let text = render::text_of_table(report.task, &table.table, error);
            err!("{}", clock::localized(&names.named(&text)));
        }
    }
    Ok(report.exit_code())
}

fn writer(labels: &[String]) -> Result<u8> {
    let n = labels.iter().find_map(|l| l.strip_prefix("n=")).unwrap_or("?");
    set_title(&format!("ssync-writer-{n}"));
    let home = Home::locate(None)?;
    logging::init("writer", home.path())?;
    if let Some(task) = labels.iter().find_map(|l| l.strip_prefix("task=")) {
        logging::set_context("task", task);
    }
    let channel = Channel::from_inherited_fd(CHANNEL_FD)?;
    match ssync_writer::run(&channel) {
        Ok(()) => Ok(0),
        Err(e) => {
            // The task process has been told; this is for whoever looks for a fault.
            log::error!("{e:?}");
            Ok(1)
        }
    }
}
