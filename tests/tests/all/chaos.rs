//! Everything is killed at random while schedules fire and an application works: the daemon, task
//! processes, writers, the monitor. Afterwards every row is there once, and nothing is left behind.
//!
//! `SSYNC_TEST_CHAOS_SECS` says for how long (default 20), `SSYNC_TEST_SEED` makes a run come again.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ssync_tests::PATIENCE;
use ssync_tests::rng::{Rng, seed};
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Session, Site};
use ssync_tests::ssync::{Instance, Running, cmdline};

/// Roles, as the command line names them.
const ROLES: [&str; 4] = ["daemon", "worker", "writer", "monitor"];

/// Pairs of tables, each with a task and a schedule of one second.
struct House {
    instance: Instance,
    pairs: Vec<(Site, Site)>,
    inserted: Vec<AtomicI64>,
}

impl House {
    fn new() -> House {
        let instance = Instance::new("");
        let server = mariadb();
        let file = |name: &str| Site::in_file(instance.scratch(), name);
        let pairs = vec![
            (file("s1"), file("d1")),
            (Site::on_server(server, "chaos"), Site::on_server(server, "chaos")),
            (Site::on_server(server, "chaos"), file("d3")),
        ];
        let mut toml = String::new();
        for (n, (source, dest)) in pairs.iter().enumerate() {
            source.run(&["CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, \
                          sync_status INT NOT NULL DEFAULT 0)"]);
            // Without a key: nothing hides a row that comes twice.
            dest.run(&["CREATE TABLE t (id BIGINT NOT NULL)"]);
            toml += &source.link(&format!("s{n}"));
            toml += &dest.link(&format!("d{n}"));
            toml += &format!(
                "[[schedule]]\nid = {id}\nevery = \"1s\"\n[[task]]\nid = {id}\nschedule = {id}\n\
                 source = \"s{n}\"\ndest = \"d{n}\"\nwriters = 2\nbatch_rows = 5\n\
                 batch_millis = 5\nslot_bytes = 65536\n[[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\n\
                 app_resets_status = true\n",
                id = n + 1
            );
        }
        instance.apply(&toml);
        let inserted = pairs.iter().map(|_| AtomicI64::new(0)).collect();
        House { instance, pairs, inserted }
    }

    /// Adds rows to every source until told to stop.
    fn work(&self, stop: &AtomicBool) {
        let mut sessions: Vec<_> = self.pairs.iter().map(|(s, _)| Session::open(s)).collect();
        while !stop.load(Ordering::Relaxed) {
            for (session, count) in sessions.iter_mut().zip(&self.inserted) {
                let next = count.load(Ordering::Relaxed);
                let values: Vec<_> = (next..next + 7).map(|id| format!("({id})")).collect();
                session.run(&format!("INSERT INTO t (id) VALUES {}", values.join(", ")));
                count.store(next + 7, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn processes(&self, role: &str) -> Vec<u32> {
        let has_role = |pid: &u32| cmdline(*pid).get(1).is_some_and(|word| word == role);
        self.instance.processes().into_iter().filter(has_role).collect()
    }

    fn start(&self, role: &str) -> Running {
        self.instance.start(&[role], "")
    }

    /// Rows of a source that are not done, and whether the destination has exactly what there is.
    fn is_exact(&self, n: usize) -> bool {
        let (source, dest) = &self.pairs[n];
        let wanted = self.inserted[n].load(Ordering::Relaxed);
        let rows = dest.number("SELECT COUNT(*) FROM t");
        let doubled = dest.number("SELECT COUNT(*) - COUNT(DISTINCT id) FROM t");
        assert_eq!(doubled, 0, "task {}", n + 1);
        rows == wanted && source.number("SELECT COUNT(*) FROM t WHERE sync_status <> 2") == 0
    }

    #[track_caller]
    fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let since = Instant::now();
        while !done() {
            assert!(since.elapsed() < PATIENCE, "in vain for {what}\n{}", self.instance.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Children of a process that have ended and that it has not looked after.
fn zombies_of(parent: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    let is_zombie = |pid: &&str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    children.split_whitespace().filter(is_zombie).count()
}

#[test]
fn whatever_is_killed_rows_stay_exact_and_nothing_is_left_behind() {
    let secs = std::env::var("SSYNC_TEST_CHAOS_SECS").ok().and_then(|s| s.parse().ok());
    let mut random = Rng::new(seed(), 3000);
    let house = House::new();
    let stop = AtomicBool::new(false);
    let mut kills = [0; ROLES.len()];
    std::thread::scope(|scope| {
        let working = scope.spawn(|| house.work(&stop));
        let mut running = [house.start("daemon"), house.start("monitor")];
        let until = Instant::now() + Duration::from_secs(secs.unwrap_or(20));
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(random.below(250)));
            let role = random.below(ROLES.len() as u64) as usize;
            let found = house.processes(ROLES[role]);
            if found.is_empty() {
                continue;
            }
            let victim = found[random.below(found.len() as u64) as usize];
            // It may have ended by itself.
            if kill(Pid::from_raw(victim as i32), Signal::SIGKILL).is_ok() {
                kills[role] += 1;
            }
            // What the watchdog and the service manager do.
            for (process, role) in running.iter_mut().zip(["daemon", "monitor"]) {
                if process.has_ended() {
                    *process = house.start(role);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        working.join().unwrap();
        let [mut daemon, mut monitor] = running;
        house.wait("every row to be done", || {
            // The last that was killed may die only now.
            if daemon.has_ended() {
                daemon = house.start("daemon");
            }
            (0..house.pairs.len()).all(|n| house.is_exact(n))
        });
        assert!(!daemon.has_ended());
        house.wait("the dead to be buried", || zombies_of(daemon.pid()) == 0);
        house.instance.run(&["stop"]).expect(0);
        daemon.wait().expect(0);
        if !monitor.has_ended() {
            monitor.signal(Signal::SIGTERM);
            monitor.wait().expect(0);
        }
    });
    println!("killed: {ROLES:?} {kills:?}; rows: {:?}", house.inserted);
    assert!(kills.iter().all(|n| *n > 0), "killed: {ROLES:?} {kills:?}");
    assert!((0..house.pairs.len()).all(|n| house.is_exact(n)));
    assert_eq!(house.instance.leftovers(), Vec::<String>::new());
    assert_eq!(house.instance.segments(), Vec::<String>::new());
}
