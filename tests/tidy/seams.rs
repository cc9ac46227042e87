//! Atomics, locks, threads and the clock come from the device crate's `sync`, so that the production code itself is
//! what runs under loom and in simulations. Tests, benchmarks, examples and programs that only test are free.

use crate::paths::named_paths;
use crate::repository::TextFile;
use crate::source::production_only;

/// The seams themselves, and code that is never modelled.
const FREE: [&str; 3] = ["crates/device/src/sync/", "crates/sim/", "crates/peers/"];

/// What must come from a seam, and what to use.
const BANNED: [(&str, &str); 9] = [
    ("std::sync::atomic", "sync::atomic"),
    ("core::sync::atomic", "sync::atomic"),
    ("std::sync::Mutex", "sync::Mutex"),
    ("std::sync::RwLock", "sync::Mutex"),
    ("std::sync::Condvar", "sync::Condvar"),
    ("std::thread::spawn", "sync::thread::spawn"),
    ("std::thread::Builder", "sync::thread::spawn"),
    ("std::time::Instant::now", "sync::clock::now"),
    ("std::time::SystemTime::now", "sync::clock"),
];

/// Complaints about the production code of one Rust file.
pub(crate) fn check(file: &TextFile) -> Vec<String> {
    let library =
        file.path.starts_with("src/") || (file.path.starts_with("crates/") && file.path.contains("/src/"));
    if !library || FREE.iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for named in named_paths(&production_only(&file.code())) {
        for (banned, instead) in BANNED {
            let rest = named.path.strip_prefix(banned);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::")) {
                complaints.push(format!(
                    "{}:{}: `{}`: use {instead} of the device crate",
                    file.path, named.line, named.path
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&TextFile::new(path, text)).len()
    }

    #[test]
    fn what_goes_around_the_seams_is_found() {
        let path = "crates/core/src/epoch/mod.rs";
        assert_eq!(complaints(path, "use std::sync::{Arc, atomic::AtomicU64};"), 1);
        assert_eq!(complaints(path, "use std::time::Instant;\nfn f() { Instant::now(); }"), 1);
        assert_eq!(complaints(path, "fn f() { std::thread::spawn(|| ()); }"), 1);
        assert_eq!(complaints(path, "use core::sync::atomic::fence;"), 1);
        assert_eq!(complaints("src/lib.rs", "use std::sync::Mutex;"), 1);
    }

    #[test]
    fn what_may_is_left_alone() {
        let path = "crates/core/src/epoch/mod.rs";
        assert_eq!(complaints(path, "use std::sync::Arc;\nuse crate::sync::atomic::AtomicU64;"), 0);
        assert_eq!(complaints(path, "use std::time::{Duration, Instant};\nfn f(until: Instant) {}"), 0);
        assert_eq!(complaints(path, "#[cfg(test)]\nmod tests {\n use std::sync::atomic::AtomicU64;\n}"), 0);
        assert_eq!(complaints(path, "// std::sync::atomic is banned\nfn f() {}"), 0);
        assert_eq!(complaints("crates/device/src/sync/atomic.rs", "pub use std::sync::atomic::Ordering;"), 0);
        assert_eq!(complaints("crates/core/tests/x.rs", "use std::sync::atomic::AtomicU64;"), 0);
        assert_eq!(complaints("crates/core/src/x.rs", "use oxifaster_device::sync::Mutex;"), 0);
    }
}
