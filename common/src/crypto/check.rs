//! Making keys, and proving beforehand that they work.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use serde::Serialize;
use zeroize::Zeroizing;

use super::engine::KEY_BYTES;
use super::key::MasterKey;
use super::{Engine, KeyId, KeyRing, Mode, Opener, Sealer};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Kind;
use crate::secret::Secret;
use crate::value::hex_bytes;

/// Makes a key file: 32 random bytes as hexadecimal digits and a line break, mode 0600, durable
/// on return. A file that exists is never touched. The key's id.
pub fn new_key_file(path: &Path) -> Result<KeyId> {
    let shown = path.display();
    let failed = |doing: &str, e: std::io::Error| {
        Error::from(e).context(format!("could not {doing} key file {shown}"))
    };
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|e| {
        Error::new(ErrorKind::System, "could not get random bytes").detail(e.to_string())
    })?;
    let text = Zeroizing::new(format!("{}\n", hex_bytes::encode(&*bytes)));
    let id = MasterKey::parse(&Secret::new(bytes.to_vec()))?.id();
    let mut options = OpenOptions::new();
    let mut file = match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::new(ErrorKind::Usage, format!("{shown} exists already"))
                .hint("Choose another file: a key that is overwritten takes its data with it."));
        }
        Err(e) => return Err(failed("create", e)),
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = written.and_then(|()| File::open(parent)?.sync_all());
    if let Err(e) = synced {
        // Half a key is of no use to anyone, and would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        return Err(failed("write", e));
    }
    Ok(id)
}

/// What `ssync key check` says about one configured key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// Name in the configuration.
    pub name: String,
    /// Id of the key that seals; `None` when it cannot be had.
    pub id: Option<String>,
    /// Ids of the keys that still open.
    pub old_ids: Vec<String>,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
}

/// Checks every key: readable, well formed, distinct from the others, and able to seal and open
/// with both engines in both modes. `keys`: names with what reading each of them gave.
pub fn check_keys(keys: &[(String, Result<KeyRing>)]) -> Vec<KeyReport> {
    let report = |(name, ring): &(String, Result<KeyRing>)| match ring {
        Err(e) => {
            let faults = std::iter::once(e.message.clone()).chain(e.details.iter().cloned());
            KeyReport {
                name: name.clone(),
                id: None,
                old_ids: Vec::new(),
                faults: faults.collect(),
            }
        }
        Ok(ring) => {
            let mut ids = ring.ids().map(|id| id.to_string());
            let mut faults = Vec::new();
            if let Err(e) = self_test(ring) {
                faults.push(e.message);
            }
            for (other, other_ring) in keys.iter().filter(|(other, _)| other != name) {
                for id in other_ring.iter().flat_map(KeyRing::ids) {
                    if ring.ids().any(|own| own == id) {
                        faults.push(format!("key {id} is also in the ring of {other}"));
                    }
                }
            }
            KeyReport { name: name.clone(), id: ids.next(), old_ids: ids.collect(), faults }
        }
    };
    keys.iter().map(report).collect()
}

/// Seals with each engine and opens with each, in both modes; and demands that an altered
/// envelope and one from another column stay closed.
pub fn self_test(ring: &KeyRing) -> Result<()> {
    let name = ring.name();
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["", "self-test", "自检"]));
    for mode in [Mode::Random, Mode::Deterministic] {
        for (sealing, opening) in Engine::ALL.into_iter().flat_map(|s| Engine::ALL.map(|o| (s, o)))
        {
            let failed = |what: &str| {
                let (sealing, opening) = (sealing.name(), opening.name());
                let message = format!("key {name}: {what} ({sealing} to {opening}, {mode:?})");
                Error::new(ErrorKind::Internal, message)
            };
            let sealed = Sealer::with_engine(ring, "self_test", "plain", mode, sealing)?
                .seal_column(&plain, Kind::Text)?;
            let open = |array: &dyn Array, column: &str| {
                Opener::with_engine(ring, "self_test", column, mode, opening)?.open_column(
                    array,
                    Kind::Text,
                    Kind::Text,
                )
            };
            let (opened, bad) = open(&sealed, "plain")?;
            if !bad.is_empty() || opened.as_ref() != plain.as_ref() {
                return Err(failed("what was sealed does not open"));
            }
            let altered: StringArray =
                sealed.as_string::<i32>().iter().map(|text| text.map(alter)).collect();
            if open(&altered, "plain")?.1.len() != plain.len() {
                return Err(failed("an altered value opens"));
            }
            if mode == Mode::Random && open(&sealed, "other")?.1.len() != plain.len() {
                return Err(failed("a value opens in another column"));
            }
        }
    }
    Ok(())
}

/// The envelope with one character of its tag changed.
fn alter(text: &str) -> String {
    let at = text.len() - 12;
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    [&text[..at], other, &text[at + 1..]].concat()
}
