//! What became of rows that were bad: what the source shows of them, and what of that is known.
//!
//! That a row is in state 2 does not say that it has landed: anybody may set it. It has, where a run
//! knew that it was to be sent and settled a range around it afterwards.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ssync_common::error::Result;
use ssync_common::process::RunId;
use ssync_common::store::{ErrorRow, Judgement, RowState, Sent, Verdict};
use ssync_common::value::Key;
use ssync_worker::journal::Look;
use ssync_worker::source::{RowState as State, Sought};

/// Rows that are asked for in one statement.
const KEYS_AT_ONCE: usize = 100;
/// Ranges that one statement names.
const RANGES_AT_ONCE: usize = 20;

/// Where the source has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In state 3.
    Failed,
    /// In state 0 or 1.
    ToSend,
    /// In state 2.
    Done,
    /// In another state.
    Elsewhere,
    /// Nowhere.
    Gone,
}

/// A judgement of a record, found now.
pub fn judgement(
    row: &ErrorRow,
    state: RowState,
    run: Option<RunId>,
    how: impl Into<String>,
) -> Judgement {
    let verdict = Verdict { run, at: Timestamp::now(), how: how.into() };
    Judgement { run: row.run, number: row.number, state, verdict }
}

/// Judges records of rows that carry a state. `sent` says what runs have settled since a moment;
/// `None`: nobody can say now, and what needs that is left for the next time.
pub fn judge(
    rows: Vec<ErrorRow>,
    look: &mut Look<'_>,
    sent: &mut dyn FnMut(Timestamp) -> Result<Option<Sent>>,
) -> Result<Vec<Judgement>> {
    let mut judged = Vec::new();
    let mut done = Vec::new();
    for (row, place) in places(rows, look)? {
        match place {
            Place::Failed => {}
            Place::ToSend if row.state == RowState::Bad => judged.push(judgement(
                &row,
                RowState::Retried,
                None,
                "sync_status was set back to 0",
            )),
            Place::ToSend => {}
            Place::Done => done.push(row),
            Place::Elsewhere => judged.push(judgement(
                &row,
                RowState::Withdrawn,
                None,
                "sync_status is none of 0 to 3",
            )),
            Place::Gone => judged.push(judgement(&row, RowState::Withdrawn, None, GONE)),
        }
    }
    // Those that wait since the same moment need the same answer.
    let mut since: BTreeMap<Timestamp, Vec<ErrorRow>> = BTreeMap::new();
    for row in done {
        since.entry(waits_since(&row)).or_default().push(row);
    }
    for (moment, rows) in since {
        let Some(sent) = sent(moment)? else { continue };
        for (row, by) in covered(rows, &sent, look)? {
            judged.push(match (row.state, by) {
                (RowState::Retried, Some(run)) => {
                    judgement(&row, RowState::Landed, Some(run), "a run sent it and settled it")
                }
                (_, None) if sent.is_all => judgement(
                    &row,
                    RowState::Withdrawn,
                    None,
                    "sync_status was set to 2, and no run of this home has sent it",
                ),
                _ => judgement(
                    &row,
                    RowState::Resolved,
                    None,
                    "sync_status is 2; whether a run has sent it is not known",
                ),
            });
        }
    }
    Ok(judged)
}

/// Why a row is withdrawn that the source no longer has.
pub const GONE: &str = "the source no longer has it";

/// Since when a row waits that is done now: since it was known to be sent again, else since it was bad.
fn waits_since(row: &ErrorRow) -> Timestamp {
    row.verdict.as_ref().map_or(row.at, |verdict| verdict.at)
}

/// What a run without states has done with a row that was bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has read it.
    Read,
    /// It is gone from the source, or is not chosen any more.
    Gone,
    /// It has read it, if it is still there.
    Unknown,
}

/// What a run without states has done with rows that were bad; of some it is known that it has read
/// them, if they are there. Others that are there, and that it has not read, are left out.
pub fn fates(rows: Vec<(bool, ErrorRow)>, look: &mut Look<'_>) -> Result<Vec<(Fate, ErrorRow)>> {
    let mut fates: Vec<(Fate, ErrorRow)> = Vec::new();
    for is_read in [true, false] {
        let some = rows.iter().filter(|(read, _)| *read == is_read).map(|(_, row)| row.clone());
        let (keyed, keyless): (Vec<_>, Vec<_>) = some.partition(|row| !row.key.is_empty());
        if is_read {
            fates.extend(keyless.into_iter().map(|row| (Fate::Unknown, row)));
        }
        alike(keyed, |rows| {
            let sought = if is_read { Sought::There } else { Sought::Read };
            let (read, others) = part(rows.clone(), &sought, look)?;
            let is_answered = !(read.is_empty() && others.is_empty());
            let gone = match is_read {
                true => others,
                false => part(others, &Sought::There, look)?.1,
            };
            fates.extend(read.into_iter().map(|row| (Fate::Read, row)));
            fates.extend(gone.into_iter().map(|row| (Fate::Gone, row)));
            if is_read && !is_answered {
                fates.extend(rows.into_iter().map(|row| (Fate::Unknown, row)));
            }
            Ok(())
        })?;
    }
    Ok(fates)
}

/// Does something with records whose rows can be asked for in one statement. Rows without a key
/// cannot be asked for.
fn alike(rows: Vec<ErrorRow>, mut work: impl FnMut(Vec<ErrorRow>) -> Result<()>) -> Result<()> {
    let rows: Vec<_> = rows.into_iter().filter(|row| !row.key.is_empty()).collect();
    let alike = rows.chunk_by(|a, b| a.key_columns == b.key_columns);
    alike.flat_map(|rows| rows.chunks(KEYS_AT_ONCE)).try_for_each(|rows| work(rows.to_vec()))
}

/// Where the source has the rows. Those that it has another key for by now are left out.
fn places(rows: Vec<ErrorRow>, look: &mut Look<'_>) -> Result<Vec<(ErrorRow, Place)>> {
    let mut places = Vec::new();
    alike(rows, |mut rows| {
        // Most stay as they are: one question tells.
        let questions = [
            (Place::Failed, Sought::In(State::Failed)),
            (Place::Done, Sought::In(State::Done)),
            (Place::ToSend, Sought::In(State::ToSend)),
            (Place::ToSend, Sought::In(State::UnderWay)),
            (Place::Elsewhere, Sought::There),
        ];
        for (place, sought) in questions {
            let (found, others) = part(rows, &sought, look)?;
            places.extend(found.into_iter().map(|row| (row, place)));
            rows = others;
        }
        places.extend(rows.into_iter().map(|row| (row, Place::Gone)));
        Ok(())
    })?;
    Ok(places)
}

/// The newest run that has settled a range around each row.
fn covered(
    rows: Vec<ErrorRow>,
    sent: &Sent,
    look: &mut Look<'_>,
) -> Result<Vec<(ErrorRow, Option<RunId>)>> {
    let mut covered = Vec::new();
    alike(rows, |mut rows| {
        for of_run in sent.ranges.chunk_by(|a, b| a.0 == b.0) {
            for ranges in of_run.chunks(RANGES_AT_ONCE) {
                let run = ranges.first().map(|range| range.0);
                let ranges: Vec<(Key, Key)> =
                    ranges.iter().map(|(_, lo, hi)| (lo.clone(), hi.clone())).collect();
                let (found, others) = part(rows, &Sought::Within(&ranges), look)?;
                covered.extend(found.into_iter().map(|row| (row, run)));
                rows = others;
            }
        }
        covered.extend(rows.into_iter().map(|row| (row, None)));
        Ok(())
    })?;
    Ok(covered)
}

/// Those that are among the sought ones, and the others. Mostly none is, or all are. Where nobody can
/// say, neither.
fn part(
    rows: Vec<ErrorRow>,
    sought: &Sought<'_>,
    look: &mut Look<'_>,
) -> Result<(Vec<ErrorRow>, Vec<ErrorRow>)> {
    let Some(first) = rows.first() else { return Ok((Vec::new(), rows)) };
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let Some(count) = look(&first.key_columns, &keys, *sought)? else {
        return Ok((Vec::new(), Vec::new()));
    };
    if count == 0 {
        return Ok((Vec::new(), rows));
    }
    if count == rows.len() as u64 || rows.len() == 1 {
        return Ok((rows, Vec::new()));
    }
    let (left, right) = rows.split_at(rows.len() / 2);
    let (mut found, mut others) = part(left.to_vec(), sought, look)?;
    let right = part(right.to_vec(), sought, look)?;
    found.extend(right.0);
    others.extend(right.1);
    Ok((found, others))
}
