//! The configuration as data. One set of structs serves the TOML file, the configuration
//! database and the parameters a task process takes.

use serde::{Deserialize, Serialize};

pub use super::link::*;
use super::option::section;
use super::receivers::{Brief, Monitor, Receiver, Retention};
pub use super::schedule::*;
pub use super::secret_source::SecretSource;
pub use super::table::*;
pub use super::table_choices::*;
pub use super::task::*;

/// Column that carries a row's transfer state at the source (A18): 0 not transferred, 1 in
/// transfer, 2 done, 3 failed. The destination has no such column.
pub const SYNC_STATUS: &str = "sync_status";

/// Characters of a name.
pub(super) const NAME_CHARS: usize = 64;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Settings of the daemon.
    #[serde(default, skip_serializing_if = "is_default")]
    pub controller: Controller,
    /// Database links.
    #[serde(default, rename = "link", skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Encryption keys.
    #[serde(default, rename = "key", skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Schedules.
    #[serde(default, rename = "schedule", skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// Tasks.
    #[serde(default, rename = "task", skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// Who is told what.
    #[serde(default, rename = "receiver", skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<Receiver>,
    /// The daily brief.
    #[serde(default, skip_serializing_if = "is_default")]
    pub brief: Brief,
    /// What the monitor looks for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub monitor: Monitor,
    /// How long records are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retention: Retention,
}

section! {
    /// An encryption key (AES-256). The key that encrypts, and older ones that still decrypt.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Key in "[[key]]" {
        /// Name, unique; what `encrypt` and `decrypt` refer to.
        name: String = required().names_entry("").elsewhere("T_KEY", &["key_name"]);

        /// The key that encrypts: `{ file = "…" }` or `{ env = "…" }`. Keys are never stored in the
        /// configuration database: beside what it opens, a key protects nothing.
        secret: SecretSource = required().elsewhere("T_KEY", &["secret_kind", "secret_ref"]);

        /// Keys it replaced, as a list of the same form; values sealed with them still open.
        old: Vec<SecretSource> = unset()
            .elsewhere("T_KEY", &["secret_no", "secret_kind", "secret_ref"]);
    }
}

fn is_default<T: Default + PartialEq>(v: &T) -> bool {
    *v == T::default()
}
