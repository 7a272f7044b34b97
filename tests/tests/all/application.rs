//! An application works on the source while it is transferred and everything crashes: it edits,
//! deletes, inserts, gives rows other keys, holds locks and rolls back. Two kinds of destination:
//!
//! - *upsert*: in the end every source row's current version is there;
//! - *log*: no key but a counter of its own, so that every version that ever landed stays visible,
//!   in the order it landed: none twice, none after a newer one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ssync_tests::rng::{Rng, seed};
use ssync_tests::servers::{mariadb, mysql56};
use ssync_tests::sites::{Cell, Holds, Session, Site};
use ssync_tests::ssync::{Instance, Outcome, cmdline};

/// How long the application works at least.
const WORK_TIME: Duration = Duration::from_secs(6);
/// Rows at the beginning.
const ROWS: i64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dest {
    Upsert,
    Log,
}

/// Who sets `sync_status` back to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    Application,
    Trigger,
}

#[test]
fn edits_are_never_lost_mariadb_to_mariadb() {
    let scene = Scene::new(
        Site::on_server(mariadb(), "app"),
        Site::on_server(mariadb(), "app"),
        Dest::Upsert,
        Reset::Application,
    );
    scene.play(1);
}

#[test]
fn versions_never_go_back_mariadb_to_mariadb() {
    let scene = Scene::new(
        Site::on_server(mariadb(), "app"),
        Site::on_server(mariadb(), "app"),
        Dest::Log,
        Reset::Trigger,
    );
    scene.play(2);
}

#[test]
fn versions_never_go_back_sqlite_to_mariadb() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(
        Site::in_file(dir.path(), "src"),
        Site::on_server(mariadb(), "app"),
        Dest::Log,
        Reset::Trigger,
    );
    scene.play(3);
}

#[test]
fn versions_never_go_back_mariadb_to_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(
        Site::on_server(mariadb(), "app"),
        Site::in_file(dir.path(), "dst"),
        Dest::Log,
        Reset::Application,
    );
    scene.play(4);
}

#[test]
fn edits_are_never_lost_mysql_5_6_to_mysql_5_6() {
    let scene = Scene::new(
        Site::on_server(mysql56(), "app"),
        Site::on_server(mysql56(), "app"),
        Dest::Upsert,
        Reset::Trigger,
    );
    scene.play(5);
}

#[test]
fn edits_are_never_lost_within_one_sqlite_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = Site::in_file(dir.path(), "both");
    let scene = Scene::new(file.clone(), file, Dest::Log, Reset::Application);
    scene.play(6);
}

struct Scene {
    source: Site,
    dest: Site,
    kind: Dest,
    reset: Reset,
    /// Two instances take turns; they know of each other only through the databases.
    instances: Vec<Instance>,
}

impl Scene {
    fn new(source: Site, dest: Site, kind: Dest, reset: Reset) -> Scene {
        // The key's and the version's kind, the state's, the text's.
        let kinds = |site: &Site| match site {
            Site::MySql { .. } => {
                ("BIGINT", "INT", "VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL")
            }
            Site::Sqlite(_) => ("BIGINT", "INT", "TEXT NOT NULL"),
            Site::Oracle { .. } => ("NUMBER(18)", "NUMBER(1)", "VARCHAR2(100 CHAR) NOT NULL"),
        };
        let (number, state, text) = kinds(&source);
        source.run(&[
            &format!(
                "CREATE TABLE src (id {number} NOT NULL, ver {number} NOT NULL, body {text}, \
                 sync_status {state} DEFAULT 0 NOT NULL, PRIMARY KEY (id))"
            ),
            "CREATE INDEX src_state ON src (sync_status)",
        ]);
        if reset == Reset::Trigger {
            source.run(&[match &source {
                Site::MySql { .. } => {
                    "CREATE TRIGGER src_resend BEFORE UPDATE ON src FOR EACH ROW SET \
                     NEW.sync_status = IF(NEW.sync_status = OLD.sync_status, 0, NEW.sync_status)"
                }
                Site::Sqlite(_) => {
                    "CREATE TRIGGER src_resend AFTER UPDATE ON src WHEN NEW.sync_status = \
                     OLD.sync_status AND OLD.sync_status <> 0 BEGIN UPDATE src SET sync_status = 0 \
                     WHERE rowid = NEW.rowid; END"
                }
                Site::Oracle { .. } => panic!("the stand-in knows no such trigger"),
            }]);
        }
        let (number, _, text) = kinds(&dest);
        let columns = format!("id {number} NOT NULL, ver {number} NOT NULL, body {text}");
        dest.run(&[match (kind, &dest) {
            (Dest::Upsert, _) => format!("CREATE TABLE dst ({columns}, PRIMARY KEY (id))"),
            (Dest::Log, Site::MySql { .. }) => {
                format!("CREATE TABLE dst (seq BIGINT AUTO_INCREMENT PRIMARY KEY, {columns})")
            }
            (Dest::Log, Site::Sqlite(_)) => {
                format!("CREATE TABLE dst (seq INTEGER PRIMARY KEY AUTOINCREMENT, {columns})")
            }
            (Dest::Log, Site::Oracle { .. }) => {
                let counter = "NUMBER(18) GENERATED ALWAYS AS IDENTITY PRIMARY KEY";
                format!("CREATE TABLE dst (seq {counter}, {columns})")
            }
        }]);
        let write = if kind == Dest::Upsert { "write = \"upsert\"\n" } else { "" };
        let resets = match reset {
            Reset::Application => "app_resets_status = true\n",
            Reset::Trigger => "",
        };
        let toml = format!(
            "{}{}[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 3\nbatch_rows = 25\n\
             slot_bytes = 65536\n[[task.table]]\nname = \"t\"\nsource = \"src\"\ndest = \"dst\"\n\
             {write}{resets}",
            source.link("src"),
            dest.link("dst")
        );
        let instances = vec![Instance::new(&toml), Instance::new(&toml)];
        Scene { source, dest, kind, reset, instances }
    }

    fn play(&self, stream: u64) {
        let stop = AtomicBool::new(false);
        let mut application =
            Application::new(&self.source, self.reset, Rng::new(seed(), 1000 + stream));
        let mut rng = Rng::new(seed(), 2000 + stream);
        let until = Instant::now() + WORK_TIME;
        let (mut runs, mut killed) = (0, 0);
        thread::scope(|scope| {
            // Also when an assertion below fails.
            let _stop = StopAtEnd(&stop);
            scope.spawn(|| application.work(&stop));
            // However slow the machine is, enough happens.
            while Instant::now() < until || runs < 5 || killed < 2 {
                let instance = rng.pick(&self.instances);
                runs += 1;
                killed += u64::from(disturbed_run(instance, &mut rng));
            }
        });
        let versions = application.versions;
        eprintln!("{runs} runs, {killed} disturbed, {} keys", versions.len());
        // The application has stopped: one run must settle everything.
        let last = self.run_to_end();
        let open = self.source.rows(
            "SELECT sync_status, COUNT(*) FROM src WHERE sync_status <> 2 GROUP BY sync_status",
            &[Holds::Int, Holds::Int],
        );
        assert!(open.is_empty(), "states and rows: {open:?}\n{last}\n{}", self.instances[0].logs());
        self.compare(&versions);
        for instance in &self.instances {
            // A killed run of an installation that did not run again leaves its lock to be taken
            // over.
            let mut left = instance.leftovers();
            left.retain(|what| !what.starts_with("lock on "));
            assert_eq!(left, Vec::<String>::new());
        }
    }

    fn run_to_end(&self) -> Outcome {
        // The other instance may just have been killed: its lock lasts only as long as it lives.
        self.instances[1].wait_until_dead();
        self.instances[0].run(&["--task", "1", "--json"]).expect(0)
    }

    fn compare(&self, versions: &BTreeMap<i64, i64>) {
        let holds = [Holds::Int, Holds::Int, Holds::Text];
        let source = self.source.rows("SELECT id, ver, body FROM src ORDER BY id", &holds);
        let order = if self.kind == Dest::Log { " ORDER BY seq" } else { "" };
        let dest = self.dest.rows(&format!("SELECT id, ver, body FROM dst{order}"), &holds);
        let mut newest: BTreeMap<i64, (i64, String)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for row in &dest {
            let [Cell::Int(id), Cell::Int(ver), Cell::Text(body)] = row.as_slice() else {
                panic!("{row:?}")
            };
            if *body != body_of(*id, *ver) {
                wrong.push(format!("id {id} version {ver} has the body {body}"));
            }
            if versions.get(id).is_none_or(|newest| newest < ver) {
                wrong.push(format!("id {id} version {ver} never was at the source"));
            }
            match newest.insert(*id, (*ver, body.clone())) {
                Some((before, _)) if before == *ver => {
                    wrong.push(format!("id {id} version {ver} landed twice"));
                }
                Some((before, _)) if before > *ver => {
                    wrong.push(format!("id {id} version {ver} landed after {before}"));
                }
                _ => {}
            }
        }
        for row in &source {
            let [Cell::Int(id), Cell::Int(ver), Cell::Text(body)] = row.as_slice() else {
                panic!("{row:?}")
            };
            match newest.get(id) {
                Some((there, text)) if there == ver && text == body => {}
                other => {
                    wrong.push(format!("id {id} version {ver}: the destination has {other:?}"))
                }
            }
        }
        wrong.truncate(12);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One run, with something done to it at some moment; whether that was done in time. A run that
/// nothing was done to must succeed, whatever the application does.
fn disturbed_run(instance: &Instance, rng: &mut Rng) -> bool {
    let mut running = instance.start(&["--task", "1", "--json"], "");
    let what = rng.below(6);
    let at = Instant::now() + Duration::from_millis(rng.below(250));
    if what > 0 {
        while Instant::now() < at && !running.has_ended() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let mut disturbed = what > 0 && !running.has_ended();
    let mut may_end_with = vec![Some(0)];
    if disturbed {
        match what {
            1 | 2 => {
                running.signal(Signal::SIGKILL);
                may_end_with.push(None);
            }
            3 => {
                running.signal_all(Signal::SIGKILL);
                may_end_with.push(None);
            }
            4 => {
                running.signal(Signal::SIGINT);
                // No code: it came before the program listened for it.
                may_end_with.extend([Some(130), None]);
            }
            _ => {
                let is_writer = |pid: &&u32| cmdline(**pid).get(1).is_some_and(|a| a == "writer");
                let processes = instance.processes();
                let writers: Vec<_> = processes.iter().filter(is_writer).collect();
                disturbed = !writers.is_empty();
                if let Some(pid) = writers.first() {
                    // Gone already is fine.
                    let _ = kill(Pid::from_raw(**pid as i32), Signal::SIGKILL);
                }
            }
        }
    }
    let outcome = running.wait();
    assert!(
        may_end_with.contains(&outcome.code),
        "disturbance {what}: {outcome}\n{}",
        instance.logs()
    );
    instance.wait_until_dead();
    disturbed
}

/// Says which row and version it belongs to.
fn body_of(id: i64, ver: i64) -> String {
    format!("{id}/{ver}/{:x}", (id * 1_000_003 + ver).wrapping_mul(0x1e37_79b9_7f4a_7c15) as u64)
}

/// The application: one session that changes rows at random.
struct Application<'a> {
    site: &'a Site,
    reset: Reset,
    rng: Rng,
    /// The newest version that each key ever had, deleted ones included.
    versions: BTreeMap<i64, i64>,
}

impl<'a> Application<'a> {
    fn new(site: &'a Site, reset: Reset, rng: Rng) -> Application<'a> {
        let mut application = Application { site, reset, rng, versions: BTreeMap::new() };
        let rows: Vec<_> = (0..ROWS)
            .map(|n| {
                let id = n * 10;
                application.versions.insert(id, 1);
                vec![Cell::Int(id), Cell::Int(1), Cell::Text(body_of(id, 1))]
            })
            .collect();
        site.insert("src", &["id", "ver", "body"], &rows);
        application
    }

    fn work(&mut self, stop: &AtomicBool) {
        let mut session = Session::open(self.site);
        while !stop.load(Ordering::Relaxed) {
            self.transaction(&mut session);
            let pause = self.rng.below(5);
            thread::sleep(Duration::from_millis(pause));
        }
    }

    fn transaction(&mut self, session: &mut Session) {
        session.run(if self.site.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" });
        let mut versions = self.versions.clone();
        for _ in 0..self.rng.between(1, 8) {
            let sql = self.change(&mut versions);
            if session.try_run(&sql).is_err() {
                // A deadlock, or a key that is taken.
                session.run("ROLLBACK");
                return;
            }
        }
        // Locks are held for a while; at times for longer than ssync waits for one.
        let hold = match (self.site.is_sqlite(), self.rng.below(60)) {
            (false, 0) => 1500,
            (false, 1..=5) => self.rng.below(120),
            _ => self.rng.below(4),
        };
        thread::sleep(Duration::from_millis(hold));
        if self.rng.chance(10) {
            session.run("ROLLBACK");
            return;
        }
        session.run("COMMIT");
        self.versions = versions;
    }

    /// The next change; `versions` gets to know of it.
    fn change(&mut self, versions: &mut BTreeMap<i64, i64>) -> String {
        let ids: Vec<i64> = versions.keys().copied().collect();
        let id = *self.rng.pick(&ids);
        let reset = if self.reset == Reset::Application { ", sync_status = 0" } else { "" };
        match self.rng.below(20) {
            0..=1 => format!("DELETE FROM src WHERE id = {id}"),
            2..=4 => {
                // A new row, perhaps one that comes back.
                let id = if self.rng.chance(50) { id } else { self.rng.below(8000) as i64 };
                let ver = next(versions, id);
                let body = body_of(id, ver);
                format!("INSERT INTO src (id, ver, body) VALUES ({id}, {ver}, '{body}')")
            }
            5 => {
                // Another key; the old one is gone from the source.
                let to = self.rng.below(8000) as i64;
                let ver = next(versions, to);
                let body = body_of(to, ver);
                format!(
                    "UPDATE src SET id = {to}, ver = {ver}, body = '{body}'{reset} WHERE id = {id}"
                )
            }
            _ => {
                let ver = next(versions, id);
                let body = body_of(id, ver);
                format!("UPDATE src SET ver = {ver}, body = '{body}'{reset} WHERE id = {id}")
            }
        }
    }
}

fn next(versions: &mut BTreeMap<i64, i64>, id: i64) -> i64 {
    let version = versions.entry(id).or_insert(0);
    *version += 1;
    *version
}
