//! The steps of a run around its rows: SQL before and after on both sides, emptying or shadowing
//! the destination, swapping. Each is recorded where it takes effect, so that a resumed run does
//! not repeat it. Statements that commit by themselves (DDL) run at least once.

use std::time::{Duration, Instant};

use ssync_common::config::SideSql;
use ssync_common::connector::{Connection, LinkParams, LockWait, Statement, split_table_name};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Fence, Id, Seat, Step, in_transaction};
use ssync_common::schema::Table;

use crate::control::Control;
use crate::idle::Connections;
use crate::owner::Ownership;

/// Statements after the rows count from here at the source, whose owner row knows only the last
/// one done: however many there are before the rows, now or when the run was begun.
const SOURCE_AFTER: i64 = 1_000_000;

/// Appended to a destination's name for the table that is loaded beside it.
const SHADOW_SUFFIX: &str = "__ssync_new";

/// How long a table that others use is waited for, in short tries.
const IN_USE_MAX: Duration = Duration::from_secs(60);
/// Pauses between the tries, in which whoever waits gets the table: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// Both sides of a run, on connections of their own.
pub struct Steps<'a> {
    /// Source connection.
    pub source: &'a mut dyn Connection,
    /// The source table's owner row, where there is one.
    pub owner: Option<&'a Ownership>,
    /// Destination connection.
    pub dest: &'a mut dyn Connection,
    /// The destination, for another connection.
    pub dest_link: &'a LinkParams,
    /// Connections that are idle.
    pub connections: &'a Connections,
    /// The pair of tables.
    pub fence: &'a Fence,
    /// The run.
    pub run: Id,
    /// What the operator wants meanwhile.
    pub control: &'a Control<'a>,
    /// Task and sub-task.
    pub sub_task: (u32, &'a str),
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
    /// Runs the SQL of one side of the rows.
    pub fn run_sql(&mut self, when: When, sql: &SideSql) -> Result<()> {
        let (word, earlier) = match when {
            When::Before => ("before", 0),
            When::After => ("after", SOURCE_AFTER),
        };
        self.source.set_lock_wait(LockWait::Operator)?;
        for (i, statement) in sql.source.iter().enumerate() {
            let number = earlier + i as i64 + 1;
            let Some(owner) = self.owner else {
                return Err(Error::new(Kind::Internal, "source SQL without an owner row"));
            };
            if owner.steps_done(self.source, &self.run)? >= number {
                continue;
            }
            owner
                .run_step(self.source, &self.run, number, statement)
                .map_err(|e| statement_failed(e, word, "source", i))?;
            failpoint::hit(
                if when == When::Before { "steps.source" } else { "steps.source_after" },
                i as u64 + 1,
            );
        }
        for (i, statement) in sql.dest.iter().enumerate() {
            let step = match when {
                When::Before => Step::BeforeDest(i),
                When::After => Step::AfterDest(i),
            };
            self.at_dest(step, LockWait::Operator, true, |_| Ok(vec![statement.clone()]))
                .map_err(|e| statement_failed(e, word, "destination", i))?;
            failpoint::hit(
                if when == When::Before { "steps.before" } else { "steps.after" },
                i as u64 + 1,
            );
        }
        Ok(())
    }

    /// Records that something without a statement of its own is done.
    pub fn done(&mut self, step: Step) -> Result<()> {
        self.at_dest(step, LockWait::Operator, false, |_| Ok(Vec::new()))
    }

    /// Runs a step at the destination that is not done yet, and records it, in one transaction.
    /// `statements` finds out what to run when its turn has come; `may_commit` says whether some of
    /// it may commit by itself, where the database does that.
    /// The fence is held shared meanwhile, so that a run that is over (believed dead, and back)
    /// does nothing to a table that belongs to a later one.
    fn at_dest(
        &mut self,
        step: Step,
        wait: LockWait,
        may_commit: bool,
        statements: impl FnOnce(&mut dyn Connection) -> Result<Vec<String>>,
    ) -> Result<()> {
        let (pair, epoch, run) = (self.fence.pair.clone(), self.fence.epoch, self.run);
        if ledger::step_done(self.dest, &pair, &run, step)? {
            return Ok(());
        }
        let work = |dest: &mut dyn Connection| {
            ledger::check_epoch(dest, &pair, epoch, Seat::Step)?;
            for (i, statement) in (1..).zip(statements(dest)?) {
                dest.execute(&statement, &[]).map_err(|e| match wait {
                    LockWait::Definition => e.detail(format!("statement: {statement}")),
                    _ => e,
                })?;
                failpoint::hit("steps.statement", i);
            }
            ledger::record_step(dest, &pair, &run, step)
        };
        self.dest.set_lock_wait(wait)?;
        if !may_commit || !self.dest.dialect().ddl_commits() {
            return in_transaction(self.dest, work);
        }
        // A statement that commits by itself gives up what its own transaction holds: another
        // connection holds the fence.
        let mut guard = self.connections.take(self.dest_link)?;
        in_transaction(guard.as_mut(), |guard| {
            ledger::check_epoch(guard, &pair, epoch, Seat::Guard)?;
            in_transaction(self.dest, work)
        })
    }

    /// Does what needs a table alone. Whoever comes to the table while a statement waits for that waits
    /// behind it: so each try is short, others get their turn between two of them, and an operator is
    /// heard.
    fn alone<T>(&mut self, table: &str, mut work: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let (began, (task, name)) = (Instant::now(), self.sub_task);
        let mut pause = Duration::ZERO;
        loop {
            self.control.pause(task, name, pause)?;
            match work(self) {
                Err(e) if e.kind == Kind::Contention => {
                    // The guard of the step may have been lost with what waited.
                    let users = self.dest.users_of(table)?;
                    if began.elapsed() >= IN_USE_MAX {
                        return Err(in_use(e, table, users));
                    }
                    if pause.is_zero() {
                        log::warn!("{name}: waits for {table}, which is in use: {users:?}");
                    }
                }
                done => return done,
            }
            pause = (pause * 2).clamp(PAUSES.0, PAUSES.1);
        }
    }

    /// Empties the destination of `full`. (Where the statement commits by itself, it may run again
    /// after a crash: nothing has landed under this run yet, so that this does no harm.)
    pub fn empty(&mut self, table: &Table) -> Result<()> {
        let (Statement { sql: statement, .. }, commits) = self.dest.dialect().truncate(table);
        let emptied = self.alone(&table.name, |steps| {
            let statements = |_: &mut dyn Connection| Ok(vec![statement.clone()]);
            steps.at_dest(Step::Emptied, LockWait::Definition, commits, statements)
        });
        emptied.map_err(|e| match e.kind {
            // Rows of others refer to what would be deleted.
            Kind::Data | Kind::Parent => {
                let by: Vec<_> = table.referenced_by_others().map(|f| f.child.as_str()).collect();
                Error { kind: Kind::Refused, ..e }
                    .context(format!("destination {} cannot be emptied", table.name))
                    .detail(format!("it is referenced by {}", by.join(", ")))
                    .hint(
                        "Rows of those tables refer to it. Empty them first, by before = { dest = \
                         [\"DELETE FROM …\"] }, or take the foreign keys away while it is loaded.",
                    )
            }
            _ => e,
        })
    }

    /// Makes the shadow table of a swap.
    pub fn make_shadow(&mut self, table: &Table) -> Result<()> {
        let dialect = self.dest.dialect();
        let mut statements = sql_of(dialect.create_like(&shadow_name(&table.name), table)?);
        if let Some(old) = dialect.swapped_out(&table.name) {
            // From now on it proves that this run has swapped.
            statements.insert(0, format!("DROP TABLE IF EXISTS {}", dialect.table(&old)));
        }
        self.alone(&table.name, |steps| {
            let statements = |_: &mut dyn Connection| Ok(statements.clone());
            steps.at_dest(Step::Emptied, LockWait::Definition, true, statements)?;
            // What would stand against the swap at the end is better known now.
            steps.dest.ready_to_swap(&shadow_name(&table.name), table).map(drop)
        })
    }

    /// Whether the shadow has taken the destination's place already.
    pub fn swapped(&mut self, table: &Table) -> Result<bool> {
        let (pair, run) = (self.fence.pair.clone(), self.run);
        if ledger::step_done(self.dest, &pair, &run, Step::Swapped)? {
            return Ok(true);
        }
        if !ledger::step_done(self.dest, &pair, &run, Step::Emptied)?
            || self.dest.describe(&shadow_name(&table.name))?.is_some()
        {
            return Ok(false);
        }
        // Swapped, and killed before the step was recorded? Only the old table can tell.
        match self.dest.dialect().swapped_out(&table.name) {
            Some(old) if self.dest.describe(&old)?.is_some() => Ok(true),
            _ => Err(Error::new(
                Kind::Refused,
                format!("the table that was being loaded beside {} is gone", table.name),
            )
            .detail(format!("it was called {}", shadow_name(&table.name)))
            .hint("Somebody has dropped it, or the destination was restored without it. Run the task with \
                   --restart to load it anew.")),
        }
    }

    /// Puts the shadow in the destination's place, and drops the old table.
    pub fn swap(&mut self, table: &Table) -> Result<()> {
        self.swapped(table)?;
        failpoint::hit("steps.before_swap", 1);
        self.alone(&table.name, |steps| {
            let is_swapped = steps.swapped(table)?;
            steps.at_dest(Step::Swapped, LockWait::Definition, true, |dest| {
                if is_swapped {
                    return Ok(Vec::new());
                }
                let new = shadow_name(&table.name);
                let mut statements = dest.ready_to_swap(&new, table)?;
                statements.extend(sql_of(dest.dialect().swap(&new, table)?));
                Ok(statements)
            })
        })?;
        failpoint::hit("steps.after_swap", 1);
        let Some(old) = self.dest.dialect().swapped_out(&table.name) else { return Ok(()) };
        let drop_old = format!("DROP TABLE IF EXISTS {}", self.dest.dialect().table(&old));
        self.alone(&old, |steps| {
            steps.dest.set_lock_wait(LockWait::Definition)?;
            steps.dest.execute(&drop_old, &[]).map(drop)
        })
    }
}

fn in_use(e: Error, table: &str, users: Vec<String>) -> Error {
    let mut error = Error::new(
        e.kind,
        format!("table {table} was in use for {} s, and is needed alone", IN_USE_MAX.as_secs()),
    );
    error.details.extend(e.details);
    error.details.push(e.message);
    error.details.extend(users);
    error.hint(
        "A session that has read from the table keeps it until its transaction ends. Let it come to \
         its end, or end it; nothing was changed meanwhile.",
    )
}

fn sql_of(statements: Vec<Statement>) -> Vec<String> {
    statements.into_iter().map(|statement| statement.sql).collect()
}

/// Name of the table that is loaded beside `table`.
pub fn shadow_name(table: &str) -> String {
    let mut parts = split_table_name(table);
    if let Some(last) = parts.last_mut() {
        last.push_str(SHADOW_SUFFIX);
    }
    parts.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(".")
}

/// The failure of an operator's statement, which is the `i`th (from 0) of its side.
pub(crate) fn statement_failed(e: Error, word: &str, side: &str, i: usize) -> Error {
    let e = e.context(format!("SQL {word} at the {side}, statement {}", i + 1));
    match e.kind {
        // The statement is the operator's; its failure is nobody's bad row, nor does it keep the
        // run from starting.
        Kind::Data | Kind::Parent | Kind::Config => Error { kind: Kind::Database, ..e },
        _ => e,
    }
}
