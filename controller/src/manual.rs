//! What help and man pages say beside the options: commands by what they are for, examples, exit
//! codes, files, environment. The parser's own definition is in [`crate::cli`].

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use crate::cli::Cli;

/// Commands by what they are for.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Transfer", &["check", "retry", "adopt"]),
    ("Look", &["top", "status", "health", "show", "history", "errors", "explain", "brief"]),
    ("Operate", &["daemon", "run", "pause", "resume", "reload", "stop", "monitor"]),
    ("Configure", &["apply", "config", "export", "link", "key", "receiver"]),
    ("Try", &["demo"]),
];

/// Command lines, and what each is good for.
type Examples = [(&'static str, &'static str); 2];

/// Examples by command; the program itself has no name here.
const EXAMPLES: &[(&str, Examples)] = &[
    (
        "",
        [
            ("ssync --task 7", "run every table of task 7 now"),
            (
                "ssync --task billing --tables orders,items --json",
                "run two tables of the task of that name, for a script",
            ),
        ],
    ),
    (
        "check",
        [
            ("ssync check", "look at everything that is configured"),
            ("ssync check 7 --trial", "also move a few rows and take them back"),
        ],
    ),
    (
        "retry",
        [
            ("ssync retry 7 --tables orders", "send corrected rows again"),
            ("ssync retry 7 --lost", "send again what a restored destination has lost"),
        ],
    ),
    (
        "adopt",
        [
            ("ssync adopt 7", "show what is known of its tables"),
            (
                "ssync adopt 7 --tables orders --source-was shop.orders_old",
                "the source table was renamed",
            ),
        ],
    ),
    (
        "top",
        [
            ("ssync top", "watch; arrow keys, Enter, p, r, q"),
            ("ssync top --home /srv/ssync", "watch another installation"),
        ],
    ),
    (
        "status",
        [("ssync status", "every task, once"), ("ssync status 7 --json", "one task, for programs")],
    ),
    (
        "health",
        [
            ("ssync health", "one line and an exit code"),
            ("ssync health --json", "every finding by itself"),
        ],
    ),
    (
        "show",
        [
            ("ssync show 7", "the scene of task 7 as its last run left it"),
            ("ssync show billing --json", "of the task of that name, for programs"),
        ],
    ),
    (
        "history",
        [
            ("ssync history --failed --since 1d", "what failed since yesterday"),
            (
                "ssync history billing --tables orders --since 7d --chart",
                "a week of one table, drawn",
            ),
        ],
    ),
    (
        "errors",
        [
            ("ssync errors 7 --all", "bad rows of task 7, and what became of them"),
            ("ssync errors 7 --close T-411", "nobody is going to correct them"),
        ],
    ),
    (
        "explain",
        [
            ("ssync explain 7", "when it ran, why it did not, when it fires next"),
            ("ssync explain 7 --json", "every decision that is kept"),
        ],
    ),
    ("brief", [("ssync brief", "the last 24 hours"), ("ssync brief --date 2026-12-01", "one day")]),
    (
        "daemon",
        [
            ("ssync daemon", "in the foreground, as under systemd"),
            ("ssync daemon --detach", "in the background"),
        ],
    ),
    (
        "run",
        [
            ("ssync run 7", "have the daemon run task 7 now"),
            ("ssync run 7 --wait", "and wait for its end"),
        ],
    ),
    (
        "pause",
        [
            ("ssync pause 7 --reason \"index is rebuilt\"", "the whole task"),
            ("ssync pause 7 --tables orders,items", "two tables of it"),
        ],
    ),
    (
        "resume",
        [
            ("ssync resume 7", "the whole task"),
            ("ssync resume 7 --tables orders,items", "two tables of it"),
        ],
    ),
    (
        "reload",
        [
            ("ssync reload", "have the daemon read its configuration, and say what changed"),
            ("ssync reload --json", "the same for programs"),
        ],
    ),
    (
        "stop",
        [
            ("ssync stop", "in-flight batches land first"),
            ("ssync stop --home /srv/ssync", "the daemon of another installation"),
        ],
    ),
    (
        "monitor",
        [
            ("ssync monitor", "in the foreground, as under systemd"),
            ("ssync monitor --home /srv/ssync", "for another installation"),
        ],
    ),
    (
        "apply",
        [
            ("ssync apply bank.toml --dry-run", "check it, and show what would change"),
            ("ssync apply bank.toml --yes", "from a script"),
        ],
    ),
    (
        "config log",
        [
            ("ssync config log", "who applied what, and when"),
            ("ssync config log --json", "the same for programs"),
        ],
    ),
    (
        "config show",
        [
            ("ssync config show 12", "version 12 as TOML"),
            ("ssync config show 12 --json", "as JSON"),
        ],
    ),
    (
        "config diff",
        [
            ("ssync config diff 11 12", "what changed between the two"),
            ("ssync config diff 11", "what has changed since"),
        ],
    ),
    (
        "config rollback",
        [
            ("ssync config rollback 11", "shows what changes, asks before it removes"),
            ("ssync config rollback 11 --yes", "from a script"),
        ],
    ),
    ("export", [("ssync export", "the configuration as TOML"), ("ssync export --json", "as JSON")]),
    ("link list", [("ssync link list", "every link"), ("ssync link list --json", "for programs")]),
    (
        "link set-password",
        [
            ("ssync link set-password shop", "asks for it"),
            ("ssync link set-password shop < password.txt", "reads it from a file"),
        ],
    ),
    (
        "link usage",
        [
            ("ssync link usage", "connections in use, and who waits"),
            ("ssync link usage --json", "the same for programs"),
        ],
    ),
    (
        "link test",
        [("ssync link test", "all of them"), ("ssync link test shop warehouse", "two of them")],
    ),
    (
        "key new",
        [
            ("ssync key new pii --out /etc/ssync/pii.key", "a new key in a file of mode 0600"),
            ("ssync key new pii --out pii.key", "a new key in the directory of now"),
        ],
    ),
    ("key list", [("ssync key list", "every key"), ("ssync key list --json", "for programs")]),
    (
        "key check",
        [
            ("ssync key check", "read every key, and try it"),
            ("ssync key check --json", "for programs"),
        ],
    ),
    (
        "receiver list",
        [
            ("ssync receiver list", "who is told, and what waits"),
            ("ssync receiver list --json", "for programs"),
        ],
    ),
    (
        "receiver test",
        [
            ("ssync receiver test", "a message to everybody"),
            ("ssync receiver test oncall", "to one receiver"),
        ],
    ),
    (
        "demo",
        [
            ("ssync demo", "a hundred thousand orders"),
            ("ssync demo --rows 1000000 --keep", "a million, and the files stay"),
        ],
    ),
];

/// Exit codes, where they mean more than usual.
const EXIT_CODES: &[(&str, &str)] = &[
    (
        "",
        "0 all landed, 1 something failed or some rows were not sent, 2 usage or configuration, 130 \
         interrupted, or something of what was asked for is paused or suspended",
    ),
    ("check", "0 everything can run, 1 something failed (a server is down), 2 tables are refused"),
    ("retry", "those of a run; with --lost, 1 also while rows of other homes are missing"),
    ("health", "0 everything works, 1 somebody should look, 2 something does not work"),
    (
        "status",
        "0 as it should be, 1 the daemon should run and does not, or does not respond, 2 usage",
    ),
    (
        "run",
        "0 started (with --wait: all landed), 1 it failed, 2 usage or configuration, 130 \
         interrupted, or something of what was asked for is paused or suspended",
    ),
    ("pause", "0 in effect, 1 batches are still under way, or it was resumed meanwhile, 2 usage"),
    ("resume", "0 it may run again, 1 it was held again meanwhile, 2 usage"),
];
const USUAL_EXIT_CODES: &str = "0 done, 1 it failed, 2 usage or configuration";

const PLACES: &str = "\
Files:
  SSYNC_HOME/ssync.db   configuration, history and bad rows
  SSYNC_HOME/logs       logs, a file for each role and day
  SSYNC_HOME/events     events, and the reminder log
  SSYNC_HOME/run        locks, and records that wait to be written down

Environment:
  SSYNC_HOME            home directory, unless --home says otherwise
  SSYNC_CONFIG_DB       configuration database on a server; its password is in
                        SSYNC_CONFIG_DB_PASSWORD or in the file that
                        SSYNC_CONFIG_DB_PASSWORD_FILE names";

/// The parser with all that its pages say.
pub fn command() -> Command {
    let mut command = Cli::command();
    let groups = groups(&command);
    command = command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}\
         Options:\n{{options}}{{after-help}}"
    ));
    complete(command, "")
}

/// Every page of a command and those below it gets its end.
fn complete(command: Command, path: &str) -> Command {
    let names: Vec<_> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let short = format!("Exit codes: {}.", exit_codes(path));
    let mut command = command.after_help(short).after_long_help(end(path));
    if let Some(usage) = usage(&command, path) {
        command = command.override_usage(usage);
    }
    for name in names {
        let below = format!("{path} {name}").trim().to_owned();
        command = command.mut_subcommand(name, |c| complete(c, &below));
    }
    command
}

/// How a command about one task is called: the parser takes the task as an option too, and would
/// show neither as required.
fn usage(command: &Command, path: &str) -> Option<String> {
    let positionals = command.get_positionals().filter(|arg| arg.get_id() != "task");
    let rest: Vec<_> = positionals.map(|arg| format!(" {arg}")).collect();
    let one = ["OneTask", "HoldArgs"];
    let is_about_one = command.get_groups().any(|group| one.contains(&group.get_id().as_str()));
    is_about_one.then(|| format!("ssync {path} [OPTIONS] <TASK>{}", rest.concat()))
}

/// How the page of a command ends.
fn end(path: &str) -> String {
    let mut text = String::new();
    if let Some((_, examples)) = EXAMPLES.iter().find(|(command, _)| *command == path) {
        text += "Examples:\n";
        for (line, what) in examples {
            let _ = writeln!(text, "  {line}\n      {what}");
        }
        text.push('\n');
    }
    let _ = write!(text, "Exit codes: {}.\n\n{PLACES}", exit_codes(path));
    text
}

fn exit_codes(path: &str) -> &'static str {
    let special = EXIT_CODES.iter().find(|(command, _)| *command == path);
    special.map_or(USUAL_EXIT_CODES, |(_, codes)| codes)
}

/// Commands with what they do, by group.
fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "{heading}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {name:<9} {about}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    fn leaves(command: &Command, path: &str, into: &mut Vec<String>) {
        for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            let path = format!("{path} {}", below.get_name()).trim().to_owned();
            match below.has_subcommands() {
                true => leaves(below, &path, into),
                false => into.push(path),
            }
        }
    }

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<_> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let cli = Cli::command();
        let mut offered: Vec<_> =
            cli.get_subcommands().filter(|c| !c.is_hide_set()).map(Command::get_name).collect();
        grouped.sort_unstable();
        offered.sort_unstable();
        assert_eq!(grouped, offered);
    }

    #[test]
    fn every_command_has_examples_that_it_takes() {
        let mut commands = vec![String::new()];
        leaves(&Cli::command(), "", &mut commands);
        commands.sort();
        let mut known: Vec<_> = EXAMPLES.iter().map(|(path, _)| (*path).to_owned()).collect();
        known.sort();
        assert_eq!(known, commands);
        for (path, examples) in EXAMPLES {
            for (line, _) in examples {
                assert!(line.starts_with(format!("ssync {path}").trim_end()), "{line}");
                let words = line.replace("\"index is rebuilt\"", "reason");
                let words = words.split(" < ").next().unwrap_or_default();
                if let Err(e) = Cli::try_parse_from(words.split_whitespace()) {
                    panic!("{line}: {e}");
                }
            }
        }
    }

    #[test]
    fn pages_fit_a_terminal() {
        let page = command().render_long_help().to_string();
        let groups = groups(&Cli::command());
        let lines = groups.lines().chain(PLACES.lines());
        let wide: Vec<_> = lines.filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:#?}");
        for part in ["Transfer:\n", "Examples:\n", "Exit codes: 0 all landed", "Environment:\n"] {
            assert!(page.contains(part), "{page}");
        }
        let mut pause = command().find_subcommand("pause").unwrap().clone();
        let page = pause.render_help().to_string();
        assert!(page.contains("Usage: ssync pause [OPTIONS] <TASK> [TABLE]\n"), "{page}");
        let mut history = command().find_subcommand("history").unwrap().clone();
        let page = history.render_long_help().to_string();
        assert!(page.contains("ssync history --failed --since 1d\n"), "{page}");
    }
}
