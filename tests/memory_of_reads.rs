//! Reads take the memory that was planned, however many threads read large records at once.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oxifaster::prelude::*;

const VALUE_BYTES: usize = 96 << 10;
const KEYS: u64 = 1_000;
const THREADS: u64 = 16;
const READS_IN_FLIGHT: usize = 256;

type Store = Arc<FasterKv<u64, Vec<u8>, FileSystemDisk>>;

fn value(key: u64) -> Vec<u8> {
    (0_u64..).flat_map(|word| (key << 32 | word).to_le_bytes()).take(VALUE_BYTES).collect()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Runs `body`, and returns the most memory that this process held meanwhile.
fn largest_resident(body: impl FnOnce()) -> u64 {
    let (ended, largest) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                largest.fetch_max(resident_bytes(), Ordering::Relaxed);
                oxifaster_device::sync::thread::sleep(Duration::from_millis(1));
            }
        });
        body();
        ended.store(true, Ordering::Relaxed);
    });
    largest.into_inner()
}

/// All threads look at cold values in batches; they keep none of them. Every other one looks at some more from inside of
/// its batch.
fn read_all(store: &Store) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut session = store.start_session().unwrap();
                let mut nested = store.start_session().unwrap();
                let keys: Vec<u64> = (0..KEYS).map(|number| (number * 7 + thread * 61) % KEYS).collect();
                for keys in keys.chunks(READS_IN_FLIGHT) {
                    let outcomes = session.rmw_batch(keys, |place, found| {
                        let key = *keys.get(place).unwrap();
                        assert!(*found == value(key), "key {key}");
                        if thread % 2 == 0 && place == 0 {
                            let other = (key + 1) % KEYS;
                            assert!(nested.read(&other).unwrap().unwrap() == value(other));
                        }
                        false
                    });
                    assert!(outcomes.unwrap().iter().all(|outcome| *outcome == RmwOutcome::Unchanged));
                }
            });
        }
    });
}

#[test]
fn reads_of_many_sessions_stay_within_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let config = FasterKvConfig {
        table_size: 1 << 10,
        log_memory_size: 8 << 20,
        page_size_bits: 20,
        ..FasterKvConfig::default().with_reads_in_flight(READS_IN_FLIGHT)
    };
    let planned = config.memory_plan().total_bytes();
    let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
    let store: Store = Arc::new(FasterKv::open(config, device).unwrap());
    let mut session = store.start_session().unwrap();
    for key in 0..KEYS {
        session.upsert(key, value(key)).unwrap();
    }
    store.flush().unwrap();
    let largest = largest_resident(|| read_all(&store));
    assert!(store.stats().device_reads > THREADS * KEYS, "{:?}", store.stats());
    let bound = planned + planned / 4 + (64 << 20);
    assert!(largest <= bound, "{largest} bytes resident, {bound} promised for {planned} planned");
}
