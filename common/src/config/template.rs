//! Texts with places for what an event says: `{"content": "{text}"}`.
//!
//! A place is a word of lower-case letters in braces. Other braces stand for themselves, so that
//! JSON needs no escaping. What is put in is escaped for where it is put.

use std::fmt::Write as _;

/// What may stand in braces; `secret` only where there is one.
pub const PLACES: [&str; 12] = [
    "text", "title", "what", "severity", "task", "table", "run", "time", "host", "id", "event",
    "secret",
];

/// How values are written into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As they are.
    Plain,
    /// As the inside of a JSON string.
    Json,
    /// As part of a URL's query or of a form.
    Url,
    /// On one line: subjects, header fields, arguments of programs.
    Line,
}

impl Escape {
    fn write(self, out: &mut String, value: &str) {
        match self {
            Escape::Plain => out.push_str(value),
            Escape::Json => {
                // A string always becomes JSON.
                let json = serde_json::to_string(value).unwrap_or_default();
                out.push_str(json.get(1..json.len().saturating_sub(1)).unwrap_or_default());
            }
            Escape::Url => {
                for byte in value.bytes() {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        out.push(char::from(byte));
                    } else {
                        let _ = write!(out, "%{byte:02X}");
                    }
                }
            }
            Escape::Line => out.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c })),
        }
    }
}

/// A part of a template.
enum Part<'t> {
    Text(&'t str),
    Place(&'t str),
}

fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let inside = &rest[open + 1..];
        let word = inside.len()
            - inside.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_').len();
        if word > 0 && inside[word..].starts_with('}') {
            parts.push(Part::Text(&rest[..open]));
            parts.push(Part::Place(&inside[..word]));
            rest = &inside[word + 1..];
        } else {
            parts.push(Part::Text(&rest[..=open]));
            rest = inside;
        }
    }
    parts.push(Part::Text(rest));
    parts
}

/// Whether the template has this place.
pub fn has_place(template: &str, place: &str) -> bool {
    parts(template).iter().any(|p| matches!(p, Part::Place(word) if *word == place))
}

/// What is wrong with a template; `secret` says whether there is one.
///
/// # Errors
/// The end of a sentence.
pub fn check_template(template: &str, secret: bool) -> Result<(), String> {
    for part in parts(template) {
        let Part::Place(word) = part else { continue };
        if word == "secret" && !secret {
            return Err("uses {secret}, but there is no secret".to_owned());
        }
        if !PLACES.contains(&word) {
            let known: Vec<_> = PLACES.iter().map(|p| format!("{{{p}}}")).collect();
            return Err(format!("has an unknown place {{{word}}} (known: {})", known.join(", ")));
        }
    }
    Ok(())
}

/// The template with every place filled; what `value` does not know is left empty. `{event}`, a
/// JSON object, is put in as it is.
pub fn fill<'v>(template: &str, escape: Escape, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    for part in parts(template) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Place("event") if escape == Escape::Json => {
                out.push_str(value("event").unwrap_or("null"));
            }
            Part::Place(word) => escape.write(&mut out, value(word).unwrap_or_default()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str, escape: Escape, text: &str) -> String {
        fill(template, escape, |word| (word == "text").then_some(text))
    }

    #[test]
    fn places_are_filled_and_other_braces_stay() {
        let template = r#"{"msgtype":"text","text":{"content":"{text}"},"n":{},"x":"{ text }{"}"#;
        let wanted = r#"{"msgtype":"text","text":{"content":"a"},"n":{},"x":"{ text }{"}"#;
        assert_eq!(filled(template, Escape::Json, "a"), wanted);
        assert_eq!(filled("?q={text}&t={table}", Escape::Url, "a b&é"), "?q=a%20b%26%C3%A9&t=");
        assert_eq!(filled("X: {text}", Escape::Line, "a\r\nEvil: b"), "X: a  Evil: b");
    }

    #[test]
    fn unknown_places_and_a_secret_that_is_not_there_are_refused() {
        assert!(check_template("{text} {task}", false).is_ok());
        assert!(check_template("{txt}", false).unwrap_err().contains("{txt}"));
        assert!(check_template("{secret}", false).is_err());
        assert!(check_template("{secret}", true).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_put_into_json_comes_out_of_it(text in ".*") {
            let json = filled(r#"{"a":{"b":"<{text}>"}}"#, Escape::Json, &text);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value["a"]["b"].as_str().unwrap(), format!("<{text}>"));
        }

        #[test]
        fn nothing_that_is_put_in_is_a_place_itself(text in ".*") {
            let tricky = format!("{{secret}}{text}");
            prop_assert_eq!(filled("{text}", Escape::Plain, &tricky), tricky);
        }

        #[test]
        fn any_template_is_read(template in ".*") {
            let _ = check_template(&template, true);
        }
    }
}
