//! `unsafe` is only in the crates `device` and `core`, and where a peer is measured that can't be opened without; a file
//! that has it opens by saying so and argues for it. Every other crate forbids it.

use crate::repository::TextFile;
use crate::source::{line_of, words};

/// Where unsafe code may be.
const MAY: [&str; 3] = ["crates/device/", "crates/core/", LMDB];
/// LMDB maps files that other processes could change, so opening one is unsafe.
const LMDB: &str = "crates/peers/src/stores/lmdb.rs";

/// Complaints about one Rust file.
pub(crate) fn check(file: &TextFile) -> Vec<String> {
    let may = MAY.iter().any(|folder| file.path.starts_with(folder));
    if !may {
        return check_forbids(file);
    }
    let code = file.code();
    let Some(first) = words(&code, "unsafe").next() else { return Vec::new() };
    let mut complaints = Vec::new();
    let dense: String = file.text.chars().filter(|character| !character.is_whitespace()).take(40).collect();
    if !dense.starts_with("#![expect(unsafe_code,") {
        complaints.push(format!(
            "{}:{}: a file with unsafe code opens with `#![expect(unsafe_code, reason = \"..\")]`",
            file.path,
            line_of(&code, first)
        ));
    }
    if !file.text.lines().any(|line| line.trim() == "//! # Soundness") {
        complaints
            .push(format!("{}: unsafe code without a `//! # Soundness` section of obligations", file.path));
    }
    complaints
}

fn check_forbids(file: &TextFile) -> Vec<String> {
    let code = file.code();
    let mut complaints: Vec<String> = words(&code, "unsafe")
        .map(|position| {
            format!("{}:{}: unsafe code lives only in device and core", file.path, line_of(&code, position))
        })
        .collect();
    // What is forbidden can't be expected by one file, what is denied can.
    let is_denied = file.path == "crates/peers/src/main.rs" && code.contains("#![deny(unsafe_code)]");
    if is_crate_root(&file.path) && !is_denied && !code.contains("#![forbid(unsafe_code)]") {
        complaints.push(format!("{}: a crate root has `#![forbid(unsafe_code)]`", file.path));
    }
    complaints
}

/// `src/lib.rs`, `src/main.rs` and the programs in `src/bin/`, of any package.
fn is_crate_root(path: &str) -> bool {
    let inside = path.rsplit_once("src/").filter(|(before, _)| before.is_empty() || before.ends_with('/'));
    inside.is_some_and(|(_, inside)| {
        matches!(inside, "lib.rs" | "main.rs")
            || inside
                .strip_prefix("bin/")
                .is_some_and(|rest| !rest.contains('/') || rest.ends_with("/main.rs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&TextFile::new(path, text)).len()
    }

    const ARGUED: &str = "#![expect(\n    unsafe_code,\n    reason = \"x\"\n)]\n//! A file.\n//!\n//! # Soundness\n//! 1. x\n\
        fn f() { unsafe { g() } }";

    #[test]
    fn unsafe_code_outside_of_its_crates_is_found() {
        assert_eq!(complaints("crates/store/src/session/mod.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(complaints("crates/store/src/session/mod.rs", "// unsafe\nfn f() { \"unsafe\"; }"), 0);
        assert_eq!(complaints("tests/x.rs", "unsafe impl Send for X {}"), 1);
    }

    #[test]
    fn unsafe_code_must_be_argued_for() {
        assert_eq!(complaints("crates/core/src/x.rs", ARGUED), 0);
        assert_eq!(complaints("crates/core/src/x.rs", "//! A file.\nfn f() { unsafe { g() } }"), 2);
        assert_eq!(complaints("crates/core/src/x.rs", &ARGUED.replace("# Soundness", "Sound")), 1);
        assert_eq!(complaints("crates/core/src/x.rs", "//! A file.\nfn f() {}"), 0);
    }

    #[test]
    fn every_other_crate_root_forbids_it() {
        assert_eq!(complaints("crates/store/src/lib.rs", "//! x"), 1);
        assert_eq!(complaints("src/lib.rs", "//! x"), 1);
        assert_eq!(complaints("xtask/src/main.rs", "// #![forbid(unsafe_code)]\n//! x"), 1);
        assert_eq!(complaints("crates/sim/src/bin/crash.rs", "//! x"), 1);
        assert_eq!(complaints("crates/store/src/lib.rs", "#![forbid(unsafe_code)]\n//! x"), 0);
        assert_eq!(complaints("crates/store/src/session/lib_names.rs", "//! x"), 0);
    }
}
