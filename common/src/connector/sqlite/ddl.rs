//! Reading just enough of the `CREATE` statements that SQLite keeps to repeat them under another
//! name. SQLite stores them from the object's name on as they were typed, behind a normalised
//! `CREATE TABLE ` or `CREATE [UNIQUE] INDEX ` (<https://sqlite.org/schematab.html>).

use super::super::{Dialect, split_table_name};
use crate::bail;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Table;

/// An index that a `CREATE INDEX` made.
#[derive(PartialEq, Eq)]
pub struct IndexDefinition {
    /// Its name.
    pub name: String,
    /// Whether it is unique.
    pub unique: bool,
    /// What follows the table's name: the columns and the condition.
    tail: String,
}

impl IndexDefinition {
    /// The statement that makes it under this name on this table.
    pub fn create(&self, dialect: &dyn Dialect, name: &str, table: &str) -> String {
        let unique = if self.unique { "UNIQUE " } else { "" };
        let plain = split_table_name(table).pop().unwrap_or_default();
        let name = beside(dialect, table, name);
        format!("CREATE {unique}INDEX {name} ON {} {}", dialect.quote(&plain), self.tail)
    }
}

/// `name`, quoted, in the schema that `table` names.
pub fn beside(dialect: &dyn Dialect, table: &str, name: &str) -> String {
    let mut parts = split_table_name(table);
    parts.pop();
    parts.push(name.to_owned());
    parts.iter().map(|p| dialect.quote(p)).collect::<Vec<_>>().join(".")
}

/// The statement that makes an empty table like `table` under the name `new`.
pub fn create_table_as(dialect: &dyn Dialect, new: &str, table: &Table) -> Result<String> {
    Ok(format!("CREATE TABLE {} {}", dialect.table(new), body_of(table)?))
}

/// What the statement that made the table says behind its name. Where it names its columns along
/// with the table (`CHECK (t.v > 0)`), they are named by themselves, which means the same under every
/// name.
pub fn body_of(table: &Table) -> Result<String> {
    let sql = table.definition.first().map(String::as_str).unwrap_or_default();
    match sql.strip_prefix("CREATE TABLE ").and_then(take_name) {
        Some((name, body)) => Ok(unqualified(body.trim_start(), &name)),
        None => Err(cannot_copy(table, "it is not an ordinary table")),
    }
}

/// The text without `table.` in front of names.
fn unqualified(sql: &str, table: &str) -> String {
    let mut out = String::new();
    let (mut rest, mut behind_dot) = (sql, false);
    while let Some((token, after)) = take_token(rest) {
        let blanks = rest.len() - skip_blanks(rest).unwrap_or_default().len();
        // What stands in single quotes is a text.
        let is_name = token.text.eq_ignore_ascii_case(table) && !rest[blanks..].starts_with('\'');
        if is_name
            && !behind_dot
            && let Some((dot, column)) = take_token(after)
            && dot.is_dot()
        {
            out.push_str(&rest[..blanks]);
            rest = column;
            continue;
        }
        behind_dot = token.is_dot();
        out.push_str(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    out + rest
}

/// The indexes that statements of their own made.
pub fn indexes_of(table: &Table) -> Result<Vec<IndexDefinition>> {
    let parse = |sql: &str| -> Option<IndexDefinition> {
        let (unique, rest) = match sql.strip_prefix("CREATE UNIQUE INDEX ") {
            Some(rest) => (true, rest),
            None => (false, sql.strip_prefix("CREATE INDEX ")?),
        };
        let (name, rest) = take_name(rest)?;
        let (on, rest) = take_name(rest)?;
        let (table, tail) = take_name(rest)?;
        let tail = unqualified(tail.trim_start(), &table);
        on.eq_ignore_ascii_case("on").then_some(IndexDefinition { name, unique, tail })
    };
    table
        .definition
        .iter()
        .skip(1)
        .map(|sql| parse(sql).ok_or_else(|| cannot_copy(table, "an index could not be read")))
        .collect()
}

/// What fires a trigger: `INSERT`, `UPDATE` or `DELETE`.
pub fn trigger_event(sql: &str) -> Result<String> {
    let mut rest = sql;
    let mut words = Vec::new();
    while let Some((word, after)) = take_token(rest) {
        rest = after;
        if word.quoted {
            words.push(String::new());
            continue;
        }
        let upper = word.text.to_ascii_uppercase();
        // The name may be one of these words too: the event is followed by ON or OF.
        if matches!(upper.as_str(), "ON" | "OF")
            && let Some(event) = words.last()
            && matches!(event.as_str(), "INSERT" | "UPDATE" | "DELETE")
        {
            return Ok(event.clone());
        }
        words.push(upper);
    }
    bail!(ErrorKind::Internal, "the event of a trigger could not be read")
}

fn cannot_copy(table: &Table, why: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("cannot make a table like {}: {why}", table.name))
        .hint("Use truncate instead of swap for this table.")
}

struct Token {
    text: String,
    quoted: bool,
}

impl Token {
    fn is_dot(&self) -> bool {
        !self.quoted && self.text == "."
    }
}

/// One identifier or keyword, and what follows it.
fn take_name(sql: &str) -> Option<(String, &str)> {
    let (token, rest) = take_token(sql)?;
    (token.quoted || token.text.starts_with(is_word)).then_some((token.text, rest))
}

/// The next token, over blanks and comments, and what follows it; `None` at the end and where a
/// quote or comment does not end.
fn take_token(sql: &str) -> Option<(Token, &str)> {
    let sql = skip_blanks(sql)?;
    let first = sql.chars().next()?;
    let close = match first {
        '"' | '`' | '\'' => first,
        '[' => ']',
        c if is_word(c) => {
            let end = sql.find(|c: char| !is_word(c)).unwrap_or(sql.len());
            return Some((Token { text: sql[..end].to_owned(), quoted: false }, &sql[end..]));
        }
        c => {
            let (text, rest) = sql.split_at(c.len_utf8());
            return Some((Token { text: text.to_owned(), quoted: false }, rest));
        }
    };
    let mut text = String::new();
    let mut chars = sql.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c != close {
            text.push(c);
        } else if close != ']' && chars.peek().is_some_and(|(_, next)| *next == close) {
            text.push(c);
            chars.next();
        } else {
            return Some((Token { text, quoted: true }, &sql[i + c.len_utf8()..]));
        }
    }
    None
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn skip_blanks(mut sql: &str) -> Option<&str> {
    loop {
        sql = sql.trim_start();
        if let Some(comment) = sql.strip_prefix("--") {
            sql = &comment[comment.find('\n')?..];
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = &comment[comment.find("*/")? + 2..];
        } else {
            return Some(sql);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_read_however_they_are_quoted() {
        for (sql, name, rest) in [
            ("t(a)", "t", "(a)"),
            ("  \"a b\"\"c\" (x)", "a b\"c", " (x)"),
            ("[odd]]x", "odd", "]x"),
            ("`b``t`(x)", "b`t", "(x)"),
            ("'lit' (x)", "lit", " (x)"),
            ("/* c */ -- d\n名前(x)", "名前", "(x)"),
        ] {
            assert_eq!(take_name(sql).unwrap(), (name.to_owned(), rest), "{sql}");
        }
        for sql in ["", "(a)", "\"open", "/* open", "-- only"] {
            assert!(take_name(sql).is_none(), "{sql}");
        }
    }

    #[test]
    fn a_table_that_names_itself_can_be_repeated() {
        for (sql, plain) in [
            ("(v INT CHECK (t.v > 0))", "(v INT CHECK (v > 0))"),
            ("(v CHECK(\"T\" . [v]>'t.v'))", "(v CHECK( [v]>'t.v'))"),
            ("(a, b AS (/*t.*/ t.a || x.t.b))", "(a, b AS (/*t.*/ a || x.t.b))"),
            ("(t, CHECK (t > 1.5)) STRICT", "(t, CHECK (t > 1.5)) STRICT"),
            ("(t CHECK (t.t > 0)", "(t CHECK (t > 0)"),
        ] {
            assert_eq!(unqualified(sql, "t"), plain);
        }
    }

    #[test]
    fn the_event_of_a_trigger_is_found_behind_odd_names() {
        for (sql, event) in [
            ("CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; END", "INSERT"),
            ("CREATE TRIGGER \"delete on\" BEFORE UPDATE OF a ON x BEGIN SELECT 1; END", "UPDATE"),
            ("CREATE TRIGGER 'update' delete on x BEGIN SELECT 1; END", "DELETE"),
            ("CREATE TRIGGER [a on] INSTEAD/**/OF/**/insert ON v BEGIN SELECT 1; END", "INSERT"),
        ] {
            assert_eq!(trigger_event(sql).unwrap(), event, "{sql}");
        }
    }
}
