//! `repro --gdb`: a finding, stopped for gdb.

use std::path::Path;

use anyhow::{Context, Result};
use refan_runner::artifact;
use refan_runner::debug::{self, Place};
use refan_runner::prepared::KERNEL_SOURCES;
use refan_runner::run::{SeenRun, Worker};
use refan_runner::{Prepared, Verdict};

use crate::cli::At;
use crate::exit::usage;
use crate::finding::Finding;

/// What gdb is to read, in the folder of the finding.
const SCRIPT: &str = "gdb.init";

/// Runs a finding up to a place, and leaves it to gdb until it is over. Returns what was seen then.
pub fn run(finding: &Finding, folder: &Path, at: Option<&At>) -> Result<SeenRun> {
    if std::process::Command::new("gdb").arg("--version").output().is_err() {
        return Err(usage("there is no gdb here: install it (Debian's package is called gdb)"));
    }
    if !finding.earlier.is_empty() {
        return Err(usage("the finding does not show without what ran before it: minimize it"));
    }
    let prepared = finding.prepared();
    let Some(symbols) = prepared.symbols()? else {
        return Err(usage(format!(
            "{} was built without debug information, by which gdb knows its code: --target kasan has it",
            prepared.kernel
        )));
    };
    let mut worker = Worker::start(prepared, finding.reference())?;
    let first = worker.run_seen(&[], &finding.program);
    drop(worker);
    let place = place(finding, &first.verdict, at)?;
    let room = tempfile::Builder::new().prefix("refan-gdb-").tempdir();
    let room = room.context("cannot make a folder for the socket")?;
    let socket = room.path().join("stub");
    let script = folder.join(SCRIPT);
    let text = script_text(prepared, &socket)?;
    std::fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    let reached = || {
        match &place {
            Place::Step(step) => {
                let text = finding.program.step_text(&finding.program.steps[*step]);
                say!("  stopped  in step {}, {text}, where it enters the kernel", step + 1);
            }
            Place::Function(name) => say!("  stopped  where the kernel enters {name} first"),
            Place::Report => say!("  stopped  where the kernel begins to report"),
        }
        say!("  attach   gdb -x {}", script.display());
        say!("           it goes on when gdb lets it, and ends when the program is over");
    };
    let run = debug::run_to(prepared, &symbols, &finding.program, &place, &socket, reached)?;
    match artifact::difference(&first, &run) {
        None => say!("  replay   the same run as without gdb"),
        Some(what) => say!("  replay   not the run that there is without gdb: {what}"),
    }
    Ok(run)
}

/// Where it stops.
fn place(finding: &Finding, verdict: &Verdict, at: Option<&At>) -> Result<Place> {
    let steps = finding.program.steps.len();
    if let Some(At::Function(name)) = at {
        return Ok(Place::Function(name.clone()));
    }
    if let Some(At::Step(at)) = at {
        let step = usize::from(*at) - 1;
        let makes_a_call = |step: &refan_program::Step| step.caller().is_some();
        if !finding.program.steps.get(step).is_some_and(makes_a_call) {
            return Err(usage(format!(
                "step {at} of {steps} is none in which a task makes a call"
            )));
        }
        return Ok(Place::Step(step));
    }
    match verdict {
        Verdict::Broken(violation) => Ok(Place::Step(violation.step)),
        Verdict::Report(_) => Ok(Place::Report),
        verdict => Err(usage(format!(
            "nothing is found here ({}), so there is no place to stop at: name one by --at STEP",
            verdict.word()
        ))),
    }
}

/// Gdb's commands: symbols, sources, the machine.
fn script_text(prepared: &Prepared, socket: &Path) -> Result<String> {
    let image = prepared.debug_image().context("there is no image with debug information")?;
    let sources = prepared.image.with_file_name(KERNEL_SOURCES);
    Ok(format!(
        "set pagination off\nset confirm off\nset disassemble-next-line auto\nfile {}\ndirectory {}\n\
         target remote {}\n",
        image.display(),
        sources.display(),
        socket.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

    use refan_program::Program;

    use super::*;
    use crate::{mutants, select};

    /// A bug that lockdep reports, the scenario that shows it, and its title.
    const BUG: &str = "lock-order";
    const SCENARIO: &str = "restart/watchdog-of-the-second-queue";
    const TITLE: &str = "possible circular locking dependency in perm_group_watchdog";

    /// Runs a program up to a place, where gdb tells who called what, and on to its end.
    fn callers(prepared: &Prepared, program: &Program, place: &Place) -> (String, SeenRun) {
        let room = tempfile::tempdir().expect("a folder");
        let (socket, script) = (room.path().join("stub"), room.path().join("script"));
        let text = script_text(prepared, &socket).expect("debug information");
        std::fs::write(&script, text + "backtrace\ndetach\n").expect("written");
        let symbols = prepared.symbols().expect("read").expect("symbols");
        let (sender, attached) = mpsc::channel();
        let reached = || {
            let mut gdb = Command::new("gdb");
            gdb.args(["-q", "-batch", "-x"]).arg(&script);
            let child = gdb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            sender.send(child.expect("gdb")).expect("somebody waits");
        };
        let run = debug::run_to(prepared, &symbols, program, place, &socket, reached);
        let run = run.unwrap_or_else(|error| panic!("{error:#}"));
        let output = attached.recv().expect("it was reached").wait_with_output().expect("gdb's");
        (String::from_utf8_lossy(&output.stdout).into_owned(), run)
    }

    #[test]
    #[ignore = "takes the mutants' kernel of `kasan`; `cargo xtask ci pr` runs it"]
    fn it_stops_where_the_report_begins_and_at_a_function() {
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let prepared = mutants::on_kasan(repository, BUG);
        let scenarios = select::scenarios(repository, &[SCENARIO.to_owned()]).expect("it");
        let program = &scenarios[0].program;

        let (callers_of_it, run) = callers(&prepared, program, &Place::Report);
        assert_eq!(run.verdict.title().as_deref(), Some(TITLE), "{:?}", run.verdict);
        assert!(callers_of_it.contains("print_circular_bug"), "{callers_of_it}");
        assert!(callers_of_it.contains("perm_group_watchdog"), "{callers_of_it}");

        let place = Place::Function("fanotify_queue_release".to_owned());
        let (callers_of_it, run) = callers(&prepared, program, &place);
        assert_eq!(run.verdict.title().as_deref(), Some(TITLE), "{:?}", run.verdict);
        assert!(callers_of_it.contains("#0  fanotify_queue_release"), "{callers_of_it}");
    }
}
