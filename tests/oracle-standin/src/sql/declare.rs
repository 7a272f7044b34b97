//! Declarations of columns: types, defaults and constraints.

use super::expression::expression;
use super::lex::{Kind, Token};
use super::{closing, literal, name, quote};
use crate::ora_error::{OraError, shown};

/// A declared type.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// PostgreSQL's type.
    pub(super) postgres: String,
    /// What the column's comment says.
    pub(super) comment: String,
    /// The most bytes or characters, and which of them.
    limit: Option<(u32, char)>,
}

impl Declared {
    fn new(postgres: &str, comment: String) -> Self {
        Declared { postgres: postgres.to_owned(), comment, limit: None }
    }

    /// The type in a CAST.
    pub(crate) fn cast(&self) -> String {
        match (self.limit, self.postgres.as_str()) {
            // What is too long is cut, as in Oracle.
            (Some((most, _)), "text") => format!("varchar({most})"),
            _ => self.postgres.clone(),
        }
    }

    /// The condition that holds while a column's values are short enough.
    pub(super) fn check(&self, table: &str, column: &str) -> Option<String> {
        let (most, unit) = self.limit?;
        let stored = unquoted(column);
        let measured = match unit {
            'C' => format!("coalesce(char_length({column}), 0)"),
            _ => format!("coalesce(octet_length({column}), 0)"),
        };
        let table_name = literal(&shown(&unquoted(table)));
        let column_name = literal(&shown(&stored));
        Some(format!(
            "CONSTRAINT {} CHECK ({measured} <= {most} OR sys.too_long({table_name}, {column_name}, {measured}, {most}))",
            quote(&format!("ora$len${stored}")),
        ))
    }
}

pub(super) fn unquoted(quoted: &str) -> String {
    quoted.rsplit('.').next().unwrap_or_default().trim_matches('"').replace("\"\"", "\"")
}

pub(super) fn word(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", Token::word)
}

pub(super) fn mark(tokens: &[Token], i: usize, mark: &str) -> bool {
    tokens.get(i).is_some_and(|t| t.is_mark(mark))
}

/// The numbers and words in the parentheses at `i`, and what comes behind them.
fn arguments(tokens: &[Token], i: usize) -> (Vec<String>, usize) {
    if !mark(tokens, i, "(") {
        return (Vec::new(), i);
    }
    let close = closing(tokens, i);
    let mut found = Vec::new();
    let mut negative = false;
    for token in &tokens[i + 1..close.min(tokens.len())] {
        match &token.kind {
            Kind::Number(number) => {
                found.push(if negative { format!("-{number}") } else { number.clone() });
                negative = false;
            }
            Kind::Word(text) => found.push(text.clone()),
            Kind::Mark("*") => found.push("*".to_owned()),
            Kind::Mark("-") => negative = true,
            _ => {}
        }
    }
    (found, close + 1)
}

/// The type that stands at `i`, and where what follows begins.
pub(crate) fn parse_type(tokens: &[Token], i: usize) -> Result<(Declared, usize), OraError> {
    let at = tokens.get(i).map_or(0, |t| t.at);
    let invalid = || OraError::new(902, "invalid datatype").at(at);
    let (arguments, mut next) = arguments(tokens, i + 1);
    let number = |n: usize| arguments.get(n).and_then(|a| a.parse::<i32>().ok());
    let first = || number(0).map(|n| n.max(0) as u32);
    let decimal = |precision: Option<i32>, scale: Option<i32>| {
        let postgres = match (precision, scale) {
            (None, None) => "numeric".to_owned(),
            (p, s) => format!("numeric({}, {})", p.unwrap_or(38), s.unwrap_or(0)),
        };
        let shown = |n: Option<i32>| n.map(|n| n.to_string()).unwrap_or_default();
        let scale = if precision.is_some() { Some(scale.unwrap_or(0)) } else { scale };
        Declared::new(&postgres, format!("NUMBER|22|{}|{}||", shown(precision), shown(scale)))
    };
    let limited = |postgres: &str, kind: &str, most: u32, unit: char| {
        let bytes = if unit == 'C' { most.saturating_mul(4).min(32767) } else { most };
        Declared {
            postgres: postgres.to_owned(),
            comment: format!("{kind}|{bytes}|||{unit}|{most}"),
            limit: Some((most, unit)),
        }
    };
    let unit = if arguments.get(1).is_some_and(|u| u == "CHAR") { 'C' } else { 'B' };
    let fraction = |n: Option<i32>| n.unwrap_or(6).clamp(0, 9);
    let declared = match word(tokens, i) {
        kind @ ("VARCHAR2" | "VARCHAR" | "CHARACTER") if kind != "CHARACTER" => {
            let most =
                first().ok_or_else(|| OraError::new(906, "missing left parenthesis").at(at))?;
            limited("text", "VARCHAR2", most, unit)
        }
        "NVARCHAR2" => {
            let most =
                first().ok_or_else(|| OraError::new(906, "missing left parenthesis").at(at))?;
            Declared {
                comment: format!("NVARCHAR2|{}|||C|{most}", most * 2),
                ..limited("text", "", most, 'C')
            }
        }
        "CHAR" | "CHARACTER" => {
            let most = first().unwrap_or(1);
            Declared { limit: None, ..limited(&format!("character({most})"), "CHAR", most, unit) }
        }
        "NCHAR" => {
            let most = first().unwrap_or(1);
            let comment = format!("NCHAR|{}|||C|{most}", most * 2);
            Declared::new(&format!("character({most})"), comment)
        }
        "RAW" => {
            let most =
                first().ok_or_else(|| OraError::new(906, "missing left parenthesis").at(at))?;
            Declared {
                limit: Some((most, 'B')),
                ..Declared::new("bytea", format!("RAW|{most}||||"))
            }
        }
        "NUMBER" if arguments.first().is_some_and(|a| a == "*") => {
            if arguments.len() > 1 {
                decimal(None, number(1))
            } else {
                decimal(None, None)
            }
        }
        "NUMBER" => decimal(number(0), number(1)),
        "DECIMAL" | "NUMERIC" | "DEC" => decimal(number(0).or(Some(38)), number(1)),
        "INTEGER" | "INT" | "SMALLINT" => decimal(None, Some(0)),
        "FLOAT" => Declared::new("numeric", format!("FLOAT|22|{}|||", number(0).unwrap_or(126))),
        "REAL" => Declared::new("numeric", "FLOAT|22|63|||".to_owned()),
        "DOUBLE" => {
            next += 1;
            Declared::new("numeric", "FLOAT|22|126|||".to_owned())
        }
        "BINARY_FLOAT" => Declared::new("float4", "BINARY_FLOAT|4||||".to_owned()),
        "BINARY_DOUBLE" => Declared::new("float8", "BINARY_DOUBLE|8||||".to_owned()),
        "DATE" => Declared::new("oradate", "DATE|7||||".to_owned()),
        "TIMESTAMP" => {
            let scale = fraction(number(0));
            let kept = scale.min(6);
            let local = word(tokens, next + 1) == "LOCAL";
            if word(tokens, next) == "WITH" && (local || word(tokens, next + 1) == "TIME") {
                next += if local { 4 } else { 3 };
                let (kind, size) = if local { ("LOCAL TIME ZONE", 11) } else { ("TIME ZONE", 13) };
                // What is finer than PostgreSQL's microseconds is kept with the offset that it had.
                let postgres = if local && scale <= 6 {
                    format!("timestamptz({kept})")
                } else {
                    format!("zoned9({})", scale + 1)
                };
                Declared::new(&postgres, format!("TIMESTAMP WITH {kind}|{size}||{scale}||"))
            } else {
                let postgres =
                    if scale > 6 { "stamp9".to_owned() } else { format!("timestamp({kept})") };
                Declared::new(&postgres, format!("TIMESTAMP|11||{scale}||"))
            }
        }
        "INTERVAL" => {
            let years = word(tokens, i + 1) == "YEAR";
            let (first, after) = self::arguments(tokens, i + 2);
            let (last, after) = self::arguments(tokens, after + 2);
            next = after;
            let leading = first.first().and_then(|n| n.parse().ok()).unwrap_or(2);
            let scale = fraction(last.first().and_then(|n| n.parse().ok()));
            if years {
                Declared::new("months", format!("INTERVAL YEAR TO MONTH|5|{leading}|0||"))
            } else {
                let postgres = if scale > 6 {
                    "span9".to_owned()
                } else {
                    format!("interval day to second({scale})")
                };
                Declared::new(&postgres, format!("INTERVAL DAY TO SECOND|11|{leading}|{scale}||"))
            }
        }
        "CLOB" => Declared::new("clob", "CLOB|4000||||".to_owned()),
        "NCLOB" => Declared::new("nclob", "NCLOB|4000||||".to_owned()),
        "BLOB" => Declared::new("blob", "BLOB|4000||||".to_owned()),
        "LONG" if word(tokens, i + 1) == "RAW" => {
            next = i + 2;
            Declared::new("bytea", "LONG RAW|0||||".to_owned())
        }
        "LONG" => Declared::new("text", "LONG|0||||".to_owned()),
        "ROWID" => Declared::new("rowid", "ROWID|10||||".to_owned()),
        "UROWID" => Declared::new("rowid", "UROWID|4000||||".to_owned()),
        "JSON" => Declared::new("jsonb", "JSON|8200||||".to_owned()),
        "XMLTYPE" => Declared::new("xml", "XMLTYPE|2000||||".to_owned()),
        "BOOLEAN" => Declared::new("bool", "BOOLEAN|1||||".to_owned()),
        _ => return Err(invalid()),
    };
    Ok((declared, next))
}

/// A dotted name at `i`, and where what follows begins.
pub(super) fn dotted(tokens: &[Token], i: usize) -> Result<(String, usize), OraError> {
    let at = tokens.get(i).map_or(0, |t| t.at);
    let mut text = tokens
        .get(i)
        .and_then(name)
        .ok_or_else(|| OraError::new(903, "invalid table name").at(at))?;
    let mut next = i + 1;
    while mark(tokens, next, ".") {
        let part = tokens.get(next + 1).and_then(name);
        text = format!(
            "{text}.{}",
            part.ok_or_else(|| OraError::new(903, "invalid table name").at(at))?
        );
        next += 2;
    }
    Ok((text, next))
}

/// Words that say how Oracle stores something, or what PostgreSQL always does.
const STORAGE: &[&str] = &[
    "ENABLE",
    "VALIDATE",
    "NOVALIDATE",
    "RELY",
    "NORELY",
    "VIRTUAL",
    "VISIBLE",
    "INVISIBLE",
    "SECUREFILE",
    "BASICFILE",
    "ONLINE",
    "NOLOGGING",
    "LOGGING",
    "COMPUTE",
    "STATISTICS",
];

/// Constraints and the like, without what only Oracle has.
pub(super) fn constraint(tokens: &[Token]) -> Result<String, OraError> {
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        if token.word() == "USING" && word(tokens, i + 1) == "INDEX" {
            i += 2;
            if tokens.get(i).is_some_and(|t| t.is_name()) && !STORAGE.contains(&word(tokens, i)) {
                i += 1;
            }
            if mark(tokens, i, "(") {
                i = closing(tokens, i) + 1;
            }
            continue;
        }
        if STORAGE.contains(&token.word()) {
            i += 1;
            continue;
        }
        kept.push(token.clone());
        i += 1;
    }
    expression(&kept)
}

/// A column of CREATE TABLE or ALTER TABLE: its definition, checks and comment.
pub(super) fn column(
    table: &str,
    tokens: &[Token],
) -> Result<(String, Vec<String>, String), OraError> {
    let column = tokens.first().and_then(name).ok_or_else(|| {
        OraError::new(904, "invalid identifier").at(tokens.first().map_or(0, |t| t.at))
    })?;
    let mut extra = Vec::new();
    let (declared, mut next) = parse_type(tokens, 1)?;
    let mut rest: Vec<Token> = Vec::new();
    while next < tokens.len() {
        match word(tokens, next) {
            "GENERATED" if tokens[next..].iter().any(|t| t.word() == "IDENTITY") => {
                let by_default = word(tokens, next + 1) == "BY";
                let end = tokens[next..].iter().position(|t| t.word() == "IDENTITY");
                next += end.unwrap_or(0) + 1;
                let (options, after) = if mark(tokens, next, "(") {
                    let close = closing(tokens, next);
                    (sequence_options(&tokens[next + 1..close])?, close + 1)
                } else {
                    (String::new(), next)
                };
                next = after;
                let kind = if by_default { "BY DEFAULT" } else { "ALWAYS" };
                extra.push(format!("GENERATED {kind} AS IDENTITY ({options} )").replace("( )", ""));
            }
            "GENERATED" | "AS" => {
                let open =
                    tokens[next..].iter().position(|t| t.is_mark("(")).map_or(next, |n| n + next);
                let close = closing(tokens, open);
                let expression = expression(&tokens[open..=close.min(tokens.len() - 1)])?;
                extra.push(format!("GENERATED ALWAYS AS {expression} STORED"));
                next = close + 1;
            }
            "DEFAULT" => {
                let mut end = next + 1;
                if word(tokens, end) == "ON" && word(tokens, end + 1) == "NULL" {
                    end += 2;
                }
                let start = end;
                let mut depth = 0i32;
                while end < tokens.len() {
                    let stop = [
                        "NOT",
                        "NULL",
                        "CONSTRAINT",
                        "PRIMARY",
                        "UNIQUE",
                        "CHECK",
                        "REFERENCES",
                        "ENABLE",
                    ];
                    if depth == 0 && end > start && stop.contains(&word(tokens, end)) {
                        break;
                    }
                    if tokens[end].is_mark("(") {
                        depth += 1;
                    } else if tokens[end].is_mark(")") {
                        depth -= 1;
                    }
                    end += 1;
                }
                extra.push(format!("DEFAULT {}", expression(&tokens[start..end])?));
                next = end;
            }
            _ => {
                rest.push(tokens[next].clone());
                next += 1;
            }
        }
    }
    // PostgreSQL numbers identity columns with its integers.
    let postgres =
        if extra.iter().any(|e| e.contains("IDENTITY")) { "bigint" } else { &declared.postgres };
    let definition = format!("{column} {postgres} {} {}", extra.join(" "), constraint(&rest)?);
    let checks = declared.check(table, &column).into_iter().collect();
    let comment = comment_on(table, &column, &declared.comment);
    Ok((definition, checks, comment))
}

pub(super) fn comment_on(table: &str, column: &str, declared: &str) -> String {
    format!("COMMENT ON COLUMN {table}.{column} IS {}", literal(&format!("ora:{declared}")))
}

pub(super) fn sequence_options(tokens: &[Token]) -> Result<String, OraError> {
    let mut text = String::new();
    let mut i = 0;
    while i < tokens.len() {
        match word(tokens, i) {
            "NOCACHE" | "ORDER" | "NOORDER" | "KEEP" | "NOKEEP" | "GLOBAL" | "SESSION"
            | "SCALE" | "NOSCALE" => {}
            "NOCYCLE" => text.push_str(" NO CYCLE"),
            "NOMAXVALUE" => text.push_str(" NO MAXVALUE"),
            "NOMINVALUE" => text.push_str(" NO MINVALUE"),
            "MAXVALUE" => {
                // Oracle's maximum has 28 digits.
                if let Some(Kind::Number(most)) = tokens.get(i + 1).map(|t| &t.kind)
                    && most.parse::<i64>().is_ok()
                {
                    text.push_str(&format!(" MAXVALUE {most}"));
                }
                i += 1;
            }
            "START" | "CYCLE" | "CACHE" | "INCREMENT" | "BY" | "WITH" | "MINVALUE" | "LIMIT"
            | "VALUE" => {
                text.push_str(&format!(" {}", word(tokens, i)));
            }
            _ => text.push_str(&format!(" {}", expression(&tokens[i..=i])?)),
        }
        i += 1;
    }
    Ok(text.replace("- ", "-"))
}
