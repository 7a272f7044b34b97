//! Advice that can be typed as it is printed: the commands in the hint of an error name the table that
//! the error is about.

use ssync_common::error::Error;

/// Commands about a table that hints name without it.
const COMMANDS: [&str; 2] = ["ssync adopt", "ssync retry --lost"];

/// An error about this table of a task, its hint completed.
pub(crate) fn about(error: Error, task: u32, table: &str) -> Error {
    let hint = error.hint.as_ref().map(|hint| completed(hint, task, table));
    Error { hint, ..error }
}

fn completed(hint: &str, task: u32, table: &str) -> String {
    COMMANDS.iter().fold(hint.to_owned(), |hint, command| {
        let words: Vec<_> = command.splitn(3, ' ').collect();
        let options = words.get(2).map_or(String::new(), |options| format!(" {options}"));
        let whole = format!("{} {} {task} --tables {}{options}", words[0], words[1], typed(table));
        let mut parts = hint.split(command);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let names_task =
                part.strip_prefix(' ').is_some_and(|rest| rest.starts_with(char::is_numeric));
            out += if names_task { command } else { &whole };
            out += part;
        }
        out
    })
}

/// A name as a shell takes it.
fn typed(table: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    match table.chars().all(is_plain) {
        true => table.to_owned(),
        false => format!("'{}'", table.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_a_hint_name_the_table_they_are_about() {
        for (hint, wanted) in [
            (
                "Compare both, then ssync adopt --as-is; ssync adopt shows what was found.",
                "Compare both, then ssync adopt 7 --tables orders --as-is; ssync adopt 7 --tables \
                 orders shows what was found.",
            ),
            ("Send it by ssync retry --lost.", "Send it by ssync retry 7 --tables orders --lost."),
            (
                "ssync adopt 7 --tables orders --new ends it.",
                "ssync adopt 7 --tables orders --new ends it.",
            ),
            ("Correct the link.", "Correct the link."),
        ] {
            assert_eq!(completed(hint, 7, "orders"), wanted);
        }
        assert_eq!(completed("ssync adopt", 7, "a b"), "ssync adopt 7 --tables 'a b'");
    }
}
