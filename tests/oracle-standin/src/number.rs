//! Oracle's NUMBER: up to 20 base-100 digits behind a byte of sign and exponent.

/// Decimal digits that always fit.
const PAIRS_MAX: usize = 20;

/// A decimal (`-12.5`, `1e20`) as Oracle stores it. `None` when it is not a number or too large;
/// digits behind the twentieth pair are rounded away, as Oracle does.
pub(crate) fn encode(text: &str) -> Option<Vec<u8>> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits: Vec<u8> = Vec::with_capacity(whole.len() + fraction.len() + 1);
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits.push(byte - b'0');
    }
    // The value is 0.DIGITS * 10^point.
    let mut point = whole.len() as i32 + exponent;
    let leading = digits.iter().take_while(|d| **d == 0).count();
    digits.drain(..leading);
    point -= leading as i32;
    if digits.is_empty() {
        return Some(vec![0x80]);
    }
    if point.rem_euclid(2) == 1 {
        digits.insert(0, 0);
        point += 1;
    }
    if round(&mut digits) {
        point += 2;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.len() % 2 == 1 {
        digits.push(0);
    }
    let exponent = point / 2 - 1;
    if exponent > 62 {
        return None;
    }
    if exponent < -65 {
        return Some(vec![0x80]);
    }
    let pairs = digits.chunks(2).map(|pair| pair[0] * 10 + pair[1]);
    let mut bytes = Vec::with_capacity(PAIRS_MAX + 2);
    if negative {
        bytes.push((0x3e - exponent) as u8);
        bytes.extend(pairs.map(|pair| 101 - pair));
        if bytes.len() <= PAIRS_MAX {
            bytes.push(102);
        }
    } else {
        bytes.push((0xc1 + exponent) as u8);
        bytes.extend(pairs.map(|pair| pair + 1));
    }
    Some(bytes)
}

/// Rounds half up to twenty pairs; whether a pair was added in front.
fn round(digits: &mut Vec<u8>) -> bool {
    if digits.len() <= PAIRS_MAX * 2 {
        return false;
    }
    let up = digits[PAIRS_MAX * 2] >= 5;
    digits.truncate(PAIRS_MAX * 2);
    if !up {
        return false;
    }
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return false;
        }
        *digit = 0;
    }
    digits.splice(0..0, [0, 1]);
    digits.truncate(PAIRS_MAX * 2);
    true
}

/// The plain decimal behind stored bytes; `None` when they are no NUMBER.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    let (&first, mantissa) = bytes.split_first()?;
    if first == 0x80 && mantissa.is_empty() {
        return Some("0".to_owned());
    }
    let negative = first < 0x80;
    let exponent = if negative { 0x3e - i32::from(first) } else { i32::from(first) - 0xc1 };
    let mantissa = match mantissa.split_last() {
        Some((102, rest)) if negative => rest,
        _ => mantissa,
    };
    if mantissa.is_empty() {
        return None;
    }
    let mut digits = String::with_capacity(mantissa.len() * 2);
    for &byte in mantissa {
        let pair = if negative { 101u8.checked_sub(byte)? } else { byte.checked_sub(1)? };
        if pair > 99 {
            return None;
        }
        digits.push(char::from(b'0' + pair / 10));
        digits.push(char::from(b'0' + pair % 10));
    }
    let point = (exponent + 1) * 2;
    let (whole, fraction) = if point <= 0 {
        (String::new(), "0".repeat(point.unsigned_abs() as usize) + &digits)
    } else if point as usize >= digits.len() {
        (digits.clone() + &"0".repeat(point as usize - digits.len()), String::new())
    } else {
        (digits[..point as usize].to_owned(), digits[point as usize..].to_owned())
    };
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let mut text = String::new();
    if negative {
        text.push('-');
    }
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_numbers_have_the_bytes_oracle_documents() {
        // The examples of Oracle's own documentation of DUMP.
        for (text, bytes) in [
            ("0", vec![0x80]),
            ("1", vec![193, 2]),
            ("-1", vec![62, 100, 102]),
            ("100", vec![194, 2]),
            ("123", vec![194, 2, 24]),
            ("-123", vec![61, 100, 78, 102]),
            ("0.1", vec![192, 11]),
            ("0.01", vec![192, 2]),
            ("123456.78", vec![195, 13, 35, 57, 79]),
            ("-123456.78", vec![60, 89, 67, 45, 23, 102]),
            ("1e20", vec![203, 2]),
        ] {
            assert_eq!(encode(text).as_deref(), Some(&bytes[..]), "{text}");
        }
    }

    #[test]
    fn the_ends_of_the_range_hold() {
        let most = "9".repeat(40) + &"0".repeat(86);
        assert_eq!(decode(&encode(&most).unwrap()).unwrap(), most);
        let least = format!("-{most}");
        assert_eq!(decode(&encode(&least).unwrap()).unwrap(), least);
        assert_eq!(decode(&encode("1e-130").unwrap()).unwrap(), format!("0.{}1", "0".repeat(129)));
        assert_eq!(encode("1e126"), None);
        assert_eq!(encode("1e-140").unwrap(), vec![0x80]);
        for wrong in ["", "-", ".", "x", "1x", "1e", "NaN"] {
            assert_eq!(encode(wrong), None, "{wrong}");
        }
        for wrong in [&[][..], &[193], &[193, 0], &[193, 200], &[62, 102]] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_rounded_half_up() {
        let text = "9".repeat(41);
        assert_eq!(decode(&encode(&text).unwrap()).unwrap(), format!("1{}", "0".repeat(41)));
        let text = format!("{}49", "12".repeat(20));
        assert_eq!(decode(&encode(&text).unwrap()).unwrap(), format!("{}00", "12".repeat(20)));
    }

    proptest! {
        #[test]
        fn every_decimal_of_38_digits_returns_as_it_was(
            negative: bool, digits in "[1-9][0-9]{0,36}[1-9]|[1-9]", scale in 0usize..60
        ) {
            let digits = if digits.len() <= scale {
                "0".repeat(scale - digits.len() + 1) + &digits
            } else {
                digits
            };
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if negative { "-" } else { "" };
            let text = if fraction.is_empty() {
                format!("{sign}{whole}")
            } else {
                format!("{sign}{whole}.{fraction}")
            };
            prop_assert_eq!(decode(&encode(&text).unwrap()).unwrap(), text);
        }

        #[test]
        fn stored_bytes_sort_as_their_numbers(a in -1_000_000_000i64..1_000_000_000, b: i32) {
            let b = i64::from(b);
            let (x, y) = (encode(&a.to_string()).unwrap(), encode(&b.to_string()).unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = decode(&bytes);
        }
    }
}
