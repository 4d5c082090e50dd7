//! A line of the console.

/// A line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// As printed.
    pub whole: &'a str,
    /// The task (`T12`) or processor (`C0`) that printed it, where the kernel tells.
    pub caller: Option<&'a str>,
    /// What it says.
    pub message: &'a str,
}

impl<'a> Line<'a> {
    /// Takes apart `[    1.234567][   T12] message`, of which only the message need be there
    /// (`print_time` and `print_caller` in kernel/printk/printk.c).
    pub fn read(whole: &'a str) -> Self {
        let whole = whole.trim_end();
        let stamped = bracket(whole).filter(|(stamp, _)| stamp.parse::<f64>().is_ok());
        let rest = stamped.map_or(whole, |(_, rest)| rest);
        let told = bracket(rest).filter(|(caller, _)| is_caller(caller));
        let message = told.map_or(rest, |(_, rest)| rest);
        let message = message.strip_prefix(' ').unwrap_or(message);
        Self { whole, caller: told.map(|(caller, _)| caller), message }
    }
}

/// What stands in brackets at the beginning, and what follows.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((inside.trim(), rest))
}

fn is_caller(text: &str) -> bool {
    let number = text.strip_prefix(['T', 'C']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_precedes_the_message_is_taken_off() {
        let read = |text| (Line::read(text).caller, Line::read(text).message);
        assert_eq!(read("[    1.250000] BUG: a\r\n"), (None, "BUG: a"));
        assert_eq!(read("[    1.250000][   T12]  <TASK>"), (Some("T12"), " <TASK>"));
        assert_eq!(read("[    1.250000][    C0] a"), (Some("C0"), "a"));
        assert_eq!(read("a"), (None, "a"));
        assert_eq!(read("[<ffff>] a"), (None, "[<ffff>] a"));
        assert_eq!(read("[1.0"), (None, "[1.0"));
        assert_eq!(read(""), (None, ""));
    }
}
