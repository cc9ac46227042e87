#![expect(unsafe_code, reason = "the bucket of a hash is found without a bounds check")]
//! The hash index as operations use it.
//!
//! Callers: `store`, `f2`. [`HashIndex::candidate`] is what nearly every operation needs: a bucket, its tags compared side by
//! side, one entry. What is not found so is looked for by a scan of the whole `chain`.
//!
//! # Soundness
//! 1. The table has `mask + 1` buckets, a power of two, for its whole life; a bucket number is masked with `mask`.
//! 2. `place_of` answers with a place below the number of entries.

use oxifaster_device::sync::atomic::Ordering;
use oxifaster_device::{DeviceError, DeviceErrorKind};

use super::buckets::{Bucket, BucketArray, OverflowBuckets};
use super::chain::{BudgetSpent, Chain, Refusal};
use super::entry::{is_final_of, tag_of};
use super::matching::{glance, place_of};
use super::slot::IndexSlot;
use super::statistics::{Entries, IndexStatistics};
use super::vacancy::Vacancy;
use crate::address::Address;
use crate::hash::{BUCKET_BITS, KeyHash};
use crate::prefetch::prefetch;

/// Why an entry was not raised.
#[derive(Debug)]
pub enum RaiseRefused {
    /// The chain is full and all buckets that may be taken are; or tags share its entries already.
    NoRoom,
    /// There is no memory for a bucket that may be taken.
    Memory(DeviceError),
}

/// A latch-free hash table of addresses; see the [module](super).
///
/// # Examples
/// ```
/// use oxifaster_core::Address;
/// use oxifaster_core::hash::HashKind;
/// use oxifaster_core::index::HashIndex;
///
/// let index = HashIndex::new(1024, 64)?;
/// let hash = HashKind::Xxh3.hash(b"key");
/// assert!(index.find(hash).is_none());
///
/// let mut slot = index.find_or_create(hash);
/// assert!(slot.address().is_null());
/// slot.compare_exchange(Address::new(512)).expect("nobody else publishes");
/// assert_eq!(index.find(hash).map(|slot| slot.address()), Some(Address::new(512)));
/// # Ok::<(), oxifaster_device::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct HashIndex {
    table: BucketArray,
    mask: u64,
    overflow: OverflowBuckets,
}

impl HashIndex {
    /// An empty index of `buckets` buckets of 64 bytes (a power of two) and at most `overflow_buckets` more of them for
    /// chains that outgrow their bucket. Memory is mapped at once and used when touched.
    ///
    /// # Errors
    /// `InvalidRequest` when `buckets` is not a power of two or needs more than 48 bits; `Io` without memory.
    pub fn new(buckets: usize, overflow_buckets: usize) -> Result<Self, DeviceError> {
        if !buckets.is_power_of_two() || buckets as u64 > 1 << BUCKET_BITS {
            let message = format!("an index of {buckets} buckets: it must be a power of two, at most 2^48");
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message));
        }
        let table = BucketArray::new(buckets)?;
        Ok(Self { table, mask: buckets as u64 - 1, overflow: OverflowBuckets::new(overflow_buckets)? })
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the mask is below a length of type usize")]
    fn bucket(&self, hash: KeyHash) -> &Bucket {
        // SAFETY: obligation 1.
        unsafe { self.table.get_unchecked(hash.bucket(self.mask) as usize) }
    }

    #[inline(always)]
    pub(super) fn chain(&self, hash: KeyHash) -> Chain<'_> {
        Chain { first: self.bucket(hash), overflow: &self.overflow }
    }

    /// Starts to bring the bucket of `hash` into the cache. A batch asks for all of its buckets before it looks at one.
    #[inline(always)]
    pub fn prefetch(&self, hash: KeyHash) {
        prefetch(self.bucket(hash));
    }

    /// Where the newest record of `hash` lies, most likely: null when its entry is not in the first bucket, or is not found for
    /// any other reason; an address that was, until just now, in the entry of another hash; an address below all records.
    /// Who finds a record of the hash at an address that this returned has found the newest one.
    #[inline(always)]
    #[must_use]
    pub fn candidate(&self, hash: KeyHash) -> Address {
        let bucket = self.bucket(hash);
        let Some(place) = place_of(bucket, hash.tag()) else { return Address::NULL };
        // SAFETY: obligation 2.
        let entry = unsafe { bucket.get_unchecked(place) };
        // Pairs with the release of compare_exchange: the record of the address may be read.
        Address::from_low_bits(entry.load(Ordering::Acquire))
    }

    /// Whether there was no entry of `hash` at one moment of the call. It may say false without one: when its chain has more than
    /// one bucket, and while an insert into the bucket is not decided.
    #[inline(always)]
    #[must_use]
    pub fn is_absent(&self, hash: KeyHash) -> bool {
        let bucket = self.bucket(hash);
        let [.., overflow] = bucket;
        // Acquire: the overflow word is looked at behind the entries, so that who was inserted before them is seen in one of
        // the two.
        glance(bucket, hash.tag()).notable == 0 && overflow.load(Ordering::Acquire) == 0
    }

    /// The slot of `hash`, if there is one.
    #[inline]
    #[must_use]
    pub fn find(&self, hash: KeyHash) -> Option<IndexSlot<'_>> {
        self.find_at_once(hash).or_else(|| if self.is_absent(hash) { None } else { self.find_in_chain(hash) })
    }

    /// The slot that is where the candidate is: of an entry in the first bucket, unless an entry of another kind with the same tag
    /// is in front of it.
    #[inline(always)]
    #[must_use]
    pub fn find_at_once(&self, hash: KeyHash) -> Option<IndexSlot<'_>> {
        let bucket = self.bucket(hash);
        let place = place_of(bucket, hash.tag())?;
        // SAFETY: obligation 2.
        let entry = unsafe { bucket.get_unchecked(place) };
        // Pairs with the release of compare_exchange: the record of the address may be read.
        let word = entry.load(Ordering::Acquire);
        is_final_of(word, tag_of(hash)).then(|| IndexSlot::entry(entry, word))
    }

    #[inline(never)]
    fn find_in_chain(&self, hash: KeyHash) -> Option<IndexSlot<'_>> {
        self.chain(hash).find(tag_of(hash))
    }

    /// The slot of `hash`; a new entry without a record if there is none. It waits for no longer than another thread takes
    /// to decide its own insert of the same tag.
    #[inline]
    #[must_use]
    pub fn find_or_create(&self, hash: KeyHash) -> IndexSlot<'_> {
        self.find_at_once(hash).unwrap_or_else(|| self.create_in_chain(hash))
    }

    /// Where the first record of `hash` can be published, if that is seen at a glance: in a chain of one bucket in which, at one
    /// moment of the call, there was no entry of `hash`.
    #[inline(always)]
    pub fn vacancy(&self, hash: KeyHash) -> Option<Vacancy<'_>> {
        Vacancy::of(self.chain(hash), tag_of(hash))
    }

    #[inline(never)]
    fn create_in_chain(&self, hash: KeyHash) -> IndexSlot<'_> {
        match self.chain(hash).find_or_create(tag_of(hash), BudgetSpent::Close) {
            Ok(slot) => slot,
            Err(refusal) => broken(&refusal),
        }
    }

    /// Removes an entry whose whole chain is dead, if it still is what `slot` says. The caller knows that its newest record is
    /// a tombstone without live records behind it, or lies below the begin address.
    #[must_use]
    pub fn remove(&self, slot: IndexSlot<'_>) -> bool {
        slot.remove()
    }

    /// Recovery: makes sure that the chain of `hash` starts at `address` or higher. Safe in parallel, in any order. Before the
    /// first [`find_or_create`](Self::find_or_create): chains that exist can't be joined, so tags never share entries
    /// here; up to `beyond` buckets [beyond the budget](Self::overflow_beyond_budget) are taken instead.
    ///
    /// # Errors
    /// [`RaiseRefused`]: nothing has changed then.
    pub fn raise(&self, hash: KeyHash, address: Address, beyond: u64) -> Result<(), RaiseRefused> {
        let mut slot = match self.find_at_once(hash) {
            Some(slot) => slot,
            None => match self.chain(hash).find_or_create(tag_of(hash), BudgetSpent::TakeMore(beyond)) {
                Ok(slot) => slot,
                Err(Refusal::Memory(error)) => return Err(RaiseRefused::Memory(error)),
                Err(Refusal::NoRoom) => return Err(RaiseRefused::NoRoom),
                Err(refusal @ Refusal::Frozen) => broken(&refusal),
            },
        };
        while slot.address() < address && slot.compare_exchange(address).is_err() {
            let still_there = slot.reload();
            debug_assert!(still_there, "nobody removes entries during recovery");
        }
        Ok(())
    }

    /// All slots: entries with or without a record. May run beside operations.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries::of(self)
    }

    /// Counts, by one pass over the whole index. May run beside operations.
    #[must_use]
    pub fn stats(&self) -> IndexStatistics {
        IndexStatistics::of(self)
    }

    /// The number of buckets of the table.
    #[must_use]
    pub fn buckets(&self) -> u64 {
        self.mask + 1
    }

    /// Memory of the table and of all overflow buckets, used or not, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.overflow.memory_bytes()
    }

    /// Overflow buckets in use, those beyond the budget included.
    #[must_use]
    pub fn overflow_buckets_used(&self) -> u64 {
        self.overflow.used()
    }

    /// Overflow buckets that recovery took beyond the budget.
    #[must_use]
    pub fn overflow_beyond_budget(&self) -> u64 {
        self.overflow.beyond_budget()
    }

    pub(super) fn overflow(&self) -> &OverflowBuckets {
        &self.overflow
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = Chain<'_>> {
        self.table.buckets().iter().map(|first| Chain { first, overflow: &self.overflow })
    }
}

#[cold]
pub(super) fn broken(refusal: &Refusal) -> ! {
    panic!("a table that does not grow refused an entry: {refusal:?}")
}
