//! From a program to its verdict.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use anyhow::Result;
use refan_model::Traversed;
use refan_program::{Program, Rule};
use refan_vm::MachineError;
use refan_wire::Record;

use crate::differential::{self, Comparison};
use crate::earlier::Earlier;
use crate::guest::{Capabilities, Guest, Run};
use crate::judge::{self, Judgement};
use crate::kernel_log::{self, Report, Symbols};
use crate::kmemleak;
use crate::prepared::Prepared;
use crate::reach::Reach;
use crate::suite::Scenario;
use crate::sweep::{Budget, Plan, Sweep};
use crate::verdict::Verdict;
use crate::watchdog;

/// Of how many programs it is asked what they have left: kmemleak takes as long as dozens of them.
const BATCH: u32 = 50;

const X5: Rule = Rule::named('X', 5);

/// How often a finding is tried again, each time on a freshly restored machine.
const REPEATS: u32 = 2;

/// What a scenario came to, with what it takes to understand it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// The rules it is about.
    pub rules: Vec<Rule>,
    /// The verdict.
    pub verdict: Verdict,
    /// The run, call by call.
    pub history: String,
    /// What the kernel printed during it.
    pub console: String,
    /// Of a finding: how often it showed again, of how many tries on a fresh machine.
    pub repeated: Option<(u32, u32)>,
    /// What ran on the machine before it, as far as it does not show without.
    pub earlier: Vec<Earlier>,
    /// What was tried, if a branch is swept.
    pub sweep: Option<Sweep>,
    /// What its run came to beside the verdict.
    pub reach: Reach,
    /// The program that it is the verdict on: of a swept branch that did not hold, with a plain offset.
    /// None where it is one on many.
    pub program: Option<Program>,
    /// The command that ran its machine; empty where there was none.
    pub command_line: Vec<String>,
    /// How long it took, repeats included.
    pub elapsed: Duration,
}

/// A place where scenarios are run one after another: one machine, made anew after each finding and
/// for each program whose calls have a time.
pub struct Worker<'a> {
    prepared: &'a Prepared,
    virtual_time: bool,
    capabilities: Capabilities,
    guest: Option<Guest>,
    /// A machine that has run programs, while another one runs one whose calls have a time.
    aside: Option<Guest>,
    /// A machine whose kernel says what programs without the feature do (I4).
    reference: Option<Box<Worker<'a>>>,
    /// Where the kernel's functions are, once that is asked, if it is known.
    symbols: OnceCell<Option<Symbols>>,
}

/// All that was seen of one run.
#[derive(Clone, Debug)]
pub struct SeenRun {
    /// The verdict.
    pub verdict: Verdict,
    /// The trace, as far as there is one.
    pub records: Vec<Record>,
    /// What the kernel printed.
    pub console: String,
}

/// What one run came to.
pub(crate) struct Ran {
    pub verdict: Verdict,
    pub history: String,
    pub console: String,
    /// The command that ran the machine; empty where there was none.
    pub command_line: Vec<String>,
    /// The trace, as far as there is one.
    pub records: Vec<Record>,
    pub reach: Reach,
    pub elapsed: Duration,
}

impl<'a> Worker<'a> {
    /// Starts its machine and probes the kernel; the same for the reference, if there is one.
    pub fn start(prepared: &'a Prepared, reference: Option<&'a Prepared>) -> Result<Self> {
        let reference = reference.map(|prepared| Self::start(prepared, None)).transpose()?;
        let virtual_time = prepared.spec()?.profile.virtual_time.is_some();
        let reference = reference.map(Box::new);
        // The first program finds a machine as those find it that are tried again: not the one that was probed.
        let capabilities = Guest::start(prepared)?.probe(prepared)?;
        Ok(Self {
            prepared,
            virtual_time,
            capabilities,
            guest: None,
            aside: None,
            reference,
            symbols: OnceCell::new(),
        })
    }

    /// Whether the guest's time is that of its instructions.
    pub(crate) fn virtual_time(&self) -> bool {
        self.virtual_time
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        match &mut self.guest {
            Some(guest) => Ok(guest),
            empty => Ok(empty.insert(Guest::start(self.prepared)?)),
        }
    }

    /// Goes on with machines of another seeded bug in the same kernel.
    pub fn go_on_as(&mut self, prepared: &'a Prepared) {
        if prepared.image != self.prepared.image {
            self.symbols = OnceCell::new();
        }
        self.prepared = prepared;
        self.restart();
    }

    /// Has the next program run on fresh machines.
    pub(crate) fn restart(&mut self) {
        self.guest = None;
        self.aside = None;
        if let Some(reference) = &mut self.reference {
            reference.restart();
        }
    }

    /// Why a program cannot be judged on this kernel, if it needs what the kernel lacks.
    pub fn lacking(&self, program: &Program) -> Option<String> {
        self.capabilities.lacking(program)
    }

    /// Runs and judges a program on a freshly restored machine.
    pub fn run_afresh(&mut self, program: &Program) -> Verdict {
        self.restart();
        self.accounted(program).verdict
    }

    /// Runs and judges a scenario once, on a freshly restored machine; nothing is swept or tried again.
    pub fn run_once(&mut self, scenario: &Scenario) -> Outcome {
        self.restart();
        let ran = self.accounted(&scenario.program);
        self.outcome(scenario, &scenario.program, ran, None)
    }

    /// The same behind what a machine did before.
    pub fn run_behind(&mut self, earlier: &[Earlier], scenario: &Scenario) -> Outcome {
        let ran = self.behind(earlier, &scenario.program);
        let outcome = self.outcome(scenario, &scenario.program, ran, None);
        Outcome { earlier: earlier.to_vec(), ..outcome }
    }

    /// Runs a scenario behind what its machine had done before, and then behind as little of that as it
    /// takes to find this. None if it does not show so either.
    pub(crate) fn shown_behind(
        &mut self,
        earlier: &[Earlier],
        scenario: &Scenario,
        title: &str,
        tries: u32,
    ) -> Option<Outcome> {
        let mut shows = |earlier: &[Earlier]| {
            let outcome = self.run_behind(earlier, scenario);
            (outcome.verdict.title().as_deref() == Some(title)).then_some(outcome)
        };
        let all = shows(earlier)?;
        let lengths = std::iter::successors(Some(1), |length| Some(length * 2));
        let shorter = lengths.take_while(|length| *length < earlier.len());
        let least = shorter.map(|length| &earlier[earlier.len() - length..]).find_map(&mut shows);
        let mut outcome = least.unwrap_or(all);
        let again = (0..tries).filter(|_| shows(&outcome.earlier).is_some()).count() as u32;
        outcome.repeated = Some((again, tries));
        Some(outcome)
    }

    /// Runs and judges a program behind what a machine did before, mostly nothing, on a freshly restored
    /// machine, and says all that was seen.
    pub fn run_seen(&mut self, earlier: &[Earlier], program: &Program) -> SeenRun {
        let Ran { verdict, records, console, .. } = self.behind(earlier, program);
        SeenRun { verdict, records, console }
    }

    fn behind(&mut self, earlier: &[Earlier], program: &Program) -> Ran {
        self.restart();
        for one in earlier {
            // What became of it was told when it ran first.
            let _ = self.guest().and_then(|guest| match one {
                Earlier::Program(program) => guest.run(program).map(drop),
                Earlier::Account => guest.account().map(drop),
            });
        }
        let mut ran = self.here(program);
        if matches!(ran.verdict, Verdict::Held) {
            ran.verdict = self.account(program);
        }
        ran
    }

    /// Runs and judges a scenario; a branch that is to be swept is swept as far as the budget goes.
    pub fn run(&mut self, scenario: &Scenario, budget: Budget) -> Outcome {
        // It has a sweep, or nothing is told.
        let plan = Plan::new([scenario], budget);
        let mut swept = None;
        plan.run(self, |outcome| swept = Some(outcome));
        swept.or_else(|| plan.finish().pop()).unwrap_or_else(|| {
            let ran = self.accounted(&scenario.program);
            self.confirm(scenario, &scenario.program, ran)
        })
    }

    /// The outcome of a run of a scenario's program; a finding is tried again on fresh machines.
    pub(crate) fn confirm(&mut self, scenario: &Scenario, program: &Program, ran: Ran) -> Outcome {
        let begun = Instant::now();
        let mut repeated = None;
        if let Some(title) = ran.verdict.title() {
            let earlier = self.guest.as_ref().map_or(&[][..], Guest::earlier).to_vec();
            let mut again = 0;
            for _ in 0..REPEATS {
                self.restart();
                again +=
                    u32::from(self.accounted(program).verdict.title().as_ref() == Some(&title));
            }
            repeated = Some((again, REPEATS));
            // On a machine whose time is virtual it comes of what ran there, then.
            if again == 0 && self.virtual_time && !earlier.is_empty() {
                let scenario = Scenario { name: scenario.name.clone(), program: program.clone() };
                let shown = self.shown_behind(&earlier, &scenario, &title, REPEATS);
                if let Some(outcome) = shown {
                    return Outcome { elapsed: ran.elapsed + begun.elapsed(), ..outcome };
                }
            }
        }
        let mut outcome = self.outcome(scenario, program, ran, repeated);
        outcome.elapsed += begun.elapsed();
        outcome
    }

    /// What a run came to, as it is told. After all but a good one the next machine is a fresh one.
    fn outcome(
        &mut self,
        scenario: &Scenario,
        program: &Program,
        ran: Ran,
        repeated: Option<(u32, u32)>,
    ) -> Outcome {
        let Ran { mut verdict, history, console, command_line, reach, elapsed, .. } = ran;
        if let Verdict::Report(report) | Verdict::Known(report) = &mut verdict {
            self.add_lines(report);
        }
        if !matches!(verdict, Verdict::Held | Verdict::Unsupported(_)) {
            self.restart();
        }
        Outcome {
            name: scenario.name.clone(),
            rules: scenario.program.rules(),
            verdict,
            history,
            console,
            repeated,
            earlier: Vec::new(),
            sweep: None,
            reach,
            program: Some(program.clone()),
            command_line,
            elapsed,
        }
    }

    /// What happens at a time after the instant depends on all that the kernel did before, and what the watchdog says
    /// on what it was told: such a program has a machine to itself, and the others go on with theirs afterwards.
    fn choose_machine(&mut self, program: &Program) {
        let shared = self.aside.as_ref().or(self.guest.as_ref());
        let is_as_set = shared.is_none_or(|guest| watchdog::is_as_set_by(program, guest));
        if is_as_set && !(self.virtual_time && program.is_timed()) {
            self.guest = self.aside.take().or(self.guest.take());
        } else if self.guest.as_ref().is_some_and(Guest::is_used) {
            let used = self.guest.take();
            self.aside = self.aside.take().or(used);
        }
    }

    /// When all is run: what kmemleak finds that many programs have left, which ran on one machine.
    /// None where it finds nothing, the kernel does not look for it, or the programs were few.
    pub fn finish(mut self) -> Option<Outcome> {
        let mut guest = self.aside.take().or(self.guest.take())?;
        if guest.programs() < BATCH {
            return None;
        }
        let begun = Instant::now();
        let verdict = match self.unreferenced(&mut guest) {
            Ok(report) => {
                let mut report = report?;
                self.add_lines(&mut report);
                Verdict::Report(report)
            }
            Err(error) => Verdict::None(format!("{error:#}")),
        };
        Some(Outcome {
            name: format!("leaks of {} programs", guest.programs()),
            rules: vec![X5],
            verdict,
            history: String::new(),
            console: String::new(),
            repeated: None,
            earlier: Vec::new(),
            sweep: None,
            reach: Reach::default(),
            program: None,
            command_line: guest.command_line(),
            elapsed: begun.elapsed(),
        })
    }

    /// Puts the lines of the kernel's source to its frames.
    fn add_lines(&self, report: &mut Report) {
        let symbols = self.symbols.get_or_init(|| self.prepared.symbols_if_readable());
        report.symbolized = symbols.as_ref().map(|symbols| symbols.annotate(&report.text));
    }

    fn unreferenced(&self, guest: &mut Guest) -> Result<Option<Report>> {
        let Some(found) = guest.unreferenced()?.filter(|found| !found.is_empty()) else {
            return Ok(None);
        };
        // What a machine has that has run nothing is no program's doing.
        let at_boot = Guest::start(self.prepared)?.unreferenced()?.unwrap_or_default();
        Ok(kmemleak::report(&found, &at_boot))
    }

    /// Runs and judges a program.
    fn once(&mut self, program: &Program) -> Ran {
        self.choose_machine(program);
        self.here(program)
    }

    /// The same on the machine that is there.
    fn here(&mut self, program: &Program) -> Ran {
        let begun = Instant::now();
        let restartable = self.capabilities.restartable;
        let ran = match self.lacking(program) {
            Some(why) => Ok(Err(why)),
            None => self.guest().and_then(|guest| Ok(Ok(guest.run(program)?))),
        };
        let without_run = |verdict| Ran {
            verdict,
            history: String::new(),
            console: String::new(),
            command_line: Vec::new(),
            records: Vec::new(),
            reach: Reach::default(),
            elapsed: Duration::ZERO,
        };
        let mut ran = match ran {
            Ok(Err(why)) => without_run(Verdict::Unsupported(why)),
            Ok(Ok(run)) => {
                let records = run.records.clone().unwrap_or_default();
                let history = judge::history(program, &records);
                let console = run.console.clone();
                let command_line = self.guest.as_ref().map(Guest::command_line).unwrap_or_default();
                let whole = run.failure.is_none() && run.records.is_ok();
                let (of_run, traversed) = verdict(program, run, self.prepared, restartable);
                let reach = Reach::of(program, &records, traversed);
                let verdict = match of_run {
                    verdict @ (Verdict::Held | Verdict::None(_)) if whole => {
                        self.compare(program, &records, verdict)
                    }
                    verdict => verdict,
                };
                let elapsed = Duration::ZERO;
                Ran { verdict, history, console, command_line, records, reach, elapsed }
            }
            Err(error) => without_run(Verdict::None(format!("{error:#}"))),
        };
        ran.elapsed = begun.elapsed();
        ran
    }
}

impl Worker<'_> {
    /// The same, and then what is left in the kernel.
    pub(crate) fn accounted(&mut self, program: &Program) -> Ran {
        let mut ran = self.once(program);
        if matches!(ran.verdict, Verdict::Held) {
            ran.verdict = self.account(program);
        }
        ran
    }

    /// Whether this program, or one that ran before it on this machine, left something behind.
    fn account(&mut self, program: &Program) -> Verdict {
        match self.guest().and_then(Guest::account) {
            Ok(leaks) => judge::leaked(program, &leaks).map_or(Verdict::Held, Verdict::Broken),
            Err(error) => Verdict::None(format!("{error:#}")),
        }
    }

    /// Holds the trace of a program in which the model sees no fault against the one that the
    /// reference leaves. Where the model cannot tell, the reference does.
    fn compare(&mut self, program: &Program, records: &[Record], of_model: Verdict) -> Verdict {
        let comparable = differential::is_comparable(program) && judge::is_whole(program, records);
        let Some(reference) = self.reference.as_mut().filter(|_| comparable) else {
            return of_model;
        };
        let ran = reference.guest().and_then(|guest| guest.run(program));
        let failed = |why: String| Verdict::None(format!("on the kernel of reference: {why}"));
        match ran.map(|run| (run.failure, run.records)) {
            Ok((None, Ok(reference))) => {
                match differential::compare(program, records, &reference) {
                    Comparison::Differ(violation) => Verdict::Broken(violation),
                    Comparison::Undecided => of_model,
                    Comparison::Alike => Verdict::Held,
                }
            }
            Ok((Some(failure), _)) => failed(failure.to_string()),
            Ok((None, Err(error))) => failed(error.to_string()),
            Err(error) => failed(format!("{error:#}")),
        }
    }
}

/// The verdict on a run, and what it went through. The kernel's own word comes first: after a report
/// nothing that it answered counts.
pub(crate) fn verdict(
    program: &Program,
    run: Run,
    prepared: &Prepared,
    restartable: bool,
) -> (Verdict, Traversed) {
    let Trace { records, known } = match trace_of(run, &prepared.known) {
        Ok(trace) => trace,
        Err(verdict) => return (verdict, Traversed::default()),
    };
    let (judgement, traversed) = judge::judge(program, &records, prepared.api, restartable);
    let verdict = match judgement {
        Judgement::Held => known.map_or(Verdict::Held, Verdict::Known),
        Judgement::Broken(violation) => Verdict::Broken(violation),
        Judgement::Unsupported(why) => Verdict::Unsupported(why),
        Judgement::Unjudgeable(why) => Verdict::None(why),
    };
    (verdict, traversed)
}

/// What can be judged of a run.
pub(crate) struct Trace {
    pub records: Vec<Record>,
    /// A known report, beside which there was no other.
    pub known: Option<Report>,
}

/// The trace, or the verdict on a run that needs none. Reports of the known titles count only where the
/// machine has died.
pub(crate) fn trace_of(run: Run, known: &[String]) -> Result<Trace, Verdict> {
    let is_new = |report: &Report| run.failure.is_some() || !known.contains(&report.title);
    let mut reports = kernel_log::reports(&run.console).peekable();
    let first = reports.peek().cloned();
    if let Some(report) = reports.find(is_new) {
        return Err(Verdict::Report(report));
    }
    match run.failure {
        Some(MachineError::Panicked { title, console }) => {
            Err(Verdict::Report(Report { title, text: console, symbolized: None }))
        }
        Some(
            failure @ (MachineError::Hung { .. }
            | MachineError::Reset { .. }
            | MachineError::PoweredOff { .. }),
        ) => {
            let text = failure.to_string();
            let title = match failure {
                // How long it was waited for says nothing about the kernel.
                MachineError::Hung { .. } => "the guest gives no sign".to_owned(),
                _ => text.lines().next().unwrap_or_default().to_owned(),
            };
            Err(Verdict::Report(Report { title, text, symbolized: None }))
        }
        Some(failure) => Err(Verdict::None(failure.to_string())),
        None => match run.records {
            Ok(records) => Ok(Trace { records, known: first }),
            Err(error) => Err(Verdict::None(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "BUG: KCSAN: data-race in a / b\n";
    const NEW: &str = "BUG: KCSAN: data-race in c / d\n";

    fn verdict_on(console: &str, failure: Option<MachineError>) -> Result<Trace, Verdict> {
        let run = Run { records: Ok(Vec::new()), console: console.to_owned(), failure };
        trace_of(run, &["KCSAN: data-race in a / b".to_owned()])
    }

    #[test]
    fn a_known_report_hides_no_other() {
        let told = |console: &str| match verdict_on(console, None) {
            Err(Verdict::Report(report)) => Err(report.title),
            Ok(trace) => Ok(trace.known.map(|report| report.title)),
            Err(verdict) => panic!("{verdict:?}"),
        };
        assert_eq!(told("nothing\n"), Ok(None));
        assert_eq!(told(&format!("{OLD}{OLD}")), Ok(Some("KCSAN: data-race in a / b".to_owned())));
        for console in [NEW.to_owned(), format!("{OLD}{NEW}"), format!("{NEW}{OLD}")] {
            assert_eq!(told(&console), Err("KCSAN: data-race in c / d".to_owned()), "{console}");
        }
    }

    #[test]
    fn a_machine_that_dies_of_a_known_report_is_a_finding() {
        let failure = MachineError::Reset { console: String::new() };
        assert!(matches!(verdict_on(OLD, Some(failure)), Err(Verdict::Report(_))));
    }
}
