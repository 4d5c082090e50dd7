//! The command line.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::prepare;

/// Test harness and fuzzer for restartable fanotify permission events.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a patched kernel, boot it and run the scenario suites
    ///
    /// What is missing is fetched and built first. Exit status: 0 all held, 1 a rule was broken or
    /// a kernel checker spoke, 2 usage or the host lacks something, 3 no verdict.
    #[command(
        after_help = "Examples:\n  cargo xtask test\n  cargo xtask test queue restart/order\n  \
        cargo xtask test --kernel-src ~/linux --target kasan\n  \
        cargo xtask test --random 1000 --kind classic --against none\n  \
        cargo xtask test race --target kasan --sweep 5m"
    )]
    Test(Test),
    /// Search programs for one that breaks a rule, led by what they reach in the kernel
    ///
    /// A worker a core: a process of the fuzz target `program` with a machine of its own. Each program
    /// is judged by the model; coverage of fs/notify and what the model sees say which are worth
    /// keeping. Findings are confirmed on freshly restored machines and kept as artifacts. Exit status:
    /// 0 nothing was found, 1 something was, 3 no verdict.
    #[command(
        after_help = "Examples:\n  cargo xtask fuzz --time 10m\n  \
        cargo xtask fuzz --time 5m --target kcov --mutant restart-at-tail --corpus /tmp/new --no-seeds\n  \
        cargo xtask fuzz --minimize --time 10m",
        mut_arg("target", |target| target.default_value("kasan"))
    )]
    Fuzz(Fuzz),
    /// Which lines and branches of fs/notify the suites pass, or a corpus
    ///
    /// The programs run on a kernel whose code counts (gcov). What comes out is a site to open from disk, the
    /// source with how often each line was passed, and at its top the lines of the series that nothing passed;
    /// its record, coverage.json, is what a later run is compared with. Exit status: 0 unless a program is a
    /// finding (1) or nothing could be counted (3).
    #[command(
        after_help = "Examples:\n  cargo xtask coverage\n  cargo xtask coverage queue restart\n  \
        cargo xtask coverage --no-suites --corpus ~/.cache/refan/corpus/kcov\n  \
        cargo xtask coverage --compare old-site",
        mut_arg("target", |target| target.default_value("gcov"))
    )]
    Coverage(Coverage),
    /// Run a program of your own in the guest, a test in C for instance
    ///
    /// The program's file is copied into the guest and run there as root, on a machine of its own. Where
    /// it starts, /work, is a tmpfs, as is /tmp; /proc, /sys and /dev are mounted as far as the kernel has
    /// them. It has to be linked statically (`cc -static`), unless --rootfs brings what it needs. Input,
    /// output and errors are passed through as they come. Time in the guest is that of its instructions on the machine `deterministic`: there a
    /// sleep takes no time unless the program may wait for input.
    ///
    /// Of a folder each executable file is run as a test on a machine of its own, and what became of it is
    /// told as KTAP with the output in between: a test fails by its exit status or by what it says itself as
    /// TAP or KTAP, and was skipped with status 4 (kselftest) or 32 (LTP). Status 1 if one failed, else 0.
    ///
    /// Exit status: the program's own, 128 + N if signal N ended it, 126 if it cannot be executed and 127
    /// if it is not there; but 1 whatever it says if the kernel reported something, 2 usage or the host
    /// lacks something, 3 the program does not end or the machine failed. Standard error tells which.
    #[command(after_help = "Examples:\n  cargo xtask exec -- ./my-test -v\n  \
        cargo xtask exec --kernel-src ~/linux --target kasan -- ./fanotify01\n  \
        cargo xtask exec --rootfs ~/debian -- ./folder-of-tests\n  \
        cargo xtask exec --busybox /bin/busybox -- sh -c 'uname -r; dmesg | tail'")]
    Exec(Exec),
    /// A shell in the guest, at your terminal
    ///
    /// It is that of busybox or of the root's files, which is root on a machine of its own, with job
    /// control; the size of your terminal is passed on. Time in the guest is that of its instructions on
    /// the machine `deterministic`, where nothing to do passes as fast as it does here.
    ///
    /// Exit status: as of `exec`.
    #[command(after_help = "Examples:\n  cargo xtask shell --busybox /bin/busybox\n  \
        cargo xtask shell --rootfs ~/debian --copy ./tests --target kasan\n  \
        cargo xtask shell --rootfs ~/debian -- /usr/bin/python3")]
    Shell(Shell),
    /// The kernels under test and the cache
    #[command(subcommand)]
    Kernel(Kernel),
    /// What this host has and lacks
    #[command(after_help = "Example:\n  cargo xtask doctor --install")]
    Doctor(Doctor),
    /// The figures of the project, each beside the limit that it is measured against
    ///
    /// Without a subcommand all of them in one table, on the targets `fast` (and `kasan` for the rates of the
    /// fuzzer and `kcov` for its findings): from the command to the verdict, boot and restore, the suites,
    /// programs a second, the time to find a seeded bug and to make it small. Figure and limit are measured
    /// in the same run; a kernel that is not in the cache is built first, at its own cost.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --json > figures.jsonl\n  \
        cargo xtask bench --compare figures.jsonl"
    )]
    Bench(AllFigures),
    /// Run a finding again and say how often it shows
    ///
    /// It is run on the kernel and machine of the finding, unless the options name others. Exit status: 1 it
    /// shows, 0 it does not, 3 neither can be said. Written as C it is not run; then a scenario's file will
    /// do as well.
    #[command(after_help = "Examples:\n  cargo xtask repro target/refan/artifacts/X\n  \
        cargo xtask repro target/refan/artifacts/X --runs 20 --kernel-src ~/linux\n  \
        cargo xtask repro target/refan/artifacts/X --trace\n  \
        cargo xtask repro target/refan/artifacts/X --gdb --at 4\n  \
        cargo xtask repro target/refan/artifacts/X --gdb --at fanotify_read\n  \
        cargo xtask repro scenarios/restart/before-unread.scn --c repro.c")]
    Repro(Repro),
    /// Make the program of a finding as small as it can be
    ///
    /// Steps, tasks, blocks, files and arguments are left out or made plain for as long as the finding
    /// keeps its title or breaks the same rule, each time on a freshly restored machine. What does not
    /// fail every time is run until one that fails as often would have shown with 95 %. The least program
    /// so far is always in the finding's folder as `minimized.scn`; at the end it becomes a finding of its
    /// own. Exit status: 0 it is as small as it gets, 3 the finding does not show.
    #[command(after_help = "Examples:\n  cargo xtask minimize target/refan/artifacts/X\n  \
        cargo xtask minimize target/refan/artifacts/X --scn scenarios/regress/what-it-shows.scn")]
    Minimize(Minimize),
    /// Run the suites against kernels with one seeded bug each
    ///
    /// Prints the kill matrix: each bug with the rules that it breaks and the scenario that sees it
    /// first, those that none sees ahead. Scenarios that name the broken rules run first, sweeps last.
    /// The kernel without a bug has to hold all that is run, else there is no verdict (3). A bug that no
    /// scenario sees ends in status 1. The matrix is also written as a page below target/refan.
    #[command(
        after_help = "Examples:\n  cargo xtask mutants\n  cargo xtask mutants restart-at-tail --full\n  \
        cargo xtask mutants order-reversed --fuzz --time 2m --target kcov\n  \
        cargo xtask mutants --mechanical --json | jq -r 'select(.fate == \"survived\").name'"
    )]
    Mutants(Mutants),
    /// The rules of the contract, with the scenarios and mutants that stand for each
    ///
    /// A rule without two scenarios, or without a mutant that is known to be killed, is a hole and ends in
    /// status 1.
    #[command(after_help = "Example:\n  cargo xtask rules --json | jq .rule")]
    Rules(Rules),
    /// Make the site again from what runs have left: coverage, campaigns, kill matrices, rules
    ///
    /// `coverage`, `fuzz` and `mutants` do so at their end.
    Site(Site),
    /// What CI runs, the same at a desk
    #[command(subcommand)]
    Ci(Ci),
    /// Print the completions of a shell
    ///
    /// They are for `xtask`, which is to stand for `cargo xtask`: what follows `cargo` is completed by what
    /// comes with cargo.
    #[command(
        after_help = "Example, in ~/.bashrc or typed:\n  xtask() { cargo xtask \"$@\"; }\n  \
        source <(cargo xtask completions bash)"
    )]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual, a page for each subcommand
    #[command(after_help = "Example:\n  cargo xtask man target/man\n  \
        man --local-file target/man/cargo-xtask-test.1")]
    Man {
        /// Folder of the pages
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

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

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// One JSON object a line
    #[arg(long, conflicts_with = "ktap")]
    pub json: bool,
    /// KTAP version 1
    #[arg(long)]
    pub ktap: bool,
}

/// `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Suites (`queue`), scenarios (`queue/one`) or files; all suites if none is named
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
    /// Install what the host lacks before anything else
    #[arg(long)]
    pub install_deps: bool,
    /// End with a status for `git bisect run`: 125, which skips the commit, where its kernel does not build
    /// or boot or has no verdict for another reason; 128, which stops, where the call or the host is wrong
    #[arg(long)]
    pub bisect: bool,
    /// Test a kernel with a seeded bug: a name in kernel-configs/mutants/mutants.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["series", "bzimage"])]
    pub mutant: Option<String>,
    /// Run programs without the feature on a kernel of this series too; the traces must be the same
    #[arg(long, value_name = "SERIES")]
    pub against: Option<String>,
    /// Run so many random programs in place of the suites
    #[arg(long, value_name = "N", conflicts_with = "scenarios")]
    pub random: Option<u64>,
    /// What random programs are made of
    #[arg(long, value_enum, default_value_t, requires = "random")]
    pub kind: Kind,
    /// Seed of random programs
    #[arg(long, value_name = "N", default_value_t = 1, requires = "random")]
    pub seed: u64,
    /// Build and prepare everything, run no scenario
    #[arg(long)]
    pub prepare: bool,
    /// How far branches `@ sweep` are swept: a time for all of them together, or `full`
    ///
    /// A sweep runs its scenario with the branch at one offset after another, so that it preempts the
    /// others at each place of the kernel that they pass (known where the kernel has KCOV, as of target
    /// `kasan`). Sweeps that are named get 8 runs each unless a time is given, which goes where most
    /// places are that no sweep has hit, or `full`: until no place is left; without a name or a time
    /// none is run. Where time is not virtual (`--target kasan --machine smp`), a sweep is 20 runs, and
    /// how many of them raced and came to what is told.
    #[arg(long, value_name = "DURATION|full", value_parser = sweep)]
    pub sweep: Option<Sweep>,
}

/// How far sweeps go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// All together for so long.
    For(Duration),
    /// To the end.
    Full,
}

fn sweep(text: &str) -> Result<Sweep, String> {
    if text == "full" {
        return Ok(Sweep::Full);
    }
    duration(text).map(Sweep::For).map_err(|error| format!("{error}, or `full`"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("expected a time like `90s`, `5m` or `1h`".to_owned()),
    };
    let number: u32 = digits.parse().map_err(|_| format!("`{digits}` is no whole number"))?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

/// Where a run stops for gdb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Where the call of this step, from 1, enters the kernel.
    Step(u16),
    /// Where this function of the kernel is entered first.
    Function(String),
}

fn at(text: &str) -> Result<At, String> {
    match text.parse() {
        Ok(0) => Err("steps are counted from 1".to_owned()),
        Ok(step) => Ok(At::Step(step)),
        Err(_) if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
            Ok(At::Function(text.to_owned()))
        }
        Err(_) => Err("expected the number of a step or the name of a function".to_owned()),
    }
}

/// Kinds of random programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Any calls, one after another
    #[default]
    Sequential,
    /// Any calls, blocks among them
    Blocks,
    /// Calls one after another on groups without the feature
    Classic,
}

/// A finding, and where it is run.
#[derive(Debug, Args)]
pub struct Finding {
    /// Folder of the finding
    #[arg(value_name = "ARTIFACT")]
    pub artifact: PathBuf,
    /// Kernel target [default: the finding's]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Patch series, `none` for the base as it is [default: the finding's; none with --kernel-src]
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
    /// Kernel tree to build, as it stands; it is not modified
    #[arg(long, value_name = "DIR", conflicts_with = "bzimage")]
    pub kernel_src: Option<PathBuf>,
    /// Kernel image to boot; it is judged by what it supports
    #[arg(long, value_name = "FILE")]
    pub bzimage: Option<PathBuf>,
    /// Use only what the cache holds
    #[arg(long)]
    pub offline: bool,
}

impl Finding {
    /// As it was found.
    pub fn as_found(artifact: &Path) -> Self {
        let artifact = artifact.to_owned();
        Self {
            artifact,
            target: None,
            series: None,
            kernel_src: None,
            bzimage: None,
            offline: false,
        }
    }
}

/// `repro`.
#[derive(Debug, Args)]
pub struct Repro {
    /// The finding.
    #[command(flatten)]
    pub finding: Finding,
    /// Runs, each on a freshly restored machine
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Run it once and print each call, what it came to, who slept and woke, and what was expected
    #[arg(long, conflicts_with_all = ["runs", "replay"])]
    pub trace: bool,
    /// Run it so often and hold trace and console, to the nanosecond, against the first run
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20",
        value_parser = clap::value_parser!(u32).range(2..), conflicts_with = "runs")]
    pub replay: Option<u32>,
    /// Stop it for gdb, at the call that is wrong or the kernel's first report, and print how gdb attaches
    #[arg(long, conflicts_with_all = ["runs", "trace", "replay"])]
    pub gdb: bool,
    /// With --gdb: stop where the call of this step enters the kernel, or where this function of the kernel is
    /// entered first
    ///
    /// Up to a function it is the same run to the nanosecond. On its way to a step it stops at the calls before
    /// it, and each time virtual time moves on to the next timer: races do not replay there.
    #[arg(long, value_name = "STEP|FUNCTION", requires = "gdb", value_parser = at)]
    pub at: Option<At>,
    /// Write it as a C program, which needs nothing but a compiler
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "trace", "replay"])]
    pub c: Option<PathBuf>,
    /// Write it as a test for the kernel's tools/testing/selftests/filesystems/fanotify
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "trace", "replay"])]
    pub kselftest: Option<PathBuf>,
}

/// `minimize`.
#[derive(Debug, Args)]
pub struct Minimize {
    /// The finding.
    #[command(flatten)]
    pub finding: Finding,
    /// Write the least program as a scenario to this file, too
    #[arg(long, value_name = "FILE")]
    pub scn: Option<PathBuf>,
}

/// `fuzz`.
#[derive(Debug, Args)]
pub struct Fuzz {
    /// How long: `90s`, `10m`, `1h`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub time: Option<Duration>,
    /// How many programs
    #[arg(long, value_name = "N")]
    pub runs: Option<u64>,
    /// Workers side by side [default: one a core]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroU16>,
    /// Seed of the first worker; each further one has the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    /// Folder of the corpus [default: in the cache, one a target]
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Share the corpus with campaigns on other machines: a folder, or s3://BUCKET/PREFIX, gs://…, az://…
    ///
    /// Entries that others have added are taken as long as the campaign runs; its own, and its findings, go
    /// there. Keys and endpoints are taken from the environment (AWS_…, GOOGLE_…, AZURE_…).
    #[arg(long, value_name = "URL|DIR", conflicts_with = "minimize")]
    pub store: Option<String>,
    /// Do not add the scenarios to the corpus
    #[arg(long)]
    pub no_seeds: bool,
    /// Folder or file of the kernel's source to cover beside fs/notify
    #[arg(long, value_name = "DIR")]
    pub cover: Vec<String>,
    /// Search a kernel with a seeded bug: a name in kernel-configs/mutants/mutants.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["series", "bzimage"])]
    pub mutant: Option<String>,
    /// Run no campaign, and make the corpus small: fewer entries of fewer steps that cover the same
    ///
    /// It takes as long as it takes, or --time.
    #[arg(long, conflicts_with_all = ["runs", "jobs", "seed", "no_seeds", "mutant", "json"])]
    pub minimize: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// `coverage`.
#[derive(Debug, Args)]
pub struct Coverage {
    /// Suites (`queue`), scenarios (`queue/one`) or files; all suites if none is named
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Run the programs of this corpus, too
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Run no scenarios
    #[arg(long, requires = "corpus", conflicts_with = "scenarios")]
    pub no_suites: bool,
    /// Tell what is passed otherwise than in an earlier run: its site or its coverage.json
    #[arg(long, value_name = "DIR|FILE")]
    pub compare: Option<PathBuf>,
    /// Folder of the site [default: target/refan/site]
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// `site`.
#[derive(Debug, Args)]
pub struct Site {
    /// Its folder [default: target/refan/site]
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
}

/// A guest, and what it has.
#[derive(Debug, Args)]
pub struct Guest {
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Run it on a kernel with a seeded bug: a name in kernel-configs/mutants/mutants.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["series", "bzimage"])]
    pub mutant: Option<String>,
    /// Copy a file or a folder to where the program starts, too
    #[arg(long, value_name = "PATH")]
    pub copy: Vec<PathBuf>,
    /// A static busybox, whose commands the guest then has: for scripts
    #[arg(long, value_name = "FILE", conflicts_with = "rootfs")]
    pub busybox: Option<PathBuf>,
    /// Folder whose files the guest has as its root, such as debootstrap makes: for dynamic programs
    ///
    /// They are copied into the guest's memory, all as root's; the folder stays as it is. Its `dev`, `proc`
    /// and `sys` are left out, which are the kernel's there.
    #[arg(long, value_name = "DIR")]
    pub rootfs: Option<PathBuf>,
}

/// `shell`.
#[derive(Debug, Args)]
pub struct Shell {
    /// The guest.
    #[command(flatten)]
    pub guest: Guest,
    /// What is run in place of the shell: a file of this host or a command of the guest's
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The guest.
    #[command(flatten)]
    pub guest: Guest,
    /// How long the program may run, by the guest's clock and by the host's
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// The program, a file of this host or a command of the guest's, and its arguments; or a folder of tests
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `mutants`.
#[derive(Debug, Args)]
pub struct Mutants {
    /// Names in kernel-configs/mutants/mutants.toml, or of mechanical ones; all if none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Run every scenario on every mutant, not only up to the first one that sees it
    #[arg(long)]
    pub full: bool,
    /// In place of the bugs made by hand each line of the series as rules change it
    #[arg(long)]
    pub mechanical: bool,
    /// In place of the suites a campaign from an empty corpus on each, up to what it finds first
    #[arg(long, conflicts_with = "full")]
    pub fuzz: bool,
    /// How long a campaign may take
    #[arg(long, requires = "fuzz", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub time: Duration,
    /// Make the patch of the mechanical mutants anew from the series
    #[arg(long, requires = "mechanical", conflicts_with_all = ["names", "full", "fuzz", "json"])]
    pub generate: bool,
    /// Write into kernel-configs/mutants/killed.toml by what each was killed; `rules` reads it
    #[arg(long, conflicts_with_all = ["mechanical", "fuzz"])]
    pub write: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// `kernel`.
#[derive(Debug, Subcommand)]
pub enum Kernel {
    /// Bases, series and targets, and what the cache holds
    List,
    /// Build a kernel and print where it is
    #[command(after_help = "Example:\n  cargo xtask kernel build --target kasan")]
    Build(Machine),
    /// Print the configuration that a kernel is built with
    Config(Machine),
    /// Empty the cache
    Clean,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Install what is missing with the host's package manager
    #[arg(long)]
    pub install: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `bench`.
#[derive(Debug, Args)]
pub struct AllFigures {
    /// One of them, at length.
    #[command(subcommand)]
    pub one: Option<Bench>,
    /// Measure the cold start, too: a kernel is fetched and built into a cache of its own
    #[arg(long)]
    pub cold: bool,
    /// Say how each has changed since the run that printed this file with --json
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// One figure of `bench`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Boot to agent-ready, beside a bare init
    #[command(after_help = "Example:\n  cargo xtask bench boot --runs 50")]
    Boot(Measure),
    /// Restore to agent-ready, beside the boot of a guest of a few instructions
    #[command(after_help = "Example:\n  cargo xtask bench restore --target kasan")]
    Restore(Measure),
    /// The rate of the fuzzer, beside what the guest does alone
    ///
    /// One worker fuzzes from the scenarios; then the machine runs the same programs with neither
    /// coverage nor a host that looks at them. A restart by a program is held against its bare calls.
    #[command(
        after_help = "Example:\n  cargo xtask bench fuzz --time 1m",
        mut_arg("target", |target| target.default_value("kasan"))
    )]
    Fuzz(MeasureFuzz),
    /// Kernel reports, hangs and deaths on purpose, one machine after another
    ///
    /// Each is held against what is known of its bug: title, line of the source, or that there is no
    /// verdict. Beyond the first of each, what this process holds of the host must not grow. Exit status: 0
    /// all were told as what they are, 1 one was not, or something grew.
    #[command(after_help = "Examples:\n  cargo xtask bench crashes --runs 200\n  \
        cargo xtask bench crashes hung-task --logs harness/runner/tests/kernel_logs")]
    Crashes(Crashes),
    /// What campaigns find from nothing, made small: steps, time, as C, as scenarios
    ///
    /// A campaign on each bug goes on up to its first finding. That is minimized and kept; its C file is
    /// compiled by plain cc and run in the kernel with the bug and in the one without, its scenario on both
    /// of `fast` and `kasan`, and the least program 100 times. Exit status: 0 all is within its limit, 1
    /// something is not.
    #[command(after_help = "Examples:\n  cargo xtask bench minimize\n  \
        cargo xtask bench minimize drop-at-release order-reversed --time 2m")]
    Minimize(Minimizations),
}

/// `bench minimize`.
#[derive(Debug, Args)]
pub struct Minimizations {
    /// Bugs of kernel-configs/mutants/mutants.toml; ten if none is named
    #[arg(value_name = "BUG")]
    pub bugs: Vec<String>,
    /// How long each is searched for at most
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    pub time: Duration,
}

/// `bench crashes`.
#[derive(Debug, Args)]
pub struct Crashes {
    /// Bugs of kernel-configs/series/provoke/bugs.toml; all that the target tells if none is named
    #[arg(value_name = "BUG")]
    pub bugs: Vec<String>,
    /// Crashes, of each bug at least one
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub runs: u32,
    /// Kernel target, one with debug information and checkers
    #[arg(long, default_value = "kasan", value_name = "NAME")]
    pub target: String,
    /// Write what the kernel printed into this folder
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}

/// How long to measure, on what.
#[derive(Debug, Args)]
pub struct MeasureFuzz {
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// How long to fuzz; restarts are made for a sixth of it each
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = duration)]
    pub time: Duration,
    /// Seed of the engine
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// How often to measure, on what.
#[derive(Debug, Args)]
pub struct Measure {
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Runs of each kind
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub runs: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `rules`.
#[derive(Debug, Args)]
pub struct Rules {
    /// One JSON object a line
    #[arg(long, conflicts_with = "write")]
    pub json: bool,
    /// Write the table into docs/rules.md
    #[arg(long)]
    pub write: bool,
}

/// `ci`.
#[derive(Debug, Subcommand)]
pub enum Ci {
    /// Lint, tests, and the suites on `fast` and `kasan`
    Pr {
        /// Install what the host lacks before anything else
        #[arg(long)]
        install_deps: bool,
    },
    /// A campaign for so long; green unless it finds what is not known
    ///
    /// What kernel-configs/known.toml names is known. Each other finding is made small, for as long
    /// as the campaign at most, and left in a folder for upload together with the text of an issue and a
    /// report. Exit status: 0 nothing new, 1 something new, 3 no verdict.
    #[command(after_help = "Examples:\n  cargo xtask ci nightly --time 2m\n  \
        cargo xtask ci nightly --time 4h --corpus corpus -- --target kcov --jobs 4")]
    Nightly(Nightly),
}

/// `ci nightly`.
#[derive(Debug, Args)]
pub struct Nightly {
    /// How long the campaign lasts: `90s`, `10m`, `1h`
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub time: Duration,
    /// Folder of the corpus, kept between nights [default: in the cache, one a target]
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Folder of the results; those of an earlier night are deleted [default: target/refan/nightly]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Install what the host lacks before anything else
    #[arg(long)]
    pub install_deps: bool,
    /// Further options of `fuzz`
    #[arg(last = true, value_name = "OPTION")]
    pub fuzz: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn sweeps_are_bounded_by_time_or_not_at_all() {
        assert_eq!(sweep("full"), Ok(Sweep::Full));
        assert_eq!(sweep("90s"), Ok(Sweep::For(Duration::from_secs(90))));
        assert_eq!(sweep("5m"), sweep("300s"));
        assert!(sweep("5").is_err() && sweep("m").is_err() && sweep("1.5h").is_err());
    }

    #[test]
    fn gdb_stops_at_a_step_or_a_function() {
        assert_eq!(at("3"), Ok(At::Step(3)));
        assert_eq!(at("fanotify_read"), Ok(At::Function("fanotify_read".to_owned())));
        assert!(at("0").is_err() && at("-1").is_err() && at("").is_err());
    }

    #[test]
    fn a_machine_is_its_words() {
        let words = ["--target", "kasan", "--series", "mutants", "--base", "7.2", "--accel", "tcg"];
        let words = words.map(str::to_owned);
        let machine = Machine::of_words(&words).expect("a machine");
        assert_eq!(machine.words(), words);
        let words = ["--target", "fast", "--bzimage", "/a b", "--accel", "auto"].map(str::to_owned);
        assert_eq!(Machine::of_words(&words).expect("a machine").words(), words);
        assert!(Machine::of_words(&["--no-such".to_owned()]).is_err());
    }

    #[test]
    fn fuzz_has_a_target_of_its_own_by_default() {
        let parse = |words: &[&str]| match Cli::try_parse_from(words).expect("a command").command {
            Command::Fuzz(Fuzz { machine, .. }) | Command::Test(Test { machine, .. }) => {
                machine.target
            }
            command => panic!("{command:?}"),
        };
        assert_eq!(parse(&["xtask", "fuzz", "--time", "1m"]), "kasan");
        assert_eq!(parse(&["xtask", "fuzz", "--target", "kcov"]), "kcov");
        assert_eq!(parse(&["xtask", "test"]), "fast");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
