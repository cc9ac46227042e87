//! Every stream ends with a reason: a closed log, a reader that gave up, a failed read, entries that were taken back.
#![expect(clippy::disallowed_methods, reason = "tests wait in real time")]

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::FileSystemDisk;
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_log::{FasterLog, FasterLogConfig, FasterLogReader, FasterLogReaderConfig, LogTail};

/// 64 KiB in memory.
fn small() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(16)
}

fn next(tail: &mut LogTail) -> Option<Result<(Address, Vec<u8>), Error>> {
    pollster::block_on(poll_fn(|context| Pin::new(&mut *tail).poll_next(context)))
}

#[test]
fn a_closed_log_says_so_behind_its_last_entry() {
    let log = FasterLog::open(small(), FaultDevice::new(1)).unwrap();
    log.append(b"one").unwrap();
    let mut tails = [log.tail(Address::NULL), log.tail_uncommitted(Address::NULL)];
    let mut iterator = log.named_iterator("consumer").unwrap();
    log.close().unwrap();
    for tail in &mut tails {
        assert_eq!(tail.try_next().unwrap().unwrap().1, b"one");
        assert_eq!(tail.try_next().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(tail.try_next().unwrap_err().kind(), ErrorKind::Closed, "it is told again");
        assert!(next(tail).is_none(), "for a stream a closed log is an end");
    }
    assert_eq!(iterator.try_next().unwrap().unwrap().1, b"one");
    assert_eq!(iterator.try_next().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_poisoned_log_says_so_behind_its_last_committed_entry() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    log.append_and_commit(b"one").unwrap();
    let mut tail = log.tail(Address::NULL);
    device.set_plan(FaultPlan::new().fail_syncs(Trigger::ALWAYS));
    log.append_and_commit(b"two").unwrap_err();
    assert_eq!(tail.try_next().unwrap().unwrap().1, b"one");
    assert_eq!(tail.try_next().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(next(&mut tail).unwrap().unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(next(&mut tail).is_none(), "an error is the end of a stream");
}

#[test]
fn a_failed_read_is_told_as_often_as_it_is_asked() {
    let device = FaultDevice::new(3);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    for number in 0..200_u8 {
        log.append(&[number; 2000]).unwrap();
    }
    log.commit().unwrap();
    let mut iterator = log.named_iterator("consumer").unwrap();
    device.set_plan(FaultPlan::new().fail_reads(Trigger::nth(1)));
    for _ in 0..3 {
        assert_eq!(iterator.try_next().unwrap_err().kind(), ErrorKind::Io);
    }
    // From where it stands another one goes on.
    drop(iterator);
    assert_eq!(log.named_iterator("consumer").unwrap().try_next().unwrap().unwrap().1, [0; 2000]);
}

#[test]
fn a_reader_that_gave_up_tells_its_tails_why() {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(small(), device.clone()).unwrap();
    log.append_and_commit(b"one").unwrap();
    let config = FasterLogReaderConfig::default().with_poll_interval(Duration::from_millis(1));
    let reader = FasterLogReader::open(config, device.clone()).unwrap();
    let mut tail = reader.tail(Address::NULL);
    assert_eq!(tail.try_next().unwrap().unwrap().1, b"one");
    device.set_plan(FaultPlan::new().fail_metadata_reads(Trigger::ALWAYS));
    let since = Instant::now();
    let error = loop {
        match tail.try_next() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(entry)) => panic!("nothing was committed: {entry:?}"),
            Err(error) => break error,
        }
        assert!(since.elapsed() < Duration::from_secs(30), "the tail says nothing");
    };
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(next(&mut tail).unwrap().unwrap_err().kind(), ErrorKind::Io);
}

/// A tail of a reader that lags is told of a cut as soon as its reader knows of it, not when it gets to the end of what it knew.
#[test]
fn a_lagging_tail_of_a_reader_returns_nothing_that_is_known_to_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let segmented = FileSystemDisk::segmented(folder.path(), "log", 64 << 10).unwrap();
    let log = FasterLog::open(small(), segmented).unwrap();
    let addresses: Vec<Address> =
        (0..100_u8).map(|number| log.append_and_commit(&[number; 100]).unwrap()).collect();
    let config = FasterLogReaderConfig::default().with_poll_interval(Duration::from_secs(60));
    let device = FileSystemDisk::segmented_read_only(folder.path(), "log").unwrap();
    let reader = FasterLogReader::open(config, device).unwrap();
    let (mut behind, mut beyond) = (reader.tail(addresses[40]), reader.tail(addresses[60]));
    assert_eq!(behind.try_next().unwrap().unwrap().0, addresses[40]);
    assert_eq!(beyond.try_next().unwrap().unwrap().0, addresses[60]);
    log.truncate_suffix(addresses[50]).unwrap();
    log.append_and_commit(b"new line").unwrap();
    log.commit().unwrap();
    log.close().unwrap();
    reader.refresh().unwrap();
    // It has returned what was dropped.
    assert_eq!(beyond.try_next().unwrap_err().kind(), ErrorKind::InvalidInput);
    for address in &addresses[41..50] {
        assert_eq!(behind.try_next().unwrap().unwrap().0, *address);
    }
    assert_eq!(behind.try_next().unwrap().unwrap().1, b"new line");
    assert_eq!(behind.try_next().unwrap(), None);
}
