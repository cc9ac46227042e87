//! The index keeps to the memory that was planned, whatever a store is opened with, and every key is found.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use oxifaster::prelude::*;
use oxifaster_device::fault::{FaultDevice, FaultDisk};

const KEYS: u64 = 1_000_000;
/// Bytes of index that recovery may take beyond the plan of these small configurations.
const ALLOWANCE_BYTES: u64 = 8 << 20;

type Store = Arc<FasterKv<u64, u64, FaultDevice>>;

fn config(table_size: u64, log_memory_size: u64) -> FasterKvConfig {
    FasterKvConfig { table_size, log_memory_size, page_size_bits: 16, ..Default::default() }
}

fn value(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A store that was filled through an index for some 2,000 keys.
fn crowded() -> FaultDisk {
    let device = FaultDevice::new(1);
    let disk = device.disk();
    let store: Store = Arc::new(FasterKv::open(config(1 << 8, 6 << 16), device).unwrap());
    let mut session = store.start_session().unwrap();
    for key in 0..KEYS {
        session.upsert(key, value(key)).unwrap();
    }
    assert_eq!(store.stats().index_overflow_buckets, 64, "the budget is spent, and no more");
    store.close().unwrap();
    disk
}

fn index_bytes(store: &Store) -> u64 {
    let stats = store.stats();
    (stats.index_buckets + stats.index_overflow_buckets) * 64
}

fn expect_every_key(store: &Store) {
    let mut session = store.start_session().unwrap();
    let keys: Vec<u64> = (0..KEYS).collect();
    for keys in keys.chunks(1024) {
        let found = session.read_batch(keys).unwrap();
        assert!(found.iter().zip(keys).all(|(found, key)| *found == Some(value(*key))));
    }
}

#[test]
fn a_small_index_is_reopened_within_the_plan_or_refused() {
    let disk = crowded();

    // No room at all: refused, with sizes that work, and nothing is changed.
    let small = config(1 << 8, 6 << 16);
    let refused = FasterKv::<u64, u64, _>::open(small.clone(), disk.open().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
    let text = refused.to_string();
    assert!(text.contains("give table_size 262144, or a log_memory_size of at least"), "{text}");

    // Room in the memory of the log: the table is raised, and the sum stays; the next time, too, when the table is recorded.
    for _ in 0..2 {
        let roomy = config(1 << 8, 40 << 20);
        let planned = roomy.memory_plan();
        let store: Store = Arc::new(FasterKv::open(roomy, disk.open().unwrap()).unwrap());
        let report = store.recovery_report().clone();
        assert_eq!(report.table_raised_to, Some(1 << 18), "{report:?}");
        assert!(report.log_memory_lowered_to.is_some_and(|bytes| bytes < 24 << 20), "{report:?}");
        assert_eq!(report.overflow_beyond_budget, 0, "{report:?}");
        let plan = store.memory_plan();
        assert!(plan.total_bytes() <= planned.total_bytes(), "{plan:?} of {planned:?}");
        assert!(store.stats().log_bytes_in_memory <= plan.log_bytes);
        assert!(index_bytes(&store) <= plan.table_bytes + plan.overflow_bytes);
        expect_every_key(&store);
        let mut session = store.start_session().unwrap();
        (0..1000).for_each(|key| session.upsert(KEYS + key, 1).unwrap());
        store.close().unwrap();
        drop((session, store));
    }

    // What the refusal named works, and the raised table is the least from now on.
    for asked in [1 << 18, 1 << 8] {
        let named = config(asked, 6 << 16);
        let store: Store = Arc::new(FasterKv::open(named, disk.open().unwrap()).unwrap());
        let report = store.recovery_report();
        assert_eq!(report.table_raised_to, (asked == 1 << 8).then_some(1 << 18));
        assert_eq!((report.log_memory_lowered_to, report.overflow_beyond_budget), (None, 0));
        expect_every_key(&store);
    }
}

/// What is a little too much is carried beside the budget or by a larger table, within what recovery may add to the plan.
#[test]
fn a_little_more_than_planned_is_bounded() {
    for (table_size, raised) in [(1 << 12, None), (1 << 8, Some(1 << 15))] {
        let keys = 100_000;
        let device = FaultDevice::new(2);
        let disk = device.disk();
        let small = config(table_size, 6 << 16);
        let store: Store = Arc::new(FasterKv::open(small.clone(), device).unwrap());
        let mut session = store.start_session().unwrap();
        (0..keys).for_each(|key| session.upsert(key, value(key)).unwrap());
        store.close().unwrap();
        drop((session, store));
        let planned = small.memory_plan();
        let store: Store = Arc::new(FasterKv::open(small, disk.open().unwrap()).unwrap());
        let report = store.recovery_report();
        assert_eq!((report.table_raised_to, report.log_memory_lowered_to), (raised, None));
        assert_eq!(report.overflow_beyond_budget > 5000, raised.is_none(), "{report:?}");
        assert!(index_bytes(&store) <= planned.table_bytes + planned.overflow_bytes + ALLOWANCE_BYTES);
        let mut session = store.start_session().unwrap();
        for key in (0..keys).step_by(37) {
            assert_eq!(session.read(&key).unwrap(), Some(value(key)));
        }
    }
}
