//! One mapped shared-memory object: made privately, published last, refused when it is not what
//! the reader was built for. It has a name, by which anybody finds it, and one owner, who unlinks it;
//! or it has none, and is handed over as a descriptor (see [`super::nameless`]).
//!
//! The mapping of a named one is the crate `shared_memory`'s. Added here: real memory behind every
//! page before one is touched, a header with magic, layout and size, an owner's lock that dies with the
//! owner, and typed access that can neither leave the mapping nor tear a value.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, posix_fallocate};
use nix::sys::mman::{MmapAdvise, madvise, shm_open, shm_unlink};
use nix::sys::stat::Mode;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::nameless::{self, Mapping};
use crate::error::{Error, Kind, Result};
use crate::process::identity::ProcessIdentity;

/// Where Linux keeps shared-memory objects.
const SHM_DIR: &str = "/dev/shm";
/// First eight bytes of every segment: `ssyncshm`.
const MAGIC: u64 = u64::from_le_bytes(*b"ssyncshm");
/// Bytes in front of the body.
pub const HEADER_BYTES: usize = 128;
/// Creating gives up when a cleaner took the fresh object away this often; once is rare.
const CREATE_ATTEMPTS_MAX: u32 = 8;

/// What a segment holds, and the version of its layout. Any change of a layout raises the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Number of the kind, for the header.
    pub kind: u32,
    /// Version of the kind's layout; never 0, which stands for "not published".
    pub version: u32,
    /// Name for people.
    pub name: &'static str,
    /// Stays when its creator ends (the task table); else its creator is its one owner.
    pub persistent: bool,
}

/// Types that may lie in shared memory.
///
/// # Safety
/// Every bit pattern is a valid value, and every field changes only by atomic operations, so that
/// a shared reference stays sound whatever another process does. [`shared_struct!`] implements it
/// for structs whose fields all have it.
pub unsafe trait Shared: Sync {}

// SAFETY: an atomic integer of any bit pattern is valid, and changes atomically only.
unsafe impl Shared for AtomicU8 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU64 {}
// SAFETY: an array is its elements, without anything between them.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Declares a struct with fixed layout for shared memory; every field has to be [`Shared`].
macro_rules! shared_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident ($align:literal) {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty,)+
    }) => {
        $(#[$meta])*
        #[repr(C, align($align))]
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $ty,)+ }
        // SAFETY: the function below does not compile unless every field is `Shared`; padding
        // is never read.
        unsafe impl $crate::shm::segment::Shared for $name {}
        const _: () = {
            const fn shared<T: $crate::shm::segment::Shared>() {}
            $(shared::<$ty>();)+
        };
    };
}
pub(crate) use shared_struct;

shared_struct! {
    struct Header (8) {
        magic: AtomicU64,
        /// 0 until everything else is in place.
        version: AtomicU32,
        kind: AtomicU32,
        bytes: AtomicU64,
        persistent: AtomicU32,
        owner_pid: AtomicU32,
        owner_start_ticks: AtomicU64,
        owner_boot_id: [AtomicU64; 2],
        owner_pid_namespace: AtomicU64,
        created_ms: AtomicU64,
    }
}
const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);
const _: () = assert!(std::mem::offset_of!(Header, version) == 8);
const _: () = assert!(std::mem::offset_of!(Header, kind) == 12);
const _: () = assert!(std::mem::offset_of!(Header, bytes) == 16);
const _: () = assert!(std::mem::offset_of!(Header, persistent) == 24);
// Two processes of different builds meet here.
const _: () = assert!(cfg!(target_endian = "little"));

/// A mapped segment. Dropping the owner's unlinks it; every mapping stays good until it is
/// dropped itself.
pub struct Segment {
    object: Object,
    /// Its name, or what a nameless one is called in messages.
    name: String,
    bytes: usize,
}

enum Object {
    // The mapping is declared first, so that the name goes before the owner's lock does.
    Named { map: Shmem, owner_lock: Option<Flock<OwnedFd>> },
    Nameless { map: Mapping, fd: OwnedFd },
}

// SAFETY: `Shmem` and `Mapping` are neither only because they hold a raw pointer. The mapping belongs to the
// process, not to a thread; its address and length never change while the value lives, all access
// goes through atomics or through `bytes_mut`, whose caller answers for exclusiveness, and
// unmapping in `drop` may happen on any thread.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// Creates `name` (`/…`) with `bytes` bytes in all, header included, zeroed and backed by real
    /// memory; `init` fills it before anybody else can take it for valid.
    ///
    /// # Errors
    /// [`Kind::Full`] when shared memory has no room; an existing object of that name is an error.
    pub fn create(
        name: &str,
        layout: Layout,
        bytes: usize,
        init: impl FnOnce(&Segment) -> Result<()>,
    ) -> Result<Segment> {
        if bytes < HEADER_BYTES {
            crate::bail!(Kind::Internal, "a segment of {bytes} bytes has no room for its header");
        }
        for _ in 0..CREATE_ATTEMPTS_MAX {
            let Some((map, lock)) = create_locked(name, bytes)? else { continue };
            let object = Object::Named { map, owner_lock: Some(lock) };
            let mut segment = Segment { object, name: name.to_owned(), bytes };
            segment.fill_in(layout, init)?;
            if layout.persistent {
                segment.disown();
            }
            return Ok(segment);
        }
        Err(Error::new(Kind::System, format!("could not create shared memory {name}"))
            .detail("another process removed it each time before it was ready"))
    }

    /// Creates a segment that has no name: who is to have it is given [`Segment::descriptor`].
    /// Otherwise as [`Segment::create`]; `label` is what messages and lists of open files call it.
    ///
    /// # Errors
    /// [`Kind::Full`] when memory has no room.
    pub fn nameless(
        label: &str,
        layout: Layout,
        bytes: usize,
        init: impl FnOnce(&Segment) -> Result<()>,
    ) -> Result<Segment> {
        let fd = nameless::create(label, bytes.max(HEADER_BYTES))?;
        let segment = Segment::of_descriptor(fd, label)?;
        segment.fill_in(layout, init)?;
        Ok(segment)
    }

    /// Maps the nameless segment that this descriptor, which another process handed over, stands for.
    ///
    /// # Errors
    /// As [`Segment::open`]; and when the descriptor is that of anything but sealed memory.
    pub fn from_descriptor(fd: OwnedFd, layout: Layout) -> Result<Segment> {
        // Sealed, so that its size is what it is, and no page of the mapping can vanish.
        nameless::check_sealed(&fd)?;
        let segment = Segment::of_descriptor(fd, layout.name)?;
        segment.keep_out_of_core_dumps()?;
        segment.check_published(layout)?;
        Ok(segment)
    }

    fn of_descriptor(fd: OwnedFd, label: &str) -> Result<Segment> {
        let bytes = usize::try_from(nix::sys::stat::fstat(&fd)?.st_size).unwrap_or(0);
        if bytes < HEADER_BYTES {
            crate::bail!(Kind::System, "shared memory of {bytes} bytes has no room for a header");
        }
        let map = Mapping::new(&fd, bytes)?;
        Ok(Segment { object: Object::Nameless { map, fd }, name: label.to_owned(), bytes })
    }

    /// What a nameless segment is handed over by.
    ///
    /// # Errors
    /// [`Kind::Internal`] for one that has a name.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        match &self.object {
            Object::Nameless { fd, .. } => Ok(fd.as_fd()),
            Object::Named { .. } => {
                crate::bail!(Kind::Internal, "shared memory {} goes by its name", self.name)
            }
        }
    }

    /// Maps the existing segment `name`; `None` when there is none.
    ///
    /// # Errors
    /// A segment with another magic number, kind, version or size is refused, naming both.
    pub fn open(name: &str, layout: Layout) -> Result<Option<Segment>> {
        let file = match shm_open(name, OFlag::O_RDWR, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(Error::from(e).context(format!("could not open {name}"))),
        };
        // Looked at through the descriptor before it is mapped: a page that has no memory behind
        // it yet would be a fatal signal in a mapping, and is zeros here.
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut head = [0u8; HEADER_BYTES];
        if bytes >= HEADER_BYTES {
            file.read_exact_at(&mut head, 0)?;
        }
        RawHeader::read(&head).check(name, layout, bytes)?;
        let map = match ShmemConf::new().os_id(name).open() {
            Ok(map) => map,
            Err(ShmemError::MapOpenFailed(code)) if code == Errno::ENOENT as u32 => {
                return Ok(None);
            }
            Err(e) => return Err(shmem_error(name, &e)),
        };
        if map.len() != bytes {
            crate::bail!(Kind::System, "shared memory {name} changed while it was being opened");
        }
        let object = Object::Named { map, owner_lock: None };
        let segment = Segment { object, name: name.to_owned(), bytes };
        segment.keep_out_of_core_dumps()?;
        // The name may meanwhile stand for another object; what counts is what is mapped.
        segment.check_published(layout)?;
        Ok(Some(segment))
    }

    /// The name, as [`Segment::open`] takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in all, header included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the name still stands for this object; false after somebody removed it (systemd's
    /// `RemoveIPC`, an operator), so that newcomers would not meet here.
    pub fn is_linked(&self) -> bool {
        match (shm_open(self.name.as_str(), OFlag::O_RDONLY, Mode::empty()), self.map_inode()) {
            (Ok(fd), Some(inode)) => {
                File::from(fd).metadata().is_ok_and(|there| there.ino() == inode)
            }
            _ => false,
        }
    }

    /// The value at `offset`.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it would not lie wholly inside the body, or not aligned.
    pub fn at<T: Shared>(&self, offset: usize) -> Result<&T> {
        let at = self.checked(offset, size_of::<T>(), align_of::<T>(), HEADER_BYTES)?;
        // SAFETY: `checked` proved that the value lies inside the mapping, which lives as long as
        // `self`, and is aligned; `Shared` makes any content valid and all changes atomic.
        Ok(unsafe { at.cast::<T>().as_ref() })
    }

    /// `count` values from `offset` on.
    ///
    /// # Errors
    /// As [`Segment::at`].
    pub fn slice_at<T: Shared>(&self, offset: usize, count: usize) -> Result<&[T]> {
        let bytes = size_of::<T>().checked_mul(count).ok_or_else(|| self.outside(offset))?;
        let at = self.checked(offset, bytes, align_of::<T>(), HEADER_BYTES)?;
        // SAFETY: as in `at`, for all `count` values together.
        Ok(unsafe { std::slice::from_raw_parts(at.cast::<T>().as_ptr(), count) })
    }

    /// Where `len` bytes from `offset` on lie.
    ///
    /// # Errors
    /// [`Kind::Internal`] when they are not all inside the body.
    pub fn bytes_at(&self, offset: usize, len: usize) -> Result<NonNull<u8>> {
        self.checked(offset, len, 1, HEADER_BYTES)
    }

    /// The bytes at `offset` as plain memory.
    ///
    /// # Safety
    /// Until the slice is dropped nobody else, in this process or another, may read or write
    /// these bytes.
    ///
    /// # Errors
    /// As [`Segment::bytes_at`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self, offset: usize, len: usize) -> Result<&mut [u8]> {
        let at = self.bytes_at(offset, len)?;
        // SAFETY: inside the mapping by `bytes_at`; initialised, since the object was created
        // zeroed; exclusive by this function's contract.
        Ok(unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), len) })
    }

    /// The names that begin with `prefix` (`/…`), in order.
    ///
    /// # Errors
    /// When the directory of shared memory cannot be read.
    pub fn names(prefix: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(SHM_DIR)? {
            let file_name = entry?.file_name();
            names.extend(
                file_name.to_str().map(|n| format!("/{n}")).filter(|n| n.starts_with(prefix)),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Removes `name` if it is a segment whose owner is gone, or never came to be one. A
    /// persistent one stays. Whether it was removed.
    ///
    /// # Errors
    /// When it cannot be looked at or removed.
    pub fn unlink_if_ownerless(name: &str) -> Result<bool> {
        let fd = match shm_open(name, OFlag::O_RDWR, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::EACCES) => return Ok(false),
            Err(e) => return Err(Error::from(e).context(format!("could not open {name}"))),
        };
        // An owner holds this lock as long as it lives, in whatever container.
        let Ok(lock) = Flock::lock(fd, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
        if !is_named(&*lock, name)? {
            return Ok(false);
        }
        let file = File::from(lock.as_fd().try_clone_to_owned()?);
        let mut head = [0u8; HEADER_BYTES];
        if file.metadata()?.len() >= HEADER_BYTES as u64 {
            file.read_exact_at(&mut head, 0)?;
            let header = RawHeader::read(&head);
            if header.version != 0 && header.magic == MAGIC && header.persistent != 0 {
                return Ok(false);
            }
        }
        Segment::unlink(name)?;
        Ok(true)
    }

    /// Removes the name, whoever owns the object; mappings stay good. A missing one is fine.
    pub fn unlink(name: &str) -> Result<()> {
        match shm_unlink(name) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(Error::from(e).context(format!("could not remove {name}"))),
        }
    }

    fn header(&self) -> Result<&Header> {
        let at = self.checked(0, size_of::<Header>(), align_of::<Header>(), 0)?;
        // SAFETY: as in `at`.
        Ok(unsafe { at.cast::<Header>().as_ref() })
    }

    /// Makes fresh memory a segment: everything else first, the version word last.
    fn fill_in(&self, layout: Layout, init: impl FnOnce(&Segment) -> Result<()>) -> Result<()> {
        self.keep_out_of_core_dumps()?;
        init(self)?;
        self.publish(layout)
    }

    /// Has the name stay when this value goes, and anybody take it away.
    fn disown(&mut self) {
        if let Object::Named { map, owner_lock } = &mut self.object {
            map.set_owner(false);
            *owner_lock = None;
        }
    }

    fn check_published(&self, layout: Layout) -> Result<()> {
        let header = self.header()?;
        // Acquire: pairs with the release in `publish`, so all that `init` wrote is seen.
        let seen = RawHeader {
            version: header.version.load(Ordering::Acquire),
            magic: header.magic.load(Ordering::Relaxed),
            kind: header.kind.load(Ordering::Relaxed),
            bytes: header.bytes.load(Ordering::Relaxed),
            persistent: header.persistent.load(Ordering::Relaxed),
        };
        seen.check(&self.name, layout, self.bytes)
    }

    fn as_ptr(&self) -> *mut u8 {
        match &self.object {
            Object::Named { map, .. } => map.as_ptr(),
            Object::Nameless { map, .. } => map.as_ptr(),
        }
    }

    fn publish(&self, layout: Layout) -> Result<()> {
        let me = ProcessIdentity::own()?;
        let header = self.header()?;
        header.magic.store(MAGIC, Ordering::Relaxed);
        header.kind.store(layout.kind, Ordering::Relaxed);
        header.bytes.store(self.bytes as u64, Ordering::Relaxed);
        header.persistent.store(u32::from(layout.persistent), Ordering::Relaxed);
        header.owner_pid.store(me.pid, Ordering::Relaxed);
        header.owner_start_ticks.store(me.start_ticks, Ordering::Relaxed);
        let (high, low) = me.boot_id_words();
        header.owner_boot_id[0].store(high, Ordering::Relaxed);
        header.owner_boot_id[1].store(low, Ordering::Relaxed);
        header.owner_pid_namespace.store(me.pid_namespace, Ordering::Relaxed);
        header.created_ms.store(super::now_ms(), Ordering::Relaxed);
        // Release: pairs with the acquire in `check_published`; who sees the version sees everything above
        // and everything that `init` wrote.
        header.version.store(layout.version, Ordering::Release);
        Ok(())
    }

    fn checked(&self, offset: usize, len: usize, align: usize, from: usize) -> Result<NonNull<u8>> {
        let end = offset.checked_add(len).ok_or_else(|| self.outside(offset))?;
        if offset < from || end > self.bytes {
            return Err(self.outside(offset));
        }
        let base = NonNull::new(self.as_ptr()).ok_or_else(|| self.outside(offset))?;
        // SAFETY: `offset` ≤ `bytes`, the length of the mapping that `base` begins.
        let at = unsafe { base.add(offset) };
        if !(at.as_ptr() as usize).is_multiple_of(align) {
            return Err(self.outside(offset));
        }
        Ok(at)
    }

    fn outside(&self, offset: usize) -> Error {
        Error::new(
            Kind::Internal,
            format!("offset {offset} is outside shared memory {}", self.name),
        )
    }

    fn keep_out_of_core_dumps(&self) -> Result<()> {
        let base = self.checked(0, self.bytes, 1, 0)?;
        // SAFETY: exactly this mapping; the advice changes what a dump contains, not the memory.
        unsafe { madvise(base.cast(), self.bytes, MmapAdvise::MADV_DONTDUMP) }
            .map_err(|e| Error::from(e).context("could not keep shared memory out of core dumps"))
    }

    /// Inode of what is mapped, from this process's list of mappings.
    fn map_inode(&self) -> Option<u64> {
        let start = format!("{:x}-", self.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let line = maps.lines().find(|l| l.starts_with(&start))?;
        line.split_ascii_whitespace().nth(4)?.parse().ok()
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({}, {} bytes)", self.name, self.bytes)
    }
}

/// The fields of a header that decide whether to trust it.
struct RawHeader {
    magic: u64,
    version: u32,
    kind: u32,
    bytes: u64,
    persistent: u32,
}

impl RawHeader {
    fn read(head: &[u8; HEADER_BYTES]) -> RawHeader {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        RawHeader {
            magic: long(0),
            version: word(8),
            kind: word(12),
            bytes: long(16),
            persistent: word(24),
        }
    }

    fn check(&self, name: &str, layout: Layout, bytes: usize) -> Result<()> {
        let refuse = |message: String| {
            Err(Error::new(Kind::System, message)
                .detail(format!("shared memory {name}"))
                .hint("Let the running tasks of the other version of ssync end, then try again."))
        };
        if self.version == 0 {
            return Err(Error::new(Kind::System, format!("the {} is not ready", layout.name))
                .detail(format!("shared memory {name}"))
                .hint("Its creator is still busy with it or has died; try again."));
        }
        if self.magic != MAGIC || self.kind != layout.kind {
            return refuse(format!(
                "shared memory is not a {}: magic {:016x} and kind {} instead of {MAGIC:016x} and {}",
                layout.name, self.magic, self.kind, layout.kind
            ));
        }
        if self.version != layout.version {
            return refuse(format!(
                "the {} has layout version {}, this program knows version {}",
                layout.name, self.version, layout.version
            ));
        }
        if self.bytes != bytes as u64 {
            return refuse(format!(
                "the {} says it has {} bytes, and has {bytes}",
                layout.name, self.bytes
            ));
        }
        Ok(())
    }
}

/// Creates, locks and allocates the object; `None` when a cleaner removed it in between.
fn create_locked(name: &str, bytes: usize) -> Result<Option<(Shmem, Flock<OwnedFd>)>> {
    let map = match ShmemConf::new().os_id(name).size(bytes).create() {
        Ok(map) => map,
        Err(ShmemError::MappingIdExists) => {
            return Err(Error::new(Kind::System, format!("shared memory {name} exists already")));
        }
        Err(e) => return Err(shmem_error(name, &e)),
    };
    let fd = match shm_open(name, OFlag::O_RDWR, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(Error::from(e).context(format!("could not open {name}"))),
    };
    // A cleaner holds the lock only while it decides. If it decided against this object (not yet
    // locked, it looked ownerless), the name is gone now.
    let lock = lock_blocking(fd)?;
    if !is_named(&*lock, name)? {
        return Ok(None);
    }
    // Where shared memory may grow larger than the host's memory, taking all of it before giving
    // up would have the kernel kill whatever is largest: the databases.
    if free_bytes().is_some_and(|free| bytes as u64 > free) {
        return Err(no_room(bytes));
    }
    loop {
        // Without this a full /dev/shm shows only when a page is first touched, as SIGBUS.
        match posix_fallocate(lock.as_fd(), 0, bytes as i64) {
            Ok(()) => return Ok(Some((map, lock))),
            Err(Errno::EINTR) => {}
            Err(Errno::ENOSPC) => return Err(no_room(bytes)),
            Err(e) => return Err(Error::from(e).context(format!("could not allocate {name}"))),
        }
    }
}

fn lock_blocking(mut fd: OwnedFd) -> Result<Flock<OwnedFd>> {
    loop {
        match Flock::lock(fd, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EINTR)) => fd = back,
            Err((_, e)) => return Err(Error::from(e).context("could not lock shared memory")),
        }
    }
}

/// What the directory of shared memory has room for, where that is known.
fn free_bytes() -> Option<u64> {
    let fs = nix::sys::statvfs::statvfs(SHM_DIR).ok()?;
    // Without a size of its own it has no limit.
    (fs.blocks() > 0).then(|| fs.blocks_available().saturating_mul(fs.fragment_size()))
}

fn no_room(bytes: usize) -> Error {
    let mut e = Error::new(
        Kind::Full,
        format!("shared memory has no room for {bytes} bytes ({} MiB)", bytes.div_ceil(1 << 20)),
    );
    if let Ok(fs) = nix::sys::statvfs::statvfs(SHM_DIR) {
        let free = fs.blocks_available().saturating_mul(fs.fragment_size());
        let total = fs.blocks().saturating_mul(fs.fragment_size());
        e = e.detail(format!("{SHM_DIR} has {free} of {total} bytes free"));
    }
    e.hint(format!(
        "Give {SHM_DIR} more room (mount -o remount,size=…; docker run --shm-size=…), then try again."
    ))
}

fn shmem_error(name: &str, e: &ShmemError) -> Error {
    match e {
        ShmemError::UnknownOsError(code)
        | ShmemError::MapCreateFailed(code)
        | ShmemError::MapOpenFailed(code) => {
            Error::from(io::Error::from_raw_os_error(*code as i32))
                .context(format!("could not map shared memory {name}"))
        }
        other => Error::new(Kind::System, format!("could not map shared memory {name}: {other}")),
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new(SHM_DIR).join(name.trim_start_matches('/'))
}

/// Whether `name` stands for the object behind `fd`.
fn is_named(fd: &impl AsFd, name: &str) -> Result<bool> {
    let mine = nix::sys::stat::fstat(fd.as_fd())?;
    match std::fs::symlink_metadata(path_of(name)) {
        Ok(there) => Ok(there.ino() == mine.st_ino && there.dev() == mine.st_dev),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests;
