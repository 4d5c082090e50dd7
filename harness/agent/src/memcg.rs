//! What a group's memory is charged to: programs run in a memory cgroup of their own, which has to be
//! gone for good once it is removed (Documentation/admin-guide/cgroup-v2.rst).
//!
//! A group keeps a reference to the cgroup of the process that made it (`fsnotify_alloc_group`), and by
//! it the cgroup stays, dying, as long as the group. The kernel takes it from the memory's owner
//! (`get_mem_cgroup_from_mm`), and all tasks share PID 1's memory, so PID 1 goes along. What it has
//! touched meanwhile holds the cgroup as well and has to be given back first.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refan_wire::Leak;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::arena::ARENA;
use crate::memory;
use crate::stack::Stack;

const ROOT: &str = "/cgroup";
const PROGRAMS: &str = "/cgroup/programs";

/// Mounts the tree of cgroups and has memory charged in it, where the kernel can do that.
pub fn mount() -> Result<()> {
    fs::create_dir(ROOT).context("making /cgroup")?;
    let kind = c"cgroup2";
    match rustix::mount::mount(kind, ROOT, kind, MountFlags::empty(), None) {
        Err(Errno::NODEV) => return Ok(()),
        mounted => mounted.context("mounting the cgroups")?,
    }
    let control = Path::new(ROOT).join("cgroup.subtree_control");
    match fs::write(&control, "+memory") {
        // No CONFIG_MEMCG.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        written => written.context("charging memory to cgroups"),
    }
}

/// Has all memory that is kept charged to the root: what PID 1 touched for the first time in the programs' cgroup
/// would hold that, on kernels before 7.0 at least.
pub fn charge_to_root() -> Result<()> {
    if !statistics().exists() {
        return Ok(());
    }
    let mut lent = [ARENA.lent(), Stack::lent()];
    lent.sort_by_key(|range| range.start);
    memory::populate(&lent)
}

/// Goes into the programs' cgroup, which is made if it is not there.
pub fn enter() -> Result<()> {
    if !statistics().exists() {
        return Ok(());
    }
    match fs::create_dir(PROGRAMS) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => {
            made.context("making a cgroup")?;
            move_to(PROGRAMS)
        }
    }
}

/// Leaves that cgroup and removes it. It is dying from now on.
pub fn leave() -> Result<()> {
    if !Path::new(PROGRAMS).exists() {
        return Ok(());
    }
    move_to(ROOT)?;
    fs::remove_dir(PROGRAMS).context("removing the programs' cgroup")?;
    // SAFETY: a cgroup can be removed when no process is in it, and every process that shares the
    // memory was started in it; PID 1 runs on a stack of its own.
    unsafe {
        ARENA.give_back()?;
        Stack::give_all_back()
    }
}

/// What is left of cgroups that are removed.
pub fn dying() -> Result<Vec<Leak>> {
    let Ok(text) = fs::read_to_string(statistics()) else { return Ok(Vec::new()) };
    let count = text.lines().find_map(|line| line.strip_prefix("nr_dying_descendants "));
    let after = count.and_then(|count| count.parse().ok());
    let after = after.with_context(|| format!("cgroup.stat says {text:?}"))?;
    let leak = Leak { what: "dying memory cgroups".to_owned(), before: 0, after };
    Ok(Some(leak).filter(|leak| leak.after != 0).into_iter().collect())
}

fn statistics() -> PathBuf {
    Path::new(ROOT).join("cgroup.stat")
}

fn move_to(cgroup: &str) -> Result<()> {
    let processes = Path::new(cgroup).join("cgroup.procs");
    fs::write(&processes, "1").with_context(|| format!("writing {}", processes.display()))
}
