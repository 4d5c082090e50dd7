//! The accounting: what a program that is over has left in the kernel (rule S3).
//!
//! A program's tasks are reaped and its file systems unmounted when it is over. What then differs
//! from before is a leak: open files, what counts against a user's limits of groups and marks, and
//! live objects of `fs/notify` by the place that allocated them (exact, `/proc/allocinfo`, where the
//! kernel has `CONFIG_MEM_ALLOC_PROFILING`). The last take the kernel longer to list than most
//! programs take to run, so the host asks for them apart, when it has seen enough programs.
//!
//! Deferred work may still be on its way. So a difference is looked at again, each time after such
//! work was driven, until it is gone; only one that outlasts [`PATIENCE`] is a leak.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use refan_abi::{EventMask, InitFlags, MarkFlags};
use refan_program::{Call, Program, Sysctl};
use refan_wire::{Leak, Record};

use crate::sys::{self, sys};
use crate::{memcg, probe};

/// How long deferred work may take, in guest time. Objects that are freed after a grace period in
/// bulk wait for 5 s (`KFREE_DRAIN_JIFFIES` in mm/slab_common.c).
const PATIENCE: Duration = Duration::from_secs(20);

/// The first pause between two looks; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(1);

/// What there is in the kernel. What is asked after each program is held open: to open a file of
/// `/proc` takes longer than to read it.
#[derive(Debug)]
pub struct Accounts {
    file_nr: File,
    files: Cell<u64>,
    limits: [Limit; 2],
    /// Live objects of `fs/notify` by the place that allocated them.
    objects: BTreeMap<String, u64>,
}

/// A limit of each user's groups or marks, which is as it was at boot whenever no program runs.
#[derive(Debug)]
struct Limit {
    path: String,
    file: File,
    at_boot: String,
}

impl Accounts {
    /// What there is before the first program, once what stays for good has been made.
    pub fn at_boot() -> Result<Self> {
        let limits = [Limit::open(Sysctl::MaxUserGroups)?, Limit::open(Sysctl::MaxUserMarks)?];
        let file_nr = File::open(FILE_NR).with_context(|| format!("opening {FILE_NR}"))?;
        count_of_user(&limits, ROOT)?;
        drive();
        Ok(Self { files: Cell::new(open_files(&file_nr)?), file_nr, limits, objects: objects()? })
    }

    /// So many files have been opened that stay open.
    pub fn add_files(&self, count: usize) {
        self.files.set(self.files.get() + count as u64);
    }

    /// Holds what is quickly told after each program against what there was at boot: open files,
    /// and what counts against the limits of the program's users.
    pub fn settle(&self, program: &Program) -> Result<Record> {
        let mut leaks = Vec::new();
        for user in users(program) {
            leaks.extend(await_none(|| {
                Ok(count_of_user(&self.limits, user)?.into_iter().collect())
            })?);
        }
        leaks.extend(await_none(|| {
            let now = open_files(&self.file_nr)?;
            let leak = Leak { what: "open files".to_owned(), before: self.files.get(), after: now };
            Ok(Some(leak).filter(|leak| leak.before != leak.after).into_iter().collect())
        })?);
        Ok(Record::Accounts { leaks })
    }

    /// Holds the live objects against those at boot, after any number of programs, and sees to it
    /// that nothing is left of the cgroup that their memory was charged to.
    pub fn settle_objects(&self) -> Result<Record> {
        let mut leaks = await_none(|| Ok(differences(&self.objects, &objects()?)))?;
        memcg::leave()?;
        leaks.extend(await_none(memcg::dying)?);
        Ok(Record::Accounts { leaks })
    }
}

const FILE_NR: &str = "/proc/sys/fs/file-nr";

fn open_files(file_nr: &File) -> Result<u64> {
    let mut buffer = [0; 128];
    let len = file_nr.read_at(&mut buffer, 0).with_context(|| format!("reading {FILE_NR}"))?;
    let text = String::from_utf8_lossy(&buffer[..len]);
    let files = text.split_whitespace().next().and_then(|files| files.parse().ok());
    files.with_context(|| format!("file-nr says {text:?}"))
}

/// None where the kernel does not count them.
fn objects() -> Result<BTreeMap<String, u64>> {
    match fs::read_to_string("/proc/allocinfo") {
        Ok(text) => Ok(allocations(&text).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).context("reading /proc/allocinfo"),
    }
}

fn differences(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<Leak> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |counts: &BTreeMap<String, u64>, name| counts.get(name).copied().unwrap_or(0);
    names
        .into_iter()
        .map(|name| Leak { what: name.clone(), before: of(before, name), after: of(after, name) })
        .filter(|leak| leak.before != leak.after)
        .collect()
}

/// Looks until there is nothing left, or for as long as deferred work may take; then it returns
/// what is there.
pub(crate) fn await_none(look: impl Fn() -> Result<Vec<Leak>>) -> Result<Vec<Leak>> {
    let begin = sys::now();
    let mut pause = PAUSE;
    loop {
        let leaks = look()?;
        if leaks.is_empty() || u128::from(sys::now() - begin) > PATIENCE.as_nanos() {
            return Ok(leaks);
        }
        drive();
        std::thread::sleep(pause);
        pause *= 2;
    }
}

/// Makes and closes a group, which waits for the reaper of marks (`fsnotify_destroy_group`). A
/// failure to make one is [`count_of_user`]'s to tell.
fn drive() {
    drop(probe::new_group(InitFlags::CLASS_NOTIF.bits() as u32));
}

const ROOT: u32 = 0;

/// The users whose groups and marks a program can have made.
fn users(program: &Program) -> BTreeSet<u32> {
    let others = program.steps.iter().filter_map(|step| match step.call.innermost() {
        Call::Setuid { uid } => Some(u32::from(*uid)),
        _ => None,
    });
    others.chain([ROOT]).collect()
}

/// Whether anything counts against the user's limits: with a limit of one group and one mark, one
/// of each can be made just when nothing does (`inc_ucount` in kernel/ucount.c).
fn count_of_user(limits: &[Limit; 2], user: u32) -> Result<Option<Leak>> {
    for limit in limits {
        limit.set("1")?;
    }
    let (group, mark) = match user {
        ROOT => make_group_and_mark(ROOT),
        _ => {
            // Of the effective user alone; the real one remains, and with it the way back.
            set_effective_user(user)?;
            let made = make_group_and_mark(user);
            set_effective_user(ROOT)?;
            made
        }
    };
    for limit in limits {
        limit.set(&limit.at_boot)?;
    }
    let leak = |what: &str| Leak { what: format!("{what} of user {user}"), before: 0, after: 1 };
    match (group, mark) {
        (group, _) if group == -i64::from(libc::EMFILE) => Ok(Some(leak("groups"))),
        (_, mark) if mark == -i64::from(libc::ENOSPC) => Ok(Some(leak("marks"))),
        (group, 0) if group >= 0 => Ok(None),
        (group, mark) => {
            bail!("counting groups and marks: making one each returned {group} and {mark}")
        }
    }
}

impl Limit {
    fn open(limit: Sysctl) -> Result<Self> {
        let path = format!("/proc/sys/fs/fanotify/{}", limit.name());
        let at_boot = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let file = File::options().write(true).open(&path);
        let file = file.with_context(|| format!("opening {path}"))?;
        Ok(Self { path, file, at_boot })
    }

    fn set(&self, value: &str) -> Result<()> {
        self.file
            .write_all_at(value.as_bytes(), 0)
            .with_context(|| format!("writing {}", self.path))
    }
}

fn set_effective_user(user: u32) -> Result<()> {
    // SAFETY: no pointers. PID 1 has one thread.
    match unsafe { sys!(libc::SYS_setresuid, u32::MAX, user, u32::MAX) } {
        0 => Ok(()),
        error => bail!("becoming user {user}: setresuid returned {error}"),
    }
}

/// Makes a group with a mark on the root folder and closes it: what the two calls returned. Only
/// groups that report no fds are any user's to make (`fanotify_init(2)`).
fn make_group_and_mark(user: u32) -> (i64, i64) {
    let report = if user == ROOT { InitFlags::empty() } else { InitFlags::REPORT_FID };
    let group = match probe::new_group((InitFlags::CLASS_NOTIF | report).bits() as u32) {
        Ok(group) => group,
        Err(error) => return (error, 0),
    };
    let (add, mask) = (MarkFlags::ADD.bits(), EventMask::OPEN.bits());
    let (number, at, path) = (group.as_raw_fd(), libc::AT_FDCWD, c"/".as_ptr());
    // SAFETY: the path is a constant C string.
    let mark = unsafe { sys!(libc::SYS_fanotify_mark, number, add, mask, at, path) };
    (number.into(), mark)
}

/// Live objects of `fs/notify` by the place that allocated them: `BYTES CALLS FILE:LINE func:NAME`
/// (Documentation/mm/allocation-profiling.rst).
fn allocations(text: &str) -> impl Iterator<Item = (String, u64)> {
    text.lines().filter_map(|line| {
        let (_, rest) = line.trim_start().split_once(' ')?;
        let (objects, place) = rest.trim_start().split_once(' ')?;
        let place = place.trim();
        place.starts_with("fs/notify/").then_some(())?;
        Some((place.to_owned(), objects.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_by_place() {
        let text = "allocinfo - version: 2.0\n#     <size>  <calls> <tag info>\n\
            \x20       4096        1 fs/exec.c:1 func:a\n\
            \x20        128        2 fs/notify/mark.c:9 func:b\n\
            \x20          0        0 fs/notify/group.c:7 func:c\n";
        let found: Vec<(String, u64)> = allocations(text).collect();
        let expected = [("fs/notify/mark.c:9 func:b", 2), ("fs/notify/group.c:7 func:c", 0)];
        assert_eq!(found, expected.map(|(place, count)| (place.to_owned(), count)));
    }

    #[test]
    fn what_differs_is_a_leak() {
        let counts = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let before = counts(&[("a", 1), ("b", 2)]);
        let after = counts(&[("a", 1), ("b", 3), ("c", 1)]);
        let leak = |what: &str, before, after| Leak { what: what.to_owned(), before, after };
        assert_eq!(differences(&before, &after), [leak("b", 2, 3), leak("c", 0, 1)]);
        assert_eq!(differences(&before, &before), []);
    }

    #[test]
    fn every_user_of_a_program_is_counted() {
        let program = refan_program::parse("d = fork()\nd: setuid(5)\n").expect("a program");
        assert_eq!(users(&program), BTreeSet::from([0, 5]));
    }
}
