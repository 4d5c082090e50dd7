//! Waiting for a folder to hold what others put there.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use refan_vm::poll_readable;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Waits until something is so of a folder that files are moved into (inotify(7)). Says whether it came to that in
/// time.
pub fn until(folder: &Path, patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
    inotify::add_watch(&watch, folder, WatchFlags::MOVED_TO).expect("a folder");
    // What comes behind this look is told.
    while !is_so() {
        let Ok([true]) = poll_readable(&[watch.as_fd()], deadline) else { return false };
        let mut told = [0; 4096];
        while rustix::io::read(&watch, &mut told).is_ok() {}
    }
    true
}
