//! Flag words. Every bit is kept, also one without a name: the kernel's answer to it is part of
//! what is tested. Unknown bits print as hex.

use bitflags::bitflags;

bitflags! {
    /// First argument of `fanotify_init(2)`, `FAN_*`.
    ///
    /// 64 bits wide where the system call takes 32: `RESTARTABLE` is symbolic and stands above
    /// them, since its number is a value of the API profile ([`crate::ApiValues::init_bits`]).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct InitFlags: u64 {
        /// Close-on-exec on the group's fd.
        const CLOEXEC = 0x0001;
        /// `O_NONBLOCK` on the fd that events are read from.
        const NONBLOCK = 0x0002;
        /// Permission events on content that is in its final form.
        const CLASS_CONTENT = 0x0004;
        /// Permission events before content is in its final form.
        const CLASS_PRE_CONTENT = 0x0008;
        /// No limit on the number of queued events.
        const UNLIMITED_QUEUE = 0x0010;
        /// No limit on the number of marks.
        const UNLIMITED_MARKS = 0x0020;
        /// Audit records for responses.
        const ENABLE_AUDIT = 0x0040;
        /// A pidfd with each event.
        const REPORT_PIDFD = 0x0080;
        /// Thread ids instead of process ids.
        const REPORT_TID = 0x0100;
        /// File handles instead of fds.
        const REPORT_FID = 0x0200;
        /// Handles of directories.
        const REPORT_DIR_FID = 0x0400;
        /// Names of directory entries.
        const REPORT_NAME = 0x0800;
        /// Handles of the children of directory events.
        const REPORT_TARGET_FID = 0x1000;
        /// An error number in place of an fd that could not be made.
        const REPORT_FD_ERROR = 0x2000;
        /// Mount events.
        const REPORT_MNT = 0x4000;
        /// The flag under test, whatever its number (see the type).
        const RESTARTABLE = 1 << 32;
        const _ = !0;
    }
}

impl InitFlags {
    /// The class bits: both clear is `FAN_CLASS_NOTIF`.
    pub const CLASS: Self = Self::CLASS_CONTENT.union(Self::CLASS_PRE_CONTENT);
    /// `FAN_CLASS_NOTIF`, which has no bit of its own.
    pub const CLASS_NOTIF: Self = Self::empty();
}

bitflags! {
    /// Second argument of `fanotify_mark(2)`, `FAN_MARK_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct MarkFlags: u32 {
        /// Add events to a mark.
        const ADD = 0x0001;
        /// Remove events from a mark.
        const REMOVE = 0x0002;
        /// Do not follow a symbolic link.
        const DONT_FOLLOW = 0x0004;
        /// Fail on anything but a directory.
        const ONLYDIR = 0x0008;
        /// The mark is on a mount (no type bit: on an inode).
        const MOUNT = 0x0010;
        /// The mask goes into the ignore mask.
        const IGNORED_MASK = 0x0020;
        /// The ignore mask survives modification.
        const IGNORED_SURV_MODIFY = 0x0040;
        /// Remove all marks of the type.
        const FLUSH = 0x0080;
        /// The mark is on a file system.
        const FILESYSTEM = 0x0100;
        /// The mark does not pin its inode.
        const EVICTABLE = 0x0200;
        /// The ignore mask with event flags of its own.
        const IGNORE = 0x0400;
        const _ = !0;
    }
}

bitflags! {
    /// Event mask of marks and events, `FAN_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct EventMask: u64 {
        /// File was accessed.
        const ACCESS = 0x1;
        /// File was modified.
        const MODIFY = 0x2;
        /// Metadata changed.
        const ATTRIB = 0x4;
        /// A writable file was closed.
        const CLOSE_WRITE = 0x8;
        /// A file that was not writable was closed.
        const CLOSE_NOWRITE = 0x10;
        /// File was opened.
        const OPEN = 0x20;
        /// Entry was moved from a directory.
        const MOVED_FROM = 0x40;
        /// Entry was moved to a directory.
        const MOVED_TO = 0x80;
        /// Entry was created.
        const CREATE = 0x100;
        /// Entry was deleted.
        const DELETE = 0x200;
        /// The object itself was deleted.
        const DELETE_SELF = 0x400;
        /// The object itself was moved.
        const MOVE_SELF = 0x800;
        /// File was opened for exec.
        const OPEN_EXEC = 0x1000;
        /// The queue overflowed.
        const Q_OVERFLOW = 0x4000;
        /// The file system reports an error.
        const FS_ERROR = 0x8000;
        /// May the file be opened?
        const OPEN_PERM = 0x1_0000;
        /// May the file be read?
        const ACCESS_PERM = 0x2_0000;
        /// May the file be opened for exec?
        const OPEN_EXEC_PERM = 0x4_0000;
        /// Content of the range is about to be used.
        const PRE_ACCESS = 0x10_0000;
        /// Events of the children of a directory.
        const EVENT_ON_CHILD = 0x0800_0000;
        /// Entry was renamed.
        const RENAME = 0x1000_0000;
        /// The object is a directory.
        const ONDIR = 0x4000_0000;
        const _ = !0;
    }
}

impl EventMask {
    /// The permission events.
    pub const PERM: Self = Self::OPEN_PERM
        .union(Self::ACCESS_PERM)
        .union(Self::OPEN_EXEC_PERM)
        .union(Self::PRE_ACCESS);
    /// What is not an event but says which objects it is wanted for.
    pub const FLAGS: Self = Self::EVENT_ON_CHILD.union(Self::ONDIR);
}

bitflags! {
    /// Flags of `open(2)`, of `event_f_flags` and of `F_GETFL`. No access bit is `O_RDONLY`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const O_WRONLY = 0o1;
        /// Read and write.
        const O_RDWR = 0o2;
        /// Create.
        const O_CREAT = 0o100;
        /// Fail if it exists.
        const O_EXCL = 0o200;
        /// Truncate.
        const O_TRUNC = 0o1000;
        /// Append.
        const O_APPEND = 0o2000;
        /// Do not block.
        const O_NONBLOCK = 0o4000;
        /// Data integrity.
        const O_DSYNC = 0o10000;
        /// Files over 2 GiB; the kernel sets it by itself for 64-bit tasks.
        const O_LARGEFILE = 0o100000;
        /// Only directories.
        const O_DIRECTORY = 0o200000;
        /// Do not follow links.
        const O_NOFOLLOW = 0o400000;
        /// Do not touch the access time.
        const O_NOATIME = 0o1000000;
        /// Close on exec.
        const O_CLOEXEC = 0o2000000;
        /// A path only.
        const O_PATH = 0o10000000;
        const _ = !0;
    }
}

impl OpenFlags {
    /// Read only, which has no bit of its own.
    pub const O_RDONLY: Self = Self::empty();
    /// The access mode's bits.
    pub const ACCMODE: Self = Self::O_WRONLY.union(Self::O_RDWR);
}

bitflags! {
    /// Flags of `F_GETFD`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct FdFlags: u32 {
        /// Close on exec.
        const CLOEXEC = 1;
        const _ = !0;
    }
}

bitflags! {
    /// Events of `poll(2)`, without their prefix `POLL`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct PollFlags: u16 {
        /// Data can be read.
        const IN = 0x1;
        /// Urgent data.
        const PRI = 0x2;
        /// Data can be written.
        const OUT = 0x4;
        /// An error.
        const ERR = 0x8;
        /// The other side is gone.
        const HUP = 0x10;
        /// Not an open fd.
        const NVAL = 0x20;
        /// Normal data can be read.
        const RDNORM = 0x40;
        /// Priority data can be read.
        const RDBAND = 0x80;
        /// Normal data can be written.
        const WRNORM = 0x100;
        /// Priority data can be written.
        const WRBAND = 0x200;
        /// The other side will write no more.
        const RDHUP = 0x2000;
        const _ = !0;
    }
}
