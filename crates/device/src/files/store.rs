//! What every layout has in common: capacity, poison, and one request at a time for a worker.

use std::sync::Arc;

use super::block_file::BlockFile;
use super::layout::Layout;
use super::sync_gate::SyncGate;
use crate::BLOCK_BYTES;
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::{IoBuffer, IoOperation};
use crate::workers::Backend;

/// The files of a device, with its limit and its poison. Dropping it closes the files and lets go of the lock.
pub(crate) struct FileStore {
    layout: Box<dyn Layout>,
    gate: SyncGate,
    capacity_bytes: u64,
    read_only: bool,
}

impl FileStore {
    pub(super) fn new(layout: Box<dyn Layout>, capacity_bytes_max: Option<u64>, read_only: bool) -> Self {
        let capacity_bytes = layout.capacity_bytes().min(capacity_bytes_max.unwrap_or(u64::MAX));
        let whole_blocks = capacity_bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        Self { layout, gate: SyncGate::default(), capacity_bytes: whole_blocks, read_only }
    }

    pub(super) fn layout(&self) -> &dyn Layout {
        self.layout.as_ref()
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Whether this device may change anything.
    pub(super) fn check_writable(&self) -> Result<(), DeviceError> {
        if !self.read_only {
            return Ok(());
        }
        let message = "this device was opened for reading: nothing is written through it";
        Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message).at_path(self.layout.path()))
    }

    fn read(&self, offset: u64, buffer: &IoBuffer) -> Result<usize, DeviceError> {
        // Nothing was ever written behind the capacity, and the system calls don't take such offsets.
        let there = self.capacity_bytes.saturating_sub(offset).min(buffer.len_bytes() as u64);
        let words = buffer.word_range();
        let Some(len_words) = usize::try_from(there / 8).ok().filter(|words| *words > 0) else {
            return Ok(0);
        };
        self.layout.read(offset, buffer.memory(), words.start..words.start + len_words)
    }

    /// Where a read can go without [`Backend::execute`]; see [`Layout::place_of_read`].
    #[cfg_attr(not(all(feature = "io_uring", target_os = "linux")), allow(dead_code, reason = "for rings"))]
    pub(crate) fn place_of_read(&self, offset: u64, len_bytes: usize) -> Option<(Arc<BlockFile>, u64)> {
        let inside = self.capacity_bytes.checked_sub(offset).is_some_and(|left| len_bytes as u64 <= left);
        if inside { self.layout.place_of_read(offset, len_bytes) } else { None }
    }

    fn write(&self, offset: u64, buffer: &IoBuffer) -> Result<usize, DeviceError> {
        self.check_writable()?;
        self.gate.check()?;
        let end = offset.saturating_add(buffer.len_bytes() as u64);
        if end > self.capacity_bytes {
            let message = format!(
                "a write up to byte {end} is refused: this device holds {} bytes at most (limit of the file \
                 system, the process or the configuration)",
                self.capacity_bytes
            );
            let error = DeviceError::new(DeviceErrorKind::Full, message);
            return Err(error.at_path(self.layout.path()).at_offset(offset));
        }
        self.layout.write(offset, buffer.memory(), buffer.word_range())
    }

    pub(super) fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        if bytes.len() > METADATA_SLOT_BYTES {
            return Err(DeviceError::new(
                DeviceErrorKind::InvalidRequest,
                format!("{} bytes do not fit a metadata slot of {METADATA_SLOT_BYTES}", bytes.len()),
            ));
        }
        self.check_writable()?;
        self.gate.check()?;
        // A failed write of a slot poisons nothing: the slot that counts is the other one.
        self.layout.write_slot(slot, bytes)?;
        self.gate.run(|| self.layout.sync_slots())
    }
}

impl Backend for FileStore {
    fn execute(&self, offset: u64, operation: &IoOperation) -> Result<usize, DeviceError> {
        match operation {
            IoOperation::Read(buffer) => self.read(offset, buffer),
            IoOperation::Write(buffer) => self.write(offset, buffer),
            IoOperation::Sync => self.gate.run(|| self.layout.sync()).map(|()| 0),
        }
    }
}
