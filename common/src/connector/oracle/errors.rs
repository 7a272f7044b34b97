//! From the server's and the drivers' words to [`Error`]: one table for both drivers.
//!
//! Oracle's messages seldom quote values (`ORA-06502` and user-defined ones may), but names of
//! tables, columns and constraints: those are taken out, and what blames a row is said in our own
//! words.

use super::driver::{Failure, State};
use crate::error::{Error, Kind};

const UNIQUE: &str = "another row has the same values of a unique key";

/// What blames a row, and only that: each with our words.
const DATA_FAULTS: &[(u32, &str)] = &[
    (1, UNIQUE),
    (1400, "the column may not be NULL"),
    (1401, "the value is too long"),
    (1407, "the column may not be NULL"),
    (1426, "the value is out of the column's range"),
    (1438, "the value is out of the column's range"),
    (1450, "the key is longer than an index holds"),
    (1461, "the value is too long"),
    (1465, "the value is not valid for the column's type"),
    (1489, "the value is too long"),
    (1722, "the value is not valid for the column's type"),
    (1727, "the value is out of the column's range"),
    (1830, "the value is not a date or time"),
    (1839, "the value is not a date or time"),
    (1840, "the value is not a date or time"),
    (1841, "the value is not a date or time"),
    (1843, "the value is not a date or time"),
    (1847, "the value is not a date or time"),
    (1849, "the value is not a date or time"),
    (1850, "the value is not a date or time"),
    (1851, "the value is not a date or time"),
    (1852, "the value is not a date or time"),
    (1858, "the value is not a date or time"),
    (1861, "the value is not a date or time"),
    (1867, "the value is not an interval"),
    (1873, "the value is out of the column's range"),
    (1882, "the value's time zone is not known to the server"),
    (2290, "a check constraint refused the row"),
    (2292, "other rows refer to the row that would be deleted"),
    (2359, "the value is not valid for the column's type"),
    (12704, "the text is not valid in the column's character set"),
    (12713, "the text has characters that the column's character set lacks"),
    (12899, "the value is too long"),
    (14400, "the table has no partition for the row"),
    (14402, "the row would move to another partition"),
    (17072, "the value is too long"),
    (22835, "the value is too long"),
    (29275, "the text is not valid in the column's character set"),
    (30926, "the key is not one row's alone"),
    (32795, "the column is generated and cannot be written"),
    (40441, "the value is not valid JSON"),
    (54013, "the column is generated and cannot be written"),
];

/// A foreign key's parent row is missing.
const PARENT_MISSING: &[u32] = &[2291];
/// Deadlock, lock wait over, a snapshot that is too old, a transaction that lost to another.
const CONTENTION: &[u32] =
    &[54, 60, 1013, 1555, 4020, 4021, 8176, 8177, 14403, 22924, 25401, 30006, 30036, 51];
/// No room: tablespace, quota, undo, redo archive, disk.
const FULL: &[u32] = &[
    257, 1536, 1628, 1630, 1631, 1632, 1650, 1651, 1652, 1653, 1654, 1655, 1656, 1658, 1659, 1683,
    1688, 1691, 1692, 1693, 1694, 16014, 16038, 19502, 19504, 27061, 27063, 27072, 12953, 12954,
];
/// The account may not.
const PRIVILEGE: &[u32] = &[1031, 1720, 1749, 1924, 1950, 1990, 28112, 28115, 41900];
/// The server is not there, is starting or shutting down, or has no room for another connection.
const CONNECT: &[u32] = &[
    18, 20, 1033, 1034, 1035, 1089, 1090, 2391, 12154, 12170, 12203, 12500, 12504, 12505, 12506,
    12509, 12510, 12511, 12514, 12516, 12518, 12519, 12520, 12521, 12525, 12526, 12527, 12528,
    12529, 12533, 12535, 12536, 12541, 12543, 12545, 12560, 12564, 12606, 12618, 12650, 12660,
    27101, 28030, 28759, 28860, 28862, 28864, 28865, 29024, 29106, 1109,
];
/// The login was refused: wrong credentials, an account that is locked, has expired or may not
/// begin a session.
const LOGIN: &[u32] = &[988, 1005, 1017, 1045, 28000, 28001, 28002, 28003, 28009, 28040, 28041];
/// The server is ending this session, or has ended it.
const LOST: &[u32] = &[
    22, 28, 31, 600, 603, 604, 1012, 1041, 1092, 2396, 2399, 3106, 3113, 3114, 3115, 3120, 3122,
    3135, 3136, 3156, 7445, 10388, 12152, 12153, 12157, 12161, 12537, 12547, 12570, 12571, 12583,
    12592, 12599, 12609, 12637, 24761, 25402, 25403, 25405, 25407, 25408, 25409, 28511, 41,
];
/// Something named does not exist, or is of another kind.
const MISSING: &[u32] =
    &[904, 911, 942, 1418, 1435, 1917, 1918, 2019, 2289, 4043, 4063, 4067, 4080];

/// What the server's code means.
pub(super) fn kind_of(code: u32) -> Kind {
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

/// A failed call on a connection that was established.
pub(super) fn from_call(failure: &Failure) -> Error {
    match failure.state {
        State::Answered => reported(failure.code, &failure.message),
        State::TimedOut => Error::new(Kind::Lost, "the server did not answer in time").hint(
            "A longer io_timeout_secs of the link lets slow statements finish; or look for what \
             keeps the server busy.",
        ),
        State::Broken if failure.code != 0 => {
            Error { kind: Kind::Lost, ..reported(failure.code, &failure.message) }
        }
        State::Broken => {
            Error::new(Kind::Lost, format!("the connection broke: {}", tidy(&failure.message)))
        }
        State::Misused => Error::new(Kind::Internal, tidy(&failure.message)),
    }
}

/// A failed statement that changes rows. Oracle waits for locks without limit; a call that took
/// too long was cancelled, and most likely waited for one.
pub(super) fn from_dml(failure: &Failure) -> Error {
    match failure.state {
        State::TimedOut => waited(),
        State::Answered | State::Broken | State::Misused => from_call(failure),
    }
}

/// A failed commit: one whose answer is missing may have taken effect.
pub(super) fn from_commit(failure: &Failure) -> Error {
    let error = from_call(failure);
    match error.kind {
        // Cancelled while it waited: for what, and with what effect, is unknown.
        Kind::Contention if failure.code == 1013 => Error { kind: Kind::Lost, ..error },
        _ => error,
    }
}

fn waited() -> Error {
    Error::new(Kind::Contention, "the statement waited too long, most likely for a lock")
        .detail("it was cancelled after the time limit of its call")
}

/// What may be wrong with the place that a link names.
const NO_LISTENER: &str = "Look whether the listener runs there, and whether host and port of the \
                           link's URL are right (Oracle's usual port is 1521, and 2484 for TLS).";
const NO_HOST: &str = "Look at the host's name in the link's URL, and whether this machine can \
                       resolve it.";
const NO_ROUTE: &str = "Look whether a network or a firewall between this machine and the host \
                        stands in the way, and whether the host's name in the link's URL is right.";
const NO_ORACLE: &str = "Look whether the port is that of an Oracle listener; one that speaks TLS \
                         wants tls = \"verified\" in the link.";
const NO_TLS: &str = "Look whether the port is that of the listener for TLS (tcps, usually 2484), \
                      and whether it speaks TLS 1.2 or later.";
const NO_SERVICE: &str = "Look at the service's name in the link's URL: `lsnrctl services` on the \
                          server lists those that the listener knows.";

/// A place that stayed silent for so long. `tls`: whether TLS was spoken to it.
pub(super) fn silent(limit: std::time::Duration, tls: bool) -> Error {
    let what = format!("no answer within {} s", limit.as_secs_f32());
    let port = if tls { NO_TLS } else { NO_ORACLE };
    Error::new(Kind::Connect, what).hint(format!("{port} {NO_ROUTE}"))
}

/// A failure to open a connection, of which the driver has words alone: before a server answered.
fn unanswered(failure: &Failure, tls: bool) -> Error {
    let words = failure.message.as_str();
    let connect = |message: &str| Error::new(Kind::Connect, message);
    let has = |known: &[&str]| known.iter().any(|k| words.contains(k));
    if has(&["Connection refused"]) {
        connect("connection refused").hint(NO_LISTENER)
    } else if has(&["failed to lookup address", "Name or service not known"]) {
        connect("the host is not known").hint(NO_HOST)
    } else if has(&["No route to host", "Network is unreachable", "Host is unreachable"]) {
        connect("the host cannot be reached").hint(NO_ROUTE)
    } else if failure.state == State::TimedOut {
        connect("no answer in time").hint(NO_ROUTE)
    } else if tls {
        secured(connect(&tidy(words)), 0)
    } else if failure.state == State::Misused {
        connect(&tidy(words))
    } else {
        connect("the connection ended before there was a session")
            .detail(tidy(words))
            .hint(NO_ORACLE)
    }
}

/// A failure to open a connection. `tls`: whether it was to be one by TLS.
pub(super) fn from_open(failure: &Failure, tls: bool) -> Error {
    let error = match failure.code {
        0 => return unanswered(failure, tls),
        code => reported(code, &failure.message),
    };
    match (error.kind, failure.code) {
        (_, 12505 | 12514) => Error::new(Kind::Connect, "the listener does not know the service")
            .detail(format!("ORA-{:05}", failure.code))
            .hint(NO_SERVICE),
        (_, 12541) => error.hint(NO_LISTENER),
        (_, 12545) => error.hint(NO_HOST),
        (_, 12170 | 12535 | 12543) => error.hint(NO_ROUTE),
        (_, 1017) => {
            Error::new(Kind::Login, "the server refused user name and password").detail("ORA-01017")
        }
        (_, 28000) => Error::new(Kind::Login, "the account is locked").detail("ORA-28000").hint(
            "Ask the database's administrator to unlock it, and give the link's password anew: \
             too many attempts with a wrong one lock an account.",
        ),
        (_, 28001) => Error::new(Kind::Login, "the account's password has expired")
            .detail("ORA-28001")
            .hint("Set a new password with another client, and give it to the link."),
        (Kind::Connect, code) if tls => secured(error, code),
        (Kind::Connect | Kind::Login, _) => error,
        (Kind::Privilege, _) => Error { kind: Kind::Login, ..error },
        _ => Error { kind: Kind::Connect, ..error },
    }
}

/// What to do where TLS failed. The drivers tell these failures apart in words alone.
fn secured(error: Error, code: u32) -> Error {
    const ADVICE: &[(&[&str], &str)] = &[
        (
            &["NotValidForName", "not valid for name", "ORA-29024"],
            "The server's certificate is for another name than the link's URL has: write the host \
             in the URL as the certificate names it, or have a certificate made for that name.",
        ),
        (
            &["ewallet.pem", "ORA-28759"],
            "Look at wallet_dir: it must hold the wallet (ewallet.pem for the thin driver, \
             cwallet.sso for the client library) and be readable to ssync; or give the \
             authorities' certificates as tls_ca_file.",
        ),
        (
            &["UnknownIssuer", "certificate"],
            "Give the certificate of the authority that signed the server's as tls_ca_file, or a \
             wallet that trusts it as wallet_dir.",
        ),
    ];
    let said = format!("{} {}", error.message, error.details.join(" "));
    match ADVICE.iter().find(|(words, _)| words.iter().any(|w| said.contains(w))) {
        Some((_, advice)) => error.hint(*advice),
        None if code == 0 || (28859..=28868).contains(&code) => error.hint(NO_TLS),
        None => error,
    }
}

/// A failure of the session's set-up, right after the login.
pub(super) fn from_pinning(failure: &Failure) -> Error {
    let error = from_call(failure);
    match error.kind {
        Kind::Lost | Kind::Contention => Error { kind: Kind::Connect, ..error },
        _ => error,
    }
}

fn reported(code: u32, message: &str) -> Error {
    // What undid a transaction at its end stands below.
    let (code, message) = match code {
        2091 => nested(message).unwrap_or((code, message)),
        _ => (code, message),
    };
    let kind = kind_of(code);
    let code_fact = format!("ORA-{code:05}");
    match kind {
        Kind::Data => {
            let words = DATA_FAULTS.iter().find(|(c, _)| *c == code).map_or("", |(_, w)| *w);
            match (column_in(code, message), constraint_in(code, message)) {
                (Some(column), _) => Error::new(kind, format!("column {column}: {words}"))
                    .detail(code_fact)
                    .column(column),
                (None, Some(name)) => {
                    Error::new(kind, format!("constraint {name}: {words}")).detail(code_fact)
                }
                (None, None) => Error::new(kind, words).detail(code_fact),
            }
        }
        Kind::Parent => {
            let words = "the row's parent is missing";
            let words = match constraint_in(code, message) {
                Some(name) => format!("constraint {name}: {words}"),
                None => words.to_owned(),
            };
            Error::new(kind, words).detail(code_fact)
        }
        Kind::Lost => Error::new(kind, "the server ended the connection").detail(code_fact),
        Kind::Contention if code == 1555 => Error::new(kind, first_line(message))
            .detail(code_fact)
            .hint("The rows are read again; a larger UNDO_RETENTION makes that rarer."),
        Kind::Database if matches!(code, 16000 | 16456) => {
            Error::new(kind, "the database is open for reading only").detail(code_fact)
        }
        // A user's own message may say anything.
        Kind::Database if (20000..=20999).contains(&code) => {
            Error::new(kind, "a trigger or procedure refused the statement").detail(code_fact)
        }
        Kind::Database if code == 6502 || code == 6512 => {
            Error::new(kind, "a trigger or procedure failed").detail(code_fact)
        }
        _ => Error::new(kind, first_line(message)).detail(code_fact),
    }
}

/// The first code below the outermost: `ORA-02091: … ORA-02291: …`.
fn nested(message: &str) -> Option<(u32, &str)> {
    let at = message.get(1..)?.find("ORA-")? + 1;
    let rest = &message[at..];
    Some((code_in(rest)?, rest))
}

/// The code that a message begins with.
pub(super) fn code_in(message: &str) -> Option<u32> {
    let digits = message.strip_prefix("ORA-")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// The message without its code, its first line only, without a capital at its start.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let text = match line.split_once(": ") {
        Some((code, text)) if code.starts_with("ORA-") => text,
        _ => line,
    };
    tidy(text)
}

fn tidy(text: &str) -> String {
    // The driver's word for its socket, and the system's number behind its own words.
    let text = text.trim().trim_start_matches("stream operation failed: ");
    let text = text.split_once(" (os error ").map_or(text, |(words, _)| words);
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    match chars.next() {
        // A word in capitals stays as it is.
        Some(c) if !chars.as_str().starts_with(|c: char| c.is_ascii_uppercase()) => {
            c.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// The column that a data error names: the last part of `("OWNER"."TABLE"."COLUMN")` or
/// `"OWNER"."TABLE"."COLUMN" (actual: 5, maximum: 3)`. From 23ai on more messages name one.
fn column_in(code: u32, message: &str) -> Option<String> {
    let line = message.lines().next()?;
    let tail = match code {
        1400 | 1407 => after(line, "NULL")?,
        1438 | 12899 => after(line, "column ")?,
        _ => return None,
    };
    let name = quoted_parts(tail).pop()?;
    (!name.is_empty()).then_some(name)
}

/// The constraint that an error names: `(OWNER.NAME)`.
fn constraint_in(code: u32, message: &str) -> Option<String> {
    if !matches!(code, 1 | 2290 | 2291 | 2292) {
        return None;
    }
    let (_, rest) = message.split_once('(')?;
    let (name, _) = rest.split_once(')')?;
    Some(name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_owned())
}

fn after<'m>(text: &'m str, mark: &str) -> Option<&'m str> {
    text.split_once(mark).map(|(_, tail)| tail)
}

/// The parts of a name, each in double quotes, dots between.
fn quoted_parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((_, inner)) = rest.split_once('"') {
        let Some((part, more)) = inner.split_once('"') else { break };
        parts.push(part.to_owned());
        if !more.starts_with('.') {
            break;
        }
        rest = more;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str) -> Error {
        let message = message.to_owned();
        let code = code_in(&message).unwrap();
        from_call(&Failure { code, message, state: State::Answered })
    }

    #[test]
    fn columns_and_constraints_are_named() {
        for (message, column) in [
            (
                "ORA-12899: value too large for column \"APP\".\"T\".\"A B\" (actual: 5, maximum: 3)",
                "A B",
            ),
            ("ORA-01400: cannot insert NULL into (\"APP\".\"T\".\"N\")", "N"),
            ("ORA-01407: cannot update (\"APP\".\"T\".\"N\") to NULL", ""),
            ("ORA-01438: value larger than specified precision allowed for this column", ""),
        ] {
            let e = error(message);
            assert_eq!(e.kind, Kind::Data, "{message}");
            assert_eq!(e.column.as_deref().unwrap_or(""), column, "{message}");
        }
        let e = error("ORA-00001: unique constraint (APP.T_PK) violated");
        let words = "constraint T_PK: another row has the same values of a unique key";
        assert_eq!((e.kind, e.message.as_str()), (Kind::Data, words));
        let e = error("ORA-02291: integrity constraint (APP.FK) violated - parent key not found");
        let words = "constraint FK: the row's parent is missing";
        assert_eq!((e.kind, e.message.as_str()), (Kind::Parent, words));
    }

    #[test]
    fn a_deferred_constraint_is_found_below_the_rollback() {
        let e = error(
            "ORA-02091: transaction rolled back\nORA-02291: integrity constraint (APP.FK) violated",
        );
        assert_eq!(e.kind, Kind::Parent);
        assert_eq!(error("ORA-02091: transaction rolled back").kind, Kind::Database);
    }

    #[test]
    fn codes_have_their_kinds() {
        for (code, kind) in [
            (1653, Kind::Full),
            (1654, Kind::Full),
            (30036, Kind::Contention),
            (16000, Kind::Database),
            (60, Kind::Contention),
            (54, Kind::Contention),
            (30006, Kind::Contention),
            (1555, Kind::Contention),
            (3113, Kind::Lost),
            (3114, Kind::Lost),
            (3135, Kind::Lost),
            (12537, Kind::Lost),
            (28, Kind::Lost),
            (12170, Kind::Connect),
            (12541, Kind::Connect),
            (12514, Kind::Connect),
            (1033, Kind::Connect),
            (1034, Kind::Connect),
            (1017, Kind::Login),
            (28000, Kind::Login),
            (28001, Kind::Login),
            (2291, Kind::Parent),
            (942, Kind::Config),
            (904, Kind::Config),
            (1031, Kind::Privilege),
            (900, Kind::Database),
            (20001, Kind::Database),
        ] {
            assert_eq!(kind_of(code), kind, "ORA-{code:05}");
        }
    }

    #[test]
    fn no_code_has_two_kinds() {
        let lists = [PARENT_MISSING, CONTENTION, FULL, PRIVILEGE, CONNECT, LOGIN, LOST, MISSING];
        let mut all: Vec<u32> = lists.concat();
        all.extend(DATA_FAULTS.iter().map(|(c, _)| *c));
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|w| w[0] == w[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn what_a_trigger_says_stays_unsaid() {
        let e = error("ORA-20001: customer SECRET is on the list\nORA-06512: at \"APP.G\", line 3");
        assert_eq!(e.kind, Kind::Database);
        assert!(!format!("{e:?}").contains("SECRET"));
    }

    #[test]
    fn a_refused_login_says_what_to_do() {
        let open = |code: u32, message: &str| {
            from_open(&Failure { code, message: message.to_owned(), state: State::Answered }, false)
        };
        assert_eq!(open(1017, "ORA-01017: invalid").kind, Kind::Login);
        assert_eq!(open(28000, "ORA-28000: the account is locked").kind, Kind::Login);
        assert_eq!(open(1045, "ORA-01045: user lacks CREATE SESSION").kind, Kind::Login);
        for code in [12541, 12514, 1033, 1034, 12528, 20] {
            assert_eq!(open(code, "ORA: not there").kind, Kind::Connect, "ORA-{code:05}");
        }
        assert!(open(28000, "ORA-28000: the account is locked").hint.is_some());
        assert!(open(28001, "ORA-28001: the password has expired").hint.is_some());
        assert_eq!(open(3113, "ORA-03113: end-of-file").kind, Kind::Connect);
        let e = open(0, "Connection refused");
        assert_eq!((e.message.as_str(), e.hint.is_some()), ("connection refused", true));
    }

    #[test]
    fn where_tls_fails_it_is_said_what_to_do_and_nowhere_else() {
        let open = |code: u32, message: &str, tls| {
            from_open(&Failure { code, message: message.to_owned(), state: State::Broken }, tls)
                .hint
        };
        for (code, message, advice) in [
            (0, "stream operation failed: invalid peer certificate: UnknownIssuer", "tls_ca_file"),
            (
                0,
                "stream operation failed: invalid peer certificate: certificate not valid for name \
                 \"localhost\"; certificate is only valid for IpAddress(127.0.0.1)",
                "write the host",
            ),
            (0, "wallet file /etc/w/ewallet.pem was not found", "wallet_dir"),
            (0, "stream operation failed: unexpected end of file", "port"),
            (28860, "ORA-28860: Fatal SSL error", "port"),
            (29024, "ORA-29024: Certificate validation failure", "write the host"),
            (28759, "ORA-28759: failure to open file", "wallet_dir"),
        ] {
            let hint = open(code, message, true);
            assert!(hint.as_ref().is_some_and(|h| h.contains(advice)), "{message}: {hint:?}");
            let hint = open(code, message, false);
            assert!(hint.is_none_or(|h| !h.contains("wallet") && !h.contains("2484")), "{message}");
        }
        let hint = open(12514, "ORA-12514: no such service", true).unwrap();
        assert!(hint.contains("service's name"), "{hint}");
    }
}
