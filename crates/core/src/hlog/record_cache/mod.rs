//! Records of the device, kept in memory by their address, under a budget.
//!
//! Callers: searches for records on the device ask it before they read, and leave in it what they have read. A record below
//! `head` never changes and its address is never used twice, so there is nothing to invalidate: a copy can be missing, never
//! wrong. The reasons, the shape and the orderings are in `docs/design/0012-read-cache.md`.
//!
//! | file | part |
//! |---|---|
//! | `shard` | a ring of entries and the directory that finds them: the concurrent part |
//! | `slot` | the words of directory and entries |
//! | `model` | the same under loom |

#[cfg(all(loom, test))]
mod model;
mod shard;
mod slot;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::sync::Arc;

use oxifaster_device::Words;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use crate::address::Address;
use crate::error::Error;
use shard::{Eviction, Shard};
use slot::Place;

/// Most shards: writers of one shard take turns.
const SHARDS_MAX: usize = 16;
/// A cache is divided into shards as long as each keeps so many bytes; a smaller one is one shard.
const SHARD_BYTES_MIN: usize = 256 << 10;
/// Words of a line of the directory.
const LINE_WORDS: usize = 8;
/// Words of the directory for two entries of the ring: two thirds of its slots are in use.
const SLOTS_FOR_TWO: usize = 3;
/// What a record of unknown size is taken to have, in words.
const TYPICAL_RECORD_WORDS: usize = 15;

/// Least memory of a cache, in bytes.
pub const RECORD_CACHE_BYTES_MIN: u64 = 64 << 10;

/// What a [`RecordCache`] is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordCacheConfig {
    /// Memory in bytes, all of it; at least [`RECORD_CACHE_BYTES_MIN`].
    pub memory_bytes: u64,
    /// Words of each record, if all have the same: the directory is made for so many.
    pub record_words: Option<usize>,
    /// The newest part of the entries, 0 to 1, in which being read again does not count.
    pub young_fraction: f64,
    /// Whether entries that were read again are kept for another round.
    pub second_chance: bool,
    /// Whether all memory is touched at once.
    pub touched: bool,
}

/// What a cache has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCacheCounts {
    /// Records that were taken in.
    pub inserted: u64,
    /// Records that were kept for another round.
    pub kept: u64,
    /// Records that went.
    pub evicted: u64,
}

/// The cache. See the module header.
#[derive(Debug)]
pub struct RecordCache {
    shards: Box<[Shard]>,
    memory_bytes: u64,
}

impl RecordCache {
    /// An empty cache.
    ///
    /// # Errors
    /// When the operating system has no memory.
    pub fn new(config: &RecordCacheConfig) -> Result<Self, Error> {
        let bytes = config.memory_bytes.max(RECORD_CACHE_BYTES_MIN);
        let words = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
        let count = (words / (SHARD_BYTES_MIN / 8)).clamp(1, SHARDS_MAX);
        let shard_words = words / count / LINE_WORDS * LINE_WORDS;
        let memory = Arc::new(Words::zeroed(shard_words * count)?);
        if config.touched {
            // A page of any system has at least so many words.
            memory.iter().step_by(512).for_each(|word| word.store(0, Ordering::Relaxed));
        }
        let directory_words = directory_words(shard_words, config.record_words);
        let eviction =
            Eviction { young_fraction: config.young_fraction, second_chance: config.second_chance };
        let shards = (0..count).map(|number| {
            let start = number * shard_words;
            let middle = start + directory_words;
            Shard::new(Arc::clone(&memory), start..middle, middle..start + shard_words, eviction)
        });
        Ok(Self { shards: shards.collect(), memory_bytes: bytes })
    }

    /// Copies the words of the record at `address` into `record`, whose content is replaced; false, and any content, if it
    /// is not here.
    pub fn read(&self, address: Address, record: &mut Vec<AtomicU64>) -> bool {
        let place = Place::of(address);
        self.shard(place).is_some_and(|shard| shard.read(place, address, record))
    }

    /// Keeps a copy of the words of the record at `address`, which is below `head`: if nobody else writes here at the
    /// moment, and unless the record is too large.
    pub fn insert(&self, address: Address, record: &[AtomicU64]) {
        let place = Place::of(address);
        if let Some(shard) = self.shard(place) {
            shard.insert(place, address, record);
        }
    }

    fn shard(&self, place: Place) -> Option<&Shard> {
        self.shards.get(place.shard(self.shards.len()))
    }

    /// Memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> RecordCacheCounts {
        self.shards.iter().map(Shard::counts).fold(RecordCacheCounts::default(), |sum, shard| {
            RecordCacheCounts {
                inserted: sum.inserted + shard.inserted,
                kept: sum.kept + shard.kept,
                evicted: sum.evicted + shard.evicted,
            }
        })
    }
}

/// Words of the directory of a shard, in whole lines.
fn directory_words(shard_words: usize, record_words: Option<usize>) -> usize {
    let entry_words = record_words.unwrap_or(TYPICAL_RECORD_WORDS) + 1;
    let entries = shard_words * 2 / (entry_words * 2 + SLOTS_FOR_TWO);
    (entries * SLOTS_FOR_TWO / 2).next_multiple_of(LINE_WORDS).clamp(LINE_WORDS, shard_words / 2)
}
