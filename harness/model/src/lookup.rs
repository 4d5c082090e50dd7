//! Where the path of a call leads: what follows a symlink is said here and nowhere else, and what a
//! call goes on with is the file at the end.

use refan_abi::{MarkFlags, OpenFlags};
use refan_program::Path;

/// What `fanotify_mark(2)` finds: `fanotify_find_path` in fs/notify/fanotify/fanotify_user.c.
pub(crate) fn marked(path: Path, flags: MarkFlags) -> Path {
    if flags.contains(MarkFlags::DONT_FOLLOW) { path } else { path.followed() }
}

/// What `open(2)` finds.
pub(crate) fn opened(path: Path, flags: OpenFlags) -> Path {
    if follows(flags) { path.followed() } else { path }
}

/// What `execve(2)` finds.
pub(crate) fn executed(path: Path) -> Path {
    path.followed()
}

/// What `truncate(2)` finds.
pub(crate) fn truncated(path: Path) -> Path {
    path.followed()
}

/// Whether an open follows a link at the end: `build_open_flags` in fs/open.c.
pub(crate) fn follows(flags: OpenFlags) -> bool {
    !flags.contains(OpenFlags::O_NOFOLLOW) && !is_exclusive(flags)
}

/// Whether nothing may be there yet.
pub(crate) fn is_exclusive(flags: OpenFlags) -> bool {
    flags.contains(OpenFlags::O_CREAT | OpenFlags::O_EXCL) && !flags.contains(OpenFlags::O_PATH)
}
