//! Column encryption: a value becomes one line of ASCII text, an *envelope*, and comes back as it
//! was or not at all.
//!
//! The format, the arithmetic behind it and test vectors for other programs: `docs/ENCRYPTION.md`.
//!
//! - [`key`]: master keys, their ids, rings of a current key and the ones it replaced.
//! - [`envelope`]: the layout, widths, and what is authenticated beside the value.
//! - [`plain`]: the bytes that are sealed: a type tag and the value's canonical form.
//! - [`seal`], [`open`]: whole columns, value by value without allocating.
//! - [`engine`], [`deterministic`]: the ciphers.
//! - [`check`]: making key files, and proving that a key works.

pub mod check;
pub mod deterministic;
pub mod engine;
pub mod envelope;
pub mod key;
pub mod open;
pub mod plain;
pub mod seal;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use serde::{Deserialize, Serialize};

pub use engine::Engine;
pub use envelope::{key_of, sealed_len};
pub use key::{KeyId, KeyRing, Resolve, WireKeyRing};
pub use open::Opener;
pub use plain::plain_len_max;
pub use seal::Sealer;

/// How a column is sealed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// AES-256-GCM: equal values give different envelopes; bound to table and column.
    #[default]
    Random,
    /// AES-SIV: equal values give equal envelopes under one key, in whatever table or column, so
    /// that they can be joined on. Not bound to table and column.
    Deterministic,
}

impl Mode {
    /// From the configuration's flag.
    pub fn new(deterministic: bool) -> Self {
        if deterministic { Mode::Deterministic } else { Mode::Random }
    }
}
