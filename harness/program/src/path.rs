//! The files that every program finds, and the ways to them.

use std::fmt;
use std::str::FromStr;

/// A way to a file that is there when a program starts, with fixed contents.
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
    /// `sN`: a symlink on the tmpfs to `fN`.
    Symlink,
    /// `mN`: the file `fN` by a second mount of the tmpfs.
    Mounted,
}

impl PathKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::File,
        Self::Dir,
        Self::Child,
        Self::Exec,
        Self::Waiter,
        Self::Ext,
        Self::Symlink,
        Self::Mounted,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::File => "f",
            Self::Dir | Self::Child => "d",
            Self::Exec => "x",
            Self::Waiter => "w",
            Self::Ext => "ext",
            Self::Symlink => "s",
            Self::Mounted => "m",
        }
    }
}

/// A mount of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mount {
    /// The tmpfs.
    Tmpfs,
    /// The tmpfs once more, at another place.
    Second,
    /// The ext4.
    Ext4,
}

impl Mount {
    /// Every mount. The second one is of the first.
    pub const ALL: [Self; 3] = [Self::Tmpfs, Self::Second, Self::Ext4];

    /// Where a run mounts it.
    pub const fn location(self) -> &'static str {
        match self {
            Self::Tmpfs => "/t",
            Self::Second => "/m",
            Self::Ext4 => "/e",
        }
    }
}

/// A file itself, whatever the way to it: the path that is printed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode(Path);

impl Path {
    /// How many paths each kind has.
    pub const PER_KIND: u8 = 4;

    /// Every path.
    pub fn all() -> impl Iterator<Item = Self> {
        PathKind::ALL
            .into_iter()
            .flat_map(|kind| (0..Self::PER_KIND).map(move |index| Self { kind, index }))
    }

    /// Where it leads: what is no symlink leads to itself.
    pub fn followed(self) -> Self {
        let kind = if self.kind == PathKind::Symlink { PathKind::File } else { self.kind };
        Self { kind, ..self }
    }

    /// The file at its end: of a symlink, the symlink.
    pub fn inode(self) -> Inode {
        let kind = if self.kind == PathKind::Mounted { PathKind::File } else { self.kind };
        Inode(Self { kind, ..self })
    }

    /// The mount that the file is reached through.
    pub fn mount(self) -> Mount {
        match self.kind {
            PathKind::Ext => Mount::Ext4,
            PathKind::Mounted => Mount::Second,
            _ => Mount::Tmpfs,
        }
    }

    /// Where it is in a run, as the kernel names it: `/t/f0`.
    pub fn location(self) -> String {
        format!("{}/{}", self.mount().location(), self.inode())
    }
}

impl Inode {
    /// Every file.
    pub fn all() -> impl Iterator<Item = Self> {
        Path::all().filter(|path| path.inode().0 == *path).map(Self)
    }

    /// The path that is printed for it, which is the first way to it.
    pub fn path(self) -> Path {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> PathKind {
        self.0.kind
    }

    /// What a regular file holds when a program starts.
    pub fn contents(self) -> Option<Vec<u8>> {
        match self.kind() {
            PathKind::File | PathKind::Child | PathKind::Ext => {
                Some(format!("refan {self}\n").into_bytes())
            }
            PathKind::Exec => Some(crate::executable::exit_successfully()),
            PathKind::Waiter => Some(crate::executable::wait_forever()),
            PathKind::Dir | PathKind::Symlink | PathKind::Mounted => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.word(), self.index)?;
        if self.kind == PathKind::Child { f.write_str("/f") } else { Ok(()) }
    }
}

impl fmt::Display for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Path {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::all().find(|path| path.to_string() == text).ok_or(())
    }
}

impl FromStr for Inode {
    type Err = ();

    /// Of a path that is printed for a file.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::all().find(|inode| inode.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.parse().expect("a path")
    }

    #[test]
    fn every_path_has_a_name_of_its_own() {
        for path in Path::all() {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        assert_eq!("f4".parse::<Path>(), Err(()));
    }

    #[test]
    fn a_file_has_one_name_and_many_ways() {
        let f1 = path("f1").inode();
        assert_eq!(path("m1").inode(), f1);
        assert_eq!(path("s1").followed().inode(), f1);
        assert_ne!(path("s1").inode(), f1);
        assert_eq!("f1".parse(), Ok(f1));
        assert_eq!("m1".parse::<Inode>(), Err(()));
        assert_eq!(Inode::all().count() + usize::from(Path::PER_KIND), Path::all().count());
    }

    #[test]
    fn a_location_tells_the_mount() {
        let of = |text| path(text).location();
        assert_eq!(
            ["f0", "m0", "s0", "d2/f", "ext3"].map(of),
            ["/t/f0", "/m/f0", "/t/s0", "/t/d2/f", "/e/ext3"]
        );
    }
}
