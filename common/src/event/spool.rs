//! Files of the day, to which many processes append whole lines.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::dir;
use crate::error::{Error, Kind, Result};

/// First part of the names of files with events.
pub const EVENTS: &str = "events";
/// First part of the names of the reminder log's files.
pub const REMINDER: &str = "reminder";
/// What the names end with.
const SUFFIX: &str = ".jsonl";
/// Bytes that a file of one day may have. What comes after that is only logged: a task that fails
/// a hundred times a second must not fill the disk of those that do not.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A line that was written, and that a power failure may still take.
#[derive(Debug)]
#[must_use]
pub struct Written {
    file: File,
    /// Directories whose list of names has changed.
    dirs: Vec<PathBuf>,
}

impl Written {
    /// Waits until it is on the disk; a failure is logged.
    pub fn reach_disk(self) {
        let reached = self
            .file
            .sync_data()
            .and_then(|()| self.dirs.iter().try_for_each(|dir| File::open(dir)?.sync_all()));
        if let Err(e) = reached {
            log::error!("an event may not outlive a power failure: {e}");
        }
    }
}

/// Appends a line; `None` when that failed, which is logged.
pub fn append(home: &Path, stem: &str, at: Timestamp, line: &impl Serialize) -> Option<Written> {
    try_append(home, stem, at, line, FILE_BYTES_MAX)
        .inspect_err(|e| log::error!("could not record in {}: {e}", dir(home).display()))
        .ok()
}

fn try_append(
    home: &Path,
    stem: &str,
    at: Timestamp,
    line: &impl Serialize,
    bytes_max: u64,
) -> Result<Written> {
    let mut bytes = serde_json::to_vec(line)
        .map_err(|e| Error::new(Kind::Internal, format!("an event is no JSON: {e}")))?;
    bytes.push(b'\n');
    let path = path(home, stem, day(at));
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let mut dirs = Vec::new();
    if !path.exists() {
        dirs.push(dir(home));
    }
    let mut file = match open() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir(home))?;
            dirs.push(home.to_path_buf());
            open()?
        }
        other => other?,
    };
    if file.metadata()?.len() + bytes.len() as u64 > bytes_max {
        crate::bail!(Kind::Full, "{} is full: {bytes_max} bytes", path.display());
    }
    // One write to a file opened for appending: the kernel puts it behind everything else, whole.
    // It falls in two only when the disk is full; readers step over a line of which the end is
    // missing.
    match file.write(&bytes)? {
        n if n == bytes.len() => Ok(Written { file, dirs }),
        n => Err(Error::new(Kind::Full, format!("only {n} of {} bytes were written", bytes.len()))),
    }
}

/// The day of a moment, by UTC: it never has a gap or a repetition.
pub fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

pub fn path(home: &Path, stem: &str, day: Date) -> PathBuf {
    dir(home).join(format!("{stem}-{}{SUFFIX}", day.strftime("%Y-%m-%d")))
}

/// A file of one day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayFile {
    /// Its day.
    pub day: Date,
    /// Its name, without the directory.
    pub name: String,
}

/// The files of these kinds, oldest first; none when there is no directory yet.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(home: &Path, stems: &[&str]) -> Result<Vec<DayFile>> {
    let entries = match std::fs::read_dir(dir(home)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if let Some(day) = stems.iter().find_map(|stem| day_of(&name, stem)) {
            found.push(DayFile { day, name });
        }
    }
    found.sort();
    Ok(found)
}

fn day_of(name: &str, stem: &str) -> Option<Date> {
    let day = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(SUFFIX)?;
    day.parse().ok()
}

/// See [`super::prune`].
pub fn prune(home: &Path, before: Timestamp, bytes_max: u64) -> Result<usize> {
    let (oldest, today) = (day(before), day(Timestamp::now()));
    let mut kept = Vec::new();
    let mut removed = 0;
    for file in files(home, &[EVENTS, REMINDER])? {
        let path = dir(home).join(&file.name);
        if file.day < oldest {
            std::fs::remove_file(&path)?;
            removed += 1;
        } else {
            kept.push((file.day, std::fs::metadata(&path)?.len(), path));
        }
    }
    let mut bytes: u64 = kept.iter().map(|(_, len, _)| len).sum();
    for (day, len, path) in kept {
        if bytes <= bytes_max || day >= today {
            break;
        }
        std::fs::remove_file(&path)?;
        (bytes, removed) = (bytes - len, removed + 1);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, What};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_that_is_full_takes_no_more() {
        let home = tempfile::tempdir().unwrap();
        let now = at("2026-12-01T12:00:00Z");
        let event = Event::new(What::TaskFailed, "x".repeat(500));
        let put = || try_append(home.path(), EVENTS, now, &event, 1500);
        assert!(put().is_ok() && put().is_ok());
        assert_eq!(put().unwrap_err().kind, Kind::Full);
        let text = std::fs::read_to_string(path(home.path(), EVENTS, day(now))).unwrap();
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn old_days_go_and_then_the_oldest_until_the_rest_is_small_enough() {
        let home = tempfile::tempdir().unwrap();
        let event = Event::new(What::TaskFailed, "x".repeat(500));
        let days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"];
        for day in days {
            let at = at(&format!("{day}T12:00:00Z"));
            try_append(home.path(), EVENTS, at, &event, u64::MAX).unwrap().reach_disk();
        }
        let left = || files(home.path(), &[EVENTS]).unwrap().len();
        assert_eq!(prune(home.path(), at("2026-01-02T00:00:00Z"), u64::MAX).unwrap(), 1);
        assert_eq!(left(), 3);
        assert_eq!(prune(home.path(), at("2026-01-02T00:00:00Z"), 1500).unwrap(), 1);
        assert_eq!(left(), 2);
        // Today's file is being written to, whatever its size.
        try_append(home.path(), EVENTS, Timestamp::now(), &event, u64::MAX).unwrap().reach_disk();
        assert_eq!(prune(home.path(), at("2026-01-02T00:00:00Z"), 0).unwrap(), 2);
        assert_eq!(left(), 1);
    }
}
