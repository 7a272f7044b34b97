//! Empty text on its way into Oracle, which takes it for NULL, and out of it again.

use serde::{Deserialize, Serialize};

use super::Fidelity::{self, Checked, Exact, Refused};
use super::{Sealed, range};
use crate::config::EmptyAs;
use crate::schema::{Column, Kind};

/// What is done with a column's empty values, after decryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyStep {
    /// Into Oracle: an empty value is a bad one.
    Refuse,
    /// Into Oracle: an empty value becomes NULL.
    ToNull,
    /// Into Oracle: empty text becomes one blank.
    ToBlank,
    /// Out of Oracle: NULL becomes empty.
    FromNull,
    /// Out of Oracle: one blank becomes empty text.
    FromBlank,
}

/// The step for a pair of columns; `None` where nothing can be empty, or nothing is to be done.
/// `rule` is what is configured for the column.
pub fn empty_step(
    source: &Column,
    source_dialect: &str,
    dest: &Column,
    dest_dialect: &str,
    sealed: Option<Sealed>,
    rule: Option<EmptyAs>,
) -> Option<EmptyStep> {
    if dest_dialect == "oracle" {
        // A CHAR column's empty text is its padding, a LOB can be empty.
        let takes_null = matches!(dest.family.as_str(), "varchar2" | "nvarchar2" | "raw");
        let may_be_empty = match sealed {
            Some(Sealed::Encrypt { .. }) => false,
            Some(Sealed::Decrypt) => true,
            None => range::may_be_empty(source, source_dialect),
        };
        return (takes_null && may_be_empty).then_some(match rule {
            None | Some(EmptyAs::Refuse) => EmptyStep::Refuse,
            Some(EmptyAs::Null) => EmptyStep::ToNull,
            Some(EmptyAs::Space) => EmptyStep::ToBlank,
        });
    }
    let held = matches!(source.family.as_str(), "varchar2" | "nvarchar2" | "raw");
    let text = source.kind == Kind::Text && matches!(dest.kind, Kind::Text | Kind::Any);
    let same = text || (source.kind == Kind::Bytes && dest.kind == source.kind);
    if source_dialect != "oracle" || sealed.is_some() || !held || !same {
        return None;
    }
    match rule? {
        EmptyAs::Null => source.nullable.then_some(EmptyStep::FromNull),
        EmptyAs::Space => text.then_some(EmptyStep::FromBlank),
        EmptyAs::Refuse => None,
    }
}

/// What the step means for the pair.
pub(super) fn judge(step: Option<EmptyStep>, dest: &Column) -> Fidelity {
    match step {
        None | Some(EmptyStep::FromNull | EmptyStep::FromBlank) => Exact,
        Some(EmptyStep::Refuse) => {
            Checked("empty values do not fit, because Oracle takes them for NULL".to_owned())
        }
        Some(EmptyStep::ToNull) if !dest.nullable => {
            Checked("empty values become NULL, which does not fit a NOT NULL column".to_owned())
        }
        Some(EmptyStep::ToNull) => Exact,
        Some(EmptyStep::ToBlank) if dest.kind == Kind::Bytes => {
            Refused("empty bytes cannot be held as a blank".to_owned())
        }
        Some(EmptyStep::ToBlank) => Exact,
    }
}
