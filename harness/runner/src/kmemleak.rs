//! What kmemleak says of objects that nothing refers to (`print_unreferenced` in mm/kmemleak.c).

use crate::kernel_log::Report;

/// What the functions through which memory is had are called.
const ALLOCATORS: &[&str] = &["kmemleak", "kmalloc", "kmem_cache", "slab", "kzalloc", "kvmalloc"];

/// The report on the objects of one list whose makers are in no entry of the other, if there are any:
/// one entry of each maker. It is named after the function that asked for the first one.
pub fn report(found: &str, known: &str) -> Option<Report> {
    let mut makers: Vec<Vec<&str>> = entries(known).map(frames).collect();
    let mut new = Vec::new();
    for entry in entries(found) {
        let maker = frames(entry);
        if !makers.contains(&maker) {
            makers.push(maker);
            new.push(entry);
        }
    }
    let caller = frames(new.first()?)
        .into_iter()
        .find(|name| !ALLOCATORS.iter().any(|allocator| name.contains(allocator)));
    let caller = caller.unwrap_or("an unknown function");
    let title = format!("kmemleak: unreferenced object of {caller}");
    Some(Report { title, text: new.concat(), symbolized: None })
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "unreferenced object ";
    let begins = list.match_indices(BEGIN).map(|(at, _)| at);
    let ends = begins.clone().skip(1).chain([list.len()]);
    begins.zip(ends).map(|(begin, end)| &list[begin..end])
}

/// The functions of an entry's backtrace, the innermost first. A frame is `function+0x1/0x2`, on some
/// kernels behind its address.
fn frames(entry: &str) -> Vec<&str> {
    let lines = entry.lines().map(str::trim);
    let frames = lines.skip_while(|line| !line.starts_with("backtrace")).skip(1);
    frames
        .filter_map(|line| line.rsplit(' ').next()?.split('+').next())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(caller: &str) -> String {
        format!(
            "unreferenced object 0xffff888003e5f000 (size 192):\n  comm \"init\", pid 40, jiffies 429\n  \
             hex dump (first 32 bytes):\n    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ......\n  \
             backtrace (crc 1d2):\n    kmemleak_alloc+0x20/0x30\n    [<ffffffff81000000>] \
             __kmalloc_cache_noprof+0x11d/0x350\n    {caller}+0x2f/0x1b0\n"
        )
    }

    #[test]
    fn an_object_is_named_after_who_made_it() {
        let report = report(&entry("fsnotify_alloc_group"), "").expect("a report");
        assert_eq!(report.title, "kmemleak: unreferenced object of fsnotify_alloc_group");
        assert_eq!(report.text, entry("fsnotify_alloc_group"));
    }

    #[test]
    fn what_was_there_at_boot_is_no_news() {
        let found = entry("early_init") + &entry("alloc_file");
        let report = report(&found, &entry("early_init")).expect("a report");
        assert_eq!(report.title, "kmemleak: unreferenced object of alloc_file");
        assert_eq!(report.text, entry("alloc_file"));
        assert_eq!(super::report(&found, &found), None);
        let twice = entry("alloc_file").repeat(2);
        assert_eq!(super::report(&twice, "").expect("a report").text, entry("alloc_file"));
        assert_eq!(super::report("", ""), None);
        assert_eq!(super::report("garbage\nbacktrace:\n", ""), None);
    }
}
