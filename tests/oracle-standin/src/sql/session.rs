//! Transactions, savepoints and session settings.

use super::lex::{Kind, Token};
use super::{literal, name};
use crate::ora_error::OraError;

/// What the session does itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Commit,
    Rollback,
    /// To a savepoint of this name.
    RollbackTo(String),
    Savepoint(String),
    /// `SET TRANSACTION`: what to begin the transaction with.
    Begin(&'static str),
    /// `ALTER SESSION` and the like: SQL that sets it, nothing for settings without a meaning here.
    Set(Option<String>),
    /// `ALTER SESSION SET CURRENT_SCHEMA`.
    Schema(String),
}

fn savepoint(token: Option<&Token>) -> Result<String, OraError> {
    token.and_then(name).ok_or_else(|| OraError::new(3001, "unimplemented feature"))
}

pub(crate) fn order(tokens: &[Token]) -> Result<Order, OraError> {
    let word = |i: usize| tokens.get(i).map_or("", Token::word);
    Ok(match word(0) {
        "COMMIT" => Order::Commit,
        "SAVEPOINT" => Order::Savepoint(savepoint(tokens.get(1))?),
        "ROLLBACK" => {
            let at = tokens.iter().position(|t| t.word() == "TO");
            match at {
                None => Order::Rollback,
                Some(at) => {
                    let skip = usize::from(word(at + 1) == "SAVEPOINT" && tokens.len() > at + 2);
                    Order::RollbackTo(savepoint(tokens.get(at + 1 + skip))?)
                }
            }
        }
        "SET" if word(1) == "TRANSACTION" => {
            let has = |w: &str| tokens.iter().any(|t| t.word() == w);
            Order::Begin(if has("SERIALIZABLE") {
                "ISOLATION LEVEL REPEATABLE READ"
            } else if has("ONLY") {
                "ISOLATION LEVEL REPEATABLE READ READ ONLY"
            } else {
                ""
            })
        }
        "SET" => Order::Set(None),
        "ALTER" => alter(&tokens[2..])?,
        _ => return Err(OraError::new(900, "invalid SQL statement")),
    })
}

/// `SET name = value`, once or more often.
fn alter(tokens: &[Token]) -> Result<Order, OraError> {
    let invalid = || OraError::new(2248, "invalid option for ALTER SESSION");
    let mut script = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if matches!(tokens[i].word(), "SET" | "FLUSH" | "ENABLE" | "DISABLE") {
            i += 1;
            continue;
        }
        if !tokens.get(i + 1).is_some_and(|t| t.is_mark("=")) {
            // ENABLE PARALLEL DML and the like.
            return if script.is_empty() && i > 0 && tokens[0].word() != "SET" {
                Ok(Order::Set(None))
            } else {
                Err(invalid())
            };
        }
        let value = tokens.get(i + 2).ok_or_else(invalid)?;
        let text = match &value.kind {
            Kind::Text(text) | Kind::Word(text) | Kind::Number(text) => text.clone(),
            _ => String::new(),
        };
        match tokens[i].word() {
            "TIME_ZONE" if value.word().is_empty() => script.push(time_zone(&text)),
            "TIME_ZONE" => script.push("SET TIME ZONE 'UTC'".to_owned()),
            "CURRENT_SCHEMA" => return Ok(Order::Schema(savepoint(Some(value))?)),
            "ISOLATION_LEVEL" => {
                let level =
                    if text == "SERIALIZABLE" { "repeatable read" } else { "read committed" };
                script.push(format!("SET default_transaction_isolation = {}", literal(level)));
                i += usize::from(text == "READ");
            }
            // The dictionary and the conversions without a format look there.
            name if name.starts_with("NLS_")
                || matches!(name, "COMMIT_WAIT" | "COMMIT_LOGGING") =>
            {
                script.push(format!("SET ora.{} = {}", name.to_lowercase(), literal(&text)));
            }
            "" => return Err(invalid()),
            _ => {}
        }
        i += 3;
    }
    Ok(Order::Set((!script.is_empty()).then(|| script.join("; "))))
}

/// PostgreSQL reads a bare offset with its sign turned over.
fn time_zone(zone: &str) -> String {
    if zone.starts_with(['+', '-']) {
        format!("SET TIME ZONE INTERVAL {} HOUR TO MINUTE", literal(zone))
    } else {
        format!("SET TIME ZONE {}", literal(zone))
    }
}
