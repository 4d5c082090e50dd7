//! Machine profiles: what a machine is made of, as data.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A machine profile: one file in `vm-images/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the profile is called: the file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// The file's text, which keys snapshots.
    #[serde(skip)]
    pub text: String,
    /// QEMU's `-machine`: type and properties; RAM and accelerator are added.
    pub machine: String,
    /// Which accelerators may run it.
    pub accelerators: Vec<Kind>,
    /// QEMU's `-cpu`, by accelerator.
    pub cpu: CpuModels,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Guest RAM in MiB.
    pub memory_mib: u64,
    /// Size of the region shared with the host, in MiB; a power of two, as it is a PCI BAR.
    pub shared_mib: u64,
    /// The kernel's command line.
    pub cmdline: String,
    /// Ties everything that a guest can observe to the instructions it runs; TCG and one virtual
    /// CPU only.
    pub virtual_time: Option<VirtualTime>,
}

/// An accelerator of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The hypervisor of the host's kernel.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Kvm => "kvm",
            Kind::Tcg => "tcg",
        })
    }
}

/// The CPU model for each accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuModels {
    /// With KVM.
    pub kvm: Option<String>,
    /// With TCG.
    pub tcg: Option<String>,
}

/// How virtual time passes, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualTime {
    /// Each instruction takes `2^shift` ns of virtual time (`-icount shift=`).
    pub shift: u8,
    /// Seed of what QEMU gives the guest as random (`-seed`), RDRAND included.
    pub seed: u32,
    /// The wall clock at power-on (`-rtc base=`), in UTC; it then runs with virtual time.
    pub wall_clock: String,
}

/// Why a profile is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot read machine profile {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not a profile.
    #[error("{path} is not a machine profile: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: toml::de::Error,
    },
    /// The fields contradict each other.
    #[error("{path} is not a machine profile: {what}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
}

impl Profile {
    /// Reads a profile from a file.
    ///
    /// # Errors
    /// When the file cannot be read or describes no machine.
    pub fn load(path: &Path) -> Result<Profile, ProfileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ProfileError::Read { path: path.into(), source })?;
        let mut profile: Profile = toml::from_str(&text)
            .map_err(|source| ProfileError::Parse { path: path.into(), source })?;
        profile.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        profile.text = text;
        match profile.contradiction() {
            Some(what) => Err(ProfileError::Inconsistent { path: path.into(), what }),
            None => Ok(profile),
        }
    }

    /// Whether the same input always gives the same run.
    pub fn is_deterministic(&self) -> bool {
        self.virtual_time.is_some()
    }

    /// Size of the shared region in bytes.
    pub fn shared_bytes(&self) -> usize {
        usize::try_from(self.shared_mib << 20).unwrap_or(usize::MAX)
    }

    fn contradiction(&self) -> Option<&'static str> {
        let model = |kind| match kind {
            Kind::Kvm => self.cpu.kvm.is_some(),
            Kind::Tcg => self.cpu.tcg.is_some(),
        };
        if self.accelerators.is_empty() {
            Some("`accelerators` is empty")
        } else if !self.accelerators.iter().all(|kind| model(*kind)) {
            Some("`cpu` lacks a model for one of `accelerators`")
        } else if self.cpus == 0 || self.cpus > 255 {
            Some("`cpus` must be 1 to 255")
        } else if self.memory_mib < 32 || self.memory_mib > 1 << 20 {
            Some("`memory_mib` must be at least 32 and at most 1 TiB")
        } else if !self.shared_mib.is_power_of_two() || self.shared_mib > 1024 {
            Some("`shared_mib` must be a power of two, at most 1024")
        } else if self.virtual_time.is_some()
            && (self.cpus, &*self.accelerators) != (1, &[Kind::Tcg])
        {
            Some("`virtual_time` needs `cpus = 1` and `accelerators = [\"tcg\"]`")
        } else if self.virtual_time.as_ref().is_some_and(|time| time.shift > 10) {
            Some("`virtual_time.shift` must be at most 10 (QEMU's MAX_ICOUNT_SHIFT)")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(name: &str) -> Profile {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vm-images");
        Profile::load(&folder.join(name)).unwrap()
    }

    #[test]
    fn shipped_profiles_are_what_they_are_called() {
        let deterministic = shipped("deterministic.toml");
        assert_eq!(deterministic.name, "deterministic");
        assert!(deterministic.is_deterministic());
        let smp = shipped("smp.toml");
        assert!(!smp.is_deterministic());
        assert!(smp.cpus > 1);
    }

    fn error_of(from: &str, to: &str) -> String {
        let text = shipped("deterministic.toml").text;
        assert!(text.contains(from), "{from}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.toml");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        Profile::load(&path).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_profile_names_what_is_wrong() {
        assert!(error_of("cpus = 1", "cpus = 2").contains("`virtual_time` needs"));
        assert!(error_of("cpus = 1", "cpus = \"one\"").contains("line"));
        assert!(error_of("cpus = 1", "cpus = 1\nvcpus = 1").contains("vcpus"));
        assert!(error_of("shared_mib = 16", "shared_mib = 17").contains("power of two"));
        assert!(error_of("accelerators = [\"tcg\"]", "accelerators = []").contains("empty"));
        let missing = Profile::load(Path::new("/nonexistent/x.toml")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/x.toml"));
    }
}
