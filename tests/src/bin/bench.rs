//! The benchmark program behind `scripts/bench`. See [`ssync_tests::bench`].

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use ssync_tests::bench::arena::{Arena, DEST, SOURCE, connect};
use ssync_tests::bench::check::{assert_same, content};
use ssync_tests::bench::contender::{self, Contender, InsertSelect, LoadData, LoadDataAndUpdates};
use ssync_tests::bench::large::{assert_room, kill_and_resume};
use ssync_tests::bench::machine::Machine;
use ssync_tests::bench::peers::peers;
use ssync_tests::bench::plot::{Bar, Curve, bars, curves};
use ssync_tests::bench::report::{Report, cell, processes, table, thousands};
use ssync_tests::bench::rounds::{Outcome, ratio, rounds};
use ssync_tests::bench::small::{self, SmallTables};
use ssync_tests::bench::ssync::{Setup, Ssync, keys};
use ssync_tests::bench::stats::Series;
use ssync_tests::bench::workload::{FAT_BYTES, Workload};
use ssync_tests::bench::workloads::{self, Line};

/// Stages of `ssync bench`.
const STAGES: [&str; 4] = ["decode", "ring", "seal", "encode"];

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
    /// Run ssync under this program, such as "perf record -g"
    #[arg(long, value_name = "COMMAND", default_value = "")]
    under: String,
    /// Without encryption
    #[arg(long)]
    plain: bool,
    /// large: rows of 64 KB texts and blobs, 10 GB of them
    #[arg(long)]
    fat: bool,
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
    /// ssync `full` with and without its one state of the source and its count at the end
    Proofs,
    /// ssync `full` with 1 to 10 writers
    Writers,
    /// Memory of each process: tables of two sizes, and rows of 1 MB and 10 MB
    Memory,
    /// 20,000,000 rows, killed three times on the way; and a table beside one of ten times its size
    Large,
    /// Tables of every shape, and orders in every mode, beside LOAD DATA on 2 connections
    Workloads,
    /// Many tables of 100 rows in one task: what each costs beside its SQL
    Small,
    /// ssync beside mydumper, mariadb-dump, pt-archiver, Sling and faucet
    Peers,
    /// Instructions of each stage in memory, counted by valgrind's callgrind
    Instructions,
    /// Two binaries of ssync beside each other
    Compare,
}

fn main() {
    let args = Args::parse();
    let rows = args.rows.unwrap_or(if args.quick { 100_000 } else { 1_000_000 });
    let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 5 });
    let bench = Bench { args, rows, rounds };
    match bench.args.what {
        What::LoadData => bench.load_data(),
        What::Status => bench.status(),
        What::Proofs => bench.proofs(),
        What::Writers => bench.writers(),
        What::Memory => bench.memory(),
        What::Large if bench.args.fat => bench.large_fat(),
        What::Large => bench.large(),
        What::Workloads => bench.workloads(),
        What::Small => bench.small(),
        What::Peers => bench.peers(),
        What::Instructions => bench.instructions(),
        What::Compare => bench.compare(),
    }
}

struct Bench {
    args: Args,
    rows: u64,
    rounds: usize,
}

impl Bench {
    fn arena(&self, workload: Workload) -> Arena {
        Arena::new(Path::new("target/bench/data"), workload, self.args.files)
    }

    fn orders(&self) -> Arena {
        self.arena(Workload::Orders { rows: self.rows })
    }

    fn ssync(
        &self,
        arena: &Arena,
        mode: &'static str,
        change: impl FnOnce(&mut Setup),
    ) -> Box<dyn Contender> {
        let program = self.args.ssync.canonicalize().expect("the binary is built");
        let mut setup = Setup::new(&program, mode);
        setup.seals = !self.args.plain;
        setup.under = self.args.under.split_whitespace().map(str::to_owned).collect();
        change(&mut setup);
        Box::new(Ssync::new(arena, setup))
    }

    fn run(
        &self,
        arena: &Arena,
        mut contenders: Vec<Box<dyn Contender>>,
        count: usize,
    ) -> Vec<Outcome> {
        let source = content(&mut connect(&arena.source), &arena.workload, SOURCE, None);
        rounds(arena, &source, &mut contenders, count)
    }

    fn report(
        &self,
        name: &'static str,
        title: &str,
        body: &str,
        outcomes: &[Outcome],
        plot: String,
    ) {
        let results: Vec<_> = outcomes.iter().map(Outcome::json).collect();
        let plots = [(format!("{name}.svg"), plot)];
        self.report_json(name, title, body, json!(results), &plots);
    }

    fn report_json(
        &self,
        name: &'static str,
        title: &str,
        body: &str,
        results: Value,
        plots: &[(String, String)],
    ) {
        let what = self.args.what.to_possible_value().unwrap();
        let mut command = format!("scripts/bench {}", what.get_name());
        for (flag, given) in [
            ("--quick", self.args.quick.then(String::new)),
            ("--rows", self.args.rows.map(|n| n.to_string())),
            ("--rounds", self.args.rounds.map(|n| n.to_string())),
            ("--fat", self.args.fat.then(String::new)),
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
        report.write(results, title, body, plots);
    }

    /// Reports with a table of times, and bars.
    fn report_times(
        &self,
        name: &'static str,
        what: &str,
        arena: &Arena,
        outcomes: &[Outcome],
        more: &str,
    ) {
        let mb = arena.bytes as f64 / 1e6;
        let title = format!("{what}: {}, {mb:.0} MB as text", arena.workload.shown());
        let shown: Vec<Bar> = outcomes
            .iter()
            .filter(|o| o.failure.is_none())
            .map(|o| Bar {
                label: o.name.clone(),
                values: o.wall(),
                ours: o.name.starts_with("ssync"),
            })
            .collect();
        let body = format!("{}\n{more}", table(outcomes));
        self.report(name, &title, &body, outcomes, bars(&title, "s", &shown));
    }

    fn load_data(&self) {
        let arena = self.orders();
        arena.make_copy();
        let load = |connections| Box::new(LoadData { connections }) as Box<dyn Contender>;
        let contenders = vec![
            self.ssync(&arena, "full", |_| {}),
            load(2),
            load(1),
            load(4),
            Box::new(InsertSelect),
            self.ssync(&arena, "full", |s| s.seals = false),
        ];
        let outcomes = self.run(&arena, contenders, self.rounds);
        let more = format!(
            "Time of {} / time of {}: **{}**. With nothing encrypted: **{}**; encryption makes ssync \
             take **{}** times as long.\n\n{}\n{}",
            outcomes[1].name,
            outcomes[0].name,
            shown(&ratio(&outcomes[1], &outcomes[0])),
            shown(&ratio(&outcomes[1], &outcomes[5])),
            shown(&ratio(&outcomes[0], &outcomes[5])),
            processes(&outcomes[0]),
            processes(&outcomes[5])
        );
        self.report_times("load-data", "Full load", &arena, &outcomes, &more);
    }

    fn status(&self) {
        let arena = self.orders();
        arena.make_status_source();
        let load = || LoadData { connections: 2 };
        let contenders = vec![
            self.ssync(&arena, "status", |_| {}),
            self.ssync(&arena, "full", |_| {}),
            Box::new(load()),
            Box::new(LoadDataAndUpdates { load: load() }),
        ];
        let outcomes = self.run(&arena, contenders, self.rounds);
        let more = format!(
            "Time of status / time of full: **{}**. The two updates alone make LOAD DATA take **{}** \
             times as long.\n\n{}",
            shown(&ratio(&outcomes[0], &outcomes[1])),
            shown(&ratio(&outcomes[3], &outcomes[2])),
            processes(&outcomes[0])
        );
        self.report_times("status", "Status at the source", &arena, &outcomes, &more);
    }

    fn proofs(&self) {
        let arena = self.orders();
        let without = |label: &str, task: &str, table: &str| {
            self.ssync(&arena, "full", |s| {
                s.label = format!("ssync {label},");
                s.task_lines = task.to_owned();
                s.table_lines = table.to_owned();
            })
        };
        let (snapshot, count) = ("snapshot = false", "count = false");
        let contenders = vec![
            self.ssync(&arena, "full", |_| {}),
            without(snapshot, snapshot, ""),
            without(count, "", count),
            without("without both", snapshot, count),
        ];
        let outcomes = self.run(&arena, contenders, self.rounds);
        let more = format!(
            "Time as it is by default / time with `{snapshot}`: **{}**; with `{count}`: **{}**; without \
             both: **{}**.\n",
            shown(&ratio(&outcomes[0], &outcomes[1])),
            shown(&ratio(&outcomes[0], &outcomes[2])),
            shown(&ratio(&outcomes[0], &outcomes[3])),
        );
        self.report_times("proofs", "One state and the count", &arena, &outcomes, &more);
    }

    fn writers(&self) {
        let arena = self.orders();
        let counts = if self.args.quick { vec![1, 2, 4] } else { (1..=10).collect() };
        let contenders =
            counts.into_iter().map(|n| self.ssync(&arena, "full", |s| s.writers = n)).collect();
        let outcomes = self.run(&arena, contenders, self.rounds);
        self.report_times("writers", "Writers", &arena, &outcomes, "");
    }

    /// Runs that only look at memory: a table, a larger one, and rows of a megabyte and more.
    fn memory(&self) {
        let wide = if self.args.quick { 100 } else { 400 };
        let workloads = [
            Workload::Orders { rows: self.rows },
            Workload::Orders { rows: self.rows * 3 },
            Workload::Long { rows: wide, row_bytes: 1_000_000 },
            Workload::Long { rows: wide / 10, row_bytes: 10_000_000 },
        ];
        let (mut outcomes, mut lines, mut body) = (Vec::new(), Vec::new(), String::new());
        for workload in workloads {
            let arena = self.arena(workload);
            arena.make_status_source();
            for mode in ["full", "status"] {
                let contenders = vec![self.ssync(&arena, mode, |_| {})];
                let mut outcome = self.run(&arena, contenders, 0).remove(0);
                outcome.name = format!("{}, {}", workload.shown(), outcome.name);
                body += &format!(
                    "**{:.1} MB** at the most in all processes together. {}\n",
                    outcome.pss_sum_peak_bytes() as f64 / 1e6,
                    processes(&outcome)
                );
                if mode == "full" {
                    let curve = outcome.first.iter().flat_map(|run| &run.tree.curve);
                    lines.push(Curve {
                        label: outcome.name.clone(),
                        points: curve.map(|(t, bytes)| (*t, *bytes as f64 / 1e6)).collect(),
                    });
                }
                outcomes.push(outcome);
            }
        }
        let title = "Memory of all processes together";
        let plot = curves(title, "s", "MB", &lines);
        self.report("memory", title, &body, &outcomes, plot);
    }

    /// A table and one of ten times its size in turn, then a table twice as large as that, with
    /// kills.
    fn large(&self) {
        let rows = self.args.rows.unwrap_or(if self.args.quick { 400_000 } else { 20_000_000 });
        let (middle, small) = (rows / 2, rows / 20);
        let mut arenas = [small, small].map(|rows| self.arena(Workload::Orders { rows }));
        assert_room(arenas[0].bytes * 22);
        arenas[1].grow(middle);
        arenas[1].write_files(self.args.files);
        let outcomes = self.in_turn(&arenas);
        let [small, mut arena] = arenas;
        drop(small);
        arena.grow(rows);
        let killed = kill_and_resume(self.ssync(&arena, "full", |_| {}).as_mut(), &arena);
        let title = format!("Large: {}, killed three times", arena.workload.shown());
        let body = format!(
            "{}\nTen times the rows take ssync **{}** times as long, and LOAD DATA {}.\n\n{}",
            table(&outcomes),
            shown(&ratio(&outcomes[1], &outcomes[0])),
            shown(&ratio(&outcomes[3], &outcomes[2])),
            killed.markdown(&arena)
        );
        let sizes: Vec<_> = outcomes.iter().map(Outcome::json).collect();
        let results = json!({ "sizes": sizes, "killed": killed.json() });
        let plot = killed.plot(&format!("Memory: {}", arena.workload.shown()));
        self.report_json("large", &title, &body, results, &[("large.svg".to_owned(), plot)]);
    }

    /// Runs ssync on each arena, in turn, as often as there are rounds, after one run each to look
    /// at its memory; then `LOAD DATA` once on each, for how its time grows with the table.
    fn in_turn(&self, arenas: &[Arena]) -> Vec<Outcome> {
        let rounds = self.args.rounds.unwrap_or(if self.args.quick { 1 } else { 2 });
        let source =
            |arena: &Arena| content(&mut connect(&arena.source), &arena.workload, SOURCE, None);
        let sources: Vec<_> = arenas.iter().map(source).collect();
        let run = |contender: &mut dyn Contender, i: usize, memory| {
            let arena = &arenas[i];
            let run = contender::run(contender, arena, memory);
            let mut seals = contender.seals().then(|| arena.workload.seals(&keys(), DEST));
            let found = arena.dest_content(seals.as_mut());
            assert_same(&sources[i], &found, &contender.name());
            eprintln!("{:6.2} s  {}, {}", run.wall_secs, contender.name(), arena.workload.shown());
            run
        };
        let outcome = |contender: &mut dyn Contender, i: usize| Outcome {
            name: format!("{}, {}", contender.name(), arenas[i].workload.shown()),
            first: Some(run(contender, i, true)),
            runs: Vec::new(),
            failure: None,
            rows: arenas[i].workload.rows(),
            bytes: arenas[i].bytes,
        };
        let mut ours: Vec<_> = arenas.iter().map(|a| self.ssync(a, "full", |_| {})).collect();
        let mut outcomes: Vec<_> =
            ours.iter_mut().enumerate().map(|(i, c)| outcome(c.as_mut(), i)).collect();
        for _ in 0..rounds {
            for (i, contender) in ours.iter_mut().enumerate() {
                outcomes[i].runs.push(run(contender.as_mut(), i, false));
            }
        }
        for i in 0..arenas.len() {
            let mut load = outcome(&mut LoadData { connections: 2 }, i);
            load.runs.extend(load.first.clone());
            outcomes.push(load);
        }
        outcomes
    }

    fn large_fat(&self) {
        let rows = self.args.rows.unwrap_or(if self.args.quick { 4_000 } else { 80_000 });
        assert_room(rows * 2 * FAT_BYTES);
        let arena = self.arena(Workload::Fat { rows });
        let killed = kill_and_resume(self.ssync(&arena, "full", |_| {}).as_mut(), &arena);
        let title = format!("Large rows: {}, killed three times", arena.workload.shown());
        let plot = killed.plot(&format!("Memory: {}", arena.workload.shown()));
        self.report_json(
            "large-fat",
            &title,
            &killed.markdown(&arena),
            killed.json(),
            &[("large-fat.svg".to_owned(), plot)],
        );
    }

    /// Rounds of what has many runs in each, or long ones.
    fn few_rounds(&self) -> usize {
        self.args.rounds.unwrap_or(if self.args.quick { 1 } else { 3 })
    }

    fn workloads(&self) {
        let mut lines = Vec::new();
        for table in workloads::tables(self.rows) {
            let mut arena = self.arena(table);
            if let Workload::Orders { .. } = table {
                arena.make_copy();
                arena.make_status_source();
            } else {
                arena.write_files(self.args.files);
            }
            let source = content(&mut connect(&arena.source), &table, SOURCE, None);
            for case in workloads::cases(&table) {
                case.prepare(&mut arena);
                eprintln!("{}", case.name);
                let mut contenders = vec![self.ssync(&arena, case.mode, |s| {
                    s.table_lines = case.table_lines.to_owned();
                })];
                if case.has_loader() {
                    contenders.push(Box::new(LoadData { connections: 2 }));
                }
                let outcomes = rounds(&arena, &source, &mut contenders, self.few_rounds());
                lines.push(Line { case, outcomes });
            }
        }
        let title = "Workloads, 2 writers, beside LOAD DATA on 2 connections";
        let results: Vec<_> = lines.iter().map(Line::json).collect();
        let plot = workloads::plot(title, &lines);
        let body = format!(
            "{}\nTwo columns of orders are encrypted by ssync, unless run with `--plain`; LOAD DATA \
             writes plain values from files that stand ready, with REPLACE where the rows are \
             there.\n",
            workloads::table(&lines)
        );
        self.report_json(
            "workloads",
            title,
            &body,
            json!(results),
            &[("workloads.svg".to_owned(), plot)],
        );
    }

    fn small(&self) {
        let tables = if self.args.quick { 100 } else { 1_000 };
        let program = self.args.ssync.canonicalize().expect("the binary is built");
        let small = SmallTables::new(&program, tables);
        small.run();
        let sql = small.sql();
        let runs: Vec<_> = (0..self.rounds).map(|_| small.run()).collect();
        let title = format!("{tables} tables of {} rows in one task", small::ROWS);
        let (body, json) = small::report(tables, sql, &runs);
        self.report_json("small", &title, &body, json, &[]);
    }

    fn peers(&self) {
        let arena = self.orders();
        arena.make_status_source();
        let peers = peers(&arena);
        let about: String = peers
            .iter()
            .map(|p| format!("- **{}** ({}): {}\n", p.name, p.version(), p.about))
            .collect();
        let goals: Vec<_> = peers.iter().map(|p| (p.beside, p.goal)).collect();
        let mut contenders =
            vec![self.ssync(&arena, "full", |_| {}), self.ssync(&arena, "status", |_| {})];
        contenders.extend(peers.into_iter().map(|p| Box::new(p) as Box<dyn Contender>));
        let outcomes = self.run(&arena, contenders, self.rounds);
        let (ours, theirs) = outcomes.split_at(2);
        let mut more = about;
        for outcome in theirs {
            if let Some(Value::Array(changes)) = outcome.first.as_ref().map(|run| &run.facts) {
                let changes: Vec<_> = changes.iter().filter_map(Value::as_str).collect();
                more += &format!(
                    "\n{} makes a table of its own: {}. Its values were compared after they had been \
                     brought back into the source's types, which changed none.\n",
                    outcome.name,
                    changes.join("; ")
                );
            }
        }
        more += "\n| time / time of ssync | median of pairs (min–max) | goal |\n|---|---|---|\n";
        for (peer, (beside, goal)) in theirs.iter().zip(goals) {
            let ratio = ratio(peer, &ours[usize::from(beside == "status")]);
            let ratio = match &peer.failure {
                None => shown(&ratio),
                Some(_) => "failed".to_owned(),
            };
            more += &format!("| {} / {beside} | {ratio} | ≥ {goal} |\n", cell(&peer.name));
        }
        self.report_times("peers", "Peers", &arena, &outcomes, &more);
    }

    fn instructions(&self) {
        let rows = if self.args.quick { 2_000 } else { 20_000 };
        let counts = STAGES.map(|stage| (stage, count_instructions(&self.args.ssync, stage, rows)));
        let mut body = "| stage | instructions for each row |\n|---|---|\n".to_owned();
        for (stage, count) in counts {
            body += &format!("| {stage} | {} |\n", thousands(count as f64 / rows as f64));
        }
        body += "\nThe same build gives the same counts on every machine of the same instruction \
                 set, whatever else it does; valgrind knows no AVX-512.\n";
        let results = json!({ "rows": rows, "instructions": BTreeMap::from(counts) });
        let title =
            format!("Instructions of each stage, {} rows in memory", thousands(rows as f64));
        self.report_json("instructions", &title, &body, results, &[]);
    }

    fn compare(&self) {
        let arena = self.orders();
        let mode = if self.args.mode == "status" { "status" } else { "full" };
        if mode == "status" {
            arena.make_status_source();
        }
        let other = self.args.other.as_ref().expect("--other FILE").canonicalize().unwrap();
        let contenders = vec![
            self.ssync(&arena, mode, |_| {}),
            self.ssync(&arena, mode, |s| {
                s.label = "ssync (other)".into();
                s.program = other;
            }),
        ];
        let outcomes = self.run(&arena, contenders, self.rounds);
        let client_cpu = |o: &Outcome| o.series(|r| r.client_cpu_secs).min();
        let more = format!(
            "Time of the other / of this one: **{}**. Client CPU, least of all runs: {:.3} s this \
             one, {:.3} s the other.\n\n{}\n{}",
            shown(&ratio(&outcomes[1], &outcomes[0])),
            client_cpu(&outcomes[0]),
            client_cpu(&outcomes[1]),
            processes(&outcomes[0]),
            processes(&outcomes[1])
        );
        self.report_times("compare", "Two binaries", &arena, &outcomes, &more);
    }
}

/// Instructions that a stage of `ssync bench` takes for so many rows.
fn count_instructions(ssync: &Path, stage: &str, rows: u64) -> u64 {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=ssync_controller::bench::Meter::stage*")
        .arg(ssync)
        .args(["bench", "--stage", stage, "--rows", &rows.to_string()]);
    let output = command.output().unwrap_or_else(|e| panic!("valgrind (package valgrind): {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let count =
        said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.filter(|n| *n > 0).unwrap_or_else(|| panic!("no count in: {said}"))
}

fn shown(ratio: &Series) -> String {
    format!("{:.2} (median of pairs; {:.2}–{:.2})", ratio.median(), ratio.min(), ratio.max())
}
