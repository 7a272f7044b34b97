//! The benchmark program behind `scripts/bench`. See [`ssync_tests::bench`].

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use serde_json::json;
use ssync_tests::bench::arena::{Arena, SOURCE, connect};
use ssync_tests::bench::check::{Content, content};
use ssync_tests::bench::contender::{Contender, InsertSelect, LoadData};
use ssync_tests::bench::machine::Machine;
use ssync_tests::bench::plot::{Bar, bars};
use ssync_tests::bench::report::{Report, processes, table};
use ssync_tests::bench::rounds::{Outcome, ratio, rounds};
use ssync_tests::bench::ssync::{Setup, Ssync};
use ssync_tests::bench::stats::Series;

/// Times whole runs of ssync between two private MariaDB servers, beside what the database offers
/// by itself. Every result is compared with the source, row by row, before its time counts.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = What::LoadData)]
    what: What,
    /// A short run: 100,000 rows, 2 rounds
    #[arg(long)]
    quick: bool,
    /// Rows of the table [default: 1000000, with --quick 100000]
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Rounds; each runs every contender once [default: 5, with --quick 2]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Files that the rows stand ready in; each becomes one transaction of LOAD DATA
    #[arg(long, value_name = "N", default_value_t = 4)]
    files: u64,
    /// The binary to measure
    #[arg(long, value_name = "FILE", default_value = "target/release/ssync")]
    ssync: PathBuf,
    /// compare: another binary to measure beside it
    #[arg(long, value_name = "FILE")]
    other: Option<PathBuf>,
    /// compare: the mode
    #[arg(long, value_name = "MODE", default_value = "full")]
    mode: String,
    /// Without encryption
    #[arg(long)]
    plain: bool,
    /// Also write the results into this document, beside the JSON in target/bench
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// ssync `full` beside LOAD DATA on 1, 2 and 4 connections and INSERT … SELECT
    LoadData,
    /// ssync `status` beside `full`
    Status,
    /// ssync `full` with 1 to 4 writers
    Writers,
    /// Two binaries of ssync beside each other
    Compare,
}

fn main() {
    let args = Args::parse();
    let rows = args.rows.unwrap_or(if args.quick { 100_000 } else { 1_000_000 });
    let bench = Bench {
        rounds: args.rounds.unwrap_or(if args.quick { 2 } else { 5 }),
        arena: Arena::new(Path::new("target/bench/data"), rows, rows.div_ceil(args.files)),
        args,
    };
    match bench.args.what {
        What::LoadData => bench.load_data(),
        What::Status => bench.status(),
        What::Writers => bench.writers(),
        What::Compare => bench.compare(),
    }
}

struct Bench {
    args: Args,
    arena: Arena,
    rounds: usize,
}

impl Bench {
    fn ssync(&self, mode: &'static str, change: impl FnOnce(&mut Setup)) -> Box<dyn Contender> {
        let program = self.args.ssync.canonicalize().expect("the binary is built");
        let mut setup = Setup::new(&program, mode);
        setup.seals = !self.args.plain;
        change(&mut setup);
        Box::new(Ssync::new(&self.arena, setup))
    }

    fn run(&self, mut contenders: Vec<Box<dyn Contender>>) -> Vec<Outcome> {
        let source: Content = content(&mut connect(&self.arena.source), SOURCE, None);
        rounds(&self.arena, &source, &mut contenders, self.rounds)
    }

    fn report(&self, name: &'static str, outcomes: &[Outcome], title: &str, body: &str) {
        let mut command = format!("scripts/bench {name}");
        for (flag, given) in [
            ("--quick", self.args.quick.then(String::new)),
            ("--rows", self.args.rows.map(|n| n.to_string())),
            ("--rounds", self.args.rounds.map(|n| n.to_string())),
            ("--plain", self.args.plain.then(String::new)),
        ] {
            if let Some(value) = given {
                command += format!(" {flag} {value}").trim_end();
            }
        }
        let report = Report {
            name,
            command,
            machine: Machine::look(&self.args.ssync),
            json_dir: "target/bench".into(),
            document: self.args.document.clone(),
        };
        let shown: Vec<Bar> = outcomes
            .iter()
            .map(|o| Bar {
                label: o.name.clone(),
                values: o.wall(),
                ours: o.name.starts_with("ssync"),
            })
            .collect();
        let plot = (format!("{name}.svg"), bars(title, "s", &shown));
        let results: Vec<_> = outcomes.iter().map(Outcome::json).collect();
        report.write(json!(results), title, body, &[plot]);
    }

    fn title(&self, what: &str) -> String {
        let rows = ssync_tests::bench::report::thousands(self.arena.files.rows as f64);
        let mb = self.arena.files.bytes as f64 / 1e6;
        format!("{what}: {rows} rows × 12 columns, {mb:.0} MB as text")
    }

    fn load_data(&self) {
        self.arena.make_copy();
        let load = |connections| Box::new(LoadData { connections }) as Box<dyn Contender>;
        let outcomes = self.run(vec![
            self.ssync("full", |_| {}),
            load(2),
            load(1),
            load(4),
            Box::new(InsertSelect),
        ]);
        let ratio = ratio(&outcomes[1], &outcomes[0]);
        let body = format!(
            "{}\nTime of {} / time of {}: **{}**.\n\n{}",
            table(&outcomes),
            outcomes[1].name,
            outcomes[0].name,
            shown(&ratio),
            processes(&outcomes[0])
        );
        self.report("load-data", &outcomes, &self.title("Full load"), &body);
    }

    fn status(&self) {
        self.arena.make_status_source();
        let outcomes = self.run(vec![self.ssync("status", |_| {}), self.ssync("full", |_| {})]);
        let body = format!(
            "{}\nTime of status / time of full: **{}**.\n\n{}",
            table(&outcomes),
            shown(&ratio(&outcomes[0], &outcomes[1])),
            processes(&outcomes[0])
        );
        self.report("status", &outcomes, &self.title("Status at the source"), &body);
    }

    fn writers(&self) {
        let outcomes = self.run((1..=4).map(|n| self.ssync("full", |s| s.writers = n)).collect());
        self.report("writers", &outcomes, &self.title("Writers"), &table(&outcomes));
    }

    fn compare(&self) {
        let mode = if self.args.mode == "status" { "status" } else { "full" };
        if mode == "status" {
            self.arena.make_status_source();
        }
        let other = self.args.other.as_ref().expect("--other FILE").canonicalize().unwrap();
        let outcomes = self.run(vec![
            self.ssync(mode, |_| {}),
            self.ssync(mode, |s| {
                s.label = "ssync (other)".into();
                s.program = other;
            }),
        ]);
        let body = format!(
            "{}\nTime of the other / of this one: **{}**.\n\n{}\n{}",
            table(&outcomes),
            shown(&ratio(&outcomes[1], &outcomes[0])),
            processes(&outcomes[0]),
            processes(&outcomes[1])
        );
        self.report("compare", &outcomes, &self.title("Two binaries"), &body);
    }
}

fn shown(ratio: &Series) -> String {
    format!("{:.2} (median of pairs; {:.2}–{:.2})", ratio.median(), ratio.min(), ratio.max())
}
