//! PL/SQL: simple blocks, and the bodies of triggers.
//!
//! A block may hold SQL statements, EXECUTE IMMEDIATE, assignments to bind variables, calls of a few
//! packages, NULL, RAISE_APPLICATION_ERROR, and one handler for OTHERS. Nothing has a loop. All that may
//! be declared is a cursor of DBMS_SQL, which there is one of.

use super::ddl::Step;
use super::expression::expression;
use super::lex::{Kind, Token};
use super::{closing, literal, name, quote, split};
use crate::ora_error::OraError;

/// One statement of a block.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// SQL as it stands, to be understood like any other.
    Sql(Vec<Token>),
    /// EXECUTE IMMEDIATE of what this expression gives.
    Dynamic(Vec<Token>),
    /// Binds that get the columns of a query's only row; `:bind := expression` is one too.
    Assign {
        binds: Vec<usize>,
        query: Vec<Token>,
    },
    /// A package's procedure, by its name in capitals.
    Call {
        procedure: String,
        arguments: Vec<Vec<Token>>,
    },
    /// RAISE: what was caught goes on.
    Reraise,
    Nothing,
}

/// What happens with an error.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    /// The codes that pass: `IF SQLCODE != -942 THEN RAISE`. Nothing means all.
    pub(crate) only: Option<Vec<u32>>,
    pub(crate) actions: Vec<Action>,
}

/// A block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) actions: Vec<Action>,
    pub(crate) handler: Option<Handler>,
    /// The binds that are assigned to.
    pub(crate) outputs: Vec<usize>,
}

fn word(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", Token::word)
}

fn unimplemented_at(tokens: &[Token]) -> OraError {
    OraError::new(3001, "unimplemented feature").at(tokens.first().map_or(0, |t| t.at))
}

fn action(tokens: &[Token]) -> Result<Action, OraError> {
    if let [Token { kind: Kind::Bind(_, index), .. }, assign, rest @ ..] = tokens
        && assign.is_mark(":=")
    {
        let mut query = vec![Token::raw("SELECT", assign.at)];
        query.extend(rest.to_vec());
        return Ok(Action::Assign { binds: vec![*index], query });
    }
    match word(tokens, 0) {
        "NULL" => Ok(Action::Nothing),
        "RAISE" if tokens.len() == 1 => Ok(Action::Reraise),
        "EXECUTE" if word(tokens, 1) == "IMMEDIATE" => {
            let end = tokens.iter().position(|t| t.word() == "USING").unwrap_or(tokens.len());
            if end < tokens.len() {
                return Err(unimplemented_at(tokens));
            }
            Ok(Action::Dynamic(tokens[2..].to_vec()))
        }
        "SELECT" => {
            let into = tokens
                .iter()
                .position(|t| t.word() == "INTO")
                .ok_or_else(|| OraError::new(6550, "PLS-00428: an INTO clause is expected"))?;
            let from = tokens
                .iter()
                .position(|t| t.word() == "FROM")
                .ok_or_else(|| OraError::new(923, "FROM keyword not found where expected"))?;
            let binds = tokens[into..from]
                .iter()
                .filter_map(|t| match &t.kind {
                    Kind::Bind(_, index) => Some(*index),
                    _ => None,
                })
                .collect();
            let mut query = tokens[..into].to_vec();
            query.extend(tokens[from..].to_vec());
            Ok(Action::Assign { binds, query })
        }
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "LOCK"
        | "SET" => Ok(Action::Sql(tokens.to_vec())),
        "IF" | "FOR" | "WHILE" | "LOOP" | "DECLARE" | "BEGIN" => Err(unimplemented_at(tokens)),
        "" => Err(OraError::new(6550, "PLS-00103: encountered an unexpected symbol")),
        _ => {
            let open = tokens.iter().position(|t| t.is_mark("(")).unwrap_or(tokens.len());
            let mut procedure = String::new();
            for token in &tokens[..open] {
                procedure.push_str(if token.is_mark(".") { "." } else { token.word() });
            }
            let close = closing(tokens, open);
            let inner = tokens.get(open + 1..close).unwrap_or_default();
            let mut arguments = Vec::new();
            for part in split(inner, ",").into_iter().filter(|p| !p.is_empty()) {
                let skip = part.iter().position(|t| t.is_mark("=>")).map_or(0, |at| at + 1);
                arguments.push(part[skip..].to_vec());
            }
            Ok(Action::Call { procedure, arguments })
        }
    }
}

fn actions(tokens: &[Token]) -> Result<Vec<Action>, OraError> {
    split(tokens, ";").into_iter().filter(|part| !part.is_empty()).map(action).collect()
}

/// Understands a block, or a CALL.
pub(crate) fn parse(tokens: &[Token]) -> Result<Block, OraError> {
    if word(tokens, 0) == "CALL" {
        let actions = vec![action(&tokens[1..])?];
        return Ok(Block { actions, handler: None, outputs: Vec::new() });
    }
    let tokens = without_cursor(tokens);
    if word(tokens, 0) != "BEGIN" {
        return Err(unimplemented_at(tokens));
    }
    let end = tokens
        .iter()
        .rposition(|t| t.word() == "END")
        .ok_or_else(|| OraError::new(6550, "PLS-00103: encountered the end of the input"))?;
    let caught = tokens[..end].iter().position(|t| t.word() == "EXCEPTION");
    let body = actions(&tokens[1..caught.unwrap_or(end)])?;
    let handler = match caught {
        Some(at) => Some(handler(&tokens[at + 1..end])?),
        None => None,
    };
    let outputs = body
        .iter()
        .filter_map(|a| match a {
            Action::Assign { binds, .. } => Some(binds.clone()),
            Action::Sql(_)
            | Action::Dynamic(_)
            | Action::Call { .. }
            | Action::Reraise
            | Action::Nothing => None,
        })
        .flatten()
        .collect();
    Ok(Block { actions: body, handler, outputs })
}

/// A block without `DECLARE c INTEGER := DBMS_SQL.OPEN_CURSOR;`.
fn without_cursor(tokens: &[Token]) -> &[Token] {
    let begin = tokens.iter().position(|t| t.word() == "BEGIN").unwrap_or(0);
    let declared: Vec<&str> = tokens[..begin].iter().map(Token::word).collect();
    match declared.as_slice() {
        ["DECLARE", _, "INTEGER", .., "OPEN_CURSOR", _] => &tokens[begin..],
        _ => tokens,
    }
}

/// `WHEN OTHERS THEN …`, with at most one `IF SQLCODE … THEN RAISE; END IF;`.
fn handler(tokens: &[Token]) -> Result<Handler, OraError> {
    let then =
        tokens.iter().position(|t| t.word() == "THEN").ok_or_else(|| unimplemented_at(tokens))?;
    if word(tokens, 0) != "WHEN" || word(tokens, 1) != "OTHERS" {
        return Err(unimplemented_at(tokens));
    }
    let body = &tokens[then + 1..];
    if word(body, 0) != "IF" {
        return Ok(Handler { only: None, actions: actions(body)? });
    }
    let only = body
        .iter()
        .take_while(|t| t.word() != "THEN")
        .filter_map(|t| match &t.kind {
            Kind::Number(number) => number.parse().ok(),
            _ => None,
        })
        .collect();
    Ok(Handler { only: Some(only), actions: Vec::new() })
}

/// A trigger: its body is near enough to PL/pgSQL for assignments to `:NEW` and plain SQL.
pub(crate) fn trigger(tokens: &[Token], i: usize, replace: bool) -> Result<Vec<Step>, OraError> {
    let trigger = tokens.get(i).and_then(name).ok_or_else(|| unimplemented_at(tokens))?;
    let on = tokens
        .iter()
        .position(|t| t.word() == "ON")
        .ok_or_else(|| OraError::new(969, "missing ON keyword"))?;
    let begin = tokens
        .iter()
        .position(|t| matches!(t.word(), "BEGIN" | "DECLARE"))
        .ok_or_else(|| unimplemented_at(tokens))?;
    let table = tokens.get(on + 1).and_then(name).unwrap_or_default();
    let events = expression(&tokens[i + 1..on])?;
    let each_row = tokens[on..begin].iter().any(|t| t.word() == "EACH");
    let condition = tokens[on..begin].iter().position(|t| t.word() == "WHEN").map(|at| at + on);
    let when = match condition {
        Some(at) => format!("WHEN {}", expression(&tokens[at + 1..begin])?),
        None => String::new(),
    };
    let mut body = Vec::new();
    let mut skipped = false;
    for token in &tokens[begin..] {
        match &token.kind {
            Kind::Bind(row, _) if row == "NEW" || row == "OLD" => {
                body.push(Token::raw(row.clone(), token.at));
            }
            // `:NEW.x` was read as a bind and a dotted name: the name needs no more help.
            Kind::Word(w) if w == "RAISE_APPLICATION_ERROR" => {
                body.push(Token::raw("CALL sys.raise_application_error", token.at));
            }
            _ => body.push(token.clone()),
        }
        skipped |= token.word() == "EXCEPTION";
    }
    if skipped {
        return Err(unimplemented_at(tokens));
    }
    let end = body.iter().rposition(|t| t.word() == "END").unwrap_or(body.len());
    let result = "RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;";
    let text = format!("{} {result} END;", expression(&body[..end])?);
    let function = quote(&format!("ora$trigger${}", trigger.trim_matches('"')));
    let mut steps = Vec::new();
    if replace {
        steps.push(Step::Run(format!("DROP TRIGGER IF EXISTS {trigger} ON {table}")));
    }
    steps.push(Step::Run(format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {}",
        literal(&text)
    )));
    let each = if each_row { "FOR EACH ROW" } else { "" };
    steps.push(Step::Run(format!(
        "CREATE TRIGGER {trigger} {events} ON {table} {each} {when} EXECUTE FUNCTION {function}()"
    )));
    Ok(steps)
}
