//! Streams of what is not committed yet: all entries in order, woken by appends and by nothing else, until the log ends.
#![expect(
    clippy::unwrap_used,
    reason = "a panic here is a failed test, also in the functions that tests share"
)]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use oxifaster_core::sync::thread;
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_device::{FileSystemDisk, NullDisk};
use oxifaster_log::{FasterLog, FasterLogConfig, LogTail};

type Found = Option<Result<(Address, Vec<u8>), Error>>;

/// 64 KiB in memory.
fn small() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(16)
}

fn entry(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + usize::try_from(number * 37 % 700).unwrap(), number.to_le_bytes()[0]);
    bytes
}

fn next(tail: &mut LogTail) -> Found {
    pollster::block_on(poll_fn(|context| Pin::new(&mut *tail).poll_next(context)))
}

#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn poll(self: &Arc<Self>, tail: &mut LogTail) -> Poll<Found> {
        let waker = Waker::from(Arc::clone(self));
        Pin::new(tail).poll_next(&mut Context::from_waker(&waker))
    }

    fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn an_append_wakes_a_stream_once_and_nothing_else_does() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let (mut tail, mut other) = (log.tail_uncommitted(Address::NULL), log.tail_uncommitted(Address::NULL));
    let (count, others) = (Arc::new(Count::default()), Arc::new(Count::default()));
    assert!(count.poll(&mut tail).is_pending());
    assert!(others.poll(&mut other).is_pending());
    thread::sleep(Duration::from_millis(20));
    log.commit_with_cookie(b"no entry").unwrap();
    assert_eq!((count.woken(), others.woken()), (0, 0), "woken for nothing");
    let first = log.append(b"one").unwrap();
    assert_eq!((count.woken(), others.woken()), (1, 1));
    let second = log.append_batch(&[b"two", b"3rd"]).unwrap()[0];
    log.try_append(b"4th").unwrap().unwrap();
    assert_eq!((count.woken(), others.woken()), (1, 1), "a stream that does not wait costs nothing");
    assert!(first >= log.committed_address(), "not committed");
    assert_eq!(tail.try_next().unwrap(), Some((first, b"one".to_vec())));
    assert_eq!(next(&mut tail).unwrap().unwrap(), (second, b"two".to_vec()));
    for expected in [b"3rd", b"4th"] {
        assert_eq!(next(&mut tail).unwrap().unwrap().1, expected);
    }
    assert_eq!(tail.try_next().unwrap(), None);
    assert_eq!(tail.position(), log.tail_address());
    // Neither a stream that is gone, nor one that is polled twice, is woken more than it waits.
    drop(other);
    assert!(count.poll(&mut tail).is_pending() && count.poll(&mut tail).is_pending());
    pollster::block_on(log.append_async(b"5th".to_vec())).unwrap();
    assert_eq!((count.woken(), others.woken()), (2, 1));
    assert!(count.poll(&mut tail).is_ready());
    assert!(count.poll(&mut tail).is_pending());
    log.append_batch(&[b"6th"]).unwrap();
    assert_eq!(count.woken(), 3);
}

#[test]
fn everything_comes_in_order_whoever_appends_and_wherever_it_lies() {
    const EACH: u64 = 3000;
    // Much more than the memory holds, mostly without commits: what is written and not committed is shown, too.
    let folder = tempfile::tempdir().unwrap();
    let log =
        FasterLog::open(small(), FileSystemDisk::single_file(folder.path().join("log")).unwrap()).unwrap();
    let mut tails: Vec<LogTail> = (0..2).map(|_| log.tail_uncommitted(Address::NULL)).collect();
    let late = std::thread::scope(|scope| {
        let readers: Vec<_> = tails
            .drain(..)
            .map(|mut tail| {
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    while let Some(found) = next(&mut tail) {
                        seen.push(found.unwrap());
                    }
                    seen
                })
            })
            .collect();
        let appenders: Vec<_> = [1, 2]
            .map(|thread| {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..EACH {
                        log.append(&entry(number * 2 + thread)).unwrap();
                        if number % 1000 == 999 {
                            log.commit().unwrap();
                        }
                        // So that streams catch up, and wait, now and then.
                        if number % 100 == 99 {
                            thread::sleep(Duration::from_micros(300));
                        }
                    }
                })
            })
            .into_iter()
            .collect();
        appenders.into_iter().for_each(|appender| appender.join().unwrap());
        let late = log.tail_uncommitted(Address::NULL);
        log.close().unwrap();
        let expected: Vec<_> = log.scan(..).map(Result::unwrap).collect();
        assert_eq!(expected.len() as u64, 2 * EACH);
        for reader in readers {
            let seen = reader.join().unwrap();
            assert!(seen == expected, "{} of {} entries", seen.len(), expected.len());
        }
        late
    });
    let mut late = late;
    assert_eq!(std::iter::from_fn(|| next(&mut late)).filter(Result::is_ok).count() as u64, 2 * EACH);
}

#[test]
fn what_is_written_and_never_committed_is_shown_from_the_device() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    let mut tail = log.tail_uncommitted(Address::NULL);
    // Five times the memory; without a commit.
    for number in 0..1000 {
        log.append(&entry(number)).unwrap();
    }
    assert_eq!((log.commit_info().number, device.traffic().reads), (0, 0));
    for number in 0..1000 {
        assert_eq!(next(&mut tail).unwrap().unwrap().1, entry(number));
    }
    assert_eq!(tail.try_next().unwrap(), None);
    assert!(device.traffic().reads > 0);
}

#[test]
fn what_is_appended_before_the_end_is_shown_and_then_the_end() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let mut tail = log.tail_uncommitted(Address::NULL);
    let count = Arc::new(Count::default());
    assert!(count.poll(&mut tail).is_pending());
    log.append(b"one").unwrap();
    assert!(count.poll(&mut tail).is_ready());
    assert!(count.poll(&mut tail).is_pending());
    log.append(b"two").unwrap();
    log.close().unwrap();
    assert!(matches!(count.poll(&mut tail), Poll::Ready(Some(Ok((_, two)))) if two == b"two"));
    assert!(matches!(count.poll(&mut tail), Poll::Ready(None)));
    assert!(matches!(count.poll(&mut tail), Poll::Ready(None)), "ended is ended");
}

#[test]
fn a_waiting_stream_is_told_that_the_log_is_closed_or_poisoned() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    let (mut tail, count) = (log.tail_uncommitted(Address::NULL), Arc::new(Count::default()));
    log.append(b"one").unwrap();
    assert!(count.poll(&mut tail).is_ready());
    assert!(count.poll(&mut tail).is_pending());
    device.set_plan(FaultPlan::new().fail_syncs(Trigger::from_nth(1)));
    log.append(b"two").unwrap();
    assert_eq!(log.commit().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(next(&mut tail).unwrap().unwrap().1, b"two", "it was appended, whatever became of it");
    assert_eq!(next(&mut tail).unwrap().unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(next(&mut tail).is_none());

    let log = FasterLog::open(small(), NullDisk::new()).unwrap();
    let (mut tail, count) = (log.tail_uncommitted(Address::NULL), Arc::new(Count::default()));
    assert!(count.poll(&mut tail).is_pending());
    drop(log);
    assert_eq!(count.woken(), 1);
    assert!(matches!(count.poll(&mut tail), Poll::Ready(None)));
}

#[test]
fn a_failed_write_does_not_end_a_stream() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    let mut tail = log.tail_uncommitted(Address::NULL);
    device.set_plan(FaultPlan::new().fail_writes(Trigger::from_nth(1)));
    log.append(b"one").unwrap();
    assert!(log.commit().is_err());
    assert_eq!(next(&mut tail).unwrap().unwrap().1, b"one");
    device.set_plan(FaultPlan::new());
    log.append(b"two").unwrap();
    log.commit().unwrap();
    assert_eq!(next(&mut tail).unwrap().unwrap().1, b"two");
}

#[test]
fn what_a_cut_dropped_is_not_returned_behind_it() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    let addresses: Vec<Address> = (0..10).map(|number| log.append(&entry(number)).unwrap()).collect();
    let mut streams = [log.tail(Address::NULL), log.tail_uncommitted(Address::NULL)];
    let mut waiting = log.tail_uncommitted(Address::NULL);
    log.commit().unwrap();
    for address in &addresses {
        assert_eq!(next(&mut waiting).unwrap().unwrap().0, *address);
    }
    let count = Arc::new(Count::default());
    assert!(count.poll(&mut waiting).is_pending());
    for tail in &mut streams {
        // They have all ten in their windows now.
        assert_eq!(next(tail).unwrap().unwrap().0, addresses[0]);
    }
    log.truncate_suffix(addresses[3]).unwrap();
    let after = log.append(b"after").unwrap();
    assert_eq!(count.woken(), 1);
    log.commit().unwrap();
    for tail in &mut streams {
        for kept in &addresses[1..3] {
            assert_eq!(next(tail).unwrap().unwrap().0, *kept);
        }
        assert_eq!(next(tail).unwrap().unwrap(), (after, b"after".to_vec()));
    }
    // What it has returned stays returned.
    assert_eq!(next(&mut waiting).unwrap().unwrap(), (after, b"after".to_vec()));
    // Everything that a stream has not seen is dropped, with nothing behind it.
    let last = log.append(b"dropped").unwrap();
    log.truncate_suffix(last).unwrap();
    assert_eq!(streams[1].try_next().unwrap(), None);
    assert!(count.poll(&mut waiting).is_pending());
    let again = log.append(b"again").unwrap();
    assert_eq!(next(&mut waiting).unwrap().unwrap().0, again);
    assert_eq!(streams[1].try_next().unwrap(), Some((again, b"again".to_vec())));
}

#[test]
fn a_stream_that_lags_behind_a_log_in_memory_is_told_of_truncation() {
    let log = FasterLog::open(small(), NullDisk::new()).unwrap();
    let addresses: Vec<Address> = (0..20).map(|number| log.append(&entry(number)).unwrap()).collect();
    let mut tail = log.tail_uncommitted(Address::NULL);
    log.commit().unwrap();
    log.truncate_before(addresses[10]).unwrap();
    assert_eq!(next(&mut tail).unwrap().unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut tail = log.tail_uncommitted(addresses[10]);
    for address in &addresses[10..] {
        assert_eq!(next(&mut tail).unwrap().unwrap().0, *address);
    }
    let mut nowhere = log.tail_uncommitted(addresses[10].plus(1));
    assert_eq!(next(&mut nowhere).unwrap().unwrap_err().kind(), ErrorKind::Corruption);
}
