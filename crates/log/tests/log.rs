//! What a log does when nothing goes wrong: appending, committing, reading, truncating, opening again.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a panic here is a failed test, also in the functions that tests share; numbers are small or patterns; tests wait in real time"
)]

use std::ops::Bound;
use std::time::Duration;

use oxifaster_core::{Address, ErrorKind};
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::{FileSystemDisk, NullDisk, StorageDevice};
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig, ScanEnd};

/// 64 KiB in memory.
fn small() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(16)
}

fn entry(number: u64) -> Vec<u8> {
    let len = usize::try_from(number * 37 % 300).unwrap();
    (0..len).map(|place| (number as u8).wrapping_mul(31).wrapping_add(place as u8)).collect()
}

fn all(log: &FasterLog) -> Vec<(Address, Vec<u8>)> {
    log.scan(..).map(|found| found.unwrap()).collect()
}

fn write_and_reopen(open: impl Fn() -> FasterLog) {
    let mut expected = Vec::new();
    for life in 0..3 {
        let log = open();
        assert_eq!(log.recovery_report().created, life == 0);
        assert!(log.recovery_report().clean || life == 0, "{:?}", log.recovery_report());
        assert_eq!(all(&log), expected);
        for number in 0..1000 {
            let bytes = entry(life * 1000 + number);
            let address = log.append(&bytes).unwrap();
            expected.push((address, bytes));
            if number % 100 == 99 {
                let info = log.commit().unwrap();
                assert_eq!(info.entries, expected.len() as u64);
                assert!(log.committed_address() > address);
            }
        }
        assert_eq!(all(&log), expected);
        let check = log.self_check().unwrap();
        assert_eq!(check.entries, expected.len() as u64);
        for (number, (address, bytes)) in (0..).zip(&expected).step_by(97) {
            assert_eq!(log.read_entry(*address).unwrap().as_ref(), Some(bytes));
            assert_eq!(log.address_of(number).unwrap(), Some(*address));
            assert_eq!(log.entry(number).unwrap().as_ref(), Some(bytes));
        }
        assert_eq!(log.entry(expected.len() as u64).unwrap(), None);
        log.close().unwrap();
    }
}

#[test]
fn a_single_file_is_written_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.log");
    write_and_reopen(|| FasterLog::open(small(), FileSystemDisk::single_file(&path).unwrap()).unwrap());
}

#[test]
fn segments_are_written_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    write_and_reopen(|| {
        let device = FileSystemDisk::segmented(folder.path(), "events", 64 << 10).unwrap();
        FasterLog::open(small(), device).unwrap()
    });
}

#[test]
fn a_null_device_keeps_the_log_in_memory_until_it_is_full() {
    let log = FasterLog::open(small(), NullDisk::new()).unwrap();
    let mut addresses = Vec::new();
    let error = loop {
        match log.append(&[7; 100]) {
            Ok(address) => addresses.push(address),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_eq!(log.try_append(&[7; 100]).unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert!(addresses.len() > 400, "{} entries", addresses.len());
    // A full log can still be committed, read, and truncated.
    assert_eq!(log.commit().unwrap().entries, addresses.len() as u64);
    assert_eq!(all(&log).len(), addresses.len());
    log.truncate_before(addresses[100]).unwrap();
    assert_eq!(log.first_entry_number(), 100);
    assert_eq!(log.read_entry(addresses[99]).unwrap(), None);
    log.append(&[8; 100]).unwrap();
    log.commit().unwrap();
    assert_eq!(all(&log).len(), addresses.len() - 99);
    assert_eq!(log.entry(100).unwrap(), Some(vec![7; 100]));
    assert_eq!(log.entry(addresses.len() as u64).unwrap(), Some(vec![8; 100]));
    log.self_check().unwrap();
}

#[test]
fn uncommitted_entries_can_be_read_by_address_and_are_not_scanned() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let address = log.append(b"not yet").unwrap();
    assert_eq!(log.read_entry(address).unwrap().as_deref(), Some(&b"not yet"[..]));
    assert_eq!(log.scan_all().count(), 0);
    assert_eq!(log.scan(..).finish().unwrap(), ScanEnd::EndOfLog);
    log.commit().unwrap();
    assert_eq!(log.scan_all().count(), 1);
    let behind = log.tail_address();
    assert_eq!(log.read_entry(behind).unwrap(), None);
    assert_eq!(log.read_entry(Address::new(1)).unwrap(), None);
    assert_eq!(log.wait_for_commit(behind).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(log.scan(..address).finish().unwrap(), ScanEnd::EndOfRange);
}

#[test]
fn empty_and_very_long_entries() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let most = log.config().entry_bytes_max();
    assert!(most > 4 * log.config().page_size);
    let entries = [vec![], vec![1; most], vec![], vec![2; most - 1], vec![3; 1], vec![4; 9000]];
    let addresses: Vec<Address> = entries.iter().map(|entry| log.append(entry).unwrap()).collect();
    assert_eq!(log.append(&vec![0; most + 1]).unwrap_err().kind(), ErrorKind::InvalidInput);
    log.commit().unwrap();
    let found: Vec<Vec<u8>> = log.scan_all().map(|(_, entry)| entry).collect();
    assert!(found == entries);
    for (address, entry) in addresses.iter().zip(&entries) {
        assert!(log.read_entry(*address).unwrap().as_ref() == Some(entry));
    }
}

#[test]
fn threads_append_without_losing_anything() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5000;
    let device = FaultDevice::new(3);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..EACH {
                    let mut bytes = vec![thread as u8];
                    bytes.extend_from_slice(&number.to_le_bytes());
                    bytes.extend_from_slice(&entry(number));
                    let address = if number % 3 == 0 {
                        log.append_batch(&[&bytes]).unwrap()[0]
                    } else {
                        log.append(&bytes).unwrap()
                    };
                    if number % 500 == 0 {
                        log.wait_for_commit(address).unwrap();
                        assert!(log.committed_address() > address);
                    }
                }
            });
        }
    });
    log.commit().unwrap();
    let mut next = [0; THREADS as usize];
    for (_, bytes) in log.scan_all() {
        let thread = usize::from(bytes[0]);
        let number = u64::from_le_bytes(bytes[1..9].try_into().unwrap());
        assert_eq!(number, next[thread], "in the order of each thread");
        assert_eq!(bytes[9..], entry(number));
        next[thread] += 1;
    }
    assert_eq!(next, [EACH; THREADS as usize]);
    log.self_check().unwrap();
}

#[test]
fn policies_commit_by_themselves() {
    for policy in [CommitPolicy::Every(Duration::from_millis(2)), CommitPolicy::EveryBytes(1000)] {
        let log = FasterLog::open(small().with_commit_policy(policy), FaultDevice::new(1)).unwrap();
        for _ in 0..3 {
            let mut last = Address::NULL;
            for number in 0..40 {
                last = log.append(&entry(number)).unwrap();
            }
            // What lies below the last step of bytes waits for a request.
            let covered =
                if policy == CommitPolicy::EveryBytes(1000) { last.words() - 200 } else { last.words() };
            let mut rounds = 0;
            while log.committed_address().words() <= covered {
                std::thread::sleep(Duration::from_millis(1));
                rounds += 1;
                assert!(rounds < 5000, "{policy:?}: {} of {covered}", log.committed_address());
            }
        }
    }
}

#[test]
fn cookies_and_positions_come_back() {
    let device = FaultDevice::new(1);
    let disk = device.disk();
    let log = FasterLog::open(small(), device).unwrap();
    let address = log.append(b"one").unwrap();
    log.set_position("reader", Some(address)).unwrap();
    assert_eq!(log.position("reader"), None, "not before a commit");
    let info = log.commit_with_cookie(b"term 1").unwrap();
    assert_eq!(info.cookie, b"term 1");
    assert_eq!(log.position("reader"), Some(address));
    log.append(b"two").unwrap();
    let later = log.commit().unwrap();
    assert_eq!((later.number, later.cookie.as_slice()), (info.number + 1, &b"term 1"[..]));
    // A cookie alone is worth a commit.
    log.commit_with_cookie(b"term 2").unwrap();
    assert_eq!(log.commit_with_cookie(&[0; 5000]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(log.set_position(&"n".repeat(65), Some(address)).unwrap_err().kind(), ErrorKind::InvalidInput);
    let log = {
        drop(log);
        FasterLog::open(small(), disk.open().unwrap()).unwrap()
    };
    assert_eq!(log.commit_info().cookie, b"term 2");
    assert_eq!(log.position("reader"), Some(address));
    log.set_position("reader", None).unwrap();
    log.commit().unwrap();
    assert_eq!(log.position("reader"), None);
    // And after a crash, from the commit record.
    log.set_position("other", Some(address)).unwrap();
    log.commit_with_cookie(b"term 3").unwrap();
    let after = disk.crash(5);
    let log = FasterLog::open(small(), after).unwrap();
    assert_eq!(log.commit_info().cookie, b"term 3");
    assert_eq!((log.position("other"), log.position("reader")), (Some(address), None));
}

#[test]
fn batches_lie_next_to_each_other() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let batch: Vec<Vec<u8>> = (0..20).map(entry).collect();
    let addresses = log.append_batch(&batch).unwrap();
    log.commit().unwrap();
    let found: Vec<_> = addresses.into_iter().zip(batch).collect();
    assert_eq!(all(&log), found);
    assert!(log.append_batch::<&[u8]>(&[]).unwrap().is_empty());
    let too_much = vec![vec![0; 10_000]; 5];
    assert_eq!(log.append_batch(&too_much).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn suffixes_are_cut_and_never_come_back() {
    let device = FaultDevice::new(1);
    let disk = device.disk();
    let log = FasterLog::open(small(), device).unwrap();
    let mut expected: Vec<(Address, Vec<u8>)> = Vec::new();
    for round in 0..40_u64 {
        for number in 0..30 {
            let bytes = entry(round * 30 + number);
            expected.push((log.append(&bytes).unwrap(), bytes));
            if number % 7 == 6 {
                log.commit().unwrap();
            }
        }
        let keep = expected.len() - usize::try_from(round * 13 % 50).unwrap().min(expected.len());
        let cut = expected.get(keep).map_or(log.tail_address(), |(address, _)| *address);
        log.truncate_suffix(cut).unwrap();
        expected.truncate(keep);
        assert_eq!(all(&log), expected, "round {round}");
        assert_eq!(log.commit_info().entries, expected.len() as u64);
        assert_eq!(log.read_entry(cut).unwrap(), None);
        log.self_check().unwrap();
        if let Some((address, bytes)) = expected.last() {
            let last = expected.len() as u64 - 1;
            assert_eq!(log.address_of(last).unwrap(), Some(*address));
            assert_eq!(log.entry(last).unwrap().as_ref(), Some(bytes));
        }
    }
    let reopened = FasterLog::open(small(), disk.crash(7)).unwrap();
    assert_eq!(all(&reopened), expected);
    assert_eq!(log.append(b"x").map_err(|error| error.kind()).err(), None);
    assert_eq!(log.truncate_suffix(Address::new(1)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn cutting_all_of_a_log_leaves_an_empty_one() {
    let device = FaultDevice::new(1);
    let disk = device.disk();
    let log = FasterLog::open(small(), device).unwrap();
    log.append(b"one").unwrap();
    log.commit().unwrap();
    log.truncate_suffix(log.begin_address()).unwrap();
    assert_eq!(all(&log), []);
    let kept = log.append(b"two").unwrap();
    log.commit().unwrap();
    assert_eq!(all(&log), [(kept, b"two".to_vec())]);
    assert_eq!(log.entry(0).unwrap(), Some(b"two".to_vec()));
    drop(log);
    let log = FasterLog::open(small(), disk.open().unwrap()).unwrap();
    assert_eq!(all(&log), [(kept, b"two".to_vec())]);
    assert_eq!(log.truncate_suffix(kept.plus(1)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_tail_follows_and_ends_with_the_log() {
    use std::future::poll_fn;
    use std::pin::Pin;

    use futures_core::Stream;
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let mut tail = log.tail(Address::NULL);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = Vec::new();
            while let Some(found) =
                pollster::block_on(poll_fn(|context| Pin::new(&mut tail).poll_next(context)))
            {
                seen.push(found.unwrap().1);
            }
            seen
        });
        for number in 0..2000 {
            log.append(&entry(number)).unwrap();
            if number % 50 == 0 {
                pollster::block_on(log.commit_async()).unwrap();
            }
        }
        let address = pollster::block_on(log.append_async(b"last".to_vec())).unwrap();
        pollster::block_on(log.wait_for_commit_async(address).unwrap()).unwrap();
        log.close().unwrap();
        let seen = reader.join().unwrap();
        let mut expected: Vec<Vec<u8>> = (0..2000).map(entry).collect();
        expected.push(b"last".to_vec());
        assert!(seen == expected, "{} of {} entries", seen.len(), expected.len());
    });
}

#[test]
fn a_closed_log_refuses_and_is_still_readable() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let address = log.append(b"one").unwrap();
    log.close().unwrap();
    log.close().unwrap();
    assert_eq!(log.append(b"two").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.try_append(b"two").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.append_batch(&[b"two"]).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(pollster::block_on(log.append_async(b"two")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.truncate_before(address).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.read_entry(address).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(log.commit().map(|info| info.entries).unwrap(), 1, "nothing is left to commit");
}

#[test]
fn other_content_is_refused_and_left_alone() {
    let device = FaultDevice::new(1);
    device.overwrite_metadata(oxifaster_device::MetadataSlot::Even, b"somebody's letters");
    let error = FasterLog::open(small(), device.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(device.traffic().metadata_writes, 0);
    assert_eq!(device.space_use().unwrap().end_offset, 0);
}

#[test]
fn truncation_gives_space_back_and_keeps_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let device = FileSystemDisk::segmented(folder.path(), "events", 64 << 10).unwrap();
        FasterLog::open(small(), device).unwrap()
    };
    let log = open();
    let addresses: Vec<Address> = (0..4000).map(|number| log.append(&entry(number)).unwrap()).collect();
    assert_eq!(log.truncate_before(log.tail_address()).unwrap_err().kind(), ErrorKind::InvalidInput);
    log.commit().unwrap();
    let segments = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = segments();
    log.truncate_before(addresses[3000]).unwrap();
    assert!(segments() + 4 < before, "{} of {before} files are left", segments());
    assert_eq!(log.first_entry_number(), 3000);
    assert_eq!(log.begin_address(), addresses[3000]);
    assert_eq!(log.truncate_before(addresses[3001].plus(1)).unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(log);
    let log = open();
    assert_eq!(log.first_entry_number(), 3000);
    assert_eq!(log.scan_all().count(), 1000);
    assert_eq!(log.entry(3500).unwrap(), Some(entry(3500)));
    assert_eq!(log.entry(2999).unwrap(), None);
    log.self_check().unwrap();
}

#[test]
fn a_range_that_excludes_its_first_entry_begins_behind_it() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let addresses: Vec<Address> =
        (0..5_u64).map(|number| log.append(&vec![1; 20 * number as usize]).unwrap()).collect();
    log.commit().unwrap();
    let found = |range: (Bound<Address>, Bound<Address>)| {
        let mut scan = log.scan(range);
        let found: Vec<Address> = scan.by_ref().map(|found| found.unwrap().0).collect();
        scan.finish().unwrap();
        found
    };
    for (number, address) in addresses.iter().enumerate() {
        assert_eq!(found((Bound::Excluded(*address), Bound::Unbounded)), addresses[number + 1..]);
        assert_eq!(found((Bound::Included(*address), Bound::Included(addresses[4]))), addresses[number..]);
    }
    assert_eq!(found((Bound::Excluded(addresses[1]), Bound::Excluded(addresses[3]))), [addresses[2]]);
    assert_eq!(found((Bound::Excluded(addresses[1]), Bound::Included(addresses[3]))), addresses[2..4]);
    assert!(found((Bound::Excluded(log.tail_address()), Bound::Unbounded)).is_empty());
    // Below the begin nothing is left out.
    log.truncate_before(addresses[2]).unwrap();
    assert_eq!(found((Bound::Excluded(addresses[1]), Bound::Unbounded)), addresses[2..]);
}
