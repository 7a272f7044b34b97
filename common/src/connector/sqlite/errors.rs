//! From SQLite's result codes to kinds of error. Messages are SQLite's own where it is known to
//! name only tables, columns and constraints.

use std::path::Path;

use rusqlite::{Error as Cause, ffi};

use crate::error::{Error, Kind};

/// The error for a failed call on the database in `file`.
pub fn failure(file: &Path, cause: Cause) -> Error {
    let (code, message) = match cause {
        Cause::SqliteFailure(e, message) => (e, message),
        Cause::SqlInputError { error, msg, .. } => (error, Some(msg)),
        Cause::MultipleStatement => {
            return Error::new(Kind::Database, "more than one statement in one piece of SQL")
                .hint("Write each statement as an entry of its own.");
        }
        Cause::InvalidParameterCount(given, wanted) => {
            let message = format!("{given} parameters given, {wanted} expected");
            return Error::new(Kind::Internal, message);
        }
        Cause::Utf8Error(..) => {
            return Error::new(Kind::Data, "a text value is not UTF-8");
        }
        Cause::NulError(_) => {
            return Error::new(Kind::Usage, "a zero byte in a statement or name");
        }
        _ => return Error::new(Kind::Internal, "unexpected failure of the SQLite library"),
    };
    let words = message.unwrap_or_else(|| ffi::code_to_str(code.extended_code).to_owned());
    let at = || format!("database file {}", file.display());
    match code.extended_code & 0xff {
        ffi::SQLITE_CONSTRAINT => constraint(code.extended_code, &words),
        ffi::SQLITE_TOOBIG => Error::new(Kind::Data, "a value or row is larger than SQLite takes"),
        ffi::SQLITE_MISMATCH => {
            Error::new(Kind::Data, "a value that is no integer, for an INTEGER PRIMARY KEY")
        }
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
            Error::new(Kind::Contention, "another connection is writing to the database")
                .detail(at())
        }
        ffi::SQLITE_FULL => Error::new(Kind::Full, "no room for the database to grow").detail(at()),
        ffi::SQLITE_NOMEM => Error::new(Kind::System, "SQLite is out of memory"),
        ffi::SQLITE_PERM | ffi::SQLITE_AUTH => Error::new(Kind::Privilege, words).detail(at()),
        ffi::SQLITE_READONLY => Error::new(Kind::Database, "the database cannot be written")
            .detail(at())
            .detail(words)
            .hint("The file and its directory must be writable by the account ssync runs as."),
        ffi::SQLITE_NOTADB => Error::new(Kind::Database, "the file is not an SQLite database")
            .detail(at())
            .hint("Check the link's path; encrypted databases are not supported."),
        ffi::SQLITE_CORRUPT => Error::new(Kind::Database, "the database file is damaged")
            .detail(at())
            .detail(words)
            .hint("Run PRAGMA integrity_check, and restore the file from a backup."),
        ffi::SQLITE_IOERR => {
            Error::new(Kind::Database, "the database file could not be read or written")
                .detail(at())
                .detail(format!("{words} (code {})", code.extended_code))
        }
        ffi::SQLITE_CANTOPEN => {
            Error::new(Kind::Database, "could not open the database file").detail(at())
        }
        // A misspelt name, in the configuration or in its SQL.
        _ if words.starts_with("no such ") || words.contains(" has no column named ") => {
            Error::new(Kind::Config, words).detail(at())
        }
        _ => Error::new(Kind::Database, words).detail(at()),
    }
}

/// The error of a failed COMMIT: after a failed write or sync of the log nobody knows whether a
/// later opening of the file finds the transaction complete.
pub fn commit_failure(file: &Path, cause: Cause) -> Error {
    let unknown =
        matches!(cause.sqlite_error(), Some(e) if e.extended_code & 0xff == ffi::SQLITE_IOERR);
    let error = failure(file, cause);
    if unknown { Error { kind: Kind::Lost, ..error } } else { error }
}

/// SQLite names the constraint's table and columns (`UNIQUE constraint failed: t.a, t.b`), never
/// a value; only a trigger's own message may hold one.
fn constraint(code: i32, words: &str) -> Error {
    let column = || {
        let named = words.split_once(": ")?.1;
        (!named.contains(", ")).then(|| named.split_once('.'))?.map(|(_, column)| column.to_owned())
    };
    let named = |error: Error| match column() {
        Some(column) => error.column(column),
        None => error,
    };
    match code {
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
            Error::new(Kind::Parent, "a row that a foreign key refers to is missing")
                .detail(words.to_owned())
        }
        ffi::SQLITE_CONSTRAINT_TRIGGER => Error::new(Kind::Data, "a trigger refused the row"),
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => {
            named(Error::new(Kind::Data, "duplicate key").detail(words.to_owned()))
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => named(
            Error::new(Kind::Data, "NULL where the column is NOT NULL").detail(words.to_owned()),
        ),
        ffi::SQLITE_CONSTRAINT_CHECK => {
            Error::new(Kind::Data, "a CHECK constraint refused the row").detail(words.to_owned())
        }
        ffi::SQLITE_CONSTRAINT_DATATYPE => {
            let error = Error::new(Kind::Data, "a value of another type than the column's");
            let column = words.rsplit_once('.').map(|(_, column)| column.to_owned());
            match column {
                Some(column) => error.column(column),
                None => error,
            }
            .detail(words.to_owned())
        }
        _ => Error::new(Kind::Data, "a constraint refused the row").detail(words.to_owned()),
    }
}
