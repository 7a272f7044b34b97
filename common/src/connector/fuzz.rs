//! Inputs by chance for whatever decodes what a server sends: each is decoded or refused, and
//! nothing panics. A fixed seed and a few thousand inputs, unless the long form says otherwise
//! (`tests/README.md`).

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Inputs of the ordinary form.
const INPUTS: u64 = 5_000;

/// A source of chance (SplitMix64), and of bytes that decoders may stumble over.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A byte, more often than not one at an end of a range.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => *self.pick(&[0, 1, 23, 24, 59, 60, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff]),
            _ => self.next() as u8,
        }
    }

    /// At most so many bytes.
    pub(crate) fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.byte()).collect()
    }

    /// Text of pieces that mean something to a parser, and of others.
    pub(crate) fn text(&mut self, pieces: &[&str]) -> String {
        const OTHERS: &[&str] = &[
            "0",
            "9",
            "18446744073709551615",
            "9223372036854775807",
            "2147483648",
            "-",
            "+",
            ".",
            ":",
            " ",
            ",",
            "'",
            "`",
            "(",
            ")",
            "e",
            "\0",
            "é",
            "中",
            "\u{10ffff}",
        ];
        let mut text = String::new();
        for _ in 0..self.below(12) {
            let from = if self.below(3) == 0 { OTHERS } else { pieces };
            text += from[self.below(from.len())];
        }
        text
    }

    /// Changes, cuts or lengthens it here and there, or leaves it as it is.
    pub(crate) fn bend(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(4) {
            match self.below(4) {
                0 => bytes.truncate(self.below(bytes.len() + 1)),
                1 => bytes.push(self.byte()),
                _ if bytes.is_empty() => {}
                _ => {
                    let at = self.below(bytes.len());
                    bytes[at] = self.byte();
                }
            }
        }
    }
}

/// Gives a decoder its inputs: `SSYNC_TEST_FUZZ_INPUTS` of them, by `SSYNC_TEST_SEED`. Says by
/// which seed an input is had again that makes it panic.
pub(crate) fn inputs(decode: impl Fn(&mut Chance)) {
    let variable = |name, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    };
    let seed: u64 = variable("SSYNC_TEST_SEED", 20_260_101);
    let count: u64 = variable("SSYNC_TEST_FUZZ_INPUTS", INPUTS);
    for n in 0..count {
        let chance = || Chance(seed.wrapping_add(n));
        let decoded = catch_unwind(AssertUnwindSafe(|| decode(&mut chance())));
        assert!(
            decoded.is_ok(),
            "repeat it with SSYNC_TEST_SEED={} SSYNC_TEST_FUZZ_INPUTS=1",
            seed.wrapping_add(n)
        );
    }
}
