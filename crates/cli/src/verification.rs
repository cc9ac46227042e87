//! Reads every block of a log below its consistent tail and checks every checksum.
//!
//! Caller: `verify`. It needs the device and the metadata only, goes on behind damage, and changes nothing. What it checks
//! is written in `docs/format/page.md`:
//!
//! ```text
//! complete page:   checksum blocks (each with its own checksum) ──► data blocks
//! incomplete page: checksums in the metadata area               ──► data blocks below the consistent tail
//! ```
//!
//! Blocks behind the consistent tail are not part of the store and are not looked at.

use std::ops::Range;

use oxifaster_core::Address;
use oxifaster_core::error::Error;
use oxifaster_core::hlog::checksum::{BlockIdentity, block_bytes, packed_get, packed_index};
use oxifaster_core::hlog::metadata::LogMetadata;
use oxifaster_core::hlog::{CHECKSUMS_PER_BLOCK, PageLayout};
use oxifaster_device::{
    BLOCK_BYTES, BLOCK_WORDS, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, StorageDevice, Wait,
};

/// Blocks that are read at once: 1 MiB.
const RUN_BLOCKS: u64 = 256;
/// Rounds in which a short read is submitted again.
const SHORT_READS_MAX: u32 = 8;
/// Damaged blocks that are listed; more are only counted.
const LISTED_MAX: usize = 1000;

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A data block does not match its checksum.
    Data,
    /// A checksum block does not match its own checksum: the data blocks that it covers can't be checked.
    Checksums,
    /// The device ends before it.
    Missing,
    /// The device can't read it.
    Unreadable(String),
}

impl std::fmt::Display for DamageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DamageKind::Data => f.write_str("the block does not match its checksum"),
            DamageKind::Checksums => f.write_str("the checksum block does not match its own checksum"),
            DamageKind::Missing => f.write_str("the block is missing"),
            DamageKind::Unreadable(error) => write!(f, "the block can't be read: {error}"),
        }
    }
}

/// A damaged block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the block starts.
    pub address: Address,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What was looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Pages looked at.
    pub pages: u64,
    /// Blocks looked at, checksum blocks included.
    pub blocks: u64,
    /// Blocks that could not be checked because the block with their checksum is damaged.
    pub unchecked_blocks: u64,
    /// Damaged blocks.
    pub damaged_blocks: u64,
    /// The first of them.
    pub damage: Vec<Damage>,
}

/// Bytes of log that will be looked at, about.
#[must_use]
pub fn log_bytes(metadata: &LogMetadata) -> u64 {
    metadata.consistent_tail.byte_offset().saturating_sub(metadata.begin.byte_offset())
}

/// Checks a log; `on_progress` gets the bytes looked at so far.
///
/// # Errors
/// When the device gives no queue or no memory is left. Damage is no error: it is the result.
pub fn verify(
    device: &dyn StorageDevice,
    metadata: &LogMetadata,
    mut on_progress: impl FnMut(u64),
) -> Result<Verification, Error> {
    let layout = metadata.layout();
    let mut verifier = Verifier {
        queue: device.open_queue(QueueOptions::default())?,
        identity: BlockIdentity::new(metadata.store_id, metadata.incarnations.clone()),
        layout,
        found: Verification::default(),
    };
    let tail_page = layout.page_of(metadata.consistent_tail);
    for page in layout.page_of(metadata.begin)..=tail_page {
        if page < tail_page {
            verifier.complete_page(page, metadata.begin)?;
        } else {
            let checksums: Vec<_> = metadata.open_page.checksums.iter().copied().map(Some).collect();
            verifier.data_blocks(page, &checksums, metadata.begin)?;
        }
        verifier.found.pages += 1;
        on_progress(verifier.found.blocks * BLOCK_BYTES as u64);
    }
    Ok(verifier.found)
}

struct Verifier {
    queue: Box<dyn IoQueue>,
    identity: BlockIdentity,
    layout: PageLayout,
    found: Verification,
}

/// A block as it was read.
enum ReadBlock<'buffer> {
    Words(&'buffer [oxifaster_device::sync::atomic::AtomicU64]),
    Lost(DamageKind),
}

/// Gets a block with its number and its offset.
type OnBlock<'a> = &'a mut dyn FnMut(&mut Verifier, u64, u64, ReadBlock<'_>);

impl Verifier {
    fn damaged(&mut self, offset: u64, kind: DamageKind) {
        self.found.damaged_blocks += 1;
        if self.found.damage.len() < LISTED_MAX {
            self.found.damage.push(Damage { address: Address::from_byte_offset(offset), kind });
        }
    }

    /// A page whose checksums are in its own first blocks.
    fn complete_page(&mut self, page: u64, begin: Address) -> Result<(), Error> {
        let start = self.layout.start_of(page).byte_offset();
        let header_blocks = self.layout.checksum_blocks();
        let data_blocks = self.layout.blocks() - header_blocks;
        let last_block = start + self.layout.page_bytes() - BLOCK_BYTES as u64;
        let mut checksums = Vec::new();
        self.each_block(start, 0..header_blocks, &mut |verifier, _, offset, block| {
            let kind = match block {
                ReadBlock::Lost(kind) => kind,
                ReadBlock::Words(words) => {
                    let bytes = block_bytes(words);
                    let covered = bytes.get(..CHECKSUMS_PER_BLOCK * 4).unwrap_or_default();
                    let own = packed_get(words, CHECKSUMS_PER_BLOCK);
                    if verifier.identity.checksum(offset, last_block, covered) == own {
                        let sums = (0..CHECKSUMS_PER_BLOCK)
                            .map(|index| Some(packed_get(words, packed_index(index))));
                        checksums.extend(sums);
                        return;
                    }
                    DamageKind::Checksums
                }
            };
            checksums.extend([None; CHECKSUMS_PER_BLOCK]);
            verifier.damaged(offset, kind);
        })?;
        checksums.truncate(usize::try_from(data_blocks).unwrap_or(usize::MAX));
        self.data_blocks(page, &checksums, begin)
    }

    /// The data blocks of a page that have a place in `checksums` and do not lie below `begin`.
    fn data_blocks(&mut self, page: u64, checksums: &[Option<u32>], begin: Address) -> Result<(), Error> {
        let first_byte = self.layout.start_of(page).byte_offset() + self.layout.first_word() * 8;
        let below_begin = begin.byte_offset().saturating_sub(first_byte) / BLOCK_BYTES as u64;
        self.each_block(
            first_byte,
            below_begin..checksums.len() as u64,
            &mut |verifier, number, offset, block| {
                let expected =
                    usize::try_from(number).ok().and_then(|number| checksums.get(number).copied().flatten());
                match (block, expected) {
                    (ReadBlock::Lost(kind), _) => verifier.damaged(offset, kind),
                    (ReadBlock::Words(_), None) => verifier.found.unchecked_blocks += 1,
                    (ReadBlock::Words(words), Some(expected)) => {
                        if verifier.identity.data_checksum(offset, words) != expected {
                            verifier.damaged(offset, DamageKind::Data);
                        }
                    }
                }
            },
        )
    }

    /// Reads the blocks `range`, counted from byte `base`, and hands each one out with its number and its offset.
    fn each_block(&mut self, base: u64, range: Range<u64>, on_block: OnBlock<'_>) -> Result<(), Error> {
        let mut number = range.start;
        while number < range.end {
            let blocks = RUN_BLOCKS.min(range.end - number);
            let buffer = IoBuffer::zeroed(usize::try_from(blocks).unwrap_or(1))?;
            let offset = base + number * BLOCK_BYTES as u64;
            let read = self.read(offset, &buffer)?;
            if let (Err(_), true) = (&read, blocks > 1) {
                // One bad block must not hide the others: each is read by itself.
                for single in number..number + blocks {
                    self.each_block(base, single..single + 1, on_block)?;
                }
                number += blocks;
                continue;
            }
            for (index, words) in buffer.words().chunks_exact(BLOCK_WORDS).enumerate() {
                let block = match &read {
                    Ok(bytes) if (index + 1) * BLOCK_BYTES <= *bytes => ReadBlock::Words(words),
                    Ok(_) => ReadBlock::Lost(DamageKind::Missing),
                    Err(error) => ReadBlock::Lost(DamageKind::Unreadable(error.clone())),
                };
                let place = index as u64;
                self.found.blocks += 1;
                on_block(self, number + place, offset + place * BLOCK_BYTES as u64, block);
            }
            number += blocks;
        }
        Ok(())
    }

    /// Reads one run; the inner result is the device's: how many bytes came, or what failed.
    fn read(&mut self, offset: u64, buffer: &IoBuffer) -> Result<Result<usize, String>, Error> {
        let mut completions = Vec::new();
        let mut most = 0;
        for _ in 0..=SHORT_READS_MAX {
            self.queue.submit(IoRequest { tag: 0, offset, operation: IoOperation::Read(buffer.clone()) })?;
            while completions.is_empty() {
                self.queue.reap(Wait::ForOne, &mut completions)?;
            }
            for completion in completions.drain(..) {
                match completion.result {
                    Ok(bytes) => most = bytes.max(most),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
            if most == buffer.len_bytes() {
                break;
            }
        }
        Ok(Ok(most))
    }
}
