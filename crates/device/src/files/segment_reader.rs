//! The segments of a device that somebody else writes: read without the lock, changed by nobody here.
//!
//! Segments appear and vanish under the reader. So what exists is asked of the file system, not remembered: the end of the device
//! is looked for again whenever a read leaves what is known, and a segment whose file is gone is let go of, so that its space
//! comes back.
//!
//! | field | rule |
//! |---|---|
//! | `open` | files that were read. Never held during block I/O |
//! | `end_offset` | as it was at the last look: what lies below was there then. Release by the look, acquire by reads |

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::FileOptions;
use super::block_file::{BlockFile, read_slot};
use super::directory::Directory;
use super::layout::Layout;
use super::segment_names::SegmentNames;
use super::segment_size;
use super::segmented::{pieces, read_pieces};
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot, SpaceUse};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::memory::Words;
use crate::os::file as os;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) struct SegmentReader {
    open: Mutex<BTreeMap<u64, Arc<BlockFile>>>,
    end_offset: AtomicU64,
    segment_bytes: u64,
    names: SegmentNames,
    options: FileOptions,
    directory: Directory,
    meta: BlockFile,
}

impl SegmentReader {
    /// Opens what exists.
    pub(super) fn open(directory: &Path, prefix: &str, options: &FileOptions) -> Result<Self, DeviceError> {
        let names = SegmentNames::new(directory, prefix)?;
        let path = names.meta();
        let meta = BlockFile::open_to_read(&path, options.direct_io)
            .map_err(|error| DeviceError::io("opening a file for reading", error).at_path(&path))?;
        let Some(segment_bytes) = segment_size::recorded(&meta)? else {
            let message = "nothing was ever written to this device";
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message).at_path(&path));
        };
        let reader = Self {
            open: Mutex::new(BTreeMap::new()),
            end_offset: AtomicU64::new(0),
            segment_bytes: segment_bytes.max(1),
            names,
            options: options.clone(),
            directory: Directory::of_file(&path),
            meta,
        };
        reader.find_end(&reader.names.existing()?)?;
        Ok(reader)
    }

    fn set_end(&self, index: u64, len: u64) -> Result<(), DeviceError> {
        let end = index.checked_mul(self.segment_bytes).and_then(|start| start.checked_add(len));
        let end = end.ok_or_else(|| {
            let message = "a segment's number is beyond every possible offset";
            DeviceError::new(DeviceErrorKind::Corrupt, message).at_path(self.directory.path())
        })?;
        self.end_offset.store(end, Ordering::Release);
        Ok(())
    }

    fn find_end(&self, existing: &[(u64, u64)]) -> Result<(), DeviceError> {
        existing.iter().max().map_or(Ok(()), |&(index, len)| self.set_end(index, len))
    }

    /// Looks whether the device has grown: from the segment that was the last one on, without listing the folder.
    fn look_behind_end(&self) -> Result<(), DeviceError> {
        let end = self.end_offset.load(Ordering::Acquire);
        let mut found = None;
        // The end may be the very end of its segment.
        let mut index = end.saturating_sub(1) / self.segment_bytes;
        while let Some(len) = self.len_of(index)? {
            found = Some((index, len));
            index += 1;
        }
        match found {
            Some((index, len)) => self.set_end(index, len),
            // It was cut off, or truncated together with all that was there.
            None => self.find_end(&self.names.existing()?),
        }
    }

    fn len_of(&self, index: u64) -> Result<Option<u64>, DeviceError> {
        let path = self.names.segment(index);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DeviceError::io("asking for the size of a segment", error).at_path(path)),
        }
    }

    /// The file of a segment; `None` when there is none.
    fn segment(&self, index: u64) -> Result<Option<Arc<BlockFile>>, DeviceError> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(&index) {
            return Ok(Some(Arc::clone(file)));
        }
        let path = self.names.segment(index);
        let file = match BlockFile::open_to_read(&path, self.options.direct_io) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DeviceError::io("opening a segment", error).at_path(path)),
        };
        // A reader goes on to new segments: what was deleted meanwhile should not stay open.
        open.retain(|index, _| self.names.segment(*index).exists());
        if open.len() >= self.options.open_segments_max.max(1) {
            open.pop_first();
        }
        open.insert(index, Arc::clone(&file));
        Ok(Some(file))
    }

    fn refused(&self) -> DeviceError {
        let message = "this device was opened for reading";
        DeviceError::new(DeviceErrorKind::InvalidRequest, message).at_path(self.meta.path())
    }
}

impl Layout for SegmentReader {
    fn path(&self) -> &Path {
        self.meta.path()
    }

    fn reserved_bytes(&self) -> u64 {
        0
    }

    fn capacity_bytes(&self) -> u64 {
        i64::MAX.unsigned_abs()
    }

    fn is_direct(&self) -> bool {
        self.meta.is_direct() && self.open.lock().values().all(|file| file.is_direct())
    }

    fn read(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError> {
        if self.end_offset.load(Ordering::Acquire) < offset + words.len() as u64 * 8 {
            self.look_behind_end()?;
        }
        let there = self.end_offset.load(Ordering::Acquire).saturating_sub(offset) / 8;
        let len_words = usize::try_from(there).unwrap_or(usize::MAX).min(words.len());
        let pieces = pieces(self.segment_bytes, offset, words.start..words.start + len_words);
        read_pieces(pieces, memory, |index| self.segment(index))
    }

    fn place_of_read(&self, offset: u64, len_bytes: usize) -> Option<(Arc<BlockFile>, u64)> {
        let end = offset.checked_add(len_bytes as u64)?;
        let (index, inside) = (offset / self.segment_bytes, offset % self.segment_bytes);
        if end > self.end_offset.load(Ordering::Acquire) || inside + len_bytes as u64 > self.segment_bytes {
            return None;
        }
        Some((self.segment(index).ok()??, inside))
    }

    fn write(&self, _offset: u64, _memory: &Words, _words: Range<usize>) -> Result<usize, DeviceError> {
        Err(self.refused())
    }

    /// Makes durable what the owner wrote: all segments, since nothing here knows which of them were synced.
    fn sync(&self) -> Result<(), DeviceError> {
        self.meta.sync()?;
        for (index, _) in self.names.existing()? {
            if let Some(file) = self.segment(index)? {
                file.sync()?;
            }
        }
        self.directory.names_changed();
        self.directory.sync()
    }

    fn read_slot(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        read_slot(&self.meta, (slot.index() * METADATA_SLOT_BYTES) as u64, buffer)
    }

    fn write_slot(&self, _slot: MetadataSlot, _bytes: &[u8]) -> Result<(), DeviceError> {
        Err(self.refused())
    }

    fn sync_slots(&self) -> Result<(), DeviceError> {
        self.meta.sync()
    }

    fn truncate_before(&self, _offset: u64) -> Result<(), DeviceError> {
        Err(self.refused())
    }

    fn truncate_after(&self, _offset: u64) -> Result<(), DeviceError> {
        Err(self.refused())
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        let existing = self.names.existing()?;
        self.find_end(&existing)?;
        self.open.lock().retain(|index, _| existing.iter().any(|(found, _)| found == index));
        let mut allocated_bytes = self.meta.allocated_bytes()?;
        for (index, _) in existing {
            if let Ok(metadata) = std::fs::metadata(self.names.segment(index)) {
                allocated_bytes += os::allocated_bytes(&metadata);
            }
        }
        Ok(SpaceUse { end_offset: self.end_offset.load(Ordering::Acquire), allocated_bytes })
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        os::free_bytes(self.meta.file()).map_err(|error| self.meta.failed("asking for free space", error))
    }
}
