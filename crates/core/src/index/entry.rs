//! The words of a bucket: what each bit means.
//!
//! Callers: the rest of `index`. The same layout is in docs/format/index.md.
//!
//! ```text
//! bit   63         62          48..62         0..48
//!       read cache tentative   tag (14)       address
//! overflow word:   frozen      48 link        bucket number + 1
//!                              49 catch-all   address
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free entry, or the end of a chain |
//! | tag, address 1 | final entry without a record yet |
//! | tag, address | final entry |
//! | tentative, tag, address 1 | an insert that is not decided |
//! | tentative, tag, any other address | frozen entry |
//! | tentative alone | frozen free entry, or frozen end of a chain |
//! | overflow word with bit 62 | the same word, frozen |
//!
//! A record never lies at address 0 or 1: the first block of a page holds checksums.

use crate::address::{ADDRESS_BITS, Address};
use crate::hash::{KeyHash, TAG_BITS};

pub(super) const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;
pub(super) const TAG_MASK: u64 = ((1 << TAG_BITS) - 1) << ADDRESS_BITS;
/// Nobody follows an entry with this bit; in an overflow word it means frozen.
pub(super) const TENTATIVE: u64 = 1 << 62;
/// The address lies in the read cache. No part sets it yet; every compare-exchange of a log address clears it.
pub(super) const READ_CACHE: u64 = 1 << 63;
/// The address field of an entry that has no record yet.
pub(super) const NO_RECORD: u64 = 1;

/// Overflow word: the low bits are the number of an overflow bucket, plus one.
pub(super) const LINK: u64 = 1 << 48;
/// Overflow word: the low bits are the address of the chain of all tags without an entry.
pub(super) const CATCH_ALL: u64 = 1 << 49;

/// The tag of a hash, in its place in an entry.
#[inline(always)]
pub(super) const fn tag_of(hash: KeyHash) -> u64 {
    hash.0 & TAG_MASK
}

/// The word of an undecided insert.
#[inline(always)]
pub(super) const fn tentative(tag: u64) -> u64 {
    TENTATIVE | tag | NO_RECORD
}

/// Whether `word` is a final entry of `tag`.
#[inline(always)]
pub(super) const fn is_final_of(word: u64, tag: u64) -> bool {
    (word ^ tag) & (TAG_MASK | TENTATIVE) == 0 && word & ADDRESS_MASK != 0
}

/// Whether the entry `word` is frozen.
#[inline(always)]
pub(super) const fn is_frozen_entry(word: u64) -> bool {
    word & TENTATIVE != 0 && word & ADDRESS_MASK != NO_RECORD
}

/// Whether the overflow word `word` is frozen.
#[inline(always)]
pub(super) const fn is_frozen_overflow(word: u64) -> bool {
    word & TENTATIVE != 0
}

/// The address field for `address`.
#[inline(always)]
pub(super) const fn address_field(address: Address) -> u64 {
    debug_assert!(address.words() != NO_RECORD, "no record lies at word 1");
    if address.is_null() { NO_RECORD } else { address.words() }
}

/// The address that `word` holds; null when it has no record yet.
#[inline(always)]
pub(super) const fn address_in(word: u64) -> Address {
    let field = word & ADDRESS_MASK;
    if field == NO_RECORD { Address::NULL } else { Address::from_low_bits(field) }
}

/// What an overflow word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The chain ends here.
    End,
    /// It goes on in this overflow bucket.
    Link(u64),
    /// It ends here, and all tags without an entry share the chain of records in this word.
    CatchAll,
}

/// Reads an overflow word, frozen or not.
#[inline(always)]
pub(super) const fn overflow_in(word: u64) -> Overflow {
    if word & LINK != 0 {
        Overflow::Link((word & ADDRESS_MASK) - 1)
    } else if word & CATCH_ALL != 0 {
        Overflow::CatchAll
    } else {
        Overflow::End
    }
}

/// The overflow word that links bucket `number`.
pub(super) const fn link_to(number: u64) -> u64 {
    LINK | (number + 1)
}
