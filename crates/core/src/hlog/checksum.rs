//! Block checksums: CRC-32C seeded with store, incarnation and place (`docs/format/page.md`).
//!
//! Called by the flusher (to write), by read-back and recovery (to verify). The seed makes a block of another store, of
//! an abandoned time line or of another offset fail like a damaged one.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::{BLOCK_BYTES, BLOCK_WORDS};

use crate::crc32c;

/// One span of log offsets written by one incarnation of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// Rises with every time line.
    pub number: u64,
    /// First byte offset of the log that belongs to it; block-aligned.
    pub start_offset: u64,
}

/// Rows of the table of time lines at most: with them and the checksums of the largest page a metadata slot is not full. Then
/// the device is cut behind the tail instead of starting another one (`docs/format/metadata.md`).
pub const INCARNATIONS_MAX: usize = 1500;

/// Whose blocks these are: the store's identity and its time lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockIdentity {
    store_id: [u8; 16],
    incarnations: Vec<Incarnation>,
}

impl BlockIdentity {
    /// A store's identity. `incarnations` rise in number and start.
    #[must_use]
    pub fn new(store_id: [u8; 16], incarnations: Vec<Incarnation>) -> Self {
        Self { store_id, incarnations }
    }

    /// The store's id.
    #[must_use]
    pub fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// All time lines that still have blocks.
    #[must_use]
    pub fn incarnations(&self) -> &[Incarnation] {
        &self.incarnations
    }

    /// Starts a new time line at `start_offset`; one that started there and wrote nothing durable is replaced.
    pub fn start_incarnation(&mut self, start_offset: u64) {
        let number = self.incarnations.last().map_or(0, |last| last.number) + 1;
        self.incarnations.retain(|incarnation| incarnation.start_offset < start_offset);
        self.incarnations.push(Incarnation { number, start_offset });
    }

    /// Whether no further time line may be started.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.incarnations.len() >= INCARNATIONS_MAX
    }

    /// Forgets time lines that end at or below `offset`: no block of theirs is left.
    pub fn forget_before(&mut self, offset: u64) {
        let behind = self.incarnations.partition_point(|incarnation| incarnation.start_offset <= offset);
        self.incarnations.drain(..behind.saturating_sub(1));
    }

    /// The number in force at a byte offset.
    #[must_use]
    pub fn incarnation_at(&self, offset: u64) -> u64 {
        let behind = self.incarnations.partition_point(|incarnation| incarnation.start_offset <= offset);
        behind.checked_sub(1).and_then(|last| self.incarnations.get(last)).map_or(0, |found| found.number)
    }

    /// The checksum of the bytes of a block at `offset`, as written by the incarnation in force at `in_force_at`.
    #[must_use]
    pub fn checksum(&self, offset: u64, in_force_at: u64, bytes: &[u8]) -> u32 {
        crc32c::append(self.seed(offset, in_force_at), bytes)
    }

    /// The checksum's state behind whose block it is and where it lies.
    fn seed(&self, offset: u64, in_force_at: u64) -> u32 {
        let mut seed = [0_u8; 32];
        let (id, rest) = seed.split_at_mut(16);
        let (incarnation, place) = rest.split_at_mut(8);
        id.copy_from_slice(&self.store_id);
        incarnation.copy_from_slice(&self.incarnation_at(in_force_at).to_le_bytes());
        place.copy_from_slice(&offset.to_le_bytes());
        crc32c::append(0, &seed)
    }

    /// The checksum of a data block.
    #[must_use]
    pub fn data_checksum(&self, offset: u64, block: &[AtomicU64]) -> u32 {
        crc32c::append_words(self.seed(offset, offset), block)
    }
}

/// Copies a block out of word memory.
#[must_use]
pub fn block_bytes(block: &[AtomicU64]) -> [u8; BLOCK_BYTES] {
    let mut bytes = [0_u8; BLOCK_BYTES];
    for (to, from) in bytes.chunks_exact_mut(8).zip(block) {
        to.copy_from_slice(&from.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes
}

/// The `index`-th of the 32-bit numbers packed into words (a checksum block as it lies in memory).
#[must_use]
pub fn packed_get(words: &[AtomicU64], index: usize) -> u32 {
    let word = words.get(index / 2).map_or(0, |word| word.load(Ordering::Relaxed));
    let half = if index.is_multiple_of(2) { word } else { word >> 32 };
    u32::try_from(half & u64::from(u32::MAX)).unwrap_or_default()
}

/// Sets the `index`-th of the 32-bit numbers packed into words. One thread at a time.
pub fn packed_set(words: &[AtomicU64], index: usize, value: u32) {
    if let Some(word) = words.get(index / 2) {
        let old = word.load(Ordering::Relaxed);
        let new = if index.is_multiple_of(2) {
            (old & !u64::from(u32::MAX)) | u64::from(value)
        } else {
            (old & u64::from(u32::MAX)) | (u64::from(value) << 32)
        };
        word.store(new, Ordering::Relaxed);
    }
}

/// Place of data block `data_block`'s checksum among the packed numbers of a page's checksum blocks.
#[must_use]
pub fn packed_index(data_block: usize) -> usize {
    let per_block = super::page_layout::CHECKSUMS_PER_BLOCK;
    data_block / per_block * (BLOCK_WORDS * 2) + data_block % per_block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> BlockIdentity {
        BlockIdentity::new([7; 16], vec![Incarnation { number: 1, start_offset: 0 }])
    }

    #[test]
    fn store_incarnation_place_and_content_all_count() {
        let base = identity().checksum(4096, 4096, &[1; 4096]);
        assert_ne!(base, identity().checksum(8192, 4096, &[1; 4096]), "place");
        assert_ne!(base, identity().checksum(4096, 4096, &[2; 4096]), "content");
        assert_ne!(
            base,
            BlockIdentity::new([8; 16], identity().incarnations).checksum(4096, 4096, &[1; 4096]),
            "store"
        );
        let mut later = identity();
        later.start_incarnation(4096);
        assert_ne!(base, later.checksum(4096, 4096, &[1; 4096]), "incarnation");
        assert_eq!(
            identity().checksum(0, 0, &[1; 4096]),
            later.checksum(0, 0, &[1; 4096]),
            "older blocks keep theirs"
        );
    }

    #[test]
    fn a_time_line_without_blocks_is_replaced() {
        let mut identity = identity();
        identity.start_incarnation(4096);
        identity.start_incarnation(4096);
        assert_eq!(
            identity.incarnations(),
            [Incarnation { number: 1, start_offset: 0 }, Incarnation { number: 3, start_offset: 4096 }]
        );
        assert_eq!(identity.incarnation_at(4095), 1);
        assert_eq!(identity.incarnation_at(4096), 3);
    }

    #[test]
    fn what_ended_is_forgotten_and_the_rest_keeps_its_numbers() {
        let mut identity = identity();
        for start in [4096, 8192, 16_384] {
            identity.start_incarnation(start);
        }
        let before = identity.clone();
        for (offset, rows) in [(0, 4), (4095, 4), (4096, 3), (10_000, 2), (16_384, 1), (1 << 40, 1)] {
            identity.forget_before(offset);
            assert_eq!(identity.incarnations().len(), rows, "before {offset}");
            for block in [offset, 12_288, 16_384].into_iter().filter(|&block| block >= offset) {
                assert_eq!(identity.incarnation_at(block), before.incarnation_at(block), "at {block}");
            }
        }
    }

    #[test]
    fn packed_numbers_do_not_disturb_each_other() {
        let words: Vec<AtomicU64> = (0..1024).map(|_| AtomicU64::new(0)).collect();
        packed_set(&words, packed_index(0), 1);
        packed_set(&words, packed_index(1), 2);
        packed_set(&words, packed_index(1022), 3);
        packed_set(&words, packed_index(1023), 4);
        assert_eq!([0, 1, 1022, 1024].map(|index| packed_get(&words, index)), [1, 2, 3, 4]);
        assert_eq!(packed_index(1023), 1024, "the last number of a block is the block's own checksum");
    }

    #[test]
    fn checksum_of_known_block_is_frozen() {
        // Computed once by an independent implementation of CRC-32C.
        assert_eq!(identity().checksum(4096, 4096, &[0xAB; 4096]), 195_950_671);
    }
}
