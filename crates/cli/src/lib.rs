//! The oxifaster program as a library: parsers, pipelines, reports. The binary is a thin `main`.
//!
//! Layer 6: nobody depends on it, but fuzzing drives [`input`].
//!
//! | part | what it is |
//! |---|---|
//! | [`arguments`], [`log_arguments`], [`commands`] | what can be asked; each command from opening to its result |
//! | [`store_access`], [`store_failure`] | the only way to a store that is kept; what its errors mean for the program |
//! | [`totals`] | what all runs of the program did to a store |
//! | [`verification`] | every block, every checksum |
//! | [`input`] | from bytes to keys and values, or to words: pure parsers, chunks, sources |
//! | [`pipeline`] | queue, permits, ordered inboxes, what the threads of a run share |
//! | [`load`] | the pipeline of `load`: ordered, exact at a malformed line or an interrupt |
//! | [`count`] | the pipeline of `count`, and the exact best in bounded memory |
//! | [`ycsb`], [`chart`] | the benchmark, and its plots |
//! | [`memory_plan`], [`reopening`] | how `--memory` is divided; how much opening a store takes again |
//! | [`report`], [`output`], [`progress_bar`] | tables, JSON, standard output, the terminal |
//! | [`failure`], [`interrupt`] | exit codes, signals |
//! | [`byte_size`], [`process_memory`] | sizes as people write them, peak memory |
#![forbid(unsafe_code)]

pub mod arguments;
pub mod byte_size;
pub mod chart;
pub mod commands;
pub mod count;
pub mod failure;
pub mod input;
pub mod interrupt;
pub mod load;
pub mod log_arguments;
pub mod memory_plan;
pub mod output;
pub mod pipeline;
pub mod process_memory;
pub mod progress_bar;
pub mod reopening;
pub mod report;
pub mod store_access;
pub mod store_failure;
pub mod totals;
pub mod verification;
pub mod ycsb;
