//! Brings what waits in files into the configuration database.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::event::{Event, Notice, What, record};
use ssync_common::failpoint;
use ssync_common::process::RunId;
use ssync_common::store::{Entry, Store};
use ssync_worker::reminder;

use super::journal::totals;
use super::spool::{self, Group, Left, Reader};

/// Somebody else may be at a file for so long: an earlier daemon's child, say, whose database
/// answers again.
const DRAINING_MAX: Duration = Duration::from_secs(5);
/// Whoever tells what others have left holds a `flock` on this.
const TELLING: &str = "telling.lock";
/// A pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What dead processes have left for this database goes into it, oldest first. Then people are told
/// what those processes could not tell any more.
///
/// # Errors
/// When the database does not take it now. What it never will take is put aside, and people are
/// told; it holds up nothing.
pub fn drain_left(store: &mut Store) -> Result<()> {
    drain_files(store)?;
    tell_left(store)
}

fn drain_files(store: &mut Store) -> Result<()> {
    let home = store.home().path().to_path_buf();
    let mut found = Vec::new();
    for path in spool::files(&home)? {
        let Some(left) = take(&path)? else { continue };
        match left.reader() {
            Ok(reader) if reader.header.instance == store.instance_id() => {
                found.push((reader, left));
            }
            // Two databases may share a home.
            Ok(_) => {}
            Err(e) => {
                let aside = left.put_aside()?;
                tell(&home, &aside, 0, &e);
            }
        }
    }
    found.sort_by_key(|(reader, _)| reader.header.since);
    for (mut reader, left) in found {
        let task = reader.header.task;
        let entries = drain(store, &mut reader, u64::MAX)?;
        failpoint::hit("books.drained", u64::from(task));
        left.remove()?;
        log::info!(task = task; "{entries} records of a process that has ended are written down");
    }
    Ok(())
}

/// Tells the notices of processes that have died.
fn tell_left(store: &mut Store) -> Result<()> {
    let home = store.home().path().to_path_buf();
    let is_left = |notice: &Notice| notice.is_left(&home, Timestamp::now());
    if !store.notices()?.iter().any(is_left) {
        return Ok(());
    }
    // Each is told by one process: what it has told is found by the next, should it die here.
    let path = spool::make_dir(&home)?.join(TELLING);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let Ok(_alone) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(()) };
    for notice in store.notices()?.iter().filter(|notice| is_left(notice)) {
        let run = notice.run.filter(|_| notice.is_resumed);
        let run = run.map(|run| store.run(run)).transpose()?.flatten();
        reminder::tell(&home, notice, run.as_ref().map(totals), true);
        failpoint::hit("books.told", u64::from(notice.task));
        store.notice_told(notice.id)?;
    }
    Ok(())
}

/// What a dead process has left. One that somebody else is bringing in is waited for: who reads
/// the database next relies on it.
fn take(path: &Path) -> Result<Option<Left>> {
    let deadline = Instant::now() + DRAINING_MAX;
    loop {
        let left = Left::take(path)?;
        if left.is_some() || spool::writer_lives(path) || Instant::now() >= deadline {
            return Ok(left);
        }
        thread::sleep(LOOK);
    }
}

/// Brings the entries of one file in, as far as `upto` bytes; how many there were.
pub fn drain(store: &mut Store, reader: &mut Reader, upto: u64) -> Result<u64> {
    let home = store.home().path().to_path_buf();
    let (origin, task) = (reader.header.origin, reader.header.task);
    let mut entries = 0;
    while reader.pos() < upto {
        let Some(Group { entries: group, damaged }) = reader.group()? else { break };
        entries += group.len() as u64;
        match store.write_down(origin, &group, true) {
            Err(e) if is_final(&e) => one_by_one(store, origin, task, &group)?,
            done => done?,
        }
        for text in damaged {
            let error = Error::new(Kind::Config, "a line cannot be read");
            let value = serde_json::Value::String(text);
            let aside = spool::keep_refused(&home, origin, None, &value, &error.message)?;
            tell(&home, &aside, task, &error);
        }
        failpoint::hit("books.group", entries);
    }
    Ok(entries)
}

/// One of them is not taken: which?
fn one_by_one(store: &mut Store, origin: RunId, task: u32, entries: &[(u64, Entry)]) -> Result<()> {
    let home = store.home().path().to_path_buf();
    for one in entries {
        let Err(e) = store.write_down(origin, std::slice::from_ref(one), true) else { continue };
        if !is_final(&e) {
            return Err(e);
        }
        let value = serde_json::to_value(&one.1)
            .map_err(|e| Error::new(Kind::Internal, format!("an entry is no JSON: {e}")))?;
        // A database that takes nothing at all (read-only, say) does not take this either; then it
        // is not the entry that is at fault, and all of it waits.
        store.step_over(origin, one.0)?;
        let aside = spool::keep_refused(&home, origin, Some(one.0), &value, &e.message)?;
        tell(&home, &aside, task, &e);
    }
    Ok(())
}

/// Whether trying again later would be in vain, as far as the error tells.
fn is_final(e: &Error) -> bool {
    match e.kind {
        Kind::Connect
        | Kind::Login
        | Kind::Lost
        | Kind::Contention
        | Kind::Full
        | Kind::Privilege
        | Kind::Interrupted
        | Kind::Paused
        | Kind::System => false,
        Kind::Usage
        | Kind::Config
        | Kind::Data
        | Kind::Parent
        | Kind::Fenced
        | Kind::Refused
        | Kind::Locked
        | Kind::Balance
        | Kind::Database
        | Kind::Internal => true,
    }
}

fn tell(home: &Path, aside: &Path, task: u32, error: &Error) {
    let text = format!(
        "a record of a run could not be written to the configuration database and is kept in {}: \
         {error}",
        aside.display()
    );
    log::error!(task = task; "{text}");
    record(home, &Event::new(What::RecordsRefused, text).of_task(task));
}
