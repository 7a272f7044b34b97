//! Reading what was recorded: as it comes, or of a stretch of time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use super::spool::{EVENTS, REMINDER, day, files};
use super::{Event, TableEnd, TableOutcome, What, death_id, dir};
use crate::error::Result;
use crate::process::identity::host_name;

/// How far somebody has read: bytes of each file. Files that are not named have not been begun;
/// an older day's may still grow by a line of somebody who was slow around midnight.
pub type Position = BTreeMap<String, u64>;

/// Reads events in the order in which they were recorded, from a position on.
pub struct Follower {
    home: PathBuf,
    stems: Vec<&'static str>,
    position: Position,
}

impl Follower {
    /// From `position` on; with `tables`, lines of the reminder log come as events
    /// ([`What::TableDone`]) too.
    pub fn new(home: &Path, position: Position, tables: bool) -> Follower {
        let stems = if tables { vec![EVENTS, REMINDER] } else { vec![EVENTS] };
        Follower { home: home.to_path_buf(), stems, position }
    }

    /// Leaves out files of days before `before` that have not been begun.
    ///
    /// # Errors
    /// When a file cannot be found out about.
    pub fn skip_days_before(&mut self, before: Timestamp) -> Result<()> {
        let oldest = day(before);
        for file in files(&self.home, &self.stems)?.into_iter().filter(|f| f.day < oldest) {
            let bytes = std::fs::metadata(dir(&self.home).join(&file.name))?.len();
            self.position.entry(file.name).or_insert(bytes);
        }
        Ok(())
    }

    /// Up to where everything was read.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The next event with the position behind it; `None` when there is none yet. It counts as
    /// read only when [`Follower::advance`] is told so.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn peek(&mut self) -> Result<Option<(Event, Position)>> {
        let files = files(&self.home, &self.stems)?;
        self.position.retain(|name, _| files.iter().any(|f| f.name == *name));
        for file in files {
            loop {
                let offset = self.position.get(&file.name).copied().unwrap_or(0);
                let Some(line) = line_at(&dir(&self.home).join(&file.name), offset)? else { break };
                let mut behind = self.position.clone();
                behind.insert(file.name.clone(), offset + line.len() as u64);
                let event = if file.name.starts_with(REMINDER) {
                    parse::<TableEnd>(&line).map(|end| done(&end, &file.name, offset))
                } else {
                    parse::<Event>(&line)
                };
                match event {
                    Some(event) => return Ok(Some((event, behind))),
                    None => {
                        log::warn!(file = file.name, offset = offset; "a line is damaged");
                        self.position = behind;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Everything before `behind` is read.
    pub fn advance(&mut self, behind: Position) {
        self.position = behind;
    }
}

/// The whole line that begins at `offset`, with its line break; `None` when there is none yet.
fn line_at(path: &Path, offset: u64) -> Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > offset => {}
        Ok(_) => return Ok(None),
        // Pruned this moment.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut line = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut line)?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}

/// A line. Of one that was cut off when the disk was full, with the next behind it, the next.
fn parse<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(line).ok()?;
    let whole = serde_json::from_str(text);
    // Quotes within a text are escaped, so this is the beginning of a line.
    let begin = text.rfind("{\"id\":").or_else(|| text.rfind("{\"task\":"));
    whole.or_else(|e| begin.map_or(Err(e), |begin| serde_json::from_str(&text[begin..]))).ok()
}

fn rows(n: u64) -> String {
    if n == 1 { "1 row".to_owned() } else { format!("{n} rows") }
}

/// A line of the reminder log as an event. Its place is its id.
fn done(end: &TableEnd, file: &str, offset: u64) -> Event {
    let word = match end.result {
        TableOutcome::Done => "done",
        TableOutcome::DoneWithErrors => "done with errors",
        TableOutcome::Failed => "failed",
        TableOutcome::Interrupted => "interrupted",
        TableOutcome::Paused => "paused",
    };
    let seconds = end.end.duration_since(end.begin).as_secs_f64();
    let mut text = format!(
        "task {}, table {}: {word}, {} landed, {} bad, {seconds:.1} s",
        end.task,
        end.table,
        rows(end.rows),
        end.bad_rows
    );
    if let Some(run) = &end.run_totals {
        text += &format!("; in all attempts {} landed, {} bad", rows(run.landed), run.failed);
    }
    Event {
        id: format!("{file}@{offset}"),
        at: end.end,
        host: host_name(),
        ..Event::new(What::TableDone, text).of_table(end.task, &end.table).of_run(end.run.as_ref())
    }
}

/// Events of `from ≤ at < to`, in the order in which they were recorded.
///
/// # Errors
/// When a file cannot be read.
pub fn events_between(home: &Path, from: Timestamp, to: Timestamp) -> Result<Vec<Event>> {
    between(home, EVENTS, from, to, |event: &Event| event.at)
}

/// Whether an event already reports the death of this process, which is given by its random id and
/// was alive at `seen`. If so, it must not be reported again.
///
/// # Errors
/// When a file cannot be read.
pub fn death_is_recorded(home: &Path, process: &str, seen: Timestamp) -> Result<bool> {
    event_is_recorded(home, &death_id(process), seen)
}

/// Whether the event with this id, of that moment or later, has been recorded.
///
/// # Errors
/// When a file cannot be read.
pub fn event_is_recorded(home: &Path, id: &str, since: Timestamp) -> Result<bool> {
    Ok(events_between(home, since, Timestamp::MAX)?.iter().any(|event| event.id == id))
}

/// Whether the line of the reminder log with this id, of a table that finished then, is there.
///
/// # Errors
/// When a file cannot be read.
pub fn table_is_recorded(home: &Path, id: &str, end: Timestamp) -> Result<bool> {
    let after = end.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
    Ok(tables_between(home, end, after)?.iter().any(|table| table.id == id))
}

/// Tables that finished at `from ≤ end < to`, in the order in which they were recorded.
///
/// # Errors
/// When a file cannot be read.
pub fn tables_between(home: &Path, from: Timestamp, to: Timestamp) -> Result<Vec<TableEnd>> {
    between(home, REMINDER, from, to, |end: &TableEnd| end.end)
}

fn between<T: DeserializeOwned>(
    home: &Path,
    stem: &str,
    from: Timestamp,
    to: Timestamp,
    at: impl Fn(&T) -> Timestamp,
) -> Result<Vec<T>> {
    // A line stands in the file of its own time, so no other file can have it.
    let (first, last) = (day(from), day(to));
    let mut found = Vec::new();
    for file in files(home, &[stem])?.into_iter().filter(|f| f.day >= first && f.day <= last) {
        let mut reader = match File::open(dir(home).join(&file.name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => BufReader::new(other?),
        };
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            found.extend(parse(&line).filter(|item| (from..to).contains(&at(item))));
            line.clear();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::error::Kind;
    use crate::event::{RunTotals, record, record_table};

    fn event(text: &str, at: &str) -> Event {
        let at = at.parse().unwrap();
        Event { at, ..Event::new(What::TaskFailed, text).of_table(7, "orders") }
    }

    /// Reads everything that is there.
    fn read(follower: &mut Follower) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some((event, behind)) = follower.peek().unwrap() {
            events.push(event);
            follower.advance(behind);
        }
        events
    }

    #[test]
    fn every_event_is_read_once_across_days_and_restarts() {
        let home = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(home.path(), Position::new(), false);
        assert_eq!(follower.peek().unwrap(), None);
        let events = [
            event("one", "2026-12-01T23:59:58Z"),
            event("two\nlines, \"quotes\"", "2026-12-01T23:59:59Z"),
            event("three", "2026-12-02T00:00:00Z"),
        ];
        events.iter().for_each(|e| record(home.path(), e));
        let (first, behind) = follower.peek().unwrap().unwrap();
        assert_eq!(first, events[0]);
        // Not advanced: the same again.
        assert_eq!(follower.peek().unwrap().unwrap().0, events[0]);
        follower.advance(behind);
        let mut later = Follower::new(home.path(), follower.position().clone(), false);
        assert_eq!(read(&mut later), events[1..]);
        let mut fresh = Follower::new(home.path(), Position::new(), false);
        fresh.skip_days_before(events[2].at).unwrap();
        assert_eq!(read(&mut fresh), events[2..]);
        // Somebody who was slow at midnight.
        let late = event("late", "2026-12-01T23:59:59.9Z");
        record(home.path(), &late);
        assert_eq!(read(&mut later), [late]);
    }

    #[test]
    fn a_line_without_its_end_waits_and_a_damaged_one_costs_no_other() {
        let home = tempfile::tempdir().unwrap();
        let events = [
            event("one", "2026-12-01T00:00:00Z"),
            event("two", "2026-12-01T00:00:01Z"),
            event("three", "2026-12-01T00:00:02Z"),
        ];
        record(home.path(), &events[0]);
        let path = dir(home.path()).join("events-2026-12-01.jsonl");
        let append = |bytes: &[u8]| {
            File::options().append(true).open(&path).unwrap().write_all(bytes).unwrap();
        };
        let mut follower = Follower::new(home.path(), Position::new(), false);
        assert_eq!(read(&mut follower), events[..1]);
        append(b"{\"id\":\"cut off by a full di");
        assert_eq!(read(&mut follower), []);
        record(home.path(), &events[1]);
        assert_eq!(read(&mut follower), events[1..2]);
        append(b"\xff nonsense\n");
        record(home.path(), &events[2]);
        assert_eq!(read(&mut follower), events[2..]);
    }

    #[test]
    fn finished_tables_come_as_events_to_whoever_wants_them() {
        let home = tempfile::tempdir().unwrap();
        let end = TableEnd {
            task: 7,
            table: "orders".into(),
            run: None,
            begin: "2026-12-01T00:00:00Z".parse().unwrap(),
            end: "2026-12-01T00:00:01.5Z".parse().unwrap(),
            result: TableOutcome::Failed,
            rows: 12,
            bad_rows: 1,
            bytes: 345,
            run_totals: Some(RunTotals { attempts: 2, landed: 112, failed: 3 }),
            error: Some(Kind::Connect),
            id: String::new(),
        };
        record_table(home.path(), &end);
        let all = read(&mut Follower::new(home.path(), Position::new(), true));
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].what, What::TableDone);
        let wanted = "task 7, table orders: failed, 12 rows landed, 1 bad, 1.5 s; in all attempts \
                      112 rows landed, 3 bad";
        assert_eq!(all[0].text, wanted);
        assert_eq!(read(&mut Follower::new(home.path(), Position::new(), false)), []);
        let of = |from: &str, to: &str| {
            tables_between(home.path(), from.parse().unwrap(), to.parse().unwrap()).unwrap()
        };
        assert_eq!(of("2026-12-01T00:00:01.5Z", "2026-12-02T00:00:00Z"), [end]);
        assert_eq!(of("2026-12-01T00:00:00Z", "2026-12-01T00:00:01.5Z"), []);
    }
}
