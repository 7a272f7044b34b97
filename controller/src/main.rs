//! The binary `ssync`: parses the command line, and maps what comes of it to an exit code.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use ssync_controller::cli::Cli;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => ExitCode::from(ssync_controller::run(cli)),
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
