//! Oracle, by its own thin driver or by its client library: one dialect, one set of statements, one
//! table of types and one of errors for both.
//!
//! - [`url`] says where the database is; [`connect`] opens and pins the session.
//! - [`driver`] is what a driver must be able to do; [`thin`] and `oci` do it.
//! - [`types`] says how each type travels, [`exact`] what Oracle would change without a word.
//! - [`describe`] reads structures, [`read`] decodes rows ([`lob`] their LOBs), [`load`] lands them ([`feed`] guards each
//!   value), [`errors`] turns codes into kinds, [`check`] serves `ssync check`.
//! - [`name`]: a name in the configuration folds to upper case, unless it is quoted.
//!
//! What is peculiar to Oracle:
//!
//! - Definitions commit. Nothing else does: outside [`Connection::begin`] each statement is followed
//!   by a commit.
//! - A statement waits for row locks without limit (only `FOR UPDATE` can be told). The call's time
//!   limit ends that: the statement is cancelled, and the error is [`ErrorKind::Contention`].
//! - `CREATE TABLE IF NOT EXISTS` and `DROP TABLE IF EXISTS`, as ssync spells them, are understood
//!   on every version.
//! - Empty text and empty bytes are NULL, but for LOBs.

mod bind;
mod check;
mod connect;
mod describe;
mod dialect;
mod driver;
mod errors;
mod exact;
mod feed;
#[cfg(test)]
mod fuzz;
mod load;
mod lob;
mod name;
mod number;
#[cfg(feature = "oci")]
mod oci;
mod read;
mod thin;
pub(crate) mod types;
pub(crate) mod url;

use std::ops::Range;
use std::time::Duration;

use arrow_array::RecordBatch;

use super::{Connection, Dialect, Gap, LinkParams, LoadPlan, Loaded, LockWait, Need, OracleDriver};
use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Table};
use crate::value::Value;
use bind::Small;
use connect::Server;
pub use dialect::{ORACLE, OracleDialect};
use driver::{Cut, Driver, Fetch, Lobs};
use load::Load;
use read::Reader;

/// How long a statement may take that shall not wait for a lock: long enough for one that does
/// not have to.
const SHORT_WAIT: Duration = Duration::from_secs(3);
/// The same, where it may wait for a batch to end.
const BRIEF_WAIT: Duration = Duration::from_secs(8);
/// The same, where it may wait about a minute: no statement of ssync's own works for so long.
const PATIENT_WAIT: Duration = Duration::from_secs(75);
/// How a small result comes.
const SMALL: Fetch = Fetch { rows: 100, lobs: Lobs::Inline };

/// Opens a connection.
pub fn open(link: &LinkParams) -> Result<Box<dyn Connection>> {
    let (driver, server) = connect::connect(link)?;
    let dialect = if server.version[0] >= 12 { &ORACLE } else { &dialect::ORACLE_11 };
    Ok(Box::new(OracleConnection {
        link: link.clone(),
        driver: Some(driver),
        server,
        dialect,
        lock_wait: LockWait::Patient,
        in_transaction: false,
    }))
}

struct OracleConnection {
    link: LinkParams,
    /// `None` once it broke.
    driver: Option<Box<dyn Driver>>,
    server: Server,
    dialect: &'static OracleDialect,
    lock_wait: LockWait,
    in_transaction: bool,
}

impl OracleConnection {
    /// Does something with the session. When that breaks it, it is gone for good: every later
    /// call says so.
    fn with<T>(
        &mut self,
        action: impl FnOnce(&mut Self, &mut dyn Driver) -> Result<T>,
    ) -> Result<T> {
        let Some(mut driver) = self.driver.take() else {
            return Err(Error::new(
                ErrorKind::Lost,
                format!("link {}: the connection is lost", self.link.name),
            ));
        };
        let done = action(self, driver.as_mut());
        match &done {
            Err(e) if e.kind == ErrorKind::Lost => {
                self.in_transaction = false;
                driver.close(true);
                return done.map_err(|e| e.context(format_args!("link {}", self.link.name)));
            }
            _ => self.driver = Some(driver),
        }
        done
    }

    /// Runs a statement that changes rows within the time that locks may be waited for.
    fn changing<T>(
        &self,
        driver: &mut dyn Driver,
        work: impl FnOnce(&mut dyn Driver) -> Result<T>,
    ) -> Result<T> {
        let limit = call_limit(self.lock_wait, self.link.io_timeout);
        if limit == self.link.io_timeout {
            return work(driver);
        }
        driver.set_call_timeout(limit).map_err(|f| errors::from_call(&f))?;
        let done = work(driver);
        if !matches!(&done, Err(e) if e.kind == ErrorKind::Lost) {
            driver.set_call_timeout(self.link.io_timeout).map_err(|f| errors::from_call(&f))?;
        }
        done
    }

    /// Ends what a statement outside [`Connection::begin`] began: it is its own transaction.
    fn settled<T>(&self, driver: &mut dyn Driver, done: Result<T>) -> Result<T> {
        if self.in_transaction {
            return done;
        }
        match done {
            Ok(done) => {
                driver.commit().map_err(|f| errors::from_commit(&f))?;
                Ok(done)
            }
            Err(e) if e.kind == ErrorKind::Lost => Err(e),
            Err(e) => {
                driver.rollback().map_err(|f| errors::from_call(&f))?;
                Err(e)
            }
        }
    }
}

/// How long a statement may take that changes rows: Oracle does not tell waiting from working.
fn call_limit(wait: LockWait, io_timeout: Duration) -> Duration {
    let limit = match wait {
        LockWait::Short => SHORT_WAIT,
        LockWait::Brief => BRIEF_WAIT,
        LockWait::Patient => PATIENT_WAIT,
        LockWait::Definition | LockWait::Operator => return io_timeout,
    };
    limit.min(io_timeout)
}

impl Drop for OracleConnection {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.close(false);
        }
    }
}

/// A statement without the condition that Oracle does not know before 23ai, and the code that the
/// condition stands for.
fn unconditional(sql: &str) -> (String, Option<u32>) {
    const NAME_IN_USE: u32 = 955;
    const NO_TABLE: u32 = 942;
    for (condition, plain, code) in [
        ("CREATE TABLE IF NOT EXISTS ", "CREATE TABLE ", NAME_IN_USE),
        ("DROP TABLE IF EXISTS ", "DROP TABLE ", NO_TABLE),
    ] {
        if let Some(rest) = sql.strip_prefix(condition) {
            return (format!("{plain}{rest}"), Some(code));
        }
    }
    (sql.to_owned(), None)
}

impl Connection for OracleConnection {
    fn dialect(&self) -> &'static dyn Dialect {
        self.dialect
    }

    fn server(&self) -> String {
        self.server.shown()
    }

    fn server_identity(&mut self) -> Result<String> {
        Ok(self.server.identity.clone())
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let (types, cells) = bind::params(params)?;
        let (sql, tolerated) = unconditional(sql);
        self.with(|this, driver| {
            let done = this.changing(driver, |driver| {
                match driver.execute(&sql, &types, std::slice::from_ref(&cells)) {
                    Err(f) if Some(f.code) == tolerated => Ok(0),
                    done => done.map_err(|f| errors::from_dml(&f)),
                }
            });
            this.settled(driver, done)
        })
    }

    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>> {
        let (types, cells) = bind::params(params)?;
        let locks = sql.ends_with(" FOR UPDATE");
        let sql = match (locks, self.lock_wait) {
            (false, _) => sql.to_owned(),
            (true, LockWait::Short) => format!("{sql} WAIT 1"),
            (true, LockWait::Brief) => format!("{sql} WAIT 5"),
            (true, LockWait::Patient | LockWait::Definition | LockWait::Operator) => {
                format!("{sql} WAIT 60")
            }
        };
        self.with(|this, driver| {
            let mut small = Small::default();
            let done = match driver.query(&sql, &types, &cells, SMALL, &mut small) {
                Ok(()) => Ok(small.rows),
                Err(Cut::Source(failure)) => Err(errors::from_call(&failure)),
                Err(Cut::Receiver(e)) => Err(e),
            };
            if locks { this.settled(driver, done) } else { done }
        })
    }

    fn begin(&mut self) -> Result<()> {
        if self.in_transaction {
            // The open one would take in what is meant for another.
            crate::bail!(ErrorKind::Internal, "a transaction is open already");
        }
        // It begins with its first statement.
        self.with(|_, _| Ok(()))?;
        self.in_transaction = true;
        Ok(())
    }

    fn begin_snapshot(&mut self) -> Result<bool> {
        if self.in_transaction {
            crate::bail!(ErrorKind::Internal, "a transaction is open already");
        }
        self.with(|_, driver| {
            // It must be the first statement of its transaction.
            driver.rollback().map_err(|f| errors::from_call(&f))?;
            let sql = "SET TRANSACTION READ ONLY";
            driver.execute(sql, &[], &[Vec::new()]).map_err(|f| errors::from_call(&f))?;
            connect::ask(driver, "SELECT 1 FROM DUAL", &[]).map(drop)
        })?;
        self.in_transaction = true;
        Ok(true)
    }

    fn hold_changes(&mut self, tables: &[String]) -> Result<()> {
        self.begin()?;
        let held = self.with(|this, driver| {
            let tables: Vec<_> = tables.iter().map(|table| this.dialect.table(table)).collect();
            let sql = format!("LOCK TABLE {} IN SHARE MODE WAIT 1", tables.join(", "));
            driver.execute(&sql, &[], &[Vec::new()]).map_err(|f| errors::from_call(&f)).map(drop)
        });
        if matches!(&held, Err(e) if e.kind != ErrorKind::Lost) {
            self.rollback()?;
        }
        held
    }

    fn let_changes(&mut self) -> Result<()> {
        self.rollback()
    }

    fn ready_to_swap(&mut self, _new: &str, table: &Table) -> Result<Vec<String>> {
        Err(dialect::no_swap(table))
    }

    fn commit(&mut self) -> Result<()> {
        let done = self.with(|_, driver| match driver.commit() {
            Ok(()) => Ok(()),
            Err(failure) => {
                let error = errors::from_commit(&failure);
                if error.kind != ErrorKind::Lost {
                    driver.rollback().map_err(|f| errors::from_call(&f))?;
                }
                Err(error)
            }
        });
        self.in_transaction = false;
        done
    }

    fn rollback(&mut self) -> Result<()> {
        let done = self.with(|_, driver| driver.rollback().map_err(|f| errors::from_call(&f)));
        self.in_transaction = false;
        done
    }

    // Ending another session takes a privilege that few accounts have.
    fn name_session(&mut self, name: &str) -> Result<()> {
        let named = self.with(|_, driver| driver.name(name).map_err(|f| errors::from_call(&f)));
        match named {
            Err(e) if e.kind != ErrorKind::Lost => {
                log::info!("the session stays without the name {name}: {e}");
                Ok(())
            }
            named => named,
        }
    }

    fn how_to_find_sessions(&self, name_begin: &str) -> Option<String> {
        Some(format!(
            "SELECT sid, serial#, machine, logon_time FROM v$session WHERE client_identifier LIKE \
             '{name_begin}%'; then ALTER SYSTEM KILL SESSION 'sid,serial#'"
        ))
    }

    // A query with FOR UPDATE takes no FETCH FIRST.
    fn skipping_locked(&self, sql: &str, _n: u64) -> Option<String> {
        Some(format!("{sql} FOR UPDATE SKIP LOCKED"))
    }

    fn set_lock_wait(&mut self, wait: LockWait) -> Result<()> {
        self.lock_wait = wait;
        Ok(())
    }

    // What a statement of the user's may have set in a session cannot all be taken back.
    fn may_be_reused(&self) -> bool {
        false
    }

    fn refresh(&mut self) -> Result<()> {
        crate::bail!(ErrorKind::Internal, "a session of Oracle is not used again")
    }

    fn describe(&mut self, table: &str) -> Result<Option<Table>> {
        self.with(|this, driver| describe::describe(driver, &this.server, table))
    }

    fn read(
        &mut self,
        sql: &str,
        params: &[Value],
        columns: &[Column],
        builder: &mut BatchBuilder,
        emit: &mut Emit<'_>,
    ) -> Result<u64> {
        let (types, cells) = bind::params(params)?;
        self.with(|this, driver| {
            let rows = read::fetch_rows(columns, this.server.version[0]);
            // The client's library streams LOBs by itself.
            let parted = match this.link.oracle.driver {
                OracleDriver::Thin => lob::parted(this.dialect, sql, columns),
                OracleDriver::Oci => None,
            };
            let mut reader = Reader::new(columns, parted.is_some(), builder, emit);
            let sql = parted.as_deref().unwrap_or(sql);
            let fetch = Fetch { rows, lobs: Lobs::Located };
            match driver.query(sql, &types, &cells, fetch, &mut reader) {
                Ok(()) => {}
                Err(Cut::Source(failure)) => return Err(errors::from_call(&failure)),
                Err(Cut::Receiver(e)) => return Err(e),
            }
            reader.finish()
        })
    }

    fn load(&mut self, plan: &LoadPlan, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded> {
        if !self.in_transaction {
            crate::bail!(ErrorKind::Internal, "rows are loaded inside a transaction");
        }
        self.with(|this, driver| {
            this.changing(driver, |driver| {
                let (dialect, unicode) = (this.dialect, this.server.is_unicode());
                Load { driver, dialect, plan, unicode }.run(batch, rows)
            })
        })
        .map_err(|e| e.detail(format!("table {}", plan.table)))
    }

    fn durability_gap(&mut self) -> Result<Option<String>> {
        self.with(|_, driver| check::durability_gap(driver))
    }

    fn atomicity_gap(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    fn access_gaps(&mut self, table: &str, dest: bool, status: bool) -> Result<Vec<String>> {
        self.with(|this, driver| check::access_gaps(driver, &this.server, table, dest, status))
    }

    fn drawbacks(&mut self) -> Result<Vec<String>> {
        Ok(check::drawbacks(&self.server))
    }

    fn missing(&mut self, needs: &[Need]) -> Result<Vec<Gap>> {
        self.with(|this, driver| check::missing(driver, &this.server, needs))
    }

    fn would_take(&mut self, sql: &str) -> Result<Option<Result<()>>> {
        self.with(|_, driver| check::would_take(driver, sql))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_a_lock_is_bounded_whatever_the_links_own_limit() {
        let long = Duration::from_secs(600);
        for (wait, secs) in [
            (LockWait::Short, 3),
            (LockWait::Brief, 8),
            (LockWait::Patient, 75),
            (LockWait::Operator, 600),
        ] {
            assert_eq!(call_limit(wait, long), Duration::from_secs(secs), "{wait:?}");
            assert_eq!(call_limit(wait, SHORT_WAIT), SHORT_WAIT, "{wait:?}");
        }
    }
}
