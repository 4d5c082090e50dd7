//! Child processes that cannot outlive the process that started them.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::capture::Capture;

/// A running child process; dropping it kills and reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pidfd: OwnedFd,
}

impl Process {
    /// Starts `program`; only the descriptors in `inherited` stay open in it, under their numbers.
    ///
    /// Its standard input is empty, standard output and error go to `messages`. The kernel kills
    /// it when this process ends, however it ends (`PR_SET_PDEATHSIG`, prctl(2)).
    pub(crate) fn start(
        program: &Path,
        arguments: &[OsString],
        inherited: &[BorrowedFd<'_>],
        messages: &Capture,
    ) -> io::Result<Process> {
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(Stdio::null());
        command.stdout(Stdio::from(messages.writer().try_clone_to_owned()?));
        command.stderr(Stdio::from(messages.writer().try_clone_to_owned()?));
        // Messages are read by this program; they must not change with the user's language.
        command.env("LC_ALL", "C");
        let kept: Vec<RawFd> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec only system calls that are async-signal-safe are made,
        // and nothing is allocated.
        unsafe {
            command.pre_exec(move || prepare_child(&kept, parent));
        }
        let mut child = spawn_from_lasting_thread(command)?;
        let pid = Pid::from_child(&child);
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Process { child, pidfd }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The descriptor that polls readable when the process has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the process ended, if it did by `deadline`.
    pub(crate) fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        poll_readable(&[self.pidfd.as_fd()], deadline)?;
        self.child.try_wait()
    }

    /// Kills the process, if it still runs, and reaps it.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL)?;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and PR_SET_PDEATHSIG still holds.
        let _ = self.kill();
    }
}

/// Waits until one of `fds` is readable or hung up, or the deadline has passed; says which are.
///
/// # Errors
/// When poll(2) fails.
pub fn poll_readable<const N: usize>(
    fds: &[BorrowedFd<'_>; N],
    deadline: Instant,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::event::Timespec::try_from(left).map_err(io::Error::other)?;
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
    let mut ready = [false; N];
    for (ready, polled) in ready.iter_mut().zip(&polled) {
        *ready = !polled.revents().is_empty();
    }
    Ok(ready)
}

/// Runs in the child, after fork(2) and before execve(2).
fn prepare_child(kept: &[RawFd], parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above took effect.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    // The gate of a stopped guest should open at once and not a default timer slack of 50 us
    // later, should QEMU poll for it.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    // SAFETY: close_range(2) with CLOEXEC only marks descriptors.
    unsafe {
        // Kernels before 5.11 lack the flag; the harness's own descriptors are CLOEXEC anyway.
        libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed());
    }
    for fd in kept {
        // SAFETY: F_SETFD clears the close-on-exec mark of a descriptor that the caller holds open.
        if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

type Spawn = (Command, mpsc::Sender<io::Result<Child>>);

/// Spawns from a thread that lives as long as the process: the death signal is sent when the
/// *thread* that forked ends (prctl(2), "Warning"), and callers' threads come and go.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Option<Mutex<mpsc::Sender<Spawn>>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Spawn>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in requests {
                    // A caller that is gone drops the child, and nobody waits for an answer.
                    let _ = answer.send(command.spawn());
                }
            })
            .ok()?;
        Some(Mutex::new(sender))
    });
    let spawner = spawner.as_ref().ok_or_else(gone)?;
    let (answer, child) = mpsc::channel();
    spawner.lock().map_err(|_| gone())?.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
