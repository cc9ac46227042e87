//! Logs that commit by themselves: nothing is forgotten, nothing is done for nothing, and no wait is left without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use oxifaster_core::ErrorKind;
use oxifaster_device::NullDisk;
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig};

use crate::strange::Strange;

fn with_policy(policy: CommitPolicy) -> FasterLogConfig {
    FasterLogConfig::default().with_commit_policy(policy)
}

/// Waits until `done`, and says whether that came.
fn soon(done: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    while !done() {
        if since.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// A commit that is wanted by the policy while as many are in flight as may be is made when one of them is durable, not forgotten.
#[test]
fn every_so_many_bytes_holds_when_commits_are_slow() {
    const STEP: u64 = 64 << 10;
    for in_flight in [1, 4] {
        let config = FasterLogConfig {
            commits_in_flight_max: in_flight,
            ..with_policy(CommitPolicy::EveryBytes(STEP))
        };
        let log = FasterLog::open(
            config,
            Strange::new(&FaultDevice::new(1)).sync_takes(Duration::from_millis(150)),
        )
        .unwrap();
        // More than a step each time, while the first commits are being synced.
        for _ in 0..8 {
            for _ in 0..600 {
                log.append(&[1; 120]).unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let open = || log.tail_address().byte_offset() - log.committed_address().byte_offset();
        assert!(soon(|| open() < 2 * STEP), "{in_flight} in flight: {} bytes are not committed", open());
    }
}

/// A commit that failed is made in its time, without anybody who asks or appends.
#[test]
fn every_so_often_holds_when_a_write_has_failed() {
    let device = FaultDevice::new(1);
    let log =
        FasterLog::open(with_policy(CommitPolicy::Every(Duration::from_millis(5))), device.clone()).unwrap();
    log.append_and_commit(b"the metadata are written").unwrap();
    device.set_plan(FaultPlan::new().fail_writes(Trigger::nth(1)));
    let address = log.append(b"x").unwrap();
    assert!(soon(|| log.committed_address() > address), "the commit was forgotten");
    assert_eq!(device.counts().write_errors, 1);
}

/// A commit by bytes that failed is made when appenders have come further, without anybody who asks.
#[test]
fn every_so_many_bytes_holds_when_a_write_has_failed() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(with_policy(CommitPolicy::EveryBytes(8192)), device.clone()).unwrap();
    log.append_and_commit(b"the metadata are written").unwrap();
    device.set_plan(FaultPlan::new().fail_writes(Trigger::nth(1)));
    let first = log.append(&[1; 500]).unwrap();
    let append = || {
        for _ in 0..20 {
            log.append(&[1; 500]).unwrap();
        }
    };
    append();
    assert!(soon(|| device.counts().write_errors == 1), "nothing was written");
    append();
    assert!(soon(|| log.committed_address() > first), "the commit was forgotten");
}

/// A log in memory that was full commits by bytes again when its front is gone.
#[test]
fn every_so_many_bytes_holds_when_memory_was_full() {
    let config = with_policy(CommitPolicy::EveryBytes(4096)).with_page_size(4096).with_memory_pages(8);
    let log = FasterLog::open(config, NullDisk::new()).unwrap();
    let mut last = log.begin_address();
    while let Ok(Some(address)) = log.try_append(&[7; 500]) {
        last = address;
    }
    let commits = (0..1000).take_while(|_| log.commit_with_cookie(&[1; 1000]).is_ok()).count();
    assert!(commits < 1000, "there is room without end");
    log.truncate_before(last).unwrap();
    log.commit().unwrap();
    let first = log.append(&[8; 500]).unwrap();
    for _ in 0..20 {
        log.append(&[8; 500]).unwrap();
    }
    assert!(soon(|| log.committed_address() > first), "nothing is committed any more");
}

#[test]
fn an_interval_longer_than_any_clock_is_no_interval() {
    let log = FasterLog::open(with_policy(CommitPolicy::Every(Duration::MAX)), FaultDevice::new(1)).unwrap();
    log.append(b"x").unwrap();
    let (told, answer) = mpsc::channel();
    let log = Arc::new(log);
    let committer = Arc::clone(&log);
    std::thread::spawn(move || told.send(committer.commit().is_ok()).unwrap());
    assert!(answer.recv_timeout(Duration::from_secs(10)).expect("the commit never returns"));
}

#[test]
fn a_panic_of_the_writing_thread_ends_every_wait() {
    let panics = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&panics);
    let device = Strange::new(&FaultDevice::new(1))
        .before_metadata(move || assert!(!asked.load(Ordering::SeqCst), "a planted panic in the device"));
    let log = Arc::new(FasterLog::open(FasterLogConfig::default(), device).unwrap());
    log.append(b"x").unwrap();
    panics.store(true, Ordering::SeqCst);
    let (told, answer) = mpsc::channel();
    let committer = Arc::clone(&log);
    std::thread::spawn(move || told.send(committer.commit()).unwrap());
    let error = answer.recv_timeout(Duration::from_secs(10)).expect("the commit never returns").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
    assert_eq!(log.append(b"y").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Poisoned);
}
