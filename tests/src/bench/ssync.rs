//! ssync as a contender: a home of its own, a configuration, the binary under test.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mysql::prelude::Queryable;
use serde_json::{Value, json};
use ssync_common::crypto::KeyRing;
use ssync_common::secret::Secret;

use super::arena::{Arena, DATABASE, DEST, SOURCE, SOURCE_STATUS, connect};
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
    /// `full` or `status`.
    pub mode: &'static str,
    /// Writer processes.
    pub writers: u32,
    /// Whether two columns are encrypted.
    pub seals: bool,
    /// Further lines for `[[task]]`.
    pub task_lines: String,
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
            under: Vec::new(),
        }
    }
}

/// One way of running ssync.
pub struct Ssync {
    setup: Setup,
    home: PathBuf,
}

impl Ssync {
    /// Configures a home for it.
    pub fn new(arena: &Arena, setup: Setup) -> Ssync {
        let home = tempfile::Builder::new().prefix("home-").tempdir_in(arena.dir.path()).unwrap();
        let ssync = Ssync { setup, home: home.keep() };
        ssync.configure(arena);
        ssync
    }

    fn configure(&self, arena: &Arena) {
        let secret = |name: &str, content: &str| {
            let path = self.home.join(name);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            file.write_all(content.as_bytes()).unwrap();
            path.display().to_string()
        };
        let (password, key) = (secret("password", PASSWORD), secret("pii.key", KEY_HEX));
        let url =
            |server: &Server| format!("mysql://{USER}@127.0.0.1:{}/{DATABASE}", server.port());
        let Setup { mode, writers, seals, ref task_lines, .. } = self.setup;
        let source = if mode == "status" { SOURCE_STATUS } else { SOURCE };
        let encrypted = if seals { arena.workload.encrypted() } else { &[] };
        let encrypt: Vec<_> = encrypted.iter().map(|c| format!("{c} = \"pii\"")).collect();
        let encrypt = encrypt.join(", ");
        let resets = if mode == "status" { "app_resets_status = true" } else { "" };
        let toml = format!(
            r#"
[[link]]
name = "source"
url = "{}"
password = {{ file = "{password}" }}

[[link]]
name = "dest"
url = "{}"
password = {{ file = "{password}" }}

[[key]]
name = "pii"
secret = {{ file = "{key}" }}

[[task]]
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
key = ["id"]
columns = {columns}
encrypt = {{ {encrypt} }}
{resets}
"#,
            url(&arena.source),
            url(&arena.dest),
            columns = json!(arena.workload.columns()),
        );
        let file = self.home.join("bench.toml");
        fs::write(&file, toml).unwrap();
        let applied = self.command().arg("apply").arg(&file).output().unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    /// The binary under test, with its home.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.setup.program);
        command.arg("--home").arg(&self.home).env_remove("SSYNC_HOME");
        command
    }
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
        arena.empty_dest(self.setup.seals);
        if self.setup.mode == "status" {
            arena.reset_status();
            // The configuration remembers what was settled in a destination that is gone now.
            fs::remove_dir_all(&self.home).unwrap();
            fs::create_dir(&self.home).unwrap();
            self.configure(arena);
        }
    }

    fn commands(&mut self, _arena: &Arena) -> Vec<Command> {
        let mut command = match self.setup.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.setup.program).arg("--home").arg(&self.home);
                command
            }
            None => self.command(),
        };
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
        let landed = table["counts"]["landed"].as_u64();
        assert_eq!(landed, Some(arena.workload.rows()), "landed, in: {printed}");
        if self.setup.mode == "status" {
            let sql = format!("SELECT COUNT(*) FROM {SOURCE_STATUS} WHERE sync_status <> 2");
            let left: Option<u64> = connect(&arena.source).query_first(sql).unwrap();
            assert_eq!(left, Some(0), "rows that the source does not show as done");
        }
        table
    }
}
