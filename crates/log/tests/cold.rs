//! Logs that are no longer in memory: scans and tails read ahead, see every byte, and no poll waits for the device.
#![expect(
    clippy::unwrap_used,
    reason = "a panic here is a failed test, also in the functions that tests share"
)]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use oxifaster_core::{Address, ErrorKind};
use oxifaster_device::FileSystemDisk;
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_log::{FasterLog, FasterLogConfig, LogTail, ScanEnd};

const ENTRIES: u64 = 40_000;

fn config() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(1 << 16).with_memory_pages(32)
}

/// Around 500 bytes; some of a megabyte.
fn entry(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    let len = if number % 5000 == 4999 { 1_000_000 } else { number * 37 % 1000 };
    bytes.resize(8 + usize::try_from(len).unwrap(), number.to_le_bytes()[0]);
    bytes
}

fn fill(log: &FasterLog) -> Vec<Address> {
    let addresses = (0..ENTRIES)
        .map(|number| {
            if number % 1000 == 999 {
                log.commit().unwrap();
            }
            log.append(&entry(number)).unwrap()
        })
        .collect();
    log.commit().unwrap();
    addresses
}

fn next(tail: &mut LogTail) -> Option<Result<(Address, Vec<u8>), oxifaster_core::Error>> {
    pollster::block_on(poll_fn(|context| Pin::new(&mut *tail).poll_next(context)))
}

#[test]
fn everything_is_read_from_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let open = || FasterLog::open(config(), FileSystemDisk::single_file(&path).unwrap()).unwrap();
    let addresses = fill(&open());
    let log = open();
    let mut scan = log.scan(..);
    for (number, address) in (0..).zip(&addresses) {
        assert_eq!(scan.next_entry().unwrap().unwrap(), (*address, entry(number).as_slice()));
    }
    assert_eq!(scan.finish().unwrap(), ScanEnd::EndOfLog);
    // A stream whose first part is on the device and whose last part is in memory, and both again.
    let mut tail = log.tail(addresses[100]);
    for number in 100..ENTRIES + 500 {
        if number >= ENTRIES && number % 100 == 0 {
            for more in 0..100 {
                log.append(&entry(number + more)).unwrap();
            }
            log.commit().unwrap();
        }
        assert_eq!(next(&mut tail).unwrap().unwrap().1, entry(number));
    }
    // A scan that is dropped early holds nothing: the device can be opened again at once.
    let mut early = log.scan(..);
    (0..20_000).for_each(|_| drop(early.next().unwrap().unwrap()));
    drop((tail, early, log));
    drop(open());
}

#[test]
fn a_poll_does_not_wait_for_the_device_and_a_failed_read_is_told() {
    let device = FaultDevice::new(1);
    let addresses = fill(&FasterLog::open(config(), device.clone()).unwrap());
    let device = device.reopen();
    let log = FasterLog::open(config(), device.clone()).unwrap();
    let mut tail = log.tail(Address::default());
    let mut context = Context::from_waker(Waker::noop());
    // Else the thread that reads ahead may be done before the poll looks.
    device.set_plan(FaultPlan::new().delay_by_time(1.0, Duration::from_secs(1)));
    assert!(matches!(Pin::new(&mut tail).poll_next(&mut context), Poll::Pending), "read inside of the poll");
    device.set_plan(FaultPlan::new());
    assert_eq!(next(&mut tail).unwrap().unwrap().0, addresses[0]);
    // A stream may be polled, and asked without one, in turns.
    assert_eq!(tail.try_next().unwrap().unwrap().0, addresses[1]);
    assert_eq!(next(&mut tail).unwrap().unwrap().0, addresses[2]);

    let mut scan = log.scan(..);
    device.set_plan(FaultPlan::new().fail_reads(Trigger::nth(12)));
    let error = (0..=ENTRIES).find_map(|_| scan.next()?.err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(scan.finish().unwrap_err().kind(), ErrorKind::Io, "an end is not invented");
    device.set_plan(FaultPlan::new().short_reads(0.2));
    assert_eq!(log.scan(..).count() as u64, ENTRIES);
}
