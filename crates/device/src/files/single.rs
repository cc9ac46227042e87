//! All of a device in one file; the offset in the file is the offset in the device.
//!
//! ```text
//! 0            131072        262144                        end of file          reserved space, not in the size
//! | slot even   | slot odd    | blocks of the log ......... |- - - - - - - - - - - - - - - - - - - -|
//!                             ^ truncate_before makes holes from here
//! ```

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::FileOptions;
use super::block_file::{BlockFile, read_slot, write_slot};
use super::directory::Directory;
use super::layout::Layout;
use super::lock::lock;
use crate::BLOCK_BYTES;
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot, SpaceUse};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::memory::Words;
use crate::os::file as os;

/// Both slots.
const RESERVED_BYTES: u64 = 2 * METADATA_SLOT_BYTES as u64;

pub(super) struct SingleFile {
    file: Arc<BlockFile>,
    directory: Directory,
    capacity_bytes: u64,
}

impl SingleFile {
    /// Opens or makes the file and locks it. An existing file is not changed in any way.
    pub(super) fn open(path: &Path, options: &FileOptions) -> Result<Self, DeviceError> {
        let file = open_or_make(path, options.direct_io)?;
        lock(&file)?;
        let capacity_bytes =
            os::file_bytes_max(file.file()).map_err(|error| file.failed("asking for limits", error))?;
        file.reserve_ahead(options.preallocate_bytes, capacity_bytes);
        Ok(Self { file: Arc::new(file), directory: Directory::of_file(path), capacity_bytes })
    }

    /// Opens a file that exists, for reading, without the lock: somebody else may write it meanwhile.
    pub(super) fn open_to_read(path: &Path, options: &FileOptions) -> Result<Self, DeviceError> {
        let file = BlockFile::open_to_read(path, options.direct_io)
            .map_err(|error| DeviceError::io("opening a file for reading", error).at_path(path))?;
        let capacity_bytes =
            os::file_bytes_max(file.file()).map_err(|error| file.failed("asking for limits", error))?;
        Ok(Self { file: Arc::new(file), directory: Directory::of_file(path), capacity_bytes })
    }
}

/// Opens an ordinary file, or makes it.
pub(super) fn open_or_make(path: &Path, direct: bool) -> Result<BlockFile, DeviceError> {
    let failed = |error| DeviceError::io("opening a file", error).at_path(path);
    // Another process may make or remove the file between the two attempts, not for ever.
    for _ in 0..3 {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                return Err(
                    DeviceError::new(DeviceErrorKind::InvalidRequest, "not an ordinary file").at_path(path)
                );
            }
            _ => {}
        }
        match BlockFile::open(path, false, direct) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => return result.map_err(failed),
        }
        match BlockFile::open(path, true, direct) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => return result.map_err(failed),
        }
    }
    Err(DeviceError::new(DeviceErrorKind::Io, "a file appears and disappears").at_path(path))
}

fn slot_offset(slot: MetadataSlot) -> u64 {
    (slot.index() * METADATA_SLOT_BYTES) as u64
}

impl Layout for SingleFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn reserved_bytes(&self) -> u64 {
        RESERVED_BYTES
    }

    fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    fn is_direct(&self) -> bool {
        self.file.is_direct()
    }

    fn read(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError> {
        self.file.read(offset, memory, words)
    }

    fn place_of_read(&self, offset: u64, _len_bytes: usize) -> Option<(Arc<BlockFile>, u64)> {
        Some((Arc::clone(&self.file), offset))
    }

    fn write(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError> {
        self.file.write(offset, memory, words)
    }

    fn sync(&self) -> Result<(), DeviceError> {
        self.file.sync()?;
        self.directory.sync()
    }

    fn read_slot(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        read_slot(&self.file, slot_offset(slot), buffer)
    }

    fn write_slot(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        write_slot(&self.file, slot_offset(slot), bytes)
    }

    fn sync_slots(&self) -> Result<(), DeviceError> {
        self.sync()
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        // Whole blocks only, and nothing behind the end: there is nothing but reserved space.
        let block = BLOCK_BYTES as u64;
        let end = (offset / block * block).min(self.file.len()?.next_multiple_of(block));
        self.file.punch(RESERVED_BYTES..end)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.file.cut(offset.max(RESERVED_BYTES))
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        Ok(SpaceUse { end_offset: self.file.len()?, allocated_bytes: self.file.allocated_bytes()? })
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        os::free_bytes(self.file.file()).map_err(|error| self.file.failed("asking for free space", error))
    }
}
