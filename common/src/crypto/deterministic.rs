//! AES-256-SIV (RFC 5297): equal values give equal ciphertexts, and nothing else shows.

use aes_siv::siv::Aes256Siv;
use aes_siv::{KeyInit, Tag};

use crate::error::{Error, Kind, Result};

/// Bytes of an AES-256-SIV key: one half authenticates, the other encrypts.
pub const KEY_BYTES: usize = 64;
/// Bytes of the synthetic initialisation vector, which is also the authentication tag.
pub const SIV_BYTES: usize = 16;

/// An AES-256-SIV key with its schedule.
pub struct SivKey(Aes256Siv);

impl SivKey {
    /// A key ready for use.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        SivKey(Aes256Siv::new(key.into()))
    }

    /// Encrypts in place; the synthetic vector.
    pub fn seal(&mut self, aad: &[u8], text: &mut [u8]) -> Result<[u8; SIV_BYTES]> {
        self.0
            .encrypt_inout_detached([aad], text.into())
            .map(Into::into)
            .map_err(|_| Error::new(Kind::Internal, "AES-SIV refuses its associated data"))
    }

    /// Decrypts in place; whether it is what was sealed with this key and `aad`. Otherwise `text`
    /// is left unreadable.
    pub fn open(&mut self, aad: &[u8], siv: &[u8; SIV_BYTES], text: &mut [u8]) -> bool {
        self.0.decrypt_inout_detached([aad], text.into(), &Tag::from(*siv)).is_ok()
    }
}
