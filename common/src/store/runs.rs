//! What ran: `T_RUN`, `T_BATCH`, `proc_use_times`. A record for people; what has landed is for
//! the destination's ledger to say.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::TableMode;
use crate::error::{Error, Result};
use crate::process::RunId;
use crate::store::attempts::{self, Attempts};
use crate::store::config_tables::{of_table, of_tables};
use crate::store::empties::{self, EmptyRuns};
use crate::store::lock;
use crate::store::sql::{Db, Filter, IntoValue, Row, Select, Within, json, word};
use crate::store::{AttemptState, RowState, Store};
use crate::value::{Key, Value};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Under way, or to be resumed by the next start.
    Open,
    /// Every row landed and the books balance.
    Done,
    /// Failed.
    Failed,
    /// Stopped by an operator.
    Interrupted,
    /// Died; another run has settled what it left.
    Abandoned,
}

/// The rows of a run, counted. Of one with several attempts, each row counts once, however often it
/// was claimed and read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Claimed at the source, and not put back.
    pub claimed: u64,
    /// Read.
    pub read: u64,
    /// Landed.
    pub landed: u64,
    /// Set to 3.
    pub failed: u64,
    /// Edited or deleted between claim and read.
    pub withdrawn: u64,
    /// Set to 2.
    pub settled: u64,
    /// Landed, and changed before they could be settled.
    pub changed: u64,
    /// Left out because their key exists.
    pub skipped: u64,
}

/// A run that begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: u32,
    /// Its sub-task.
    pub table: String,
    /// Which rows it sends.
    pub mode: TableMode,
    /// Fingerprint of its plan, at most 128 characters.
    pub plan_hash: String,
    /// When it begins.
    pub begin: Timestamp,
    /// The run before it, if the destination knows that one to have come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_before: Option<RunId>,
    /// The attempt that begins or resumes it; `None`: an older version did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<RunId>,
    /// Whether its task is recorded in `proc_use_times`.
    #[serde(default)]
    pub record_use_times: bool,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Its state from now on.
    pub state: RunState,
    /// Rows of the attempt that ends. How many of the run have landed or are bad, what was written
    /// down on the way says.
    pub counts: RunCounts,
    /// The outcome in a line.
    pub message: Option<String>,
    /// The failure.
    pub error: Option<Error>,
    /// When it ended.
    pub end: Timestamp,
}

/// A run as it is recorded. Programs get it as [`Shown`].
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Its task.
    pub task: u32,
    /// Its sub-task.
    pub table: String,
    /// Which rows it sends.
    pub mode: TableMode,
    /// Where it stands.
    pub state: RunState,
    /// Fingerprint of its plan.
    pub plan_hash: String,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Its rows, as far as they were recorded, of all attempts together.
    pub counts: RunCounts,
    /// How often a process went at it.
    pub attempts: u64,
    /// How long its attempts took, in seconds.
    pub seconds: f64,
    /// Open, and nobody works at it: its process has died, and the next start resumes it.
    pub interrupted: bool,
    /// The outcome in a line.
    pub message: Option<String>,
    /// The failure.
    pub error: Option<Error>,
}

impl RunRecord {
    /// Rows that have landed. Of a run under way, or broken off, whose rows carry no state, only the
    /// destination knows: the run finds out when it goes on, or ends.
    pub fn landed(&self) -> Option<u64> {
        let is_known = self.mode == TableMode::Status || self.state != RunState::Open;
        is_known.then_some(self.counts.landed)
    }
}

/// A run for programs.
#[derive(Serialize)]
struct Shown<'a> {
    id: RunId,
    task: u32,
    table: &'a str,
    mode: TableMode,
    state: RunState,
    plan_hash: &'a str,
    begin: Timestamp,
    end: Option<Timestamp>,
    counts: ShownCounts,
    attempt_count: u64,
    seconds: f64,
    interrupted: bool,
    message: Option<&'a str>,
    error: Option<&'a Error>,
}

/// Its rows; `None`: not known yet.
#[derive(Serialize)]
struct ShownCounts {
    claimed: Option<u64>,
    read: Option<u64>,
    landed: Option<u64>,
    failed: u64,
    withdrawn: u64,
    settled: Option<u64>,
    changed: u64,
    skipped: u64,
}

impl Serialize for RunRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let landed = self.landed();
        let known = |rows: u64| landed.map(|_| rows);
        let c = &self.counts;
        let shown = Shown {
            id: self.id,
            task: self.task,
            table: &self.table,
            mode: self.mode,
            state: self.state,
            plan_hash: &self.plan_hash,
            begin: self.begin,
            end: self.end,
            counts: ShownCounts {
                claimed: known(c.claimed),
                read: known(c.read),
                landed,
                failed: c.failed,
                withdrawn: c.withdrawn,
                settled: known(c.settled),
                changed: c.changed,
                skipped: c.skipped,
            },
            attempt_count: self.attempts,
            seconds: self.seconds,
            interrupted: self.interrupted,
            message: self.message.as_deref(),
            error: self.error.as_ref(),
        };
        shown.serialize(serializer)
    }
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this task.
    pub task: Option<u32>,
    /// Of one of these sub-tasks; empty: of any.
    pub tables: Vec<String>,
    /// Begun then or later.
    pub since: Option<Timestamp>,
    /// That failed, or of which an attempt failed before it was resumed.
    pub has_failed: bool,
    /// At most so many, the newest.
    pub limit: Option<u64>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// With a writer.
    Sent,
    /// In the destination.
    Landed,
    /// The source has been told.
    Settled,
    /// Cut into parts, which have records of their own.
    Split,
    /// Did not land.
    Failed,
}

/// What a run in `status` mode is known by at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// The source table's identity, 32 hexadecimal digits.
    pub source: String,
    /// The destination's record: its own random id, 32 hexadecimal digits.
    pub record: String,
    /// The number that source and destination had.
    pub counter: i64,
}

/// A batch, or a part of one that was split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its run.
    pub run: RunId,
    /// Number in the run, from 0.
    pub number: u64,
    /// Which part of a split batch, at most 190 characters; `None`: the whole one.
    pub part: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// Key of its first row; empty where rows have no key.
    pub low: Key,
    /// Key of its last row.
    pub high: Key,
    /// Where it stands.
    pub state: BatchState,
    /// When it went to a writer.
    pub sent: Option<Timestamp>,
    /// When its landing was known.
    pub landed: Option<Timestamp>,
    /// When the source was told.
    pub settled: Option<Timestamp>,
    /// The writer's number.
    pub writer: Option<u8>,
    /// By which record of the destination, and under which number of the run, it was settled;
    /// `None`: it was not, or an older version did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
}

/// A row of `proc_use_times`. How many rows it says, the store finds out: those of its run that no
/// earlier row tells of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UseTimes {
    /// The task.
    pub task: u32,
    /// The sub-task.
    pub table: String,
    /// The run.
    pub run: RunId,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Bytes that travelled in the attempt.
    pub bytes: u64,
    /// How it ended.
    pub result: RunState,
}

type CountOf = fn(&mut RunCounts) -> &mut u64;

/// Counts and their columns.
const COUNTS: [(&str, CountOf); 8] = [
    ("claimed_rows", |c| &mut c.claimed),
    ("read_rows", |c| &mut c.read),
    ("landed_rows", |c| &mut c.landed),
    ("failed_rows", |c| &mut c.failed),
    ("withdrawn_rows", |c| &mut c.withdrawn),
    ("settled_rows", |c| &mut c.settled),
    ("changed_rows", |c| &mut c.changed),
    ("skipped_rows", |c| &mut c.skipped),
];

/// A whole batch in the part column.
const WHOLE: &str = "-";

impl Store {
    /// One run.
    pub fn run(&mut self, run: RunId) -> Result<Option<RunRecord>> {
        let found = self.read(|db| select_runs(db, of_run(run), Some(1)))?;
        Ok(found.into_iter().next())
    }

    /// The run of a sub-task that a process went at last: not always the one that was begun last.
    pub fn last_run(&mut self, task: u32, table: &str) -> Result<Option<RunRecord>> {
        let run = self.read(|db| {
            for attempt in attempts::newest(db, task, table)? {
                // One that is under way has none yet.
                if let Some(run) = select_runs(db, of_run(attempt.run), Some(1))?.pop() {
                    let empty = empties::newest(db, task, table)?.map(EmptyRuns::last_run);
                    return Ok(empty.filter(|empty| empty.begin > attempt.begin).or(Some(run)));
                }
            }
            Ok(empties::newest(db, task, table)?.map(EmptyRuns::last_run))
        })?;
        if run.is_some() {
            return Ok(run);
        }
        // None is known of an older version's runs.
        let filter = RunFilter {
            task: Some(task),
            tables: vec![table.to_owned()],
            limit: Some(1),
            ..RunFilter::default()
        };
        Ok(self.runs(&filter)?.into_iter().next())
    }

    /// Runs, newest first.
    pub fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        let mut rows = of_tables(filter.task, &filter.tables);
        if let Some(since) = filter.since {
            rows = rows.at_least("begin_at", since);
        }
        if filter.has_failed {
            let failed = Filter::new().eq("attempt_state", word(&AttemptState::Failed));
            let of_attempt = Within { column: "run_id", table: "T_ATTEMPT", filter: failed };
            rows = rows.eq_or_within("run_state", word(&RunState::Failed), of_attempt);
        }
        self.read(|db| select_runs(db, rows.clone(), filter.limit))
    }

    /// Runs that are open and that nobody works at: their processes have died, and the next start of
    /// each resumes it. Oldest first.
    pub fn interrupted_runs(&mut self) -> Result<Vec<RunRecord>> {
        let open = Filter::new().eq("run_state", word(&RunState::Open));
        let mut runs = self.read(|db| select_runs(db, open.clone(), None))?;
        runs.retain(|run| run.interrupted);
        runs.reverse();
        Ok(runs)
    }

    /// The batches of a run, in order.
    pub fn batches(&mut self, run: RunId) -> Result<Vec<BatchRecord>> {
        self.read(|db| select_batches(db, of_run(run), &["batch_no", "part"]))
    }
}

/// What is known of a run.
pub(super) struct KnownRun {
    pub(super) id: RunId,
    pub(super) task: u32,
    pub(super) table: String,
    pub(super) state: RunState,
    pub(super) mode: TableMode,
    pub(super) begin: Timestamp,
    end: Option<Timestamp>,
    counts: RunCounts,
}

/// A run that is recorded.
pub(super) fn known(db: &mut Db, run: RunId) -> Result<Option<KnownRun>> {
    let mut columns = vec!["task_id", "table_name", "run_state", "row_mode", "begin_at", "end_at"];
    columns.extend(COUNTS.iter().map(|(column, _)| column));
    let rows = db.select(Select::new("T_RUN", &columns).filter(of_run(run)))?;
    let known = |row: &Row| {
        Ok(KnownRun {
            id: run,
            task: row.number("task_id")?,
            table: row.text("table_name")?,
            state: row.word("run_state")?,
            mode: row.word("row_mode")?,
            begin: row.time("begin_at")?,
            end: row.opt_time("end_at")?,
            counts: counts(row)?,
        })
    };
    rows.first().map(known).transpose()
}

/// Rows of a run that have landed so far: in `status` mode by its batches.
pub(super) fn total(db: &mut Db, run: &KnownRun) -> Result<u64> {
    match run.mode {
        TableMode::Status => settled_rows(db, run.id),
        TableMode::Full | TableMode::Increment => Ok(run.counts.landed),
    }
}

fn settled_rows(db: &mut Db, run: RunId) -> Result<u64> {
    let settled = of_run(run).eq("batch_state", word(&BatchState::Settled));
    db.number_of(("SUM", "row_count"), "T_BATCH", settled)
}

/// When a batch of a run was settled last.
pub(super) fn settled_last(db: &mut Db, run: RunId) -> Result<Option<Timestamp>> {
    let at = db.aggregate(("MAX", "settled_at"), "T_BATCH", of_run(run))?;
    Ok(at.as_str().and_then(|at| at.parse().ok()))
}

/// Rows of a run that are bad by now.
pub(super) fn bad_rows(db: &mut Db, run: RunId) -> Result<u64> {
    let bad = of_run(run).eq("row_state", word(&RowState::Bad));
    db.number_of(("COUNT", "error_no"), "T_ERROR_ROW", bad)
}

/// A run begins, or is resumed. When this comes late, what happened after it may be recorded
/// already: then that stands.
pub(super) fn begin(db: &mut Db, run: &NewRun, is_late: bool) -> Result<()> {
    insert_or_open(db, run, is_late)?;
    run.attempt.map_or(Ok(()), |attempt| attempts::joins(db, run, attempt))
}

fn insert_or_open(db: &mut Db, run: &NewRun, is_late: bool) -> Result<()> {
    if let Some(known) = known(db, run.id)? {
        let mut row = Vec::new();
        if is_late && run.begin < known.begin {
            row.push(("plan_hash", (&run.plan_hash).into_value()));
            row.push(("begin_at", run.begin.into_value()));
        }
        if !is_late || known.end.is_none_or(|end| end < run.begin) {
            row.push(("run_state", word(&RunState::Open)));
            // What an attempt before ended with is that attempt's.
            row.extend(["end_at", "message", "error"].map(|column| (column, Value::Null)));
        }
        if !row.is_empty() {
            db.update("T_RUN", &row, of_run(run.id))?;
        }
        return Ok(());
    }
    let mut row = vec![
        ("run_id", run.id.to_string().into_value()),
        ("task_id", run.task.into_value()),
        ("table_name", (&run.table).into_value()),
        ("row_mode", word(&run.mode)),
        ("run_state", word(&RunState::Open)),
        ("plan_hash", (&run.plan_hash).into_value()),
        ("begin_at", run.begin.into_value()),
    ];
    row.extend(count_values(RunCounts::default()));
    db.insert("T_RUN", &row)
}

/// What ends with a run.
#[derive(Default)]
pub(super) struct Ended {
    /// The attempt that came to an end.
    pub(super) attempt: Option<RunId>,
    /// Its row of `proc_use_times`.
    pub(super) use_times: Option<UseTimes>,
}

/// A run ends, for now or for good. When this comes late and a later end is recorded already, that
/// stands.
pub(super) fn finish(
    db: &mut Db,
    run: RunId,
    end: &RunEnd,
    ended: Ended,
    is_late: bool,
) -> Result<()> {
    let Some(known) = known(db, run)? else { return Ok(()) };
    let mut attempts = Attempts::of(db, run)?;
    let mut all = known.counts;
    for (_, of) in COUNTS {
        *of(&mut all) += *of(&mut end.counts.clone());
    }
    match (known.mode, ended.attempt) {
        (TableMode::Status, _) => all.landed = total(db, &known)?,
        (_, Some(attempt)) => all.landed = attempts.credited(attempt) + end.counts.landed,
        (_, None) => {}
    }
    all.failed = bad_rows(db, run)?;
    if let Some(attempt) = ended.attempt {
        let bytes = ended.use_times.as_ref().map(|times| times.bytes);
        attempts.end(db, attempt, end, (all.landed, bytes))?;
    }
    let known_attempts = attempts.list().len();
    if known_attempts > 1 || known_attempts == 1 && ended.attempt.is_none() {
        all = counted_once(known.mode, &all);
    }
    let mut row = count_values(all);
    if !attempts.list().is_empty() {
        row.push(("attempt_count", attempts.list().len().into_value()));
        row.push(("use_micros", attempts.micros().into_value()));
    }
    if !(is_late && known.end.is_some_and(|known| known > end.end)) {
        row.push(("run_state", word(&end.state)));
        row.push(("end_at", end.end.into_value()));
        row.push(("message", end.message.clone().into_value()));
        row.push(("error", end.error.as_ref().map(json).transpose()?.into_value()));
    }
    match empties::is_empty(&known, &all, end, attempts.list()) {
        true => empties::count(db, &known, end)?,
        false => {
            db.update("T_RUN", &row, of_run(run))?;
        }
    }
    let Some(times) = ended.use_times else { return Ok(()) };
    // A later record may have been written first, and has then recorded this attempt as dead.
    db.delete("proc_use_times", row_of(&times))?;
    let told = Moved::told(db, &known)?;
    let moved = Moved {
        rows: all.landed.saturating_sub(told.rows),
        // Those of attempts that died come with the next one that ends.
        bytes: attempts.bytes().saturating_sub(told.bytes).max(times.bytes),
    };
    match times.result {
        // Nobody finished it: only what would be missed is told.
        RunState::Abandoned if moved.rows == 0 => Ok(()),
        _ => insert_use_times(db, &times, moved),
    }
}

/// The rows of a run with several attempts, or whose only one died. What a process that died had
/// counted is not known, and others have counted rows that came once more: what became of each row
/// is known.
fn counted_once(mode: TableMode, sums: &RunCounts) -> RunCounts {
    let read = sums.landed + sums.failed;
    let claimed = if mode == TableMode::Status { read + sums.withdrawn } else { 0 };
    let settled = sums.landed.saturating_sub(sums.changed);
    RunCounts { claimed, read, settled, ..*sums }
}

/// What was written down late of a run that has ended counts.
pub(super) fn count_again(db: &mut Db, run: RunId) -> Result<()> {
    let Some(known) = known(db, run)?.filter(|run| run.end.is_some()) else { return Ok(()) };
    let all = total(db, &known)?;
    Attempts::of(db, run)?.attribute(db, None, all)?;
    db.update("T_RUN", &[("landed_rows", all.into_value())], of_run(run))?;
    let more = all.saturating_sub(Moved::told(db, &known)?.rows);
    let columns = ["begin_at", "row_count"];
    let select = Select::new("proc_use_times", &columns).filter(told(&known));
    let Some(last) = db.select(select.order(&["begin_at DESC"]).limit(1))?.pop() else {
        return Ok(());
    };
    let rows: u64 = last.number("row_count")?;
    let row = of_table(known.task, &known.table)
        .eq("begin_at", last.text("begin_at")?)
        .eq("run_id", run.to_string());
    db.update("proc_use_times", &[("row_count", (rows + more).into_value())], row).map(drop)
}

/// What `proc_use_times` says that moved.
struct Moved {
    rows: u64,
    bytes: u64,
}

impl Moved {
    /// All of its rows about a run together.
    fn told(db: &mut Db, run: &KnownRun) -> Result<Moved> {
        let mut sum = |column| db.number_of(("SUM", column), "proc_use_times", told(run));
        Ok(Moved { rows: sum("row_count")?, bytes: sum("byte_count")? })
    }
}

/// The rows of `proc_use_times` that tell of a run.
fn told(run: &KnownRun) -> Filter {
    let of_table = of_table(run.task, &run.table).at_least("begin_at", run.begin);
    of_table.eq("run_id", run.id.to_string())
}

/// An `increment` or `full` run has landed so many rows in earlier attempts, and in this one.
pub(super) fn progress(
    db: &mut Db,
    run: RunId,
    attempt: RunId,
    (resumed, landed): (u64, u64),
) -> Result<()> {
    if known(db, run)?.is_none() {
        return Ok(());
    }
    Attempts::of(db, run)?.attribute(db, Some(attempt), resumed)?;
    if landed > 0 {
        attempts::credit(db, run, attempt, landed)?;
    }
    db.update("T_RUN", &[("landed_rows", (resumed + landed).into_value())], of_run(run)).map(drop)
}

/// What tells a row of `proc_use_times` from others.
fn id_of(times: &UseTimes) -> [(&'static str, Value); 4] {
    [
        ("task_id", times.task.into_value()),
        ("table_name", (&times.table).into_value()),
        ("begin_at", times.begin.into_value()),
        ("run_id", times.run.to_string().into_value()),
    ]
}

fn row_of(times: &UseTimes) -> Filter {
    id_of(times).into_iter().fold(Filter::new(), |filter, (column, value)| filter.eq(column, value))
}

fn insert_use_times(db: &mut Db, times: &UseTimes, moved: Moved) -> Result<()> {
    let took = times.end.duration_since(times.begin).as_micros().max(0);
    let rest = [
        ("end_at", times.end.into_value()),
        ("use_micros", i64::try_from(took).unwrap_or(i64::MAX).into_value()),
        ("row_count", moved.rows.into_value()),
        ("byte_count", moved.bytes.into_value()),
        ("result", word(&times.result)),
    ];
    db.insert("proc_use_times", &[&id_of(times)[..], &rest].concat())
}

pub(super) fn of_run(run: RunId) -> Filter {
    Filter::new().eq("run_id", run.to_string())
}

fn count_values(mut counts: RunCounts) -> Vec<(&'static str, Value)> {
    COUNTS.iter().map(|(column, of)| (*column, (*of(&mut counts)).into_value())).collect()
}

fn counts(row: &Row) -> Result<RunCounts> {
    let mut counts = RunCounts::default();
    for (column, of) in COUNTS {
        *of(&mut counts) = row.number(column)?;
    }
    Ok(counts)
}

fn select_runs(db: &mut Db, filter: Filter, limit: Option<u64>) -> Result<Vec<RunRecord>> {
    let columns = [
        "run_id",
        "task_id",
        "table_name",
        "row_mode",
        "run_state",
        "plan_hash",
        "begin_at",
        "end_at",
        "claimed_rows",
        "read_rows",
        "landed_rows",
        "failed_rows",
        "withdrawn_rows",
        "settled_rows",
        "changed_rows",
        "skipped_rows",
        "attempt_count",
        "use_micros",
        "message",
        "error",
    ];
    let order = ["begin_at DESC", "run_id"];
    let mut select = Select::new("T_RUN", &columns).filter(filter).order(&order);
    if let Some(limit) = limit {
        select = select.limit(limit);
    }
    let run = |row: Row| {
        let (begin, end) = (row.time("begin_at")?, row.opt_time("end_at")?);
        let took = end.map_or(0, |end| end.duration_since(begin).as_micros().max(0));
        // A former version did not write it down.
        let micros =
            row.opt_number::<i64>("use_micros")?.map_or(took as f64, |micros| micros as f64);
        Ok(RunRecord {
            id: row.parsed("run_id")?,
            task: row.number("task_id")?,
            table: row.text("table_name")?,
            mode: row.word("row_mode")?,
            state: row.word("run_state")?,
            plan_hash: row.opt_text("plan_hash").unwrap_or_default(),
            begin,
            end,
            counts: counts(&row)?,
            attempts: row.opt_number("attempt_count")?.unwrap_or(1),
            seconds: micros / 1e6,
            interrupted: false,
            message: row.opt_text("message"),
            error: row.opt_text("error").map(|_| row.json("error")).transpose()?,
        })
    };
    let mut runs: Vec<RunRecord> =
        db.select(select)?.into_iter().map(run).collect::<Result<_>>()?;
    for run in runs.iter_mut().filter(|run| run.state == RunState::Open) {
        so_far(db, run)?;
    }
    Ok(runs)
}

/// A run that is open has come as far as what was written down on the way says.
fn so_far(db: &mut Db, run: &mut RunRecord) -> Result<()> {
    if run.mode == TableMode::Status {
        run.counts.landed = settled_rows(db, run.id)?;
    }
    run.counts.failed = bad_rows(db, run.id)?;
    // The others are those of attempts that have ended.
    run.counts = counted_once(run.mode, &run.counts);
    let attempts = Attempts::of(db, run.id)?;
    run.attempts = attempts.list().len().max(1) as u64;
    run.seconds = attempts.micros() as f64 / 1e6;
    run.interrupted = !lock::is_under_way(db, run.task, &run.table)?;
    Ok(())
}

pub(super) fn select_batches(
    db: &mut Db,
    filter: Filter,
    order: &[&'static str],
) -> Result<Vec<BatchRecord>> {
    let columns = [
        "run_id",
        "batch_no",
        "part",
        "row_count",
        "low_key",
        "high_key",
        "batch_state",
        "sent_at",
        "landed_at",
        "settled_at",
        "writer",
        "source_id",
        "record_id",
        "run_counter",
    ];
    let batch = |row: Row| {
        let ids = row.opt_text("source_id").zip(row.opt_text("record_id"));
        let counter: Option<i64> = row.opt_number("run_counter")?;
        Ok(BatchRecord {
            run: row.parsed("run_id")?,
            number: row.number("batch_no")?,
            part: Some(row.text("part")?).filter(|p| p != WHOLE),
            rows: row.number("row_count")?,
            low: row.json("low_key")?,
            high: row.json("high_key")?,
            state: row.word("batch_state")?,
            sent: row.opt_time("sent_at")?,
            landed: row.opt_time("landed_at")?,
            settled: row.opt_time("settled_at")?,
            writer: row.opt_number("writer")?,
            tenure: ids.zip(counter).map(|((source, record), counter)| Tenure {
                source,
                record,
                counter,
            }),
        })
    };
    let select = Select::new("T_BATCH", &columns).filter(filter);
    db.select(select.order(order))?.into_iter().map(batch).collect()
}

pub(super) fn put_batch(db: &mut Db, batch: &BatchRecord) -> Result<()> {
    let part = batch.part.as_deref().unwrap_or(WHOLE);
    db.delete("T_BATCH", of_run(batch.run).eq("batch_no", batch.number).eq("part", part))?;
    let row = [
        ("run_id", batch.run.to_string().into_value()),
        ("batch_no", batch.number.into_value()),
        ("part", part.into_value()),
        ("row_count", batch.rows.into_value()),
        ("low_key", json(&batch.low)?),
        ("high_key", json(&batch.high)?),
        ("batch_state", word(&batch.state)),
        ("sent_at", batch.sent.into_value()),
        ("landed_at", batch.landed.into_value()),
        ("settled_at", batch.settled.into_value()),
        ("writer", batch.writer.into_value()),
        ("source_id", batch.tenure.as_ref().map(|t| t.source.clone()).into_value()),
        ("record_id", batch.tenure.as_ref().map(|t| t.record.clone()).into_value()),
        ("run_counter", batch.tenure.as_ref().map(|t| t.counter).into_value()),
    ];
    db.insert("T_BATCH", &row)
}
