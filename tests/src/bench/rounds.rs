//! Alternating runs of several contenders.

use std::panic::{self, AssertUnwindSafe};

use serde_json::{Value, json};

use super::arena::{Arena, DEST, connect};
use super::check::{Content, assert_same, content};
use super::contender::{Contender, Run, run};
use super::ssync::keys;
use super::stats::Series;
use super::watch::Seen;

/// All runs of one contender.
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// A first run, for memory; its time does not count. `None` if it failed.
    pub first: Option<Run>,
    /// The timed runs in order.
    pub runs: Vec<Run>,
    /// Why it takes part no more: what it said when it failed, or that its rows differ.
    pub failure: Option<String>,
    /// Rows that each run moves.
    pub rows: u64,
    /// Bytes of those rows as text.
    pub bytes: u64,
}

/// Runs every contender once to look at its memory and to warm everything up, then once a round,
/// in turn forwards and backwards, so that a machine that slows down or speeds up favours none.
pub fn rounds(
    arena: &Arena,
    source: &Content,
    contenders: &mut [Box<dyn Contender>],
    rounds: usize,
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = contenders
        .iter()
        .map(|c| Outcome {
            name: c.name(),
            first: None,
            runs: Vec::new(),
            failure: None,
            rows: arena.workload.rows(),
            bytes: arena.bytes,
        })
        .collect();
    for round in 0..=rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round > 0 && round % 2 == 0 {
            order.reverse();
        }
        for i in order {
            let (contender, outcome) = (contenders[i].as_mut(), &mut outcomes[i]);
            if round > contender.rounds_max() || outcome.failure.is_some() {
                continue;
            }
            match attempt(arena, source, contender, round) {
                Ok(run) if round == 0 => outcome.first = Some(run),
                Ok(run) => outcome.runs.push(run),
                Err(message) => outcome.failure = Some(message),
            }
        }
    }
    outcomes
}

/// Whatever goes wrong is a panic; that of a contender that may fail becomes its result.
fn attempt(
    arena: &Arena,
    source: &Content,
    contender: &mut dyn Contender,
    round: usize,
) -> Result<Run, String> {
    if !contender.may_fail() {
        return Ok(checked(arena, source, contender, round));
    }
    panic::catch_unwind(AssertUnwindSafe(|| checked(arena, source, contender, round))).map_err(
        |payload| match payload.downcast::<String>() {
            Ok(message) => *message,
            Err(payload) => payload.downcast_ref().map_or("", |text: &&str| *text).to_owned(),
        },
    )
}

/// A run whose rows are those of the source.
fn checked(arena: &Arena, source: &Content, contender: &mut dyn Contender, round: usize) -> Run {
    let run = run(contender, arena, round == 0);
    let table = contender.table();
    let mut seals = contender.seals().then(|| arena.workload.seals(&keys(), DEST));
    let found = match table {
        DEST => arena.dest_content(seals.as_mut()),
        other => content(&mut connect(&arena.dest), &arena.workload, other, seals.as_mut()),
    };
    assert_same(source, &found, &contender.name());
    eprintln!(
        "round {round}: {:6.2} s  {} (cpu: client {:.2}, source {:.2}, destination {:.2}, others \
         {:.2})",
        run.wall_secs,
        contender.name(),
        run.client_cpu_secs,
        run.source_cpu_secs,
        run.dest_cpu_secs,
        run.other_cpu_secs
    );
    run
}

impl Outcome {
    /// One figure over all runs.
    pub fn series(&self, figure: impl Fn(&Run) -> f64) -> Series {
        self.runs.iter().map(figure).collect()
    }

    /// Seconds from start to end.
    pub fn wall(&self) -> Series {
        self.series(|r| r.wall_secs)
    }

    /// Peak of the sum of all its processes' memory, bytes.
    pub fn pss_sum_peak_bytes(&self) -> u64 {
        self.first.as_ref().map_or(0, |run| run.tree.pss_sum_peak_bytes)
    }

    /// Each process by name, in order of appearance: memory from the first run, processor time as
    /// the median of the timed ones.
    pub fn processes(&self) -> Vec<Seen> {
        let cpu = |name: &str| {
            let all = self.runs.iter().flat_map(|r| &r.tree.processes);
            all.filter(|p| p.name == name).map(|p| p.cpu_secs).collect::<Series>()
        };
        let first = self.first.iter().flat_map(|run| &run.tree.processes);
        first
            .map(|p| {
                let cpu = cpu(&p.name);
                let cpu_secs = if cpu.values().is_empty() { p.cpu_secs } else { cpu.median() };
                Seen { cpu_secs, ..p.clone() }
            })
            .collect()
    }

    /// For a machine to read.
    pub fn json(&self) -> Value {
        let processes: Vec<Value> = self
            .processes()
            .iter()
            .map(|p| {
                json!({
                    "name": p.name,
                    "cpu_secs": p.cpu_secs,
                    "pss_peak_bytes": p.pss_peak_bytes,
                    "rss_peak_bytes": p.rss_peak_bytes,
                })
            })
            .collect();
        json!({
            "name": self.name,
            "rows": self.rows,
            "bytes": self.bytes,
            "failure": self.failure,
            "first_wall_secs": self.first.as_ref().map(|run| run.wall_secs),
            "wall_secs": self.wall().json(),
            "client_cpu_secs": self.series(|r| r.client_cpu_secs).json(),
            "source_cpu_secs": self.series(|r| r.source_cpu_secs).json(),
            "dest_cpu_secs": self.series(|r| r.dest_cpu_secs).json(),
            "other_cpu_secs": self.series(|r| r.other_cpu_secs).json(),
            "stolen_secs": self.series(|r| r.stolen_secs).json(),
            "pss_sum_peak_bytes": self.pss_sum_peak_bytes(),
            "processes": processes,
            "facts": self.runs.iter().map(|r| r.facts.clone()).collect::<Vec<_>>(),
        })
    }
}

/// The ratio of two contenders' times, one value a round: how much longer `of` took than `to`.
pub fn ratio(of: &Outcome, to: &Outcome) -> Series {
    of.runs.iter().zip(&to.runs).map(|(a, b)| a.wall_secs / b.wall_secs).collect()
}
