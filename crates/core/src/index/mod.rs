//! The hash index: from the hash of a key to the newest record of its chain.
//!
//! Layer 1. Callers: `store` (operations, recovery, compaction), `f2`. It sees hashes and addresses, never a key or
//! a record: all keys whose hashes agree in bucket and tag share one entry, and their records form one chain, newest first.
//!
//! ```text
//! table      [ bucket 0 ][ bucket 1 ] ...            power of two, 64 bytes each
//! bucket     [ e0 | e1 | e2 | e3 | e4 | e5 | e6 | overflow ]
//!                                                      |
//! overflow   [ e0 | .. | e6 | overflow ] <------------- link, or closed, or 0
//! ```
//!
//! The words themselves are in `entry`; docs/format/index.md has them in a table.
//!
//! | word | who writes | how |
//! |---|---|---|
//! | free entry (0) | an insert | compare-exchange to tentative |
//! | free entry (0) at its home, in a closed chain | an insert | compare-exchange to final |
//! | tentative entry | the insert that made it, or a freeze | compare-exchange to final, to 0, or to frozen-empty |
//! | final entry | whoever publishes a record or removes the entry | compare-exchange by [`IndexSlot`] |
//! | overflow word 0 | an insert that found the chain full | compare-exchange to a link or to closed |
//! | frozen word | nobody | final state of the word |
//!
//! # Invariants
//!
//! 1. *One home.* At every moment at most one word of a chain takes new records of a tag: its final entry or, only when there
//!    is none and the chain is closed, the word at the tag's home. (`model.rs`: insert against insert, remove, link, close and
//!    claim; `tests.rs`: `duplicate_tag`.)
//! 2. *A chain only grows.* Links are never undone and overflow buckets never freed while the table lives, so a position
//!    (bucket in chain order, then slot) is a total order for the life of the chain.
//! 3. *Publishing pairs with finding.* Every compare-exchange that stores an address is a release, every load of a word an
//!    acquire: who finds an address finds the record's words.
//! 4. *Closed is for ever.* In a closed chain nobody starts a tentative insert any more; a tag without an entry has a fixed
//!    home, and only there an empty place becomes an entry again.
//!
//! # Two-phase insert
//!
//! An insert claims a free slot with a *tentative* entry, which nobody follows, passes `fence(SeqCst)`, and scans the whole
//! chain again. Of two inserts of one tag at least one sees the other, because their fences are ordered. The rule:
//!
//! - It sees a final entry of the tag, or a closed chain, or a tentative one at a *lower* position: it withdraws (stores 0) and
//!   starts over; a tentative entry seen in a first scan is waited for.
//! - It sees a tentative one at a *higher* position: it scans again until that one is decided.
//! - It sees nothing: it makes its entry final.
//!
//! Who has the record already takes the short form of `vacancy`: final and published in one compare-exchange.
//!
//! The highest tentative entry never waits, so waiting ends; the lowest one withdraws only for a final entry or a closed chain,
//! so two inserts can't chase each other away for ever. Waiting means: for a few instructions of another thread.
//!
//! # Closed chains
//!
//! When a chain is full and the overflow budget is spent, its last overflow word says *closed*. From then on a tag without an
//! entry shares the one at its *home*: place `tag mod 7` of the first bucket, whatever tag that was made for. The records of
//! both form one chain, which is right because records carry their full keys; it is slower because that chain is longer. Whoever
//! shares passes a fence *after* it has seen the chain closed and scans once more for a final (use it) or tentative (wait)
//! entry of its tag; an insert that sees the closed chain in its re-scan withdraws. Again two fences, so one of the two sees the
//! other, and invariant 1 holds. An empty home is claimed by one compare-exchange to a final entry: all tags that may come
//! there come to this one word. Recovery never closes a chain: it would have to join two chains that exist already, so
//! [`HashIndex::raise`] takes buckets beyond the budget instead, up to a limit. Why so: docs/design/0006.
//!
//! Where we depart from the papers: the fence, the deterministic withdrawal, closed chains, and words that growth can freeze.

mod buckets;
mod chain;
mod entry;
pub mod growth;
mod matching;
#[cfg(all(loom, test))]
mod model;
mod slot;
mod statistics;
mod table;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod vacancy;

pub use slot::IndexSlot;
pub use statistics::{Entries, IndexStatistics};
pub use table::{HashIndex, RaiseRefused};
pub use vacancy::Vacancy;

/// Entries in a bucket; one more word is the overflow word. Models have small buckets, to see all of their interleavings.
pub const BUCKET_ENTRIES: usize = if cfg!(loom) { 2 } else { 7 };
/// The size of a bucket, one cache line.
pub const BUCKET_BYTES: usize = (BUCKET_ENTRIES + 1) * 8;
