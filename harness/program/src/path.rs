//! The files that every program finds.

use std::fmt;
use std::str::FromStr;

/// A file that is there when a program starts, with fixed contents.
///
/// The name in the text form is the kind's word and an index: `f0`, `x1`, `ext3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// What it is.
    pub kind: PathKind,
    /// Which one of its kind, below [`Path::PER_KIND`].
    pub index: u8,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathKind {
    /// `fN`: a regular file on the tmpfs.
    File,
    /// `dN`: a directory on the tmpfs.
    Dir,
    /// `dN/f`: the regular file in that directory.
    Child,
    /// `xN`: an executable on the tmpfs that exits with status 0.
    Exec,
    /// `wN`: an executable on the tmpfs that waits until it is killed.
    Waiter,
    /// `extN`: a regular file on the ext4.
    Ext,
}

impl PathKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::File, Self::Dir, Self::Child, Self::Exec, Self::Waiter, Self::Ext];

    fn word(self) -> &'static str {
        match self {
            Self::File => "f",
            Self::Dir | Self::Child => "d",
            Self::Exec => "x",
            Self::Waiter => "w",
            Self::Ext => "ext",
        }
    }
}

impl Path {
    /// How many paths each kind has.
    pub const PER_KIND: u8 = 4;

    /// Every path.
    pub fn all() -> impl Iterator<Item = Self> {
        PathKind::ALL
            .into_iter()
            .flat_map(|kind| (0..Self::PER_KIND).map(move |index| Self { kind, index }))
    }

    /// What a file holds when a program starts; nothing for directories.
    pub fn contents(self) -> Option<Vec<u8>> {
        match self.kind {
            PathKind::File | PathKind::Child | PathKind::Ext => {
                Some(format!("refan {self}\n").into_bytes())
            }
            PathKind::Exec => Some(crate::executable::exit_successfully()),
            PathKind::Waiter => Some(crate::executable::wait_forever()),
            PathKind::Dir => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.word(), self.index)?;
        if self.kind == PathKind::Child { f.write_str("/f") } else { Ok(()) }
    }
}

impl FromStr for Path {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::all().find(|path| path.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_name_of_its_own() {
        for path in Path::all() {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        assert_eq!("f4".parse::<Path>(), Err(()));
    }
}
