//! What actions depend on and change: two that do not touch the same come to the same in either
//! order.
//!
//! What a call will ever do is foretold from what its fds are when the block begins and from what
//! the calls before it in its branch were seen to return. Foretelling too much costs time only.

mod actions;
mod calls;
mod groups;
mod resources;
mod table;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use refan_program::{Call, Step, Task};

use self::calls::Touches;
pub(crate) use self::resources::Footprint;
use self::resources::Resource;
use self::table::{Known, Table};
use crate::explore::Scene;
use crate::state::{FileNo, GroupNo, Life, State};

/// The footprints of everything in a step or block.
pub(crate) struct Footprints<'a> {
    scene: &'a Scene<'a>,
    /// As the block begins.
    start: &'a State,
    slots: RefCell<BTreeMap<Resource, u32>>,
    calls: BTreeMap<usize, Touches>,
    exits: BTreeMap<Task, Footprint>,
    victims: BTreeSet<Task>,
    /// How often a file can be dropped.
    drops: BTreeMap<FileNo, u32>,
    /// Groups that marks are added to.
    marked: BTreeSet<GroupNo>,
    /// A call is made that is not known here.
    strange: bool,
    /// The groups whose marks can go while walks go on.
    pinned: BTreeSet<GroupNo>,
    /// A read can take an event for which no fd can be made.
    refuses: bool,
}

impl<'a> Footprints<'a> {
    /// Of what can happen from a state on.
    pub(crate) fn new(scene: &'a Scene<'a>, start: &'a State) -> Self {
        let mut prints = Self {
            scene,
            start,
            slots: RefCell::default(),
            calls: BTreeMap::new(),
            exits: BTreeMap::new(),
            victims: BTreeSet::new(),
            drops: BTreeMap::new(),
            marked: BTreeSet::new(),
            strange: false,
            pinned: start.lingering.iter().map(|one| one.group).collect(),
            refuses: can_refuse(scene),
        };
        let tasks = (0u8..).zip(&start.tasks).map(|(number, _)| Task(number));
        let mut exiting: BTreeSet<Task> =
            tasks.filter(|task| prints.exits_by_itself(*task)).collect();
        prints.victims = exiting.iter().copied().filter(|task| start.task(*task).killed).collect();
        // Which fds there are, who can drop what, who can end.
        let mut tables = BTreeMap::new();
        let mut uses = Vec::new();
        for branch in &scene.history.branches {
            let mut table = Table::of(start, branch.task);
            for &step in &branch.steps {
                let call = scene.program.steps[step].call.innermost();
                let of = prints.look_at(&mut table, step, call, branch.task, &mut exiting);
                uses.push((step, of, branch.task));
            }
            tables.insert(branch.task, table);
        }
        for &task in &exiting {
            let table = tables.entry(task).or_insert_with(|| Table::of(start, task));
            for file in table.fds.values().filter_map(|entry| entry.file) {
                *prints.drops.entry(file).or_default() += 1;
            }
        }
        let go =
            tables.values().flat_map(|table| &table.all).filter_map(|entry| match entry.known {
                Known::Control(group) | Known::Classic(group) => {
                    prints.can_be_last(*entry).then_some(group)
                }
                _ => None,
            });
        let go: Vec<GroupNo> = go.collect();
        prints.pinned.extend(go);
        for task in exiting {
            let fds = tables.get(&task).map_or(&[][..], |table| &table.all);
            let print = fds.iter().fold(Footprint::default(), |print, entry| {
                print.with(prints.drop(*entry)).with(prints.release(*entry))
            });
            // Who executes a file keeps writers off it.
            let runs = start.task(task).runs.is_some();
            let print = if prints.strange || runs { Footprint::ALL } else { print };
            prints.exits.insert(task, print);
        }
        for (step, of, task) in uses {
            let call = scene.program.steps[step].call.innermost();
            let mut touches = match of {
                _ if prints.strange => Footprint::ALL.into(),
                Some(of) => prints.touches(step, call, task, of),
                None => Footprint::ALL.into(),
            };
            touches.first.join(prints.victim(task));
            touches.whole.join(prints.victim(task));
            prints.calls.insert(step, touches);
        }
        prints
    }

    fn exits_by_itself(&self, task: Task) -> bool {
        let of = self.start.task(task);
        of.killed
            || match of.life {
                Life::OneCall => true,
                Life::Ended => of.call.is_some(),
                Life::Lives | Life::NotMade => false,
            }
    }

    /// The resource's bit. What has none of its own shares the last.
    fn bits(&self, resources: &[Resource]) -> u128 {
        let mut slots = self.slots.borrow_mut();
        resources.iter().fold(0, |bits, resource| {
            let free = slots.len().min(127) as u32;
            bits | 1 << *slots.entry(*resource).or_insert(free)
        })
    }

    fn reads(&self, resources: &[Resource]) -> Footprint {
        Footprint { reads: self.bits(resources), ..Footprint::default() }
    }

    fn writes(&self, resources: &[Resource]) -> Footprint {
        Footprint { writes: self.bits(resources), ..Footprint::default() }
    }

    fn adds(&self, resources: &[Resource]) -> Footprint {
        Footprint { adds: self.bits(resources), ..Footprint::default() }
    }
}

/// Whether fds or memory can be short, or a file busy that is executed.
fn can_refuse(scene: &Scene<'_>) -> bool {
    let spoils = |step: &Step| {
        matches!(step.call.innermost(), Call::RlimitNofile { .. } | Call::Exec { .. })
    };
    !scene.seen.failed.is_empty() || scene.program.steps.iter().any(spoils)
}
