//! A run at size that is killed on its way and started again, and what it came to.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use nix::sys::signal::{Signal, killpg};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;
use serde_json::{Value, json};
use ssync_common::ledger::LEDGER_TABLE;

use super::arena::{Arena, DEST, SOURCE, connect, status};
use super::check::{assert_same, content};
use super::contender::Contender;
use super::plot::{Curve, marked_curves};
use super::report::thousands;
use super::ssync::keys;
use super::watch::Watch;

/// Parts of all rows after whose landing the run is killed.
pub const KILLS: [f64; 3] = [0.20, 0.45, 0.70];
/// Time between two looks at the ledger.
const INTERVAL: Duration = Duration::from_millis(50);
/// What a server needs beside its rows as text, as a multiple of them: pages are not full.
const DISK_FACTOR: f64 = 1.5;
/// What the logs of both servers need, bytes.
const DISK_LOGS: f64 = 2e9;
/// Points of the memory curve.
const POINTS_MAX: f64 = 600.0;
const MB: f64 = 1e6;

/// From one start of ssync to its death or end.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// Seconds from its start.
    pub secs: f64,
    /// Rows that landed in it, by the ledger.
    pub landed: u64,
    /// Rows that the source sent in it, landed or not.
    pub sent: u64,
    /// Largest sum of all processes' proportional set sizes, bytes.
    pub pss_peak_bytes: u64,
}

/// A run that was killed and went on.
#[derive(Debug)]
pub struct Killed {
    /// All but the last ended by SIGKILL.
    pub stretches: Vec<Stretch>,
    /// Sum of all processes' proportional set sizes: seconds since the first start, bytes.
    pub curve: Vec<(f64, u64)>,
    /// When it was killed: seconds since the first start.
    pub kills: Vec<f64>,
    /// How long comparing both tables took, seconds.
    pub check_secs: f64,
    /// What ssync said at its end.
    pub facts: Value,
}

/// Panics unless both servers can hold rows of so many bytes as text.
pub fn assert_room(bytes: u64) {
    let dir = std::env::temp_dir();
    let disk = statvfs(&dir).unwrap();
    let free = disk.blocks_available() as f64 * disk.fragment_size() as f64;
    let needed = 2.0 * DISK_FACTOR * bytes as f64 + DISK_LOGS;
    assert!(
        free >= needed,
        "{:.1} GB of rows on two servers need {:.1} GB under {}, where {:.1} GB are free: make \
         room, set TMPDIR to another disk, or move fewer rows with --rows",
        bytes as f64 / 1e9,
        needed / 1e9,
        dir.display(),
        free / 1e9
    );
}

/// Runs a contender that goes on where it was killed: all its processes get SIGKILL whenever
/// another of [`KILLS`] has landed. The result is compared with the source, row by row.
pub fn kill_and_resume(contender: &mut dyn Contender, arena: &Arena) -> Killed {
    contender.prepare(arena);
    arena.rest();
    let rows = arena.workload.rows();
    let sent = || status(&mut connect(&arena.source), "Rows_sent");
    let mut killed = Killed {
        stretches: Vec::new(),
        curve: Vec::new(),
        kills: Vec::new(),
        check_secs: 0.0,
        facts: Value::Null,
    };
    let began = Instant::now();
    for kill in KILLS.map(Some).into_iter().chain([None]) {
        let (start, landed_before, sent_before) = (began.elapsed(), landed(arena), sent());
        let mut child = start_group(contender, arena);
        let watch = Watch::start(vec![child.id()], true);
        let printed = match kill {
            Some(part) => {
                kill_at(&mut child, arena, (rows as f64 * part) as u64);
                killed.kills.push(began.elapsed().as_secs_f64());
                None
            }
            None => Some(child.wait_with_output().unwrap()),
        };
        let secs = (began.elapsed() - start).as_secs_f64();
        let tree = watch.stop();
        settle(arena);
        let stretch = Stretch {
            secs,
            landed: landed(arena) - landed_before,
            sent: sent() - sent_before,
            pss_peak_bytes: tree.pss_sum_peak_bytes,
        };
        eprintln!("{stretch:?}");
        killed.stretches.push(stretch);
        let start = start.as_secs_f64();
        killed.curve.extend(tree.curve.iter().map(|(at, bytes)| (start + at, *bytes)));
        killed.curve.push((start + secs, 0));
        if let Some(output) = printed {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{}: {}\n{text}", contender.name(), output.status);
            killed.facts = contender.conclude(arena, &text);
        }
    }
    assert_eq!(landed(arena), rows, "rows in the ledger");
    let began = Instant::now();
    assert_same_tables(contender, arena);
    killed.check_secs = began.elapsed().as_secs_f64();
    killed
}

/// Panics unless the destination holds what the source holds, row by row and each row once. Both
/// are read at the same time.
fn assert_same_tables(contender: &dyn Contender, arena: &Arena) {
    let workload = &arena.workload;
    let (source, dest) = thread::scope(|s| {
        let source = s.spawn(|| content(&mut connect(&arena.source), workload, SOURCE, None));
        let mut seals = contender.seals().then(|| workload.seals(&keys(), DEST));
        let dest = arena.dest_content(seals.as_mut());
        (source.join().unwrap(), dest)
    });
    assert_same(&source, &dest, &contender.name());
}

/// Starts the contender's one process at the head of a group of its own.
fn start_group(contender: &mut dyn Contender, arena: &Arena) -> Child {
    let mut commands = contender.commands(arena);
    assert_eq!(commands.len(), 1, "one process that starts the others");
    commands[0].process_group(0).stdout(Stdio::piped()).spawn().unwrap()
}

/// Kills the group as soon as so many rows have landed, and waits until its head is gone.
fn kill_at(child: &mut Child, arena: &Arena, rows: u64) {
    while landed(arena) < rows {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {rows} rows had landed");
        thread::sleep(INTERVAL);
    }
    killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
}

/// Waits until the servers are done with what dead clients had asked for: a commit that was on
/// its way still lands.
fn settle(arena: &Arena) {
    for server in [&arena.source, &arena.dest] {
        let mut conn = connect(server);
        let others = "SELECT COUNT(*) FROM information_schema.processlist \
                      WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        while conn.query_first::<u64, _>(others).unwrap() != Some(0) {
            thread::sleep(INTERVAL);
        }
    }
}

/// Rows that have landed, by the ledger: cheap and exact at any time.
fn landed(arena: &Arena) -> u64 {
    let sql = format!("SELECT CAST(COALESCE(SUM(row_count), 0) AS UNSIGNED) FROM {LEDGER_TABLE}");
    // It is not there before the first run has begun.
    connect(&arena.dest).query_first(sql).ok().flatten().unwrap_or(0)
}

impl Killed {
    /// Seconds in which ssync ran, all stretches together.
    pub fn secs(&self) -> f64 {
        self.stretches.iter().map(|s| s.secs).sum()
    }

    /// Largest sum of all processes' proportional set sizes, bytes.
    pub fn pss_peak_bytes(&self) -> u64 {
        self.stretches.iter().map(|s| s.pss_peak_bytes).max().unwrap()
    }

    /// What happened, for people.
    pub fn markdown(&self, arena: &Arena) -> String {
        let (rows, bytes) = (arena.workload.rows(), arena.bytes);
        let sent: u64 = self.stretches.iter().map(|s| s.sent).sum();
        let mut out = String::from(
            "| stretch | ended by | seconds | rows landed | rows/s | rows sent by the source | \
             memory, peak of sum |\n|---|---|---|---|---|---|---|\n",
        );
        let mut landed = 0;
        for (i, s) in self.stretches.iter().enumerate() {
            landed += s.landed;
            let end = match i < self.kills.len() {
                true => format!("SIGKILL at {:.1} %", landed as f64 / rows as f64 * 100.0),
                false => "its end".to_owned(),
            };
            let _ = writeln!(
                out,
                "| {} | {end} | {:.2} | {} | {} | {} | {:.0} MB |",
                i + 1,
                s.secs,
                thousands(s.landed as f64),
                thousands(s.landed as f64 / s.secs),
                thousands(s.sent as f64),
                s.pss_peak_bytes as f64 / MB
            );
        }
        let opened = match arena.workload.encrypted() {
            [] => "",
            _ => ", encrypted columns opened,",
        };
        let _ = writeln!(
            out,
            "\n{} rows, {} MB as text, in **{:.1} s** ({} rows/s, {:.0} MB/s) with its memory \
             looked at all the while; the source sent {:.2} % more rows than the table has. Every \
             row was compared{opened} in {:.0} s: each is there once, and nothing else is.",
            thousands(rows as f64),
            thousands(bytes as f64 / MB),
            self.secs(),
            thousands(rows as f64 / self.secs()),
            bytes as f64 / self.secs() / MB,
            (sent as f64 / rows as f64 - 1.0) * 100.0,
            self.check_secs
        );
        out
    }

    /// The memory curve with its kills.
    pub fn plot(&self, title: &str) -> String {
        let curve = Curve {
            label: "all processes together".to_owned(),
            points: thinned(&self.curve).map(|(at, bytes)| (at, bytes as f64 / MB)).collect(),
        };
        marked_curves(title, "s", "MB", &[curve], &self.kills, "SIGKILL to all processes")
    }

    /// For a machine to read.
    pub fn json(&self) -> Value {
        let stretches: Vec<Value> = self
            .stretches
            .iter()
            .map(|s| {
                json!({
                    "secs": s.secs,
                    "landed_rows": s.landed,
                    "sent_rows": s.sent,
                    "pss_sum_peak_bytes": s.pss_peak_bytes,
                })
            })
            .collect();
        json!({
            "stretches": stretches,
            "kill_secs": self.kills,
            "check_secs": self.check_secs,
            "curve": thinned(&self.curve).collect::<Vec<_>>(),
            "facts": self.facts,
        })
    }
}

/// The highest point of each of [`POINTS_MAX`] equal times, and every fall to nothing.
fn thinned(curve: &[(f64, u64)]) -> impl Iterator<Item = (f64, u64)> {
    let step = curve.last().map_or(0.0, |(at, _)| at / POINTS_MAX);
    let cell = move |at: f64| (at / step) as u64;
    curve
        .chunk_by(move |a, b| cell(a.0) == cell(b.0) && a.1 > 0 && b.1 > 0)
        .map(|points| *points.iter().max_by_key(|(_, bytes)| *bytes).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_keeps_its_peak_and_its_falls() {
        let mut curve: Vec<_> = (0..10_000).map(|i| (f64::from(i) / 100.0, 1_000)).collect();
        curve[4_321].1 = 5_000;
        curve[7_000].1 = 0;
        let thin: Vec<_> = thinned(&curve).collect();
        assert!(thin.len() <= POINTS_MAX as usize + 3, "{}", thin.len());
        assert!(thin.contains(&curve[4_321]) && thin.contains(&curve[7_000]));
    }
}
