//! Bytes that follow each other: appended behind, dropped in front, in memory that is used again.
//!
//! Caller: `window`. A vector would do, but for what it costs a scan at the device's rate: zeroing what is overwritten at once, and
//! moving the rest to the front for each entry.

use std::ops::Range;

/// See the module header.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    memory: Vec<u8>,
    /// Where in the memory the bytes are.
    filled: Range<usize>,
}

impl Stretch {
    pub(crate) fn len(&self) -> usize {
        self.filled.len()
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0..0;
    }

    /// Drops up to `len` bytes in front.
    pub(crate) fn drop_front(&mut self, len: usize) {
        self.filled.start += len.min(self.filled.len());
    }

    /// Drops all behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.filled.end = self.filled.end.min(self.filled.start.saturating_add(len));
    }

    /// The bytes of a range, if all are there.
    pub(crate) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.memory.get(self.filled.clone())?.get(range)
    }

    /// Lets `fill` write into `len` bytes behind the last one, with any content, and keeps those of the range that it returns.
    pub(crate) fn append(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> Range<usize>) {
        if self.memory.len() - self.filled.end < len {
            self.memory.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            let needed = self.filled.end + len;
            if self.memory.len() < needed {
                self.memory.resize(needed, 0);
            }
        }
        let room = self.filled.end..self.filled.end + len;
        let kept = fill(self.memory.get_mut(room.clone()).unwrap_or_default());
        let kept = kept.start.min(len)..kept.end.min(len);
        if kept.start > 0 {
            self.memory
                .copy_within(room.start + kept.start..room.start + kept.end.max(kept.start), room.start);
        }
        self.filled.end += kept.len();
    }

    /// Bytes of memory.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.capacity()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_and_dropped_is_what_a_vector_would_hold() {
        let (mut stretch, mut vector) = (Stretch::default(), Vec::new());
        let mut next = 0_u8;
        for round in 0..500_usize {
            let (len, skip, behind) = (round * 37 % 91, round % 5, round % 7);
            let kept = skip.min(len)..len.saturating_sub(behind).max(skip.min(len));
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect();
            vector.extend_from_slice(&bytes[kept.clone()]);
            stretch.append(len, |room| {
                room.copy_from_slice(&bytes);
                kept
            });
            let gone = round * 53 % 77;
            stretch.drop_front(gone);
            vector.drain(..gone.min(vector.len()));
            if round % 29 == 0 {
                stretch.truncate(20);
                vector.truncate(20);
            }
            assert_eq!(stretch.len(), vector.len(), "round {round}");
            assert_eq!(stretch.get(0..vector.len()), Some(vector.as_slice()), "round {round}");
            assert_eq!(stretch.get(0..vector.len() + 1), None);
        }
        assert!(stretch.memory_bytes() < 4096, "{} bytes", stretch.memory_bytes());
        stretch.clear();
        assert_eq!((stretch.len(), stretch.get(0..1)), (0, None));
    }
}
