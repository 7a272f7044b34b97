//! The fence: one row for each record of a destination table, with the epoch that batches carry.

use super::place::Pair;
use super::seats::{Seat, raise_seats};
use super::stamp::Succession;
use super::{
    Id, Kept, Mark, OpenRun, Step, Which, clear, damaged, entries, field, id_value, in_transaction,
    json_mark, json_text, json_value, record_step, step_done, value_id,
};
use crate::connector::{Connection, Dialect};
use crate::error::{Error, Kind, Result};
use crate::process::identity::RunId;
use crate::value::Value;

/// The fence as it was found and raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Fence {
    /// The record it belongs to.
    pub pair: Pair,
    /// The record's own random id.
    pub ident: Id,
    /// The epoch that batches must carry from now on.
    pub epoch: i64,
    /// The run that was begun last, if any.
    pub run: Option<OpenRun>,
    /// How far `increment` has come.
    pub mark: Option<Mark<Kept>>,
    /// Rows that finished runs of `increment` have landed; `None`: an older version did not count.
    pub landed: Option<i64>,
    /// Whether a run from another source has found the table empty since.
    pub emptied: bool,
    /// The keys by which its rows are recognised, as text of the run's own; a run that begins writes
    /// down what is here. `None`: nothing is known.
    pub row_keys: Option<String>,
}

/// A fence row as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Key of the row.
    pub id: Id,
    /// Its own random id; `None` before a version that knows of it has taken it.
    pub ident: Option<Id>,
    /// Epoch.
    pub epoch: i64,
    /// The tables' names when the row was made, or when an operator said that they were renamed.
    pub tables: String,
    /// The run that was begun last, if any.
    pub run: Option<OpenRun>,
    /// How far `increment` has come.
    pub mark: Option<Mark<Kept>>,
    /// The run counter; 0 where none was written yet.
    pub counter: i64,
    /// Which run had that number; `None`: an older version did not write it down.
    pub stamp: Option<Succession>,
    /// The server that answered when the record was last taken.
    pub server: Option<String>,
    /// Rows that finished runs of `increment` have landed.
    pub landed: Option<i64>,
    /// Whether a run from another source has found the table empty since.
    pub emptied: bool,
    /// The destination table alone; `None` before a version that knows of it has taken the record.
    pub dest: Option<Id>,
    /// The run that last filled the table anew, as far as this record's runs have seen.
    pub full_run: Option<Id>,
    /// The sub-task that fills the table anew, as text of its own.
    pub filler: Option<String>,
    /// The run whose beginning is in the ledger as well; another one than the last where an older
    /// version has begun that.
    pub begun: Option<Id>,
    /// The keys by which rows are recognised that its runs have landed, as text of their own; `None`
    /// before a version that knows of it has begun a run.
    pub row_keys: Option<String>,
}

const COLUMNS: [&str; 14] = [
    "id", "epoch", "tables", "run_id", "run_open", "plan", "upto", "mark", "ident", "counter",
    "server", "dest", "full_run", "filler",
];
/// Columns that are written by name.
const LANDED: &str = "landed";
const BEGUN: &str = "begun";
const ROW_KEYS: &str = "row_keys";
const STAMP: &str = "stamp";

fn select(d: &dyn Dialect, pair_place: &str) -> String {
    let by_name = [&LANDED, &BEGUN, &ROW_KEYS, &STAMP];
    let columns: Vec<_> = COLUMNS.iter().chain(by_name).map(|c| d.quote(c)).collect();
    format!("SELECT {} FROM {}", columns.join(", "), d.table(pair_place))
}

fn by_id(d: &dyn Dialect) -> String {
    format!(" WHERE {} = {}", d.quote("id"), d.param(1, None))
}

fn read_record(row: &[Value]) -> Result<Record> {
    let opt_id = |i: usize| match field(row, i)? {
        Value::Null => Ok(None),
        id => value_id(id).map(Some),
    };
    let run = opt_id(3)?
        .map(|run| {
            Ok::<_, Error>(OpenRun {
                run,
                open: field(row, 4)?.as_i64() == Some(1),
                plan: field(row, 5)?.as_str().unwrap_or_default().to_owned(),
                upto: json_value(field(row, 6)?)?,
            })
        })
        .transpose()?;
    let landed = field(row, 14)?.as_i64();
    let counter = field(row, 9)?.as_i64().unwrap_or(0);
    Ok(Record {
        id: value_id(field(row, 0)?)?,
        epoch: field(row, 1)?.as_i64().ok_or_else(|| damaged("epoch"))?,
        tables: field(row, 2)?.as_str().unwrap_or_default().to_owned(),
        run,
        mark: json_mark(field(row, 7)?)?,
        ident: opt_id(8)?,
        counter,
        stamp: Succession::of(counter, field(row, 17)?.as_str()),
        server: field(row, 10)?.as_str().map(str::to_owned),
        dest: opt_id(11)?,
        full_run: opt_id(12)?,
        filler: field(row, 13)?.as_str().map(str::to_owned),
        landed: landed.map(|rows| if rows < 0 { !rows } else { rows }),
        emptied: landed.is_some_and(|rows| rows < 0),
        begun: opt_id(15)?,
        row_keys: field(row, 16)?.as_str().map(str::to_owned),
    })
}

/// The record as it stands, if there is one. Locks nothing.
pub fn record(dest: &mut dyn Connection, pair: &Pair) -> Result<Option<Record>> {
    let d = dest.dialect();
    let sql = select(d, pair.place.fence()) + &by_id(d);
    dest.query(&sql, &[id_value(&pair.id)])?.first().map(|row| read_record(row)).transpose()
}

/// All records in a place. Locks nothing.
pub fn records(dest: &mut dyn Connection, place: &super::Place) -> Result<Vec<Record>> {
    let sql = select(dest.dialect(), place.fence());
    dest.query(&sql, &[])?.iter().map(|row| read_record(row)).collect()
}

/// What a run takes the fence for.
pub enum Raise<'a> {
    /// A run begins.
    Begin {
        /// The server that the destination answers from.
        server: &'a str,
        /// The run's number, where source and destination share a counter.
        stamp: Option<Succession>,
        /// What another mode's run learns of the `full` run before it; nothing where it knows.
        filled: Option<Filled>,
        /// The sub-task that fills the table anew, where the run does that.
        filler: Option<&'a str>,
        /// Looks at the record under its lock, before anything is changed (`None`: there is
        /// none). What it returns as an error leaves everything as it was.
        judge: &'a mut dyn FnMut(Option<&Record>) -> Result<()>,
    },
    /// A run that is under way, and believes the fence to stand at this epoch.
    Again(i64),
    /// Nobody's run begins: those that are under way land nothing more.
    Bar,
}

/// A `full` run has filled the destination since the record was last taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// That run.
    pub run: Id,
    /// Whether what the record knows as landed and unsettled, and the run that is open, are over:
    /// those rows are sent again.
    pub forget: bool,
    /// The keys by which its rows are recognised.
    pub row_keys: Option<String>,
}

/// Takes the fence exclusively and raises its epoch. Waits until a dead writer's commit that is
/// still under way has ended; every later one with an older epoch fails. `tables` is for people.
///
/// # Errors
/// [`Kind::Fenced`] when a run under way finds the fence elsewhere: another run has taken it, and
/// taking it back would let both land. Whatever the judge of a run that begins says.
pub fn raise(
    dest: &mut dyn Connection,
    pair: &Pair,
    tables: &str,
    how: &mut Raise<'_>,
) -> Result<Fence> {
    let d = dest.dialect();
    let locking = d.lock(&(select(d, pair.place.fence()) + &by_id(d)), true);
    in_transaction(dest, |dest| {
        let rows = dest.query(&locking, &[id_value(&pair.id)])?;
        let found = rows.first().map(|row| read_record(row)).transpose()?;
        let (server, stamp, filled, filler) = match how {
            Raise::Begin { server, stamp, filled, filler, judge } => {
                judge(found.as_ref())?;
                (Some(*server), stamp.clone(), filled.clone(), *filler)
            }
            Raise::Again(believed) => match &found {
                Some(record) if record.epoch == *believed => (None, None, None, None),
                other => return Err(over(*believed, other.as_ref().map_or(0, |r| r.epoch))),
            },
            Raise::Bar if found.is_none() => {
                return Err(Error::new(Kind::Fenced, "the fence row is gone"));
            }
            Raise::Bar => (None, None, None, None),
        };
        let Some(mut record) = found else {
            let (full_run, row_keys) = filled.map(|f| (f.run, f.row_keys)).unzip();
            let server = server.unwrap_or_default();
            let row_keys = row_keys.flatten();
            let new = New { server, stamp, full_run, filler, row_keys };
            return first(dest, pair, tables, &new);
        };
        if let Some(Filled { forget: true, .. }) = filled {
            clear(dest, pair)?;
            if let Some(run) = &mut record.run {
                run.open = false;
                if record.begun == Some(run.run) {
                    // Its entries are forgotten, not lost.
                    record_step(dest, pair, &run.run, Step::Begun)?;
                }
            }
        }
        // What has filled the table anew has sealed every row anew.
        let (full_run, row_keys) = match filled {
            Some(filled) => (Some(filled.run), filled.row_keys),
            None => (record.full_run, record.row_keys),
        };
        let filler = filler.map(str::to_owned).or(record.filler);
        let open = record.run.as_ref().is_some_and(|run| run.open);
        let epoch = record.epoch + 1;
        let ident = record.ident.map_or_else(|| RunId::random().map(|id| id.0), Ok)?;
        let counter = stamp.as_ref().map_or(record.counter, |stamp| stamp.own.number);
        let stamp = stamp.or(record.stamp);
        let server = server.map(str::to_owned).or(record.server);
        let d = dest.dialect();
        let update = format!(
            "UPDATE {} SET {} WHERE {} = {}",
            d.table(pair.place.fence()),
            (1..)
                .zip(SET)
                .map(|(n, c)| format!("{} = {}", d.quote(c), d.param(n, None)))
                .collect::<Vec<_>>()
                .join(", "),
            d.quote("id"),
            d.param(SET.len() + 1, None)
        );
        let params = [
            Value::Int(epoch),
            id_value(&ident),
            Value::Int(counter),
            server.map_or(Value::Null, Value::Text),
            id_value(&pair.dest),
            full_run.as_ref().map_or(Value::Null, id_value),
            filler.map_or(Value::Null, Value::Text),
            row_keys.clone().map_or(Value::Null, Value::Text),
            stamp_value(stamp.as_ref()),
            Value::Int(i64::from(open)),
            id_value(&pair.id),
        ];
        dest.execute(&update, &params)?;
        raise_seats(dest, pair, epoch)?;
        Ok(Fence {
            pair: pair.clone(),
            ident,
            epoch,
            run: record.run,
            mark: record.mark,
            landed: record.landed,
            emptied: record.emptied,
            row_keys,
        })
    })
}

/// What raising writes, in the order of its parameters.
const SET: [&str; 10] = [
    "epoch", "ident", "counter", "server", "dest", "full_run", "filler", ROW_KEYS, STAMP,
    "run_open",
];

fn stamp_value(stamp: Option<&Succession>) -> Value {
    stamp.map_or(Value::Null, |stamp| Value::Text(stamp.to_string()))
}

/// What the row of a new record holds beside its key.
struct New<'a> {
    server: &'a str,
    stamp: Option<Succession>,
    full_run: Option<Id>,
    filler: Option<&'a str>,
    row_keys: Option<String>,
}

/// The row of a record that is taken for the first time.
fn first(dest: &mut dyn Connection, pair: &Pair, tables: &str, new: &New<'_>) -> Result<Fence> {
    let ident = RunId::random()?.0;
    let d = dest.dialect();
    let insert = format!(
        "INSERT INTO {} ({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}) VALUES ({}, 1, {}, 0, \
         {}, {}, {}, 0, {}, {}, {}, {}, {})",
        d.table(pair.place.fence()),
        d.quote("id"),
        d.quote("epoch"),
        d.quote("tables"),
        d.quote("run_open"),
        d.quote("ident"),
        d.quote("counter"),
        d.quote("server"),
        d.quote(LANDED),
        d.quote("dest"),
        d.quote("full_run"),
        d.quote("filler"),
        d.quote(ROW_KEYS),
        d.quote(STAMP),
        d.param(1, None),
        d.param(2, None),
        d.param(3, None),
        d.param(4, None),
        d.param(5, None),
        d.param(6, None),
        d.param(7, None),
        d.param(8, None),
        d.param(9, None),
        d.param(10, None)
    );
    let row_keys = new.row_keys.clone();
    let params = [
        id_value(&pair.id),
        Value::Text(tables.to_owned()),
        id_value(&ident),
        Value::Int(new.stamp.as_ref().map_or(0, |stamp| stamp.own.number)),
        Value::Text(new.server.to_owned()),
        id_value(&pair.dest),
        new.full_run.as_ref().map_or(Value::Null, id_value),
        new.filler.map_or(Value::Null, |filler| Value::Text(filler.to_owned())),
        row_keys.clone().map_or(Value::Null, Value::Text),
        stamp_value(new.stamp.as_ref()),
    ];
    dest.execute(&insert, &params)?;
    raise_seats(dest, pair, 1)?;
    let (pair, landed) = (pair.clone(), Some(0));
    Ok(Fence { pair, ident, epoch: 1, run: None, mark: None, landed, emptied: false, row_keys })
}

/// The epoch at which the fence stands, 0 before it was ever raised. Locks nothing.
pub fn epoch(dest: &mut dyn Connection, pair: &Pair) -> Result<i64> {
    Ok(record(dest, pair)?.map_or(0, |record| record.epoch))
}

/// Whether the fence still stands where the run has raised it. Locks nothing: it may move at any
/// moment, and then nothing of the run lands any more.
///
/// # Errors
/// [`Kind::Fenced`] when another run has taken it.
pub fn is_held(dest: &mut dyn Connection, fence: &Fence) -> Result<()> {
    match epoch(dest, &fence.pair)? {
        found if found == fence.epoch => Ok(()),
        found => Err(over(fence.epoch, found)),
    }
}

/// Whether the ledger was emptied by hand: the entry that the last run wrote at its beginning is
/// missing. It is then unknown which rows of that run have landed.
pub fn has_lost_entries(dest: &mut dyn Connection, pair: &Pair, record: &Record) -> Result<bool> {
    match &record.run {
        Some(run) if record.begun == Some(run.run) => {
            Ok(!step_done(dest, pair, &run.run, Step::Begun)?)
        }
        _ => Ok(false),
    }
}

/// On an operator's word, what the ledger has is all that has landed: whether it had lost entries.
pub fn begin_again(dest: &mut dyn Connection, pair: &Pair) -> Result<bool> {
    let Some(record) = record(dest, pair)? else { return Ok(false) };
    let lost = has_lost_entries(dest, pair, &record)?;
    if let (true, Some(run)) = (lost, &record.run) {
        record_step(dest, pair, &run.run, Step::Begun)?;
    }
    Ok(lost)
}

/// Opens a run in the fence row, with the keys of its rows, and in the ledger. With `forget` every ledger row of the record goes in the same
/// transaction: the run starts from nothing. A run whose fence was taken changes neither.
pub fn begin_run(
    dest: &mut dyn Connection,
    fence: &Fence,
    run: &OpenRun,
    forget: bool,
) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {}, {} = 1, {} = {}, {} = {}, {} = {}, {} = {} WHERE {} = {} AND {} = {}",
        d.table(fence.pair.place.fence()),
        d.quote("run_id"),
        d.param(1, None),
        d.quote("run_open"),
        d.quote("plan"),
        d.param(2, None),
        d.quote("upto"),
        d.param(3, None),
        d.quote(BEGUN),
        d.param(4, None),
        d.quote(ROW_KEYS),
        d.param(5, None),
        d.quote("id"),
        d.param(6, None),
        d.quote("epoch"),
        d.param(7, None)
    );
    let upto = json_text(run.upto.as_ref())?;
    let params = [
        id_value(&run.run),
        Value::Text(run.plan.clone()),
        upto,
        id_value(&run.run),
        fence.row_keys.clone().map_or(Value::Null, Value::Text),
        id_value(&fence.pair.id),
        Value::Int(fence.epoch),
    ];
    in_transaction(dest, |dest| {
        one_row(dest.execute(&sql, &params)?)?;
        if fence.mark.is_none() {
            no_mark(dest, fence)?;
        }
        if forget {
            clear(dest, &fence.pair)?;
        }
        if forget && fence.mark.is_none() && run.upto.is_some() {
            record_step(dest, &fence.pair, &run.run, Step::FromStart)?;
        }
        match step_done(dest, &fence.pair, &run.run, Step::Begun)? {
            true => Ok(()),
            false => record_step(dest, &fence.pair, &run.run, Step::Begun),
        }
    })
}

/// A run that begins without a mark, since an operator wants everything sent again, has none when it
/// is resumed either.
fn no_mark(dest: &mut dyn Connection, fence: &Fence) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = NULL, {} = {} WHERE {} = {}",
        d.table(fence.pair.place.fence()),
        d.quote("mark"),
        d.quote(LANDED),
        d.param(1, None),
        d.quote("id"),
        d.param(2, None)
    );
    let landed = fence.landed.map_or(Value::Null, Value::Int);
    dest.execute(&sql, &[landed, id_value(&fence.pair.id)]).map(drop)
}

/// What a finished run leaves behind.
#[derive(Debug, Default)]
pub struct Finish<'a> {
    /// How far `increment` has come.
    pub mark: Option<&'a Mark<Kept>>,
    /// Rows that it has landed by now, over all runs.
    pub landed: Option<i64>,
    /// The run whose entries the source side still remembers.
    pub keep: Option<&'a Id>,
}

/// Closes the run: its `after` has succeeded. Moves the mark of `increment`, and deletes ledger
/// rows of other runs but the one that the source side still remembers.
pub fn finish_run(
    dest: &mut dyn Connection,
    fence: &Fence,
    run: &Id,
    finish: &Finish<'_>,
) -> Result<()> {
    in_transaction(dest, |dest| {
        let d = dest.dialect();
        let sql = format!(
            "UPDATE {} SET {} = 0, {} = {}, {} = {} WHERE {} = {} AND {} = {} AND {} = {}",
            d.table(fence.pair.place.fence()),
            d.quote("run_open"),
            d.quote("mark"),
            d.param(1, None),
            d.quote(LANDED),
            d.param(2, None),
            d.quote("id"),
            d.param(3, None),
            d.quote("epoch"),
            d.param(4, None),
            d.quote("run_id"),
            d.param(5, None)
        );
        let mark = mark_text(finish.mark)?;
        let id = id_value(&fence.pair.id);
        let landed = finish.landed.map_or(Value::Null, Value::Int);
        let params = [mark, landed, id.clone(), Value::Int(fence.epoch), id_value(run)];
        one_row(dest.execute(&sql, &params)?)?;
        let sql = format!(
            "DELETE FROM {} WHERE {} = {} AND {} <> {} AND {} <> {} AND {} = 1",
            d.table(fence.pair.place.ledger()),
            d.quote("fence_id"),
            d.param(1, None),
            d.quote("run_id"),
            d.param(2, None),
            d.quote("run_id"),
            d.param(3, None),
            d.quote("settled")
        );
        dest.execute(&sql, &[id, id_value(run), id_value(finish.keep.unwrap_or(run))])?;
        Ok(())
    })
}

/// Writes down, on an operator's word, that a run is over which nothing resumes. Its fence must have
/// been raised since.
pub fn give_up_run(dest: &mut dyn Connection, pair: &Pair, run: &Id) -> Result<()> {
    in_transaction(dest, |dest| {
        let d = dest.dialect();
        let sql = format!(
            "UPDATE {} SET {} = 0 WHERE {} = {} AND {} = {}",
            d.table(pair.place.fence()),
            d.quote("run_open"),
            d.quote("id"),
            d.param(1, None),
            d.quote("run_id"),
            d.param(2, None)
        );
        one_row(dest.execute(&sql, &[id_value(&pair.id), id_value(run)])?)
    })
}

/// Writes down that an operator takes what a `full` run has filled the table with for known: on the
/// record of another mode, which is made where there is none.
pub fn note_full_run(
    dest: &mut dyn Connection,
    pair: &Pair,
    tables: &str,
    filled: Filled,
) -> Result<()> {
    let Filled { run, row_keys, .. } = filled;
    in_transaction(dest, |dest| {
        let d = dest.dialect();
        let sql = format!(
            "UPDATE {} SET {} = {}, {} = {} WHERE {} = {}",
            d.table(pair.place.fence()),
            d.quote("full_run"),
            d.param(1, None),
            d.quote(ROW_KEYS),
            d.param(2, None),
            d.quote("id"),
            d.param(3, None)
        );
        let keys = row_keys.clone().map_or(Value::Null, Value::Text);
        match dest.execute(&sql, &[id_value(&run), keys, id_value(&pair.id)])? {
            0 => {
                let full_run = Some(run);
                let new = New { server: "", stamp: None, full_run, filler: None, row_keys };
                first(dest, pair, tables, &new).map(drop)
            }
            _ => Ok(()),
        }
    })
}

/// Bars what runs of other modes still have under way into the table of this fence; whether there
/// are records of any. Their batches wait for nobody: each is one of which the ledger knows, or none.
///
/// # Errors
/// As [`super::raise_past_ghosts`].
pub fn bar_others(dest: &mut dyn Connection, fence: &Fence) -> Result<bool> {
    let mut others = records(dest, &fence.pair.place)?;
    others.retain(|other| other.dest == Some(fence.pair.dest) && other.id != fence.pair.id);
    for other in &others {
        let pair = fence.pair.beside(other.id);
        match super::raise_past_ghosts(dest, &pair, &other.tables, &mut Raise::Bar) {
            // An operator has had it removed meanwhile.
            Err(e) if e.kind == Kind::Fenced => {}
            raised => drop(raised?),
        }
    }
    Ok(!others.is_empty())
}

/// When the last entry of a record was made, in seconds of the destination's clock.
pub fn last_landed(dest: &mut dyn Connection, pair: &Pair) -> Result<Option<i64>> {
    let d = dest.dialect();
    let sql = format!(
        "SELECT MAX({}) FROM {} WHERE {} = {}",
        d.quote("landed_at"),
        d.table(pair.place.ledger()),
        d.quote("fence_id"),
        d.param(1, None)
    );
    let rows = dest.query(&sql, &[id_value(&pair.id)])?;
    Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_i64))
}

/// Keeps the bounds of an `increment` anew: the mark, and how far the open run reads.
pub fn keep_bounds(
    dest: &mut dyn Connection,
    fence: &Fence,
    mark: Option<&Mark<Kept>>,
    upto: Option<&Kept>,
) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {}, {} = {} WHERE {} = {} AND {} = {}",
        d.table(fence.pair.place.fence()),
        d.quote("mark"),
        d.param(1, None),
        d.quote("upto"),
        d.param(2, None),
        d.quote("id"),
        d.param(3, None),
        d.quote("epoch"),
        d.param(4, None)
    );
    let params =
        [mark_text(mark)?, json_text(upto)?, id_value(&fence.pair.id), Value::Int(fence.epoch)];
    in_transaction(dest, |dest| match dest.execute(&sql, &params)? {
        1 => Ok(()),
        // Some servers count no row that stays as it is.
        _ => is_held(dest, fence),
    })
}

fn mark_text(mark: Option<&Mark<Kept>>) -> Result<Value> {
    mark.map_or(Ok(Value::Null), |mark| {
        serde_json::to_string(mark).map(Value::Text).map_err(|_| damaged("mark"))
    })
}

/// Writes down by what the run that was begun last is known again, after its tables were renamed.
pub fn note_plan(dest: &mut dyn Connection, pair: &Pair, plan: &str) -> Result<()> {
    note(dest, pair, "plan", Value::Text(plan.to_owned()))
}

/// Writes down what a record's tables are called now, after they were renamed.
pub fn note_tables(dest: &mut dyn Connection, pair: &Pair, tables: &str) -> Result<()> {
    note(dest, pair, "tables", Value::Text(tables.to_owned()))
}

/// A run has found the table empty: those from other sources, which have landed rows in it, cannot see
/// that once this one has filled it. Written down as the complement of what they had landed, a number
/// below 0.
pub fn note_emptied(dest: &mut dyn Connection, pair: &Pair) -> Result<()> {
    for record in records(dest, &pair.place)? {
        let is_other = record.id != pair.id && record.dest == Some(pair.dest);
        if !is_other || record.emptied || record.counter > 0 || record.filler.is_some() {
            continue;
        }
        let other = pair.beside(record.id);
        let landed = record.landed.unwrap_or(0);
        let under_way = match record.run.filter(|run| run.open) {
            Some(run) => !entries(dest, &other, Which::Run(&run.run))?.is_empty(),
            None => false,
        };
        if landed > 0 || under_way {
            note(dest, &other, LANDED, Value::Int(!landed))?;
        }
    }
    Ok(())
}

/// Gives a record a number that no run has had.
pub fn note_counter(dest: &mut dyn Connection, pair: &Pair, stamp: Succession) -> Result<()> {
    // Alone it is no record's.
    note(dest, pair, STAMP, stamp_value(Some(&stamp)))?;
    note(dest, pair, "counter", Value::Int(stamp.own.number))
}

fn note(dest: &mut dyn Connection, pair: &Pair, column: &str, value: Value) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {} WHERE {} = {}",
        d.table(pair.place.fence()),
        d.quote(column),
        d.param(1, None),
        d.quote("id"),
        d.param(2, None)
    );
    dest.execute(&sql, &[value, id_value(&pair.id)]).map(drop)
}

/// Forgets which server the record stood on.
pub fn forget_server(dest: &mut dyn Connection, pair: &Pair) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = NULL WHERE {} = {}",
        d.table(pair.place.fence()),
        d.quote("server"),
        d.quote("id"),
        d.param(1, None)
    );
    dest.execute(&sql, &[id_value(&pair.id)]).map(drop)
}

/// Checks the epoch under a lock that every raise waits for: the first statement of every
/// batch transaction. The lock is shared with all others that check, or the seat's alone.
pub fn check_epoch(dest: &mut dyn Connection, pair: &Pair, epoch: i64, seat: Seat) -> Result<()> {
    let d = dest.dialect();
    let sql = match d.shares_row_locks() {
        true => format!(
            "SELECT {} FROM {} WHERE {} = {}",
            d.quote("epoch"),
            d.table(pair.place.fence()),
            d.quote("id"),
            d.param(1, None)
        ),
        false => format!(
            "SELECT {} FROM {} WHERE {} = {} AND {} = {}",
            d.quote("epoch"),
            d.table(pair.place.seat()),
            d.quote("fence_id"),
            d.param(1, None),
            d.quote("seat"),
            seat.number()
        ),
    };
    let sql = d.lock(&sql, false);
    let rows = dest.query(&sql, &[id_value(&pair.id)])?;
    match rows.first().and_then(|r| r.first()).and_then(Value::as_i64) {
        Some(found) if found == epoch => Ok(()),
        Some(found) => Err(over(epoch, found)),
        None => Err(Error::new(Kind::Fenced, "the fence row is gone")),
    }
}

fn over(epoch: i64, found: i64) -> Error {
    Error::new(Kind::Fenced, format!("epoch {epoch} is over, the fence stands at {found}"))
}

fn one_row(changed: u64) -> Result<()> {
    match changed {
        1 => Ok(()),
        _ => Err(Error::new(Kind::Fenced, "another run has taken the fence meanwhile")),
    }
}
