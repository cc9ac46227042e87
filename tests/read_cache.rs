//! The read cache: what it answers is always what the device would have answered, for every kind of operation, whatever
//! becomes of the key meanwhile, and it is the reason why the device is not read.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oxifaster::cache::ReadCacheConfig;
use oxifaster::device::fault::FaultDevice;
use oxifaster::prelude::*;
use oxifaster::store::Started;

const KEYS: u64 = 20_000;
/// Keys that push all others out of memory.
const OTHERS: u64 = 1 << 40;

fn config() -> FasterKvConfig {
    FasterKvConfig {
        table_size: 1 << 13,
        log_memory_size: 512 << 10,
        page_size_bits: 16,
        ..Default::default()
    }
}

fn cache() -> ReadCacheConfig {
    ReadCacheConfig::default().with_mem_size(4 << 20)
}

type Store<V> = Arc<FasterKv<u64, V, FaultDevice>>;

/// A store whose first keys are on the device, with these values.
fn cold_store<V: PersistValue>(config: FasterKvConfig, value: impl Fn(u64) -> V) -> Store<V> {
    let store = Arc::new(FasterKv::open(config, FaultDevice::new(3)).unwrap());
    let mut session = store.start_session().unwrap();
    let pairs: Vec<(u64, V)> = (0..KEYS).map(|key| (key, value(key))).collect();
    session.upsert_batch(&pairs).unwrap();
    push_out(&store, &value);
    store
}

/// Fills memory with other keys.
fn push_out<V: PersistValue>(store: &Store<V>, value: &impl Fn(u64) -> V) {
    let (mut session, mut key) = (store.start_session().unwrap(), OTHERS);
    let evicted = store.stats().pages_evicted;
    while store.stats().pages_evicted < evicted + 9 {
        session.upsert(key, value(key)).unwrap();
        key += 1;
    }
}

fn device_reads<V: PersistValue>(store: &Store<V>) -> u64 {
    store.stats().device_reads
}

/// Calls `read` and says how many device reads that took.
fn reads_of<V: PersistValue>(store: &Store<V>, read: impl FnOnce()) -> u64 {
    let before = device_reads(store);
    read();
    device_reads(store) - before
}

#[test]
fn what_was_read_once_is_not_read_again_by_any_way_to_read() {
    let store = cold_store(config().with_read_cache(cache()), |key| key + 1);
    let mut session = store.start_session().unwrap();
    let keys: Vec<u64> = (0..1000).collect();
    let first = reads_of(&store, || {
        assert_eq!(session.read_batch(&keys).unwrap(), (1..=1000).map(Some).collect::<Vec<_>>());
    });
    assert!(first >= 1000, "{first} device reads");
    let again = reads_of(&store, || {
        assert_eq!(session.read_batch(&keys).unwrap(), (1..=1000).map(Some).collect::<Vec<_>>());
        let mut bytes = Vec::new();
        for &key in &keys {
            assert_eq!(session.read(&key).unwrap(), Some(key + 1));
            assert!(session.read_into(&key, &mut bytes).unwrap());
            assert_eq!(bytes, (key + 1).to_le_bytes());
            assert_eq!(session.start_read(&key).unwrap(), Started::Done(Some(key + 1)));
        }
        let futures = store.start_async_session().unwrap();
        pollster::block_on(async {
            assert_eq!(futures.read(&7).await.unwrap(), Some(8));
            assert_eq!(futures.read_batch(&keys).await.unwrap(), (1..=1000).map(Some).collect::<Vec<_>>());
        });
    });
    assert_eq!(again, 0);
    let stats = store.stats();
    assert!(stats.read_cache_hits >= 5001, "{stats:?}");
    assert!(stats.read_cache_inserts >= 1000 && stats.read_cache_misses >= 1000, "{stats:?}");
    assert_eq!(stats.answered_by_read_cache, 5001, "{stats:?}");
    assert!(stats.cache_hit_rate() > 0.9, "{}", stats.cache_hit_rate());
}

#[test]
fn without_a_cache_the_device_is_read_each_time_and_nothing_is_counted() {
    let store = cold_store(config(), |key| key);
    let mut session = store.start_session().unwrap();
    let reads = reads_of(&store, || (0..10).for_each(|_| assert_eq!(session.read(&5).unwrap(), Some(5))));
    assert!(reads >= 10, "{reads}");
    let stats = store.stats();
    assert_eq!(
        (
            stats.read_cache_hits,
            stats.read_cache_misses,
            stats.read_cache_inserts,
            stats.answered_by_read_cache
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(store.memory_plan().read_cache_bytes, 0);
}

#[test]
fn updates_deletes_and_evictions_are_seen_behind_a_cached_record() {
    let store = cold_store(config().with_read_cache(cache()), |key| key);
    let mut session = store.start_session().unwrap();
    let read_all = |session: &mut Session<u64, u64, FaultDevice>, expected: &dyn Fn(u64) -> Option<u64>| {
        for key in 0..600 {
            assert_eq!(session.read(&key).unwrap(), expected(key), "key {key}");
        }
        let keys: Vec<u64> = (0..600).collect();
        assert_eq!(session.read_batch(&keys).unwrap(), (0..600).map(expected).collect::<Vec<_>>());
    };
    read_all(&mut session, &|key| Some(key));
    for key in 0..600 {
        match key % 6 {
            0 => session.upsert(key, key * 10).unwrap(),
            1 => session.delete(&key).unwrap(),
            2 => assert_eq!(session.fetch_add(key, 5).unwrap(), key),
            3 => assert_eq!(session.remove(&key).unwrap(), Some(key)),
            4 => assert_eq!(session.compare_exchange(key, key, key + 7).unwrap(), Ok(())),
            _ => assert!(!session.insert_if_absent(key, 1).unwrap()),
        }
    }
    let expected = |key: u64| match key % 6 {
        0 => Some(key * 10),
        2 => Some(key + 5),
        4 => Some(key + 7),
        5 => Some(key),
        _ => None,
    };
    for _ in 0..3 {
        read_all(&mut session, &expected);
        push_out(&store, &|key| key);
    }
    for key in 0..600 {
        assert_eq!(session.insert_if_absent(key, 1).unwrap(), expected(key).is_none(), "key {key}");
    }
    push_out(&store, &|key| key);
    read_all(&mut session, &|key| expected(key).or(Some(1)));
    drop(session);
    store.close().unwrap();
}

/// A record that an update is about to copy to the tail would only be in the way of others.
#[test]
fn an_update_leaves_no_record_in_the_cache_that_it_replaces() {
    let store = cold_store(config().with_read_cache(cache()), |key| key);
    let mut session = store.start_session().unwrap();
    (0..500).for_each(|key| assert_eq!(session.fetch_add(key, 1).unwrap(), key));
    let keys: Vec<(u64, u64)> = (500..1000).map(|key| (key, 1)).collect();
    session.fetch_add_batch(&keys).unwrap();
    let stats = store.stats();
    // Those of other keys on the way are.
    assert!(stats.read_cache_misses >= 1000 && stats.read_cache_inserts < 300, "{stats:?}");
}

/// Seen before: the answer is always no, and nothing is written.
#[test]
fn what_an_insert_found_is_kept() {
    let store = cold_store(config().with_read_cache(cache()), |key| key);
    let mut session = store.start_session().unwrap();
    let pairs: Vec<(u64, u64)> = (0..100).map(|key| (key, 1)).collect();
    let mut insert = || {
        (100..200).for_each(|key| assert!(!session.insert_if_absent(key, 1).unwrap()));
        assert_eq!(session.insert_if_absent_batch(&pairs).unwrap(), [false; 100]);
    };
    assert!(reads_of(&store, &mut insert) >= 200);
    assert_eq!(reads_of(&store, insert), 0);
}

/// A batch that needs no device is not one poll of any length.
#[test]
fn a_cached_batch_of_futures_lets_others_run() {
    let store = cold_store(config().with_read_cache(cache()), |key| key);
    let keys: Vec<u64> = (0..5000).collect();
    store.start_session().unwrap().read_batch(&keys).unwrap();
    let session = store.start_async_session().unwrap();
    let before = device_reads(&store);
    let mut batch = std::pin::pin!(session.read_batch(&keys));
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = 1;
    let values = loop {
        match batch.as_mut().poll(&mut context) {
            Poll::Ready(values) => break values.unwrap(),
            Poll::Pending => polls += 1,
        }
    };
    assert_eq!(values, (0..5000).map(Some).collect::<Vec<_>>());
    assert_eq!(device_reads(&store), before, "all of them are cached");
    // Once in 512 operations when they are looked up, and once more when the cache answers them.
    assert!((17..=21).contains(&polls), "{polls} polls");
}

/// Each setting works through the store: no second chances, no marks, all memory touched; a record larger than the cache takes.
#[test]
fn every_setting_gives_the_same_answers() {
    for cache in [
        cache().with_copy_to_tail(false).with_mem_size(64 << 10),
        cache().with_mutable_fraction(1.0).with_mem_size(64 << 10),
        cache().with_pre_allocate(true).with_mem_size(1 << 20),
    ] {
        let store = cold_store(config().with_read_cache(cache), |key| [key; 10]);
        let mut session = store.start_session().unwrap();
        for _ in 0..3 {
            (0..3000).for_each(|key| assert_eq!(session.read(&key).unwrap(), Some([key; 10])));
        }
    }
    let large = cold_store(config().with_read_cache(cache().with_mem_size(64 << 10)), |key| [key; 1100]);
    let mut session = large.start_session().unwrap();
    (0..50).for_each(|key| assert_eq!(session.read(&(key % 5)).unwrap(), Some([key % 5; 1100])));
    assert_eq!(large.stats().read_cache_inserts, 0);
}

#[test]
fn values_of_any_size_come_back_from_the_cache() {
    let value = |key: u64| vec![key.to_le_bytes()[0]; usize::try_from(key % 700).unwrap()];
    let store = cold_store(config().with_read_cache(cache().with_mem_size(8 << 20)), value);
    let mut session = store.start_session().unwrap();
    for _ in 0..2 {
        for key in 0..3000 {
            assert_eq!(session.read(&key).unwrap(), Some(value(key)));
            assert_eq!(session.read_view(&key).unwrap().as_deref(), Some(&*value(key)));
        }
    }
    let stats = store.stats();
    assert!(stats.read_cache_hits > 8000, "{stats:?}");
}

#[test]
fn many_threads_share_a_cache_that_is_too_small() {
    let config = config().with_read_cache(cache().with_mem_size(64 << 10));
    let store = cold_store(config, |key| [key; 4]);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                let mut session = store.start_session().unwrap();
                let mut seed = thread + 1;
                for _ in 0..5000 {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let key = (seed >> 33) % 300 * ((seed >> 50) % 60);
                    assert_eq!(session.read(&key).unwrap(), Some([key; 4]));
                }
            });
        }
    });
    let stats = store.stats();
    assert!(stats.read_cache_hits > 1000 && stats.read_cache_evictions > 1000, "{stats:?}");
}

#[test]
fn a_store_in_memory_alone_takes_none() {
    let store = FasterKv::<u64, u64, _>::with_read_cache(FasterKvConfig::default(), NullDisk::new(), cache())
        .unwrap();
    assert_eq!(store.memory_plan(), FasterKvConfig::default().memory_plan());
    let stored = FasterKv::<u64, u64, _>::with_read_cache(config(), FaultDevice::new(1), cache()).unwrap();
    assert_eq!(stored.memory_plan().read_cache_bytes, 4 << 20);
    assert_eq!(stored.memory_plan(), stored.config().memory_plan());
}

#[test]
fn the_cache_is_empty_behind_an_open_and_right() {
    let device = FaultDevice::new(9);
    let open = |device: FaultDevice| {
        Arc::new(FasterKv::<u64, u64, _>::with_read_cache(config(), device, cache()).unwrap())
    };
    let mut device = device;
    for round in 0..3_u64 {
        let store = open(device.clone());
        let mut session = store.start_session().unwrap();
        for key in 0..KEYS {
            if round > 0 && key % 7 == 0 {
                assert_eq!(session.read(&key).unwrap(), Some(key + round - 1));
            }
            session.upsert(key, key + round).unwrap();
        }
        (0..100).for_each(|key| assert_eq!(session.read(&key).unwrap(), Some(key + round)));
        drop(session);
        store.close().unwrap();
        device = device.reopen();
    }
}
