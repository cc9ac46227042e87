//! Freezing and splitting one bucket's chain: what online growth of a table is made of.
//!
//! Caller: growth of tables, which docs/format/index.md lays down (chunks, who helps, when the old table is freed). These are
//! its primitives, for one bucket of the old table and the two buckets it becomes; no table grows yet.
//!
//! ```text
//! old bucket b          freeze        frozen bucket b         split      new bucket b, new bucket b + old size
//! words change   ------------------>  no word ever changes  -------->   private until the caller publishes them
//! ```
//!
//! # Invariants
//!
//! 1. A frozen word never changes again: every compare-exchange expects a word that is not frozen.
//! 2. What was published before its word was frozen is seen by the split; what is published after can't be: it fails, and the
//!    operation looks up again. (`model.rs`: freeze against insert, publish, link and close.)
//! 3. Readers may follow final and frozen entries alike at any moment, by [`find`].
//! 4. Freezing may be done by several threads at once, splitting by one, who claimed the bucket.

use oxifaster_device::DeviceError;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering, fence};

use super::buckets::Bucket;
use super::chain::{BudgetSpent, Chain, Refusal};
use super::entry::{
    ADDRESS_MASK, CLOSED, NO_RECORD, Overflow, TAG_MASK, address_field, address_in, frozen_entry,
    frozen_overflow, home_of, is_followed_by_readers, overflow_in, tag_of,
};
use super::slot::IndexSlot;
use super::table::{HashIndex, broken};
use crate::address::{ADDRESS_BITS, Address};
use crate::hash::KeyHash;
use crate::mutation::{Mutation, planted};

/// The bucket was frozen: its entries move to a larger table. Look the hash up there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen;

/// Where the chain of records of one old entry starts in each of the two new buckets; null for "nothing there".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// In the bucket with the old number.
    pub low: Address,
    /// In the bucket with the old number plus the old number of buckets.
    pub high: Address,
}

impl Sides {
    /// Both buckets share the chain: always right, because records carry their full keys.
    #[must_use]
    pub fn shared(address: Address) -> Self {
        Self { low: address, high: address }
    }
}

/// [`HashIndex::find_or_create`] for a table whose buckets may be frozen.
///
/// # Errors
/// [`Frozen`] when the bucket is, and has no entry of the hash that was final when it was seen.
pub fn find_or_create(index: &HashIndex, hash: KeyHash) -> Result<IndexSlot<'_>, Frozen> {
    match index.chain(hash).find_or_create(tag_of(hash), BudgetSpent::Close) {
        Ok(slot) => Ok(slot),
        Err(Refusal::Frozen) => Err(Frozen),
        Err(refusal) => broken(&refusal),
    }
}

/// The newest record of the chain of `hash`, whether its bucket is frozen or not: what a reader follows.
#[must_use]
pub fn find(index: &HashIndex, hash: KeyHash) -> Option<Address> {
    let chain = index.chain(hash);
    let (found, end_word) = follow(chain, tag_of(hash));
    if found.is_some() || overflow_in(end_word) != Overflow::Closed {
        return found;
    }
    // The sight of the closed chain comes before the second look. Pairs with the fence of an insert that decides.
    fence(Ordering::SeqCst);
    let (found, _) = follow(chain, tag_of(hash));
    found.or_else(|| {
        let word = chain.first.get(home_of(tag_of(hash)))?;
        // As in `follow`.
        let word = word.load(Ordering::Acquire);
        (word & ADDRESS_MASK > NO_RECORD).then(|| address_in(word))
    })
}

/// The address in the entry of `tag`, final or frozen, and the last overflow word.
fn follow(chain: Chain<'_>, tag: u64) -> (Option<Address>, u64) {
    let mut end_word = 0;
    for (bucket, overflow_word) in chain.buckets() {
        let [entries @ .., _] = bucket;
        // Pairs with the release of IndexSlot::compare_exchange, which a freeze carries on.
        let mut words = entries.iter().map(|entry| entry.load(Ordering::Acquire));
        if let Some(word) = words.find(|&word| is_followed_by_readers(word, tag)) {
            return (Some(address_in(word)), overflow_word);
        }
        end_word = overflow_word;
    }
    (None, end_word)
}

/// Freezes every word of a bucket and of its overflow buckets. When it returns none of them changes any more.
pub fn freeze_bucket(index: &HashIndex, bucket: u64) {
    let Chain { first, overflow } = index.chain(KeyHash(bucket));
    let mut next: Option<&Bucket> = Some(first);
    while let Some(bucket) = next {
        let [entries @ .., link] = bucket;
        entries.iter().for_each(freeze_entry);
        next = match overflow_in(freeze_overflow(link)) {
            Overflow::Link(number) => Some(overflow.bucket(number)),
            Overflow::End | Overflow::Closed => None,
        };
    }
}

fn freeze_entry(entry: &AtomicU64) {
    // Acquire and release: carries what was published in the word on to those who follow it frozen.
    let _ = entry.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
        let empty = word & ADDRESS_MASK == 0;
        let left = if empty { Mutation::GrowthLeavesEmptySlots } else { Mutation::GrowthLeavesEntries };
        frozen_entry(word).filter(|_| !planted(left))
    });
}

fn freeze_overflow(link: &AtomicU64) -> u64 {
    // As above; a link that was set until now is followed, and none is set from now on.
    let frozen = link.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
        frozen_overflow(word).filter(|_| !planted(Mutation::GrowthLeavesOverflow))
    });
    match frozen {
        Ok(word) | Err(word) => word,
    }
}

/// Fills the two buckets of `new`, which has twice the buckets of `old`, from the frozen bucket `bucket` of `old`. `route` is
/// given the tag (none when other tags share the chain of records) and the newest address of each chain and says where it
/// starts in each half; an address that is not known to belong to one half goes to both.
///
/// The caller has claimed the bucket: nobody else splits it, and nobody looks at the two new buckets before the caller
/// publishes that they are complete. A chain is never closed here: memory beyond the budget is taken. One that was closed
/// stays so in both halves, and what its tags share stays at its places.
///
/// # Errors
/// `Io` without memory. The call may be repeated.
///
/// # Panics
/// When `new` has not twice the buckets of `old`.
pub fn split_bucket(
    old: &HashIndex,
    bucket: u64,
    new: &HashIndex,
    mut route: impl FnMut(Option<u64>, Address) -> Sides,
) -> Result<(), DeviceError> {
    assert!(new.buckets() == 2 * old.buckets(), "a split doubles {} buckets", old.buckets());
    let (low, high) = (new.chain(KeyHash(bucket)), new.chain(KeyHash(bucket + old.buckets())));
    let from = old.chain(KeyHash(bucket));
    let closed = from.buckets().any(|(_, overflow_word)| overflow_in(overflow_word) == Overflow::Closed);
    for (number, (words, _)) in from.buckets().enumerate() {
        let [entries @ .., _] = words;
        for (place, entry) in entries.iter().enumerate() {
            // Pairs with the release of the freeze.
            let word = entry.load(Ordering::Acquire);
            let tag = tag_of(KeyHash(word));
            debug_assert!(
                frozen_entry(word).is_none() || cfg!(loom),
                "a bucket is frozen before it is split"
            );
            if !is_followed_by_readers(word, tag) {
                continue;
            }
            if closed && number == 0 {
                let sides = route(None, address_in(word));
                put_at(low, place, tag, sides.low);
                put_at(high, place, tag, sides.high);
            } else {
                let sides = route(Some(tag >> ADDRESS_BITS), address_in(word));
                put(low, tag, sides.low)?;
                put(high, tag, sides.high)?;
            }
        }
    }
    if closed {
        close(low);
        close(high);
    }
    Ok(())
}

/// Puts an entry into a chain that nobody else looks at.
fn put(chain: Chain<'_>, tag: u64, address: Address) -> Result<(), DeviceError> {
    if address.is_null() {
        return Ok(());
    }
    let mut slot = match chain.find_or_create(tag, BudgetSpent::TakeMore(u64::MAX)) {
        Ok(slot) => slot,
        Err(Refusal::Memory(error)) => return Err(error),
        Err(refusal) => broken(&refusal),
    };
    let placed = slot.compare_exchange(address);
    debug_assert!(placed.is_ok(), "the new bucket is private");
    Ok(())
}

/// Puts a shared entry at its place of a chain that nobody else looks at.
fn put_at(chain: Chain<'_>, place: usize, tag: u64, address: Address) {
    if let Some(entry) = chain.first.get(place) {
        // Release: as every publication of an address.
        entry.store((tag & TAG_MASK) | address_field(address), Ordering::Release);
    }
}

/// Closes a chain that nobody else looks at.
fn close(chain: Chain<'_>) {
    if let Some((bucket, _)) = chain.buckets().last() {
        let [.., end] = bucket;
        // Release: as every change of an overflow word.
        end.store(CLOSED, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const OLD_BUCKETS: u64 = 4;
    const BUCKET: u64 = 2;

    fn hash(tag: u64) -> KeyHash {
        KeyHash(BUCKET | tag << ADDRESS_BITS)
    }

    fn high(hash: KeyHash) -> KeyHash {
        KeyHash(hash.0 | OLD_BUCKETS)
    }

    fn frozen_index(tags: u64, overflow_buckets: usize) -> HashIndex {
        let index = HashIndex::new(4, overflow_buckets).unwrap();
        for tag in 0..tags {
            let mut slot = index.find_or_create(hash(tag));
            slot.compare_exchange(Address::new(1000 + tag)).unwrap();
        }
        freeze_bucket(&index, BUCKET);
        index
    }

    #[test]
    fn a_frozen_bucket_is_read_and_takes_nothing() {
        let index = HashIndex::new(4, 1).unwrap();
        let mut without_record = index.find_or_create(hash(1));
        let mut with_record = index.find_or_create(hash(2));
        with_record.compare_exchange(Address::new(1002)).unwrap();
        freeze_bucket(&index, BUCKET);
        freeze_bucket(&index, BUCKET);
        assert_eq!(without_record.compare_exchange(Address::new(2000)), Err(Address::NULL));
        assert_eq!(with_record.compare_exchange(Address::new(2000)), Err(Address::NULL));
        assert!(!with_record.reload() && !index.remove(with_record));
        assert_eq!(find(&index, hash(1)), None);
        assert_eq!(find(&index, hash(2)), Some(Address::new(1002)));
        for tag in [1, 2, 3] {
            assert_eq!(find_or_create(&index, hash(tag)).err(), Some(Frozen));
        }
        assert!(find_or_create(&index, KeyHash(0)).is_ok(), "other buckets go on");
    }

    #[test]
    fn every_chain_arrives_where_it_is_routed() {
        let old = frozen_index(30, 4);
        let new = HashIndex::new(8, 1).unwrap();
        let route = |tag: Option<u64>, address: Address| match tag.map(|tag| tag % 3) {
            Some(0) => Sides { low: address, high: Address::NULL },
            Some(1) => Sides { low: Address::NULL, high: Address::new(address.words() - 500) },
            _ => Sides::shared(address),
        };
        split_bucket(&old, BUCKET, &new, route).unwrap();
        split_bucket(&old, BUCKET, &new, route).unwrap();
        for tag in 0..30 {
            let found = |hash| new.find(hash).map(|slot| slot.address().words());
            let expected = match tag % 3 {
                0 => (Some(1000 + tag), None),
                1 => (None, Some(500 + tag)),
                _ => (Some(1000 + tag), Some(1000 + tag)),
            };
            assert_eq!((found(hash(tag)), found(high(hash(tag)))), expected, "tag {tag}");
        }
        let stats = new.stats();
        assert_eq!((stats.entries, stats.closed_chains, stats.overflow_beyond_budget), (40, 0, 3));
    }

    #[test]
    fn a_closed_chain_stays_closed_in_both_halves() {
        // Tag 8 shares the entry of tag 1, tags 7 and 14 that of tag 0.
        let old = frozen_index(9, 0);
        assert_eq!(find(&old, hash(8)), Some(Address::new(1008)));
        assert_eq!(find(&old, hash(1)), Some(Address::new(1008)));
        assert_eq!(find(&old, hash(14)), Some(Address::new(1007)));
        let new = HashIndex::new(8, 0).unwrap();
        for _ in 0..2 {
            split_bucket(&old, BUCKET, &new, |_, address| Sides::shared(address)).unwrap();
            for half in [hash(8), high(hash(8)), high(hash(1)), hash(15)] {
                assert_eq!(new.find(half).unwrap().address(), Address::new(1008));
            }
            assert_eq!(new.find(high(hash(6))).unwrap().address(), Address::new(1006));
            assert_eq!(new.stats().closed_chains, 2);
        }
        let mut slot = new.find_or_create(high(hash(22)));
        slot.compare_exchange(Address::new(2000)).unwrap();
        assert_eq!(new.find(high(hash(1))).unwrap().address(), Address::new(2000));
        assert_eq!(new.find(hash(1)).unwrap().address(), Address::new(1008), "the halves went apart");
    }

    #[test]
    fn a_half_without_records_keeps_its_places() {
        let old = frozen_index(9, 0);
        let new = HashIndex::new(8, 0).unwrap();
        let route = |_, address| Sides { low: address, high: Address::NULL };
        split_bucket(&old, BUCKET, &new, route).unwrap();
        assert_eq!(new.find(hash(8)).unwrap().address(), Address::new(1008));
        assert!(new.find(high(hash(8))).unwrap().address().is_null());
    }
}
