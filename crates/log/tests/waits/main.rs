//! Suffixes that are dropped, and commits that a log makes by itself: whoever waits meanwhile comes back.
#![expect(
    clippy::disallowed_methods,
    reason = "a panic here is a failed test, also in the functions that tests share; tests start threads and wait in real time"
)]

mod cuts;
mod policies;
mod strange;
