//! Entries by number, and checks, beside truncation at both ends: what is gone is not there, and nothing is called damaged.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a panic here is a failed test, also in the functions that tests share; numbers are patterns; tests start threads"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oxifaster_core::Address;
use oxifaster_device::FileSystemDisk;
use oxifaster_device::fault::FaultDevice;
use oxifaster_log::{FasterLog, FasterLogConfig, FasterLogReader, FasterLogReaderConfig};

/// 64 KiB in memory.
fn small() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(16)
}

#[test]
fn a_reader_looks_again_before_it_calls_a_truncated_entry_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = FasterLog::open(small(), FileSystemDisk::single_file(&path).unwrap()).unwrap();
    let mut addresses = Vec::new();
    for number in 0..2000_u64 {
        addresses.push(log.append(&[number as u8; 100]).unwrap());
        if number % 50 == 49 {
            log.commit().unwrap();
        }
    }
    let config = FasterLogReaderConfig::default().with_poll_interval(Duration::from_secs(60));
    let reader =
        FasterLogReader::open(config, FileSystemDisk::single_file_read_only(&path).unwrap()).unwrap();
    log.truncate_before(addresses[1500]).unwrap();
    assert_eq!(reader.entry(3).unwrap(), None);
    assert_eq!(reader.address_of(700).unwrap(), None);
    assert_eq!(reader.read_entry(addresses[3]).unwrap(), None);
    assert_eq!(reader.address_of(1500).unwrap(), Some(addresses[1500]));
    assert_eq!(reader.self_check().unwrap().entries, reader.commit_info().entries - 1500);
}

#[test]
fn lookups_and_checks_beside_a_truncating_thread_find_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = Arc::new(FasterLog::open(small(), FileSystemDisk::single_file(&path).unwrap()).unwrap());
    let mut addresses = Vec::new();
    for number in 0..8_000_u64 {
        addresses.push(log.append(&number.to_le_bytes()).unwrap());
        if number % 20 == 0 {
            log.commit().unwrap();
        }
    }
    log.commit().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let looking = {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut looks = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let number = log.first_entry_number() + looks % 3;
                if let Some(entry) = log.entry(number).unwrap() {
                    assert_eq!(entry, number.to_le_bytes());
                }
                looks += 1;
            }
            looks
        })
    };
    for place in (0..7_900).step_by(100) {
        log.truncate_before(addresses[place]).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(looking.join().unwrap() > 0);
}

#[test]
fn checks_beside_cuts_find_no_damage() {
    let log = Arc::new(FasterLog::open(small(), FaultDevice::new(1)).unwrap());
    for number in 0..50_u64 {
        log.append(&number.to_le_bytes()).unwrap();
    }
    log.commit().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let checking: Vec<_> = (0..2)
        .map(|_| {
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let report = log.self_check().unwrap();
                    assert!((50..=52).contains(&report.entries), "{report:?}");
                    assert_eq!(log.entry(10).unwrap().unwrap(), 10_u64.to_le_bytes());
                }
            })
        })
        .collect();
    for _ in 0..300 {
        let first: Address = log.append(b"first").unwrap();
        log.append(b"second").unwrap();
        log.truncate_suffix(first).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    checking.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(log.self_check().unwrap().entries, 50);
}
