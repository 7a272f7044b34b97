//! From what the server or the driver says to [`Error`].
//!
//! Server messages about data quote the offending value (`Duplicate entry 'x' for key …`), so
//! they are never passed on: the code decides the words, and only the names of columns and keys
//! are taken out of the message.

use mysql::{DriverError, Error as DriverFailure, MySqlError};

use crate::error::{Error, Kind};

const UNIQUE: &str = "another row has the same values of a unique key";

/// The server's "any error of yours is the data's fault" codes: what each says, in our words.
/// Everything that is not listed here is never blamed on a row.
const DATA_FAULTS: &[(u16, &str)] = &[
    (1022, UNIQUE),
    (1048, "the column may not be NULL"),
    (1062, UNIQUE),
    (1118, "the row is too large for the storage engine"),
    (1169, UNIQUE),
    (1217, "other rows refer to the row that would be deleted"),
    (1263, "the column may not be NULL"),
    (1264, "the value is out of the column's range"),
    (1265, "the value would be cut or rounded"),
    (1292, "the value is not valid for the column's type"),
    (1300, "the text is not valid in the column's character set"),
    (1366, "the value is not valid for the column's type"),
    (1367, "the value is not valid for the column's type"),
    (1406, "the value is too long"),
    (1411, "the value is not valid for the column's type"),
    (1416, "the value is not a valid geometry"),
    (1441, "the value is out of the column's range"),
    (1451, "other rows refer to the row that would be deleted"),
    (1525, "the value is not valid for the column's type"),
    (1526, "the table has no partition for the row"),
    (1557, "other rows refer to a row that would change"),
    (1586, UNIQUE),
    (1644, "a trigger refused the row"),
    (1690, "the value is out of the column's range"),
    (1713, "the row is too large for the storage engine"),
    (1748, "the table has no partition for the row"),
    (1859, UNIQUE),
    (1906, "the column is generated and cannot be written"),
    (1977, "the text is not valid in the column's character set"),
    (3037, "the value is not a valid geometry"),
    (3105, "the column is generated and cannot be written"),
    (3140, "the value is not valid JSON"),
    (3141, "the value is not valid JSON"),
    (3643, "the geometry's reference system is not the column's"),
    (3819, "a check constraint refused the row"),
    (3854, "the text is not valid in the column's character set"),
    (4025, "a check constraint refused the row"),
];

/// A foreign key's parent row is missing.
const PARENT_MISSING: &[u16] = &[1216, 1452];
/// Deadlock, lock wait timeout, NOWAIT, a snapshot overtaken.
const CONTENTION: &[u16] = &[1020, 1205, 1213, 1412, 1614, 3572];
/// Disk or table space full.
const FULL: &[u16] = &[1021, 1114];
/// The account may not.
const PRIVILEGE: &[u16] = &[1044, 1095, 1131, 1132, 1141, 1142, 1143, 1227, 1370, 1419];
/// The same, of a statement on a table, or on a column of it.
const COMMAND_DENIED: &[u16] = &[1142, 1143];
/// The server, or a proxy in front of it, takes no connection at the moment.
const CONNECT: &[u16] = &[1040, 1047, 1135, 1203, 1226, 2002, 2003, 3032, 9001];
/// Wrong credentials, or another account than was meant.
const ACCESS_DENIED: u16 = 1045;
/// The login was refused: wrong credentials, an account that is locked or has expired, a host that
/// is blocked or may not connect.
const LOGIN: &[u16] =
    &[ACCESS_DENIED, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 3118, 3955, 4151];
/// The server is ending this session, or has ended it. An interrupted statement (1317) counts:
/// the session may be on its way out too.
const LOST: &[u16] = &[
    1053, 1079, 1152, 1153, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 2006, 2013, 4031,
];
/// Something named does not exist.
const MISSING: &[u16] = &[1049, 1051, 1054, 1072, 1146, 1305];

/// What the server's code means.
pub(super) fn kind_of(code: u16) -> Kind {
    if DATA_FAULTS.iter().any(|(c, _)| *c == code) {
        return Kind::Data;
    }
    for (codes, kind) in [
        (PARENT_MISSING, Kind::Parent),
        (CONTENTION, Kind::Contention),
        (FULL, Kind::Full),
        (PRIVILEGE, Kind::Privilege),
        (CONNECT, Kind::Connect),
        (LOGIN, Kind::Login),
        (LOST, Kind::Lost),
        (MISSING, Kind::Config),
    ] {
        if codes.contains(&code) {
            return kind;
        }
    }
    Kind::Database
}

/// An error that the server reported.
pub(super) fn from_server(e: &MySqlError) -> Error {
    reported(e.code, &e.state, &e.message)
}

/// A warning that must not pass: the server changed a value and went on.
pub(super) fn from_warning(code: u16, message: &str) -> Error {
    let mut error = reported(code, "", message);
    // What is not known to be the data's fault is not blamed on a row.
    if !error.kind.is_row_fault() {
        error.kind = Kind::Database;
    }
    error.hint(
        "The server stored the row with a warning only; ssync lets nothing pass that is not \
         stored exactly as it was read.",
    )
}

fn reported(code: u16, state: &str, message: &str) -> Error {
    let kind = match kind_of(code) {
        // The engine's own error, wrapped: ENOSPC is what matters.
        Kind::Database if message.contains("Got error 28 ") || message.contains("rrcode: 28 ") => {
            Kind::Full
        }
        kind => kind,
    };
    let state = if state.is_empty() { String::new() } else { format!(" ({state})") };
    let code_fact = format!("server error {code}{state}");
    match kind {
        Kind::Data => {
            let words = DATA_FAULTS.iter().find(|(c, _)| *c == code).map_or("", |(_, w)| *w);
            if let Some(column) = column_in(code, message) {
                let error = Error::new(kind, format!("column {column}: {words}"));
                return error.detail(code_fact).column(column);
            }
            let named = after_last(message, " for key ")
                .map(|key| format!("key {key}: {words}"))
                .or_else(|| Some(format!("constraint {}: {words}", constraint_in(message)?)));
            Error::new(kind, named.unwrap_or_else(|| words.to_owned())).detail(code_fact)
        }
        Kind::Parent => {
            let words = "the row's parent is missing";
            let words = match constraint_in(message) {
                Some(name) => format!("constraint {name}: {words}"),
                None => words.to_owned(),
            };
            let mut error = Error::new(kind, words).detail(code_fact);
            if let Some(column) = foreign_key_column(message) {
                error = error.column(column);
            }
            error
        }
        Kind::Lost => Error::new(kind, "the server ended the connection").detail(code_fact),
        Kind::Privilege if COMMAND_DENIED.contains(&code) => {
            Error::new(kind, decapitalised(message)).detail(code_fact).hint(
                "ssync check names every privilege that the accounts of a task lack, and what an \
                 administrator has to run.",
            )
        }
        _ => Error::new(kind, decapitalised(message)).detail(code_fact),
    }
}

/// Any failure of the driver on a connection that was established.
pub(super) fn from_driver(e: &DriverFailure) -> Error {
    match e {
        DriverFailure::MySqlError(e) => from_server(e),
        DriverFailure::IoError(e) => match e.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                Error::new(Kind::Lost, "the server did not answer in time").hint(
                    "A longer io_timeout_secs of the link lets slow statements finish; or look \
                     for what keeps the server busy.",
                )
            }
            _ => Error::new(Kind::Lost, format!("the connection broke: {e}")),
        },
        DriverFailure::DriverError(e) => match e {
            DriverError::MismatchedStmtParams(..) | DriverError::MixedParams => {
                Error::new(Kind::Internal, decapitalised(&e.to_string()))
            }
            // These do not touch the wire, yet what state they leave the driver in is its secret.
            _ => Error::new(Kind::Lost, format!("the connection broke: {e}")),
        },
        DriverFailure::CodecError(e) => {
            Error::new(Kind::Lost, format!("the connection broke: {e}"))
        }
        DriverFailure::TlsError(e) => Error::new(Kind::Lost, format!("the connection broke: {e}")),
        DriverFailure::UrlError(_) => Error::new(Kind::Internal, "the driver refused its options"),
        // These two hold row values: say nothing of them.
        DriverFailure::FromValueError(_) | DriverFailure::FromRowError(_) => {
            Error::new(Kind::Internal, "a result has another type than expected")
        }
    }
}

/// A failure to open a connection.
pub(super) fn from_open(e: &DriverFailure) -> Error {
    match e {
        DriverFailure::MySqlError(e) => {
            let error = from_server(e);
            if e.code == ACCESS_DENIED {
                return error.hint(
                    "Check the link's user and password. On the server's own host an account \
                     ''@'localhost' without a name goes before 'user'@'%': drop it, or create \
                     'user'@'localhost'.",
                );
            }
            match error.kind {
                // The database named in the URL: to the user, a matter of configuration.
                Kind::Config | Kind::Connect | Kind::Login => error,
                Kind::Privilege => Error { kind: Kind::Login, ..error },
                // SQLSTATE class 28: invalid authorization, whatever the number.
                Kind::Database if e.state.starts_with("28") => Error { kind: Kind::Login, ..error },
                Kind::Lost | Kind::Database => Error { kind: Kind::Connect, ..error },
                _ => error,
            }
        }
        DriverFailure::DriverError(DriverError::TlsNotSupported) => {
            Error::new(Kind::Connect, "the server offers no TLS")
                .hint("Set tls = \"off\" for this link, or set up TLS at the server.")
        }
        DriverFailure::DriverError(DriverError::ConnectTimeout) => {
            Error::new(Kind::Connect, "the server did not answer in time")
        }
        DriverFailure::DriverError(DriverError::CouldNotConnect(Some((address, why, _)))) => {
            Error::new(Kind::Connect, format!("{address}: {}", decapitalised(why)))
        }
        DriverFailure::TlsError(e) => {
            Error::new(Kind::Connect, "TLS could not be agreed on").detail(e.to_string())
        }
        DriverFailure::IoError(e) => Error::new(Kind::Connect, decapitalised(&e.to_string())),
        other => Error { kind: Kind::Connect, ..from_driver(other) },
    }
}

/// The column a data error names. The value may stand in front of it and contain anything, so the
/// last mention counts, and only in messages that are known to end with it.
fn column_in(code: u16, message: &str) -> Option<String> {
    let ends_with_row = message
        .rsplit_once(" at row ")
        .is_some_and(|(_, row)| !row.is_empty() && row.bytes().all(|b| b.is_ascii_digit()));
    let tail = match code {
        1048 => message.strip_prefix("Column ")?,
        3140 => after_last_raw(message, "or column ")?,
        _ if ends_with_row => after_last_raw(message, "or column ")?,
        _ => return None,
    };
    let name = first_name(tail)?;
    // MySQL's JSON errors say 'table.column'.
    Some(if code == 3140 { name.rsplit('.').next().unwrap_or(&name).to_owned() } else { name })
}

fn constraint_in(message: &str) -> Option<String> {
    let tail = after_last_raw(message, "CONSTRAINT ")
        .or_else(|| after_last_raw(message, "heck constraint "))?;
    first_name(tail)
}

fn foreign_key_column(message: &str) -> Option<String> {
    let tail = after_last_raw(message, "FOREIGN KEY (")?;
    let end = tail.find(')')?;
    // Of a composite key no single column is at fault.
    (!tail[..end].contains(',')).then(|| first_name(tail))?
}

/// What is quoted after the last `mark`, up to the end of the message.
fn after_last(message: &str, mark: &str) -> Option<String> {
    first_name(after_last_raw(message, mark)?)
}

fn after_last_raw<'m>(message: &'m str, mark: &str) -> Option<&'m str> {
    message.rfind(mark).map(|at| &message[at + mark.len()..])
}

/// The name at the start of `text`: `'c'`, `` `db`.`t`.`c` `` (the last part), doubled backticks
/// undone. Names in single quotes are not escaped by the server, so they end at the last quote
/// before the text that the server's messages put behind them.
fn first_name(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('\'') {
        let end = [" at row ", " cannot be null", " is violated", " in value", "."]
            .iter()
            .filter_map(|tail| rest.find(&format!("'{tail}")))
            .min()
            .or_else(|| rest.rfind('\''))?;
        return Some(rest[..end].to_owned());
    }
    let mut name = None;
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('`') {
        let mut part = String::new();
        let mut chars = inner.char_indices().peekable();
        let mut end = inner.len();
        while let Some((i, c)) = chars.next() {
            if c == '`' {
                if matches!(chars.peek(), Some((_, '`'))) {
                    chars.next();
                } else {
                    end = i + 1;
                    break;
                }
            }
            part.push(c);
        }
        name = Some(part);
        rest = inner[end..].strip_prefix('.').unwrap_or("");
    }
    name
}

fn decapitalised(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut chars = message.chars();
    match chars.next() {
        // A word in capitals stays as it is.
        Some(c) if !chars.as_str().starts_with(|c: char| c.is_ascii_uppercase()) => {
            c.to_lowercase().chain(chars).collect()
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, message: &str) -> Error {
        reported(code, "22001", message)
    }

    #[test]
    fn columns_are_found_and_values_are_not_shown() {
        for (code, message, column) in [
            (1406, "Data too long for column 'a b' at row 1", "a b"),
            (1264, "Out of range value for column 'c' at row 17", "c"),
            (1048, "Column 'it's' cannot be null", "it's"),
            (1366, "Incorrect integer value: 'SECRET' for column `d`.`t`.`c``x` at row 1", "c`x"),
            (1366, "Incorrect integer value: 'SECRET for column 'z'' for column 'c' at row 1", "c"),
            (1292, "Incorrect datetime value: 'SECRET' for column 'when' at row 1", "when"),
            (
                3140,
                "Invalid JSON text: \"Missing comma\" at position 3 in value for column 't.j'.",
                "j",
            ),
        ] {
            let e = error(code, message);
            assert_eq!(e.kind, Kind::Data, "{message}");
            assert_eq!(e.column.as_deref(), Some(column), "{message}");
            assert!(!format!("{e:?}").contains("SECRET"), "{e:?}");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_name_stays_unsaid() {
        let e = error(1292, "Truncated incorrect DOUBLE value: 'x for column 'SECRET''");
        assert_eq!(e.column, None);
        assert!(!format!("{e:?}").contains("SECRET"));
    }

    #[test]
    fn keys_and_constraints_are_named() {
        let e = error(1062, "Duplicate entry 'SECRET for key 'x'' for key 'PRIMARY'");
        assert_eq!(e.message, "key PRIMARY: another row has the same values of a unique key");
        assert!(!format!("{e:?}").contains("SECRET"));
        let e = error(
            1452,
            "Cannot add or update a child row: a foreign key constraint fails (`d`.`c`, \
             CONSTRAINT `fk_1` FOREIGN KEY (`p`) REFERENCES `par` (`id`))",
        );
        assert_eq!(e.kind, Kind::Parent);
        assert_eq!(e.column.as_deref(), Some("p"));
        assert_eq!(e.message, "constraint fk_1: the row's parent is missing");
    }

    #[test]
    fn a_full_disk_is_never_the_rows_fault() {
        for message in [
            "Got error 28 \"No space left on device\" from storage engine InnoDB",
            "Error writing file './t.MYD' (Errcode: 28 \"No space left on device\")",
        ] {
            assert_eq!(error(1030, message).kind, Kind::Full);
        }
        assert_eq!(error(1114, "The table 't' is full").kind, Kind::Full);
        assert_eq!(error(1290, "running with the --read-only option").kind, Kind::Database);
    }

    #[test]
    fn only_a_warning_that_is_known_is_blamed_on_a_row() {
        let e = from_warning(1265, "Data truncated for column 'd' at row 3");
        assert_eq!((e.kind, e.column.as_deref()), (Kind::Data, Some("d")));
        assert_eq!(from_warning(9999, "something new").kind, Kind::Database);
    }
}
