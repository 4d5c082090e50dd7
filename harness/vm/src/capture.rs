//! What QEMU and the guest write, kept in memory up to a limit.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, OFlags, SealFlags, SeekFrom};

/// An anonymous file of fixed size that another process writes from its start.
///
/// The writer inherits a write-only description (QEMU's fdset takes no other) that is kept here
/// too, so the file's offset says how much was written,
/// and no thread has to read along. `F_SEAL_GROW` refuses what would pass the limit (EPERM,
/// fcntl(2)): QEMU's character devices then drop the bytes and go on, so a guest that floods its
/// console neither blocks nor fills anything. The file is sparse; unused room costs nothing.
#[derive(Debug)]
pub struct Capture {
    reader: File,
    writer: File,
    limit: u64,
}

impl Capture {
    /// A capture of at most `limit` bytes; `name` shows in `/proc/PID/fd`.
    ///
    /// # Errors
    /// When the host has no memory or file descriptor left.
    pub fn new(name: &str, limit: u64) -> io::Result<Capture> {
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, limit)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        let writer =
            File::options().write(true).open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        Ok(Capture { reader: File::from(fd), writer, limit })
    }

    /// The descriptor for the process that writes.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Makes writes go on from the file's offset: call when QEMU has opened the file, which it can
    /// only do for appending (it would truncate the file otherwise, and the seals forbid that).
    pub(crate) fn write_at_offset(&self) -> io::Result<()> {
        Ok(rustix::fs::fcntl_setfl(&self.writer, OFlags::empty())?)
    }

    /// How many bytes were written so far.
    pub fn len(&self) -> u64 {
        rustix::fs::seek(&self.writer, SeekFrom::Current(0)).map_or(0, |end| end.min(self.limit))
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the limit was reached, so that later output is missing.
    pub fn is_full(&self) -> bool {
        self.len() == self.limit
    }

    /// What was written from byte `from` on: poll it with the last end to follow a stream.
    pub fn read_from(&self, from: u64) -> Vec<u8> {
        let wanted = self.len().saturating_sub(from);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader.read_at(&mut bytes[filled..], from + filled as u64) {
                Ok(0) | Err(_) => break,
                Ok(n) => filled += n,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// The last `lines` lines as text; bytes that are not UTF-8 are replaced.
    pub fn tail(&self, lines: usize) -> String {
        const LONGEST_LINE: u64 = 512;
        let from = self.len().saturating_sub(lines as u64 * LONGEST_LINE);
        let text = String::from_utf8_lossy(&self.read_from(from)).replace('\r', "");
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn keeps_what_fits_and_refuses_the_rest() {
        let capture = Capture::new("test", 8).unwrap();
        let mut writer = capture.writer.try_clone().unwrap();
        assert!(capture.is_empty());
        writer.write_all(b"abc\n").unwrap();
        assert_eq!(capture.read_from(0), b"abc\n");
        writer.write_all(b"defg").unwrap();
        assert!(capture.is_full());
        assert!(writer.write_all(b"h").is_err());
        assert_eq!(capture.read_from(4), b"defg");
        assert_eq!(capture.read_from(100), b"");
        assert_eq!(capture.tail(1), "defg");
    }
}
