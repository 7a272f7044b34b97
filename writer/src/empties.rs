//! Empty values of a batch on its way into Oracle, which takes them for NULL, or out of it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, StringArray};
use serde::{Deserialize, Serialize};
use ssync_common::bail;
use ssync_common::batch::BadValue;
use ssync_common::error::{Kind as ErrorKind, Result};
use ssync_common::fidelity::EmptyStep;
use ssync_common::schema::Kind;

/// What happens to the empty values of one column, after it was decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyColumn {
    /// Place of the column in the batch.
    pub index: usize,
    /// How its values travel to the destination.
    pub kind: Kind,
    /// What is done.
    pub step: EmptyStep,
}

/// Text that carries its own type, and is empty.
const EMPTY_TAGGED: &[u8] = b"t";
const BLANK_TAGGED: &[u8] = b"t ";
const REFUSAL: &str = "empty text is NULL to Oracle (empty_as says what it shall become)";

/// The column with its empty values changed, and those that are refused: NULL stands in their
/// place.
pub fn apply(
    array: &ArrayRef,
    of: EmptyColumn,
    name: &str,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef> {
    let is_empty = |row: usize| match of.kind {
        Kind::Text => array.as_string::<i32>().value(row).is_empty(),
        Kind::Any => matches!(array.as_binary::<i32>().value(row), b"t" | b"b"),
        _ => array.as_binary::<i32>().value(row).is_empty(),
    };
    let is_blank = |row: usize| match of.kind {
        Kind::Text => array.as_string::<i32>().value(row) == " ",
        Kind::Any => array.as_binary::<i32>().value(row) == BLANK_TAGGED,
        _ => false,
    };
    if *array.data_type() != of.kind.arrow()
        || !matches!(of.kind, Kind::Text | Kind::Bytes | Kind::Any)
    {
        bail!(ErrorKind::Internal, "column {name}: nothing of kind {:?} is empty", of.kind);
    }
    let is_concerned = |row: usize| match of.step {
        EmptyStep::FromNull => array.is_null(row),
        EmptyStep::FromBlank => array.is_valid(row) && is_blank(row),
        EmptyStep::Refuse | EmptyStep::ToNull | EmptyStep::ToBlank => {
            array.is_valid(row) && is_empty(row)
        }
    };
    let concerned: Vec<bool> = (0..array.len()).map(is_concerned).collect();
    if !concerned.contains(&true) {
        return Ok(array.clone());
    }
    let instead: Option<&str> = match of.step {
        EmptyStep::Refuse => {
            let refused = concerned.iter().enumerate().filter(|(_, yes)| **yes);
            bad.extend(refused.map(|(row, _)| BadValue {
                row,
                column: name.to_owned(),
                message: REFUSAL.to_owned(),
            }));
            None
        }
        EmptyStep::ToNull => None,
        EmptyStep::ToBlank => Some(" "),
        EmptyStep::FromNull | EmptyStep::FromBlank => Some(""),
    };
    Ok(if of.kind == Kind::Text {
        let old = array.as_string::<i32>();
        let value = |(row, yes): (usize, &bool)| match yes {
            true => instead,
            false => old.is_valid(row).then(|| old.value(row)),
        };
        Arc::new(concerned.iter().enumerate().map(value).collect::<StringArray>())
    } else {
        let old = array.as_binary::<i32>();
        let instead = match (instead, of.kind) {
            (Some(" "), Kind::Any) => Some(BLANK_TAGGED),
            (Some(_), Kind::Any) => Some(EMPTY_TAGGED),
            (text, _) => text.map(str::as_bytes),
        };
        let value = |(row, yes): (usize, &bool)| match yes {
            true => instead,
            false => old.is_valid(row).then(|| old.value(row)),
        };
        Arc::new(concerned.iter().enumerate().map(value).collect::<BinaryArray>())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn done(
        values: &[Option<&str>],
        kind: Kind,
        step: EmptyStep,
    ) -> (Vec<Option<String>>, Vec<usize>) {
        let array: ArrayRef = match kind {
            Kind::Text => Arc::new(StringArray::from(values.to_vec())),
            _ => Arc::new(values.iter().map(|v| v.map(str::as_bytes)).collect::<BinaryArray>()),
        };
        let mut bad = Vec::new();
        let new = apply(&array, EmptyColumn { index: 0, kind, step }, "c", &mut bad).unwrap();
        let text = |row: usize| match kind {
            Kind::Text => new.as_string::<i32>().value(row).to_owned(),
            _ => String::from_utf8(new.as_binary::<i32>().value(row).to_vec()).unwrap(),
        };
        let values = (0..new.len()).map(|row| new.is_valid(row).then(|| text(row))).collect();
        (values, bad.into_iter().map(|b| b.row).collect())
    }

    fn owned(values: &[Option<&str>]) -> Vec<Option<String>> {
        values.iter().map(|v| v.map(str::to_owned)).collect()
    }

    #[test]
    fn only_what_is_empty_changes() {
        use EmptyStep::*;
        let given = [Some("a"), Some(""), None, Some(" "), Some("  ")];
        for (step, expected, bad) in [
            (Refuse, [Some("a"), None, None, Some(" "), Some("  ")], vec![1]),
            (ToNull, [Some("a"), None, None, Some(" "), Some("  ")], vec![]),
            (ToBlank, [Some("a"), Some(" "), None, Some(" "), Some("  ")], vec![]),
            (FromNull, [Some("a"), Some(""), Some(""), Some(" "), Some("  ")], vec![]),
            (FromBlank, [Some("a"), Some(""), None, Some(""), Some("  ")], vec![]),
        ] {
            assert_eq!(done(&given, Kind::Text, step), (owned(&expected), bad), "{step:?}");
        }
        for (step, expected, bad) in [
            (Refuse, [Some("a"), None, None, Some(" ")], vec![1]),
            (ToNull, [Some("a"), None, None, Some(" ")], vec![]),
            (FromNull, [Some("a"), Some(""), Some(""), Some(" ")], vec![]),
        ] {
            assert_eq!(done(&given[..4], Kind::Bytes, step), (owned(&expected), bad), "{step:?}");
        }
    }

    #[test]
    fn values_with_their_own_type_keep_it() {
        use EmptyStep::*;
        let given = [Some("ta"), Some("t"), None, Some("b"), Some("t ")];
        for (step, expected, bad) in [
            (Refuse, [Some("ta"), None, None, None, Some("t ")], vec![1, 3]),
            (ToBlank, [Some("ta"), Some("t "), None, Some("t "), Some("t ")], vec![]),
            (FromBlank, [Some("ta"), Some("t"), None, Some("b"), Some("t")], vec![]),
        ] {
            assert_eq!(done(&given, Kind::Any, step), (owned(&expected), bad), "{step:?}");
        }
    }

    #[test]
    fn numbers_are_never_empty() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let of = EmptyColumn { index: 0, kind: Kind::Int, step: EmptyStep::ToNull };
        assert_eq!(apply(&array, of, "c", &mut Vec::new()).unwrap_err().kind, ErrorKind::Internal);
    }
}
