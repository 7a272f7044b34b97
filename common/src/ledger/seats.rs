//! The fence's seats, for databases whose row locks cannot be shared.

use super::id_value;
use super::place::Pair;
use crate::connector::Connection;
use crate::error::Result;
use crate::value::Value;

/// Name of the table of the fence's seats.
pub const SEAT_TABLE: &str = "SSYNC_SEAT";

/// Writers have seats of their own: as many as there may be writers at once.
const WRITER_SEATS: usize = 10;
/// Those, and two more for the steps' two connections.
const SEATS: usize = WRITER_SEATS + 2;

/// Who checks the epoch. Where locks of rows cannot be shared, each locks a row of its own:
/// whoever is in the middle of a transaction holds one seat, whoever raises the fence takes all of
/// them, and so waits for every transaction that is under way. Two that share a seat by mistake, or
/// a writer and the ghost of its predecessor, wait for each other; nothing worse comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// A writer, by its number from 0.
    Writer(usize),
    /// Whoever runs a step's statements.
    Step,
    /// Whoever holds the fence for a step that commits by itself.
    Guard,
}

impl Seat {
    /// The numbers of all seats.
    pub(super) fn all() -> std::ops::Range<i64> {
        0..SEATS as i64
    }

    pub(super) fn number(self) -> i64 {
        let number = match self {
            Seat::Writer(n) => n % WRITER_SEATS,
            Seat::Step => WRITER_SEATS,
            Seat::Guard => WRITER_SEATS + 1,
        };
        number as i64
    }
}

/// Takes every seat and writes the epoch down there; those that are missing are made. Whoever
/// raises holds the fence row already, so that no two of them meet here, and whoever holds a seat
/// waits for no other: there is no deadlock.
pub(super) fn raise_seats(dest: &mut dyn Connection, pair: &Pair, epoch: i64) -> Result<()> {
    let d = dest.dialect();
    if d.shares_row_locks() {
        return Ok(());
    }
    let (table, fence, seat) = (d.table(pair.place.seat()), d.quote("fence_id"), d.quote("seat"));
    let select = d.lock(
        &format!("SELECT {seat} FROM {table} WHERE {fence} = {} ORDER BY {seat}", d.param(1, None)),
        true,
    );
    let update = format!(
        "UPDATE {table} SET {} = {} WHERE {fence} = {}",
        d.quote("epoch"),
        d.param(1, None),
        d.param(2, None)
    );
    let insert = format!(
        "INSERT INTO {table} ({fence}, {seat}, {}) VALUES ({}, {}, {})",
        d.quote("epoch"),
        d.param(1, None),
        d.param(2, None),
        d.param(3, None)
    );
    let taken: Vec<Option<i64>> = dest
        .query(&select, &[id_value(&pair.id)])?
        .iter()
        .map(|row| row.first().and_then(Value::as_i64))
        .collect();
    dest.execute(&update, &[Value::Int(epoch), id_value(&pair.id)])?;
    for seat in 0..SEATS as i64 {
        if !taken.contains(&Some(seat)) {
            dest.execute(&insert, &[id_value(&pair.id), Value::Int(seat), Value::Int(epoch)])?;
        }
    }
    Ok(())
}
