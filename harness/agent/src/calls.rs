//! The calls of programs.

use std::ffi::{CStr, CString};
use std::sync::atomic::Ordering;

use refan_abi::{AuditRule, Events, Response};
use refan_program::{Call, Program, Task};
use refan_wire::{Data, FileId};

use crate::files;
use crate::memory::{EndingMemory, Window};
use crate::paging::MissingMemory;
use crate::run::Run;
use crate::signals;
use crate::sockets;
use crate::sys::{self, sys};

/// What poll is asked for: `IN | PRI | OUT | RDNORM | WRNORM | RDHUP`.
const POLLED: i16 = libc::POLLIN
    | libc::POLLPRI
    | libc::POLLOUT
    | libc::POLLRDNORM
    | libc::POLLWRNORM
    | libc::POLLRDHUP;

/// Makes a call: what the kernel returned (an error is -errno) and what it wrote.
///
/// Where the value of a success is not itself what the call is for, see each one's documentation
/// at [`Call`]: `poll` returns the events, `epoll`, `sysctl` and `rlimit_nofile` return 0.
pub fn make(run: &Run<'_>, task: Task, call: &Call) -> (i64, Data) {
    let number = |fd| run.number(fd);
    // SAFETY (of all below): no pointers, or pointers to locals of sufficient length.
    let ret = match call {
        Call::FanotifyInit { flags, event_flags } => {
            let flags = run.api.init_bits(*flags);
            // SAFETY: no pointers.
            unsafe { sys!(libc::SYS_fanotify_init, flags, event_flags.bits()) }
        }
        Call::FanotifyMark { group, flags, mask, path } => {
            let path = files::c_location(*path);
            let (flags, mask) = (flags.bits(), mask.bits());
            let (group, at) = (number(*group), libc::AT_FDCWD);
            // SAFETY: the path is a C string that lives through the call.
            unsafe { sys!(libc::SYS_fanotify_mark, group, flags, mask, at, path.as_ptr()) }
        }
        Call::OpenQueue { control } => {
            // SAFETY: the request takes no argument.
            unsafe { sys!(libc::SYS_ioctl, number(*control), run.api.open_queue_ioctl, 0) }
        }
        Call::OpenQueue32 { control } => sys::ioctl32(number(*control), run.api.open_queue_ioctl),
        Call::Read { fd, size } => return read(number(*fd), *size),
        Call::Pread { fd, size } => return pread(number(*fd), *size),
        Call::Write { fd, event, response, size } => {
            respond(number(*fd), number(*event), *response, *size)
        }
        Call::ReadFault { fd, size, good } => return read_fault(number(*fd), *size, *good),
        Call::ReadMissing { fd, size, good } => {
            let memory = run.missing(run.slot(task).step());
            return read_missing(memory, number(*fd), *size, *good);
        }
        // Who does not read into such memory has none to let in.
        Call::PageIn { task } => {
            run.missing(run.slot(*task).step()).map_or(0, MissingMemory::let_in)
        }
        Call::WriteFault { fd, event, response, good } => {
            respond_with_fault(number(*fd), number(*event), *response, *good)
        }
        Call::Pwrite { fd, text } => {
            // SAFETY: the text is as long as the call is told.
            unsafe { sys!(libc::SYS_pwrite64, number(*fd), text.as_ptr(), text.len(), 0) }
        }
        Call::Truncate { path, size } => {
            let path = files::c_location(*path);
            // SAFETY: a C string that lives through the call.
            unsafe { sys!(libc::SYS_truncate, path.as_ptr(), *size) }
        }
        // SAFETY: no pointers.
        Call::Ftruncate { fd, size } => unsafe { sys!(libc::SYS_ftruncate, number(*fd), *size) },
        Call::Fallocate { fd, size } => {
            // SAFETY: no pointers.
            unsafe { sys!(libc::SYS_fallocate, number(*fd), 0, 0, *size) }
        }
        Call::Mmap { fd, size } => {
            let window = run.window(run.slot(task).step());
            return mmap(window, number(*fd), *size as usize);
        }
        Call::Readdir { fd } => readdir(number(*fd)),
        // SAFETY: no pointers.
        Call::Dup2 { fd, to } => unsafe { sys!(libc::SYS_dup2, number(*fd), number(*to)) },
        Call::PidfdGetfd { task, fd } => pidfd_getfd(run, *task, number(*fd)),
        Call::Socket => sockets::open(),
        Call::SendFd { socket, fd } => sockets::send(number(*socket), number(*fd)),
        Call::RecvFd { socket } => sockets::receive(number(*socket)),
        Call::Select { fd } => select(number(*fd)),
        // SAFETY: no pointers.
        Call::Close { fd } => unsafe { sys!(libc::SYS_close, number(*fd)) },
        // SAFETY: no pointers.
        Call::Dup { fd } => unsafe { sys!(libc::SYS_dup, number(*fd)) },
        Call::Poll { fd } => poll(number(*fd)),
        Call::Epoll { fd } => epoll(number(*fd)),
        Call::Fionread { fd } => fionread(number(*fd)),
        // SAFETY: no pointers.
        Call::GetFl { fd } => unsafe { sys!(libc::SYS_fcntl, number(*fd), libc::F_GETFL) },
        Call::SetFl { fd, flags } => {
            // SAFETY: no pointers.
            unsafe { sys!(libc::SYS_fcntl, number(*fd), libc::F_SETFL, flags.bits()) }
        }
        // SAFETY: no pointers.
        Call::GetFd { fd } => unsafe { sys!(libc::SYS_fcntl, number(*fd), libc::F_GETFD) },
        Call::SetFd { fd, flags } => {
            // SAFETY: no pointers.
            unsafe { sys!(libc::SYS_fcntl, number(*fd), libc::F_SETFD, flags.bits()) }
        }
        Call::Readlink { fd } => return readlink(number(*fd)),
        Call::Fdinfo { fd } => return fdinfo(number(*fd)),
        Call::Reopen { fd, flags } => open(&own_file("fd", number(*fd)), flags.bits() as i32),
        Call::Open { path, flags } => open(&files::c_location(*path), flags.bits() as i32),
        Call::Exec { path } => exec(&files::c_location(*path)),
        Call::UnshareUser => {
            let ret = unshare_user();
            if ret == 0 {
                run.slot(task).has_user_namespace.store(true, Ordering::Release);
            }
            ret
        }
        Call::FailNth { nth } => {
            run.slot(task).fail_nth.store((*nth).into(), Ordering::Release);
            0
        }
        Call::Setuid { uid } => setuid(run, task, *uid),
        Call::Sysctl { name, value } => {
            let path = format!("/proc/sys/fs/fanotify/{}\0", name.name());
            write_text(path.as_bytes(), &value.to_string())
        }
        Call::RlimitNofile { more } => rlimit_nofile(*more),
        Call::Signal { task, restart } => signals::send(run.slot(*task), signals::number(*restart)),
        // A valid program has these only where the executor handles them.
        Call::Spawn { .. }
        | Call::Fork
        | Call::Exit
        | Call::Sleep { .. }
        | Call::KernelLog
        | Call::Kill { .. }
        | Call::Await { .. } => -i64::from(libc::ENOSYS),
    };
    (ret, Data::None)
}

fn read(fd: i32, size: u32) -> (i64, Data) {
    let mut buffer = vec![0u8; size.min(Program::MAX_READ) as usize];
    // SAFETY: the buffer is as long as the call is told.
    let ret = unsafe { sys!(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) };
    let Ok(len) = usize::try_from(ret) else { return (ret, Data::None) };
    buffer.truncate(len);
    (ret, what_was_read(fd, buffer))
}

/// Events where the fd has no file type, as the anonymous inode of a group or queue; else bytes.
fn what_was_read(fd: i32, bytes: Vec<u8>) -> Data {
    if bytes.is_empty() {
        return Data::None;
    }
    if stat(fd).is_none_or(|stat| stat.st_mode & libc::S_IFMT != 0) {
        return Data::Bytes(bytes);
    }
    let objects = Events::new(&bytes)
        .map(|event| {
            let fd = event.ok()?.fd;
            let stat = if fd >= 0 { stat(fd)? } else { return None };
            Some(FileId { dev: stat.st_dev, ino: stat.st_ino })
        })
        .collect();
    Data::Events { bytes, objects }
}

fn stat(fd: i32) -> Option<libc::stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the pointer is to a local of the type that the call fills.
    let ret = unsafe { sys!(libc::SYS_fstat, fd, stat.as_mut_ptr()) };
    // SAFETY: all zeros is a valid value of the type, so it is initialized either way.
    (ret == 0).then(|| unsafe { stat.assume_init() })
}

fn pread(fd: i32, size: u32) -> (i64, Data) {
    let mut buffer = vec![0u8; size.min(Program::MAX_READ) as usize];
    // SAFETY: the buffer is as long as the call is told.
    let ret = unsafe { sys!(libc::SYS_pread64, fd, buffer.as_mut_ptr(), buffer.len(), 0) };
    let Ok(len) = usize::try_from(ret) else { return (ret, Data::None) };
    buffer.truncate(len);
    (ret, if len == 0 { Data::None } else { Data::Bytes(buffer) })
}

/// Answers an event, with so many bytes if they are told; returns what `write(2)` does.
pub(crate) fn respond(fd: i32, event: i32, response: Response, size: Option<u32>) -> i64 {
    let (buffer, len) = response_bytes(event, response);
    let len = size.map_or(len, |size| size as usize).min(buffer.len());
    // SAFETY: the buffer is at least as long as the call is told.
    unsafe { sys!(libc::SYS_write, fd, buffer.as_ptr(), len) }
}

/// A response with zeros behind it, and how long it is.
fn response_bytes(event: i32, response: Response) -> ([u8; Program::MAX_WRITE as usize], usize) {
    let mut buffer = [0; Program::MAX_WRITE as usize];
    buffer[..4].copy_from_slice(&event.to_ne_bytes());
    buffer[4..8].copy_from_slice(&response.bits().to_ne_bytes());
    let mut len = refan_abi::RESPONSE_LEN;
    if response.contains(Response::INFO) {
        let rule = AuditRule { rule_number: 0, subject_trust: 0, object_trust: 0 };
        buffer[len..len + AuditRule::LEN].copy_from_slice(&rule.to_bytes());
        len += AuditRule::LEN;
    }
    (buffer, len)
}

fn respond_with_fault(fd: i32, event: i32, response: Response, good: u32) -> i64 {
    let (bytes, len) = response_bytes(event, response);
    let mut memory = match EndingMemory::new((good as usize).min(len)) {
        Ok(memory) => memory,
        Err(error) => return error,
    };
    let there = memory.bytes();
    there.copy_from_slice(&bytes[..there.len()]);
    // SAFETY: what of the buffer is no memory, the kernel answers with EFAULT.
    unsafe { sys!(libc::SYS_write, fd, there.as_ptr(), len) }
}

fn read_fault(fd: i32, size: u32, good: u32) -> (i64, Data) {
    let mut memory = match EndingMemory::new(good.min(size) as usize) {
        Ok(memory) => memory,
        Err(error) => return (error, Data::None),
    };
    let there = memory.bytes();
    // SAFETY: the kernel writes to what is there, and answers the rest with EFAULT.
    let ret = unsafe { sys!(libc::SYS_read, fd, there.as_mut_ptr(), size) };
    let Ok(len) = usize::try_from(ret) else { return (ret, Data::None) };
    (ret, what_was_read(fd, there[..len.min(there.len())].to_vec()))
}

fn read_missing(memory: Option<MissingMemory>, fd: i32, size: u32, good: u32) -> (i64, Data) {
    let Some(memory) = memory else { return (-i64::from(libc::ENOSYS), Data::None) };
    let size = size.min(Program::MAX_READ) as usize;
    let buffer = memory.buffer((good as usize).min(size));
    // SAFETY: so many bytes are mapped, of which the kernel waits for those that are missing.
    let ret = unsafe { sys!(libc::SYS_read, fd, buffer, size) };
    let Ok(len) = usize::try_from(ret) else { return (ret, Data::None) };
    // SAFETY: so many bytes the kernel has just written, so that none of them is missing.
    let bytes = unsafe { std::slice::from_raw_parts(buffer, len.min(size)) }.to_vec();
    (ret, what_was_read(fd, bytes))
}

fn mmap(window: Option<Window>, fd: i32, size: usize) -> (i64, Data) {
    let Some(window) = window else { return (-i64::from(libc::ENOSYS), Data::None) };
    let at = window.map(fd, size);
    if at < 0 {
        return (at, Data::None);
    }
    // Pages behind the file's end are there only to raise SIGBUS.
    let held = stat(fd).map_or(0, |stat| usize::try_from(stat.st_size).unwrap_or(0)).min(size);
    // SAFETY: mapped just now. If another task shortens the file meanwhile, SIGBUS ends this one here.
    let bytes = unsafe { std::slice::from_raw_parts(at as *const u8, held) }.to_vec();
    window.clear();
    (held as i64, if held == 0 { Data::None } else { Data::Bytes(bytes) })
}

fn readdir(fd: i32) -> i64 {
    let mut buffer = [0u64; 512];
    let len = size_of_val(&buffer);
    // SAFETY: the buffer is as long as the call is told.
    unsafe { sys!(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), len) }.min(0)
}

fn pidfd_getfd(run: &Run<'_>, task: Task, fd: i32) -> i64 {
    let pid = run.slot(task).pid.load(Ordering::Acquire);
    if pid == 0 {
        // It was never made.
        return -i64::from(libc::ESRCH);
    }
    // SAFETY: no pointers in this and the calls below.
    let pidfd = unsafe { sys!(libc::SYS_pidfd_open, pid, 0) };
    if pidfd < 0 {
        return pidfd;
    }
    // SAFETY: as above.
    let got = unsafe { sys!(libc::SYS_pidfd_getfd, pidfd, fd, 0) };
    if got < 0 {
        // SAFETY: as above.
        unsafe { sys!(libc::SYS_close, pidfd) };
        return got;
    }
    // The pidfd has the lowest number that was free; the fd gets that in its place.
    // SAFETY: as above.
    let ret = unsafe { sys!(libc::SYS_dup3, got, pidfd, libc::O_CLOEXEC) };
    // SAFETY: as above.
    unsafe { sys!(libc::SYS_close, got) };
    ret
}

fn select(fd: i32) -> i64 {
    const WORD: usize = u64::BITS as usize;
    let mut sets = [[0u64; libc::FD_SETSIZE / WORD]; 3];
    let Some(at) = usize::try_from(fd).ok().filter(|fd| *fd < libc::FD_SETSIZE) else {
        // No set can hold it.
        return -i64::from(libc::EBADF);
    };
    let (word, bit) = (at / WORD, 1 << (at % WORD));
    sets.iter_mut().for_each(|set| set[word] = bit);
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let [reading, writing, exceptions] = sets.each_mut().map(|set| set.as_mut_ptr());
    let time = &raw mut time;
    // SAFETY: three sets of the size that the kernel takes them to have, and a time, all locals.
    let ret = unsafe { sys!(libc::SYS_select, fd + 1, reading, writing, exceptions, time) };
    // Nothing is ready; of an fd beyond the table the kernel leaves the sets as they were.
    if ret <= 0 {
        return ret;
    }
    let ready = sets.map(|set| set[word] & bit != 0);
    let events = [libc::POLLIN, libc::POLLOUT, libc::POLLPRI];
    ready.iter().zip(events).filter(|(is, _)| **is).map(|(_, event)| i64::from(event)).sum()
}

fn poll(fd: i32) -> i64 {
    let mut asked = libc::pollfd { fd, events: POLLED, revents: 0 };
    // SAFETY: one element, as the call is told.
    let ret = unsafe { sys!(libc::SYS_poll, &raw mut asked, 1, 0) };
    if ret < 0 { ret } else { (asked.revents as u16).into() }
}

fn epoll(fd: i32) -> i64 {
    // SAFETY: no pointers.
    let epoll = unsafe { sys!(libc::SYS_epoll_create1, 0) };
    if epoll < 0 {
        return epoll;
    }
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: the event lives through the call.
    let ret = unsafe { sys!(libc::SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    // SAFETY: no pointers.
    unsafe { sys!(libc::SYS_close, epoll) };
    ret
}

fn fionread(fd: i32) -> i64 {
    let mut bytes = 0i32;
    // SAFETY: the request writes an int, which lives through the call.
    let ret = unsafe { sys!(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut bytes) };
    if ret < 0 { ret } else { bytes.into() }
}

/// `/proc/self/fd/N` or `/proc/self/fdinfo/N`.
fn own_file(folder: &str, fd: i32) -> CString {
    // No NUL byte comes from these parts.
    CString::new(format!("/proc/self/{folder}/{fd}")).unwrap_or_default()
}

fn open(path: &CStr, flags: i32) -> i64 {
    // SAFETY: a C string that lives through the call.
    unsafe { sys!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o666) }
}

fn readlink(fd: i32) -> (i64, Data) {
    readlink_at(&own_file("fd", fd))
}

fn readlink_at(path: &CStr) -> (i64, Data) {
    let mut buffer = [0u8; 256];
    let (target, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: path and buffer live through the call; the buffer is as long as it is told.
    let ret = unsafe { sys!(libc::SYS_readlinkat, libc::AT_FDCWD, path.as_ptr(), target, len) };
    let Ok(len) = usize::try_from(ret) else { return (ret, Data::None) };
    (ret, Data::Text(String::from_utf8_lossy(&buffer[..len]).into_owned()))
}

/// The calling process's pid in the namespace that `/proc` was mounted in: the agent's. 0 if it
/// cannot be found out.
pub fn outer_pid() -> i32 {
    let (_, pid) = readlink_at(c"/proc/self");
    if let Data::Text(pid) = pid { pid.parse().unwrap_or(0) } else { 0 }
}

fn fdinfo(fd: i32) -> (i64, Data) {
    let file = open(&own_file("fdinfo", fd), libc::O_RDONLY);
    if file < 0 {
        return (file, Data::None);
    }
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 4096];
    let ret = loop {
        // SAFETY: the buffer is as long as the call is told.
        let ret = unsafe { sys!(libc::SYS_read, file, chunk.as_mut_ptr(), chunk.len()) };
        match usize::try_from(ret) {
            Ok(len) if len > 0 => bytes.extend(&chunk[..len]),
            _ => break ret,
        }
    };
    // SAFETY: no pointers.
    unsafe { sys!(libc::SYS_close, file) };
    if ret < 0 {
        return (ret, Data::None);
    }
    (0, Data::Text(fanotify_lines(&String::from_utf8_lossy(&bytes))))
}

fn fanotify_lines(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("fanotify")).collect::<Vec<_>>().join("\n")
}

fn exec(path: &CStr) -> i64 {
    let arguments = [path.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<u8>()];
    let (arguments, environment) = (arguments.as_ptr(), environment.as_ptr());
    // SAFETY: both arrays end with a null pointer and live until the call returns or replaces
    // this process.
    unsafe { sys!(libc::SYS_execve, path.as_ptr(), arguments, environment) }
}

/// Enters a new user namespace. `unshare(2)` refuses that to a process which shares its memory, so a
/// child that shares none makes the namespace and lives until it is entered.
pub fn unshare_user() -> i64 {
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: no pointers: without `CLONE_VM` the child has a copy of this stack to go on with.
    let child = unsafe { sys!(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child == 0 {
        // SAFETY: no pointers in these calls.
        unsafe { sys!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: as above.
            unsafe { sys!(libc::SYS_pause) };
        }
    }
    if child < 0 {
        return child;
    }
    // SAFETY: no pointers in this and the calls below.
    let pidfd = unsafe { sys!(libc::SYS_pidfd_open, child, 0) };
    let ret = if pidfd < 0 {
        pidfd
    } else {
        // SAFETY: as above.
        unsafe { sys!(libc::SYS_setns, pidfd, libc::CLONE_NEWUSER) }
    };
    // SAFETY: as above. The child is not reaped yet, so the pid is its own.
    unsafe {
        sys!(libc::SYS_kill, child, libc::SIGKILL);
        sys!(libc::SYS_wait4, child, 0, libc::__WALL, 0);
        if pidfd >= 0 {
            sys!(libc::SYS_close, pidfd);
        }
    }
    ret
}

fn setuid(run: &Run<'_>, task: Task, uid: u16) -> i64 {
    // SAFETY: no pointers.
    let ret = unsafe { sys!(libc::SYS_setuid, uid) };
    if ret == 0 {
        run.slot(task).uid.store(uid.into(), Ordering::Release);
    }
    ret
}

/// Writes a file of `/proc/sys`, whose name ends with a NUL byte: 0 or -errno.
fn write_text(path: &[u8], text: &str) -> i64 {
    let Ok(path) = CStr::from_bytes_with_nul(path) else { return -i64::from(libc::EINVAL) };
    let file = open(path, libc::O_WRONLY);
    if file < 0 {
        return file;
    }
    // SAFETY: the text is as long as the call is told.
    let ret = unsafe { sys!(libc::SYS_write, file, text.as_ptr(), text.len()) };
    // SAFETY: no pointers.
    unsafe { sys!(libc::SYS_close, file) };
    ret.min(0)
}

/// The limit is on numbers (`RLIMIT_NOFILE` is one more than the highest), and the lowest free
/// number is always the next: so it is the number that the fd after `more` further ones would get.
/// Soft and hard limit become the same, as with `ulimit -n`.
fn rlimit_nofile(more: u8) -> i64 {
    let is_open = |fd: u32| {
        // SAFETY: no pointers.
        let flags = unsafe { sys!(libc::SYS_fcntl, fd, libc::F_GETFD) };
        flags >= 0
    };
    let limit = lowest_limit(more, is_open).into();
    let limit = libc::rlimit64 { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the structure lives through the call.
    unsafe { sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const limit, 0) }
}

/// The number of the free fd that has `more` free ones below it.
fn lowest_limit(more: u8, is_open: impl Fn(u32) -> bool) -> u32 {
    let mut left = more;
    let mut number = 0;
    loop {
        if !is_open(number) {
            if left == 0 {
                return number;
            }
            left -= 1;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn the_limit_leaves_room_for_just_so_many() {
        let open = [0, 1, 3, 7];
        let is_open = |fd| open.contains(&fd);
        assert_eq!(lowest_limit(0, is_open), 2);
        assert_eq!(lowest_limit(1, is_open), 4);
        assert_eq!(lowest_limit(4, is_open), 8);
    }

    #[test]
    fn fdinfo_keeps_the_lines_of_fanotify() {
        let text = "pos:\t0\nfanotify flags:8 event-flags:0\nfanotify ino:1 mask:1\nscm_fds: 0\n";
        assert_eq!(fanotify_lines(text), "fanotify flags:8 event-flags:0\nfanotify ino:1 mask:1");
    }

    #[test]
    fn files_are_told_from_queues() {
        let file = std::fs::File::open("/proc/self/exe").expect("itself");
        let (ret, data) = read(file.as_raw_fd(), 4);
        assert_eq!((ret, data), (4, Data::Bytes(b"\x7fELF".to_vec())));
        let (ret, data) = pread(-1, 4);
        assert_eq!((ret, data), (-9, Data::None));
        assert_eq!(poll(-1), 0);
        assert_eq!(epoll(file.as_raw_fd()), -1);
        assert_eq!(select(file.as_raw_fd()), i64::from(libc::POLLIN | libc::POLLOUT));
        assert!([0, -9].contains(&select(1000)));
        let (ret, data) = readlink(-1);
        assert_eq!((ret, data), (-2, Data::None));
    }
}
