//! Master keys, and everything that is derived from them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::deterministic::{self, SivKey};
use super::engine::{Engine, GcmKey, KEY_BYTES};
use super::envelope::SALT_BYTES;
use crate::config::{self, SecretSource};
use crate::error::{Error, Kind, Result};
use crate::secret::{Secret, WireSecret};
use crate::value::hex_bytes;

/// Bytes of a [`KeyId`].
pub const ID_BYTES: usize = 4;
/// Fewest different byte values in a key. 32 random bytes have fewer with a chance below 2^-100.
const DISTINCT_BYTES_MIN: usize = 10;

/// Which key sealed a value: derived from the key itself, so that no configuration can mislabel
/// it. Says nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub(super) [u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_bytes::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Thirty-two secret bytes.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: KeyId,
}

impl MasterKey {
    /// Reads a key as it stands in a file or variable: 64 hexadecimal digits, base64 (either
    /// alphabet, with or without padding), or the 32 bytes themselves. White space around the
    /// text does not count. Weak content is refused: text instead of random bytes, repetition.
    pub fn parse(secret: &Secret) -> Result<Self> {
        let bytes = decode(secret.expose())?;
        let mut seen = [false; 256];
        bytes.iter().for_each(|b| seen[usize::from(*b)] = true);
        if seen.iter().filter(|s| **s).count() < DISTINCT_BYTES_MIN {
            return Err(Error::new(Kind::Config, "the key is not random: its bytes repeat")
                .hint("Make one with `ssync key new NAME --out FILE`."));
        }
        Self::from_bytes(bytes)
    }

    fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self> {
        let mut id = [0; ID_BYTES];
        Engine::default().hkdf(b"", &*bytes, b"ssync key id", &mut id)?;
        Ok(MasterKey { bytes, id: KeyId(id) })
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The data key of one salt and place.
    pub(super) fn data_key(
        &self,
        engine: Engine,
        salt: &[u8; SALT_BYTES],
        place: &[u8],
    ) -> Result<GcmKey> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        engine.hkdf(salt, &*self.bytes, place, &mut *key)?;
        engine.gcm(&key)
    }

    /// The key of the deterministic mode.
    pub(super) fn siv_key(&self, engine: Engine) -> Result<SivKey> {
        let mut key = Zeroizing::new([0; deterministic::KEY_BYTES]);
        let info = [b"ssync deterministic".as_slice(), &self.id.0].concat();
        engine.hkdf(b"", &*self.bytes, &info, &mut *key)?;
        Ok(SivKey::new(&key))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

fn decode(given: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    let refuse = |message: String| {
        Err(Error::new(Kind::Config, message).hint(
            "A key is 32 random bytes: as 64 hexadecimal digits, as base64, or as they are. \
             Make one with `ssync key new NAME --out FILE`.",
        ))
    };
    let text = given.trim_ascii();
    let unpadded = text.strip_suffix(b"=").unwrap_or(text);
    let bytes = if text.len() == 2 * KEY_BYTES && text.iter().all(u8::is_ascii_hexdigit) {
        std::str::from_utf8(text).ok().and_then(hex_bytes::decode)
    } else if unpadded.len() == KEY_BYTES.div_ceil(3) * 4 - 1 {
        let decoded = URL_SAFE_NO_PAD.decode(unpadded);
        decoded.or_else(|_| STANDARD_NO_PAD.decode(unpadded)).ok()
    } else if given.len() == KEY_BYTES {
        if given.iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n')) {
            return refuse("the key is 32 characters of text, not 32 random bytes".into());
        }
        Some(given.to_vec())
    } else {
        None
    };
    let bytes = Zeroizing::new(bytes.unwrap_or_default());
    match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Zeroizing::new(key)),
        // What is left of a raw key whose last byte was taken for a line break.
        Err(_) if (KEY_BYTES - 2..KEY_BYTES).contains(&given.len()) => {
            refuse(format!("the key has {} bytes, not {KEY_BYTES}", given.len())).map_err(|e| {
                e.detail("a raw key that ends in a line break loses it when its file is read")
            })
        }
        Err(_) => refuse(format!("the key has {} bytes in no known form", given.len())),
    }
}

/// Gets a secret from its source. The first argument names it in messages: `key pii: old[0]`.
pub type Resolve<'a> = dyn FnMut(&str, &SecretSource) -> Result<Secret> + 'a;

/// A named key: the one that seals, and the ones it replaced, which still open.
#[derive(Debug, Clone)]
pub struct KeyRing {
    name: String,
    /// The current key first.
    keys: Vec<MasterKey>,
}

impl KeyRing {
    /// Reads the keys. Fails with [`Kind::Config`], naming the key, when one is malformed or
    /// occurs twice.
    pub fn new(name: impl Into<String>, current: &Secret, old: &[Secret]) -> Result<Self> {
        let name = name.into();
        let parse = |(n, secret): (usize, &Secret)| {
            let which = if n == 0 { "secret".into() } else { format!("old[{}]", n - 1) };
            MasterKey::parse(secret).map_err(|e| e.context(format!("key {name}: {which}")))
        };
        let keys = std::iter::once(current)
            .chain(old)
            .enumerate()
            .map(parse)
            .collect::<Result<Vec<_>>>()?;
        Self::of(name, keys)
    }

    /// Reads a configured key.
    pub fn resolve(key: &config::Key, resolve: &mut Resolve<'_>) -> Result<Self> {
        let name = &key.name;
        let current = resolve(&format!("key {name}"), &key.secret)?;
        let old = key
            .old
            .iter()
            .enumerate()
            .map(|(n, source)| resolve(&format!("key {name}: old[{n}]"), source))
            .collect::<Result<Vec<_>>>()?;
        Self::new(name, &current, &old)
    }

    fn of(name: String, keys: Vec<MasterKey>) -> Result<Self> {
        for (n, key) in keys.iter().enumerate() {
            if keys[..n].iter().any(|k| k.id == key.id) {
                return Err(Error::new(
                    Kind::Config,
                    format!("key {name}: the key with id {} is there twice", key.id),
                )
                .hint("A new key takes the place of the current one; that one moves to `old`."));
            }
        }
        Ok(KeyRing { name, keys })
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ids, that of the key that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(MasterKey::id)
    }

    /// Whether there are keys that it replaced.
    pub fn was_rotated(&self) -> bool {
        self.keys.len() > 1
    }

    /// The key that seals.
    pub(super) fn current(&self) -> &MasterKey {
        &self.keys[0]
    }

    /// All keys, the current one first.
    pub(super) fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    /// The form that may be serialised, for the private socket between a task process and its
    /// writers and nothing else.
    pub fn to_wire(&self) -> WireKeyRing {
        let wire = |key: &MasterKey| WireSecret::new(Secret::new(key.bytes.to_vec()));
        WireKeyRing { name: self.name.clone(), keys: self.keys.iter().map(wire).collect() }
    }

    /// Takes a ring that came over that socket.
    pub fn from_wire(wire: WireKeyRing) -> Result<Self> {
        let read = |secret: WireSecret| {
            let bytes: [u8; KEY_BYTES] =
                secret.into_secret().expose().try_into().map_err(|_| {
                    Error::new(Kind::Internal, "a key of the wrong length came over the socket")
                })?;
            MasterKey::from_bytes(Zeroizing::new(bytes))
        };
        let keys = wire.keys.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(Error::new(Kind::Internal, "a key ring without keys came over the socket"));
        }
        Self::of(wire.name, keys)
    }
}

/// A [`KeyRing`] on its way to a writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WireKeyRing {
    name: String,
    keys: Vec<WireSecret>,
}
