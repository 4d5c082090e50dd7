//! Archives into trees.

use crate::kernel::error::Result;
use crate::kernel::guard::Guarded;
use crate::kernel::scope::LEFT_OUT;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// How a source is packed.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// A tar file with one folder at its top, packed by anything that tar knows.
    Tar,
    /// A Debian package that holds such a tar file, packed by xz.
    DebianPackage,
}

/// How long unpacking may take.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Unpacks the archive into the existing folder `tree`, without the archive's top folder and without what an x86
/// build reads nothing of.
pub fn unpack(archive: &Path, format: Format, tree: &Path) -> Result<()> {
    let line = match format {
        Format::Tar => r#"file=$1; shift; tar -f "$file" "$@""#,
        // The source is packed in blocks, which xz unpacks on all processors (xz 5.4 and newer) when it is told to.
        Format::DebianPackage => {
            r#"file=$1; shift; dpkg-deb --fsys-tarfile "$file" |
               tar -x -O --wildcards './usr/src/linux-source-*.tar.xz' | xz -d -c -T 0 | tar "$@""#
        }
    };
    // Patterns are anchored at the archive's top folder, and their wildcards match no slash.
    let mut arguments: Vec<OsString> = vec![
        archive.into(),
        "-x".into(),
        "--no-same-owner".into(),
        "--strip-components=1".into(),
        "--anchored".into(),
        "--wildcards".into(),
        "--no-wildcards-match-slash".into(),
    ];
    arguments.extend(LEFT_OUT.iter().map(|pattern| format!("--exclude=*/{pattern}").into()));
    let what = format!("unpacking {}", archive.display());
    let ended = Guarded::new(&what, line, arguments, LIMIT).dir(tree).run(|_| ())?;
    ended.check(&what, tree)
}
