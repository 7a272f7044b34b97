//! Bytes in shared memory that are read whole or not at all.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use super::segment::shared_struct;

/// Tries before a reader gives up; a write takes microseconds, so this is long.
const TRIES_MAX: u32 = 2_000;
/// Tries without giving the processor away.
const TRIES_HOT: u32 = 64;

/// Why nothing could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// A write never ended: its writer died in the midst of it, or is stopped.
    Unfinished,
    /// The recorded length is impossible: the memory is damaged.
    Damaged,
}

shared_struct! {
    /// What goes in front of bytes that are kept whole.
    pub struct SeqHeader (16) {
        /// Odd while a write is under way.
        sequence: AtomicU64,
        len: AtomicU64,
    }
}
const _: () = assert!(size_of::<SeqHeader>() == 16);

/// A header and the room behind it, borrowed from a segment.
#[derive(Clone, Copy)]
pub struct SeqBytes<'a> {
    header: &'a SeqHeader,
    room: &'a [AtomicU8],
}

impl<'a> SeqBytes<'a> {
    /// Of this header and this room.
    pub fn new(header: &'a SeqHeader, room: &'a [AtomicU8]) -> Self {
        SeqBytes { header, room }
    }

    /// Bytes that fit.
    pub fn room(&self) -> usize {
        self.room.len()
    }

    /// Replaces the content; what does not fit is not written, and false returned. The caller is
    /// the only writer at this time. Also mends what a dead writer left unfinished.
    #[must_use]
    pub fn write(&self, bytes: &[u8]) -> bool {
        if bytes.len() > self.room.len() {
            return false;
        }
        let odd = self.header.sequence.load(Ordering::Relaxed) | 1;
        self.header.sequence.store(odd, Ordering::Relaxed);
        // Release: no byte below becomes visible before the odd number does. Pairs with the
        // acquire fence in `read`.
        fence(Ordering::Release);
        self.header.len.store(bytes.len() as u64, Ordering::Relaxed);
        for (cell, byte) in self.room.iter().zip(bytes) {
            cell.store(*byte, Ordering::Relaxed);
        }
        // Release: who sees the even number sees every byte. Pairs with the acquire in `read`.
        self.header.sequence.store(odd.wrapping_add(1), Ordering::Release);
        true
    }

    /// The content as one write left it.
    ///
    /// # Errors
    /// [`Torn`] after a bounded number of tries.
    pub fn read(&self) -> Result<Vec<u8>, Torn> {
        let mut why = Torn::Unfinished;
        for attempt in 0..TRIES_MAX {
            if attempt >= TRIES_HOT {
                std::thread::yield_now();
            }
            let before = self.header.sequence.load(Ordering::Acquire);
            if before % 2 == 1 {
                std::hint::spin_loop();
                why = Torn::Unfinished;
                continue;
            }
            let len =
                usize::try_from(self.header.len.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
            let bytes: Option<Vec<u8>> = self
                .room
                .get(..len)
                .map(|cells| cells.iter().map(|c| c.load(Ordering::Relaxed)).collect());
            // Acquire: the bytes above were read before the number below.
            fence(Ordering::Acquire);
            if self.header.sequence.load(Ordering::Relaxed) != before {
                why = Torn::Unfinished;
                continue;
            }
            match bytes {
                Some(bytes) => return Ok(bytes),
                None => return Err(Torn::Damaged),
            }
        }
        Err(why)
    }

    /// Leaves the state that a writer leaves which dies half-way through a write.
    #[cfg(test)]
    pub fn begin_and_abandon(&self) {
        self.header.sequence.fetch_or(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    struct Memory {
        header: SeqHeader,
        room: Vec<AtomicU8>,
    }

    fn memory(room: usize) -> Memory {
        Memory {
            header: SeqHeader { sequence: AtomicU64::new(0), len: AtomicU64::new(0) },
            room: (0..room).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    #[test]
    fn readers_see_whole_writes_only() {
        let memory = memory(512);
        let cell = SeqBytes::new(&memory.header, &memory.room);
        let done = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                for i in 0usize.. {
                    assert!(cell.write(&vec![i as u8; 1 + (i * 7) % 500]));
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    // Far more often than any task reports, and still not all the time.
                    (0..200).for_each(|_| std::hint::spin_loop());
                }
            });
            let (mut whole, mut torn, mut last) = (0, None, None);
            while whole < 1_000 && torn.is_none() {
                if let Ok(bytes) = cell.read() {
                    // Only what has changed since tells anything.
                    whole += u32::from(last.as_ref() != Some(&bytes));
                    torn = bytes.windows(2).any(|w| w[0] != w[1]).then(|| bytes.clone());
                    last = Some(bytes);
                }
            }
            done.store(true, Ordering::Relaxed);
            assert_eq!(torn, None);
        });
    }

    #[test]
    fn a_write_that_never_ended_is_reported_and_the_next_one_mends_it() {
        let memory = memory(8);
        let cell = SeqBytes::new(&memory.header, &memory.room);
        assert!(cell.write(b"whole"));
        cell.begin_and_abandon();
        assert_eq!(cell.read(), Err(Torn::Unfinished));
        assert!(cell.write(b"again"));
        assert_eq!(cell.read().unwrap(), b"again");
        memory.header.len.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(cell.read(), Err(Torn::Damaged));
        assert!(!cell.write(b"too long for it"));
    }
}
