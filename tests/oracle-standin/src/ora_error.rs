//! Oracle's errors, and which of them an error of PostgreSQL's is.

use crate::backend::PgError;

/// An error as Oracle reports it.
#[derive(Debug, Clone)]
pub(crate) struct OraError {
    pub(crate) code: u32,
    /// The text, beginning with `ORA-`.
    pub(crate) message: String,
    /// Bytes of the statement before the spot.
    pub(crate) offset: u16,
}

/// What was being done: some errors have another number then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Anything else.
    Other,
    /// An UPDATE.
    Update,
    /// Waiting for a lock no longer than so many seconds.
    WaitingFor(u32),
    /// A COMMIT.
    Commit,
    /// DDL on something of this kind, such as `INDEX`.
    Defining,
}

impl OraError {
    /// An error with this text, which gets its number in front.
    pub(crate) fn new(code: u32, text: &str) -> Self {
        OraError { code, message: format!("ORA-{code:05}: {text}"), offset: 0 }
    }

    pub(crate) fn at(mut self, offset: usize) -> Self {
        self.offset = offset.min(usize::from(u16::MAX)) as u16;
        self
    }

    /// What Oracle would say where PostgreSQL says this.
    pub(crate) fn from_postgres(error: &PgError, doing: Doing) -> Self {
        let inner = Self::translated(error, doing).at(error.position().unwrap_or(0));
        if doing == Doing::Commit {
            let outer = OraError::new(2091, "transaction rolled back");
            return OraError { message: format!("{}\n{}", outer.message, inner.message), ..outer };
        }
        inner
    }

    fn translated(error: &PgError, doing: Doing) -> Self {
        let owned = |object: &str| format!("{}.{}", shown(error.schema()), shown(object));
        let new = |code, text: &str| OraError::new(code, text);
        match error.state() {
            // Raised by the stand-in's own functions: the text has the number.
            "ORA00" => {
                let text = error.message();
                let code = text.get(4..9).and_then(|n| n.parse().ok()).unwrap_or(600);
                OraError { code, message: text.to_owned(), offset: 0 }
            }
            "23505" => {
                new(1, &format!("unique constraint ({}) violated", owned(error.constraint())))
            }
            "23502" => {
                let column = format!(
                    "(\"{}\".\"{}\".\"{}\")",
                    shown(error.schema()),
                    shown(error.table()),
                    shown(error.column())
                );
                if doing == Doing::Defining {
                    new(2296, &format!("cannot enable {} - null values found", owned("")))
                } else if doing == Doing::Update {
                    new(1407, &format!("cannot update {column} to NULL"))
                } else {
                    new(1400, &format!("cannot insert NULL into {column}"))
                }
            }
            "23503" if error.message().starts_with("update or delete") => new(
                2292,
                &format!(
                    "integrity constraint ({}) violated - child record found",
                    owned(error.constraint())
                ),
            ),
            "23503" => new(
                2291,
                &format!(
                    "integrity constraint ({}) violated - parent key not found",
                    owned(error.constraint())
                ),
            ),
            "23514" => {
                new(2290, &format!("check constraint ({}) violated", owned(error.constraint())))
            }
            "22001" => {
                let most: String = error.message().chars().filter(char::is_ascii_digit).collect();
                new(12899, &format!("value too large for column (maximum: {most})"))
            }
            "22003" => new(1438, "value larger than specified precision allowed for this column"),
            "22012" => new(1476, "divisor is equal to zero"),
            "22P02" | "22023" if error.message().contains("numeric") => new(1722, "invalid number"),
            "22P02" => new(1722, "invalid number"),
            "22007" => new(1841, "(full) year must be between -4713 and +9999, and not be 0"),
            "22008" => new(1843, "not a valid month"),
            "42703" => new(904, &format!("{}: invalid identifier", quoted_name(error.message()))),
            "42P01" => new(942, "table or view does not exist"),
            "3F000" => new(942, "table or view does not exist"),
            "42P07" | "42710" => new(955, "name is already used by an existing object"),
            "42701" => new(1430, "column being added already exists in table"),
            "42704" if error.message().contains("constraint") => {
                new(2443, "Cannot drop constraint  - nonexistent constraint")
            }
            "42704" if error.message().contains("index") => {
                new(1418, "specified index does not exist")
            }
            "42704" => new(4043, "object does not exist"),
            "42883" => new(904, &format!("{}: invalid identifier", function_name(error.message()))),
            "42702" => new(918, "column ambiguously defined"),
            "42803" => new(979, "not a GROUP BY expression"),
            "42501" => new(1031, "insufficient privileges"),
            "42601" if error.message().contains("INSERT has more expressions") => {
                new(913, "too many values")
            }
            "42601" if error.message().contains("INSERT has more target") => {
                new(947, "not enough values")
            }
            "42601" => new(933, "SQL command not properly ended"),
            "42804" => new(932, "inconsistent datatypes"),
            "55P03" => match doing {
                Doing::WaitingFor(_) => {
                    new(30006, "resource busy; acquire with WAIT timeout expired")
                }
                _ => new(54, "resource busy and acquire with NOWAIT specified or timeout expired"),
            },
            "0A000" if error.message().contains("truncate") => {
                new(2266, "unique/primary keys in table referenced by enabled foreign keys")
            }
            "40P01" => new(60, "deadlock detected while waiting for resource"),
            "40001" => new(8177, "can't serialize access for this transaction"),
            "25006" => new(
                1456,
                "may not perform insert, delete, update operation inside a READ ONLY transaction",
            ),
            "57014" => new(1013, "user requested cancel of current operation"),
            "21000" if error.message().starts_with("MERGE") => {
                new(30926, "unable to get a stable set of rows in the source tables")
            }
            "21000" => new(1427, "single-row subquery returns more than one row"),
            "2BP01" => new(2449, "unique/primary keys in table referenced by foreign keys"),
            "3B001" => new(1086, "savepoint never established in this session or is invalid"),
            "P0001" => new(20000, error.message()),
            state => new(
                600,
                &format!(
                    "the stand-in has no number for {state}: {} {}",
                    error.message(),
                    error.detail()
                ),
            ),
        }
    }
}

/// A name as Oracle shows it: PostgreSQL's is stored with its case turned over. (ASCII letters
/// only: that is all whose case PostgreSQL turns in the C locale.)
pub(crate) fn shown(name: &str) -> String {
    let lower = name.chars().any(|c| c.is_ascii_lowercase());
    let upper = name.chars().any(|c| c.is_ascii_uppercase());
    match (lower, upper) {
        (true, false) => name.to_ascii_uppercase(),
        (false, true) => name.to_ascii_lowercase(),
        _ => name.to_owned(),
    }
}

fn quoted_name(message: &str) -> String {
    let name = message
        .strip_prefix("column ")
        .and_then(|rest| rest.split(" does not exist").next())
        .unwrap_or(message)
        .split(" of relation")
        .next()
        .unwrap_or_default();
    name.split('.')
        .map(|part| format!("\"{}\"", shown(part.trim_matches('"'))))
        .collect::<Vec<_>>()
        .join(".")
}

fn function_name(message: &str) -> String {
    let name = message
        .strip_prefix("function ")
        .and_then(|rest| rest.split('(').next())
        .unwrap_or(message);
    format!("\"{}\"", shown(name))
}
