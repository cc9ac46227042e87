//! A store larger than its memory on every kind of file device: blocking, batched, pending and asynchronous reads from several
//! threads at once, with updates in between. The `io_uring` device has to use rings where the kernel has them; that is
//! watched in `crates/device/tests/io_uring.rs`.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]
#![expect(clippy::print_stdout, reason = "which backend ran is part of the result")]

use std::path::Path;
use std::sync::Arc;

use oxifaster::prelude::*;
use oxifaster::store::Started;
use oxifaster_device::{IoUringDevice, IoUringOptions, RingUse};

const KEYS: u64 = 200_000;
const THREADS: u64 = 3;

fn config() -> FasterKvConfig {
    FasterKvConfig { table_size: 1 << 15, log_memory_size: 1 << 20, ..Default::default() }
}

/// The value after `rounds` changes.
fn value(key: u64, rounds: u64) -> u64 {
    key * 3 + rounds
}

/// Reads and changes the keys of one thread in every way.
fn work<D: StorageDevice>(store: &Arc<FasterKv<u64, u64, D>>, thread: u64) {
    let mut session = store.start_session().unwrap();
    let keys: Vec<u64> = (thread..KEYS).step_by(97).filter(|key| key % THREADS == thread).collect();
    let expected = |rounds| keys.iter().map(|key| Some(value(*key, rounds))).collect::<Vec<_>>();
    assert_eq!(session.read_batch(&keys).unwrap(), expected(0));
    for (place, key) in keys.iter().enumerate() {
        if place % 10 == 0 {
            assert_eq!(session.read(key).unwrap(), Some(value(*key, 0)));
        }
        session
            .rmw(*key, |value| {
                *value += 1;
                true
            })
            .unwrap();
    }
    // Push what was just changed out of memory again, but for this thread's own part of it.
    for key in (thread..KEYS).step_by(7).filter(|key| key % THREADS == thread && key % 97 != thread % 97) {
        session.rmw(key, |_| true).unwrap();
    }
    let mut waiting = Vec::new();
    for key in &keys {
        match session.start_read(key).unwrap() {
            Started::Done(found) => assert_eq!(found, Some(value(*key, 1))),
            Started::Pending(id) => waiting.push((id, *key)),
        }
    }
    let mut completed = session.complete_pending(true);
    completed.sort_by_key(|completed| completed.id);
    assert_eq!(completed.len(), waiting.len());
    for (completed, (id, key)) in completed.into_iter().zip(waiting) {
        assert_eq!((completed.id, completed.result.unwrap()), (id, Some(value(key, 1))));
    }
    let futures = store.start_async_session().unwrap();
    for key in keys.iter().step_by(20) {
        assert_eq!(pollster::block_on(futures.read(key)).unwrap(), Some(value(*key, 1)));
    }
}

fn judge<D: StorageDevice>(open: impl Fn() -> D) {
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config(), open()).unwrap());
    let mut session = store.start_session().unwrap();
    for key in 0..KEYS {
        session.upsert(key, value(key, 0)).unwrap();
    }
    drop(session);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || work(store, thread));
        }
    });
    let statistics = store.stats();
    assert!(statistics.device_reads > 3_000, "{statistics:?}");
    store.close().unwrap();
    drop(store);
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config(), open()).unwrap());
    assert_eq!(store.start_session().unwrap().read(&(KEYS - 1)).unwrap(), Some(value(KEYS - 1, 0)));
}

fn uring(path: &Path, rings: RingUse) -> IoUringDevice {
    let device = IoUringDevice::with_options(path, IoUringOptions::default().with_rings(rings)).unwrap();
    println!("reads go through {}", device.backend());
    device
}

#[test]
fn one_file_with_rings_if_offered() {
    let folder = tempfile::tempdir().unwrap();
    judge(|| uring(&folder.path().join("store.log"), RingUse::IfOffered));
}

#[test]
fn one_file_without_rings() {
    let folder = tempfile::tempdir().unwrap();
    judge(|| uring(&folder.path().join("store.log"), RingUse::Never));
}

#[test]
fn segments_with_rings_if_offered() {
    let folder = tempfile::tempdir().unwrap();
    judge(|| IoUringDevice::segmented(folder.path(), "store", 1 << 20).unwrap());
}
