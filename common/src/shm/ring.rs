//! The batch ring: a few large slots through which batches go from a task process to its writers,
//! read in place, and small answers come back. It has no name: the task process hands it to each writer as
//! a descriptor, over their channel, so that nothing of a row outlives the processes that move it.
//!
//! One word per slot, its *control word*, holds state, number of readers and generation together,
//! so that every step of a slot's life is one compare-and-swap, and a process that believes in an
//! older generation can change nothing. `README.md` has the table of states.

mod control;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use arrow_buffer::Buffer;

use self::control::{Control, State};
use super::segment::{HEADER_BYTES, Layout, Segment, shared_struct};
use super::writer_entry::WriterEntry;
use crate::config::WRITERS_MAX;
use crate::error::{Error, Kind, Result};
use crate::process::identity::ProcessToken;
use crate::process::spawn::Exit;

/// Layout of the ring's segment.
pub const LAYOUT: Layout = Layout { kind: 2, version: 1, name: "batch ring", persistent: false };
/// What lists of open files call it.
const LABEL: &str = "ssync-ring";
/// Bytes that a verdict may have.
pub const VERDICT_BYTES: usize = 64 << 10;
/// Slots that a ring may have.
pub const SLOTS_MAX: usize = 256;
/// Bytes that a slot may have: more than the largest packet of any server, and small enough that
/// sums never overflow.
pub const SLOT_BYTES_MAX: usize = 8 << 30;
/// Slots begin at a multiple of this: pages, and thereby Arrow's 64 bytes.
const SLOT_ALIGN: usize = 4096;

shared_struct! {
    struct RingHeader (64) {
        slots: AtomicU32,
        writers: AtomicU32,
        slot_bytes: AtomicU64,
    }
}
shared_struct! {
    struct SlotHeader (64) {
        control: AtomicU64,
        /// Bytes of the batch. Written by the task process while it fills.
        used: AtomicU64,
        /// Who reads: token of the writer. Written by the writer after it took the slot.
        holder: AtomicU64,
        /// Bytes of the verdict. Written by the writer before it publishes the verdict.
        verdict_len: AtomicU64,
    }
}
const _: () = assert!(size_of::<RingHeader>() == 64);
const _: () = assert!(size_of::<SlotHeader>() == 64);
const _: () = assert!(VERDICT_BYTES.is_multiple_of(64) && SLOT_ALIGN.is_multiple_of(64));
const _: () = assert!(HEADER_BYTES.is_multiple_of(64));

/// Where everything lies; computed alike on both sides from three numbers, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Geometry {
    slots: usize,
    slot_bytes: usize,
    writers: usize,
}

impl Geometry {
    fn new(slots: usize, slot_bytes: usize, writers: usize) -> Result<Geometry> {
        let fits = (1..=SLOTS_MAX).contains(&slots)
            && (1..=SLOT_BYTES_MAX).contains(&slot_bytes)
            && writers <= usize::from(WRITERS_MAX);
        if !fits {
            crate::bail!(
                Kind::Internal,
                "a batch ring of {slots} slots of {slot_bytes} bytes for {writers} writers is out of \
                 bounds"
            );
        }
        Ok(Geometry { slots, slot_bytes, writers })
    }

    fn header(self) -> usize {
        HEADER_BYTES
    }

    fn writer(self, n: usize) -> usize {
        self.header() + size_of::<RingHeader>() + n * size_of::<WriterEntry>()
    }

    fn slot(self, slot: usize) -> usize {
        self.writer(self.writers) + slot * size_of::<SlotHeader>()
    }

    fn verdict(self, slot: usize) -> usize {
        self.slot(self.slots) + slot * VERDICT_BYTES
    }

    fn data(self, slot: usize) -> usize {
        self.verdict(self.slots).next_multiple_of(SLOT_ALIGN)
            + slot * self.slot_bytes.next_multiple_of(SLOT_ALIGN)
    }

    fn bytes(self) -> usize {
        self.data(self.slots)
    }
}

struct Inner {
    segment: Segment,
    geometry: Geometry,
}

/// The batch ring, as the task process or as a writer sees it. Clones share one mapping.
///
/// The task process calls [`Ring::create`], [`Ring::fill`], [`Ring::verdict`], [`Ring::requeue`],
/// [`Ring::discard`] and [`Ring::reclaim`]; a writer calls [`Ring::receive`], [`Ring::buffer`] and
/// [`Ring::put_verdict`]. Every wrong order is an error, never a torn batch.
#[derive(Clone)]
pub struct Ring(Arc<Inner>);

impl Ring {
    /// Creates a ring of `slots` slots of `slot_bytes` bytes and with entries for `writers`
    /// writers (10 at the most). Its memory is gone with the last process that has it.
    ///
    /// # Errors
    /// [`Kind::Full`] when memory has no room.
    pub fn create(slots: usize, slot_bytes: usize, writers: usize) -> Result<Ring> {
        let geometry = Geometry::new(slots, slot_bytes, writers)?;
        let segment = Segment::nameless(LABEL, LAYOUT, geometry.bytes(), |segment| {
            let header: &RingHeader = segment.at(geometry.header())?;
            header.slots.store(slots as u32, Ordering::Relaxed);
            header.writers.store(writers as u32, Ordering::Relaxed);
            header.slot_bytes.store(slot_bytes as u64, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(Ring(Arc::new(Inner { segment, geometry })))
    }

    /// What the ring is handed over by.
    ///
    /// # Errors
    /// Never for a ring; the segment beneath answers.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.0.segment.descriptor()
    }

    /// Maps the ring that came with a message as this descriptor.
    ///
    /// # Errors
    /// When there is none, or it is no ring of this layout.
    pub fn receive(descriptor: Option<OwnedFd>) -> Result<Ring> {
        let Some(descriptor) = descriptor else {
            crate::bail!(Kind::Internal, "a message came without its batch ring");
        };
        let segment = Segment::from_descriptor(descriptor, LAYOUT)?;
        // Read once, checked, and never looked at again.
        let header: &RingHeader = segment.at(HEADER_BYTES)?;
        let geometry = Geometry::new(
            header.slots.load(Ordering::Relaxed) as usize,
            usize::try_from(header.slot_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
            header.writers.load(Ordering::Relaxed) as usize,
        )?;
        if geometry.bytes() != segment.bytes() {
            crate::bail!(
                Kind::System,
                "a batch ring has {} bytes instead of {}",
                segment.bytes(),
                geometry.bytes()
            );
        }
        Ok(Ring(Arc::new(Inner { segment, geometry })))
    }

    /// A ring of its own for one batch that is wider than this ring's slots: one slot of
    /// `slot_bytes` bytes (slot 0), no writer entries. Gone when the caller drops it and the
    /// writer has let go.
    ///
    /// # Errors
    /// As [`Ring::create`].
    pub fn side(&self, slot_bytes: usize) -> Result<Ring> {
        Ring::create(1, slot_bytes, 0)
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.0.geometry.slots
    }

    /// Bytes that a slot holds.
    pub fn slot_bytes(&self) -> usize {
        self.0.geometry.slot_bytes
    }

    /// Number of writer entries.
    pub fn writers(&self) -> usize {
        self.0.geometry.writers
    }

    /// The entry of writer `n`, from 0.
    ///
    /// # Errors
    /// [`Kind::Internal`] when there is none.
    pub fn writer(&self, n: usize) -> Result<&WriterEntry> {
        if n >= self.0.geometry.writers {
            crate::bail!(Kind::Internal, "the batch ring has no writer {n}");
        }
        self.0.segment.at(self.0.geometry.writer(n))
    }

    /// Task process: fills a slot that is free, answered or reclaimed; `write` returns the bytes it
    /// used. The generation of the new batch. When `write` fails, the slot is free again.
    ///
    /// # Errors
    /// Whatever `write` returns; [`Kind::Internal`] when a writer may still read the slot.
    pub fn fill(&self, slot: usize, write: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<u64> {
        let header = self.slot(slot)?;
        let (_, filling) = self.step(slot, |c| match c.state {
            State::Free | State::Answered | State::Reclaimed if c.leases == 0 => {
                Some(Control { state: State::Filling, leases: 0, generation: c.generation + 1 })
            }
            _ => None,
        })?;
        // Gives the slot back on an error and on a panic.
        let mut filling = Filling { header, control: filling, done: false };
        let bytes = self.slot_bytes();
        // SAFETY: nobody else touches these bytes. The step to `Filling` succeeded, so this
        // call alone owns the slot: no other `fill` gets past the same step, `buffer` gives out
        // only slots that are full, and the buffers given out before are all dropped (no
        // leases) or their process is dead and reaped (`reclaim`).
        let target = unsafe { self.0.segment.bytes_mut(self.0.geometry.data(slot), bytes) }?;
        let used = write(target)?;
        if used > bytes {
            crate::bail!(Kind::Internal, "{used} bytes were written into a slot of {bytes}");
        }
        header.used.store(used as u64, Ordering::Relaxed);
        header.holder.store(0, Ordering::Relaxed);
        header.verdict_len.store(0, Ordering::Relaxed);
        filling.done = true;
        let full = Control { state: State::Full, ..filling.control };
        // Release: pairs with the acquire in `step`, called by `buffer`.
        header.control.store(full.pack(), Ordering::Release);
        Ok(full.generation)
    }

    /// Writer: the batch of that generation, in place. The slot is held until the buffer and
    /// everything cut from it is dropped; the mapping stays as long.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the slot holds no such batch, or another writer has it.
    pub fn buffer(&self, slot: usize, generation: u64) -> Result<Buffer> {
        let header = self.slot(slot)?;
        let me = ProcessToken::own()?.as_u64();
        let (before, _) =
            self.step(slot, |c| {
                let free_to_take = c.state == State::Full
                    || (c.state == State::Held && header.holder.load(Ordering::Acquire) == me);
                (free_to_take && c.generation == generation && c.leases < u16::MAX)
                    .then_some(Control { state: State::Held, leases: c.leases + 1, ..c })
            })?;
        if before.state == State::Full {
            header.holder.store(me, Ordering::Release);
        }
        let lease = Lease { ring: self.0.clone(), slot, generation };
        let used = usize::try_from(header.used.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if used > self.slot_bytes() {
            crate::bail!(Kind::Internal, "slot {slot} says that it holds {used} bytes");
        }
        let at = self.0.segment.bytes_at(self.0.geometry.data(slot), used)?;
        // SAFETY: `used` bytes lie inside the mapping, which `lease` keeps; nobody writes them
        // while the lease lives: the state is `Held`, and `fill` wants no leases.
        Ok(unsafe { Buffer::from_custom_allocation(at, used, Arc::new(lease)) })
    }

    /// Writer: answers the batch of that generation and lets go of the slot.
    ///
    /// # Errors
    /// [`Kind::Full`] when the verdict is longer than [`VERDICT_BYTES`]; [`Kind::Internal`] when
    /// a buffer of the batch is still alive (drop the record batch first) or the slot holds
    /// another batch.
    pub fn put_verdict(&self, slot: usize, generation: u64, verdict: &[u8]) -> Result<()> {
        let header = self.slot(slot)?;
        if verdict.len() > VERDICT_BYTES {
            crate::bail!(
                Kind::Full,
                "a verdict of {} bytes does not fit {VERDICT_BYTES}",
                verdict.len()
            );
        }
        let answerable = |c: Control| {
            c.generation == generation
                && c.leases == 0
                && matches!(c.state, State::Full | State::Held)
        };
        // Asked before a byte is written: the area may belong to a later batch by now.
        if !answerable(self.control(slot)?) {
            return Err(self.refusal(slot, self.control(slot)?));
        }
        let area: &[AtomicU8] =
            self.0.segment.slice_at(self.0.geometry.verdict(slot), VERDICT_BYTES)?;
        for (cell, byte) in area.iter().zip(verdict) {
            cell.store(*byte, Ordering::Relaxed);
        }
        header.verdict_len.store(verdict.len() as u64, Ordering::Relaxed);
        // The step releases: pairs with the acquire in `verdict`.
        self.step(slot, |c| answerable(c).then_some(Control { state: State::Answered, ..c }))?;
        Ok(())
    }

    /// Task process: the verdict on the batch of that generation.
    ///
    /// # Errors
    /// [`Kind::Internal`] when there is none.
    pub fn verdict(&self, slot: usize, generation: u64) -> Result<Vec<u8>> {
        let header = self.slot(slot)?;
        let control = self.control(slot)?;
        if control.state != State::Answered || control.generation != generation {
            return Err(self.refusal(slot, control));
        }
        let len = usize::try_from(header.verdict_len.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if len > VERDICT_BYTES {
            crate::bail!(Kind::Internal, "slot {slot} says that its verdict has {len} bytes");
        }
        let area: &[AtomicU8] = self.0.segment.slice_at(self.0.geometry.verdict(slot), len)?;
        Ok(area.iter().map(|cell| cell.load(Ordering::Relaxed)).collect())
    }

    /// Task process: makes a batch that was answered, reclaimed, or never taken ready once more,
    /// as it is, under a new generation, which is returned.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a writer holds it.
    pub fn requeue(&self, slot: usize, generation: u64) -> Result<u64> {
        let header = self.slot(slot)?;
        let (_, taken) = self.step(slot, |c| match c.state {
            State::Full | State::Answered | State::Reclaimed
                if c.generation == generation && c.leases == 0 =>
            {
                Some(Control { state: State::Filling, leases: 0, generation: c.generation + 1 })
            }
            _ => None,
        })?;
        header.holder.store(0, Ordering::Relaxed);
        header.verdict_len.store(0, Ordering::Relaxed);
        let full = Control { state: State::Full, ..taken };
        // Release: as in `fill`.
        header.control.store(full.pack(), Ordering::Release);
        Ok(full.generation)
    }

    /// Task process: frees the slot of a batch that no writer has taken.
    ///
    /// # Errors
    /// [`Kind::Internal`] when one has.
    pub fn discard(&self, slot: usize, generation: u64) -> Result<()> {
        self.step(slot, |c| {
            (c.state == State::Full && c.generation == generation)
                .then_some(Control { state: State::Free, ..c })
        })?;
        Ok(())
    }

    /// Task process: takes a batch back from a writer that is dead and reaped, which `dead`
    /// proves. True: the batch is here again, for [`Ring::requeue`] or [`Ring::fill`]; false: the
    /// writer answered before it died, read the [`Ring::verdict`].
    ///
    /// # Errors
    /// [`Kind::Internal`] when somebody else holds the slot, or it holds another batch.
    pub fn reclaim(&self, slot: usize, generation: u64, dead: &Exit) -> Result<bool> {
        let header = self.slot(slot)?;
        let (before, _) = self.step(slot, |c| {
            // 0: it died between taking the slot and signing for it, or never took it.
            let holder = header.holder.load(Ordering::Acquire);
            let its_own = holder == 0 || holder == dead.token().as_u64();
            match c.state {
                _ if c.generation != generation => None,
                State::Answered => Some(c),
                State::Full | State::Held if its_own => {
                    Some(Control { state: State::Reclaimed, leases: 0, ..c })
                }
                _ => None,
            }
        })?;
        Ok(before.state != State::Answered)
    }

    fn slot(&self, slot: usize) -> Result<&SlotHeader> {
        if slot >= self.0.geometry.slots {
            crate::bail!(Kind::Internal, "the batch ring has no slot {slot}");
        }
        self.0.segment.at(self.0.geometry.slot(slot))
    }

    fn control(&self, slot: usize) -> Result<Control> {
        // Acquire: pairs with the release of whoever moved the slot to this state.
        let word = self.slot(slot)?.control.load(Ordering::Acquire);
        Control::unpack(word).ok_or_else(|| damaged(slot, word))
    }

    /// Moves the slot on by one compare-and-swap: `next` says where to, or that it may not be.
    /// Control before and after.
    fn step(
        &self,
        slot: usize,
        next: impl Fn(Control) -> Option<Control>,
    ) -> Result<(Control, Control)> {
        let header = self.slot(slot)?;
        let mut word = header.control.load(Ordering::Acquire);
        loop {
            let before = Control::unpack(word).ok_or_else(|| damaged(slot, word))?;
            let Some(after) = next(before) else { return Err(self.refusal(slot, before)) };
            if after.generation > Control::GENERATION_MAX {
                crate::bail!(Kind::Internal, "slot {slot} has run out of generations");
            }
            match header.control.compare_exchange_weak(
                word,
                after.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok((before, after)),
                Err(seen) => word = seen,
            }
        }
    }

    fn refusal(&self, slot: usize, c: Control) -> Error {
        Error::new(Kind::Internal, format!("slot {slot} of the batch ring is not ready for this"))
            .detail(format!(
                "state {:?}, {} buffers alive, generation {}",
                c.state, c.leases, c.generation
            ))
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({:?})", self.0.geometry)
    }
}

fn damaged(slot: usize, word: u64) -> Error {
    Error::new(
        Kind::Internal,
        format!("slot {slot} of the batch ring is damaged: control {word:x}"),
    )
}

/// Frees a slot whose filling did not come to its end.
struct Filling<'a> {
    header: &'a SlotHeader,
    control: Control,
    done: bool,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if !self.done {
            let free = Control { state: State::Free, ..self.control };
            self.header.control.store(free.pack(), Ordering::Release);
        }
    }
}

/// Keeps a slot held, and the mapping alive, for one [`Buffer`] and all its slices.
struct Lease {
    ring: Arc<Inner>,
    slot: usize,
    generation: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let ring = Ring(self.ring.clone());
        // Cannot fail for a lease that counts; a damaged word stays damaged and is found by the
        // next who looks.
        let _ = ring.step(self.slot, |c| {
            (c.state == State::Held && c.generation == self.generation && c.leases > 0)
                .then_some(Control { leases: c.leases - 1, ..c })
        });
    }
}

#[cfg(test)]
mod tests;
