//! A sparse image of a device: blocks by number, the end of what was written, two metadata slots.
//!
//! Callers: `state` (the newest and the durable image), `crash`. Blocks are shared by reference count between images and
//! the unsynced list, so that making a write durable, a snapshot or a crash copies no data. A block in an image is never
//! changed in place while another image holds it.
//!
//! A block that is absent reads as zeros. Bytes within a word are little-endian, as everywhere.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::SECTOR_BYTES;
use super::random::Random;
use crate::device::MetadataSlot;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{BLOCK_BYTES, BLOCK_WORDS};

/// The 512 words of a block.
pub(super) type Block = Arc<[u64]>;

/// Words of a sector.
pub(super) const SECTOR_WORDS: usize = SECTOR_BYTES / 8;

/// Sectors of a block.
pub(super) const SECTORS_PER_BLOCK: usize = BLOCK_BYTES / SECTOR_BYTES;

/// The set of all sectors of a block.
pub(super) const ALL_SECTORS: u8 = 0xFF;

/// New content for some sectors of one block.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    /// Block number: byte offset / 4096.
    pub(super) block: u64,
    /// Bit `i` set: sector `i` is written.
    pub(super) sectors: u8,
    /// The whole block; only the written sectors mean something.
    pub(super) content: Block,
}

impl Patch {
    /// Copies the words of a write at byte `offset` into patches, one for each block.
    pub(super) fn copy_of(offset: u64, words: &[AtomicU64]) -> Vec<Patch> {
        let first = offset / BLOCK_BYTES as u64;
        words
            .chunks(BLOCK_WORDS)
            .zip(first..)
            .map(|(words, block)| Patch {
                block,
                sectors: ALL_SECTORS,
                // Relaxed: the submitter ordered its stores before the request, which this same thread executes.
                content: words.iter().map(|word| word.load(Ordering::Relaxed)).collect(),
            })
            .collect()
    }

    /// Whether sector `index` is written.
    pub(super) fn writes_sector(&self, index: usize) -> bool {
        self.sectors >> index & 1 == 1
    }

    /// Bytes that this patch writes.
    pub(super) fn len_bytes(&self) -> usize {
        self.sectors.count_ones() as usize * SECTOR_BYTES
    }
}

/// Keeps the first `sectors` sectors of a write that starts at the front of `patches`.
pub(super) fn keep_front(patches: &mut Vec<Patch>, sectors: usize) {
    patches.truncate(sectors.div_ceil(SECTORS_PER_BLOCK));
    let in_last = sectors % SECTORS_PER_BLOCK;
    if in_last > 0
        && let Some(last) = patches.last_mut()
    {
        last.sectors &= (1 << in_last) - 1;
    }
}

/// Keeps a random set of the sectors of a write.
pub(super) fn tear(patches: &mut Vec<Patch>, random: &mut Random) {
    let mut new = random.tear(patches.len() * SECTORS_PER_BLOCK).into_iter();
    for patch in patches.iter_mut() {
        let kept = (0..SECTORS_PER_BLOCK)
            .zip(&mut new)
            .fold(0, |kept, (index, is_new)| kept | u8::from(is_new) << index);
        patch.sectors &= kept;
    }
    patches.retain(|patch| patch.sectors != 0);
}

/// Blocks, end and metadata of one image.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    blocks: BTreeMap<u64, Block>,
    end_block: u64,
    even: Arc<Vec<u8>>,
    odd: Arc<Vec<u8>>,
}

impl Image {
    /// Writes the patch's sectors; the block's other sectors stay.
    pub(super) fn apply(&mut self, patch: &Patch) {
        self.end_block = self.end_block.max(patch.block + 1);
        if patch.sectors == ALL_SECTORS {
            self.blocks.insert(patch.block, Arc::clone(&patch.content));
            return;
        }
        let merged = Arc::make_mut(self.blocks.entry(patch.block).or_insert_with(zero_block));
        let sectors = merged.chunks_mut(SECTOR_WORDS).zip(patch.content.chunks(SECTOR_WORDS));
        for (index, (old, new)) in sectors.enumerate() {
            if patch.writes_sector(index) {
                old.copy_from_slice(new);
            }
        }
    }

    /// Forgets all blocks below block number `block`.
    pub(super) fn cut_before(&mut self, block: u64) {
        let kept = self.blocks.split_off(&block);
        self.blocks = kept;
    }

    /// Forgets all blocks from block number `block` on; the image ends there.
    pub(super) fn cut_after(&mut self, block: u64) {
        drop(self.blocks.split_off(&block));
        self.end_block = self.end_block.min(block);
    }

    /// Fills `words` from byte `offset`; what was never written is zero.
    pub(super) fn read_words(&self, offset: u64, words: &[AtomicU64]) {
        let first = offset / BLOCK_BYTES as u64;
        for (words, block) in words.chunks(BLOCK_WORDS).zip(first..) {
            match self.blocks.get(&block) {
                // Relaxed: whoever reads the buffer got the completion from this same thread.
                Some(content) => {
                    words
                        .iter()
                        .zip(content.iter())
                        .for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
                }
                None => words.iter().for_each(|word| word.store(0, Ordering::Relaxed)),
            }
        }
    }

    /// Whether block number `block` has space of its own.
    pub(super) fn holds(&self, block: u64) -> bool {
        self.blocks.contains_key(&block)
    }

    /// End of the highest block written and not cut off, in bytes.
    pub(super) fn end_bytes(&self) -> u64 {
        self.end_block * BLOCK_BYTES as u64
    }

    /// Space of all blocks, in bytes.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_BYTES as u64
    }

    /// The written byte ranges, in order, neighbours joined.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for block in self.blocks.keys() {
            let start = block * BLOCK_BYTES as u64;
            let end = start + BLOCK_BYTES as u64;
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }

    /// Copies `bytes.len()` bytes from byte `offset`; what was never written is zero.
    pub(super) fn read_bytes(&self, offset: u64, bytes: &mut [u8]) {
        for (block, start, bytes) in split_mut(offset, bytes) {
            match self.blocks.get(&block) {
                None => bytes.fill(0),
                Some(content) => {
                    let source = content.iter().flat_map(|word| word.to_le_bytes()).skip(start);
                    bytes.iter_mut().zip(source).for_each(|(to, from)| *to = from);
                }
            }
        }
    }

    /// Overwrites bytes in place, as a hex editor would. Blocks that do not exist yet are made.
    pub(super) fn overwrite(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes.to_vec();
        for (block, start, bytes) in split_mut(offset, &mut rest) {
            self.end_block = self.end_block.max(block + 1);
            let words = Arc::make_mut(self.blocks.entry(block).or_insert_with(zero_block));
            for (place, byte) in (start..).zip(bytes.iter()) {
                if let Some(word) = words.get_mut(place / 8) {
                    let shift = place % 8 * 8;
                    *word = *word & !(0xFF << shift) | u64::from(*byte) << shift;
                }
            }
        }
    }

    /// Flips one bit of a block that exists; says whether it does.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) -> bool {
        let (block, place) = split_offset(offset);
        let word = self.blocks.get_mut(&block).and_then(|words| Arc::make_mut(words).get_mut(place / 8));
        word.map(|word| *word ^= 1 << (place % 8 * 8 + usize::from(bit % 8))).is_some()
    }

    /// The bytes of a slot as far as they were ever written; behind them it is zero.
    pub(super) fn slot(&self, slot: MetadataSlot) -> &Arc<Vec<u8>> {
        match slot {
            MetadataSlot::Even => &self.even,
            MetadataSlot::Odd => &self.odd,
        }
    }

    /// The bytes of a slot, for writing.
    pub(super) fn slot_mut(&mut self, slot: MetadataSlot) -> &mut Vec<u8> {
        Arc::make_mut(match slot {
            MetadataSlot::Even => &mut self.even,
            MetadataSlot::Odd => &mut self.odd,
        })
    }

    /// Writes the front of a slot: all of it, or the sectors for which `new` is true.
    pub(super) fn write_slot(&mut self, slot: MetadataSlot, bytes: &[u8], new: Option<&[bool]>) {
        let content = self.slot_mut(slot);
        if content.len() < bytes.len() {
            content.resize(bytes.len(), 0);
        }
        for (index, (old, written)) in
            content.chunks_mut(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES)).enumerate()
        {
            if new.is_none_or(|new| new.get(index).copied().unwrap_or(false)) {
                old.iter_mut().zip(written).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

fn zero_block() -> Block {
    Arc::from(vec![0; BLOCK_WORDS])
}

/// Block number and byte in the block.
fn split_offset(offset: u64) -> (u64, usize) {
    (offset / BLOCK_BYTES as u64, usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or(0))
}

/// Cuts `bytes`, which lie at `offset`, at block boundaries: block number, first byte in the block, the bytes.
fn split_mut(offset: u64, mut bytes: &mut [u8]) -> Vec<(u64, usize, &mut [u8])> {
    let (mut block, mut start) = split_offset(offset);
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let taken = bytes.len().min(BLOCK_BYTES - start);
        let (part, rest) = bytes.split_at_mut(taken);
        parts.push((block, start, part));
        bytes = rest;
        block += 1;
        start = 0;
    }
    parts
}
