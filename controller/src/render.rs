//! Errors for people and programs, and their exit codes: the one place that does it.

use crate::clock::localized;
use crate::output::{err, errln, outln};
use serde::Serialize;
use ssync_common::error::{Error, Kind};

/// Version of what `--json` prints. It changes when a field goes or means something else, not
/// when one is added.
pub const JSON_SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    kind: &'static str,
    error: &'a Error,
}

/// The error as people read it: primary line, facts, advice.
pub fn text(error: &Error) -> String {
    let mut out = format!("ssync: {}\n", error.message);
    for fact in &error.details {
        // A fact may be several lines of a database's own words.
        out += &format!("  {}\n", fact.replace('\n', "\n  "));
    }
    if let Some(hint) = &error.hint {
        out += &format!("  hint: {hint}\n");
    }
    out
}

/// The error of a table of a task, both named.
pub fn text_of_table(task: u32, table: &str, error: &Error) -> String {
    let place = format!("task {task}, table {table}");
    if error.message.starts_with(&place) {
        return text(error);
    }
    text(&error.clone().context(place))
}

/// Prints the error, and gives its exit code.
pub fn fail(error: &Error, json: bool) -> u8 {
    if json {
        let line = Line { schema: JSON_SCHEMA, kind: "error", error };
        match serde_json::to_string(&line) {
            Ok(line) => outln!("{line}"),
            Err(e) => errln!("ssync: {e}"),
        }
    }
    err!("{}", localized(&text(error)));
    error.kind.exit_code()
}

/// Prints something worth knowing on standard error, for people.
pub fn note(text: &str) {
    errln!("ssync: {}", localized(text));
}

/// Wrong usage as an error like others, for programs.
pub fn usage(e: &clap::Error) -> Error {
    let text = e.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let error = Error::new(Kind::Usage, first.strip_prefix("error: ").unwrap_or(first));
    lines.fold(error, |error, line| error.detail(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_error_names_task_and_table_once() {
        let error = Error::new(Kind::Data, "3 bad rows, 2 allowed");
        assert_eq!(
            text_of_table(7, "orders", &error),
            "ssync: task 7, table orders: 3 bad rows, 2 allowed\n"
        );
        let named = Error::new(Kind::Refused, "task 7, table orders cannot be run: no key");
        assert_eq!(text_of_table(7, "orders", &named), text(&named));
    }

    #[test]
    fn people_get_line_facts_and_advice() {
        let error =
            Error::new(Kind::Config, "two mistakes").detail("a").detail("b\nc").hint("Mend it.");
        assert_eq!(text(&error), "ssync: two mistakes\n  a\n  b\n  c\n  hint: Mend it.\n");
    }
}
