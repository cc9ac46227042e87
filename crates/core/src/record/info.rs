//! The record header.

use crate::address::{ADDRESS_BITS, Address};

const fn bit(number: u32) -> u64 {
    1 << number
}

/// A record's header word (`docs/format/record.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo(u64);

/// Flags that a record can be created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFlags(u64);

impl RecordFlags {
    /// An ordinary record.
    pub const NONE: RecordFlags = RecordFlags(0);
    /// The key was deleted.
    pub const TOMBSTONE: RecordFlags = RecordFlags(RecordInfo::TOMBSTONE);
}

impl RecordInfo {
    pub(crate) const TOMBSTONE: u64 = bit(ADDRESS_BITS);
    pub(crate) const INVALID: u64 = bit(49);
    pub(crate) const SEALED: u64 = bit(50);
    pub(crate) const LATCH: u64 = bit(51);
    const FILLER: u64 = bit(55);
    /// Bits 57..63, and 54 (expiry), must be zero in version 1.
    const RESERVED: u64 = (bit(63) - bit(57)) | bit(54);
    pub(crate) const ALWAYS: u64 = bit(63);

    /// A header word as it lies in the log.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The header of a new record.
    #[inline]
    #[must_use]
    pub const fn new(previous: Address, flags: RecordFlags) -> Self {
        Self(previous.words() | flags.0 | Self::ALWAYS)
    }

    /// The header of unused space of `size_words` words, header included.
    #[must_use]
    pub const fn filler(size_words: u64) -> Self {
        Self(Address::from_low_bits(size_words).words() | Self::FILLER | Self::ALWAYS)
    }

    /// The next older record of the chain; for a filler, its size in words.
    #[inline]
    #[must_use]
    pub const fn previous(self) -> Address {
        Address::from_low_bits(self.0)
    }

    /// The key was deleted.
    #[inline]
    #[must_use]
    pub const fn is_tombstone(self) -> bool {
        self.0 & Self::TOMBSTONE != 0
    }

    /// A value may change in place: nobody deleted, is replacing or has given up the record.
    #[inline]
    #[must_use]
    pub const fn is_live(self) -> bool {
        self.0 & (Self::TOMBSTONE | Self::SEALED | Self::INVALID) == 0
    }

    /// The record never became reachable.
    #[inline]
    #[must_use]
    pub const fn is_invalid(self) -> bool {
        self.0 & Self::INVALID != 0
    }

    /// The record is being, or was, replaced.
    #[inline]
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        self.0 & Self::SEALED != 0
    }

    /// A writer is inside.
    #[inline]
    #[must_use]
    pub const fn is_latched(self) -> bool {
        self.0 & Self::LATCH != 0
    }

    /// This is not a record but unused space.
    #[inline]
    #[must_use]
    pub const fn is_filler(self) -> bool {
        self.0 & Self::FILLER != 0
    }

    /// The always-one bit is set and the reserved bits are not.
    #[must_use]
    pub const fn is_well_formed(self) -> bool {
        self.0 & (Self::ALWAYS | Self::RESERVED) == Self::ALWAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_format_says() {
        let info = RecordInfo::new(Address::new(0xABCD), RecordFlags::TOMBSTONE);
        assert_eq!(info.bits(), 0x8001_0000_0000_ABCD);
        assert!(info.is_tombstone() && info.is_well_formed() && !info.is_sealed());
        assert_eq!(info.previous(), Address::new(0xABCD));
        assert_eq!(RecordInfo::filler(9).bits(), 0x8080_0000_0000_0009);
        assert_eq!(
            [RecordInfo::INVALID, RecordInfo::SEALED, RecordInfo::LATCH],
            [0x0002_0000_0000_0000, 0x0004_0000_0000_0000, 0x0008_0000_0000_0000]
        );
        for reserved in [54, 57, 58, 59, 60, 61, 62] {
            assert!(!RecordInfo::from_bits(info.bits() | 1 << reserved).is_well_formed(), "bit {reserved}");
        }
        assert!(!RecordInfo::from_bits(0).is_well_formed());
    }
}
