//! Decimals in their digits: how a NUMBER is spelt, and which double is the same number.

use std::borrow::Cow;

/// Base-100 digits in a NUMBER.
const PAIRS_MAX: i32 = 20;
/// Largest and smallest base-100 exponent: 1e-130 to below 1e126.
const EXPONENT: std::ops::RangeInclusive<i32> = -64..=63;

/// A decimal in its significant digits: 0.`digits` × 10^`point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digits {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: Vec<u8>,
    point: i32,
}

impl Digits {
    /// Reads `[-+]digits[.digits][e[-+]digits]`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match rest.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        if !(-100_000..=100_000).contains(&power) || mantissa.len() > 100_000 {
            return None;
        }
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let leading = all.iter().take_while(|d| **d == b'0').count();
        let trailing = all[leading..].iter().rev().take_while(|d| **d == b'0').count();
        let digits = all[leading..all.len() - trailing].to_vec();
        if digits.is_empty() {
            return Some(Digits { negative: false, digits, point: 0 });
        }
        Some(Digits { negative, digits, point: whole.len() as i32 - leading as i32 + power })
    }

    /// Digits after the point that are not zeros at the end; negative where zeros end a whole
    /// number.
    fn scale(&self) -> i32 {
        self.digits.len() as i32 - self.point
    }

    /// Whether a NUMBER holds it to the last digit.
    pub(super) fn fits_number(&self) -> bool {
        if self.digits.is_empty() {
            return true;
        }
        // Pairs of digits are counted from the point.
        let first = self.point.div_euclid(2) + self.point.rem_euclid(2);
        let last = -self.scale().div_euclid(2) - self.scale().rem_euclid(2);
        first - last <= PAIRS_MAX && EXPONENT.contains(&first) && last >= -65 - PAIRS_MAX
    }

    /// Its plain spelling: `-123.45`, `0.001`, `1000`.
    pub(super) fn plain(&self) -> String {
        let mut text = String::with_capacity(self.digits.len() + 4);
        if self.negative {
            text.push('-');
        }
        if self.point <= 0 {
            text.push('0');
            if !self.digits.is_empty() {
                text.push('.');
                text.extend(std::iter::repeat_n('0', self.point.unsigned_abs() as usize));
            }
        }
        for (i, digit) in self.digits.iter().enumerate() {
            if i > 0 && i as i32 == self.point {
                text.push('.');
            }
            text.push(char::from(*digit));
        }
        let zeros = (self.point - self.digits.len() as i32).max(0);
        text.extend(std::iter::repeat_n('0', zeros as usize));
        text
    }

    /// The double that is exactly this number as doubles are spelt.
    pub(super) fn as_double(&self) -> Option<f64> {
        let v: f64 = self.plain().parse().ok()?;
        let same = v.is_finite() && Digits::parse(&format!("{v:e}")).as_ref() == Some(self);
        same.then_some(v)
    }
}

/// `text` as a NUMBER is spelt; `None` where none is that number.
pub(super) fn number(text: &str) -> Option<Cow<'_, str>> {
    let short = text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    if short && (!text.starts_with('0') || text == "0") && !text.is_empty() {
        return Some(Cow::Borrowed(text));
    }
    let digits = Digits::parse(text)?;
    digits.fits_number().then(|| Cow::Owned(digits.plain()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spelling_is_plain_and_the_same_number() {
        for (text, plain) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007", "7"),
            ("1.50", "1.5"),
            ("-0.001", "-0.001"),
            ("1e3", "1000"),
            ("12.5e-3", "0.0125"),
            ("100.05", "100.05"),
            ("+3", "3"),
        ] {
            assert_eq!(Digits::parse(text).unwrap().plain(), plain);
        }
        for text in ["", "-", ".", "1.2.3", "1e", "x", "1 ", "٣", "1e999999999"] {
            assert_eq!(Digits::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_number_holds_ends_at_twenty_pairs_of_digits() {
        let nines = |n: usize| "9".repeat(n);
        assert!(Digits::parse(&nines(40)).unwrap().fits_number());
        assert!(!Digits::parse(&nines(41)).unwrap().fits_number());
        // The point stands between pairs: of an odd number of digits before it, one pair is half
        // empty.
        assert!(Digits::parse(&format!("{}.{}", nines(39), 9)).unwrap().scale() == 1);
        assert!(!Digits::parse(&format!("{}.{}", nines(39), 9)).unwrap().fits_number());
        assert!(Digits::parse(&format!("{}.{}", nines(38), nines(2))).unwrap().fits_number());
        for (text, fits) in [
            ("1e125", true),
            ("1e126", false),
            ("1e-130", true),
            ("1e-131", false),
            ("9.99e125", true),
            ("1e-129", true),
        ] {
            assert_eq!(Digits::parse(text).unwrap().fits_number(), fits, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_spelling_reads_back(negative: bool, digits in "[0-9]{1,40}", power in -60i32..60) {
            let sign = if negative { "-" } else { "" };
            let digits = Digits::parse(&format!("{sign}{digits}e{power}")).unwrap();
            prop_assert_eq!(Digits::parse(&digits.plain()), Some(digits));
        }

        #[test]
        fn integers_are_spelt_as_they_are(v: i64) {
            let text = v.to_string();
            prop_assert_eq!(number(&text).unwrap(), text.as_str());
        }

        #[test]
        fn doubles_come_back_to_the_bit(v in proptest::num::f64::NORMAL) {
            let digits = Digits::parse(&format!("{v:e}")).unwrap();
            prop_assert_eq!(digits.as_double().map(f64::to_bits), Some(v.to_bits()));
        }

        #[test]
        fn the_drivers_number_is_the_same_number(digits in "[1-9][0-9]{0,37}", power in -80i32..80) {
            let digits = Digits::parse(&format!("{digits}e{power}")).unwrap();
            prop_assume!(digits.fits_number());
            let number: oracledb::OracleNumber = digits.plain().parse().unwrap();
            prop_assert_eq!(number.to_string(), digits.plain());
        }

        #[test]
        fn nothing_makes_the_parser_panic(text in ".*") {
            let _ = number(&text);
        }
    }
}
