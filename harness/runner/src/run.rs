//! From a program to its verdict.

use std::time::{Duration, Instant};

use anyhow::Result;
use refan_abi::ApiValues;
use refan_program::{Program, Rule};
use refan_vm::MachineError;
use refan_wire::Record;

use crate::differential;
use crate::guest::{Capabilities, Guest, Run};
use crate::judge::{self, Judgement};
use crate::kernel_log::{self, Report};
use crate::prepared::Prepared;
use crate::suite::Scenario;
use crate::verdict::Verdict;

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
    /// How long it took, repeats included.
    pub elapsed: Duration,
}

/// A place where scenarios are run one after another: one machine, made anew after each finding.
pub struct Worker<'a> {
    prepared: &'a Prepared,
    guest: Option<(Guest, Capabilities)>,
    /// A machine whose kernel says what programs without the feature do (I4).
    reference: Option<Box<Worker<'a>>>,
}

impl<'a> Worker<'a> {
    /// Starts its machine and probes the kernel; the same for the reference, if there is one.
    pub fn start(prepared: &'a Prepared, reference: Option<&'a Prepared>) -> Result<Self> {
        let reference = reference.map(|prepared| Self::start(prepared, None)).transpose()?;
        let mut worker = Self { prepared, guest: None, reference: reference.map(Box::new) };
        worker.guest()?;
        Ok(worker)
    }

    fn guest(&mut self) -> Result<&mut (Guest, Capabilities)> {
        if self.guest.is_none() {
            let mut guest = Guest::start(self.prepared)?;
            let capabilities = guest.probe(self.prepared.declared)?;
            self.guest = Some((guest, capabilities));
        }
        self.guest.as_mut().ok_or_else(|| anyhow::anyhow!("there is no machine"))
    }

    /// Has the next program run on fresh machines.
    fn restart(&mut self) {
        self.guest = None;
        if let Some(reference) = &mut self.reference {
            reference.guest = None;
        }
    }

    /// Why a program cannot be judged on this kernel, if it needs what the kernel lacks.
    pub fn lacking(&mut self, program: &Program) -> Result<Option<String>> {
        Ok(self.guest()?.1.lacking(program))
    }

    /// Runs and judges a scenario; a finding is tried again on fresh machines.
    pub fn run(&mut self, scenario: &Scenario) -> Outcome {
        let begun = Instant::now();
        let (verdict, history, console) = self.once(&scenario.program);
        let mut repeated = None;
        if verdict.is_finding() {
            let mut again = 0;
            for _ in 0..REPEATS {
                self.restart();
                let (second, ..) = self.once(&scenario.program);
                again += u32::from(second.is_finding());
            }
            repeated = Some((again, REPEATS));
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
            elapsed: begun.elapsed(),
        }
    }

    fn once(&mut self, program: &Program) -> (Verdict, String, String) {
        let ran =
            self.guest().and_then(|(guest, capabilities)| match capabilities.lacking(program) {
                Some(why) => Ok(Err(why)),
                None => Ok(Ok((guest.run(program)?, capabilities.restartable))),
            });
        match ran {
            Ok(Err(why)) => (Verdict::Unsupported(why), String::new(), String::new()),
            Ok(Ok((run, restartable))) => {
                let history = run
                    .records
                    .as_ref()
                    .map_or_else(|_| String::new(), |records| judge::history(program, records));
                let console = run.console.clone();
                let records = match &run.failure {
                    None => run.records.as_ref().ok().cloned(),
                    Some(_) => None,
                };
                let verdict = verdict(program, run, self.prepared.api, restartable);
                let verdict = match (verdict, records) {
                    (verdict @ (Verdict::Held | Verdict::None(_)), Some(records)) => {
                        self.compare(program, &records, verdict)
                    }
                    (verdict, _) => verdict,
                };
                (verdict, history, console)
            }
            Err(error) => (Verdict::None(format!("{error:#}")), String::new(), String::new()),
        }
    }
}

impl Worker<'_> {
    /// Holds the trace of a program in which the model sees no fault against the one that the
    /// reference leaves. Where the model cannot tell, the reference does.
    fn compare(&mut self, program: &Program, records: &[Record], of_model: Verdict) -> Verdict {
        let comparable = differential::is_comparable(program) && differential::is_whole(records);
        let Some(reference) = self.reference.as_mut().filter(|_| comparable) else {
            return of_model;
        };
        let ran = reference.guest().and_then(|(guest, _)| guest.run(program));
        let failed = |why: String| Verdict::None(format!("on the kernel of reference: {why}"));
        match ran.map(|run| (run.failure, run.records)) {
            Ok((None, Ok(reference))) => match differential::difference(records, &reference) {
                Some(violation) => Verdict::Broken(violation),
                None => Verdict::Held,
            },
            Ok((Some(failure), _)) => failed(failure.to_string()),
            Ok((None, Err(error))) => failed(error.to_string()),
            Err(error) => failed(format!("{error:#}")),
        }
    }
}

/// The kernel's own word comes first: after a report nothing that it answered counts.
fn verdict(program: &Program, run: Run, api: ApiValues, restartable: bool) -> Verdict {
    if let Some(report) = kernel_log::first_report(&run.console) {
        return Verdict::Report(report);
    }
    match run.failure {
        Some(MachineError::Panicked { title, console }) => {
            return Verdict::Report(Report { title, text: console });
        }
        Some(
            failure @ (MachineError::Hung { .. }
            | MachineError::Reset { .. }
            | MachineError::PoweredOff { .. }),
        ) => {
            let text = failure.to_string();
            let title = text.lines().next().unwrap_or_default().to_owned();
            return Verdict::Report(Report { title, text });
        }
        Some(failure) => return Verdict::None(failure.to_string()),
        None => {}
    }
    let records = match run.records {
        Ok(records) => records,
        Err(error) => return Verdict::None(error.to_string()),
    };
    match judge::judge(program, &records, api, restartable) {
        Judgement::Held => Verdict::Held,
        Judgement::Broken(violation) => Verdict::Broken(violation),
        Judgement::Unsupported(why) => Verdict::Unsupported(why),
        Judgement::Unjudgeable(why) => Verdict::None(why),
    }
}
