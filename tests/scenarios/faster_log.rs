//! The log: what it acknowledged is there, what it did not is never invented, and a full memory pushes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oxifaster::device::fault::{CrashFates, FaultDevice, FaultPlan};
use oxifaster::log::{CommitPolicy, ScanEnd};
use oxifaster::prelude::*;

/// 32 KiB in memory.
fn tiny() -> FasterLogConfig {
    FasterLogConfig { page_size: 4096, memory_pages: 8, ..Default::default() }
}

/// Bytes that tell whose they are, and show when they are torn.
fn entry(thread: u64, number: u64) -> Vec<u8> {
    let len = 16 + (number * 131 % 900) as usize;
    let mut bytes = vec![(thread * 17 + number) as u8; len];
    bytes[..8].copy_from_slice(&thread.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Each thread's entries come in order, without a gap, as they were written; returns how many of each there are.
fn check_in_order(log: &FasterLog, threads: usize, context: &str) -> Vec<u64> {
    let mut next = vec![0; threads];
    for found in log.scan(..) {
        let (address, bytes) = found.unwrap_or_else(|error| panic!("{context}: {error}"));
        let thread = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let count = &mut next[thread as usize];
        assert!(bytes == entry(thread, *count), "{context}: entry {count} of thread {thread} at {address}");
        *count += 1;
    }
    log.self_check().unwrap();
    next
}

/// Was: commit returned after microseconds, the data was durable much later.
#[test]
fn commit_is_durable() {
    for seed in 0..20 {
        let plan =
            FaultPlan::new().crash_fates(CrashFates::DROP_ALL).delay_by_time(0.5, Duration::from_millis(2));
        let device = FaultDevice::with_plan(seed, plan);
        let log = FasterLog::open(tiny(), device.clone()).unwrap();
        for number in 0..30 {
            let address = log.append(&entry(0, number)).unwrap();
            let durable = match number % 3 {
                0 => log.commit(),
                1 => log.wait_for_commit(address),
                _ => pollster::block_on(log.commit_async()),
            };
            assert!(durable.unwrap().until > address);
            // Power goes in this moment.
            let after = FasterLog::open(tiny(), device.snapshot_durable()).unwrap();
            assert_eq!(check_in_order(&after, 1, "after a power loss"), [number + 1]);
            assert_eq!(after.read_entry(address).unwrap(), Some(entry(0, number)));
        }
    }
}

/// Was: appends beyond the buffer overwrote pages that were not written yet, and all said Ok.
#[test]
fn log_backpressure() {
    const THREADS: u64 = 4;
    let plan = FaultPlan::new().delay_by_time(0.5, Duration::from_micros(300)).short_writes(0.1).reorder(0.5);
    let device = FaultDevice::with_plan(3, plan);
    let log = FasterLog::open(tiny(), device).unwrap();
    let refused = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (log, refused) = (&log, &refused);
            scope.spawn(move || {
                for number in 0..600 {
                    let bytes = entry(thread, number);
                    match number % 3 {
                        0 => drop(log.append(&bytes).unwrap()),
                        1 => drop(pollster::block_on(log.append_async(bytes)).unwrap()),
                        _ => {
                            while log.try_append(&bytes).unwrap().is_none() {
                                refused.store(true, Ordering::Relaxed);
                                std::thread::yield_now();
                            }
                        }
                    }
                }
            });
        }
    });
    log.commit().unwrap();
    assert!(refused.load(Ordering::Relaxed), "memory was never full");
    assert_eq!(check_in_order(&log, THREADS as usize, "many times the memory"), [600; THREADS as usize]);
    // Without a device there is nowhere to go: an error, and nothing is lost.
    let log = FasterLog::open(tiny(), NullDisk::new()).unwrap();
    let mut kept = 0;
    let full = loop {
        match log.append(&entry(0, kept)) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::OutOfMemory);
    log.commit().unwrap();
    assert_eq!(check_in_order(&log, 1, "in memory"), [kept]);
}

/// Was: a commit covered an entry that another thread was still copying.
#[test]
fn append_in_flight() {
    const THREADS: u64 = 3;
    const ROUNDS: u64 = 40;
    let device = FaultDevice::new(5);
    let config = FasterLogConfig { page_size: 1 << 16, ..tiny() };
    let log = FasterLog::open(config.clone(), device.clone()).unwrap();
    // Long entries: copying one takes as long as a commit. A few of each thread for every commit.
    let long = |thread: u64, number: u64| entry(thread, number).repeat(60);
    let rounds = AtomicU64::new(0);
    let mut seen = 0;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (log, rounds) = (&log, &rounds);
            scope.spawn(move || {
                for number in 0..ROUNDS * 5 {
                    while number > rounds.load(Ordering::Relaxed) * 5 {
                        std::thread::yield_now();
                    }
                    if number % 4 == 3 {
                        log.append_batch(&[long(thread, number), long(thread, number)]).unwrap();
                    } else {
                        log.append(&long(thread, number)).unwrap();
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            rounds.store(round + 1, Ordering::Relaxed);
            let info = log.commit().unwrap();
            let after = FasterLog::open(config.clone(), device.snapshot_durable()).unwrap();
            let check = after.self_check().unwrap();
            assert!(check.entries >= info.entries, "{check:?} of {info:?}");
            seen = check.entries;
        }
        rounds.store(u64::MAX / 5, Ordering::Relaxed);
    });
    assert!(seen > ROUNDS, "only {seen} entries: nothing was in flight");
}

/// Was: after a suffix was cut and shorter entries were written, an old entry was taken for a new one.
#[test]
fn old_entry_after_cut() {
    for fates in [CrashFates::KEEP_ALL, CrashFates::DROP_ALL, CrashFates::default()] {
        let device = FaultDevice::with_plan(8, FaultPlan::new().crash_fates(fates));
        let disk = device.disk();
        let mut log = FasterLog::open(tiny(), device).unwrap();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for round in 0..30_u64 {
            let start = log.tail_address();
            // Long ones, some of them committed, and then shorter ones in their place.
            for number in 0..20 {
                log.append(&vec![0xEE; 700 + (number * 13) as usize]).unwrap();
                if number == 11 {
                    log.commit().unwrap();
                }
            }
            if round % 3 == 0 {
                log.truncate_suffix(start).unwrap();
            } else if round % 3 == 1 {
                log.commit().unwrap();
                log.truncate_suffix(start).unwrap();
                let after = disk.crash(round);
                drop(log);
                log = FasterLog::open(tiny(), after).unwrap();
            } else {
                // What was committed stays; the rest is abandoned by a crash.
                expected.extend((0..12).map(|number| vec![0xEE; 700 + number * 13]));
                let after = disk.crash(round);
                drop(log);
                log = FasterLog::open(tiny(), after).unwrap();
            }
            for number in 0..round % 5 {
                log.append(&entry(round, number)).unwrap();
                expected.push(entry(round, number));
            }
            log.commit().unwrap();
            let found: Vec<Vec<u8>> = log.scan(..).map(|found| found.unwrap().1).collect();
            assert!(found == expected, "round {round}, {fates:?}: {} of {}", found.len(), expected.len());
        }
        log.close().unwrap();
    }
}

/// Was: a scan stopped silently at the first bad entry.
#[test]
fn damage_below_commit() {
    let device = FaultDevice::with_plan(2, FaultPlan::new().crash_fates(CrashFates::KEEP_ALL));
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    let mut addresses = Vec::new();
    for number in 0..100 {
        addresses.push(log.append(&entry(0, number)).unwrap());
        if number % 10 == 9 {
            log.commit().unwrap();
        }
    }
    // A torn tail: appended, partly written, never committed. The scan ends cleanly and says so.
    for number in 100..300 {
        log.append(&entry(0, number)).unwrap();
    }
    let after = device.crash(1);
    drop(log);
    let log = FasterLog::open(tiny(), after.clone()).unwrap();
    assert_eq!(check_in_order(&log, 1, "torn tail"), [100]);
    assert!(
        matches!(log.scan(..).finish().unwrap(), ScanEnd::TornTail { cut_off_bytes } if cut_off_bytes > 0)
    );
    log.append(&entry(0, 100)).unwrap();
    log.close().unwrap();
    let disk = after.disk();
    drop((log, after));
    // A damaged entry below the committed address: an error with its address, at every way to it.
    let device = disk.open().unwrap();
    for victim in [0, 37, 99] {
        assert!(device.flip_bit(addresses[victim].byte_offset() + 12, 1));
        let log = FasterLog::open(tiny(), device.snapshot_durable()).unwrap();
        let mut scan = log.scan(..);
        assert_eq!(scan.by_ref().take_while(Result::is_ok).count(), victim);
        let error = scan.finish().unwrap_err();
        assert_eq!((error.kind(), error.address()), (ErrorKind::Corruption, Some(addresses[victim])));
        let mut all = log.scan_all();
        assert_eq!(all.by_ref().count(), victim);
        assert_eq!(all.finish().unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(log.read_entry(addresses[victim]).unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(log.self_check().unwrap_err().kind(), ErrorKind::Corruption);
        assert!(device.flip_bit(addresses[victim].byte_offset() + 12, 1));
    }
}

/// Was: "entry does not fit on page", from deep inside.
#[test]
fn oversized_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.log");
    let config = FasterLogConfig { page_size: 4096, memory_pages: 64, ..Default::default() };
    let log = FasterLog::open(config.clone(), FileSystemDisk::single_file(&path).unwrap()).unwrap();
    let most = config.entry_bytes_max();
    assert!(most > 20 * config.page_size, "entries larger than a page are allowed");
    let sizes = [4095, 4096, 4097, 10_000, most, most - 1, 0];
    for (number, size) in sizes.iter().enumerate() {
        let address = log.append(&vec![number as u8; *size]).unwrap();
        log.commit().unwrap();
        assert!(log.read_entry(address).unwrap() == Some(vec![number as u8; *size]));
    }
    let error = log.append(&vec![0; most + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&most.to_string()), "{error}");
    let error = log.append_batch(&[vec![0; most], vec![0; 100]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    drop(log);
    // A log with less memory reads them all the same.
    let log = FasterLog::open(tiny(), FileSystemDisk::single_file(&path).unwrap()).unwrap();
    let found: Vec<usize> = log.scan_all().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(found, sizes);
}

/// Was: after old segments were deleted, opening the log again failed or lost data.
#[test]
fn truncate_then_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let device = FileSystemDisk::segmented(folder.path(), "events", 64 << 10).unwrap();
        let policy = CommitPolicy::EveryBytes(10_000);
        FasterLog::open(FasterLogConfig { commit_policy: policy, ..tiny() }, device).unwrap()
    };
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let mut first = 0_u64;
    for life in 0..6_u64 {
        let log = open();
        assert_eq!(log.first_entry_number(), first);
        let found: Vec<Vec<u8>> = log.scan(..).map(|found| found.unwrap().1).collect();
        let expected: Vec<Vec<u8>> = (first..life * 500).map(|number| entry(0, number)).collect();
        assert!(found == expected, "life {life}: {} of {} entries", found.len(), expected.len());
        let addresses: Vec<Address> =
            (life * 500..life * 500 + 500).map(|number| log.append(&entry(0, number)).unwrap()).collect();
        log.commit().unwrap();
        let before = files();
        first = life * 500 + 490;
        log.truncate_before(addresses[490]).unwrap();
        assert!(files() < before, "life {life}: {} of {before} files are left", files());
        assert_eq!(log.entry(first - 1).unwrap(), None);
        assert_eq!(log.entry(first).unwrap(), Some(entry(0, first)));
        if life % 2 == 0 {
            log.close().unwrap();
        }
    }
    assert!(files() <= 5, "{} files for a few entries", files());
}
