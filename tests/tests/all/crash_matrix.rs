//! The crash matrix: real processes are killed at every named step of a batch's life, real servers
//! with them; afterwards source and destination are compared row by row.
//!
//! - `SSYNC_TEST_CRASH_CASES=5000` runs so many cases (default [`CASES`]), a tenth as many that
//!   kill servers.
//! - `SSYNC_TEST_SEED=…` takes other ones.
//! - `SSYNC_TEST_CRASH_CASE=17` runs one of them (`s17`: one that kills a server).

#[path = "crash_matrix/case.rs"]
mod case;
#[path = "crash_matrix/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ssync_tests::rng::{Rng, seed};
use ssync_tests::servers::oracle::{OracleServer, faults};
use ssync_tests::servers::{Server, Software, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome};

use case::{Action, Case, Fault, point_names};
use workload::Workload;

/// Cases of a default run.
const CASES: u64 = 208;
/// Of each hundred cases so many kill a server besides.
const SERVER_CASES_PERCENT: u64 = 10;
/// Cases at a time; much of each is waiting.
const THREADS: usize = 4;
/// Runs after which a case must have come to its end.
const RUNS_MAX: usize = 8;

#[test]
fn no_row_is_lost_or_doubled_whatever_dies() {
    let seed = seed();
    let only = std::env::var("SSYNC_TEST_CRASH_CASE").ok();
    let cases = std::env::var("SSYNC_TEST_CRASH_CASES").map_or(CASES, |n| n.parse().unwrap());
    let matrix = Matrix::new(seed);
    match only.as_deref() {
        Some(text) => {
            let (servers, number) = match text.strip_prefix('s') {
                Some(number) => (true, number),
                None => (false, text),
            };
            let number: u64 = number.parse().unwrap();
            matrix.run_case(number, servers.then(private_servers).as_mut());
        }
        None => thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let number = matrix.next.fetch_add(1, Ordering::Relaxed);
                        if number >= cases {
                            return;
                        }
                        matrix.run_case(number, None);
                    }
                });
            }
            scope.spawn(|| {
                let mut servers = private_servers();
                for number in 0..cases * SERVER_CASES_PERCENT / 100 {
                    matrix.run_case(number, Some(&mut servers));
                }
            });
        }),
    }
    matrix.conclude(only.is_none() && cases >= CASES);
}

/// The servers of source and destination, to be killed.
struct PrivateServers {
    source: Server,
    dest: Server,
}

fn private_servers() -> PrivateServers {
    let start = || Server::start(Software::MariaDb, &[]);
    PrivateServers { source: start(), dest: start() }
}

struct Matrix {
    seed: u64,
    next: AtomicU64,
    began: Instant,
    failures: Mutex<Vec<String>>,
    fired: Mutex<BTreeMap<String, u64>>,
    /// Faults of the stand-in that struck.
    at_oracle: Mutex<BTreeMap<String, u64>>,
    done: AtomicU64,
}

impl Matrix {
    fn new(seed: u64) -> Matrix {
        Matrix {
            seed,
            next: AtomicU64::new(0),
            began: Instant::now(),
            failures: Mutex::default(),
            fired: Mutex::default(),
            at_oracle: Mutex::default(),
            done: AtomicU64::new(0),
        }
    }

    fn run_case(&self, number: u64, mut servers: Option<&mut PrivateServers>) {
        let name = format!("{}{number}", if servers.is_some() { "s" } else { "" });
        let case = Case::new(self.seed, number, servers.is_some());
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            run(&case, Rng::new(self.seed, number), servers.as_deref_mut())
        }));
        let failure = match result {
            Ok(Ok((fired, at_oracle))) => {
                if let (true, Some(words)) = (at_oracle, &case.oracle_fault) {
                    let kind: Vec<_> = words.split_whitespace().take(2).collect();
                    *self.at_oracle.lock().unwrap().entry(kind.join(" ")).or_default() += 1;
                }
                let mut all = self.fired.lock().unwrap();
                for fault in fired {
                    *all.entry(fault.point.to_owned()).or_default() += 1;
                }
                None
            }
            Ok(Err(why)) => Some(why),
            Err(panic) => Some(panic_text(panic.as_ref())),
        };
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if std::env::var_os("SSYNC_TEST_VERBOSE").is_some() || failure.is_some() {
            eprintln!("case {name} ({done} done): {:.1} s", began.elapsed().as_secs_f64());
        }
        if let Some(why) = failure {
            let text = format!(
                "case {name} failed: {why}\n{case:#?}\nrepeat it with\n    SSYNC_TEST_SEED={} \
                 SSYNC_TEST_CRASH_CASE={name} cargo test -p ssync-tests --test all \
                 no_row_is_lost_or_doubled_whatever_dies\n",
                self.seed
            );
            eprintln!("{text}");
            self.failures.lock().unwrap().push(text);
        }
    }

    fn conclude(&self, complete: bool) {
        let fired = self.fired.lock().unwrap();
        let done = self.done.load(Ordering::Relaxed);
        eprintln!("{done} cases in {:.0} s; crashes by point:", self.began.elapsed().as_secs_f64());
        for name in point_names() {
            eprintln!("{:>6}  {name}", fired.get(name).copied().unwrap_or(0));
        }
        let at_oracle = self.at_oracle.lock().unwrap();
        eprintln!("faults of the Oracle stand-in that struck: {at_oracle:?}");
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} of {done} cases failed:\n{}",
            failures.len(),
            failures.join("\n")
        );
        if complete {
            let missed: Vec<_> = point_names().filter(|n| !fired.contains_key(*n)).collect();
            assert!(missed.is_empty(), "nothing ever crashed at {missed:?}");
            for moment in ["connect", "commit", "execute"] {
                let struck = at_oracle.keys().any(|kind| kind.starts_with(moment));
                assert!(struck, "no fault of the stand-in struck at a {moment}");
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned())
}

/// Runs a case; the faults that acted, and whether one at Oracle did; or what is wrong.
fn run(
    case: &Case,
    mut rng: Rng,
    servers: Option<&mut PrivateServers>,
) -> Result<(Vec<Fault>, bool), String> {
    let scratch = tempfile::tempdir().unwrap();
    // A stand-in of the case's own: its faults are for all who connect.
    let oracle = case.pair.has_oracle().then(|| OracleServer::start(case.generation));
    let account = oracle.as_ref().map(|server| server.account("matrix"));
    let (source_server, dest_server) = match &servers {
        Some(servers) => (&servers.source, &servers.dest),
        None => (mariadb(), mariadb()),
    };
    let site = |sqlite: bool, is_oracle: bool, name: &str, server: &Server| match &account {
        Some(account) if is_oracle => Site::of_account(account),
        _ if sqlite => Site::in_file(scratch.path(), name),
        _ => Site::on_server(server, name),
    };
    let pair = case.pair;
    let source = site(pair.source_is_sqlite(), pair.source_is_oracle(), "src", source_server);
    let dest = site(pair.dest_is_sqlite(), pair.dest_is_oracle(), "dst", dest_server);
    let mut workload = Workload::new(case, source, dest);
    workload.add_rows(&mut rng, case.rows);
    let instance = Instance::new(&workload.toml());
    let checked = |workload: &Workload<'_>, when: &str| {
        let mut found = workload.faults_found();
        found.extend(instance.leftovers());
        match found.is_empty() {
            true => Ok(()),
            false => Err(format!("{when}:\n{}\n{}", found.join("\n"), instance.logs())),
        }
    };
    if let (Some(server), Some(words)) = (&oracle, &case.oracle_fault) {
        server.standin().faults().add(faults::Fault::parse(words).unwrap());
    }
    let mut crash = Crash { case, instance: &instance, servers, oracle: oracle.as_ref() };
    crash.run_until_good(&mut workload)?;
    let struck = case.oracle_fault.is_some() && !crash.oracle_fault_waits();
    if let Some(server) = &oracle {
        // What has not struck by now must not strike this test's own connections.
        server.standin().faults().clear();
    }
    checked(&workload, "after the crash")?;
    workload.change(&mut rng);
    crash.run_until_good(&mut workload)?;
    checked(&workload, "after the run that followed")?;
    Ok((crash.fired(), struck))
}

struct Crash<'a> {
    case: &'a Case,
    instance: &'a Instance,
    servers: Option<&'a mut PrivateServers>,
    oracle: Option<&'a OracleServer>,
}

impl Crash<'_> {
    fn fired(&self) -> Vec<Fault> {
        let has_fired = |f: &&Fault| self.instance.has_fired(f.point, &f.batch_text());
        self.case.faults.iter().filter(has_fired).cloned().collect()
    }

    fn oracle_fault_waits(&self) -> bool {
        self.oracle.is_some_and(|server| server.standin().faults().waiting() > 0)
    }

    /// Runs the task again and again until it has succeeded. A run in which nothing was made to
    /// go wrong must succeed; so must one that lost nothing but writers or a server.
    fn run_until_good(&mut self, workload: &mut Workload<'_>) -> Result<(), String> {
        let mut story = String::new();
        for _ in 0..RUNS_MAX {
            let before = self.fired();
            let waited = self.oracle_fault_waits();
            let outcome = self.run_once();
            let new: Vec<_> = self.fired().into_iter().filter(|f| !before.contains(f)).collect();
            let points: Vec<_> = new.iter().map(Fault::spec).collect();
            story += &format!("-- {}: {outcome}\n", points.join(" "));
            if outcome.code == Some(0) {
                workload.finished += 1;
                return Ok(());
            }
            let late = ["run.after_finish", "run.before_release", "run.before_unlock"];
            workload.maybe_finished +=
                new.iter().filter(|f| late.contains(&f.point)).count() as i64;
            // A server that is not there from the first is a matter for people.
            let early = self.case.server_late && new.iter().any(|f| f.point == "run.after_lock");
            let harmless = |f: &Fault| {
                f.action.kills_server()
                    || f.point.starts_with("writer.") && f.action == Action::Kill
            };
            // What broke at Oracle may have been the end itself, done and not answered.
            let broken = waited && !self.oracle_fault_waits();
            workload.maybe_finished += i64::from(broken);
            if new.iter().all(harmless) && !early && !broken {
                return Err(format!(
                    "a run that should have come to its end did not:\n{story}{}",
                    self.instance.logs()
                ));
            }
            self.instance.wait_until_dead();
        }
        Err(format!("{RUNS_MAX} runs were not enough:\n{story}{}", self.instance.logs()))
    }

    fn run_once(&mut self) -> Outcome {
        let mut running = self.instance.start(&["--task", "1", "--json"], &self.case.failpoints());
        let fault = self.case.faults.iter().find(|f| f.action.kills_server());
        if let (Some(fault), Some(servers)) = (fault, self.servers.as_deref_mut())
            && !self.instance.has_fired(fault.point, &fault.batch_text())
            && running.reached(fault.point).is_some()
        {
            let server = match fault.action {
                Action::KillSource => &mut servers.source,
                _ => &mut servers.dest,
            };
            server.kill9();
            if self.case.server_late {
                self.instance.release(fault.point);
                // Long enough for the processes to meet a server that is not there.
                thread::sleep(Duration::from_millis(500));
                server.restart();
            } else {
                server.restart();
                self.instance.release(fault.point);
            }
        }
        running.wait()
    }
}
