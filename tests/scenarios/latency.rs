//! What operations do not wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oxifaster::prelude::*;
use oxifaster_device::sync::{clock, thread};

use crate::gate::GatedDisk;
use crate::stores::{on_file, on_file_with, small};

/// Runs `operation` so many times; returns how long each took, sorted.
fn measured(times: u64, mut operation: impl FnMut(u64)) -> Vec<Duration> {
    let mut took: Vec<_> = (0..times)
        .map(|number| {
            let start = clock::now();
            operation(number);
            start.elapsed()
        })
        .collect();
    took.sort();
    took
}

fn at(sorted: &[Duration], fraction: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * fraction) as usize]
}

#[test]
fn page_turn_stall() {
    // A device that completes no write: turning a page does not wait for it, as long as there are free frames.
    let folder = tempfile::tempdir().unwrap();
    let file = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
    let (device, gate) = GatedDisk::new(file);
    let store = Arc::new(FasterKv::<u64, [u64; 8], _>::open(small(), device).unwrap());
    let gate = gate; // Behind the store: it opens first.
    gate.hold_writes();
    let written = AtomicU64::new(0);
    const KEYS: u64 = 20_000;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut session = store.start_session().unwrap();
            for key in 0..KEYS {
                session.upsert(key, [key; 8]).unwrap();
                written.store(key + 1, Ordering::Release);
            }
        });
        // 13 of 16 pages of 60 KiB with 80 bytes a record.
        let most = 13 * 60 * 1024 / 80;
        let since = clock::now();
        while written.load(Ordering::Acquire) < most && !writer.is_finished() {
            if since.elapsed() > Duration::from_secs(20) {
                gate.open();
                panic!("upserts wait for the device: {} of {most}", written.load(Ordering::Acquire));
            }
            thread::yield_now();
        }
        // Then there is back-pressure instead of a lost page.
        let mut before = 0;
        while before != written.load(Ordering::Acquire) {
            before = written.load(Ordering::Acquire);
            thread::sleep(Duration::from_millis(200));
        }
        assert!(before < KEYS, "more than memory holds was accepted: {before} records");
        assert_eq!(store.stats().device_writes, 0);
        gate.open();
    });
    let mut session = store.start_session().unwrap();
    assert!((0..KEYS).all(|key| session.read(&key).unwrap() == Some([key; 8])));
    drop((session, store));
    // How long the slowest upserts take while pages turn all the time: for people, the machine may be busy.
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, [u64; 8]>(folder.path());
    let mut session = store.start_session().unwrap();
    let took = measured(150_000, |key| session.upsert(key, [key; 8]).unwrap());
    println!(
        "upserts of 64 bytes, 170 page turns: median {:?}, p99 {:?}, p99.9 {:?}, slowest {:?}",
        at(&took, 0.5),
        at(&took, 0.99),
        at(&took, 0.999),
        at(&took, 1.0)
    );
    assert!(store.stats().pages_evicted > 100, "{:?}", store.stats());
}

#[test]
fn small_after_large() {
    let folder = tempfile::tempdir().unwrap();
    let config = FasterKvConfig { log_memory_size: 8 << 20, page_size_bits: 19, ..small() };
    let store = on_file_with::<u64, Vec<u8>>(config, folder.path());
    let mut session = store.start_session().unwrap();
    let small_ones = |session: &mut Session<u64, Vec<u8>, FileSystemDisk>| {
        (0..100).for_each(|key| session.upsert(key, vec![1_u8; 16]).unwrap());
        let before = store.stats();
        let took = measured(20_000, |number| {
            let key = number % 100;
            session.upsert(key, vec![number as u8; 16]).unwrap();
            assert_eq!(session.read_view(&key).unwrap().unwrap().len(), 16);
        });
        let after = store.stats();
        // The work is the same: in place, no byte of log, no device.
        assert_eq!(after.in_place_updates - before.in_place_updates, 20_000);
        assert_eq!(after.appended_bytes, before.appended_bytes);
        assert_eq!(after.device_reads, before.device_reads);
        at(&took, 0.5)
    };
    let first = small_ones(&mut session);
    for round in 0..3_u64 {
        // A large batch of large values, written, read from the device and changed.
        let pairs: Vec<(u64, Vec<u8>)> = (0..40).map(|key| (1_000 + key, vec![7_u8; 400_000])).collect();
        session.upsert_batch(&pairs).unwrap();
        let keys: Vec<u64> = pairs.iter().map(|(key, _)| *key).collect();
        assert!(
            session.read_batch(&keys).unwrap().iter().all(|value| value.as_ref().unwrap().len() == 400_000)
        );
        assert_eq!(session.read_view(&1_030).unwrap().unwrap().len(), 400_000);
        session.rmw_batch(&keys[..20], |_, value| value.pop().is_some()).unwrap();
        session.delete_batch(&keys[..20]).unwrap();
        let again = small_ones(&mut session);
        // Medians, and a wide margin: one busy core must not fail this, a buffer that is cleared every time must.
        assert!(again < first * 4 + Duration::from_nanos(500), "round {round}: {again:?}, before {first:?}");
    }
    assert!(store.stats().device_reads > 0, "{:?}", store.stats());
}
