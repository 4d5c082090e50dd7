//! The ext4 of a program's `ext` files, which raise `FAN_PRE_ACCESS`; tmpfs does not.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::MountFlags;

/// The file system with its files as they are when a program starts. `make-ext4-image.sh` makes it.
static IMAGE: &[u8] = include_bytes!("ext4.img");
const RAM_DISK: &str = "/dev/ram0";

/// Whether the kernel has the disk and can mount it.
pub fn available() -> bool {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    Path::new(RAM_DISK).exists() && kinds.lines().any(|kind| kind.trim() == "ext4")
}

/// Puts the image on the RAM disk and mounts it.
pub fn mount(at: &str) -> Result<()> {
    // The device's node is there only with CONFIG_BLK_DEV_RAM; nothing else may be made instead.
    let disk = fs::OpenOptions::new().write(true).open(Path::new(RAM_DISK));
    let write = disk.and_then(|mut disk| std::io::Write::write_all(&mut disk, IMAGE));
    write.with_context(|| format!("writing a file system to {RAM_DISK}"))?;
    rustix::mount::mount(RAM_DISK, at, c"ext4", MountFlags::empty(), None)
        .with_context(|| format!("mounting {RAM_DISK} on {at} as ext4"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_program::{Inode, PathKind, Program};

    #[test]
    fn the_image_holds_the_files() {
        // Superblock at 1024, its magic number at byte 56 (Documentation/filesystems/ext4).
        assert_eq!(IMAGE[1024 + 56..1024 + 58], [0x53, 0xef]);
        for path in Inode::all().filter(|path| path.kind() == PathKind::Ext) {
            let contents = path.contents().expect("a file with contents");
            assert!(IMAGE.windows(contents.len()).any(|bytes| bytes == contents), "{path}");
        }
    }

    #[test]
    fn every_file_can_be_as_long_as_programs_make_it() {
        // `s_free_blocks_count_lo` and `s_log_block_size`.
        let word = |at: usize| IMAGE[1024 + at..1024 + at + 4].iter().rev();
        let word = |at| word(at).fold(0, |value, byte| value << 8 | u64::from(*byte));
        let (free, block) = (word(12), 1024 << word(24));
        let files = Inode::all().filter(|path| path.kind() == PathKind::Ext).count() as u64;
        // Half as much again for what describes them, and what ext4 keeps for itself.
        assert!(free * block >= files * u64::from(Program::MAX_READ) * 3 / 2, "{free} of {block}");
    }
}
