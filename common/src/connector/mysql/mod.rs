//! MySQL 5.6 and later, MariaDB 10.0 and later, over the synchronous driver.
//!
//! [`connect`] opens and pins the session, [`describe`] reads structures, [`types`] says how each
//! type travels, [`read`] decodes rows ([`rows`]: by hand), [`load`] lands them ([`cell`] guards each
//! value, [`bulk`] makes commands by hand, [`wire`] is the socket for that), [`stages`] measures both,
//! [`swap`] looks before a swap, [`errors`] turns the server's codes into kinds, [`sessions`] finds
//! sessions by name, [`check`] serves `ssync check`.
//!
//! CHAR columns are read without the blanks that the server pads them with: they are not part of
//! the value, and no session mode that says otherwise is used.

mod bind;
mod bulk;
mod cell;
mod check;
mod connect;
mod describe;
mod dialect;
mod errors;
#[cfg(test)]
mod fuzz;
mod load;
mod load_infile;
mod privileges;
mod read;
mod rows;
mod sessions;
pub mod stages;
mod swap;
mod types;
mod wire;

use std::ops::Range;
use std::time::Instant;

use arrow_array::RecordBatch;
use mysql::Conn;
use mysql::prelude::Queryable;

use super::{Connection, Dialect, Gap, LinkParams, LoadPlan, Loaded, LockWait, NamedSession, Need};
use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Table};
use crate::value::Value;
use connect::Server;
use describe::Known;
pub use dialect::MySqlDialect;
use load::{Load, Roads};
use read::Cut;

/// Opens a connection.
pub fn open(link: &LinkParams) -> Result<Box<dyn Connection>> {
    let (conn, server) = connect::connect(link)?;
    Ok(Box::new(MySqlConnection::new(link, conn, server)))
}

struct MySqlConnection {
    link: LinkParams,
    /// `None` once it broke.
    conn: Option<Conn>,
    server: Server,
    /// Once it was asked for.
    identity: Option<String>,
    roads: Roads,
    known: Known,
    lock_wait: LockWait,
    in_transaction: bool,
    /// Its name, where it has one, and when it was last used.
    name: Option<(String, Instant)>,
}

impl MySqlConnection {
    fn new(link: &LinkParams, conn: Conn, server: Server) -> Self {
        MySqlConnection {
            link: link.clone(),
            conn: Some(conn),
            server,
            identity: None,
            roads: Roads::default(),
            known: Known::default(),
            lock_wait: LockWait::Patient,
            in_transaction: false,
            name: None,
        }
    }

    /// A named session that has been silent may have been ended by its server: outside of a
    /// transaction it is opened anew.
    fn wake(&mut self) -> Result<()> {
        // One that broke under way stays broken: its user has to hear of that.
        let (Some(conn), Some((name, used))) = (&mut self.conn, &mut self.name) else {
            return Ok(());
        };
        let silent = used.elapsed();
        *used = Instant::now();
        if self.in_transaction || silent < sessions::SILENT_MAX || conn.ping().is_ok() {
            return Ok(());
        }
        log::info!("link {}: a session is opened anew after {silent:?}", self.link.name);
        let name = name.clone();
        let (mut conn, server) = connect::connect(&self.link)?;
        connect::set_lock_wait(&mut conn, &server, self.lock_wait)
            .map_err(|e| errors::from_driver(&e))?;
        sessions::name(&mut conn, &server, &name, None)?;
        (self.conn, self.server) = (Some(conn), server);
        Ok(())
    }

    /// Does something with the connection. When that breaks it, it is gone for good: every later
    /// call says so.
    fn with<T>(&mut self, action: impl FnOnce(&mut Self, &mut Conn) -> Result<T>) -> Result<T> {
        self.wake()?;
        let Some(mut conn) = self.conn.take() else {
            return Err(Error::new(
                ErrorKind::Lost,
                format!("link {}: the connection is lost", self.link.name),
            ));
        };
        let done = action(self, &mut conn);
        match &done {
            Err(e) if e.kind == ErrorKind::Lost => {
                self.in_transaction = false;
                return done.map_err(|e| e.context(format_args!("link {}", self.link.name)));
            }
            _ => self.conn = Some(conn),
        }
        done
    }

    fn driven<T>(&mut self, action: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> Result<T> {
        self.with(|_, conn| action(conn).map_err(|e| errors::from_driver(&e)))
    }

    fn identified(&mut self, conn: &mut Conn) -> Result<String> {
        let known = match self.identity.take() {
            Some(known) => known,
            None => connect::identity(conn).map_err(|e| errors::from_driver(&e))?,
        };
        Ok(self.identity.insert(known).clone())
    }

    /// After a stream was left in its middle: the rest is not read, the connection is replaced.
    fn reopen(&mut self) {
        self.conn = None;
        // A transaction is gone with its connection, and the caller must hear of it.
        if std::mem::take(&mut self.in_transaction) {
            return;
        }
        if let Ok((mut conn, server)) = connect::connect(&self.link)
            && connect::set_lock_wait(&mut conn, &server, self.lock_wait).is_ok()
        {
            self.conn = Some(conn);
            self.server = server;
            // The address may lead elsewhere by now.
            self.identity = None;
        }
    }
}

/// Runs `sql`, all of its results included: a later one's error is an error.
fn drain<P: mysql::prelude::Protocol>(
    mut result: mysql::QueryResult<'_, '_, '_, P>,
) -> mysql::Result<u64> {
    let mut affected = 0;
    loop {
        affected = u64::saturating_add(affected, result.affected_rows());
        match result.iter() {
            Some(rows) => {
                for row in rows {
                    row?;
                }
            }
            None => return Ok(affected),
        }
    }
}

impl Connection for MySqlConnection {
    fn dialect(&self) -> &'static dyn Dialect {
        &MySqlDialect
    }

    fn server(&self) -> String {
        self.server.shown()
    }

    fn server_identity(&mut self) -> Result<String> {
        self.with(|this, conn| this.identified(conn))
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        self.driven(|conn| match params {
            // Not everything can be prepared.
            [] => drain(conn.query_iter(sql)?),
            params => drain(conn.exec_iter(sql, bind::params(params))?),
        })
    }

    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>> {
        let rows: Vec<Result<Vec<Value>>> = self.driven(|conn| {
            let mut result = conn.exec_iter(sql, bind::params(params))?;
            let columns = result.columns().as_ref().to_vec();
            result
                .by_ref()
                .map(|row| {
                    let values = row?.unwrap_raw();
                    let value = |(v, c): (Option<mysql::Value>, &mysql::Column)| {
                        read::small(v.unwrap_or(mysql::Value::NULL), c)
                    };
                    Ok(values.into_iter().zip(&columns).map(value).collect())
                })
                .collect()
        })?;
        rows.into_iter().collect()
    }

    fn begin(&mut self) -> Result<()> {
        if self.in_transaction {
            // START TRANSACTION would commit the open one.
            crate::bail!(ErrorKind::Internal, "a transaction is open already");
        }
        self.driven(|conn| conn.query_drop("START TRANSACTION"))?;
        self.in_transaction = true;
        Ok(())
    }

    fn begin_snapshot(&mut self) -> Result<bool> {
        if self.in_transaction {
            crate::bail!(ErrorKind::Internal, "a transaction is open already");
        }
        self.driven(|conn| {
            // For the next transaction alone. It is not said to be READ ONLY: a proxy might take
            // it to a replica that is behind.
            conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
            conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        })?;
        self.in_transaction = true;
        Ok(true)
    }

    fn hold_changes(&mut self, tables: &[String]) -> Result<()> {
        if self.in_transaction {
            crate::bail!(ErrorKind::Internal, "a transaction is open already");
        }
        let held = self.with(|this, conn| swap::hold_changes(conn, &this.server, tables));
        match &held {
            Ok(()) => self.in_transaction = true,
            // Gone already, with whatever it held.
            Err(e) if e.kind == ErrorKind::Lost => {}
            Err(_) => self.let_changes()?,
        }
        held
    }

    fn let_changes(&mut self) -> Result<()> {
        let let_go = self.with(|this, conn| swap::let_changes(conn, &this.server, this.lock_wait));
        self.in_transaction = let_go.is_err();
        let_go
    }

    fn referring(&mut self, table: &Table) -> Result<Vec<String>> {
        self.with(|_, conn| describe::referring(conn, &table.name))
    }

    fn ready_to_swap(&mut self, new: &str, table: &Table) -> Result<Vec<String>> {
        self.with(|this, conn| swap::ready(conn, &this.server, new, table))
    }

    fn commit(&mut self) -> Result<()> {
        let done = self.driven(|conn| conn.query_drop("COMMIT"));
        self.in_transaction = false;
        done
    }

    fn rollback(&mut self) -> Result<()> {
        let done = self.driven(|conn| conn.query_drop("ROLLBACK"));
        self.in_transaction = false;
        done
    }

    fn name_session(&mut self, name: &str) -> Result<()> {
        let old = self.name.take().map(|(old, _)| old);
        self.with(|this, conn| sessions::name(conn, &this.server, name, old.as_deref()))?;
        self.name = Some((name.to_owned(), Instant::now()));
        Ok(())
    }

    fn end_sessions(&mut self, names: &[String]) -> Result<Vec<NamedSession>> {
        self.with(|_, conn| sessions::end(conn, names).map_err(|e| errors::from_driver(&e)))
    }

    fn users_of(&mut self, table: &str) -> Result<Vec<String>> {
        self.with(|_, conn| {
            let (schema, name) = describe::place(conn, table)?;
            sessions::users_of(conn, &schema, &name)
        })
    }

    fn skipping_locked(&self, sql: &str, n: u64) -> Option<String> {
        // MariaDB 10.11 fails with error 1180 at a locked row where the wait is 0.
        let wait = match self.server.mariadb {
            true => "SET STATEMENT innodb_lock_wait_timeout = 1 FOR ",
            false => "",
        };
        let skips = self.server.skips_locked();
        skips.then(|| format!("{wait}{sql} LIMIT {n} FOR UPDATE SKIP LOCKED"))
    }

    fn set_lock_wait(&mut self, wait: LockWait) -> Result<()> {
        if self.lock_wait == wait && self.conn.is_some() {
            return Ok(());
        }
        self.with(|this, conn| {
            connect::set_lock_wait(conn, &this.server, wait).map_err(|e| errors::from_driver(&e))
        })?;
        self.lock_wait = wait;
        Ok(())
    }

    fn may_be_reused(&self) -> bool {
        self.conn.is_some() && !self.in_transaction && self.server.can_reset()
    }

    fn refresh(&mut self) -> Result<()> {
        if !self.may_be_reused() {
            crate::bail!(ErrorKind::Internal, "the connection cannot be made as good as new");
        }
        let Some(conn) = self.conn.take() else {
            crate::bail!(ErrorKind::Lost, "link {}: the connection is lost", self.link.name);
        };
        let (conn, server) = connect::refresh(&self.link, conn)?;
        // It is the same connection to the same server: what was learnt of them still holds.
        *self = MySqlConnection {
            identity: self.identity.take(),
            roads: std::mem::take(&mut self.roads),
            known: std::mem::take(&mut self.known),
            ..MySqlConnection::new(&self.link, conn, server)
        };
        Ok(())
    }

    fn describe(&mut self, table: &str) -> Result<Option<Table>> {
        self.with(|this, conn| {
            let identity = this.identified(conn)?;
            let found = describe::describe(conn, &this.server, &mut this.known, table)?;
            Ok(found.map(|found| Table { server: identity, ..found }))
        })
    }

    fn read(
        &mut self,
        sql: &str,
        params: &[Value],
        columns: &[Column],
        builder: &mut BatchBuilder,
        emit: &mut Emit<'_>,
    ) -> Result<u64> {
        let mut cut_off = false;
        let done = self.with(|this, conn| {
            let read = match this.server.plain_socket {
                true => rows::read(conn, (sql, params), columns, builder, emit),
                false => read::by_driver(conn, (sql, params), columns, builder, emit),
            };
            read.map_err(|cut| match cut {
                Cut::Source(e) => e,
                Cut::Receiver(e) => {
                    cut_off = true;
                    e
                }
            })
        });
        if cut_off {
            self.reopen();
        }
        done
    }

    fn load(&mut self, plan: &LoadPlan, batch: &RecordBatch, rows: Range<usize>) -> Result<Loaded> {
        self.with(|this, conn| {
            Load { conn, server: &this.server, roads: &mut this.roads, plan }.run(batch, rows)
        })
        .map_err(|e| e.detail(format!("table {}", plan.table)))
    }

    fn durability_gap(&mut self) -> Result<Option<String>> {
        self.with(|_, conn| check::durability_gap(conn))
    }

    fn atomicity_gap(&mut self) -> Result<Option<String>> {
        self.with(|this, conn| check::atomicity_gap(conn, &this.server))
    }

    fn access_gaps(&mut self, table: &str, dest: bool, status: bool) -> Result<Vec<String>> {
        self.with(|this, conn| check::access_gaps(conn, &this.server, table, dest, status))
    }

    fn drawbacks(&mut self) -> Result<Vec<String>> {
        Ok(check::drawbacks(&self.server))
    }

    fn missing(&mut self, needs: &[Need]) -> Result<Vec<Gap>> {
        self.with(|this, conn| privileges::missing(conn, &this.server, needs))
    }

    fn would_take(&mut self, sql: &str) -> Result<Option<Result<()>>> {
        self.with(|_, conn| privileges::would_take(conn, sql))
    }
}
