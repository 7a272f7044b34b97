//! From a link's URL to an open, pinned connection.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rusqlite::config::DbConfig;
use rusqlite::{Connection as Database, OpenFlags, ffi};

use super::super::{LinkParams, LockWait};
use super::errors;
use crate::bail;
use crate::error::{Error, Kind as ErrorKind, Result};

/// Statements kept prepared on one connection.
const STATEMENTS_KEPT: usize = 64;

/// Identifies the file, whatever path leads to it: by its inode and the moment in which that was
/// made, which stay where the file is renamed or moved within its file system, and belong to no
/// copy. The device is no part of it, since it may have another number after a restart of the host;
/// it takes the moment's place where the file system does not know that.
pub(super) fn identity(file: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::metadata(file) else {
        // Gone, or never one: the path is all there is.
        return format!("sqlite {}", file.display());
    };
    let born = found.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    match born {
        Some(born) => format!("sqlite inode {} of {}", found.ino(), born.as_nanos()),
        None => format!("sqlite inode {} on device {}", found.ino(), found.dev()),
    }
}

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
pub struct Location {
    /// The database file.
    pub file: PathBuf,
    /// Make the file when it is not there.
    pub create: bool,
}

impl Location {
    /// Reads `sqlite:///absolute/path.db` or `sqlite:relative/path.db`, either with
    /// `?create=true`; `%20` and the like stand for bytes of the path.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::new(ErrorKind::Config, format!("cannot use {url}: {what}"))
                .hint("Write sqlite:///absolute/path.db or sqlite:relative/path.db.")
        };
        let rest = url.strip_prefix("sqlite:").ok_or_else(|| wrong("it is not an sqlite URL"))?;
        let (path, options) = match rest.split_once('?') {
            Some((path, options)) => (path, Some(options)),
            None => (rest, None),
        };
        let path = match path.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(wrong("SQLite files are not on other hosts")),
            None => path,
        };
        let create = match options {
            None | Some("" | "create=false") => false,
            Some("create=true") => true,
            Some(_) => return Err(wrong("the only option is create=true")),
        };
        let bytes =
            percent_decoded(path).ok_or_else(|| wrong("a % is not followed by two hex digits"))?;
        if bytes.is_empty() || bytes.ends_with(b"/") {
            return Err(wrong("it names no file"));
        }
        if bytes.contains(&0) {
            return Err(wrong("a path holds no zero byte"));
        }
        if bytes == b":memory:" {
            return Err(wrong("a database in memory cannot be shared by processes"));
        }
        Ok(Location { file: PathBuf::from(OsString::from_vec(bytes)), create })
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let hex = |d: u8| char::from(d).to_digit(16);
            out.push((hex(digits[0])? * 16 + hex(digits[1])?) as u8);
        } else {
            out.push(b);
        }
    }
    Some(out)
}

/// Opens the database, and its path without links and relative parts.
pub fn open(link: &LinkParams) -> Result<(Database, PathBuf)> {
    let location = Location::parse(&link.url)?;
    if link.password.is_some() {
        bail!(ErrorKind::Config, "link {}: SQLite has no passwords", link.name);
    }
    let file = existing_file(&link.name, &location)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let failed = |e| errors::failure(&file, e).context(format!("link {}", link.name));
    let db = Database::open_with_flags(&file, flags).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    db.busy_timeout(wait_of(LockWait::Patient)).map_err(failed)?;
    pin(&db, &file).map_err(|e| e.context(format!("link {}", link.name)))?;
    Ok((db, file))
}

/// How long SQLite tries again when another connection is writing.
pub fn wait_of(wait: LockWait) -> Duration {
    match wait {
        LockWait::Short => Duration::from_secs(1),
        LockWait::Brief => Duration::from_secs(5),
        LockWait::Patient | LockWait::Definition | LockWait::Operator => Duration::from_secs(60),
    }
}

fn existing_file(link: &str, location: &Location) -> Result<PathBuf> {
    let shown = location.file.display();
    if location.create {
        // SQLite gives its log files the mode of the database file.
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&location.file)
            .and_then(|f| f.sync_all());
        match made {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(
                    Error::from(e).context(format!("link {link}: could not create {shown}"))
                );
            }
        }
    }
    match std::fs::metadata(&location.file) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => bail!(ErrorKind::Config, "link {link}: {shown} is not a file"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(ErrorKind::Config, format!("link {link}: there is no file {shown}"))
                .hint("Check the path; with ?create=true at the end of the URL an empty database is made."));
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            bail!(ErrorKind::Privilege, "link {link}: {shown} may not be opened")
        }
        Err(e) => {
            return Err(Error::from(e).context(format!("link {link}: could not open {shown}")));
        }
    }
    // An absolute path is also one that SQLite never takes for a `file:` URI.
    std::fs::canonicalize(&location.file)
        .map_err(|e| Error::from(e).context(format!("link {link}: could not open {shown}")))
}

/// Sets what the rules of `CORRECTNESS` rest on, and reads it back.
fn pin(db: &Database, file: &Path) -> Result<()> {
    let failed = |e| errors::failure(file, e);
    // A misspelt column in quotes is an error, not a string.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).map_err(failed)?;
    let mode = journal_mode(db).map_err(|e| {
        let e = failed(e);
        if e.kind == ErrorKind::Contention { e } else { e.hint(WAL_HINT) }
    })?;
    if mode != "wal" {
        return Err(Error::new(
            ErrorKind::Database,
            "cannot switch the database to write-ahead logging",
        )
        .detail(format!("database file {}", file.display()))
        .detail(format!("its journal mode stays {mode}"))
        .hint(WAL_HINT));
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    let number =
        |name: &str| db.pragma_query_value(None, name, |r| r.get::<_, i64>(0)).map_err(failed);
    if number("synchronous")? != 2 || number("foreign_keys")? != 1 {
        bail!(
            ErrorKind::Database,
            "this SQLite library does not take synchronous=FULL or foreign_keys=ON"
        );
    }
    let encoding: String = db.pragma_query_value(None, "encoding", |r| r.get(0)).map_err(failed)?;
    if encoding != "UTF-8" {
        return Err(Error::new(ErrorKind::Refused, format!("the database's text is {encoding}"))
            .detail(format!("database file {}", file.display()))
            .hint("SQLite would convert such text without saying what does not convert. Copy the database into one whose encoding is UTF-8."));
    }
    Ok(())
}

const WAL_HINT: &str = "ssync needs the write-ahead log, so that readers and writers do not wait for \
    each other: the file and its directory must be writable, and on a local file system.";

/// The journal mode after asking for the log. While another connection holds the file, or is
/// switching it too, SQLite may report that without having waited.
fn journal_mode(db: &Database) -> rusqlite::Result<String> {
    let deadline = Instant::now() + wait_of(LockWait::Patient);
    loop {
        let set =
            db.pragma_update_and_check(None, "journal_mode", "wal", |r| r.get::<_, String>(0));
        match set {
            Err(e) if is_busy(&e) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

fn is_busy(e: &rusqlite::Error) -> bool {
    e.sqlite_error().is_some_and(|e| e.extended_code & 0xff == ffi::SQLITE_BUSY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls_name_files() {
        for (url, file, create) in [
            ("sqlite:///var/lib/a.db", "/var/lib/a.db", false),
            ("sqlite:a.db", "a.db", false),
            ("sqlite:/a.db?create=true", "/a.db", true),
            ("sqlite:///a%20b%3F%23.db", "/a b?#.db", false),
            ("sqlite:file:a.db", "file:a.db", false),
            ("sqlite:sub/%C3%A9.db?create=false", "sub/é.db", false),
        ] {
            let expected = Location { file: file.into(), create };
            assert_eq!(Location::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for url in [
            "sqlite:",
            "sqlite://",
            "sqlite:///",
            "sqlite://data/a.db",
            "sqlite::memory:",
            "sqlite:a%0.db",
            "sqlite:a%zz",
            "sqlite:a%00b",
            "sqlite:a.db?mode=ro",
            "mysql://h/d",
            "sqlite:dir/",
        ] {
            assert_eq!(Location::parse(url).unwrap_err().kind, ErrorKind::Config, "{url}");
        }
    }
}
