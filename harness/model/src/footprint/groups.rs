//! What is touched where a group is queued to, torn down or let go of.

use refan_program::Path;

use super::Footprints;
use super::resources::{Footprint, Resource};
use super::table::{Entry, Known};
use crate::mark::heard;
use crate::state::{GroupNo, Transit};

impl<'a> Footprints<'a> {
    pub(super) fn queueing(&self, group: GroupNo) -> Footprint {
        // Of a group that was made in the block nothing is known.
        let Some(of) = self.start.groups.get(group.0) else { return Footprint::ALL };
        let limited = of.limit.is_some();
        let print = if limited {
            self.writes(&[Resource::Unread(group), Resource::Head(group)])
        } else {
            self.adds(&[Resource::Unread(group)])
        };
        print.with(self.reads(&[Resource::Down(group)]))
    }

    pub(super) fn abandoning(&self, group: GroupNo) -> Footprint {
        self.writes(&[
            Resource::Unread(group),
            Resource::Head(group),
            Resource::Pending(group, None),
        ])
    }

    /// An event in transit is handed over, or dropped with its reader.
    pub(super) fn in_hand(&self, transit: &Transit) -> Footprint {
        let group = transit.reading.group;
        self.writes(&[Resource::Pending(group, None)]).with(self.reads(&[Resource::Down(group)]))
    }

    /// A read that can sleep for its buffer takes and hands over what nobody has seen yet.
    pub(super) fn missing(&self, group: GroupNo) -> Footprint {
        self.abandoning(group).with(self.looking(group))
    }

    /// The marks of a group that has stopped go, but for those that are pinned by accesses that
    /// wait for others.
    pub(super) fn tearing_down(&self, group: GroupNo) -> Footprint {
        let mut print = self.writes(&[Resource::Masks, Resource::Pins(group)]);
        let slots: Vec<Resource> = self.slots.borrow().keys().copied().collect();
        for resource in slots {
            if matches!(resource, Resource::Pending(of, _) | Resource::Down(of) if of != group) {
                print.join(self.reads(&[resource]));
            }
        }
        print
    }

    /// A walk no longer stands where it may have pinned marks.
    pub(super) fn unpinning(&self) -> Footprint {
        self.pinned.iter().fold(Footprint::default(), |print, group| {
            print.with(self.adds(&[Resource::Pins(*group)]))
        })
    }

    /// The groups that can hear of an access.
    pub(super) fn hearers(&self, path: Path) -> impl Iterator<Item = GroupNo> {
        let groups = (0..).zip(&self.start.groups).map(|(number, group)| (GroupNo(number), group));
        groups
            .filter(move |(number, group)| {
                self.marked.contains(number)
                    || group.marks.iter().any(|mark| heard(mark.on, path, true).is_some())
            })
            .map(|(number, _)| number)
    }

    /// Whether a reference to the file can be the last one when it goes.
    pub(super) fn can_be_last(&self, entry: Entry) -> bool {
        let Some(file) = entry.file else { return true };
        let refs = self.start.files.get(&file).map_or(0, |file| file.refs);
        self.strange || self.drops.get(&file).is_some_and(|drops| *drops >= refs)
    }

    /// An fd goes.
    pub(super) fn drop(&self, entry: Entry) -> Footprint {
        match (entry.file, entry.known) {
            _ if !self.can_be_last(entry) => Footprint::default(),
            (_, Known::Unknown) => Footprint::ALL,
            (_, Known::File { path, writable: true }) => {
                self.writes(&[Resource::Content(path.inode())])
            }
            (Some(file), _) => self.writes(&[Resource::Last(file)]),
            (None, _) => Footprint::default(),
        }
    }

    /// A file is released, if it can be.
    pub(super) fn release(&self, entry: Entry) -> Footprint {
        if !self.can_be_last(entry) {
            return Footprint::default();
        }
        match entry.known {
            Known::Queue(group) => self
                .writes(&[
                    Resource::Slot(group),
                    Resource::Unread(group),
                    Resource::Head(group),
                    Resource::Pending(group, None),
                ])
                .with(self.reads(&[Resource::Down(group)])),
            Known::Control(group) | Known::Classic(group) => self.writes(&[
                Resource::Down(group),
                Resource::Unread(group),
                Resource::Head(group),
                Resource::Pending(group, None),
                Resource::Masks,
                Resource::Pins(group),
                Resource::Groups,
            ]),
            Known::File { .. } | Known::Other => Footprint::default(),
            Known::Unknown => Footprint::ALL,
        }
    }
}
