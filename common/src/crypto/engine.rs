//! The ciphers behind one surface, twice: `aws-lc-rs` for speed, RustCrypto's crates in pure Rust
//! for builds without it and as the independent second opinion that tests hold against the first.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Tag as PortableTag};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf as aws_hkdf;

use crate::error::{Error, Kind, Result};

/// Bytes of an AES-256 key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a GCM nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;

/// Which implementation computes. Both give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `aws-lc-rs`.
    AwsLc,
    /// `aes-gcm` and `hkdf` of RustCrypto.
    Portable,
}

impl Engine {
    /// Every engine of this build.
    pub const ALL: [Engine; 2] = [Engine::AwsLc, Engine::Portable];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Engine::AwsLc => "aws-lc-rs",
            Engine::Portable => "aes-gcm",
        }
    }

    /// HKDF-SHA256 (RFC 5869). `out` may have up to 8160 bytes.
    pub fn hkdf(self, salt: &[u8], key: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
        let done = match self {
            Engine::AwsLc => aws_hkdf::Salt::new(aws_hkdf::HKDF_SHA256, salt)
                .extract(key)
                .expand(&[info], OutBytes(out.len()))
                .and_then(|okm| okm.fill(out))
                .is_ok(),
            Engine::Portable => {
                hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), key).expand(info, out).is_ok()
            }
        };
        if done { Ok(()) } else { Err(Error::new(Kind::Internal, "cannot derive a key")) }
    }

    /// A key ready for use.
    pub fn gcm(self, key: &[u8; KEY_BYTES]) -> Result<GcmKey> {
        Ok(GcmKey(match self {
            Engine::AwsLc => Cipher::AwsLc(LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM, key)
                    .map_err(|_| Error::new(Kind::Internal, "AES-256-GCM refuses a key"))?,
            )),
            Engine::Portable => Cipher::Portable(Box::new(Aes256Gcm::new(key.into()))),
        }))
    }
}

impl Default for Engine {
    fn default() -> Self {
        if cfg!(feature = "portable-crypto") { Engine::Portable } else { Engine::AwsLc }
    }
}

struct OutBytes(usize);

impl aws_hkdf::KeyType for OutBytes {
    fn len(&self) -> usize {
        self.0
    }
}

enum Cipher {
    AwsLc(LessSafeKey),
    Portable(Box<Aes256Gcm>),
}

/// An AES-256-GCM key with its schedule. The caller answers for nonces that never repeat.
pub struct GcmKey(Cipher);

impl GcmKey {
    /// Encrypts in place; the tag.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES]> {
        let too_long = || Error::new(Kind::Data, "a value is too long to be encrypted");
        match &self.0 {
            Cipher::AwsLc(key) => {
                let tag = key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(aad),
                        text,
                    )
                    .map_err(|_| too_long())?;
                tag.as_ref().try_into().map_err(|_| too_long())
            }
            Cipher::Portable(key) => key
                .encrypt_inout_detached(&nonce.into(), aad, text.into())
                .map(Into::into)
                .map_err(|_| too_long()),
        }
    }

    /// Decrypts `sealed` (ciphertext, then tag) in place; the plain bytes, or `None` when it is
    /// not what was sealed with this key, nonce and `aad`.
    pub fn open<'a>(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        match &self.0 {
            Cipher::AwsLc(key) => key
                .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed)
                .ok()
                .map(|plain| &*plain),
            Cipher::Portable(key) => {
                let (text, tag) = sealed.split_at_mut(sealed.len().checked_sub(TAG_BYTES)?);
                let tag = PortableTag::try_from(&*tag).ok()?;
                key.decrypt_inout_detached(&nonce.into(), aad, (&mut *text).into(), &tag).ok()?;
                Some(text)
            }
        }
    }
}
