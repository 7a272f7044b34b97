//! Single values: parameters and small results.

use std::path::Path;

use rusqlite::Statement;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::errors;
use super::store::{Cell, Stored, store};
use crate::bail;
use crate::connector::sqlite::affinity::Affinity;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::value::Value;

/// Binds every parameter of a statement.
pub fn bind_all(statement: &mut Statement<'_>, params: &[Value], file: &Path) -> Result<()> {
    if statement.parameter_count() != params.len() {
        bail!(
            ErrorKind::Internal,
            "{} parameters given, {} expected",
            params.len(),
            statement.parameter_count()
        );
    }
    for (i, value) in params.iter().enumerate() {
        let stored = store(cell_of(value), Affinity::Any).map_err(|misfit| {
            Error::new(ErrorKind::Data, format!("parameter {}: {misfit}", i + 1))
        })?;
        bind(statement, i + 1, &stored).map_err(|e| errors::failure(file, e))?;
    }
    Ok(())
}

/// Binds parameter `n`, from 1.
pub fn bind(statement: &mut Statement<'_>, n: usize, stored: &Stored<'_>) -> rusqlite::Result<()> {
    let value = match stored {
        Stored::Null => ValueRef::Null,
        Stored::Int(v) => ValueRef::Integer(*v),
        Stored::Real(v) => ValueRef::Real(*v),
        Stored::Text(t) => ValueRef::Text(t.as_bytes()),
        Stored::Blob(b) => ValueRef::Blob(b),
    };
    statement.raw_bind_parameter(n, ToSqlOutput::Borrowed(value))
}

/// A value of a small result. Text that is not UTF-8 is an error: as bytes it would compare
/// otherwise, and a walk along such a key would lose rows.
pub fn value_of(value: ValueRef<'_>) -> Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(v) => Value::Int(v),
        ValueRef::Real(v) => Value::Float(v),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => bail!(ErrorKind::Data, "a text value is not UTF-8"),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    })
}

fn cell_of(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Int(v) => Cell::Int(*v),
        Value::UInt(v) => Cell::UInt(*v),
        Value::Float(v) => Cell::Float64(*v),
        Value::Decimal(t) => Cell::Decimal(t),
        Value::Text(t) => Cell::Text(t),
        Value::Bytes(b) => Cell::Bytes(b),
        Value::Date(d) => Cell::Date(*d),
        Value::DateTime(d) => Cell::DateTime(*d),
        Value::Time(t) => Cell::Time(*t),
    }
}
