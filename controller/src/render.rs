//! Errors for people and programs, and their exit codes: the one place that does it.

use serde::Serialize;
use ssync_common::error::Error;

/// Version of the JSON that errors are printed as.
const JSON_SCHEMA: u32 = 1;

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
        out += &format!("  {fact}\n");
    }
    if let Some(hint) = &error.hint {
        out += &format!("  hint: {hint}\n");
    }
    out
}

/// Prints the error, and gives its exit code.
pub fn fail(error: &Error, json: bool) -> u8 {
    if json {
        let line = Line { schema: JSON_SCHEMA, kind: "error", error };
        match serde_json::to_string(&line) {
            Ok(line) => println!("{line}"),
            Err(e) => eprintln!("ssync: {e}"),
        }
    }
    eprint!("{}", text(error));
    error.kind.exit_code()
}
