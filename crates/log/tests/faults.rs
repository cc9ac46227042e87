//! What a log does when power goes, requests fail, space ends and bits turn.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a panic here is a failed test, also in the functions that tests share; numbers are small or patterns"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oxifaster_core::{Address, ErrorKind};
use oxifaster_device::device::METADATA_SLOT_BYTES;
use oxifaster_device::fault::{CrashFates, CrashPoint, FaultDevice, FaultPlan, Trigger};
use oxifaster_device::{BLOCK_BYTES, MetadataSlot, NullDisk, StorageDevice};
use oxifaster_log::{FasterLog, FasterLogConfig, ScanEnd};

/// 32 KiB in memory.
fn tiny() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(8)
}

fn entry(number: u64) -> Vec<u8> {
    let len = usize::try_from(number * 37 % 700).unwrap();
    (0..len).map(|place| (number as u8).wrapping_mul(31).wrapping_add(place as u8)).collect()
}

fn contents(log: &FasterLog) -> Vec<Vec<u8>> {
    log.scan(..).map(|found| found.unwrap().1).collect()
}

/// The entries are the first ones of `entry(0), entry(1), ..`, and at least so many.
fn assert_prefix(log: &FasterLog, at_least: u64, context: &str) -> u64 {
    let found = contents(log);
    let count = found.len() as u64;
    assert!(count >= at_least, "{context}: {count} of {at_least} acknowledged entries");
    for (number, bytes) in (0..).zip(&found) {
        assert!(*bytes == entry(number), "{context}: entry {number} is another one");
    }
    log.self_check().unwrap();
    count
}

/// Appends and commits for ever, until something fails; returns how many entries were acknowledged.
fn work(log: &FasterLog, mut number: u64, until: u64) -> u64 {
    let mut acknowledged = number;
    while number < until {
        if log.append(&entry(number)).is_err() {
            return acknowledged;
        }
        number += 1;
        if number.is_multiple_of(5) {
            if log.commit().is_err() {
                return acknowledged;
            }
            acknowledged = number;
        }
    }
    acknowledged
}

#[test]
fn every_crash_point_keeps_what_was_acknowledged() {
    for (seed, fates) in [(1, CrashFates::default()), (2, CrashFates::KEEP_ALL), (3, CrashFates::DROP_ALL)] {
        for point in 0..90 {
            let plan = FaultPlan::new().crash_fates(fates).crash_at(CrashPoint::AfterChanges(point));
            let device = FaultDevice::with_plan(seed, plan);
            let disk = device.disk();
            let acknowledged = match FasterLog::open(tiny(), device) {
                Ok(log) => work(&log, 0, 300),
                Err(_) => 0,
            };
            // It goes on after the crash, crashes again, and goes on.
            let mut known = acknowledged;
            for life in 0..3 {
                let context = format!("seed {seed}, point {point}, life {life}");
                let device = disk.crash(seed * 1000 + point * 7 + life);
                let log = FasterLog::open(tiny(), device).unwrap();
                known = assert_prefix(&log, known, &context);
                known = work(&log, known, known + 23);
            }
        }
    }
}

#[test]
fn old_entries_do_not_come_back_behind_a_shorter_new_end() {
    for seed in 0..20 {
        let plan = FaultPlan::new().crash_fates(CrashFates::KEEP_ALL);
        let device = FaultDevice::with_plan(seed, plan);
        let disk = device.disk();
        let log = FasterLog::open(tiny(), device).unwrap();
        log.append(b"first").unwrap();
        log.commit().unwrap();
        // Much that is written and never committed.
        for number in 0..200 {
            log.append(&entry(number)).unwrap();
        }
        let device = disk.crash(seed);
        drop(log);
        let log = FasterLog::open(tiny(), device).unwrap();
        assert!(log.recovery_report().cut_off_entries > 20, "{:?}", log.recovery_report());
        let end = log.scan(..).finish().unwrap();
        assert!(matches!(end, ScanEnd::TornTail { cut_off_bytes } if cut_off_bytes > 10_000), "{end:?}");
        log.append(b"second").unwrap();
        log.commit().unwrap();
        assert_eq!(log.scan(..).finish().unwrap(), ScanEnd::EndOfLog);
        let device = disk.crash(seed + 1);
        drop(log);
        let log = FasterLog::open(tiny(), device).unwrap();
        assert_eq!(contents(&log), [b"first".to_vec(), b"second".to_vec()]);
        assert_eq!(log.recovery_report().cut_off_entries, 0, "{:?}", log.recovery_report());
    }
}

#[test]
fn a_failed_sync_poisons_and_tells_every_waiter() {
    for poison in [true, false] {
        let device = FaultDevice::new(1);
        let disk = device.disk();
        let log = FasterLog::open(tiny(), device).unwrap();
        work(&log, 0, 10);
        disk.set_plan(FaultPlan::new().fail_syncs(Trigger::nth(1)).poison_on_failed_sync(poison));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                let log = &log;
                scope.spawn(move || {
                    let address = log.append(b"lost");
                    let outcome = address.and_then(|address| log.wait_for_commit(address));
                    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
                });
            }
        });
        assert_eq!(log.append(b"x").unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(log.commit().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(pollster::block_on(log.commit_async()).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(contents(&log).len(), 10, "what was committed can still be read");
        assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Poisoned);
        let device = disk.crash(3);
        drop(log);
        assert_prefix(&FasterLog::open(tiny(), device).unwrap(), 10, "after a failed sync");
    }
}

/// The sync inside of a metadata write is as final as one of the blocks, and its error is the only one that says so: the device
/// need not be asked for anything again before the next entry would be acknowledged.
#[test]
fn a_failed_metadata_sync_ends_the_log() {
    for poison in [true, false] {
        let device = FaultDevice::new(1);
        let disk = device.disk();
        let log = FasterLog::open(tiny(), device).unwrap();
        work(&log, 0, 10);
        let second = log.address_of(1).unwrap().unwrap();
        disk.set_plan(FaultPlan::new().fail_metadata_syncs(Trigger::nth(1)).poison_on_failed_sync(poison));
        assert_eq!(log.truncate_before(second).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(log.append(b"x").unwrap_err().kind(), ErrorKind::Poisoned, "device poisons: {poison}");
        let device = disk.crash(3);
        drop(log);
        assert_prefix(&FasterLog::open(tiny(), device).unwrap(), 10, "after a failed metadata sync");
    }
}

#[test]
fn each_failing_request_is_an_error_and_loses_nothing() {
    for number in 1..40 {
        for kind in 0..5 {
            let plan = FaultPlan::new();
            let plan = match kind {
                0 => plan.fail_writes(Trigger::nth(number)),
                1 => plan.fail_syncs(Trigger::nth(number)).poison_on_failed_sync(false),
                2 => plan.fail_metadata_writes(Trigger::nth(number)),
                3 => plan.fail_metadata_syncs(Trigger::nth(number)),
                _ => plan.short_writes(0.3).fail_writes(Trigger::from_nth(number)),
            };
            let device = FaultDevice::with_plan(number, plan);
            let disk = device.disk();
            let context = format!("request {number} of kind {kind}");
            let Ok(log) = FasterLog::open(tiny(), device) else { continue };
            let mut acknowledged = work(&log, 0, 120);
            if acknowledged < 120 && kind == 0 {
                // A write that failed is written by the next commit; nothing that was appended is missing.
                let info = log.commit().unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(info.entries >= acknowledged);
                acknowledged = info.entries;
                assert_prefix(&log, acknowledged, &context);
            }
            drop(log);
            let log = FasterLog::open(tiny(), disk.crash(number)).unwrap();
            assert_prefix(&log, acknowledged, &context);
        }
    }
}

#[test]
fn failing_reads_are_errors_and_not_ends() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    assert_eq!(work(&log, 0, 400), 400);
    for number in 1..=3 {
        device.set_plan(FaultPlan::new().fail_reads(Trigger::nth(number)));
        let outcome = log.scan(..).finish();
        let failed = device.counts().read_errors == number;
        assert!(failed && outcome.is_err(), "read {number}: {outcome:?}");
        device.set_plan(FaultPlan::new().short_reads(0.5));
        assert_prefix(&log, 400, "short reads");
    }
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let plan = FaultPlan::new().space_budget_bytes(48 << 10);
    let device = FaultDevice::with_plan(1, plan);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    let mut addresses = Vec::new();
    let error = loop {
        match log.append(&[addresses.len() as u8; 1000]) {
            Ok(address) => addresses.push(address),
            Err(error) => break error,
        }
        if addresses.len() == 20 {
            log.commit().unwrap();
        }
        assert!(addresses.len() < 1000, "the disk is never full");
    };
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert_eq!(log.commit().unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert_eq!(log.commit().unwrap_err().kind(), ErrorKind::OutOfSpace);
    device.change_plan(|plan| plan.space_unlimited());
    assert_eq!(log.commit().unwrap().entries, addresses.len() as u64);
    log.append(b"room again").unwrap();
    log.close().unwrap();
    let log = FasterLog::open(tiny(), device.reopen()).unwrap();
    let found = contents(&log);
    assert_eq!(found.len(), addresses.len() + 1);
    assert!(found.iter().zip(0..addresses.len()).all(|(bytes, number)| *bytes == [number as u8; 1000]));
}

/// What one does about a full disk: a commit failed, the front goes, and the same commit is asked for again.
#[test]
fn a_commit_that_failed_is_made_when_truncation_has_made_room() {
    let plan = FaultPlan::new().space_budget_bytes(16 << 10);
    let device = FaultDevice::with_plan(1, plan);
    let log = Arc::new(FasterLog::open(tiny(), device).unwrap());
    log.append(&[0; 4000]).unwrap();
    log.append(&[1; 4000]).unwrap();
    let third = log.append(&[2; 4000]).unwrap();
    log.commit().unwrap();
    log.append(&[3; 4000]).unwrap();
    log.append(&[4; 4000]).unwrap();
    assert_eq!(log.commit().unwrap_err().kind(), ErrorKind::OutOfSpace);
    log.truncate_before(third).unwrap();
    let (told, outcome) = std::sync::mpsc::channel();
    let other = Arc::clone(&log);
    std::thread::spawn(move || told.send(other.commit().map(|info| info.entries)));
    let outcome = outcome.recv_timeout(Duration::from_secs(20)).expect("the commit never returns");
    assert_eq!(outcome.unwrap(), 5);
}

#[test]
fn waiting_appenders_are_told_when_the_disk_is_full() {
    let plan = FaultPlan::new().space_budget_bytes(16 << 10);
    let device = FaultDevice::with_plan(1, plan);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let log = &log;
            scope.spawn(move || {
                let error = loop {
                    if let Err(error) = log.append(&[1; 500]) {
                        break error;
                    }
                };
                assert_eq!(error.kind(), ErrorKind::OutOfSpace);
                let error = loop {
                    if let Err(error) = pollster::block_on(log.append_async(vec![1; 500])) {
                        break error;
                    }
                };
                assert_eq!(error.kind(), ErrorKind::OutOfSpace);
            });
        }
    });
}

/// Appenders write far more than memory holds, while the device is slow and reorders.
/// The memory of a log without a device is all that there is of it, also when a commit finds no room.
#[test]
fn a_full_log_in_memory_keeps_its_entries() {
    let log = FasterLog::open(tiny(), NullDisk::new()).unwrap();
    let mut addresses = Vec::new();
    while let Ok(Some(address)) = log.try_append(&[7; 1000]) {
        addresses.push(address);
    }
    log.commit().unwrap();
    let mut commits = 0;
    while log.commit_with_cookie(&[1; 1000]).is_ok() {
        commits += 1;
        assert!(commits < 1000, "there is room without end");
    }
    assert!(addresses.len() > 25);
    for address in addresses {
        assert_eq!(log.read_entry(address).unwrap().unwrap(), [7; 1000]);
    }
    assert_eq!(log.try_append(&[7; 1000]).unwrap_err().kind(), ErrorKind::OutOfMemory);
}

/// Who never waits is told, too, and goes on when the device does.
#[test]
fn try_append_tells_why_there_is_no_room() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    log.append_and_commit(b"the metadata are written").unwrap();
    device.set_plan(FaultPlan::new().space_budget_bytes(0));
    let mut full = 0;
    let error = loop {
        match log.try_append(&[7; 1000]) {
            Ok(Some(_)) => {}
            Ok(None) => full += 1,
            Err(error) => break error,
        }
        assert!(full < 10_000, "never told");
        std::thread::sleep(Duration::from_micros(if full > 0 { 500 } else { 0 }));
    };
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    device.set_plan(FaultPlan::new());
    for _ in 0..10_000 {
        match log.try_append(b"room again") {
            Ok(Some(_)) => return log.commit().map(|_| ()).unwrap(),
            Ok(None) | Err(_) => std::thread::sleep(Duration::from_micros(500)),
        }
    }
    panic!("no room though the device has some");
}

#[test]
fn slow_devices_push_back() {
    let plan = FaultPlan::new()
        .reorder(0.5)
        .delay_by_reaps(0.5, 5)
        .delay_by_time(0.2, Duration::from_millis(1))
        .short_writes(0.1);
    let log = FasterLog::open(tiny(), FaultDevice::with_plan(5, plan)).unwrap();
    let full = AtomicBool::new(false);
    for number in 0..2000 {
        while log.try_append(&entry(number)).unwrap().is_none() {
            full.store(true, Ordering::Relaxed);
            std::thread::yield_now();
        }
    }
    assert!(full.load(Ordering::Relaxed), "never full: the test proves nothing");
    log.commit().unwrap();
    assert_eq!(assert_prefix(&log, 2000, "slow device"), 2000);
}

/// A log that was closed, with what it holds.
fn closed_log(entries: u64) -> FaultDevice {
    let device = FaultDevice::new(9);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    assert_eq!(work(&log, 0, entries), entries);
    log.close().unwrap();
    device
}

#[test]
fn damage_below_the_commit_is_an_error_with_its_address() {
    let device = closed_log(100);
    let log = FasterLog::open(tiny(), device.reopen()).unwrap();
    let addresses: Vec<Address> = log.scan(..).map(|found| found.unwrap().0).collect();
    let victim = addresses[50];
    drop(log);
    let device = device.disk().open().unwrap();
    assert!(device.flip_bit(victim.byte_offset() + 9, 3));
    let log = FasterLog::open(tiny(), device).unwrap();
    let found: Vec<_> = log.scan(..).collect();
    assert_eq!(found.len(), 51);
    let error = found.into_iter().next_back().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.address()), (ErrorKind::Corruption, Some(victim)));
    let mut all = log.scan_all();
    assert_eq!(all.by_ref().count(), 50);
    assert_eq!(all.finish().unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(log.read_entry(victim).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(log.self_check().unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(log.read_entry(addresses[51]).unwrap(), Some(entry(51)));
}

/// A log that was not closed: damage of an acknowledged commit, with later ones behind it, is refused and never cut off.
#[test]
fn damage_is_not_taken_for_a_torn_tail() {
    let device = FaultDevice::new(9);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    assert_eq!(work(&log, 0, 100), 100);
    let image = device.snapshot_durable();
    let addresses: Vec<Address> = log.scan(..).map(|found| found.unwrap().0).collect();
    let last_commit = addresses[95];
    for (place, victim) in addresses.iter().enumerate().step_by(9) {
        assert!(image.flip_bit(victim.byte_offset() + 2, 5));
        let opened = FasterLog::open(tiny(), image.clone());
        if *victim < last_commit {
            let error = opened.unwrap_err();
            assert_eq!(
                (error.kind(), error.address()),
                (ErrorKind::Corruption, Some(*victim)),
                "entry {place}"
            );
        }
        assert!(image.flip_bit(victim.byte_offset() + 2, 5));
    }
    let log = FasterLog::open(tiny(), image).unwrap();
    assert_prefix(&log, 100, "undamaged again");
}

/// A commit that a process wrote and did not live to sync is found by the next one, which shows it to others: it must be durable then.
#[test]
fn what_opening_shows_as_committed_is_durable() {
    let mut unsynced = 0;
    for seed in 0..300 {
        let plan = FaultPlan::new().crash_fates(CrashFates::DROP_ALL).delay_by_reaps(0.3, 3);
        let device = FaultDevice::with_plan(seed, plan);
        let log = FasterLog::open(tiny(), device.clone()).unwrap();
        let killed = std::thread::scope(|scope| {
            let worker = scope.spawn(|| work(&log, 0, 100_000));
            while log.commit_info().number <= seed % 7 {
                std::thread::yield_now();
            }
            // The process ends; what it wrote is still there.
            let killed = device.reopen();
            worker.join().unwrap();
            killed
        });
        drop(log);
        unsynced += u64::from(killed.unsynced_changes() > 0);
        let log = FasterLog::open(tiny(), killed.clone()).unwrap();
        let shown = assert_prefix(&log, 0, "after the kill");
        let crashed = killed.crash(seed);
        drop(log);
        assert_prefix(&FasterLog::open(tiny(), crashed).unwrap(), shown, "after the power loss");
    }
    assert!(unsynced > 5, "only {unsynced} kills between a write and its sync");
}

#[test]
fn one_lost_metadata_slot_loses_nothing() {
    let device = closed_log(60);
    for slot in MetadataSlot::ALL {
        let image = device.reopen().snapshot_durable();
        image.overwrite_metadata(slot, &vec![0xA5; METADATA_SLOT_BYTES]);
        let log = FasterLog::open(tiny(), image).unwrap();
        assert!(log.recovery_report().damaged_metadata_slot);
        assert_eq!(assert_prefix(&log, 60, "one slot"), 60);
    }
    let image = device.reopen().snapshot_durable();
    MetadataSlot::ALL
        .iter()
        .for_each(|slot| image.overwrite_metadata(*slot, &vec![0xA5; METADATA_SLOT_BYTES]));
    assert!(FasterLog::open(tiny(), image).is_err());
}

/// Blocks of an older state of the same log, put into other places and into the same place of a later time line.
#[test]
fn replayed_blocks_are_noticed() {
    let device = closed_log(80);
    let device = device.reopen();
    let end = device.space_use().unwrap().end_offset;
    let block = BLOCK_BYTES as u64;
    for from in (block..end).step_by(BLOCK_BYTES) {
        for to in (block..end).step_by(BLOCK_BYTES * 3).filter(|to| *to != from) {
            let image = device.snapshot_durable();
            let bytes = image.read_bytes(from, BLOCK_BYTES);
            if bytes == image.read_bytes(to, BLOCK_BYTES) {
                continue;
            }
            image.overwrite(to, &bytes);
            let log = FasterLog::open(tiny(), image).unwrap();
            let error = log.scan(..).finish().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "block {from} at {to}");
        }
    }
}

/// A file that lost its end below what was committed is damaged, however the log ended.
#[test]
fn a_shortened_log_is_refused_however_it_ended() {
    for closed in [true, false] {
        let device = FaultDevice::new(1);
        let log = FasterLog::open(tiny(), device.clone()).unwrap();
        for number in 0..100_u8 {
            log.append_and_commit(&[number; 400]).unwrap();
        }
        if closed {
            log.close().unwrap();
        } else {
            // The metadata of an idle log say what is durable.
            std::thread::sleep(Duration::from_millis(1500));
        }
        let end = device.snapshot_durable().space_use().unwrap().end_offset;
        for blocks in [1, 8, 100] {
            let image = device.snapshot_durable();
            image.truncate_after(end - blocks * BLOCK_BYTES as u64).unwrap();
            let error = FasterLog::open(tiny(), image.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{blocks} blocks: {error}");
            let error = FasterLog::open_read_only(image).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{blocks} blocks, a reader: {error}");
        }
        FasterLog::open(tiny(), device.snapshot_durable()).unwrap();
    }
}

/// Names and a cookie from a life with more memory make a commit record of two thirds of the memory of this one.
#[test]
fn a_commit_record_that_needs_most_of_the_memory_finds_room() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(FasterLogConfig::default(), device.clone()).unwrap();
    let address = log.append(b"x").unwrap();
    for number in 0..256 {
        log.set_position(&format!("{number:064}"), Some(address)).unwrap();
    }
    log.commit_with_cookie(&[7; 4096]).unwrap();
    log.close().unwrap();
    drop(log);
    let log = std::sync::Arc::new(FasterLog::open(tiny(), device.reopen()).unwrap());
    for _ in 0..64 {
        log.append(&[0; 2000]).unwrap();
    }
    // Whatever the place in a block.
    for _ in 0..8 {
        let (told, answer) = std::sync::mpsc::channel();
        let committer = std::sync::Arc::clone(&log);
        std::thread::spawn(move || told.send(committer.commit().is_ok()).unwrap());
        let answer = answer.recv_timeout(Duration::from_secs(10));
        assert!(answer.expect("the commit never returns"));
        for _ in 0..(log.tail_address().words() % 7) + 3 {
            log.append(&[0; 440]).unwrap();
        }
    }
    assert_eq!(log.commit_info().cookie, [7; 4096]);
    log.self_check().unwrap();
}
