//! What a run writes down outside source and destination: its beginning and end, what was
//! settled, bad rows. Kept in the configuration database, or for it while that is out of reach;
//! shared by the threads of a run.

use ssync_common::error::{Error, Result};
use ssync_common::event::{Notice, RunTotals};
use ssync_common::ledger::Id;
use ssync_common::process::RunId;
use ssync_common::value::Key;

use crate::counts::Counts;
use crate::source::Sought;

/// A settled part of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchRecord {
    /// Number of the batch in this process, for people.
    pub number: u64,
    /// Position in the ledger.
    pub pos: String,
    /// Rows.
    pub rows: u64,
    /// Key of the first row.
    pub lo: Key,
    /// Key of the last row.
    pub hi: Key,
}

/// The settled entry that the source side remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSettled {
    /// The pair of tables.
    pub fence: Id,
    /// Epoch of the fence at that time: what an older one knows nothing of came before.
    pub epoch: i64,
    /// The run.
    pub run: Id,
    /// Position in the ledger.
    pub pos: String,
}

/// A bad row.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRow {
    /// Its key, in the order of the key columns.
    pub key: Key,
    /// What is wrong with it.
    pub error: Error,
}

/// Rows that a run has read without a state of theirs, and without an error that fails it. What had
/// landed of the same run before counts as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// All rows that the table chooses.
    All,
    /// Those above the mark: all that no earlier run that is done has read.
    AboveMark,
}

/// Says how many of the rows with these keys are among those that are sought at the source; the first
/// is the names of the key columns. `None`: the source has another key by now, nobody can say.
pub type Look<'a> = dyn FnMut(&[String], &[Key], Sought<'_>) -> Result<Option<u64>> + 'a;

/// When the source is asked what became of bad rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Rows that carry a state, before any is claimed: those in state 0 are to be sent again, and
    /// those in state 2 were sent by an earlier run, or by none.
    Before,
    /// Rows that carry a state, once all were sent.
    After,
    /// Rows that carry none, once all of them were read.
    Read,
}

/// Where the runs of one table are written down.
pub trait Journal: Send + Sync {
    /// A run begins, or is resumed; `ended`: the run before it, if the destination knows that one to
    /// have come to its end.
    fn begin_run(&self, run: &Id, fingerprint: &str, ended: Option<&Id>) -> Result<()>;

    /// What history calls the attempt until it has a run.
    fn attempt(&self) -> RunId;

    /// The attempt is tried again, after a failure that it had not met before.
    fn tried(&self, failure: &Error) -> Result<()>;

    /// A run whose rows carry no state has `rows` at the destination before any are read. What a
    /// process says first is what counts: later there are rows of its own among them.
    fn resumed(&self, run: &Id, rows: u64) -> Result<()>;

    /// A run whose rows carry no state has read these: once it is done, records of bad rows among
    /// them are settled, but for those that this process has met.
    fn has_read(&self, rows: Read) -> Result<()>;

    /// A run whose rows carry no state is about to be finished at the destination; this process has
    /// landed so many rows of it.
    fn about_to_finish(&self, run: &Id, landed: u64) -> Result<()>;

    /// A run in `status` mode takes a number of this source, before the destination knows of it.
    fn record_counter(&self, source: &Id, counter: i64) -> Result<()>;

    /// The destination's record has that number, too: what is settled from now on, is under it.
    fn fence_taken(&self, source: &Id, record: &Id, counter: i64) -> Result<()>;

    /// Parts of batches that have landed, and that the source is about to show as done.
    fn record_settled(&self, fence: &Id, epoch: i64, run: &Id, parts: &[BatchRecord])
    -> Result<()>;

    /// Bad rows; `columns` names the key columns. A row that the run has met before, in this
    /// attempt or an earlier one, is recorded once. How many this process has met by now.
    fn record_bad(&self, run: &Id, columns: &[String], rows: &[BadRow]) -> Result<u64>;

    /// How many bad rows this process has met.
    fn bad_rows(&self) -> Result<u64>;

    /// Writes down what became of rows that were bad, as far as the source tells: they have landed
    /// (`ssync retry` had them sent again, or a person set them back), are gone, or somebody else
    /// set their state. A row that is bad again stands in a record of this run.
    fn judge_bad_rows(&self, moment: Moment, look: &mut Look<'_>) -> Result<()>;

    /// What was settled last, in this run or an earlier one.
    fn last_settled(&self) -> Result<Option<LastSettled>>;

    /// What people should know of how it was written down.
    fn notes(&self) -> Result<Vec<String>>;

    /// The process is through with the table; `run`: its run, if it got that far. (It has ended then,
    /// for now or for good.) What people are to be told of it, and the suspension that follows from it,
    /// are written down with it, all or nothing.
    fn end(
        &self,
        run: Option<&Id>,
        counts: &Counts,
        error: Option<&Error>,
        notice: Option<&Notice>,
    ) -> Result<()>;

    /// A notice was told.
    fn told(&self, notice: RunId) -> Result<()>;

    /// What a run has come to by now, this process included; `None`: what is written down of it
    /// cannot be read now.
    fn totals(&self, run: &Id) -> Result<Option<RunTotals>>;
}
