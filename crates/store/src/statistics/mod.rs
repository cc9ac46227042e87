//! Statistics: counted per session without sharing, summed on demand. Always on.
//!
//! A session owns one cache-line-padded block of counters and is its only writer: counting is a load and a store, never
//! an atomic read-modify-write. [`Registry`] keeps the blocks of live sessions and the sum of those that ended.

mod counters;
mod registry;

pub(crate) use counters::SessionCounters;
pub use counters::{Operations, Statistics};
pub(crate) use registry::{Padded, Registry};
