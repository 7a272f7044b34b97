//! The peers: other tools that copy a table from one server to another, each run as its users run
//! it. `scripts/bench` installs them and puts them on the path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::{Value, json};

use super::arena::{Arena, DATABASE, DEST, SOURCE, connect, write_secret};
use super::contender::Contender;
use crate::servers::{PASSWORD, Server, USER};

/// A peer that takes longer than this has failed.
const TIME_MAX: &str = "900s";
/// Timed rounds of a peer that takes many times as long as the others.
const ROUNDS_MAX_SLOW: usize = 3;
/// Files that mydumper makes of the table, about: enough for every thread to have work to the end.
const DUMP_FILES: u64 = 20;

/// A tool, set up to copy the orders table.
pub struct Peer {
    /// Its name in tables.
    pub name: &'static str,
    /// How it is set and why, one Markdown sentence or more.
    pub about: &'static str,
    /// The mode of ssync that gives the same: `full`, or `status` for a tool that settles rows.
    pub beside: &'static str,
    /// Its time divided by ssync's is to be this much.
    pub goal: f64,
    rounds_max: usize,
    /// Prints its version.
    version: &'static str,
    /// Commands for bash that copy the table.
    script: String,
    /// The table that it leaves at the destination.
    table: &'static str,
    /// Whether that table has other types than the source; the rows are then brought into the
    /// usual one and compared there.
    retypes: bool,
    dir: PathBuf,
}

/// Every peer, its passwords in files that only their owner can read.
pub fn peers(arena: &Arena) -> Vec<Peer> {
    let dir = arena.dir.path().join("peers");
    fs::create_dir(&dir).unwrap();
    configure_clients(&dir, arena);
    configure_pt_archiver(&dir, arena);
    configure_sling(&dir, arena);
    configure_faucet(&dir, arena);
    let usual = || usual(&dir);
    vec![
        Peer {
            name: "mydumper + myloader, 2 threads",
            about: "Dump, then load; the time is that of both. `--rows` splits the table into about \
                    20 files, so that every thread has work.",
            goal: 2.0,
            version: "mydumper --version; myloader --version",
            script: format!(
                "mydumper --defaults-file=source.cnf --database={DATABASE} --tables-list={SOURCE} \
                 --threads=2 --rows={} --outputdir=dump\n\
                 myloader --defaults-file=dest.cnf --directory=dump --threads=2",
                arena.workload.rows() / DUMP_FILES
            ),
            table: SOURCE,
            ..usual()
        },
        Peer {
            name: "mariadb-dump | mariadb",
            about: "`--single-transaction --quick`, into a pipe.",
            goal: 3.5,
            version: "mariadb-dump --version",
            script: format!(
                "mariadb-dump --defaults-file=source.cnf --single-transaction --quick {DATABASE} \
                 {SOURCE} | mariadb --defaults-file=dest.cnf {DATABASE}"
            ),
            table: SOURCE,
            ..usual()
        },
        Peer {
            name: "pt-archiver",
            about: "`--bulk-insert --no-delete --limit 5000 --commit-each`; compared with \
                    `status`. By itself it rounds a double to 15 digits, and its rows differ: a \
                    plug-in of one line gives it 17. Its connections have the character set \
                    `binary`, because it fails on what is not ASCII with `utf8mb4`.",
            beside: "status",
            goal: 4.0,
            rounds_max: ROUNDS_MAX_SLOW,
            version: "pt-archiver --version",
            script: format!(
                "PERL5LIB=. pt-archiver --source \
                 F=source.cnf,D={DATABASE},t={SOURCE},A=binary,m=ExactDoubles --dest \
                 F=dest.cnf,D={DATABASE},t={DEST},A=binary,L=1 --where 1=1 --bulk-insert \
                 --no-delete --limit 5000 --commit-each --no-check-charset"
            ),
            ..usual()
        },
        Peer {
            name: "Sling",
            about: "`--mode full-refresh`. Its `allow_bulk_import` would be faster, but loses a \
                    row, which it notices, and gives up.",
            goal: 20.0,
            rounds_max: ROUNDS_MAX_SLOW,
            version: "sling --version",
            script: format!(
                "SLING_HOME_DIR=. sling run --src-conn SOURCE --src-stream {DATABASE}.{SOURCE} \
                 --tgt-conn DEST --tgt-object {DATABASE}.{SOURCE} --mode full-refresh 2>&1 \
                 | sed 's|\\x1b\\[[0-9;]*m||g'"
            ),
            retypes: true,
            ..usual()
        },
        Peer {
            name: "faucet",
            about: "Its query casts dates to text, else it fails. 1,000 rows a batch, its default; 5,000 \
                    gain nothing.",
            goal: 4.0,
            version: "faucet --version",
            script: "faucet run --no-env-file faucet.yaml".to_owned(),
            ..usual()
        },
    ]
}

/// A peer that fills the destination's own table in every round, beside `full`.
fn usual(dir: &Path) -> Peer {
    Peer {
        name: "",
        about: "",
        beside: "full",
        goal: 1.0,
        rounds_max: usize::MAX,
        version: "",
        script: String::new(),
        table: DEST,
        retypes: false,
        dir: dir.to_owned(),
    }
}

/// Option files for everything that uses the database's own client library.
fn configure_clients(dir: &Path, arena: &Arena) {
    for (name, server) in [("source", &arena.source), ("dest", &arena.dest)] {
        let options = format!(
            "[client]\nprotocol=tcp\nhost=127.0.0.1\nport={}\nuser={USER}\n\
             password=\"{PASSWORD}\"\n",
            server.port()
        );
        write_secret(&dir.join(format!("{name}.cnf")), &options);
    }
}

/// Perl shows 15 digits of a double; 17 are what it takes to read back the same one.
fn configure_pt_archiver(dir: &Path, arena: &Arena) {
    let ratio = arena.workload.columns().iter().position(|c| *c == "ratio").unwrap();
    let plugin = format!(
        "package ExactDoubles;\n\
         sub new {{ return bless {{}}, shift }}\n\
         sub before_begin {{}}\n\
         sub is_archivable {{\n\
         my ($self, %args) = @_;\n\
         $args{{row}}[{ratio}] = sprintf '%.17g', $args{{row}}[{ratio}];\n\
         return 1;\n\
         }}\n\
         sub before_bulk_delete {{}}\n\
         sub before_delete {{}}\n\
         sub after_finish {{}}\n\
         1;\n"
    );
    fs::write(dir.join("ExactDoubles.pm"), plugin).unwrap();
}

fn configure_sling(dir: &Path, arena: &Arena) {
    let connection = |server: &Server| {
        json!({
            "type": "mysql",
            "host": "127.0.0.1",
            "port": server.port(),
            "user": USER,
            "password": PASSWORD,
            "database": DATABASE,
        })
    };
    // JSON is YAML too.
    let connections = json!({
        "connections": {"SOURCE": connection(&arena.source), "DEST": connection(&arena.dest)},
    });
    write_secret(&dir.join("env.yaml"), &connections.to_string());
}

fn configure_faucet(dir: &Path, arena: &Arena) {
    let password: String = PASSWORD.bytes().map(|b| format!("%{b:02x}")).collect();
    let url = |server: &Server| {
        format!("mysql://{USER}:{password}@127.0.0.1:{}/{DATABASE}", server.port())
    };
    let columns: Vec<String> = arena
        .workload
        .columns()
        .into_iter()
        .map(|c| match c.as_ref() {
            "created" | "updated" => format!("CAST({c} AS CHAR) AS {c}"),
            name => name.to_owned(),
        })
        .collect();
    let pipeline = json!({
        "version": 1,
        "name": "orders",
        "pipeline": {
            "source": {"type": "mysql", "config": {
                "connection_url": url(&arena.source),
                "query": format!("SELECT {} FROM {SOURCE}", columns.join(", ")),
            }},
            "sink": {"type": "mysql", "config": {
                "connection_url": url(&arena.dest),
                "table_name": DEST,
                "column_mapping": "auto_map",
                "max_connections": 5,
            }},
        },
    });
    write_secret(&dir.join("faucet.yaml"), &pipeline.to_string());
}

impl Peer {
    /// The versions of its programs.
    pub fn version(&self) -> String {
        let output = Command::new("bash").args(["-c", self.version]).output().unwrap();
        let lines: Vec<_> =
            output.stdout.split(|b| *b == b'\n').map(String::from_utf8_lossy).collect();
        lines
            .iter()
            .map(|line| line.trim())
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl Contender for Peer {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn prepare(&mut self, arena: &Arena) {
        arena.empty_dest(false);
    }

    /// One shell, whatever it starts: what it says of an error is printed too.
    fn commands(&mut self, _arena: &Arena) -> Vec<Command> {
        let mut command = Command::new("timeout");
        command
            .args([TIME_MAX, "bash", "-c"])
            .arg(format!("set -euo pipefail\nexec 2>&1\n{}", self.script))
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        vec![command]
    }

    fn table(&self) -> &'static str {
        self.table
    }

    fn rounds_max(&self) -> usize {
        self.rounds_max
    }

    fn may_fail(&self) -> bool {
        true
    }

    fn conclude(&mut self, arena: &Arena, _printed: &str) -> Value {
        // Gone before the system writes it to disk while another contender runs.
        let _ = fs::remove_dir_all(self.dir.join("dump"));
        if self.retypes { retype(arena) } else { Value::Null }
    }
}

/// Brings rows from a table of other types into the usual one and panics where a value would
/// change; the columns that are defined differently.
fn retype(arena: &Arena) -> Value {
    let mut conn = connect(&arena.dest);
    let columns = arena.workload.columns();
    let list = columns.join(", ");
    conn.query_drop(format!("INSERT INTO {DEST} ({list}) SELECT {list} FROM {SOURCE}")).unwrap();
    let same: Vec<_> = columns.iter().map(|c| format!("d.{c} <=> s.{c}")).collect();
    let differing: Option<u64> = conn
        .query_first(format!(
            "SELECT COUNT(*) FROM {SOURCE} s JOIN {DEST} d USING (id) WHERE NOT ({})",
            same.join(" AND ")
        ))
        .unwrap();
    assert_eq!(differing, Some(0), "rows that change when they get the source's types");
    let was = definitions(&mut connect(&arena.source));
    let is = definitions(&mut conn);
    was.iter()
        .zip(is)
        .filter(|(was, is)| *was != is)
        .map(|((name, was), (_, is))| format!("{name} {was} → {is}"))
        .collect()
}

/// Each column's name, and its type with whether it is the key.
fn definitions(conn: &mut Conn) -> Vec<(String, String)> {
    conn.query(format!(
        "SELECT COLUMN_NAME, CONCAT(COLUMN_TYPE, IF(COLUMN_KEY = 'PRI', ' primary key', '')) \
         FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = '{DATABASE}' AND TABLE_NAME = '{SOURCE}' ORDER BY ORDINAL_POSITION"
    ))
    .unwrap()
}
