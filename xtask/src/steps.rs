//! What is being done before the machines start: a line a step with the time it took, on standard
//! error, so that standard output holds results only.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::report::seconds;
use xtask::kernel::Progress;

/// Steps that are quicker than this say nothing: they found their work done.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// Prints the steps of a run.
#[derive(Debug)]
pub struct Steps {
    terminal: bool,
    running: Mutex<Option<Step>>,
}

#[derive(Debug)]
struct Step {
    what: String,
    begun: Instant,
    shown: Option<Instant>,
}

impl Steps {
    /// For a terminal with the line of the running step, elsewhere plain lines.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), running: Mutex::new(None) }
    }

    /// Whether somebody looks on.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Ends the running step.
    pub fn done(&self) {
        self.switch(None);
    }

    fn switch(&self, next: Option<&str>) {
        let Ok(mut running) = self.running.lock() else { return };
        if let Some(step) = running.take() {
            let took = step.begun.elapsed();
            if took >= WORTH_A_LINE {
                self.line(&format!("  {} ({})", step.what, seconds(took)), true);
            } else {
                self.line("", false);
            }
        }
        *running =
            next.map(|what| Step { what: what.to_owned(), begun: Instant::now(), shown: None });
        if let Some(what) = next {
            self.line(&format!("  {what} …"), false);
        }
    }

    /// Writes a line; one that does not stay is only for terminals, where the next one replaces it.
    fn line(&self, text: &str, stays: bool) {
        let mut stderr = std::io::stderr().lock();
        // Nobody can be told that standard error is gone.
        let _ = match (self.terminal, stays) {
            (true, true) => writeln!(stderr, "\r\x1b[K{text}"),
            (true, false) => write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush()),
            (false, true) => writeln!(stderr, "{text}"),
            (false, false) => Ok(()),
        };
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.done();
    }
}

impl Progress for Steps {
    fn phase(&self, what: &str) {
        self.switch(Some(what));
    }

    fn at(&self, detail: &str) {
        const PAUSE: Duration = Duration::from_millis(200);
        let Ok(mut running) = self.running.lock() else { return };
        if let Some(step) = running.as_mut()
            && step.shown.is_none_or(|shown| shown.elapsed() >= PAUSE)
        {
            step.shown = Some(Instant::now());
            self.line(&format!("  {} … {detail}", step.what), false);
        }
    }

    fn note(&self, line: &str) {
        self.line(&format!("  note: {line}"), true);
    }
}
