//! A device in segment files: `{prefix}.{index}.log` holds the offsets `index x segment_bytes ..`, `{prefix}.meta` the two
//! metadata slots, the segment size, and the lock.
//!
//! Truncation at the front deletes files, so that space comes back on every file system, and no file ever nears a
//! file-size limit. The last segment is never deleted by `truncate_before` (its content is given back in place): the end
//! of the device is told by it.
//!
//! | field | rule |
//! |---|---|
//! | `segments` | which segments exist, which are open and which have unsynced writes. Never held during block I/O |
//! | `end_offset` | raised after a write completed, hence never above what can be read |
//! | `size_record` | held while the segment size is recorded, which is before the first segment is made |
//!
//! A write is marked as unsynced *after* it moved its bytes and *before* its completion is seen. So a sync that takes the
//! mark comes after the bytes; one that was submitted after the completion finds the mark or follows (syncs run one at a
//! time) the sync that took it. A segment that a truncation shortened or emptied is marked in the same way, and for one that
//! it deleted the directory is, before the call returns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::FileOptions;
use super::block_file::{BlockFile, read_slot, write_slot, zero_behind};
use super::directory::Directory;
use super::layout::Layout;
use super::lock::lock;
use super::segment_names::SegmentNames;
use super::segment_size;
use super::single::open_or_make;
use crate::BLOCK_BYTES;
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot, SpaceUse};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::memory::Words;
use crate::os::file as os;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) struct SegmentedFiles {
    // The segments are dropped before the meta file, which holds the lock.
    segments: Mutex<BTreeMap<u64, Segment>>,
    end_offset: AtomicU64,
    segment_bytes: u64,
    names: SegmentNames,
    options: FileOptions,
    directory: Directory,
    size_record: Mutex<SizeRecord>,
    meta: BlockFile,
}

/// One segment that exists.
#[derive(Default)]
struct Segment {
    file: Option<Arc<BlockFile>>,
    /// Something was written or cut off and not synced since. The file stays open: the kernel tells a failed write-back to the
    /// open files that were there.
    unsynced: bool,
    /// It was found at open. A process that was killed may have written to it and not synced: the first sync covers it.
    inherited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SizeRecord {
    Missing,
    Unsynced,
    Durable,
}

/// A part of a request that lies in one segment.
pub(super) struct Piece {
    pub(super) index: u64,
    offset: u64,
    pub(super) words: Range<usize>,
}

/// The parts of a request in segments of `segment_bytes`.
pub(super) fn pieces(segment_bytes: u64, offset: u64, words: Range<usize>) -> impl Iterator<Item = Piece> {
    let mut start = words.start;
    std::iter::from_fn(move || {
        let here = offset + (start - words.start) as u64 * 8;
        let (index, inside) = (here / segment_bytes, here % segment_bytes);
        let room_words = usize::try_from((segment_bytes - inside) / 8).unwrap_or(usize::MAX);
        let end = words.end.min(start.saturating_add(room_words));
        let piece = Piece { index, offset: inside, words: start..end };
        start = end;
        (!piece.words.is_empty()).then_some(piece)
    })
}

/// Fills the pieces one by one: `file` gives a segment's file, `None` for one that is not there and reads as zeros.
pub(super) fn read_pieces(
    pieces: impl Iterator<Item = Piece>,
    memory: &Words,
    file: impl Fn(u64) -> Result<Option<Arc<BlockFile>>, DeviceError>,
) -> Result<usize, DeviceError> {
    let mut moved = 0;
    for piece in pieces {
        let wanted = piece.words.len() * 8;
        let read = match file(piece.index)? {
            Some(file) => read_padded(&file, &piece, memory)?,
            None => {
                zero_behind(memory, &piece.words, 0);
                wanted
            }
        };
        moved += read;
        if read < wanted {
            break;
        }
    }
    Ok(moved)
}

impl SegmentedFiles {
    /// Opens or makes the `.meta` file, locks it, and finds the segments. What exists is not changed in any way.
    pub(super) fn open(
        directory: &Path,
        prefix: &str,
        segment_bytes: u64,
        options: &FileOptions,
    ) -> Result<Self, DeviceError> {
        if segment_bytes == 0 || !segment_bytes.is_multiple_of(BLOCK_BYTES as u64) {
            let message =
                format!("segments of {segment_bytes} bytes: must be a positive multiple of {BLOCK_BYTES}");
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message));
        }
        let names = SegmentNames::new(directory, prefix)?;
        if !names.existing()?.is_empty() && !names.meta().exists() {
            let message = "there are segments and no metadata file: without it they have no meaning";
            return Err(DeviceError::new(DeviceErrorKind::Corrupt, message).at_path(names.meta()));
        }
        let directory = Directory::made(directory)?;
        let meta = open_or_make(&names.meta(), options.direct_io)?;
        lock(&meta)?;
        let recorded = segment_size::check(&meta, segment_bytes)?;
        let file_bytes_max =
            os::file_bytes_max(meta.file()).map_err(|error| meta.failed("asking for limits", error))?;
        let found = names.existing()?;
        let longest = found.iter().map(|(_, len)| *len).max().unwrap_or_default();
        if segment_bytes > file_bytes_max || longest > segment_bytes {
            let message = format!(
                "segments of {segment_bytes} bytes: a file here holds at most {file_bytes_max}, and the longest \
                 segment that exists has {longest}"
            );
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message).at_path(meta.path()));
        }
        let last = found.iter().max();
        let end_offset =
            last.map_or(Some(0), |(index, len)| index.checked_mul(segment_bytes)?.checked_add(*len));
        let end_offset = end_offset.ok_or_else(|| {
            let message = "a segment's number is beyond every possible offset";
            DeviceError::new(DeviceErrorKind::Corrupt, message).at_path(directory.path())
        })?;
        let inherited = |(index, _)| (index, Segment { inherited: true, ..Segment::default() });
        Ok(Self {
            segments: Mutex::new(found.into_iter().map(inherited).collect()),
            end_offset: AtomicU64::new(end_offset),
            segment_bytes,
            names,
            options: options.clone(),
            directory,
            size_record: Mutex::new(if recorded { SizeRecord::Durable } else { SizeRecord::Missing }),
            meta,
        })
    }

    /// The open file of a segment; `None` when it does not exist and is not to be made.
    fn segment(&self, index: u64, make: bool) -> Result<Option<Arc<BlockFile>>, DeviceError> {
        let mut segments = self.segments.lock();
        let exists = segments.contains_key(&index);
        if !exists && !make {
            return Ok(None);
        }
        if let Some(file) = segments.get(&index).and_then(|segment| segment.file.as_ref()) {
            return Ok(Some(Arc::clone(file)));
        }
        if !exists {
            self.record_size()?;
        }
        close_an_idle_one(&mut segments, self.options.open_segments_max);
        let path = self.names.segment(index);
        let file = BlockFile::open(&path, !exists, self.options.direct_io).map_err(|error| {
            DeviceError::io(if exists { "opening a segment" } else { "making a segment" }, error)
                .at_path(&path)
        })?;
        if !exists {
            self.directory.names_changed();
        }
        file.reserve_ahead(self.options.preallocate_bytes, self.segment_bytes);
        let file = Arc::new(file);
        segments.entry(index).or_default().file = Some(Arc::clone(&file));
        Ok(Some(file))
    }

    fn record_size(&self) -> Result<(), DeviceError> {
        let mut record = self.size_record.lock();
        if *record == SizeRecord::Missing {
            segment_size::record(&self.meta, self.segment_bytes)?;
            *record = SizeRecord::Unsynced;
        }
        Ok(())
    }

    fn sync_meta(&self) -> Result<(), DeviceError> {
        self.meta.sync()?;
        let mut record = self.size_record.lock();
        if *record == SizeRecord::Unsynced {
            *record = SizeRecord::Durable;
        }
        Ok(())
    }

    /// Marks a segment as changed. `file` is held until then: an unmarked idle file may be closed.
    fn mark_unsynced(&self, index: u64, file: Arc<BlockFile>) {
        if let Some(segment) = self.segments.lock().get_mut(&index) {
            segment.unsynced = true;
        }
        drop(file);
    }

    fn delete(&self, index: u64) -> Result<(), DeviceError> {
        let segment = self.segments.lock().remove(&index);
        let path = self.names.segment(index);
        let removed = std::fs::remove_file(&path);
        self.directory.names_changed();
        match removed {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                // It is still there: so it must be known.
                self.segments.lock().insert(index, segment.unwrap_or_default());
                Err(DeviceError::io("deleting a segment", error).at_path(path))
            }
        }
    }
}

/// Fills a piece from its file; what lies behind the file's end is zero.
///
/// A neighbour's write can extend the file between the read that met its end and the question how long it is. What was
/// read then says nothing, and zeros would be a lie about bytes that may have been there all along: so it is read again,
/// and a short count is given only when the file keeps growing or the read is short inside of it for another reason.
fn read_padded(file: &BlockFile, piece: &Piece, memory: &Words) -> Result<usize, DeviceError> {
    const ATTEMPTS: usize = 4;
    let wanted = piece.words.len() * 8;
    let mut read = 0;
    for _ in 0..ATTEMPTS {
        read = file.read(piece.offset, memory, piece.words.clone())?;
        if read >= wanted {
            break;
        }
        if file.len()?.saturating_sub(piece.offset) <= read as u64 {
            zero_behind(memory, &piece.words, read);
            return Ok(wanted);
        }
    }
    Ok(read)
}

/// Makes room for one more open file, if something can be closed.
fn close_an_idle_one(segments: &mut BTreeMap<u64, Segment>, open_max: usize) {
    let open = segments.values().filter(|segment| segment.file.is_some()).count();
    if open < open_max {
        return;
    }
    let idle = segments.values_mut().find(|segment| {
        !segment.unsynced && segment.file.as_ref().is_some_and(|file| Arc::strong_count(file) == 1)
    });
    if let Some(idle) = idle {
        idle.file = None;
    }
}

impl Layout for SegmentedFiles {
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
        let segments = self.segments.lock();
        self.meta.is_direct()
            && segments.values().flat_map(|segment| &segment.file).all(|file| file.is_direct())
    }

    fn read(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError> {
        // Acquire pairs with the writer's release: what lies below the end was moved.
        let there = self.end_offset.load(Ordering::Acquire).saturating_sub(offset) / 8;
        let len_words = usize::try_from(there).unwrap_or(usize::MAX).min(words.len());
        let pieces = pieces(self.segment_bytes, offset, words.start..words.start + len_words);
        read_pieces(pieces, memory, |index| self.segment(index, false))
    }

    fn place_of_read(&self, offset: u64, len_bytes: usize) -> Option<(Arc<BlockFile>, u64)> {
        let end = offset.checked_add(len_bytes as u64)?;
        let (index, inside) = (offset / self.segment_bytes, offset % self.segment_bytes);
        // Acquire, as in `read`.
        if end > self.end_offset.load(Ordering::Acquire) || inside + len_bytes as u64 > self.segment_bytes {
            return None;
        }
        // An error is found again, and told, by `read`.
        Some((self.segment(index, false).ok()??, inside))
    }

    fn write(&self, offset: u64, memory: &Words, words: Range<usize>) -> Result<usize, DeviceError> {
        let mut moved = 0;
        for piece in pieces(self.segment_bytes, offset, words) {
            let Some(file) = self.segment(piece.index, true)? else { break };
            let wanted = piece.words.len() * 8;
            let written = file.write(piece.offset, memory, piece.words)?;
            self.mark_unsynced(piece.index, file);
            moved += written;
            self.end_offset.fetch_max(offset + moved as u64, Ordering::Release);
            if written < wanted {
                break;
            }
        }
        Ok(moved)
    }

    fn sync(&self) -> Result<(), DeviceError> {
        if *self.size_record.lock() == SizeRecord::Unsynced {
            self.sync_meta()?;
        }
        let mut unsynced = Vec::new();
        let mut inherited = Vec::new();
        for (index, segment) in self.segments.lock().iter_mut() {
            if segment.unsynced {
                unsynced.extend(segment.file.clone());
            } else if segment.inherited {
                inherited.push(*index);
            }
            segment.unsynced = false;
            segment.inherited = false;
        }
        for file in unsynced {
            file.sync()?;
        }
        for index in inherited {
            if let Some(file) = self.segment(index, false)? {
                file.sync()?;
            }
        }
        self.directory.sync()
    }

    fn read_slot(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        read_slot(&self.meta, (slot.index() * METADATA_SLOT_BYTES) as u64, buffer)
    }

    fn write_slot(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.record_size()?;
        write_slot(&self.meta, (slot.index() * METADATA_SLOT_BYTES) as u64, bytes)
    }

    fn sync_slots(&self) -> Result<(), DeviceError> {
        self.sync_meta()?;
        self.directory.sync()
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        let below = offset / self.segment_bytes;
        let doomed: Vec<u64> = self.segments.lock().range(..below).map(|(index, _)| *index).collect();
        let last = self.segments.lock().last_key_value().map(|(index, _)| *index);
        for index in doomed {
            if Some(index) == last {
                if let Some(file) = self.segment(index, false)? {
                    file.punch(0..file.len()?)?;
                    self.mark_unsynced(index, file);
                }
            } else {
                self.delete(index)?;
            }
        }
        Ok(())
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        let first_doomed = offset.div_ceil(self.segment_bytes);
        let doomed: Vec<u64> =
            self.segments.lock().range(first_doomed..).rev().map(|(index, _)| *index).collect();
        // From the end: whatever interrupts this, what is left has no gap that was not there.
        for index in doomed {
            self.delete(index)?;
        }
        let cut = offset / self.segment_bytes;
        if let Some(file) = self.segment(cut, false)? {
            file.cut(offset % self.segment_bytes)?;
            self.mark_unsynced(cut, file);
        }
        let last = self.segments.lock().last_key_value().map(|(index, _)| *index);
        let end_offset = match last {
            Some(index) => {
                let file = self.segment(index, false)?;
                index * self.segment_bytes + file.map_or(Ok(0), |file| file.len())?
            }
            None => 0,
        };
        self.end_offset.store(end_offset, Ordering::Release);
        Ok(())
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        let indexes: Vec<u64> = self.segments.lock().keys().copied().collect();
        let mut allocated_bytes = self.meta.allocated_bytes()?;
        for index in indexes {
            let path = self.names.segment(index);
            match std::fs::metadata(&path) {
                Ok(metadata) => allocated_bytes += os::allocated_bytes(&metadata),
                // Truncated meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(DeviceError::io("asking for the space of a segment", error).at_path(path));
                }
            }
        }
        Ok(SpaceUse { end_offset: self.end_offset.load(Ordering::Acquire), allocated_bytes })
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        os::free_bytes(self.meta.file()).map_err(|error| self.meta.failed("asking for free space", error))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
