//! What a value is bound to beside its table and column: values of other columns of its row, mostly
//! the key. They are authenticated with it and do not travel in the envelope.
//!
//! Both sides must find the same bytes though each database has types of its own. So a whole number and
//! a decimal of the same value are alike, a date is one at midnight, zeros at the end of a fraction and
//! blanks at the end of text do not count.

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::plain::Packer;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Kind;

/// Whether values of this kind have one form everywhere, so that others can be bound to them.
pub fn can_be_bound_to(kind: Kind) -> bool {
    !matches!(kind, Kind::Float32 | Kind::Float64)
}

/// The values that each row of a batch is bound by.
#[derive(Debug)]
pub struct BoundRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    nulls: NullBuffer,
}

impl BoundRows {
    /// Of these columns, in this order, with how their values travel.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for an array that is not of its kind.
    pub fn of(columns: &[(&ArrayRef, Kind)]) -> Result<BoundRows> {
        let rows = columns.first().map_or(0, |(array, _)| array.len());
        let packers = columns
            .iter()
            .map(|(array, kind)| {
                let alien = || {
                    Error::new(
                        ErrorKind::Internal,
                        format!("a column does not hold {kind:?} values"),
                    )
                };
                Ok((*array, Packer::new(array.as_ref(), *kind).ok_or_else(alien)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(rows));
        let mut value = Vec::new();
        let known = (0..rows).map(|row| {
            let start = bytes.len();
            bytes.extend_from_slice(&(packers.len() as u32).to_be_bytes());
            let all = packers.iter().all(|(array, packer)| {
                value.clear();
                let packed = !array.is_null(row) && packer.pack(row, &mut value);
                packed && push_canonical(&value, &mut bytes)
            });
            if !all {
                bytes.truncate(start);
            }
            ends.push(bytes.len());
            all
        });
        let nulls =
            NullBuffer::new(known.collect::<Vec<_>>().into_iter().collect::<BooleanBuffer>());
        Ok(BoundRows { bytes, ends, nulls })
    }

    /// What a row is bound by; `None` where one of its columns is NULL, or is a number that is not
    /// exact.
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let start = row.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        let end = *self.ends.get(row)?;
        self.nulls.is_valid(row).then(|| &self.bytes[start..end])
    }

    /// Rows of which [`BoundRows::get`] knows nothing.
    pub fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nulls.len()).filter(|row| self.nulls.is_null(*row))
    }

    /// The same as a mask.
    pub(super) fn nulls(&self) -> &NullBuffer {
        &self.nulls
    }
}

/// Appends a packed value, type tag first, in the form it has everywhere; false where it has none.
fn push_canonical(value: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((tag, content)) = value.split_first() else { return false };
    let text = || std::str::from_utf8(content).ok();
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match tag {
        b'i' | b'b' => out.extend_from_slice(content),
        b'd' => match text().and_then(decimal) {
            Some(decimal) => out.extend_from_slice(decimal.as_bytes()),
            None => return false,
        },
        b't' => {
            let blanks = content.iter().rev().take_while(|byte| **byte == b' ').count();
            out.extend_from_slice(&content[..content.len() - blanks]);
        }
        b'a' => {
            out.extend_from_slice(content);
            out.extend_from_slice(b" 00:00:00");
        }
        b's' | b'm' => match text() {
            Some(text) if text.contains('.') => {
                out.extend_from_slice(text.trim_end_matches('0').trim_end_matches('.').as_bytes());
            }
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => return false,
        },
        _ => return false,
    }
    let len = out.len() - start - 4;
    out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
    true
}

/// A decimal without zeros that say nothing; `None` for what is none (an exponent, infinity).
fn decimal(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole)
        || !is_digits(fraction)
        || unsigned.len() <= usize::from(unsigned.contains('.'))
    {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let number = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
    Some(if text.starts_with('-') && number != "0" { format!("-{number}") } else { number })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray, UInt64Array};

    use super::*;
    use crate::value::DateTime;

    fn bound(array: impl Array + 'static, kind: Kind) -> Vec<Option<Vec<u8>>> {
        let array: ArrayRef = Arc::new(array);
        let rows = BoundRows::of(&[(&array, kind)]).unwrap();
        (0..array.len()).map(|row| rows.get(row).map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn one_value_has_one_form_whatever_type_a_database_gives_it() {
        let seven = bound(Int64Array::from(vec![7, -7, 0]), Kind::Int);
        for text in [["7", "-7", "0"], ["7.00", "-07.0", "-0"], ["+7.", "-7", "0.000"]] {
            assert_eq!(bound(StringArray::from(text.to_vec()), Kind::Decimal), seven, "{text:?}");
        }
        assert_eq!(bound(UInt64Array::from(vec![7]), Kind::UInt), seven[..1]);
        assert_eq!(bound(StringArray::from(vec!["7", "-7  "]), Kind::Text), seven[..2]);
        let at = |text: &str| Int64Array::from(vec![DateTime::parse(text).unwrap().packed()]);
        let day = bound(at("2024-02-29"), Kind::Date);
        assert_eq!(bound(at("2024-02-29 00:00:00"), Kind::DateTime), day);
        assert_ne!(bound(at("2024-02-29 00:00:00.000001"), Kind::DateTime), day);
        assert_ne!(bound(StringArray::from(vec!["7.1"]), Kind::Decimal), seven[..1]);
    }

    #[test]
    fn columns_keep_apart_and_null_binds_nothing() {
        let column =
            |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let (a, b) = (
            column(vec![Some("ab"), Some("a"), None]),
            column(vec![Some("c"), Some("bc"), Some("x")]),
        );
        let rows = BoundRows::of(&[(&a, Kind::Text), (&b, Kind::Text)]).unwrap();
        assert_ne!(rows.get(0), rows.get(1));
        assert_eq!((rows.get(2), rows.get(3)), (None, None));
        let odd = ["1e3", "", ".", "-", "NaN", "1.2.3"];
        for text in odd {
            assert_eq!(bound(StringArray::from(vec![text]), Kind::Decimal), [None], "{text}");
        }
    }
}
