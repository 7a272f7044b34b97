//! The command line, as clap understands it. One definition feeds parser and help. Secrets cannot
//! be said on it: no argument takes one. How tasks and tables are said is the business of
//! [`crate::grammar`].

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use ssync_common::config::TaskRef;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::What;

use crate::bench::BenchArgs;
use crate::daemon::command::DaemonCommand;
use crate::grammar::{OneTask, Scope, Tables, TaskScope};
use crate::key_command::KeyCommand;

/// Heading of the options that every command has.
const GLOBAL: &str = "Options of every command";

/// Moves table rows between databases, and proves that what it reports is what landed.
///
/// `ssync --task TASK [--tables a,b]` runs a task now, in the foreground. A TASK is a task's number
/// or its name.
#[derive(Debug, Parser)]
#[command(
    name = "ssync",
    version,
    arg_required_else_help = true,
    override_usage = "ssync --task <TASK> [OPTIONS]\n       ssync <COMMAND> [OPTIONS]"
)]
pub struct Cli {
    /// Run this task now, in the foreground
    #[arg(long, value_name = "TASK")]
    pub task: Option<TaskRef>,

    /// Only these tables of the task, separated by commas; they run in their configured order
    #[arg(
        long,
        visible_alias = "table",
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "task"
    )]
    pub tables: Vec<String>,

    /// Start over instead of resuming an open run. An increment goes on behind what was sent, unless
    /// its destination is empty
    #[arg(long, requires = "task")]
    pub restart: bool,

    /// Home directory [default: SSYNC_HOME, else /var/lib/ssync for root, else the user's state
    /// directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub home: Option<PathBuf>,

    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// Show moments in UTC instead of local time; JSON has them in UTC anyway
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub utc: bool,

    /// Show no progress
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[allow(missing_docs)]
    #[command(flatten)]
    Store(StoreCommand),

    #[allow(missing_docs)]
    #[command(flatten)]
    Daemon(DaemonCommand),

    /// Check that tasks can run: links, tables, columns, widths, privileges
    ///
    /// Exit codes are those of a run: 1 where something failed (a server is down), 2 where tables are
    /// refused by configuration or definitions.
    Check {
        /// What to check.
        #[command(flatten)]
        scope: Scope,
        /// Also move a few rows and take them back
        #[arg(long)]
        trial: bool,
    },
    /// Send bad rows of a task again, after they were corrected
    ///
    /// With --lost, rows that a destination has lost which was restored, or failed over, to an older
    /// state. A home knows only its own runs: where others' are missing too, what is known here is set
    /// back, nothing is sent, and the exit code is 1 until the command was run in every home, or ssync
    /// adopt --as-is accepts the destination as it is.
    Retry {
        /// Which task.
        #[command(flatten)]
        task: OneTask,
        /// Which tables.
        #[command(flatten)]
        tables: Tables,
        /// Instead: rows that the destination has lost (restored, failed over)
        #[arg(long)]
        lost: bool,
    },
    /// Decide what counts of a table that was renamed, moved or restored
    ///
    /// A run stops when source or destination are not what earlier runs knew. This command shows
    /// what is known, and with one of its options carries out a decision about one table. To send
    /// rows again that a restored destination has lost, use ssync retry --lost.
    Adopt(AdoptArgs),
    /// Tell people what goes wrong, and send the daily brief
    ///
    /// Runs until it is ended. Follows what the other processes record, looks for tasks that are
    /// stuck or have died, and removes old records. Receivers, brief and limits stand in the configuration.
    Monitor,

    /// Show the main job on made-up orders, and prove that they all arrived
    ///
    /// Makes three SQLite files in a temporary directory, transfers the orders of the first into
    /// the second with two columns encrypted, changes some, transfers again, decrypts them into
    /// the third, and compares. Nothing else is touched. About 20 seconds.
    Demo(DemoArgs),

    /// Measure what each stage takes in memory, without any database
    #[command(hide = true)]
    Bench(BenchArgs),

    /// Watch tasks as they run; pause and resume them
    ///
    /// Rows, speed, writers, waits and errors, as they change.
    Top,

    /// Say whether the daemon lives, for the watchdog
    ///
    /// Prints `alive`, `hangs`, `dead` (it should run and does not) or `stopped` (it need not
    /// run), and facts. Exit code 0 for `alive` and `stopped`, else 1. Asks shared memory alone.
    #[command(hide = true)]
    Heartbeat(HeartbeatArgs),

    /// Have people told something, by the receivers of the configuration
    ///
    /// `ssync monitor` sends it; it need not run at this moment.
    #[command(hide = true)]
    Event {
        /// What has happened: watchdog_restart, watchdog_gave_up
        #[arg(value_parser = what_of)]
        what: What,
        /// In words that are complete by themselves, without row values and secrets
        text: String,
    },

    /// Write man pages or shell completions, for packages
    #[command(hide = true)]
    Generate {
        /// Which
        what: GenerateKind,
        /// Where to
        dir: PathBuf,
    },

    /// The writer process (started by ssync itself)
    #[command(hide = true)]
    Writer {
        /// What `ps` is to show: `task=N`, `n=N`
        labels: Vec<String>,
    },
}

/// What `ssync generate` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GenerateKind {
    /// A page per command: `ssync.1`, `ssync-status.1`, …
    Man,
    /// For bash, zsh and fish
    Completions,
}

/// What others than ssync's own processes may tell.
fn what_of(word: &str) -> std::result::Result<What, String> {
    [What::WatchdogRestart, What::WatchdogGaveUp]
        .into_iter()
        .find(|what| what.name() == word)
        .ok_or_else(|| "only a watchdog tells something: watchdog_restart, watchdog_gave_up".into())
}

/// `ssync adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Which task.
    #[command(flatten)]
    pub task: OneTask,

    /// Which tables; a decision is about one.
    #[command(flatten)]
    pub tables: Tables,

    /// What is decided.
    #[command(flatten)]
    pub decision: AdoptDecision,
}

/// What an operator decides: former names, or one of the others.
#[derive(Debug, Args)]
pub struct AdoptDecision {
    /// The source table was renamed: this was its name
    #[arg(long, value_name = "TABLE")]
    pub source_was: Option<String>,

    /// The destination table was renamed: this was its name
    #[arg(long, value_name = "TABLE")]
    pub dest_was: Option<String>,

    /// Both tables count as they are now: what the destination's record lists has landed, rows in
    /// state 1 that it does not list go again; an increment goes on by the mark of tables of these
    /// names, wherever its source is now
    #[arg(long, conflicts_with_all = ["source_was", "dest_was", "new"])]
    pub as_is: bool,

    /// Nothing of earlier runs counts: the table is a copy, or one of the two was made anew; rows
    /// in state 1 go again
    #[arg(long, conflicts_with_all = ["source_was", "dest_was"])]
    pub new: bool,
}

/// `ssync heartbeat`.
#[derive(Debug, Args)]
pub struct HeartbeatArgs {
    /// Age of the last heartbeat, in seconds, from which on the daemon counts as hanging
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub older_than_secs: u64,
}

/// `ssync demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Orders that the shop has at first, 1,000 to 10,000,000
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    pub rows: u64,

    /// Leave the files there, to look around in
    #[arg(long)]
    pub keep: bool,
}

/// Commands that the configuration database answers.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Make a TOML file the configuration
    ///
    /// The whole file is checked first and every mistake in it is shown; nothing changes unless
    /// all of it is right. What the file does not name is removed, after a question; with
    /// --prune=false it stays. A daemon of this host reads the configuration at once. Every key is
    /// described in docs/CONFIGURATION.md.
    Apply(ApplyArgs),

    /// Versions of the configuration: list, compare, return to one
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Print the configuration as TOML
    ///
    /// Applying what is printed changes nothing. Passwords are not part of it, only where they
    /// come from.
    Export,

    /// Links: list and test them, see who uses them, store their passwords
    #[command(subcommand)]
    Link(LinkCommand),

    /// As `ssync link`; alone, `ssync link usage`
    #[command(hide = true)]
    Links {
        /// What to do.
        #[command(subcommand)]
        command: Option<LinkCommand>,
    },

    /// Encryption keys: make, list and check them
    #[command(subcommand, alias = "keys")]
    Key(KeyCommand),

    /// Receivers: list them with what waits for them, try them out
    #[command(subcommand, alias = "receivers")]
    Receiver(ReceiverCommand),

    /// Print what was transferred and what failed in the last 24 hours
    Brief(BriefArgs),

    /// Show every task: what it does, what holds it, how it ended last
    ///
    /// Also how many rows wait to be sent, as the daemon has counted them at most once a minute.
    /// Exit code 1 where a daemon should run and does not, or does not respond.
    Status(Scope),

    /// Report to a monitoring system whether somebody has to act
    ///
    /// One line. Looks at the daemon, late schedules, failed and suspended tasks, runs whose process has
    /// died, bad rows, receivers, and records that wait; known backlogs follow as figures. Answers
    /// also where the configuration database does not.
    /// Exit codes: 0 everything works, 1 somebody should look, 2 something does not work.
    Health,

    /// Show a task in detail
    ///
    /// What holds it, its last run with its attempts, error, batch and bad rows, how many rows of the
    /// source are in each state, and by which parameters the daemon would start it.
    Show(TaskScope),

    /// List past runs, newest first
    History(HistoryArgs),

    /// List rows that could not be transferred: key, column, error
    Errors(ErrorsArgs),

    /// Pause a task or table
    ///
    /// A table that is being transferred stops between two batches; what has landed stays, and
    /// the rest goes when the table is resumed. Other tables are not touched. Answers when it has
    /// taken effect; exit code 1 when batches are still under way after --wait seconds.
    Pause(PauseArgs),

    /// Resume a task or table after a pause or a failure
    Resume(HoldArgs),
}

/// `ssync apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The TOML file; - reads standard input
    pub file: PathBuf,

    /// Check the file and print what would change, without changing it
    #[arg(long)]
    pub dry_run: bool,

    /// Whether what the file does not name is removed
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub prune: bool,

    /// How it is carried out.
    #[command(flatten)]
    pub consent: Consent,
}

/// What goes with every change of the configuration.
#[derive(Debug, Args)]
pub struct Consent {
    /// Remove links, keys, schedules, tasks, tables and receivers without a question
    #[arg(long)]
    pub yes: bool,

    /// Why, for ssync config log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `ssync config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List versions, newest first: when, by whom, why
    Log {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u64,
    },

    /// Print a version as TOML
    Show {
        /// Its number
        version: i64,
    },

    /// Show what changed between two versions
    Diff {
        /// The number of the older one
        from: i64,
        /// The number of the newer one; none: the configuration in force
        to: Option<i64>,
    },

    /// Make a former version the configuration again
    ///
    /// It becomes a new version, as every configuration that is applied. Stored passwords of links
    /// that were removed since do not come back.
    Rollback {
        /// The number of the version to return to
        version: i64,
        /// How it is carried out.
        #[command(flatten)]
        consent: Consent,
    },
}

/// `ssync link`.
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// List links and where their passwords come from
    List,

    /// Store a link's password, sealed with the host key
    ///
    /// The password is read from the terminal without echo, or from standard input when that is
    /// no terminal (one line break at its end does not count). The configuration must say
    /// password = { stored = true } for the link.
    SetPassword {
        /// Name of the link
        name: String,
    },

    /// Show the connections in use on each link, and who waits for one
    Usage,

    /// Open links and name the server behind each
    Test {
        /// Names of the links; none: all
        names: Vec<String>,
    },
}

/// `ssync receiver`.
#[derive(Debug, Subcommand)]
pub enum ReceiverCommand {
    /// List receivers, what waits for each, and why
    List,

    /// Send receivers a test message
    Test {
        /// Names of the receivers; none: all
        names: Vec<String>,
    },
}

/// `ssync brief`.
#[derive(Debug, Args)]
pub struct BriefArgs {
    /// Of this day instead, by the host's clock: 2026-12-01
    #[arg(long, value_name = "DATE")]
    pub date: Option<String>,

    /// Also send it to the receivers, through the monitor
    #[arg(long)]
    pub send: bool,
}

/// `ssync history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Whose.
    #[command(flatten)]
    pub scope: Scope,

    /// Only runs begun since then: 2h, 3d, 2026-12-01, 2026-12-01T08:00
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,

    /// Only runs that failed
    #[arg(long)]
    pub failed: bool,

    /// List each attempt of a run that was broken off and resumed
    #[arg(long, conflicts_with = "chart")]
    pub attempts: bool,

    /// Draw how long each run took and how many rows it had
    #[arg(long)]
    pub chart: bool,

    /// At most so many runs [default: 20, or all with --since]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `ssync errors`.
#[derive(Debug, Args)]
pub struct ErrorsArgs {
    /// Whose.
    #[command(flatten)]
    pub scope: Scope,

    /// Also rows that have landed since, are gone from the source or no longer to be sent, and how
    /// that is known
    #[arg(long)]
    pub all: bool,

    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: u64,

    /// Take rows off the list that nobody is going to correct, such as those of a task that was
    /// removed: who did so and REASON are kept. In the source they stay as they are
    #[arg(long, value_name = "REASON", conflicts_with_all = ["all", "limit"])]
    pub close: Option<String>,
}

/// `ssync resume`, and what `ssync pause` shares with it.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The task: its number or its name
    #[arg(value_name = "TASK", required_unless_present = "task_option")]
    task: Option<String>,

    /// One table of it; without any, the whole task
    #[arg(conflicts_with = "tables")]
    table: Option<String>,

    /// The same as the argument TASK; the argument is the table then
    #[arg(long = "task", id = "task_option", value_name = "TASK", conflicts_with = "table")]
    option: Option<TaskRef>,

    /// Several tables.
    #[command(flatten)]
    tables: Tables,
}

impl HoldArgs {
    /// The task, and the tables of it that are named.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a task or a table is named twice.
    pub fn named(&self) -> Result<(TaskRef, Vec<String>)> {
        let usage = |text: String| Error::new(Kind::Usage, text);
        let mut tables = self.tables.tables.clone();
        let Some(option) = &self.option else {
            let task = self.task.as_deref().unwrap_or_default();
            tables.extend(self.table.clone());
            let task = task.parse().map_err(|e: String| usage(format!("{task:?} {e}")))?;
            return Ok((task, tables));
        };
        if let Some(argument) = &self.task {
            // A number is a task's; whatever else stands beside --task is the table.
            if matches!(argument.parse(), Ok(TaskRef::Number(_))) || !tables.is_empty() {
                return Err(usage(format!(
                    "the argument '--task <TASK>' cannot be used with '{argument}'"
                ))
                .hint("Name the task once, and its tables by --tables."));
            }
            tables.push(argument.clone());
        }
        Ok((option.clone(), tables))
    }
}

/// `ssync pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// What to hold.
    #[command(flatten)]
    pub what: HoldArgs,

    /// Why, for others to see
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Seconds to wait for batches that are under way
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
}
