//! Marks: `fanotify_mark(2)` and what marks want to hear of.
//!
//! The order of the checks is that of `do_fanotify_mark` in fs/notify/fanotify/fanotify_user.c.

use refan_abi::{Errno, EventMask, InitFlags, MarkFlags};
use refan_program::{Inode, Mount, Path, PathKind, Rule, Task};

use crate::group::Class;
use crate::latest::Latest;
use crate::rules::{C3, M1, M2, M3, M4, MAINLINE};
use crate::state::{FileKind, FileSystem, GroupNo, Lingering, State};
use crate::violation::Allowed;

/// What a mark stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum On {
    Inode(Inode),
    Mount(Mount),
    Super(FileSystem),
}

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub on: On,
    pub mask: EventMask,
    pub ignored: EventMask,
    /// `FSNOTIFY_MARK_FLAG_IGNORED_SURV_MODIFY`
    pub survives_modify: bool,
    /// `FSNOTIFY_MARK_FLAG_HAS_IGNORE_FLAGS`: the ignore mask has event flags of its own.
    pub ignore_flags: bool,
    /// `FSNOTIFY_MARK_FLAG_NO_IREF`
    pub evictable: bool,
    /// When it was made.
    pub born: u32,
}

/// From where a mark hears of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It stands on the object, its mount or its file system.
    Directly,
    /// It stands on the directory that holds the object (`FSNOTIFY_ITER_TYPE_PARENT`).
    AsParent,
}

/// `FAN_MNT_ATTACH` and `FAN_MNT_DETACH`.
const MOUNT_EVENTS: EventMask = EventMask::from_bits_retain(0x0300_0000);

/// `FANOTIFY_MARK_FLAGS` of include/linux/fanotify.h.
const MARK_FLAGS: u32 = 0x7ff;
const TYPE: MarkFlags = MarkFlags::MOUNT.union(MarkFlags::FILESYSTEM);
const COMMAND: MarkFlags = MarkFlags::ADD.union(MarkFlags::REMOVE).union(MarkFlags::FLUSH);
const IGNORE: MarkFlags = MarkFlags::IGNORE.union(MarkFlags::IGNORED_MASK);

/// `FANOTIFY_PATH_EVENTS`
const PATH_EVENTS: EventMask = EventMask::ACCESS
    .union(EventMask::MODIFY)
    .union(EventMask::CLOSE_WRITE)
    .union(EventMask::CLOSE_NOWRITE)
    .union(EventMask::OPEN)
    .union(EventMask::OPEN_EXEC);
/// `FANOTIFY_DIRENT_EVENTS`
const DIRENT_EVENTS: EventMask = EventMask::MOVED_FROM
    .union(EventMask::MOVED_TO)
    .union(EventMask::CREATE)
    .union(EventMask::DELETE)
    .union(EventMask::RENAME);
/// Every bit that a mask can have: `FANOTIFY_EVENTS`, event flags, permission events.
const VALID: EventMask = PATH_EVENTS
    .union(DIRENT_EVENTS)
    .union(EventMask::ATTRIB)
    .union(EventMask::MOVE_SELF)
    .union(EventMask::DELETE_SELF)
    .union(EventMask::FS_ERROR)
    .union(MOUNT_EVENTS)
    .union(EventMask::FLAGS)
    .union(EventMask::PERM);
/// `FANOTIFY_FD_EVENTS`
const FD_EVENTS: EventMask = PATH_EVENTS.union(EventMask::PERM);
/// `ALL_FSNOTIFY_EVENTS`, as far as a mask can have them.
const EVENTS: EventMask = VALID.difference(EventMask::FLAGS);

/// `FAN_REPORT_FID` and its kin.
pub(crate) const FID: InitFlags = InitFlags::REPORT_FID
    .union(InitFlags::REPORT_DIR_FID)
    .union(InitFlags::REPORT_NAME)
    .union(InitFlags::REPORT_TARGET_FID);

impl Mark {
    /// `fsnotify_calc_mask`: what the mark adds to its object's mask.
    fn interest(&self) -> EventMask {
        if (self.ignored & EVENTS).is_empty() {
            return self.mask;
        }
        let modify = if self.survives_modify { EventMask::empty() } else { EventMask::MODIFY };
        self.mask | modify | self.ignored
    }

    /// `fsnotify_ignore_mask`
    fn ignore_mask(&self) -> EventMask {
        if self.ignore_flags {
            return self.ignored;
        }
        let own = (self.ignored | EventMask::ONDIR) - EventMask::EVENT_ON_CHILD;
        own | (self.mask & EventMask::EVENT_ON_CHILD)
    }

    /// `fsnotify_effective_ignore_mask`
    pub(crate) fn ignores(&self, is_dir: bool, heard: Heard) -> EventMask {
        let events = self.ignored & EVENTS;
        if events.is_empty() || (!is_dir && heard == Heard::Directly) {
            return events;
        }
        let mask = self.ignore_mask();
        if applies(mask, is_dir, heard) { mask & EVENTS } else { EventMask::empty() }
    }

    /// What the mark asks for there.
    pub(crate) fn asks(&self, is_dir: bool, heard: Heard) -> EventMask {
        if applies(self.mask, is_dir, heard) { self.mask & EVENTS } else { EventMask::empty() }
    }

    /// Whether a walk stops at the mark at all (`fsnotify_iter_select_report_types`).
    pub(crate) fn is_on_walk(&self, heard: Heard) -> bool {
        heard == Heard::Directly
            || (self.mask | self.ignore_mask()).contains(EventMask::EVENT_ON_CHILD)
    }
}

/// `fsnotify_mask_applicable`
fn applies(mask: EventMask, is_dir: bool, heard: Heard) -> bool {
    (!is_dir || mask.contains(EventMask::ONDIR))
        && (heard == Heard::Directly || mask.contains(EventMask::EVENT_ON_CHILD))
}

/// The directory that holds a file, if marks can stand on it.
pub(crate) fn parent_of(path: Path) -> Option<Inode> {
    let parent = Path { kind: PathKind::Dir, index: path.index };
    (path.kind == PathKind::Child).then_some(parent.inode())
}

/// From where, if at all, a mark on `on` hears of an access to `path`.
pub(crate) fn heard(on: On, path: Path, with_parent: bool) -> Option<Heard> {
    match on {
        On::Inode(inode) if inode == path.inode() => Some(Heard::Directly),
        On::Inode(inode) if with_parent && parent_of(path) == Some(inode) => Some(Heard::AsParent),
        On::Inode(_) => None,
        On::Mount(mount) => (path.mount() == mount).then_some(Heard::Directly),
        On::Super(fs) => (FileSystem::of(path) == fs).then_some(Heard::Directly),
    }
}

impl State {
    /// The mask of an object: `i_fsnotify_mask` and its kin. With `lingering`, marks count that
    /// are gone but whose object's mask may not have been computed anew.
    fn object_mask(&self, on: impl Fn(On) -> bool, lingering: bool) -> EventMask {
        let attached = self.groups.iter().flat_map(|group| &group.marks);
        let gone = self.lingering.iter().map(|one| &one.mark).filter(|_| lingering);
        attached
            .chain(gone)
            .filter(|mark| on(mark.on))
            .fold(EventMask::empty(), |mask, mark| mask | mark.interest())
    }

    /// What the marks on an object, its mount and its file system want, and its directory's marks
    /// for its children: `p_mask` of `fsnotify_open_perm_and_set_mode`.
    pub(crate) fn wanted(&self, path: Path, lingering: bool) -> EventMask {
        let direct =
            self.object_mask(|on| heard(on, path, false) == Some(Heard::Directly), lingering);
        (direct | self.wanted_of_children(path, lingering)) & EventMask::PERM
    }

    /// `fsnotify_inode_watches_children` of the directory that holds the file.
    pub(crate) fn wanted_of_children(&self, path: Path, lingering: bool) -> EventMask {
        let Some(parent) = parent_of(path) else { return EventMask::empty() };
        let mask = self.object_mask(|on| on == On::Inode(parent), lingering);
        if mask.contains(EventMask::EVENT_ON_CHILD) { mask & EVENTS } else { EventMask::empty() }
    }

    /// Whether a mark lingers where an access to the path would meet it.
    pub(crate) fn lingers(&self, path: Path, of: Option<GroupNo>) -> bool {
        self.lingering.iter().any(|one| {
            of.is_none_or(|group| group == one.group) && heard(one.mark.on, path, true).is_some()
        })
    }

    /// Takes marks off a group; those that a walk may have pinned linger.
    pub(crate) fn remove_marks(&mut self, group: GroupNo, which: impl Fn(&Mark) -> bool) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.group_mut(group).marks).into_iter().partition(which);
        self.clock += 1;
        let changed = self.clock;
        let of = self.group_mut(group);
        of.marks = kept;
        of.changed.extend(gone.iter().map(|mark| (mark.on, changed)));
        for mark in gone {
            let pinned_by = self.walks_over(mark.on);
            if !pinned_by.is_empty() {
                self.lingering.push(Lingering { group, mark, pinned_by });
            }
        }
    }

    /// `fanotify_mark(2)`: the rule, and the results that are allowed. If the first of them is a
    /// success, it has taken effect.
    pub(crate) fn mark(
        &mut self,
        task: Task,
        group_fd: i32,
        flags: MarkFlags,
        mask: EventMask,
        path: Path,
    ) -> (Rule, Vec<Allowed>) {
        let fail = |rule, errno| (rule, vec![Allowed::Errno(errno)]);
        let command = flags & COMMAND;
        let ignore = flags & IGNORE;
        let on = match (flags.contains(MarkFlags::MOUNT), flags.contains(MarkFlags::FILESYSTEM)) {
            (false, false) => Some(On::Inode(path.inode())),
            (true, false) => Some(On::Mount(path.mount())),
            (false, true) => Some(On::Super(FileSystem::of(path))),
            // FAN_MARK_MNTNS
            (true, true) => None,
        };
        // No rule of the contract stands before these: they look at no group.
        if mask.bits() >> 32 != 0 || flags.bits() & !MARK_FLAGS != 0 {
            return fail(MAINLINE, Errno::EINVAL);
        }
        let malformed = match command {
            MarkFlags::ADD | MarkFlags::REMOVE => mask.is_empty(),
            MarkFlags::FLUSH => !(flags - TYPE - MarkFlags::FLUSH).is_empty(),
            _ => true,
        };
        if malformed || !(mask - VALID).is_empty() || ignore == IGNORE {
            return fail(MAINLINE, Errno::EINVAL);
        }
        // The mask that the kernel goes on with, and what a removal leaves alone.
        let given = mask;
        let (mut mask, mut kept) = if ignore == MarkFlags::IGNORED_MASK {
            (mask - EventMask::FLAGS, EventMask::FLAGS)
        } else {
            (mask, EventMask::empty())
        };
        let group = match self.file(task, group_fd).map(|(_, file)| &file.kind) {
            None | Some(FileKind::Handle(_)) => return fail(MAINLINE, Errno::EBADF),
            Some(FileKind::Queue(_)) => return fail(C3, Errno::EINVAL),
            Some(FileKind::Classic(group) | FileKind::Control(group)) => *group,
            Some(_) => return fail(MAINLINE, Errno::EINVAL),
        };
        let of = self.group(group);
        let (rule, removes, class) =
            (if of.restartable { M1 } else { MAINLINE }, command == MarkFlags::REMOVE, of.class);
        let (flag_bits, owner, may) = (of.flags, of.uid, self.is_admin(task));
        let fid = flag_bits.intersects(FID);
        let mixed = of.restartable
            && command != MarkFlags::FLUSH
            && !(given - EventMask::PERM - EventMask::FLAGS).is_empty();
        let forbidden = !matches!(on, Some(On::Inode(_))) && !may;
        if mixed {
            let errors = [Errno::EINVAL, Errno::EPERM];
            let errors = &errors[..1 + usize::from(forbidden)];
            return (M2, errors.iter().copied().map(Allowed::Errno).collect());
        }
        let Some(on) = on else {
            let hears_of_mounts = flag_bits.contains(InitFlags::REPORT_MNT);
            return if !hears_of_mounts || !(mask - MOUNT_EVENTS).is_empty() {
                fail(rule, Errno::EINVAL)
            } else if forbidden {
                fail(rule, Errno::EPERM)
            } else if command == MarkFlags::FLUSH {
                (rule, vec![Allowed::Value(0)])
            } else {
                // None of the paths is a mount namespace.
                fail(rule, Errno::EINVAL)
            };
        };
        if flag_bits.contains(InitFlags::REPORT_MNT) || mask.intersects(MOUNT_EVENTS) {
            return fail(rule, Errno::EINVAL);
        }
        if forbidden {
            return fail(rule, Errno::EPERM);
        }
        let is_inode = matches!(on, On::Inode(_));
        let pre = mask.contains(EventMask::PRE_ACCESS);
        let others = mask - FD_EVENTS - EventMask::FLAGS;
        if (mask.intersects(EventMask::PERM) && class == Class::Notif)
            || (pre && class == Class::Content)
            || (mask.contains(EventMask::FS_ERROR) && !matches!(on, On::Super(_)))
            || (flags.contains(MarkFlags::EVICTABLE) && !is_inode)
            || (!others.is_empty() && (!fid || matches!(on, On::Mount(_))))
            || (mask.contains(EventMask::RENAME) && !flag_bits.contains(InitFlags::REPORT_NAME))
            || (pre && mask.contains(EventMask::ONDIR))
        {
            return fail(rule, Errno::EINVAL);
        }
        if command == MarkFlags::FLUSH {
            let rule = if of.restartable { M3 } else { MAINLINE };
            let kind = std::mem::discriminant(&on);
            self.remove_marks(group, |mark| std::mem::discriminant(&mark.on) == kind);
            self.group_mut(group).marked = Latest::by(M3);
            return (rule, vec![Allowed::Value(0)]);
        }
        let is_dir = path.kind == PathKind::Dir;
        if flags.contains(MarkFlags::ONLYDIR) && !is_dir {
            return fail(rule, Errno::ENOTDIR);
        }
        if !removes {
            // fanotify_events_supported()
            if pre && FileSystem::of(path) != FileSystem::Ext4 {
                return fail(rule, Errno::EOPNOTSUPP);
            }
            let strict = flag_bits.contains(InitFlags::REPORT_TARGET_FID)
                || mask.contains(EventMask::RENAME)
                || flags.contains(MarkFlags::IGNORE);
            if strict && is_inode && !is_dir && mask.intersects(DIRENT_EVENTS | EventMask::FLAGS) {
                return fail(rule, Errno::ENOTDIR);
            }
        }
        let rule = if rule == M1 && !ignore.is_empty() { M4 } else { rule };
        if !removes && !ignore.is_empty() && !flags.contains(MarkFlags::IGNORED_SURV_MODIFY) {
            if ignore == MarkFlags::IGNORE && (!is_inode || is_dir) {
                return fail(rule, if is_inode { Errno::EISDIR } else { Errno::EINVAL });
            }
            if is_inode && self.has_writers(path.inode()) {
                return (rule, vec![Allowed::Value(0)]);
            }
        }
        if !(is_inode && is_dir) {
            mask -= EventMask::EVENT_ON_CHILD;
            kept = EventMask::EVENT_ON_CHILD;
            if flag_bits.contains(InitFlags::REPORT_DIR_FID) && !removes && ignore.is_empty() {
                mask |= EventMask::EVENT_ON_CHILD;
            }
        }
        let result = if removes {
            self.remove_from_mark(group, on, mask - kept, kept, ignore)
        } else {
            self.add_to_mark(group, owner, on, mask, flags)
        };
        match result {
            Ok(()) => (rule, vec![Allowed::Value(0)]),
            Err(Errno::ENOSPC) if rule != MAINLINE => fail(crate::rules::F2, Errno::ENOSPC),
            Err(errno) => fail(rule, errno),
        }
    }

    /// `fanotify_add_mark`
    fn add_to_mark(
        &mut self,
        group: GroupNo,
        owner: u16,
        on: On,
        mask: EventMask,
        flags: MarkFlags,
    ) -> Result<(), Errno> {
        let at = match self.group(group).marks.iter().position(|mark| mark.on == on) {
            Some(at) => at,
            None => {
                let counts = !self.group(group).flags.contains(InitFlags::UNLIMITED_MARKS);
                if counts && self.limits.marks.is_some_and(|limit| self.marks_of(owner) >= limit) {
                    return Err(Errno::ENOSPC);
                }
                self.clock += 1;
                let born = self.clock;
                let marks = &mut self.group_mut(group).marks;
                // Marks stand in no particular order.
                let at = marks.partition_point(|mark| mark.on < on);
                marks.insert(
                    at,
                    Mark {
                        on,
                        mask: EventMask::empty(),
                        ignored: EventMask::empty(),
                        survives_modify: false,
                        ignore_flags: false,
                        evictable: flags.contains(MarkFlags::EVICTABLE),
                        born,
                    },
                );
                at
            }
        };
        self.clock += 1;
        let changed = self.clock;
        let group = self.group_mut(group);
        let mark = &mut group.marks[at];
        let before = mark.clone();
        // fanotify_may_update_existing_mark()
        let both = mask | mark.mask;
        if (flags.contains(MarkFlags::EVICTABLE) && !mark.evictable)
            || (flags.contains(MarkFlags::IGNORED_MASK) && mark.ignore_flags)
            || (flags.contains(MarkFlags::IGNORE)
                && !flags.contains(MarkFlags::IGNORED_SURV_MODIFY)
                && mark.survives_modify)
            || both.contains(EventMask::PRE_ACCESS | EventMask::ONDIR)
        {
            return Err(Errno::EEXIST);
        }
        if flags.intersects(IGNORE) {
            mark.ignored |= mask;
            mark.survives_modify |= flags.contains(MarkFlags::IGNORED_SURV_MODIFY);
            mark.ignore_flags |= flags.contains(MarkFlags::IGNORE);
        } else {
            mark.mask |= mask;
            group.hears_of_others |= !(mask - EventMask::PERM - EventMask::FLAGS).is_empty();
        }
        if matches!(mark.on, On::Inode(_)) && !flags.contains(MarkFlags::EVICTABLE) {
            mark.evictable = false;
        }
        if *mark != before {
            group.changed.insert(on, changed);
        }
        Ok(())
    }

    /// `fanotify_remove_mark`
    fn remove_from_mark(
        &mut self,
        group: GroupNo,
        on: On,
        mask: EventMask,
        kept: EventMask,
        ignore: MarkFlags,
    ) -> Result<(), Errno> {
        self.clock += 1;
        let changed = self.clock;
        let of = self.group_mut(group);
        let mark = of.marks.iter_mut().find(|mark| mark.on == on).ok_or(Errno::ENOENT)?;
        of.changed.insert(on, changed);
        if ignore.is_empty() {
            mark.mask -= mask;
        } else {
            mark.ignored -= mask;
        }
        if ((mark.mask | mark.ignored) - kept).is_empty() {
            self.remove_marks(group, |mark| mark.on == on);
        }
        Ok(())
    }

    /// How many marks count against the user's limit.
    fn marks_of(&self, uid: u16) -> u32 {
        let marks = self
            .groups
            .iter()
            .filter(|group| group.uid == uid)
            .filter(|group| !group.flags.contains(InitFlags::UNLIMITED_MARKS))
            .map(|group| group.marks.len())
            .sum::<usize>();
        u32::try_from(marks).unwrap_or(u32::MAX)
    }

    /// A file was modified: ignore masks that do not survive it are cleared (`send_to_group`).
    /// `by_path` says whether the kernel knows the mount.
    pub(crate) fn modified(&mut self, path: Path, by_path: bool) {
        let with_parent = self.wanted_of_children(path, true).contains(EventMask::MODIFY);
        for group in &mut self.groups {
            for mark in &mut group.marks {
                let is_mount = matches!(mark.on, On::Mount(_));
                let heard = heard(mark.on, path, with_parent)
                    .filter(|heard| mark.is_on_walk(*heard) && (by_path || !is_mount));
                if heard.is_some() && !mark.survives_modify && !mark.ignored.is_empty() {
                    mark.ignored = EventMask::empty();
                    group.marked = Latest::by(M4);
                }
            }
        }
    }
}
