//! What the processes of a command are doing, for who wonders why it does not end.

use std::fs;
use std::path::Path;

/// Lines that there are at most.
const MOST: usize = 100;

/// A line for each thread of user space but PID 1.
pub fn doing() -> String {
    let mut lines = String::new();
    let processes = numbers(Path::new("/proc")).into_iter().filter(|pid| *pid != 1);
    let threads = processes.flat_map(|pid| {
        let folder = Path::new("/proc").join(pid.to_string()).join("task");
        let of_user = fs::read("/proc/".to_owned() + &pid.to_string() + "/cmdline");
        let of_user = of_user.is_ok_and(|line| !line.is_empty());
        let threads = if of_user { numbers(&folder) } else { Vec::new() };
        threads.into_iter().map(move |thread| (pid, folder.join(thread.to_string())))
    });
    for (pid, folder) in threads.take(MOST) {
        let text = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let thread = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        lines += &line(pid, &thread, text("comm").trim(), text("wchan").trim(), &text("syscall"));
    }
    lines
}

/// The fields as of `proc(5)`; `wchan` is 0 for a thread that does not sleep.
fn line(pid: u32, thread: &str, comm: &str, wchan: &str, syscall: &str) -> String {
    let whose = if thread == pid.to_string() {
        format!("{comm}[{pid}]")
    } else {
        format!("{comm}[{pid}, thread {thread}]")
    };
    let call = syscall.split_whitespace().next().filter(|word| word.parse::<u32>().is_ok());
    match (wchan, call) {
        ("" | "0", _) => format!("{whose} runs\n"),
        (place, Some(call)) => format!("{whose} sleeps in {place}, system call {call}\n"),
        (place, None) => format!("{whose} sleeps in {place}\n"),
    }
}

/// The names in a folder that are numbers, ascending.
fn numbers(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = names.collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_where_a_thread_sleeps() {
        let asleep = line(12, "12", "prog", "fanotify_handle_event", "257 0xff 0x0");
        assert_eq!(asleep, "prog[12] sleeps in fanotify_handle_event, system call 257\n");
        assert_eq!(line(12, "13", "prog", "0", "running"), "prog[12, thread 13] runs\n");
        assert_eq!(line(12, "12", "prog", "do_exit", "-1 0x0"), "prog[12] sleeps in do_exit\n");
    }

    #[test]
    fn every_process_of_this_host_has_a_line() {
        let own = format!("[{}", std::process::id());
        assert!(doing().lines().any(|line| line.contains(&own)) || doing().lines().count() == MOST);
    }
}
