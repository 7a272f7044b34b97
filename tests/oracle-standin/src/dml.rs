//! INSERT, UPDATE, DELETE and MERGE, for one row or an array of them.

use crate::answer::{self, Outcome};
use crate::backend::{Failure, PgError, Row};
use crate::execute::{INPUT, OUTPUT, at_source};
use crate::ora_error::{Doing, OraError};
use crate::request::{self, Execution};
use crate::session::{Fail, Session};
use crate::sql::Translated;
use crate::ttc::Writer;

/// A row of an array, by its number, and what it failed with.
type Failed = (u32, OraError);

impl Session {
    pub(crate) fn begin_transaction(&mut self, mode: &str) -> Result<(), Fail> {
        if self.backend()?.in_transaction() {
            return Ok(());
        }
        self.work(Doing::Other, |backend| backend.script(&format!("BEGIN {mode}")).map(|_| ()))
    }

    pub(crate) fn dml(
        &mut self,
        id: u16,
        dml: &Translated,
        request: &Execution,
        answer: &mut Writer,
    ) -> Result<Outcome, Fail> {
        let mut rows = Vec::with_capacity(request.rows.len());
        for row in &request.rows {
            rows.push(self.values(id, row)?);
        }
        if rows.is_empty() {
            rows = vec![Row::new(); request.executions.max(1) as usize];
        }
        self.begin_transaction("")?;
        self.prepare(id, dml)?;
        if dml.returning > 0 {
            return self.returning(id, dml, &rows, answer);
        }
        let keep_going = request.options & request::BATCH_ERRORS != 0;
        let (counts, failures) = self.array(id, dml, &rows, keep_going)?;
        if request.row_counts {
            answer.u8(8).ub(0).ub(0).ub(0).ub(0).ub(counts.len() as u64);
            counts.iter().for_each(|count| {
                answer.ub(*count);
            });
        }
        let mut outcome = Outcome { rows: counts.iter().sum(), ..Outcome::default() };
        if keep_going {
            outcome.batch = failures;
        } else {
            outcome.error = failures.into_iter().next().map(|(_, error)| error);
        }
        Ok(outcome)
    }

    /// Executes for every row. A row that fails leaves those before it as they are; the ones
    /// behind it follow only if `keep_going`.
    fn array(
        &mut self,
        id: u16,
        dml: &Translated,
        rows: &[Row],
        keep_going: bool,
    ) -> Result<(Vec<u64>, Vec<Failed>), Fail> {
        let name = format!("c{id}");
        let (mut counts, mut failures) = (Vec::new(), Vec::new());
        let mut start = 0;
        let mut prepared_again = false;
        while start < rows.len() {
            let rest = &rows[start..];
            let (done, failure) = self.work(Doing::Other, |backend| {
                backend.script("SAVEPOINT \"ora$s\"")?;
                // What is set behind a savepoint is undone with it.
                if let Some(secs) = dml.wait_secs {
                    let millis = (secs * 1000).max(1);
                    backend.script(&format!("SET LOCAL lock_timeout = {millis}"))?;
                }
                let (done, failure) = backend.run_many(&name, rest)?;
                let Some(failure) = failure else {
                    if dml.wait_secs.is_some() {
                        backend.script("SET LOCAL lock_timeout = 0")?;
                    }
                    backend.script("RELEASE \"ora$s\"")?;
                    return Ok((done, None));
                };
                // All of it is undone: the rows before the bad one once more.
                backend.script("ROLLBACK TO \"ora$s\"")?;
                let (again, other) = backend.run_many(&name, &rest[..done.len()])?;
                if let Some(other) = other {
                    backend.script("ROLLBACK TO \"ora$s\"; RELEASE \"ora$s\"")?;
                    return Err(Failure::Sql(Box::new(other)));
                }
                backend.script("RELEASE \"ora$s\"")?;
                Ok((again, Some(failure)))
            })?;
            counts.extend(&done);
            let Some(failure) = failure else { break };
            start += done.len();
            if failure.message().contains("cached plan") && !prepared_again {
                prepared_again = true;
                self.cursor(id)?.prepared = None;
                self.prepare(id, dml)?;
                continue;
            }
            failures.push((start as u32, failed(&failure, dml)));
            if !keep_going {
                break;
            }
            counts.push(0);
            start += 1;
        }
        Ok((counts, failures))
    }

    /// DML whose last binds receive what RETURNING gives.
    fn returning(
        &mut self,
        id: u16,
        dml: &Translated,
        rows: &[Row],
        answer: &mut Writer,
    ) -> Result<Outcome, Fail> {
        let name = format!("c{id}");
        let binds = self.cursor(id)?.binds.clone();
        let inputs = binds.len() - dml.returning.min(binds.len());
        let mut directions = vec![INPUT; inputs];
        directions.resize(binds.len(), OUTPUT);
        self.directions(answer, &directions);
        let mut outcome = Outcome::default();
        for row in rows {
            let (found, affected) = self
                .guarded(Doing::Other, |backend| backend.run(&name, row))
                .map_err(|fail| at_source(fail, dml))?;
            outcome.rows += affected;
            answer.u8(7);
            for (i, bind) in binds[inputs..].iter().enumerate() {
                answer.ub(found.len() as u64);
                for values in &found {
                    let value = values.get(i).and_then(Option::as_deref);
                    answer::output(answer, &bind.kind, value)?;
                }
            }
        }
        Ok(outcome)
    }
}

/// An error of DML, pointing into the source.
fn failed(error: &PgError, dml: &Translated) -> OraError {
    let doing = match dml.wait_secs {
        Some(secs) => Doing::WaitingFor(secs),
        None if dml.is_update => Doing::Update,
        None => Doing::Other,
    };
    let error = OraError::from_postgres(error, doing);
    let place = dml.source_of(error.offset.into());
    error.at(place)
}
