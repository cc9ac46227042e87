//! A round on a store without a device: the same threads, while in-memory compaction moves the records under them.

use std::sync::Arc;

use oxifaster_device::NullDisk;
use oxifaster_device::sync::atomic::AtomicBool;
use oxifaster_store::FasterKv;

use super::round::{End, RoundCounts, check_reading, record_bytes};
use super::threads::Threads;
use crate::history::Order;
use crate::judges::stored::Stored;
use crate::judges::subject::small_config;
use crate::workload::{Distribution, Keys, Prng};

/// Percent of the memory that live records take at most. Values that change their length, and deletes, need more records.
const LIVE_PERCENT: u64 = 30;

/// Runs a round. It ends with a read of every key, whatever `end` says: there is nothing to open again.
///
/// # Errors
/// The broken promise.
pub(super) fn run<S: Stored>(
    seed: u64,
    threads: u32,
    operations: usize,
    _end: End,
) -> Result<RoundCounts, String> {
    let mut prng = Prng::new(seed);
    let mut config = small_config(&mut prng);
    config.table_size = 1 << (4 + prng.below(8));
    let fitting = config.log_memory_size * LIVE_PERCENT / 100 / record_bytes::<S>();
    let count = if prng.chance(0.2) { 8 } else { 16 + prng.below(fitting.saturating_sub(16).max(1)) };
    let distribution =
        Distribution::HotSet { operations: 0.3 + prng.unit() / 2.0, keys: (16.0 / count as f64).min(1.0) };
    let keys = Arc::new(Keys::new(count, distribution));
    let store = FasterKv::<S::Key, S::Value, _>::open(config, NullDisk::new());
    let store = Arc::new(store.map_err(|error| format!("create: {error}"))?);
    let layout = store.log().layout();
    let first_page = layout.page_of(store.log().begin());
    let order = Order::new();
    let stop = Arc::new(AtomicBool::new(false));
    let (events, load) = Threads::<S, _> {
        store: &store,
        order: &order,
        keys: &keys,
        stop: &stop,
        count: threads,
        operations,
    }
    .run(&mut prng, |error| Some(error.to_string()))?;
    let pages_reclaimed = layout.page_of(store.log().begin()) - first_page;
    let (keys_found, checked) = check_reading::<S, _>(&store, &order, &keys, events)?;
    let in_memory = checked.operations;
    Ok(RoundCounts { checked, keys_found, load, pages_reclaimed, in_memory, ..RoundCounts::default() })
}
