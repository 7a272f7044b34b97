//! Alternating runs of several contenders.

use serde_json::{Value, json};

use super::arena::{Arena, DEST};
use super::check::{Content, assert_same};
use super::contender::{Contender, Run, run};
use super::ssync::keys;
use super::stats::Series;
use super::watch::Seen;

/// All runs of one contender.
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// A first run, for memory; its time does not count.
    pub first: Run,
    /// The timed runs in order.
    pub runs: Vec<Run>,
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
    let checked = |contender: &mut dyn Contender, round: usize| {
        let run = run(contender, arena, round == 0);
        let mut seals = contender.seals().then(|| arena.workload.seals(&keys(), DEST));
        let found = arena.dest_content(seals.as_mut());
        assert_same(source, &found, &contender.name());
        eprintln!(
            "round {round}: {:6.2} s  {} (cpu: client {:.2}, source {:.2}, destination {:.2}, \
             others {:.2})",
            run.wall_secs,
            contender.name(),
            run.client_cpu_secs,
            run.source_cpu_secs,
            run.dest_cpu_secs,
            run.other_cpu_secs
        );
        run
    };
    let mut outcomes: Vec<Outcome> = contenders
        .iter_mut()
        .map(|c| Outcome {
            name: c.name(),
            first: checked(c.as_mut(), 0),
            runs: Vec::new(),
            rows: arena.workload.rows(),
            bytes: arena.bytes,
        })
        .collect();
    for round in 1..=rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for i in order {
            outcomes[i].runs.push(checked(contenders[i].as_mut(), round));
        }
    }
    outcomes
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
        self.first.tree.pss_sum_peak_bytes
    }

    /// Each process by name, in order of appearance: memory from the first run, processor time as
    /// the median of the timed ones.
    pub fn processes(&self) -> Vec<Seen> {
        let cpu = |name: &str| {
            let all = self.runs.iter().flat_map(|r| &r.tree.processes);
            all.filter(|p| p.name == name).map(|p| p.cpu_secs).collect::<Series>()
        };
        let first = self.first.tree.processes.iter();
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
            "first_wall_secs": self.first.wall_secs,
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
