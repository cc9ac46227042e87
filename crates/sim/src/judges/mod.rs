//! The judges: each runs the real store under some stress and decides whether its promises were kept.
//!
//! | judge | stress | promise |
//! |---|---|---|
//! | [`linearize`] | threads that fight for few keys in little memory; with `crash`, power loss | linearizable histories; the consistent point of all keys |
//! | [`bitflips`] | one flipped bit, everywhere | detected or harmless; never a wrong value, never a panic |
//! | [`beyond_memory`] | ten times as many bytes as memory, on files | every key, exact sums, bounded memory |
//! | [`canaries`] | bugs planted in the store | every other judge notices what it must |
//! | [`model`] | one session, random operations, kills, power loss, failing requests | every answer; the exact consistent point |
//!
//! Callers: the program `judge`, with large numbers, and this crate's tests, with small ones. Everything is drawn from a seed,
//! which every report repeats.

pub mod awaited;
pub mod beyond_memory;
pub mod bitflips;
pub mod canaries;
pub mod linearize;
pub mod model;
pub mod panics;
pub mod report;
pub mod stored;
pub mod subject;

pub use report::{Progress, Report};
