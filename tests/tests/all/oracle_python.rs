//! Oracle's own Python client reads what ssync wrote, and writes what ssync reads: what ssync does
//! wrong both ways, its own tests would not see.

use std::path::Path;
use std::process::Command;

use ssync_oracle_standin::python::python;
use ssync_tests::servers::oracle::{Generation, OracleAccount, oracle};
use ssync_tests::ssync::Instance;

/// Runs a part of `journey.py`; what it says.
fn journey(account: &OracleAccount<'_>, scratch: &Path, action: &str) -> String {
    let url = account.url();
    let (_, place) = url.split_once('@').unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python(Path::new(env!("CARGO_TARGET_TMPDIR"))))
        .arg("-Wignore")
        .arg(manifest.join("tests/all/oracle_python/journey.py"))
        .args([place, account.name()])
        .args([scratch.join("start.db"), scratch.join("end.db")])
        .arg(action)
        .env("PASSWORD", account.password())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{action}: {said}\n{complained}");
    said
}

fn python_agrees_with_ssync(generation: Generation) {
    let instance = Instance::new("");
    let scratch = instance.scratch();
    let account = oracle(generation).account("python");
    journey(&account, scratch, "begin");
    let password = scratch.join("oracle.password");
    secret(&password, account.password());
    let file = |name: &str| {
        let path = scratch.join(format!("{name}.db"));
        format!("[[link]]\nname = \"{name}\"\nurl = \"sqlite://{}\"\n", path.display())
    };
    let task = |id: u32, source: &str, from: &str, dest: &str, into: &str, more: &str| {
        format!(
            "[[task]]\nid = {id}\nsource = \"{source}\"\ndest = \"{dest}\"\n[[task.table]]\n\
             name = \"t\"\nsource = \"{from}\"\ndest = \"{into}\"\nmode = \"full\"\n{more}\n"
        )
    };
    instance.apply(
        &[
            file("start"),
            file("end"),
            format!(
                "[[link]]\nname = \"ora\"\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\n",
                account.url(),
                password.display()
            ),
            task(1, "start", "t", "ora", "here", ""),
            // Offsets arrive; that a zone's name would not is what this allows.
            task(2, "ora", "there", "end", "t", "allow_lossy = [\"c_zoned\"]"),
        ]
        .concat(),
    );
    for task in ["1", "2"] {
        instance.run(&["--task", task]).expect(0);
    }
    let said = journey(&account, scratch, "end");
    // A script that compares nothing proves nothing.
    assert!(said.contains("8 rows: ok"), "{said}");
}

fn secret(file: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(0o600).open(file).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
}

#[test]
fn python_agrees_with_ssync_about_12c() {
    python_agrees_with_ssync(Generation::Oracle12c);
}

#[test]
fn python_agrees_with_ssync_about_19c() {
    python_agrees_with_ssync(Generation::Oracle19c);
}

#[test]
fn python_agrees_with_ssync_about_23ai() {
    python_agrees_with_ssync(Generation::Oracle23ai);
}
