//! What the calls of a program have to come to, asked of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use refan_abi::{ApiValues, Errno, InfoRecord, OpenFlags};
use refan_model::{End, Kernel, MAIN_PID, Model, Observation, Return, Seen, SeenEvent, Stop};
use refan_program::{Call, Program, Step, Task};

use super::NoForm;
use crate::judge::event_text;

/// More ways than this nobody reads.
const MOST_WAYS: usize = 64;
/// The same of states of the model behind them.
const MOST_NODES: usize = 1024;
/// Bytes of data that are told; of longer ones the rest is left out.
const MOST_BYTES: usize = 64;

/// What `getfl` is held against: the access mode and flags that the program itself sets.
pub(super) const SHOWN_FLAGS: OpenFlags = OpenFlags::ACCMODE
    .union(OpenFlags::O_APPEND)
    .union(OpenFlags::O_NONBLOCK)
    .union(OpenFlags::O_NOATIME)
    .union(OpenFlags::O_DSYNC)
    .union(OpenFlags::O_DIRECTORY)
    .union(OpenFlags::O_NOFOLLOW)
    .union(OpenFlags::O_PATH);

/// What a right kernel makes of a program.
pub(super) struct Expected {
    /// The steps and blocks before the first one that can go in more than one way.
    pub certain: Vec<Part>,
    /// From there on what all calls can come to, a text for each way; none where all is certain.
    pub ways: BTreeSet<String>,
    /// Steps that can succeed with any value.
    pub any: BTreeSet<usize>,
}

/// A step that can go in one way only.
pub(super) struct Part {
    pub steps: Range<usize>,
    /// Whether it is made at all.
    pub is_made: bool,
    /// What calls come to in it: steps, and the words for it.
    pub changes: Vec<(usize, String)>,
    /// Calls that stay blocked through it, by their steps.
    pub still: Vec<usize>,
    /// Who sleeps at its end.
    pub blocked: BTreeSet<Task>,
}

/// One way in which it can have gone so far.
#[derive(Clone)]
struct Node<'a> {
    model: Model<'a>,
    /// How the call of each step stands.
    stands: BTreeMap<usize, String>,
    /// What the calls have come to since it is no longer certain.
    told: String,
}

/// Whether a step is a call that somebody makes and whose result is told.
pub(super) fn has_result(step: &Step) -> bool {
    step.caller().is_some() && !matches!(step.call.innermost(), Call::Fork | Call::Exit)
}

impl Expected {
    /// What the first `end` steps of a program have to come to.
    pub(super) fn of(program: &Program, end: usize, api: ApiValues) -> Result<Self, NoForm> {
        let kernel = Kernel { api, restartable: true, inodes: BTreeMap::new() };
        let mut expected =
            Self { certain: Vec::new(), ways: BTreeSet::new(), any: BTreeSet::new() };
        let mut nodes = vec![Node {
            model: Model::new(&kernel, program, MAIN_PID),
            stands: BTreeMap::new(),
            told: String::new(),
        }];
        let mut certain = true;
        let mut at = 0;
        while at < end {
            let part = program.block_of(at);
            at = part.end;
            let mut next: Vec<(Node<'_>, Part)> = Vec::new();
            for node in &nodes {
                let outcomes =
                    node.model.outcomes(part.clone()).map_err(|stop| untold(at, stop))?;
                for (seen, model) in outcomes {
                    expected.any.extend(with_any_value(program, &node.model, &part, &seen));
                    let (stands, made) = stands(program, &part, &seen, node, &expected.any);
                    next.push((Node { model, stands, told: node.told.clone() }, made));
                }
            }
            let first = next.first().map(|(_, part)| part.changes.clone());
            certain &= program.steps[part.start].block.is_none()
                && next.iter().all(|(_, part)| Some(&part.changes) == first.as_ref());
            let mut parts = Vec::new();
            nodes.clear();
            for (mut node, part) in next {
                if !certain {
                    node.tell(&part.changes);
                }
                parts.push(part);
                nodes.push(node);
            }
            if certain {
                expected.certain.extend(parts.into_iter().next());
            }
            expected.ways = nodes.iter().map(|node| node.told.clone()).collect();
            if expected.ways.len() > MOST_WAYS || nodes.len() > MOST_NODES {
                return Err(NoForm::TooManyWays { step: at });
            }
        }
        if certain {
            expected.ways.clear();
        }
        Ok(expected)
    }
}

impl Node<'_> {
    fn tell(&mut self, changes: &[(usize, String)]) {
        for (step, text) in changes {
            let between = if self.told.is_empty() { "" } else { "; " };
            self.told += &format!("{between}{}: {text}", step + 1);
        }
    }
}

fn untold(step: usize, stop: Stop) -> NoForm {
    let why = match stop {
        Stop::Broken(violation) => format!("no outcome fits: {}", violation.allowed),
        Stop::Unjudgeable(why) => why,
    };
    NoForm::Untold { step, why }
}

/// The steps whose calls can have succeeded with another value just as well.
fn with_any_value(
    program: &Program,
    model: &Model<'_>,
    part: &Range<usize>,
    seen: &Observation,
) -> Vec<usize> {
    /// A value that no call has a reason to return.
    const ODD: i64 = 12_345;
    if !seen.order.is_empty() {
        return Vec::new();
    }
    let is_any = |at: &usize| {
        let mut odd = seen.clone();
        odd.ended.clear();
        odd.returns[*at].value += ODD;
        let back = &seen.returns[*at];
        back.value >= 0
            && back.data == Seen::Nothing
            // Which number an fd has says nothing anyway.
            && !program.steps[back.step].call.innermost().returns_fd()
            && model.clone().step(part.clone(), &odd).is_ok()
    };
    (0..seen.returns.len()).filter(is_any).map(|at| seen.returns[at].step).collect()
}

/// How calls stand after a step or block, and what has changed in it.
fn stands(
    program: &Program,
    part: &Range<usize>,
    seen: &Observation,
    before: &Node<'_>,
    any: &BTreeSet<usize>,
) -> (BTreeMap<usize, String>, Part) {
    let mut stands = before.stands.clone();
    let caller = |step: usize| program.steps[step].caller();
    let returned = |step: usize| seen.returns.iter().find(|back| back.step == step);
    let is_made = |step: usize| {
        let mut earlier = part.start..step;
        seen.skipped(step).is_none()
            && !earlier.any(|earlier| {
                caller(earlier) == caller(step)
                    && has_result(&program.steps[earlier])
                    && returned(earlier).is_none()
            })
    };
    for step in part.clone().filter(|step| has_result(&program.steps[*step])) {
        if is_made(step) {
            stands.insert(step, BLOCKED.to_owned());
        }
    }
    for (step, stand) in &mut stands {
        if stand != BLOCKED {
            continue;
        }
        let task = caller(*step).unwrap_or(Task::MAIN);
        let end = seen.ended.iter().find(|(ended, _)| *ended == task).map(|(_, end)| *end);
        match (returned(*step), end) {
            (Some(back), _) if any.contains(step) && back.value >= 0 => *stand = "ok".to_owned(),
            (Some(back), _) => *stand = told(program, back),
            (None, Some(End::Signaled(_))) => *stand = "killed".to_owned(),
            (None, Some(End::Exited(_))) => *stand = "0".to_owned(),
            (None, None) => {}
        }
    }
    let is_new = |(step, stand): &(&usize, &String)| before.stands.get(step) != Some(stand);
    let changes = stands.iter().filter(is_new).map(|(step, stand)| (*step, stand.clone()));
    let still = |(step, stand): (&usize, &String)| {
        (stand == BLOCKED && before.stands.get(step) == Some(stand)).then_some(*step)
    };
    let part = Part {
        steps: part.clone(),
        is_made: part.clone().any(|step| seen.skipped(step).is_none()),
        changes: changes.collect(),
        still: stands.iter().filter_map(still).collect(),
        blocked: seen.blocked.clone(),
    };
    (stands, part)
}

/// The word for a call that sleeps in the kernel.
pub(super) const BLOCKED: &str = "blocked";

/// What a call returned, in the words that the C program has for it.
fn told(program: &Program, back: &Return) -> String {
    if let Some(errno) = Errno::from_return(back.value) {
        return errno.to_string();
    }
    let call = program.steps[back.step].call.innermost();
    match &back.data {
        Seen::Events(events) if !events.is_empty() => {
            events.iter().map(|seen| event(program, seen)).collect::<Vec<_>>().join(", ")
        }
        Seen::Bytes(bytes) if !bytes.is_empty() => quoted(bytes),
        Seen::Text(text) if matches!(call, Call::Fdinfo { .. }) => {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            format!("\"{}\"", lines.join("; "))
        }
        Seen::Nothing if matches!(call, Call::Fdinfo { .. }) => "\"\"".to_owned(),
        Seen::Text(text) => quoted(text.as_bytes()),
        _ if call.returns_fd() => "fd".to_owned(),
        _ if matches!(call, Call::GetFl { .. }) => {
            (back.value & i64::from(SHOWN_FLAGS.bits())).to_string()
        }
        _ => back.value.to_string(),
    }
}

fn event(program: &Program, seen: &SeenEvent) -> String {
    let tasks = (0u8..).map(Task).take(program.tasks.len());
    let pids = tasks.map(|task| (task, MAIN_PID + i32::from(task.0))).collect();
    let mut text = event_text(program, &pids, seen);
    for info in &seen.event.info {
        text += &match info {
            InfoRecord::Pidfd(0..) => " pidfd".to_owned(),
            InfoRecord::Pidfd(_) => " no pidfd".to_owned(),
            InfoRecord::Range { offset, count } => format!(" range {offset}+{count}"),
            InfoRecord::Other { .. } => String::new(),
        };
    }
    text
}

/// Bytes as `quote` of the helpers has them.
fn quoted(bytes: &[u8]) -> String {
    let mut text = "\"".to_owned();
    for byte in &bytes[..bytes.len().min(MOST_BYTES)] {
        match byte {
            b'"' | b'\\' => text += &format!("\\x{byte:02x}"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text.push('"');
    if bytes.len() > MOST_BYTES {
        text += &format!(" and more, {} bytes", bytes.len());
    }
    text
}
