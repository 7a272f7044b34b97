//! The layout of an envelope, before it is written as base64url without padding:
//!
//! ```text
//! random         0x48 │ key id 4 │ salt 12 │ counter 2 │ ciphertext 1+n │ tag 16
//! deterministic  0x49 │ key id 4 │ synthetic vector 16  │ ciphertext 1+n
//! ```
//!
//! Either way the text begins with `S`. The sealed bytes are one type tag and `n` bytes of value,
//! see [`crate::crypto::plain`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::deterministic::SIV_BYTES;
use super::engine::{NONCE_BYTES, TAG_BYTES};
use super::key::{ID_BYTES, KeyId};
use super::{Mode, deterministic};
use crate::connector::split_table_name;

/// Bytes of the random salt that, with master key, table and column, makes a data key.
pub const SALT_BYTES: usize = 12;
/// Bytes of the counter that tells the values under one salt apart.
pub const COUNTER_BYTES: usize = 2;
/// Values sealed under one salt at the most: every value of the counter once.
pub const SALT_VALUES_MAX: u32 = 1 << (8 * COUNTER_BYTES);

const SALT_AT: usize = 1 + ID_BYTES;
const COUNTER_AT: usize = SALT_AT + SALT_BYTES;
/// Where the ciphertext of a random envelope begins.
pub(super) const RANDOM_PREFIX: usize = COUNTER_AT + COUNTER_BYTES;
/// Where the ciphertext of a deterministic envelope begins.
pub(super) const SIV_PREFIX: usize = 1 + ID_BYTES + SIV_BYTES;
/// Bytes of the type tag inside.
const TYPE_TAG: usize = 1;

impl Mode {
    /// The first byte of an envelope: format version and mode in one.
    pub(super) fn header(self) -> u8 {
        match self {
            Mode::Random => 0x48,
            Mode::Deterministic => 0x49,
        }
    }
}

/// Characters of the envelope of a value whose plain form has `plain_len` bytes. Exact.
pub fn sealed_len(plain_len: usize, deterministic: bool) -> usize {
    let overhead = TYPE_TAG + if deterministic { SIV_PREFIX } else { RANDOM_PREFIX + TAG_BYTES };
    base64_len(plain_len.saturating_add(overhead))
}

/// Characters of `bytes` bytes as base64 without padding.
fn base64_len(bytes: usize) -> usize {
    (bytes / 3).saturating_mul(4).saturating_add([0, 2, 3][bytes % 3])
}

/// Appends `frame` as text.
pub(super) fn append_text(frame: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + base64_len(frame.len()), 0);
    URL_SAFE_NO_PAD.encode_slice(frame, &mut out[start..]).is_ok()
}

/// What an envelope holds, in place.
pub(super) enum Envelope<'a> {
    /// Sealed by AES-256-GCM.
    Random {
        /// The master key.
        key: KeyId,
        /// The salt.
        salt: [u8; SALT_BYTES],
        /// The nonce, from the counter.
        nonce: [u8; NONCE_BYTES],
        /// Ciphertext and tag.
        sealed: &'a mut [u8],
    },
    /// Sealed by AES-SIV.
    Deterministic {
        /// The master key.
        key: KeyId,
        /// The synthetic vector.
        siv: [u8; deterministic::SIV_BYTES],
        /// Ciphertext.
        sealed: &'a mut [u8],
    },
}

/// Reads an envelope's text into `frame`; `None` when it is not one. Every text but the one that
/// was written is refused: no padding, no line breaks, no second spelling of the last character.
/// Trailing blanks are the exception, fixed-width columns add them.
pub(super) fn parse<'a>(text: &[u8], frame: &'a mut Vec<u8>) -> Option<Envelope<'a>> {
    let blanks = text.iter().rev().take_while(|b| **b == b' ').count();
    let text = &text[..text.len() - blanks];
    frame.clear();
    // The decoder wants room for its estimate, which is rounded up.
    frame.resize(text.len() / 4 * 3 + 3, 0);
    let len = URL_SAFE_NO_PAD.decode_slice(text, frame).ok()?;
    let frame = frame.get_mut(..len)?;
    let (&mut header, rest) = frame.split_first_mut()?;
    let (id, rest) = rest.split_first_chunk_mut::<ID_BYTES>()?;
    let key = KeyId(*id);
    match header {
        h if h == Mode::Random.header() => {
            let (salt, rest) = rest.split_first_chunk_mut::<SALT_BYTES>()?;
            let (counter, sealed) = rest.split_first_chunk_mut::<COUNTER_BYTES>()?;
            (sealed.len() >= TYPE_TAG + TAG_BYTES).then_some(Envelope::Random {
                key,
                salt: *salt,
                nonce: nonce(u16::from_be_bytes(*counter)),
                sealed,
            })
        }
        h if h == Mode::Deterministic.header() => {
            let (siv, sealed) = rest.split_first_chunk_mut::<SIV_BYTES>()?;
            (sealed.len() >= TYPE_TAG).then_some(Envelope::Deterministic { key, siv: *siv, sealed })
        }
        _ => None,
    }
}

/// The nonce of the value with this number under its salt: the number, big-endian, after zeros.
pub(super) fn nonce(counter: u16) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[NONCE_BYTES - COUNTER_BYTES..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// The id of the key that an envelope was sealed with; `None` when the text is not one.
pub fn key_of(text: &str) -> Option<KeyId> {
    match parse(text.as_bytes(), &mut Vec::new())? {
        Envelope::Random { key, .. } | Envelope::Deterministic { key, .. } => Some(key),
    }
}

/// The start of a random envelope up to the counter.
pub(super) fn random_prefix(key: KeyId, salt: &[u8; SALT_BYTES], frame: &mut Vec<u8>) {
    frame.clear();
    frame.push(Mode::Random.header());
    frame.extend_from_slice(&key.0);
    frame.extend_from_slice(salt);
    frame.extend_from_slice(&[0; COUNTER_BYTES]);
}

/// Writes the counter into a frame that [`random_prefix`] began.
pub(super) fn set_counter(frame: &mut [u8], counter: u16) {
    frame[COUNTER_AT..RANDOM_PREFIX].copy_from_slice(&counter.to_be_bytes());
}

/// The start of a deterministic envelope, the synthetic vector still zero.
pub(super) fn deterministic_prefix(key: KeyId, frame: &mut Vec<u8>) {
    frame.clear();
    frame.push(Mode::Deterministic.header());
    frame.extend_from_slice(&key.0);
    frame.extend_from_slice(&[0; SIV_BYTES]);
}

/// Writes the synthetic vector into a frame that [`deterministic_prefix`] began.
pub(super) fn set_siv(frame: &mut [u8], siv: &[u8; SIV_BYTES]) {
    frame[1 + ID_BYTES..SIV_PREFIX].copy_from_slice(siv);
}

/// What binds a random envelope to its place. It goes into the derivation of the data key, and
/// is authenticated with every value: version, key id, table and column, each length first, so
/// that no two places share it.
///
/// Of the table, only the bare name counts, its case kept: a renamed schema does not matter, and
/// `Orders` and `orders` may be two tables. Column names are folded to lower case (ASCII): no
/// database that ssync knows tells two columns apart by case.
pub(super) fn place(key: KeyId, table: &str, column: &str) -> Vec<u8> {
    let table = bare_table(table);
    let column = column.to_ascii_lowercase();
    let mut place = b"ssync column".to_vec();
    place.push(Mode::Random.header());
    place.extend_from_slice(&key.0);
    for name in [table.as_bytes(), column.as_bytes()] {
        place.extend_from_slice(&(name.len() as u32).to_be_bytes());
        place.extend_from_slice(name);
    }
    place
}

/// What is authenticated with a deterministic envelope.
pub(super) fn deterministic_aad(key: KeyId) -> [u8; 1 + ID_BYTES] {
    let mut aad = [Mode::Deterministic.header(); 1 + ID_BYTES];
    aad[1..].copy_from_slice(&key.0);
    aad
}

/// The table's name without its schema.
fn bare_table(name: &str) -> String {
    split_table_name(name).pop().unwrap_or_default()
}
