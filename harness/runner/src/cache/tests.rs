//! The cache under the things that happen to caches: races, kills, full disks, age.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::ZERO;

fn cache(limit: u64) -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path(), limit).unwrap();
    (dir, cache)
}

fn key(name: &str) -> Key {
    Key::of([("name", name.as_bytes())])
}

fn write(dir: &Path, bytes: usize) -> Result<(), Error> {
    fs::write(dir.join("data"), vec![7; bytes]).map_err(|e| Error::io("write", dir, e))
}

fn age(entry: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(3600 * hours);
    fs::File::open(entry).unwrap().set_modified(then).unwrap();
}

fn leftovers(cache: &Cache) -> usize {
    fs::read_dir(cache.root().join(TMP)).unwrap().count()
}

#[test]
fn an_entry_is_published_once_and_found_again() {
    let (_dir, cache) = cache(1 << 30);
    assert!(cache.entry("things", &key("a")).unwrap().is_none());
    let first = cache.publish("things", &key("a"), |dir| write(dir, 10)).unwrap();
    let second = cache.publish("things", &key("a"), |dir| write(dir, 20)).unwrap();
    assert_eq!(first.path(), second.path());
    assert_eq!(fs::read(first.join("data")).unwrap().len(), 10);
    assert!(cache.entry("things", &key("a")).unwrap().is_some());
    assert!(cache.entry("other", &key("a")).unwrap().is_none());
    assert_eq!(leftovers(&cache), 0);
}

#[test]
fn a_failed_fill_leaves_nothing() {
    let (_dir, cache) = cache(1 << 30);
    let full = |dir: &Path| {
        write(dir, 10)?;
        fs::write("/dev/full", "x").map_err(|e| Error::io("write", dir, e))
    };
    let error = cache.publish("things", &key("a"), full).unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert!(cache.entry("things", &key("a")).unwrap().is_none());
    assert_eq!(leftovers(&cache), 0);
}

#[test]
fn eviction_takes_the_oldest_and_spares_what_is_in_use() {
    let (_dir, cache) = cache(250_000);
    let old = cache.publish("things", &key("old"), |dir| write(dir, 100_000)).unwrap();
    let older = cache.publish("things", &key("older"), |dir| write(dir, 100_000)).unwrap();
    age(&old, 1);
    age(&older, 2);
    drop(old);
    // `older` is held: the next oldest goes.
    let new = cache.publish("things", &key("new"), |dir| write(dir, 100_000)).unwrap();
    assert!(older.path().exists() && new.path().exists());
    assert!(cache.entry("things", &key("old")).unwrap().is_none());
    assert!(cache.size().unwrap() <= cache.limit());

    drop(new);
    let freed = cache.clean().unwrap();
    assert_eq!((freed.entries, freed.in_use), (1, 1));
    drop(older);
    assert_eq!(cache.clean().unwrap().entries, 1);
    assert_eq!(cache.size().unwrap(), 0);
}

#[test]
fn finding_an_entry_makes_it_young() {
    let (_dir, cache) = cache(250_000);
    for name in ["a", "b"] {
        let entry = cache.publish("things", &key(name), |dir| write(dir, 100_000)).unwrap();
        age(&entry, 5);
    }
    drop(cache.entry("things", &key("a")).unwrap());
    cache.publish("things", &key("c"), |dir| write(dir, 100_000)).unwrap();
    assert!(cache.entry("things", &key("a")).unwrap().is_some());
    assert!(cache.entry("things", &key("b")).unwrap().is_none());
}

#[test]
fn a_workspace_and_a_lock_have_one_holder() {
    let (_dir, cache) = cache(1 << 30);
    let held = cache.workspace("trees", &key("t"), AT_ONCE, || ()).unwrap();
    let mut told = false;
    let error = cache.workspace("trees", &key("t"), AT_ONCE, || told = true).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(cache.clean().unwrap().in_use, 1);
    drop(held);
    cache.workspace("trees", &key("t"), AT_ONCE, || ()).unwrap();

    let held = cache.lock("name", AT_ONCE, || ()).unwrap();
    let late = Duration::from_millis(1);
    let error = cache.lock("name", late, || told = true).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }) && told, "{error}");
    drop(held);
    cache.lock("name", AT_ONCE, || ()).unwrap();
}

#[test]
fn concurrent_publishers_agree() {
    let (_dir, cache) = cache(1 << 30);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..20 {
                    let key = key(&format!("{round}"));
                    let entry = cache.publish("things", &key, |dir| write(dir, 100)).unwrap();
                    assert_eq!(fs::read(entry.join("data")).unwrap().len(), 100);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                cache.sweep().unwrap();
            }
        });
    });
    assert_eq!(cache.usage().unwrap().len(), 20);
    assert_eq!(leftovers(&cache), 0);
}

/// Runs [`holder`] in a process of its own and returns it once it holds its locks.
fn start_holder(cache: &Cache) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "cache::tests::holder", "--ignored", "--nocapture"])
        .env("REFAN_CACHE_TEST_ROOT", cache.root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("holding")));
    child
}

#[test]
#[ignore = "the other process of a_killed_process_leaves_no_lock, which starts it"]
fn holder() {
    let cache = Cache::at(env::var_os("REFAN_CACHE_TEST_ROOT").unwrap(), 1 << 30).unwrap();
    let _lock = cache.lock("name", AT_ONCE, || ()).unwrap();
    let _tree = cache.workspace("trees", &key("t"), AT_ONCE, || ()).unwrap();
    let scratch = cache.scratch().unwrap();
    write(scratch.path(), 10).unwrap();
    println!("holding");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_process_leaves_no_lock() {
    let (_dir, cache) = cache(1 << 30);
    let mut child = start_holder(&cache);
    assert!(cache.lock("name", AT_ONCE, || ()).is_err());
    assert!(cache.workspace("trees", &key("t"), AT_ONCE, || ()).is_err());
    assert_eq!(cache.sweep().unwrap(), 0, "the holder lives: its folder stays");
    child.kill().unwrap();
    child.wait().unwrap();
    cache.lock("name", SOON, || ()).unwrap();
    cache.workspace("trees", &key("t"), SOON, || ()).unwrap();
    assert_eq!(cache.sweep().unwrap(), 1);
    assert_eq!(leftovers(&cache), 0);
}

#[test]
fn sizes_are_read() {
    for (text, size) in
        [("0", Some(0)), ("20G", Some(20 << 30)), (" 5k ", Some(5120)), ("1T", Some(1 << 40))]
    {
        assert_eq!(parse_size(text), size, "{text}");
    }
    for bad in ["", "G", "-1", "1.5G", "99999999999T", "5X"] {
        assert_eq!(parse_size(bad), None, "{bad}");
    }
}
