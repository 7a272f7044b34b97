//! Moving rows of the source from one state to another without harm to those who work there: no row
//! is held while another one is waited for, if the database can help it.
//!
//! A range whose rows are all free is moved by one statement. Where another session holds one of them, the
//! free ones are locked and moved by their keys; a database that cannot pass over locked rows is
//! asked for one small piece after the other, each in a transaction of its own with the shortest
//! wait it knows. What stays is for a later time.
//!
//! Nothing is committed that a trigger of the source has undone: a row that has landed, and is set
//! back to 0 where it should become done, would be sent again.

use std::thread;
use std::time::{Duration, Instant};

use ssync_common::connector::{Connection, LockWait};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::failpoint;
use ssync_common::value::{Key, key_text};

use crate::owner::Ownership;
use crate::source::{Bound, Range, RowState, SourceTable};
use crate::trigger_trial::{first_undone, refusal};

/// Rows that are locked and moved in one transaction where others of the range are held.
const CHUNK_ROWS: u64 = 1000;
/// Rows of a piece, where the database cannot pass over locked rows.
pub const PIECE_ROWS: usize = 100;
/// Pauses before the one statement is tried again: most locks are gone by then.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(15)];
/// A server that answered within this did not wait for the lock.
const DID_NOT_WAIT: Duration = Duration::from_millis(100);
/// How often a database that locks whole files is tried again, each time for about a minute.
const FILE_TRIES: u32 = 10;

/// A move of rows.
pub struct Move<'a> {
    /// The table.
    pub table: &'a SourceTable,
    /// Checked in every transaction.
    pub owner: &'a Ownership,
    /// The state that they are in.
    pub from: RowState,
    /// The state that they get.
    pub to: RowState,
    /// Rows of a piece, where the database cannot pass over locked rows; at least 1.
    pub piece: usize,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Moved {
    /// Rows that are in their new state now.
    pub rows: u64,
    /// Rows that are still in their old state, because another session holds them locked, or a row of
    /// their piece: by keys in order, each group the whole of what lies between its ends.
    pub locked: Vec<Vec<Key>>,
    /// Whether one statement was enough.
    pub at_once: bool,
}

impl Moved {
    /// Rows that are still in their old state.
    pub fn locked_rows(&self) -> u64 {
        self.locked.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Move<'_> {
    /// Moves those rows of a range that nobody holds, no more than `most` of them. `wary` says, and
    /// is told, whether others are at work there: then the one statement, which may have to wait,
    /// is not tried.
    ///
    /// # Errors
    /// [`Kind::Balance`] when there are more than that: then none of them was moved that would
    /// have been too many.
    pub fn free_rows(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        most: Option<u64>,
        wary: &mut bool,
    ) -> Result<Moved> {
        if !self.locks_rows() {
            return self.in_file(conn, range, most);
        }
        conn.set_lock_wait(LockWait::Short)?;
        if !*wary && let Some(rows) = self.at_once(conn, range, most)? {
            return Ok(Moved { rows, locked: Vec::new(), at_once: true });
        }
        let moved = match self.passing_over(conn, range, most)? {
            Some(moved) => moved,
            None => self.by_pieces(conn, range, most)?,
        };
        *wary = !moved.locked.is_empty();
        Ok(moved)
    }

    /// Whether the source locks rows, not whole files.
    fn locks_rows(&self) -> bool {
        self.table.dialect.lock("x", true) != "x"
    }

    /// By one statement, tried again after short pauses; nothing where another session keeps a row.
    fn at_once(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        most: Option<u64>,
    ) -> Result<Option<u64>> {
        let mut pauses = PAUSES.iter();
        loop {
            let began = Instant::now();
            if let Some(rows) = self.whole(conn, range, most)? {
                return Ok(Some(rows));
            }
            match pauses.next() {
                Some(pause) if began.elapsed() < DID_NOT_WAIT => thread::sleep(*pause),
                _ => return Ok(None),
            }
        }
    }

    /// By one statement; nothing where another session holds a row. Where that leaves rows that a
    /// trigger may have set back, it is rolled back, and done again row by row known.
    fn whole(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        most: Option<u64>,
    ) -> Result<Option<u64>> {
        let mut doubtful = self.table.triggers.possible() && self.to == RowState::ToSend;
        if !doubtful {
            let moved = self.owner.guarded(conn, |conn| {
                let moved = self.table.move_state(conn, range, self.from, self.to)?;
                failpoint::hit("moving.before_commit", self.to as u64);
                doubtful = self.may_be_undone(conn, range, moved)?;
                match doubtful {
                    false => self.no_more_than(most, moved, range),
                    true => Err(Error::new(Kind::Internal, "rolled back, to be done again")),
                }
            });
            if !doubtful {
                return unless_held(moved);
            }
        }
        unless_held(self.owner.guarded(conn, |conn| {
            let mut keys = self.table.lock_keys(conn, self.from, range)?;
            let moved = self.table.move_state(conn, range, self.from, self.to)?;
            failpoint::hit("moving.before_commit", self.to as u64);
            self.kept(conn, &mut keys)?;
            self.no_more_than(most, moved, range)
        }))
    }

    /// Whether a trigger may have undone some of a move: rows are left behind, which others can
    /// have put there as well.
    fn may_be_undone(&self, conn: &mut dyn Connection, range: &Range, moved: u64) -> Result<bool> {
        if !self.table.triggers.possible() {
            return Ok(false);
        }
        let fewer =
            self.to == RowState::UnderWay && self.table.count(conn, self.to, range)? < moved;
        Ok(fewer
            || self.table.count(conn, RowState::ToSend, range)? > 0
            || self.from != RowState::ToSend && self.table.count(conn, self.from, range)? > 0)
    }

    /// Refuses to go on where one of these rows, which were locked and moved, is in another state.
    fn kept(&self, conn: &mut dyn Connection, keys: &mut Vec<Key>) -> Result<()> {
        match first_undone(conn, self.table, keys, (self.from, self.to))? {
            Some(key) => Err(refusal(self.table, &key, (self.from, self.to))),
            None => Ok(()),
        }
    }

    fn in_file(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        most: Option<u64>,
    ) -> Result<Moved> {
        conn.set_lock_wait(LockWait::Patient)?;
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(rows) = self.whole(conn, range, most)? {
                return Ok(Moved { rows, locked: Vec::new(), at_once: tries == 1 });
            }
            if tries > FILE_TRIES {
                return Err(Error::new(
                    Kind::Contention,
                    format!("another process keeps writing to the file of {}", self.table.name),
                ));
            }
        }
    }

    /// Locks what is free, and moves that; nothing where the database cannot pass over locked rows.
    fn passing_over(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        most: Option<u64>,
    ) -> Result<Option<Moved>> {
        let mut moved = Moved::default();
        let mut rest = range.clone();
        // By stretches of free rows; by single ones where even that meets a lock: a server may
        // rather walk over a small table than take its index.
        let mut stretch_max = usize::MAX;
        loop {
            let allowed = most.map(|most| most.saturating_sub(moved.rows));
            let step = self.owner.guarded(conn, |conn| {
                let free = self.table.lock_free(conn, self.from, &rest, CHUNK_ROWS)?;
                let Some(free) = free else { return Ok(None) };
                let more = free.len() as u64 >= CHUNK_ROWS;
                let end = free.last().filter(|_| more).cloned();
                let upper = end.clone().map_or_else(|| rest.upper.clone(), Bound::Including);
                let done = Range { lower: rest.lower.clone(), upper };
                // Read after the others were locked: what is not among them, others hold, or it has
                // come since.
                let all = self.table.keys(conn, self.from, &done, i64::MAX as u64)?;
                let mut locked = free.clone();
                let (stretches, left) = told_apart(all, free, stretch_max);
                let mut rows = 0;
                for stretch in &stretches {
                    rows += self.table.move_state(conn, stretch, self.from, self.to)?;
                }
                if self.table.triggers.possible() {
                    self.kept(conn, &mut locked)?;
                }
                self.no_more_than(allowed, rows, range)?;
                Ok(Some((rows, left, end)))
            });
            let (rows, left, end) = match step {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(None),
                Err(e) if e.kind == Kind::Contention && stretch_max > 1 => {
                    stretch_max = 1;
                    continue;
                }
                Err(e) if e.kind == Kind::Contention => {
                    let left = self.table.keys(conn, self.from, &rest, i64::MAX as u64)?;
                    moved.locked.extend(left.into_iter().map(|key| vec![key]));
                    return Ok(Some(moved));
                }
                Err(e) => return Err(e),
            };
            moved.rows += rows;
            moved.locked.extend(left.into_iter().map(|key| vec![key]));
            match end {
                Some(end) => rest.lower = Bound::Excluding(end),
                None => return Ok(Some(moved)),
            }
        }
    }

    fn by_pieces(
        &self,
        conn: &mut dyn Connection,
        range: &Range,
        most: Option<u64>,
    ) -> Result<Moved> {
        let mut moved = Moved::default();
        let keys = self.table.keys(conn, self.from, range, i64::MAX as u64)?;
        for piece in keys.chunks(self.piece.max(1)) {
            let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
            let allowed = most.map(|most| most.saturating_sub(moved.rows));
            match self.whole(conn, &Range::closed(first, last), allowed)? {
                Some(rows) => moved.rows += rows,
                None => moved.locked.push(piece.to_vec()),
            }
        }
        Ok(moved)
    }

    fn no_more_than(&self, most: Option<u64>, moved: u64, range: &Range) -> Result<u64> {
        if most.is_none_or(|most| moved <= most) {
            return Ok(moved);
        }
        let names: Vec<_> = self.table.order.iter().map(|c| c.name.clone()).collect();
        let end = |bound: &Bound| match bound {
            Bound::Open => "the end".to_owned(),
            Bound::Including(key) | Bound::Excluding(key) => key_text(&names, key),
        };
        Err(Error::new(
            Kind::Balance,
            format!(
                "{}: {} rows of a batch, but {moved} rows in state {} between {} and {}",
                self.table.name,
                most.unwrap_or_default(),
                self.from as i32,
                end(&range.lower),
                end(&range.upper)
            ),
        )
        .hint("Somebody besides ssync sets sync_status to 1. Nothing was settled."))
    }
}

/// What was moved; nothing where another session held a row.
fn unless_held(moved: Result<u64>) -> Result<Option<u64>> {
    match moved {
        Ok(rows) => Ok(Some(rows)),
        Err(e) if e.kind == Kind::Contention => Ok(None),
        Err(e) => Err(e),
    }
}

/// Of all keys of a range, in order, the free ones as stretches without another one between them,
/// and the others.
fn told_apart(all: Vec<Key>, free: Vec<Key>, stretch_max: usize) -> (Vec<Range>, Vec<Key>) {
    let (mut stretches, mut left) = (Vec::new(), Vec::new());
    let mut free = free.into_iter().peekable();
    let mut stretch: Vec<Key> = Vec::new();
    let mut close = |stretch: &mut Vec<Key>| {
        if let (Some(first), Some(last)) = (stretch.first(), stretch.last()) {
            stretches.push(Range::closed(first, last));
        }
        stretch.clear();
    };
    for key in all {
        if free.next_if(|free| *free == key).is_some() {
            if stretch.len() >= stretch_max {
                close(&mut stretch);
            }
            stretch.push(key);
        } else {
            close(&mut stretch);
            left.push(key);
        }
    }
    close(&mut stretch);
    (stretches, left)
}

#[cfg(test)]
mod tests {
    use ssync_common::value::Value;

    use super::*;

    #[test]
    fn free_rows_are_stretches_without_a_locked_one_between() {
        let keys =
            |numbers: &[i64]| numbers.iter().map(|n| vec![Value::Int(*n)]).collect::<Vec<_>>();
        let of = |first: i64, last: i64| {
            Range::closed(&vec![Value::Int(first)], &vec![Value::Int(last)])
        };
        let all = [1, 2, 3, 4, 5, 6];
        for (free, most, stretches, left) in [
            (vec![1, 2, 3, 4, 5, 6], 9, vec![of(1, 6)], vec![]),
            (vec![1, 2, 4, 6], 9, vec![of(1, 2), of(4, 4), of(6, 6)], vec![3, 5]),
            (vec![2, 3], 1, vec![of(2, 2), of(3, 3)], vec![1, 4, 5, 6]),
            (vec![], 9, vec![], vec![1, 2, 3, 4, 5, 6]),
        ] {
            let told = told_apart(keys(&all), keys(&free), most);
            assert_eq!(told, (stretches, keys(&left)), "{free:?}");
        }
    }
}
