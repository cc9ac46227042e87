//! A moving window of bytes over the log: from memory where it can, from the device where it must.
//!
//! Callers: whatever walks over entries (`walk`). Offsets are bytes of the log. What is asked for in rising order is read ahead in
//! chunks that grow.

use std::sync::Arc;

use oxifaster_core::Error;
use oxifaster_device::{BLOCK_BYTES, IoBuffer};

use crate::shared::Shared;
use crate::transfer::{AnyDevice, REQUEST_BYTES, read_all, read_some};

/// First read of a walk, in bytes.
const CHUNK_BYTES_MIN: u64 = 2 * BLOCK_BYTES as u64;
/// Largest read of a walk, in bytes.
const CHUNK_BYTES_MAX: u64 = 4 * REQUEST_BYTES;

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
    /// Memory for reads, used again.
    spare: Vec<IoBuffer>,
}

impl Window {
    pub(crate) fn new(device: AnyDevice, log: Option<Arc<Shared>>, start: u64, limit: u64) -> Self {
        let (bytes, spare) = (Vec::new(), Vec::new());
        Self { device, log, bytes, start, limit, next_chunk: CHUNK_BYTES_MIN, growing: false, spare }
    }

    /// A window over what another process writes at the same time: it covers what there is now.
    pub(crate) fn growing(device: AnyDevice, start: u64, limit: u64) -> Self {
        Self { growing: true, ..Self::new(device, None, start, limit) }
    }

    /// More was committed.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether `len` bytes from `offset` on can be had; they are in the window then. What lies below may leave it.
    pub(crate) fn covers(&mut self, offset: u64, len: u64) -> Result<bool, Error> {
        let end = offset.saturating_add(len);
        if end > self.limit {
            return Ok(false);
        }
        if offset >= self.start && end <= self.end() {
            return Ok(true);
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
            if self.growing && self.end() == before {
                return Ok(false);
            }
        }
        Ok(true)
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
        let to = needed.max(from + self.next_chunk).min(self.limit);
        self.next_chunk = (self.next_chunk * 4).min(CHUNK_BYTES_MAX);
        if let Some(log) = &self.log
            && (!log.persistent || from / 8 >= log.ring.readable_from())
            && log.ring.copy_out(from / 8..to / 8, &mut self.bytes)
        {
            return Ok(());
        }
        // What is in memory may not be on the device yet.
        let on_device = self.log.as_ref().map_or(u64::MAX, |log| log.ring.readable_from() * 8);
        self.read(from, to.min(on_device.max(from + 8)))
    }

    fn read(&mut self, from: u64, to: u64) -> Result<(), Error> {
        let block = BLOCK_BYTES as u64;
        let mut offset = from / block * block;
        let end = to.next_multiple_of(block);
        let mut parts = Vec::new();
        while offset < end {
            let bytes = (end - offset).min(REQUEST_BYTES);
            parts.push((offset, self.buffer(bytes)?));
            offset += bytes;
        }
        let there = if self.growing {
            read_some(self.device.as_ref(), &parts)?
        } else {
            read_all(self.device.as_ref(), &parts)?;
            usize::MAX
        };
        let there = from.max((from / block * block).saturating_add(there as u64));
        let mut skip = usize::try_from(from % block).unwrap_or(0);
        for (_, buffer) in parts {
            let before = self.bytes.len();
            self.bytes.resize(before + buffer.len_bytes(), 0);
            buffer.load_bytes(self.bytes.get_mut(before..).unwrap_or_default());
            self.bytes.drain(before..before + skip);
            skip = 0;
            self.spare.push(buffer);
        }
        let behind = usize::try_from(end - to.min(there)).unwrap_or(0);
        self.bytes.truncate(self.bytes.len().saturating_sub(behind));
        Ok(())
    }

    /// Memory of `bytes` bytes, whole blocks.
    fn buffer(&mut self, bytes: u64) -> Result<IoBuffer, Error> {
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        let fits = self.spare.iter().position(|buffer| buffer.len_bytes() == len);
        match fits {
            Some(place) => Ok(self.spare.swap_remove(place)),
            None => Ok(IoBuffer::zeroed(len / BLOCK_BYTES)?),
        }
    }
}
