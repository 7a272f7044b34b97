//! Sealing stored secrets under the host key: AES-256-GCM, authenticated with what the secret is
//! for, so that a sealed password moved to another link does not open.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

const KEY_LEN: usize = 32;
/// Stands before a sealed secret; another number will mean another way of sealing.
const PREFIX: &str = "1:";

/// The key of this host (or of every host that shares a configuration database, when the file is
/// handed on to them).
pub struct HostKey {
    key: RandomizedNonceKey,
    path: PathBuf,
}

impl HostKey {
    /// Reads the key file; makes it, mode 0600, when it is not there.
    ///
    /// # Errors
    /// [`Kind::Config`] for a file that others can open, that belongs to somebody else or that
    /// is no key.
    pub fn load_or_create(path: &Path) -> Result<HostKey> {
        match HostKey::load(path) {
            Err(e) if e.kind == Kind::Config && !path.exists() => {
                create(path)?;
                HostKey::load(path)
            }
            done => done,
        }
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// As [`HostKey::load_or_create`], and [`Kind::Config`] when it is not there.
    pub fn load(path: &Path) -> Result<HostKey> {
        let shown = path.display();
        let wrong = |what: String| Error::new(Kind::Config, format!("the host key {shown} {what}"));
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(wrong("is not there".to_owned()).hint(
                    "Stored passwords are sealed with it. Restore it from a backup, or set the \
                     passwords again: ssync link set-password NAME.",
                ));
            }
            Err(e) => return Err(wrong(format!("could not be opened: {e}"))),
        };
        let meta = file.metadata()?;
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(wrong(format!("is open to others (mode {mode:03o})")).hint(format!(
                "Whoever read it can open the stored passwords: change those, then chmod 600 {shown}."
            )));
        }
        if meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(wrong(format!("belongs to another account (uid {})", meta.uid())));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + 1));
        (&mut file).take(KEY_LEN as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() != KEY_LEN {
            return Err(wrong(format!("is damaged: it must be {KEY_LEN} bytes")));
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| Error::new(Kind::Internal, "the host key was not accepted"))?;
        Ok(HostKey { key, path: path.to_owned() })
    }

    /// Seals a secret for `purpose`.
    pub fn seal(&self, purpose: &str, secret: &Secret) -> Result<String> {
        let mut sealed = secret.expose().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| Error::new(Kind::Internal, "a secret could not be sealed"))?;
        let envelope = [nonce.as_ref().as_slice(), &sealed].concat();
        Ok(format!("{PREFIX}{}", STANDARD.encode(envelope)))
    }

    /// Opens what [`HostKey::seal`] made for the same purpose under the same key.
    ///
    /// # Errors
    /// [`Kind::Config`] for anything else.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<Secret> {
        let refused = || {
            Error::new(Kind::Config, "the stored secret does not open with this host's key")
                .detail(format!("host key {}", self.path.display()))
                .hint(
                    "It was sealed on another host or with another SSYNC_HOME, or was changed. \
                     Set it again: ssync link set-password NAME.",
                )
        };
        let text = sealed.strip_prefix(PREFIX).ok_or_else(refused)?;
        let mut envelope = STANDARD.decode(text).map_err(|_| refused())?;
        if envelope.len() < NONCE_LEN {
            return Err(refused());
        }
        let mut body = envelope.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&envelope).map_err(|_| refused())?;
        let aad = Aad::from(purpose.as_bytes());
        let opened = self.key.open_in_place(nonce, aad, &mut body).map(|plain| plain.len());
        match opened {
            Ok(len) => {
                body.truncate(len);
                Ok(Secret::new(body))
            }
            Err(_) => {
                body.zeroize();
                Err(refused())
            }
        }
    }
}

/// Makes a new key under a name of its own and links it into place, so that of two processes that
/// do it at once one wins and nobody ever sees half a key.
fn create(path: &Path) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::from(e).context(format!("could not create the host key {}", path.display()))
    };
    let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
    getrandom::fill(bytes.as_mut())
        .map_err(|e| Error::new(Kind::System, format!("no random bytes from the kernel: {e}")))?;
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let linked = made
        .and_then(|mut file| {
            file.write_all(bytes.as_ref())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::hard_link(&new, path));
    let _ = std::fs::remove_file(&new);
    match linked {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    if let Some(dir) = path.parent() {
        std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn host_key() -> (tempfile::TempDir, HostKey) {
        let dir = tempfile::tempdir().unwrap();
        let key = HostKey::load_or_create(&dir.path().join("host.key")).unwrap();
        (dir, key)
    }

    #[test]
    fn a_sealed_secret_opens_for_its_purpose_and_key_alone() {
        let (dir, key) = host_key();
        let secret = Secret::new(b"hunter2".to_vec());
        let sealed = key.seal("link core", &secret).unwrap();
        assert!(!sealed.contains("hunter2"));
        let again = HostKey::load(&dir.path().join("host.key")).unwrap();
        assert_eq!(again.open("link core", &sealed).unwrap(), secret);
        assert!(again.open("link other", &sealed).is_err());
        assert!(host_key().1.open("link core", &sealed).is_err());
        assert_ne!(key.seal("link core", &secret).unwrap(), sealed);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (_dir, key) = host_key();
        let sealed = key.seal("x", &Secret::new(b"hunter2".to_vec())).unwrap();
        let body = STANDARD.decode(&sealed[PREFIX.len()..]).unwrap();
        for i in 0..body.len() {
            let mut bent = body.clone();
            bent[i] ^= 1;
            assert!(key.open("x", &format!("{PREFIX}{}", STANDARD.encode(bent))).is_err());
        }
        for cut in 0..body.len() {
            let text = format!("{PREFIX}{}", STANDARD.encode(&body[..cut]));
            assert!(key.open("x", &text).is_err());
        }
        for text in ["", "1:", "2:AAAA", "1:%%%"] {
            assert!(key.open("x", text).is_err());
        }
    }

    #[test]
    fn the_key_file_is_private_and_stays() {
        let (dir, _) = host_key();
        let path = dir.path().join("host.key");
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, 32));
        let before = std::fs::read(&path).unwrap();
        HostKey::load_or_create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_not_replaced() {
        let (dir, _) = host_key();
        let path = dir.path().join("host.key");
        for mode in [0o640, 0o604, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = HostKey::load_or_create(&path).err().unwrap();
            assert!(error.message.contains(&format!("mode {mode:03o}")), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(HostKey::load_or_create(&path).err().unwrap().message.contains("damaged"));
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
    }
}
