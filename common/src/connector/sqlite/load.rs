//! Landing a batch: one prepared statement, stepped once for each row, inside the caller's
//! transaction.

use std::ops::Range;
use std::path::Path;

use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, RecordBatch, cast::AsArray};
use rusqlite::Connection as Database;

use super::super::{Dialect, LoadPlan, Loaded, WriteMode};
use super::affinity::Affinity;
use super::dialect::SqliteDialect;
use super::store::{Cell, store};
use super::{errors, values};
use crate::bail;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};
use crate::value::DateTime;

/// See [`super::super::Connection::load`].
pub fn load(
    db: &Database,
    file: &Path,
    plan: &LoadPlan,
    batch: &RecordBatch,
    rows: Range<usize>,
) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    if rows.is_empty() {
        return Ok(loaded);
    }
    let inputs = inputs_of(plan, batch, &rows)?;
    let failed = |e| {
        let error = at_column_of(plan, errors::failure(file, e));
        error.context(format!("could not load into {}", plan.table))
    };
    let mut statement = db.prepare_cached(&statement_of(plan)?).map_err(failed)?;
    for row in rows {
        for (i, input) in inputs.iter().enumerate() {
            let cell = input.cell(row);
            if matches!(cell, Cell::Null) && !input.column.nullable {
                // Left to SQLite, a row number or a default might take its place.
                return Err(input.misfit(plan, "NULL where the column is NOT NULL"));
            }
            let stored = store(cell, input.affinity).map_err(|why| input.misfit(plan, why))?;
            values::bind(&mut statement, i + 1, &stored).map_err(failed)?;
        }
        match (statement.raw_execute().map_err(failed)?, plan.mode) {
            (1, _) => loaded.rows += 1,
            (0, WriteMode::Ignore) => loaded.skipped += 1,
            // A trigger can leave a row out without an error.
            _ => bail!(ErrorKind::Data, "{} did not take a row, without an error", plan.table),
        }
    }
    Ok(loaded)
}

/// SQLite names table and column with a dot between; a dot may also be part of either.
fn at_column_of(plan: &LoadPlan, mut error: Error) -> Error {
    if error.column.is_some() {
        let named =
            |c: &&Column| error.details.iter().any(|d| d.ends_with(&format!(".{}", c.name)));
        let found = plan.columns.iter().filter(named).max_by_key(|c| c.name.len());
        error.column = found.map(|c| c.name.clone()).or(error.column);
    }
    error
}

/// The statement for one row. `OR ABORT` overrides what a constraint of the table may say of
/// itself (`UNIQUE … ON CONFLICT IGNORE` would leave rows out silently).
fn statement_of(plan: &LoadPlan) -> Result<String> {
    let dialect = &SqliteDialect;
    if plan.columns.is_empty() {
        bail!(ErrorKind::Internal, "no columns to load into {}", plan.table);
    }
    let names: Vec<String> = plan.columns.iter().map(|c| dialect.quote(&c.name)).collect();
    let key: Vec<String> = plan.key.iter().map(|k| dialect.quote(k)).collect();
    if key.is_empty() && plan.mode != WriteMode::Insert {
        bail!(ErrorKind::Internal, "no key to write {} by", plan.table);
    }
    let verb = match plan.mode {
        WriteMode::Insert | WriteMode::Upsert | WriteMode::Ignore => "INSERT OR ABORT",
        WriteMode::Replace => "INSERT OR REPLACE",
    };
    let insert = format!(
        "{verb} INTO {} ({}) VALUES ({})",
        dialect.table(&plan.table),
        names.join(", "),
        vec!["?"; names.len()].join(", ")
    );
    Ok(match plan.mode {
        WriteMode::Insert | WriteMode::Replace => insert,
        WriteMode::Ignore => format!("{insert} ON CONFLICT ({}) DO NOTHING", key.join(", ")),
        WriteMode::Upsert => {
            let is_key = |c: &Column| plan.key.iter().any(|k| k.eq_ignore_ascii_case(&c.name));
            let set = |name: &String| format!("{name} = excluded.{name}");
            let mut sets: Vec<String> = plan
                .columns
                .iter()
                .zip(&names)
                // A key may be equal and yet not the same: 'a' = 'A', 1 = 1.0.
                .filter(|(c, _)| !is_key(c) || matches!(&*c.family, "text" | "blob" | "any"))
                .map(|(_, name)| set(name))
                .collect();
            if sets.is_empty() {
                sets = vec![set(&key[0])];
            }
            format!("{insert} ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), sets.join(", "))
        }
    })
}

/// A column of the batch on its way into a column of the table.
struct Input<'a> {
    column: &'a Column,
    affinity: Affinity,
    values: Values<'a>,
}

enum Values<'a> {
    Int(&'a arrow_array::Int64Array),
    UInt(&'a arrow_array::UInt64Array),
    Float32(&'a arrow_array::Float32Array),
    Float64(&'a arrow_array::Float64Array),
    Decimal(&'a arrow_array::StringArray),
    Text(&'a arrow_array::StringArray),
    Bytes(&'a arrow_array::BinaryArray),
    Date(&'a arrow_array::Int64Array),
    DateTime(&'a arrow_array::Int64Array),
    Time(&'a arrow_array::Int64Array),
    Any(&'a arrow_array::BinaryArray),
}

fn inputs_of<'a>(
    plan: &'a LoadPlan,
    batch: &'a RecordBatch,
    rows: &Range<usize>,
) -> Result<Vec<Input<'a>>> {
    if plan.kinds.len() != plan.columns.len()
        || batch.num_columns() < plan.columns.len()
        || batch.num_rows() < rows.end
    {
        bail!(
            ErrorKind::Internal,
            "a plan of {} columns and {} kinds for a batch of {} columns and {} rows, of which {:?}",
            plan.columns.len(),
            plan.kinds.len(),
            batch.num_columns(),
            batch.num_rows(),
            rows
        );
    }
    plan.columns
        .iter()
        .zip(&plan.kinds)
        .zip(batch.columns())
        .map(|((column, kind), array)| {
            let values = values_of(*kind, array.as_ref()).ok_or_else(|| {
                let message = format!(
                    "column {} was announced as {kind:?} and came as {}",
                    column.name,
                    array.data_type()
                );
                Error::new(ErrorKind::Internal, message)
            })?;
            let affinity = Affinity::from_family(&column.family)
                .unwrap_or_else(|| Affinity::of(&column.declared, false));
            Ok(Input { column, affinity, values })
        })
        .collect()
}

fn values_of(kind: Kind, array: &dyn Array) -> Option<Values<'_>> {
    Some(match kind {
        Kind::Int => Values::Int(array.as_primitive_opt::<Int64Type>()?),
        Kind::UInt => Values::UInt(array.as_primitive_opt::<UInt64Type>()?),
        Kind::Float32 => Values::Float32(array.as_primitive_opt::<Float32Type>()?),
        Kind::Float64 => Values::Float64(array.as_primitive_opt::<Float64Type>()?),
        Kind::Decimal => Values::Decimal(array.as_string_opt::<i32>()?),
        Kind::Text => Values::Text(array.as_string_opt::<i32>()?),
        Kind::Bytes => Values::Bytes(array.as_binary_opt::<i32>()?),
        Kind::Date => Values::Date(array.as_primitive_opt::<Int64Type>()?),
        Kind::DateTime => Values::DateTime(array.as_primitive_opt::<Int64Type>()?),
        Kind::Time => Values::Time(array.as_primitive_opt::<Int64Type>()?),
        Kind::Any => Values::Any(array.as_binary_opt::<i32>()?),
    })
}

impl<'a> Input<'a> {
    fn cell(&self, row: usize) -> Cell<'a> {
        match self.values {
            _ if self.is_null(row) => Cell::Null,
            Values::Int(a) => Cell::Int(a.value(row)),
            Values::UInt(a) => Cell::UInt(a.value(row)),
            Values::Float32(a) => Cell::Float32(a.value(row)),
            Values::Float64(a) => Cell::Float64(a.value(row)),
            Values::Decimal(a) => Cell::Decimal(a.value(row)),
            Values::Text(a) => Cell::Text(a.value(row)),
            Values::Bytes(a) => Cell::Bytes(a.value(row)),
            Values::Date(a) => Cell::Date(DateTime::from_packed(a.value(row))),
            Values::DateTime(a) => Cell::DateTime(DateTime::from_packed(a.value(row))),
            Values::Time(a) => Cell::Time(a.value(row)),
            Values::Any(a) => Cell::Any(a.value(row)),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self.values {
            Values::Int(a) | Values::Date(a) | Values::DateTime(a) | Values::Time(a) => {
                a.is_null(row)
            }
            Values::UInt(a) => a.is_null(row),
            Values::Float32(a) => a.is_null(row),
            Values::Float64(a) => a.is_null(row),
            Values::Decimal(a) | Values::Text(a) => a.is_null(row),
            Values::Bytes(a) | Values::Any(a) => a.is_null(row),
        }
    }

    fn misfit(&self, plan: &LoadPlan, why: &str) -> Error {
        Error::new(ErrorKind::Data, format!("{}.{}: {why}", plan.table, self.column.name))
            .detail(format!("the column is declared {}", self.column.declared))
            .column(self.column.name.clone())
    }
}
