//! From TOML text to the model: types, unknown keys, missing keys, all reported together.

use toml::de::{DeTable, DeValue};

use super::model::*;
use super::option::{Options, finish, read};
use super::read_receivers::receiver;
use super::section::{Node, Reader, Section};
use super::validate;
use super::violation::Violation;

impl Config {
    /// Reads and validates a TOML file.
    ///
    /// # Errors
    /// Every mistake in the text, in the order of its lines.
    pub fn from_toml(text: &str) -> Result<Config, Vec<Violation>> {
        let (document, syntax) = DeTable::parse_recoverable(text);
        let reader = Reader::new(text);
        if !syntax.is_empty() {
            // What the parser made of broken text would only add misleading complaints.
            for error in syntax {
                let line = error.span().map(|span| reader.line_at(span.start));
                reader.report("", line, format!("this is not TOML: {}", error.message()));
            }
            return Err(reader.into_violations());
        }
        let config = config(reader.root(document.get_ref()));
        for finding in validate::findings(&config) {
            if !reader.is_broken(&finding.path) {
                let line = reader.line_of(&finding.path, finding.nth);
                reader.report(&finding.path, line, finding.message);
            }
        }
        let violations = reader.into_violations();
        if violations.is_empty() { Ok(config) } else { Err(violations) }
    }

    /// The configuration as TOML text that [`Config::from_toml`] reads back to the same.
    ///
    /// # Errors
    /// A number that TOML cannot hold, which a validated configuration has not.
    pub fn to_toml(&self) -> crate::Result<String> {
        toml::to_string_pretty(self).map_err(|e| {
            crate::Error::new(crate::error::Kind::Internal, "the configuration cannot be written")
                .detail(e.to_string())
        })
    }
}

/// Names an element by its `key`, or by its place where that is missing.
pub(super) fn entry_label(key: &str, value: &DeValue<'_>, n: usize) -> String {
    match value.get(key).map(|v| v.get_ref()) {
        Some(DeValue::String(name)) => name.chars().take(NAME_CHARS).collect(),
        Some(DeValue::Integer(id)) => id.to_string(),
        _ => format!("#{n}"),
    }
}

fn each<T>(
    section: &Section<'_>,
    list: &'static str,
    name: &'static str,
    read: impl Fn(Section<'_>) -> T,
) -> Vec<T> {
    let Some(node) = section.optional(list) else { return Vec::new() };
    let elements = node.elements(|value, n| entry_label(name, value, n));
    elements.iter().filter_map(Node::section).map(read).collect()
}

fn one<T: Options + Default>(section: &Section<'_>, key: &'static str) -> T {
    section.optional(key).and_then(|n| n.section()).map(read).unwrap_or_default()
}

/// A text that is required; empty when it is no good.
pub(super) fn text(section: &Section<'_>, key: &'static str) -> String {
    section.required(key).and_then(|n| n.string()).unwrap_or_default()
}

/// A list of texts.
pub(super) fn strings(section: &Section<'_>, key: &'static str) -> Vec<String> {
    section.optional(key).map(|n| n.strings()).unwrap_or_default()
}

/// What a document says, whether or not it makes sense.
pub(super) fn config(root: Section<'_>) -> Config {
    let config = Config {
        controller: one(&root, "controller"),
        links: each(&root, "link", "name", read),
        keys: each(&root, "key", "name", read),
        schedules: each(&root, "schedule", "id", read),
        tasks: each(&root, "task", "id", read),
        receivers: each(&root, "receiver", "name", receiver),
        brief: one(&root, "brief"),
        monitor: one(&root, "monitor"),
        retention: one(&root, "retention"),
    };
    finish(root, "");
    config
}
