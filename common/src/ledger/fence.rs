//! The fence: one row for each record of a destination table, with the epoch that batches carry.

use super::place::Pair;
use super::seats::{Seat, raise_seats};
use super::{
    Id, Kept, Mark, OpenRun, Step, clear, damaged, field, id_value, in_transaction, json_mark,
    json_text, json_value, record_step, step_done, value_id,
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
    /// The tables' names when the row was made, for people.
    pub tables: String,
    /// The run that was begun last, if any.
    pub run: Option<OpenRun>,
    /// How far `increment` has come.
    pub mark: Option<Mark<Kept>>,
    /// The run counter; 0 where none was written yet.
    pub counter: i64,
    /// The server that answered when the record was last taken.
    pub server: Option<String>,
    /// Rows that finished runs of `increment` have landed.
    pub landed: Option<i64>,
    /// The run whose beginning is in the ledger as well; another one than the last where an older
    /// version has begun that.
    pub begun: Option<Id>,
}

const COLUMNS: [&str; 11] = [
    "id", "epoch", "tables", "run_id", "run_open", "plan", "upto", "mark", "ident", "counter",
    "server",
];
/// Columns that are written by name.
const LANDED: &str = "landed";
const BEGUN: &str = "begun";

fn select(d: &dyn Dialect, pair_place: &str) -> String {
    let columns: Vec<_> = COLUMNS.iter().chain([&LANDED, &BEGUN]).map(|c| d.quote(c)).collect();
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
    Ok(Record {
        id: value_id(field(row, 0)?)?,
        epoch: field(row, 1)?.as_i64().ok_or_else(|| damaged("epoch"))?,
        tables: field(row, 2)?.as_str().unwrap_or_default().to_owned(),
        run,
        mark: json_mark(field(row, 7)?)?,
        ident: opt_id(8)?,
        counter: field(row, 9)?.as_i64().unwrap_or(0),
        server: field(row, 10)?.as_str().map(str::to_owned),
        landed: field(row, 11)?.as_i64(),
        begun: opt_id(12)?,
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
        /// The run counter, where source and destination share one.
        counter: Option<i64>,
        /// Looks at the record under its lock, before anything is changed (`None`: there is
        /// none). What it returns as an error leaves everything as it was.
        judge: &'a mut dyn FnMut(Option<&Record>) -> Result<()>,
    },
    /// A run that is under way, and believes the fence to stand at this epoch.
    Again(i64),
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
        let (server, counter) = match how {
            Raise::Begin { server, counter, judge } => {
                judge(found.as_ref())?;
                (Some(*server), *counter)
            }
            Raise::Again(believed) => match &found {
                Some(record) if record.epoch == *believed => (None, None),
                other => return Err(over(*believed, other.as_ref().map_or(0, |r| r.epoch))),
            },
        };
        let Some(record) = found else {
            return first(dest, pair, tables, server.unwrap_or_default(), counter);
        };
        let epoch = record.epoch + 1;
        let ident = record.ident.map_or_else(|| RunId::random().map(|id| id.0), Ok)?;
        let counter = counter.unwrap_or(record.counter);
        let server = server.map(str::to_owned).or(record.server);
        let d = dest.dialect();
        let update = format!(
            "UPDATE {} SET {} = {}, {} = {}, {} = {}, {} = {} WHERE {} = {}",
            d.table(pair.place.fence()),
            d.quote("epoch"),
            d.param(1, None),
            d.quote("ident"),
            d.param(2, None),
            d.quote("counter"),
            d.param(3, None),
            d.quote("server"),
            d.param(4, None),
            d.quote("id"),
            d.param(5, None)
        );
        let params = [
            Value::Int(epoch),
            id_value(&ident),
            Value::Int(counter),
            server.map_or(Value::Null, Value::Text),
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
        })
    })
}

/// The row of a record that is taken for the first time.
fn first(
    dest: &mut dyn Connection,
    pair: &Pair,
    tables: &str,
    server: &str,
    counter: Option<i64>,
) -> Result<Fence> {
    let ident = RunId::random()?.0;
    let d = dest.dialect();
    let insert = format!(
        "INSERT INTO {} ({}, {}, {}, {}, {}, {}, {}, {}) VALUES ({}, 1, {}, 0, {}, {}, {}, 0)",
        d.table(pair.place.fence()),
        d.quote("id"),
        d.quote("epoch"),
        d.quote("tables"),
        d.quote("run_open"),
        d.quote("ident"),
        d.quote("counter"),
        d.quote("server"),
        d.quote(LANDED),
        d.param(1, None),
        d.param(2, None),
        d.param(3, None),
        d.param(4, None),
        d.param(5, None)
    );
    let params = [
        id_value(&pair.id),
        Value::Text(tables.to_owned()),
        id_value(&ident),
        Value::Int(counter.unwrap_or(0)),
        Value::Text(server.to_owned()),
    ];
    dest.execute(&insert, &params)?;
    raise_seats(dest, pair, 1)?;
    Ok(Fence { pair: pair.clone(), ident, epoch: 1, run: None, mark: None, landed: Some(0) })
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

/// Whether the ledger lacks the beginning of the run that was begun last: somebody has emptied it.
/// What has landed of that run is not known then.
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

/// Opens a run in the fence row, and in the ledger. With `forget` every ledger row of the record goes in the same
/// transaction: the run starts from nothing. A run whose fence was taken changes neither.
pub fn begin_run(
    dest: &mut dyn Connection,
    fence: &Fence,
    run: &OpenRun,
    forget: bool,
) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {}, {} = 1, {} = {}, {} = {}, {} = {} WHERE {} = {} AND {} = {}",
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
        d.quote("id"),
        d.param(5, None),
        d.quote("epoch"),
        d.param(6, None)
    );
    let upto = json_text(run.upto.as_ref())?;
    let params = [
        id_value(&run.run),
        Value::Text(run.plan.clone()),
        upto,
        id_value(&run.run),
        id_value(&fence.pair.id),
        Value::Int(fence.epoch),
    ];
    in_transaction(dest, |dest| {
        one_row(dest.execute(&sql, &params)?)?;
        if forget {
            clear(dest, &fence.pair)?;
        }
        match step_done(dest, &fence.pair, &run.run, Step::Begun)? {
            true => Ok(()),
            false => record_step(dest, &fence.pair, &run.run, Step::Begun),
        }
    })
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
    in_transaction(dest, |dest| one_row(dest.execute(&sql, &params)?))
}

fn mark_text(mark: Option<&Mark<Kept>>) -> Result<Value> {
    mark.map_or(Ok(Value::Null), |mark| {
        serde_json::to_string(mark).map(Value::Text).map_err(|_| damaged("mark"))
    })
}

/// Writes down by what the run that was begun last is known again, after its tables were renamed.
pub fn note_plan(dest: &mut dyn Connection, pair: &Pair, plan: &str) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {} WHERE {} = {}",
        d.table(pair.place.fence()),
        d.quote("plan"),
        d.param(1, None),
        d.quote("id"),
        d.param(2, None)
    );
    dest.execute(&sql, &[Value::Text(plan.to_owned()), id_value(&pair.id)]).map(drop)
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
