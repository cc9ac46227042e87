//! The words of a bucket: what each bit means.
//!
//! Callers: the rest of `index`. The same layout is in docs/format/index.md.
//!
//! ```text
//! bit   63         62          48..62         0..48
//!       read cache tentative   tag (14)       address
//! overflow word:   frozen      48 link        bucket number + 1
//!                              49 closed
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
/// Reserved for copies in the chain: no part sets it, and the read cache needs no mark. Every compare-exchange of a log address clears it.
pub(super) const READ_CACHE: u64 = 1 << 63;
/// The address field of an entry that has no record yet.
pub(super) const NO_RECORD: u64 = 1;
/// A free entry or the end of a chain, frozen.
pub(super) const FROZEN_EMPTY: u64 = TENTATIVE;

/// Overflow word: the low bits are the number of an overflow bucket, plus one.
pub(super) const LINK: u64 = 1 << 48;
/// Overflow word: the chain of buckets ends here for ever; tags without an entry share those of the first bucket.
pub(super) const CLOSED: u64 = 1 << 49;

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

/// Whether `word` is a final entry of `tag`: not tentative, the same tag, an address other than 0.
#[inline(always)]
pub(super) const fn is_final_of(word: u64, tag: u64) -> bool {
    // One comparison: without the read-cache bit, what is left of the difference must be an address and not 0.
    ((word ^ tag) << 1).wrapping_sub(1) < (ADDRESS_MASK << 1)
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

/// What freezing makes of the entry `word`; `None` when it is frozen. An entry without a record, decided or not, becomes
/// empty: whoever made it notices and starts over in the larger table.
pub(super) const fn frozen_entry(word: u64) -> Option<u64> {
    if is_frozen_entry(word) {
        None
    } else if word & ADDRESS_MASK <= NO_RECORD {
        Some(FROZEN_EMPTY)
    } else {
        Some(word | TENTATIVE)
    }
}

/// What freezing makes of the overflow word `word`; `None` when it is frozen.
pub(super) const fn frozen_overflow(word: u64) -> Option<u64> {
    if is_frozen_overflow(word) { None } else { Some(word | TENTATIVE) }
}

/// Whether `word` is a final or frozen entry of `tag` with a record.
pub(super) const fn is_followed_by_readers(word: u64, tag: u64) -> bool {
    (word ^ tag) & TAG_MASK == 0 && word & ADDRESS_MASK > NO_RECORD
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
    /// It ends here for ever, and tags without an entry share those of the first bucket.
    Closed,
}

/// Reads an overflow word, frozen or not.
#[inline(always)]
pub(super) const fn overflow_in(word: u64) -> Overflow {
    if word & LINK != 0 {
        Overflow::Link((word & ADDRESS_MASK) - 1)
    } else if word & CLOSED != 0 {
        Overflow::Closed
    } else {
        Overflow::End
    }
}

/// The place in the first bucket of a closed chain whose entry a tag without one shares.
#[inline]
pub(super) const fn home_of(tag: u64) -> usize {
    ((tag >> ADDRESS_BITS) % super::BUCKET_ENTRIES as u64) as usize
}

/// The overflow word that links bucket `number`.
pub(super) const fn link_to(number: u64) -> u64 {
    LINK | (number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_entries_are_told_from_all_others() {
        for tag in [0, 1 << 48, 0x2aaa << 48, TAG_MASK] {
            for address in [NO_RECORD, 2, 512, ADDRESS_MASK] {
                assert!(is_final_of(tag | address, tag) && is_final_of(READ_CACHE | tag | address, tag));
                assert!(!is_final_of(TENTATIVE | tag | address, tag));
                assert!(
                    !is_final_of(tag ^ 1 << 48 | address, tag) && !is_final_of(tag ^ 1 << 61 | address, tag)
                );
            }
            assert!(!is_final_of(tag, tag) && !is_final_of(READ_CACHE | tag, tag), "no address");
            assert!(!is_final_of(FROZEN_EMPTY, tag) && !is_final_of(0, tag));
        }
    }

    #[test]
    fn freezing_ends_every_word() {
        for word in [0, NO_RECORD, tentative(7 << 48), 7 << 48 | NO_RECORD] {
            assert_eq!(frozen_entry(word), Some(FROZEN_EMPTY));
        }
        assert_eq!(frozen_entry(7 << 48 | 600), Some(TENTATIVE | 7 << 48 | 600));
        assert_eq!(frozen_entry(FROZEN_EMPTY), None);
        assert_eq!(frozen_entry(TENTATIVE | 7 << 48 | 600), None);
        for word in [0, link_to(0), link_to(99), CLOSED] {
            let frozen = frozen_overflow(word).unwrap();
            assert_eq!((frozen_overflow(frozen), overflow_in(frozen)), (None, overflow_in(word)));
        }
        assert_eq!(overflow_in(link_to(99)), Overflow::Link(99));
    }
}
