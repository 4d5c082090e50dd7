//! A program as C: one file with nothing else in it, for whoever has a kernel and a compiler.
//!
//! What calls have to come to is asked of the model. As long as that is certain, each is held against
//! it where it is made; from the first step on that can go in several ways, as calls that are made at
//! the same time can, what they have come to is written down and has to be one of all that is allowed.

mod call;
mod expected;
mod file;
mod helpers;
mod names;
mod story;
#[cfg(test)]
mod tests;

use refan_abi::{ApiProfile, ApiValues};
use refan_program::{Program, Rule};

use crate::Verdict;

/// What C is made of.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The program.
    pub program: &'a Program,
    /// What was found with it, if anything was.
    pub found: Option<Found>,
    /// What the flag under test is called.
    pub init_flag: &'a str,
    /// The numbers of the interface under test.
    pub api: ApiValues,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// In words, a line each.
    pub told: Vec<String>,
    /// The step at which it shows, where an answer was wrong: what follows it is left out.
    pub step: Option<usize>,
    /// Whether it is something that is left in the kernel.
    pub leaks: bool,
}

/// For whom C is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A program of its own: exits with 0 if the kernel is right and with 1 if it is not.
    Program,
    /// A test for the kernel's `tools/testing/selftests/filesystems/fanotify`.
    Selftest,
}

/// Why a program has no form in C.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoForm {
    /// A call cannot be made by an ordinary program.
    #[error("step {}, `{call}`, has no form in C", step + 1)]
    Call {
        /// The step.
        step: usize,
        /// The name of the call.
        call: String,
    },
    /// The model does not say what a step has to come to.
    #[error("what step {step} has to come to is not known beforehand: {why}")]
    Untold {
        /// The step, from 1.
        step: usize,
        /// Why not.
        why: String,
    },
    /// There are too many ways in which it can go.
    #[error(
        "up to step {step} there are too many ways in which it can go; minimize it first, or leave \
         calls out of its blocks"
    )]
    TooManyWays {
        /// The step, from 1.
        step: usize,
    },
}

impl<'a> Source<'a> {
    /// Of a program on which nothing was found.
    pub fn of_program(program: &'a Program, profile: &'a ApiProfile) -> Self {
        let ApiProfile { init_flag_name, values, .. } = profile;
        Self { program, found: None, init_flag: init_flag_name, api: *values }
    }

    /// Of a program and the verdict on it.
    pub fn of_verdict(program: &'a Program, verdict: &Verdict, profile: &'a ApiProfile) -> Self {
        const S3: Rule = Rule::named('S', 3);
        let found = match verdict {
            Verdict::Broken(violation) => {
                let mut told = vec![
                    format!("{}: {}", violation.rule, violation.rule.title()),
                    format!("allowed is: {}", violation.allowed),
                    format!("the kernel did: {}", violation.observed),
                ];
                told.extend(violation.history.iter().map(|line| format!("    {line}")));
                // What is left is counted when all is over.
                let leaks = violation.rule == S3 && violation.history.is_empty();
                let at_end = leaks && violation.step + 1 == program.steps.len();
                Some(Found { told, step: (!at_end).then_some(violation.step), leaks })
            }
            Verdict::Report(report) => {
                let told = vec![format!("the kernel reports: {}", report.title)];
                Some(Found { told, step: None, leaks: false })
            }
            Verdict::Held | Verdict::Known(_) | Verdict::Unsupported(_) | Verdict::None(_) => None,
        };
        Self { found, ..Self::of_program(program, profile) }
    }

    /// The C file.
    ///
    /// # Errors
    /// A call has no form in C, or it is not known what calls have to come to.
    pub fn write(&self, form: Form) -> Result<String, NoForm> {
        file::of(self, form)
    }

    /// How many steps there are: up to the end of the block in which it shows.
    fn end(&self) -> usize {
        match self.found.as_ref().and_then(|found| found.step) {
            Some(step) if step < self.program.steps.len() => self.program.block_of(step).end,
            _ => self.program.steps.len(),
        }
    }
}
