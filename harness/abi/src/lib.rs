//! fanotify's user-space interface as pure data: flags, records, errors, API profiles.
//!
//! Nothing here makes a system call. Names are those of the C headers without their prefix, since
//! that is the vocabulary of programs. Numbers are from `include/uapi/linux/fanotify.h`,
//! `include/uapi/asm-generic/fcntl.h`, `include/uapi/asm-generic/errno*.h` and
//! `include/uapi/asm-generic/poll.h` of Linux.

mod errno;
mod event;
mod flags;
mod profile;
mod response;

pub use errno::Errno;
pub use event::{Event, EventError, Events, InfoRecord, METADATA_LEN, NO_FD};
pub use flags::{EventMask, FdFlags, InitFlags, MarkFlags, OpenFlags, PollFlags};
pub use profile::{ApiProfile, ApiValues};
pub use response::{AuditRule, RESPONSE_LEN, Response};
