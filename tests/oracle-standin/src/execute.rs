//! Statements are executed and rows fetched.

use std::collections::VecDeque;

use crate::answer::{self, Outcome};
use crate::backend::{Backend, Column, Failure, Row};
use crate::faults::Moment;
use crate::ora_error::{Doing, OraError, shown};
use crate::request::{self, Bind, Execution, Value};
use crate::session::{Fail, Session};
use crate::sql::{Order, Statement, Translated, literal, quote};
use crate::ttc::{Stop, Writer};
use crate::types::{self, OraType};

const TEXT: u32 = 25;

/// Directions of binds.
pub(crate) const INPUT: u8 = 0x20;
pub(crate) const OUTPUT: u8 = 0x10;

/// An open statement of a session.
pub(crate) struct Cursor {
    pub(crate) statement: Statement,
    sql: String,
    pub(crate) binds: Vec<Bind>,
    pub(crate) prepared: Option<Prepared>,
    /// What the client was told the columns are.
    described: Vec<(String, OraType)>,
    /// What the client wants columns as.
    defines: Option<Vec<OraType>>,
    rows: VecDeque<Row>,
    fetched: u64,
}

pub(crate) struct Prepared {
    parameters: Vec<u32>,
    columns: Vec<(String, OraType)>,
}

impl Session {
    pub(crate) fn execute(&mut self) -> Result<(), Stop> {
        let request = self.read_execution()?;
        self.perform(request)
    }

    pub(crate) fn execute_again(&mut self, query: bool) -> Result<(), Stop> {
        let request = self.read_repetition(query)?;
        self.perform(request)
    }

    fn perform(&mut self, mut request: Execution) -> Result<(), Stop> {
        let mut answer = Writer::default();
        let (cursor, result) = match self.open(&mut request) {
            Ok(cursor) => (cursor, self.run(cursor, &request, &mut answer)),
            Err(error) => (0, Err(Fail::Ora(error))),
        };
        match result {
            Ok(outcome) => self.outcome(&mut answer, &outcome),
            Err(Fail::Ora(error)) => {
                answer = Writer::default();
                self.outcome(&mut answer, &Outcome::failed(cursor, error));
            }
            Err(Fail::Stop(stop)) => return Err(stop),
        }
        self.send(answer)
    }

    /// The cursor that the request is about, new where it brings SQL.
    fn open(&mut self, request: &mut Execution) -> Result<u16, OraError> {
        let mut id = request.cursor;
        if let Some(statement) = request.statement.take() {
            let statement = statement?;
            if id == 0 {
                id = (1..u16::MAX)
                    .find(|id| !self.cursors.contains_key(id))
                    .ok_or_else(|| OraError::new(1000, "maximum open cursors exceeded"))?;
            }
            let cursor = Cursor {
                statement,
                sql: request.sql.take().unwrap_or_default(),
                binds: Vec::new(),
                prepared: None,
                described: Vec::new(),
                defines: None,
                rows: VecDeque::new(),
                fetched: 0,
            };
            self.cursors.insert(id, cursor);
        }
        let cursor =
            self.cursors.get_mut(&id).ok_or_else(|| OraError::new(1001, "invalid cursor"))?;
        if let Some(binds) = request.binds.take() {
            cursor.binds = binds;
        }
        if let Some(defines) = request.defines.take() {
            cursor.defines = Some(defines);
        }
        Ok(id)
    }

    fn run(&mut self, id: u16, request: &Execution, answer: &mut Writer) -> Result<Outcome, Fail> {
        let cursor = self.cursor(id)?;
        let (statement, sql) = (cursor.statement.clone(), cursor.sql.clone());
        let executes = request.options & request::EXECUTE != 0;
        let ends = matches!(
            statement,
            Statement::Order(Order::Commit | Order::Rollback | Order::RollbackTo(_))
        );
        if executes && !ends {
            self.fault(Moment::Execute, &sql)?;
        }
        let mut outcome = match &statement {
            Statement::Query(query) => self.query(id, query, request, answer)?,
            _ if !executes => Outcome::default(),
            Statement::Dml(dml) => self.dml(id, dml, request, answer)?,
            Statement::Ddl(steps) => {
                self.ddl(steps)?;
                Outcome::default()
            }
            Statement::Order(order) => {
                self.order(order)?;
                Outcome::default()
            }
            Statement::Block(block) => self.block(id, block, request, answer)?,
        };
        outcome.cursor = id;
        let failed = outcome.error.as_ref().is_some_and(|e| e.code != 1403);
        if executes && request.options & request::COMMIT != 0 && !failed {
            self.finish(Moment::Commit)?;
        }
        Ok(outcome)
    }

    pub(crate) fn cursor(&mut self, id: u16) -> Result<&mut Cursor, OraError> {
        self.cursors.get_mut(&id).ok_or_else(|| OraError::new(1001, "invalid cursor"))
    }

    /// Runs something that fails as a whole: what it did is undone, the transaction goes on.
    pub(crate) fn guarded<T>(
        &mut self,
        doing: Doing,
        work: impl FnOnce(&mut Backend) -> Result<T, Failure>,
    ) -> Result<T, Fail> {
        self.work(doing, |backend| {
            if !backend.in_transaction() {
                return work(backend);
            }
            backend.script("SAVEPOINT \"ora$s\"")?;
            let result = match work(backend) {
                Ok(value) => backend.script("RELEASE \"ora$s\"").map(|_| value),
                Err(failure) => Err(failure),
            };
            if let Err(Failure::Sql(_)) = &result {
                backend.script("ROLLBACK TO \"ora$s\"; RELEASE \"ora$s\"")?;
            }
            result
        })
    }

    /// Prepares a cursor's statement for the binds that it has now.
    pub(crate) fn prepare(&mut self, id: u16, translated: &Translated) -> Result<(), Fail> {
        let own = self.own.clone();
        let cursor = self.cursor(id)?;
        let inputs = cursor.binds.len().saturating_sub(translated.returning);
        if inputs < translated.binds.len().saturating_sub(translated.returning) {
            return Err(OraError::new(1008, "not all variables bound").into());
        }
        let parameters: Vec<u32> =
            cursor.binds[..inputs].iter().map(|bind| bind.kind.parameter(&own)).collect();
        if cursor.prepared.as_ref().is_some_and(|p| p.parameters == parameters) {
            return Ok(());
        }
        let (name, sql) = (format!("c{id}"), &translated.sql);
        let columns = self
            .guarded(Doing::Other, |backend| prepared_columns(backend, &name, sql, &parameters))
            .map_err(|fail| at_source(fail, translated))?;
        let columns = self.described(&columns)?;
        self.cursor(id)?.prepared = Some(Prepared { parameters, columns });
        Ok(())
    }

    /// What columns are to Oracle: as they were declared, or as their type is.
    fn described(&mut self, columns: &[Column]) -> Result<Vec<(String, OraType)>, Fail> {
        let places: Vec<String> = columns
            .iter()
            .filter(|c| c.table != 0)
            .map(|c| format!("({}, {})", c.table, c.position))
            .collect();
        let mut declared = Vec::new();
        if !places.is_empty() {
            let sql = format!(
                "SELECT CAST(attrelid AS int8), attnum, attnotnull, col_description(attrelid, attnum) \
                 FROM pg_attribute WHERE (CAST(attrelid AS int8), attnum) IN ({})",
                places.join(", ")
            );
            declared = self.guarded(Doing::Other, |backend| backend.script(&sql))?;
        }
        let text = |value: &Option<Vec<u8>>| {
            String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned()
        };
        Ok(columns
            .iter()
            .map(|column| {
                let row = declared.iter().find(|row| {
                    text(&row[0]) == column.table.to_string()
                        && text(&row[1]) == column.position.to_string()
                });
                let mut kind = row
                    .and_then(|row| OraType::declared(&text(&row[3])))
                    .unwrap_or_else(|| OraType::of_expression(column, &self.own));
                kind.nullable = row.is_none_or(|row| text(&row[2]) != "t");
                let name = match column.name.as_str() {
                    "?column?" => "EXPR".to_owned(),
                    name => shown(name),
                };
                (name, kind)
            })
            .collect())
    }

    /// The values of a row of binds as PostgreSQL reads them.
    pub(crate) fn values(&mut self, id: u16, row: &[Value]) -> Result<Row, Fail> {
        let kinds: Vec<OraType> = self.cursor(id)?.binds.iter().map(|b| b.kind.clone()).collect();
        let values: Result<Row, OraError> = kinds
            .iter()
            .zip(row)
            .map(|(kind, value)| match value {
                Value::Bytes(bytes) => kind.read(bytes),
                Value::Locator(locator) => self.lobs.bound(locator),
            })
            .collect();
        Ok(values?)
    }

    // --- Queries ------------------------------------------------------------------------------

    fn query(
        &mut self,
        id: u16,
        query: &Translated,
        request: &Execution,
        answer: &mut Writer,
    ) -> Result<Outcome, Fail> {
        let executes = request.options & request::EXECUTE != 0;
        let parses = request.options & request::PARSE != 0;
        if executes || parses {
            self.prepare(id, query)?;
        }
        if executes {
            let row = match request.rows.first() {
                Some(row) => self.values(id, row)?,
                None => Row::new(),
            };
            if query.locks {
                self.begin_transaction("")?;
            }
            let rows = self.rows(id, query, &row)?;
            let cursor = self.cursor(id)?;
            cursor.rows = rows.into();
            cursor.fetched = 0;
        }
        let columns = match &self.cursor(id)?.prepared {
            Some(prepared) => prepared.columns.clone(),
            None => Vec::new(),
        };
        let cursor = self.cursor(id)?;
        let changed = cursor.described != columns && !cursor.described.is_empty();
        if changed && executes {
            cursor.defines = defines_after_change(&cursor.described, &columns);
        }
        if parses || (changed && executes) {
            cursor.described.clone_from(&columns);
            self.description(answer, &columns);
        }
        let has_lobs = columns.iter().any(|(_, kind)| kind.is_lob());
        let fetches = request.options & request::FETCH != 0;
        if fetches && (!has_lobs || self.cursor(id)?.defines.is_some()) {
            return self.send_rows(id, request.fetch_rows, answer);
        }
        Ok(Outcome::default())
    }

    /// Runs a prepared query, and once more if its tables have changed since.
    fn rows(&mut self, id: u16, query: &Translated, row: &Row) -> Result<Vec<Row>, Fail> {
        let name = format!("c{id}");
        let doing = query.wait_secs.map_or(Doing::Other, Doing::WaitingFor);
        let run = |session: &mut Session| {
            session.guarded(doing, |backend| {
                limited(backend, query.wait_secs, |backend| backend.run(&name, row))
            })
        };
        let mut result = run(self);
        if let Err(Fail::Ora(error)) = &result
            && error.message.contains("cached plan")
        {
            self.cursor(id)?.prepared = None;
            self.prepare(id, query)?;
            result = run(self);
        }
        result.map(|(rows, _)| rows).map_err(|fail| at_source(fail, query))
    }

    /// Answers with the next rows of a cursor.
    fn send_rows(&mut self, id: u16, most: u32, answer: &mut Writer) -> Result<Outcome, Fail> {
        let cursor =
            self.cursors.get_mut(&id).ok_or_else(|| OraError::new(1001, "invalid cursor"))?;
        let mut kinds: Vec<OraType> = match &cursor.prepared {
            Some(prepared) => prepared.columns.iter().map(|(_, kind)| kind.clone()).collect(),
            None => return Err(OraError::new(1002, "fetch out of sequence").into()),
        };
        if let Some(defines) = &cursor.defines {
            // A LOB may be wanted as a LONG; nothing else changes.
            for (kind, define) in kinds.iter_mut().zip(defines) {
                if kind.is_lob() {
                    kind.number = define.number;
                }
            }
        }
        let count = cursor.rows.len().min(most as usize);
        let rows: Vec<Row> = cursor.rows.drain(..count).collect();
        cursor.fetched += count as u64;
        let (fetched, done) = (cursor.fetched, count < most as usize);
        if !rows.is_empty() {
            answer::row_header(answer, count as u64);
        }
        let mut before = None;
        for row in &rows {
            answer::row(answer, &kinds, row, before, &mut self.lobs)?;
            before = Some(row);
        }
        let error = done.then(|| OraError::new(1403, "no data found"));
        Ok(Outcome { cursor: id, rows: fetched, error, ..Outcome::default() })
    }

    /// Reads and answers a call for further rows.
    pub(crate) fn fetch(&mut self) -> Result<(), Stop> {
        let id = self.reader.ub2()?;
        let most = self.reader.ub4()?;
        let mut answer = Writer::default();
        let sql = self.cursors.get(&id).map(|c| c.sql.clone()).unwrap_or_default();
        let result = match self.fault(Moment::Fetch, &sql) {
            Ok(()) => self.send_rows(id, most, &mut answer),
            Err(fail) => Err(fail),
        };
        match result {
            Ok(outcome) => self.outcome(&mut answer, &outcome),
            Err(Fail::Ora(error)) => {
                answer = Writer::default();
                self.outcome(&mut answer, &Outcome::failed(id, error));
            }
            Err(Fail::Stop(stop)) => return Err(stop),
        }
        self.send(answer)
    }
}

/// A LOB in the place of what was a string before is sent as a LONG: so Oracle does when a table
/// was made anew under an open cursor. Other LOBs are to be defined again.
fn defines_after_change(
    before: &[(String, OraType)],
    after: &[(String, OraType)],
) -> Option<Vec<OraType>> {
    let mut defines: Vec<OraType> = after.iter().map(|(_, kind)| kind.clone()).collect();
    for (place, define) in defines.iter_mut().enumerate().filter(|(_, kind)| kind.is_lob()) {
        let number = before.get(place).map_or(0, |(_, kind)| kind.number);
        define.number = match (define.number, number) {
            (types::CLOB, types::VARCHAR | types::CHAR | types::LONG) => types::LONG,
            (types::BLOB, types::RAW | types::LONG_RAW) => types::LONG_RAW,
            _ => return None,
        };
    }
    Some(defines)
}

/// Prepares, with text for what PostgreSQL cannot find out.
fn prepared_columns(
    backend: &mut Backend,
    name: &str,
    sql: &str,
    parameters: &[u32],
) -> Result<Vec<Column>, Failure> {
    let nested = backend.in_transaction();
    if nested {
        backend.script("SAVEPOINT \"ora$p\"")?;
    }
    let columns = match backend.prepare(name, sql, parameters) {
        Err(Failure::Sql(error)) if matches!(error.state(), "42P18" | "42725" | "42P08") => {
            if nested {
                backend.script("ROLLBACK TO \"ora$p\"")?;
            }
            let known: Vec<u32> =
                parameters.iter().map(|p| if *p == 0 { TEXT } else { *p }).collect();
            backend.prepare(name, sql, &known)?.1
        }
        Err(failure) => return Err(failure),
        Ok((_, columns)) => columns,
    };
    if nested {
        backend.script("RELEASE \"ora$p\"")?;
    }
    Ok(columns)
}

/// Waits for locks no longer than so many seconds.
pub(crate) fn limited<T>(
    backend: &mut Backend,
    wait_secs: Option<u32>,
    work: impl FnOnce(&mut Backend) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(secs) = wait_secs else { return work(backend) };
    backend.script(&format!("SET LOCAL lock_timeout = {}", (secs * 1000).max(1)))?;
    let value = work(backend)?;
    backend.script("SET LOCAL lock_timeout = 0")?;
    Ok(value)
}

pub(crate) fn at_source(fail: Fail, translated: &Translated) -> Fail {
    match fail {
        Fail::Ora(error) => {
            let place = translated.source_of(error.offset.into());
            Fail::Ora(error.at(place))
        }
        Fail::Stop(stop) => Fail::Stop(stop),
    }
}

/// A value as a literal of its type.
pub(crate) fn value_literal(
    kind: &OraType,
    own: &crate::types::OwnTypes,
    value: Option<&[u8]>,
) -> String {
    let Some(value) = value else { return "NULL".to_owned() };
    let text = literal(&String::from_utf8_lossy(value));
    match kind.parameter(own) {
        1700 => format!("CAST({text} AS numeric)"),
        700 => format!("CAST({text} AS float4)"),
        701 => format!("CAST({text} AS float8)"),
        1114 => format!("CAST({text} AS timestamp)"),
        1184 => format!("CAST({text} AS timestamptz)"),
        1186 => format!("CAST({text} AS interval)"),
        16 => format!("CAST({text} AS bool)"),
        17 => format!("CAST({text} AS bytea)"),
        oid if oid == own.stamp && oid != 0 => format!("CAST({text} AS stamp9)"),
        oid if oid == own.zoned && oid != 0 => format!("CAST({text} AS zoned9)"),
        oid if oid == own.span && oid != 0 => format!("CAST({text} AS span9)"),
        oid if oid == own.months && oid != 0 => format!("CAST({text} AS months)"),
        oid if oid == own.date && oid != 0 => format!("CAST({text} AS {})", quote("oradate")),
        _ => text,
    }
}
