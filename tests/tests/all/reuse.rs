//! Connections that are used again within a task: the server itself counts them, and says what
//! their sessions are like.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ssync_common::connector::{Connection, LockWait, open};
use ssync_common::error::Kind;
use ssync_tests::servers::{PASSWORD, Server, Software, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;
use ssync_tests::{PATIENCE, wait_for};

/// Rows of each table.
const ROWS: i64 = 20;

/// Tasks over two databases of one server, with small tables named `t<n>`.
struct Small {
    source: Site,
    dest: Site,
}

impl Small {
    fn new(server: &Server, tables: usize) -> Small {
        let small =
            Small { source: Site::on_server(server, "reu"), dest: Site::on_server(server, "reu") };
        for n in 1..=tables {
            small.source.run(&[
                format!(
                    "CREATE TABLE t{n} (id BIGINT NOT NULL PRIMARY KEY, \
                     sync_status INT NOT NULL DEFAULT 0)"
                ),
                format!(
                    "INSERT INTO t{n} (id) VALUES {}",
                    (1..=ROWS).map(|id| format!("({id})")).collect::<Vec<_>>().join(", ")
                ),
            ]);
            small.dest.run(&[format!("CREATE TABLE t{n} (id BIGINT NOT NULL PRIMARY KEY)")]);
        }
        small
    }

    /// Both links, which allow so many connections, and what comes with them.
    fn toml(&self, limits: (u32, u32), tasks: &[String]) -> String {
        let link = |name: &str, site: &Site, limit: u32| {
            format!("{}max_connections = {limit}\n", site.link(name))
        };
        link("src", &self.source, limits.0) + &link("dst", &self.dest, limits.1) + &tasks.concat()
    }

    /// The server allows an account of the link no more than the link does.
    fn counted(&self, toml: &str, limits: (u32, u32)) -> String {
        let mut toml = toml.to_owned();
        for (site, limit) in [(&self.source, limits.0), (&self.dest, limits.1)] {
            let Site::MySql { port, database } = site else { panic!("not a server") };
            let user = format!("u_{database}");
            site.run(&[
                format!("CREATE USER {user}@'%' IDENTIFIED BY '{}'", PASSWORD.replace('\'', "''")),
                format!("GRANT ALL ON {database}.* TO {user}@'%'"),
                format!("ALTER USER {user}@'%' WITH MAX_USER_CONNECTIONS {limit}"),
            ]);
            let address = format!("@127.0.0.1:{port}/{database}");
            toml = toml.replace(&format!("app{address}"), &format!("{user}{address}"));
            assert!(toml.contains(&user), "{toml}");
        }
        toml
    }

    #[track_caller]
    fn assert_landed(&self, tables: impl IntoIterator<Item = usize>) {
        for n in tables {
            assert_eq!(self.dest.number(&format!("SELECT COUNT(*) FROM t{n}")), ROWS, "t{n}");
            let open = format!("SELECT COUNT(*) FROM t{n} WHERE sync_status <> 2");
            assert_eq!(self.source.number(&open), 0, "t{n}");
        }
    }
}

/// A task with these tables.
fn task(id: u32, tables: impl IntoIterator<Item = usize>, rest: &str) -> String {
    let table = |n: usize| {
        format!(
            "[[task.table]]\nname = \"t{n}\"\nsource = \"t{n}\"\ndest = \"t{n}\"\n\
             app_resets_status = true\n{rest}\n"
        )
    };
    format!(
        "[[task]]\nid = {id}\nsource = \"src\"\ndest = \"dst\"\nwriters = 1\nbatch_rows = 10\n\
         slot_bytes = 65536\n{}",
        tables.into_iter().map(table).collect::<String>()
    )
}

fn connections_so_far(server: &Server) -> i64 {
    let row: Option<(String, i64)> =
        server.connect().query_first("SHOW GLOBAL STATUS LIKE 'Connections'").unwrap();
    row.unwrap().1
}

#[test]
fn many_small_tables_open_few_connections_and_permits_cover_them() {
    let server = Server::start(Software::MariaDb, &[]);
    let small = Small::new(&server, 20);
    // Just what a run with one writer takes; the server refuses one more.
    let limits = (5, 4);
    let toml = small.counted(&small.toml(limits, &[task(1, 1..=20, "")]), limits);
    let instance = Instance::new(&toml);
    let before = connections_so_far(&server);
    let ran = instance.run(&["--task", "1", "--json"]).expect(0);
    let opened = connections_so_far(&server) - before;
    small.assert_landed(1..=20);
    for n in 1..=20 {
        assert_eq!(ran.table(&format!("t{n}"))["notes"].as_array().map_or(0, Vec::len), 0, "{ran}");
    }
    // All are opened once, the writer's too, but for a few that are still busy when the next one is
    // wanted; and that of the question.
    assert!((6..=14).contains(&opened), "{opened} connections for 20 tables");
    assert_eq!(instance.leftovers(), Vec::<String>::new());
}

#[test]
fn a_writer_that_is_killed_at_rest_is_replaced() {
    let small = Small::new(mariadb(), 3);
    let instance = Instance::new(&small.toml((16, 16), &[task(1, 1..=3, "")]));
    let mut run = instance.start(&["--task", "1", "--json"], "run.before_unlock@1=pause");
    run.reached("run.before_unlock").unwrap();
    let is_writer = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|b| *b == 0).nth(1) == Some(b"writer")
    };
    let writers: Vec<u32> = instance.processes().into_iter().filter(is_writer).collect();
    assert_eq!(writers.len(), 1, "{}", instance.logs());
    kill(Pid::from_raw(writers[0] as i32), Signal::SIGKILL).unwrap();
    instance.release("run.before_unlock");
    let ran = run.wait().expect(0);
    small.assert_landed(1..=3);
    for n in 1..=3 {
        assert_eq!(ran.table(&format!("t{n}"))["notes"].as_array().map_or(0, Vec::len), 0, "{ran}");
    }
    assert_eq!(instance.logs().matches("writer 0 started").count(), 2, "{}", instance.logs());
    assert_eq!(instance.leftovers(), Vec::<String>::new());
}

#[test]
fn whoever_waits_for_permits_gets_them_between_two_tables() {
    let small = Small::new(mariadb(), 4);
    let limits = (5, 4);
    let tasks = [task(1, 1..=3, ""), task(2, [4], "")];
    let instance = Instance::new(&small.counted(&small.toml(limits, &tasks), limits));
    let mut first = instance.start(&["--task", "1"], "run.before_unlock@1=pause");
    first.reached("run.before_unlock").unwrap();
    let mut second = instance.start(&["--task", "2"], "");
    let since = Instant::now();
    while !instance.run(&["links", "--json"]).stdout.contains("\"waiting\":[{") {
        assert!(!second.has_ended() && since.elapsed() < PATIENCE);
    }
    instance.release("run.before_unlock");
    second.wait().expect(0);
    first.wait().expect(0);
    small.assert_landed(1..=4);
    let logs = instance.logs();
    let at = |words: &str| logs.find(words).unwrap_or_else(|| panic!("no {words} in {logs}"));
    let other = at("task=2 table=t4 run=");
    let ended = other + logs[other..].find("ended: Done").unwrap();
    // It has a run once it has its permits.
    assert!(ended < at("task=1 table=t2 run="), "{logs}");
}

#[test]
fn a_server_that_is_restarted_between_two_tables_costs_no_attempt() {
    let mut server = Server::start(Software::MariaDb, &[]);
    let small = Small::new(&server, 3);
    let instance = Instance::new(&small.toml((16, 16), &[task(1, 1..=3, "")]));
    let mut run = instance.start(&["--task", "1", "--json"], "run.before_unlock@1=pause");
    run.reached("run.before_unlock").unwrap();
    server.kill9();
    server.restart();
    instance.release("run.before_unlock");
    let ran = run.wait().expect(0);
    small.assert_landed(1..=3);
    for n in 1..=3 {
        let notes = ran.table(&format!("t{n}"))["notes"].to_string();
        assert!(!notes.contains("tried again"), "{ran}");
    }
    assert!(instance.logs().contains("an idle connection is of no use"), "{}", instance.logs());
}

#[test]
fn a_stopped_server_holds_an_idle_connection_no_longer_than_opening_one() {
    let server = Server::start(Software::MariaDb, &[]);
    let db = server.database("stopped");
    let mut link = db.link();
    // A limit that a busy machine may exceed where nothing is stopped: opening is tried again then.
    link.connect_timeout = Duration::from_secs(2);
    link.io_timeout = 2 * PATIENCE;
    let mut conn = None;
    wait_for("a connection", || {
        conn = open(&link).ok();
        conn.is_some()
    });
    let mut conn = conn.unwrap();
    let pid = nix::unistd::Pid::from_raw(server.pid() as i32);
    nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
    let since = Instant::now();
    let refused = conn.refresh();
    let took = since.elapsed();
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    assert!(refused.is_err());
    // By the limit on opening: that on answers is twice as long.
    assert!(took < PATIENCE, "{took:?}");
    assert!(!conn.may_be_reused());
    assert_eq!(conn.query("SELECT 1", &[]).unwrap_err().kind, Kind::Lost);
}

/// Everything that a session's variables say.
fn session(conn: &mut dyn Connection) -> BTreeMap<String, String> {
    let changing = ["pseudo_thread_id", "timestamp", "rand_seed1", "rand_seed2", "last_gtid"];
    let rows = conn.query("SHOW SESSION VARIABLES", &[]).unwrap();
    let text = |row: &[ssync_common::value::Value], i: usize| row[i].plain().unwrap_or_default();
    rows.iter()
        .map(|row| (text(row, 0), text(row, 1)))
        .filter(|(name, _)| !changing.contains(&name.as_str()))
        .collect()
}

#[test]
fn what_a_session_gathered_is_gone_when_it_is_used_again() {
    let db = mariadb().database("gathered");
    db.run(&["CREATE TABLE t (id INT PRIMARY KEY)"]);
    let mut fresh = open(&db.link()).unwrap();
    let wanted = session(fresh.as_mut());
    let mut used = open(&db.link()).unwrap();
    for sql in [
        "SET SESSION sql_mode = '', time_zone = '+05:00', autocommit = 0, foreign_key_checks = 0",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET NAMES latin1",
        "SET @left = 7",
        "CREATE TEMPORARY TABLE t (other INT)",
        "SELECT GET_LOCK('gathered', 0)",
        "LOCK TABLES t WRITE",
    ] {
        used.execute(sql, &[]).unwrap();
    }
    used.set_lock_wait(LockWait::Short).unwrap();
    assert!(session(used.as_mut()) != wanted);
    assert!(used.may_be_reused());
    used.refresh().unwrap();
    let differences: Vec<_> =
        session(used.as_mut()).into_iter().filter(|(k, v)| wanted.get(k) != Some(v)).collect();
    assert_eq!(differences, []);
    let mut value = |sql: &str| used.query(sql, &[]).unwrap()[0][0].plain().unwrap_or_default();
    assert_eq!(value("SELECT @left IS NULL"), "1");
    assert_eq!(value("SELECT IS_FREE_LOCK('gathered')"), "1");
    assert_eq!(value("SELECT COUNT(id) FROM t"), "0", "the table itself, not the temporary one");
    fresh.execute("INSERT INTO t VALUES (1)", &[]).unwrap();

    // What is open is nobody else's.
    used.begin().unwrap();
    assert!(!used.may_be_reused());
    assert!(used.refresh().is_err());
    used.execute("INSERT INTO t VALUES (2)", &[]).unwrap();
    used.rollback().unwrap();
    assert!(used.may_be_reused());
}

#[test]
fn a_session_that_cannot_be_made_like_a_new_one_is_not_used_again() {
    let old = ssync_tests::servers::mysql56().database("old");
    assert!(!open(&old.link()).unwrap().may_be_reused());
    // What the server runs in new sessions it does not run again.
    let server = Server::start(Software::MariaDb, &["--init-connect=SET @from_server = 1"]);
    assert!(!open(&server.database("init").link()).unwrap().may_be_reused());
    let dir = tempfile::tempdir().unwrap();
    let file = Site::in_file(dir.path(), "file");
    let Site::Sqlite(path) = &file else { panic!("not a file") };
    let link = ssync_common::connector::LinkParams {
        url: format!("sqlite://{}", path.display()),
        password: None,
        ..old.link()
    };
    assert!(!open(&link).unwrap().may_be_reused());
}

/// A role is what no reset takes back.
#[test]
fn what_an_operators_sql_leaves_in_its_session_reaches_no_other_table() {
    let small = Small::new(mariadb(), 3);
    let Site::MySql { database, .. } = &small.source else { panic!("not a server") };
    let role = format!("r_{database}");
    small
        .source
        .run(&[format!("CREATE ROLE {role}"), format!("GRANT ALL ON {database}.* TO {role}")]);
    let mut session = small.source.mysql();
    session.query_drop(format!("SET ROLE {role}")).unwrap();
    session.reset().unwrap();
    let left: Option<Option<String>> = session.query_first("SELECT CURRENT_ROLE()").unwrap();
    assert_eq!(left.flatten().as_ref(), Some(&role), "else this proves nothing");

    // The next table begins on the connection that was used last, and says who it is there.
    small.source.run(&["CREATE TABLE seen (role VARCHAR(80) NOT NULL)"]);
    let first = task(1, [1], &format!("before = {{ source = [\"SET ROLE {role}\"] }}"));
    let asks = "INSERT INTO seen VALUES (IFNULL(CURRENT_ROLE(), 'none'))";
    let rest = task(1, [2, 3], &format!("before = {{ source = [\"{asks}\"] }}"));
    let tables = rest.split_once("[[task.table]]").unwrap().1;
    let toml = small.toml((16, 16), &[first, format!("[[task.table]]{tables}")]);
    Instance::new(&toml).run(&["--task", "1"]).expect(0);
    small.assert_landed(1..=3);
    assert_eq!(small.source.number("SELECT COUNT(*) FROM seen WHERE role = 'none'"), 2);
    assert_eq!(small.source.number("SELECT COUNT(*) FROM seen"), 2);
}
