//! This repository's store, on the device with rings.
//!
//! Its memory is divided as the program does it: half for the index at most, the largest table that fits into it with a quarter of
//! overflow (but not more buckets than a fifth of the keys), overflow for the rest of that half as far as the keys need it. What is left
//! is for records: an eighth for the log's newest pages, since nothing is written here, and the rest for the read cache.

use std::sync::Arc;

use oxifaster::cache::ReadCacheConfig;
use oxifaster::codec::PersistValue;
use oxifaster::device::{IoUringDevice, IoUringOptions, RingUse};
use oxifaster::store::{FasterKv, FasterKvConfig, Session};

use super::{ColdStore, Demand, Reader};
use crate::stores::Failure;

const BUCKET_BYTES: u64 = 64;
/// Entries of a bucket.
const BUCKET_ENTRIES: u64 = 7;
const SEGMENT_BYTES: u64 = 1 << 30;
/// Keys of a call while loading.
const LOAD_BATCH: usize = 1024;

/// A word, or a hundred bytes.
trait Value: PersistValue + Copy + PartialEq {
    fn of(key: u64) -> Self;
}

impl Value for u64 {
    fn of(key: u64) -> Self {
        key
    }
}

impl Value for [u8; 100] {
    fn of(key: u64) -> Self {
        let mut value = [0; 100];
        for (place, byte) in value.iter_mut().enumerate() {
            *byte = key.to_le_bytes()[place % 8];
        }
        value
    }
}

fn config(demand: Demand<'_>) -> FasterKvConfig {
    let io_bytes =
        FasterKvConfig { reads_in_flight: demand.depth, ..Default::default() }.memory_plan().io_bytes;
    let rest = demand.store_bytes().saturating_sub(io_bytes);
    let half = rest / 2;
    let affordable = 1 << (half / (BUCKET_BYTES * 5 / 4)).max(1).ilog2();
    let table_size = demand.keys.div_ceil(5).next_power_of_two().min(affordable);
    // Buckets for all entries were each of them full, and half of them more for those that are not.
    let wanted = (demand.keys / BUCKET_ENTRIES * 3 / 2).saturating_sub(table_size);
    let overflow_buckets = wanted.min(half / BUCKET_BYTES - table_size).max(table_size / 4);
    // The checksums are a 64th beside it.
    let records = (rest - (table_size + overflow_buckets) * BUCKET_BYTES) / 65 * 64;
    let log = records / 8;
    FasterKvConfig {
        table_size,
        overflow_buckets: Some(overflow_buckets),
        log_memory_size: log,
        reads_in_flight: demand.depth,
        read_cache: Some(ReadCacheConfig::default().with_mem_size(records - log)),
        ..Default::default()
    }
}

struct Ours<V: Value>(Arc<FasterKv<u64, V, IoUringDevice>>);

pub fn open(demand: Demand<'_>) -> Result<Box<dyn ColdStore>, Failure> {
    match demand.value_bytes {
        8 => Ok(Box::new(Ours::<u64>::open(demand)?)),
        100 => Ok(Box::new(Ours::<[u8; 100]>::open(demand)?)),
        other => Err(format!("values have 8 or 100 bytes here, not {other}").into()),
    }
}

impl<V: Value> Ours<V> {
    fn open(demand: Demand<'_>) -> Result<Self, Failure> {
        let options = IoUringOptions::default().with_rings(RingUse::Required);
        let device = IoUringDevice::segmented_with_options(demand.folder, "store", SEGMENT_BYTES, options)?;
        Ok(Self(Arc::new(FasterKv::open(config(demand), device)?)))
    }
}

impl<V: Value> ColdStore for Ours<V> {
    fn load(&self, demand: Demand<'_>) -> Result<(), Failure> {
        let mut session = self.0.start_session()?;
        let mut pairs = Vec::with_capacity(LOAD_BATCH);
        for key in 0..demand.keys {
            pairs.push((key, V::of(key)));
            if pairs.len() == LOAD_BATCH || key + 1 == demand.keys {
                session.upsert_batch(&pairs)?;
                pairs.clear();
            }
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, Failure> {
        Ok(Box::new(OursReader(self.0.start_session()?)))
    }

    fn has_batches(&self) -> bool {
        true
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.0.close()?)
    }
}

struct OursReader<V: Value>(Session<u64, V, IoUringDevice>);

impl<V: Value> Reader for OursReader<V> {
    fn read(&mut self, key: u64) -> Result<bool, Failure> {
        Ok(self.0.read(&key)? == Some(V::of(key)))
    }

    fn read_batch(&mut self, keys: &[u64]) -> Result<usize, Failure> {
        let values = self.0.read_batch(keys)?;
        Ok(keys.iter().zip(values).filter(|(key, value)| *value == Some(V::of(**key))).count())
    }
}
