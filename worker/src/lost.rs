//! Sending rows again that the destination has lost, on an operator's word: it was restored, or
//! failed over, to an older state.
//!
//! A home knows the runs that it began itself. Source and destination count the runs of all homes
//! together, so a home sees by the numbers between the two whether it knows them all. Where it does
//! not, it sets back what it knows, writes that down beside the source, and leaves the alarm on: the
//! home that has dealt with the last of the numbers takes it off.

use std::collections::{BTreeMap, BTreeSet};

use ssync_common::config::TableTask;
use ssync_common::connector::{Connection, WriteMode};
use ssync_common::crypto::Mode;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Id, Pair, Record};
use ssync_common::value::hex_bytes;
use ssync_writer::transform::{Action, ColumnTransform};

use crate::identity::{ADOPT, is_forked, leads_to};
use crate::journal::{BatchRecord, LastSettled};
use crate::owner::{Loss, Ownership, ranges};
use crate::params::TaskParams;
use crate::plan::TablePlan;
use crate::precedents::lost_entries;
use crate::recovery::move_all;
use crate::reopen::{CHUNK_ROWS, Sides, owned};
use crate::source::{Bound, Range, RowState, SourceTable};

/// Ranges of numbers that are named to people.
const NAMED_MAX: usize = 10;

/// What to do where one home cannot bring all rows back.
pub(crate) const EVERY_HOME: &str = "Each home knows only what it has sent itself: run ssync retry \
    --lost in every home that runs this table. Where that is done, or a home is gone, compare both \
    sides, set sync_status of missing rows to 0, and accept the destination as it is by ssync adopt \
    --as-is";

/// A part of a batch that was settled, as this home remembers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its run.
    pub run: Id,
    /// The destination's record.
    pub record: Id,
    /// The run's number at that time.
    pub counter: i64,
    /// The part.
    pub part: BatchRecord,
}

/// What this home remembers of runs of a table.
pub trait Memory {
    /// What was settled last.
    fn last_settled(&mut self) -> Result<Option<LastSettled>>;

    /// Which of the numbers from `first` to `last` its runs of a source had.
    fn counters(&mut self, source: &Id, first: i64, last: i64) -> Result<BTreeSet<i64>>;

    /// What was settled of a source under this number and later ones.
    fn settled_since(&mut self, source: &Id, counter: i64) -> Result<Vec<Settled>>;

    /// Whether a run is known here, and began before another one that is.
    fn began_before(&mut self, run: &Id, other: &Id) -> Result<bool>;

    /// Runs of the table, newest first.
    fn runs(&mut self) -> Result<Vec<Id>>;

    /// What was settled in a run by a version that wrote down no numbers.
    fn uncounted(&mut self, run: &Id) -> Result<Vec<BatchRecord>>;
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Rows set back to be sent.
    pub rows: u64,
    /// Those of them that were done and lie between the keys of rows that are missing.
    pub between: u64,
    /// What this home does not know; `None`: all is dealt with, and the destination counts as it is.
    pub unknown: Option<Unknown>,
    /// Whether what was settled last need not be remembered any longer: the loss is dealt with, or
    /// is seen without it.
    pub may_forget: bool,
}

/// Runs of a loss whose rows are known in no home that was asked so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Their numbers.
    pub runs: BTreeSet<i64>,
    /// Whether there may be others, of a version that did not number them.
    pub uncounted: bool,
}

impl Unknown {
    /// The error that the alarm stays on by, for a table of that name.
    pub fn error(&self, table: &str, rows: u64) -> Error {
        let mut error = Error::new(
            Kind::Balance,
            format!("the destination of {table} may still lack rows: not every run is known here"),
        )
        .detail(format!("{rows} rows were set back to be sent; nothing is sent yet"));
        if !self.runs.is_empty() {
            let runs = match self.runs.len() {
                1 => "1 run is".to_owned(),
                n => format!("{n} runs are"),
            };
            error = error.detail(format!("{runs} not known here: {}", ranges_text(&self.runs)));
        }
        if self.uncounted {
            error = error.detail("runs of a version that did not number them are not known here");
        }
        error.hint(format!("{EVERY_HOME}."))
    }
}

fn ranges_text(runs: &BTreeSet<i64>) -> String {
    let ranges = ranges(runs);
    let words = ranges.iter().take(NAMED_MAX).map(|(from, to)| match from == to {
        true => from.to_string(),
        false => format!("{from} to {to}"),
    });
    let more = if ranges.len() > NAMED_MAX { ", …" } else { "" };
    words.collect::<Vec<_>>().join(", ") + more
}

/// Sets rows back to 0 whose landing the destination has lost. The caller holds the sub-task's
/// lock.
///
/// # Errors
/// [`Kind::Usage`] where nothing is remembered, [`Kind::Refused`] where rows would be doubled or the
/// destination is another one.
pub fn restore(
    params: &TaskParams,
    table: &TableTask,
    memory: &mut dyn Memory,
) -> Result<Restored> {
    owned(params, table, |sides, owner| {
        let pair = Pair::new(&owner.ident, &table.dest, &sides.plan.dest.full_name);
        ledger::make_tables(sides.dest.as_mut(), &pair.place)?;
        let record = ledger::record(sides.dest.as_mut(), &pair)?;
        same_destination(table, owner, &pair, record.as_ref())?;
        if let Some(record) = &record
            && ledger::has_lost_entries(sides.dest.as_mut(), &pair, record)?
        {
            return Err(lost_entries(table, &pair));
        }
        let last_settled = memory.last_settled()?;
        let gap = Gap::new(owner, record.as_ref());
        let known = memory.counters(&owner.ident, gap.first.max(1), gap.last)?;
        if last_settled.is_none() && known.is_empty() {
            return Err(Error::new(
                Kind::Usage,
                format!("nothing is remembered of earlier runs of table {}", table.name),
            )
            .hint(format!("{EVERY_HOME}.")));
        }
        if !is_behind(sides, owner, &pair, record.as_ref(), last_settled.as_ref())? {
            return Ok(Restored::default());
        }
        if may_double(table, &sides.plan) {
            return Err(keyless(table));
        }
        if table.write == WriteMode::Insert {
            return Err(refuses_known_rows(table));
        }
        let landed = BTreeMap::new();
        Lost { sides, owner, pair, record, memory, landed, missing: 0 }.restore(&gap, known)
    })
}

fn keyless(table: &TableTask) -> Error {
    Error::new(
        Kind::Refused,
        format!("destination {} has no unique index that would refuse a row it has", table.dest),
    )
    .hint(
        "Rows that it still has would be doubled. Compare both sides by hand: set sync_status to 0 for \
         rows that are missing, to 2 for rows in state 1 that are there. Then accept the destination \
         as it is by ssync adopt --as-is; until then every run stops.",
    )
}

/// Rows are set back by ranges of keys, and some of a range the destination may have all the same:
/// they were sent again later, by batches that it has not lost.
fn refuses_known_rows(table: &TableTask) -> Error {
    Error::new(
        Kind::Refused,
        format!("with write = \"insert\", rows that {} still has would be bad rows", table.dest),
    )
    .detail("rows are set back by the ranges of keys in which some are missing")
    .hint(
        "Set write = \"ignore\" for the table (or \"upsert\", where rows that have changed since are \
         to be brought up to date), apply that, and run ssync retry --lost again. Once its rows are \
         sent, write may be \"insert\" again.",
    )
}

/// Whether a row that is sent once more may be in the destination twice: no unique index is made of
/// values that are the same each time.
pub(crate) fn may_double(table: &TableTask, plan: &TablePlan) -> bool {
    if matches!(table.write, WriteMode::Upsert | WriteMode::Replace) {
        return false;
    }
    let is_same = |name: &String| {
        plan.pairs.iter().enumerate().any(|(i, pair)| {
            let sealed = |t: &ColumnTransform| {
                t.index == i && t.mode == Mode::Random && matches!(t.action, Action::Seal { .. })
            };
            pair.dest.name == *name && !pair.dest.nullable && !plan.transforms.iter().any(sealed)
        })
    };
    !plan
        .dest
        .indexes
        .iter()
        .any(|index| index.unique && !index.partial && index.columns.iter().all(is_same))
}

/// What the source remembers must be about this destination, and no other one.
fn same_destination(
    table: &TableTask,
    owner: &Ownership,
    pair: &Pair,
    record: Option<&Record>,
) -> Result<()> {
    let known = &owner.known;
    let Some(before) = &known.pair else { return Ok(()) };
    if !leads_to(known, pair) {
        return Err(Error::new(
            Kind::Refused,
            format!("the rows of {} went to another destination before", table.source),
        )
        .detail(format!("before: {}", before.table))
        .hint(format!("What it has lost is not sent to this one; {ADOPT}.")));
    }
    match (known.record, record) {
        (Some(id), Some(found)) if found.ident != Some(id) => Err(Error::new(
            Kind::Refused,
            format!("destination {} has another record of what landed than before", table.dest),
        )
        .detail(pair.place.fence().to_owned())
        .hint(format!(
            "The link leads to another database with tables of these names, or ssync's own tables \
             were made anew. Correct the link, or decide: {ADOPT}."
        ))),
        _ if is_forked(known, record) => Err(Error::new(
            Kind::Refused,
            format!(
                "destination {} had another run {} than the source",
                table.dest, known.confirmed
            ),
        )
        .detail("which rows it has lost is in no record")
        .hint(format!(
            "The destination was restored, and has gone on since with a copy or an older state of \
             the source. Compare both sides by hand, then ssync adopt --as-is; {ADOPT}."
        ))),
        _ => Ok(()),
    }
}

/// Whether the destination is older than what the source has confirmed, or than what this home
/// remembers.
fn is_behind(
    sides: &mut Sides,
    owner: &Ownership,
    pair: &Pair,
    record: Option<&Record>,
    last: Option<&LastSettled>,
) -> Result<bool> {
    let counter = record.map_or(0, |r| r.counter);
    if counter < owner.known.confirmed || record.is_none() && owner.known.record.is_some() {
        return Ok(true);
    }
    lacks(sides.dest.as_mut(), pair, record.map_or(0, |r| r.epoch), last)
}

/// Whether an entry that this home remembers is missing at the destination, though no run has been
/// there since, which would have known it.
pub(crate) fn lacks(
    dest: &mut dyn Connection,
    pair: &Pair,
    epoch: i64,
    last: Option<&LastSettled>,
) -> Result<bool> {
    let Some(last) = last.filter(|last| last.fence == pair.id && epoch <= last.epoch) else {
        return Ok(false);
    };
    Ok(!ledger::has_entry(dest, pair, &last.run, &last.pos)?)
}

/// Runs of which something may be lost: from the one that the destination knows last, which may have
/// gone on after the backup, to the one that the source has confirmed.
struct Gap {
    /// 0: the destination knows of none that was numbered.
    first: i64,
    last: i64,
}

impl Gap {
    fn new(owner: &Ownership, record: Option<&Record>) -> Gap {
        Gap { first: record.map_or(0, |r| r.counter), last: owner.known.confirmed }
    }
}

/// Setting back what was lost.
struct Lost<'a> {
    sides: &'a mut Sides,
    owner: &'a Ownership,
    pair: Pair,
    record: Option<Record>,
    memory: &'a mut dyn Memory,
    /// Positions that the destination has, by run.
    landed: BTreeMap<Id, BTreeSet<String>>,
    /// Rows of the parts that it has not.
    missing: u64,
}

impl Lost<'_> {
    fn restore(&mut self, gap: &Gap, known: BTreeSet<i64>) -> Result<Restored> {
        let loss = Loss { epoch: self.record.as_ref().map_or(0, |r| r.epoch), confirmed: gap.last };
        let mut dealt_with = self.owner.restored(self.sides.source.as_mut(), loss)?;
        let (mut rows, elsewhere) = self.counted(gap)?;
        dealt_with.extend(known.difference(&elsewhere));
        let runs: BTreeSet<i64> =
            (gap.first.max(1)..=gap.last).filter(|n| !dealt_with.contains(n)).collect();
        let mut uncounted = false;
        if gap.first == 0 || !(gap.first..=gap.last).all(|n| known.contains(&n)) {
            let (moved, is_met) = self.uncounted()?;
            rows += moved;
            // Without a record nothing has landed; a record without a number is of a former version.
            let former = self.record.as_ref().is_some_and(|r| r.run.is_some());
            uncounted = gap.first == 0 && gap.last > 0 && former && !is_met;
        }
        let between = rows.saturating_sub(self.missing);
        rows += release_under_way(self.sides.source.as_mut(), &self.sides.rows, self.owner)?;
        if runs.is_empty() && !uncounted {
            // From here on the destination counts as it is.
            self.owner.accept(self.sides.source.as_mut(), self.record.as_ref())?;
            return Ok(Restored { rows, between, unknown: None, may_forget: true });
        }
        self.owner.note_restored(self.sides.source.as_mut(), loss, &dealt_with)?;
        let may_forget = gap.first < gap.last;
        let unknown = Some(Unknown { runs, uncounted });
        Ok(Restored { rows, between, unknown, may_forget })
    }

    /// Sets back what was settled under the numbers of the gap, and is not there; how many rows. And
    /// numbers under which this home settled by another record: whether that is this destination's,
    /// nobody knows.
    fn counted(&mut self, gap: &Gap) -> Result<(u64, BTreeSet<i64>)> {
        let (mut rows, mut elsewhere) = (0, BTreeSet::new());
        let last_run = self.record.as_ref().and_then(|r| r.run.as_ref()).map(|run| run.run);
        let record = self.owner.known.record;
        for settled in self.memory.settled_since(&self.owner.ident, gap.first)? {
            if settled.counter > gap.last && gap.last > 0 {
                continue;
            }
            if Some(settled.record) != record {
                elsewhere.insert(settled.counter);
                continue;
            }
            // What an earlier run had sent was settled before this one began: the destination has it,
            // though its entry may have been tidied away.
            if let Some(last) = last_run.filter(|last| *last != settled.run)
                && settled.counter == gap.first
                && self.memory.began_before(&settled.run, &last)?
            {
                continue;
            }
            if !self.has_landed(&settled.run, &settled.part.pos)? {
                rows += self.set_back(&settled.part)?;
            }
        }
        Ok((rows, elsewhere))
    }

    /// The same for runs of a version that wrote down no numbers, back to the one that the
    /// destination knows: then everything before it is there. Whether that one was met.
    fn uncounted(&mut self) -> Result<(u64, bool)> {
        let last = self.record.as_ref().and_then(|r| r.run.as_ref()).map(|run| run.run);
        let mut rows = 0;
        for run in self.memory.runs()? {
            for part in self.memory.uncounted(&run)? {
                if !self.has_landed(&run, &part.pos)? {
                    rows += self.set_back(&part)?;
                }
            }
            if last == Some(run) || !self.landed_of(&run)?.is_empty() {
                return Ok((rows, true));
            }
        }
        Ok((rows, false))
    }

    fn set_back(&mut self, part: &BatchRecord) -> Result<u64> {
        self.missing += part.rows;
        let range = Range::closed(&part.lo, &part.hi);
        let states = (RowState::Done, RowState::ToSend);
        move_all(self.sides.source.as_mut(), &self.sides.rows, self.owner, &range, states, None)
    }

    fn has_landed(&mut self, run: &Id, pos: &str) -> Result<bool> {
        Ok(self.landed_of(run)?.contains(pos))
    }

    fn landed_of(&mut self, run: &Id) -> Result<&BTreeSet<String>> {
        if !self.landed.contains_key(run) {
            let which = ledger::Which::Run(run);
            let entries = ledger::entries(self.sides.dest.as_mut(), &self.pair, which)?;
            self.landed.insert(*run, entries.into_iter().map(|entry| entry.pos).collect());
        }
        self.landed.get(run).ok_or_else(|| {
            Error::new(Kind::Internal, format!("run {} is not at hand", hex_bytes::encode(run)))
        })
    }
}

/// Sets rows back that are under way. Entries that came back with the destination may name rows of
/// claims that came after them, whose versions have not landed: settled by them, those would never
/// be sent.
pub(crate) fn release_under_way(
    source: &mut dyn Connection,
    rows: &SourceTable,
    owner: &Ownership,
) -> Result<u64> {
    let mut moved = 0;
    let mut after = Bound::Open;
    loop {
        let keys = rows.keys(source, RowState::UnderWay, &Range::above(after), CHUNK_ROWS)?;
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(moved) };
        let range = Range::closed(first, last);
        let states = (RowState::UnderWay, RowState::ToSend);
        moved += move_all(source, rows, owner, &range, states, None)?;
        after = Bound::Excluding(last.clone());
    }
}
