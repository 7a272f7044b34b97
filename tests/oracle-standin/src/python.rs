//! Oracle's own Python client, in thin mode: a client that nobody here wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has the client, of the version that `python/requirements.txt` pins, in an
/// environment under `target`; made once.
///
/// # Panics
///
/// Where it cannot be had.
pub fn python(target: &Path) -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).expect("python/requirements.txt");
    let home = target.join("oracle-standin-python");
    let (program, stamp) = (home.join("bin/python"), home.join("requirements.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return program;
    }
    let does = |command: &mut Command| {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    };
    does(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    does(Command::new(&program).args(pip).arg(&requirements));
    std::fs::write(&stamp, wanted).expect("the environment was just made");
    program
}
