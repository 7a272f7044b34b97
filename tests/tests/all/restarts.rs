//! A server that is away for a while: what is tried again, who is suspended, and who goes on
//! without a person.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mysql::prelude::Queryable;
use nix::sys::signal::Signal;
use ssync_common::error::Kind;
use ssync_common::event::{Event, Severity, What, events_between};
use ssync_common::store::{Hold, HoldKind};
use ssync_tests::servers::{Server, Software, USER};
use ssync_tests::sites::{Session, Site};
use ssync_tests::ssync::{Instance, Running};
use ssync_tests::wait_for;

use crate::daemon::{House, task};
use crate::docs;

const RUN: [&str; 3] = ["--task", "1", "--json"];

/// A house with one task between a file and a server of its own, which may be stopped.
struct Scene {
    server: Server,
    house: House,
}

/// Which end of the task is on the server.
#[derive(Clone, Copy)]
enum End {
    Source,
    Dest,
}

impl Scene {
    fn new(on_server: End) -> Scene {
        let server = Server::start(Software::MariaDb, &[]);
        let instance = Instance::new("");
        let file = Site::in_file(instance.scratch(), "file");
        let away = Site::on_server(&server, "away");
        let (source, dest) = match on_server {
            End::Source => (away, file),
            End::Dest => (file, away),
        };
        let of = |status: &str| {
            format!("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20){status})")
        };
        source.run(&[of(", sync_status INT NOT NULL DEFAULT 0")]);
        dest.run(&[of("")]);
        Scene { server, house: House { instance, sites: vec![(source, dest)] } }
    }

    fn instance(&self) -> &Instance {
        &self.house.instance
    }

    /// Whether the task waits for its next attempt, as anybody may see.
    fn waits_to_retry(&self) -> bool {
        let status = self.instance().run(&["status", "--json"]);
        status.stdout.contains("\"waiting_for\":\"retry\"")
    }

    #[track_caller]
    fn await_retry(&self, run: &mut Running) {
        self.house.wait("a wait for the next attempt", || {
            assert!(!run.has_ended(), "it has ended\n{}", self.instance().logs());
            self.waits_to_retry()
        });
    }
}

#[test]
fn a_refused_connection_is_tried_again_until_the_server_is_back() {
    for end in [End::Source, End::Dest] {
        let mut scene = Scene::new(end);
        scene.house.apply(&task(1, "retries = 100"));
        scene.house.insert(1, 0..20);
        scene.server.stop();
        let mut run = scene.instance().start(&RUN, "");
        scene.await_retry(&mut run);
        scene.server.restart();
        let outcome = run.wait().expect(0);
        assert_eq!((outcome.count("t", "landed"), scene.house.arrived(1)), (20, 20), "{outcome}");
        let notes = outcome.table("t")["notes"].to_string();
        assert!(notes.contains("tried again after: link "), "{outcome}");
    }
}

#[test]
fn no_retries_means_one_attempt() {
    let mut scene = Scene::new(End::Dest);
    scene.house.apply(&task(1, "retries = 0\nretry_wait = \"1d\""));
    scene.server.stop();
    let outcome = scene.instance().run(&RUN).expect(1);
    assert_eq!(outcome.table("t")["error"]["kind"], "Connect", "{outcome}");
}

#[test]
fn a_wait_for_the_next_attempt_is_shown_and_ends_when_asked() {
    let mut scene = Scene::new(End::Dest);
    scene.house.apply(&task(1, "retry_wait = \"1d\""));
    scene.house.insert(1, 0..3);
    scene.server.stop();
    // By hand.
    let mut run = scene.instance().start(&["--task", "1"], "");
    scene.await_retry(&mut run);
    // Its connections are for others to use.
    let links = scene.instance().run(&["links", "--json"]).expect(0);
    assert!(
        links.stdout.contains("\"in_use\":0") && !links.stdout.contains("\"held\":[{"),
        "{links}"
    );
    run.signal(Signal::SIGINT);
    let ended = run.wait().expect(130);
    let told = "t: attempt 1 of 6 failed, the next one in 1d: link d1: ";
    assert!(ended.stderr.contains(told), "{ended}");
    // By a pause.
    let mut run = scene.instance().start(&RUN, "");
    scene.await_retry(&mut run);
    scene.instance().run(&["pause", "1"]).expect(0);
    let paused = run.wait();
    assert_eq!(paused.table("t")["result"], "paused", "{paused}");
    scene.instance().run(&["resume", "1"]).expect(0);
    // By the end of the daemon.
    let daemon = scene.house.start("");
    scene.instance().run(&["run", "1"]).expect(0);
    scene.house.wait("a wait that is explained", || {
        let told = scene.instance().run(&["explain", "1"]).expect(0);
        told.stdout.contains("t: waits for retry (attempt 1 of 6 failed")
    });
    let shown = scene.instance().run(&["status", "--json"]).expect(0);
    assert!(shown.stdout.contains("attempt 1 of 6 failed"), "{shown}");
    assert!(shown.stdout.contains("\"retry_at_ms\":"), "{shown}");
    let shown = scene.instance().run(&["status"]).expect(0).stdout;
    let next = jiff::Zoned::now().checked_add(jiff::Span::new().days(1)).unwrap().date();
    assert!(shown.contains(&format!("next attempt at {next} ")), "{shown}");
    assert!(shown.contains(": attempt 1 of 6 failed, the next one in 1d: link d1: "), "{shown}");
    scene.house.stop(daemon);
    // Nothing of it is lost.
    scene.server.restart();
    scene.instance().run(&RUN).expect(0);
    assert_eq!(scene.house.arrived(1), 3);
}

/// It had failed once, and would have been tried again: that is no run that was not there.
#[test]
fn a_wait_for_the_next_attempt_that_an_operator_ends_is_in_the_history() {
    let mut scene = Scene::new(End::Dest);
    scene.house.apply(&task(1, "retry_wait = \"1d\""));
    scene.house.insert(1, 0..3);
    scene.server.stop();
    let last = |wish: &str| {
        let history = scene.instance().run(&["history", "1", "--json"]).expect(0);
        let history: serde_json::Value = serde_json::from_str(&history.stdout).unwrap();
        let run = &history["runs"][0];
        assert_eq!(run["state"], "interrupted", "{wish}: {history}");
        assert_eq!(run["attempts"].as_array().unwrap().len(), 1, "{history}");
        let text = run["message"].as_str().unwrap().to_owned();
        assert!(text.contains(wish), "{text}");
        assert!(text.contains("while it waited for attempt 2 of 6; the last one failed: link d1"));
        history["runs"].as_array().unwrap().len()
    };
    let mut run = scene.instance().start(&RUN, "");
    scene.await_retry(&mut run);
    run.signal(Signal::SIGINT);
    run.wait().expect(130);
    assert_eq!(last("interrupted by the operator"), 1);
    let mut run = scene.instance().start(&RUN, "");
    scene.await_retry(&mut run);
    scene.instance().run(&["pause", "1"]).expect(0);
    run.wait().expect(130);
    assert_eq!(last("task 1 is paused since "), 2);
    scene.instance().run(&["resume", "1"]).expect(0);
    // A run that finds it paused before anything was tried is none.
    scene.instance().run(&["pause", "1", "t"]).expect(0);
    scene.instance().run(&RUN).expect(130);
    assert_eq!(last("task 1 is paused since "), 2);
    scene.instance().run(&["resume", "1", "t"]).expect(0);
    // The same in a run that the daemon has started.
    let explained = |words: &str| {
        let told = scene.instance().run(&["explain", "1"]).expect(0).stdout;
        told.lines().any(|line| line.contains("interrupted") && line.contains(words))
    };
    for stop in [&["pause", "1", "t"][..], &["stop"]] {
        let daemon = scene.house.start("");
        scene.instance().run(&["run", "1"]).expect(0);
        scene.house.wait("a wait for the next attempt", || scene.waits_to_retry());
        scene.instance().run(stop).expect(0);
        scene
            .house
            .wait("an end that is explained", || explained("while it waited for attempt 2 of 6"));
        scene.instance().run(&["resume", "1", "t"]).expect(0);
        if stop[0] == "stop" {
            daemon.wait().expect(0);
            assert_eq!(last("interrupted by the operator"), 4);
        } else {
            assert_eq!(last("table t is paused since "), 3);
            scene.house.stop(daemon);
        }
    }
    scene.server.restart();
    scene.instance().run(&RUN).expect(0);
    assert_eq!(scene.house.arrived(1), 3);
}

/// A real-time task that nobody fires.
fn realtime(rest: &str) -> String {
    let schedule = "[[schedule]]\nid = 1\nevery = \"1d\"\nkind = \"realtime\"\n";
    format!("{schedule}{}", task(1, &format!("schedule = 1\nretries = 0\n{rest}")))
}

fn events(instance: &Instance) -> Vec<Event> {
    events_between(&instance.home(), Timestamp::UNIX_EPOCH, Timestamp::MAX).unwrap()
}

fn holds(instance: &Instance) -> Vec<Hold> {
    instance.store().holds(None).unwrap()
}

impl Scene {
    /// The task has failed because its server is away, and is suspended.
    fn suspended(rest: &str) -> Scene {
        let mut scene = Scene::new(End::Dest);
        scene.house.apply(&realtime(rest));
        scene.house.insert(1, 0..3);
        scene.server.stop();
        let outcome = scene.instance().run(&RUN).expect(1);
        let notes = outcome.table("t")["notes"].to_string();
        let back = notes.contains("the daemon resumes it when both of its links answer again");
        assert_eq!(back, rest.contains("resume_when_back = true"), "{outcome}");
        let holds = holds(scene.instance());
        assert_eq!((holds[0].kind, holds[0].error), (HoldKind::Suspended, Some(Kind::Connect)));
        scene
    }

    fn is_tested(&self) -> bool {
        let told = self.instance().run(&["explain", "1"]).expect(0);
        told.stdout.contains("its links are tested until both answer")
    }
}

#[test]
fn only_what_is_configured_so_and_no_person_has_paused_resumes_by_itself() {
    let scene = Scene::suspended("");
    let daemon = scene.house.start("");
    assert!(!scene.is_tested());
    scene.house.apply(&realtime("resume_when_back = true"));
    scene.instance().run(&["reload"]).expect(0);
    scene.house.wait("tests of its links", || scene.is_tested());
    scene.instance().run(&["pause", "1", "--reason", "the server moves"]).expect(0);
    scene.house.wait("an end of the tests", || !scene.is_tested());
    let holds = holds(scene.instance());
    assert_eq!((holds[0].kind, holds[0].error), (HoldKind::Suspended, None));
    let reason = holds[0].reason.as_deref().unwrap();
    assert!(reason.contains("link d1") && reason.contains("the server moves"), "{reason}");
    scene.house.stop(daemon);
}

#[test]
fn a_server_that_is_back_and_refuses_the_login_is_not_asked_again() {
    let mut scene = Scene::suspended("resume_when_back = true");
    scene.server.restart();
    let mut admin = scene.server.connect();
    for host in ["127.0.0.1", "localhost", "%"] {
        admin.query_drop(format!("ALTER USER '{USER}'@'{host}' IDENTIFIED BY 'another'")).unwrap();
    }
    let daemon = scene.house.start("");
    let told = |events: &[Event]| {
        let stays = |e: &&Event| e.text.contains("it does not resume by itself: link d1");
        events.iter().filter(stays).count()
    };
    scene.house.wait("word that it stays", || told(&events(scene.instance())) == 1);
    scene.house.wait("an end of the tests", || !scene.is_tested());
    assert_eq!(holds(scene.instance())[0].error, None);
    scene.house.stop(daemon);
}

/// What the page about servers that restart at night configures.
fn page() -> String {
    docs::block("docs/OPERATIONS.md", "## A server restarts at night", "toml")
}

/// The page's task, whose destination is a server that may be stopped, and whose source gets a
/// row every few milliseconds.
struct Night {
    server: Server,
    instance: Instance,
    source: Site,
    dest: Site,
}

impl Night {
    fn new(toml: &str) -> Night {
        let server = Server::start(Software::MariaDb, &[]);
        let instance = Instance::new("");
        let source = Site::in_file(instance.scratch(), "shop");
        let dest = Site::on_server(&server, "warehouse");
        let columns = "(id BIGINT NOT NULL PRIMARY KEY, item VARCHAR(40) NOT NULL";
        source
            .run(&[format!("CREATE TABLE orders {columns}, sync_status INT NOT NULL DEFAULT 0)")]);
        dest.run(&[format!("CREATE TABLE dw_orders {columns})")]);
        instance.apply(&format!("{}{}{toml}", source.link("shop"), dest.link("warehouse")));
        Night { server, instance, source, dest }
    }

    /// Rows come in while `scene` plays; at its end all of them have landed, once and unchanged.
    fn play(mut self, scene: impl FnOnce(&mut Server, &Instance, &dyn Fn() -> i64)) -> Instance {
        let is_over = AtomicBool::new(false);
        let (source, dest, server) = (&self.source, &self.dest, &mut self.server);
        let came = || source.number("SELECT COUNT(*) FROM orders");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut session = Session::open(source);
                let mut id = 0;
                while !is_over.load(Ordering::Relaxed) {
                    session.run(&format!("INSERT INTO orders (id, item) VALUES ({id}, 'i{id}')"));
                    id += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            let over = Over(&is_over);
            scene(server, &self.instance, &came);
            drop(over);
        });
        let all = came();
        wait_for("every row to land", || {
            dest.number("SELECT COUNT(*) FROM dw_orders") == all
                && source.number("SELECT COUNT(*) FROM orders WHERE sync_status <> 2") == 0
        });
        let wrong = "SELECT COUNT(*) FROM dw_orders WHERE item <> CONCAT('i', id)";
        assert_eq!(dest.number(wrong), 0);
        self.instance
    }
}

/// Ends the night, also when a test fails in it.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until so many rows more have come in: proof that the source goes on.
fn await_rows(came: &dyn Fn() -> i64, more: i64) {
    let wanted = came() + more;
    wait_for("rows to come in", || came() >= wanted);
}

#[test]
fn a_server_that_restarts_at_night_wakes_nobody_and_everything_lands() {
    let night = Night::new(&page());
    let mut daemon = None;
    let instance = night.play(|server, instance, came| {
        daemon = Some(instance.start(&["daemon"], ""));
        await_rows(came, 100);
        server.stop();
        // Not the first attempt only: it is away for seconds.
        wait_for("a second failed attempt", || {
            instance.run(&["status", "--json"]).stdout.contains("attempt 2 of 9 failed")
        });
        await_rows(came, 100);
        server.restart();
        await_rows(came, 100);
    });
    assert_eq!(holds(&instance), []);
    let alarms: Vec<_> =
        events(&instance).into_iter().filter(|e| e.severity > Severity::Info).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
    instance.run(&["health"]).expect(0);
    instance.run(&["stop"]).expect(0);
    daemon.unwrap().wait().expect(0);
}

#[test]
fn a_server_that_stays_away_suspends_its_task_which_goes_on_when_it_is_back() {
    // The page's retries take minutes.
    let toml = page();
    assert!(toml.contains("retries = 8"), "{toml}");
    let night = Night::new(&toml.replace("retries = 8", "retries = 1"));
    let told = |instance: &Instance| {
        let kinds = [What::TaskFailed, What::TaskSuspended, What::TaskResumed];
        let of_task = |e: &Event| kinds.contains(&e.what);
        events(instance).into_iter().filter(of_task).map(|e| e.what).collect::<Vec<_>>()
    };
    let mut daemon = None;
    let instance = night.play(|server, instance, came| {
        let first = instance.start(&["daemon"], "");
        await_rows(came, 100);
        server.stop();
        wait_for("the suspension", || told(instance).contains(&What::TaskSuspended));
        wait_for("tests of its links", || {
            instance
                .run(&["explain", "1"])
                .stdout
                .contains("its links are tested until both answer")
        });
        // The next daemon knows of it, too.
        first.signal(Signal::SIGKILL);
        first.wait();
        daemon = Some(instance.start(&["daemon"], ""));
        await_rows(came, 100);
        server.restart();
        wait_for("its resumption", || told(instance).contains(&What::TaskResumed));
        await_rows(came, 100);
    });
    assert_eq!(told(&instance), [What::TaskFailed, What::TaskSuspended, What::TaskResumed]);
    assert_eq!(holds(&instance), []);
    instance.run(&["health"]).expect(0);
    instance.run(&["stop"]).expect(0);
    daemon.unwrap().wait().expect(0);
}
