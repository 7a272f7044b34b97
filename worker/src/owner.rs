//! One owner per source table: a row in the source database itself, so that two tasks, two
//! instances or two hosts never claim from the same table (they would recover each other's rows).
//!
//! The row also gives the table its stable identity, and remembers which steps a run has done at
//! the source. Every claim and settlement checks, in its own transaction and under a shared lock,
//! that the row is still ours.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use ssync_common::connector::{Connection, LockWait, OwnType, beside, open};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::ledger::{self, Id, Record, Stamp, id_value, in_transaction, value_id};
use ssync_common::process::identity::{ProcessIdentity, RunId};
use ssync_common::value::{Value, hex_bytes};

use crate::params::TaskParams;

/// Name of the table that holds one row per owned source table.
pub const OWNER_TABLE: &str = "SSYNC_OWNER";
/// Longest full name of a table: two names of 64 characters, and a dot.
const NAME_CHARS_MAX: u32 = 129;
/// How long an owner on another host is believed alive after its last sign, by the database's
/// clock.
pub const LEASE_SECS: i64 = 60;

/// How long another transaction may hold the owner row before a claim or settlement gives up.
const GUARD_WAIT_MAX: Duration = Duration::from_secs(60);
/// Pause before the owner row is looked at again.
const GUARD_PAUSE: Duration = Duration::from_millis(10);

/// An owned source table.
#[derive(Debug, Clone)]
pub struct Ownership {
    /// The source table: its name in full.
    pub table: String,
    /// The owner table, beside it.
    owners: String,
    /// The table's stable identity.
    pub ident: Id,
    /// Ours for as long as the row shows this.
    pub token: Id,
    /// Who owned it before and died, for a message.
    pub taken_over_from: Option<String>,
    /// What the row said when it was taken.
    pub known: Known,
}

/// What a source table's owner row remembers of earlier runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The server that the table stood on.
    pub server: Option<String>,
    /// Number of the last run that was to begin: written before the destination's fence gets it.
    pub intended: i64,
    /// Number of the last run whose fence was raised: written after that.
    pub confirmed: i64,
    /// Which run had that number; `None`: an older version did not write it down.
    pub stamp: Option<Stamp>,
    /// The record at the destination: its own random id.
    pub record: Option<Id>,
    /// Where the rows went; `None`: no run has claimed any.
    pub pair: Option<PairText>,
}

/// How the owner row names a destination: its name in the catalog, and the key of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairText {
    /// `schema.table`, as the catalog spells it.
    pub table: String,
    /// Key of the record, 32 hexadecimal digits.
    pub id: String,
}

impl PairText {
    /// For a record.
    pub fn new(table: &str, id: &Id) -> PairText {
        PairText { table: table.to_owned(), id: hex_bytes::encode(id) }
    }

    /// Reads what this version or 0.1.0 wrote, which named the link as well: `table (link, id)`.
    fn read(text: &str) -> Option<PairText> {
        let (table, rest) = text.rsplit_once(" (")?;
        let id = rest.strip_suffix(')')?.rsplit([' ', ',']).next()?;
        Some(PairText { table: table.to_owned(), id: id.to_owned() })
    }

    /// As it is stored.
    pub fn value(&self) -> Value {
        Value::Text(format!("{} (record {})", self.table, self.id))
    }
}

fn columns(conn: &dyn Connection) -> [String; 7] {
    ["table_name", "ident", "token", "owner", "lease_until", "run_id", "steps"]
        .map(|c| conn.dialect().quote(c))
}

/// Columns that version 0.1.0 did not have; all may be NULL.
const LATER: [(&str, OwnType); 5] = [
    ("server", OwnType::LongText),
    ("intended", OwnType::BigInt),
    ("confirmed", OwnType::BigInt),
    ("record", OwnType::Id),
    ("stamp", OwnType::LongText),
];

/// What sending lost rows again has come to, over all homes. Added where it is needed.
const RESTORED: (&str, OwnType) = ("restored", OwnType::LongText);

/// Makes the owner table where it is missing.
fn ensure_table(conn: &mut dyn Connection, owners: &str) -> Result<()> {
    if let Some(found) = ledger::kept_whole(conn, owners)? {
        return ledger::complete(conn, owners, &found, &LATER);
    }
    let d = conn.dialect();
    let [table, ident, token, owner, lease, run, steps] = columns(conn);
    let (id, big, text, long) = (
        d.own_type(OwnType::Id),
        d.own_type(OwnType::BigInt),
        d.own_type(OwnType::Text(NAME_CHARS_MAX)),
        d.own_type(OwnType::LongText),
    );
    let pair = d.quote("pair");
    let later: String = LATER
        .iter()
        .chain([&RESTORED])
        .map(|(name, kind)| format!("{} {}, ", d.quote(name), d.own_type(*kind)))
        .collect();
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} ({table} {text} NOT NULL, {ident} {id} NOT NULL, {token} \
         {id}, {owner} {long}, {lease} {big} NOT NULL, {run} {id}, {steps} {big} NOT NULL, \
         {pair} {long}, {later}PRIMARY KEY ({table})){}",
        d.table(owners),
        d.table_options()
    );
    conn.execute(&sql, &[])?;
    ledger::kept_whole(conn, owners).map(drop)
}

/// The stable identity of a table, where it has one. Changes nothing, and locks nothing.
pub fn ident(conn: &mut dyn Connection, configured: &str, table: &str) -> Result<Option<Id>> {
    let owners = beside(configured, OWNER_TABLE);
    if conn.describe(&owners)?.is_none() {
        return Ok(None);
    }
    let [name, ident, ..] = columns(conn);
    let d = conn.dialect();
    let sql =
        format!("SELECT {ident} FROM {} WHERE {name} = {}", d.table(&owners), d.param(1, None));
    let rows = conn.query(&sql, &[Value::Text(table.to_owned())])?;
    rows.first().map(|row| value_id(&row[0])).transpose()
}

/// Takes the table for this process. A dead owner's row is taken over; a live one refuses.
/// `configured` says where the table is, `table` is its name in full, `server` what it stands on.
pub fn take(
    conn: &mut dyn Connection,
    configured: &str,
    table: &str,
    server: &str,
) -> Result<Ownership> {
    let owners = beside(configured, OWNER_TABLE);
    ensure_table(conn, &owners)?;
    conn.set_lock_wait(LockWait::Patient)?;
    let me = ProcessIdentity::own()?;
    let token = RunId::random()?.0;
    let described = serde_json::to_string(&me)
        .map_err(|e| Error::new(Kind::Internal, format!("owner: {e}")))?;
    let d = conn.dialect();
    let [name, ident, tok, owner, lease, _, steps] = columns(conn);
    let look = format!(
        "SELECT {ident}, {tok}, {owner}, {lease}, {}, {}, {}, {}, {}, {}, {} FROM {} WHERE {name} = {}",
        d.now_secs(),
        d.quote("server"),
        d.quote("intended"),
        d.quote("confirmed"),
        d.quote("record"),
        d.quote("pair"),
        d.quote("stamp"),
        d.table(&owners),
        d.param(1, None)
    );
    let select = d.lock(&look, true);
    // Without a lock at first: an owner that is alive may hold the row in a transaction that
    // does not end (stopped, or waiting itself), and is not worth waiting for.
    if let Some(row) = conn.query(&look, &[Value::Text(table.to_owned())])?.first() {
        dead_owner(row, &me, table, &owners)?;
        if let Ok(before) = value_id(&row[1]) {
            end_ghosts(conn, &select, table, &before)?;
        }
    }
    in_transaction(conn, |conn| {
        let d = conn.dialect();
        let rows = conn.query(&select, &[Value::Text(table.to_owned())])?;
        let Some(row) = rows.first() else {
            let new = RunId::random()?.0;
            let sql = format!(
                "INSERT INTO {} ({name}, {ident}, {tok}, {owner}, {lease}, {steps}, {}) VALUES \
                 ({}, {}, {}, {}, {} + {LEASE_SECS}, 0, {})",
                d.table(&owners),
                d.quote("server"),
                d.param(1, None),
                d.param(2, None),
                d.param(3, None),
                d.param(4, None),
                d.now_secs(),
                d.param(5, None)
            );
            let params = [
                Value::Text(table.to_owned()),
                id_value(&new),
                id_value(&token),
                Value::Text(described.clone()),
                Value::Text(server.to_owned()),
            ];
            conn.execute(&sql, &params)?;
            return Ok(Ownership {
                table: table.to_owned(),
                owners: owners.clone(),
                ident: new,
                token,
                taken_over_from: None,
                known: Known::default(),
            });
        };
        let ident_known = value_id(&row[0])?;
        let confirmed = row[7].as_i64().unwrap_or(0);
        let known = Known {
            server: row[5].as_str().map(str::to_owned),
            intended: row[6].as_i64().unwrap_or(0),
            confirmed,
            stamp: Stamp::of(confirmed, row[10].as_str()),
            record: (row[8] != Value::Null).then(|| value_id(&row[8])).transpose()?,
            pair: row[9].as_str().and_then(PairText::read),
        };
        let taken_over_from = dead_owner(row, &me, table, &owners)?;
        let sql = format!(
            "UPDATE {} SET {tok} = {}, {owner} = {}, {lease} = {} + {LEASE_SECS} WHERE {name} = {}",
            d.table(&owners),
            d.param(1, None),
            d.param(2, None),
            d.now_secs(),
            d.param(3, None)
        );
        let params =
            [id_value(&token), Value::Text(described.clone()), Value::Text(table.to_owned())];
        conn.execute(&sql, &params)?;
        Ok(Ownership {
            table: table.to_owned(),
            owners: owners.clone(),
            ident: ident_known,
            token,
            taken_over_from,
            known,
        })
    })
}

/// Ends the sessions of the owner before, where they still hold the owner row: its host or network
/// was lost in the middle of a claim or settlement, which the server does not know. They hold rows of
/// the application's, too.
fn end_ghosts(conn: &mut dyn Connection, select: &str, table: &str, before: &Id) -> Result<()> {
    conn.set_lock_wait(LockWait::Brief)?;
    let free =
        in_transaction(conn, |conn| conn.query(select, &[Value::Text(table.to_owned())]).map(drop));
    conn.set_lock_wait(LockWait::Patient)?;
    match free {
        Err(e) if e.kind == Kind::Contention => {}
        free => return free,
    }
    let names = [Session::Claimer, Session::Settler].map(|s| session_name(before, s));
    for session in conn.end_sessions(&names)? {
        match session.stays {
            None => log::warn!("{table}: ended a session of a dead owner: {}", session.about),
            Some(e) => {
                return Err(Error::new(
                    Kind::Database,
                    format!("a session of a dead owner holds the owner row of {table}"),
                )
                .detail(session.about)
                .detail(format!("it could not be ended: {e}"))
                .hint(format!("An administrator may end it: {}.", session.statement)));
            }
        }
    }
    Ok(())
}

/// What a session of an owner does at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// It claims rows.
    Claimer,
    /// It settles them.
    Settler,
}

/// By what name others find a session that holds the owner row shared.
fn session_name(token: &Id, session: Session) -> String {
    let what = match session {
        Session::Claimer => "claims",
        Session::Settler => "settles",
    };
    format!("ssync:{}:{what}", hex_bytes::encode(token))
}

/// The owner that the row names, when it is dead or gone from there; nothing where the row names
/// nobody, or ourselves. A living one is an error. The row: identity, token, owner, lease, now.
fn dead_owner(
    row: &[Value],
    me: &ProcessIdentity,
    table: &str,
    owners: &str,
) -> Result<Option<String>> {
    let mut taken_over_from = None;
    if row[1] != Value::Null {
        let other: Option<ProcessIdentity> =
            row[2].as_str().and_then(|t| serde_json::from_str(t).ok());
        let leased = row[3].as_i64().unwrap_or(0) >= row[4].as_i64().unwrap_or(0);
        let alive = match &other {
            // Our own, from before a connection broke.
            Some(other) if other == me => false,
            Some(other) if other.is_known_dead()? => false,
            // Its death would be known here: the lease need not run out first.
            Some(other) if is_neighbour(other, me) => true,
            _ => leased,
        };
        let who = other.as_ref().map_or_else(
            || "an unknown owner".to_owned(),
            |o| format!("process {} on host {}", o.pid, o.host),
        );
        if alive {
            return Err(Error::new(
                Kind::Locked,
                format!("source table {table} is being transferred by {who}"),
            )
            .detail(format!("owner row in {owners} of the source database"))
            .hint(
                "A source table has one owner at a time. Wait for that run, or stop it; an \
                 owner on another host that died is given up a minute after its last sign.",
            ));
        }
        taken_over_from = (other.as_ref() != Some(me)).then_some(who);
    }
    Ok(taken_over_from)
}

/// Gives what is known of the table `before` to the table `today`, whose own row goes; whether
/// anything was known. Both are names in full; `configured` says where the table is.
///
/// # Errors
/// [`Kind::Locked`] when a living process owns the former name.
pub fn rename(
    conn: &mut dyn Connection,
    configured: &str,
    before: &str,
    today: &str,
) -> Result<bool> {
    let owners = beside(configured, OWNER_TABLE);
    let me = ProcessIdentity::own()?;
    let d = conn.dialect();
    let [name, ident, tok, owner, lease, ..] = columns(conn);
    let table = d.table(&owners);
    let look = d.lock(
        &format!(
            "SELECT {ident}, {tok}, {owner}, {lease}, {} FROM {table} WHERE {name} = {}",
            d.now_secs(),
            d.param(1, None)
        ),
        true,
    );
    let delete = format!("DELETE FROM {table} WHERE {name} = {}", d.param(1, None));
    let update = format!(
        "UPDATE {table} SET {name} = {}, {tok} = NULL WHERE {name} = {}",
        d.param(1, None),
        d.param(2, None)
    );
    in_transaction(conn, |conn| {
        let rows = conn.query(&look, &[Value::Text(before.to_owned())])?;
        let Some(row) = rows.first() else { return Ok(false) };
        dead_owner(row, &me, before, &owners)?;
        conn.execute(&delete, &[Value::Text(today.to_owned())])?;
        let names = [Value::Text(today.to_owned()), Value::Text(before.to_owned())];
        conn.execute(&update, &names)?;
        Ok(true)
    })
}

/// Names of the tables that runs are known of, in the owner table beside `configured`.
pub fn known_tables(conn: &mut dyn Connection, configured: &str) -> Result<Vec<String>> {
    let owners = beside(configured, OWNER_TABLE);
    let d = conn.dialect();
    let sql =
        format!("SELECT {}, {} FROM {}", d.quote("table_name"), d.quote("pair"), d.table(&owners));
    let rows = conn.query(&sql, &[])?;
    let known = |row: &Vec<Value>| {
        let (name, pair) = (row.first()?.as_str()?, row.get(1)?.as_str()?);
        PairText::read(pair).map(|_| name.to_owned())
    };
    Ok(rows.iter().filter_map(known).collect())
}

/// A destination that is older than what the source has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// The epoch at which its fence stands.
    pub epoch: i64,
    /// The last run that the source has confirmed.
    pub confirmed: i64,
}

/// How far rows of a loss have been set back.
#[derive(Debug, Serialize, Deserialize)]
struct Restored {
    #[serde(flatten)]
    loss: Loss,
    /// Numbers of runs, from and to.
    ranges: Vec<(i64, i64)>,
}

impl Restored {
    /// What is damaged counts for nothing.
    fn runs(&self) -> BTreeSet<i64> {
        let within = |(from, to): &(i64, i64)| *from >= 0 && *to <= self.loss.confirmed;
        self.ranges.iter().filter(|range| within(range)).flat_map(|(a, b)| *a..=*b).collect()
    }
}

/// Numbers as ranges, both ends included.
pub(crate) fn ranges(numbers: &BTreeSet<i64>) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

fn is_neighbour(other: &ProcessIdentity, me: &ProcessIdentity) -> bool {
    other.host == me.host && other.boot_id == me.boot_id && other.pid_namespace == me.pid_namespace
}

impl Ownership {
    /// Runs `work` in a transaction in which the table is certainly still ours.
    pub fn guarded<T>(
        &self,
        conn: &mut dyn Connection,
        work: impl FnOnce(&mut dyn Connection) -> Result<T>,
    ) -> Result<T> {
        let d = conn.dialect();
        let [name, _, tok, ..] = columns(conn);
        let sql = d.lock(
            &format!(
                "SELECT {tok} FROM {} WHERE {name} = {}",
                d.table(&self.owners),
                d.param(1, None)
            ),
            false,
        );
        let began = Instant::now();
        let mut work = Some(work);
        loop {
            let mut held = false;
            let done = in_transaction(conn, |conn| {
                let rows =
                    conn.query(&sql, &[Value::Text(self.table.clone())]).inspect_err(|e| {
                        held = e.kind == Kind::Contention;
                    })?;
                match (rows.first().and_then(|r| r.first()), work.take()) {
                    (Some(v), Some(work)) if v.as_bytes() == Some(&self.token) => work(conn),
                    _ => Err(Error::new(
                        Kind::Locked,
                        format!("source table {} was taken over by another run", self.table),
                    )
                    .hint("This run was believed dead. It stops; the other one goes on.")),
                }
            });
            match done {
                // The lease is being renewed, or somebody else looks. No row of the application's
                // is held meanwhile, so that this may be waited for.
                Err(e) if held && began.elapsed() < GUARD_WAIT_MAX => {
                    log::debug!("owner row of {}: {e}", self.table);
                    std::thread::sleep(GUARD_PAUSE);
                }
                Err(e) if held => {
                    return Err(Error::new(
                        Kind::Locked,
                        format!("another session holds the owner row of {}", self.table),
                    )
                    .detail(format!("row in {} of the source database", self.owners))
                    .detail(e.message));
                }
                done => return done,
            }
        }
    }

    /// By what name others find a session of ours: see [`Connection::name_session`].
    pub fn session_name(&self, session: Session) -> String {
        session_name(&self.token, session)
    }

    /// Says that we are alive.
    pub fn renew(&self, conn: &mut dyn Connection) -> Result<()> {
        let d = conn.dialect();
        let [name, _, tok, _, lease, ..] = columns(conn);
        let sql = format!(
            "UPDATE {} SET {lease} = {} + {LEASE_SECS} WHERE {name} = {} AND {tok} = {}",
            d.table(&self.owners),
            d.now_secs(),
            d.param(1, None),
            d.param(2, None)
        );
        conn.execute(&sql, &[Value::Text(self.table.clone()), id_value(&self.token)]).map(drop)
    }

    /// Gives the table back after some work, however that has ended: over another connection where
    /// this one broke. Failing that, the lease ends by itself.
    pub(crate) fn released_after<T>(
        &self,
        result: Result<T>,
        params: &TaskParams,
        conn: &mut dyn Connection,
    ) -> Result<T> {
        let released = self.release(conn).or_else(|_| self.release(open(&params.source)?.as_mut()));
        if let Err(e) = released {
            log::warn!("could not give source table {} back: {e}", self.table);
        }
        result
    }

    /// Gives the table back.
    pub fn release(&self, conn: &mut dyn Connection) -> Result<()> {
        let d = conn.dialect();
        let [name, _, tok, ..] = columns(conn);
        let sql = format!(
            "UPDATE {} SET {tok} = NULL WHERE {name} = {} AND {tok} = {}",
            d.table(&self.owners),
            d.param(1, None),
            d.param(2, None)
        );
        conn.execute(&sql, &[Value::Text(self.table.clone()), id_value(&self.token)]).map(drop)
    }

    /// Notes where the rows go that are claimed from now on. Of another destination nothing is
    /// confirmed yet.
    pub fn claim_for(&self, conn: &mut dyn Connection, pair: &PairText) -> Result<()> {
        if self.known.pair.as_ref().is_some_and(|known| known.id == pair.id) {
            return Ok(());
        }
        self.note(
            conn,
            &[("pair", pair.value()), ("confirmed", Value::Int(0)), ("record", Value::Null)],
        )
    }

    /// Writes down that a run is to begin, before the destination's fence gets its number.
    pub fn intend(&self, conn: &mut dyn Connection) -> Result<i64> {
        let number = self.known.intended + 1;
        self.note(conn, &[("intended", Value::Int(number))])?;
        Ok(number)
    }

    /// Writes down that the fence has the run's number, and where both ends are.
    pub fn confirm(
        &self,
        conn: &mut dyn Connection,
        stamp: &Stamp,
        record: &Id,
        server: &str,
    ) -> Result<()> {
        self.note(
            conn,
            &[
                ("confirmed", Value::Int(stamp.number)),
                ("stamp", Value::Text(stamp.to_string())),
                ("record", id_value(record)),
                ("server", Value::Text(server.to_owned())),
            ],
        )
    }

    /// The runs of this loss whose rows have been set back by now, in whichever home; none where
    /// another loss was dealt with last.
    pub(crate) fn restored(&self, conn: &mut dyn Connection, of: Loss) -> Result<BTreeSet<i64>> {
        self.ensure_restored(conn)?;
        let d = conn.dialect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {} = {}",
            d.quote(RESTORED.0),
            d.table(&self.owners),
            d.quote("table_name"),
            d.param(1, None)
        );
        let rows = conn.query(&sql, &[Value::Text(self.table.clone())])?;
        let text = rows.first().and_then(|row| row.first()).and_then(Value::as_str);
        let known = text.and_then(|text| serde_json::from_str::<Restored>(text).ok());
        Ok(known.filter(|known| known.loss == of).map(|known| known.runs()).unwrap_or_default())
    }

    /// Writes down which runs' rows have been set back.
    pub(crate) fn note_restored(
        &self,
        conn: &mut dyn Connection,
        loss: Loss,
        runs: &BTreeSet<i64>,
    ) -> Result<()> {
        self.ensure_restored(conn)?;
        let restored = Restored { loss, ranges: ranges(runs) };
        let text = serde_json::to_string(&restored)
            .map_err(|e| Error::new(Kind::Internal, format!("runs: {e}")))?;
        self.note(conn, &[(RESTORED.0, Value::Text(text))])
    }

    fn ensure_restored(&self, conn: &mut dyn Connection) -> Result<()> {
        match ledger::kept_whole(conn, &self.owners)? {
            Some(found) => ledger::complete(conn, &self.owners, &found, &[RESTORED]),
            None => Ok(()),
        }
    }

    /// Takes the destination as it is, on an operator's word: what was confirmed before does not
    /// count, and an older state than this one is a loss again.
    pub fn accept(&self, conn: &mut dyn Connection, record: Option<&Record>) -> Result<()> {
        let ident = record.and_then(|r| r.ident).map_or(Value::Null, |id| id_value(&id));
        self.note(conn, &[&confirmed_as(record)[..], &[("record", ident)]].concat())
    }

    /// Writes columns of the row, while the table is ours.
    pub(crate) fn note(&self, conn: &mut dyn Connection, set: &[(&str, Value)]) -> Result<()> {
        let d = conn.dialect();
        let assignments: Vec<_> = (1..)
            .zip(set)
            .map(|(n, (column, _))| format!("{} = {}", d.quote(column), d.param(n, None)))
            .collect();
        let sql = format!(
            "UPDATE {} SET {} WHERE {} = {}",
            d.table(&self.owners),
            assignments.join(", "),
            d.quote("table_name"),
            d.param(set.len() + 1, None)
        );
        let mut params: Vec<_> = set.iter().map(|(_, value)| value.clone()).collect();
        params.push(Value::Text(self.table.clone()));
        self.guarded(conn, |conn| conn.execute(&sql, &params).map(drop))
    }

    /// How many of a run's source steps are done.
    pub fn steps_done(&self, conn: &mut dyn Connection, run: &Id) -> Result<i64> {
        let d = conn.dialect();
        let [name, _, _, _, _, run_id, steps] = columns(conn);
        let sql = format!(
            "SELECT {steps} FROM {} WHERE {name} = {} AND {run_id} = {}",
            d.table(&self.owners),
            d.param(1, None),
            d.param(2, None)
        );
        let rows = conn.query(&sql, &[Value::Text(self.table.clone()), id_value(run)])?;
        Ok(rows.first().and_then(|r| r.first()).and_then(Value::as_i64).unwrap_or(0))
    }

    /// Runs one SQL step at the source and records it, in one transaction. (A statement that
    /// commits by itself, such as DDL, runs at least once.)
    pub fn run_step(
        &self,
        conn: &mut dyn Connection,
        run: &Id,
        number: i64,
        sql: &str,
    ) -> Result<()> {
        let [name, _, _, _, _, run_id, steps] = columns(conn);
        self.guarded(conn, |conn| {
            let d = conn.dialect();
            let record = format!(
                "UPDATE {} SET {run_id} = {}, {steps} = {} WHERE {name} = {}",
                d.table(&self.owners),
                d.param(1, None),
                d.param(2, None),
                d.param(3, None)
            );
            conn.execute(sql, &[])?;
            failpoint::hit("steps.source_statement", number as u64);
            conn.execute(
                &record,
                &[id_value(run), Value::Int(number), Value::Text(self.table.clone())],
            )?;
            Ok(())
        })
    }
}

/// What the owner row says of a destination whose state counts as it is.
pub(crate) fn confirmed_as(record: Option<&Record>) -> [(&'static str, Value); 2] {
    let stamp = record.and_then(|r| r.stamp.as_ref());
    let stamp = stamp.map_or(Value::Null, |stamp| Value::Text(stamp.own.to_string()));
    [("confirmed", Value::Int(record.map_or(0, |r| r.counter))), ("stamp", stamp)]
}

/// The identity of a source table for `increment`, at which nothing may be written: made of the
/// server's identity (or its cluster's) and of the table's name in its catalog, so that the mark is
/// found again whatever address, account or link leads there.
pub fn increment_ident(server: &str, table: &str) -> Id {
    ledger::id_of(&format!("{server}\0{table}"))
}

/// Under which other names the record of an `increment` may stand: as version 0.1.0 made it, and as it
/// was before `failover` was configured otherwise (`other`).
pub fn former_increment_idents(link: &str, other: &str, table: &str) -> [Id; 2] {
    [former_increment_ident(link, table), increment_ident(other, table)]
}

/// The same as version 0.1.0 made it: of the link's name and the table's.
pub fn former_increment_ident(link: &str, table: &str) -> Id {
    ledger::id_of(&format!("{link}\0{table}"))
}
