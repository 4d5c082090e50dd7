//! What long work says of itself while it runs.

/// Receives what is being done; how it is shown is the receiver's business. Implementations are called from
/// several threads.
pub trait Progress: Sync {
    /// A step starts: "unpack Linux 7.3.4". It lasts until the next one starts or the work ends.
    fn phase(&self, what: &str);
    /// Where the step is: "48 of 158 MB". Each replaces the last; a few a second at most are worth showing.
    fn at(&self, detail: &str);
    /// Something the user should read and keep: a fallback, a check that could not be made.
    fn note(&self, line: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: &str) {}
    fn at(&self, _: &str) {}
    fn note(&self, _: &str) {}
}
