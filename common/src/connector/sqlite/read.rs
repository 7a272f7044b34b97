//! Reading a query's rows into batches.
//!
//! Source and destination may be the same file, and whoever takes a batch may hold on to it until
//! a writer has committed. Nothing here may keep that writer waiting, so:
//!
//! - reads run outside transactions that write, and the log (WAL) lets others write while we read;
//! - the last full batch is held back until the statement has ended, so that the usual read, of
//!   about one batch of rows, has closed its statement before anybody waits: a snapshot held
//!   for long keeps SQLite from cutting its log. A longer read holds its snapshot while it hands
//!   on, at the cost of a longer log, never of a deadlock; at most two batches are in memory.

use std::path::Path;

use rusqlite::Connection as Database;
use rusqlite::types::ValueRef;

use super::{errors, values};
use crate::bail;
use crate::batch::{BatchBuilder, Emit, ReadBatch};
use crate::error::{Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};
use crate::value::Value;

/// See [`super::super::Connection::read`].
pub fn read(
    db: &Database,
    file: &Path,
    sql: &str,
    params: &[Value],
    columns: &[Column],
    builder: &mut BatchBuilder,
    emit: &mut Emit<'_>,
) -> Result<u64> {
    let failed = |e| errors::failure(file, e).context("could not read rows");
    let mut held: Option<ReadBatch> = None;
    let mut hold = |batch: ReadBatch| match held.replace(batch) {
        Some(earlier) => emit(earlier),
        None => Ok(()),
    };
    let mut count = 0;
    {
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        if statement.column_count() != columns.len() {
            bail!(
                ErrorKind::Internal,
                "a query of {} columns was announced as one of {}",
                statement.column_count(),
                columns.len()
            );
        }
        values::bind_all(&mut statement, params, file)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            for (i, column) in columns.iter().enumerate() {
                append(builder, i, column, row.get_ref(i).map_err(failed)?)?;
            }
            builder.end_row(&mut hold)?;
            count += 1;
        }
    }
    builder.flush(&mut hold)?;
    held.map_or(Ok(()), emit)?;
    Ok(count)
}

fn append(
    builder: &mut BatchBuilder,
    i: usize,
    column: &Column,
    value: ValueRef<'_>,
) -> Result<()> {
    match (column.kind, value) {
        (_, ValueRef::Null) => builder.null(i),
        (Kind::Int, ValueRef::Integer(v)) => builder.int(i, v),
        (Kind::Float64, ValueRef::Real(v)) => builder.float64(i, v),
        (Kind::Text, ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => builder.text(i, text),
            Err(_) => builder.bad(i, "text that is not UTF-8"),
        },
        (Kind::Bytes, ValueRef::Blob(bytes)) => builder.bytes(i, bytes),
        (Kind::Any, ValueRef::Integer(v)) => builder.bytes(i, &tagged8(b'i', v.to_le_bytes())),
        (Kind::Any, ValueRef::Real(v)) => {
            builder.bytes(i, &tagged8(b'f', v.to_bits().to_le_bytes()));
        }
        (Kind::Any, ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
            Ok(_) => builder.bytes(i, &[b"t", bytes].concat()),
            Err(_) => builder.bad(i, "text that is not UTF-8"),
        },
        (Kind::Any, ValueRef::Blob(bytes)) => builder.bytes(i, &[b"b", bytes].concat()),
        (Kind::Int | Kind::Float64 | Kind::Text | Kind::Bytes, other) => builder.bad(
            i,
            format!(
                "a value of type {} in a column declared {}",
                other.data_type(),
                column.declared
            ),
        ),
        (kind, _) => bail!(ErrorKind::Internal, "SQLite does not send values as {kind:?}"),
    }
    Ok(())
}

fn tagged8(tag: u8, bytes: [u8; 8]) -> [u8; 9] {
    let mut tagged = [tag; 9];
    tagged[1..].copy_from_slice(&bytes);
    tagged
}
