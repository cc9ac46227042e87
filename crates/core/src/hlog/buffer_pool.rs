//! Buffers for reads of one or a few blocks, reused: mapping memory for every read would cost more than the read.
//!
//! Called by block reads, from any thread; only reads from the device come here, so a lock is fine. A buffer is given
//! back only when no request can still write into it.

use oxifaster_device::sync::Mutex;
use oxifaster_device::{DeviceError, IoBuffer, Words};
use std::sync::Arc;

/// Longest run of blocks that is pooled.
const BLOCKS_MAX: usize = 2;
/// Buffers cut from one mapping.
const SLAB_BUFFERS: usize = 64;
/// Buffers of each length that are kept.
const KEPT_MAX: usize = 512;

/// The pool; see the module header.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: [Mutex<Vec<IoBuffer>>; BLOCKS_MAX],
}

impl BufferPool {
    /// A buffer of `blocks` blocks, with any content.
    pub(crate) fn take(&self, blocks: usize) -> Result<IoBuffer, DeviceError> {
        let Some(free) = blocks.checked_sub(1).and_then(|place| self.free.get(place)) else {
            return IoBuffer::zeroed(blocks);
        };
        let mut free = free.lock();
        if let Some(buffer) = free.pop() {
            return Ok(buffer);
        }
        let words = blocks * oxifaster_device::BLOCK_WORDS;
        let slab = Arc::new(Words::zeroed(words * SLAB_BUFFERS)?);
        for start in (words..words * SLAB_BUFFERS).step_by(words) {
            free.push(IoBuffer::new(Arc::clone(&slab), start..start + words)?);
        }
        IoBuffer::new(slab, 0..words)
    }

    /// Takes a buffer back that nobody reads or writes any more.
    pub(crate) fn give_back(&self, buffer: IoBuffer) {
        let blocks = buffer.len_bytes() / oxifaster_device::BLOCK_BYTES;
        if let Some(free) = blocks.checked_sub(1).and_then(|place| self.free.get(place)) {
            let mut free = free.lock();
            if free.len() < KEPT_MAX {
                free.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_never_overlap() {
        let pool = BufferPool::default();
        let taken: Vec<IoBuffer> = (0..200).map(|number| pool.take(1 + number % 2).unwrap()).collect();
        let mut starts: Vec<usize> = taken.iter().map(|buffer| buffer.words().as_ptr() as usize).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), 200);
        let known = taken.first().unwrap().words().as_ptr();
        taken.into_iter().for_each(|buffer| pool.give_back(buffer));
        let again: Vec<IoBuffer> = (0..100).map(|_| pool.take(1).unwrap()).collect();
        assert!(again.iter().any(|buffer| buffer.words().as_ptr() == known));
    }
}
