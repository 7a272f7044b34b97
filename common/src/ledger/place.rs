//! Where fence and ledger of a destination table stand: beside it, whichever link, user or default
//! database leads there. Making the tables, and adding the columns that older versions lack.

use serde::{Deserialize, Serialize};

use super::{FENCE_TABLE, Id, LEDGER_TABLE, POS_CHARS_MAX, SEAT_TABLE};
use crate::connector::{Connection, Dialect, OwnType, beside};
use crate::error::{Error, Kind, Result};
use crate::schema::Table;

/// The schema that holds a destination table, and ssync's own tables with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    fence: String,
    ledger: String,
    seat: String,
}

impl Place {
    /// Beside `table`, a name as it is configured or as the catalog spells it.
    pub fn beside(table: &str) -> Place {
        Place {
            fence: beside(table, FENCE_TABLE),
            ledger: beside(table, LEDGER_TABLE),
            seat: beside(table, SEAT_TABLE),
        }
    }

    /// Name of the fence table.
    pub fn fence(&self) -> &str {
        &self.fence
    }

    /// Name of the ledger table.
    pub fn ledger(&self) -> &str {
        &self.ledger
    }

    /// Name of the table of the fence's seats.
    pub fn seat(&self) -> &str {
        &self.seat
    }

    /// The tables that a destination of this dialect needs.
    pub fn tables(&self, dialect: &dyn Dialect) -> Vec<&str> {
        let mut tables = vec![self.fence(), self.ledger()];
        if !dialect.shares_row_locks() {
            tables.push(self.seat());
        }
        tables
    }
}

/// A destination table's record: where it stands, and the key of its row there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Where fence and ledger stand.
    pub place: Place,
    /// The pair of source and destination table.
    pub id: Id,
    /// The destination table alone: what all records of it have in common.
    pub dest: Id,
}

impl Pair {
    /// The record of `table` as a destination of the source `ident`; `full_name` is the
    /// destination's name in the catalog.
    pub fn new(ident: &Id, table: &str, full_name: &str) -> Pair {
        Pair {
            place: Place::beside(table),
            id: super::pair_id(ident, full_name),
            dest: super::id_of(full_name),
        }
    }

    /// Another record of the same destination table.
    pub fn beside(&self, id: Id) -> Pair {
        Pair { id, ..self.clone() }
    }

    /// The record of the runs that fill the table anew (`full`), from whichever source.
    pub fn of_full(&self, full_name: &str) -> Pair {
        self.beside(super::pair_id(&Id::default(), full_name))
    }
}

/// Columns of the fence table that version 0.1.0 did not have; all may be NULL.
const LATER: [(&str, OwnType); 10] = [
    // The row's own random id: the same after a rename, a move or a copy of the tables.
    ("ident", OwnType::Id),
    // The run counter that source and destination share (`status`).
    ("counter", OwnType::BigInt),
    // The server that answered when the record was last taken.
    ("server", OwnType::LongText),
    // Rows that finished runs of `increment` have landed.
    ("landed", OwnType::BigInt),
    // The destination table alone; NULL before a version that knows of it has taken the record.
    ("dest", OwnType::Id),
    // The run that last filled the table anew, as a record of another mode has seen it.
    ("full_run", OwnType::Id),
    // The sub-task that fills the table anew, on the record of such runs.
    ("filler", OwnType::LongText),
    // The run whose beginning is in the ledger as well.
    ("begun", OwnType::Id),
    // The keys by which rows at the destination are recognised.
    ("row_keys", OwnType::LongText),
    // Which run had the number of the counter, and which one it came after.
    ("stamp", OwnType::LongText),
];

/// Whether the fence table has all columns that this version reads.
pub fn is_of_now(fence: &Table) -> bool {
    LATER.iter().all(|(column, _)| fence.column(column).is_some())
}

/// Makes the tables where they are missing, and adds what older versions did not have.
///
/// # Errors
/// [`Kind::Refused`] where they are stored in something that cannot roll back: then they would
/// prove nothing. [`Kind::Balance`] where the fence knows of runs and the ledger is gone.
pub fn ensure_tables(dest: &mut dyn Connection, place: &Place) -> Result<()> {
    if let Some(fence) = kept_whole(dest, place.fence())?
        && fence.column("ident").is_some()
        && dest.describe(place.ledger())?.is_none()
        && runs_are_known(dest, place, &fence)?
    {
        return Err(Error::new(
            Kind::Balance,
            format!("{} is gone, and runs are known in {}", place.ledger(), place.fence()),
        )
        .detail("what has landed of rows that are under way cannot be known without it")
        .hint(
            "Restore it from a backup of the same moment. Otherwise compare both sides, and decide \
             by ssync adopt.",
        ));
    }
    make_tables(dest, place)
}

fn runs_are_known(dest: &mut dyn Connection, place: &Place, fence: &Table) -> Result<bool> {
    complete(dest, place.fence(), fence, &LATER)?;
    Ok(super::records(dest, place)?.iter().any(|record| record.run.is_some()))
}

/// The same on an operator's word, whatever is gone.
///
/// # Errors
/// [`Kind::Refused`] where they are stored in something that cannot roll back.
pub fn make_tables(dest: &mut dyn Connection, place: &Place) -> Result<()> {
    let tables = place.tables(dest.dialect());
    let found = |dest: &mut dyn Connection| {
        tables.iter().map(|table| kept_whole(dest, table)).collect::<Result<Option<Vec<_>>>>()
    };
    let there = match found(dest)? {
        Some(there) => there,
        None => {
            for statement in definitions(dest.dialect(), place) {
                dest.execute(&statement, &[])?;
            }
            found(dest)?.unwrap_or_default()
        }
    };
    there.first().map_or(Ok(()), |fence| complete(dest, place.fence(), fence, &LATER))
}

/// Adds the columns that one of ssync's own tables lacks, as it was `found`; each may be NULL.
pub fn complete(
    conn: &mut dyn Connection,
    table: &str,
    found: &Table,
    columns: &[(&str, OwnType)],
) -> Result<()> {
    for (name, kind) in columns.iter().filter(|(name, _)| found.column(name).is_none()) {
        let d = conn.dialect();
        let definition = format!("{} {}", d.quote(name), d.own_type(*kind));
        let sql = d.add_column(table, &definition);
        match conn.execute(&sql, &[]) {
            Ok(_) => {}
            // Another process was faster.
            Err(_) if conn.describe(table)?.is_some_and(|t| t.column(name).is_some()) => {}
            Err(e) => {
                return Err(e.context(format!("could not add column {name} to {table}")).hint(
                    format!(
                        "Versions after 0.1.0 need it. Let the account alter the table, or have \
                         this run once: {sql}"
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// One of ssync's own tables, if it is there. Fails with [`Kind::Refused`] where it is stored in
/// something that cannot roll back.
pub fn kept_whole(conn: &mut dyn Connection, table: &str) -> Result<Option<Table>> {
    let Some(found) = conn.describe(table)? else { return Ok(None) };
    if found.is_view || !found.transactional {
        let engine = if found.is_view { "a view" } else { found.engine.as_str() };
        return Err(Error::new(
            Kind::Refused,
            format!("ssync's own table {table} is stored in {engine}, which cannot roll back"),
        )
        .hint(format!("Convert it while no task runs: ALTER TABLE {table} ENGINE=InnoDB.")));
    }
    Ok(Some(found))
}

/// The statements that make the tables, for ssync or for the people who own the schema.
pub fn definitions(d: &dyn Dialect, place: &Place) -> Vec<String> {
    let (id, big, text, long) = (
        d.own_type(OwnType::Id),
        d.own_type(OwnType::BigInt),
        d.own_type(OwnType::Text(POS_CHARS_MAX as u32)),
        d.own_type(OwnType::LongText),
    );
    let q = |name: &str| d.quote(name);
    let later: String =
        LATER.iter().map(|(name, kind)| format!("{} {}, ", q(name), d.own_type(*kind))).collect();
    let fence = format!(
        "CREATE TABLE IF NOT EXISTS {} ({} {id} NOT NULL, {} {big} NOT NULL, {} {long}, {} {id}, \
         {} {big} NOT NULL, {} {long}, {} {long}, {} {long}, {later}PRIMARY KEY ({})){}",
        d.table(place.fence()),
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
        d.table(place.ledger()),
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
    let mut statements = vec![fence, ledger];
    if !d.shares_row_locks() {
        statements.push(format!(
            "CREATE TABLE IF NOT EXISTS {} ({} {id} NOT NULL, {} {big} NOT NULL, {} {big} NOT \
             NULL, PRIMARY KEY ({}, {})){}",
            d.table(place.seat()),
            q("fence_id"),
            q("seat"),
            q("epoch"),
            q("fence_id"),
            q("seat"),
            d.table_options()
        ));
    }
    statements
}
