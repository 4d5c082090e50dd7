//! A call as a statement of C.

use refan_abi::{RESPONSE_LEN, Response};
use refan_program::{Bind, Call, Fd, Program, Step, Task};

use super::{NoForm, names};

/// What statements are made for.
pub(super) struct Caller<'a> {
    pub program: &'a Program,
    /// What the flag under test is called.
    pub init_flag: &'a str,
    /// The number of the step, and whether its value says nothing.
    pub step: usize,
    pub any: bool,
}

impl Caller<'_> {
    fn fd(&self, fd: Fd) -> String {
        names::fd(self.program, fd)
    }

    /// The statement that makes the call of a step and writes down what it came to.
    pub(super) fn statement(&self, step: &Step) -> Result<String, NoForm> {
        let call = step.call.innermost();
        let fd = |fd: &Fd| self.fd(*fd);
        Ok(match call {
            Call::Read { fd: of, size } => {
                format!("read_from({}, {size}, {}NULL);", fd(of), self.wanted(step))
            }
            Call::ReadFault { fd: of, size, good } => {
                format!("read_fault({}, {size}, {good}, {}NULL);", fd(of), self.wanted(step))
            }
            Call::ReadMissing { fd: of, size, good } => {
                format!("read_missing({}, {size}, {good}, {}NULL);", fd(of), self.wanted(step))
            }
            Call::PageIn { task } => match self.reading_of(*task) {
                Some(reader) => format!("page_in({reader});"),
                None => "done_value(0);".to_owned(),
            },
            Call::Pread { fd: of, size } => format!("pread_from({}, {size});", fd(of)),
            Call::Mmap { fd: of, size } => format!("map_and_look({}, {size});", fd(of)),
            Call::Readlink { fd: of } => format!("read_link({});", fd(of)),
            Call::Fdinfo { fd: of } => format!("fdinfo({});", fd(of)),
            call if call.returns_fd() => {
                let bound = match step.bind {
                    Bind::Fd(var) => format!("&{}", self.fd(Fd::Var(var))),
                    _ => "NULL".to_owned(),
                };
                format!("done_fd({}, {bound});", self.expression(call)?)
            }
            call if self.any => format!("done_any({});", self.expression(call)?),
            call => format!("done_value({});", self.expression(call)?),
        })
    }

    /// Where the events go that a read binds.
    fn wanted(&self, step: &Step) -> String {
        match &step.bind {
            Bind::Events(vars) => {
                vars.iter().map(|var| format!("&{}, ", self.fd(Fd::Var(*var)))).collect()
            }
            _ => String::new(),
        }
    }

    /// The latest step in which a task has read into missing memory.
    fn reading_of(&self, task: Task) -> Option<usize> {
        let mut before = self.program.steps[..self.step].iter().enumerate().rev();
        let of = before.find(|(_, step)| step.caller() == Some(task))?;
        matches!(of.1.call.innermost(), Call::ReadMissing { .. }).then_some(of.0 + 1)
    }

    /// A call that returns what it comes to, errors as -errno.
    fn expression(&self, call: &Call) -> Result<String, NoForm> {
        let fd = |fd: &Fd| self.fd(*fd);
        Ok(match call {
            Call::FanotifyInit { flags, event_flags } => format!(
                "sys(fanotify_init({}, {}))",
                names::init(*flags, self.init_flag),
                names::open(*event_flags)
            ),
            Call::FanotifyMark { group, flags, mask, path } => format!(
                "sys(fanotify_mark({}, {}, {}, AT_FDCWD, {}))",
                fd(group),
                names::mark(*flags),
                names::mask(*mask),
                names::path(*path)
            ),
            Call::OpenQueue { control } => {
                format!("sys(ioctl({}, FAN_IOC_OPEN_QUEUE_FD, 0))", fd(control))
            }
            Call::OpenQueue32 { control } => {
                format!("ioctl32({}, FAN_IOC_OPEN_QUEUE_FD)", fd(control))
            }
            Call::Write { fd: of, event, response, size } => {
                let size = size.map_or_else(|| response_len(*response), |size| size.to_string());
                let response = names::response(*response);
                format!("respond({}, {}, {response}, {size})", fd(of), fd(event))
            }
            Call::WriteFault { fd: of, event, response, good } => {
                let size = response_len(*response);
                let response = names::response(*response);
                format!("respond_fault({}, {}, {response}, {size}, {good})", fd(of), fd(event))
            }
            Call::Pwrite { fd: of, text } => {
                format!("sys(pwrite({}, {}, {}, 0))", fd(of), names::literal(text), text.len())
            }
            Call::Truncate { path, size } => {
                format!("sys(truncate({}, {size}))", names::path(*path))
            }
            Call::Ftruncate { fd: of, size } => format!("sys(ftruncate({}, {size}))", fd(of)),
            Call::Fallocate { fd: of, size } => format!("sys(fallocate({}, 0, 0, {size}))", fd(of)),
            Call::Readdir { fd: of } => format!("read_directory({})", fd(of)),
            Call::Close { fd: of } => format!("sys(close({}))", fd(of)),
            Call::Dup { fd: of } => format!("sys(dup({}))", fd(of)),
            Call::Dup2 { fd: of, to } => format!("sys(dup2({}, {}))", fd(of), fd(to)),
            Call::PidfdGetfd { task, fd: of } => {
                format!("take_fd({}, {})", names::task(self.program, *task), fd(of))
            }
            Call::Socket => "socket_to_itself()".to_owned(),
            Call::SendFd { socket, fd: of } => format!("send_fd({}, {})", fd(socket), fd(of)),
            Call::RecvFd { socket } => format!("receive_fd({})", fd(socket)),
            Call::Select { fd: of } => format!("select_now({})", fd(of)),
            Call::Poll { fd: of } => format!("poll_now({})", fd(of)),
            Call::Epoll { fd: of } => format!("epoll_add({})", fd(of)),
            Call::Fionread { fd: of } => format!("bytes_unread({})", fd(of)),
            Call::GetFl { fd: of } => format!("status_flags({})", fd(of)),
            Call::SetFl { fd: of, flags } => {
                format!("sys(fcntl({}, F_SETFL, {}))", fd(of), names::status(*flags))
            }
            Call::GetFd { fd: of } => format!("sys(fcntl({}, F_GETFD))", fd(of)),
            Call::SetFd { fd: of, flags } => {
                format!("sys(fcntl({}, F_SETFD, {}))", fd(of), names::fd_flags(*flags))
            }
            Call::Reopen { fd: of, flags } => {
                format!("reopen({}, {})", fd(of), names::open(*flags))
            }
            Call::Open { path, flags } => {
                format!("sys(open({}, {}, 0666))", names::path(*path), names::open(*flags))
            }
            Call::Exec { path } => format!("exec({})", names::path(*path)),
            Call::Setuid { uid } => format!("sys(setuid({uid}))"),
            Call::UnshareUser => "sys(unshare(CLONE_NEWUSER))".to_owned(),
            Call::Sysctl { name, value } => format!("set_sysctl(\"{}\", {value})", name.name()),
            Call::RlimitNofile { more } => format!("limit_fds({more})"),
            Call::Kill { task } => {
                format!("send_signal({}, SIGKILL)", names::task(self.program, *task))
            }
            Call::Signal { task, restart } => format!(
                "send_signal({}, {})",
                names::task(self.program, *task),
                if *restart { "SIGUSR2" } else { "SIGUSR1" }
            ),
            Call::FailNth { .. }
            | Call::KernelLog
            | Call::Sleep { .. }
            | Call::Spawn { .. }
            | Call::Fork
            | Call::Exit
            | Call::Await { .. }
            | Call::Read { .. }
            | Call::ReadFault { .. }
            | Call::ReadMissing { .. }
            | Call::PageIn { .. }
            | Call::Pread { .. }
            | Call::Mmap { .. }
            | Call::Readlink { .. }
            | Call::Fdinfo { .. } => {
                return Err(NoForm::Call {
                    step: self.step,
                    call: call.name().unwrap_or_default().to_owned(),
                });
            }
        })
    }
}

fn response_len(response: Response) -> String {
    if response.contains(Response::INFO) {
        (RESPONSE_LEN + refan_abi::AuditRule::LEN).to_string()
    } else {
        "sizeof(struct fanotify_response)".to_owned()
    }
}
