//! The walk along a chain of records on the device.
//!
//! # Why a result stays valid
//! 1. Records below `head` never change, and neither do their previous addresses. So what a search that started at
//!    address `from` found holds for ever: it is the newest record of the key *at or below* `from` in that chain.
//! 2. An update that found a cold record walks the chain in memory again, under a guard, right before it publishes. If
//!    the walk leaves memory at the same `from`, nothing newer lies above, and the compare-exchange on the index entry
//!    covers the rest. If it leaves at another address (pages were evicted meanwhile), the search goes on from there
//!    and ends when it meets the earlier `from`: the earlier result is joined, so every round makes progress.
//! 3. A chain's addresses fall strictly, which is checked: damage can't make a search run in circles.
//!
//! # Memory
//! A search holds memory for a read or none at all: what it has read is given back before it asks for more, and a search
//! for which there is no memory now ([`SearchStep::Later`]) holds nothing. So one that waits keeps nobody from going on.

use std::sync::Arc;

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hlog::{BlockRead, HybridLog, Patience};
use oxifaster_core::record::{RecordLayout, RecordRef};

/// The key that a search looks for, as its codec's bytes. Shared with the operation that waits for it.
pub(crate) type SearchKey = Arc<[u8]>;

/// A record found on the device.
#[derive(Clone, Debug)]
pub(crate) struct ColdRecord {
    pub(crate) tombstone: bool,
    /// The value's bytes; meaningless for a tombstone.
    pub(crate) value: Box<[u8]>,
}

/// What a search found: the newest record of the key at or below `from`, if any.
#[derive(Clone, Debug)]
pub(crate) struct ColdFound {
    pub(crate) from: Address,
    pub(crate) record: Option<ColdRecord>,
}

/// A search in progress.
#[derive(Debug)]
pub(crate) struct ColdSearch {
    from: Address,
    at: Address,
    /// Words to be read at `at`.
    words: u64,
    key: SearchKey,
    layout: RecordLayout,
    /// Result of an earlier search of the same chain further down.
    earlier: Option<ColdFound>,
    read: Option<BlockRead>,
    device_reads: u64,
    device_read_bytes: u64,
}

/// What a search needs next.
#[derive(Debug)]
pub(crate) enum SearchStep {
    /// Perform [`ColdSearch::read_mut`], then call [`ColdSearch::advance`] again.
    Read,
    /// Call [`ColdSearch::advance`] again when there may be memory for its read. Only without patience.
    Later,
    /// The result.
    Found(ColdFound),
}

impl ColdSearch {
    /// A search for `key` from `from` down. `earlier` is what a former search for the same key found from a lower address.
    pub(crate) fn new(
        from: Address,
        key: SearchKey,
        layout: RecordLayout,
        earlier: Option<ColdFound>,
    ) -> Self {
        let words = layout.header_words_min();
        Self {
            from,
            at: from,
            words,
            key,
            layout,
            earlier,
            read: None,
            device_reads: 0,
            device_read_bytes: 0,
        }
    }

    /// The block read to be performed.
    pub(crate) fn read_mut(&mut self) -> Option<&mut BlockRead> {
        self.read.as_mut()
    }

    /// Device reads so far, and their bytes.
    pub(crate) fn device_reads(&self) -> (u64, u64) {
        (self.device_reads, self.device_read_bytes)
    }

    /// Takes the read that was performed, if one was, and goes on as far as possible.
    ///
    /// # Errors
    /// The device's error, `Corruption` with the address.
    pub(crate) fn advance(&mut self, log: &HybridLog, patience: Patience) -> Result<SearchStep, Error> {
        if let Some(read) = self.read.take() {
            self.device_reads += read.device_reads();
            self.device_read_bytes += read.bytes();
            if let Some(record) = self.examine(log, read)? {
                return Ok(self.found(Some(record)));
            }
        }
        self.prepare(log, patience)
    }

    /// Prepares the read of the record at `at`, or ends the search there.
    fn prepare(&mut self, log: &HybridLog, patience: Patience) -> Result<SearchStep, Error> {
        if self.at.is_null() || self.at < log.ring().begin() {
            return Ok(self.found(None));
        }
        if let Some(earlier) = &self.earlier
            && self.at <= earlier.from
        {
            return Ok(self.found(earlier.record.clone()));
        }
        self.read = log.block_read(self.at, self.words, patience)?;
        Ok(if self.read.is_some() { SearchStep::Read } else { SearchStep::Later })
    }

    fn found(&self, record: Option<ColdRecord>) -> SearchStep {
        SearchStep::Found(ColdFound { from: self.from, record })
    }

    /// Looks at the record at `at` in the blocks that were read: returns it, or decides what is read next.
    fn examine(&mut self, log: &HybridLog, mut read: BlockRead) -> Result<Option<ColdRecord>, Error> {
        let words = read.verified(log, self.at)?;
        let damaged = |what: &str| Error::new(ErrorKind::Corruption, what.to_owned()).with_address(self.at);
        let size = match self.layout.size_in(words) {
            Ok(size) => size,
            Err(error) => return Err(error.with_address(self.at)),
        };
        let Some(record_words) = words.get(..usize::try_from(size).unwrap_or(usize::MAX)) else {
            self.words = size;
            return Ok(None);
        };
        let record = RecordRef::new(record_words, self.layout);
        let info = record.info();
        if !info.is_invalid() && record.key_equals(&self.key) {
            let tombstone = info.is_tombstone();
            let value = if tombstone { Box::default() } else { record.value_bytes_immutable()?.into() };
            return Ok(Some(ColdRecord { tombstone, value }));
        }
        if info.previous() >= self.at {
            return Err(damaged("a record's previous address is not below its own"));
        }
        (self.at, self.words) = (info.previous(), self.layout.header_words_min());
        Ok(None)
    }
}
