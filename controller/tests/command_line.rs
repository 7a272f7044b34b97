//! Rules that hold for every command. (Building this test also builds the program, which the
//! end-to-end tests in `tests/` start.)

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use clap::CommandFactory;
use ssync_controller::cli::Cli;

fn ssync(args: &[&str]) -> Output {
    // A home that cannot be made: nothing here may need one.
    Command::new(env!("CARGO_BIN_EXE_ssync"))
        .args(args)
        .env_clear()
        .env("SSYNC_HOME", "/proc/no-such-home")
        .output()
        .unwrap()
}

fn each(command: &clap::Command, check: &mut dyn FnMut(&clap::Command)) {
    check(command);
    command.get_subcommands().for_each(|c| each(c, check));
}

#[test]
fn definitions_are_consistent_and_everything_has_help() {
    let command = Cli::command();
    command.clone().debug_assert();
    each(&command, &mut |c| {
        assert!(c.get_about().is_some(), "{} has no help", c.get_name());
        for arg in c.get_arguments() {
            let name = format!("{} {}", c.get_name(), arg.get_id());
            let help = arg.get_help().unwrap_or_else(|| panic!("{name} has no help")).to_string();
            assert!(!help.ends_with('.'), "{name}: {help}");
        }
    });
}

#[test]
fn no_argument_takes_a_secret() {
    each(&Cli::command(), &mut |c| {
        for arg in c.get_arguments() {
            let name = arg.get_id().as_str();
            for word in ["password", "secret", "passphrase", "token", "credential"] {
                assert!(!name.contains(word), "{} {name}", c.get_name());
            }
        }
    });
    let refused = ssync(&["link", "set-password", "core", "hunter2"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn help_and_version_go_to_standard_output() {
    for args in [&["--help"][..], &["--version"], &["apply", "--help"], &["help", "link"]] {
        let shown = ssync(args);
        assert_eq!(shown.status.code(), Some(0), "{args:?}");
        assert!(!shown.stdout.is_empty() && shown.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2_as_text_or_json() {
    for args in
        [&[][..], &["nosuch"], &["apply"], &["pause", "4294967296"], &["history", "--table", "x"]]
    {
        let refused = ssync(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{args:?}");
    }
    let refused = ssync(&["--json", "apply"]);
    assert_eq!(refused.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&error["schema"], &error["error"]["kind"]), (&1.into(), &"Usage".into()));
    assert!(error["error"]["message"].as_str().unwrap().contains("required arguments"));
}

#[test]
fn a_mistyped_command_suggests_only_commands_that_people_are_to_know() {
    let hidden: Vec<_> = Cli::command()
        .get_subcommands()
        .filter(|c| c.is_hide_set())
        .map(|c| c.get_name().to_owned())
        .collect();
    assert!(hidden.iter().any(|name| name == "heartbeat"), "{hidden:?}");
    for name in hidden.iter().map(String::as_str).chain(["health", "status", "link"]) {
        let typo = &name[..name.len() - 1];
        let said = String::from_utf8(ssync(&[typo]).stderr).unwrap();
        let said = said + std::str::from_utf8(&ssync(&["--json", typo]).stdout).unwrap();
        for name in hidden.iter().filter(|name| *name != "links") {
            assert!(!said.contains(&format!("'{name}'")), "{typo}: {said}");
        }
    }
    let said = String::from_utf8(ssync(&["healt"]).stderr).unwrap();
    assert!(said.contains("a similar subcommand exists: 'health'"), "{said}");
}

/// `controller` is a name in configuration, events and JSON. What people read calls it a daemon.
#[test]
fn people_read_of_a_daemon() {
    each(&Cli::command(), &mut |c| {
        let mut texts: Vec<_> = c.get_about().into_iter().chain(c.get_long_about()).collect();
        texts.extend(c.get_arguments().filter_map(|a| a.get_help()));
        for text in texts {
            assert!(!text.to_string().contains("controller"), "{}: {text}", c.get_name());
        }
    });
    for what in ssync_common::event::What::ALL {
        assert!(!what.about().contains("controller"), "{}: {}", what.name(), what.about());
    }
}

#[test]
fn a_home_that_cannot_be_made_is_an_error_with_advice() {
    let failed = ssync(&["daemon"]);
    let text = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(text.starts_with("ssync: could not create /proc/no-such-home"), "{text}");
    assert!(text.contains("hint: Set SSYNC_HOME"), "{text}");
}

/// Names of the files in a directory, and their text.
fn files(dir: &std::path::Path) -> std::collections::BTreeMap<String, String> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| {
            let name = e.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(e.path()).unwrap())
        })
        .collect()
}

/// Commands that people are to know, `ssync link list` as `["ssync", "link", "list"]`.
fn visible(command: &clap::Command, above: &[&str]) -> Vec<(Vec<String>, clap::Command)> {
    let path: Vec<&str> = [above, &[command.get_name()]].concat();
    let mut all = vec![(path.iter().map(ToString::to_string).collect(), command.clone())];
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        all.extend(visible(below, &path));
    }
    all
}

#[test]
fn every_command_and_option_has_its_man_page_and_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for what in ["man", "completions"] {
        let done = ssync(&["generate", what, &at(what)]);
        assert_eq!(done.status.code(), Some(0), "{:?}", String::from_utf8_lossy(&done.stderr));
    }
    let pages = files(&dir.path().join("man"));
    let completions = files(&dir.path().join("completions"));
    let shells: Vec<_> = completions.keys().map(String::as_str).collect();
    assert_eq!(shells, ["_ssync", "ssync.bash", "ssync.fish"]);

    let commands = visible(&Cli::command(), &[]);
    assert!(commands.len() > 15, "{}", commands.len());
    assert_eq!(pages.len(), commands.len(), "{:?}", pages.keys());
    for (path, command) in &commands {
        let name = path.join("-");
        let page = pages.get(&format!("{name}.1")).unwrap_or_else(|| panic!("no page {name}"));
        // The shells know each command by its words, wherever it stands.
        for (shell, text) in &completions {
            assert!(text.contains(command.get_name()), "{shell} {name}");
        }
        for option in command.get_arguments().filter(|a| !a.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            assert!(page.contains(&long.replace('-', "\\-")), "page {name} lacks --{long}");
            for (shell, text) in &completions {
                let said = match shell.as_str() {
                    "ssync.fish" => format!("-l {long}"),
                    _ => format!("--{long}"),
                };
                assert!(text.contains(&said), "{shell} lacks {said} of {name}");
            }
        }
    }
    for hidden in ["writer", "heartbeat", "generate"] {
        assert!(!pages.contains_key(&format!("ssync-{hidden}.1")), "{hidden}");
    }
}
