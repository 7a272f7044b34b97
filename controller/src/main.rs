//! The binary `ssync`: parses the command line, and maps what comes of it to an exit code.

use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use ssync_controller::cli::Cli;
use ssync_controller::{manual, render, suggestions};

fn main() -> ExitCode {
    let command = manual::command();
    let parsed = command
        .clone()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|e| suggestions::visible(e, &command));
    match parsed {
        Ok(cli) => ExitCode::from(ssync_controller::run(cli)),
        // For programs; what people see, they would see too.
        Err(e) if e.use_stderr() && std::env::args_os().any(|a| a == "--json") => {
            ExitCode::from(render::fail(&render::usage(&e), true))
        }
        Err(e) => {
            // A broken pipe while printing help is nobody's error.
            let _ = e.print();
            match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            }
        }
    }
}
