//! Which tables these are, whatever they are called: before a run changes anything it makes sure
//! that source, destination and the destination's record are those that earlier runs knew, and that
//! neither end is older than the other.
//!
//! - A destination's record has a random id, which the source's owner row remembers. Another record,
//!   or none where one is remembered, stops the run.
//! - Source and destination share a counter. A run writes its number at the source (*intended*), then
//!   into the fence, then at the source again (*confirmed*). A fence below what was confirmed belongs
//!   to an older destination; a fence above what was intended, to an older or copied source. A crash
//!   between the steps is neither.
//! - The server that a table stands on is remembered at both ends. Another one is a note; while rows
//!   are under way it stops the run, unless the link says `failover`.

use ssync_common::config::{INITIAL_ALL, TableMode, TableTask};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{
    self, Entry, Fence, Id, Kept, KeptKey, Mark, Pair, Place, Raise, Record, Stamp, Succession,
};
use ssync_common::value::{Value, hex_bytes};

use crate::adopt::quoted;
use crate::mark;
use crate::own_sql::may_concern_dest;
use crate::owner::{self, Known, Ownership, PairText};
use crate::plan::TablePlan;
use crate::reminder;
use crate::source::{Range, RowState};
use crate::table_run::{Ends, TableRun};

/// The way out that every refusal names.
pub(crate) const ADOPT: &str = "ssync adopt shows what was found, and lets you decide";

impl TableRun<'_> {
    /// The record of this pair of tables. Where an older version kept it elsewhere, or under another
    /// key, it is moved here first.
    pub(crate) fn pair(&mut self, ends: &mut Ends, owner: Option<&Ownership>) -> Result<Pair> {
        let full_name = &ends.plan.dest.full_name;
        let ident = match (self.table.mode, owner) {
            // A run that fills this table anew, from whichever source, excludes all others that do.
            (TableMode::Full, _) => ledger::Id::default(),
            (TableMode::Increment, _) => {
                let known = self.params.source_identity(&ends.plan.source_server);
                owner::increment_ident(&known, &ends.plan.source_name)
            }
            (TableMode::Status, Some(owner)) => owner.ident,
            (TableMode::Status, None) => {
                return Err(Error::new(Kind::Internal, "status mode without an owner row"));
            }
        };
        let pair = Pair::new(&ident, &self.table.dest, full_name);
        self.connections.ensure_ledger(&self.params.dest.name, &pair.place, ends.dest.as_mut())?;
        let link = &self.params.dest.name;
        let elsewhere = self.connections.former_place(link, &pair.place, ends.dest.as_mut())?;
        let mut former = Vec::new();
        if let Some(place) = elsewhere.clone() {
            former.push(Pair { place, ..pair.clone() });
        }
        if self.table.mode == TableMode::Increment
            && ledger::record(ends.dest.as_mut(), &pair)?.is_none()
        {
            let name = &ends.plan.source_name;
            let other = self.params.other_source_identity(&ends.plan.source_server);
            let idents = owner::former_increment_idents(&self.params.source.name, &other, name);
            for id in idents.map(|ident| ledger::pair_id(&ident, full_name)) {
                let other = pair.beside(id);
                former.push(other.clone());
                former.extend(elsewhere.clone().map(|place| Pair { place, ..other.clone() }));
            }
        }
        for old in former {
            if ledger::relocate(ends.dest.as_mut(), &old, &pair)? {
                self.notes.push(format!(
                    "the record of earlier runs was moved to {}",
                    pair.place.fence()
                ));
                break;
            }
        }
        Ok(pair)
    }

    /// Raises the fence for a run that begins, once both ends have proved to be what they were.
    pub(crate) fn take_fence(
        &mut self,
        ends: &mut Ends,
        owner: Option<&Ownership>,
        pair: &Pair,
    ) -> Result<Fence> {
        let tables = self.tables();
        let server = ends.plan.dest.server.clone();
        let record = ledger::record(ends.dest.as_mut(), pair)?;
        let Some(owner) = owner.filter(|_| self.table.mode == TableMode::Status) else {
            let filled = self.judge_full(ends, pair, record.as_ref())?;
            if self.table.mode == TableMode::Increment {
                self.judge_first(ends, record.as_ref())?;
            }
            let seen = filled.as_ref().map(|f| f.run).or(record.and_then(|r| r.full_run));
            let (filler, print) = (self.filler()?, self.fingerprint(ends)?);
            let judge = &mut |record: Option<&Record>| self.judge_filler(&print, record);
            let (server, filler) = (&server, filler.as_deref());
            let mut begin = Raise::Begin { server, stamp: None, filled, filler, judge };
            let fence = ledger::raise_past_ghosts(ends.dest.as_mut(), pair, &tables, &mut begin)?;
            self.full_stands(ends, &fence, seen)?;
            // Until now another instance's run may have begun or ended.
            let record = ledger::record(ends.dest.as_mut(), pair)?;
            self.judge_entries(ends, pair, record.as_ref())?;
            return Ok(fence);
        };
        // Before the epoch moves, so that a run that refuses leaves everything as it is and the
        // next one refuses too.
        self.judge_source(ends, owner, pair)?;
        self.judge_record(ends, owner, pair, record.as_ref())?;
        self.judge_entries(ends, pair, record.as_ref())?;
        self.remembered(ends, pair)?;
        let filled = self.judge_full(ends, pair, record.as_ref())?;
        let seen = filled.as_ref().map(|f| f.run).or(record.as_ref().and_then(|r| r.full_run));
        let (known, same) = (&owner.known, leads_to(&owner.known, pair));
        let mut judge = |record: Option<&Record>| {
            let confirmed = if same { known.confirmed } else { 0 };
            self.judge_counter(record.map_or(0, |r| r.counter), confirmed, known.intended)?;
            if same { self.judge_stamp(known, record) } else { Ok(()) }
        };
        judge(record.as_ref())?;
        let here = PairText::new(&ends.plan.dest.full_name, &pair.id);
        owner.claim_for(ends.source.as_mut(), &here)?;
        let number = owner.intend(ends.source.as_mut())?;
        // A number that another home may have had as well would be nobody's: the source has it now.
        self.journal.record_counter(&owner.ident, number)?;
        failpoint::hit("run.after_intent", 1);
        let own = Stamp::new(number)?;
        let after = known.stamp.clone().filter(|_| same);
        let stamp = Some(Succession { own: own.clone(), after });
        let judge = &mut judge;
        let mut begin = Raise::Begin { server: &server, stamp, filled, filler: None, judge };
        let fence = ledger::raise_past_ghosts(ends.dest.as_mut(), pair, &tables, &mut begin)?;
        self.full_stands(ends, &fence, seen)?;
        failpoint::hit("run.before_confirm", 1);
        self.journal.fence_taken(&owner.ident, &fence.ident, number)?;
        owner.confirm(ends.source.as_mut(), &own, &fence.ident, &ends.plan.source_server)?;
        Ok(fence)
    }

    /// Rows that have landed are there: those that are about to be shown as done, and those that the
    /// run that is open has shown as done.
    pub(crate) fn judge_landed(
        &self,
        ends: &mut Ends,
        fence: &Fence,
        unsettled: &[Entry<KeptKey>],
    ) -> Result<()> {
        let open = fence.run.as_ref().filter(|run| run.open);
        let under_way: u64 = unsettled.iter().map(|entry| entry.rows).sum();
        if may_concern_dest(self.table) || under_way == 0 && open.is_none() {
            return Ok(());
        }
        if !self.is_empty(ends)? {
            return Ok(());
        }
        let settled = match open.filter(|_| self.table.count) {
            Some(open) => self.settled_rows(ends, fence, &open.run)?,
            None => 0,
        };
        if under_way + settled == 0 {
            return Ok(());
        }
        let mut error = Error::new(
            Kind::Balance,
            format!("destination {} is empty, and rows have landed there", self.table.dest),
        );
        let mut hint = "The table was emptied, or dropped and made anew. ".to_owned();
        if under_way > 0 {
            error = error.detail(format!("{under_way} rows that the source shows as under way"));
        }
        if settled > 0 {
            error = error.detail(format!(
                "{settled} rows of the run that has not come to its end, which the source shows as done"
            ));
            hint += "Set sync_status to 0 for the rows in state 2 that are to be sent again. ";
        }
        hint += &format!("To send rows in state 1 again as well, ssync adopt --new; {ADOPT}.");
        if under_way == 0 {
            hint += " Where rows are taken out of it as a matter of course, set count = false.";
        }
        Err(error.hint(hint))
    }

    /// Rows of a run that are settled, as long as the source still shows any row as done.
    fn settled_rows(&self, ends: &mut Ends, fence: &Fence, run: &Id) -> Result<u64> {
        let mut rows = self.source_table(&ends.plan, ends.source.as_ref(), None);
        rows.filter = None;
        if rows.keys(ends.source.as_mut(), RowState::Done, &Range::all(), 1)?.is_empty() {
            return Ok(0);
        }
        let entries = ledger::entries(ends.dest.as_mut(), &fence.pair, ledger::Which::Run(run))?;
        Ok(entries.iter().filter(|entry| entry.settled).map(|entry| entry.rows).sum())
    }

    /// Rows that are under way belong to a run that is known; where they are, they were claimed.
    fn judge_source(&mut self, ends: &mut Ends, owner: &Ownership, pair: &Pair) -> Result<()> {
        let source = &self.table.source;
        if owner.known.pair.is_none() {
            if !self.has_claimed(ends)? {
                return self.judge_unknown(ends, owner, pair);
            }
            return Err(Error::new(
                Kind::Refused,
                format!("rows of {source} are under way, and no run is known that claimed them"),
            )
            .detail(format!("link {}, table {}", self.params.source.name, owner.table))
            .detail("rows in state 1, and no run of this table in SSYNC_OWNER")
            .hint(format!(
                "The table was renamed or copied while its rows were under way, or something else \
                 than ssync has set sync_status to 1. Whether these rows have landed is in the \
                 record that belongs to the old name; {ADOPT}."
            )));
        }
        let now = ends.plan.source_server.clone();
        let Some(then) = owner.known.server.as_ref().filter(|then| **then != now) else {
            return Ok(());
        };
        if !self.params.source_failover && self.has_claimed(ends)? {
            return Err(Error::new(
                Kind::Refused,
                format!("rows of {source} are under way that were claimed on another server"),
            )
            .detail(format!("then: {then}"))
            .detail(format!("now: {now}"))
            .hint(format!(
                "A server that was moved with all its data, or has another address or directory \
                 now, is the same source: ssync adopt --as-is. A copy carries rows in state 1 along \
                 that belong to the original: ssync adopt --new. If the link may lead to any \
                 replica of one cluster, set failover = true; {ADOPT}."
            )));
        }
        self.note_server(format!("the source is on another server now: {now}; before: {then}"));
        Ok(())
    }

    fn note_server(&mut self, note: String) {
        reminder::server_changed(self.params, &self.table.name, &note);
        self.notes.push(note);
    }

    /// A table of which no run is known, and of which no row is under way: it is new to ssync, or
    /// what was known of it is gone, or stands under its former name.
    fn judge_unknown(&mut self, ends: &mut Ends, owner: &Ownership, pair: &Pair) -> Result<()> {
        let source = &self.table.source;
        let of_modes = [
            Id::default(),
            owner::increment_ident(
                &self.params.source_identity(&ends.plan.source_server),
                &ends.plan.source_name,
            ),
        ]
        .map(|ident| ledger::pair_id(&ident, &ends.plan.dest.full_name));
        let print = self.fingerprint(ends)?;
        let records = ledger::records(ends.dest.as_mut(), &pair.place)?;
        let sent = records.iter().find(|record| {
            let run = record.run.as_ref().map_or("", |run| &run.plan);
            record.id != pair.id && !of_modes.contains(&record.id) && print.is_of_this_source(run)
        });
        if let Some(record) = sent {
            return Err(Error::new(
                Kind::Refused,
                format!("rows of {source} were sent before, and the source knows of no run"),
            )
            .detail(format!("link {}, table {}", self.params.source.name, owner.table))
            .detail(format!("a record beside the destination is of {}", record.tables))
            .hint(format!(
                "The source was restored to a state from before its first run, was made anew, or \
                 its row in SSYNC_OWNER was removed. Rows in state 0 that have landed would be \
                 sent again: compare both sides, and set their sync_status to 2; then {ADOPT}."
            )));
        }
        let rows = self.source_table(&ends.plan, ends.source.as_ref(), None);
        if rows.keys(ends.source.as_mut(), RowState::Done, &Range::all(), 1)?.is_empty() {
            return Ok(());
        }
        for former in owner::known_tables(ends.source.as_mut(), source)? {
            if former == owner.table || ends.source.describe(&quoted(&former))?.is_some() {
                continue;
            }
            return Err(Error::new(
                Kind::Refused,
                format!("rows of {source} are done, and no run is known that sent them"),
            )
            .detail(format!("link {}, table {}", self.params.source.name, owner.table))
            .detail(format!("runs are known of {former}, which is no longer there"))
            .hint(format!(
                "If that was its former name, ssync adopt --source-was says so, and whether the \
                 destination still has what was sent is looked at again. If it is another table, \
                 --new does; {ADOPT}."
            )));
        }
        Ok(())
    }

    /// The record must be the one that the source remembers.
    fn judge_record(
        &mut self,
        ends: &mut Ends,
        owner: &Ownership,
        pair: &Pair,
        record: Option<&Record>,
    ) -> Result<()> {
        let known = &owner.known;
        let dest = self.table.dest.clone();
        if leads_to(known, pair) {
            let Some(id) = known.record else { return Ok(()) };
            match record {
                Some(found) if found.ident == Some(id) => {}
                Some(_) => {
                    return Err(Error::new(
                        Kind::Refused,
                        format!("destination {dest} has another record of what landed than before"),
                    )
                    .detail(format!("link {}, {}", self.params.dest.name, pair.place.fence()))
                    .hint(format!(
                        "The link leads to another database with tables of these names, or ssync's \
                         own tables were made anew. Correct the link, or decide: {ADOPT}."
                    )));
                }
                None => {
                    return Err(Error::new(
                        Kind::Balance,
                        format!("destination {dest} has no record of what landed, and had one"),
                    )
                    .detail(format!("link {}, {}", self.params.dest.name, pair.place.fence()))
                    .detail("it no longer has what was settled last")
                    .hint(format!(
                        "The link leads elsewhere, the destination was made anew, or it was restored \
                         to a state from before its first run. Correct the link, or send again what \
                         is missing by {} in every home that runs this table (without a unique index: \
                         compare both sides by hand, then ssync adopt --as-is), or decide: {ADOPT}.",
                        self.retry_lost()
                    )));
                }
            }
            return self.judge_dest_server(ends, record);
        }
        let Some(before) = &known.pair else { return Ok(()) };
        if self.has_claimed(ends)? {
            return Err(Error::new(
                Kind::Refused,
                format!("rows of {} are under way to another destination", self.table.source),
            )
            .detail(format!("they were claimed for {}", before.table))
            .detail(format!("this run goes to {}", ends.plan.dest.full_name))
            .hint(format!(
                "Only the ledger there knows which of them have landed. Let a run with that \
                 destination come to its end, then change it. If the table was renamed, {ADOPT}."
            )));
        }
        // At rest a destination may be changed. One that was renamed, restored under another name
        // or moved is the same one, and its record must come along.
        let beside = ledger::records(ends.dest.as_mut(), &pair.place)?;
        let record = match known.record {
            Some(id) => beside.iter().find(|record| record.ident == Some(id)),
            // The source has confirmed no run. If the destination knows of more than it intended, it
            // was restored to a state from before its first run came to anything.
            None => {
                let is_of = |record: &&Record| hex_bytes::encode(&record.id) == before.id;
                let record = beside.iter().find(is_of);
                match record.filter(|record| record.counter > known.intended) {
                    Some(record) => Some(record),
                    None => return Ok(()),
                }
            }
        };
        let is_here = record.is_some();
        if is_here && ends.dest.describe(&quoted(&before.table))?.is_some() {
            if let Some(record) = record.filter(|record| record.counter < known.confirmed) {
                return Err(self.left_behind(&before.table, record.counter, known.confirmed));
            }
            self.notes.push(format!(
                "the destination is {} now; before: {}",
                ends.plan.dest.full_name, before.table
            ));
            return Ok(());
        }
        Err(Error::new(
            Kind::Refused,
            format!("the rows of {} went to another destination before", self.table.source),
        )
        .detail(format!("before: {}", before.table))
        .detail(format!("now: {}", ends.plan.dest.full_name))
        .hint(match is_here {
            true => format!("The table {} is gone. If it was renamed, {ADOPT}.", before.table),
            false => format!(
                "Its record of what landed is not beside the table of now. If the destination was \
                 moved, renamed or exchanged for a new one, {ADOPT}."
            ),
        }))
    }

    /// The destination that the rows went to until now is older than what was sent to it.
    fn left_behind(&self, before: &str, fence: i64, confirmed: i64) -> Error {
        Error::new(
            Kind::Balance,
            format!("destination {before} no longer has what was settled last"),
        )
        .detail(format!("the source has confirmed run {confirmed}, the destination knows {fence}"))
        .detail(format!("the rows of {} went there before this run", self.table.source))
        .hint(format!(
            "The destination was restored or failed over to an older state. Configure it once more, \
             and send again what is missing there by ssync retry --lost; or leave it as it is: {ADOPT}."
        ))
    }

    fn judge_dest_server(&mut self, ends: &mut Ends, record: Option<&Record>) -> Result<()> {
        let now = ends.plan.dest.server.clone();
        let then = record.and_then(|r| r.server.clone()).filter(|then| *then != now);
        let Some(then) = then else { return Ok(()) };
        if !self.params.dest_failover && self.has_claimed(ends)? {
            return Err(Error::new(
                Kind::Refused,
                format!(
                    "rows of {} are under way to {} on another server",
                    self.table.source, self.table.dest
                ),
            )
            .detail(format!("then: {then}"))
            .detail(format!("now: {now}"))
            .hint(format!(
                "Which of them have landed is in the record of the server that they were sent to. \
                 If the link may lead to any replica of one cluster, set failover = true; \
                 otherwise {ADOPT}."
            )));
        }
        self.note_server(format!(
            "the destination is on another server now: {now}; before: {then}"
        ));
        Ok(())
    }

    /// Which end is older, by the counter that both have.
    fn judge_counter(&self, fence: i64, confirmed: i64, intended: i64) -> Result<()> {
        if fence < confirmed {
            return Err(Error::new(
                Kind::Balance,
                format!("destination {} no longer has what was settled last", self.table.dest),
            )
            .detail(format!(
                "the source has confirmed run {confirmed}, the destination knows {fence}"
            ))
            .detail("the source shows rows as done that the destination's ledger does not know")
            .hint(format!(
                "The destination was restored or failed over to an older state. {}, in every home \
                 that runs this table, sets the rows of the missing batches back to 0. A destination \
                 without a unique index: compare both sides by hand, then ssync adopt --as-is; {ADOPT}.",
                self.retry_lost()
            )));
        }
        if fence > intended {
            return Err(Error::new(
                Kind::Balance,
                format!("source {} is older than what has landed of it", self.table.source),
            )
            .detail(format!("the source knows of run {intended}, the destination of {fence}"))
            .hint(format!(
                "The source was restored or failed over to an older state, or is a copy of the \
                 table that was sent. Rows that have landed since would be sent again; {ADOPT}."
            )));
        }
        Ok(())
    }

    /// The same number at both ends may be that of two runs.
    fn judge_stamp(&self, known: &Known, record: Option<&Record>) -> Result<()> {
        if !is_forked(known, record) {
            return Ok(());
        }
        let confirmed = known.confirmed;
        Err(Error::new(
            Kind::Balance,
            format!("destination {} had another run {confirmed} than the source", self.table.dest),
        )
        .detail("the source shows rows as done that the destination's ledger does not know")
        .hint(format!(
            "The destination was restored or failed over to an older state, and has gone on since \
             with a copy or an older state of the source. Compare both sides by hand: set \
             sync_status to 0 for rows that are missing at the destination, to 2 for those that \
             are there; then ssync adopt --as-is; {ADOPT}."
        )))
    }

    /// The first run of an `increment` into a table that has rows: were they sent already?
    fn judge_first(&mut self, ends: &mut Ends, record: Option<&Record>) -> Result<()> {
        if !is_first(self.table, record) || self.restart || self.is_empty(ends)? {
            return Ok(());
        }
        let place = Place::beside(&self.table.dest);
        let records = ledger::records(ends.dest.as_mut(), &place)?;
        Err(unknown_rows(&ends.plan, &self.params.source.name, &records))
    }

    /// Where the first run of an `increment` begins, as it is configured.
    pub(crate) fn initial_mark(&self, ends: &Ends) -> Result<Option<Mark<Kept>>> {
        let Some((column, value)) = initial(&ends.plan)? else { return Ok(None) };
        let mark = Mark { column, value, rows: Some(self.rows_chosen()) };
        self.seals(&ends.plan)?.seal_mark(&mark).map(Some)
    }

    /// Rows that have landed are still there: a table that was emptied, or dropped and made anew,
    /// lacks what lies below the mark.
    pub(crate) fn judge_emptied(&mut self, ends: &mut Ends, fence: &mut Fence) -> Result<()> {
        let mut landed = fence.landed.unwrap_or(0);
        if let Some(open) = fence.run.as_ref().filter(|run| run.open) {
            landed += self.landed_rows(ends, fence, &open.run)? as i64;
        }
        let found_empty = fence.emptied && self.keeps_rows();
        if landed == 0 || !self.was_emptied(ends, fence.emptied)? {
            return Ok(());
        }
        if self.restart {
            self.notes.push(match found_empty {
                true => "began anew: the destination was emptied".to_owned(),
                false => "began anew: the destination is empty".to_owned(),
            });
            fence.mark = None;
            fence.landed = Some(0);
            return Ok(());
        }
        let is = match found_empty {
            true => "was found empty by a run from another source",
            false => "is empty",
        };
        Err(Error::new(
            Kind::Balance,
            format!("destination {} {is}, and rows have landed there", self.table.dest),
        )
        .detail(format!("{landed} rows by earlier runs"))
        .hint(
            "The table was emptied, or dropped and made anew. With --restart everything is sent \
             again. Where rows are taken out of it as a matter of course, set count = false.",
        ))
    }

    /// Whether the destination is empty, or was found so by another run, and nobody but an operator can
    /// have emptied it.
    pub(crate) fn was_emptied(&self, ends: &mut Ends, found_empty: bool) -> Result<bool> {
        Ok(self.keeps_rows() && (found_empty || self.is_empty(ends)?))
    }

    /// Whether rows stay at the destination, unless an operator takes them out.
    fn keeps_rows(&self) -> bool {
        self.table.count && !may_concern_dest(self.table)
    }

    pub(crate) fn is_empty(&self, ends: &mut Ends) -> Result<bool> {
        let d = ends.dest.dialect();
        let sql = d.limit(&format!("SELECT 1 FROM {}", d.table(&self.table.dest)), 1);
        Ok(ends.dest.query(&sql, &[])?.is_empty())
    }

    /// Whether rows are under way, by whichever run.
    fn has_claimed(&self, ends: &mut Ends) -> Result<bool> {
        let table = self.source_table(&ends.plan, ends.source.as_ref(), None);
        Ok(!table.keys(ends.source.as_mut(), RowState::UnderWay, &Range::all(), 1)?.is_empty())
    }
}

/// Whether nothing says up to where an `increment` has been sent.
pub(crate) fn is_first(table: &TableTask, record: Option<&Record>) -> bool {
    let knows = |r: &Record| r.mark.is_some() || r.run.as_ref().is_some_and(|run| run.open);
    table.initial.is_none() && !record.is_some_and(knows)
}

/// What is said of a first `increment` into a table that has rows; `records` are those beside it.
pub(crate) fn unknown_rows(plan: &TablePlan, source_link: &str, records: &[Record]) -> Error {
    let mut error = Error::new(
        Kind::Refused,
        format!(
            "destination {} has rows already, and nothing is known of where they came from",
            plan.task.dest
        ),
    )
    .detail(format!("link {source_link}, source {} on {}", plan.source_name, plan.source_server));
    for record in records.iter().filter(|r| r.mark.is_some()) {
        error = error.detail(format!("a mark is there of {}", record.tables));
    }
    error.hint(format!(
        "If all rows of the source are still to be sent, set initial = \"all\"; if rows up to some \
         value of the watermark are there, set initial to that value. If the source or the \
         destination was renamed, moved or restored, {ADOPT}."
    ))
}

/// The watermark column and the value of it that the first `increment` begins behind, where one is
/// configured.
pub(crate) fn initial(plan: &TablePlan) -> Result<Option<(String, Value)>> {
    let (Some(text), Some(watermark)) = (&plan.task.initial, &plan.task.watermark) else {
        return Ok(None);
    };
    if text == INITIAL_ALL {
        return Ok(None);
    }
    let column = plan.watermark()?;
    let value = mark::parse(text, column.kind).ok_or_else(|| {
        Error::new(
            Kind::Config,
            format!("initial is not a value of watermark column {}", watermark.column),
        )
        .hint(
            "Write a whole number, a date (2026-01-31) or a time (2026-01-31 08:00:00), as the \
             column has them, or \"all\".",
        )
    })?;
    Ok(Some((watermark.column.clone(), value)))
}

/// Whether source and destination have come to where they are by different runs, though their
/// numbers agree.
pub(crate) fn is_forked(known: &Known, record: Option<&Record>) -> bool {
    let at_dest = record.and_then(|record| record.stamp.as_ref());
    known.stamp.as_ref().zip(at_dest).is_some_and(|(own, there)| there.is_other_than(own))
}

/// Whether the source's owner row is about this record.
pub(crate) fn leads_to(known: &Known, pair: &Pair) -> bool {
    let id = hex_bytes::encode(&pair.id);
    known.pair.as_ref().is_some_and(|known| known.id == id)
}
