//! The bare probe: what index and record layout alone allow on this machine.
//!
//! The store's own index and record lines, on huge pages, and nothing else: no epochs, no regions, no appends, no deletes, no
//! statistics, no errors, no choice of codec. One operation at a time, or in groups: buckets are prefetched, then records. What
//! the store loses against this is the price of being a store; what the probe loses against the bound of independent line
//! loads is the price of the layout.

use std::sync::atomic::{AtomicU64, Ordering};

use oxifaster::device::Words;
use oxifaster_core::Address;
use oxifaster_core::hash::{HashKind, KeyHash};
use oxifaster_core::index::HashIndex;
use oxifaster_core::prefetch::prefetch;

use crate::engines::{Engine, Handle};
use crate::memory::Work;

/// Header, key, value.
const RECORD_WORDS: usize = 3;
/// Operations whose lines are prefetched together.
const GROUP: usize = 32;

pub struct Probe {
    index: HashIndex,
    log: Words,
}

type Record = [AtomicU64; RECORD_WORDS];

impl Probe {
    /// A table like the store's for so many keys, filled with the keys from 0 on. A key whose tag another key has in its
    /// bucket is found nowhere: fewer than one in five thousand.
    pub fn new(keys: u64) -> Self {
        let buckets = (keys / 4).next_power_of_two() as usize;
        let index = HashIndex::new(buckets, buckets / 8).expect("memory");
        let log = Words::zeroed((keys as usize + 1) * RECORD_WORDS).expect("memory");
        for (key, record) in (0..keys).zip(log.chunks(RECORD_WORDS).skip(1)) {
            record[0].store(1 << 63, Ordering::Relaxed);
            record[1].store(key, Ordering::Relaxed);
            record[2].store(key, Ordering::Relaxed);
            let _ = index
                .find_or_create(hash(key))
                .compare_exchange(Address::new((key + 1) * RECORD_WORDS as u64));
        }
        Self { index, log }
    }

    /// The record that the index names, whosever it is.
    #[inline(always)]
    fn candidate(&self, hash: KeyHash) -> &Record {
        let from = self.log.get(self.index.candidate(hash).words() as usize..);
        from.and_then(|words| words.first_chunk()).expect("every address is in the log")
    }

    #[inline(always)]
    fn value(&self, key: u64) -> Option<&AtomicU64> {
        value_of(self.candidate(hash(key)), key)
    }

    /// Runs `operation` on the values of many keys.
    #[inline(always)]
    fn values<'p, T: Copy>(
        &'p self,
        items: &[T],
        key: impl Fn(T) -> u64,
        mut operation: impl FnMut(T, &'p AtomicU64),
    ) {
        let mut hashes = [KeyHash(0); GROUP];
        let mut records: [&Record; GROUP] = [self.candidate(KeyHash(0)); GROUP];
        for group in items.chunks(GROUP) {
            for (hash_of, item) in hashes.iter_mut().zip(group) {
                *hash_of = hash(key(*item));
                self.index.prefetch(*hash_of);
            }
            for ((record, hash), _) in records.iter_mut().zip(hashes).zip(group) {
                *record = self.candidate(hash);
                prefetch(*record);
            }
            for (record, item) in records.iter().zip(group) {
                if let Some(value) = value_of(record, key(*item)) {
                    operation(*item, value);
                }
            }
        }
    }
}

#[inline(always)]
fn hash(key: u64) -> KeyHash {
    HashKind::Xxh3.hash(&key.to_le_bytes())
}

#[inline(always)]
fn value_of([_, found, value]: &Record, key: u64) -> Option<&AtomicU64> {
    (found.load(Ordering::Relaxed) == key).then_some(value)
}

#[inline(always)]
fn add_one(value: &AtomicU64) {
    let seen = value.load(Ordering::Acquire);
    let _ = value.compare_exchange(seen, seen.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
}

impl Handle for &Probe {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        self.value(key).map(|value| value.load(Ordering::Acquire))
    }

    #[inline]
    fn upsert(&mut self, key: u64, new: u64) {
        if let Some(value) = self.value(key) {
            value.store(new, Ordering::Release);
        }
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        if let Some(value) = self.value(key) {
            add_one(value);
        }
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        let mut added = 0_u64;
        self.values(keys, |key| key, |_, value| added = added.wrapping_add(value.load(Ordering::Acquire)));
        *sum = sum.wrapping_add(added);
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        self.values(pairs, |(key, _)| key, |(_, new), value| value.store(new, Ordering::Release));
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        self.values(keys, |key| key, |_, value| add_one(value));
    }
}

impl Engine for Probe {
    fn name(&self) -> &'static str {
        "bare probe"
    }

    fn run(&self, work: &Work<'_>) {
        work.on(&mut &*self);
    }
}
