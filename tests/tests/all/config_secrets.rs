//! Passwords: where they may come from, that they leak nowhere, that open files are refused.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssync_tests::PATIENCE;
use ssync_tests::command::{Ran, Ssync};
use ssync_tests::servers::{PASSWORD, mariadb};

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether any file under `dir` contains the bytes.
fn is_anywhere(dir: &Path, secret: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_anywhere(&path, secret);
        }
        std::fs::read(&path).unwrap().windows(secret.len()).any(|w| w == secret)
    })
}

fn link(url: &str, password: &str) -> String {
    format!("[[link]]\nname = \"core\"\nurl = \"{url}\"\npassword = {password}\n")
}

fn hides(ran: &Ran, secret: &str) {
    assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{ran:?}");
}

#[test]
fn a_stored_password_opens_the_link_and_stands_nowhere() {
    let database = mariadb().database("stored_password");
    let ssync = Ssync::new();
    let applied = ssync.apply(&link(&database.url(), "{ stored = true }"));
    assert!(applied.stderr.contains("ssync link set-password core"), "{}", applied.stderr);
    let list = || ssync.run(&["link", "list"]).expect(0).stdout;
    assert!(list().contains("stored (not set yet)"));
    ssync.run(&["link", "test"]).expect(1).says(&["no password is stored", "set-password core"]);

    for (input, opens) in [("wrong\n".to_owned(), false), (format!("{PASSWORD}\n"), true)] {
        let stored = ssync.run_with_input(&["link", "set-password", "core"], &input).expect(0);
        assert_eq!(stored.stdout, "stored the password of link core\n");
        let tested = ssync.run(&["link", "test", "core"]);
        assert_eq!(tested.code, Some(if opens { 0 } else { 1 }), "{tested:?}");
        hides(&tested, input.trim());
        assert!(!is_anywhere(&ssync.home(), input.trim().as_bytes()));
    }
    let tested = ssync.run(&["link", "test", "--json"]).expect(0).json();
    assert_eq!((&tested["ok"], &tested["links"][0]["name"]), (&true.into(), &"core".into()));
    assert!(tested["links"][0]["server"].as_str().unwrap().contains("MariaDB"));
    let listed = list();
    assert!(listed.contains("stored") && !listed.contains("not set"), "{listed}");
    for args in [&["export"][..], &["link", "list", "--json"], &["export", "--json"]] {
        hides(&ssync.run(args).expect(0), PASSWORD);
    }

    // It survives another change of the link, and is gone when it is no longer a stored one.
    ssync.apply(&format!("{}max_connections = 3\n", link(&database.url(), "{ stored = true }")));
    ssync.run(&["link", "test"]).expect(0);
    ssync.apply(&link(&database.url(), "{ env = \"CORE_PASSWORD\" }"));
    let refused = ssync.run_with_input(&["link", "set-password", "core"], PASSWORD);
    refused.expect(2).says(&["is not a stored one", "{ stored = true }"]);
    ssync.apply(&link(&database.url(), "{ stored = true }"));
    assert!(list().contains("not set yet"));
}

/// Runs `ssync` on a terminal of its own, and types each line once the echo is off.
fn type_to(ssync: &Ssync, args: &[&str], lines: &[&str]) -> (Option<i32>, String) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let inner = ssync.command(args);
    let mut outer = Command::new("setsid");
    outer.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let terminal = || Stdio::from(pty.slave.try_clone().unwrap());
    outer.stdin(terminal()).stdout(terminal()).stderr(terminal());
    let mut child = outer.spawn().expect("this test needs `setsid` (Debian: util-linux)");
    drop(outer);

    let deadline = Instant::now() + PATIENCE;
    let mut terminal = File::from(pty.master);
    let mut shown = Vec::new();
    for (typed, line) in lines.iter().enumerate() {
        // It has asked, and does not show what is typed.
        let asked = |shown: &[u8]| shown.iter().filter(|b| **b == b':').count() > typed;
        let echoes = || {
            let flags = nix::sys::termios::tcgetattr(&pty.slave).unwrap().local_flags;
            flags.contains(nix::sys::termios::LocalFlags::ECHO)
        };
        while !asked(&shown) || echoes() {
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&shown));
            let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(10u8)).unwrap() > 0 {
                let mut some = [0; 256];
                let n = terminal.read(&mut some).unwrap();
                shown.extend_from_slice(&some[..n]);
            }
        }
        terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    drop(pty.slave);
    let status = child.wait().unwrap();
    // What is left; a terminal without processes ends with an error.
    let _ = terminal.read_to_end(&mut shown);
    (status.code(), String::from_utf8(shown).unwrap())
}

#[test]
fn a_password_is_typed_twice_and_not_shown() {
    let ssync = Ssync::new();
    ssync.apply(&link("mysql://app@db/core", "{ stored = true }"));
    let set = ["link", "set-password", "core"];
    let (code, shown) = type_to(&ssync, &set, &["sesame-one", "sesame-two"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("the two passwords differ") && !shown.contains("sesame"), "{shown}");
    assert!(!ssync.store().has_stored_password("core").unwrap());
    let (code, shown) = type_to(&ssync, &set, &["sesame-one", "sesame-one"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Password of link core:") && !shown.contains("sesame"), "{shown}");
    let config = ssync.store().load().unwrap();
    let stored = ssync.store().link_password(&config.links[0]).unwrap().unwrap();
    assert_eq!(stored.expose(), b"sesame-one");
}

#[test]
fn what_is_no_password_is_not_stored() {
    let ssync = Ssync::new();
    ssync.apply(&link("mysql://app@db/core", "{ stored = true }"));
    let set =
        |name: &str, input: &str| ssync.run_with_input(&["link", "set-password", name], input);
    set("core", "").expect(2).says(&["there is no password on standard input"]);
    set("core", "\n").expect(2).says(&["there is no password on standard input"]);
    set("core", &"x".repeat(70_000)).expect(2).says(&["too long"]);
    set("nosuch", "hunter2").expect(2).says(&["there is no link nosuch"]);
    assert!(!ssync.home().join("host.key").exists());
}

#[test]
fn passwords_come_from_the_environment_or_a_closed_file() {
    let database = mariadb().database("password_sources");
    let ssync = Ssync::new().env("CORE_PASSWORD", PASSWORD);
    ssync.apply(&link(&database.url(), "{ env = \"CORE_PASSWORD\" }"));
    ssync.run(&["link", "test"]).expect(0);
    ssync.apply(&link(&database.url(), "{ env = \"OTHER_PASSWORD\" }"));
    let unset = ssync.run(&["link", "test"]).expect(1);
    hides(&unset, PASSWORD);
    unset.says(&["link core: the environment variable OTHER_PASSWORD is not set"]);

    let file = ssync.scratch().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    ssync.apply(&link(&database.url(), &format!("{{ file = {file:?} }}")));
    for (mode, code) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o602, 1), (0o660, 1)] {
        chmod(&file, mode);
        let tested = ssync.run(&["link", "test"]).expect(code);
        hides(&tested, PASSWORD);
        assert_eq!(tested.stderr.contains("is open to others"), code == 1, "{tested:?}");
    }
    std::fs::remove_file(&file).unwrap();
    ssync.run(&["link", "test"]).expect(1).says(&["could not open the secret file"]);
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let url = "mysql://app:hunter2@db/core";
    let refused = Ssync::new().run_with_input(&["apply", "-"], link(url, "{ stored = true }"));
    hides(&refused, "hunter2");
    refused.expect(2).says(&["link[core].url: a password in the URL is refused"]);
    let refused = Ssync::new().env("SSYNC_CONFIG_DB", url).run(&["export"]);
    hides(&refused, "hunter2");
    refused
        .expect(2)
        .says(&["SSYNC_CONFIG_DB: a password in the URL", "SSYNC_CONFIG_DB_PASSWORD_FILE"]);
}

#[test]
fn files_of_the_home_are_private_and_refused_when_they_are_not() {
    let ssync = Ssync::new();
    ssync.apply(&link("mysql://app@127.0.0.1:1/core", "{ stored = true }"));
    ssync.run_with_input(&["link", "set-password", "core"], "hunter2").expect(0);
    let home = ssync.home();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!((mode(&home), mode(&home.join("run"))), (0o700, 0o700));
    for entry in [home.clone(), home.join("run")].iter().flat_map(|d| std::fs::read_dir(d).unwrap())
    {
        let path = entry.unwrap().path();
        assert!(path.is_dir() || mode(&path) == 0o600, "{}: {:o}", path.display(), mode(&path));
    }

    let key = home.join("host.key");
    chmod(&key, 0o644);
    ssync.run(&["link", "test"]).expect(1).says(&["the host key", "is open to others (mode 644)"]);
    let set = ssync.run_with_input(&["link", "set-password", "core"], "hunter3");
    set.expect(2).says(&["is open to others (mode 644)"]);
    chmod(&key, 0o600);
    // Another host's key does not open it; a missing one is not made up.
    let original = std::fs::read(&key).unwrap();
    std::fs::write(&key, [7; 32]).unwrap();
    ssync.run(&["link", "test"]).expect(1).says(&["does not open with this host's key"]);
    std::fs::remove_file(&key).unwrap();
    ssync.run(&["link", "test"]).expect(1).says(&["host.key is not there"]);
    assert!(!key.exists());
    std::fs::write(&key, original).unwrap();
    chmod(&key, 0o600);
    ssync.run(&["link", "test"]).expect(1).says(&["127.0.0.1"]);

    for (path, closed, open) in [
        (home.join("ssync.db"), 0o600, 0o640),
        (home.clone(), 0o700, 0o770),
        (home.join("run"), 0o700, 0o702),
    ] {
        chmod(&path, open);
        ssync.run(&["export"]).expect(2).says(&[path.to_str().unwrap(), "hint: Close it: chmod"]);
        chmod(&path, closed);
        ssync.run(&["export"]).expect(0);
    }
}

#[test]
fn a_sealed_password_belongs_to_its_link() {
    let ssync = Ssync::new();
    let both = link("mysql://a@127.0.0.1:1/x", "{ stored = true }")
        + &link("mysql://b@127.0.0.1:1/x", "{ stored = true }").replace("\"core\"", "\"other\"");
    ssync.apply(&both);
    ssync.run_with_input(&["link", "set-password", "core"], "hunter2").expect(0);
    let database = rusqlite::Connection::open(ssync.home().join("ssync.db")).unwrap();
    let moved = "UPDATE T_LINK SET secret_sealed = (SELECT secret_sealed FROM T_LINK WHERE link_name = 'core')";
    assert_eq!(database.execute(moved, []).unwrap(), 2);
    drop(database);
    ssync.run(&["link", "test", "other"]).expect(1).says(&["link other", "does not open"]);
    // Its own opens, and gets as far as the server that is not there.
    ssync.run(&["link", "test", "core"]).expect(1).says(&["127.0.0.1"]);
}
