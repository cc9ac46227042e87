//! Every input that was once worth keeping goes through its fuzz target again, without a fuzzer.
//!
//! The bodies are the very files that libFuzzer runs (`fuzz/src/`); the inputs are `fuzz/corpus/TARGET/`. Targets of
//! higher layers are replayed by their own crates.

#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[path = "../fuzz/src/codecs.rs"]
mod codecs;
#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[path = "../fuzz/src/log_metadata.rs"]
mod log_metadata;
#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[path = "../fuzz/src/metadata_slot.rs"]
mod metadata_slot;
#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[path = "../fuzz/src/page_records.rs"]
mod page_records;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Runs `body` on every file of the corpus and names the file that it fails on.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("a folder that could be opened can be listed").path();
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            catch_unwind(AssertUnwindSafe(|| body(&bytes))).is_ok(),
            "{target} fails on {}",
            path.display()
        );
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn codecs() {
    replay("codecs", codecs::run);
}

#[test]
fn log_metadata() {
    replay("log_metadata", log_metadata::run);
}

#[test]
fn metadata_slot() {
    replay("metadata_slot", metadata_slot::run);
}

#[test]
fn page_records() {
    replay("page_records", page_records::run);
}
