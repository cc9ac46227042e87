//! A store that lives in memory alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oxifaster::prelude::*;

use crate::samples::{Sample, increment};
use crate::stores::{on_threads, small};

/// Threads fill the store until each of them is told that it is full.
fn null_disk_full_of<V: Sample>() {
    const THREADS: u64 = 3;
    let store = Arc::new(FasterKv::<u64, V, _>::open(small(), NullDisk::new()).unwrap());
    let accepted = [const { AtomicU64::new(0) }; THREADS as usize];
    on_threads(THREADS, |thread| {
        let mut session = store.start_session().unwrap();
        for number in 0.. {
            let key = number * THREADS + thread;
            // One thread may be done before the others have started: then it has all of the memory.
            assert!(number < 100_000, "1 MiB is never full");
            let result = match number % 3 {
                0 => session.upsert(key, V::of(number)),
                1 => session.insert_if_absent(key, V::of(number)).map(|inserted| assert!(inserted)),
                _ => session
                    .rmw(key, |value| {
                        *value = V::of(number);
                        true
                    })
                    .map(|outcome| assert_eq!(outcome, RmwOutcome::Created)),
            };
            match result {
                Ok(()) => accepted[thread as usize].store(number + 1, Ordering::Relaxed),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
                    assert!(error.to_string().contains("log_memory_size"), "{error}");
                    // What was refused has not happened.
                    assert_eq!(session.read(&key).unwrap(), None);
                    assert_eq!(session.serial_num(), number);
                    return;
                }
            }
        }
    });
    let accepted = accepted.map(AtomicU64::into_inner);
    let bytes: u64 = accepted.iter().sum::<u64>() * 24;
    assert!(bytes > 100_000, "full after {bytes} bytes");
    let mut session = store.start_session().unwrap();
    let mut check = |plus: u64| {
        for (thread, count) in (0_u64..).zip(&accepted) {
            for number in 0..count + 10 {
                let expected = (number < *count).then(|| V::of(number + plus));
                assert_eq!(session.read(&(number * THREADS + thread)).unwrap(), expected, "key {number}");
            }
        }
    };
    check(0);
    if size_of::<V>() != size_of::<Vec<u8>>() {
        // A full store still changes what it has, where the size stays.
        let mut other = store.start_session().unwrap();
        for (thread, count) in (0_u64..).zip(&accepted) {
            for number in 0..*count {
                assert_eq!(other.rmw(number * THREADS + thread, increment).unwrap(), RmwOutcome::Updated);
            }
        }
        check(1);
    }
    store.close().unwrap();
}

#[test]
fn null_disk_full() {
    null_disk_full_of::<u64>();
    null_disk_full_of::<[u64; 8]>();
    null_disk_full_of::<Vec<u8>>();
}
