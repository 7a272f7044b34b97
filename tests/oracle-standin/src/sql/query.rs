//! Queries and DML.

use super::expression::{Output, binds, emit, emit_one, mark_at, word_at};
use super::lex::{Kind, Token};
use super::{Translated, closing, name, split};
use crate::ora_error::OraError;

/// `ROWNUM <= n` in a query's condition becomes a LIMIT at its end.
fn limit_rows(mut tokens: Vec<Token>, top_is_query: bool) -> Vec<Token> {
    while let Some(i) = (0..tokens.len()).find(|&i| {
        tokens[i].word() == "ROWNUM"
            && ["<=", "<", "="].iter().any(|mark| mark_at(&tokens, i + 1, mark))
            && tokens.get(i + 2).is_some_and(|t| matches!(t.kind, Kind::Number(_) | Kind::Bind(..)))
    }) {
        let at = tokens[i].at;
        let less = if mark_at(&tokens, i + 1, "<") { " - 1" } else { "" };
        let count = match &tokens[i + 2].kind {
            Kind::Bind(_, index) => format!("${index}"),
            Kind::Number(number) => number.clone(),
            _ => unreachable!("looked at above"),
        };
        // The end of the block: where more parentheses close than open.
        let (mut depth, mut end) = (0i32, tokens.len());
        for (j, token) in tokens.iter().enumerate().skip(i) {
            if token.is_mark("(") {
                depth += 1;
            } else if token.is_mark(")") {
                depth -= 1;
            }
            let ends = matches!(token.word(), "UNION" | "MINUS" | "INTERSECT")
                || (token.word() == "FOR" && word_at(&tokens, j + 1) == "UPDATE");
            if depth < 0 || (depth == 0 && ends) {
                end = j;
                break;
            }
        }
        let in_parentheses = end < tokens.len() || top_is_query;
        tokens[i] = Token::raw("TRUE", at);
        if in_parentheses {
            tokens.insert(end, Token::raw(format!("LIMIT CAST({count} AS bigint){less}"), at));
        } else {
            // DELETE and UPDATE have no LIMIT.
            let place = tokens.iter().position(|t| t.word() == "WHERE").unwrap_or(0);
            let target = target(&tokens);
            tokens.push(Token::raw(format!("LIMIT CAST({count} AS bigint){less})"), at));
            tokens
                .insert(place, Token::raw(format!("WHERE ctid IN (SELECT ctid FROM {target}"), at));
            tokens.drain(i + 2..i + 4);
            continue;
        }
        tokens.drain(i + 1..i + 3);
    }
    tokens
}

/// The table, with its alias, that a DELETE or UPDATE is about.
fn target(tokens: &[Token]) -> String {
    let skip = if word_at(tokens, 1) == "FROM" { 2 } else { 1 };
    let end =
        tokens.iter().position(|t| matches!(t.word(), "SET" | "WHERE")).unwrap_or(tokens.len());
    let mut out = Output::default();
    for token in &tokens[skip.min(end)..end] {
        match &token.kind {
            Kind::Mark(mark) => out.push(mark, 0),
            _ => out.push(&name(token).unwrap_or_default(), 0),
        }
    }
    out.text
}

/// `FROM dual CONNECT BY LEVEL <= n` makes n rows.
fn make_rows(mut tokens: Vec<Token>) -> Vec<Token> {
    while let Some(i) = (0..tokens.len()).find(|&i| {
        tokens[i].word() == "DUAL"
            && word_at(&tokens, i + 1) == "CONNECT"
            && matches!(word_at(&tokens, i + 3), "LEVEL" | "ROWNUM")
    }) {
        let at = tokens[i].at;
        let less = if mark_at(&tokens, i + 4, "<") { " - 1" } else { "" };
        let count = match tokens.get(i + 5).map(|t| &t.kind) {
            Some(Kind::Bind(_, index)) => format!("${index}"),
            Some(Kind::Number(number)) => number.clone(),
            _ => break,
        };
        tokens[i] = Token::raw(
            format!(
                "generate_series(CAST(1 AS bigint), CAST({count} AS bigint){less}) AS dual(level)"
            ),
            at,
        );
        tokens.drain(i + 1..i + 6);
    }
    tokens
}

/// Gives subqueries in FROM a name: PostgreSQL wants one.
fn named_subqueries(mut tokens: Vec<Token>) -> Vec<Token> {
    let mut i = 1;
    let mut named = 0;
    while i < tokens.len() {
        let opens = tokens[i].is_mark("(")
            && matches!(word_at(&tokens, i - 1), "FROM" | "JOIN")
            && (matches!(word_at(&tokens, i + 1), "SELECT" | "WITH")
                || mark_at(&tokens, i + 1, "("));
        if opens {
            let close = closing(&tokens, i);
            let next = tokens.get(close + 1);
            let has_name = next.is_some_and(|t| match &t.kind {
                Kind::Quoted(_) => true,
                Kind::Word(word) => !matches!(
                    word.as_str(),
                    "WHERE"
                        | "GROUP"
                        | "ORDER"
                        | "ON"
                        | "JOIN"
                        | "LEFT"
                        | "RIGHT"
                        | "INNER"
                        | "FULL"
                        | "CROSS"
                        | "UNION"
                        | "MINUS"
                        | "INTERSECT"
                        | "FETCH"
                        | "OFFSET"
                        | "FOR"
                        | "HAVING"
                        | "CONNECT"
                        | "START"
                        | "WHEN"
                        | "USING"
                ),
                _ => false,
            });
            if !has_name && close < tokens.len() {
                named += 1;
                let at = tokens[close].at;
                tokens.insert(close + 1, Token::raw(format!("AS \"ora$q{named}\""), at));
            }
        }
        i += 1;
    }
    tokens
}

pub(crate) fn query(tokens: Vec<Token>) -> Result<Translated, OraError> {
    let all_binds = binds(&tokens);
    let mut wait_secs = None;
    let mut locks = false;
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i].word() == "FOR" && word_at(&tokens, i + 1) == "UPDATE" {
            locks = true;
            let at = tokens[i].at;
            let mut clause = "FOR UPDATE".to_owned();
            i += 2;
            if word_at(&tokens, i) == "OF" {
                // Oracle names columns, PostgreSQL tables: an alias in front is one.
                if mark_at(&tokens, i + 2, ".") {
                    clause.push_str(&format!(" OF {}", name(&tokens[i + 1]).unwrap_or_default()));
                }
                while i < tokens.len()
                    && !matches!(word_at(&tokens, i), "NOWAIT" | "WAIT" | "SKIP" | "ORDER")
                {
                    i += 1;
                }
            }
            match word_at(&tokens, i) {
                "NOWAIT" => {
                    clause.push_str(" NOWAIT");
                    i += 1;
                }
                "SKIP" => {
                    clause.push_str(" SKIP LOCKED");
                    i += 2;
                }
                "WAIT" => {
                    if let Some(Kind::Number(secs)) = tokens.get(i + 1).map(|t| &t.kind) {
                        wait_secs = secs.parse().ok();
                    }
                    i += 2;
                }
                _ => {}
            }
            kept.push(Token::raw(clause, at));
            continue;
        }
        if tokens[i].word() == "SAMPLE" {
            let blocks = word_at(&tokens, i + 1) == "BLOCK";
            let opens = i + if blocks { 2 } else { 1 };
            if mark_at(&tokens, opens, "(") {
                let method = if blocks { "SYSTEM" } else { "BERNOULLI" };
                kept.push(Token::raw(format!("TABLESAMPLE {method}"), tokens[i].at));
                i = opens;
                continue;
            }
        }
        // Flashback reads the present here.
        if tokens[i].word() == "AS"
            && word_at(&tokens, i + 1) == "OF"
            && matches!(word_at(&tokens, i + 2), "SCN" | "TIMESTAMP")
        {
            return Err(OraError::new(3001, "unimplemented feature").at(tokens[i].at));
        }
        kept.push(tokens[i].clone());
        i += 1;
    }
    let kept = named_subqueries(limit_rows(make_rows(kept), true));
    let mut out = Output::default();
    emit(&kept, &mut out)?;
    Ok(Translated { wait_secs, locks, binds: all_binds, ..out.finish(&[]) })
}

/// Cuts `RETURNING … INTO …` off; how many binds it fills, and the clause for PostgreSQL.
fn returning(tokens: &mut Vec<Token>) -> Result<usize, OraError> {
    let Some(at) = tokens.iter().position(|t| matches!(t.word(), "RETURNING" | "RETURN")) else {
        return Ok(0);
    };
    let Some(into) = tokens[at..].iter().position(|t| t.word() == "INTO").map(|i| i + at) else {
        return Err(OraError::new(925, "missing INTO keyword").at(tokens[at].at));
    };
    let count = tokens[into..].iter().filter(|t| matches!(t.kind, Kind::Bind(..))).count();
    tokens.truncate(into);
    tokens[at] = Token::raw("RETURNING", tokens[at].at);
    Ok(count)
}

pub(crate) fn insert(mut tokens: Vec<Token>) -> Result<Translated, OraError> {
    let all_binds = binds(&tokens);
    if matches!(word_at(&tokens, 1), "ALL" | "FIRST") {
        return Err(OraError::new(3001, "unimplemented feature").at(tokens[1].at));
    }
    let returning = returning(&mut tokens)?;
    let tokens = named_subqueries(limit_rows(make_rows(tokens), true));
    let mut out = Output::default();
    emit(&tokens, &mut out)?;
    Ok(Translated { returning, locks: true, binds: all_binds, ..out.finish(&[]) })
}

/// Takes table names away from the columns that SET assigns to.
fn bare_targets(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let (mut depth, mut case) = (0i32, 0i32);
    let mut in_set = false;
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        match token.word() {
            "CASE" => case += 1,
            "END" => case -= 1,
            "SET" if depth == 0 => in_set = true,
            "WHERE" if depth == 0 => in_set = false,
            _ => {}
        }
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth -= 1;
        }
        kept.push(token.clone());
        let target_follows =
            in_set && depth == 0 && case == 0 && (token.word() == "SET" || token.is_mark(","));
        i += 1;
        if target_follows {
            while tokens.get(i).is_some_and(Token::is_name) && mark_at(tokens, i + 1, ".") {
                i += 2;
            }
        }
    }
    kept
}

pub(crate) fn update(mut tokens: Vec<Token>) -> Result<Translated, OraError> {
    let all_binds = binds(&tokens);
    let returning = returning(&mut tokens)?;
    let tokens = limit_rows(bare_targets(&tokens), false);
    let mut out = Output::default();
    emit(&tokens, &mut out)?;
    Ok(Translated { returning, locks: true, is_update: true, binds: all_binds, ..out.finish(&[]) })
}

pub(crate) fn delete(mut tokens: Vec<Token>) -> Result<Translated, OraError> {
    let all_binds = binds(&tokens);
    if word_at(&tokens, 1) != "FROM" {
        let at = tokens[0].at;
        tokens.insert(1, Token { kind: Kind::Word("FROM".to_owned()), at });
    }
    let returning = returning(&mut tokens)?;
    let tokens = limit_rows(tokens, false);
    let mut out = Output::default();
    emit(&tokens, &mut out)?;
    Ok(Translated { returning, locks: true, binds: all_binds, ..out.finish(&[]) })
}

/// Where words of this list stand outside parentheses and CASE.
fn outside(tokens: &[Token], words: &[&str]) -> Vec<usize> {
    let (mut depth, mut case) = (0i32, 0i32);
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if depth == 0 && case == 0 && words.contains(&token.word()) {
            found.push(i);
        }
        match token.word() {
            "CASE" => case += 1,
            "END" => case -= 1,
            _ => {}
        }
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth -= 1;
        }
    }
    found
}

pub(crate) fn merge(tokens: Vec<Token>) -> Result<Translated, OraError> {
    let all_binds = binds(&tokens);
    let whens = outside(&tokens, &["WHEN"]);
    let first = whens.first().copied().unwrap_or(tokens.len());
    let mut out = Output::default();
    emit(&limit_rows(make_rows(tokens[..first].to_vec()), false), &mut out)?;
    for (n, &start) in whens.iter().enumerate() {
        let clause = &tokens[start..whens.get(n + 1).copied().unwrap_or(tokens.len())];
        let at = clause[0].at;
        let negated = word_at(clause, 1) == "NOT";
        let then = outside(clause, &["THEN"])
            .first()
            .copied()
            .ok_or_else(|| OraError::new(905, "missing keyword").at(at))?;
        let body = &clause[then + 1..];
        if let Some(&deletes) = outside(body, &["DELETE"]).first() {
            return Err(OraError::new(3001, "unimplemented feature").at(body[deletes].at));
        }
        let condition = outside(body, &["WHERE"]).first().copied();
        out.push(if negated { "WHEN NOT MATCHED" } else { "WHEN MATCHED" }, at);
        if let Some(place) = condition {
            out.push("AND (", at);
            emit(&body[place + 1..], &mut out)?;
            out.push(")", at);
        }
        out.push("THEN", at);
        let action = &body[..condition.unwrap_or(body.len())];
        if negated {
            emit(&bare_columns(action), &mut out)?;
        } else {
            emit(&bare_targets(action), &mut out)?;
        }
    }
    Ok(Translated { locks: true, binds: all_binds, ..out.finish(&[]) })
}

/// Takes table names away from the columns that INSERT lists.
fn bare_columns(tokens: &[Token]) -> Vec<Token> {
    let Some(open) = tokens.iter().position(|t| t.is_mark("(")) else { return tokens.to_vec() };
    if word_at(tokens, open.wrapping_sub(1)) == "VALUES" {
        return tokens.to_vec();
    }
    let close = closing(tokens, open);
    let mut kept = tokens[..=open].to_vec();
    for (n, part) in split(&tokens[open + 1..close], ",").iter().enumerate() {
        if n > 0 {
            kept.push(Token { kind: Kind::Mark(","), at: tokens[open].at });
        }
        kept.extend(part.last().cloned());
    }
    kept.extend(tokens[close..].to_vec());
    kept
}

/// `LOCK TABLE t IN EXCLUSIVE MODE [NOWAIT | WAIT n]`.
pub(crate) fn lock(tokens: Vec<Token>) -> Result<Translated, OraError> {
    let mut wait_secs = None;
    let mut out = Output::default();
    let mut i = 0;
    while i < tokens.len() {
        match tokens[i].word() {
            "WAIT" => {
                if let Some(Kind::Number(secs)) = tokens.get(i + 1).map(|t| &t.kind) {
                    wait_secs = secs.parse().ok();
                }
                i += 2;
            }
            "SHARE" if word_at(&tokens, i + 1) == "UPDATE" => {
                out.push("ROW SHARE", tokens[i].at);
                i += 2;
            }
            _ => i = emit_one(&tokens, i, &mut out)?,
        }
    }
    Ok(Translated { wait_secs, locks: true, ..out.finish(&tokens) })
}
