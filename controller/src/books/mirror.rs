//! What was settled last, once more on this host: for runs that begin while the configuration
//! database is out of reach.
//!
//! Not synced to the disk. What a power cut leaves of it is older than the truth or unreadable:
//! an older one is no harm, since every run raises the epoch of the fence and what stands under a
//! younger epoch is accepted; an unreadable one is as if there were none.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use ssync_common::error::{Error, Kind, Result};
use ssync_common::store::Settled;
use ssync_common::value::hex_bytes;

use super::spool;

/// The mirror of one sub-task.
#[derive(Debug, Clone)]
pub struct Mirror {
    path: PathBuf,
}

impl Mirror {
    /// The mirror of a sub-task in a configuration database.
    pub fn of(home: &Path, instance: &str, task: u32, table: &str) -> Mirror {
        let mut hash = Sha256::new();
        hash.update(instance.as_bytes());
        hash.update(table.as_bytes());
        let hash = hex_bytes::encode(&hash.finalize()[..8]);
        Mirror { path: spool::dir(home).join(format!("settled.{task}.{hash}.json")) }
    }

    /// What it says; `None`: there is none.
    pub fn read(&self) -> Option<Option<Settled>> {
        serde_json::from_slice(&std::fs::read(&self.path).ok()?).ok()
    }

    /// Writes it, in one piece. That it cannot be written is no reason to stop a run.
    pub fn write(&self, settled: Option<&Settled>) {
        if let Err(e) = self.try_write(settled) {
            log::warn!("could not note what was settled last in {}: {e}", self.path.display());
        }
    }

    fn try_write(&self, settled: Option<&Settled>) -> Result<()> {
        let text = serde_json::to_vec(&settled)
            .map_err(|e| Error::new(Kind::Internal, format!("mirror: {e}")))?;
        let new = self.path.with_extension("json.new");
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            options.create(true).truncate(true).write(true).mode(0o600);
            options.open(&new)?.write_all(&text)?;
            std::fs::rename(&new, &self.path)
        };
        if write().is_ok() {
            return Ok(());
        }
        let home = self.path.parent().and_then(Path::parent).and_then(Path::parent);
        spool::make_dir(home.unwrap_or(Path::new("/")))?;
        Ok(write()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use ssync_common::process::RunId;

    #[test]
    fn what_is_written_is_read_and_what_is_torn_is_none() {
        let home = tempfile::tempdir().unwrap();
        let mirror = Mirror::of(home.path(), "i", 7, "客");
        assert_eq!(mirror.read(), None);
        mirror.write(None);
        assert_eq!(mirror.read(), Some(None));
        let settled = Settled {
            dest_url: "mysql://h/d".into(),
            fence: "00".repeat(16),
            epoch: 3,
            run: RunId([1; 16]),
            pos: "00000001".into(),
            at: None,
        };
        mirror.write(Some(&settled));
        assert_eq!(mirror.read(), Some(Some(settled)));
        assert_eq!(Mirror::of(home.path(), "j", 7, "客").read(), None);
        std::fs::write(&mirror.path, b"{\"dest_url\":").unwrap();
        assert_eq!(mirror.read(), None);
    }
}
