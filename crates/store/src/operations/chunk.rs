//! Tail space in chunks: what a group of a batch will probably append is taken at once.
//!
//! Caller: `Core::allocate`, for the operations of a group on records of a fixed size. One fetch-and-add on the tail word, the one line that every
//! append of every session writes, serves up to 32 records; and the records of one session lie side by side, so that two sessions
//! share two lines for each chunk instead of most lines of the log.
//!
//! # Rules
//! 1. *Chains descend.* Others append behind a chunk while it is used. A record of it follows only what lies below it; behind
//!    anything else a record takes its own space at the tail.
//! 2. *The log's order is the order of a key's records*: recovery keeps the highest address of each chain. By rule 1 it holds where entries
//!    of the index are never removed, and this store removes none: whoever finds no entry is the first of its tag.
//! 3. *A chunk lives under one guard*, like all space that was taken at the tail. What is left of it becomes a filler before the guard
//!    ends: readers of a page take a zero word for the end of its block.

use oxifaster_core::Address;
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::hlog::{HybridLog, NeedsRoom};
use oxifaster_core::record::RecordInfo;
use oxifaster_core::sync::atomic::Ordering;
use oxifaster_core::sync::canary;

/// Tail space of a group, for records of one size.
#[derive(Debug)]
pub(crate) struct TailChunk {
    next: Address,
    words_left: u64,
    /// Records that the group will probably append besides those that the space is there for.
    expected: u32,
}

impl TailChunk {
    /// No space, and nothing expected.
    pub(crate) const fn new() -> Self {
        Self { next: Address::NULL, words_left: 0, expected: 0 }
    }

    /// The group will probably append so many records.
    #[inline(always)]
    pub(crate) fn expect(&mut self, records: u32) {
        self.expected = records;
    }

    /// Space for a record that follows `previous`.
    ///
    /// # Errors
    /// As [`HybridLog::allocate`].
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        log: &HybridLog,
        guard: &EpochGuard<'_>,
        size_words: u64,
        previous: Address,
    ) -> Result<Address, NeedsRoom> {
        if self.words_left >= size_words && previous < self.next {
            return Ok(self.take_next(size_words));
        }
        self.take_elsewhere(log, guard, size_words)
    }

    #[inline(always)]
    fn take_next(&mut self, size_words: u64) -> Address {
        let address = self.next;
        self.next = address.plus(size_words);
        self.words_left -= size_words;
        address
    }

    /// Takes space for all that is expected, if nothing is left and the page has it; else for this record alone.
    #[cold]
    #[inline(never)]
    fn take_elsewhere(
        &mut self,
        log: &HybridLog,
        guard: &EpochGuard<'_>,
        size_words: u64,
    ) -> Result<Address, NeedsRoom> {
        let words = size_words * u64::from(self.expected);
        if self.words_left == 0
            && self.expected > 1
            && words <= log.layout().record_words_max()
            && let Ok(address) = log.allocate(guard, words)
        {
            // What is allocated now lies above all that was published before.
            (self.next, self.words_left, self.expected) = (address, words, 0);
            return Ok(self.take_next(size_words));
        }
        self.expected = self.expected.saturating_sub(1);
        log.allocate(guard, size_words)
    }

    /// Makes what is left a filler: rule 3.
    #[inline(always)]
    pub(crate) fn put_back(&mut self, log: &HybridLog, guard: &EpochGuard<'_>) {
        if self.words_left > 0 && !canary::armed("chunk_left_zero") {
            if let Some(header) = log.ring().words(guard, self.next).first() {
                // Relaxed: readers of pages come behind the guard.
                header.store(RecordInfo::filler(self.words_left).bits(), Ordering::Relaxed);
            }
            self.words_left = 0;
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;

    use oxifaster_core::Address;
    use oxifaster_device::FileSystemDisk;

    use super::TailChunk;
    use crate::{FasterKv, FasterKvConfig};

    /// Four-word records: what a chunk gives to whom.
    #[test]
    fn a_record_of_a_chunk_follows_nothing_that_lies_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
        let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), device).unwrap());
        let log = Arc::clone(&store.core.log);
        let mut participant = log.ring().epoch().register();
        let guard = participant.enter();
        let mut chunk = TailChunk::new();
        let take = |chunk: &mut TailChunk, previous| chunk.take(&log, &guard, 4, previous).unwrap();

        let alone = take(&mut chunk, Address::NULL);
        chunk.expect(3);
        let first = take(&mut chunk, alone);
        assert_eq!(first, alone.plus(4));
        let behind = log.allocate(&guard, 4).unwrap();
        assert_eq!(behind, first.plus(12), "three records were taken at once");
        assert_eq!(take(&mut chunk, first), first.plus(4));
        let follows = take(&mut chunk, behind);
        assert_eq!(follows, behind.plus(4), "not the third of the chunk");

        chunk.put_back(&log, &guard);
        let header = log.ring().words(&guard, first.plus(8))[0].load(super::Ordering::Relaxed);
        assert_eq!(header, super::RecordInfo::filler(4).bits());
        assert_eq!(take(&mut chunk, Address::NULL), follows.plus(4), "nothing is left and nothing expected");
    }
}
