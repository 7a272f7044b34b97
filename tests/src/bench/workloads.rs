//! The matrix of workloads: tables of every shape, and orders moved in every way.

use std::fmt::Write;

use serde_json::{Value, json};

use super::arena::{Arena, Before};
use super::plot::{Bar, bars};
use super::report::thousands;
use super::rounds::{Outcome, ratio};
use super::workload::Workload;

const MB: f64 = 1e6;

/// Which end is a SQLite file; the others are servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Neither,
    Source,
    Dest,
}

/// One way to move a table.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called in tables.
    pub name: &'static str,
    /// ssync's mode.
    pub mode: &'static str,
    /// Further lines for `[[task.table]]`.
    pub table_lines: &'static str,
    before: Before,
    file: File,
    keyless: bool,
}

const FULL: Case = Case {
    name: "",
    mode: "full",
    table_lines: "",
    before: Before::Empty,
    file: File::Neither,
    keyless: false,
};
const INSERT: Case = Case {
    mode: "increment",
    table_lines: "write = \"insert\"\nwatermark = { column = \"id\", lag = \"0\" }",
    ..FULL
};
const UPSERT: Case = Case {
    table_lines: "write = \"upsert\"\nwatermark = { column = \"id\", lag = \"0\" }",
    ..INSERT
};

/// The tables: `rows` of orders and of the narrow ones, fewer of those that are wider.
pub fn tables(rows: u64) -> [Workload; 5] {
    [
        Workload::Narrow { rows },
        Workload::Nulls { rows },
        Workload::Wide { rows: rows / 10 },
        Workload::Fat { rows: rows / 500 },
        Workload::Orders { rows },
    ]
}

/// What is done with a table. Cases that change the table for good come last.
pub fn cases(table: &Workload) -> Vec<Case> {
    match table {
        Workload::Narrow { .. } => vec![Case { name: "narrow: 4 whole numbers", ..FULL }],
        Workload::Nulls { .. } => vec![Case { name: "20 columns, 4 in 5 NULL", ..FULL }],
        Workload::Wide { .. } => vec![Case { name: "wide: 80 columns", ..FULL }],
        Workload::Fat { .. } => vec![Case { name: "fat: text and blob of 64 KB", ..FULL }],
        Workload::Long { .. } => Vec::new(),
        Workload::Orders { .. } => vec![
            Case { name: "orders, full", ..FULL },
            Case { name: "orders, status", mode: "status", ..FULL },
            Case { name: "increment, insert into empty", ..INSERT },
            Case { name: "increment, insert beside as many", before: Before::OtherKeys, ..INSERT },
            Case { name: "increment, upsert into empty", ..UPSERT },
            Case { name: "increment, upsert, all there", before: Before::SameKeys, ..UPSERT },
            Case { name: "orders, SQLite to MariaDB", file: File::Source, ..FULL },
            Case { name: "orders, MariaDB to SQLite", file: File::Dest, ..FULL },
            Case { name: "orders, no key at either end", keyless: true, ..FULL },
        ],
    }
}

impl Case {
    /// Makes the servers' tables and the files such as this case wants them.
    pub fn prepare(&self, arena: &mut Arena) {
        arena.before = self.before;
        arena.source_file = (self.file == File::Source).then(|| arena.make_source_file());
        arena.dest_file = (self.file == File::Dest).then(|| arena.dir.path().join("dest.db"));
        if self.keyless {
            arena.drop_keys();
        }
    }

    /// Whether `LOAD DATA` can do the same.
    pub fn has_loader(&self) -> bool {
        self.file != File::Dest
    }
}

/// What came of a case: ssync, and `LOAD DATA` where it can do the same.
pub struct Line {
    /// The case.
    pub case: Case,
    /// ssync first.
    pub outcomes: Vec<Outcome>,
}

impl Line {
    fn ours(&self) -> &Outcome {
        &self.outcomes[0]
    }

    /// For a machine to read.
    pub fn json(&self) -> Value {
        let outcomes: Vec<Value> = self.outcomes.iter().map(Outcome::json).collect();
        json!({ "case": self.case.name, "outcomes": outcomes })
    }
}

/// A line for each case.
pub fn table(lines: &[Line]) -> String {
    let mut out = String::from(
        "| | rows | MB as text | seconds, median (min–max) | rows/s | MB/s | CPU s: clients | \
         source | destination | memory, peak of sum | LOAD DATA, seconds | its time / ours |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let ours = line.ours();
        let wall = ours.wall();
        let loader = match line.outcomes.get(1) {
            Some(l) => format!("{:.2} | {:.2}", l.wall().median(), ratio(l, ours).median()),
            None => "– | –".to_owned(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {:.0} | **{:.2}** ({:.2}–{:.2}) | {} | {:.0} | {:.2} | {:.2} | {:.2} | \
             {:.0} MB | {loader} |",
            line.case.name,
            thousands(ours.rows as f64),
            ours.bytes as f64 / MB,
            wall.median(),
            wall.min(),
            wall.max(),
            thousands(ours.rows as f64 / wall.median()),
            ours.bytes as f64 / wall.median() / MB,
            ours.series(|r| r.client_cpu_secs).median(),
            ours.series(|r| r.source_cpu_secs).median(),
            ours.series(|r| r.dest_cpu_secs).median(),
            ours.pss_sum_peak_bytes() as f64 / MB,
        );
    }
    out
}

/// ssync and `LOAD DATA` of each case, one below the other.
pub fn plot(title: &str, lines: &[Line]) -> String {
    let bar = |line: &Line, i: usize| Bar {
        label: if i == 0 { line.case.name.to_owned() } else { "LOAD DATA".to_owned() },
        values: line.outcomes[i].wall(),
        ours: i == 0,
    };
    let all = lines.iter().flat_map(|line| (0..line.outcomes.len()).map(|i| bar(line, i)));
    bars(title, "s", &all.collect::<Vec<_>>())
}
