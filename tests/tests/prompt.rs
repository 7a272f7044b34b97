//! Every command takes effect within two seconds of being said, while rows move: seen from outside,
//! by the rows that arrive, or do not any more, and by the processes that are there.
//!
//! What makes a task run takes effect when its process is there; that includes up to a second of
//! waiting for the schedule's next firing. How soon its first batch of 10,000 rows has landed after
//! that depends on databases and load, and is printed.
//!
//! A binary of its own, so that no other test runs beside it: what is said of two seconds holds
//! under the load that is made here.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ssync_tests::PATIENCE;
use ssync_tests::listeners::closed_port;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Session, Site};
use ssync_tests::ssync::{Instance, Outcome, Running, cmdline};

/// What the commands are held to. Every one is also to answer by then, or to say what it waits for.
const PROMPT: Duration = Duration::from_secs(2);
/// How long is looked whether really nothing arrives any more.
const QUIET: Duration = Duration::from_millis(1500);
/// Rows that wait in each table at first.
const ROWS: i64 = 150_000;
/// So many are added at a time while fewer wait.
const MORE: i64 = 5000;
/// The task that waits for a server.
const AWAY: u32 = 10;
const TABLES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Looks at how many rows of a table have arrived, all the time.
struct Eye {
    seen: Arc<Mutex<Vec<(Instant, i64)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Eye {
    fn on(dest: &Site, table: &str) -> Eye {
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (theirs, stopped, mut session) = (seen.clone(), stop.clone(), Session::open(dest));
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let rows = session.rows(&sql, &[ssync_tests::sites::Holds::Int]);
                let ssync_tests::sites::Cell::Int(rows) = rows[0][0] else { panic!("{rows:?}") };
                let mut seen = theirs.lock().unwrap();
                if seen.last().is_none_or(|(_, last)| *last != rows) {
                    seen.push((Instant::now(), rows));
                }
                drop(seen);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Eye { seen, stop, thread: Some(thread) }
    }

    fn rows(&self) -> i64 {
        self.seen.lock().unwrap().last().map_or(0, |(_, rows)| *rows)
    }

    /// When rows arrived last.
    fn last(&self) -> Instant {
        self.seen.lock().unwrap().last().unwrap().0
    }

    /// When more rows had arrived than `rows`.
    fn more_than(&self, rows: i64) -> Option<Instant> {
        self.seen.lock().unwrap().iter().find(|(_, n)| *n > rows).map(|(at, _)| *at)
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Tasks with a table each, which take turns on one schedule of a second.
struct House {
    instance: Instance,
    source: Site,
    dest: Site,
    eyes: Vec<Eye>,
    added: [AtomicI64; TABLES.len()],
    /// A port on which nothing listens.
    away: u16,
}

impl House {
    fn new() -> House {
        let server = mariadb();
        let source = Site::on_server(server, "prompt_s");
        let dest = Site::on_server(server, "prompt_d");
        for table in TABLES {
            source.run(&[format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(200) NOT NULL, \
                 sync_status INT NOT NULL DEFAULT 0, KEY (sync_status, id))"
            )]);
            dest.run(&[format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(200) NOT NULL)"
            )]);
        }
        let eyes = TABLES.iter().map(|table| Eye::on(&dest, table)).collect();
        let (instance, added, away) = (Instance::new(""), Default::default(), closed_port());
        let house = House { instance, source, dest, eyes, added, away };
        let mut session = Session::open(&house.source);
        (0..TABLES.len()).for_each(|n| house.add(&mut session, n, ROWS));
        house
    }

    /// The application: rows never run out.
    fn work(&self, stop: &AtomicBool) {
        let mut session = Session::open(&self.source);
        while !stop.load(Ordering::Relaxed) {
            for n in 0..TABLES.len() {
                if self.added[n].load(Ordering::Relaxed) - self.eyes[n].rows() < ROWS {
                    self.add(&mut session, n, MORE);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn add(&self, session: &mut Session, n: usize, rows: i64) {
        let last = self.added[n].load(Ordering::Relaxed);
        session.run(&format!(
            "INSERT INTO {} (id, v) SELECT seq, REPEAT('x', 100) FROM seq_{}_to_{}",
            TABLES[n],
            last + 1,
            last + rows
        ));
        self.added[n].store(last + rows, Ordering::Relaxed);
    }

    /// The configuration: tasks, by number, each with these tables.
    fn toml(&self, tasks: &[(u32, &[&str])]) -> String {
        // Nobody waits for a connection here.
        let many = "max_connections = 60\n";
        let mut toml = self.source.link("s") + many + &self.dest.link("d") + many;
        for (task, tables) in tasks {
            // Task 9 runs only when asked for.
            let schedule = match task {
                9 => String::new(),
                n => {
                    toml += &format!("[[schedule]]\nid = {n}\nevery = \"1s\"\n");
                    format!("schedule = {n}\n")
                }
            };
            toml += &format!(
                "[[task]]\nid = {task}\nsource = \"s\"\ndest = \"d\"\nwriters = 2\n{schedule}"
            );
            for table in *tables {
                toml += &format!(
                    "[[task.table]]\nname = \"{table}\"\nsource = \"{table}\"\n\
                     dest = \"{table}\"\napp_resets_status = true\n"
                );
            }
        }
        // Its destination is away, and its next attempt far.
        toml += &format!(
            "[[link]]\nname = \"away\"\nurl = \"mysql://nobody@127.0.0.1:{}/none\"\n\
             [[task]]\nid = {AWAY}\nsource = \"s\"\ndest = \"away\"\nretry_wait = \"1d\"\n\
             [[task.table]]\nname = \"a\"\nsource = \"a\"\ndest = \"none\"\nmode = \"full\"\n",
            self.away
        );
        toml
    }

    /// A task waits for its next attempt when this is said; how long it takes to end.
    #[track_caller]
    fn ends_a_wait(&self, what: &str, act: impl FnOnce() -> Outcome) {
        self.answers(&["run", &AWAY.to_string()]);
        let began = Instant::now();
        let waits =
            || self.answers(&["status", "--json"]).stdout.contains("\"waiting_for\":\"retry\"");
        while !waits() {
            assert!(began.elapsed() < PATIENCE, "it does not wait\n{}", self.instance.logs());
        }
        let asked = Instant::now();
        let said = act();
        let answered = asked.elapsed();
        while !self.workers(AWAY).is_empty() {
            assert!(asked.elapsed() < PATIENCE, "it waits on\n{}", self.instance.logs());
            thread::sleep(Duration::from_millis(5));
        }
        self.report(what, answered_or_said(&said, answered), asked.elapsed());
    }

    /// As an operator changes it.
    fn apply(&self, tasks: &[(u32, &[&str])]) -> Outcome {
        let file = self.instance.scratch().join("new.toml");
        std::fs::write(&file, self.toml(tasks)).unwrap();
        self.instance.run(&["apply", "--yes", file.to_str().unwrap()]).expect(0)
    }

    fn eye(&self, table: &str) -> &Eye {
        &self.eyes[TABLES.iter().position(|t| *t == table).unwrap()]
    }

    #[track_caller]
    fn wait_for_rows(&self, tables: &[&str]) {
        for table in tables {
            let (eye, began) = (self.eye(table), Instant::now());
            let before = eye.rows();
            while eye.more_than(before).is_none() {
                assert!(began.elapsed() < PATIENCE, "no rows of {table}\n{}", self.instance.logs());
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn answers(&self, args: &[&str]) -> Outcome {
        self.instance.run(args).expect(0)
    }

    /// Rows of a table stop arriving when this is done; how long that took.
    #[track_caller]
    fn stops(&self, what: &str, table: &str, act: impl FnOnce() -> Outcome) {
        let asked = Instant::now();
        let said = act();
        let answered = asked.elapsed();
        thread::sleep(QUIET);
        let stopped = self.eye(table).last().saturating_duration_since(asked);
        self.report(what, answered_or_said(&said, answered), stopped);
    }

    /// A task process begins when this is done, and rows of a table arrive.
    #[track_caller]
    fn begins(&self, what: &str, task: u32, table: &str, act: impl FnOnce() -> Outcome) {
        let old = self.workers(task);
        let before = self.eye(table).rows();
        let asked = Instant::now();
        let said = act();
        let answered = asked.elapsed();
        let look = |what: &str, done: &dyn Fn() -> bool| {
            while !done() {
                if asked.elapsed() > PATIENCE {
                    let status = self.instance.run(&["status"]).stdout;
                    panic!("in vain for {what}\n{status}\n{}", self.instance.logs());
                }
                thread::sleep(Duration::from_millis(5));
            }
            asked.elapsed()
        };
        let began = look(what, &|| self.workers(task).iter().any(|pid| !old.contains(pid)));
        let landed = look(what, &|| self.eye(table).more_than(before).is_some());
        println!("{what}: the first batch landed after {:.2} s", landed.as_secs_f64());
        // What the new run waits for may have been said.
        let began = if waits(&said) { answered } else { began };
        self.report(what, answered, began);
    }

    fn workers(&self, task: u32) -> Vec<u32> {
        let words = ["worker".to_owned(), format!("task={task}")];
        let is_one = |pid: &u32| cmdline(*pid).get(1..3) == Some(&words[..]);
        self.instance.processes().into_iter().filter(is_one).collect()
    }

    #[track_caller]
    fn report(&self, what: &str, answered: Duration, effect: Duration) {
        println!(
            "{what}: answered after {:.2} s, in effect after {:.2} s",
            answered.as_secs_f64(),
            effect.as_secs_f64()
        );
        let late = answered.max(effect) >= PROMPT;
        assert!(!late, "{what} took too long\n{}", self.instance.logs());
    }

    fn processes(&self) -> Vec<String> {
        self.instance.processes().into_iter().map(|pid| cmdline(pid).join(" ")).collect()
    }
}

/// Whether something was said to wait for what is under way.
fn waits(said: &Outcome) -> bool {
    said.stderr.contains("no further batch begins; waiting for")
        || said.stderr.contains("waiting for the tasks that run")
        || said.stdout.contains("what is under way is settled first")
}

/// When something was said: the answer, or what it waits for, which is said within a second.
fn answered_or_said(said: &Outcome, answered: Duration) -> Duration {
    match waits(said) {
        true => {
            println!("(the answer came after {:.2} s)", answered.as_secs_f64());
            answered.min(Duration::from_secs(1))
        }
        false => answered,
    }
}

fn start(house: &House) -> Running {
    house.instance.start(&["daemon"], "")
}

#[test]
fn every_command_takes_effect_within_two_seconds_under_load() {
    let (house, stop) = (House::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let working = scope.spawn(|| house.work(&stop));
        // Also when something fails.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| commands(&house)));
        stop.store(true, Ordering::Relaxed);
        working.join().unwrap();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    // What was stopped so often is exact all the same.
    for table in TABLES {
        let done = format!("SELECT COUNT(*) FROM {table} WHERE sync_status = 2");
        assert_eq!(house.source.number(&done), house.eye(table).rows(), "{table}");
        let open = format!("SELECT COUNT(*) FROM {table} WHERE sync_status NOT IN (0, 2)");
        assert_eq!(house.source.number(&open), 0, "{table}");
    }
}

fn commands(house: &House) {
    let base: [(u32, &[&str]); 4] = [(1, &["a"]), (2, &["b"]), (3, &["c"]), (9, &["f"])];
    house.instance.apply(&house.toml(&base));
    let daemon = start(house);
    house.wait_for_rows(&["a", "b", "c"]);

    house.stops("pause of a task", "a", || house.answers(&["pause", "1"]));
    house.wait_for_rows(&["b", "c"]);
    house.begins("resume of a task", 1, "a", || house.answers(&["resume", "1"]));
    house.stops("pause of a table", "b", || house.answers(&["pause", "2", "b"]));
    house.wait_for_rows(&["a", "c"]);
    house.begins("resume of a table", 2, "b", || house.answers(&["resume", "2", "b"]));

    let with_task = [&base[..], &[(4, &["d"])]].concat();
    house.begins("an apply that adds a task", 4, "d", || house.apply(&with_task));
    house.stops("an apply that removes a task", "d", || house.apply(&base));
    // Of a task that runs, one table goes and another comes.
    let exchanged: [(u32, &[&str]); 4] = [(1, &["a"]), (2, &["e"]), (3, &["c"]), (9, &["f"])];
    house.wait_for_rows(&["b"]);
    let asked = Instant::now();
    house.begins("an apply that exchanges a table", 2, "e", || house.apply(&exchanged));
    thread::sleep(QUIET);
    let stopped = house.eye("b").last().saturating_duration_since(asked);
    house.report("the table that was removed", stopped, stopped);
    house.wait_for_rows(&["a", "c"]);

    let away = AWAY.to_string();
    house.ends_a_wait("pause amid a wait to retry", || house.answers(&["pause", &away]));
    house.answers(&["resume", &away]);

    house.begins("run", 9, "f", || house.answers(&["run", "9"]));
    house.wait_for_rows(&["a", "c", "e", "f"]);

    // `stop` ends a wait to retry, too.
    house.answers(&["run", &away]);
    let asked = Instant::now();
    let said = house.answers(&["stop"]);
    let answered = answered_or_said(&said, asked.elapsed());
    assert_eq!(house.processes(), Vec::<String>::new(), "when it has answered, all are gone");
    thread::sleep(QUIET);
    let last = TABLES.iter().map(|t| house.eye(t).last()).max().unwrap();
    house.report("stop", answered, last.saturating_duration_since(asked));
    daemon.wait().expect(0);
    assert_eq!(house.instance.leftovers(), Vec::<String>::new());
}
