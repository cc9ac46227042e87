//! Page arithmetic: pages, blocks, checksum blocks (`docs/format/page.md`).
//!
//! Called by every part of the hybrid log; pure numbers, no memory and no device.

use oxifaster_device::{BLOCK_BYTES, BLOCK_WORDS};

use crate::address::{ADDRESS_BITS, Address};

/// Smallest page: 64 KiB.
pub const PAGE_SIZE_BITS_MIN: u32 = 16;
/// Largest page: 32 MiB.
pub const PAGE_SIZE_BITS_MAX: u32 = 25;
/// Bits of the tail word beside those of an address.
pub(crate) const TAIL_SPARE_BITS: u32 = 64 - ADDRESS_BITS;
/// Words of a record that fits into a page of every layout.
pub const RECORD_WORDS_ALWAYS: u64 = (1 << (PAGE_SIZE_BITS_MIN - 3)) - BLOCK_WORDS as u64;
/// Checksums that one checksum block holds beside its own.
pub const CHECKSUMS_PER_BLOCK: usize = BLOCK_BYTES / 4 - 1;

/// The geometry of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    page_words_bits: u32,
    first_word: u64,
}

impl PageLayout {
    /// The layout of pages of `2^page_size_bits` bytes.
    ///
    /// # Panics
    /// When the size is outside of 64 KiB to 32 MiB: configurations are validated before.
    #[must_use]
    pub fn new(page_size_bits: u32) -> Self {
        assert!(
            (PAGE_SIZE_BITS_MIN..=PAGE_SIZE_BITS_MAX).contains(&page_size_bits),
            "page size bits {page_size_bits}"
        );
        let blocks = (1_u64 << page_size_bits) / BLOCK_BYTES as u64;
        let first_word = blocks.div_ceil(CHECKSUMS_PER_BLOCK as u64 + 1) * BLOCK_WORDS as u64;
        Self { page_words_bits: page_size_bits - 3, first_word }
    }

    /// A page far too small for a device, for models of the in-memory protocol.
    #[cfg(all(test, loom))]
    pub(crate) fn tiny(page_words_bits: u32, first_word: u64) -> Self {
        Self { page_words_bits, first_word }
    }

    /// log2 of the page size in bytes.
    #[must_use]
    pub fn page_size_bits(self) -> u32 {
        self.page_words_bits + 3
    }

    /// Words of a page.
    #[inline]
    #[must_use]
    pub fn page_words(self) -> u64 {
        1 << self.page_words_bits
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_bytes(self) -> u64 {
        self.page_words() * 8
    }

    /// Blocks of a page, checksum blocks included.
    #[must_use]
    pub fn blocks(self) -> u64 {
        self.page_bytes() / BLOCK_BYTES as u64
    }

    /// Words of a block: what a flush aligns the tail to. loom's pages are smaller than a block, and so are its blocks.
    #[inline]
    pub(crate) fn block_words(self) -> u64 {
        if cfg!(loom) { 2 } else { BLOCK_WORDS as u64 }
    }

    /// Checksum blocks at the start of a page.
    #[must_use]
    pub fn checksum_blocks(self) -> u64 {
        self.first_word / BLOCK_WORDS as u64
    }

    /// The first word of a page that a record can use.
    #[inline]
    #[must_use]
    pub fn first_word(self) -> u64 {
        self.first_word
    }

    /// Size of the largest record, in words.
    #[must_use]
    pub fn record_words_max(self) -> u64 {
        self.page_words() - self.first_word
    }

    /// Page number of an address.
    #[inline]
    #[must_use]
    pub fn page_of(self, address: Address) -> u64 {
        address.words() >> self.page_words_bits
    }

    /// Words between the start of its page and an address.
    #[inline]
    #[must_use]
    pub fn offset_of(self, address: Address) -> u64 {
        address.words() & (self.page_words() - 1)
    }

    /// First address of a page (its checksum blocks).
    #[inline]
    #[must_use]
    pub fn start_of(self, page: u64) -> Address {
        Address::from_low_bits(page << self.page_words_bits)
    }

    /// The first address from `address` on that a record can use: one among the checksum blocks of a page is behind them.
    #[must_use]
    pub(crate) fn usable_from(self, address: Address) -> Address {
        address.plus(self.first_word.saturating_sub(self.offset_of(address)))
    }

    /// Largest page number plus one.
    #[must_use]
    pub fn pages_max(self) -> u64 {
        1 << (ADDRESS_BITS - self.page_words_bits)
    }

    /// Bits that the tail word leaves for the offset: 65,536 times the page, so that failed reservations of as many
    /// threads can pile up without running into the page number. Shifted down by so much, page and offset are an address.
    #[inline]
    #[must_use]
    pub(crate) fn tail_offset_bits(self) -> u32 {
        self.page_words_bits + TAIL_SPARE_BITS
    }

    /// Number of the data block (0 = the first one behind the checksum blocks) that holds `offset_words` of a page.
    #[must_use]
    pub fn data_block_of(self, offset_words: u64) -> usize {
        let block = offset_words / BLOCK_WORDS as u64;
        usize::try_from(block.saturating_sub(self.checksum_blocks())).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_blocks_have_room_for_all_data_blocks() {
        for bits in PAGE_SIZE_BITS_MIN..=PAGE_SIZE_BITS_MAX {
            let layout = PageLayout::new(bits);
            let data_blocks = layout.blocks() - layout.checksum_blocks();
            assert!(layout.checksum_blocks() * CHECKSUMS_PER_BLOCK as u64 >= data_blocks, "bits {bits}");
            let expected = match bits {
                ..=22 => 1,
                23 => 2,
                24 => 4,
                _ => 8,
            };
            assert_eq!(layout.checksum_blocks(), expected, "bits {bits}");
            assert!(layout.record_words_max() >= RECORD_WORDS_ALWAYS, "bits {bits}");
        }
    }

    #[test]
    fn addresses_split_into_page_and_offset() {
        let layout = PageLayout::new(16);
        let address = Address::new(3 * 8192 + 700);
        assert_eq!(layout.page_of(address), 3);
        assert_eq!(layout.offset_of(address), 700);
        assert_eq!(layout.start_of(3).plus(700), address);
        assert_eq!(layout.data_block_of(700), 0);
        assert_eq!(layout.data_block_of(1024), 1);
        assert_eq!(layout.record_words_max(), 8192 - 512);
    }
}
