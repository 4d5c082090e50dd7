//! Rules of the contract by name.

use std::fmt;
use std::str::FromStr;

/// A rule of the contract: a chapter's letter and a number, `R1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    chapter: char,
    number: u8,
}

impl Rule {
    /// The chapters of the contract: each rule's title, from the first on.
    const CHAPTERS: &[(char, &[&str])] = &[
        (
            'I',
            &[
                "the flag with a class that decides gives a control fd; else EINVAL, EPERM first",
                "the control fd is O_RDONLY; FAN_CLOEXEC applies, FAN_NONBLOCK does not",
                "each group counts against max_user_groups, past it EMFILE",
                "a group without the flag behaves as on the unpatched kernel",
            ],
        ),
        (
            'C',
            &[
                "the control fd: read EINVAL, pread ESPIPE, write EBADF; always ready; no epoll",
                "FIONREAD on the control fd and the ioctl on any other fd are ENOTTY",
                "fanotify_mark takes the control fd, and not the queue fd",
                "it links to anon_inode:[fanotify]; its fdinfo shows flags and marks",
                "a 32-bit task can use the ioctl",
                "neither fd can be reopened; O_PATH adds no reference",
            ],
        ),
        (
            'M',
            &[
                "ADD and REMOVE take permission events, with their restrictions",
                "a mask with any other event in it is EINVAL",
                "FAN_MARK_FLUSH works as on any group",
                "marks filter as on any group, survive a release, and release no waiter",
            ],
        ),
        (
            'Q',
            &[
                "the queue fd is O_RDWR; its flags follow FAN_CLOEXEC and FAN_NONBLOCK",
                "at most one queue file a group, else EBUSY; an open that fails changes nothing",
                "it links to anon_inode:[fanotify-queue]; its fdinfo has no fanotify lines",
                "read returns events in queue order; when it blocks, fails and ends",
                "poll reports IN iff an event is unread, never OUT; FIONREAD the unread bytes",
                "write answers the pending event that it names, once",
                "an event whose copy-out or fd fails is denied, and no other is harmed",
                "the event fd's own description raises no events",
                "overflow is as in mainline, and counts unread events alone",
                "permission events never merge; the sizes of their records",
            ],
        ),
        (
            'R',
            &[
                "at the queue's release every pending event becomes unread again",
                "restarted events stand at the head, in the order of first queueing",
                "an answered event is never restarted",
                "an event fd number from before the release answers nothing",
                "with no queue open events queue up and accessors wait",
                "no event is lost or doubled; each gets exactly one answer",
                "restart ignores the limit and queues no overflow record",
                "a killed daemon restarts its events as a close does",
                "a restarted event is the same, with a new event fd and pidfd",
                "the watchdog times pending events only, anew after a restart",
                "restart and release never allocate and never fail",
            ],
        ),
        (
            'K',
            &[
                "an accessor waits killably and freezably, and no other signal ends it",
                "killed while its event is unread: the event vanishes",
                "killed while its event is pending: an answer is dropped, nothing restarts",
                "no order of kill, read, answer, release and restart leaks or hangs",
            ],
        ),
        (
            'S',
            &[
                "release of the control file allows every accessor and tears the group down",
                "what a queue fd that outlives it returns",
                "with the last file nothing of the group is left",
                "all of it in every interleaving, and when one exit drops both files",
            ],
        ),
        (
            'X',
            &[
                "of concurrent opens of the queue at most one wins",
                "an answer racing a release either holds or the event is restarted",
                "a call in progress keeps the queue file alive",
                "every history is linearizable",
                "the kernel's own checkers report nothing",
            ],
        ),
        (
            'F',
            &[
                "any one allocation made to fail: a documented error, and nothing breaks",
                "limits at any point: fds, marks, groups, queue",
            ],
        ),
        (
            'A',
            &[
                "which access raises which events",
                "a file opened when nothing watched it raises nothing later",
                "the higher class is asked first; a refusal ends the walk",
            ],
        ),
    ];

    /// Every rule of the contract, in its order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::CHAPTERS.iter().flat_map(|&(chapter, titles)| {
            (1..).zip(titles).map(move |(number, _)| Self { chapter, number })
        })
    }

    /// The rule of this name, for names written in the code.
    ///
    /// # Panics
    /// In a constant, at compile time, when the contract has no such rule.
    pub const fn named(chapter: char, number: u8) -> Self {
        let mut i = 0;
        while i < Self::CHAPTERS.len() {
            let (letter, titles) = Self::CHAPTERS[i];
            if letter == chapter && number >= 1 && number as usize <= titles.len() {
                return Self { chapter, number };
            }
            i += 1;
        }
        panic!("the contract has no such rule")
    }

    /// What the rule says, in one line.
    pub fn title(self) -> &'static str {
        let titles = Self::CHAPTERS.iter().find(|(chapter, _)| *chapter == self.chapter);
        let number = usize::from(self.number).saturating_sub(1);
        titles.and_then(|(_, titles)| titles.get(number)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.chapter, self.number)
    }
}

impl FromStr for Rule {
    type Err = ();

    /// Only rules that the contract has.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::all().find(|rule| rule.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_of_the_contract_parse() {
        assert_eq!("Q10".parse(), Ok(Rule::named('Q', 10)));
        for name in ["Q11", "Q0", "B1", "Q", "", "Q01", "q1"] {
            assert_eq!(name.parse::<Rule>(), Err(()), "{name}");
        }
        assert_eq!(Rule::all().count(), 53);
        assert!(Rule::all().all(|rule| !rule.title().is_empty()));
    }
}
