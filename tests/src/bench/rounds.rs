//! Alternating runs of several contenders.

use serde_json::{Value, json};

use super::arena::{Arena, DEST, connect};
use super::check::{Content, Seals, assert_same, content};
use super::contender::{Contender, Run, run};
use super::ssync::keys;
use super::stats::Series;
use super::watch::Seen;

/// All runs of one contender.
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Its runs in order.
    pub runs: Vec<Run>,
    /// Rows that each run moves.
    pub rows: u64,
    /// Bytes of those rows as text.
    pub bytes: u64,
}

/// Runs every contender once a round, in turn forwards and backwards, so that a machine that
/// slows down or speeds up favours none.
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
            runs: Vec::new(),
            rows: arena.files.rows,
            bytes: arena.files.bytes,
        })
        .collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let contender = contenders[i].as_mut();
            let run = run(contender, arena);
            let mut seals = contender.seals().then(|| Seals::new(&keys(), DEST));
            let found = content(&mut connect(&arena.dest), DEST, seals.as_mut());
            assert_same(source, &found, &contender.name());
            eprintln!(
                "round {}: {:6.2} s  {} (cpu: client {:.2}, source {:.2}, destination {:.2}, others {:.2})",
                round + 1,
                run.wall_secs,
                contender.name(),
                run.client_cpu_secs,
                run.source_cpu_secs,
                run.dest_cpu_secs,
                run.other_cpu_secs
            );
            outcomes[i].runs.push(run);
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
    pub fn pss_sum(&self) -> Series {
        self.series(|r| r.tree.pss_sum_peak_bytes as f64)
    }

    /// Each process by name with its medians, in order of appearance.
    pub fn processes(&self) -> Vec<Seen> {
        let mut names: Vec<&str> = Vec::new();
        for p in self.runs.iter().flat_map(|r| &r.tree.processes) {
            if !names.contains(&p.name.as_str()) {
                names.push(&p.name);
            }
        }
        let median = |name: &str, figure: &dyn Fn(&Seen) -> f64| {
            let all = self.runs.iter().flat_map(|r| &r.tree.processes);
            all.filter(|p| p.name == name).map(figure).collect::<Series>().median()
        };
        names
            .iter()
            .map(|name| Seen {
                name: (*name).to_owned(),
                cpu_secs: median(name, &|p| p.cpu_secs),
                pss_peak_bytes: median(name, &|p| p.pss_peak_bytes as f64) as u64,
                rss_peak_bytes: median(name, &|p| p.rss_peak_bytes as f64) as u64,
            })
            .collect()
    }

    /// For a machine to read.
    pub fn json(&self) -> Value {
        let wall = self.wall();
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
            "wall_secs": wall.json(),
            "rows_per_sec": (self.rows as f64 / wall.median()).round(),
            "bytes_per_sec": (self.bytes as f64 / wall.median()).round(),
            "client_cpu_secs": self.series(|r| r.client_cpu_secs).json(),
            "source_cpu_secs": self.series(|r| r.source_cpu_secs).json(),
            "dest_cpu_secs": self.series(|r| r.dest_cpu_secs).json(),
            "other_cpu_secs": self.series(|r| r.other_cpu_secs).json(),
            "stolen_secs": self.series(|r| r.stolen_secs).json(),
            "pss_sum_peak_bytes": self.pss_sum().json(),
            "processes": processes,
            "facts": self.runs.iter().map(|r| r.facts.clone()).collect::<Vec<_>>(),
        })
    }
}

/// The ratio of two contenders' times, one value a round: how much longer `of` took than `to`.
pub fn ratio(of: &Outcome, to: &Outcome) -> Series {
    of.runs.iter().zip(&to.runs).map(|(a, b)| a.wall_secs / b.wall_secs).collect()
}
