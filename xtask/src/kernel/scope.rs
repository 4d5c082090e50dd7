//! What an x86 build reads nothing of: a quarter of a kernel tree. It is neither unpacked nor mirrored nor patched.

use std::path::Path;

/// Paths in the tree; `*` stands for any one name. What lies below them is meant, too.
pub const LEFT_OUT: &[&str] = &[
    "arch/alpha",
    "arch/arc",
    "arch/csky",
    "arch/hexagon",
    "arch/m68k",
    "arch/microblaze",
    "arch/nios2",
    "arch/openrisc",
    "arch/parisc",
    "arch/sh",
    "arch/xtensa",
    // Of these crypto/Kconfig is read for every architecture.
    "arch/arm/boot",
    "arch/arm64/boot",
    "arch/mips/boot",
    "arch/powerpc/boot",
    "arch/riscv/boot",
    // The configuration reads Documentation/Kconfig.
    "Documentation/*/*",
    // What selftests are written with lies above.
    "tools/testing/selftests/*/*",
];

/// Whether a path in the tree is left out.
pub fn left_out(path: &Path) -> bool {
    LEFT_OUT.iter().any(|pattern| {
        let mut names = path.iter();
        pattern.split('/').all(|part| names.next().is_some_and(|name| part == "*" || name == part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_left_out_too() {
        for (path, out) in [
            ("arch/sh/kernel/x.c", true),
            ("arch/arm64/boot", true),
            ("arch/x86/Kconfig", false),
            ("arch/Kconfig", false),
            ("Documentation/Kconfig", false),
            ("Documentation/admin-guide", false),
            ("Documentation/admin-guide/x.rst", true),
            ("tools/testing/selftests/kselftest_harness.h", false),
            ("tools/testing/selftests/x/y.c", true),
            ("tools/lib/x.c", false),
            ("arch/arm64/crypto/Kconfig", false),
            ("fs/arch/sh", false),
        ] {
            assert_eq!(left_out(Path::new(path)), out, "{path}");
        }
    }
}
