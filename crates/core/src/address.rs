//! Logical addresses: where a record lies in the log, counted in words.
//!
//! An address is 48 bits, so it fits into an index entry and a record header beside the bits they need. The byte offset
//! in the device is eight times the address. `page()` and `offset()` follow the configured page size.

use std::fmt;

/// Number of bits of an address.
pub const ADDRESS_BITS: u32 = 48;

/// A logical address: a 48-bit count of 8-byte words from the start of the log. 0 is "no record".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u64);

impl Address {
    /// No record.
    pub const NULL: Address = Address(0);
    /// The largest address.
    pub const MAX: Address = Address((1 << ADDRESS_BITS) - 1);

    /// The address of word `words`.
    ///
    /// # Panics
    /// When `words` needs more than 48 bits: the log is full for ever, which takes 2 PiB.
    #[inline]
    #[must_use]
    pub fn new(words: u64) -> Self {
        assert!(words <= Self::MAX.0, "an address has 48 bits");
        Self(words)
    }

    /// The low 48 bits of `bits`.
    #[inline]
    #[must_use]
    pub const fn from_low_bits(bits: u64) -> Self {
        Self(bits & Self::MAX.0)
    }

    /// `words` that came out of an address: below 2^48.
    #[inline(always)]
    pub(crate) const fn trusted(words: u64) -> Self {
        debug_assert!(words <= Self::MAX.0);
        Self(words)
    }

    /// The number of words before this address.
    #[inline]
    #[must_use]
    pub const fn words(self) -> u64 {
        self.0
    }

    /// The byte offset in the device.
    #[inline]
    #[must_use]
    pub const fn byte_offset(self) -> u64 {
        self.0 * 8
    }

    /// The address of a byte offset, rounded down to a word.
    #[inline]
    #[must_use]
    pub const fn from_byte_offset(offset: u64) -> Self {
        Self::from_low_bits(offset / 8)
    }

    /// Whether this is "no record".
    #[inline]
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Page number, for pages of `2^page_size_bits` bytes.
    #[inline]
    #[must_use]
    pub const fn page(self, page_size_bits: u32) -> u64 {
        self.0 >> (page_size_bits - 3)
    }

    /// Words from the start of the page, for pages of `2^page_size_bits` bytes.
    #[inline]
    #[must_use]
    pub const fn offset(self, page_size_bits: u32) -> u64 {
        self.0 & ((1 << (page_size_bits - 3)) - 1)
    }

    /// The first address of a page.
    #[inline]
    #[must_use]
    pub const fn of_page(page: u64, page_size_bits: u32) -> Self {
        Self::from_low_bits(page << (page_size_bits - 3))
    }

    /// This address plus `words`.
    ///
    /// # Panics
    /// When the sum needs more than 48 bits.
    #[inline]
    #[must_use]
    pub fn plus(self, words: u64) -> Self {
        Self::new(self.0 + words)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:#x})", self.0)
    }
}
