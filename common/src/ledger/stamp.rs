//! What tells apart two runs that have the same number: a source that was copied and a destination
//! that was restored may have come to the same number by different runs.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};
use crate::process::identity::RunId;
use crate::value::hex_bytes;

/// A run's number, and random digits that no other run of that number has: `3-9f86d081884c7d65`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The number.
    pub number: i64,
    digits: String,
}

impl Stamp {
    /// For the run that takes this number now.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(number: i64) -> Result<Stamp> {
        let digits = hex_bytes::encode(&RunId::random()?.0[..8]);
        Ok(Stamp { number, digits })
    }

    /// As it is stored; `None` where it is another number's: an older version has gone on without it.
    pub fn of(number: i64, text: Option<&str>) -> Option<Stamp> {
        text?.parse().ok().filter(|stamp: &Stamp| stamp.number == number)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.digits)
    }
}

impl FromStr for Stamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Stamp> {
        let parts = text.split_once('-').and_then(|(number, digits)| {
            Some(Stamp { number: number.parse().ok()?, digits: digits.to_owned() })
        });
        parts.ok_or_else(|| Error::new(Kind::Internal, "a run's stamp is damaged"))
    }
}

/// What the destination knows of the run that took it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// That run.
    pub own: Stamp,
    /// The run that the source had confirmed before it.
    pub after: Option<Stamp>,
}

impl Succession {
    /// As it is stored; `None` where it is of another number.
    pub fn of(number: i64, text: Option<&str>) -> Option<Succession> {
        let (own, after) = match text?.split_once(" after ") {
            Some((own, after)) => (own, after.parse().ok()),
            None => (text?, None),
        };
        Some(Succession { own: Stamp::of(number, Some(own))?, after })
    }

    /// Whether the destination has come to where it is by other runs than the source, which has
    /// `confirmed` this one last. Nothing is known of a destination that is older.
    pub fn is_other_than(&self, confirmed: &Stamp) -> bool {
        match self.own.number {
            number if number == confirmed.number => self.own != *confirmed,
            number if number > confirmed.number => {
                self.after.as_ref().is_some_and(|after| after != confirmed)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Succession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.own)?;
        self.after.as_ref().map_or(Ok(()), |after| write!(f, " after {after}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_number_that_another_run_had_as_well_is_no_proof() {
        let (three, other_three) = (Stamp::new(3).unwrap(), Stamp::new(3).unwrap());
        let four =
            |after: &Stamp| Succession { own: Stamp::new(4).unwrap(), after: Some(after.clone()) };
        let at = |own: &Stamp| Succession { own: own.clone(), after: None };
        assert!(!at(&three).is_other_than(&three) && at(&other_three).is_other_than(&three));
        // Its number is not confirmed yet.
        assert!(!four(&three).is_other_than(&three) && four(&other_three).is_other_than(&three));
        // Older, and what the numbers say counts.
        assert!(!at(&three).is_other_than(&four(&other_three).own));
    }

    #[test]
    fn what_is_stored_is_read_again_for_its_number_alone() {
        let own = Stamp::new(4).unwrap();
        for after in [None, Some(Stamp::new(3).unwrap())] {
            let known = Succession { own: own.clone(), after };
            let text = known.to_string();
            assert_eq!(Succession::of(4, Some(&text)), Some(known));
            assert_eq!(Succession::of(5, Some(&text)), None);
        }
        assert_eq!(Stamp::of(4, Some(&own.to_string())), Some(own));
        for nothing in [None, Some(""), Some("4"), Some("x-1")] {
            assert_eq!((Stamp::of(4, nothing), Succession::of(4, nothing)), (None, None));
        }
    }
}
