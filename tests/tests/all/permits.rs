//! Connections per link (A29): the server itself counts them.

use serde_json::Value;
use ssync_tests::PATIENCE;
use ssync_tests::servers::{PASSWORD, mariadb};
use ssync_tests::sites::Site;
use ssync_tests::ssync::Instance;

const ROWS: i64 = 2_000;

/// A table `t1` and a table `t2`, each with a task of its own, on the shared server, over links
/// that allow so many connections.
struct Tasks {
    source: Site,
    dest: Site,
    instance: Instance,
}

impl Tasks {
    /// With `counted`, the links' accounts are allowed no more by the server either.
    fn new(source_limit: u32, dest_limit: u32, counted: bool) -> Tasks {
        let server = mariadb();
        let (source, dest) = (Site::on_server(server, "per"), Site::on_server(server, "per"));
        let mut toml = String::new();
        for (name, site, limit) in [("src", &source, source_limit), ("dst", &dest, dest_limit)] {
            let Site::MySql { database, .. } = site else { panic!("not a server") };
            let mut link = site.link(name);
            if counted {
                let user = format!("u_{database}");
                site.run(&[
                    format!(
                        "CREATE USER {user}@'%' IDENTIFIED BY '{}'",
                        PASSWORD.replace('\'', "''")
                    ),
                    format!("GRANT ALL ON {database}.* TO {user}@'%'"),
                    format!("ALTER USER {user}@'%' WITH MAX_USER_CONNECTIONS {limit}"),
                ]);
                link = link.replace("mysql://app@", &format!("mysql://{user}@"));
                assert!(link.contains(&user), "{link}");
            }
            toml += &format!("{link}max_connections = {limit}\n");
        }
        for n in [1, 2] {
            source.run(&[
                format!(
                    "CREATE TABLE t{n} (id BIGINT NOT NULL PRIMARY KEY, \
                     sync_status INT NOT NULL DEFAULT 0)"
                ),
                format!("INSERT INTO t{n} (id) SELECT seq FROM seq_1_to_{ROWS}"),
            ]);
            dest.run(&[format!("CREATE TABLE t{n} (id BIGINT NOT NULL)")]);
            toml += &format!(
                "[[task]]\nid = {n}\nsource = \"src\"\ndest = \"dst\"\nwriters = 8\n\
                 batch_rows = 20\nslot_bytes = 65536\n[[task.table]]\nname = \"t\"\n\
                 source = \"t{n}\"\ndest = \"t{n}\"\napp_resets_status = true\n"
            );
        }
        Tasks { source, dest, instance: Instance::new(&toml) }
    }

    #[track_caller]
    fn assert_landed(&self, n: u32) {
        for aggregate in ["COUNT(*)", "COUNT(DISTINCT id)", "MAX(id)"] {
            assert_eq!(self.dest.number(&format!("SELECT {aggregate} FROM t{n}")), ROWS);
        }
        let open = format!("SELECT COUNT(*) FROM t{n} WHERE sync_status <> 2");
        assert_eq!(self.source.number(&open), 0);
    }

    /// The destination's line of `ssync links`.
    fn usage(&self) -> Value {
        let outcome = self.instance.run(&["links", "--json"]).expect(0);
        let all: Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
        all["links"].as_array().unwrap().iter().find(|l| l["name"] == "dst").unwrap().clone()
    }
}

#[test]
fn a_run_gets_by_with_what_its_links_allow() {
    // The server refuses one more; five at the destination are two writers.
    let tasks = Tasks::new(5, 5, true);
    tasks.instance.run(&["--task", "1", "--json"]).expect(0);
    tasks.assert_landed(1);
}

#[test]
fn a_link_that_can_never_be_enough_is_found_before_a_run_and_by_it() {
    let tasks = Tasks::new(5, 3, false);
    for args in [&["check", "--task", "1"][..], &["--task", "1"][..]] {
        let outcome = tasks.instance.run(args).expect(2);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("link dst allows 3 connections"), "{outcome}");
        assert!(said.contains("max_connections"), "{outcome}");
    }
}

#[test]
fn a_run_waits_its_turn_and_the_permits_of_the_dead_come_back() {
    let tasks = Tasks::new(16, 6, false);
    let mut first = tasks.instance.start(&["--task", "1"], "writer.before_commit@2=pause");
    first.reached("writer.before_commit").expect("the second batch");
    assert_eq!(tasks.usage()["in_use"], 6, "3 writers, though 8 are configured");
    let mut second = tasks.instance.start(&["--task", "2"], "");
    let since = std::time::Instant::now();
    let waiting = loop {
        let usage = tasks.usage();
        if let Some(waiting) = usage["waiting"].get(0) {
            break waiting.clone();
        }
        assert!(!second.has_ended() && since.elapsed() < PATIENCE, "{usage}");
    };
    assert_eq!((&waiting["task"], &waiting["permits"]), (&2.into(), &4.into()));
    assert!(!second.has_ended());
    first.signal_all(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(first.wait().signal, Some(9));
    second.wait().expect(0);
    tasks.assert_landed(2);
    assert_eq!(tasks.usage()["in_use"], 0);
    tasks.instance.run(&["--task", "1"]).expect(0);
    tasks.assert_landed(1);
    assert_eq!(tasks.instance.leftovers(), Vec::<String>::new());
}
