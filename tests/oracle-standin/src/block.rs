//! PL/SQL blocks are run, statement by statement.

use crate::answer::{self, Outcome};
use crate::backend::Row;
use crate::execute::{INPUT, OUTPUT, value_literal};
use crate::ora_error::{Doing, OraError};
use crate::request::Execution;
use crate::session::{Fail, Session};
use crate::sql::block::{Action, Block};
use crate::sql::expression::expression;
use crate::sql::lex::{Kind, Token};
use crate::sql::{self, Statement};
use crate::ttc::Writer;
use crate::types::OraType;

/// The values of a block's binds while it runs.
struct Variables {
    kinds: Vec<OraType>,
    values: Row,
}

impl Session {
    pub(crate) fn block(
        &mut self,
        id: u16,
        block: &Block,
        request: &Execution,
        answer: &mut Writer,
    ) -> Result<Outcome, Fail> {
        let kinds: Vec<OraType> = self.cursor(id)?.binds.iter().map(|b| b.kind.clone()).collect();
        let outputs: Vec<usize> =
            (0..kinds.len()).filter(|i| block.outputs.contains(&(i + 1))).collect();
        if !kinds.is_empty() {
            let directions: Vec<u8> = (0..kinds.len())
                .map(|i| if outputs.contains(&i) { OUTPUT } else { INPUT })
                .collect();
            self.directions(answer, &directions);
        }
        let mut rows = request.rows.clone();
        if rows.is_empty() {
            rows.push(Vec::new());
        }
        for row in &rows {
            // A repetition brings the inputs only.
            let mut values: Row = vec![None; kinds.len()];
            let given: Vec<usize> = if row.len() == kinds.len() {
                (0..kinds.len()).collect()
            } else {
                (0..kinds.len()).filter(|i| !outputs.contains(i)).collect()
            };
            for (place, value) in given.into_iter().zip(row) {
                values[place] = match value {
                    crate::request::Value::Bytes(bytes) => kinds[place].read(bytes)?,
                    crate::request::Value::Locator(locator) => self.lobs.bound(locator)?,
                };
            }
            let mut variables = Variables { kinds: kinds.clone(), values };
            self.run_block(block, &mut variables)?;
            if !outputs.is_empty() {
                answer.u8(7);
                for &i in &outputs {
                    answer::output(answer, &kinds[i], variables.values[i].as_deref())?;
                }
            }
        }
        Ok(Outcome { rows: rows.len() as u64, ..Outcome::default() })
    }

    fn run_block(&mut self, block: &Block, variables: &mut Variables) -> Result<(), Fail> {
        let mut result = Ok(());
        for action in &block.actions {
            result = self.act(action, variables);
            if result.is_err() {
                break;
            }
        }
        match (result, &block.handler) {
            (Err(Fail::Ora(error)), Some(handler)) => {
                if handler.only.as_ref().is_some_and(|only| !only.contains(&error.code)) {
                    return Err(Fail::Ora(error));
                }
                for action in &handler.actions {
                    match action {
                        Action::Reraise => return Err(Fail::Ora(error)),
                        other => self.act(other, variables)?,
                    }
                }
                Ok(())
            }
            (result, _) => result,
        }
    }

    fn act(&mut self, action: &Action, variables: &mut Variables) -> Result<(), Fail> {
        match action {
            Action::Nothing => Ok(()),
            Action::Reraise => {
                Err(OraError::new(6510, "PL/SQL: unhandled user-defined exception").into())
            }
            Action::Sql(tokens) => {
                let statement = sql::understand(self.filled(tokens, variables))?;
                self.run_plain(&statement)
            }
            Action::Dynamic(tokens) => {
                let text = self.evaluate(tokens, variables)?.unwrap_or_default();
                let statement = sql::translate(&text)?;
                self.run_plain(&statement)
            }
            Action::Assign { binds, query } => {
                let sql = sql::query::query(self.filled(query, variables))?.sql;
                let rows = self.guarded(Doing::Other, |backend| backend.script(&sql))?;
                let row = match &rows[..] {
                    [] => return Err(OraError::new(1403, "no data found").into()),
                    [row] => row,
                    _ => {
                        let text = "exact fetch returns more than requested number of rows";
                        return Err(OraError::new(1422, text).into());
                    }
                };
                for (bind, value) in binds.iter().zip(row) {
                    if let Some(slot) = variables.values.get_mut(bind - 1) {
                        slot.clone_from(value);
                    }
                }
                Ok(())
            }
            // The first of their arguments is the one cursor.
            Action::Call { procedure, .. } if procedure == "DBMS_SQL.CLOSE_CURSOR" => Ok(()),
            Action::Call { procedure, arguments } if procedure == "DBMS_SQL.PARSE" => {
                let text = match arguments.get(1) {
                    Some(text) => self.evaluate(text, variables)?.unwrap_or_default(),
                    None => String::new(),
                };
                self.parse_only(&sql::translate(&text)?)
            }
            Action::Call { procedure, arguments } => {
                let mut values = Vec::new();
                for argument in arguments {
                    values.push(self.evaluate(argument, variables)?.unwrap_or_default());
                }
                self.procedure(procedure, &values)
            }
        }
    }

    /// What DBMS_SQL.PARSE does: definitions are run, the rest is looked at.
    fn parse_only(&mut self, statement: &Statement) -> Result<(), Fail> {
        match statement {
            Statement::Query(translated) | Statement::Dml(translated) => {
                let sql = format!("EXPLAIN {}", translated.sql);
                self.guarded(Doing::Other, |backend| backend.script(&sql).map(|_| ()))
            }
            other => self.run_plain(other),
        }
    }

    fn procedure(&mut self, procedure: &str, arguments: &[String]) -> Result<(), Fail> {
        let argument = |i: usize| arguments.get(i).map_or("", String::as_str);
        let name = procedure.strip_prefix("SYS.").unwrap_or(procedure);
        match name {
            "DBMS_LOCK.SLEEP" | "DBMS_SESSION.SLEEP" => {
                let sql = format!("SELECT pg_sleep({})", sql::literal(argument(0)));
                self.guarded(Doing::Other, |backend| backend.script(&sql).map(|_| ()))
            }
            "DBMS_SESSION.SET_IDENTIFIER" => Ok(self.set("client_identifier", argument(0))?),
            "DBMS_APPLICATION_INFO.SET_MODULE" => {
                self.set("module", argument(0))?;
                Ok(self.set("action", argument(1))?)
            }
            "DBMS_APPLICATION_INFO.SET_ACTION" => Ok(self.set("action", argument(0))?),
            "DBMS_APPLICATION_INFO.SET_CLIENT_INFO" => Ok(self.set("client_info", argument(0))?),
            "RAISE_APPLICATION_ERROR" => {
                let code = argument(0).trim_start_matches('-').parse().unwrap_or(20000);
                Err(OraError::new(code, argument(1)).into())
            }
            _ if name.starts_with("DBMS_STATS.") || name.starts_with("DBMS_OUTPUT.") => Ok(()),
            _ => {
                let text =
                    format!("line 1, column 7:\nPLS-00201: identifier '{name}' must be declared");
                Err(OraError::new(6550, &text).into())
            }
        }
    }

    /// Tokens with the binds' values in place of the binds.
    fn filled(&self, tokens: &[Token], variables: &Variables) -> Vec<Token> {
        let mut filled = tokens.to_vec();
        for token in &mut filled {
            if let Kind::Bind(_, index) = token.kind {
                let value = variables.values.get(index - 1).and_then(Option::as_deref);
                let text = match variables.kinds.get(index - 1) {
                    Some(kind) => value_literal(kind, &self.own, value),
                    None => "NULL".to_owned(),
                };
                token.kind = Kind::Raw(text);
            }
        }
        filled
    }

    fn evaluate(
        &mut self,
        tokens: &[Token],
        variables: &Variables,
    ) -> Result<Option<String>, Fail> {
        let sql = format!("SELECT {}", expression(&self.filled(tokens, variables))?);
        let rows = self.guarded(Doing::Other, |backend| backend.script(&sql))?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Runs a statement without binds.
    fn run_plain(&mut self, statement: &Statement) -> Result<(), Fail> {
        match statement {
            Statement::Query(translated) | Statement::Dml(translated) => {
                self.begin_transaction("")?;
                let doing = if translated.is_update { Doing::Update } else { Doing::Other };
                self.guarded(doing, |backend| backend.script(&translated.sql).map(|_| ()))
            }
            Statement::Ddl(steps) => self.ddl(steps),
            Statement::Order(order) => self.order(order),
            Statement::Block(block) => {
                let mut none = Variables { kinds: Vec::new(), values: Row::new() };
                self.run_block(block, &mut none)
            }
        }
    }
}
