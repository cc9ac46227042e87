//! Logs that commit by themselves: nothing is forgotten, nothing is done for nothing, and no wait is left without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use oxifaster_core::ErrorKind;
use oxifaster_device::fault::FaultDevice;
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
