//! `scripts/test-oracle`: what it leaves out is what must be left out, and its report is right.
//!
//! The script picks tests by their paths: what has `oracle` in it, but no module `standin`. So a
//! test that gives a stand-in orders must be in a module of that name, and one that only wants an
//! Oracle must have `oracle` in its path.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What only a stand-in can do, as it stands in tests.
const ORDERS: [&str; 4] = [".standin()", "OracleServer::start", "Standin::start", "Fault::parse"];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The text without its module `standin`, and that module's text.
fn apart(text: &str) -> (String, String) {
    let Some((before, rest)) = text.split_once("\nmod standin {\n") else {
        return (text.to_owned(), String::new());
    };
    let (inside, after) = rest.split_once("\n}\n").expect("the module ends where its line began");
    (format!("{before}\n{after}"), inside.to_owned())
}

/// All files of tests, with the name of the module under `tests/all` that each belongs to.
fn files() -> Vec<(String, PathBuf)> {
    fn collect(dir: &Path, module: Option<&str>, found: &mut Vec<(String, PathBuf)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let module = module.unwrap_or(&stem).to_owned();
            if path.is_dir() {
                collect(&path, Some(&module), found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((module, path));
            }
        }
    }
    let mut found = Vec::new();
    collect(&here().join("all"), None, &mut found);
    assert!(found.len() > 40, "{found:?}");
    found
}

/// The test functions of a file, but not what they call.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|rest| rest.split("\n}\n").next())
}

#[test]
fn what_orders_a_stand_in_is_in_a_module_of_that_name() {
    let (_, inside) = apart(&read(&here().join("all.rs")));
    let whole: BTreeSet<&str> =
        inside.lines().filter_map(|l| l.trim().strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert!(whole.contains("oracle_tls"), "{whole:?}");
    let mut seen = 0;
    for (module, path) in files() {
        let text = read(&path);
        seen += usize::from(ORDERS.iter().any(|order| text.contains(order)));
        if whole.contains(module.as_str()) || module == "oracle_script" {
            continue;
        }
        let (outside, _) = apart(&text);
        for test in tests_of(&outside) {
            for order in ORDERS {
                assert!(
                    !test.contains(order),
                    "{} has {order} outside of a module `standin`, and so scripts/test-oracle may \
                     run it:\n{test}",
                    path.display()
                );
            }
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn what_wants_an_oracle_has_it_in_its_path() {
    let listed = Command::new(std::env::current_exe().unwrap()).args(["--list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests: Vec<&str> = listed.lines().filter_map(|l| l.strip_suffix(": test")).collect();
    let mut seen = 0;
    for (module, path) in files() {
        let (outside, _) = apart(&read(&path));
        for body in tests_of(&outside) {
            let name = body.split("fn ").nth(1).and_then(|p| p.split('(').next()).unwrap();
            let wants = ["oracle(Generation", "oracle(generation", "Place::oracle"];
            if !wants.iter().any(|w| body.contains(w)) {
                continue;
            }
            seen += 1;
            let path = tests
                .iter()
                .find(|t| t.contains(&module) && t.ends_with(&format!("::{name}")))
                .unwrap_or_else(|| panic!("{name} is not listed"));
            assert!(path.contains("oracle"), "{path} has to have oracle in its name");
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// The whole script with a stand-in as the server of a site.
mod standin {
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use ssync_common::connector::open;
    use ssync_common::secret::Secret;
    use ssync_oracle_standin::{ADMIN_USER, PASSWORD, SERVICE};
    use ssync_tests::servers::oracle::faults::Fault;
    use ssync_tests::servers::oracle::{Generation, OracleServer};

    /// Cargo's part, with what is built already: it would wait for the cargo that runs these tests.
    const CARGO: &str = "#!/bin/sh
set -e
case $1 in
build) exit ;;
test) tests=1 ;;
esac
while [ \"$1\" != -- ]; do shift; done
shift
if [ -n \"$tests\" ]; then exec \"$TESTS\" \"$@\"; fi
exec \"$BUILT/oracle-site\" \"$@\"
";

    struct Site {
        dir: tempfile::TempDir,
        server: OracleServer,
    }

    impl Site {
        fn new(generation: Generation) -> Site {
            use std::os::unix::fs::PermissionsExt;
            let dir = tempfile::tempdir().unwrap();
            let cargo = dir.path().join("cargo");
            std::fs::write(&cargo, CARGO).unwrap();
            std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o700)).unwrap();
            // The program that the benchmark measures.
            std::fs::create_dir_all(dir.path().join("target/debug")).unwrap();
            let program = dir.path().join("target/debug/ssync");
            std::os::unix::fs::symlink(ssync_tests::ssync::program(), program).unwrap();
            Site { dir, server: OracleServer::start(generation) }
        }

        /// The log of the last run.
        fn log(&self) -> String {
            std::fs::read_to_string(self.dir.path().join("report.log")).unwrap_or_default()
        }

        /// Runs the script; its report.
        fn run(&self, password: &str, only: &str) -> (Output, String) {
            let tests = std::env::current_exe().unwrap();
            let built = tests.parent().unwrap().parent().unwrap();
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-oracle");
            let report = self.dir.path().join("report.txt");
            let url =
                format!("oracle://{ADMIN_USER}@{}/{SERVICE}", self.server.standin().address());
            let output = Command::new(script)
                .arg(url)
                .arg(&report)
                .env("CARGO", self.dir.path().join("cargo"))
                .env("CARGO_TARGET_DIR", self.dir.path().join("target"))
                .env("TESTS", &tests)
                .env("BUILT", built)
                .env("SSYNC_TEST_ORACLE_PASSWORD", password)
                .env("SSYNC_TEST_ORACLE_ONLY", only)
                .env("SSYNC_TEST_ORACLE_ROWS", "500")
                .env("SSYNC_TEST_ORACLE_PROFILE", "dev")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            (output, std::fs::read_to_string(report).unwrap_or_default())
        }

        /// The accounts there are, but for those made to look.
        fn accounts(&self) -> Vec<String> {
            let account = self.server.account("look");
            let mut link = account.link();
            link.url = link.url.replace(account.name(), ADMIN_USER);
            link.password = Some(Secret::from(PASSWORD.to_owned()));
            let rows = open(&link).unwrap().query("SELECT USERNAME FROM ALL_USERS", &[]).unwrap();
            let names = rows.iter().map(|row| row[0].plain().unwrap());
            names.filter(|name| !name.starts_with("SSLOOK_")).collect()
        }
    }

    /// No more than a page, without the account's password.
    fn is_a_page(site: &Site, report: &str) {
        assert!(report.lines().count() <= 60, "more than a page:\n{report}");
        for text in [report, &site.log()] {
            assert!(!text.contains("sentinel"), "a password is in it:\n{text}");
        }
        assert!(!report.contains("stack backtrace"), "{report}");
    }

    #[test]
    fn the_report_says_what_ran_what_was_left_out_and_that_nothing_stays() {
        let site = Site::new(Generation::Oracle19c);
        let mut before = site.accounts();
        let (output, report) = site.run(PASSWORD, "rows_are_loaded_in_a_transaction_only");
        assert!(output.status.success(), "{report}{output:?}");
        is_a_page(&site, &report);
        for line in [
            "server: Oracle 19.3.0.0.0",
            "it calls itself Oracle Database 19c Enterprise Edition Release 19.3.0.0.0 - Production (stand-in)",
            "== tests: 1",
            "passed 1, not applicable 0, failed 0",
            "  oracle_server        passed   1  not applicable   0  failed   0",
            "500 rows of 6 columns, some 200 bytes each; 2 rounds, rows per second:",
            "nothing was left over",
            "everything holds",
        ] {
            assert!(report.lines().any(|l| l == line), "no line {line:?} in:\n{report}");
        }
        assert!(report.contains("  MariaDB to Oracle, ssync full "), "{report}");
        assert!(report.contains(" left out: they order the server"), "{report}");
        let log = site.log();
        for line in [
            "    oracle_server::standin::a_snapshot_that_is_too_old_may_be_read_again",
            "test oracle_server::rows_are_loaded_in_a_transaction_only ... ok",
        ] {
            assert!(log.lines().any(|l| l == line), "no line {line:?} in:\n{log}");
        }
        let mut after = site.accounts();
        before.sort();
        after.sort();
        assert_eq!(before, after);
    }

    #[test]
    fn tests_of_a_newer_version_are_named_as_not_applicable() {
        let site = Site::new(Generation::Oracle12c);
        let (output, report) = site.run(PASSWORD, "oracle23");
        assert!(output.status.success(), "{report}{output:?}");
        is_a_page(&site, &report);
        assert!(report.contains("== tests: 4\npassed 0, not applicable 4, failed 0"), "{report}");
        for name in [
            "oracle23_into_oracle",
            "oracle_into_oracle23",
            "mariadb_into_oracle23",
            "oracle23_into_mariadb",
        ] {
            let line = format!(
                "  type_grid::{name}: it makes columns of type BOOLEAN, which Oracle has from 23ai \
                 on; this is Oracle 12.1.0.2.0"
            );
            assert!(report.lines().any(|l| l == line), "no line {line:?} in:\n{report}");
        }
        assert!(
            report.ends_with(&format!("log: {}\n", site.dir.path().join("report.log").display()))
        );
    }

    #[test]
    fn a_failed_test_is_one_line_of_the_report_and_all_of_the_log() {
        let site = Site::new(Generation::Oracle19c);
        let fault = Fault::parse("execute error=1031 sql=CREATE TABLE m (").unwrap();
        site.server.standin().faults().add(fault);
        let (output, report) = site.run(PASSWORD, "oracle_server::r");
        assert_eq!(output.status.code(), Some(1), "{report}{output:?}");
        is_a_page(&site, &report);
        let failed = report.split("== failed\n").nth(1).unwrap_or_else(|| panic!("{report}"));
        let name = "  oracle_server::rows_are_loaded_in_a_transaction_only: ";
        assert!(failed.starts_with(name) && failed.contains("as ordered"), "{report}");
        assert!(failed.lines().nth(1).is_some_and(str::is_empty), "{report}");
        assert!(report.contains(", failed 1\n") && report.contains("FAILED: tests\n"), "{report}");
        assert!(site.log().contains("CREATE TABLE m ("), "{}", site.log());
    }

    #[test]
    fn where_nobody_is_let_in_no_test_runs_and_the_report_says_so() {
        let site = Site::new(Generation::Oracle19c);
        let (output, report) = site.run("wrong", "");
        assert_eq!(output.status.code(), Some(1), "{report}");
        assert!(report.contains("The tests were not run"), "{report}");
        assert!(report.contains("user name and password"), "{report}");
        assert!(!report.contains("panicked"), "{report}");
    }
}
