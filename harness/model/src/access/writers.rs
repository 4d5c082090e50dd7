//! Who keeps whom from writing and executing.

use refan_program::Inode;

use super::{Opening, Then, is_writing};
use crate::state::{FileKind, OpenFile, State};

impl State {
    /// Whether somebody has the file open for writing, or is about to: `do_dentry_open` counts a
    /// writer before it asks (`inode_is_open_for_write`), and `vfs_truncate` counts one for as long as it takes.
    pub(crate) fn has_writers(&self, inode: Inode) -> bool {
        let open = self.files.values().any(|file| {
            matches!(file.kind, FileKind::File { path, .. } if path.inode() == inode)
                && file.writable()
        });
        let truncated = self.stages().any(|then| {
            matches!(then, Then::Truncated { path, begun: true, .. } if path.inode() == inode)
        });
        open || truncated
            || self.openings().any(|opening| {
                opening.path.inode() == inode && !opening.exec && is_writing(opening.flags)
            })
    }

    /// Whether somebody writes to a file whose executor waits to be let through.
    pub(crate) fn keeps_off(&self, file: &OpenFile) -> bool {
        let FileKind::File { path, .. } = file.kind else { return false };
        file.writable()
            && self.openings().any(|opening| opening.exec && opening.path.inode() == path.inode())
    }

    fn openings(&self) -> impl Iterator<Item = &Opening> {
        self.stages().filter_map(|then| match then {
            Then::OpenPerm(opening) | Then::Opened(opening) => Some(opening),
            _ => None,
        })
    }
}
