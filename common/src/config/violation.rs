//! What is wrong with a configuration, and where.

use std::fmt;

use crate::error::{Error, Kind};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Dotted path: `task[7].table[orders].write`; empty for the file as a whole. List entries
    /// go by their id or name, by `#n` (from 1) where they have none.
    pub path: String,
    /// Line in the file, from 1, where there is a file.
    pub line: Option<usize>,
    /// What is wrong, and how it should be; never a secret.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// All violations as one error of kind [`Kind::Config`], a detail line for each.
pub fn refusal(violations: &[Violation]) -> Error {
    let message = match violations.len() {
        1 => "there is a mistake in the configuration".to_owned(),
        n => format!("there are {n} mistakes in the configuration"),
    };
    let mut error = Error::new(Kind::Config, message);
    for violation in violations {
        error = error.detail(violation.to_string());
    }
    error.hint("Nothing was changed. Every key is described in docs/CONFIGURATION.md.")
}
