//! Oracle's SQL as tokens.

use crate::ora_error::OraError;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or keyword without quotes, in capitals.
    Word(String),
    /// A name in double quotes, without them.
    Quoted(String),
    /// A string literal's value.
    Text(String),
    Number(String),
    /// A bind variable: its name in capitals, and which one it is, from one.
    Bind(String, usize),
    /// An operator or a punctuation mark.
    Mark(&'static str),
    /// PostgreSQL's SQL already.
    Raw(String),
}

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
}

impl Token {
    pub(crate) fn raw(text: impl Into<String>, at: usize) -> Self {
        Token { kind: Kind::Raw(text.into()), at }
    }

    /// The word, or nothing when this is none.
    pub(crate) fn word(&self) -> &str {
        match &self.kind {
            Kind::Word(word) => word,
            _ => "",
        }
    }

    pub(crate) fn is_mark(&self, mark: &str) -> bool {
        matches!(&self.kind, Kind::Mark(found) if *found == mark)
    }

    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word(_) | Kind::Quoted(_))
    }
}

const MARKS: &[&str] = &[
    "(+)", "||", ":=", "<=", ">=", "<>", "!=", "^=", "=>", "..", "(", ")", ",", ";", "+", "-", "*",
    "/", "=", "<", ">", ".", "@", "%", "[", "]", "|", "{", "}", "?",
];

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#')
}

/// Splits a statement; comments and hints go. In a PL/SQL block equal names are one bind.
pub(crate) fn lex(sql: &str, block: bool) -> Result<Vec<Token>, OraError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let start = at;
        if c.is_whitespace() || c == '\0' {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            let end = rest
                .find("*/")
                .ok_or_else(|| OraError::new(1742, "comment not terminated properly").at(start))?;
            at += end + 2;
            continue;
        }
        let upper = rest.get(..3).unwrap_or("").to_uppercase();
        let kind = if c == '\'' {
            let (value, length) = text(rest, start)?;
            at += length;
            Kind::Text(value)
        } else if upper.starts_with("N'") {
            let (value, length) = text(&rest[1..], start)?;
            at += length + 1;
            Kind::Text(value)
        } else if upper.starts_with("Q'") || upper.starts_with("NQ'") {
            let skip = upper.find('\'').unwrap_or(0) + 1;
            let (value, length) = quoted_text(&rest[skip..], start)?;
            at += skip + length;
            Kind::Text(value)
        } else if c == '"' {
            let end = rest[1..].find('"').ok_or_else(|| {
                OraError::new(1740, "missing double quote in identifier").at(start)
            })?;
            at += end + 2;
            Kind::Quoted(rest[1..=end].to_owned())
        } else if is_name_start(c) {
            let length = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
            at += length;
            Kind::Word(rest[..length].to_uppercase())
        } else if c.is_ascii_digit()
            || (c == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let length = number_length(rest);
            at += length;
            let suffix = rest[length..].starts_with(['d', 'D', 'f', 'F']);
            at += usize::from(suffix);
            Kind::Number(rest[..length].to_owned())
        } else if c == ':' && rest[1..].starts_with(|c: char| is_name_part(c) || c == '"') {
            let quoted = rest[1..].starts_with('"');
            let name = if quoted {
                rest[2..].split('"').next().unwrap_or("").to_owned()
            } else {
                rest[1..].split(|c| !is_name_part(c)).next().unwrap_or("").to_uppercase()
            };
            at += 1 + if quoted { name.len() + 2 } else { name_length(&rest[1..]) };
            let known = names.iter().position(|n| *n == name).filter(|_| block);
            let index = known.unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
            Kind::Bind(name, index + 1)
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            at += mark.len();
            Kind::Mark(mark)
        } else {
            return Err(OraError::new(911, "invalid character").at(start));
        };
        tokens.push(Token { kind, at: start });
    }
    Ok(tokens)
}

fn name_length(rest: &str) -> usize {
    rest.find(|c| !is_name_part(c)).unwrap_or(rest.len())
}

/// The literal that `rest` begins with: its value, and its length with the quotes.
fn text(rest: &str, start: usize) -> Result<(String, usize), OraError> {
    let mut value = String::new();
    let mut at = 1;
    loop {
        let end = rest[at..].find('\'').ok_or_else(|| {
            OraError::new(1756, "quoted string not properly terminated").at(start)
        })?;
        value.push_str(&rest[at..at + end]);
        at += end + 1;
        if !rest[at..].starts_with('\'') {
            return Ok((value, at));
        }
        value.push('\'');
        at += 1;
    }
}

/// What stands behind `q'`: the value, and the length with the delimiters.
fn quoted_text(rest: &str, start: usize) -> Result<(String, usize), OraError> {
    let open = rest.chars().next().unwrap_or('\'');
    let close = match open {
        '[' => ']',
        '{' => '}',
        '(' => ')',
        '<' => '>',
        other => other,
    };
    let body = &rest[open.len_utf8()..];
    let end = body
        .find(&format!("{close}'"))
        .ok_or_else(|| OraError::new(1756, "quoted string not properly terminated").at(start))?;
    Ok((body[..end].to_owned(), open.len_utf8() + end + close.len_utf8() + 1))
}

fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign {
            at = end;
        }
    }
    at
}
