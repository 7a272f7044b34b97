//! A server that is away for a while: what is tried again, who is suspended, and who goes on
//! without a person.

use nix::sys::signal::Signal;
use ssync_tests::servers::{Server, Software};
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, PASSWORD_ENV, Running};

use crate::daemon::{House, task};

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
fn a_refused_login_is_not_tried_again() {
    let mut scene = Scene::new(End::Dest);
    // A retry would take longer than any test.
    scene.house.apply(&task(1, "retry_wait = \"1d\""));
    scene.house.insert(1, 0..3);
    scene.house.instance.set_env(PASSWORD_ENV, "wrong");
    let outcome = scene.instance().run(&RUN).expect(1);
    let table = outcome.table("t");
    assert_eq!(table["error"]["kind"], "Login", "{outcome}");
    assert!(!table["notes"].to_string().contains("tried again"), "{outcome}");
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
    let mut run = scene.instance().start(&RUN, "");
    scene.await_retry(&mut run);
    run.signal(Signal::SIGINT);
    run.wait().expect(130);
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
        told.stdout.contains("t: waits for retry")
    });
    let shown = scene.instance().run(&["status", "--json"]).expect(0);
    assert!(shown.stdout.contains("attempt 1 of 6 failed"), "{shown}");
    scene.house.stop(daemon);
    // Nothing of it is lost.
    scene.server.restart();
    scene.instance().run(&RUN).expect(0);
    assert_eq!(scene.house.arrived(1), 3);
}
