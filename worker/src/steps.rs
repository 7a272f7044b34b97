//! The steps of a run around its rows: SQL before and after on both sides, emptying or shadowing
//! the destination, swapping. Each is recorded where it takes effect, so that a resumed run does
//! not repeat it. Statements that commit by themselves (DDL) run at least once.

use ssync_common::config::SideSql;
use ssync_common::connector::{Connection, LockWait, split_table_name};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Fence, Id, Step, in_transaction};
use ssync_common::schema::Table;

use crate::owner::Ownership;

/// Appended to a destination's name for the table that is loaded beside it.
const SHADOW_SUFFIX: &str = "__ssync_new";

/// Both sides of a run, on connections of their own.
pub struct Steps<'a> {
    /// Source connection.
    pub source: &'a mut dyn Connection,
    /// The source table's owner row, where there is one.
    pub owner: Option<&'a Ownership>,
    /// Destination connection.
    pub dest: &'a mut dyn Connection,
    /// The pair of tables.
    pub fence: &'a Fence,
    /// The run.
    pub run: Id,
}

/// Which SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the rows.
    Before,
    /// After them.
    After,
}

impl Steps<'_> {
    /// Runs the SQL of one side of the rows. `skipped` is the number of source steps that belong
    /// to an earlier stage (`before`, when `after` runs).
    pub fn run_sql(&mut self, when: When, sql: &SideSql, skipped: usize) -> Result<()> {
        let word = if when == When::Before { "before" } else { "after" };
        self.source.set_lock_wait(LockWait::Patient)?;
        for (i, statement) in sql.source.iter().enumerate() {
            let number = (skipped + i + 1) as i64;
            let Some(owner) = self.owner else {
                return Err(Error::new(Kind::Internal, "source SQL without an owner row"));
            };
            if owner.steps_done(self.source, &self.run)? >= number {
                continue;
            }
            owner
                .run_step(self.source, &self.run, number, statement)
                .map_err(|e| statement_failed(e, word, "source", i))?;
            failpoint::hit("steps.source", number as u64);
        }
        for (i, statement) in sql.dest.iter().enumerate() {
            let step = match when {
                When::Before => Step::BeforeDest(i),
                When::After => Step::AfterDest(i),
            };
            self.at_dest(step, std::slice::from_ref(statement))
                .map_err(|e| statement_failed(e, word, "destination", i))?;
            failpoint::hit(
                if when == When::Before { "steps.before" } else { "steps.after" },
                i as u64 + 1,
            );
        }
        Ok(())
    }

    fn at_dest(&mut self, step: Step, statements: &[String]) -> Result<()> {
        if ledger::step_done(self.dest, &self.fence.id, &self.run, step)? {
            return Ok(());
        }
        let (id, epoch, run) = (self.fence.id, self.fence.epoch, self.run);
        in_transaction(self.dest, |dest| {
            ledger::check_epoch(dest, &id, epoch)?;
            for (i, statement) in (1..).zip(statements) {
                dest.execute(statement, &[])?;
                failpoint::hit("steps.statement", i);
            }
            ledger::record_step(dest, &id, &run, step)
        })
    }

    /// Empties the destination of `full`.
    pub fn empty(&mut self, table: &Table) -> Result<()> {
        let (statement, commits) = self.dest.dialect().truncate(&table.name);
        if commits && ledger::step_done(self.dest, &self.fence.id, &self.run, Step::Emptied)? {
            return Ok(());
        }
        if commits {
            // It would wait for our own share lock on the fence, or end our transaction; nothing
            // has landed under this run yet, so that doing it twice does no harm.
            self.dest.execute(&statement, &[])?;
            failpoint::hit("steps.after_truncate", 1);
            return self.at_dest(Step::Emptied, &[]);
        }
        self.at_dest(Step::Emptied, &[statement])
    }

    /// Makes the shadow table of a swap.
    pub fn make_shadow(&mut self, table: &Table) -> Result<()> {
        if ledger::step_done(self.dest, &self.fence.id, &self.run, Step::Emptied)? {
            return Ok(());
        }
        let shadow = shadow_name(&table.name);
        for statement in self.dest.dialect().create_like(&shadow, table)? {
            self.dest.execute(&statement, &[])?;
        }
        failpoint::hit("steps.after_shadow", 1);
        self.at_dest(Step::Emptied, &[])
    }

    /// Whether the shadow has taken the destination's place already.
    pub fn swapped(&mut self, table: &Table) -> Result<bool> {
        let (id, run) = (self.fence.id, self.run);
        if ledger::step_done(self.dest, &id, &run, Step::Swapped)? {
            return Ok(true);
        }
        // Made, and gone again: swapped, and killed before the step was recorded.
        Ok(ledger::step_done(self.dest, &id, &run, Step::Emptied)?
            && self.dest.describe(&shadow_name(&table.name))?.is_none())
    }

    /// Puts the shadow in the destination's place.
    pub fn swap(&mut self, table: &Table) -> Result<()> {
        if self.swapped(table)? {
            return Ok(());
        }
        let statements = self.dest.dialect().swap(&shadow_name(&table.name), table)?;
        failpoint::hit("steps.before_swap", 1);
        self.at_dest(Step::Swapped, &statements)
    }
}

/// Name of the table that is loaded beside `table`.
pub fn shadow_name(table: &str) -> String {
    let mut parts = split_table_name(table);
    if let Some(last) = parts.last_mut() {
        last.push_str(SHADOW_SUFFIX);
    }
    parts.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(".")
}

fn statement_failed(e: Error, word: &str, side: &str, i: usize) -> Error {
    let e = e.context(format!("SQL {word} at the {side}, statement {}", i + 1));
    match e.kind {
        // The statement is the operator's; its failure is nobody's bad row.
        Kind::Data | Kind::Parent => Error { kind: Kind::Database, ..e },
        _ => e,
    }
}
