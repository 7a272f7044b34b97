//! ssync as a contender: a home of its own, a configuration, the binary under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mysql::prelude::Queryable;
use serde_json::{Value, json};
use ssync_common::crypto::KeyRing;
use ssync_common::secret::Secret;

use super::arena::{Arena, DATABASE, DEST, SOURCE, SOURCE_STATUS, connect, write_secret};
use super::contender::Contender;
use crate::servers::{PASSWORD, Server, USER};

const TASK: u32 = 7;
/// A key for the benchmark alone.
const KEY_HEX: &str = "8f3b51c7d2e09a4466f1ab0c93d7e5287b6d0c1f2a984e3351c0ffee77d1b2a9";

/// How ssync is to run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What it is called in tables, beside its mode.
    pub label: String,
    /// The binary.
    pub program: PathBuf,
    /// `full`, `status` or `increment`.
    pub mode: &'static str,
    /// Writer processes.
    pub writers: u32,
    /// Whether two columns are encrypted.
    pub seals: bool,
    /// Further lines for `[[task]]`.
    pub task_lines: String,
    /// Further lines for `[[task.table]]`.
    pub table_lines: String,
    /// A program, with arguments, to run the binary under.
    pub under: Vec<String>,
}

impl Setup {
    /// Two writers, two encrypted columns.
    pub fn new(program: &Path, mode: &'static str) -> Setup {
        Setup {
            label: "ssync".to_owned(),
            program: program.to_owned(),
            mode,
            writers: 2,
            seals: true,
            task_lines: String::new(),
            table_lines: String::new(),
            under: Vec::new(),
        }
    }
}

/// What a link leads to.
#[derive(Clone, Copy)]
pub enum End<'a> {
    /// The benchmark's database on a server.
    Server(&'a Server),
    /// A SQLite file.
    File(&'a Path),
}

/// A home with a configuration, and the binary that runs there.
pub struct Home {
    path: PathBuf,
    program: PathBuf,
}

impl Home {
    /// A new home under `dir`: links `source` and `dest` to these ends, the key `pii`, and
    /// `tasks` as further lines.
    pub fn new(dir: &Path, program: &Path, ends: [End<'_>; 2], tasks: &str) -> Home {
        let path = tempfile::Builder::new().prefix("home-").tempdir_in(dir).unwrap().keep();
        let home = Home { path, program: program.to_owned() };
        home.configure(ends, tasks);
        home
    }

    /// Empties it and configures it once more.
    fn renew(&self, ends: [End<'_>; 2], tasks: &str) {
        fs::remove_dir_all(&self.path).unwrap();
        fs::create_dir(&self.path).unwrap();
        self.configure(ends, tasks);
    }

    fn configure(&self, ends: [End<'_>; 2], tasks: &str) {
        let secret = |name: &str, content: &str| {
            let path = self.path.join(name);
            write_secret(&path, content);
            path.display().to_string()
        };
        let (password, key) = (secret("password", PASSWORD), secret("pii.key", KEY_HEX));
        let [source, dest] = ends.map(|end| match end {
            End::File(path) => format!("url = \"sqlite://{}\"", path.display()),
            End::Server(server) => format!(
                "url = \"mysql://{USER}@127.0.0.1:{}/{DATABASE}\"\n\
                 password = {{ file = \"{password}\" }}",
                server.port()
            ),
        });
        let toml = format!(
            r#"
[[link]]
name = "source"
{source}

[[link]]
name = "dest"
{dest}

[[key]]
name = "pii"
secret = {{ file = "{key}" }}

{tasks}"#
        );
        let file = self.path.join("bench.toml");
        fs::write(&file, toml).unwrap();
        let applied = self.command().arg("apply").arg(&file).output().unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    /// The binary under test, with its home.
    pub fn command(&self) -> Command {
        self.command_under(&[])
    }

    /// The same under another program, with arguments.
    fn command_under(&self, under: &[String]) -> Command {
        let mut command = match under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.arg("--home").arg(&self.path).env_remove("SSYNC_HOME");
        command
    }
}

/// One way of running ssync.
pub struct Ssync {
    setup: Setup,
    home: Home,
}

impl Ssync {
    /// Configures a home for it.
    pub fn new(arena: &Arena, setup: Setup) -> Ssync {
        let ends = arena.ends();
        let home = Home::new(arena.dir.path(), &setup.program, ends, &task(arena, &setup));
        Ssync { setup, home }
    }
}

/// The task's lines of the configuration.
fn task(arena: &Arena, setup: &Setup) -> String {
    let Setup { mode, writers, seals, task_lines, table_lines, .. } = setup;
    let source = if *mode == "status" { SOURCE_STATUS } else { SOURCE };
    let encrypted = if *seals { arena.workload.encrypted() } else { &[] };
    let encrypt: Vec<_> = encrypted.iter().map(|c| format!("{c} = \"pii\"")).collect();
    let encrypt = encrypt.join(", ");
    let resets = if *mode == "status" { "app_resets_status = true" } else { "" };
    let key_line = if arena.keyless { "" } else { "key = [\"id\"]" };
    format!(
        r#"[[task]]
id = {TASK}
source = "source"
dest = "dest"
writers = {writers}
{task_lines}

[[task.table]]
name = "orders"
source = "{source}"
dest = "{DEST}"
mode = "{mode}"
{key_line}
columns = {columns}
encrypt = {{ {encrypt} }}
{resets}
{table_lines}
"#,
        columns = json!(arena.workload.columns()),
    )
}

/// The key that the encrypted columns are sealed with.
pub fn keys() -> KeyRing {
    KeyRing::new("pii", &Secret::from(KEY_HEX.to_owned()), &[]).unwrap()
}

impl Contender for Ssync {
    fn name(&self) -> String {
        let Setup { label, mode, writers, seals, .. } = &self.setup;
        let s = if *writers == 1 { "" } else { "s" };
        let seals = if *seals { "" } else { ", nothing encrypted" };
        format!("{label} {mode}, {writers} writer{s}{seals}")
    }

    fn prepare(&mut self, arena: &Arena) {
        arena.prepare_dest(self.setup.seals);
        if self.setup.mode == "status" {
            arena.reset_status();
        }
        if self.setup.mode != "full" {
            // The configuration remembers what was settled in a destination that is gone now.
            self.home.renew(arena.ends(), &task(arena, &self.setup));
        }
    }

    fn commands(&mut self, _arena: &Arena) -> Vec<Command> {
        let mut command = self.home.command_under(&self.setup.under);
        command.args(["--task", &TASK.to_string(), "--json", "--quiet"]);
        vec![command]
    }

    fn seals(&self) -> bool {
        self.setup.seals
    }

    fn conclude(&mut self, arena: &Arena, printed: &str) -> Value {
        let table = printed
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|v| v["table"] == "orders")
            .unwrap_or_else(|| panic!("no table in: {printed}"));
        let count = |name| table["counts"][name].as_u64().unwrap();
        let landed = count("landed") + count("resumed");
        assert_eq!(landed, arena.workload.rows(), "landed, in: {printed}");
        if self.setup.mode == "status" {
            let sql = format!("SELECT COUNT(*) FROM {SOURCE_STATUS} WHERE sync_status <> 2");
            let left: Option<u64> = connect(&arena.source).query_first(sql).unwrap();
            assert_eq!(left, Some(0), "rows that the source does not show as done");
        }
        table
    }
}
