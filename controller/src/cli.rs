//! The command line, as clap understands it. One definition feeds parser and help.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Moves table rows between databases, and proves that what it reports is what landed.
///
/// `ssync --task N [--tables a,b]` runs a task now, in the foreground.
#[derive(Parser)]
#[command(
    name = "ssync",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Run this task now, in the foreground
    #[arg(long, value_name = "N")]
    pub task: Option<u32>,

    /// Only these tables of the task, separated by commas; they run in their configured order
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "task")]
    pub tables: Vec<String>,

    /// Begin a new run, even where one that had not come to its end could be resumed
    #[arg(long, requires = "task")]
    pub restart: bool,

    /// Home directory [default: SSYNC_HOME, else /var/lib/ssync for root, else the user's state directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,

    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,

    /// Show no progress
    #[arg(long, global = true)]
    pub quiet: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Check that tasks can run: configuration, links, tables, columns, widths, privileges
    Check {
        /// Only this task
        #[arg(long, value_name = "N")]
        task: Option<u32>,
        /// Only these tables of it, separated by commas
        #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "task")]
        tables: Vec<String>,
        /// Also move a few rows and take them back
        #[arg(long)]
        trial: bool,
    },
    /// Send bad rows of a task again, after they were corrected
    Retry {
        /// The task
        #[arg(long, value_name = "N")]
        task: u32,
        /// Only these tables of it, separated by commas
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        tables: Vec<String>,
        /// Instead: rows of the last run that the destination has lost (restored, failed over)
        #[arg(long)]
        lost: bool,
    },
    /// The writer process (started by ssync itself)
    #[command(hide = true)]
    Writer {
        /// What `ps` is to show: `task=N`, `n=N`
        labels: Vec<String>,
    },
}
