//! Devices whose queues refuse, break or fail for a while: what was submitted is written once, nobody spins, and everything
//! goes on when the device does.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests wait for other threads in real time")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use oxifaster::device::fault::FaultDevice;
use oxifaster::device::{
    Completion, DeviceError, DeviceErrorKind, DeviceIdentity, Geometry, Interrupt, IoOperation, IoQueue,
    IoRequest, MetadataSlot, QueueOptions, SpaceUse, Wait,
};
use oxifaster::prelude::*;
use oxifaster::store::Started;

/// What a device does wrong, and what it has seen.
#[derive(Debug, Default)]
struct Whims {
    /// The write of this number (from 1) is refused at its submission, once.
    refused_write: AtomicU64,
    /// Writes complete with an error.
    writes_fail: AtomicBool,
    /// Queues that exist break with their next reap, and stay so.
    broken_before: AtomicU64,
    /// Queues from this number on panic with their next reap, as soon as they may; 0 is none.
    panicking_from: AtomicU64,
    may_panic: AtomicBool,
    queues: AtomicU64,
    writes: AtomicU64,
    failed_reaps: AtomicU64,
    /// A reap gives nothing before two requests are in flight.
    in_pairs: AtomicBool,
    /// Whether somebody waits for a second request now, and whether he was interrupted.
    pair: Mutex<(bool, bool)>,
    pair_changed: Condvar,
    /// Requests that were alone for too long.
    lonely: AtomicU64,
    /// Accepted writes by offset.
    accepted: Mutex<BTreeMap<u64, u32>>,
}

/// A fault device with whims.
#[derive(Debug)]
struct Stubborn {
    below: FaultDevice,
    whims: Arc<Whims>,
}

#[derive(Debug)]
struct StubbornQueue {
    below: Box<dyn IoQueue>,
    whims: Arc<Whims>,
    number: u64,
}

fn error(message: &str) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Io, message)
}

impl IoQueue for StubbornQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        if matches!(request.operation, IoOperation::Write(_)) {
            let number = self.whims.writes.fetch_add(1, SeqCst) + 1;
            if number == self.whims.refused_write.load(SeqCst) {
                return Err(error("not this one"));
            }
            *self.whims.accepted.lock().unwrap().entry(request.offset).or_default() += 1;
        }
        self.below.submit(request)
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.below.kick()
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        if self.number <= self.whims.broken_before.load(SeqCst) {
            self.whims.failed_reaps.fetch_add(1, SeqCst);
            return Err(error("this queue is broken"));
        }
        let panicking_from = self.whims.panicking_from.load(SeqCst);
        if panicking_from != 0 && self.number >= panicking_from {
            while !self.whims.may_panic.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("a queue with a bug of its own");
        }
        if self.whims.in_pairs.load(SeqCst) && self.below.in_flight() < 2 {
            if wait == Wait::No {
                return Ok(0);
            }
            let pair = &self.whims.pair;
            let mut state = pair.lock().unwrap();
            state.0 = true;
            self.whims.pair_changed.notify_all();
            let limit = Duration::from_secs(3);
            let changed = &self.whims.pair_changed;
            let (mut state, waited) = changed.wait_timeout_while(state, limit, |state| !state.1).unwrap();
            *state = (false, false);
            if !waited.timed_out() {
                return Ok(0);
            }
            self.whims.lonely.fetch_add(1, SeqCst);
        }
        let before = completions.len();
        let reaped = self.below.reap(wait, completions)?;
        if self.whims.writes_fail.load(SeqCst) {
            for completion in completions.iter_mut().skip(before) {
                if matches!(completion.operation, IoOperation::Write(_)) {
                    completion.result = Err(error("the disk is away"));
                }
            }
        }
        Ok(reaped)
    }

    fn in_flight(&self) -> usize {
        self.below.in_flight()
    }

    fn interrupt(&mut self) -> Option<Interrupt> {
        let whims = Arc::clone(&self.whims);
        Some(Interrupt::new(move || {
            whims.pair.lock().unwrap().1 = true;
            whims.pair_changed.notify_all();
        }))
    }
}

impl StorageDevice for Stubborn {
    fn describe(&self) -> String {
        self.below.describe()
    }

    fn identity(&self) -> &DeviceIdentity {
        self.below.identity()
    }

    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        let number = self.whims.queues.fetch_add(1, SeqCst) + 1;
        let below = self.below.open_queue(options)?;
        Ok(Box::new(StubbornQueue { below, whims: Arc::clone(&self.whims), number }))
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.below.read_metadata(slot, buffer)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.below.write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.below.truncate_before(offset)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.below.truncate_after(offset)
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.below.space_use()
    }
}

type Store = Arc<FasterKv<u64, u64, Stubborn>>;

/// A store in `pages` pages of memory.
fn open(pages: u64, page_size_bits: u32) -> (Store, FaultDevice, Arc<Whims>) {
    let below = FaultDevice::new(5);
    let whims = Arc::<Whims>::default();
    let device = Stubborn { below: below.clone(), whims: Arc::clone(&whims) };
    let config = FasterKvConfig {
        table_size: 1 << 14,
        log_memory_size: pages << page_size_bits,
        page_size_bits,
        ..Default::default()
    };
    (Arc::new(FasterKv::open(config, device).unwrap()), below, whims)
}

fn flush_in_the_end(store: &Store) {
    let since = Instant::now();
    while let Err(error) = store.flush() {
        assert!(since.elapsed() < Duration::from_secs(20), "{error}");
    }
}

fn expect_after_reopening(below: &FaultDevice, keys: u64) {
    let store = FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), below.reopen()).unwrap();
    let mut session = Arc::new(store).start_session().unwrap();
    for key in 0..keys {
        assert_eq!(session.read(&key).unwrap(), Some(key + 7), "key {key}");
    }
}

/// A page of 2 MiB goes in two writes. When the second one is refused, only that one is submitted again: a block that
/// was written, or is being written, is not written a second time.
#[test]
fn a_refused_part_of_a_page_is_submitted_again_and_the_others_are_not() {
    let (store, below, whims) = open(16, 21);
    whims.refused_write.store(2, SeqCst);
    let mut session = store.start_session().unwrap();
    let keys = (5 << 20) / 24;
    for key in 0..keys {
        session.upsert(key, key + 7).unwrap();
    }
    drop(session);
    flush_in_the_end(&store);
    store.close().unwrap();
    drop(store);
    let accepted = whims.accepted.lock().unwrap().clone();
    assert!(accepted.len() > 4, "{accepted:?}");
    assert!(accepted.values().all(|times| *times == 1), "writes by offset: {accepted:?}");
    expect_after_reopening(&below, keys);
}

/// Pauses between tries grow, and the first success ends them.
#[test]
fn a_failing_device_is_tried_again_ever_more_seldom() {
    let (store, below, whims) = open(16, 16);
    let mut session = store.start_session().unwrap();
    session.upsert(0, 7).unwrap();
    whims.writes_fail.store(true, SeqCst);
    assert!(store.flush().is_err());
    let before = whims.writes.load(SeqCst);
    std::thread::sleep(Duration::from_millis(1500));
    let tries = whims.writes.load(SeqCst) - before;
    assert!((1..=8).contains(&tries), "{tries} tries in 1.5 s");
    whims.writes_fail.store(false, SeqCst);
    // Without a flush: it heals by itself.
    let since = Instant::now();
    let mut key = 1;
    while key < 200_000 {
        match session.upsert(key, key + 7) {
            Ok(()) => key += 1,
            Err(error) => assert!(since.elapsed() < Duration::from_secs(20), "{error}"),
        }
    }
    drop(session);
    flush_in_the_end(&store);
    store.close().unwrap();
    drop(store);
    expect_after_reopening(&below, key);
}

/// A queue that breaks is asked no more, and another one takes over: for writes, and for the reads of futures.
#[test]
fn a_broken_queue_is_replaced_and_nobody_spins() {
    let (store, below, whims) = open(16, 16);
    let mut session = store.start_session().unwrap();
    let keys = 100_000;
    for key in 0..keys {
        session.upsert(key, key + 7).unwrap();
    }
    let futures = store.start_async_session().unwrap();
    assert_eq!(pollster::block_on(futures.read(&0)).unwrap(), Some(7));
    whims.broken_before.store(whims.queues.load(SeqCst), SeqCst);
    assert!(pollster::block_on(futures.read(&1)).is_err(), "its queue is broken");
    assert_eq!(pollster::block_on(futures.read(&1)).unwrap(), Some(8));
    let since = Instant::now();
    for key in 0..keys {
        while let Err(error) = session.upsert(key, key + 7) {
            assert!(since.elapsed() < Duration::from_secs(20), "{error}");
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    let reaps = whims.failed_reaps.load(SeqCst);
    assert!((1..20).contains(&reaps), "a broken queue was asked {reaps} times");
    drop(session);
    flush_in_the_end(&store);
    store.close().unwrap();
    drop((store, futures));
    expect_after_reopening(&below, keys);
}

/// The thread that reads for futures waits for the device with one read when another one comes: that is started at once, not
/// when the first has returned.
#[test]
fn a_read_that_comes_while_another_is_waited_for_is_started_at_once() {
    let (store, _below, whims) = open(16, 16);
    let mut session = store.start_session().unwrap();
    for key in 0..100_000 {
        session.upsert(key, key + 7).unwrap();
    }
    let futures = store.start_async_session().unwrap();
    // The checksums of the pages are known then, so that each read is one request.
    for key in [0, 1] {
        assert_eq!(pollster::block_on(futures.read(&key)).unwrap(), Some(key + 7));
    }
    whims.in_pairs.store(true, SeqCst);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| pollster::block_on(futures.read(&0)).unwrap());
        let waits = whims.pair.lock().unwrap();
        drop(whims.pair_changed.wait_while(waits, |state| !state.0).unwrap());
        let second = pollster::block_on(futures.read(&1)).unwrap();
        whims.in_pairs.store(false, SeqCst);
        assert_eq!((first.join().unwrap(), second), (Some(7), Some(8)));
    });
    assert_eq!(whims.lonely.load(SeqCst), 0, "a read was not started while another one was waited for");
}

/// The thread that reads for sessions and futures ends with a panic, here one of the device: whoever waits is told, those whose
/// reads it had under way and those whose reads it had not looked at yet; and so is who comes later.
#[test]
fn a_panic_of_the_reading_thread_leaves_nobody_waiting() {
    let (store, _below, whims) = open(16, 16);
    let mut session = store.start_session().unwrap();
    for key in 0..100_000 {
        session.upsert(key, key + 7).unwrap();
    }
    whims.panicking_from.store(whims.queues.load(SeqCst) + 1, SeqCst);
    let pending = (0..500).filter(|key| matches!(session.start_read(key), Ok(Started::Pending(_)))).count();
    assert!(pending > 0);
    whims.may_panic.store(true, SeqCst);
    let (sender, receiver) = std::sync::mpsc::channel();
    let late = Arc::clone(&store);
    std::thread::spawn(move || {
        let completed = session.complete_pending(true);
        let futures = late.start_async_session().unwrap();
        let later = pollster::block_on(futures.read(&1));
        sender.send((completed, later)).unwrap();
    });
    let (completed, later) =
        receiver.recv_timeout(Duration::from_secs(20)).expect("a read was never answered");
    assert_eq!(completed.len(), pending);
    assert!(completed.iter().all(|read| read.result.is_err()), "{completed:?}");
    assert!(later.is_err());
    whims.panicking_from.store(0, SeqCst);
    store.close().unwrap();
}
