//! The books of a table run, and the balance they must come to.

use serde::{Deserialize, Serialize};
use ssync_common::error::{Error, Kind, Result};

/// A shorter run says nothing about what it waited for.
const TELLING_MICROS: u64 = 200_000;

/// What kept a run from going faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// The source: claiming and reading.
    Source,
    /// Encryption and decryption.
    Crypto,
    /// What is between readers and writers: slots too small, or settling at the source behind them.
    Ring,
    /// The destination.
    Destination,
    /// A limit or a throttle.
    Throttle,
}

impl Bottleneck {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Bottleneck::Source => "the source",
            Bottleneck::Crypto => "encryption",
            Bottleneck::Ring => "batches to go round",
            Bottleneck::Destination => "the destination",
            Bottleneck::Throttle => "its limits",
        }
    }
}

/// What a table run counted. All are rows unless the name says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Set from 0 to 1 at the source (`status`).
    pub claimed: u64,
    /// Read from the source.
    pub read: u64,
    /// Committed at the destination, with their ledger row.
    pub landed: u64,
    /// Of the landed ones: left out because their key existed (`write = "ignore"`).
    pub skipped: u64,
    /// Bad rows.
    pub failed: u64,
    /// How often a row's parent was missing: once for each pass that met the row. It was put back
    /// to 0.
    pub orphans: u64,
    /// Rows that wait for their parents at the end.
    #[serde(default)]
    pub waiting: u64,
    /// Edited or deleted at the source between claim and read.
    pub withdrawn: u64,
    /// Landed, and the source shows it.
    pub settled: u64,
    /// Landed, but changed at the source meanwhile; they go again.
    pub changed: u64,
    /// Landed, but held locked by another session at the source: still in state 1 at the end.
    #[serde(default)]
    pub held: u64,
    /// How often a row was put back to 0 by this run; see [`Counts::put_back`].
    pub released: u64,
    /// Not landed, and still in state 1 at the end, because another session holds them locked.
    #[serde(default)]
    pub left: u64,
    /// To be sent, and held locked by another session at the source at the end (or, where locked rows
    /// cannot be told from their neighbours, beside such a row): left for the next run.
    pub left_locked: u64,
    /// Put right by recovery before the run: landed earlier, settled now.
    pub recovered: u64,
    /// Put back to 0 by recovery before the run.
    pub reopened: u64,
    /// Landed by an earlier part of this run, before it was resumed.
    pub resumed: u64,
    /// Bytes moved through the ring.
    pub bytes: u64,
    /// Batches dealt with.
    pub batches: u64,
    /// Time of the reading threads, all together, microseconds.
    #[serde(default)]
    pub reading_micros: u64,
    /// Part of it in which a throttle or a limit kept them waiting.
    #[serde(default)]
    pub throttle_micros: u64,
    /// Part of it in which they waited for a free slot of the ring.
    #[serde(default)]
    pub slot_micros: u64,
    /// Time of the writers, all together, at work or not, microseconds.
    #[serde(default)]
    pub writing_micros: u64,
    /// Time that writers spent encrypting and decrypting, microseconds.
    pub transform_micros: u64,
    /// Time that writers spent in the destination, microseconds.
    pub landing_micros: u64,
}

impl Counts {
    /// What the next run has to deal with, for people.
    pub fn for_the_next_run(&self) -> Vec<String> {
        let told = |n: u64, one: &str, many: &str| match n {
            0 => None,
            1 => Some(format!("1 row {one}")),
            n => Some(format!("{n} rows {many}")),
        };
        [
            told(
                self.left_locked + self.left,
                "was locked by another session and is left for the next run",
                "were locked by other sessions and are left for the next run",
            ),
            told(
                self.held,
                "has landed and is locked by another session: it stays in state 1 until the next run",
                "have landed and are locked by other sessions: they stay in state 1 until the next run",
            ),
            told(self.waiting, "waits for its parent", "wait for their parents"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether nothing was there to be done.
    pub fn is_nothing(&self) -> bool {
        self.read + self.resumed + self.recovered + self.reopened == 0
    }

    /// Rows that this run put back to 0 and left there.
    pub fn put_back(&self) -> u64 {
        // One that was put back for want of its parent, and met by the next pass, was counted twice.
        self.released.saturating_sub(self.orphans.saturating_sub(self.waiting))
    }

    /// Rows that were claimed, and neither put back to 0 nor left in state 1: the next attempt claims
    /// those once more.
    pub fn kept_claims(&self) -> u64 {
        self.claimed.saturating_sub(self.released + self.left)
    }

    /// Adds another attempt's books. What was resumed is not added: a later attempt resumes what
    /// an earlier one landed. Nor are rows that a later attempt meets once more: those that wait,
    /// and where rows have no state the bad ones.
    pub fn add(&mut self, other: &Counts) {
        let resumed = if self.landed > 0 { self.resumed } else { other.resumed };
        let has_state = self.claimed + other.claimed > 0;
        let failed = match has_state {
            true => self.failed + other.failed,
            false => self.failed.max(other.failed),
        };
        let sum = |a: &mut u64, b: u64| *a += b;
        sum(&mut self.claimed, other.claimed);
        sum(&mut self.read, other.read);
        sum(&mut self.landed, other.landed);
        sum(&mut self.skipped, other.skipped);
        sum(&mut self.orphans, other.orphans);
        sum(&mut self.withdrawn, other.withdrawn);
        sum(&mut self.settled, other.settled);
        sum(&mut self.changed, other.changed);
        sum(&mut self.released, other.released);
        // What is so at the end: the last attempt knows.
        self.waiting = other.waiting;
        self.held = other.held;
        self.left = other.left;
        self.left_locked = other.left_locked;
        sum(&mut self.recovered, other.recovered);
        sum(&mut self.reopened, other.reopened);
        sum(&mut self.bytes, other.bytes);
        sum(&mut self.batches, other.batches);
        sum(&mut self.reading_micros, other.reading_micros);
        sum(&mut self.throttle_micros, other.throttle_micros);
        sum(&mut self.slot_micros, other.slot_micros);
        sum(&mut self.writing_micros, other.writing_micros);
        sum(&mut self.transform_micros, other.transform_micros);
        sum(&mut self.landing_micros, other.landing_micros);
        self.resumed = resumed;
        self.failed = failed;
        self.waiting = other.waiting;
    }

    /// What the run waited for most, and in how many of a hundred parts of its time; `None` for one
    /// too short to tell.
    pub fn bottleneck(&self) -> Option<(Bottleneck, u8)> {
        if self.reading_micros < TELLING_MICROS {
            return None;
        }
        let waited = self.throttle_micros + self.slot_micros;
        let work = self.transform_micros + self.landing_micros;
        // Where readers wait and writers do not work, what is between them is at fault.
        let behind = match () {
            () if work * 2 < self.writing_micros => Bottleneck::Ring,
            () if self.transform_micros > self.landing_micros => Bottleneck::Crypto,
            () => Bottleneck::Destination,
        };
        let (what, micros) = [
            (Bottleneck::Throttle, self.throttle_micros),
            (behind, self.slot_micros),
            (Bottleneck::Source, self.reading_micros.saturating_sub(waited)),
        ]
        .into_iter()
        .max_by_key(|(_, micros)| *micros)?;
        Some((what, (micros * 100 / self.reading_micros).min(100) as u8))
    }

    /// Rows that this run was to send or to settle, and the next one has to, because others held
    /// them locked.
    pub fn locked_rows(&self) -> u64 {
        self.held + self.left + self.left_locked
    }

    /// The balance of a table that came to its end: every row that was claimed is accounted for,
    /// and the source shows what landed.
    pub fn balance(&self, status: bool) -> Result<()> {
        let taken =
            if status { self.claimed - self.withdrawn.min(self.claimed) } else { self.read };
        let dealt = self.landed + self.failed + self.orphans;
        let even = taken == dealt
            && self.read == dealt
            && self.landed == self.settled + self.changed + self.held;
        if even {
            return Ok(());
        }
        Err(Error::new(Kind::Balance, "the books of this run do not balance")
            .detail(format!(
                "claimed {} = landed {} + failed {} + withdrawn {} + orphans {}",
                self.claimed, self.landed, self.failed, self.withdrawn, self.orphans
            ))
            .detail(format!("read {}", self.read))
            .detail(format!(
                "landed {} = settled {} + changed since {} + held locked {}",
                self.landed, self.settled, self.changed, self.held
            ))
            .hint(
                "One of these equations does not hold. Compare source and destination before \
                 going on, and please report it with the worker's log.",
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_is_what_most_of_the_time_was_waited_for() {
        let base = Counts {
            reading_micros: 1_000_000,
            writing_micros: 2_000_000,
            landing_micros: 1_600_000,
            transform_micros: 200_000,
            ..Counts::default()
        };
        for (counts, told) in [
            (Counts { slot_micros: 800_000, ..base }, Some((Bottleneck::Destination, 80))),
            (Counts { slot_micros: 300_000, ..base }, Some((Bottleneck::Source, 70))),
            (
                Counts { slot_micros: 800_000, transform_micros: 1_700_000, ..base },
                Some((Bottleneck::Crypto, 80)),
            ),
            (
                Counts { slot_micros: 800_000, landing_micros: 500_000, ..base },
                Some((Bottleneck::Ring, 80)),
            ),
            (
                Counts { slot_micros: 300_000, throttle_micros: 600_000, ..base },
                Some((Bottleneck::Throttle, 60)),
            ),
            (Counts { reading_micros: 1000, ..base }, None),
        ] {
            assert_eq!(counts.bottleneck(), told, "{counts:?}");
        }
    }

    #[test]
    fn rows_that_come_twice_are_counted_once() {
        // One orphan, met by both passes; the second attempt meets it twice more.
        let passes =
            Counts { claimed: 13, orphans: 2, released: 2, waiting: 1, ..Counts::default() };
        assert_eq!(passes.put_back(), 1);
        // Put back after a failure before the second pass had met it.
        let broken = Counts { orphans: 1, released: 2, waiting: 0, ..passes };
        assert_eq!(broken.put_back(), 1);
        let mut both = passes;
        both.add(&passes);
        assert_eq!((both.orphans, both.waiting), (4, 1));
        // Rows with a state are not read again when they are bad, others are.
        for (claimed, failed) in [(10, 5), (0, 3)] {
            let mut all = Counts { claimed, failed: 2, ..Counts::default() };
            all.add(&Counts { claimed, failed: 3, ..Counts::default() });
            assert_eq!(all.failed, failed);
        }
    }

    #[test]
    fn the_balance_notices_a_single_missing_row() {
        let good = Counts {
            claimed: 10,
            withdrawn: 1,
            read: 9,
            landed: 7,
            failed: 1,
            orphans: 1,
            settled: 6,
            changed: 1,
            ..Counts::default()
        };
        assert!(good.balance(true).is_ok());
        for bent in [
            Counts { claimed: 11, ..good },
            Counts { withdrawn: 0, ..good },
            Counts { read: 10, ..good },
            Counts { landed: 8, ..good },
            Counts { failed: 0, ..good },
            Counts { settled: 7, ..good },
        ] {
            assert_eq!(bent.balance(true).unwrap_err().kind, Kind::Balance, "{bent:?}");
        }
    }
}
