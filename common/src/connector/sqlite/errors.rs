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
        ffi::SQLITE_FULL => Error::new(
            Kind::Full,
            format!("no room for {} to grow: its disk is full", file.display()),
        )
        .detail("the transaction was rolled back; what was committed before is kept")
        .hint(format!(
            "Make room on its file system (df -h {}), then run again: what has landed is not \
                     sent a second time.",
            file.parent().unwrap_or(file).display()
        )),
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
    // The message alone is what is recorded of a bad row.
    let said = |what: &str| match words.split_once(": ") {
        Some((_, named)) => format!("{named}: {what}"),
        None => what.to_owned(),
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
            let what = said("another row has the same values of a unique key");
            named(Error::new(Kind::Data, what).detail(words.to_owned()))
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => named(
            Error::new(Kind::Data, "NULL where the column is NOT NULL").detail(words.to_owned()),
        ),
        ffi::SQLITE_CONSTRAINT_CHECK => {
            let what = said("a check constraint refused the row");
            Error::new(Kind::Data, what).detail(words.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(code: i32, words: &str) -> Cause {
        Cause::SqliteFailure(ffi::Error::new(code), Some(words.to_owned()))
    }

    #[test]
    fn only_what_is_a_rows_fault_is_blamed_on_a_row() {
        let file = Path::new("/data/a.db");
        for (code, kind) in [
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_CHECK, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_DATATYPE, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, Kind::Parent),
            (ffi::SQLITE_TOOBIG, Kind::Data),
            (ffi::SQLITE_MISMATCH, Kind::Data),
            (ffi::SQLITE_BUSY, Kind::Contention),
            (ffi::SQLITE_BUSY_SNAPSHOT, Kind::Contention),
            (ffi::SQLITE_LOCKED, Kind::Contention),
            (ffi::SQLITE_FULL, Kind::Full),
            (ffi::SQLITE_IOERR_WRITE, Kind::Database),
            (ffi::SQLITE_IOERR_FSYNC, Kind::Database),
            (ffi::SQLITE_CORRUPT, Kind::Database),
            (ffi::SQLITE_NOTADB, Kind::Database),
            (ffi::SQLITE_READONLY, Kind::Database),
            (ffi::SQLITE_READONLY_DBMOVED, Kind::Database),
            (ffi::SQLITE_CANTOPEN, Kind::Database),
            (ffi::SQLITE_PERM, Kind::Privilege),
            (ffi::SQLITE_NOMEM, Kind::System),
            (ffi::SQLITE_ERROR, Kind::Database),
        ] {
            let error = failure(file, cause(code, "words"));
            assert_eq!(error.kind, kind, "{code}: {error:?}");
            let mut texts = error.details.iter().chain([&error.message]);
            let names_file = texts.any(|text| text.contains("/data/a.db"));
            let about_file = matches!(kind, Kind::Database | Kind::Full | Kind::Contention);
            assert!(names_file || !about_file, "{error:?}");
        }
    }

    #[test]
    fn a_full_disk_says_where_what_is_kept_and_what_to_do() {
        let error = failure(Path::new("/data/a.db"), cause(ffi::SQLITE_FULL, "words"));
        assert_eq!(error.message, "no room for /data/a.db to grow: its disk is full");
        assert!(error.details[0].contains("what was committed before is kept"), "{error:?}");
        assert!(error.hint.unwrap_or_default().contains("df -h /data"));
    }

    #[test]
    fn a_commit_that_failed_in_writing_is_unknown() {
        let file = Path::new("/data/a.db");
        let kind = |code| commit_failure(file, cause(code, "words")).kind;
        assert_eq!(kind(ffi::SQLITE_IOERR_FSYNC), Kind::Lost);
        assert_eq!(kind(ffi::SQLITE_IOERR_WRITE), Kind::Lost);
        assert_eq!(kind(ffi::SQLITE_FULL), Kind::Full);
        assert_eq!(kind(ffi::SQLITE_CONSTRAINT_FOREIGNKEY), Kind::Parent);
    }

    #[test]
    fn the_column_at_fault_is_named_where_there_is_just_one() {
        let column = |code, words| failure(Path::new("a.db"), cause(code, words)).column;
        let unique = ffi::SQLITE_CONSTRAINT_UNIQUE;
        assert_eq!(column(unique, "UNIQUE constraint failed: t.a").as_deref(), Some("a"));
        assert_eq!(column(unique, "UNIQUE constraint failed: t.a, t.b"), None);
        assert_eq!(column(unique, "UNIQUE constraint failed: index 'i'"), None);
        let words = "cannot store TEXT value in INTEGER column t.n";
        assert_eq!(column(ffi::SQLITE_CONSTRAINT_DATATYPE, words).as_deref(), Some("n"));
        assert_eq!(column(ffi::SQLITE_CONSTRAINT_CHECK, "CHECK constraint failed: a.b > 5"), None);
        let e = failure(Path::new("a.db"), cause(unique, "UNIQUE constraint failed: t.a, t.b"));
        assert_eq!(e.message, "t.a, t.b: another row has the same values of a unique key");
    }

    #[test]
    fn a_triggers_own_words_may_hold_a_value_and_are_left_out() {
        let e = failure(Path::new("a.db"), cause(ffi::SQLITE_CONSTRAINT_TRIGGER, "no S3CRET"));
        assert!(!format!("{e:?}").contains("S3CRET"));
    }
}
