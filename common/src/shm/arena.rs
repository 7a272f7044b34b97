//! The parameter arena (A20): the detailed parameters of every configured task, put into shared
//! memory by the controller whenever it has read the configuration, for the task processes it
//! starts and for whoever looks. Never a secret.
//!
//! One segment for each generation, as large as its contents, and never changed after it was
//! published: so nothing in it has to be read under a lock, and a reader that holds generation 7
//! is not disturbed by generation 8. Every text is checked against its SHA-256 before it is given
//! out.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::segment::{HEADER_BYTES, Layout, Segment, shared_struct};
use super::{now_ms, prefix};
use crate::error::{Error, Kind, Result};

/// Layout of an arena's segment.
pub const LAYOUT: Layout =
    Layout { kind: 3, version: 1, name: "parameter arena", persistent: false };

/// SHA-256 of a task's text.
pub type Digest = [u8; 32];

/// Texts lie in words, so that they are copied eight bytes at a time.
const WORD: usize = size_of::<AtomicU64>();

shared_struct! {
    struct ArenaHeader (64) {
        generation: AtomicU64,
        tasks: AtomicU64,
        /// SHA-256 of all entries, so that a bent number or length is noticed, too.
        directory: [AtomicU64; 4],
    }
}

shared_struct! {
    struct ArenaEntry (64) {
        task: AtomicU32,
        /// Bytes of its text.
        len: AtomicU64,
        digest: [AtomicU64; 4],
    }
}

const ENTRIES_AT: usize = HEADER_BYTES + size_of::<ArenaHeader>();
const _: () = assert!(size_of::<ArenaHeader>() == 64 && size_of::<ArenaEntry>() == 64);
const _: () = assert!(ENTRIES_AT.is_multiple_of(64));

/// Where one task's text lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    task: u32,
    /// Bytes of the segment.
    bytes: Range<usize>,
    digest: Digest,
}

/// One generation of the parameters. Whoever published it owns it: when that one is dropped, or
/// its process ends, nobody finds it any more; who has it open keeps it.
#[derive(Debug)]
pub struct Arena {
    segment: Segment,
    generation: u64,
    places: Vec<Place>,
}

impl Arena {
    /// Puts the texts of all tasks into a new segment, of a generation above all that are there.
    ///
    /// # Errors
    /// [`Kind::Full`] when shared memory has no room.
    pub fn publish(home: &Path, texts: &[(u32, Vec<u8>)]) -> Result<Arena> {
        let last = names(home)?.last().map_or(0, |(generation, _)| *generation);
        let generation = now_ms().max(last.saturating_add(1));
        let (places, bytes) =
            lay_out(texts.iter().map(|(task, text)| {
                (*task, text.len() as u64, <Digest>::from(Sha256::digest(text)))
            }))
            .ok_or_else(|| Error::new(Kind::Full, "the parameters are larger than any memory"))?;
        let segment = Segment::create(&name(home, generation)?, LAYOUT, bytes, |segment| {
            let header: &ArenaHeader = segment.at(HEADER_BYTES)?;
            header.generation.store(generation, Ordering::Relaxed);
            header.tasks.store(places.len() as u64, Ordering::Relaxed);
            store_digest(&header.directory, &directory(generation, &places));
            let entries: &[ArenaEntry] = segment.slice_at(ENTRIES_AT, places.len())?;
            for ((entry, place), (_, text)) in entries.iter().zip(&places).zip(texts) {
                entry.task.store(place.task, Ordering::Relaxed);
                entry.len.store(place.bytes.len() as u64, Ordering::Relaxed);
                store_digest(&entry.digest, &place.digest);
                let words: &[AtomicU64] =
                    segment.slice_at(place.bytes.start, text.len().div_ceil(WORD))?;
                for (word, bytes) in words.iter().zip(text.chunks(WORD)) {
                    let mut padded = [0; WORD];
                    padded[..bytes.len()].copy_from_slice(bytes);
                    word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
                }
            }
            Ok(())
        })
        .map_err(no_room)?;
        Ok(Arena { segment, generation, places })
    }

    /// The arena of that generation.
    ///
    /// # Errors
    /// [`Kind::System`] when it is gone, damaged, or of another layout.
    pub fn open(home: &Path, generation: u64) -> Result<Arena> {
        let name = name(home, generation)?;
        let Some(segment) = Segment::open(&name, LAYOUT)? else { return Err(gone(&name)) };
        Arena::of(segment, generation)
    }

    /// The newest arena of `home`; `None` when no controller has published one.
    ///
    /// # Errors
    /// [`Kind::System`] when the newest one is damaged, or of another layout.
    pub fn newest(home: &Path) -> Result<Option<Arena>> {
        let mut failed = None;
        for (generation, name) in names(home)?.into_iter().rev() {
            // One that is not ready yet has one before it, and one that went away one behind it.
            match Segment::open(&name, LAYOUT) {
                Ok(Some(segment)) => return Arena::of(segment, generation).map(Some),
                Ok(None) => {}
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn of(segment: Segment, generation: u64) -> Result<Arena> {
        let header: &ArenaHeader = segment.at(HEADER_BYTES)?;
        let damaged = || damaged(segment.name());
        let tasks = usize::try_from(header.tasks.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let entries: &[ArenaEntry] = segment.slice_at(ENTRIES_AT, tasks).map_err(|_| damaged())?;
        let entry = |e: &ArenaEntry| {
            let digest = load_digest(&e.digest);
            (e.task.load(Ordering::Relaxed), e.len.load(Ordering::Relaxed), digest)
        };
        let (places, bytes) = lay_out(entries.iter().map(entry)).ok_or_else(damaged)?;
        let is_whole = bytes == segment.bytes()
            && header.generation.load(Ordering::Relaxed) == generation
            && load_digest(&header.directory) == directory(generation, &places);
        match is_whole {
            true => Ok(Arena { segment, generation, places }),
            false => Err(damaged()),
        }
    }

    /// Which one it is; later ones have larger numbers.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of shared memory that it takes up.
    pub fn bytes(&self) -> usize {
        self.segment.bytes()
    }

    /// The tasks, in the order they were published.
    pub fn tasks(&self) -> impl Iterator<Item = u32> + '_ {
        self.places.iter().map(|p| p.task)
    }

    /// SHA-256 of a task's text, as it was published.
    pub fn digest(&self, task: u32) -> Option<Digest> {
        self.place(task).map(|p| p.digest)
    }

    /// Whether newcomers find it.
    pub fn is_linked(&self) -> bool {
        self.segment.is_linked()
    }

    /// The text of a task, checked; `None` when the arena has no such task.
    ///
    /// # Errors
    /// [`Kind::System`] when it is not what was published.
    pub fn read(&self, task: u32) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.place(task) else { return Ok(None) };
        let len = place.bytes.len();
        let words: &[AtomicU64] = self.segment.slice_at(place.bytes.start, len.div_ceil(WORD))?;
        let mut text: Vec<u8> =
            words.iter().flat_map(|w| w.load(Ordering::Relaxed).to_le_bytes()).collect();
        text.truncate(len);
        match <Digest>::from(Sha256::digest(&text)) == place.digest {
            true => Ok(Some(text)),
            false => Err(damaged(self.segment.name()).detail(format!("task {task}"))),
        }
    }

    fn place(&self, task: u32) -> Option<&Place> {
        self.places.iter().find(|p| p.task == task)
    }
}

/// Where texts of these lengths lie, one behind the other, and the bytes of it all; `None` where
/// that is more than can be addressed.
fn lay_out(entries: impl Iterator<Item = (u32, u64, Digest)>) -> Option<(Vec<Place>, usize)> {
    let mut lengths: Vec<_> = entries.collect();
    let mut end = lengths.len().checked_mul(size_of::<ArenaEntry>())?.checked_add(ENTRIES_AT)?;
    let mut places = Vec::with_capacity(lengths.len());
    for (task, len, digest) in lengths.drain(..) {
        let len = usize::try_from(len).ok()?;
        let padded = len.checked_next_multiple_of(WORD)?;
        places.push(Place { task, bytes: end..end.checked_add(len)?, digest });
        end = end.checked_add(padded)?;
    }
    Some((places, end))
}

fn directory(generation: u64, places: &[Place]) -> Digest {
    let mut hash = Sha256::new().chain_update(generation.to_le_bytes());
    for place in places {
        hash.update(place.task.to_le_bytes());
        hash.update((place.bytes.len() as u64).to_le_bytes());
        hash.update(place.digest);
    }
    hash.finalize().into()
}

fn store_digest(words: &[AtomicU64; 4], digest: &Digest) {
    for (word, bytes) in words.iter().zip(digest.as_chunks().0) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
}

fn load_digest(words: &[AtomicU64; 4]) -> Digest {
    let mut digest = [0; 32];
    for (word, bytes) in words.iter().zip(digest.as_chunks_mut().0) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    digest
}

fn name(home: &Path, generation: u64) -> Result<String> {
    Ok(format!("{}arena-{generation:016x}", prefix(home)?))
}

/// The arenas there are, the oldest first.
fn names(home: &Path) -> Result<Vec<(u64, String)>> {
    let prefix = format!("{}arena-", prefix(home)?);
    let names = Segment::names(&prefix)?;
    let generation = |name: &String| u64::from_str_radix(name.get(prefix.len()..)?, 16).ok();
    Ok(names.into_iter().filter_map(|name| Some((generation(&name)?, name))).collect())
}

/// Where there is no room, what to do is not what a task's ring would need.
fn no_room(e: Error) -> Error {
    if e.kind != Kind::Full {
        return e.context("the parameters of the tasks could not be put into shared memory");
    }
    let hint = "Give /dev/shm more room (mount -o remount,size=…; docker run --shm-size=…), then \
                ssync reload.";
    Error { hint: Some(hint.to_owned()), ..e.context("the parameters of the tasks") }
}

fn gone(name: &str) -> Error {
    Error::new(Kind::System, "the task's parameters are gone from shared memory")
        .detail(format!("shared memory {name}"))
        .hint(
            "The daemon that had put them there was killed, or somebody has removed them \
             (systemd's RemoveIPC=yes does at logout). A daemon that runs puts them there again \
             before it starts the next task.",
        )
}

fn damaged(name: &str) -> Error {
    Error::new(Kind::System, "the task's parameters in shared memory are damaged")
        .detail(format!("shared memory {name}"))
        .hint(
            "Something else of this user has written there. The daemon puts them there again \
             before it starts the next task.",
        )
}

#[cfg(test)]
mod tests;
