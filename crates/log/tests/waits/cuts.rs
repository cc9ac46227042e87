//! Dropping suffixes: again and again, beside commits, and beside the metadata that the log writes on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use oxifaster_core::{Address, ErrorKind};
use oxifaster_device::fault::{CrashFates, FaultDevice, FaultPlan};
use oxifaster_log::{FasterLog, FasterLogConfig};

use crate::strange::Strange;

/// 64 KiB in memory.
fn small() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(16)
}

/// Appends one entry that stays and one that goes.
fn cut_once(log: &FasterLog, number: u64) -> Result<Address, oxifaster_core::Error> {
    let kept = log.append(&number.to_le_bytes())?;
    let dropped = log.append(b"dropped")?;
    log.truncate_suffix(dropped).map(|()| kept)
}

/// The table of incarnations has a limit. A cut that does not fit it says so and changes nothing; what was there can be opened again, and
/// truncating the front makes room.
#[test]
fn a_cut_that_does_not_fit_is_refused_and_nothing_is_lost() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    let mut kept = Vec::new();
    let error = loop {
        match cut_once(&log, kept.len() as u64) {
            Ok(address) => kept.push(address),
            Err(error) => break error,
        }
        assert!(kept.len() <= 2000, "no limit");
    };
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    assert_eq!(kept.len(), 1499, "the limit is documented");
    // The entries of the refused cut are still there, and committed as any others.
    log.commit().unwrap();
    assert_eq!(log.scan(..).count(), kept.len() + 2);
    // Dropping more than one stretch needs fewer rows than there are.
    log.truncate_suffix(kept[1000]).unwrap();
    kept.truncate(1000);
    assert_eq!(log.scan(..).count(), kept.len());
    // Full again.
    while kept.len() < 1499 {
        kept.push(cut_once(&log, kept.len() as u64).unwrap());
    }
    log.append_and_commit(b"acknowledged").unwrap();
    drop(log);
    // After a crash, and after a close.
    for image in [device.crash(7), device.reopen()] {
        let log = FasterLog::open(small(), image.clone()).unwrap();
        assert_eq!(log.scan(..).count(), kept.len() + 1);
        assert_eq!(log.entry(kept.len() as u64).unwrap().unwrap(), b"acknowledged");
        log.self_check().unwrap();
        assert_eq!(cut_once(&log, 0).unwrap_err().kind(), ErrorKind::OutOfSpace);
        log.truncate_before(kept[1400]).unwrap();
        cut_once(&log, 0).unwrap();
        log.self_check().unwrap();
        drop(log);
        FasterLog::open(small(), image.reopen()).unwrap().self_check().unwrap();
    }
}

/// What a log of consensus does: it cuts for ever, and forgets its front now and then.
#[test]
fn cuts_without_end_fit() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    // Nothing is kept between cuts: they share a row.
    for _ in 0..1_600 {
        let dropped = log.append(b"dropped").unwrap();
        log.truncate_suffix(dropped).unwrap();
    }
    // Something is kept between cuts: rows go with the front.
    for number in 0..1_600 {
        let kept = cut_once(&log, number).unwrap();
        if number % 400 == 399 {
            log.truncate_before(kept).unwrap();
        }
    }
    assert_eq!(log.scan(..).count(), 1);
    log.close().unwrap();
    let log = FasterLog::open(small(), device.reopen()).unwrap();
    assert_eq!(log.entry(1_599).unwrap().unwrap(), 1_599_u64.to_le_bytes());
}

/// A device whose metadata writes take so many milliseconds.
fn slow_metadata(inner: &FaultDevice) -> (Arc<AtomicU64>, Strange) {
    let ms = Arc::new(AtomicU64::new(0));
    let takes = Arc::clone(&ms);
    let wait = move || std::thread::sleep(Duration::from_millis(takes.load(Ordering::SeqCst)));
    (ms, Strange::new(inner).before_metadata(wait))
}

/// Whoever asks for a commit while a suffix is dropped gets one, without anybody asking for another.
#[test]
fn a_commit_that_is_asked_for_during_a_cut_returns() {
    for with_cookie in [true, false] {
        let (ms, device) = slow_metadata(&FaultDevice::new(1));
        let log = Arc::new(FasterLog::open(small(), device).unwrap());
        let addresses: Vec<Address> =
            (0..10_u64).map(|number| log.append(&number.to_le_bytes()).unwrap()).collect();
        log.commit().unwrap();
        let mut iterator = log.named_iterator("consumer").unwrap();
        iterator.try_next().unwrap();
        ms.store(200, Ordering::SeqCst);
        let (returned, returns) = mpsc::channel();
        let committer = Arc::clone(&log);
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let outcome = if with_cookie {
                committer.commit_with_cookie(b"cookie")
            } else {
                iterator.complete().unwrap();
                committer.commit()
            };
            returned.send(outcome).unwrap();
        });
        log.truncate_suffix(addresses[5]).unwrap();
        let info = returns.recv_timeout(Duration::from_secs(10)).expect("the commit never returns").unwrap();
        thread.join().unwrap();
        assert_eq!(info.entries, 5);
        if with_cookie {
            assert_eq!(info.cookie, b"cookie");
        } else {
            assert!(log.position("consumer").unwrap() > addresses[0]);
        }
    }
}

/// The syncer brings the metadata of an idle log up to date on its own. When that falls together with a cut it must not write the new
/// time line beside the commit from before the cut. (Most likely to fail on one processor.)
#[test]
fn idle_metadata_beside_a_cut_are_of_one_time_line() {
    for round in 0..3 {
        let plan = FaultPlan::new().crash_fates(CrashFates::KEEP_ALL);
        let fault = FaultDevice::with_plan(round, plan);
        let (ms, device) = slow_metadata(&fault);
        let log = FasterLog::open(small(), device).unwrap();
        let addresses: Vec<Address> =
            (0..10_u64).map(|number| log.append(&number.to_le_bytes()).unwrap()).collect();
        log.commit().unwrap();
        // Longer than a log is idle before the syncer writes: it waits for the cut.
        ms.store(350, Ordering::SeqCst);
        log.truncate_suffix(addresses[5]).unwrap();
        ms.store(0, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        log.append_and_commit(b"acknowledged").unwrap();
        let log = FasterLog::open(small(), fault.crash(round)).unwrap();
        let entries: Vec<Vec<u8>> = log.scan(..).map(|found| found.unwrap().1).collect();
        assert_eq!(entries.len(), 6);
        assert_eq!(entries[5], b"acknowledged");
    }
}
