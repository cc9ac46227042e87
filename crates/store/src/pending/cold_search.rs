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
//! # Read cache
//! Where the log has one, a record is looked for there before it is read from the device, and every record that was read is left there:
//! also those of other keys on the way down a chain, which the next search would read again. Only the record that an operation
//! found which will probably replace it is not.
//!
//! # Memory
//! A search holds memory for a read or none at all: what it has read is given back before it asks for more, and a search
//! for which there is no memory now ([`SearchStep::Later`]) holds nothing. So one that waits keeps nobody from going on.

use std::sync::Arc;

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hlog::{BlockRead, HybridLog, Patience, RecordCache};
use oxifaster_core::record::{RecordLayout, RecordRef};
use oxifaster_core::sync::atomic::AtomicU64;

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
    /// The last address that the read cache was asked for.
    asked: Address,
    /// A record from there.
    cached: Vec<AtomicU64>,
    /// Whether the record that is found will be read again: the cache is to keep it.
    keeps_found: bool,
    reads: SearchReads,
}

/// What a search has read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SearchReads {
    pub(crate) device: u64,
    pub(crate) device_bytes: u64,
    pub(crate) cache_hits: u64,
    pub(crate) cache_misses: u64,
}

/// What a look at a record came to.
enum Examined {
    Found(ColdRecord),
    /// The key's record lies further down.
    Next,
    /// More of its words are needed.
    More,
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
            asked: Address::NULL,
            cached: Vec::new(),
            keeps_found: true,
            reads: SearchReads::default(),
        }
    }

    /// The same for an operation that will probably replace the record that it finds, if `replaces`.
    pub(crate) fn replacing_found(mut self, replaces: bool) -> Self {
        self.keeps_found = !replaces;
        self
    }

    /// The block read to be performed.
    pub(crate) fn read_mut(&mut self) -> Option<&mut BlockRead> {
        self.read.as_mut()
    }

    /// What it has read so far.
    pub(crate) fn reads(&self) -> SearchReads {
        self.reads
    }

    /// Takes the read that was performed, if one was, and goes on as far as possible.
    ///
    /// # Errors
    /// The device's error, `Corruption` with the address.
    pub(crate) fn advance(&mut self, log: &HybridLog, patience: Patience) -> Result<SearchStep, Error> {
        if let Some(mut read) = self.read.take() {
            self.reads.device += read.device_reads();
            self.reads.device_bytes += read.bytes();
            let words = read.verified(log, self.at)?;
            if let Examined::Found(record) = self.examine(words, log.record_cache())? {
                return Ok(SearchStep::Found(self.result(Some(record))));
            }
        }
        if let Some(found) = self.go_on_in_memory(log)? {
            return Ok(SearchStep::Found(found));
        }
        self.read = log.block_read(self.at, self.words, patience)?;
        Ok(if self.read.is_some() { SearchStep::Read } else { SearchStep::Later })
    }

    /// Goes on as far as no device is needed; the result, if that suffices.
    ///
    /// # Errors
    /// `Corruption` with the address.
    pub(crate) fn go_on_in_memory(&mut self, log: &HybridLog) -> Result<Option<ColdFound>, Error> {
        loop {
            if self.at.is_null() || self.at < log.ring().begin() {
                return Ok(Some(self.result(None)));
            }
            if let Some(earlier) = &self.earlier
                && self.at <= earlier.from
            {
                return Ok(Some(self.result(earlier.record.clone())));
            }
            let Some(cache) = log.record_cache().filter(|_| self.asked != self.at) else { return Ok(None) };
            self.asked = self.at;
            let mut words = std::mem::take(&mut self.cached);
            if !cache.read(self.at, &mut words) {
                self.reads.cache_misses += 1;
                return Ok(None);
            }
            self.reads.cache_hits += 1;
            if let Examined::Found(record) = self.examine(&words, None)? {
                return Ok(Some(self.result(Some(record))));
            }
            self.cached = words;
        }
    }

    fn result(&self, record: Option<ColdRecord>) -> ColdFound {
        ColdFound { from: self.from, record }
    }

    /// Looks at the record at `at`, of which these are words: returns it, or decides what is read next. A whole record is left in
    /// the `cache`.
    fn examine(&mut self, words: &[AtomicU64], cache: Option<&RecordCache>) -> Result<Examined, Error> {
        let at = self.at;
        let damaged = |what: &str| Error::new(ErrorKind::Corruption, what.to_owned()).with_address(at);
        let size = match self.layout.size_in(words) {
            Ok(size) => size,
            Err(error) => return Err(error.with_address(at)),
        };
        let Some(record_words) = words.get(..usize::try_from(size).unwrap_or(usize::MAX)) else {
            self.words = size;
            return Ok(Examined::More);
        };
        let record = RecordRef::new(record_words, self.layout);
        let info = record.info();
        let is_found = !info.is_invalid() && record.key_equals(&self.key);
        if let Some(cache) = cache
            && (self.keeps_found || !is_found)
        {
            cache.insert(at, record_words);
        }
        if is_found {
            let tombstone = info.is_tombstone();
            let value = if tombstone { Box::default() } else { record.value_bytes_immutable()?.into() };
            return Ok(Examined::Found(ColdRecord { tombstone, value }));
        }
        if info.previous() >= at {
            return Err(damaged("a record's previous address is not below its own"));
        }
        (self.at, self.words) = (info.previous(), self.layout.header_words_min());
        Ok(Examined::Next)
    }
}
