//! A log that is left without being closed, thousands of times: it is written again every time, and every block verifies.
//!
//! Each such end starts a time line, whose number the metadata keep for as long as blocks of it exist
//! (`docs/format/metadata.md`). Their table has an end; behind it the device is cut instead.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, in its helpers too, and has small numbers"
)]

use std::sync::Arc;

use oxifaster_core::Address;
use oxifaster_core::epoch::LightEpoch;
use oxifaster_core::hlog::{HybridLog, HybridLogConfig, OpenedLog, OwnerFacts};
use oxifaster_core::sync::atomic::Ordering;
use oxifaster_device::fault::{FaultDevice, FaultDisk, FaultPlan, Trigger};
use oxifaster_device::local::with_local_queue;

const ENDS: u64 = 5100;
const ROWS_MAX: usize = 1500;

fn opened(device: FaultDevice) -> OpenedLog {
    let config = HybridLogConfig {
        page_size_bits: 16,
        memory_bytes: 6 << 16,
        mutable_fraction: 0.9,
        checksum_cache_bytes: 64 << 10,
        read_buffer_bytes: 1 << 20,
    };
    let facts = OwnerFacts { hash_kind: 1, table_bits: 1, key_codec: 1, value_codec: 1 };
    let opened = HybridLog::open(&config, Arc::new(device), LightEpoch::new(), |_| Ok(facts)).unwrap();
    let (log, layout) = (&opened.log, opened.log.layout());
    let tail = log.metadata().consistent_tail;
    let pages = layout.page_of(log.ring().head())..layout.page_of(tail) + 1;
    with_local_queue(log.device().as_ref(), |queue| {
        for page in pages.filter(|&page| opened.existed && layout.start_of(page) < tail) {
            log.load_page(queue, page, tail, true).unwrap();
        }
    })
    .unwrap();
    opened
}

fn open(device: FaultDevice) -> Arc<HybridLog> {
    opened(device).start().unwrap()
}

/// Appends `words` words of `value`; where they lie.
fn append(log: &HybridLog, words: u64, value: u64) -> Address {
    let mut participant = log.ring().epoch().register();
    loop {
        let guard = participant.enter();
        if let Ok(address) = log.allocate(&guard, words) {
            let taken = log.ring().words(&guard, address);
            taken.iter().take(words as usize).for_each(|word| word.store(value, Ordering::Relaxed));
            return address;
        }
        drop(guard);
        log.make_room(words).unwrap();
    }
}

/// Leaves a log as a killed process does.
fn kill(log: Arc<HybridLog>) {
    log.stop_maintenance();
    drop(log);
}

/// The word at each address, read from the device and verified.
fn expect(log: &HybridLog, values: &[(Address, u64)]) {
    let (layout, tail) = (log.layout(), log.metadata().consistent_tail);
    with_local_queue(log.device().as_ref(), |queue| {
        let mut image = None;
        for (address, value) in values {
            let page = layout.page_of(*address);
            if image.as_ref().is_none_or(|(read, _)| *read != page) {
                image = Some((page, log.load_page(queue, page, tail, false).unwrap()));
            }
            let (_, image) = image.as_ref().unwrap();
            let word = &image.words()[layout.offset_of(*address) as usize];
            assert_eq!(word.load(Ordering::Relaxed), *value, "at {address}");
        }
    })
    .unwrap();
}

/// Leaves the log `ends` times and checks that the table of time lines stays within its bounds.
fn leave_often(disk: &FaultDisk, mut log: Arc<HybridLog>, ends: u64) -> Arc<HybridLog> {
    let mut values = Vec::new();
    for end in 0..ends {
        values.push((append(&log, 8, end), end));
        log.flush().unwrap();
        kill(log);
        log = open(disk.open().unwrap());
        let rows = log.metadata().incarnations.len();
        assert_eq!(rows, ROWS_MAX.min(end as usize + 1), "after {end} ends");
    }
    expect(&log, &values);
    log
}

/// How many of the four pages behind the one of the consistent tail verify: as they would if a write there got lost.
fn pages_that_verify_behind(log: &HybridLog) -> usize {
    let layout = log.layout();
    let first = layout.page_of(log.metadata().consistent_tail) + 1;
    with_local_queue(log.device().as_ref(), |queue| {
        let verifies = |page: &u64| log.load_page(queue, *page, layout.start_of(*page + 1), false).is_ok();
        (first..first + 4).filter(verifies).count()
    })
    .unwrap()
}

/// What lies behind the end of a log whose table is full never counts as written by whoever comes next.
fn nothing_abandoned_comes_back(disk: &FaultDisk, mut log: Arc<HybridLog>) -> Arc<HybridLog> {
    for round in 0..3 {
        append(&log, 8, round);
        log.flush().unwrap();
        for _ in 0..40 {
            append(&log, 4000, u64::MAX);
        }
        kill(log);
        let reopened = opened(disk.open().unwrap());
        assert_eq!(pages_that_verify_behind(&reopened.log), 4, "there is something to come back");
        log = reopened.start().unwrap();
        append(&log, 8, round);
        log.flush().unwrap();
        kill(log);
        let reopened = opened(disk.crash(round));
        assert_eq!(pages_that_verify_behind(&reopened.log), 0, "round {round}");
        assert_eq!(reopened.log.metadata().incarnations.len(), ROWS_MAX);
        drop(reopened);
        log = open(disk.open().unwrap());
    }
    log
}

/// The device can't be synced behind the cut: nothing is written, and who asks is told.
fn a_failed_cut_writes_nothing(disk: &FaultDisk, log: Arc<HybridLog>) {
    let before = log.metadata();
    let writes = disk.traffic().writes;
    disk.set_plan(FaultPlan::new().fail_syncs(Trigger::nth(1)));
    append(&log, 8, 1);
    log.flush().unwrap_err();
    assert_eq!((disk.traffic().writes, log.metadata()), (writes, before.clone()));
    kill(log);
    disk.set_plan(FaultPlan::new());
    let log = open(disk.open().unwrap());
    assert_eq!(log.metadata(), before);
    append(&log, 8, 1);
    log.close().unwrap();
}

#[test]
fn thousands_of_unclean_ends() {
    let device = FaultDevice::new(1);
    let disk = device.disk();
    let log = leave_often(&disk, open(device), ENDS);
    let log = nothing_abandoned_comes_back(&disk, log);
    a_failed_cut_writes_nothing(&disk, log);
}

/// A close that fails at its last slot leaves the log open, and the slot, which says that the log ends cleanly, may be on the
/// device all the same. Blocks that are written then must not be taken for ones of a log that ended.
#[test]
fn a_log_that_goes_on_after_a_failed_close_does_not_look_closed() {
    let mut said_clean = 0;
    for seed in 0..12 {
        let device = FaultDevice::new(seed);
        let disk = device.disk();
        let log = open(device.clone());
        append(&log, 100, 1);
        device.set_plan(FaultPlan::new().fail_metadata_writes(Trigger::nth(3)));
        log.close().unwrap_err();
        let looks_closed = opened(device.snapshot_durable()).log.metadata().clean;
        said_clean += u32::from(looks_closed);
        let written = log.io().writes;
        while log.io().writes == written {
            append(&log, 1000, 2);
        }
        let before = log.metadata();
        log.abandon();
        drop((log, device));
        let found = opened(disk.crash(seed)).log.metadata();
        assert!(
            !found.clean,
            "seed {seed}: blocks were written behind the tail, looked closed: {looks_closed}"
        );
        assert_eq!(
            (found.consistent_tail, &found.incarnations),
            (before.consistent_tail, &before.incarnations)
        );
        assert_eq!(found.incarnations.len(), 2);
    }
    assert!((1..12).contains(&said_clean), "{said_clean} of 12 slots were valid although their write failed");
}

/// A log that is only looked at writes nothing, wherever it ends: also at the end of a page, which is the start of the next one,
/// whose first words hold no records.
#[test]
fn a_log_that_is_only_looked_at_writes_nothing() {
    for (words, ends_page, closed) in
        [(7680, true, true), (7680, true, false), (100, false, true), (100, false, false)]
    {
        let device = FaultDevice::new(1);
        let disk = device.disk();
        let log = open(device);
        append(&log, words, 1);
        log.flush().unwrap();
        if closed {
            log.close().unwrap();
        } else {
            log.abandon();
        }
        let before = log.metadata();
        assert_eq!(log.layout().offset_of(before.consistent_tail) == 0, ends_page);
        drop(log);
        let device = disk.crash(1);
        let traffic = device.traffic();
        let log = open(device.clone());
        log.close().unwrap();
        assert_eq!(log.metadata(), before);
        assert_eq!(device.traffic().changes, traffic.changes, "ends a page: {ends_page}, closed: {closed}");
    }
}
