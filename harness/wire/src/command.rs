//! Commands: binaries and scripts that the host has the guest run, and their files. Strings are bytes, as the
//! kernel takes them; one with a NUL in it is refused by the guest.

use serde::{Deserialize, Serialize};

use crate::TaskEnd;

/// Where commands start in the guest: a file system of its own, empty but for what the host puts there.
pub const WORK_FOLDER: &str = "/work";

/// A file to put into the guest's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Where it is put: an absolute path whose folder is there.
    pub path: Vec<u8>,
    /// What it is.
    pub node: Node,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A folder. One that is there already stays, with its permissions changed.
    Folder {
        /// Its permissions.
        mode: u32,
    },
    /// A piece of a regular file.
    File {
        /// Its permissions.
        mode: u32,
        /// Bytes of it in what is attached to the job, behind those of the files before it.
        len: u32,
        /// Whether they go behind what the file has; else it is made anew.
        append: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: Vec<u8>,
    },
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The file that is executed; without a slash it is looked for in the `PATH` of `environment`.
    pub program: Vec<u8>,
    /// What follows it.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment, and all of it.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The folder that it starts in.
    pub folder: Vec<u8>,
    /// What it speaks to.
    pub speaks_to: Peer,
    /// How long it may run by the guest's clock, in milliseconds; at a terminal there need not be a limit.
    pub limit_ms: Option<u64>,
}

/// What a command has as its standard input, output and error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// A pipe each.
    Pipes,
    /// A terminal of this size, which controls its session. What it writes is all [`Stream::Output`].
    Terminal(Window),
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What a command is given to read when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Nothing yet.
    None,
    /// These bytes, at most [`Input::MOST`].
    Bytes(Vec<u8>),
    /// Nothing yet, but the terminal has another size now.
    Window(Window),
    /// Nothing any more; a terminal hangs up.
    End,
}

impl Input {
    /// As many bytes as an empty pipe takes for certain.
    pub const MOST: usize = 32 << 10;
}

/// Where a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Its standard output.
    Output,
    /// Its standard error.
    Error,
}

/// How a command came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandEnd {
    /// Its process has ended.
    Ended(TaskEnd),
    /// It could not be started.
    NotStarted {
        /// The error of `execve(2)`, or of what comes before it.
        errno: i32,
    },
    /// It ran to its limit and still does.
    Overdue {
        /// What its processes are doing, a line each.
        tasks: String,
    },
}
