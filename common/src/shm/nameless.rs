//! Shared memory without a name. It exists as long as a process holds its descriptor or has it mapped.
//! The kernel frees it when the last such process ends, however that ends: nothing has to be cleaned up.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl, posix_fallocate};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::room;
use crate::error::{Error, Kind, Result};

/// As large as it was made, for good: a mapping of it can never lose its ground.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Makes an object of that size, zeroed and backed by real memory; `label` is what lists of open files
/// show.
///
/// # Errors
/// [`Kind::Full`] when memory has no room for it.
pub(super) fn create(label: &str, bytes: usize) -> Result<OwnedFd> {
    let cannot = |e: Errno| Error::from(e).context(format!("could not create memory {label}"));
    // Taking memory until there is none would have the kernel kill whatever is largest: the databases.
    if let Some(free) = room::free_bytes(bytes as u64).filter(|free| bytes as u64 > *free) {
        return Err(room::no_memory(bytes, Some(free)));
    }
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Hosts may be set up to refuse memory that could be executed; kernels before 6.3 do not know that.
    let data_only = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let fd = match memfd_create(label, flags | data_only) {
        Err(Errno::EINVAL) => memfd_create(label, flags),
        other => other,
    }
    .map_err(cannot)?;
    nix::unistd::ftruncate(&fd, bytes as i64).map_err(cannot)?;
    loop {
        // Without this, memory that is not there shows only when a page is first touched, as SIGBUS.
        match posix_fallocate(fd.as_fd(), 0, bytes as i64) {
            Ok(()) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::ENOSPC | Errno::ENOMEM) => return Err(room::no_memory(bytes, None)),
            Err(e) => return Err(cannot(e)),
        }
    }
    fcntl(&fd, FcntlArg::F_ADD_SEALS(SEALS)).map_err(cannot)?;
    Ok(fd)
}

/// Refuses an object whose size could change while it is mapped.
pub(super) fn check_sealed(fd: &OwnedFd) -> Result<()> {
    let seals = fcntl(fd, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
    match seals {
        Ok(seals) if seals.contains(SEALS) => Ok(()),
        _ => Err(Error::new(Kind::Internal, "a descriptor is not the shared memory it should be")),
    }
}

/// The whole of an object in this process's memory, shared with all others that have it.
pub(super) struct Mapping {
    at: NonNull<libc::c_void>,
    bytes: usize,
}

impl Mapping {
    pub(super) fn new(fd: &OwnedFd, bytes: usize) -> Result<Mapping> {
        let Some(length) = NonZeroUsize::new(bytes) else {
            crate::bail!(Kind::Internal, "shared memory of 0 bytes");
        };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let at = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, fd, 0) }
            .map_err(|e| Error::from(e).context("could not map shared memory"))?;
        Ok(Mapping { at, bytes })
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.at.as_ptr().cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, once; references into it borrow from the segment that
        // owns this value. It fails only for arguments that name no mapping.
        let _ = unsafe { munmap(self.at, self.bytes) };
    }
}
