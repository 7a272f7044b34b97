//! What an operator decides about the identity of tables: that a table was renamed, that what is
//! there now counts, or that nothing of earlier runs does.

use serde::Serialize;
use ssync_common::config::{TableMode, TableTask};
use ssync_common::connector::{Connection, open, split_table_name};
use ssync_common::crypto::Mode;
use ssync_common::error::{Error, Kind, Result};
use ssync_common::ledger::{self, Filled, Id, Pair, Place, Record, Seals};
use ssync_common::process::identity::RunId;
use ssync_common::value::{Value, hex_bytes};
use ssync_writer::transform::Action;

use crate::as_is::as_is;
pub use crate::full_runs::Bar;
use crate::identity::{is_forked, leads_to};
use crate::journal::LastSettled;
use crate::owner::{self, OWNER_TABLE, Ownership, PairText};
use crate::params::TaskParams;
use crate::plan::{self, Circumstances, ColumnPair, Fingerprint, TablePlan};
use crate::source::{Range, RowState, SourceTable};
use crate::table_run::describe_sides;

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Tables that had other names before: what is known of those names is known of them.
    Renamed {
        /// The source's former name, if it had one.
        source: Option<String>,
        /// The destination's.
        dest: Option<String>,
    },
    /// Both ends count as they are now: what the record lists has landed, and nothing else has.
    AsIs,
    /// Nothing of earlier runs counts: the source is a table of its own, the record begins anew.
    New,
}

/// What there is to decide by.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Source table, by its catalog.
    pub source: String,
    /// What it stands on now.
    pub source_server: String,
    /// What it stood on when a run last began; `None`: not known.
    pub source_server_before: Option<String>,
    /// Whether rows are under way (state 1).
    pub rows_under_way: Option<bool>,
    /// The run that the source intended last, and the one it confirmed.
    pub source_runs: Option<(i64, i64)>,
    /// Destination table, by its catalog.
    pub dest: String,
    /// What it stands on now.
    pub dest_server: String,
    /// What it stood on when a run last began.
    pub dest_server_before: Option<String>,
    /// Where the rows went before, by the source's owner row.
    pub dest_before: Option<String>,
    /// Whether the destination's record is the one that the source remembers; `None`: nothing to
    /// compare.
    pub record_is_known: Option<bool>,
    /// The run that the destination knows last.
    pub dest_run: Option<i64>,
    /// Whether that is another run than the one to which the source gave this number.
    pub is_forked: bool,
    /// Whether a run is open there.
    pub run_is_open: bool,
    /// The open `full` run that bars the table's runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barred_by: Option<Bar>,
    /// Names of the tables of other records beside the destination.
    pub other_records: Vec<String>,
}

/// Both ends of a table that is decided about.
pub(crate) struct Table<'a> {
    pub(crate) params: &'a TaskParams,
    pub(crate) table: &'a TableTask,
    pub(crate) plan: TablePlan,
    pub(crate) source: Box<dyn Connection>,
    pub(crate) dest: Box<dyn Connection>,
}

impl<'a> Table<'a> {
    fn open(params: &'a TaskParams, table: &'a TableTask) -> Result<Table<'a>> {
        let mut source = open(&params.source)?;
        let mut dest = open(&params.dest)?;
        let links = (&params.source, &params.dest);
        let planned = describe_sides(source.as_mut(), dest.as_mut(), &params.task, table, links)?;
        plan::refuse(params.task.id, &table.name, &planned.findings)?;
        let plan =
            planned.plan.ok_or_else(|| Error::new(Kind::Internal, "no plan and no finding"))?;
        ledger::make_tables(dest.as_mut(), &Place::beside(&table.dest))?;
        Ok(Table { params, table, plan, source, dest })
    }

    pub(crate) fn own(&mut self, full_name: &str) -> Result<Ownership> {
        let server = self.plan.source_server.clone();
        owner::take(self.source.as_mut(), &self.table.source, full_name, &server)
    }

    fn ident(&self, owner: Option<&Ownership>, source: &str) -> Id {
        match (self.table.mode, owner) {
            (TableMode::Full, _) => Id::default(),
            (TableMode::Status, Some(owner)) => owner.ident,
            _ => {
                let known = self.params.source_identity(&self.plan.source_server);
                owner::increment_ident(&known, source)
            }
        }
    }

    fn pair(&self, owner: Option<&Ownership>, source: &str, dest: &str) -> Pair {
        Pair::new(&self.ident(owner, source), &self.table.dest, dest)
    }

    pub(crate) fn record(&mut self, owner: Option<&Ownership>) -> Result<(Pair, Option<Record>)> {
        let (source, dest) = (self.plan.source_name.clone(), self.plan.dest.full_name.clone());
        let pair = self.pair(owner, &source, &dest);
        let record = ledger::record(self.dest.as_mut(), &pair)?;
        Ok((pair, record))
    }

    /// The source's rows.
    pub(crate) fn rows(&self) -> SourceTable {
        SourceTable {
            dialect: self.source.dialect(),
            name: self.table.source.clone(),
            order: self.plan.order.clone(),
            address: None,
            touched: self.plan.touched.clone(),
            filter: None,
            window: None,
            triggers: self.plan.source_triggers.clone(),
        }
    }

    pub(crate) fn has_claimed(&mut self) -> Result<bool> {
        let rows = self.rows();
        Ok(!rows.keys(self.source.as_mut(), RowState::UnderWay, &Range::all(), 1)?.is_empty())
    }

    /// By what the run of this table is known again.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint> {
        let circumstances = Circumstances {
            keys: &self.params.keys,
            source_failover: self.params.source_failover,
            dest_failover: self.params.dest_failover,
        };
        Fingerprint::new(&self.plan, circumstances)
    }

    /// What opens the keys of the ledger's entries.
    pub(crate) fn seals(&self) -> Result<Seals> {
        let (plan, keys) = (&self.plan, self.params.keys.clone());
        ssync_writer::transform::seals(&plan.places(&plan.order), &plan.transforms, keys)
    }

    /// The pair's name for people.
    pub(crate) fn tables(&self) -> String {
        format!("{} -> {}", self.table.source, self.table.dest)
    }

    /// How the source's owner row names the destination.
    pub(crate) fn here(&self, pair: &Pair) -> Value {
        PairText::new(&self.plan.dest.full_name, &pair.id).value()
    }

    /// The record of the runs that fill the destination anew.
    fn full_pair(&self) -> Pair {
        Pair::new(&Id::default(), &self.table.dest, &self.plan.dest.full_name)
    }

    /// The open `full` run that bars the table's runs, if there is one.
    fn bar(&mut self) -> Result<Option<Bar>> {
        if self.table.mode == TableMode::Full {
            return Ok(None);
        }
        let (pair, full_name) = (self.full_pair(), self.plan.dest.full_name.clone());
        Bar::of(self.params, self.dest.as_mut(), &pair, (&self.table.dest, &full_name))
    }

    fn is_status(&self) -> bool {
        self.table.mode == TableMode::Status
    }
}

/// What there is to decide by; changes nothing but that ssync's own tables are made where they are
/// missing.
pub fn look(params: &TaskParams, table: &TableTask) -> Result<Found> {
    Table::open(params, table)?.owned_if_status(found)
}

fn found(t: &mut Table<'_>, owner: Option<&Ownership>) -> Result<Found> {
    let (pair, record) = t.record(owner)?;
    let known = owner.map(|o| o.known.clone());
    let others = ledger::records(t.dest.as_mut(), &pair.place)?
        .into_iter()
        .filter(|other| other.id != pair.id)
        .map(|other| other.tables)
        .collect();
    let remembered = known.as_ref().and_then(|k| k.record);
    let rows_under_way = if owner.is_some() { Some(t.has_claimed()?) } else { None };
    Ok(Found {
        source: t.plan.source_name.clone(),
        source_server: t.plan.source_server.clone(),
        source_server_before: known.as_ref().and_then(|k| k.server.clone()),
        rows_under_way,
        source_runs: known.as_ref().map(|k| (k.intended, k.confirmed)),
        dest: t.plan.dest.full_name.clone(),
        dest_server: t.plan.dest.server.clone(),
        dest_server_before: record.as_ref().and_then(|r| r.server.clone()),
        dest_before: known.as_ref().and_then(|k| k.pair.as_ref()).map(|p| p.table.clone()),
        record_is_known: remembered.map(|id| record.as_ref().is_some_and(|r| r.ident == Some(id))),
        dest_run: record.as_ref().map(|r| r.counter),
        is_forked: known.as_ref().is_some_and(|k| is_forked(k, record.as_ref())),
        run_is_open: record.as_ref().is_some_and(|r| r.run.as_ref().is_some_and(|run| run.open)),
        barred_by: t.bar()?,
        other_records: others,
    })
}

/// Carries a decision out; what people should know of that. The caller holds the sub-task's lock,
/// and forgets what is remembered outside of both databases, of which `last` was settled last.
pub fn decide(
    params: &TaskParams,
    table: &TableTask,
    decision: &Decision,
    last: Option<&LastSettled>,
) -> Result<Vec<String>> {
    let mut t = Table::open(params, table)?;
    let ended = match decision {
        Decision::Renamed { .. } => None,
        Decision::AsIs | Decision::New => end_barring(&mut t)?,
    };
    let notes = match (decision, table.mode) {
        (Decision::Renamed { source, dest }, _) => {
            renamed(&mut t, source.as_deref(), dest.as_deref())
        }
        (Decision::AsIs, TableMode::Status) => as_is(&mut t, last),
        (Decision::AsIs, TableMode::Increment) if ended.is_some() => {
            let (pair, _) = t.record(None)?;
            full_run_is_known(&mut t, &pair)?;
            ledger::begin_again(t.dest.as_mut(), &pair).map(|_| Vec::new())
        }
        (Decision::AsIs, TableMode::Increment) => goes_on(&mut t),
        (Decision::AsIs, TableMode::Full) => Err(Error::new(
            Kind::Usage,
            format!("table {} is in mode full, which begins anew by itself", t.table.name),
        )),
        (Decision::New, _) => t.owned_if_status(new).map(|()| Vec::new()),
    };
    Ok(ended.into_iter().chain(notes?).collect())
}

/// The open `full` run that bars the table's runs, if there is one.
pub fn bar(params: &TaskParams, table: &TableTask) -> Result<Option<Bar>> {
    Table::open(params, table)?.bar()
}

/// Ends the open `full` run that bars the table's runs, if there is one; what people should know of
/// that.
///
/// # Errors
/// [`Kind::Refused`] where its sub-task may still resume it.
fn end_barring(t: &mut Table<'_>) -> Result<Option<String>> {
    let Some(bar) = t.bar()? else { return Ok(None) };
    if !bar.may_be_ended() {
        return Err(bar.error(t.params.task.id, t.table));
    }
    let full = t.full_pair();
    let tables = ledger::record(t.dest.as_mut(), &full)?.map_or_else(String::new, |r| r.tables);
    bar.end(t.dest.as_mut(), &full, &tables)?;
    Ok(Some(format!(
        "the full run of {}, which nothing resumes, is over; what it has left in {} counts",
        bar.whose(),
        t.table.dest
    )))
}

/// A former name in full: in the schema of today's, unless it names its own.
fn in_full(name: &str, today: &str) -> Result<String> {
    match split_table_name(name).as_slice() {
        [table] => {
            let schema = today.split_once('.').map_or("", |(schema, _)| schema);
            Ok(format!("{schema}.{table}"))
        }
        [schema, table] => Ok(format!("{schema}.{table}")),
        _ => Err(Error::new(Kind::Usage, format!("{name} is not a table name"))),
    }
}

fn still_there(name: &str) -> Error {
    Error::new(Kind::Refused, format!("table {name} is still there: it was not renamed"))
        .hint("A copy is another table: --new lets it begin anew.")
}

fn nothing_known(name: &str) -> Error {
    Error::new(Kind::Refused, format!("nothing is known of a table {name}")).hint(
        "Without a decision, ssync adopt lists the names that are known. Where source and \
         destination were both renamed, give both former names.",
    )
}

fn renamed(t: &mut Table<'_>, source: Option<&str>, dest: Option<&str>) -> Result<Vec<String>> {
    let (now_source, now_dest) = (t.plan.source_name.clone(), t.plan.dest.full_name.clone());
    let sources = former_names(t.source.as_mut(), source, &now_source)?;
    let dests = former_names(t.dest.as_mut(), dest, &now_dest)?;
    let mut notes = bound_values(t, source, dest);
    if let Some(name) = source.filter(|_| t.is_status()) {
        source_was(t, name, &sources, &now_source)?;
    }
    let Some(name) = dest.or_else(|| source.filter(|_| !t.is_status())) else { return Ok(notes) };
    t.owned_if_status(|t, owner| {
        let to = t.pair(owner, &now_source, &now_dest);
        let mut froms = Vec::new();
        for (source, dest) in sources.iter().flat_map(|s| dests.iter().map(move |d| (s, d))) {
            let place = Place::beside(&quoted(dest));
            froms.push(Pair { place, ..t.pair(owner, source, dest) });
        }
        if source.is_some() && dest.is_some() {
            let before = sources.iter().map(|source| (source, &now_dest));
            let between = before.chain(dests.iter().map(|dest| (&now_source, dest)));
            refuse_between(t, owner, &froms, &to, &between.collect::<Vec<_>>())?;
        }
        notes.extend(make_way(t, owner, &froms, &to, name)?);
        let mut moved = false;
        for from in &froms {
            moved = moved || ledger::relocate(t.dest.as_mut(), from, &to)?;
        }
        if !moved && !was_moved(t, owner, &froms, &to)? {
            return Err(nothing_known(name));
        }
        if t.table.mode != TableMode::Full {
            note_renamed(t, &to)?;
        }
        match owner {
            Some(owner) => {
                let here = t.here(&to);
                owner.note(t.source.as_mut(), &[("pair", here)])
            }
            None => Ok(()),
        }
    })?;
    Ok(notes)
}

/// Whether the record of a former name has been moved before, of which the source does not know: the
/// decision was cut short, or the source was restored since. Or whether there never was one: no run
/// that was to go there has got so far.
fn was_moved(
    t: &mut Table<'_>,
    owner: Option<&Ownership>,
    froms: &[Pair],
    to: &Pair,
) -> Result<bool> {
    let Some(known) = owner.map(|owner| &owner.known) else { return Ok(false) };
    let was_sent_there = froms.iter().any(|from| from.id != to.id && leads_to(known, from));
    let record = ledger::record(t.dest.as_mut(), to)?;
    Ok(was_sent_there && record.and_then(|record| record.ident) == known.record)
}

/// Refuses where both tables were renamed and a run went on between the two: of one former name and
/// one of today, `between`, there is a record, which is younger than that of both former names.
fn refuse_between(
    t: &mut Table<'_>,
    owner: Option<&Ownership>,
    froms: &[Pair],
    to: &Pair,
    between: &[(&String, &String)],
) -> Result<()> {
    for (source, dest) in between {
        let place = Place::beside(&quoted(dest));
        let pair = Pair { place, ..t.pair(owner, source, dest) };
        // A source that keeps its own identity has one record for each destination.
        if pair.id == to.id || froms.iter().any(|from| from.id == pair.id) {
            continue;
        }
        let Some(record) = known_record(t.dest.as_mut(), &pair)? else { continue };
        let other = |was: &str, today: &str, option: &str| {
            if was == today { None } else { Some(format!("{option} {was}")) }
        };
        let (now_source, now_dest) = (&t.plan.source_name, &t.plan.dest.full_name);
        let options = other(source, now_source, "--source-was")
            .or_else(|| other(dest, now_dest, "--dest-was"))
            .unwrap_or_default();
        return Err(Error::new(
            Kind::Refused,
            format!("between the two renames a run of {source} to {dest} began"),
        )
        .detail(format!("link {}, its record: {}", t.params.dest.name, in_words(&record)))
        .hint(format!(
            "That record is younger than the one of both former names. {options} alone goes on by it."
        )));
    }
    Ok(())
}

/// What a record knows, for people. Only runs that write at the source are counted.
fn in_words(record: &Record) -> String {
    let last = (record.counter > 0).then(|| format!("last run {}", record.counter));
    let open = record.run.as_ref().is_some_and(|run| run.open).then(|| "a run is open".to_owned());
    let mark = record.mark.as_ref().map(|_| "with a mark".to_owned());
    let parts: Vec<_> = [last, open, mark].into_iter().flatten().collect();
    if parts.is_empty() { "of no run".to_owned() } else { parts.join(", ") }
}

/// The record of a pair whose place may have none, or one of an earlier version.
fn known_record(dest: &mut dyn Connection, pair: &Pair) -> Result<Option<Record>> {
    if dest.describe(pair.place.fence())?.is_none() {
        return Ok(None);
    }
    ledger::ensure_tables(dest, &pair.place)?;
    ledger::record(dest, pair)
}

/// Where the table of today has a record of its own, beside the one of its former name `name`: that
/// one goes where it is of a table that had this name earlier, since the source's last runs went to
/// the table that was renamed. Otherwise an operator has to look.
fn make_way(
    t: &mut Table<'_>,
    owner: Option<&Ownership>,
    froms: &[Pair],
    to: &Pair,
    name: &str,
) -> Result<Option<String>> {
    let mut renamed = None;
    for from in froms.iter().filter(|from| from.id != to.id) {
        if renamed.is_none() {
            renamed = known_record(t.dest.as_mut(), from)?;
        }
    }
    let today = ledger::record(t.dest.as_mut(), to)?;
    let (Some(renamed), Some(today)) = (renamed, today) else { return Ok(None) };
    let known = owner.map(|owner| &owner.known);
    let is_known = |record: &Record| {
        let id = hex_bytes::encode(&record.id);
        known.is_some_and(|k| {
            k.record.is_some()
                && k.record == record.ident
                && k.pair.as_ref().is_some_and(|pair| pair.id == id)
        })
    };
    if is_known(&renamed) {
        ledger::delete(t.dest.as_mut(), to)?;
        log::info!("removed record {}, last run {}", hex_bytes::encode(&today.id), today.counter);
        return Ok(Some(format!(
            "the record of a table that had the name of today before is removed, last run {}",
            today.counter
        )));
    }
    let error = Error::new(
        Kind::Refused,
        format!("table {} has a record of what landed under its name of today", t.table.dest),
    )
    .detail(format!("of {name}: {}", in_words(&renamed)))
    .detail(format!("of {}: {}", t.plan.dest.full_name, in_words(&today)));
    Err(match known {
        Some(_) if is_known(&today) => error
            .detail("the source's last runs went to the table that had the name of today")
            .hint(format!(
                "If that table is gone and {name} took its place, the rows of those runs are missing: \
                 compare both sides, set sync_status to 0 for rows that are missing (rows in state 1, \
                 too) and to 2 for rows that are there; ssync adopt --as-is then goes on by the record \
                 of today."
            )),
        Some(_) => error.hint(
            "Which of the two is right, the source does not know. Compare both sides, set sync_status \
             to 0 for rows that are missing (rows in state 1, too) and to 2 for rows that are there; \
             ssync adopt --as-is then goes on by the record of today.",
        ),
        None => error.hint(format!(
            "If the record of today is of a table that is gone, ssync adopt --new forgets it, and \
             --dest-was {name} is taken after that. Otherwise the table was not renamed: the next run \
             goes on by the record of today."
        )),
    })
}

/// What becomes of encrypted values that are bound to the name of a table that was renamed.
fn bound_values(t: &Table<'_>, source: Option<&str>, dest: Option<&str>) -> Vec<String> {
    let bare = |name: &str| split_table_name(name).pop().unwrap_or_default();
    let columns = |opens: bool| -> Vec<String> {
        let bound = t.plan.transforms.iter().filter(|transform| {
            transform.mode == Mode::Random
                && matches!(transform.action, Action::Open { .. }) == opens
        });
        let name = |pair: &ColumnPair| {
            if opens { pair.source.name.clone() } else { pair.dest.name.clone() }
        };
        bound.filter_map(|b| t.plan.pairs.get(b.index).map(name)).collect()
    };
    let mut notes = Vec::new();
    for (old, today, opens) in [(dest, &t.table.dest, false), (source, &t.table.source, true)] {
        let Some(old) = old.map(bare).filter(|old| *old != bare(today)) else { continue };
        let columns = columns(opens);
        if columns.is_empty() {
            continue;
        }
        notes.push(format!(
            "values of {} that were encrypted for the name {old} open under that name only, those of \
             now under {}: see docs/OPERATIONS.md, \"Encrypted values of a renamed table\"",
            columns.join(", "),
            bare(today)
        ));
    }
    notes
}

/// What a table that is called `today` may have been called in its catalog: as the name is given,
/// or in capitals, as some databases take names without quotes. Without a name it was not renamed.
fn former_names(
    conn: &mut dyn Connection,
    given: Option<&str>,
    today: &str,
) -> Result<Vec<String>> {
    let Some(given) = given else { return Ok(vec![today.to_owned()]) };
    let before = in_full(given, today)?;
    if conn.describe(&quoted(&before))?.is_some() {
        return Err(still_there(given));
    }
    let capitals = in_full(&given.to_ascii_uppercase(), today)?;
    let mut names = vec![before];
    if !names.contains(&capitals) && conn.describe(&quoted(&capitals))?.is_none() {
        names.push(capitals);
    }
    Ok(names)
}

/// Gives what the source's owner row knows of a former name to today's.
fn source_was(t: &mut Table<'_>, name: &str, before: &[String], today: &str) -> Result<()> {
    // The row of the name of today goes with it, or is given back.
    t.owned(|t, fresh| {
        // Of that name nothing must be known but that it was looked at.
        if fresh.known.pair.is_some() {
            return Err(Error::new(
                Kind::Refused,
                format!("runs of {today} are known under its name of today"),
            )
            .hint(
                "Only one of the two can be right; --as-is or --new decides for the one of today.",
            ));
        }
        for before in before {
            if owner::rename(t.source.as_mut(), &t.table.source, before, today)? {
                return Ok(());
            }
        }
        Err(nothing_known(name))
    })
}

/// An increment whose source is on another server now, with all that it had: its record is the one
/// of tables of these names. What people should know of that.
fn goes_on(t: &mut Table<'_>) -> Result<Vec<String>> {
    let (pair, record) = t.record(None)?;
    if ledger::begin_again(t.dest.as_mut(), &pair)? {
        return Ok(Vec::new());
    }
    if record.is_some_and(|r| r.mark.is_some() || r.run.is_some()) {
        return Err(Error::new(Kind::Refused, "the record of this source is here already")
            .hint("The next run goes on by it. --restart sends everything again."));
    }
    let tables = t.tables();
    let known: Vec<_> = ledger::records(t.dest.as_mut(), &pair.place)?
        .into_iter()
        .filter(|r| r.id != pair.id && r.tables == tables && r.mark.is_some())
        .collect();
    let [record] = known.as_slice() else {
        return Err(Error::new(
            Kind::Refused,
            format!("{} records beside the destination are of {tables}", known.len()),
        )
        .hint("With initial, say up to which value of the watermark rows are there."));
    };
    let print = t.fingerprint()?;
    if record.run.as_ref().is_some_and(|run| print.is_of_a_neighbour(&run.plan)) {
        return Err(Error::new(
            Kind::Refused,
            format!("the record of {tables} is of another table on this server"),
        )
        .detail(format!("this one is {}", t.plan.source_name))
        .hint(
            "If that table was renamed, or its schema, --source-was SCHEMA.TABLE goes on by its \
             record. Of a copy, say with initial up to which value of the watermark its rows are \
             there.",
        ));
    }
    ledger::delete(t.dest.as_mut(), &pair)?;
    let from = pair.beside(record.id);
    ledger::relocate(t.dest.as_mut(), &from, &pair)?;
    note_renamed(t, &pair)?;
    Ok(vec![format!(
        "goes on by the record that a source on another server had ({}); if that source still sends \
         rows here, its next run stops",
        in_words(record)
    )])
}

/// The record is of the tables of now, and what is under way is the same run, of tables that have
/// other names or servers now.
fn note_renamed(t: &mut Table<'_>, pair: &Pair) -> Result<()> {
    let tables = t.tables();
    ledger::note_tables(t.dest.as_mut(), pair, &tables)?;
    let record = ledger::record(t.dest.as_mut(), pair)?;
    let print = t.fingerprint()?;
    let run = record.and_then(|record| record.run);
    match run.and_then(|run| print.renamed(&run.plan)) {
        Some(text) => ledger::note_plan(t.dest.as_mut(), pair, &text),
        None => Ok(()),
    }
}

fn new(t: &mut Table<'_>, owner: Option<&Ownership>) -> Result<()> {
    let (pair, record) = t.record(owner)?;
    let Some(owner) = owner else {
        ledger::delete(t.dest.as_mut(), &pair)?;
        return full_run_is_known(t, &pair);
    };
    // The old record stays: it may be another table's, of which this one is a copy.
    let ident = RunId::random()?.0;
    let id = ledger::pair_id(&ident, &t.plan.dest.full_name);
    let pair = Pair { id, ..pair };
    let set = [
        ("ident", ledger::id_value(&ident)),
        ("pair", t.here(&pair)),
        ("record", Value::Null),
        ("intended", Value::Int(0)),
        ("confirmed", Value::Int(0)),
        ("server", Value::Text(t.plan.source_server.clone())),
    ];
    owner.note(t.source.as_mut(), &set)?;
    full_run_is_known(t, &pair)?;
    log::info!(
        "{}: begins anew as {}; its former record {} stays",
        t.params.task.id,
        hex_bytes::encode(&ident),
        record.map_or_else(|| "(none)".to_owned(), |r| hex_bytes::encode(&r.id))
    );
    Ok(())
}

/// What a `full` run has filled the destination with counts as the operator found it.
pub(crate) fn full_run_is_known(t: &mut Table<'_>, pair: &Pair) -> Result<()> {
    let full = ledger::record(t.dest.as_mut(), &pair.of_full(&t.plan.dest.full_name))?;
    let Some((run, row_keys)) = full.and_then(|full| Some((full.run?, full.row_keys))) else {
        return Ok(());
    };
    let seen = ledger::record(t.dest.as_mut(), pair)?.and_then(|record| record.full_run);
    // One that is under way fills it later.
    if run.open || t.table.mode == TableMode::Full || seen == Some(run.run) {
        return Ok(());
    }
    let filled = Filled { run: run.run, forget: false, row_keys };
    let tables = t.tables();
    ledger::note_full_run(t.dest.as_mut(), pair, &tables, filled)
}

/// A name of the catalog as a name that is configured, its case kept.
pub(crate) fn quoted(full_name: &str) -> String {
    let (schema, table) = full_name.split_once('.').unwrap_or(("", full_name));
    let parts = if schema.is_empty() { vec![table] } else { vec![schema, table] };
    parts.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(".")
}

/// Names that the source's owner table knows beside this one, for people.
pub fn other_sources(params: &TaskParams, table: &TableTask) -> Result<Vec<String>> {
    let mut source = open(&params.source)?;
    let owners = ssync_common::connector::beside(&table.source, OWNER_TABLE);
    if source.describe(&owners)?.is_none() {
        return Ok(Vec::new());
    }
    let d = source.dialect();
    let sql = format!("SELECT {} FROM {}", d.quote("table_name"), d.table(&owners));
    let rows = source.query(&sql, &[])?;
    Ok(rows.iter().filter_map(|row| row.first()?.as_str().map(str::to_owned)).collect())
}
