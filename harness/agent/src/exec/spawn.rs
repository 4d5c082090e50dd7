//! How a command's process is made.
//!
//! Not by the standard library: where it runs code between fork and exec it takes a socket for the child's
//! word, and the least kernel under test has none.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use refan_wire::Command;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use crate::sys::{self, sys};
use crate::{door, executor};

/// Starts a command in a session of its own, with these as its standard input, output and error, without
/// the rights to the ports by which PID 1 speaks to the host. If they are a terminal, it controls the session.
/// Fails as `execve(2)`, or what comes before it.
pub fn spawn(
    command: &Command,
    streams: [BorrowedFd<'_>; 3],
    is_terminal: bool,
) -> Result<Pid, Errno> {
    let image = Image::of(command)?;
    // The child's word: -errno, or nothing when it has become the command.
    let (word, child_word) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let streams = streams.map(|stream| stream.as_raw_fd());
    // SAFETY: no pointers: without `CLONE_VM` the child has a copy of this stack to go on with.
    let child = unsafe { sys!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        let error = image.become_it(streams, is_terminal) as i32;
        let bytes = error.to_ne_bytes();
        // SAFETY: the bytes are a local. If nobody reads them the status still tells that it failed.
        unsafe { sys!(libc::SYS_write, child_word.as_raw_fd(), bytes.as_ptr(), bytes.len()) };
        sys::exit(127);
    }
    drop(child_word);
    if child < 0 {
        return Err(Errno::from_raw_os_error(-child as i32));
    }
    let pid = Pid::from_raw(child as i32).ok_or(Errno::CHILD)?;
    let mut bytes = [0; 4];
    match File::from(word).read_exact(&mut bytes) {
        Err(_) => Ok(pid),
        Ok(()) => {
            // It says why it ends, and does.
            let _ = executor::wait_for(child as i32);
            Err(Errno::from_raw_os_error(-i32::from_ne_bytes(bytes)))
        }
    }
}

/// A command as `execve(2)` takes it, made before the fork.
struct Image {
    file: CString,
    folder: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn of(command: &Command) -> Result<Self, Errno> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
        let variable =
            |(name, value): &(Vec<u8>, Vec<u8>)| text(&[name, &b"="[..], value].concat());
        Ok(Self {
            file: text(file(command)?.as_os_str().as_bytes())?,
            folder: text(&command.folder)?,
            arguments: std::iter::once(&command.program)
                .chain(&command.arguments)
                .map(|word| text(word))
                .collect::<Result<_, _>>()?,
            environment: command.environment.iter().map(variable).collect::<Result<_, _>>()?,
        })
    }

    /// Makes the calling process this command; returns -errno if that fails.
    fn become_it(&self, streams: [i32; 3], is_terminal: bool) -> i64 {
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // What is given is numbered above the standard streams, which PID 1 has.
        for (standard, stream) in (0..).zip(streams) {
            // SAFETY: no pointers; the numbers below 3 are PID 1's copies of the console.
            let made = unsafe { sys!(libc::SYS_dup2, stream, standard) };
            if made < 0 {
                return made;
            }
        }
        // SAFETY: the paths and lists are C strings and end with a null pointer, and live until the call
        // has replaced them.
        unsafe {
            let session = sys!(libc::SYS_setsid);
            if session < 0 {
                return session;
            }
            if is_terminal {
                let controls = sys!(libc::SYS_ioctl, libc::STDIN_FILENO, libc::TIOCSCTTY, 0);
                if controls < 0 {
                    return controls;
                }
            }
            // The runtime of PID 1 ignores it.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let folder = sys!(libc::SYS_chdir, self.folder.as_ptr());
            if folder < 0 {
                return folder;
            }
            if let Err(error) = door::close() {
                return -i64::from(error.raw_os_error().unwrap_or(libc::EPERM));
            }
            sys!(libc::SYS_execve, self.file.as_ptr(), arguments.as_ptr(), environment.as_ptr())
        }
    }
}

/// The file of a command: its program, or where that is in the `PATH`.
fn file(command: &Command) -> Result<PathBuf, Errno> {
    let program = Path::new(OsStr::from_bytes(&command.program));
    if command.program.contains(&b'/') {
        return Ok(program.to_owned());
    }
    let path = command.environment.iter().find(|(name, _)| name == b"PATH");
    let folders = path.map_or(&[][..], |(_, value)| value).split(|byte| *byte == b':');
    folders
        .map(|folder| Path::new(OsStr::from_bytes(folder)).join(program))
        .find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
        .ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_wire::Peer;

    fn command(program: &str, path: &str) -> Command {
        Command {
            program: program.into(),
            arguments: Vec::new(),
            environment: vec![(b"PATH".to_vec(), path.into())],
            folder: b"/".to_vec(),
            speaks_to: Peer::Pipes,
            limit_ms: None,
        }
    }

    #[test]
    fn a_name_is_looked_for_in_the_path() {
        let found = |program, path| file(&command(program, path));
        assert_eq!(found("./sh", ""), Ok("./sh".into()));
        assert_eq!(found("sh", "/nonexistent:/bin"), Ok("/bin/sh".into()));
        assert_eq!(found("sh", "/nonexistent"), Err(Errno::NOENT));
        // A folder is no program.
        assert_eq!(found("bin", "/usr"), Err(Errno::NOENT));
    }

    #[test]
    fn nothing_with_a_nul_is_executed() {
        assert_eq!(Image::of(&command("/bin/s\0h", "")).err(), Some(Errno::INVAL));
        assert!(Image::of(&command("/bin/sh", "")).is_ok());
    }
}
