//! Logs that commit by themselves: nothing is forgotten, nothing is done for nothing, and no wait is left without an end.
#![expect(clippy::disallowed_methods, reason = "tests start threads and wait in real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use oxifaster_core::ErrorKind;
use oxifaster_device::device::{Geometry, SpaceUse};
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::{
    Completion, DeviceError, DeviceIdentity, IoOperation, IoQueue, IoRequest, MetadataSlot, QueueOptions,
    StorageDevice, Wait,
};
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig};

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

/// A device whose syncs take their time, and whose metadata writes panic from a moment on.
#[derive(Debug)]
struct Strange {
    inner: FaultDevice,
    sync_takes: Duration,
    panics: Arc<AtomicBool>,
}

impl Strange {
    fn new(sync_takes: Duration) -> Self {
        Self { inner: FaultDevice::new(1), sync_takes, panics: Arc::default() }
    }
}

/// A queue of it.
#[derive(Debug)]
struct Slow {
    inner: Box<dyn IoQueue>,
    sync_takes: Duration,
}

impl IoQueue for Slow {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        if matches!(request.operation, IoOperation::Sync) {
            std::thread::sleep(self.sync_takes);
        }
        self.inner.submit(request)
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.inner.kick()
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        self.inner.reap(wait, completions)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }
}

impl StorageDevice for Strange {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn identity(&self) -> &DeviceIdentity {
        self.inner.identity()
    }

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        let inner = self.inner.open_queue(options)?;
        Ok(Box::new(Slow { inner, sync_takes: self.sync_takes }))
    }

    fn read_metadata(&self, slot: MetadataSlot, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.inner.read_metadata(slot, bytes)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a planted panic in the device");
        self.inner.write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.inner.truncate_before(offset)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.inner.truncate_after(offset)
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.inner.space_use()
    }
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
        let log = FasterLog::open(config, Strange::new(Duration::from_millis(150))).unwrap();
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
    let device = Strange::new(Duration::ZERO);
    let panics = Arc::clone(&device.panics);
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
