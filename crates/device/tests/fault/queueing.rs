//! Order, delay and depth of a queue, and what other threads do meanwhile.

use std::time::Duration;

use oxifaster_device::fault::{CrashFates, CrashPoint, FaultDevice, FaultPlan, Trigger};
use oxifaster_device::sync::thread;
use oxifaster_device::{BLOCK_BYTES, DeviceErrorKind, IoOperation, QueueOptions, StorageDevice, Wait};

use crate::driver::{Driver, kind, stamped, stamped_bytes};

const BLOCK: u64 = BLOCK_BYTES as u64;

fn tags(completions: &[oxifaster_device::Completion]) -> Vec<u64> {
    completions.iter().map(|completion| completion.tag).collect()
}

#[test]
fn completions_come_in_seeded_order_each_once() {
    let run = |seed| {
        let device = FaultDevice::with_plan(seed, FaultPlan::new().reorder(1.0).delay_by_reaps(0.3, 5));
        let mut driver = Driver::new(&device);
        for tag in 0..40 {
            driver.submit(tag, tag * BLOCK, IoOperation::Write(stamped(tag, 1)));
        }
        let order = tags(&driver.drain());
        assert!(device.counts().reordered_batches > 0 && device.counts().delayed > 0);
        for tag in 0..40 {
            assert_eq!(driver.read(tag * BLOCK, 1).unwrap().1, stamped_bytes(tag, 1));
        }
        order
    };
    let order = run(5);
    assert_eq!(order, run(5));
    assert_ne!(order, run(6));
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    assert_ne!(order, sorted);
}

#[test]
fn a_waiting_reap_never_hangs_when_everything_is_delayed() {
    let by_reaps = FaultPlan::new().delay_by_reaps(1.0, 1_000_000_000);
    let by_time = FaultPlan::new().delay_by_time(1.0, Duration::from_millis(2));
    for plan in [by_reaps, by_time] {
        let device = FaultDevice::with_plan(3, plan);
        let mut driver = Driver::new(&device);
        for tag in 0..20 {
            driver.submit(tag, 0, IoOperation::Write(stamped(tag, 1)));
        }
        let mut completions = Vec::new();
        assert_eq!(driver.queue.reap(Wait::No, &mut completions).unwrap(), completions.len());
        completions.extend(driver.drain());
        assert_eq!(completions.len(), 20);
        assert_eq!(device.counts().delayed, 20);
    }
    let device = FaultDevice::new(1);
    assert_eq!(Driver::new(&device).queue.reap(Wait::ForOne, &mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_delayed_request_comes_after_further_reaps() {
    let device = FaultDevice::with_plan(3, FaultPlan::new().delay_by_reaps(1.0, 1));
    let mut driver = Driver::new(&device);
    driver.submit(1, 0, IoOperation::Write(stamped(1, 1)));
    let mut completions = Vec::new();
    assert_eq!(driver.queue.reap(Wait::No, &mut completions).unwrap(), 0);
    assert!(device.written_ranges().is_empty(), "a write in flight is not seen by readers");
    assert_eq!(driver.queue.in_flight(), 1);
    assert_eq!(driver.queue.reap(Wait::No, &mut completions).unwrap(), 1);
    assert_eq!(device.written_ranges().len(), 1);
}

#[test]
fn depth_limits_what_is_started() {
    let device = FaultDevice::new(1);
    let mut queue = device.open_queue(QueueOptions { depth: 4 }).unwrap();
    for tag in 0..10 {
        let operation = IoOperation::Write(stamped(tag, 1));
        queue.submit(oxifaster_device::IoRequest { tag, offset: tag * BLOCK, operation }).unwrap();
    }
    queue.kick().unwrap();
    assert_eq!(device.traffic().writes, 4);
    let mut completions = Vec::new();
    while queue.in_flight() > 0 {
        assert!(queue.reap(Wait::ForOne, &mut completions).unwrap() <= 4);
    }
    assert_eq!(tags(&completions), (0..10).collect::<Vec<_>>());
    assert_eq!(kind(device.open_queue(QueueOptions { depth: 0 })), DeviceErrorKind::InvalidRequest);
}

#[test]
fn a_sync_covers_only_what_was_reapable_when_it_was_submitted() {
    let device = FaultDevice::with_plan(1, FaultPlan::new().crash_fates(CrashFates::DROP_ALL));
    let mut driver = Driver::new(&device);
    driver.submit(0, 0, IoOperation::Write(stamped(1, 1)));
    driver.queue.kick().unwrap();
    // Reapable though not reaped: covered. Submitted together with the sync, or after it: not.
    driver.submit(1, BLOCK, IoOperation::Write(stamped(2, 1)));
    driver.submit(2, 0, IoOperation::Sync);
    driver.submit(3, 2 * BLOCK, IoOperation::Write(stamped(3, 1)));
    assert!(driver.drain().iter().all(|completion| completion.result.is_ok()));
    assert_eq!(device.unsynced_changes(), 2);
    assert_eq!(device.snapshot_durable().written_ranges(), vec![0..BLOCK]);
    assert_eq!(device.crash(1).written_ranges(), vec![0..BLOCK]);
}

#[test]
fn a_write_in_flight_at_a_crash_may_be_on_the_device() {
    let plan = FaultPlan::new().delay_by_reaps(1.0, 10).crash_fates(CrashFates::KEEP_ALL);
    let device = FaultDevice::with_plan(1, plan);
    let mut driver = Driver::new(&device);
    driver.submit(0, 0, IoOperation::Write(stamped(1, 1)));
    driver.queue.kick().unwrap();
    assert!(device.written_ranges().is_empty());
    let after = device.crash(1);
    assert_eq!(after.read_bytes(0, BLOCK_BYTES), stamped_bytes(1, 1));
    let completion = driver.drain().remove(0);
    assert_eq!(kind(completion.result), DeviceErrorKind::Closed);
    assert_eq!(device.crash(1).read_bytes(0, BLOCK_BYTES), stamped_bytes(1, 1));
}

#[test]
fn dropping_a_queue_finishes_what_was_submitted_and_frees_the_memory() {
    let device = FaultDevice::with_plan(1, FaultPlan::new().delay_by_reaps(1.0, 10));
    let buffer = stamped(1, 1);
    let mut driver = Driver::new(&device);
    driver.submit(0, 0, IoOperation::Write(buffer.clone()));
    driver.queue.kick().unwrap();
    driver.submit(1, BLOCK, IoOperation::Write(stamped(2, 1)));
    drop(driver);
    assert_eq!(device.read_bytes(0, BLOCK_BYTES), stamped_bytes(1, 1));
    assert_eq!(device.read_bytes(BLOCK, BLOCK_BYTES), stamped_bytes(2, 1));
    assert_eq!(std::sync::Arc::strong_count(buffer.memory()), 1);
    assert!(device.snapshot_durable().written_ranges().is_empty(), "a drop never syncs");
}

/// A thread writes and syncs until the device is taken from it: what it saw synced must be there afterwards.
#[test]
fn a_crash_under_a_running_thread_keeps_what_it_synced() {
    for seed in 0..30 {
        let plan = FaultPlan::new().reorder(0.5).delay_by_reaps(0.2, 3).short_reads(0.1);
        let device = FaultDevice::with_plan(seed, plan);
        let theirs = device.clone();
        let writer = thread::spawn("writer", move || {
            let mut driver = Driver::new(&theirs);
            for synced in 0.. {
                let result = driver.write(synced * BLOCK, synced, 1).and_then(|_| driver.sync());
                if let Err(error) = result {
                    assert_eq!(error.kind(), DeviceErrorKind::Closed);
                    return synced;
                }
            }
            0
        })
        .unwrap();
        while device.traffic().syncs < 20 {
            thread::yield_now();
        }
        let after = device.crash(seed);
        let synced = writer.join().unwrap();
        assert!(synced >= 19);
        for n in 0..synced {
            assert_eq!(
                after.read_bytes(n * BLOCK, BLOCK_BYTES),
                stamped_bytes(n, 1),
                "seed {seed}, block {n}"
            );
        }
        assert!(after.written_ranges().last().is_some_and(|range| range.end <= (synced + 1) * BLOCK));
    }
}

#[test]
fn a_closed_device_answers_every_request_with_closed() {
    let device = FaultDevice::with_plan(1, FaultPlan::new().fail_reads(Trigger::NEVER));
    let mut driver = Driver::new(&device);
    driver.write(0, 1, 1).unwrap();
    device.close();
    assert_eq!(kind(driver.write(0, 2, 1)), DeviceErrorKind::Closed);
    assert_eq!(kind(driver.read(0, 1)), DeviceErrorKind::Closed);
    assert_eq!(kind(driver.sync()), DeviceErrorKind::Closed);
    assert_eq!(kind(device.open_queue(QueueOptions::default())), DeviceErrorKind::Closed);
    assert_eq!(kind(device.truncate_before(0)), DeviceErrorKind::Closed);
    assert_eq!(device.counts().closed_refusals, 5);
    assert!(device.snapshot_durable().written_ranges().is_empty(), "a close never syncs");
}

#[test]
fn a_queue_outlives_its_device_and_completes_with_closed() {
    let device = FaultDevice::new(1);
    let clone = device.clone();
    let witness = device.identity().witness();
    let mut driver = Driver::new(&device);
    assert!(!witness.recognises(device.crash(1).identity()), "a crashed device is another device");
    let mut driver_of_next = Driver::new(&device.reopen());
    assert_eq!(kind(driver_of_next.write(0, 1, 1)), DeviceErrorKind::Closed);
    drop(device);
    assert!(witness.is_alive() && witness.recognises(clone.identity()));
    drop(clone);
    assert!(!witness.is_alive(), "a queue kept its device alive");
    assert_eq!(kind(driver.write(0, 1, 1)), DeviceErrorKind::Closed);
}

#[test]
fn a_disk_has_one_owner_and_follows_its_device() {
    let device = FaultDevice::new(1).with_reserved_bytes(BLOCK);
    let disk = device.disk();
    let clone = device.clone();
    let mut driver = Driver::new(&device);
    driver.write(BLOCK, 1, 1).unwrap();
    drop(device);
    assert_eq!(kind(disk.open()), DeviceErrorKind::Locked, "a clone is left");
    drop(clone);
    let second = disk.open().unwrap();
    assert_eq!(kind(disk.open()), DeviceErrorKind::Locked);
    assert_eq!(kind(driver.write(BLOCK, 2, 1)), DeviceErrorKind::Closed);
    assert_eq!(second.geometry().reserved_bytes, BLOCK);
    assert_eq!(second.read_bytes(BLOCK, BLOCK_BYTES), stamped_bytes(1, 1));
    assert_eq!(second.unsynced_changes(), 1, "a restart makes nothing durable");

    // The owner crashes by itself; the disk goes with it.
    second.change_plan(|plan| plan.crash_fates(CrashFates::DROP_ALL));
    let third = second.crash(1);
    drop(second);
    assert_eq!(kind(disk.open()), DeviceErrorKind::Locked);
    disk.set_plan(FaultPlan::new().crash_at(CrashPoint::AfterWrites(1)));
    let mut driver = Driver::new(&third);
    driver.write(BLOCK, 3, 1).unwrap();
    drop(third);
    assert_eq!(kind(disk.open()), DeviceErrorKind::Locked, "power loss must be played out");
    drop(disk.crash(2));
    let last = disk.open().unwrap();
    assert_eq!((last.unsynced_changes(), disk.counts().crashes, disk.traffic().writes), (0, 2, 2));
}
