//! Commands that the configuration database answers, one module each.

mod config;
mod health;
mod history;
pub(crate) mod holds;
mod late;
pub mod link;
pub mod receivers;
mod records;
mod retired_keys;
mod show;
mod sight;
mod status;
mod versions;

use std::path::Path;

use ssync_common::error::Result;
use ssync_common::store::{Home, Store, StoreLocation, key_secret};

pub(crate) use history::{RESUMED, run_state};

use sight::Sight;

use crate::books::drain::drain_left;
use crate::books::spool;
use crate::cli::{ConfigCommand, LinkCommand, ReceiverCommand, StoreCommand};
use crate::existing;
use crate::grammar::number_in_force;
use crate::key_command::{self, Keys};
use crate::output::Output;
use crate::patience::tell_of_waits;

/// Runs a command; the exit code: 1 when it did its work and found that something is not well.
pub fn run(command: StoreCommand, home: Option<&Path>, out: &mut Output) -> Result<u8> {
    // Not every command needs one.
    let home = Home::locate(home);
    let _telling = home.as_ref().ok().map(tell_of_waits);
    let makes_home = matches!(&command, StoreCommand::Apply(args) if !args.dry_run);
    let located = home.clone();
    let open = move || {
        let located = located?;
        let mut store = match makes_home {
            true => Store::open(&StoreLocation::from_env(located)?)?,
            false => existing::open(&located, None)?,
        };
        // What task processes have left while it was out of reach: a suspension, say.
        if let Err(e) = drain_left(&mut store) {
            log::warn!("records of runs still wait: {e:?}");
        }
        Ok(store)
    };
    let is_well = match command {
        StoreCommand::Apply(args) => {
            let is_new = home.as_ref().is_ok_and(existing::is_new);
            config::apply(&args, is_new, open, out)
        }
        StoreCommand::Config(ConfigCommand::Log { limit }) => {
            versions::log(&mut open()?, limit, out)
        }
        StoreCommand::Config(ConfigCommand::Show { version }) => {
            versions::show(&mut open()?, version, out)
        }
        StoreCommand::Config(ConfigCommand::Diff { from, to }) => {
            versions::compare(&mut open()?, from, to, out)
        }
        StoreCommand::Config(ConfigCommand::Rollback { version, consent }) => {
            versions::rollback(&mut open()?, version, &consent, out)
        }
        StoreCommand::Export => config::export(&mut open()?, out),
        StoreCommand::Link(command) => link::run(&command, &mut open()?, out),
        StoreCommand::Links { command } => {
            link::run(&command.unwrap_or(LinkCommand::Usage), &mut open()?, out)
        }
        StoreCommand::Key(command) => {
            let keys = || {
                let configured = open()?.load()?.keys;
                Ok(Keys { configured, resolve: Box::new(key_secret) })
            };
            key_command::run(&command, out.is_json(), keys, out)
        }
        StoreCommand::Receiver(ReceiverCommand::List) => receivers::list(&mut open()?, out),
        StoreCommand::Receiver(ReceiverCommand::Test { names }) => {
            receivers::test(&mut open()?, &names, out)
        }
        StoreCommand::Brief(args) => receivers::brief(&mut open()?, &args, out),
        StoreCommand::Status(of) => {
            of.check("status")?;
            let sight = Sight::of(home?)?;
            let number = |which| number_in_force(which, &sight.home, sight.open());
            let only = of.task.which().map(number).transpose()?;
            return status::status(&sight, only, &of.tables.tables, out);
        }
        StoreCommand::Health => return health::health(&Sight::of(home?)?, out),
        StoreCommand::Show(of) => {
            show::show(&mut open()?, of.task.which()?, &of.tables.tables, out)
        }
        StoreCommand::History(args) => {
            args.scope.check("history")?;
            let home = home?;
            let opened = open.clone()();
            let number = |which| number_in_force(which, &home, open);
            let only = args.scope.task.which().map(number).transpose()?;
            let waiting = spool::waiting(home.path(), only);
            if !out.is_json() {
                waiting.iter().for_each(|waiting| out.line(waiting.words()));
            }
            history::history(&mut opened?, &args, &waiting, out)
        }
        StoreCommand::Errors(args) => {
            args.scope.check("errors")?;
            records::errors(&mut open()?, &args, out)
        }
        StoreCommand::Pause(args) => holds::pause(&mut open()?, &args, out),
        StoreCommand::Resume(args) => holds::resume(&mut open()?, &args, out),
    };
    is_well.map(|is_well| if is_well { 0 } else { 1 })
}
