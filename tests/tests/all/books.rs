//! Runs whose configuration database hangs, dies or is locked: they begin, run and end without it,
//! and it gets everything once when it is back.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ssync_common::config::TableMode;
use ssync_common::error::Kind;
use ssync_common::event::{Event, What, events_between};
use ssync_common::process::RunId;
use ssync_common::secret::Secret;
use ssync_common::store::{
    BatchState, Entry, ErrorFilter, ErrorRow, Home, NewRun, RowState, RunEnd, RunFilter, RunRecord,
    RunState, Settled, Store, StoreLocation,
};
use ssync_common::value::Value;
use ssync_controller::books::drain::drain_left;
use ssync_controller::books::spool::{self, Header, Spool};
use ssync_controller::daemon::command::status;
use ssync_controller::daemon::journal::{Decision, Happened, Journal};
use ssync_tests::PATIENCE;
use ssync_tests::servers::{PASSWORD, Server, Software, USER, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, Outcome, Running};

/// A row that cannot land.
const BAD: i64 = 500;
const RUN: [&str; 3] = ["--task", "1", "--json"];

/// Two SQLite files, a thousand rows in ten batches, one of them bad; the configuration on a
/// server of its own.
pub struct Scene {
    server: Server,
    pub instance: Instance,
    source: Site,
    dest: Site,
}

impl Scene {
    pub fn new(rest: &str) -> Scene {
        let server = Server::start(Software::MariaDb, &[]);
        run_sql(&server, "CREATE DATABASE books CHARACTER SET utf8mb4");
        let mut instance = Instance::new("");
        instance.set_env("SSYNC_CONFIG_DB", &url(&server));
        instance.set_env("SSYNC_CONFIG_DB_PASSWORD", PASSWORD);
        let source = Site::in_file(instance.scratch(), "source");
        let dest = Site::in_file(instance.scratch(), "dest");
        source.run(&["PRAGMA journal_mode = WAL"]);
        dest.run(&["PRAGMA journal_mode = WAL"]);
        source.run(&["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, \
                      sync_status INTEGER NOT NULL DEFAULT 0)"]);
        dest.run(&["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT CHECK (length(v) < 6))"]);
        let scene = Scene { server, instance, source, dest };
        scene.fill(1, 1000);
        let file = scene.instance.scratch().join("config.toml");
        let config = format!(
            "{}{}{rest}[[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\n\
             app_resets_status = true\n",
            scene.source.link("src"),
            scene.dest.link("dst")
        );
        std::fs::write(&file, config).unwrap();
        scene.instance.run(&["apply", file.to_str().unwrap()]).expect(0);
        scene
    }

    fn fill(&self, from: i64, to: i64) {
        self.source.run(&[format!(
            "INSERT INTO t (id, v) WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 \
             FROM n WHERE i < {to}) SELECT i, CASE i WHEN {BAD} THEN 'too long' ELSE 'fits' END \
             FROM n"
        )]);
    }

    fn store(&self) -> Store {
        let home = Home::locate(Some(&self.instance.home())).unwrap();
        let password = Some(Secret::from(PASSWORD.to_owned()));
        let location = StoreLocation::server(home, &url(&self.server), password).unwrap();
        Store::open(&location).unwrap()
    }

    /// The server no longer answers, or does again.
    pub fn hang(&self) {
        kill(Pid::from_raw(self.server.pid() as i32), Signal::SIGSTOP).unwrap();
    }

    pub fn wake(&self) {
        kill(Pid::from_raw(self.server.pid() as i32), Signal::SIGCONT).unwrap();
    }

    fn spools(&self) -> Vec<PathBuf> {
        spool::files(&self.instance.home()).unwrap()
    }

    fn waiting(&self) -> u64 {
        spool::waiting(&self.instance.home(), Some(1)).iter().map(|w| w.entries).sum()
    }

    #[track_caller]
    fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "in vain for {what}\n{}", self.instance.logs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn all_landed(&self, rows: i64) {
        assert_eq!(self.dest.number("SELECT COUNT(*) FROM t"), rows - 1);
        assert_eq!(self.source.number("SELECT COUNT(*) FROM t WHERE sync_status = 2"), rows - 1);
        assert_eq!(self.source.number("SELECT COUNT(*) FROM t WHERE sync_status = 3"), 1);
    }

    /// What is recorded of the one run that has sent the thousand rows: everything, once.
    #[track_caller]
    fn all_recorded(&self) -> RunRecord {
        let mut store = self.store();
        let mut runs = store.runs(&RunFilter::default()).unwrap();
        assert_eq!(runs.len(), 1, "{runs:#?}");
        let run = runs.remove(0);
        assert_eq!((run.state, run.mode), (RunState::Done, TableMode::Status), "{run:#?}");
        assert!(run.end.is_some());
        let batches = store.batches(run.id).unwrap();
        assert_eq!(batches.iter().map(|b| b.rows).sum::<u64>(), 999, "{batches:#?}");
        assert!(batches.iter().all(|b| b.state == BatchState::Settled), "{batches:#?}");
        let errors = store.errors(&ErrorFilter::default()).unwrap();
        let keys: Vec<_> = errors.iter().map(|e| (e.key.clone(), e.number, e.state)).collect();
        assert_eq!(keys, [(vec![Value::Int(BAD)], 0, RowState::Bad)]);
        assert_eq!(store.last_settled(1, "t").unwrap().unwrap().run, run.id);
        assert!(store.lock_holder(1, "t").unwrap().is_none(), "the lock was given back");
        assert_eq!(number(&self.server, "SELECT COUNT(*) FROM books.T_RUN"), 1);
        run
    }

    fn use_times(&self) -> i64 {
        number(&self.server, "SELECT COUNT(*) FROM books.proc_use_times")
    }

    fn run(&self, failpoints: &str) -> Running {
        self.instance.start(&RUN, failpoints)
    }

    fn decisions(&self, what: Happened) -> Vec<Decision> {
        let home = Home::locate(Some(&self.instance.home())).unwrap();
        let all = Journal::read(&home).of(1, Some(1));
        all.into_iter().filter(|d| d.what == what).collect()
    }

    fn daemon(&self) -> Running {
        let home = Home::locate(Some(&self.instance.home())).unwrap();
        let daemon = self.instance.start(&["daemon"], "");
        self.wait("the daemon to have read its configuration", || {
            status(&home)
                .unwrap()
                .is_some_and(|s| s.pid == daemon.pid() && s.configuration_read.is_some())
        });
        daemon
    }
}

const TASK: &str = "[[task]]\nid = 1\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\n\
                    batch_rows = 100\nerror_limit = 5\n";

fn scheduled(kind: &str) -> String {
    format!("[[schedule]]\nid = 1\nevery = \"1s\"\nkind = \"{kind}\"\n{TASK}schedule = 1\n")
}

fn url(server: &Server) -> String {
    format!("mysql://{USER}@127.0.0.1:{}/books", server.port())
}

fn run_sql(server: &Server, sql: &str) {
    use mysql::prelude::Queryable;
    server.connect().query_drop(sql).unwrap();
}

fn number(server: &Server, sql: &str) -> i64 {
    use mysql::prelude::Queryable;
    server.connect().query_first(sql).unwrap().unwrap()
}

fn ended(run: Running) -> Outcome {
    // One row is bad.
    let run = run.wait().expect(1);
    assert_eq!((run.count("t", "landed"), run.count("t", "failed")), (999, 1));
    run
}

#[test]
fn a_run_ends_while_the_configuration_database_hangs_and_leaves_its_records_for_it() {
    let scene = Scene::new(TASK);
    let mut run = scene.run("writer.before_commit@2=pause");
    run.reached("writer.before_commit").unwrap();
    scene.hang();
    scene.instance.release("writer.before_commit");
    // It still hangs when the run has ended.
    let run = ended(run);
    scene.all_landed(1000);
    let notes = run.table("t")["notes"].to_string();
    assert!(notes.contains("are kept in run/books until it is back"), "{run}");
    assert_eq!(scene.spools().len(), 1);
    let mode = std::os::unix::fs::MetadataExt::mode(&scene.spools()[0].metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read_to_string(&scene.spools()[0]).unwrap();
    assert!(!kept.contains(PASSWORD) && !kept.contains("too long"), "{kept}");
    scene.wake();
    // Whoever opens it next writes them down first.
    let history = scene.instance.run(&["history"]).expect(0);
    assert!(history.stdout.contains(" done "), "{history}");
    assert!(!history.stdout.contains("wait to be written"), "{history}");
    assert!(scene.spools().is_empty());
    scene.all_recorded();
    assert_eq!(scene.use_times(), 1);
}

#[test]
fn a_run_whose_configuration_database_dies_and_comes_back_writes_everything_down_itself() {
    let mut scene = Scene::new(TASK);
    let points = "writer.before_commit@2=pause;writer.after_commit@8=pause";
    let mut run = scene.run(points);
    run.reached("writer.before_commit").unwrap();
    scene.server.kill9();
    scene.instance.release("writer.before_commit");
    run.reached("writer.after_commit").unwrap();
    scene.wait("records to be kept", || scene.waiting() > 0);
    scene.server.restart();
    scene.wait("them to be written down", || scene.spools().is_empty());
    scene.instance.release("writer.after_commit");
    let run = ended(run);
    let notes = run.table("t")["notes"].to_string();
    assert!(notes.contains("it has everything now"), "{run}");
    scene.all_landed(1000);
    scene.all_recorded();
    assert_eq!(scene.use_times(), 1);
}

#[test]
fn a_due_task_runs_on_time_while_the_configuration_database_hangs_or_is_down() {
    let mut scene = Scene::new(&scheduled("timed"));
    let daemon = scene.daemon();
    scene.wait("the first run", || scene.use_times() > 0);
    for (round, is_down) in [false, true].into_iter().enumerate() {
        let runs = scene.decisions(Happened::Started).len();
        if is_down {
            scene.server.kill9();
        } else {
            scene.hang();
        }
        let rows = 1000 * (round as i64 + 2);
        scene.fill(rows - 999, rows);
        let arrived = || scene.dest.number("SELECT COUNT(*) FROM t");
        // It hangs, or is down, until all of this has happened: a task that waited for it would
        // never have begun.
        scene.wait("the rows", || arrived() == rows - 1);
        scene.wait("further runs", || scene.decisions(Happened::Started).len() > runs + 2);
        scene.wait("a run that has left its records", || {
            spool::waiting(&scene.instance.home(), Some(1)).iter().any(|w| w.entries > 0)
        });
        let explained = scene.instance.run(&["explain", "1"]).expect(0).stdout;
        assert!(explained.contains("are kept in run/books and wait"), "{explained}");
        if is_down {
            let said = scene.instance.run(&["status"]).expect(1);
            assert!(said.stdout.contains("are kept in run/books and wait"), "{said}");
            scene.server.restart();
        } else {
            scene.wake();
        }
        // The daemon finds out by itself, and what waits goes with it.
        scene.wait("all of it to be written down", || {
            let ends =
                scene.decisions(Happened::Done).len() + scene.decisions(Happened::Failed).len();
            let files = scene.spools().len();
            files == 0 && ends > 0
        });
    }
    scene.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    // The last runs may have ended after that.
    drain_left(&mut scene.store()).unwrap();
    scene.all_landed(3000);
    let mut store = scene.store();
    let runs = store.runs(&RunFilter::default()).unwrap();
    assert_eq!(runs.iter().map(|r| r.counts.landed).sum::<u64>(), 2999);
    let well = [RunState::Done, RunState::Interrupted];
    assert!(runs.iter().all(|r| well.contains(&r.state)), "{runs:#?}");
    let batches = number(&scene.server, "SELECT SUM(row_count) FROM books.T_BATCH");
    assert_eq!(batches, 2999);
    let empty = store.empty_runs(&RunFilter::default()).unwrap();
    let empty: u64 = empty.iter().map(|empty| empty.runs).sum();
    assert_eq!(scene.use_times(), (runs.len() as u64 + empty) as i64);
    assert_eq!(store.errors(&ErrorFilter::default()).unwrap().len(), 1);
    assert!(scene.decisions(Happened::Skipped).is_empty());
}

#[test]
fn a_task_process_that_dies_without_the_configuration_database_is_carried_on_from() {
    let scene = Scene::new(TASK);
    let mut run = scene.run("writer.before_commit@2=pause;books.kept@4=kill");
    run.reached("writer.before_commit").unwrap();
    scene.hang();
    scene.instance.release("writer.before_commit");
    assert_eq!(run.wait().signal, Some(Signal::SIGKILL as i32));
    scene.instance.wait_until_dead();
    assert!(scene.waiting() > 0);
    scene.wake();
    scene.run("").wait().expect(1);
    scene.all_landed(1000);
    assert!(scene.spools().is_empty());
    let run = scene.all_recorded();
    assert_eq!(run.counts.claimed, run.counts.landed + run.counts.failed);
    // One for the attempt that came to its end.
    assert_eq!(scene.use_times(), 1);
}

#[test]
fn where_nothing_can_be_kept_the_run_ends_in_good_order_and_the_next_one_goes_on() {
    let scene = Scene::new(TASK);
    let mut run = scene.run("writer.before_commit@2=pause");
    run.reached("writer.before_commit").unwrap();
    scene.hang();
    // In place of the directory: as on a full disk, no file can be made.
    let dir = spool::dir(&scene.instance.home());
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::write(&dir, "").unwrap();
    scene.instance.release("writer.before_commit");
    let failed = run.wait().expect(1);
    assert!(failed.stderr.contains("could not"), "{failed}");
    scene.instance.wait_until_dead();
    assert!(scene.dest.number("SELECT COUNT(*) FROM t") < 999);
    std::fs::remove_file(&dir).unwrap();
    scene.wake();
    scene.run("").wait().expect(1);
    scene.all_landed(1000);
    scene.all_recorded();
}

#[test]
fn whoever_dies_while_writing_down_what_waits_does_no_harm() {
    let scene = Scene::new(TASK);
    let mut run = scene.run("writer.before_commit@2=pause");
    run.reached("writer.before_commit").unwrap();
    scene.hang();
    scene.instance.release("writer.before_commit");
    ended(run);
    scene.wake();
    // In the database, and still in the file.
    let died = scene.instance.run_with(&["history"], "books.group@*=kill");
    assert_eq!(died.signal, Some(Signal::SIGKILL as i32), "{died}");
    assert_eq!(scene.spools().len(), 1);
    scene.all_recorded();
    // A line that was being written when its process died.
    let path = scene.spools().remove(0);
    let mut text = std::fs::read(&path).unwrap();
    text.extend_from_slice(br#"{"no":99,"entry":{"end":{"run":"#);
    std::fs::write(&path, text).unwrap();
    let mut first = scene.instance.start(&["history"], "books.drained@*=pause");
    first.reached("books.drained").unwrap();
    // A second one does not wait for the first, nor for the file.
    let second = scene.instance.run(&["history"]).expect(0);
    assert!(second.stdout.contains(" done "), "{second}");
    assert!(second.stdout.contains("wait to be written"), "{second}");
    scene.instance.release("books.drained");
    first.wait().expect(0);
    assert!(scene.spools().is_empty());
    scene.all_recorded();
    assert_eq!(scene.use_times(), 1);
}

#[test]
fn a_real_time_task_that_failed_without_the_configuration_database_stays_suspended() {
    let scene = Scene::new(&scheduled("realtime").replace("error_limit = 5", "error_limit = 0"));
    scene.source.run(&["UPDATE t SET sync_status = 2"]);
    let daemon = scene.daemon();
    scene.wait("a first run", || !scene.decisions(Happened::Done).is_empty());
    scene.hang();
    scene.source.run(&[format!("UPDATE t SET sync_status = 0 WHERE id = {BAD}")]);
    scene.wait("the failure", || !scene.decisions(Happened::Failed).is_empty());
    scene.wait("firings that are left out", || {
        scene.decisions(Happened::Skipped).iter().any(|d| d.reason.contains("ssync resume 1"))
    });
    // Killed, so that only the file knows.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(scene.waiting() > 0);
    scene.wake();
    let runs = scene.decisions(Happened::Started).len();
    let daemon = scene.daemon();
    let home = Home::locate(Some(&scene.instance.home())).unwrap();
    let next = || status(&home).unwrap().unwrap().schedules[0].next;
    let first = next();
    scene.wait("three firings", || next().duration_since(first).as_secs() >= 3);
    let explained = scene.instance.run(&["explain", "1"]).expect(0).stdout;
    assert!(explained.contains("now: suspended after a failure"), "{explained}");
    assert_eq!(scene.decisions(Happened::Started).len(), runs);
    let holds = scene.store().holds(Some(1)).unwrap();
    assert_eq!(holds.len(), 1);
    assert!(scene.spools().is_empty());
    let shown = scene.instance.run(&["status"]).expect(0);
    assert!(shown.stdout.contains("suspended since"), "{shown}");
    scene
        .dest
        .run(&["ALTER TABLE t RENAME TO old", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"]);
    scene.source.run(&[format!("UPDATE t SET sync_status = 0 WHERE id = {BAD}")]);
    scene.instance.run(&["resume", "1"]).expect(0);
    scene.wait("the row", || scene.dest.number("SELECT COUNT(*) FROM t") == 1);
    scene.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
}

/// What was told, each time.
fn told(scene: &Scene, what: What) -> Vec<Event> {
    let home = scene.instance.home();
    let all = events_between(&home, jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX).unwrap();
    all.into_iter().filter(|event| event.what == what).collect()
}

/// Its process is killed between the record of its end and all that follows from it.
#[test]
fn the_suspension_that_a_killed_process_has_left_in_a_file_holds_its_task() {
    let scene = Scene::new(&scheduled("realtime").replace("error_limit = 5", "error_limit = 0"));
    scene.source.run(&["UPDATE t SET sync_status = 2"]);
    let daemon = scene.instance.start(&["daemon"], "run.after_failure@*=kill");
    scene.wait("a first run", || !scene.decisions(Happened::Done).is_empty());
    scene.hang();
    scene.source.run(&[format!("UPDATE t SET sync_status = 0 WHERE id = {BAD}")]);
    scene.wait("the death", || !scene.decisions(Happened::Failed).is_empty());
    // Only the file knows.
    scene.wait("firings that are left out", || {
        scene.decisions(Happened::Skipped).iter().any(|d| d.reason.contains("is suspended since"))
    });
    assert_eq!(scene.source.number("SELECT COUNT(*) FROM t WHERE sync_status = 0"), 0);
    scene.wake();
    scene.wait("the failure to be told", || !told(&scene, What::TaskFailed).is_empty());
    scene.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    scene.instance.run(&["history"]).expect(0);
    for what in [What::TaskDied, What::TaskFailed, What::TaskSuspended] {
        assert_eq!(told(&scene, what).len(), 1, "{what:?}");
    }
    assert_eq!(scene.store().holds(Some(1)).unwrap().len(), 1);
}

/// Its earlier attempt has met the bad row; what that came to, only the database knows.
#[test]
fn a_resumed_run_that_ends_without_the_database_is_no_success_and_is_told_when_it_is_back() {
    let scene = Scene::new(TASK);
    scene.instance.run_with(&RUN, "run.after_rows@1=kill-group");
    scene.instance.wait_until_dead();
    scene.instance.forget_failpoints();
    let mut run = scene.run("run.after_rows@1=pause");
    run.reached("run.after_rows").unwrap();
    scene.hang();
    scene.instance.release("run.after_rows");
    let run = run.wait().expect(1);
    assert_eq!(run.table("t")["result"], "done_unconfirmed", "{run}");
    assert!(run.table("t")["notes"].to_string().contains("whether rows were bad in them"), "{run}");
    assert!(told(&scene, What::RowsBad).is_empty());
    scene.wake();
    for _ in 0..2 {
        scene.instance.run(&["history"]).expect(0);
        let told = told(&scene, What::RowsBad);
        assert_eq!(told.len(), 1);
        let text = "task 1, table t: 1 row is bad, 0 rows wait for their parents, 999 rows have \
                    landed in all attempts of the run; ssync errors 1 names the bad ones";
        assert!(told[0].text.starts_with(text), "{}", told[0].text);
    }
    scene.all_landed(1000);
}

fn entries(run: RunId) -> Vec<(u64, Entry)> {
    let at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let bad = |n: i64| ErrorRow {
        run,
        number: 0,
        task: 1,
        table: "t".into(),
        key_columns: vec!["id".into()],
        key: vec![Value::Int(n)],
        column: None,
        kind: Kind::Data,
        text: "too long".into(),
        at,
        state: RowState::Bad,
        verdict: None,
    };
    let begin = NewRun {
        id: run,
        task: 1,
        table: "t".into(),
        mode: TableMode::Increment,
        plan_hash: "x".into(),
        begin: at,
        ended_before: None,
        attempt: None,
        record_use_times: false,
    };
    let end = RunEnd {
        state: RunState::Done,
        counts: ssync_common::store::RunCounts::default(),
        message: None,
        error: None,
        end: at,
    };
    let last = Settled {
        dest_url: "sqlite:///x".into(),
        fence: "00".repeat(16),
        epoch: 3,
        run,
        pos: "00000000".into(),
        at: Some(at),
    };
    let batches = Vec::new();
    let settled = Entry::Settled { batches, task: 1, table: "t".into(), last, adopt: None };
    let all = [
        Entry::Begin(begin),
        Entry::Bad { rows: vec![bad(1), bad(2)], are_new: true },
        settled,
        Entry::Bad { rows: vec![bad(3)], are_new: true },
        Entry::End { run, end, use_times: None, attempt: None, notice: None },
    ];
    (1..).zip(all).collect()
}

fn bad_rows(store: &mut Store) -> Vec<i64> {
    let rows = store.errors(&ErrorFilter::default()).unwrap();
    rows.iter().filter_map(|r| r.key[0].as_i64()).collect()
}

#[test]
fn entries_take_effect_once_whoever_writes_them_and_however_often() {
    let place = mariadb().database("books_entries");
    let homes: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let open = |n: usize| {
        let home = Home::locate(Some(&homes[n].path().join("home"))).unwrap();
        let password = Some(Secret::from(PASSWORD.to_owned()));
        Store::open(&StoreLocation::server(home, &place.url(), password).unwrap()).unwrap()
    };
    let mut store = open(0);
    for round in 1..=8u8 {
        let (origin, run) = (RunId([round; 16]), RunId([100 + round; 16]));
        let all = entries(run);
        // Four at once, each from another entry on backwards, as after answers that never came.
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (all, mut store) = (&all, open(n));
                scope.spawn(move || {
                    for upto in 1..=all.len() {
                        store.write_down(origin, &all[..upto], n % 2 == 0).unwrap();
                    }
                });
            }
        });
        let filter = ErrorFilter { run: Some(run), ..ErrorFilter::default() };
        let rows = store.errors(&filter).unwrap();
        assert_eq!(rows.iter().map(|r| r.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(store.run(run).unwrap().unwrap().state, RunState::Done);
        assert_eq!(store.last_entry(origin).unwrap(), 5);
    }
}

#[test]
fn what_comes_late_does_not_undo_what_came_after_it() {
    let instance = Instance::new("");
    let mut store = instance.store();
    let (first, second, run) = (RunId([1; 16]), RunId([2; 16]), RunId([3; 16]));
    let late = entries(run);
    // The run was resumed, and has come to its end, before the first process's records come.
    let mut resumed = late.clone();
    let after = jiff::Timestamp::from_second(1_800_000_100).unwrap();
    if let Entry::Begin(begin) = &mut resumed[0].1 {
        (begin.begin, begin.plan_hash) = (after, "y".into());
    }
    if let Entry::Settled { last, .. } = &mut resumed[2].1 {
        (last.epoch, last.pos, last.at) = (4, "00000007".into(), Some(after));
    }
    if let Entry::End { end, .. } = &mut resumed[4].1 {
        (end.end, end.counts.landed) = (after, 7);
    }
    store.write_down(second, &resumed, false).unwrap();
    store.write_down(first, &late, true).unwrap();
    let known = store.run(run).unwrap().unwrap();
    assert_eq!((known.state, known.counts.landed, known.end), (RunState::Done, 7, Some(after)));
    assert!(known.begin < after, "the beginning is that of the first attempt");
    assert_eq!(store.last_settled(1, "t").unwrap().unwrap().pos, "00000007");
    assert_eq!(bad_rows(&mut store), [1, 2, 3], "each once");
    // A suspension of a task that is no longer configured holds up nothing.
    let suspend = Entry::Suspend { task: 77, reason: "x".into(), error: None, at: after };
    store.write_down(first, &[(6, suspend)], true).unwrap();
}

#[test]
fn a_record_that_the_database_does_not_take_is_put_aside_and_told() {
    let place = mariadb().database("books_refused");
    let mut instance = Instance::new("");
    instance.set_env("SSYNC_CONFIG_DB", &place.url());
    instance.set_env("SSYNC_CONFIG_DB_PASSWORD", PASSWORD);
    let home = Home::locate(Some(&instance.home())).unwrap();
    let password = Some(Secret::from(PASSWORD.to_owned()));
    let location = StoreLocation::server(home.clone(), &place.url(), password).unwrap();
    let mut store = Store::open(&location).unwrap();
    let run = RunId([5; 16]);
    let header = |origin: u8| Header {
        origin: RunId([origin; 16]),
        instance: store.instance_id().to_owned(),
        task: 1,
        pid: 1,
        since: jiff::Timestamp::now(),
    };
    let mut spool = Spool::create(home.path(), &header(6)).unwrap();
    for (no, mut entry) in entries(run) {
        if let (3, Entry::Bad { .. } | Entry::Settled { .. }) = (no, &entry) {
            // Too long for its column.
            let Entry::Begin(begin) = &entries(run)[0].1 else { panic!() };
            let id = RunId([7; 16]);
            entry = Entry::Begin(NewRun { id, table: "t".repeat(100), ..begin.clone() });
        }
        spool.append(no, &entry).unwrap();
    }
    drop(spool);
    // Nobody can say whose this is.
    let nobody = spool::dir(home.path()).join("0.jsonl");
    std::fs::write(&nobody, "nonsense\n").unwrap();
    // A process that lives keeps its own.
    let mut alive = Spool::create(home.path(), &header(8)).unwrap();
    alive.append(1, &entries(RunId([9; 16]))[0].1).unwrap();

    let said = instance.run(&["history"]).expect(0);
    assert!(said.stdout.contains(" done "), "{said}");
    assert_eq!(bad_rows(&mut store), [1, 2, 3], "those after it are in");
    let names: Vec<_> = std::fs::read_dir(spool::dir(home.path()))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("settled."))
        .collect();
    let has = |suffix: &str| names.iter().filter(|n| n.ends_with(suffix)).count();
    assert_eq!(
        (has(".jsonl.refused"), has(".jsonl.damaged"), has(".jsonl")),
        (1, 1, 1),
        "{names:?}"
    );
    let events: String = std::fs::read_dir(ssync_common::event::dir(home.path()))
        .unwrap()
        .map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap())
        .collect();
    assert_eq!(events.matches("records_refused").count(), 2, "{events}");
}

/// The embedded database: locked by somebody, or taken away.
#[test]
fn a_run_goes_on_while_the_configuration_file_is_locked_or_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let source = Site::in_file(scratch.path(), "source");
    let dest = Site::in_file(scratch.path(), "dest");
    source.run(&["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, \
                  sync_status INTEGER NOT NULL DEFAULT 0)"]);
    dest.run(&["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"]);
    let table =
        "[[task.table]]\nname = \"t\"\nsource = \"t\"\ndest = \"t\"\napp_resets_status = true\n";
    let instance =
        Instance::new(&format!("{}{}{TASK}{table}", source.link("src"), dest.link("dst")));
    let database = instance.home().join("ssync.db");
    let away = instance.home().join("away.db");
    for round in 1..=2 {
        source.run(&[format!(
            "INSERT INTO t (id, v) WITH RECURSIVE n(i) AS (SELECT {round}000 UNION ALL SELECT \
             i + 1 FROM n WHERE i < {round}999) SELECT i, 'x' FROM n"
        )]);
        let point = format!("writer.before_commit@{}=pause", round + 1);
        let mut run = instance.start(&RUN, &point);
        run.reached("writer.before_commit").unwrap();
        let locker = rusqlite::Connection::open(&database).unwrap();
        if round == 1 {
            locker.execute_batch("BEGIN EXCLUSIVE").unwrap();
        } else {
            std::fs::rename(&database, &away).unwrap();
        }
        instance.release("writer.before_commit");
        // It is locked, or gone, until the run has ended.
        let outcome = run.wait().expect(0);
        assert_eq!(outcome.count("t", "landed"), 1000);
        assert_eq!(spool::files(&instance.home()).unwrap().len(), 1);
        if round == 1 {
            locker.execute_batch("ROLLBACK").unwrap();
        } else {
            assert!(!database.exists(), "no empty one took its place");
            std::fs::rename(&away, &database).unwrap();
        }
        drop(locker);
        instance.run(&["history"]).expect(0);
        assert!(spool::files(&instance.home()).unwrap().is_empty());
        let mut store = instance.store();
        let runs = store.runs(&RunFilter::default()).unwrap();
        assert_eq!(runs.len(), round);
        for run in runs {
            assert_eq!((run.state, run.counts.landed), (RunState::Done, 1000));
            let rows: u64 = store.batches(run.id).unwrap().iter().map(|b| b.rows).sum();
            assert_eq!(rows, 1000);
        }
        assert_eq!(instance.leftovers(), Vec::<String>::new());
        std::fs::remove_dir_all(instance.home().join("failpoints")).unwrap();
    }
}
