//! Oracle's SQL turned into PostgreSQL's, as far as ssync and the drivers' own tests go.

pub(crate) mod block;
pub(crate) mod ddl;
mod declare;
pub(crate) mod expression;
pub(crate) mod lex;
pub(crate) mod query;
mod session;

use crate::ora_error::OraError;
use lex::{Kind, Token};
pub(crate) use session::Order;

/// A statement, ready to run.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// A query: it has columns.
    Query(Translated),
    /// INSERT, UPDATE, DELETE or MERGE.
    Dml(Translated),
    /// Commits, runs in a transaction of its own, commits.
    Ddl(Vec<ddl::Step>),
    /// Transactions, savepoints and session settings.
    Order(Order),
    /// A PL/SQL block.
    Block(block::Block),
}

/// SQL for PostgreSQL with what is to be known of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Translated {
    pub(crate) sql: String,
    /// Which byte of the source a character of `sql` comes from, by rising characters.
    marks: Vec<(usize, usize)>,
    /// Bind variables in the order of the source.
    pub(crate) binds: Vec<String>,
    /// How many of the last binds only receive what RETURNING gives.
    pub(crate) returning: usize,
    /// `FOR UPDATE WAIT n`.
    pub(crate) wait_secs: Option<u32>,
    /// Takes locks: a transaction begins.
    pub(crate) locks: bool,
    pub(crate) is_update: bool,
}

impl Translated {
    /// The place in the source behind a character of the translation.
    pub(crate) fn source_of(&self, character: usize) -> usize {
        let after = self.marks.partition_point(|(out, _)| *out <= character);
        after.checked_sub(1).map_or(0, |i| self.marks[i].1)
    }
}

/// Understands a statement.
pub(crate) fn translate(sql: &str) -> Result<Statement, OraError> {
    let tokens = lex::lex(sql, false)?;
    if matches!(tokens.first().map_or("", Token::word), "BEGIN" | "DECLARE" | "CALL") {
        return block::parse(&lex::lex(sql, true)?).map(Statement::Block);
    }
    understand(tokens)
}

/// Understands a statement that is no block.
pub(crate) fn understand(mut tokens: Vec<Token>) -> Result<Statement, OraError> {
    let word = tokens.first().map_or("", Token::word).to_owned();
    let second = tokens.get(1).map_or("", Token::word).to_owned();
    let is_code = word == "CREATE"
        && tokens
            .iter()
            .take(6)
            .any(|t| matches!(t.word(), "TRIGGER" | "PROCEDURE" | "FUNCTION" | "PACKAGE" | "TYPE"));
    if tokens.last().is_some_and(|t| t.is_mark(";")) && !is_code {
        let at = tokens.pop().map_or(0, |t| t.at);
        return Err(OraError::new(933, "SQL command not properly ended").at(at));
    }
    match word.as_str() {
        "SELECT" | "WITH" => query::query(tokens).map(Statement::Query),
        _ if tokens.first().is_some_and(|t| t.is_mark("(")) => {
            query::query(tokens).map(Statement::Query)
        }
        "INSERT" => query::insert(tokens).map(Statement::Dml),
        "UPDATE" => query::update(tokens).map(Statement::Dml),
        "DELETE" => query::delete(tokens).map(Statement::Dml),
        "MERGE" => query::merge(tokens).map(Statement::Dml),
        "LOCK" => query::lock(tokens).map(Statement::Dml),
        "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "SET" => {
            session::order(&tokens).map(Statement::Order)
        }
        "ALTER" if matches!(second.as_str(), "SESSION" | "SYSTEM") => {
            session::order(&tokens).map(Statement::Order)
        }
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "COMMENT" | "GRANT" | "REVOKE" | "RENAME"
        | "ANALYZE" | "PURGE" | "FLASHBACK" | "AUDIT" => {
            ddl::statement(&tokens).map(Statement::Ddl)
        }
        "" => Err(OraError::new(900, "invalid SQL statement")),
        _ => Err(OraError::new(900, "invalid SQL statement")),
    }
}

/// A name for PostgreSQL. Oracle's unquoted names are stored in capitals, PostgreSQL's in small
/// letters: all names with letters of one case only are turned over.
pub(crate) fn name(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(word) => Some(quote(&word.to_lowercase())),
        Kind::Quoted(text) => Some(quote(&crate::ora_error::shown(text))),
        _ => None,
    }
}

/// A name in PostgreSQL's quotes.
pub(crate) fn quote(stored: &str) -> String {
    format!("\"{}\"", stored.replace('"', "\"\""))
}

/// A string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Where the parenthesis that `open` opens is closed.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return i;
            }
        }
    }
    tokens.len()
}

/// Splits at a mark, leaving what stands in parentheses together.
pub(crate) fn split<'a>(tokens: &'a [Token], mark: &str) -> Vec<&'a [Token]> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0i32, 0);
    for (i, token) in tokens.iter().enumerate() {
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth -= 1;
        } else if depth == 0 && token.is_mark(mark) {
            parts.push(&tokens[start..i]);
            start = i + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}
