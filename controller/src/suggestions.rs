//! What a mistyped command may have meant: only commands that people are to know.

use clap::error::{ContextKind, ContextValue, Error};

/// The error without suggestions of commands that `--help` does not list.
pub fn visible(mut error: Error, command: &clap::Command) -> Error {
    let kind = ContextKind::SuggestedSubcommand;
    let mut names = match error.remove(kind) {
        Some(ContextValue::String(name)) => vec![name],
        Some(ContextValue::Strings(names)) => names,
        _ => return error,
    };
    names.retain(|name| is_visible(command, name));
    if !names.is_empty() {
        error.insert(kind, ContextValue::Strings(names));
    }
    error
}

/// Whether a command of this name is listed, at whichever level.
fn is_visible(command: &clap::Command, name: &str) -> bool {
    command.get_subcommands().filter(|c| !c.is_hide_set()).any(|c| {
        c.get_name() == name || c.get_all_aliases().any(|a| a == name) || is_visible(c, name)
    })
}
