//! Passwords and keys are nowhere but where they have to be (A9): a real transfer is held in the
//! middle of a batch, fails, and is asked about in every way, and everything that others could see
//! is searched for them, in whatever form: as they are, in hexadecimal, in base64, as numbers.

#[path = "secrets/search.rs"]
mod search;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mysql::prelude::Queryable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ssync_common::store::Home;
use ssync_controller::daemon::command::status;
use ssync_tests::servers::mariadb;
use ssync_tests::sites::{Cell, Site};
use ssync_tests::ssync::{Instance, Outcome, Running, cmdline, program};

use search::{Needle, Places, search_memory};

/// Passwords of the accounts, by where ssync gets them from.
const BY_ENV: &str = "Env-9fQ\"sesame\\%41";
const BY_FILE: &str = "File-7rT'sesame é<>";
const STORED: &str = "Stored-5kW sesame;$(x)";
const WRONG: &str = "Wrong-3zP&sesame";
const PASSWORD_VARIABLE: &str = "SECRETS_TEST_PASSWORD";
/// In every value of the columns that are encrypted.
const PLAIN: &str = "Klartext-86420";
/// Rows; in batches of ten.
const ROWS: i64 = 60;

/// Thirty-two bytes that look random, and are the same every time.
fn key(seed: u8) -> [u8; 32] {
    std::array::from_fn(|i| (i as u8).wrapping_mul(73).wrapping_add(seed).rotate_left(3) ^ 0xa5)
}

fn secrets() -> Vec<Needle> {
    let mut needles = vec![
        Needle::new("the password from the environment", BY_ENV.as_bytes()),
        Needle::new("the password from a file", BY_FILE.as_bytes()),
        Needle::new("the stored password", STORED.as_bytes()),
        Needle::new("the wrong password", WRONG.as_bytes()),
    ];
    needles.extend([1, 2, 3].map(|n| Needle::new(&format!("key {n}"), &key(n))));
    needles
}

/// Three databases, three accounts, one home: rows go from the first encrypted into the second
/// (task 1), and from there decrypted into the third (task 2).
struct Scene {
    instance: Instance,
    plain: Site,
    sealed: Site,
    opened: Site,
}

impl Scene {
    fn new() -> Scene {
        let server = mariadb();
        let sites = ["sec_a", "sec_b", "sec_c"].map(|name| Site::on_server(server, name));
        let [plain, sealed, opened] = sites;
        let mut admin = server.connect();
        let accounts = [("a", &plain, BY_ENV), ("b", &sealed, BY_FILE), ("c", &opened, STORED)];
        for (name, site, password) in accounts {
            let account = format!("'{}'@'%'", account(site, name));
            let quoted = password.replace('\\', "\\\\").replace('\'', "''");
            admin.query_drop(format!("CREATE USER {account} IDENTIFIED BY '{quoted}'")).unwrap();
            let database = database(site);
            admin.query_drop(format!("GRANT ALL ON `{database}`.* TO {account}")).unwrap();
        }
        plain.run(&[
            "CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, card VARCHAR(60) NOT NULL, \
                     mobile VARCHAR(60) NOT NULL, memo VARCHAR(60) NOT NULL, \
                     sync_status INT NOT NULL DEFAULT 0)",
        ]);
        sealed.run(&["CREATE TABLE mid (id BIGINT NOT NULL PRIMARY KEY, card VARCHAR(500), \
                      mobile VARCHAR(500), memo VARCHAR(500), sync_status INT NOT NULL DEFAULT 0)"]);
        opened.run(&["CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, card VARCHAR(60), \
                      mobile VARCHAR(60), memo VARCHAR(60))"]);
        let rows: Vec<_> = (0..ROWS)
            .map(|id| {
                let text = |what: &str| Cell::Text(format!("{PLAIN}-{what}-{id}"));
                vec![Cell::Int(id), text("card"), text("mobile"), text("memo")]
            })
            .collect();
        plain.insert("src", &["id", "card", "mobile", "memo"], &rows);

        let mut instance = Instance::new("");
        instance.set_env(PASSWORD_VARIABLE, BY_ENV);
        instance.set_env("SECRETS_TEST_KEY", &STANDARD.encode(key(3)));
        let scene = Scene { instance, plain, sealed, opened };
        scene.private_file("password", BY_FILE.as_bytes());
        scene.private_file("one.key", hex(&key(1)).as_bytes());
        scene.private_file("two.key", &key(2));
        scene.instance.apply(&scene.toml());
        scene.store_password(STORED);
        scene
    }

    fn private_file(&self, name: &str, content: &[u8]) {
        let path = self.instance.scratch().join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
        file.write_all(content).unwrap();
    }

    fn toml(&self) -> String {
        let file = |name: &str| self.instance.scratch().join(name).display().to_string();
        let link = |name: &str, site: &Site, password: String| {
            let Site::MySql { port, database } = site else { unreachable!() };
            let account = account(site, name);
            format!(
                "[[link]]\nname = \"{name}\"\nurl = \"mysql://{account}@127.0.0.1:{port}/{database}\"\n\
                 password = {password}\n"
            )
        };
        let key =
            |name: &str, secret: String| format!("[[key]]\nname = \"{name}\"\nsecret = {secret}\n");
        let task = |id: u32, source: &str, dest: &str, tables: (&str, &str), word: &str| {
            format!(
                "[[task]]\nid = {id}\nsource = \"{source}\"\ndest = \"{dest}\"\nwriters = 2\n\
                 batch_rows = 10\nslot_bytes = 65536\n[[task.table]]\nname = \"t\"\n\
                 source = \"{}\"\ndest = \"{}\"\nkey = [\"id\"]\napp_resets_status = true\n\
                 columns = [\"id\", \"card\", \"mobile\", \"memo\"]\n\
                 {word} = {{ card = \"one\", mobile = {{ key = \"two\", deterministic = true }}, \
                 memo = \"three\" }}\n",
                tables.0, tables.1
            )
        };
        [
            link("a", &self.plain, format!("{{ env = \"{PASSWORD_VARIABLE}\" }}")),
            link("b", &self.sealed, format!("{{ file = \"{}\" }}", file("password"))),
            link("c", &self.opened, "{ stored = true }".to_owned()),
            key("one", format!("{{ file = \"{}\" }}", file("one.key"))),
            key("two", format!("{{ file = \"{}\" }}", file("two.key"))),
            key("three", "{ env = \"SECRETS_TEST_KEY\" }".to_owned()),
            task(1, "a", "b", ("src", "mid"), "encrypt"),
            task(2, "b", "c", ("mid", "dst"), "decrypt"),
        ]
        .concat()
    }

    /// A daemon that has read its configuration.
    fn start_daemon(&self, failpoints: &str) -> Running {
        let mut daemon = self.instance.start(&["daemon"], failpoints);
        let home = Home::locate(Some(&self.instance.home())).unwrap();
        let has_read = || status(&home).unwrap().is_some_and(|s| s.configuration_read.is_some());
        while !has_read() {
            assert!(!daemon.has_ended(), "{}", self.instance.logs());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        daemon
    }

    /// As an operator does it, in a pipe.
    fn store_password(&self, password: &str) {
        let mut command = Command::new(program());
        command.args(["link", "set-password", "c"]);
        let mut child = self
            .instance
            .in_environment(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn places(&self) -> Places<'_> {
        Places { instance: &self.instance, sites: vec![&self.plain, &self.sealed, &self.opened] }
    }

    /// Nothing secret is anywhere, nor a row's plaintext where it has no business.
    #[track_caller]
    fn nothing_leaks(&self, when: &str) {
        let found = self.places().search(&secrets());
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
        let found = self.places().search_records(&[Needle::new("a row's text", PLAIN.as_bytes())]);
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
    }

    /// Neither does a command say it.
    #[track_caller]
    fn runs_silently(&self, args: &[&str], code: i32) -> Outcome {
        let outcome = self.instance.run(args);
        assert_eq!(outcome.code, Some(code), "{args:?}: {outcome}");
        says_nothing(&format!("{args:?}"), &outcome);
        self.nothing_leaks(&format!("after {args:?}"));
        outcome
    }
}

#[track_caller]
fn says_nothing(when: &str, outcome: &Outcome) {
    let mut needles = secrets();
    needles.push(Needle::new("a row's text", PLAIN.as_bytes()));
    for (stream, text) in [("output", &outcome.stdout), ("errors", &outcome.stderr)] {
        for needle in &needles {
            assert!(!needle.is_in(text.as_bytes()), "{} in the {stream} of {when}", needle.name());
        }
    }
}

/// The database's name makes it one of its own on the shared server.
fn account(site: &Site, name: &str) -> String {
    format!("u{name}_{}", database(site))
}

fn database(site: &Site) -> String {
    let Site::MySql { database, .. } = site else { panic!("not a server") };
    database.clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_search_finds_what_is_planted_in_every_place_and_form() {
    let scene = Scene::new();
    scene.instance.run(&["--task", "1", "--json"]).expect(0);
    scene.nothing_leaks("before anything is planted");
    let key = key(1);
    for (form, text) in [
        ("raw", BY_FILE.as_bytes().to_vec()),
        ("hexadecimal", hex(&key).to_uppercase().into_bytes()),
        ("base64", STANDARD.encode([b"xy".as_slice(), &key, b"z"].concat()).into_bytes()),
        ("numbers", format!("{:?}", key).into_bytes()),
    ] {
        let found = scene.places().plant_and_search(&text, &secrets());
        for place in Places::KINDS {
            assert!(found.iter().any(|f| f.contains(place)), "{form} in {place}: {found:?}");
        }
    }
    scene.nothing_leaks("after it was taken away");
}

#[test]
fn nothing_secret_is_seen_in_the_middle_of_a_batch() {
    let scene = Scene::new();
    let points = ["reader.after_fill", "writer.before_commit", "settler.before_settle"];
    for (task, password) in [("1", BY_ENV), ("2", STORED)] {
        for (n, point) in points.iter().enumerate() {
            // Each run is held once; it has to have something to do.
            for (site, table) in [(&scene.plain, "src"), (&scene.sealed, "mid")] {
                site.run(&[&format!("UPDATE {table} SET sync_status = 0")]);
            }
            for (site, table) in [(&scene.sealed, "mid"), (&scene.opened, "dst")] {
                if (task == "1") == (table == "mid") {
                    site.run(&[&format!("DELETE FROM {table}")]);
                }
            }
            scene.instance.forget_failpoints();
            let mut run = scene
                .instance
                .start(&["--task", task, "--json"], &format!("{point}@{}=pause", 2 + n));
            run.reached(point).unwrap_or_else(|| panic!("{point} was not reached"));
            let processes = scene.instance.processes();
            let is_writer = |pid: &&u32| cmdline(**pid).get(1).is_some_and(|a| a == "writer");
            assert!(processes.iter().filter(is_writer).count() >= 1, "{processes:?}");
            let when = format!("task {task} at {point}");
            scene.nothing_leaks(&when);
            for pid in &processes {
                let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
                let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
                let bytes = core.split_whitespace().nth(4).unwrap();
                assert!(["0", "1"].contains(&bytes), "process {pid} may dump core: {core}");
            }
            // The rows themselves are there, so that it was looked at in earnest.
            if task == "1" {
                let plain = Needle::new("a row's text", PLAIN.as_bytes());
                let found = scene.places().search(&[plain]);
                assert!(found.iter().any(|f| f.contains("shared memory")), "{when}: {found:?}");
            }
            // The task process has what it was given by its environment, and nothing else of it.
            for needle in secrets().iter().filter(|n| n.is_in(password.as_bytes())) {
                for pid in processes.iter().filter(|pid| **pid != run.pid()) {
                    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
                    assert!(!needle.is_in(&environment), "{when}: writer {pid}");
                }
            }
            scene.instance.release(point);
            let outcome = run.wait().expect(0);
            says_nothing(&when, &outcome);
            scene.nothing_leaks(&format!("after {when}"));
        }
    }
    let same = "SELECT COUNT(*) FROM dst WHERE card LIKE 'Klartext-86420-card-%' \
                AND mobile LIKE 'Klartext-86420-mobile-%' AND memo LIKE 'Klartext-86420-memo-%'";
    assert_eq!(scene.opened.number(same), ROWS);
    let sealed = "SELECT COUNT(*) FROM mid WHERE CONCAT(card, mobile, memo) LIKE '%Klartext%'";
    assert_eq!(scene.sealed.number(sealed), 0);
}

#[test]
fn nothing_of_a_row_outlives_a_killed_run() {
    let scene = Scene::new();
    let plain = "Sterblich-13579";
    scene.plain.run(&[&format!("UPDATE src SET card = CONCAT('{plain}-', id)")]);
    let is_seen = || search_memory(plain);
    for point in ["reader.after_fill", "writer.before_commit"] {
        // In the foreground: the whole process group at once.
        let mut run = scene.instance.start(&["--task", "1"], &format!("{point}@2=pause"));
        run.reached(point).unwrap();
        assert!(!is_seen().is_empty(), "the rows are nowhere at {point}");
        run.signal_all(Signal::SIGKILL);
        assert_eq!(run.wait().signal, Some(Signal::SIGKILL as i32));
        scene.instance.wait_until_dead();
        assert_eq!(is_seen(), [""; 0], "killed at {point}");
        scene.instance.forget_failpoints();
    }
    // Under a daemon, which survives its task process and knows nothing of its rows.
    let point = "reader.after_fill";
    let mut daemon = scene.start_daemon(&format!("{point}@1=pause"));
    scene.instance.run(&["run", "1"]).expect(0);
    let task = daemon.reached(point).unwrap();
    assert!(!is_seen().is_empty());
    kill(Pid::from_raw(task as i32), Signal::SIGKILL).unwrap();
    while scene.instance.processes() != [daemon.pid()] {
        assert!(!daemon.has_ended(), "{}", scene.instance.logs());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(is_seen(), [""; 0], "the task process of a daemon was killed");
    daemon.signal_all(Signal::SIGKILL);
    daemon.wait();
    scene.instance.run(&["--task", "1"]).expect(0);
    assert_eq!(scene.sealed.number("SELECT COUNT(*) FROM mid"), ROWS);
}

#[test]
fn nothing_secret_is_in_the_parameters_of_a_daemons_tasks() {
    let scene = Scene::new();
    let mut daemon = scene.start_daemon("worker.start@1=pause");
    let running = scene.instance.start(&["run", "1", "--wait"], "");
    daemon.reached("worker.start").unwrap();
    let arena = scene.instance.segments().into_iter().find(|s| s.contains("-arena-")).unwrap();
    // It was looked at in earnest: addresses, tables and names of keys are there.
    let text = std::fs::read(&arena).unwrap();
    for known in ["mysql://ua_", "\"src\"", "\"three\"", "deterministic"] {
        assert!(Needle::new(known, known.as_bytes()).is_in(&text), "{known}");
    }
    scene.nothing_leaks("a task of a daemon is beginning");
    scene.instance.release("worker.start");
    says_nothing("run", &running.wait().expect(0));
    assert_eq!(scene.sealed.number("SELECT COUNT(*) FROM mid"), ROWS);
    says_nothing("show", &scene.instance.run(&["show", "1", "--json"]).expect(0));
    scene.nothing_leaks("a task of a daemon has run");
    scene.instance.run(&["stop"]).expect(0);
    daemon.wait().expect(0);
}

#[test]
fn no_command_tells_a_secret() {
    let scene = Scene::new();
    for args in [
        &["export"][..],
        &["export", "--json"],
        &["check"],
        &["check", "--json"],
        &["check", "--task", "1", "--trial", "--json"],
        &["link", "list"],
        &["link", "list", "--json"],
        &["link", "test"],
        &["key", "list"],
        &["key", "check", "--json"],
        &["--task", "1"],
        &["--task", "2"],
        &["status", "--json"],
        &["history", "--json"],
        &["errors"],
    ] {
        scene.runs_silently(args, 0);
    }
}

#[test]
fn failures_tell_neither_secrets_nor_row_values() {
    let scene = Scene::new();
    scene.runs_silently(&["--task", "1"], 0);

    // A wrong password, wherever it comes from.
    scene.store_password(WRONG);
    scene.private_file("password", WRONG.as_bytes());
    for args in [
        &["--task", "1"][..],
        &["--task", "2", "--json"],
        &["link", "test"],
        &["link", "test", "--json"],
    ] {
        scene.runs_silently(args, 1);
    }
    scene.runs_silently(&["check", "--task", "2"], 1);
    scene.store_password(STORED);
    scene.private_file("password", BY_FILE.as_bytes());

    // Another key: nothing opens.
    scene.private_file("one.key", hex(&key(2)).as_bytes());
    let outcome = scene.runs_silently(&["--task", "2", "--json"], 1);
    assert_eq!(outcome.table("t")["error"]["kind"], "Data", "{outcome}");
    let listed = scene.runs_silently(&["errors"], 0);
    assert!(listed.stdout.contains("card"), "{listed}");

    // What is no key is not shown to say so.
    scene.private_file("one.key", &[hex(&key(1)).as_bytes(), b"ff"].concat());
    let outcome = scene.runs_silently(&["--task", "2"], 2);
    assert!(outcome.stderr.contains("32"), "{outcome}");
    scene.runs_silently(&["key", "check"], 1);
    scene.private_file("one.key", hex(&key(1)).as_bytes());

    // The destination complains of plaintext in its own words: they quote it.
    scene.sealed.run(&["UPDATE mid SET sync_status = 0"]);
    for (complaint, mended) in [
        ("ALTER TABLE dst MODIFY memo VARCHAR(8)", "ALTER TABLE dst MODIFY memo VARCHAR(60)"),
        ("ALTER TABLE dst ADD CHECK (memo = 'x')", "ALTER TABLE dst DROP CONSTRAINT CONSTRAINT_1"),
    ] {
        scene.opened.run(&[complaint]);
        let outcome = scene.runs_silently(&["--task", "2", "--json"], 1);
        assert_eq!(outcome.table("t")["error"]["kind"], "Data", "{complaint}: {outcome}");
        scene.opened.run(&[mended]);
        scene.sealed.run(&["UPDATE mid SET sync_status = 0"]);
    }
    scene.opened.run(&["ALTER TABLE dst ADD UNIQUE one_card (card)"]);
    let taken = format!("INSERT INTO dst (id, card) VALUES (1000, '{PLAIN}-card-7')");
    scene.opened.run(&[&taken]);
    let outcome = scene.runs_silently(&["--task", "2", "--json"], 1);
    assert_eq!(outcome.table("t")["error"]["kind"], "Data", "{outcome}");
    scene.runs_silently(&["errors", "--json"], 0);
    scene.runs_silently(&["history"], 0);
}
