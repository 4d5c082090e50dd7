//! The command line.

mod bench;
mod ci;
mod coverage;
mod duration;
mod finding;
mod fuzz;
mod guest;
mod kernel;
mod machine;
mod mutants;
mod test;

pub use bench::{AllFigures, Bench, Crashes, Measure, MeasureFuzz, Minimizations};
pub use ci::{Ci, Nightly};
pub use coverage::{Coverage, Site};
pub use finding::{At, Finding, Minimize, Repro};
pub use fuzz::Fuzz;
pub use guest::{Exec, Guest, Shell};
pub use kernel::{Doctor, Kernel};
pub use machine::{Accel, Machine};
pub use mutants::{Mutants, Rules};
pub use test::{Kind, Sweep, Test};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// scenario sees ends in status 1. A run of all is also written as a page below target/refan.
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn fuzz_has_a_target_of_its_own_by_default() {
        let parse = |words: &[&str]| match Cli::try_parse_from(words).expect("a command").command {
            Command::Fuzz(Fuzz { machine, .. }) | Command::Test(Test { machine, .. }) => {
                machine.target
            }
            command => panic!("{command:?}"),
        };
        assert_eq!(parse(&["xtask", "fuzz", "--time", "1m"]), "kasan");
        assert_eq!(parse(&["xtask", "fuzz", "--runs", "1", "--target", "kcov"]), "kcov");
        assert_eq!(parse(&["xtask", "test"]), "fast");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
