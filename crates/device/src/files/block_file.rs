//! One open file of blocks: reads, writes, reserved space, and direct I/O as long as the file system goes along.
//!
//! Callers: the layouts (`single`, `segmented`). Everything takes `&self` and may run on several threads at once; the
//! kernel orders nothing among them, and neither do we.
//!
//! | field | changes |
//! |---|---|
//! | `direct` | from true to false, once, when the file system refuses a direct request |
//! | `reserve` | grows under its mutex; whoever holds it calls `fallocate` |
//! | `wrote` | from false to true at the first change; a file that we did not change is not touched on close |

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::lock::unlock;
use crate::error::{DeviceError, DeviceErrorKind};
use crate::memory::Words;
use crate::os::file as os;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::process::HomeProcess;
use crate::{BLOCK_BYTES, IoBuffer};

pub(crate) struct BlockFile {
    file: File,
    path: PathBuf,
    home: HomeProcess,
    direct: AtomicBool,
    wrote: AtomicBool,
    reserve: Mutex<Reserve>,
}

struct Reserve {
    /// Everything below is allocated or was tried.
    end: u64,
    step_bytes: u64,
    /// Never reserve beyond.
    limit: u64,
}

impl BlockFile {
    /// Opens a file that exists, or with `create` makes a new one.
    pub(crate) fn open(path: &Path, create: bool, direct: bool) -> std::io::Result<Self> {
        let (file, direct) = match os::open(path, create, direct) {
            Ok(file) => (file, direct),
            Err(error) if direct && os::refuses_direct(&error) => {
                tracing::info!(path = %path.display(), %error, "direct I/O is refused here; using the page cache");
                // The refused call may have made the file already.
                (os::open(path, create && !path.exists(), false)?, false)
            }
            Err(error) => return Err(error),
        };
        Ok(Self::of(file, path, direct))
    }

    /// Opens a file that exists and will not be written.
    pub(super) fn open_to_read(path: &Path, direct: bool) -> std::io::Result<Self> {
        let (file, direct) = match os::open_to_read(path, direct) {
            Err(error) if direct && os::refuses_direct(&error) => (os::open_to_read(path, false)?, false),
            opened => (opened?, direct),
        };
        Ok(Self::of(file, path, direct))
    }

    fn of(file: File, path: &Path, direct: bool) -> Self {
        Self {
            file,
            path: path.to_path_buf(),
            home: HomeProcess::here(),
            direct: AtomicBool::new(direct),
            wrote: AtomicBool::new(false),
            reserve: Mutex::new(Reserve { end: 0, step_bytes: 0, limit: 0 }),
        }
    }

    /// Reserves space in steps from now on, up to `limit`.
    pub(super) fn reserve_ahead(&self, step_bytes: u64, limit: u64) {
        let mut reserve = self.reserve.lock();
        reserve.step_bytes = step_bytes;
        reserve.limit = limit;
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Apparent size in bytes.
    pub(super) fn len(&self) -> Result<u64, DeviceError> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(|error| self.failed("asking for the size of a file", error))?.len())
    }

    pub(super) fn allocated_bytes(&self) -> Result<u64, DeviceError> {
        let metadata = self.file.metadata();
        Ok(os::allocated_bytes(
            &metadata.map_err(|error| self.failed("asking for the space of a file", error))?,
        ))
    }

    /// Fills `words`; fewer bytes only at the end of the file.
    pub(super) fn read(
        &self,
        offset: u64,
        memory: &Words,
        words: Range<usize>,
    ) -> Result<usize, DeviceError> {
        self.transfer(offset, words, |offset, words| os::read_at(&self.file, offset, memory, words))
            .map_err(|(offset, error)| self.failed("reading blocks", error).at_offset(offset))
    }

    /// Writes `words`, reserving space ahead of them.
    pub(super) fn write(
        &self,
        offset: u64,
        memory: &Words,
        words: Range<usize>,
    ) -> Result<usize, DeviceError> {
        self.wrote.store(true, Ordering::Relaxed);
        self.reserve_for(offset, offset + words.len() as u64 * 8);
        self.transfer(offset, words, |offset, words| os::write_at(&self.file, offset, memory, words))
            .map_err(|(offset, error)| self.failed("writing blocks", error).at_offset(offset))
    }

    /// Repeats a call until everything moved or it makes no more whole blocks of progress.
    fn transfer(
        &self,
        offset: u64,
        words: Range<usize>,
        call: impl Fn(u64, Range<usize>) -> std::io::Result<usize>,
    ) -> Result<usize, (u64, std::io::Error)> {
        let len_bytes = words.len() * 8;
        let mut moved = 0;
        while moved < len_bytes {
            let here = offset + moved as u64;
            let bytes = match call(here, words.start + moved / 8..words.end) {
                Err(error) if self.is_direct() && error.kind() == std::io::ErrorKind::InvalidInput => {
                    self.leave_direct(&error).map_err(|error| (here, error))?;
                    continue;
                }
                result => result.map_err(|error| (here, error))?,
            };
            moved += bytes;
            if bytes == 0 || !moved.is_multiple_of(BLOCK_BYTES) {
                break;
            }
        }
        Ok(moved)
    }

    /// The file system opened the file for direct I/O and then refused a request of whole aligned blocks: it wants
    /// larger ones, or does not mean it. The page cache always works.
    fn leave_direct(&self, error: &std::io::Error) -> std::io::Result<()> {
        tracing::warn!(path = %self.path.display(), %error, "a direct request was refused; using the page cache");
        os::leave_direct(&self.file)?;
        self.direct.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Allocates the next step when a write is about to leave what is allocated. It only makes writing faster: whether
    /// there is space is decided by the write itself.
    fn reserve_for(&self, start: u64, end: u64) {
        let mut reserve = self.reserve.lock();
        if reserve.step_bytes == 0 || end <= reserve.end {
            return;
        }
        let from = start.max(reserve.end);
        let until = end.saturating_add(reserve.step_bytes).min(reserve.limit).max(end);
        match os::allocate(&self.file, &(from..until)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                tracing::debug!(path = %self.path.display(), "space can't be reserved here");
                reserve.step_bytes = 0;
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, from, until, "no space was reserved");
            }
        }
        reserve.end = until;
    }

    pub(super) fn sync(&self) -> Result<(), DeviceError> {
        os::sync_file(&self.file).map_err(|error| self.failed("syncing a file", error))
    }

    /// Gives the space of `range` back, if the file system can. The range then reads as zeros.
    pub(super) fn punch(&self, range: Range<u64>) -> Result<(), DeviceError> {
        match os::punch(&self.file, &range) {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                tracing::debug!(path = %self.path.display(), "the space of truncated blocks can't be given back here");
                Ok(())
            }
            result => {
                self.wrote.store(true, Ordering::Relaxed);
                result.map_err(|error| {
                    self.failed("giving space back to the file system", error).at_offset(range.start)
                })
            }
        }
    }

    /// Cuts the file to at most `len` bytes; it never grows.
    pub(super) fn cut(&self, len: u64) -> Result<(), DeviceError> {
        // Held: a writer must not reserve in between, since cutting gives reserved space back.
        let mut reserve = self.reserve.lock();
        if self.len()? > len {
            self.wrote.store(true, Ordering::Relaxed);
            self.file.set_len(len).map_err(|error| self.failed("cutting a file", error).at_offset(len))?;
            reserve.end = reserve.end.min(len);
        }
        Ok(())
    }

    pub(super) fn failed(&self, what: &str, error: std::io::Error) -> DeviceError {
        DeviceError::io(what, error).at_path(&self.path)
    }
}

impl BlockFile {
    /// Gives reserved space behind the end back: setting a file's length frees what lies beyond it.
    fn release_reserve(&self) {
        let reserved = self.reserve.lock().end;
        let released = self.file.metadata().and_then(|metadata| {
            if reserved > metadata.len() { self.file.set_len(metadata.len()) } else { Ok(()) }
        });
        if let Err(error) = released {
            // Nothing is lost but space, until the file is cut or closed the next time.
            tracing::warn!(path = %self.path.display(), %error, "reserved space was not given back");
        }
    }
}

impl Drop for BlockFile {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The lock and the reserved space are the parent's: the open file is one for both.
            return;
        }
        if self.wrote.load(Ordering::Relaxed) {
            self.release_reserve();
        }
        unlock(self);
    }
}

/// Makes everything behind the first `moved` bytes of `words` zero.
pub(super) fn zero_behind(memory: &Words, words: &Range<usize>, moved: usize) {
    let first = words.start + moved / 8;
    let kept_bits = u32::try_from(moved % 8 * 8).unwrap_or_default();
    for (place, word) in memory.get(first..words.end).unwrap_or_default().iter().enumerate() {
        let kept = if place == 0 { word.load(Ordering::Relaxed) & !(u64::MAX << kept_bits) } else { 0 };
        word.store(kept, Ordering::Relaxed);
    }
}

/// Reads a metadata slot that starts at `offset`; what the file does not have is zero.
pub(super) fn read_slot(file: &BlockFile, offset: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
    // Memory of its own: direct I/O wants aligned blocks. It is fresh, hence zero where nothing is read.
    let memory = IoBuffer::zeroed(buffer.len().div_ceil(BLOCK_BYTES).max(1))?;
    let moved = file.read(offset, memory.memory(), memory.word_range())?;
    let there = file.len()?.saturating_sub(offset).min(memory.len_bytes() as u64);
    if (moved as u64) < there {
        let short = format!("only {moved} of {there} bytes of a metadata slot could be read");
        return Err(DeviceError::new(DeviceErrorKind::Io, short).at_path(file.path()).at_offset(offset));
    }
    memory.load_bytes(buffer);
    Ok(())
}

/// Writes the front of a metadata slot that starts at `offset`, in whole blocks. Not durable yet.
pub(super) fn write_slot(file: &BlockFile, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
    let memory = IoBuffer::zeroed(bytes.len().div_ceil(BLOCK_BYTES).max(1))?;
    memory.store_bytes(bytes);
    let moved = file.write(offset, memory.memory(), memory.word_range())?;
    if moved < memory.len_bytes() {
        let short = format!("only {moved} of {} bytes of a metadata slot were written", memory.len_bytes());
        return Err(DeviceError::new(DeviceErrorKind::Io, short).at_path(file.path()).at_offset(offset));
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::BlockFile;
    use crate::{DeviceErrorKind, IoBuffer};

    /// The kernel's own "no space left", from the device that has none.
    #[test]
    fn enospc_is_full() {
        let file = BlockFile::open("/dev/full".as_ref(), false, false).unwrap();
        let buffer = IoBuffer::zeroed(2).unwrap();
        let error = file.write(4096, buffer.memory(), buffer.word_range()).unwrap_err();
        assert_eq!(error.kind(), DeviceErrorKind::Full);
        assert_eq!(error.offset(), Some(4096));
    }

    #[test]
    fn zeros_behind_a_count_that_is_no_whole_word() {
        let buffer = IoBuffer::zeroed(1).unwrap();
        buffer.store_bytes(&[0xFF; 4096]);
        super::zero_behind(buffer.memory(), &buffer.word_range(), 13);
        let mut bytes = [1; 4096];
        buffer.load_bytes(&mut bytes);
        assert!(bytes[..13].iter().all(|byte| *byte == 0xFF) && bytes[13..].iter().all(|byte| *byte == 0));
    }
}
