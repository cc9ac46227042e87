//! Every input that was once worth keeping goes through the log's fuzz targets again, without a fuzzer.

#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[path = "../../../fuzz/src/faster_log.rs"]
mod faster_log;
#[expect(unreachable_pub, reason = "the file is a public module of the fuzz crate")]
#[path = "../../../fuzz/src/signed_log.rs"]
mod signed_log;

use std::path::Path;

#[test]
fn the_corpora_are_replayed() {
    replay("faster_log", faster_log::run);
    replay("signed_log", signed_log::run);
}

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("a folder that could be opened can be listed").path();
        let bytes = std::fs::read(&path).expect("a readable file");
        let ran = std::panic::catch_unwind(|| run(&bytes));
        assert!(ran.is_ok(), "it fails on {}", path.display());
        count += 1;
    }
    assert!(count >= 10, "the corpus of {target} has {count} inputs");
}

/// What a fuzzer finds first: every single byte of the log replaced, and runs of bytes.
#[test]
fn small_damage_everywhere_is_survived() {
    let mut input = vec![0];
    for place in (16384..16384 + 12_000_u16).step_by(96) {
        for close in 0..2 {
            input.clear();
            input.push(close);
            input.extend_from_slice(&(place / 8).to_le_bytes());
            input.push(5);
            input.extend_from_slice(&[0x41, 0, 0xFF, 0x10, place.to_le_bytes()[1]]);
            faster_log::run(&input);
        }
    }
}
