//! Operations whose record is on the device: one search engine for blocking, batched, pending and asynchronous callers.
//!
//! [`ColdSearch`] walks a chain below `head` without doing I/O itself: it prepares block reads, takes their results and
//! says whether it needs another. Whoever drives it decides how to wait:
//!
//! | driver | waits |
//! |---|---|
//! | `blocking` | on a queue of the calling thread, one search at a time |
//! | `blocking`, of a batch | on a queue of the calling thread, all searches of the batch in flight together |
//! | `reactor` | a thread of the store's own, for pending and asynchronous operations |
//!
//! Reads share bounded memory. A driver with reads in flight never waits for it: it takes completions, and asks again. Only
//! one that has nothing in flight waits, in line. What calls back from a driver (a closure of `rmw_batch`, a waker) may
//! read the device itself, on the same thread, while the driver's reads hold memory: such a nested read gets memory beyond
//! the plan ([`Nesting`]), since waiting for its own thread would never end.

pub(crate) mod blocking;
mod cold_search;
mod nesting;
pub(crate) mod reactor;

pub(crate) use blocking::Numbered;
pub(crate) use cold_search::{ColdFound, ColdSearch, SearchKey};
use nesting::Nesting;
