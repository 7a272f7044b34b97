//! What a `full` run is sure of before it says that it is done: the destination is counted, and has
//! what the ledger says has landed. It may have been emptied by hand, while the run was broken
//! off or at work: the ledger alone would not know.

use ssync_common::config::{FullMethod, TableMode};
use ssync_common::connector::WriteMode;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::fidelity::Fidelity;
use ssync_common::ledger::{self, Fence, Id, Step};

use crate::owner::Ownership;
use crate::plan::TablePlan;
use crate::steps::shadow_name;
use crate::table_run::{Ends, TableRun};

impl TableRun<'_> {
    /// Before anything is touched: what the snapshot of the source must make way for.
    pub(crate) fn mind_the_snapshot(&mut self, plan: &TablePlan) -> Result<()> {
        let full = self.table.mode == TableMode::Full;
        self.snapshots.lands(&plan.dest, &self.table.name, full)?;
        // What runs after a `full` table is minded once the table is read.
        let (before, after) = (&self.table.before, &self.table.after);
        let runs =
            |before: &[String], after: &[String]| !before.is_empty() || !full && !after.is_empty();
        let at_source = runs(&before.source, &after.source);
        self.snapshots.make_way(plan, (at_source, runs(&before.dest, &after.dest)));
        Ok(())
    }

    /// A resumed `full` run: what had landed must still be there.
    pub(crate) fn still_there(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        fence: &Fence,
        run: Id,
    ) -> Result<()> {
        if self.table.mode != TableMode::Full {
            return Ok(());
        }
        let landed = self.landed_rows(ends, fence, &run)?;
        if landed == 0 {
            return Ok(());
        }
        if self.table.count {
            let there = self.rows_there(ends, fence)?;
            self.not_too_many(ends, landed, there)?;
            // By then rows may have come twice, and overwritten themselves.
            let twice =
                self.is_done(ends, fence, run, Step::Resumed)? || !self.keys_are_kept(&ends.plan);
            if there < landed && (self.table.write == WriteMode::Insert || !twice) {
                return Err(self.missing(ends, &self.loaded(), landed, there));
            }
        }
        self.done(ends, owner, fence, run, Step::Resumed)
    }

    /// Compares what is at the destination with what the run's ledger says has landed.
    pub(crate) fn count_landed(&mut self, ends: &mut Ends, fence: &Fence, run: Id) -> Result<()> {
        if !self.table.count {
            return Ok(());
        }
        let landed = self.landed_rows(ends, fence, &run)?.saturating_sub(self.counts.skipped);
        let there = self.rows_there(ends, fence)?;
        self.not_too_many(ends, landed, there)?;
        // A row that was met twice, or whose key became another one's, is there once.
        let exact = self.table.write == WriteMode::Insert
            || self.reads_one_state && self.keys_are_kept(&ends.plan);
        if there < landed && exact {
            return Err(self.missing(ends, &self.loaded(), landed, there));
        }
        if there < landed {
            self.notes.push(format!(
                "destination {} has {there} rows, and {landed} had landed: rows that shared a key, \
                 or were removed meanwhile",
                self.table.dest
            ));
        }
        if there > landed {
            self.notes.push(format!(
                "destination {} has {there} rows, and {landed} had landed: others write there too",
                self.table.dest
            ));
        }
        Ok(())
    }

    /// A `full` run whose rows were all there, and that goes on to its end only now: they still are,
    /// as far as SQL of its own may not have moved them.
    pub(crate) fn stays_filled(&self, ends: &mut Ends) -> Result<()> {
        match self.counts.resumed {
            landed if landed > 0 && self.was_emptied(ends, false)? => {
                Err(self.missing(ends, &self.table.dest, landed, 0))
            }
            _ => Ok(()),
        }
    }

    /// Rows that a run has landed, in all its parts.
    pub(crate) fn landed_rows(&self, ends: &mut Ends, fence: &Fence, run: &Id) -> Result<u64> {
        let entries = ledger::entries(ends.dest.as_mut(), &fence.pair, ledger::Which::Run(run))?;
        Ok(entries.iter().map(|e| e.rows).sum())
    }

    /// The rows of the table that the run loads, as long as it is this run's to load.
    fn rows_there(&self, ends: &mut Ends, fence: &Fence) -> Result<u64> {
        ledger::is_held(ends.dest.as_mut(), fence)?;
        let dest = &mut ends.dest;
        let sql = format!("SELECT COUNT(*) FROM {}", dest.dialect().table(&self.loaded()));
        let rows = dest.query(&sql, &[])?;
        let count = rows.first().and_then(|row| row.first()).and_then(|n| n.as_i64());
        count
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| Error::new(Kind::Internal, "a count that is no number"))
    }

    fn loaded(&self) -> String {
        match self.table.full {
            FullMethod::Swap => shadow_name(&self.table.dest),
            FullMethod::Truncate => self.table.dest.clone(),
        }
    }

    /// Whether rows whose keys differ at the source have different ones at the destination.
    fn keys_are_kept(&self, plan: &TablePlan) -> bool {
        plan.key.iter().all(|key| {
            !self.table.allow_lossy.contains(&key.name)
                && plan
                    .pairs
                    .iter()
                    .filter(|p| p.source.name == key.name)
                    .all(|p| !matches!(p.fidelity, Fidelity::Lossy(_)))
        })
    }

    /// Nobody else writes into the table that is loaded to be swapped: rows that the ledger does not
    /// know are this run's, and would come twice.
    fn not_too_many(&self, ends: &Ends, landed: u64, there: u64) -> Result<()> {
        if self.table.full != FullMethod::Swap || there <= landed {
            return Ok(());
        }
        Err(Error::new(
            Kind::Balance,
            format!("{} has {there} rows, and {landed} had landed", self.loaded()),
        )
        .detail(format!("link {}, for {}", self.params.dest.name, ends.plan.dest.full_name))
        .detail("the run's ledger does not know the others; the destination itself is as it was")
        .hint(
            "SSYNC_FENCE and SSYNC_LEDGER were restored to an older state while the table was \
             loaded, or something else has written into it. Load it anew with --restart.",
        ))
    }

    fn missing(&self, ends: &Ends, counted_in: &str, landed: u64, there: u64) -> Error {
        Error::new(
            Kind::Balance,
            format!(
                "destination {} has {there} rows, and {landed} had landed",
                ends.plan.dest.full_name
            ),
        )
        .detail(format!("counted in {counted_in}; link {}", self.params.dest.name))
        .detail("rows were removed that the run's ledger knows as landed; nothing was changed")
        .hint(
            "Find out who removes rows there, then load the table anew with --restart. Where that is \
             as it should be, set count = false for the table.",
        )
    }
}
