//! Memory that host and guest share: opaque bytes, copied in and out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// The access reaches past the end of the shared region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes {at}..+{len} are outside the shared region of {size} bytes")]
pub struct OutOfBounds {
    /// First byte of the access.
    pub at: usize,
    /// Length of the access.
    pub len: usize,
    /// Size of the region.
    pub size: usize,
}

/// A region of memory that the guest has as RAM of its own and the host maps.
///
/// The guest is not trusted and may write at any moment, so no reference into the region is ever
/// handed out: bytes are copied by relaxed atomic accesses, which may be torn between each other
/// but never are undefined behaviour. What was copied out is the caller's own and holds still.
#[derive(Debug)]
pub struct SharedMemory {
    file: OwnedFd,
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping is owned by the value, lives until its drop and is only accessed by atomic
// operations, which are sound from any thread.
unsafe impl Send for SharedMemory {}
// SAFETY: as for `Send`.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// A zeroed region of `size` bytes in anonymous memory, sealed against resizing.
    ///
    /// # Errors
    /// When the host has no memory, address space or file descriptor left.
    pub fn new(size: usize) -> io::Result<SharedMemory> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("refan-shared", flags)?;
        rustix::fs::ftruncate(&file, size as u64)?;
        // A shrinking file would turn accesses into SIGBUS.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        SharedMemory::map(file, size)
    }

    /// The same region, mapped once more.
    ///
    /// # Errors
    /// As of [`SharedMemory::new`].
    pub fn map_again(&self) -> io::Result<SharedMemory> {
        SharedMemory::map(self.file.try_clone()?, self.size)
    }

    /// Maps a file that is sealed at this size.
    fn map(file: OwnedFd, size: usize) -> io::Result<SharedMemory> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice, of a file that is as long
        // as the mapping and cannot shrink.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), size, prot, MapFlags::SHARED, &file, 0)?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { file, base, size })
    }

    /// The region's size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Copies `into.len()` bytes out, beginning at byte `at`.
    ///
    /// # Errors
    /// When the bytes are not all inside the region; `into` is untouched then.
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.check(at, into.len())?;
        fence(Ordering::Acquire);
        let (head, words, tail) = spans(at, into.len());
        for i in head {
            into[i] = self.byte(at + i).load(Ordering::Relaxed);
        }
        for i in words.step_by(8) {
            let word = self.word(at + i).load(Ordering::Relaxed);
            into[i..i + 8].copy_from_slice(&word.to_ne_bytes());
        }
        for i in tail {
            into[i] = self.byte(at + i).load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        Ok(())
    }

    /// Copies `from` in, beginning at byte `at`.
    ///
    /// # Errors
    /// When the bytes are not all inside the region; the region is untouched then.
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        self.check(at, from.len())?;
        fence(Ordering::Release);
        let (head, words, tail) = spans(at, from.len());
        for i in head {
            self.byte(at + i).store(from[i], Ordering::Relaxed);
        }
        for i in words.step_by(8) {
            let mut word = [0; 8];
            word.copy_from_slice(&from[i..i + 8]);
            self.word(at + i).store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        for i in tail {
            self.byte(at + i).store(from[i], Ordering::Relaxed);
        }
        fence(Ordering::Release);
        Ok(())
    }

    fn check(&self, at: usize, len: usize) -> Result<(), OutOfBounds> {
        match at.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(OutOfBounds { at, len, size: self.size }),
        }
    }

    fn byte(&self, at: usize) -> &AtomicU8 {
        debug_assert!(at < self.size);
        // SAFETY: `at` is inside the mapping (`check` was passed), which lives as long as `self`;
        // every access to it, by whatever process, is as memory without a Rust owner.
        unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(at)) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= self.size);
        // SAFETY: as for `byte`; the mapping is page aligned and `at` a multiple of eight.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }
    }
}

/// Splits an access into bytes up to the first aligned word, whole words, and the bytes after.
fn spans(
    at: usize,
    len: usize,
) -> (std::ops::Range<usize>, std::ops::Range<usize>, std::ops::Range<usize>) {
    let head = (at.next_multiple_of(8) - at).min(len);
    let words_end = head + (len - head) / 8 * 8;
    (0..head, head..words_end, words_end..len)
}

/// The wire's view of the region. Its ranges are checked by the caller.
///
/// # Panics
/// When a range is not inside the region.
impl refan_wire::Region for SharedMemory {
    fn len(&self) -> usize {
        self.size
    }

    fn load(&self, at: usize, into: &mut [u8]) {
        if let Err(error) = self.read(at, into) {
            panic!("{error}");
        }
    }

    fn store(&self, at: usize, from: &[u8]) {
        if let Err(error) = self.write(at, from) {
            panic!("{error}");
        }
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, is unmapped once, and no reference into it is
        // ever handed out.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.size) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A file in memory, without a name in any folder.
pub(crate) fn anonymous_file(name: &str, bytes: u64) -> io::Result<File> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, bytes)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_at_every_alignment() {
        let memory = SharedMemory::new(4096).unwrap();
        let bytes: Vec<u8> = (1..=40).collect();
        for at in 0..17 {
            for len in 0..bytes.len() {
                memory.write(0, &[0; 128]).unwrap();
                memory.write(at, &bytes[..len]).unwrap();
                let mut back = vec![0; len];
                memory.read(at, &mut back).unwrap();
                assert_eq!(back, bytes[..len]);
                let mut all = [0; 128];
                memory.read(0, &mut all).unwrap();
                let outside = all.iter().enumerate().filter(|(i, _)| !(at..at + len).contains(i));
                assert!(outside.into_iter().all(|(_, byte)| *byte == 0), "at {at} len {len}");
            }
        }
    }

    #[test]
    fn refuses_what_is_outside() {
        let memory = SharedMemory::new(4096).unwrap();
        let mut one = [7];
        assert_eq!(memory.read(4096, &mut one), Err(OutOfBounds { at: 4096, len: 1, size: 4096 }));
        assert_eq!(one, [7]);
        assert!(memory.write(usize::MAX, &one).is_err());
        assert!(memory.write(4000, &[0; 97]).is_err());
        assert!(memory.write(4096, &[]).is_ok());
    }

    #[test]
    fn another_mapping_sees_the_bytes() {
        use std::os::unix::fs::FileExt;
        let memory = SharedMemory::new(4096).unwrap();
        memory.write(100, b"hello").unwrap();
        let file = File::from(memory.as_fd().try_clone_to_owned().unwrap());
        let mut seen = [0; 5];
        file.read_exact_at(&mut seen, 100).unwrap();
        assert_eq!(&seen, b"hello");
        file.write_all_at(b"guest", 2000).unwrap();
        memory.read(2000, &mut seen).unwrap();
        assert_eq!(&seen, b"guest");
    }
}
