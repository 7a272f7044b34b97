//! `[[link]]`: a database, and how gently it is treated.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::option::{Limit, Node, OptionType, Stored, section};
use super::option_types;
use super::read;
use super::secret_source::SecretSource;
use crate::connector::{OracleDriver, OwnType, TlsMode};
use crate::error::Result;
use crate::value::Value;

/// Default of [`Link::max_connections`].
pub const MAX_CONNECTIONS: u32 = 16;

section! {
    /// A configured database connection. Everything names databases by link only (A9).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Link in "[[link]]" {
        /// Name, unique.
        name: String = required().names_entry("").column("link_name").short();

        /// `mysql://user@host:port/database` (also `mariadb://`; port 3306 unless said;
        /// `?socket=/path` for a Unix socket), [`oracle://user@host:port/service`](#oracle) or
        /// `sqlite:///path/to/file.db` (`?create=true` makes an empty file where there is none).
        /// Characters with a meaning in URLs are written `%40` and the like. A password in it is
        /// refused.
        url: String = required().column("url").about("URL, never with a password.");

        /// Where the password comes from, see [secrets](#secrets). SQLite files have none.
        password: Option<SecretSource> = unset()
            .column("secret_kind")
            .about("Where the password comes from: `env`, `file`, `stored`; NULL: there is none.")
            .and_column("secret_ref", "Name of the environment variable, or path of the file.");

        /// Connections that all task processes of this home may hold together. A run takes 4 at
        /// the source (2 unless `status`) and one for each reader, and 3 and one for each writer at
        /// the destination; it waits until they are free, and runs with fewer readers and writers
        /// where there are too few. A task keeps its connections from one table to the next, unless
        /// somebody waits for them. `ssync link usage` shows who has them.
        max_connections: u32 = default(|| MAX_CONNECTIONS)
            .range(1, 10_000)
            .shown()
            .column("max_connections");

        /// `"off"`; `"required"`: TLS, whatever certificate the server shows; `"verified"`: the
        /// certificate must be signed by a known authority and name the host.
        tls: TlsMode = unset().shown().column("tls").about("`off`, `required` or `verified`.");

        /// Certificate authorities (PEM) for `"verified"`.
        tls_ca_file: Option<PathBuf> = unset().default_words("the system's").column("tls_ca_file");

        /// Oracle: `"thin"`, the driver in ssync itself, for Oracle 12c and later; `"oci"`,
        /// Oracle's client library, which must be installed: for 11.2, and for native network
        /// encryption.
        driver: OracleDriver = unset().column("driver").about("Oracle: `thin` or `oci`.").since(5);

        /// Oracle: directory with the wallet for `"verified"`, in the place of `tls_ca_file`:
        /// `ewallet.pem` for the thin driver, `cwallet.sso` for the client library.
        wallet_dir: Option<PathBuf> = unset()
            .column("wallet_dir")
            .about("Oracle: directory with the wallet for `verified`.")
            .since(5);

        /// Rows a second that all runs of this host together may move over the link: each takes an
        /// equal part. See [gentle runs](#gentle-runs).
        max_rows_per_sec: Option<u64> = unset()
            .range(1, RATE_MAX)
            .column("max_rows_per_sec")
            .about("Rows a second of all runs; NULL: no limit.")
            .since(6);

        /// The same in bytes of values.
        max_bytes_per_sec: Option<u64> = unset()
            .range(1, RATE_MAX)
            .column("max_bytes_per_sec")
            .about("Bytes a second of all runs; NULL: no limit.")
            .since(6);

        /// Runs wait for as long as the query gives more than `above` (default 0), or NULL. See
        /// [gentle runs](#gentle-runs).
        throttle: Option<Throttle> = unset()
            .column("throttle_query")
            .about("Query by which runs wait; NULL: none.")
            .and_column("throttle_above", "Its largest number at which runs go on.")
            .since(6);

        /// Seconds that opening a connection may take.
        connect_timeout_secs: u64 = default(|| 10)
            .range(1, 3600)
            .shown()
            .column("connect_timeout_secs");

        /// Seconds that one read or write may stay without progress.
        io_timeout_secs: u64 = default(|| 600).range(1, 86_400).shown().column("io_timeout_secs");

        /// Accept a destination, or the source of a `status` table, that may lose commits when its
        /// server crashes.
        allow_nondurable: bool = unset().column("allow_nondurable");

        /// The address may lead to any replica of one cluster. Without it a run stops when rows are
        /// under way and another server answers than the one they were claimed from or sent to;
        /// with it only an older state of the rows stops a run.
        failover: bool = unset().column("failover").since(8);
    }
}

/// Largest rate in rows or bytes a second: rates are stored with a sign.
pub(super) const RATE_MAX: u64 = i64::MAX as u64;

impl Link {
    /// Its limit.
    pub fn rate(&self) -> Rate {
        Rate { rows: self.max_rows_per_sec, bytes: self.max_bytes_per_sec }
    }
}

/// When runs leave a database alone for a while: for as long as a query on it gives more than a
/// limit, or NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// A query of one number, such as a replica's lag in seconds. Asked about once a second.
    pub query: String,
    /// The largest number at which runs go on.
    #[serde(default)]
    pub above: u64,
}

impl OptionType for Throttle {
    fn types(_: Option<Limit>) -> String {
        "`{ query = \"…\", above = N }`".to_owned()
    }

    fn read(node: &Node<'_>, _: Option<Limit>) -> Option<Self> {
        let section = node.section()?;
        let limit = Limit::new(0, i64::MAX as u64);
        let above = section.optional("above").and_then(|n| n.integer(limit));
        let throttle =
            Throttle { query: read::text(&section, "query"), above: above.unwrap_or_default() };
        super::option::finish(section, "[[link]]");
        Some(throttle)
    }

    fn placeholder() -> Self {
        Throttle { query: String::new(), above: 0 }
    }

    fn shown(&self) -> String {
        format!("`{{ query = {:?}, above = {} }}`", self.query, self.above)
    }

    #[cfg(test)]
    fn sample(_: &Self, _: Option<Limit>) -> Self {
        Throttle { query: "SELECT 1".to_owned(), above: 3 }
    }
}

/// The query, and its number.
impl Stored for Throttle {
    const KINDS: &'static [OwnType] = &[OwnType::LongText, OwnType::BigInt];

    fn store(&self) -> Result<Vec<Value>> {
        Ok([self.query.store()?, self.above.store()?].concat())
    }

    fn load(values: &[Value]) -> std::result::Result<Self, usize> {
        let above = match option_types::value(values, 1) {
            Value::Null => 0,
            value => value.as_i64().and_then(|n| n.try_into().ok()).ok_or(1usize)?,
        };
        Ok(Throttle { query: option_types::text(values, 0)?, above })
    }
}

/// How fast rows may move; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Rows a second.
    pub rows: Option<u64>,
    /// Bytes a second.
    pub bytes: Option<u64>,
}

/// The limits that a run of a task keeps to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// The task's own.
    pub task: Rate,
    /// Of its source, for all runs that use it.
    pub source: Rate,
    /// Of its destination, likewise.
    pub dest: Rate,
}
