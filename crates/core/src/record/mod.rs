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
//!    sequence means that no writer was inside. The two fences pair through the value words.
//! 3. Tombstone, sealed and invalid are never cleared on a published record.
//! 4. A writer that supersedes a record because the new value does not fit keeps the latch over the publication of the
//!    new record and seals the old one only after it succeeded (`docs/design/0001-latch-then-seal.md`).
//! 5. A word value changes without the latch. A sealed word record changes no more once everybody who may have seen it
//!    unsealed has left its guard.

mod info;
mod latch;
mod layout;
mod reference;

pub use info::{RecordFlags, RecordInfo};
pub use latch::{LatchError, Latched};
pub use layout::RecordLayout;
pub use reference::{RecordRef, Snapshot, WordBuffer};
