//! A device that holds reads or writes back until a test lets them through: waiting becomes something to look at.

use std::sync::Arc;

use oxifaster::device::{
    Completion, FileSystemDisk, Geometry, IoOperation, IoQueue, IoRequest, MetadataSlot, QueueOptions,
    SpaceUse, StorageDevice, Wait,
};
use oxifaster_device::sync::{Condvar, Mutex};
use oxifaster_device::{DeviceError, DeviceIdentity};

/// Which requests are held back.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    reads: bool,
    writes: bool,
}

impl Held {
    fn holds(self, request: &IoRequest) -> bool {
        match request.operation {
            IoOperation::Read(_) => self.reads,
            IoOperation::Write(_) => self.writes,
            IoOperation::Sync => false,
        }
    }
}

type Shared = Arc<(Mutex<Held>, Condvar)>;

/// The handle of the gates, also after the device was given away. Opens them when it is dropped: declare it behind the
/// store, so that a failing test does not wait for requests that it holds back itself.
#[derive(Debug)]
pub(crate) struct Gate(Shared);

impl Gate {
    pub(crate) fn hold_reads(&self) {
        self.0.0.lock().reads = true;
    }

    pub(crate) fn hold_writes(&self) {
        self.0.0.lock().writes = true;
    }

    /// Lets everything through, from now on.
    pub(crate) fn open(&self) {
        *self.0.0.lock() = Held::default();
        self.0.1.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// A file behind gates.
#[derive(Debug)]
pub(crate) struct GatedDisk {
    file: FileSystemDisk,
    gate: Shared,
}

impl GatedDisk {
    pub(crate) fn new(file: FileSystemDisk) -> (Self, Gate) {
        let gate = Shared::default();
        (Self { file, gate: Arc::clone(&gate) }, Gate(gate))
    }
}

impl StorageDevice for GatedDisk {
    fn describe(&self) -> String {
        self.file.describe()
    }

    fn identity(&self) -> &DeviceIdentity {
        self.file.identity()
    }

    fn geometry(&self) -> Geometry {
        self.file.geometry()
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        let queue = self.file.open_queue(options)?;
        Ok(Box::new(GatedQueue { queue, gate: Arc::clone(&self.gate), waiting: Vec::new() }))
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.file.read_metadata(slot, buffer)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.file.write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.file.truncate_before(offset)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.file.truncate_after(offset)
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.file.space_use()
    }
}

#[derive(Debug)]
struct GatedQueue {
    queue: Box<dyn IoQueue>,
    gate: Shared,
    /// In front of the gate, in their order.
    waiting: Vec<IoRequest>,
}

impl GatedQueue {
    /// Submits what may pass; with `wait`, waits until something may.
    fn pass(&mut self, wait: bool) -> Result<(), DeviceError> {
        let passing = {
            let (held, changed) = &*self.gate;
            let mut held = held.lock();
            while wait && self.waiting.iter().all(|request| held.holds(request)) {
                held = changed.wait(held);
            }
            let held = *held;
            self.waiting.extract_if(.., |request| !held.holds(request)).collect::<Vec<_>>()
        };
        passing.into_iter().try_for_each(|request| self.queue.submit(request))
    }
}

impl IoQueue for GatedQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        self.waiting.push(request);
        self.pass(false)
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.pass(false)?;
        self.queue.kick()
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        let nothing_else = self.queue.in_flight() == 0 && !self.waiting.is_empty();
        self.pass(wait == Wait::ForOne && nothing_else)?;
        self.queue.reap(wait, completions)
    }

    fn in_flight(&self) -> usize {
        self.queue.in_flight() + self.waiting.len()
    }
}
