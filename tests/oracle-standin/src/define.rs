//! DDL and what else changes the session: transactions, savepoints, settings.

use crate::backend::{Backend, Failure};
use crate::faults::Moment;
use crate::ora_error::{Doing, OraError, shown};
use crate::session::{Fail, Session};
use crate::sql::ddl::Step;
use crate::sql::{Order, literal};

impl Session {
    pub(crate) fn order(&mut self, order: &Order) -> Result<(), Fail> {
        match order {
            Order::Commit => self.finish(Moment::Commit),
            Order::Rollback => self.finish(Moment::Rollback),
            Order::Savepoint(name) => {
                self.begin_transaction("")?;
                self.savepoints.push(name.clone());
                let sql = format!("SAVEPOINT {name}");
                self.work(Doing::Other, |backend| backend.script(&sql).map(|_| ()))
            }
            Order::RollbackTo(name) => {
                self.fault(Moment::Rollback, &format!("ROLLBACK TO {name}"))?;
                let Some(at) = self.savepoints.iter().rposition(|known| known == name) else {
                    let text = format!(
                        "savepoint '{}' never established in this session or is invalid",
                        shown(name.trim_matches('"'))
                    );
                    return Err(OraError::new(1086, &text).into());
                };
                self.savepoints.truncate(at + 1);
                let sql = format!("ROLLBACK TO {name}");
                self.work(Doing::Other, |backend| backend.script(&sql).map(|_| ()))
            }
            Order::Begin(mode) => {
                if self.backend()?.in_transaction() {
                    let text = "SET TRANSACTION must be first statement of transaction";
                    return Err(OraError::new(1453, text).into());
                }
                self.begin_transaction(mode)
            }
            Order::Set(None) => Ok(()),
            Order::Set(Some(sql)) => self.guarded(Doing::Other, |b| b.script(sql).map(|_| ())),
            Order::Schema(schema) => Ok(self.set_schema(schema)?),
        }
    }

    /// DDL: commits, runs as one transaction, commits. It does not wait for locks.
    pub(crate) fn ddl(&mut self, steps: &[Step]) -> Result<(), Fail> {
        if self.backend()?.in_transaction() {
            self.savepoints.clear();
            self.work(Doing::Commit, |backend| backend.script("COMMIT").map(|_| ()))?;
        }
        for step in steps {
            self.change_account(step)?;
        }
        for cursor in self.cursors.values_mut() {
            cursor.prepared = None;
        }
        let mut missing = None;
        let result = self.work(Doing::Defining, |backend| {
            backend.script("BEGIN; SET LOCAL lock_timeout = '50ms'")?;
            let result = steps.iter().try_for_each(|step| {
                missing = match step {
                    Step::Object { missing, .. } => Some(*missing),
                    _ => None,
                };
                define(backend, step)
            });
            match result {
                Ok(()) => backend.script("COMMIT").map(|_| ()),
                Err(Failure::Sql(error)) => {
                    backend.script("ROLLBACK")?;
                    Err(Failure::Sql(error))
                }
                Err(Failure::Gone) => Err(Failure::Gone),
            }
        });
        match (result, missing) {
            (Err(Fail::Ora(error)), Some(code)) if matches!(error.code, 942 | 4043 | 1418) => {
                Err(OraError::new(code, missing_text(code)).into())
            }
            // Where things are in the translation means nothing to the client.
            (Err(Fail::Ora(error)), _) => Err(Fail::Ora(error.at(0))),
            (result, _) => result,
        }
    }
}

impl Session {
    /// Makes, changes or drops an account, where the step is one of those.
    fn change_account(&mut self, step: &Step) -> Result<(), Fail> {
        let (Step::CreateUser { user, .. }
        | Step::AlterUser { user, .. }
        | Step::DropUser { user }) = step
        else {
            return Ok(());
        };
        let is_own_password = matches!(step, Step::AlterUser { password, .. } if !password.is_empty())
            && *user == self.user;
        let privileged = "SELECT 1 FROM pg_roles WHERE rolname = session_user \
                          AND (rolsuper OR rolcreaterole)";
        if !is_own_password && !self.finds(privileged)? {
            return Err(OraError::new(1031, "insufficient privileges").into());
        }
        let exists = self.world.has_account(user);
        match step {
            Step::CreateUser { .. } if exists => {
                let text =
                    format!("user name '{}' conflicts with another user or role name", shown(user));
                Err(OraError::new(1920, &text).into())
            }
            Step::CreateUser { password, .. } => {
                self.world.make_account(user, password);
                Ok(())
            }
            _ if !exists => {
                let text = format!("user '{}' does not exist", shown(user));
                Err(OraError::new(1918, &text).into())
            }
            Step::AlterUser { password, .. } => {
                // A quota means nothing here.
                if !password.is_empty() {
                    self.world.make_account(user, password);
                }
                Ok(())
            }
            _ => {
                let connected = format!(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                     AND usename = {}",
                    literal(user)
                );
                if self.finds(&connected)? {
                    let text = "cannot drop a user that is currently connected";
                    return Err(OraError::new(1940, text).into());
                }
                self.world.drop_account(user);
                Ok(())
            }
        }
    }

    fn finds(&mut self, query: &str) -> Result<bool, Fail> {
        self.work(Doing::Other, |backend| backend.script(query).map(|rows| !rows.is_empty()))
    }
}

fn missing_text(code: u32) -> &'static str {
    match code {
        1418 => "specified index does not exist",
        1434 => "private synonym to be dropped does not exist",
        2289 => "sequence does not exist",
        _ => "table or view does not exist",
    }
}

fn define(backend: &mut Backend, step: &Step) -> Result<(), Failure> {
    match step {
        Step::Run(sql) | Step::Object { sql, .. } => backend.script(sql).map(|_| ()),
        Step::Declare { table, query } => {
            let (_, columns) = backend.prepare("declared", query, &[])?;
            for (place, column) in columns.iter().enumerate().filter(|(_, c)| c.table != 0) {
                backend.script(&format!(
                    "CALL sys.declare_column({}, {}, {}, {})",
                    literal(table),
                    place + 1,
                    column.table,
                    column.position
                ))?;
            }
            backend.close("declared")
        }
        Step::CreateUser { .. } | Step::DropUser { .. } | Step::AlterUser { .. } => Ok(()),
    }
}
