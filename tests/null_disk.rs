//! Stores that live in memory alone. An earlier implementation dropped keys silently when memory was full, and filled up
//! although the same keys were only updated.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a test says what failed by panicking, starts plain threads, and has small numbers"
)]

use std::sync::Arc;

use oxifaster::prelude::*;

fn store<V: PersistValue>() -> Arc<FasterKv<u64, V, NullDisk>> {
    let config = FasterKvConfig { table_size: 1 << 10, log_memory_size: 1 << 20, ..Default::default() };
    Arc::new(FasterKv::open(config, NullDisk::new()).unwrap())
}

#[test]
fn null_disk_full_says_so_and_loses_nothing() {
    let store = store::<u64>();
    let mut session = store.start_session().unwrap();
    let mut keys = 0_u64;
    let error = loop {
        match session.upsert(keys, keys) {
            Ok(()) => keys += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert!(keys * 24 > (1 << 20) / 2, "full after {keys} keys");
    assert_eq!(session.upsert(keys, 0).unwrap_err().kind(), ErrorKind::OutOfMemory);
    for key in 0..keys {
        assert_eq!(session.read(&key).unwrap(), Some(key));
    }
    // Space that deletes free is used again.
    for key in 0..keys / 2 {
        session.delete(&key).unwrap();
    }
    for key in 0..keys / 3 {
        session.upsert(key + keys, key).unwrap();
    }
    for key in 0..keys {
        assert_eq!(session.read(&key).unwrap(), (key >= keys / 2).then_some(key));
    }
    for key in 0..keys / 3 {
        assert_eq!(session.read(&(key + keys)).unwrap(), Some(key));
    }
}

#[test]
fn null_disk_full_never_by_updating_what_is_there() {
    let store = store::<Vec<u8>>();
    let workers: Vec<_> = (0..2_u64)
        .map(|worker| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let mut session = store.start_session().unwrap();
                // Values grow and shrink, keys come and go: 30 MB of records in 1 MiB.
                for round in 0..400_u64 {
                    for key in 0..100 {
                        let key = key * 2 + worker;
                        let len = usize::try_from(round * 7 % 300 + key).unwrap();
                        session.upsert(key, vec![u8::try_from(round % 251).unwrap(); len]).unwrap();
                        if (key + round) % 11 == 0 {
                            session.delete(&key).unwrap();
                        }
                    }
                }
                for key in 0..100 {
                    let key = key * 2 + worker;
                    let len = usize::try_from(399 * 7 % 300 + key).unwrap();
                    let expected =
                        ((key + 399) % 11 != 0).then(|| vec![u8::try_from(399 % 251).unwrap(); len]);
                    assert_eq!(session.read(&key).unwrap(), expected, "key {key}");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert!(store.stats().appended_bytes > 4 << 20, "{:?}", store.stats());
}

#[test]
fn null_disk_full_and_no_increment_is_lost_while_pages_are_reclaimed() {
    let store = store::<u64>();
    const COUNTERS: u64 = 100;
    let workers: Vec<_> = (0..3_u64)
        .map(|worker| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let mut session = store.start_session().unwrap();
                for round in 0..60_000_u64 {
                    session
                        .rmw(round % COUNTERS, |count| {
                            *count += 1;
                            true
                        })
                        .unwrap();
                    // Garbage: inserted and removed again.
                    let key = 1_000 + worker * 1_000_000 + round;
                    session.upsert(key, key).unwrap();
                    assert_eq!(session.remove(&key).unwrap(), Some(key));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let mut session = store.start_session().unwrap();
    let sum: u64 = (0..COUNTERS).map(|key| session.read(&key).unwrap().unwrap()).sum();
    assert_eq!(sum, 180_000);
}

/// Writers with values that grow and shrink, a third of the memory alive: the frames kept aside for copies are theirs alone.
/// Once they were not, and the store was full for ever.
#[test]
fn null_disk_full_never_with_many_writers() {
    const THREADS: u64 = 4;
    const KEYS: u64 = 400;
    let store = store::<Vec<u8>>();
    let value =
        |number: u64| vec![number as u8; 10 + (number.wrapping_mul(0x9E37_79B9) >> 20) as usize % 400];
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let mut session = store.start_session().unwrap();
                for number in 0..60_000_u64 {
                    let key = thread * KEYS + number.wrapping_mul(7919) % KEYS;
                    session.upsert(key, value(number)).unwrap();
                }
                for number in 60_000..60_000 + KEYS {
                    session.upsert(thread * KEYS + number % KEYS, value(number)).unwrap();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let mut session = store.start_session().unwrap();
    for thread in 0..THREADS {
        for number in 60_000..60_000 + KEYS {
            assert_eq!(session.read(&(thread * KEYS + number % KEYS)).unwrap(), Some(value(number)));
        }
    }
}

/// A store that is really full heals when keys are deleted, whoever filled it.
#[test]
fn null_disk_full_by_many_writers_heals_when_keys_are_deleted() {
    const THREADS: u64 = 4;
    let store = store::<Vec<u8>>();
    let filled: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut session = store.start_session().unwrap();
                scope.spawn(move || {
                    let mut written = 0;
                    while session.upsert(written * THREADS + thread, vec![7; 300]).is_ok() {
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert!(filled * 330 > (1 << 20) / 2, "full after {filled} keys");
    let mut session = store.start_session().unwrap();
    for key in (0..filled * 2).filter(|key| key % 10 != 0) {
        session.delete(&key).unwrap();
    }
    for number in 0..5_000_u64 {
        session.upsert(1_000_000 + number % 10, vec![1; 300 + (number as usize * 37) % 200]).unwrap();
    }
}
