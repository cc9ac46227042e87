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

pub(crate) mod blocking;
mod cold_search;
pub(crate) mod reactor;

pub(crate) use blocking::Numbered;
pub(crate) use cold_search::{ColdFound, ColdSearch, SearchKey};
