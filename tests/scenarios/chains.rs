//! Many records that share a chain of the index.

use std::sync::{Arc, Barrier};

use oxifaster::prelude::*;

use crate::samples::{Sample, increment, increment_interrupted};
use crate::stores::{assert_was_larger_than_memory, on_file_with, on_threads, small};

/// So many keys of one tag; with a table of one bucket they share one chain.
fn keys_of_one_tag(count: usize) -> Vec<u64> {
    let tag_of = |key: &u64| HashKind::Xxh3.hash(&key.to_le_bytes()).tag();
    let tag = tag_of(&0);
    (0_u64..).filter(|key| tag_of(key) == tag).take(count).collect()
}

fn many_keys_one_tag_of<V: Sample>() {
    let keys = keys_of_one_tag(60);
    let config = || FasterKvConfig { table_size: 1, overflow_buckets: Some(1), ..small() };
    let folder = tempfile::tempdir().unwrap();
    let store = on_file_with::<u64, V>(config(), folder.path());
    let mut session = store.start_session().unwrap();
    for key in &keys {
        session.upsert(key, V::of(*key)).unwrap();
    }
    // Ballast beside them in the only bucket, more tags than it has entries for, pushes half of the chain to the device.
    let ballast = |session: &mut Session<u64, V, FileSystemDisk>, number: u64| {
        let key = (1 << 40) + number % 40;
        session.delete(&key).unwrap();
        session.upsert(key, V::of(number)).unwrap();
    };
    for round in 0..2_u64 {
        let evicted = store.stats().pages_evicted;
        let mut number = 0;
        while store.stats().pages_evicted < evicted + 18 {
            (0..100).for_each(|_| {
                ballast(&mut session, number);
                number += 1;
            });
        }
        for (at, key) in keys.iter().enumerate() {
            let expected = V::of(key + round);
            assert_eq!(session.read(key).unwrap(), Some(expected.clone()), "key {at} of the chain");
            if at % 2 == 0 {
                assert_eq!(session.rmw(key, increment).unwrap(), RmwOutcome::Updated);
            } else {
                session.delete(key).unwrap();
                assert_eq!(session.read(key).unwrap(), None);
                assert!(session.insert_if_absent(key, V::of(key + round + 1)).unwrap());
            }
        }
        let values: Vec<_> = keys.iter().map(|key| Some(V::of(key + round + 1))).collect();
        assert_eq!(session.read_batch(&keys).unwrap(), values);
    }
    assert_was_larger_than_memory(&store.stats());
    for key in keys.iter().step_by(3) {
        session.delete(key).unwrap();
    }
    drop(session);
    store.close().unwrap();
    drop(store);
    // The chain is the same after it was built from the log.
    for threads in [1, 4] {
        let config = FasterKvConfig { recovery_threads: Some(threads), ..config() };
        let store = on_file_with::<u64, V>(config, folder.path());
        let mut session = store.start_session().unwrap();
        for (at, key) in keys.iter().enumerate() {
            let expected = (at % 3 != 0).then(|| V::of(key + 2));
            assert_eq!(session.read(key).unwrap(), expected, "key {at} of the chain, {threads} threads");
        }
    }
}

#[test]
fn many_keys_one_tag() {
    many_keys_one_tag_of::<u64>();
    many_keys_one_tag_of::<Vec<u8>>();
}

/// Several threads append records of the same keys, in the same few chains, and the store is opened again.
/// Returns how many records lost the race to be published.
fn chain_order_of<V: Sample>(round: u64, folder: &std::path::Path) -> u64 {
    const KEYS: u64 = 40;
    let config =
        || FasterKvConfig { table_size: 1, overflow_buckets: Some(1), recovery_threads: Some(3), ..small() };
    let store = on_file_with::<u64, V>(config(), folder);
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        for number in 0..3_000_u64 {
            let key = number * 7 % KEYS;
            // Deleted records are not used again, so each of these appends.
            match (number / KEYS + thread) % 4 {
                0 => session.delete(&key).unwrap(),
                1 => drop(session.remove(&key).unwrap()),
                2 => drop(session.rmw(key, increment_interrupted).unwrap()),
                _ => session.upsert(key, V::of(number * 3 + thread + round * 10_000)).unwrap(),
            }
        }
    });
    let mut session = store.start_session().unwrap();
    let newest: Vec<_> = (0..KEYS).map(|key| session.read(&key).unwrap()).collect();
    let lost_races = store.stats().lost_races;
    drop(session);
    store.close().unwrap();
    let appended = store.stats().appended_records;
    drop(store);
    let store: Arc<_> = on_file_with::<u64, V>(config(), folder);
    let mut session = store.start_session().unwrap();
    for (key, newest) in newest.iter().enumerate() {
        assert_eq!(&session.read(&(key as u64)).unwrap(), newest, "key {key} in round {round}");
    }
    let report = store.recovery_report();
    assert!(report.records >= appended && report.invalid_records >= lost_races, "{report:?}");
    lost_races
}

/// So many tags, and three keys of each.
fn keys_of_tags(tags: usize) -> Vec<[u64; 3]> {
    let mut keys = vec![Vec::new(); tags];
    for key in 0_u64.. {
        let tag = usize::try_from(HashKind::Xxh3.hash(&key.to_le_bytes()).tag()).unwrap();
        if let Some(of_tag) = keys.get_mut(tag) {
            of_tag.push(key);
        }
        if key % 1024 == 0 && keys.iter().all(|of_tag| of_tag.len() >= 3) {
            break;
        }
    }
    keys.into_iter().map(|of_tag| of_tag[..3].try_into().unwrap()).collect()
}

/// Three threads insert keys of the same new tags, a batch of them at once, each thread in another order. Each has taken its tail
/// space before it meets what the others have published behind it.
fn chain_order_in_batches(folder: &std::path::Path) {
    const BATCHES: usize = 24;
    let tags = keys_of_tags(BATCHES * 32);
    let config = || FasterKvConfig { table_size: 1, overflow_buckets: Some(400), ..small() };
    let store = on_file_with::<u64, u64>(config(), folder);
    let together = Barrier::new(3);
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        for tags in tags.chunks(32) {
            let which = usize::try_from(thread).unwrap();
            let mut pairs: Vec<_> = tags.iter().map(|keys| (keys[which], keys[which] + thread)).collect();
            match thread {
                0 => {}
                1 => pairs.reverse(),
                _ => pairs.rotate_left(16),
            }
            together.wait();
            session.upsert_batch(&pairs).unwrap();
        }
    });
    store.close().unwrap();
    drop(store);
    let store: Arc<_> = on_file_with::<u64, u64>(config(), folder);
    let mut session = store.start_session().unwrap();
    for keys in tags {
        assert_eq!(
            session.read_batch(&keys).unwrap(),
            [0, 1, 2].map(|thread| Some(keys[thread] + thread as u64))
        );
    }
}

#[test]
fn chain_order() {
    let folder = tempfile::tempdir().unwrap();
    let lost_races: u64 = (0..12).map(|round| chain_order_of::<u64>(round, folder.path())).sum();
    assert!(lost_races > 0, "nobody competed");
    let folder = tempfile::tempdir().unwrap();
    let lost_races: u64 = (0..12).map(|round| chain_order_of::<Vec<u8>>(round, folder.path())).sum();
    assert!(lost_races > 0, "nobody competed");
    chain_order_in_batches(tempfile::tempdir().unwrap().path());
}
