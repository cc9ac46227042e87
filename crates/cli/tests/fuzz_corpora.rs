//! Inputs that the fuzz target for lines of text was given once, again, without a fuzzer; see `tests/fuzz_corpora.rs` of
//! the root package, which can't know this crate.

#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[expect(clippy::indexing_slicing, reason = "a fuzz body may panic: that is how it complains")]
#[path = "../../../fuzz/src/input_lines.rs"]
mod input_lines;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn input_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/input_lines");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("a folder that could be opened can be listed").path();
        let bytes = fs::read(&path).expect("a listed file can be read");
        assert!(catch_unwind(|| input_lines::run(&bytes)).is_ok(), "input_lines fails on {}", path.display());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}
