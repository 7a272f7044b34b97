//! SQLite: the embedded default, and a source and destination like any other.
//!
//! - [`connect`] opens a file and pins what the guarantees rest on: the write-ahead log,
//!   `synchronous=FULL`, `foreign_keys=ON`; a name in double quotes is never a string.
//! - [`affinity`] and [`store`] know what SQLite would convert, so that nothing is.
//! - [`describe`], [`read`], [`load`] do what [`Connection`]'s methods of that name promise;
//!   [`ddl`] repeats tables under another name, [`swap`] looks before one takes another's place; [`errors`] gives failures their kind.

mod affinity;
mod connect;
mod ddl;
mod describe;
mod dialect;
mod errors;
mod load;
mod read;
mod store;
mod swap;
mod values;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use rusqlite::Connection as Database;

pub use dialect::SqliteDialect;

use super::{Connection, Dialect, Gap, LinkParams, LoadPlan, Loaded, LockWait, Need};
use crate::bail;
use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Table};
use crate::value::Value;

/// Opens the file that the link's URL names. Fails with [`ErrorKind::Config`] when it is not
/// there and the URL does not say `?create=true`.
pub fn open(link: &LinkParams) -> Result<Box<dyn Connection>> {
    let (db, file) = connect::open(link)?;
    let identity = connect::identity(&file);
    Ok(Box::new(SqliteConnection { db, file, identity, in_transaction: false }))
}

struct SqliteConnection {
    db: Database,
    file: PathBuf,
    /// The file's, as it was when it was opened: later the path may lead to another one.
    identity: String,
    /// A transaction that [`Connection::begin`] began has not ended.
    in_transaction: bool,
}

impl SqliteConnection {
    fn failed(&self, cause: rusqlite::Error) -> Error {
        errors::failure(&self.file, cause)
    }

    /// After some errors (disk full, input and output) SQLite ends the transaction by itself;
    /// what follows must not become a transaction of its own, statement by statement.
    fn still_in_transaction(&self) -> Result<()> {
        if self.in_transaction && self.db.is_autocommit() {
            bail!(ErrorKind::Database, "the transaction has ended by an earlier error");
        }
        Ok(())
    }

    /// A statement of the user's that begins a transaction would leave it open.
    fn no_stray_transaction(&mut self) -> Result<()> {
        if !self.in_transaction && !self.db.is_autocommit() {
            self.rollback()?;
            return Err(Error::new(ErrorKind::Config, "a statement opened a transaction").hint(
                "Each statement is a transaction of its own; leave BEGIN and SAVEPOINT out.",
            ));
        }
        Ok(())
    }
}

impl Connection for SqliteConnection {
    fn dialect(&self) -> &'static dyn Dialect {
        &SqliteDialect
    }

    fn server(&self) -> String {
        format!("SQLite {}", rusqlite::version())
    }

    fn server_identity(&mut self) -> Result<String> {
        Ok(self.identity.clone())
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        self.still_in_transaction()?;
        let before = self.db.total_changes();
        {
            let mut statement = self.db.prepare_cached(sql).map_err(|e| self.failed(e))?;
            values::bind_all(&mut statement, params, &self.file)?;
            let mut rows = statement.raw_query();
            while rows.next().map_err(|e| self.failed(e))?.is_some() {}
        }
        self.no_stray_transaction()?;
        // SQLite's count stays that of an earlier statement when this one changed nothing.
        Ok(if self.db.total_changes() == before { 0 } else { self.db.changes() })
    }

    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>> {
        self.still_in_transaction()?;
        let mut statement = self.db.prepare_cached(sql).map_err(|e| self.failed(e))?;
        values::bind_all(&mut statement, params, &self.file)?;
        let width = statement.column_count();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.raw_query();
        let mut result = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.failed(e))? {
            let values = (0..width).map(|i| {
                values::value_of(row.get_ref(i).map_err(|e| self.failed(e))?)
                    .map_err(|e| e.context(format_args!("column {}", names[i])).column(&names[i]))
            });
            result.push(values.collect::<Result<Vec<_>>>()?);
        }
        Ok(result)
    }

    fn begin(&mut self) -> Result<()> {
        if self.in_transaction {
            bail!(ErrorKind::Internal, "a transaction is open already");
        }
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(|e| self.failed(e))?;
        self.in_transaction = true;
        Ok(())
    }

    // A reader of the write-ahead log sees what was committed when its transaction first read.
    fn begin_snapshot(&mut self) -> Result<bool> {
        if self.in_transaction {
            bail!(ErrorKind::Internal, "a transaction is open already");
        }
        self.db.execute_batch("BEGIN").map_err(|e| self.failed(e))?;
        self.in_transaction = true;
        let read = self.db.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()));
        if let Err(e) = read {
            let error = self.failed(e);
            self.rollback()?;
            return Err(error);
        }
        Ok(true)
    }

    // Only one connection writes at a time, whatever the table.
    fn hold_changes(&mut self, _tables: &[String]) -> Result<()> {
        self.set_lock_wait(LockWait::Short)?;
        let held = self.begin();
        self.set_lock_wait(LockWait::Patient)?;
        held
    }

    fn let_changes(&mut self) -> Result<()> {
        self.rollback()
    }

    fn referring(&mut self, table: &Table) -> Result<Vec<String>> {
        describe::referring(&self.db, table).map_err(|e| self.failed(e))
    }

    fn ready_to_swap(&mut self, new: &str, table: &Table) -> Result<Vec<String>> {
        swap::ready(&self.db, &self.file, new, table)
    }

    fn commit(&mut self) -> Result<()> {
        if !self.in_transaction {
            bail!(ErrorKind::Internal, "no transaction to commit");
        }
        self.still_in_transaction()?;
        match self.db.execute_batch("COMMIT") {
            Ok(()) => {
                self.in_transaction = false;
                Ok(())
            }
            Err(e) => {
                let error = errors::commit_failure(&self.file, e);
                // A deferred foreign key leaves the transaction open; a failed COMMIT is over.
                self.rollback()?;
                Err(error.context("could not commit"))
            }
        }
    }

    fn rollback(&mut self) -> Result<()> {
        self.in_transaction = false;
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK").map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    fn set_lock_wait(&mut self, wait: LockWait) -> Result<()> {
        self.db.busy_timeout(connect::wait_of(wait)).map_err(|e| self.failed(e))
    }

    /// Never: the file may meanwhile have been replaced by another one of its name (restored,
    /// swapped), and opening one costs next to nothing.
    fn may_be_reused(&self) -> bool {
        false
    }

    fn refresh(&mut self) -> Result<()> {
        bail!(ErrorKind::Internal, "a connection to a SQLite file is not used again")
    }

    fn describe(&mut self, table: &str) -> Result<Option<Table>> {
        describe::describe(&self.db, &self.file, &self.identity, table)
    }

    fn read(
        &mut self,
        sql: &str,
        params: &[Value],
        columns: &[Column],
        builder: &mut BatchBuilder,
        emit: &mut Emit<'_>,
    ) -> Result<u64> {
        self.still_in_transaction()?;
        read::read(&self.db, &self.file, sql, params, columns, builder, emit)
    }

    fn load(&mut self, plan: &LoadPlan, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded> {
        if !self.in_transaction {
            bail!(ErrorKind::Internal, "rows are loaded inside a transaction");
        }
        self.still_in_transaction()?;
        load::load(&self.db, &self.file, plan, batch, rows)
    }

    fn durability_gap(&mut self) -> Result<Option<String>> {
        let level: i64 = self
            .db
            .pragma_query_value(None, "synchronous", |r| r.get(0))
            .map_err(|e| self.failed(e))?;
        Ok((level < 2).then(|| format!("PRAGMA synchronous is {level}, not FULL")))
    }

    fn atomicity_gap(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    fn access_gaps(&mut self, table: &str, dest: bool, status: bool) -> Result<Vec<String>> {
        let mut gaps = Vec::new();
        if self.describe(table)?.is_none() {
            gaps.push(format!("There is no table {table} in {}.", self.file.display()));
        }
        if dest || status {
            // A transaction alone writes nothing yet, and would find out nothing.
            let written = self.begin().and_then(|()| {
                let written = self.execute("CREATE TABLE \"SSYNC_PROBE\" (a)", &[]);
                self.rollback().and(written)
            });
            match written {
                Ok(_) => {}
                // Somebody writes just now: that is what a writable file is for.
                Err(e) if e.kind == ErrorKind::Contention => {}
                Err(e) => gaps.push(format!("{} cannot be written: {e}.", self.file.display())),
            }
        }
        Ok(gaps)
    }

    // A file has no accounts.
    fn missing(&mut self, _needs: &[Need]) -> Result<Vec<Gap>> {
        Ok(Vec::new())
    }

    fn would_take(&mut self, sql: &str) -> Result<Option<Result<()>>> {
        Ok(Some(self.db.prepare(sql).map(drop).map_err(|e| self.failed(e))))
    }
}
