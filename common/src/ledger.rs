//! The destination's own record of what landed: fence, ledger, steps.
//!
//! Two or three tables stand in the destination database, beside the tables that are loaded:
//!
//! - `SSYNC_FENCE`, one row per (source table, destination table): an *epoch* that every batch
//!   transaction checks under a shared lock and every new run raises under an exclusive one, and
//!   the *run* that is open.
//! - `SSYNC_SEAT`, only where the database has no shared locks of rows (Oracle): the fence's epoch
//!   again, in a row for each *seat*. A batch transaction locks its own seat and checks the epoch
//!   there, so that batches do not wait for each other; raising the fence locks all seats. See
//!   [`Seat`].
//! - `SSYNC_LEDGER`, one row per landed part of a batch, written in the transaction that lands
//!   the rows. Whoever asks and whatever died, it says what landed.
//!
//! Steps (SQL before and after, emptying, swapping) have ledger rows too, so that a resumed run
//! does not repeat them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod seats;
mod sessions;

use self::seats::raise_seats;
use crate::connector::{Connection, OwnType};
use crate::error::{Error, Kind, Result};
use crate::value::{Key, Value};

pub use self::seats::{SEAT_TABLE, Seat};
pub use self::sessions::{raise_past_ghosts, session_name, settler_name};

/// Name of the fence table.
pub const FENCE_TABLE: &str = "SSYNC_FENCE";
/// Name of the ledger table.
pub const LEDGER_TABLE: &str = "SSYNC_LEDGER";
/// Longest [`Entry::pos`], limited by what old servers can index.
pub const POS_CHARS_MAX: usize = 190;

/// Sixteen bytes that name a (source table, destination table) pair, a run, or a table.
pub type Id = [u8; 16];

/// The stable identity of a pair of tables: the same whichever host, task number or instance
/// asks. `source` identifies the source table (see the source's owner row), `dest` is the
/// destination table's name in its own database.
pub fn pair_id(source: &Id, dest: &str) -> Id {
    let mut hash = Sha256::new();
    hash.update(b"ssync pair\0");
    hash.update(source);
    hash.update(dest.as_bytes());
    truncated(&hash.finalize())
}

/// Sixteen bytes of a text's SHA-256, for identities made of names.
pub fn id_of(text: &str) -> Id {
    truncated(&Sha256::digest(text.as_bytes()))
}

fn truncated(hash: &[u8]) -> Id {
    let mut id = Id::default();
    id.copy_from_slice(&hash[..16]);
    id
}

/// How far `increment` has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The watermark column.
    pub column: String,
    /// The largest value that has been read.
    pub value: Value,
}

/// What the fence row says about the run that was last begun.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRun {
    /// Its id.
    pub run: Id,
    /// Whether it is still open, i.e. its `after` has not succeeded.
    pub open: bool,
    /// Fingerprint of the plan it was begun with.
    pub plan: String,
    /// Upper bound frozen at its start (`increment`).
    pub upto: Option<Value>,
}

/// The fence as it was found and raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Fence {
    /// The pair of tables.
    pub id: Id,
    /// The epoch that batches must carry from now on.
    pub epoch: i64,
    /// The run that was begun last, if any.
    pub run: Option<OpenRun>,
    /// How far `increment` has come.
    pub mark: Option<Mark>,
}

/// A landed part of a batch: rows from `lo` to `hi`, both included.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its run.
    pub run: Id,
    /// Position: sorts as the rows do; see [`Pos`].
    pub pos: String,
    /// Rows landed.
    pub rows: u64,
    /// Key of the first row; empty for a keyless table.
    pub lo: Key,
    /// Key of the last row.
    pub hi: Key,
    /// Whether the source has been told.
    pub settled: bool,
}

/// A step that is done once per run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// SQL before, at the source: the statement's index.
    BeforeSource(usize),
    /// SQL before, at the destination.
    BeforeDest(usize),
    /// The destination has been emptied, or its shadow made.
    Emptied,
    /// The shadow has taken the destination's place.
    Swapped,
    /// SQL after, at the source.
    AfterSource(usize),
    /// SQL after, at the destination.
    AfterDest(usize),
}

impl Step {
    /// Its position in the ledger; sorts before every batch.
    fn pos(self) -> String {
        match self {
            Step::BeforeSource(i) => format!("!before-source/{i:08}"),
            Step::BeforeDest(i) => format!("!before-dest/{i:08}"),
            Step::Emptied => "!emptied".to_owned(),
            Step::Swapped => "!swapped".to_owned(),
            Step::AfterSource(i) => format!("!after-source/{i:08}"),
            Step::AfterDest(i) => format!("!after-dest/{i:08}"),
        }
    }
}

/// Makes positions that sort as the rows do, also when a resumed run fills gaps between batches
/// that had landed already: a batch that fills the gap behind position `P` is called `P.n` (or
/// `P..n`, when a `P.n` landed earlier), and `.` sorts before the digits and the `/` that precedes
/// a part's offset.
#[derive(Debug, Clone)]
pub struct Pos {
    base: String,
    next: u64,
}

impl Pos {
    /// Positions at the top level, from number `first` on.
    pub fn top(first: u64) -> Self {
        Pos { base: String::new(), next: first }
    }

    /// Positions in the gap between the entries at `left` (empty: before the first) and `right`.
    pub fn between(left: &str, right: &str) -> Self {
        // Where the gap was filled in part before, `right` is `left` with dots and a number; one
        // more dot sorts before it.
        let dots = right
            .strip_prefix(left)
            .map_or(0, |rest| rest.bytes().take_while(|b| *b == b'.').count());
        Pos { base: format!("{left}{}", ".".repeat(dots + 1)), next: 0 }
    }

    /// The next position. Fails when a run was resumed inside its own gaps so often that the
    /// position grew too long; such a run has to be begun anew.
    pub fn take(&mut self) -> Result<String> {
        let pos = format!("{}{:08x}", self.base, self.next);
        self.next += 1;
        if pos.len() + 9 > POS_CHARS_MAX {
            return Err(Error::new(Kind::Database, "the run has been resumed too often")
                .hint("Start the table's run anew with --restart."));
        }
        Ok(pos)
    }

    /// So many runs of positions, one after the other, in the place of this one.
    pub fn shared_out(&self, pieces: usize) -> impl Iterator<Item = Pos> + use<> {
        let Pos { base, next } = self.clone();
        (next..).take(pieces).map(move |n| Pos { base: format!("{base}{n:08x}."), next: 0 })
    }

    /// The number that a position has at the top level, `None` for one before all others.
    pub fn top_number(pos: &str) -> Option<u64> {
        u64::from_str_radix(pos.split(['/', '.']).next()?, 16).ok()
    }
}

/// Position of a part that starts at row `from` of the batch at `pos`.
pub fn part_pos(pos: &str, from: usize) -> String {
    format!("{pos}/{from:08x}")
}

/// Makes both tables where they are missing. Fails with [`Kind::Refused`] where they are stored
/// in something that cannot roll back: then they would prove nothing.
pub fn ensure_tables(dest: &mut dyn Connection) -> Result<()> {
    let mut there = true;
    for table in tables_of(dest) {
        there &= is_kept_whole(dest, table)?;
    }
    if !there {
        make_tables(dest)?;
        for table in tables_of(dest) {
            is_kept_whole(dest, table)?;
        }
    }
    Ok(())
}

/// The tables that a destination needs.
fn tables_of(dest: &mut dyn Connection) -> &'static [&'static str] {
    match dest.dialect().shares_row_locks() {
        true => &[FENCE_TABLE, LEDGER_TABLE],
        false => &[FENCE_TABLE, LEDGER_TABLE, SEAT_TABLE],
    }
}

/// Whether one of ssync's own tables is there. Fails with [`Kind::Refused`] where it is stored in
/// something that cannot roll back.
pub fn is_kept_whole(conn: &mut dyn Connection, table: &str) -> Result<bool> {
    let Some(found) = conn.describe(table)? else { return Ok(false) };
    if found.is_view || !found.transactional {
        let engine = if found.is_view { "a view" } else { found.engine.as_str() };
        return Err(Error::new(
            Kind::Refused,
            format!("ssync's own table {table} is stored in {engine}, which cannot roll back"),
        )
        .hint(format!("Convert it while no task runs: ALTER TABLE {table} ENGINE=InnoDB.")));
    }
    Ok(true)
}

fn make_tables(dest: &mut dyn Connection) -> Result<()> {
    let d = dest.dialect();
    let (id, big, text, long) = (
        d.own_type(OwnType::Id),
        d.own_type(OwnType::BigInt),
        d.own_type(OwnType::Text(POS_CHARS_MAX as u32)),
        d.own_type(OwnType::LongText),
    );
    let q = |name: &str| d.quote(name);
    let fence = format!(
        "CREATE TABLE IF NOT EXISTS {} ({} {id} NOT NULL, {} {big} NOT NULL, {} {long}, {} {id}, \
         {} {big} NOT NULL, {} {long}, {} {long}, {} {long}, PRIMARY KEY ({})){}",
        d.table(FENCE_TABLE),
        q("id"),
        q("epoch"),
        q("tables"),
        q("run_id"),
        q("run_open"),
        q("plan"),
        q("upto"),
        q("mark"),
        q("id"),
        d.table_options()
    );
    let ledger = format!(
        "CREATE TABLE IF NOT EXISTS {} ({} {id} NOT NULL, {} {id} NOT NULL, {} {text} NOT NULL, \
         {} {big} NOT NULL, {} {long}, {} {long}, {} {big} NOT NULL, {} {big} NOT NULL, \
         PRIMARY KEY ({}, {}, {})){}",
        d.table(LEDGER_TABLE),
        q("fence_id"),
        q("run_id"),
        q("pos"),
        q("row_count"),
        q("lo"),
        q("hi"),
        q("settled"),
        q("landed_at"),
        q("fence_id"),
        q("run_id"),
        q("pos"),
        d.table_options()
    );
    let seat = format!(
        "CREATE TABLE IF NOT EXISTS {} ({} {id} NOT NULL, {} {big} NOT NULL, {} {big} NOT NULL, \
         PRIMARY KEY ({}, {})){}",
        d.table(SEAT_TABLE),
        q("fence_id"),
        q("seat"),
        q("epoch"),
        q("fence_id"),
        q("seat"),
        d.table_options()
    );
    let seats = !d.shares_row_locks();
    dest.execute(&fence, &[])?;
    dest.execute(&ledger, &[])?;
    if seats {
        dest.execute(&seat, &[])?;
    }
    Ok(())
}

/// Takes the fence exclusively and raises its epoch. Waits until a dead writer's commit that is
/// still under way has ended; every later one with an older epoch fails. `tables` is for people.
///
/// A run that is under way says at which epoch it believes to be; `None` begins one.
///
/// # Errors
/// [`Kind::Fenced`] when the fence stands elsewhere: another run has taken it, and taking it back
/// would let both land.
pub fn raise(
    dest: &mut dyn Connection,
    id: &Id,
    tables: &str,
    believed: Option<i64>,
) -> Result<Fence> {
    let d = dest.dialect();
    let select = d.lock(
        &format!(
            "SELECT {}, {}, {}, {}, {}, {} FROM {} WHERE {} = {}",
            d.quote("epoch"),
            d.quote("run_id"),
            d.quote("run_open"),
            d.quote("plan"),
            d.quote("upto"),
            d.quote("mark"),
            d.table(FENCE_TABLE),
            d.quote("id"),
            d.param(1, None)
        ),
        true,
    );
    in_transaction(dest, |dest| {
        let rows = dest.query(&select, &[id_value(id)])?;
        let d = dest.dialect();
        let Some(row) = rows.first() else {
            if let Some(believed) = believed {
                return Err(over(believed, 0));
            }
            let insert = format!(
                "INSERT INTO {} ({}, {}, {}, {}) VALUES ({}, 1, {}, 0)",
                d.table(FENCE_TABLE),
                d.quote("id"),
                d.quote("epoch"),
                d.quote("tables"),
                d.quote("run_open"),
                d.param(1, None),
                d.param(2, None)
            );
            dest.execute(&insert, &[id_value(id), Value::Text(tables.to_owned())])?;
            raise_seats(dest, id, 1)?;
            return Ok(Fence { id: *id, epoch: 1, run: None, mark: None });
        };
        let found = field(row, 0)?.as_i64().ok_or_else(|| damaged("epoch"))?;
        if let Some(believed) = believed.filter(|believed| *believed != found) {
            return Err(over(believed, found));
        }
        let epoch = found + 1;
        let update = format!(
            "UPDATE {} SET {} = {} WHERE {} = {}",
            d.table(FENCE_TABLE),
            d.quote("epoch"),
            d.param(1, None),
            d.quote("id"),
            d.param(2, None)
        );
        dest.execute(&update, &[Value::Int(epoch), id_value(id)])?;
        raise_seats(dest, id, epoch)?;
        let run = match field(row, 1)? {
            Value::Null => None,
            run => Some(OpenRun {
                run: value_id(run)?,
                open: field(row, 2)?.as_i64() == Some(1),
                plan: field(row, 3)?.as_str().unwrap_or_default().to_owned(),
                upto: json_value(field(row, 4)?)?,
            }),
        };
        Ok(Fence { id: *id, epoch, run, mark: json_mark(field(row, 5)?)? })
    })
}

/// The epoch at which the fence stands, 0 before it was ever raised. Locks nothing.
pub fn epoch(dest: &mut dyn Connection, id: &Id) -> Result<i64> {
    let d = dest.dialect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {} = {}",
        d.quote("epoch"),
        d.table(FENCE_TABLE),
        d.quote("id"),
        d.param(1, None)
    );
    let rows = dest.query(&sql, &[id_value(id)])?;
    match rows.first() {
        None => Ok(0),
        Some(row) => field(row, 0)?.as_i64().ok_or_else(|| damaged("epoch")),
    }
}

/// The run that was begun last, if any. Locks nothing.
pub fn last_run(dest: &mut dyn Connection, id: &Id) -> Result<Option<Id>> {
    let d = dest.dialect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {} = {}",
        d.quote("run_id"),
        d.table(FENCE_TABLE),
        d.quote("id"),
        d.param(1, None)
    );
    let rows = dest.query(&sql, &[id_value(id)])?;
    match rows.first().map(|row| field(row, 0)).transpose()? {
        None | Some(Value::Null) => Ok(None),
        Some(run) => value_id(run).map(Some),
    }
}

/// Opens a run in the fence row. With `forget` every ledger row of the pair goes in the same
/// transaction: the run starts from nothing. A run whose fence was taken changes neither.
pub fn begin_run(
    dest: &mut dyn Connection,
    fence: &Fence,
    run: &OpenRun,
    forget: bool,
) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = {}, {} = 1, {} = {}, {} = {} WHERE {} = {} AND {} = {}",
        d.table(FENCE_TABLE),
        d.quote("run_id"),
        d.param(1, None),
        d.quote("run_open"),
        d.quote("plan"),
        d.param(2, None),
        d.quote("upto"),
        d.param(3, None),
        d.quote("id"),
        d.param(4, None),
        d.quote("epoch"),
        d.param(5, None)
    );
    let upto = json_text(run.upto.as_ref())?;
    let params = [
        id_value(&run.run),
        Value::Text(run.plan.clone()),
        upto,
        id_value(&fence.id),
        Value::Int(fence.epoch),
    ];
    in_transaction(dest, |dest| {
        one_row(dest.execute(&sql, &params)?)?;
        if forget { clear(dest, &fence.id) } else { Ok(()) }
    })
}

/// Closes the run: its `after` has succeeded. Moves the mark of `increment`, and deletes ledger
/// rows of other runs but `keep` (what the source side still remembers).
pub fn finish_run(
    dest: &mut dyn Connection,
    fence: &Fence,
    run: &Id,
    mark: Option<&Mark>,
    keep: Option<&Id>,
) -> Result<()> {
    in_transaction(dest, |dest| {
        let d = dest.dialect();
        let sql = format!(
            "UPDATE {} SET {} = 0, {} = {} WHERE {} = {} AND {} = {} AND {} = {}",
            d.table(FENCE_TABLE),
            d.quote("run_open"),
            d.quote("mark"),
            d.param(1, None),
            d.quote("id"),
            d.param(2, None),
            d.quote("epoch"),
            d.param(3, None),
            d.quote("run_id"),
            d.param(4, None)
        );
        let mark = mark.map_or(Ok(Value::Null), |mark| {
            serde_json::to_string(mark).map(Value::Text).map_err(|_| damaged("mark"))
        })?;
        let params = [mark, id_value(&fence.id), Value::Int(fence.epoch), id_value(run)];
        one_row(dest.execute(&sql, &params)?)?;
        let sql = format!(
            "DELETE FROM {} WHERE {} = {} AND {} <> {} AND {} <> {} AND {} = 1",
            d.table(LEDGER_TABLE),
            d.quote("fence_id"),
            d.param(1, None),
            d.quote("run_id"),
            d.param(2, None),
            d.quote("run_id"),
            d.param(3, None),
            d.quote("settled")
        );
        let params = [id_value(&fence.id), id_value(run), id_value(keep.unwrap_or(run))];
        dest.execute(&sql, &params)?;
        Ok(())
    })
}

/// Checks the epoch under a lock that whoever raises it waits for: the first statement of every
/// batch transaction. The lock is shared with all others that check, or the seat's alone.
pub fn check_epoch(dest: &mut dyn Connection, id: &Id, epoch: i64, seat: Seat) -> Result<()> {
    let d = dest.dialect();
    let sql = match d.shares_row_locks() {
        true => format!(
            "SELECT {} FROM {} WHERE {} = {}",
            d.quote("epoch"),
            d.table(FENCE_TABLE),
            d.quote("id"),
            d.param(1, None)
        ),
        false => format!(
            "SELECT {} FROM {} WHERE {} = {} AND {} = {}",
            d.quote("epoch"),
            d.table(SEAT_TABLE),
            d.quote("fence_id"),
            d.param(1, None),
            d.quote("seat"),
            seat.number()
        ),
    };
    let sql = d.lock(&sql, false);
    let rows = dest.query(&sql, &[id_value(id)])?;
    match rows.first().and_then(|r| r.first()).and_then(Value::as_i64) {
        Some(found) if found == epoch => Ok(()),
        Some(found) => Err(over(epoch, found)),
        None => Err(Error::new(Kind::Fenced, "the fence row is gone")),
    }
}

fn over(epoch: i64, found: i64) -> Error {
    Error::new(Kind::Fenced, format!("epoch {epoch} is over, the fence stands at {found}"))
}

/// Whether the `increment` of another pair of tables of these names has come some way.
pub fn has_namesake(dest: &mut dyn Connection, id: &Id, tables: &str) -> Result<bool> {
    let d = dest.dialect();
    let sql = format!(
        "SELECT {}, {} FROM {} WHERE {} IS NOT NULL",
        d.quote("id"),
        d.quote("tables"),
        d.table(FENCE_TABLE),
        d.quote("mark")
    );
    for row in dest.query(&sql, &[])? {
        if value_id(field(&row, 0)?)? != *id && field(&row, 1)?.as_str() == Some(tables) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds a ledger row; part of the batch's own transaction.
pub fn insert_entry(dest: &mut dyn Connection, id: &Id, entry: &Entry) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "INSERT INTO {} ({}, {}, {}, {}, {}, {}, {}, {}) VALUES ({}, {}, {}, {}, {}, {}, {}, {})",
        d.table(LEDGER_TABLE),
        d.quote("fence_id"),
        d.quote("run_id"),
        d.quote("pos"),
        d.quote("row_count"),
        d.quote("lo"),
        d.quote("hi"),
        d.quote("settled"),
        d.quote("landed_at"),
        d.param(1, None),
        d.param(2, None),
        d.param(3, None),
        d.param(4, None),
        d.param(5, None),
        d.param(6, None),
        d.param(7, None),
        d.now_secs()
    );
    let params = [
        id_value(id),
        id_value(&entry.run),
        Value::Text(entry.pos.clone()),
        Value::Int(entry.rows as i64),
        key_json(&entry.lo)?,
        key_json(&entry.hi)?,
        Value::Int(i64::from(entry.settled)),
    ];
    match dest.execute(&sql, &params) {
        Ok(1) => Ok(()),
        Ok(n) => Err(Error::new(Kind::Internal, format!("ledger row inserted {n} times"))),
        // A duplicate here is never a row's fault: it must not start a bisection.
        Err(e) if e.kind.is_row_fault() => {
            Err(Error { kind: Kind::Internal, ..e.context(format!("ledger entry {}", entry.pos)) })
        }
        Err(e) => Err(e),
    }
}

/// Which ledger rows.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Those whose source has not been told, of whatever run.
    Unsettled,
    /// Those of a run.
    Run(&'a Id),
    /// The parts of one batch of a run, by the batch's position.
    Batch(&'a Id, &'a str),
}

/// Ledger rows of batches (not steps), in position order.
pub fn entries(dest: &mut dyn Connection, id: &Id, which: Which<'_>) -> Result<Vec<Entry>> {
    let d = dest.dialect();
    let mut sql = format!(
        "SELECT {}, {}, {}, {}, {}, {} FROM {} WHERE {} = {}",
        d.quote("run_id"),
        d.quote("pos"),
        d.quote("row_count"),
        d.quote("lo"),
        d.quote("hi"),
        d.quote("settled"),
        d.table(LEDGER_TABLE),
        d.quote("fence_id"),
        d.param(1, None)
    );
    let mut params = vec![id_value(id)];
    match which {
        Which::Unsettled => sql += &format!(" AND {} = 0", d.quote("settled")),
        Which::Run(run) | Which::Batch(run, _) => {
            sql += &format!(" AND {} = {}", d.quote("run_id"), d.param(2, None));
            params.push(id_value(run));
        }
    }
    if let Which::Batch(_, pos) = which {
        // The slash begins a part; the digit behind it in the alphabet ends the range.
        let (first, end) = (format!("{pos}/"), format!("{pos}0"));
        let column = d.quote("pos");
        sql +=
            &format!(" AND {column} >= {} AND {column} < {}", d.param(3, None), d.param(4, None));
        params.extend([Value::Text(first), Value::Text(end)]);
    }
    sql += &format!(" ORDER BY {}, {}", d.quote("run_id"), d.quote("pos"));
    let mut found = Vec::new();
    for row in dest.query(&sql, &params)? {
        let pos = field(&row, 1)?.as_str().ok_or_else(|| damaged("pos"))?.to_owned();
        if pos.starts_with('!') {
            continue;
        }
        found.push(Entry {
            run: value_id(field(&row, 0)?)?,
            pos,
            rows: field(&row, 2)?.as_i64().ok_or_else(|| damaged("row_count"))? as u64,
            lo: json_key(field(&row, 3)?)?,
            hi: json_key(field(&row, 4)?)?,
            settled: field(&row, 5)?.as_i64() == Some(1),
        });
    }
    Ok(found)
}

/// Whether the ledger has this entry.
pub fn has_entry(dest: &mut dyn Connection, id: &Id, run: &Id, pos: &str) -> Result<bool> {
    let d = dest.dialect();
    let sql = format!(
        "SELECT COUNT(*) FROM {} WHERE {} = {} AND {} = {} AND {} = {}",
        d.table(LEDGER_TABLE),
        d.quote("fence_id"),
        d.param(1, None),
        d.quote("run_id"),
        d.param(2, None),
        d.quote("pos"),
        d.param(3, None)
    );
    let rows = dest.query(&sql, &[id_value(id), id_value(run), Value::Text(pos.to_owned())])?;
    Ok(rows.first().and_then(|r| r.first()).and_then(Value::as_i64).unwrap_or(0) > 0)
}

/// Marks entries as settled: the source has been told, and has confirmed.
pub fn mark_settled(dest: &mut dyn Connection, id: &Id, run: &Id, pos: &[String]) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = 1 WHERE {} = {} AND {} = {} AND {} = {}",
        d.table(LEDGER_TABLE),
        d.quote("settled"),
        d.quote("fence_id"),
        d.param(1, None),
        d.quote("run_id"),
        d.param(2, None),
        d.quote("pos"),
        d.param(3, None)
    );
    in_transaction(dest, |dest| {
        for pos in pos {
            dest.execute(&sql, &[id_value(id), id_value(run), Value::Text(pos.clone())])?;
        }
        Ok(())
    })
}

/// Forgets every ledger row of the pair.
fn clear(dest: &mut dyn Connection, id: &Id) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "DELETE FROM {} WHERE {} = {}",
        d.table(LEDGER_TABLE),
        d.quote("fence_id"),
        d.param(1, None)
    );
    dest.execute(&sql, &[id_value(id)]).map(drop)
}

/// Whether a step of this run is done.
pub fn step_done(dest: &mut dyn Connection, id: &Id, run: &Id, step: Step) -> Result<bool> {
    has_entry(dest, id, run, &step.pos())
}

/// Records a step. Called inside the step's own transaction where the step is DML there.
pub fn record_step(dest: &mut dyn Connection, id: &Id, run: &Id, step: Step) -> Result<()> {
    let entry =
        Entry { run: *run, pos: step.pos(), rows: 0, lo: vec![], hi: vec![], settled: true };
    insert_entry(dest, id, &entry)
}

/// Runs `work` in a transaction: committed when it succeeds, rolled back when it fails.
pub fn in_transaction<T>(
    conn: &mut dyn Connection,
    work: impl FnOnce(&mut dyn Connection) -> Result<T>,
) -> Result<T> {
    conn.begin()?;
    match work(conn) {
        Ok(value) => {
            conn.commit()?;
            Ok(value)
        }
        Err(e) => {
            if e.kind != Kind::Lost {
                conn.rollback()?;
            }
            Err(e)
        }
    }
}

/// An id as a statement parameter.
pub fn id_value(id: &Id) -> Value {
    Value::Bytes(id.to_vec())
}

/// An id from a result.
pub fn value_id(value: &Value) -> Result<Id> {
    value.as_bytes().and_then(|b| Id::try_from(b).ok()).ok_or_else(|| damaged("id"))
}

fn one_row(changed: u64) -> Result<()> {
    match changed {
        1 => Ok(()),
        _ => Err(Error::new(Kind::Fenced, "another run has taken the fence meanwhile")),
    }
}

fn field(row: &[Value], i: usize) -> Result<&Value> {
    row.get(i).ok_or_else(|| damaged("row"))
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Database, format!("ssync's own tables at the destination: bad {what}"))
        .hint("SSYNC_FENCE and SSYNC_LEDGER belong to ssync; restore them from a backup.")
}

fn key_json(key: &Key) -> Result<Value> {
    serde_json::to_string(key)
        .map(Value::Text)
        .map_err(|e| Error::new(Kind::Internal, format!("key: {e}")))
}

fn json_key(value: &Value) -> Result<Key> {
    value.as_str().and_then(|t| serde_json::from_str(t).ok()).ok_or_else(|| damaged("key"))
}

fn json_text(value: Option<&Value>) -> Result<Value> {
    match value {
        None => Ok(Value::Null),
        Some(v) => serde_json::to_string(v)
            .map(Value::Text)
            .map_err(|e| Error::new(Kind::Internal, format!("value: {e}"))),
    }
}

fn json_value(value: &Value) -> Result<Option<Value>> {
    match value {
        Value::Null => Ok(None),
        v => v
            .as_str()
            .and_then(|t| serde_json::from_str(t).ok())
            .map(Some)
            .ok_or_else(|| damaged("value")),
    }
}

fn json_mark(value: &Value) -> Result<Option<Mark>> {
    match value {
        Value::Null => Ok(None),
        v => {
            let mark = v.as_str().and_then(|t| serde_json::from_str(t).ok());
            mark.map(Some).ok_or_else(|| damaged("mark"))
        }
    }
}

#[cfg(test)]
mod tests;
