//! Secrets from the places a configuration may name.

use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// Largest secret file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// From an environment variable; `None` when it is not set or empty.
pub fn from_env(name: &str) -> Option<Secret> {
    let value = std::env::var_os(name).filter(|v| !v.is_empty())?;
    Some(Secret::new(value.into_vec()))
}

/// From a file; one line break at its end does not count. `whose` stands in messages.
///
/// # Errors
/// [`Kind::Config`] when there is no such file, it is empty, too large or not a regular file, or
/// when accounts beside its owner and group can read it, or the group can change it.
pub fn from_file(path: &Path, whose: &str) -> Result<Secret> {
    let wrong = |what: String| Error::new(Kind::Config, format!("{whose}: {what}"));
    let shown = path.display();
    let file = std::fs::File::open(path)
        .map_err(|e| wrong(format!("could not open the secret file {shown}: {e}")))?;
    // Of the opened file, so that it cannot be exchanged between looking and reading.
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(wrong(format!("{shown} is not a file")));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(wrong(format!("the secret file {shown} is open to others (mode {mode:03o})"))
            .hint(format!("Close it: chmod 600 {shown} (or 640 with a group of its own).")));
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("the secret file {shown} is larger than 64 KiB")));
    }
    // Room for all of it beforehand: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(FILE_BYTES_MAX as usize + 1);
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(format!("could not read the secret file {shown}: {e}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(wrong(format!("the secret file {shown} is empty")));
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_line_break_at_the_end_does_not_count() {
        for content in [&b"hunter2"[..], b"hunter2\n", b"hunter2\r\n"] {
            let (_dir, path) = file(content, 0o600);
            assert_eq!(from_file(&path, "x").unwrap().expose(), b"hunter2");
        }
        let (_dir, path) = file(b" two\nlines\n\n", 0o640);
        assert_eq!(from_file(&path, "x").unwrap().expose(), b" two\nlines\n");
    }

    #[test]
    fn files_that_others_can_read_or_change_are_refused() {
        for mode in [0o604, 0o644, 0o660, 0o606, 0o666] {
            let (_dir, path) = file(b"hunter2", mode);
            let error = from_file(&path, "link core").unwrap_err();
            assert_eq!(error.kind, Kind::Config);
            assert!(error.message.contains(&format!("mode {mode:03o}")), "{error}");
        }
    }

    #[test]
    fn what_holds_no_secret_is_refused() {
        let (dir, path) = file(b"\n", 0o600);
        assert!(from_file(&path, "x").unwrap_err().message.contains("empty"));
        assert!(from_file(dir.path(), "x").unwrap_err().message.contains("not a file"));
        assert!(from_file(&dir.path().join("no"), "x").unwrap_err().message.contains("could not"));
        let (_dir, path) = file(&vec![b'x'; (64 << 10) + 1], 0o600);
        assert!(from_file(&path, "x").unwrap_err().message.contains("larger"));
    }
}
