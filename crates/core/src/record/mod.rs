//! Records: header, layout, and what threads may do with one that is in memory (`docs/format/record.md`).
//!
//! Layer 1. Callers: the store's operations, recovery and cold searches. Everything here is safe code over a slice of
//! atomic words; whoever lends the slice (the page ring, under a guard) decides how long it means this record.
//!
//! # Who touches what, when
//!
//! | words | written by | read by |
//! |---|---|---|
//! | all | the allocating thread, before publication (Relaxed; the index compare-exchange releases them) | |
//! | header | latch, tombstone, seal: compare-exchange or fetch-or on live mutable records | everybody |
//! | extent, key | nobody after publication | everybody |
//! | guard, value (fixed, varlen) | the holder of the latch | everybody, validated by the sequence |
//! | value (word) | everybody who saw neither tombstone nor seal: store or compare-exchange | everybody |
//!
//! # Protocol
//! 1. A value of more than a word changes only under the latch, a header bit taken by compare-exchange (Acquire) that
//!    fails on sealed, tombstoned and invalid records, and released by fetch-and (Release).
//! 2. Inside, the sequence is made odd, a Release fence follows, then the value words, then the even sequence with
//!    Release. A reader loads the sequence (Acquire), the words, an Acquire fence, and the sequence again: an equal even
//!    sequence means that no writer was inside. The two fences pair through the value words (`word_copy` says why also where those are
//!    moved two at a time).
//! 3. Tombstone, sealed and invalid are never cleared on a published record. One exception: who sealed a record to copy it
//!    and gives up may take the seal back, since whoever met it has changed nothing and looks the key up again.
//! 4. A writer that supersedes a record because the new value does not fit keeps the latch over the publication of the
//!    new record and seals the old one only after it succeeded (`docs/design/0001-latch-then-seal.md`).
//! 5. A word value changes without the latch. A sealed record of any class changes no more once everybody who may have seen it
//!    unsealed has left its guard.
//! 6. While the latch is set only its holder changes the header: whoever sets a header bit without the latch does so by a
//!    compare-exchange that fails on a latched record. So the holder leaves with a plain Release store.
//!
//! # What is not promised
//! Loads and stores of values are Acquire and Release: whoever learns of an update, by whatever way, sees it. They are no
//! `SeqCst`: two sessions that each update one key and then read the other's key may both miss the other's update if
//! nothing else orders them, as with any two atomics. A full fence per update would buy that, and nobody has asked.
//!
//! Models of rules 1 to 6, with the mistakes they must notice: `model.rs`.

mod info;
mod latch;
mod layout;
#[cfg(all(loom, test))]
mod model;
mod reference;
#[cfg(all(test, not(loom)))]
mod tests;

pub use info::{RecordFlags, RecordInfo};
pub use latch::{LatchError, Latched};
pub use layout::RecordLayout;
pub use reference::{RecordRef, Snapshot, WordBuffer};
