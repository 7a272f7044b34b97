//! `ssync check`: everything that can be known before a row moves, and a trial that moves a few
//! and takes them back.

mod keys;
mod sql;

pub use self::keys::needs_another_key;

use std::collections::{BTreeMap, BTreeSet};
use std::ops;

use serde::Serialize;
use ssync_common::batch::{BatchBuilder, BatchLimits, ReadBatch, value_at};
use ssync_common::config::{FullMethod, TableMode, TableTask, Task};
use ssync_common::connector::{Connection, Gap, LinkParams, WriteMode, open};
use ssync_common::crypto::KeyRing;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Place};
use ssync_common::schema::Table;
use ssync_common::value::Value;
use ssync_writer::transform::Transformer;

use crate::identity;
use crate::needs;
use crate::permits;
use crate::plan::{Finding, Level, Planned, TablePlan};
use crate::source::{Range, RowState, STATUS_COLUMN, SourceTable};
use crate::table_run::describe_sides;
use crate::trigger_trial::states_are_kept;

/// Rows that a trial moves.
const TRIAL_ROWS: u64 = 20;

/// Of a `full` sub-task and another one into the same table.
const INSERTS_TWICE: &str = "Rows that the full run has sent would be inserted again. Give each of \
                             the two a destination of its own, or set write = \"upsert\" for the \
                             one that is not full.";

/// What a check of one table found.
#[derive(Debug, Clone, Serialize)]
pub struct TableCheck {
    /// Task.
    pub task: u32,
    /// Sub-task.
    pub table: String,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// Each column pair: source, destination, what happens to its values.
    pub columns: Vec<ColumnCheck>,
    /// Rows that the trial moved and took back; absent without a trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_rows: Option<u64>,
    /// Rows of the trial whose parents are not there: what becomes of them was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_waiting: Option<u64>,
    /// Statements of `before` and `after` that could not be looked at without running them.
    pub untried: u64,
    /// The destination: what is the same for all who reach its server, and its name in full.
    #[serde(skip)]
    dest: Option<(String, String)>,
    /// What a run does to it.
    #[serde(skip)]
    fills: Fills,
    /// Why it ended early, if it did: a run would fail with it.
    #[serde(skip)]
    failures: Vec<Kind>,
}

/// What a run does to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fills {
    /// Empties it, and fills it anew.
    Anew,
    /// Adds rows; one that comes twice is there twice, or fails.
    Once,
    /// Adds rows; one that comes twice does no harm.
    Again,
}

impl Fills {
    fn of(table: &TableTask) -> Fills {
        match (table.mode, table.write) {
            (TableMode::Full, _) => Fills::Anew,
            (_, WriteMode::Insert) => Fills::Once,
            (_, WriteMode::Upsert | WriteMode::Replace | WriteMode::Ignore) => Fills::Again,
        }
    }
}

impl TableCheck {
    /// Adds an error where one of `others` empties the same destination, or is harmed by that.
    pub fn compare<'a>(&mut self, others: impl IntoIterator<Item = &'a TableCheck>) {
        let Some(place) = &self.dest else { return };
        let contradict = |other: &TableCheck| {
            matches!(
                (self.fills, other.fills),
                (Fills::Anew, Fills::Anew | Fills::Once) | (Fills::Once, Fills::Anew)
            )
        };
        let mut others = others.into_iter().filter(|o| o.dest.as_ref() == Some(place));
        let Some(other) = others.find(|other| contradict(other)) else { return };
        let (does, hint) = match other.fills {
            Fills::Anew if self.fills == Fills::Anew => (
                "empties the same destination",
                "Whichever runs later deletes the rows of the other. Give each full sub-task a \
                 destination of its own.",
            ),
            Fills::Anew => ("empties the same destination", INSERTS_TWICE),
            Fills::Once | Fills::Again => ("inserts into the same destination", INSERTS_TWICE),
        };
        let finding = Finding {
            level: Level::Error,
            column: None,
            text: format!("task {}, table {} {does}, {}", other.task, other.table, place.1),
            hint: Some(hint.to_owned()),
        };
        self.findings.insert(0, finding);
    }

    /// Whether everything that a run does was tried, as far as it was asked for.
    pub fn is_whole(&self) -> bool {
        self.untried == 0 && self.trial_waiting.is_none_or(|rows| rows == 0)
    }

    /// Whether the table can be run.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|f| f.level != Level::Error)
    }

    /// The exit code, by the rule of a run: 0 where it can be run, 1 where something failed (a
    /// server is down), 2 where it is refused by configuration or definitions.
    pub fn exit_code(&self) -> u8 {
        match self.passed() {
            true => 0,
            // A failure outweighs a refusal: it is what an operator must look at first.
            false => self.failures.iter().map(|kind| kind.exit_code()).min().unwrap_or(2),
        }
    }

    fn fail(&mut self, e: &Error) {
        self.findings.push(finding_of(e));
        self.failures.push(e.kind);
    }
}

/// A column pair.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnCheck {
    /// Source column and type.
    pub source: String,
    /// Destination column and type.
    pub dest: String,
    /// `encrypt`, `decrypt` or nothing.
    pub crypto: Option<String>,
    /// `exact`, `checked`, `lossy` or `refused`.
    pub fidelity: &'static str,
    /// Why it is not exact.
    pub reason: Option<String>,
}

/// What a check is given.
pub struct CheckParams<'a> {
    /// The task, with the tables to check.
    pub task: &'a Task,
    /// Source link, or why it cannot be used.
    pub source: Result<LinkParams>,
    /// Destination link, or why it cannot be used.
    pub dest: Result<LinkParams>,
    /// Connections that a link allows, by its name.
    pub limits: BTreeMap<String, u32>,
    /// Whether the source's address may lead to any replica of one cluster.
    pub source_failover: bool,
    /// The instance that checks.
    pub instance: &'a str,
    /// Whether the source may lose commits.
    pub source_allows_nondurable: bool,
    /// Whether the destination may lose commits.
    pub dest_allows_nondurable: bool,
    /// Keys by name, or why they cannot be used.
    pub keys: Result<BTreeMap<String, KeyRing>>,
    /// Whether to move a few rows and take them back.
    pub trial: bool,
}

/// Checks the tables of a task. Nothing is left changed.
pub fn check_task(params: &CheckParams<'_>) -> Vec<TableCheck> {
    params.task.tables.iter().map(|table| check_table(params, table)).collect()
}

fn check_table(params: &CheckParams<'_>, table: &TableTask) -> TableCheck {
    let mut check = TableCheck {
        task: params.task.id,
        table: table.name.clone(),
        findings: Vec::new(),
        columns: Vec::new(),
        trial_rows: None,
        trial_waiting: None,
        untried: 0,
        dest: None,
        fills: Fills::of(table),
        failures: Vec::new(),
    };
    let limit = |link: &str| params.limits.get(link).copied().unwrap_or(u32::MAX);
    check.findings.extend(permits::too_narrow(params.task, table, limit).map(|e| finding_of(&e)));
    if let Err(e) = try_table(params, table, &mut check) {
        check.fail(&e);
    }
    check.findings.sort_by_key(|f| std::cmp::Reverse(f.level));
    check
}

fn finding_of(e: &Error) -> Finding {
    let mut text = e.message.clone();
    for fact in &e.details {
        text += &format!("; {fact}");
    }
    Finding { level: Level::Error, column: e.column.clone(), text, hint: e.hint.clone() }
}

fn try_table(params: &CheckParams<'_>, table: &TableTask, check: &mut TableCheck) -> Result<()> {
    let named = |link: &str, e: Error| e.detail(format!("link {link}"));
    // Both sides are tried, so that both are told about.
    let source = params.source.clone().and_then(|l| Ok((open(&l)?, l)));
    let dest = params.dest.clone().and_then(|l| Ok((open(&l)?, l)));
    if let (Err(e), Err(_)) = (&source, &dest) {
        check.fail(&named(&params.task.source, e.clone()));
    }
    let (mut dest, dest_link) = dest.map_err(|e| named(&params.task.dest, e))?;
    let (mut source, source_link) = source.map_err(|e| named(&params.task.source, e))?;
    if let Err(e) = &params.keys {
        check.fail(e);
    }
    let links = (&source_link, &dest_link);
    let Planned { plan, findings } =
        describe_sides(source.as_mut(), dest.as_mut(), params.task, table, links)?;
    check.findings.extend(findings);
    access(params, table, source.as_mut(), dest.as_mut(), check)?;
    sql::try_filter(table, source.as_mut(), check)?;
    sql::look_at(table, source.as_mut(), dest.as_mut(), check)?;
    if table.mode == TableMode::Status {
        odd_states(table, source.as_mut(), check)?;
    }
    if let Some(found) = dest.describe(&table.dest)? {
        if table.mode == TableMode::Full {
            referred_to(table, dest.as_mut(), &found, check)?;
        }
        check.dest = Some((found.server, found.full_name));
    }
    let Some(plan) = plan else { return Ok(()) };
    if let Err(e) = identity::initial(&plan) {
        check.fail(&e);
    }
    check.findings.extend(keys::unknown_rows(params, table, &plan, dest.as_mut())?);
    if let Ok(keys) = &params.keys {
        let mut rotated = crate::plan::rotated_keys(&plan, keys);
        if rotated.is_empty() {
            rotated = keys::foreign(table, &plan, keys, source.as_mut(), dest.as_mut())?;
        }
        check.findings.extend(rotated);
        if let Err(e) = keys::are_there(table, &plan, keys, source.as_mut(), dest.as_mut()) {
            check.fail(&e);
        }
    }
    if table.mode == TableMode::Status && check.passed() && plan.source_triggers.possible() {
        let rows = source_rows(&plan, source.as_ref());
        let states = [RowState::ToSend, RowState::Done, RowState::Failed];
        let kept = states_are_kept(source.as_mut(), &rows, &states);
        check.findings.extend(kept.err().map(|e| finding_of(&e)));
    }
    check.columns = plan.pairs.iter().map(column_check).collect();
    if params.trial && check.passed() {
        let keys = params.keys.clone()?;
        let Trial { rows, waiting, orphan } = trial(&plan, &keys, source.as_mut(), dest.as_mut())?;
        check.trial_rows = Some(rows);
        check.trial_waiting = Some(waiting);
        check.findings.extend(orphan.map(|e| awaits_parents(&plan, &e)));
    }
    Ok(())
}

fn column_check(pair: &crate::plan::ColumnPair) -> ColumnCheck {
    use ssync_common::fidelity::Fidelity;
    ColumnCheck {
        source: format!("{} {}", pair.source.name, pair.source.declared),
        dest: format!("{} {}", pair.dest.name, pair.dest.declared),
        crypto: pair.crypto.clone(),
        fidelity: match pair.fidelity {
            Fidelity::Exact => "exact",
            Fidelity::Checked(_) => "checked",
            Fidelity::Lossy(_) => "lossy",
            Fidelity::Refused(_) => "refused",
        },
        reason: pair.fidelity.reason().map(str::to_owned),
    }
}

fn access(
    params: &CheckParams<'_>,
    table: &TableTask,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
    check: &mut TableCheck,
) -> Result<()> {
    let status = table.mode == TableMode::Status;
    let owns = needs::owns_source(table);
    let without_hint = |text: String| Gap { text, hint: None };
    let at_source = source.access_gaps(&table.source, false, owns)?;
    let at_dest = dest.access_gaps(&table.dest, true, false)?;
    let mut at_source: Vec<_> = at_source.into_iter().map(without_hint).collect();
    let mut at_dest: Vec<_> = at_dest.into_iter().map(without_hint).collect();
    match needs::at_source(table, source) {
        Ok(needs) => at_source.extend(source.missing(&needs)?),
        Err(e) => check.fail(&e),
    }
    // One that is not there, or cannot be swapped, has been told about.
    if let Some(found) = dest.describe(&table.dest)? {
        match needs::at_dest(table, &found, dest) {
            Ok(needs) => at_dest.extend(dest.missing(&needs)?),
            Err(e) if check.passed() => check.fail(&e),
            Err(_) => {}
        }
    }
    let sides = [(&params.task.source, at_source), (&params.task.dest, at_dest)];
    let own = own_tables(table, dest, !sides[1].1.is_empty())?;
    for (link, gaps) in sides {
        check.findings.extend(gaps.into_iter().map(|gap| Finding {
            level: Level::Error,
            column: None,
            text: format!("link {link}: {}", gap.text),
            hint: gap.hint,
        }));
    }
    check.findings.extend(own);
    check.findings.extend(dest.drawbacks()?.into_iter().map(|drawback| Finding {
        level: Level::Warning,
        column: None,
        text: format!("link {}: {drawback}", params.task.dest),
        hint: None,
    }));
    let source_gap = if status { source.durability_gap()? } else { None };
    let sides = [
        (&params.task.source, params.source_allows_nondurable, source_gap),
        (&params.task.dest, params.dest_allows_nondurable, dest.durability_gap()?),
    ];
    for (link, allowed, gap) in sides {
        check.findings.extend(gap.map(|gap| Finding {
            level: if allowed { Level::Warning } else { Level::Error },
            column: None,
            text: format!("link {link} may lose commits in a crash: {gap}"),
            hint: Some("Make it durable, or set allow_nondurable = true on the link.".into()),
        }));
    }
    Ok(())
}

/// Rows whose state is none of 0 to 3 are never touched; somebody should know.
fn odd_states(
    table: &TableTask,
    source: &mut dyn Connection,
    check: &mut TableCheck,
) -> Result<()> {
    let d = source.dialect();
    let status = d.folded(STATUS_COLUMN);
    let sql =
        format!("SELECT {status}, COUNT(*) FROM {} GROUP BY {status}", d.table(&table.source));
    // Where the column is missing, the plan has said so already.
    let Ok(rows) = source.query(&sql, &[]) else { return Ok(()) };
    for row in rows {
        let (Some(state), Some(count)) = (row.first(), row.get(1).and_then(|v| v.as_i64())) else {
            continue;
        };
        if !state.as_i64().is_some_and(|s| (0..=3).contains(&s)) {
            check.findings.push(Finding {
                level: Level::Warning,
                column: Some(STATUS_COLUMN.to_owned()),
                text: format!(
                    "{count} rows have {STATUS_COLUMN} {}",
                    state.plain().unwrap_or_else(|| "NULL".to_owned())
                ),
                hint: Some("Only 0 to 3 mean anything; such rows are never sent.".into()),
            });
        }
    }
    Ok(())
}

/// A table that is emptied row by row cannot be while others' rows refer to it. SQL before the run
/// may see to that.
fn referred_to(
    table: &TableTask,
    dest: &mut dyn Connection,
    found: &Table,
    check: &mut TableCheck,
) -> Result<()> {
    if table.full != FullMethod::Truncate || found.referenced_by_others().next().is_none() {
        return Ok(());
    }
    let children = dest.referring(found)?;
    if !children.is_empty() {
        check.findings.push(Finding {
            level: if table.before.dest.is_empty() { Level::Error } else { Level::Warning },
            column: None,
            text: format!(
                "destination {} cannot be emptied: rows of {} refer to it",
                table.dest,
                children.join(", ")
            ),
            hint: Some(
                "Empty those tables first, by before = { dest = [\"DELETE FROM …\"] }, or use \
                 another mode."
                    .to_owned(),
            ),
        });
    }
    Ok(())
}

fn source_rows(plan: &TablePlan, source: &dyn Connection) -> SourceTable {
    SourceTable {
        dialect: source.dialect(),
        name: plan.task.source.clone(),
        order: plan.order.clone(),
        address: None,
        touched: plan.touched.clone(),
        filter: plan.task.filter.clone(),
        window: None,
        triggers: plan.source_triggers.clone(),
    }
}

/// What became of the rows of a trial.
#[derive(Default)]
struct Trial {
    /// Landed, and were taken back.
    rows: u64,
    /// Could not, since their parents are not there.
    waiting: u64,
    /// What was said of a row whose parent is not there, if of any.
    orphan: Option<Error>,
}

/// Rows whose parents are not there wait for them: with tables that are loaded one after the other
/// that is how it is before the first run.
fn awaits_parents(plan: &TablePlan, e: &Error) -> Finding {
    let keys = || {
        plan.dest
            .foreign_keys
            .iter()
            .filter(|key| e.message.contains(&format!("constraint {}:", key.name)))
    };
    let named: BTreeSet<_> = keys().map(|key| key.parent.as_str()).collect();
    let all = || plan.dest.foreign_keys.iter().map(|key| key.parent.as_str()).collect();
    let parents: BTreeSet<_> = if named.is_empty() { all() } else { named };
    let parents: Vec<_> = parents.into_iter().collect();
    Finding {
        level: Level::Warning,
        hint: Some(format!(
            "Its parents are not loaded yet, or not all of them: {}. They must land first: by a table \
             that stands before this one in the task, or by a task that runs before.",
            parents.join(", ")
        )),
        ..finding_of(e)
    }
}

/// Tries rows that are still to be sent, or where there are none (or nobody can tell) any, as if they
/// were not at the destination yet.
fn trial(
    plan: &TablePlan,
    keys: &BTreeMap<String, KeyRing>,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
) -> Result<Trial> {
    if plan.task.mode == TableMode::Status {
        let to_send = format!("{} = 0", source.dialect().folded(STATUS_COLUMN));
        let trial = try_rows(plan, keys, source, dest, Some(&to_send))?;
        if trial.rows > 0 || trial.orphan.is_some() {
            return Ok(trial);
        }
    }
    try_rows(plan, keys, source, dest, None)
}

/// Deletes what has in common with one of the rows what must not be had in common. `value` gives that
/// of a column in a row.
fn clear_way(
    plan: &TablePlan,
    dest: &mut dyn Connection,
    rows: ops::Range<usize>,
    value: impl Fn(usize, usize) -> Value,
) -> Result<()> {
    let d = dest.dialect();
    let load = &plan.load;
    for index in plan.dest.indexes.iter().filter(|i| i.unique && !i.partial) {
        let at = |name: &String| load.columns.iter().position(|c| c.name == *name);
        let Some(places) = index.columns.iter().map(at).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let equal = places.iter().enumerate().map(|(n, place)| {
            let column = &load.columns[*place];
            format!("{} = {}", d.quote(&column.name), d.param(n + 1, Some(column)))
        });
        let equal: Vec<_> = equal.collect();
        let sql = format!("DELETE FROM {} WHERE {}", d.table(&load.table), equal.join(" AND "));
        for row in rows.clone() {
            let values: Vec<Value> = places.iter().map(|place| value(*place, row)).collect();
            if !values.contains(&Value::Null) {
                dest.execute(&sql, &values)?;
            }
        }
    }
    Ok(())
}

/// Reads a few rows, transforms them and loads them in a transaction that is rolled back. With a
/// condition they are to land beside what is there, without one in its place.
fn try_rows(
    plan: &TablePlan,
    keys: &BTreeMap<String, KeyRing>,
    source: &mut dyn Connection,
    dest: &mut dyn Connection,
    condition: Option<&str>,
) -> Result<Trial> {
    let conditions: Vec<_> = plan
        .task
        .filter
        .as_deref()
        .into_iter()
        .chain(condition)
        .map(|c| format!("({c})"))
        .collect();
    let table = SourceTable {
        filter: (!conditions.is_empty()).then(|| conditions.join(" AND ")),
        ..source_rows(plan, source)
    };
    let (sql, params) = table.select_rows(&plan.read, &Range::all(), TRIAL_ROWS);
    let sql = if plan.order.is_empty() { table.dialect.limit(&sql, TRIAL_ROWS) } else { sql };
    let limits = BatchLimits { rows: TRIAL_ROWS as usize, slot_bytes: 64 << 20 };
    let mut batches: Vec<ReadBatch> = Vec::new();
    let mut builder = BatchBuilder::new(&plan.read, limits);
    source.read(&sql, &params, &plan.read, &mut builder, &mut |batch| {
        batches.push(batch);
        Ok(())
    })?;
    let mut transformer = Transformer::new(&plan.transforms, &plan.empties, keys)?;
    let mut trial = Trial::default();
    for batch in &batches {
        let (landing, bad) = transformer.apply(&batch.rows)?;
        if let Some(bad) = batch.bad.iter().chain(&bad).next() {
            return Err(Error::new(
                Kind::Data,
                format!("trial: column {}: {}", bad.column, bad.message),
            ));
        }
        let mut land = |rows: ops::Range<usize>| {
            dest.begin()?;
            let cleared = match (condition, plan.load.mode) {
                (None, WriteMode::Insert) => {
                    let value = |at: usize, row| value_at(&landing, at, plan.load.kinds[at], row);
                    clear_way(plan, dest, rows.clone(), value)
                }
                _ => Ok(()),
            };
            let loaded = cleared.and_then(|()| dest.load(&plan.load, &landing, rows));
            dest.rollback()?;
            match loaded {
                Ok(loaded) => trial.rows += loaded.rows + loaded.skipped,
                Err(e) if e.kind == Kind::Parent => {
                    trial.orphan.get_or_insert(e.context("trial"));
                    return Ok(false);
                }
                Err(e) => return Err(e.context("trial")),
            }
            Ok(true)
        };
        let all = 0..landing.num_rows();
        if !land(all.clone())? {
            // The others may land, or have something else against them.
            for row in all {
                trial.waiting += u64::from(!land(row..row + 1)?);
            }
        }
    }
    Ok(trial)
}

/// Where something stands against the account: what must be there for ssync, so that the people who
/// own the schema can make it. There is no other place for it.
fn own_tables(
    table: &TableTask,
    dest: &mut dyn Connection,
    has_gaps: bool,
) -> Result<Option<Finding>> {
    let place = Place::beside(&table.dest);
    if !has_gaps || dest.describe(place.fence())?.is_some() {
        return Ok(None);
    }
    Ok(Some(Finding {
        level: Level::Warning,
        column: None,
        text: format!("{} and others are not there yet, beside {}", place.fence(), table.dest),
        hint: Some(format!(
            "Where the account may not create them, have the owner of the schema run: {}; and let \
             the account SELECT, INSERT, UPDATE and DELETE there.",
            ledger::definitions(dest.dialect(), &place).join("; ")
        )),
    }))
}
