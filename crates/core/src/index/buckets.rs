#![expect(unsafe_code, reason = "the bucket of a hash is found without a bounds check")]
//! Where buckets live: the table's region, and overflow buckets under a budget.
//!
//! Callers: `table` and `chain`. All memory is [`Words`], zeroed, so that every bucket starts free; huge pages are advised
//! there. An overflow bucket has a number: below the budget it lies in one region, above it in chunks that are added under
//! a lock and never move.
//!
//! # Soundness
//! 1. [`BucketArray::get_unchecked`] is `unsafe`: its caller promises `index < len`, and `buckets()` has `len` elements.

use std::sync::OnceLock;

use oxifaster_device::sync::Mutex;
use oxifaster_device::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use oxifaster_device::{DeviceError, Words};

use super::chain::Refusal;
use super::{BUCKET_BYTES, BUCKET_ENTRIES};

/// Words of a bucket.
const BUCKET_WORDS: usize = BUCKET_ENTRIES + 1;

/// Seven entries and the overflow word. Word memory is aligned to 4096 bytes, so a bucket is one cache line.
pub(super) type Bucket = [AtomicU64; BUCKET_WORDS];

/// A region of buckets, all free at first.
#[derive(Debug)]
pub(super) struct BucketArray {
    words: Words,
}

impl BucketArray {
    pub(super) fn new(buckets: usize) -> Result<Self, DeviceError> {
        // A length that overflows is refused by the mapping like any other that is too long.
        let words = Words::zeroed(buckets.saturating_mul(BUCKET_WORDS))?;
        #[cfg(not(loom))]
        debug_assert!(words.as_ptr_range().start.cast::<u8>().align_offset(BUCKET_BYTES) == 0);
        Ok(Self { words })
    }

    #[inline(always)]
    pub(super) fn buckets(&self) -> &[Bucket] {
        self.words.as_chunks().0
    }

    /// # Safety
    /// `index` must be less than the number of buckets.
    #[inline(always)]
    pub(super) unsafe fn get_unchecked(&self, index: usize) -> &Bucket {
        debug_assert!(index < self.buckets().len());
        // SAFETY: obligation 1.
        unsafe { self.buckets().get_unchecked(index) }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets().len() * BUCKET_BYTES
    }
}

/// Buckets of the first chunk beyond the budget; every further chunk doubles.
const FIRST_CHUNK_BUCKETS: u64 = if cfg!(loom) { 1 } else { 1024 };
/// More chunks than any memory can hold.
const CHUNKS: usize = 40;

/// The overflow buckets of one table. They are handed out and never taken back while the table lives; the only exception
/// is one that was never linked.
#[derive(Debug)]
pub(super) struct OverflowBuckets {
    budget: u64,
    region: Option<BucketArray>,
    /// Buckets handed out of the region; grows to the budget at most.
    taken: AtomicU64,
    /// Buckets that lost the race to be linked; free, and empty.
    spare: Mutex<Vec<u64>>,
    /// Length of `spare`, so that it is looked at only when there is something.
    spare_count: AtomicUsize,
    beyond: [OnceLock<BucketArray>; CHUNKS],
    /// Buckets handed out beyond the budget.
    beyond_taken: Mutex<u64>,
}

impl OverflowBuckets {
    pub(super) fn new(budget: usize) -> Result<Self, DeviceError> {
        let region = if budget == 0 { None } else { Some(BucketArray::new(budget)?) };
        Ok(Self {
            budget: budget as u64,
            region,
            taken: AtomicU64::new(0),
            spare: Mutex::new(Vec::new()),
            spare_count: AtomicUsize::new(0),
            beyond: [const { OnceLock::new() }; CHUNKS],
            beyond_taken: Mutex::new(0),
        })
    }

    /// The bucket of a number that was handed out.
    pub(super) fn bucket(&self, number: u64) -> &Bucket {
        let (array, index) = match &self.region {
            Some(region) if number < self.budget => (Some(region), number),
            _ => {
                let (chunk, index) = place_beyond(number - self.budget);
                (self.beyond.get(chunk).and_then(OnceLock::get), index)
            }
        };
        let bucket = array.and_then(|array| array.buckets().get(usize::try_from(index).ok()?));
        bucket.expect("a link leads to a bucket that was handed out")
    }

    /// Hands out an empty bucket within the budget, if there is one left.
    pub(super) fn take(&self) -> Option<u64> {
        // Relaxed: a spare that is missed costs one bucket of the region, and the list is behind its lock.
        if self.spare_count.load(Ordering::Relaxed) > 0 {
            let mut spare = self.spare.lock();
            let number = spare.pop();
            self.spare_count.store(spare.len(), Ordering::Relaxed);
            if number.is_some() {
                return number;
            }
        }
        // Relaxed: a number orders nothing; the bucket was empty from the beginning and is published by its link.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.budget).then_some(taken + 1)
            })
            .ok()
    }

    /// Hands out an empty bucket in memory beyond the budget, as one of at most `most`.
    pub(super) fn take_beyond(&self, most: u64) -> Result<u64, Refusal> {
        let mut taken = self.beyond_taken.lock();
        if *taken >= most {
            return Err(Refusal::NoRoom);
        }
        let (chunk, index) = place_beyond(*taken);
        if index == 0
            && let Some(cell) = self.beyond.get(chunk)
            && cell.get().is_none()
        {
            let buckets = usize::try_from(FIRST_CHUNK_BUCKETS << chunk).unwrap_or(usize::MAX);
            let fresh = cell.set(BucketArray::new(buckets).map_err(Refusal::Memory)?).is_ok();
            debug_assert!(fresh, "chunks are added under the lock");
        }
        *taken += 1;
        Ok(self.budget + *taken - 1)
    }

    /// Takes back a bucket that was never linked and never written.
    pub(super) fn give_back(&self, number: u64) {
        let mut spare = self.spare.lock();
        spare.push(number);
        self.spare_count.store(spare.len(), Ordering::Relaxed);
    }

    /// Buckets within the budget.
    pub(super) fn used(&self) -> u64 {
        // Relaxed: a count for people.
        self.taken.load(Ordering::Relaxed) + self.beyond_budget()
    }

    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// Buckets in use beyond the budget.
    pub(super) fn beyond_budget(&self) -> u64 {
        *self.beyond_taken.lock()
    }

    /// Address space of all regions, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let beyond = self.beyond.iter().filter_map(OnceLock::get);
        self.region.iter().chain(beyond).map(BucketArray::memory_bytes).sum()
    }
}

/// Chunk and place in it of the `number`-th bucket beyond the budget.
fn place_beyond(number: u64) -> (usize, u64) {
    let chunk = (number / FIRST_CHUNK_BUCKETS + 1).ilog2();
    (chunk as usize, number - FIRST_CHUNK_BUCKETS * ((1 << chunk) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_beyond_the_budget_are_dense() {
        let mut expected = (0, 0);
        for number in 0..FIRST_CHUNK_BUCKETS * 31 {
            assert_eq!(place_beyond(number), expected);
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK_BUCKETS << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }
}
