//! What happens to a source column's values in a destination column, judged from the two
//! declarations alone, before any row moves.
//!
//! [`judge`] is the one entrance; [`into_mysql`](mysql), [`into_oracle`](oracle) and
//! [`into_sqlite`](sqlite) hold the rules of the destinations, [`empties`] those for Oracle's empty
//! text, [`range`] what a source column can hold at all, [`charset`] which
//! characters a character set has. `docs/TYPES.md` shows the rules as a grid; the tests hold them
//! against real servers.

mod charset;
mod empties;
mod mysql;
mod oracle;
mod range;
mod sqlite;

use std::fmt;

pub(crate) use charset::lacks;
pub use empties::{EmptyStep, empty_step};

use serde::{Deserialize, Serialize};

use crate::config::EmptyAs;
use crate::crypto;
use crate::schema::{Column, Kind};

/// What becomes of a column's values. The reasons are whole facts for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "fidelity", content = "reason")]
pub enum Fidelity {
    /// Every value that the source column can hold arrives unchanged.
    Exact,
    /// A value either arrives unchanged, or is refused as a bad row that says why.
    Checked(String),
    /// Some values would arrive changed, and nothing would say so: only with the column listed in
    /// `allow_lossy`.
    Lossy(String),
    /// No sensible value would arrive.
    Refused(String),
}

impl Fidelity {
    /// The reason; `None` for [`Fidelity::Exact`].
    pub fn reason(&self) -> Option<&str> {
        match self {
            Fidelity::Exact => None,
            Fidelity::Checked(why) | Fidelity::Lossy(why) | Fidelity::Refused(why) => Some(why),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Fidelity::Exact => 0,
            Fidelity::Checked(_) => 1,
            Fidelity::Lossy(_) => 2,
            Fidelity::Refused(_) => 3,
        }
    }

    /// Both judgements together: the worse one, or the reasons of two equally bad ones.
    fn and(self, other: Fidelity) -> Fidelity {
        use Fidelity::{Checked, Exact, Lossy, Refused};
        match (self, other) {
            (Exact, Exact) => Exact,
            (Checked(a), Checked(b)) => Checked(format!("{a}; {b}")),
            (Lossy(a), Lossy(b)) => Lossy(format!("{a}; {b}")),
            (Refused(a), Refused(b)) => Refused(format!("{a}; {b}")),
            (a, b) if a.rank() >= b.rank() => a,
            (_, b) => b,
        }
    }

    fn map(self, f: impl FnOnce(String) -> String) -> Fidelity {
        match self {
            Fidelity::Exact => Fidelity::Exact,
            Fidelity::Checked(why) => Fidelity::Checked(f(why)),
            Fidelity::Lossy(why) => Fidelity::Lossy(f(why)),
            Fidelity::Refused(why) => Fidelity::Refused(f(why)),
        }
    }
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fidelity::Exact => f.write_str("exact"),
            Fidelity::Checked(why) => write!(f, "checked: {why}"),
            Fidelity::Lossy(why) => write!(f, "lossy: {why}"),
            Fidelity::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// What the transfer does to the column on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// Its values are encrypted: the destination holds envelopes.
    Encrypt {
        /// With [`crypto::Mode::Deterministic`].
        deterministic: bool,
    },
    /// Its values are envelopes, and are decrypted: the destination holds what was sealed.
    Decrypt,
}

/// How values of `source` travel to `dest`: as the source column says, but for times with a zone,
/// which go as moments in UTC where the destination has columns of moments alone.
pub fn travels_as(source: &Column, dest: &Column) -> Kind {
    match (source.family.as_str(), dest.kind) {
        ("timestamp_tz", Kind::Date | Kind::DateTime) => Kind::DateTime,
        _ => source.kind,
    }
}

/// Which database a source column is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    MySql,
    Oracle,
    Sqlite,
}

impl Origin {
    fn of(dialect: &str) -> Option<Origin> {
        match dialect {
            "mysql" => Some(Origin::MySql),
            "oracle" => Some(Origin::Oracle),
            "sqlite" => Some(Origin::Sqlite),
            _ => None,
        }
    }
}

/// Judges the pair: `source` of a database whose dialect is `source_dialect` into `dest` of one
/// whose dialect is `dest_dialect` ([`crate::connector::Dialect::name`]). `empty` is what is
/// configured for the column's empty text.
pub fn judge(
    source: &Column,
    source_dialect: &str,
    dest: &Column,
    dest_dialect: &str,
    sealed: Option<Sealed>,
    empty: Option<EmptyAs>,
) -> Fidelity {
    let pair = format!("{} into {}", shown(source), shown(dest));
    if dest.generated {
        return Fidelity::Refused(format!("{pair}: the destination computes this column itself"));
    }
    let values = match sealed {
        None => travel(source, source_dialect, dest, dest_dialect),
        Some(Sealed::Encrypt { deterministic }) => {
            encrypted(source, dest, dest_dialect, deterministic)
        }
        Some(Sealed::Decrypt) => decrypted(source, dest, dest_dialect),
    };
    let step = empty_step(source, source_dialect, dest, dest_dialect, sealed, empty);
    let nulls = match step {
        Some(EmptyStep::FromNull) => Fidelity::Exact,
        _ => nulls(source, dest),
    };
    values.and(empties::judge(step, dest)).and(nulls).map(|why| format!("{pair}: {why}"))
}

fn shown(column: &Column) -> String {
    match column.declared.as_str() {
        "" => "a column without type".to_owned(),
        declared => declared.to_owned(),
    }
}

fn nulls(source: &Column, dest: &Column) -> Fidelity {
    if source.nullable && !dest.nullable {
        return Fidelity::Checked("NULL does not fit a NOT NULL column".to_owned());
    }
    Fidelity::Exact
}

fn travel(source: &Column, source_dialect: &str, dest: &Column, dest_dialect: &str) -> Fidelity {
    let unknown = |name| Fidelity::Refused(format!("the types of {name} are not known"));
    let Some(origin) = Origin::of(source_dialect) else { return unknown(source_dialect) };
    match Origin::of(dest_dialect) {
        Some(Origin::MySql) => mysql::judge(source, origin, dest),
        Some(Origin::Oracle) => oracle::judge(source, origin, dest),
        Some(Origin::Sqlite) => sqlite::judge(source, origin, dest),
        None => unknown(dest_dialect),
    }
}

/// An envelope is ASCII text without blanks.
fn encrypted(source: &Column, dest: &Column, dialect: &str, deterministic: bool) -> Fidelity {
    let width = match dialect {
        "sqlite" => match dest.family.as_str() {
            "integer" | "real" => None,
            _ => Some(None),
        },
        "oracle" => oracle::envelope_width(dest).map(|w| Some(w).filter(|w| *w < u64::MAX)),
        _ => mysql::envelope_width(dest).map(Some),
    };
    let Some(width) = width else {
        return Fidelity::Refused(
            "encrypted values are text, and need a column of text or of bytes of variable length"
                .to_owned(),
        );
    };
    let Some(width) = width else { return Fidelity::Exact };
    let len = |plain: u64| {
        let plain = usize::try_from(plain).unwrap_or(usize::MAX / 4).min(usize::MAX / 4);
        crypto::sealed_len(plain, deterministic) as u64
    };
    let widest = crypto::plain_len_max(source).map(len);
    if len(0) > width {
        return Fidelity::Refused(match widest {
            Some(widest) => format!("encrypted values need {widest} characters, it has {width}"),
            None => format!("encrypted values need at least {} characters, it has {width}", len(0)),
        });
    }
    match widest {
        Some(widest) if widest <= width => Fidelity::Exact,
        Some(widest) => Fidelity::Checked(format!(
            "the widest encrypted value needs {widest} characters, it has {width}"
        )),
        None => {
            let fits = (0..=width).rev().find(|plain| len(*plain) <= width).unwrap_or(0);
            Fidelity::Checked(format!("values of more than {fits} bytes do not fit when encrypted"))
        }
    }
}

/// What is inside is known only when it has been opened: it must be of the destination's kind.
fn decrypted(source: &Column, dest: &Column, dialect: &str) -> Fidelity {
    if !matches!(source.kind, Kind::Text | Kind::Bytes | Kind::Any) {
        return Fidelity::Refused("a column of numbers or times holds no encrypted values".into());
    }
    let sealed_as = Column { nullable: false, ..range::widest(dest) };
    let inside = travel(&sealed_as, dialect, dest, dialect);
    let checked = "what was encrypted must be a value of the destination's type".to_owned();
    match inside {
        Fidelity::Exact => Fidelity::Checked(checked),
        Fidelity::Checked(why) => Fidelity::Checked(format!("{checked}; {why}")),
        worse => worse,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_oracle;
