//! The judges: each runs the real store under some stress and decides whether its promises were kept.
//!
//! | judge | stress | promise |
//! |---|---|---|
//! | [`linearize`] | threads that fight for few keys in little memory; with `crash`, power loss | linearizable histories; the consistent point of all keys |
//! | [`model`] | one session, random operations, kills, power loss, failing requests | every answer; the exact consistent point |
//!
//! Callers: the program `judge`, with large numbers, and this crate's tests, with small ones. Everything is drawn from a seed,
//! which every report repeats.

pub mod linearize;
pub mod model;
pub mod report;
pub mod stored;
pub mod subject;

pub use report::{Progress, Report};
