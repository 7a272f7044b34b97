//! Both ends count as they are now, on an operator's word: what the destination's record lists has
//! landed, and nothing else has.

use ssync_common::config::TableMode;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Entry, Id, Pair, Record, Stamp, Succession, Which};
use ssync_common::value::{Value, hex_bytes, key_text};

use crate::adopt::{Table, full_run_is_known};
use crate::identity::{is_forked, leads_to};
use crate::journal::LastSettled;
use crate::lost::{lacks, may_double, release_under_way};
use crate::owner::{self, Ownership, confirmed_as};
use crate::source::{Range, RowState};

/// Ranges of keys, and records, that are named to people.
const NAMED_MAX: usize = 10;
/// What is done by hand to rows that are under way, where no record says which of them have landed.
const BY_HAND: &str = "Compare them on both sides by hand: set sync_status to 2 for those that the \
    destination has as they are, to 0 for the others. Then ssync adopt --as-is once more";

/// Takes a table in `status` mode as it is; what people should know of that.
pub(crate) fn as_is(t: &mut Table<'_>, last: Option<&LastSettled>) -> Result<Vec<String>> {
    t.owned(|t, owner| {
        let mut notes = Vec::new();
        let (pair, mut record) = t.record(Some(owner))?;
        if owner.known.pair.is_none() && record.is_none() {
            record = beside(t, &pair, &mut notes)?;
        }
        if let Some(record) = &record
            && ledger::has_lost_entries(t.dest.as_mut(), &pair, record)?
            && may_be_there(t)?
        {
            return Err(nothing_says(t, "rows in state 1, and the ledger beside the destination was emptied"));
        }
        if is_behind(t, owner, &pair, record.as_ref(), last)? && t.has_claimed()? {
            only_unlisted(t, &pair)?;
            let rows = t.rows();
            let released = release_under_way(t.source.as_mut(), &rows, owner)?;
            notes.push(format!(
                "{released} rows that were under way are to be sent: the destination is older than they \
                 are, or another one"
            ));
        }
        let counter = record.as_ref().map_or(0, |r| r.counter);
        let number = owner.known.intended.max(counter) + i64::from(record.is_some());
        let ident =
            record.as_ref().and_then(|r| r.ident).map_or(Value::Null, |id| ledger::id_value(&id));
        let server = Value::Text(t.plan.source_server.clone());
        let set = [
            ("pair", t.here(&pair)),
            ("record", ident),
            ("intended", Value::Int(number)),
            ("server", server),
        ];
        let set = [&set[..], &confirmed_as(record.as_ref())].concat();
        owner.note(t.source.as_mut(), &set)?;
        if record.is_some() {
            share(t, owner, &pair, number)?;
        }
        full_run_is_known(t, &pair)?;
        ledger::begin_again(t.dest.as_mut(), &pair)?;
        ledger::forget_server(t.dest.as_mut(), &pair)?;
        Ok(notes)
    })
}

/// Gives both ends a number, as a run does, so that an older destination is noticed. No home has it:
/// what a destination loses of states that an operator has set is known to none.
fn share(t: &mut Table<'_>, owner: &Ownership, pair: &Pair, number: i64) -> Result<()> {
    let stamp = Stamp::new(number)?;
    let confirmed = [("confirmed", Value::Int(number)), ("stamp", Value::Text(stamp.to_string()))];
    let succession = Succession { own: stamp, after: None };
    ledger::note_counter(t.dest.as_mut(), pair, succession)?;
    owner.note(t.source.as_mut(), &confirmed)
}

/// Whether the destination's record came before the rows that are under way: then its entries may
/// name rows of which later versions were claimed since.
fn is_behind(
    t: &mut Table<'_>,
    owner: &Ownership,
    pair: &Pair,
    record: Option<&Record>,
    last: Option<&LastSettled>,
) -> Result<bool> {
    let known = &owner.known;
    if known.pair.is_some() && !leads_to(known, pair)
        || record.map_or(0, |r| r.counter) < known.confirmed
        || is_forked(known, record)
    {
        return Ok(true);
    }
    lacks(t.dest.as_mut(), pair, record.map_or(0, |r| r.epoch), last)
}

/// Refuses where rows are under way that an older record lists, and a row that comes again would be
/// in the destination twice.
fn only_unlisted(t: &mut Table<'_>, pair: &Pair) -> Result<()> {
    if !may_double(t.table, &t.plan) {
        return Ok(());
    }
    let kept = ledger::entries(t.dest.as_mut(), pair, Which::Unsettled)?;
    let rows = t.rows();
    let mut listed: Vec<Entry> = Vec::new();
    for entry in t.seals()?.open_all(&kept)? {
        let range = Range::closed(&entry.lo, &entry.hi);
        if !rows.keys(t.source.as_mut(), RowState::UnderWay, &range, 1)?.is_empty() {
            listed.push(entry);
        }
    }
    if listed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = t.plan.order.iter().map(|c| c.name.clone()).collect();
    let mut error = Error::new(
        Kind::Refused,
        format!("rows of {} are under way that {} may have", t.table.source, t.table.dest),
    )
    .detail("its record lists them, and is older than they are: perhaps it lists earlier versions");
    for entry in listed.iter().take(NAMED_MAX) {
        let (lo, hi) = (key_text(&names, &entry.lo), key_text(&names, &entry.hi));
        error = error.detail(format!("rows in state 1 from {lo} to {hi}"));
    }
    if listed.len() > NAMED_MAX {
        error = error.detail(format!("and {} more ranges", listed.len() - NAMED_MAX));
    }
    Err(error.hint(format!("Sent again, such a row would be there twice. {BY_HAND}.")))
}

/// The record of these very tables that stands beside the destination under another identity of the
/// source, moved to the one of now: what the source knew of its runs is gone.
fn beside(t: &mut Table<'_>, pair: &Pair, notes: &mut Vec<String>) -> Result<Option<Record>> {
    let print = t.fingerprint()?;
    let tables = t.tables();
    let of_modes = [
        Id::default(),
        owner::increment_ident(
            &t.params.source_identity(&t.plan.source_server),
            &t.plan.source_name,
        ),
    ]
    .map(|ident| ledger::pair_id(&ident, &t.plan.dest.full_name));
    let mut found = ledger::records(t.dest.as_mut(), &pair.place)?;
    found.retain(|record| {
        let Some(run) = &record.run else { return false };
        !of_modes.contains(&record.id)
            && print.is_of_these_tables(&run.plan).unwrap_or(record.tables == tables)
    });
    let rows_are_under_way = t.has_claimed()?;
    match found.as_slice() {
        [record] => {
            let from = Pair { id: record.id, ..pair.clone() };
            ledger::relocate(t.dest.as_mut(), &from, pair)?;
            notes.push(format!(
                "what has landed is known by the record of {} beside the destination, last run {}",
                record.tables, record.counter
            ));
            ledger::record(t.dest.as_mut(), pair)
        }
        [] if may_be_there(t)? => {
            let detail = "rows in state 1, and no record of these tables beside the destination";
            Err(nothing_says(t, detail))
        }
        [_, _, ..] if rows_are_under_way => {
            let mut error = Error::new(
                Kind::Refused,
                format!(
                    "{} records beside the destination are of {} and this destination",
                    found.len(),
                    t.table.source
                ),
            );
            for record in found.iter().take(NAMED_MAX) {
                let server = record.server.as_deref().unwrap_or("a server that is not known");
                error = error.detail(format!(
                    "{}: {}, last run {}, on {server}",
                    hex_bytes::encode(&record.id),
                    record.tables,
                    record.counter
                ));
            }
            Err(error.hint(format!(
                "Which of them says what has landed of the rows in state 1 cannot be known. {BY_HAND}."
            )))
        }
        _ => Ok(None),
    }
}

/// Whether rows are under way that may be in the destination, and would be there twice.
fn may_be_there(t: &mut Table<'_>) -> Result<bool> {
    Ok(may_double(t.table, &t.plan) && t.has_claimed()? && !t.dest_is_empty()?)
}

fn nothing_says(t: &Table<'_>, detail: &str) -> Error {
    Error::new(Kind::Refused, format!("nothing says which rows of {} have landed", t.table.source))
        .detail(detail)
        .hint(format!("Sent again, a row would be there twice. {BY_HAND}."))
}

impl Table<'_> {
    /// Does some work while the source table is ours, and gives it back however that ends.
    pub(crate) fn owned<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &Ownership) -> Result<T>,
    ) -> Result<T> {
        let name = self.plan.source_name.clone();
        let owner = self.own(&name)?;
        let result = work(self, &owner);
        owner.released_after(result, self.params, self.source.as_mut())
    }

    /// The same where the mode has an owner.
    pub(crate) fn owned_if_status<T>(
        &mut self,
        work: impl FnOnce(&mut Self, Option<&Ownership>) -> Result<T>,
    ) -> Result<T> {
        match self.table.mode {
            TableMode::Status => self.owned(|t, owner| work(t, Some(owner))),
            TableMode::Full | TableMode::Increment => work(self, None),
        }
    }

    fn dest_is_empty(&mut self) -> Result<bool> {
        let d = self.dest.dialect();
        let sql = d.limit(&format!("SELECT 1 FROM {}", d.table(&self.table.dest)), 1);
        Ok(self.dest.query(&sql, &[])?.is_empty())
    }
}
