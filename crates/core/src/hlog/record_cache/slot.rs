//! The words of a record cache: what a slot of the directory and the head of an entry say, and where an address belongs.

use crate::address::Address;

/// Positions of a ring: 32 PiB are written to it until the end. Behind that nothing is found any more.
const POSITION_BITS: u32 = 52;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;
const REFERENCED: u64 = 1 << POSITION_BITS;
const TAG_BITS: u32 = 63 - POSITION_BITS;
const ADDRESS_BITS: u32 = 48;

/// Records of an entry have fewer words.
pub(super) const RECORD_WORDS_BOUND: usize = u16::MAX as usize;

/// Where an address belongs: its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn of(address: Address) -> Self {
        // Addresses of neighbouring records differ in a few low bits: a multiplication spreads them upwards, the fold and another one
        // over all bits.
        let spread = address.words().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((spread ^ (spread >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// One of `count` shards.
    pub(super) fn shard(self, count: usize) -> usize {
        part(self.0 >> 48, 16, count)
    }

    /// One of `count` lines.
    pub(super) fn line(self, count: usize) -> usize {
        part(self.0 >> 16 & 0xFFFF_FFFF, 32, count)
    }

    fn tag(self) -> u64 {
        self.0 & ((1 << TAG_BITS) - 1)
    }
}

/// The part of `count` that `number` is of 2^`bits`.
fn part(number: u64, bits: u32, count: usize) -> usize {
    usize::try_from((u128::from(number) * count as u128) >> bits).unwrap_or(0)
}

/// A slot: zero when nothing was ever there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    pub(super) fn new(place: Place, position: u64) -> Self {
        Self(place.tag() << (POSITION_BITS + 1) | position & POSITION_MASK)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn position(self) -> u64 {
        self.0 & POSITION_MASK
    }

    /// Whether an address of that place may be meant.
    pub(super) fn is_for(self, place: Place) -> bool {
        self.0 >> (POSITION_BITS + 1) == place.tag() && self.0 != 0
    }

    pub(super) fn is_referenced(self) -> bool {
        self.0 & REFERENCED != 0
    }

    pub(super) fn referenced(self) -> Self {
        Self(self.0 | REFERENCED)
    }
}

/// The first word of an entry: whose record it is, and how many words follow. Padding belongs to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) address: Address,
    pub(super) words: usize,
}

impl Head {
    pub(super) fn from_bits(bits: u64) -> Self {
        let words = usize::try_from(bits >> ADDRESS_BITS).unwrap_or(0);
        Self { address: Address::from_low_bits(bits), words }
    }

    pub(super) fn bits(self) -> u64 {
        (self.words as u64) << ADDRESS_BITS | self.address.words()
    }
}
