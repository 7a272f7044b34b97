//! How late firings get: many schedules of one second each, with small SQLite tables; and what a
//! daemon costs that has nothing to do. Prints one JSON object.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p ssync-tests --bin bench-schedules -- --schedules 200 --seconds 60
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use ssync_common::config::Config;
use ssync_common::store::{Home, Store, StoreLocation};
use ssync_controller::daemon::command::status;
use ssync_controller::daemon::journal::{Decision, Happened, Journal};
use ssync_tests::ssync::apply;

/// How late firings get.
#[derive(Parser)]
struct Args {
    /// Schedules, each with a task of one table
    #[arg(long, default_value_t = 200)]
    schedules: u32,
    /// How often each fires
    #[arg(long, default_value = "1s")]
    every: String,
    /// Task processes at once
    #[arg(long, default_value_t = 8)]
    tasks_max: u32,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The binary to measure
    #[arg(long, value_name = "FILE", default_value = "target/release/ssync")]
    ssync: PathBuf,
}

fn main() {
    let args = Args::parse();
    let dir = tempfile::tempdir().unwrap();
    let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
    configure(&args, dir.path(), &home);
    let mut daemon = Daemon::start(&args.ssync.canonicalize().expect("it is built"), &home);
    let (before, since) = (daemon.cpu_secs(), Instant::now());
    std::thread::sleep(Duration::from_secs(args.seconds));
    let cpu = (daemon.cpu_secs() - before) / since.elapsed().as_secs_f64();
    let rss = daemon.rss_bytes();
    daemon.stop();
    let journal = Journal::read(&home);
    let all: Vec<Decision> = (1..=args.schedules).flat_map(|n| journal.of(n, Some(n))).collect();
    let count = |what| all.iter().filter(|d| d.what == what).map(|d| d.count).sum::<u64>();
    let late = |what: &[Happened]| {
        let mut ms: Vec<f64> = all
            .iter()
            .filter(|d| what.contains(&d.what))
            .filter_map(|d| Some(d.at.duration_since(d.due?).as_secs_f64() * 1000.0))
            .collect();
        ms.sort_by(f64::total_cmp);
        summary(&ms)
    };
    let result = json!({
        "schedules": args.schedules,
        "every": args.every,
        "tasks_max": args.tasks_max,
        "seconds": args.seconds,
        "daemon_cpu_of_one_core": cpu,
        "daemon_rss_bytes": rss,
        "kept_started": count(Happened::Started),
        "kept_done": count(Happened::Done),
        "kept_failed": count(Happened::Failed),
        "kept_missed": count(Happened::Missed),
        "failures": all
            .iter()
            .filter(|d| d.what == Happened::Failed)
            .map(|d| &d.reason)
            .take(5)
            .collect::<Vec<_>>(),
        "start_late_ms": late(&[Happened::Started]),
        "decided_late_ms": late(&[Happened::Waiting]),
    });
    println!("{result:#}");
}

fn summary(sorted: &[f64]) -> Value {
    let at = |share: f64| sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize);
    json!({ "count": sorted.len(), "median": at(0.5), "p99": at(0.99), "max": sorted.last() })
}

fn configure(args: &Args, dir: &Path, home: &Home) {
    let mut toml = format!("[controller]\ntasks_max = {}\n", args.tasks_max);
    for n in 1..=args.schedules {
        let file = |side: &str| dir.join(format!("{side}{n}.db"));
        for (side, status) in [("s", ", sync_status INTEGER NOT NULL DEFAULT 0"), ("d", "")] {
            let db = rusqlite::Connection::open(file(side)).unwrap();
            db.execute_batch(&format!(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, v TEXT{status});"
            ))
            .unwrap();
            if side == "s" {
                db.execute_batch("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')").unwrap();
            }
            let path = file(side).display().to_string();
            toml += &format!("[[link]]\nname = \"{side}{n}\"\nurl = \"sqlite://{path}\"\n");
        }
        toml += &format!(
            "[[schedule]]\nid = {n}\nevery = \"{}\"\n[[task]]\nid = {n}\nschedule = {n}\n\
             source = \"s{n}\"\ndest = \"d{n}\"\nwriters = 1\n[[task.table]]\nname = \"t\"\n\
             source = \"t\"\ndest = \"t\"\nwrite = \"upsert\"\napp_resets_status = true\n",
            args.every
        );
    }
    let config = Config::from_toml(&toml).unwrap_or_else(|v| panic!("{v:?}"));
    let mut store = Store::open(&StoreLocation::embedded(home.clone())).unwrap();
    apply(&mut store, &config);
}

struct Daemon {
    child: Child,
    program: PathBuf,
    home: Home,
}

impl Daemon {
    fn start(program: &Path, home: &Home) -> Daemon {
        let child = Command::new(program)
            .args(["daemon", "--home"])
            .arg(home.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon { child, program: program.to_owned(), home: home.clone() };
        while status(home).unwrap().is_none_or(|s| s.configuration_read.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// Processor time of the daemon alone, without its children.
    fn cpu_secs(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .map(|f| f.parse().unwrap_or_default())
            .collect();
        // utime and stime, in hundredths.
        (fields[11] + fields[12]) / 100.0
    }

    fn rss_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn stop(&mut self) {
        let stopped = Command::new(&self.program)
            .args(["stop", "--home"])
            .arg(self.home.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(stopped.success());
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
