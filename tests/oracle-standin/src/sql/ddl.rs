//! DDL: Oracle's declarations become PostgreSQL's, and stay in the columns' comments.

use super::declare::{
    column, comment_on, constraint, dotted, mark, parse_type, sequence_options, unquoted, word,
};
use super::expression::expression;
use super::lex::{Kind, Token};
use super::{closing, literal, name, quote, split};
use crate::ora_error::{OraError, shown};

/// One thing that DDL does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Runs in the transaction of the DDL.
    Run(String),
    /// Copies the declarations of the columns that this query names to the table's columns.
    Declare {
        table: String,
        query: String,
    },
    /// An account of the stand-in's: the name, and the password where one is given.
    CreateUser {
        user: String,
        password: String,
    },
    /// The account goes with its schema.
    DropUser {
        user: String,
    },
    AlterUser {
        user: String,
        password: String,
    },
    /// Nothing of that name is not an error, unless this ORA code is to be reported.
    Object {
        sql: String,
        missing: u32,
    },
}

fn is_table_constraint(tokens: &[Token]) -> bool {
    match word(tokens, 0) {
        "CONSTRAINT" | "CHECK" => true,
        "PRIMARY" => word(tokens, 1) == "KEY",
        "FOREIGN" => word(tokens, 1) == "KEY",
        "UNIQUE" => mark(tokens, 1, "("),
        _ => false,
    }
}

fn create_table(tokens: &[Token], i: usize, temporary: bool) -> Result<Vec<Step>, OraError> {
    let (table, next) = dotted(tokens, i)?;
    let temporary = if temporary { "TEMPORARY " } else { "" };
    let as_at = tokens[next..].iter().position(|t| t.word() == "AS").map(|n| n + next);
    if !mark(tokens, next, "(") || as_at == Some(next) {
        let Some(as_at) = as_at else {
            return Err(OraError::new(906, "missing left parenthesis"));
        };
        let query = super::query::query(tokens[as_at + 1..].to_vec())?.sql;
        return Ok(vec![
            Step::Run(format!("CREATE {temporary}TABLE {table} AS {query}")),
            Step::Declare { table, query },
        ]);
    }
    let close = closing(tokens, next);
    if close >= tokens.len() {
        return Err(OraError::new(907, "missing right parenthesis"));
    }
    let (mut parts, mut comments) = (Vec::new(), Vec::new());
    for part in split(&tokens[next + 1..close], ",") {
        if is_table_constraint(part) {
            parts.push(constraint(part)?);
        } else {
            let (definition, checks, comment) = column(&table, part)?;
            parts.push(definition);
            parts.extend(checks);
            comments.push(Step::Run(comment));
        }
    }
    let mut steps =
        vec![Step::Run(format!("CREATE {temporary}TABLE {table} ({})", parts.join(", ")))];
    steps.extend(comments);
    Ok(steps)
}

fn create(tokens: &[Token]) -> Result<Vec<Step>, OraError> {
    let mut i = 1;
    let mut replace = false;
    let mut temporary = false;
    while matches!(
        word(tokens, i),
        "OR" | "REPLACE"
            | "GLOBAL"
            | "PRIVATE"
            | "TEMPORARY"
            | "UNIQUE"
            | "BITMAP"
            | "FORCE"
            | "EDITIONABLE"
            | "NONEDITIONABLE"
            | "PUBLIC"
    ) {
        replace |= word(tokens, i) == "REPLACE";
        temporary |= word(tokens, i) == "TEMPORARY";
        i += 1;
    }
    let unique = if tokens[..i].iter().any(|t| t.word() == "UNIQUE") { "UNIQUE " } else { "" };
    match word(tokens, i) {
        "TABLE" => create_table(tokens, i + 1, temporary),
        "INDEX" => {
            let (index, next) = dotted(tokens, i + 1)?;
            let (table, open) = dotted(tokens, next + 1)?;
            let close = closing(tokens, open);
            let columns = expression(&tokens[open..=close.min(tokens.len() - 1)])?;
            let index = index.rsplit('.').next().unwrap_or_default();
            Ok(vec![Step::Run(format!("CREATE {unique}INDEX {index} ON {table} {columns}"))])
        }
        "SEQUENCE" => {
            let (sequence, next) = dotted(tokens, i + 1)?;
            let options = sequence_options(&tokens[next..])?;
            Ok(vec![Step::Run(format!("CREATE SEQUENCE {sequence}{options}"))])
        }
        "VIEW" => {
            let (view, next) = dotted(tokens, i + 1)?;
            let at = tokens.iter().position(|t| t.word() == "AS").unwrap_or(tokens.len() - 1);
            let mut body = tokens[at + 1..].to_vec();
            if let Some(with) = body.iter().position(|t| t.word() == "WITH").filter(|w| *w > 0) {
                body.truncate(with);
            }
            let columns = expression(&tokens[next..at])?;
            let query = super::query::query(body)?.sql;
            let drop = format!("DROP VIEW IF EXISTS {view} CASCADE");
            let mut steps: Vec<Step> = replace.then_some(Step::Run(drop)).into_iter().collect();
            steps.push(Step::Run(format!("CREATE VIEW {view} {columns} AS {query}")));
            steps.push(Step::Declare { table: view, query });
            Ok(steps)
        }
        "USER" => {
            let (user, _) = dotted(tokens, i + 1)?;
            Ok(vec![Step::CreateUser { user: unquoted(&user), password: password(tokens) }])
        }
        "TRIGGER" => super::block::trigger(tokens, i + 1, replace),
        "SYNONYM" => {
            let (synonym, next) = dotted(tokens, i + 1)?;
            let (of, _) = dotted(tokens, next + 1)?;
            let drop = format!("DROP VIEW IF EXISTS {synonym}");
            let mut steps: Vec<Step> = replace.then_some(Step::Run(drop)).into_iter().collect();
            let query = format!("SELECT * FROM {of}");
            steps.push(Step::Run(format!("CREATE VIEW {synonym} AS {query}")));
            steps.push(Step::Declare { table: synonym, query });
            Ok(steps)
        }
        _ => {
            Err(OraError::new(901, "invalid CREATE command").at(tokens.get(i).map_or(0, |t| t.at)))
        }
    }
}

fn password(tokens: &[Token]) -> String {
    let at = tokens.iter().position(|t| t.word() == "BY").map_or(tokens.len(), |at| at + 1);
    match tokens.get(at).map(|t| &t.kind) {
        Some(Kind::Quoted(text)) => text.clone(),
        Some(Kind::Word(word)) => word.to_lowercase(),
        _ => String::new(),
    }
}

fn drop(tokens: &[Token]) -> Result<Vec<Step>, OraError> {
    let kind = word(tokens, 1);
    let (object, next) = dotted(tokens, 2)?;
    let cascade = tokens[next..].iter().any(|t| t.word() == "CASCADE");
    let (kind, missing) = match kind {
        "TABLE" => ("TABLE", 942),
        "VIEW" => ("VIEW", 942),
        "SYNONYM" => ("VIEW", 1434),
        "INDEX" => ("INDEX", 1418),
        "SEQUENCE" => ("SEQUENCE", 2289),
        "USER" => return Ok(vec![Step::DropUser { user: unquoted(&object) }]),
        "TRIGGER" => {
            let sql = format!("CALL sys.drop_trigger({})", literal(&unquoted(&object)));
            return Ok(vec![Step::Run(sql)]);
        }
        "PACKAGE" | "TYPE" | "PROCEDURE" | "FUNCTION" => {
            let text = format!("object {} does not exist", shown(&unquoted(&object)));
            return Err(OraError::new(4043, &text));
        }
        _ => return Err(OraError::new(950, "invalid DROP option")),
    };
    let cascade = if cascade { " CASCADE" } else { "" };
    Ok(vec![Step::Object { sql: format!("DROP {kind} {object}{cascade}"), missing }])
}

fn alter(tokens: &[Token]) -> Result<Vec<Step>, OraError> {
    match word(tokens, 1) {
        "TABLE" => {
            let (table, next) = dotted(tokens, 2)?;
            alter_table(&table, tokens, next)
        }
        "USER" => {
            let (user, _) = dotted(tokens, 2)?;
            Ok(vec![Step::AlterUser { user: unquoted(&user), password: password(tokens) }])
        }
        "SEQUENCE" => {
            let (sequence, next) = dotted(tokens, 2)?;
            let options = sequence_options(&tokens[next..])?;
            Ok(vec![Step::Run(format!("ALTER SEQUENCE {sequence}{options}"))])
        }
        "TRIGGER" => {
            let (trigger, next) = dotted(tokens, 2)?;
            let on = word(tokens, next) == "ENABLE";
            Ok(vec![Step::Run(format!(
                "CALL sys.switch_trigger({}, {on})",
                literal(&unquoted(&trigger))
            ))])
        }
        "INDEX" | "VIEW" => Ok(Vec::new()),
        _ => Err(OraError::new(940, "invalid ALTER command")),
    }
}

fn alter_table(table: &str, tokens: &[Token], i: usize) -> Result<Vec<Step>, OraError> {
    let change = |text: String| Step::Run(format!("ALTER TABLE {table} {text}"));
    let rest = &tokens[i + 1..];
    let inside = |rest: &[Token]| -> Vec<Token> {
        if mark(rest, 0, "(") { rest[1..closing(rest, 0)].to_vec() } else { rest.to_vec() }
    };
    match (word(tokens, i), word(tokens, i + 1)) {
        ("ADD", _) => {
            let rest = if word(rest, 0) == "COLUMN" { &rest[1..] } else { rest };
            let mut steps = Vec::new();
            let inner = if is_table_constraint(rest) { rest.to_vec() } else { inside(rest) };
            for part in split(&inner, ",") {
                if is_table_constraint(part) {
                    steps.push(change(format!("ADD {}", constraint(part)?)));
                } else {
                    let (definition, checks, comment) = column(table, part)?;
                    steps.push(change(format!("ADD COLUMN {definition}")));
                    steps.extend(checks.into_iter().map(|c| change(format!("ADD {c}"))));
                    steps.push(Step::Run(comment));
                }
            }
            Ok(steps)
        }
        ("MODIFY", _) => {
            let inner = inside(rest);
            let mut steps = Vec::new();
            for part in split(&inner, ",") {
                modify(table, part, &mut steps)?;
            }
            Ok(steps)
        }
        ("DROP", "COLUMN") => {
            let column = rest.get(1).and_then(name).unwrap_or_default();
            Ok(vec![change(format!("DROP COLUMN {column}"))])
        }
        ("DROP", "PRIMARY") => {
            Ok(vec![Step::Run(format!("CALL sys.drop_primary_key({})", literal(table)))])
        }
        ("DROP", "CONSTRAINT") => {
            let constraint = rest.get(1).and_then(name).unwrap_or_default();
            let cascade = if rest.iter().any(|t| t.word() == "CASCADE") { " CASCADE" } else { "" };
            Ok(vec![change(format!("DROP CONSTRAINT {constraint}{cascade}"))])
        }
        ("DROP", _) if mark(rest, 0, "(") => {
            let inner = inside(rest);
            Ok(split(&inner, ",")
                .iter()
                .filter_map(|part| part.first().and_then(name))
                .map(|column| change(format!("DROP COLUMN {column}")))
                .collect())
        }
        ("RENAME", "TO") => Ok(vec![change(format!(
            "RENAME TO {}",
            rest.get(1).and_then(name).unwrap_or_default()
        ))]),
        ("RENAME", "COLUMN" | "CONSTRAINT") => Ok(vec![change(format!(
            "RENAME {} {} TO {}",
            word(rest, 0),
            rest.get(1).and_then(name).unwrap_or_default(),
            rest.get(3).and_then(name).unwrap_or_default(),
        ))]),
        (on @ ("ENABLE" | "DISABLE"), "ALL") => Ok(vec![change(format!("{on} TRIGGER USER"))]),
        (
            "ENABLE" | "DISABLE" | "MOVE" | "SHRINK" | "NOLOGGING" | "LOGGING" | "CACHE"
            | "NOCACHE",
            _,
        ) => Ok(Vec::new()),
        ("TRUNCATE", _) => Err(OraError::new(14501, "object is not partitioned")),
        _ => {
            Err(OraError::new(1735, "invalid ALTER TABLE option")
                .at(tokens.get(i).map_or(0, |t| t.at)))
        }
    }
}

fn modify(table: &str, part: &[Token], steps: &mut Vec<Step>) -> Result<(), OraError> {
    let column = part.first().and_then(name).unwrap_or_default();
    let change = |text: String| Step::Run(format!("ALTER TABLE {table} {text}"));
    let mut rest = &part[1..];
    if let Ok((declared, next)) = parse_type(part, 1) {
        let check = quote(&format!("ora$len${}", unquoted(&column)));
        steps.push(change(format!("DROP CONSTRAINT IF EXISTS {check}")));
        let kind = &declared.postgres;
        steps.push(change(format!("ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}")));
        steps.extend(declared.check(table, &column).map(|c| change(format!("ADD {c}"))));
        steps.push(Step::Run(comment_on(table, &column, &declared.comment)));
        rest = &part[next..];
    }
    if let Some(at) = rest.iter().position(|t| t.word() == "DEFAULT") {
        let end =
            rest.iter().position(|t| t.word() == "NOT").filter(|e| *e > at).unwrap_or(rest.len());
        let value = expression(&rest[at + 1..end])?;
        steps.push(change(format!("ALTER COLUMN {column} SET DEFAULT {value}")));
    }
    match rest.iter().position(|t| t.word() == "NULL") {
        Some(at) if at > 0 && word(rest, at - 1) == "NOT" => {
            steps.push(change(format!("ALTER COLUMN {column} SET NOT NULL")));
        }
        Some(at) if at == 0 || word(rest, at - 1) != "DEFAULT" => {
            steps.push(change(format!("ALTER COLUMN {column} DROP NOT NULL")));
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn statement(tokens: &[Token]) -> Result<Vec<Step>, OraError> {
    match word(tokens, 0) {
        "CREATE" => create(tokens),
        "DROP" => drop(tokens),
        "ALTER" => alter(tokens),
        "TRUNCATE" => {
            let (table, _) = dotted(tokens, 2)?;
            Ok(vec![Step::Run(format!("TRUNCATE TABLE {table}"))])
        }
        "COMMENT" => {
            let (object, next) = dotted(tokens, 3)?;
            let Some(Kind::Text(text)) = tokens.get(next + 1).map(|t| &t.kind) else {
                return Err(OraError::new(1780, "string literal required"));
            };
            if word(tokens, 2) == "COLUMN" {
                let (table, column) = object.rsplit_once('.').unwrap_or(("", &object));
                let call = format!(
                    "CALL sys.comment_column({}, {}, {})",
                    literal(table),
                    literal(&unquoted(column)),
                    literal(text)
                );
                return Ok(vec![Step::Run(call)]);
            }
            Ok(vec![Step::Run(format!("COMMENT ON TABLE {object} IS {}", literal(text)))])
        }
        "RENAME" => {
            let (old, next) = dotted(tokens, 1)?;
            let (new, _) = dotted(tokens, next + 1)?;
            Ok(vec![Step::Run(format!("ALTER TABLE {old} RENAME TO {new}"))])
        }
        verb @ ("GRANT" | "REVOKE") => {
            let Some(on) = tokens.iter().position(|t| t.word() == "ON") else {
                return system_privileges(tokens);
            };
            let (object, next) = dotted(tokens, on + 1)?;
            let rights = expression(&tokens[1..on])?.replace("read", "select");
            let to = if verb == "GRANT" { "TO" } else { "FROM" };
            let users = expression(&tokens[next + 1..])?;
            Ok(vec![Step::Run(format!("{verb} {rights} ON {object} {to} {users}"))])
        }
        _ => Ok(Vec::new()),
    }
}

/// System privileges mean nothing here, but for the one to make and drop accounts.
fn system_privileges(tokens: &[Token]) -> Result<Vec<Step>, OraError> {
    let (may, to) = match word(tokens, 0) {
        "GRANT" => ("CREATEROLE", "TO"),
        _ => ("NOCREATEROLE", "FROM"),
    };
    let at = tokens.iter().position(|t| t.word() == to).unwrap_or(tokens.len());
    let about_users =
        tokens[..at].windows(2).any(|w| (w[0].word(), w[1].word()) == ("CREATE", "USER"));
    if !about_users || at == tokens.len() {
        return Ok(Vec::new());
    }
    let (user, _) = dotted(tokens, at + 1)?;
    Ok(vec![Step::Run(format!("ALTER ROLE {user} {may}"))])
}
