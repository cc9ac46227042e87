//! A moving window of bytes over the log: from memory where it can, from the device where it must.
//!
//! Callers: whatever walks over entries (`walk`). Offsets are bytes of the log. What is asked for in rising order is read in chunks that
//! grow, and when they are as large as they get, ahead by a thread ([`ReadAhead`]). A window with a waker never waits for the device: it
//! says so, and wakes.

use std::sync::Arc;
use std::task::Waker;

use oxifaster_core::Error;
use oxifaster_device::{BLOCK_BYTES, IoBuffer};

use crate::read_ahead::{ReadAhead, memory};
use crate::shared::Shared;
use crate::transfer::{AnyDevice, REQUEST_BYTES, read_all, read_some};

/// First read of a walk, in bytes.
const CHUNK_BYTES_MIN: u64 = 2 * BLOCK_BYTES as u64;
/// Largest read of a walk, in bytes.
const CHUNK_BYTES_MAX: u64 = 4 * REQUEST_BYTES;

/// Pieces of memory that are kept: those of reads ahead, and of one read.
const SPARE_MAX: usize = 12;

/// Whether bytes can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// They are in the window.
    Yes,
    /// They lie behind the limit, or behind what there is.
    No,
    /// They are being read; the waker will be woken.
    NotYet,
}

/// See the module header.
#[derive(Debug)]
pub(crate) struct Window {
    device: AnyDevice,
    /// The open log whose memory may have what is wanted.
    log: Option<Arc<Shared>>,
    bytes: Vec<u8>,
    /// Offset of the first byte.
    start: u64,
    /// Nothing from here on is read.
    limit: u64,
    next_chunk: u64,
    /// Somebody else writes what is read: it may end anywhere.
    growing: bool,
    ahead: Option<ReadAhead>,
    /// Who is woken instead of waiting.
    waker: Option<Waker>,
    /// Memory for reads, used again.
    spare: Vec<IoBuffer>,
}

impl Window {
    pub(crate) fn new(device: AnyDevice, log: Option<Arc<Shared>>, start: u64, limit: u64) -> Self {
        let (bytes, spare) = (Vec::new(), Vec::new());
        let next_chunk = CHUNK_BYTES_MIN;
        Self { device, log, bytes, start, limit, next_chunk, growing: false, ahead: None, waker: None, spare }
    }

    /// A window over what another process writes at the same time: it covers what there is now.
    pub(crate) fn growing(device: AnyDevice, start: u64, limit: u64) -> Self {
        Self { growing: true, ..Self::new(device, None, start, limit) }
    }

    /// More was committed.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Instead of waiting for the device from now on, wake; without a waker, wait.
    pub(crate) fn set_waker(&mut self, waker: Option<&Waker>) {
        self.waker = waker.cloned();
    }

    /// [`cover`](Self::cover) of a window that waits.
    pub(crate) fn covers(&mut self, offset: u64, len: u64) -> Result<bool, Error> {
        Ok(self.cover(offset, len)? == Cover::Yes)
    }

    /// Whether `len` bytes from `offset` on can be had; they are in the window then. What lies below may leave it.
    pub(crate) fn cover(&mut self, offset: u64, len: u64) -> Result<Cover, Error> {
        let end = offset.saturating_add(len);
        if end > self.limit {
            return Ok(Cover::No);
        }
        if offset >= self.start && end <= self.end() {
            return Ok(Cover::Yes);
        }
        if offset < self.start || offset >= self.end() {
            self.bytes.clear();
            self.start = offset;
        } else {
            let gone = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
            self.bytes.drain(..gone.min(self.bytes.len()));
            self.start = offset;
        }
        while self.end() < end {
            let before = self.end();
            self.grow(end)?;
            if self.end() == before {
                return Ok(if self.waker.is_some() { Cover::NotYet } else { Cover::No });
            }
        }
        Ok(Cover::Yes)
    }

    /// Bytes that [`covers`](Self::covers) has found.
    pub(crate) fn get(&self, offset: u64, len: u64) -> &[u8] {
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        self.bytes.get(from..to).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Appends the next chunk, which reaches to `needed` if it can.
    fn grow(&mut self, needed: u64) -> Result<(), Error> {
        let from = self.end();
        // A header may claim more than there is: no more memory is taken at once than was read before.
        let to = needed.clamp(from + self.next_chunk, from + CHUNK_BYTES_MAX).min(self.limit);
        self.next_chunk = (self.next_chunk * 4).min(CHUNK_BYTES_MAX);
        if let Some(log) = &self.log
            && (!log.persistent || from / 8 >= log.ring.readable_from())
            && log.ring.copy_out(from / 8..to / 8, &mut self.bytes)
        {
            return Ok(());
        }
        // What is in memory may not be on the device yet.
        let on_device = self.log.as_ref().map_or(u64::MAX, |log| log.ring.readable_from() * 8);
        let sequential = self.next_chunk == CHUNK_BYTES_MAX && self.limit.min(on_device) > to;
        if !self.growing && (self.waker.is_some() || self.ahead.is_some() || sequential) {
            return self.read_on(from, self.limit.min(on_device.max(from + 8)));
        }
        self.read(from, to.min(on_device.max(from + 8)))
    }

    /// Appends what was read ahead from `from` on; with a waker, possibly nothing.
    fn read_on(&mut self, from: u64, limit: u64) -> Result<(), Error> {
        let block = BLOCK_BYTES as u64;
        let start = from / block * block;
        let ahead = match &mut self.ahead {
            Some(ahead) => ahead,
            none => none.insert(ReadAhead::new(&self.device, start)?),
        };
        ahead.go_on_at(start);
        ahead.fill(limit.next_multiple_of(block), &mut self.spare)?;
        let Some((offset, buffer)) = ahead.take(self.waker.as_ref())? else { return Ok(()) };
        let end = offset + buffer.len_bytes() as u64;
        self.append(&buffer, from - offset, end.saturating_sub(self.limit));
        self.keep(buffer);
        Ok(())
    }

    /// Appends a buffer without its first `skip` and last `behind` bytes.
    fn append(&mut self, buffer: &IoBuffer, skip: u64, behind: u64) {
        let before = self.bytes.len();
        self.bytes.resize(before + buffer.len_bytes(), 0);
        buffer.load_bytes(self.bytes.get_mut(before..).unwrap_or_default());
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(buffer.len_bytes());
        self.bytes.drain(before..before + skip);
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        self.bytes.truncate(self.bytes.len().saturating_sub(behind).max(before));
    }

    /// Keeps memory for the next read; not one piece of each length that ever was.
    fn keep(&mut self, buffer: IoBuffer) {
        if self.spare.len() >= SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(buffer);
    }

    fn read(&mut self, from: u64, to: u64) -> Result<(), Error> {
        let block = BLOCK_BYTES as u64;
        let mut offset = from / block * block;
        let end = to.next_multiple_of(block);
        let mut parts = Vec::new();
        while offset < end {
            let bytes = (end - offset).min(REQUEST_BYTES);
            parts.push((offset, memory(bytes, &mut self.spare)?));
            offset += bytes;
        }
        let there = if self.growing {
            read_some(self.device.as_ref(), &parts)?
        } else {
            read_all(self.device.as_ref(), &parts)?;
            usize::MAX
        };
        let there = from.max((from / block * block).saturating_add(there as u64));
        let before = self.bytes.len();
        let mut skip = from % block;
        for (_, buffer) in parts {
            self.append(&buffer, skip, 0);
            skip = 0;
            self.keep(buffer);
        }
        let behind = usize::try_from(end - to.min(there)).unwrap_or(0);
        self.bytes.truncate(self.bytes.len().saturating_sub(behind).max(before));
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use oxifaster_device::fault::FaultDevice;

    use super::*;

    #[test]
    fn a_header_that_claims_more_than_there_is_takes_no_memory_for_it() {
        let device = FaultDevice::new(1);
        device.overwrite(0, &[7; 3 * BLOCK_BYTES]);
        let mut window = Window::growing(Arc::new(device), 0, u64::MAX >> 16);
        assert!(!window.covers(8, 256 << 20).unwrap());
        assert!(window.bytes.capacity() <= 16 << 20, "{} bytes", window.bytes.capacity());
        assert!(window.spare.len() <= SPARE_MAX, "{} pieces", window.spare.len());
        assert!(window.covers(8, 3 * BLOCK_BYTES as u64 - 8).unwrap());
    }
}
