//! `ssync top` in a real terminal, beside a real run.

use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ssync_common::store::HoldKind;
use ssync_tests::PATIENCE;
use ssync_tests::sites::Site;
use ssync_tests::ssync::{Instance, program};

/// A terminal with one program in it; gone when dropped.
struct Tmux {
    server: String,
}

impl Tmux {
    /// Runs `ssync top` in the home of `instance` between two lines of a shell's.
    fn start(instance: &Instance, width: u16, height: u16) -> Tmux {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let tmux = Tmux { server: format!("ssync-test-{}-{n}", std::process::id()) };
        let script = format!(
            "echo a line from before; '{}' top; echo \"it ended with $?\"; stty -a; exec cat",
            program().display()
        );
        let home = format!("SSYNC_HOME={}", instance.home().display());
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height, "-e", &home, &script];
        tmux.run(&[&["-f", "/dev/null", "new-session", "-d", "-s", "top"][..], &size].concat());
        tmux
    }

    fn try_run(&self, args: &[&str]) -> Output {
        // A terminal's text is in the locale's characters.
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-L", &self.server]).args(args);
        tmux.env("LC_ALL", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR").output().unwrap()
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let done = self.try_run(args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys", "-t", "top"][..], keys].concat());
    }

    /// Waits until one line of the screen has all of `words`; the screen.
    #[track_caller]
    fn see(&self, words: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let screen = self.run(&["capture-pane", "-p", "-t", "top"]);
            if screen.lines().any(|line| words.iter().all(|w| line.contains(w))) {
                return screen;
            }
            assert!(since.elapsed() < PATIENCE, "{words:?} is not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.try_run(&["kill-server"]);
    }
}

/// A home with a task of two tables, of which the second one's source is missing.
fn instance(rows: u32) -> Instance {
    let dir = tempfile::tempdir().unwrap();
    let (source, dest) = (Site::in_file(dir.path(), "source"), Site::in_file(dir.path(), "dest"));
    let (Site::Sqlite(source), Site::Sqlite(dest)) = (source, dest) else { unreachable!() };
    let columns = "id INTEGER PRIMARY KEY, name TEXT";
    let db = rusqlite::Connection::open(&source).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE orders ({columns}, sync_status INTEGER NOT NULL DEFAULT 0);
         INSERT INTO orders (id, name) WITH RECURSIVE n(i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i, 'x' FROM n;"
    ))
    .unwrap();
    let db = rusqlite::Connection::open(&dest).unwrap();
    db.execute_batch(&format!("CREATE TABLE orders ({columns})")).unwrap();
    let toml = format!(
        r#"
        [[link]]
        name = "core"
        url = "sqlite://{}"
        [[link]]
        name = "warehouse"
        url = "sqlite://{}"
        [[task]]
        id = 7
        source = "core"
        dest = "warehouse"
        writers = 2
        batch_rows = 100
        [[task.table]]
        name = "orders"
        source = "orders"
        dest = "orders"
        key = ["id"]
        write = "upsert"
        "#,
        source.display(),
        dest.display()
    );
    let instance = Instance::new(&toml);
    // The files go with the home.
    std::fs::rename(dir.keep(), instance.scratch().join("files")).unwrap();
    instance.apply(&toml.replace(
        source.parent().unwrap().to_str().unwrap(),
        instance.scratch().join("files").to_str().unwrap(),
    ));
    instance
}

#[test]
fn top_shows_a_run_pauses_its_task_and_leaves_the_terminal_as_it_was() {
    let instance = instance(1000);
    let tmux = Tmux::start(&instance, 80, 24);
    tmux.see(&["daemon: not running"]);
    tmux.see(&["7 orders", "ready", "never ran"]);

    // Batches 1 to 3 land, then the run stands still.
    let mut run = instance.start(&["--task", "7"], "writer.before_commit@4=pause");
    run.reached("writer.before_commit").expect("the run ended before it paused");
    tmux.see(&["1 running"]);
    let screen = tmux.see(&["7 orders", "transferring", "2"]);
    assert!(screen.lines().count() <= 24, "{screen}");

    tmux.keys(&["Enter"]);
    tmux.see(&["task 7", "core → warehouse"]);
    tmux.see(&["transferring orders, table 1 of 1"]);
    tmux.see(&["writer", "process", "batches"]);
    tmux.see(&[&run.pid().to_string(), "run "]);
    tmux.keys(&["End"]);
    tmux.see(&["batch_rows: 100"]);
    tmux.keys(&["Escape"]);
    tmux.see(&["TASK", "TABLE", "WAITS FOR"]);

    tmux.keys(&["p"]);
    tmux.see(&["task 7 is paused"]);
    let hold = &instance.store().holds(None).unwrap()[0];
    assert_eq!((hold.task, &hold.table, hold.kind), (7, &None, HoldKind::Paused));
    assert_eq!(hold.reason.as_deref(), Some("paused in ssync top"));
    tmux.keys(&["r"]);
    tmux.see(&["task 7 may run again"]);
    assert!(instance.store().holds(None).unwrap().is_empty());

    tmux.run(&["resize-window", "-t", "top", "-x", "160", "-y", "50"]);
    tmux.see(&["LINKS", "TABLES", "BYTES/S"]);
    tmux.see(&["7 orders", "core → warehouse", "transferring", "0/1"]);
    tmux.run(&["resize-window", "-t", "top", "-x", "30", "-y", "8"]);
    tmux.see(&["ssync top needs 40x10"]);
    tmux.run(&["resize-window", "-t", "top", "-x", "80", "-y", "24"]);

    tmux.keys(&["p"]);
    tmux.see(&["task 7 is paused"]);
    instance.release("writer.before_commit");
    // It comes to its halt between two batches, and shared memory goes with it.
    run.wait().expect(130);
    tmux.see(&["nothing is running"]);
    tmux.see(&["7 orders", "paused", "for "]);
    tmux.see(&["interrupted", "rows", "orders"]);

    tmux.keys(&["q"]);
    let screen = tmux.see(&["it ended with 0"]);
    assert!(screen.contains("a line from before"), "{screen}");
    let screen = tmux.see(&["icanon"]);
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
}

#[test]
fn top_shows_the_backlog_and_that_a_run_without_rows_went_well() {
    let instance = instance(5);
    let file = |name: &str| Site::Sqlite(instance.scratch().join("files").join(name));
    let (source, dest) = (file("source.db"), file("dest.db"));
    source.run(&["CREATE INDEX by_status ON orders (sync_status)"]);
    let daemon = instance.start(&["daemon"], "");
    let tmux = Tmux::start(&instance, 80, 40);
    tmux.see(&["7 orders", "ready", "never ran"]);
    tmux.keys(&["Enter"]);
    tmux.see(&["orders: 5 rows wait to be sent (counted ", " ago)"]);
    tmux.keys(&["Escape"]);
    dest.run(&["ALTER TABLE orders RENAME TO away"]);
    assert_ne!(instance.run(&["--task", "7"]).code, Some(0));
    tmux.see(&["7 orders", "failed"]);
    dest.run(&["ALTER TABLE away RENAME TO orders"]);
    source.run(&["UPDATE orders SET sync_status = 2"]);
    instance.run(&["--task", "7"]).expect(0);
    tmux.see(&["7 orders", "ready", "done"]);
    // Shared memory goes with the daemon: what is left is the configuration database.
    instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
    tmux.see(&["daemon: not running"]);
    tmux.see(&["7 orders", "ready", "done"]);
}

#[test]
fn a_signal_ends_top_and_the_terminal_is_as_before() {
    let instance = instance(1);
    let tmux = Tmux::start(&instance, 80, 24);
    tmux.see(&["7 orders", "ready"]);
    let tops = instance.processes().into_iter().filter(|pid| {
        ssync_tests::ssync::cmdline(*pid).get(1).is_some_and(|argument| argument == "top")
    });
    let tops: Vec<_> = tops.collect();
    assert_eq!(tops.len(), 1);
    let pid = nix::unistd::Pid::from_raw(tops[0] as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let screen = tmux.see(&["it ended with 0"]);
    assert!(screen.contains("a line from before"), "{screen}");
    let screen = tmux.see(&["icanon"]);
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
}

#[test]
fn without_a_terminal_top_says_what_to_use_instead() {
    let ended = instance(1).run(&["top"]).expect(2);
    assert!(ended.stderr.contains("ssync top needs a terminal"), "{ended}");
    assert!(ended.stderr.contains("ssync status"), "{ended}");
}

#[test]
fn status_shows_a_run_as_it_runs_as_text_and_as_json() {
    let instance = instance(1000);
    let mut run = instance.start(&["--task", "7"], "writer.before_commit@4=pause");
    run.reached("writer.before_commit").expect("the run ended before it paused");
    // The task process shows what it does a few times a second.
    let since = Instant::now();
    loop {
        let text = instance.run(&["status"]).expect(0).stdout;
        let line = text.lines().find(|l| l.starts_with("  orders")).unwrap();
        if line.contains("transferring for ") && line.contains("2 writers") {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{text}");
    }
    let told = instance.run(&["status", "--json"]).expect(0).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["schema"], &told["controller"]["alive"]), (&1.into(), &false.into()));
    assert_eq!(told["tables"][0]["live"]["phase"], "transferring");
    assert_eq!(told["running"][0]["task_id"], 7);
    assert_eq!(told["running"][0]["writers"].as_array().unwrap().len(), 2);

    // The configuration database is out of order; what runs is shown all the same.
    let database = instance.home().join("ssync.db");
    let kept = instance.scratch().join("kept.db");
    std::fs::rename(&database, &kept).unwrap();
    std::fs::DirBuilder::new().mode(0o700).create(&database).unwrap();
    let shown = instance.run(&["status"]).expect(2);
    assert!(shown.stdout.contains("task 7 orders") && shown.stdout.contains("transferring for"));
    assert!(shown.stderr.contains("ssync.db"), "{shown}");
    std::fs::remove_dir(&database).unwrap();
    std::fs::rename(&kept, &database).unwrap();

    instance.release("writer.before_commit");
    run.wait().expect(0);
    let told = instance.run(&["status", "--json"]).expect(0).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["tables"][0]["last_run"]["counts"]["landed"], 1000);
    assert_eq!(told["tables"][0]["live"], serde_json::Value::Null);

    let history = instance.run(&["history", "--since", "1h", "--chart"]).expect(0).stdout;
    assert!(history.starts_with("task 7, orders\n") && history.contains("1,000 █"), "{history}");
    let none = instance.run(&["history", "--since", "2099-01-01", "--json"]).expect(0).stdout;
    let none: serde_json::Value = serde_json::from_str(&none).unwrap();
    assert_eq!(none, serde_json::json!({ "schema": 1, "runs": [], "empty": [], "waiting": [] }));
    instance.run(&["history", "--since", "yesterday"]).expect(2);
}

/// A terminal that goes away without a signal, as that of a container does.
#[test]
fn a_terminal_that_is_gone_ends_the_display() {
    let instance = Instance::new("");
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    // The program must not have our end too.
    let own = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
    nix::fcntl::fcntl(&pty.master, own).unwrap();
    let terminal = || std::process::Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = Command::new(program());
    command.arg("top").stdin(terminal()).stdout(terminal()).stderr(terminal());
    let mut child = instance.in_environment(command).spawn().unwrap();
    drop(pty.slave);
    let mut master = std::fs::File::from(pty.master);
    let mut some = [0; 64];
    assert!(std::io::Read::read(&mut master, &mut some).unwrap() > 0, "it has begun to draw");
    drop(master);
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it goes on without a terminal");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
