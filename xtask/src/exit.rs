//! How a command ends.

/// The exit statuses, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All held.
    Held,
    /// A rule was broken or a kernel checker spoke.
    Broken,
    /// Usage, or the host lacks something.
    Usage,
    /// No verdict: the machine would not start, the build failed.
    NoVerdict,
    /// A command in the guest ended so.
    Command(u8),
}

impl Exit {
    /// What a command of ours has ended with.
    pub fn of_status(status: std::process::ExitStatus) -> Self {
        match status.code() {
            Some(0) => Exit::Held,
            Some(2) => Exit::Usage,
            Some(3) => Exit::NoVerdict,
            _ => Exit::Broken,
        }
    }

    /// The status as a number.
    pub fn status(self) -> u8 {
        match self {
            Exit::Held => 0,
            Exit::Broken => 1,
            Exit::Usage => 2,
            Exit::NoVerdict => 3,
            Exit::Command(status) => status,
        }
    }

    /// The status that `git bisect run` takes (`git-bisect(1)`): 125 skips a commit of which nothing can
    /// be said, and from 128 on the bisection stops, since the call or the host is wrong for every one.
    pub fn bisect_status(self) -> u8 {
        match self {
            Exit::Held | Exit::Broken | Exit::Command(_) => self.status(),
            Exit::NoVerdict => 125,
            Exit::Usage => 128,
        }
    }
}

/// An error that the user mends by calling differently, or by changing the host: exit status 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A usage error as [`anyhow::Error`].
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_skips_what_says_nothing_and_stops_at_what_is_no_commit_s_fault() {
        let all = [Exit::Held, Exit::Broken, Exit::Usage, Exit::NoVerdict];
        assert_eq!(all.map(Exit::status), [0, 1, 2, 3]);
        assert_eq!(all.map(Exit::bisect_status), [0, 1, 128, 125]);
    }
}
