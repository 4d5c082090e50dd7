//! What is known of the kernel before a program starts.

use std::collections::BTreeMap;

use refan_abi::ApiValues;
use refan_program::Inode;

/// The kernel under test and the files that a program finds on it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The feature's numbers.
    pub api: ApiValues,
    /// Whether the kernel has the feature.
    pub restartable: bool,
    /// Inode numbers of the files, as far as they are known.
    pub inodes: BTreeMap<Inode, u64>,
}
