//! The asynchronous forms: batches, appends that are durable when they are ready, and waiting for room.
#![expect(
    clippy::unwrap_used,
    reason = "a panic here is a failed test, also in the functions that tests share"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use oxifaster_core::ErrorKind;
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_log::{FasterLog, FasterLogConfig};

/// 32 KiB in memory.
fn tiny() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(8)
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_batch_as_a_future_is_a_batch() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    let mut expected = Vec::new();
    // Several times the memory: it has to wait.
    for round in 0..40_u8 {
        let entries: Vec<Vec<u8>> = (0..7_u8).map(|number| vec![round; 50 * usize::from(number)]).collect();
        let addresses = pollster::block_on(log.append_batch_async(entries.clone())).unwrap();
        let next =
            addresses.iter().zip(&entries).map(|(at, entry)| at.words() + 1 + entry.len().div_ceil(8) as u64);
        let next: Vec<u64> = next.collect();
        let starts: Vec<u64> = addresses.iter().skip(1).map(|at| at.words()).collect();
        assert_eq!(next.get(..6).unwrap(), starts, "next to each other");
        expected.extend(addresses.into_iter().zip(entries));
    }
    assert_eq!(pollster::block_on(log.append_batch_async(Vec::<Vec<u8>>::new())).unwrap(), []);
    let error = pollster::block_on(log.append_batch_async([vec![0; 3000], vec![0; 3000]])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    log.commit().unwrap();
    let found: Vec<_> = log.scan(..).map(Result::unwrap).collect();
    assert_eq!(found, expected);
    log.close().unwrap();
    let error = pollster::block_on(log.append_batch_async(["late"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn append_and_commit_is_durable_when_it_is_ready() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    let address = pollster::block_on(log.append_and_commit_async("acknowledged")).unwrap();
    assert!(address < log.committed_address());
    let crashed = FasterLog::open(tiny(), device.snapshot_durable()).unwrap();
    assert_eq!(crashed.read_entry(address).unwrap().unwrap(), b"acknowledged");
    // Polled once and dropped: appended, and committed all the same.
    let mut future = log.append_and_commit_async("dropped");
    let waker = Waker::from(Arc::new(Counting::default()));
    let polled = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
    drop(future);
    if polled.is_pending() {
        let mut tail = log.tail(address);
        for expected in ["acknowledged", "dropped"] {
            let found =
                std::future::poll_fn(|context| futures_core::Stream::poll_next(Pin::new(&mut tail), context));
            assert_eq!(pollster::block_on(found).unwrap().unwrap().1, expected.as_bytes());
        }
    }
    device.set_plan(FaultPlan::new().fail_syncs(Trigger::ALWAYS));
    let error = pollster::block_on(log.append_and_commit_async("lost")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
}

/// Whoever polls a future that waits for room again and again is woken once, not once for each poll; a dropped one is not woken.
#[test]
fn a_future_that_waits_for_room_is_registered_once() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(tiny(), device.clone()).unwrap();
    device.set_plan(FaultPlan::new().delay_by_time(1.0, Duration::from_millis(400)));
    while log.try_append(&[0; 1000]).unwrap().is_some() {}
    let (woken, never) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
    let (waker, unused) = (Waker::from(Arc::clone(&woken)), Waker::from(Arc::clone(&never)));
    let mut dropped = log.append_async(vec![2; 1000]);
    let mut future = log.append_async(vec![1; 1000]);
    let mut polls = 0;
    let pending = Pin::new(&mut dropped).poll(&mut Context::from_waker(&unused)).is_pending();
    drop(dropped);
    while polls < 500 {
        if let Poll::Ready(done) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            done.unwrap();
            break;
        }
        polls += 1;
    }
    if polls == 500 {
        pollster::block_on(future).unwrap();
    }
    log.commit().unwrap();
    assert!(
        woken.0.load(Ordering::SeqCst) < 50,
        "{} wakes for {polls} polls",
        woken.0.load(Ordering::SeqCst)
    );
    assert!(!pending || never.0.load(Ordering::SeqCst) == 0, "a dropped future was woken");
}
