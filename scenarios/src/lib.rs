//! The suites.

use std::path::PathBuf;

/// The folder of the suites. Where tests come from an archive it is in another place than where they were
/// compiled, and nextest says where.
pub fn folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The repository that they are in.
pub fn repository() -> PathBuf {
    let folder = folder();
    folder.parent().map_or_else(|| folder.clone(), PathBuf::from)
}
