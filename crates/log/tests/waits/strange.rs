//! A device that does something of the test's before it writes metadata, and takes its time to sync.

use std::fmt;
use std::time::Duration;

use oxifaster_device::device::{Geometry, SpaceUse};
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::{
    Completion, DeviceError, DeviceIdentity, IoOperation, IoQueue, IoRequest, MetadataSlot, QueueOptions,
    StorageDevice, Wait,
};

/// See the module header.
pub(crate) struct Strange {
    inner: FaultDevice,
    sync_takes: Duration,
    before_metadata: Box<dyn Fn() + Send + Sync>,
}

impl Strange {
    pub(crate) fn new(inner: &FaultDevice) -> Self {
        Self { inner: inner.clone(), sync_takes: Duration::ZERO, before_metadata: Box::new(|| {}) }
    }

    /// Each sync takes so long.
    pub(crate) fn sync_takes(self, sync_takes: Duration) -> Self {
        Self { sync_takes, ..self }
    }

    /// Each write of metadata begins with this.
    pub(crate) fn before_metadata(self, before: impl Fn() + Send + Sync + 'static) -> Self {
        Self { before_metadata: Box::new(before), ..self }
    }
}

impl fmt::Debug for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strange").field("inner", &self.inner).finish_non_exhaustive()
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
        (self.before_metadata)();
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
