//! The fault device keeps its promises: each fault kind is seen and counted, a crash loses what was not synced and nothing
//! else, and a seed replays everything.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test, also in the functions that tests share"
)]

mod contract;
mod crash;
mod driver;
mod injection;
mod queueing;
