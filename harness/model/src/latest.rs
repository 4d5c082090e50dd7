//! Which rule has last decided what is in a queue: a wrong answer about the queue breaks that one.

use std::hash::{Hash, Hasher};

use refan_program::Rule;

use crate::group::Group;
use crate::rules::{A3, K2, K3, R1, R7, R8};
use crate::state::{At, GroupNo, State};

/// The rule, until the queue was seen to be as it should. It is for words only: states that differ
/// in nothing else are the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latest(Option<Rule>);

impl Latest {
    /// This one has.
    pub(crate) fn by(rule: Rule) -> Self {
        Self(Some(rule))
    }

    /// The rule, or else another.
    pub(crate) fn or(self, other: Rule) -> Rule {
        self.0.unwrap_or(other)
    }
}

impl PartialEq for Latest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Latest {}

impl Hash for Latest {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Group {
    /// The queue has changed otherwise than by an access or a read.
    pub(crate) fn decided_by(&mut self, rule: Rule) {
        self.latest = Latest::by(rule);
    }

    /// The queue was seen to be as it should.
    pub(crate) fn is_confirmed(&mut self) {
        self.latest = Latest::default();
    }
}

impl State {
    /// The rule of what a queue holds, where nothing but `general` is to blame.
    pub(crate) fn rule_of_queue(&self, group: GroupNo, general: Rule) -> Rule {
        let of = self.group(group);
        match of.latest.0 {
            _ if !of.restartable => general,
            Some(latest) => latest,
            None if self.has_a_turn(group) => A3,
            None => general,
        }
    }

    /// The same of one that holds less than it should: a rule by which events go away has no part in it.
    pub(crate) fn rule_of_lack(&self, group: GroupNo, general: Rule) -> Rule {
        match self.rule_of_queue(group, general) {
            K2 | K3 if self.any_restarted(group) => R1,
            K2 | K3 => general,
            rule => rule,
        }
    }

    /// Whether an access waits that asks groups of several classes, and this one of them.
    fn has_a_turn(&self, group: GroupNo) -> bool {
        let calls = self.tasks.iter().filter_map(|task| task.call.as_ref());
        let mut asking = calls.filter_map(|call| match &call.at {
            At::Asking { event, walk, .. } => Some((self.events.get(event)?.group, walk)),
            _ => None,
        });
        asking.any(|(asked, walk)| {
            let mut left = (0..self.groups.len()).map(GroupNo).filter(|other| {
                self.group(*other).class < self.group(asked).class
                    && self.wants(*other, walk, |_| true)
            });
            if asked == group { left.next().is_some() } else { left.any(|other| other == group) }
        })
    }

    /// The queue of the group is about to be released, by an exit or not: the rule of what its
    /// queue holds afterwards. Some of the events may stay away (K3), there may be more than the
    /// limit (R7), all may have been answered (R3), and who had the queue may have died (R8).
    pub(crate) fn rule_of_restart(&self, group: GroupNo, by_exit: bool) -> Rule {
        let of = self.group(group);
        let canceled = |event| self.events.get(event).is_some_and(|event| event.canceled);
        let length = of.unread.len() + of.pending.len();
        if of.pending.iter().any(|pending| canceled(&pending.event)) {
            K3
        } else if of.limit.is_some_and(|limit| length > limit as usize) {
            R7
        } else {
            let restarts = if by_exit { R8 } else { R1 };
            if length == 0 { of.answers.or(restarts) } else { restarts }
        }
    }
}
