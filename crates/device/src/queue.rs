//! The queue contract: submit reads, writes and syncs with a tag, reap completions in batches.
//!
//! A queue belongs to the thread that opened it. It is sans-order: completions come in any order, each exactly once,
//! with the buffer that was lent. Memory is word memory ([`Words`]) that every request keeps alive by reference count,
//! so a request can outlive whoever asked for it: dropping a future detaches it, nothing else.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::device::Geometry;
use crate::error::DeviceError;
use crate::memory::Words;
use crate::sync::atomic::Ordering;
use crate::{BLOCK_BYTES, BLOCK_WORDS, DeviceErrorKind};

/// A block-aligned part of word memory that a request reads from or writes to.
#[derive(Clone)]
pub struct IoBuffer {
    memory: Arc<Words>,
    start_word: usize,
    len_words: usize,
}

impl IoBuffer {
    /// The words `range` of `memory`, for block I/O.
    ///
    /// # Errors
    /// `InvalidRequest` when the range is not whole blocks inside of the memory.
    pub fn new(memory: Arc<Words>, range: Range<usize>) -> Result<Self, DeviceError> {
        let aligned = range.start.is_multiple_of(BLOCK_WORDS) && range.end.is_multiple_of(BLOCK_WORDS);
        if !aligned || range.start >= range.end || range.end > memory.len() {
            return Err(DeviceError::new(
                DeviceErrorKind::InvalidRequest,
                format!(
                    "an I/O buffer must be whole blocks of its memory, not words {range:?} of {}",
                    memory.len()
                ),
            ));
        }
        Ok(Self { memory, start_word: range.start, len_words: range.end - range.start })
    }

    /// New zeroed memory of its own, of `blocks` blocks.
    ///
    /// # Errors
    /// `Io` when there is no memory.
    pub fn zeroed(blocks: usize) -> Result<Self, DeviceError> {
        let memory = Arc::new(Words::zeroed(blocks * BLOCK_WORDS)?);
        Self::new(memory, 0..blocks * BLOCK_WORDS)
    }

    /// The memory that the buffer is a part of.
    pub fn memory(&self) -> &Arc<Words> {
        &self.memory
    }

    /// The buffer's words inside of [`memory`](Self::memory).
    pub fn word_range(&self) -> Range<usize> {
        self.start_word..self.start_word + self.len_words
    }

    /// The buffer's words.
    pub fn words(&self) -> &[crate::sync::atomic::AtomicU64] {
        self.memory.get(self.word_range()).unwrap_or_default()
    }

    /// Length in bytes, a multiple of 4096.
    pub fn len_bytes(&self) -> usize {
        self.len_words * 8
    }

    /// Stores `bytes` at the front of the buffer, word by word; the rest of the last word becomes zero, everything
    /// behind it stays. Bytes that do not fit are left out.
    pub fn store_bytes(&self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        for (word, chunk) in self.words().iter().zip(whole) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        if let Some(word) = self.words().get(whole.len()).filter(|_| !rest.is_empty()) {
            let mut value = [0_u8; 8];
            value.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            word.store(u64::from_le_bytes(value), Ordering::Relaxed);
        }
    }

    /// Loads the front of the buffer into `bytes`, word by word. Bytes beyond the buffer are left as they were.
    pub fn load_bytes(&self, bytes: &mut [u8]) {
        let (whole, rest) = bytes.as_chunks_mut::<8>();
        for (word, chunk) in self.words().iter().zip(&mut *whole) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        if let Some(word) = self.words().get(whole.len()) {
            let value = word.load(Ordering::Relaxed).to_le_bytes();
            rest.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        }
    }
}

impl fmt::Debug for IoBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoBuffer").field("words", &self.word_range()).finish_non_exhaustive()
    }
}

/// What a request does.
#[derive(Debug)]
pub enum IoOperation {
    /// Fill the buffer from the device.
    Read(IoBuffer),
    /// Write the buffer to the device. Nobody may change its words until the completion is reaped.
    Write(IoBuffer),
    /// Make durable what completed before (rule 2 of the device contract). The offset means nothing.
    Sync,
}

/// A request: what, where, and how the caller will recognise its completion.
#[derive(Debug)]
pub struct IoRequest {
    /// Comes back in the completion.
    pub tag: u64,
    /// Byte offset in the device, a multiple of 4096.
    pub offset: u64,
    /// What to do.
    pub operation: IoOperation,
}

impl IoRequest {
    /// What every queue checks in [`IoQueue::submit`]: whole blocks, not in the reserved bytes, no overflow. Whether
    /// there is room is not checked: that is an error of the completion.
    ///
    /// # Errors
    /// `InvalidRequest`.
    pub fn check(&self, geometry: &Geometry) -> Result<(), DeviceError> {
        let (IoOperation::Read(buffer) | IoOperation::Write(buffer)) = &self.operation else { return Ok(()) };
        let len_bytes = buffer.len_bytes() as u64;
        let fault = if !self.offset.is_multiple_of(BLOCK_BYTES as u64) {
            format!("block I/O at an offset that is not a multiple of {BLOCK_BYTES}")
        } else if self.offset < geometry.reserved_bytes {
            format!(
                "block I/O inside of the first {} bytes, which belong to the device",
                geometry.reserved_bytes
            )
        } else if self.offset.checked_add(len_bytes).is_none() {
            format!("{len_bytes} bytes from here end behind every possible offset")
        } else {
            return Ok(());
        };
        Err(DeviceError::new(DeviceErrorKind::InvalidRequest, fault).at_offset(self.offset))
    }
}

/// A finished request.
#[derive(Debug)]
#[must_use = "a completion carries an error or a byte count that must be looked at"]
pub struct Completion {
    /// The request's tag.
    pub tag: u64,
    /// The request's offset.
    pub offset: u64,
    /// Bytes that moved (0 for a sync), possibly fewer than asked.
    pub result: Result<usize, DeviceError>,
    /// The request's operation, with its buffer, as it was submitted.
    pub operation: IoOperation,
}

/// Whether [`IoQueue::reap`] may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Take what is there.
    No,
    /// Wait for at least one completion if anything is in flight.
    ForOne,
}

/// How a queue is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Requests that can be in flight at once; more wait inside of the queue.
    pub depth: usize,
}

impl Default for QueueOptions {
    /// 128 requests in flight.
    fn default() -> Self {
        Self { depth: 128 }
    }
}

/// Makes the waiting [`IoQueue::reap`] of another thread return, or the next one, if none is waiting.
#[derive(Clone)]
pub struct Interrupt(Arc<dyn Fn() + Send + Sync>);

impl Interrupt {
    /// An interrupt that is raised by calling `raise`, from any thread.
    pub fn new(raise: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(raise))
    }

    /// Raises it. Several that are raised before the reap count as one.
    pub fn raise(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

/// A thread's own submission and completion queue. The module header has the rules.
pub trait IoQueue: fmt::Debug {
    /// Accepts a request. Never waits for I/O; requests beyond the depth are kept and started later. A queue may delay
    /// the start of requests until the next [`reap`](Self::reap) or [`kick`](Self::kick), to start them together.
    ///
    /// # Errors
    /// `InvalidRequest` (alignment, range), with nothing submitted. I/O errors come with the completion.
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError>;

    /// Starts everything submitted so far.
    ///
    /// # Errors
    /// When the queue itself is broken. Requests are then completed with errors by the next reaps.
    fn kick(&mut self) -> Result<(), DeviceError>;

    /// Starts what was submitted, appends finished requests to `completions` and says how many.
    ///
    /// # Errors
    /// When the queue itself is broken, not when a request failed.
    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError>;

    /// Requests submitted and not yet reaped.
    fn in_flight(&self) -> usize;

    /// A way to end this queue's waiting [`reap`](Self::reap) from another thread, with or without a completion: for an owner
    /// who also waits for others. `None`: such an owner hears of others only when a request has completed.
    fn interrupt(&mut self) -> Option<Interrupt> {
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_go_in_and_come_out() {
        let block: Vec<u8> = (0..BLOCK_BYTES).map(|place| place.to_le_bytes()[0] | 1).collect();
        for len in [0, 1, 7, 8, 9, 15, 16, 4088, 4095, 4096] {
            let buffer = IoBuffer::zeroed(1).unwrap();
            buffer.store_bytes(&[0xFF; BLOCK_BYTES]);
            buffer.store_bytes(block.get(..len).unwrap());
            let mut all = vec![0; BLOCK_BYTES];
            buffer.load_bytes(&mut all);
            let mut expected = block.get(..len).unwrap().to_vec();
            expected.resize(len.next_multiple_of(8), 0);
            expected.resize(BLOCK_BYTES, 0xFF);
            assert!(all == expected, "{len} bytes stored");
            let mut front = vec![0; len];
            buffer.load_bytes(&mut front);
            assert!(front == block.get(..len).unwrap(), "{len} bytes loaded");
        }
        // What is longer than the buffer is cut off, and left alone.
        let buffer = IoBuffer::zeroed(1).unwrap();
        buffer.store_bytes(&[5; BLOCK_BYTES + 9]);
        let mut more = vec![7; BLOCK_BYTES + 9];
        buffer.load_bytes(&mut more);
        let (inside, behind) = more.split_at(BLOCK_BYTES);
        assert!(inside.iter().all(|byte| *byte == 5) && behind.iter().all(|byte| *byte == 7));
    }
}
