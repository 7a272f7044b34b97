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

mod fence;
mod place;
mod relocation;
mod renumber;
mod sealing;
mod seats;
mod sessions;
mod stamp;

use crate::connector::Connection;
use crate::error::{Error, Kind, Result};
use crate::value::{Key, Value};

pub use self::fence::{
    Fence, Filled, Finish, Raise, Record, bar_others, begin_again, begin_run, check_epoch, epoch,
    finish_run, forget_server, give_up_run, has_lost_entries, is_held, keep_bounds, last_landed,
    note_counter, note_emptied, note_full_run, note_plan, note_tables, raise, record, records,
};
pub use self::place::{
    Pair, Place, complete, definitions, ensure_tables, is_of_now, kept_whole, make_tables,
};
pub use self::relocation::{delete, relocate, stands_apart};
pub use self::renumber::{renumber, renumbered};
pub use self::sealing::{Kept, KeptKey, Seals};
pub use self::seats::{SEAT_TABLE, Seat};
pub use self::sessions::{raise_past_ghosts, session_name, settler_name};
pub use self::stamp::{Stamp, Succession};

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

/// How far `increment` has come. `V` is how the value is at hand: open, or as it is [`Kept`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark<V = Value> {
    /// The watermark column.
    pub column: String,
    /// The largest value that has been read.
    pub value: V,
    /// Which rows were chosen up to it: a hash of `where`; `None`: an older version did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
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
    pub upto: Option<Kept>,
}

/// A landed part of a batch: rows from `lo` to `hi`, both included. `K` is how the keys are at
/// hand: open, or as they are kept ([`KeptKey`]). [`Seals`] makes one of the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<K = Key> {
    /// Its run.
    pub run: Id,
    /// Position: sorts as the rows do; see [`Pos`].
    pub pos: String,
    /// Rows landed.
    pub rows: u64,
    /// Key of the first row; empty for a keyless table.
    pub lo: K,
    /// Key of the last row.
    pub hi: K,
    /// Whether the source has been told.
    pub settled: bool,
}

/// A step that is done once per run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The run has begun. Written in the transaction that opens the run in the fence: a ledger without
    /// it was emptied afterwards.
    Begun,
    /// SQL before, at the source: the statement's index.
    BeforeSource(usize),
    /// SQL before, at the destination.
    BeforeDest(usize),
    /// An `increment` was begun without a mark: from its first row.
    FromStart,
    /// The destination has been emptied, or its shadow made.
    Emptied,
    /// A `full` run was resumed with rows landed.
    Resumed,
    /// All rows of a `full` run have landed, and were counted where that is wanted.
    Complete,
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
            Step::Begun => "!begun".to_owned(),
            Step::BeforeSource(i) => format!("!before-source/{i:08}"),
            Step::BeforeDest(i) => format!("!before-dest/{i:08}"),
            Step::FromStart => "!from-start".to_owned(),
            Step::Emptied => "!emptied".to_owned(),
            Step::Resumed => "!resumed".to_owned(),
            Step::Complete => "!complete".to_owned(),
            Step::Swapped => "!swapped".to_owned(),
            Step::AfterSource(i) => format!("!after-source/{i:08}"),
            Step::AfterDest(i) => format!("!after-dest/{i:08}"),
        }
    }
}

/// Makes positions that sort as the rows do, also when a resumed run fills gaps between batches
/// that had landed already: a batch that fills the gap behind position `P` is called `P.n` (or
/// `P..n`, when a `P.n` landed earlier), and `.` sorts before the digits and the `/` that precedes
/// a part's offset. Positions that grow by that are made short again when a run is resumed: see
/// [`renumbered`].
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

    /// The next position. Fails only where [`renumbered`] was not heeded.
    pub fn take(&mut self) -> Result<String> {
        let pos = format!("{}{:08x}", self.base, self.next);
        self.next += 1;
        if pos.len() + 9 > POS_CHARS_MAX {
            return Err(Error::new(Kind::Internal, "a position in the ledger grew too long"));
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

/// Adds a ledger row; part of the batch's own transaction.
pub fn insert_entry(dest: &mut dyn Connection, pair: &Pair, entry: &Entry<KeptKey>) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "INSERT INTO {} ({}, {}, {}, {}, {}, {}, {}, {}) VALUES ({}, {}, {}, {}, {}, {}, {}, {})",
        d.table(pair.place.ledger()),
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
        id_value(&pair.id),
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
pub fn entries(
    dest: &mut dyn Connection,
    pair: &Pair,
    which: Which<'_>,
) -> Result<Vec<Entry<KeptKey>>> {
    let d = dest.dialect();
    let mut sql = format!(
        "SELECT {}, {}, {}, {}, {}, {} FROM {} WHERE {} = {}",
        d.quote("run_id"),
        d.quote("pos"),
        d.quote("row_count"),
        d.quote("lo"),
        d.quote("hi"),
        d.quote("settled"),
        d.table(pair.place.ledger()),
        d.quote("fence_id"),
        d.param(1, None)
    );
    let mut params = vec![id_value(&pair.id)];
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
pub fn has_entry(dest: &mut dyn Connection, pair: &Pair, run: &Id, pos: &str) -> Result<bool> {
    let d = dest.dialect();
    let sql = format!(
        "SELECT COUNT(*) FROM {} WHERE {} = {} AND {} = {} AND {} = {}",
        d.table(pair.place.ledger()),
        d.quote("fence_id"),
        d.param(1, None),
        d.quote("run_id"),
        d.param(2, None),
        d.quote("pos"),
        d.param(3, None)
    );
    let rows =
        dest.query(&sql, &[id_value(&pair.id), id_value(run), Value::Text(pos.to_owned())])?;
    Ok(rows.first().and_then(|r| r.first()).and_then(Value::as_i64).unwrap_or(0) > 0)
}

/// Marks entries as settled: the source has been told, and has confirmed.
pub fn mark_settled(
    dest: &mut dyn Connection,
    pair: &Pair,
    run: &Id,
    pos: &[String],
) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "UPDATE {} SET {} = 1 WHERE {} = {} AND {} = {} AND {} = {}",
        d.table(pair.place.ledger()),
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
            dest.execute(&sql, &[id_value(&pair.id), id_value(run), Value::Text(pos.clone())])?;
        }
        Ok(())
    })
}

/// Forgets every ledger row of the record.
fn clear(dest: &mut dyn Connection, pair: &Pair) -> Result<()> {
    let d = dest.dialect();
    let sql = format!(
        "DELETE FROM {} WHERE {} = {}",
        d.table(pair.place.ledger()),
        d.quote("fence_id"),
        d.param(1, None)
    );
    dest.execute(&sql, &[id_value(&pair.id)]).map(drop)
}

/// Whether a step of this run is done.
pub fn step_done(dest: &mut dyn Connection, pair: &Pair, run: &Id, step: Step) -> Result<bool> {
    has_entry(dest, pair, run, &step.pos())
}

/// Records a step. Called inside the step's own transaction where the step is DML there.
pub fn record_step(dest: &mut dyn Connection, pair: &Pair, run: &Id, step: Step) -> Result<()> {
    let entry =
        Entry { run: *run, pos: step.pos(), rows: 0, lo: vec![], hi: vec![], settled: true };
    insert_entry(dest, pair, &entry)
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

fn field(row: &[Value], i: usize) -> Result<&Value> {
    row.get(i).ok_or_else(|| damaged("row"))
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Database, format!("ssync's own tables at the destination: bad {what}"))
        .hint("SSYNC_FENCE and SSYNC_LEDGER belong to ssync; restore them from a backup.")
}

fn key_json(key: &KeptKey) -> Result<Value> {
    serde_json::to_string(key)
        .map(Value::Text)
        .map_err(|e| Error::new(Kind::Internal, format!("key: {e}")))
}

fn json_key(value: &Value) -> Result<KeptKey> {
    value.as_str().and_then(|t| serde_json::from_str(t).ok()).ok_or_else(|| damaged("key"))
}

fn json_text(value: Option<&Kept>) -> Result<Value> {
    match value {
        None => Ok(Value::Null),
        Some(v) => serde_json::to_string(v)
            .map(Value::Text)
            .map_err(|e| Error::new(Kind::Internal, format!("value: {e}"))),
    }
}

fn json_value(value: &Value) -> Result<Option<Kept>> {
    match value {
        Value::Null => Ok(None),
        v => v
            .as_str()
            .and_then(|t| serde_json::from_str(t).ok())
            .map(Some)
            .ok_or_else(|| damaged("value")),
    }
}

fn json_mark(value: &Value) -> Result<Option<Mark<Kept>>> {
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
