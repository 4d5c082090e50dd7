//! Which kernel on which machine.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::prepare;

/// Which kernel on which machine: shared by all that start one.
#[derive(Debug, Clone, Args)]
pub struct Machine {
    /// Kernel target: a name in kernel-configs/targets
    #[arg(long, value_name = "NAME", default_value = "fast")]
    pub target: String,
    /// Patch series, `none` for the base as it is [default: restartable; none with --kernel-src]
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
    /// Kernel version to test: a name in kernel-configs/bases
    #[arg(long, value_name = "VERSION", default_value = "7.3", conflicts_with_all = ["kernel_src", "bzimage"])]
    pub base: String,
    /// Kernel tree to build, as it stands; it is not modified
    #[arg(long, value_name = "DIR", conflicts_with = "bzimage")]
    pub kernel_src: Option<PathBuf>,
    /// Kernel image to boot; it is judged by what it supports
    #[arg(long, value_name = "FILE")]
    pub bzimage: Option<PathBuf>,
    /// Accelerator
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,
    /// Machine profile: a name in vm-images [default: the target's]
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// API profile: a name in kernel-configs/api [default: the target's]
    #[arg(long, value_name = "NAME")]
    pub api: Option<String>,
    /// Parameters for the kernel's command line, behind the machine's [default: none; those that the target
    /// has for campaigns in `fuzz`]
    #[arg(long, value_name = "PARAMETERS", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Use only what the cache holds
    #[arg(long)]
    pub offline: bool,
    /// Whether its kernel has pseudo-terminals in any case, for a shell.
    #[arg(skip)]
    pub terminals: bool,
}

impl Machine {
    /// The same, with series, machine profile and accelerator as they were chosen.
    pub fn chosen(&self, profile: &str, kind: refan_vm::Kind) -> Self {
        let accel = match kind {
            refan_vm::Kind::Kvm => Accel::Kvm,
            refan_vm::Kind::Tcg => Accel::Tcg,
        };
        let series = match self.kernel_src.is_none() && self.bzimage.is_none() {
            true => Some(prepare::request(self).series),
            false => self.series.clone(),
        };
        Self { machine: Some(profile.to_owned()), accel, series, ..self.clone() }
    }

    /// The options as words of a command line that stands for the same in any folder.
    pub fn words(&self) -> Vec<String> {
        let absolute = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            path.to_string_lossy().into_owned()
        };
        let accel = self.accel.to_possible_value().map(|value| value.get_name().to_owned());
        let of_base = self.kernel_src.is_none() && self.bzimage.is_none();
        let options = [
            ("--target", Some(self.target.clone())),
            ("--series", self.series.clone()),
            ("--base", of_base.then(|| self.base.clone())),
            ("--kernel-src", self.kernel_src.as_ref().map(absolute)),
            ("--bzimage", self.bzimage.as_ref().map(absolute)),
            ("--accel", accel),
            ("--machine", self.machine.clone()),
            ("--api", self.api.clone()),
            ("--append", self.append.clone()),
        ];
        let words = options.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
        words.flatten().collect()
    }

    /// The machine of such words.
    pub fn of_words(words: &[String]) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Words {
            #[command(flatten)]
            machine: Machine,
        }
        Words::try_parse_from(words).map(|words| words.machine)
    }
}

/// Accelerators of QEMU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where a trial shows that it works, else TCG
    #[default]
    Auto,
    /// KVM or nothing
    Kvm,
    /// TCG
    Tcg,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_its_words() {
        let words = ["--target", "kasan", "--series", "mutants", "--base", "7.2", "--accel", "tcg"];
        let words = words.map(str::to_owned);
        let machine = Machine::of_words(&words).expect("a machine");
        assert_eq!(machine.words(), words);
        let words =
            ["--target", "fast", "--bzimage", "/a b", "--accel", "auto", "--append", "-x y=1"];
        let words = words.map(str::to_owned);
        assert_eq!(Machine::of_words(&words).expect("a machine").words(), words);
        assert!(Machine::of_words(&["--no-such".to_owned()]).is_err());
    }
}
