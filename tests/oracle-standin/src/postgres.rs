//! The private PostgreSQL server behind the stand-in.
//!
//! One for all tests of a process ([`shared`]), or one of its own for a test that kills it. It
//! listens on a socket in its temporary directory only, and ends with the process that started it,
//! however that process ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};

use crate::backend::{Backend, Failure};

/// How long the server may take to come up on a loaded machine.
const START_TIME_MAX: Duration = Duration::from_secs(90);

/// The database that all others are copies of.
const TEMPLATE: &str = "standin";

/// The scripts that make the template look like Oracle.
const DICTIONARY: &[&str] = &[
    include_str!("dictionary/types.sql"),
    include_str!("dictionary/functions.sql"),
    include_str!("dictionary/views.sql"),
];

/// A shell that starts the server on request and outlives the process that it serves just long
/// enough to clean up: the end of its input is the death notice.
const SUPERVISOR: &str = r#"
dir=$1; shift
pid=
while read -r order; do
    case $order in
    start) "$@" </dev/null >>"$dir/log" 2>&1 & pid=$!; echo "$pid" ;;
    kill)
        # Stopped first, so that it starts no other child; they keep its shared memory until they are dead.
        kill -STOP "$pid"; children=$(pgrep -P "$pid"); kill -KILL "$pid" $children; wait "$pid"; pid=
        for child in $children; do
            while grep -q '^State:.[^Z]' "/proc/$child/status" 2>/dev/null; do sleep 0.01; done
        done
        echo gone ;;
    esac
done
if [ -n "$pid" ]; then kill -QUIT "$pid"; wait "$pid"; fi
rm -rf "$dir"
"#;

/// A running server.
pub struct Postgres {
    directory: PathBuf,
    databases: AtomicU32,
    supervisor: Mutex<Supervisor>,
}

struct Supervisor {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    fn order(&mut self, order: &str) {
        if let Some(orders) = self.orders.as_mut() {
            writeln!(orders, "{order}").expect("the supervisor of PostgreSQL is gone");
            let mut answer = String::new();
            self.answers.read_line(&mut answer).expect("the supervisor of PostgreSQL is gone");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}

/// The server that all tests of this process share; it ends with the process.
pub fn shared() -> Arc<Postgres> {
    static SHARED: OnceLock<Arc<Postgres>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(Postgres::start())))
}

impl Postgres {
    /// Starts a server of its own.
    ///
    /// # Panics
    ///
    /// When PostgreSQL or `orafce` is not installed, or the server does not come up.
    pub fn start() -> Self {
        let programs = programs();
        let directory = tempfile::Builder::new()
            .prefix("oracle-standin-")
            .tempdir()
            .expect("no temporary directory")
            .keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))
            .expect("the temporary directory cannot be changed");
        let account = account();
        if let Some(user) = &account {
            chown(&directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("the temporary directory cannot be given away");
        }
        let data = directory.join("data");
        let mut initdb = as_account(&programs.join("initdb"), account.as_ref());
        let made = initdb
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=sys"])
            .arg(&data)
            .current_dir(&directory)
            .output()
            .expect("initdb does not start");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "supervisor"]).arg(&directory);
        if let Some(user) = &account {
            command.args(["setpriv", "--clear-groups"]);
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
        }
        command.arg(programs.join("postgres")).arg("-D").arg(&data).arg("-k").arg(&directory);
        for setting in [
            "listen_addresses=",
            "max_connections=300",
            "fsync=off",
            "shared_buffers=64MB",
            "deadlock_timeout=300ms",
            "max_locks_per_transaction=256",
            "autovacuum=off",
            "datestyle=ISO",
            "intervalstyle=iso_8601",
            "bytea_output=hex",
            "timezone=UTC",
            "search_path=\"$user\", ora, sys, oracle, pg_catalog",
        ] {
            command.args(["-c", setting]);
        }
        let mut shell = command
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh does not start");
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("the output was piped"));
        let supervisor = Mutex::new(Supervisor { shell, orders, answers });
        let this = Postgres { directory, databases: AtomicU32::new(0), supervisor };
        this.order("start");
        this.wait_until_up();
        this.make_template();
        this
    }

    fn order(&self, order: &str) {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).order(order);
    }

    fn wait_until_up(&self) {
        let began = Instant::now();
        while let Err(failure) = self.connect("sys", "postgres") {
            assert!(
                began.elapsed() < START_TIME_MAX,
                "PostgreSQL does not come up: {failure:?}\n{}",
                std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn make_template(&self) {
        self.admin("postgres", &format!("CREATE DATABASE {TEMPLATE}"));
        for script in DICTIONARY {
            self.admin(TEMPLATE, script);
        }
    }

    /// Runs a script as the superuser.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub(crate) fn admin(&self, database: &str, script: &str) {
        let result = self.connect("sys", database).and_then(|mut b| b.script(script).map(|_| ()));
        if let Err(failure) = result {
            panic!("PostgreSQL refuses a script: {failure:?}");
        }
    }

    /// Makes a fresh database and says its name.
    pub(crate) fn make_database(&self) -> String {
        static MAKING: Mutex<()> = Mutex::new(());
        // A template must have no other sessions while it is copied.
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("pdb{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.admin("postgres", &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        self.admin(&name, "INSERT INTO sys.created_ SELECT sys.sysdate()");
        name
    }

    /// A connection of its own.
    pub(crate) fn connect(&self, user: &str, database: &str) -> Result<Backend, Failure> {
        Backend::connect(&self.directory, user, database)
    }

    /// Kills the server and all its processes with SIGKILL, and starts it again on what it left.
    pub fn crash(&self) {
        self.order("kill");
        self.order("start");
        self.wait_until_up();
    }
}

/// Where the newest installed server's programs are.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let control = format!("/usr/share/postgresql/{version}/extension/orafce.control");
            let bin = entry.path().join("bin");
            (bin.join("initdb").exists() && Path::new(&control).exists()).then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL with orafce is not installed; scripts/test installs both").1
}

/// PostgreSQL does not run as root: then it is this account's.
fn account() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let found = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok()?);
    Some(found.expect("neither the account postgres nor nobody exists"))
}

fn as_account(program: &Path, account: Option<&User>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = account {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}
