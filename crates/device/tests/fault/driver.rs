//! One queue of a fault device, driven one request or one batch at a time.

use oxifaster_device::fault::FaultDevice;
use oxifaster_device::sync::atomic::Ordering;
use oxifaster_device::{
    BLOCK_BYTES, Completion, DeviceError, DeviceErrorKind, IoBuffer, IoOperation, IoQueue, IoRequest,
    QueueOptions, StorageDevice, Wait,
};

/// Words that differ from block to block and from `stamp` to `stamp`.
pub(crate) fn pattern(stamp: u64, word: usize) -> u64 {
    (stamp << 32 | word as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
}

/// A buffer of `blocks` blocks full of `stamp`'s pattern.
pub(crate) fn stamped(stamp: u64, blocks: usize) -> IoBuffer {
    let buffer = IoBuffer::zeroed(blocks).unwrap();
    for (index, word) in buffer.words().iter().enumerate() {
        word.store(pattern(stamp, index), Ordering::Relaxed);
    }
    buffer
}

/// The bytes of [`stamped`].
pub(crate) fn stamped_bytes(stamp: u64, blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK_BYTES / 8).flat_map(|word| pattern(stamp, word).to_le_bytes()).collect()
}

/// The bytes of a buffer.
pub(crate) fn bytes_of(buffer: &IoBuffer) -> Vec<u8> {
    buffer.words().iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect()
}

pub(crate) struct Driver {
    pub(crate) queue: Box<dyn IoQueue>,
}

impl Driver {
    pub(crate) fn new(device: &FaultDevice) -> Self {
        Self { queue: device.open_queue(QueueOptions::default()).unwrap() }
    }

    pub(crate) fn submit(&mut self, tag: u64, offset: u64, operation: IoOperation) {
        self.queue.submit(IoRequest { tag, offset, operation }).unwrap();
    }

    /// Reaps until nothing is in flight.
    pub(crate) fn drain(&mut self) -> Vec<Completion> {
        let mut completions = Vec::new();
        while self.queue.in_flight() > 0 {
            assert!(
                self.queue.reap(Wait::ForOne, &mut completions).unwrap() > 0,
                "a waiting reap came back empty"
            );
        }
        completions
    }

    fn one(&mut self, offset: u64, operation: IoOperation) -> Result<usize, DeviceError> {
        assert_eq!(self.queue.in_flight(), 0);
        self.submit(0, offset, operation);
        let mut completions = self.drain();
        assert_eq!(completions.len(), 1);
        completions.remove(0).result
    }

    pub(crate) fn write(&mut self, offset: u64, stamp: u64, blocks: usize) -> Result<usize, DeviceError> {
        self.one(offset, IoOperation::Write(stamped(stamp, blocks)))
    }

    pub(crate) fn sync(&mut self) -> Result<usize, DeviceError> {
        self.one(0, IoOperation::Sync)
    }

    pub(crate) fn read(&mut self, offset: u64, blocks: usize) -> Result<(usize, Vec<u8>), DeviceError> {
        let buffer = IoBuffer::zeroed(blocks).unwrap();
        let moved = self.one(offset, IoOperation::Read(buffer.clone()))?;
        Ok((moved, bytes_of(&buffer)))
    }
}

/// The kind of an error that must be there.
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, DeviceError>) -> DeviceErrorKind {
    result.unwrap_err().kind()
}
