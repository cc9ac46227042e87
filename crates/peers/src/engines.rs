//! The engines behind one trait: a thread's handle for 8-byte keys and values.
//!
//! The maps get capacity for all keys and a fast hash (`foldhash`, what `hashbrown` has by default): with the standard library's SipHash, which
//! is their default, they would be slower. They have no batched calls: batches are loops, but papaya's
//! guard is taken once for each.

use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use oxifaster::device::NullDisk;
use oxifaster::store::{FasterKv, FasterKvConfig, Session};
use papaya::HashMap;

use crate::memory::Work;

/// A thread's handle on an engine.
pub trait Handle {
    fn read(&mut self, key: u64) -> Option<u64>;
    fn upsert(&mut self, key: u64, value: u64);
    fn rmw(&mut self, key: u64);
    /// Reads many keys at once if the engine can.
    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        for key in keys {
            *sum = sum.wrapping_add(self.read(*key).unwrap_or(0));
        }
    }
    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        for (key, value) in pairs {
            self.upsert(*key, *value);
        }
    }
    fn rmw_batch(&mut self, keys: &[u64]) {
        for key in keys {
            self.rmw(*key);
        }
    }
}

/// An engine that threads get handles of.
pub trait Engine: Sync {
    fn name(&self) -> &'static str;
    /// Runs `work` on a handle of its own.
    fn run(&self, work: &Work<'_>);
}

pub struct Oxifaster(Arc<FasterKv<u64, u64, NullDisk>>);

impl Oxifaster {
    pub fn new(keys: u64) -> Self {
        let table_size = (keys / 4).next_power_of_two();
        Self::with_table(keys, table_size, table_size / 4)
    }

    /// A store for so many keys with an index of a size of its own.
    pub fn with_table(keys: u64, table_size: u64, overflow_buckets: u64) -> Self {
        let config = FasterKvConfig {
            table_size,
            overflow_buckets: Some(overflow_buckets),
            log_memory_size: keys * 24 * 5 / 4 + (64 << 20),
            ..Default::default()
        };
        Self(Arc::new(FasterKv::new(config, NullDisk::new())))
    }

    pub fn store(&self) -> &FasterKv<u64, u64, NullDisk> {
        &self.0
    }
}

impl Handle for Session<u64, u64, NullDisk> {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        Session::read(self, &key).expect("read")
    }

    #[inline]
    fn upsert(&mut self, key: u64, value: u64) {
        Session::upsert(self, key, value).expect("upsert");
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        Session::rmw(self, key, |value| {
            *value = value.wrapping_add(1);
            true
        })
        .expect("rmw");
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        for value in Session::read_batch(self, keys).expect("read_batch") {
            *sum = sum.wrapping_add(value.unwrap_or(0));
        }
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        Session::upsert_batch(self, pairs).expect("upsert_batch");
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        Session::rmw_batch(self, keys, |_, value| {
            *value = value.wrapping_add(1);
            true
        })
        .expect("rmw_batch");
    }
}

impl Engine for Oxifaster {
    fn name(&self) -> &'static str {
        "oxifaster"
    }

    fn run(&self, work: &Work<'_>) {
        work.on(&mut self.0.start_session().expect("session"));
    }
}

pub struct Papaya(HashMap<u64, u64, RandomState>);

impl Papaya {
    pub fn new(keys: u64) -> Self {
        Self(HashMap::builder().capacity(keys as usize).hasher(RandomState::default()).build())
    }
}

/// papaya's guard is taken per call: an application that holds it longer would hold back reclamation.
struct PapayaHandle<'a>(&'a HashMap<u64, u64, RandomState>);

impl Handle for PapayaHandle<'_> {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.pin().get(&key).copied()
    }

    #[inline]
    fn upsert(&mut self, key: u64, value: u64) {
        self.0.pin().insert(key, value);
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        self.0.pin().update_or_insert(key, |value| value.wrapping_add(1), 1);
    }

    fn read_batch(&mut self, keys: &[u64], sum: &mut u64) {
        let map = self.0.pin();
        keys.iter().for_each(|key| *sum = sum.wrapping_add(map.get(key).copied().unwrap_or(0)));
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) {
        let map = self.0.pin();
        pairs.iter().for_each(|(key, value)| {
            map.insert(*key, *value);
        });
    }

    fn rmw_batch(&mut self, keys: &[u64]) {
        let map = self.0.pin();
        keys.iter().for_each(|key| {
            map.update_or_insert(*key, |value| value.wrapping_add(1), 1);
        });
    }
}

impl Engine for Papaya {
    fn name(&self) -> &'static str {
        "papaya"
    }

    fn run(&self, work: &Work<'_>) {
        work.on(&mut PapayaHandle(&self.0));
    }
}

pub struct Dashmap(DashMap<u64, u64, RandomState>);

impl Dashmap {
    pub fn new(keys: u64) -> Self {
        Self(DashMap::with_capacity_and_hasher(keys as usize, RandomState::default()))
    }
}

struct DashmapHandle<'a>(&'a DashMap<u64, u64, RandomState>);

impl Handle for DashmapHandle<'_> {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.get(&key).map(|value| *value)
    }

    #[inline]
    fn upsert(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        *self.0.entry(key).or_insert(0) += 1;
    }
}

impl Engine for Dashmap {
    fn name(&self) -> &'static str {
        "dashmap"
    }

    fn run(&self, work: &Work<'_>) {
        work.on(&mut DashmapHandle(&self.0));
    }
}

pub struct Scc(scc::HashMap<u64, u64, RandomState>);

impl Scc {
    pub fn new(keys: u64) -> Self {
        Self(scc::HashMap::with_capacity_and_hasher(keys as usize, RandomState::default()))
    }
}

struct SccHandle<'a>(&'a scc::HashMap<u64, u64, RandomState>);

impl Handle for SccHandle<'_> {
    #[inline]
    fn read(&mut self, key: u64) -> Option<u64> {
        self.0.read_sync(&key, |_, value| *value)
    }

    #[inline]
    fn upsert(&mut self, key: u64, value: u64) {
        self.0.upsert_sync(key, value);
    }

    #[inline]
    fn rmw(&mut self, key: u64) {
        let mut entry = self.0.entry_sync(key).or_insert(0);
        *entry = entry.wrapping_add(1);
    }
}

impl Engine for Scc {
    fn name(&self) -> &'static str {
        "scc"
    }

    fn run(&self, work: &Work<'_>) {
        work.on(&mut SccHandle(&self.0));
    }
}
