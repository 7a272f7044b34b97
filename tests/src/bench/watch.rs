//! Processor time and memory of processes while they run.
//!
//! Looking at memory makes the kernel walk a process's pages, which costs the process time too; so
//! it is done in runs whose time does not count.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// What was seen of one process.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What it is: its role among ssync's processes, else its program.
    pub name: String,
    /// Processor time, seconds, when it was last seen.
    pub cpu_secs: f64,
    /// Largest proportional set size seen, bytes. Shared pages count by the number of their
    /// sharers.
    pub pss_peak_bytes: u64,
    /// Largest resident set size, bytes, as the kernel remembers it. Shared pages count in full.
    pub rss_peak_bytes: u64,
}

/// What was seen of a process and those it started.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Each process, the first one first.
    pub processes: Vec<Seen>,
    /// Largest sum of all proportional set sizes at one moment, bytes.
    pub pss_sum_peak_bytes: u64,
    /// The sum over time: seconds since the start, bytes.
    pub curve: Vec<(f64, u64)>,
}

/// A look at a process tree every [`INTERVAL`], from a thread of its own.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tree>,
}

impl Watch {
    /// Watches these processes and all that they start; their memory too, if asked for.
    pub fn start(roots: Vec<u32>, memory: bool) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let began = Instant::now();
            let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
            let mut tree = Tree::default();
            let mut order = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let mut sum = 0;
                for pid in descendants(&roots) {
                    let Some((pss, look)) = look(pid, memory) else { continue };
                    sum += pss;
                    if !order.contains(&pid) {
                        order.push(pid);
                    }
                    let entry = seen.entry(pid).or_default();
                    entry.name = look.name;
                    entry.cpu_secs = look.cpu_secs;
                    entry.pss_peak_bytes = entry.pss_peak_bytes.max(pss);
                    entry.rss_peak_bytes = look.rss_peak_bytes;
                }
                tree.pss_sum_peak_bytes = tree.pss_sum_peak_bytes.max(sum);
                if sum > 0 {
                    tree.curve.push((began.elapsed().as_secs_f64(), sum));
                }
                thread::sleep(INTERVAL);
            }
            tree.processes = order.iter().filter_map(|pid| seen.remove(pid)).collect();
            tree
        });
        Watch { stop, thread }
    }

    /// Ends watching; what was seen.
    pub fn stop(self) -> Tree {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn descendants(roots: &[u32]) -> Vec<u32> {
    let mut all = roots.to_vec();
    let mut i = 0;
    while let Some(&pid) = all.get(i) {
        i += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    all
}

/// `None` when the process is gone, or just about to become another program.
fn look(pid: u32, memory: bool) -> Option<(u64, Seen)> {
    let kb = |text: &str, key: &str| -> Option<u64> {
        let line = text.lines().find(|l| l.starts_with(key))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    let pss = match memory {
        true => kb(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")?,
        false => 0,
    };
    let hwm = kb(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")?;
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let seen = Seen {
        name: role(&command),
        cpu_secs: cpu_secs(pid)?,
        pss_peak_bytes: pss,
        rss_peak_bytes: hwm,
    };
    Some((pss, seen))
}

fn role(command: &str) -> String {
    let mut words = command.split('\0').filter(|w| !w.is_empty());
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    match words.iter().find_map(|w| w.strip_prefix("n=")) {
        Some(n) if words.contains(&"writer") => format!("writer {n}"),
        _ if words.contains(&"--task") => "worker".to_owned(),
        _ => program.to_owned(),
    }
}

/// Processor time that a running process and its threads have used, seconds; `None` when it is
/// gone.
pub fn cpu_secs(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may contain anything, blanks and brackets too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / ticks_per_sec())
}

/// Processor time of all children that have ended and were waited for, seconds. Exact, other than
/// a last look at a running process.
pub fn children_cpu_secs() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let secs = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    secs(usage.user_time()) + secs(usage.system_time())
}

/// Processor time that the whole machine has used since it started, seconds: for its own
/// processes, and what a hypervisor took away from it.
pub fn machine_cpu_secs() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .skip(1)
        .map(|f| f.parse().unwrap())
        .collect();
    // user, nice, system, irq, softirq; not idle and iowait. Guests are part of user.
    let busy = fields[0] + fields[1] + fields[2] + fields[5] + fields[6];
    (busy as f64 / ticks_per_sec(), fields[7] as f64 / ticks_per_sec())
}

fn ticks_per_sec() -> f64 {
    sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_and_its_children_are_seen_with_their_memory() {
        let mut child = Command::new("sh").args(["-c", "sleep 0.4; true"]).spawn().unwrap();
        let watch = Watch::start(vec![child.id()], true);
        assert!(child.wait().unwrap().success());
        let tree = watch.stop();
        let names: Vec<_> = tree.processes.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["sh", "sleep"]);
        let each: u64 = tree.processes.iter().map(|p| p.pss_peak_bytes).sum();
        assert!(tree.pss_sum_peak_bytes > 0 && tree.pss_sum_peak_bytes <= each);
        assert!(!tree.curve.is_empty());
    }

    #[test]
    fn roles_are_read_from_the_command_line() {
        assert_eq!(role("ssync\0writer\0task=7\0n=2\0"), "writer 2");
        assert_eq!(role("/x/ssync\0--task\x007\0"), "worker");
        assert_eq!(role("/usr/bin/mariadb\0-e\0"), "mariadb");
    }
}
