#![forbid(unsafe_code)]
//! Bodies of the fuzz targets: each takes arbitrary bytes and panics when a promise is broken.
//!
//! Callers: the libFuzzer programs in `fuzz_targets/`, and ordinary tests that replay `corpus/` (they include these files,
//! because this workspace needs a C++ compiler and theirs must not). A body therefore uses nothing but the crate it tests.

pub mod codecs;
pub mod faster_log;
pub mod input_lines;
pub mod log_metadata;
pub mod metadata_slot;
pub mod page_records;
pub mod signed_log;
