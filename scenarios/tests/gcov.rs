//! Counting lines, on what `cargo xtask test` prepared last for the kernel target that `REFAN_TARGET`
//! names (default `fast`), which does not count.

use refan_runner::cache::Cache;
use refan_runner::suite::Scenario;
use refan_runner::{Prepared, gcov};

#[test]
fn a_kernel_that_does_not_count_says_what_to_choose() {
    let repository = scenarios::repository();
    let target = std::env::var("REFAN_TARGET").unwrap_or_else(|_| "fast".to_owned());
    let cache = Cache::open().expect("the cache");
    let prepared = Prepared::load(&cache, &repository, &target).expect("a prepared kernel");
    let file = repository.join("scenarios/queue/blocked-reader.scn");
    let scenario = Scenario::read("queue/blocked-reader".to_owned(), &file).expect("a scenario");
    let error = gcov::run(&prepared, &[scenario], 1, |_| ()).expect_err("it does not count");
    assert!(error.to_string().contains("choose the target `gcov`"), "{error:#}");
}
