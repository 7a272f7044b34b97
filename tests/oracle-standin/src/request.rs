//! What an execution asks for.

use crate::session::Session;
use crate::sql::{self, Statement};
use crate::ttc::{Reader, Stop};
use crate::types::{self, OraType};

pub(crate) const PARSE: u32 = 0x01;
pub(crate) const EXECUTE: u32 = 0x20;
pub(crate) const FETCH: u32 = 0x40;
pub(crate) const COMMIT: u32 = 0x100;
pub(crate) const BATCH_ERRORS: u32 = 0x8_0000;

/// Wants to know how many rows each execution of an array affected.
const ROW_COUNTS: u32 = 0x4000;

/// Values from this size come last in a row.
const LONG_BYTES: u32 = 32767;

const ESCAPE: u8 = 253;
const ARRAY: u8 = 0x40;
const CURSOR: u8 = 102;

/// A bind variable as the client describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) kind: OraType,
    array: bool,
}

/// A value that was bound.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Its bytes; none are NULL.
    Bytes(Vec<u8>),
    /// A LOB, by its locator.
    Locator(Vec<u8>),
}

/// A full execution.
pub(crate) struct Execution {
    pub(crate) options: u32,
    pub(crate) cursor: u16,
    pub(crate) sql: Option<String>,
    pub(crate) statement: Option<Result<Statement, crate::ora_error::OraError>>,
    pub(crate) fetch_rows: u32,
    pub(crate) executions: u32,
    pub(crate) binds: Option<Vec<Bind>>,
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) defines: Option<Vec<OraType>>,
    pub(crate) row_counts: bool,
}

/// How many of a statement's binds only receive, and whether it is PL/SQL.
fn shape(statement: Option<&Statement>) -> (usize, bool) {
    match statement {
        Some(Statement::Dml(translated)) => (translated.returning, false),
        Some(Statement::Block(_)) => (0, true),
        _ => (0, false),
    }
}

impl Session {
    pub(crate) fn read_execution(&mut self) -> Result<Execution, Stop> {
        let field_version = self.field_version;
        let reader = &mut self.reader;
        let options = reader.ub4()?;
        let cursor = reader.ub2()?;
        reader.u8()?;
        let sql_length = reader.ub4()?;
        reader.u8()?;
        reader.ub4()?;
        reader.raw(2)?;
        reader.ub4()?;
        let fetch_rows = reader.ub4()?;
        reader.ub4()?;
        reader.u8()?;
        let bind_count = reader.ub4()?;
        reader.raw(5)?;
        reader.u8()?;
        let define_count = reader.ub4()?;
        reader.ub4()?;
        reader.raw(2)?;
        for _ in 0..2 {
            reader.u8()?;
            reader.ub4()?;
        }
        reader.ub4()?;
        reader.u8()?;
        reader.ub4()?;
        reader.u8()?;
        if field_version >= 8 {
            for _ in 0..2 {
                reader.u8()?;
                reader.ub4()?;
            }
            reader.u8()?;
        }
        if field_version >= 9 {
            reader.u8()?;
            reader.ub4()?;
        }
        let sql = if sql_length > 0 {
            Some(String::from_utf8_lossy(&reader.bytes()?).into_owned())
        } else {
            None
        };
        let mut words = [0u32; 13];
        for word in &mut words {
            *word = reader.ub4()?;
        }
        let is_query = words[7] != 0;
        let executions = if is_query { 1 } else { words[1] };

        let statement = sql.as_deref().map(sql::translate);
        let known = self.cursors.get(&cursor).map(|c| &c.statement);
        let (returning, block) =
            shape(statement.as_ref().map_or(known, |result| result.as_ref().ok()));

        let (mut binds, mut rows, mut defines) = (None, Vec::new(), None);
        if define_count > 0 {
            let kinds: Result<Vec<Bind>, Stop> =
                (0..define_count).map(|_| read_bind(&mut self.reader, field_version)).collect();
            defines = Some(kinds?.into_iter().map(|bind| bind.kind).collect());
        } else if bind_count > 0 {
            let all: Result<Vec<Bind>, Stop> =
                (0..bind_count).map(|_| read_bind(&mut self.reader, field_version)).collect();
            let all = all?;
            let inputs = &all[..all.len() - returning.min(all.len())];
            if !inputs.is_empty() {
                for _ in 0..executions {
                    rows.push(read_row(&mut self.reader, inputs, block)?);
                }
            }
            binds = Some(all);
        }
        Ok(Execution {
            options,
            cursor,
            sql,
            statement,
            fetch_rows,
            executions,
            binds,
            rows,
            defines,
            row_counts: words[9] & ROW_COUNTS != 0,
        })
    }

    /// The short form: a cursor once more, with the binds it had.
    pub(crate) fn read_repetition(&mut self, query: bool) -> Result<Execution, Stop> {
        let cursor = self.reader.ub2()?;
        let count = self.reader.ub4()?;
        self.reader.ub4()?;
        let options_2 = self.reader.ub4()?;
        let mut rows = Vec::new();
        let executions = if query { 1 } else { count };
        if let Some(known) = self.cursors.get(&cursor) {
            let (returning, block) = shape(Some(&known.statement));
            let outputs = match &known.statement {
                Statement::Block(block) => block.outputs.clone(),
                _ => Vec::new(),
            };
            let inputs: Vec<Bind> = known.binds
                [..known.binds.len() - returning.min(known.binds.len())]
                .iter()
                .enumerate()
                .filter(|(i, _)| !outputs.contains(&(i + 1)))
                .map(|(_, bind)| bind.clone())
                .collect();
            if !inputs.is_empty() {
                for _ in 0..executions {
                    rows.push(read_row(&mut self.reader, &inputs, block)?);
                }
            }
        }
        let commit = if options_2 & 1 != 0 { COMMIT } else { 0 };
        Ok(Execution {
            options: EXECUTE | if query { FETCH } else { 0 } | commit,
            cursor,
            sql: None,
            statement: None,
            fetch_rows: count,
            executions,
            binds: None,
            rows,
            defines: None,
            row_counts: false,
        })
    }
}

fn read_bind(reader: &mut Reader, field_version: u8) -> Result<Bind, Stop> {
    let number = reader.u8()?;
    let flags = reader.u8()?;
    reader.raw(2)?;
    let bytes = reader.ub4()?;
    reader.ub4()?;
    reader.ub()?;
    reader.bytes_double()?;
    reader.ub4()?;
    reader.ub2()?;
    let form = reader.u8()?;
    reader.ub4()?;
    if field_version >= 8 {
        reader.ub4()?;
    }
    let mut kind = OraType::new(number, bytes);
    kind.form = form;
    Ok(Bind { kind, array: flags & ARRAY != 0 })
}

fn read_row(reader: &mut Reader, binds: &[Bind], block: bool) -> Result<Vec<Value>, Stop> {
    match reader.u8()? {
        7 => {}
        other => return Err(Stop::Unknown(format!("message {other} in place of bound values"))),
    }
    let is_long = |bind: &Bind| !block && bind.kind.bytes > LONG_BYTES;
    let mut row = vec![Value::Bytes(Vec::new()); binds.len()];
    for long in [false, true] {
        for (bind, slot) in binds.iter().zip(&mut row) {
            if is_long(bind) == long {
                *slot = read_value(reader, bind)?;
            }
        }
    }
    Ok(row)
}

fn read_value(reader: &mut Reader, bind: &Bind) -> Result<Value, Stop> {
    if bind.array {
        return Err(Stop::Unknown("an array for PL/SQL".to_owned()));
    }
    match bind.kind.number {
        types::CLOB | types::BLOB => Ok(Value::Locator(reader.bytes_double()?)),
        types::BOOLEAN => {
            let length = reader.u8()?;
            if length == ESCAPE {
                reader.u8()?;
                return Ok(Value::Bytes(Vec::new()));
            }
            Ok(Value::Bytes(reader.raw(length.into())?))
        }
        // Objects, JSON and vectors have layouts of their own.
        CURSOR | 109 | 119 | 127 => {
            Err(Stop::Unknown(format!("a bind of type {}", bind.kind.number)))
        }
        _ => Ok(Value::Bytes(reader.bytes()?)),
    }
}
