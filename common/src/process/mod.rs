//! Processes: who they are, how they are started, talk, and hear of signals and of each other's
//! death.

pub mod channel;
pub mod identity;
pub mod signals;
pub mod spawn;
pub mod watched;

use std::ffi::CString;

use nix::sys::resource::{Resource, setrlimit};

use crate::error::{Error, Result};

pub use channel::Channel;
pub use identity::{ProcessIdentity, ProcessToken, RunId};
pub use spawn::{Child, Exit, SpawnOptions, spawn_role};
pub use watched::Watched;

/// Forbids core dumps, for this process and its children: they would contain secrets.
///
/// The limit is 1 byte, not 0. Where core dumps go to a program (`|` in `core_pattern`), the
/// kernel ignores a limit of 0 and takes 1 for "never"; where they go to a file, both are too
/// small for one. `PR_SET_DUMPABLE` stays as it is: switched off it would also hide
/// `/proc/<pid>` (what the process has open, its environment) from its own user's tools, and from
/// the tests that prove those clean, while whoever has that user's rights can read the key files
/// anyway.
pub fn harden() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 1, 1)
        .map_err(|e| Error::from(e).context("could not forbid core dumps"))
}

/// The name that `top` and `ps -e` show for this process (15 bytes at the most). After an exec of
/// `/proc/self/exe` it would be `exe`.
pub fn set_title(title: &str) {
    let short: String = title.chars().filter(|c| *c != '\0').take(15).collect();
    if let Ok(title) = CString::new(short) {
        // Cosmetic: nothing depends on it.
        let _ = nix::sys::prctl::set_name(&title);
    }
}
