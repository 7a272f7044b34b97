//! The 12c password verifier, from the server's side.

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use rand::RngExt;
use sha2::{Digest, Sha512};

const GENERATION_ROUNDS: u32 = 4096;
const DERIVATION_ROUNDS: u32 = 3;

/// What one login in progress has agreed on.
pub(crate) struct Login {
    password: String,
    hash: [u8; 32],
    server_key: [u8; 32],
    verifier: [u8; 16],
    salt: [u8; 16],
}

impl Login {
    /// Begins a login for the account with this password.
    pub(crate) fn new(password: &str) -> Self {
        let mut random = rand::rng();
        let verifier: [u8; 16] = random.random();
        let mut salt = verifier.to_vec();
        salt.extend(b"AUTH_PBKDF2_SPEEDY_KEY");
        let mut key = [0u8; 64];
        pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, GENERATION_ROUNDS, &mut key);
        let digest = Sha512::new().chain_update(key).chain_update(verifier).finalize();
        let mut hash = [0u8; 32];
        hash.copy_from_slice(&digest[..32]);
        Login {
            password: password.to_owned(),
            hash,
            server_key: random.random(),
            verifier,
            salt: random.random(),
        }
    }

    /// The pairs of the first answer: key, value, flags.
    pub(crate) fn challenge(&self) -> Vec<(&'static str, String, u32)> {
        vec![
            ("AUTH_SESSKEY", hex(&encrypt(&self.hash, &self.server_key)), 0),
            ("AUTH_VFR_DATA", hex(&self.verifier), 0x4815),
            ("AUTH_PBKDF2_CSK_SALT", hex(&self.salt), 0),
            ("AUTH_PBKDF2_VGEN_COUNT", GENERATION_ROUNDS.to_string(), 0),
            ("AUTH_PBKDF2_SDER_COUNT", DERIVATION_ROUNDS.to_string(), 0),
        ]
    }

    /// Whether the client knows the password; the key for the rest of the session if so.
    pub(crate) fn verify(&self, session_key: &str, password: &str) -> Option<[u8; 32]> {
        let client_key = decrypt(&self.hash, &unhex(session_key)?)?;
        if client_key.len() != 32 {
            return None;
        }
        let mut both = client_key;
        both.extend(self.server_key);
        let mut combined = [0u8; 32];
        let text = hex(&both);
        pbkdf2::pbkdf2_hmac::<Sha512>(
            text.as_bytes(),
            &self.salt,
            DERIVATION_ROUNDS,
            &mut combined,
        );
        (opened(&combined, password)? == self.password.as_bytes()).then_some(combined)
    }
}

/// A password that was encrypted with the session's key.
pub(crate) fn opened(key: &[u8; 32], text: &str) -> Option<Vec<u8>> {
    let plain = decrypt(key, &unhex(text)?)?;
    let padding = usize::from(*plain.last()?);
    (plain.len() >= 16 + padding).then(|| plain[16..plain.len() - padding].to_vec())
}

/// The proof that the server knows the password too.
pub(crate) fn proof(key: &[u8; 32]) -> String {
    let mut plain = rand::rng().random::<[u8; 16]>().to_vec();
    plain.extend(b"SERVER_TO_CLIENT");
    plain.extend([16u8; 16]);
    hex(&encrypt(key, &plain))
}

fn encrypt(key: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; plain.len()];
    let _ = cbc::Encryptor::<Aes256>::new(key.into(), &[0u8; 16].into())
        .encrypt_padded_b2b::<NoPadding>(plain, &mut bytes);
    bytes
}

fn decrypt(key: &[u8; 32], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = vec![0u8; bytes.len()];
    cbc::Decryptor::<Aes256>::new(key.into(), &[0u8; 16].into())
        .decrypt_padded_b2b::<NoPadding>(bytes, &mut plain)
        .ok()?;
    Some(plain)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()).collect()
}
