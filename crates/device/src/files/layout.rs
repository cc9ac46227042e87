//! How the offset space of a device lies in files.
//!
//! Callers: [`FileStore`](super::store::FileStore), which checks capacity and poison before it calls. Implementations:
//! `SingleFile`, `SegmentedFiles`. Everything may be called by several threads at once, except that of [`Layout::sync`] and
//! [`Layout::sync_slots`] one runs at a time.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::block_file::BlockFile;
use crate::device::{MetadataSlot, SpaceUse};
use crate::error::DeviceError;
use crate::memory::Words;

pub(super) trait Layout: Send + Sync {
    /// The path that messages name.
    fn path(&self) -> &Path;

    fn reserved_bytes(&self) -> u64;

    /// Largest offset (exclusive), by the file system's limits.
    fn capacity_bytes(&self) -> u64;

    fn is_direct(&self) -> bool;

    /// Fills `words`: zeros where nothing was written, a short count at the end of the device.
    fn read(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError>;

    /// The file, and the offset in it, of bytes that lie in one file and below the end of the device as far as that is
    /// known, for a read without us; `None`: only [`read`](Self::read) knows how.
    #[cfg_attr(not(all(feature = "io_uring", target_os = "linux")), allow(dead_code, reason = "for rings"))]
    fn place_of_read(&self, offset: u64, len_bytes: usize) -> Option<(Arc<BlockFile>, u64)>;

    fn write(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError>;

    /// Makes all completed writes durable, and the existence of their files.
    fn sync(&self) -> Result<(), DeviceError>;

    fn read_slot(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError>;

    fn write_slot(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Makes written slots durable, and the existence of their file.
    fn sync_slots(&self) -> Result<(), DeviceError>;

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError>;

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError>;

    fn space_use(&self) -> Result<SpaceUse, DeviceError>;

    /// Bytes the file system can still give.
    fn free_bytes(&self) -> Result<u64, DeviceError>;
}
