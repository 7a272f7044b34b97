//! What earlier runs have left that a run must not contradict: rows under way to another
//! destination, entries that another key names, a destination that went back in time, the mark of
//! an `increment`.

use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::WriteMode;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Entry, Fence, Kept, KeptKey, Mark, OpenRun, Pair, Record, Seals};
use ssync_common::value::hex_bytes;

use crate::identity::ADOPT;
use crate::lost::lacks;
use crate::plan::{self, RowKeys};
use crate::table_run::{Ends, TableRun};

/// Whether the next run goes by the ledger's entries: whatever of it is under way would be sent
/// again without them, where that does harm.
pub(crate) fn entries_count(table: &TableTask, record: &Record) -> bool {
    match table.mode {
        TableMode::Status => true,
        // Below its mark nothing is sent again.
        TableMode::Increment => {
            table.write == WriteMode::Insert && record.run.as_ref().is_some_and(|run| run.open)
        }
        // Begins anew.
        TableMode::Full => false,
    }
}

/// What is said of a ledger that was emptied.
pub(crate) fn lost_entries(table: &TableTask, pair: &Pair) -> Error {
    let (dest, place) = (&table.dest, &pair.place);
    let landed = match table.mode {
        TableMode::Status => "Of the rows in state 1, set those that have landed to 2",
        _ => "Delete the rows above the mark at the destination",
    };
    Error::new(Kind::Balance, format!("the ledger beside {dest} has lost its entries"))
        .detail(format!("{} knows of a run that {} does not", place.fence(), place.ledger()))
        .detail("what has landed of rows that are under way cannot be known without it")
        .hint(format!(
            "Restore both from a backup of the same moment. Otherwise compare both sides. \
             {landed}, then go on by ssync adopt --as-is; {ADOPT}."
        ))
}

impl TableRun<'_> {
    /// The ledger still has what the fence says that it had.
    pub(crate) fn judge_entries(
        &self,
        ends: &mut Ends,
        pair: &Pair,
        record: Option<&Record>,
    ) -> Result<()> {
        let Some(record) = record.filter(|record| entries_count(self.table, record)) else {
            return Ok(());
        };
        if !ledger::has_lost_entries(ends.dest.as_mut(), pair, record)?
            // Nothing is there that would land twice.
            || self.table.mode == TableMode::Increment && self.restart && self.was_emptied(ends, record.emptied)?
        {
            return Ok(());
        }
        Err(lost_entries(self.table, pair))
    }

    /// What the source side remembers as settled must still be in the destination's ledger: else
    /// the destination went back in time (failover, restore) and rows marked as done are missing.
    pub(crate) fn remembered(&mut self, ends: &mut Ends, pair: &Pair) -> Result<()> {
        let Some(last) = self.journal.last_settled()? else {
            return Ok(());
        };
        // Under a later epoch another run has been there since and knew it: it may have been
        // another instance's, which has tidied its ledger.
        let epoch = ledger::epoch(ends.dest.as_mut(), pair)?;
        if !lacks(ends.dest.as_mut(), pair, epoch, Some(&last))? {
            return Ok(());
        }
        Err(Error::new(
            Kind::Balance,
            format!(
                "destination {} no longer has what was settled last: batch {} of run {}",
                self.table.dest,
                last.pos,
                hex_bytes::encode(&last.run)
            ),
        )
        .detail("the source shows rows as done that the destination's ledger does not know")
        .hint(format!(
            "The destination was restored or failed over to an older state. {}, in every home that \
             runs this table, sets the rows of the missing batches back to 0. A destination without \
             a unique index: compare both sides by hand, then ssync adopt {} --tables {} --as-is.",
            self.retry_lost(),
            self.params.task.id,
            self.table.name
        )))
    }

    /// The command that sets back what the destination has lost.
    pub(crate) fn retry_lost(&self) -> String {
        format!("ssync retry {} --lost --tables {}", self.params.task.id, self.table.name)
    }

    /// By which keys rows of the destination are recognised, as the record keeps it.
    pub(crate) fn row_keys(&self, ends: &Ends) -> Result<String> {
        RowKeys::new(&ends.plan, &self.params.keys).text()
    }

    /// Rows of the destination are recognised by the keys that they were sealed with.
    pub(crate) fn judge_row_keys(&self, ends: &mut Ends, fence: &Fence) -> Result<()> {
        let Some(known) = &fence.row_keys else { return Ok(()) };
        let known = RowKeys::read(known)?;
        let found = plan::foreign_row_keys(&ends.plan, &self.params.keys, &known);
        if found.is_empty() || self.is_empty(ends)? {
            return Ok(());
        }
        plan::refuse(self.params.task.id, &self.table.name, &found)
    }

    /// What has landed and is still to be settled is known by ranges of the key it was sent by;
    /// by another key they would be other rows.
    pub(crate) fn same_key(
        &self,
        ends: &Ends,
        fence: &Fence,
        unsettled: &[Entry<KeptKey>],
    ) -> Result<()> {
        let Some(run) = &fence.run else { return Ok(()) };
        if unsettled.is_empty() || plan::walks_alike(&run.plan, self.fingerprint(ends)?.text()) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Refused,
            "a run that was broken off has landed rows that are to be settled by another key",
        )
        .detail("the table's key, or its type, is another one now")
        .hint("Run the task once with the key it was begun with, then change it."))
    }

    /// How far `increment` has come when this run is done. Where the newest rows were deleted
    /// meanwhile, or the lag has grown, the mark stays: below it everything has been sent.
    /// It is sealed anew, so that a key that was replaced is needed no more.
    pub(crate) fn next_mark(
        &self,
        fence: &Fence,
        run: &OpenRun,
        seals: &Seals,
    ) -> Result<Option<Mark<Kept>>> {
        let known = fence.mark.as_ref().map(|mark| seals.open_mark(mark)).transpose()?;
        let mark = match (&self.table.watermark, &run.upto, known) {
            (Some(watermark), Some(upto), known) => {
                let value = seals.open_upto(&run.run, upto)?;
                let stays = known.filter(|mark| !crate::mark::is_later(&value, &mark.value));
                let column = watermark.column.clone();
                let mark = stays.unwrap_or(Mark { column, value, rows: None });
                Some(Mark { rows: Some(self.rows_chosen()), ..mark })
            }
            (_, _, known) => known,
        };
        mark.map(|mark| seals.seal_mark(&mark)).transpose()
    }

    /// Seals what is written down of an `increment` with the key that seals now: one that it replaced
    /// is needed for it no more, and whoever must not send with both can retire it.
    pub(crate) fn keep_again(&mut self, ends: &mut Ends, fence: &Fence) -> Result<()> {
        if self.table.mode != TableMode::Increment {
            return Ok(());
        }
        let seals = self.seals(&ends.plan)?;
        let dest = ends.dest.as_mut();
        let mut upto = None;
        if let Some(open) = fence.run.as_ref().filter(|run| run.open) {
            let kept = ledger::entries(dest, &fence.pair, ledger::Which::Run(&open.run))?;
            let landed = seals.open_all(&kept)?;
            let to = landed.iter().map(|e| seals.seal(e)).collect::<Result<Vec<_>>>()?;
            ledger::renumber(dest, fence, &kept, &to)?;
            let opened = open.upto.as_ref().map(|kept| seals.open_upto(&open.run, kept));
            upto =
                opened.transpose()?.map(|value| seals.seal_upto(&open.run, &value)).transpose()?;
        }
        let mark = fence.mark.as_ref().map(|mark| seals.open_mark(mark)).transpose()?;
        let mark = mark.map(|mark| seals.seal_mark(&mark)).transpose()?;
        ledger::keep_bounds(dest, fence, mark.as_ref(), upto.as_ref())
    }

    /// The mark belongs to its column: under another watermark it would leave rows out.
    pub(crate) fn judge_mark(&mut self, ends: &mut Ends, fence: &mut Fence) -> Result<()> {
        let (Some(mark), Some(watermark)) = (&fence.mark, &self.table.watermark) else {
            return Ok(());
        };
        let same_column = mark.column.eq_ignore_ascii_case(&watermark.column);
        if same_column && mark.rows.as_ref().is_some_and(|rows| *rows != self.rows_chosen()) {
            return self.judge_chosen(ends, fence);
        }
        if same_column {
            return Ok(());
        }
        let empty = self.is_empty(ends)?;
        if self.restart && (self.overlaps() || empty) {
            self.notes.push(format!(
                "began anew: the mark was that of {}, the watermark is {}",
                mark.column, watermark.column
            ));
            fence.mark = None;
            return Ok(());
        }
        Err(Error::new(
            Kind::Refused,
            format!(
                "{} has been sent up to a mark of column {}, and the watermark is {} now",
                self.table.source, mark.column, watermark.column
            ),
        )
        .hint(if self.overlaps() {
            "With --restart everything is sent once more, by the new watermark."
        } else {
            "write = \"insert\" would send rows twice. Empty the destination and use --restart, or \
             configure the old watermark again."
        }))
    }

    /// By what the choice of rows is known again.
    pub(crate) fn rows_chosen(&self) -> String {
        let filter = self.table.filter.as_deref().unwrap_or_default();
        hex_bytes::encode(&ledger::id_of(filter))
    }

    /// The mark belongs to its `where`: below it lie rows that were left out then, or that another
    /// sub-task sends.
    fn judge_chosen(&mut self, ends: &mut Ends, fence: &mut Fence) -> Result<()> {
        let empty = self.is_empty(ends)?;
        if self.restart && (self.overlaps() || empty) {
            self.notes.push("began anew: the mark was that of another where".to_owned());
            fence.mark = None;
            return Ok(());
        }
        Err(Error::new(
            Kind::Refused,
            format!(
                "{} has been sent to {} with another where, and has one mark there",
                self.table.source, self.table.dest
            ),
        )
        .detail("rows below the mark that this where chooses, and the other did not, would never be sent")
        .hint(if self.overlaps() {
            "With --restart everything that this where chooses is sent once more. Two sub-tasks that \
             send different rows of one source need two destination tables."
        } else {
            "Configure the old where again, and send the other rows into a table of their own; or \
             empty the destination and use --restart."
        }))
    }
}
